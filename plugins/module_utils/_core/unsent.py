# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which snapshots a source's relationships would still send, by its own records of them."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import localtime

from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    Cursor,
    Filter,
    ReplicaRecord,
    ReplicaRecords,
    Spoilt,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import PENDING_DELETE, Dataset, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import EXPRESSION, matches
from ansible_collections.cerss.zfs.plugins.module_utils._core.periods import PERIODS, firsts

NOT_SENT = "not yet sent to"  # begins the reason
MOST_FILTER = 800  # bytes of one job's filter in a record; a longer one is recorded as one that lets everything pass


@dataclass(frozen=True)
class Lack:
    """Why a snapshot must stay for a relationship. None: the record of it cannot be read."""

    relationship: str | None
    target: str | None
    reason: str


def is_sent(snapshot: Snapshot, by: Filter) -> bool:
    """True if a job sends the snapshot when nobody names one. Temporary and deleted ones are sent only by name."""
    return (
        not snapshot.temporary
        and snapshot.state != PENDING_DELETE
        and (not by.include or matches(snapshot.snapshot, by.include))
        and not matches(snapshot.snapshot, by.exclude)
    )


def storable(given: Filter) -> Filter:
    """The filter as a record may have it: the same one, or one that lets more pass.

    Without regular expressions: anybody who may set properties could write one that takes for ever.
    """
    include = given.include if all(map(_is_glob, given.include)) else ()
    exclude = tuple(filter(_is_glob, given.exclude))
    exact = (include, exclude) == (given.include, given.exclude) and PERIODS.keys() >= {*given.periods}
    # The first or the newest of more snapshots may be another one, so all of them must pass.
    found = given if exact else Filter(given.job, include, exclude)
    return found if len(json.dumps(found.to_json())) <= MOST_FILTER else Filter(given.job)


def _is_glob(pattern: str) -> bool:
    if pattern.startswith(EXPRESSION) or not pattern.isprintable() or not pattern:
        return False
    try:
        matches("", [pattern])
    except re.error:  # such as [b-a], before Python 3.12
        return False
    return True


def unsent(dataset: Dataset, snapshots: Sequence[Snapshot]) -> dict[str, list[Lack]]:
    """Name of a snapshot -> the relationships that would still send it.

    ``snapshots``: of the dataset, oldest first, read with all values. Newer than the commit point, a record without one
    has nothing on the replica yet. Of a job without intermediates that is the newest one of these snapshots.
    """
    found: dict[str, list[Lack]] = {}
    points = dataset.commit_points()
    for record in dataset.records().values():
        point = points.get(record.id)
        newer = [snap for snap in snapshots if not point or snap.createtxg is None or snap.createtxg > point.createtxg]
        lack = Lack(record.id, record.target, f"{NOT_SENT} {record.target} (relationship {record.id})")
        for snap in chosen(newer, record):
            found.setdefault(snap.name, []).append(lack)
    for lack in _unreadable(dataset):
        for snap in snapshots:
            found.setdefault(snap.name, []).append(lack)
    return found


def chosen(snapshots: Sequence[Snapshot], record: ReplicaRecord) -> Iterable[Snapshot]:
    """Those of some new snapshots that any of the relationship's jobs sends. They are the oldest first, with values."""
    found: dict[str, Snapshot] = {}
    for each in map(storable, record.filters or (Filter(),)):
        sent = _firsts([snap for snap in snapshots if is_sent(snap, each)], each.periods)
        found.update({snap.name: snap for snap in (sent if each.intermediates else sent[-1:])})
    return found.values()


def _firsts(snapshots: list[Snapshot], periods: Sequence[str]) -> list[Snapshot]:
    """The first one in each of the periods; all of them without periods.

    That may be one more than is sent, if a later one of its period is on the replica already.
    """
    if not periods:
        return snapshots
    met = firsts([snap.created or 0 for snap in snapshots], periods, None, localtime)
    return list(itertools.compress(snapshots, met))


def _unreadable(dataset: Dataset) -> list[Lack]:
    return [
        Lack(None, None, f"{dataset.name} has a property {ReplicaRecords.name(pool)} that cannot be read, so it is not "
             "known what a replica still lacks; zfs_replication with state=present writes it anew")
        for pool, records in sorted(ReplicaRecords.all_of(dataset.ours).items()) if isinstance(records, Spoilt)
    ]  # fmt: skip


def bases(dataset: Dataset) -> dict[str, str]:
    """GUID of a snapshot -> why it must stay: the next increment starts from it, and its cursor is gone."""
    cursors = {cursor for cursor, _bookmark in dataset.cursors()}
    points = dataset.commit_points()
    return {
        point.guid: f"base of the next increment to {record.target} (relationship {record.id}), which has no bookmark"
        for record in dataset.records().values()
        if (point := points.get(record.id)) and Cursor(record.id, point.guid) not in cursors
    }
