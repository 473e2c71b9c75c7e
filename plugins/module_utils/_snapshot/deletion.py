# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Deleting snapshots: the free ones at once, the others marked, in as few commands as there can be."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from ansible_collections.cerss.zfs.plugins.module_utils._core import model
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Busy, HasClones, Held, NotFound, ZfsError
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import listing
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.dependents import blockers
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.errors import zfs_error


@dataclass(frozen=True)
class Removal:
    """One command: these snapshots (the parts after the @) of one dataset are destroyed, or marked (``defer``)."""

    dataset: str
    parts: tuple[str, ...]
    defer: bool


@dataclass
class Deletion:
    """The plan for some snapshots. ``pending`` are marked already; ``failures`` cannot be marked, and why."""

    plan: Plan = field(default_factory=Plan)
    removals: list[Removal] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


def plan_deletion(snapshots: Sequence[Snapshot], sending: Collection[str] = (), plan: Plan | None = None) -> Deletion:
    """Destroy what is free, mark what holds or clones keep.

    The snapshots' values and holds must have been read (`objects.fill`); those in state absent are passed
    over. ``sending``: names of snapshots that are being sent just now, which ZFS does not even mark. The actions go to
    the end of ``plan`` when one is given.
    """
    result = Deletion(plan or Plan())
    groups: dict[tuple[str, bool], list[str]] = {}
    for snapshot in snapshots:
        if snapshot.state == model.PENDING_DELETE:
            result.pending.append(snapshot.name)
        elif snapshot.state in (model.FULL, model.CREATING):
            if snapshot.name in sending:
                result.failures[snapshot.name] = busy_words(snapshot.name)
                continue
            left = blockers(snapshot)
            groups.setdefault((snapshot.dataset, bool(left)), []).append(snapshot.snapshot)
            if left:
                words = f"{listing(left)} {'remains' if len(left) == 1 else 'remain'}"
                text, state = f"mark {snapshot.name} for deletion ({words})", model.PENDING_DELETE
            else:
                text, state = f"destroy snapshot {snapshot.name}", model.ABSENT
            before, after = {snapshot.name: {"state": model.FULL}}, {snapshot.name: {"state": state}}
            result.plan.add(text, before=before, after=after)
    for (dataset, defer), parts in groups.items():
        result.removals += [Removal(dataset, tuple(batch), defer) for batch in zfs.batches(parts, zfs.BATCH)]
    return result


def busy_words(name: str) -> str:
    return (
        f"{name} is being sent or read just now, and ZFS does not even mark it for deletion meanwhile; "
        "delete it when that has ended"
    )


@dataclass
class Outcome:
    """What could not be deleted, by name: why, in words; and which of it because it is in use."""

    failures: dict[str, str] = field(default_factory=dict)
    busy: list[str] = field(default_factory=list)


def delete(backend: Backend, deletion: Deletion, defer: bool = True) -> Outcome:
    """Carry the deletion out. One bad snapshot does not keep the others from going. Re-read afterwards: it decides.

    ``defer``: mark what has got a hold or clone since the plan was made; otherwise it fails.
    """
    outcome = Outcome(dict(deletion.failures), list(deletion.failures))
    for removal in deletion.removals:
        _remove(backend, removal, defer, outcome)
    return outcome


def _remove(backend: Backend, removal: Removal, defer: bool, outcome: Outcome) -> None:
    command = zfs.destroy_snapshots(removal.dataset, removal.parts, removal.defer)
    result = backend.run(command, check=False)
    if result.rc == 0:
        return
    error = zfs_error(command, result.rc, result.stderr, backend.endpoint.label)
    names = [f"{removal.dataset}@{part}" for part in removal.parts]
    if len(names) > 1 and isinstance(error, (Busy, HasClones, Held)):
        # All or nothing: what zfs names did not go, and kept the others from going.
        named = [part for part in removal.parts if _names(result.stderr, f"{removal.dataset}@{part}")]
        rest = [part for part in removal.parts if part not in named]
        split = (
            [*([part] for part in named), *([rest] if rest else [])] if named else [[part] for part in removal.parts]
        )
        for parts in split:
            _remove(backend, Removal(removal.dataset, tuple(parts), removal.defer), defer, outcome)
    elif isinstance(error, (HasClones, Held)) and defer and not removal.defer:
        _remove(backend, Removal(removal.dataset, removal.parts, True), defer, outcome)
    elif not isinstance(error, NotFound):
        outcome.failures.update((name, _why(name, error)) for name in names)
        if isinstance(error, Busy) or (isinstance(error, Held) and removal.defer):
            outcome.busy += names


def _names(stderr: str, name: str) -> bool:
    """Does a message speak of exactly this snapshot? Names may begin with one another, and may hold spaces."""
    return any(mark in stderr for mark in (f"'{name}'", f"snapshot {name}:", f" {name}: "))


def _why(name: str, error: ZfsError) -> str:
    return busy_words(name) if isinstance(error, Busy) else error.msg
