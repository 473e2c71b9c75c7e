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
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

from ansible_collections.cerss.zfs.plugins.module_utils._core.endpoint import place

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
    """Text in the place of a mark that ``format`` would not have written."""

    text: str


# -- the replica's side ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SourceMark:
    """Property of a replica: which dataset it is the replica of. ``guid`` is the source dataset's.

    ``host`` and ``dataset`` are for people; the GUID decides. ``beside``: it is still being received beside the replica
    that it will replace. ``put_aside``: it was replaced. ``released``: a failover made it a dataset of its own.
    """

    NAME: ClassVar[str] = "cerss.zfs:source"
    FLAGS: ClassVar[tuple[str, ...]] = ("beside", "put_aside", "released")

    id: str
    host: str
    dataset: str
    guid: str
    mode: str  # RAW or PLAIN: how its streams are sent; ZFS cannot mix the two on one replica
    beside: bool = False
    put_aside: bool = False
    released: bool = False

    @property
    def source(self) -> str:
        """The source for messages."""
        return place(self.host, self.dataset)

    @property
    def live(self) -> bool:
        """True if increments may be received into the dataset."""
        return not (self.put_aside or self.released)

    @classmethod
    def parse(cls, text: str) -> SourceMark | Spoilt:
        value = _object(text, required=("id", "host", "dataset", "guid", "mode"), optional=cls.FLAGS)
        if not (
            value
            and is_id(value["id"])
            and _is_text(value["host"])
            and _is_text(value["dataset"])
            and _is_guid(value["guid"])
            and value["mode"] in MODES
            and all(isinstance(value.get(flag, False), bool) for flag in cls.FLAGS)
        ):
            return Spoilt(text)
        return cls(**value)

    def format(self) -> str:
        value = {"id": self.id, "host": self.host, "dataset": self.dataset, "guid": self.guid, "mode": self.mode}
        return _json({**value, **{flag: True for flag in self.FLAGS if getattr(self, flag)}})

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
class Filter:
    """Which snapshots one job sends: patterns for the part after the @. ``job`` is "" if it has no name.

    With ``periods`` (names of `periods.PERIODS`) it sends only the first one in each, and without ``intermediates``
    only the newest one.
    """

    FIELDS: ClassVar[tuple[str, ...]] = ("job", "include", "exclude", "periods", "intermediates")

    job: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    periods: tuple[str, ...] = ()
    intermediates: bool = True

    @classmethod
    def parse(cls, value: Any) -> Filter | None:
        """From JSON; None for what `to_json` would not have made."""
        if not (isinstance(value, dict) and value.keys() <= {*cls.FIELDS}):
            return None
        lists = [value.get(name, []) for name in ("include", "exclude", "periods")]
        if not (
            ("job" not in value or _is_text(value["job"]))
            and isinstance(value.get("intermediates", True), bool)
            and all(isinstance(each, list) and all(map(_is_text, each)) for each in lists)
        ):
            return None
        include, exclude, periods = map(tuple, lists)
        return cls(value.get("job", ""), include, exclude, periods, value.get("intermediates", True))

    def to_json(self) -> dict[str, Any]:
        """Without what is at its default."""
        return {name: list(value) if isinstance(value, tuple) else value
                for name in self.FIELDS if (value := getattr(self, name)) != getattr(Filter, name)}  # fmt: skip


@dataclass(frozen=True)
class ReplicaRecord:
    """One replica of a source dataset, as `ReplicaRecords` stores it.

    ``guid`` is the replica's dataset GUID, `UNKNOWN` until the first snapshot has arrived. ``formerly``: GUID of the
    source dataset that a reseed has replaced by this one, which the replica's mark may still name. ``filters``: one for
    each job that replicates to it, in the order of their names; empty if everything may be sent.
    """

    UNKNOWN: ClassVar[str] = "0"

    id: str
    target: str  # host:dataset, or just the dataset on the source's own host
    guid: str
    mode: str  # as in SourceMark
    since: str | None = None  # ISO time
    paused: bool = False  # replication skips it
    formerly: str | None = None
    filters: tuple[Filter, ...] = ()

    @classmethod
    def parse(cls, value: Any) -> ReplicaRecord | None:
        """From JSON; None for what `to_json` would not have made."""
        if not (
            isinstance(value, dict)
            and {"id", "target", "guid", "mode"} <= value.keys() <= {f.name for f in fields(cls)}
            and is_id(value["id"])
            and _is_text(value["target"])
            and _is_guid(value["guid"])
            and value["mode"] in MODES
            and (value.get("since") is None or _is_text(value["since"]))
            and isinstance(value.get("paused", False), bool)
            and (value.get("formerly") is None or _is_guid(value["formerly"]))
            and isinstance(value.get("filters", []), list)
        ):
            return None
        filters = tuple(each for entry in value.get("filters", []) if (each := Filter.parse(entry)))
        unique = len({each.job for each in filters}) == len(value.get("filters", []))
        return cls(**{**value, "filters": filters}) if unique else None

    def to_json(self) -> dict[str, Any]:
        more = {"paused": self.paused, "formerly": self.formerly, "filters": [each.to_json() for each in self.filters]}
        value = {"id": self.id, "target": self.target, "guid": self.guid, "mode": self.mode, "since": self.since}
        return {**value, **{name: each for name, each in more.items() if each}}

    def with_filter(self, given: Filter) -> ReplicaRecord:
        """A copy with the filter of one job.

        Jobs with names take the place of what has no name. That never makes the filters narrower: what differs from
        them may be an exception.
        """
        named = [each for each in self.filters if each.job]
        if given.job:
            others = [each for each in named if each.job != given.job]
            return replace(self, filters=tuple(sorted([*others, given], key=lambda each: each.job)))
        return self if named or self.filters in ((), (given,)) else replace(self, filters=())


@dataclass(frozen=True)
class ReplicaRecords:
    """Property of a source dataset: its replicas on one pool, usually one.

    ``<pool>`` in the property's name is the GUID of the root dataset of that pool (`pool_id`), so the name is known as
    soon as the target is. Only what declares a relationship writes it, never a later run.
    """

    PREFIX: ClassVar[str] = "cerss.zfs:replica."

    entries: tuple[ReplicaRecord, ...] = ()

    @classmethod
    def name(cls, pool: str) -> str:
        """The name of the property for a pool."""
        return cls.PREFIX + pool

    @classmethod
    def parse(cls, text: str) -> ReplicaRecords | Spoilt:
        value = _load(text)
        if not isinstance(value, list):
            return Spoilt(text)
        entries = tuple(record for entry in value if (record := ReplicaRecord.parse(entry)))
        return cls(entries) if len({entry.id for entry in entries}) == len(value) else Spoilt(text)

    def format(self) -> str:
        return _json([entry.to_json() for entry in self.entries])

    @classmethod
    def all_of(cls, properties: Mapping[str, str]) -> dict[str, ReplicaRecords | Spoilt]:
        """`pool_id` of the target -> records, from a dataset's local properties of ours."""
        found = {name[len(cls.PREFIX) :]: text for name, text in properties.items() if _is_tag(name, cls.PREFIX)}
        return {pool: cls.parse(text) for pool, text in found.items()}

    def by_id(self, id_: str) -> ReplicaRecord | None:
        return next((entry for entry in self.entries if entry.id == id_), None)

    def with_entry(self, record: ReplicaRecord) -> ReplicaRecords:
        """A copy in which the record takes the place of the one with its id."""
        return ReplicaRecords((*(entry for entry in self.entries if entry.id != record.id), record))

    def without(self, id_: str) -> ReplicaRecords:
        return ReplicaRecords(tuple(entry for entry in self.entries if entry.id != id_))


@dataclass(frozen=True)
class CommitPoint:
    """The newest snapshot that is known to be on the replica, with all marks in place. It never goes back.

    ``guid`` and ``createtxg`` are the source snapshot's.
    """

    id: str
    guid: str
    createtxg: int


@dataclass(frozen=True)
class CommitPoints:
    """Property of a source dataset: a commit point for each replica on one pool (see `ReplicaRecords`).

    >>> CommitPoints((CommitPoint("00112233445566aa", "255", 12),)).format()
    '00112233445566aa 255 12'
    """

    PREFIX: ClassVar[str] = "cerss.zfs:at."

    entries: tuple[CommitPoint, ...] = ()

    _ENTRY: ClassVar[re.Pattern[str]] = re.compile(r"([0-9a-f]{16}) ([0-9]{1,20}) ([0-9]{1,20})\Z", re.ASCII)

    @classmethod
    def name(cls, pool: str) -> str:
        """The name of the property for a pool."""
        return cls.PREFIX + pool

    @classmethod
    def parse(cls, text: str) -> CommitPoints | Spoilt:
        found = [cls._ENTRY.match(part) for part in text.split("; ")]
        entries = tuple(CommitPoint(each[1], each[2], int(each[3])) for each in found if each)
        fits = len(entries) == len(found) == len({entry.id for entry in entries})
        return cls(entries) if fits else Spoilt(text)

    def format(self) -> str:
        return "; ".join(f"{each.id} {each.guid} {each.createtxg}" for each in self.entries)

    @classmethod
    def all_of(cls, properties: Mapping[str, str]) -> dict[str, CommitPoints | Spoilt]:
        """`pool_id` of the target -> commit points, from a dataset's local properties of ours."""
        found = {name[len(cls.PREFIX) :]: text for name, text in properties.items() if _is_tag(name, cls.PREFIX)}
        return {pool: cls.parse(text) for pool, text in found.items()}

    def by_id(self, id_: str) -> CommitPoint | None:
        return next((entry for entry in self.entries if entry.id == id_), None)

    def with_entry(self, point: CommitPoint) -> CommitPoints:
        """A copy in which the point takes the place of the one with its id."""
        return CommitPoints((*(entry for entry in self.entries if entry.id != point.id), point))

    def without(self, id_: str) -> CommitPoints:
        return CommitPoints(tuple(entry for entry in self.entries if entry.id != id_))


def pool_id(guid: str) -> str:
    """``<pool>`` in the names of properties: the GUID of a pool's root dataset as 16 hex digits.

    >>> pool_id("255")
    '00000000000000ff'
    """
    return f"{int(guid):016x}"


def is_source_property(name: str) -> bool:
    """True for the name of a property of `ReplicaRecords` or `CommitPoints`."""
    return _is_tag(name, ReplicaRecords.PREFIX) or _is_tag(name, CommitPoints.PREFIX)


@dataclass(frozen=True)
class Cursor:
    """Name of the bookmark of a snapshot that is or will be on the replica. ``guid`` is that snapshot's, in decimal.

    It is made before the snapshot is sent, so an increment can start there even when the snapshot is destroyed.

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


# -- both sides ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OutOfService:
    """Property of a dataset that is out of service: another one serves in its place. What it gets back afterwards.

    ``settings``: property name -> (value, whether it is set on the dataset itself), for those in `SETTINGS` that a
    dataset of its type has. ``mounted``: whether it was mounted.

    >>> OutOfService({"readonly": ("off", False)}, False).format()
    '{"mounted":false,"readonly":["off",false]}'
    """

    NAME: ClassVar[str] = "cerss.zfs:out_of_service"
    SETTINGS: ClassVar[tuple[str, ...]] = ("readonly", "canmount", "mountpoint")

    settings: Mapping[str, tuple[str, bool]]
    mounted: bool = False

    @classmethod
    def parse(cls, text: str) -> OutOfService | Spoilt:
        value = _object(text, required=("mounted", "readonly"), optional=cls.SETTINGS)
        mounted = value.pop("mounted", None)
        fits = isinstance(mounted, bool) and all(
            isinstance(each, list) and len(each) == 2 and _is_text(each[0]) and isinstance(each[1], bool)
            for each in value.values()
        )
        return cls({name: (each[0], each[1]) for name, each in value.items()}, mounted) if fits else Spoilt(text)

    def format(self) -> str:
        return _json({"mounted": self.mounted, **{name: list(each) for name, each in self.settings.items()}})

    @classmethod
    def of(cls, properties: Mapping[str, str]) -> OutOfService | Spoilt | None:
        """From a dataset's local properties of ours; None without the property."""
        return cls.parse(properties[cls.NAME]) if cls.NAME in properties else None


# -- holds -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StepHold:
    """Tag on a source's snapshots while a package of them is sent or waits to be resumed.

    Also on the base when the source's path is too long for a cursor.
    """

    PREFIX: ClassVar[str] = "cerss.zfs:step:"

    id: str

    @classmethod
    def parse(cls, tag: str) -> StepHold | Spoilt:
        return cls(tag[len(cls.PREFIX) :]) if _is_tag(tag, cls.PREFIX) else Spoilt(tag)

    def format(self) -> str:
        return f"{self.PREFIX}{self.id}"


@dataclass(frozen=True)
class LastHold:
    """Tag on a replica's last received snapshot. A replica has one source, so the tag needs no id."""

    TAG: ClassVar[str] = "cerss.zfs:last"

    @classmethod
    def parse(cls, tag: str) -> LastHold | Spoilt:
        return cls() if tag == cls.TAG else Spoilt(tag)

    def format(self) -> str:
        return self.TAG


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
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**64


def _is_tag(text: str, prefix: str) -> bool:
    return text.startswith(prefix) and is_id(text[len(prefix) :])
