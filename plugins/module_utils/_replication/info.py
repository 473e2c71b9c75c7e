# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zfs_replication_info: the relationships of one backend, as its own datasets show them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import model, units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    Announcement,
    CommitPoint,
    Cursor,
    LastHold,
    SourceMark,
    StepHold,
    TemporaryMark,
    is_ours,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Bookmark, Dataset, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory, runfiles, values
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import read_receiving
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.inventory import Inventory
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import listed, txg, with_hold


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
    receiving = read_receiving(backend)
    active = {name: receiving.is_active(name) for name in found}
    spoilt = [
        f"{name} has a property {mark} that cannot be read, so relationships may be missing here; zfs_replication with "
        "state=present writes it anew"
        for name, dataset in sorted(found.items()) for mark in dataset.spoilt()
    ]  # fmt: skip
    told = relationships(found, running, active, time.time(), max_lag)
    return {"changed": False, "replications": told, **({"warnings": spoilt} if spoilt else {})}


def look(backend: Backend, found: Inventory, every: bool = False) -> None:
    """Read marks, holds and sizes into ``found``, and remove datasets that have no relationship.

    ``every``: also look for holds on datasets that have nothing else of a relationship.
    """
    if not found:
        return
    # The names of the records end in the GUID of a pool, so they are not known beforehand.
    marks = sorted(filter(is_ours, values.set_properties(backend, sorted(found))))
    inventory.read_values(backend, found, sorted(found), ("written", "used", "receive_resume_token", *marks))
    for name, dataset in list(found.items()):
        if not (every or ids(dataset) or SourceMark.NAME in dataset.ours or dataset.spoilt()):
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
    return {*dataset.records(), *dataset.commit_points(), *filter(None, held | marked)}


def relationships(
    found: Mapping[str, Dataset],
    running: Mapping[str, dict[str, Any]],
    active: Mapping[str, bool | None],
    now: float,
    max_lag: int | None,
) -> list[dict[str, Any]]:
    """The relationships of the datasets, sorted by dataset name, in the shape of the module's ``replications``.

    ``running``: run files by relationship id. ``active``: whether a replica is receiving, None if that is not known.
    ``now``: seconds since 1970.
    ``max_lag``: seconds, None for no limit.
    """
    result = []
    recorded = {id_ for dataset in found.values() for id_ in dataset.records()}
    for _name, dataset in sorted(found.items()):
        mark = dataset.source_mark
        if mark:
            result.append(_as_replica(dataset, mark, active.get(dataset.name, False), now, max_lag))
        # Marks that a promotion has moved here belong to the dataset that has the record.
        moved = recorded - dataset.records().keys()
        others = sorted(ids(dataset) - moved - ({mark.id} if mark else set()))
        result += [_as_source(dataset, id_, running.get(id_), now, max_lag) for id_ in others]
    return result


def _as_source(
    dataset: Dataset, id_: str, run: dict[str, Any] | None, now: float, max_lag: int | None
) -> dict[str, Any]:
    known, point = dataset.records().get(id_), dataset.commit_points().get(id_)
    last = _point_of(dataset, id_, point)
    newer = [snap for snap in dataset.snapshots if not point or txg(snap) > point.createtxg]
    requested = [snap for snap in newer if not snap.temporary and snap.state != model.PENDING_DELETE]
    head = dataset.written
    behind = sum(snap.written or 0 for snap in newer) + head
    lag = _lag(last, now)
    if lag is not None and not (requested or behind):
        lag = 0
    # The base is held too, if the dataset's name leaves no room for a cursor.
    held = [snap for snap in with_hold(dataset, StepHold(id_).format()) if not point or snap.guid != point.guid]
    problems = []
    if known is None:
        problems.append("left over: the relationship is no longer recorded on the dataset; end it with zfs_replication")
    elif known.paused:
        problems.append("paused: replication skips it until zfs_replication with paused=false")
    elif point is None and run is None:
        problems.append("nothing has been replicated yet")
    if held and run is None:
        problems.append(f"a transfer was interrupted and holds {listed(held)}; the next run resumes it")
    if max_lag is not None and lag is not None and lag > max_lag:
        problems.append(f"the replica is {lag} s behind, more than max_lag allows ({max_lag} s)")
    problems += _from_the_future(last, now)
    return {
        "id": id_,
        "role": "source",
        "source": dataset.name,
        "target": known.target if known else None,
        "last_replicated": last.name if last else None,
        "snapshots_behind": len(requested),
        "lag_seconds": lag,
        "lag_bytes": behind if point else None,
        "in_progress": model.Progress(
            "send", run.get("bytes_done"), run.get("bytes_total"), run.get("bytes_per_second"), run.get("started"),
            run.get("updated"), True,
        ).to_result() if run else None,
        "healthy": not problems,
        "problems": problems,
    }  # fmt: skip


def _point_of(dataset: Dataset, id_: str, point: CommitPoint | None) -> Snapshot | Bookmark | None:
    """The snapshot of a commit point or, if it is gone, its cursor."""
    cursors = [bookmark for cursor, bookmark in dataset.cursors() if point and cursor == Cursor(id_, point.guid)]
    return (dataset.by_guid(point.guid) if point else None) or next(iter(cursors), None)


def _lag(last: Snapshot | Bookmark | None, now: float) -> int | None:
    """The age of the last replicated snapshot in seconds; None if it is not known."""
    age = units.age(last.created, now) if last and last.created is not None else None
    return None if age is None else int(age)


def _from_the_future(last: Snapshot | Bookmark | None, now: float) -> list[str]:
    """The problem that nobody knows the age of the last replicated snapshot."""
    if last is None or last.created is None or units.age(last.created, now) is not None:
        return []
    return [
        f"{last.name} was created in the future, at {units.iso_time(last.created)}, so nobody knows how far the "
        "replica is behind; check the clocks of both hosts"
    ]


def _as_replica(
    dataset: Dataset, mark: SourceMark, active: bool | None, now: float, max_lag: int | None
) -> dict[str, Any]:
    held = with_hold(dataset, LastHold.TAG)
    last = held[-1] if held else None
    newer = [snap for snap in dataset.snapshots if last and txg(snap) > txg(last)]
    token = dataset.token
    lag = _lag(last, now)
    problems = _from_the_future(last, now) if mark.live else []
    if mark.released:
        problems.append("released by a failover: it no longer receives anything")
    elif mark.put_aside:
        size = dataset.get("used") or "an unknown number of"
        problems.append(f"put aside by a reseed and kept with {size} bytes; destroy it when nobody needs it any more")
    elif mark.beside:
        problems.append("a reseed is not finished: it is to replace the replica; the next run continues")
    elif max_lag is not None and lag is not None and lag > max_lag:
        problems.append(f"the last received snapshot is {lag} s old, more than max_lag allows ({max_lag} s)")
    if mark.live and not mark.beside and not last and not token:
        problems.append("no snapshot is held as the last received one")
    if newer:
        problems.append(f"diverged: it holds {listed(newer)} after the last received snapshot")
    if token and active is False:
        problems.append(f"a transfer of {token.toname} was interrupted; the next run resumes it")
    announced = Announcement.of(dataset.ours).by_guid(token.toguid if token else None)
    expected = announced.bytes if announced else None
    return {
        "id": mark.id,
        "role": "replica",
        "source": mark.source,
        "target": dataset.name,
        "last_replicated": last.name if last else None,
        "snapshots_behind": None,
        "lag_seconds": lag,
        "lag_bytes": None,
        "in_progress": model.Progress("receive", token.bytes, expected, active=active).to_result() if token else None,
        "healthy": not problems,
        "problems": problems,
    }
