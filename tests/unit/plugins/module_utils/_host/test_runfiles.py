# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""In a temporary folder."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._host import runfiles


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setattr(runfiles, "SYSTEM_FOLDER", tmp_path / "none" / "system")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "cerss.zfs"


def test_only_run_files_of_live_processes_count(folder):
    mine, ended = runfiles.RunFile(), runfiles.RunFile(folder / "ended.json")
    mine.write({"operation": "send"})
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    ended.write({"operation": "create", "pid": process.pid})
    runfiles.RunFile(folder / "odd.json").write({"operation": "create", "pid": "none"})
    (folder / "half.json").write_text("{")
    assert [run["operation"] for run in runfiles.running()] == ["send"]
    mine.remove()
    assert runfiles.running() == []


def test_a_process_of_another_user_is_alive_too(folder, monkeypatch):
    def refused(_pid, _number):
        raise PermissionError

    runfiles.RunFile().write({"operation": "send"})
    monkeypatch.setattr(os, "kill", refused)
    assert len(runfiles.running()) == 1


def test_only_one_process_has_a_lock():
    with runfiles.lock("backup/v") as alone, runfiles.lock("backup/v") as other, runfiles.lock("backup/w") as another:
        assert (alone, other, another) == (True, False, True)
    with runfiles.lock("backup/v") as again:
        assert again
    (*locks,) = (path for path in runfiles.folder().iterdir() if path.suffix == ".lock")
    assert [path.stat().st_mode & 0o777 for path in locks] == [0o644, 0o644]  # root's do not lock other users out


def test_without_a_writable_folder_the_error_names_the_folders(monkeypatch, folder):
    monkeypatch.setenv(runfiles.RUN_ID, "0123456789abcdef")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder / "not" / "there"))
    with pytest.raises(Refused, match=r"the files of a running transfer cannot be written: .*none of"):
        runfiles.Lease()
