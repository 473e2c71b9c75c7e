# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots whose names others need: rules against all short histories, and whole runs between machines in memory."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._replication import rotation
from ansible_collections.cerss.zfs.tests.unit.world import HERE, THERE, World

names = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8)


def dataset(name: str, guids: dict[str, str]) -> Dataset:
    return Dataset(name, snapshots=[Snapshot(f"{name}@{own}", guid) for own, guid in guids.items()])


@given(names, names, st.randoms())
def test_every_name_that_is_needed_becomes_free_in_order(here: list[str], there: list[str], random: Any) -> None:
    """GUIDs are drawn from few, so that names are moved, swapped, reused and gone in every way."""
    guids = [str(number) for number in range(10)]
    source = dict(zip(here, random.sample(guids, len(here))))
    replica = dict(zip(there, random.sample(guids, len(there))))
    receiver = dataset("backup/v", replica)
    coming = [snap for snap in dataset("tank/v", source).snapshots if snap.guid not in replica.values()]
    renamed = rotation.moves(dataset("tank/v", source), receiver, coming)
    now = dict(replica)
    for old, new in renamed.items():
        assert new not in now
        assert new == f"{old}_{now[old]}" if now[old] not in source.values() else source[new] == now[old]
        now[new] = now.pop(old)
    assert not {snap.snapshot for snap in coming} & now.keys()
    assert {snap.snapshot: snap.guid for snap in rotation.rotated(receiver, renamed).snapshots} == now
    assert bool(renamed) is bool({snap.snapshot for snap in coming} & replica.keys())


def rotate(world: World, *chain: str) -> None:
    """Rename each snapshot of tank/v to the name after it, and make the first one anew."""
    for new, old in zip(chain[::-1], chain[-2::-1]):
        world.here.do_rename({}, f"tank/v@{old}", f"tank/v@{new}")
    world.here.make(f"tank/v@{chain[0]}")


def by_name(world: World) -> list[dict[str, str]]:
    return [{snap.name.partition("@")[2]: snap.guid for snap in machine.snaps(name)}
            for machine, name in ((world.here, "tank/v"), (world.there, "backup/v"))]  # fmt: skip


def test_rotated_names_are_followed(world: World) -> None:
    world.here.make("tank/v@d0")
    world.replicate()
    for chain in (["d0", "d1"], ["d0", "d1", "d2"], ["d0", "d1", "d2", "d3"]):
        rotate(world, *chain)
        foretold = world.replicate(check=True)
        result = world.replicate()
        assert [foretold[key] for key in ("changed", "actions", "diff")] == [
            result[key] for key in ("changed", "actions", "diff")
        ]
        here, there = by_name(world)
        assert here == there
        assert not world.replicate()["changed"]
    assert "rename backup/v@d1 to @d2, as on the source" in result["actions"]


def test_a_source_that_is_pulled_from_renames_nothing_here(world: World) -> None:
    """Otherwise it could give what has arrived a name that is pruned soon."""
    world.there.make("tank/v@d0")
    options: dict[str, Any] = {"source": {"host": THERE}, "target": {"dataset": "backup/v"}}
    world.here.make("backup")
    assert "failed" not in world.replicate(**options)
    world.there.do_rename({}, "tank/v@d0", "tank/v@d1")
    world.there.make("tank/v@d0")
    world.log.clear()
    for check in (True, False):
        told = world.replicate(**options, check=check)["msg"]
        assert told.endswith("run there: zfs rename backup/v@d0 backup/v@d1")
    assert world.changes() == []
    world.here.do_rename({}, "backup/v@d0", "backup/v@d1")
    assert "failed" not in world.replicate(**options)


def test_a_guid_that_is_listed_twice_hangs_nothing() -> None:
    twice = [Snapshot("backup/v@a", "1"), Snapshot("backup/v@b", "1")]
    source = dataset("tank/v", {"b": "1", "a": "2"})
    assert rotation.moves(source, Dataset("backup/v", snapshots=twice), source.snapshots[1:])


def test_a_rotation_during_a_cut_transfer_is_followed_before_it_is_resumed(world: World) -> None:
    world.here.make("tank/v@d0")
    world.replicate()
    rotate(world, "d0", "d1")
    world.cuts = ["tank/v@d0"]
    assert world.replicate()["failed"]
    rotate(world, "d0", "d1", "d2")
    world.replicate()
    here, there = by_name(world)
    assert here == there
    assert not world.replicate()["changed"]


@pytest.mark.parametrize("keep", [3, 1])
def test_a_rotation_that_destroys_the_oldest(world: World, keep: int) -> None:
    """The replica keeps it, with its GUID after its name. With one name, only a bookmark is in common."""
    names = [f"daily.{number}" for number in range(keep)]
    world.here.make("tank/v@daily.0")
    for _day in range(6):
        foretold, result = (world.replicate(check=check) for check in (True, False))
        assert "failed" not in result, result["msg"]
        assert [foretold[key] for key in ("actions", "diff")] == [result[key] for key in ("actions", "diff")]
        assert not world.replicate()["changed"]
        world.here.all.pop(f"tank/v@{names[-1]}", None)
        for new, old in zip(names[::-1], names[-2::-1]):
            if f"tank/v@{old}" in world.here.all:
                world.here.do_rename({}, f"tank/v@{old}", f"tank/v@{new}")
        world.here.make("tank/v@daily.0")
    world.replicate()
    here, there = by_name(world)
    assert {name: there[name] for name in here} == here
    put_aside = {name: guid for name, guid in there.items() if name not in here}
    assert len(put_aside) == 7 - keep
    assert all(name == f"{names[-1]}_{int(guid):x}" for name, guid in put_aside.items())


@pytest.mark.parametrize("on_divergence", ["fail", "rollback", "reseed"])
def test_a_name_that_was_reused_is_given_to_the_new_snapshot(world: World, on_divergence: str) -> None:
    """The snapshot of that name was deleted on the source, and is older than the newest common one."""
    world.here.make("tank/v@before-upgrade", "tank/v@daily")
    world.replicate()
    old = world.here.all.pop("tank/v@before-upgrade").guid
    new = world.here.make("tank/v@before-upgrade").guid
    result = world.replicate(on_divergence=on_divergence)
    name = f"before-upgrade_{int(old):x}"
    assert f"rename backup/v@before-upgrade to @{name}, which the source does not have" in result["actions"]
    assert by_name(world)[1] == {name: old, "daily": world.here.all["tank/v@daily"].guid, "before-upgrade": new}


@pytest.mark.parametrize("machine", [HERE, THERE])
def test_a_name_to_put_aside_that_is_taken_is_refused_before_anything_is_changed(world: World, machine: str) -> None:
    world.here.make("tank/v@s1", "tank/v@s2")
    world.replicate()
    old = world.here.all.pop("tank/v@s1").guid
    new = world.here.make("tank/v@s1").guid
    name = f"s1_{int(old):x}"
    made = world.machines[machine].make(f"{'tank' if machine == HERE else 'backup'}/v@{name}")
    made.txg = 10_001  # an old one
    world.log.clear()
    for check in (True, False):
        told = world.replicate(check=check)["msg"]
        assert f"backup/v@s1 (GUID {old}) has the name that tank/v@s1 (GUID {new}) needs there" in told
        assert f"cannot be renamed to @{name}, which exists; destroy or rename one of the two" in told
    assert world.changes() == []


def test_a_refused_name_stops_no_other_dataset(world: World) -> None:
    world.here.make("tank/v@s1", "tank/v@s2", "tank/w@s1")
    tree: dict[str, Any] = {"target": {"host": THERE, "parent": "backup"}}
    world.replicate("tank/v", "tank/w", **tree)
    guid = world.here.all.pop("tank/v@s1").guid
    world.here.make("tank/v@s1", "tank/w@s2")
    world.there.make(f"backup/v@s1_{int(guid):x}").txg = 10_001
    result = world.replicate("tank/v", "tank/w", **tree)
    assert [each["failed"] for each in result["replicas"]] == [True, False]
    assert world.there.find("backup/w@s2")


def test_a_clone_is_received_from_what_its_origin_is_called_then(world: World) -> None:
    """A name that is rotated is taken by another snapshot."""
    world.here.make("tank/v@s1")
    world.replicate()
    world.here.do_rename({}, "tank/v@s1", "tank/v@s0")
    world.here.make("tank/v@s1")
    world.here.make("tank/v/c", origin=world.here.all["tank/v@s0"])
    world.here.make("tank/v/c@k1")
    world.revive()
    found = [world.replicate(recursive=True, check=check) for check in (True, False)]
    assert [each["steps"][0]["origin"] for result in found for each in result["replicas"][1:]] == ["backup/v@s0"] * 2
    assert world.count(THERE, "zfs", "receive") == 2
