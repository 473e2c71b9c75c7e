# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A pair, its id, and what its plan holds and reports."""

from __future__ import annotations

import json

from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import ReplicaRecord, SourceMark
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import (
    PairOptions,
    Send,
    listed,
    newest_common,
    send_action,
)
from ansible_collections.cerss.zfs.plugins.module_utils._replication.planner import plan_pair
from ansible_collections.cerss.zfs.tests.unit.pairs import ID, cursor, pair, replica, snapshots, source


def test_the_id_is_that_of_the_replica_or_made_of_source_pool_and_name():
    assert pair([1], [1]).id == ID
    new = pair([1], None)
    assert new.id == pair([1, 2], None).id
    assert len(new.id) == 16
    for change in ({"replica_name": "backup/w"}, {"pool_guid": "78"}):
        other = pair([1], None)
        for key, value in change.items():
            setattr(other, key, value)
        assert other.id != new.id
    new.known_id = ID
    assert new.id == ID


def test_an_invalid_mark_or_record_is_none():
    case = pair([1], [1])
    case.source.ours = {ReplicaRecord.name(ID): json.dumps({"target": "b:backup/v"})}
    assert case.mark is not None
    assert case.record is not None
    case.replica.ours = {SourceMark.NAME: "{}"}
    case.known_id = ID
    case.source.ours = {ReplicaRecord.name(ID): "backup/v"}
    assert case.mark is None
    assert case.record is None


def test_newest_common_prefers_the_snapshot_to_its_bookmark():
    here, there = source(1, 2, at=2), replica(1, 2)
    assert newest_common(here, there) == (there.snapshots[1], here.snapshots[1])
    here = source(1, 3, at=2)
    assert newest_common(here, there) == (there.snapshots[1], here.bookmarks[0])
    here.bookmarks = [cursor(4)]
    assert newest_common(here, there) == (there.snapshots[0], here.snapshots[0])
    assert newest_common(source(3, at=None), there) is None


def test_protects_the_base_and_each_snapshot_sent_once():
    case = pair([1, 2, 3, 4], [1])
    plan = plan_pair(case, PairOptions(exclude=("s3",)))
    assert [snapshot.snapshot for snapshot in plan.protects] == ["s1", "s2", "s4"]


def test_what_is_reported_about_a_stream():
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
        step = send_action(case, send)
        assert step.text == text
        assert step.commands == ()
        assert {effect.before["state"] for effect in step.effects} == {before}
        assert [effect.name for effect in step.effects] == [f"backup/v@{snap.snapshot}" for snap in send.carries]


def test_listed_shortens_long_lists():
    assert listed([Dataset("a"), Dataset("b")]) == "a, b"
    assert listed(snapshots("a", *range(1, 13)), most=2) == "a@s1, a@s2 and 10 more"
