# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What zfs_dataset plans and refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, CerssError, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset
from ansible_collections.cerss.zfs.plugins.module_utils._dataset.dataset import Options, plan_absent, plan_present
from ansible_collections.cerss.zfs.plugins.module_utils._dataset.removal import Seen
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import Activity
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import processes
from ansible_collections.cerss.zfs.tests.unit.things import dataset, snapshot, things


def thing(name: str, **values: str) -> Dataset:
    known = {"type": "filesystem", "guid": "1", "canmount": "on", "mountpoint": f"/{name}", "mounted": "yes"}
    return dataset(name, **{**known, **values})


MARK = {"id": "00112233445566aa", "host": "h", "dataset": "tank/x", "guid": "1", "mode": "plain"}


def options(name: str, root: bool = True, **params: Any) -> Options:
    given: dict[str, Any] = {
        "state": "present", "properties": {}, "mounted": None, "renamed_from": None, "create_parents": False,
        "on_dependents": "fail",
    }  # fmt: skip
    return replace(Options.from_params({"name": name, **given, **params}), root=root)


def texts(requested: Options, *more: Dataset) -> list[str]:
    return plan_present(requested, things(thing("tank"), *more).datasets, Activity()).actions


@pytest.mark.parametrize(
    ("params", "mounts"),
    [
        ({}, True),
        ({"root": False}, False),
        ({"mounted": False}, False),
        ({"properties": {"canmount": "noauto"}}, False),
        ({"properties": {"canmount": "noauto"}, "mounted": True}, True),
        ({"properties": {"mountpoint": "none"}}, False),
    ],
)
def test_a_new_filesystem_is_mounted_where_zfs_would_do_so(params: dict[str, Any], mounts: bool) -> None:
    assert texts(options("tank/a", **params)) == ["create filesystem tank/a", *(["mount tank/a"] if mounts else [])]


def test_parents_are_created_from_the_top_and_not_mounted() -> None:
    assert texts(options("tank/a/b", create_parents=True)) == [
        "create filesystem tank/a",
        "create filesystem tank/a/b",
        "mount tank/a/b",
    ]


def test_a_volume_has_its_size() -> None:
    requested = options("tank/z", properties={"volsize": "1G", "refreservation": "none"})
    (step,) = plan_present(requested, {"tank": thing("tank")}, Activity()).steps
    assert step.text == "create volume tank/z"
    assert "-V" in step.commands[0]
    assert "1073741824" in step.commands[0]


@pytest.mark.parametrize(
    ("below", "receiver", "why"),
    [
        ([thing("tank/a/r", __source=json.dumps(MARK))], "", "tank/a/r is replica of"),
        ([thing("tank/a/r", __source=json.dumps({**MARK, "released": True}))], "", ""),
        ([thing("tank/a/r", receive_resume_token="1-x")], "", "tank/a/r has a partial receive"),
        ([thing("tank/a/r")], "tank/a/r", "tank/a/r has a partial receive, or a receive into it is running"),
        ([thing("tank/a/r")], "tank/a/new", "a receive below it is running"),
        ([thing("tank/a/r")], "tank/ab/new", ""),
        ([thing("tank/a/r")], "", ""),
    ],
)
def test_what_is_below_a_renamed_dataset(below: list[Dataset], receiver: str, why: str) -> None:
    """A rename would break receives into it, and the source of a replica would miss it."""
    found, requested = things(thing("tank"), thing("tank/a")).datasets, options("tank/b", renamed_from="tank/a")
    running = processes.receiving([f"7 1 zfs receive -s -u {receiver}"] if receiver else [])
    tree = things(thing("tank/a"), *below).datasets
    if not why:
        assert plan_present(requested, found, Activity(receiving=running), tree).actions == ["rename tank/a to tank/b"]
        return
    with pytest.raises(Refused, match=f"tank/a cannot be renamed: {why}"):
        plan_present(requested, found, Activity(receiving=running), tree)


@pytest.mark.parametrize(("length", "fits"), [(255, True), (256, False)])
def test_a_rename_leaves_no_name_below_that_is_too_long(length: int, fits: bool) -> None:
    deep = thing(f"tank/a/{'x' * (length - len('tank/longer/'))}")
    requested = options("tank/longer", renamed_from="tank/a")
    given = things(thing("tank"), thing("tank/a")).datasets, Activity(), things(thing("tank/a"), deep).datasets
    if fits:
        assert plan_present(requested, *given).actions == ["rename tank/a to tank/longer"]
        return
    with pytest.raises(Refused, match="below it would have 256 characters, and ZFS takes 255"):
        plan_present(requested, *given)


def test_a_rename_to_another_parent_trusts_no_inherited_value() -> None:
    old = thing("tank/a", atime="off")
    requested = options("tank/b", renamed_from="tank/a", properties={"atime": False})
    assert texts(requested, old) == ["rename tank/a to tank/b"]
    requested = options("tank/x/b", renamed_from="tank/a", properties={"atime": False})
    assert texts(requested, old, thing("tank/x")) == ["rename tank/a to tank/x/b", "set atime=off on tank/x/b"]


@pytest.mark.parametrize(
    ("name", "params", "more", "told"),
    [
        ("tank/b", {"renamed_from": "tank/a"}, [thing("tank/a"), thing("tank/b")], "both exist"),
        ("tank/b", {"renamed_from": "tank/a"}, [], "neither tank/b nor tank/a exists"),
        ("tank/b", {"renamed_from": "tank/a"}, [thing("tank/a", receive_resume_token="1-x")], "has a partial receive"),
        ("tank/b", {"renamed_from": "tank/a"}, [thing("tank/a", __source=json.dumps(MARK))], "0011"),
        ("tank/a/b", {}, [thing("tank/a", type="volume")], "tank/a above it is a volume"),
        ("tank/a/b", {}, [], "its parent tank/a does not exist"),
        ("pool", {}, [], "there is no pool pool; check"),
        ("pool/a", {}, [], "there is no pool pool. Check"),
        ("tank/a", {"mounted": True}, [thing("tank/a", canmount="off")], "canmount=off"),
        ("tank/a", {"mounted": True}, [thing("tank/a", mountpoint="legacy")], "mountpoint=legacy"),
        ("tank/a", {"mounted": False}, [thing("tank/a", type="volume")], "which ZFS does not mount"),
        (
            "tank/a",
            {"properties": {"keyformat": "raw"}},
            [thing("tank", keyformat="none")],
            "cannot ask for a key",
        ),
    ],
)
def test_refusals(name: str, params: dict[str, Any], more: list[Dataset], told: str) -> None:
    with pytest.raises(CerssError, match=told):
        texts(options(name, **params), *more)


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"state": "present", "on_dependents": "cascade"}, "on_dependents cannot be combined with state=present"),
        ({"state": "absent", "create_parents": True}, "create_parents cannot be combined with state=absent"),
    ],
)
def test_useless_options(params: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        options("tank/a", **params)


def test_only_what_nothing_depends_on_is_removed() -> None:
    current = thing("tank/a")
    tree = things(current, snapshot("tank/a@s", clones="tank/c"), thing("tank/a/b"))
    with pytest.raises(Refused, match="snapshot tank/a@s, clone tank/c, dataset tank/a/b") as caught:
        plan_absent(options("tank/a", state="absent"), Seen({"tank/a": current}, tree))
    assert "remove everything below it, all snapshots and their clones too" in caught.value.msg
    plan = plan_absent(options("tank/a", state="absent"), Seen({"tank/a": current}, things(current)))
    assert plan.actions == ["destroy filesystem tank/a"]
    assert plan_absent(options("tank/a", state="absent"), Seen()).actions == []


@pytest.mark.parametrize(
    ("current", "told"),
    [(thing("tank"), "is a pool"), (thing("tank/a", __source=json.dumps(MARK)), "End the relationship first")],
)
def test_what_is_never_removed(current: Dataset, told: str) -> None:
    requested = options(current.name, state="absent", on_dependents="cascade")
    with pytest.raises(CerssError, match=told):
        plan_absent(requested, Seen({current.name: current}, things(current)))
