# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zfs_snapshot_replicate: read both sides, plan, carry out the plan, and report."""

from __future__ import annotations

import contextlib
import itertools
import platform
import shutil
import signal
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, CerssError, GateRefused
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName
from ansible_collections.cerss.zfs.plugins.module_utils._host import process, runfiles
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import sessions
from ansible_collections.cerss.zfs.plugins.module_utils._host.inventory import check_values
from ansible_collections.cerss.zfs.plugins.module_utils._host.wanted import Wanted
from ansible_collections.cerss.zfs.plugins.module_utils._replication import bookkeeping, receivers, targets, unmarked
from ansible_collections.cerss.zfs.plugins.module_utils._replication.options import Options
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import SOURCE, Pair, PairPlan, not_started
from ansible_collections.cerss.zfs.plugins.module_utils._replication.planner import (
    Planned,
    Survey,
    plan_all,
    receiver_of,
    rounds,
    with_upcoming,
)
from ansible_collections.cerss.zfs.plugins.module_utils._replication.report import PairReport, Part, report
from ansible_collections.cerss.zfs.plugins.module_utils._replication.run import Run
from ansible_collections.cerss.zfs.plugins.module_utils._replication.survey import Reader, Shared
from ansible_collections.cerss.zfs.plugins.module_utils._replication.work import Work
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.properties import Requested

_ANY_SIZE = 64 * 1024 * 1024  # bytes of a volume whose properties are checked; its own size comes with the stream


def main(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The result of the module. Raises CerssError if nothing could be read; errors of pairs are in ``replicas``."""
    ways = targets.options(params if check_mode else {**params, "upcoming": None})
    if not ways or ways[0].names == ():
        return report([], check_mode)
    _check_programs(ways)
    lease = runfiles.Lease()
    wanted = Wanted(lease.lost, ways[0].timeout)
    with _stoppable(wanted, lease), _works(ways, wanted) as works:
        if params.get("targets") is None:
            return report([_replicate(works[0], check_mode, set())], check_mode)
        first = works[0]
        shared = wanted.persistently(lambda: Shared(first.source, first.options.selection), ways[0].retries)
        for work in works:
            work.reader.shared = shared
        return report(_each(works, check_mode), check_mode)


@contextlib.contextmanager
def _works(ways: Sequence[Options], wanted: Wanted) -> Iterator[list[Work]]:
    """For each target; those on the same host share a backend, and all have the same source."""
    places = list(dict.fromkeys(way.target for way in ways))
    with sessions([ways[0].source, *places], wanted, ways[0].retries) as (source, *backends):
        there = dict(zip(places, backends))
        yield [Work(way, source, there[way.target], Reader(source, there[way.target], way), wanted) for way in ways]


def _each(works: Sequence[Work], check_mode: bool) -> list[Part]:
    """What comes of each target, one after the other. The error of one stops no other."""
    parts = []
    made: set[tuple[str, str]] = set()
    for work in works:
        try:
            part = _replicate(work, check_mode, made)
        except Exception as error:  # pylint: disable=broad-except
            part = _failed(work, error)
        parts.append(replace(part, place=work.options.place))
    return parts


def _failed(work: Work, error: Exception) -> Part:
    """The error for all replicas of a target, which could not be read."""
    if not isinstance(error, CerssError):
        stderr = "".join(traceback.format_exception(None, error, error.__traceback__))
        error = CerssError(f"{work.options.option}: {type(error).__name__}: {error}", stderr=stderr)
    shared = work.reader.shared
    links, failed = work.reader.links(shared.last) if shared else ([], [])
    plans = [PairPlan(Pair(link, Dataset(link.source_name)), error=error) for link in links]
    plans += [PairPlan(Pair(link, Dataset(link.source_name)), error=each) for link, each in failed]
    if not plans:
        raise error
    return Part(reports=[PairReport.of(plan, work.options.hosts) for plan in plans])


def _replicate(work: Work, check_mode: bool, made: set[tuple[str, str]]) -> Part:
    """What comes of one target.

    ``made``: host and name of the datasets above replicas that check mode has foretold for other targets.
    """
    options = work.options
    survey = work.wanted.persistently(work.reader.read, options.retries)
    if check_mode:
        pairs = tuple(with_upcoming(pair, options.upcoming, time.time()) for pair in survey.pairs)
        survey = replace(survey, pairs=pairs)
    planned = plan_all(survey, options.pair, assume_created=check_mode)
    if check_mode:
        planned = _without_marks(planned, survey, work)
    planned = _with_checked_values(planned, work)
    if any(plan.sends and not plan.error for plan in planned.plans):
        _check_far_programs(work)
    if check_mode:
        planned = replace(planned, plans=tuple(receivers.foretold(work, planned.plans)))
        new = {(options.target.label, name): step for name, step in planned.parents.items()}
        parents = [step for place, step in new.items() if place not in made]
        made.update(new)
        return Part(parents, _foretold(planned, options), survey.warnings)
    reports = [PairReport.of(plan, options.hosts) for plan in planned.plans]
    run = Run(work, planned, reports)
    run.carry_out()
    for each in reports:
        each.close()
    return Part(run.parents, reports, survey.warnings)


def _foretold(planned: Planned, options: Options) -> list[PairReport]:
    reports = [PairReport.of(plan, options.hosts) for plan in planned.plans]
    for each, plan in zip(reports, planned.plans):
        for later in itertools.islice(rounds(plan, options.pair, planned.arriving), 1, None):
            each.add(later)
            each.error = later.error
    return reports


def _without_marks(planned: Planned, survey: Survey, work: Work) -> Planned:
    """What a run would do on a source that is imported read-only, which it notices when it makes its first mark."""
    marking = {plan.pair.source.name for plan in planned.plans for step in plan.steps if step.side == SOURCE}
    pairs = tuple(unmarked.find(work.source, survey.pairs, lambda pair: pair.source.name in marking))
    if pairs == survey.pairs:
        return planned
    return plan_all(replace(survey, pairs=pairs), work.options.pair, assume_created=True)


def _with_checked_values(planned: Planned, work: Work) -> Planned:
    """With an error for each new replica for which zfs does not accept ``properties``, before any is begun."""
    found: dict[bool, BadInput | None] = {}
    bad: dict[str, CerssError] = {}
    for plan in planned.plans:
        if not plan.sends or plan.error or receiver_of(plan, plan.pair) is not None:
            continue
        volume = plan.pair.source.type == "volume"
        if volume not in found:
            found[volume] = _refused_value(plan, work, volume)
        above = next((str(name) for name in DatasetName(plan.pair.replica_name).ancestors() if str(name) in bad), None)
        error = found[volume] or (not_started(plan.pair, above) if above else None)
        if error:
            bad[plan.pair.replica_name] = error
    plans = tuple(
        PairPlan(plan.pair, goal=plan.goal, warnings=plan.warnings, error=bad[plan.pair.replica_name])
        if plan.pair.replica_name in bad
        else plan
        for plan in planned.plans
    )
    needed = {name for plan in plans for name in plan.parents}
    parents = {name: step for name, step in planned.parents.items() if name in needed}
    return replace(planned, plans=plans, parents=parents)


def _refused_value(plan: PairPlan, work: Work, volume: bool) -> BadInput | None:
    options = work.options.pair
    given = bookkeeping.first_receive_properties(plan.pair, options, bookkeeping.mode_of(plan.raw))
    own: Requested = {name: value for name, value in given.items() if name in options.properties}
    try:
        check_values(work.target, plan.into, own, _ANY_SIZE if volume else None)
    except GateRefused:
        return None  # a gate has its own list of them
    except BadInput as error:
        return error
    return None


def _check_programs(ways: Sequence[Options]) -> None:
    transport = ways[0].transport
    remote = any(side.host is not None for way in ways for side in (way.source, way.target))
    needed = [program for program, used in (
        ("pv", transport.bandwidth_limit is not None),
        (transport.compression, transport.compression != "none"),
        ("ssh", remote),
    ) if used]  # fmt: skip
    for program in needed:
        if shutil.which(program, path=process.environment()["PATH"]) is None:
            raise _not_installed(program, platform.node())


def _check_far_programs(work: Work) -> None:
    program = work.options.transport.compression
    for backend in (work.source, work.target) if program != "none" else ():
        if backend.endpoint.host and backend.run([program, "--version"], check=False).rc == 127:
            raise _not_installed(program, backend.node)


def _not_installed(program: str, where: str) -> BadInput:
    return BadInput(f"{program} is not installed on {where}; install it, or leave out the option that needs it")


@contextlib.contextmanager
def _stoppable(wanted: Wanted, lease: runfiles.Lease) -> Iterator[None]:
    """Let SIGTERM, SIGINT and SIGHUP stop the transfers so that they can be resumed."""
    ends = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    former = {number: signal.signal(number, lambda *_: wanted.stop.set()) for number in ends}
    try:
        yield
    finally:
        lease.remove()
        for number, handler in former.items():
            signal.signal(number, handler)
