# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Deleting snapshots: the free ones at once, the others marked, in as few commands as there can be."""

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
    """The plan for some snapshots. ``pending`` are marked already; ``failures`` cannot be marked, and why."""

    plan: Plan = field(default_factory=Plan)
    pending: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


def plan_deletion(snapshots: Sequence[Snapshot], sending: Collection[str] = ()) -> Deletion:
    """Destroy what is free, mark what holds or clones keep.

    The snapshots' values and holds must have been read (`objects.fill`); those in state absent are passed over.
    ``sending``: names of snapshots that are being sent just now, which ZFS does not even mark.
    """
    result = Deletion()
    groups: dict[tuple[str, bool], list[Effect]] = {}
    for snapshot in snapshots:
        if snapshot.state == model.PENDING_DELETE:
            result.pending.append(snapshot.name)
        elif snapshot.state in (model.FULL, model.CREATING):
            if snapshot.name in sending:
                result.failures[snapshot.name] = busy_words(snapshot.name)
                continue
            left = blockers(snapshot)
            groups.setdefault((snapshot.dataset, bool(left)), []).append(_effect(snapshot.name, left))
    for (dataset, defer), effects in groups.items():
        result.plan.steps += removals(dataset, effects, defer)
    return result


def _effect(name: str, left: Sequence[str]) -> Effect:
    if left:
        words = f"{listing(left)} {'remains' if len(left) == 1 else 'remain'}"
        return marking(name, f"mark {name} for deletion ({words})")
    return ending(name)


def marking(name: str, text: str) -> Effect:
    """A snapshot is marked for deletion."""
    return Effect(name, text, {"state": model.FULL}, {"state": model.PENDING_DELETE})


def ending(name: str) -> Effect:
    """A snapshot is destroyed."""
    return Effect(name, f"destroy snapshot {name}", {"state": model.FULL}, {"state": model.ABSENT})


def removals(dataset: str, effects: Sequence[Effect], defer: bool = False) -> list[Step]:
    """The commands for snapshots of one dataset. What gets a hold or a clone meanwhile is marked instead."""
    by_part = {effect.name.partition("@")[2]: effect for effect in effects}
    batches = zfs.batches(list(by_part), zfs.BATCH)
    return [_removal(dataset, defer, [by_part[part] for part in batch]) for batch in batches]


def _removal(dataset: str, defer: bool, effects: Sequence[Effect]) -> Step:
    command = zfs.destroy_snapshots(dataset, [effect.name.partition("@")[2] for effect in effects], defer)
    again, instead = partial(_removal, dataset, defer), None if defer else partial(_marked_instead, dataset)
    return Step(tuple(effects), (command,), part=again, instead=instead)


def _marked_instead(dataset: str, effects: Sequence[Effect]) -> Step:
    return _removal(dataset, True, [marking(effect.name, f"mark {effect.name} for deletion") for effect in effects])


def busy_words(name: str) -> str:
    return (
        f"{name} is being sent or read just now, and ZFS does not even mark it for deletion meanwhile; "
        "delete it when that has ended"
    )


@dataclass
class Outcome:
    """What was done. ``failures``: why something could not be deleted, by name; ``busy``: which of it is in use."""

    done: list[Effect]
    failures: dict[str, str]
    busy: list[str]


def delete(backend: Backend, deletion: Deletion) -> Outcome:
    """Carry the deletion out. One bad snapshot does not keep the others from going. Re-read afterwards: it decides."""
    ended = attempt(backend, deletion.plan.steps)
    failures = {name: _why(name, error) for name, error in ended.failures.items()}
    busy = [name for name, error in ended.failures.items() if isinstance(error, (Busy, Held))]
    return Outcome(ended.done, {**deletion.failures, **failures}, [*deletion.failures, *busy])


def _why(name: str, error: ZfsError) -> str:
    return busy_words(name) if isinstance(error, Busy) else error.msg
