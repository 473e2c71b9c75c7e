# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""zfs_allow on real pools, and what ZFS then lets the user do."""

from __future__ import annotations

from typing import Any

import pytest
import verbs
from harness import Ansible, Backend

VERB = "_dataset.allow"


def allow(*permissions: str, **options: Any) -> dict[str, Any]:
    """All options of the module."""
    state = "present" if permissions else "absent"
    common = {"dataset": "tank/a b", "user": "operator", "permissions": list(permissions), "reach": "both"}
    return {**common, "state": state, **options}


@pytest.fixture
def backend(backends: list[Backend]) -> Backend:
    return backends[0]


def test_exactly_these(backend: Backend) -> None:
    backend.run(
        "set -e; zfs create 'tank/a b'; zfs create 'tank/a b/c'; zfs allow operator mount tank"
        "; zfs allow -u operator,root snapshot 'tank/a b'"
        "; zfs allow -g operator hold 'tank/a b'; zfs allow -e send 'tank/a b'; zfs allow -c destroy 'tank/a b'"
        "; zfs allow -s @set create,mount 'tank/a b'; zfs allow -u 4711 release 'tank/a b'"
    )
    others = [line for line in backend.zfs("allow", "tank/a b").splitlines() if "user operator" not in line]
    answers = verbs.run(
        backend,
        VERB,
        [
            allow("send", "hold", "compression"),
            allow("hold", "release", "@set"),
            allow("destroy", "mount", reach="descendents"),
            allow("hold", reach="local"),
            allow(reach="local"),
            allow(),
            allow(user="4711"),
            allow(user="nobody-of-that-name"),
            allow(dataset="tank/gone"),
        ],
    )
    first, second, below, here, _local, gone, number, nobody, nothing = answers
    assert first[1]["actions"] == [
        "allow operator compression,hold,send on tank/a b and below",
        "unallow operator snapshot on tank/a b and below",
    ]
    both = sorted(["send", "hold", "compression"])
    assert first[1]["permissions"] == first[0]["permissions"] == {"local": both, "descendents": both}
    assert first[1]["zfs"] == ["allow", "allow", "allow", "unallow", "allow"]
    assert second[1]["permissions"]["local"] == ["@set", "hold", "release"]
    assert below[1]["permissions"] == {"local": ["@set", "hold", "release"], "descendents": ["destroy", "mount"]}
    assert here[1]["permissions"] == {"local": ["hold"], "descendents": ["destroy", "mount"]}
    assert gone[1]["permissions"] == {"local": [], "descendents": []}
    assert number[1]["actions"] == ["unallow 4711 release on tank/a b and below"]
    assert not nobody[1]["changed"]
    assert not nothing[1]["changed"]
    # What is not the user's on this dataset stays.
    now = backend.zfs("allow", "tank/a b").splitlines()
    assert [line for line in others if line.startswith("\t") and "4711" not in line] == [
        line for line in now if line.startswith("\t") and "operator" not in line.partition("group")[0]
    ]
    assert "\tuser operator mount" in now


def test_every_refusal_changes_nothing_and_says_why(backend: Backend) -> None:
    backend.run("zfs create 'tank/a b'; zfs snapshot 'tank/a b@s'")
    cases = [
        (allow("send", dataset="tank/a b@s"), "give a dataset here"),
        (allow("send", dataset="tank/gone"), "tank/gone does not exist"),
        (allow("send", user="nobody-of-that-name"), "there is no user nobody-of-that-name"),
        (allow("send", user="-u"), "not the name or number of a user"),
        (allow("send", "fly"), "does not know fly"),
        (allow("send", "-d"), "'-d' is not the name of a permission"),
        (allow("send,hold"), "is not the name of a permission"),
        (allow(state="present"), "permissions is empty"),
        (allow("send", state="absent"), "cannot be combined"),
    ]
    verbs.refused(backend, VERB, cases)


def test_through_ansible(backend: Backend, ansible: Ansible) -> None:
    backend.run("zfs create tank/f")
    task = {"cerss.zfs.zfs_allow": {"dataset": "tank/f", "user": "operator", "permissions": ["snapshot"]}}
    ansible.four_times(backend.name, task)
    backend.run(["zfs", "snapshot", "tank/f@s"], user="operator")
    done = backend.run(["zfs", "snapshot", "tank@s"], user="operator", check=False)
    assert "permission denied" in done.stderr
