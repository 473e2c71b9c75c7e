# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    PLAIN,
    CommitPoint,
    CommitPoints,
    Cursor,
    LastHold,
    ReplicaRecord,
    ReplicaRecords,
    SourceMark,
    StepHold,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import (
    INBOUND,
    PENDING_DELETE,
    Bookmark,
    Dataset,
    Hold,
    Progress,
    Snapshot,
    Token,
    Value,
)

ID, OTHER, POOL = "00112233445566aa", "f" * 16, "0123456789abcdef"
SOURCE = SourceMark(ID, "a", "tank/v", "7", PLAIN)


def test_a_hold_knows_its_relationship() -> None:
    step, last, odd = Hold(StepHold(ID).format()), Hold(LastHold().format()), Hold("cerss.zfs:odd")
    assert (step.mark, last.mark, odd.mark) == (StepHold(ID), LastHold(), None)
    assert (step.relationship, last.relationship, odd.relationship) == (ID, None, None)
    assert (step.ours, last.ours, odd.ours) == (True, True, True)
    assert (Hold("keep").mark, Hold("keep").relationship, Hold("keep").ours) == (None, None, False)


def test_a_bookmark_knows_its_relationship() -> None:
    assert Bookmark(f"tank/v#{Cursor(ID, '7').format()}", "7", 1).relationship == ID
    assert Bookmark(f"tank/v#cerss.zfs_{ID}_open", "7", 1).relationship is None
    assert Bookmark("tank/v#mine", "7", 1).relationship is None


@pytest.mark.parametrize(
    ("done", "total", "rate", "percent", "eta"),
    [
        (50, 200, 10, 25.0, 15),
        (50, 200, None, 25.0, None),
        (50, 200, 0, 25.0, None),
        (300, 200, 10, 100.0, 0),
        (50, None, 10, None, None),
        (50, 0, 10, None, None),
        (None, 200, 10, None, None),
    ],
)
def test_progress(
    done: int | None, total: int | None, rate: int | None, percent: float | None, eta: int | None
) -> None:
    result = Progress("send", done, total, rate).to_result()
    assert (result["percent"], result["eta_seconds"]) == (percent, eta)


@pytest.mark.parametrize(
    ("values", "deletable"),
    [
        ({"userrefs": 0, "clones": []}, True),
        ({"userrefs": 1, "clones": []}, False),
        ({"userrefs": 0, "clones": ["tank/c"]}, False),
        ({"userrefs": 0}, None),
        ({"clones": []}, None),
        ({"userrefs": 0, "clones": [], "state": PENDING_DELETE}, False),
        ({"state": INBOUND}, False),
    ],
)
def test_deletable(values: dict[str, Any], deletable: bool | None) -> None:
    assert Snapshot("tank/v@s", **values).deletable is deletable


def test_a_snapshot_expires_after_its_lifetime() -> None:
    assert Snapshot("tank/v@s", created=100, lifetime=20).expires == 120
    assert Snapshot("tank/v@s", created=100).expires is None
    assert Snapshot("tank/v@s", lifetime=20).expires is None


def test_the_result_of_a_snapshot_tells_unread_from_none() -> None:
    unread, read = Snapshot("tank/v@s"), Snapshot("tank/v@s", clones=[], holds=[Hold("keep", 0)])
    assert unread.to_result()["dependents"] is None
    assert read.to_result()["dependents"] == {
        "clones": [],
        "holds": [{"tag": "keep", "created": "1970-01-01T00:00:00Z", "ours": False}],
        "replications": [],
    }


def test_a_spoilt_mark_still_makes_a_replica() -> None:
    spoilt = Dataset("backup/v", ours={SourceMark.NAME: "{"})
    assert spoilt.is_replica
    assert spoilt.source_mark is None
    assert spoilt.relationships() == ["replica of the replication with a spoilt mark"]


@pytest.mark.parametrize(
    ("flags", "replica"),
    [({}, True), ({"beside": True}, True), ({"put_aside": True}, False), ({"released": True}, False)],
)
def test_a_replica_that_is_released_or_put_aside_is_none(flags: dict[str, bool], replica: bool) -> None:
    mark = SourceMark(ID, "a", "tank/v", "7", PLAIN, **flags)
    dataset = Dataset("backup/v", ours={SourceMark.NAME: mark.format()})
    assert dataset.is_replica is replica
    assert dataset.source_mark == mark
    assert dataset.relationships() == ([f"replica of the replication {ID}"] if replica else [])


RECORDS = ReplicaRecords((ReplicaRecord(OTHER, "c:x/v", "8", PLAIN), ReplicaRecord("e" * 16, "d:x/v", "9", PLAIN)))
POINTS = CommitPoints((CommitPoint(OTHER, "7", 5),))


def test_relationships_of_a_dataset_in_the_middle_of_a_chain() -> None:
    ours = {SourceMark.NAME: SOURCE.format(), ReplicaRecords.name(POOL): RECORDS.format()}
    assert Dataset("backup/v", ours=ours).relationships() == [
        f"source of the replication {'e' * 16}",
        f"source of the replication {OTHER}",
        f"replica of the replication {ID}",
    ]


def test_a_spoilt_record_is_still_a_relationship() -> None:
    ours = {ReplicaRecords.name(OTHER): "{}", ReplicaRecords.name(POOL): RECORDS.format()}
    dataset = Dataset("tank/v", ours=ours)
    assert sorted(dataset.records()) == ["e" * 16, OTHER]
    assert dataset.relationships()[2:] == [f"source of replications to the pool {OTHER} with a spoilt record"]
    assert Dataset("tank/v", ours={ReplicaRecords.name(POOL): "[]"}).relationships() == []


def test_records_and_commit_points_of_all_pools_are_found_by_relationship() -> None:
    more, further = ReplicaRecord(ID, "b:backup/v", "7", PLAIN), CommitPoint(ID, "8", 6)
    ours = {
        ReplicaRecords.name(POOL): RECORDS.format(),
        ReplicaRecords.name(OTHER): ReplicaRecords((more,)).format(),
        CommitPoints.name(POOL): POINTS.format(),
        CommitPoints.name(OTHER): CommitPoints((further,)).format(),
        CommitPoints.name("0" * 16): "odd",
    }
    dataset = Dataset("tank/v", ours=ours)
    assert dataset.records() == {record.id: record for record in (*RECORDS.entries, more)}
    assert dataset.commit_points() == {OTHER: POINTS.entries[0], ID: further}
    assert (Dataset("tank/v").records(), Dataset("tank/v").commit_points()) == ({}, {})


def test_a_partial_receive_may_have_a_token_that_cannot_be_decoded() -> None:
    token = Token("1-x", "7", "tank/v@s", 5)
    assert Dataset("backup/v", token=token).has_partial_receive
    assert Dataset("backup/v", values={"receive_resume_token": Value("1-odd")}).has_partial_receive
    assert not Dataset("backup/v", values={"receive_resume_token": Value("-")}).has_partial_receive
    assert token.snapshot == "s"


def test_properties_of_a_dataset() -> None:
    dataset = Dataset("tank/v", values={"type": Value("volume"), "encryption": Value("off"), "written": Value("5")})
    assert (dataset.type, dataset.encrypted, dataset.written) == ("volume", False, 5)
    assert Dataset("tank/v", values={"encryption": Value("aes-256-gcm")}).encrypted
    assert (Dataset("tank/v").type, Dataset("tank/v").encrypted, Dataset("tank/v").written) == (None, False, 0)


@pytest.mark.parametrize(("text", "written"), [("7", 7), ("-", 0), ("many", 0), ("9" * 5000, 0)])
def test_written_is_a_number_whatever_was_printed(text: str, written: int) -> None:
    assert Dataset("tank/v", values={"written": Value(text)}).written == written


def test_snapshots_and_cursors_are_found() -> None:
    snapshot = Snapshot("tank/v@s", "7")
    cursor = Bookmark(f"tank/v#{Cursor(ID, '7').format()}", "7", 1)
    dataset = Dataset(
        "tank/v", snapshots=[Snapshot("tank/v@other"), snapshot], bookmarks=[Bookmark("tank/v#b", "7", 1), cursor]
    )
    assert dataset.by_name("tank/v@s") is snapshot
    assert dataset.by_guid("7") is snapshot
    assert dataset.by_guid(None) is None
    assert dataset.cursors() == [(Cursor(ID, "7"), cursor)]
