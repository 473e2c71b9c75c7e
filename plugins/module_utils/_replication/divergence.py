# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A replica that holds what its source does not: said, taken back by name, or put aside."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    Announcement,
    LastHold,
    OpenCursor,
    SourceMark,
    Spoilt,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import (
    Bookmark,
    Dataset,
    Snapshot,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import MAX_NAME
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Step
from ansible_collections.cerss.zfs.plugins.module_utils._replication import bookkeeping
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import (
    TARGET,
    Origin,
    Pair,
    PairOptions,
    PairPlan,
    listed,
    newest_common,
    txg,
)
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs

ASIDE = "_aside_"  # between a replica's name and its GUID, as the name of what a reseed put aside


def base(plan: PairPlan, options: PairOptions) -> tuple[Snapshot | Bookmark | None, Origin | None]:
    """(the newest point that both sides have, what a reseeded replica becomes a clone of).

    What stands after that point on the replica is taken back or put aside where ``on_divergence`` allows it.
    """
    pair = plan.pair
    replica = pair.replica
    if replica is None or pair.is_first_receive:
        return None, None
    common = newest_common(pair.source, replica)
    if common is None:
        if _promoted_there(pair, replica) or _promoted_here(pair, replica):
            return _after_promotion(plan, replica, options)
        if options.on_divergence == "reseed":
            return _reseed(plan, replica, None, None)
        raise Refused(
            f"{pair.target_address} and {pair.source_address} have no snapshot in common any more"
            + (f" (it holds {listed(replica.snapshots)})" if replica.snapshots else " (it holds none)")
            + "; with on_divergence=reseed it is put aside and begun anew"
        )
    there, here = common
    newer = [snap for snap in replica.snapshots if txg(snap) > txg(there)]
    written = replica.written if not newer else 0
    if not newer and not written:
        return here, None
    if options.on_divergence == "fail":
        what = listed(newer) if newer else f"{written} bytes written since"
        raise Refused(
            f"{pair.target_address} has diverged from {pair.source_address}: after the last common snapshot "
            f"{there.name} it holds {what}; on_divergence=rollback removes exactly that, reseed puts the whole replica "
            "aside"
        )
    if options.on_divergence == "reseed":
        return _reseed(plan, replica, there, here)
    plan.prepare += _rollback(pair, there, newer)
    return here, None


def _promoted_there(pair: Pair, replica: Dataset) -> Snapshot | Bookmark | None:
    """The source's point that the replica's origin equals: a promotion on the target took the replica's snapshots."""
    guid = replica.origin_guid
    points: list[Snapshot | Bookmark] = [*pair.source.snapshots, *pair.source.bookmarks]
    return next((point for point in points if guid and point.guid == guid), None)


def _promoted_here(pair: Pair, replica: Dataset) -> Snapshot | None:
    """The replica's snapshot that the source's origin equals: a promotion on the source took the source's snapshots."""
    return replica.by_guid(pair.source.origin_guid)


def _after_promotion(
    plan: PairPlan, replica: Dataset, options: PairOptions
) -> tuple[Snapshot | Bookmark | None, Origin | None]:
    """ZFS takes no increment any more, but the snapshots live on in the clone that was promoted."""
    pair = plan.pair
    point, kept = _promoted_there(pair, replica), _promoted_here(pair, replica)
    victim, origin = (pair.target_address, replica.origin) if point else (pair.source_address, pair.source.origin)
    if options.on_divergence != "reseed":
        raise Refused(
            f"the common snapshots of {pair.source_address} and {pair.target_address} went to "
            f"{str(origin).partition('@')[0]} when that was promoted; take it back by promoting {victim}, or with "
            "on_divergence=reseed the replica is put aside and a new one grows out of them, by increments"
        )
    if point and point.guid:
        _reseed(plan, replica, None, None)
        place = str(origin)
        if place.startswith(f"{replica.name}/"):  # until the new replica is whole it is below the old one
            place = aside_name(replica.name, replica.guid) + place[len(replica.name) :]
        return point, Origin(point.name, point.guid, place)
    if kept and kept.guid:
        # Put aside it keeps the snapshot that the new one is a clone of.
        return None, _reseed(plan, replica, kept, Snapshot(str(origin), kept.guid))[1]
    return _reseed(plan, replica, None, None)


def aside_name(place: str, guid: str | None) -> str:
    """Where a reseed puts the replica that is there."""
    return f"{place}{ASIDE}{int(guid or 0):x}"


def _reseed(
    plan: PairPlan, replica: Dataset, there: Snapshot | None, here: Snapshot | Bookmark | None
) -> tuple[Snapshot | Bookmark | None, Origin | None]:
    """Put the replica aside with all it holds. The new one grows out of its last good snapshot, if there is one."""
    pair = plan.pair
    aside = aside_name(replica.name, replica.guid)
    if len(aside) > MAX_NAME:
        raise Refused(f"{pair.target_address} cannot be put aside: {aside} would be too long a name")
    if replica.children:
        plan.prepare.append(_take_along(plan, replica, aside))
    commands = [zfs.rename(replica.name, aside, replica.type), *_unmark(pair, replica, aside)]
    plan.prepare.append(
        Step.of(
            f"put {pair.target_address} aside as {aside} and take our marks off it",
            tuple(commands),
            before={replica.name: {"state": "present"}, aside: {"state": "absent"}},
            after={replica.name: {"state": "present"}, aside: {"state": "present"}},
            side=TARGET,
        )
    )
    plan.warnings.append(
        f"the old replica stays as {aside} and needs its space until somebody destroys it"
        + (f"; the new one is a clone of it, so promote {replica.name} before that" if there else "")
    )
    pair.known_id, pair.replica = pair.id, None
    if there is None or here is None or here.guid is None:
        return None, None
    return here, Origin(here.name, here.guid, f"{aside}@{there.snapshot}")


def _unmark(pair: Pair, replica: Dataset, place: str) -> list[list[str]]:
    """Our marks come off what is, or will then be, at the place."""
    tag = LastHold(pair.id).format()
    held = [
        f"{place}@{snap.snapshot}" for snap in replica.snapshots if any(hold.tag == tag for hold in snap.holds or [])
    ]
    commands = [zfs.inherit(name, [place]) for name in (SourceMark.NAME, Announcement.NAME) if name in replica.ours]
    return [*commands, zfs.release(tag, held)] if held else commands


def finish_aside(pair: Pair, aside: Dataset) -> Step:
    """The rest of putting a replica aside, where a run was cut short right after the rename."""
    commands = tuple(_unmark(pair, aside, aside.name))
    return Step.of(f"take our marks off {aside.name}, which a reseed has put aside", commands, side=TARGET)


def _take_along(plan: PairPlan, replica: Dataset, aside: str) -> Step:
    """What stands below moves with the rename, and comes back when the new replica is whole (bookkeeping.come_back)."""
    pair = plan.pair
    if pair.aside:
        raise Refused(
            f"{pair.target_address} cannot be put aside again: an earlier reseed has not moved back yet what is below "
            f"{pair.aside}; move it below {replica.name} by hand first"
        )
    stuck = [child for child in pair.below if child.get("encryptionroot") not in (child.name, None)]
    if stuck:
        raise Refused(
            f"{pair.target_address} cannot be put aside: {listed(stuck)} has its key from there, and ZFS would not let "
            "it come back; make it an encryption root of its own (zfs change-key) or move it elsewhere first"
        )
    text = f"record on {pair.source.name} what has to come back from {aside}: {listed(pair.below)}"
    pair.below = [replace(child, name=aside + child.name[len(replica.name) :]) for child in pair.below]
    pair.aside = aside
    return bookkeeping.record(pair, text, pair.mark.mode if pair.mark else None, aside)


def _rollback(pair: Pair, there: Snapshot, newer: list[Snapshot]) -> list[Step]:
    """Take back what stands after the last common snapshot, each thing by its name, and nothing else."""
    marks = [mark for mark in (pair.replica.bookmarks if pair.replica else []) if mark.createtxg > txg(there)]
    blocked = [f"{snap.name} ({', '.join(needs)})" for snap in newer if (needs := _foreign_needs(snap, pair.id))]
    blocked += [f"{mark.name} (the base of a further replica)" for mark in marks if _is_foreign(mark, pair.id)]
    if blocked:
        raise Refused(
            f"{pair.target_address} cannot be rolled back to {there.name}: others need {', '.join(blocked)}; "
            "release or remove these first, or use on_divergence=reseed"
        )
    result: list[Step] = []
    for tag in sorted({hold.tag for snap in newer for hold in snap.holds or []}):
        held = [snap.name for snap in newer if any(hold.tag == tag for hold in snap.holds or [])]
        result.append(Step.of(f"release our hold {tag} from {', '.join(held)}", (zfs.release(tag, held),), side=TARGET))
    commands = [zfs.destroy_snapshots(pair.replica_name, batch, defer=False)
                for batch in zfs.batches([snap.snapshot for snap in newer], zfs.BATCH)]  # fmt: skip
    commands += [zfs.destroy(mark.name) for mark in marks]
    gone = [snap.name for snap in newer] + [mark.name for mark in marks]
    if gone:
        result.append(Step.of(
            f"destroy {', '.join(gone)} on the replica", tuple(commands),
            before={name: {"state": "full"} for name in gone}, after={name: {"state": "absent"} for name in gone},
            side=TARGET,
        ))  # fmt: skip
    result.append(Step.of(f"roll {pair.target_address} back to {there.name}", (zfs.rollback(there.name),), side=TARGET))
    return result


def _is_foreign(mark: Bookmark, relationship: str) -> bool:
    found = mark.cursor or OpenCursor.parse(mark.bookmark)
    return not isinstance(found, Spoilt) and found.id != relationship


def _foreign_needs(snapshot: Snapshot, relationship: str) -> list[str]:
    """Also the marks of other relationships: a replica may be the source of a further one."""
    held = [f"hold {hold.tag}" for hold in snapshot.holds or [] if hold.relationship != relationship]
    return held + [f"clone {name}" for name in snapshot.clones or []]
