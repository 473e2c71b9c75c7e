# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter zfs_distribute: what the role zfs_distribute computes from its variables and the results of its tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.cerss.zfs.plugins.module_utils._distribution import outcome
from ansible_collections.cerss.zfs.plugins.module_utils._distribution import plan as planner


def problems(
    clones: Sequence[str], master: Any, replica: Any, keep: Sequence[str], versions: Any, match: Sequence[str] = ()
) -> list[str]:
    return planner.problems(master, replica, clones, keep, versions, match)


def plan(
    snapshots: Sequence[Mapping[str, Any]],
    version: str,
    clones: Sequence[str],
    keep: Sequence[str] = (),
    versions: Any = 1,
    replace: bool = False,
    match: Sequence[str] = (),
) -> dict[str, Any]:
    return planner.plan(planner.Requested(clones, keep, int(versions), replace, match), version, snapshots)


def result(replica: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]], **options: Any) -> dict[str, Any]:
    for done in results.values():
        if done.get("unreachable"):
            raise AnsibleFilterError(str(done.get("msg")))
    return outcome.outcome(replica, results=results, **options)


PARTS: dict[str, Callable[..., Any]] = {
    "problems": problems,
    "plan": plan,
    "creating": outcome.creating,
    "outcome": result,
    "lines": outcome.lines,
}


def zfs_distribute(data: Any, part: str, **options: Any) -> Any:
    """The named part, of the data and its options."""
    if part not in PARTS:
        there = ", ".join(PARTS)
        raise AnsibleFilterError(f"cerss.zfs.zfs_distribute: there is no part {part!r}; the parts are {there}")
    return PARTS[part](data, **options)


class FilterModule:  # Ansible looks for this name
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"zfs_distribute": zfs_distribute}
