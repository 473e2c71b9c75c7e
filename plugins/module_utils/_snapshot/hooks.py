# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Commands before and after the creation of snapshots, for example to freeze a filesystem."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import IO, Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, CerssError, TimedOut
from ansible_collections.cerss.zfs.plugins.module_utils._host import process
from ansible_collections.cerss.zfs.plugins.module_utils._host.runfiles import RunFile

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_NOT_STARTED: dict[int | None, str] = {
    errno.ENOENT: "there is no such program, or no interpreter for the script; give the full path",
    errno.EACCES: "the program is not executable; check its mode and the folders above it",
    errno.E2BIG: "its arguments and environment are too long; put long values into a file",
    None: "its arguments or environment have characters that no program can be given, such as a null byte",
}


@dataclass(frozen=True)
class Command:
    """One command. ``label`` names it in messages, since its arguments may hold secrets. ``timeout`` in seconds."""

    label: str
    argv: list[str] = field(repr=False)
    timeout: int
    environment: dict[str, str] = field(repr=False)

    @classmethod
    def from_params(cls, params: Sequence[dict[str, Any]] | None, when: str) -> list[Command]:
        """The option ``before`` or ``after`` (``when``). Raises BadInput for a command that is empty or has no time."""
        commands = []
        for number, entry in enumerate(params or [], 1):
            label = f"command {number} of {when}"
            if not entry["argv"] or not entry["argv"][0]:
                raise BadInput(f"{label} has no argv; give the program and its arguments as a list")
            timeout = units.duration(entry["timeout"], f"timeout of {label}")
            if not timeout:
                raise BadInput(f"timeout of {label} is 0; give the time that it may take, such as 60s")
            environment = {str(name): str(value) for name, value in (entry["environment"] or {}).items()}
            commands.append(cls(label, list(entry["argv"]), timeout, environment))
        return commands

    def run(self, stderr: IO[bytes], check: Callable[[], None] = lambda: None) -> None:
        """Raise CerssError if it fails or takes too long. ``stderr`` and ``check``: see `process.run_command`."""
        try:
            rc, said = process.run_command(self.argv, self.timeout, self.environment, stderr, check)
        except TimedOut:
            raise CerssError(f"{self.label} did not finish within {self.timeout} s and was stopped") from None
        except (OSError, ValueError) as error:  # their texts have arguments
            number = error.errno if isinstance(error, OSError) else None
            reason = _NOT_STARTED.get(number, os.strerror(number or 0))
            raise CerssError(f"{self.label} could not be started: {reason}") from None
        if rc:
            raise CerssError(f"{self.label} failed with exit status {rc}", rc=rc, stderr=said)


class Stopped(CerssError):
    """A signal stopped the run."""


@contextlib.contextmanager
def around(before: Sequence[Command], after: Sequence[Command], snapshots: Sequence[str]) -> Iterator[None]:
    """Run ``before``, the body, and then ``after`` in every case in which the process can still act.

    If a command of ``before`` fails, the rest of ``before`` and the body are skipped.
    If a command of ``after`` fails, the rest of ``after`` still runs, and then CerssError is raised.
    A signal raises `Stopped`. Meanwhile a run file says that the snapshots are being created.
    """
    if not before and not after:
        yield
        return
    failures = ""
    with _outputs(len(before) + len(after)) as outputs, _Signals() as signals:
        try:
            with _run_file(snapshots):
                try:
                    for command in before:
                        command.run(outputs.pop(), signals.check)
                    with signals.at_once():
                        yield
                finally:
                    failures = _run_all(after, outputs)
        except CerssError as error:
            error.msg += failures
            raise
    if failures:
        raise CerssError(f"the snapshots were created, but{failures[1:]}")


def _run_all(after: Sequence[Command], outputs: list[IO[bytes]]) -> str:
    """Returns what failed, as the rest of a message."""
    failures = ""
    for command in after:
        try:
            command.run(outputs.pop())
        except CerssError as error:  # noqa: PERF203
            failures += f"; {error.msg}, so what it should undo may still be in effect"
    return failures


@contextlib.contextmanager
def _outputs(number: int) -> Iterator[list[IO[bytes]]]:
    """Temporary files. All are created before a command may freeze the filesystem that they are on."""
    with contextlib.ExitStack() as stack:
        try:
            files: list[IO[bytes]] = [stack.enter_context(tempfile.TemporaryFile()) for _each in range(number)]
        except OSError as error:
            raise CerssError(f"temporary files for before and after cannot be created: {error.strerror}") from error
        yield files


class _Signals:
    """Meanwhile SIGTERM, SIGINT and SIGHUP only make `check` raise `Stopped`, so that they interrupt no clean-up.

    The handlers are functions since a program that we start would inherit SIG_IGN.
    """

    def __init__(self) -> None:
        self._came = 0
        self._at_once = False

    def __enter__(self) -> _Signals:
        self._former = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if not self._came:
            self._came = number
            if self._at_once:
                self.check()

    def check(self) -> None:
        if self._came:
            raise Stopped(f"stopped by {signal.Signals(self._came).name}")

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Meanwhile the first signal raises `Stopped` wherever it comes."""
        try:
            self._at_once = True
            self.check()
            yield
        finally:
            self._at_once = False


@contextlib.contextmanager
def _run_file(snapshots: Sequence[str]) -> Iterator[None]:
    """Meanwhile zfs_snapshot_info reports the state "creating". Without a place for the file it does not."""
    runfile = RunFile()
    runfile.write({"operation": "create", "snapshots": list(snapshots), "started": time.time()})
    try:
        yield
    finally:
        runfile.remove()
