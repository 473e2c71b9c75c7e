# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    PLAIN,
    Cursor,
    LastHold,
    ReplicaRecord,
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

ID = "00112233445566aa"
SOURCE = SourceMark(ID, "a", "tank/v", "7", PLAIN)


def test_a_hold_knows_its_relationship() -> None:
    step, last = Hold(StepHold(ID).format()), Hold(LastHold(ID).format())
    assert (step.mark, last.mark) == (StepHold(ID), LastHold(ID))
    assert (step.relationship, last.relationship) == (ID, ID)
    assert step.ours
    assert (Hold("keep").mark, Hold("keep").relationship, Hold("keep").ours) == (None, None, False)


def test_a_step_hold_is_not_a_last_hold() -> None:
    assert StepHold(ID) != LastHold(ID)


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


def test_a_released_replica_is_none() -> None:
    released = SourceMark(ID, "a", "tank/v", "7", PLAIN, released=True)
    dataset = Dataset("backup/v", ours={SourceMark.NAME: released.format()})
    assert not dataset.is_replica
    assert dataset.source_mark == released
    assert dataset.relationships() == []


def test_relationships_of_a_dataset_in_the_middle_of_a_chain() -> None:
    ours = {SourceMark.NAME: SOURCE.format(), ReplicaRecord.name("f" * 16): ReplicaRecord("c:x/v").format()}
    assert Dataset("backup/v", ours=ours).relationships() == [
        f"source of the replication {'f' * 16}",
        f"replica of the replication {ID}",
    ]


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
