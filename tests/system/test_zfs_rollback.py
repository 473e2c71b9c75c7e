# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""zfs_rollback on real pools."""

from __future__ import annotations

from typing import Any

import pytest
import verbs
from harness import Ansible, Backend

VERB = "_snapshot.rollback"
REPLICA = '{"id":"00112233445566aa","host":"elsewhere","dataset":"tank/x","guid":"1","mode":"plain"}'
HISTORY = """zfs create tank/v && echo one > /tank/v/file && zfs snapshot tank/v@s1
echo two > /tank/v/file && zfs snapshot tank/v@s2
zfs bookmark tank/v@s2 tank/v#b2 && zfs bookmark tank/v@s1 tank/v#b1
echo three > /tank/v/file && zfs snapshot tank/v@auto-1 && zfs snapshot tank/v@auto-2"""


def rollback(name: str, **allowed: Any) -> dict[str, Any]:
    return {"name": name, "allow_loss": allowed or None}


@pytest.fixture
def backend(backends: list[Backend]) -> Backend:
    return backends[0]


def test_loses_what_was_allowed_and_nothing_else(backend: Backend) -> None:
    answers = verbs.run(
        backend,
        VERB,
        [
            HISTORY,
            rollback("tank/v@auto-2"),
            "echo late > /tank/v/file",  # a moment ago: not yet counted by ZFS
            rollback("tank/v@auto-2"),
            rollback("tank/v@auto-2", data=True),
            rollback("tank/v@s2", snapshots=["auto-1"], data=True),
            rollback("tank/v@s2", snapshots=["auto-*"], data=True),
            rollback("tank/v@s1", snapshots=["s2"], data=True),
            rollback("tank/v@s1", snapshots=["s2"], bookmarks=["b2"]),
            rollback("tank/v@s1", snapshots=["s2"], bookmarks=["b2"], data=True),
        ],
    )
    same, late, undone, one_short, two, no_mark, no_data, all_ = answers
    assert not same[1]["changed"]
    assert "bytes written since" in late[1]["msg"]
    assert "add to allow_loss: {data: true}" in late[1]["msg"]
    assert undone[1]["actions"] == ["roll tank/v back to tank/v@auto-2"]
    assert undone[1]["lost"]["bytes"] > 0
    assert "{snapshots: [auto-2]}" in one_short[1]["msg"]
    assert two[1]["actions"] == [
        "destroy snapshot tank/v@auto-1",
        "destroy snapshot tank/v@auto-2",
        "roll tank/v back to tank/v@s2",
    ]
    assert "{bookmarks: [b2]}" in no_mark[1]["msg"]
    assert "{data: true}" in no_data[1]["msg"]
    assert no_data[1]["lost"]["snapshots"] == ["tank/v@s2"]
    assert all_[1]["actions"] == [
        "destroy snapshot tank/v@s2",
        "destroy bookmark tank/v#b2",
        "roll tank/v back to tank/v@s1",
    ]
    assert backend.run("cat /tank/v/file").stdout == "one\n"
    assert backend.zfs("list", "-H", "-o", "name", "-t", "bookmark", "tank/v") == "tank/v#b1\n"
    assert two[1]["zfs"] == ["list", "get", "get", "destroy", "rollback", "list"]


def test_what_others_need_blocks_whatever_is_allowed(backend: Backend) -> None:
    backend.run(
        "set -e; zfs create tank/held; zfs snapshot tank/held@a; zfs snapshot tank/held@b; zfs hold mine tank/held@b"
        "; zfs create tank/cloned; zfs snapshot tank/cloned@a; zfs snapshot tank/cloned@b"
        "; zfs clone tank/cloned@b tank/c; zfs create tank/marked; zfs snapshot tank/marked@a"
        "; zfs snapshot tank/marked@b; zfs clone tank/marked@b tank/m"
        "; zfs destroy -d tank/marked@b; zfs create tank/rep; zfs snapshot tank/rep@a; zfs snapshot tank/rep@b"
        f"; zfs set cerss.zfs:source='{REPLICA}' tank/rep; zfs create tank/src; zfs snapshot tank/src@a"
        "; zfs snapshot tank/src@b; zfs bookmark tank/src@b tank/src#cerss.zfs_00112233445566aa_ff"
    )
    everything = {"snapshots": ["*"], "bookmarks": ["*"], "data": True}
    cases = [
        (rollback("tank/held@a", **everything), "tank/held@b is needed by hold mine"),
        (rollback("tank/cloned@a", **everything), "tank/cloned@b is needed by clone tank/c"),
        (rollback("tank/marked@a", **everything), "tank/marked@b is needed by clone tank/m"),
        (rollback("tank/rep@a", **everything), "tank/rep is a replica"),
        (rollback("tank/src@a", **everything), "is needed by relationship 00112233445566aa"),
        (rollback("tank/held@zzz"), "there is no snapshot tank/held@zzz, so tank/held cannot be rolled back to it"),
        (rollback("tank/nothing@a"), "there is no dataset tank/nothing"),
        (rollback("nopool/x@a"), "there is no dataset nopool/x"),
        (rollback("tank/held"), "names no snapshot"),
    ]
    verbs.refused(backend, VERB, cases)


def test_through_ansible(backend: Backend, ansible: Ansible) -> None:
    backend.run(HISTORY)
    options = {"name": "tank/v@s2", "allow_loss": {"snapshots": ["auto-*"], "data": True}}
    four = ansible.four_times(backend.name, {"cerss.zfs.zfs_rollback": options})
    assert four[1]["lost"]["snapshots"] == ["tank/v@auto-1", "tank/v@auto-2"]
