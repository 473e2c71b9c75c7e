# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter zfs_failover: what the role zfs_failover computes from the results of its tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.cerss.zfs.plugins.module_utils._failover import exchange

PARTS: dict[str, Callable[..., Any]] = {
    "pairs": exchange.pairs,
    "renamed": exchange.renamed,
    "losses": exchange.losses,
}


def zfs_failover(data: Any, part: str, **options: Any) -> Any:
    """The named part, of the data and its options."""
    if part not in PARTS:
        raise AnsibleFilterError(f"cerss.zfs.zfs_failover: there is no part {part!r}; the parts are {', '.join(PARTS)}")
    return PARTS[part](data, **options)


class FilterModule:  # Ansible looks for this name
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"zfs_failover": zfs_failover}
