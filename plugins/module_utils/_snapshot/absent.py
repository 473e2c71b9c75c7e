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
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Snapshot
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
    for dataset in [*datasets.values(), *closure.datasets]:
        objects.link(dataset)
    running = read_activity(backend)
    clones = {clone.name: clone for clone in closure.datasets}
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
    _refuse_cascade(requested, closure, running)
    cascaded = {clone.name for clone in closure.datasets}
    rest = [
        replace(snap, clones=[])
        for snap in requested
        if snap.dataset not in cascaded and not (snap.state == model.PENDING_DELETE and snap.clones)
    ]
    return Absent(plan_cascade(requested, closure), deletion.plan_deletion(rest, sending))


def plan_cascade(others: Sequence[Snapshot], closure: Closure) -> Plan:
    """For each dataset: release our holds, destroy its snapshots, then itself, and with it a pending origin.

    ``others``: origins that are not in the closure. They and the closure must have been read with all values and holds.
    """
    plan = Plan()
    names = {dataset.name for dataset in closure.datasets}
    origins = {
        snap.name: snap
        for snap in [*others, *closure.snapshots]
        if snap.state == model.PENDING_DELETE and not snap.userrefs and names.issuperset(snap.clones or [])
    }
    last = {dataset.origin: dataset.name for dataset in closure.datasets}  # origin -> its clone that is destroyed last
    for dataset in closure.datasets:
        own = [deletion.destruction(snap.name) for snap in dataset.snapshots if snap.state == model.FULL]
        plan.steps += [*_releases(dataset.snapshots), *deletion.removals(dataset.name, own), _destruction(dataset)]
        origin = origins.get(dataset.origin or "")
        if origin and last[dataset.origin] == dataset.name:
            text = f"{origin.name}, which was pending deletion, is destroyed by ZFS with {dataset.name}"
            plan.steps.append(Step((Effect(origin.name, text, {"state": origin.state}, {"state": model.ABSENT}),)))
    return plan


def _destruction(dataset: Dataset) -> Step:
    kind = "clone" if dataset.origin else dataset.type
    return Step.of(
        f"destroy {kind} {dataset.name}" + (f" of {dataset.origin}" if dataset.origin else ""),
        (zfs.destroy(dataset.name),),
        before={dataset.name: {"origin": dataset.origin} if dataset.origin else {"type": dataset.type}},
        after={dataset.name: {"state": model.ABSENT}},
    )


def _releases(snapshots: Sequence[Snapshot]) -> list[Step]:
    """Release every hold of the snapshots. A pending deletion ends with the last one."""
    steps: list[Step] = []
    held = [snap for snap in snapshots if snap.holds]
    tags = {snap.name: sorted(hold.tag for hold in snap.holds or []) for snap in held}
    for tag in sorted({tag for each in tags.values() for tag in each}):
        effects = {}
        for snap in (snap for snap in held if tag in tags[snap.name]):
            ends = snap.state == model.PENDING_DELETE and tag == tags[snap.name][-1]
            text = f"release hold {tag} of {snap.name}" + (", which was pending deletion and ends with it" * ends)
            after = {"holds": {tag: False}, **({"state": model.ABSENT} if ends else {})}
            effects[snap.name] = Effect(snap.name, text, {"holds": {tag: True}}, after, f"release {tag}")
        steps += [
            Step(tuple(effects[name] for name in batch), (zfs.release(tag, batch),))
            for batch in zfs.batches(list(effects), max_bytes=zfs.LOCAL_ARGUMENTS)
        ]
    return steps


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


def _refuse_cascade(requested: Sequence[Snapshot], closure: Closure, running: Activity) -> None:
    found = obstacles(requested, closure, running)
    if found:
        raise Refused(
            f"a cascade deletes only snapshots and clones, so these block it: {'; '.join(found)}. "
            "Nothing was deleted. Remove them first, or set on_dependents=defer"
        )


def obstacles(requested: Sequence[Snapshot], closure: Closure, running: Activity) -> list[str]:
    """What forbids a cascade, as ``tank/a@s: hold keep``.

    Holds of ours on the snapshots of named datasets do not: if a relationship still needed them, it would be listed.
    """
    found = [f"{name}: {listing(reasons)}" for name, reasons in closure.obstacles().items()]
    for snap in [*requested, *closure.snapshots]:
        ours = [f"hold {hold.tag}" for hold in snap.holds or [] if hold.ours and snap.dataset in closure.named]
        needed_by = [each for each in blockers(snap) if not each.startswith("clone ") and each not in ours]
        needed_by += ["the transfer that sends it"] if running.sends(snap.name) else []
        if needed_by:
            found.append(f"{snap.name}: {listing(needed_by)}")
    return list(dict.fromkeys(found))


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
