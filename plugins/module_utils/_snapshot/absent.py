# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zfs_snapshot with state=absent."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import model
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import listing, shortened
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Effect, Plan, Step
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import Activity, read_activity
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.execute import execute
from ansible_collections.cerss.zfs.plugins.module_utils._host.inventory import Inventory
from ansible_collections.cerss.zfs.plugins.module_utils._host.waiting import wait_for
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot import deletion, objects
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.dependents import Closure, blockers, closure_of
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.options import (
    Options,
    datasets_of,
    result,
    snapshots_of,
)
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs

_POLL = 1.0  # seconds between two looks at pending deletions


@dataclass
class Seen:
    """What was read. ``names``: the requested snapshots. ``current``: those of them that exist, by name."""

    names: list[str]
    current: dict[str, Snapshot]
    datasets: Inventory
    running: Activity
    closure: Closure = field(default_factory=Closure)
    warnings: list[str] = field(default_factory=list)


def main(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    options, backend = Options.from_params(params, time.time()), Backend()
    if options.selection.roots == ():
        return result(Plan(), [], {})
    seen = _read(backend, options)
    _refuse_inbound(seen)
    planned = plan_absent(options, list(seen.current.values()), seen.closure, seen.running)
    if check_mode:
        failures = planned.deletion.failures
        plan = Plan(planned.plan.steps, seen.warnings)
        return result(plan, foretold(seen, plan), failures, list(failures))
    execute(backend, planned.cascade)
    outcome = deletion.delete(backend, planned.deletion)
    snapshots = [_copy(name, seen.current) for name in seen.names]
    if planned.plan.changed or outcome.failures or options.wait:
        snapshots = _reread(backend, seen.datasets, snapshots, options.wait)
    return _result(planned, outcome, snapshots, seen.warnings)


def _result(
    planned: Absent, outcome: deletion.Outcome, snapshots: Sequence[Snapshot], warnings: Sequence[str] = ()
) -> dict[str, Any]:
    """The re-read ``snapshots`` decide what has failed, whatever the commands reported."""
    failures = _failures(snapshots, outcome.failures)
    done = [effect for effect in outcome.done if effect.name not in failures]
    steps = [*planned.cascade.steps, *([Step(tuple(done))] if done else [])]
    return result(Plan(steps, [*warnings]), snapshots, failures, [name for name in outcome.busy if name in failures])


def _read(backend: Backend, options: Options) -> Seen:
    """A cascade needs whole pools. Slow columns are read only for what would be deleted, and for its datasets."""
    cascade = options.on_dependents == "cascade"
    roots = list(dict.fromkeys(name.dataset.pool for name in options.names)) if cascade else datasets_of(options)
    found, _missing = inventory.read(backend, roots, None if cascade else options.selection.depth)
    names, warnings = snapshots_of(options, backend, found)
    existing = {snapshot.name: snapshot for dataset in found.values() for snapshot in dataset.snapshots}
    current = {name: existing[name] for name in names if name in existing}
    datasets = {name: found[name] for name in dict.fromkeys(name.partition("@")[0] for name in names) if name in found}
    closure = closure_of(found, current) if cascade else Closure()
    for dataset in [*datasets.values(), *closure.clones]:
        objects.link(dataset)
    running = read_activity(backend)
    clones = {clone.name: clone for clone in closure.clones}
    objects.fill(backend, {**datasets, **clones}, [*current.values(), *closure.snapshots], running)
    objects.fill_records(backend, clones)
    return Seen(names, current, datasets, running, closure, warnings)


def _refuse_inbound(seen: Seen) -> None:
    for dataset in seen.datasets.values():
        inbound = objects.inbound_of(dataset, seen.running)
        if inbound and inbound.name in seen.names and inbound.name not in seen.current:
            raise Refused(
                f"{inbound.name} is still being received, so it cannot be deleted; end its relationship first "
                "(zfs_replication with state=absent)"
            )


@dataclass
class Absent:
    """What will be done: the clones with their snapshots, in strict order, then the requested snapshots."""

    cascade: Plan
    deletion: deletion.Deletion

    @property
    def plan(self) -> Plan:
        return Plan([*self.cascade.steps, *self.deletion.plan.steps])


def plan_absent(options: Options, requested: Sequence[Snapshot], closure: Closure, running: Activity) -> Absent:
    """What to delete, in order; Refused if something forbids it.

    The requested snapshots and those of the closure must have been read with all values and holds.
    """
    sending = {snap.name for snap in requested if running.sends(snap.name)}
    if options.on_dependents == "fail":
        _refuse_dependents(requested, sending)
    if options.on_dependents != "cascade":
        return Absent(Plan(), deletion.plan_deletion(requested, sending))
    _refuse_cascade(requested, closure, sending)
    cascaded = {clone.name for clone in closure.clones}
    rest = [
        replace(snap, clones=[])
        for snap in requested
        if snap.dataset not in cascaded and not (snap.state == model.PENDING_DELETE and snap.clones)
    ]
    return Absent(_plan_cascade(requested, closure), deletion.plan_deletion(rest, sending))


def _plan_cascade(requested: Sequence[Snapshot], closure: Closure) -> Plan:
    """Each clone's snapshots, the clone, and its origin if only that clone kept it from its pending deletion."""
    plan = Plan()
    last = {clone.origin: clone.name for clone in closure.clones}  # origin -> its clone that is destroyed last
    origins = {snap.name: snap for snap in [*requested, *closure.snapshots]}
    for clone in closure.clones:
        own = [deletion.destruction(snap.name) for snap in clone.snapshots if snap.state == model.FULL]
        plan.steps += deletion.removals(clone.name, own)
        plan.add(
            f"destroy clone {clone.name} of {clone.origin}",
            zfs.destroy(clone.name),
            before={clone.name: {"origin": clone.origin}},
            after={clone.name: {"state": model.ABSENT}},
        )
        origin = origins.get(clone.origin or "")
        if origin and origin.state == model.PENDING_DELETE and last[clone.origin] == clone.name:
            text = f"{origin.name}, which was pending deletion, is destroyed by ZFS with {clone.name}"
            plan.steps.append(Step((Effect(origin.name, text, {"state": origin.state}, {"state": model.ABSENT}),)))
    return plan


def _refuse_dependents(requested: Sequence[Snapshot], sending: Collection[str]) -> None:
    found = []
    for snap in requested:
        needed_by = blockers(snap) + (["the transfer that sends it"] if snap.name in sending else [])
        if needed_by:
            found.append(f"{snap.name} is needed by {listing(shortened(needed_by))}")
    if found:
        raise Refused(
            f"{'; '.join(found)}. Nothing was deleted. Remove these first, or set on_dependents to defer or cascade"
        )


def _refuse_cascade(requested: Sequence[Snapshot], closure: Closure, sending: Collection[str]) -> None:
    found = [f"{name}: {listing(reasons)}" for name, reasons in closure.obstacles().items()]
    for snap in [*requested, *closure.snapshots]:
        needed_by = [blocker for blocker in blockers(snap) if not blocker.startswith("clone ")]
        needed_by += ["the transfer that sends it"] if snap.name in sending else []
        if needed_by:
            found.append(f"{snap.name}: {listing(needed_by)}")
    if found:
        raise Refused(
            f"a cascade deletes only snapshots and clones, so these block it: {'; '.join(dict.fromkeys(found))}. "
            "Nothing was deleted. Remove them first, or set on_dependents=defer"
        )


def foretold(seen: Seen, plan: Plan) -> list[Snapshot]:
    """The requested snapshots as they will be after the plan."""
    states = {effect.name: effect.after.get("state") for effect in plan.effects}
    predicted = []
    for name in seen.names:
        snap = _copy(name, seen.current)
        if snap.state == model.FULL and states.get(name) == model.PENDING_DELETE:
            snap.state = model.PENDING_DELETE
        elif name in states:
            snap = _deleted(snap)
        predicted.append(snap)
    return predicted


def _copy(name: str, current: Mapping[str, Snapshot]) -> Snapshot:
    return replace(current[name]) if name in current else Snapshot(name, state=model.ABSENT)


def _deleted(snap: Snapshot) -> Snapshot:
    """The object of a snapshot that is absent now. What identified it is kept."""
    return Snapshot(snap.name, snap.guid, snap.createtxg, model.ABSENT, snap.created)


def _reread(backend: Backend, datasets: Inventory, snapshots: list[Snapshot], wait: float) -> list[Snapshot]:
    """The snapshots as they are now. Waits up to so many seconds for pending deletions to end."""

    def look() -> list[Snapshot]:
        existing = [snap for snap in snapshots if snap.state != model.ABSENT]
        if existing:
            objects.fill(backend, datasets, existing, read_activity(backend))
        return snapshots

    wait_for(look, lambda found: all(snap.state != model.PENDING_DELETE for snap in found), _POLL, wait)
    return [_deleted(snap) if snap.state == model.ABSENT else snap for snap in snapshots]


def _failures(snapshots: Sequence[Snapshot], reported: Mapping[str, str]) -> dict[str, str]:
    """Name -> why it still exists. ``reported``: name -> the message of zfs."""
    deleted = {snap.name for snap in snapshots if snap.state == model.ABSENT}
    unreported = {
        snap.name: f"{snap.name} still exists, but ZFS reported no error"
        for snap in snapshots
        if snap.state == model.FULL
    }
    return {**unreported, **{name: message for name, message in reported.items() if name not in deleted}}
