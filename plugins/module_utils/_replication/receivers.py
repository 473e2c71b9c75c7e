# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Receives of others into the same replica, which are waited for, and our own that nobody feeds any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory, runfiles
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import (
    is_receiving,
    process_list,
    read_receiving,
)
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.waiting import wait_for
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import PairPlan
from ansible_collections.cerss.zfs.plugins.module_utils._replication.planner import receiver_of
from ansible_collections.cerss.zfs.plugins.module_utils._replication.work import Again, Task, Work
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import processes

SAME_AGE = 30.0  # seconds by which the age of a receiver may differ from the time since it has told its pid
LOOK, ENDING = 2.0, 30.0  # seconds between looks at a receiver that ends, and that it has to save what has arrived


# -- those of others -------------------------------------------------------------------------------------------------


def wait_for_others(work: Work, plan: PairPlan) -> None:
    """Refuse, or wait and raise `Again`, if another receive into the replica is running (``on_active``)."""
    if not may_meet(plan):
        return
    found = read_receiving(work.target)
    receiver = found.into(plan.into)
    if receiver and _end_abandoned(work, plan):
        raise Again(f"{plan.pair.target_address} was receiving from a run that was killed")
    what = _met(work, plan, found)
    if not what:
        return
    patience = work.options.transport.stall_timeout
    seen, since = _token_text(work, plan), time.monotonic()
    while is_receiving(work.target, read_receiving(work.target), [plan.into]):
        work.pause(what)
        if patience and time.monotonic() - since > patience:
            former, seen, since = seen, _token_text(work, plan), time.monotonic()
            if former == seen:
                raise Refused(
                    f"{what}, but no byte has arrived for {patience:g} s (stall_timeout); if its sender is gone, end "
                    f"it on {work.target.node} with: kill {receiver.pid if receiver else 'PID'}"
                )
    raise Again(f"{what}, which has ended")


def foretold(work: Work, plans: Sequence[PairPlan]) -> list[PairPlan]:
    """The plans as a run would find them now: with the error of those that ``on_active`` does not let go on."""
    if not any(map(may_meet, plans)):
        return list(plans)
    found = read_receiving(work.target)
    places = {name for plan in plans if may_meet(plan) for name in (plan.into, plan.pair.replica_name)}
    if not (found.known or is_receiving(work.target, found, sorted(places))):
        found = replace(found, whole=True, writers=0)  # watched once for all, not one after the other
    return [_foretold(work, plan, found) if may_meet(plan) else plan for plan in plans]


def _foretold(work: Work, plan: PairPlan, found: processes.Receiving) -> PairPlan:
    try:
        what = _met(work, plan, found)
    except Refused as error:
        return PairPlan(plan.pair, goal=plan.goal, warnings=plan.warnings, error=error)
    return replace(plan, warnings=(*plan.warnings, f"{what}; a run waits for it")) if what else plan


def may_meet(plan: PairPlan) -> bool:
    """True if another receive could be in the way.

    One without -s into an existing dataset shows in no property, and a rename would break it.
    """
    receiving = receiver_of(plan, plan.pair)
    arriving = receiving is not None and bool(receiving.token or receiving.inconsistent)
    works = bool(plan.sends or plan.prepare or plan.reseeds) and not plan.error
    return works and (arriving or bool(plan.prepare) or plan.reseeds)


def _met(work: Work, plan: PairPlan, found: processes.Receiving) -> str:
    """The receive that a run has to wait for, as a sentence; "" for none. Refused if ``on_active`` forbids to wait.

    The process list tells a running receive from an interrupted one.
    """
    if not is_receiving(work.target, found, [plan.into]):
        _check_below(work, plan, found)
        return ""
    pair, receiving, on_active = plan.pair, receiver_of(plan, plan.pair), work.options.on_active
    token = receiving.token if receiving else None
    what = f"{pair.target_address} is currently receiving {token.toname if token else 'a stream'}"
    requested = token is not None and any(snap.guid == token.toguid for snap in plan.carries)
    if on_active == "fail" or (on_active == "attach" and not requested):
        raise Refused(f"{what}; wait until it has finished, or set on_active=wait")
    return what


def _check_below(work: Work, plan: PairPlan, found: processes.Receiving) -> None:
    """A rename would break receives into the old replica and below it too."""
    pair = plan.pair
    if not plan.reseeds:
        return
    there = inventory.read(work.target, [pair.replica_name], None, "filesystem,volume")[0] if not found.known else ()
    if found.below(pair.replica_name) or is_receiving(work.target, found, list(there) or [pair.replica_name]):
        raise Refused(f"{pair.target_address} or a dataset below it is currently receiving; wait until it has finished")


def _token_text(work: Work, plan: PairPlan) -> list[str]:
    """The resume token as text. It changes with each transaction group in which data arrives."""
    return work.target.read(zfs.get([plan.into], ["receive_resume_token"]))[0]


# -- our own ---------------------------------------------------------------------------------------------------------


def end_orphan(work: Work, task: Task) -> None:
    """End our own receiver if it goes on without its connection; it might wait for hours.

    It has told us its pid on that connection, which nobody else can have done.
    """
    pid = task.receiver
    if pid is None:
        return
    into = task.report.plans[-1].into
    if processes.age_of_receiver(process_list(work.target), pid, into) is not None:
        _kill(work.target, pid)
    task.receiver = None  # not earlier: the host may not answer yet


def _end_abandoned(work: Work, plan: PairPlan) -> bool:
    """End the receiver of a run of this host that was killed, if nothing feeds it any more. False if there is none.

    That run has written down what the receiver told it. It must still be the same process, by its age.
    """
    for run in runfiles.abandoned(plan.pair.id):
        if "told" not in run or (run.get("into"), run.get("target")) != (plan.into, plan.pair.target_address):
            continue
        pid = run["receiver"]

        def age(pid: int = pid) -> int | None:
            return processes.age_of_receiver(process_list(work.target), pid, plan.into)

        found = age()
        if found is not None and abs(time.time() - run["told"] - found) <= SAME_AGE:
            return end(work.target, pid, age)
    return False


def end(target: Backend, pid: int, look: Callable[[], object]) -> bool:
    """End a receiver, which may save what has arrived. False if ``look`` still finds it after `ENDING` seconds."""
    _kill(target, pid)
    return wait_for(look, lambda found: found is None, LOOK, ENDING) is None


def _kill(target: Backend, pid: int) -> None:
    target.run(target.endpoint.elevated(["kill", str(pid)]), check=False)
