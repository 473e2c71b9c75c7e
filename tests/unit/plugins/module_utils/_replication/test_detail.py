# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is read besides names, and only where it is needed."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Hold, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._replication import detail
from ansible_collections.cerss.zfs.plugins.module_utils._replication.bookkeeping import MANY_CURSORS
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import Link, Pair
from ansible_collections.cerss.zfs.tests.unit.machine import ENCRYPTED, No
from ansible_collections.cerss.zfs.tests.unit.world import HERE, THERE, World


def message(result: dict[str, Any]) -> str:
    (replica,) = result["replicas"]
    return str(replica["msg"] or "")


def asked(world: World, machine: str, *names: str) -> set[str]:
    """The snapshots of which these properties were read."""
    return {
        name
        for where, argv in world.log
        if where == machine and argv[1] == "get" and set(names) <= set(argv[5].split(","))
        for name in argv[6:]
        if "@" in name
    }


def diverged(world: World) -> None:
    world.here.make("tank/v@s1", "tank/v@s2")
    world.replicate()
    world.here.make("tank/v@s3")
    world.there.make("backup/v@own")
    world.revive()


# -- snapshots -------------------------------------------------------------------------------------------------------


def test_slow_values_are_read_since_the_commit_point_alone(world: World) -> None:
    world.here.make(*(f"tank/v@s{number}" for number in range(9)))
    world.replicate()
    world.here.make("tank/v@s9")
    world.revive()
    world.replicate()
    assert asked(world, HERE, "userrefs") == {"tank/v@s8", "tank/v@s9"}
    assert asked(world, HERE, "cerss.zfs:temporary") == {"tank/v@s8", "tank/v@s9"}
    assert asked(world, THERE, "userrefs") == {"backup/v@s8"}


def test_a_named_snapshot_is_looked_at_wherever_it_is(world: World) -> None:
    world.here.make(*(f"tank/v@s{number}" for number in range(5)))
    world.replicate("tank/v@s3")
    world.here.make("tank/v@s9")
    world.there.all["backup/v"].written = 5
    world.revive()
    world.replicate("tank/v@s1")
    assert "tank/v@s1" in asked(world, HERE, "userrefs")


@pytest.mark.parametrize("deferred", [False, True])
def test_a_temporary_or_deleted_snapshot_is_not_sent(world: World, deferred: bool) -> None:
    world.here.make("tank/v@s1")
    world.replicate()
    marked = world.here.make("tank/v@s2")
    world.here.make("tank/v@s3")
    if deferred:
        marked.deferred, marked.holds = True, ["keep"]
    else:
        marked.props["cerss.zfs:temporary"] = "true"
    world.replicate()
    assert [snap.name for snap in world.there.snaps("backup/v")] == ["backup/v@s1", "backup/v@s3"]


def test_times_of_cursors_are_read_when_there_are_many(world: World) -> None:
    world.here.make("tank/v@s0")
    world.replicate()
    for number in range(1, 14):
        there = len([name for name in world.here.all if "#" in name])
        world.here.make(f"tank/v@s{number}")
        world.revive()
        assert message(world.replicate()) == ""
        read = [argv for where, argv in world.log if where == HERE and argv[1] == "get" and "#" in argv[-1]]
        assert bool(read) == (there + 1 > MANY_CURSORS)  # with the one that this run makes
        assert there <= MANY_CURSORS + 1


# -- origins ---------------------------------------------------------------------------------------------------------


def test_the_pool_there_is_read_only_for_new_clones(world: World) -> None:
    world.here.make("tank/v@s1")
    world.here.clone("tank/v@s1", "tank/k")
    world.here.make("tank/k@k1")
    options: dict[str, Any] = {"target": {"host": THERE, "parent": "backup"}}

    def whole() -> int:
        return sum(argv[-1] == "backup" for where, argv in world.log if where == THERE and argv[1] == "list")

    world.replicate("tank/v", **options)
    assert whole() == 0
    world.replicate("tank/k", **options)
    assert whole() > 0
    origin = world.there.all["backup/k"].origin
    assert origin is not None
    assert origin.name == "backup/v@s1"
    world.revive()
    world.here.make("tank/k@k2")
    world.replicate("tank/k", **options)
    assert whole() == 0


# -- a source that was made anew -------------------------------------------------------------------------------------


def anew(world: World, keep: bool = False) -> None:
    """tank/v was destroyed, or renamed, and there is another tank/v now."""
    world.here.make("tank/v@s1")
    world.replicate()
    for thing in [world.here.all["tank/v"], *world.here.parts_of("tank/v", "@#")]:
        if keep:
            world.here.move(thing, thing.name.replace("tank/v", "tank/former"))
        else:
            del world.here.all[thing.name]
    world.here.make("tank/v@s1", "tank/v@s2")
    world.revive()


def test_a_source_that_was_made_anew_is_told(world: World) -> None:
    anew(world)
    text = message(world.replicate())
    assert "that does not exist any more" in text
    assert "on_divergence=reseed puts the old replica aside" in text
    assert world.changes() == []


def test_a_source_that_was_made_anew_gets_a_new_replica(world: World) -> None:
    anew(world)
    foretold = world.replicate(on_divergence="reseed", check=True)
    world.revive()
    result = world.replicate(on_divergence="reseed")
    assert message(result) == ""
    assert result["actions"] == foretold["actions"]
    assert world.there.snaps("backup/v")[-1].guid == world.here.all["tank/v@s2"].guid
    assert [name for name in world.there.all if name.startswith("backup/v_old_") and "@" in name]
    assert world.replicate(check=True)["changed"] is False


def test_one_member_of_a_tree_that_was_made_anew(world: World) -> None:
    options: dict[str, Any] = {"target": {"host": THERE, "parent": "backup"}, "recursive": True}
    world.here.make("tank/v@s1", "tank/v/a@s1", "tank/v/b@s1")
    world.replicate(**options)
    for name in [name for name in world.here.all if name.startswith("tank/v/a")]:
        del world.here.all[name]
    world.here.make("tank/v/a@s1", "tank/v/b@s2")
    result = world.replicate(**options)
    assert [each["target"] for each in result["replicas"] if each["failed"]] == ["b:backup/v/a"]
    assert "backup/v/b@s2" in world.there.all
    result = world.replicate(**options, on_divergence="reseed")
    assert not result.get("failed"), result
    assert world.replicate(**options, check=True)["changed"] is False


def test_a_source_that_still_exists_was_not_made_anew(world: World) -> None:
    anew(world, keep=True)
    for on_divergence in ("fail", "reseed"):
        text = message(world.replicate(on_divergence=on_divergence))
        assert "is the replica of" in text
        assert "choose another target" in text
    assert world.changes() == []


def test_a_gate_that_does_not_show_the_pool(world: World) -> None:
    """So it is not known whether the former source exists."""
    anew(world)

    def gate(machine: str, argv: list[str]) -> None:
        if machine == HERE and argv[1] == "list" and argv[-1] == "tank":
            raise No("cerss-zfs-gate: refused: tank is not below tank/v")

    world.hook = gate
    assert "choose another target" in message(world.replicate(on_divergence="reseed"))
    assert world.changes() == []


# -- reseeds ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("on_divergence", "reads"), [("fail", 0), ("rollback", 0), ("reseed", 1)])
def test_permissions_are_read_for_a_reseed_alone(world: World, on_divergence: str, reads: int) -> None:
    diverged(world)
    world.replicate(on_divergence=on_divergence, check=True)
    assert world.count(THERE, "zfs", "allow") == reads


def test_nothing_is_read_for_a_reseed_that_is_not_needed(world: World) -> None:
    world.here.make("tank/v@s1")
    world.replicate()
    world.here.make("tank/v@s2")
    world.revive()
    world.replicate(on_divergence="reseed")
    assert world.count(THERE, "zfs", "allow") == 0
    assert not any("_new_" in " ".join(argv) for _machine, argv in world.log)


def test_a_gate_that_refuses_to_show_permissions(world: World) -> None:
    diverged(world)

    def gate(_machine: str, argv: list[str]) -> None:
        if argv[1] == "allow":
            raise No("cerss-zfs-gate: refused: a key to receive cannot run zfs allow")

    world.hook = gate
    result = world.replicate(on_divergence="reseed")
    assert "a key to receive cannot run zfs allow" in message(result)
    assert "an administrator of that host can run it there" in message(result)
    assert world.changes() == []


@pytest.mark.parametrize(
    ("key", "says", "why"),
    [
        ({"keylocation": "file:///k"}, "", ""),
        (
            {"keylocation": "file:///k"},
            "Key load error: Failed to open\nfile",
            "=file:///k (Key load error: Failed to op",
        ),
        ({"keylocation": "file:///k"}, "cerss-zfs-gate: refused: no", "refused: no"),
        ({"keylocation": "prompt"}, "is not asked", "cannot be loaded again from keylocation=prompt; unload it"),
        (
            {"keylocation": "file:///k", "keystatus": "unavailable"},
            "is not asked",
            "which is not loaded, and this is n",
        ),
        ({"keylocation": "none", "encryptionroot": "backup"}, "is not asked", ""),
    ],
)
def test_a_loaded_key_that_could_not_be_loaded_again(world: World, key: dict[str, str], says: str, why: str) -> None:
    diverged(world)
    world.there.all["backup/v"].fixed = {**ENCRYPTED, "encryptionroot": "backup/v", **key}

    def tried(_machine: str, argv: list[str]) -> None:
        if argv[1] == "load-key" and says:
            raise No(says)

    world.hook = tried
    told = message(world.replicate(on_divergence="reseed", check=True))
    assert why in told
    assert bool(told) is bool(why)
    assert world.changes() == []


@pytest.mark.parametrize(
    ("prepare", "why"),
    [
        ({"backup/v_new_{}": {}}, "is in the way; rename or destroy it"),
        ({"backup/v_old_{}": {}}, "of an earlier reseed is still there"),
    ],
)
def test_what_is_in_the_way_of_a_reseed(world: World, prepare: dict[str, Any], why: str) -> None:
    diverged(world)
    id_ = world.replicate(check=True)["replicas"][0]["id"]
    for name in prepare:
        world.there.make(name.format(id_[:8]))
    assert why in message(world.replicate(on_divergence="reseed"))
    assert world.changes() == []


def test_a_gate_that_does_not_show_what_is_beside_a_replica(world: World) -> None:
    """Its root is the replica of the one, but not of the other."""
    options: dict[str, Any] = {"target": {"host": THERE, "parent": "backup"}, "on_divergence": "reseed"}
    names = ("tank/v", "tank/w", "tank/x")
    world.here.make(*(f"{name}@s1" for name in names))
    world.replicate(*names, **options)
    world.here.make(*(f"{name}@s2" for name in names))
    world.there.make("backup/v@own", "backup/w@own")
    world.revive()

    def gate(_machine: str, argv: list[str]) -> None:
        if argv[1] == "list" and any(name.startswith("backup/v_") for name in argv):
            raise No("cerss-zfs-gate: refused: backup/v_new is not below backup/v, the root of this key")

    world.hook = gate
    result = world.replicate(*names, **options)
    assert [each["target"] for each in result["replicas"] if each["failed"]] == ["b:backup/v"]
    assert "is not below backup/v" in result["msg"]
    assert {"backup/w@s2", "backup/x@s2"} <= world.there.all.keys()


# -- holds that are known --------------------------------------------------------------------------------------------


def test_what_was_read_before_is_kept() -> None:
    known = Snapshot("tank/v@s1", "1", 1, userrefs=1, clones=["tank/c"], holds=[Hold("x")], temporary=True, written=5)
    former = Pair(Link("tank/v", "b/v"), Dataset("tank/v", snapshots=[known]), Dataset("b/v"))
    now = Pair(
        former.link,
        Dataset("tank/v", snapshots=[Snapshot("tank/v@renamed", "1", 1), Snapshot("tank/v@s2", "2", 2)]),
        Dataset("b/v", snapshots=[Snapshot("b/v@s1", "1", 9)]),
    )
    one, two = detail.shown_holds(now, former).source.snapshots
    assert (one.name, one.holds, one.clones, one.written) == ("tank/v@renamed", [Hold("x")], ["tank/c"], 5)
    assert two == Snapshot("tank/v@s2", "2", 2)
