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
sys.path.insert(0, os.environ.get("ANSIBLE_COLLECTIONS_PATH", ""))

import verbs
from gated import BECOME, USER, Gated
from harness import Ansible, Backend, lab_command


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--gate", action="store_true", help="replicate as the service user through the gates, root logins being shut"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items if config.getoption("--gate") else ():
        for mark in item.iter_markers("no_gate"):
            item.add_marker(pytest.mark.skip(reason=mark.args[0]))


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
def backends(lab: Path, lab_backends: list[Backend], request: pytest.FixtureRequest) -> list[Backend]:
    """The machines with fresh pools: tank and backup."""
    gated = request.getfixturevalue("gated") if request.config.getoption("--gate") else None
    lab_command("reset", "--dir", lab)
    if gated:
        gated.permit()
    return lab_backends


@pytest.fixture(scope="session")
def ansible(lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Ansible:
    return Ansible(lab, tmp_path_factory.mktemp("ansible"))


@pytest.fixture(scope="session")
def gated(lab: Path, lab_backends: list[Backend], ansible: Ansible) -> Iterator[Gated]:
    """Both machines made ready by the playbook, root logins between them shut, the collection run as plain user."""
    lab_command("reset", "--dir", lab)
    gated = Gated(ansible, *lab_backends[:2])
    gated.set_up()
    verbs.USER, ansible.become = USER, BECOME
    yield gated
    verbs.USER, ansible.become = None, {}
    lab_command("restore", "--dir", lab)


@pytest.fixture
def filled(backends: list[Backend]) -> list[Backend]:
    """tank/vol with two snapshots, and a zvol with one."""
    one = backends[0]
    one.run("zfs create -o compression=off tank/vol && zfs create -s -V 32M tank/zv && udevadm settle")
    one.fill("tank/vol", 2, 1)
    one.zfs("snapshot", "tank/vol@s1")
    one.fill("tank/vol", 1, 2)
    one.fill("tank/zv", 2, 3)
    one.zfs("snapshot", "tank/vol@s2", "tank/zv@s1")
    return backends


@pytest.fixture
def settled(filled: list[Backend]) -> list[Backend]:
    """tank/vol has a replica, whose last snapshot is tank/vol@s2."""
    from test_replicate import once  # not earlier: pytest rewrites the assertions of tests when it imports them

    assert not once(filled[0]).get("failed")
    return filled
