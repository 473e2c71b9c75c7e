# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ending programs, on real processes."""

from __future__ import annotations

import os
import signal
import subprocess

from ansible_collections.cerss.zfs.plugins.module_utils import _process


def started(script):
    process = _process.spawn(["sh", "-c", script], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    process.stdout.close()
    return process


def lives(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_one_that_does_not_listen_is_killed_with_its_children():
    process = started("trap '' TERM; sleep 600 & echo ready; wait; wait")
    _process.end(process, patience=0.1)
    assert process.returncode == -signal.SIGKILL
    while lives(process.pid):  # until init has taken the child in
        pass


def test_one_that_runs_under_sudo_is_ended_by_sudo(monkeypatch):
    process = started("echo ready; exec sleep 600")
    asked = []

    def refused(_group, _number):
        raise PermissionError

    killpg = os.killpg
    with monkeypatch.context() as patch:
        patch.setattr(os, "killpg", refused)
        patch.setattr(_process, "run", lambda argv, **_: asked.append(argv) or killpg(process.pid, signal.SIGTERM))
        _process.end(process)
    assert asked == [["sudo", "-n", "kill", f"-{signal.SIGTERM}", "--", f"-{process.pid}"]]
    assert process.returncode == -signal.SIGTERM


def test_one_that_has_just_ended_is_no_error(monkeypatch):
    process = started("echo ready")
    process.wait()
    monkeypatch.setattr(process, "poll", lambda: None)  # as it was a moment ago
    _process.end(process)
