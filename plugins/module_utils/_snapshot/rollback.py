# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zfs_rollback."""

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
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.deletion import destruction, removals
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.dependents import blockers
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs


@dataclass(frozen=True)
class Options:
    """The checked options. What may be lost: globs for the parts after @ and #, and data written since."""

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
    """What a rollback destroys: later snapshots and bookmarks, and the bytes written since."""

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
    options, backend = Options.from_params(params), Backend()
    dataset, loss = _read(backend, options.name)
    plan = plan_rollback(options, dataset, loss, read_activity(backend))
    if not check_mode and plan.changed:
        execute(backend, plan)
        _verify(backend, options.name, loss)
    return {**plan.to_result(), "snapshot": str(options.name), "lost": loss.to_result()}


def _read(backend: Backend, name: SnapshotName) -> tuple[Dataset, Loss]:
    """Two zfs processes, and a third one if later snapshots are held."""
    backend.run(zfs.sync(name.dataset.pool), check=False)  # if there is no such pool, the next command reports it
    found, missing = inventory.read(backend, [str(name.dataset)])
    if missing:
        raise Refused(f"there is no dataset {name.dataset}, so it cannot be rolled back; check name")
    dataset = found[str(name.dataset)]
    target = dataset.by_name(str(name))
    if target is None:
        newest = f"its newest snapshot is {dataset.snapshots[-1].name}" if dataset.snapshots else "it has no snapshot"
        raise Refused(f"there is no snapshot {name}, so {name.dataset} cannot be rolled back to it; {newest}")
    snapshots = [snap for snap in dataset.snapshots if (snap.createtxg or 0) > (target.createtxg or 0)]
    bookmarks = [bookmark for bookmark in dataset.bookmarks if bookmark.createtxg > (target.createtxg or 0)]
    written = f"written@{name.snapshot}"
    columns = ("type", "receive_resume_token", SourceMark.NAME, written, "defer_destroy", "userrefs", "clones")
    inventory.read_values(backend, found, [dataset.name, *(snap.name for snap in snapshots)], columns)
    inventory.read_holds(backend, snapshots)
    return dataset, Loss(snapshots, bookmarks, units.number(dataset.get(written) or "") or 0)


def plan_rollback(options: Options, dataset: Dataset, loss: Loss, running: Activity) -> Plan:
    """The commands; none if nothing would be lost. Refused if something needs what is lost, or it may not be lost."""
    plan, name = Plan(), options.name
    if not loss:
        return plan
    _refuse_needed(name, dataset, loss, running)
    _refuse_not_allowed(options, loss)
    plan.steps += removals(dataset.name, [destruction(snap.name) for snap in loss.snapshots])
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
    """What somebody else needs blocks the rollback, whatever allow_loss says."""
    found = []
    if dataset.is_replica:
        found.append(
            f"{dataset.name} is a replica, so only its replication may roll it back (zfs_snapshot_replicate with "
            "on_divergence=rollback)"
        )
    if dataset.has_partial_receive or running.receiving.into(dataset.name):
        found.append(f"{dataset.name} has a partial receive, or a receive into it is running")
    found += [f"{snap.name} is {reason}" for snap in loss.snapshots for reason in [_need(snap, running)] if reason]
    found += [
        f"{bookmark.name} is needed by relationship {bookmark.cursor.id}"
        for bookmark in loss.bookmarks
        if bookmark.cursor
    ]
    if found:
        raise Refused(
            f"{dataset.name} cannot be rolled back to {name}: {'; '.join(found)}. Nothing was changed. Remove or end "
            "these first, or clone the snapshot (zfs_clone) and work with the clone",
            lost=loss.to_result(),
        )


def _need(snap: Snapshot, running: Activity) -> str:
    """Who needs the snapshot; empty if nobody does."""
    needed_by = blockers(snap)
    if needed_by:
        return f"needed by {listing(needed_by)}"
    if running.sends(snap.name):
        return "being sent"
    return "pending deletion and in use" if snap.state == model.PENDING_DELETE else ""


def _refuse_not_allowed(options: Options, loss: Loss) -> None:
    name = options.name
    snapshots = ", ".join(snap.snapshot for snap in loss.snapshots if not matches(snap.snapshot, options.snapshots))
    bookmarks = ", ".join(
        bookmark.bookmark for bookmark in loss.bookmarks if not matches(bookmark.bookmark, options.bookmarks)
    )
    data = bool(loss.bytes) and not options.data
    # (what would be lost, what allows it)
    denied = [(f"snapshots {snapshots}", f"snapshots: [{snapshots}]")] if snapshots else []
    denied += [(f"bookmarks {bookmarks}", f"bookmarks: [{bookmarks}]")] if bookmarks else []
    denied += [(f"{loss.bytes} bytes written since", "data: true")] if data else []
    if denied:
        raise Refused(
            f"rolling {name.dataset} back to @{name.snapshot} would lose {listing(lost for lost, _allow in denied)}. "
            "Nothing was changed. If you can lose that, add to allow_loss: "
            f"{{{', '.join(allow for _lost, allow in denied)}}}",
            lost=loss.to_result(),
        )


def _verify(backend: Backend, name: SnapshotName, loss: Loss) -> None:
    found, _missing = inventory.read(backend, [str(name.dataset)])
    dataset = found.get(str(name.dataset), Dataset(str(name.dataset)))
    left = {snap.name for snap in loss.snapshots} & {snap.name for snap in dataset.snapshots}
    left |= {bookmark.name for bookmark in loss.bookmarks} & {bookmark.name for bookmark in dataset.bookmarks}
    problems = [f"{other} still exists" for other in sorted(left)]
    problems += [] if dataset.by_name(str(name)) else [f"{name} does not exist any more"]
    if problems:
        raise CerssError(
            f"{name.dataset} was rolled back, but {listing(problems)}; another process may have changed it, so check it"
        )
