# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine with pools in memory, which answers our commands as far as a replication needs it.

It is for tests of what a run does, in which order, and how often (`world`). It is no proof about ZFS: the system tests
and the recordings show how real ZFS behaves.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._host.process import Result
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.token import decode_token

VALUED = {"list": "-d -t -o -s", "get": "-o -s", "create": "-o -V", "snapshot": "-o", "receive": "-o",
          "send": "-i -I -t", "allow": "-u"}  # fmt: skip
SHOWN = 8191  # bytes of a list of clones
ENCRYPTED = {"encryption": "aes-256-gcm", "keystatus": "available"}


class No(Exception):
    """zfs refuses; the text is its stderr."""


@dataclass(eq=False)
class Thing:
    """A dataset, snapshot or bookmark. ``props``: what is set on it. ``fixed``: native values that it was made with.

    ``token``: of a partial receive. ``busy``: a receive runs.
    """

    name: str
    guid: str
    txg: int
    type: str = "filesystem"
    origin: Thing | None = None
    props: dict[str, str] = field(default_factory=dict)
    fixed: dict[str, str] = field(default_factory=dict)
    holds: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)
    size: int = 1000
    written: int = 0
    deferred: bool = False
    token: str = ""
    busy: bool = False


@dataclass(frozen=True)
class Part:
    """A snapshot of ``dataset`` in a stream. ``base``: the GUID of its base."""

    base: str | None
    snap: Thing
    raw: bool
    dataset: Thing


def flags_of(argv: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """(the values of each flag, the other arguments) of a zfs command."""
    valued, flags, rest = VALUED.get(argv[1], "").split(), dict[str, list[str]](), argv[2:]
    while rest and rest[0].startswith("-"):
        flags.setdefault(rest[0], []).append(rest[1] if rest[0] in valued else "")
        rest = rest[2 if rest[0] in valued else 1 :]
    return flags, rest


def settings(texts: list[str]) -> dict[str, str]:
    return dict(text.split("=", 1) for text in texts)


def by_txg(thing: Thing) -> int:
    return thing.txg


def by_dataset(thing: Thing) -> tuple[str, bool, int]:
    """Each dataset is followed by its snapshots, and these by its bookmarks."""
    return re.split("[@#]", thing.name)[0], "#" in thing.name, thing.txg


class Machine:
    """Pools in memory, by name. The methods that begin with ``do_`` are commands; they return what is printed.

    ``shows``: whether ps shows the processes of others.
    """

    def __init__(self, numbers: Iterator[int]) -> None:
        self.shows = True
        self.numbers = numbers  # for GUIDs and transaction groups
        self.all: dict[str, Thing] = {}
        self.cloned: dict[Thing | None, list[str]] = {}  # the clones of snapshots, when they are read
        self.features: dict[str, str] = {}  # of all pools, as zpool get shows them
        self.readonly = False  # all pools are imported read-only

    def make(self, *names: str, **more: Any) -> Thing:
        """Datasets, with what is above them, snapshots and bookmarks. Returns the last one."""
        for name in names:
            above = re.split("[/@#][^/@#]*$", name)[0]
            if above not in self.all and above != name:
                self.make(above)
            number, type_ = next(self.numbers), "snapshot" if "@" in name else "filesystem"
            self.all[name] = made = Thing(name, str(number), number, **{"type": type_, **more})
        return made

    def clone(self, snapshot: str, name: str) -> Thing:
        return self.make(name, origin=self.all[snapshot])

    def find(self, name: str) -> Thing:
        if name not in self.all:
            raise No(f"cannot open '{name}': dataset does not exist")
        return self.all[name]

    def parts_of(self, name: str, signs: str) -> list[Thing]:
        """What belongs to a dataset; with "/" what lies below it as well."""
        return [thing for each, thing in self.all.items() if re.match(f"{re.escape(name)}[{signs}]", each)]

    def snaps(self, name: str) -> list[Thing]:
        return sorted(self.parts_of(name, "@"), key=lambda snap: snap.txg)

    def clones(self, snap: Thing) -> list[str]:
        return sorted(thing.name for thing in self.all.values() if thing.origin is snap)

    # -- commands

    def answer(self, argv: list[str]) -> Result:
        if argv[:2] == ["zpool", "get"]:
            known = {"readonly": "on" if self.readonly else "off", **self.features}
            return Result(argv, 0, "".join(f"{name}\t{value}\n" for name, value in known.items()), "")
        if self.readonly and argv[0] == "zfs" and argv[1] not in ("list", "get", "holds", "send"):
            return Result(argv, 1, "", f"cannot {argv[1]} '{argv[-1]}': pool is read-only\n")
        if argv[0] != "zfs":
            receiving = "".join(f"77 1 zfs receive -s -u {each.name}\n" for each in self.all.values() if each.busy)
            return Result(argv, 0, f"1 9 init\n{receiving}" if argv[0] == "ps" and self.shows else "", "")
        flags, rest = flags_of(argv)
        head = rest[:1] if argv[1] == "get" else []  # the properties
        gone: list[str] = []
        if argv[1] in ("list", "get", "holds"):
            long = [name for name in rest[len(head) :] if len(name) > 255]
            if long:
                return Result(argv, 1, "", f"cannot open '{long[0]}': name is too long\n")
            gone = [name for name in rest[len(head) :] if name not in self.all]
            rest = [*head, *(name for name in rest[len(head) :] if name in self.all)]
        try:
            nothing = gone and len(rest) == len(head)
            out = "" if nothing else getattr(self, "do_" + argv[1].replace("-", "_"))(flags, *rest) or ""
        except No as error:
            return Result(argv, 1, "", f"{error}\n")
        told = "".join(f"cannot open '{name}': dataset does not exist\n" for name in gone)
        return Result(argv, int(bool(gone)), out, told)

    def do_list(self, flags: dict[str, list[str]], *names: str) -> str:
        depth = 99 if "-r" in flags else int(flags.get("-d", ["0"])[0])
        rows, asked = [], {*names}
        for thing in sorted(self.all.values(), key=by_txg if "-s" in flags else by_dataset):
            above = [thing.name[: found.start()] for found in re.finditer("[/@#]", thing.name)]
            near = (number for number, name in enumerate([thing.name, *reversed(above)]) if name in asked)
            steps = next(near, 100 if names else 0)
            if steps <= depth and thing.type in flags["-t"][0].split(","):
                origin = thing.origin.name if thing.origin else "-"
                partial = int(bool(thing.token) and not self.snaps(thing.name))
                rows.append({"name": thing.name, "guid": thing.guid, "createtxg": thing.txg, "origin": origin,
                             "inconsistent": partial})  # fmt: skip
        columns = flags["-o"][0].split(",")
        return "".join("\t".join(str(row[column]) for column in columns) + "\n" for row in rows)

    def do_get(self, flags: dict[str, list[str]], asked: str, *names: str) -> str:
        if flags["-o"] == ["name,property"]:
            return "".join(f"{name}\t{key}\n" for name in names for key in self.all[name].props)
        self.cloned = {}
        for thing in self.all.values() if "clones" in asked else ():
            self.cloned.setdefault(thing.origin, []).append(thing.name)
        pairs = [(name, key) for name in sorted(names) for key in asked.split(",")]
        return "".join("\t".join((*pair, *self.value(*pair))) + "\n" for pair in pairs)

    def value(self, name: str, key: str) -> tuple[str, str]:
        """(source, value)."""
        thing = self.all[name]
        if key in thing.props:
            return "local", thing.props[key]
        if ":" in key:
            above = re.split("[/@][^/@]*$", name)[0]
            source, text = self.value(above, key) if above != name and "#" not in name else ("-", "-")
            return (f"inherited from {above}" if source == "local" else source), text
        values = {"guid": thing.guid, "type": thing.type, "written": str(thing.written), "creation": str(thing.txg),
                  "createtxg": str(thing.txg), "receive_resume_token": thing.token or "-", "available": str(10**12),
                  "used": "5000", "origin": thing.origin.name if thing.origin else "-", "encryption": "off",
                  "keylocation": "none"}  # fmt: skip
        if thing.type == "snapshot":
            values.update(userrefs=str(len(thing.holds)), defer_destroy="on" if thing.deferred else "off",
                          clones=",".join(sorted(self.cloned.get(thing, [])))[:SHOWN] or "-", written=str(thing.size),
                          referenced=str(thing.size))  # fmt: skip
        return "-", {**values, **thing.fixed}.get(key, "-")

    def do_snapshot(self, flags: dict[str, list[str]], *names: str) -> None:
        self.make(*names, props=settings(flags.get("-o", [])))

    def do_holds(self, _flags: Any, *names: str) -> str:
        return "".join(f"{name}\t{tag}\t99\n" for name in names for tag in self.all[name].holds)

    def do_hold(self, _flags: Any, tag: str, *names: str) -> None:
        for snap in map(self.find, names):
            if tag in snap.holds:
                raise No(f"cannot hold snapshot '{snap.name}': tag already exists on this dataset")
        for name in names:
            self.all[name].holds.append(tag)

    def do_release(self, _flags: Any, tag: str, *names: str) -> None:
        for snap in map(self.find, names):
            if tag not in snap.holds:
                raise No(f"cannot release hold from snapshot '{snap.name}': no such tag on this dataset")
        for name in names:
            self.all[name].holds.remove(tag)
            if self.all[name].deferred and not self.all[name].holds:
                del self.all[name]

    def do_bookmark(self, _flags: Any, snapshot: str, name: str) -> None:
        if name in self.all:
            raise No(f"cannot create bookmark '{name}': bookmark exists")
        snap = self.find(snapshot)
        self.all[name] = Thing(name, snap.guid, snap.txg, "bookmark")

    def do_set(self, _flags: Any, *rest: str) -> None:
        given = settings([text for text in rest if "=" in text])
        for name in rest[len(given) :]:
            self.find(name).props.update(given)

    def do_inherit(self, _flags: Any, key: str, *names: str) -> None:
        for name in names:
            self.find(name).props.pop(key, None)

    def do_program(self, _flags: Any, pool: str, _dash: str, *rest: str) -> str:
        """What `program.SCRIPT` does."""
        ends: list[str] = []
        for kind, *own in zip(*[iter(rest)] * 4):
            if kind == "group":
                ends.append("0")
            elif ends[-1] == "0":
                ends[-1] = self.operate(kind, *own)
        return json.dumps({"return": " ".join(ends)})

    def operate(self, kind: str, name: str, key: str, value: str) -> str:
        if kind == "is":
            there = name in self.all and self.all[name].props.get(key, "") == value
            return "0" if there else "changed"
        command = {"set": ["set", f"{key}={value}", name], "inherit": ["inherit", key, name],
                   "bookmark": ["bookmark", name, key]}[kind]  # fmt: skip
        said = self.answer(["zfs", *command]).stderr
        return "2" if said and "exists" not in said.replace("does not exist", "") else "0"

    def do_create(self, flags: dict[str, list[str]], name: str) -> None:
        if "-n" in flags:
            bad = [text for text in flags["-o"] if text.endswith("=bogus")]
            if bad:
                raise No(f"cannot verify '{name}': '{bad[0].partition('=')[0]}' must be one of 'on | off'")
            return
        self.check_free(name)
        self.make(name, props=settings(flags["-o"]))

    def check_free(self, name: str) -> None:
        if name in self.all:
            raise No(f"cannot create '{name}': dataset already exists")
        self.find(name.rpartition("/")[0])

    def do_destroy(self, _flags: Any, name: str) -> None:
        assert "@" in name or "#" in name, f"no run of ours destroys a dataset: {name}"
        if "#" in name and name not in self.all:
            raise No(f"bookmark '{name}' does not exist.")
        dataset, _at, names = name.partition("@")
        found = [f"{dataset}@{own}" for own in names.split(",")] if names else [name]
        for snap in [self.all[each] for each in found if each in self.all]:
            if snap.holds or self.clones(snap):
                raise No(f"cannot destroy snapshot {snap.name}: it's being held, or has dependent clones")
        for each in found:
            self.all.pop(each, None)

    def do_rename(self, _flags: Any, old: str, new: str) -> None:
        self.check_free(new)
        for thing in [self.find(old), *self.parts_of(old, "/@#")]:
            self.move(thing, new + thing.name[len(old) :])

    def move(self, thing: Thing, new: str) -> None:
        del self.all[thing.name]
        self.all[new], thing.name = thing, new

    def do_promote(self, _flags: Any, name: str) -> None:
        dataset, origin = self.find(name), self.find(name).origin
        if origin is None:
            raise No(f"cannot promote '{name}': not a cloned filesystem")
        old = self.all[origin.name.partition("@")[0]]
        for thing in self.parts_of(old.name, "@#"):
            if thing.txg <= origin.txg:
                self.move(thing, name + thing.name[len(old.name) :])
        dataset.origin, old.origin = old.origin, origin

    def do_rollback(self, _flags: Any, name: str) -> None:
        dataset = name.partition("@")[0]
        if self.snaps(dataset)[-1] is not self.find(name):
            raise No(f"cannot rollback to '{name}': more recent snapshots or bookmarks exist")
        self.all[dataset].written = 0

    def do_load_key(self, flags: Any, name: str) -> None:
        if "-n" not in flags:
            self.find(name).fixed["keystatus"] = "available"

    def do_allow(self, flags: dict[str, list[str]], *rest: str) -> str:
        dataset = self.find(rest[-1])
        dataset.allowed += [f"\tuser {flags['-u'][0]} {rest[0]}\n"] if len(rest) > 1 else []
        text = "".join(dataset.allowed)
        return f"---- Permissions on {dataset.name} ----\nLocal+Descendent permissions:\n{text}" if text else ""

    # -- streams

    def do_send(self, flags: dict[str, list[str]], *rest: str) -> str:
        total = sum(part.snap.size for part in self.parts(flags, list(rest)))
        return f"full\t{(*rest, '-')[0]}\t{total}\nsize\t{total}\n"

    def parts(self, flags: dict[str, list[str]], rest: list[str]) -> list[Part]:
        """What ``zfs send`` sends."""
        token = decode_token(flags["-t"][0]) if "-t" in flags else None
        if token:
            there = [thing for thing in self.all.values() if thing.guid == token.toguid and thing.type == "snapshot"]
            if not there:
                raise No(f"cannot resume send: '{token.toname}' used in the initial send no longer exists")
            return [Part(token.fromguid, there[0], token.raw, self.all[there[0].name.partition("@")[0]])]
        snap, dataset = self.find(rest[0]), self.all[rest[0].partition("@")[0]]
        raw = "-w" in flags and dataset.fixed.get("encryption", "off") != "off"
        base = next((values[0] for flag, values in flags.items() if flag in ("-i", "-I")), None)
        if base is None:
            return [Part(None, snap, raw, dataset)]
        start = self.find(base)
        if start.txg >= snap.txg:
            raise No(f"cannot send '{rest[0]}': not an earlier snapshot from the same fs")
        between = [each for each in self.snaps(dataset.name) if start.txg < each.txg <= snap.txg]
        chain = between if "-I" in flags else [snap]
        return [Part(one.guid, two, raw, dataset) for one, two in zip([start, *chain], chain)]

    def do_receive(self, flags: dict[str, list[str]], name: str) -> None:
        assert list(flags) == ["-A"], f"a receive without a stream: {flags}"
        if not self.find(name).token:
            raise No(f"'{name}' does not have any resumable receive state to abort")
        self.all[name].token = ""
        if not self.snaps(name):
            del self.all[name]

    def begin(self, receive: list[str], part: Part, resumed: bool) -> Thing:
        """Receive the beginning of a snapshot. Returns the dataset that it goes into."""
        flags, (name,) = flags_of(receive)
        given = settings(flags.get("-o", []))
        origin = given.pop("origin", None)
        self.check_receive(name, part, resumed, self.find(origin).guid if origin else None)
        if name not in self.all:
            self.find(name.rpartition("/")[0])
            fixed = dict(part.dataset.fixed) if part.raw else {}
            self.make(name, type=part.dataset.type, origin=self.all.get(origin or ""), fixed=fixed)
        into = self.all[name]
        into.props.update(given)
        former = decode_token(into.token)
        arrived = 500 + (former.bytes if former else 0)
        into.busy, into.token = True, token_text(part.snap.guid, part.snap.name, part.base, part.raw, arrived)
        return into

    def check_receive(self, name: str, part: Part, resumed: bool, origin: str | None) -> None:
        into, newest = self.all.get(name), next(reversed(self.snaps(name)), None)
        token = decode_token(into.token) if into else None
        why = ""
        if into is None:
            why = "does not\nmatch incremental source" if part.base != origin else ""
        elif into.busy:
            why = "dataset is busy"
        elif token and not (resumed and token.toguid == part.snap.guid):
            why = "contains partially-complete state"
        elif not token and (part.base is None or newest is None):
            why = "destination exists, must specify -F to overwrite it"
        elif newest and newest.guid != part.base:
            why = "most recent snapshot does not\nmatch incremental source"
        elif into.written:
            why = "destination has been modified since most recent snapshot"
        if why:
            raise No(f"cannot receive into '{name}': {why}")

    def arrive(self, into: Thing, snap: Thing) -> None:
        self.make(f"{into.name}@{snap.name.partition('@')[2]}", size=snap.size).guid = snap.guid
        into.token, into.busy = "", False


def token_text(toguid: str, toname: str, fromguid: str | None = None, raw: bool = False, arrived: int = 500) -> str:
    """A receive_resume_token, as `decode_token` reads it."""
    numbers = {"toguid": int(toguid), "bytes": arrived, **({"fromguid": int(fromguid)} if fromguid else {})}
    pairs = [(name, 8, struct.pack("<Q", number)) for name, number in numbers.items()]
    pairs += [("toname", 9, toname.encode() + b"\0"), *([("rawok", 1, b"")] if raw else [])]
    data = b"\0\1\0\0\0\0\0\0\1\0\0\0"
    for name, kind, value in pairs:
        text = name.encode() + b"\0"
        text += b"\0" * (-len(text) % 8) + value + b"\0" * (-len(value) % 8)
        data += struct.pack("<ihhii", 16 + len(text), len(name) + 1, 0, 1, kind) + text
    data += bytes(4)
    return f"1-0-{len(data):x}-{zlib.compress(data).hex()}"
