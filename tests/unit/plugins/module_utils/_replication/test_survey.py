# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The order of pairs, and what one plan means for the next."""

from __future__ import annotations

import itertools

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset
from ansible_collections.cerss.zfs.plugins.module_utils._replication import survey
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import Pair, PairOptions, PairPlan
from ansible_collections.cerss.zfs.plugins.module_utils._replication.planner import plan_pair
from ansible_collections.cerss.zfs.tests.unit.pairs import pair


@pytest.mark.parametrize(
    ("names", "origins", "order"),
    [
        ([("tank/b", "x/b"), ("tank/a", "x/a")], {}, ["tank/a", "tank/b"]),
        ([("tank/v/w", "x/1"), ("tank/v", "x/2")], {}, ["tank/v", "tank/v/w"]),
        ([("tank/a", "x/v/w"), ("tank/b", "x/v")], {}, ["tank/b", "tank/a"]),
        ([("tank/a", "x/a"), ("tank/b", "x/b")], {"tank/a": "tank/b@s"}, ["tank/b", "tank/a"]),
        ([("tank/v/c", "x/v/c"), ("tank/v", "x/v")], {"tank/v/c": "tank/v@s"}, ["tank/v", "tank/v/c"]),
    ],
)
def test_pairs_come_after_those_they_depend_on(names, origins, order):
    for arrangement in itertools.permutations(names):
        pairs = [Pair(Dataset(source, origin=origins.get(source)), replica) for source, replica in arrangement]
        assert [found.source.name for found in survey._in_order(pairs)] == order


def child() -> PairPlan:
    case = pair([1], None)
    case.source.name, case.replica_name = "tank/v/w", "backup/v/w"
    case.source.snapshots[0].name = "tank/v/w@s1"
    case.source_address = "a:tank/v/w"
    return plan_pair(case, PairOptions())


def test_a_replica_needs_the_one_above_it():
    plan = child()
    survey._check_above(plan, [plan_pair(pair([], None), PairOptions())])
    assert "a:tank/v/w cannot be replicated: b:backup/v, above its replica, does not exist" in str(plan.error)
    for above in (pair([1], None), pair([1], [1])):
        plan = child()
        survey._check_above(plan, [plan_pair(above, PairOptions())])
        assert plan.error is None


def test_what_a_plan_sends_can_be_an_origin():
    assert survey._carried(plan_pair(pair([1, 2, 3], [1]), PairOptions())) == {"2": "backup/v@s2", "3": "backup/v@s3"}
    assert survey._carried(plan_pair(pair([1, 2], [1, 9]), PairOptions())) == {}
