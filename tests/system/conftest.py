# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures over the lab: the one that runs (CERSS_LAB_DIR), otherwise one of this session's own."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness import Ansible, Backend, lab_command


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a running lab."""
    given = os.environ.get("CERSS_LAB_DIR")
    folder = Path(given) if given else tmp_path_factory.mktemp("lab")
    # An already running lab is taken as it is; one of our own goes with this process, however that ends.
    lab_command("up", "--dir", folder, "--parent-pid", os.getpid())
    yield folder
    if not given:
        lab_command("down", "--dir", folder)


@pytest.fixture(scope="session")
def lab_backends(lab: Path) -> list[Backend]:
    hosts = json.loads((lab / "inventory.yml").read_text())["all"]["children"]["backends"]["hosts"]
    return [Backend(name, values["lab_address"], lab) for name, values in hosts.items()]


@pytest.fixture
def backends(lab: Path, lab_backends: list[Backend]) -> list[Backend]:
    """The machines with fresh pools: tank and backup."""
    lab_command("reset", "--dir", lab)
    return lab_backends


@pytest.fixture(scope="session")
def ansible(lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Ansible:
    return Ansible(lab, tmp_path_factory.mktemp("ansible"))
