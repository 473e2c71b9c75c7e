# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What zfs_replication_info reads, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, CerssError, Suspended
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    CommitPoints,
    LastHold,
    ReplicaRecords,
    SourceMark,
    StepHold,
)
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory, values
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._replication import info
from ansible_collections.cerss.zfs.plugins.module_utils._replication.health import Limits, Moment, relationships
from ansible_collections.cerss.zfs.tests.unit.scenarios import Call
from ansible_collections.cerss.zfs.tests.unit.transcript import entrance
from ansible_collections.cerss.zfs.tests.unit.world import HERE, World

NewWorld = Callable[..., World]
PREFIXES = ReplicaRecords.PREFIX, CommitPoints.PREFIX
LOCAL = {"host": "local", "dataset": "backup/v"}


def read(*names: str, **options: Any) -> dict[str, Any]:
    verb, params = entrance(Call("zfs_replication_info", {"name": list(names) or None, **options}))
    return verb(params, False)


@pytest.fixture
def replicated(world: World) -> World:
    """tank/v is replicated to backup/v on the same machine, and has snapshots from before."""
    world.here.make("backup", *(f"tank/v@old{number}" for number in range(50)), "tank/v@s1")
    assert not world.replicate(target=LOCAL).get("failed")
    world.revive()
    return world


def asked(world: World) -> list[list[str]]:
    """The snapshots and bookmarks of which each process has read slow values."""
    return [
        [word for word in argv if "@" in word or "#" in word]
        for _where, argv in world.log
        if argv[1] in ("get", "holds")
    ]


# -- what it costs ---------------------------------------------------------------------------------------------------


def behind(world: World) -> None:
    world.here.make("tank/v@s2")


def interrupted(world: World) -> None:
    behind(world)
    world.here.all["tank/v@s2"].holds.append(StepHold(read("tank/v")["replications"][0]["id"]).format())


def diverged(world: World) -> None:
    world.here.make("backup/v@mine")


def everything(world: World) -> None:
    interrupted(world)
    diverged(world)


@pytest.mark.parametrize(
    ("names", "change", "processes"),
    [
        ([], None, 6),
        (["tank/v"], None, 5),
        (["tank/v"], behind, 6),
        (["tank/v"], interrupted, 7),
        (["backup/v"], None, 6),
        (["backup/v"], diverged, 7),
        (["tank/v", "backup/v"], interrupted, 7),
        ([], everything, 9),
        (["tank"], None, 2 + 3),
        (["tank/v", "backup/v", "tank"], everything, 12),
    ],
)
def test_processes(replicated: World, names: list[str], change: Any, processes: int) -> None:
    """No more than the entry point says, and none for each dataset or snapshot."""
    if change:
        change(replicated)
    replicated.log.clear()
    read(*names)
    assert replicated.count(HERE, "zfs") == processes
    assert "At most seven zfs processes" in str(info.main.__doc__)


def test_a_long_history_costs_no_more_than_its_list(replicated: World) -> None:
    """Slow values are read of what came after the commit point, and of a replica's last snapshot."""
    read()
    assert asked(replicated) == [[], [], [], ["tank/v@s1", "backup/v@s1"], ["backup/v@s1"]]
    replicated.here.make("tank/v@s2")
    replicated.log.clear()
    read()
    assert asked(replicated)[3:] == [["tank/v@s1", "tank/v@s2", "backup/v@s1"], ["tank/v@s2"], ["backup/v@s1"]]
    cursor = [name for name in replicated.here.all if name.startswith("tank/v#")][-1]
    replicated.here.do_destroy({}, "tank/v@s1")
    replicated.log.clear()
    (_replica, source) = read()["replications"]
    assert source["last_replicated"] == cursor
    assert asked(replicated)[3:] == [["tank/v@s2", "backup/v@s1", cursor], ["tank/v@s2"], ["backup/v@s1"]]


def test_the_replica_that_is_furthest_behind_decides_what_is_read(replicated: World) -> None:
    replicated.here.make("tank/v@s2", "tank/v@s3")
    replicated.replicate(target={"host": "local", "dataset": "backup/w"})
    replicated.log.clear()
    counts = {each["target"]: each["snapshots_behind"] for each in read("tank/v")["replications"]}
    assert counts == {"backup/v": 2, "backup/w": 0}
    assert asked(replicated)[3:5] == [["tank/v@s1", "tank/v@s2", "tank/v@s3"], ["tank/v@s2", "tank/v@s3"]]


def test_what_a_first_transfer_holds_is_told(world: World) -> None:
    """Its cursor was made before it was held."""
    world.here.make("backup", "tank/v@s1", "tank/v@s2")
    world.cuts = ["tank/v@s1"]
    world.replicate(target=LOCAL)
    (source,) = read("tank/v")["replications"]
    assert "a transfer was interrupted and holds tank/v@s1" in source["problems"][1]


def test_datasets_without_a_relationship_are_not_read(replicated: World) -> None:
    replicated.here.make(*(f"tank/other{number}@s" for number in range(30)))
    read()
    _list, _pools, _names, *rest = replicated.log
    assert not [word for _where, argv in rest for word in argv if "other" in word]


# -- whether that is enough ------------------------------------------------------------------------------------------


def snap(world: World, which: int, number: int) -> None:
    world.here.make(f"tank/v@n{number}", props={"cerss.zfs:temporary": "true"} if which % 3 == 0 else {})


def replicate(world: World, which: int, _number: int) -> None:
    """Some streams break off."""
    world.cuts = [snap.name for snap in world.here.snaps("tank/v")][-1 - which % 2 :] if which > 5 else []
    world.replicate(target=LOCAL if which % 2 else {"host": "local", "dataset": "backup/w"})
    world.cuts = []


def delete(world: World, which: int, _number: int) -> None:
    for snap in world.here.snaps("tank/v")[which:][:1]:
        snap.deferred = bool(snap.holds)
        if not (snap.holds or world.here.clones(snap)):
            world.here.do_destroy({}, snap.name)


def diverge(world: World, _which: int, number: int) -> None:
    if "backup/v" in world.here.all:
        world.here.make(f"backup/v@n{number}")


def release(world: World, _which: int, _number: int) -> None:
    for snap in world.here.snaps("backup/v"):
        snap.holds = [tag for tag in snap.holds if tag != LastHold.TAG]


def clone(world: World, which: int, number: int) -> None:
    for snap in world.here.snaps("tank/v")[which:][:1]:
        world.here.clone(snap.name, f"tank/c{number}")


def promote(world: World, which: int, _number: int) -> None:
    for name in [thing.name for thing in world.here.all.values() if thing.origin][which:][:1]:
        world.here.do_promote({}, name)


def forget(world: World, which: int, _number: int) -> None:
    """Somebody removes records, or commit points."""
    props = world.here.all["tank/v"].props
    for lost in [each for each in props if each.startswith(PREFIXES[which % 2])]:
        del props[lost]


EVENTS = st.lists(
    st.tuples(
        st.sampled_from([snap, replicate, replicate, delete, diverge, release, clone, promote, forget]),
        st.integers(0, 9),
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=EVENTS)
def test_a_part_of_the_history_tells_the_same_as_all_of_it(events: list[Any], new_world: NewWorld) -> None:
    world = new_world()
    world.here.make("backup", "tank/v@s0")
    for number, (happen, which) in enumerate(events):
        happen(world, which % 4 if happen in (delete, clone, promote) else which, number)
    texts = []
    for look in (info.look, info.look_everywhere):
        found, _missing = inventory.read(Backend(), [], None)
        look(Backend(), found)
        texts.append(relationships(found, Moment(10**6, limits=Limits(1000))))
    assert texts[0] == texts[1]


# -- what is asked for -----------------------------------------------------------------------------------------------


def test_an_empty_list_is_nothing_to_do(replicated: World) -> None:
    verb, params = entrance(Call("zfs_replication_info", {"name": []}))
    assert verb(params, False) == {"changed": False, "replications": []}
    assert replicated.log == []


def test_recursive(replicated: World) -> None:
    assert [each["role"] for each in read("tank", recursive=True)["replications"]] == ["source"]
    assert [each["role"] for each in read("tank", "backup", recursive=True)["replications"]] == ["replica", "source"]
    assert "warnings" not in read("tank", recursive=True)


@pytest.mark.parametrize(
    ("names", "warned"),
    [
        (["tank"], ["tank itself has no relationship, but there are some below it (tank/v), which are missing here; "
                    "set recursive=true to read them"]),
        (["tank", "tank/v"], []),
        (["tank/v"], []),
        (["tank/none"], []),
    ],
)  # fmt: skip
def test_relationships_only_below_a_named_dataset_are_told(
    replicated: World, names: list[str], warned: list[str]
) -> None:
    """An empty list would look as if all were well."""
    replicated.here.make("tank/none/below")
    assert read(*names).get("warnings", []) == warned


def test_many_relationships_below_are_counted(replicated: World) -> None:
    for number in range(5):
        replicated.here.make(f"tank/w{number}").props[SourceMark.NAME] = "spoilt"
    (warning,) = read("tank")["warnings"]
    assert "(tank/v, tank/w0, tank/w1 and 3 more)" in warning


def test_a_dataset_that_does_not_exist_hides_no_other(replicated: World) -> None:
    result = read("tank/v", "tank/gone")
    assert (result["failed"], result["msg"]) == (True, "tank/gone does not exist; check the name")
    assert [each["source"] for each in result["replications"]] == ["tank/v"]


def forge(world: World) -> None:
    """Put a text into the mark of backup/v that looks like the next lines of zfs get."""
    name = next(name for name in world.here.all["tank/v"].props if name.startswith(CommitPoints.PREFIX))
    world.here.all["backup/v"].props[SourceMark.NAME] = f"x\ntank/v\t{name}\tlocal\tforged"


def test_a_suspended_pool_hides_no_other(replicated: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real, states = inventory.read, {"tank": "online", "bad": "suspended"}

    def listed(backend: Backend, names: list[str], *more: Any) -> Any:
        if "bad/v" in names:
            raise Suspended(["zfs", "list"], 1, "cannot open 'bad': pool I/O is currently suspended")
        return real(backend, names, *more)

    monkeypatch.setattr(inventory, "read", listed)
    monkeypatch.setattr(inventory, "pool_states", lambda _backend: states)
    message = "pool bad is suspended, so its relationships are missing here; see zfs_pool_info"
    named = read("tank/v", "bad/v", "tank/none")
    assert [each["source"] for each in named["replications"]] == ["tank/v"]
    assert (named["failed"], named["msg"]) == (True, f"tank/none does not exist; check the name; {message}")
    everything = read()
    assert "failed" not in everything
    assert everything["warnings"] == [message]
    states["bad"] = "online"
    with pytest.raises(Suspended):
        read("tank/v", "bad/v")


def test_a_dataset_that_cannot_be_read_hides_no_other(replicated: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_alone(_backend: Backend, name: str, _properties: list[str], part: values.Properties) -> None:
        part.spoilt[name] = f"{name} cannot be read"

    replicated.replicate(target={"host": "local", "dataset": "backup/w"})
    forge(replicated)
    monkeypatch.setattr(values, "_read_alone", read_alone)
    result = read()
    assert result["warnings"][0] == "tank/v cannot be read"
    assert [each["target"] for each in result["replications"]] == ["backup/w"]


def test_marks_that_cannot_be_read_are_told(world: World) -> None:
    world.here.make("tank/v@s1", "tank/w@s1", "tank/x@s1")
    world.replicate()
    record, point = (next(n for n in world.here.all["tank/v"].props if n.startswith(kind)) for kind in PREFIXES)
    world.here.all["tank/v"].props[record] = "[nonsense"
    world.here.all["tank/w"].props[point] = "nonsense"
    result = read()
    assert [text.partition(" that cannot")[0] for text in result["warnings"]] == [
        f"tank/v has a property {record}",
        f"tank/w has a property {point}",
    ]
    assert [each["problems"][0].partition(":")[0] for each in result["replications"]] == ["left over"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": ["tank/v@s"]}, "names a snapshot"),
        ({"max_lag": "soon"}, "max_lag: 'soon' is not a duration"),
        ({"warn_lag": "1x"}, "warn_lag: '1x' is not a duration"),
        ({"max_lag": "1h", "warn_lag": "61m"}, r"warn_lag \(61m\) is more than max_lag \(1h\)"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        info.Options.from_params({"name": None, **options})


def test_good_options() -> None:
    assert info.Options.from_params({}) == info.Options(None, False, Limits())
    given = {"name": ["tank/v"], "recursive": True, "max_lag": "1d", "warn_lag": "1d"}
    assert info.Options.from_params(given) == info.Options(("tank/v",), True, Limits(86400, 86400))


def test_the_end_of_a_relationship_stops_at_what_cannot_be_read(
    replicated: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mark that nobody can read would stay behind unnoticed."""

    def read_alone(_backend: Backend, name: str, _properties: list[str], part: values.Properties) -> None:
        part.spoilt[name] = f"{name} cannot be read"

    forge(replicated)
    monkeypatch.setattr(values, "_read_alone", read_alone)
    found, _missing = inventory.read(Backend(), [], None)
    with pytest.raises(CerssError, match="cannot be read"):
        info.look_everywhere(Backend(), found)
