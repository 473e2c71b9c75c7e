# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Access for one run: no standing trust, a thief who copies the key as soon as it is there, and what is left of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest
from harness import Ansible, Backend, until

pytestmark = pytest.mark.no_gate("it makes its own")

# Copies the key, and tries it for what it is not for, from where it may be used.
THIEF = """
until cp /run/cerss.zfs_lent_*/key /run/stolen 2>/dev/null && grep -q END /run/stolen; do sleep 0.2; done
until ls /run/cerss.zfs_lent_*/known_hosts >/dev/null 2>&1; do sleep 0.2; done
cp /run/cerss.zfs_lent_*/known_hosts /run/stolen.hosts
for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
    TRY id > /run/thief.log 2>&1
    grep -q "does not open a shell\\|refused" /run/thief.log && break
    sleep 1
done
"""
TRY = "ssh -n -T -F /dev/null -o BatchMode=yes -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes"
TRY += " -o UserKnownHostsFile=/run/stolen.hosts -i /run/stolen root@backend-b"
TRACES = """
ls -d /run/cerss.zfs_lent_* /dev/shm/cerss.zfs_lent_* 2>/dev/null
grep -n lent /root/.ssh/authorized_keys
ps -eo args= | grep '[l]ent.py'
:"""
FOLDERS = "/root /home /etc /tmp /var/tmp /var/log /var/lib /dev/shm"


@pytest.fixture
def strangers(backends: list[Backend]) -> Iterator[list[Backend]]:
    """Two machines of which the first has no key for the second."""
    a, b = backends[:2]
    a.run("rm -f /run/stolen* /run/thief*; mkdir -p /run/away; mv /root/.ssh/id_* /run/away/")
    try:
        a.zfs("create", "tank/f")
        a.fill("tank/f", 6)
        a.zfs("snapshot", "tank/f@s1")
        yield [a, b]
    finally:
        a.run("mv /run/away/id_* /root/.ssh/")


def traces(machines: list[Backend]) -> str:
    return "".join(machine.run(TRACES).stdout for machine in machines)


def thief(a: Backend) -> None:
    a.run("cat > /run/thief", input=THIEF.replace("TRY", TRY))
    a.run("setsid sh /run/thief < /dev/null > /dev/null 2>&1 &")


GIVEN = {
    "replicate_hosts": "backend-a",
    "zfs_replicate_name": "tank/f",
    "zfs_replicate_target_host": "backend-b",
    "zfs_replicate_target_parent": "backup",
    "zfs_replicate_trust": "temporary",
}


def test_a_run_borrows_access_and_leaves_nothing(ansible: Ansible, strangers: list[Backend]) -> None:
    a, b = strangers
    refused = ansible.playbook("replicate", **{**GIVEN, "zfs_replicate_trust": ""})
    assert "Permission denied" in refused.stdout, refused.stdout
    before = b.run("cat /root/.ssh/authorized_keys").stdout

    check = ansible.playbook("replicate", "--check", **GIVEN)
    assert "tank/f@s1 -> backend-b:backup/f: would be sent (full" in check.stdout, check.stdout
    assert "changed=1 " in check.stdout
    assert not traces(strangers)

    thief(a)
    real = ansible.playbook("replicate", **GIVEN)
    assert "tank/f@s1 -> backend-b:backup/f: sent (full" in real.stdout, real.stdout
    assert "changed=1 " in real.stdout
    assert a.checksum("tank/f@s1") == b.checksum("backup/f@s1")
    assert not traces(strangers)
    assert b.run("cat /root/.ssh/authorized_keys").stdout == before

    again = ansible.playbook("replicate", **GIVEN)
    assert "nothing to send" in again.stdout, again.stdout
    assert "changed=0 " in again.stdout

    # The thief got the key, but no shell, and no access once the run was over.
    assert "cerss-zfs-gate: refused: " in a.run("cat /run/thief.log").stdout
    late = a.run(f"{TRY} true", check=False)
    assert late.returncode == 255
    assert "Permission denied" in late.stderr
    secret = a.run("sed -n 3p /run/stolen").stdout.strip()
    assert len(secret) > 40
    for machine in strangers:
        found = machine.run(f"grep -rlF -e '{secret}' {FOLDERS} 2>/dev/null; journalctl | grep -cF -e '{secret}'; :")
        assert found.stdout.split() == ["0"]
    assert "no identities" in a.run("ssh-add -l 2>&1; echo no identities").stdout


def test_a_peer_that_cannot_be_lent_to(ansible: Ansible, strangers: list[Backend]) -> None:
    nobody = ansible.playbook("replicate", **{**GIVEN, "zfs_replicate_trust_user": "stranger"})
    assert "there is no user stranger here; name another one" in nobody.stdout
    elsewhere = ansible.playbook("replicate", **{**GIVEN, "zfs_replicate_target_host": "192.0.2.7"})
    assert "192.0.2.7 is no host of the inventory; for temporary access Ansible must reach" in elsewhere.stdout
    assert not traces(strangers)


def test_a_killed_controller_leaves_what_expires(ansible: Ansible, strangers: list[Backend]) -> None:
    a, b = strangers
    thief(a)
    slow = {"zfs_replicate_bandwidth_limit": "50K", "zfs_replicate_trust_lifetime": "3m"}
    began = time.monotonic()
    with ansible.begin("replicate", **{**GIVEN, **slow}) as run:
        until(lambda: "zfs receive" in b.run("ps -eo args=").stdout, 150)
        os.killpg(run.pid, signal.SIGKILL)
    assert "lent" in traces([a])
    assert "lent" in traces([b])
    until(lambda: not traces(strangers), 240 - (time.monotonic() - began))
    late = a.run(f"{TRY} true", check=False)
    assert (late.returncode, "Permission denied" in late.stderr) == (255, True)
    # What had arrived is of use to the next run.
    done = ansible.playbook("replicate", **GIVEN)
    assert "tank/f@s1 -> backend-b:backup/f: sent (" in done.stdout, done.stdout
    assert not traces(strangers)
