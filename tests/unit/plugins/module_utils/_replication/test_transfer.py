# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pipes of real programs: how they end is what matters here, so any programs will do."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.endpoint import Endpoint
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import (
    BadInput,
    Busy,
    CerssError,
    NoSpace,
    NotFound,
    TimedOut,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Value
from ansible_collections.cerss.zfs.plugins.module_utils._host import process
from ansible_collections.cerss.zfs.plugins.module_utils._host import wanted as wanting
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.wanted import Stopped, Wanted
from ansible_collections.cerss.zfs.plugins.module_utils._replication import transfer
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import PairOptions, Send
from ansible_collections.cerss.zfs.plugins.module_utils._replication.planner import plan_pair
from ansible_collections.cerss.zfs.plugins.module_utils._replication.transfer import (
    Asked,
    ForeignStream,
    Meter,
    Stalled,
    Transport,
    run_pipe,
)
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import stream
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.stream import Expected
from ansible_collections.cerss.zfs.tests.unit.pairs import pair, token, with_token
from ansible_collections.cerss.zfs.tests.unit.streams import END, PACKAGE_HEAD, RESUMED, VOLUME, record


def run(
    send: str, receive: str, wanted: Wanted | None = None, asked: Asked | None = None, total: int | None = 10,
    **transport: object,
) -> Meter:  # fmt: skip
    meter, here = Meter(total=total), Backend()
    run_pipe(
        here, here, ["sh", "-c", send], ["sh", "-c", receive], Transport(**transport), meter,  # type: ignore[arg-type]
        wanted or Wanted(), lambda: None, asked,
    )  # fmt: skip
    return meter


def test_bytes_arrive_and_progress_is_counted(tmp_path: Path) -> None:
    place = tmp_path / "out"
    lines = r"00:00:01\t5\ttank/v@a\n00:00:02\t7\ttank/v@a\n00:00:03\t4\ttank/v@b\n"
    meter = run(rf"printf 'full\ttank/v@a\t9\n{lines}' >&2; printf hello", f"cat > {place}")
    assert place.read_text() == "hello"
    assert (meter.done, meter.snapshot) == (11, "tank/v@b")


@pytest.mark.parametrize("fails", [False, True])
def test_a_stream_that_runs_is_told_its_new_rate(monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    spawn, meter, told = process.spawn, Meter(total=10), []

    def spawn_(argv: list[str], **options: Any) -> Any:
        return spawn(["cat"] if argv[0] == "pv" else argv, **options)

    def told_(argv: list[str], **_options: Any) -> None:
        told.append(argv)
        if fails:
            raise TimedOut("pv did not end")

    monkeypatch.setattr(process, "spawn", spawn_)
    monkeypatch.setattr(process, "run", told_)
    transfer.raise_limit(meter, 7)  # there is no such program yet
    run_pipe(
        Backend(), Backend(), ["sh", "-c", "sleep 0.5"], ["sh", "-c", "cat > /dev/null"], Transport(bandwidth_limit=5),
        meter, Wanted(), lambda: transfer.raise_limit(meter, 9) if not told else None, None,
    )  # fmt: skip
    assert told == [["pv", "-q", "-R", str(meter.programs[1]), "-L", "9"]]


@pytest.mark.parametrize("told", ["", r"printf '00:00:01\t1000\ttank/v@a\n' >&2; "])
@pytest.mark.parametrize("fast", [True, False])
def test_the_bytes_sent_are_those_that_went_through_the_pipe(told: str, fast: bool) -> None:
    """Not those that zfs send has estimated, and to the last one."""
    sizes = r"printf 'full\ttank/v@a\t9\nsize\t999999\n' >&2; "
    send = f"{sizes}{told}{'' if fast else 'sleep 0.4; '}exec head -c 123456 /dev/zero"
    assert run(send, "cat > /dev/null", total=None).sent == 123456
    meter = run(send, "cat > /dev/null", total=None, compression="lz4") if shutil.which("lz4") else None
    assert meter is None or meter.sent == 123456


def test_without_a_look_at_the_sender_the_bytes_sent_are_what_it_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "written", lambda _program: 0)
    lines = r"printf 'size\t999\n00:00:01\t5\ttank/v@a\n00:00:02\t7\ttank/v@a\n' >&2; printf hello"
    assert run(lines, "cat > /dev/null", total=None).sent == 7


@pytest.mark.parametrize(("known", "size"), [(None, 77), (10, 10)])
def test_the_size_is_what_zfs_send_says_unless_it_is_known(known: int | None, size: int) -> None:
    meter = run(r"printf 'incremental\tx\ttank/v@a\t77\nsize\t77\n' >&2; printf hello", "cat > /dev/null", total=known)
    assert meter.total == size


@pytest.mark.parametrize("line", [r"size\t\302\262", r"00:00:01\t\302\262\ttank/v@a", r"full\ttank/v@a\t\302\262"])
def test_lines_that_only_look_like_numbers(line: str) -> None:
    """What comes over ssh may be anything; str.isdigit() is true for a superscript."""
    with pytest.raises(CerssError):
        run(rf"printf '{line}\n' >&2; exit 1", "cat > /dev/null", total=None)


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
def test_the_side_that_failed_first_gives_the_reason(send: str, receive: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        run(send, receive)


def test_a_program_that_is_not_there_is_named() -> None:
    here = Backend()
    with pytest.raises(BadInput, match="no-such-program"):
        run_pipe(here, here, ["no-such-program"], ["cat"], Transport(), Meter(total=1), Wanted(), lambda: None)


@pytest.mark.parametrize(
    ("transport", "timeout", "kind"), [({"stall_timeout": 500}, None, Stalled), ({}, 500, TimedOut)]
)
def test_time_limits_end_the_sender_and_let_the_receiver_finish(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    transport: dict[str, Any],
    timeout: float | None,
    kind: type[Exception],
) -> None:
    place, real = tmp_path / "out", time.monotonic
    place.touch()

    class Clock:
        """It jumps as soon as the first bytes have arrived."""

        time, sleep = time.time, time.sleep

        @staticmethod
        def monotonic() -> float:
            return real() + (1000 if place.read_bytes() else 0)

    for module in (transfer, wanting):
        monkeypatch.setattr(module, "time", Clock)
    with pytest.raises(kind):
        run("printf part; exec sleep 60", f"cat > {place}; echo end >> {place}", Wanted(timeout=timeout), **transport)
    assert place.read_text() == "partend\n"


def test_a_stop_ends_at_once() -> None:
    wanted = Wanted()
    threading.Timer(0.3, wanted.stop.set).start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        run("exec sleep 60", "cat >/dev/null", wanted)
    assert time.monotonic() - began < 30


def test_a_stop_ends_a_stream_between_programs_that_only_root_may_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under a sudo that runs nothing but zfs: the sender gets a broken pipe, the receiver sees the end."""
    sudo, out = tmp_path / "sudo", tmp_path / "out"
    sudo.write_text(
        f"#!/bin/sh\n[ $2 = zfs ] || exit 1\n[ $3 = send ] && exec yes\ncat > /dev/null\necho end > {out}\n"
    )
    sudo.chmod(0o755)
    monkeypatch.setattr(process, "SEARCH_PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    kill, ours = os.killpg, transfer.process.spawn
    roots: list[int] = []

    def spawn(argv: list[str], **more: Any) -> Any:
        program = ours(argv, **more)
        roots.extend([program.pid] if argv[0] == "sudo" else [])
        return program

    def killpg(pid: int, number: int) -> None:
        if pid in roots:
            raise PermissionError
        kill(pid, number)

    monkeypatch.setattr(process, "spawn", spawn)
    monkeypatch.setattr(os, "killpg", killpg)
    monkeypatch.setattr(transfer, "HASTE", 0.2)
    monkeypatch.setattr(process, "PATIENCE", 0.2)
    wanted, here = Wanted(), Backend(Endpoint(become=True))
    threading.Timer(0.3, wanted.stop.set).start()
    began = time.monotonic()
    try:
        with pytest.raises(Stopped):
            run_pipe(here, here, ["zfs", "send"], ["zfs", "receive"], Transport(), Meter(total=1), wanted, lambda: None)
        assert time.monotonic() - began < 30
        assert out.read_text() == "end\n"
    finally:
        for pid in roots:
            with contextlib.suppress(ProcessLookupError):
                kill(pid, signal.SIGKILL)


ONE = Asked("a:tank/v", "tank/v@s2", Expected((("9", "8"),), raw=False, volume=False, resumed=False))
TWO = Asked("a:tank/v", "tank/v@s2", Expected((("9", "8"), ("11", "9")), raw=False, volume=False, resumed=False))
FIRST, SECOND = record(origin=8), record(origin=9, guid=11)
WHOLE = PACKAGE_HEAD + END + FIRST + SECOND + END
RECORD = f"head -c {stream.RECORD}"


class Place:
    """What a sender sends, and what receivers got."""

    def __init__(self, folder: Path) -> None:
        self.sent, self.got = folder / "sent", folder / "got"
        self.got.touch()

    def run(self, sent: bytes, asked: Asked, send: str = "cat {}", receive: str = "cat", **more: Any) -> bytes:
        self.sent.write_bytes(sent)
        receive = f"echo >> {self.got}; {receive} >> {self.got}"
        self.meter = run(send.format(self.sent), receive, asked=asked, **more)
        return self.got.read_bytes()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_what_was_asked_for_is_received_byte_by_byte(place: Place) -> None:
    big = FIRST + b"data" * 50_000
    assert place.run(big, ONE) == b"\n" + big


@pytest.mark.parametrize("look", range(1, 9))
def test_a_sender_that_ends_between_two_looks_is_counted(
    place: Place, monkeypatch: pytest.MonkeyPatch, look: int
) -> None:
    """Also as long as no receiver runs yet."""
    looks, ended = iter(range(look)), process.has_ended

    def has_ended(program: Any) -> bool:
        while not ended(program):
            time.sleep(0.01)
        return next(looks, None) is None

    monkeypatch.setattr(process, "has_ended", has_ended)
    monkeypatch.setattr(transfer, "TICK", 0.01)
    assert place.run(FIRST, ONE) == b"\n" + FIRST
    assert place.meter.sent == len(FIRST)


def test_a_sender_that_is_ended_since_nobody_receives_is_counted() -> None:
    meter, here = Meter(), Backend()
    with pytest.raises(NoSpace):
        run_pipe(
            here, here, ["sh", "-c", "head -c 50000 /dev/zero; exec sleep 60"],
            ["sh", "-c", "head -c 50000 >/dev/null; echo 'cannot receive: out of space' >&2; exit 1"], Transport(),
            meter, Wanted(), lambda: None,
        )  # fmt: skip
    assert meter.sent == 50000


def test_the_parts_of_a_package_are_received_one_by_one(place: Place) -> None:
    assert place.run(WHOLE, TWO, receive=RECORD) == b"\n" + FIRST + b"\n" + SECOND


def test_a_head_that_comes_slowly_is_waited_for(place: Place) -> None:
    slowly = "(head -c 100; sleep 0.3; cat) < {}"
    assert place.run(WHOLE, TWO, send=slowly, receive=RECORD) == b"\n" + FIRST + b"\n" + SECOND


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_a_compressed_stream_is_looked_at_unpacked(place: Place, compression: str) -> None:
    if shutil.which(compression) is None:
        pytest.skip(f"{compression} is not installed")
    with pytest.raises(ForeignStream, match="with the GUID"):
        place.run(record(guid=7), ONE, compression=compression)
    assert place.run(FIRST, ONE, compression=compression) == b"\n" + FIRST


@pytest.mark.parametrize(
    ("sent", "asked", "why", "received"),
    [
        pytest.param(record(version=2, payload=8), ONE, "properties, holds", 0, id="replication"),
        pytest.param(record(version=2, payload=8), TWO, "properties, holds", 0, id="replication-for-package"),
        pytest.param(record(guid=7, origin=8), ONE, "GUID 7, not 9", 0, id="other-snapshot"),
        pytest.param(record(), ONE, "base is none, not 8", 0, id="full"),
        pytest.param(record(origin=8, flags=1), ONE, "origin is not named", 0, id="clone"),
        pytest.param(record(origin=8, type=VOLUME), ONE, "of a volume", 0, id="volume"),
        pytest.param(record(origin=8, version=RESUMED), ONE, "is resumed", 0, id="resumed"),
        pytest.param(FIRST, TWO, "not a package", 0, id="no-package"),
        pytest.param(PACKAGE_HEAD + FIRST, TWO, "no end", 0, id="no-end-of-head"),
        pytest.param(PACKAGE_HEAD + END + END, TWO, "after 0 of 2", 0, id="empty"),
        pytest.param(PACKAGE_HEAD + END + FIRST + END, TWO, "after 1 of 2", 1, id="one-missing"),
        pytest.param(PACKAGE_HEAD + END + FIRST, TWO, "is not a send stream", 1, id="cut"),
        pytest.param(PACKAGE_HEAD + END + SECOND + FIRST, TWO, "GUID 11, not 9", 0, id="other-order"),
        pytest.param(WHOLE[: -len(END)] + SECOND, TWO, "more than 2", 2, id="one-more"),
        pytest.param(PACKAGE_HEAD + END + FIRST + PACKAGE_HEAD + END, TWO, "within a package", 1, id="package-inside"),
        pytest.param(b"", ONE, "is not a send stream", 0, id="nothing"),
        pytest.param(b"stty: standard input", ONE, "is not a send stream", 0, id="noise"),
        pytest.param(b"x" * 1000, ONE, "is not a send stream", 0, id="much-noise"),
    ],
)
def test_nothing_else_is_received(place: Place, sent: bytes, asked: Asked, why: str, received: int) -> None:
    with pytest.raises(ForeignStream, match=why) as error:
        place.run(sent, asked, receive=RECORD)
    assert place.got.read_bytes().count(b"\n") == received
    assert error.value.msg.startswith("a:tank/v was asked for tank/v@s2, but ")
    assert ("nothing was received" in error.value.msg) == (received == 0)
    assert error.value.received == received
    assert not error.value.transient


@pytest.mark.parametrize("sent", [b"", FIRST[:100], PACKAGE_HEAD, PACKAGE_HEAD + END])
def test_a_sender_that_fails_gives_the_reason(place: Place, sent: bytes) -> None:
    with pytest.raises(NotFound):
        place.run(sent, TWO, send="cat {}; echo \"cannot open 'x@a': dataset does not exist\" >&2; exit 1")
    assert place.got.read_bytes() == b""


def test_a_resumed_sender_that_only_broke_leaves_the_reason_to_the_receiver() -> None:
    told = r"printf 'resume token contents:\nnvlist version: 0\n\ttoname = tank/v@a\n' >&2; exec cat /dev/zero"
    with pytest.raises(Busy):
        run(told, "echo 'cannot receive resume stream: dataset is busy' >&2; exit 1")


def test_a_receiver_of_a_part_that_fails_ends_the_sender(place: Place) -> None:
    began = time.monotonic()
    with pytest.raises(NoSpace):
        place.run(WHOLE, TWO, send="cat {}; exec sleep 60", receive="echo 'cannot receive: out of space' >&2; exit 1;")
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("sent", [b"", FIRST[:100], PACKAGE_HEAD + END])
def test_waiting_for_a_head_ends_at_a_stop(place: Place, sent: bytes) -> None:
    wanted = Wanted()
    threading.Timer(0.3, wanted.stop.set).start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        place.run(sent, TWO, send="cat {}; exec sleep 60", wanted=wanted)
    assert time.monotonic() - began < 30
    assert place.got.read_bytes() == b""


@pytest.mark.parametrize(("stall_timeout", "timeout", "kind"), [(0.3, None, Stalled), (None, 0.3, TimedOut)])
def test_waiting_for_a_head_ends_in_time(
    place: Place, stall_timeout: float | None, timeout: float | None, kind: type[Exception]
) -> None:
    wanted = Wanted(timeout=timeout)
    with pytest.raises(kind):
        place.run(FIRST[:100], ONE, send="cat {}; exec sleep 60", wanted=wanted, stall_timeout=stall_timeout)
    assert place.got.read_bytes() == b""


def stages(source: str | None, target: str | None, compression: str = "none") -> list[str]:
    """The programs of a pipe between these hosts; "|" is where the stream is looked at."""
    here, there = Backend(Endpoint(source)), Backend(Endpoint(target))
    transport = Transport(compression, bandwidth_limit=9)
    looked = not (source is None and target is not None)
    before, after = transfer._stages(there, ["zfs", "receive"], transport, True, looked)
    sending = here.endpoint.pipeline([["zfs", "send"], *transfer._pack(transport, 0)])
    names = [["ssh"] if argv[0] == "ssh" else argv[:1] for argv in [*sending, *before, ["|"], *after]]
    return [name for (name,) in names]


def test_where_a_stream_is_looked_at() -> None:
    assert stages("a", None) == ["ssh", "pv", "|", "zfs"]
    assert stages("a", None, "zstd") == ["ssh", "pv", "zstd", "|", "zfs"]
    assert stages("a", "b", "lz4") == ["ssh", "pv", "lz4", "|", "lz4", "ssh"]
    assert stages(None, None, "zstd") == ["zfs", "zstd", "pv", "zstd", "|", "zfs"]
    assert stages(None, "b", "zstd") == ["zfs", "zstd", "pv", "|", "ssh"]


def test_what_is_asked_for_is_what_is_planned() -> None:
    case = pair([1, 2, 3], None)
    full, rest = (Asked.of(case, send, None) for send in plan_pair(case, PairOptions()).sends)
    assert full.expected == Expected((("1", None),), raw=False, volume=False, resumed=False)
    assert full.what == "tank/v@s1 in full"
    assert rest.expected.parts == (("2", "1"), ("3", "2"))
    assert rest.what == "the increment from tank/v@s1 to tank/v@s3"
    case = with_token(pair([1, 2, 3], [1]), token(2, 1))
    resumed = Asked.of(case, plan_pair(case, PairOptions()).sends[0], case.replica)
    assert (resumed.expected.parts, resumed.expected.resumed) == ((("2", "1"),), True)
    assert resumed.what == "the rest of tank/v@s2"
    # zfs send does not say that it resumes where nothing has arrived yet.
    case = with_token(pair([1, 2, 3], [1]), replace(token(2, 1), bytes=0))
    assert Asked.of(case, plan_pair(case, PairOptions()).sends[0], case.replica).expected.resumed is None


def test_raw_is_what_zfs_makes_of_it() -> None:
    """zfs send -w of a dataset that is not encrypted sends a plain stream."""
    case = pair([1], None)
    send = Send("full", tuple(case.source.snapshots), raw=True)
    assert Asked.of(case, send, None).expected.raw is False
    case.source.values["encryption"] = Value("aes-256-gcm")
    assert Asked.of(case, send, None).expected.raw is True


def test_the_type_is_that_of_the_dataset_that_receives() -> None:
    """The source may be another host, which says what it likes."""
    case = pair([1, 2], [1])
    send = Send("incremental", (case.source.snapshots[1],), "tank/v@s1", "1")
    case.source.values["type"] = Value("volume")
    assert Asked.of(case, send, case.replica).expected.volume is False
    assert Asked.of(case, send, None).expected.volume is True
    case.source.values.clear()
    assert Asked.of(case, send, None).expected.volume is None


def test_a_clone_is_of_the_type_of_its_origin(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    case = pair([1, 2], None)
    send = Send("incremental", (case.source.snapshots[1],), "tank/o@s1", "1", origin="backup/o@s1")
    asked = Asked.of(case, send, None)
    assert (asked.origin, asked.expected.clone) == ("backup/o", True)
    types = iter(["volume", "filesystem"])
    monkeypatch.setattr(Backend, "read", lambda *_: ([f"backup/o\ttype\t-\t{next(types)}"], []))
    clone = record(flags=1, guid=2, origin=1)
    with pytest.raises(ForeignStream, match="other than its origin backup/o"):
        place.run(clone, asked)
    assert place.run(clone, asked) == b"\n" + clone


def test_run_keeps_both_outputs_and_stops_in_time() -> None:
    result = process.run(["sh", "-c", "cat; echo err >&2; exit 3"], stdin="in")
    assert (result.rc, result.stdout, result.stderr) == (3, "in", "err\n")
    assert process.run(["no-such-program"]).rc == 127
    with pytest.raises(TimedOut):
        process.run(["sleep", "60"], timeout=0.2)


def test_what_a_program_started_ends_with_it() -> None:
    began = time.monotonic()
    with pytest.raises(TimedOut):
        process.run(["sh", "-c", "sleep 60; true"], timeout=0.2)  # the sleep holds the pipes
    assert time.monotonic() - began < 30


def test_lines_come_one_by_one() -> None:
    lines = process.Lines(["sh", "-c", "echo a; echo b; echo why >&2; exit 2"])
    assert list(lines) == ["a", "b"]
    assert lines.result is not None
    assert (lines.result.rc, lines.result.stderr) == (2, "why\n")
    missing = process.Lines(["no-such-program"])
    assert list(missing) == []
    assert missing.result is not None
    assert missing.result.rc == 127
