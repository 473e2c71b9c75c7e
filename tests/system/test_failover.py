# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cerss.zfs.failover and cerss.zfs.failback: planned, without the source, with what it wrote on, encrypted, killed.

CERSS_CUTS says how often the runs are killed, CERSS_SEED repeats a failure.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Ansible, Backend, diff_dumps, lab_command, until

pytestmark = pytest.mark.no_gate("a failover mounts, which only root may")
HOSTS = {"zfs_failover_source_host": "backend-a", "zfs_failover_target_host": "backend-b"}
CUTS = int(os.environ.get("CERSS_CUTS", "4"))
KEPT = ("readonly", "canmount", "mountpoint", "mounted")


def run(ansible: Ansible, playbook: str, *options: str, fails: bool = False, **variables: Any) -> str:
    given = {"zfs_failover_name": "tank/f", **HOSTS}
    given.update({f"zfs_failover_{name}": value for name, value in variables.items()})
    done = ansible.playbook(playbook, *options, **given)
    print(done.stdout, done.stderr)
    assert (done.returncode != 0) == fails, done.stdout
    return done.stdout


def replicate(ansible: Ansible, host: str, name: str, to: str, dataset: str, **options: Any) -> dict[str, Any]:
    task = {"name": [name], "target": {"host": to, "dataset": dataset}, "recursive": True, **options}
    (result,) = ansible.run_tasks(host, [{"cerss.zfs.zfs_snapshot_replicate": task}])
    return result


def settings(backend: Backend, *names: str) -> list[str]:
    return backend.zfs("get", "-H", "-o", "name,property,value", ",".join(KEPT), *names).splitlines()


def serves(backend: Backend, *names: str) -> bool:
    """Whether somebody can write to all of them; False if to none."""
    values = backend.zfs("get", "-H", "-o", "value", "readonly", *names).split()
    assert len({*values}) == 1, values
    return values[0] == "off"


def content(backend: Backend, folder: str) -> str:
    return backend.run(f"cd {folder} && find . -type f | sort | xargs sha256sum").stdout


def write(backend: Backend, folder: str, name: str) -> None:
    backend.run(f"head -c 300K /dev/urandom > {folder}/{name} && sync")


def ours(backend: Backend) -> str:
    return backend.run("zfs get -H -s local -o name,property,value all | grep cerss.zfs:").stdout


@pytest.fixture
def tree(ansible: Ansible, backends: list[Backend]) -> list[Backend]:
    """tank/f with a filesystem at a place of its own and a zvol, with replicas."""
    a = backends[0]
    a.run(
        "zfs create -o compression=off tank/f && zfs create -o mountpoint=/srv/f tank/f/out "
        "&& zfs create -V 16M tank/f/zv && udevadm settle"
    )
    a.fill("tank/f/zv", 2, 1)
    for folder in ("/tank/f", "/srv/f"):
        write(a, folder, "one")
    a.run("zfs snapshot -r tank/f@s1")
    assert not replicate(ansible, "backend-a", "tank/f", "backend-b", "backup/f").get("failed")
    return backends


ON_A = ("tank/f", "tank/f/out", "tank/f/zv")
ON_B = ("backup/f", "backup/f/out", "backup/f/zv")


def test_there_and_back(ansible: Ansible, tree: list[Backend]) -> None:
    """Content, places and properties go along, the replication is turned round, and everything comes back."""
    a, b = tree[:2]
    for folder in ("/tank/f", "/srv/f"):
        write(a, folder, "two")
    a.fill("tank/f/zv", 1, 2)
    before, was = [content(a, "/tank/f"), content(a, "/srv/f")], settings(a, *ON_A)
    device = a.run("sha256sum < /dev/zvol/tank/f/zv").stdout

    dumps = [each.dump() for each in (a, b)]
    checked = run(ansible, "failover", "--check", recursive=True)
    assert "tank/f/out on backend-a -> backup/f/out on backend-b would serve" in checked
    assert not [diff_dumps(old, each.dump()) for old, each in zip(dumps, (a, b)) if diff_dumps(old, each.dump())]

    run(ansible, "failover", recursive="true")
    assert (serves(a, *ON_A), serves(b, *ON_B)) == (False, True)
    assert [content(b, "/tank/f"), content(b, "/srv/f")] == before
    assert b.run("udevadm settle; sha256sum < /dev/zvol/backup/f/zv").stdout == device
    assert "changed=0" in run(ansible, "failover", recursive=True)

    for folder in ("/tank/f", "/srv/f"):
        write(b, folder, "three")
    b.run("zfs snapshot -r backup/f@b1")
    sent = replicate(ansible, "backend-b", "backup/f", "backend-a", "tank/f")
    assert [each["steps"][0]["kind"] for each in sent["replicas"]] == ["incremental"] * 3
    for here, there in zip(ON_A, ON_B):
        assert a.checksum(f"{here}@b1") == b.checksum(f"{there}@b1")

    write(b, "/tank/f", "four")
    after = [content(b, "/tank/f"), content(b, "/srv/f")]
    run(ansible, "failback", recursive=True)
    assert (serves(a, *ON_A), serves(b, *ON_B)) == (True, False)
    assert settings(a, *ON_A) == was
    assert [content(a, "/tank/f"), content(a, "/srv/f")] == after
    write(a, "/tank/f", "five")
    a.run("zfs snapshot -r tank/f@a2")
    assert not replicate(ansible, "backend-a", "tank/f", "backend-b", "backup/f").get("failed")
    assert a.checksum("tank/f@a2") == b.checksum("backup/f@a2")
    assert "out_of_service" not in ours(a)


def switch_off(lab: Path, name: str) -> None:
    status = lab_command("status", "--dir", lab).stdout
    pid = int(next(line for line in status.splitlines() if line.startswith(name)).split("pid ")[1].split(",")[0])
    os.kill(pid, signal.SIGKILL)


@pytest.fixture
def both_up(lab: Path) -> Iterator[None]:
    yield
    if lab_command("status", "--dir", lab, check=False).returncode:
        lab_command("power-cycle", "--dir", lab, "backend-a")


@pytest.mark.parametrize("way", ["rollback", "reseed"])
@pytest.mark.usefixtures("both_up")
def test_a_source_that_is_lost_and_comes_back(ansible: Ansible, lab: Path, backends: list[Backend], way: str) -> None:
    """It is switched off in the middle of a transfer, comes back, and writes on."""
    a, b = backends[:2]
    a.run("zfs create -o compression=off tank/f")
    write(a, "/tank/f", "one")
    a.run("zfs snapshot tank/f@s1")
    assert not replicate(ansible, "backend-a", "tank/f", "backend-b", "backup/f").get("failed")
    parted = content(a, "/tank/f")
    a.fill("tank/f", 24, 1)
    a.run("zfs snapshot tank/f@s2")
    busy = run(ansible, "failover", mode="unplanned", fails=True)
    assert "backend-a answers and serves tank/f, so two sides would take writes" in busy
    task = {"name": ["tank/f"], "target": {"host": "backend-b", "dataset": "backup/f"}, "bandwidth_limit": "256K"}
    play = [{"hosts": "backend-a", "gather_facts": False, "tasks": [{"cerss.zfs.zfs_snapshot_replicate": task}]}]
    transfer = subprocess.Popen(
        ["ansible-playbook", "-i", str(lab / "inventory.yml"), "/dev/stdin"],
        env={**os.environ, **ansible.environment}, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert transfer.stdin
    transfer.stdin.write(str(play))
    transfer.stdin.close()
    until(lambda: b.zfs("get", "-Ho", "value", "receive_resume_token", "backup/f").strip() != "-", 120)
    switch_off(lab, "backend-a")
    transfer.kill()
    transfer.wait()

    told = run(ansible, "failover", mode="unplanned")
    assert "stop the receive into backup/f" in told
    assert "abort the partial receive in backup/f" in told
    assert "the histories part at backup/f@s1" in told
    assert serves(b, "backup/f")
    assert content(b, "/backup/f") == parted
    assert b.run("pgrep -f 'zfs receive'", check=False).returncode == 1
    write(b, "/backup/f", "on-b")
    assert "changed=0" in run(ansible, "failover", mode="unplanned")

    lab_command("power-cycle", "--dir", lab, "backend-a")
    write(a, "/tank/f", "on-a")
    lost, was = content(a, "/tank/f"), settings(a, "tank/f")
    before = [each.dump() for each in (a, b)]
    refused = run(ansible, "failback", fails=True)
    assert re.search(r"on backend-a tank/f has the snapshots tank/f@s2 and \d+ bytes written since after @s1", refused)
    assert not [changed for old, each in zip(before, (a, b)) for changed in diff_dumps(old, each.dump())]

    want = content(b, "/backup/f")
    run(ansible, "failback", on_divergence=way)
    assert (serves(a, "tank/f"), serves(b, "backup/f")) == (True, False)
    assert settings(a, "tank/f") == was
    assert content(a, "/tank/f") == want
    aside = [name for name in a.zfs("list", "-Ho", "name").split() if "_old_" in name]
    assert len(aside) == (way == "reseed")
    if aside:
        a.run(f"mkdir -p /mnt/old && mount -t zfs -o zfsutil,ro {aside[0]} /mnt/old")
        assert content(a, "/mnt/old") == lost
        a.run("umount /mnt/old")
    write(a, "/tank/f", "five")
    a.run("zfs snapshot tank/f@a2")
    assert not replicate(ansible, "backend-a", "tank/f", "backend-b", "backup/f").get("failed")
    assert a.checksum("tank/f@a2") == b.checksum("backup/f@a2")


def test_encrypted_raw(ansible: Ansible, backends: list[Backend]) -> None:
    """The key is loaded from a file; what is sent back is raw, and the tree has one key again."""
    a, b = backends[:2]
    for each in (a, b):
        each.run("echo passphrase1 > /root/key; echo wrong-passphrase > /root/wrong")
    a.run(
        "zfs create -o encryption=on -o keyformat=passphrase -o keylocation=file:///root/key -o pbkdf2iters=100000 "
        "tank/f && zfs create tank/f/in"
    )
    for folder in ("/tank/f", "/tank/f/in"):
        write(a, folder, "one")
    a.run("zfs snapshot -r tank/f@s1")
    assert not replicate(ansible, "backend-a", "tank/f", "backend-b", "backup/f").get("failed")
    write(a, "/tank/f/in", "two")
    before = content(a, "/tank/f")
    dump = a.dump()
    assert "ncorrect key" in run(ansible, "failover", recursive=True, key_file="/root/wrong", fails=True)
    assert not diff_dumps(dump, a.dump())
    run(ansible, "failover", recursive=True, key_file="/root/key")
    assert content(b, "/tank/f") == before
    write(b, "/tank/f", "three")
    after = content(b, "/tank/f")
    run(ansible, "failback", recursive=True, key_file="/root/key")
    assert content(a, "/tank/f") == after
    a.run("zfs unmount tank/f/in && zfs unmount tank/f && zfs unload-key -r tank/f")
    a.run("zfs load-key -r tank/f && zfs mount -a")
    assert content(a, "/tank/f") == after


def test_killed_at_random(ansible: Ansible, lab: Path, backends: list[Backend]) -> None:
    """Killed with everything that it has started; run again, it ends with one side that serves all the data."""
    a, b = backends[:2]
    a.run("zfs create tank/f")
    write(a, "/tank/f", "one")
    a.run("zfs snapshot tank/f@s1")
    assert not replicate(ansible, "backend-a", "tank/f", "backend-b", "backup/f").get("failed")
    seed = int(os.environ.get("CERSS_SEED", random.randrange(10**6)))
    print("seed", seed)
    dice = random.Random(seed)
    took = 90.0
    for number in range(CUTS):
        playbook, on_b = ("failover", True) if number % 2 == 0 else ("failback", False)
        source = a if on_b else b
        write(source, "/tank/f", f"cut{number}")
        want = content(source, "/tank/f")
        kill_after = dice.uniform(0, took)
        argv = ["ansible-playbook", "-i", str(lab / "inventory.yml"), f"cerss.zfs.{playbook}"]
        for name, value in {"zfs_failover_name": "tank/f", **HOSTS}.items():
            argv += ["-e", f"{name}={value}"]
        began = time.monotonic()
        log = (lab / f"killed-{number}.log").open("w")
        process = subprocess.Popen(
            argv, env={**os.environ, **ansible.environment}, stdout=log, stderr=log, start_new_session=True
        )
        try:
            process.wait(kill_after)
            took = time.monotonic() - began
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        serving = [serves(a, "tank/f"), serves(b, "backup/f")]
        print(number, playbook, f"killed after {kill_after:.0f} s of {took:.0f}", serving)
        assert sum(serving) <= 1
        run(ansible, playbook)
        assert [serves(a, "tank/f"), serves(b, "backup/f")] == [not on_b, on_b]
        assert content(b if on_b else a, "/tank/f") == want
