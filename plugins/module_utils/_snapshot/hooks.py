# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Commands before and after the creation of snapshots, for example to freeze a filesystem."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, CerssError, TimedOut
from ansible_collections.cerss.zfs.plugins.module_utils._host import process
from ansible_collections.cerss.zfs.plugins.module_utils._host.runfiles import RunFile

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


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

    def run(self) -> None:
        """Raise CerssError if it fails or takes too long."""
        try:
            result = process.run(self.argv, timeout=self.timeout, env=self.environment)
        except TimedOut:
            raise CerssError(f"{self.label} did not finish within {self.timeout} s and was stopped") from None
        if result.rc:
            raise CerssError(f"{self.label} failed with exit status {result.rc}", rc=result.rc, stderr=result.stderr)


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
    cleanup = _Cleanup(after)
    handlers = {number: signal.signal(number, _stop) for number in _SIGNALS}
    try:
        with _run_file(snapshots):
            try:
                for command in before:
                    command.run()
                yield
            finally:
                cleanup.run()
    except CerssError as error:
        cleanup.run()
        error.msg += cleanup.failures
        raise
    finally:
        cleanup.run()  # a signal may interrupt the start of the first call; _stop lets no second one through
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if cleanup.failures:
        raise CerssError(f"the snapshots were created, but{cleanup.failures[1:]}")


def _stop(number: int, _frame: FrameType | None) -> None:
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise Stopped(f"stopped by {signal.Signals(number).name}")


class _Cleanup:
    """The commands of ``after``. Each runs once, and signals are ignored meanwhile.

    ``failures``: what failed, as the rest of a message.
    """

    def __init__(self, commands: Sequence[Command]) -> None:
        self._left = list(commands)
        self.failures = ""

    def run(self) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        while self._left:
            try:
                self._left.pop(0).run()
            except CerssError as error:  # noqa: PERF203
                self.failures += f"; {error.msg}, so what it should undo may still be in effect"


@contextlib.contextmanager
def _run_file(snapshots: Sequence[str]) -> Iterator[None]:
    """Meanwhile zfs_snapshot_info reports the state "creating". Without a place for the file it does not."""
    runfile = None
    with contextlib.suppress(OSError):
        runfile = RunFile()
        runfile.write({"operation": "create", "snapshots": list(snapshots), "started": time.time()})
    try:
        yield
    finally:
        if runfile:
            runfile.remove()
