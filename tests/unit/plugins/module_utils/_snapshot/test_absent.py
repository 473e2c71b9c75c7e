# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What zfs_snapshot with state=absent decides, before any command runs."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Hold, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import Activity
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.absent import (
    Seen,
    _result,
    foretold,
    obstacles,
    plan_absent,
)
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.deletion import Outcome
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.dependents import Closure, closure_of
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.options import Options

NOW = Activity(now=2000.0)


def snapshot(name: str, **values: Any) -> Snapshot:
    return Snapshot(name, **{"clones": [], "userrefs": 0, "holds": [], **values})


def cascade(requested: Snapshot, *clones: Dataset) -> list[str]:
    closure = closure_of({dataset.name: dataset for dataset in clones}, [requested.name])
    return plan_absent(Options([], on_dependents="cascade"), [requested], closure, NOW).plan.actions


def test_fail_lists_every_dependent_of_every_name() -> None:
    requested = [
        snapshot("tank/v@a", clones=["tank/c"], userrefs=1, holds=[Hold("h")]),
        snapshot("tank/v@b"),
        snapshot("tank/v@c", clones=["tank/v/%recv"]),
    ]
    with pytest.raises(Refused) as caught:
        plan_absent(Options([], on_dependents="fail"), requested, Closure(), NOW)
    assert "tank/v@a is needed by clone tank/c and hold h" in caught.value.msg
    assert "tank/v@c is needed by the receive into tank/v" in caught.value.msg
    assert "tank/v@b" not in caught.value.msg


def test_a_cascade_deletes_clones_from_the_end_of_the_chain() -> None:
    requested = snapshot("tank/v@s", clones=["tank/a"])
    a = Dataset("tank/a", origin="tank/v@s", snapshots=[snapshot("tank/a@x", clones=["tank/b"])])
    b = Dataset("tank/b", origin="tank/a@x")
    assert cascade(requested, a, b) == [
        "destroy clone tank/b of tank/a@x",
        "destroy snapshot tank/a@x",
        "destroy clone tank/a of tank/v@s",
        "destroy snapshot tank/v@s",
    ]


def test_the_last_clone_ends_a_pending_deletion() -> None:
    requested = snapshot("tank/v@s", state="pending_delete", clones=["tank/a", "tank/b"])
    assert cascade(requested, Dataset("tank/a", origin="tank/v@s"), Dataset("tank/b", origin="tank/v@s")) == [
        "destroy clone tank/a of tank/v@s",
        "destroy clone tank/b of tank/v@s",
        "tank/v@s, which was pending deletion, is destroyed by ZFS with tank/b",
    ]


@pytest.mark.parametrize(
    ("values", "ours", "reason"),
    [
        ({"holds": [Hold("h")]}, {}, "tank/a@x: hold h"),
        ({"clones": ["tank/a/%recv"]}, {}, "tank/a@x: the receive into tank/a"),
        ({}, {"cerss.zfs:source": "{}"}, "tank/a: it is a replica"),
    ],
)
def test_a_cascade_deletes_only_clones(values: dict[str, Any], ours: dict[str, str], reason: str) -> None:
    clone = Dataset("tank/a", origin="tank/v@s", snapshots=[snapshot("tank/a@x", **values)], ours=ours)
    with pytest.raises(Refused, match="a cascade deletes only snapshots and clones") as caught:
        cascade(snapshot("tank/v@s", clones=["tank/a"]), clone)
    assert reason in caught.value.msg


def test_a_cascade_knows_what_is_being_sent() -> None:
    """Also of a clone; zfs would refuse to destroy it when other things are gone already."""
    clone = Dataset("tank/a", origin="tank/v@s", snapshots=[snapshot("tank/a@x")])
    requested = snapshot("tank/v@s", clones=["tank/a"])
    closure = closure_of({"tank/a": clone}, ["tank/v@s"])
    running = Activity(senders=["zfs send -vP tank/a@x"])
    with pytest.raises(Refused, match="tank/a@x: the transfer that sends it"):
        plan_absent(Options([], on_dependents="cascade"), [requested], closure, running)


def test_our_holds_stop_a_cascade_unless_their_dataset_is_named() -> None:
    clone = Dataset("tank/a", origin="tank/v@s", snapshots=[snapshot("tank/a@x", holds=[Hold("cerss.zfs:last")])])
    pool = {"tank/a": clone}
    assert obstacles((), closure_of(pool, ["tank/v@s"]), NOW) == ["tank/a@x: hold cerss.zfs:last"]
    assert obstacles((), closure_of(pool, (), ["tank/a"]), NOW) == []


def test_check_mode_tells_what_will_be() -> None:
    free, held = snapshot("tank/v@free", guid="1"), snapshot("tank/v@held", holds=[Hold("h")])
    seen = Seen(["tank/v@free", "tank/v@held", "tank/v@none"], {"tank/v@free": free, "tank/v@held": held}, {}, NOW)
    plan = plan_absent(Options([]), [free, held], Closure(), NOW).plan
    assert [(snap.name, snap.guid, snap.state) for snap in foretold(seen, plan)] == [
        ("tank/v@free", "1", "absent"),
        ("tank/v@held", None, "pending_delete"),
        ("tank/v@none", None, "absent"),
    ]
    assert (free.state, held.state) == ("full", "full")  # what was read is not changed


def test_what_still_exists_is_no_action_and_a_failure() -> None:
    free, stays = snapshot("tank/v@free"), snapshot("tank/v@stays")
    planned = plan_absent(Options([]), [free, stays], Closure(), NOW)
    outcome = Outcome(planned.plan.effects, {}, [])
    told = _result(planned, outcome, [Snapshot("tank/v@free", state="absent"), stays])
    assert told["actions"] == ["destroy snapshot tank/v@free"]
    assert told["diff"]["before"] == {"tank/v@free": {"state": "full"}}
    assert told["failed"]
    assert "tank/v@stays" in told["msg"]
    told = _result(planned, Outcome([], {"tank/v@stays": "busy"}, ["tank/v@stays"]), [stays])
    assert (told["actions"], told["changed"], told["busy"], told["msg"]) == ([], False, ["tank/v@stays"], "busy")
