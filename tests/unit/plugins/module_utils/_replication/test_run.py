# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whole runs between machines in memory: in which order, how often, and what remains when one is killed."""

from __future__ import annotations

import contextlib
import copy
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    CommitPoints,
    ReplicaRecord,
    ReplicaRecords,
    is_ours,
)
from ansible_collections.cerss.zfs.plugins.module_utils._host import runfiles
from ansible_collections.cerss.zfs.plugins.module_utils._replication import attempt, planner
from ansible_collections.cerss.zfs.plugins.module_utils._replication import run as runs
from ansible_collections.cerss.zfs.tests.unit.machine import No
from ansible_collections.cerss.zfs.tests.unit.world import HERE, THERE, Killed, World

NewWorld = Callable[..., World]
SEEDS = range(int(os.environ.get("REPLICATION_SEEDS", "12")))  # of two runs at once
Scenario = Callable[[World], "dict[str, Any]"]
TREE: dict[str, Any] = {"target": {"host": THERE, "parent": "backup"}, "recursive": True}


def run(world: World, options: dict[str, Any], **more: Any) -> dict[str, Any]:
    return world.replicate(*options["names"], **{**{key: options[key] for key in options if key != "names"}, **more})


def errors(result: dict[str, Any]) -> dict[str, str]:
    """The messages of the pairs that failed, by target."""
    return {each["target"]: each["msg"] for each in result["replicas"] if each["failed"]}


# -- whole runs, and killed ones -------------------------------------------------------------------------------------


def first(world: World) -> dict[str, Any]:
    """Nothing is there yet, and one dataset of the tree is a clone."""
    world.here.make("tank/v@s1", "tank/v@s2", "tank/v/c@s1")
    world.here.clone("tank/v@s1", "tank/k")
    world.here.make("tank/k@k1")
    return {"names": ("tank/k", "tank/v"), "recursive": True, "target": {"host": THERE, "parent": "backup/site"}}


def increment(world: World) -> dict[str, Any]:
    """Several snapshots are missing."""
    world.here.make("tank/v@s1")
    world.replicate()
    world.here.make(*(f"tank/v@s{number}" for number in range(2, 6)))
    return {"names": ("tank/v",)}


def rolled_back(world: World) -> dict[str, Any]:
    """The replica has snapshots of its own, which the plan destroys."""
    world.here.make("tank/v@s1")
    world.replicate()
    world.here.make("tank/v@s2")
    world.there.make("backup/v@own", "backup/v@more")
    world.there.all["backup/v"].written = 9
    return {"names": ("tank/v",), "on_divergence": "rollback"}


def replaced(world: World) -> dict[str, Any]:
    """The replica has diverged, has a child, settings and permissions, and is the source of another replica."""
    world.here.make("tank/v@s1", "tank/v@s2")
    world.replicate()
    world.here.make("tank/v@s3")
    world.there.make("backup/v@own", "backup/v/below@own")
    old = world.there.all["backup/v"]
    old.allowed.append("\tuser ann send\n")
    old.props["compression"] = "zstd"
    record = ReplicaRecord("ab" * 8, "c:third/v", old.guid, "plain")
    old.props[ReplicaRecords.name("0" * 16)] = ReplicaRecords((record,)).format()
    return {"names": ("tank/v",), "on_divergence": "reseed"}


def replaced_tree(world: World) -> dict[str, Any]:
    """A replica has diverged; those below it have not, and one of them is new."""
    world.here.make("tank/v@s1", "tank/v/a@s1", "tank/v/a/b@s1")
    world.replicate("tank/v", **TREE)
    world.here.make("tank/v@s2", "tank/v/a@s2", "tank/v/a/b@s2", "tank/v/new@s1")
    world.there.make("backup/v@own")
    return {"names": ("tank/v",), "on_divergence": "reseed", **TREE}


def replaced_holders(world: World) -> dict[str, Any]:
    """What is deepest was replicated first, so that two datasets were created to hold it. One of them is in use."""
    world.here.make("tank/v/a/b@s1")
    world.replicate("tank/v/a/b", target={"host": THERE, "parent": "backup"})
    world.here.make("tank/v@s2", "tank/v/a@s2", "tank/v/a/b@s2")
    world.there.make("backup/v/other@own")
    world.there.all["backup/v"].props["compression"] = "zstd"
    return {"names": ("tank/v",), "on_divergence": "reseed", **TREE}


SCENARIOS: list[Scenario] = [first, increment, rolled_back, replaced, replaced_tree, replaced_holders]


@pytest.fixture(params=[100, 2], ids=["", "in-rounds"])
def package(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many snapshots are sent before the pair is read again."""
    monkeypatch.setattr(planner, "PACKAGE", request.param)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_check_mode_foretells_the_run(world: World, package: None, scenario: Scenario) -> None:
    options = scenario(world)
    before = world.state()
    foretold = run(world, options, check=True)
    assert world.state() == before
    result = run(world, options)
    for key in ("changed", "actions", "diff"):
        assert foretold[key] == result[key]
    assert {each["state"] for each in result["replicas"]} == {"full"}
    again = run(world, options)
    assert (again["changed"], again["actions"]) == (False, [])


def unread(world: World) -> list[str]:
    """Gets an item each time that backup/v cannot be read, although it could be before."""
    whole, lost = bool(world.there.snaps("backup/v")), list[str]()

    def look() -> None:
        nonlocal whole
        if whole and not world.there.snaps("backup/v"):
            lost.append(" ".join(world.log[-1][1]))
        whole = whole or bool(world.there.snaps("backup/v"))

    world.seen = look
    return lost


DESTROYED = ("backup/v@own", "backup/v@more")  # by the plan that rolls back


def left(world: World) -> set[tuple[str, str, str]]:
    """Names, holds and our properties. Without cursors, whose number depends on how many streams it took."""
    return {
        (where, name, " ".join(sorted([*thing.holds, *filter(is_ours, thing.props)])))
        for where, machine in world.machines.items()
        for name, thing in machine.all.items()
        if "#" not in name
    }


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_run_that_was_killed_anywhere_is_finished_by_the_next(
    world: World, package: None, scenario: Scenario
) -> None:
    options = scenario(world)
    before = copy.deepcopy([machine.all for machine in world.machines.values()])
    gone = DESTROYED if scenario is rolled_back else ()
    guids = {guid for (_machine, name), guid in world.state().items() if name not in gone}
    world.revive()
    run(world, options)
    final, points = left(world), world.points
    assert points > 5
    for point in range(1, points + 1):
        for machine, things in zip(world.machines.values(), copy.deepcopy(before)):
            machine.all = things
        world.revive()
        world.kill_at = point
        lost = unread(world)
        with pytest.raises(Killed):
            run(world, options)
        world.revive()
        result = run(world, options)
        assert not result.get("failed"), (point, result["msg"])
        assert guids <= set(world.state().values()), point
        assert left(world) == final, point
        assert len(lost) == (scenario in (replaced, replaced_tree)), (point, lost)
        again = run(world, options, check=True)
        assert (again["changed"], again["actions"], again["warnings"]) == (False, [], []), point


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("seed", SEEDS)
def test_runs_that_are_killed_again_and_again(
    world: World, monkeypatch: pytest.MonkeyPatch, scenario: Scenario, seed: int
) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(planner, "PACKAGE", chance.choice([2, 3, 100]))
    options = scenario(world)
    for _number in range(4):
        world.revive()
        world.kill_at = chance.randint(1, 12)
        with contextlib.suppress(Killed):
            run(world, options)
    world.revive()
    result = run(world, options)
    assert not result.get("failed"), result["msg"]
    assert run(world, options, check=True)["changed"] is False
    assert not any(snap.holds for snap in world.here.snaps("tank/v"))
    held = [snap for snap in world.there.snaps("backup/v") if snap.holds]
    assert held == world.there.snaps("backup/v")[-1:]


def test_a_reseed_takes_everything_along(world: World) -> None:
    options = replaced(world)
    old = world.there.all["backup/v"]
    run(world, options)
    new, aside = world.there.all["backup/v"], old.name
    assert new is not old
    assert aside.startswith("backup/v_old_")
    assert [snap.name for snap in world.there.snaps("backup/v")] == [f"backup/v@s{number}" for number in (1, 2, 3)]
    assert [snap.name for snap in world.there.snaps(aside)] == [f"{aside}@own"]
    assert "backup/v/below@own" in world.there.all
    assert (new.props["compression"], new.allowed) == ("zstd", old.allowed)
    (record,) = ReplicaRecords.all_of(new.props)["0" * 16].entries  # type: ignore[union-attr]
    assert (record.id, record.formerly) == ("ab" * 8, old.guid)
    assert not ReplicaRecords.all_of(old.props)
    assert [snap.holds for snap in world.there.snaps("backup/v")] == [[], [], ["cerss.zfs:last"]]


def test_what_held_replicas_becomes_one(world: World) -> None:
    options = replaced_holders(world)
    below = {
        name: thing.guid for name, thing in world.there.all.items() if name.startswith(("backup/v/a/b", "backup/v/o"))
    }
    refused = errors(run(world, options, on_divergence="fail"))
    assert set(refused) == {"b:backup/v", "b:backup/v/a"}
    assert "backup/v exists and holds other datasets, but is no replica" in refused["b:backup/v"]
    result = run(world, options)
    assert errors(result) == {}
    assert {name: world.there.all[name].guid for name in below} == below
    assert {"backup/v@s2", "backup/v/a@s2", "backup/v/a/b@s2"} <= world.there.all.keys()
    assert world.there.all["backup/v"].props["compression"] == "zstd"
    assert world.there.all["backup/v"].props["canmount"] == "noauto"
    world.here.make("tank/v@s3", "tank/v/a@s3", "tank/v/a/b@s3")
    assert errors(run(world, options, on_divergence="fail")) == {}


# -- how many processes it takes -------------------------------------------------------------------------------------


def tree(world: World, count: int) -> dict[str, Any]:
    """So many datasets, all of them replicated."""
    world.here.make("tank/v@s1", *(f"tank/v/{number}@s1" for number in range(count - 1)))
    run(world, {"names": ("tank/v",), **TREE}, parallel=4)
    world.revive()
    return {"names": ("tank/v",), **TREE}


def wait_until(true: Callable[[], bool]) -> bool:
    """False if it does not become true within ten seconds."""
    end = time.monotonic() + 10
    while not true() and time.monotonic() < end:
        time.sleep(0.005)
    return true()


def counted(world: World, machine: str) -> dict[str, int]:
    return dict(Counter(argv[1] for where, argv in world.log if where == machine and argv[0] == "zfs"))


def groups(world: World, machine: str) -> int:
    """The transaction groups that the commands take: a channel program one, holds and releases one for each name."""
    changes = [argv for where, argv in world.changes() if where == machine]
    return sum(len(argv[3:]) if argv[1] in ("hold", "release") else 1 for argv in changes)


@pytest.mark.parametrize("count", [1, 4, 9])
def test_nothing_to_do_takes_three_processes_a_side(world: World, count: int) -> None:
    options = tree(world, count)
    assert run(world, options)["changed"] is False
    assert counted(world, HERE) == counted(world, THERE) == {"list": 1, "get": 2}


@pytest.mark.parametrize("count", [1, 4, 9])
@pytest.mark.parametrize("root", [False, True])
def test_an_increment_takes_four_processes_for_each_dataset_and_two_with_programs(
    world: World, count: int, root: bool
) -> None:
    world.root = root
    options = tree(world, count)
    world.here.make("tank/v@s2", *(f"tank/v/{number}@s2" for number in range(count - 1)))
    assert not run(world, options, parallel=4).get("failed")
    waves = world.count(THERE, "zfs", "hold")
    assert waves == 1  # their holds are moved by one command
    marks = {"program": 1 + waves} if root else {"bookmark": count, "set": count}
    assert counted(world, HERE) == {"list": 1 + waves, "get": 4 + 2 * waves, "send": count, **marks}
    assert counted(world, THERE) == {"list": 1 + waves, "get": 3 + 2 * waves, "holds": 1, "receive": count,
                                     "hold": waves, "release": waves}  # fmt: skip
    assert groups(world, HERE) == (2 if root else 2 * count)
    assert groups(world, THERE) == 3 * count  # with the one of zfs receive


@pytest.mark.parametrize("count", [1, 4, 9])
def test_a_first_replication_takes_two_processes_for_each_dataset_with_programs(world: World, count: int) -> None:
    world.here.make("tank/v@s1", *(f"tank/v/{number}@s1" for number in range(count - 1)))
    options = {"names": ("tank/v",), **TREE}
    assert not run(world, options, parallel=4).get("failed")
    found = counted(world, HERE)
    assert (found["send"], found["program"]) == (count, 2)
    assert world.count(THERE, "zfs", "hold") == 1  # a parent's marks do not need a wave of their own
    assert not found.keys() & {"set", "bookmark", "inherit"}
    assert run(world, options)["changed"] is False


def refusing(*refused: str) -> Callable[[str, list[str]], None]:
    def hook(_machine: str, argv: list[str]) -> None:
        if argv[1] in refused:
            raise No("Channel program execution failed: must be run as root")

    return hook


def test_commands_do_what_a_refused_program_does_not(world: World) -> None:
    options = tree(world, 4)
    world.here.make("tank/v@s2", *(f"tank/v/{number}@s2" for number in range(3)))
    world.hook = refusing("program")
    result = run(world, options)
    assert not result.get("failed")
    assert world.count(HERE, "zfs", "program") == 0  # it was asked for once, and refused before it was noted
    assert world.count(HERE, "zfs", "bookmark") == world.count(HERE, "zfs", "set") == 4
    assert run(world, options)["changed"] is False


def test_commands_do_what_fails_in_a_program(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    options = tree(world, 3)
    world.here.make("tank/v@s2", "tank/v/0@s2", "tank/v/1@s2")
    real = world.here.operate
    monkeypatch.setattr(
        world.here, "operate", lambda *given: "28" if given[:2] == ("set", "tank/v/0") else real(*given)
    )
    assert not run(world, options).get("failed")
    assert counted(world, HERE)["set"] == 1
    assert run(world, options)["changed"] is False


@pytest.mark.parametrize(("count", "name"), [(1, "tank/v"), (3, "tank/v/0")])
def test_a_program_writes_no_commit_point_of_a_relationship_that_has_changed_after_it_was_read(
    world: World, count: int, name: str
) -> None:
    """The comparison is part of the program, so nothing can come in between."""
    options = tree(world, count)
    world.here.make("tank/v@s2", *(f"tank/v/{number}@s2" for number in range(count - 1)))

    def end_it(_machine: str, argv: list[str]) -> None:
        if argv[1] == "program" and world.count(THERE, "zfs", "hold"):  # the one after the streams
            world.here.all[name].props = {}

    world.hook = end_it
    result = run(world, options)
    assert not result.get("failed")
    assert [text for text in result["warnings"] if "the relationship was ended meanwhile" in text]
    assert world.here.all[name].props == {}
    if count > 1:
        assert run(world, options, name=["tank/v", "tank/v/1"], recursive=False)["changed"] is False


def test_two_first_replications_to_one_pool_at_once_keep_the_records_of_both(world: World) -> None:
    world.here.make("tank/v@s1")
    one, other = ({"names": ("tank/v",), "target": {"host": "b", "dataset": f"backup/{name}"}} for name in "xy")

    def hook(_machine: str, argv: list[str]) -> None:
        if argv[1] == "program":
            world.hook = lambda *_: None
            assert not run(world, other).get("failed")

    world.hook = hook
    assert not run(world, one).get("failed")
    assert [run(world, options)["changed"] for options in (one, other)] == [False, False]


def test_a_wave_ends_after_so_many_streams(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "WAVE", 1)
    world.root = False
    options = tree(world, 6)
    world.here.make("tank/v@s2", *(f"tank/v/{number}@s2" for number in range(5)))

    def slow(_machine: str, argv: list[str]) -> None:
        """Each stream lasts until the marks of the one before are moved."""
        before = world.count(THERE, "zfs", "receive")
        if argv[1] == "receive":
            assert wait_until(lambda: world.count(HERE, "zfs", "set") == before)

    world.hook = slow
    assert not run(world, options).get("failed")
    waves = world.count(THERE, "zfs", "hold")
    assert waves == 6
    assert counted(world, HERE) == {"list": 1 + waves, "get": 4 + 2 * waves, "bookmark": 6, "send": 6, "set": 6}


@pytest.mark.parametrize("seconds", [0.0, 1000.0])
def test_a_short_stream_does_not_wait_for_a_long_one(
    world: World, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    monkeypatch.setattr(runs, "WAVE_SECONDS", seconds)
    world.root = False
    options = tree(world, 3)
    world.here.make("tank/v/0@s2", "tank/v/1@s2")
    committed = threading.Event()

    def slow(_machine: str, argv: list[str]) -> None:
        if argv[:2] == ["zfs", "set"] and argv[-1] == "tank/v/1":
            committed.set()
        if argv[1] == "receive" and argv[-1] == "backup/v/0":
            assert committed.wait(0.5 if seconds else 10) == (not seconds)

    world.hook = slow
    assert errors(run(world, options, parallel=2)) == {}


def test_a_wave_ends_while_a_pair_waits_for_another_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """That one may wait for a pair that has arrived here."""
    monkeypatch.setattr(runs, "WAVE_SECONDS", 1000.0)
    options = tree(world, 2)
    world.here.make("tank/v@s2", "tank/v/0@s2")
    (replica,) = [each for each in run(world, options, check=True)["replicas"] if each["target"] == "b:backup/v/0"]
    committed = threading.Event()

    def look(_machine: str, argv: list[str]) -> None:
        if argv[:2] == ["zfs", "set"] and argv[-1] == "tank/v":
            committed.set()

    world.root = False
    world.hook = look
    with contextlib.ExitStack() as stack:
        assert stack.enter_context(runfiles.lock(replica["id"]))

        def release() -> None:
            if committed.wait(10):
                stack.close()

        thread = threading.Thread(target=release)
        thread.start()
        assert errors(run(world, options, parallel=2, timeout="1m")) == {}
        thread.join()
    assert committed.is_set()


# -- parents ---------------------------------------------------------------------------------------------------------


def test_streams_share_the_limit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """They never have more together. The last one gets all of it, while it runs."""
    limit, names = 1_000_000, [f"tank/{number}" for number in range(5)]
    world.here.make(*(f"{name}@s1" for name in names))
    monkeypatch.setattr(runs, "WAVE_SECONDS", 0.0)
    rates: dict[int, int] = {}  # of the streams that run
    all_rates, sums, lock = set[int](), [0], threading.Lock()

    def note(meter: Any, rate: int) -> None:
        with lock:
            rates[id(meter)] = rate
            all_rates.add(rate)
            sums.append(sum(rates.values()))

    def pipe(*given: Any) -> None:
        _source, _target, send, _receive, transport, meter, _wanted, tick, _asked = given
        note(meter, transport.bandwidth_limit)
        try:
            until = time.monotonic() + 10
            while send[-1].startswith("tank/0@") and rates[id(meter)] < limit and time.monotonic() < until:
                tick()
                time.sleep(0.01)
            world.pipe(*given)
        finally:
            with lock:
                del rates[id(meter)]

    monkeypatch.setattr(attempt, "run_pipe", pipe)
    monkeypatch.setattr(attempt, "raise_limit", note)
    result = world.replicate(*names, target={"host": THERE, "parent": "backup"}, parallel=3, bandwidth_limit=str(limit))
    assert "failed" not in result
    assert max(sums) <= limit
    assert {limit // 3, limit} <= all_rates
    assert len(sums) > len(names)


def test_a_single_stream_has_the_whole_limit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[int | None] = []
    world.here.make("tank/v@s1")

    def pipe(*given: Any) -> None:
        rates.append(given[4].bandwidth_limit)
        world.pipe(*given)

    monkeypatch.setattr(attempt, "run_pipe", pipe)
    world.replicate(parallel=8, bandwidth_limit="500")
    world.here.make("tank/v@s2")
    world.replicate(parallel=8)
    assert rates == [500, None]


def test_parents_are_made_once(world: World) -> None:
    world.here.make("tank/a/x@s", "tank/a/y@s", "tank/b/z@s")
    options = {"names": ("tank/a/x", "tank/a/y", "tank/b/z"), "target": {"host": THERE, "parent": "backup/site"}}
    result = run(world, options, parallel=3)
    assert errors(result) == {}
    made = [argv[-1] for _machine, argv in world.log if argv[1] == "create"]
    assert made == ["backup/site", "backup/site/a", "backup/site/b"]
    assert result["actions"][:3] == [f"create {name} to hold replicas" for name in made]
    assert run(world, options)["changed"] is False


def test_another_run_may_make_a_parent(world: World) -> None:
    world.here.make("tank/a/x@s")

    def other(_machine: str, argv: list[str]) -> None:
        if argv[1] == "create":
            world.there.make(argv[-1])

    world.hook = other
    options = {"names": ("tank/a/x",), "target": {"host": THERE, "parent": "backup/site"}}
    result = run(world, options)
    assert errors(result) == {}
    assert not any("create" in action for action in result["actions"])


def test_a_parent_that_cannot_be_made_stops_what_is_below_it(world: World) -> None:
    world.here.make("tank/a/x@s", "tank/b/z@s")
    world.hook = refuse("create", "backup/a", "permission denied")
    result = run(world, {"names": ("tank/a/x", "tank/b/z"), "target": {"host": THERE, "parent": "backup"}})
    assert list(errors(result)) == ["b:backup/a/x"]
    assert "permission denied" in errors(result)["b:backup/a/x"]
    assert world.there.snaps("backup/b/z")
    assert not any("backup/a" in action for action in result["actions"])


def refuse(command: str, last: str, why: str) -> Callable[[str, list[str]], None]:
    """A hook that refuses commands with this last argument."""

    def hook(_machine: str, argv: list[str]) -> None:
        if argv[1] == command and argv[-1] == last:
            raise No(f"cannot {command} '{last}': {why}")

    return hook


# -- order -----------------------------------------------------------------------------------------------------------


def test_what_is_below_a_replica_that_failed_is_not_started(world: World) -> None:
    world.here.make("tank/v@s", "tank/v/c@s", "tank/w@s")
    world.hook = refuse("receive", "backup/v", "out of space")
    result = run(world, {"names": ("tank/v", "tank/w"), **TREE}, parallel=3)
    assert set(errors(result)) == {"b:backup/v", "b:backup/v/c"}
    assert "was not started because b:backup/v failed" in errors(result)["b:backup/v/c"]
    assert world.there.snaps("backup/w")
    assert not [name for name in world.here.all if name.startswith("tank/v#")]
    world.hook = lambda *_: None
    assert errors(run(world, {"names": ("tank/v", "tank/w"), **TREE})) == {}
    assert run(world, {"names": ("tank/v", "tank/w"), **TREE})["changed"] is False


def test_marks_that_another_run_counts_on_are_not_taken_away(world: World) -> None:
    """Of a pair that this run has not begun, since the one above it failed."""
    world.here.make("tank/v@s1", "tank/v/c@s1")
    options: dict[str, Any] = {"names": ("tank/v",), **TREE}
    results: list[dict[str, Any]] = []
    other = threading.Thread(target=lambda: results.append(run(world, options, on_active="wait")))

    def hook(_machine: str, argv: list[str]) -> None:
        if argv[1] == "send" and not other.ident:
            reads = world.count(HERE, "zfs", "get")
            other.start()  # it plans, then waits for the lock on tank/v
            assert wait_until(lambda: world.count(HERE, "zfs", "get") >= reads + 4)
            time.sleep(0.5)
            raise No("cannot send: I/O error")

    world.hook = hook
    assert set(errors(run(world, options))) == {"b:backup/v", "b:backup/v/c"}
    other.join(20)
    last = run(world, options)
    assert errors(results[0]) == errors(last) == {}
    assert last["changed"] is False


def test_a_value_that_is_no_text_spoils_its_own_pair_alone(world: World) -> None:
    options = tree(world, 3)
    props = world.here.all["tank/v/0"].props
    props[next(name for name in props if name.startswith(CommitPoints.PREFIX))] = "\udcff"
    world.here.make("tank/v@s2", "tank/v/0@s2", "tank/v/1@s2")
    assert errors(run(world, options)) == {}
    assert {"backup/v@s2", "backup/v/0@s2", "backup/v/1@s2"} <= world.there.all.keys()
    assert run(world, options)["changed"] is False


def test_a_commit_point_that_has_changed_is_planned_anew(world: World) -> None:
    """Another replica on the pool has committed, and a newer snapshot of another run has arrived."""
    options = tree(world, 2)
    world.here.make("tank/v@s2", "tank/v/0@s2")
    done: list[bool] = []

    def hook(_machine: str, argv: list[str]) -> None:
        if argv[1] == "program" and world.count(THERE, "zfs", "hold") and not done:
            done.append(True)
            props = world.here.all["tank/v"].props
            name = next(name for name in props if name.startswith(CommitPoints.PREFIX))
            props[name] += "; " + "ab" * 8 + " 5 5"
            world.there.make("backup/v@s3").guid = world.here.make("tank/v@s3").guid

    world.hook = hook
    assert errors(run(world, options)) == {}
    world.hook = lambda *_: None
    run(world, options)
    assert run(world, options)["changed"] is False
    assert [snap.holds for snap in world.there.snaps("backup/v")] == [[], [], ["cerss.zfs:last"]]
    (name,) = [name for name in world.here.all["tank/v"].props if name.startswith(CommitPoints.PREFIX)]
    assert "abababab" in world.here.all["tank/v"].props[name]


def test_a_pair_that_is_paused_before_its_stream_is_not_called_full(world: World) -> None:
    options = tree(world, 2)
    world.here.make("tank/v@s2", "tank/v/0@s2")

    def hook(_machine: str, argv: list[str]) -> None:
        props = world.here.all["tank/v"].props
        if argv[1] == "program":
            props.update({name: text.replace('"since"', '"paused":true,"since"') for name, text in props.items()
                          if "paused" not in text})  # fmt: skip

    world.hook = hook
    result = run(world, options)
    assert errors(result) == {}
    assert {each["target"]: each["state"] for each in result["replicas"]} == {
        "b:backup/v": "absent", "b:backup/v/0": "full"
    }  # fmt: skip
    assert "backup/v@s2" not in world.there.all


def test_an_increment_does_not_wait_for_the_one_above_it(world: World) -> None:
    options = tree(world, 2)
    world.here.make("tank/v@s2", "tank/v/0@s2")
    world.hook = refuse("receive", "backup/v", "out of space")
    assert set(errors(run(world, options))) == {"b:backup/v"}
    assert "backup/v/0@s2" in world.there.all


def test_children_of_a_replica_that_is_replaced_wait_for_its_marks(world: World) -> None:
    """The wave does not end before another stream has."""
    tree(world, 3)
    options = {"names": ("tank/v", "tank/w"), **TREE}
    world.here.make("tank/v@s2", "tank/v/0@s2", "tank/v/1@s2", "tank/w@s1")
    world.there.make("backup/v@own")
    child = threading.Event()

    def slow(_machine: str, argv: list[str]) -> None:
        if argv[1] == "receive" and argv[-1] == "backup/w":
            assert not child.wait(0.5)
        elif argv[1] == "receive" and argv[-1] in ("backup/v/0", "backup/v/1"):
            child.set()

    world.hook = slow
    assert errors(run(world, options, on_divergence="reseed", parallel=4)) == {}
    done = [" ".join(argv) for machine, argv in world.changes() if machine == THERE]
    placed = next(at for at, line in enumerate(done) if line.startswith("zfs rename") and line.endswith(" backup/v"))
    received = [at for at, line in enumerate(done) if "receive" in line and line.endswith(("/v/0", "/v/1"))]
    assert len(received) == 2
    assert min(received) > placed


def test_a_clone_waits_for_its_origin(world: World) -> None:
    options = first(world)
    result = run(world, options, parallel=4)
    clone = next(each for each in result["replicas"] if each["target"] == "b:backup/site/k")
    assert (clone["origin_preserved"], clone["steps"][0]["origin"]) == (True, "backup/site/v@s1")
    origin = world.there.all["backup/site/k"].origin
    assert origin is not None
    assert origin.name == "backup/site/v@s1"


def test_a_parent_that_is_a_clone_of_its_own_child(world: World) -> None:
    """As after the promotion of a child. The parent comes first, and is no clone there."""
    world.here.make("tank/v@s1")
    world.here.clone("tank/v@s1", "tank/v/c")
    world.here.make("tank/v/c@s2")
    world.here.do_promote({}, "tank/v/c")
    world.here.make("tank/v@s3")
    options = {"names": ("tank/v",), **TREE}
    foretold = run(world, options, check=True)
    result = run(world, options, parallel=3)
    assert errors(result) == {}
    assert result["actions"] == foretold["actions"]
    assert [each["origin_preserved"] for each in result["replicas"]] == [False, None]
    assert {"backup/v@s3", "backup/v/c@s1", "backup/v/c@s2"} <= world.there.all.keys()
    assert run(world, options)["changed"] is False


# -- errors ----------------------------------------------------------------------------------------------------------


def test_an_unexpected_exception_is_the_error_of_its_pair(world: World) -> None:
    world.here.make("tank/v@s", "tank/w@s")

    def broken(_machine: str, argv: list[str]) -> None:
        if argv[1] == "receive" and argv[-1] == "backup/v":
            raise KeyError("what")

    world.hook = broken
    result = run(world, {"names": ("tank/v", "tank/w"), **TREE})
    assert errors(result) == {"b:backup/v": "b:backup/v: KeyError: 'what'"}
    assert "in broken" in result["stderr"]
    assert world.there.snaps("backup/w")


def test_an_exception_of_the_run_itself_starts_nothing_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"tank/{number}" for number in range(6)]
    world.here.make(*(f"{name}@s" for name in names))
    options = {"names": names, "target": {"host": THERE, "parent": "backup"}}
    ids = [each["id"] for each in run(world, options, check=True)["replicas"]]
    world.revive()

    def broken(_run: runs.Run) -> bool:
        raise ZeroDivisionError

    def slow(_machine: str, argv: list[str]) -> None:
        """The first stream ends at once, the others when the run is over."""
        if argv[1] == "receive" and world.count(THERE, "zfs", "receive"):
            assert world.stop.wait(10)

    world.hook = slow
    monkeypatch.setattr(runs.Run, "_wave_is_due", broken)
    with pytest.raises(ZeroDivisionError):
        run(world, options)
    assert world.count(THERE, "zfs", "receive") <= 3
    for id_ in ids:
        with runfiles.lock(id_) as got:
            assert got


def test_a_run_stops_when_its_task_is_cancelled(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.here.make("tank/v@s", "tank/w@s")
    cancelled: list[str] = []
    monkeypatch.setattr(runfiles.Lease, "lost", lambda _self: (cancelled or [""])[0])
    monkeypatch.setattr(runs, "LOOK", 0.01)

    def cancel(_machine: str, argv: list[str]) -> None:
        if argv[1] == "receive":
            cancelled.append("the task was cancelled")
            assert world.stop.wait(10)

    world.hook = cancel
    result = run(world, {"names": ("tank/v", "tank/w"), **TREE})
    assert set(errors(result)) == {"b:backup/w"}  # what has arrived is still noted
    assert "the run was stopped, since the task was cancelled, before b:backup/w was reached" in result["msg"]
    assert world.count(THERE, "zfs", "receive") == 1
    world.hook = lambda *_: None
    cancelled.clear()
    assert errors(run(world, {"names": ("tank/v", "tank/w"), **TREE})) == {}


# -- two runs at once ------------------------------------------------------------------------------------------------


def at_once(world: World, *calls: dict[str, Any]) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda call=call: results.append(run(world, call))) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == len(calls)
    return results


@pytest.mark.parametrize("seed", SEEDS)
def test_two_runs_at_once(new_world: NewWorld, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """On two hosts in every other case, which no lock keeps apart."""
    world = new_world(seed)
    if seed % 2:
        monkeypatch.setattr(runfiles, "lock", lambda _name: _Unlocked())
    world.here.make("tank/v@s1", "tank/v/c@s1")
    options = {"names": ("tank/v",), **TREE, "on_active": "wait", "retries": 3, "parallel": 2}
    if seed % 3:
        run(world, options)
        world.here.make(*(f"tank/v@s{number}" for number in range(2, 5)), "tank/v/c@s2")
    results = at_once(world, options, options)
    told = [msg for result in results for msg in errors(result).values()]
    final = run(world, options, check=not told)
    assert not final.get("failed"), final.get("msg")
    if not told:
        assert (final["changed"], final["actions"]) == (False, []), results
    assert world.there.snaps("backup/v")[-1].name == f"backup/v@s{4 if seed % 3 else 1}"
    assert len([snap for snap in world.there.snaps("backup/v") if snap.holds]) == 1
    assert [snap for snap in world.here.snaps("tank/v") if snap.holds] == []


class _Unlocked:
    def __enter__(self) -> bool:
        return True

    def __exit__(self, *_: object) -> None:
        pass


# -- a reseed that keeps nothing -------------------------------------------------------------------------------------


@pytest.fixture
def removable(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The target lets datasets without snapshots be destroyed."""
    real = world.there.do_destroy

    def destroy(flags: Any, name: str) -> None:
        if "@" in name or "#" in name:
            real(flags, name)
        else:
            assert not world.there.snaps(name)
            del world.there.all[name]

    monkeypatch.setattr(world.there, "do_destroy", destroy)


@pytest.mark.usefixtures("removable")
@pytest.mark.parametrize("used", ["", "snapshot", "mounted"])
def test_an_old_replica_that_is_used_meanwhile_is_kept(world: World, used: str) -> None:
    """Whatever was planned: nothing is destroyed that no plan has listed."""
    world.here.make("tank/v@s1")
    world.replicate()
    world.here.make("tank/v@s2")
    world.there.make("backup/v@own")

    def use(_machine: str, argv: list[str]) -> None:
        if argv[1] == "receive":
            world.hook = lambda *_: None
            if used == "snapshot":
                world.there.make("backup/v@precious")
            elif used:
                world.there.all["backup/v"].fixed["mounted"] = "yes"

    world.hook = use
    result = world.replicate(on_divergence="reseed", reseed_keep=False)
    assert not result.get("failed"), result["msg"]
    kept = [name for name in world.there.all if name.startswith("backup/v_old_")]
    assert bool(kept) == bool(used)
    assert any("since it was used meanwhile: backup/v" in text for text in result["warnings"]) == bool(used)


def test_what_needs_the_old_replica_stops_a_reseed_that_has_begun_too(world: World) -> None:
    world.here.make("tank/v@s1")
    world.replicate()
    world.here.make("tank/v@s2")
    world.there.make("backup/v@own")
    world.hook = refusing("promote")
    assert run(world, {"names": ("tank/v",), "on_divergence": "reseed"}).get("failed")
    world.hook = lambda *_: None
    world.there.all["backup/v@own"].holds.append("users")
    for check in (True, False):
        result = world.replicate(on_divergence="reseed", reseed_keep=False, check=check)
        assert "backup/v@own (hold users)" in result["replicas"][0]["msg"]
