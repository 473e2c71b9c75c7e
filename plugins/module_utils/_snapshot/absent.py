# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots that must not be there."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import model
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import listing
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Effect, Plan, Step
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import Activity, read_activity
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.execute import execute
from ansible_collections.cerss.zfs.plugins.module_utils._host.inventory import Inventory
from ansible_collections.cerss.zfs.plugins.module_utils._host.waiting import wait_for
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot import deletion, objects
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.dependents import Closure, blockers, closure_of
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.options import Options, datasets_of, expanded, result
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs

_POLL = 1.0  # seconds between looks at a pending deletion


@dataclass
class Seen:
    """What is there now: the snapshots meant and those that exist, their datasets, and what a cascade takes along."""

    names: list[str]
    current: dict[str, Snapshot]
    datasets: Inventory
    running: Activity
    closure: Closure = field(default_factory=Closure)


def main(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """zfs_snapshot with state=absent."""
    options, backend = Options.from_params(params), Backend()
    seen = _read(backend, options)
    _refuse_arriving(seen)
    planned = plan_absent(options, list(seen.current.values()), seen.closure, seen.running)
    if check_mode:
        failures = planned.deletion.failures
        return result(planned.plan, foretold(seen, planned.plan), failures, list(failures))
    execute(backend, planned.cascade)
    outcome = deletion.delete(backend, planned.deletion)
    ends = [_end(name, seen.current) for name in seen.names]
    if planned.plan.changed or outcome.failures or options.wait:
        ends = _reread(backend, seen.datasets, ends, options.wait)
    failures = _failures(ends, outcome.failures)
    done = [effect for effect in outcome.done if effect.name not in failures]
    steps = [*planned.cascade.steps, *([Step(tuple(done))] if done else [])]
    return result(Plan(steps), ends, failures, [name for name in outcome.busy if name in failures])


def _read(backend: Backend, options: Options) -> Seen:
    """The closure is of a whole pool. Slow columns are read for what would go, and its datasets."""
    cascade = options.on_dependents == "cascade"
    roots = list(dict.fromkeys(name.dataset.pool for name in options.names)) if cascade else datasets_of(options)
    found, _gone = inventory.read(backend, roots, None if options.recursive or cascade else 1)
    names = expanded(options, found)
    here = {snapshot.name: snapshot for dataset in found.values() for snapshot in dataset.snapshots}
    current = {name: here[name] for name in names if name in here}
    datasets = {name: found[name] for name in dict.fromkeys(name.partition("@")[0] for name in names) if name in found}
    closure = closure_of(found, current) if cascade else Closure()
    for dataset in [*datasets.values(), *closure.clones]:
        objects.link(dataset)
    running = read_activity(backend)
    to_read = {**datasets, **{clone.name: clone for clone in closure.clones}}
    objects.fill(backend, to_read, [*current.values(), *closure.snapshots], running)
    return Seen(names, current, datasets, running, closure)


def _refuse_arriving(seen: Seen) -> None:
    for dataset in seen.datasets.values():
        inbound = objects.arriving(dataset, seen.running)
        if inbound and inbound.name in seen.names and inbound.name not in seen.current:
            raise Refused(
                f"{inbound.name} is arriving by replication, so it is not there yet and cannot be deleted; "
                "end the replication first (cerss.zfs.zfs_replication)"
            )


@dataclass
class Absent:
    """What will be done: clones and all that is theirs in strict order, then the snapshots themselves."""

    cascade: Plan
    deletion: deletion.Deletion

    @property
    def plan(self) -> Plan:
        return Plan([*self.cascade.steps, *self.deletion.plan.steps])


def plan_absent(options: Options, requested: Sequence[Snapshot], closure: Closure, running: Activity) -> Absent:
    """``wanted`` and what is in the closure: read with all values and holds."""
    sending = {snap.name for snap in requested if running.sends(snap.name)}
    if options.on_dependents == "fail":
        _refuse_dependents(requested, sending)
    if options.on_dependents != "cascade":
        return Absent(Plan(), deletion.plan_deletion(requested, sending))
    _refuse_cascade(requested, closure, sending)
    gone = {clone.name for clone in closure.clones}
    left = [
        replace(snap, clones=[])
        for snap in requested
        if snap.dataset not in gone and not (snap.state == model.PENDING_DELETE and snap.clones)
    ]
    return Absent(_plan_cascade(requested, closure), deletion.plan_deletion(left, sending))


def _plan_cascade(requested: Sequence[Snapshot], closure: Closure) -> Plan:
    """Each clone's free snapshots, the clone, and what waited for that."""
    plan = Plan()
    last = {clone.origin: clone.name for clone in closure.clones}  # the last one that its origin waits for
    origins = {snap.name: snap for snap in [*requested, *closure.snapshots]}
    for clone in closure.clones:
        ends = [deletion.ending(snap.name) for snap in clone.snapshots if snap.state == model.FULL]
        plan.steps += deletion.removals(clone.name, ends)
        plan.add(
            f"destroy clone {clone.name} of {clone.origin}",
            zfs.destroy(clone.name),
            before={clone.name: {"origin": clone.origin}},
            after={clone.name: {"state": model.ABSENT}},
        )
        origin = origins.get(clone.origin or "")
        if origin and origin.state == model.PENDING_DELETE and last[clone.origin] == clone.name:
            text = f"{origin.name}, marked for deletion before, goes with it"
            plan.steps.append(Step((Effect(origin.name, text, {"state": origin.state}, {"state": model.ABSENT}),)))
    return plan


def _refuse_dependents(requested: Sequence[Snapshot], sending: Collection[str]) -> None:
    found = []
    for snap in requested:
        left = blockers(snap) + (["the transfer that sends it"] if snap.name in sending else [])
        if left:
            found.append(f"{snap.name} is needed by {listing(left)}")
    if found:
        raise Refused(
            f"{'; '.join(found)}. Nothing was deleted. Remove these first, or set on_dependents to defer or cascade"
        )


def _refuse_cascade(requested: Sequence[Snapshot], closure: Closure, sending: Collection[str]) -> None:
    found = [f"{name}: {listing(reasons)}" for name, reasons in closure.obstacles().items()]
    for snap in [*requested, *closure.snapshots]:
        left = [blocker for blocker in blockers(snap) if not blocker.startswith("clone ")]
        left += ["the transfer that sends it"] if snap.name in sending else []
        if left:
            found.append(f"{snap.name}: {listing(left)}")
    if found:
        raise Refused(
            f"a cascade deletes clones and nothing else, so these stand in its way: {'; '.join(dict.fromkeys(found))}. "
            "Nothing was deleted. Remove them first, or set on_dependents=defer"
        )


def foretold(seen: Seen, plan: Plan) -> list[Snapshot]:
    """What will have become of the snapshots."""
    states = {effect.name: effect.after.get("state") for effect in plan.effects}
    ends = []
    for name in seen.names:
        end = _end(name, seen.current)
        if end.state == model.FULL and states.get(name) == model.PENDING_DELETE:
            end.state = model.PENDING_DELETE
        elif name in states:
            end = _blank(end)
        ends.append(end)
    return ends


def _end(name: str, current: Mapping[str, Snapshot]) -> Snapshot:
    return replace(current[name]) if name in current else Snapshot(name, state=model.ABSENT)


def _blank(snap: Snapshot) -> Snapshot:
    """What is left of a snapshot that is gone."""
    return Snapshot(snap.name, snap.guid, snap.createtxg, model.ABSENT, snap.created)


def _reread(backend: Backend, datasets: Inventory, ends: list[Snapshot], wait: float) -> list[Snapshot]:
    """What has become of them, looking for so many seconds whether pending deletions end."""

    def look() -> list[Snapshot]:
        there = [end for end in ends if end.state != model.ABSENT]
        if there:
            objects.fill(backend, datasets, there, read_activity(backend))
        return ends

    wait_for(look, lambda found: all(end.state != model.PENDING_DELETE for end in found), _POLL, wait)
    return [_blank(end) if end.state == model.ABSENT else end for end in ends]


def _failures(ends: Sequence[Snapshot], said: Mapping[str, str]) -> dict[str, str]:
    """Why, by name, for what is still there. ``said``: what zfs said of it."""
    gone = {end.name for end in ends if end.state == model.ABSENT}
    silent = {
        end.name: f"{end.name} is still there, though ZFS did not say why" for end in ends if end.state == model.FULL
    }
    return {**silent, **{name: words for name, words in said.items() if name not in gone}}
