# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Adopting a replica, pausing a relationship, and ending one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.endpoint import Endpoint
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, CerssError, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    PLAIN,
    RAW,
    Announcement,
    CommitPoint,
    CommitPoints,
    Cursor,
    Filter,
    LastHold,
    ReplicaRecords,
    SourceMark,
    Spoilt,
    StepHold,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import PENDING_DELETE, Bookmark, Dataset, Token
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan, Step
from ansible_collections.cerss.zfs.plugins.module_utils._host import runfiles
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._replication import planner, receivers, relationship
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import SOURCE, TARGET, Pair, PairOptions
from ansible_collections.cerss.zfs.plugins.module_utils._replication.relationship import (
    Options,
    Reading,
    adopt,
    end,
    pause,
)
from ansible_collections.cerss.zfs.tests.unit.machine import ENCRYPTED, No, token_text
from ansible_collections.cerss.zfs.tests.unit.pairs import (
    ID,
    OTHER,
    POINT,
    RECORD,
    cursor,
    hold,
    pair,
    points,
    record,
    records,
    replica,
    settled,
    source,
    source_mark,
    step_hold,
)
from ansible_collections.cerss.zfs.tests.unit.scenarios import Call
from ansible_collections.cerss.zfs.tests.unit.transcript import entrance
from ansible_collections.cerss.zfs.tests.unit.world import Killed, World

NewWorld = Callable[..., World]
ELSEWHERE = "e" * 16  # another pool


def commands(plan: Plan) -> list[tuple[str, ...]]:
    return [(step.side, *command[1:]) for step in plan.steps for command in step.commands]


# -- one at a time ---------------------------------------------------------------------------------------------------


@pytest.fixture
def replicated(world: World) -> World:
    """tank/v is replicated to b:backup/v."""
    world.here.make("tank/v@s1")
    world.replicate()
    world.revive()
    return world


def change(check: bool = False, **options: Any) -> dict[str, Any]:
    given = {"name": "tank/v", "target": {"host": "b", "dataset": "backup/v"}, **options}
    verb, params = entrance(Call("zfs_replication", given))
    return verb(params, check)


def planned(result: dict[str, Any]) -> dict[str, Any]:
    """What check mode predicts."""
    return {key: result[key] for key in ("changed", "actions", "diff", "id")}


@pytest.mark.parametrize("options", [{"state": "absent"}, {"state": "present"}, {"paused": True}])
def test_what_is_being_replicated_is_not_changed(replicated: World, options: dict[str, Any]) -> None:
    id_ = change(check=True, state="absent")["id"]
    if options == {"state": "present"}:  # it mends a record that is lost
        props = replicated.here.all["tank/v"].props
        del props[next(name for name in props if name.startswith(ReplicaRecords.PREFIX))]
    foreseen = planned(change(check=True, **options))
    with runfiles.lock(id_):
        assert planned(change(check=True, **options)) == foreseen
        with pytest.raises(Refused, match=rf"is replicating or changing the relationship {id_}; wait until it has"):
            change(**options)
        runfiles.RunFile().write({"operation": "send", "id": id_})
        with pytest.raises(Refused, match=rf"the relationship {id_} \(process {os.getpid()}\); wait"):
            change(**options)
    assert replicated.changes() == []
    assert planned(change(**options)) == foreseen
    assert replicated.changes()


def test_what_needs_no_change_needs_no_lock(replicated: World) -> None:
    with runfiles.lock(change(check=True, state="absent")["id"]):
        assert not change(paused=False)["changed"]


def test_the_lock_is_held_until_the_end(replicated: World) -> None:
    id_ = change(check=True, state="absent")["id"]
    held = []

    def hook(_machine: str, argv: list[str]) -> None:
        if argv[1] == "inherit":
            with runfiles.lock(id_) as got:
                held.append(not got)

    replicated.hook = hook
    change(state="absent")
    assert held
    assert all(held)
    with runfiles.lock(id_) as got:
        assert got


def test_the_state_is_read_again_under_the_lock(replicated: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run has ended between the reading and the lock."""
    real = runfiles.lock

    @contextlib.contextmanager
    def late(name: str) -> Iterator[bool]:
        with monkeypatch.context() as patch:
            patch.setattr(runfiles, "lock", real)
            replicated.here.make("tank/v@s2")
            replicated.replicate()
        with real(name) as got:
            yield got

    monkeypatch.setattr(runfiles, "lock", late)
    change(state="absent")
    assert not [name for name in replicated.here.all if "#" in name]
    assert not [thing for machine in replicated.machines.values() for thing in machine.all.values() if thing.holds]


def test_a_relationship_that_another_run_replaced_is_not_changed(
    replicated: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = iter([Reading(Plan([Step.of("x")]), ID), Reading(Plan([Step.of("x")]), OTHER)])
    monkeypatch.setattr(relationship, "_read", lambda *_args: next(readings))
    with pytest.raises(Refused, match=f"the relationship {ID} was changed while it was read; run the task again"):
        change(paused=True)
    assert replicated.changes() == []


# -- the second reading ----------------------------------------------------------------------------------------------


def told(**options: Any) -> list[dict[str, Any]]:
    """What zfs_replication_info tells of tank/v."""
    verb, params = entrance(Call("zfs_replication_info", {"name": ["tank/v"], **options}))
    found: list[dict[str, Any]] = verb(params, False)["replications"]
    return found


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("options", [{"state": "present"}, {"paused": True}, {"paused": False}, {"state": "absent"}])
def test_the_relationship_is_returned_as_it_is_now(replicated: World, check: bool, options: dict[str, Any]) -> None:
    (before,) = told()
    result = change(check=check, **options)
    assert [result["replication"] or {}] == (told() or [{}])
    assert (result["replication"] == before) is (check or not result["changed"])
    assert result.get("left_over", []) == []
    assert ("left_over" in result) is (options == {"state": "absent"})


def test_a_relationship_that_is_made_is_returned(replicated: World) -> None:
    change(state="absent")
    assert change(check=True)["replication"] is None
    result = change()
    assert (result["replication"]["role"], result["replication"]["target_host"]) == ("source", "b")
    assert [result["replication"]] == told()
    assert result["replication"]["id"] == result["id"]


def test_of_the_replica_alone_its_own_side_is_returned(world: World) -> None:
    world.here.make("backup", "tank/v@s1")
    world.replicate(target={"host": "local", "dataset": "backup/v"})
    (source_side,) = told()
    for name in ("tank/v", "tank/v@s1", *(name for name in world.here.all if "#" in name)):
        del world.here.all[name]
    world.here.all = dict(world.here.all)
    result = change(check=True, name=None, id=source_side["id"], target={"host": "local"}, state="absent")
    assert (result["replication"]["role"], result["replication"]["target"]) == ("replica", "backup/v")


@pytest.mark.parametrize("options", [{"state": "present"}, {"paused": True}])
def test_what_is_undone_meanwhile_is_an_error(replicated: World, options: dict[str, Any]) -> None:
    """zfs has done as told, but somebody else writes there too."""
    props = replicated.here.all["tank/v"].props
    record_name = next(name for name in props if name.startswith(ReplicaRecords.PREFIX))
    if options == {"state": "present"}:
        del props[record_name]
    former = dict(props)

    def seen() -> None:
        if "set" in replicated.log[-1][1]:
            props.clear()
            props.update(former)

    replicated.seen = seen
    with pytest.raises(CerssError, match=r"a second reading finds .* is left to do; find out what else") as caught:
        change(**options)
    assert caught.value.details["changed"]
    assert caught.value.details["actions"]


def test_what_was_done_is_told_when_the_second_reading_fails(replicated: World) -> None:
    def hook(machine: str, _argv: list[str]) -> None:
        if machine == "b" and replicated.changes():
            raise No("ssh: connect to host b port 22: Connection refused")

    mark = replicated.there.all["backup/v"].props
    del mark[SourceMark.NAME]
    del replicated.here.all["tank/v"].props[next(iter(replicated.here.all["tank/v"].props))]
    replicated.seen = lambda: setattr(replicated, "hook", hook) if SourceMark.NAME in mark else None
    with pytest.raises(CerssError, match="Connection refused") as caught:
        change()
    assert "not done" not in caught.value.msg
    assert caught.value.details["changed"]
    assert caught.value.details["actions"]


def test_what_comes_back_is_left_over(replicated: World) -> None:
    """Another controller replicates meanwhile."""
    mark = dict(replicated.there.all["backup/v"].props)

    def seen() -> None:
        if replicated.log[-1][1][-1] == "tank/v":
            replicated.there.all["backup/v"].props.update(mark)

    replicated.seen = seen
    result = change(state="absent")
    assert result["left_over"] == [
        {"host": "b", "dataset": "backup/v", "reason": f"left to do: remove {SourceMark.NAME} from b:backup/v"}
    ]
    assert result["replication"]["role"] == "replica"


def test_a_side_that_does_not_answer_is_left_over(replicated: World) -> None:
    """It is asked twice, before and under the lock, but not a third time."""
    asked = []

    def hook(machine: str, _argv: list[str]) -> None:
        if machine == "b":
            asked.append(machine)
            raise No("ssh: connect to host b port 22: Connection refused")

    replicated.hook = hook
    with pytest.raises(CerssError) as refused:
        change(state="absent")
    assert refused.value.msg.endswith("; force=true ends the relationship on the side that can be reached")
    check, real = change(check=True, state="absent", force=True), change(state="absent", force=True)
    assert planned(check) == planned(real)
    assert check["left_over"] == real["left_over"]
    (left,) = real["left_over"]
    assert (left["host"], left["dataset"]) == ("b", None)
    assert "could not be reached: " in left["reason"]
    assert len(asked) == 1 + 1 + 2
    assert real["replication"] is None
    assert "remain there" in real["warnings"][0]


# -- exchange of roles -----------------------------------------------------------------------------------------------

BACK: dict[str, Any] = {"name": "backup/v", "source": {"host": "b"}, "target": {"host": "local", "dataset": "tank/v"}}


def turn_round(id_: str) -> None:
    """As the role zfs_failover does it, on the former source."""
    failover()
    change(**BACK)
    change(id=id_, state="absent")


def pull(world: World, **options: Any) -> dict[str, Any]:
    return world.replicate("backup/v", source={"host": "b"}, target={"dataset": "tank/v"}, **options)


@pytest.mark.parametrize("written", [False, True])
def test_the_replication_is_turned_round_and_back(replicated: World, written: bool) -> None:
    """``written``: the former source wrote on, and has a cursor of a snapshot that never arrived."""
    first = ours(replicated)
    id_ = change(check=True, state="absent")["id"]
    if written:
        replicated.here.make("tank/v@lost", f"tank/v#{Cursor(id_, '77').format()}")
    turn_round(id_)
    replicated.there.make("backup/v@b1")
    result = pull(replicated)
    if written:
        assert "after the last common snapshot tank/v@s1 it holds the snapshots tank/v@lost" in result["msg"]
        result = pull(replicated, on_divergence="rollback")
    assert not result.get("failed"), result
    assert "tank/v@b1" in replicated.here.all
    back = change(check=True, **BACK)["id"]
    assert back != id_
    change(**{**BACK, "id": back, "target": {"host": "local", "dataset": "tank/v"}}, state="released")
    change()
    change(**{**BACK, "id": back, "state": "absent"})
    replicated.here.make("tank/v@s2")
    assert not replicated.replicate().get("failed")
    assert len(ours(replicated)) == len(first) + 1  # it has a second cursor


def test_an_exchange_that_is_killed_anywhere_is_continued(new_world: NewWorld) -> None:
    def run(kill_at: int) -> tuple[World, int]:
        world = new_world()
        world.here.make("tank/v@s1")
        world.replicate()
        world.revive()
        id_ = change(check=True, state="absent")["id"]
        world.kill_at = kill_at
        with contextlib.suppress(Killed):
            turn_round(id_)
        points = world.points
        world.revive()
        marked = SourceMark.parse(world.there.all["backup/v"].props.get(SourceMark.NAME, ""))
        if not isinstance(marked, Spoilt):  # otherwise it has ended
            failover()
        change(**BACK)
        change(id=id_, state="absent")
        return world, points

    whole, points = run(0)
    assert points > 5
    for kill_at in range(1, points + 1):
        world, _points = run(kill_at)
        assert [text.split()[0] for text in ours(world)] == [text.split()[0] for text in ours(whole)]
        world.there.make("backup/v@b1")
        assert not pull(world).get("failed")


# -- end -------------------------------------------------------------------------------------------------------------


def test_ending_removes_all_marks_and_nothing_else() -> None:
    """On all pools; what other relationships have in the same property stays."""
    here, there = source(1, 2, at=2), replica(1, 2, held=2)
    other = record(id=OTHER, guid="5", target="c:x")
    here.ours = {
        **records(other, record()), **points(2),
        **records(record(target="d:y"), pool=ELSEWHERE), **points(1, pool=ELSEWHERE),
    }  # fmt: skip
    here.ours[POINT] += f"; {OTHER} 1 1"
    here.bookmarks += [cursor(1), cursor(2, OTHER), Bookmark("tank/v#mine", "2", 2)]
    step_hold(here, 2)
    step_hold(here, 2, id_=OTHER)
    hold(here, "legal", 2)
    hold(there, "legal", 2)
    there.ours[Announcement.NAME] = "[]"
    plan, id_ = end(None, {SOURCE: [here], TARGET: [there]}, "backup/v", Endpoint("b"))
    assert id_ == ID
    assert commands(plan) == [
        (TARGET, "release", LastHold.TAG, "backup/v@s2"),
        (TARGET, "inherit", Announcement.NAME, "backup/v"),
        (TARGET, "inherit", SourceMark.NAME, "backup/v"),
        (SOURCE, "release", StepHold(ID).format(), "tank/v@s2"),
        (SOURCE, "destroy", f"tank/v#{Cursor(ID, '2').format()}"),
        (SOURCE, "destroy", f"tank/v#{Cursor(ID, '1').format()}"),
        (SOURCE, "set", f"{POINT}={CommitPoints((CommitPoint(OTHER, '1', 1),)).format()}", "tank/v"),
        (SOURCE, "inherit", CommitPoints.name(ELSEWHERE), "tank/v"),
        (SOURCE, "set", f"{RECORD}={ReplicaRecords((other,)).format()}", "tank/v"),
        (SOURCE, "inherit", ReplicaRecords.name(ELSEWHERE), "tank/v"),
    ]


def ours(world: World) -> list[str]:
    """Every hold, bookmark and property of ours, on both machines."""
    things = [thing for machine in world.machines.values() for thing in machine.all.values()]
    return [
        f"{thing.name} {text}"
        for thing in things
        for text in (*thing.holds, *thing.props, *([thing.name] if thing.type == "bookmark" else []))
        if "cerss.zfs" in text
    ]


FAMILIES = st.lists(st.tuples(st.sampled_from(["here", "b"]), st.booleans(), st.integers(0, 9)), max_size=8)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=FAMILIES)
def test_promotions_of_others_leave_no_marks_behind(events: list[tuple[str, bool, int]], new_world: NewWorld) -> None:
    """``events``: on which machine a clone is made of which snapshot, or which clone is promoted."""
    world = new_world()
    for number in range(3):
        world.here.make(f"tank/v@s{number}")
        assert not world.replicate().get("failed")
    world.here.do_hold({}, StepHold(change(check=True, state="absent")["id"]).format(), "tank/v@s0", "tank/v@s2")
    world.there.make("backup/other@s1")
    for where, makes, which in events:
        machine, pool = world.machines[where], "tank" if where == "here" else "backup"
        things = [thing for thing in machine.all.values() if (thing.type == "snapshot" if makes else thing.origin)]
        if things and makes:
            machine.clone(things[which % len(things)].name, f"{pool}/c{len(machine.all)}")
        elif things:
            machine.do_promote({}, things[which % len(things)].name)
    id_ = change(check=True, state="absent")["id"]
    assert change(state="absent")["changed"]
    assert ours(world) == []
    assert change(state="absent", id=id_)["changed"] is False


def test_a_host_that_tells_of_ever_more_origins_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0

    def read(*_given: Any) -> tuple[dict[str, Dataset], list[str]]:
        nonlocal count
        count += 1
        return {f"pool/{count}": Dataset(f"pool/{count}", origin=f"pool/{count + 1}@s")}, []

    monkeypatch.setattr(relationship.inventory, "read", read)
    monkeypatch.setattr(relationship, "look_everywhere", lambda *_given: None)
    relationship._read_side(Backend(), DatasetName.parse("pool/1"))
    assert count == relationship.MOST_ORIGINS + 1


def test_a_replica_of_others_keeps_its_hold() -> None:
    """It is in the family of the replica whose relationship ends, but has a relationship of its own."""
    there, other = replica(2, 3, held=3), replica(1, held=1, id=OTHER)
    other.name, there.origin = "backup/w", "backup/w@s1"
    other.snapshots = [replace(snap, name="backup/w@s1") for snap in other.snapshots]
    plan, _id = end(ID, {TARGET: [there, other]}, "backup/v", Endpoint("b"))
    assert [command[-1] for command in commands(plan)] == ["backup/v@s3", "backup/v"]
    other.ours = {}
    plan, _id = end(ID, {TARGET: [there, other]}, "backup/v", Endpoint("b"))
    assert [command[-1] for command in commands(plan)] == ["backup/v@s3", "backup/v", "backup/w@s1"]


def test_ending_names_what_zfs_destroys_then() -> None:
    here, there = source(1, 2, at=2), replica(1, 2, held=2)
    step_hold(here, 1)
    here.snapshots[0].state = there.snapshots[1].state = PENDING_DELETE
    plan, _id = end(None, {SOURCE: [here], TARGET: [there]}, "backup/v", Endpoint("b"))
    releases = [step.text for step in plan.steps if step.commands[0][1] == "release"]
    assert [text.partition("; ")[2] for text in releases] == [
        "ZFS then destroys backup/v@s2 (pending deletion)", "ZFS then destroys tank/v@s1 (pending deletion)",
    ]  # fmt: skip


def test_spoilt_properties_of_the_source_stay() -> None:
    """Nobody knows whose they are."""
    here = source(1)
    here.ours.update({CommitPoints.name(ELSEWHERE): "x", ReplicaRecords.name(ELSEWHERE): "[{}]"})
    plan, _id = end(ID, {SOURCE: [here]}, None, Endpoint("b"))
    assert not any(ELSEWHERE in str(command) for command in commands(plan))
    assert len(commands(plan)) == 3


def test_the_id_is_the_one_that_the_source_has_recorded() -> None:
    """By the replica's GUID, then by its place; what the replica's mark says is only a claim."""
    here, there = source(1), replica(1)
    assert end(None, {SOURCE: [here], TARGET: [there]}, "backup/v", Endpoint("b"))[1] == ID
    claims = replica(1, id=OTHER)
    assert end(None, {SOURCE: [here], TARGET: [claims]}, "backup/v", Endpoint("b"))[1] == ID
    here.ours = records(record(guid="5", target="c:x"), record(id=OTHER, target="b:former"))
    assert end(None, {SOURCE: [here], TARGET: [there]}, "backup/v", Endpoint("b"))[1] == OTHER
    # The relationship of another replica is not ended because this one claims its id.
    here.ours = records(record(guid="5", target="c:x"))
    assert end(None, {SOURCE: [here], TARGET: [there]}, "backup/v", Endpoint("b")) == (Plan(), None)
    here.ours = {}
    assert end(None, {SOURCE: [here], TARGET: [there]}, "backup/v", Endpoint("b"))[1] == ID


def test_a_replica_that_claims_another_id_keeps_its_marks() -> None:
    here, there = source(1), replica(1, 2, held=2, id=OTHER)
    there.token, there.ours[Announcement.NAME] = Token("1-x", "2", "tank/v@s2", 30), "[]"
    plan, _id = end(None, {SOURCE: [here], TARGET: [there]}, None, Endpoint("b"))
    assert {side for side, *_command in commands(plan)} <= {SOURCE}
    assert commands(end(ID, {TARGET: [there]}, None, Endpoint("b"))[0]) == []


def test_ending_refuses_the_replica_of_another_source() -> None:
    here = source(1)
    here.guid, here.ours = "800", {}
    with pytest.raises(Refused, match=rf"is the replica of a:tank/v, not of tank/v; set name .* or set id={ID}"):
        end(None, {SOURCE: [here], TARGET: [replica(1)]}, "backup/v", Endpoint("b"))
    assert end(ID, {TARGET: [replica(1)]}, None, Endpoint())[0].steps


def test_ending_on_one_side() -> None:
    plan, id_ = end(None, {SOURCE: [source(1)]}, "backup/v", Endpoint("b"))
    assert id_ == ID
    assert {step.side for step in plan.steps} == {SOURCE}
    plan, _id = end(ID, {TARGET: [replica(1)]}, None, Endpoint())
    assert [command[1] for command in commands(plan)] == ["release", "inherit"]
    assert end(None, {SOURCE: [source(1)]}, "backup/other", Endpoint("b")) == (Plan(), None)


def test_ending_aborts_a_partial_receive() -> None:
    there = replica(held=None)
    there.token = Token("1-x", "2", "tank/v@s2", 30)
    plan, _id = end(ID, {TARGET: [there]}, "backup/v", Endpoint("b"))
    assert commands(plan) == [(TARGET, "receive", "-A", "backup/v")]
    assert "which destroys b:backup/v" in plan.steps[0].text
    there = replica(1)
    there.token = Token("1-x", "2", "tank/v@s2", 30)
    plan, _id = end(ID, {TARGET: [there]}, "backup/v", Endpoint("b"))
    assert [command[1] for command in commands(plan)] == ["receive", "release", "inherit"]


@pytest.mark.parametrize(("named", "ended"), [("backup/v", True), (None, False), ("backup", False)])
def test_ending_removes_a_mark_that_cannot_be_read(named: str | None, ended: bool) -> None:
    """Only from the replica that the user named. Otherwise every way out of it would lead back here."""
    there = replica(1, 2)
    there.ours = {SourceMark.NAME: "{}"}
    plan, _id = end(ID, {SOURCE: [source(1)], TARGET: [there]}, named, Endpoint("b"))
    assert ((TARGET, "inherit", SourceMark.NAME, "backup/v") in commands(plan)) is ended


# -- pause -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("id_", "address"), [(ID, None), (ID, "b:x"), (None, "b:backup/v")])
def test_pause_and_resume(id_: str | None, address: str | None) -> None:
    here = source(1)
    other = record(id=OTHER, guid="5", target="c:x")
    here.ours.update(records(other, record()))
    plan, found = pause(here, id_, address, True)
    assert found == ID
    paused = {RECORD: ReplicaRecords((other, record(paused=True))).format()}
    assert commands(plan) == [(SOURCE, "set", f"{RECORD}={paused[RECORD]}", "tank/v")]
    assert plan.actions == ["pause the replication of tank/v to b:backup/v"]
    assert pause(here, id_, address, False) == (Plan(), ID)
    here.ours.update(paused)
    assert pause(here, id_, address, True) == (Plan(), ID)
    assert pause(here, id_, address, False)[0].actions == ["resume the replication of tank/v to b:backup/v"]


@pytest.mark.parametrize(("id_", "address", "message"), [(OTHER, None, OTHER), (None, "b:x", "with b:x")])
def test_there_must_be_something_to_pause(id_: str | None, address: str | None, message: str) -> None:
    here = source(1)
    here.ours[ReplicaRecords.name(ELSEWHERE)] = "[{}]"
    with pytest.raises(Refused, match=f"no record of the relationship {message}, .*zfs_replication_info shows which"):
        pause(here, id_, address, True)


# -- release ---------------------------------------------------------------------------------------------------------


def failover(check: bool = False, **options: Any) -> dict[str, Any]:
    given = {"target": {"host": "b", "dataset": "backup/v"}, "state": "released", **options}
    verb, params = entrance(Call("zfs_replication", given))
    return verb(params, check)


@pytest.mark.parametrize("by_id", [True, False])
def test_a_released_replica_receives_nothing_more(replicated: World, by_id: bool) -> None:
    """The source is not asked. The last common snapshot stays, and everything but the mark."""
    id_ = change(check=True, state="absent")["id"]
    options = {"id": id_, "target": {"host": "b"}} if by_id else {}
    replicated.log.clear()
    there = replicated.there.all["backup/v"]
    before = dict(there.props)
    check, real = failover(check=True, **options), failover(**options)
    assert planned(check) == planned(real)
    (text,) = real["actions"]
    assert text.startswith("release b:backup/v from ")
    assert (check["replication"]["severity"], real["replication"]["severity"]) == ("ok", "warning")
    assert {where for where, _argv in replicated.log} == {"b"}
    assert not failover(**options)["changed"]
    assert {**there.props, SourceMark.NAME: None} == {**before, SourceMark.NAME: None}
    assert replicated.there.all["backup/v@s1"].holds == [LastHold.TAG]
    replicated.here.make("tank/v@s2")
    assert "was released by a failover" in replicated.replicate()["msg"]
    assert change()["changed"]  # back again
    assert not replicated.replicate().get("failed")


def test_a_released_replica_loses_its_partial_receive(replicated: World) -> None:
    there = replicated.there.all["backup/v"]
    there.token = token_text("9", "tank/v@s2", "1")
    there.props[Announcement.NAME] = "[]"
    assert len(failover(check=True)["actions"]) == 3
    there.busy = True
    with pytest.raises(Refused, match="b:backup/v is currently receiving"):
        failover()
    there.busy = False
    failover()
    assert (there.token, Announcement.NAME in there.props) == ("", False)


@pytest.mark.parametrize("by_id", [True, False])
def test_a_receive_that_hangs_is_stopped_where_that_is_asked_for(replicated: World, by_id: bool) -> None:
    """Its partial state, which it saves when it ends, is aborted."""
    id_ = change(check=True, state="absent")["id"]
    given: dict[str, Any] = {"on_active": "stop", **({"id": id_, "target": {"host": "b"}} if by_id else {})}
    there = replicated.there.all["backup/v"]
    there.busy, there.token = True, token_text("9", "tank/v@s2", "1")

    def killed(_machine: str, argv: list[str]) -> None:
        if argv[0] == "kill":
            assert argv == ["kill", "77"]
            there.busy = False

    replicated.hook = killed
    check = failover(check=True, **given)
    assert there.busy
    real = failover(**given)
    assert planned(check) == planned(real)
    assert real["actions"][:2] == ["stop the receive into b:backup/v", "abort the partial receive in b:backup/v"]
    assert not failover(**given)["changed"]


def test_a_receive_that_does_not_end_is_named(replicated: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receivers, "ENDING", 0.01)
    monkeypatch.setattr(receivers, "LOOK", 0.005)
    there = replicated.there.all["backup/v"]
    there.busy, there.token = True, token_text("9", "tank/v@s2", "1")
    with pytest.raises(Refused, match=r"b:backup/v is still receiving .* end it on b with: kill -9 77"):
        failover(on_active="stop")
    assert not SourceMark.parse(there.props[SourceMark.NAME]).released  # type: ignore[union-attr]


def test_ending_clears_what_a_release_has_left(replicated: World) -> None:
    failover()
    assert change(state="absent")["changed"]
    assert ours(replicated) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": {"host": "b", "dataset": "backup/none"}}, "b:backup/none does not exist; check the name"),
        ({"target": {"host": "b", "dataset": "backup"}}, "b:backup is not marked as a replica; zfs_replication_info"),
        ({"id": OTHER}, f"b:backup/v is not marked as the replica of the relationship {OTHER}; "),
        (
            {"id": OTHER, "target": {"host": "b"}},
            f"no dataset there is marked as the replica of .* {OTHER}",
        ),
    ],
)
def test_what_is_no_replica_is_not_released(replicated: World, options: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused, match=message):
        failover(**options)
    assert replicated.changes() == []


@pytest.mark.parametrize("flag", ["put_aside", "beside"])
def test_what_a_reseed_leaves_is_not_released(flag: str) -> None:
    """It has the id of the replica in its place."""
    other, there = replica(1, **{flag: True}), replica(1)
    other.name = "backup/a"
    assert relationship._marked([other, there], ID) == (there, there.source_mark)
    assert other.source_mark
    with pytest.raises(Refused, match="is what a reseed has replaced or not finished; release the replica in its"):
        relationship.release(other, other.source_mark, Endpoint("b"))


def test_a_replica_without_a_snapshot_is_not_released() -> None:
    there = replica(held=None)
    assert there.source_mark
    with pytest.raises(Refused, match="has not received a whole snapshot yet; set state=absent"):
        relationship.release(there, there.source_mark, Endpoint("b"))


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("b", "b:backup/none does not exist; replicate to it with zfs_snapshot_replicate instead"),
        (None, "^backup/none does not exist on this host; set target.host if it is on another one, or replicate"),
    ],
)
def test_a_replica_that_does_not_exist(replicated: World, host: str | None, message: str) -> None:
    replicated.here.make("backup")
    with pytest.raises(Refused, match=message):
        change(target={"host": host, "dataset": "backup/none"})


# -- adopt -----------------------------------------------------------------------------------------------------------


def adopted(case: Pair, mode: str = PLAIN, others: set[str] | None = None, gone: bool = False) -> tuple[Pair, Plan]:
    """The pair after adopting it, and the plan."""
    plan, id_ = adopt(case, mode, others or set(), gone)
    case = replace(case)
    assert case.replica
    for _side, verb, *words in commands(plan):
        dataset = case.source if words[-1].startswith("tank") else case.replica
        if verb == "set":
            dataset.ours.update({word.partition("=")[0]: word.partition("=")[2] for word in words[:-1]})
        elif verb == "bookmark":
            dataset.bookmarks.append(replace(cursor(int(words[0].partition("@s")[2])), name=words[-1]))
    assert case.record
    assert case.mark
    assert (case.record.id, case.mark.id, case.id) == (id_, id_, id_)
    assert (case.record.mode, case.mark.mode) == (mode, mode)
    assert planner.settled(case, PairOptions())
    return case, plan


@pytest.mark.parametrize("mode", [PLAIN, RAW])
def test_adopting_marks_both_sides(mode: str) -> None:
    """A copy of another tool. Its marks are those that a run would have left."""
    case = pair([1, 2], [1, 2], recorded=False)
    assert case.replica
    case.replica.ours = {}
    case, plan = adopted(case, mode)
    verbs = [(side, verb, words[-1].partition("#")[0]) for side, verb, *words in commands(plan)]
    assert verbs == [
        (SOURCE, "set", "tank/v"), (TARGET, "set", "backup/v"), (TARGET, "hold", "backup/v@s2"),
        (SOURCE, "bookmark", "tank/v"), (SOURCE, "set", "tank/v"),
    ]  # fmt: skip
    assert case.id == case.new_id


@pytest.mark.parametrize(
    ("source_encrypted", "ivsets", "force", "raw"),
    [
        (False, ("-", "-"), False, False),
        (False, ("-", "5"), False, False),  # below an encrypted dataset, where each snapshot has one of its own
        (True, ("5", "5"), False, True),
        (True, ("5", "6"), True, False),
        (True, ("5", "-"), True, False),
        (True, ("0", "0"), True, False),  # made by an OpenZFS that had none yet
        (True, ("5", "6"), False, None),
    ],
)
def test_the_common_snapshot_tells_how_it_was_sent(
    world: World, source_encrypted: bool, ivsets: tuple[str, str], force: bool, raw: bool | None
) -> None:
    """Not whether the copy is encrypted: other tools send plain streams below encrypted datasets."""
    world.here.make("tank/v", fixed=dict(ENCRYPTED) if source_encrypted else {})
    world.there.make("backup/v", fixed={**ENCRYPTED, "encryptionroot": "backup"})
    world.here.make("tank/v@s1", fixed={"ivsetguid": ivsets[0]})
    world.there.make("backup/v@s1", fixed={"ivsetguid": ivsets[1]}).guid = world.here.all["tank/v@s1"].guid
    if raw is None:
        with pytest.raises(Refused, match=r"was not sent raw, so increments would leave .* decrypted; set force=true"):
            change(state="present", force=force)
        return
    assert change(state="present", force=force)["changed"]
    world.here.make("tank/v@s2")
    world.there.all["backup/v"].fixed["encryptionroot"] = "backup/v"
    result = world.replicate()
    assert not result.get("failed"), result["replicas"][0]["msg"]
    assert [step["raw"] for step in result["replicas"][0]["steps"]] == [raw]


def test_what_is_in_order_is_left_alone() -> None:
    assert adopt(settled(pair([1, 2], [1, 2])), PLAIN, set()) == (Plan(), ID)
    case = settled(pair([1], [1]))
    case.source.ours.update(records(record(target="10.0.0.2:backup/v")))
    assert adopt(case, PLAIN, set()) == (Plan(), ID)


@pytest.mark.parametrize(
    ("recorded", "marked", "id_"),
    [
        ({}, None, ID),  # the mark was lost
        ({}, "spoilt", ID),
        (None, {}, ID),  # the record was lost; nobody else has this id
        ("spoilt", {}, ID),
        ({"guid": "5"}, {}, ID),  # the replica was restored in its place
        ({"target": "b:former"}, {}, ID),
        ({"id": OTHER}, {}, OTHER),
        ({"mode": RAW}, {"mode": RAW}, ID),
        ({}, {"released": True}, ID),
        ({}, {"put_aside": True}, ID),
        ({}, {"beside": True}, ID),
        ({"formerly": "5"}, {"guid": "900"}, ID),
    ],
)
def test_what_is_mended(recorded: Any, marked: Any, id_: str) -> None:
    case = settled(pair([1, 2], [1, 2]))
    assert case.replica
    case.source.ours = (
        {RECORD: "[{}]"} if recorded == "spoilt" else {} if recorded is None else records(record(**recorded))
    )
    case.replica.ours = (
        {SourceMark.NAME: "{}"} if marked == "spoilt" else {} if marked is None else source_mark(**marked)
    )
    case, _plan = adopted(case)
    assert case.id == id_
    assert case.mark
    assert (case.mark.released, case.mark.put_aside, case.mark.beside) == (False, False, False)


def test_mending_keeps_what_jobs_have_recorded() -> None:
    case = settled(pair([1, 2], [1, 2]))
    case.source.ours = records(record(guid="5", filters=(Filter("nightly", ("n*",)),)))
    case, _plan = adopted(case)
    assert case.record == record(filters=(Filter("nightly", ("n*",)),))


def test_what_is_paused_stays_paused() -> None:
    case = settled(pair([1, 2], [1, 2]))
    case.source.ours.update(records(record(paused=True, mode=RAW)))
    plan, _id = adopt(case, PLAIN, set())
    assert commands(plan)[0] == (SOURCE, "set", f"{RECORD}={ReplicaRecords((record(paused=True),)).format()}", "tank/v")


def test_ids_of_other_relationships_are_not_taken() -> None:
    """A copy of a replica has its mark too."""
    case = pair([1, 2], [1, 2], recorded=False)
    case, _plan = adopted(case, others={ID})  # recorded for another pool
    assert case.id == case.new_id != ID
    other = record(guid="5", target="b:backup/w")
    case = pair([1, 2], [1, 2])
    case.source.ours = records(other)
    case, _plan = adopted(case)
    assert case.records.by_id(ID) == other
    assert case.id == case.new_id != ID


def test_the_source_was_restored_from_the_replica() -> None:
    """The mark names a dataset that is gone."""
    case = pair([1, 2], [1, 2], recorded=False)
    assert case.replica
    case.replica.ours = source_mark(guid="5")
    with pytest.raises(
        Refused, match=r"GUID 5\), not of a:tank/v \(GUID 900\); end that relationship first .*force=true"
    ):
        adopt(case, PLAIN, set())
    adopted(case, gone=True)
    case.replica.ours = source_mark(guid="5", released=True)  # of a failover, which nobody replicates to any more
    adopted(case)


@pytest.mark.parametrize("there", [None, [8], []])
def test_a_snapshot_in_common_is_needed(there: list[int] | None) -> None:
    for gone in (True, False):
        with pytest.raises(Refused, match=r"have no snapshot in common, .*; replicate to a new dataset"):
            adopt(pair([1], there), PLAIN, set(), gone)


# -- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"id": "xyz"}, "16 hex digits"),
        ({}, r"state=absent needs name \(the source\) and target.dataset \(the replica\); .*, or id instead$"),
        ({"name": "tank/v"}, r"state=absent needs target.dataset \(the replica\); set what is missing, or id instead$"),
        ({"target": {"dataset": "b/v"}}, r"state=absent needs name \(the source\); "),
        ({"id": ID, "state": "present"}, r"state=present needs name .* and target.dataset .*; set what is missing$"),
        ({"name": "tank/v", "state": "present", "target": {}}, r"state=present needs target.dataset \(the replica\)"),
        ({"id": ID, "state": "present", "paused": True}, r"paused needs name \(the source\); set what is missing$"),
        ({"name": "tank/v", "state": "present", "paused": True}, r"paused needs target.dataset .* or id; set what is"),
        ({"id": ID, "paused": True}, "paused cannot be combined with state=absent"),
        ({"id": ID, "paused": True, "state": "released"}, "paused cannot be combined with state=released"),
        ({"id": ID, "on_active": "stop", "state": "absent"}, "on_active cannot be combined with state=absent"),
        ({"state": "released"}, r"state=released needs target.dataset \(the replica\); .*, or id instead$"),
        ({"name": "tank/v@s", "target": {"dataset": "b/v"}}, "names a snapshot"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Options.from_params({"state": "absent", "force": False, **options})


def test_good_options() -> None:
    found = Options.from_params({"state": "present", "force": True, "id": ID, "name": "tank/v", "paused": False})
    assert (found.id, str(found.name), found.replica, found.state, found.paused) == (
        ID, "tank/v", None, "present", False,
    )  # fmt: skip
    found = Options.from_params({"state": "absent", "force": False, "name": "tank/v", "target": {"dataset": "b/v"}})
    assert (found.id, str(found.replica), found.state, found.paused) == (None, "b/v", "absent", None)
    found = Options.from_params({"state": "released", "force": False, "target": {"dataset": "b/v"}})
    assert (found.id, found.name, str(found.replica), found.state) == (None, None, "b/v", "released")
