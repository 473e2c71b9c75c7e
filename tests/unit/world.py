# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two machines in memory, between which the modules replicate. Runs can be killed, disturbed and counted.

That is no proof about ZFS: the system tests and the recordings show how real ZFS behaves.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils import _gate
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import ReplicaRecords
from ansible_collections.cerss.zfs.plugins.module_utils._host import process, runfiles
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.wanted import Wanted
from ansible_collections.cerss.zfs.plugins.module_utils._replication import attempt, receivers, replicate, work
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.errors import zfs_error
from ansible_collections.cerss.zfs.tests.unit.machine import Machine, No, Thing, flags_of
from ansible_collections.cerss.zfs.tests.unit.scenarios import Call
from ansible_collections.cerss.zfs.tests.unit.transcript import entrance

HERE, THERE = "here", "b"  # the machine that the modules run on, and the one an ssh away
READING = ("list", "get", "holds", "send", "allow")


class Killed(BaseException):
    """The run is killed. Nothing that it tries afterwards has an effect."""


class World:
    """``log``: (machine, argv) of all that was run. A run is killed at its ``kill_at``-th point.

    ``hook`` is called before each command and each end of a stream, and may refuse it with `No`. ``seen`` is called
    after each change. ``root``: whether the run here is of root. ``pid``: what receivers tell. ``stop``: the event that
    stops the last run. ``cuts``: snapshots whose streams break off once.
    """

    def __init__(self, seed: int | None = None) -> None:
        numbers = iter(range(10_000, 10**9, 7))
        self.here, self.there = Machine(numbers), Machine(numbers)
        self.machines = {HERE: self.here, THERE: self.there}
        self.log: list[tuple[str, list[str]]] = []
        self.lock = threading.RLock()
        self.points, self.kill_at, self.dead = 0, 0, False
        self.root = True
        self.pid: int | None = None
        self.random = None if seed is None else random.Random(seed)
        self.hook: Callable[[str, list[str]], object] = lambda _machine, _argv: None
        self.seen: Callable[[], object] = lambda: None
        self.stop = threading.Event()
        self.cuts: list[str] = []

    def install(self, patch: pytest.MonkeyPatch, folder: Path) -> None:
        patch.setattr(process, "run", self.run)
        patch.setattr(process, "Lines", lambda argv, _check=None: _Lines(self, argv))
        patch.setattr(attempt, "run_pipe", self.pipe)
        patch.setattr(work, "POLL", 0.005)
        patch.setattr(receivers, "LOOK", 0.005)
        patch.setattr(random, "uniform", lambda *_: 0.0)
        patch.setattr(runfiles, "SYSTEM_FOLDER", folder / "run")
        patch.setattr(runfiles, "TEMP_FOLDER", folder)
        patch.delenv(runfiles.RUN_ID, raising=False)
        patch.setattr(shutil, "which", lambda program, **_: f"/usr/bin/{program}")
        patch.setattr(replicate, "_stoppable", self._stoppable)
        patch.setattr(os, "geteuid", lambda: 0 if self.root else 1000)

    @contextlib.contextmanager
    def _stoppable(self, wanted: Wanted, _lease: runfiles.Lease) -> Iterator[None]:
        self.stop = wanted.stop  # without signals, which are for the main thread alone
        yield

    def replicate(self, *names: str, check: bool = False, target: Any = "backup/v", **options: Any) -> dict[str, Any]:
        """A run of zfs_snapshot_replicate. ``target``: its options, or the replica on the other machine."""
        to = target if isinstance(target, dict) else {"host": THERE, "dataset": target}
        given = {"name": list(names or ["tank/v"]), "target": to, "retries": 0, "parallel": 1, **options}
        if "targets" in given:
            del given["target"]
        with self.lock:  # it puts something else in the place of `run_module` for a moment
            verb, params = entrance(Call("zfs_snapshot_replicate", given))
        return verb(params, check)

    def count(self, machine: str, *command: str) -> int:
        return sum(where == machine and argv[: len(command)] == list(command) for where, argv in self.log)

    def changes(self) -> list[tuple[str, list[str]]]:
        return [(where, argv) for where, argv in self.log if _changes(argv)]

    def state(self) -> dict[tuple[str, str], str]:
        """GUIDs by machine and name."""
        return {(where, name): thing.guid for where, each in self.machines.items() for name, thing in each.all.items()}

    def revive(self) -> None:
        self.points, self.kill_at, self.dead = 0, 0, False
        self.log.clear()

    def point(self) -> None:
        """Before each change: the run may be killed here, or another one come in between."""
        if self.random:
            time.sleep(self.random.choice((0, 0, 0.001, 0.003)))
        self.points += 1
        self.dead = self.dead or self.points == self.kill_at
        if self.dead:
            raise Killed

    def run(self, argv: list[str], **_options: Any) -> process.Result:
        if argv[0] != "ssh":
            return self.command(HERE, argv)
        machine = argv[argv.index("--") + 1]
        return process.Result(argv, 0, "", "") if "-O" in argv else self.command(machine, *_gate.split_line(argv[-1]))

    def command(self, machine: str, argv: list[str]) -> process.Result:
        if _changes(argv) or self.dead:
            self.point()
        try:
            self.hook(machine, argv)
        except No as error:
            return process.Result(argv, 1, "", f"{error}\n")
        with self.lock:
            self.log.append((machine, argv))
            result = self.machines[machine].answer(argv)
            if _changes(argv):
                self.seen()
        return result

    def pipe(
        self, source: Backend, target: Backend, send: list[str], receive: list[str], _transport: Any, meter: Any,
        _wanted: Wanted, tick: Callable[[], None], asked: Any,
    ) -> None:  # fmt: skip
        """Stands in for `transfer.run_pipe`. Points are before it, and when a part of a snapshot has arrived."""
        ends = [(each.endpoint.host or HERE, argv) for each, argv in ((source, send), (target, receive))]
        sender, receiver = (self.machines[name] for name, _argv in ends)
        into: Thing | None = None
        self.point()
        tick()
        meter.receiver = self.pid
        try:
            for end in ends:
                self.hook(*end)
            with self.lock:
                self.log += ends
                parts = sender.parts(*flags_of(send))
            if asked.expected.parts != tuple((part.snap.guid, part.base) for part in parts) and ends[0][0] != HERE:
                raise asked.refusal("it sends another one", 0)
            assert {part.raw for part in parts} == {asked.expected.raw}
            for part in parts:
                with self.lock:
                    into = receiver.begin(receive, part, resumed="-t" in send)
                    self.seen()
                self.point()
                if part.snap.name in self.cuts:
                    self.cuts.remove(part.snap.name)
                    raise No("cannot receive: checksum mismatch or incomplete stream")
                with self.lock:
                    receiver.arrive(into, part.snap)
                    self.seen()
                meter.note(part.snap.size, part.snap.name)
        except No as error:
            side, argv = ends["receive" in str(error)]
            raise zfs_error(argv, 1, str(error), side) from error
        finally:
            if into:
                into.busy = False


def _changes(argv: list[str]) -> bool:
    return (
        argv[0] == "zfs"
        and argv[1:3] not in (["create", "-n"], ["load-key", "-n"])
        and (argv[1] not in READING or (argv[1] == "allow" and len(argv) > 3))
    )


class _Lines:
    """`process.Lines`."""

    def __init__(self, world: World, argv: list[str]) -> None:
        self.world, self.argv = world, argv
        self.result: process.Result | None = None

    def __iter__(self) -> Iterator[str]:
        self.result = self.world.run(self.argv)
        yield from self.result.stdout.split("\n")[:-1]


# -- for tests of single pairs ----------------------------------------------------------------------------------------


def message(result: dict[str, Any]) -> str:
    (replica,) = result["replicas"]
    assert replica["failed"] == bool(replica["msg"])
    return str(replica["msg"] or "")


def behind(world: World) -> None:
    """tank/v@s1 is replicated, and s2 to s4 are not."""
    world.here.make("tank/v@s1")
    world.replicate()
    world.here.make("tank/v@s2", "tank/v@s3", "tank/v@s4")
    world.revive()


def id_of(world: World) -> str:
    (records,) = ReplicaRecords.all_of(world.here.all["tank/v"].props).values()
    (record,) = records.entries  # type: ignore[union-attr]
    return str(record.id)


def marks(world: World) -> list[Any]:
    """Bookmarks, holds and properties on the source."""
    return [(name, thing.holds, thing.props) for name, thing in sorted(world.here.all.items())]


def failing(world: World, *whys: str, command: str = "receive") -> list[str]:
    """The next commands fail for these reasons. Returns those that are left."""
    left = list(whys)

    def hook(_machine: str, argv: list[str]) -> None:
        if argv[1] == command and left:
            raise No(f"cannot {command} 'x': {left.pop(0)}")

    world.hook = hook
    return left
