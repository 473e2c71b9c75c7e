# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.utils.display import Display
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.action import zfs_snapshot_replicate as action
from ansible_collections.cerss.zfs.plugins.module_utils._host import runfiles
from ansible_collections.cerss.zfs.tests.unit.transcript import handed_over

GIB, MIB = 2**30, 2**20
RUN: dict[str, Any] = {
    "pid": os.getpid(),
    "operation": "send",
    "snapshot": "tank/vol@s3",
    "source": "tank/vol",
    "target": "backend-b:backup/vol",
    "bytes_done": int(1.2 * GIB),
    "bytes_total": int(2.8 * GIB),
    "bytes_per_second": 112 * MIB,
}
RUN_ID = "0123456789abcdef"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({}, "tank/vol@s3 -> backend-b:backup/vol  42 %  1.2 of 2.8 GiB  112 MiB/s  0:00:14 left"),
        ({"bytes_done": 0, "bytes_per_second": None}, "tank/vol@s3 -> backend-b:backup/vol  0 %  0.0 of 2.8 GiB"),
        ({"bytes_total": None}, "tank/vol@s3 -> backend-b:backup/vol  1.2 GiB  112 MiB/s"),
        (
            {"bytes_done": 3 * GIB},
            "tank/vol@s3 -> backend-b:backup/vol  100 %  3.0 of 2.8 GiB  112 MiB/s  0:00:00 left",
        ),
        (
            {"bytes_per_second": 100_000},
            "tank/vol@s3 -> backend-b:backup/vol  42 %  1.2 of 2.8 GiB  97.7 KiB/s  4:46:19 left",
        ),
        (
            {"source": "backend-c:tank/vol", "target": "tank/copy", "bytes_per_second": None},
            "backend-c:tank/vol@s3 -> tank/copy  42 %  1.2 of 2.8 GiB",
        ),
    ],
)
def test_progress_line(change: dict[str, Any], line: str) -> None:
    assert action.progress_line("backend-a", {**RUN, **change}) == f"backend-a: {line}"


def test_a_line_is_one_line_and_steers_no_terminal() -> None:
    assert action.progress_line("a", {**RUN, "target": "b\x1b[2J\n\r:x"}).startswith("a: tank/vol@s3 -> b[2J:x  ")


@pytest.mark.parametrize(
    ("count", "total", "text"),
    [
        (0, None, "0 B"),
        (1023, None, "1023 B"),
        (1536, None, "1.5 KiB"),
        (112 * MIB, None, "112 MiB"),
        (5, 2048, "0.0 of 2.0 KiB"),
        (2**70, None, "1024 EiB"),
    ],
)
def test_amount(count: int, total: int | None, text: str) -> None:
    assert action.amount(count, total) == text


def test_running_passes_over_what_is_no_run_file() -> None:
    other = {**RUN, "snapshot": "tank/a@s"}
    answer = "\n".join(
        ["Welcome to backend-a!", json.dumps(RUN), "", json.dumps(other), json.dumps(RUN)[:40], "[]", '{"pid": 1}']
    )
    assert action.running(answer) == [other, RUN]


@pytest.mark.parametrize(
    ("option", "value"),
    [(None, 60), (" ", 60), ("0", 0), (0, 0), (5, 5), ("90s", 90), ("2m", 120), ("often", 0), (-1, 0)],
)
def test_seconds(option: Any, value: float) -> None:
    assert action.seconds(option) == value


def test_the_interval_is_that_of_the_module() -> None:
    _verb, spec = handed_over("zfs_snapshot_replicate")
    assert spec["argument_spec"]["progress_interval"]["default"] == action.INTERVAL


@pytest.mark.parametrize(("seconds", "shown"), [(0, False), (59, False), (60, True), (3600, True)])
def test_a_short_transfer_shows_no_line(seconds: int, shown: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(Display, "display", lambda _self, line: lines.append(line))
    run = {**RUN, "started": 1000.0, "updated": 1000.0 + seconds}
    watch = action.Watch(lambda _script: json.dumps(run), RUN_ID, interval=60, label="a")
    watch.schedule = action.Schedule(60, now=time.monotonic() - 60)
    with watch._told, watch._tells:
        watch._look()
    assert (len(lines) == 1) == shown


def test_a_short_run_costs_no_command() -> None:
    """The host is asked when the lease is to be renewed, and when lines are due, which is later by default."""
    schedule = action.Schedule(action.seconds(None), now=0.0)
    assert not schedule.renewal_due(action.RENEWAL - 0.1)
    assert schedule.renewal_due(action.RENEWAL)
    assert not schedule.lines_due(action.RENEWAL)


@given(st.integers(0, 100), st.lists(st.floats(0.5, 30), min_size=1, max_size=200))
def test_schedule(interval: int, pauses: list[float]) -> None:
    """Lines come no more often than asked for, and the lease is renewed long before it is over."""
    schedule = action.Schedule(interval, now=0.0)
    now, renewals, shows = 0.0, [0.0], [0.0]
    for pause in pauses:
        now += pause
        if schedule.renewal_due(now):
            renewals.append(now)
            if schedule.lines_due(now):
                shows.append(now)
    assert all(later - earlier >= interval for earlier, later in zip(shows, shows[1:]))
    assert interval or len(shows) == 1
    longest = max(pauses)
    assert all(later - earlier < action.RENEWAL + longest for earlier, later in zip(renewals, [*renewals[1:], now]))
    if interval:
        assert now - shows[-1] < interval


@pytest.fixture(params=["run it", "none/such"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's folder with a space in its path, and none. The environment leads the module astray."""
    monkeypatch.setattr(runfiles, "SYSTEM_FOLDER", tmp_path / request.param)
    monkeypatch.setattr(runfiles, "TEMP_FOLDER", tmp_path)
    for name in ("TMPDIR", "TEMP", "TMP", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    monkeypatch.setenv(runfiles.RUN_ID, RUN_ID)
    return tmp_path


def sh(script: str) -> str:
    return subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True).stdout


def test_scripts_and_module_meet(place: Path) -> None:
    """The scripts find by sh what the module wrote by Python, and the lease does what it is for."""
    assert not sh(action.renew(RUN_ID))
    lease, run_file = runfiles.Lease(), runfiles.RunFile()
    assert lease.path is not None
    assert lease.path.is_relative_to(place)
    run_file.write(RUN)
    assert action.running(sh(action.renew("f" * 16))) == []
    os.utime(lease.path, (0, 0))
    assert action.running(sh(action.renew(RUN_ID))) == [RUN]
    assert lease.path.stat().st_mtime > 0
    assert not lease.lost()
    sh(action.give_up("f" * 16))
    assert not lease.lost()
    sh(action.give_up(RUN_ID))
    assert "cancelled" in lease.lost()
    assert not sh(action.renew(RUN_ID))
    assert [path.name for path in place.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("plant", [os.mkfifo, lambda path: path.symlink_to(path.parent / "file"), os.mkdir])
def test_the_scripts_use_no_lease_that_is_planted(place: Path, plant: Callable[[Path], None]) -> None:
    file = place / "file"
    file.write_text(f"{place}\n")
    os.utime(file, (0, 0))
    (place / f"{RUN_ID}-1.json").write_text(json.dumps(RUN))
    plant(runfiles.lease_path(RUN_ID))
    assert not sh(action.renew(RUN_ID))
    sh(action.give_up(RUN_ID))
    assert file.stat().st_mtime == 0
    assert (place / f"{RUN_ID}-1.json").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make files of other users")
def test_the_scripts_use_no_lease_of_another_user(place: Path) -> None:
    lease = runfiles.lease_path(RUN_ID)
    lease.write_text(f"{place}\n")
    os.chown(lease, 65534, -1)
    (place / f"{RUN_ID}-1.json").write_text(json.dumps(RUN))
    assert not sh(action.renew(RUN_ID))


def test_lease_runs_out(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    lease = runfiles.Lease()
    for _round in range(3):
        now += runfiles.LEASE_SECONDS - 1
        sh(action.renew(RUN_ID))
        assert not lease.lost()
    now += runfiles.LEASE_SECONDS + 1
    assert "has not renewed the lease for 60 s" in lease.lost()
    lease.remove()
    lease.remove()


def test_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    for given_id in ("", "../../etc/passwd"):
        monkeypatch.setenv(runfiles.RUN_ID, given_id)
        lease = runfiles.Lease()
        assert lease.path is None
        assert not lease.lost()
        lease.remove()


class Odd(Exception):
    """What nobody expects of a connection plugin."""


def test_the_watch_survives_whatever_a_poll_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that ends takes the lease with it, and 60 seconds later the transfer."""
    monkeypatch.setattr(action, "LOOK", 0.01)
    monkeypatch.setattr(action, "RENEWAL", 0.0)
    scripts: list[str] = []
    shown: list[str] = []
    told = json.dumps(RUN)
    answers: list[str | BaseException] = [Odd("1"), told, KeyError(), SystemExit(1), told, told, ""]
    odds: list[BaseException | None] = [Odd("2"), None, SystemExit(1)]

    def command(script: str) -> str:
        scripts.append(script)
        answer = answers.pop(0) if answers else ""
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def display(_self: Any, line: str) -> None:
        odd = odds.pop(0)
        if odd:
            raise odd
        shown.append(line)

    monkeypatch.setattr(Display, "display", display)
    watch = action.Watch(command, "0123", interval=0.001, label="backend-a")
    with watch.running():
        until = time.monotonic() + 10
        while len(scripts) < 9 and time.monotonic() < until:
            time.sleep(0.01)
    assert len(scripts) >= 9
    assert len(shown) == 1
    assert odds == []
    assert not watch._thread.is_alive()


@pytest.mark.parametrize(("cancelled", "given_up"), [(True, 1), (False, 0)])
def test_a_host_that_is_silent_to_the_end_does_not_hide_what_the_watch_was_told(
    cancelled: bool, given_up: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(action, "LOOK", 0.01)
    monkeypatch.setattr(action, "RENEWAL", 0.0)
    monkeypatch.setattr(action, "PATIENCE", 0.05)
    asked, answers = threading.Event(), threading.Event()
    scripts: list[str] = []

    def command(script: str) -> str:
        scripts.append(script)
        asked.set()
        answers.wait(10)
        return ""

    watch = action.Watch(command, "0123", interval=0, label="backend-a")
    with watch.running():
        assert asked.wait(10)
        if cancelled:
            watch.cancel()
    answers.set()
    watch._thread.join(10)
    assert not watch._thread.is_alive()
    assert scripts.count(action.give_up("0123")) == given_up
