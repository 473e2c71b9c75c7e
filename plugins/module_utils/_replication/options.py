# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The checked options of zfs_snapshot_replicate, for one target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import units
from ansible_collections.cerss.zfs.plugins.module_utils._core.endpoint import LOCAL, Endpoint
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import (
    DatasetName,
    SnapshotName,
    check_patterns,
    check_unique,
    dataset_or_snapshot,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.periods import PERIODS
from ansible_collections.cerss.zfs.plugins.module_utils._host.selection import Selection
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import PairOptions
from ansible_collections.cerss.zfs.plugins.module_utils._replication.transfer import Transport
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import properties as zfs_properties

MOST_JOB = 60  # characters of the name of a job
_NOT_ON_REPLICAS = {"quota", "refquota", "reservation", "refreservation"}


@dataclass(frozen=True)
class Options:
    """The checked options. Times are in seconds, ``bandwidth_limit`` is in bytes per second, None means no limit.

    Exactly one of ``dataset`` and ``parent`` is set. ``names``: None for all datasets that ``selection`` chooses.
    ``option``: what messages call the target. ``upcoming``: snapshots by dataset that check mode counts on.
    """

    names: tuple[DatasetName | SnapshotName, ...] | None
    selection: Selection
    source: Endpoint
    target: Endpoint
    dataset: DatasetName | None
    parent: DatasetName | None
    strip: int
    option: str
    pair: PairOptions
    transport: Transport
    on_active: str
    parallel: int
    retries: int
    timeout: float | None
    interval: float
    upcoming: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_params(cls, params: Mapping[str, Any], option: str = "target") -> Options:
        """From the parameters of one target (`targets.each`), which messages call ``option``.

        Raises BadInput; nothing has been read at that point.
        """
        source, target = params.get("source") or {}, params["target"]
        if target.get("host") is None and source.get("host") is None:
            raise BadInput(
                f"neither {option}.host nor source.host is set; set {option}.host (push), source.host (pull) or both "
                f"(relay), or {option}.host={LOCAL} to replicate between pools of this machine"
            )
        names = _names(params)
        dataset, parent = target.get("dataset"), target.get("parent")
        _check_place(dataset, parent, names, option)
        strip = target["strip"] if target.get("strip") is not None else 1
        for name in (names or ()) if parent else ():
            _check_strip(strip, dataset_of(name), option)
        if params["parallel"] < 1:
            raise BadInput(f"parallel is {params['parallel']}; it must be at least 1")
        if params["retries"] < 0:
            raise BadInput(f"retries is {params['retries']}; it cannot be negative")
        login = params.get("login")
        sender, receiver = (
            Endpoint.from_params(side, what, login) for side, what in ((source, "source"), (target, option))
        )
        return cls(
            names=names,
            selection=Selection.from_params(
                params, None if names is None else [str(dataset_of(name)) for name in names]
            ),
            source=sender,
            target=receiver,
            dataset=DatasetName.parse(dataset) if dataset else None,
            parent=DatasetName.parse(parent) if parent else None,
            strip=strip,
            option=option,
            pair=_pair_options(params, sender, receiver),
            transport=_transport(params),
            on_active=params["on_active"],
            parallel=params["parallel"],
            retries=params["retries"],
            timeout=_seconds(params.get("timeout"), "timeout"),
            interval=float(units.duration(params.get("progress_interval") or 0, "progress_interval")),
            upcoming={
                str(dataset_of(name)): str(name) for name in map(SnapshotName.parse, params.get("upcoming") or ())
            },
        )

    @property
    def hosts(self) -> tuple[str, str]:
        """Of source and target, for results."""
        return self.source.as_option, self.target.as_option

    @property
    def place(self) -> str:
        """The address of ``dataset`` or ``parent``."""
        return self.target.address(self.dataset or self.parent)

    def replica_root(self, name: DatasetName | SnapshotName) -> DatasetName:
        """The replica of a dataset listed in ``name``: backup/db for tank/db if parent is backup and strip is 1."""
        if self.dataset:
            return self.dataset
        _check_strip(self.strip, dataset_of(name), self.option)
        tail = dataset_of(name).path.split("/")[self.strip :]
        return DatasetName.parse("/".join([str(self.parent), *tail]))

    def place_of(self, path: DatasetName) -> DatasetName | None:
        """The replica of a dataset that is listed in ``name`` or lies below one; without ``parent`` None for others."""
        if self.parent:
            return self.replica_root(path)
        root = dataset_of(self.names[0]) if self.names else path
        return path.moved(root, self.replica_root(root)) if root.covers(path) else None


def _job(name: str | None) -> str:
    if name and not (name.isprintable() and len(name) <= MOST_JOB):
        raise BadInput(f"job {name[:MOST_JOB]!r} cannot be recorded; give up to {MOST_JOB} printable characters")
    return name or ""


def _names(params: Mapping[str, Any]) -> tuple[DatasetName | SnapshotName, ...] | None:
    """The option ``name``; None if it is not given, which only `select` allows."""
    if params.get("name") is None:
        if not params.get("select"):
            raise BadInput(
                "neither name nor select is set; list the datasets or snapshots to replicate, or select them"
            )
        return None
    names = [dataset_or_snapshot(text) for text in params["name"]]
    check_unique([dataset_of(name).path for name in names], "name")
    return tuple(names)


def _check_place(
    dataset: str | None, parent: str | None, names: tuple[DatasetName | SnapshotName, ...] | None, option: str
) -> None:
    if not dataset and not parent:
        raise BadInput(
            f"{option} has neither dataset nor parent; set dataset (the replica of one dataset) or parent (the dataset "
            "that replicas of any number of them go below)"
        )
    if dataset and parent:
        raise BadInput(f"{option} has both dataset and parent; leave one of them out")
    several = "select may choose" if names is None else "name lists"
    if dataset and (names is None or len(names) > 1):
        raise BadInput(f"{option}.dataset names a single replica, but {several} several datasets; use {option}.parent")


def _check_strip(strip: int, name: DatasetName, option: str) -> None:
    most = name.path.count("/")
    if not 0 <= strip <= most:
        raise BadInput(f"{option}.strip is {strip}; for {name} it must be between 0 and {most}")


def _pair_options(params: Mapping[str, Any], source: Endpoint, target: Endpoint) -> PairOptions:
    properties = zfs_properties.requested(params.get("properties"))
    for property_name in _NOT_ON_REPLICAS & properties.keys():
        raise BadInput(
            f"properties: {property_name} does not belong on a replica: later increments would fail; leave it out"
        )
    if params.get("reseed_keep") is False and source.host is not None:
        raise BadInput(
            "reseed_keep=false is not for a source that is pulled from, which could have the replica destroyed by "
            "giving up its own snapshots; leave it out, and destroy the old replica yourself"
        )
    return PairOptions(
        intermediates=params["intermediates"],
        include=check_patterns(params.get("include_snapshots"), "include_snapshots"),
        exclude=check_patterns(params.get("exclude_snapshots"), "exclude_snapshots"),
        periods=tuple(name for name in PERIODS if (params["target"].get("include") or {}).get(name)),
        raw=params["raw"],
        on_divergence=params["on_divergence"],
        keep_old=params.get("reseed_keep") is not False,
        resume=params["resume"],
        properties=properties,
        pulled=source.host is not None,
        packages=source.host is None or target.host is None,
        job=_job(params.get("job")),
    )


def _transport(params: Mapping[str, Any]) -> Transport:
    limit = params.get("bandwidth_limit")
    return Transport(
        compression=params["compression"],
        bandwidth_limit=_positive(units.size(limit, "bandwidth_limit"), "bandwidth_limit") if limit else None,
        stall_timeout=_seconds(params.get("stall_timeout"), "stall_timeout"),
        **{name: value for name, value in (params.get("stream") or {}).items() if value is not None},
    )


def _positive(value: int, option: str) -> int:
    if value < 1:
        raise BadInput(f"{option} must be greater than zero")
    return value


def _seconds(text: str | None, option: str) -> float | None:
    return float(_positive(units.duration(text, option), option)) if text else None


def dataset_of(name: DatasetName | SnapshotName) -> DatasetName:
    return name.dataset if isinstance(name, SnapshotName) else name
