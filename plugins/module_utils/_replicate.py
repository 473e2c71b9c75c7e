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
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils import _marks, _model, _parse, _runfile, _zfs
from ansible_collections.cerss.zfs.plugins.module_utils._backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._errors import BadInput, CerssError, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._model import Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._names import DatasetName
from ansible_collections.cerss.zfs.plugins.module_utils._pair import SOURCE, Pair, PairPlan, Send, send_action
from ansible_collections.cerss.zfs.plugins.module_utils._plan import Action, Plan
from ansible_collections.cerss.zfs.plugins.module_utils._replicate_options import Request
from ansible_collections.cerss.zfs.plugins.module_utils._replicate_read import Reader
from ansible_collections.cerss.zfs.plugins.module_utils._replication import plan_pair
from ansible_collections.cerss.zfs.plugins.module_utils._session import session
from ansible_collections.cerss.zfs.plugins.module_utils._transfer import Meter, Stopped, Transport, transfer

POLL = 2.0  # seconds between looks at a transfer that somebody else runs


@dataclass
class Outcome:
    """What became of one pair, for the result."""

    plan: PairPlan
    state: str = _model.ABSENT
    sent: int = 0
    estimated: int | None = None
    seconds: float = 0.0
    resumed: bool = False
    steps: list[dict[str, Any]] = field(default_factory=list)
    done: list[Action] = field(default_factory=list)
    error: CerssError | None = None

    def to_result(self, ran: bool) -> dict[str, Any]:
        plan, pair = self.plan, self.plan.pair
        return {
            "id": pair.id if pair.known_id or pair.pool_guid or pair.mark else None,
            "source": f"{pair.source.name}@{plan.goal.snapshot}" if plan.goal else pair.source.name,
            "target": pair.target_words,
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


def replicate(options: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """The result of the module; `CerssError` only when nothing at all could be looked at."""
    request = Request.from_options(options)
    _check_programs(request)
    with session(request.source, request.target) as backends, _stoppable(_Run(request, *backends)) as run:
        plans = run.reader.plan(request, making=check_mode)
        outcomes = [Outcome(plan, error=plan.error, state=_state_now(plan)) for plan in plans]
        if not check_mode:
            run.carry_out(outcomes)
        return _report(outcomes, run.warnings, check_mode)


def _check_programs(request: Request) -> None:
    wanted = [program for program, used in (
        ("pv", request.transport.bandwidth_limit is not None),
        (request.transport.compression, request.transport.compression != "none"
         and (request.source.host is None or request.target.host is None)),
        ("ssh", request.source.host is not None or request.target.host is not None),
    ) if used]  # fmt: skip
    for program in wanted:
        if shutil.which(program, path=os.environ.get("PATH", "") + os.pathsep + "/usr/bin:/bin:/usr/local/bin") is None:
            raise BadInput(
                f"{program} is not installed on {platform.node()}; install it, or leave out the option that needs it"
            )


def _state_now(plan: PairPlan) -> str:
    pair = plan.pair
    if pair.replica and plan.goal and plan.goal.guid and pair.replica.by_guid(plan.goal.guid):
        return _model.FULL
    if pair.replica and (pair.replica.token or pair.replica.inconsistent):
        return _model.INBOUND
    return _model.ABSENT


def _report(outcomes: list[Outcome], warnings: list[str], check_mode: bool) -> dict[str, Any]:
    plan = Plan(warnings=warnings + [text for outcome in outcomes for text in outcome.plan.warnings])
    for outcome in outcomes:
        plan.actions += outcome.plan.actions if check_mode else outcome.done
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

    def __init__(self, request: Request, source: Backend, target: Backend) -> None:
        self.request, self.source, self.target = request, source, target
        self.reader = Reader(source, target)
        self.stop = threading.Event()
        self.warnings: list[str] = []
        self.deadline = time.monotonic() + request.timeout if request.timeout else None
        self.lease = _runfile.Lease()

    def carry_out(self, outcomes: list[Outcome]) -> None:
        """Run the pairs side by side, each after the ones that it builds upon; one that fails stops only those."""
        by_place = {outcome.plan.pair.replica_name: outcome for outcome in outcomes}
        futures: dict[str, Future[None]] = {}
        self._look_at_lease()  # reading both sides may have taken long
        with ThreadPoolExecutor(self.request.parallel, thread_name_prefix="pair") as pool:
            for outcome in outcomes:
                if outcome.error or not outcome.plan.actions:
                    continue
                place = outcome.plan.pair.replica_name
                needs = [futures[other] for other in _needs(outcome.plan, outcomes) if other in futures]
                futures[place] = pool.submit(self._one, by_place[place], needs)
            for future in futures.values():
                while not future.done():  # a plain wait would keep the signal handlers from running
                    self._look_at_lease()
                    time.sleep(0.2)

    def _look_at_lease(self) -> None:
        """Stop when the controller that asked for this does not want it any more, or is gone."""
        why = "" if self.stop.is_set() else self.lease.lost()
        if why:
            self.warnings.append(f"{why}, so the transfer was stopped; the next run resumes it")
            self.stop.set()

    def _one(self, outcome: Outcome, needs: list[Future[None]]) -> None:
        for future in needs:
            future.exception()
        began = time.monotonic()
        try:
            with _runfile.lock(outcome.plan.pair.target_words) as alone:
                if not alone:
                    raise Refused(f"another run on this host replicates into {outcome.plan.pair.target_words} just now")
                self._with_retries(outcome)
        except CerssError as error:
            outcome.error = error
        except OSError as error:
            outcome.error = CerssError(f"{outcome.plan.pair.target_words}: {error}")
        outcome.seconds = time.monotonic() - began

    def _with_retries(self, outcome: Outcome) -> None:
        attempt = 0
        plan = outcome.plan
        while True:
            arrived = outcome.sent
            try:
                if self._attempt(outcome, plan):
                    return
            except _Again:
                pass
            except CerssError as error:
                attempt = attempt + 1 if outcome.sent == arrived else 1
                if not error.transient or attempt > self.request.retries or self.stop.is_set():
                    raise self._where_it_stands(outcome, error) from error
                # Full jitter keeps many volumes from coming back at the same moment.
                self.stop.wait(min(60.0, 2.0**attempt) * random.uniform(0.5, 1.0))
            pair = self.reader.observe(plan.pair)
            arriving = self.reader.arriving([pair])
            plan = plan_pair(pair, self.request.wishes, arriving)
            outcome.plan.pair = pair
            if plan.error:
                raise plan.error

    def _where_it_stands(self, outcome: Outcome, error: CerssError) -> CerssError:
        """Tell what is there now: a reader must know whether the next run resumes."""
        with contextlib.suppress(CerssError):
            pair = outcome.plan.pair = self.reader.observe(outcome.plan.pair)
            outcome.state = _state_now(outcome.plan)
            if pair.replica and pair.replica.token and not isinstance(error, Stopped):
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
            for action in plan.prepare:
                self._do(action, outcome)
            for action in _marks.protect(pair, plan):
                self._do(action, None)
            self._send(outcome, plan)
            if plan.sends[0].kind == "resume" and len(plan.sends) > 1:
                return False  # the token carried one snapshot; what follows is planned from what is there
            pair = self.reader.observe(pair)
            if not (pair.replica and plan.goal and pair.replica.by_guid(plan.goal.guid)):
                wanted = plan.goal.name if plan.goal else "the snapshot"
                raise CerssError(f"{pair.target_words} does not hold {wanted} although no program complained")
            self._check_properties(pair, outcome)
            outcome.plan.pair = pair
            marks = _marks.settle(pair)
            for action in marks:
                self._do(action, None)
            outcome.done += plan.marks
        else:
            for action in plan.marks:
                self._do(action, outcome)
        outcome.state = _model.FULL
        return True

    def _do(self, action: Action, outcome: Outcome | None) -> None:
        backend = self.source if action.side == SOURCE else self.target
        for command in action.commands:
            backend.run(command)
        if outcome is not None:
            outcome.done.append(action)

    def _wait_for_others(self, plan: PairPlan) -> None:
        """A receive that somebody runs into the replica is told from a left-over one by looking at the processes."""
        pair = plan.pair
        if not pair.replica or not (pair.replica.token or pair.replica.inconsistent):
            return
        if self._receiver(pair) is None:
            return
        token = pair.replica.token
        what = f"{pair.target_words} is receiving {token.toname if token else 'a stream'} just now"
        wanted = (
            token is not None
            and plan.goal is not None
            and any(snap.guid == token.toguid for send in plan.sends for snap in send.carries)
        )
        if self.request.on_active == "fail" or (self.request.on_active == "attach" and not wanted):
            raise Refused(f"{what}; wait for its end, or set on_active=wait")
        while self._receiver(pair) is not None:
            if self.deadline is not None and time.monotonic() > self.deadline:
                raise Refused(f"{what} and did not end within timeout")
            if self.stop.wait(POLL):
                raise Stopped("the run was told to stop while it waited for another transfer")
        raise _Again(f"{what}, which has ended")

    def _receiver(self, pair: Pair) -> int | None:
        found, _writer = _parse.receiving(self.target.run(_zfs.receivers()).stdout.splitlines())
        return _parse.receiver_of(found, pair.replica_name)

    def _send(self, outcome: Outcome, plan: PairPlan) -> None:
        pair = plan.pair
        sizes: list[tuple[Snapshot, int | None]] = []
        totals: list[int | None] = []
        for send in plan.sends:
            each, total = self._estimate(send)
            sizes += each
            totals.append(total)
        outcome.estimated = sum(total or 0 for total in totals)
        announcement = _marks.announcement(sizes)
        first = pair.replica is None or not pair.replica.snapshots
        if pair.replica is not None and plan.sends[0].kind != "resume":
            self.target.run(_zfs.set_({_model.ANNOUNCED: announcement}, [pair.replica_name]))
        for send, total in zip(plan.sends, totals):
            born = {}
            if first and send is plan.sends[0] and send.kind != "resume":
                born = {
                    **_marks.first_receive_properties(pair, self.request.wishes, plan.raw),
                    _model.ANNOUNCED: announcement,
                }
            self._stream(outcome, plan, send, total, born)
            if send.kind == "resume":
                return

    def _estimate(self, send: Send) -> tuple[list[tuple[Snapshot, int | None]], int | None]:
        """(each snapshot with its bytes, all bytes) that zfs expects of a stream."""
        command = (
            _zfs.send_resume(send.token.text, estimate=True)
            if send.token
            else _zfs.send(send.snapshot.name, send.base, send.intermediates, send.raw, estimate=True)
        )
        lines = self.source.run(command).stdout.splitlines()
        by_name = dict(found for found in map(_parse.announced, lines) if found)
        sizes = [(snap, by_name.get(snap.name, by_name.get(snap.snapshot))) for snap in send.carries]
        return sizes, _parse.estimate("\n".join(lines))

    def _stream(self, outcome: Outcome, plan: PairPlan, send: Send, total: int | None, born: dict[str, str]) -> None:
        pair = plan.pair
        command = (
            _zfs.send_resume(send.token.text)
            if send.token
            else _zfs.send(send.snapshot.name, send.base, send.intermediates, send.raw)
        )
        meter = Meter(total=total)
        transport = Transport(
            self.request.transport.compression, self.request.transport.bandwidth_limit,
            self.request.transport.stall_timeout, self.deadline,
        )  # fmt: skip
        written = 0.0
        runfile = _runfile.RunFile()

        def tick() -> None:
            nonlocal written
            now = time.time()
            if now - written >= 1:
                written = now
                runfile.write({
                    "operation": "send", "id": pair.id, "snapshot": send.snapshot.name, "guid": send.snapshot.guid,
                    "source": pair.source_words, "target": pair.target_words, "bytes_done": meter.done,
                    "bytes_total": meter.total,
                    "bytes_per_second": meter.rate, "started": meter.started, "updated": now,
                })  # fmt: skip

        try:
            transfer(
                self.source, self.target, command, _zfs.receive(pair.replica_name, born, send.origin), transport, meter,
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
                f"{pair.target_words} has arrived, but its mark {_model.SOURCE} could not be set, so it cannot be "
                "continued; give the user the permission userprop there (see the role zfs_backend)"
            )


class _Again(CerssError):
    """What was seen has changed by itself: look again and plan anew."""


def _needs(plan: PairPlan, outcomes: list[Outcome]) -> list[str]:
    """The places that must be there first: the replica above, and the one that holds the clone's origin."""
    place = DatasetName(plan.pair.replica_name)
    above = {str(parent) for parent in place.ancestors()}
    origins = {send.origin.partition("@")[0] for send in plan.sends if send.origin}
    return [outcome.plan.pair.replica_name for outcome in outcomes if outcome.plan.pair.replica_name in above | origins]
