# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A source dataset with its replica, and the plan for such a pair."""

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
    """The options that the plan of each pair depends on."""

    intermediates: bool = True
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    raw: str = "auto"
    on_divergence: str = "fail"
    resume: bool = True
    properties: Mapping[str, str | None] = field(default_factory=dict)  # None: the replica inherits it
    pulled: bool = False  # the source is another host
    packages: bool = True  # False in a relay, which cannot take a package (-I) apart for a receiver on another host


@dataclass
class Pair:
    """A source dataset and its replica, as far as they have been read.

    ``snapshot_name`` is the part after the @ if the user named a snapshot.
    """

    source: Dataset
    replica_name: str
    replica: Dataset | None = None
    snapshot_name: str | None = None
    pool_guid: str | None = None
    source_address: str = ""
    target_address: str = ""
    source_host: str = ""
    target_host: str = ""  # as seen from the source; empty for the source's own machine
    named: bool = True  # False if `recursive` added it
    missing_parents: list[str] = field(default_factory=list)  # datasets above the replica that do not exist
    makes_parents: list[str] = field(default_factory=list)  # those of them that are created by this pair's plan
    free_bytes: int | None = None  # bytes available to the replica; None if not read
    known_id: str | None = None  # if set, this is the `id`
    below: list[Dataset] = field(default_factory=list)  # children of the replica, or of `aside` if that is set
    aside: str | None = None  # the old replica of an unfinished reseed; `below` must be moved back from it
    strayed: str | None = None  # the address of the replica if it was renamed
    half_aside: Dataset | None = None  # an old replica that a reseed renamed but was interrupted before removing marks

    @property
    def mark(self) -> SourceMark | None:
        """The replica's mark; None if there is no replica, no mark, or an invalid one."""
        return self.replica.source_mark if self.replica else None

    @property
    def record(self) -> ReplicaRecord | None:
        """The source's record of this replica; None if there is none or it is invalid."""
        return self.source.records().get(self.id)

    @property
    def target_record(self) -> str:
        """The replica's address as the source's record stores it."""
        return Endpoint(self.target_host or None).address(self.replica_name)

    @property
    def is_first_receive(self) -> bool:
        """True if the replica holds only a part of its first snapshot."""
        return self.replica is not None and self.replica.inconsistent and not self.replica.snapshots

    @property
    def id(self) -> str:
        """The id of the relationship, 16 hex digits.

        It is taken from the replica's mark. Before there is one it is a hash of the source dataset's GUID, the GUID of
        the target pool and the replica's name.
        """
        known = self.known_id or (self.mark.id if self.mark else None)
        if known:
            return known
        text = "\0".join([str(self.source.guid), str(self.pool_guid), self.replica_name])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Origin:
    """The origin of a replica that becomes a clone.

    ``base`` and ``guid`` are the snapshot or bookmark on the source, ``place`` is the same snapshot on the target.
    """

    base: str
    guid: str
    place: str


@dataclass(frozen=True)
class Send:
    """One send stream. ``kind`` is full, incremental or resume; ``carries`` are its snapshots, oldest first.

    ``base`` is a full name on the source. ``origin`` is a snapshot on the target if the replica becomes a clone of it.
    """

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
    """The plan of one pair. If ``error`` is set, there are no steps.

    ``marks`` only tells what changes when the streams have arrived; the run works it out again (`bookkeeping.settle`).
    Without streams it is what the run carries out.
    """

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
        """All steps in order, for ``actions`` and the diff."""
        if self.error:
            return []
        sends = [send_action(self.pair, send) for send in self.sends]
        return [*self.prepare, *sends, *self.marks]

    @property
    def protects(self) -> list[Snapshot]:
        """The snapshots of the source that must be held during the transfer: the base and each one sent."""
        carried = [snapshot for send in self.sends for snapshot in send.carries]
        bases = [self.pair.source.by_guid(send.base_guid) for send in self.sends]
        found = {snapshot.name: snapshot for snapshot in [*filter(None, bases), *carried]}
        return [snapshot for snapshot in found.values() if snapshot.guid]


def send_action(pair: Pair, send: Send) -> Step:
    """The step that reports a stream. It has no command: `transfer.run_pipe` runs the stream."""
    names = [snapshot.snapshot for snapshot in send.carries]
    what = (
        f"{pair.source.name}@{names[0]}"
        if len(names) == 1
        else f"{len(names)} snapshots of {pair.source.name}, {_span(names)},"
    )
    if send.kind == "resume":
        text = f"resume sending {what} to {pair.target_address}"
    else:
        how = "in full" if send.kind == "full" else f"as an increment from {send.base}"
        text = f"send {what} {how} to {pair.target_address}"
    return Step.of(
        text,
        before={
            f"{pair.replica_name}@{name}": {"state": "inbound" if send.kind == "resume" else "absent"} for name in names
        },
        after={f"{pair.replica_name}@{name}": {"state": "full"} for name in names},
    )


def _span(names: list[str]) -> str:
    return f"@{names[0]} to @{names[-1]}"


def newest_common(source: Dataset, replica: Dataset) -> tuple[Snapshot, Snapshot | Bookmark] | None:
    """(snapshot on the replica, snapshot or bookmark on the source) of the newest GUID that both have; None if none.

    Where the source has both for one GUID, the snapshot is returned: only from a snapshot can ``-I`` start.
    """
    points: dict[str, Snapshot | Bookmark] = {bookmark.guid: bookmark for bookmark in source.bookmarks}
    points.update({snap.guid: snap for snap in source.snapshots if snap.guid})
    for snap in reversed(replica.snapshots):
        if snap.guid in points:
            return snap, points[snap.guid]
    return None


def txg(point: Snapshot | Bookmark) -> int:
    """The createtxg, which orders snapshots and bookmarks within a pool; 0 if it was not read."""
    return point.createtxg or 0


def listed(items: Iterable[Snapshot | Dataset], most: int = 10) -> str:
    """The names, separated by commas: ``a, b and 7 more`` for ``most=2``."""
    names = [item.name for item in items]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def with_hold(dataset: Dataset, tag: str) -> list[Snapshot]:
    """The snapshots that have a hold with this tag."""
    return [snap for snap in dataset.snapshots if any(hold.tag == tag for hold in snap.holds or [])]
