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
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, CerssError, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Hold, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import SnapshotName, listing, matches
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import Activity, read_activity
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.inventory import Inventory
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot import objects
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.dependents import blockers
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.hooks import Stopped, around
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.options import (
    Options,
    expanded,
    joined,
    result,
    volumes_of,
)
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.errors import zfs_error

Diff = tuple[dict[str, Any], dict[str, Any]]


def main(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """zfs_snapshot with state=present."""
    options, backend = Options.from_params(params), Backend()
    found, gone = inventory.read(backend, volumes_of(options), None if options.recursive else 1)
    if gone:
        raise BadInput(
            f"there is no volume {', '.join(sorted(gone))} of which a snapshot could be made; nothing was changed"
        )
    names, left_out = _ready(options, expanded(options, found), found)
    for name in names:
        SnapshotName.parse(name)
    here = {snapshot.name: snapshot for dataset in found.values() for snapshot in dataset.snapshots}
    running = read_activity(backend)
    volumes = {name.partition("@")[0]: found[name.partition("@")[0]] for name in names}
    for dataset in volumes.values():
        objects.link(dataset)
    missing = [name for name in names if name not in here]
    young = _newest_matching(volumes, options) if missing and options.min_age is not None else {}
    known = {name: here[name] for name in [*names, *(s.name for s in young.values())] if name in here}
    objects.fill(backend, volumes, list(known.values()), running, keep=list(options.properties))
    if missing and options.min_age is not None and _all_young(backend, volumes, young, options, running):
        return result(Plan(), [young[name] for name in volumes], {})
    decided = plan_present(options, names, volumes, running)
    decided.warnings += left_out
    if check_mode:
        return result(decided.plan, foretold(options, names, here, volumes), {})
    if not decided.plan.changed:
        return result(decided.plan, [here[name] for name in names], {})
    words = decided.carry_out(backend, options)
    fresh = [_fresh(name, volumes[name.partition("@")[0]]) for name in names]
    objects.fill(backend, volumes, fresh, read_activity(backend), keep=list(options.properties))
    left = _plan_left(options, fresh, running.now)
    open_names = {name for action in left.actions for name in action.after}
    failures = {name: words.get(name, f"{name} is not as asked for, though ZFS did not say why") for name in open_names}
    undone = {action.text for action in left.actions}
    done = Plan([action for action in decided.plan.actions if action.text not in undone], decided.plan.warnings)
    return result(done, fresh, failures, problem=decided.problem)


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
    plan = joined([_plan_creation(options, missing)], [])
    _plan_marks(options, existing, now, plan)
    _plan_holds(options, missing, existing, plan)
    return plan


def _fresh(name: str, dataset: Dataset) -> Snapshot:
    """To be read anew."""
    old = dataset.by_name(name)
    before = dataset.snapshots[-1] if dataset.snapshots else None
    return Snapshot(name, depends_on=old.depends_on if old else objects.dependence(before, dataset.origin))


def _newest_matching(volumes: Inventory, options: Options, passed: Sequence[str] = ()) -> dict[str, Snapshot]:
    found = {}
    for name, dataset in volumes.items():
        for snap in reversed(dataset.snapshots):
            if snap.name not in passed and matches(snap.snapshot, options.match):
                found[name] = snap
                break
    return found


def _all_young(
    backend: Backend, volumes: Inventory, young: dict[str, Snapshot], options: Options, running: Activity
) -> bool:
    """True when each volume has a matching snapshot that is young enough and stays; they are put into ``young``."""
    passed: list[str] = []
    while len(young) == len(volumes):
        marked = [snap for snap in young.values() if snap.state != model.FULL]
        if any(running.now - (snap.created or 0) >= (options.min_age or 0) for snap in young.values()):
            return False
        if not marked:
            return True
        passed += [snap.name for snap in marked]
        older = _newest_matching({snap.dataset: volumes[snap.dataset] for snap in marked}, options, passed)
        for snap in marked:
            del young[snap.dataset]
        young.update(older)
        objects.fill(backend, {name: volumes[name] for name in older}, list(older.values()), running)
    return False


@dataclass
class Present:
    """What will be done: commands before, creations, commands after, and what is put right afterwards.

    ``making`` has one plan for each command that creates snapshots, all at once.
    """

    before: Plan
    making: list[Plan]
    after: Plan
    later: Plan
    warnings: list[str]
    problem: str | None = None  # what went wrong besides single snapshots

    @property
    def plan(self) -> Plan:
        return joined([self.before, *self.making, self.after, self.later], self.warnings)

    def carry_out(self, backend: Backend, options: Options) -> dict[str, str]:
        """Do it; return what ZFS said, by the name of the snapshot. Trouble with one leaves the others alone."""
        words: dict[str, str] = {}
        made: list[str] = []
        try:
            if self.making:
                with around(options.before, options.after, [name for plan in self.making for name in names_in(plan)]):
                    for plan in self.making:
                        made += _attempt(backend, plan, words)
        except CerssError as error:
            if isinstance(error, Stopped) or not made:
                error.msg += f" (done: {'; '.join(made)})" if made else " (no snapshot was made)"
                error.details.update(actions=made, changed=bool(made))
                raise
            self.problem = error.msg
        _attempt(backend, self.later, words)
        return words


def names_in(plan: Plan) -> list[str]:
    return [name for action in plan.actions for name in action.after]


def _attempt(backend: Backend, plan: Plan, words: dict[str, str]) -> list[str]:
    """Do what can be done; return the texts of that. An action without a command belongs to the command before it."""
    done: list[str] = []
    said = ""
    for action in plan.actions:
        for command in action.commands:
            ended = backend.run(command, check=False)
            said = zfs_error(command, ended.rc, ended.stderr).msg if ended.rc else ""
        if said:
            words.update(dict.fromkeys(action.after, said))
        else:
            done.append(action.text)
    return done


def plan_present(options: Options, names: Sequence[str], volumes: Inventory, running: Activity) -> Present:
    """Pure: what stands there, read with all values, and what shall."""
    here = {snapshot.name: snapshot for dataset in volumes.values() for snapshot in dataset.snapshots}
    existing = [here[name] for name in names if name in here]
    missing = [name for name in names if name not in here]
    refuse_pending(existing)
    _refuse_inbound(missing, volumes, running)
    groups = _moments(missing)
    before, after, later = Plan(), Plan(), Plan()
    making = [_plan_creation(options, group) for group in groups]
    for around_plan, commands in ((before, options.before), (after, options.after)) if missing else ():
        for command in commands:
            around_plan.add(f"run {command.label}")
    _plan_marks(options, existing, running.now, later)
    _plan_holds(options, missing, existing, later)
    warnings = []
    if len(groups) > 1:
        warnings.append(
            f"these snapshots are not all of one moment: {'; '.join(map(', '.join, groups))} are made one "
            "group after the other, since ZFS makes at once only snapshots of one pool, and only one of each volume"
        )
    for name in missing:
        inbound = objects.arriving(volumes[name.partition("@")[0]], running)
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
        volume = name.partition("@")[0]
        groups.setdefault((seen[volume], volume.partition("/")[0]), []).append(name)
        seen[volume] += 1
    return [batch for group in groups.values() for batch in zfs.batches(group, room_each=zfs.LOCAL_ARGUMENTS)]


def _plan_creation(options: Options, names: Sequence[str]) -> Plan:
    plan = Plan()
    after: dict[str, Any] = {"state": model.FULL}
    marks = {name: value for name, value in options.properties.items() if value is not None}
    if marks:
        after["properties"] = marks
    if options.temporary:
        after["temporary"] = True
    if options.lifetime is not None:
        after["expires"] = _expiry_words(options.lifetime)
    for number, name in enumerate(names):
        plan.add(
            f"create snapshot {name}", *([zfs.snapshot(names, options.marks())] if number == 0 else []),
            before={name: {"state": model.ABSENT}}, after={name: after},
        )  # fmt: skip
    return plan


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


def _refuse_inbound(missing: Sequence[str], volumes: Inventory, running: Activity) -> None:
    for name in missing:
        dataset = volumes[name.partition("@")[0]]
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


def _plan_marks(options: Options, existing: Sequence[Snapshot], now: float, plan: Plan) -> None:
    """Properties and the temporary mark of what is there; one command for all that need the same."""
    settings: dict[tuple[tuple[str, str], ...], list[Snapshot]] = {}
    unset: dict[str, list[Snapshot]] = {}
    for snap in existing:
        have = dict(snap.properties or {})
        if snap.temporary:
            have[model.TEMPORARY] = "true"
        if snap.lifetime is not None:
            have[model.EXPIRES] = str(snap.lifetime)
        pairs = tuple((name, value) for name, value in options.marks().items() if have.get(name) != value)
        if pairs:
            settings.setdefault(pairs, []).append(snap)
        if model.EXPIRES in dict(pairs):
            _refuse_past(snap, options.lifetime or 0, now)
        for name in options.unmarks():
            if name in have:
                unset.setdefault(name, []).append(snap)
    for assigned, snaps in settings.items():
        values = dict(assigned)
        _add_group(plan, snaps, partial(zfs.set_, values), f"set {listing(values)} of",
                   partial(_marks_diff, list(values), values))  # fmt: skip
    for name, snaps in unset.items():
        _add_group(plan, snaps, partial(zfs.inherit, name), f"unset {name} of", partial(_marks_diff, [name], {}))


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
        if name == model.TEMPORARY:
            before["temporary"], after["temporary"] = bool(snap.temporary), name in values
        elif name == model.EXPIRES:
            before["expires"] = None if snap.lifetime is None else _expiry_words(snap.lifetime)
            after["expires"] = _expiry_words(int(values[name])) if name in values else None
        else:
            before.setdefault("properties", {})[name] = (snap.properties or {}).get(name)
            after.setdefault("properties", {})[name] = values.get(name)
    return before, after


def _plan_holds(options: Options, missing: Sequence[str], existing: Sequence[Snapshot], plan: Plan) -> None:
    new = [Snapshot(name, holds=[]) for name in missing]
    for tag in options.holds:
        lacking = [snap for snap in [*new, *existing] if tag not in _tags(snap)]
        _add_group(plan, lacking, partial(zfs.hold, tag), f"put hold {tag} on", partial(_hold_diff, tag, True))
    if not options.purge_holds:
        return
    for tag in sorted({tag for snap in existing for tag in _tags(snap) if _purged(tag, options)}):
        held = [snap for snap in existing if tag in _tags(snap)]
        _add_group(plan, held, partial(zfs.release, tag), f"release hold {tag} of", partial(_hold_diff, tag, False))


def _purged(tag: str, options: Options) -> bool:
    """Does purge_holds drop it? Never ours, and never ZFS's own, which begin with a dot."""
    return options.purge_holds and tag not in options.holds and not tag.startswith((".", "cerss.zfs:"))


def _hold_diff(tag: str, put: bool, _snap: Snapshot) -> Diff:
    return {"holds": {tag: not put}}, {"holds": {tag: put}}


def _tags(snap: Snapshot) -> set[str]:
    return {hold.tag for hold in snap.holds or []}


def _add_group(
    plan: Plan, snaps: Sequence[Snapshot], command: Callable[[list[str]], list[str]], words: str,
    diff: Callable[[Snapshot], Diff],
) -> None:  # fmt: skip
    """One action for each snapshot; the first of a batch carries the command for all of the batch."""
    by_name = {snap.name: snap for snap in snaps}
    for batch in zfs.batches(list(by_name), room_each=zfs.LOCAL_ARGUMENTS):
        for number, name in enumerate(batch):
            before, after = diff(by_name[name])
            plan.add(f"{words} {name}", *([command(batch)] if number == 0 else []),
                     before={name: before}, after={name: after})  # fmt: skip


def foretold(
    options: Options, names: Sequence[str], here: Mapping[str, Snapshot], volumes: Inventory
) -> list[Snapshot]:
    """The objects as they will be. What cannot be known before stays None."""
    result = []
    for name in names:
        old = here.get(name)
        snap = (
            replace(old)
            if old
            else replace(_fresh(name, volumes[name.partition("@")[0]]), clones=[], holds=[], replications=[])
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
