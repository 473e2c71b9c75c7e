# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Completes the snapshots of a fast read with everything else that a result shows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import model, units
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    Announced,
    Announcement,
    StepHold,
    is_source_property,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Progress, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import is_user_property
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory, values
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import Activity
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.inventory import (
    DATASET_VALUES,
    SNAPSHOT_VALUES,
    Inventory,
)

UNNAMED = "%recv"  # how ZFS names a receive whose snapshot is not known yet; no snapshot can have this name


def link(dataset: Dataset) -> None:
    """Set ``depends_on`` of each snapshot. `fill` adds the GUID of an origin."""
    prior: Snapshot | None = None
    for snapshot in dataset.snapshots:
        snapshot.depends_on = dependence(prior, dataset.origin)
        prior = snapshot


def dependence(prior: Snapshot | None, origin: str | None) -> dict[str, Any] | None:
    """``depends_on`` of the snapshot after ``prior``. With ``prior`` None it is the first one of its dataset."""
    if prior:
        return {"snapshot": prior.name, "guid": prior.guid, "kind": "prior"}
    return {"snapshot": origin, "guid": None, "kind": "origin"} if origin else None


def fill(
    backend: Backend, datasets: Inventory, snapshots: Sequence[Snapshot], running: Activity, detail: str = "state",
    keep: Collection[str] = (), spoilt: dict[str, str] | None = None,
) -> None:  # fmt: skip
    """Read everything that the fast read leaves out, with two zfs get and, if anything is held, one zfs holds.

    ``datasets`` must have the dataset of each snapshot. A snapshot that no longer exists gets the state absent.
    ``detail``: "full" reads all user properties. A third zfs get finds their names, or those of the records of
    replicas: with "records" of all datasets, otherwise of those that have a cursor. ``keep``: names of properties to
    return in ``properties``. ``spoilt``: see `inventory.read_values`.
    """
    origins = {
        snapshot.depends_on["snapshot"]: Snapshot(snapshot.depends_on["snapshot"])
        for snapshot in snapshots
        if snapshot.depends_on and snapshot.depends_on["kind"] == "origin"
    }
    by_name = {**origins, **{snapshot.name: snapshot for snapshot in snapshots}}
    more = _set_properties(backend, datasets, by_name, detail)
    columns = list(dict.fromkeys(["guid", "createtxg", *SNAPSHOT_VALUES, *DATASET_VALUES, *keep, *more]))
    missing = _read_values(backend, datasets, by_name.values(), running, columns, keep, spoilt)
    inventory.read_holds(backend, [snapshot for snapshot in snapshots if snapshot.userrefs])
    targets = _targets(datasets.values())
    bases = {name: bases_of(dataset) for name, dataset in datasets.items()}
    for snapshot in snapshots:
        if snapshot.name in missing:
            snapshot.state = model.ABSENT
            continue
        if detail == "full" or keep:
            snapshot.properties = snapshot.properties or {}
        if snapshot.name in running.creating():
            snapshot.state = model.CREATING
        if snapshot.depends_on and snapshot.depends_on["kind"] == "origin":
            snapshot.depends_on["guid"] = by_name[snapshot.depends_on["snapshot"]].guid
        snapshot.progress = running.sending(snapshot.guid)
        dataset = datasets[snapshot.dataset]
        snapshot.replications = replications(snapshot, dataset, bases[dataset.name], targets)


def _set_properties(backend: Backend, datasets: Inventory, snapshots: Iterable[str], detail: str) -> list[str]:
    """The user properties that are set: all of them for the detail "full", otherwise the records of replicas."""
    if detail == "full":
        return sorted(filter(is_user_property, values.set_properties(backend, [*datasets, *snapshots])))
    sources = [name for name, dataset in datasets.items() if detail == "records" or dataset.cursors()]
    return sorted(filter(is_source_property, values.set_properties(backend, sources)))


def fill_records(backend: Backend, datasets: Inventory) -> None:
    """Read which relationships the datasets are the source of. `fill` knows only those that have cursors there.

    A promotion of a clone moves the cursors away, and a dataset with a long name never has any.
    """
    records = sorted(filter(is_source_property, values.set_properties(backend, sorted(datasets)))) if datasets else []
    if records:
        inventory.read_values(backend, datasets, sorted(datasets), records)


def _read_values(
    backend: Backend, datasets: Inventory, snapshots: Iterable[Snapshot], running: Activity, columns: Sequence[str],
    keep: Collection[str], spoilt: dict[str, str] | None,
) -> set[str]:  # fmt: skip
    """Read the columns of the datasets and snapshots; the names of those that do not exist."""
    # A receive without -s into an existing dataset shows only as this hidden one, and only while it runs.
    some = running.receiving.receivers or not running.receiving.known
    hidden = {name: Dataset(f"{name}/{UNNAMED}") for name in datasets if some}
    holder = Dataset("", snapshots=list(snapshots))
    missing = inventory.read_values(
        backend,
        {**datasets, **{dataset.name: dataset for dataset in hidden.values()}, "": holder},
        [*datasets, *(dataset.name for dataset in hidden.values()), *(snapshot.name for snapshot in holder.snapshots)],
        columns,
        keep=keep,
        spoilt=spoilt,
    )
    for name, dataset in hidden.items():
        if dataset.values:
            datasets[name].receiving = True
    return set(missing)


def _targets(datasets: Iterable[Dataset]) -> dict[str, str]:
    """Relationship -> its target as ``host:dataset``, as recorded on the source datasets."""
    return {id_: record.target for dataset in datasets for id_, record in dataset.records().items()}


def bases_of(dataset: Dataset) -> dict[str, str]:
    """Relationship -> GUID of the snapshot that its next increment starts from, for those that have a cursor there.

    That is the commit point. If none was read, it is the newest cursor.
    """
    points = dataset.commit_points()
    found: dict[str, str] = {}
    for cursor, _bookmark in sorted(dataset.cursors(), key=lambda pair: pair[1].createtxg):
        point = points.get(cursor.id)
        if point is None or point.guid == cursor.guid:
            found[cursor.id] = cursor.guid
    return found


def replications(
    snapshot: Snapshot, dataset: Dataset, bases: Mapping[str, str], targets: Mapping[str, str]
) -> list[dict[str, str | None]]:
    """The relationships that need the snapshot, by id. ``bases``: see `bases_of`.

    ``role``: base (the next increment starts from it), in_transit, or last_received (on a replica). ``target`` is None
    if the source dataset does not record it.
    """
    roles = {id_: "base" for id_, guid in bases.items() if guid == snapshot.guid}
    for mark in (hold.mark for hold in snapshot.holds or [] if hold.mark):
        if isinstance(mark, StepHold):
            roles.setdefault(mark.id, "in_transit")
        elif dataset.source_mark:
            roles.setdefault(dataset.source_mark.id, "last_received")
    return [
        {"id": id_, "target": snapshot.dataset if role == "last_received" else targets.get(id_), "role": role}
        for id_, role in sorted(roles.items())
    ]


def from_the_future(snapshot: Snapshot) -> str:
    """For warnings, of a snapshot that was created later than now."""
    return (
        f"{snapshot.name} was created in the future, at {units.iso_time(snapshot.created)}: the clock of this host was "
        "wrong then, or is now"
    )


def inbound_of(dataset: Dataset, running: Activity) -> Snapshot | None:
    """The snapshot that is being received into a dataset, or was received in part; None if there is none.

    The dataset's values must have been read. GUID and name come from the resume token, or from the announcement on
    the replica; if neither tells them the name is ``dataset@%recv``.
    """
    token = dataset.token
    if not (dataset.has_partial_receive or dataset.inconsistent or dataset.receiving):
        return None
    existing = {snapshot.guid for snapshot in dataset.snapshots}
    if token and token.toguid in existing:
        return None
    announcement = Announcement.of(dataset.ours)
    if token:
        announced = announcement.by_guid(token.toguid)
    else:
        announced = next((entry for entry in announcement.entries if entry.guid not in existing), None)
    base = dataset.by_guid(token.fromguid) if token else None
    part = announced.snapshot if announced else token.snapshot if token else UNNAMED
    return Snapshot(
        f"{dataset.name}@{part}",
        guid=token.toguid if token else announced.guid if announced else None,
        state=model.INBOUND,
        depends_on={"snapshot": base.name if base else None, "guid": token.fromguid, "kind": "base"}
        if token and token.fromguid
        else None,
        progress=_receive_progress(dataset, announced, running),
    )


def _receive_progress(dataset: Dataset, announced: Announced | None, running: Activity) -> Progress:
    receiver = running.receiving.into(dataset.name)
    return Progress(
        "receive",
        bytes_done=dataset.token.bytes if dataset.token else None,
        bytes_total=announced.bytes if announced else None,
        bytes_per_second=running.rates.get(receiver.pid) if receiver else None,
        started=running.now - receiver.seconds if receiver else None,
        updated=running.now,
        active=running.receiving.is_active(dataset.name),
    )
