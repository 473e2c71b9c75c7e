# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""With real processes."""

from __future__ import annotations

import functools
import operator
import os
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import TimedOut
from ansible_collections.cerss.zfs.plugins.module_utils._host import process
from ansible_collections.cerss.zfs.plugins.module_utils._host.waiting import wait_for


def started(script):
    program = process.spawn(["sh", "-c", script], stdout=subprocess.PIPE)
    assert program.stdout.readline() == b"ready\n"
    program.stdout.close()
    return program


def members(group):
    """How many programs of a process group have not ended; init may take its time until it waits for them."""
    found = 0
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _parent, its_group = file.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        found += int(its_group) == group and state not in "ZX"
    return found


def wait_until_gone(group):
    assert not wait_for(lambda: members(group), operator.not_, 0.01, 60)


def test_a_program_that_ignores_sigterm_is_killed_with_its_children():
    program = started("trap '' TERM; sleep 600 & echo ready; wait; wait")
    process.end(program, patience=0.1)
    assert program.returncode == -signal.SIGKILL
    wait_until_gone(program.pid)


def test_a_program_under_sudo_is_ended_by_sudo(monkeypatch):
    program = started("echo ready; exec sleep 600")
    asked = []

    def refused(_group, _number):
        raise PermissionError

    killpg = os.killpg
    with monkeypatch.context() as patch:
        patch.setattr(os, "killpg", refused)
        patch.setattr(process, "run", lambda argv, **_: asked.append(argv) or killpg(program.pid, signal.SIGTERM))
        process.end(program)
    assert asked == [["sudo", "-n", "kill", f"-{signal.SIGTERM}", "--", f"-{program.pid}"]]
    assert program.returncode == -signal.SIGTERM


def test_a_program_that_has_just_ended_is_no_error(monkeypatch):
    program = started("echo ready")
    program.wait()
    monkeypatch.setattr(program, "poll", lambda: None)  # as it was a moment ago
    process.end(program)


def test_a_group_is_ended_after_its_program():
    program = started("trap '' TERM; sleep 600 & echo ready")
    program.wait()
    assert members(program.pid) == 1
    process.end_group(program, patience=0.1)
    wait_until_gone(program.pid)


def test_nothing_waits_for_what_cannot_be_killed(monkeypatch):
    program = started("echo ready; exec sleep 600")
    with monkeypatch.context() as patch:
        patch.setattr(process, "_signal", lambda *_: None)
        process.end_group(program, patience=0.01)
    assert program.poll() is None
    process.end_group(program)
    assert program.returncode == -signal.SIGTERM


def test_a_stopped_program_takes_sigterm(tmp_path):
    program = started(f"trap 'echo ended > {tmp_path}/log; exit' TERM; echo ready; kill -STOP $$")
    process.end_group(program, patience=60)
    assert (tmp_path / "log").read_text() == "ended\n"


@pytest.fixture
def command(monkeypatch):
    monkeypatch.setattr(process, "end_group", functools.partial(process.end_group, patience=0.1))

    def run(script, timeout=60.0, **more):
        with tempfile.TemporaryFile() as stderr:
            return process.run_command(["sh", "-c", script], timeout, {"WORD": "word"}, stderr, **more)

    return run


def test_the_end_of_the_stderr_of_a_command_is_kept(command):
    script = "test $WORD = word && yes | head -c 1000000 | tee /dev/stderr; echo end >&2; exit 3"
    rc, stderr = command(script)
    assert (rc, len(stderr), stderr[-6:]) == (3, 64 * 1024, "y\nend\n")


def test_at_a_timeout_a_command_is_ended_with_its_group(command, monkeypatch):
    spawn, groups = process.spawn, []

    def spawned(*args, **options):
        program = spawn(*args, **options)
        groups.append(program.pid)
        return program

    monkeypatch.setattr(process, "spawn", spawned)
    with pytest.raises(TimedOut, match=r"^it did not end within 0.2 s and was stopped$"):
        command("trap '' TERM; sleep 600 & sleep 600", timeout=0.2)
    wait_until_gone(*groups)


def test_a_check_that_raises_ends_a_command_with_its_group(command, tmp_path):
    pid = tmp_path / "pid"

    def check():
        if pid.exists() and pid.read_text().endswith("\n"):
            raise KeyError

    with pytest.raises(KeyError):
        command(f"trap '' TERM; sleep 600 & trap - TERM; echo $$ > {pid}; wait", check=check)
    wait_until_gone(int(pid.read_text()))
