# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the attempts of a run share, and a pair on its way."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import (
    CerssError,
    NoSpace,
    ReadOnly,
    Refused,
    TimedOut,
    ZfsError,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Step
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.wanted import Wanted
from ansible_collections.cerss.zfs.plugins.module_utils._replication.options import Options
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import (
    SOURCE,
    Pair,
    PairOptions,
    PairPlan,
    txg,
)
from ansible_collections.cerss.zfs.plugins.module_utils._replication.planner import Ahead
from ansible_collections.cerss.zfs.plugins.module_utils._replication.report import PairReport
from ansible_collections.cerss.zfs.plugins.module_utils._replication.survey import Reader

POLL = 2.0  # seconds between looks at a transfer that another run or host has started
# What zfs says if another run has done it; the name of a cursor says which snapshot it is of.
_DONE = {
    "bookmark": ("bookmark exists",),
    "hold": ("tag already exists",),
    "release": ("no such tag",),
    "destroy": ("does not exist",),
}


@dataclass
class Work:
    """What all attempts of a run share."""

    options: Options
    source: Backend
    target: Backend
    reader: Reader
    wanted: Wanted
    programs: bool = True  # False when zfs has refused a channel program
    left: int = 1  # pairs that have not ended; it only gets smaller

    @property
    def share(self) -> int | None:
        """What a stream may have of ``bandwidth_limit``, in bytes per second; None without a limit.

        It gets larger as fewer are left, so the streams that run never have more than the limit together.
        """
        limit = self.options.transport.bandwidth_limit
        return None if limit is None else max(1, limit // max(1, min(self.options.parallel, self.left)))

    def go_on(self, what: str, grace: float = 0.0) -> None:
        """Raise Stopped or TimedOut if the run has to end. Called before each effect.

        ``grace``: seconds that may pass then, for effects that only note what has arrived.
        """
        self.wanted.check(f"before {what}", grace)

    def pause(self, what: str) -> None:
        """Wait for another transfer a little. Raises Refused after ``timeout``, and Stopped."""
        try:
            self.wanted.sleep(POLL, "during the wait for another transfer")
        except TimedOut:
            raise Refused(f"{what} and did not end within timeout") from None

    def do(
        self,
        steps: Iterable[Step],
        report: PairReport,
        needed: Callable[[Step, ZfsError], bool] = lambda _step, _error: True,
        grace: float = 0.0,
    ) -> bool:
        """Carry out the steps of a pair, and note them. False if some are missing.

        A source that is full or read-only takes no marks. Unless they are ``needed``, that is only a warning.
        """
        whole = True
        for step in steps:
            self.go_on(f"this step: {step.text}", grace)
            try:
                for command in step.commands:
                    self.run(self.source if step.side == SOURCE else self.target, command)
            except (NoSpace, ReadOnly) as error:
                if needed(step, error) or step.side != SOURCE:
                    raise
                whole = False
                report.warn(f"this is missing on the source, which later runs may need: {step.text} ({error.msg})")
            else:
                report.done.append(step)
        return whole

    def run(self, backend: Backend, command: list[str]) -> None:
        """Run a command that makes or moves marks. That another run has done the same is no error."""
        try:
            backend.run(command)
        except ZfsError as error:
            if not any(text in error.stderr for text in _DONE.get(command[1], ())):
                raise
            names = command[3:] if command[1] in ("hold", "release") else []
            for name in names if len(names) > 1 else []:
                self.run(backend, [*command[:3], name])


@dataclass(eq=False)  # a task is itself; two are never compared by what is in them
class Task:
    """A pair on its way. ``plan``: the current one, None if it is outdated. ``first``: the pair before the run."""

    plan: PairPlan | None
    report: PairReport
    first: Pair
    options: PairOptions
    properties: dict[str, str] = field(default_factory=dict)  # given with a first receive
    again: bool = False  # whether its marks were others when they were to be written
    asked: bool = False  # whether `together` was asked to carry out what comes before the first stream
    lock: contextlib.ExitStack | None = None  # as long as the relationship's lock on this host is held
    planned: float = field(default_factory=time.monotonic)  # when its first plan was made
    started: float = 0.0  # of the current attempts, by the monotonic clock
    freed: int = 0  # createtxg of the newest snapshot that has arrived and whose hold this run has released
    blocked: bool = False  # it waits for another run on this host
    compressed: bool = True  # whether blocks are sent as they are on the disk
    large_blocks: bool = True  # whether they may have more than 128 KiB
    unmarked: bool = False  # the source's pool has turned out to be read-only
    receiver: int | None = None  # the pid that the receiver of the last stream has told, if that stream has failed
    ahead: Ahead | None = None  # for the plans that follow the current one, if nothing comes in between

    @property
    def pair(self) -> Pair:
        return self.plan.pair if self.plan else self.report.plans[-1].pair

    @property
    def since(self) -> int:
        """The createtxg from which on snapshots of the source may have a hold of this run, or of one before it."""
        if self.freed:
            return self.freed
        carried = [txg(snap) for plan in self.report.plans for snap in plan.carries]
        return min([self.first.point.createtxg if self.first.point else 0, *carried])

    def unlock(self) -> None:
        if self.lock:
            self.lock.close()
        self.lock = None


class Again(CerssError):
    """The state has changed in the meantime: read it again and make a new plan."""
