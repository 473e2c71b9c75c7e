# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Receives that are in the way: of others, which are waited for, and of our own runs, which are ended."""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._host import activity, runfiles
from ansible_collections.cerss.zfs.plugins.module_utils._replication import receivers
from ansible_collections.cerss.zfs.tests.unit.machine import No, token_text
from ansible_collections.cerss.zfs.tests.unit.world import THERE, World, behind, id_of, message


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock takes a while."""
    real, looks = time.monotonic, itertools.count()

    class Clock:
        time = time.time

        @staticmethod
        def monotonic() -> float:
            return real() + 0.1 * next(looks)

    monkeypatch.setattr(receivers, "time", Clock)


# -- of others -------------------------------------------------------------------------------------------------------


class Receiver:
    """A receive of another host into backup/v, which ends after so many looks at it."""

    def __init__(self, world: World, snapshot: str, looks: int) -> None:
        self.world, self.looks, self.snap = world, looks, world.here.all[snapshot]
        into = world.there.all["backup/v"]
        into.busy = True
        into.token = token_text(self.snap.guid, self.snap.name, world.there.snaps("backup/v")[-1].guid)

    def __call__(self, _machine: str, argv: list[str]) -> None:
        self.looks -= argv[0] == "ps"
        if self.looks < 0 and self.world.there.all["backup/v"].busy:
            self.world.there.arrive(self.world.there.all["backup/v"], self.snap)


@pytest.mark.parametrize("on_active", ["wait", "attach"])
def test_a_receive_of_what_is_wanted_is_waited_for(world: World, on_active: str) -> None:
    behind(world)
    world.hook = Receiver(world, "tank/v@s2", looks=3)
    result = world.replicate(on_active=on_active)
    assert message(result) == ""
    assert [step["snapshots"] for step in result["replicas"][0]["steps"]] == [["tank/v@s3", "tank/v@s4"]]


def test_a_receive_of_something_else_is_waited_for_only_if_asked(world: World) -> None:
    behind(world)
    world.here.make("tank/v@x")
    world.hook = Receiver(world, "tank/v@x", looks=9)
    options: dict[str, Any] = {"exclude_snapshots": ["x"]}
    for on_active in ("attach", "fail"):
        result = world.replicate(on_active=on_active, **options)
        assert "b:backup/v is currently receiving tank/v@x; wait until it has finished" in message(result)
        assert world.changes() == []


class HiddenReceiver(Receiver):
    """One that ps does not show. With each look at its token more has arrived."""

    def __init__(self, world: World, snapshot: str, looks: int) -> None:
        super().__init__(world, snapshot, looks)
        world.there.shows = False

    def __call__(self, machine: str, argv: list[str]) -> None:
        into = self.world.there.all["backup/v"]
        if machine == THERE and "receive_resume_token" in argv and into.busy:
            self.looks -= 1
            base = self.world.there.snaps("backup/v")[-1].guid
            into.token = token_text(self.snap.guid, self.snap.name, base, arrived=10_000 - self.looks)
        super().__call__(machine, argv)


@pytest.mark.parametrize("on_active", ["wait", "attach", "fail"])
def test_where_processes_are_hidden_the_token_shows_a_receive(
    world: World, on_active: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity, "GROWTH", 0.5)
    monkeypatch.setattr(activity, "_LOOK", 0.01)
    behind(world)
    world.hook = HiddenReceiver(world, "tank/v@s2", looks=20)
    result = world.replicate(on_active=on_active)
    if on_active == "fail":
        assert "b:backup/v is currently receiving tank/v@s2; wait until it has finished" in message(result)
        assert [argv for machine, argv in world.changes() if machine == THERE] == []
    else:
        assert message(result) == ""
        assert [step["snapshots"] for step in result["replicas"][0]["steps"]] == [["tank/v@s3", "tank/v@s4"]]


def test_where_processes_are_hidden_an_interrupted_receive_is_resumed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity, "GROWTH", 0.05)
    behind(world)
    world.there.shows = False
    base = world.there.snaps("backup/v")[-1].guid
    world.there.all["backup/v"].token = token_text(world.here.all["tank/v@s2"].guid, "tank/v@s2", base)
    result = world.replicate(on_active="fail")
    assert (message(result), result["replicas"][0]["resumed"]) == ("", True)


def test_where_processes_are_hidden_nothing_is_renamed_over_a_receive(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity, "GROWTH", 0.5)
    monkeypatch.setattr(activity, "_LOOK", 0.01)
    behind(world)
    world.there.make("backup/v@own", "backup/v/below")
    world.there.shows = False
    arrived = itertools.count()

    def hook(_machine: str, argv: list[str]) -> None:
        if "receive_resume_token" in argv:
            world.there.all["backup/v/below"].token = token_text("7", "tank/v/below@s", arrived=next(arrived))

    world.hook = hook
    result = world.replicate(on_divergence="reseed")
    assert "b:backup/v or a dataset below it is currently receiving" in message(result)
    assert world.changes() == []


def test_a_receive_that_stands_still_is_not_waited_for_for_ever(world: World, fast: None) -> None:
    behind(world)
    world.hook = Receiver(world, "tank/v@s2", looks=10**6)
    result = world.replicate(on_active="wait", stall_timeout="1s")
    assert "but no byte has arrived for 1 s (stall_timeout)" in message(result)
    assert "kill 77" in message(result)


def test_a_replica_is_not_replaced_while_something_below_it_receives(world: World) -> None:
    behind(world)
    world.there.make("backup/v@own", "backup/v/below")
    world.there.all["backup/v/below"].busy = True
    result = world.replicate(on_divergence="reseed")
    assert "b:backup/v or a dataset below it is currently receiving" in message(result)
    assert world.changes() == []


def test_check_mode_watches_hidden_receives_once_for_all(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"tank/{number}" for number in range(4)]
    world.here.make(*(f"{name}@s1" for name in names))
    to = {"host": THERE, "parent": "backup", "strip": 1}
    world.replicate(*names, target=to)
    world.here.make(*(f"{name}@s2" for name in names))
    world.there.make(*(f"backup/{number}@own" for number in range(4)))
    watched: list[list[str]] = []
    monkeypatch.setattr(activity, "process_list", lambda _backend: [])
    monkeypatch.setattr(activity, "_grow", lambda _backend, datasets: watched.append(datasets))
    world.replicate(*names, target=to, check=True, on_divergence="reseed")
    assert len(watched) == 1


# -- of our own ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pid", "ours"), [(77, True), (78, False), (7, False), (None, False)])
def test_our_receiver_is_ended_when_its_connection_was_lost(world: World, pid: int | None, ours: bool) -> None:
    """Only a receiver that has told us its pid on our connection is ours, however young another one is."""
    behind(world)
    world.pid = pid
    cut: list[bool] = []

    def hook(_machine: str, argv: list[str]) -> None:
        into = world.there.all["backup/v"]
        if argv[1] == "receive" and not cut:
            cut.append(True)
            into.busy = True
            raise No("cannot receive: Connection reset by peer")
        if argv[0] == "kill":
            into.busy = False

    world.hook = hook
    result = world.replicate(retries=1, on_active="fail")
    assert [argv for _machine, argv in world.log if argv[0] == "kill"] == [["kill", "77"]] * ours
    assert (message(result) == "") == ours


def test_our_receiver_is_remembered_until_its_host_answers(world: World) -> None:
    behind(world)
    world.pid = 77
    steps: list[str] = []

    def hook(_machine: str, argv: list[str]) -> None:
        into = world.there.all["backup/v"]
        if argv[1] == "receive" and not steps:
            steps.append("cut")
            into.busy, world.pid = True, 78  # the next receiver is another process
            raise No("cannot receive: Connection reset by peer")
        if argv[0] == "ps" and steps == ["cut"]:
            steps.append("no answer")
            raise No("ssh: connect to host b port 22: Connection timed out")
        if argv[0] == "kill":
            into.busy = False

    world.hook = hook
    assert message(world.replicate(retries=3)) == ""
    assert [argv for _machine, argv in world.log if argv[0] == "kill"] == [["kill", "77"]]


LEFT: dict[str, Any] = {"operation": "send", "receiver": 77, "into": "backup/v", "target": "b:backup/v", "programs": []}


@pytest.mark.parametrize(
    ("change", "ours"),
    [
        ({}, True),
        ({"receiver": 78}, False),
        ({"receiver": None}, False),
        ({"told": None}, False),
        ({"told": -3600.0}, False),  # another process has got the pid since
        ({"id": "f" * 16}, False),
        ({"into": "backup/w"}, False),
        ({"target": "c:backup/v"}, False),
        ({"pid": os.getpid()}, False),  # the run is alive
        ({"programs": [os.getpid()]}, False),  # a program of the stream is
    ],
)
@pytest.mark.parametrize("on_active", ["attach", "fail"])
def test_the_receiver_of_a_killed_run_is_ended_if_it_is_sure_to_be_ours(
    world: World, fast: None, change: dict[str, Any], ours: bool, on_active: str
) -> None:
    behind(world)
    with subprocess.Popen(["true"]) as dead:
        dead.wait()
    told = change.get("told", -1.0)
    run = {**LEFT, "id": id_of(world), "pid": dead.pid, **change, "told": told and time.time() + told}
    file = runfiles.RunFile()
    file.write(run)
    into = Receiver(world, "tank/v@s2", looks=10**6)

    def hook(machine: str, argv: list[str]) -> None:
        if argv[0] == "kill":
            world.there.all["backup/v"].busy = False
        into(machine, argv)

    world.hook = hook
    result = world.replicate(on_active=on_active, stall_timeout="1s")
    assert [argv for _machine, argv in world.log if argv[0] == "kill"] == [["kill", "77"]] * ours
    assert (message(result) == "") == ours, message(result)
    assert (list(Path(runfiles.SYSTEM_FOLDER).glob("*/*.json")) == []) == ours
