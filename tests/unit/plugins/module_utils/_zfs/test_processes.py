# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._zfs import processes

PS = r"""      1     900 /sbin/init
    659      26 zfs send -L -c tank/t@one
    661      26 zfs receive -s -u -o readonly=on -o cerss.zfs:inbound=[{"guid":"1","snapshot":"one"}] backup/t
    662      26 /usr/sbin/zfs recv backup/with space
    663      26 sh -c zfs receive backup/u
    667      17 [receive_writer]
"""


def test_each_receive_is_found_once() -> None:
    found = processes.receiving([*PS.splitlines(), "664 2 /usr/sbin/zfs recv backup/with space"])
    assert [(receiver.pid, receiver.seconds) for receiver in found.receivers] == [(661, 26), (664, 2)]
    assert (found.writers, found.whole) == (1, True)


def test_other_lines_are_no_receivers() -> None:
    """The list may come from a host that prints anything."""
    lines = [
        "x 1 zfs receive a/b",
        "7 \u00b2 zfs receive a/b",
        f"{'9' * 5000} 1 zfs receive a/b",
        "-7 1 zfs receive a/b",
        "0 1 zfs receive a/b",
    ]
    assert processes.receiving(lines) == processes.Receiving([], 0, whole=False)


def test_a_receiver_is_found_by_its_dataset() -> None:
    found = processes.receiving(PS.splitlines())
    assert found.into("backup/t") == found.receivers[0]
    assert found.into("backup/u") is None
    assert found.into("backup") is None
    assert found.into("space") == found.receivers[1]  # cannot be told from "with space"


def test_a_receiver_is_found_by_a_dataset_above() -> None:
    found = processes.receiving(["7 1 zfs receive -s backup/a/b"])
    assert found.below("backup/a") == found.receivers[0]
    assert found.below("backup/a/b") is None
    assert found.below("backup/a/") is None


INIT, OURS, OTHER = "1 9 init", "7 5 zfs receive -s backup/v", "8 5 zfs receive -s backup/w"
WRITER, GATED = "9 5 [receive_writer]", "7 5 zfs receive -"


@pytest.mark.parametrize(
    ("lines", "active"),
    [
        ([INIT, OURS, WRITER], True),
        ([INIT, OTHER, WRITER], False),
        ([INIT], False),
        ([INIT, WRITER], None),
        ([INIT, OTHER, WRITER, WRITER], None),
        ([INIT, GATED, "8 5 zfs receive -", WRITER, WRITER], False),
        ([], None),
        (["77 5 sshd", OTHER], None),  # hidepid=2 shows the processes of this user
        (["77 5 sshd", OURS], True),
        (["1", "7"], None),  # ps of FreeBSD has printed one column
        (["  PID USER     TIME  COMMAND", "    1 root      0:01 init"], None),
    ],
)
def test_whether_somebody_receives(lines: list[str], active: bool | None) -> None:
    assert processes.receiving(lines).is_active("backup/v") is active


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        ("  77  3 zfs receive -s -u backup/v", True),
        ("77 3 /sbin/zfs receive -s -u backup/v ", True),
        ("77 3 sudo -n zfs receive -s -u backup/v", True),
        ("77 3 /usr/bin/doas -n zfs receive -s -u backup/v", True),
        ("77 3 zfs receive -s -u backup/v/w", False),
        ("77 3 zfs send backup/v", False),
        ("77 3 sh -c zfs receive -s -u backup/v", False),
        ("177 3 zfs receive -s -u backup/v", False),
        ("7 7 zfs receive -s -u backup/v", False),
    ],
)
def test_a_process_that_still_receives(line: str, ours: bool) -> None:
    age = processes.age_of_receiver(["1 1 init", line], 77, "backup/v")
    assert age == (int(line.split()[1]) if ours else None)


def test_sends_are_found_with_their_arguments() -> None:
    assert processes.sending([*PS.splitlines(), "9 1 sh -c zfs send x"]) == ["zfs send -L -c tank/t@one"]
