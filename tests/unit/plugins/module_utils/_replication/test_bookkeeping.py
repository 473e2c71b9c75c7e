# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Marks before a transfer, after it, and after a crash."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    Announcement,
    LastHold,
    ReplicaRecord,
    SourceMark,
    StepHold,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Hold, Value
from ansible_collections.cerss.zfs.plugins.module_utils._replication import bookkeeping
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import PairOptions
from ansible_collections.cerss.zfs.plugins.module_utils._replication.planner import plan_pair, settled_at_a_glance
from ansible_collections.cerss.zfs.tests.unit.pairs import ID, pair, settled, token, with_token


def test_a_first_receive_sets_only_properties_of_its_type():
    options = PairOptions(properties={"atime": "off", "compression": "zstd", "volblocksize": "16K"})
    case = pair([1], None)
    properties = bookkeeping.first_receive_properties(case, options, raw=False)
    assert {*properties} - {SourceMark.NAME} == {"readonly", "canmount", "atime", "compression"}
    case.source.values["type"] = Value("volume")
    properties = bookkeeping.first_receive_properties(case, options, raw=False)
    assert {*properties} - {SourceMark.NAME} == {"readonly", "volblocksize", "compression"}


def test_what_is_pulled_brings_no_setuid_and_devices():
    case = pair([1], None)

    def first(**options: Any) -> dict[str, str]:
        properties = bookkeeping.first_receive_properties(case, PairOptions(**options), raw=False)
        return {name: properties[name] for name in ("setuid", "devices") if name in properties}

    assert first() == {}
    assert first(pulled=True) == {"setuid": "off", "devices": "off"}
    assert first(pulled=True, properties={"setuid": "on", "devices": None}) == {"setuid": "on"}
    case.source.values["type"] = Value("volume")
    assert first(pulled=True) == {}


def test_settled_marks_are_left_alone():
    case = settled(pair([1, 2], [1, 2]))
    assert bookkeeping.settle(case) == []
    assert settled_at_a_glance(case, PairOptions())


def test_settling_moves_every_mark_and_removes_the_old_cursor_last():
    case = pair([1, 2], [1, 2], bookmarks=(1,))
    case.source.snapshots[0].holds = [Hold(StepHold(ID).format()), Hold("mine")]
    first = case.source.snapshots[0]
    first.state, first.userrefs, first.clones = "pending_delete", 1, []
    case.source.snapshots[1].holds = [Hold(StepHold(ID).format())]
    case.replica.snapshots[0].holds = [Hold(LastHold(ID).format())]
    case.replica.ours[Announcement.NAME] = "[]"
    actions = bookkeeping.settle(case)
    argvs = [action.commands[0][1:] for action in actions]
    prefix = f"tank/v#cerss.zfs_{ID}_"
    assert argvs[0] == ["bookmark", "tank/v@s2", prefix + "2"]
    assert argvs[-1] == ["destroy", prefix + "1"]
    assert ["hold", LastHold(ID).format(), "backup/v@s2"] in argvs
    assert ["release", LastHold(ID).format(), "backup/v@s1"] in argvs
    assert ["release", StepHold(ID).format(), "tank/v@s1", "tank/v@s2"] in argvs
    assert ["inherit", Announcement.NAME, "backup/v"] in argvs
    assert any("ZFS then destroys tank/v@s1" in action.text for action in actions)


def test_a_partial_receive_keeps_its_holds_and_announcement():
    case = with_token(pair([1, 2], [1], bookmarks=(1,)), token(2, 1))
    case.source.snapshots[1].holds = [Hold(StepHold(ID).format())]
    case.replica.ours[Announcement.NAME] = "[]"
    assert all(action.commands[0][1] not in ("release", "inherit") for action in bookkeeping.settle(case))


def test_protect_holds_base_and_every_snapshot():
    case = pair([1, 2, 3], [1], bookmarks=(1,))
    plan = plan_pair(case, PairOptions())
    record, hold = (action.commands[0][1:] for action in bookkeeping.protect(case, plan))
    assert record[1].startswith(ReplicaRecord.name(ID))
    assert hold == ["hold", StepHold(ID).format(), "tank/v@s1", "tank/v@s2", "tank/v@s3"]


@pytest.mark.parametrize(
    ("cursor", "opens"),
    [
        pytest.param(None, True, id="first"),
        pytest.param(1, False, id="on-the-way"),
        pytest.param(2, True, id="lost-replica"),  # else a cut would look settled: the cursor is at the goal already
    ],
)
def test_a_first_transfer_does_not_look_settled_before_it_is(cursor, opens):
    case = pair([1, 2], None, bookmarks=(cursor,) if cursor else (), known_id=ID)
    created = [
        command[-1]
        for action in bookkeeping.protect(case, plan_pair(case, PairOptions()))
        for command in action.commands
    ]
    assert (f"tank/v#cerss.zfs_{ID}_open" in created) is opens
