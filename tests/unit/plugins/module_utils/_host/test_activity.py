# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on a backend, as far as processes and run files tell."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import Activity
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.processes import Receiver


@pytest.mark.parametrize(
    ("receivers", "writers", "active"),
    [
        ([], 0, False),
        ([], 1, None),
        ([Receiver(1, 5, "zfs receive tank/v")], 1, True),
        ([Receiver(1, 5, "zfs receive tank/w")], 1, False),
        ([Receiver(1, 5, "zfs receive tank/w")], 2, None),
    ],
)
def test_active_is_told_apart_from_left_over(receivers: list[Receiver], writers: int, active: Any) -> None:
    assert Activity(0.0, receivers, writers).receives("tank/v") is active


def test_sending_is_progress_of_a_full_snapshot() -> None:
    operation = {"operation": "send", "guid": "10", "bytes_done": 5, "bytes_total": 10, "bytes_per_second": 1}
    running = Activity(operations=[operation])
    progress = running.sending("10")
    assert progress
    assert progress.to_result()["percent"] == 50.0
    assert running.sending("11") is None
    assert running.sending(None) is None
