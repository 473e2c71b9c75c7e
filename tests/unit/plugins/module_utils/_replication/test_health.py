# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one side tells about its relationships."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    Announcement,
    Cursor,
    Filter,
    SourceMark,
    StepHold,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import PENDING_DELETE, Dataset, Hold, Token, Value
from ansible_collections.cerss.zfs.plugins.module_utils._replication.health import (
    Limits,
    Moment,
    ids,
    relationships,
)
from ansible_collections.cerss.zfs.tests.unit.pairs import (
    ID,
    OTHER,
    cursor,
    points,
    record,
    records,
    replica,
    source,
    step_hold,
)

NOW = 10_000
RUN = {"bytes_done": 5, "bytes_total": 10, "bytes_per_second": 1, "started": 1.0, "updated": 2.0}


def reports(dataset: Dataset, **more: Any) -> list[dict[str, Any]]:
    limits = Limits(more.pop("max_lag", None), more.pop("warn_lag", None))
    return relationships({dataset.name: dataset}, Moment(NOW, limits=limits, **more))


def report(dataset: Dataset, **more: Any) -> dict[str, Any]:
    (found,) = reports(dataset, **more)
    assert found["healthy"] is (found["problems"] == [])
    assert (found["severity"] == "critical") <= (not found["healthy"])
    assert isinstance(found["lag_bytes"], int)
    return found


def test_marks_that_a_promotion_moved_are_no_relationship_of_the_clone() -> None:
    """They would be told as left over, and who ends that relationship ends the one that is in use."""
    here, clone = source(2), Dataset("tank/c", bookmarks=[cursor(1, dataset="tank/c")])
    told = relationships({"tank/v": here, "tank/c": clone}, Moment(NOW))
    assert [(each["id"], each["source"]) for each in told] == [(ID, "tank/v")]
    (alone,) = reports(clone)
    assert "left over" in alone["problems"][0]


# -- the source ------------------------------------------------------------------------------------------------------


def test_lag_counts_what_came_after_the_commit_point() -> None:
    dataset = source(1, 2, 3)
    dataset.values["written"] = Value("7")
    dataset.snapshots[2].temporary = True
    found = report(dataset)
    assert (found["role"], found["id"], found["source"], found["target"]) == ("source", ID, "tank/v", "b:backup/v")
    assert (found["last_replicated"], found["snapshots_behind"]) == ("tank/v@s1", 1)
    assert (found["lag_seconds"], found["lag_bytes"]) == (9000, 20 + 30 + 7)
    assert found["healthy"]
    assert "9000 s behind, more than max_lag allows (60 s)" in str(report(dataset, max_lag=60)["problems"])
    assert report(dataset, max_lag=9000)["healthy"]


@pytest.mark.parametrize("dataset", [source(1), source(1, 2), source(2, at=1), replica(1)])
@pytest.mark.parametrize(("created", "lag"), [(NOW + 61, None), (NOW + 60, 0), (NOW, 0)])
def test_a_snapshot_from_the_future_is_a_problem(dataset: Dataset, created: int, lag: int | None) -> None:
    """The clocks of the two hosts may differ by a minute."""
    for point in (*dataset.snapshots, *dataset.bookmarks):
        point.created = created
    found = report(dataset, max_lag=3600)
    assert found["lag_seconds"] == lag
    assert found["healthy"] is (lag is not None)
    if lag is None:
        assert "@s1" in found["problems"][0] or "#cerss.zfs_" in found["problems"][0]
        assert "was created in the future, at 1970-01-01T02:47:41Z" in found["problems"][0]


def test_nothing_behind_is_no_lag() -> None:
    found = report(source(1), max_lag=0, warn_lag=0)
    assert (found["lag_seconds"], found["lag_bytes"], found["snapshots_behind"]) == (0, 0, 0)
    assert found["severity"] == "ok"


def test_before_the_first_replication_everything_is_behind() -> None:
    """Temporary snapshots too: which ones they are is not read then."""
    dataset = source(1, 2, 3, at=None)
    dataset.values.update(usedbydataset=Value("1000"), usedbysnapshots=Value("30"), used=Value("9999"))
    dataset.snapshots[1].temporary = True
    found = report(dataset)
    assert (found["lag_seconds"], found["lag_bytes"], found["snapshots_behind"]) == (None, 1030, 3)
    dataset.values.clear()
    assert report(dataset)["lag_bytes"] == 0
    dataset.ours = {}
    dataset.bookmarks = [cursor(1)]
    dataset.values.update(usedbydataset=Value("1000"))
    assert report(dataset)["lag_bytes"] == 0  # nothing is to be replicated any more


def test_bytes_behind_can_be_added_up() -> None:
    found = {each.name: each for each in (source(1, 2), replica(1))}
    assert sum(each["lag_bytes"] for each in relationships(found, Moment(NOW))) == 20


def test_what_was_deleted_is_not_behind() -> None:
    """It waits for a hold or a clone, and is never sent."""
    dataset = source(1, 2)
    dataset.snapshots[1].state, dataset.snapshots[1].written = PENDING_DELETE, 0
    found = report(dataset, max_lag=60)
    assert (found["lag_seconds"], found["snapshots_behind"], found["healthy"]) == (0, 0, True)


def test_what_no_job_sends_is_not_counted() -> None:
    """What was written by then is behind all the same."""
    found = report(source(1, 2, 3, filters=(Filter("nightly", include=("s3",)),)))
    assert (found["snapshots_behind"], found["lag_bytes"]) == (1, 50)
    assert report(source(1, 2, 3, filters=(Filter(include=("x",)),)))["snapshots_behind"] == 0


def test_the_cursor_replaces_a_deleted_snapshot() -> None:
    found = report(source(2, at=1))
    assert found["last_replicated"] == f"tank/v#{Cursor(ID, '1').format()}"
    assert (found["lag_seconds"], found["lag_bytes"]) == (9000, 20)
    dataset = source(2, at=1)
    dataset.bookmarks = [cursor(2)]  # of a stream that has not arrived
    found = report(dataset)
    assert (found["last_replicated"], found["lag_seconds"], found["lag_bytes"]) == (None, None, 20)


def test_each_relationship_has_its_own_numbers() -> None:
    """Also several in one property, and on several pools."""
    dataset = source(1, 2, 3, at=2)
    dataset.ours.update(records(record(), record(id=OTHER, guid="5", target="c:x")))
    dataset.ours.update(points(3, id_=OTHER, pool="e" * 16))
    found = {
        (each["id"], each["target"], each["last_replicated"], each["snapshots_behind"]) for each in reports(dataset)
    }
    assert found == {(ID, "b:backup/v", "tank/v@s2", 1), (OTHER, "c:x", "tank/v@s3", 0)}


@pytest.mark.parametrize(
    ("leave", "left"),
    [
        (lambda dataset: dataset.ours.update(records(record())), False),
        (lambda dataset: dataset.ours.update(points(1)), True),
        (lambda dataset: dataset.bookmarks.append(cursor(1)), True),
        (lambda dataset: step_hold(dataset, 1), True),
    ],
)
def test_what_is_left_over(leave: Any, left: bool) -> None:
    """Any mark is shown; without a record the relationship is no longer one."""
    dataset = source(1, at=None)
    dataset.ours = {}
    assert reports(dataset) == []
    leave(dataset)
    assert ids(dataset) == {ID}
    assert ("left over" in str(report(dataset)["problems"])) is left


@pytest.mark.parametrize(
    ("dataset", "problem"),
    [
        (source(1, paused=True), "paused: replication skips it until zfs_replication with paused=false"),
        (source(1, at=None, paused=True), "paused"),
        (source(1, at=None), "nothing has been replicated yet"),
        (replica(1, released=True), "released by a failover: it no longer receives anything"),
        (replica(1, put_aside=True), "put aside by a reseed and kept with an unknown number of bytes; destroy it when"),
        (replica(1, beside=True), "a reseed is not finished: it is to replace the replica; the next run continues"),
        (replica(1, held=None), "no snapshot is held as the last"),
        (replica(1, 2), "diverged: it holds backup/v@s2 after the last received snapshot"),
    ],
)
def test_problems(dataset: Dataset, problem: str) -> None:
    (found,) = report(dataset)["problems"]
    assert problem in found


def test_the_size_of_what_was_put_aside() -> None:
    dataset = replica(1, held=None, put_aside=True)
    dataset.values["used"] = Value("4096")
    (found,) = report(dataset, max_lag=1)["problems"]
    assert "kept with 4096 bytes" in found


def test_an_interrupted_transfer() -> None:
    dataset = source(1, 2)
    step_hold(dataset, 2)
    step_hold(dataset, 1, id_=OTHER)
    dataset.snapshots[0].holds = [*(dataset.snapshots[0].holds or []), Hold("mine")]
    found = {each["id"]: each for each in reports(dataset)}
    assert found[ID]["problems"] == ["a transfer was interrupted and holds tank/v@s2; the next run resumes it"]
    assert found[OTHER]["target"] is None
    dataset.snapshots[0].holds = []
    found = {ID: report(dataset, running={ID: RUN})}
    assert found[ID]["healthy"]
    assert found[ID]["in_progress"]["percent"] == 50.0
    assert report(dataset, running={OTHER: RUN})["in_progress"] is None
    assert StepHold(ID).format() in [hold.tag for hold in dataset.snapshots[1].holds or []]


def test_a_base_that_is_held_is_no_interrupted_transfer() -> None:
    """Where the name of its bookmark would be too long."""
    dataset = source(1, 2)
    dataset.bookmarks = []
    step_hold(dataset, 1)
    assert report(dataset)["problems"] == []
    step_hold(dataset, 2)
    assert "holds tank/v@s2;" in str(report(dataset)["problems"])


@pytest.mark.parametrize(
    ("target", "host", "dataset"),
    [
        ("b:backup/v", "b", "backup/v"),
        ("[fe80::1]:backup/v", "fe80::1", "backup/v"),
        ("backup/v", None, "backup/v"),
        ("backup/v:old", None, "backup/v:old"),
        ("b:backup/v:old", "b", "backup/v:old"),
    ],
)
def test_both_sides_are_told_apart(target: str, host: str | None, dataset: str) -> None:
    keys = ("source_host", "source_dataset", "target_host", "target_dataset")
    found = report(source(1, target=target))
    assert [found[key] for key in keys] == [None, "tank/v", host, dataset]
    found = report(replica(1))
    assert [found[key] for key in keys] == ["a", "tank/v", None, "backup/v"]
    unknown = source(1)
    unknown.ours = points(1)
    assert [report(unknown)[key] for key in keys] == [None, "tank/v", None, None]


# -- severity --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", [source(1, 2), replica(1)])
@pytest.mark.parametrize(
    ("limits", "severity", "healthy"),
    [
        ({}, "ok", True),
        ({"warn_lag": 9000, "max_lag": 9000}, "ok", True),
        ({"warn_lag": 8999}, "warning", True),
        ({"warn_lag": 8999, "max_lag": 9000}, "warning", True),
        ({"warn_lag": 1, "max_lag": 8999}, "critical", False),
        ({"max_lag": 8999}, "critical", False),
    ],
)
def test_the_limits_decide_about_the_lag(
    dataset: Dataset, limits: dict[str, int], severity: str, healthy: bool
) -> None:
    found = report(dataset, **limits)
    assert (found["lag_seconds"], found["severity"], found["healthy"]) == (9000, severity, healthy)


@pytest.mark.parametrize(
    "dataset",
    [source(1, 2, paused=True), source(2, at=None, paused=True), replica(1, released=True), replica(1, put_aside=True)],
)
def test_what_somebody_asked_for_is_a_warning(dataset: Dataset) -> None:
    """However far behind it is."""
    found = report(dataset, warn_lag=1, max_lag=2)
    assert (found["severity"], len(found["problems"])) == ("warning", 1)


@pytest.mark.parametrize(
    ("dataset", "state"),
    [
        (source(1), "active"),
        (source(1, paused=True), "paused"),
        (replica(1), "active"),
        (replica(1, released=True), "released"),
        (replica(1, released=True, put_aside=True), "put_aside"),
        (replica(1, beside=True), "unfinished"),
    ],
)
def test_the_state_of_a_relationship(dataset: Dataset, state: str) -> None:
    assert report(dataset)["state"] == state


def test_a_problem_is_critical_in_a_pause_too() -> None:
    dataset = source(1, 2, paused=True)
    step_hold(dataset, 2)
    found = report(dataset)
    assert (found["severity"], len(found["problems"])) == ("critical", 2)


def test_what_a_released_replica_does_is_its_own_business() -> None:
    there = replica(1, 2, released=True)
    there.token = Token("1-x", "2", "tank/v@s2", 30, "1")
    found = report(there)
    assert found["problems"] == ["released by a failover: it no longer receives anything"]
    assert found["last_replicated"] == "backup/v@s1"  # where the histories part


# -- the replica -----------------------------------------------------------------------------------------------------


def test_the_lag_of_a_replica_is_the_age_of_its_last_received_snapshot() -> None:
    found = report(replica(1), max_lag=9000)
    assert (found["role"], found["source"], found["target"]) == ("replica", "a:tank/v", "backup/v")
    assert (found["last_replicated"], found["lag_seconds"], found["problems"]) == ("backup/v@s1", 9000, [])
    assert "9000 s old, more than max_lag allows (8999 s)" in str(report(replica(1), max_lag=8999)["problems"])
    for ended in ("released", "put_aside", "beside"):
        assert "max_lag" not in str(report(replica(1, **{ended: True}), max_lag=1)["problems"])


def test_a_partial_receive_on_the_replica() -> None:
    there = replica(1)
    there.token = Token("1-x", "2", "tank/v@s2", 30, "1")
    there.ours[Announcement.NAME] = json.dumps([{"guid": "2", "snapshot": "s2", "bytes": 60}])
    found = report(there)
    assert found["problems"] == ["a transfer of tank/v@s2 was interrupted; the next run resumes it"]
    assert found["in_progress"]["active"] is False
    assert report(there, active={"backup/v": None})["in_progress"]["active"] is None
    found = report(there, active={"backup/v": True})
    assert (found["in_progress"]["percent"], found["in_progress"]["active"]) == (50.0, True)
    assert found["healthy"]
    first = replica(held=None)
    first.token = there.token
    assert report(first, active={"backup/v": True})["healthy"]
    there.ours[Announcement.NAME] = "spoilt"
    assert report(there)["in_progress"]["bytes_total"] is None


def test_a_link_of_a_chain_has_both_roles() -> None:
    there = replica(1)
    there.ours.update(records(record(id=OTHER, target="c:x"), pool="e" * 16))
    assert [(each["role"], each["id"]) for each in reports(there)] == [("replica", ID), ("source", OTHER)]
    there.ours = {SourceMark.NAME: "{}"}
    there.snapshots[0].holds = []
    assert reports(there) == []
