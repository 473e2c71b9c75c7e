# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pipes of real programs: how they end is what matters here, so any programs will do."""

from __future__ import annotations

import threading
import time

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, NoSpace, NotFound, TimedOut
from ansible_collections.cerss.zfs.plugins.module_utils._host import process
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._replication import transfer
from ansible_collections.cerss.zfs.plugins.module_utils._replication.transfer import (
    Meter,
    Stalled,
    Stopped,
    Transport,
    run_pipe,
)


def run(send: str, receive: str, stop: threading.Event | None = None, **transport: object) -> Meter:
    meter, here = Meter(total=10), Backend()
    run_pipe(
        here, here, ["sh", "-c", send], ["sh", "-c", receive], Transport(**transport), meter,  # type: ignore[arg-type]
        stop or threading.Event(), lambda: None,
    )  # fmt: skip
    return meter


def test_bytes_arrive_and_progress_is_counted(tmp_path):
    place = tmp_path / "out"
    lines = r"00:00:01\t5\ttank/v@a\n00:00:02\t7\ttank/v@a\n00:00:03\t4\ttank/v@b\n"
    meter = run(rf"printf 'full\ttank/v@a\t9\n{lines}' >&2; printf hello", f"cat > {place}")
    assert place.read_text() == "hello"
    assert (meter.done, meter.snapshot) == (11, "tank/v@b")


@pytest.mark.parametrize(
    ("send", "receive", "kind"),
    [
        ("echo \"cannot open 'tank/v@a': dataset does not exist\" >&2; exit 1", "cat >/dev/null", NotFound),
        ("yes", "echo 'cannot receive: out of space' >&2; exit 1", NoSpace),
        ("echo \"cannot open 'x@a': dataset does not exist\" >&2; exit 1",
         "cat >/dev/null; echo 'checksum mismatch or incomplete stream' >&2; exit 1", NotFound),
        ("exec yes", "head -c 10 >/dev/null; echo 'cannot receive: out of space' >&2; exit 1", NoSpace),
    ],
)  # fmt: skip
def test_the_side_that_failed_first_gives_the_reason(send, receive, kind):
    with pytest.raises(kind):
        run(send, receive)


def test_a_program_that_is_not_there_is_named():
    here = Backend()
    with pytest.raises(BadInput, match="no-such-program"):
        run_pipe(here, here, ["no-such-program"], ["cat"], Transport(), Meter(total=1), threading.Event(), lambda: None)


@pytest.mark.parametrize(
    ("transport", "kind"),
    [({"stall_timeout": 500}, Stalled), ({"deadline": time.monotonic() + 500}, TimedOut)],
)
def test_time_limits_end_the_sender_and_let_the_receiver_finish(tmp_path, monkeypatch, transport, kind):
    place, real = tmp_path / "out", time.monotonic
    place.touch()

    class Clock:
        """It jumps as soon as the first bytes have arrived."""

        time, sleep = time.time, time.sleep

        @staticmethod
        def monotonic() -> float:
            return real() + (1000 if place.read_bytes() else 0)

    monkeypatch.setattr(transfer, "time", Clock)
    with pytest.raises(kind):
        run("printf part; exec sleep 60", f"cat > {place}; echo end >> {place}", **transport)
    assert place.read_text() == "partend\n"


def test_a_stop_ends_at_once():
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        run("exec sleep 60", "cat >/dev/null", stop)
    assert time.monotonic() - began < 30


def test_run_keeps_both_outputs_and_stops_in_time():
    result = process.run(["sh", "-c", "cat; echo err >&2; exit 3"], stdin="in")
    assert (result.rc, result.stdout, result.stderr) == (3, "in", "err\n")
    assert process.run(["no-such-program"]).rc == 127
    with pytest.raises(TimedOut):
        process.run(["sleep", "60"], timeout=0.2)


def test_what_a_program_started_ends_with_it():
    began = time.monotonic()
    with pytest.raises(TimedOut):
        process.run(["sh", "-c", "sleep 60; true"], timeout=0.2)  # the sleep holds the pipes
    assert time.monotonic() - began < 30


def test_lines_come_one_by_one():
    lines = process.Lines(["sh", "-c", "echo a; echo b; echo why >&2; exit 2"])
    assert list(lines) == ["a", "b"]
    assert lines.result is not None
    assert (lines.result.rc, lines.result.stderr) == (2, "why\n")
    missing = process.Lines(["no-such-program"])
    assert list(missing) == []
    assert missing.result is not None
    assert missing.result.rc == 127
