# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module from its parameters to its result, between machines in memory."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, CerssError, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import ReplicaRecords
from ansible_collections.cerss.zfs.plugins.module_utils._host import process, runfiles
from ansible_collections.cerss.zfs.plugins.module_utils._host.wanted import Wanted
from ansible_collections.cerss.zfs.plugins.module_utils._replication import replicate
from ansible_collections.cerss.zfs.tests.unit.machine import ENCRYPTED
from ansible_collections.cerss.zfs.tests.unit.world import HERE, THERE, World

REAL = replicate._stoppable  # each world puts something else in its place


def replica(result: dict[str, Any]) -> dict[str, Any]:
    (found,) = result["replicas"]
    return dict(found)


# -- ways ------------------------------------------------------------------------------------------------------------


def test_push_pull_and_local(world: World) -> None:
    world.here.make("tank/v@s1", "backup")
    world.there.make("far/v@s1")
    push = world.replicate("tank/v")
    local = world.replicate("tank/v", target={"host": "local", "dataset": "backup/v"})
    pull = world.replicate("far/v", target={"dataset": "backup/pulled"}, source={"host": THERE})
    for result, target in ((push, "b:backup/v"), (local, "backup/v"), (pull, "backup/pulled")):
        assert (replica(result)["state"], replica(result)["target"], replica(result)["msg"]) == ("full", target, None)
    parts = ("source_host", "source_dataset", "snapshot", "target_host", "target_dataset")
    assert [[replica(result)[part] for part in parts] for result in (push, local, pull)] == [
        ["local", "tank/v", "s1", THERE, "backup/v"],
        ["local", "tank/v", "s1", "local", "backup/v"],
        [THERE, "far/v", "s1", "local", "backup/pulled"],
    ]
    assert world.here.all["backup/pulled"].props["setuid"] == "off"
    assert "setuid" not in world.here.all["backup/v"].props
    assert world.replicate("tank/v")["changed"] is False
    assert world.replicate("tank/v", target={"host": "local", "dataset": "backup/v"})["changed"] is False
    again = world.replicate("far/v", target={"dataset": "backup/pulled"}, source={"host": THERE})
    assert again["changed"] is False


@pytest.mark.parametrize(("raw", "flag"), [("auto", True), ("always", True), ("never", False)])
def test_what_is_encrypted_stays_so_unless_asked(world: World, raw: str, flag: bool) -> None:
    world.here.make("tank/v", fixed=dict(ENCRYPTED))
    world.here.make("tank/v@s1", "tank/v@s2")
    assert replica(world.replicate(raw=raw))["msg"] is None
    sends = [argv for machine, argv in world.log if (machine, argv[1]) == (HERE, "send")]
    assert len(sends) == 2
    assert all(("-w" in argv) == flag for argv in sends)
    world.here.make("tank/v@s3")
    world.revive()
    assert replica(world.replicate())["msg"] is None
    assert all(("-w" in argv) == flag for _machine, argv in world.log if argv[1] == "send")


def test_a_named_snapshot_and_those_before_it(world: World) -> None:
    world.here.make("tank/v@s1", "tank/v@s2", "tank/v@s3")
    assert replica(world.replicate("tank/v@s2"))["source"] == "tank/v@s2"
    assert [snap.name for snap in world.there.snaps("backup/v")] == ["backup/v@s1", "backup/v@s2"]


def test_a_rollback_destroys_what_the_plan_lists(world: World) -> None:
    world.here.make("tank/v@s1", "tank/v@s2")
    world.replicate()
    world.there.make("backup/v@own", "backup/v@more")
    world.there.all["backup/v"].written = 7
    world.here.make("tank/v@s3")
    assert "has diverged" in replica(world.replicate())["msg"]
    foretold = world.replicate(on_divergence="rollback", check=True)
    world.revive()
    result = world.replicate(on_divergence="rollback")
    assert (result["actions"], result["diff"]) == (foretold["actions"], foretold["diff"])
    assert replica(result)["msg"] is None
    assert [argv for _machine, argv in world.changes() if argv[1] == "destroy"] == [
        ["zfs", "destroy", "backup/v@own,more"]
    ]
    assert [snap.name for snap in world.there.snaps("backup/v")] == [f"backup/v@s{number}" for number in (1, 2, 3)]


def test_what_a_job_sends_is_recorded(world: World) -> None:
    """When it begins, and when it has changed, also if nothing is to be sent."""
    world.here.make("tank/v@s1", "tank/v@x1")

    def filters() -> list[Any]:
        (records,) = ReplicaRecords.all_of(world.here.all["tank/v"].props).values()
        assert isinstance(records, ReplicaRecords)
        return [each.to_json() for each in records.entries[0].filters]

    options: dict[str, Any] = {"include_snapshots": ["s*", "re:s+"], "job": "nightly"}
    assert replica(world.replicate(**options))["msg"] is None
    assert filters() == [{"job": "nightly"}]  # no expression is recorded, so it lets everything pass
    assert world.replicate(**options)["changed"] is False
    for include in ({"include_snapshots": ["s*"]}, {"include_snapshots": ["s[0-9]"]}):
        options = {**options, **include}
        foretold = world.replicate(check=True, **options)
        result = world.replicate(**options)
        assert (result["actions"], result["diff"]) == (foretold["actions"], foretold["diff"])
        assert result["actions"] == ["record the filters of the relationship with b:backup/v"]
        assert filters() == [{"job": "nightly", "include": include["include_snapshots"]}]
        assert world.replicate(**options)["changed"] is False


# -- which datasets --------------------------------------------------------------------------------------------------

BACKUP = "org.example:backup"
SELECTED: dict[str, Any] = {"select": {"property": BACKUP, "value": "nightly"}}
PARENT: dict[str, Any] = {"target": {"host": THERE, "parent": "backup"}}


def arrived(world: World) -> set[str]:
    return {name for name in world.there.all if "@" in name}


@pytest.mark.parametrize("check", [True, False])
def test_no_name_is_nothing_to_do(world: World, check: bool) -> None:
    result = world.replicate(name=[], check=check)
    assert (result["changed"], result["actions"], result["replicas"]) == (False, [], [])
    assert world.log == []


def test_datasets_by_a_property_on_all_pools(world: World) -> None:
    world.here.make("fast", "fast/v@s1", "tank/v@s1", "tank/v/in@s1", "tank/v/out@s1", "tank/w@s1", "tank/x/y@s1")
    for name, value in (("fast/v", "nightly"), ("tank/v", "nightly"), ("tank/v/out", "no"), ("tank/x/y", "nightly")):
        world.here.all[name].props[BACKUP] = value
    world.here.make("tank/x/y/new")
    target: dict[str, Any] = {"target": {"host": THERE, "parent": "backup", "strip": 0}}
    foretold = world.replicate(name=None, **SELECTED, **target, check=True)
    result = world.replicate(name=None, **SELECTED, **target)
    assert [foretold[key] for key in FORETOLD] == [result[key] for key in FORETOLD]
    assert arrived(world) == {f"backup/{name}@s1" for name in ("fast/v", "tank/v", "tank/v/in", "tank/x/y")}
    assert result["warnings"] == ["tank/x/y/new has no snapshot; it is skipped"]
    again = world.replicate(name=None, **SELECTED, **target)
    assert (again["changed"], again["actions"], "failed" in again) == (False, [], False)


def test_datasets_by_a_property_below_names(world: World) -> None:
    world.here.make("tank/a/v@s1", "tank/a/w@s1", "tank/b/v@s1", "tank/b/v@s2", "tank/c/v@s1")
    for name in ("tank/a/v", "tank/b/v", "tank/c/v"):
        world.here.all[name].props[BACKUP] = "nightly"
    world.replicate("tank/a", "tank/b@s1", **SELECTED, **PARENT)
    assert arrived(world) == {"backup/a/v@s1", "backup/b/v@s1"}


def test_a_selected_dataset_without_a_place_is_the_error_of_its_pair(world: World) -> None:
    world.here.make("tank@s1", "tank/v@s1")
    world.here.all["tank"].props[BACKUP] = "nightly"
    result = world.replicate(name=None, **SELECTED, **PARENT)
    assert [each["msg"] for each in result["replicas"] if each["failed"]] == [
        "target.strip is 1; for tank it must be between 0 and 0"
    ]
    assert arrived(world) == {"backup/v@s1"}


def test_nothing_is_selected(world: World) -> None:
    world.here.make("tank/v@s1")
    result = world.replicate(name=None, **SELECTED, **PARENT)
    assert (result["changed"], result["replicas"]) == (False, [])
    assert world.count(THERE, "zfs") == 0


def test_selecting_costs_one_zfs_get_more_than_naming(world: World) -> None:
    names = [f"tank/{number}" for number in range(400)]
    world.here.make(*(f"{name}@s1" for name in names))
    for name in names[::100]:
        world.here.all[name].props[BACKUP] = "nightly"
    world.replicate(*names[::100], **PARENT)
    costs = []
    for options in ({"name": names[::100]}, {"name": None, **SELECTED}):
        world.revive()
        assert world.replicate(**PARENT, **options)["changed"] is False
        costs.append(sorted((machine, argv[1]) for machine, argv in world.log))
    assert sorted([*costs[0], (HERE, "get")]) == costs[1]


@pytest.mark.parametrize(
    "patterns", [{"include_snapshots": ["re:(daily|weekly)-[0-9]+"]}, {"exclude_snapshots": ["re:h.*"]}]
)
def test_regular_expressions(world: World, patterns: dict[str, Any]) -> None:
    world.here.make("tank/v@daily-1", "tank/v@hourly-1", "tank/v@weekly-1", "tank/v/tmp@daily-1", "tank/v/x@daily-1")
    world.replicate(recursive=True, exclude=["re:.*/tmp"], **patterns)
    assert arrived(world) == {"backup/v@daily-1", "backup/v@weekly-1", "backup/v/x@daily-1"}


# -- what is checked first -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "program"),
    [({"bandwidth_limit": "1M"}, "pv"), ({"compression": "zstd"}, "zstd"), ({}, "ssh")],
)
def test_a_program_that_is_missing_here(
    world: World, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], program: str
) -> None:
    world.here.make("tank/v@s1")
    monkeypatch.setattr(shutil, "which", lambda name, **_: None if name == program else f"/usr/bin/{name}")
    with pytest.raises(BadInput, match=f"{program} is not installed on .*; install it, or leave out the option"):
        world.replicate(**options)
    assert world.log == []


def test_a_program_that_is_missing_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.here.make("tank/v@s1")

    def run(argv: list[str], **options: Any) -> process.Result:
        lacks = argv[-1].endswith("--version")
        return process.Result(argv, 127, "", "not found") if lacks else world.run(argv, **options)

    monkeypatch.setattr(process, "run", run)
    with pytest.raises(BadInput, match="lz4 is not installed on b"):
        world.replicate(compression="lz4")
    assert world.changes() == []


@pytest.mark.parametrize("target", ["nowhere/v", "nowhere"])
def test_an_error_of_reading_is_the_error_of_the_run(world: World, target: str) -> None:
    world.here.make("tank/v@s1")
    with pytest.raises(Refused, match="there is no pool nowhere on b"):
        world.replicate(target=target)
    assert world.changes() == []


def test_several_errors_are_told_in_short(world: World) -> None:
    names = [f"tank/{number}" for number in range(5)]
    result = world.replicate(*names, target={"host": THERE, "parent": "backup"})
    assert result["failed"]
    assert result["msg"].endswith("; and 2 more, see replicas")
    assert [each["failed"] for each in result["replicas"]] == [True] * 5


# -- stopping --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_sets_the_stop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: signal.Signals) -> None:
    monkeypatch.setattr(runfiles, "SYSTEM_FOLDER", tmp_path / "run")
    monkeypatch.setattr(runfiles, "TEMP_FOLDER", tmp_path)
    monkeypatch.setenv(runfiles.RUN_ID, "0" * 16)
    former, wanted, lease = signal.getsignal(number), Wanted(), runfiles.Lease()
    assert lease.path is not None
    with REAL(wanted, lease):
        assert lease.path.exists()
        assert not wanted.fault()
        os.kill(os.getpid(), number)
        assert wanted.stop.wait(5)
    assert signal.getsignal(number) == former
    assert not lease.path.exists()


def test_the_lease_goes_also_after_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(runfiles, "SYSTEM_FOLDER", tmp_path / "run")
    monkeypatch.setattr(runfiles, "TEMP_FOLDER", tmp_path)
    monkeypatch.setenv(runfiles.RUN_ID, "0" * 16)
    lease = runfiles.Lease()
    with pytest.raises(CerssError), REAL(Wanted(), lease):
        raise CerssError("x")
    assert lease.path is not None
    assert not lease.path.exists()


# -- check mode ------------------------------------------------------------------------------------------------------

FORETOLD = ("changed", "actions", "diff")


@pytest.mark.parametrize("settled", [True, False])
def test_a_named_snapshot_that_only_a_child_lacks_is_not_assumed(world: World, settled: bool) -> None:
    """No earlier task can create it in the child alone, so the real run leaves the child as it is."""
    tree: dict[str, Any] = {"target": {"host": THERE, "parent": "backup"}, "recursive": True}
    world.here.make("tank/t@s1", "tank/t/a@s1", "tank/t/new")
    if settled:
        world.replicate("tank/t@s1", **tree)
    foretold, result = (world.replicate("tank/t@s1", **tree, check=check) for check in (True, False))
    assert [foretold[key] for key in FORETOLD] == [result[key] for key in FORETOLD]
    assert foretold["changed"] is not settled
    assert foretold["warnings"] == result["warnings"] == ["tank/t/new@s1 does not exist; it is skipped"]


def test_a_named_snapshot_that_the_root_lacks_is_assumed_in_the_tree(world: World) -> None:
    tree: dict[str, Any] = {"target": {"host": THERE, "parent": "backup"}, "recursive": True}
    world.here.make("tank/t@s1", "tank/t/a@s1", "tank/t/b", "tank/u@s2")
    result = world.replicate("tank/t@s2", "tank/u@s2", **tree, check=True)
    assert [each["failed"] for each in result["replicas"]] == [False] * 4
    assert len([text for text in result["warnings"] if "check mode assumes" in text]) == 3


@pytest.mark.parametrize("check", [True, False])
def test_values_are_judged_before_anything_is_done(world: World, check: bool) -> None:
    world.here.make("tank/v@s1", "tank/v/new@s1", "tank/v/z@s1")
    world.here.all["tank/v/z"].type = "volume"
    result = world.replicate(recursive=True, properties={"atime": "bogus"}, check=check)
    parent, child, volume = (each["msg"] for each in result["replicas"])
    assert "zfs does not accept the properties for backup/v: 'atime' must be one of" in parent
    assert (child, "was not started because backup/v failed" in volume) == (parent, True)
    result = world.replicate(
        "tank/v/z", target="backup/v/z", properties={"volmode": "bogus", "atime": "off"}, check=check
    )
    assert "zfs does not accept the properties for backup/v/z: 'volmode' must be one of" in result["msg"]
    assert world.changes() == []


@pytest.mark.parametrize("check", [True, False])
def test_a_value_that_is_refused_stops_only_new_replicas(world: World, check: bool) -> None:
    world.here.make("tank/v@s1")
    world.replicate()
    world.here.make("tank/v@s2", "tank/v/new@s2")
    old, new = world.replicate(recursive=True, properties={"atime": "bogus"}, check=check)["replicas"]
    assert (old["failed"], new["failed"]) == (False, True)
    assert len(world.there.snaps("backup/v")) == (1 if check else 2)


def test_values_are_judged_once_for_each_type_and_only_for_new_replicas(world: World) -> None:
    world.here.make("tank/v@s1", "tank/v/a@s1", "tank/v/b@s1")
    options: dict[str, Any] = {"recursive": True, "properties": {"atime": False, "compression": None}}
    assert "failed" not in world.replicate(**options)
    assert world.count(THERE, "zfs", "create", "-n") == 1
    assert world.there.all["backup/v/a"].props["atime"] == "off"
    assert "compression" not in world.there.all["backup/v/a"].props
    world.here.make("tank/v@s2")
    world.replicate(**options)
    assert world.count(THERE, "zfs", "create", "-n") == 1


@pytest.mark.parametrize("on_active", ["attach", "wait", "fail"])
@pytest.mark.parametrize("requested", [True, False])
def test_check_mode_sees_a_receive_that_runs(world: World, on_active: str, requested: bool) -> None:
    world.here.make("tank/v@s1")
    world.replicate()
    world.here.make("tank/v@s2", "tank/v@s3")
    world.cuts = ["tank/v@s2"]
    world.replicate("tank/v@s2")
    replica_ = world.there.all["backup/v"]
    assert replica_.token
    replica_.busy = True
    options: dict[str, Any] = {"on_active": on_active, "exclude_snapshots": [] if requested else ["s2"]}
    foretold = world.replicate(**options, check=True)
    refused = on_active == "fail" or (on_active == "attach" and not requested)
    assert bool(foretold.get("failed")) is refused
    assert any(text.endswith("s2; a run waits for it") for text in foretold["warnings"]) is not refused
    if refused:
        result = world.replicate(**options)
        assert [foretold[key] for key in (*FORETOLD, "msg")] == [result[key] for key in (*FORETOLD, "msg")]
    else:
        replica_.busy = False
        result = world.replicate(**options)
        assert [foretold[key] for key in FORETOLD] == [result[key] for key in FORETOLD]
