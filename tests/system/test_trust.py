# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""zfs_backend, zfs_peer and the gate: replication between service users, and what a stolen key cannot do."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Ansible, Backend, diff_dumps, lab_command

USER = "cerss-zfs"
HOME = f"/var/lib/{USER}"
ROOT = "backup/site a"
SEARCH_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"


def variables(a: Backend, b: Backend) -> dict[str, dict[str, Any]]:
    """backend-a pushes to backend-b, which may also pull."""
    there = {
        a.name: {"zfs_peer_host": b.name, "zfs_peer_address": b.address, "zfs_peer_from": [a.address]},
        b.name: {"zfs_peer_host": a.name, "zfs_peer_address": a.address, "zfs_peer_from": [b.address]},
    }
    return {
        a.name: {**there[a.name], "zfs_backend_send": ["tank/src"], "zfs_peer_job": "receive", "zfs_peer_root": ROOT},
        b.name: {**there[b.name], "zfs_backend_receive": [ROOT], "zfs_peer_job": "send", "zfs_peer_root": "tank/src"},
    }


def roles(ansible: Ansible, both: list[Backend], *names: str, **more: Any) -> list[dict[str, Any]]:
    """Roles on both machines, side by side as a playbook would run them."""
    given = variables(*both)
    options = sorted({key for values in given.values() for key in values})
    per_host = {key: f"{{{{ given[inventory_hostname].{key} | default([]) }}}}" for key in options}
    tasks = [{"name": name, "ansible.builtin.include_role": {"name": f"cerss.zfs.{name}"}} for name in names]
    play = {"hosts": ",".join(backend.name for backend in both), "gather_facts": False, "tasks": tasks}
    return ansible.play([{**play, "vars": {"given": given, **per_host, **more}}])


def changed(results: list[dict[str, Any]]) -> list[str]:
    return [f"{result['_host']}: {result['_task']}" for result in results if result.get("changed")]


@pytest.fixture(scope="module")
def pair(lab: Path, lab_backends: list[Backend], ansible: Ansible) -> Iterator[list[Backend]]:
    """Two machines with the roles applied, which takes its time; the tests use volumes of their own."""
    lab_command("reset", "--dir", lab)
    both = lab_backends[:2]
    both[0].run("zfs create tank/src")
    roles(ansible, both, "zfs_backend", "zfs_peer")
    yield both
    gone = {"zfs_peer_state": "absent", "zfs_backend_state": "absent"}
    roles(ansible, both, "zfs_peer", "zfs_backend", **gone)
    for backend, dataset in zip(both, ("tank/src", ROOT)):
        left = backend.run(f"getent passwd {USER}; ls -d {HOME} /usr/local/lib/cerss-zfs /run/cerss.zfs", check=False)
        assert not left.stdout
        assert USER not in backend.zfs("allow", dataset)
    assert not changed(roles(ansible, both, "zfs_peer", "zfs_backend", **gone))


def volume(a: Backend, name: str) -> str:
    """A new filesystem with a snapshot on the sending machine."""
    a.run(f"zfs create tank/src/{name}")
    a.fill(f"tank/src/{name}", 2, "one")
    a.run(f"zfs snapshot tank/src/{name}@s1")
    return f"tank/src/{name}"


def ours(*words: str) -> str:
    """The command line that the collection writes for it."""
    return shlex.join(["env", "LC_ALL=C", f"PATH={SEARCH_PATH}", *words])


def ssh(a: Backend, b: Backend, *words: str, options: tuple[str, ...] = (), user: str = USER) -> Any:
    """What the service user of one machine gets when it asks for a command on the other."""
    argv = ["ssh", *options, "-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={HOME}/.ssh/{b.name}.known_hosts"]
    argv += ["-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes", "-i", f"{HOME}/.ssh/{b.name}", "-l", USER]
    argv += [b.address, *words]
    return a.run(f"sudo -u {user} {shlex.join(argv)}", check=False)


def replicate(
    ansible: Ansible, here: Backend, there: Backend, name: str, place: str, fails: bool = False, **options: Any
) -> dict[str, Any]:
    """Push or pull, as the service user."""
    far = {
        "host": there.address,
        "user": USER,
        "identity_file": f"{HOME}/.ssh/{there.name}",
        "known_hosts_file": f"{HOME}/.ssh/{there.name}.known_hosts",
    }
    push = here.name == "backend-a"
    ends = {"target": {**far, "dataset": place}}
    if not push:
        ends = {"source": far, "target": {"host": "local", "dataset": place}}
    task = {
        "cerss.zfs.zfs_snapshot_replicate": {"name": [name], "retries": 0, **ends, **options},
        "become": True,
        "become_user": USER,
    }
    return ansible.run_tasks(here.name, [task], fails=fails)[0]


def test_push_pull_resume_and_what_is_refused(pair: list[Backend], ansible: Ansible) -> None:
    a, b = pair
    name, place = volume(a, "v"), f"{ROOT}/deep/v"
    first = replicate(ansible, a, b, name, place, compression="zstd")
    assert first["replicas"][0]["state"] == "full"
    assert a.checksum(f"{name}@s1") == b.checksum(f"{place}@s1")

    a.fill(name, 12, "two")
    a.run(f"zfs snapshot {name}@s2")
    # The sender ends by its pid once a part has travelled, however long the machine takes to get there.
    a.run(
        "nohup sh -c 'until pid=$(pgrep -f \"^zfs send -vP\"); do sleep 0.2; done; sleep 5; kill $pid'"
        " > /dev/null 2>&1 < /dev/null &"
    )
    cut = replicate(ansible, a, b, name, place, fails=True, bandwidth_limit="512K")
    assert "the next run resumes there" in cut["msg"]
    resumed = replicate(ansible, a, b, name, place)
    assert resumed["replicas"][0]["resumed"] is True
    assert a.checksum(f"{name}@s2") == b.checksum(f"{place}@s2")
    assert replicate(ansible, a, b, name, place)["changed"] is False

    # A replica with more than its source
    b.run(["zfs", "snapshot", f"{place}@more"])
    a.run(f"zfs snapshot {name}@s3")
    told = replicate(ansible, a, b, name, place, fails=True, on_divergence="rollback")
    assert "cerss-zfs-gate: refused: a key to receive cannot run zfs destroy" in told["msg"]
    assert "bound to its job" in told["msg"]
    assert f"{place}@more" in b.zfs("list", "-Ho", "name", "-t", "snapshot")
    log = b.run("journalctl -t cerss-zfs-gate --no-pager -o cat").stdout
    assert "refused: a key to receive cannot run zfs destroy" in log
    assert "runs for receive 'backup/site a' from 192.168." in log
    for said in (first, cut, resumed, told):
        assert "PRIVATE" not in str(said)


def test_pull(pair: list[Backend], ansible: Ansible) -> None:
    a, b = pair
    name, place = volume(a, "p"), f"{ROOT}/pulled"
    for snapshot in ("s1", "s2"):
        if snapshot == "s2":
            a.run(f"zfs snapshot {name}@s2")
        pulled = replicate(ansible, b, a, name, place, compression="lz4")
        assert pulled["replicas"][0]["state"] == "full"
        assert a.checksum(f"{name}@{snapshot}") == b.checksum(f"{place}@{snapshot}")


def test_a_key_opens_nothing_else(pair: list[Backend]) -> None:
    a, b = pair
    b.run(["zfs", "create", "-u", f"{ROOT}/k"])
    b.run("zfs create backup/other && zfs snapshot backup/other@s")
    before = b.dump()
    for words in (
        (),
        ("id",),
        ("sh", "-c", "id"),
        ("internal-sftp",),
        ("zfs destroy -r backup",),
        (ours("zfs", "destroy", f"{ROOT}/k"),),
        (ours("zfs", "rollback", f"{ROOT}/k@s"),),
        (ours("zfs", "rename", "-u", f"{ROOT}/k", f"{ROOT}/w"),),
        (ours("zfs", "holds", "-Hp", "backup/other@s"),),
        (ours("zfs", "create", "-u", "-o", "canmount=off", "backup/new"),),
        (ours("true") + "; touch /tmp/cerss-was-here",),
        (ours("true") + " $(touch /tmp/cerss-was-here)",),
    ):
        done = ssh(a, b, *words)
        assert done.returncode == 126, (words, done)
        assert done.stderr.startswith("cerss-zfs-gate: refused: "), (words, done)
        assert not done.stdout
    assert ssh(a, b, ours("true")).returncode == 0
    assert "PTY allocation request failed" in ssh(a, b, ours("true"), options=("-tt",)).stderr
    done = ssh(a, b, options=("-N", "-o", "ExitOnForwardFailure=yes", "-R", "2222:127.0.0.1:22"))
    assert done.returncode == 255
    assert "administratively prohibited" in ssh(a, b, options=("-W", "127.0.0.1:22")).stderr
    done = a.run(
        f"sudo -u {USER} sftp -b /dev/null -o BatchMode=yes -o UserKnownHostsFile={HOME}/.ssh/{b.name}.known_hosts "
        f"-i {HOME}/.ssh/{b.name} {USER}@{b.address}",
        check=False,
    )
    assert done.returncode != 0
    assert b.run("test -e /tmp/cerss-was-here", check=False).returncode == 1
    assert not diff_dumps(before, b.dump())


def test_wrong_host_key_and_wrong_address(pair: list[Backend], ansible: Ansible) -> None:
    a, b = pair
    true = ours("true")
    assert ssh(a, b, true).returncode == 0
    a.run(["ip", "address", "add", "192.168.77.99/24", "dev", wire(a)])
    try:
        done = ssh(a, b, true, options=("-b", "192.168.77.99"))
        assert done.returncode == 255
        assert "Permission denied" in done.stderr
    finally:
        a.run(["ip", "address", "del", "192.168.77.99/24", "dev", wire(a)])

    name = volume(a, "h")
    pinned = f"{HOME}/.ssh/{b.name}.known_hosts"
    a.run(f"cp -p {pinned} /root/pinned && ssh-keygen -q -t ed25519 -N '' -f /root/other-host")
    a.run(f"echo {b.address} $(cut -d' ' -f1,2 /root/other-host.pub) > {pinned}")
    told = replicate(ansible, a, b, name, f"{ROOT}/h", fails=True)
    a.run(f"cp -p /root/pinned {pinned} && rm /root/other-host*")
    assert "host key" in told["msg"].lower()
    assert b.run(f"zfs list '{ROOT}/h'", check=False).returncode == 1


def wire(backend: Backend) -> str:
    """The interface between the machines."""
    listed = backend.run(["ip", "-o", "-4", "address"]).stdout.splitlines()
    return next(line.split()[1] for line in listed if f" {backend.address}/" in line)


def test_again_modes_and_rotation(pair: list[Backend], ansible: Ansible) -> None:
    a, b = pair
    assert not changed(roles(ansible, pair, "zfs_backend", "zfs_peer"))
    modes = a.run(f"stat -c '%a %U %n' {HOME} {HOME}/.ssh {HOME}/.ssh/*").stdout.splitlines()
    assert modes == [
        f"755 root {HOME}",
        f"755 root {HOME}/.ssh",
        f"644 root {HOME}/.ssh/authorized_keys",
        f"600 {USER} {HOME}/.ssh/{b.name}",
        f"644 root {HOME}/.ssh/{b.name}.known_hosts",
        f"644 root {HOME}/.ssh/{b.name}.pub",
    ]
    old = a.run(["cat", f"{HOME}/.ssh/{b.name}.pub"]).stdout
    results = roles(ansible, pair, "zfs_peer", zfs_peer_rotate=True)
    assert "PRIVATE KEY" not in str(results)
    new = a.run(["cat", f"{HOME}/.ssh/{b.name}.pub"]).stdout
    lines = b.run(["cat", f"{HOME}/.ssh/authorized_keys"]).stdout
    assert new.split()[1] in lines
    assert old.split()[1] not in lines
    assert len(lines.splitlines()) == 1
    assert ssh(a, b, ours("true")).returncode == 0
    assert not changed(roles(ansible, pair, "zfs_peer"))


def test_setuid_and_devices_are_of_no_use(pair: list[Backend], ansible: Ansible) -> None:
    a, b = pair
    name, place = volume(a, "e"), f"{ROOT}/e"
    folder = f"/{name}"
    a.run(f"cp /usr/bin/id {folder}/id && chmod 4755 {folder}/id && mknod -m 666 {folder}/null c 1 3")
    a.run(f"zfs snapshot {name}@evil")
    replicate(ansible, a, b, name, place)
    b.run(["zfs", "mount", place])
    try:
        path = shlex.quote(f"/{place}")
        assert b.run(f"{path}/id", user="operator", check=False).returncode == 126
        assert b.run(f"cat {path}/null", user="operator", check=False).returncode != 0
    finally:
        b.run(["zfs", "unmount", place])
