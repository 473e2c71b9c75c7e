# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zfs_snapshot_info. Snapshots are read, completed and written in chunks, so memory does not grow with their number."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import model
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import is_ours
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Bookmark, Dataset, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import (
    DatasetName,
    SnapshotName,
    check_property,
    check_unique,
    dataset_or_snapshot,
    matches,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.text import shown
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import read_activity
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot import objects
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import output

CHUNK = 3000  # objects that are completed at a time, which bounds the memory
RECENT = 1000  # snapshots of a dataset that are remembered, since an inbound one is based on one of the newest


@dataclass
class Options:
    """The checked options. ``keep``: the option ``properties``. ``limit``: None for all."""

    datasets: list[DatasetName]
    snapshots: list[SnapshotName]
    recursive: bool = False
    match: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    detail: str = "state"
    keep: list[str] = field(default_factory=list)
    limit: int | None = None

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Options:
        names = params["name"] or []
        check_unique(names, "name")
        parsed = [dataset_or_snapshot(name) for name in names]
        detail, states, keep = params["detail"], params["states"] or [], params["properties"] or []
        if detail == "names" and (states or keep):
            raise BadInput(
                f"{'states' if states else 'properties'} cannot be combined with detail=names, which does not read "
                "them; set detail to state or full"
            )
        for name in keep:
            if is_ours(name):
                raise BadInput(f"properties: {name!r} is internal to this collection; use the other keys of the result")
            check_property(name, None)
        if params["limit"] is not None and params["limit"] < 0:
            raise BadInput(
                f"limit is {params['limit']}; give the number of snapshots to return, or 0 for the counts alone"
            )
        return cls(
            datasets=[name for name in parsed if isinstance(name, DatasetName)],
            snapshots=[name for name in parsed if isinstance(name, SnapshotName)],
            recursive=params["recursive"],
            match=params["match"] or [],
            states=states,
            detail=detail,
            keep=keep,
            limit=params["limit"],
        )

    @property
    def everything(self) -> bool:
        return not self.datasets and not self.snapshots

    def parts(self, dataset: str) -> set[str] | None:
        """The requested snapshots of a dataset, by the part after the @; None for all of them."""
        near = {dataset, *(map(str, DatasetName(dataset).ancestors()) if self.recursive else ())}
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

    def roots(self) -> list[str]:
        """Names of the datasets to list, in the order of the option ``name``; empty for all pools."""
        return list(
            dict.fromkeys([str(name) for name in self.datasets] + [str(name.dataset) for name in self.snapshots])
        )

    def depth(self) -> int | None:
        return None if self.recursive or self.everything else 1


def main(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    options = Options.from_params(params)
    backend = Backend()
    spoilt: dict[str, str] = {}
    found = _names_only(backend, options) if options.detail == "names" else _full(backend, options, spoilt)
    counts: dict[str, int | None] = dict.fromkeys(model.STATES, None if options.detail == "names" else 0)
    counts["total"] = total = listed = 0
    path = params["output_file"]
    with _sink(path, write=not check_mode) as sink:
        for state, result in found:
            total += 1
            if state:
                counts[state] = (counts[state] or 0) + 1
            if (not options.states or state in options.states) and (options.limit is None or listed < options.limit):
                listed += 1
                sink.add(result)
    counts["total"] = total
    result = {"changed": False, "snapshots": sink.objects, "counts": counts, "output_file": path}
    return {**result, **({"warnings": list(spoilt.values())} if spoilt else {})}


Found = Iterator[tuple[str, dict[str, Any]]]


def _names_only(backend: Backend, options: Options) -> Found:
    """Names, GUIDs and order in one zfs process, which opens no snapshot. The state is empty unless it is absent."""
    roots = options.roots() if options.datasets or options.recursive else [str(name) for name in options.snapshots]
    depth = options.depth() if options.datasets or options.recursive or options.everything else 0
    absent = {str(name) for name in options.snapshots}
    missing: list[str] = []
    command = zfs.list_(roots, "snapshot", ("name", "guid", "createtxg"), depth, by_dataset=True)
    current, parts = "", None
    for name, guid, createtxg in output.rows(backend.lines(command, missing, math.inf)):
        dataset, _at, part = name.partition("@")
        if dataset != current:
            current, parts = dataset, options.parts(dataset)
        if options.selects(part, parts):
            absent.discard(name)
            yield "", {"name": name, "guid": guid, "createtxg": int(createtxg), "state": None}
    _check_datasets(options, missing)
    for name in sorted(absent):
        if options.selects(name.partition("@")[2], None):
            yield model.ABSENT, {"name": name, "guid": None, "createtxg": None, "state": model.ABSENT}


def _check_datasets(options: Options, missing: Iterable[str]) -> None:
    named = sorted({name.path for name in options.datasets} & set(missing))
    if named:
        raise BadInput(f"there is no dataset {', '.join(named)}; check name (zfs list shows all datasets)")


def _full(backend: Backend, options: Options, spoilt: dict[str, str]) -> Found:
    """``spoilt`` gets the names that cannot be read, with the reason."""
    for snapshot in _Listing(backend, options, spoilt).snapshots():
        yield snapshot.state, snapshot.to_result()


@dataclass
class _Chunk:
    """Datasets in the order of the listing, and those of their snapshots that belong to the answer.

    ``parts``: see `Options.parts`, of the newest dataset.
    """

    datasets: dict[str, Dataset] = field(default_factory=dict)
    chosen: list[Snapshot] = field(default_factory=list)
    parts: set[str] | None = None
    argument_bytes: int = zfs.LOCAL_ARGUMENTS

    def add(self, options: Options, row: Sequence[str]) -> str | None:
        """Take one row of the listing. Returns the name if it is a snapshot of the answer, otherwise None."""
        name, guid, createtxg, origin, inconsistent = row
        path, at, part = name.partition("@")
        if at:
            return self._add_snapshot(path, Snapshot(name, guid, int(createtxg)), options.selects(part, self.parts))
        if "#" in name:
            bookmark = Bookmark(name, guid, int(createtxg))
            path = name.partition("#")[0]
            if path in self.datasets and bookmark.cursor:
                self.datasets[path].bookmarks.append(bookmark)
            return None
        self.parts = options.parts(name)
        if self.parts is None or self.parts:
            dataset = Dataset(name, guid, int(createtxg), None if origin == "-" else origin)
            dataset.inconsistent = inconsistent in ("1", "on", "yes")
            self.datasets[name] = dataset
        return None

    def _add_snapshot(self, path: str, snapshot: Snapshot, chosen: bool) -> str | None:
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
        self.chosen.append(snapshot)
        self.argument_bytes -= len(snapshot.name.encode()) + 3
        return snapshot.name

    @property
    def full(self) -> bool:
        return len(self.chosen) + len(self.datasets) >= CHUNK or self.argument_bytes <= 0


class _Listing:
    """The snapshots of the answer: four zfs processes for up to CHUNK of them, and four for each further CHUNK.

    One more for each CHUNK with sources of replications.
    """

    def __init__(self, backend: Backend, options: Options, spoilt: dict[str, str]) -> None:
        self.backend, self.options, self.spoilt = backend, options, spoilt
        self.running = read_activity(backend)
        self.absent = {str(name) for name in options.snapshots}  # requested and not found so far

    def snapshots(self) -> Iterator[Snapshot]:
        options = self.options
        missing: list[str] = []
        command = zfs.list_(options.roots(), inventory.ALL_TYPES, depth=options.depth(), by_dataset=True)
        chunk = _Chunk()
        for row in output.rows(self.backend.lines(command, missing, math.inf)):
            self.absent.discard(chunk.add(options, row) or "")
            if chunk.full:
                last = list(chunk.datasets.values())[-1]
                yield from self._filled(chunk, last)
                chunk = _Chunk({last.name: last}, parts=chunk.parts)
        _check_datasets(options, missing)
        yield from self._filled(chunk, None)
        creating = self.running.creating()
        for name in sorted(self.absent):
            if options.selects(name.partition("@")[2], None):
                yield Snapshot(name, state=model.CREATING if name in creating else model.ABSENT)

    def _filled(self, chunk: _Chunk, unfinished: Dataset | None) -> Iterator[Snapshot]:
        """The chunk's snapshots as complete objects. Those inbound and being created come last in their dataset.

        ``unfinished``: the dataset whose snapshots the listing has not ended yet; its bookmarks come after them.
        """
        options = self.options
        if unfinished:
            for dataset in inventory.read(self.backend, list(chunk.datasets), types="bookmark")[0].values():
                chunk.datasets[dataset.name].bookmarks = [bookmark for _cursor, bookmark in dataset.cursors()]
        objects.fill(
            self.backend, chunk.datasets, chunk.chosen, self.running, options.detail, options.keep, self.spoilt
        )
        by_dataset: dict[str, list[Snapshot]] = {}
        for snapshot in chunk.chosen:
            if snapshot.state != model.ABSENT:
                by_dataset.setdefault(snapshot.dataset, []).append(snapshot)
            elif not options.everything and snapshot.name in {str(name) for name in options.snapshots}:
                self.absent.add(snapshot.name)
        for name, dataset in chunk.datasets.items():
            existing = by_dataset.get(name, [])
            coming = [] if dataset is unfinished else self._coming(dataset, existing)
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
