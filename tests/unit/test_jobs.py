# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role zfs_jobs and its playbook, with modules that only note what they are asked for and give canned answers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.cerss.zfs.tests.unit import controller

ROOT = Path(__file__).parents[2]
MODULES = (
    "zfs_clone", "zfs_snapshot", "zfs_snapshot_info", "zfs_snapshot_replicate", "zfs_snapshot_prune",
    "zfs_replication_info",
)  # fmt: skip

# A module of that name
STUB = """#!/usr/bin/python
import json, os, runpy
from ansible.module_utils.basic import AnsibleModule

module = AnsibleModule(argument_spec=json.loads({spec!r}), supports_check_mode=True)
here = os.path.basename(module._remote_tmp)
given = {{key: value for key, value in module.params.items() if value is not None}}
with open({folder!r} + "/calls", "a") as file:
    file.write(json.dumps([here, {name!r}, module.check_mode, given]) + "\\n")
answer = runpy.run_path({folder!r} + "/answers.py")["answer"]({name!r}, here, given, module.check_mode)
(module.fail_json if answer.get("failed") else module.exit_json)(**{{"changed": False, **answer}})
"""

ANSWERS = """
def answer(module, here, given, check):
    return {module.replace("zfs_", ""): True, **globals()[module](here, given, check)}

def zfs_snapshot(here, given, check):
    names = [f"{name}@{given['snapshot'].replace('%F', '2026-11-28')}" for name in given["name"]]
    return {"changed": True, "actions": [f"create snapshot {name}" for name in names],
            "snapshots": [{"name": name, "dataset": name.partition("@")[0]} for name in names]}

def zfs_snapshot_replicate(here, given, check):
    replicas = []
    for target in given["targets"]:
        for name in given["name"]:
            dataset = name.partition("@")[0]
            host = target["host"]
            bad = "down" in host
            replicas.append({
                "id": None if bad else f"id-{dataset}-{host}", "source": name, "source_dataset": dataset,
                "target_host": None if host == "local" else host,
                "target": f"{host}:{target.get('parent')}", "state": "full", "base": None, "seconds": 1.5,
                "target_dataset": target.get("dataset") or f"{target['parent']}/{dataset.partition('/')[2]}",
                "failed": bad, "msg": f"{host} does not answer" if bad else "", "bytes_sent": None if check else 1024,
                "steps": [] if bad else [{"kind": "incremental"}],
            })
    failed = any(replica["failed"] for replica in replicas)
    more = {"failed": True, "msg": "some failed"} if failed else {}
    return {"changed": True, "replicas": replicas, "bytes_sent": None if check else 1024, **more}

def zfs_snapshot_prune(here, given, check):
    if here == "full":
        return {"failed": True, "msg": "cannot prune here"}
    pruned = [f"{name}@old" for name in given["name"] if "/" in name]
    kept = [{"name": f"{name}@new", "reasons": ["last 1"]} for name in given["name"]]
    failed = {"failed": True, "msg": "one is busy"} if "tank/busy" in given["name"] else {}
    return {"changed": True, "pruned": pruned, "kept": kept, "pending": [], "given_up": [], **failed}

def zfs_replication_info(here, given, check):
    late = given["max_lag"] == "1s"
    return {"replications": [
        {"id": f"id-{name}-{host}", "role": "source", "source": name, "lag_seconds": 5,
         "severity": "critical" if late else "ok", "problems": ["the replica is 5 s behind"] if late else []}
        for name in given["name"] for host in ("b", "c", "local", "192.0.2.9")
    ]}
"""


def used(name: str) -> set[str]:
    """The options that the roles give to a module."""
    tasks = [task for path in ROOT.glob("roles/*/tasks/*.yml") for task in yaml.safe_load(path.read_text())]
    tasks += [task for block in tasks for task in block.get("block", ())]
    return {option for task in tasks for option in task.get(f"cerss.zfs.{name}") or ()}


class Jobs:
    """A collection with the roles, the filter and the stubs; an inventory; and a playbook run on it."""

    MODULES: tuple[str, ...] = MODULES
    ANSWERS = ANSWERS
    HOSTS: Mapping[str, Mapping[str, Any]] = {
        "a": {},
        "b": {"ansible_host": "b"},
        "c": {"ansible_host": "192.0.2.9"},
        "full": {},
        "gone": {"ansible_connection": "ssh", "ansible_host": "0.0.0.0", "ansible_port": 1},
    }

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        collection = folder / "collections" / "ansible_collections" / "cerss" / "zfs"
        (collection / "plugins" / "modules").mkdir(parents=True)
        (collection / "meta").mkdir()
        (collection / "meta" / "runtime.yml").write_text("requires_ansible: '>=2.16.0'\n")
        for name in ("roles", "playbooks", "galaxy.yml", "plugins/filter", "plugins/module_utils"):
            (collection / name).symlink_to(ROOT / name)
        for name in self.MODULES:
            text = STUB.format(
                spec=json.dumps({option: {"type": "raw"} for option in used(name)}), folder=str(folder), name=name
            )
            (collection / "plugins" / "modules" / f"{name}.py").write_text(text)
        (folder / "answers.py").write_text(self.ANSWERS)
        (folder / "ssh").write_text("#!/bin/sh\n[ $1 = -G ] || exit 255\necho user me\necho hostname $3\n")
        (folder / "ssh").chmod(0o755)
        every = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "ansible_become": False,
            "ansible_remote_tmp": f"{folder}/remote/{{{{ inventory_hostname }}}}",
        }
        hosts = {
            name: {**values, "ansible_remote_tmp": f"{folder}/remote/{name}"} for name, values in self.HOSTS.items()
        }
        inventory = {"all": {"vars": every, "children": {"backends": {"hosts": hosts}}}}
        (folder / "inventory.yml").write_text(json.dumps(inventory))

    def run(
        self, *more: str, playbook: str = "jobs", play: str = "", hosts: str = "a", **variables: Any
    ) -> subprocess.CompletedProcess[str]:
        (self.folder / "calls").write_text("")
        settings = {
            "COLLECTIONS_PATH": str(self.folder / "collections"),
            "HOME": str(self.folder / "ansible"),
            "LOCAL_TEMP": str(self.folder / "tmp"),
            "LOCALHOST_WARNING": "false",
            "NOCOLOR": "true",
            "PIPELINING": "true",
            "SHOW_CUSTOM_STATS": "true",
            "STDOUT_CALLBACK": "default",
        }
        environment = controller.environment(settings)
        environment["PATH"] = f"{self.folder}:{Path(sys.executable).parent}:{environment['PATH']}"
        given = json.dumps({f"{playbook}_hosts": hosts, **variables})
        argv = ["ansible-playbook", "-i", "inventory.yml", play or f"cerss.zfs.{playbook}", "-e", given, *more]
        return subprocess.run(argv, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)

    def calls(self) -> list[tuple[str, str, bool, dict[str, Any]]]:
        """(host, module without zfs_, check mode, options) in order."""
        lines = (self.folder / "calls").read_text().splitlines()
        return [(host, name.replace("zfs_", ""), check, given) for host, name, check, given in map(json.loads, lines)]


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return Jobs(tmp_path)


PATTERN = "nightly-[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]"
JOBS = """
- name: nightly
  datasets: [tank/db, tank/wal]
  snapshot: {name: nightly-%F, min_age: 20h}
  targets:
    - {host: gone, parent: backup}
    - {host: elsewhere, parent: backup, include: {monthly: 1}}
    - {host: down, parent: backup}
    - {host: full, parent: backup}
    - {host: a, parent: spare}
    - {host: b, parent: backup, max_lag: 1s}
    - {host: c, parent: backup}
  keep: {daily: 7}
  keep_on_targets: {daily: 60}
  max_lag: 26h
- {name: hourly, datasets: tank/db, snapshot: {name: hourly-%F}, keep: {last: 7}}
"""


def told(run: subprocess.CompletedProcess[str]) -> str:
    return run.stdout + run.stderr


def test_a_job_takes_sends_prunes_and_checks_and_what_fails_stops_nothing_else(jobs: Jobs) -> None:
    """Neither another step, job, target or host."""
    run = jobs.run(hosts="a,gone", zfs_jobs=JOBS)
    assert run.returncode == 4, told(run)  # for the host that is unreachable
    calls = jobs.calls()
    steps = [(where, name, given) for where, name, _check, given in calls if "backup/wal" in json.dumps(given)]
    assert {(where, given["name"][0]) for where, name, given in steps if name == "snapshot_prune"} == {
        (where, "backup/db") for where in ("b", "c", "full")
    }

    mine = [(name, given) for where, name, _check, given in calls if where == "a"]
    assert [name for name, _given in mine] == [
        "snapshot", "snapshot_replicate", "snapshot_prune", "snapshot_prune", "replication_info", "replication_info",
        "snapshot", "snapshot_prune",
    ]  # fmt: skip
    (_taken, taken), (_sent, sent), (_source, source), (_spare, spare), *lags = mine[:6]
    assert (taken["snapshot"], taken["min_age"], taken["name"]) == ("nightly-%F", "20h", ["tank/db", "tank/wal"])
    assert (sent["job"], sent["include_snapshots"], sent["name"]) == ("nightly", [PATTERN], ["tank/db", "tank/wal"])
    assert [target["host"] for target in sent["targets"]] == [
        "0.0.0.0", "elsewhere", "down", "full", "local", "b", "192.0.2.9",
    ]  # fmt: skip
    assert sent["targets"][1]["include"] == {"monthly": 1}
    assert (source["name"], source["match"], source["keep"]) == (["tank/db", "tank/wal"], [PATTERN], {"daily": 7})
    assert (spare["name"], spare["match"], spare["keep"]) == (["spare/db", "spare/wal"], [PATTERN], {"daily": 60})
    assert [given["max_lag"] for _name, given in lags] == ["26h", "1s"]

    (failed,) = re.findall(r'fatal: \[a\]: FAILED! => .*"msg": "(nightly, .*)"', run.stdout)
    assert [part.split(":")[0] for part in failed.split("; nightly, ")] == [
        "nightly, gone", "down", "down", "full", "b", "b",
    ]  # fmt: skip
    assert "down:backup: tank/db: down does not answer" in failed
    assert "full:backup: cannot prune here" in failed
    assert "b:backup: tank/db: the replica is 5 s behind" in failed
    assert re.search(r"^a .* unreachable=0 ", run.stdout, re.MULTILINE)
    assert re.search(r'"nightly  c:backup .* 2 of 2  2.0 KiB  2 .*  ok"', run.stdout)
    assert re.search(r'"nightly  elsewhere:backup .*  -       -    ok"', run.stdout)
    assert "nightly, elsewhere:backup: not pruned by this job" in run.stdout
    (statistics,) = re.findall(r"RUN: (\{.*\})", run.stdout)
    assert {host: len(rows) for host, rows in json.loads(statistics)["zfs_jobs_results"].items()} == {"a": 9}


def test_check_mode_sends_what_it_would_take(jobs: Jobs) -> None:
    run = jobs.run("--check", "--skip-tags", "zfs_jobs_check", zfs_jobs_host=JOBS, zfs_jobs_only="nightly")
    assert run.returncode == 2, told(run)
    calls = jobs.calls()
    assert all(check for _host, _name, check, _given in calls)
    assert calls[1][3]["upcoming"] == ["tank/db@nightly-2026-11-28", "tank/wal@nightly-2026-11-28"]
    assert calls[2][3]["upcoming"] == calls[1][3]["upcoming"]
    assert "Nothing was changed; this is what a run would do now:" in run.stdout
    assert {name for _host, name, _check, _given in calls} == {"snapshot", "snapshot_replicate", "snapshot_prune"}


@pytest.mark.parametrize("step", ["snapshot", "replicate"])
def test_a_tag_chooses_the_step(jobs: Jobs, step: str) -> None:
    jobs.run("--tags", f"zfs_jobs_{step}", zfs_jobs_host=JOBS, zfs_jobs_only="nightly")
    name = {"replicate": "snapshot_replicate"}.get(step, step)
    assert [called for _host, called, _check, _given in jobs.calls()] == [name]


def test_nothing_is_done_if_anything_is_wrong(jobs: Jobs) -> None:
    run = jobs.run(zfs_jobs=JOBS, zfs_jobs_group=[{"name": "nightly", "keeps": {}}])
    assert run.returncode == 2
    assert '"msg": "job nightly has no key keeps; the keys are datasets, enabled' in run.stdout
    assert jobs.calls() == []
