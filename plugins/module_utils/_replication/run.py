# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run: pairs side by side, each after those it depends on, and their marks in waves.

A wave ends after `WAVE_SECONDS` or `WAVE` pairs, so that a short stream does not wait for the end of a long one.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError, Exists
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Step
from ansible_collections.cerss.zfs.plugins.module_utils._host.waiting import wait_for
from ansible_collections.cerss.zfs.plugins.module_utils._replication import attempt, receivers, together, wave
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import PairPlan, not_started
from ansible_collections.cerss.zfs.plugins.module_utils._replication.planner import Planned
from ansible_collections.cerss.zfs.plugins.module_utils._replication.report import PairReport
from ansible_collections.cerss.zfs.plugins.module_utils._replication.work import Task, Work

LOOK = 0.2  # seconds between looks at whether the run is wanted; a wait without a limit would also block signals
WAVE, WAVE_SECONDS = 100, 30.0  # pairs, and seconds since the first of them has arrived


class Run:
    """Carries out the plans of all pairs. ``parents``: steps that were done, for the result."""

    def __init__(self, work: Work, planned: Planned, reports: Sequence[PairReport]) -> None:
        self.work, self.planned = work, planned
        self.parents: list[Step] = []
        transport = work.options.transport
        compressed, large = (each != "false" for each in (transport.compressed, transport.large_blocks))
        self.tasks = [
            Task(plan, report, plan.pair, work.options.pair, compressed=compressed, large_blocks=large)
            for plan, report in zip(planned.plans, reports)
            if not plan.error and (plan.sends or plan.prepare or plan.finish)
        ]
        self._needs = dict(_needs(self.tasks))
        self._waiting = list(self.tasks)
        self._running: dict[Future[None], Task] = {}
        self._arrived: list[Task] = []
        self._since = 0.0  # when the first of these arrived
        self._ended: set[Task] = set()
        self._wake = threading.Event()

    def carry_out(self) -> None:
        """Run everything. A pair that fails stops only those that need it."""
        self._make_parents()
        self._count()
        try:
            with ThreadPoolExecutor(self.work.options.parallel, thread_name_prefix="pair") as pool:
                self._until_all_is_done(pool)
        finally:
            for task in self.tasks:
                task.unlock()

    def _until_all_is_done(self, pool: ThreadPoolExecutor) -> None:
        try:
            wait_for(lambda: self._turn(pool), bool, 0)
        except BaseException:
            self.work.wanted.stop.set()  # otherwise the pool would carry out all that it has been given
            raise

    def _turn(self, pool: ThreadPoolExecutor) -> bool:
        """Collect what has arrived, start what can start, and end a wave that is due. True when all is done."""
        self._wake.clear()
        for future in [future for future in self._running if future.done()]:
            self._collect(self._running.pop(future), future)
        self._start(pool)
        if self._arrived and (self._wave_is_due() or not self._running):
            tasks, self._arrived = self._arrived, []
            self._commit(tasks)
        elif self._running:
            self._wake.wait(LOOK)
        self._count()
        return not (self._waiting or self._running or self._arrived)

    def _count(self) -> None:
        self.work.left = len(self._waiting) + len(self._running) + len(self._arrived)

    def _make_parents(self) -> None:
        """Create the datasets above replicas, once for all pairs below them."""
        for name, step in self.planned.parents.items():
            try:
                self.work.go_on(f"{name} was created")
                for command in step.commands:
                    self.work.target.run(command)
                self.parents.append(step)
            except Exists:  # noqa: PERF203
                continue  # another run has made it
            except CerssError as error:
                below = [task for task in self._waiting if task.plan and name in task.plan.parents]
                for task in below:
                    self._waiting.remove(task)
                    self._fail(task, error)

    def _protect(self) -> None:
        """Make what the next pairs need before their streams, together where that is possible."""
        tasks = [task for task in self._waiting if not task.asked][:WAVE]
        parts = [together.Part(task, task.plan.pair, task.plan.protect)
                 for task in tasks if task.plan and not receivers.may_meet(task.plan)]  # fmt: skip
        done, changed = together.carry_out(self.work, parts)
        for part in (*done, *changed):
            part.task.plan = replace(part.task.plan, protect=()) if part.task.plan and part in done else None
        for task in tasks:
            task.asked = True

    def _start(self, pool: ThreadPoolExecutor) -> None:
        if self.work.wanted.fault():
            self._start_nothing()
        before, here = len(self._waiting), {*self._arrived}
        for task in list(self._waiting):
            needs = self._needs.get(id(task), ())
            failed = next((other for other, _moved in needs if other.report.error), None)
            if failed:
                self._waiting.remove(task)
                error = not_started(task.pair, failed.pair.target_address)
                self._fail(task, error)  # marks that it has got stay: another run may count on them
            elif all(other in self._ended or (other in here and not moved) for other, moved in needs):
                if not task.asked:
                    self._protect()
                self._waiting.remove(task)
                future = pool.submit(attempt.carry_out, self.work, task)
                future.add_done_callback(lambda _: self._wake.set())
                self._running[future] = task
                task.started = time.monotonic()
        if self._waiting and len(self._waiting) == before and not (self._running or self._arrived):
            task = self._waiting.pop()  # instead of waiting for ever
            self._fail(task, CerssError(
                f"{task.pair.target_address} was not started because it and others wait for each other; please report "
                "this as a bug"
            ))  # fmt: skip

    def _start_nothing(self) -> None:
        """The run has to end."""
        for task in self._waiting:
            when = f"before {task.pair.target_address} was reached; the next run continues there"
            self._fail(task, self.work.wanted.fault(when) or CerssError(when))
        self._waiting = []

    def _collect(self, task: Task, future: Future[None]) -> None:
        task.report.seconds += time.monotonic() - task.started
        error = future.exception()
        if error is None:
            self._since = self._since if self._arrived else time.monotonic()
            self._arrived.append(task)
            return
        try:
            told = attempt.give_up(self.work, task, _told(task, error))
        except Exception as another:  # pylint: disable=broad-except
            told = _told(task, another)
        self._fail(task, told)

    def _fail(self, task: Task, error: CerssError) -> None:
        task.report.error = error
        task.unlock()

    def _wave_is_due(self) -> bool:
        if any(task.blocked for task in self._running.values()):
            return True  # the other run may wait for a pair that has arrived here
        return len(self._arrived) >= WAVE or time.monotonic() - self._since >= WAVE_SECONDS

    def _commit(self, tasks: Sequence[Task]) -> None:
        began, plans = time.monotonic(), [task.plan for task in tasks]
        try:
            wave.commit(self.work, tasks)
        except Exception as error:  # pylint: disable=broad-except
            for task in tasks:
                task.report.error = task.report.error or _told(task, error)
        for task, plan in zip(tasks, plans):
            task.report.seconds += time.monotonic() - began
            task.unlock()  # also if there is more to send: who waits for a worker keeps no lock from others
            if task.plan is not plan and not task.report.error:
                self._waiting.append(task)
            else:
                self._ended.add(task)


def _told(task: Task, error: BaseException) -> CerssError:
    """The error of a pair. What nobody expects stops no other pair, and no other target."""
    if isinstance(error, CerssError):
        return error
    lines = [] if isinstance(error, OSError) else traceback.format_exception(None, error, error.__traceback__)
    return CerssError(f"{task.pair.target_address}: {type(error).__name__}: {error}", stderr="".join(lines))


def _needs(tasks: Sequence[Task]) -> Iterator[tuple[int, list[tuple[Task, bool]]]]:
    """(task, (those it depends on, whether their marks must have been moved)).

    These are the replicas above one, as far as they do not exist yet or are replaced, and that of its origin.
    """
    plans = {task.pair.replica_name: (task, task.plan) for task in tasks if task.plan}
    for task in tasks:
        above = [str(name) for name in DatasetName(task.pair.replica_name).ancestors()]
        origins = [send.origin.partition("@")[0] for send in task.plan.sends if send.origin] if task.plan else []
        yield id(task), [(plans[name][0], plans[name][1].reseeds) for name in dict.fromkeys([*above, *origins])
                         if name in plans and name != task.pair.replica_name and _is_made(plans, name)]  # fmt: skip


def _is_made(plans: Mapping[str, tuple[Task, PairPlan]], name: str) -> bool:
    plan = plans[name][1]
    return plan.pair.replica is None or plan.reseeds or plan.pair.is_first_receive
