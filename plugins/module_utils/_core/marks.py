# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Everything that the collection stores in ZFS, one class each; the table is in docs/docsite/rst/architecture.rst.

``parse`` takes what a dataset, a hold or a bookmark says and never raises: whoever may set a property may have written
anything. What ``format`` would not have written is `Spoilt`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

PREFIX = "cerss.zfs:"  # of our properties and hold tags
BOOKMARK_PREFIX = "cerss.zfs_"  # of our bookmarks
RAW, PLAIN = MODES = ("raw", "plain")

_ID = re.compile(r"[0-9a-f]{16}\Z")
_GUID = re.compile(r"[0-9]{1,20}\Z", re.ASCII)


def is_ours(name: str) -> bool:
    """True for a property or a hold tag that only this collection sets."""
    return name.startswith(PREFIX)


def is_id(value: object) -> bool:
    """True for the id of a relationship, which is 16 hex digits."""
    return isinstance(value, str) and _ID.match(value) is not None


@dataclass(frozen=True)
class Spoilt:
    """What stands where a mark should be, and is none that ``format`` writes."""

    text: str


# -- the replica's side ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SourceMark:
    """On a replica: the dataset whose replica it is. ``guid`` is that of the source dataset."""

    NAME: ClassVar[str] = "cerss.zfs:source"

    id: str
    host: str
    dataset: str
    guid: str
    mode: str  # RAW or PLAIN: how its streams were sent, which must never change
    released: bool = False  # by a failover: it lives on its own

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
        """From our properties that are set on a dataset; None where there is none."""
        return cls.parse(properties[cls.NAME]) if cls.NAME in properties else None


@dataclass(frozen=True)
class Announced:
    """One snapshot that is on its way, and the bytes of its stream; None when that is not known."""

    guid: str
    snapshot: str
    bytes: int | None = None


@dataclass(frozen=True)
class Announcement:
    """On a replica: what is coming."""

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
        return _json([{"guid": one.guid, "snapshot": one.snapshot, "bytes": one.bytes} for one in self.entries])

    @classmethod
    def of(cls, properties: Mapping[str, str]) -> Announcement:
        """From our properties that are set on a dataset. Only progress depends on it, so a spoilt one says nothing."""
        found = cls.parse(properties.get(cls.NAME, "[]"))
        return found if isinstance(found, cls) else cls()

    def by_guid(self, guid: str | None) -> Announced | None:
        return next((one for one in self.entries if one.guid == guid), None)


@dataclass(frozen=True)
class LastHold:
    """The hold on a replica's last received snapshot; where the source's path is too long for a cursor, on the base."""

    PREFIX: ClassVar[str] = "cerss.zfs:last:"

    id: str

    @classmethod
    def parse(cls, tag: str) -> LastHold | Spoilt:
        return cls(tag[len(cls.PREFIX) :]) if _is_tag(tag, cls.PREFIX) else Spoilt(tag)

    def format(self) -> str:
        return f"{self.PREFIX}{self.id}"


# -- the source's side -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReplicaRecord:
    """On a source dataset, one for each replica: where that is."""

    PREFIX: ClassVar[str] = "cerss.zfs:replica."

    target: str  # host:dataset, without host on the source's own machine
    since: str | None = None  # ISO time
    mode: str | None = None  # as in SourceMark; None where that could not be read
    aside: str | None = None  # the old replica, while a reseed has not moved back yet what is below it

    @classmethod
    def name(cls, id_: str) -> str:
        """The property of a relationship."""
        return cls.PREFIX + id_

    @classmethod
    def id_of(cls, name: str) -> str | None:
        """The relationship that a property is about; None for any other property."""
        return name[len(cls.PREFIX) :] if _is_tag(name, cls.PREFIX) else None

    @classmethod
    def parse(cls, text: str) -> ReplicaRecord | Spoilt:
        value = _object(text, required=("target",), optional=("since", "mode", "aside"))
        if not (
            value
            and _is_text(value["target"])
            and value.get("mode") in (*MODES, None)
            and all(_is_text(value.get(key) or "none") for key in ("since", "aside"))
        ):
            return Spoilt(text)
        return cls(**value)

    def format(self) -> str:
        value = {"target": self.target, "since": self.since, "mode": self.mode}
        return _json({**value, **({"aside": self.aside} if self.aside else {})})

    @classmethod
    def all_of(cls, properties: Mapping[str, str]) -> dict[str, ReplicaRecord | Spoilt]:
        """By relationship, from our properties that are set on a dataset."""
        found = {id_: text for name, text in properties.items() if (id_ := cls.id_of(name))}
        return {id_: cls.parse(text) for id_, text in found.items()}


@dataclass(frozen=True)
class Cursor:
    """The bookmark of the last snapshot known to be on the replica, found again by GUID when the snapshot is gone."""

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
    """The bookmark that says: the first transfer of the relationship is not settled yet."""

    id: str

    _NAME: ClassVar[re.Pattern[str]] = re.compile(r"cerss\.zfs_([0-9a-f]{16})_open\Z")

    @classmethod
    def parse(cls, bookmark: str) -> OpenCursor | Spoilt:
        """``bookmark``: the part after the #."""
        found = cls._NAME.match(bookmark)
        return cls(found[1]) if found else Spoilt(bookmark)

    def format(self) -> str:
        return f"{BOOKMARK_PREFIX}{self.id}_open"


@dataclass(frozen=True)
class StepHold:
    """The hold on the base and every snapshot of a transfer that runs or waits to be resumed."""

    PREFIX: ClassVar[str] = "cerss.zfs:step:"

    id: str

    @classmethod
    def parse(cls, tag: str) -> StepHold | Spoilt:
        return cls(tag[len(cls.PREFIX) :]) if _is_tag(tag, cls.PREFIX) else Spoilt(tag)

    def format(self) -> str:
        return f"{self.PREFIX}{self.id}"


# -- snapshots and clones --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TemporaryMark:
    """On a snapshot: about to be deleted, so nobody should begin to replicate it."""

    NAME: ClassVar[str] = "cerss.zfs:temporary"

    temporary: bool = True

    @classmethod
    def parse(cls, text: str) -> TemporaryMark | Spoilt:
        """An administrator may have set it by hand."""
        if text in ("true", "on", "yes", "1"):
            return cls()
        return cls(False) if text in ("false", "off", "no", "0") else Spoilt(text)

    def format(self) -> str:
        return "true" if self.temporary else "false"


@dataclass(frozen=True)
class LifetimeMark:
    """On a snapshot: it expires so many seconds after its creation."""

    NAME: ClassVar[str] = "cerss.zfs:expires"

    seconds: int

    @classmethod
    def parse(cls, text: str) -> LifetimeMark | Spoilt:
        # A property value can have thousands of digits, and no time has that many seconds.
        return cls(int(text)) if re.fullmatch(r"[0-9]{1,11}", text, re.ASCII) else Spoilt(text)

    def format(self) -> str:
        return str(self.seconds)


@dataclass(frozen=True)
class CloneOrigin:
    """On a clone: the GUID of the snapshot it was made from, which a promotion does not change."""

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
    """The JSON object with exactly these keys; empty for anything else."""
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
