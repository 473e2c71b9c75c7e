# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of zfs_snapshot_replicate: their spec, and what they mean once they are checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import units
from ansible_collections.cerss.zfs.plugins.module_utils._core.endpoint import LOCAL, Endpoint
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import (
    DatasetName,
    SnapshotName,
    check_property,
    check_unique,
    dataset_or_snapshot,
)
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import Wishes
from ansible_collections.cerss.zfs.plugins.module_utils._replication.transfer import Transport

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


@dataclass(frozen=True)
class Request:
    """The options, checked."""

    names: tuple[DatasetName | SnapshotName, ...]
    source: Endpoint
    target: Endpoint
    dataset: DatasetName | None
    parent: DatasetName | None
    strip: int
    recursive: bool
    exclude: tuple[str, ...]
    wishes: Wishes
    transport: Transport
    on_active: str
    parallel: int
    retries: int
    timeout: float | None
    interval: float

    @classmethod
    def from_options(cls, options: dict[str, Any]) -> Request:
        """Raise BadInput for what cannot be carried out, before anything is read."""
        source, target = options.get("source") or {}, options["target"]
        if target.get("host") is None and source.get("host") is None:
            raise BadInput(
                "neither target.host nor source.host says where the other side is; set target.host (push), "
                f"source.host (pull) or both (relay), or target.host={LOCAL} to replicate from pool to pool here"
            )
        names = [dataset_or_snapshot(text) for text in options["name"]]
        if not names:
            raise BadInput("name is empty; list the volumes or snapshots to replicate")
        check_unique([volume(name).path for name in names], "name")
        dataset, parent = target.get("dataset"), target.get("parent")
        if bool(dataset) == bool(parent):
            raise BadInput(
                "target takes either dataset (the replica of the one volume named) or parent (any number), not both"
            )
        if dataset and len(names) > 1:
            raise BadInput("target.dataset is the replica of one volume, but name lists several; use target.parent")
        strip = target["strip"] if target.get("strip") is not None else 1
        for name in names if parent else []:
            if strip < 0 or len(volume(name).path.split("/")) <= strip:
                raise BadInput(f"target.strip is {strip}, which leaves nothing of {volume(name)} to go below {parent}")
        for property_name, value in (options.get("properties") or {}).items():
            check_property(property_name, str(value))
            if property_name in ("quota", "refquota", "reservation", "refreservation"):
                raise BadInput(f"properties: {property_name} does not belong on a replica; it would stop increments")
        if options["parallel"] < 1:
            raise BadInput(f"parallel is {options['parallel']}; at least one volume must go at a time")
        if options["retries"] < 0:
            raise BadInput(f"retries is {options['retries']}; it cannot be negative")
        limit = options.get("bandwidth_limit")
        return cls(
            names=tuple(names),
            source=Endpoint.from_options(source, "source"),
            target=Endpoint.from_options(target, "target"),
            dataset=DatasetName.parse(dataset) if dataset else None,
            parent=DatasetName.parse(parent) if parent else None,
            strip=strip,
            recursive=options["recursive"],
            exclude=tuple(options.get("exclude") or ()),
            wishes=Wishes(
                intermediates=options["intermediates"],
                include=tuple(options.get("include_snapshots") or ()),
                exclude=tuple(options.get("exclude_snapshots") or ()),
                raw=options["raw"],
                on_divergence=options["on_divergence"],
                resume=options["resume"],
                properties={name: property_text(value) for name, value in (options.get("properties") or {}).items()},
            ),
            transport=Transport(
                compression=options["compression"],
                bandwidth_limit=_positive(units.size(limit, "bandwidth_limit"), "bandwidth_limit") if limit else None,
                stall_timeout=_seconds(options.get("stall_timeout"), "stall_timeout"),
            ),
            on_active=options["on_active"],
            parallel=options["parallel"],
            retries=options["retries"],
            timeout=_seconds(options.get("timeout"), "timeout"),
            interval=float(units.duration(options.get("progress_interval") or 0, "progress_interval")),
        )

    def replica_root(self, name: DatasetName | SnapshotName) -> DatasetName:
        """Where the replica of a named volume goes."""
        if self.dataset:
            return self.dataset
        tail = volume(name).path.split("/")[self.strip :]
        return DatasetName.parse("/".join([str(self.parent), *tail]))

    def place_of(self, path: DatasetName) -> DatasetName | None:
        """Where the replica of a volume goes, be it named or below one that is; None for any other volume."""
        if self.parent:
            return self.replica_root(path)
        root = volume(self.names[0])
        return path.moved(root, self.replica_root(root)) if root.covers(path) else None


def property_text(value: Any) -> str:
    """A YAML value as ZFS writes it: booleans are on and off."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def _positive(value: int, option: str) -> int:
    if value < 1:
        raise BadInput(f"{option} must be more than nothing")
    return value


def _seconds(text: str | None, option: str) -> float | None:
    return float(_positive(units.duration(text, option), option)) if text else None


def volume(name: DatasetName | SnapshotName) -> DatasetName:
    return name.dataset if isinstance(name, SnapshotName) else name
