# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans what happens to a replica that has diverged: an error, a rollback or a reseed."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import Announcement, LastHold, SourceMark
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

ASIDE = "_aside_"  # between a replica's name and its GUID: the name that a reseed gives the old replica


def base(plan: PairPlan, options: PairOptions) -> tuple[Snapshot | Bookmark | None, Origin | None]:
    """(base of the increment, origin if the new replica becomes a clone); both None for a full stream.

    Steps that roll the replica back or put it aside, as ``on_divergence`` allows, are added to ``plan.prepare``.
    Raises Refused if it does not allow what is needed.
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
            f"{pair.target_address} and {pair.source_address} no longer have a snapshot in common"
            + f" (the replica holds {listed(replica.snapshots) or 'none'})"
            + "; on_divergence=reseed puts the replica aside and replicates in full"
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
    """The replica's origin, as a point of the source. A promotion on the target has taken the replica's snapshots."""
    guid = replica.origin_guid
    points: list[Snapshot | Bookmark] = [*pair.source.snapshots, *pair.source.bookmarks]
    return next((point for point in points if guid and point.guid == guid), None)


def _promoted_here(pair: Pair, replica: Dataset) -> Snapshot | None:
    """The source's origin, as a snapshot of the replica. A promotion on the source has taken the source's snapshots."""
    return replica.by_guid(pair.source.origin_guid)


def _after_promotion(
    plan: PairPlan, replica: Dataset, options: PairOptions
) -> tuple[Snapshot | Bookmark | None, Origin | None]:
    """As `base`: the clone that was promoted has the common snapshots, so a new replica can start from them."""
    pair = plan.pair
    point, kept = _promoted_there(pair, replica), _promoted_here(pair, replica)
    victim, origin = (pair.target_address, replica.origin) if point else (pair.source_address, pair.source.origin)
    if options.on_divergence != "reseed":
        raise Refused(
            f"the common snapshots of {pair.source_address} and {pair.target_address} moved to "
            f"{str(origin).partition('@')[0]} when it was promoted; promote {victim} to move them back, or set "
            "on_divergence=reseed to put the replica aside and start a new one from them by an increment"
        )
    if point and point.guid:
        _reseed(plan, replica, None, None)
        place = str(origin)
        if place.startswith(f"{replica.name}/"):  # until it is moved back it lies below the old replica
            place = aside_name(replica.name, replica.guid) + place[len(replica.name) :]
        return point, Origin(point.name, point.guid, place)
    if kept and kept.guid:
        # The old replica keeps the snapshot that the new one is a clone of.
        return None, _reseed(plan, replica, kept, Snapshot(str(origin), kept.guid))[1]
    return _reseed(plan, replica, None, None)


def aside_name(place: str, guid: str | None) -> str:
    """The name that a reseed gives the old replica: its own name, _aside_ and its GUID in hex digits."""
    return f"{place}{ASIDE}{int(guid or 0):x}"


def _reseed(
    plan: PairPlan, replica: Dataset, there: Snapshot | None, here: Snapshot | Bookmark | None
) -> tuple[Snapshot | Bookmark | None, Origin | None]:
    """Plan to rename the replica; the new one becomes a clone of its last common snapshot if there is one.

    ``there`` and ``here`` are that snapshot on the replica and on the source. Returns the same as `base`.
    """
    pair = plan.pair
    aside = aside_name(replica.name, replica.guid)
    if len(aside) > MAX_NAME:
        raise Refused(
            f"{pair.target_address} cannot be put aside: its new name {aside} would exceed {MAX_NAME} characters; "
            "replicate to another dataset"
        )
    if replica.children:
        plan.prepare.append(_move_children(plan, replica, aside))
    commands = [zfs.rename(replica.name, aside, replica.type), *_unmark(pair, replica, aside)]
    plan.prepare.append(
        Step.of(
            f"put {pair.target_address} aside as {aside} and remove our marks from it",
            tuple(commands),
            before={replica.name: {"state": "present"}, aside: {"state": "absent"}},
            after={replica.name: {"state": "present"}, aside: {"state": "present"}},
            side=TARGET,
        )
    )
    plan.warnings.append(
        f"the old replica is kept as {aside} and uses space until you destroy it"
        + (f"; the new one is a clone of it, so promote {replica.name} first" if there else "")
    )
    pair.known_id, pair.replica = pair.id, None
    if there is None or here is None or here.guid is None:
        return None, None
    return here, Origin(here.name, here.guid, f"{aside}@{there.snapshot}")


def _unmark(pair: Pair, replica: Dataset, place: str) -> list[list[str]]:
    """The commands that remove our marks from the old replica, whose name is ``place`` by then."""
    tag = LastHold(pair.id).format()
    held = [
        f"{place}@{snap.snapshot}" for snap in replica.snapshots if any(hold.tag == tag for hold in snap.holds or [])
    ]
    commands = [zfs.inherit(name, [place]) for name in (SourceMark.NAME, Announcement.NAME) if name in replica.ours]
    return [*commands, zfs.release(tag, held)] if held else commands


def finish_aside(pair: Pair, aside: Dataset) -> Step:
    """Remove our marks from an old replica if a run was interrupted right after the rename."""
    commands = tuple(_unmark(pair, aside, aside.name))
    return Step.of(f"remove our marks from {aside.name}, which a reseed put aside", commands, side=TARGET)


def _move_children(plan: PairPlan, replica: Dataset, aside: str) -> Step:
    """Record that the datasets below, which move with the rename, must be moved back (`bookkeeping.come_back`)."""
    pair = plan.pair
    if pair.aside:
        raise Refused(
            f"{pair.target_address} cannot be put aside again: an earlier reseed has not moved the datasets below "
            f"{pair.aside} back yet; move them below {replica.name} by hand first"
        )
    stuck = [child for child in pair.below if child.get("encryptionroot") not in (child.name, None)]
    if stuck:
        raise Refused(
            f"{pair.target_address} cannot be put aside: {listed(stuck)} is not an encryption root, so ZFS could not "
            "move it back; make it one with zfs change-key, or move it elsewhere first"
        )
    text = f"record on {pair.source.name} that {listed(pair.below)} must be moved back from {aside}"
    pair.below = [replace(child, name=aside + child.name[len(replica.name) :]) for child in pair.below]
    pair.aside = aside
    return bookkeeping.record(pair, text, pair.mark.mode if pair.mark else None, aside)


def _rollback(pair: Pair, there: Snapshot, newer: list[Snapshot]) -> list[Step]:
    """Destroy by name exactly the snapshots and bookmarks newer than ``there``, then roll back to it."""
    bookmarks = pair.replica.bookmarks if pair.replica else []
    later = [bookmark for bookmark in bookmarks if bookmark.createtxg > txg(there)]
    blocked = [f"{snap.name} ({', '.join(needs)})" for snap in newer if (needs := _foreign_needs(snap, pair.id))]
    blocked += [
        f"{bookmark.name} (the base of a further replica)" for bookmark in later if _is_foreign(bookmark, pair.id)
    ]
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
    commands += [zfs.destroy(bookmark.name) for bookmark in later]
    names = [snap.name for snap in newer] + [bookmark.name for bookmark in later]
    if names:
        result.append(Step.of(
            f"destroy {', '.join(names)} on the replica", tuple(commands),
            before={name: {"state": "full"} for name in names}, after={name: {"state": "absent"} for name in names},
            side=TARGET,
        ))  # fmt: skip
    result.append(Step.of(f"roll {pair.target_address} back to {there.name}", (zfs.rollback(there.name),), side=TARGET))
    return result


def _is_foreign(bookmark: Bookmark, relationship: str) -> bool:
    """True for a cursor of another relationship."""
    return bookmark.relationship not in (None, relationship)


def _foreign_needs(snapshot: Snapshot, relationship: str) -> list[str]:
    """The clones and holds that block a rollback, with holds of other relationships: a replica may also be a source."""
    held = [f"hold {hold.tag}" for hold in snapshot.holds or [] if hold.relationship != relationship]
    return held + [f"clone {name}" for name in snapshot.clones or []]
