# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What zfs_clone plans and refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import SnapshotName
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan
from ansible_collections.cerss.zfs.plugins.module_utils._dataset.clone import (
    Options,
    Seen,
    foreseen,
    plan_present,
    plan_removal,
)
from ansible_collections.cerss.zfs.tests.unit.things import dataset, snapshot, things


def thing(name: str, **values: str) -> Dataset | Snapshot:
    if "@" in name:
        return snapshot(name, **values)
    return dataset(name, **{"type": "filesystem", "atime": "on", **values})


def options(**params: Any) -> tuple[Options, SnapshotName]:
    given = {
        "name": "tank/c", "snapshot": "tank/v@s", "properties": {}, "promoted": None,
        "state": "present", "on_dependents": "fail", "wait": "0", **params,
    }  # fmt: skip
    return Options.from_params(given), SnapshotName.parse(given["snapshot"])


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
    current = seen(thing("tank/c", __origin="11"), own, own={"tank/c@s": own})
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
        ({"state": "absent", "promoted": True}, "promoted cannot be combined with state=absent"),
        ({"on_dependents": "cascade"}, "on_dependents cannot be combined with state=present"),
    ],
)
def test_bad_input(params: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        options(**params)


@pytest.mark.parametrize(
    ("clones", "refs", "count"), [("tank/c", "0", 2), ("tank/c,tank/d", "0", 1), ("tank/c", "1", 1)]
)
def test_the_last_clone_ends_a_pending_deletion_of_its_origin(clones: str, refs: str, count: int) -> None:
    plan = Plan()
    origin = thing("tank/v@s", defer_destroy="on", clones=clones, userrefs=refs)
    plan_removal(plan, thing("tank/c", origin="tank/v@s"), origin)
    assert len(plan.steps) == count
