# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which pairs there are, what is wrong with some of them, and in which order they come."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.endpoint import Endpoint
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import Link, Pair
from ansible_collections.cerss.zfs.plugins.module_utils._replication.survey import in_order, look_at
from ansible_collections.cerss.zfs.tests.unit.machine import Machine
from ansible_collections.cerss.zfs.tests.unit.world import THERE, World

PARENT: dict[str, Any] = {"target": {"host": THERE, "parent": "backup"}}


def errors(result: dict[str, Any]) -> dict[str, str]:
    """The messages of the pairs that failed, by source."""
    return {each["source"]: each["msg"] for each in result["replicas"] if each["failed"]}


def silent_about(machine: Machine, name: str) -> None:
    """zfs get prints nothing about a dataset that zfs list shows."""
    real = machine.do_get
    machine.do_get = lambda *given: "".join(  # type: ignore[method-assign]
        line for line in real(*given).splitlines(keepends=True) if not line.startswith(f"{name}\t")
    )


# -- errors of single pairs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["source", "target"])
def test_what_cannot_be_read_is_the_error_of_its_pair(world: World, side: str) -> None:
    names = ("tank/a", "tank/b", "tank/c")
    world.here.make(*(f"{name}@s1" for name in names))
    world.replicate(*names, **PARENT)
    world.here.make(*(f"{name}@s2" for name in names))
    if side == "source":
        silent_about(world.here, "tank/b")
    else:
        silent_about(world.there, "backup/b")
    result = world.replicate(*names, **PARENT)
    assert list(errors(result)) == ["tank/b"]
    assert "cannot be read: zfs get prints nothing" in errors(result)["tank/b"]
    assert [name for name in world.there.all if name.endswith("@s2")] == ["backup/a@s2", "backup/c@s2"]


def test_a_source_that_does_not_exist_is_the_error_of_its_pair(world: World) -> None:
    world.here.make("tank/a@s1")
    result = world.replicate("tank/a", "tank/gone", "tank/gone2@s", **PARENT)
    assert errors(result) == {
        name: f"{name} does not exist; check the name, or create it first" for name in ("tank/gone", "tank/gone2")
    }
    assert "backup/a@s1" in world.there.all


def test_a_name_that_is_too_long_is_the_error_of_its_pair(world: World) -> None:
    long, deep = "tank/" + "x" * 240, "tank/v/" + "y" * 215
    deeper = f"tank/v/{'y' * 230}"  # so that the name of the dataset above the next replica is too long for ZFS itself
    world.here.make("tank/v@s1", f"{deep}@s1", f"{long}@s1", f"{deeper}/z@s1")
    options: dict[str, Any] = {"target": {"host": THERE, "parent": "backup/" + "z" * 27}, "recursive": True}
    foretold = world.replicate("tank/v", long, **options, check=True)
    result = world.replicate("tank/v", long, **options)
    assert set(errors(result)) == {deep, long, deeper, f"{deeper}/z"}
    assert errors(foretold) == errors(result)
    assert foretold["actions"] == result["actions"]
    assert all("characters" in text for text in errors(result).values())
    assert any(name.endswith("/v@s1") for name in world.there.all)


def test_a_pool_without_a_guid(world: World) -> None:
    world.here.make("tank/v@s1")
    world.there.all["backup"].fixed["guid"] = "many"
    with pytest.raises(Refused, match="the GUID of backup on b cannot be read"):
        world.replicate()


def test_two_sources_cannot_have_one_replica(world: World) -> None:
    world.here.make("tank/a/v@s1", "tank/b/v@s1")
    with pytest.raises(BadInput, match="tank/a/v and tank/b/v would both go to b:backup/v; lower target"):
        world.replicate("tank/a/v", "tank/b/v", target={"host": THERE, "parent": "backup", "strip": 2})
    assert world.changes() == []


def test_what_is_excluded_is_left_out_with_all_below_it(world: World) -> None:
    world.here.make("tank/v@s1", "tank/v/a@s1", "tank/v/a/b@s1", "tank/v/c@s1")
    world.replicate(**PARENT, recursive=True, exclude=["tank/v/a"])
    assert {name for name in world.there.all if "@" in name} == {"backup/v@s1", "backup/v/c@s1"}


# -- places ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "recursive", "why"),
    [
        ("tank/v", False, "tank/v is the source itself"),
        ("tank/v", True, "tank/v is the source itself"),
        ("tank/v/copy", True, "tank/v/copy is inside tank/v"),
    ],
)
@pytest.mark.parametrize("host", ["local", THERE])
def test_a_replica_cannot_lie_in_its_source(world: World, host: str, target: str, recursive: bool, why: str) -> None:
    """Also when the same machine has another name: its pools have the same GUIDs."""
    world.machines[THERE] = world.here
    world.here.make("tank/v@s1")
    with pytest.raises(BadInput, match=f"{why}; choose another target"):
        world.replicate(target={"host": host, "dataset": target}, recursive=recursive)
    assert world.changes() == []


def test_pools_of_the_same_name_are_told_apart(world: World) -> None:
    world.there.make("tank")
    world.here.make("tank/v@s1")
    assert errors(world.replicate(target="tank/v", recursive=True)) == {}
    assert "tank/v@s1" in world.there.all


def test_parents_that_are_replicas_are_not_made(world: World) -> None:
    world.here.make("tank/v@s1", "tank/v/a/b@s1", "tank/v/a@s1")
    result = world.replicate(target={"host": THERE, "parent": "backup/site"}, recursive=True)
    assert errors(result) == {}
    assert [argv[-1] for _machine, argv in world.log if argv[1] == "create"] == ["backup/site"]


def test_nothing_is_received_below_a_replica_that_will_not_exist(world: World) -> None:
    world.here.make("tank/v/c@s1")
    result = world.replicate("tank/v", **PARENT, recursive=True)
    assert "tank/v has no snapshot" in errors(result)["tank/v"]
    assert "b:backup/v, above its replica, does not exist" in errors(result)["tank/v/c@s1"]
    assert world.changes() == []


def test_a_pair_without_its_source(world: World) -> None:
    world.here.make("tank/v@s1")
    links = [Link("tank/v", "backup/v"), Link("tank/w", "backup/w")]
    found, missing = look_at(Backend(), Backend(Endpoint(THERE)), links)
    assert missing is None
    assert found is not None
    assert (found.source.name, found.replica, found.missing_parents) == ("tank/v", None, ())


# -- the order -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "origins", "order"),
    [
        ([("tank/b", "x/b"), ("tank/a", "x/a")], {}, ["tank/a", "tank/b"]),
        ([("tank/v/w", "x/1"), ("tank/v", "x/2")], {}, ["tank/v", "tank/v/w"]),
        ([("tank/a", "x/v/w"), ("tank/b", "x/v")], {}, ["tank/b", "tank/a"]),
        ([("tank/a", "x/a"), ("tank/b", "x/b")], {"tank/a": "tank/b@s"}, ["tank/b", "tank/a"]),
        ([("tank/v/c", "x/v/c"), ("tank/v", "x/v")], {"tank/v/c": "tank/v@s"}, ["tank/v", "tank/v/c"]),
        ([("tank/v", "x/v"), ("tank/v/c", "x/v/c")], {"tank/v": "tank/v/c@s"}, ["tank/v", "tank/v/c"]),
        (
            [("tank/v", "x/v"), ("tank/v/c", "x/v/c"), ("tank/u", "x/u")],
            {"tank/v": "tank/u@s", "tank/u": "tank/v/c@s"},
            ["tank/u", "tank/v", "tank/v/c"],
        ),
        ([("tank/a", "x/v/w"), ("tank/a/b", "x/v")], {}, ["tank/a", "tank/a/b"]),
    ],
)
def test_pairs_come_after_those_they_depend_on(
    names: list[tuple[str, str]], origins: dict[str, str], order: list[str]
) -> None:
    for arrangement in itertools.permutations(names):
        pairs = [
            Pair(Link(source, place), Dataset(source, origin=origins.get(source))) for source, place in arrangement
        ]
        assert [found.source.name for found in in_order(pairs)] == order


@pytest.mark.parametrize("depth", [1, 2])
def test_a_parent_that_is_a_clone_of_what_is_below_it(world: World, depth: int) -> None:
    """After a promotion and a rename. It arrives in full, since what is below it needs its place first."""
    world.here.make("tank/x@s0")
    world.here.clone("tank/x@s0", "tank/v")
    tree = ["tank/v" + "/c" * number for number in range(depth + 1)]
    world.here.make("tank/y", *tree[1:-1])
    world.here.do_rename({}, "tank/x", tree[-1])
    world.here.make(*(f"{name}@s1" for name in tree))
    foretold = world.replicate(check=True, recursive=True)
    result = world.replicate(recursive=True)
    assert not result.get("failed"), [each["msg"] for each in result["replicas"]]
    assert sorted(result["actions"]) == sorted(foretold["actions"])
    apart = [each["source"] for each in result["replicas"] if each["origin_preserved"] is False]
    assert [source.rpartition(":")[2] for source in apart] == ["tank/v@s1"]
    world.here.make(*(f"{name}@s2" for name in tree))
    again = world.replicate(recursive=True)
    assert [each["steps"][0]["kind"] for each in again["replicas"]] == ["incremental"] * len(tree)
    assert not world.replicate(recursive=True)["changed"]


NAMES = st.lists(st.sampled_from("ab"), min_size=1, max_size=3).map(lambda parts: "/".join(["tank", *parts]))


@given(st.dictionaries(NAMES, st.none() | NAMES, max_size=10), st.randoms(use_true_random=False))
def test_any_arrangement_has_an_order(origins: dict[str, str | None], random: Any) -> None:
    """Each pair comes once, after those above it, and after its origin unless that needs it."""
    pairs = [
        Pair(Link(name, f"x/{name}"), Dataset(name, origin=f"{origin}@s" if origin else None))
        for name, origin in origins.items()
    ]
    random.shuffle(pairs)
    found = [pair.source.name for pair in in_order(pairs)]
    assert sorted(found) == sorted(origins)
    above = {name: {str(each) for each in DatasetName(name).ancestors()} & origins.keys() for name in origins}
    needs = {name: above[name] | ({str(origin)} & origins.keys()) for name, origin in origins.items()}
    for name, origin in origins.items():
        assert all(found.index(other) < found.index(name) for other in above[name])
        if origin in origins and origin != name:
            assert found.index(str(origin)) < found.index(name) or name in _closure(str(origin), needs)


def _closure(name: str, needs: dict[str, set[str]]) -> set[str]:
    found, waiting = set[str](), [name]
    while waiting:
        for other in needs.get(waiting.pop(), set()) - found:
            found.add(other)
            waiting.append(other)
    return found


PLACES = st.lists(st.sampled_from("ab"), min_size=1, max_size=3).map(lambda parts: "/".join(["x", *parts]))


@given(st.dictionaries(NAMES, st.tuples(st.none() | NAMES, PLACES), max_size=8))
def test_contradictions_have_an_order_too(pairs: dict[str, tuple[str | None, str]]) -> None:
    """As after renames on both sides."""
    found = in_order([
        Pair(Link(name, place), Dataset(name, origin=f"{origin}@s" if origin else None))
        for name, (origin, place) in pairs.items()
    ])  # fmt: skip
    assert sorted(pair.source.name for pair in found) == sorted(pairs)


@pytest.mark.parametrize("backwards", [False, True])
def test_a_long_chain_of_clones(backwards: bool) -> None:
    """Deeper than Python recurses, and in time that grows with their number."""
    names = [f"tank/{number:05}" for number in range(2000)]
    chain = names[::-1] if backwards else names
    origins = dict(zip(chain[1:], chain))
    pairs = [Pair(Link(name, f"x/{name}"), Dataset(name, origin=f"{origins.get(name, 'y')}@s")) for name in names]
    assert [pair.source.name for pair in in_order(pairs)] == chain
