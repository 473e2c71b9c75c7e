# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Datasets, snapshots, bookmarks, holds and clones, as read from a backend and as results show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    CommitPoint,
    CommitPoints,
    Cursor,
    LastHold,
    ReplicaRecord,
    ReplicaRecords,
    SourceMark,
    Spoilt,
    StepHold,
    is_ours,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.units import iso_time, number

FULL = "full"
PENDING_DELETE = "pending_delete"
INBOUND = "inbound"
CREATING = "creating"
ABSENT = "absent"
STATES = (FULL, PENDING_DELETE, INBOUND, CREATING, ABSENT)


@dataclass(frozen=True)
class Hold:
    """A hold on a snapshot. ``created`` in seconds since 1970; None when zfs printed no time."""

    tag: str
    created: int | None = None

    @property
    def ours(self) -> bool:
        return is_ours(self.tag)

    @property
    def mark(self) -> StepHold | LastHold | None:
        """The tag when it belongs to a relationship; None for any other tag."""
        found = (StepHold.parse(self.tag), LastHold.parse(self.tag))
        return next((mark for mark in found if not isinstance(mark, Spoilt)), None)

    @property
    def relationship(self) -> str | None:
        """Id of the relationship that the hold names; None for any other hold, and for `LastHold`."""
        return self.mark.id if isinstance(self.mark, StepHold) else None

    def to_result(self) -> dict[str, Any]:
        return {"tag": self.tag, "created": iso_time(self.created), "ours": self.ours}


@dataclass(frozen=True)
class Progress:
    """How far an operation is. Bytes are of the stream, times in seconds since 1970; None when not known.

    ``operation``: send, receive or create.
    """

    operation: str
    bytes_done: int | None = None
    bytes_total: int | None = None
    bytes_per_second: int | None = None
    started: float | None = None
    updated: float | None = None
    active: bool | None = None

    def to_result(self) -> dict[str, Any]:
        percent = eta = None
        if self.bytes_done is not None and self.bytes_total:
            percent = min(100.0, round(100.0 * self.bytes_done / self.bytes_total, 1))
            if self.bytes_per_second:
                eta = max(0, (self.bytes_total - self.bytes_done) // self.bytes_per_second)
        return {
            "operation": self.operation,
            "bytes_done": self.bytes_done,
            "bytes_total": self.bytes_total,
            "percent": percent,
            "bytes_per_second": self.bytes_per_second,
            "eta_seconds": eta,
            "started": iso_time(self.started),
            "updated": iso_time(self.updated),
            "active": self.active,
        }


@dataclass(frozen=True)
class Token:
    """A decoded receive_resume_token (`_zfs.token`).

    ``toguid`` and ``fromguid`` (None for a full stream) identify the snapshots. ``toname`` is the name that the
    source's snapshot had when the transfer began; it may be renamed since. ``bytes``: received so far.
    """

    text: str
    toguid: str
    toname: str
    bytes: int
    fromguid: str | None = None
    raw: bool = False

    @property
    def snapshot(self) -> str:
        return self.toname.partition("@")[2]


@dataclass
class Snapshot:
    """A snapshot. ``guid`` identifies it, ``createtxg`` gives the order within a pool. None means not read.

    ``used``, ``referenced`` and ``written`` are bytes, ``created`` is seconds since 1970.
    """

    name: str
    guid: str | None = None
    createtxg: int | None = None
    state: str = FULL
    created: int | None = None
    temporary: bool | None = None
    lifetime: int | None = None  # seconds from its creation to its expiry
    depends_on: dict[str, Any] | None = None
    clones: list[str] | None = None
    userrefs: int | None = None
    holds: list[Hold] | None = None
    replications: list[dict[str, str | None]] | None = None
    used: int | None = None
    referenced: int | None = None
    written: int | None = None
    progress: Progress | None = None
    properties: dict[str, str] | None = None

    @property
    def dataset(self) -> str:
        return self.name.partition("@")[0]

    @property
    def snapshot(self) -> str:
        return self.name.partition("@")[2]

    @property
    def expires(self) -> int | None:
        return None if self.lifetime is None or self.created is None else self.created + self.lifetime

    @property
    def deletable(self) -> bool | None:
        """True when neither clones nor holds block a plain destroy; None when these were not read."""
        if self.state != FULL:
            return False
        if self.userrefs is None or self.clones is None:
            return None
        return not self.userrefs and not self.clones

    def to_result(self) -> dict[str, Any]:
        """The snapshot as zfs_snapshot and zfs_snapshot_info return it."""
        dependents = None
        if self.clones is not None:
            dependents = {
                "clones": self.clones,
                "holds": [hold.to_result() for hold in self.holds or []],
                "replications": self.replications or [],
            }
        return {
            "name": self.name,
            "dataset": self.dataset,
            "snapshot": self.snapshot,
            "guid": self.guid,
            "createtxg": self.createtxg,
            "created": iso_time(self.created),
            "created_epoch": self.created,
            "state": self.state,
            "temporary": self.temporary,
            "expires": iso_time(self.expires),
            "depends_on": self.depends_on,
            "dependents": dependents,
            "deletable": self.deletable,
            "used_bytes": self.used,
            "referenced_bytes": self.referenced,
            "written_bytes": self.written,
            "progress": self.progress.to_result() if self.progress else None,
            "properties": self.properties,
        }


@dataclass
class Bookmark:
    """A bookmark. It can be the base of an increment after its snapshot is destroyed. ``guid`` is the snapshot's."""

    name: str
    guid: str
    createtxg: int
    created: int | None = None

    @property
    def bookmark(self) -> str:
        return self.name.partition("#")[2]

    @property
    def cursor(self) -> Cursor | None:
        found = Cursor.parse(self.bookmark)
        return None if isinstance(found, Spoilt) else found

    @property
    def relationship(self) -> str | None:
        """Id of the relationship that the bookmark belongs to; None for any other bookmark."""
        return self.cursor.id if self.cursor else None


@dataclass(frozen=True)
class Value:
    """A property as ``zfs get -p`` shows it. ``source``: local, default, inherited from X, received, temporary or -."""

    text: str
    source: str = "-"

    @property
    def local(self) -> bool:
        return self.source == "local"

    @property
    def is_set(self) -> bool:
        """Whether it is set on the dataset itself, also by a stream."""
        return self.source in ("local", "received")


Values = Mapping[str, Value]


@dataclass
class Dataset:
    """A filesystem or volume with its snapshots and bookmarks, oldest first.

    ``values``: the properties that were read, without those of this collection. ``ours``: the local ones of those.
    """

    name: str
    guid: str | None = None
    createtxg: int = 0
    origin: str | None = None
    origin_guid: str | None = None
    inconsistent: bool = False
    receiving: bool = False  # a receive without -s is running
    snapshots: list[Snapshot] = field(default_factory=list)
    bookmarks: list[Bookmark] = field(default_factory=list)
    children: list[str] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    ours: dict[str, str] = field(default_factory=dict)
    token: Token | None = None

    def get(self, name: str) -> str | None:
        """The value of a property; None when it is unset, was not read, or does not exist."""
        value = self.values.get(name)
        return None if value is None or value.text in ("", "-") else value.text

    @property
    def type(self) -> str | None:
        """``filesystem`` or ``volume``; None when not read."""
        return self.get("type")

    @property
    def encrypted(self) -> bool:
        return self.get("encryption") not in (None, "off")

    @property
    def written(self) -> int:
        """Bytes written since the newest snapshot; 0 when not read."""
        return number(self.get("written") or "") or 0

    @property
    def has_partial_receive(self) -> bool:
        """True also when the token cannot be decoded, so that ``token`` is None."""
        return self.token is not None or self.get("receive_resume_token") is not None

    def by_name(self, name: str) -> Snapshot | None:
        """``name``: dataset@snapshot."""
        return next((snapshot for snapshot in self.snapshots if snapshot.name == name), None)

    def by_guid(self, guid: str | None) -> Snapshot | None:
        return next((snapshot for snapshot in self.snapshots if snapshot.guid == guid), None) if guid else None

    def cursors(self) -> list[tuple[Cursor, Bookmark]]:
        """Every cursor, with its bookmark."""
        return [(cursor, bookmark) for bookmark in self.bookmarks if (cursor := bookmark.cursor)]

    def cursors_of(self, id_: str) -> list[Bookmark]:
        """The bookmarks that are cursors of one relationship."""
        return [bookmark for cursor, bookmark in self.cursors() if cursor.id == id_]

    @property
    def source_mark(self) -> SourceMark | None:
        """None when the dataset is not a replica, or its mark is spoilt."""
        found = SourceMark.of(self.ours)
        return found if isinstance(found, SourceMark) else None

    @property
    def is_replica(self) -> bool:
        """True for a live replica. A spoilt mark counts too: it may have been a replica's."""
        found = SourceMark.of(self.ours)
        return found is not None and not (isinstance(found, SourceMark) and not found.live)

    def records(self) -> dict[str, ReplicaRecord]:
        """The source's records of its replicas by relationship id, without spoilt ones."""
        found = ReplicaRecords.all_of(self.ours).values()
        return {record.id: record for records in found if isinstance(records, ReplicaRecords)
                for record in records.entries}  # fmt: skip

    def commit_points(self) -> dict[str, CommitPoint]:
        """The source's commit points by relationship id, without spoilt ones."""
        found = CommitPoints.all_of(self.ours).values()
        return {point.id: point for points in found if isinstance(points, CommitPoints) for point in points.entries}

    def spoilt(self) -> list[str]:
        """The names of its properties that tell about relationships and cannot be read."""
        found: dict[str, object] = {SourceMark.NAME: SourceMark.of(self.ours)}
        for kind in (ReplicaRecords, CommitPoints):
            found.update({kind.name(pool): mark for pool, mark in kind.all_of(self.ours).items()})
        return [name for name, mark in found.items() if isinstance(mark, Spoilt)]

    def relationships(self) -> list[str]:
        """The relationships of the dataset, as messages name them."""
        found = [f"source of the replication {id_}" for id_ in sorted(self.records())]
        found += [
            f"source of replications to the pool {pool} with a spoilt record"
            for pool, records in sorted(ReplicaRecords.all_of(self.ours).items())
            if isinstance(records, Spoilt)
        ]
        if self.is_replica:
            mark = self.source_mark
            found.append(f"replica of the replication {mark.id if mark else 'with a spoilt mark'}")
        return found


@dataclass
class Clone:
    """A clone, or a dataset that was one until it was promoted (``promoted``)."""

    name: str
    guid: str | None = None
    type: str | None = None
    origin: dict[str, str | None] | None = None
    promoted: bool = False
    mounted: bool | None = None  # None for a volume
    dependents: dict[str, list[str]] = field(default_factory=lambda: {"snapshots": [], "clones": []})
    properties: dict[str, str] = field(default_factory=dict)

    def to_result(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "guid": self.guid,
            "type": self.type,
            "origin": self.origin,
            "promoted": self.promoted,
            "mounted": self.mounted,
            "dependents": self.dependents,
            "properties": self.properties,
        }
