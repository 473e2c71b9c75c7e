# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a replica stands to its source: what `compare` found, and the steps and sentences that follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import LastHold
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Bookmark, Dataset, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Step
from ansible_collections.cerss.zfs.plugins.module_utils._replication import bookkeeping
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import (
    TARGET,
    Origin,
    Pair,
    listed,
    newest_common,
    only_holds,
    txg,
    with_hold,
)
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs

_LISTED = 50  # names in a refusal; check mode lists all of them


@dataclass(frozen=True)
class Fresh:
    """There is no replica yet, or only a part of its first snapshot."""


@dataclass(frozen=True)
class Continue:
    """The next increment starts from ``base``."""

    base: Snapshot | Bookmark


@dataclass(frozen=True)
class Diverged:
    """The replica has more than the source sent: ``newer`` snapshots, ``later`` bookmarks, or ``written`` bytes.

    ``there`` and ``here``: the newest common snapshot on the replica and on the source.
    """

    there: Snapshot
    here: Snapshot | Bookmark
    newer: tuple[Snapshot, ...] = ()
    later: tuple[Bookmark, ...] = ()
    written: int = 0


@dataclass(frozen=True)
class Apart:
    """There is no common snapshot any more.

    ``origin``: where an increment could start all the same, since a promotion moved the common snapshots to a clone.
    ``victim``: the dataset that can be promoted to move them back, and ``holder`` the clone that has them.
    """

    origin: Origin | None = None
    victim: str = ""
    holder: str = ""


def compare(pair: Pair) -> Fresh | Continue | Diverged | Apart:
    """What names, GUIDs, order and the replica's ``written`` tell."""
    replica = pair.replica
    if replica is None or pair.is_first_receive:
        return Fresh()
    common = None if pair.made_anew else newest_common(pair.source, replica)
    if common is None:
        return _apart(pair, replica)
    there, here = common
    newer = tuple(snap for snap in replica.snapshots if txg(snap) > txg(there))
    if not newer and not replica.written:
        return Continue(here)
    later = tuple(bookmark for bookmark in replica.bookmarks if bookmark.createtxg > txg(there))
    return Diverged(there, here, newer, later, replica.written)


def _apart(pair: Pair, replica: Dataset) -> Apart:
    points: list[Snapshot | Bookmark] = [*pair.source.snapshots, *pair.source.bookmarks]
    promoted_there = next((each for each in points if each.guid and each.guid == replica.origin_guid), None)
    if promoted_there and replica.origin:
        origin = Origin(promoted_there.name, str(promoted_there.guid), replica.origin)
        return Apart(origin, pair.target_address, replica.origin.partition("@")[0])
    kept = replica.by_guid(pair.source.origin_guid)
    if kept and pair.source.origin:
        origin = Origin(pair.source.origin, str(kept.guid), kept.name)
        return Apart(origin, pair.source_address, pair.source.origin.partition("@")[0])
    return Apart()


def refusal(pair: Pair, found: Diverged | Apart) -> Refused:
    """The error where ``on_divergence`` does not allow what is needed."""
    if isinstance(found, Diverged):
        return Refused(
            f"{pair.target_address} has diverged from {pair.source_address}: after the last common snapshot "
            f"{found.there.name} it holds {_excess(found)}; on_divergence=rollback removes exactly that, reseed puts "
            "the whole replica aside"
        )
    if pair.made_anew and pair.mark:
        return Refused(
            f"{pair.target_address} is the replica of a dataset {pair.mark.source} that does not "
            f"exist any more (GUID {pair.mark.guid}); {pair.source_address} has another GUID ({pair.source.guid}); "
            "on_divergence=reseed puts the old replica aside and replicates in full"
        )
    if found.origin:
        return Refused(
            f"the common snapshots of {pair.source_address} and {pair.target_address} moved to {found.holder} when it "
            f"was promoted; promote {found.victim} to move them back, or set on_divergence=reseed to put the replica "
            "aside and start a new one from them by an increment"
        )
    if only_holds(pair.replica):
        return Refused(
            f"{pair.target_address} exists and holds other datasets, but is no replica, so nothing is received into "
            "it; on_divergence=reseed makes a replica of it, which the datasets below it are moved to"
        )
    return Refused(
        f"{pair.target_address} and {pair.source_address} no longer have a snapshot in common (the replica holds "
        f"{listed(pair.replica.snapshots if pair.replica else []) or 'none'}); on_divergence=reseed puts the replica "
        "aside and replicates in full"
    )


def _excess(found: Diverged) -> str:
    """What a rollback would remove, for somebody who has to agree to it."""
    parts = []
    if found.newer:
        parts.append(f"the snapshots {listed(found.newer, _LISTED)}")
    if found.later:
        parts.append(f"the bookmarks {', '.join(bookmark.name for bookmark in found.later[:_LISTED])}")
    held = [snap for snap in found.newer if any(hold.tag == LastHold.TAG for hold in snap.holds or [])]
    if held:
        parts.append(f"our hold on {listed(held)}")
    if found.written:
        parts.append(f"{found.written} bytes written since")
    return " and ".join(parts)


def rollback(pair: Pair, found: Diverged) -> list[Step]:
    """Destroy by name exactly what is newer than the last common snapshot, then roll back to it.

    Raises Refused if others need any of it: a replica may also be a source.
    """
    blocked = [f"{snap.name} ({', '.join(needs)})" for snap in found.newer if (needs := needs_of(snap))]
    blocked += [f"{each.name} (the base of a further replica)" for each in found.later if each.relationship]
    if blocked:
        raise Refused(
            f"{pair.target_address} cannot be rolled back to {found.there.name}: others need {', '.join(blocked)}; "
            "release or remove these first, or use on_divergence=reseed"
        )
    result: list[Step] = []
    if pair.replica and loses_part(pair.replica, found):
        result.append(abort(pair.replica, pair.target_address, "its base is not kept"))
    ours = with_hold(pair.replica, LastHold.TAG) if pair.replica else []
    held = [snap.name for snap in found.newer if snap in ours]
    if held:
        # First, so that a replica whose run is killed here still has its hold.
        result += [] if found.there in ours else [bookkeeping.last_hold(pair, found.there)]
        text = f"release our hold {LastHold.TAG} from {', '.join(held)}"
        result.append(Step.of(text, zfs.split(partial(zfs.release, LastHold.TAG), held), side=TARGET))
    commands = [zfs.destroy_snapshots(pair.replica_name, batch, defer=False)
                for batch in zfs.batches([snap.snapshot for snap in found.newer], zfs.BATCH)]  # fmt: skip
    commands += [zfs.destroy(bookmark.name) for bookmark in found.later]
    names = [snap.name for snap in found.newer] + [bookmark.name for bookmark in found.later]
    if names:
        result.append(Step.of(
            f"destroy {', '.join(names)} on the replica", tuple(commands),
            before={name: {"state": "full"} for name in names}, after={name: {"state": "absent"} for name in names},
            side=TARGET,
        ))  # fmt: skip
    text = f"roll {pair.target_address} back to {found.there.name}"
    return [*result, Step.of(text, (zfs.rollback(found.there.name),), side=TARGET)]


def loses_part(replica: Dataset, found: Diverged) -> bool:
    """True if the replica holds a partial receive that starts from a snapshot that a rollback destroys.

    ZFS lists it among the clones of that snapshot, as ``<replica>/%recv``.
    """
    base = replica.token.fromguid if replica.token else None
    return replica.has_partial_receive and base != found.there.guid


def abort(receiver: Dataset, where: str, why: str) -> Step:
    """Discard a partial receive. ``where``: the receiver, for people."""
    what = receiver.token.toname if receiver.token else "an unknown snapshot"
    return Step.of(
        f"abort the partial receive of {what} in {where} ({why})",
        (zfs.receive_abort(receiver.name),),
        before={receiver.name: {"partial_receive": True}},
        after={receiver.name: {"partial_receive": False}},
        side=TARGET,
    )


def needs_of(snapshot: Snapshot) -> list[str]:
    """The clones and holds that block a rollback. Our partial receive is none: it is aborted first."""
    held = [f"hold {hold.tag}" for hold in snapshot.holds or [] if hold.tag != LastHold.TAG]
    return held + [f"clone {name}" for name in snapshot.clones or [] if name != f"{snapshot.dataset}/%recv"]
