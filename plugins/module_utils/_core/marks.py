# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Everything that the collection stores in ZFS, one class each; the table is in docs/docsite/rst/architecture.rst.

``parse`` never raises: anybody with the permission to set a property may have written anything into it. It returns
`Spoilt` for text that ``format`` would not have written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

PREFIX = "cerss.zfs:"  # of our properties and hold tags
BOOKMARK_PREFIX = "cerss.zfs_"  # of our bookmarks
RAW, PLAIN = MODES = ("raw", "plain")

_ID = re.compile(r"[0-9a-f]{16}\Z")
_GUID = re.compile(r"[0-9]{1,20}\Z", re.ASCII)

HoldT = TypeVar("HoldT", bound="_Hold")


def is_ours(name: str) -> bool:
    """True for a property or a hold tag that only this collection sets."""
    return name.startswith(PREFIX)


def is_id(value: object) -> bool:
    """True for the id of a relationship, which is 16 hex digits."""
    return isinstance(value, str) and _ID.match(value) is not None


@dataclass(frozen=True)
class Spoilt:
    """Text in the place of a mark that ``format`` would not have written."""

    text: str


# -- the replica's side ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SourceMark:
    """Property of a replica: which dataset it is the replica of. ``guid`` is the source dataset's."""

    NAME: ClassVar[str] = "cerss.zfs:source"

    id: str
    host: str
    dataset: str
    guid: str
    mode: str  # RAW or PLAIN: how its streams are sent; ZFS cannot mix the two on one replica
    released: bool = False  # no longer a replica; the collection reads this but never sets it

    @classmethod
    def parse(cls, text: str) -> SourceMark | Spoilt:
        value = _object(text, required=("id", "host", "dataset", "guid", "mode"), optional=("released",))
        if not (
            value
            and is_id(value["id"])
            and _is_text(value["host"])
            and _is_text(value["dataset"])
            and _is_guid(value["guid"])
            and value["mode"] in MODES
            and isinstance(value.get("released", False), bool)
        ):
            return Spoilt(text)
        return cls(**value)

    def format(self) -> str:
        value = {"id": self.id, "host": self.host, "dataset": self.dataset, "guid": self.guid, "mode": self.mode}
        return _json({**value, **({"released": True} if self.released else {})})

    @classmethod
    def of(cls, properties: Mapping[str, str]) -> SourceMark | Spoilt | None:
        """From a dataset's local properties of ours; None without the property."""
        return cls.parse(properties[cls.NAME]) if cls.NAME in properties else None


@dataclass(frozen=True)
class Announced:
    """One snapshot of a transfer that runs. ``bytes`` is the size of its stream, None when not known."""

    guid: str
    snapshot: str
    bytes: int | None = None


@dataclass(frozen=True)
class Announcement:
    """Property of a replica: the snapshots that a transfer is sending to it."""

    NAME: ClassVar[str] = "cerss.zfs:inbound"

    entries: tuple[Announced, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Announcement | Spoilt:
        value = _load(text)
        if not isinstance(value, list):
            return Spoilt(text)
        entries = []
        for entry in value:
            if not (
                isinstance(entry, dict)
                and entry.keys() == {"guid", "snapshot", "bytes"}
                and _is_guid(entry["guid"])
                and _is_text(entry["snapshot"])
                and (entry["bytes"] is None or _is_size(entry["bytes"]))
            ):
                return Spoilt(text)
            entries.append(Announced(**entry))
        return cls(tuple(entries))

    def format(self) -> str:
        return _json([{"guid": entry.guid, "snapshot": entry.snapshot, "bytes": entry.bytes} for entry in self.entries])

    @classmethod
    def of(cls, properties: Mapping[str, str]) -> Announcement:
        """From a dataset's local properties of ours. A spoilt one counts as empty: only progress depends on it."""
        found = cls.parse(properties.get(cls.NAME, "[]"))
        return found if isinstance(found, cls) else cls()

    def by_guid(self, guid: str | None) -> Announced | None:
        return next((entry for entry in self.entries if entry.guid == guid), None)


# -- the source's side -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReplicaRecord:
    """Property of a source dataset, one per replica: where the replica is."""

    PREFIX: ClassVar[str] = "cerss.zfs:replica."

    target: str  # host:dataset, or just the dataset on the source's own host
    since: str | None = None  # ISO time
    mode: str | None = None  # as in SourceMark; None when it could not be read
    aside: str | None = None  # name of the old replica until a reseed has moved its children back

    @classmethod
    def name(cls, id_: str) -> str:
        """The name of the property for a relationship."""
        return cls.PREFIX + id_

    @classmethod
    def id_of(cls, name: str) -> str | None:
        """The relationship of such a property; None for any other property."""
        return name[len(cls.PREFIX) :] if _is_tag(name, cls.PREFIX) else None

    @classmethod
    def parse(cls, text: str) -> ReplicaRecord | Spoilt:
        value = _object(text, required=("target",), optional=("since", "mode", "aside"))
        if not (
            value
            and _is_text(value["target"])
            and value.get("mode") in (*MODES, None)
            and all(value.get(key) is None or _is_text(value[key]) for key in ("since", "aside"))
        ):
            return Spoilt(text)
        return cls(**value)

    def format(self) -> str:
        value = {"target": self.target, "since": self.since, "mode": self.mode}
        return _json({**value, **({"aside": self.aside} if self.aside else {})})

    @classmethod
    def all_of(cls, properties: Mapping[str, str]) -> dict[str, ReplicaRecord | Spoilt]:
        """Relationship id -> record, from a dataset's local properties of ours."""
        found = {id_: text for name, text in properties.items() if (id_ := cls.id_of(name))}
        return {id_: cls.parse(text) for id_, text in found.items()}


@dataclass(frozen=True)
class Cursor:
    """Name of the bookmark of the last snapshot known to be on the replica. ``guid`` is that snapshot's, in decimal.

    >>> Cursor("00112233445566aa", "255").format()
    'cerss.zfs_00112233445566aa_ff'
    """

    LENGTH: ClassVar[int] = len("cerss.zfs_") + 16 + 1 + 16

    id: str
    guid: str

    _NAME: ClassVar[re.Pattern[str]] = re.compile(r"cerss\.zfs_([0-9a-f]{16})_([0-9a-f]{1,16})\Z")

    @classmethod
    def parse(cls, bookmark: str) -> Cursor | Spoilt:
        """``bookmark``: the part after the #."""
        found = cls._NAME.match(bookmark)
        return cls(found[1], str(int(found[2], 16))) if found else Spoilt(bookmark)

    def format(self) -> str:
        return f"{BOOKMARK_PREFIX}{self.id}_{int(self.guid):x}"


@dataclass(frozen=True)
class OpenCursor:
    """Name of the bookmark that exists until the first transfer of a relationship is complete."""

    id: str

    _NAME: ClassVar[re.Pattern[str]] = re.compile(r"cerss\.zfs_([0-9a-f]{16})_open\Z")

    @classmethod
    def parse(cls, bookmark: str) -> OpenCursor | Spoilt:
        """``bookmark``: the part after the #."""
        found = cls._NAME.match(bookmark)
        return cls(found[1]) if found else Spoilt(bookmark)

    def format(self) -> str:
        return f"{BOOKMARK_PREFIX}{self.id}_open"


# -- holds -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Hold:
    """Tag of a hold that belongs to the relationship ``id``."""

    PREFIX: ClassVar[str]

    id: str

    @classmethod
    def parse(cls: type[HoldT], tag: str) -> HoldT | Spoilt:
        return cls(tag[len(cls.PREFIX) :]) if _is_tag(tag, cls.PREFIX) else Spoilt(tag)

    def format(self) -> str:
        return f"{self.PREFIX}{self.id}"


# Not dataclasses of their own, which would only cost time at every start of the gate: the inherited comparison looks at
# the class too.
class LastHold(_Hold):
    """On a replica's last received snapshot. Also on the base when the source's path is too long for a cursor."""

    PREFIX = "cerss.zfs:last:"


class StepHold(_Hold):
    """On the base and on every snapshot of a transfer that runs or waits to be resumed."""

    PREFIX = "cerss.zfs:step:"


# -- snapshots and clones --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TemporaryMark:
    """Property of a snapshot: it will be deleted soon, so it is not replicated."""

    NAME: ClassVar[str] = "cerss.zfs:temporary"

    temporary: bool = True

    @classmethod
    def parse(cls, text: str) -> TemporaryMark | Spoilt:
        """Takes more spellings than ``format`` writes: an administrator may have set it by hand."""
        if text in ("true", "on", "yes", "1"):
            return cls()
        return cls(False) if text in ("false", "off", "no", "0") else Spoilt(text)

    def format(self) -> str:
        return "true" if self.temporary else "false"


@dataclass(frozen=True)
class LifetimeMark:
    """Property of a snapshot: it expires this many seconds after its creation."""

    NAME: ClassVar[str] = "cerss.zfs:expires"

    seconds: int

    @classmethod
    def parse(cls, text: str) -> LifetimeMark | Spoilt:
        # A property can hold thousands of digits; 11 are 3000 years.
        return cls(int(text)) if re.fullmatch(r"[0-9]{1,11}", text, re.ASCII) else Spoilt(text)

    def format(self) -> str:
        return str(self.seconds)


@dataclass(frozen=True)
class CloneOrigin:
    """Property of a clone: the GUID of the snapshot it was made from. A promotion does not change it."""

    NAME: ClassVar[str] = "cerss.zfs:origin"

    guid: str

    @classmethod
    def parse(cls, text: str) -> CloneOrigin | Spoilt:
        return cls(text) if _is_guid(text) else Spoilt(text)

    def format(self) -> str:
        return self.guid


# -- fields ----------------------------------------------------------------------------------------------------------


def _load(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _object(text: str, required: Iterable[str], optional: Iterable[str]) -> dict[str, Any]:
    """The JSON object when it has all required keys and no unknown ones; otherwise an empty dict."""
    value = _load(text)
    fits = isinstance(value, dict) and {*required} <= value.keys() <= {*required, *optional}
    return value if fits else {}


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and value != ""


def _is_guid(value: object) -> bool:
    return isinstance(value, str) and _GUID.match(value) is not None


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_tag(text: str, prefix: str) -> bool:
    return text.startswith(prefix) and is_id(text[len(prefix) :])
