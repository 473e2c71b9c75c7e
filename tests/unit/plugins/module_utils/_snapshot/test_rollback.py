# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What zfs_rollback refuses and what it does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import SourceMark
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import (
    PENDING_DELETE,
    Bookmark,
    Dataset,
    Hold,
    Snapshot,
    Value,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import SnapshotName
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import Activity
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.rollback import Loss, Options, plan_rollback

RELEASED = SourceMark("00112233445566aa", "a", "tank/x", "1", "plain", released=True)
TARGET = SnapshotName.parse("tank/v@s")
NAMES = st.lists(st.sampled_from(["a", "b", "auto-1", "auto-2"]), unique=True)


def free(part: str, **more: Any) -> Snapshot:
    return Snapshot(f"tank/v@{part}", **{"holds": [], "clones": [], **more})


def bookmark(part: str) -> Bookmark:
    return Bookmark(f"tank/v#{part}", "1", 9)


def planned(loss: Loss, options: Options, running: Activity | None = None, **values: Any) -> list[list[str]]:
    plan = plan_rollback(options, Dataset("tank/v", **values), loss, running or Activity())
    return [command for step in plan.steps for command in step.commands]


@given(NAMES, NAMES, st.integers(0, 5), NAMES, NAMES, st.booleans())
def test_only_what_was_allowed_is_ever_lost(
    snapshots: list[str], bookmarks: list[str], size: int, ok_snapshots: list[str], ok_bookmarks: list[str], data: bool
) -> None:
    loss = Loss([free(part) for part in snapshots], [bookmark(part) for part in bookmarks], size)
    allowed = Options(TARGET, ok_snapshots, ok_bookmarks, data)
    covered = set(snapshots) <= set(ok_snapshots) and set(bookmarks) <= set(ok_bookmarks) and (data or not size)
    if not covered:
        with pytest.raises(Refused, match="would lose"):
            planned(loss, allowed)
        return
    commands = planned(loss, allowed)
    expected = [["zfs", "destroy", f"tank/v@{','.join(snapshots)}"]] if snapshots else []
    expected += [["zfs", "destroy", f"tank/v#{part}"] for part in bookmarks]
    assert commands == ([*expected, ["zfs", "rollback", "tank/v@s"]] if loss else [])


@pytest.mark.parametrize(
    ("lost", "values", "told"),
    [
        (free("a", holds=[Hold("mine")]), {}, "tank/v@a is needed by hold mine"),
        (free("a", clones=["tank/c"]), {}, "tank/v@a is needed by clone tank/c"),
        (free("a", clones=["tank/v/%recv"]), {}, "tank/v@a is needed by the receive into tank/v"),
        (free("a", state=PENDING_DELETE), {}, "is pending deletion and in use"),
        (free("a"), {"ours": {SourceMark.NAME: "spoilt"}}, "is a replica"),
        (free("a"), {"values": {"receive_resume_token": Value("1-x")}}, "has a partial receive"),
    ],
)
def test_what_others_need_cannot_be_allowed(lost: Snapshot, values: dict[str, Any], told: str) -> None:
    with pytest.raises(Refused, match=told):
        planned(Loss([lost], [], 0), Options(TARGET, ["*"], ["*"], True), **values)


def test_a_cursor_blocks() -> None:
    with pytest.raises(Refused, match="is needed by relationship 00112233445566aa"):
        planned(Loss([], [bookmark("cerss.zfs_00112233445566aa_ff")], 0), Options(TARGET, ["*"], ["*"], True))


def test_a_snapshot_that_is_being_sent_blocks() -> None:
    with pytest.raises(Refused, match="tank/v@a is being sent"):
        planned(Loss([free("a")], [], 0), Options(TARGET, ["*"]), Activity(senders=["zfs send tank/v@a"]))


def test_a_released_replica_may_go_back() -> None:
    assert planned(Loss([], [], 1), Options(TARGET, data=True), ours={SourceMark.NAME: RELEASED.format()})


def test_the_error_says_exactly_what_to_allow() -> None:
    with pytest.raises(Refused) as raised:
        planned(Loss([free("a"), free("b")], [bookmark("c")], 7), Options(TARGET, ["b"]))
    assert "snapshots a, bookmarks c and 7 bytes written since" in raised.value.msg
    assert "{snapshots: [a], bookmarks: [c], data: true}" in raised.value.msg
    assert raised.value.details["lost"]["snapshots"] == ["tank/v@a", "tank/v@b"]


def test_hundred_at_most_in_one_command() -> None:
    commands = planned(Loss([free(f"n{n}") for n in range(250)], [], 0), Options(TARGET, ["n*"]))
    assert [len(command[2].split(",")) for command in commands[:-1]] == [100, 100, 50]
