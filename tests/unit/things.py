# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Datasets and snapshots as the unit tests want them: from the properties that ``zfs get`` would have shown."""

from __future__ import annotations

from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._host.inventory import Things, fill_dataset, fill_snapshot


def dataset(name: str, **values: str) -> Dataset:
    """Keys with __ are ours and local, others native."""
    found = Dataset(name)
    for key, text in values.items():
        fill_dataset(found, key.replace("__", "cerss.zfs:"), "local" if key.startswith("__") else "default", text)
    return found


def snapshot(name: str, **values: str) -> Snapshot:
    found = Snapshot(name)
    for key, text in values.items():
        fill_snapshot(found, key, "-", text)
    return found


def things(*each: Dataset | Snapshot) -> Things:
    """By name; a later one of the same name counts."""
    return Things(
        {thing.name: thing for thing in each if isinstance(thing, Dataset)},
        {thing.name: thing for thing in each if isinstance(thing, Snapshot)},
    )
