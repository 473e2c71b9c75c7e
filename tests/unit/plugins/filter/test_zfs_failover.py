# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter hands its parts what they need; each part has tests of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.cerss.zfs.plugins.filter.zfs_failover import PARTS, FilterModule

DOCUMENTATION = Path(__file__).parents[4] / "plugins" / "filter" / "zfs_failover.yml"
part = FilterModule().filters()["zfs_failover"]


def test_the_parts() -> None:
    assert part([], "pairs", name="tank/f")["pairs"] == []
    assert part([], "renamed", found=[]) == []
    assert part([], "losses", lost=[]) == []


def test_a_part_that_does_not_exist() -> None:
    with pytest.raises(AnsibleFilterError, match="there is no part 'x'; the parts are pairs, renamed, losses"):
        part([], "x")


def test_parts_are_documented() -> None:
    options = yaml.safe_load(DOCUMENTATION.read_text())["DOCUMENTATION"]["options"]
    assert options["part"]["choices"] == [*PARTS]
