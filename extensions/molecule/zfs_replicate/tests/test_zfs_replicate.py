# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role zfs_replicate has replicated, and a clone of it."""

from __future__ import annotations

from typing import Any


def test_pools(host: Any) -> None:
    pools = host.check_output("zpool list -H -o name,health").splitlines()
    assert pools == ["backup\tONLINE", "tank\tONLINE"]


def test_both_sides(host: Any) -> None:
    """Both have the same snapshot with the same file, which the replica's clone shows."""
    places = {
        "backend-a": ("tank/molecule@s1", "/tank/molecule/.zfs/snapshot/s1/file"),
        "backend-b": ("backup/molecule@s1", "/backup/molecule-clone/file"),
    }
    snapshot, path = places[host.check_output("hostname")]
    file = host.file(path)
    assert file.content == b"seen through the replica\n"
    assert file.mode == 0o640
    assert host.check_output("zfs get -Ho value guid %s", snapshot) == host.check_output(
        "ssh -n backend-a zfs get -Ho value guid tank/molecule@s1"
    )
