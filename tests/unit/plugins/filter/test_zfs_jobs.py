# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter takes lists and texts; its parts are those that its documentation names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.cerss.zfs.plugins.filter.zfs_jobs import PARTS, zfs_jobs

DOCUMENTATION = Path(__file__).parents[4] / "plugins" / "filter" / "zfs_jobs.yml"
JOBS = "- {name: a, datasets: tank/a, snapshot: {name: a-%F}}"


@pytest.mark.parametrize("value", [JOBS, yaml.safe_load(JOBS)])
def test_a_list_or_a_text(value: Any) -> None:
    found = zfs_jobs({"zfs_jobs": value, "zfs_jobs_host": ""}, "plan", host="h")
    assert (found["problems"], [job["datasets"] for job in found["jobs"]]) == ([], [["tank/a"]])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- {name: [}", "zfs_jobs is not valid YAML (while parsing a flow node"),
        ("nightly", "zfs_jobs is not a list; give a list of jobs"),
    ],
)
def test_a_text_that_is_no_list(text: str, problem: str) -> None:
    (told,) = zfs_jobs({"zfs_jobs": text}, "plan", host="h")["problems"]
    assert told.startswith(problem)


def test_parts_are_documented() -> None:
    options = yaml.safe_load(DOCUMENTATION.read_text())["DOCUMENTATION"]["options"]
    assert options["part"]["choices"] == list(PARTS)
    with pytest.raises(AnsibleFilterError, match="there is no part 'x'; the parts are plan, addresses, "):
        zfs_jobs({}, "x")
