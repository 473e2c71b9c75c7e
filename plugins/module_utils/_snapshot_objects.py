# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots as full objects: what the fast read found, with everything else that the object tells."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils import _inventory, _model, _parse, _runfile, _zfs
from ansible_collections.cerss.zfs.plugins.module_utils._backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._inventory import DATASET_VALUES, SNAPSHOT_VALUES, Inventory
from ansible_collections.cerss.zfs.plugins.module_utils._model import Dataset, Progress, Snapshot

UNNAMED = "%recv"  # what ZFS calls a receive whose snapshot is not known yet; no snapshot can have this name


@dataclass(frozen=True)
class Activity:
    """What runs on a backend at one moment: receives, the kernel's share of them, and operations of this collection."""

    now: float = 0.0
    receivers: list[_parse.Receiver] = field(default_factory=list)
    writers: int = 0
    operations: list[dict[str, Any]] = field(default_factory=list)
    senders: list[str] = field(default_factory=list)  # the arguments of each zfs send
    rates: Mapping[int, int] = field(default_factory=dict)  # bytes per second, by the receiver's pid

    def creating(self) -> set[str]:
        """Names of the snapshots that are being made."""
        return {
            name
            for operation in self.operations
            if operation.get("operation") == "create"
            for name in operation.get("snapshots") or []
        }

    def sending(self, guid: str | None) -> Progress | None:
        for operation in self.operations:
            if operation.get("operation") == "send" and guid and operation.get("guid") == guid:
                keys = ("bytes_done", "bytes_total", "bytes_per_second", "started", "updated")
                return Progress("send", active=True, **{key: operation.get(key) for key in keys})
        return None

    def sends(self, name: str) -> bool:
        """Is the snapshot being sent, as far as command lines tell?"""
        return any(arguments.endswith(f" {name}") for arguments in self.senders)

    def receives(self, dataset: str) -> bool | None:
        """True when a receive into the dataset runs, False when none does, None when that cannot be told."""
        if _parse.receiver_into(self.receivers, dataset):
            return True
        # Each active receive has one writer; those that ps explains are for other datasets.
        return False if self.writers <= len(self.receivers) else None


def activity(backend: Backend) -> Activity:
    """Look at the processes and, on this host, at the run files. No zfs process."""
    lines = backend.run(_zfs.receivers(), check=False).stdout.split("\n")
    receivers, writers = _parse.receiving(lines)
    found = Activity(time.time(), receivers, writers, senders=_parse.sending(lines))
    if backend.endpoint.host is not None:
        return found
    rates = {receiver.pid: rate for receiver in receivers for rate in [_rate(receiver)] if rate is not None}
    return replace(found, operations=_runfile.running(), rates=rates)


def _rate(receiver: _parse.Receiver) -> int | None:
    """Bytes per second since a receive began, as the kernel counts them; None where it does not show that."""
    try:
        counters = dict(line.split(": ") for line in Path(f"/proc/{receiver.pid}/io").read_text().splitlines())
        return int(counters["rchar"]) // receiver.seconds
    except (OSError, ValueError, KeyError, ZeroDivisionError):
        return None


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
    relationships = sorted({id_ for dataset in datasets.values() for id_, _guid, _mark in dataset.cursors()})
    columns = [
        "guid", "createtxg", *SNAPSHOT_VALUES, *(name for name in DATASET_VALUES if name not in SNAPSHOT_VALUES),
        *(_model.REPLICA_PREFIX + id_ for id_ in relationships), *keep,
    ]  # fmt: skip
    gone = _inventory.read_values(
        backend,
        {**datasets, **{dataset.name: dataset for dataset in hidden.values()}, "": here},
        [*datasets, *(dataset.name for dataset in hidden.values()), *(snapshot.name for snapshot in here.snapshots)],
        ["all"] if detail == "full" else list(dict.fromkeys(columns)),
        keep=keep,
    )
    for name, dataset in hidden.items():
        if dataset.values:
            datasets[name].values["receiving"] = "yes"
    _inventory.read_holds(backend, [snapshot for snapshot in snapshots if snapshot.userrefs])
    targets = _targets(datasets.values())
    vanished = set(gone)
    for snapshot in snapshots:
        if snapshot.name in vanished:
            snapshot.state = _model.ABSENT
            continue
        if detail == "full" or keep:
            snapshot.properties = snapshot.properties or {}
        if snapshot.name in running.creating():
            snapshot.state = _model.CREATING
        if snapshot.depends_on and snapshot.depends_on["snapshot"] in origins:
            snapshot.depends_on["guid"] = origins[snapshot.depends_on["snapshot"]].guid
        snapshot.progress = running.sending(snapshot.guid)
        snapshot.replications = replications(snapshot, datasets[snapshot.dataset], targets)


def _targets(datasets: Iterable[Dataset]) -> dict[str, str]:
    """Where each relationship leads, as the source volumes say."""
    found = {}
    for dataset in datasets:
        for name, value in dataset.ours.items():
            mark = _parse.mark(value) if name.startswith(_model.REPLICA_PREFIX) else None
            if isinstance(mark, dict) and mark.get("target"):
                found[name[len(_model.REPLICA_PREFIX) :]] = str(mark["target"])
    return found


def replications(snapshot: Snapshot, dataset: Dataset, targets: Mapping[str, str]) -> list[dict[str, str | None]]:
    """The relationships that need the snapshot. Pure."""
    roles = {id_: "base" for id_, guid, _mark in dataset.cursors() if guid == snapshot.guid}
    for hold in snapshot.holds or []:
        if hold.relationship and hold.tag.startswith(_model.LAST_HOLD):
            roles.setdefault(hold.relationship, "last_received")
        elif hold.relationship:
            roles.setdefault(hold.relationship, "in_transit")
    return [
        {"id": id_, "target": snapshot.dataset if role == "last_received" else targets.get(id_), "role": role}
        for id_, role in sorted(roles.items())
    ]


def arriving(dataset: Dataset, running: Activity) -> Snapshot | None:
    """The inbound snapshot of a dataset whose values were read; None when nothing arrives there."""
    token = dataset.token
    if not (token or dataset.inconsistent or dataset.values.get("receiving")
            or dataset.values.get("receive_resume_token", "-") not in ("-", "")):  # fmt: skip
        return None
    announced = _announced(dataset)
    here = {snapshot.guid for snapshot in dataset.snapshots}
    guid: str | None = None
    part = UNNAMED
    if token:
        if token.toguid in here:
            return None
        guid, part = token.toguid, next((name for id_, name, _size in announced if id_ == token.toguid), token.snapshot)
    else:
        guid, part = next(((id_, name) for id_, name, _size in announced if id_ not in here), (guid, part))
    total = next((size for id_, _name, size in announced if id_ == guid), None)
    base = dataset.by_guid(token.fromguid) if token else None
    receiver = _parse.receiver_into(running.receivers, dataset.name)
    return Snapshot(
        f"{dataset.name}@{part}",
        guid=guid,
        state=_model.INBOUND,
        depends_on={"snapshot": base.name if base else None, "guid": token.fromguid, "kind": "base"}
        if token and token.fromguid
        else None,
        progress=Progress(
            "receive",
            bytes_done=token.bytes if token else None,
            bytes_total=total,
            bytes_per_second=running.rates.get(receiver.pid) if receiver else None,
            started=running.now - receiver.seconds if receiver else None,
            updated=running.now,
            active=running.receives(dataset.name),
        ),
    )


def _announced(dataset: Dataset) -> list[tuple[str, str, int | None]]:
    """(GUID, snapshot, bytes) of what a sender announced on the dataset."""
    entries = _parse.mark(dataset.ours.get(_model.ANNOUNCED))
    return [
        (str(entry.get("guid")), str(entry.get("snapshot")), entry.get("bytes"))
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict)
    ]
