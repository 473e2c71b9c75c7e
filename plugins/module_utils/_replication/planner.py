# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The planner: from what was read of both sides and the options to the steps of each pair. It changes nothing.

A plan goes as far as the pair can go before it is read again: to the end of a partial receive or of a package. Check
mode plans on with the state that is foreseen (`rounds`), and the run with the one that it reads.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import localtime

from ansible_collections.cerss.zfs.plugins.module_utils._core import unsent
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import RAW, Filter, LastHold, SourceMark
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import (
    Bookmark,
    Dataset,
    Snapshot,
    Token,
    Value,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import (
    MAX_NAME,
    MAX_REPLICA_NAME,
    DatasetName,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.periods import firsts
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Step
from ansible_collections.cerss.zfs.plugins.module_utils._replication import (
    bookkeeping,
    divergence,
    keys,
    reseed,
    rotation,
)
from ansible_collections.cerss.zfs.plugins.module_utils._replication.agreement import agreed_mode
from ansible_collections.cerss.zfs.plugins.module_utils._replication.divergence import Apart, Continue, Diverged, Fresh
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import (
    TARGET,
    Link,
    Origin,
    Pair,
    PairOptions,
    PairPlan,
    Send,
    is_first_receive,
    listed,
    newest_common,
    txg,
    with_hold,
)
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.properties import PARENT

PACKAGE = 100  # snapshots in one package, each of which is held meanwhile
ASSUMED = "0"  # GUID of a snapshot that check mode assumes


@dataclass(frozen=True)
class Survey:
    """What was read. ``pairs``: parents before children, origins before clones. ``failed``: what cannot be replicated.

    ``arriving``: snapshots on the target's pools by GUID, if a clone needs its origin there.
    """

    pairs: tuple[Pair, ...] = ()
    failed: tuple[tuple[Link, CerssError], ...] = ()
    arriving: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Planned:
    """``parents``: name -> the step that creates the dataset above replicas. They come first.

    ``arriving``: as in `Survey`, with what the plans bring.
    """

    parents: Mapping[str, Step]
    plans: tuple[PairPlan, ...]
    arriving: Mapping[str, str]


# -- what is requested -----------------------------------------------------------------------------------------------


def requested(pair: Pair, options: PairOptions) -> list[Snapshot]:
    """The snapshots that the options request, oldest first; the last one is the goal. Empty if none matches.

    Without a snapshot name the goal is the newest one that the filters allow. Temporary snapshots, and those that were
    deleted and wait for the last hold, are requested only by name. With ``intermediates: false`` only the goal is.
    With ``periods`` the goal may be a snapshot of the replica that the source does not have any more. A job also sends
    what other jobs of the relationship have not sent yet.
    """
    named = pair.link.snapshot_name
    snapshots = pair.source.snapshots
    if named is not None:
        index = next((i for i, snap in enumerate(snapshots) if snap.snapshot == named), None)
        if index is None:
            return []
        snapshots = snapshots[: index + 1]
    given = options.filter
    chosen = [snap for snap in snapshots if snap.snapshot == named or unsent.is_sent(snap, given)]
    if options.periods:
        chosen = _first_of_periods(pair, chosen, options)
    chosen = chosen if options.intermediates else chosen[-1:]
    return sorted([*chosen, *_of_other_jobs(pair, chosen)], key=txg)


def _of_other_jobs(pair: Pair, chosen: Sequence[Snapshot]) -> list[Snapshot]:
    """What other jobs would still send and is older than the goal of this one, after which ZFS could not add it.

    Not of those that send the first of each period: another one becomes the first.
    """
    given, record = pair.link.filter, pair.record
    jobs = [each for each in record.filters if each.job and not each.periods] if record else []
    others = [each for each in jobs if given and each.job != given.job]
    common = newest_common(pair.source, pair.replica) if pair.replica else None
    if not (given and given.job and record and others and chosen and common) or pair.link.snapshot_name:
        return []
    passed = [snap for snap in pair.source.snapshots if txg(common[1]) < txg(snap) < txg(chosen[-1])]
    own = {snap.guid for snap in chosen}
    return [snap for snap in unsent.chosen(passed, replace(record, filters=tuple(others))) if snap.guid not in own]


def last_sent(pair: Pair, given: Filter) -> Snapshot | Bookmark | None:
    """The newest snapshot of the replica that the filter lets pass, up to the base. The base is the source's."""
    common = newest_common(pair.source, pair.replica) if pair.replica else None
    if not (pair.replica and common) or unsent.is_sent(common[0], given):
        return common[1] if common else None
    older = (snap for snap in pair.replica.snapshots if txg(snap) < txg(common[0]) and unsent.is_sent(snap, given))
    return max(older, key=txg, default=None)


def _first_of_periods(pair: Pair, chosen: list[Snapshot], options: PairOptions) -> list[Snapshot]:
    """Those that are on the replica, and of the newer ones the first of each period, and the one that is named.

    In the periods of the last one that was sent nothing is sent any more, whatever is left of them on the source.
    Otherwise another one would be the first each time that a snapshot is deleted there.
    """
    common = newest_common(pair.source, pair.replica) if pair.replica else None
    start = txg(common[1]) if common else 0
    newer = [snap for snap in chosen if txg(snap) > start and snap.created is not None]
    last = last_sent(pair, options.filter)
    first = firsts((snap.created or 0 for snap in newer), options.periods, last.created if last else None, localtime)
    requested = {snap.guid for snap, is_first in zip(newer, first) if is_first}
    requested |= {snap.guid for snap in chosen if snap.snapshot == pair.link.snapshot_name}
    sent = _sent(pair, common) if common else []
    found = [*sent, *(snap for snap in chosen if txg(snap) > start and snap.guid in requested)]
    return found if pair.link.snapshot_name is None else [snap for snap in found if txg(snap) <= txg(chosen[-1])]


def _sent(pair: Pair, common: tuple[Snapshot, Snapshot | Bookmark]) -> list[Snapshot]:
    """The source's snapshots on the replica up to the base, and the base, even if it has only a bookmark there."""
    there = {snap.guid for snap in pair.replica.snapshots} if pair.replica else set()
    base = Snapshot(f"{pair.source.name}@{common[0].snapshot}", common[0].guid, txg(common[1]))
    older = [snap for snap in pair.source.snapshots if txg(snap) <= txg(base) and snap.guid in there]
    return older if isinstance(common[1], Snapshot) else [*older, base]


def settled(pair: Pair, options: PairOptions) -> bool:
    """True if nothing is to do, by what is read of every pair: the goal is there, and so are all marks.

    ``requested`` may still name a temporary snapshot here; then the pair is read in full.
    """
    chosen, replica, record, mark = requested(pair, options), pair.replica, pair.record, pair.mark
    if not (chosen and replica and record and mark and pair.point) or record.paused:
        return False
    try:
        agreed_mode(pair, options)
    except Refused:
        return False
    newest = replica.snapshots[-1] if replica.snapshots else None
    there = {snap.guid for snap in replica.snapshots}
    first = min((txg(snap) for snap in pair.source.snapshots if snap.guid in there), default=0)
    common, finish = newest_common(pair.source, replica), bookkeeping.finish(pair)
    return (
        newest is not None
        and common is not None
        and newest.guid == pair.point.guid == common[0].guid
        and record.guid == replica.guid
        and not (replica.written or replica.has_partial_receive or replica.inconsistent or mark.beside)
        and all(snap.guid in there for snap in chosen if txg(snap) >= first)
        and not (finish.rest or finish.commit)
    )


def steps(
    source: Dataset, base: Snapshot | Bookmark | None, requested: Sequence[Snapshot], raw: bool, packages: bool = True
) -> Iterator[Send]:
    """The fewest streams that carry exactly ``requested`` (oldest first, all newer than the base).

    ``-I`` sends every snapshot in between, so it is used only where all of them are requested, and for `PACKAGE` at
    most. ``-i`` is the only form that starts from a bookmark. Without a base the first snapshot is sent in full. For
    example, if the source has s1 to s5, the base is the snapshot s1 and all but s4 are requested: ``-I s1 s3`` and ``-i
    s3 s5``; without ``packages`` ``-i s1 s2``, ``-i s2 s3`` and ``-i s3 s5``.
    """
    order = {snap.name: index for index, snap in enumerate(source.snapshots)}
    done = 0
    while done < len(requested):
        if base is None:
            yield Send("full", (requested[done],), raw=raw)
            base, done = requested[done], done + 1
            continue
        until = done + 1
        if packages and isinstance(base, Snapshot) and order[requested[done].name] == order[base.name] + 1:
            while (
                until < min(len(requested), done + PACKAGE)
                and order[requested[until].name] == order[requested[until - 1].name] + 1
            ):
                until += 1
        carries = tuple(requested[done:until])
        yield Send("incremental", carries, base.name, base.guid, intermediates=len(carries) > 1, raw=raw)
        base, done = carries[-1], until


# -- all pairs -------------------------------------------------------------------------------------------------------


def plan_all(survey: Survey, options: PairOptions, assume_created: bool = False) -> Planned:
    """The plans of all pairs, each after those it depends on."""
    arriving = dict(survey.arriving)
    plans: list[PairPlan] = []
    lacking: dict[str, PairPlan] = {}  # replicas that do not exist and will not be created
    parents: dict[str, Step] = {}
    created = _may_be_created(survey.pairs) if assume_created else frozenset()
    for pair in survey.pairs:
        plan = _below_existing(plan_pair(pair, options, arriving, pair.source.name in created), lacking, options)
        plans.append(plan)
        if pair.replica is None and not (plan.sends or plan.reseeds):
            lacking[pair.replica_name] = plan
        if plan.sends and not plan.error:
            properties = keys.for_places(pair)
            parents.update((name, _create(name, properties)) for name in plan.parents if name not in parents)
            arriving.update(_places_after(plan, arriving))
    plans += [PairPlan(Pair(link, Dataset(link.source_name)), error=error) for link, error in survey.failed]
    return Planned(parents, tuple(plans), arriving)


def _may_be_created(pairs: Iterable[Pair]) -> frozenset[str]:
    """The sources whose named snapshot an earlier task may create: all of a tree, unless its root has it already."""
    roots = {pair.source.name: pair for pair in pairs if pair.link.named and pair.link.snapshot_name}
    lacking = {
        name
        for name, pair in roots.items()
        if not pair.source.by_name(f"{name}@{pair.link.snapshot_name}") and not _delivered(pair)
    }
    return frozenset(
        pair.source.name
        for pair in pairs
        for above in [pair.source.name, *map(str, DatasetName(pair.source.name).ancestors()[::-1])]
        if above in lacking and pair.link.snapshot_name == roots[above].link.snapshot_name
    )


def _create(name: str, properties: Mapping[str, str]) -> Step:
    how = ", unencrypted," if properties else ""
    return Step.of(
        f"create {name}{how} to hold replicas",
        (zfs.create(name, {**PARENT, **properties}),),
        before={name: {"state": "absent"}},
        after={name: {"state": "present"}},
        side=TARGET,
    )


def _below_existing(plan: PairPlan, lacking: Mapping[str, PairPlan], options: PairOptions) -> PairPlan:
    """The plan, with an error if the replica's parent is another pair's replica that will not be created."""
    above = [lacking[str(name)] for name in DatasetName(plan.pair.replica_name).ancestors() if str(name) in lacking]
    if not (plan.sends and above):
        return plan
    other, failed = above[0].pair, above[0].error
    if other.record and other.record.paused:
        why = "is paused; end that first"
    elif failed and requested(other, options):
        why = "cannot be replicated; fix that first"
    else:
        why = "has no snapshot to send there; create one first"
    return PairPlan(plan.pair, goal=plan.goal, error=Refused(
        f"{plan.pair.source_address} cannot be replicated: {other.target_address}, above its replica, does not exist, "
        f"and {other.source_address} {why}"
    ))  # fmt: skip


def _places_after(plan: PairPlan, arriving: Mapping[str, str]) -> dict[str, str]:
    """Where the snapshots of the replica are on the target after the plan, by GUID."""
    pair = plan.pair
    moved = {}
    if plan.reseeds and pair.replica:
        aside = reseed.old_name(pair)
        taken = reseed.swapped(plan.foreseen or pair).replica
        kept = {snap.guid for snap in taken.snapshots} if taken else set()
        moved = {snap.guid: f"{aside}@{snap.snapshot}" for snap in pair.replica.snapshots
                 if snap.guid and snap.guid in arriving and snap.guid not in kept}  # fmt: skip
    carried = {snap.guid: f"{pair.replica_name}@{snap.snapshot}" for snap in plan.carries if snap.guid}
    after = plan.foreseen.replica if plan.foreseen and not plan.reseeds else None
    renamed = {snap.guid: snap.name for snap in after.snapshots if snap.guid and snap.guid in arriving} if after else {}
    return {**moved, **renamed, **carried}


# -- one pair --------------------------------------------------------------------------------------------------------


def plan_pair(
    pair: Pair, options: PairOptions, arriving: Mapping[str, str] | None = None, assume_created: bool = False
) -> PairPlan:
    """The plan of one pair; an error becomes `PairPlan.error`.

    ``arriving`` maps GUIDs to snapshots that exist on the target or will exist when this pair is replicated.
    ``assume_created``: check mode, where an earlier task may create the named snapshot if it does not exist yet.
    """
    warnings: list[str] = []
    try:
        error = pair.trouble or too_long(pair.replica_name)
        if error:
            raise error
        if assume_created:
            pair, warnings = _assume(pair)
        plan = _plan(pair, options, arriving or {})
    except CerssError as error:
        plan = PairPlan(pair, error=error)
    return replace(plan, warnings=(*warnings, *plan.warnings))


def rounds(plan: PairPlan, options: PairOptions, arriving: Mapping[str, str]) -> Iterator[PairPlan]:
    """The plan, and those that follow it when all goes as foreseen. Each has a history; keep only `PairPlan.told`."""
    yield plan
    ahead = None
    while plan.more and not plan.error:
        ahead = ahead or Ahead.of(plan, options)
        plan = ahead.plan(plan, options, arriving)
        yield plan


@dataclass(frozen=True)
class Ahead:
    """The source's snapshots after the first plan, so that all plans take as long as these are, not as their square.

    ``index``: GUID -> place in ``snapshots``. ``chosen``: the places of the requested ones.
    """

    snapshots: Sequence[Snapshot]
    index: Mapping[str | None, int]
    chosen: Sequence[int]

    @classmethod
    def of(cls, plan: PairPlan, options: PairOptions) -> Ahead:
        pair = _finished(plan)
        index = {snap.guid: place for place, snap in enumerate(pair.source.snapshots)}
        chosen = [index[snap.guid] for snap in requested(pair, options) if snap.guid in index]
        return cls(pair.source.snapshots, index, chosen)

    def plan(self, plan: PairPlan, options: PairOptions, arriving: Mapping[str, str]) -> PairPlan:
        """The plan that follows this one, when all has gone as foreseen."""
        pair = _finished(plan)
        return plan_pair(pair if plan.reseeds else self.part(pair), options, arriving)

    def part(self, pair: Pair) -> Pair:
        """The pair with what its next plan looks at: the base, more than a plan can carry, and the goal."""
        common = newest_common(pair.source, pair.replica) if pair.replica else None
        if pair.replica is None or common is None or common[1].guid not in self.index or not self.chosen:
            return pair
        there, here = common
        start = self.index[here.guid] + 1
        first = bisect_left(self.chosen, start)
        end = self.chosen[min(first + 2 * PACKAGE, len(self.chosen) - 1)] + 1
        goal = self.snapshots[self.chosen[-1]]
        sent = [*([here] if isinstance(here, Snapshot) else []), *self.snapshots[start:end]]
        sent += [goal] if self.index[goal.guid] >= end else []
        known = {bookmark.guid for bookmark in pair.source.bookmarks}
        received = [snap for snap in pair.replica.snapshots if txg(snap) >= txg(there) or snap.guid in known]
        return replace(
            pair, source=replace(pair.source, snapshots=sent), replica=replace(pair.replica, snapshots=received)
        )


def _plan(pair: Pair, options: PairOptions, arriving: Mapping[str, str]) -> PairPlan:
    if pair.record and pair.record.paused:
        text = f"{pair.relation} is paused (zfs_replication with paused=true), so {pair.source_address} is skipped"
        return PairPlan(pair, warnings=(text,))
    delivered = _delivered(pair)
    chosen = delivered or requested(pair, options)
    if not chosen:
        return _nothing_to_choose(pair, options)
    if pair.moved_to:
        raise Refused(
            f"the replica of {pair.source_address} is now {pair.moved_to}, not {pair.target_address}; rename it back, "
            f"or end the relationship {pair.id} with cerss.zfs.zfs_replication (state=absent) to start a new one"
        )
    mode = agreed_mode(pair, options)
    plan = PairPlan(pair, chosen[-1], pair.replica_name, raw=mode == RAW, keep_old=options.keep_old)
    if settled(pair, options):
        return plan  # its holds have not been read
    found = divergence.compare(pair)
    if isinstance(found, (Diverged, Apart)) or reseed.is_begun(pair):
        return _differing(plan, found, chosen, options, arriving)
    return _lane(plan, pair.replica, found, chosen, options, arriving)


def _differing(
    plan: PairPlan, found: Fresh | Continue | Diverged | Apart, chosen: list[Snapshot], options: PairOptions,
    arriving: Mapping[str, str],
) -> PairPlan:  # fmt: skip
    """The plan for a replica that cannot take an increment as it is, or that a reseed has begun to replace."""
    pair = plan.pair
    begun = reseed.is_begun(pair)
    if isinstance(found, Continue):
        text = f"{reseed.beside_name(pair)} of an earlier reseed is not needed any more; destroy it"
        return replace(_lane(plan, pair.replica, found, chosen, options, arriving), warnings=(text,))
    if isinstance(found, (Diverged, Apart)) and not begun and options.on_divergence == "fail":
        raise divergence.refusal(pair, found)
    if isinstance(found, Diverged) and not begun and options.on_divergence == "rollback":
        plan = replace(plan, prepare=tuple(divergence.rollback(pair, found)))
        return _lane(plan, _rolled_back(pair, found), Continue(found.here), chosen, options, arriving)
    if isinstance(found, Apart) and not begun and options.on_divergence == "rollback":
        raise divergence.refusal(pair, found)
    origin = None if isinstance(found, (Fresh, Continue)) or begun else reseed.origin(pair, found)
    plan = replace(plan, into=reseed.beside_name(pair), reseeds=True)
    if options.keep_old:
        plan = replace(plan, warnings=(reseed.warning(pair),))
    if not begun:
        reseed.check(pair, origin, chosen, options.keep_old, plan.raw and pair.source.encrypted)
    elif not options.keep_old:
        reseed.check_unneeded(pair, None)
    return _lane(plan, pair.new_one, _standing(pair), chosen, options, arriving, origin)


def _standing(pair: Pair) -> Fresh | Continue:
    """How the new replica of a reseed stands to the source."""
    new = pair.new_one
    if new is None or is_first_receive(new):
        return Fresh()
    common = newest_common(pair.source, new)
    if common is None or common[0] is not new.snapshots[-1] or new.written:
        clones = [each for each in (pair.replica, pair.old) if each and (each.origin or "").startswith(f"{new.name}@")]
        first = f"promote {clones[0].name}, which takes its snapshots back, then " if clones else ""
        raise Refused(
            f"{new.name}, which a reseed began to receive, has diverged from {pair.source_address}; {first}destroy it, "
            "and the next run starts anew"
        )
    return Continue(common[1])


def _rolled_back(pair: Pair, found: Diverged) -> Dataset | None:
    replica = pair.replica
    if replica is None:
        return None
    lost = divergence.loses_part(replica, found)
    held = any(snap in found.newer for snap in with_hold(replica, LastHold.TAG))
    dropped = ("written", "receive_resume_token") if lost else ("written",)
    return replace(
        replica,
        snapshots=[
            bookkeeping.with_tag(snap, LastHold.TAG) if held and snap is found.there else snap
            for snap in replica.snapshots
            if snap not in found.newer
        ],
        bookmarks=[bookmark for bookmark in replica.bookmarks if bookmark not in found.later],
        values={name: value for name, value in replica.values.items() if name not in dropped},
        token=None if lost else replica.token,
    )


def _lane(
    plan: PairPlan, receiver: Dataset | None, found: Fresh | Continue, chosen: list[Snapshot], options: PairOptions,
    arriving: Mapping[str, str], origin: Origin | None = None,
) -> PairPlan:  # fmt: skip
    """The plan for the dataset that receives, which is the replica or the new one of a reseed; None: it does not exist.

    ``origin``: the new dataset becomes a clone of it.
    """
    pair, goal = plan.pair, chosen[-1]
    if receiver is not None and receiver.by_guid(goal.guid) and not receiver.inconsistent:
        return _arrived(plan, receiver, chosen)
    partial = _partial(plan, receiver, chosen, options)
    if isinstance(partial, Send):
        plan, receiver = _making_room(plan, receiver, partial.carries, options)
        return _sending(plan, receiver, [partial], options, resumes=True)
    plan = replace(plan, prepare=(*plan.prepare, *([partial] if partial else [])))
    if partial and is_first_receive(receiver):
        receiver = None  # ZFS destroys a dataset that has nothing else
    base = found.base if isinstance(found, Continue) else None
    if receiver is None:
        plan = replace(plan, parents=pair.missing_parents)
        if pair.source.origin and origin is None and not plan.reseeds:
            origin = _origin(pair, arriving)
            plan = replace(plan, origin_preserved=origin is not None)
        if not (origin or plan.reseeds):
            keys.check_place(pair, bookkeeping.mode_of(plan.raw), options.properties)
    after = [snap for snap in chosen if base is None or txg(snap) > txg(base)]
    if origin:
        after = [snap for snap in after if txg(snap) > _txg_of(pair, origin)]
    if not after and origin:
        raise Refused(
            f"{pair.target_address} cannot be replaced: {pair.source_address} has no requested snapshot newer than "
            f"{origin.base} that a new replica could start with; create one first"
        )
    if not after:
        raise Refused(
            f"{pair.target_address} already holds snapshots newer than {goal.name}, and ZFS cannot add an older one; "
            "replicate it to another dataset"
        )
    _check_snapshot_names(plan, [snap.snapshot for snap in after])
    plan, receiver = _making_room(plan, receiver, after, options)
    return _sending(plan, receiver, _streams(pair, base, after, origin, plan.raw, options), options)


def _making_room(
    plan: PairPlan, receiver: Dataset | None, coming: Sequence[Snapshot], options: PairOptions
) -> tuple[PairPlan, Dataset | None]:
    """The plan, and the receiver, with snapshots renamed whose names those that come need."""
    renamed = rotation.moves(plan.pair.source, receiver, coming) if receiver else {}
    if receiver is None or not renamed:
        return plan, receiver
    _check_snapshot_names(plan, renamed.values())
    if options.pulled:
        raise rotation.not_by_itself(receiver, renamed)
    prepare = (*plan.prepare, *rotation.steps(receiver, renamed))
    return replace(plan, prepare=prepare), rotation.rotated(receiver, renamed)


def _streams(
    pair: Pair, base: Snapshot | Bookmark | None, after: list[Snapshot], origin: Origin | None, raw: bool,
    options: PairOptions,
) -> list[Send]:  # fmt: skip
    """The streams until the pair must be read again. With an origin the first one creates the clone."""
    sends: list[Send] = []
    if origin:
        sends.append(Send("incremental", (after[0],), origin.base, origin.guid, raw=raw, origin=origin.place))
        base, after = after[0], after[1:]
    for send in steps(pair.source, base, after, raw, options.packages):
        sends.append(send)
        if send.intermediates or len(sends) == PACKAGE:
            break
    return sends


def _txg_of(pair: Pair, origin: Origin) -> int:
    """The createtxg of an origin among the source's own snapshots and bookmarks; 0 if it is another dataset's."""
    points: list[Snapshot | Bookmark] = [*pair.source.snapshots, *pair.source.bookmarks]
    return next((txg(point) for point in points if point.guid == origin.guid), 0)


def _sending(
    plan: PairPlan, receiver: Dataset | None, sends: list[Send], options: PairOptions, resumes: bool = False
) -> PairPlan:
    """The plan with streams, the marks before them and what is foreseen after them."""
    pair, goal = plan.pair, plan.goal
    changed = keys.check_increment(pair) if plan.raw and sends[0].base else None
    if not plan.raw:
        keys.check_loaded(pair)
    plan = replace(plan, warnings=(*plan.warnings, *([changed] if changed else [])))
    plan = replace(plan, sends=tuple(sends), more=goal is not None and sends[-1].snapshot.guid != goal.guid)
    mode = bookkeeping.mode_of(plan.raw)
    protect, protected = bookkeeping.protect(pair, sends, mode, anew=receiver is None)
    if pair.link.unmarked:
        plan = replace(plan, warnings=(*plan.warnings, _unmarked(pair)))
    if resumes and receiver is not None and receiver.source_mark is None:
        plan = replace(plan, prepare=(*plan.prepare, bookkeeping.adopt_part(pair, options, mode)))
    after = _with_streams(plan, protected, receiver, options)
    return replace(plan, protect=tuple(protect), foreseen=after, finish=tuple(finish_steps(plan, after)))


def _unmarked(pair: Pair) -> str:
    pool = DatasetName(pair.source.name).pool
    later = (
        "a run after it is imported for writing puts that right"
        if pair.record
        else "further runs continue as long as it is; after it is imported for writing, first run "
        "cerss.zfs.zfs_replication (state=present)"
    )
    return (
        f"the pool {pool} is imported read-only, so nothing about {pair.relation} is recorded on "
        f"{pair.source_address}: no bookmark, no hold, and not what has arrived; {later}"
    )


def _arrived(plan: PairPlan, receiver: Dataset, chosen: list[Snapshot]) -> PairPlan:
    """The plan when the goal is there: what is left to do, which is nothing after a run that was not interrupted."""
    pair = plan.pair
    held = {snap.guid for snap in receiver.snapshots}
    common = [txg(snap) for snap in pair.source.snapshots if snap.guid in held]
    missed = [snap for snap in chosen if common and snap.guid not in held and common[0] < txg(snap) < common[-1]]
    if missed:
        text = f"{pair.target_address} lacks {listed(missed)}; ZFS cannot add it, since the replica has newer ones"
        plan = replace(plan, warnings=(*plan.warnings, text))
    after = pair if plan.reseeds else replace(pair, replica=receiver)
    return replace(plan, foreseen=after, finish=tuple(finish_steps(plan, after)))


# -- what is foreseen ------------------------------------------------------------------------------------------------


def receiver_of(plan: PairPlan, pair: Pair) -> Dataset | None:
    """The dataset that the plan's streams go into, as it is in ``pair``."""
    return pair.new_one if plan.reseeds else pair.replica


def finish_steps(plan: PairPlan, pair: Pair) -> list[Step]:
    """All steps that are left when the streams have arrived: the swap of a reseed, then the marks."""
    if plan.reseeds and plan.more:
        receiver = receiver_of(plan, pair)
        return list(bookkeeping.free(pair, receiver)) if receiver else []
    pair = _of_plan(plan, pair)
    return [*reseed.swap(pair, plan.keep_old), *bookkeeping.finish(reseed.swapped(pair)).steps]


def _of_plan(plan: PairPlan, pair: Pair) -> Pair:
    """The pair without what a former reseed has left beside it, if this plan goes into the replica itself."""
    return pair if plan.reseeds else replace(pair, beside=None)


def _finished(plan: PairPlan) -> Pair:
    """The pair after the plan."""
    pair = _of_plan(plan, plan.foreseen or plan.pair)
    if plan.reseeds and plan.more:
        return bookkeeping.freed_pair(pair)
    return bookkeeping.finished(reseed.swapped(pair))


def _with_streams(plan: PairPlan, pair: Pair, receiver: Dataset | None, options: PairOptions) -> Pair:
    """The pair with what arrives in the dataset that receives."""
    mode = bookkeeping.mode_of(plan.raw)
    mark = bookkeeping.source_mark(pair, mode, beside=plan.reseeds).format()
    if receiver is None:
        given = bookkeeping.first_receive_properties(pair, options, mode, clone=plan.sends[0].origin is not None)
        values = {name: Value(value, "local") for name, value in given.items()}
        receiver = Dataset(plan.into, origin=plan.sends[0].origin, values=values)
    at = max((txg(snap) for snap in receiver.snapshots), default=0)
    more = [
        Snapshot(f"{plan.into}@{snap.snapshot}", snap.guid, at + number, userrefs=0, clones=[], holds=[])
        for number, snap in enumerate(plan.carries, 1)
    ]
    received = replace(
        receiver,
        snapshots=[*receiver.snapshots, *more],
        ours={SourceMark.NAME: mark, **receiver.ours},
        values={key: value for key, value in receiver.values.items() if key not in ("written", "receive_resume_token")},
        token=None,
        inconsistent=False,
    )
    return replace(pair, beside=received) if plan.reseeds else replace(pair, replica=received)


# -- partial receives ------------------------------------------------------------------------------------------------


def _partial(
    plan: PairPlan, receiver: Dataset | None, chosen: list[Snapshot], options: PairOptions
) -> Send | Step | None:
    """The stream that resumes a partial receive, the step that aborts it, or None if there is none."""
    if receiver is None:
        return None
    where = plan.pair.target_address if not plan.reseeds else receiver.name
    if not receiver.has_partial_receive:
        if is_first_receive(receiver):
            raise Refused(
                f"{where} is left over from a receive without -s and cannot be resumed; destroy it when no receive is "
                "running there"
            )
        return None
    token = receiver.token
    why = _cannot_resume(plan, receiver, chosen) if options.resume else "resume is off"
    snapshot = plan.pair.source.by_guid(token.toguid) if token else None
    if why is None and token and snapshot:
        base = receiver.by_guid(token.fromguid)
        name = f"{plan.pair.source.name}@{base.snapshot}" if base else None
        return Send("resume", (snapshot,), name, token.fromguid, raw=token.raw, token=token)
    if receiver.source_mark is None:
        raise Refused(
            f"{where} holds a partial receive that this collection did not start and that cannot be resumed ({why}); "
            f"if nobody needs it, abort it there with: zfs receive -A {receiver.name}"
        )
    return divergence.abort(receiver, where, str(why))


def _cannot_resume(plan: PairPlan, receiver: Dataset, chosen: list[Snapshot]) -> str | None:
    """Why a partial receive cannot be resumed; None if it can."""
    source, token = plan.pair.source, receiver.token
    if token is None:
        return "its resume token cannot be read"
    snapshot = source.by_guid(token.toguid)
    if snapshot is None:
        return f"{token.toname} is no longer on the source"
    if all(snap.guid != token.toguid for snap in chosen):
        return f"{token.toname} is not among the requested snapshots"
    if token.raw != (plan.raw and source.encrypted):
        return "it was started with the other kind of stream (raw or plain)"
    newest = receiver.snapshots[-1] if receiver.snapshots else None
    if newest is not None and newest.guid != token.fromguid:
        return f"{newest.name} is newer than its base"
    if newest is not None and receiver.written:
        return f"{receiver.name} has been written to since {newest.name}"
    return _cannot_base(source, token, snapshot, chosen)


def _cannot_base(source: Dataset, token: Token, snapshot: Snapshot, chosen: list[Snapshot]) -> str | None:
    points: list[Snapshot | Bookmark] = [*source.snapshots, *source.bookmarks]
    bases = {point.guid: txg(point) for point in points}
    if token.fromguid and token.fromguid not in {*bases, source.origin_guid}:
        return "its base is no longer on the source"
    skipped = [snap for snap in chosen if bases.get(token.fromguid or "", 0) < txg(snap) < txg(snapshot)]
    if skipped:
        return f"it leaves out {skipped[0].name}, which is requested"
    return None


# -- small decisions -------------------------------------------------------------------------------------------------


def _assume(pair: Pair) -> tuple[Pair, list[str]]:
    """(the pair with the named snapshot, a warning that it is assumed), if it does not exist."""
    name = pair.link.snapshot_name
    if name is None or pair.source.by_name(f"{pair.source.name}@{name}") or _delivered(pair):
        return pair, []
    assumed = Snapshot(f"{pair.source.name}@{name}", ASSUMED, 2**63)  # newer than any other
    source = replace(pair.source, snapshots=[*pair.source.snapshots, assumed])
    text = f"{assumed.name} does not exist; check mode assumes that an earlier task creates it"
    return replace(pair, source=source), [text]


def with_upcoming(pair: Pair, upcoming: Mapping[str, str], now: float) -> Pair:
    """The pair with the snapshot that an earlier task would create, as it will be right after its creation at ``now``.

    ``upcoming``: the full names of such snapshots by dataset.
    """
    name = upcoming.get(pair.source.name)
    if name is None or pair.source.by_name(name):
        return pair
    snapshot = Snapshot(name, ASSUMED, 2**63, created=int(now), temporary=False)
    return replace(pair, source=replace(pair.source, snapshots=[*pair.source.snapshots, snapshot]))


def _delivered(pair: Pair) -> list[Snapshot]:
    """The named snapshot, if it was replicated and has since been deleted on the source; our cursor proves it."""
    name = pair.link.snapshot_name
    if name is None or pair.replica is None or pair.source.by_name(f"{pair.source.name}@{name}"):
        return []
    there = pair.replica.by_name(f"{pair.replica_name}@{name}")
    known = {cursor.guid for cursor, _bookmark in pair.source.cursors() if cursor.id == pair.id}
    return [there] if there and there.guid in known else []


def too_long(replica: str) -> Refused | None:
    """The error for a replica's name that is too long; None for any other."""
    if len(replica) <= MAX_REPLICA_NAME:
        return None
    return Refused(
        f"{replica[:60]}… has {len(replica)} characters; a replica's name can have at most {MAX_REPLICA_NAME}, because "
        "an increment into a longer one panics the kernel; choose a shorter target"
    )


def _check_snapshot_names(plan: PairPlan, names: Iterable[str]) -> None:
    """``names``: of all that are to be sent, so that the last package does not fail where the first has gone."""
    for name in names:
        length = len(f"{plan.into}@{name}")
        if length > MAX_NAME:
            raise Refused(
                f"{plan.into[:60]}…@{name[:60]} would have {length} characters, and ZFS takes {MAX_NAME}; choose a "
                "shorter target"
            )


def _nothing_to_choose(pair: Pair, options: PairOptions) -> PairPlan:
    way = "create one with cerss.zfs.zfs_snapshot or the role zfs_jobs"
    if pair.link.snapshot_name is not None:
        what = f"{pair.source.name}@{pair.link.snapshot_name} does not exist"
        way = "create one with cerss.zfs.zfs_snapshot, or name another snapshot"
    elif not pair.source.snapshots:
        what = f"{pair.source.name} has no snapshot"
    else:
        what = f"{pair.source.name} has no snapshot that the filters allow and that is neither temporary nor deleted"
        way += ", or change include_snapshots or exclude_snapshots"
    if pair.link.named:
        raise Refused(f"{what}; {way}")
    return PairPlan(pair, warnings=(f"{what}; it is skipped",))


def _origin(pair: Pair, arriving: Mapping[str, str]) -> Origin | None:
    """The source's origin on the target, so that the replica becomes a clone too; None if the target pool lacks it."""
    guid = pair.source.origin_guid
    place = arriving.get(guid or "")
    if not guid or not place or DatasetName(place.partition("@")[0]).pool != DatasetName(pair.replica_name).pool:
        return None
    return Origin(str(pair.source.origin), guid, place)
