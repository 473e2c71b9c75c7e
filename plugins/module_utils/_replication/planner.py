# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The planner: what stands on both sides and what is wished, to what is to be done.

`plan_pair` decides everything about a pair; check mode reports that plan and the run carries it out.
"""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import RAW, OpenCursor, Spoilt
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Bookmark, Dataset, Snapshot, Token
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import MAX_REPLICA_NAME, DatasetName, matches
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Step
from ansible_collections.cerss.zfs.plugins.module_utils._replication import bookkeeping, divergence
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import (
    TARGET,
    Origin,
    Pair,
    PairOptions,
    PairPlan,
    Send,
    txg,
)
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs


def requested(pair: Pair, options: PairOptions) -> list[Snapshot]:
    """What the options wish to have on the replica, oldest first; the last one is the goal. Empty: nothing fits.

    Without a name the newest that the filters allow; temporary ones only when named.
    """
    snapshots = pair.source.snapshots
    if pair.snapshot_name is not None:
        index = next((i for i, snap in enumerate(snapshots) if snap.snapshot == pair.snapshot_name), None)
        if index is None:
            return []
        snapshots = snapshots[: index + 1]
    chosen = [
        snap
        for snap in snapshots
        if snap.snapshot == pair.snapshot_name
        or (
            not snap.temporary
            and (not options.include or matches(snap.snapshot, list(options.include)))
            and not matches(snap.snapshot, list(options.exclude))
        )
    ]
    return chosen if options.intermediates else chosen[-1:]


def steps(source: Dataset, base: Snapshot | Bookmark | None, requested: list[Snapshot], raw: bool) -> list[Send]:
    """Fewest streams that carry just ``requested`` (oldest first, all newer than the base).

    ``-I`` carries every snapshot on its way, so it serves only where each of them is wished; from a bookmark there is
    only ``-i``; without a base the first one goes in full.
    """
    result: list[Send] = []
    place = {snap.name: index for index, snap in enumerate(source.snapshots)}
    at = 0
    while at < len(requested):
        if base is None:
            result.append(Send("full", (requested[at],), raw=raw))
            base, at = requested[at], at + 1
            continue
        until = at + 1
        if isinstance(base, Snapshot) and place[requested[at].name] == place[base.name] + 1:
            while until < len(requested) and place[requested[until].name] == place[requested[until - 1].name] + 1:
                until += 1
        carries = tuple(requested[at:until])
        result.append(Send("incremental", carries, base.name, base.guid, intermediates=len(carries) > 1, raw=raw))
        base, at = carries[-1], until
    return result


def settled_at_a_glance(pair: Pair, options: PairOptions) -> bool:
    """True when names, GUIDs and bookmarks alone show that nothing is to be done.

    The last thing that a run does is to remove the cursor of the run before (or the "open" bookmark of a first one), so
    a single cursor at the goal for every relationship of the volume means that no mark was left half moved.
    """
    chosen = requested(pair, options)
    if not chosen or not pair.replica or pair.replica.inconsistent or not pair.replica.by_guid(chosen[-1].guid):
        return False
    if not all(isinstance(OpenCursor.parse(mark.bookmark), Spoilt) for mark in pair.source.bookmarks):
        return False
    cursors = pair.source.cursors()
    return bool(cursors) and all(cursor.guid == chosen[-1].guid for cursor, _bookmark in cursors)


def plan_pair(
    pair: Pair, options: PairOptions, arriving: Mapping[str, str] | None = None, making: bool = False
) -> PairPlan:
    """Decide about one pair. ``arriving`` maps GUIDs to the snapshots of the target's pool that are there or will be.

    ``making``: check mode, where a named snapshot that is missing counts as to be made by an earlier task.
    """
    plan = PairPlan(pair)
    try:
        _plan(plan, options, arriving or {}, making)
    except CerssError as error:
        plan.error = error
    return plan


def _plan(plan: PairPlan, options: PairOptions, arriving: Mapping[str, str], making: bool) -> None:
    pair = plan.pair
    source, replica = pair.source, pair.replica
    _check_names(pair)
    delivered = _delivered(pair)
    if (
        making
        and not delivered
        and pair.snapshot_name
        and source.by_name(f"{source.name}@{pair.snapshot_name}") is None
    ):
        source.snapshots.append(Snapshot(f"{source.name}@{pair.snapshot_name}", None, 2**63))
        plan.warnings.append(f"{source.name}@{pair.snapshot_name} is not there; it counts as made by an earlier task")
    chosen = delivered or requested(pair, options)
    if not chosen:
        _nothing_to_choose(plan, options)
        return
    if pair.strayed:
        raise Refused(
            f"the replica of {pair.source_address} is {pair.strayed} now, not {pair.target_address}; rename it back, "
            f"or end the relationship {pair.id} with cerss.zfs.zfs_replication (state=absent) to begin anew; where a "
            "reseed of what stands above took it along, the next run of that moves it back"
        )
    if pair.half_aside:
        plan.prepare.append(divergence.finish_aside(pair, pair.half_aside))
    goal = plan.goal = chosen[-1]
    plan.raw = _raw(pair, options)

    if replica is not None:
        _check_ownership(pair)
        if replica.by_guid(goal.guid):
            plan.marks = bookkeeping.settle(pair)
            return

    resumed = _resume(plan, chosen, options)
    # Either of the two may end with no replica left: an abort takes a first one, a reseed puts it aside.
    start, origin = (resumed.snapshot, None) if resumed else divergence.base(plan, options)
    if pair.replica is None:
        plan.prepare += _parents(pair)
        if source.origin and start is None and origin is None:
            origin = _origin(pair, arriving)
            plan.origin_preserved = origin is not None
    after = [snap for snap in chosen if start is None or txg(snap) > txg(start)]
    if not after and not resumed:
        raise Refused(
            f"{pair.target_address} holds newer snapshots than {goal.name} already, and ZFS cannot add an older one; "
            "replicate it to another dataset"
        )
    if origin:
        # One snapshot makes the clone, and what follows goes on from there.
        born = Send("incremental", (after[0],), origin.base, origin.guid, raw=plan.raw, origin=origin.place)
        sends = [born, *steps(source, after[0], after[1:], plan.raw)]
    else:
        sends = steps(source, start, after, plan.raw)
    plan.sends = [*([resumed] if resumed else []), *sends]
    plan.base = plan.sends[0].base
    plan.marks = [*bookkeeping.come_back(pair), bookkeeping.finish_action(pair, goal)]


def _delivered(pair: Pair) -> list[Snapshot]:
    """The named snapshot where it went on to the replica and then from the source: our cursor is the proof."""
    if (
        pair.snapshot_name is None
        or pair.replica is None
        or pair.source.by_name(f"{pair.source.name}@{pair.snapshot_name}")
    ):
        return []
    there = pair.replica.by_name(f"{pair.replica_name}@{pair.snapshot_name}")
    known = {cursor.guid for cursor, _bookmark in pair.source.cursors() if cursor.id == pair.id}
    return [there] if there and there.guid in known else []


def _check_names(pair: Pair) -> None:
    if len(pair.replica_name) > MAX_REPLICA_NAME:
        raise Refused(
            f"{pair.replica_name[:60]}… has {len(pair.replica_name)} characters; a replica's path may have "
            f"{MAX_REPLICA_NAME}, since an increment into a longer one brings the kernel down"
        )


def _nothing_to_choose(plan: PairPlan, options: PairOptions) -> None:
    pair = plan.pair
    if pair.snapshot_name is not None:
        what = f"{pair.source.name}@{pair.snapshot_name} does not exist"
    elif not pair.source.snapshots:
        what = f"{pair.source.name} has no snapshot"
    else:
        what = f"{pair.source.name} has no snapshot that the filters allow and that is not temporary"
    if pair.named:
        raise Refused(f"{what}; make one with cerss.zfs.zfs_snapshot, or name another")
    plan.warnings.append(f"{what}; its replica is left as it is")


def _raw(pair: Pair, options: PairOptions) -> bool:
    encrypted = pair.source.encrypted
    raw = encrypted if options.raw == "auto" else options.raw == "always"
    if pair.mark:
        frozen = pair.mark.mode
        if options.raw != "auto" and raw != (frozen == RAW):
            raise Refused(
                f"{pair.target_address} was begun with {frozen} streams, and ZFS cannot mix raw and plain ones on one "
                "replica; leave raw at auto, or begin a new replica"
            )
        return frozen == RAW
    return raw


def _check_ownership(pair: Pair) -> None:
    """Nothing is received into a dataset that is not this source's replica, whatever the options say."""
    replica, mark = pair.replica, pair.mark
    if replica is None:
        return
    if not mark:
        token = replica.token
        if pair.is_first_receive and token and pair.source.by_guid(token.toguid):
            return  # somebody began this very transfer by hand; its GUID proves whose it is
        raise Refused(
            f"{pair.target_address} exists and is not a replica made by this collection, so nothing is received into "
            "it; choose another target, rename it aside, or adopt it with cerss.zfs.zfs_replication (state=present)"
        )
    if mark.released:
        raise Refused(
            f"{pair.target_address} was released by a failover and lives on its own since; choose another target, "
            "or adopt it anew with cerss.zfs.zfs_replication (state=present)"
        )
    if mark.guid != pair.source.guid:
        raise Refused(
            f"{pair.target_address} is the replica of {mark.host}:{mark.dataset} "
            f"(GUID {mark.guid}), not of {pair.source_address} (GUID {pair.source.guid}); choose another target"
        )


def _resume(plan: PairPlan, chosen: list[Snapshot], options: PairOptions) -> Send | None:
    """The stream that goes on where a cut left it; otherwise what is left of it is aborted, by a listed action."""
    pair = plan.pair
    source, replica = pair.source, pair.replica
    if replica is None:
        return None
    token = replica.token
    if not replica.has_partial_receive:
        if pair.is_first_receive:
            raise Refused(
                f"{pair.target_address} is the rest of a receive that was begun without -s and cannot be resumed; "
                "when no receive runs there any more, destroy it"
            )
        return None
    why = _cannot_resume(pair, token, chosen, plan.raw) if options.resume else "resume is off"
    if why is None and token is not None:
        if not pair.mark:
            plan.prepare.append(bookkeeping.adopt_part(pair, options, plan.raw))
        snapshot = source.by_guid(token.toguid)
        base = replica.by_guid(token.fromguid)
        name = base.snapshot if base else None
        if snapshot is not None:
            return Send(
                "resume",
                (snapshot,),
                f"{source.name}@{name}" if name else None,
                token.fromguid,
                raw=token.raw,
                token=token,
            )
    if not pair.mark:
        raise Refused(
            f"{pair.target_address} holds a partial receive that cannot be used here ({why}) and that this collection "
            f"did not begin; when nobody needs it, abort it there with: zfs receive -A {pair.replica_name}"
        )
    what = token.toname if token else "an unknown snapshot"
    plan.prepare.append(
        Step.of(
            f"abort the partial receive of {what} in {pair.target_address} ({why})",
            (zfs.receive_abort(pair.replica_name),),
            before={pair.replica_name: {"partial_receive": True}},
            after={pair.replica_name: {"partial_receive": False}},
            side=TARGET,
        )
    )
    if pair.is_first_receive:
        pair.replica = None  # the abort removes a dataset that has nothing else
    return None


def _cannot_resume(pair: Pair, token: Token | None, chosen: list[Snapshot], raw: bool) -> str | None:
    source, replica = pair.source, pair.replica
    if token is None or replica is None:
        return "its token cannot be read"
    snapshot = source.by_guid(token.toguid)
    if snapshot is None:
        return f"{token.toname} is not on the source any more"
    if all(snap.guid != token.toguid for snap in chosen):
        return f"{token.toname} is not among the wished snapshots"
    if token.raw != raw:
        return "it was begun with the other kind of stream, raw or plain"
    newest = replica.snapshots[-1] if replica.snapshots else None
    if newest is not None and newest.guid != token.fromguid:
        return f"{newest.name} is newer than its base"
    if newest is not None and replica.written:
        return f"{replica.name} was written to since {newest.name}"
    points: list[Snapshot | Bookmark] = [*source.snapshots, *source.bookmarks]
    bases = {point.guid: txg(point) for point in points}
    if token.fromguid and token.fromguid not in {*bases, source.origin_guid}:
        return "its base is not on the source any more"
    skipped = [snap for snap in chosen if bases.get(token.fromguid or "", 0) < txg(snap) < txg(snapshot)]
    if skipped:
        return f"it leaves out {skipped[0].name}, which is wished"
    return None


def _parents(pair: Pair) -> list[Step]:
    return [
        Step.of(
            f"create {name} to hold replicas",
            (),  # by the run, once for all pairs that need it
            before={name: {"state": "absent"}},
            after={name: {"state": "present"}},
            side=TARGET,
        )
        for name in pair.makes_parents
    ]


def _origin(pair: Pair, arriving: Mapping[str, str]) -> Origin | None:
    """What the replica can be a clone of, as its source is: the same snapshot on the same pool of the target."""
    guid = pair.source.origin_guid
    place = arriving.get(guid or "")
    if not guid or not place or DatasetName(place.partition("@")[0]).pool != DatasetName(pair.replica_name).pool:
        return None
    return Origin(str(pair.source.origin), guid, place)
