# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots that must be there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import model, units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, CerssError, Refused, ZfsError
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import LifetimeMark, TemporaryMark, is_ours
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Hold, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import SnapshotName, listing, matches
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
    expanded,
    result,
)
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs

Diff = tuple[dict[str, Any], dict[str, Any]]


def main(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """zfs_snapshot with state=present."""
    options, backend = Options.from_params(params), Backend()
    found, gone = inventory.read(backend, datasets_of(options), None if options.recursive else 1)
    if gone:
        raise BadInput(
            f"there is no volume {', '.join(sorted(gone))} of which a snapshot could be made; nothing was changed"
        )
    names, left_out = _ready(options, expanded(options, found), found)
    for name in names:
        SnapshotName.parse(name)
    here = {snapshot.name: snapshot for dataset in found.values() for snapshot in dataset.snapshots}
    running = read_activity(backend)
    datasets = {name.partition("@")[0]: found[name.partition("@")[0]] for name in names}
    for dataset in datasets.values():
        objects.link(dataset)
    missing = [name for name in names if name not in here]
    young = _newest_matching(datasets, options) if missing and options.min_age is not None else {}
    known = {name: here[name] for name in [*names, *(s.name for s in young.values())] if name in here}
    objects.fill(backend, datasets, list(known.values()), running, keep=list(options.properties))
    if missing and options.min_age is not None and _all_young(backend, datasets, young, options, running):
        return result(Plan(), [young[name] for name in datasets], {})
    planned = plan_present(options, names, datasets, running)
    planned.warnings += left_out
    if check_mode:
        return result(planned.plan, foretold(options, names, here, datasets), {})
    if not planned.plan.changed:
        return result(planned.plan, [here[name] for name in names], {})
    said, problem = _carry_out(backend, planned, options)
    fresh = [_fresh(name, datasets[name.partition("@")[0]]) for name in names]
    objects.fill(backend, datasets, fresh, read_activity(backend), keep=list(options.properties))
    left = {effect.key for effect in _plan_left(options, fresh, running.now).effects}
    failures = {name: said.get(name, f"{name} is not as asked for, though ZFS did not say why") for name, _ in left}
    done = [replace(step, effects=tuple(e for e in step.effects if e.key not in left)) for step in planned.plan.steps]
    return result(Plan([step for step in done if step.effects], planned.warnings), fresh, failures, problem=problem)


def _ready(options: Options, names: Sequence[str], found: Inventory) -> tuple[list[str], list[str]]:
    """(names, warnings) without what is below a named volume and still being received for the first time."""
    named = {str(name) for name in options.names}
    early = [name for name in names if found[name.partition("@")[0]].inconsistent and name not in named]
    warnings = [f"{name} is left out: the volume is being received for the first time" for name in early]
    return [name for name in names if name not in early], warnings


def _plan_left(options: Options, fresh: Sequence[Snapshot], now: float) -> Plan:
    """What would still have to be done: the re-read state decides what has failed."""
    missing = [snap.name for snap in fresh if snap.state == model.ABSENT]
    existing = [snap for snap in fresh if snap.state != model.ABSENT]
    creations = [_creation(options, missing)] if missing else []
    return Plan([*creations, *_marks(options, existing, now), *_holds(options, missing, existing)])


def _fresh(name: str, dataset: Dataset) -> Snapshot:
    """To be read anew."""
    old = dataset.by_name(name)
    before = dataset.snapshots[-1] if dataset.snapshots else None
    return Snapshot(name, depends_on=old.depends_on if old else objects.dependence(before, dataset.origin))


def _newest_matching(datasets: Inventory, options: Options, passed: Sequence[str] = ()) -> dict[str, Snapshot]:
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
    """True when each volume has a matching snapshot that is young enough and stays; they are put into ``young``."""
    passed: list[str] = []
    while len(young) == len(datasets):
        marked = [snap for snap in young.values() if snap.state != model.FULL]
        if any(running.now - (snap.created or 0) >= (options.min_age or 0) for snap in young.values()):
            return False
        if not marked:
            return True
        passed += [snap.name for snap in marked]
        older = _newest_matching({snap.dataset: datasets[snap.dataset] for snap in marked}, options, passed)
        for snap in marked:
            del young[snap.dataset]
        young.update(older)
        objects.fill(backend, {name: datasets[name] for name in older}, list(older.values()), running)
    return False


@dataclass
class Present:
    """What will be done: commands before, creations, commands after, and what is put right afterwards.

    ``making`` has one step for each command that creates snapshots, all at once.
    """

    before: list[Step]
    making: list[Step]
    after: list[Step]
    later: list[Step]
    warnings: list[str]

    @property
    def plan(self) -> Plan:
        return Plan([*self.before, *self.making, *self.after, *self.later], self.warnings)


def _carry_out(backend: Backend, planned: Present, options: Options) -> tuple[dict[str, str], str | None]:
    """Do it; (what ZFS said, by the name of the snapshot, what else went wrong). One bad snapshot spares the others."""
    failures: dict[str, ZfsError] = {}
    made: list[str] = []
    problem = None
    try:
        if planned.making:
            with around(options.before, options.after, [name for step in planned.making for name in step.names]):
                for step in planned.making:
                    outcome = attempt(backend, [step])
                    made += [effect.text for effect in outcome.done]
                    failures.update(outcome.failures)
    except CerssError as error:
        if isinstance(error, Stopped) or not made:
            error.msg += f" (done: {'; '.join(made)})" if made else " (no snapshot was made)"
            error.details.update(actions=made, changed=bool(made))
            raise
        problem = error.msg
    failures.update(attempt(backend, planned.later).failures)
    return {name: error.msg for name, error in failures.items()}, problem


def plan_present(options: Options, names: Sequence[str], datasets: Inventory, running: Activity) -> Present:
    """Pure: what stands there, read with all values, and what shall."""
    here = {snapshot.name: snapshot for dataset in datasets.values() for snapshot in dataset.snapshots}
    existing = [here[name] for name in names if name in here]
    missing = [name for name in names if name not in here]
    refuse_pending(existing)
    _refuse_inbound(missing, datasets, running)
    groups = _moments(missing)
    before, after = ([Step.of(f"run {command.label}") for command in commands if missing]
                     for commands in (options.before, options.after))  # fmt: skip
    making = [_creation(options, group) for group in groups]
    later = [*_marks(options, existing, running.now), *_holds(options, missing, existing)]
    warnings = []
    if len(groups) > 1:
        warnings.append(
            f"these snapshots are not all of one moment: {'; '.join(map(', '.join, groups))} are made one "
            "group after the other, since ZFS makes at once only snapshots of one pool, and only one of each volume"
        )
    for name in missing:
        inbound = objects.arriving(datasets[name.partition("@")[0]], running)
        if inbound:
            warnings.append(
                f"{inbound.name} is arriving; with {name} made now, an interrupted transfer of it cannot be resumed"
            )
    return Present(before, making, after, later, warnings)


def _moments(names: Sequence[str]) -> list[list[str]]:
    """What ZFS can make at once: of one pool, and one snapshot of each volume."""
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
        after["expires"] = _expiry_words(options.lifetime)
    effects = (Effect(name, f"create snapshot {name}", {"state": model.ABSENT}, after) for name in names)
    return Step(tuple(effects), (zfs.snapshot(names, options.marks()),))


def _expiry_words(lifetime: int) -> str:
    return f"{lifetime} s after its creation"


def refuse_pending(snapshots: Sequence[Snapshot]) -> None:
    """ZFS never takes the mark back."""
    marked = [snapshot for snapshot in snapshots if snapshot.state == model.PENDING_DELETE]
    if marked:
        raise Refused(
            "; ".join(
                f"{snapshot.name} is marked for deletion, which ZFS cannot undo; it stays only as long as "
                f"{listing(blockers(snapshot)) or 'something'} needs it. "
                f"To save its data clone it (cerss.zfs.zfs_clone), or make a snapshot of another name"
                for snapshot in marked
            )
        )


def _refuse_inbound(missing: Sequence[str], datasets: Inventory, running: Activity) -> None:
    for name in missing:
        dataset = datasets[name.partition("@")[0]]
        inbound = objects.arriving(dataset, running)
        if inbound and inbound.name == name:
            raise Refused(
                f"{name} is arriving by replication and cannot be made here; wait for it, or end the replication"
            )
        if dataset.inconsistent:
            raise Refused(
                f"{dataset.name} is being received for the first time and has no content of which a snapshot could be "
                "made; wait until the transfer has ended"
            )


def _marks(options: Options, existing: Sequence[Snapshot], now: float) -> list[Step]:
    """Properties and the temporary mark of what is there; one command for all that need the same."""
    settings: dict[tuple[tuple[str, str], ...], list[Snapshot]] = {}
    unset: dict[str, list[Snapshot]] = {}
    for snap in existing:
        have = dict(snap.properties or {})
        if snap.temporary:
            have[TemporaryMark.NAME] = TemporaryMark().format()
        if snap.lifetime is not None:
            have[LifetimeMark.NAME] = LifetimeMark(snap.lifetime).format()
        pairs = tuple((name, value) for name, value in options.marks().items() if have.get(name) != value)
        if pairs:
            settings.setdefault(pairs, []).append(snap)
        if LifetimeMark.NAME in dict(pairs):
            _refuse_past(snap, options.lifetime or 0, now)
        for name in options.unmarks():
            if name in have:
                unset.setdefault(name, []).append(snap)
    steps: list[Step] = []
    for assigned, snaps in settings.items():
        values = dict(assigned)
        steps += _batches(snaps, partial(zfs.set_, values), f"set {listing(values)} of", "set",
                          partial(_marks_diff, list(values), values))  # fmt: skip
    for name, snaps in unset.items():
        steps += _batches(snaps, partial(zfs.inherit, name), f"unset {name} of", f"unset {name}",
                          partial(_marks_diff, [name], {}))  # fmt: skip
    return steps


def _refuse_past(snap: Snapshot, lifetime: int, now: float) -> None:
    end = (snap.created or 0) + lifetime
    if end <= now:
        raise BadInput(
            f"expires: {snap.name} was created {units.iso_time(snap.created)} and would have expired "
            f"{units.iso_time(end)}; give a longer time, or delete it"
        )


def _marks_diff(names: Sequence[str], values: Mapping[str, str], snap: Snapshot) -> Diff:
    """Before and after of some properties, as the object shows them."""
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for name in names:
        if name == TemporaryMark.NAME:
            before["temporary"], after["temporary"] = bool(snap.temporary), name in values
        elif name == LifetimeMark.NAME:
            before["expires"] = None if snap.lifetime is None else _expiry_words(snap.lifetime)
            after["expires"] = _expiry_words(int(values[name])) if name in values else None
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
    """Does purge_holds drop it? Never ours, and never ZFS's own, which begin with a dot."""
    return options.purge_holds and tag not in options.holds and not tag.startswith(".") and not is_ours(tag)


def _hold_diff(tag: str, put: bool, _snap: Snapshot) -> Diff:
    return {"holds": {tag: not put}}, {"holds": {tag: put}}


def _tags(snap: Snapshot) -> set[str]:
    return {hold.tag for hold in snap.holds or []}


def _batches(
    snaps: Sequence[Snapshot], command: Callable[[list[str]], list[str]], words: str, aspect: str,
    diff: Callable[[Snapshot], Diff],
) -> list[Step]:  # fmt: skip
    """As few commands as there can be, each with what it changes on each snapshot."""
    by_name = {snap.name: snap for snap in snaps}
    return [
        Step(tuple(Effect(name, f"{words} {name}", *diff(by_name[name]), aspect) for name in batch), (command(batch),))
        for batch in zfs.batches(list(by_name), max_bytes=zfs.LOCAL_ARGUMENTS)
    ]


def foretold(
    options: Options, names: Sequence[str], here: Mapping[str, Snapshot], datasets: Inventory
) -> list[Snapshot]:
    """The objects as they will be. What cannot be known before stays None."""
    result = []
    for name in names:
        old = here.get(name)
        snap = (
            replace(old)
            if old
            else replace(_fresh(name, datasets[name.partition("@")[0]]), clones=[], holds=[], replications=[])
        )
        if options.properties:
            snap.properties = {
                key: value
                for key, value in {**(snap.properties or {}), **options.properties}.items()
                if value is not None
            }
        if options.temporary is not None or not old:
            snap.temporary = bool(options.temporary)
        if options.temporary is False:
            snap.lifetime = None
        snap.lifetime = options.lifetime if options.lifetime is not None else snap.lifetime
        holds = [hold for hold in snap.holds or [] if not _purged(hold.tag, options)]
        snap.holds = [*holds, *(Hold(tag) for tag in options.holds if tag not in {hold.tag for hold in holds})]
        snap.userrefs = len(snap.holds)
        result.append(snap)
    return result
