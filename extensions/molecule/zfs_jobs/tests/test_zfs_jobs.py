# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One snapshot of the job on both sides, whose relationship is healthy."""

from __future__ import annotations

import re
from typing import Any


def test_both_sides(host: Any) -> None:
    dataset = {"backend-a": "tank/job", "backend-b": "backup/job"}[host.check_output("hostname")]
    (name,) = host.check_output("zfs list -H -o name -t snapshot %s", dataset).splitlines()
    assert re.fullmatch(rf"{dataset}@nightly-\d{{4}}-\d\d-\d\d", name)
    guid = host.check_output("ssh -n backend-a zfs list -H -o guid -t snapshot tank/job")
    assert host.check_output("zfs get -Ho value guid %s", name) == guid


def test_the_relationship_has_its_marks(host: Any) -> None:
    if host.check_output("hostname") == "backend-a":
        found = host.check_output("zfs get -H -o property -s local all tank/job")
        assert len(re.findall(r"^cerss\.zfs:(?:replica|at)\.", found, re.MULTILINE)) == 2
    else:
        assert host.check_output("zfs get -H -o source cerss.zfs:source backup/job") == "local"
