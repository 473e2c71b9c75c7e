# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Bookmark, Dataset, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import SnapshotName
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan
from ansible_collections.cerss.zfs.plugins.module_utils._dataset.clone import (
    Options,
    Seen,
    foreseen,
    plan_end,
    plan_present,
)
from ansible_collections.cerss.zfs.tests.unit.things import dataset, snapshot, things


def thing(name: str, **values: str) -> Dataset | Snapshot:
    if "@" in name:
        return snapshot(name, **values)
    return dataset(name, **{"type": "filesystem", "atime": "on", **values})


MARK = {"id": "00112233445566aa", "host": "h", "dataset": "tank/x", "guid": "1", "mode": "plain"}


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
    asked, origin = options(**params)
    return plan_present(asked, origin, current, check).actions


def test_a_new_clone_remembers_its_origin() -> None:
    asked, origin = options(properties={"atime": False})
    plan = plan_present(asked, origin, seen())
    command = plan.steps[0].commands[0]
    assert "cerss.zfs:origin=11" in command
    assert "atime=off" in command
    clone = foreseen(asked, origin, seen(), plan)
    assert clone.origin == {"name": "tank/v@s", "guid": "11"}
    assert clone.guid is None


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
    with pytest.raises(Refused, match="ZFS cannot take that back"):
        texts(current, promoted=False)


def test_a_snapshot_that_another_promotion_moved_is_found() -> None:
    current = seen(thing("tank/c", __origin="11", origin="tank/w@s"), thing("tank/w@s", guid="11"))
    del current.things.snapshots["tank/v@s"]
    assert texts(current) == []


@pytest.mark.parametrize(
    ("clone", "told"),
    [
        ([thing("tank/c")], "was not made from a snapshot"),
        ([thing("tank/c", __origin="99")], "with the GUID 99"),
        ([thing("tank/c", origin="tank/x@y"), thing("tank/x@y", guid="77")], "it is a clone of tank/x@y"),
    ],
)
def test_another_origin_is_refused(clone: list[Dataset], told: str) -> None:
    with pytest.raises(Refused, match=told):
        texts(seen(*clone))


def family(*own: str) -> dict[str, Dataset]:
    volume = Dataset("tank/v", snapshots=[Snapshot("tank/v@old", "10", 5), Snapshot("tank/v@s", "11", 7),
                                          Snapshot("tank/v@new", "12", 9)],
                     bookmarks=[Bookmark("tank/v#mark", "10", 5), Bookmark("tank/v#later", "12", 9)])  # fmt: skip
    snapshots = [Snapshot(name, "50", 20) for name in own if "@" in name]
    bookmarks = [Bookmark(name, "50", 20) for name in own if "#" in name]
    return {"tank/v": volume, "tank/c": Dataset("tank/c", snapshots=snapshots, bookmarks=bookmarks)}


def test_promotion_takes_what_is_not_newer_than_the_origin() -> None:
    current = seen(thing("tank/c", origin="tank/v@s", __origin="11"), family=family("tank/c@new", "tank/c#later"))
    assert texts(current, promoted=True) == ["promote tank/c, which takes over tank/v@old, tank/v@s"]


@pytest.mark.parametrize(("own", "told"), [("tank/c@old", "@old"), ("tank/c#mark", "#mark")])
def test_names_that_meet_are_told_before(own: str, told: str) -> None:
    current = seen(thing("tank/c", origin="tank/v@s"), family=family(own))
    with pytest.raises(Refused, match=f"would take over {told}, and has the same names"):
        texts(current, promoted=True)


def test_names_that_would_be_too_long_are_told_before() -> None:
    name = "tank/" + "c" * 249
    volume = family()["tank/v"]
    with pytest.raises(Refused, match="longer than 255"):
        texts(seen(family={"tank/v": volume}), name=name, promoted=True)


@pytest.mark.parametrize("where", ["tank/v", "tank/c"])
def test_no_promotion_over_a_relationship(where: str) -> None:
    marks = {"__source": json.dumps(MARK)}
    volume = thing("tank/v", **(marks if where == "tank/v" else {}))
    clone = thing("tank/c", origin="tank/v@s", **(marks if where == "tank/c" else {}))
    with pytest.raises(Refused, match=f"{where} is replica of the replication 00112233445566aa"):
        texts(seen(volume, clone, family=family()), promoted=True)


def test_a_released_replica_can_be_promoted_over() -> None:
    volume = thing("tank/v", __source=json.dumps({**MARK, "released": True}))
    assert texts(seen(volume, thing("tank/c", origin="tank/v@s", __origin="11"), family=family()), promoted=True)


@pytest.mark.parametrize(
    ("current", "told"),
    [
        (seen(thing("tank/v@s", guid="11", defer_destroy="on", userrefs="1")), "is pending_delete"),
        (seen(thing("tank/v", casesensitivity="sensitive")), "fixed when a dataset is created"),
    ],
)
def test_snapshots_that_cannot_be_cloned(current: Seen, told: str) -> None:
    with pytest.raises(Refused, match=told):
        texts(current, properties={"casesensitivity": "mixed"} if "fixed" in told else {})


def test_an_announced_snapshot_is_inbound() -> None:
    current = seen(thing("tank/v", __inbound=json.dumps([{"guid": "11", "snapshot": "s", "bytes": 5}])))
    del current.things.snapshots["tank/v@s"]
    with pytest.raises(Refused, match="is inbound"):
        texts(current)
    assert texts(current, check=True, wait="5m") == ["create clone tank/c of tank/v@s"]


def test_in_check_mode_a_snapshot_may_be_to_come() -> None:
    current = seen()
    del current.things.snapshots["tank/v@s"]
    assert texts(current, check=True) == ["create clone tank/c of tank/v@s"]
    with pytest.raises(Refused, match="tank/v@s does not exist"):
        texts(current)


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"name": "tank"}, "is a pool"),
        ({"name": "other/c"}, "a clone lives in the pool of its snapshot"),
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
def test_the_last_clone_takes_a_marked_origin_along(clones: str, refs: str, count: int) -> None:
    plan = Plan()
    origin = thing("tank/v@s", defer_destroy="on", clones=clones, userrefs=refs)
    plan_end(plan, thing("tank/c", origin="tank/v@s"), origin)
    assert len(plan.steps) == count
