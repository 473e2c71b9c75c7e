# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One pair, from its plan to the end of its streams: wait, prepare, protect, send. `wave` then moves the marks."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import (
    CerssError,
    Diverged,
    Exists,
    HasClones,
    Held,
    LargeBlocks,
    MissingFeature,
    NotBase,
    NotFound,
    ReadOnly,
    Refused,
    StaleToken,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import Announcement
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName
from ansible_collections.cerss.zfs.plugins.module_utils._host import pools, runfiles
from ansible_collections.cerss.zfs.plugins.module_utils._host.wanted import Stopped
from ansible_collections.cerss.zfs.plugins.module_utils._replication import bookkeeping, receivers
from ansible_collections.cerss.zfs.plugins.module_utils._replication.agreement import begun
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import (
    SOURCE,
    Pair,
    PairPlan,
    Send,
    send_step,
)
from ansible_collections.cerss.zfs.plugins.module_utils._replication.planner import plan_pair, receiver_of
from ansible_collections.cerss.zfs.plugins.module_utils._replication.report import state_now
from ansible_collections.cerss.zfs.plugins.module_utils._replication.transfer import (
    AUTO,
    Asked,
    ForeignStream,
    Meter,
    raise_limit,
    run_pipe,
)
from ansible_collections.cerss.zfs.plugins.module_utils._replication.work import Again, Task, Work
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import output

SIZE_AFTER = 5.0  # seconds after which zfs send has told the size of its stream, if it ever does
ANNOUNCED_FROM = 64 * 1024 * 1024  # bytes of a stream that is long enough to be watched
ANNOUNCED_AFTER = 60  # seconds of a stream that is, where bandwidth_limit tells how long it takes
OLD = 60.0  # seconds after which a plan that destroys or renames something is made anew
MOST_OUTDATED = 10  # plans of a pair that are outdated before anything arrives; somebody else is faster each time
# What comes of a plan that others have made impossible since both sides were read
_OUTDATED = (NotFound, NotBase, Diverged, Exists, Held, HasClones, ForeignStream)


def carry_out(work: Work, task: Task) -> None:
    """Bring the streams of the current plan to the replica, trying again as often as ``retries`` allows.

    Raises the error of the last attempt. Afterwards `wave.commit` must move the marks, also if there was no stream.
    """
    failures, outdated, seen = 0, 0, {_reached(task.pair)}
    _lock(work, task)
    if task.plan and _is_doubtful(task.plan, time.monotonic() - task.planned):
        task.plan = None
    while True:
        try:
            plan = task.plan or _plan_anew(work, task)
            if _reached(plan.pair) not in seen:  # the other side may go back and forth
                failures, outdated = 0, 0
                seen.add(_reached(plan.pair))
            return _attempt(work, task, plan)
        except Again:
            pass
        except StaleToken as error:
            if not task.options.resume:
                raise
            task.options = replace(task.options, resume=False)
            task.report.warn(f"{task.pair.target_address}: {error.msg}; its partial receive is given up")
        except (MissingFeature, LargeBlocks) as error:
            _choose_flags(work, task, error)
        except _OUTDATED as error:
            outdated += 1
            again = outdated <= MOST_OUTDATED and not _has_received(error)
            if not (again and work.wanted.persistently(lambda: _is_outdated(work, task), work.options.retries)):
                raise
            continue  # with the plan that was made anew
        except CerssError as error:
            failures += 1
            if not error.transient or failures > work.options.retries or work.wanted.fault():
                raise
            work.wanted.pause(failures)
        task.plan = None


def _has_received(error: CerssError) -> bool:
    """Whether the stream itself has brought something, which alone makes the plan look outdated."""
    return isinstance(error, ForeignStream) and error.received > 0


def _choose_flags(work: Work, task: Task, error: MissingFeature | LargeBlocks) -> None:
    """Leave out a flag of zfs send from now on, if that may mend the error. Otherwise raise it, with the features."""
    if isinstance(error, LargeBlocks) and not task.large_blocks:
        raise Refused(
            f"{task.pair.target_address} has blocks over 128 KiB, and ZFS takes no increment without them; leave "
            "stream.large_blocks at auto"
        ) from error
    if isinstance(error, LargeBlocks):
        raise error
    source, target = task.pair.source_pool, DatasetName(task.pair.replica_name).pool
    if error.argv[1] == "bookmark":
        error.msg += f"; enable it with: zpool set feature@bookmarks=enabled {source}"
    if error.argv[1] != "receive":
        raise error
    lacking = pools.Lacking.of(work.source, source, work.target, target)
    transport, raw = work.options.transport, task.report.plans[-1].raw
    compressions, large = lacking.among(pools.COMPRESSIONS), lacking.among(pools.LARGE_BLOCKS)
    if compressions and task.compressed and transport.compressed == AUTO and not raw:
        task.compressed = False
        what, names = "streams are sent uncompressed", compressions
    elif large and task.large_blocks and transport.large_blocks == AUTO and not raw:
        task.large_blocks = False
        what, names = "blocks over 128 KiB are split", large
    else:
        sent = [*([] if task.compressed else pools.COMPRESSIONS), *([] if task.large_blocks else pools.LARGE_BLOCKS)]
        where = work.target.endpoint.label or "this machine"
        error.msg += f"; {lacking.without(sent).way_out(source, target, where)}"
        raise error
    task.report.warn(
        f"{task.pair.target_address}: {what}, since the pool {target} lacks {', '.join(names)}; to change that, enable "
        f"it there with zpool set feature@{names[0]}=enabled {target}"
    )


def _lock(work: Work, task: Task) -> None:
    """Take the relationship's lock on this host, which `Task.lock` keeps until the marks are moved."""
    if task.lock:
        return
    what = f"another run on this host is replicating to {task.pair.target_address}"
    while True:
        stack = contextlib.ExitStack()
        if stack.enter_context(runfiles.lock(task.pair.id)):
            task.lock = stack
            return
        stack.close()
        if work.options.on_active == "fail":
            raise Refused(f"{what}; wait until it has finished, or set on_active=wait")
        task.plan, task.blocked = None, True
        work.pause(what)
        task.blocked = False


def _is_doubtful(plan: PairPlan, age: float) -> bool:
    """Whether the sides must be read again when the plan's turn comes, ``age`` seconds after it was made.

    It counts on the marks of a run that has begun a replica and may have given up since, or it has waited for long.
    """
    if begun(plan.pair) and receiver_of(plan, plan.pair) is None:
        return True
    # A record is written with those of other replicas beside it, which other runs may have made meanwhile.
    return age > OLD and bool(plan.prepare or plan.reseeds or any(map(bookkeeping.declares, plan.protect)))


def _is_outdated(work: Work, task: Task) -> bool:
    """Plan anew. True if that is another plan: others have changed one of the sides since it was made."""
    former = task.report.plans[-1]
    return _aims(_plan_anew(work, task)) != _aims(former)


def _aims(plan: PairPlan) -> tuple[object, ...]:
    """What the plan changes, without marks, which may be there already."""
    sends = [(send.kind, send.base, send.origin, send.token and (send.token.text, send.token.bytes),
              [(snap.name, snap.guid) for snap in send.carries]) for send in plan.sends]  # fmt: skip
    return plan.into, sends, [step.commands for step in plan.prepare]


def _plan_anew(work: Work, task: Task) -> PairPlan:
    receivers.end_orphan(work, task)
    former = task.pair.without_marks() if task.unmarked else task.pair
    pair, arriving = work.reader.observe(former, task.since)
    plan = plan_pair(pair, task.options, arriving)
    task.plan, task.ahead = plan, None
    task.report.add(plan)
    if plan.error:
        raise plan.error
    return plan


def _reached(pair: Pair) -> tuple[object, ...]:
    """A value that changes when anything arrives."""
    found = [dataset for dataset in (pair.replica, pair.beside) if dataset]
    return tuple((len(each.snapshots), each.token and (each.token.toguid, each.token.bytes)) for each in found)


def _attempt(work: Work, task: Task, plan: PairPlan) -> None:
    """Carry out the plan up to the end of its streams."""
    work.go_on(f"{plan.pair.target_address} was reached")
    if plan.sends or plan.prepare or plan.reseeds:
        receivers.wait_for_others(work, plan)
    work.do(plan.prepare, task.report)
    try:
        work.do(plan.protect, task.report, lambda step, why: isinstance(why, ReadOnly) or bookkeeping.declares(step))
    except ReadOnly as error:
        if task.unmarked:
            raise
        task.unmarked = True
        raise Again(error.msg) from error
    if plan.sends:
        _send(work, task, plan)


# -- streams ---------------------------------------------------------------------------------------------------------


def _send(work: Work, task: Task, plan: PairPlan) -> None:
    pair, report = plan.pair, task.report
    estimates = [_estimate(work, task, send) for send in plan.sends]
    receiver = receiver_of(plan, pair)
    new = receiver is None or (bool(plan.prepare) and not receiver.snapshots and plan.sends[0].kind != "resume")
    first = receiver is None or not receiver.snapshots
    _warn_of_space(task, pair, [total for _sizes, total in estimates])
    sizes = [size for each, _total in estimates for size in each]
    announced = {Announcement.NAME: bookkeeping.announcement(sizes).format()} if sizes else {}
    if first:
        mode = bookkeeping.mode_of(plan.raw)
        clone = plan.sends[0].origin is not None
        task.properties = bookkeeping.first_receive_properties(pair, task.options, mode, plan.reseeds, clone)
    if announced and not new:
        _announce(work, plan, announced)
    for send, (_sizes, total) in zip(plan.sends, estimates):
        work.go_on(f"{send.snapshot.name} was sent")
        given = {**task.properties, **announced} if new and send is plan.sends[0] else {}
        _stream(work, task, plan, send, total, given)
        report.done.append(send_step(pair, send))
    if announced:
        with contextlib.suppress(CerssError):
            work.target.run(zfs.inherit(Announcement.NAME, [plan.into]))


def _announce(work: Work, plan: PairPlan, announced: dict[str, str]) -> None:
    """Only progress depends on the announcement, so failing to set it fails nothing."""
    with contextlib.suppress(CerssError):
        work.target.run(zfs.set_(announced, [plan.into]))


def _warn_of_space(task: Task, pair: Pair, totals: list[int | None]) -> None:
    known = [total for total in totals if total is not None]
    if known:
        task.report.estimated = (task.report.estimated or 0) + sum(known)
    if pair.free_bytes is not None and sum(known) > pair.free_bytes:
        task.report.warn(
            f"{pair.target_address} may need {sum(known)} bytes, but only {pair.free_bytes} are free there"
        )


def _estimate(work: Work, task: Task, send: Send) -> tuple[list[tuple[Snapshot, int | None]], int | None]:
    """(each snapshot with its bytes, bytes of the stream) as zfs send estimates them, if the stream may be long.

    What was written since the snapshot before tells that without another process. ([], None) for a short stream.
    """
    sizes = [snap.written if send.base else snap.referenced for snap in send.carries]
    limit = work.share
    long = min(ANNOUNCED_FROM, limit * ANNOUNCED_AFTER if limit else ANNOUNCED_FROM)
    if send.token is None and None not in sizes and sum(size or 0 for size in sizes) < long:
        return [], None
    lines = work.source.run(_command(task, send, estimate=True)).stdout.splitlines()
    by_name = dict(found for found in map(output.announced, lines) if found)
    found = [(snap, by_name.get(snap.name, by_name.get(snap.snapshot))) for snap in send.carries]
    return found, output.estimate("\n".join(lines))


def _command(task: Task, send: Send, estimate: bool = False) -> list[str]:
    if send.token:
        return zfs.send_resume(send.token.text, estimate)
    return zfs.send(
        send.snapshot.name, send.base, send.intermediates, send.raw, estimate, task.compressed, task.large_blocks
    )


def _stream(work: Work, task: Task, plan: PairPlan, send: Send, total: int | None, given: dict[str, str]) -> None:
    report = task.report
    command = _command(task, send)
    meter = Meter(total=total)
    runfile = runfiles.RunFile()
    runfiles.forget_abandoned(plan.pair.id)
    ticker = _Ticker(work, runfile, plan.pair, send, plan.into, meter, work.share)
    try:
        run_pipe(
            work.source, work.target, command, zfs.receive(plan.into, given, send.origin),
            replace(work.options.transport, bandwidth_limit=ticker.share), meter, work.wanted, ticker.tick,
            Asked.of(plan.pair, send, receiver_of(plan, plan.pair)),
        )  # fmt: skip
    except CerssError:
        task.receiver = meter.receiver
        raise
    finally:
        runfile.remove()
        if total is None and meter.total is not None:
            report.estimated = (report.estimated or 0) + meter.total
        report.sent += meter.sent
        report.resumed |= send.kind == "resume"
        report.steps.append({**send.to_result(), "bytes_sent": meter.sent, "bytes_estimated": meter.total})


@dataclass
class _Ticker:
    """Writes the run file of a stream, once a second, and lets it go faster when its ``share`` has become larger."""

    work: Work
    runfile: runfiles.RunFile
    pair: Pair
    send: Send
    into: str
    meter: Meter
    share: int | None
    written: float = 0.0

    def tick(self) -> None:
        now = time.time()
        share = self.work.share
        if share and self.share and share > self.share:
            self.share = share
            raise_limit(self.meter, share)
        if 0 <= now - self.written < 1 or (self.meter.total is None and 0 <= now - self.meter.started < SIZE_AFTER):
            return
        self.written = now
        self.runfile.write({
            "operation": "send", "id": self.pair.id, "snapshot": self.send.snapshot.name,
            "guid": self.send.snapshot.guid, "source": self.pair.source_address, "target": self.pair.target_address,
            "into": self.into, "programs": self.meter.programs, "receiver": self.meter.receiver,
            "told": self.meter.told,
            "bytes_done": self.meter.done, "bytes_total": self.meter.total, "bytes_per_second": self.meter.rate,
            "started": self.meter.started, "updated": now,
        })  # fmt: skip


# -- the end of a pair that failed -----------------------------------------------------------------------------------


def give_up(work: Work, task: Task, error: CerssError) -> CerssError:
    """The error with the bytes that have arrived. What this run put on the source is removed, if no receive waits.

    In a run that has to end there is little time for that; what is left then is put right by the next run.
    """
    if work.wanted.fault() and not (task.report.done or task.report.steps):
        return error
    with contextlib.suppress(CerssError):
        pair, _arriving = work.reader.observe(task.pair, task.since)
        plan = task.report.plans[-1]
        task.report.state = state_now(pair, plan)
        changed = task.report.done or task.report.steps
        for step in bookkeeping.give_up(pair, task.first) if changed else ():
            for command in step.commands:
                (work.source if step.side == SOURCE else work.target).run(command)
            task.report.done.append(step)
        receiver = pair.new_one or pair.replica
        token = receiver.token if receiver else None
        if token and not isinstance(error, (Stopped, Refused)):
            error.msg += f"; {token.bytes} bytes of {token.toname} have arrived and the next run resumes there"
    return error
