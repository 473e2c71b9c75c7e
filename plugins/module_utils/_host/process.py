# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starts programs. No other file of the collection does."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import operator
import os
import select
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from ansible_collections.cerss.zfs.plugins.module_utils._core.endpoint import SEARCH_PATH
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError, TimedOut, short_command
from ansible_collections.cerss.zfs.plugins.module_utils._host.waiting import wait_for

LIMIT = 3600.0  # seconds that a program may take where nobody says less
LOOK = 0.2  # seconds between two looks at whether it is still wanted
PATIENCE = 2.0  # seconds that it has when it is not
MAX_LINE = 1024 * 1024  # bytes; the longest that zfs prints are lists of clones
MAX_OUTPUT = 256 * 1024 * 1024  # bytes that are kept of what a program prints; a list of a million snapshots is less
_CHUNK = 65536  # bytes
_TAIL = 64 * 1024  # bytes that are read of what a command of the user has printed
_TICK = 0.01  # seconds


@dataclass(frozen=True)
class Result:
    """How a program ended. ``rc``: 127 when it does not exist, negative when a signal ended it."""

    argv: list[str]
    rc: int
    stdout: str
    stderr: str


def environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """The environment of programs on this host: ours, with messages in English and a PATH that zfs is in."""
    path = ":".join(filter(None, (SEARCH_PATH, os.environ.get("PATH"))))
    return {**os.environ, "LC_ALL": "C", "PATH": path, **(extra or {})}


def spawn(argv: list[str], **options: Any) -> subprocess.Popen[Any]:
    """Start a program in a session of its own, so that a signal to our group does not reach it. `end` ends it."""
    options.setdefault("env", environment())
    # AnsibleModule.run_command cannot connect two processes by a pipe.
    return subprocess.Popen(argv, start_new_session=True, **options)  # pylint: disable=ansible-bad-function


def run(
    argv: list[str], stdin: str | None = None, timeout: float | None = None, check: Callable[[], None] | None = None
) -> Result:
    """Run a program to its end. Raise TimedOut after ``timeout`` seconds; a missing program is a Result with rc 127.

    Raise CerssError if it prints more than `MAX_OUTPUT`. ``check`` is called meanwhile. If it raises, the
    program has `PATIENCE` seconds to end by itself.
    """
    try:
        process = spawn(
            argv,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        return _not_started(argv, error)
    try:
        with _Exchange(process, argv, (stdin or "").encode()) as exchange:
            out, err = _patiently(exchange.go_on, argv, LIMIT if timeout is None else timeout, check)
    except BaseException:  # a signal handler may raise here
        end(process, PATIENCE)
        if process.returncode is not None:
            end_group(process, LOOK)  # children that keep the pipes
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                stream.close()
        raise
    return Result(argv, process.returncode, _text(out), _text(err))


class _Exchange:
    """What a program is fed and what it prints, as `Popen.communicate` does it, but never more than `MAX_OUTPUT`."""

    def __init__(self, process: subprocess.Popen[Any], argv: list[str], feed: bytes) -> None:
        self.process, self.argv, self.feed = process, argv, feed
        self.printed = {process.stdout: bytearray(), process.stderr: bytearray()}
        self.selector = selectors.DefaultSelector()

    def __enter__(self) -> _Exchange:
        for stream in self.printed:
            self.selector.register(stream, selectors.EVENT_READ)  # type: ignore[arg-type]
        if self.process.stdin:
            os.set_blocking(self.process.stdin.fileno(), False)
            self.selector.register(self.process.stdin, selectors.EVENT_WRITE)
        return self

    def __exit__(self, *_error: object) -> None:
        self.selector.close()

    def go_on(self, seconds: float) -> tuple[bytearray, bytearray]:
        """(stdout, stderr) when the program has ended. Raise TimeoutExpired if it has not within so many seconds."""
        limit = time.monotonic() + seconds
        while self.selector.get_map():
            for key, _events in self.selector.select(max(0.0, limit - time.monotonic())):
                over = self._write() if key.fileobj is self.process.stdin else self._read(key.fileobj)
                if over:
                    self.selector.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]
            if self.selector.get_map() and time.monotonic() >= limit:
                raise subprocess.TimeoutExpired(self.argv, seconds)
        self.process.wait(max(0.0, limit - time.monotonic()))
        out, err = self.printed.values()
        return out, err

    def _read(self, stream: Any) -> bool:
        data = os.read(stream.fileno(), _CHUNK)
        self.printed[stream] += data
        if len(self.printed[stream]) > MAX_OUTPUT:
            raise too_much(self.argv)
        return not data

    def _write(self) -> bool:
        try:
            self.feed = self.feed[os.write(self.process.stdin.fileno(), self.feed[:_CHUNK]) :]  # type: ignore[union-attr]
        except BlockingIOError:
            return False
        except BrokenPipeError:
            return True
        return not self.feed


def too_much(argv: list[str]) -> CerssError:
    """The error for a program that does not stop printing."""
    return CerssError(
        f"{short_command(argv)} printed more than {MAX_OUTPUT} bytes and was stopped; check what answers there in the "
        "place of zfs, or name fewer datasets"
    )


def _not_started(argv: list[str], error: OSError) -> Result:
    """The result for a program that does not exist. Raises CerssError for one that could not be started otherwise."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
        return Result(argv, 127, "", f"{argv[0]}: command not found: {error.strerror}")
    failed = CerssError(f"{short_command(argv)} could not be started: {error.strerror}")
    failed.transient = error.errno != errno.E2BIG
    raise failed


Answer = TypeVar("Answer")


def _patiently(
    step: Callable[[float], Answer], argv: list[str], timeout: float, check: Callable[[], None] | None
) -> Answer:
    """What ``step`` returns; until then it raises TimeoutExpired. Raises TimedOut, and what ``check`` raises."""
    limit, why = time.monotonic() + timeout, None
    while True:
        left = limit - time.monotonic()
        try:
            return step(max(0.0, min(left, LOOK)))
        except subprocess.TimeoutExpired:
            if left <= 0:
                late = TimedOut(f"{short_command(argv)} did not end within {timeout:g} s and was stopped")
                raise why or late from None
        if check and not why:
            try:
                check()
            except CerssError as error:
                limit, why = min(limit, time.monotonic() + PATIENCE), error


def run_command(
    argv: list[str], timeout: float, env: dict[str, str], stderr: IO[bytes], check: Callable[[], None] = lambda: None
) -> tuple[int, str]:
    """Run a command of the user until it ends. Return its exit status and the end of its stderr.

    Its background children live on, and may keep its output open. ``stderr``: an empty file for this command alone.
    Raise OSError or ValueError if it cannot be started, and TimedOut after ``timeout`` seconds. ``check`` is called
    again and again, and may raise. Both end the command with its process group.
    """
    # A program that opens /dev/stderr writes at the start of the file. Others must not overwrite that.
    fcntl.fcntl(stderr, fcntl.F_SETFL, os.O_APPEND)
    process = spawn(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr, env=environment(env))

    def look() -> int | None:
        check()
        return process.poll()

    try:
        rc = wait_for(look, lambda rc: rc is not None, _TICK, timeout)
        if rc is None:
            raise TimedOut(f"it did not end within {timeout:g} s and was stopped")
    except BaseException:
        end_group(process)
        raise
    start = max(0, os.fstat(stderr.fileno()).st_size - _TAIL)
    return rc, os.pread(stderr.fileno(), _TAIL, start).decode(errors="replace")


def _text(output: bytes | bytearray) -> str:
    # Not Popen's text mode, which changes carriage returns: a property value may have them.
    return output.decode(errors="surrogateescape")


class Lines:
    """The lines that a program prints, without keeping them in memory. ``result`` is set after the last line.

    ``check``: as for `run`. stderr has at most about `MAX_OUTPUT`.
    """

    def __init__(self, argv: list[str], check: Callable[[], None] | None = None) -> None:
        self.argv, self.check = argv, check
        self.result: Result | None = None

    def __iter__(self) -> Generator[str, None, None]:
        with tempfile.TemporaryFile() as stderr:
            try:
                process = spawn(self.argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr)
            except OSError as error:
                self.result = _not_started(self.argv, error)
                return
            try:
                stream: IO[bytes] = process.stdout  # type: ignore[assignment]
                with stream:
                    yield from map(_text, self._read(stream.fileno(), stderr.fileno()))
                _patiently(process.wait, self.argv, LIMIT, self.check)
            finally:
                end(process, PATIENCE)
            stderr.seek(0)
            self.result = Result(self.argv, process.returncode, "", stderr.read().decode(errors="replace"))

    def _read(self, pipe: int, stderr: int) -> Iterator[bytes]:
        limit, looked, rest = time.monotonic() + LIMIT, time.monotonic(), b""
        while True:
            ready = select.select([pipe], [], [], LOOK)[0]
            if time.monotonic() - looked >= LOOK:  # also while it does not stop printing
                looked = time.monotonic()
                if self.check:
                    self.check()
                if os.fstat(stderr).st_size > MAX_OUTPUT:
                    raise too_much(self.argv)
                if looked > limit:
                    raise TimedOut(f"{short_command(self.argv)} did not end within {LIMIT:g} s and was stopped")
            if not ready:
                continue
            data = os.read(pipe, _CHUNK)
            *lines, rest = (rest + data).split(b"\n")
            yield from lines
            if len(rest) > MAX_LINE:
                raise CerssError(f"{short_command(self.argv)} printed a line of more than {MAX_LINE} bytes")
            if not data:
                yield from [rest] if rest else []
                return


def has_ended(program: subprocess.Popen[Any]) -> bool:
    """Whether a program that nobody has waited for has ended. It still is not waited for."""
    return os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def written(program: subprocess.Popen[Any]) -> int:
    """Bytes that a program has written, by proc(5), until it is waited for; 0 where the system does not tell."""
    try:
        counters = dict(line.split(": ") for line in Path(f"/proc/{program.pid}/io").read_text().splitlines())
        return int(counters["wchar"])
    except (OSError, ValueError, KeyError):
        return 0


def end(process: subprocess.Popen[Any], patience: float = 5.0) -> None:
    """End a program from `spawn` and its children: SIGTERM, and SIGKILL after ``patience`` seconds. Waits for it.

    One that the kernel does not let go is left behind after a while, and one that only root may end at once.
    """
    if process.poll() is None and _signal(process, signal.SIGTERM):
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)


def end_group(process: subprocess.Popen[Any], patience: float = 5.0) -> None:
    """End the process group of a program from `spawn`, even if the program itself has ended.

    SIGTERM, and SIGKILL after ``patience`` seconds. Waits as long again at most: a program that writes to a frozen
    filesystem cannot be killed.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        for each in (number, signal.SIGCONT):  # a stopped program takes SIGTERM only when it continues
            _signal(process, each)
        if not wait_for(lambda: _has_members(process), operator.not_, _TICK, patience):
            break


def _has_members(process: subprocess.Popen[Any]) -> bool:
    process.poll()  # a program that has ended is a member until it is waited for
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _signal(process: subprocess.Popen[Any], number: int) -> bool:
    """Signal the whole process group: a child that outlives the program would keep our pipes open. False if refused.

    The group's number cannot belong to another one, since the program has not been waited for or the group has members.
    """
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return True
    except PermissionError:  # the program is sudo, doas or the like
        return _as_root([*_elevation(process.args), "kill", f"-{number}", "--", f"-{process.pid}"])
    return True


def _elevation(argv: Any) -> list[str]:
    """How a command becomes root: as that of this command line (`Endpoint.elevated`), otherwise by sudo."""
    return [argv[0] if argv[1:2] == ["-n"] else "sudo", "-n"]


def _as_root(argv: list[str]) -> bool:
    try:
        sudo = spawn(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                     stderr=subprocess.DEVNULL)  # fmt: skip
        return sudo.wait(PATIENCE) == 0
    except subprocess.TimeoutExpired:
        _left.append(sudo)  # it may hang as well, and nobody could end it
    except OSError:
        pass
    return False


_left: list[subprocess.Popen[Any]] = []
