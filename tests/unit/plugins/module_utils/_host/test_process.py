# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""With real processes."""

from __future__ import annotations

import errno
import functools
import operator
import os
import signal
import subprocess
import tempfile
import time
from collections import deque
from pathlib import Path

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError, TimedOut
from ansible_collections.cerss.zfs.plugins.module_utils._host import process
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
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
        spawn = process.spawn

        def sudo(argv, **more):
            asked.append(argv)
            killpg(program.pid, signal.SIGTERM)
            return spawn(["true"], **more)

        patch.setattr(process, "spawn", sudo)
        process.end(program)
    assert asked == [["sudo", "-n", "kill", f"-{signal.SIGTERM}", "--", f"-{program.pid}"]]
    assert program.returncode == -signal.SIGTERM


@pytest.mark.parametrize("sudo", ["exit 1", "exec sleep 60"])
def test_a_program_that_nobody_may_end_is_left_behind(monkeypatch, tmp_path, sudo):
    program, killpg, began = started("echo ready; exec sleep 600"), os.killpg, time.monotonic()

    def refused(_group, _number):
        raise PermissionError

    (tmp_path / "sudo").write_text(f"#!/bin/sh\n{sudo}\n")
    (tmp_path / "sudo").chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setattr(os, "killpg", refused)
        patch.setattr(process, "SEARCH_PATH", f"{tmp_path}:/usr/bin:/bin")
        patch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        patch.setattr(process, "PATIENCE", 0.2)
        process.end(program, patience=60)  # which is for programs that have got the signal
    assert time.monotonic() - began < 20
    assert program.poll() is None
    for each in (program, *process._left):
        killpg(each.pid, signal.SIGKILL)
        each.wait()
    process._left.clear()


def test_lines_that_do_not_stop_are_stopped(monkeypatch):
    looks = []

    def check():
        looks.append(True)
        if len(looks) > 2:
            raise CerssError("stopped")

    monkeypatch.setattr(process, "LOOK", 0.02)
    with pytest.raises(CerssError, match="stopped"):
        deque(process.Lines(["yes"], check), maxlen=1)
    monkeypatch.setattr(process, "MAX_LINE", 100_000)
    with pytest.raises(CerssError, match="printed a line of more than"):
        deque(process.Lines(["cat", "/dev/zero"]), maxlen=1)


@pytest.fixture
def groups(monkeypatch):
    """The process groups of the programs that are started."""
    spawn, found = process.spawn, []

    def spawned(*args, **options):
        program = spawn(*args, **options)
        found.append(program.pid)
        return program

    monkeypatch.setattr(process, "spawn", spawned)
    return found


@pytest.mark.parametrize("script", ["yes", "yes >&2", "cat /dev/zero", "yes & yes >&2"])
def test_what_does_not_stop_printing_is_stopped(monkeypatch, groups, script):
    monkeypatch.setattr(process, "MAX_OUTPUT", 1_000_000)
    monkeypatch.setattr(process, "PATIENCE", 0.1)
    with pytest.raises(CerssError, match=r"^sh .* printed more than 1000000 bytes and was stopped; check what answers"):
        process.run(["sh", "-c", script])
    wait_until_gone(groups[0])
    with pytest.raises(CerssError, match=r"^sh .* printed more than 1000000 bytes"):
        deque(Backend().lines(["sh", "-c", script.replace("cat /dev/zero", "yes")]), maxlen=1)
    wait_until_gone(groups[1])


def test_as_much_as_may_be_is_fed_and_printed():
    text = "é" * 500_000
    done = process.run(["sh", "-c", "tee /dev/stderr"], stdin=text)
    assert (done.rc, done.stdout == text, done.stderr == text) == (0, True, True)
    assert process.run(["true"], stdin=text).rc == 0  # which reads nothing of it


def test_children_that_keep_the_pipes_go_with_a_run_that_is_stopped(monkeypatch):
    monkeypatch.setattr(process, "PATIENCE", 0.1)
    with pytest.raises(TimedOut):
        process.run(["sh", "-c", "sleep 321 & exit 0"], timeout=0.3)
    found = subprocess.run(["ps", "-eo", "args="], capture_output=True, text=True, check=True).stdout
    assert "sleep 321" not in found.splitlines()


def test_a_machine_that_cannot_start_a_program_is_not_one_without_it(monkeypatch):
    def full(*_argv, **_options):
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(process, "spawn", full)
    with pytest.raises(CerssError, match="zfs list could not be started: Resource temporarily unavailable") as caught:
        process.run(["zfs", "list"])
    assert caught.value.transient


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


def test_at_a_timeout_a_command_is_ended_with_its_group(command, groups):
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
