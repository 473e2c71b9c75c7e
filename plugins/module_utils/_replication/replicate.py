# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zfs_snapshot_replicate: read both sides, plan, carry out the plan, read again and report."""

from __future__ import annotations

import contextlib
import os
import platform
import random
import shutil
import signal
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import model
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, CerssError, Refused, StaleToken
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import Announcement, SourceMark
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Snapshot, Value
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan, Step
from ansible_collections.cerss.zfs.plugins.module_utils._host import runfiles
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend, session
from ansible_collections.cerss.zfs.plugins.module_utils._host.values import read_properties
from ansible_collections.cerss.zfs.plugins.module_utils._host.waiting import wait_for
from ansible_collections.cerss.zfs.plugins.module_utils._replication import bookkeeping
from ansible_collections.cerss.zfs.plugins.module_utils._replication.options import Options
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import (
    SOURCE,
    Pair,
    PairOptions,
    PairPlan,
    Send,
    send_action,
)
from ansible_collections.cerss.zfs.plugins.module_utils._replication.planner import plan_pair
from ansible_collections.cerss.zfs.plugins.module_utils._replication.survey import Reader
from ansible_collections.cerss.zfs.plugins.module_utils._replication.transfer import (
    Asked,
    Meter,
    Stopped,
    Transport,
    run_pipe,
)
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import output, processes

LOOK = 0.2  # seconds between looks at the lease; a wait without a limit would also block signals
POLL = 2.0  # seconds between looks at a transfer that another run or host has started
LOGIN = 20.0  # seconds that a receiver on another host may start after its ssh here


@dataclass
class Outcome:
    """The result of one pair. ``sent`` and ``estimated`` are in bytes."""

    plan: PairPlan
    state: str = model.ABSENT
    sent: int = 0
    estimated: int | None = None
    seconds: float = 0.0
    resumed: bool = False
    began: float | None = None  # start of the last stream by the monotonic clock; None if there is none to look for
    initial: dict[str, str] = field(default_factory=dict)  # properties given with a first receive
    steps: list[dict[str, Any]] = field(default_factory=list)
    done: list[Step] = field(default_factory=list)
    error: CerssError | None = None

    def to_result(self, ran: bool) -> dict[str, Any]:
        plan, pair = self.plan, self.plan.pair
        return {
            "id": pair.id if pair.known_id or pair.pool_guid or pair.mark else None,
            "source": f"{pair.source.name}@{plan.goal.snapshot}" if plan.goal else pair.source.name,
            "target": pair.target_address,
            "guid": plan.goal.guid if plan.goal else None,
            "state": self.state,
            "base": plan.base,
            "bytes_sent": self.sent if ran else None,
            "bytes_estimated": self.estimated,
            "seconds": round(self.seconds, 1) if ran else None,
            "resumed": self.resumed,
            "origin_preserved": plan.origin_preserved,
            "steps": self.steps or [send.to_result() for send in plan.sends],
            "failed": self.error is not None,
            "msg": self.error.msg if self.error else "",
        }


def main(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The result of the module. Raises CerssError if nothing could be read; errors of pairs are in ``replicas``."""
    options = Options.from_params(params)
    _check_programs(options)
    with session(options.source, options.target) as backends, _stoppable(_Run(options, *backends)) as run:
        plans = run.reader.plan(options, assume_created=check_mode)
        if any(plan.sends and not plan.error for plan in plans):
            _check_far_programs(options, backends)
        outcomes = [Outcome(plan, error=plan.error, state=_state_now(plan)) for plan in plans]
        if not check_mode:
            run.carry_out(outcomes)
        return _report(outcomes, run.warnings, check_mode)


def _check_programs(options: Options) -> None:
    needed = [program for program, used in (
        ("pv", options.transport.bandwidth_limit is not None),
        (options.transport.compression, options.transport.compression != "none"),
        ("ssh", options.source.host is not None or options.target.host is not None),
    ) if used]  # fmt: skip
    for program in needed:
        if shutil.which(program, path=os.environ.get("PATH", "") + os.pathsep + "/usr/bin:/bin:/usr/local/bin") is None:
            raise _not_installed(program, platform.node())


def _check_far_programs(options: Options, backends: tuple[Backend, Backend]) -> None:
    program = options.transport.compression
    for backend in backends if program != "none" else ():
        if backend.endpoint.host and backend.run([program, "--version"], check=False).rc == 127:
            raise _not_installed(program, backend.node)


def _not_installed(program: str, where: str) -> BadInput:
    return BadInput(f"{program} is not installed on {where}; install it, or leave out the option that needs it")


def _state_now(plan: PairPlan) -> str:
    pair = plan.pair
    if pair.replica and plan.goal and plan.goal.guid and pair.replica.by_guid(plan.goal.guid):
        return model.FULL
    if pair.replica and (pair.replica.token or pair.replica.inconsistent):
        return model.INBOUND
    return model.ABSENT


def _report(outcomes: list[Outcome], warnings: list[str], check_mode: bool) -> dict[str, Any]:
    plan = Plan(warnings=warnings + [text for outcome in outcomes for text in outcome.plan.warnings])
    for outcome in outcomes:
        plan.steps += outcome.plan.steps if check_mode else outcome.done
    failed = [outcome for outcome in outcomes if outcome.error]
    result = {
        **plan.to_result(),
        "replicas": [outcome.to_result(not check_mode) for outcome in outcomes],
        "bytes_sent": None if check_mode else sum(outcome.sent for outcome in outcomes),
    }
    if failed:
        result["failed"] = True
        result["msg"] = "; ".join(outcome.error.msg for outcome in failed[:3] if outcome.error) + (
            f"; and {len(failed) - 3} more, see replicas" if len(failed) > 3 else ""
        )
        stderr = "\n".join(str(outcome.error.details.get("stderr", "")) for outcome in failed if outcome.error).strip()
        if stderr:
            result["stderr"] = stderr
    return result


@contextlib.contextmanager
def _stoppable(run: _Run) -> Iterator[_Run]:
    """Let SIGTERM, SIGINT and SIGHUP stop the transfers so that they can be resumed."""
    ends = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    former = {number: signal.signal(number, lambda *_: run.stop.set()) for number in ends}
    try:
        yield run
    finally:
        run.lease.remove()
        for number, handler in former.items():
            signal.signal(number, handler)


class _Run:
    """One run."""

    def __init__(self, options: Options, source: Backend, target: Backend) -> None:
        self.options, self.source, self.target = options, source, target
        self.reader = Reader(source, target)
        self.stop = threading.Event()
        self.warnings: list[str] = []
        self.deadline = time.monotonic() + options.timeout if options.timeout else None
        self.lease = runfiles.Lease()
        self._parents, self._making = set[str](), threading.Lock()

    def carry_out(self, outcomes: list[Outcome]) -> None:
        """Run the pairs in parallel, each after those it depends on. A failed pair stops only those that need it."""
        futures: dict[str, Future[None]] = {}
        self._look_at_lease()  # reading both sides may have taken longer than the lease
        with ThreadPoolExecutor(self.options.parallel, thread_name_prefix="pair") as pool:
            for outcome in outcomes:
                if outcome.error or not outcome.plan.steps:
                    continue
                needs = [(other, futures[name]) for name, other in _needs(outcome.plan, outcomes) if name in futures]
                futures[outcome.plan.pair.replica_name] = pool.submit(self._run_pair, outcome, needs)
            for future in futures.values():
                wait_for(self._look_at_lease, lambda _: future.done(), LOOK)  # noqa: B023

    def _look_at_lease(self) -> None:
        """Stop if the task was cancelled or its controller is gone."""
        why = "" if self.stop.is_set() else self.lease.lost()
        if why:
            self.warnings.append(f"{why}, so the transfer was stopped; the next run resumes it")
            self.stop.set()

    def _run_pair(self, outcome: Outcome, needs: list[tuple[Outcome, Future[None]]]) -> None:
        for _other, future in needs:
            future.exception()
        began = time.monotonic()
        address = outcome.plan.pair.target_address
        try:
            for other, _future in needs:
                if other.error and (other.plan.pair.replica is None or other.plan.pair.aside):
                    raise Refused(
                        f"{address} was not started because {other.plan.pair.target_address} failed; fix that first"
                    )
            self._with_lock(outcome)
        except CerssError as error:
            outcome.error = error
        except Exception as error:  # pylint: disable=broad-exception-caught  # becomes the pair's error
            stderr = "" if isinstance(error, OSError) else traceback.format_exc()
            outcome.error = CerssError(f"{address}: {type(error).__name__}: {error}", stderr=stderr)
        outcome.seconds = time.monotonic() - began

    def _with_lock(self, outcome: Outcome) -> None:
        """Replicate the pair when no other run on this host replicates to the same address."""
        address = outcome.plan.pair.target_address
        what = f"another run on this host is replicating to {address}"
        waited = False
        while True:
            with runfiles.lock(address) as locked:
                if locked:
                    return self._with_retries(outcome, None if waited else outcome.plan)
            if self.options.on_active == "fail":
                raise Refused(f"{what}; wait until it has finished, or set on_active=wait")
            waited = True
            self._pause(POLL, what)

    def _pause(self, seconds: float, what: str) -> None:
        """Wait for another transfer. Raises Refused after ``timeout``, and Stopped."""
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise Refused(f"{what} and did not end within timeout")
        if self.stop.wait(seconds):
            raise Stopped("the run was stopped while it waited for another transfer")

    def _with_retries(self, outcome: Outcome, plan: PairPlan | None) -> None:
        """Attempt the pair until it is done, each time with a new plan. ``plan``: the first one, None if outdated."""
        attempt, reached, options = 0, _reached(outcome.plan.pair), self.options.pair
        while True:
            try:
                if plan is None:
                    plan = self._plan_anew(outcome, options)
                    if _reached(plan.pair) != reached:
                        attempt, reached = 0, _reached(plan.pair)
                if self._attempt(outcome, plan):
                    return
            except _Again:
                pass
            except CerssError as error:
                if isinstance(error, StaleToken) and options.resume:
                    options = replace(options, resume=False)
                else:
                    attempt += 1
                    if not error.transient or attempt > self.options.retries or self.stop.is_set():
                        raise self._with_progress(outcome, error) from error
                    # Jitter keeps many pairs from trying again at the same moment.
                    self.stop.wait(min(60.0, 2.0**attempt) * random.uniform(0.5, 1.0))
            plan = None

    def _plan_anew(self, outcome: Outcome, options: PairOptions) -> PairPlan:
        self._end_orphan(outcome)
        pair = self.reader.observe(outcome.plan.pair)
        plan = plan_pair(pair, options, self.reader.arriving([pair]))
        outcome.plan.pair = pair
        if plan.error:
            raise plan.error
        return plan

    def _end_orphan(self, outcome: Outcome) -> None:
        """Kill our own receiver if its connection was lost; it might wait for hours.

        A receiver that started together with our stream is ours, because ZFS allows only one per dataset.
        """
        if outcome.began is None or self.target.endpoint.host is None:
            return
        since, outcome.began = time.monotonic() - outcome.began, None
        receiver = self._receiver(outcome.plan.pair)
        if receiver and since - LOGIN < receiver.seconds < since + 2:
            sudo = ["sudo", "-n"] if self.target.endpoint.become else []
            self.target.run([*sudo, "kill", str(receiver.pid)], check=False)

    def _with_progress(self, outcome: Outcome, error: CerssError) -> CerssError:
        """The error with the bytes that have arrived, which tells that the next run resumes."""
        with contextlib.suppress(CerssError):
            pair = outcome.plan.pair = self.reader.observe(outcome.plan.pair)
            outcome.state = _state_now(outcome.plan)
            if pair.replica and pair.replica.token and not isinstance(error, (Stopped, Refused)):
                token = pair.replica.token
                error.msg += f"; {token.bytes} bytes of {token.toname} have arrived and the next run resumes there"
        return error

    def _attempt(self, outcome: Outcome, plan: PairPlan) -> bool:
        """Carry out the plan. True if the goal has arrived and all marks are settled, False if more must be planned."""
        pair = plan.pair
        if self.stop.is_set():
            raise Stopped("the run was stopped before it reached this dataset; the next run continues here")
        if plan.sends:
            self._wait_for_others(plan)
            self._make_parents(pair)
            for action in plan.prepare:
                self._do(action, outcome)
            for action in bookkeeping.protect(pair, plan):
                self._do(action, None)
            self._send(outcome, plan)
            if plan.sends[0].kind == "resume" and len(plan.sends) > 1:
                return False  # a token resumes one snapshot; the rest needs a new plan
            pair = self.reader.observe(pair)
            if not (pair.replica and plan.goal and pair.replica.by_guid(plan.goal.guid)):
                goal = plan.goal.name if plan.goal else "the snapshot"
                raise CerssError(
                    f"{pair.target_address} does not hold {goal} although zfs send and zfs receive reported no error; "
                    "please report this as a bug"
                )
            self._check_properties(pair, outcome)
            outcome.plan.pair = pair
            for action in bookkeeping.settle(pair):
                self._do(action, None)
            outcome.done += plan.marks
        else:
            for action in plan.marks:
                self._do(action, outcome)
        outcome.state = model.FULL
        return True

    def _make_parents(self, pair: Pair) -> None:
        """Create missing datasets above the replica once, although several pairs may need them."""
        with self._making:
            for name in pair.missing_parents:
                if name not in self._parents:
                    self.target.run(zfs.create(name, {"canmount": "off"}))
                    self._parents.add(name)

    def _do(self, action: Step, outcome: Outcome | None) -> None:
        backend = self.source if action.side == SOURCE else self.target
        for command in action.commands:
            backend.run(command)
        if outcome is not None:
            outcome.done.append(action)

    def _wait_for_others(self, plan: PairPlan) -> None:
        """Refuse, or wait and raise `_Again`, if another receive into the replica is running (``on_active``).

        The process list tells a running receive from an interrupted one.
        """
        pair = plan.pair
        arriving = pair.replica and (pair.replica.token or pair.replica.inconsistent)
        # A receive without -s into an existing dataset shows in no property, and a rename would break it.
        if not arriving and not plan.prepare:
            return
        found = self._receivers()
        receiver = processes.receiver_into(found, pair.replica_name)
        if receiver is None:
            # A rename would break these too.
            if pair.aside and any(processes.receiver_below(found, name) for name in (pair.replica_name, pair.aside)):
                raise Refused(
                    f"a dataset below {pair.target_address} is currently receiving; wait until it has finished"
                )
            return
        token = pair.replica.token if pair.replica else None
        what = f"{pair.target_address} is currently receiving {token.toname if token else 'a stream'}"
        requested = (
            token is not None
            and plan.goal is not None
            and any(snap.guid == token.toguid for send in plan.sends for snap in send.carries)
        )
        if self.options.on_active == "fail" or (self.options.on_active == "attach" and not requested):
            raise Refused(f"{what}; wait until it has finished, or set on_active=wait")
        patience = self.options.transport.stall_timeout
        seen, since = self._token_text(pair), time.monotonic()
        while self._receiver(pair) is not None:
            self._pause(POLL, what)
            if patience and time.monotonic() - since > patience:
                former, seen, since = seen, self._token_text(pair), time.monotonic()
                if former == seen:
                    raise Refused(
                        f"{what}, but no byte has arrived for {patience:g} s (stall_timeout); if its sender is gone, "
                        f"end it on {self.target.node} with: kill {receiver.pid}"
                    )
        raise _Again(f"{what}, which has ended")

    def _token_text(self, pair: Pair) -> list[str]:
        """The resume token as text. It changes with each transaction group in which data arrives."""
        return self.target.read(zfs.get([pair.replica_name], ["receive_resume_token"]))[0]

    def _receiver(self, pair: Pair) -> processes.Receiver | None:
        return processes.receiver_into(self._receivers(), pair.replica_name)

    def _receivers(self) -> list[processes.Receiver]:
        return processes.receiving(self.target.run(zfs.receivers()).stdout.splitlines())[0]

    def _send(self, outcome: Outcome, plan: PairPlan) -> None:
        pair = plan.pair
        sizes: list[tuple[Snapshot, int | None]] = []
        totals: list[int | None] = []
        for send in plan.sends:
            each, total = self._estimate(send)
            sizes += each
            totals.append(total)
        outcome.estimated = sum(total or 0 for total in totals)
        if pair.free_bytes is not None and outcome.estimated > pair.free_bytes:
            self.warnings.append(
                f"{pair.target_address} may need {outcome.estimated} bytes, but only {pair.free_bytes} are free there"
            )
        announcement = bookkeeping.announcement(sizes).format()
        first = pair.replica is None or not pair.replica.snapshots
        if pair.replica is not None and plan.sends[0].kind != "resume":
            self.target.run(zfs.set_({Announcement.NAME: announcement}, [pair.replica_name]))
        if first:
            outcome.initial = bookkeeping.first_receive_properties(pair, self.options.pair, plan.raw)
        for send, total in zip(plan.sends, totals):
            properties = {}
            if first and send is plan.sends[0] and send.kind != "resume":
                properties = {**outcome.initial, Announcement.NAME: announcement}
            self._stream(outcome, plan, send, total, properties)
            if send.kind == "resume":
                return

    def _estimate(self, send: Send) -> tuple[list[tuple[Snapshot, int | None]], int | None]:
        """(each snapshot with its bytes, bytes of the stream) as zfs send estimates them; None if it does not say."""
        command = (
            zfs.send_resume(send.token.text, estimate=True)
            if send.token
            else zfs.send(send.snapshot.name, send.base, send.intermediates, send.raw, estimate=True)
        )
        lines = self.source.run(command).stdout.splitlines()
        by_name = dict(found for found in map(output.announced, lines) if found)
        sizes = [(snap, by_name.get(snap.name, by_name.get(snap.snapshot))) for snap in send.carries]
        return sizes, output.estimate("\n".join(lines))

    def _stream(
        self, outcome: Outcome, plan: PairPlan, send: Send, total: int | None, properties: dict[str, str]
    ) -> None:  # fmt: skip
        pair = plan.pair
        command = (
            zfs.send_resume(send.token.text)
            if send.token
            else zfs.send(send.snapshot.name, send.base, send.intermediates, send.raw)
        )
        meter = Meter(total=total)
        transport = Transport(
            self.options.transport.compression, self.options.transport.bandwidth_limit,
            self.options.transport.stall_timeout, self.deadline,
        )  # fmt: skip
        written = 0.0
        runfile = runfiles.RunFile()

        def tick() -> None:
            nonlocal written
            now = time.time()
            if now - written >= 1:
                written = now
                runfile.write({
                    "operation": "send", "id": pair.id, "snapshot": send.snapshot.name, "guid": send.snapshot.guid,
                    "source": pair.source_address, "target": pair.target_address, "bytes_done": meter.done,
                    "bytes_total": meter.total,
                    "bytes_per_second": meter.rate, "started": meter.started, "updated": now,
                })  # fmt: skip

        outcome.began = time.monotonic()
        try:
            run_pipe(
                self.source, self.target, command, zfs.receive(pair.replica_name, properties, send.origin), transport,
                meter, self.stop, tick, Asked.of(pair, send),
            )  # fmt: skip
            # zfs send reports once a second, so its estimate covers the last part of a second.
            meter.done = max(meter.done, total or 0)
            outcome.done.append(send_action(pair, send))
        finally:
            runfile.remove()
            outcome.sent += meter.done
            outcome.resumed |= send.kind == "resume"
            outcome.steps.append({**send.to_result(), "bytes_sent": meter.done, "bytes_estimated": total})

    def _check_properties(self, pair: Pair, outcome: Outcome) -> None:
        """Find properties that zfs receive silently dropped for lack of a permission."""
        if pair.replica is not None and not pair.mark:
            raise Refused(
                f"{pair.target_address} has arrived, but its property {SourceMark.NAME} could not be set, so later "
                "runs cannot continue it; delegate the permission userprop to its user (see the role zfs_backend)"
            )
        if outcome.initial:
            found = read_properties(self.target, [pair.replica_name], list(outcome.initial)).values
            values = found.get(pair.replica_name, {})
            lost = {name for name, text in outcome.initial.items() if not _took(name, text, values.get(name))}
            if lost:
                names = ", ".join(sorted(lost))
                self.warnings.append(
                    f"{pair.target_address} has arrived without {names}, which its user has no permission to "
                    "set; delegate the permission (see the role zfs_backend), then set the properties there"
                )


def _took(name: str, requested: str, value: Value | None) -> bool:
    """Whether a property of a first receive is set. Some may also be inherited, as below what zfs_backend made."""
    inherited = name in bookkeeping.PULLED_DEFAULTS and value is not None and value.text == requested
    return inherited or bool(value and value.local)


class _Again(CerssError):
    """The state has changed in the meantime: read it again and make a new plan."""


def _reached(pair: Pair) -> tuple[Any, ...]:
    """A value that changes when anything arrives."""
    replica = pair.replica
    token = replica.token if replica else None
    return (len(replica.snapshots) if replica else None, token and (token.toguid, token.bytes))


def _needs(plan: PairPlan, outcomes: list[Outcome]) -> list[tuple[str, Outcome]]:
    """(replica name, outcome) of each pair this one depends on: the replicas above it and that of its origin."""
    above = {str(parent) for parent in DatasetName(plan.pair.replica_name).ancestors()}
    origins = {send.origin.partition("@")[0] for send in plan.sends if send.origin}
    by_name = [(outcome.plan.pair.replica_name, outcome) for outcome in outcomes]
    return [(name, outcome) for name, outcome in by_name if name in above | origins]
