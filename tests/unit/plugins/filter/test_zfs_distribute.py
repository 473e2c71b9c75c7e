# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter's parts are those that its documentation names."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.cerss.zfs.plugins.filter.zfs_distribute import PARTS, FilterModule, zfs_distribute

DOCUMENTATION = Path(__file__).parents[4] / "plugins" / "filter" / "zfs_distribute.yml"


def test_the_parts_are_documented() -> None:
    documented = yaml.safe_load(DOCUMENTATION.read_text())["DOCUMENTATION"]
    assert documented["options"]["part"]["choices"] == list(PARTS)
    assert list(FilterModule().filters()) == [documented["name"]]


def test_a_part_that_there_is_not() -> None:
    with pytest.raises(AnsibleFilterError, match="there is no part 'x'; the parts are problems, plan"):
        zfs_distribute([], "x")


def test_a_plan_for_a_host_that_has_nothing() -> None:
    found = zfs_distribute([], "plan", version="v1", clones=["t/a-{snapshot}"], versions="1")
    assert (found["create"], found["remove"], found["prune"]) == (["t/a-v1"], [], [])


def test_a_host_that_went_down_is_no_success() -> None:
    results = {"prune": {"changed": False}, "remove": {"unreachable": True, "msg": "no route"}}
    with pytest.raises(AnsibleFilterError, match="no route"):
        zfs_distribute({}, "outcome", plan={}, results=results, check=False)
