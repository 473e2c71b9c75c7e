# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds replicas whose name does not follow from the options: the source, the replica or an old replica was renamed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import GateRefused, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    Announcement,
    ReplicaRecord,
    SourceMark,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.inventory import Inventory
from ansible_collections.cerss.zfs.plugins.module_utils._replication import divergence, info
from ansible_collections.cerss.zfs.plugins.module_utils._replication.options import Options
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import Pair, PairPlan


def follow(source: Backend, target: Backend, options: Options, pairs: Sequence[Pair]) -> None:
    """Make renamed sources continue in the replicas they already have.

    A replica is followed only if it lies where these options would have put it under the source's former name.
    Otherwise it belongs to another job.
    """
    lost = {pair.source.name: pair for pair in pairs if not pair.replica and info.ids(pair.source)}
    if not lost:
        return
    sources = {name: pair.source for name, pair in lost.items()}
    marks = {ReplicaRecord.name(id_) for found in sources.values() for id_ in info.ids(found)}
    inventory.read_values(source, sources, sorted(sources), sorted(marks))
    here = options.target.seen_from(options.source).address("")
    known = {
        record.target.removeprefix(here): pair
        for pair in lost.values()
        for record in pair.source.records().values()
        if record.target.startswith(here) and (here or ":" not in record.target.partition("/")[0])
    }
    found, _missing = inventory.read(target, sorted(known)) if known else ({}, [])
    inventory.read_values(target, found, sorted(found), (SourceMark.NAME,))
    for place, replica in found.items():
        pair, mark = known[place], replica.source_mark
        if mark and mark.guid == pair.source.guid and str(options.place_of(DatasetName(mark.dataset))) == place:
            _move(pair, options, place, replica)
    _follow_parents(target, options, pairs)
    for pair in lost.values():
        for id_, record in pair.source.records().items():
            if not pair.replica and record.aside and record.target == pair.target_record:
                pair.known_id = id_


def _follow_parents(target: Backend, options: Options, pairs: Sequence[Pair]) -> None:
    """Put the replicas of new datasets below a renamed source below the replica of that source."""
    followed = {pair.source.name: pair for pair in pairs if _is_moved(pair, options)}
    begun: dict[str, Pair] = {}
    for pair in sorted(pairs, key=lambda pair: pair.source.name) if followed else ():
        above, _slash, leaf = pair.source.name.rpartition("/")
        if above in followed and not pair.replica:
            _move(pair, options, f"{followed[above].replica_name}/{leaf}", None)
            followed[pair.source.name] = begun[pair.replica_name] = pair
    found = inventory.read(target, sorted(begun), 1)[0] if begun else {}
    for place, replica in found.items():
        begun[place].replica = replica


def find_strayed(target: Backend, pairs: Sequence[Pair]) -> None:
    """Find recorded replicas that are no longer at the recorded place: set ``strayed`` or ``half_aside``.

    Only the replica's own mark counts, because two machines may have the same name and replicas of the same name.
    """
    strays = {
        id_: pair
        for pair in pairs
        for id_, record in pair.source.records().items()
        if not pair.replica and (id_ == pair.id or record.target == pair.target_record)
    }

    def read(name: str) -> Inventory:
        found = inventory.read(target, [name], None, "filesystem,volume")[0]
        inventory.read_values(target, found, sorted(found), (SourceMark.NAME,), spoilt={})
        return found

    for found in around(strays.values(), read):
        for name, dataset in found.items():
            mark = dataset.source_mark
            if mark and mark.id in strays and not mark.released:
                pair = strays[mark.id]
                pair.known_id = mark.id
                pair.half_aside = _look_at_half_aside(target, name, pair.replica_name)
                pair.strayed = None if pair.half_aside else target.endpoint.address(name)


def _look_at_half_aside(target: Backend, name: str, place: str) -> Dataset | None:
    """The old replica of an interrupted reseed with what is needed to remove its marks; None for any other dataset."""
    if not name.startswith(place + divergence.ASIDE):
        return None
    found = inventory.read(target, [name], 1)[0]
    dataset = found[name]
    if name != divergence.aside_name(place, dataset.guid):
        return None
    names = [name, *(snap.name for snap in dataset.snapshots)]
    inventory.read_values(target, found, names, ("userrefs", SourceMark.NAME, Announcement.NAME))
    inventory.read_holds(target, dataset.snapshots)
    return dataset


def _is_moved(pair: Pair, options: Options) -> bool:
    return pair.replica_name != str(options.place_of(DatasetName(pair.source.name)))


def _move(pair: Pair, options: Options, place: str, replica: Dataset | None) -> None:
    pair.replica_name, pair.replica, pair.target_address = place, replica, options.target.address(place)


def taken_places(options: Options, pairs: Sequence[Pair]) -> list[PairPlan]:
    """Plans that refuse sources which have taken the name of a renamed one: the replica there belongs to the latter."""
    followed = {pair.replica_name: pair for pair in pairs if _is_moved(pair, options)}
    return [
        PairPlan(pair, error=Refused(
            f"{pair.source_address} cannot be replicated to {pair.target_address}: that is the replica of "
            f"{followed[pair.replica_name].source_address}, which was renamed; give one of the two another target"
        ))
        for pair in pairs
        if pair.replica_name in followed and followed[pair.replica_name] is not pair
    ]  # fmt: skip


def around(pairs: Iterable[Pair], read: Callable[[str], Any]) -> Iterator[Any]:
    """The results of ``read`` for the pools of the replicas, or for the topmost datasets that a gate lets us read.

    For the replica backup/site/v it tries backup, backup/site and backup/site/v until one is not refused.
    """
    done: list[DatasetName] = []
    for place in sorted(DatasetName(pair.replica_name) for pair in pairs):
        for name in [] if any(root.covers(place) for root in done) else [*place.ancestors(), place]:
            with contextlib.suppress(GateRefused):
                yield read(str(name))
                done.append(name)
                break
