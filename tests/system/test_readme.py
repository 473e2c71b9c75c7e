# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first playbook of the README does what it says, as it stands there."""

from __future__ import annotations

import re
from typing import Any

from harness import CLONE, Ansible, Backend
from yaml import safe_load

# The hosts of the README, and the machines that stand for them
HERE = {"storage1": "backend-a", "storage2.example.com": "backend-b"}


def first_playbook() -> str:
    """The first block of YAML that is a list of plays."""
    blocks = re.findall(r"^```ya?ml\n(.*?)^```$", (CLONE / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    return next(text for text in blocks if is_playbook(safe_load(text)))


def is_playbook(block: Any) -> bool:
    return isinstance(block, list) and all(isinstance(play, dict) and "hosts" in play for play in block)


def test_first_playbook(backends: list[Backend], ansible: Ansible) -> None:
    text = first_playbook()
    source = backends[0]
    for said, here in HERE.items():
        text = text.replace(said, here)
    volumes = sorted(set(re.findall(r"\btank/[\w/]+", text)))
    for volume in volumes:
        source.zfs("create", "-p", volume)
        source.fill(volume, 1)

    assert any(result["changed"] for result in ansible.play(safe_load(text)))
    guids = {backend.zfs("list", "-H", "-t", "snapshot", "-o", "guid") for backend in backends}
    assert len(guids) == 1, "the replicas have other snapshots than their sources"
    snapshots = source.zfs("list", "-H", "-t", "snapshot", "-o", "name").split()
    assert [name.partition("@")[0] for name in snapshots] == volumes

    before = [backend.dump() for backend in backends]
    again = ansible.play(safe_load(text))
    assert again
    assert not any(result["changed"] for result in again)
    assert [backend.dump() for backend in backends] == before
