# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that are chatty, hide their processes, turn connections away, or have their programs elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from gated import HOME, USER, Gated
from harness import Ansible, Backend, until
from test_replicate import MODULE, once, options, replicate, target

from ansible_collections.cerss.zfs.plugins.module_utils._core.endpoint import line
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs

pytestmark = pytest.mark.no_gate("logins of other users, whose shells and processes are changed")

NOISE = "stty: 'standard input': Inappropriate ioctl for device"
TURNED_AWAY = "printf 'MaxStartups 1:100:1\\n' > /etc/ssh/sshd_config.d/000-few.conf; systemctl reload ssh"
# Connections that do not log in, so that sshd turns all others away until they are closed.
OCCUPY = """
import socket, time
held = [socket.create_connection(("127.0.0.1", 22)) for _ in range(4)]
time.sleep(float(__import__("sys").argv[1]))
"""
TO_OPERATOR = target(user="operator", become=True)


@contextmanager
def changed(backend: Backend, change: str, back: str) -> Iterator[None]:
    backend.run(change)
    try:
        yield
    finally:
        backend.run(back)


def told(result: Any) -> str:
    return str(result.get("msg", ""))


def test_what_login_scripts_and_sudo_write(filled: list[Backend], ansible: Ansible) -> None:
    """Nothing on stderr matters; what is on stdout is told as what it is. Also with a long TMPDIR and doas."""
    one, two = filled
    rc = "~operator/.bashrc"
    with changed(two, f'cp {rc} /run/bashrc; sed -i "1i echo \\"{NOISE}\\" >&2" {rc}', f"cp /run/bashrc {rc}"):
        folder = "/tmp/" + "x" * 55
        one.run(["mkdir", "-p", folder])
        two.run("printf '#!/bin/sh\\nexec sudo \"$@\"\\n' > /usr/local/bin/doas; chmod 755 /usr/local/bin/doas")
        place = {**TO_OPERATOR, "become_program": "doas"}
        task = {MODULE: {"name": "tank/vol", "target": place}, "environment": {"TMPDIR": folder}}
        (first,) = ansible.run_tasks(one.name, [task])
        assert first["changed"], first
        assert one.checksum("tank/vol@s2") == two.checksum("backup/vol@s2")
        assert once(one, target=TO_OPERATOR)["changed"] is False
        two.run(f"sed -i '1i echo Welcome to backend-b' {rc}")
        assert "'Welcome to backend-b', which is not a line about a dataset; if a login script" in told(
            once(one, target=TO_OPERATOR)
        )


@contextmanager
def receiving(two: Backend) -> Iterator[None]:
    """The next stream into backup/vol, from a file, slowly and by root."""
    run = "pv -q -L 100K /run/stream | zfs receive -s -u backup/vol"
    two.run(f"nohup sh -c '{run}' > /run/receive.log 2>&1 < /dev/null & echo $! > /run/receive.pid")
    try:
        until(lambda: two.zfs("get", "-H", "-o", "value", "receive_resume_token", "backup/vol").strip() != "-", 60)
        yield
    finally:
        two.run("pkill -P $(cat /run/receive.pid) || true; until ! pgrep -x zfs; do sleep 0.2; done")


@pytest.mark.parametrize("hide", ["hidepid", "busybox"])
def test_a_receive_that_cannot_be_seen(settled: list[Backend], hide: str) -> None:
    """Its token tells: it is waited for or refused while it goes on, and resumed when it stands still."""
    one, two = settled
    one.fill("tank/vol", 10, 3)
    one.zfs("snapshot", "tank/vol@s3")
    stream = one.run("zfs send -L -c -i @s2 tank/vol@s3 | base64 -w 0").stdout
    two.run("base64 -d > /run/stream", input=stream)
    ps = "/usr/local/bin/ps"
    busybox = f"printf '#!/bin/sh\\necho \"ps: invalid option -- A\" >&2\\nexit 1\\n' > {ps}; chmod 755 {ps}"
    change, back = {
        "hidepid": ("mount -o remount,hidepid=2 /proc", "mount -o remount,hidepid=0 /proc"),
        "busybox": (busybox, f"rm -f {ps}"),
    }[hide]
    with changed(two, change, back):
        with receiving(two):
            refused = replicate(one, options(target=TO_OPERATOR, on_active="fail"), look=False, passes=1)[0][0]
            assert "backend-b:backup/vol is currently receiving" in told(refused), refused
        resumed = once(one, target=TO_OPERATOR, on_active="fail")
        assert not resumed.get("failed"), resumed
        assert resumed["replicas"][0]["resumed"], resumed
    assert one.checksum("tank/vol@s3") == two.checksum("backup/vol@s3")


def test_connections_that_sshd_turns_away(filled: list[Backend]) -> None:
    """The first reading is tried again, as often as retries says."""
    one, two = filled
    back = "rm -f /etc/ssh/sshd_config.d/000-few.conf; systemctl reload ssh"
    two.run("cat > /run/occupy.py", input=OCCUPY)
    with changed(two, TURNED_AWAY, back):
        two.run("nohup python3 /run/occupy.py 12 > /dev/null 2>&1 < /dev/null &")
        begun = replicate(one, options(retries=6), look=False, passes=1)[0][0]
    assert not begun.get("failed"), begun
    assert one.checksum("tank/vol@s2") == two.checksum("backup/vol@s2")


def test_programs_elsewhere_and_what_sudo_says(filled: list[Backend]) -> None:
    """zfs is found in the PATH of the login; a missing one, requiretty and a shell that refuses name the way out."""
    one, two = filled
    away = "mkdir -p /opt/zfs/bin && mv /usr/sbin/zfs /opt/zfs/bin/zfs"
    home = "mv /opt/zfs/bin/zfs /usr/sbin/zfs; rm -f ~root/.bashrc.add"
    rc = "~root/.bashrc"
    with changed(two, f"cp {rc} /run/rc; sed -i '1i PATH=$PATH:/opt/zfs/bin' {rc}; {away}", f"{home}; cp /run/rc {rc}"):
        assert not once(one).get("failed")
        missing = once(one, target=TO_OPERATOR)
        assert "secure_path" in told(missing), missing
    shut = "usermod -s /usr/sbin/nologin operator"
    with changed(two, shut, "usermod -s /bin/bash operator"):
        assert "login shell there refuses logins" in told(once(one, target=TO_OPERATOR))
    tty = "printf 'Defaults:operator requiretty\\n' > /etc/sudoers.d/zz-tty; chmod 440 /etc/sudoers.d/zz-tty"
    with changed(two, tty, "rm -f /etc/sudoers.d/zz-tty"):
        assert "requiretty" in told(once(one, target=TO_OPERATOR))
    only = (
        "printf 'operator ALL=(root) NOPASSWD: /usr/sbin/zfs\\n' > /etc/sudoers.d/operator"  # a single allowed program
    )
    with changed(two, only, "printf 'operator ALL=(ALL) NOPASSWD: ALL\\n' > /etc/sudoers.d/operator"):
        assert once(one, target=TO_OPERATOR)["changed"] is False


def test_the_roles_once_more_and_with_another_type_of_key(gated: Gated) -> None:
    """The last test here, since from then on only the service user can log in."""
    a, b = gated.a, gated.b
    assert [each["_task"] for each in gated.play() if each.get("changed")] == []
    gate = "/usr/local/lib/cerss-zfs"
    assert b.run(f"{gate}/python3 -c 'import sys; print(sys.version_info >= (3, 9))'").stdout == "True\n"
    peer = {**gated.peer(a, b, "receive"), "zfs_peer_name": "other", "zfs_peer_key_type": "ecdsa"}
    gated.role(a, **peer)
    keys = b.run(f"cat {HOME}/.ssh/authorized_keys").stdout
    assert f'command="{gate}/python3 -I {gate}/gate.py receive ' in keys
    assert " ecdsa-sha2-nistp256 " in keys
    ssh = ["ssh", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i", f"{HOME}/.ssh/other",
           "-o", f"UserKnownHostsFile={HOME}/.ssh/other.known_hosts", b.address]  # fmt: skip
    done = a.run(["sudo", "-u", USER, *ssh, line([zfs.receivers()])])
    assert "1 0 -" in done.stdout.splitlines()
    gated.role(a, **peer, zfs_peer_state="absent")
