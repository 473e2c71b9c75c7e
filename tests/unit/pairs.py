# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sources, replicas and pairs as replication reads them, for the unit tests."""

from __future__ import annotations

import json

from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import Cursor, LastHold, ReplicaRecord, SourceMark
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import (
    Bookmark,
    Dataset,
    Hold,
    Snapshot,
    Token,
    Value,
)
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import Pair, PairPlan

ID, OTHER = "0123456789abcdef", "f" * 16
SOURCE_GUID = "900"


def snapshots(dataset: str, *numbers: int) -> list[Snapshot]:
    """Snapshot s<N> has the GUID and createtxg N, was created N * 1000 s after 1970 and has N * 10 bytes written."""
    return [
        Snapshot(f"{dataset}@s{n}", str(n), n, created=n * 1000, written=n * 10, userrefs=0, clones=[], holds=[])
        for n in numbers
    ]


def cursor(number: int, id_: str = ID, dataset: str = "tank/v") -> Bookmark:
    name = f"{dataset}#{Cursor(id_, str(number)).format()}"
    return Bookmark(name, str(number), number, created=number * 1000)


def source(*numbers: int, at: int | None = 1, recorded: bool = True) -> Dataset:
    """tank/v with a cursor at a snapshot, and a record of the replica."""
    values = {"type": Value("filesystem"), "written": Value("0")}
    dataset = Dataset("tank/v", SOURCE_GUID, snapshots=snapshots("tank/v", *numbers), values=values)
    dataset.bookmarks = [cursor(at)] if at else []
    if recorded:
        dataset.ours = {ReplicaRecord.name(ID): json.dumps({"target": "b:backup/v"})}
    return dataset


def source_mark(guid: str = SOURCE_GUID, **more: object) -> dict[str, str]:
    value = {"id": ID, "host": "a", "dataset": "tank/v", "guid": guid, "mode": "plain", **more}
    return {SourceMark.NAME: json.dumps(value)}


def replica(*numbers: int, held: int | None = 1, **mark: object) -> Dataset:
    """backup/v with the mark of tank/v, and a hold on the last received snapshot."""
    dataset = Dataset("backup/v", "901", snapshots=snapshots("backup/v", *numbers), values={"written": Value("0")})
    dataset.ours = source_mark(**mark)  # type: ignore[arg-type]
    for snapshot in dataset.snapshots:
        if snapshot.guid == str(held):
            snapshot.holds = [Hold(LastHold(ID).format())]
    return dataset


def pair(
    on_source: list[int], on_replica: list[int] | None, bookmarks: tuple[int, ...] = (), **more: object
) -> Pair:  # fmt: skip
    """tank/v and its replica with these snapshots; None for no replica."""
    here = source(*on_source, at=None, recorded=False)
    here.bookmarks = [cursor(number) for number in bookmarks]
    there = None if on_replica is None else replica(*on_replica, held=None)
    return Pair(here, "backup/v", there, None, "77", "a:tank/v", "b:backup/v", "a", "b", **more)  # type: ignore[arg-type]


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
    case.source.bookmarks = [cursor(int(str(case.source.snapshots[-1].guid)))]
    case.source.ours = {ReplicaRecord.name(ID): json.dumps({"target": "b:backup/v"})}
    case.replica.snapshots[-1].holds = [Hold(LastHold(ID).format())]
    return case


def carried(plan: PairPlan) -> list[str]:
    """The GUIDs that a plan sends, in order."""
    assert plan.error is None, plan.error
    return [str(snapshot.guid) for send in plan.sends for snapshot in send.carries]
