# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter zfs_jobs: what the role zfs_jobs computes from declarations and from the results of its tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._jobs import job, loans, outcome


def plan(lists: Mapping[str, Any], host: str, hosts: Any = (), addresses: Any = None, only: Any = None) -> Any:
    problems: list[str] = []
    parsed = {name: _parsed(value, name, problems) for name, value in lists.items()}
    if problems:
        return {"jobs": [], "problems": problems, "unknown": []}
    return job.plan(parsed, job.Where(host, list(hosts), dict(addresses or {})), only)


def _parsed(value: Any, name: str, problems: list[str]) -> Any:
    """A list as it is; a text, such as the answer of a survey, is read as YAML."""
    if not isinstance(value, str):
        return value
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        problems.append(f"{name} is not valid YAML ({' '.join(str(error).split())}); give a list of jobs")
        return None


PARTS: dict[str, Callable[..., Any]] = {
    "plan": plan,
    "addresses": job.addresses,
    "sending": outcome.sending,
    "source_pruning": outcome.source_pruning,
    "prunings": outcome.prunings,
    "limits": outcome.limits,
    "rows": outcome.rows,
    "table": outcome.table,
    "failures": outcome.failures,
    "loans": loans.loans,
    "lent": loans.lent,
    "places": loans.places_of,
    "borrowing": loans.borrowing,
}


def zfs_jobs(data: Any, part: str, **options: Any) -> Any:
    """The named part, of the data and its options."""
    if part not in PARTS:
        raise AnsibleFilterError(f"cerss.zfs.zfs_jobs: there is no part {part!r}; the parts are {', '.join(PARTS)}")
    try:
        return PARTS[part](data, **options)
    except BadInput as error:
        raise AnsibleFilterError(error.msg) from error


class FilterModule:  # Ansible looks for this name
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"zfs_jobs": zfs_jobs}
