# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two pools, tank and backup, that carry out the commands and streams of replication by the rules of ZFS."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import SourceMark, TemporaryMark, is_ours
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import (
    PENDING_DELETE,
    Bookmark,
    Dataset,
    Hold,
    Snapshot,
    Token,
    Value,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Step
from ansible_collections.cerss.zfs.plugins.module_utils._replication import bookkeeping, planner, reseed
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import (
    Link,
    OldReplica,
    Pair,
    PairOptions,
    PairPlan,
    Send,
    send_step,
)
from ansible_collections.cerss.zfs.tests.unit.pairs import POOL, REPLICA_GUID, SOURCE_GUID, link

HOURS = 6  # between two snapshots


class Killed(Exception):
    """The run was killed before a command, or within a stream."""


@dataclass
class Kill:
    """After so many commands and snapshots of streams. ``torn``: a part of the snapshot that was coming is left."""

    left: int
    torn: bool = True

    def tick(self) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1


class Zfs:
    """The datasets of both pools by name. A command that ZFS would refuse is an AssertionError.

    Snapshots of backup always have a greater createtxg, so a comparison between the two pools goes wrong at once.
    """

    def __init__(self, way: Link) -> None:
        self.link = way
        self.datasets: dict[str, Dataset] = {}
        self.kill: Kill | None = None
        self.commands: list[list[str]] = []
        self.numbers = itertools.count(1)
        self._txgs = {"tank": itertools.count(1), "backup": itertools.count(10_001)}
        self._guids = itertools.count(50_000)

    # -- what users do

    def create(self, name: str, guid: str | None = None, origin: str | None = None) -> Dataset:
        values = {"type": Value("filesystem"), "written": Value("0"), "encryption": Value("off")}
        self.datasets[name] = Dataset(name, guid or str(next(self._guids)), self.txg(name), origin, values=values)
        return self.datasets[name]

    def snapshot(self, name: str, temporary: bool = False) -> Snapshot:
        """Take the snapshot s<N>, whose GUID is N."""
        number = next(self.numbers)
        dataset = self.datasets[name]
        found = self._snapshot(dataset, f"s{number}", str(number))
        found.temporary, found.properties = temporary, {TemporaryMark.NAME: "true"} if temporary else {}
        dataset.values["written"] = Value("0")
        return found

    def write(self, name: str) -> None:
        self.datasets[name].values["written"] = Value("512")

    def delete(self, name: str) -> None:
        """zfs destroy -d of a snapshot."""
        snapshot = self.get(name)
        snapshot.state = PENDING_DELETE
        self._end_pending(snapshot)

    # -- what is there

    def txg(self, name: str) -> int:
        return next(self._txgs[name.partition("/")[0]])

    def get(self, name: str) -> Snapshot:
        dataset = self.datasets[name.partition("@")[0]]
        found = dataset.by_name(name)
        assert found, f"{name} does not exist"
        return found

    def clones(self, name: str) -> list[str]:
        """Of a snapshot, with the part of a receive that starts from it."""
        dataset, guid = self.datasets[name.partition("@")[0]], self.get(name).guid
        part = [f"{dataset.name}/%recv"] if dataset.token and dataset.token.fromguid == guid else []
        return part + [each.name for each in self.datasets.values() if each.origin == name]

    @property
    def source(self) -> Dataset:
        return self.datasets[self.link.source_name]

    @property
    def replica(self) -> Dataset | None:
        return self.datasets.get(self.link.replica_name)

    def pair(self) -> Pair:
        """What replication reads of it."""
        way = self.link
        self._look()
        there = copy.deepcopy(self.datasets)
        found = Pair(way, there[way.source_name], there.get(way.replica_name), POOL)
        old = found.replica
        below = [each for name, each in there.items() if old and name.rpartition("/")[0] == old.name]
        settings = {name: value.text for name, value in old.values.items() if value.local} if old else {}
        new = there.get(reseed.beside_name(found))
        if new:
            new.values.update({name: Value(text, "local") for name, text in new.ours.items()})
        return replace(
            found,
            beside=new,
            old=there.get(reseed.old_name(found)),
            replaced=OldReplica({**settings, **old.ours}, moving=tuple(below)) if old else None,
        )

    def _look(self) -> None:
        for dataset in self.datasets.values():
            dataset.origin_guid = self.get(dataset.origin).guid if dataset.origin else None
            for snapshot in dataset.snapshots:
                snapshot.clones = self.clones(snapshot.name)

    # -- commands

    def run(self, argv: list[str]) -> None:
        if self.kill:
            self.kill.tick()
        self.commands.append(argv)
        assert argv[0] == "zfs"
        getattr(self, f"_{argv[1].replace('-', '_')}")(*argv[2:])

    def _set(self, *arguments: str) -> None:
        *settings, name = arguments
        dataset = self.datasets[name]
        for setting in settings:
            key, _equals, value = setting.partition("=")
            if is_ours(key):
                dataset.ours[key] = value
            else:
                dataset.values[key] = Value(value, "local")

    def _inherit(self, key: str, name: str) -> None:
        self.datasets[name].ours.pop(key)

    def _create(self, *arguments: str) -> None:
        self.create(arguments[-1])

    def _allow(self, *_arguments: str) -> None:
        pass

    def _load_key(self, name: str) -> None:
        assert name in self.datasets

    def _bookmark(self, name: str, bookmark: str) -> None:
        snapshot, dataset = self.get(name), self.datasets[bookmark.partition("#")[0]]
        assert all(each.name != bookmark for each in dataset.bookmarks), f"{bookmark} exists"
        made = Bookmark(bookmark, str(snapshot.guid), int(str(snapshot.createtxg)), snapshot.created)
        dataset.bookmarks = sorted([*dataset.bookmarks, made], key=lambda each: each.createtxg)

    def _hold(self, tag: str, *names: str) -> None:
        for snapshot in map(self.get, names):
            assert Hold(tag) not in (snapshot.holds or []), f"{snapshot.name} is held"
            snapshot.holds = [*(snapshot.holds or []), Hold(tag)]
            snapshot.userrefs = len(snapshot.holds)

    def _release(self, tag: str, *names: str) -> None:
        for snapshot in map(self.get, names):
            assert Hold(tag) in (snapshot.holds or []), f"{snapshot.name} is not held"
            snapshot.holds = [hold for hold in snapshot.holds or [] if hold.tag != tag]
            snapshot.userrefs = len(snapshot.holds)
            self._end_pending(snapshot)

    def _end_pending(self, snapshot: Snapshot) -> None:
        if snapshot.state == PENDING_DELETE and not (snapshot.holds or self.clones(snapshot.name)):
            self.datasets[snapshot.dataset].snapshots.remove(snapshot)

    def _destroy(self, name: str) -> None:
        head, at, tail = name.partition("@")
        dataset = self.datasets[head.partition("#")[0]]
        if not at and "#" not in name:
            assert not dataset.snapshots, f"{name} has snapshots"
            assert not any(each.startswith(f"{name}/") for each in self.datasets), f"{name} has children"
            del self.datasets[name]
        elif not at:
            assert any(each.name == name for each in dataset.bookmarks)
            dataset.bookmarks = [each for each in dataset.bookmarks if each.name != name]
        for part in tail.split(",") if at else ():
            snapshot = self.get(f"{head}@{part}")
            needs = [*(snapshot.holds or []), *self.clones(snapshot.name)]
            assert not needs, f"{snapshot.name} is needed by {needs}"
            if snapshot is dataset.snapshots[-1]:
                dataset.values["written"] = Value("512")  # what it had is now written since the one before it
            dataset.snapshots.remove(snapshot)

    def _rollback(self, name: str) -> None:
        snapshot = self.get(name)
        dataset = self.datasets[snapshot.dataset]
        assert dataset.snapshots[-1] is snapshot, f"{name} is not the newest"
        assert all(each.createtxg <= int(str(snapshot.createtxg)) for each in dataset.bookmarks)
        dataset.values["written"] = Value("0")

    def _receive(self, flag: str, name: str) -> None:
        dataset = self.datasets[name]
        assert flag == "-A"
        assert dataset.token
        dataset.token = None
        del dataset.values["receive_resume_token"]
        if dataset.inconsistent:
            del self.datasets[name]

    def _rename(self, *arguments: str) -> None:
        old, new = arguments[-2:]
        assert not any(name == new for name in self.datasets), f"{new} exists"
        assert self.datasets[old].type == "volume" or arguments[0] == "-u"

        def moved(name: str) -> str:
            inside = name == old or name.startswith((f"{old}/", f"{old}@", f"{old}#"))
            return new + name[len(old) :] if inside else name

        for dataset in self.datasets.values():
            dataset.name = moved(dataset.name)
            dataset.origin = moved(dataset.origin) if dataset.origin else None
            for snapshot in dataset.snapshots:
                snapshot.name = moved(snapshot.name)
            for bookmark in dataset.bookmarks:
                bookmark.name = moved(bookmark.name)
        self.datasets = {dataset.name: dataset for dataset in self.datasets.values()}

    def _promote(self, name: str) -> None:
        dataset = self.datasets[name]
        assert dataset.origin, f"{name} is no clone"
        old = self.datasets[dataset.origin.partition("@")[0]]
        until = old.snapshots.index(self.get(dataset.origin)) + 1
        taken, old.snapshots = old.snapshots[:until], old.snapshots[until:]
        names = {snapshot.snapshot for snapshot in dataset.snapshots}
        for snapshot in taken:
            assert snapshot.snapshot not in names, f"{name} has another {snapshot.snapshot}"
            former, snapshot.name = snapshot.name, f"{name}@{snapshot.snapshot}"
            for other in self.datasets.values():
                other.origin = snapshot.name if other.origin == former else other.origin
        dataset.snapshots = [*taken, *dataset.snapshots]
        dataset.origin, old.origin = old.origin, taken[-1].name

    # -- streams

    def receive(self, send: Send, into: str, properties: dict[str, str]) -> None:
        """zfs send and zfs receive -s of what the stream says, which must be possible."""
        self._check_send(send)
        receiver = self._receiver(send, into, properties)
        for snapshot in send.carries:
            newest = receiver.snapshots[-1].guid if receiver.snapshots else receiver.origin_guid
            try:
                if self.kill:
                    self.kill.tick()
            except Killed:
                self._tear(receiver, snapshot, newest, send.raw)
                raise
            receiver.token, receiver.inconsistent = None, False
            receiver.values.pop("receive_resume_token", None)
            self._snapshot(receiver, snapshot.snapshot, str(snapshot.guid))

    def _check_send(self, send: Send) -> None:
        source = self.datasets[send.snapshot.dataset]
        there = [snapshot.guid for snapshot in source.snapshots]
        carried = [snapshot.guid for snapshot in send.carries]
        if not (send.intermediates or send.kind == "resume"):
            assert len(carried) == 1
        if send.intermediates:
            assert 1 < len(carried) <= planner.PACKAGE
            assert send.base_guid in there, "-I needs a snapshot as its base"
            at = there.index(send.base_guid) + 1
            assert there[at : at + len(carried)] == carried, "-I sends everything in between"
        assert send.snapshot.guid in there
        assert send.base_guid is None or send.base_guid in {
            *there, source.origin_guid, *(bookmark.guid for bookmark in source.bookmarks),
        }  # fmt: skip

    def _receiver(self, send: Send, into: str, properties: dict[str, str]) -> Dataset:
        if send.kind == "resume":
            receiver = self.datasets[into]
            assert receiver.token
            assert (receiver.token.toguid, receiver.token.fromguid) == (send.snapshot.guid, send.base_guid)
            return receiver
        if send.kind == "full" or send.origin:
            assert into not in self.datasets, f"{into} exists"
            receiver = self.create(into, REPLICA_GUID if into == self.link.replica_name else None, send.origin)
            receiver.inconsistent = True
            self._set(*(f"{name}={value}" for name, value in properties.items()), into)
            receiver.origin_guid = self.get(send.origin).guid if send.origin else None
            assert receiver.origin_guid == send.base_guid
            return receiver
        receiver = self.datasets[into]
        assert not receiver.token
        assert not receiver.written, "ZFS receives no increment into a modified dataset"
        assert receiver.snapshots[-1].guid == send.base_guid, "the base must be the newest snapshot"
        return receiver

    def _tear(self, receiver: Dataset, snapshot: Snapshot, base: str | None, raw: bool) -> None:
        assert self.kill
        if self.kill.torn:
            receiver.token = Token("1-x", str(snapshot.guid), snapshot.name, 1000, base, raw)
            receiver.values["receive_resume_token"] = Value("1-x")
        elif receiver.inconsistent:
            del self.datasets[receiver.name]

    def _snapshot(self, dataset: Dataset, name: str, guid: str) -> Snapshot:
        full = f"{dataset.name}@{name}"
        assert not dataset.by_name(full), f"{full} exists"
        txg = self.txg(full)
        made = Snapshot(full, guid, txg, created=txg * HOURS * 3600, temporary=False, clones=[], userrefs=0, holds=[],
                        written=10, referenced=100)  # fmt: skip
        dataset.snapshots.append(made)
        return made


# -- runs ------------------------------------------------------------------------------------------------------------


def history(*numbers: int, name: str = "tank/v") -> Zfs:
    """A source dataset with these snapshots, its replica will be backup/v."""
    zfs = Zfs(link(source_name=name))
    zfs.create("tank")
    zfs.create("backup")
    zfs.create(name, SOURCE_GUID)
    for number in range(1, max(numbers, default=0) + 1):
        zfs.snapshot(name)
        if number not in numbers:
            zfs.delete(f"{name}@s{number}")
    return zfs


def do(zfs: Zfs, steps: Iterable[Step], done: list[Step]) -> None:
    for step in steps:
        for command in step.commands:
            zfs.run(command)
        done.append(step)


def carry_out(zfs: Zfs, options: PairOptions, plan: PairPlan, done: list[Step]) -> None:
    """One plan, as a run carries it out."""
    do(zfs, plan.prepare, done)
    do(zfs, plan.protect, done)
    mode = bookkeeping.mode_of(plan.raw)
    for send in plan.sends:
        properties = bookkeeping.first_receive_properties(plan.pair, options, mode, plan.reseeds)
        zfs.receive(send, plan.into, properties)
        done.append(send_step(plan.pair, send))
    do(zfs, planner.finish_steps(plan, zfs.pair()), done)


def replicate(zfs: Zfs, options: PairOptions | None = None, kill: Kill | None = None) -> list[Step]:
    """A run: the steps that were done. Raises the plan's error, and Killed."""
    options = options or PairOptions()
    done: list[Step] = []
    if planner.settled(zfs.pair(), options):
        return done
    zfs.kill = kill
    try:
        while True:
            plan = planner.plan_pair(zfs.pair(), options)
            if plan.error:
                raise plan.error
            carry_out(zfs, options, plan, done)
            if not plan.more:
                return done
    finally:
        zfs.kill = None


def mark(dataset: Dataset) -> SourceMark:
    found = dataset.source_mark
    assert found
    return found
