# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a snapshot beyond the fast read."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import Announced, Announcement
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import (
    Bookmark,
    Dataset,
    Hold,
    Snapshot,
    Token,
)
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import Activity
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot import objects
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.processes import Receiver

ID = "00112233445566aa"


def token(**values: Any) -> Token:
    return Token(**{"text": "1-x", "toguid": "20", "toname": "src/v@two", "bytes": 50, "fromguid": "10", **values})


def test_inbound_increment() -> None:
    dataset = Dataset("backup/v", snapshots=[Snapshot("backup/v@one", "10", 5)], token=token())
    dataset.ours = {Announcement.NAME: '[{"guid": "20", "snapshot": "two", "bytes": 200}]'}
    receiver = Receiver(7, 10, "zfs receive -s -u backup/v")
    snapshot = objects.inbound_of(dataset, Activity(1000.0, [receiver], 1, rates={7: 5}))
    assert snapshot
    told = snapshot.to_result()
    assert (told["name"], told["guid"], told["state"]) == ("backup/v@two", "20", "inbound")
    assert told["depends_on"] == {"snapshot": "backup/v@one", "guid": "10", "kind": "base"}
    assert told["deletable"] is False
    assert told["progress"] == {
        "operation": "receive", "bytes_done": 50, "bytes_total": 200, "percent": 25.0, "bytes_per_second": 5,
        "eta_seconds": 30, "started": "1970-01-01T00:16:30Z", "updated": "1970-01-01T00:16:40Z", "active": True,
    }  # fmt: skip
    left = objects.inbound_of(dataset, Activity(1000.0))
    assert left
    assert left.progress
    assert (left.progress.active, left.progress.bytes_per_second) == (False, None)


def test_inbound_without_a_token_is_named_by_the_announcement_or_by_zfs() -> None:
    dataset = Dataset("backup/v", inconsistent=True)
    snapshot = objects.inbound_of(dataset, Activity())
    assert snapshot
    assert snapshot.name == "backup/v@%recv"
    dataset.ours = {Announcement.NAME: Announcement((Announced("10", "one"), Announced("20", "two"))).format()}
    dataset.snapshots = [Snapshot("backup/v@one", "10")]
    snapshot = objects.inbound_of(dataset, Activity())
    assert snapshot
    assert snapshot.name == "backup/v@two"


@pytest.mark.parametrize("dataset", [Dataset("v"), Dataset("v", token=token(), snapshots=[Snapshot("v@two", "20")])])
def test_nothing_is_inbound(dataset: Dataset) -> None:
    assert objects.inbound_of(dataset, Activity()) is None


def test_replications_and_their_roles() -> None:
    dataset = Dataset("tank/v", bookmarks=[Bookmark(f"tank/v#cerss.zfs_{ID}_a", "10", 5)])
    base = Snapshot("tank/v@a", "10", holds=[Hold(f"cerss.zfs:step:{ID}")])
    step = Snapshot("tank/v@b", "11", holds=[Hold(f"cerss.zfs:step:{ID}"), Hold("keep")])
    last = Snapshot("tank/v@c", "12", holds=[Hold(f"cerss.zfs:last:{ID}")])
    targets = {ID: "b1:backup/v"}
    assert objects.replications(base, dataset, targets) == [{"id": ID, "target": "b1:backup/v", "role": "base"}]
    assert objects.replications(step, dataset, targets)[0]["role"] == "in_transit"
    assert objects.replications(last, dataset, {}) == [{"id": ID, "target": "tank/v", "role": "last_received"}]


def test_first_snapshot_of_a_clone_depends_on_the_origin() -> None:
    dataset = Dataset("tank/c", origin="tank/v@s", snapshots=[Snapshot("tank/c@1", "1"), Snapshot("tank/c@2", "2")])
    objects.link(dataset)
    assert [snapshot.depends_on for snapshot in dataset.snapshots] == [
        {"snapshot": "tank/v@s", "guid": None, "kind": "origin"},
        {"snapshot": "tank/c@1", "guid": "1", "kind": "prior"},
    ]
