# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the relationships of one backend are, as its own datasets show them: an item of ``replications`` for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import model, units, unsent
from ansible_collections.cerss.zfs.plugins.module_utils._core.endpoint import parted
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    Announcement,
    CommitPoint,
    Cursor,
    Filter,
    LastHold,
    ReplicaRecord,
    SourceMark,
    StepHold,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Bookmark, Dataset, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import listed, txg, with_hold

OK, WARNING, CRITICAL = SEVERITIES = ("ok", "warning", "critical")


@dataclass(frozen=True)
class Limits:
    """How many seconds a replica may be behind until that is a problem, and until it is a warning; None for any."""

    max_lag: int | None = None
    warn_lag: int | None = None

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Limits:
        """From a module's parameters. Raises BadInput."""
        given = {name: params.get(name) for name in ("max_lag", "warn_lag")}
        limits = cls(**{name: units.duration(text, name) for name, text in given.items() if text})
        if limits.max_lag is not None and limits.warn_lag is not None and limits.warn_lag > limits.max_lag:
            raise BadInput(
                f"warn_lag ({given['warn_lag']}) is more than max_lag ({given['max_lag']}), so it would never be "
                "reached; give it a shorter time"
            )
        return limits


@dataclass(frozen=True)
class Moment:
    """What the state of relationships depends on besides their datasets.

    ``now``: seconds since 1970. ``running``: run files of transfers by relationship id. ``active``: replica -> whether
    it is receiving, None if that is not known; one that is missing is not.
    """

    now: float
    running: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    active: Mapping[str, bool | None] = field(default_factory=dict)
    limits: Limits = Limits()


def ids(dataset: Dataset) -> set[str]:
    """The ids of all relationships that have a mark on the dataset as their source."""
    held = {hold.relationship for snap in dataset.snapshots for hold in snap.holds or []}
    marked = {bookmark.relationship for bookmark in dataset.bookmarks}
    return {*dataset.records(), *dataset.commit_points(), *filter(None, held | marked)}


def as_source(dataset: Dataset, known: set[str]) -> list[str]:
    """The ids of the relationships whose source the dataset is. ``known``: those that any dataset has a record of."""
    mark = dataset.source_mark
    # Marks that a promotion has moved here belong to the dataset that has the record.
    moved = known - dataset.records().keys()
    return sorted(ids(dataset) - moved - ({mark.id} if mark else set()))


def recorded(found: Mapping[str, Dataset]) -> set[str]:
    """The ids of all relationships that one of the datasets has a record of."""
    return {id_ for dataset in found.values() for id_ in dataset.records()}


def relationships(found: Mapping[str, Dataset], moment: Moment) -> list[dict[str, Any]]:
    """The relationships of the datasets, sorted by dataset name, in the shape of zfs_replication_info's result."""
    result = []
    known = recorded(found)
    for _name, dataset in sorted(found.items()):
        if dataset.source_mark:
            result.append(_replica(dataset, dataset.source_mark, moment))
        result += [_source(dataset, id_, moment) for id_ in as_source(dataset, known)]
    return result


# -- the source ------------------------------------------------------------------------------------------------------


def _source(dataset: Dataset, id_: str, moment: Moment) -> dict[str, Any]:
    known, point = dataset.records().get(id_), dataset.commit_points().get(id_)
    run, last = moment.running.get(id_), last_replicated(dataset, id_)
    newer = [snap for snap in dataset.snapshots if not point or txg(snap) > point.createtxg]
    requested = [*unsent.chosen(newer, known)] if known else [snap for snap in newer if unsent.is_sent(snap, Filter())]
    behind = sum(snap.written or 0 for snap in newer) + dataset.written
    lag = _lag(last, moment.now)
    if lag is not None and not (requested or behind):
        lag = 0
    paused = known is not None and known.paused
    return {
        "id": id_,
        "role": "source",
        "source": dataset.name,
        "target": known.target if known else None,
        **_places((None, dataset.name), parted(known.target) if known else (None, None)),
        "state": "left_over" if known is None else "paused" if paused else "active",
        "last_replicated": last.name if last else None,
        "snapshots_behind": len(requested if point else newer),
        "lag_seconds": lag,
        "lag_bytes": behind if point else _size(dataset) if known else 0,
        "in_progress": model.Progress(
            "send", run.get("bytes_done"), run.get("bytes_total"), run.get("bytes_per_second"), run.get("started"),
            run.get("updated"), True,
        ).to_result() if run else None,
        **_verdict(
            ["paused: replication skips it until zfs_replication with paused=false"] if paused else [],
            [*_interruptions(dataset, id_, known, run is not None),
             *(_too_late(lag, moment.limits, "the replica is {} s behind") if not paused else []),
             *_from_the_future(last, moment.now)],
            not paused and _is_late(lag, moment.limits.warn_lag),
        ),
    }  # fmt: skip


def _interruptions(dataset: Dataset, id_: str, known: ReplicaRecord | None, runs: bool) -> list[str]:
    """What keeps the relationship from being complete. ``runs``: a transfer is running here."""
    point = dataset.commit_points().get(id_)
    # The base is held too, if the dataset's name leaves no room for a cursor.
    held = [snap for snap in with_hold(dataset, StepHold(id_).format()) if not point or snap.guid != point.guid]
    found = []
    if known is None:
        found.append("left over: the relationship is no longer recorded on the dataset; end it with zfs_replication")
    elif point is None and not (runs or known.paused):
        found.append("nothing has been replicated yet")
    if held and not runs:
        found.append(f"a transfer was interrupted and holds {listed(held)}; the next run resumes it")
    return found


def last_replicated(dataset: Dataset, id_: str) -> Snapshot | Bookmark | None:
    """The snapshot of the relationship's commit point or, if it is gone, its cursor."""
    point: CommitPoint | None = dataset.commit_points().get(id_)
    if point is None:
        return None
    cursors = [bookmark for cursor, bookmark in dataset.cursors() if cursor == Cursor(id_, point.guid)]
    return dataset.by_guid(point.guid) or next(iter(cursors), None)


def _size(dataset: Dataset) -> int:
    """The bytes of the dataset and its snapshots, without datasets below it; 0 if not read."""
    return sum(units.number(dataset.get(name) or "") or 0 for name in ("usedbydataset", "usedbysnapshots"))


# -- the replica -----------------------------------------------------------------------------------------------------


def _replica(dataset: Dataset, mark: SourceMark, moment: Moment) -> dict[str, Any]:
    held = with_hold(dataset, LastHold.TAG)
    last = held[-1] if held else None
    token, active = dataset.token, moment.active.get(dataset.name, False)
    lag = _lag(last, moment.now)
    limited = mark.live and not mark.beside  # otherwise nothing more is to come
    announced = Announcement.of(dataset.ours).by_guid(token.toguid if token else None)
    expected = announced.bytes if announced else None
    return {
        "id": mark.id,
        "role": "replica",
        "source": mark.source,
        "target": dataset.name,
        **_places((mark.host or None, mark.dataset), (None, dataset.name)),
        "state": _state(mark),
        "last_replicated": last.name if last else None,
        "snapshots_behind": None,
        "lag_seconds": lag,
        "lag_bytes": 0,
        "in_progress": model.Progress("receive", token.bytes, expected, active=active).to_result() if token else None,
        **_verdict(
            _ended(dataset, mark),
            [*(_from_the_future(last, moment.now) if mark.live else []),
             *(_too_late(lag, moment.limits, "the last received snapshot is {} s old") if limited else []),
             *_disturbances(dataset, mark, last, active)],
            limited and _is_late(lag, moment.limits.warn_lag),
        ),
    }  # fmt: skip


def _state(mark: SourceMark) -> str:
    flags = (("put_aside", mark.put_aside), ("released", mark.released), ("unfinished", mark.beside))
    return next((name for name, is_set in flags if is_set), "active")


def _ended(dataset: Dataset, mark: SourceMark) -> list[str]:
    """Why nothing more is to be received: somebody has asked for that."""
    if mark.released:
        return ["released by a failover: it no longer receives anything"]
    if mark.put_aside:
        size = dataset.get("used") or "an unknown number of"
        return [f"put aside by a reseed and kept with {size} bytes; destroy it when nobody needs it any more"]
    return []


def _disturbances(dataset: Dataset, mark: SourceMark, last: Snapshot | None, active: bool | None) -> list[str]:
    token, found = dataset.token, []
    newer = [snap for snap in dataset.snapshots if last and txg(snap) > txg(last)]
    if mark.live and mark.beside:
        found.append("a reseed is not finished: it is to replace the replica; the next run continues")
    elif mark.live and not last and not token:
        found.append("no snapshot is held as the last received one")
    if newer and not mark.released:
        found.append(f"diverged: it holds {listed(newer)} after the last received snapshot")
    if token and active is False and mark.live:
        found.append(f"a transfer of {token.toname} was interrupted; the next run resumes it")
    return found


# -- both ------------------------------------------------------------------------------------------------------------


def _places(source: tuple[str | None, str], target: tuple[str | None, str | None]) -> dict[str, str | None]:
    """The host and the dataset of both sides; None for the host of this one."""
    return {
        "source_host": source[0],
        "source_dataset": source[1],
        "target_host": target[0],
        "target_dataset": target[1],
    }


def _verdict(notes: Sequence[str], problems: Sequence[str], late: bool) -> dict[str, Any]:
    """``notes``: what somebody has asked for, which is told with the problems but is only a warning, as ``late`` is."""
    return {
        "healthy": not (notes or problems),
        "severity": CRITICAL if problems else WARNING if notes or late else OK,
        "problems": [*notes, *problems],
    }


def _is_late(lag: int | None, limit: int | None) -> bool:
    return lag is not None and limit is not None and lag > limit


def _too_late(lag: int | None, limits: Limits, text: str) -> list[str]:
    if not _is_late(lag, limits.max_lag):
        return []
    return [f"{text.format(lag)}, more than max_lag allows ({limits.max_lag} s)"]


def _lag(last: Snapshot | Bookmark | None, now: float) -> int | None:
    """The age of the last replicated snapshot in seconds; None if it is not known."""
    age = units.age(last.created, now) if last and last.created is not None else None
    return None if age is None else int(age)


def _from_the_future(last: Snapshot | Bookmark | None, now: float) -> list[str]:
    """The problem that nobody knows the age of the last replicated snapshot."""
    if last is None or last.created is None or units.age(last.created, now) is not None:
        return []
    return [
        f"{last.name} was created in the future, at {units.iso_time(last.created)}, so nobody knows how far the "
        "replica is behind; check the clocks of both hosts"
    ]
