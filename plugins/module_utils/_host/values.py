# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads properties, whatever text is in them.

Whoever may set a user property can write text into it that looks like what ``zfs get`` prints about other datasets.
`output.values` notices. The names in doubt are then read one at a time, so such a text spoils no other dataset.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Value
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import is_user_property
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import output

MOST = 4000  # names in one command, which bounds the memory
PROPERTY_BYTES = 30_000  # of property names in one command; with `commands.ARGUMENTS` less than 128 KiB


@dataclass
class Properties:
    """What was read: values by name and property, names that do not exist, and names that cannot be read and why."""

    values: dict[str, dict[str, Value]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    spoilt: dict[str, str] = field(default_factory=dict)

    def add(self, values: dict[str, dict[str, Value]]) -> None:
        for name, more in values.items():
            self.values.setdefault(name, {}).update(more)

    def update(self, other: Properties) -> None:
        self.values.update(other.values)
        self.missing += other.missing
        self.spoilt.update(other.spoilt)

    def drop_incomplete(self) -> None:
        """Remove the values of names that vanished while they were read, or could not be read in full."""
        for name in [*self.missing, *self.spoilt]:
            self.values.pop(name, None)

    def check(self) -> None:
        """Raise CerssError if a name could not be read."""
        for reason in self.spoilt.values():
            raise CerssError(reason)


def read_properties(backend: Backend, names: Iterable[str], properties: Sequence[str]) -> Properties:
    """The properties of datasets, snapshots and bookmarks. See `in_batches` for the number of processes."""
    found = Properties()
    for part in in_batches(backend, names, properties):
        found.update(part)
    return found


def in_batches(backend: Backend, names: Iterable[str], properties: Sequence[str]) -> Iterator[Properties]:
    """`read_properties` for at most MOST names at a time.

    One process for native and one for user properties. They never share one: so no user property can stand for a
    native one.
    """
    unique = list(dict.fromkeys(properties))
    native = [name for name in unique if not is_user_property(name)]
    user = [name for name in unique if is_user_property(name)]
    lists = [part for kind in (native, user) for part in zfs.batches(kind, max_bytes=PROPERTY_BYTES)]
    for batch in _batches(backend, names):
        part = Properties()
        for asked_for in lists:
            gone = {*part.missing}
            _read(backend, [name for name in batch if name not in gone], asked_for, part)
        part.drop_incomplete()
        yield part


def _read(backend: Backend, names: list[str], properties: list[str], part: Properties) -> None:
    """Read one list of properties into ``part``, with a single process unless a value looks like records."""
    alone: list[str] = []
    while names:
        values, doubtful = _ask(backend, names, properties, part.missing)
        if not doubtful:
            part.add(values)
            break
        # Without these names, lines that look like their records are seen to be parts of values.
        alone += sorted(doubtful)
        names = [name for name in names if name not in doubtful]
    for name in alone:
        if name not in part.missing:
            _read_alone(backend, name, properties, part)


def _ask(
    backend: Backend, names: list[str], properties: list[str], missing: list[str]
) -> tuple[dict[str, dict[str, Value]], set[str]]:
    """(values, names in doubt) of one process; no value counts if a name is in doubt. Adds to ``missing``."""
    told: list[str] = []
    values, doubtful = output.values(backend.lines(zfs.get(names, properties), told), names, properties)
    silent = {*names} - values.keys() - doubtful
    # Of a pool that does not exist zfs names nothing but the pool.
    absent = {*told}
    gone = {name for name in names if name in absent or (name in silent and re.split("[/@#]", name)[0] in absent)}
    missing += gone.difference(missing)
    # A name that does not exist has no records, and one that exists has some.
    return values, doubtful | (silent ^ gone)


def _read_alone(backend: Backend, name: str, properties: list[str], part: Properties) -> None:
    values, doubtful = _ask(backend, [name], properties, part.missing)
    if not doubtful:
        part.add(values)
        return
    for property_name in properties:
        value = output.value(backend.lines(zfs.get([name], [property_name]), part.missing), name)
        if value is None:
            part.spoilt[name] = f"{name} cannot be read: zfs get prints nothing that is its property {property_name}"
            return
        part.add({name: {property_name: value}})


def property_names(backend: Backend, names: Iterable[str], set_only: bool = False) -> dict[str, frozenset[str]]:
    """Name -> the properties that it has, or with ``set_only`` those that are set on it. One process per batch.

    Names that do not exist are left out, and with ``set_only`` those on which nothing is set.
    """
    found: dict[str, set[str]] = {}
    for name, property_name in _property_names(backend, names, set_only):
        found.setdefault(name, set()).add(property_name)
    same: dict[frozenset[str], frozenset[str]] = {}  # most names have the same
    return {name: same.setdefault(shape, shape) for name, shape in zip(found, map(frozenset, found.values()))}


def set_properties(backend: Backend, names: Iterable[str]) -> set[str]:
    """The properties that are set on any of the names. One process per batch of names."""
    return {property_name for _name, property_name in _property_names(backend, names, set_only=True)}


def _property_names(backend: Backend, names: Iterable[str], set_only: bool = False) -> Iterator[tuple[str, str]]:
    for batch in _batches(backend, names):
        yield from output.property_names(backend.lines(zfs.get_names(batch, set_only), []))


def _batches(backend: Backend, names: Iterable[str]) -> list[list[str]]:
    """The names, each once: the parent of a clone may also be the dataset of its origin."""
    return zfs.batches(list(dict.fromkeys(names)), MOST, backend.argument_bytes)


def read_all(backend: Backend, names: Iterable[str]) -> Properties:
    """All properties of datasets and snapshots; those that a name does not have are left out. Three processes."""
    existing = property_names(backend, names)
    unique = sorted(frozenset().union(*existing.values()))
    found = read_properties(backend, existing, unique)
    for name, values in found.values.items():
        found.values[name] = {key: value for key, value in values.items() if key in existing[name]}
    return found
