# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads a backend into the model, with as few zfs processes as possible.

`read` is fast, since zfs opens no snapshot for it. It reads names, GUIDs, order, origins and bookmarks. `read_values`
and `read_holds` add the rest for the names that need it. `read_things` and `read_tree` do without a `read` before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.cerss.zfs.plugins.module_utils._core import model, units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import (
    BadInput,
    GateRefused,
    Suspended,
    Unreachable,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    Announcement,
    CloneOrigin,
    LifetimeMark,
    SourceMark,
    TemporaryMark,
    is_ours,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Bookmark, Dataset, Hold, Snapshot, Value
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName
from ansible_collections.cerss.zfs.plugins.module_utils._core.pool import SUSPENDED
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.values import (
    MOST,
    Properties,
    in_batches,
    read_all,
    read_properties,
)
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import output
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import pool as zpool
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.errors import zfs_error
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.properties import Requested, at_creation
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.token import decode_token

ALL_TYPES = "filesystem,volume,snapshot,bookmark"
TREE = "filesystem,volume,snapshot"
SNAPSHOT_VALUES = (
    "creation", "defer_destroy", "userrefs", "clones", "used", "referenced", "written",
    TemporaryMark.NAME, LifetimeMark.NAME,
)  # fmt: skip
DATASET_VALUES = (
    "type",
    "origin",
    "receive_resume_token",
    "inconsistent",
    SourceMark.NAME,
    Announcement.NAME,
    CloneOrigin.NAME,
)

Inventory = dict[str, Dataset]

_NUMBERS = {"createtxg": "createtxg", "creation": "created", "userrefs": "userrefs", "used": "used",
            "referenced": "referenced", "written": "written"}  # fmt: skip


def read(
    backend: Backend, names: Sequence[str], depth: int | None = 1, types: str = ALL_TYPES
) -> tuple[Inventory, list[str]]:
    """(datasets by name, names that do not exist), by `commands.FAST_COLUMNS`. One process per batch of names.

    ``depth``: 0 what is named, 1 with their snapshots and bookmarks, None the whole trees. No names: all pools.
    ``depth`` 1 also lists the direct children; only their names are kept, in ``children``.
    """
    found: Inventory = {}
    missing: list[str] = []
    for batch in zfs.batches(list(names), max_bytes=backend.argument_bytes) or [[]]:
        lines, more = backend.read(zfs.list_(batch, types, depth=depth if names else None))
        missing += more
        for row in output.listed(lines, backend.endpoint.label):
            _add(found, *row)
    if "filesystem" in types:
        everything, found = found, _asked_for(found, names)
        glued = [name for name in everything if name not in found and name.endswith(tuple(names))]
        if names and glued:  # to a text without a line end
            raise output.noise(glued[0], backend.endpoint.label)
    for name in found:
        parent = found.get(name.rpartition("/")[0])
        if parent is not None:
            parent.children.append(name)
    if depth == 1 and names:
        requested = set(names)
        found = {name: dataset for name, dataset in found.items() if name in requested}
    return found, missing


def read_answering(
    backend: Backend, names: Sequence[str], depth: int | None = 1, types: str = ALL_TYPES
) -> tuple[Inventory, list[str], list[str]]:
    """As `read`, but without the suspended pools, which are the third value.

    ``zfs list`` leaves out suspended pools without a word, unless one is named. One process more if none is.
    """
    try:
        found, missing = read(backend, names, depth, types)
        suspended = frozenset[str]() if names else suspended_pools(backend)
    except Suspended:
        suspended = suspended_pools(backend)
        others = [name for name in names if DatasetName(name).pool not in suspended]
        if len(others) == len(names):
            raise
        found, missing = read(backend, others, depth, types) if others else ({}, [])
    asked = {DatasetName(name).pool for name in names or suspended}
    return found, missing, sorted((suspended & asked) - {*found})


def _asked_for(found: Inventory, names: Sequence[str]) -> Inventory:
    """What lies at or below the names, and has a row of its own: the other side may list anything."""
    roots = {*names}
    return {
        name: dataset
        for name, dataset in found.items()
        if dataset.guid and (not names or any(each in roots for each in _at_and_above(name)))
    }


def _at_and_above(name: str) -> Iterator[str]:
    while name:
        yield name
        name = name.rpartition("/")[0]


def _add(found: Inventory, name: str, guid: str, createtxg: int, origin: str | None, inconsistent: bool) -> None:
    """Put a row of the fast columns into the inventory."""
    if "@" in name:
        _dataset(found, name.partition("@")[0]).snapshots.append(Snapshot(name, guid, createtxg))
    elif "#" in name:
        _dataset(found, name.partition("#")[0]).bookmarks.append(Bookmark(name, guid, createtxg))
    else:
        dataset = _dataset(found, name)
        dataset.guid, dataset.createtxg, dataset.origin, dataset.inconsistent = guid, createtxg, origin, inconsistent


def _dataset(found: Inventory, name: str) -> Dataset:
    return found.setdefault(name, Dataset(name))


def read_values(
    backend: Backend, found: Inventory, names: Iterable[str], properties: Sequence[str] | None = None,
    keep: Collection[str] = (), spoilt: dict[str, str] | None = None,
) -> list[str]:  # fmt: skip
    """Read the properties of the named datasets and snapshots of ``found``. Returns the names that do not exist.

    Two processes per batch of names, one if all properties are native or all are of users. Two more if zfs has cut a
    list of clones. ``keep``: see `fill_snapshot`. ``spoilt`` gets the names that cannot be read, with the reason;
    without it they are an error.
    """
    missing: list[str] = []
    properties = properties or (*DATASET_VALUES, *SNAPSHOT_VALUES)
    snapshots = {snapshot.name: snapshot for dataset in found.values() for snapshot in dataset.snapshots}
    bookmarks = {bookmark.name: bookmark for dataset in found.values() for bookmark in dataset.bookmarks}
    cut: list[Snapshot] = []
    for part in in_batches(backend, names, properties):
        missing += part.missing
        if spoilt is None:
            part.check()
        else:
            spoilt.update(part.spoilt)
        for name, values in part.values.items():
            if name in snapshots:
                _fill_snapshot(snapshots[name], values, keep)
                cut += [snapshots[name]] if _has_cut_clones(values) else []
            elif name in found:
                _fill_dataset(found[name], values)
            elif name in bookmarks and "creation" in values:
                bookmarks[name].created = units.number(values["creation"].text)
    _read_clones(backend, cut)
    return missing


def _has_cut_clones(values: Mapping[str, Value]) -> bool:
    return "clones" in values and output.is_cut(values["clones"].text)


def _read_clones(backend: Backend, snapshots: Iterable[Snapshot]) -> None:
    """Read all clones of snapshots of which zfs has shown some. One process per pool, and one per batch of datasets."""
    by_name = {snapshot.name: snapshot for snapshot in snapshots}
    found: dict[str, set[str]] = {name: set() for name in by_name}
    with contextlib.suppress(GateRefused):  # then those that are known are all that the gate shows
        for pool in sorted({DatasetName(snapshot.dataset).pool for snapshot in by_name.values()}):
            lines, _missing = backend.read(zfs.list_([pool], "filesystem,volume", depth=None))
            for name, _guid, _txg, origin, _inconsistent in output.listed(lines, backend.endpoint.label):
                found.get(origin or "", set()).add(name)
        # zfs list hides the receives that start from the snapshots.
        hidden = [f"{snapshot.dataset}/%recv" for snapshot in by_name.values()] if by_name else []
        for name, values in read_properties(backend, hidden, ("origin",)).values.items():
            found.get(values["origin"].text, set()).add(name)
    for name, snapshot in by_name.items():
        snapshot.clones = sorted({*found[name], *(snapshot.clones or [])})


def _fill_dataset(dataset: Dataset, values: Mapping[str, Value]) -> None:
    for property_name, value in values.items():
        fill_dataset(dataset, property_name, value.source, value.text)


def _fill_snapshot(snapshot: Snapshot, values: Mapping[str, Value], keep: Collection[str] = ()) -> None:
    for property_name, value in values.items():
        fill_snapshot(snapshot, property_name, value.source, value.text, keep)


def fill_dataset(dataset: Dataset, property_name: str, source: str, value: str) -> None:
    """Put a record of ``zfs get`` into the dataset."""
    if is_ours(property_name):
        if source == "local":
            dataset.ours[property_name] = value
        return
    dataset.values[property_name] = Value(value, source)
    if property_name == "receive_resume_token" and source != "none":
        dataset.token = decode_token(value)
    elif property_name == "guid" and units.number(value) is not None:
        dataset.guid = value
    elif property_name == "origin":
        dataset.origin = None if value in ("", "-") else value


def fill_snapshot(
    snapshot: Snapshot, property_name: str, source: str, value: str, keep: Collection[str] = ()
) -> None:  # fmt: skip
    """Put a record of ``zfs get`` into the snapshot.

    ``properties`` of the snapshot gets the user properties that are local or received, and the native ones in ``keep``.
    """
    if property_name in keep or (":" in property_name and not is_ours(property_name)):
        snapshot.properties = snapshot.properties or {}
        if ":" not in property_name or source in ("local", "received"):
            snapshot.properties[property_name] = value
    if property_name == "guid":
        snapshot.guid = value
    elif property_name in _NUMBERS:
        setattr(snapshot, _NUMBERS[property_name], units.number(value))
    elif property_name == "defer_destroy":
        if value == "on":
            snapshot.state = model.PENDING_DELETE
    elif property_name == "clones":
        names = value.split(",") if value not in ("", "-") else []
        snapshot.clones = sorted(names[:-1] if output.is_cut(value) else names)
    elif property_name == TemporaryMark.NAME:
        snapshot.temporary = source == "local" and TemporaryMark.parse(value) == TemporaryMark()
    elif property_name == LifetimeMark.NAME:
        lifetime = LifetimeMark.parse(value)
        snapshot.lifetime = lifetime.seconds if source == "local" and isinstance(lifetime, LifetimeMark) else None


@dataclass
class Things:
    """Datasets and snapshots by name, without each other's snapshots and children."""

    datasets: Inventory = field(default_factory=dict)
    snapshots: dict[str, Snapshot] = field(default_factory=dict)

    def __contains__(self, name: object) -> bool:
        return name in self.datasets or name in self.snapshots

    def update(self, other: Things) -> None:
        self.datasets.update(other.datasets)
        self.snapshots.update(other.snapshots)


def read_things(backend: Backend, names: Iterable[str]) -> Things:
    """The named datasets and snapshots that exist, with all properties. Three processes, one if none exists."""
    return _things(backend, read_all(backend, names))


def read_tree(
    backend: Backend, names: Sequence[str], properties: Sequence[str], types: str, depth: int | None = None
) -> Things:
    """The datasets and snapshots at and below ``names``. ``types`` and ``depth``: as for `commands.list_`.

    Two processes for a batch of names if all properties are native, one if nothing is there.
    """
    listed: list[str] = []
    for batch in zfs.batches(list(names), max_bytes=backend.argument_bytes):
        lines, _missing = backend.read(zfs.list_(batch, types, depth=depth))
        listed += [row[0] for row in output.rows(lines)]
    return _things(backend, read_properties(backend, listed, properties))


def _things(backend: Backend, properties: Properties) -> Things:
    properties.check()
    found = Things()
    for name, values in properties.values.items():
        if "@" in name:
            _fill_snapshot(found.snapshots.setdefault(name, Snapshot(name)), values)
        else:
            _fill_dataset(_dataset(found.datasets, name), values)
    _read_clones(backend, [found.snapshots[name] for name, values in properties.values.items()
                           if "@" in name and _has_cut_clones(values)])  # fmt: skip
    return found


def pool_states(backend: Backend, timeout: float | None = None) -> dict[str, str]:
    """Imported pool -> its state as the kernel tells it (`_core.pool`). One process, which waits for no pool."""
    return zpool.states(backend.run(zfs.pool_states(), check=False, timeout=timeout).stdout.splitlines())


def suspended_pools(backend: Backend) -> frozenset[str]:
    """One process, as for `pool_states`."""
    return frozenset(pool for pool, state in pool_states(backend).items() if state == SUSPENDED)


def left_out(pool: str, what: str) -> str:
    """A message. ``what``: of a suspended pool is missing in a result."""
    return f"pool {pool} is suspended, so its {what} are missing here; see zfs_pool_info"


def check_values(backend: Backend, name: str, requested: Requested, size: str | int | None) -> None:
    """Raise BadInput for a value that zfs does not accept, so that check mode fails as a real run would.

    ``size``: of a new volume (zvol) in bytes; None for a filesystem.
    """
    setting = {key: text for key, text in at_creation(requested).items() if key not in ("volsize", "keylocation")}
    if not setting:
        return
    command = zfs.verify(name, setting, None if size is None else int(size))
    result = backend.run(command, check=False)
    if result.rc != 0:
        error = zfs_error(command, result.rc, result.stderr, backend.endpoint.label)
        if isinstance(error, (GateRefused, Unreachable)):
            raise error
        reason = " ".join(result.stderr.replace(f"cannot verify '{name}':", "").split())
        text = f"zfs does not accept the properties for {name}: {reason}. Nothing was changed"
        raise BadInput(text, stderr=result.stderr)


def read_holds(backend: Backend, snapshots: Iterable[Snapshot]) -> None:
    """Read the holds of the snapshots. ``userrefs`` must have been read. One process per batch of held snapshots.

    Snapshots for which ``zfs holds`` prints more or fewer holds than ``userrefs`` are read one at a time, in case a
    tag looks like a line about them.
    """
    by_name = {snapshot.name: snapshot for snapshot in snapshots}
    for snapshot in by_name.values():
        snapshot.holds = []
    held = [name for name, snapshot in by_name.items() if snapshot.userrefs != 0]
    for batch in zfs.batches(held, MOST, backend.argument_bytes):
        found = _holds(backend, batch)
        doubtful = [name for name in batch if by_name[name].userrefs not in (None, len(found.get(name, [])))]
        if doubtful and len(batch) > 1:
            found = _holds(backend, [name for name in batch if name not in {*doubtful}])
            for name in doubtful:
                found.update(_holds(backend, [name]))
        for name in batch:
            by_name[name].holds = found.get(name, [])


def _holds(backend: Backend, names: list[str]) -> dict[str, list[Hold]]:
    """The holds of snapshots, without those that do not exist any more."""
    if not names:
        return {}
    command = zfs.holds(names)
    result = backend.run(command, check=False)
    if result.rc != 0 and "invalid option" in result.stderr:  # OpenZFS 2.1 has no -p
        command = zfs.holds(names, exact_time=False)
        result = backend.run(command, check=False)
    missing, other = output.missing(result.stderr, result.rc)
    if result.rc != 0 and (other or not (missing or "no datasets available" in result.stderr)):
        raise zfs_error(command, result.rc, result.stderr, backend.endpoint.label)
    return output.holds(result.stdout.split("\n")[:-1], frozenset(names))
