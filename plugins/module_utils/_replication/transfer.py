# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs one send stream through a pipe of processes. No byte passes through Python."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, CerssError, TimedOut
from ansible_collections.cerss.zfs.plugins.module_utils._host import process
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.waiting import wait_for
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import output
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.errors import zfs_error

TICK = 0.25  # seconds between looks at the processes
PATIENCE = 60.0  # seconds that a receiver gets to save what has arrived after the stream has ended
OWN_CONNECTION_FROM = 64 * 1024 * 1024  # bytes: for less, a login costs more than sharing a connection


class Stopped(CerssError):
    """The run was stopped; what has arrived can be resumed."""


class Stalled(TimedOut):
    """No byte moved for longer than stall_timeout."""


@dataclass(frozen=True)
class Transport:
    """How streams are sent. Times in seconds, ``bandwidth_limit`` in bytes per second; None means no limit."""

    compression: str = "none"
    bandwidth_limit: int | None = None
    stall_timeout: float | None = None
    deadline: float | None = None


@dataclass
class Meter:
    """The progress of one stream in bytes; updated by the thread that reads the sender's stderr."""

    total: int | None = None
    done: int = 0
    snapshot: str = ""
    started: float = field(default_factory=time.time)
    moved: float = field(default_factory=time.monotonic)
    _before: int = 0
    _at: int = 0

    def note(self, amount: int, snapshot: str) -> None:
        """Note that ``amount`` bytes of a snapshot were sent. zfs send counts from 0 for each snapshot of a stream."""
        if snapshot != self.snapshot:
            self._before, self._at, self.snapshot = self._before + self._at, 0, snapshot
        if self._before + amount > self.done:
            self.done, self.moved = self._before + amount, time.monotonic()
        self._at = amount

    @property
    def rate(self) -> int | None:
        """Bytes per second since the start."""
        seconds = time.time() - self.started
        return int(self.done / seconds) if seconds >= 1 and self.done else None


class _Stderr(threading.Thread):
    """Reads a program's stderr, so that the pipe never fills up; progress lines go to the meter."""

    def __init__(self, program: subprocess.Popen[bytes], meter: Meter | None) -> None:
        super().__init__(daemon=True)
        self.program, self.meter, self.kept = program, meter, bytearray()
        self.start()

    def run(self) -> None:
        stream: Any = self.program.stderr
        with stream:
            for raw in stream:
                self._note(raw)

    def _note(self, raw: bytes) -> None:
        line = raw.decode(errors="replace")
        progress = output.sent(line)
        if progress and self.meter:
            self.meter.note(*progress)
        elif not (self.meter and (output.announced(line) or line.startswith(("size\t", "TIME")))):
            self.kept += raw[: 65536 - len(self.kept)]

    def text(self) -> str:
        self.join(5)
        return self.kept.decode(errors="replace")


def run_pipe(
    source: Backend, target: Backend, send: list[str], receive: list[str], transport: Transport, meter: Meter,
    stop: threading.Event, tick: Callable[[], None],
) -> None:  # fmt: skip
    """Run a stream to its end. Raises the ZfsError of the side that failed first, `Stopped`, `Stalled` or `TimedOut`.

    ``send`` and ``receive`` are argv. ``tick`` is called every `TICK` seconds. Even if nothing is raised, the caller
    must check that the snapshot is on the replica.
    """
    own = meter.total is None or meter.total >= OWN_CONNECTION_FROM
    pack, unpack = zfs.COMPRESSION.get(transport.compression, ([], []))
    limit = [["pv", "-q", "-L", str(transport.bandwidth_limit)]] if transport.bandwidth_limit else []
    sending = source.endpoint.pipeline([send, *([pack] if pack else [])], own)
    receiving = target.endpoint.pipeline([*([unpack] if unpack else []), receive], own)
    stages = [*sending, *limit, *receiving]

    processes: list[subprocess.Popen[bytes]] = []
    stderrs: list[_Stderr] = []
    try:
        for index, argv in enumerate(stages):
            last = index == len(stages) - 1
            program = process.spawn(
                argv,
                stdin=processes[-1].stdout if processes else subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if last else subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            if processes and processes[-1].stdout:
                processes[-1].stdout.close()  # so that the previous program gets SIGPIPE when this one ends
            processes.append(program)
            stderrs.append(_Stderr(program, meter if index == 0 else None))
        watch = _Watch(processes, transport, meter, stop, tick)
        wait_for(watch.look, bool, TICK)
    except OSError as error:
        raise BadInput(
            f"{error.filename} cannot be started here: {error.strerror}; install it, or leave out the "
            "option that needs it"
        ) from error
    finally:
        # The sender first: the receiver then sees the end of the stream and saves what has arrived.
        for program in processes:
            process.end(program, PATIENCE if program is not processes[0] else 5.0) if program.poll() is None else None
    if watch.why:
        raise watch.why
    _judge(processes, stderrs, len(sending), [send, receive], [source, target])


class _Watch:
    """Watches the programs of a pipe. If the stream must stop, it ends the sender and waits for the receiver."""

    def __init__(
        self, programs: list[subprocess.Popen[bytes]], transport: Transport, meter: Meter, stop: threading.Event,
        tick: Callable[[], None],
    ) -> None:  # fmt: skip
        self.sender, self.receiver, self.programs = programs[0], programs[-1], programs
        self.transport, self.meter, self.stop, self.tick = transport, meter, stop, tick
        self.why: CerssError | None = None
        self._ended: float | None = None

    def look(self) -> bool:
        """True if there is nothing left to wait for."""
        if all(program.poll() is not None for program in self.programs):
            return True
        now = time.monotonic()
        if self.why is None:
            self.why = self._reason(now)
            if self.why:
                process.end(self.sender)
        # A sender without a receiver is ended; once the sender has ended, the others must end soon.
        if self.receiver.poll() is not None and self.sender.poll() is None:
            process.end(self.sender, 2.0)
        if self.sender.poll() is not None:
            self._ended = self._ended or now
            if self.why and now - self._ended > PATIENCE:
                return True
        self.tick()
        return False

    def _reason(self, now: float) -> CerssError | None:
        if self.stop.is_set():
            return Stopped("the transfer was stopped; what has arrived is kept, and the next run resumes it")
        if self.transport.deadline is not None and now > self.transport.deadline:
            late = TimedOut("the transfer exceeded timeout; what has arrived is kept, and the next run resumes it")
            late.transient = False
            return late
        limit = self.transport.stall_timeout
        if limit and now - self.meter.moved > limit and self.sender.poll() is None:
            return Stalled(f"no byte moved for {limit:g} s (stall_timeout); what has arrived can be resumed")
        return None


def _judge(
    processes: list[subprocess.Popen[bytes]], stderrs: list[_Stderr], senders: int, commands: list[list[str]],
    backends: list[Backend],
) -> None:  # fmt: skip
    """Raise the error of the side that failed first; a receiver's "incomplete stream" is only a consequence."""
    sides = [range(senders), range(senders, len(processes))]
    errors = []
    failed = any(program.returncode != 0 for program in processes)
    for side, command, backend in zip(sides, commands, backends):
        bad = [processes[index].returncode for index in side if processes[index].returncode != 0]
        stderr = "".join(stderrs[index].text() for index in side)
        # Over ssh a compressor's exit status hides the one of zfs send before it, but not its stderr.
        if bad or (failed and stderr.strip()):
            errors.append(zfs_error(command, (bad or [1])[0], stderr, backend.endpoint.label))
    if not errors:
        return
    # A sender that ended with a broken pipe does not say why; the receiver does.
    sender_only_broke = len(errors) == 2 and (not errors[0].stderr.strip() or "roken pipe" in errors[0].stderr)
    permanent = [error for error in errors if not error.transient]
    raise errors[1] if sender_only_broke else (permanent or errors)[0]
