# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which clones a host needs, and what goes."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._distribution.plan import Requested, filled, plan, problems

NAMES = ["t/a-{snapshot}", "t/b-{snapshot}", "t/fixed"]


def snap(name: str, txg: int, *clones: str, state: str = "full", holds: tuple[str, ...] = ()) -> dict[str, Any]:
    held = [{"tag": tag, "ours": tag.startswith("cerss")} for tag in holds]
    return {"snapshot": name, "createtxg": txg, "state": state, "dependents": {"clones": [*clones], "holds": held}}


# Not in the order of their creation
THERE = [
    snap("v3", 30, "t/a-v3", "t/b-v3"),
    snap("v0", 5, "t/b-v0", state="pending_delete"),
    snap("v1", 10, "t/a-v1", "t/fixed", "t/a-v2", "t/mine"),
    snap("v2", 20, "t/b-v2", holds=("mine", "cerss.zfs:last")),
    snap("v4", 40, state="inbound"),
]


def test_what_goes_is_old_and_named_as_the_clones_are() -> None:
    found = plan(Requested(NAMES), "v3", THERE)
    assert found["create"] == ["t/a-v3", "t/b-v3"]
    assert found["there"] == ["t/a-v3", "t/b-v3"]
    # t/a-v2 is not a clone of v2, and t/mine has no such name.
    assert found["remove"] == ["t/b-v2", "t/a-v1", "t/b-v0"]
    assert found["prune"] == ["v2", "v1"]
    assert found["pending"] == ["v0"]
    assert found["pins"]["v2"] == ["t/b-v2", "hold mine"]
    assert found["pins"]["v0"] == ["t/b-v0"]


@pytest.mark.parametrize(
    ("versions", "remove", "prune"),
    [
        (2, ["t/a-v1", "t/b-v0"], ["v1"]),
        (3, ["t/b-v0"], []),
        (9, ["t/b-v0"], []),
    ],
)
def test_the_newest_versions_are_kept(versions: int, remove: list[str], prune: list[str]) -> None:
    found = plan(Requested(NAMES, versions=versions), "v3", THERE)
    assert (found["remove"], found["prune"]) == (remove, prune)


def test_a_version_that_is_not_the_newest_is_kept_too() -> None:
    found = plan(Requested(NAMES), "v1", THERE)
    assert found["create"] == ["t/a-v1", "t/b-v1", "t/fixed"]
    assert (found["prune"], found["replace"], found["stay"]) == (["v3", "v2"], [], [])


@pytest.mark.parametrize(
    ("replace", "keep", "gives_way", "told"),
    [
        (False, [], [], "t/fixed is a clone of @v1; zfs_distribute_replace=true replaces it when it is not in use"),
        (True, [], ["t/fixed"], ""),
        (True, ["t/f*"], [], "t/fixed is a clone of @v1 and in zfs_distribute_keep"),
    ],
)
def test_a_fixed_name(replace: bool, keep: list[str], gives_way: list[str], told: str) -> None:
    """It never goes with its version, and is created when the old one is gone."""
    found = plan(Requested(NAMES, keep, replace=replace), "v3", THERE)
    assert found["replace"] == gives_way
    assert [stay["reason"] for stay in found["stay"]] == ([told] if told else [])
    assert "t/fixed" not in found["create"] + found["remove"]
    assert "t/fixed" in plan(Requested(NAMES, keep, replace=replace), "v3", THERE[:2])["create"]


def test_a_name_without_the_version_may_look_like_one_with_it() -> None:
    found = plan(Requested(["t/a-{snapshot}", "t/a-v1"]), "v3", THERE)
    assert "t/a-v1" not in found["remove"]


def test_old_clones_that_are_to_be_kept() -> None:
    assert plan(Requested(NAMES, ["re:t/b-v[02]"]), "v3", THERE)["remove"] == ["t/a-v1"]


def test_what_is_no_version_is_left_alone() -> None:
    found = plan(Requested(NAMES, match=["v[13]"]), "v3", THERE)
    assert (found["remove"], found["prune"], found["pending"]) == (["t/a-v1"], ["v1"], [])


def test_planning_changes_nothing_that_was_read() -> None:
    assert plan(Requested(NAMES), "v3", THERE) == plan(Requested(NAMES), "v3", THERE)
    assert [each["snapshot"] for each in THERE] == ["v3", "v0", "v1", "v2", "v4"]


def test_each_name_once() -> None:
    assert filled(["t/x-{snapshot}", "t/x-v1", "t/{snapshot}/{snapshot}"], "v1") == ["t/x-v1", "t/v1/v1"]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, []),
        ({"master": "t/img"}, []),
        ({"versions": "3"}, []),
        ({"clones": []}, []),
        ({"master": "", "replica": ""}, ["zfs_distribute_snapshot: ", "zfs_distribute_replica: "]),
        ({"master": "t/img@a@b"}, ["zfs_distribute_snapshot: "]),
        ({"clones": ["t/{snap}"]}, ["zfs_distribute_clones: "]),
        ({"clones": ["t"]}, ["t is not below the pool t of the replica"]),
        ({"clones": ["other/x"]}, ["other/x is not below the pool t of the replica"]),
        ({"clones": ["t/img"]}, ["t/img is the replica itself"]),
        ({"keep": ["re:("]}, ["zfs_distribute_keep: 're:('"]),
        ({"match": ["re:("]}, ["zfs_distribute_match: 're:('"]),
        ({"versions": 0}, ["zfs_distribute_versions: 0 is not a number from 1"]),
        ({"versions": "two"}, ["zfs_distribute_versions: 'two' is not"]),
    ],
)
def test_problems(changed: dict[str, Any], told: list[str]) -> None:
    given: dict[str, Any] = {"master": "t/img@v", "replica": "t/img", "clones": NAMES, "keep": [], "versions": 1}
    found = problems(**{**given, **changed})
    assert len(found) >= len(told)
    assert [text for text in told if not any(text in each for each in found)] == []
    assert bool(found) == bool(told)
