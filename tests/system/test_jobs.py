# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role zfs_jobs and its playbook: a job four times, targets that fail, and hosts side by side."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from typing import Any

from harness import Ansible, Backend, Result, diff_dumps

MODULES = {
    "Take the snapshots": "snapshot",
    "Replicate to the targets": "replicate",
    "Prune the source": "prune",
    "Prune the replicas": "prune there",
}
HOURLY: dict[str, Any] = {
    "name": "hourly",
    "datasets": ["tank/db", "tank/home"],
    "recursive": True,
    "exclude": ["tank/home/scratch"],
    "snapshot": {"name": "m-%Y-%m-%d_%H", "min_age": "30s"},
    "match": "old-*",
    "keep": {"last": 2},
    "keep_on_targets": {"last": 3},
    "max_lag": "1h",
}


def dumps(backends: list[Backend]) -> dict[str, Any]:
    return {f"{backend.name}:{name}": value for backend in backends for name, value in backend.dump().items()}


def run(ansible: Ansible, jobs: list[Mapping[str, Any]], check: bool, host: str = "backend-a") -> list[Result]:
    play = {"hosts": host, "gather_facts": False, "check_mode": check, "diff": True,
            "roles": [{"role": "cerss.zfs.zfs_jobs", "vars": {"zfs_jobs": jobs}}]}  # fmt: skip
    return ansible.play([play])


def told(results: list[Result]) -> dict[str, tuple[bool, list[str], list[Any]]]:
    """Of each module whether it changed something, its actions and its diff; all items of a loop together."""
    found = {}
    for result in results:
        step = MODULES.get(result["_task"].rpartition(" : ")[2])
        if step:
            items = result.get("results") or [result]
            found[step] = (
                bool(result.get("changed")),
                [text for item in items for text in item.get("actions") or []],
                [item.get("diff") for item in items if item.get("diff")],
            )
    return found


def table(results: list[Result]) -> list[str]:
    return next(list(r["msg"]) for r in results if r["_task"].endswith("Show what came of each job"))


def not_the_end_of_an_hour(backend: Backend) -> None:
    """Wait for it, so that a check run and the real one take a snapshot of the same name: each lasts minutes here."""
    minute = int(backend.run("date +%M").stdout)
    if minute > 50:
        time.sleep(61 * (60 - minute))


def names(backend: Backend, root: str) -> list[str]:
    found = backend.zfs("list", "-Ho", "name", "-t", "snapshot", "-s", "createtxg", "-r", root).split()
    return [name for name in found if not name.startswith(f"{root}@")]


def filled(backends: list[Backend]) -> tuple[Backend, Backend]:
    a, b = backends[:2]
    a.run("zfs create tank/db && zfs create tank/home && zfs create tank/home/ann && zfs create tank/home/scratch")
    for number in range(1, 4):
        a.fill("tank/db", 1, number)
        a.run(f"zfs snapshot tank/db@old-{number} && zfs snapshot tank/home/ann@other-{number}")
    return a, b


def test_a_job_four_times(ansible: Ansible, backends: list[Backend]) -> None:
    a, b = filled(backends)
    targets = [
        {"host": "backend-b", "parent": "backup/site"},
        {"host": "backend-a", "parent": "backup/here", "include_snapshots": "m-*"},
        {"host": b.address, "parent": "backup/address", "intermediates": False},
    ]
    job = {**HOURLY, "targets": targets, "replicate": {"parallel": 2}}
    not_the_end_of_an_hour(a)
    before = dumps(backends)
    check = run(ansible, [job], check=True)
    assert not diff_dumps(before, dumps(backends))
    real = run(ansible, [job], check=False)
    foretold = {step: each for step, each in told(check).items() if step != "prune there"}  # nothing is there yet
    assert {step: each for step, each in told(real).items() if step in foretold} == foretold
    assert {step: changed for step, (changed, _actions, _diff) in told(real).items()} == {
        "snapshot": True, "replicate": True, "prune": True, "prune there": True,
    }  # fmt: skip

    made = [name for name in names(a, "tank") if "@m-" in name]
    assert [name.partition("@")[0] for name in made] == ["tank/db", "tank/home", "tank/home/ann"]
    new = made[0].partition("@")[2]
    assert [name for name in names(a, "tank") if "/db@" in name] == ["tank/db@old-3", f"tank/db@{new}"]
    assert [name for name in names(b, "backup/site") if "/db@" in name] == [
        "backup/site/db@old-2", "backup/site/db@old-3", f"backup/site/db@{new}",
    ]  # fmt: skip
    assert [name for name in names(a, "backup/here") if "/db@" in name] == [f"backup/here/db@{new}"]
    assert not [name for name in names(b, "backup/site") if "other" in name or "scratch" in name]
    assert a.checksum(made[2]) == b.checksum(f"backup/site/home/ann@{new}")
    assert f"hourly, {b.address}:backup/address: not pruned by this job" in "\n".join(table(real))

    again = {**job, "snapshot": {**HOURLY["snapshot"], "min_age": "1d"}}
    before = dumps(backends)
    for check_mode in (True, False):
        results = run(ansible, [again], check_mode)
        assert not [step for step, (changed, actions, _diff) in told(results).items() if changed or actions]
        assert not any(result.get("changed") for result in results)
    assert not diff_dumps(before, dumps(backends))


SURVEY = """
- name: twice
  datasets: tank/db
  snapshot: {name: t-%Y-%m-%d_%H-%M-%S}
  targets:
    - {host: 192.168.77.250, parent: backup, ssh_options: ConnectTimeout=3}
    - {host: backend-a, parent: backup/of-a}
    - {host: backend-b, parent: backup/of-b}
  replicate: {retries: 0}
  keep: {last: 1}
  keep_on_targets: {last: 1}
- {name: local, datasets: tank/db, match: nothing-*, keep: {last: 1}}
"""


def test_what_fails_stops_neither_targets_nor_jobs_nor_hosts(ansible: Ansible, backends: list[Backend]) -> None:
    """One target does not answer, and one of the hosts lacks the dataset."""
    a, b = filled(backends)
    for count in (1, 2):
        done = ansible.playbook("jobs", jobs_hosts="backends", zfs_jobs=SURVEY)
        assert done.returncode == 2
        sentences = dict(
            re.findall(r'^fatal: \[(backend-[ab])\]: FAILED! => .*"msg": "(twice, .*)"', done.stdout, re.M)
        )
        assert re.fullmatch(r"twice, 192\.168\.77\.250:backup: tank/db: .*", sentences["backend-a"])
        assert "tank/db does not exist" in sentences["backend-b"]
        assert re.search(r'"twice +backup/of-a +- +1 of 1 .* ok"', done.stdout), done.stdout
        assert re.search(r'"twice +backend-b:backup/of-b +- +1 of 1 .* ok"', done.stdout), done.stdout
        (statistics,) = re.findall(r"RUN: (\{.*\})", done.stdout)
        rows = json.loads(statistics)["zfs_jobs_results"]
        assert {host: len(of_host) for host, of_host in rows.items()} == {"backend-a": 5, "backend-b": 5}
        assert [row["sent"] for row in rows["backend-a"]][1:4] == [0, 1, 1]
        for backend, root in (a, "backup/of-a"), (b, "backup/of-b"):
            assert len(names(backend, root)) == 1, count
