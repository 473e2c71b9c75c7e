# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two snapshots that the rules keep, and one that they are not about."""

from __future__ import annotations

from typing import Any


def test_what_is_kept(host: Any) -> None:
    found = host.run("zfs list -H -o name -t snapshot -s createtxg tank/pruned")
    kept = ("daily-3", "daily-4", "mine") if host.check_output("hostname") == "backend-a" else ()
    assert found.stdout.splitlines() == [f"tank/pruned@{name}" for name in kept]
