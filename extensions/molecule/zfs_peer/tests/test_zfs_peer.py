# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A key for one job, and what was replicated with it."""

from __future__ import annotations

from typing import Any

SSH = "/var/lib/cerss-zfs/.ssh"


def test_the_key(host: Any) -> None:
    if host.check_output("hostname") == "backend-a":
        key = host.file(f"{SSH}/backend-b")
        assert (key.user, key.mode) == ("cerss-zfs", 0o600)
        assert host.file(f"{SSH}/backend-b.known_hosts").content_string.count("backend-b ssh-") == 1
        return
    (line,) = host.file(f"{SSH}/authorized_keys").content_string.splitlines()
    assert line.startswith('restrict,from="192.168.77.')
    assert "gate.py receive 'backup/received'" in line
    assert line.endswith(" cerss.zfs:backend-a:backend-b")


def test_the_replica(host: Any) -> None:
    snapshot = {"backend-a": "tank/sent@s1", "backend-b": "backup/received/sent@s1"}[host.check_output("hostname")]
    guid = host.check_output("ssh -n backend-a zfs get -Ho value guid tank/sent@s1")
    assert host.check_output("zfs get -Ho value guid %s", snapshot) == guid
