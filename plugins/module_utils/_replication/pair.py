# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A source dataset with its replica as they were read, and the plan for such a pair. Nothing here changes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.endpoint import Endpoint
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    CommitPoint,
    CommitPoints,
    Filter,
    ReplicaRecord,
    ReplicaRecords,
    SourceMark,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Bookmark, Dataset, Snapshot, Token
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Step

MOST_SHOWN = 10  # snapshots of a stream that a result names
SOURCE = "source"
TARGET = "target"


@dataclass(frozen=True)
class PairOptions:
    """The options that the plan of each pair depends on."""

    intermediates: bool = True
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    periods: tuple[str, ...] = ()  # names of `periods.PERIODS`, of each of which only the first snapshot is requested
    raw: str = "auto"
    on_divergence: str = "fail"
    resume: bool = True
    properties: Mapping[str, str | None] = field(default_factory=dict)  # None: the replica inherits it
    pulled: bool = False  # the source is another host
    keep_old: bool = True  # the replica that a reseed has replaced
    packages: bool = True  # False in a relay, which cannot take a package (-I) apart for a receiver on another host
    job: str = ""  # a name for what is sent

    @property
    def filter(self) -> Filter:
        """What is sent. The periods are those of this host, which the source's may not know."""
        if self.pulled and self.periods:
            return Filter(self.job, self.include, self.exclude)
        return Filter(self.job, self.include, self.exclude, self.periods, self.intermediates)


@dataclass(frozen=True)
class Link:
    """Which source dataset goes where. ``snapshot_name`` is the part after the @ if the user named a snapshot.

    ``target_host``: as seen from the source; empty for the source's own machine. ``named``: False if ``recursive``
    added the dataset. ``followed``: the source was renamed, and the replica is where its former name has put it.
    ``unmarked``: the source's pool is imported read-only and takes no marks. ``filter``: which snapshots the run sends;
    None if it sends none.
    """

    source_name: str
    replica_name: str
    snapshot_name: str | None = None
    source_address: str = ""
    target_address: str = ""
    source_host: str = ""
    target_host: str = ""
    named: bool = True
    followed: bool = False
    unmarked: bool = False
    filter: Filter | None = None

    @property
    def target_record(self) -> str:
        """The replica's address as the source's record stores it."""
        return Endpoint(self.target_host or None).address(self.replica_name)


@dataclass(frozen=True)
class OldReplica:
    """What a reseed must know of the replica that it replaces, beyond its snapshots.

    ``settings``: its local properties. ``delegated``: what `zfs allow` shows of it (`output.delegated`).
    ``moving``: the datasets directly below it. ``key_fault``: its own encryption key is loaded now, but could not be
    loaded again from there. ``mounted``: only read if it is not to be kept.
    """

    settings: Mapping[str, str] = field(default_factory=dict)
    delegated: tuple[tuple[str, tuple[str, ...], str], ...] = ()
    moving: tuple[Dataset, ...] = ()
    key_fault: str = ""
    mounted: bool = False


@dataclass(frozen=True)
class Pair:
    """A source dataset and its replica, as far as they have been read.

    ``pool``: `marks.pool_id` of the target's pool, "" if not read. ``beside``: the new replica that a reseed receives.
    ``old``: the replica that a reseed has put aside. ``moved_to``: the address of the replica if it was renamed.
    ``made_anew``: the replica's mark names a dataset that does not exist any more. ``trouble``: why it was not read.
    ``above``: the datasets above the replica, the nearest first, if any of them is encrypted.
    """

    link: Link
    source: Dataset
    replica: Dataset | None = None
    pool: str = ""
    missing_parents: tuple[str, ...] = ()  # datasets above the replica that do not exist, and no other pair's replicas
    free_bytes: int | None = None  # available to the replica; None if not read
    above: tuple[Dataset, ...] = ()
    beside: Dataset | None = None
    old: Dataset | None = None
    replaced: OldReplica | None = None  # None if not read
    moved_to: str | None = None
    made_anew: bool = False
    trouble: CerssError | None = None

    @property
    def replica_name(self) -> str:
        return self.link.replica_name

    @property
    def source_address(self) -> str:
        return self.link.source_address

    @property
    def target_address(self) -> str:
        return self.link.target_address

    @property
    def relation(self) -> str:
        """For sentences."""
        return f"the relationship with {self.target_address}"

    @property
    def mark(self) -> SourceMark | None:
        """The replica's mark; None if there is no replica, no mark, or an invalid one."""
        return self.replica.source_mark if self.replica else None

    @property
    def records(self) -> ReplicaRecords:
        """The source's records of its replicas on the target's pool; none if they are spoilt."""
        found = ReplicaRecords.all_of(self.source.ours).get(self.pool)
        return found if isinstance(found, ReplicaRecords) else ReplicaRecords()

    @property
    def points(self) -> CommitPoints:
        """The source's commit points for its replicas on the target's pool; none if they are spoilt."""
        found = CommitPoints.all_of(self.source.ours).get(self.pool)
        return found if isinstance(found, CommitPoints) else CommitPoints()

    @property
    def record(self) -> ReplicaRecord | None:
        """The source's record of this replica: by the replica's GUID, else by its place, else by what it claims."""
        entries = self.records.entries
        guid = self.replica.guid if self.replica else None
        claimed = self.mark.id if self.mark else None
        found = [
            *(entry for entry in entries if entry.guid == guid),
            *(entry for entry in entries if entry.target == self.link.target_record),
            *(entry for entry in entries if entry.id == claimed),
        ]
        return found[0] if found else None

    @property
    def point(self) -> CommitPoint | None:
        return self.points.by_id(self.id)

    @property
    def id(self) -> str:
        """The id of the relationship, 16 hex digits.

        It is taken from the source's own record. Before there is one it is a hash of the source dataset's GUID, the
        target's pool and the replica's name, so check mode knows it too.
        """
        return self.record.id if self.record else self.new_id

    @property
    def new_id(self) -> str:
        """The id that the relationship gets if it has none yet."""
        text = "\0".join([str(self.source.guid), self.pool, self.replica_name])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def is_place_of(self, record: ReplicaRecord) -> bool:
        """True if the record's address names this replica's dataset. Its host may have several names."""
        return record.target == self.replica_name or record.target.endswith(f":{self.replica_name}")

    @property
    def source_pool(self) -> str:
        """The name of the source's pool. ``pool`` is the id of the target's."""
        return DatasetName(self.source.name).pool

    @property
    def is_ours(self) -> bool:
        """True if the replica's mark alone tells that it was started from this source, which has no record of it."""
        mark = self.mark
        return bool(mark and mark.live and not self.record and mark.guid == self.source.guid)

    def without_marks(self) -> Pair:
        """The pair, with a source that takes no marks."""
        return replace(self, link=replace(self.link, unmarked=True))

    @property
    def new_one(self) -> Dataset | None:
        """The new replica that a reseed receives, if the dataset of that name is one of this relationship."""
        mark = self.beside.source_mark if self.beside else None
        return self.beside if mark and mark.beside and (mark.id, mark.guid) == (self.id, self.source.guid) else None

    @property
    def is_first_receive(self) -> bool:
        """True if the replica holds only a part of its first snapshot."""
        return is_first_receive(self.replica)


def not_started(pair: Pair, failed: str) -> Refused:
    """The error of a pair that needs another one, which has failed."""
    return Refused(f"{pair.target_address} was not started because {failed} failed; fix that first")


def only_holds(dataset: Dataset | None) -> bool:
    """True for a dataset without snapshots that has others below it, such as one that was created to hold replicas.

    Not for the root of a pool, which cannot be renamed.
    """
    if dataset is None or dataset.snapshots or dataset.inconsistent or dataset.has_partial_receive:
        return False
    return bool(dataset.children) and "/" in dataset.name and SourceMark.NAME not in dataset.ours


def is_first_receive(dataset: Dataset | None) -> bool:
    """True for a dataset that holds only a part of its first snapshot."""
    return dataset is not None and dataset.inconsistent and not dataset.snapshots


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
        shown = self.carries if len(self.carries) <= MOST_SHOWN else (self.carries[0], self.carries[-1])
        return {
            "kind": self.kind,
            "base": self.base,
            "snapshots": [snapshot.name for snapshot in shown],
            "count": len(self.carries),
            "raw": self.raw,
            "origin": self.origin,
        }


@dataclass(frozen=True)
class PairPlan:
    """The plan of one pair, as far as it goes before it is read again. If ``error`` is set, there are no steps.

    ``into``: the dataset that receives, which is not the replica if the plan ``reseeds``. ``foreseen``: the pair when
    the streams have arrived. ``finish`` follows from it; the run works both out again then. ``more``: there is more to
    send after that.
    """

    pair: Pair
    goal: Snapshot | None = None
    into: str = ""
    parents: tuple[str, ...] = ()  # datasets above the replica, to be created
    prepare: tuple[Step, ...] = ()
    protect: tuple[Step, ...] = ()
    sends: tuple[Send, ...] = ()
    finish: tuple[Step, ...] = ()
    foreseen: Pair | None = None
    more: bool = False
    warnings: tuple[str, ...] = ()
    error: CerssError | None = None
    origin_preserved: bool | None = None
    raw: bool = False
    reseeds: bool = False
    keep_old: bool = True  # what a reseed replaces

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps in order, for ``actions`` and the diff."""
        return (*self.prepare, *self.protect, *(send_step(self.pair, send) for send in self.sends), *self.finish)

    @property
    def carries(self) -> tuple[Snapshot, ...]:
        return tuple(snapshot for send in self.sends for snapshot in send.carries)

    def told(self) -> PairPlan:
        """The plan as a report needs it, without the histories of both sides: there may be a thousand plans."""
        pair = self.pair
        source = replace(pair.source, snapshots=[], bookmarks=[])
        replica = replace(pair.replica, snapshots=[], bookmarks=[]) if pair.replica else None
        return replace(self, pair=replace(pair, source=source, replica=replica), foreseen=None)


def send_step(pair: Pair, send: Send) -> Step:
    """The step that reports a stream. It has no command: `transfer.run_pipe` runs the stream."""
    names = [snapshot.snapshot for snapshot in send.carries]
    what = (
        f"{pair.source.name}@{names[0]}"
        if len(names) == 1
        else f"{len(names)} snapshots of {pair.source.name}, @{names[0]} to @{names[-1]},"
    )
    if send.kind == "resume":
        text = f"resume sending {what} to {pair.target_address}"
    else:
        how = "in full" if send.kind == "full" else f"as an increment from {send.base}"
        text = f"send {what} {how} to {pair.target_address}"
    state = "inbound" if send.kind == "resume" else "absent"
    return Step.of(
        text,
        before={f"{pair.replica_name}@{name}": {"state": state} for name in names},
        after={f"{pair.replica_name}@{name}": {"state": "full"} for name in names},
    )


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
