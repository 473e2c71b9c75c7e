# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a snapshot beyond the fast read."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    Announced,
    Announcement,
    CommitPoint,
    CommitPoints,
    Cursor,
    ReplicaRecord,
    ReplicaRecords,
    SourceMark,
    is_source_property,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import (
    Bookmark,
    Dataset,
    Hold,
    Snapshot,
    Token,
)
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import Activity
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot import objects
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.processes import Receiver, Receiving
from ansible_collections.cerss.zfs.tests.unit.printer import Printer, Set

ID, OTHER, POOL = "00112233445566aa", "f" * 16, "0123456789abcdef"
MARK = SourceMark(OTHER, "a", "src/v", "7", "plain")


def token(**values: Any) -> Token:
    return Token(**{"text": "1-x", "toguid": "20", "toname": "src/v@two", "bytes": 50, "fromguid": "10", **values})


def test_inbound_increment() -> None:
    dataset = Dataset("backup/v", snapshots=[Snapshot("backup/v@one", "10", 5)], token=token())
    dataset.ours = {Announcement.NAME: '[{"guid": "20", "snapshot": "two", "bytes": 200}]'}
    receiver = Receiver(7, 10, "zfs receive -s -u backup/v")
    snapshot = objects.inbound_of(dataset, Activity(1000.0, Receiving([receiver], 1), rates={7: 5}))
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


def cursors(*guids: int, id_: str = ID) -> list[Bookmark]:
    """Their order is that of their GUIDs."""
    return [Bookmark(f"tank/v#{Cursor(id_, str(guid)).format()}", str(guid), guid) for guid in guids]


def test_replications_and_their_roles() -> None:
    dataset = Dataset("tank/v", bookmarks=cursors(10), ours={SourceMark.NAME: MARK.format()})
    base = Snapshot("tank/v@a", "10", holds=[Hold(f"cerss.zfs:step:{ID}")])
    step = Snapshot("tank/v@b", "11", holds=[Hold(f"cerss.zfs:step:{ID}"), Hold("keep"), Hold("cerss.zfs:odd")])
    last = Snapshot("tank/v@c", "12", holds=[Hold("cerss.zfs:last")])
    both = Snapshot("tank/v@c", "10", holds=[Hold("cerss.zfs:last")])
    bases, targets = objects.bases_of(dataset), {ID: "b1:backup/v"}
    sent, got = ({"id": ID, "target": "b1:backup/v"}, {"id": OTHER, "target": "tank/v", "role": "last_received"})
    assert objects.replications(base, dataset, bases, targets) == [{**sent, "role": "base"}]
    assert objects.replications(step, dataset, bases, targets) == [{**sent, "role": "in_transit"}]
    assert objects.replications(last, dataset, bases, {}) == [got]
    assert objects.replications(both, dataset, bases, targets) == [{**sent, "role": "base"}, got]
    for ours in ({}, {SourceMark.NAME: "spoilt"}):
        assert objects.replications(last, Dataset("tank/v", ours=ours), {}, targets) == []


@pytest.mark.parametrize(
    ("kept", "point", "base"),
    [
        ([], None, {}),
        ([], 10, {}),
        ([10], None, {ID: "10"}),
        ([12, 10, 11], None, {ID: "12"}),
        ([12, 10, 11], 11, {ID: "11"}),
        ([12, 10], 11, {}),
    ],
)
def test_the_base_is_the_commit_point_or_the_newest_cursor(
    kept: list[int], point: int | None, base: dict[str, str]
) -> None:
    points = CommitPoints((CommitPoint(ID, str(point), 1),)).format() if point else "spoilt"
    dataset = Dataset("tank/v", bookmarks=[*cursors(*kept), *cursors(9, 8, id_=OTHER), Bookmark("tank/v#mine", "9", 9)])
    dataset.ours = {CommitPoints.name(POOL): points}
    assert objects.bases_of(dataset) == {**base, OTHER: "9"}


RECORD = ReplicaRecords((ReplicaRecord(ID, "b1:backup/v", "9", "plain"),)).format()
POINT = CommitPoints((CommitPoint(ID, "10", 10),)).format()
KNOWN: Set = {
    "tank/v": {
        ReplicaRecords.name(POOL): ("local", RECORD), CommitPoints.name(POOL): ("local", POINT),
        "cerss.zfs:replica.short": ("local", "x"), "org:note": ("local", "x"),
    },
    "tank/w": {ReplicaRecords.name(OTHER): ("local", "x")},
    "tank/v@a": {"guid": ("-", "10"), "userrefs": ("-", "0")},
}  # fmt: skip


OURS = [ReplicaRecords.name(POOL), CommitPoints.name(POOL)]


@pytest.mark.parametrize(
    ("detail", "sources", "looked_at", "read"),
    [
        ("state", [], [], []),
        ("state", ["tank/v"], ["tank/v"], OURS),
        ("full", ["tank/v"], ["tank/v", "tank/w", "tank/v@a"], [*OURS, ReplicaRecords.name(OTHER)]),
    ],
)
def test_records_are_read_where_cursors_are(
    detail: str, sources: list[str], looked_at: list[str], read: list[str]
) -> None:
    host, snapshot = Printer(KNOWN), Snapshot("tank/v@a", "10")
    datasets = {"tank/v": Dataset("tank/v", snapshots=[snapshot]), "tank/w": Dataset("tank/w")}
    for name in sources:
        datasets[name].bookmarks = cursors(10, 11)
    objects.fill(host, datasets, [snapshot], Activity(), detail)
    looks = [zfs.get_names(looked_at, set_only=True)] if looked_at else []
    assert [command for command in host.commands if "name,property" in command] == looks
    assert len(host.commands) == 2 + len(looks)
    asked = {name for command in host.commands for name in command[command.index("-o") + 2].split(",")}
    assert {name for name in asked if is_source_property(name)} == {*read}
    assert snapshot.replications == ([{"id": ID, "target": "b1:backup/v", "role": "base"}] if sources else [])


def test_first_snapshot_of_a_clone_depends_on_the_origin() -> None:
    dataset = Dataset("tank/c", origin="tank/v@s", snapshots=[Snapshot("tank/c@1", "1"), Snapshot("tank/c@2", "2")])
    objects.link(dataset)
    assert [snapshot.depends_on for snapshot in dataset.snapshots] == [
        {"snapshot": "tank/v@s", "guid": None, "kind": "origin"},
        {"snapshot": "tank/c@1", "guid": "1", "kind": "prior"},
    ]
