# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds replicas whose name does not follow from the options: the source or the replica was renamed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError, GateRefused, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import Announcement, ReplicaRecord, SourceMark
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.inventory import Inventory
from ansible_collections.cerss.zfs.plugins.module_utils._replication.options import Options
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import Link, Pair

VALUES = ("guid", "type", "receive_resume_token", "written", "available", "encryption", "encryptionroot")


def follow(
    target: Backend, options: Options, pairs: Sequence[Pair]
) -> tuple[list[Pair], list[tuple[Link, CerssError]]]:
    """(the pairs, with renamed sources in the replicas they already have; those whose place is taken by one).

    A replica is followed only if it lies where these options would have put it under the source's former name.
    Otherwise it belongs to another job. The source's record tells where it is, its GUID that it is the same.
    """
    here = options.target.seen_from(options.source).address("")
    lost = {
        record.target[len(here) :]: (pair, record)
        for pair in pairs
        if pair.replica is None
        for record in pair.records.entries
        if record.target.startswith(here) and record.target != pair.link.target_record
        and (here or ":" not in record.target.partition("/")[0])
    }  # fmt: skip
    if not lost:
        return list(pairs), []
    found = _read(target, lost)
    moved = {}
    for place, replica in found.items():
        pair, record = lost[place]
        mark = replica.source_mark
        if mark and record.guid == replica.guid and _would_be(options, mark) == place:
            moved[pair.source.name] = _moved(options, pair, place, replica)
    moved = _follow_parents(target, options, pairs, moved)
    result = [moved.get(pair.source.name, pair) for pair in pairs]
    places = {pair.replica_name: pair for pair in moved.values()}
    taken: list[tuple[Link, CerssError]] = [
        (pair.link, Refused(
            f"{pair.source_address} cannot be replicated to {pair.target_address}: that is the replica of "
            f"{places[pair.replica_name].source_address}, which was renamed; give one of the two another target"
        ))
        for pair in result
        if pair.replica_name in places and places[pair.replica_name] is not pair
    ]  # fmt: skip
    refused = {link for link, _error in taken}
    return [pair for pair in result if pair.link not in refused], taken


def _read(target: Backend, places: Iterable[str]) -> Inventory:
    """The replicas at these places, with what `survey` reads of those at the usual ones."""
    found, _missing = inventory.read(target, sorted(places))
    inventory.read_values(target, found, sorted(found), VALUES, spoilt={})
    inventory.read_values(target, found, sorted(found), (SourceMark.NAME, Announcement.NAME), spoilt={})
    return found


def _would_be(options: Options, mark: SourceMark) -> str | None:
    """Where the options put the replica of the source under the name in the mark."""
    try:
        return str(options.place_of(DatasetName.parse(mark.dataset)))
    except CerssError:
        return None


def _follow_parents(
    target: Backend, options: Options, pairs: Sequence[Pair], moved: dict[str, Pair]
) -> dict[str, Pair]:
    """Put the replicas of new datasets below a renamed source below the replica of that source."""
    begun = {}
    result = dict(moved)
    for pair in sorted(pairs, key=lambda pair: pair.source.name) if moved else ():
        above, _slash, leaf = pair.source.name.rpartition("/")
        if above in result and pair.source.name not in result and pair.replica is None:
            place = f"{result[above].replica_name}/{leaf}"
            result[pair.source.name] = begun[place] = _moved(options, pair, place, None)
    found = _read(target, begun) if begun else {}
    for place, replica in found.items():
        result[begun[place].source.name] = replace(begun[place], replica=replica)
    return result


def _moved(options: Options, pair: Pair, place: str, replica: Dataset | None) -> Pair:
    link = replace(pair.link, replica_name=place, target_address=options.target.address(place), followed=True)
    return replace(pair, link=link, replica=replica, missing_parents=())


def find_moved(target: Backend, pairs: Sequence[Pair]) -> list[Pair]:
    """Find replicas that are no longer where they were recorded, by their GUID: set ``moved_to``.

    Two machines may have datasets of the same name, so nothing but the GUID counts.
    """
    lost = {
        record.guid: pair
        for pair in pairs
        for record in [pair.record]
        if pair.replica is None and record and record.guid != ReplicaRecord.UNKNOWN
    }

    def read(name: str) -> Inventory:
        return inventory.read(target, [name], None, "filesystem,volume")[0]

    moved = {}
    for found in around(lost.values(), read) if lost else ():
        for name, dataset in found.items():
            if dataset.guid in lost:
                moved[lost[dataset.guid].replica_name] = target.endpoint.address(name)
    return [replace(pair, moved_to=moved.get(pair.replica_name)) for pair in pairs]


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
