# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles with flat variables hand over to their modules, which only note it here, and what they report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.cerss.zfs.tests.unit.test_jobs import Jobs


@pytest.mark.parametrize(
    ("playbook", "variables", "wanted"),
    [
        ("prune", {"name": "tank/a, b/c\n", "keep_last": "0"}, {"name": ["tank/a", "b/c"], "keep": {"last": "0"}}),
        ("prune", {"keep_last": 0, "within_daily": "30d"}, {"keep": {"last": 0}, "within": {"daily": "30d"}}),
        ("prune", {"keep_last": "", "keep_daily": None}, {"keep": None, "within": None, "select": None, "match": None}),
        # Half of a choice is not all of it.
        ("prune", {"select_value": "nightly"}, {"select": {"property": "", "value": "nightly"}}),
        # An empty list is nothing to do, and not all.
        ("prune", {"match": [], "name": []}, {"match": [], "name": []}),
        ("prune", {"match": ["re:a{1,2}"], "exclude": [["x,y", "z"], 7]},
         {"match": ["re:a{1,2}"], "exclude": ["x,y", "z", "7"]}),
        ("prune", {"match": "a*, b*", "exclude": None}, {"match": ["a*", "b*"], "exclude": []}),
        ("replicate", {"exclude": [["x", "y"], "re:z{1,2}"], "include_snapshots": "a*,b*", "exclude_snapshots": None},
         {"exclude": ["x", "y", "re:z{1,2}"], "include_snapshots": ["a*", "b*"], "exclude_snapshots": []}),
        ("replicate", {"login_user": "cerss", "login_port": "", "login_ssh_options": "A=b\nC=d"},
         {"login": {"user": "cerss", "ssh_options": ["A=b", "C=d"]}}),
        ("replicate", {"select_value": "nightly"}, {"login": None, "select": {"property": "", "value": "nightly"}}),
    ],
)  # fmt: skip
def test_options(tmp_path: Path, playbook: str, variables: dict[str, Any], wanted: dict[str, Any]) -> None:
    jobs = Jobs(tmp_path)
    targets = {"targets": [{"host": "b", "parent": "p"}]} if playbook == "replicate" else {}
    given: dict[str, Any] = {"name": ["tank/a"], **targets, **variables}
    run = jobs.run(playbook=playbook, **{f"zfs_{playbook}_{name}": value for name, value in given.items()})
    ((_host, _module, _check, options),) = jobs.calls()
    assert {name: options.get(name) for name in wanted} == wanted, run.stdout


@pytest.mark.parametrize("more", [(), ("--check",)])
def test_each_dataset_is_reported_also_if_one_fails(tmp_path: Path, more: tuple[str, ...]) -> None:
    jobs = Jobs(tmp_path)
    run = jobs.run(*more, playbook="prune", zfs_prune_name=["copy", "tank/DB", "tank/busy", "tank/db"])
    lines = [line.strip(' ",') for line in run.stdout.splitlines()]
    begin = lines.index("copy: prune 0, keep 1")
    assert lines[begin : begin + 5] == [
        "copy: prune 0, keep 1",
        "tank/DB: prune 1 (@old), keep 1",
        "tank/busy: prune 1 (@old), keep 1",
        "tank/db: prune 1 (@old), keep 1",
        "in all: prune 3, keep 4",
    ]
    assert run.returncode == 2
    assert '"msg": "one is busy"' in run.stdout


@pytest.mark.parametrize(("check", "sent"), [(True, "would be sent"), (False, "sent")])
def test_check_mode_of_a_play_counts_too(tmp_path: Path, check: bool, sent: str) -> None:
    jobs = Jobs(tmp_path)
    play = {"hosts": "a", "gather_facts": False, "check_mode": check, "roles": ["cerss.zfs.zfs_replicate"]}
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    targets = [{"host": "b", "parent": "p"}]
    run = jobs.run(play="play.yml", zfs_replicate_name="tank/a", zfs_replicate_targets=targets)
    assert f"tank/a -> b:p: {sent} (incremental" in run.stdout
    assert f"1 in all, 1 {sent}, 0 failed" in run.stdout
