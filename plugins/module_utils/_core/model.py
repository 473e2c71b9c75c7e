# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the collection knows: snapshots, datasets, their marks, and how results show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    Cursor,
    LastHold,
    ReplicaRecord,
    SourceMark,
    Spoilt,
    StepHold,
    is_ours,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.units import iso_time

FULL = "full"
PENDING_DELETE = "pending_delete"
INBOUND = "inbound"
CREATING = "creating"
ABSENT = "absent"
STATES = (FULL, PENDING_DELETE, INBOUND, CREATING, ABSENT)


@dataclass(frozen=True)
class Hold:
    """A user reference on a snapshot. ``created`` in seconds since 1970."""

    tag: str
    created: int | None = None

    @property
    def ours(self) -> bool:
        return is_ours(self.tag)

    @property
    def mark(self) -> StepHold | LastHold | None:
        """What it is when it belongs to a relationship."""
        found = (StepHold.parse(self.tag), LastHold.parse(self.tag))
        return next((mark for mark in found if not isinstance(mark, Spoilt)), None)

    @property
    def relationship(self) -> str | None:
        """The id when the hold belongs to a relationship."""
        return self.mark.id if self.mark else None

    def to_result(self) -> dict[str, Any]:
        return {"tag": self.tag, "created": iso_time(self.created), "ours": self.ours}


@dataclass(frozen=True)
class Progress:
    """How far a transfer is. Bytes of the stream, seconds since 1970; ``active`` None when it cannot be told."""

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
    """What a receive_resume_token says. ``toname`` is the source's name at the time, for people only."""

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
    """One snapshot; None is "not read". Order within a pool is ``createtxg``, identity is ``guid``."""

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
        """True when nothing blocks a plain destroy; None when that was not read."""
        if self.state != FULL:
            return False
        if self.userrefs is None or self.clones is None:
            return None
        return not self.userrefs and not self.clones

    def to_result(self) -> dict[str, Any]:
        """The object as every module returns it (docs/docsite/rst/architecture.rst, "The object")."""
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
    """A bookmark: the point in time of a snapshot that may be gone, good as the base of an increment."""

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


@dataclass(frozen=True)
class Value:
    """A property as ``zfs get -p`` shows it: source is local, default, inherited from X, received, none or -."""

    text: str
    source: str = "-"

    @property
    def local(self) -> bool:
        return self.source == "local"


Values = Mapping[str, Value]


@dataclass
class Dataset:
    """A filesystem or volume with its snapshots and bookmarks, oldest first.

    ``values`` are the properties that were read, without our own; those are in ``ours`` when their source is local.
    """

    name: str
    guid: str | None = None
    createtxg: int = 0
    origin: str | None = None
    origin_guid: str | None = None
    inconsistent: bool = False
    receiving: bool = False  # a receive without -s into it runs
    snapshots: list[Snapshot] = field(default_factory=list)
    bookmarks: list[Bookmark] = field(default_factory=list)
    children: list[str] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    ours: dict[str, str] = field(default_factory=dict)
    token: Token | None = None

    def get(self, name: str) -> str | None:
        """The value of a property; None for what is unset, was not read or is not there."""
        value = self.values.get(name)
        return None if value is None or value.text in ("", "-") else value.text

    @property
    def type(self) -> str | None:
        """filesystem or volume; None when not read."""
        return self.get("type")

    @property
    def encrypted(self) -> bool:
        return self.get("encryption") not in (None, "off")

    @property
    def written(self) -> int:
        """Bytes written since the newest snapshot; 0 when not read."""
        return int(self.get("written") or 0)

    @property
    def has_partial_receive(self) -> bool:
        """Something has arrived in part and can be resumed, be its token one that we can decode or not."""
        return self.token is not None or self.get("receive_resume_token") is not None

    def by_name(self, name: str) -> Snapshot | None:
        """``name`` in full."""
        return next((snapshot for snapshot in self.snapshots if snapshot.name == name), None)

    def by_guid(self, guid: str | None) -> Snapshot | None:
        return next((snapshot for snapshot in self.snapshots if snapshot.guid == guid), None) if guid else None

    def cursors(self) -> list[tuple[Cursor, Bookmark]]:
        """Every cursor of ours, with its bookmark."""
        return [(bookmark.cursor, bookmark) for bookmark in self.bookmarks if bookmark.cursor]

    @property
    def source_mark(self) -> SourceMark | None:
        """Whose replica it is; None when it is none, or the mark is spoilt."""
        found = SourceMark.of(self.ours)
        return found if isinstance(found, SourceMark) else None

    @property
    def is_replica(self) -> bool:
        """It belongs to a relationship as the replica. A spoilt mark says so too: nobody knows better."""
        found = SourceMark.of(self.ours)
        return found is not None and not (isinstance(found, SourceMark) and found.released)

    def relationships(self) -> list[str]:
        """The relationships that it is recorded in, for messages."""
        found = [f"source of the replication {id_}" for id_ in sorted(ReplicaRecord.all_of(self.ours))]
        if self.is_replica:
            mark = self.source_mark
            found.append(f"replica of the replication {mark.id if mark else 'with a spoilt mark'}")
        return found


@dataclass
class Clone:
    """A dataset that was made from a snapshot, or once was (``promoted``)."""

    name: str
    guid: str | None = None
    type: str | None = None
    origin: dict[str, str | None] | None = None
    promoted: bool = False
    dependents: dict[str, list[str]] = field(default_factory=lambda: {"snapshots": [], "clones": []})
    properties: dict[str, str] = field(default_factory=dict)

    def to_result(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "guid": self.guid,
            "type": self.type,
            "origin": self.origin,
            "promoted": self.promoted,
            "dependents": self.dependents,
            "properties": self.properties,
        }
