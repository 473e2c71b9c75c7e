# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Commands before and after a snapshot, so that what writes to a volume stands still for the moment it takes."""

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
    """One of them. ``label`` names it without its words, which may hold secrets."""

    label: str
    argv: list[str] = field(repr=False)
    timeout: int
    environment: dict[str, str] = field(repr=False)

    @classmethod
    def from_params(cls, params: Sequence[dict[str, Any]] | None, when: str) -> list[Command]:
        """From the option ``before`` or ``after``; BadInput names the one that is not right."""
        commands = []
        for number, entry in enumerate(params or [], 1):
            label = f"{when} command {number}"
            if not entry["argv"] or not entry["argv"][0]:
                raise BadInput(f"{label} has no argv; give the program and its arguments as a list")
            timeout = units.duration(entry["timeout"], f"timeout of {label}")
            if not timeout:
                raise BadInput(f"timeout of {label} is 0; give it the time that it needs")
            environment = {str(name): str(value) for name, value in (entry["environment"] or {}).items()}
            commands.append(cls(label, list(entry["argv"]), timeout, environment))
        return commands

    def run(self) -> None:
        try:
            result = process.run(self.argv, timeout=self.timeout, env=self.environment)
        except TimedOut:
            raise CerssError(f"{self.label} did not end within {self.timeout} s and was stopped") from None
        if result.rc:
            raise CerssError(f"{self.label} ended with exit status {result.rc}", rc=result.rc, stderr=result.stderr)


class Stopped(CerssError):
    """A signal ended the run."""


@contextlib.contextmanager
def around(before: Sequence[Command], after: Sequence[Command], snapshots: Sequence[str]) -> Iterator[None]:
    """Run ``before``, the body, and then ``after`` whatever happens that a process can still act in.

    Meanwhile a run file tells that the snapshots are being made. A failing ``before`` skips the others and the body.
    All of ``after`` are run even when one fails; that is an error too.
    """
    if not before and not after:
        yield
        return
    undo = _Undo(after)
    handlers = {number: signal.signal(number, _stop) for number in _SIGNALS}
    try:
        with _told(snapshots):
            try:
                for command in before:
                    command.run()
                yield
            finally:
                undo.run()
    except CerssError as error:
        undo.run()
        error.msg += undo.said
        raise
    finally:
        undo.run()  # a signal may come just as the first of these begins, and only one is ever answered
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if undo.said:
        raise CerssError(f"the snapshots are made, but{undo.said[1:]}")


def _stop(number: int, _frame: FrameType | None) -> None:
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise Stopped(f"stopped by {signal.Signals(number).name}")


class _Undo:
    """The commands after, each run once, signals or not. ``said``: what failed, in words."""

    def __init__(self, commands: Sequence[Command]) -> None:
        self._left = list(commands)
        self.said = ""

    def run(self) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        while self._left:
            try:
                self._left.pop(0).run()
            except CerssError as error:  # noqa: PERF203
                self.said += f"; {error.msg}: what it should have undone may still stand"


@contextlib.contextmanager
def _told(snapshots: Sequence[str]) -> Iterator[None]:
    runfile = None
    with contextlib.suppress(OSError):  # only the state "creating" is lost
        runfile = RunFile()
        runfile.write({"operation": "create", "snapshots": list(snapshots), "started": time.time()})
    try:
        yield
    finally:
        if runfile:
            runfile.remove()
