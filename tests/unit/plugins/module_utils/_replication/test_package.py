# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is read after a package, and what comes of it if others have been at work meanwhile."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import LastHold, StepHold
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Snapshot, Value
from ansible_collections.cerss.zfs.plugins.module_utils._replication import planner
from ansible_collections.cerss.zfs.plugins.module_utils._replication.package import Package
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import Pair, PairOptions
from ansible_collections.cerss.zfs.plugins.module_utils._replication.planner import plan_pair
from ansible_collections.cerss.zfs.tests.unit.machine import No
from ansible_collections.cerss.zfs.tests.unit.pairs import last_hold, pair, token
from ansible_collections.cerss.zfs.tests.unit.world import HERE, THERE, World


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner, "PACKAGE", 2)


# -- what is as foreseen ---------------------------------------------------------------------------------------------


def package(case: Pair | None = None, **options: Any) -> Package:
    """s2 and s3 of s2 to s6 are to come."""
    found = Package.of(plan_pair(case or pair([1, 2, 3, 4, 5, 6], [1], bookmarks=[1]), PairOptions(**options)))
    assert found
    return found


def read(found: Package) -> Pair:
    """What is read if all went as foreseen."""
    here, there = found.names
    source, receiver = copy.deepcopy(found.foreseen.source), copy.deepcopy(found.receiver)
    source.snapshots = [snap for snap in source.snapshots if snap.name in here]
    source.bookmarks = [each for each in source.bookmarks if each.name in here]
    receiver.snapshots = [replace(snap, createtxg=700, holds=None) for snap in receiver.snapshots if snap.name in there]
    return replace(found.looked_at, source=source, replica=receiver)


def test_only_what_came_is_read() -> None:
    case = pair([1, 2, 3, 4, 5, 6], [1], bookmarks=[1])
    assert case.replica
    last_hold(case.replica, 1)
    here, there = package(case).names
    assert [name for name in here if "@" in name] == ["tank/v@s2", "tank/v@s3"]
    assert [name.rpartition("_")[2] for name in here if "#" in name] == ["1", "3"]
    assert there == ["backup/v@s1", "backup/v@s2", "backup/v@s3"]


def test_nothing_is_left_out_at_the_goal() -> None:
    assert Package.of(plan_pair(pair([1, 2, 3], [1]), PairOptions())) is None
    assert Package.of(plan_pair(pair([1], [1, 9]), PairOptions())) is None  # refused


def test_the_rest_is_known() -> None:
    found = package()
    now = found.as_foreseen(read(found))
    assert now
    assert now.replica
    assert [snap.name for snap in now.source.snapshots] == [f"tank/v@s{number}" for number in range(1, 7)]
    assert [snap.createtxg for snap in now.replica.snapshots] == [1, 700, 700]
    assert [hold.tag for hold in now.source.snapshots[1].holds or []] == [StepHold(now.id).format()]


def test_values_that_the_plan_was_made_with_are_kept() -> None:
    case = pair([1, 2, 3, 4, 5, 6], [1])
    case.source.values["pbkdf2salt"] = Value("5")
    found = package(case)
    seen = read(found)
    del seen.source.values["pbkdf2salt"]
    seen.source.values["encryption"] = Value("changed")
    now = found.as_foreseen(seen)
    assert now
    assert (now.source.get("pbkdf2salt"), now.source.get("encryption")) == ("5", "changed")


def test_a_new_replica_beside_the_old_one_is_what_is_read() -> None:
    found = package(pair([1, 2, 3, 4, 5, 6], [1, 9]), on_divergence="reseed")
    assert found.looked_at.link.replica_name == found.plan.into != "backup/v"
    now = found.as_foreseen(read(found))
    assert now
    assert now.replica == found.plan.pair.replica
    assert now.beside
    assert now.beside.snapshots[-1].createtxg == 700


def received(seen: Pair) -> list[Snapshot]:
    assert seen.replica
    return seen.replica.snapshots


def another(name: str, guid: str) -> Snapshot:
    return Snapshot(name, guid, 9)


UNFORESEEN: dict[str, Callable[[Pair], object]] = {
    "the replica is gone": lambda seen: replace(seen, replica=None),
    "a snapshot did not arrive": lambda seen: received(seen).pop(),
    "another one has its name": lambda seen: received(seen).append(another("backup/v@s3", "77")),
    "the other host lists more": lambda seen: received(seen).append(another("backup/v@s9", "9")),
    "a receive runs": lambda seen: setattr(seen.replica, "token", token(9)),
    "it is not whole": lambda seen: setattr(seen.replica, "inconsistent", True),
    "a snapshot was renamed on the source": lambda seen: seen.source.snapshots.pop(),
    "a cursor is missing": lambda seen: seen.source.bookmarks.pop(),
}


@pytest.mark.parametrize("what", UNFORESEEN)
def test_what_is_not_as_foreseen(what: str) -> None:
    found = package()
    seen = read(found)
    changed = UNFORESEEN[what](seen)
    assert found.as_foreseen(changed if isinstance(changed, Pair) else seen) is None


# -- whole runs ------------------------------------------------------------------------------------------------------


def behind(world: World) -> None:
    world.here.make("tank/v@s0")
    world.replicate()
    world.here.make(*(f"tank/v@s{number}" for number in range(1, 9)))
    world.revive()


def lists(world: World, machine: str) -> list[bool]:
    """Whether each list of names was one of the whole history."""
    return ["-d" in argv for where, argv in world.log if where == machine and argv[1] == "list"]


def test_histories_are_read_at_the_beginning_and_at_the_end(world: World) -> None:
    behind(world)
    world.replicate()
    assert lists(world, HERE) == lists(world, THERE) == [True, False, False, False, True]
    assert not world.replicate()["changed"]


def meanwhile(world: World, do: Callable[[], object]) -> None:
    """While the second package is received."""
    streams = iter(range(9))

    def hook(_machine: str, argv: list[str]) -> None:
        if argv[1] == "receive" and next(streams) == 1:
            do()

    world.hook = hook


def renamed(world: World) -> None:
    world.here.do_rename({}, "tank/v@s3", "tank/v@other")


def destroyed(world: World) -> None:
    del world.here.all["tank/v@s6"]


def cursors_gone(world: World) -> None:
    for name in [name for name in world.here.all if "#" in name]:
        del world.here.all[name]


def release(world: World) -> None:
    for snap in world.there.snaps("backup/v"):
        snap.holds.clear()


@pytest.mark.parametrize("change", [renamed, destroyed, cursors_gone, release])
def test_others_at_work_between_packages(world: World, change: Callable[[World], object]) -> None:
    behind(world)
    meanwhile(world, lambda: change(world))
    result = world.replicate()
    assert "failed" not in result, result["msg"]
    assert (lists(world, HERE).count(True) > 2) is (change is not release)  # a hold that is gone is no error
    here, there = ({snap.guid for snap in machine.snaps(name)}
                   for machine, name in ((world.here, "tank/v"), (world.there, "backup/v")))  # fmt: skip
    assert here == there
    assert not any(snap.holds for snap in world.here.snaps("tank/v"))
    assert [snap.holds for snap in world.there.snaps("backup/v") if snap.holds] == [[LastHold.TAG]]
    world.hook = lambda *_: None
    assert not world.replicate()["changed"]


def test_what_a_source_that_is_full_could_not_mark_is_read_again(world: World) -> None:
    world.root = False
    behind(world)

    def full(machine: str, argv: list[str]) -> None:
        if machine == HERE and argv[1] == "set":
            raise No("cannot set property for 'tank/v': out of space")

    world.hook = full
    assert any("this is missing on the source" in text for text in world.replicate()["warnings"])
    assert [snap.name for snap in world.there.snaps("backup/v")] == [f"backup/v@s{number}" for number in range(9)]
    assert lists(world, HERE).count(True) > 2
    world.hook = lambda *_: None
    world.replicate()
    assert not world.replicate()["changed"]
