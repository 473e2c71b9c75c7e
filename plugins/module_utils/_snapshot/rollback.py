# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The verb of zfs_rollback: a volume back to one of its snapshots, losing only what was allowed to be lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import model, units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import read_json
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Bookmark, Dataset, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import SnapshotName, listing, matches
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import Activity, read_activity
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.execute import carry_out
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.dependents import blockers
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs


@dataclass(frozen=True)
class Allowed:
    """What may be lost: globs for the parts after @ and #, and whether what was written since may go."""

    snapshots: list[str] = field(default_factory=list)
    bookmarks: list[str] = field(default_factory=list)
    data: bool = False

    @classmethod
    def from_params(cls, option: Mapping[str, Any] | None) -> Allowed:
        given = option or {}
        return cls(list(given.get("snapshots") or []), list(given.get("bookmarks") or []), bool(given.get("data")))


@dataclass(frozen=True)
class Loss:
    """What a rollback takes away."""

    snapshots: list[Snapshot]
    bookmarks: list[Bookmark]
    bytes: int

    def __bool__(self) -> bool:
        return bool(self.snapshots or self.bookmarks or self.bytes)

    def to_result(self) -> dict[str, Any]:
        return {
            "snapshots": [one.name for one in self.snapshots],
            "bookmarks": [one.name for one in self.bookmarks],
            "bytes": self.bytes,
        }


def main(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The verb."""
    name = SnapshotName.parse(params["name"])
    allowed = Allowed.from_params(params["allow_loss"])
    backend = Backend()
    dataset, loss = _read(backend, name)
    plan = plan_rollback(name, dataset, loss, allowed, read_activity(backend))
    if not check_mode and plan.changed:
        carry_out(backend, plan)
        _verify(backend, name, loss)
    return {**plan.to_result(), "snapshot": str(name), "lost": loss.to_result()}


def _read(backend: Backend, name: SnapshotName) -> tuple[Dataset, Loss]:
    """Two zfs processes, a third when later snapshots are held."""
    volume = str(name.dataset)
    backend.run(zfs.sync(name.dataset.pool), check=False)  # a pool that is not there is told by what follows
    found, gone = inventory.read(backend, [volume])
    if gone:
        raise Refused(f"{volume} does not exist, so it cannot be rolled back")
    dataset = found[volume]
    target = dataset.by_name(str(name))
    if target is None:
        newest = f"its newest snapshot is {dataset.snapshots[-1].name}" if dataset.snapshots else "it has no snapshot"
        raise Refused(f"{name} does not exist, so {volume} cannot be rolled back to it; {newest}")
    snapshots = [one for one in dataset.snapshots if (one.createtxg or 0) > (target.createtxg or 0)]
    bookmarks = [one for one in dataset.bookmarks if one.createtxg > (target.createtxg or 0)]
    written = f"written@{name.snapshot}"
    columns = ("type", "receive_resume_token", model.SOURCE, written, "defer_destroy", "userrefs", "clones")
    inventory.read_values(backend, found, [volume, *(one.name for one in snapshots)], columns)
    inventory.read_holds(backend, snapshots)
    return dataset, Loss(snapshots, bookmarks, units.number(dataset.values.get(written, "")) or 0)


def plan_rollback(name: SnapshotName, dataset: Dataset, loss: Loss, allowed: Allowed, running: Activity) -> Plan:
    """Pure: Refused unless nothing needs what is lost, and all of it was allowed."""
    plan = Plan()
    if not loss:
        return plan
    _refuse_needed(name, dataset, loss, running)
    _refuse_not_allowed(name, loss, allowed)
    parts = [one.snapshot for one in loss.snapshots]
    for batch in zfs.batches(parts, zfs.BATCH):
        for number, part in enumerate(batch):
            commands = [zfs.destroy_snapshots(dataset.name, batch, defer=False)] if number == 0 else []
            _add_end(plan, f"destroy snapshot {dataset.name}@{part}", f"{dataset.name}@{part}", *commands)
    for mark in loss.bookmarks:
        _add_end(plan, f"destroy bookmark {mark.name}", mark.name, zfs.destroy(mark.name))
    plan.add(
        f"roll {dataset.name} back to {name}",
        zfs.rollback(str(name)),
        before={dataset.name: {"content": "written since"}} if loss.bytes else {dataset.name: {"content": str(name)}},
        after={dataset.name: {"content": str(name)}},
    )
    return plan


def _add_end(plan: Plan, text: str, name: str, *commands: list[str]) -> None:
    plan.add(text, *commands, before={name: {"state": model.FULL}}, after={name: {"state": model.ABSENT}})


def _refuse_needed(name: SnapshotName, dataset: Dataset, loss: Loss, running: Activity) -> None:
    """Whatever others need blocks; nothing of that can be allowed."""
    found = []
    mark = read_json(dataset.ours.get(model.SOURCE))
    if model.SOURCE in dataset.ours and not (isinstance(mark, dict) and mark.get("released")):
        found.append(
            f"{dataset.name} is a replica, which its replication rolls back (zfs_snapshot_replicate with "
            "on_divergence=rollback)"
        )
    if dataset.values.get("receive_resume_token", "-") not in ("-", "") or running.receives(dataset.name):
        found.append(f"a snapshot is being received into {dataset.name}, or was in part")
    for one in loss.snapshots:
        left = blockers(one)
        if left:
            found.append(f"{one.name} is needed by {listing(left)}")
        elif running.sends(one.name):
            found.append(f"{one.name} is being sent just now")
        elif one.state == model.PENDING_DELETE:
            found.append(f"{one.name} is pending_delete and in use")
    for bookmark in loss.bookmarks:
        cursor = model.cursor_of(bookmark.bookmark)
        if cursor:
            found.append(f"{bookmark.name} is where replication {cursor[0]} goes on")
    if found:
        raise Refused(
            f"{dataset.name} cannot be rolled back to {name}: {'; '.join(found)}. Nothing was changed. Remove or end "
            "these first, or clone the snapshot (zfs_clone) and work with the clone",
            lost=loss.to_result(),
        )


def _refuse_not_allowed(name: SnapshotName, loss: Loss, allowed: Allowed) -> None:
    snapshots = [one.snapshot for one in loss.snapshots if not matches(one.snapshot, allowed.snapshots)]
    bookmarks = [one.bookmark for one in loss.bookmarks if not matches(one.bookmark, allowed.bookmarks)]
    data = bool(loss.bytes) and not allowed.data
    found = ([f"snapshots {', '.join(snapshots)}"] if snapshots else []) + (
        [f"bookmarks {', '.join(bookmarks)}"] if bookmarks else []
    )
    found += [f"{loss.bytes} bytes written since"] if data else []
    if found:
        wanted = ([f"snapshots: [{', '.join(snapshots)}]"] if snapshots else []) + (
            [f"bookmarks: [{', '.join(bookmarks)}]"] if bookmarks else []
        )
        wanted += ["data: true"] if data else []
        raise Refused(
            f"rolling {name.dataset} back to @{name.snapshot} would lose {listing(found)}. Nothing was "
            f"changed. If that may be lost, add to allow_loss: {{{', '.join(wanted)}}}",
            lost=loss.to_result(),
        )


def _verify(backend: Backend, name: SnapshotName, loss: Loss) -> None:
    found, _gone = inventory.read(backend, [str(name.dataset)])
    dataset = found.get(str(name.dataset), Dataset(str(name.dataset)))
    left = {one.name for one in loss.snapshots} & {one.name for one in dataset.snapshots}
    left |= {one.name for one in loss.bookmarks} & {one.name for one in dataset.bookmarks}
    if dataset.by_name(str(name)) is None or left:
        wrong = ", ".join(sorted(left)) or name
        raise CerssError(f"{name.dataset} was rolled back, but {wrong} is not as it should be now")
