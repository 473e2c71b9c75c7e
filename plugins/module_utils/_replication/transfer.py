# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs one send stream through a pipe of processes. No byte passes through Python.

A stream that another host sends is looked at in the pipe before zfs receive starts, since zfs receive believes what is
in it: properties, further datasets, whose clone it is.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import math
import platform
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.endpoint import WAITING, told_pid
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, CerssError, TimedOut, ZfsError
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset
from ansible_collections.cerss.zfs.plugins.module_utils._host import peek, process
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.waiting import wait_for
from ansible_collections.cerss.zfs.plugins.module_utils._host.wanted import Wanted
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import Pair, Send
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import output, stream
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.errors import zfs_error
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.stream import Expected, read_head

TICK = 0.25  # seconds between looks at the processes
LOOK = 0.02  # seconds between looks at a pipe that the head of a stream must come through
LAST_WORDS = 10.0  # seconds that a sender gets to end once nobody reads its stream any more
PATIENCE = 60.0  # seconds that a receiver gets to save what has arrived after the stream has ended
MAX_WORDS = 65536  # bytes of stderr that are kept
RAISING = 2.0  # seconds that another pv gets to tell a running one its new rate
HASTE = 3.0  # the same in a run that has to end
OWN_CONNECTION_FROM = 64 * 1024 * 1024  # bytes: for less, a login costs more than sharing a connection


AUTO = "auto"


class Stalled(TimedOut):
    """No byte moved for longer than stall_timeout."""


class ForeignStream(CerssError):
    """The source sent another stream than was asked for. ``received``: how many of its snapshots are here."""

    def __init__(self, msg: str, received: int) -> None:
        super().__init__(msg)
        self.received = received


@dataclass(frozen=True)
class Transport:
    """How streams are sent. Times in seconds, ``bandwidth_limit`` in bytes per second; None means no limit.

    The limit is that of all streams of a run together, or the share of one of them (`run_pipe`). ``compressed`` and
    ``large_blocks`` are auto, true or false.
    """

    compression: str = "none"
    bandwidth_limit: int | None = None
    stall_timeout: float | None = None
    compressed: str = AUTO
    large_blocks: str = AUTO


@dataclass
class Meter:
    """The progress of one stream in bytes; updated by the thread that reads the sender's stderr."""

    total: int | None = None
    done: int = 0
    snapshot: str = ""
    started: float = field(default_factory=time.time)
    moved: float = field(default_factory=time.monotonic)
    programs: list[int] = field(default_factory=list)  # the pids of those on this host
    limiter: int | None = None  # the one that limits the rate
    receiver: int | None = None  # the pid of zfs receive on another host, as it has told on our connection
    told: float | None = None  # when
    written: int = 0  # what a zfs send that can be looked at has written, to the last byte
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
    def sent(self) -> int:
        """What was measured. Without ``written`` it is what zfs send has told, which it does once a second.

        A kernel with small stacks writes in another thread (dump_bytes in dmu_send.c), so that nothing is ``written``.
        """
        return max(self.written, self.done)

    @property
    def rate(self) -> int | None:
        """Bytes per second since the start."""
        seconds = time.time() - self.started
        return int(self.done / seconds) if seconds >= 1 and self.done else None


def raise_limit(meter: Meter, limit: int) -> None:
    """Let a stream that is running go faster. One that cannot be told stays as it is."""
    if meter.limiter:
        with contextlib.suppress(CerssError, OSError):
            process.run(["pv", "-q", "-R", str(meter.limiter), "-L", str(limit)], timeout=RAISING)


class _Stderr(threading.Thread):
    """Reads a program's stderr, so that the pipe never fills up; what the sender and the receiver tell is noted."""

    def __init__(self, program: subprocess.Popen[bytes], meter: Meter, sends: bool) -> None:
        super().__init__(daemon=True)
        self.program, self.meter, self.sends, self.kept = program, meter, sends, bytearray()
        self.size = 0  # bytes of what was read
        self.start()

    def run(self) -> None:
        stream: Any = self.program.stderr
        with stream:
            for raw in iter(lambda: stream.readline(MAX_WORDS), b""):
                self.size += len(raw)
                self._note(raw)

    def _note(self, raw: bytes) -> None:
        line = raw.decode(errors="replace")
        progress, pid = output.sent(line), told_pid(line)
        if progress and self.sends:
            self.meter.note(*progress)
        elif self.sends and self.meter.total is None and line.startswith("size\t"):
            self.meter.total = output.estimate(line)
        elif pid and not self.sends:
            self.meter.receiver, self.meter.told = pid, time.time()
        elif line.rstrip() == WAITING:
            pass
        elif not (self.sends and (output.announced(line) or line.startswith(("size\t", "TIME")))):
            self.kept += raw[: MAX_WORDS - len(self.kept)]

    def text(self) -> str:
        self.join(5)
        return self.kept.decode(errors="replace")


@dataclass(frozen=True)
class Asked:
    """The stream that was asked for. ``source`` (an address) and ``what`` are for messages.

    ``origin``: the dataset on the target whose clone is received.
    """

    source: str
    what: str
    expected: Expected
    origin: str | None = None

    @classmethod
    def of(cls, pair: Pair, send: Send, receiver: Dataset | None) -> Asked:
        """As zfs send makes it (setup_featureflags in dmu_send.c). ``receiver``: the dataset that exists already.

        It sets the flag "raw" only for an encrypted dataset, also with -w, and "resuming" only behind the first byte.
        """
        guids = [send.base_guid, *(snapshot.guid for snapshot in send.carries)]
        type_ = (receiver or pair.source).type or pair.source.type
        expected = Expected(
            parts=tuple((str(guid), base) for base, guid in zip(guids, guids[1:])),
            raw=send.raw and pair.source.encrypted,
            volume=None if type_ is None else type_ == "volume",
            resumed=None if send.token and not send.token.bytes else send.token is not None,
            clone=send.origin is not None,
        )
        name = send.snapshot.name
        what = {"full": f"{name} in full", "resume": f"the rest of {name}"}
        increment = f"the increment from {send.base} to {name}"
        origin = send.origin.partition("@")[0] if send.origin else None
        return cls(pair.source_address, what.get(send.kind, increment), expected, origin)

    def refusal(self, why: str, received: int) -> ForeignStream:
        """The error when ``why`` is what is wrong with the stream, and so many of its snapshots have been received."""
        so_far = f"only {received} of its snapshots were received" if received else "nothing was received"
        told = f"{self.source} was asked for {self.what}, but {why}; {so_far}; check that host"
        return ForeignStream(told, received)


def run_pipe(
    source: Backend, target: Backend, send: list[str], receive: list[str], transport: Transport, meter: Meter,
    wanted: Wanted, tick: Callable[[], None], asked: Asked | None = None,
) -> None:  # fmt: skip
    """Run a stream to its end. Raises the ZfsError of the side that failed first, `Stopped`, `Stalled` or `TimedOut`.

    ``send`` and ``receive`` are argv. ``tick`` is called every `TICK` seconds. A stream that this host does not make
    for another one must be as ``asked``, otherwise `ForeignStream` is raised before zfs receive has read a byte of it.
    Even if nothing is raised, the caller must check that the snapshot is on the replica.
    """
    if source.endpoint.host is None and target.endpoint.host is not None:
        asked = None
    own = meter.total is None or meter.total >= OWN_CONNECTION_FROM
    sending = source.endpoint.pipeline([send, *_pack(transport, 0)], own)
    between, receiving = _stages(target, receive, transport, own, asked is not None)
    if (
        source.endpoint.become
        and len(sending) + len(between) == 1
        and receiving[0][0] == target.endpoint.become_program
    ):
        between = [["cat"]]  # nobody else could end a stream between two programs of root
    pipe = _Pipe(transport, meter, wanted, tick)
    pipe.counts = source.endpoint.host is None and not source.endpoint.become
    wrong: ForeignStream | None = None
    try:
        pipe.start([*sending, *between])
        if asked:
            wrong = _Guard(pipe, asked, target, receiving).receive()
        else:
            _receive(pipe, receiving)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EACCES):
            raise CerssError(f"the programs of the stream could not be started: {error.strerror}") from error
        raise BadInput(
            f"{error.filename} cannot be started here: {error.strerror}; install it, or leave out the "
            "option that needs it"
        ) from error
    finally:
        pipe.end()
    if pipe.why:
        raise pipe.why
    if not (wrong and pipe.whole):
        _judge(pipe.programs, pipe.stderrs, len(sending), [send, receive], [source, target])
    if wrong:
        raise wrong


def _receive(pipe: _Pipe, receiving: list[list[str]]) -> None:
    """Receive what comes through the pipe, to its end."""
    pipe.start(receiving, last=True)
    pipe.finish()


def _pack(transport: Transport, which: int) -> list[list[str]]:
    """The command that compresses (0) or decompresses (1) the stream, if one does."""
    return [list(zfs.COMPRESSION[transport.compression][which])] if transport.compression in zfs.COMPRESSION else []


def _stages(
    target: Backend, receive: list[str], transport: Transport, own: bool, looked: bool
) -> tuple[list[list[str]], list[list[str]]]:
    """(the stages between sender and receiver, the receiving ones), with the stream unpacked where it is looked at."""
    limit = [["pv", "-q", "-L", str(transport.bandwidth_limit)]] if transport.bandwidth_limit else []
    pack, unpack = _pack(transport, 0), _pack(transport, 1)
    if not looked:
        return limit, target.endpoint.pipeline([*unpack, receive], own, telling=True)
    if target.endpoint.host is None:
        return [*limit, *unpack], target.endpoint.pipeline([receive], own)
    return [*limit, *unpack], [*pack, *target.endpoint.pipeline([*unpack, receive], own, telling=True)]


class _Pipe:
    """The programs of a stream. If the stream must stop, it ends the sender and waits for the receiver."""

    def __init__(
        self, transport: Transport, meter: Meter, wanted: Wanted, tick: Callable[[], None],
    ) -> None:  # fmt: skip
        self.programs: list[subprocess.Popen[bytes]] = []
        self.stderrs: list[_Stderr] = []
        self.transport, self.meter, self.wanted, self.tick = transport, meter, wanted, tick
        self.why: CerssError | None = None
        self.patience = PATIENCE
        self.whole = False  # the record that was looked at last has come whole
        self.counts = False  # the first program is zfs send itself
        self.output: IO[bytes] | None = None  # of the last program that has one, as long as it may be looked at
        self._ended: float | None = None
        self._received: float | None = None
        self._counted = 0

    def start(self, stages: list[list[str]], last: bool = False, again: bool = False) -> None:
        """Start programs, joined by pipes. ``last``: they receive. ``again``: others will receive what comes next."""
        for index, argv in enumerate(stages):
            receiver = last and index == len(stages) - 1
            program = process.spawn(
                argv,
                stdin=self.output or subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if receiver else subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            self.stderrs.append(_Stderr(program, self.meter, sends=not self.programs))
            self.programs.append(program)
            self.meter.programs.append(program.pid)
            if argv[0] == "pv":
                self.meter.limiter = program.pid
            if not again:
                self.close()  # so that the previous program gets SIGPIPE when this one ends
                self.output = program.stdout

    def close(self) -> None:
        if self.output:
            self.output.close()
        self.output = None

    def ahead(self) -> bytes:
        """The next record of the stream, which stays in the pipe; less if the stream ends before."""
        try:
            record = wait_for(self._glance, lambda found: found is not None, LOOK) or b""
        except OSError as error:
            raise CerssError(
                f"a stream cannot be checked on {platform.node()} before it is received: {error.strerror}; replicate "
                "from a Linux host, or push from the source"
            ) from error
        self.whole = len(record) == stream.RECORD
        return record

    def _glance(self) -> bytes | None:
        over = self.look()
        if self.why:
            return b""  # nothing more is received
        found = peek.ahead(self.output.fileno(), stream.RECORD) if self.output else b""
        return b"" if found is None and over else found

    def skip(self) -> None:
        """Leave out the record that `ahead` has returned."""
        if self.output:
            peek.skip(self.output.fileno(), stream.RECORD)

    def finish(self, total: float = math.inf) -> None:
        """Wait for the end of all programs, at most ``total`` seconds."""
        self.close()
        wait_for(self.look, bool, TICK, total)

    def end(self) -> None:
        # The sender first: the receiver then sees the end of the stream and saves what has arrived.
        if self.wanted.fault():
            self.patience = HASTE
        for program in self.programs:
            self._end(program, self.patience if program is not self.programs[0] else min(self.patience, 5.0))
        self.close()
        if self._counted:
            self.stderrs[0].text()
            self.meter.written = max(0, self._counted - self.stderrs[0].size)

    def _runs(self, program: subprocess.Popen[bytes]) -> bool:
        """Whether it runs. Between its end and the wait for it Linux shows what zfs send has written.

        Nothing else may wait for the first program, which is the last one too until a receiver has started.
        """
        if self.counts and program is self.programs[0] and program.returncode is None:
            if not process.has_ended(program):
                return True
            self._counted = process.written(program)
        return program.poll() is None

    def _end(self, program: subprocess.Popen[bytes], patience: float) -> None:
        if self._runs(program):
            if self.counts and program is self.programs[0]:
                self._counted = process.written(program)
            process.end(program, patience)

    def look(self) -> bool:
        """True if there is nothing left to wait for."""
        if not any(self._runs(program) for program in self.programs):
            return True
        now = time.monotonic()
        sender, receiver = self.programs[0], self.programs[-1]
        if self.why is None or self.patience != HASTE:
            former, self.why = self.why, self._reason(now) or self.why
            if self.why is not former:
                self._end_sender(HASTE)
        # A sender without a receiver is ended; once the sender has ended, the others must end soon.
        if not self._runs(receiver) and self._runs(sender) and self._is_left(receiver.returncode, now):
            self._end_sender(2.0)
        if self.why or not self._runs(sender):
            self._ended = self._ended or now
            if self.why and now - self._ended > self.patience:
                return True
        self.tick()
        return False

    def _end_sender(self, patience: float) -> None:
        """End the sender. One that only root may end gets a broken pipe, since the next program is ended."""
        for program in self.programs[:2]:
            if self._runs(self.programs[0]):
                self._end(program, patience)

    def _is_left(self, status: int, now: float) -> bool:
        """True if the sender is to be ended, since the receiver has failed, or was done a while ago."""
        if status == 0 and self.output:
            return False  # there is more to receive
        self._received = self._received or now
        return status != 0 or now - self._received > LAST_WORDS

    def _reason(self, now: float) -> CerssError | None:
        fault = self.wanted.fault("during a transfer; what has arrived is kept, and the next run resumes it")
        if fault:
            self.patience = HASTE
            return fault
        limit = self.transport.stall_timeout
        if limit and self.why is None and now - max(self.meter.moved, self._ended or 0) > limit:
            what = "the receiver did not end" if self._ended else "no byte moved"
            return Stalled(f"{what} for {limit:g} s (stall_timeout); what has arrived can be resumed")
        return None


class _Guard:
    """Looks at the head of the stream, and of each stream in a package, before it starts zfs receive for that one."""

    def __init__(self, pipe: _Pipe, asked: Asked, target: Backend, receiving: list[list[str]]) -> None:
        self.pipe, self.asked, self.target, self.receiving = pipe, asked, target, receiving

    def receive(self) -> ForeignStream | None:
        """Receive the stream, as far as it is what was asked for; otherwise the error."""
        head = read_head(self.pipe.ahead())
        why = stream.fault(head, self.asked.expected) or self._fault_of_origin()
        if not why and head and head.package:
            return self._package()
        if why:
            return self._refused(why, 0)
        _receive(self.pipe, self.receiving)
        return None

    def _fault_of_origin(self) -> str:
        """A clone is a volume when its origin is one, whatever the stream says."""
        origin, volume = self.asked.origin, self.asked.expected.volume
        if origin is None or volume is None:
            return ""
        lines, _missing = self.target.read(zfs.get([origin], ["type"]))
        if any(line.endswith("\tvolume") for line in lines) == volume:
            return ""
        return f"the stream is {'' if volume else 'not '}of a volume, other than its origin {origin}"

    def _package(self) -> ForeignStream | None:
        self.pipe.skip()
        if not stream.is_end(self.pipe.ahead()):
            return self._refused("the head of the package has no end", 0)
        self.pipe.skip()
        for part in itertools.count():
            record = self.pipe.ahead()
            ends = stream.is_end(record)
            expected = self.asked.expected
            why = stream.fault_at_end(expected, part) if ends else stream.fault(read_head(record), expected, part)
            if why:
                return self._refused(why, part)
            if ends or not self._part():
                break
        self.pipe.finish()
        return None

    def _part(self) -> bool:
        """Receive one stream of a package. True if that went well."""
        self.pipe.start(self.receiving, last=True, again=True)
        receiver = self.pipe.programs[-1]
        wait_for(lambda: self.pipe.look() or receiver.poll() is not None, bool, LOOK)
        return receiver.returncode == 0

    def _refused(self, why: str, received: int) -> ForeignStream:
        """The error. If the stream has just ended too soon, its sender may have a better one."""
        if not self.pipe.whole:
            self.pipe.finish(LAST_WORDS)
        return self.asked.refusal(why, received)


def _tells_its_token_only(error: ZfsError) -> bool:
    """True for a resumed ``zfs send -v`` that has told what the token contains, and no reason for its end."""
    return error.__class__ is ZfsError and "resume token contents:" in error.stderr


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
    sender_only_broke = len(errors) == 2 and (
        not errors[0].stderr.strip() or "roken pipe" in errors[0].stderr or _tells_its_token_only(errors[0])
    )
    permanent = [error for error in errors if not error.transient]
    raise errors[1] if sender_only_broke else (permanent or errors)[0]
