# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The planner: from the current state of both sides and the options to the steps of a pair.

Check mode reports the plan of `plan_pair`, and the run carries it out.
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
    """The snapshots that the options request, oldest first; the last one is the goal. Empty if none matches.

    Without a snapshot name the goal is the newest one that the filters allow. Temporary snapshots are requested only
    by name. With ``intermediates: false`` the goal is the only one.
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


def steps(
    source: Dataset, base: Snapshot | Bookmark | None, requested: list[Snapshot], raw: bool, packages: bool = True
) -> list[Send]:
    """The fewest streams that carry exactly ``requested`` (oldest first, all newer than the base).

    ``-I`` sends every snapshot in between, so it is used only where all of them are requested. ``-i`` is the only form
    that starts from a bookmark. Without a base the first snapshot is sent in full. For example, if the source has s1
    to s5, the base is the snapshot s1 and all but s4 are requested: ``-I s1 s3`` and ``-i s3 s5``; without
    ``packages`` ``-i s1 s2``, ``-i s2 s3`` and ``-i s3 s5``.
    """
    result: list[Send] = []
    order = {snap.name: index for index, snap in enumerate(source.snapshots)}
    done = 0
    while done < len(requested):
        if base is None:
            result.append(Send("full", (requested[done],), raw=raw))
            base, done = requested[done], done + 1
            continue
        until = done + 1
        if packages and isinstance(base, Snapshot) and order[requested[done].name] == order[base.name] + 1:
            while until < len(requested) and order[requested[until].name] == order[requested[until - 1].name] + 1:
                until += 1
        carries = tuple(requested[done:until])
        result.append(Send("incremental", carries, base.name, base.guid, intermediates=len(carries) > 1, raw=raw))
        base, done = carries[-1], until
    return result


def settled_at_a_glance(pair: Pair, options: PairOptions) -> bool:
    """True if names, GUIDs and bookmarks alone prove that there is nothing to do.

    The last step of a run removes the previous cursor (or `OpenCursor` after a first transfer). So if the source's only
    cursors are at the goal, one for each relationship, all marks have been moved.
    """
    chosen = requested(pair, options)
    if not chosen or not pair.replica or pair.replica.inconsistent or not pair.replica.by_guid(chosen[-1].guid):
        return False
    if not all(isinstance(OpenCursor.parse(bookmark.bookmark), Spoilt) for bookmark in pair.source.bookmarks):
        return False
    cursors = pair.source.cursors()
    return bool(cursors) and all(cursor.guid == chosen[-1].guid for cursor, _bookmark in cursors)


def plan_pair(
    pair: Pair, options: PairOptions, arriving: Mapping[str, str] | None = None, assume_created: bool = False
) -> PairPlan:
    """The plan of one pair; an error becomes `PairPlan.error`.

    ``arriving`` maps GUIDs to snapshots that exist on the target or will exist when this pair is replicated.
    ``assume_created``: check mode, where an earlier task may create the named snapshot if it does not exist yet.
    """
    plan = PairPlan(pair)
    try:
        _plan(plan, options, arriving or {}, assume_created)
    except CerssError as error:
        plan.error = error
    return plan


def _plan(plan: PairPlan, options: PairOptions, arriving: Mapping[str, str], assume_created: bool) -> None:
    pair = plan.pair
    source, replica = pair.source, pair.replica
    _check_names(pair)
    delivered = _delivered(pair)
    if (
        assume_created
        and not delivered
        and pair.snapshot_name
        and source.by_name(f"{source.name}@{pair.snapshot_name}") is None
    ):
        source.snapshots.append(Snapshot(f"{source.name}@{pair.snapshot_name}", None, 2**63))  # newer than any other
        plan.warnings.append(
            f"{source.name}@{pair.snapshot_name} does not exist; check mode assumes that an earlier task creates it"
        )
    chosen = delivered or requested(pair, options)
    if not chosen:
        _nothing_to_choose(plan, options)
        return
    if pair.strayed:
        raise Refused(
            f"the replica of {pair.source_address} is now {pair.strayed}, not {pair.target_address}; rename it back, "
            f"or end the relationship {pair.id} with cerss.zfs.zfs_replication (state=absent) to start a new one; if a "
            "reseed of a dataset above moved it, the next run of that replication moves it back"
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
    # Both may leave no replica: aborting a first receive destroys it, and a reseed puts it aside.
    start, origin = (resumed.snapshot, None) if resumed else divergence.base(plan, options)
    if pair.replica is None:
        plan.prepare += _parents(pair)
        if source.origin and start is None and origin is None:
            origin = _origin(pair, arriving)
            plan.origin_preserved = origin is not None
    after = [snap for snap in chosen if start is None or txg(snap) > txg(start)]
    if not after and not resumed:
        raise Refused(
            f"{pair.target_address} already holds snapshots newer than {goal.name}, and ZFS cannot add an older one; "
            "replicate it to another dataset"
        )
    if origin:
        # The first stream creates the clone with one snapshot; the others follow as increments.
        first = Send("incremental", (after[0],), origin.base, origin.guid, raw=plan.raw, origin=origin.place)
        sends = [first, *steps(source, after[0], after[1:], plan.raw, options.packages)]
    else:
        sends = steps(source, start, after, plan.raw, options.packages)
    plan.sends = [*([resumed] if resumed else []), *sends]
    plan.base = plan.sends[0].base
    plan.marks = [*bookkeeping.come_back(pair), bookkeeping.finish_action(pair, goal)]


def _delivered(pair: Pair) -> list[Snapshot]:
    """The named snapshot, if it was replicated and has since been deleted on the source; our cursor proves it."""
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
            f"{pair.replica_name[:60]}… has {len(pair.replica_name)} characters; a replica's name can have at most "
            f"{MAX_REPLICA_NAME}, because an increment into a longer one panics the kernel; choose a shorter target"
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
        raise Refused(f"{what}; create one with cerss.zfs.zfs_snapshot, or name another snapshot")
    plan.warnings.append(f"{what}; it is skipped")


def _raw(pair: Pair, options: PairOptions) -> bool:
    encrypted = pair.source.encrypted
    raw = encrypted if options.raw == "auto" else options.raw == "always"
    if pair.mark:
        frozen = pair.mark.mode
        if options.raw != "auto" and raw != (frozen == RAW):
            raise Refused(
                f"{pair.target_address} was started with {frozen} streams, and ZFS cannot mix raw and plain streams on "
                "one replica; leave raw at auto, or replicate to another dataset"
            )
        return frozen == RAW
    return raw


def _check_ownership(pair: Pair) -> None:
    """Raise Refused if an existing target dataset is not this source's replica, whatever the options say."""
    replica, mark = pair.replica, pair.mark
    if replica is None:
        return
    if not mark:
        token = replica.token
        if pair.is_first_receive and token and pair.source.by_guid(token.toguid):
            return  # this transfer was started by hand; the GUID in its token proves that it is ours
        raise Refused(
            f"{pair.target_address} exists and is not a replica made by this collection, so nothing is received into "
            "it; choose another target, rename it, or adopt it with cerss.zfs.zfs_replication (state=present)"
        )
    if mark.released:
        raise Refused(
            f"{pair.target_address} was released by a failover and is no longer a replica; choose another target, "
            "or adopt it again with cerss.zfs.zfs_replication (state=present)"
        )
    if mark.guid != pair.source.guid:
        raise Refused(
            f"{pair.target_address} is the replica of {mark.host}:{mark.dataset} "
            f"(GUID {mark.guid}), not of {pair.source_address} (GUID {pair.source.guid}); choose another target"
        )


def _resume(plan: PairPlan, chosen: list[Snapshot], options: PairOptions) -> Send | None:
    """The stream that resumes a partial receive, or None. If it cannot be resumed, ``plan.prepare`` gets its abort."""
    pair = plan.pair
    source, replica = pair.source, pair.replica
    if replica is None:
        return None
    token = replica.token
    if not replica.has_partial_receive:
        if pair.is_first_receive:
            raise Refused(
                f"{pair.target_address} is left over from a receive without -s and cannot be resumed; destroy it when "
                "no receive is running there"
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
            f"{pair.target_address} holds a partial receive that this collection did not start and that cannot be "
            f"resumed ({why}); if nobody needs it, abort it there with: zfs receive -A {pair.replica_name}"
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
        pair.replica = None  # ZFS destroys a dataset that has nothing else
    return None


def _cannot_resume(pair: Pair, token: Token | None, chosen: list[Snapshot], raw: bool) -> str | None:
    """Why a partial receive cannot be resumed; None if it can."""
    source, replica = pair.source, pair.replica
    if token is None or replica is None:
        return "its resume token cannot be read"
    snapshot = source.by_guid(token.toguid)
    if snapshot is None:
        return f"{token.toname} is no longer on the source"
    if all(snap.guid != token.toguid for snap in chosen):
        return f"{token.toname} is not among the requested snapshots"
    if token.raw != raw:
        return "it was started with the other kind of stream (raw or plain)"
    newest = replica.snapshots[-1] if replica.snapshots else None
    if newest is not None and newest.guid != token.fromguid:
        return f"{newest.name} is newer than its base"
    if newest is not None and replica.written:
        return f"{replica.name} has been written to since {newest.name}"
    points: list[Snapshot | Bookmark] = [*source.snapshots, *source.bookmarks]
    bases = {point.guid: txg(point) for point in points}
    if token.fromguid and token.fromguid not in {*bases, source.origin_guid}:
        return "its base is no longer on the source"
    skipped = [snap for snap in chosen if bases.get(token.fromguid or "", 0) < txg(snap) < txg(snapshot)]
    if skipped:
        return f"it leaves out {skipped[0].name}, which is requested"
    return None


def _parents(pair: Pair) -> list[Step]:
    return [
        Step.of(
            f"create {name} to hold replicas",
            (),  # created by the run, once for all pairs that need it
            before={name: {"state": "absent"}},
            after={name: {"state": "present"}},
            side=TARGET,
        )
        for name in pair.makes_parents
    ]


def _origin(pair: Pair, arriving: Mapping[str, str]) -> Origin | None:
    """The source's origin on the target, so that the replica becomes a clone too; None if the target pool lacks it."""
    guid = pair.source.origin_guid
    place = arriving.get(guid or "")
    if not guid or not place or DatasetName(place.partition("@")[0]).pool != DatasetName(pair.replica_name).pool:
        return None
    return Origin(str(pair.source.origin), guid, place)
