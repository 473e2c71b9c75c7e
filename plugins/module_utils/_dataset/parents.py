# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filesystems above a dataset that is created or renamed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Step
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.properties import PARENT


def plan_parents(
    name: DatasetName, above: Sequence[DatasetName], found: Mapping[str, Dataset], create: bool
) -> list[Step]:
    """The steps that create missing ones, the highest first; Refused if ``create`` is not set, or if one is a volume.

    ``above``: the datasets above ``name`` that were looked for, the highest first. ``found``: those that exist.
    """
    volume = next((each for each in above if str(each) in found and found[str(each)].type == "volume"), None)
    if volume:
        raise Refused(f"{name} cannot be created: {volume} above it is a volume; choose another name")
    missing = [each for each in above if str(each) not in found]
    if missing and missing[0].parent is None:
        raise Refused(f"{name} cannot be created: there is no pool {missing[0]}. Check the name, or import the pool")
    if missing and not create:
        raise Refused(
            f"{name} cannot be created: its parent {missing[-1]} does not exist. Create it first, or set create_parents"
        )
    return [
        Step.of(
            f"create filesystem {each}",
            (zfs.create(str(each), PARENT),),
            before={str(each): None},
            after={str(each): {"type": "filesystem", **PARENT}},
        )
        for each in missing
    ]


def nearest(name: DatasetName, found: Mapping[str, Dataset]) -> Dataset:
    """The nearest dataset above that exists; there is one, since the pool does."""
    return next(found[str(above)] for above in reversed(name.ancestors()) if str(above) in found)
