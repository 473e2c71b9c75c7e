# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads both sides of a run into a `Survey`, with as few zfs processes as possible.

Of every pair names, GUIDs, marks and a few native values are read: three processes a side. `detail` reads more of the
pairs that these do not show to be settled.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Union

from ansible_collections.cerss.zfs.plugins.module_utils._core import units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, CerssError, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    Announcement,
    CommitPoints,
    Filter,
    ReplicaRecords,
    SourceMark,
    pool_id,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName, SnapshotName
from ansible_collections.cerss.zfs.plugins.module_utils._core.unsent import storable
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.inventory import Inventory
from ansible_collections.cerss.zfs.plugins.module_utils._host.selection import Selection
from ansible_collections.cerss.zfs.plugins.module_utils._replication import detail, keys, renames, unmarked
from ansible_collections.cerss.zfs.plugins.module_utils._replication.options import Options, dataset_of
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import Link, Pair, newest_common, txg
from ansible_collections.cerss.zfs.plugins.module_utils._replication.planner import (
    Survey,
    last_sent,
    settled,
    too_long,
    with_upcoming,
)

_SOURCE = ("guid", "type", "encryption")
FRESH = 10.0  # seconds for which one reading of the source serves several targets
Named = Union[DatasetName, SnapshotName]
Failed = tuple[Link, CerssError]
Part = tuple[Sequence[str], Sequence[str]]  # names of snapshots and bookmarks on the source and on the target


@dataclass
class Sides:
    """What `Reader._look` has read of both sides."""

    sources: Inventory
    replicas: Inventory
    others: Inventory = field(default_factory=dict)  # pools, and datasets above replicas
    missing: frozenset[str] = frozenset()  # datasets above replicas that are no replicas themselves
    spoilt: dict[str, str] = field(default_factory=dict)  # names on either side that cannot be read, and why

    def on_target(self, name: str) -> Dataset | None:
        return self.replicas.get(name) or self.others.get(name)


@dataclass
class Source:
    """The datasets that the options mean, as far as no target has a part in them.

    ``pools``: the roots of their pools, as far as they are not among ``datasets``; None if no values were read yet.
    ``spoilt``: as in `Sides`.
    """

    datasets: Inventory
    missing: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()
    pools: Inventory | None = None
    spoilt: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, backend: Backend, selection: Selection) -> Source:
        """One process, or two with a selector."""
        found, missing = inventory.read(backend, selection.roots or (), selection.depth)
        chosen, warnings = selection.choose(backend, found)
        return cls({name: found[name] for name in chosen}, frozenset(missing), tuple(warnings))

    def with_values(self, backend: Backend) -> Source:
        """With the native values that every plan depends on. One process, if they were not read yet."""
        if self.pools is None:
            pools = {DatasetName(name).pool for name in self.datasets}
            self.pools = {name: Dataset(name) for name in pools - self.datasets.keys()}
            everything = {**self.datasets, **self.pools}
            if everything:
                inventory.read_values(backend, everything, sorted(everything), _SOURCE, spoilt=self.spoilt)
        return self

    def copy(self) -> Source:
        """For one of several targets, which adds to the datasets what it alone reads of them."""
        return replace(
            self,
            datasets={name: _copied(dataset) for name, dataset in self.datasets.items()},
            spoilt=dict(self.spoilt),
        )


def _copied(dataset: Dataset) -> Dataset:
    return replace(
        dataset,
        snapshots=[copy.copy(snap) for snap in dataset.snapshots],
        bookmarks=[copy.copy(bookmark) for bookmark in dataset.bookmarks],
        values=dict(dataset.values),
        ours={},
    )


class Shared:
    """What no target has a part in, read once for all of them.

    It is read anew when it is old: what others have sent to a target since then would look as if it had diverged.
    """

    def __init__(self, backend: Backend, selection: Selection) -> None:
        self.backend, self.selection = backend, selection
        self._read()

    def _read(self) -> None:
        self.last = Source.read(self.backend, self.selection).with_values(self.backend)
        self._until = time.monotonic() + FRESH

    def copy(self) -> Source:
        """For one target."""
        if time.monotonic() > self._until:
            self._read()
        return self.last.copy()


class Reader:
    """Reads both backends. ``shared``: a reading of the source that serves several targets."""

    def __init__(self, source: Backend, target: Backend, options: Options) -> None:
        self.source, self.target, self.options = source, target, options
        self.shared: Shared | None = None

    def read(self) -> Survey:
        """Everything that the plans of all pairs depend on."""
        options = self.options
        selects = options.selection.selector is not None
        source, replicas = both(self._read_source, dict if selects else self._read_named_replicas)
        links, failed = self.links(source)
        _check_unique(links)
        if selects:
            replicas = self._read_replicas({link.replica_name for link in links}, 1)
        sides = _look(self.source, self.target, source, replicas, links)
        self._check_places(links, sides)
        pairs = [_pair(link, sides) for link in links]
        pairs, taken = renames.follow(self.target, options, pairs)
        pairs = renames.find_moved(self.target, pairs)
        pairs, arriving = self._in_detail(pairs)
        pairs = keys.below_new_ones(pairs, options.pair.raw)
        pairs = unmarked.find(self.source, detail.returning(self.target, pairs), lambda pair: pair.is_ours)
        return Survey(tuple(in_order(pairs)), (*taken, *failed), arriving, source.warnings)

    def again(self, pairs: Sequence[Pair], parts: Sequence[Part | None] = ()) -> list[Pair | None]:
        """The pairs as they are now, without the detail; None for a source that does not exist any more.

        ``parts``: what of each pair is read, None for the whole histories.
        """
        return look_at(self.source, self.target, [pair.link for pair in pairs], parts)

    def observe(self, former: Pair, since: int) -> tuple[Pair, Mapping[str, str]]:
        """(one pair as it is now, `Survey.arriving`), with everything that its plan depends on.

        ``since``: createtxg of the first snapshot on the source that is looked at.
        """
        (pair,) = self.again([former])
        if pair is None:
            raise Refused(f"{former.source_address} does not exist any more; run it again if the dataset was renamed")
        (pair,) = renames.find_moved(self.target, [pair])
        pairs, arriving = self._in_detail([pair], since)
        return pairs[0], arriving

    def _in_detail(self, pairs: Sequence[Pair], since: int | None = None) -> tuple[list[Pair], Mapping[str, str]]:
        options = self.options.pair
        if options.periods:
            _read_times(self.source, self.target, pairs, options.filter)
        foreseen = [with_upcoming(pair, self.options.upcoming, time.time()) for pair in pairs]
        unsettled = [pair for pair, later in zip(pairs, foreseen)
                     if not pair.trouble and (since is not None or not settled(later, options))]  # fmt: skip
        may_reseed = options.on_divergence == "reseed"
        closer = detail.read(self.source, self.target, unsettled, may_reseed, since, options.keep_old)
        found = {pair.replica_name: pair for pair in closer}
        return [found.get(pair.replica_name, pair) for pair in pairs], detail.arriving(self.target, closer)

    # -- which datasets go where

    def _read_source(self) -> Source:
        return self.shared.copy() if self.shared else Source.read(self.source, self.options.selection)

    def _read_named_replicas(self) -> Inventory:
        """The replicas of what is named, while the source is read."""
        return self._read_replicas({str(place) for _name, place in self._places()[0]}, self.options.selection.depth)

    def _read_replicas(self, places: Collection[str], depth: int | None) -> Inventory:
        return inventory.read(self.target, sorted(places), depth)[0] if places else {}

    def _places(self, chosen: Collection[str] = ()) -> tuple[list[tuple[Named, DatasetName]], list[Failed]]:
        """(what is named with its replica, or each of ``chosen`` if nothing is, those that cannot have a replica)."""
        names = self.options.names
        places: list[tuple[Named, DatasetName]] = []
        failed: list[Failed] = []
        for name in names if names is not None else map(DatasetName, chosen):
            try:
                places.append((name, self.options.replica_root(name)))
            except BadInput as error:  # noqa: PERF203
                link = Link(str(dataset_of(name)), f"{self.options.parent or self.options.dataset}/…")
                failed.append((link, error))
        return places, failed

    def links(self, source: Source) -> tuple[list[Link], list[Failed]]:
        """(the links of the datasets, those that cannot be replicated)."""
        places, failed = self._places(source.datasets)
        links = [self._link(name, place, path) for name, place in places for path in self._below(name, source.datasets)]
        # zfs gives no answer at all if one of the names is too long.
        failed += [(link, error) for link in links for error in [too_long(link.replica_name)] if error]
        failed += [(self._link(name, place, str(dataset_of(name))), Refused(
            f"{self.source.endpoint.address(dataset_of(name))} does not exist; check the name, or create it first"
        )) for name, place in places if str(dataset_of(name)) in source.missing]  # fmt: skip
        return [link for link in links if not too_long(link.replica_name)], failed

    def _below(self, name: Named, chosen: Collection[str]) -> list[str]:
        """The chosen datasets that are meant by ``name``."""
        root = dataset_of(name)
        if self.options.names is not None and self.options.selection.depth is None:
            return sorted(path for path in chosen if root.covers(path))
        return [str(root)] if str(root) in chosen else []

    def _link(self, name: Named, root_place: DatasetName, path: str) -> Link:
        root, options = dataset_of(name), self.options
        # Not parsed: a name that is too long becomes the error of this pair alone.
        place = f"{root_place}{path[len(str(root)) :]}"
        return Link(
            path, place, name.snapshot if isinstance(name, SnapshotName) else None,
            options.source.address(path), options.target.address(place),
            self.source.node, options.target.seen_from(options.source).label,
            path == str(root) and not options.selection.selector,
            filter=storable(options.pair.filter),
        )  # fmt: skip

    def _check_places(self, links: Sequence[Link], sides: Sides) -> None:
        """Raise BadInput for a replica within its source, also if the same machine is given two names."""
        for link in links:
            source, replica = DatasetName(link.source_name), DatasetName(link.replica_name)
            pools = sides.sources.get(source.pool), sides.on_target(replica.pool)
            same = self.source.endpoint.host == self.target.endpoint.host
            same = same or (source.pool == replica.pool and _guid_of(pools[0]) == _guid_of(pools[1]))
            if same and (source == replica or (self.options.selection.depth is None and source.covers(replica))):
                where = "the source itself" if source == replica else f"inside {source}"
                raise BadInput(f"{replica} is {where}; choose another target")


def _read_times(source: Backend, target: Backend, pairs: Iterable[Pair], given: Filter) -> None:
    """When what may be sent was created, and what was sent last. One process, one more if that is not the base."""
    names: list[str] = []
    lasts: dict[str, str] = {}
    for pair in pairs:
        common = newest_common(pair.source, pair.replica) if pair.replica else None
        names += [common[1].name] if common else []
        last = last_sent(pair, given)
        if common and last and last is not common[1]:
            lasts[pair.replica_name] = last.name
        names += [snap.name for snap in pair.source.snapshots if not common or txg(snap) > txg(common[1])]
    if names:
        sources = {pair.source.name: pair.source for pair in pairs}
        inventory.read_values(source, sources, names, ("creation",), spoilt={})
    if lasts:
        replicas = {pair.replica_name: pair.replica for pair in pairs if pair.replica}
        inventory.read_values(target, replicas, lasts.values(), ("creation",), spoilt={})


def look_at(
    source: Backend, target: Backend, links: Sequence[Link], parts: Sequence[Part | None] = ()
) -> list[Pair | None]:
    """The pairs of the links, without the detail; None for a source that does not exist. ``parts``: see `again`."""
    parts = parts or [None] * len(links)
    sources, replicas = both(
        lambda: _histories(source, [(link.source_name, part and part[0]) for link, part in zip(links, parts)]),
        lambda: _histories(target, [(link.replica_name, part and part[1]) for link, part in zip(links, parts)]),
    )
    there = [link for link in links if link.source_name in sources]
    found = Source({link.source_name: sources[link.source_name] for link in there})
    sides = _look(source, target, found, replicas, there)
    return [_pair(link, sides) if link.source_name in sources else None for link in links]


def _histories(backend: Backend, datasets: Sequence[tuple[str, Sequence[str] | None]]) -> Inventory:
    """The datasets, each with the named snapshots and bookmarks, or with all that it has. A process for either kind."""
    whole = [name for name, part in datasets if part is None]
    named = [each for name, part in datasets if part is not None for each in (name, *part)]
    found = inventory.read(backend, whole)[0] if whole else {}
    return {**(inventory.read(backend, named, 0)[0] if named else {}), **found}


def _look(source: Backend, target: Backend, found: Source, replicas: Inventory, links: Sequence[Link]) -> Sides:
    """Read what every plan depends on, besides names and GUIDs."""
    sides = Sides(found.datasets, replicas, spoilt=found.spoilt)
    if not links:
        return sides
    places = [link.replica_name for link in links]
    above = {str(parent) for place in places for parent in DatasetName(place).ancestors()}
    pools = {DatasetName(place).pool for place in places}
    wanted = {name: replicas[name] for name in places if name in replicas}
    sides.others = {name: Dataset(name) for name in (above | pools) - wanted.keys()}
    known = {**wanted, **sides.others}
    missing = inventory.read_values(target, known, sorted(known), renames.VALUES, spoilt=sides.spoilt)
    for pool in sorted(pools):
        where = target.endpoint.label or "this machine"
        if pool in missing:
            raise Refused(f"there is no pool {pool} on {where}; check the name of the target")
        if known[pool].guid is None:
            raise Refused(f"the GUID of {pool} on {where} cannot be read; check zfs get guid {pool} there")
    sides.missing = frozenset(missing).difference(places)
    marks = (SourceMark.NAME, Announcement.NAME)
    inventory.read_values(target, wanted, sorted(wanted), marks, spoilt=sides.spoilt)
    sides.sources = {**(found.with_values(source).pools or {}), **found.datasets}
    ids = sorted({pool_id(str(known[pool].guid)) for pool in pools})
    names = [cls.name(id_) for id_ in ids for cls in (ReplicaRecords, CommitPoints)]
    sources = {link.source_name: found.datasets[link.source_name] for link in links}
    inventory.read_values(source, sources, sorted(sources), names, spoilt=sides.spoilt)
    return sides


def both(read_source: Callable[[], Any], read_target: Callable[[], Any]) -> tuple[Any, Any]:
    """The results of both, run in parallel."""
    with ThreadPoolExecutor(2) as pool:
        source, target = pool.submit(read_source), pool.submit(read_target)
        return source.result(), target.result()


def _guid_of(dataset: Dataset | None) -> str | None:
    return dataset.guid if dataset else None


def _check_unique(links: Iterable[Link]) -> None:
    places: dict[str, Link] = {}
    for link in links:
        other = places.setdefault(link.replica_name, link)
        if other.source_name != link.source_name:
            raise BadInput(
                f"{other.source_name} and {link.source_name} would both go to {link.target_address}; lower "
                "target.strip, or give them different targets"
            )


def _pair(link: Link, sides: Sides) -> Pair:
    place = DatasetName(link.replica_name)
    above = [str(parent) for parent in place.ancestors()]
    root = sides.on_target(place.pool) or Dataset(place.pool)
    places = [each for name in (link.replica_name, *reversed(above), root.name) if (each := sides.on_target(name))]
    over = tuple(each for name in reversed(above) if (each := sides.on_target(name)) and each.guid)
    free = next((each.values["available"].text for each in places if "available" in each.values), None)
    return Pair(
        link,
        sides.sources[link.source_name],
        sides.replicas.get(link.replica_name),
        pool_id(str(root.guid)) if root.guid else "",
        tuple(name for name in above if name in sides.missing),
        None if free is None else units.number(free),
        over if any(each.encrypted for each in over) else (),
        trouble=next((Refused(sides.spoilt[name]) for name in (link.source_name, link.replica_name)
                      if name in sides.spoilt), None),
    )  # fmt: skip


def in_order(pairs: Sequence[Pair]) -> list[Pair]:
    """Sorted by name, but parents (on either side) come before children, and origins before their clones.

    Where that is a circle, such as a parent that is a clone of its own child, the clone comes before its origin.
    """
    by_name = {pair.source.name: pair for pair in pairs}
    by_place = {pair.replica_name: pair.source.name for pair in pairs}
    done: dict[str, Pair] = {}
    apart: set[str] = set()  # clones that do not wait for their origin
    for first in sorted(by_name):
        path = {first: ""}  # names, each needed by the one before -> why: origin, or above
        while path:
            name, _why = next(reversed(path.items()))
            needs = _before(by_name[name], by_place, name not in apart)
            before, why = next(
                ((other, why) for other, why in needs if other in by_name and other not in done), ("", "")
            )
            if before in path and _break(path, before, why, apart):
                continue
            if before and before not in path:
                path[before] = why
            else:
                done[name] = by_name[name]
                del path[name]
    return list(done.values())


def _break(path: dict[str, str], before: str, why: str, apart: set[str]) -> bool:
    """Let a clone in the circle at the end of ``path``, which its last name closes, not wait for its origin.

    False if there is none, since names on the two sides contradict each other.
    """
    names = list(path)
    circle = names[names.index(before) :]
    reasons = [*(path[name] for name in circle[1:]), why]
    if "origin" not in reasons:
        return False
    at = reasons.index("origin")
    apart.add(circle[at])
    for name in circle[at + 1 :]:
        del path[name]
    return True


def _before(pair: Pair, by_place: Mapping[str, str], with_origin: bool) -> Iterator[tuple[str, str]]:
    """(name, why) of the sources that come before this one."""
    name = pair.source.name
    yield from ((str(parent), "above") for parent in DatasetName(name).ancestors())
    places = [by_place.get(str(parent), name) for parent in DatasetName(pair.replica_name).ancestors()]
    # The names may be the other way round on the two sides; those of the source count then.
    yield from ((other, "above") for other in places if not other.startswith(f"{name}/") and other != name)
    if with_origin and pair.source.origin:
        yield pair.source.origin.partition("@")[0], "origin"
