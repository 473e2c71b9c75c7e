# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook cerss.zfs.replicate as a user or a survey calls it."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from harness import CLONE, Ansible, Backend, diff_dumps
from yaml import safe_load

# What a survey hands over for a field that was left blank, for every variable that may be blank
BLANK = dict.fromkeys(safe_load((CLONE / "roles/zfs_replicate/defaults/main.yml").read_text()), "")
RIGHTS = {
    "tank": "send,hold,release,bookmark,userprop,destroy,mount",
    "backup": "create,mount,receive,hold,release,userprop,readonly,canmount,destroy",
}


def replicate(ansible: Ansible, *options: str, **variables: Any) -> subprocess.CompletedProcess[str]:
    return ansible.playbook("replicate", *options, **{"zfs_replicate_target_host": "backend-b", **variables})


def dumps(backends: list[Backend]) -> dict[str, Any]:
    return {f"{backend.name}:{name}": value for backend in backends for name, value in backend.dump().items()}


def test_survey(ansible: Ansible, backends: list[Backend]) -> None:
    a, b = backends[:2]
    a.run("zfs create tank/f && zfs create -V 16M tank/z && zfs create tank/f/below")
    for dataset in ("tank/f", "tank/z", "tank/f/below"):
        a.fill(dataset, 2)
    a.run("zfs snapshot -r tank@s1")
    survey = {
        **BLANK,
        "replicate_hosts": "backend-a\n",
        "zfs_replicate_name": "tank/f, tank/z\n",
        "zfs_replicate_recursive": "true",
        "zfs_replicate_retries": "1",
        "zfs_replicate_exclude": "*/nothing\n*/else",
        "zfs_replicate_include_snapshots": ["re:[st]\\d{1,2}"],
        "zfs_replicate_properties": "compression=zstd",
        "zfs_replicate_target_host": "backend-b",
        "zfs_replicate_target_parent": "backup/site",
    }
    # The peer is not among the hosts of the run.
    options = ("--limit", "backend-a")
    before = dumps(backends)
    check = replicate(ansible, *options, "--check", **survey)
    assert check.returncode == 0, check.stdout
    assert "tank/z@s1 -> backend-b:backup/site/z: would be sent (full)" in check.stdout
    assert "3 in all, 3 would be sent, 0 failed" in check.stdout
    assert not diff_dumps(before, dumps(backends))

    real = replicate(ansible, *options, **survey)
    assert real.returncode == 0, real.stdout
    assert "3 in all, 3 sent, 0 failed" in real.stdout
    for path in ("f", "z", "f/below"):
        assert a.checksum(f"tank/{path}@s1") == b.checksum(f"backup/site/{path}@s1")
        assert b.zfs("get", "-Ho", "value", "compression", f"backup/site/{path}").strip() == "zstd"

    again = replicate(ansible, *options, **survey)
    assert again.returncode == 0, again.stdout
    assert "tank/f@s1 -> backend-b:backup/site/f: nothing to send, full" in again.stdout
    assert "changed=0" in again.stdout


def test_failed_volume_is_named(ansible: Ansible, backends: list[Backend]) -> None:
    a, b = backends[:2]
    a.run("zfs create tank/f && zfs snapshot tank/f@s1")
    variables = {"zfs_replicate_name": ["tank/nope", "tank/f"], "zfs_replicate_target_parent": "backup"}
    done = replicate(ansible, replicate_hosts="backend-a", **variables)
    assert done.returncode == 2
    assert "tank/f@s1 -> backend-b:backup/f: sent (full" in done.stdout
    assert "2 in all, 1 sent, 1 failed" in done.stdout
    fatal = next(line for line in done.stdout.splitlines() if line.startswith("fatal"))
    assert '"msg": "tank/nope: tank/nope does not exist' in fatal
    assert "tank/f@s1" not in fatal
    assert b.zfs("list", "-Ho", "name", "-t", "snapshot").split() == ["backup/f@s1"]


@pytest.mark.parametrize("become", [False, True])
def test_plain_user(ansible: Ansible, backends: list[Backend], become: bool) -> None:
    """With permissions of its own, or with sudo on both sides."""
    a, b = backends[:2]
    a.run("zfs create tank/f && zfs snapshot tank/f@s1")
    if not become:
        a.zfs("allow", "operator", RIGHTS["tank"], "tank")
        b.zfs("allow", "operator", RIGHTS["backup"], "backup")
    done = replicate(
        ansible,
        replicate_hosts="backend-a",
        ansible_user="operator",
        **({} if become else {"ansible_become": False}),
        zfs_replicate_name="tank/f",
        zfs_replicate_target_dataset="backup/f",
        zfs_replicate_target_user="operator",
        zfs_replicate_target_become=become,
    )
    assert done.returncode == 0, done.stdout
    assert a.checksum("tank/f@s1") == b.checksum("backup/f@s1")


@pytest.mark.parametrize("hosts", ["", "nobody", [], None])
def test_no_host(ansible: Ansible, hosts: object) -> None:
    done = replicate(ansible, replicate_hosts=hosts)
    assert done.returncode == 2
    assert "names no host of the inventory; give hosts or groups, as replicate_hosts=backend-a" in done.stdout


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"zfs_replicate_on_divergence": "maybe"}, "value of zfs_replicate_on_divergence must be one of"),
        ({"zfs_replicate_name": " ,\n"}, "neither name nor select is set; list the datasets or snapshots"),
        ({"zfs_replicate_target_host": ""}, "neither target.host nor source.host is set"),
        ({"zfs_replicate_targets": [{"host": "c", "parent": "p"}]}, "target and targets are both set"),
    ],
)
def test_bad_input(ansible: Ansible, lab_backends: list[Backend], variables: dict[str, str], complaint: str) -> None:
    before = dumps(lab_backends)
    given = {"zfs_replicate_name": "tank/f", "zfs_replicate_target_dataset": "backup/f", **variables}
    done = replicate(ansible, replicate_hosts="backend-a", **given)
    assert done.returncode == 2
    assert complaint in done.stdout
    assert not diff_dumps(before, dumps(lab_backends))
