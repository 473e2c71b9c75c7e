# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Replicas that have diverged: rolled back by name, or put aside and replaced."""

from __future__ import annotations

import json

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import LastHold, ReplicaRecord, SourceMark, StepHold
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Hold, Value
from ansible_collections.cerss.zfs.plugins.module_utils._replication import bookkeeping
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import Pair, PairOptions
from ansible_collections.cerss.zfs.plugins.module_utils._replication.planner import plan_pair
from ansible_collections.cerss.zfs.tests.unit.pairs import ID, OTHER, carried, cursor, pair, snapshots, source_mark


@pytest.mark.parametrize(
    ("source", "replica", "on_divergence", "message"),
    [
        ([1, 2], [1, 9], "fail", "diverged .* backup/v@s9"),
        ([2], [1], "fail", r"no longer have a snapshot in common \(the replica holds backup/v@s1\)"),
        ([2], [1], "rollback", "no longer have a snapshot in common"),
    ],
)
def test_refusals(source, replica, on_divergence, message):
    plan = plan_pair(pair(source, replica), PairOptions(on_divergence=on_divergence))
    assert plan.steps == []
    with pytest.raises(Refused, match=message):
        raise plan.error


def test_rollback_destroys_by_name():
    case = pair([1, 2], [1, 8, 9])
    case.replica.snapshots[2].holds = [Hold(LastHold(ID).format())]
    plan = plan_pair(case, PairOptions(on_divergence="rollback"))
    commands = [command for action in plan.prepare for command in action.commands]
    assert commands == [
        ["zfs", "release", LastHold(ID).format(), "backup/v@s9"],
        ["zfs", "destroy", "backup/v@s8,s9"],
        ["zfs", "rollback", "backup/v@s1"],
    ]
    assert carried(plan) == ["2"]


@pytest.mark.parametrize("blocker", [{"holds": [Hold("legal")]}, {"clones": ["backup/c"]}])
def test_rollback_is_refused_if_something_else_needs_a_snapshot(blocker):
    case = pair([1, 2], [1, 9])
    for key, value in blocker.items():
        setattr(case.replica.snapshots[1], key, value)
    plan = plan_pair(case, PairOptions(on_divergence="rollback"))
    assert "others need backup/v@s9" in str(plan.error)


@pytest.mark.parametrize("kept_by", ["hold", "cursor"])
def test_rollback_is_refused_for_the_base_of_a_further_replica(kept_by):
    case = pair([1, 2], [1, 9])
    if kept_by == "hold":
        case.replica.snapshots[-1].holds = [Hold(StepHold(OTHER).format())]
    else:
        case.replica.bookmarks = [cursor(9, OTHER, "backup/v")]
    assert "others need" in str(plan_pair(case, PairOptions(on_divergence="rollback")).error)


@pytest.mark.parametrize("replica", [[1, 9], [8, 9]])
def test_reseed_puts_the_old_one_aside(replica):
    case = pair([1, 2, 3], replica)
    case.replica.snapshots[-1].holds = [Hold(LastHold(ID).format())]
    plan = plan_pair(case, PairOptions(on_divergence="reseed"))
    aside = "backup/v_aside_385"
    assert plan.error is None
    assert plan.prepare[0].commands == (
        ["zfs", "rename", "-u", "backup/v", aside],
        ["zfs", "inherit", SourceMark.NAME, aside],
        ["zfs", "release", LastHold(ID).format(), f"{aside}@s9"],
    )
    assert case.id == ID
    if replica[0] == 1:  # the new replica is a clone of the old one, so only newer snapshots are sent
        assert [(send.kind, send.base, send.origin) for send in plan.sends] == [
            ("incremental", "tank/v@s1", f"{aside}@s1"),
            ("incremental", "tank/v@s2", None),
        ]
        assert carried(plan) == ["2", "3"]
    else:
        assert [send.kind for send in plan.sends] == ["full", "incremental"]


@pytest.mark.parametrize("side", ["source", "replica"])
def test_promotions_are_told_apart(side):
    """A clone has taken the snapshots: the error says how to undo that, and a reseed starts from them."""
    if side == "source":
        case = pair([3, 4], [1, 2])
        case.source.origin, case.source.origin_guid = "tank/c@s2", "2"
        taker, victim = "moved to tank/c when", "promote a:tank/v"
        born = ("tank/c@s2", "backup/v_aside_385@s2")
    else:
        case = pair([1, 2, 3, 4], [])
        case.replica.origin, case.replica.origin_guid = "backup/c@s2", "2"
        taker, victim = "moved to backup/c when", "promote b:backup/v"
        born = ("tank/v@s2", "backup/c@s2")
    error = str(plan_pair(case, PairOptions(on_divergence="rollback")).error)
    assert taker in error
    assert victim in error
    plan = plan_pair(case, PairOptions(on_divergence="reseed"))
    assert carried(plan) == ["3", "4"]
    assert (plan.sends[0].base, plan.sends[0].origin) == born
    assert plan.sends[1].base == "tank/v@s3"


def below(case: Pair, *names: str) -> Pair:
    case.replica.children = [f"backup/v/{name}" for name in names]
    values = {"type": Value("filesystem"), "encryptionroot": Value("-")}
    case.below = [Dataset(name, values={**values}) for name in case.replica.children]
    return case


def test_a_reseed_moves_the_datasets_below_back():
    case = below(pair([1, 2], [1, 9], bookmarks=(1,)), "c", "z")
    case.below[1].values["type"] = Value("volume")
    plan = plan_pair(case, PairOptions(on_divergence="reseed"))
    aside = "backup/v_aside_385"
    assert plan.error is None
    known, moved = plan.prepare
    (name, value) = known.commands[0][2].split("=", 1)
    assert name == ReplicaRecord.name(ID)
    assert json.loads(value)["aside"] == aside
    assert moved.commands[0] == ["zfs", "rename", "-u", "backup/v", aside]
    back = (["zfs", "rename", "-u", f"{aside}/c", "backup/v/c"], ["zfs", "rename", f"{aside}/z", "backup/v/z"])
    assert plan.marks[0].commands == back
    # If the run is interrupted, the next one finds the record and the datasets that were not moved back.
    assert not [action for action in bookkeeping.protect(case, plan) if "record" in action.text]
    again = pair([1, 2], [1, 2], bookmarks=(1,))
    again.source.ours, again.aside, again.below = {name: value}, aside, case.below
    first, *_others = settled = bookkeeping.settle(again)
    assert first.commands == back
    assert "aside" not in next(action for action in settled if "record" in action.text).commands[0][2]


def test_no_reseed_if_datasets_below_could_not_be_moved_back():
    case = below(pair([1, 2], [1, 9]), "c")
    case.below[0].values["encryptionroot"] = Value("backup/v")
    assert "backup/v/c is not an encryption root" in str(plan_pair(case, PairOptions(on_divergence="reseed")).error)
    case = below(pair([1, 2], [1, 9]), "c")
    case.aside = "backup/v_aside_1"
    assert "below backup/v_aside_1" in str(plan_pair(case, PairOptions(on_divergence="reseed")).error)


def test_an_interrupted_reseed_is_finished():
    case = pair([1, 2], None, known_id=ID)
    name = "backup/v_aside_385"
    aside = Dataset(name, "901", snapshots=snapshots(name, 1), ours=source_mark())
    aside.snapshots[0].holds = [Hold(LastHold(ID).format())]
    case.half_aside = aside
    plan = plan_pair(case, PairOptions())
    assert plan.prepare[0].commands == (
        ["zfs", "inherit", SourceMark.NAME, aside.name],
        ["zfs", "release", LastHold(ID).format(), f"{aside.name}@s1"],
    )
    assert [send.kind for send in plan.sends] == ["full", "incremental"]
