# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of several targets, and runs to them between machines in memory."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, CerssError
from ansible_collections.cerss.zfs.plugins.module_utils._replication import attempt, survey, targets, wave
from ansible_collections.cerss.zfs.plugins.module_utils._replication import replicate as module
from ansible_collections.cerss.zfs.plugins.module_utils._replication.options import Options
from ansible_collections.cerss.zfs.tests.unit.machine import Machine, No
from ansible_collections.cerss.zfs.tests.unit.scenarios import Call
from ansible_collections.cerss.zfs.tests.unit.transcript import entrance
from ansible_collections.cerss.zfs.tests.unit.world import HERE, THERE, World

FAR = "c"
FORETOLD = ("changed", "actions", "diff")
BOTH: list[dict[str, Any]] = [{"host": THERE, "parent": "backup"}, {"host": FAR, "parent": "archive/site"}]


def options(*places: dict[str, Any], name: list[str] | None = None, **more: Any) -> list[Options]:
    given = {"name": name or ["tank/v"], "targets": list(places), **more}
    return targets.options(entrance(Call("zfs_snapshot_replicate", given))[1])


@pytest.fixture
def far(world: World) -> Machine:
    """A third machine, with the pool archive."""
    world.machines[FAR] = Machine(iter(range(500, 10**6)))
    world.machines[FAR].make("archive")
    return world.machines[FAR]


def arrived(machine: Machine) -> set[str]:
    return {name for name in machine.all if "@" in name}


def replicas(result: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    return [(each["target_host"], each["target_dataset"], each["msg"]) for each in result["replicas"]]


# -- options ---------------------------------------------------------------------------------------------------------


def test_what_a_target_has_of_its_own_comes_first() -> None:
    own = {
        "include_snapshots": ["m*"],
        "exclude_snapshots": ["x"],
        "intermediates": False,
        "raw": "never",
        "on_divergence": "rollback",
        "properties": {"copies": 2},
        "include": {"monthly": 1},
    }
    others = {"include_snapshots": ["d*"], "raw": "always", "properties": {"atime": "off"}, "retries": 7}
    first, second = options({"host": "b", "parent": "p"}, {"host": "c", "dataset": "q", **own}, **others)
    assert (first.pair.include, first.pair.raw, first.pair.properties) == (("d*",), "always", {"atime": "off"})
    assert (first.pair.periods, first.pair.intermediates, first.pair.on_divergence) == ((), True, "fail")
    assert (second.pair.include, second.pair.exclude, second.pair.raw) == (("m*",), ("x",), "never")
    assert (second.pair.intermediates, second.pair.on_divergence) == (False, "rollback")
    assert (second.pair.properties, second.pair.periods) == ({"copies": "2"}, ("monthly",))
    assert [(way.target.host, way.retries, way.option) for way in (first, second)] == [
        ("b", 7, "targets[0]"),
        ("c", 7, "targets[1]"),
    ]


def test_one_target_may_have_the_same() -> None:
    given = {"name": ["tank/v"], "target": {"host": "b", "parent": "p", "include": {"yearly": 1}, "raw": "never"}}
    (way,) = targets.options(entrance(Call("zfs_snapshot_replicate", given))[1])
    assert (way.pair.periods, way.pair.raw, way.option) == (("yearly",), "never", "target")


@pytest.mark.parametrize(
    ("places", "why"),
    [
        ([{"host": "b", "parent": "p"}, {"host": "c"}], r"targets\[1\] has neither dataset nor parent"),
        ([{"host": "b", "parent": "p"}, {"parent": "p"}], r"neither targets\[1\].host nor source.host is set"),
        ([{"host": "b", "parent": "p", "strip": 2}], r"targets\[0\].strip is 2; for tank/v it must be"),
        ([{"host": "b", "parent": "p", "user": "-x"}], r"targets\[0\].user is '-x'"),
        (
            [{"host": "b", "parent": "p"}, {"host": "b", "parent": "p"}],
            r"targets\[0\] and targets\[1\] are both b:p; leave one",
        ),
    ],
)
def test_bad_input(places: list[dict[str, Any]], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        options(*places)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "neither target nor targets is set; set target, or targets if there are several"),
        ({"target": {}}, "neither target nor targets is set"),
        (
            {"target": {"host": "b", "parent": "p"}, "targets": BOTH},
            "target and targets are both set; leave one of them out",
        ),
    ],
)
def test_one_of_two_options(given: dict[str, Any], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        targets.options(entrance(Call("zfs_snapshot_replicate", {"name": ["tank/v"], **given}))[1])


def test_a_target_that_a_role_leaves_blank_is_none() -> None:
    params = entrance(Call("zfs_snapshot_replicate", {"name": ["tank/v"], "target": {}, "targets": BOTH}))[1]
    assert len(targets.options(params)) == 2


def test_only_one_of_each_period() -> None:
    places = [{**BOTH[0], "include": {"monthly": 2}}]
    with pytest.raises(ValueError, match="value of monthly must be one of: 1, got: 2"):
        options(*places)


# -- runs ------------------------------------------------------------------------------------------------------------


def test_no_target_is_nothing_to_do(world: World) -> None:
    assert world.replicate(targets=[])["replicas"] == []
    assert world.log == []


def test_to_each_target(world: World, far: Machine) -> None:
    world.here.make("tank/v@s1", "tank/v/a@s1", "tank/v@s2")
    tree: dict[str, Any] = {"targets": BOTH, "recursive": True}
    foretold = world.replicate(**tree, check=True)
    assert world.changes() == []
    result = world.replicate(**tree)
    assert [foretold[key] for key in FORETOLD] == [result[key] for key in FORETOLD]
    assert replicas(result) == [
        (THERE, "backup/v", None),
        (THERE, "backup/v/a", None),
        (FAR, "archive/site/v", None),
        (FAR, "archive/site/v/a", None),
    ]
    assert arrived(world.there) == {"backup/v@s1", "backup/v@s2", "backup/v/a@s1"}
    assert arrived(far) == {"archive/site/v@s1", "archive/site/v@s2", "archive/site/v/a@s1"}
    assert set(result["diff"]["after"]) == {"b:backup", "c:archive/site"}
    assert "b:backup" not in str(result["diff"]["after"]["c:archive/site"])
    world.here.make("tank/v@s3")
    assert world.replicate(**tree)["replicas"][2]["base"] == "tank/v@s2"
    again = world.replicate(**tree)
    assert (again["changed"], again["actions"], again["diff"]) == (False, [], {"before": {}, "after": {}})


def test_the_source_is_read_once_for_all_targets(world: World, far: Machine) -> None:
    """What each target adds are its own marks, and what is new for it."""
    names = [f"tank/{number}" for number in range(40)]
    world.here.make(*(f"{name}@s1" for name in names))
    world.replicate(*names, targets=BOTH)
    costs = {}
    for count in (1, 2):
        world.revive()
        assert world.replicate(*names, targets=BOTH[:count])["changed"] is False
        costs[count] = sorted((machine, argv[1]) for machine, argv in world.log)
    one = [(HERE, "get"), (HERE, "get"), (HERE, "list"), (THERE, "get"), (THERE, "get"), (THERE, "list")]
    assert costs[1] == sorted(one)
    assert costs[2] == sorted([*one, (HERE, "get"), (FAR, "get"), (FAR, "get"), (FAR, "list")])


def test_what_the_targets_are_sent(world: World, far: Machine) -> None:
    world.here.make("tank/v@daily-1", "tank/v@weekly-1", "tank/v@daily-2")
    weekly = {**BOTH[1], "include_snapshots": ["weekly-*"], "properties": {"compression": "zstd"}}
    world.replicate(targets=[BOTH[0], weekly])
    assert arrived(far) == {"archive/site/v@weekly-1"}
    assert len(arrived(world.there)) == 3
    assert far.all["archive/site/v"].props["compression"] == "zstd"
    assert "compression" not in world.there.all["backup/v"].props


def down(world: World, host: str) -> None:
    def hook(machine: str, _argv: list[str]) -> None:
        if machine == host:
            raise No("ssh: connect to host c port 22: No route to host")

    world.hook = hook


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("host", [THERE, FAR])
@pytest.mark.parametrize("selected", [True, False])
def test_a_target_that_is_down_does_not_stop_the_others(
    world: World, far: Machine, check: bool, host: str, selected: bool
) -> None:
    world.here.make("tank/v@s1", "tank/w@s1")
    for name in ("tank/v", "tank/w"):
        world.here.all[name].props["org.example:backup"] = "yes"
    names: list[str] | None = None if selected else ["tank/v", "tank/w", "tank/gone"]
    select = {"property": "org.example:backup", "value": "yes"} if selected else None
    down(world, host)
    result = world.replicate(name=names, select=select, targets=BOTH, check=check)
    failed: dict[str, dict[str, str]] = {THERE: {}, FAR: {}}
    for each in result["replicas"]:
        if each["failed"]:
            failed[each["target_host"]][each["source_dataset"]] = each["msg"]
    gone = set() if selected else {"tank/gone"}
    assert failed[host].keys() == {"tank/v", "tank/w"} | gone
    assert all("No route to host" in failed[host][name] for name in ("tank/v", "tank/w"))
    assert failed[FAR if host == THERE else THERE].keys() == gone
    assert result["msg"].count("No route to host") == 1
    if not check:
        assert len(arrived(far if host == THERE else world.there)) == 2


def test_a_source_that_is_down_is_the_error_of_the_run(world: World, far: Machine) -> None:
    world.machines["a"] = Machine(iter(range(10**7, 10**8)))
    down(world, "a")
    with pytest.raises(CerssError, match="No route to host"):
        world.replicate(targets=BOTH, source={"host": "a"})
    assert [machine for machine, _argv in world.log] == []


def test_what_nobody_expects_of_a_target_does_not_stop_the_others(
    world: World, far: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.here.make("tank/v@s1")
    real = module.plan_all
    calls: list[int] = []

    def plan_all(*given: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise KeyError("x")
        return real(*given, **more)

    monkeypatch.setattr(module, "plan_all", plan_all)
    result = world.replicate(targets=BOTH)
    assert replicas(result) == [
        (THERE, "backup/v", "targets[0]: KeyError: 'x'"),
        (FAR, "archive/site/v", None),
    ]
    assert "plan_all" in result["stderr"]


@pytest.mark.parametrize("where", [(wave, "commit"), (attempt, "give_up")])
def test_what_nobody_expects_at_the_end_of_a_stream_does_not_stop_the_others(
    world: World, far: Machine, monkeypatch: pytest.MonkeyPatch, where: tuple[Any, str]
) -> None:
    world.here.make("tank/v@s1", "tank/w@s1")
    real = getattr(*where)

    def strange(work: Any, *given: Any) -> Any:
        if work.options.target.host == THERE:
            raise KeyError("x")
        return real(work, *given)

    def hook(machine: str, argv: list[str]) -> None:
        if machine == THERE and argv[1] == "receive" and where[0] is attempt:
            raise No("cannot receive: out of luck")

    world.hook = hook
    monkeypatch.setattr(*where, strange)
    result = world.replicate("tank/v", "tank/w", targets=BOTH)
    assert [msg for _host, _name, msg in replicas(result)] == [
        *(f"b:backup/{name}: KeyError: 'x'" for name in "vw"), None, None,
    ]  # fmt: skip
    assert "strange" in result["stderr"]


def test_two_places_on_one_pool(world: World) -> None:
    """Both relationships are in one record on the source, and the dataset above both is made once."""
    world.here.make("tank/v@s1")
    world.there.make("other")
    places = [{"host": THERE, "parent": f"backup/site/{name}"} for name in ("x", "y")]
    foretold = world.replicate(targets=places, check=True)
    result = world.replicate(targets=places)
    assert [foretold[key] for key in FORETOLD] == [result[key] for key in FORETOLD]
    assert [argv[-1] for _machine, argv in world.log if argv[1] == "create"] == [
        "backup/site", "backup/site/x", "backup/site/y",
    ]  # fmt: skip
    world.here.make("tank/v@s2")
    again = world.replicate(targets=places)
    assert [each["base"] for each in again["replicas"]] == ["tank/v@s1"] * 2
    assert world.replicate(targets=places)["changed"] is False


def test_what_was_read_for_one_target_does_not_count_for_another(world: World) -> None:
    """Somebody ends the relationships meanwhile."""
    world.here.make("tank/v@s1")
    places = [{"host": THERE, "parent": f"backup/{name}"} for name in ("x", "y")]
    world.replicate(targets=places)
    asked: list[int] = []

    def hook(machine: str, argv: list[str]) -> None:
        if machine == HERE and any(word.startswith("cerss.zfs:replica.") for word in argv):
            asked.append(1)
            if len(asked) == 2:
                world.here.all["tank/v"].props.clear()

    world.hook = hook
    first, second = world.replicate(targets=places)["replicas"]
    assert not first["failed"]
    assert "has no record of it" in second["msg"]


def test_time_that_is_over_ends_all_targets(world: World, far: Machine) -> None:
    world.here.make("tank/v@s1")

    def hook(machine: str, argv: list[str]) -> None:
        if machine == THERE and argv[1] == "receive":
            world.stop.set()

    world.hook = hook
    result = world.replicate(targets=BOTH)
    assert arrived(far) == set()
    assert [each["failed"] for each in result["replicas"]] == [False, True]
    assert "the run was stopped" in result["replicas"][1]["msg"]


@pytest.mark.parametrize("on_divergence", ["fail", "rollback", "reseed"])
def test_what_the_source_gets_while_the_first_target_takes_long(
    world: World, far: Machine, monkeypatch: pytest.MonkeyPatch, on_divergence: str
) -> None:
    """Another run brings it to the second target meanwhile."""
    world.here.make("tank/v@s1")
    world.replicate(targets=BOTH)
    world.here.make("tank/v@s2")
    done: list[int] = []

    def hook(machine: str, argv: list[str]) -> None:
        if machine == THERE and argv[1] == "receive" and not done:
            done.append(1)
            world.here.make("tank/v@s3")
            world.replicate(target=BOTH[1])

    world.hook = hook
    monkeypatch.setattr(survey, "FRESH", 0)
    result = world.replicate(targets=BOTH, on_divergence=on_divergence)
    assert replicas(result) == [(THERE, "backup/v", None), (FAR, "archive/site/v", None)]
    assert arrived(far) == {f"archive/site/v@{name}" for name in ("s1", "s2", "s3")}
    assert not [argv for _machine, argv in world.log if argv[1] in ("destroy", "rollback", "rename")]


# -- periods ---------------------------------------------------------------------------------------------------------

DAY = 86400


CREATED: dict[str, int] = {}  # by GUID


@pytest.fixture
def days(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world whose snapshots tell when they were created."""
    for machine in world.machines.values():

        def value(name: str, key: str, machine: Machine = machine, real: Any = machine.value) -> Any:
            return ("-", str(CREATED[machine.all[name].guid])) if key == "creation" else real(name, key)

        monkeypatch.setattr(machine, "value", value)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    return world


def snapshot(world: World, day: int) -> None:
    """Of tank/v, on that day since 1970."""
    world.here.make(f"tank/v@d{day}")
    CREATED[world.here.all[f"tank/v@d{day}"].guid] = day * DAY + 3600


def sent(world: World) -> list[int]:
    return sorted(int(name.partition("@d")[2]) for name in arrived(world.there))


MONTHLY = {"host": THERE, "dataset": "backup/v", "include": {"monthly": 1}}


def test_the_first_of_each_month(days: World) -> None:
    for day in (3, 10, 33, 40, 62):
        snapshot(days, day)
    foretold = days.replicate(target=MONTHLY, check=True)
    result = days.replicate(target=MONTHLY)
    assert [foretold[key] for key in FORETOLD] == [result[key] for key in FORETOLD]
    assert sent(days) == [3, 33, 62]
    assert days.replicate(target=MONTHLY)["changed"] is False


def test_a_month_in_which_one_was_sent_gets_no_other_one(days: World) -> None:
    """Whatever the source deletes; its cursor tells when the last one was made."""
    snapshot(days, 3)
    for day in range(4, 45):
        days.replicate(target=MONTHLY)
        snapshot(days, day)
        gone = f"tank/v@d{day - 5}"
        if gone in days.here.all:
            del days.here.all[gone]
    again = days.replicate(target=MONTHLY)
    assert sent(days) == [3, 31]
    assert (again["changed"], again["replicas"][0]["state"], again["replicas"][0]["msg"]) == (False, "full", None)
    assert again["replicas"][0]["source"] == "tank/v@d31"
    assert again["warnings"] == []


def test_a_month_is_not_over_because_another_job_has_sent_something_in_it(days: World) -> None:
    """And not begun anew by that, however long the source keeps its snapshots."""
    monthly = {"job": "monthly", "target": MONTHLY, "include_snapshots": ["d*"]}
    every = {"job": "all", "target": {**MONTHLY, "include": None}, "include_snapshots": ["a*"]}
    for day in range(3, 70):
        days.here.make(f"tank/v@a{day}")
        CREATED[days.here.all[f"tank/v@a{day}"].guid] = day * DAY
        assert not days.replicate(**every).get("failed")
        snapshot(days, day)
        assert not days.replicate(**monthly).get("failed")
        assert days.replicate(**monthly)["changed"] is False
        for gone in (f"tank/v@d{day - 5}", f"tank/v@a{day - 5}"):
            days.here.all.pop(gone, None)
    assert sent_of(days, "d") == [3, 31, 59]
    assert sent_of(days, "a") == list(range(3, 70))


def sent_of(world: World, letter: str) -> list[int]:
    names = (name.partition("@")[2] for name in arrived(world.there))
    return sorted(int(name[1:]) for name in names if name.startswith(letter))


def test_a_named_snapshot_is_sent_whenever_it_was_made(days: World) -> None:
    for day in (3, 10, 33, 40, 41):
        snapshot(days, day)
    days.replicate("tank/v@d40", target=MONTHLY)
    assert sent(days) == [3, 33, 40]
    assert days.replicate("tank/v@d33", target=MONTHLY)["changed"] is False


def test_only_the_newest_first_one(days: World) -> None:
    for day in (3, 10, 33, 40):
        snapshot(days, day)
    days.replicate(target={**MONTHLY, "intermediates": False})
    assert sent(days) == [33]


def test_periods_and_patterns(days: World) -> None:
    for day in (3, 10, 33, 40):
        snapshot(days, day)
    days.replicate(target={**MONTHLY, "exclude_snapshots": ["d3", "d33"]})
    assert sent(days) == [10, 40]


def test_packages_of_first_ones(days: World) -> None:
    for day in range(0, 150 * 2, 2):
        snapshot(days, day)
        snapshot(days, day + 1)
    daily = {**MONTHLY, "include": {"daily": 1}}
    days.replicate("tank/v@d0", target=daily)
    days.replicate(target=daily)
    assert sent(days) == list(range(300))
    assert days.replicate(target=daily)["changed"] is False


def test_times_cost_one_more_process(days: World) -> None:
    for day in (3, 33):
        snapshot(days, day)
    days.replicate(target=MONTHLY)
    days.revive()
    days.replicate(target=MONTHLY)
    with_times = sorted((machine, argv[1]) for machine, argv in days.log)
    days.replicate()  # it records the other filter
    days.revive()
    days.replicate()
    assert with_times == sorted([(HERE, "get"), *((machine, argv[1]) for machine, argv in days.log)])
