# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Deletes snapshots: those that nothing needs at once, the others deferred. Uses as few commands as possible."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial

from ansible_collections.cerss.zfs.plugins.module_utils._core import model
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Busy, Held, ZfsError
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import listing
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Effect, Plan, Step
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.execute import attempt
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.dependents import blockers
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs


@dataclass
class Deletion:
    """What will be done with some snapshots.

    ``pending``: names of those that are pending deletion already. ``failures``: name -> why it cannot be deleted.
    """

    plan: Plan = field(default_factory=Plan)
    pending: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


def plan_deletion(snapshots: Sequence[Snapshot], sending: Collection[str] = ()) -> Deletion:
    """Destroy the snapshots that nothing needs, and defer the deletion of those that have holds or clones.

    Their values and holds must have been read (`objects.fill`). Those in state absent or inbound are skipped.
    ``sending``: names of snapshots that are being sent; ZFS refuses to defer their deletion.
    """
    result = Deletion()
    groups: dict[tuple[str, bool], list[Effect]] = {}
    for snapshot in snapshots:
        if snapshot.state == model.PENDING_DELETE:
            result.pending.append(snapshot.name)
        elif snapshot.state in (model.FULL, model.CREATING):
            if snapshot.name in sending:
                result.failures[snapshot.name] = _busy_message(snapshot.name)
                continue
            needed_by = blockers(snapshot)
            effect = deferral(snapshot.name, needed_by) if needed_by else destruction(snapshot.name)
            groups.setdefault((snapshot.dataset, bool(needed_by)), []).append(effect)
    for (dataset, defer), effects in groups.items():
        result.plan.steps += removals(dataset, effects, defer)
    return result


def deferral(name: str, needed_by: Sequence[str] = ()) -> Effect:
    """The deletion of a snapshot is deferred (``zfs destroy -d``) until what needs it is gone."""
    reason = f" (needed by {listing(needed_by)})" if needed_by else ""
    return Effect(name, f"defer deletion of {name}{reason}", {"state": model.FULL}, {"state": model.PENDING_DELETE})


def destruction(name: str) -> Effect:
    """A snapshot is destroyed at once."""
    return Effect(name, f"destroy snapshot {name}", {"state": model.FULL}, {"state": model.ABSENT})


def removals(dataset: str, effects: Sequence[Effect], defer: bool = False) -> list[Step]:
    """The commands for snapshots of one dataset, up to `zfs.BATCH` in each.

    If a snapshot has got a hold or a clone since it was read, its deletion is deferred instead.
    """
    by_part = {effect.name.partition("@")[2]: effect for effect in effects}
    batches = zfs.batches(list(by_part), zfs.BATCH)
    return [_removal(dataset, defer, [by_part[part] for part in batch]) for batch in batches]


def _removal(dataset: str, defer: bool, effects: Sequence[Effect]) -> Step:
    command = zfs.destroy_snapshots(dataset, [effect.name.partition("@")[2] for effect in effects], defer)
    instead = None if defer else partial(_deferred_instead, dataset)
    return Step(tuple(effects), (command,), part=partial(_removal, dataset, defer), instead=instead)


def _deferred_instead(dataset: str, effects: Sequence[Effect]) -> Step:
    return _removal(dataset, True, [deferral(effect.name) for effect in effects])


def _busy_message(name: str) -> str:
    return (
        f"{name} is being sent or read, so ZFS can neither delete it nor defer its deletion; delete it again when "
        "that has ended"
    )


@dataclass
class Outcome:
    """What was done. ``failures``: name -> why it could not be deleted. ``busy``: names of those that are in use."""

    done: list[Effect]
    failures: dict[str, str]
    busy: list[str]


def delete(backend: Backend, deletion: Deletion) -> Outcome:
    """Carry the deletion out. If one snapshot fails, the others are still deleted.

    The callers re-read the snapshots afterwards: only their state decides what has failed.
    """
    attempted = attempt(backend, deletion.plan.steps)
    failures = {name: _failure_message(name, error) for name, error in attempted.failures.items()}
    busy = [name for name, error in attempted.failures.items() if isinstance(error, (Busy, Held))]
    return Outcome(attempted.done, {**deletion.failures, **failures}, [*deletion.failures, *busy])


def _failure_message(name: str, error: ZfsError) -> str:
    if not isinstance(error, Busy):
        return error.msg
    if error.device:
        return (
            f"{name} cannot be deleted while its device {error.device} is open; find out who uses it with: fuser -v "
            f"{error.device}"
        )
    return _busy_message(name)
