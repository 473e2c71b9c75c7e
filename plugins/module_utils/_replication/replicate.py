# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The verb of zfs_snapshot_replicate: read both sides, plan, carry out, read again, report."""

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
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan, Step
from ansible_collections.cerss.zfs.plugins.module_utils._host import runfiles
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend, session
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
from ansible_collections.cerss.zfs.plugins.module_utils._replication.transfer import Meter, Stopped, Transport, run_pipe
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import output, processes

LOOK = 0.2  # seconds between looks at the lease and at signals, which a plain wait would keep away
POLL = 2.0  # seconds between looks at a transfer that somebody else runs
LOGIN = 20.0  # seconds that a receiver on the far side may begin after its ssh here


@dataclass
class Outcome:
    """What became of one pair, for the result."""

    plan: PairPlan
    state: str = model.ABSENT
    sent: int = 0
    estimated: int | None = None
    seconds: float = 0.0
    resumed: bool = False
    began: float | None = None  # when the last stream was started, by the monotonic clock
    born: dict[str, str] = field(default_factory=dict)  # properties that a first receive gives
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
    """The result of the module; `CerssError` only when nothing at all could be looked at."""
    options = Options.from_params(params)
    _check_programs(options)
    with session(options.source, options.target) as backends, _stoppable(_Run(options, *backends)) as run:
        plans = run.reader.plan(options, making=check_mode)
        if any(plan.sends and not plan.error for plan in plans):
            _check_far_programs(options, backends)
        outcomes = [Outcome(plan, error=plan.error, state=_state_now(plan)) for plan in plans]
        if not check_mode:
            run.carry_out(outcomes)
        return _report(outcomes, run.warnings, check_mode)


def _check_programs(options: Options) -> None:
    wanted = [program for program, used in (
        ("pv", options.transport.bandwidth_limit is not None),
        (options.transport.compression, options.transport.compression != "none"
         and (options.source.host is None or options.target.host is None)),
        ("ssh", options.source.host is not None or options.target.host is not None),
    ) if used]  # fmt: skip
    for program in wanted:
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
    """A signal to end lets the transfers stop in a state that can be resumed."""
    ends = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    former = {number: signal.signal(number, lambda *_: run.stop.set()) for number in ends}
    try:
        yield run
    finally:
        run.lease.remove()
        for number, handler in former.items():
            signal.signal(number, handler)


class _Run:
    """One run of the verb."""

    def __init__(self, options: Options, source: Backend, target: Backend) -> None:
        self.options, self.source, self.target = options, source, target
        self.reader = Reader(source, target)
        self.stop = threading.Event()
        self.warnings: list[str] = []
        self.deadline = time.monotonic() + options.timeout if options.timeout else None
        self.lease = runfiles.Lease()
        self._parents, self._making = set[str](), threading.Lock()

    def carry_out(self, outcomes: list[Outcome]) -> None:
        """Run the pairs side by side, each after the ones that it builds upon; one that fails stops only those."""
        futures: dict[str, Future[None]] = {}
        self._look_at_lease()  # reading both sides may have taken long
        with ThreadPoolExecutor(self.options.parallel, thread_name_prefix="pair") as pool:
            for outcome in outcomes:
                if outcome.error or not outcome.plan.steps:
                    continue
                needs = [(other, futures[place]) for place, other in _needs(outcome.plan, outcomes) if place in futures]
                futures[outcome.plan.pair.replica_name] = pool.submit(self._one, outcome, needs)
            for future in futures.values():
                wait_for(self._look_at_lease, lambda _: future.done(), LOOK)  # noqa: B023

    def _look_at_lease(self) -> None:
        """Stop when the controller that asked for this does not want it any more, or is gone."""
        why = "" if self.stop.is_set() else self.lease.lost()
        if why:
            self.warnings.append(f"{why}, so the transfer was stopped; the next run resumes it")
            self.stop.set()

    def _one(self, outcome: Outcome, needs: list[tuple[Outcome, Future[None]]]) -> None:
        for _other, future in needs:
            future.exception()
        began = time.monotonic()
        words = outcome.plan.pair.target_address
        try:
            for other, _future in needs:
                if other.error and (other.plan.pair.replica is None or other.plan.pair.aside):
                    raise Refused(f"{words} was not begun, since {other.plan.pair.target_address} failed")
            self._alone(outcome)
        except CerssError as error:
            outcome.error = error
        except Exception as error:  # pylint: disable=broad-exception-caught  # it must not hide, nor hide the others
            stderr = "" if isinstance(error, OSError) else traceback.format_exc()
            outcome.error = CerssError(f"{words}: {type(error).__name__}: {error}", stderr=stderr)
        outcome.seconds = time.monotonic() - began

    def _alone(self, outcome: Outcome) -> None:
        """One run of this host at a time goes into a replica."""
        words = outcome.plan.pair.target_address
        what = f"another run on this host replicates into {words} just now"
        waited = False
        while True:
            with runfiles.lock(words) as alone:
                if alone:
                    return self._with_retries(outcome, None if waited else outcome.plan)
            if self.options.on_active == "fail":
                raise Refused(f"{what}; wait for its end, or set on_active=wait")
            waited = True
            self._pause(POLL, what)

    def _pause(self, seconds: float, what: str) -> None:
        """Wait for a while for what others do, but not beyond the end of this run."""
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise Refused(f"{what} and did not end within timeout")
        if self.stop.wait(seconds):
            raise Stopped("the run was told to stop while it waited for another transfer")

    def _with_retries(self, outcome: Outcome, plan: PairPlan | None) -> None:
        """``plan`` None: what was seen is not true any more."""
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
                        raise self._where_it_stands(outcome, error) from error
                    # Jitter keeps many volumes from coming back at the same moment.
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
        """A receiver whose connection is lost may wait for hours for what never comes.

        The one that began with our stream is ours, since ZFS lets no two into one replica.
        """
        if outcome.began is None or self.target.endpoint.host is None:
            return
        since, outcome.began = time.monotonic() - outcome.began, None
        receiver = self._receiver(outcome.plan.pair)
        if receiver and since - LOGIN < receiver.seconds < since + 2:
            sudo = ["sudo", "-n"] if self.target.endpoint.become else []
            self.target.run([*sudo, "kill", str(receiver.pid)], check=False)

    def _where_it_stands(self, outcome: Outcome, error: CerssError) -> CerssError:
        """Tell what is there now: a reader must know whether the next run resumes."""
        with contextlib.suppress(CerssError):
            pair = outcome.plan.pair = self.reader.observe(outcome.plan.pair)
            outcome.state = _state_now(outcome.plan)
            if pair.replica and pair.replica.token and not isinstance(error, (Stopped, Refused)):
                token = pair.replica.token
                error.msg += f"; {token.bytes} bytes of {token.toname} have arrived and the next run resumes there"
        return error

    def _attempt(self, outcome: Outcome, plan: PairPlan) -> bool:
        """Carry the plan out as far as one reading allows. True when the goal is there and every mark is settled."""
        pair = plan.pair
        if self.stop.is_set():
            raise Stopped("the run was told to stop before it came to this volume; the next run goes on here")
        if plan.sends:
            self._wait_for_others(plan)
            self._make_parents(pair)
            for action in plan.prepare:
                self._do(action, outcome)
            for action in bookkeeping.protect(pair, plan):
                self._do(action, None)
            self._send(outcome, plan)
            if plan.sends[0].kind == "resume" and len(plan.sends) > 1:
                return False  # the token carried one snapshot; what follows is planned from what is there
            pair = self.reader.observe(pair)
            if not (pair.replica and plan.goal and pair.replica.by_guid(plan.goal.guid)):
                wanted = plan.goal.name if plan.goal else "the snapshot"
                raise CerssError(f"{pair.target_address} does not hold {wanted} although no program complained")
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
        """Pairs that run side by side may need the same; the plan of one of them lists it."""
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
        """A receive that somebody runs into the replica is told from a left-over one by looking at the processes."""
        pair = plan.pair
        arriving = pair.replica and (pair.replica.token or pair.replica.inconsistent)
        # A receive without -s into a replica that is there shows nothing, and a rename would break it.
        if not arriving and not plan.prepare:
            return
        found = self._receivers()
        receiver = processes.receiver_into(found, pair.replica_name)
        if receiver is None:
            # A rename would break these too.
            if pair.aside and any(processes.receiver_below(found, name) for name in (pair.replica_name, pair.aside)):
                raise Refused(f"something below {pair.target_address} is receiving just now; wait for its end")
            return
        token = pair.replica.token if pair.replica else None
        what = f"{pair.target_address} is receiving {token.toname if token else 'a stream'} just now"
        wanted = (
            token is not None
            and plan.goal is not None
            and any(snap.guid == token.toguid for send in plan.sends for snap in send.carries)
        )
        if self.options.on_active == "fail" or (self.options.on_active == "attach" and not wanted):
            raise Refused(f"{what}; wait for its end, or set on_active=wait")
        patience = self.options.transport.stall_timeout
        seen, since = self._token_text(pair), time.monotonic()
        while self._receiver(pair) is not None:
            self._pause(POLL, what)
            if patience and time.monotonic() - since > patience:
                former, seen, since = seen, self._token_text(pair), time.monotonic()
                if former == seen:
                    raise Refused(
                        f"{what}, but no byte has arrived for {patience:g} s (stall_timeout); when its sender is gone, "
                        f"end it on {self.target.node}: kill {receiver.pid}"
                    )
        raise _Again(f"{what}, which has ended")

    def _token_text(self, pair: Pair) -> list[str]:
        """Changes with each transaction group that brings something."""
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
                f"{pair.target_address} may take {outcome.estimated} bytes, but only {pair.free_bytes} are free there"
            )
        announcement = bookkeeping.announcement(sizes).format()
        first = pair.replica is None or not pair.replica.snapshots
        if pair.replica is not None and plan.sends[0].kind != "resume":
            self.target.run(zfs.set_({Announcement.NAME: announcement}, [pair.replica_name]))
        if first:
            outcome.born = bookkeeping.first_receive_properties(pair, self.options.pair, plan.raw)
        for send, total in zip(plan.sends, totals):
            born = {}
            if first and send is plan.sends[0] and send.kind != "resume":
                born = {**outcome.born, Announcement.NAME: announcement}
            self._stream(outcome, plan, send, total, born)
            if send.kind == "resume":
                return

    def _estimate(self, send: Send) -> tuple[list[tuple[Snapshot, int | None]], int | None]:
        """(each snapshot with its bytes, all bytes) that zfs expects of a stream."""
        command = (
            zfs.send_resume(send.token.text, estimate=True)
            if send.token
            else zfs.send(send.snapshot.name, send.base, send.intermediates, send.raw, estimate=True)
        )
        lines = self.source.run(command).stdout.splitlines()
        by_name = dict(found for found in map(output.announced, lines) if found)
        sizes = [(snap, by_name.get(snap.name, by_name.get(snap.snapshot))) for snap in send.carries]
        return sizes, output.estimate("\n".join(lines))

    def _stream(self, outcome: Outcome, plan: PairPlan, send: Send, total: int | None, born: dict[str, str]) -> None:
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
                self.source, self.target, command, zfs.receive(pair.replica_name, born, send.origin), transport, meter,
                self.stop, tick,
            )  # fmt: skip
            # zfs reports once a second, so what ended within the last one is known from its estimate only.
            meter.done = max(meter.done, total or 0)
            outcome.done.append(send_action(pair, send))
        finally:
            runfile.remove()
            outcome.sent += meter.done
            outcome.resumed |= send.kind == "resume"
            outcome.steps.append({**send.to_result(), "bytes_sent": meter.done, "bytes_estimated": total})

    def _check_properties(self, pair: Pair, outcome: Outcome) -> None:
        """A missing permission loses a property while zfs says that all is well."""
        if pair.replica is not None and not pair.mark:
            raise Refused(
                f"{pair.target_address} has arrived, but its mark {SourceMark.NAME} could not be set, so it cannot be "
                "continued; give the user the permission userprop there (see the role zfs_backend)"
            )
        if outcome.born:
            lines, _gone = self.target.read(zfs.get([pair.replica_name], list(outcome.born), local=True))
            lost = sorted({*outcome.born} - {name for _dataset, name, *_rest in output.records(lines)})
            if lost:
                self.warnings.append(
                    f"{pair.target_address} has arrived without {', '.join(lost)}, which its user has no permission to "
                    "set; delegate that (see the role zfs_backend), and set them there"
                )


class _Again(CerssError):
    """What was seen has changed by itself: look again and plan anew."""


def _reached(pair: Pair) -> tuple[Any, ...]:
    """Changes with whatever has arrived."""
    replica = pair.replica
    token = replica.token if replica else None
    return (len(replica.snapshots) if replica else None, token and (token.toguid, token.bytes))


def _needs(plan: PairPlan, outcomes: list[Outcome]) -> list[tuple[str, Outcome]]:
    """What must be there first, by its place: the replica above, and the one that holds the clone's origin."""
    place = DatasetName(plan.pair.replica_name)
    above = {str(parent) for parent in place.ancestors()}
    origins = {send.origin.partition("@")[0] for send in plan.sends if send.origin}
    places = [(outcome.plan.pair.replica_name, outcome) for outcome in outcomes]
    return [(place, outcome) for place, outcome in places if place in above | origins]
