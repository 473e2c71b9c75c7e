# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What zfs_clone plans and refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, Busy, CerssError, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import SnapshotName
from ansible_collections.cerss.zfs.plugins.module_utils._dataset import clone as clones
from ansible_collections.cerss.zfs.plugins.module_utils._dataset import removal
from ansible_collections.cerss.zfs.plugins.module_utils._dataset.clone import (
    Options,
    Seen,
    coming,
    foreseen,
    main,
    plan_absent,
    plan_present,
    verify,
)
from ansible_collections.cerss.zfs.plugins.module_utils._dataset.items import Item
from ansible_collections.cerss.zfs.tests.unit.things import dataset, snapshot, things


def thing(name: str, **values: str) -> Dataset | Snapshot:
    if "@" in name:
        return snapshot(name, **values)
    return dataset(name, **{"type": "filesystem", "atime": "on", **values})


GIVEN: dict[str, Any] = {
    "snapshot": "tank/v@s", "properties": {}, "promoted": None, "mounted": None, "create_parents": False,
    "state": "present", "on_dependents": "fail", "wait": "0",
}  # fmt: skip


def options(**params: Any) -> tuple[Options, SnapshotName]:
    given = {**GIVEN, "name": "tank/c", "root": True, **params}
    requested = replace(Options.from_params(given, given["name"]), root=given["root"])
    return requested, SnapshotName.parse(given["snapshot"])


def seen(*more: Dataset | Snapshot, **rest: Any) -> Seen:
    base = [thing("tank"), thing("tank/v", guid="1"), thing("tank/v@s", guid="11")]
    return Seen(things(*base, *more), **rest)


def texts(current: Seen, check: bool = False, **params: Any) -> list[str]:
    requested, origin = options(**params)
    return plan_present(requested, origin, current, check).actions


def test_a_new_clone_remembers_its_origin() -> None:
    requested, origin = options(properties={"atime": False})
    plan = plan_present(requested, origin, seen())
    command = plan.steps[0].commands[0]
    assert "cerss.zfs:origin=11" in command
    assert "atime=off" in command
    clone = foreseen(requested, origin, seen(), plan)
    assert clone.origin == {"name": "tank/v@s", "guid": "11"}
    assert clone.guid is None


@pytest.mark.parametrize(
    ("keystatus", "above", "properties", "warns"),
    [
        ("unavailable", "/tank", {}, True),
        ("available", "/tank", {}, False),
        ("-", "/tank", {}, False),
        ("unavailable", "none", {}, False),
        ("unavailable", "/tank", {"canmount": "noauto"}, False),
        ("unavailable", "/tank", {"mountpoint": "legacy"}, False),
    ],
)
def test_a_clone_without_its_key_is_made_and_told(
    keystatus: str, above: str, properties: dict[str, str], warns: bool
) -> None:
    """Of a raw replica, for example. ZFS creates it and cannot mount it."""
    known = {"canmount": "on", "mountpoint": "/x", "encryptionroot": "tank/v"}
    current = Seen(
        things(
            thing("tank", mountpoint=above), thing("tank/v", guid="1", keystatus=keystatus, **known),
            thing("tank/v@s", guid="11"),
        )
    )  # fmt: skip
    requested, origin = options(properties=properties)
    plan = plan_present(requested, origin, current)
    assert plan.actions == ["create clone tank/c of tank/v@s"]
    assert plan.warnings == (
        [
            "tank/c will not be mounted: the key of tank/v is not loaded. Load it with zfs_dataset (key=loaded), then "
            "mount the clone (mounted=true)"
        ]
        if warns
        else []
    )


@pytest.mark.parametrize(
    "clone",
    [
        [thing("tank/c", origin="tank/v@s")],  # made by hand, without our mark
        [thing("tank/c", origin="tank/v@s", __origin="11")],
        [thing("tank/c", __origin="11")],  # promoted, and sent back with its GUID
    ],
)
def test_the_right_origin_is_recognised(clone: list[Dataset]) -> None:
    assert texts(seen(*clone)) == []


def test_a_promoted_clone_satisfies_its_old_origin() -> None:
    own = thing("tank/c@s", guid="11")
    current = seen(thing("tank/c", __origin="11"), own, own={"tank/c": [own]})
    del current.things.snapshots["tank/v@s"]
    assert texts(current) == []
    assert texts(current, promoted=True) == []
    with pytest.raises(Refused, match="which ZFS cannot undo"):
        texts(current, promoted=False)


def test_a_promotion_comes_last_and_is_recorded_before() -> None:
    family = {"tank/v": Dataset("tank/v", snapshots=[Snapshot("tank/v@s", "11", 7)]), "tank/c": Dataset("tank/c")}
    by_hand = thing("tank/c", origin="tank/v@s", readonly="off")
    assert texts(seen(by_hand, family=family), promoted=True, properties={"readonly": True}) == [
        "set readonly=on on tank/c",
        "record on tank/c that it was created from tank/v@s",
        "promote tank/c, which takes over tank/v@s",
    ]


def test_a_snapshot_that_another_promotion_moved_is_found() -> None:
    current = seen(thing("tank/c", __origin="11", origin="tank/w@s"), thing("tank/w@s", guid="11"))
    del current.things.snapshots["tank/v@s"]
    assert texts(current) == []


@pytest.mark.parametrize(
    ("clone", "told"),
    [
        ([thing("tank/c")], "was not created from a snapshot"),
        ([thing("tank/c", __origin="99")], "with the GUID 99"),
        ([thing("tank/c", origin="tank/x@y"), thing("tank/x@y", guid="77")], "it is a clone of tank/x@y"),
    ],
)
def test_another_origin_is_refused(clone: list[Dataset], told: str) -> None:
    with pytest.raises(Refused, match=told):
        texts(seen(*clone))


@pytest.mark.parametrize(
    ("current", "told"),
    [
        (seen(thing("tank/v@s", guid="11", defer_destroy="on", userrefs="1")), "is pending deletion"),
        (seen(thing("tank/v", casesensitivity="sensitive")), "casesensitivity=sensitive"),
    ],
)
def test_snapshots_that_cannot_be_cloned(current: Seen, told: str) -> None:
    with pytest.raises(Refused, match=told):
        texts(current, properties={"casesensitivity": "mixed"} if "casesensitivity" in told else {})


def test_an_announced_snapshot_is_inbound() -> None:
    current = seen(thing("tank/v", __inbound=json.dumps([{"guid": "11", "snapshot": "s", "bytes": 5}])))
    del current.things.snapshots["tank/v@s"]
    with pytest.raises(Refused, match="is inbound"):
        texts(current)
    assert texts(current, check=True, wait="5m") == ["create clone tank/c of tank/v@s"]


def test_in_check_mode_a_snapshot_may_be_missing() -> None:
    current = seen()
    del current.things.snapshots["tank/v@s"]
    assert texts(current, check=True) == ["create clone tank/c of tank/v@s"]
    with pytest.raises(Refused, match="tank/v@s does not exist"):
        texts(current)


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"name": "tank"}, "is a pool"),
        ({"name": "other/c"}, "a clone is in the pool of its snapshot"),
        ({"name": "tank/v"}, "its own snapshot"),
        ({"wait": "soon"}, "is not a duration"),
        ({"properties": {"quota": []}}, "is a list"),
    ],
)
def test_bad_input(params: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        options(**params)


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"state": "absent", "promoted": True}, "promoted cannot be combined with state=absent"),
        ({"state": "absent", "create_parents": True}, "create_parents cannot be combined with state=absent"),
        ({"on_dependents": "cascade"}, "on_dependents cannot be combined with state=present"),
        ({"snapshot": None}, "state=present needs snapshot"),
        ({"name": ["tank/c", "tank/d"], "promoted": True}, "promoted=true takes just one name"),
        ({"name": ["tank/c", "tank/c"]}, "more than once"),
        ({"unused_only": True}, "unused_only cannot be combined with state=present"),
        ({"state": "absent", "unused_only": True, "on_dependents": "cascade"}, "leave on_dependents out"),
    ],
)
def test_options_that_do_not_fit_together(params: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        main({**GIVEN, "name": ["tank/c"], **params}, check_mode=True)


def test_an_empty_list_is_nothing_to_do() -> None:
    for state in ("present", "absent"):
        told = main({**GIVEN, "name": [], "state": state}, check_mode=False)
        assert (told["changed"], told["actions"], told["clones"], told["clone"]) == (False, [], [], None)


def test_every_bad_name_is_told() -> None:
    told = main({**GIVEN, "name": ["tank", "", "other/c"]}, check_mode=False)
    assert told["failed"]
    assert [clone["failed"] for clone in told["clones"]] == [True, True, True]
    assert "tank is a pool" in told["msg"]
    assert "is empty" in told["msg"]
    assert "in the pool of its snapshot" in told["clones"][2]["msg"]


@pytest.mark.parametrize(
    ("wait", "create", "actions"),
    [
        ("0", True, ["create filesystem tank/x", "create filesystem tank/x/y", "create clone tank/x/y/c of tank/v@s"]),
        ("0", False, []),
    ],
)
def test_missing_parents(wait: str, create: bool, actions: list[str]) -> None:
    if not create:
        with pytest.raises(Refused, match="its parent tank/x/y does not exist"):
            texts(seen(), name="tank/x/y/c")
        return
    requested, origin = options(name="tank/x/y/c", create_parents=True)
    plan = plan_present(requested, origin, seen())
    assert plan.actions == actions
    assert "canmount=off" in plan.steps[0].commands[0]


FILESYSTEM = {"canmount": "on", "mountpoint": "/c"}


@pytest.mark.parametrize(
    ("mounted", "root", "properties", "actions", "warns"),
    [
        (None, True, {}, [], False),
        (True, True, {}, [], False),  # zfs clone mounts it
        (False, True, {}, ["unmount tank/c"], False),
        (True, True, {"canmount": "noauto"}, ["mount tank/c"], False),
        (False, True, {"canmount": "noauto"}, [], False),
        (None, False, {}, [], False),
        (True, False, {}, [], True),
        (False, False, {}, [], False),
    ],
)
def test_a_new_clone_is_mounted_as_requested(
    mounted: bool | None, root: bool, properties: dict[str, str], actions: list[str], warns: bool
) -> None:
    current = Seen(
        things(thing("tank", mountpoint="/tank"), thing("tank/v", canmount="on"), thing("tank/v@s", guid="11"))
    )
    requested, origin = options(mounted=mounted, root=root, properties=properties)
    plan = plan_present(requested, origin, current)
    assert plan.actions == ["create clone tank/c of tank/v@s", *actions]
    assert any("on Linux only root can mount" in text for text in plan.warnings) == warns
    clone = foreseen(requested, origin, current, plan)
    assert clone.mounted == (root and (mounted if mounted is not None else True))


@pytest.mark.parametrize(
    ("now", "mounted", "root", "keystatus", "actions", "warning"),
    [
        ("no", True, True, "-", ["mount tank/c"], ""),
        ("yes", True, True, "-", [], ""),
        ("yes", False, True, "-", ["unmount tank/c"], ""),
        ("no", None, True, "-", [], ""),
        ("no", True, False, "-", [], "on Linux only root can mount"),
        ("no", True, True, "unavailable", [], "the key of tank/v is not loaded"),
    ],
)
def test_an_existing_clone_is_mounted_as_requested(
    now: str, mounted: bool | None, root: bool, keystatus: str, actions: list[str], warning: str
) -> None:
    more = {"mounted": now, "keystatus": keystatus, "encryptionroot": "tank/v", **FILESYSTEM}
    requested, origin = options(mounted=mounted, root=root)
    plan = plan_present(requested, origin, seen(thing("tank/c", origin="tank/v@s", **more)))
    assert plan.actions == actions
    assert [warning in text for text in plan.warnings] == ([True] if warning else [])


def test_a_clone_that_zfs_never_mounts() -> None:
    clone = thing("tank/c", origin="tank/v@s", canmount="off", mountpoint="/c")
    with pytest.raises(Refused, match="canmount=off"):
        texts(seen(clone), mounted=True)
    with pytest.raises(BadInput, match="which ZFS does not mount"):
        texts(seen(thing("tank/c", origin="tank/v@s", type="volume")), mounted=False)


@pytest.mark.parametrize(
    ("options_", "clone", "unmounted", "told"),
    [
        ({"mounted": True}, {"mounted": "no"}, ["cannot mount '/c': Read-only\nfilesystem"], "Read-only filesystem"),
        ({"mounted": False}, {"mounted": "yes"}, [], "is still mounted"),
        ({"properties": {"atime": False}}, {"atime": "on"}, [], "these were not applied: atime"),
    ],
)
def test_what_was_not_done_is_an_error(
    options_: dict[str, Any], clone: dict[str, str], unmounted: list[str], told: str
) -> None:
    requested, _origin = options(**options_)
    with pytest.raises(CerssError, match=told):
        verify(Item("tank/c", unmounted=unmounted), requested, seen(thing("tank/c", **clone)))


def test_a_clone_that_could_not_be_mounted_is_a_warning() -> None:
    requested, _origin = options()
    item = Item("tank/c", unmounted=["cannot mount '/c': Read-only", "it may only be mounted by root"])
    verify(item, requested, seen(thing("tank/c", mounted="no")))
    assert item.plan.warnings == ["tank/c was created, but is not mounted: cannot mount '/c': Read-only"]


def test_one_clone_may_be_below_another() -> None:
    """The plan of the second one counts on what that of the first one creates."""
    first, origin = options(name="tank/x/c", create_parents=True)
    second, _origin = options(name="tank/x/c/d")
    current = seen()
    plan = plan_present(first, origin, current)
    current.coming = coming(first, plan, origin, current)
    assert sorted(current.coming) == ["tank/x", "tank/x/c"]
    assert plan_present(second, origin, current).actions == ["create clone tank/x/c/d of tank/v@s"]


def removal_seen(*clones: Dataset, more: tuple[Dataset | Snapshot, ...] = ()) -> removal.Seen:
    return removal.Seen({clone.name: clone for clone in clones}, things(*clones, *more))


@pytest.mark.parametrize(
    ("clone", "params", "told"),
    [
        (thing("tank/c"), {}, "removes only clones"),
        (thing("tank/c", origin="tank/v@t"), {}, "is a clone of tank/v@t, not of tank/v@s"),
        (thing("tank/c", origin="tank/v@s", __source="{}"), {}, "End the relationship first"),
    ],
)
def test_what_zfs_clone_does_not_remove(clone: Dataset, params: dict[str, Any], told: str) -> None:
    requested, _origin = options(state="absent", **params)
    with pytest.raises(Refused, match=told):
        plan_absent(requested, removal_seen(clone, more=(thing("tank/v@t"),)), removal.Reach(False), set())


OURS = {"origin": "tank/v@s", "__origin": "11"}


@pytest.mark.parametrize(
    ("clone", "more", "open_", "told"),
    [
        (thing("tank/c", **OURS), (), None, None),
        (thing("tank/c", **OURS, mounted="yes", mountpoint="/c"), (), None, "is in use: mounted at /c"),
        (thing("tank/c", **{**OURS, "type": "volume"}), (), None, None),
        (thing("tank/c", **{**OURS, "type": "volume"}), (), "open in process 7 (vm)", "is in use: open in process 7"),
        (thing("tank/c", origin="tank/v@s"), (), None, "was not created by this collection"),
        (thing("tank/c", **OURS), (thing("tank/c@own"),), None, "snapshot tank/c@own"),
    ],
)
def test_with_unused_only_a_clone_that_is_needed_is_kept(
    monkeypatch: pytest.MonkeyPatch,
    clone: Dataset,
    more: tuple[Dataset | Snapshot, ...],
    open_: str | None,
    told: str | None,
) -> None:
    asked = {**GIVEN, "snapshot": None, "state": "absent", "name": ["tank/c"]}
    monkeypatch.setattr(removal, "read", lambda *_args: removal_seen(clone, more=(thing("tank/v@s"), *more)))
    monkeypatch.setattr(clones, "usage", lambda _name: open_)
    result = main({**asked, "unused_only": True}, check_mode=True)
    assert result["changed"] == (told is None), result
    (kept,) = [each["kept"] for each in result["clones"]]
    assert kept is None if told is None else told in kept
    assert not result.get("failed")
    # Without the option only dependents are in the way.
    assert bool(main(asked, check_mode=True).get("failed")) == bool(more)


@pytest.mark.parametrize("unused_only", [True, False])
def test_what_is_opened_meanwhile_is_kept_too(unused_only: bool) -> None:
    requested, _origin = options(state="absent", unused_only=unused_only)
    item = Item("tank/c", error=Busy(["zfs", "destroy", "tank/c"], 1, "cannot destroy 'tank/c': dataset is busy"))
    clones._keep(item, requested)
    assert (item.kept is not None, item.error is None) == (unused_only, unused_only)
