# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The end of streams: both sides are read again, once for many pairs, and their marks are moved."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from ansible_collections.cerss.zfs.plugins.module_utils._core import model
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import LastHold, SourceMark
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Value
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import listing, shortened
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Step
from ansible_collections.cerss.zfs.plugins.module_utils._host.values import read_properties
from ansible_collections.cerss.zfs.plugins.module_utils._host.wanted import GRACE
from ansible_collections.cerss.zfs.plugins.module_utils._replication import bookkeeping, detail, reseed, together
from ansible_collections.cerss.zfs.plugins.module_utils._replication.package import Package
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import Pair, PairPlan, newest_common, txg
from ansible_collections.cerss.zfs.plugins.module_utils._replication.planner import Ahead, receiver_of
from ansible_collections.cerss.zfs.plugins.module_utils._replication.report import state_now
from ansible_collections.cerss.zfs.plugins.module_utils._replication.work import Task, Work
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.properties import AT_CREATION


@dataclass(eq=False)
class _Arrived:
    """A task whose streams have arrived, with the pair as it is now."""

    task: Task
    plan: PairPlan
    pair: Pair
    finish: bookkeeping.Finish = field(default_factory=bookkeeping.Finish)


def commit(work: Work, tasks: Sequence[Task]) -> None:
    """Move the marks of all pairs. Each gets its own error; a pair with more to send has no plan afterwards."""
    found = _each(_read_again(work, tasks), lambda each: _check(work, each))
    _check_properties(work, found)
    found = _each(found, lambda each: _swap(work, each))
    for command, of in ((zfs.hold, "hold"), (zfs.release, "release")):
        steps = [(each, step) for each in found for step in [getattr(each.finish, of)] if step]
        failed = _together(work, steps, command)
        found = [each for each in found if each not in failed]
    with ThreadPoolExecutor(work.options.parallel) as pool:
        # Without all the others, the commit point would say that nothing is left to do.
        noted = _each(found, lambda each: _note(work, each, each.finish.rest), pool)
        written, changed = _write(work, noted, pool)
    for each in found:
        if each.task.report.error:
            continue
        each.task.freed = txg(each.plan.sends[-1].snapshot) if each.plan.sends else each.task.freed
        each.task.report.state = model.ABSENT if each.plan.more else model.FULL
        if each.plan.more or each in changed:
            each.task.plan = _next(each) if each in written else None


def _next(each: _Arrived) -> PairPlan | None:
    """The plan for what follows a package, without reading anything. None if both sides must be read for it."""
    task, former = each.task, replace(each.plan, foreseen=each.pair)
    task.ahead = task.ahead or Ahead.of(former, task.options)
    plan = task.ahead.plan(former, task.options, {})
    if plan.error or not plan.sends:
        return None
    task.report.add(plan)
    task.planned = time.monotonic()
    return plan


def _each(
    found: Iterable[_Arrived], do: Callable[[_Arrived], object], pool: ThreadPoolExecutor | None = None
) -> list[_Arrived]:
    """Those for which that went well; the others have their error."""

    def run(each: _Arrived) -> bool:
        try:
            return do(each) is not False
        except CerssError as error:
            each.task.report.error = error
            return False

    found = list(found)
    return [each for each, well in zip(found, (pool.map if pool else map)(run, found)) if well]


# -- what has arrived ------------------------------------------------------------------------------------------------


def _read_again(work: Work, tasks: Sequence[Task]) -> list[_Arrived]:
    """What is there now. A reseed changes the datasets themselves at its end, so they are read as before a plan."""
    plans = [(task, task.plan) for task in tasks if task.plan]
    result = _read_lightly(work, plans)
    done = {each.task for each in result}
    for task, plan in plans:
        if task not in done and not task.report.error:
            try:
                result.append(_Arrived(task, plan, work.reader.observe(plan.pair, task.since)[0]))
                task.ahead = None
            except CerssError as error:
                task.report.error = error
    return result


def _read_lightly(work: Work, plans: Sequence[tuple[Task, PairPlan]]) -> list[_Arrived]:
    """Without holds, which are known from the plan. Those are left out for which that does not do."""
    found = [(task, plan, Package.of(plan)) for task, plan in plans]
    light = [each for each in found if each[2] or not (each[1].reseeds or reseed.is_placed(each[1].pair))]
    if not light:
        return []
    pairs = work.reader.again(
        [package.looked_at if package else plan.pair for _task, plan, package in light],
        [package.names if package else None for _task, _plan, package in light],
    )
    result = []
    for (task, plan, package), pair in zip(light, pairs):
        if pair is None:
            task.report.error = Refused(f"{plan.pair.source_address} does not exist any more; its marks were not moved")
            continue
        now = package.as_foreseen(pair) if package else detail.shown_holds(pair, plan.foreseen or plan.pair)
        result += [_Arrived(task, plan, now)] if now else []
    return result


def _check(work: Work, each: _Arrived) -> bool:
    """False if nothing is to be written for the pair. Raises CerssError if its streams have not arrived after all."""
    plan, pair, report = each.plan, each.pair, each.task.report
    if pair.trouble:
        raise pair.trouble
    report.state = state_now(pair, plan)
    if not (plan.sends or plan.finish):
        return False  # there was nothing to do after all
    why = withdrawn(plan.foreseen or plan.pair, pair)
    if why:
        report.warn(f"{pair.source_address}: {why}, so its marks were not moved")
        _tidy(work, each)
        return False
    receiver = receiver_of(plan, pair)
    if plan.sends and not (receiver and receiver.by_guid(plan.sends[-1].snapshot.guid)):
        if pair.source.by_guid(plan.sends[-1].snapshot.guid) is None and not each.task.again:
            each.task.plan, each.task.again = None, True  # another snapshot has got its name, and was sent
            return False
        raise CerssError(
            f"{pair.target_address} does not hold {plan.sends[-1].snapshot.name} although zfs send and zfs receive "
            "reported no error; please report this as a bug"
        )
    if plan.sends and receiver and receiver.source_mark is None:
        raise Refused(
            f"{pair.target_address} has arrived, but its property {SourceMark.NAME} could not be set, so later runs "
            "cannot continue it; delegate the permission userprop to its user (see the role zfs_backend)"
        )
    return True


def withdrawn(before: Pair, now: Pair) -> str:
    """Why this run must not write marks any more: somebody else has decided about the relationship meanwhile."""
    record, former = now.record, before.record
    if former is None:
        return ""
    if record is None or record.id != former.id:
        return "the relationship was ended meanwhile"
    if record.paused:
        return "the relationship was paused meanwhile"
    if record.mode != former.mode:
        return "the relationship was changed meanwhile"
    common = newest_common(now.source, now.replica) if now.replica else None
    moved = now.point is not None and (before.point is None or now.point.guid != before.point.guid)
    if moved and common and now.point and now.point.createtxg >= txg(common[1]) and now.point.guid != common[1].guid:
        return "another run has replicated a newer snapshot meanwhile"
    return ""


def _tidy(work: Work, each: _Arrived) -> None:
    """Remove the holds and bookmarks of a relationship that was ended during this run."""
    before = each.plan.foreseen or each.plan.pair
    if each.pair.records.by_id(before.id) is None:
        work.do(bookkeeping.remove(each.pair, before.id), each.task.report)


def _check_properties(work: Work, found: Sequence[_Arrived]) -> None:
    """Find properties that zfs receive silently dropped for lack of a permission."""
    new = [each for each in found if each.task.properties]
    if not new:
        return
    names = list(dict.fromkeys(name for each in new for name in each.task.properties))
    there = read_properties(work.target, [each.plan.into for each in new], names).values
    for each in new:
        values = there.get(each.plan.into, {})
        properties, each.task.properties = each.task.properties, {}
        lost = sorted(name for name, text in properties.items() if not _took(name, text, values.get(name)))
        if lost:
            each.task.report.warn(
                f"{each.plan.pair.target_address} has arrived without {', '.join(lost)}, which its user has no "
                "permission to set; delegate the permission (see the role zfs_backend), then set the properties there"
            )


def _took(name: str, requested: str, value: Value | None) -> bool:
    """Whether a property of a first receive is set. Some may also be inherited, as below what zfs_backend made.

    What is fixed when a dataset is created has no source.
    """
    if name in AT_CREATION:
        found = value.text if value else None
        return found == requested or (requested == "on" and found not in (None, "off"))
    inherited = name in bookkeeping.PULLED_DEFAULTS and value is not None and value.text == requested
    return inherited or bool(value and value.local)


# -- the marks -------------------------------------------------------------------------------------------------------


def _swap(work: Work, each: _Arrived) -> None:
    """Give the new replica of a reseed its place; then see what is left to do."""
    plan, pair, report = each.plan, each.pair, each.task.report
    if plan.reseeds and plan.more:
        receiver = receiver_of(plan, pair)
        work.do(bookkeeping.free(pair, receiver) if receiver else [], report)
        return
    work.do(reseed.swap(pair, plan.keep_old or _has_more(each)), report)
    each.finish = bookkeeping.finish(reseed.swapped(pair))


def _has_more(each: _Arrived) -> bool:
    """Whether the old replica, which is to be destroyed, is in use, or has got snapshots that no plan has listed."""
    pair, first = each.pair, each.task.first
    old = pair.old if reseed.is_placed(pair) or pair.replica is None else pair.replica
    listed = {snap.guid for dataset in (first.replica, first.old) if dataset for snap in dataset.snapshots}
    more = [snap.name for snap in old.snapshots if snap.guid not in listed] if old else []
    more += [f"{old.name} is mounted"] if old and pair.replaced and pair.replaced.mounted else []
    if more:
        used = listing(shortened(more))
        each.task.report.warn(
            f"the old replica is kept as {reseed.old_name(pair)}, since it was used meanwhile: {used}"
        )
    return bool(more)


def _together(
    work: Work, steps: Sequence[tuple[_Arrived, Step]], command: Callable[[str, Iterable[str]], list[str]]
) -> list[_Arrived]:
    """One command for the steps of all pairs; if zfs refuses it, one for each. Returns those that failed."""
    names = [name for _each, step in steps for argv in step.commands for name in argv[3:]]
    failed: list[_Arrived] = []
    try:
        for batch in zfs.batches(names, max_bytes=work.target.argument_bytes):
            work.go_on("marks were moved", GRACE)
            work.target.run(command(LastHold.TAG, batch))
    except CerssError:
        failed = [each for each, step in steps if not _alone(work, each, step)]
    for each, step in steps:
        if each not in failed:
            each.task.report.done.append(step)
    return failed


def _write(work: Work, found: Sequence[_Arrived], pool: ThreadPoolExecutor) -> tuple[list[_Arrived], list[_Arrived]]:
    """Write the commit points, together where that is possible: (those for which that went well, those to plan anew).

    The marks of the latter are others now, although nobody has withdrawn the relationship.
    """
    parts = {together.Part(each.task, each.pair, each.finish.commit): each
             for each in found if not (each.plan.reseeds or each.task.again)}  # fmt: skip
    written, changed = ([parts[part] for part in some] for some in together.carry_out(work, parts, GRACE))
    for each in changed:
        each.task.again = True
    left = [each for each in found if each not in written and each not in changed]
    written += _each(left, lambda each: _note(work, each, each.finish.commit), pool)
    tasks = [each.task for each in changed]
    try:
        anew = [each.task for each in _each(_read_again(work, tasks), lambda each: _check(work, each))]
    except CerssError as error:
        anew = []
        for task in tasks:
            task.report.error = error
    return written, [each for each in changed if each.task in anew]


def _note(work: Work, each: _Arrived, steps: Iterable[Step]) -> bool:
    return work.do(steps, each.task.report, needed=lambda _step, _error: False, grace=GRACE)


def _alone(work: Work, each: _Arrived, step: Step) -> bool:
    try:
        for argv in step.commands:
            work.run(work.target, argv)
    except CerssError as error:
        each.task.report.error = error
        return False
    return True
