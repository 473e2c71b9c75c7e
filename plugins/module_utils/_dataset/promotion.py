# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Promotion: a clone takes over its origin and all that is older, with holds and bookmarks."""

from __future__ import annotations

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Bookmark, Dataset, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import MAX_NAME
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan
from ansible_collections.cerss.zfs.plugins.module_utils._host.inventory import Inventory
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs


def add(plan: Plan, clone: Dataset, dataset: Dataset, origin: str, family: Inventory) -> None:
    """The last step of a plan; Refused where it must not be.

    ``origin`` is a snapshot of ``dataset``. ``family`` has that dataset, and the clone when it exists.
    """
    name = clone.name
    _refuse_replicated(clone, dataset)
    moving = _moving(family.get(dataset.name, Dataset(dataset.name)), origin)
    _refuse_clashes(name, moving, family.get(name, Dataset(name)))
    snapshots = [moved for moved in moving if "@" in moved] or [origin]
    there = {name: {"origin": origin}, **{snapshot: {"present": True} for snapshot in snapshots}}
    plan.add(
        f"promote {name}, which takes over {', '.join(snapshots)}",
        zfs.promote(name),
        before=there if name in family else {},
        after={
            name: {"origin": dataset.origin},
            **{snapshot: {"present": False} for snapshot in snapshots},
            **{f"{name}@{snapshot.partition('@')[2]}": {"present": True} for snapshot in snapshots},
        },
    )


def _refuse_replicated(clone: Dataset, dataset: Dataset) -> None:
    """Promotion takes snapshots, holds and bookmarks away from a dataset whose replication stands on them."""
    for each in (dataset, clone):
        if each.relationships():
            raise Refused(
                f"{clone.name} cannot be promoted: {each.name} is {' and '.join(each.relationships())}, and promotion "
                "moves snapshots, holds and bookmarks that it needs. End it first (zfs_replication with state=absent), "
                "or leave the clone as it is"
            )


def _moving(dataset: Dataset, origin: str) -> list[str]:
    """Snapshots and bookmarks that go over to the clone: the origin and all that is older."""
    snapshot = dataset.by_name(origin)
    newest = snapshot.createtxg if snapshot and snapshot.createtxg is not None else 0
    points: list[Snapshot | Bookmark] = [*dataset.snapshots, *dataset.bookmarks]
    return [point.name for point in points if point.createtxg is not None and point.createtxg <= newest]


def _refuse_clashes(name: str, moving: list[str], own: Dataset) -> None:
    points: list[Snapshot | Bookmark] = [*own.snapshots, *own.bookmarks]
    taken = {point.name[len(name) :] for point in points}
    parts = [moved[moved.index("@" if "@" in moved else "#") :] for moved in moving]
    both = [part for part in parts if part in taken]
    if both:
        raise Refused(
            f"{name} cannot be promoted: it would take over {', '.join(both)}, and has the same names already. "
            "Rename or delete these on one of the two sides first"
        )
    long = [part for part in parts if len(name) + len(part) > MAX_NAME]
    if long:
        raise Refused(
            f"{name} cannot be promoted: with its name {', '.join(long)} would be longer than {MAX_NAME} characters. "
            "Rename the clone to something shorter first"
        )
