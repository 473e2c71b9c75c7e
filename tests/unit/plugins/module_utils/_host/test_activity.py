# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Unreachable
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Progress
from ansible_collections.cerss.zfs.plugins.module_utils._host import activity, process, runfiles
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import (
    Activity,
    is_receiving,
    process_list,
    read_activity,
    read_receiving,
)
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend

SEND = {"operation": "send", "guid": "7", "bytes_done": 5, "bytes_total": 10, "started": 1.0, "snapshot": "tank/v@s"}


def test_operations_are_found_by_what_they_work_on() -> None:
    create = {"operation": "create", "snapshots": ["tank/v@a", "tank/w@a"]}
    found = Activity(operations=[create, {"operation": "create"}, SEND])
    assert found.creating() == {"tank/v@a", "tank/w@a"}
    assert found.sending("7") == Progress("send", 5, 10, None, 1.0, None, True)
    assert found.sending("8") is None
    assert found.sending(None) is None


def test_a_send_is_found_by_the_whole_name() -> None:
    found = Activity(senders=["zfs send -vP tank/v@s", "zfs send -vP -t 1-a-b-c"])
    assert found.sends("tank/v@s")
    assert not found.sends("v@s")


def shown_by(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    """Puts a program ps in the place of the real one."""
    program = folder / "ps"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(process, "SEARCH_PATH", f"{folder}:{process.SEARCH_PATH}")


def test_long_lines_of_ps_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """procps cuts them at COLUMNS, and busybox, which is no ps for us, at 80."""
    monkeypatch.setenv("COLUMNS", "40")
    with subprocess.Popen(["sleep", "60", *["0"] * 200]) as child:
        found = [line for line in process_list(Backend()) if line.split()[:1] == [str(child.pid)]]
        child.kill()
    assert len(found[0].split()) > 200


@pytest.mark.parametrize(
    ("script", "active"),
    [
        ("echo '1 9 init'", False),
        ("echo '1 9 init'; echo '7 5 zfs receive -s backup/v'", True),
        ("echo '77 9 sshd'", None),  # hidepid=2
        ('echo "ps: unrecognized option: A" >&2; exit 1', None),  # busybox
        ("exit 127", None),
    ],
)
def test_whether_somebody_receives_may_not_be_known(
    script: str, active: bool | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shown_by(monkeypatch, tmp_path, script)
    assert read_receiving(Backend()).is_active("backup/v") is active
    assert read_activity(Backend()).receiving.is_active("backup/v") is active


@pytest.mark.parametrize("growing", [True, False])
def test_where_processes_are_not_shown_the_token_tells(
    growing: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(activity, "GROWTH", 0.3)
    monkeypatch.setattr(activity, "_LOOK", 0.01)
    count = tmp_path / "count"
    told = f'echo >> {count}; printf "backup/v\\treceive_resume_token\\t-\\t%s\\n" $(wc -l < {count})'
    program = tmp_path / "zfs"
    program.write_text(f"#!/bin/sh\n{told if growing else 'echo backup/v'}\n")
    program.chmod(0o755)
    shown_by(monkeypatch, tmp_path, "exit 1")
    assert is_receiving(Backend(), read_receiving(Backend()), ["backup/v"]) is growing
    shown_by(monkeypatch, tmp_path, "echo 1 9 init")
    assert not is_receiving(Backend(), read_receiving(Backend()), ["backup/v"])


def test_a_host_that_cannot_be_reached_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shown_by(monkeypatch, tmp_path, "echo 'ssh: connect to host b port 22: Connection timed out' >&2; exit 255")
    with pytest.raises(Unreachable):
        read_receiving(Backend())


def test_the_run_files_of_this_host_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runfiles, "SYSTEM_FOLDER", tmp_path / "run")
    monkeypatch.setattr(runfiles, "TEMP_FOLDER", tmp_path)
    run_file = runfiles.RunFile()
    run_file.write(SEND)
    assert read_activity(Backend()).sending("7")
    run_file.remove()
    assert read_activity(Backend()).sending("7") is None
