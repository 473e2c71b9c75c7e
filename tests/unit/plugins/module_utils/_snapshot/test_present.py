# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What zfs_snapshot with state=present decides, before any command runs."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import SourceMark
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Hold, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import SnapshotName
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import Activity
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot import present
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.hooks import Command
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.options import Options
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.present import (
    _plan_rest,
    _ready,
    _result,
    _transactions,
    foretold,
    plan_present,
    without_replicas,
)
from ansible_collections.cerss.zfs.tests.unit.printer import Host, Set
from ansible_collections.cerss.zfs.tests.unit.scenarios import Call
from ansible_collections.cerss.zfs.tests.unit.transcript import entrance
from ansible_collections.cerss.zfs.tests.unit.world import World

NOW = Activity(now=2000.0)


def options(*names: str, **more: Any) -> Options:
    return Options([SnapshotName.parse(name) for name in names or ("tank/v@s",)], **more)


def current(**values: Any) -> dict[str, Dataset]:
    """tank/v with its snapshot s, read with all values."""
    snapshot = Snapshot("tank/v@s", "1", 5, created=1000, temporary=False, clones=[], userrefs=0, holds=[])
    for name, value in values.items():
        setattr(snapshot, name, value)
    return {"tank/v": Dataset("tank/v", snapshots=[snapshot])}


def test_a_transaction_has_one_pool_and_one_snapshot_of_each_dataset() -> None:
    names = ["tank/a@1", "tank/b@1", "backup/a@1", "tank/a@2", "tank@1", "tank/a@3"]
    assert _transactions(names) == [["tank/a@1", "tank/b@1", "tank@1"], ["backup/a@1"], ["tank/a@2"], ["tank/a@3"]]


def test_what_is_right_is_left_alone() -> None:
    requested = options(properties={"a:b": "1", "a:c": None}, holds=["h"], temporary=True, lifetime=3600)
    right = current(properties={"a:b": "1"}, holds=[Hold("h")], temporary=True, lifetime=3600)
    assert not plan_present(requested, ["tank/v@s"], right, NOW).plan.changed
    plan = plan_present(requested, ["tank/v@s"], current(properties={"a:c": "2"}), NOW).plan
    assert plan.actions == [
        "set a:b, cerss.zfs:temporary and cerss.zfs:expires of tank/v@s",
        "unset a:c of tank/v@s",
        "put hold h on tank/v@s",
    ]
    assert [command for step in plan.steps for command in step.commands] == [
        ["zfs", "set", "a:b=1", "cerss.zfs:temporary=true", "cerss.zfs:expires=3600", "tank/v@s"],
        ["zfs", "inherit", "a:c", "tank/v@s"],
        ["zfs", "hold", "h", "tank/v@s"],
    ]


def test_foreign_holds_are_purged_only_on_request_and_ours_never() -> None:
    tags = ["keep", "other", "cerss.zfs:step:00112233445566aa", ".send-1-1"]
    held = current(holds=[Hold(tag) for tag in tags])
    assert not plan_present(options(holds=["keep"]), ["tank/v@s"], held, NOW).plan.changed
    plan = plan_present(options(holds=["keep"], purge_holds=True), ["tank/v@s"], held, NOW).plan
    assert plan.actions == ["release hold other of tank/v@s"]
    assert plan.to_result()["diff"]["before"] == {"tank/v@s": {"holds": {"other": True}}}


def test_expiry_in_the_past_is_refused() -> None:
    with pytest.raises(BadInput, match="would have expired at 1970-01-01T00:17:40Z"):
        plan_present(options(temporary=True, lifetime=60), ["tank/v@s"], current(), NOW)


def test_pending_is_refused_with_what_keeps_it() -> None:
    pending = current(state="pending_delete", clones=["tank/c"], holds=[Hold("h")])
    with pytest.raises(Refused, match=r"as long as clone tank/c and hold h needs it.*zfs clone"):
        plan_present(options(), ["tank/v@s"], pending, NOW)


def test_inbound_cannot_be_created() -> None:
    inbound = {"tank/v": Dataset("tank/v", inconsistent=True)}
    with pytest.raises(Refused, match="is being received for the first time"):
        plan_present(options(), ["tank/v@s"], inbound, NOW)
    inbound["tank/v"].ours = {"cerss.zfs:inbound": '[{"guid": "7", "snapshot": "s", "bytes": 1}]'}
    with pytest.raises(Refused, match="tank/v@s is still being received"):
        plan_present(options(), ["tank/v@s"], inbound, NOW)


def test_what_is_first_received_below_is_skipped_unless_named() -> None:
    found = {"tank": Dataset("tank"), "tank/new": Dataset("tank/new", inconsistent=True)}
    requested = options("tank@s")
    names, warnings = _ready(requested, ["tank@s", "tank/new@s"], found)
    assert names == ["tank@s"]
    assert warnings == ["tank/new@s is skipped, since its dataset is being received for the first time"]
    assert _ready(options("tank/new@s"), ["tank/new@s"], found) == (["tank/new@s"], [])


def test_commands_around_are_named_by_number() -> None:
    before, first, last = (
        Command(label, ["secret"], 1, {"A": "secret"})
        for label in ("command 1 of before", "command 1 of after", "command 2 of after")
    )
    plan = plan_present(options(before=[before], after=[first, last]), ["tank/v@new"], current(), NOW).plan
    assert plan.actions == [
        "run command 1 of before",
        "create snapshot tank/v@new",
        "run command 1 of after",
        "run command 2 of after",
    ]
    assert "secret" not in str(plan.to_result())
    assert not plan_present(options(before=[before]), ["tank/v@s"], current(), NOW).plan.changed


def test_snapshots_that_cannot_be_atomic_are_a_warning() -> None:
    names = ["tank/v@1", "tank/v@2"]
    (warning,) = plan_present(options(*names), names, current(), NOW).warnings
    assert "these snapshots are not atomic: tank/v@1; tank/v@2." in warning
    assert plan_present(options("tank/v@1"), ["tank/v@1"], current(), NOW).warnings == []


def test_a_snapshot_during_a_receive_is_a_warning() -> None:
    datasets = current()
    datasets["tank/v"].receiving = True
    (warning,) = plan_present(options("tank/v@new"), ["tank/v@new"], datasets, NOW).warnings
    assert warning.startswith("tank/v@%recv is still being received; after tank/v@new is created")


def test_check_mode_tells_what_will_be() -> None:
    datasets = current(holds=[Hold("old"), Hold("keep")], properties={"a:b": "1", "a:c": "2"}, lifetime=60)
    existing = {snapshot.name: snapshot for snapshot in datasets["tank/v"].snapshots}
    requested = options(
        "tank/v@s",
        "tank/v@new",
        properties={"a:c": None, "a:d": "3"},
        holds=["keep"],
        purge_holds=True,
        temporary=False,
        unlimited=True,
    )
    old, new = foretold(requested, ["tank/v@s", "tank/v@new"], existing, datasets)
    assert (old.properties, old.lifetime, old.temporary) == ({"a:b": "1", "a:d": "3"}, None, False)
    assert (new.properties, new.guid, new.temporary) == ({"a:d": "3"}, None, False)
    assert [hold.tag for hold in old.holds or []] == [hold.tag for hold in new.holds or []] == ["keep"]
    assert new.depends_on == {"snapshot": "tank/v@s", "guid": "1", "kind": "prior"}
    assert [hold.tag for hold in existing["tank/v@s"].holds or []] == ["old", "keep"]  # as it was


def test_what_zfs_did_not_do_is_no_action_and_a_failure() -> None:
    requested = options("tank/v@new", holds=["h"])
    planned = plan_present(requested, ["tank/v@new"], current(), NOW)
    created = Snapshot("tank/v@new", "2", 6, created=1000, clones=[], userrefs=0, holds=[])
    told = _result(planned, [created], _plan_rest(requested, [created], NOW.now), {}, None)
    assert told["actions"] == ["create snapshot tank/v@new"]
    assert told["diff"]["after"] == {"tank/v@new": {"state": "full"}}
    assert (told["failed"], told["changed"]) == (True, True)
    assert "tank/v@new is not as requested" in told["msg"]
    missing = Snapshot("tank/v@new", state="absent")
    told = _result(planned, [missing], _plan_rest(requested, [missing], NOW.now), {"tank/v@new": "out of space"}, None)
    assert (told["actions"], told["changed"], told["msg"]) == ([], False, "out of space")


def replicas(*names: str, mark: str | None = None) -> dict[str, Dataset]:
    """tank/v, and replicas of these names, each with the snapshot old."""
    ours = {SourceMark.NAME: mark or SourceMark("00112233445566aa", "host", "a/v", "7", "plain").format()}
    return {
        "tank/v": Dataset("tank/v"),
        **{name: Dataset(name, snapshots=[Snapshot(f"{name}@old")], ours=ours) for name in names},
    }


@pytest.mark.parametrize("mark", [None, "spoilt"])
def test_nothing_is_created_on_a_replica_that_is_named(mark: str | None) -> None:
    names = ["tank/v@s", "tank/r@s", "tank/r@old"]
    with pytest.raises(Refused, match="tank/r@s cannot be created: tank/r is replica of the replication") as refused:
        without_replicas(options(*names), names, replicas("tank/r", mark=mark))
    assert "on_replica=allow" in refused.value.msg
    assert "tank/r@old" not in refused.value.msg
    assert without_replicas(options(*names, on_replica="allow"), names, replicas("tank/r")) == (names, [])


def test_replicas_below_are_left_out_with_a_warning() -> None:
    names = ["tank/v@s", "tank/v/r@s", "tank/v/r@old"]
    left, warnings = without_replicas(options(), names, replicas("tank/v/r"))
    assert left == ["tank/v@s", "tank/v/r@old"]
    assert warnings == [
        "tank/v/r@s cannot be created: tank/v/r is replica of the replication 00112233445566aa; it is left out "
        "(see on_replica)"
    ]


def test_a_released_replica_is_like_any_dataset() -> None:
    mark = SourceMark("00112233445566aa", "host", "a/v", "7", "plain", released=True).format()
    assert without_replicas(options("tank/r@s"), ["tank/r@s"], replicas("tank/r", mark=mark)) == (["tank/r@s"], [])


def run(check: bool, **options: Any) -> dict[str, Any]:
    verb, params = entrance(Call("zfs_snapshot", options))
    return verb(params, check)


@pytest.mark.parametrize(
    ("created", "young", "warned"),
    [(-60, True, False), (-3600, False, False), (1, False, True), (30 * 86400, False, True)],
)
def test_a_snapshot_from_the_future_is_not_young(
    created: int, young: bool, warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``created``: seconds from now."""
    now = 1_000_000
    old = {"creation": ("-", str(now + created)), "userrefs": ("-", "0"), "defer_destroy": ("-", "off")}
    known: Set = {"tank/v": {}, "tank/v@hourly-1": old}
    monkeypatch.setattr(present, "Backend", lambda: Host(known))
    monkeypatch.setattr(present, "read_activity", lambda _backend: Activity(now=float(now)))
    result = run(True, name=["tank/v@hourly-2"], min_age="1h", match=["hourly-*"])
    assert result["changed"] is not young
    assert any("tank/v@hourly-1 was created in the future" in text for text in result["warnings"]) is warned


@pytest.mark.parametrize(
    ("snapshot", "created", "changed"),
    [
        ("nightly-2026-11-22_20-00", 11 * 3600, False),
        ("nightly-2026-11-22_06-00", 25 * 3600, True),
        ("nightly-before-upgrade", 3600, True),
        ("hourly-2026-11-23_06-00", 3600, True),
    ],
)
def test_only_what_the_template_makes_counts_for_min_age(
    snapshot: str, created: int, changed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_795_417_682.0  # 2026-11-23T07:08:02Z
    known: Set = {"tank/v": {}, f"tank/v@{snapshot}": {"creation": ("-", str(int(now) - created))}}
    known[f"tank/v@{snapshot}"].update(userrefs=("-", "0"), defer_destroy=("-", "off"))
    monkeypatch.setattr(present, "Backend", lambda: Host(known))
    monkeypatch.setattr(time, "time", lambda: now)
    result = run(True, name="tank/v", snapshot="nightly-%Y-%m-%d_%H-%M", utc=True, min_age="23h")
    assert result["actions"] == (["create snapshot tank/v@nightly-2026-11-23_07-08"] if changed else [])


BACKUP = "org.example:backup"
MARK = SourceMark("00112233445566aa", "host", "a/v", "7", "plain").format()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    world = World()
    world.install(monkeypatch, tmp_path)
    return world


def test_what_selecting_costs(world: World) -> None:
    names = [f"tank/v{number:03}" for number in range(400)]
    world.here.make(*names, "tank/other")
    for name in names:
        world.here.all[name].props[BACKUP] = "nightly"
    costs: list[list[str]] = []
    for options in ({"name": names}, {"select": {"property": BACKUP, "value": "nightly"}}):
        world.log.clear()
        made = run(False, snapshot=f"s{len(costs)}", **options)
        assert [each["dataset"] for each in made["snapshots"]] == names
        costs.append([argv[1] for _machine, argv in world.log if argv[0] == "zfs"])
    assert costs[0] == ["list", "get", "get", "snapshot", "get", "get"]
    assert costs[1] == ["list", "get", "get", "get", "snapshot", "get", "get"]


def test_names_are_made_once_in_a_minute(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check and real run agree, and a second one changes nothing; a minute later the next one is made."""
    world.here.make("tank/v/w")
    asked = {"name": "tank/v", "recursive": True, "snapshot": "s-%Y-%m-%d_%H-%M", "utc": True}
    for seconds, names in ((1_795_417_680, "07-08"), (1_795_417_739.9, ""), (1_795_417_740, "07-09")):
        monkeypatch.setattr(time, "time", lambda now=seconds: now)
        actions = [f"create snapshot {name}@s-2026-11-23_{names}" for name in ("tank/v", "tank/v/w") if names]
        assert [run(check, **asked)["actions"] for check in (True, False, True)] == [actions, actions, []]


def test_the_clock_is_read_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """All names are of one moment, however long the reading takes."""
    clock = itertools.count(1_795_417_735, 3)
    world.here.make("tank/a", "tank/b")
    monkeypatch.setattr(time, "time", lambda: float(next(clock)))
    made = run(False, name=["tank/a", "tank/b"], snapshot="%H-%M-%S", utc=True)
    assert [each["snapshot"] for each in made["snapshots"]] == ["07-08-55"] * 2


def test_replicas_that_are_selected_are_left_out(world: World) -> None:
    world.here.make("tank/v", "tank/r")
    world.here.all["tank"].props[BACKUP] = "true"
    world.here.all["tank/r"].props[SourceMark.NAME] = MARK
    asked = {"select": {"property": BACKUP, "value": True}, "snapshot": "s", "exclude": "tank"}
    assert run(True, **asked)["snapshots"] == []
    del asked["exclude"]
    made = run(False, **asked)
    assert [each["name"] for each in made["snapshots"]] == ["tank@s", "tank/v@s"]
    assert "tank/r is replica of the replication 00112233445566aa; it is left out" in made["warnings"][0]
    with pytest.raises(Refused):
        run(False, name=["tank/r"], snapshot="s")
    asked["select"] = {"property": BACKUP, "value": False}
    assert run(False, **asked)["warnings"] == [
        f"no dataset has {BACKUP}=false, so there is nothing to do; check select"
    ]


@pytest.mark.parametrize("state", ["present", "absent"])
def test_nothing_to_do_for_an_empty_list(world: World, state: str) -> None:
    select = {"property": BACKUP, "value": "nightly"}
    for more in ({}, {"snapshot": "s"}, {"recursive": True}, {"snapshot": "s", "select": select}):
        result = run(False, name=[], state=state, **more)
        assert (result["changed"], result["snapshots"], result["warnings"]) == (False, [], [])
    assert world.log == []


@pytest.mark.parametrize(
    ("requested", "values", "actions", "lifetime"),
    [
        ({"lifetime": 3600}, {}, ["set cerss.zfs:expires of tank/v@s"], 3600),
        ({"lifetime": 3600}, {"lifetime": 3600}, [], 3600),
        ({"unlimited": True}, {"lifetime": 3600, "temporary": True}, ["unset cerss.zfs:expires of tank/v@s"], None),
        ({"unlimited": True}, {}, [], None),
        ({"temporary": False}, {"lifetime": 60, "temporary": True}, ["unset cerss.zfs:temporary of tank/v@s"], 60),
    ],
)
def test_a_lifetime_is_independent_of_temporary(
    requested: dict[str, Any], values: dict[str, Any], actions: list[str], lifetime: int | None
) -> None:
    given, datasets = options(**requested), current(**values)
    assert plan_present(given, ["tank/v@s"], datasets, NOW).plan.actions == actions
    existing = {snapshot.name: snapshot for snapshot in datasets["tank/v"].snapshots}
    (expected,) = foretold(given, ["tank/v@s"], existing, datasets)
    assert expected.lifetime == lifetime
