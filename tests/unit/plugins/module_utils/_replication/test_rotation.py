# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots whose names others need: rules against all short histories, and whole runs between machines in memory."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._replication import rotation
from ansible_collections.cerss.zfs.tests.unit.world import THERE, World

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
    stuck = ""
    try:
        renamed = rotation.moves(dataset("tank/v", source), receiver, coming)
    except Refused as error:
        stuck = error.msg
    if stuck:
        (name,) = [each for each in replica if stuck.startswith(f"backup/v@{each} (GUID {replica[each]}) ")]
        assert replica[name] not in source.values()
        assert f"tank/v@{name} (GUID {source[name]})" in stuck
        return
    now = dict(replica)
    for old, new in renamed.items():
        assert new not in now
        assert source[new] == now[old]
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


@pytest.mark.parametrize("on_divergence", ["fail", "rollback", "reseed"])
def test_a_name_that_was_reused_is_refused_before_anything_is_changed(world: World, on_divergence: str) -> None:
    """The snapshot of that name was deleted on the source, and is older than the newest common one."""
    world.here.make("tank/v@before-upgrade", "tank/v@daily")
    world.replicate()
    old = world.here.all.pop("tank/v@before-upgrade").guid
    new = world.here.make("tank/v@before-upgrade").guid
    world.log.clear()
    for check in (True, False):
        result = world.replicate(on_divergence=on_divergence, check=check)
        assert f"backup/v@before-upgrade (GUID {old})" in result["msg"]
        assert f"tank/v@before-upgrade (GUID {new})" in result["msg"]
        assert "zfs rename backup/v@before-upgrade backup/v@before-upgrade-old" in result["msg"]
    assert world.changes() == []
    world.there.do_rename({}, "backup/v@before-upgrade", "backup/v@before-upgrade-old")
    assert "failed" not in world.replicate(on_divergence=on_divergence)


def test_a_refused_name_stops_no_other_dataset(world: World) -> None:
    world.here.make("tank/v@s1", "tank/v@s2", "tank/w@s1")
    tree: dict[str, Any] = {"target": {"host": THERE, "parent": "backup"}}
    world.replicate("tank/v", "tank/w", **tree)
    del world.here.all["tank/v@s1"]
    world.here.make("tank/v@s1", "tank/w@s2")
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
