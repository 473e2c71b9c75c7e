# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zfs_replication_info: the relationships of one backend, as its own datasets show them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import model, units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    Announcement,
    LastHold,
    ReplicaRecord,
    SourceMark,
    StepHold,
    TemporaryMark,
    is_ours,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory, runfiles, values
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.inventory import Inventory
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import listed, txg, with_hold
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import processes


def main(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:  # pylint: disable=unused-argument
    """The result of the module. It takes at most six zfs processes, seven if there are holds."""
    names = [str(DatasetName.parse(text)) for text in params.get("name") or []]
    max_lag = units.duration(params["max_lag"], "max_lag") if params.get("max_lag") else None
    backend = Backend()
    found, missing = inventory.read(backend, names, 1)
    if missing:
        raise Refused(f"{', '.join(missing)} does not exist; check the name")
    look(backend, found)
    running = {str(run["id"]): run for run in runfiles.running() if run.get("operation") == "send" and "id" in run}
    receiving = processes.receiving(backend.run(zfs.receivers()).stdout.splitlines())[0]
    active = {name for name in found if processes.receiver_of(receiving, name) is not None}
    return {"changed": False, "replications": relationships(found, running, active, time.time(), max_lag)}


def look(backend: Backend, found: Inventory) -> None:
    """Read marks, holds and sizes into ``found``, and remove datasets that have no relationship."""
    if not found:
        return
    # The names of the records end in an id, so they are not known beforehand.
    marks = sorted(filter(is_ours, values.set_properties(backend, sorted(found))))
    inventory.read_values(backend, found, sorted(found), ("written", "receive_resume_token", *marks))
    for name in [name for name, dataset in found.items() if not ids(dataset) and SourceMark.NAME not in dataset.ours]:
        if not any(snapshot.userrefs for snapshot in found[name].snapshots):
            del found[name]
    snapshots = [snapshot for dataset in found.values() for snapshot in dataset.snapshots]
    cursors = [bookmark.name for dataset in found.values() for _cursor, bookmark in dataset.cursors()]
    if snapshots or cursors:
        properties = ("creation", "written", "userrefs", "defer_destroy", "clones", TemporaryMark.NAME)
        inventory.read_values(backend, found, [snapshot.name for snapshot in snapshots] + cursors, properties)
    inventory.read_holds(backend, snapshots)


def ids(dataset: Dataset) -> set[str]:
    """The ids of all relationships that have a mark on the dataset as their source."""
    held = {hold.relationship for snap in dataset.snapshots for hold in snap.holds or []}
    marked = {bookmark.relationship for bookmark in dataset.bookmarks}
    return {*ReplicaRecord.all_of(dataset.ours), *filter(None, held | marked)}


def relationships(
    found: Mapping[str, Dataset],
    running: Mapping[str, dict[str, Any]],
    active: Iterable[str],
    now: float,
    max_lag: int | None,
) -> list[dict[str, Any]]:
    """The relationships of the datasets, sorted by dataset name, in the shape of the module's ``replications``.

    ``running``: run files by relationship id. ``active``: replicas that are receiving. ``now``: seconds since 1970.
    ``max_lag``: seconds, None for no limit.
    """
    result = []
    for _name, dataset in sorted(found.items()):
        mark = dataset.source_mark
        if mark:
            result.append(_as_replica(dataset, mark, dataset.name in set(active), now, max_lag))
        others = sorted(ids(dataset) - ({mark.id} if mark else set()))
        result += [_as_source(dataset, id_, running.get(id_), now, max_lag) for id_ in others]
    return result


def _as_source(
    dataset: Dataset, id_: str, run: dict[str, Any] | None, now: float, max_lag: int | None
) -> dict[str, Any]:
    known = dataset.records().get(id_)
    cursors = sorted((bookmark for cursor, bookmark in dataset.cursors() if cursor.id == id_), key=txg)
    cursor = cursors[-1] if cursors else None
    last = dataset.by_guid(cursor.guid) if cursor else None
    newer = [snap for snap in dataset.snapshots if not cursor or txg(snap) > txg(cursor)]
    requested = [snap for snap in newer if not snap.temporary]
    head = dataset.written
    behind = sum(snap.written or 0 for snap in newer) + head
    created = last.created if last else cursor.created if cursor else None
    lag = int(now - created) if created and (requested or behind) else 0 if created else None
    held = with_hold(dataset, StepHold(id_).format())
    problems = []
    if ReplicaRecord.name(id_) not in dataset.ours:
        problems.append("left over: the relationship is no longer recorded on the dataset; end it with zfs_replication")
    elif cursor is None and run is None:
        problems.append("nothing has been replicated yet")
    if held and run is None:
        problems.append(f"a transfer was interrupted and holds {listed(held)}; the next run resumes it")
    if known and known.aside:
        problems.append(
            f"a reseed is not finished: the datasets below the replica are still below {known.aside}; "
            "the next run moves them back"
        )
    if max_lag is not None and lag is not None and lag > max_lag:
        problems.append(f"the replica is {lag} s behind, more than max_lag allows ({max_lag} s)")
    return {
        "id": id_,
        "role": "source",
        "source": dataset.name,
        "target": known.target if known else None,
        "last_replicated": last.name if last else cursor.name if cursor else None,
        "snapshots_behind": len(requested),
        "lag_seconds": lag,
        "lag_bytes": behind if cursor else None,
        "in_progress": model.Progress(
            "send", run.get("bytes_done"), run.get("bytes_total"), run.get("bytes_per_second"), run.get("started"),
            run.get("updated"), True,
        ).to_result() if run else None,
        "healthy": not problems,
        "problems": problems,
    }  # fmt: skip


def _as_replica(dataset: Dataset, mark: SourceMark, active: bool, now: float, max_lag: int | None) -> dict[str, Any]:
    held = with_hold(dataset, LastHold(mark.id).format())
    last = held[-1] if held else None
    newer = [snap for snap in dataset.snapshots if last and txg(snap) > txg(last)]
    token = dataset.token
    lag = int(now - last.created) if last and last.created is not None else None
    problems = []
    if mark.released:
        problems.append("released by a failover: it no longer receives anything")
    elif max_lag is not None and lag is not None and lag > max_lag:
        problems.append(f"the last received snapshot is {lag} s old, more than max_lag allows ({max_lag} s)")
    if not last and not token:
        problems.append("no snapshot is held as the last received one")
    if newer:
        problems.append(f"diverged: it holds {listed(newer)} after the last received snapshot")
    if token and not active:
        problems.append(f"a transfer of {token.toname} was interrupted; the next run resumes it")
    announced = Announcement.of(dataset.ours).by_guid(token.toguid if token else None)
    expected = announced.bytes if announced else None
    return {
        "id": mark.id,
        "role": "replica",
        "source": f"{mark.host}:{mark.dataset}",
        "target": dataset.name,
        "last_replicated": last.name if last else None,
        "snapshots_behind": None,
        "lag_seconds": lag,
        "lag_bytes": None,
        "in_progress": model.Progress("receive", token.bytes, expected, active=active).to_result() if token else None,
        "healthy": not problems,
        "problems": problems,
    }
