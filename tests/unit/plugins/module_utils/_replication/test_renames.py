# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Renamed sources and replicas, which GUIDs and records find again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import GateRefused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import SourceMark
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import Link, Pair
from ansible_collections.cerss.zfs.plugins.module_utils._replication.renames import around
from ansible_collections.cerss.zfs.tests.unit.machine import No
from ansible_collections.cerss.zfs.tests.unit.world import THERE, World

TREE: dict[str, Any] = {"target": {"host": THERE, "parent": "backup"}, "recursive": True}


def replicas(result: dict[str, Any]) -> dict[str, str]:
    """Target -> message."""
    return {each["target"]: each["msg"] or "" for each in result["replicas"]}


@pytest.fixture
def renamed(world: World) -> World:
    """tank/v and tank/v/c were replicated, then the source was renamed to tank/w, and has new snapshots."""
    world.here.make("tank/v@s1", "tank/v/c@s1")
    world.replicate("tank/v", **TREE)
    world.here.do_rename({}, "tank/v", "tank/w")
    world.here.make("tank/w@s2", "tank/w/c@s2")
    world.revive()
    return world


# -- sources ---------------------------------------------------------------------------------------------------------


def test_a_renamed_source_keeps_its_replica(renamed: World) -> None:
    foretold = renamed.replicate("tank/w", **TREE, check=True)
    result = renamed.replicate("tank/w", **TREE)
    assert result["actions"] == foretold["actions"]
    assert replicas(result) == {"b:backup/v": "", "b:backup/v/c": ""}
    assert not any(name.startswith("backup/w") for name in renamed.there.all)
    assert {"backup/v@s2", "backup/v/c@s2"} <= renamed.there.all.keys()
    mark = SourceMark.of(renamed.there.all["backup/v"].props)
    assert isinstance(mark, SourceMark)
    assert mark.guid == renamed.here.all["tank/w"].guid


def test_once_renamed_it_stays_found(renamed: World) -> None:
    for _number in range(3):
        result = renamed.replicate("tank/w", **TREE)
        assert replicas(result) == {"b:backup/v": "", "b:backup/v/c": ""}
    assert result["changed"] is False
    renamed.here.do_rename({}, "tank/w", "tank/x")
    renamed.here.make("tank/x@s9")
    assert replicas(renamed.replicate("tank/x", **TREE)) == {"b:backup/v": "", "b:backup/v/c": ""}
    assert "backup/v@s9" in renamed.there.all


def test_a_replica_that_is_named_learns_the_new_name(world: World) -> None:
    world.here.make("tank/v@s1")
    world.replicate()
    world.here.do_rename({}, "tank/v", "tank/w")
    result = world.replicate("tank/w")
    assert result["actions"] == ["note on b:backup/v that its source is now tank/w"]
    assert world.replicate("tank/w")["changed"] is False


def test_what_is_new_below_a_renamed_source_goes_below_its_replica(renamed: World) -> None:
    renamed.here.make("tank/w/new@s1", "tank/w/new/deep@s1")
    result = renamed.replicate("tank/w", **TREE)
    assert set(replicas(result)) == {"b:backup/v", "b:backup/v/c", "b:backup/v/new", "b:backup/v/new/deep"}
    assert set(replicas(result).values()) == {""}
    assert {"backup/v/new@s1", "backup/v/new/deep@s1"} <= renamed.there.all.keys()
    assert renamed.replicate("tank/w", **TREE)["changed"] is False
    renamed.here.make("tank/w/new@s2")
    assert set(replicas(renamed.replicate("tank/w", **TREE)).values()) == {""}
    assert "backup/v/new@s2" in renamed.there.all


def test_a_newcomer_under_the_former_name_does_not_get_the_replica(renamed: World) -> None:
    renamed.here.make("tank/v@s1")
    result = renamed.replicate("tank/v", "tank/w", **TREE)
    failed = [each for each in result["replicas"] if each["failed"]]
    assert [each["source"] for each in failed] == ["tank/v"]
    assert "that is the replica of tank/w, which was renamed; give one of the two another target" in failed[0]["msg"]
    assert "backup/v@s2" in renamed.there.all


def test_a_replica_of_another_job_is_not_followed(renamed: World) -> None:
    """These options would have put it elsewhere under its former name."""
    result = renamed.replicate("tank/w", target={"host": THERE, "parent": "backup/other"})
    assert replicas(result) == {"b:backup/other/w": ""}
    assert "backup/other/w@s2" in renamed.there.all
    assert "backup/v@s2" not in renamed.there.all


def test_a_replica_whose_mark_names_no_dataset_is_not_followed(renamed: World) -> None:
    mark = SourceMark.of(renamed.there.all["backup/v"].props)
    assert isinstance(mark, SourceMark)
    renamed.there.all["backup/v"].props[SourceMark.NAME] = replace(mark, dataset="tank//v").format()
    assert "b:backup/w" in replicas(renamed.replicate("tank/w", **TREE))


def test_a_replica_on_another_host_is_not_followed(renamed: World) -> None:
    """Its record names another host, although a dataset of that name is here too."""
    renamed.machines["other"] = renamed.there
    result = renamed.replicate("tank/w", target={"host": "other", "parent": "backup"})
    assert replicas(result) == {"other:backup/w": ""}


# -- replicas --------------------------------------------------------------------------------------------------------


def test_a_renamed_replica_is_told(world: World) -> None:
    world.here.make("tank/v@s1")
    world.replicate()
    world.there.do_rename({}, "backup/v", "backup/elsewhere")
    world.here.make("tank/v@s2")
    world.revive()
    result = world.replicate()
    assert "the replica of tank/v is now b:backup/elsewhere, not b:backup/v; rename it back" in result["msg"]
    assert world.changes() == []


def test_another_dataset_of_the_same_name_is_not_the_replica(world: World) -> None:
    world.here.make("tank/v@s1")
    world.replicate()
    for name in [name for name in world.there.all if name.startswith("backup/v")]:
        del world.there.all[name]
    world.there.make("backup/other/v@s1")
    result = world.replicate()
    assert replicas(result) == {"b:backup/v": ""}
    assert "backup/v@s1" in world.there.all


def test_a_gate_hides_where_a_replica_went(world: World) -> None:
    world.here.make("tank/v@s1")
    world.replicate(target="backup/site/v")
    world.there.do_rename({}, "backup/site/v", "backup/site/x")

    def gate(machine: str, argv: list[str]) -> None:
        if machine == THERE and argv[1] == "list" and argv[-1] == "backup":
            raise No("cerss-zfs-gate: refused: backup is not below backup/site, the root of this key")

    world.hook = gate
    assert "is now b:backup/site/x" in world.replicate(target="backup/site/v")["msg"]


def pair(source: str, replica: str) -> Pair:
    return Pair(Link(source, replica), Dataset(source))


def test_reads_the_pools_of_the_replicas_once() -> None:
    pairs = [pair("tank/a", "backup/a"), pair("tank/b", "backup/b/c"), pair("tank/c", "other/c")]
    assert list(around(pairs, str)) == ["backup", "other"]


def test_reads_what_a_gate_allows() -> None:
    asked = []

    def read(name: str) -> str:
        asked.append(name)
        if name in ("backup", "other", "other/c"):
            raise GateRefused(["zfs", "list"], 1, "refused")
        return name

    pairs = [pair("tank/a", "backup/site/a"), pair("tank/b", "backup/site/b"), pair("tank/c", "other/c")]
    assert list(around(pairs, read)) == ["backup/site"]
    assert asked == ["backup", "backup/site", "other", "other/c"]
