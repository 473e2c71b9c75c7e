# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands around a snapshot: real processes and real signals, no ZFS."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError
from ansible_collections.cerss.zfs.plugins.module_utils._host import runfiles
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.hooks import Command, Stopped, around


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(runfiles, "SYSTEM_FOLDER", tmp_path / "run")
    monkeypatch.setattr(runfiles, "TEMP_FOLDER", tmp_path)
    (tmp_path / "log").touch()
    return tmp_path / "log"


def shell(log: Path, *texts: str) -> list[Command]:
    return [
        Command(f"command {number}", ["sh", "-c", f"echo {number} >> {log}; {text}"], 5, {"WORD": "word"})
        for number, text in enumerate(texts, 1)
    ]


def written(log: Path) -> list[str]:
    return log.read_text().split()


def creating() -> list[str]:
    return [name for operation in runfiles.running() for name in operation["snapshots"]]


def go(before: Sequence[Command], after: Sequence[Command], log: Path, number: int | None = None) -> None:
    with around(before, after, ["tank/v@s"]):
        assert creating() == ["tank/v@s"]
        with log.open("a") as stream:
            stream.write("body\n")
        if number:
            os.kill(os.getpid(), number)


def test_in_order_and_told_meanwhile(log: Path) -> None:
    go(shell(log, "test $WORD = word"), shell(log, "true", "true"), log)
    assert written(log) == ["1", "body", "1", "2"]
    assert creating() == []


def test_nothing_around_is_not_told(log: Path) -> None:
    with around([], [], ["tank/v@s"]):
        assert creating() == []


def test_a_failing_before_skips_the_body_and_not_the_after(log: Path) -> None:
    with pytest.raises(CerssError, match=r"^command 2 failed with exit status 3$"):
        go(shell(log, "true", "exit 3", "true"), shell(log, "true"), log)
    assert written(log) == ["1", "2", "1"]


def test_all_of_after_run_though_one_fails(log: Path) -> None:
    with pytest.raises(CerssError, match=r"were created, but command 1 failed with exit status 4, so what"):
        go([], shell(log, "exit 4", "true"), log)
    assert written(log) == ["body", "1", "2"]


def test_a_failing_body_is_told_first(log: Path) -> None:
    def fail() -> None:
        with around([], shell(log, "exit 4"), ["tank/v@s"]):
            raise CerssError("no room")

    with pytest.raises(CerssError) as caught:
        fail()
    assert caught.value.msg.startswith("no room; command 1 failed with exit status 4")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_in_the_body_runs_what_comes_after(log: Path, number: int) -> None:
    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    with pytest.raises(Stopped, match="stopped by SIG"):
        go([], shell(log, "true", "true"), log, number)
    assert written(log) == ["body", "1", "2"]
    assert creating() == []
    assert handlers == [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]


def test_a_signal_in_before_ends_that_command_and_one_in_after_does_not(log: Path) -> None:
    parent = os.getpid()
    before = shell(log, f"kill -TERM {parent}; sleep 60; echo late >> {log}")
    after = shell(log, f"kill -TERM {parent}; sleep 0.3; echo thawed >> {log}")
    with pytest.raises(Stopped):
        go(before, after, log)
    assert written(log) == ["1", "1", "thawed"]
