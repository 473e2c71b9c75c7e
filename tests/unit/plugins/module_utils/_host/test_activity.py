# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Progress
from ansible_collections.cerss.zfs.plugins.module_utils._host import runfiles
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import Activity, read_activity
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.processes import Receiver

SEND = {"operation": "send", "guid": "7", "bytes_done": 5, "bytes_total": 10, "started": 1.0, "snapshot": "tank/v@s"}


def test_operations_are_found_by_what_they_work_on() -> None:
    create = {"operation": "create", "snapshots": ["tank/v@a", "tank/w@a"]}
    activity = Activity(operations=[create, {"operation": "create"}, SEND])
    assert activity.creating() == {"tank/v@a", "tank/w@a"}
    assert activity.sending("7") == Progress("send", 5, 10, None, 1.0, None, True)
    assert activity.sending("8") is None
    assert activity.sending(None) is None


def test_a_send_is_found_by_the_whole_name() -> None:
    activity = Activity(senders=["zfs send -vP tank/v@s", "zfs send -vP -t 1-a-b-c"])
    assert activity.sends("tank/v@s")
    assert not activity.sends("v@s")


@pytest.mark.parametrize(
    ("receivers", "writers", "receives"),
    [
        ([Receiver(1, 5, "zfs receive -s backup/v")], 1, True),
        ([Receiver(1, 5, "zfs receive -s backup/w")], 1, False),
        ([], 0, False),
        ([], 1, None),
        ([Receiver(1, 5, "zfs receive -s backup/w")], 2, None),
    ],
)
def test_receives(receivers: list[Receiver], writers: int, receives: bool | None) -> None:
    assert Activity(receivers=receivers, writers=writers).receives("backup/v") is receives


def test_the_run_files_of_this_host_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runfiles, "SYSTEM_FOLDER", tmp_path / "run")
    monkeypatch.setattr(runfiles, "TEMP_FOLDER", tmp_path)
    run_file = runfiles.RunFile()
    run_file.write(SEND)
    assert read_activity(Backend()).sending("7")
    run_file.remove()
    assert read_activity(Backend()).sending("7") is None
