# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run returns, of each pair and in all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import NoSpace, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import ABSENT, FULL, INBOUND
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Step, sentences
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import Pair, PairOptions, PairPlan
from ansible_collections.cerss.zfs.plugins.module_utils._replication.planner import plan_pair, rounds
from ansible_collections.cerss.zfs.plugins.module_utils._replication.report import PairReport, Part, report, state_now
from ansible_collections.cerss.zfs.tests.unit.pairs import ID, named, pair, settled, token, with_token


def plan_of(case: Pair, assume_created: bool = False) -> PairPlan:
    return plan_pair(case, PairOptions(), assume_created=assume_created)


@pytest.mark.parametrize(
    ("case", "state"),
    [
        (pair([1, 2], None), ABSENT),
        (pair([1, 2], [1]), ABSENT),
        (pair([1, 2], [1, 2]), FULL),
        (named(pair([1, 2], [1]), "s1"), FULL),
        (with_token(pair([1, 2], [1]), token(2, 1)), INBOUND),
        (with_token(pair([1, 2], []), token(1)), INBOUND),
        (pair([], [1]), ABSENT),
    ],
)
def test_the_state_of_the_goal(case: Pair, state: str) -> None:
    plan = plan_of(case)
    assert state_now(case, plan) == state
    assert PairReport.of(plan).state == state


def test_the_result_of_a_pair() -> None:
    found = PairReport.of(plan_of(pair([1, 2, 3], [1])), ("local", "b"))
    step = {"kind": "incremental", "base": "tank/v@s1", "snapshots": ["tank/v@s2", "tank/v@s3"], "count": 2,
            "raw": False, "origin": None}  # fmt: skip
    foretold = {
        "id": ID, "source": "tank/v@s3", "source_host": "local", "source_dataset": "tank/v", "snapshot": "s3",
        "target": "b:backup/v", "target_host": "b", "target_dataset": "backup/v", "guid": "3", "state": ABSENT,
        "base": "tank/v@s1",
        "bytes_sent": None, "bytes_estimated": None, "seconds": None, "resumed": False, "origin_preserved": None,
        "steps": [step], "failed": False, "msg": None,
    }  # fmt: skip
    assert found.to_result(ran=False) == foretold
    ran = replace(found, state=FULL, sent=7, estimated=8, seconds=1.26, resumed=True, steps=[{**step, "bytes_sent": 7}])
    ran.error = Refused("no")
    assert ran.to_result(ran=True) == {
        **foretold, "state": FULL, "bytes_sent": 7, "bytes_estimated": 8, "seconds": 1.3, "resumed": True,
        "steps": [{**step, "bytes_sent": 7}], "failed": True, "msg": "no",
    }  # fmt: skip


def test_all_rounds_are_shown() -> None:
    """The base is that of the first stream, the streams are those of all rounds."""
    first = plan_of(pair(range(1, 120), [1]))
    found = PairReport.of(first)
    found.plans = list(rounds(first, PairOptions(), {}))
    result = found.to_result(ran=False)
    assert result["base"] == "tank/v@s1"
    assert [step["count"] for step in result["steps"]] == [100, 18]
    assert [step["snapshots"] for step in result["steps"]] == [
        ["tank/v@s2", "tank/v@s101"], ["tank/v@s102", "tank/v@s119"],
    ]  # fmt: skip
    shown = report([Part([], [found])], check_mode=True)
    assert shown["actions"] == sentences(step for plan in found.plans for step in plan.steps)


def test_what_is_not_known() -> None:
    """A dataset without a snapshot, a target that was not read, and a snapshot that check mode assumes."""
    found = PairReport.of(plan_of(replace(pair([], None), pool="", trouble=Refused("spoilt")))).to_result(False)
    assert [found[key] for key in ("id", "source", "snapshot", "guid", "base")] == [None, "tank/v", None, None, None]
    found = PairReport.of(plan_of(pair([1], [1], name="s2"), assume_created=True)).to_result(False)
    assert (found["source"], found["guid"]) == ("tank/v@s2", None)


def test_the_result_of_a_run_has_what_was_done() -> None:
    well, failed = PairReport.of(plan_of(pair([1, 2], [1]))), PairReport.of(plan_of(pair([1, 2], [1, 9])))
    parent, step = Step.of("create backup"), Step.of("send it")
    well.done, well.sent, well.warnings = [step], 5, ["look"]
    failed.sent = 2
    result = report([Part([parent], [well, failed], ["late"])], check_mode=False)
    assert (result["changed"], result["actions"], result["bytes_sent"]) == (True, ["create backup", "send it"], 7)
    assert result["warnings"] == ["late", "look"]
    assert [each["failed"] for each in result["replicas"]] == [False, True]
    assert result["msg"] == result["replicas"][1]["msg"]
    assert "has diverged" in result["msg"]
    assert "stderr" not in result
    foretold = report([Part([parent], [well, failed])], check_mode=True)
    assert foretold["actions"] == ["create backup", *sentences(well.plans[0].steps)]
    assert foretold["bytes_sent"] is None


def test_nothing_to_do_is_no_error() -> None:
    result = report([Part([], [PairReport.of(plan_of(settled(pair([1], [1]))))])], check_mode=False)
    assert (result["changed"], result["actions"], result["diff"]) == (False, [], {"before": {}, "after": {}})
    assert "failed" not in result
    assert report([], check_mode=False)["replicas"] == []


def test_many_errors_are_cut_short() -> None:
    reports = [PairReport.of(plan_of(pair([1], [1]))) for _number in range(5)]
    for number, each in enumerate(reports):
        each.error = NoSpace(["zfs", "receive"], 1, f"out of space {number}")
    result = report([Part([], reports)], check_mode=False)
    assert result["failed"]
    assert result["msg"].count("out of space") == 3
    assert result["msg"].endswith("; and 2 more, see replicas")
    assert result["stderr"].splitlines() == [f"out of space {number}" for number in range(5)]
