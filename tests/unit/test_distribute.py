# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role zfs_distribute and its playbook, with modules that only note what they are asked for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.cerss.zfs.tests.unit.test_jobs import ROOT, Jobs

# v2 arrives on hosts that have v0, which is deleted, and v1.
ANSWERS = """
def answer(module, here, given, check):
    return globals()[module](here, given, check)

def zfs_snapshot_replicate(here, given, check):
    if here == "full":
        return {"failed": True, "msg": "no space", "replicas": [{"failed": True}]}
    new = here == "c"
    return {"changed": True, "replicas": [{
        "source": "tank/img@v2", "target_dataset": given["target"]["dataset"], "snapshot": "v2",
        "state": "absent" if check or new else "full", "bytes_sent": None if check else 4096, "msg": None,
        "steps": [{"kind": "full" if new and check else "incremental"}] if check or not new else [],
    }]}

def zfs_snapshot_info(here, given, check):
    def snap(name, txg, state, *clones):
        return {"snapshot": name, "createtxg": txg, "state": state, "dependents": {"clones": clones, "holds": []}}
    there = [snap("v0", 1, "pending_delete", "tank/a-v0"), snap("v1", 2, "full", "tank/a-v1", "tank/b", "tank/else")]
    return {"snapshots": there + ([] if check else [snap("v2", 3, "full")])}

def zfs_clone(here, given, check):
    kept = {"tank/a-v1": "tank/a-v1 is in use"}
    return {"changed": True, "clones": [
        {"name": name, "failed": False, "kept": kept.get(name) if given.get("unused_only") else None}
        for name in given["name"]]}

def zfs_snapshot_prune(here, given, check):
    return {"changed": True, "pruned": [], "pending": [f"{given['name'][0]}@{name}" for name in given["match"]]}
"""
BLANK = dict.fromkeys(yaml.safe_load((ROOT / "roles" / "zfs_distribute" / "defaults" / "main.yml").read_text()), "")
GIVEN = {"zfs_distribute_snapshot": "tank/img@v2", "zfs_distribute_clones": "tank/a-{snapshot}\n tank/b\n"}


class Distribution(Jobs):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "answers.py").write_text(ANSWERS)

    def distribute(self, *more: str, **variables: Any) -> str:
        run = self.run(*more, playbook="distribute", **{"hosts": "b", **GIVEN, **variables})
        self.rc = run.returncode
        return run.stdout + run.stderr


@pytest.fixture
def given(tmp_path: Path) -> Distribution:
    return Distribution(tmp_path)


def told(text: str) -> list[str]:
    """The report of a host."""
    return re.findall(r'^ +"(.*)",?$', text, re.MULTILINE)


def test_a_version_is_pulled_cloned_and_the_older_ones_go(given: Distribution) -> None:
    text = given.distribute(zfs_distribute_source_host="images", zfs_distribute_replace="true")
    assert given.rc == 0, text
    calls = [(name, options) for _host, name, _check, options in given.calls()]
    assert [name for name, _options in calls] == [
        "snapshot_replicate", "snapshot_info", "clone", "clone", "snapshot_prune", "clone",
    ]  # fmt: skip
    (_a, sent), (_b, _read), (_c, replaced), (_d, created), (_e, pruned), (_f, removed) = calls
    assert sent == {
        "name": ["tank/img@v2"], "include_snapshots": [], "intermediates": False, "source": {"host": "images"},
        "target": {"dataset": "tank/img"},
    }  # fmt: skip
    assert replaced == {"name": ["tank/b"], "state": "absent", "unused_only": True}
    assert (created["name"], created["snapshot"]) == (["tank/a-v2", "tank/b"], "tank/img@v2")
    assert (pruned["match"], pruned["older_than"], pruned["upcoming"]) == (["v1"], "1s", ["tank/img@v2"])
    assert removed == {"name": ["tank/a-v1", "tank/a-v0"], "state": "absent", "unused_only": True}
    assert told(text) == [
        "tank/img@v2: sent as an increment, 4096 bytes",
        "tank/b: removed",
        "tank/a-v0: removed",
        "tank/a-v2: created",
        "tank/b: created",
        "kept: tank/a-v1 is in use",
        "@v0: deleted",
        "@v1: pending deletion",
    ]


def test_check_mode_creates_what_it_can_foresee(given: Distribution) -> None:
    text = given.distribute("--check", hosts="b,c", zfs_distribute_source_host="images", zfs_distribute_replace=True)
    assert given.rc == 0, text
    calls = given.calls()
    assert all(check for _host, _name, check, _options in calls)
    mine = [(name, options.get("name")) for host, name, _check, options in calls if host == "b"]
    assert ("clone", ["tank/a-v2"]) in mine  # tank/b is still there
    assert "tank/b: would be created" in told(text)
    # What is to come counts as the newest there, so that the one before it may go.
    ((_b, _name, _check, pruning),) = [call for call in calls if call[1] == "snapshot_prune"]
    assert pruning["match"] == ["v1", "v2"]
    # Where the image is new there is nothing to look at.
    assert [name for host, name, _check, _options in calls if host == "c"] == ["snapshot_replicate"]


@pytest.mark.parametrize(
    ("variables", "host", "sent"),
    [
        ({"push_host": "a"}, "a", {"source": {}, "target": {"host": "b", "dataset": "tank/img"}}),
        ({"push_host": "a", "address": "192.0.2.2", "replica": "tank/x"}, "a",
         {"source": {}, "target": {"host": "192.0.2.2", "dataset": "tank/x"}}),
        ({"source_host": "b"}, "b", {"source": {}, "target": {"host": "local", "dataset": "tank/img"}}),
        ({"push_host": "b"}, "b", {"source": {}, "target": {"host": "local", "dataset": "tank/img"}}),
        ({}, "b", {"source": {}, "target": {"host": "local", "dataset": "tank/img"}}),
        ({"source_host": "images", "login_user": "x", "login_port": "", "login_ssh_options": "A=b\nC=d",
          "match": "v*, w*", "bandwidth_limit": "1M"}, "b",
         {"login": {"user": "x", "ssh_options": ["A=b", "C=d"]}, "include_snapshots": ["v*", "w*"],
          "bandwidth_limit": "1M"}),
    ],
)  # fmt: skip
def test_who_sends(given: Distribution, variables: dict[str, str], host: str, sent: dict[str, Any]) -> None:
    asked = {f"zfs_distribute_{name}": value for name, value in variables.items()}
    text = given.distribute(**{**BLANK, **GIVEN, **asked})
    assert given.rc == 0, text
    (where, _name, _check, options) = given.calls()[0]
    assert (where, {name: options.get(name) for name in sent}) == (host, sent)


@pytest.mark.parametrize("serial", ["", "1", "50%"])
def test_a_host_that_is_down_or_full_stops_no_other(given: Distribution, serial: str) -> None:
    hosts = "gone,full,c,a,b"
    text = given.distribute(hosts=hosts, distribute_serial=serial, zfs_distribute_source_host="images")
    assert given.rc == 2, text
    done = {host for host, name, _check, _options in given.calls() if name == "clone"}
    assert done == {"a", "b"}
    play = text[text.index("PLAY [Tell which hosts failed]") :]
    failed = dict(re.findall(r'fatal: \[(\w+)\]: FAILED! => \{.*"msg": "(.*)"\}', play))
    assert failed.keys() == {"gone", "full", "c"}
    assert failed["full"] == "no space"
    assert "over ssh" in failed["gone"].lower() or "connect" in failed["gone"]
    assert failed["c"].endswith("has a newer snapshot and not this one; distribute a newer version")


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"snapshot": ""}, "zfs_distribute_snapshot: "),
        ({"clones": ["backup/x"]}, "backup/x is not below the pool tank of the replica tank/img"),
        ({"versions": "0"}, "zfs_distribute_versions: '0' is not a number from 1"),
        ({"keep": ["re:("]}, "zfs_distribute_keep: 're:(' is not a regular expression"),
    ],
)
def test_nothing_is_done_if_a_variable_is_wrong(given: Distribution, variables: dict[str, Any], problem: str) -> None:
    text = given.distribute(**{f"zfs_distribute_{name}": value for name, value in variables.items()})
    assert given.rc == 2
    assert problem in text
    assert given.calls() == []
