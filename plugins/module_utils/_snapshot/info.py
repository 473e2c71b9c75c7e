# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zfs_snapshot_info. Snapshots are read, completed and written in chunks, so memory does not grow with their number."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import math
import os
import tempfile
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import model, units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, Suspended
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import is_ours
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Bookmark, Dataset, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import (
    DatasetName,
    SnapshotName,
    check_patterns,
    check_property,
    check_unique,
    dataset_or_snapshot,
    matches,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.text import shown
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import read_activity
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.selection import Selection
from ansible_collections.cerss.zfs.plugins.module_utils._host.values import read_properties
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot import objects
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.newest import Newest, Result
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import output

CHUNK = 3000  # objects that are completed at a time, which bounds the memory
RECENT = 1000  # snapshots of a dataset that are remembered, since an inbound one is based on one of the newest


@dataclass
class Options:
    """The checked options. ``keep``: the option ``properties``. ``newest`` and ``limit``: None for all."""

    datasets: list[DatasetName]
    snapshots: list[SnapshotName]
    selection: Selection
    match: tuple[str, ...] = ()
    states: list[str] = field(default_factory=list)
    detail: str = "state"
    keep: list[str] = field(default_factory=list)
    newest: int | None = None
    limit: int | None = None

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Options:
        names = params["name"] or []
        check_unique(names, "name")
        parsed = [dataset_or_snapshot(name) for name in names]
        roots = [name.path if isinstance(name, DatasetName) else name.dataset.path for name in parsed]
        _check_combinations(params)
        return cls(
            datasets=[name for name in parsed if isinstance(name, DatasetName)],
            snapshots=[name for name in parsed if isinstance(name, SnapshotName)],
            selection=Selection.from_params(params, None if params["name"] is None else roots),
            match=check_patterns(params["match"], "match"),
            states=params["states"] or [],
            detail=params["detail"],
            keep=params["properties"] or [],
            newest=params["newest"],
            limit=params["limit"],
        )

    @property
    def everything(self) -> bool:
        return self.selection.roots is None

    def parts(self, dataset: str) -> set[str] | None:
        """The requested snapshots of a dataset, by the part after the @; None for all of them."""
        if not self.selection.covers(dataset):
            return set()
        near = {dataset, *(map(str, DatasetName(dataset).ancestors()) if self.selection.deep else ())}
        if self.everything or not near.isdisjoint(self._whole):
            return None
        return {part for path in near for part in self._parts.get(path, ())}

    @functools.cached_property
    def _whole(self) -> set[str]:
        return {name.path for name in self.datasets}

    @functools.cached_property
    def _parts(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self.snapshots:
            found.setdefault(name.dataset.path, []).append(name.snapshot)
        return found

    def selects(self, part: str, parts: set[str] | None) -> bool:
        """True if the snapshot belongs to the answer. ``part``: after the @. ``parts``: see `parts`."""
        return (parts is None or part in parts) and (not self.match or matches(part, self.match))

    def expected(self) -> set[str]:
        """Full names of the snapshots that are absent if they are not found; none with ``select``."""
        if self.selection.selector:
            return set()
        return {str(name) for name in self.snapshots if self.selects(name.snapshot, self.parts(name.dataset.path))}


def _check_combinations(params: Mapping[str, Any]) -> None:
    states, keep = params["states"] or [], params["properties"] or []
    if params["detail"] == "names" and (states or keep):
        raise BadInput(
            f"{'states' if states else 'properties'} cannot be combined with detail=names, which does not read "
            "them; set detail to state or full"
        )
    for name in keep:
        if is_ours(name):
            raise BadInput(f"properties: {name!r} is internal to this collection; use the other keys of the result")
        check_property(name, None)
    newest, limit = params["newest"], params["limit"]
    if newest is not None and newest < 1:
        raise BadInput(f"newest is {newest}; give the number of snapshots to return of each dataset, 1 or more")
    if limit is not None and limit < 0:
        raise BadInput(f"limit is {limit}; give the number of snapshots to return, or 0 for the counts alone")


@dataclass
class Notes:
    """What was noticed on the way. ``spoilt``: name -> why it cannot be read. ``suspended``: pools."""

    spoilt: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    suspended: frozenset[str] = frozenset()


Found = Iterator[tuple[str, Result]]


def main(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    options, backend, notes = Options.from_params(params), Backend(), Notes()
    names_only = options.detail == "names"
    found: Found = iter(())
    if options.selection.roots != ():
        found = _names_only(backend, options, notes) if names_only else _full(backend, options, notes)
    counts: dict[str, int | None] = dict.fromkeys((*model.STATES, "total"), None if names_only else 0)
    path = params["output_file"]
    with _sink(path, write=not check_mode) as sink:
        if options.limit is None:
            _put(found, options, counts, sink)
        else:
            newest = Newest(options.limit)
            _put(found, options, counts, newest)
            for result in newest.results(functools.partial(_created, backend)):
                sink.add(result)
    return {
        "changed": False,
        "snapshots": sink.objects,
        "counts": counts,
        "output_file": path,
        **({"warnings": list(notes.spoilt.values())} if notes.spoilt else {}),
        **({"failed": True, "msg": "; ".join(notes.errors)} if notes.errors else {}),
    }


def _put(found: Found, options: Options, counts: dict[str, int | None], place: _Sink | Newest) -> None:
    """Count all that is found, and put what is in one of the requested states into its place."""
    total = 0
    for state, result in found:
        total += 1
        if state:
            counts[state] = (counts[state] or 0) + 1
        if not options.states or state in options.states:
            place.add(result)
    counts["total"] = total


def _created(backend: Backend, results: Sequence[Result]) -> dict[str, int | None]:
    """Snapshot -> when it was created. With detail=names one zfs process per batch of names."""
    if "created_epoch" in results[0]:
        return {result["name"]: result["created_epoch"] for result in results}
    values = read_properties(backend, [result["name"] for result in results], ["creation"]).values
    return {name: units.number(each["creation"].text) for name, each in values.items()}


def _names_only(backend: Backend, options: Options, notes: Notes) -> Found:
    """Names, GUIDs and order in one zfs process, which opens no snapshot. The state is empty unless it is absent."""
    absent = options.expected()
    single = not options.datasets and not options.selection.deep
    roots = [str(name) for name in options.snapshots] if single else options.selection.roots or ()
    depth = 0 if single else options.selection.depth
    command = zfs.list_(roots, "snapshot", ("name", "guid", "createtxg"), depth, by_dataset=True)
    rows = _of_datasets(options, _rows(backend, options, command, notes), absent)
    for name, guid, createtxg in _selected(backend, options, rows, notes) if options.selection.selector else rows:
        yield "", {"name": name, "guid": guid, "createtxg": int(createtxg), "state": None}
    for name in _missing(absent, notes):
        yield model.ABSENT, {"name": name, "guid": None, "createtxg": None, "state": model.ABSENT}


def _rows(backend: Backend, options: Options, command: list[str], notes: Notes) -> Iterator[list[str]]:
    """The rows of ``zfs list``. After the last one ``notes`` tells which named datasets are not there."""
    missing: list[str] = []
    try:
        yield from output.rows(backend.lines(command, missing, math.inf))
    except Suspended:
        asked = (DatasetName(root).pool for root in options.selection.roots or ())
        notes.suspended = inventory.suspended_pools(backend).intersection(asked)
        if not notes.suspended:
            raise
        notes.errors += [inventory.left_out(pool, "snapshots") for pool in sorted(notes.suspended)]
    if options.everything:  # then zfs leaves them out without a word
        suspended = sorted(inventory.suspended_pools(backend))
        notes.spoilt.update({pool: inventory.left_out(pool, "snapshots") for pool in suspended})
    named = sorted({name.path for name in options.datasets} & {*missing})
    if named:
        notes.errors.append(f"there is no dataset {', '.join(named)}; check name (zfs list shows all datasets)")


def _missing(absent: Iterable[str], notes: Notes) -> list[str]:
    """Those that are surely absent."""
    return [name for name in sorted(absent) if DatasetName(name.partition("@")[0]).pool not in notes.suspended]


def _of_datasets(options: Options, rows: Iterable[list[str]], absent: set[str]) -> Iterator[list[str]]:
    """The rows of the answer, with ``newest`` that many of each dataset. ``absent`` loses the names that are found."""
    for dataset, group in itertools.groupby(rows, lambda row: row[0].partition("@")[0]):
        parts = options.parts(dataset)
        chosen = _found((row for row in group if options.selects(row[0].partition("@")[2], parts)), absent)
        yield from chosen if options.newest is None else deque(chosen, options.newest)


def _found(rows: Iterable[list[str]], absent: set[str]) -> Iterator[list[str]]:
    for row in rows:
        absent.discard(row[0])
        yield row


def _selected(backend: Backend, options: Options, rows: Iterator[list[str]], notes: Notes) -> Iterator[list[str]]:
    """The rows of datasets that ``select`` chooses. One zfs process for each CHUNK of rows."""
    while chunk := list(itertools.islice(rows, CHUNK)):
        chosen = _chosen(backend, options, dict.fromkeys(row[0].partition("@")[0] for row in chunk), notes)
        yield from (row for row in chunk if row[0].partition("@")[0] in chosen)


def _chosen(backend: Backend, options: Options, datasets: Iterable[str], notes: Notes) -> set[str]:
    names, warnings = options.selection.choose(backend, datasets)
    notes.spoilt.update(zip(warnings, warnings))
    return {*names}


def _full(backend: Backend, options: Options, notes: Notes) -> Found:
    for snapshot in _Listing(backend, options, notes).snapshots():
        yield snapshot.state, snapshot.to_result()


@dataclass
class _Chunk:
    """Datasets in the order of the listing, and those of their snapshots that belong to the answer.

    ``parts``: see `Options.parts`, of the newest dataset. ``recent``: with the option ``newest``, its snapshots so far.
    """

    datasets: dict[str, Dataset] = field(default_factory=dict)
    chosen: list[Snapshot] = field(default_factory=list)
    parts: set[str] | None = None
    recent: deque[Snapshot] = field(default_factory=deque)
    argument_bytes: int = zfs.LOCAL_ARGUMENTS

    def add(self, options: Options, row: Sequence[str]) -> str | None:
        """Take one row of the listing. Returns the name if it is a snapshot of the answer, otherwise None."""
        name, guid, createtxg, origin, inconsistent = row
        path, at, part = name.partition("@")
        if at:
            chosen = options.selects(part, self.parts)
            return self._add_snapshot(path, Snapshot(name, guid, int(createtxg)), chosen, options.newest)
        if "#" in name:
            bookmark = Bookmark(name, guid, int(createtxg))
            path = name.partition("#")[0]
            if path in self.datasets and bookmark.cursor:
                self.datasets[path].bookmarks.append(bookmark)
            return None
        self.settle()
        self.parts = options.parts(name)
        if self.parts is None or self.parts:
            dataset = Dataset(name, guid, int(createtxg), None if origin == "-" else origin)
            dataset.inconsistent = inconsistent in ("1", "on", "yes")
            self.datasets[name] = dataset
        return None

    def _add_snapshot(self, path: str, snapshot: Snapshot, chosen: bool, newest: int | None) -> str | None:
        dataset = self.datasets.get(path)
        if dataset is None:
            return None
        prior = dataset.snapshots[-1] if dataset.snapshots else None
        snapshot.depends_on = objects.dependence(prior, dataset.origin)
        dataset.snapshots.append(snapshot)
        if len(dataset.snapshots) > 2 * RECENT:
            del dataset.snapshots[:RECENT]
        if not chosen:
            return None
        self.recent.append(snapshot)
        if newest is None:
            self.settle()
        elif len(self.recent) > newest:
            self.recent.popleft()
        return snapshot.name

    def settle(self) -> None:
        """No more snapshots of the newest dataset come that are newer than these."""
        self.chosen += self.recent
        self.argument_bytes -= sum(len(snapshot.name.encode()) + 3 for snapshot in self.recent)
        self.recent.clear()

    @property
    def full(self) -> bool:
        return len(self.chosen) + len(self.datasets) >= CHUNK or self.argument_bytes <= 0

    def keep_only(self, names: Collection[str]) -> None:
        """Drop the other datasets with their snapshots."""
        self.datasets = {name: dataset for name, dataset in self.datasets.items() if name in names}
        self.chosen = [snapshot for snapshot in self.chosen if snapshot.dataset in names]


class _Listing:
    """The snapshots of the answer: four zfs processes for up to CHUNK of them, and four for each further CHUNK.

    One more for each CHUNK with sources of replications, and one more if ``select`` chooses the datasets.
    """

    def __init__(self, backend: Backend, options: Options, notes: Notes) -> None:
        self.backend, self.options, self.notes = backend, options, notes
        self.running = read_activity(backend)
        self.expected = options.expected()
        self.absent = {*self.expected}  # those that were not found so far

    def snapshots(self) -> Iterator[Snapshot]:
        selection = self.options.selection
        command = zfs.list_(selection.roots or (), inventory.ALL_TYPES, depth=selection.depth, by_dataset=True)
        chunk = _Chunk()
        for row in _rows(self.backend, self.options, command, self.notes):
            self.absent.discard(chunk.add(self.options, row) or "")
            if chunk.full:
                last = list(chunk.datasets.values())[-1]
                yield from self._filled(chunk, last)
                chunk = _Chunk({last.name: last}, parts=chunk.parts, recent=chunk.recent)
        chunk.settle()
        yield from self._filled(chunk, None)
        creating = self.running.creating()
        for name in _missing(self.absent, self.notes):
            yield Snapshot(name, state=model.CREATING if name in creating else model.ABSENT)

    def _filled(self, chunk: _Chunk, unfinished: Dataset | None) -> Iterator[Snapshot]:
        """The chunk's snapshots as complete objects. Those inbound and being created come last in their dataset.

        ``unfinished``: the dataset whose snapshots the listing has not ended yet; its bookmarks come after them.
        """
        options = self.options
        if options.selection.selector:
            chunk.keep_only(_chosen(self.backend, options, chunk.datasets, self.notes))
        if unfinished and chunk.datasets:
            for dataset in inventory.read(self.backend, list(chunk.datasets), types="bookmark")[0].values():
                chunk.datasets[dataset.name].bookmarks = [bookmark for _cursor, bookmark in dataset.cursors()]
        objects.fill(
            self.backend, chunk.datasets, chunk.chosen, self.running, options.detail, options.keep, self.notes.spoilt
        )
        by_dataset: dict[str, list[Snapshot]] = {}
        for snapshot in chunk.chosen:
            if snapshot.state != model.ABSENT:
                by_dataset.setdefault(snapshot.dataset, []).append(snapshot)
            elif snapshot.name in self.expected:
                self.absent.add(snapshot.name)
        for name, dataset in chunk.datasets.items():
            existing = by_dataset.get(name, [])
            coming = [] if dataset is unfinished or options.newest else self._coming(dataset, existing)
            self.absent.difference_update(snapshot.name for snapshot in existing + coming)
            yield from existing + coming

    def _coming(self, dataset: Dataset, existing: Sequence[Snapshot]) -> list[Snapshot]:
        """The dataset's snapshots of the answer that are inbound or being created."""
        known = {snapshot.name for snapshot in existing} | {snapshot.name for snapshot in dataset.snapshots}
        inbound = objects.inbound_of(dataset, self.running)
        found = [inbound] if inbound else []
        found += [
            Snapshot(name, state=model.CREATING)
            for name in sorted(self.running.creating() - known)
            if name.partition("@")[0] == dataset.name
        ]
        parts = self.options.parts(dataset.name)
        return [snapshot for snapshot in found if self.options.selects(snapshot.snapshot, parts)]


class _Sink:
    """Where the objects are put: the result, a file of JSON lines, or nowhere."""

    def __init__(self, stream: IO[str] | None = None, keep: bool = False) -> None:
        self.objects: list[dict[str, Any]] = []
        self._stream, self._keep = stream, keep

    def add(self, result: dict[str, Any]) -> None:
        if self._stream:
            self._stream.write(json.dumps(shown(result)) + "\n")
        elif self._keep:
            self.objects.append(result)


@contextlib.contextmanager
def _sink(path: str | None, write: bool) -> Iterator[_Sink]:
    """``path``: the file, or None for the result. The file appears only when it is complete."""
    if path is None:
        yield _Sink(keep=True)
        return
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path) or not os.access(folder, os.W_OK | os.X_OK):
        raise BadInput(
            f"output_file {path!r} cannot be written; give a file in an existing directory that this user can write to"
        )
    if not write:
        yield _Sink()
        return
    handle, draft = tempfile.mkstemp(prefix=".cerss.zfs-", dir=folder)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            yield _Sink(stream)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise
