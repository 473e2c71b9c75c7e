# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""After a package only what it has brought is read, so that a long increment reads each snapshot once.

If that is as foreseen, so is the rest, and the next package is planned with it. If it is not, everything is read again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import LastHold
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Bookmark, Dataset, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import Pair, PairPlan, with_hold
from ansible_collections.cerss.zfs.plugins.module_utils._replication.planner import receiver_of


@dataclass(frozen=True)
class Package:
    """What a plan leaves that does not reach its goal. ``here``: name -> GUID on the source, ``there`` on the other."""

    plan: PairPlan
    foreseen: Pair
    receiver: Dataset
    here: Mapping[str, str | None]
    there: Mapping[str, str | None]

    @classmethod
    def of(cls, plan: PairPlan) -> Package | None:
        """None if the plan reaches its goal."""
        receiver = receiver_of(plan, plan.foreseen) if plan.foreseen and plan.more else None
        if plan.foreseen is None or receiver is None:
            return None
        sent: list[Snapshot | Bookmark] = [*plan.carries, *plan.foreseen.source.cursors_of(plan.foreseen.id)]
        brought = {snap.guid for snap in plan.carries}
        held = with_hold(receiver, LastHold.TAG)
        received = [snap for snap in receiver.snapshots if snap.guid in brought or snap in held]
        return cls(
            plan, plan.foreseen, receiver,
            {each.name: each.guid for each in sent}, {each.name: each.guid for each in received},
        )  # fmt: skip

    @property
    def names(self) -> tuple[list[str], list[str]]:
        """Of the snapshots and bookmarks that are read on the source and on the target."""
        return [*self.here], [*self.there]

    @property
    def looked_at(self) -> Pair:
        """The pair with the dataset that receives in the place of the replica."""
        pair = self.plan.pair
        return replace(pair, link=replace(pair.link, replica_name=self.plan.into))

    def as_foreseen(self, read: Pair) -> Pair | None:
        """The pair now, by what was ``read`` of `looked_at`. None if that is not as foreseen."""
        source, receiver = read.source, read.replica
        if receiver is None or receiver.has_partial_receive or receiver.inconsistent:
            return None
        if _found(source) != self.here or _found(receiver) != self.there:
            return None
        source, receiver = _whole(source, self.foreseen.source), _whole(receiver, self.receiver)
        now = replace(self.foreseen, source=source, free_bytes=read.free_bytes, trouble=read.trouble)
        return replace(now, beside=receiver) if self.plan.reseeds else replace(now, replica=receiver)


def _found(dataset: Dataset) -> dict[str, str | None]:
    points: list[Snapshot | Bookmark] = [*dataset.snapshots, *dataset.bookmarks]
    return {each.name: each.guid for each in points}


def _whole(read: Dataset, foreseen: Dataset) -> Dataset:
    """The dataset as it was read, with the history and the values that are known."""
    order = {snap.name: snap.createtxg for snap in read.snapshots}
    return replace(
        read,
        origin_guid=foreseen.origin_guid,
        snapshots=[replace(snap, createtxg=order.get(snap.name, snap.createtxg)) for snap in foreseen.snapshots],
        bookmarks=foreseen.bookmarks,
        children=foreseen.children,
        values={**foreseen.values, **read.values},
    )
