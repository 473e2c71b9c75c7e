# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be above a new dataset."""

from __future__ import annotations

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Step
from ansible_collections.cerss.zfs.plugins.module_utils._dataset.parents import nearest, plan_parents
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.tests.unit.things import dataset, things

NAME = DatasetName("tank/a/b/c")
TANK, A = dataset("tank", type="filesystem"), dataset("tank/a", type="filesystem")


def steps(*found: Dataset, create: bool = True) -> list[Step]:
    return plan_parents(NAME, NAME.ancestors(), things(*found).datasets, create)


def test_missing_ones_are_created_from_the_top_and_never_mounted() -> None:
    made = steps(TANK)
    assert [step.text for step in made] == ["create filesystem tank/a", "create filesystem tank/a/b"]
    assert [step.commands for step in made] == [
        (zfs.create(name, {"canmount": "off"}),) for name in ("tank/a", "tank/a/b")
    ]
    assert [step.text for step in steps(TANK, A)] == ["create filesystem tank/a/b"]
    assert steps(TANK, A, dataset("tank/a/b", type="filesystem"), create=False) == []


@pytest.mark.parametrize(
    ("found", "create", "told"),
    [
        ((), True, "there is no pool tank"),
        ((TANK,), False, "its parent tank/a/b does not exist"),
        ((TANK, dataset("tank/a", type="volume")), True, "tank/a above it is a volume"),
        ((TANK, dataset("tank/a", type="volume")), False, "tank/a above it is a volume"),
    ],
)
def test_refusals(found: tuple[Dataset, ...], create: bool, told: str) -> None:
    with pytest.raises(Refused, match=told):
        steps(*found, create=create)


def test_the_nearest_that_exists() -> None:
    assert nearest(NAME, things(TANK, A).datasets) is A
