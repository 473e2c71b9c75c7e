# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role zfs_failover, with modules that only note what they are asked for and remember who serves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.cerss.zfs.tests.unit.test_jobs import Jobs, told

ANSWERS = """
import json, os, pathlib
STATE = pathlib.Path(__file__).with_name("state.json")

def answer(module, here, given, check):
    state = json.loads(STATE.read_text())
    if module in state["fails"]:
        return {"failed": True, "msg": f"{module} cannot do that"}
    result = globals()[module](state, here, given)
    if not check:
        STATE.write_text(json.dumps(state))
    return result

def item(id_, role, source, target, status):
    hosts = {"source_host": "b" if role == "replica" else None, "target_host": "b" if role == "source" else None}
    return {**hosts, "id": id_, "role": role, "source_dataset": source, "target_dataset": target, "state": status,
            "last_replicated": (source if role == "source" else target) + "@s1"}

def zfs_replication_info(state, here, given):
    found, forth = [], state["forth"]
    if here == "a" and forth:
        found.append(item("1", "source", "tank/f", "backup/f", state["status"]))
    if here == "b" and forth:
        found.append(item("1", "replica", "tank/f", "backup/f", forth))
    if state["back"]:
        role = "replica" if here == "a" else "source"
        status = state["back"] if role == "replica" else "active"
        found.append(item("2", role, "backup/f", "tank/f", status))
    return {"replications": found}

def zfs_dataset_info(state, here, given):
    key = {"encryption_root": given["name"][0], "key_loaded": False} if state["locked"] else {"encryption_root": None}
    return {"datasets": [{"name": name, **key} for name in given["name"]]}

def zfs_dataset(state, here, given):
    return {"changed": True, "actions": []}

def zfs_service(state, here, given):
    before = state["serves"][here]
    if given.get("state") != "out_of_service":
        assert not (here == "b" and state["forth"] == "active"), "a live replica"
        state["serves"][here] = True
    else:
        state["serves"][here] = False
    assert not all(state["serves"].values()), "both sides take writes"
    (name,) = given["name"]
    settings = {"name": name, "readonly": "off", "mountpoint": "/f", "canmount": None, "mounted": True, "local": []}
    return {"changed": True, "datasets": [{"name": name, "readonly": not before, "settings": settings}]}

def zfs_snapshot(state, here, given):
    (name,) = given["name"]
    return {"changed": True, "snapshots": [{"name": f"{name}@failover-1", "dataset": name}]}

def zfs_snapshot_replicate(state, here, given):
    return {"changed": True, "replicas": [{"state": state.get("arrives", "full"), "failed": False}]}

def zfs_replication(state, here, given):
    turned = given.get("name") == "backup/f"
    if given["state"] == "released":
        state["forth" if given["target"]["dataset"] == "backup/f" else "back"] = "released"
    elif given["state"] == "present":
        state["back" if turned else "forth"] = "active"
    else:
        state["back" if given["id"] == "2" else "forth"] = None
    return {"changed": True, "actions": ["release what hangs"]}

def zfs_rollback(state, here, given):
    return {"failed": True, "msg": "refused", "lost": {"snapshots": state["lost"], "bookmarks": [], "bytes": 0}}
"""


class Failover(Jobs):
    MODULES = (
        "zfs_dataset", "zfs_dataset_info", "zfs_replication", "zfs_replication_info", "zfs_rollback", "zfs_service",
        "zfs_snapshot", "zfs_snapshot_replicate",
    )  # fmt: skip
    ANSWERS = ANSWERS

    def __init__(self, folder: Path, **state: Any) -> None:
        super().__init__(folder)
        first: dict[str, Any] = {**BEGUN, "status": "active", "locked": False, "lost": [], "fails": []}
        self.file = folder / "state.json"
        self.file.write_text(json.dumps({**first, **state}))

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.file.read_text())
        return found

    def change(self, **state: Any) -> None:
        self.file.write_text(json.dumps({**self.state, **state}))

    def play(self, *more: str, playbook: str = "failover", rc: int = 0, source: str = "a", **variables: Any) -> str:
        given = {"name": "tank/f", "source_host": source, "target_host": "b", **variables}
        run = self.run(*more, playbook=playbook, **{f"zfs_failover_{name}": value for name, value in given.items()})
        assert run.returncode == rc, told(run)
        return told(run)

    def steps(self) -> list[str]:
        """What was changed: host, module, and what with."""
        return [
            f"{here} {name} {given.get('state') or given.get('key') or given['name'][0]}"
            for here, name, check, given in self.calls()
            if not (name.endswith("_info") or name == "rollback" or check)
        ]


FORTH = [
    "a snapshot tank/f", "a snapshot_replicate tank/f@failover-1", "a service out_of_service",
    "a snapshot tank/f", "a snapshot_replicate tank/f@failover-1", "b replication released",
    "b service in_service", "a replication present", "a replication absent",
]  # fmt: skip
BACK = [
    "b snapshot backup/f", "a snapshot_replicate backup/f@failover-1", "b service out_of_service",
    "b snapshot backup/f", "a snapshot_replicate backup/f@failover-1", "a replication released",
    "a service in_service", "a replication present", "a replication absent",
]  # fmt: skip
BEGUN = {"forth": "active", "back": None, "serves": {"a": True, "b": False}}
DONE = {"forth": None, "back": "active", "serves": {"a": False, "b": True}}
PARTED = {"forth": "released", "back": None, "serves": {"a": True, "b": False}}


def has(state: dict[str, Any], expected: dict[str, Any]) -> bool:
    return all(state[name] == value for name, value in expected.items())


def test_there_and_back(tmp_path: Path) -> None:
    failover = Failover(tmp_path)
    assert "backup/f on b serves" in failover.play(mode="", recursive="", key_file=None)
    assert failover.steps() == FORTH
    assert has(failover.state, DONE)
    calls = {(here, name): given for here, name, _check, given in failover.calls()}
    assert calls["b", "service"]["settings"] == [
        {"name": "backup/f", "readonly": "off", "mountpoint": "/f", "mounted": True, "local": []}
    ]
    assert calls["a", "replication"]["target"] == {"host": "b", "dataset": "backup/f"}
    failover.play()
    assert failover.steps() == []
    assert "tank/f on a serves" in failover.play(playbook="failback")
    assert failover.steps() == BACK
    assert has(failover.state, BEGUN)


@pytest.mark.parametrize(
    ("state", "left"),
    [
        ({"forth": "released", "serves": {"a": False, "b": False}}, [FORTH[2], *FORTH[6:]]),
        ({"forth": "released", "back": "active", "serves": {"a": False, "b": True}}, [FORTH[2], *FORTH[6:]]),
    ],
)
def test_the_next_run_continues(tmp_path: Path, state: dict[str, Any], left: list[str]) -> None:
    failover = Failover(tmp_path, **state)
    failover.play()
    assert failover.steps() == left
    assert has(failover.state, DONE)


def test_check_mode_changes_nothing(tmp_path: Path) -> None:
    for state, playbook in ((BEGUN, "failover"), (DONE, "failback")):
        folder = tmp_path / f"{playbook}-{state['forth']}"
        folder.mkdir()
        failover = Failover(folder, **state)
        before = failover.state
        failover.play("--check", playbook=playbook)
        assert failover.steps() == []
        assert failover.state == before
        assert any(check for _here, _name, check, _given in failover.calls())


def test_what_goes_wrong_before_the_release_gives_the_source_back(tmp_path: Path) -> None:
    failover = Failover(tmp_path, arrives="inbound")
    failover.play(rc=2)
    assert "service" not in str(failover.steps())  # the first increment failed while it served
    failover.change(arrives="full", fails=["zfs_snapshot"], serves={"a": False, "b": False})
    failover.play(rc=2)
    assert has(failover.state, {"forth": "active"})
    failover.change(fails=[])
    assert "tank/f on a serves" in failover.play(mode="cancel")
    assert has(failover.state, BEGUN)
    failover.change(forth="released")
    assert "backup/f on b has taken over already" in failover.play(mode="cancel", rc=2)


@pytest.mark.parametrize(
    ("state", "variables", "message"),
    [
        ({"status": "paused"}, {}, "the replication of tank/f is paused"),
        ({}, {"name": " "}, "zfs_failover_name is not set"),
        ({}, {"mode": "maybe"}, "value of zfs_failover_mode must be one of"),
        ({}, {"mode": "unplanned"}, "a answers and serves tank/f, so two sides would take writes"),
        ({"fails": ["zfs_service"]}, {"mode": "unplanned"}, "a answers, but it is not known whether"),
    ],
)  # fmt: skip
def test_what_stops_it_before_anything_changes(
    tmp_path: Path, state: dict[str, Any], variables: dict[str, Any], message: str
) -> None:
    failover = Failover(tmp_path, **state)
    before = failover.state
    assert message in " ".join(failover.play(rc=2, **variables).split())
    assert failover.state == before


@pytest.mark.parametrize(("source", "force"), [("gone", ""), ("a", "true")])
def test_without_the_source(tmp_path: Path, source: str, force: str) -> None:
    serves = {"a": False, "b": False}
    failover = Failover(tmp_path, locked=True, serves=serves)
    text = failover.play(source=source, mode="unplanned", force=force, key_file="/root/key", mountpoint="/srv")
    assert "the histories part at backup/f@s1" in text
    assert "release what hangs" in text
    assert failover.steps() == ["b dataset loaded", "b replication released", "b service in_service"]
    given = {name: options for _here, name, _check, options in failover.calls()}
    assert given["dataset"]["key_file"] == "/root/key"
    assert given["replication"]["on_active"] == "stop"
    assert given["service"]["settings"] == [{"name": "backup/f", "mountpoint": "/srv", "local": ["mountpoint"]}]


def test_failback_lists_what_would_be_lost(tmp_path: Path) -> None:
    failover = Failover(tmp_path, **PARTED, lost=["tank/f@x"])
    before = failover.state
    assert failover.play("--check", playbook="failback", on_divergence="reseed")
    text = " ".join(failover.play(playbook="failback", rc=2).split())
    assert "the histories have parted: on a tank/f has the snapshots tank/f@x after @s1. Nothing was changed." in text
    assert failover.state == before
    failover.change(serves={"a": False, "b": True})
    failover.play(playbook="failback", on_divergence="rollback")
    assert failover.steps() == ["a service out_of_service", "a replication present", "a replication absent", *BACK]
    assert has(failover.state, BEGUN)


@pytest.mark.parametrize(
    ("state", "left"),
    [
        (BEGUN, []),
        ({"forth": None, "back": "released", "serves": {"a": False, "b": False}}, [BACK[2], *BACK[6:]]),
        ({"forth": "active", "back": "released", "serves": {"a": True, "b": False}}, [BACK[2], *BACK[6:]]),
    ],
)
def test_the_next_failback_continues(tmp_path: Path, state: dict[str, Any], left: list[str]) -> None:
    failover = Failover(tmp_path, **state)
    if left:
        assert "run cerss.zfs.failback to its end first" in failover.play(rc=2)
    failover.play(playbook="failback")
    assert failover.steps() == left
    assert has(failover.state, BEGUN)


def test_the_host_that_takes_over_can_log_in(tmp_path: Path) -> None:
    failover = Failover(tmp_path)
    failover.play(login_from="target", source_address="192.0.2.7", login_user="op", login_ssh_options="A=b\nC=d")
    assert {here for here, name, _check, _given in failover.calls() if name == "snapshot_replicate"} == {"b"}
    sent = next(given for _here, name, _check, given in failover.calls() if name == "snapshot_replicate")
    assert (sent["source"], sent["target"]) == ({"host": "192.0.2.7"}, {"host": "local", "dataset": "backup/f"})
    assert sent["login"] == {"user": "op", "ssh_options": ["A=b", "C=d"]}
