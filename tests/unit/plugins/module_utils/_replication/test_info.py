# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one side reports about its relationships."""

from __future__ import annotations

import json

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import Announcement, Cursor, StepHold
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Hold, Token, Value
from ansible_collections.cerss.zfs.plugins.module_utils._replication.info import relationships
from ansible_collections.cerss.zfs.tests.unit.pairs import ID, replica, source

NOW = 10_000


def report(dataset: Dataset, **more: object) -> dict[str, object]:
    values = {"running": {}, "active": [], "now": NOW, "max_lag": None, **more}
    (found,) = relationships({dataset.name: dataset}, **values)  # type: ignore[arg-type]
    return found


def test_lag_counts_what_came_after_the_cursor():
    dataset = source(1, 2, 3)
    dataset.values["written"] = Value("7")
    dataset.snapshots[2].temporary = True
    found = report(dataset)
    assert (found["last_replicated"], found["snapshots_behind"]) == ("tank/v@s1", 1)
    assert (found["lag_seconds"], found["lag_bytes"]) == (9000, 20 + 30 + 7)
    assert found["healthy"]
    found = report(dataset, max_lag=60)
    assert not found["healthy"]
    assert "max_lag" in str(found["problems"])


def test_nothing_behind_is_no_lag():
    found = report(source(1))
    assert (found["lag_seconds"], found["lag_bytes"], found["snapshots_behind"]) == (0, 0, 0)


def test_the_cursor_replaces_a_deleted_snapshot():
    found = report(source(2, at=1))
    assert found["last_replicated"] == f"tank/v#{Cursor(ID, '1').format()}"
    assert found["lag_seconds"] == 9000


@pytest.mark.parametrize(
    ("dataset", "problem"),
    [
        (source(1, recorded=False), "left over"),
        (source(1, at=None), "nothing has been replicated"),
        (replica(1, released=True), "released"),
        (replica(1, held=None), "no snapshot is held as the last"),
        (replica(1, 2), "diverged: it holds backup/v@s2"),
    ],
)
def test_problems(dataset, problem):
    found = report(dataset)
    assert not found["healthy"]
    assert problem in str(found["problems"])


def test_the_lag_of_a_replica_is_the_age_of_its_last_received_snapshot():
    found = report(replica(1), max_lag=9000)
    assert (found["lag_seconds"], found["problems"]) == (9000, [])
    assert "9000 s old, more than max_lag allows (8999 s)" in str(report(replica(1), max_lag=8999)["problems"])
    assert "max_lag" not in str(report(replica(1, released=True), max_lag=1)["problems"])


def test_transfers_are_seen_from_both_sides():
    run = {"bytes_done": 5, "bytes_total": 10, "bytes_per_second": 1, "started": 1.0, "updated": 2.0}
    dataset = source(1, 2)
    dataset.snapshots[1].holds = [Hold(StepHold(ID).format())]
    assert "interrupted" in str(report(dataset)["problems"])
    found = report(dataset, running={ID: run})
    assert found["healthy"]
    assert found["in_progress"]["percent"] == 50.0  # type: ignore[index]
    there = replica(1)
    there.token = Token("1-x", "2", "tank/v@s2", 30, "1")
    there.ours[Announcement.NAME] = json.dumps([{"guid": "2", "snapshot": "s2", "bytes": 60}])
    assert "interrupted" in str(report(there)["problems"])
    found = report(there, active=["backup/v"])
    assert found["in_progress"]["percent"] == 50.0  # type: ignore[index]
    assert found["healthy"]
