# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes with a dataset, and what stops that before anything is changed."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Bookmark, Dataset, Hold, Snapshot, Value
from ansible_collections.cerss.zfs.plugins.module_utils._dataset.removal import (
    Reach,
    Seen,
    dependents,
    destroyed,
    plan,
)
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import Activity
from ansible_collections.cerss.zfs.plugins.module_utils._host.inventory import Things
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import processes

TREE, CLONE, ALONE = Reach(True, tree=True), Reach(True), Reach(False, tree=True)
MARK = '{"id":"00112233445566aa","host":"h","dataset":"tank/x","guid":"1","mode":"plain"%s}'


def fs(name: str, *parts: str, origin: str | None = None, **more: Any) -> Dataset:
    """A mounted filesystem with snapshots."""
    values = {"type": "filesystem", "mounted": "yes", "mountpoint": f"/{name}", **more.pop("values", {})}
    snapshots = [Snapshot(f"{name}@{part}", clones=[], userrefs=0, holds=[]) for part in parts]
    known = {key: Value(text) for key, text in values.items()}
    return Dataset(name, origin=origin, snapshots=snapshots, values=known, **more)


def seen(*pool: Dataset, named: tuple[str, ...] = ("tank/a",), running: Activity | None = None) -> Seen:
    """As if it had been read; `clones` of the snapshots follow from the origins."""
    found = {dataset.name: dataset for dataset in (fs("tank"), *pool)}
    snapshots = {snap.name: snap for dataset in found.values() for snap in dataset.snapshots}
    for dataset in pool:
        if dataset.origin:
            snapshots[dataset.origin].clones = [*(snapshots[dataset.origin].clones or []), dataset.name]
    return Seen({name: found[name] for name in named}, Things(found, snapshots), found, running or Activity())


def removed(current: Seen, name: str = "tank/a", reach: Reach = TREE) -> list[str]:
    return plan(name, current, reach).actions


def refused(current: Seen, name: str = "tank/a", reach: Reach = TREE) -> str:
    with pytest.raises(Refused) as caught:
        plan(name, current, reach)
    return caught.value.msg


def test_a_tree_with_clones_everywhere() -> None:
    current = seen(
        fs("tank/a", "s"), fs("tank/a/b", "x", "y"), fs("tank/a/z", origin="tank/a/b@x"),
        fs("tank/other"), fs("tank/other/c", "k", origin="tank/a@s"), fs("tank/d", origin="tank/other/c@k"),
    )  # fmt: skip
    assert removed(current) == [
        "unmount tank/other/c", "unmount tank/d", "unmount tank/a/z", "unmount tank/a/b", "unmount tank/a",
        "destroy clone tank/d of tank/other/c@k",
        "destroy snapshot tank/other/c@k",
        "destroy clone tank/other/c of tank/a@s",
        "destroy clone tank/a/z of tank/a/b@x",
        "destroy snapshot tank/a/b@x", "destroy snapshot tank/a/b@y",
        "destroy filesystem tank/a/b",
        "destroy snapshot tank/a@s",
        "destroy filesystem tank/a",
    ]  # fmt: skip
    commands = [command for step in plan("tank/a", current, TREE).steps for command in step.commands]
    assert ["zfs", "destroy", "tank/a/b@x,y"] in commands
    assert not [command for command in commands if {"-r", "-R", "-f"} & {*command}]


def test_what_is_not_mounted_by_zfs_is_not_unmounted_first() -> None:
    values = [{"mounted": "no"}, {"mountpoint": "legacy"}, {"type": "volume", "mounted": "-"}]
    below = [fs(f"tank/a/{number}", values=more) for number, more in enumerate(values)]
    assert [text for text in removed(seen(fs("tank/a"), *below)) if "unmount" in text] == ["unmount tank/a"]


def test_one_mounted_below_another_is_unmounted_before_it() -> None:
    """A mountpoint may be anywhere."""
    x, w = fs("tank/a/x", values={"mountpoint": "/srv"}), fs("tank/a/w", values={"mountpoint": "/srv/w"})
    assert removed(seen(fs("tank/a"), x, w))[:2] == ["unmount tank/a", "unmount tank/a/w"]


@pytest.mark.parametrize("reach", [ALONE, Reach(False)])
def test_without_a_cascade_all_that_depends_on_it_is_listed(reach: Reach) -> None:
    current = seen(fs("tank/a", "s"), fs("tank/a/b"), fs("tank/c", origin="tank/a@s"))
    assert "snapshot tank/a@s, clone tank/c, dataset tank/a/b" in refused(current, reach=reach)
    assert plan(
        "tank/c", seen(fs("tank/a", "s"), fs("tank/c", origin="tank/a@s"), named=("tank/c",)), reach
    ).actions == ["destroy clone tank/c of tank/a@s"]


def test_only_a_tree_takes_what_is_below() -> None:
    current = seen(fs("tank/v", "s"), fs("tank/a", "x", origin="tank/v@s"), fs("tank/a/own"))
    assert "tank/a/own below it is not a clone that the cascade deletes" in refused(current, reach=CLONE)
    assert removed(current)[-1] == "destroy clone tank/a of tank/v@s"


def held(*tags: str, state: str = "full") -> Dataset:
    dataset = fs("tank/a", "s")
    dataset.snapshots[0].holds = [Hold(tag) for tag in tags]
    dataset.snapshots[0].userrefs, dataset.snapshots[0].state = len(tags), state
    return dataset


@pytest.mark.parametrize(
    ("pool", "told"),
    [
        ([held("mine")], "tank/a@s: hold mine"),
        ([held("mine", "cerss.zfs:last")], "tank/a@s: hold mine."),
        ([fs("tank/a"), fs("tank/a/r", ours={"cerss.zfs:source": MARK % ""})], "tank/a/r: it is a replica"),
        ([fs("tank/a"), fs("tank/a/r", ours={"cerss.zfs:source": "{}"})], "tank/a/r: it is a replica"),
        (
            [fs("tank/a"), fs("tank/a/b", ours={"cerss.zfs:replica.00000000000000ff": "{}"})],
            "it is the source of replications to the pool 00000000000000ff",
        ),
        (
            [fs("tank/a"), fs("tank/a/b", bookmarks=[Bookmark("tank/a/b#cerss.zfs_00112233445566aa_1f", "31", 5)])],
            "relationship 00112233445566aa needs tank/a/b#",
        ),
        ([fs("tank/a", "s"), fs("tank/c", origin="tank/a@s"), fs("tank/c/own")], "tank/c/own below it is not a clone"),
        (
            [fs("tank/a", "s"), fs("tank/c", origin="tank/a@s", ours={"cerss.zfs:source": MARK % ',"released":true'})],
            "tank/c: it is a replica",  # nobody has named it
        ),
        ([fs("tank/a"), fs("tank/a/b", values={"receive_resume_token": "1-x"})], "tank/a/b: a receive into it"),
        ([fs("tank/a"), fs("tank/a/b", receiving=True)], "tank/a/b: a receive into it"),
    ],
)
def test_what_stops_a_cascade(pool: list[Dataset], told: str) -> None:
    pool = [*pool, fs("tank/a/below")]
    assert told in refused(seen(*pool))


@pytest.mark.parametrize(
    ("running", "told"),
    [
        (Activity(receiving=processes.receiving(["7 1 zfs receive -s -u tank/a/b"])), "tank/a/b: a receive into it"),
        (Activity(receiving=processes.receiving(["7 1 zfs receive -s tank/a/new"])), "tank/a: a receive below it"),
        (Activity(senders=["zfs send -vP tank/a/b@s"]), "tank/a/b@s: the transfer that sends it"),
    ],
)
def test_what_runs_stops_a_cascade(running: Activity, told: str) -> None:
    assert told in refused(seen(fs("tank/a"), fs("tank/a/b", "s"), running=running))


def test_what_relationships_have_left_behind_goes() -> None:
    dataset = held("cerss.zfs:last", "cerss.zfs:step:00112233445566aa")
    put_aside = fs("tank/a/old", ours={"cerss.zfs:source": MARK % ',"put_aside":true'})
    assert removed(seen(dataset, put_aside))[2:] == [
        "destroy filesystem tank/a/old",
        "release hold cerss.zfs:last of tank/a@s",
        "release hold cerss.zfs:step:00112233445566aa of tank/a@s",
        "destroy snapshot tank/a@s",
        "destroy filesystem tank/a",
    ]


def test_a_pending_deletion_ends_with_the_last_hold() -> None:
    dataset = held("cerss.zfs:last", "cerss.zfs:step:00112233445566aa", state="pending_delete")
    decided = plan("tank/a", seen(dataset), TREE)
    assert decided.actions[1:] == [
        "release hold cerss.zfs:last of tank/a@s",
        "release hold cerss.zfs:step:00112233445566aa of tank/a@s, which was pending deletion and ends with it",
        "destroy filesystem tank/a",
    ]
    assert destroyed(decided) == {"tank/a", "tank/a@s"}


@pytest.mark.parametrize(
    ("values", "others", "ends"), [({}, (), True), ({"userrefs": 1}, (), False), ({}, ("tank/other",), False)]
)
def test_an_origin_elsewhere_that_was_pending_deletion_goes_with_its_last_clone(
    values: dict[str, Any], others: tuple[str, ...], ends: bool
) -> None:
    origin = fs("tank/v", "s")
    origin.snapshots[0].state = "pending_delete"
    for key, value in values.items():
        setattr(origin.snapshots[0], key, value)
    clones = [fs(name, origin="tank/v@s") for name in others]
    for reach, more in ((ALONE, ()), (TREE, (fs("tank/a/b"),))):
        for snap in origin.snapshots:
            snap.clones = []
        actions = removed(seen(origin, fs("tank/a", origin="tank/v@s"), *clones, *more), reach=reach)
        text = "tank/v@s, which was pending deletion, is destroyed by ZFS with tank/a"
        assert (text in actions) == ends


def test_each_thing_goes_once_in_a_list() -> None:
    current = seen(
        fs("tank/v", "s"), fs("tank/a", "x", origin="tank/v@s"), fs("tank/b", origin="tank/a@x"),
        named=("tank/a", "tank/b"),
    )  # fmt: skip
    current.tree.snapshots["tank/v@s"].state = "pending_delete"
    first = plan("tank/b", current, CLONE)
    gone = destroyed(first)
    assert gone == {"tank/b"}
    rest = plan("tank/a", current, CLONE, gone)
    assert [text for text in rest.actions if "tank/b" in text] == []
    assert destroyed(rest) == {"tank/a", "tank/a@x", "tank/v@s"}
    whole = plan("tank/a", current, CLONE)
    assert plan("tank/b", current, CLONE, destroyed(whole)).actions == []


def test_what_goes_before_is_no_dependent() -> None:
    current = seen(fs("tank/v", "s"), fs("tank/a", origin="tank/v@s"), fs("tank/a/b", origin="tank/v@s"))
    below = current.below("tank/a")
    assert dependents(below) == [("dataset", "tank/a/b")]
    assert dependents(below, {"tank/a/b"}) == []
    assert plan("tank/a", current, ALONE, {"tank/a/b"}).actions == ["destroy clone tank/a of tank/v@s"]
