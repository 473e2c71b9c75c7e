# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A pair, its id and its marks, and what is reported about a stream."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import CommitPoint, SourceMark
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import (
    PairPlan,
    Send,
    listed,
    newest_common,
    only_holds,
    send_step,
    with_hold,
)
from ansible_collections.cerss.zfs.tests.unit.pairs import (
    ID,
    OTHER,
    POINT,
    RECORD,
    REPLICA_GUID,
    cursor,
    last_hold,
    link,
    pair,
    points,
    record,
    records,
    replica,
    snapshots,
    source,
    source_mark,
    step_hold,
)

LAST = "cerss.zfs:last"


def test_what_was_read_is_frozen() -> None:
    for found in (pair([1], [1]), pair([1], [1]).link, PairPlan(pair([1], [1]))):
        with pytest.raises(FrozenInstanceError):
            setattr(found, next(iter(vars(found))), None)


def test_the_id_is_in_the_record_or_made_of_source_pool_and_name() -> None:
    assert pair([1], [1]).id == ID
    new = pair([1], None)
    assert new.id == pair([1, 2], None).id
    assert len(new.id) == 16
    assert new.id != ID
    other = pair([1], None)
    other.source.guid = "5"
    for different in (replace(new, pool="f" * 16), replace(new, link=link(replica_name="backup/w")), other):
        assert different.id not in (new.id, ID)


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (Dataset("backup/v", children=["backup/v/w"]), True),
        (Dataset("backup/v"), False),
        (Dataset("backup", children=["backup/w"]), False),  # the root of a pool, which cannot be renamed
        (Dataset("backup/v", children=["backup/v/w"], snapshots=snapshots("backup/v", 1)), False),
        (Dataset("backup/v", children=["backup/v/w"], ours=source_mark()), False),
        (Dataset("backup/v", children=["backup/v/w"], inconsistent=True), False),
        (None, False),
    ],
)
def test_a_dataset_that_only_holds_others(there: Dataset | None, expected: bool) -> None:
    assert only_holds(there) is expected


def test_a_replica_that_claims_an_id_does_not_get_it() -> None:
    """Without a record on the source there is no id but the one that would be made now."""
    case = pair([1], [1], recorded=False)
    assert case.mark
    assert (case.mark.id, case.record) == (ID, None)
    assert case.id == pair([1], None).id


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ([record(id=OTHER, guid="5", target="b:x"), record()], ID),
        ([record(id=OTHER, guid="5"), record(target="b:former")], ID),  # the GUID counts more than the place
        ([record(id=OTHER, guid="5"), record(guid="6", target="b:x")], OTHER),  # and the place more than a claim
        ([record(guid="6", target="b:x")], ID),  # so a mark that disagrees is seen at all
        ([record(id=OTHER, guid="6", target="b:x")], None),
        ([], None),
    ],
)
def test_the_record_of_a_replica(entries: list[object], found: str | None) -> None:
    case = pair([1], [1])
    case.source.ours = records(*entries)  # type: ignore[arg-type]
    assert (case.record.id if case.record else None) == found


def test_marks_of_another_pool_do_not_count() -> None:
    assert pair([1], [1], at=1).point == CommitPoint(ID, "1", 1)
    case = pair([1], [1])
    case.source.ours = {**records(record(), pool="f" * 16), **points(1, pool="f" * 16)}
    assert (case.record, case.point) == (None, None)


def test_what_cannot_be_read_is_none() -> None:
    case = pair([1], [1], at=1)
    assert case.replica
    case.replica.ours = {SourceMark.NAME: "{}"}
    case.source.ours = {RECORD: "backup/v", POINT: "1"}
    assert (case.mark, case.record, case.point) == (None, None, None)
    assert (case.records.entries, case.points.entries) == ((), ())


def test_the_address_in_the_record_is_as_the_source_sees_it() -> None:
    assert link().target_record == "b:backup/v"
    assert link(target_host="").target_record == "backup/v"


def test_newest_common_prefers_the_snapshot_to_its_bookmark() -> None:
    here, there = source(1, 2, at=2), replica(1, 2)
    assert newest_common(here, there) == (there.snapshots[1], here.snapshots[1])
    here = source(1, 3, at=2)
    assert newest_common(here, there) == (there.snapshots[1], here.bookmarks[0])
    here.bookmarks = [cursor(4)]
    assert newest_common(here, there) == (there.snapshots[0], here.snapshots[0])
    assert newest_common(source(3, at=None), there) is None


def test_a_first_receive_has_no_whole_snapshot_yet() -> None:
    assert pair([1], []).is_first_receive
    assert not pair([1], None).is_first_receive
    assert not pair([1], [1]).is_first_receive


def test_what_is_reported_about_a_stream() -> None:
    case = pair([1, 2, 3], None)
    one, two, three = case.source.snapshots
    sends = [
        (Send("full", (one,)), "send tank/v@s1 in full to b:backup/v", "absent"),
        (
            Send("incremental", (two, three), "tank/v@s1"),
            "send 2 snapshots of tank/v, @s2 to @s3, as an increment from tank/v@s1 to b:backup/v",
            "absent",
        ),
        (Send("resume", (two,), "tank/v@s1"), "resume sending tank/v@s2 to b:backup/v", "inbound"),
    ]
    for send, text, before in sends:
        step = send_step(case, send)
        assert step.text == text
        assert step.commands == ()
        assert [(effect.name, effect.before, effect.after) for effect in step.effects] == [
            (f"backup/v@{snap.snapshot}", {"state": before}, {"state": "full"}) for snap in send.carries
        ]
    assert sends[1][0].to_result() == {
        "kind": "incremental", "base": "tank/v@s1", "snapshots": ["tank/v@s2", "tank/v@s3"], "count": 2,
        "raw": False, "origin": None,
    }  # fmt: skip


def test_listed_shortens_long_lists() -> None:
    assert listed([Dataset("a"), Dataset("b")]) == "a, b"
    assert listed(snapshots("a", *range(1, 13)), most=2) == "a@s1, a@s2 and 10 more"


def test_with_hold_finds_a_tag() -> None:
    dataset = replica(1, 2, held=None)
    step_hold(dataset, 1)
    last_hold(dataset)
    assert with_hold(dataset, LAST) == [dataset.snapshots[1]]
    assert dataset.guid == REPLICA_GUID
