# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The verb of zfs_snapshot_info: a stream from zfs to the result or to a file, in flat memory however long it is."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
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
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import Activity, read_activity
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot import objects
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import output

CHUNK = 3000  # objects that are filled in at a time: what bounds the memory
RECENT = 1000  # snapshots of a dataset that are remembered: what arrives is based on one of the newest


@dataclass
class Options:
    """What is asked for."""

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
                f"{'states' if states else 'properties'} cannot be combined with detail=names, which reads neither; "
                "set detail to state or full"
            )
        for name in keep:
            if is_ours(name):
                raise BadInput(f"properties: {name!r} is this collection's own; the object's other keys tell it")
            check_property(name, None)
        if params["limit"] is not None and params["limit"] < 0:
            raise BadInput(f"limit is {params['limit']}; give the number of objects to return, 0 for the counts alone")
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
        """The parts after the @ that are asked for of a dataset; None for all of them."""
        near = {dataset, *(map(str, DatasetName(dataset).ancestors()) if self.recursive else ())}
        if self.everything or any(dataset.path in near for dataset in self.datasets):
            return None
        return {name.snapshot for name in self.snapshots if name.dataset.path in near}

    def wants(self, part: str, parts: set[str] | None) -> bool:
        """Does the part after the @ belong to the answer, when the dataset's ``parts`` are these?"""
        return (parts is None or part in parts) and (not self.match or matches(part, self.match))

    def roots(self) -> list[str]:
        """The datasets to look at."""
        return list(
            dict.fromkeys([str(name) for name in self.datasets] + [str(name.dataset) for name in self.snapshots])
        )

    def depth(self) -> int | None:
        return None if self.recursive or self.everything else 1


def main(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The verb."""
    options = Options.from_params(params)
    backend = Backend()
    found = _names_only(backend, options) if options.detail == "names" else _full(backend, options)
    counts: dict[str, int | None] = dict.fromkeys(model.STATES, None if options.detail == "names" else 0)
    counts["total"] = total = listed = 0
    output = params["output_file"]
    with _sink(output, write=not check_mode) as sink:
        for state, result in found:
            total += 1
            if state:
                counts[state] = (counts[state] or 0) + 1
            if (not options.states or state in options.states) and (options.limit is None or listed < options.limit):
                listed += 1
                sink.add(result)
    counts["total"] = total
    return {"changed": False, "snapshots": sink.objects, "counts": counts, "output_file": output}


Found = Iterator[tuple[str, dict[str, Any]]]


def _names_only(backend: Backend, options: Options) -> Found:
    """The fast path: names, GUIDs and order, without opening a snapshot."""
    roots = options.roots() if options.datasets or options.recursive else [str(name) for name in options.snapshots]
    depth = options.depth() if options.datasets or options.recursive or options.everything else 0
    missing = {str(name) for name in options.snapshots}
    gone: list[str] = []
    command = zfs.list_(roots, "snapshot", ("name", "guid", "createtxg"), depth, by_dataset=True)
    current, parts = "", None
    for name, guid, createtxg in output.rows(backend.lines(command, gone)):
        dataset, _at, part = name.partition("@")
        if dataset != current:
            current, parts = dataset, options.parts(dataset)
        if options.wants(part, parts):
            missing.discard(name)
            yield "", {"name": name, "guid": guid, "createtxg": int(createtxg), "state": None}
    _check_volumes(options, gone)
    for name in sorted(missing):
        if options.wants(name.partition("@")[2], None):
            yield model.ABSENT, {"name": name, "guid": None, "createtxg": None, "state": model.ABSENT}


def _check_volumes(options: Options, gone: Iterable[str]) -> None:
    missing = sorted({name.path for name in options.datasets} & set(gone))
    if missing:
        raise BadInput(f"there is no volume {', '.join(missing)}; name volumes as 'zfs list' shows them")


def _full(backend: Backend, options: Options) -> Found:
    for snapshot in _objects(backend, options):
        yield snapshot.state, snapshot.to_result()


@dataclass
class _Chunk:
    """Datasets in the order of the listing, and those of their snapshots that belong to the answer."""

    datasets: dict[str, Dataset] = field(default_factory=dict)
    chosen: list[Snapshot] = field(default_factory=list)
    argument_bytes: int = zfs.LOCAL_ARGUMENTS

    def choose(self, snapshot: Snapshot) -> None:
        self.chosen.append(snapshot)
        self.argument_bytes -= len(snapshot.name.encode()) + 3

    @property
    def full(self) -> bool:
        return len(self.chosen) + len(self.datasets) >= CHUNK or self.argument_bytes <= 0


def _objects(backend: Backend, options: Options) -> Iterator[Snapshot]:
    """Three zfs processes for up to CHUNK snapshots, and three more for each further CHUNK."""
    running = read_activity(backend)
    missing = {str(name) for name in options.snapshots}
    gone: list[str] = []
    command = zfs.list_(options.roots(), inventory.ALL_TYPES, depth=options.depth(), by_dataset=True)
    chunk = _Chunk()
    parts: set[str] | None = None
    for name, guid, createtxg, origin, inconsistent in output.rows(backend.lines(command, gone)):
        path, at, part = name.partition("@")
        if at:
            dataset = chunk.datasets.get(path)
            if dataset is None:
                continue
            snapshot = Snapshot(name, guid, int(createtxg))
            snapshot.depends_on = objects.dependence(
                dataset.snapshots[-1] if dataset.snapshots else None, dataset.origin
            )
            dataset.snapshots.append(snapshot)
            if len(dataset.snapshots) > 2 * RECENT:
                del dataset.snapshots[:RECENT]
            if options.wants(part, parts):
                missing.discard(name)
                chunk.choose(snapshot)
        elif "#" in name:
            bookmark = Bookmark(name, guid, int(createtxg))
            path = name.partition("#")[0]
            if path in chunk.datasets and bookmark.cursor:
                chunk.datasets[path].bookmarks.append(bookmark)
        else:
            parts = options.parts(name)
            if parts is None or parts:
                chunk.datasets[name] = Dataset(
                    name,
                    guid,
                    int(createtxg),
                    None if origin == "-" else origin,
                    inconsistent=inconsistent in ("1", "on", "yes"),
                )
        if chunk.full:
            last = list(chunk.datasets.values())[-1]
            yield from _filled(backend, options, chunk, running, missing, last)
            chunk = _Chunk({last.name: last})
    _check_volumes(options, gone)
    yield from _filled(backend, options, chunk, running, missing, None)
    for name in sorted(missing):
        if options.wants(name.partition("@")[2], None):
            yield Snapshot(name, state=model.CREATING if name in running.creating() else model.ABSENT)


def _filled(
    backend: Backend, options: Options, chunk: _Chunk, running: Activity, missing: set[str],
    unfinished: Dataset | None,
) -> Iterator[Snapshot]:  # fmt: skip
    """The chunk's snapshots as full objects, each dataset's inbound and coming ones after its others.

    ``unfinished``: the dataset whose snapshots the listing has not ended yet.
    """
    if unfinished:  # bookmarks are listed after the snapshots, but the cursors among them are wanted now
        for dataset in inventory.read(backend, list(chunk.datasets), types="bookmark")[0].values():
            chunk.datasets[dataset.name].bookmarks = [bookmark for _cursor, bookmark in dataset.cursors()]
    objects.fill(backend, chunk.datasets, chunk.chosen, running, options.detail, options.keep)
    by_dataset: dict[str, list[Snapshot]] = {}
    for snapshot in chunk.chosen:
        if snapshot.state != model.ABSENT:
            by_dataset.setdefault(snapshot.dataset, []).append(snapshot)
        elif not options.everything and snapshot.name in {str(name) for name in options.snapshots}:
            missing.add(snapshot.name)
    creating = running.creating()
    for name, dataset in chunk.datasets.items():
        here = by_dataset.get(name, [])
        if dataset is not unfinished:
            known = {snapshot.name for snapshot in here} | {snapshot.name for snapshot in dataset.snapshots}
            inbound = objects.arriving(dataset, running)
            coming = [inbound] if inbound else []
            coming += [
                Snapshot(full, state=model.CREATING)
                for full in sorted(creating - known)
                if full.partition("@")[0] == name
            ]
            parts = options.parts(name)
            here = here + [snapshot for snapshot in coming if options.wants(snapshot.snapshot, parts)]
        missing.difference_update(snapshot.name for snapshot in here)
        yield from here


class _Sink:
    """Where the objects go: the result, a file of JSON lines, or nowhere."""

    def __init__(self, stream: IO[str] | None = None, keep: bool = False) -> None:
        self.objects: list[dict[str, Any]] = []
        self._stream, self._keep = stream, keep

    def add(self, result: dict[str, Any]) -> None:
        if self._stream:
            self._stream.write(json.dumps(result) + "\n")
        elif self._keep:
            self.objects.append(result)


@contextlib.contextmanager
def _sink(path: str | None, write: bool) -> Iterator[_Sink]:
    """The file appears when it is complete, or not at all."""
    if path is None:
        yield _Sink(keep=True)
        return
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path) or not os.access(folder, os.W_OK | os.X_OK):
        raise BadInput(
            f"output_file {path!r} cannot be written: it must be a file in a folder that is there and writable"
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
