# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Promotion of a clone, which takes over its origin and everything older, with holds and bookmarks."""

from __future__ import annotations

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Bookmark, Dataset, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import MAX_NAME
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan
from ansible_collections.cerss.zfs.plugins.module_utils._host.inventory import Inventory
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs


def add(plan: Plan, clone: Dataset, dataset: Dataset, origin: str, family: Inventory) -> None:
    """Add the promotion to a plan as its last step; Refused if it would break something.

    ``origin``: a snapshot of ``dataset``. ``family``: that dataset, and the clone if it exists, with their snapshots
    and bookmarks.
    """
    name = clone.name
    _refuse_replicated(clone, dataset)
    moving = _moving(family.get(dataset.name, Dataset(dataset.name)), origin)
    _refuse_clashes(name, moving, family.get(name, Dataset(name)))
    snapshots = [moved for moved in moving if "@" in moved] or [origin]
    current = {name: {"origin": origin}, **{snapshot: {"present": True} for snapshot in snapshots}}
    plan.add(
        f"promote {name}, which takes over {', '.join(snapshots)}",
        zfs.promote(name),
        before=current if name in family else {},
        after={
            name: {"origin": dataset.origin},
            **{snapshot: {"present": False} for snapshot in snapshots},
            **{f"{name}@{snapshot.partition('@')[2]}": {"present": True} for snapshot in snapshots},
        },
    )


def _refuse_replicated(clone: Dataset, dataset: Dataset) -> None:
    for each in (dataset, clone):
        relationships = each.relationships()
        if relationships:
            raise Refused(
                f"{clone.name} cannot be promoted: {each.name} is {' and '.join(relationships)}, and promotion "
                "moves snapshots, holds and bookmarks that the relationship needs. End the relationship first "
                "(zfs_replication with state=absent), or leave promoted out"
            )


def _moving(dataset: Dataset, origin: str) -> list[str]:
    """Names of the snapshots and bookmarks that move to the clone: the origin and everything older."""
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
            f"{name} cannot be promoted: it would take over {', '.join(both)}, but has the same names already. "
            "Rename or delete them on one of the two datasets first"
        )
    too_long = [part for part in parts if len(name) + len(part) > MAX_NAME]
    if too_long:
        raise Refused(
            f"{name} cannot be promoted: {', '.join(too_long)} would get a name longer than {MAX_NAME} characters. "
            "Rename the clone to a shorter name first"
        )
