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
    common = {"name": "tank/a b", "users": ["operator"], "groups": None, "everyone": False, "reach": "both"}
    return {**common, "permissions": list(permissions), "exclusive": True, "state": state, **options}


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
            allow(users=["4711"]),
            allow(users=["nobody-of-that-name"]),
            allow(name="tank/gone"),
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
        (allow("send", name="tank/a b@s"), "tank/a b@s"),
        (allow("send", name="tank/gone"), "there is no dataset tank/gone"),
        (allow("send", users=["nobody-of-that-name"]), "there is no user nobody-of-that-name"),
        (allow("send", users=["-u"]), "cannot be a user"),
        (allow("send", "fly"), "does not know fly"),
        (allow("send", "-d"), "'-d' is not the name of a permission"),
        (allow("send,hold"), "is not the name of a permission"),
        (allow(state="present"), "permissions is empty"),
        (allow("send", state="absent"), "cannot be combined"),
    ]
    verbs.refused(backend, VERB, cases)


def test_groups_and_everyone(backend: Backend) -> None:
    backend.run(
        "set -e; zfs create 'tank/a b'; zfs allow -u operator mount 'tank/a b'; zfs allow -g operator hold 'tank/a b'"
        "; zfs allow -e diff 'tank/a b'; zfs allow -g 4711 release 'tank/a b'; zfs allow -u root send 'tank/a b'"
    )
    both = {"users": ["operator", "root"], "groups": ["operator"]}
    answers = verbs.run(
        backend,
        VERB,
        [
            allow("send", "snapshot", **both, exclusive=False),
            allow("send", "snapshot", users=None, everyone=True, exclusive=False, reach="local"),
            allow("send", **both, reach="descendents"),
            allow("send", users=None, groups=["4711", "root"]),
            allow("send", users=[], groups=[]),
            allow(users=["operator"], groups=["operator", "4711", "root"], everyone=True),
        ],
    )
    added, everyone, exact, groups, nothing, gone = answers
    assert added[1]["actions"] == [
        "allow operator send,snapshot on tank/a b and below",
        "allow root snapshot on tank/a b and below",
        "allow group operator send,snapshot on tank/a b and below",
    ]
    assert added[1]["permissions"]["local"] == ["mount", "send", "snapshot"]
    assert [each["permissions"]["local"] for each in added[0]["grantees"]] == [
        ["mount", "send", "snapshot"], ["send", "snapshot"], ["hold", "send", "snapshot"],
    ]  # fmt: skip
    assert everyone[1]["actions"] == ["allow everyone send,snapshot on tank/a b itself"]
    assert everyone[1]["grantees"][0]["permissions"] == {"local": ["diff", "send", "snapshot"], "descendents": ["diff"]}
    assert {text.partition(" ")[0] for text in exact[1]["actions"]} == {"unallow"}
    assert exact[1]["permissions"] == {"local": ["mount", "send", "snapshot"], "descendents": ["send"]}
    assert groups[1]["actions"] == [
        "allow group 4711 send on tank/a b and below", "unallow group 4711 release on tank/a b and below",
        "allow group root send on tank/a b and below",
    ]  # fmt: skip
    assert not nothing[1]["changed"]
    assert {each["kind"] for each in gone[1]["grantees"]} == {"user", "group", "everyone"}
    assert sorted(line for line in backend.zfs("allow", "tank/a b").splitlines() if line.startswith("\t")) == [
        "\tuser root send",
        "\tuser root snapshot",
    ]


def test_a_bad_one_does_not_hide_the_others(backend: Backend) -> None:
    backend.run("zfs create 'tank/a b'")
    given = allow("send", users=["nobody-of-that-name", "operator", "-u"], groups=["none-of-that-name"])
    ((check, real, _check, again),) = verbs.run(backend, VERB, [given], look=False)
    for told in (check, real, again):
        assert told["failed"]
        assert [each["failed"] for each in told["grantees"]] == [True, False, True, True]
        for text in ("there is no user nobody-of-that-name", "cannot be a user", "there is no group none-of-that-name"):
            assert text in told["msg"]
    assert check["actions"] == real["actions"] == ["allow operator send on tank/a b and below"]
    assert not again["changed"]


def test_through_ansible(backend: Backend, ansible: Ansible) -> None:
    backend.run("zfs create tank/f")
    task = {"cerss.zfs.zfs_allow": {"dataset": "tank/f", "user": "operator", "permissions": ["snapshot"]}}
    several = {"name": "tank/f", "users": ["operator", "root"], "groups": ["operator"], "permissions": ["hold"]}
    ansible.four_times_many(backend.name, [task, {"cerss.zfs.zfs_allow": {**several, "exclusive": False}}])
    backend.run(["zfs", "snapshot", "tank/f@s"], user="operator")
    done = backend.run(["zfs", "snapshot", "tank@s"], user="operator", check=False)
    assert "permission denied" in done.stderr
