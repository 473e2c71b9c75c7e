# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of datasets, snapshots and bookmarks as value objects (zfsconcepts(7), zfs_namecheck.c)."""

from __future__ import annotations

import fnmatch
import functools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import PREFIX, is_ours

MAX_NAME = 255  # ZFS_MAX_DATASET_NAME_LEN less its NUL
MAX_REPLICA_NAME = 249  # receiving an increment appends "/%recv"; on a longer name the replica's kernel panics (tried)
MAX_TAG = 200  # a hold's tag is a ZAP key of at most 255 bytes; ours and the prefix of temporary holds must fit
MAX_VALUE = 8191  # ZAP_MAXVALUELEN less its NUL, in bytes

_COMPONENT = re.compile(r"[A-Za-z0-9_.:\- ]+\Z")
_USER_PROPERTY = re.compile(r"[a-z0-9_.\-]*:[a-z0-9_.\-:]*\Z")
_NATIVE_PROPERTY = re.compile(r"[a-z0-9@_]+\Z")


def check_component(text: str, whole: str, kind: str) -> None:
    """Raise BadInput unless ``text`` could stand between two separators of a name. ``whole``: what the error shows."""
    if not text:
        raise BadInput(f"{whole!r} is not a valid {kind} name: a part of it is empty")
    if text in (".", ".."):
        raise BadInput(f"{whole!r} is not a valid {kind} name: {text!r} cannot be a part of it")
    if not _COMPONENT.match(text):
        bad = sorted({char for char in text if not _COMPONENT.match(char)})
        raise BadInput(
            f"{whole!r} is not a valid {kind} name: it has {' '.join(map(repr, bad))}; "
            "allowed are letters, digits, space and - _ . :"
        )


def _check_length(text: str, kind: str) -> None:
    if len(text) > MAX_NAME:
        raise BadInput(f"{text[:40]}… is not a valid {kind} name: {len(text)} characters, ZFS takes {MAX_NAME}")


@dataclass(frozen=True, order=True)
class DatasetName:
    """A filesystem or volume (zvol), ``pool[/component ...]``."""

    path: str

    @classmethod
    def parse(cls, text: str) -> DatasetName:
        """Raise BadInput unless ``text`` could name a dataset."""
        if not text:
            raise BadInput("a dataset name is empty; give it as pool/dataset")
        for separator, kind in (("@", "a snapshot"), ("#", "a bookmark")):
            if separator in text:
                raise BadInput(f"{text!r} names {kind}; give a dataset here, as pool/dataset")
        _check_length(text, "dataset")
        parts = text.split("/")
        for part in parts:
            check_component(part, text, "dataset")
        # ZFS reserves some names for vdevs when a pool is created, but a pool that exists may have any of them.
        if not parts[0][0].isalpha():
            raise BadInput(f"{text!r} is not a valid dataset name: {parts[0]!r} cannot be the name of a pool")
        return cls(text)

    @property
    def pool(self) -> str:
        return self.path.split("/", 1)[0]

    @property
    def parent(self) -> DatasetName | None:
        head, slash, _tail = self.path.rpartition("/")
        return DatasetName(head) if slash else None

    def ancestors(self) -> list[DatasetName]:
        """All datasets above it, the pool first."""
        parts = self.path.split("/")
        return [DatasetName("/".join(parts[:count])) for count in range(1, len(parts))]

    def covers(self, other: DatasetName | str) -> bool:
        """True for the dataset itself and everything below it."""
        path = str(other)
        return path == self.path or path.startswith(self.path + "/")

    def moved(self, old: DatasetName, new: DatasetName) -> DatasetName:
        """The name after a rename of ``old`` to ``new``: a/b/c with a/b renamed to x is x/c."""
        return DatasetName(new.path + self.path[len(old.path) :])

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True, order=True)
class SnapshotName:
    """``dataset@snapshot``."""

    dataset: DatasetName
    snapshot: str

    @classmethod
    def parse(cls, text: str) -> SnapshotName:
        """Raise BadInput unless ``text`` could name a snapshot."""
        if not text:
            raise BadInput("a snapshot name is empty; give it as pool/dataset@snapshot")
        head, at, tail = text.partition("@")
        if not at:
            raise BadInput(f"{text!r} names no snapshot; give it as pool/dataset@snapshot")
        _check_length(text, "snapshot")
        dataset = DatasetName.parse(head)
        check_component(tail, text, "snapshot")
        return cls(dataset, tail)

    def __str__(self) -> str:
        return f"{self.dataset}@{self.snapshot}"


@dataclass(frozen=True, order=True)
class BookmarkName:
    """``dataset#bookmark``."""

    dataset: DatasetName
    bookmark: str

    @classmethod
    def parse(cls, text: str) -> BookmarkName:
        """Raise BadInput unless ``text`` could name a bookmark."""
        head, separator, tail = text.partition("#")
        if not separator:
            raise BadInput(f"{text!r} names no bookmark; give it as pool/dataset#bookmark")
        _check_length(text, "bookmark")
        dataset = DatasetName.parse(head)
        check_component(tail, text, "bookmark")
        return cls(dataset, tail)

    def __str__(self) -> str:
        return f"{self.dataset}#{self.bookmark}"


def dataset_or_snapshot(text: str) -> DatasetName | SnapshotName:
    """A SnapshotName when the text has an ``@``, otherwise a DatasetName. Raise BadInput for an invalid one."""
    return SnapshotName.parse(text) if "@" in text else DatasetName.parse(text)


def check_unique(names: list[str], option: str) -> None:
    """Raise BadInput when a name is listed twice."""
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise BadInput(f"{option} lists {', '.join(twice)} more than once; name each one once")


def check_hold_tag(tag: str) -> str:
    """The same tag. Raise BadInput for one that users may not set: invalid, ours, or one of ZFS's own."""
    if not tag or tag != tag.strip() or not tag.isprintable():
        raise BadInput(f"{tag!r} is not a valid hold tag; give printable text without blanks at its ends")
    if is_ours(tag):
        raise BadInput(f"hold tag {tag!r} belongs to this collection's relationships; choose a tag without {PREFIX!r}")
    if tag.startswith("."):
        raise BadInput(f"hold tag {tag!r} begins with a dot, as ZFS's own tags do; choose another one")
    if tag.startswith("-"):
        raise BadInput(f"hold tag {tag!r} begins with a dash; choose another one")
    if len(tag.encode()) > MAX_TAG:
        raise BadInput(f"hold tag {tag[:40]}… is {len(tag.encode())} bytes long; it can have {MAX_TAG}")
    return tag


def is_user_property(name: str) -> bool:
    return ":" in name


def check_property(name: str, value: str | None, user_only: bool = False) -> None:
    """Raise BadInput for an invalid name, or a value that ZFS cannot store (zfsprops(7), "User Properties").

    A ``value`` of None unsets the property. ``user_only``: native properties are invalid too.
    """
    if is_user_property(name):
        if not _USER_PROPERTY.match(name) or name.startswith("-") or len(name) > MAX_NAME:
            raise BadInput(
                f"property {name!r} is not a valid user property: use lower-case letters, digits and - _ . : "
                f"with at least one colon, at most {MAX_NAME} characters"
            )
        if is_ours(name):
            raise BadInput(f"property {name!r} belongs to this collection; use the module's options instead")
        if value is not None and len(value.encode()) > MAX_VALUE:
            raise BadInput(f"property {name!r}: the value has {len(value.encode())} bytes, ZFS takes {MAX_VALUE}")
        if value is not None and "\0" in value:
            raise BadInput(f"property {name!r}: the value has a NUL character, which ZFS cannot store")
    elif user_only:
        raise BadInput(f"property {name!r} cannot be set on a snapshot; only user properties can, such as org:name")
    elif not _NATIVE_PROPERTY.match(name):
        raise BadInput(f"property {name!r} is not a valid property name")


EXPRESSION = "re:"  # begins a pattern that is a regular expression


def check_patterns(patterns: Iterable[str] | None, option: str) -> tuple[str, ...]:
    """The same patterns without blank ones. Raise BadInput for a regular expression that Python does not take."""
    found = tuple(pattern for pattern in patterns or () if pattern.strip())
    for pattern in found:
        try:
            _compiled(pattern)
        except re.error as error:  # noqa: PERF203
            raise BadInput(
                f"{option}: {pattern!r} is not a regular expression ({error}); correct it. In a playbook give patterns "
                "as a YAML list, since a single text is split at its commas"
            ) from None
    return found


def matches(text: str, patterns: Iterable[str]) -> bool:
    """True when one of the patterns matches the whole text, with case.

    A pattern is a glob (`fnmatch.fnmatchcase`), or after ``re:`` a regular expression of Python.

    >>> matches("daily-1", ["hourly-*", "daily-*"]), matches("daily-1", ["re:(daily|weekly)-[0-9]+"])
    (True, True)
    >>> matches("daily-1", ["re:daily"])
    False
    """
    return any(_compiled(pattern).fullmatch(text) for pattern in patterns)


@functools.lru_cache(maxsize=1000)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern[len(EXPRESSION) :] if pattern.startswith(EXPRESSION) else fnmatch.translate(pattern))


def remaining(names: Iterable[str], exclude: Sequence[str]) -> list[str]:
    """The datasets, parents before children, without those that a pattern matches and everything below them.

    >>> remaining(["a/b/c", "a", "a/b", "a-b"], ["a/b"])
    ['a', 'a-b']
    """
    found: list[str] = []
    skipped = None
    for name in sorted(names, key=lambda name: name.split("/")):
        if skipped is not None and name.startswith(f"{skipped}/"):
            continue
        if matches(name, exclude):
            skipped = name
        else:
            found.append(name)
    return found


def shortened(texts: Sequence[str], most: int = 20) -> list[str]:
    """Not all of very many texts, for a message.

    >>> shortened(["a", "b", "c", "d"], most=2)
    ['a', 'b', 'and 2 more']
    """
    return [*texts[:most], f"and {len(texts) - most} more"] if len(texts) > most else list(texts)


def listing(names: Iterable[str]) -> str:
    """``a, b and c``."""
    listed = list(names)
    return " and ".join([", ".join(listed[:-1]), listed[-1]] if len(listed) > 1 else listed)
