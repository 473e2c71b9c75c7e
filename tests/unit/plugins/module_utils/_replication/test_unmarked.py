# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A source whose pool is imported read-only: all that is on it can be saved, and nothing is left on it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._replication import planner
from ansible_collections.cerss.zfs.tests.unit.machine import ENCRYPTED
from ansible_collections.cerss.zfs.tests.unit.scenarios import Call
from ansible_collections.cerss.zfs.tests.unit.transcript import entrance
from ansible_collections.cerss.zfs.tests.unit.world import HERE, THERE, World

TREE: dict[str, Any] = {"target": {"host": THERE, "parent": "backup"}, "recursive": True}
WARNING = "the pool tank is imported read-only, so nothing about the relationship with b:backup/v is recorded on tank/v"


def kept(world: World) -> Any:
    return copy.deepcopy({name: (thing.props, thing.holds) for name, thing in world.here.all.items()})


def foretold_and_done(world: World, *names: str, **options: Any) -> dict[str, Any]:
    """A run that does what check mode has foretold, and leaves the source as it was."""
    before = kept(world)
    foretold, result = (world.replicate(*names, **options, check=check) for check in (True, False))
    assert [foretold[key] for key in ("changed", "actions", "diff")] == [
        result[key] for key in ("changed", "actions", "diff")
    ]
    assert kept(world) == before
    return result


def held(world: World) -> list[str]:
    return [name for name, thing in world.there.all.items() if thing.holds]


@pytest.mark.parametrize("package", [100, 2])
def test_a_first_replication(world: World, monkeypatch: pytest.MonkeyPatch, package: int) -> None:
    monkeypatch.setattr(planner, "PACKAGE", package)
    world.here.make(*(f"tank/v{part}@s{number}" for number in range(1, 6) for part in ("", "/a")))
    world.here.readonly = True
    result = foretold_and_done(world, **TREE)
    assert "failed" not in result
    assert any(text.startswith(WARNING) for text in result["warnings"])
    assert {"backup/v@s5", "backup/v/a@s5"} <= world.there.all.keys()
    assert held(world) == ["backup/v@s5", "backup/v/a@s5"]
    result = foretold_and_done(world, **TREE)
    assert (result["changed"], "failed" in result) == (False, False)


def test_what_was_cut_is_resumed(world: World) -> None:
    world.here.make("tank/v@s1", "tank/v@s2")
    world.here.readonly = True
    world.cuts = ["tank/v@s2"]
    assert "500 bytes of tank/v@s2 have arrived and the next run resumes there" in world.replicate()["msg"]
    result = foretold_and_done(world)
    assert (result["replicas"][0]["resumed"], result["replicas"][0]["state"]) == (True, "full")


def test_an_existing_relationship_goes_on_and_is_right_again_afterwards(world: World) -> None:
    world.here.make("tank/v@s1")
    world.replicate()
    world.here.make("tank/v@s2", "tank/v@s3")
    world.here.readonly = True
    result = foretold_and_done(world)
    assert result["replicas"][0]["state"] == "full"
    (warning,) = result["warnings"]
    assert warning.startswith(WARNING)
    assert "a run after it is imported for writing puts that right" in warning
    world.here.readonly = False
    assert "failed" not in world.replicate()
    assert world.replicate()["changed"] is False


def test_after_it_is_imported_for_writing_the_relationship_is_made(world: World) -> None:
    world.here.make("tank/v@s1")
    world.here.readonly = True
    world.replicate()
    world.here.readonly = False
    world.here.make("tank/v@s2")
    assert "has no record of it; cerss.zfs.zfs_replication (state=present) makes one" in world.replicate()["msg"]
    verb, params = entrance(Call("zfs_replication", {
        "state": "present", "name": "tank/v", "target": {"host": THERE, "dataset": "backup/v"},
    }))  # fmt: skip
    assert verb(params, False)["changed"]
    assert "failed" not in world.replicate()


def test_a_replica_cannot_make_it_send_in_the_clear(world: World) -> None:
    """Without a record the source's own encryption decides, and not what the replica says."""
    world.here.make("tank/v@s1", "tank/v@s2", fixed=ENCRYPTED)
    world.here.all["tank/v"].fixed = dict(ENCRYPTED)
    world.here.readonly = True
    world.replicate("tank/v@s1")
    props = world.there.all["backup/v"].props
    props.update({key: text.replace('"raw"', '"plain"') for key, text in props.items()})
    world.log.clear()
    assert "was started with plain streams" in world.replicate()["msg"]
    assert world.count(HERE, "zfs", "send") == 0


def test_another_replica_is_not_believed(world: World) -> None:
    """An id that no run of this source has given."""
    world.here.make("tank/v@s1", "tank/v@s2")
    world.here.readonly = True
    id_ = world.replicate("tank/v@s1")["replicas"][0]["id"]
    props = world.there.all["backup/v"].props
    props.update({key: text.replace(id_, "0" * 16) for key, text in props.items()})
    assert "has no record of it" in world.replicate()["msg"]


def test_a_reseed(world: World) -> None:
    world.here.make("tank/v@s1", "tank/v@s2")
    world.replicate("tank/v@s1")
    world.there.make("backup/v@own")
    world.here.readonly = True
    assert "failed" not in foretold_and_done(world, on_divergence="reseed")
    assert world.replicate()["changed"] is False
