# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one side tells of its relationships, and what ending or adopting one takes."""

from __future__ import annotations

import json

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.endpoint import Endpoint
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    Announcement,
    Cursor,
    LastHold,
    ReplicaRecord,
    SourceMark,
    StepHold,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import (
    Bookmark,
    Dataset,
    Hold,
    Snapshot,
    Token,
    Value,
)
from ansible_collections.cerss.zfs.plugins.module_utils._replication.info import relationships
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import SOURCE, TARGET, Pair
from ansible_collections.cerss.zfs.plugins.module_utils._replication.relationship import Options, adopt, end

ID, OTHER = "0123456789abcdef", "f" * 16
NOW = 10_000


def snapshots(dataset: str, *numbers: int) -> list[Snapshot]:
    return [
        Snapshot(f"{dataset}@s{n}", str(n), n, created=n * 1000, written=n * 10, userrefs=0, clones=[], holds=[])
        for n in numbers
    ]


def cursor(number: int, id_: str = ID) -> Bookmark:
    return Bookmark(f"tank/v#{Cursor(id_, str(number)).format()}", str(number), number, created=number * 1000)


def source(*numbers: int, at: int | None = 1, recorded: bool = True) -> Dataset:
    dataset = Dataset("tank/v", "900", snapshots=snapshots("tank/v", *numbers), values={"written": Value("0")})
    dataset.bookmarks = [cursor(at)] if at else []
    if recorded:
        dataset.ours = {ReplicaRecord.name(ID): json.dumps({"target": "b:backup/v"})}
    return dataset


def replica(*numbers: int, held: int | None = 1, **mark: object) -> Dataset:
    dataset = Dataset("backup/v", "901", snapshots=snapshots("backup/v", *numbers))
    dataset.ours = {
        SourceMark.NAME: json.dumps(
            {"id": ID, "host": "a", "dataset": "tank/v", "guid": "900", "mode": "plain", **mark}
        )
    }
    for snap in dataset.snapshots:
        if snap.guid == str(held):
            snap.holds = [Hold(LastHold(ID).format())]
    return dataset


def told(dataset: Dataset, **more: object) -> dict[str, object]:
    values = {"running": {}, "active": [], "now": NOW, "max_lag": None, **more}
    (found,) = relationships({dataset.name: dataset}, **values)  # type: ignore[arg-type]
    return found


def test_lag_counts_what_came_after_the_cursor():
    dataset = source(1, 2, 3)
    dataset.values["written"] = Value("7")
    dataset.snapshots[2].temporary = True
    found = told(dataset)
    assert (found["last_replicated"], found["snapshots_behind"]) == ("tank/v@s1", 1)
    assert (found["lag_seconds"], found["lag_bytes"]) == (9000, 20 + 30 + 7)
    assert found["healthy"]
    found = told(dataset, max_lag=60)
    assert not found["healthy"]
    assert "max_lag" in str(found["problems"])


def test_nothing_behind_is_no_lag():
    found = told(source(1))
    assert (found["lag_seconds"], found["lag_bytes"], found["snapshots_behind"]) == (0, 0, 0)


def test_the_cursor_stands_for_a_snapshot_that_is_gone():
    found = told(source(2, at=1))
    assert found["last_replicated"] == f"tank/v#{Cursor(ID, '1').format()}"
    assert found["lag_seconds"] == 9000


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        (source(1, recorded=False), "left over"),
        (source(1, at=None), "nothing has been replicated"),
        (replica(1, released=True), "released"),
        (replica(1, held=None), "no snapshot is kept"),
        (replica(1, 2), "diverged: it holds backup/v@s2"),
    ],
)
def test_problems_in_words(dataset, words):
    found = told(dataset)
    assert not found["healthy"]
    assert words in str(found["problems"])


def test_a_replica_is_as_old_as_what_it_received_last():
    found = told(replica(1), max_lag=9000)
    assert (found["lag_seconds"], found["problems"]) == (9000, [])
    assert "9000 s old, more than max_lag allows (8999 s)" in str(told(replica(1), max_lag=8999)["problems"])
    assert "max_lag" not in str(told(replica(1, released=True), max_lag=1)["problems"])


def test_transfers_are_seen_from_both_sides():
    run = {"bytes_done": 5, "bytes_total": 10, "bytes_per_second": 1, "started": 1.0, "updated": 2.0}
    dataset = source(1, 2)
    dataset.snapshots[1].holds = [Hold(StepHold(ID).format())]
    assert "interrupted" in str(told(dataset)["problems"])
    found = told(dataset, running={ID: run})
    assert found["healthy"]
    assert found["in_progress"]["percent"] == 50.0  # type: ignore[index]
    there = replica(1)
    there.token = Token("1-x", "2", "tank/v@s2", 30, "1")
    there.ours[Announcement.NAME] = json.dumps([{"guid": "2", "snapshot": "s2", "bytes": 60}])
    assert "interrupted" in str(told(there)["problems"])
    found = told(there, active=["backup/v"])
    assert found["in_progress"]["percent"] == 50.0  # type: ignore[index]
    assert found["healthy"]


def test_ending_takes_all_marks_and_nothing_else():
    here, there = source(1, 2, at=2), replica(1, 2, held=2)
    here.bookmarks += [
        cursor(2, OTHER),
        Bookmark("tank/v#mine", "2", 2),
        Bookmark(f"tank/v#cerss.zfs_{ID}_open", "1", 1),
    ]
    here.snapshots[1].holds = [Hold(StepHold(ID).format()), Hold(StepHold(OTHER).format()), Hold("legal")]
    there.ours[Announcement.NAME] = "[]"
    plan, id_ = end(None, {SOURCE: [here], TARGET: [there]}, "backup/v", Endpoint("b"))
    assert id_ == ID
    commands = [(step.side, *step.commands[0][1:]) for step in plan.steps]
    assert commands == [
        (TARGET, "release", LastHold(ID).format(), "backup/v@s2"),
        (TARGET, "inherit", Announcement.NAME, "backup/v"),
        (TARGET, "inherit", SourceMark.NAME, "backup/v"),
        (SOURCE, "release", StepHold(ID).format(), "tank/v@s2"),
        (SOURCE, "destroy", f"tank/v#{Cursor(ID, '2').format()}"),
        (SOURCE, "destroy", f"tank/v#cerss.zfs_{ID}_open"),
        (SOURCE, "inherit", ReplicaRecord.name(ID), "tank/v"),
    ]


def test_ending_leaves_the_replica_of_another():
    here = source(1, recorded=False, at=None)
    here.guid = "800"
    with pytest.raises(Refused, match="is the replica of a:tank/v, not of tank/v"):
        end(None, {SOURCE: [here], TARGET: [replica(1)]}, "backup/v", Endpoint("b"))
    assert end(ID, {TARGET: [replica(1)]}, None, Endpoint())[0].steps


def test_ending_one_sided():
    plan, id_ = end(None, {SOURCE: [source(1)]}, "backup/v", Endpoint("b"))
    assert id_ == ID
    assert {step.side for step in plan.steps} == {SOURCE}
    plan, _id = end(ID, {TARGET: [replica(1)]}, None, Endpoint())
    assert len(plan.steps) == 2
    assert end(None, {SOURCE: [source(1)]}, "backup/other", Endpoint("b")) == (plan.__class__(), None)


def test_ending_aborts_a_partial_receive():
    there = replica()
    there.token = Token("1-x", "2", "tank/v@s2", 30)
    plan, _id = end(ID, {TARGET: [there]}, "backup/v", Endpoint("b"))
    assert [step.commands[0] for step in plan.steps] == [["zfs", "receive", "-A", "backup/v"]]
    assert "with which b:backup/v goes" in plan.steps[0].text


def pair(there: Dataset | None) -> Pair:
    return Pair(source(1, 2, at=None, recorded=False), "backup/v", there, None, "77", "tank/v", "b:backup/v", "a", "b")


def test_adopting_marks_both_sides():
    there = replica(1, held=None)
    there.ours = {}
    verbs = [(step.side, step.commands[0][1]) for step in adopt(pair(there)).steps]
    assert verbs == [(TARGET, "set"), (SOURCE, "bookmark"), (SOURCE, "set"), (TARGET, "hold")]


@pytest.mark.parametrize(
    ("there", "words"),
    [
        (None, "does not exist"),
        (replica(8), "no snapshot in common"),
        (replica(1, guid="5"), "end that relationship first"),
    ],
)
def test_what_cannot_be_adopted(there, words):
    with pytest.raises(Refused, match=words):
        adopt(pair(there))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"id": "xyz"}, "16 hex digits"),
        ({"name": "tank/v"}, "say which relationship"),
        ({"id": ID, "state": "present"}, "to adopt a replica"),
        ({"name": "tank/v@s", "target": {"dataset": "b/v"}}, "names a snapshot"),
    ],
)
def test_bad_options(options, words):
    with pytest.raises(BadInput, match=words):
        Options.from_params({"state": "absent", "force": False, **options})
