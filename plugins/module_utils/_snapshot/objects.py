# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots as full objects: what the fast read found, with everything else that the object tells."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import model
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    Announcement,
    LastHold,
    ReplicaRecord,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Progress, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import Activity
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.inventory import (
    DATASET_VALUES,
    SNAPSHOT_VALUES,
    Inventory,
)
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import processes

UNNAMED = "%recv"  # what ZFS calls a receive whose snapshot is not known yet; no snapshot can have this name


def link(dataset: Dataset) -> None:
    """Say of each snapshot what it depends on. The origin's GUID comes with `fill`."""
    before: Snapshot | None = None
    for snapshot in dataset.snapshots:
        snapshot.depends_on = dependence(before, dataset.origin)
        before = snapshot


def dependence(before: Snapshot | None, origin: str | None) -> dict[str, Any] | None:
    """``depends_on`` of a snapshot that comes after ``before``, or is the first one of its dataset."""
    if before:
        return {"snapshot": before.name, "guid": before.guid, "kind": "prior"}
    return {"snapshot": origin, "guid": None, "kind": "origin"} if origin else None


def fill(
    backend: Backend, datasets: Inventory, snapshots: Sequence[Snapshot], running: Activity, detail: str = "state",
    keep: Collection[str] = (),
) -> None:  # fmt: skip
    """Read everything that the fast read leaves out, for these snapshots and datasets. One get, one holds."""
    origins = {
        snapshot.depends_on["snapshot"]: Snapshot(snapshot.depends_on["snapshot"])
        for snapshot in snapshots
        if snapshot.depends_on and snapshot.depends_on["kind"] == "origin"
    }
    # A receive without -s into what exists shows only here, and only while it runs.
    hidden = {name: Dataset(f"{name}/{UNNAMED}") for name in datasets if running.writers or running.receivers}
    here = Dataset("", snapshots=list({**origins, **{snapshot.name: snapshot for snapshot in snapshots}}.values()))
    relationships = sorted({cursor.id for dataset in datasets.values() for cursor, _bookmark in dataset.cursors()})
    columns = [
        "guid", "createtxg", *SNAPSHOT_VALUES, *(name for name in DATASET_VALUES if name not in SNAPSHOT_VALUES),
        *(ReplicaRecord.name(id_) for id_ in relationships), *keep,
    ]  # fmt: skip
    gone = inventory.read_values(
        backend,
        {**datasets, **{dataset.name: dataset for dataset in hidden.values()}, "": here},
        [*datasets, *(dataset.name for dataset in hidden.values()), *(snapshot.name for snapshot in here.snapshots)],
        ["all"] if detail == "full" else list(dict.fromkeys(columns)),
        keep=keep,
    )
    for name, dataset in hidden.items():
        if dataset.values:
            datasets[name].receiving = True
    inventory.read_holds(backend, [snapshot for snapshot in snapshots if snapshot.userrefs])
    targets = _targets(datasets.values())
    vanished = set(gone)
    for snapshot in snapshots:
        if snapshot.name in vanished:
            snapshot.state = model.ABSENT
            continue
        if detail == "full" or keep:
            snapshot.properties = snapshot.properties or {}
        if snapshot.name in running.creating():
            snapshot.state = model.CREATING
        if snapshot.depends_on and snapshot.depends_on["snapshot"] in origins:
            snapshot.depends_on["guid"] = origins[snapshot.depends_on["snapshot"]].guid
        snapshot.progress = running.sending(snapshot.guid)
        snapshot.replications = replications(snapshot, datasets[snapshot.dataset], targets)


def _targets(datasets: Iterable[Dataset]) -> dict[str, str]:
    """Where each relationship leads, as the source volumes say."""
    found = {}
    for dataset in datasets:
        for id_, record in ReplicaRecord.all_of(dataset.ours).items():
            if isinstance(record, ReplicaRecord):
                found[id_] = record.target
    return found


def replications(snapshot: Snapshot, dataset: Dataset, targets: Mapping[str, str]) -> list[dict[str, str | None]]:
    """The relationships that need the snapshot."""
    roles = {cursor.id: "base" for cursor, _bookmark in dataset.cursors() if cursor.guid == snapshot.guid}
    for mark in (hold.mark for hold in snapshot.holds or [] if hold.mark):
        roles.setdefault(mark.id, "last_received" if isinstance(mark, LastHold) else "in_transit")
    return [
        {"id": id_, "target": snapshot.dataset if role == "last_received" else targets.get(id_), "role": role}
        for id_, role in sorted(roles.items())
    ]


def arriving(dataset: Dataset, running: Activity) -> Snapshot | None:
    """The inbound snapshot of a dataset whose values were read; None when nothing arrives there."""
    token = dataset.token
    if not (dataset.has_partial_receive or dataset.inconsistent or dataset.receiving):
        return None
    announcement = Announcement.of(dataset.ours)
    here = {snapshot.guid for snapshot in dataset.snapshots}
    if token and token.toguid in here:
        return None
    if token:
        announced = announcement.by_guid(token.toguid)
    else:
        announced = next((one for one in announcement.entries if one.guid not in here), None)
    guid = token.toguid if token else announced.guid if announced else None
    part = announced.snapshot if announced else token.snapshot if token else UNNAMED
    base = dataset.by_guid(token.fromguid) if token else None
    receiver = processes.receiver_into(running.receivers, dataset.name)
    return Snapshot(
        f"{dataset.name}@{part}",
        guid=guid,
        state=model.INBOUND,
        depends_on={"snapshot": base.name if base else None, "guid": token.fromguid, "kind": "base"}
        if token and token.fromguid
        else None,
        progress=Progress(
            "receive",
            bytes_done=token.bytes if token else None,
            bytes_total=announced.bytes if announced else None,
            bytes_per_second=running.rates.get(receiver.pid) if receiver else None,
            started=running.now - receiver.seconds if receiver else None,
            updated=running.now,
            active=running.receives(dataset.name),
        ),
    )
