# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service user with few permissions, and the gate."""

from __future__ import annotations

from typing import Any

import pytest


def test_service_user(host: Any) -> None:
    user = host.user("cerss-zfs")
    assert (user.exists, user.shell, user.home) == (True, "/bin/sh", "/var/lib/cerss-zfs")
    for path, mode in {".ssh": 0o755, ".ansible": 0o700}.items():
        folder = host.file(f"{user.home}/{path}")
        assert (folder.is_directory, folder.mode) == (True, mode)


@pytest.mark.parametrize(
    ("dataset", "has", "lacks"),
    [("tank/sent", {"send", "hold", "bookmark"}, "receive"), ("backup/received", {"receive", "create"}, "send")],
)
def test_permissions(host: Any, dataset: str, has: set[str], lacks: str) -> None:
    (line,) = [each for each in host.check_output("zfs allow %s", dataset).splitlines() if "user cerss-zfs " in each]
    permissions = set(line.split()[-1].split(","))
    assert has <= permissions
    assert lacks not in permissions


def test_received_filesystems_are_harmless(host: Any) -> None:
    values = host.check_output("zfs get -Ho value canmount,setuid,devices,exec backup/received")
    assert set(values.split()) == {"off"}


def test_the_gate_refuses_a_shell(host: Any) -> None:
    gate = host.run(
        "cd / && /usr/local/lib/cerss-zfs/python3 -I /usr/local/lib/cerss-zfs/gate.py receive backup/received"
    )
    assert (gate.rc, gate.stdout) == (126, "")
    assert "this key does not open a shell" in gate.stderr
