# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of zfs_snapshot_replicate: their spec, and what they mean once they are checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import units
from ansible_collections.cerss.zfs.plugins.module_utils._core.endpoint import LOCAL, Endpoint
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import (
    DatasetName,
    SnapshotName,
    check_unique,
    dataset_or_snapshot,
)
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import PairOptions
from ansible_collections.cerss.zfs.plugins.module_utils._replication.transfer import Transport
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import properties as zfs_properties

# Argument spec of either side; documented by the fragment `endpoint`.
ENDPOINT_OPTIONS: dict[str, Any] = {
    "host": {"type": "str"},
    "port": {"type": "int"},
    "user": {"type": "str"},
    "become": {"type": "bool", "default": False},
    "identity_file": {"type": "path"},
    "known_hosts_file": {"type": "path"},
    "ssh_options": {"type": "list", "elements": "str", "default": []},
}

_NOT_ON_REPLICAS = {"quota", "refquota", "reservation", "refreservation"}


@dataclass(frozen=True)
class Options:
    """The options, checked."""

    names: tuple[DatasetName | SnapshotName, ...]
    source: Endpoint
    target: Endpoint
    dataset: DatasetName | None
    parent: DatasetName | None
    strip: int
    recursive: bool
    exclude: tuple[str, ...]
    pair: PairOptions
    transport: Transport
    on_active: str
    parallel: int
    retries: int
    timeout: float | None
    interval: float

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Options:
        """Raise BadInput for what cannot be carried out, before anything is read."""
        source, target = params.get("source") or {}, params["target"]
        if target.get("host") is None and source.get("host") is None:
            raise BadInput(
                "neither target.host nor source.host says where the other side is; set target.host (push), "
                f"source.host (pull) or both (relay), or target.host={LOCAL} to replicate from pool to pool here"
            )
        names = [dataset_or_snapshot(text) for text in params["name"]]
        if not names:
            raise BadInput("name is empty; list the volumes or snapshots to replicate")
        check_unique([dataset_of(name).path for name in names], "name")
        dataset, parent = target.get("dataset"), target.get("parent")
        if bool(dataset) == bool(parent):
            raise BadInput(
                "target takes either dataset (the replica of the one volume named) or parent (any number), not both"
            )
        if dataset and len(names) > 1:
            raise BadInput("target.dataset is the replica of one volume, but name lists several; use target.parent")
        strip = target["strip"] if target.get("strip") is not None else 1
        for name in names if parent else []:
            if strip < 0 or len(dataset_of(name).path.split("/")) <= strip:
                raise BadInput(
                    f"target.strip is {strip}, which leaves nothing of {dataset_of(name)} to go below {parent}"
                )
        properties = zfs_properties.requested(params.get("properties"))
        for property_name in _NOT_ON_REPLICAS & properties.keys():
            raise BadInput(f"properties: {property_name} does not belong on a replica; it would stop increments")
        if params["parallel"] < 1:
            raise BadInput(f"parallel is {params['parallel']}; at least one volume must go at a time")
        if params["retries"] < 0:
            raise BadInput(f"retries is {params['retries']}; it cannot be negative")
        limit = params.get("bandwidth_limit")
        return cls(
            names=tuple(names),
            source=Endpoint.from_params(source, "source"),
            target=Endpoint.from_params(target, "target"),
            dataset=DatasetName.parse(dataset) if dataset else None,
            parent=DatasetName.parse(parent) if parent else None,
            strip=strip,
            recursive=params["recursive"],
            exclude=tuple(params.get("exclude") or ()),
            pair=PairOptions(
                intermediates=params["intermediates"],
                include=tuple(params.get("include_snapshots") or ()),
                exclude=tuple(params.get("exclude_snapshots") or ()),
                raw=params["raw"],
                on_divergence=params["on_divergence"],
                resume=params["resume"],
                properties=properties,
            ),
            transport=Transport(
                compression=params["compression"],
                bandwidth_limit=_positive(units.size(limit, "bandwidth_limit"), "bandwidth_limit") if limit else None,
                stall_timeout=_seconds(params.get("stall_timeout"), "stall_timeout"),
            ),
            on_active=params["on_active"],
            parallel=params["parallel"],
            retries=params["retries"],
            timeout=_seconds(params.get("timeout"), "timeout"),
            interval=float(units.duration(params.get("progress_interval") or 0, "progress_interval")),
        )

    def replica_root(self, name: DatasetName | SnapshotName) -> DatasetName:
        """Where the replica of a named volume goes."""
        if self.dataset:
            return self.dataset
        tail = dataset_of(name).path.split("/")[self.strip :]
        return DatasetName.parse("/".join([str(self.parent), *tail]))

    def place_of(self, path: DatasetName) -> DatasetName | None:
        """Where the replica of a volume goes, be it named or below one that is; None for any other volume."""
        if self.parent:
            return self.replica_root(path)
        root = dataset_of(self.names[0])
        return path.moved(root, self.replica_root(root)) if root.covers(path) else None


def _positive(value: int, option: str) -> int:
    if value < 1:
        raise BadInput(f"{option} must be more than nothing")
    return value


def _seconds(text: str | None, option: str) -> float | None:
    return float(_positive(units.duration(text, option), option)) if text else None


def dataset_of(name: DatasetName | SnapshotName) -> DatasetName:
    return name.dataset if isinstance(name, SnapshotName) else name
