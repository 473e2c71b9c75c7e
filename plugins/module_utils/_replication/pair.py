# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One source volume and its replica, and what a plan for them is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.endpoint import Endpoint
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import ReplicaRecord, SourceMark
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Bookmark, Dataset, Snapshot, Token
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Step

SOURCE = "source"
TARGET = "target"


@dataclass(frozen=True)
class PairOptions:
    """The options that shape every pair of a run."""

    intermediates: bool = True
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    raw: str = "auto"
    on_divergence: str = "fail"
    resume: bool = True
    properties: Mapping[str, str | None] = field(default_factory=dict)  # None: what a replica inherits


@dataclass
class Pair:
    """One source dataset and its replica. ``snapshot_name`` is the part after the @ when a snapshot was named."""

    source: Dataset
    replica_name: str
    replica: Dataset | None = None
    snapshot_name: str | None = None
    pool_guid: str | None = None
    source_address: str = ""
    target_address: str = ""
    source_host: str = ""
    target_host: str = ""  # as the source remembers it; empty for the source's own machine
    named: bool = True  # False for what `recursive` found below it
    missing_parents: list[str] = field(default_factory=list)  # what holds the replica and is not there
    makes_parents: list[str] = field(default_factory=list)  # those of them that this pair's plan lists
    free_bytes: int | None = None  # bytes that the target says are free
    known_id: str | None = None
    below: list[Dataset] = field(default_factory=list)  # right below the replica, or, while there is one, below `aside`
    aside: str | None = None  # the old replica that a reseed put away, and from which `below` has yet to come back
    strayed: str | None = None  # where the replica is, if somebody renamed it
    half_aside: Dataset | None = None  # put aside by a reseed that was cut short before our marks came off it

    @property
    def mark(self) -> SourceMark | None:
        """Whose replica the replica says it is; None when it is none, or the mark is spoilt."""
        return self.replica.source_mark if self.replica else None

    @property
    def record(self) -> ReplicaRecord | None:
        """What the source remembers of its replica; None where that is nothing, or spoilt."""
        found = ReplicaRecord.all_of(self.source.ours).get(self.id)
        return found if isinstance(found, ReplicaRecord) else None

    @property
    def target_record(self) -> str:
        """The replica as the source remembers it."""
        return Endpoint(self.target_host or None).address(self.replica_name)

    @property
    def is_first_receive(self) -> bool:
        """The replica is nothing but the beginning of its first snapshot."""
        return self.replica is not None and self.replica.inconsistent and not self.replica.snapshots

    @property
    def id(self) -> str:
        """Taken from the replica's mark; made from what makes a relationship unique where there is none yet."""
        known = self.known_id or (self.mark.id if self.mark else None)
        if known:
            return known
        text = "\0".join([str(self.source.guid), str(self.pool_guid), self.replica_name])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Origin:
    """A first stream into a clone: its base on the source, the GUID of that, and the snapshot on the target."""

    base: str
    guid: str
    place: str


@dataclass(frozen=True)
class Send:
    """One stream. ``kind``: full, incremental or resume; ``carries`` are the snapshots it brings, oldest first."""

    kind: str
    carries: tuple[Snapshot, ...]
    base: str | None = None
    base_guid: str | None = None
    intermediates: bool = False
    raw: bool = False
    origin: str | None = None
    token: Token | None = None

    @property
    def snapshot(self) -> Snapshot:
        return self.carries[-1]

    def to_result(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "base": self.base,
            "snapshots": [snapshot.name for snapshot in self.carries],
            "raw": self.raw,
            "origin": self.origin,
        }


@dataclass
class PairPlan:
    """All that is decided about a pair. ``error`` says why nothing can be done."""

    pair: Pair
    goal: Snapshot | None = None
    prepare: list[Step] = field(default_factory=list)
    sends: list[Send] = field(default_factory=list)
    marks: list[Step] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    error: CerssError | None = None
    origin_preserved: bool | None = None
    base: str | None = None
    raw: bool = False

    @property
    def steps(self) -> list[Step]:
        """In order, for the result; the sends are shown by what they bring."""
        if self.error:
            return []
        sends = [send_action(self.pair, send) for send in self.sends]
        return [*self.prepare, *sends, *self.marks]

    @property
    def protects(self) -> list[Snapshot]:
        """The source's snapshots that must stay while the sends run: each one carried, and the base."""
        carried = [snapshot for send in self.sends for snapshot in send.carries]
        bases = [self.pair.source.by_guid(send.base_guid) for send in self.sends]
        found = {snapshot.name: snapshot for snapshot in [*filter(None, bases), *carried]}
        return [snapshot for snapshot in found.values() if snapshot.guid]


def send_action(pair: Pair, send: Send) -> Step:
    names = [snapshot.snapshot for snapshot in send.carries]
    what = (
        f"{pair.source.name}@{names[0]}"
        if len(names) == 1
        else f"{len(names)} snapshots of {pair.source.name}, {_span(names)},"
    )
    how = {"full": "in full", "resume": "from where it broke off"}.get(send.kind, f"as an increment from {send.base}")
    return Step.of(
        f"send {what} {how} to {pair.target_address}",
        before={
            f"{pair.replica_name}@{name}": {"state": "inbound" if send.kind == "resume" else "absent"} for name in names
        },
        after={f"{pair.replica_name}@{name}": {"state": "full"} for name in names},
    )


def _span(names: list[str]) -> str:
    return f"@{names[0]} to @{names[-1]}"


def newest_common(source: Dataset, replica: Dataset) -> tuple[Snapshot, Snapshot | Bookmark] | None:
    """(on the replica, on the source) of the newest point that both have by GUID, rather a snapshot than a bookmark."""
    points: dict[str, Snapshot | Bookmark] = {mark.guid: mark for mark in source.bookmarks}
    points.update({snap.guid: snap for snap in source.snapshots if snap.guid})
    for snap in reversed(replica.snapshots):
        if snap.guid in points:
            return snap, points[snap.guid]
    return None


def txg(point: Snapshot | Bookmark) -> int:
    """Order within a pool; what is not made yet comes last."""
    return point.createtxg or 0


def listed(things: Iterable[Snapshot | Dataset], most: int = 10) -> str:
    names = [thing.name for thing in things]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def with_hold(dataset: Dataset, tag: str) -> list[Snapshot]:
    """The snapshots that this hold keeps."""
    return [snap for snap in dataset.snapshots if any(hold.tag == tag for hold in snap.holds or [])]
