# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""With real processes."""

from __future__ import annotations

import os
import signal
import subprocess

from ansible_collections.cerss.zfs.plugins.module_utils._host import process


def started(script):
    program = process.spawn(["sh", "-c", script], stdout=subprocess.PIPE)
    assert program.stdout.readline() == b"ready\n"
    program.stdout.close()
    return program


def lives(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_program_that_ignores_sigterm_is_killed_with_its_children():
    program = started("trap '' TERM; sleep 600 & echo ready; wait; wait")
    process.end(program, patience=0.1)
    assert program.returncode == -signal.SIGKILL
    while lives(program.pid):  # until init has taken the child in
        pass


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
