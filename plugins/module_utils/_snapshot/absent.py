# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots that must not be there."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import model
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import listing
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import Activity, read_activity
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.execute import carry_out
from ansible_collections.cerss.zfs.plugins.module_utils._host.inventory import Inventory
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot import deletion, objects
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.dependents import Closure, blockers, closure_of
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.options import (
    Options,
    expanded,
    joined,
    result,
    volumes_of,
)
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs

_POLL = 1.0  # seconds between looks at a pending deletion


def main(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """zfs_snapshot with state=absent."""
    options, backend = Options.from_params(params), Backend()
    cascade = options.on_dependents == "cascade"
    roots = list(dict.fromkeys(name.dataset.pool for name in options.names)) if cascade else volumes_of(options)
    found, _gone = inventory.read(backend, roots, None if options.recursive or cascade else 1)
    names = expanded(options, found)
    here = {snapshot.name: snapshot for dataset in found.values() for snapshot in dataset.snapshots}
    wanted = [here[name] for name in names if name in here]
    volumes = {name: found[name] for name in dict.fromkeys(name.partition("@")[0] for name in names) if name in found}
    closure = closure_of(found, [snap.name for snap in wanted]) if cascade else Closure()
    for dataset in [*volumes.values(), *closure.clones]:
        objects.link(dataset)
    running = read_activity(backend)
    along = [snap for clone in closure.clones for snap in clone.snapshots]
    to_read = {**volumes, **{clone.name: clone for clone in closure.clones}}
    objects.fill(backend, to_read, [*wanted, *along], running)
    if cascade:
        closure = closure_of(found, [snap.name for snap in wanted])  # with the marks that were read
    _refuse_arriving([name for name in names if name not in here], volumes, running)
    decided = plan_absent(options, wanted, closure, running)
    if check_mode:
        failures = decided.deletion.failures
        return result(decided.plan, [_foretold_end(name, here, decided) for name in names], failures, list(failures))
    carry_out(backend, decided.cascade)
    outcome = deletion.delete(backend, decided.deletion)
    ends = [_fresh_end(name, here) for name in names]
    if decided.plan.changed or outcome.failures or options.wait:
        _reread(backend, volumes, ends, options.wait)
    for end in ends:
        if end.state == model.ABSENT:
            outcome.failures.pop(end.name, None)
        elif end.state == model.FULL:
            outcome.failures.setdefault(end.name, f"{end.name} is still there, though ZFS did not say why")
    busy = [name for name in outcome.busy if name in outcome.failures]
    return result(_what_was_done(decided.plan, ends, outcome.failures), ends, outcome.failures, busy)


def _refuse_arriving(missing: Sequence[str], volumes: Inventory, running: Activity) -> None:
    for dataset in volumes.values():
        inbound = objects.arriving(dataset, running)
        if inbound and inbound.name in missing:
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
        return joined([self.cascade, self.deletion.plan], [])


def plan_absent(options: Options, wanted: Sequence[Snapshot], closure: Closure, running: Activity) -> Absent:
    """Pure: what stands there, read with all values and holds, and what shall."""
    sending = {snap.name for snap in wanted if running.sends(snap.name)}
    if options.on_dependents == "fail":
        _refuse_dependents(wanted, sending)
    if options.on_dependents != "cascade":
        return Absent(Plan(), deletion.plan_deletion(wanted, sending))
    _refuse_cascade(wanted, closure, sending)
    cascade = Plan()
    gone = {clone.name for clone in closure.clones}
    for clone in closure.clones:
        free = [snap for snap in clone.snapshots if snap.state == model.FULL]
        for batch in zfs.batches([snap.snapshot for snap in free], zfs.BATCH):
            command = zfs.destroy_snapshots(clone.name, batch, defer=False)
            for number, part in enumerate(batch):
                name = f"{clone.name}@{part}"
                _add_end(cascade, f"destroy snapshot {name}", name, model.FULL, *([] if number else [command]))
        cascade.add(
            f"destroy clone {clone.name} of {clone.origin}",
            zfs.destroy(clone.name),
            before={clone.name: {"origin": clone.origin}},
            after={clone.name: {"state": model.ABSENT}},
        )
        for snap in [*wanted, *(snap for other in closure.clones for snap in other.snapshots)]:
            if snap.name == clone.origin and snap.state == model.PENDING_DELETE and _last(clone, closure):
                _add_end(cascade, f"{snap.name}, marked for deletion before, goes with it", snap.name, snap.state)
    left = [
        replace(snap, clones=[])
        for snap in wanted
        if snap.dataset not in gone and not (snap.state == model.PENDING_DELETE and snap.clones)
    ]
    return Absent(cascade, deletion.plan_deletion(left, sending))


def _last(clone: Dataset, closure: Closure) -> bool:
    """Is it the last one in the closure that its origin waits for?"""
    return [other for other in closure.clones if other.origin == clone.origin][-1] is clone


def _add_end(plan: Plan, text: str, name: str, state: str, *commands: list[str]) -> None:
    plan.add(text, *commands, before={name: {"state": state}}, after={name: {"state": model.ABSENT}})


def _refuse_dependents(wanted: Sequence[Snapshot], sending: Collection[str]) -> None:
    found = []
    for snap in wanted:
        left = blockers(snap) + (["the transfer that sends it"] if snap.name in sending else [])
        if left:
            found.append(f"{snap.name} is needed by {listing(left)}")
    if found:
        raise Refused(
            f"{'; '.join(found)}. Nothing was deleted. Remove these first, or set on_dependents to defer or cascade"
        )


def _refuse_cascade(wanted: Sequence[Snapshot], closure: Closure, sending: Collection[str]) -> None:
    snapshots = [*wanted, *(snap for clone in closure.clones for snap in clone.snapshots)]
    found = [f"{name}: {listing(reasons)}" for name, reasons in closure.obstacles.items()]
    for snap in snapshots:
        left = [blocker for blocker in blockers(snap) if not blocker.startswith("clone ")]
        left += ["the transfer that sends it"] if snap.name in sending else []
        if left:
            found.append(f"{snap.name}: {listing(left)}")
    if found:
        raise Refused(
            f"a cascade deletes clones and nothing else, so these stand in its way: {'; '.join(dict.fromkeys(found))}. "
            "Nothing was deleted. Remove them first, or set on_dependents=defer"
        )


def _foretold_end(name: str, here: Mapping[str, Snapshot], decided: Absent) -> Snapshot:
    end = _fresh_end(name, here)
    ends = {key: value for action in decided.plan.actions for key, value in action.after.items()}
    if end.state == model.FULL and ends.get(name, {}).get("state") == model.PENDING_DELETE:
        return replace(end, state=model.PENDING_DELETE)
    return _blank(end) if name in ends else end


def _fresh_end(name: str, here: Mapping[str, Snapshot]) -> Snapshot:
    return replace(here[name]) if name in here else Snapshot(name, state=model.ABSENT)


def _blank(snap: Snapshot) -> Snapshot:
    """What is left of a snapshot that is gone."""
    return Snapshot(snap.name, snap.guid, snap.createtxg, model.ABSENT, snap.created)


def _reread(backend: Backend, volumes: Inventory, ends: list[Snapshot], wait: float) -> None:
    """Look what has become of them, and for so many seconds whether pending deletions end."""
    deadline = time.monotonic() + wait
    while True:
        there = [end for end in ends if end.state != model.ABSENT]
        if there:
            objects.fill(backend, volumes, there, read_activity(backend))
        ends[:] = [_blank(end) if end.state == model.ABSENT else end for end in ends]
        left = deadline - time.monotonic()
        if left <= 0 or not any(end.state == model.PENDING_DELETE for end in ends):
            return
        time.sleep(min(_POLL, left))


def _what_was_done(plan: Plan, ends: Sequence[Snapshot], failures: Mapping[str, str]) -> Plan:
    """The plan less what failed. What got a hold or a clone at the last moment was marked and not destroyed."""
    marked = {end.name for end in ends if end.state == model.PENDING_DELETE}
    done = Plan(warnings=plan.warnings)
    for action in plan.actions:
        (name, value), *_others = action.after.items()
        if name in marked and value.get("state") == model.ABSENT:
            state = {name: {"state": model.PENDING_DELETE}}
            done.actions.append(replace(action, text=f"mark {name} for deletion", after=state))
        elif name not in failures:
            done.actions.append(action)
    return done
