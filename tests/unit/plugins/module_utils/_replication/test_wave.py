# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The end of streams: what others decided meanwhile, marks that cannot be moved, and what did not arrive."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    CommitPoint,
    CommitPoints,
    LastHold,
    ReplicaRecord,
    ReplicaRecords,
    SourceMark,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Value
from ansible_collections.cerss.zfs.plugins.module_utils._host import runfiles
from ansible_collections.cerss.zfs.plugins.module_utils._replication import wave
from ansible_collections.cerss.zfs.tests.unit.machine import No, Thing
from ansible_collections.cerss.zfs.tests.unit.scenarios import Call
from ansible_collections.cerss.zfs.tests.unit.transcript import entrance
from ansible_collections.cerss.zfs.tests.unit.world import HERE, READING, THERE, World


def pairs(world: World, count: int = 3) -> dict[str, Any]:
    """Datasets tank/0 and so on with their replicas, each with one snapshot more. Returns the call."""
    names = tuple(f"tank/{number}" for number in range(count))
    options: dict[str, Any] = {"target": {"host": THERE, "parent": "backup"}}
    world.here.make(*(f"{name}@s1" for name in names))
    world.replicate(*names, **options)
    world.here.make(*(f"{name}@s2" for name in names))
    world.revive()
    return options


def go(world: World, options: dict[str, Any], count: int = 3, **more: Any) -> dict[str, Any]:
    return world.replicate(*(f"tank/{number}" for number in range(count)), **options, **more)


def errors(result: dict[str, Any]) -> dict[str, str]:
    """The messages of the pairs that failed, by target."""
    return {each["target"]: each["msg"] for each in result["replicas"] if each["failed"]}


def during(world: World, do: Callable[[], object], command: str = "receive") -> None:
    """Do something once, while the stream into backup/0 runs, or before another command."""

    def hook(_machine: str, argv: list[str]) -> None:
        if argv[1] == command and (command != "receive" or argv[-1] == "backup/0"):
            world.hook = lambda *_: None
            do()

    world.hook = hook


def after(world: World, machine: str, name: str) -> list[list[str]]:
    """What was changed on a name after the last stream."""
    last = max(at for at, (_where, argv) in enumerate(world.log) if argv[1] == "receive")
    later = [argv for where, argv in world.log[last + 1 :] if where == machine and argv[1] not in READING]
    return [argv for argv in later if any(word.startswith(name) for word in argv)]


def record_of(dataset: Thing) -> tuple[str, ReplicaRecord]:
    """(pool, record) of the only relationship."""
    ((pool, records),) = ReplicaRecords.all_of(dataset.props).items()
    (record,) = records.entries  # type: ignore[union-attr]
    return pool, record


def point_of(dataset: Thing) -> CommitPoint:
    (points,) = CommitPoints.all_of(dataset.props).values()
    (point,) = points.entries  # type: ignore[union-attr]
    return point


def commit_at(dataset: Thing, snap: Thing) -> None:
    """Another run writes a commit point."""
    pool, record = record_of(dataset)
    points = CommitPoints((CommitPoint(record.id, snap.guid, snap.txg),))
    dataset.props[CommitPoints.name(pool)] = points.format()


def rewrite(dataset: Thing, **changes: Any) -> None:
    pool, record = record_of(dataset)
    dataset.props[ReplicaRecords.name(pool)] = ReplicaRecords((replace(record, **changes),)).format()


# -- what others decided meanwhile -----------------------------------------------------------------------------------


def relate(**options: Any) -> None:
    """Another controller runs zfs_replication."""
    given = {"name": "tank/0", "target": {"host": THERE, "dataset": "backup/0"}, **options}
    verb, params = entrance(Call("zfs_replication", given))
    verb(params, False)


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"paused": True}, "paused"), ({"mode": "raw"}, "changed"), ({"id": "ab" * 8}, "ended")],
)
def test_a_decision_of_somebody_else_is_not_undone(world: World, changes: dict[str, Any], why: str) -> None:
    options = pairs(world)
    dataset = world.here.all["tank/0"]
    during(world, lambda: rewrite(dataset, **changes))
    expected = (record_of(dataset)[1], point_of(dataset))
    result = go(world, options)
    assert errors(result) == {}
    assert f"tank/0: the relationship was {why} meanwhile, so its marks were not moved" in result["warnings"]
    assert (record_of(dataset)[1], point_of(dataset)) == (replace(expected[0], **changes), expected[1])
    assert after(world, THERE, "backup/0") == []
    assert [snap.name for snap in world.there.snaps("backup/1") if snap.holds] == ["backup/1@s2"]


def test_a_pause_by_another_controller_is_not_undone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose module runs on another host, where it does not meet our lock."""
    monkeypatch.setattr(runfiles, "lock", lambda _name: contextlib.nullcontext(True))
    options = pairs(world)
    during(world, lambda: relate(paused=True))
    assert any("was paused meanwhile" in text for text in go(world, options)["warnings"])
    assert record_of(world.here.all["tank/0"])[1].paused
    result = go(world, options)
    assert any("is paused" in text for text in result["warnings"])
    relate(paused=False)
    assert errors(go(world, options)) == {}
    assert go(world, options)["changed"] is False


@pytest.mark.parametrize("package", [False, True])
@pytest.mark.parametrize("command", ["bookmark", "receive"])
def test_an_end_by_another_controller_is_not_undone(world: World, package: bool, command: str) -> None:
    """Also if this run made its marks only after it."""
    world.root = command != "bookmark"
    options = pairs(world, 1)
    if package:
        world.here.make("tank/0@s3")

    def end() -> None:
        dataset = world.here.all["tank/0"]
        for name in [name for name in world.here.all if name.startswith("tank/0#")]:
            del world.here.all[name]
        for machine, parent in ((world.here, "tank/0"), (world.there, "backup/0")):
            for snap in machine.snaps(parent):
                snap.holds.clear()
        dataset.props.clear()
        world.there.all["backup/0"].props.pop(SourceMark.NAME)

    during(world, end, command)
    result = go(world, options, 1)
    assert errors(result) == {}
    assert any("the relationship was ended meanwhile" in text for text in result["warnings"])
    assert [name for name in world.here.all if "#" in name] == []
    assert world.here.all["tank/0"].props == {}
    assert not any(snap.holds for snap in [*world.here.snaps("tank/0"), *world.there.snaps("backup/0")])


@pytest.mark.parametrize(
    ("name", "requested", "text", "source", "took"),
    [
        ("encryption", "off", "off", "-", True),
        ("encryption", "on", "aes-256-gcm", "-", True),
        ("encryption", "on", "off", "-", False),
        ("compression", "lz4", "lz4", "local", True),
        ("compression", "lz4", "lz4", "inherited from backup", False),
        ("readonly", "on", "on", "inherited from backup", False),
    ],
)
def test_which_properties_a_receive_has_set(name: str, requested: str, text: str, source: str, took: bool) -> None:
    assert wave._took(name, requested, Value(text, source)) is took


def test_a_newer_snapshot_of_another_run_is_not_set_back(world: World) -> None:
    """The other run committed s3, which it received after our stream."""
    options = pairs(world, 1)
    dataset = world.here.all["tank/0"]
    newer = world.here.make("tank/0@s3")

    def hook(machine: str, argv: list[str]) -> None:
        if argv[1] == "list" and machine == THERE and world.there.snaps("backup/0")[-1].name == "backup/0@s2":
            world.hook = lambda *_: None
            world.there.arrive(world.there.all["backup/0"], newer)
            for snap in world.there.snaps("backup/0"):
                snap.holds = [LastHold.TAG] if snap.name.endswith("s3") else []
            commit_at(dataset, newer)

    world.hook = hook
    result = go(world, options, 1, include_snapshots=["s1", "s2"])
    assert errors(result) == {}
    assert point_of(dataset).guid == newer.guid
    assert [snap.name for snap in world.there.snaps("backup/0") if snap.holds] == ["backup/0@s3"]


def test_a_commit_point_never_goes_back(world: World) -> None:
    """It names a snapshot that the other run has sent on, and that we do not see on the replica."""
    options = pairs(world, 1)
    dataset = world.here.all["tank/0"]
    newer = world.here.make("tank/0@s3")
    during(world, lambda: commit_at(dataset, newer))
    result = go(world, options, 1, include_snapshots=["s1", "s2"])
    assert any("another run has replicated a newer snapshot meanwhile" in text for text in result["warnings"])
    assert point_of(dataset).guid == newer.guid
    assert after(world, THERE, "backup/0") == []


# -- marks that cannot be moved --------------------------------------------------------------------------------------


def refusing(world: World, command: str, alone: str = "", why: str = "dataset is busy") -> None:
    """zfs refuses the command for several replicas together, and for one of them alone as well."""

    def hook(machine: str, argv: list[str]) -> None:
        if machine == THERE and argv[1] == command and (len(argv) > 4 or (alone and argv[-1].startswith(alone))):
            raise No(f"cannot {command} '{argv[-1]}': {why}")

    world.hook = hook


@pytest.mark.parametrize("command", ["hold", "release"])
def test_a_refused_command_for_all_is_tried_for_each(world: World, command: str) -> None:
    options = pairs(world)
    refusing(world, command)
    assert errors(go(world, options)) == {}
    assert go(world, options)["changed"] is False
    for number in range(3):
        assert [snap.holds for snap in world.there.snaps(f"backup/{number}")] == [[], [LastHold.TAG]]


@pytest.mark.parametrize("command", ["hold", "release"])
def test_only_the_pair_that_is_refused_has_an_error(world: World, command: str) -> None:
    options = pairs(world)
    refusing(world, command, alone="backup/1")
    result = go(world, options)
    assert list(errors(result)) == ["b:backup/1"]
    assert "dataset is busy" in errors(result)["b:backup/1"]
    assert point_of(world.here.all["tank/0"]).guid == world.here.all["tank/0@s2"].guid
    assert point_of(world.here.all["tank/1"]).guid == world.here.all["tank/1@s1"].guid
    sentences = " ".join(result["actions"])
    assert f"{'hold backup/1@s2' if command == 'hold' else 'from backup/1@s1'}" not in sentences
    world.hook = lambda *_: None
    assert errors(go(world, options)) == {}
    assert [snap.holds for snap in world.there.snaps("backup/1")] == [[], [LastHold.TAG]]


def test_a_hold_that_is_there_already_is_no_error(world: World) -> None:
    options = pairs(world)

    def other(machine: str, argv: list[str]) -> None:
        if machine == THERE and argv[1] == "hold":
            world.hook = lambda *_: None
            world.there.all["backup/1@s2"].holds.append(LastHold.TAG)

    world.hook = other
    assert errors(go(world, options)) == {}
    assert [snap.holds for snap in world.there.snaps("backup/2")] == [[], [LastHold.TAG]]
    assert go(world, options)["changed"] is False


def test_a_hold_that_is_gone_already_is_no_error(world: World) -> None:
    options = pairs(world)

    def other(machine: str, argv: list[str]) -> None:
        if machine == THERE and argv[1] == "release":
            world.hook = lambda *_: None
            world.there.all["backup/1@s1"].holds.clear()

    world.hook = other
    assert errors(go(world, options)) == {}
    assert [snap.holds for snap in world.there.snaps("backup/2")] == [[], [LastHold.TAG]]


def test_a_commit_point_that_cannot_be_written_is_the_error_of_its_pair(world: World) -> None:
    world.root = False
    options = pairs(world)

    def hook(machine: str, argv: list[str]) -> None:
        if machine == HERE and argv[1] == "set" and argv[-1] == "tank/1":
            raise No("cannot set property for 'tank/1': I/O error")

    world.hook = hook
    result = go(world, options)
    assert list(errors(result)) == ["b:backup/1"]
    world.hook = lambda *_: None
    assert errors(go(world, options)) == {}
    assert go(world, options)["changed"] is False


def test_no_commit_point_while_other_marks_are_missing(world: World) -> None:
    """It would say that nothing is left to do."""
    world.here.make("tank/v@s1")
    world.replicate()
    world.here.make("tank/v@s2", "tank/v@s3")

    def hook(machine: str, argv: list[str]) -> None:
        if machine == HERE and argv[1] == "release":
            raise No("cannot release hold: out of space")

    world.hook = hook
    assert any("release the hold" in text for text in world.replicate()["warnings"])
    world.hook = lambda *_: None
    assert world.replicate()["changed"]
    assert [snap.holds for snap in world.here.snaps("tank/v")] == [[], [], []]
    assert world.replicate()["changed"] is False


def test_reading_again_may_fail_for_all(world: World) -> None:
    options = pairs(world)

    def hook(machine: str, argv: list[str]) -> None:
        if machine == HERE and argv[1] == "list" and world.count(THERE, "zfs", "receive") == 3:
            raise No("cannot open pool: I/O error")

    world.hook = hook
    assert set(errors(go(world, options))) == {f"b:backup/{number}" for number in range(3)}
    world.hook = lambda *_: None
    assert errors(go(world, options)) == {}
    assert go(world, options)["changed"] is False


def test_a_reseed_whose_source_is_gone_at_the_end(world: World) -> None:
    options = pairs(world, 1)
    world.there.make("backup/0@own")

    def seen() -> None:
        if any("_new_" in name and "@s2" in name for name in world.there.all):
            for name in [name for name in world.here.all if name.startswith("tank/0")]:
                del world.here.all[name]

    world.seen = seen
    result = go(world, options, 1, on_divergence="reseed")
    assert "tank/0 does not exist any more" in errors(result)["b:backup/0"]
    assert world.there.snaps("backup/0")[-1].name == "backup/0@own"


def test_a_pair_that_cannot_be_read_again(world: World) -> None:
    options = pairs(world)
    real = world.there.do_get

    def silent(*given: Any) -> str:
        lines = real(*given).splitlines(keepends=True)
        arrived = "backup/1@s2" in world.there.all
        return "".join(line for line in lines if not (arrived and line.startswith("backup/1\t")))

    world.there.do_get = silent  # type: ignore[assignment, method-assign]
    result = go(world, options)
    assert list(errors(result)) == ["b:backup/1"]
    assert "cannot be read" in errors(result)["b:backup/1"]


# -- what has arrived ------------------------------------------------------------------------------------------------


def test_a_source_that_was_destroyed_meanwhile(world: World) -> None:
    options = pairs(world)

    def hook(machine: str, argv: list[str]) -> None:
        if machine == HERE and argv[1] == "list" and world.count(THERE, "zfs", "receive") == 3:
            for name in [name for name in world.here.all if name.startswith("tank/1")]:
                del world.here.all[name]

    world.hook = hook
    result = go(world, options)
    assert errors(result) == {"b:backup/1": "tank/1 does not exist any more; its marks were not moved"}


def test_a_snapshot_that_is_not_there_after_all(world: World) -> None:
    options = pairs(world)

    def lose() -> None:
        if "backup/1@s2" in world.there.all:
            del world.there.all["backup/1@s2"]

    world.seen = lose
    result = go(world, options)
    assert "b:backup/1 does not hold tank/1@s2 although" in errors(result)["b:backup/1"]
    assert list(errors(result)) == ["b:backup/1"]
    assert point_of(world.here.all["tank/1"]).guid == world.here.all["tank/1@s1"].guid


def lost_properties(world: World, *lost: str) -> None:
    """zfs receive drops what its user may not set."""

    def drop() -> None:
        for name in lost:
            for thing in world.there.all.values():
                thing.props.pop(name, None)

    world.seen = drop


def test_a_property_that_was_dropped_is_a_warning(world: World) -> None:
    world.here.make("tank/0@s1", "tank/1@s1")
    lost_properties(world, "compression", "readonly")
    result = go(world, {"target": {"host": THERE, "parent": "backup"}}, 2, properties={"compression": "zstd"})
    assert errors(result) == {}
    assert len(result["warnings"]) == 2
    assert "b:backup/0 has arrived without compression, readonly, which its user" in result["warnings"][0]


def test_a_replica_without_our_mark_is_an_error(world: World) -> None:
    world.here.make("tank/0@s1", "tank/1@s1")
    lost_properties(world, SourceMark.NAME)
    result = go(world, {"target": {"host": THERE, "parent": "backup"}}, 2)
    assert "its property cerss.zfs:source could not be set" in errors(result)["b:backup/0"]
    assert "delegate the permission userprop" in errors(result)["b:backup/0"]


def test_a_replica_that_is_released_meanwhile_keeps_its_mark(world: World) -> None:
    options = pairs(world, 1)
    dataset = world.there.all["backup/0"]

    def release() -> None:
        mark = SourceMark.of(dataset.props)
        assert isinstance(mark, SourceMark)
        dataset.props[SourceMark.NAME] = replace(mark, released=True).format()

    during(world, release)
    go(world, options, 1)
    mark = SourceMark.of(dataset.props)
    assert isinstance(mark, SourceMark)
    assert mark.released


@pytest.mark.parametrize("state", ["absent", "present"])
def test_the_other_modules_run_in_this_world_too(world: World, state: str) -> None:
    options = pairs(world, 1)
    go(world, options, 1)
    relate(state=state)
    assert bool(ReplicaRecords.all_of(world.here.all["tank/0"].props)) == (state == "present")
    if state == "absent":
        assert [name for name in world.here.all if "#" in name] == []
        with pytest.raises(CerssError):
            relate(paused=True)
