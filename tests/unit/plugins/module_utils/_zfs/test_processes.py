# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._zfs import processes

PS = r"""    659      26 zfs send -L -c tank/t@one
    661      26 zfs receive -s -u -o readonly=on -o cerss.zfs:inbound=[{"guid":"1","snapshot":"one"}] backup/t
    662      26 /usr/sbin/zfs recv backup/with space
    663      26 sh -c zfs receive backup/u
    667      17 [receive_writer]
"""


def test_each_receive_is_found_once() -> None:
    found, writers = processes.receiving([*PS.splitlines(), "664 2 /usr/sbin/zfs recv backup/with space"])
    assert [(receiver.pid, receiver.seconds) for receiver in found] == [(661, 26), (664, 2)]
    assert writers == 1


def test_other_lines_are_no_receivers() -> None:
    """The list may come from a host that prints anything."""
    lines = [
        "x 1 zfs receive a/b",
        "7 \u00b2 zfs receive a/b",
        f"{'9' * 5000} 1 zfs receive a/b",
        "-7 1 zfs receive a/b",
        "0 1 zfs receive a/b",
    ]
    assert processes.receiving(lines) == ([], 0)


def test_a_receiver_is_found_by_its_dataset() -> None:
    found, _writers = processes.receiving(PS.splitlines())
    assert processes.receiver_of(found, "backup/t") == 26
    assert processes.receiver_of(found, "backup/u") is None
    assert processes.receiver_into(found, "backup") is None
    assert processes.receiver_of(found, "space") == 26  # cannot be told from "with space"


def test_a_receiver_is_found_by_a_dataset_above() -> None:
    found, _writers = processes.receiving(["7 1 zfs receive -s backup/a/b"])
    assert processes.receiver_below(found, "backup/a") == found[0]
    assert processes.receiver_below(found, "backup/a/b") is None
    assert processes.receiver_below(found, "backup/a/") is None


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        ("  77  3 zfs receive -s -u backup/v", True),
        ("77 3 /sbin/zfs receive -s -u backup/v ", True),
        ("77 3 sudo -n zfs receive -s -u backup/v", True),
        ("77 3 zfs receive -s -u backup/v/w", False),
        ("77 3 zfs send backup/v", False),
        ("77 3 sh -c zfs receive -s -u backup/v", False),
        ("177 3 zfs receive -s -u backup/v", False),
        ("7 7 zfs receive -s -u backup/v", False),
    ],
)
def test_a_process_that_still_receives(line: str, ours: bool) -> None:
    assert processes.is_receiver(["1 1 init", line], 77, "backup/v") == ours


def test_sends_are_found_with_their_arguments() -> None:
    assert processes.sending([*PS.splitlines(), "9 1 sh -c zfs send x"]) == ["zfs send -L -c tank/t@one"]
