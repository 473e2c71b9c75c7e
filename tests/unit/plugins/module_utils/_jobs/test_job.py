# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A declaration is completed for one host: what is sent and pruned where, and which limits count."""

from __future__ import annotations

from typing import Any

import pytest
from yaml import safe_load

from ansible_collections.cerss.zfs.plugins.module_utils._core.names import matches
from ansible_collections.cerss.zfs.plugins.module_utils._jobs import job
from ansible_collections.cerss.zfs.plugins.module_utils._jobs.job import Where

NIGHTLY = """
name: nightly
datasets: [tank/db]
snapshot: {name: nightly-%F}
targets:
  - {host: b, parent: backup/a}
  - {host: elsewhere, parent: archive, include: {monthly: 1}, user: me, keep: {yearly: 3}}
  - {host: a, parent: spare, prune: false, max_lag: 1h}
keep: {daily: 7}
keep_on_targets: {daily: 60}
within_on_targets: {hourly: 2d}
max_lag: 26h
warn_lag: 25h
"""
HERE = Where("a", ("a", "b"), {"b": "192.0.2.2"})


def completed(text: str = "{}", where: Where = HERE) -> dict[str, Any]:
    found = job.plan({"zfs_jobs": [{**safe_load(NIGHTLY), **safe_load(text)}]}, where)
    assert found["problems"] == []
    (one,) = found["jobs"]
    return dict(one)


def test_a_job_is_about_what_its_template_makes() -> None:
    (pattern,) = completed()["match"]
    assert matches("nightly-2026-11-28", [pattern])
    assert not matches("nightly-2026-11-28_00-00", [pattern])
    assert not matches("hourly-2026-11-28", [pattern])
    assert completed()["replicate"] == {"include_snapshots": [pattern]}


def test_what_expires_is_pruned_without_other_rules() -> None:
    short = "snapshot: {name: nightly-%F, expires: 2d}"
    assert completed(f"{{{short}, keep: null}}")["prune"] == {"expired_only": True}
    assert completed(f"{{{short}}}")["prune"] == {"keep": {"daily": 7}}
    assert completed("keep: null")["prune"] == {}


def test_match_widens_it_and_a_job_without_both_sends_all() -> None:
    assert completed("match: old-*")["match"][1:] == ["old-*"]
    bare = (
        "{snapshot: null, keep: null, keep_on_targets: null, within_on_targets: null, targets: [{host: b, parent: c}]}"
    )
    assert completed(bare)["replicate"] == {"include_snapshots": []}
    assert completed("replicate: {include_snapshots: x-*, parallel: 3}")["replicate"] == {
        "include_snapshots": ["x-*"], "parallel": 3,
    }  # fmt: skip


def test_where_the_targets_are() -> None:
    names = [(each["name"], each["inventory_host"], each["options"]["host"]) for each in completed()["targets"]]
    assert names == [
        ("b:backup/a", "b", "192.0.2.2"),
        ("elsewhere:archive", None, "elsewhere"),
        ("spare", "a", "local"),
    ]


def test_what_a_target_says_itself_comes_first() -> None:
    b, elsewhere, spare = completed()["targets"]
    assert b["prune"] == {"keep": {"daily": 60}, "within": {"hourly": "2d"}}
    assert elsewhere["prune"] == {"keep": {"yearly": 3}}
    assert spare["prune"] == {}
    limits = [(each["max_lag"], each["warn_lag"]) for each in (b, elsewhere, spare)]
    assert limits == [("26h", "25h"), (None, None), ("1h", "25h")]
    assert elsewhere["options"] == {
        "host": "elsewhere", "parent": "archive", "include": {"monthly": 1}, "user": "me",
    }  # fmt: skip


def test_only_hosts_of_the_inventory_without_address_need_one() -> None:
    bare = Where("a", ("a", "b"))
    assert job.plan({"zfs_jobs": [safe_load(NIGHTLY)]}, bare)["unknown"] == ["b"]
    given = {**safe_load(NIGHTLY), "targets": [{"host": "b", "parent": "backup", "address": "10.0.0.2"}]}
    assert job.plan({"zfs_jobs": [given]}, bare)["unknown"] == []
    assert completed("targets: [{host: b, parent: c, address: fd00::2}]")["targets"][0]["name"] == "b:c"
    assert completed("targets: [{host: 'fd00::2', parent: c}]")["targets"][0]["name"] == "[fd00::2]:c"


@pytest.mark.parametrize(
    ("answer", "ansible_host", "address"),
    [
        ("user root\nhostname 10.0.0.2\nport 22\n", "192.0.2.2", "b"),
        ("user root\nhostname b\nport 22\n", "192.0.2.2", "192.0.2.2"),
        ("hostname B\n", "", "b"),
        ("", "192.0.2.2", "192.0.2.2"),
        ("", "127.0.0.1", "b"),
        (None, "", "b"),
    ],
)
def test_the_address_of_a_target(answer: str | None, ansible_host: str, address: str) -> None:
    assert job.addresses([{"item": "b", "stdout": answer}], [ansible_host]) == {"b": address}
    assert job.addresses([{"item": "b"}], [""]) == {"b": "b"}


def test_which_jobs_run() -> None:
    lists = {"zfs_jobs": [{"name": "a", "enabled": False}, {**safe_load(NIGHTLY), "name": "b"},
                          {**safe_load(NIGHTLY), "name": "c"}]}  # fmt: skip
    assert [each["name"] for each in job.plan(lists, HERE)["jobs"]] == ["b", "c"]
    assert [each["name"] for each in job.plan(lists, HERE, "c, a")["jobs"]] == ["c"]
    assert job.plan(lists, HERE, ["x"])["problems"] == ["zfs_jobs_only: there is no job x; the jobs here are a, b, c"]
    assert job.plan({}, HERE, ["x"])["problems"] == ["zfs_jobs_only: there is no job x; there are no jobs here"]
    assert job.plan({}, HERE) == {"jobs": [], "problems": [], "unknown": []}


def test_nothing_runs_if_anything_is_wrong() -> None:
    found = job.plan({"zfs_jobs": [safe_load(NIGHTLY), {"name": "x", "keeps": {}}]}, HERE)
    assert found["jobs"] == []
    assert len(found["problems"]) > 1
