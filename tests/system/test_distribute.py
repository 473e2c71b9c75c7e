# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role zfs_distribute and its playbook: versions of an image on three hosts, with clones that are in use."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import CHECKSUM, Ansible, Backend, diff_dumps, lab_command
from yaml import safe_load

MEBIBYTE = 1 << 20
HOSTS = "backend-a,backend-b,backend-c"
IMAGE: dict[str, Any] = {
    "distribute_hosts": HOSTS,
    "zfs_distribute_replica": "backup/images/debian",
    "zfs_distribute_source_host": "backend-a",
}


def told(run: subprocess.CompletedProcess[str]) -> dict[str, list[str]]:
    """The report of each host."""
    found = re.findall(r'^ok: \[([\w-]+)\] => (\{\n    "msg": \[.*?^\})', run.stdout, re.MULTILINE | re.DOTALL)
    return {host: json.loads(text)["msg"] for host, text in found}


def sent(lines: list[str]) -> int:
    """The bytes of an increment. Of a short stream another host may not have reported any."""
    return int(re.findall(r": sent as an increment, (\d+) bytes", lines[0])[0])


def dumps(backends: list[Backend]) -> dict[str, Any]:
    return {f"{backend.name}:{name}": value for backend in backends for name, value in backend.dump().items()}


def of_image(backend: Backend) -> dict[str, str]:
    """Snapshot of the image -> "on" if it is pending deletion."""
    text = backend.zfs("list", "-H", "-t", "snapshot", "-o", "name,defer_destroy", "backup/images/debian")
    return dict(line.partition("@")[2].split("\t") for line in text.splitlines())


def clones(backend: Backend) -> list[str]:
    return [name for name in backend.zfs("list", "-H", "-o", "name", "-r", "backup").split() if "/vm/" in name]


def content(backend: Backend, volume: str) -> str:
    backend.run(["udevadm", "settle"])
    return backend.python(CHECKSUM, f"/dev/zvol/{volume}").strip()


@pytest.fixture
def three(backends: list[Backend], lab: Path) -> Iterator[list[Backend]]:
    if len(backends) < 3:
        pytest.skip("needs a lab with --machines 3")
    yield backends
    for backend in backends[:3]:
        backend.run("test ! -e /run/user.pid || kill $(cat /run/user.pid); rm -f /run/user.pid; swapoff -a")


def use(backend: Backend, volume: str) -> None:
    """Open the volume's device, as a virtual machine does, and keep it open."""
    backend.run(["udevadm", "settle"])
    backend.run(f"nohup sleep 100000 < /dev/zvol/{volume} > /dev/null 2>&1 & echo $! > /run/user.pid")


def stop_using(backend: Backend) -> None:
    backend.run("kill $(cat /run/user.pid) && rm /run/user.pid")


def test_three_versions_on_three_hosts(ansible: Ansible, three: list[Backend]) -> None:
    a, b, c = three[:3]

    def distribute(version: str, *options: str) -> subprocess.CompletedProcess[str]:
        names = "backup/vm/boot-{snapshot}\nbackup/vm/data-{snapshot}"
        variables = {**IMAGE, "zfs_distribute_snapshot": f"tank/img@{version}", "zfs_distribute_clones": names}
        run = ansible.playbook("distribute", *options, **variables)
        assert run.returncode == 0, run.stdout + run.stderr
        return run

    a.run("zfs create -s -V 32M tank/img && udevadm settle")
    a.fill("tank/img", 20, 1)
    a.zfs("snapshot", "tank/img@v1")
    before = dumps(three)
    foreseen = told(distribute("v1", "--check"))
    assert not diff_dumps(before, dumps(three))
    assert foreseen.keys() == {"backend-a", "backend-b", "backend-c"}
    assert foreseen["backend-b"] == [
        "backup/images/debian@v1: would be sent in full",
        "backup/vm/boot-v1: would be created", "backup/vm/data-v1: would be created",
    ]  # fmt: skip

    first = told(distribute("v1"))
    image = a.checksum("tank/img@v1")
    for backend in three[:3]:
        assert first[backend.name][1:] == ["backup/vm/boot-v1: created", "backup/vm/data-v1: created"]
        assert {content(backend, f"backup/vm/{name}-v1") for name in ("boot", "data")} == {image}
        assert of_image(backend) == {"v1": "off"}
        assert "@v1: sent in full, " in first[backend.name][0]
    assert int(first["backend-a"][0].split()[-2]) > 20 * MEBIBYTE

    before = dumps(three)
    again = distribute("v1")
    assert len(re.findall(r" changed=0 .* failed=0 ", again.stdout)) == 3, again.stdout
    assert not diff_dumps(before, dumps(three))

    # On b a process has a clone open, on c the kernel uses one, on a nothing is used.
    use(b, "backup/vm/boot-v1")
    c.run("udevadm settle && mkswap -q /dev/zvol/backup/vm/data-v1 && swapon /dev/zvol/backup/vm/data-v1")
    a.fill("tank/img", 1, 2)
    a.zfs("snapshot", "tank/img@v2")
    before = dumps(three)
    foreseen = told(distribute("v2", "--check"))
    assert not diff_dumps(before, dumps(three))
    second = told(distribute("v2"))
    image = a.checksum("tank/img@v2")
    for backend in three[:3]:
        lines = second[backend.name]
        assert [line.replace("would be ", "") for line in foreseen[backend.name][1:]] == lines[1:]
        assert content(backend, "backup/vm/boot-v2") == image
        assert sent(lines) < 2 * MEBIBYTE
    assert sent(second["backend-a"]) > MEBIBYTE
    assert clones(a) == ["backup/vm/boot-v2", "backup/vm/data-v2"]
    assert clones(b) == ["backup/vm/boot-v1", "backup/vm/boot-v2", "backup/vm/data-v2"]
    assert clones(c) == ["backup/vm/boot-v2", "backup/vm/data-v1", "backup/vm/data-v2"]
    assert of_image(a) == {"v2": "off"}
    assert of_image(b) == of_image(c) == {"v1": "on", "v2": "off"}
    assert "@v1: pending deletion" in second["backend-b"]
    assert any("backup/vm/boot-v1 is in use: open in process" in line for line in second["backend-b"])
    assert "kept: backup/vm/data-v1 is in use: mounted, or part of another device" in second["backend-c"]
    assert "@v1: deleted" in second["backend-a"]

    # b has switched over to v2 and uses that; c still uses v1.
    stop_using(b)
    use(b, "backup/vm/boot-v2")
    a.fill("tank/img", 1, 3)
    a.zfs("snapshot", "tank/img@v3")
    third = told(distribute("v3"))
    image = a.checksum("tank/img@v3")
    for backend in three[:3]:
        assert content(backend, "backup/vm/data-v3") == image
        assert sent(third[backend.name]) < 2 * MEBIBYTE
    assert of_image(a) == {"v3": "off"}
    assert of_image(b) == {"v2": "on", "v3": "off"}
    assert of_image(c) == {"v1": "on", "v3": "off"}
    assert clones(b) == ["backup/vm/boot-v2", "backup/vm/boot-v3", "backup/vm/data-v3"]

    # The same version again removes what is no longer used.
    stop_using(b)
    c.run("swapoff /dev/zvol/backup/vm/data-v1")
    last = told(distribute("v3"))
    assert "@v2: deleted" in last["backend-b"]
    assert of_image(a) == of_image(b) == of_image(c) == {"v3": "off"}
    assert clones(c) == ["backup/vm/boot-v3", "backup/vm/data-v3"]
    # The master may lose the versions that have been sent.
    a.zfs("destroy", "tank/img@v1,v2")


def test_a_host_that_is_down_and_comes_back(ansible: Ansible, three: list[Backend], lab: Path) -> None:
    """One at a time, so that the host that is down is a batch of its own. Blank values are those of a survey."""
    a, b, c = three[:3]
    a.run("zfs create tank/img && echo one > /tank/img/file && zfs snapshot tank/img@v1")
    defaults = safe_load((Path(__file__).parents[2] / "roles/zfs_distribute/defaults/main.yml").read_text())
    variables: dict[str, Any] = {
        **dict.fromkeys(defaults, ""), **IMAGE, "distribute_serial": "1", "zfs_distribute_snapshot": "tank/img",
        "zfs_distribute_clones": "backup/vm/www", "zfs_distribute_properties": "mountpoint=/srv/www",
        "distribute_hosts": "backend-b,backend-c,backend-a",
    }  # fmt: skip
    pids = lab_command("status", "--dir", lab).stdout
    pid = int(next(line for line in pids.splitlines() if line.startswith("backend-b")).split("pid ")[1].split(",")[0])
    b.run("zpool sync")
    os.kill(pid, signal.SIGKILL)
    run = ansible.playbook("distribute", **variables)
    lab_command("power-cycle", "--dir", lab, "backend-b")
    assert run.returncode == 2, run.stdout
    assert "Tell which hosts failed" in run.stdout
    assert {host for host, lines in told(run).items() if "backup/vm/www: created" in lines} == {
        "backend-a", "backend-c",
    }  # fmt: skip
    assert a.run("cat /srv/www/file").stdout == c.run("cat /srv/www/file").stdout == "one\n"

    a.run("echo two > /tank/img/file && zfs snapshot tank/img@v2")
    c.run("zfs unmount backup/vm/www")
    run = ansible.playbook("distribute", **variables, zfs_distribute_replace="true")
    assert run.returncode == 0, run.stdout
    assert b.run("cat /srv/www/file").stdout == c.run("cat /srv/www/file").stdout == "two\n"
    assert a.run("cat /srv/www/file").stdout == "one\n"  # it is mounted
    lines = told(run)
    assert "backup/vm/www: created" in lines["backend-b"]
    assert "backup/vm/www: removed" in lines["backend-c"]
    assert "kept: backup/vm/www is in use: mounted at /srv/www" in lines["backend-a"]
    assert of_image(a) == {"v1": "on", "v2": "off"}
    assert of_image(b) == of_image(c) == {"v2": "off"}


def test_pushed_and_several_versions_kept(ansible: Ansible, three: list[Backend]) -> None:
    """A clone that is not ours, and one with a snapshot of its own, stay."""
    a, b, c = three[:3]
    variables: dict[str, Any] = {
        "distribute_hosts": ["backend-b", "backend-c"], "zfs_distribute_push_host": "backend-a",
        "zfs_distribute_replica": "backup/images/debian", "zfs_distribute_versions": 2,
        "zfs_distribute_clones": ["backup/vm/one-{snapshot}", "backup/vm/two"],
        "zfs_distribute_properties": {"canmount": "noauto"},
    }  # fmt: skip
    a.run("zfs create tank/img")
    for number in (1, 2, 3):
        a.run(f"echo {number} > /tank/img/file && zfs snapshot tank/img@v{number}")
        run = ansible.playbook("distribute", **variables, zfs_distribute_snapshot=f"tank/img@v{number}")
        assert run.returncode == 0, run.stdout
        if number == 1:
            b.run("zfs clone -o canmount=noauto backup/images/debian@v1 backup/vm/mine-v1")
            c.run("zfs snapshot backup/vm/one-v1@own")
    assert of_image(b) == of_image(c) == {"v1": "on", "v2": "off", "v3": "off"}
    versions = ["backup/vm/one-v2", "backup/vm/one-v3", "backup/vm/two"]
    assert clones(b) == ["backup/vm/mine-v1", *versions]
    assert clones(c) == ["backup/vm/one-v1", *versions]
    lines = told(run)
    assert any("snapshot backup/vm/one-v1@own" in line for line in lines["backend-c"])
    stays = "kept: backup/vm/two is a clone of @v1; zfs_distribute_replace=true replaces it when it is not in use"
    assert stays in lines["backend-b"]
    # Older versions cannot be sent any more.
    run = ansible.playbook("distribute", **variables, zfs_distribute_snapshot="tank/img@v1")
    assert run.returncode == 2
    assert "is pending deletion" in run.stdout
