# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The results of the steps of a job become what the next step does, and rows of a table."""

from __future__ import annotations

from typing import Any

import pytest
from yaml import safe_load

from ansible_collections.cerss.zfs.plugins.module_utils._jobs import job, outcome

JOB = """
name: nightly
datasets: [tank/db]
recursive: true
snapshot: {name: nightly-%F}
targets:
  - {host: b, parent: backup}
  - {host: b, parent: backup/deep}
  - {host: elsewhere, parent: archive, include: {monthly: 1}}
  - {host: local, parent: spare, prune: false}
keep: {daily: 7}
keep_on_targets: {daily: 60}
max_lag: 26h
"""
SKIPPED = {"skipped": True, "changed": False}


def made(text: str = "{}") -> dict[str, Any]:
    found = job.plan({"zfs_jobs": [{**safe_load(JOB), **safe_load(text)}]}, job.Where("a", ("a", "b"), {"b": "b"}))
    assert found["problems"] == []
    return dict(found["jobs"][0])


def replica(target: str, **values: Any) -> dict[str, Any]:
    host, _colon, dataset = target.rpartition(":")
    return {
        "id": f"id of {target}", "source": "tank/db@s", "source_dataset": "tank/db", "target_host": host or None,
        "target_dataset": dataset, "state": "full", "failed": False, "msg": "", "bytes_sent": 10,
        "steps": [{"kind": "incremental"}],
        **values,
    }  # fmt: skip


FULL = [{"kind": "full"}]


TAKEN = {"changed": True, "snapshots": [{"name": "tank/db@n"}, {"name": "tank/db/x@n"}]}


@pytest.mark.parametrize(
    ("change", "options"),
    [
        ("{}", {"name": ["tank/db"], "recursive": True}),
        ("exclude: a*", {"name": ["tank/db"], "recursive": True, "exclude": ["a*"]}),
        ("{select: {property: 'o:b', value: true}, datasets: null, recursive: false}",
         {"select": {"property": "o:b", "value": True}}),
    ],
)  # fmt: skip
def test_check_mode_sends_what_would_be_taken(change: str, options: dict[str, Any]) -> None:
    assert outcome.sending(made(change), TAKEN, check=True) == {**options, "upcoming": ["tank/db@n", "tank/db/x@n"]}
    for taken, check in ({**TAKEN, "changed": False}, True), (TAKEN, False), (SKIPPED, True), ({}, True):
        assert outcome.sending(made(change), taken, check) == {**options, "upcoming": []}


def test_each_replica_belongs_to_the_nearest_target() -> None:
    items = [
        replica("b:backup/db"), replica("b:backup/deep/db"), replica("elsewhere:archive/db"), replica("spare/db"),
        replica("b:backups/db"), replica("c:backup/db"), replica("backup/db"),
    ]  # fmt: skip
    found = outcome.replicas(made(), {"replicas": items})
    assert [[each["target_dataset"] for each in one] for one in found] == [
        ["backup/db"], ["backup/deep/db"], ["archive/db"], ["spare/db"],
    ]  # fmt: skip


def test_a_replica_of_one_target_may_be_below_another_one() -> None:
    items = [replica("b:backup/deep/db", source_dataset="tank/deep/db"), replica("b:backup/deep/db")]
    found = outcome.replicas(made(), {"replicas": items})
    assert [[each["source_dataset"] for each in one] for one in found] == [["tank/deep/db"], ["tank/db"], [], []]


def test_only_replicas_of_this_job_that_exist_are_pruned() -> None:
    items = [
        replica("b:backup/db"),
        replica("b:backup/new", steps=FULL),
        replica("b:backup/same", steps=[]),
        replica("b:backup/nothing_to_send", steps=[], state="absent"),
        replica("b:backup/clone", steps=[{"kind": "incremental", "origin": "backup/db@o"}]),
        replica("b:backup/broken", steps=[], failed=True),
        replica("b:backup/cut", steps=FULL, failed=True),
        replica("b:backup/full", failed=True),
        replica("elsewhere:archive/db"),
        replica("spare/db"),
    ]
    (real,) = outcome.prunings(made(), {"replicas": items}, check=False)
    assert real.pop("options") == {
        "name": ["backup/db", "backup/new", "backup/same", "backup/clone", "backup/full"], "keep": {"daily": 60},
        "match": made()["match"], "upcoming": [],
    }  # fmt: skip
    assert real == {"target": 0, "host": "b"}
    (check,) = outcome.prunings(made(), {"replicas": items}, check=True)
    assert check["options"]["name"] == ["backup/db", "backup/same", "backup/full"]
    assert outcome.prunings(made(), SKIPPED, check=False) == []


def test_check_mode_prunes_as_if_all_were_taken_and_sent() -> None:
    steps = [{"kind": "incremental", "snapshots": ["tank/db@n", "tank/db@o"]}]
    (there,) = outcome.prunings(made(), {"replicas": [replica("b:backup/db", steps=steps)]}, check=True)
    assert there["options"]["upcoming"] == ["backup/db@n", "backup/db@o"]
    taken = {"changed": True, "snapshots": [{"name": "tank/db@n", "dataset": "tank/db"}]}
    options = {"name": ["tank/db"], "recursive": True, "keep": {"daily": 7}, "match": made()["match"],
               "on_replica": "skip"}  # fmt: skip
    assert outcome.source_pruning(made(), taken, check=True) == {**options, "upcoming": ["tank/db@n"]}
    assert outcome.source_pruning(made(), taken, check=False) == {**options, "upcoming": []}
    spared = outcome.source_pruning(made("{unreplicated_limit: 60d, older_than: 2d}"), SKIPPED, check=True)
    assert spared == {**options, "older_than": "2d", "unreplicated_limit": "60d", "upcoming": []}
    assert "on_replica" not in outcome.source_pruning(made("{snapshot: null, match: n*}"), SKIPPED, check=False)


def test_targets_with_the_same_limits_are_checked_together() -> None:
    items = [replica("b:backup/db"), replica("b:backup/deep/db", id=None), replica("elsewhere:archive/db"),
             replica("spare/db")]  # fmt: skip
    assert outcome.limits(made(), {"replicas": items}) == [
        {"max_lag": "26h", "warn_lag": None, "name": ["tank/db"], "ids": ["id of b:backup/db", "id of spare/db"]}
    ]
    assert outcome.limits(made("max_lag: null"), {"replicas": items}) == []


def results(**more: Any) -> dict[str, Any]:
    """What the tasks registered when all went well."""
    items = [replica("b:backup/db"), replica("b:backup/deep/db", steps=[], bytes_sent=0),
             replica("elsewhere:archive/db"), replica("spare/db")]  # fmt: skip
    taken = {"changed": True, "actions": ["create snapshot tank/db@s", "put hold x on tank/db@s"], "snapshots": [{}]}
    lag = {"id": "id of b:backup/db", "role": "source", "source": "tank/db", "lag_seconds": 7, "problems": [],
           "severity": "ok"}  # fmt: skip
    return {
        "snapshot": taken,
        "replicate": {"replicas": items},
        "prune": {"pruned": ["tank/db@old"]},
        "prune_on_targets": {"results": [{"item": {"target": 0}, "pruned": ["x", "y"]},
                                         {"item": {"target": 1}, "pruned": []}]},
        "lag": {"results": [{"item": {"ids": ["id of b:backup/db"]}, "replications": [lag, {**lag, "id": "other"}]}]},
        **more,
    }  # fmt: skip


def row(target: int | None, *, check: bool = False, change: str = "{}", **more: Any) -> dict[str, Any]:
    return outcome.rows(made(change), results(**more), check)[0 if target is None else target + 1]


def test_rows_when_all_went_well() -> None:
    source, b, deep, elsewhere, spare = outcome.rows(made(), results(), check=False)
    assert (source["created"], source["pruned"], source["sent"], source["target"]) == (1, 1, None, None)
    assert (b["target"], b["sent"], b["datasets"], b["bytes_sent"], b["pruned"], b["lag_seconds"]) == (
        "b:backup", 1, 1, 10, 2, 7,
    )  # fmt: skip
    assert (deep["sent"], deep["bytes_sent"], deep["pruned"]) == (0, 0, 0)
    assert elsewhere["notes"] == ["not pruned by this job, since its host is not in the inventory"]
    assert (spare["pruned"], spare["notes"]) == (None, [])
    assert not any(each["failed"] for each in (source, b, deep, elsewhere, spare))


def test_what_did_not_run_has_no_number() -> None:
    nothing = dict.fromkeys(("snapshot", "replicate", "prune"), SKIPPED)
    loops: dict[str, Any] = {key: {"results": [], "skipped": True} for key in ("prune_on_targets", "lag")}
    for given in ({**nothing, **loops}, {}):
        for one in outcome.rows(made(), given, check=False):
            assert {one[key] for key in ("created", "sent", "bytes_sent", "pruned", "lag_seconds")} == {None}
            assert not one["failed"]


def test_failures_are_in_the_row_of_their_target() -> None:
    failed = [replica("b:backup/db", failed=True, msg="no route", steps=[]), replica("spare/db")]
    many = [replica(f"b:backup/{n}", failed=True, msg="no", steps=[]) for n in range(9)]
    assert row(0, replicate={"failed": True, "replicas": failed})["problems"] == ["tank/db@s: no route"]
    assert not row(3, replicate={"failed": True, "replicas": failed})["failed"]
    assert row(0, replicate={"failed": True, "replicas": many})["problems"][3:] == ["and 6 more"]
    # The whole task failed, for whatever reason
    assert row(0, replicate={"failed": True, "msg": "bad option"})["problems"] == ["bad option"]
    assert row(None, snapshot={"failed": True, "msg": "denied"})["problems"] == ["denied"]
    assert row(None, prune={"failed": True, "msg": "held"})["problems"] == ["held"]
    assert row(None, prune={"failed": True, "msg": "held"})["pruned"] is None
    gone = {"results": [{"item": {"target": 0}, "unreachable": True, "msg": "no ssh"}]}
    assert (row(0, prune_on_targets=gone)["problems"], row(0, prune_on_targets=gone)["pruned"]) == (["no ssh"], None)
    unread = {"results": [{"item": {"ids": []}, "failed": True, "msg": "cannot read"}]}
    assert row(None, lag=unread)["problems"] == ["cannot read"]


def test_a_target_without_access_has_the_reason_in_its_row() -> None:
    left = [replica("spare/db")]
    _source, b, *_others, spare = outcome.rows(
        made(), results(replicate={"replicas": left}), False, {"nightly 0": "no access"}
    )
    assert (b["problems"], b["sent"], spare["problems"]) == (["no access"], None, [])


@pytest.mark.parametrize(
    ("severity", "check", "key"),
    [("critical", False, "problems"), ("critical", True, "warnings"), ("warning", False, "warnings")],
)
def test_a_lag_fails_or_warns(severity: str, check: bool, key: str) -> None:
    late = {"id": "id of b:backup/db", "role": "source", "source": "tank/db", "lag_seconds": 99, "severity": severity,
            "problems": ["is late"]}  # fmt: skip
    lag = {"results": [{"item": {"ids": ["id of b:backup/db"]}, "replications": [late]}]}
    found = row(0, check=check, lag=lag)
    assert found[key] == ["tank/db: is late"]
    assert found["failed"] == (key == "problems")
    assert found["lag_seconds"] == 99


def test_a_new_replica_is_not_pruned_in_check_mode() -> None:
    new = {"replicas": [replica("b:backup/db", steps=FULL, bytes_sent=None)]}
    found = row(0, check=True, replicate=new, prune_on_targets={"results": []})
    assert found["notes"] == ["not pruned in this check, since there is no replica yet"]
    assert found["bytes_sent"] is None
    down = {"failed": True, "replicas": [replica("b:backup/db", steps=[], failed=True, msg="is down")]}
    for given in (down, {"failed": True, "msg": "is down"}):
        for check in (True, False):
            found = row(0, check=check, replicate=given, prune_on_targets={"results": []})
            assert (len(found["problems"]), found["notes"]) == (1, [])


def test_the_table() -> None:
    rows = outcome.rows(made("targets: [{host: b, parent: backup}]"), results(), check=False)
    assert outcome.table(rows, "a", check=False) == [
        "JOB      WHERE     NEW  SENT    BYTES  PRUNED  LAG  RESULT",
        "nightly  a         1    -       -      1       -    ok",
        "nightly  b:backup  -    1 of 2  10 B   2       7s   ok",
    ]
    assert outcome.table(rows, "a", check=True)[0] == "Nothing was changed; this is what a run would do now:"
    rows[1].update(failed=True, problems=["no route"], notes=["and so on"])
    assert outcome.table(rows, "a", check=False)[2:] == [
        "nightly  b:backup  -    1 of 2  10 B   2       7s   FAILED",
        "nightly, b:backup: no route",
        "nightly, b:backup: and so on",
    ]
    assert outcome.failures(rows, "a") == "nightly, b:backup: no route"
    rows[1].update(failed=False, problems=[], warnings=["late"])
    assert outcome.table(rows, "a", check=False)[2].endswith("warning")
    assert outcome.table([], "a", check=False) == ["There are no jobs for a."]


def test_what_only_a_replica_keeps_is_told() -> None:
    """Such as one on a target that is not in the job any more."""
    lack = "not yet sent to gone:backup/db (relationship 00112233445566aa)"
    kept = [{"name": f"tank/db@{number}", "reasons": [lack]} for number in range(3)]
    found = row(None, prune={"pruned": [], "kept": [*kept, {"name": "tank/db@4", "reasons": ["last 1", lack]}]})
    assert found["warnings"] == [f"3 of the snapshots that the rules would prune: {lack}"]
    assert not found["failed"]
    assert row(None, prune=SKIPPED)["warnings"] == []
