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
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import SourceMark
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Bookmark, Dataset, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import SnapshotName, listing, matches
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import Activity, read_activity
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.execute import execute
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.deletion import ending, removals
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.dependents import blockers
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs


@dataclass(frozen=True)
class Options:
    """The module's options. What may be lost: globs for the parts after @ and #, and what was written since."""

    name: SnapshotName
    snapshots: list[str] = field(default_factory=list)
    bookmarks: list[str] = field(default_factory=list)
    data: bool = False

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Options:
        given = params["allow_loss"] or {}
        return cls(
            name=SnapshotName.parse(params["name"]),
            snapshots=list(given.get("snapshots") or []),
            bookmarks=list(given.get("bookmarks") or []),
            data=bool(given.get("data")),
        )


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
            "snapshots": [snap.name for snap in self.snapshots],
            "bookmarks": [bookmark.name for bookmark in self.bookmarks],
            "bytes": self.bytes,
        }


def main(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """zfs_rollback."""
    options, backend = Options.from_params(params), Backend()
    dataset, loss = _read(backend, options.name)
    plan = plan_rollback(options, dataset, loss, read_activity(backend))
    if not check_mode and plan.changed:
        execute(backend, plan)
        _verify(backend, options.name, loss)
    return {**plan.to_result(), "snapshot": str(options.name), "lost": loss.to_result()}


def _read(backend: Backend, name: SnapshotName) -> tuple[Dataset, Loss]:
    """Two zfs processes, a third when later snapshots are held."""
    backend.run(zfs.sync(name.dataset.pool), check=False)  # a pool that is not there is told by what follows
    found, gone = inventory.read(backend, [str(name.dataset)])
    if gone:
        raise Refused(f"{name.dataset} does not exist, so it cannot be rolled back")
    dataset = found[str(name.dataset)]
    target = dataset.by_name(str(name))
    if target is None:
        newest = f"its newest snapshot is {dataset.snapshots[-1].name}" if dataset.snapshots else "it has no snapshot"
        raise Refused(f"{name} does not exist, so {name.dataset} cannot be rolled back to it; {newest}")
    snapshots = [snap for snap in dataset.snapshots if (snap.createtxg or 0) > (target.createtxg or 0)]
    bookmarks = [bookmark for bookmark in dataset.bookmarks if bookmark.createtxg > (target.createtxg or 0)]
    written = f"written@{name.snapshot}"
    columns = ("type", "receive_resume_token", SourceMark.NAME, written, "defer_destroy", "userrefs", "clones")
    inventory.read_values(backend, found, [dataset.name, *(snap.name for snap in snapshots)], columns)
    inventory.read_holds(backend, snapshots)
    return dataset, Loss(snapshots, bookmarks, units.number(dataset.get(written) or "") or 0)


def plan_rollback(options: Options, dataset: Dataset, loss: Loss, running: Activity) -> Plan:
    """Refused unless nothing needs what is lost, and all of it was options."""
    plan, name = Plan(), options.name
    if not loss:
        return plan
    _refuse_needed(name, dataset, loss, running)
    _refuse_not_allowed(options, loss)
    plan.steps += removals(dataset.name, [ending(snap.name) for snap in loss.snapshots])
    for bookmark in loss.bookmarks:
        plan.add(
            f"destroy bookmark {bookmark.name}",
            zfs.destroy(bookmark.name),
            before={bookmark.name: {"state": model.FULL}},
            after={bookmark.name: {"state": model.ABSENT}},
        )
    plan.add(
        f"roll {dataset.name} back to {name}",
        zfs.rollback(str(name)),
        before={dataset.name: {"content": "written since"}} if loss.bytes else {dataset.name: {"content": str(name)}},
        after={dataset.name: {"content": str(name)}},
    )
    return plan


def _refuse_needed(name: SnapshotName, dataset: Dataset, loss: Loss, running: Activity) -> None:
    """Whatever others need blocks; nothing of that can be options."""
    found = []
    if dataset.is_replica:
        found.append(
            f"{dataset.name} is a replica, which its replication rolls back (zfs_snapshot_replicate with "
            "on_divergence=rollback)"
        )
    if dataset.has_partial_receive or running.receives(dataset.name):
        found.append(f"a snapshot is being received into {dataset.name}, or was in part")
    for snap in loss.snapshots:
        left = blockers(snap)
        if left:
            found.append(f"{snap.name} is needed by {listing(left)}")
        elif running.sends(snap.name):
            found.append(f"{snap.name} is being sent just now")
        elif snap.state == model.PENDING_DELETE:
            found.append(f"{snap.name} is pending_delete and in use")
    found += [
        f"{bookmark.name} is where replication {bookmark.cursor.id} goes on"
        for bookmark in loss.bookmarks
        if bookmark.cursor
    ]
    if found:
        raise Refused(
            f"{dataset.name} cannot be rolled back to {name}: {'; '.join(found)}. Nothing was changed. Remove or end "
            "these first, or clone the snapshot (zfs_clone) and work with the clone",
            lost=loss.to_result(),
        )


def _refuse_not_allowed(options: Options, loss: Loss) -> None:
    name = options.name
    snapshots = [snap.snapshot for snap in loss.snapshots if not matches(snap.snapshot, options.snapshots)]
    bookmarks = [mark.bookmark for mark in loss.bookmarks if not matches(mark.bookmark, options.bookmarks)]
    data = bool(loss.bytes) and not options.data
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
    left = {snap.name for snap in loss.snapshots} & {snap.name for snap in dataset.snapshots}
    left |= {mark.name for mark in loss.bookmarks} & {mark.name for mark in dataset.bookmarks}
    if dataset.by_name(str(name)) is None or left:
        wrong = ", ".join(sorted(left)) or name
        raise CerssError(f"{name.dataset} was rolled back, but {wrong} is not as it should be now")
