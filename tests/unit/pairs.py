# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sources, replicas and pairs as replication reads them, for the unit tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    PLAIN,
    CommitPoint,
    CommitPoints,
    Cursor,
    LastHold,
    ReplicaRecord,
    ReplicaRecords,
    SourceMark,
    StepHold,
    pool_id,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import (
    Bookmark,
    Dataset,
    Hold,
    Snapshot,
    Token,
    Value,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Step
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import Link, Pair, PairPlan

ID, OTHER = "0123456789abcdef", "f" * 16
SOURCE_GUID, REPLICA_GUID = "900", "901"
POOL = pool_id("77")
RECORD, POINT = ReplicaRecords.name(POOL), CommitPoints.name(POOL)
SINCE = "2026-01-01T00:00:00Z"


# -- the parts of a dataset ------------------------------------------------------------------------------------------


def snapshots(dataset: str, *numbers: int) -> list[Snapshot]:
    """Snapshot s<N> has the GUID and createtxg N, was created N * 1000 s after 1970 and has N * 10 bytes written."""
    return [
        Snapshot(f"{dataset}@s{n}", str(n), n, created=n * 1000, written=n * 10, referenced=n * 100, userrefs=0,
                 temporary=False, clones=[], holds=[])
        for n in numbers
    ]  # fmt: skip


def cursor(number: int, id_: str = ID, dataset: str = "tank/v") -> Bookmark:
    name = f"{dataset}#{Cursor(id_, str(number)).format()}"
    return Bookmark(name, str(number), number, created=number * 1000)


def hold(dataset: Dataset, tag: str, *numbers: int) -> None:
    """Put a hold on these snapshots; without numbers on the newest one."""
    for snapshot in dataset.snapshots:
        if snapshot.guid in [str(number) for number in numbers or (dataset.snapshots[-1].guid,)]:
            snapshot.holds = [*(snapshot.holds or []), Hold(tag)]
            snapshot.userrefs = (snapshot.userrefs or 0) + 1


def step_hold(dataset: Dataset, *numbers: int, id_: str = ID) -> None:
    hold(dataset, StepHold(id_).format(), *numbers)


def last_hold(dataset: Dataset, *numbers: int) -> None:
    hold(dataset, LastHold.TAG, *numbers)


# -- marks, as properties --------------------------------------------------------------------------------------------


def record(**changes: Any) -> ReplicaRecord:
    """Of the replica b:backup/v."""
    return replace(ReplicaRecord(ID, "b:backup/v", REPLICA_GUID, PLAIN, SINCE), **changes)


def records(*entries: ReplicaRecord, pool: str = POOL) -> dict[str, str]:
    return {ReplicaRecords.name(pool): ReplicaRecords(entries).format()}


def points(*numbers: int, id_: str = ID, pool: str = POOL) -> dict[str, str]:
    return {CommitPoints.name(pool): CommitPoints(tuple(CommitPoint(id_, str(n), n) for n in numbers)).format()}


def source_mark(**changes: Any) -> dict[str, str]:
    """Of the replica of a:tank/v."""
    return {SourceMark.NAME: replace(SourceMark(ID, "a", "tank/v", SOURCE_GUID, PLAIN), **changes).format()}


# -- datasets --------------------------------------------------------------------------------------------------------


def source(*numbers: int, at: int | None = 1, cursors: Iterable[int] = (), **changes: Any) -> Dataset:
    """tank/v with a record of its replica, the commit point ``at`` with its cursor, and further cursors.

    ``changes``: of the record. None for no commit point.
    """
    values = {"type": Value("filesystem"), "written": Value("0"), "encryption": Value("off")}
    dataset = Dataset("tank/v", SOURCE_GUID, snapshots=snapshots("tank/v", *numbers), values=values)
    dataset.bookmarks = [cursor(number) for number in sorted({*cursors, *([at] if at else [])})]
    dataset.ours = {**records(record(**changes)), **(points(at) if at else {})}
    return dataset


def replica(*numbers: int, held: int | None = 1, **mark: Any) -> Dataset:
    """backup/v with the mark of tank/v, and a hold on the last received snapshot. ``mark``: changes of the mark."""
    values = {"type": Value("filesystem"), "written": Value("0"), "encryption": Value("off")}
    dataset = Dataset("backup/v", REPLICA_GUID, snapshots=snapshots("backup/v", *numbers), values=values)
    dataset.ours = source_mark(**mark)
    if held:
        last_hold(dataset, held)
    return dataset


# -- pairs -----------------------------------------------------------------------------------------------------------


def link(**changes: Any) -> Link:
    """tank/v of the host a goes to backup/v of the host b."""
    return replace(Link("tank/v", "backup/v", None, "a:tank/v", "b:backup/v", "a", "b"), **changes)


def pair(
    on_source: Sequence[int],
    on_replica: Sequence[int] | None,
    bookmarks: Sequence[int] = (),
    at: int | None = None,
    recorded: bool | None = None,
    name: str | None = None,
    **fields: Any,
) -> Pair:
    """tank/v and its replica with these snapshots; None for no replica.

    ``bookmarks``: cursors. ``at``: the commit point. ``recorded``: whether the source has a record, which it has if
    there is a replica; without a replica or whole snapshot on it the record says that it is begun. ``name``: the named
    snapshot. There is no hold. ``fields``: further fields of the pair.
    """
    there = None if on_replica is None else replica(*on_replica, held=None)
    if there is not None and not on_replica:
        there.inconsistent = True
    has_record = there is not None if recorded is None else recorded
    here = source(*on_source, at=None, cursors=bookmarks, guid=REPLICA_GUID if on_replica else ReplicaRecord.UNKNOWN)
    here.ours = {**(here.ours if has_record else {}), **(points(at) if at else {})}
    return Pair(link(snapshot_name=name), here, there, POOL, **fields)


def named(case: Pair, name: str) -> Pair:
    """The pair, if the user named that snapshot."""
    return replace(case, link=replace(case.link, snapshot_name=name))


def token(toguid: int, fromguid: int | None = None, raw: bool = False) -> Token:
    return Token("1-x", str(toguid), f"tank/v@s{toguid}", 1000, str(fromguid) if fromguid else None, raw)


def with_token(case: Pair, found: Token) -> Pair:
    """The pair with a partial receive in its replica."""
    assert case.replica is not None
    case.replica.token = found
    case.replica.values["receive_resume_token"] = Value(found.text)
    return case


def settled(case: Pair) -> Pair:
    """The pair with all marks as a finished run leaves them."""
    assert case.replica is not None
    newest = int(str(case.replica.snapshots[-1].guid))
    case.source.bookmarks = [cursor(newest)]
    case.source.ours = {**records(record()), **points(newest)}
    for snapshot in case.replica.snapshots:
        snapshot.holds, snapshot.userrefs = [], 0
    last_hold(case.replica, newest)
    return case


# -- plans -----------------------------------------------------------------------------------------------------------


def carried(plan: PairPlan) -> list[str]:
    """The GUIDs that a plan sends, in order."""
    assert plan.error is None, plan.error
    return [str(snapshot.guid) for snapshot in plan.carries]


def argvs(steps: Iterable[Step]) -> list[list[str]]:
    """The commands of steps, in order, without ``zfs``."""
    return [command[1:] for step in steps for command in step.commands]
