# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zfs_snapshot with state=present."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import model, units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, CerssError, Refused, ZfsError
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import LifetimeMark, TemporaryMark, is_ours
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Hold, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import SnapshotName, listing, matches, shortened
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Effect, Plan, Step
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import Activity, read_activity
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.execute import attempt
from ansible_collections.cerss.zfs.plugins.module_utils._host.inventory import Inventory
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot import objects
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.dependents import blockers
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.hooks import Stopped, around
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.options import (
    Options,
    datasets_of,
    result,
    snapshots_of,
)
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs

Diff = tuple[dict[str, Any], dict[str, Any]]


def main(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    options, backend = Options.from_params(params, time.time()), Backend()
    if options.selection.roots == ():
        return result(Plan(), [], {})
    found = _read(backend, options)
    names, warnings = snapshots_of(options, backend, found)
    names, early = _ready(options, names, found)
    warnings += early
    if not names:
        return result(Plan([], warnings), [], {})
    for name in names:
        SnapshotName.parse(name)
    current = {snapshot.name: snapshot for dataset in found.values() for snapshot in dataset.snapshots}
    running = read_activity(backend)
    datasets = _datasets(names, found)
    for dataset in datasets.values():
        objects.link(dataset)
    age_matters = options.min_age is not None and any(name not in current for name in names)
    young = _newest_matching(datasets, options) if age_matters else {}
    known = {name: current[name] for name in [*names, *(snap.name for snap in young.values())] if name in current}
    objects.fill(backend, datasets, list(known.values()), running, keep=list(options.properties))
    names, left_out = without_replicas(options, names, datasets)
    warnings += left_out
    datasets = _datasets(names, datasets)
    if age_matters:
        young = {name: young[name] for name in young if name in datasets}
        warnings += _from_the_future(young, running.now)
        if _all_young(backend, datasets, young, options, running):
            return result(Plan([], warnings), [young[name] for name in datasets], {})
    planned = plan_present(options, names, datasets, running)
    planned.warnings += warnings
    if check_mode:
        return result(planned.plan, foretold(options, names, current, datasets), {})
    if not planned.plan.changed:
        return result(planned.plan, [current[name] for name in names], {})
    reported, problem = _carry_out(backend, planned, options)
    snapshots = [_unread(name, datasets[name.partition("@")[0]]) for name in names]
    objects.fill(backend, datasets, snapshots, read_activity(backend), keep=list(options.properties))
    return _result(planned, snapshots, _plan_rest(options, snapshots, running.now), reported, problem)


def _read(backend: Backend, options: Options) -> Inventory:
    found, missing = inventory.read(backend, datasets_of(options), options.selection.depth)
    if missing:
        raise BadInput(
            f"there is no dataset {', '.join(sorted(missing))}, so no snapshot was created; check name, or create it "
            "first (zfs_dataset)"
        )
    return found


def _datasets(names: Sequence[str], found: Inventory) -> Inventory:
    """Those of the snapshots."""
    return {name: found[name] for name in dict.fromkeys(name.partition("@")[0] for name in names)}


def _from_the_future(young: Mapping[str, Snapshot], now: float) -> list[str]:
    future = [snap for snap in young.values() if snap.created is not None and snap.created > now]
    return [f"{objects.from_the_future(snap)}, so it does not count for min_age" for snap in future]


def _ready(options: Options, names: Sequence[str], found: Inventory) -> tuple[list[str], list[str]]:
    """(names to work on, warnings). A dataset that is being received for the first time is skipped unless named."""
    named = options.named
    early = [name for name in names if found[name.partition("@")[0]].inconsistent and name not in named]
    warnings = [f"{name} is skipped, since its dataset is being received for the first time" for name in early]
    return [name for name in names if name not in early], warnings


def without_replicas(options: Options, names: Sequence[str], datasets: Inventory) -> tuple[list[str], list[str]]:
    """(names to work on, warnings). Snapshots that would be new on a replica are left out; named ones are refused.

    ``datasets``: those of the names, with their marks. Existing snapshots may be changed.
    """
    if options.on_replica == "allow":
        return list(names), []
    new = {
        name: " and ".join(dataset.relationships())
        for name in names
        if (dataset := datasets[name.partition("@")[0]]).is_replica and not dataset.by_name(name)
    }
    named = options.named
    refused = {name: what for name, what in new.items() if name in named}
    if refused:
        raise Refused(
            f"{_on_replicas(refused)}. Snapshots there would make its next increment fail, so nothing was created. "
            "Create them on the source, end the relationship (zfs_replication with state=absent), or set "
            "on_replica=allow"
        )
    warnings = [f"{_on_replicas({name: what})}; it is left out (see on_replica)" for name, what in new.items()]
    return [name for name in names if name not in new], warnings


def _on_replicas(new: Mapping[str, str]) -> str:
    return "; ".join(f"{name} cannot be created: {name.partition('@')[0]} is {what}" for name, what in new.items())


def _result(
    planned: Present, snapshots: Sequence[Snapshot], rest: Plan, reported: Mapping[str, str], problem: str | None
) -> dict[str, Any]:
    """What the re-read ``snapshots`` lack (``rest``) has failed, whatever the commands reported."""
    left = {effect.key for effect in rest.effects}
    failures = {
        name: reported.get(name, f"{name} is not as requested, but ZFS reported no error") for name, _aspect in left
    }
    done = [
        replace(step, effects=tuple(effect for effect in step.effects if effect.key not in left))
        for step in planned.plan.steps
    ]
    plan = Plan([step for step in done if step.effects], planned.warnings)
    return result(plan, snapshots, failures, problem=problem)


def _plan_rest(options: Options, snapshots: Sequence[Snapshot], now: float) -> Plan:
    """What would still have to be done."""
    missing = [snap.name for snap in snapshots if snap.state == model.ABSENT]
    existing = [snap for snap in snapshots if snap.state != model.ABSENT]
    creations = [_creation(options, missing)] if missing else []
    return Plan([*creations, *_settings(options, existing, now), *_holds(options, missing, existing)])


def _unread(name: str, dataset: Dataset) -> Snapshot:
    """The object to fill; a new snapshot comes after all that the dataset had."""
    old = dataset.by_name(name)
    newest = dataset.snapshots[-1] if dataset.snapshots else None
    return Snapshot(name, depends_on=old.depends_on if old else objects.dependence(newest, dataset.origin))


def _newest_matching(datasets: Inventory, options: Options, passed: Sequence[str] = ()) -> dict[str, Snapshot]:
    """Dataset -> its newest snapshot that ``match`` covers, without those passed over."""
    found = {}
    for name, dataset in datasets.items():
        for snap in reversed(dataset.snapshots):
            if snap.name not in passed and matches(snap.snapshot, options.match):
                found[name] = snap
                break
    return found


def _all_young(
    backend: Backend, datasets: Inventory, young: dict[str, Snapshot], options: Options, running: Activity
) -> bool:
    """True if each dataset has a matching snapshot that is younger than min_age and not pending deletion.

    Puts these into ``young``, which has the newest matching one of each dataset.
    """
    passed: list[str] = []
    while len(young) == len(datasets):
        pending = [snap for snap in young.values() if snap.state != model.FULL]
        ages = [units.age(snap.created or 0, running.now, skew=0) for snap in young.values()]
        if any(age is None or age >= (options.min_age or 0) for age in ages):
            return False
        if not pending:
            return True
        passed += [snap.name for snap in pending]
        older = _newest_matching({snap.dataset: datasets[snap.dataset] for snap in pending}, options, passed)
        for snap in pending:
            del young[snap.dataset]
        young.update(older)
        objects.fill(backend, {name: datasets[name] for name in older}, list(older.values()), running)
    return False


@dataclass
class Present:
    """What will be done: commands before, creations, commands after, then properties and holds.

    Each step of ``creations`` is one transaction.
    """

    before: list[Step]
    creations: list[Step]
    after: list[Step]
    corrections: list[Step]
    warnings: list[str]

    @property
    def plan(self) -> Plan:
        return Plan([*self.before, *self.creations, *self.after, *self.corrections], self.warnings)


def _carry_out(backend: Backend, planned: Present, options: Options) -> tuple[dict[str, str], str | None]:
    """(name of a snapshot -> the message of zfs, what else failed). A failure does not stop the other snapshots."""
    failures: dict[str, ZfsError] = {}
    created: list[str] = []
    problem = None
    try:
        if planned.creations:
            with around(options.before, options.after, [name for step in planned.creations for name in step.names]):
                for step in planned.creations:
                    outcome = attempt(backend, [step])
                    created += [effect.text for effect in outcome.done]
                    failures.update(outcome.failures)
    except CerssError as error:
        if isinstance(error, Stopped) or not created:
            error.msg += f" (done: {'; '.join(shortened(created))})" if created else " (no snapshot was created)"
            error.details.update(actions=created, changed=bool(created))
            raise
        problem = error.msg
    failures.update(attempt(backend, planned.corrections).failures)
    return {name: error.msg for name, error in failures.items()}, problem


def plan_present(options: Options, names: Sequence[str], datasets: Inventory, running: Activity) -> Present:
    """What to do so that the named snapshots are as requested; Refused if that is impossible.

    ``datasets``: those of the names. The named snapshots that exist must have been read with all values and holds.
    """
    current = {snapshot.name: snapshot for dataset in datasets.values() for snapshot in dataset.snapshots}
    existing = [current[name] for name in names if name in current]
    missing = [name for name in names if name not in current]
    _refuse_pending(existing)
    _refuse_inbound(missing, datasets, running)
    groups = _transactions(missing)
    before, after = ([Step.of(f"run {command.label}") for command in commands if missing]
                     for commands in (options.before, options.after))  # fmt: skip
    creations = [_creation(options, group) for group in groups]
    corrections = [*_settings(options, existing, running.now), *_holds(options, missing, existing)]
    return Present(before, creations, after, corrections, _warnings(groups, datasets, running))


def _warnings(groups: Sequence[Sequence[str]], datasets: Inventory, running: Activity) -> list[str]:
    found = []
    if len(groups) > 1:
        told = shortened([", ".join(shortened(group)) for group in groups])
        found.append(
            f"these snapshots are not atomic: {'; '.join(told)}. Each group is created after the one before, since ZFS "
            "creates atomically only snapshots of one pool, and only one of each dataset"
        )
    for name in [name for group in groups for name in group]:
        inbound = objects.inbound_of(datasets[name.partition("@")[0]], running)
        if inbound:
            found.append(
                f"{inbound.name} is still being received; after {name} is created, an interrupted transfer of it "
                "cannot be resumed"
            )
    return found


def _transactions(names: Sequence[str]) -> list[list[str]]:
    """Groups that ZFS creates atomically: snapshots of one pool, one of each dataset (zfs-snapshot(8)).

    ``[tank/a@1, tank/b@1, tank/a@2]`` gives ``[[tank/a@1, tank/b@1], [tank/a@2]]``.
    """
    groups: dict[tuple[int, str], list[str]] = {}
    seen: Counter[str] = Counter()
    for name in names:
        dataset = name.partition("@")[0]
        groups.setdefault((seen[dataset], dataset.partition("/")[0]), []).append(name)
        seen[dataset] += 1
    return [batch for group in groups.values() for batch in zfs.batches(group, max_bytes=zfs.LOCAL_ARGUMENTS)]


def _creation(options: Options, names: Sequence[str]) -> Step:
    after: dict[str, Any] = {"state": model.FULL}
    properties = {name: value for name, value in options.properties.items() if value is not None}
    if properties:
        after["properties"] = properties
    if options.temporary:
        after["temporary"] = True
    if options.lifetime is not None:
        after["expires"] = _expiry(options.lifetime)
    effects = (Effect(name, f"create snapshot {name}", {"state": model.ABSENT}, after) for name in names)
    return Step(tuple(effects), (zfs.snapshot(names, options.settings()),))


def _expiry(lifetime: int) -> str:
    return f"{lifetime} s after its creation"


def _refuse_pending(snapshots: Sequence[Snapshot]) -> None:
    pending = [snapshot for snapshot in snapshots if snapshot.state == model.PENDING_DELETE]
    if pending:
        found = "; ".join(
            f"{snap.name} is pending deletion, which ZFS cannot undo, and exists only as long as "
            f"{listing(blockers(snap)) or 'something'} needs it"
            for snap in pending
        )
        raise Refused(f"{found}. Clone it with 'zfs clone' to save its data, or create a snapshot with another name")


def _refuse_inbound(missing: Sequence[str], datasets: Inventory, running: Activity) -> None:
    for name in missing:
        dataset = datasets[name.partition("@")[0]]
        inbound = objects.inbound_of(dataset, running)
        if inbound and inbound.name == name:
            raise Refused(
                f"{name} is still being received, so it cannot be created here; wait for it, or end its relationship "
                "(zfs_replication with state=absent)"
            )
        if dataset.inconsistent:
            raise Refused(
                f"{dataset.name} is being received for the first time, so {name} cannot be created; wait until the "
                "transfer has ended"
            )


def _settings(options: Options, existing: Sequence[Snapshot], now: float) -> list[Step]:
    """Set and unset properties of existing snapshots, with one command for all that need the same."""
    settings: dict[tuple[tuple[str, str], ...], list[Snapshot]] = {}
    unset: dict[str, list[Snapshot]] = {}
    for snap in existing:
        current = _current_settings(snap)
        pairs = tuple((name, value) for name, value in options.settings().items() if current.get(name) != value)
        if pairs:
            settings.setdefault(pairs, []).append(snap)
        if LifetimeMark.NAME in dict(pairs):
            _refuse_past(snap, options.lifetime or 0, now)
        for name in options.unsettings():
            if name in current:
                unset.setdefault(name, []).append(snap)
    steps: list[Step] = []
    for assigned, snaps in settings.items():
        values = dict(assigned)
        steps += _batches(snaps, partial(zfs.set_, values), f"set {listing(values)} of", "set",
                          partial(_settings_diff, list(values), values))  # fmt: skip
    for name, snaps in unset.items():
        steps += _batches(snaps, partial(zfs.inherit, name), f"unset {name} of", f"unset {name}",
                          partial(_settings_diff, [name], {}))  # fmt: skip
    return steps


def _current_settings(snap: Snapshot) -> dict[str, str]:
    """The properties of a snapshot as `Options.settings` has them."""
    current = dict(snap.properties or {})
    if snap.temporary:
        current[TemporaryMark.NAME] = TemporaryMark().format()
    if snap.lifetime is not None:
        current[LifetimeMark.NAME] = LifetimeMark(snap.lifetime).format()
    return current


def _refuse_past(snap: Snapshot, lifetime: int, now: float) -> None:
    end = (snap.created or 0) + lifetime
    if end <= now:
        raise BadInput(
            f"expires: {snap.name} was created at {units.iso_time(snap.created)}, so it would have expired at "
            f"{units.iso_time(end)}; give a longer time, or delete the snapshot"
        )


def _settings_diff(names: Sequence[str], values: Mapping[str, str], snap: Snapshot) -> Diff:
    """(before, after) of some properties, as results show them."""
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for name in names:
        if name == TemporaryMark.NAME:
            before["temporary"], after["temporary"] = bool(snap.temporary), name in values
        elif name == LifetimeMark.NAME:
            before["expires"] = None if snap.lifetime is None else _expiry(snap.lifetime)
            after["expires"] = _expiry(int(values[name])) if name in values else None
        else:
            before.setdefault("properties", {})[name] = (snap.properties or {}).get(name)
            after.setdefault("properties", {})[name] = values.get(name)
    return before, after


def _holds(options: Options, missing: Sequence[str], existing: Sequence[Snapshot]) -> list[Step]:
    new = [Snapshot(name, holds=[]) for name in missing]
    steps: list[Step] = []
    for tag in options.holds:
        lacking = [snap for snap in [*new, *existing] if tag not in _tags(snap)]
        steps += _batches(lacking, partial(zfs.hold, tag), f"put hold {tag} on", f"hold {tag}",
                          partial(_hold_diff, tag, True))  # fmt: skip
    for tag in sorted({tag for snap in existing for tag in _tags(snap) if _purged(tag, options)}):
        held = [snap for snap in existing if tag in _tags(snap)]
        steps += _batches(held, partial(zfs.release, tag), f"release hold {tag} of", f"release {tag}",
                          partial(_hold_diff, tag, False))  # fmt: skip
    return steps


def _purged(tag: str, options: Options) -> bool:
    """True if purge_holds releases the hold. It never releases ours, nor those of ZFS, which begin with a dot."""
    return options.purge_holds and tag not in options.holds and not tag.startswith(".") and not is_ours(tag)


def _hold_diff(tag: str, put: bool, _snap: Snapshot) -> Diff:
    return {"holds": {tag: not put}}, {"holds": {tag: put}}


def _tags(snap: Snapshot) -> set[str]:
    return {hold.tag for hold in snap.holds or []}


def _batches(
    snaps: Sequence[Snapshot], command: Callable[[list[str]], list[str]], verb: str, aspect: str,
    diff: Callable[[Snapshot], Diff],
) -> list[Step]:  # fmt: skip
    """As few commands as possible. ``verb``: how an action begins; the name of the snapshot follows."""
    by_name = {snap.name: snap for snap in snaps}
    return [
        Step(tuple(Effect(name, f"{verb} {name}", *diff(by_name[name]), aspect) for name in batch), (command(batch),))
        for batch in zfs.batches(list(by_name), max_bytes=zfs.LOCAL_ARGUMENTS)
    ]


def foretold(
    options: Options, names: Sequence[str], current: Mapping[str, Snapshot], datasets: Inventory
) -> list[Snapshot]:
    """The objects as they will be. What only ZFS can tell, as the GUID of a new snapshot, is None."""
    return [_foretold(options, name, current.get(name), datasets[name.partition("@")[0]]) for name in names]


def _foretold(options: Options, name: str, old: Snapshot | None, dataset: Dataset) -> Snapshot:
    snap = replace(old) if old else replace(_unread(name, dataset), clones=[], holds=[], replications=[])
    if options.properties:
        properties = {**(snap.properties or {}), **options.properties}
        snap.properties = {key: value for key, value in properties.items() if value is not None}
    if options.temporary is not None or not old:
        snap.temporary = bool(options.temporary)
    if options.unlimited:
        snap.lifetime = None
    snap.lifetime = options.lifetime if options.lifetime is not None else snap.lifetime
    holds = [hold for hold in snap.holds or [] if not _purged(hold.tag, options)]
    snap.holds = [*holds, *(Hold(tag) for tag in options.holds if tag not in {hold.tag for hold in holds})]
    snap.userrefs = len(snap.holds)
    return snap
