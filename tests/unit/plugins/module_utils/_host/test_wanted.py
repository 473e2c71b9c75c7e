# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import threading
import time

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError, TimedOut
from ansible_collections.cerss.zfs.plugins.module_utils._host import backend as backends
from ansible_collections.cerss.zfs.plugins.module_utils._host import process
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.wanted import GRACE, Stopped, Wanted

HANGS = ["sh", "-c", "exec sleep 60"]
STUBBORN = ["sh", "-c", "trap '' TERM; echo begun; while :; do sleep 1; done"]


def ended_in(seconds: float) -> Wanted:
    wanted = Wanted()
    threading.Timer(seconds, wanted.stop.set).start()
    return wanted


def test_a_run_is_wanted_until_something_ends_it() -> None:
    lost: list[str] = []
    wanted = Wanted(lambda: "".join(lost), timeout=1000)
    wanted.check("before x")
    lost.append("the task was cancelled")
    with pytest.raises(Stopped, match="since the task was cancelled, before x; the next run continues there"):
        wanted.check("before x")
    lost.clear()
    assert wanted.fault()  # for good


def test_timeout_is_not_tried_again() -> None:
    with pytest.raises(TimedOut, match="timeout was over before x; the next run continues there") as caught:
        Wanted(timeout=0).check("before x")
    assert not caught.value.transient


def test_grace() -> None:
    wanted = Wanted()
    wanted.stop.set()
    wanted.check("before x", GRACE)
    with pytest.raises(Stopped):
        wanted.check("before x")
    wanted._ended = time.monotonic() - GRACE
    with pytest.raises(Stopped):
        wanted.check("before x", GRACE)


def test_sleep_ends_early() -> None:
    began = time.monotonic()
    with pytest.raises(Stopped, match="during x"):
        ended_in(0.2).sleep(60, "during x")
    with pytest.raises(TimedOut):
        Wanted(timeout=0.2).sleep(60, "during x")
    Wanted().sleep(0.01, "during x")
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("argv", [HANGS, STUBBORN])
@pytest.mark.parametrize("lines", [True, False])
def test_a_command_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch, argv: list[str], lines: bool) -> None:
    """As zfs does on a suspended pool."""
    assert GRACE + 2 * process.PATIENCE + 0.4 + process.PATIENCE < 10  # the longest that it takes
    monkeypatch.setattr(backends, "GRACE", 0.1)
    monkeypatch.setattr(process, "PATIENCE", 0.2)
    backend, began = Backend(wanted=ended_in(0.2)), time.monotonic()
    with pytest.raises(Stopped, match="the run was stopped during sh"):
        list(backend.lines(argv)) if lines else backend.run(argv)
    assert time.monotonic() - began < 30


def test_a_command_that_ends_in_time_has_its_result() -> None:
    wanted = ended_in(0.1)
    assert Backend(wanted=wanted).run(["sh", "-c", "sleep 0.6; echo well"]).stdout == "well\n"
    assert wanted.fault()


def test_nothing_is_begun_after_the_end() -> None:
    wanted = Wanted()
    wanted.stop.set()
    wanted.fault()
    wanted._ended = time.monotonic() - GRACE
    with pytest.raises(Stopped, match="the run was stopped before true"):
        Backend(wanted=wanted).run(["true"])


def test_what_is_not_an_error_of_ours_goes_through() -> None:
    def broken() -> str:
        raise CerssError("x")

    with pytest.raises(CerssError, match="x"):
        Backend(wanted=Wanted(broken)).run(["true"])
