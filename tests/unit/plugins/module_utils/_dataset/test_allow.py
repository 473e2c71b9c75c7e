# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What zfs_allow reads from ZFS, and what it allows and unallows."""

from __future__ import annotations

import grp
import pwd
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._dataset.allow import (
    BELOW,
    LOCAL,
    REACHES,
    Grantee,
    Options,
    after,
    main,
    parse,
    plan_allow,
    supported,
)
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs

USER = Grantee("user", "u")
NAMES = st.sets(st.sampled_from(["send", "hold", "mount", "@set", "receive:append"]))

# Printed by OpenZFS 2.3.9: zfs allow 'tank/a b/c'
LISTING = [
    "---- Permissions on tank/a b/c ---------------------------------------",
    "Permission sets:",
    "\t@set create,mount",
    "Create time permissions:",
    "\tdestroy",
    "Local permissions:",
    "\tuser operator @set,release",
    "Descendent permissions:",
    "\tuser operator compression,mount",
    "Local+Descendent permissions:",
    "\tuser operator hold,send",
    "\tuser (unknown: 4711) userprop",
    "\tgroup operator bookmark",
    "\teveryone diff",
    "---- Permissions on tank/a b -----------------------------------------",
    "Local+Descendent permissions:",
    "\tuser operator rename",
    "---- Permissions on tank ---------------------------------------------",
    "Local+Descendent permissions:",
    "\tuser operator snapshot",
]
# and the beginning, middle and end of what zfs allow says alone
USAGE = [
    "Usage: \tallow <filesystem|volume>",
    "The following permissions are supported:",
    "",
    "NAME             TYPE          \tNOTES",
    "allow            subcommand    \tMust also have the permission that is being",
    "create           subcommand    \tMust also have the 'mount' ability",
    "receive          subcommand    \tMust also have the 'mount' and 'create' ability",
    "release          subcommand    \tAllows releasing a user hold which",
    "\t\t\t\tmight destroy the snapshot",
    "send             subcommand    \t",
    "bookmark         subcommand    \t",
    "userprop         other         \tAllows changing any user property",
    "projectobjused   other         \tAllows accessing any ",
    "\t\t\t\tprojectobjused@... property",
    "canmount         property      \t",
    "readonly         property      \t",
]


def options(*permissions: str, reach: str = "both", **more: Any) -> Options:
    state = "present" if permissions else "absent"
    params = {"name": "tank/v", "users": ["u"], "permissions": list(permissions), "reach": reach, "state": state}
    return Options.from_params({**params, "groups": None, "everyone": False, "exclusive": True, **more})


def test_what_zfs_prints() -> None:
    def of(*users: str, dataset: str = "tank/a b/c") -> dict[str, set[str]]:
        return parse(LISTING, dataset, [f"user {user}" for user in users])

    assert of("operator") == {
        LOCAL: {"@set", "release", "hold", "send"},
        BELOW: {"compression", "mount", "hold", "send"},
    }
    assert of("operator", dataset="tank/a b") == {LOCAL: {"rename"}, BELOW: {"rename"}}
    assert of("operator", dataset="tank") == {LOCAL: {"snapshot"}, BELOW: {"snapshot"}}
    assert parse(LISTING, "tank/a b/c", ["group operator"])[LOCAL] == {"bookmark"}
    assert parse(LISTING, "tank/a b/c", ["everyone"])[BELOW] == {"diff"}
    assert of("(unknown: 4711)") == {LOCAL: {"userprop"}, BELOW: {"userprop"}}
    nothing: dict[str, set[str]] = {LOCAL: set(), BELOW: set()}
    assert of("4711") == of("oper") == of() == of("operator", dataset="tank/a") == nothing


def test_which_permissions_this_zfs_knows() -> None:
    assert supported(USAGE) == {
        "allow", "create", "receive", "release", "send", "bookmark", "userprop", "projectobjused",
        "canmount", "readonly",
    }  # fmt: skip


def test_allowed_before_unallowed_and_each_reach_once() -> None:
    current = {LOCAL: {"send", "hold"}, BELOW: {"send", "mount"}}
    plan = plan_allow(options("hold", "release", "mount"), USER, current)
    assert plan.actions == [
        "allow u release on tank/v and below",
        "allow u mount on tank/v itself",
        "allow u hold below tank/v",
        "unallow u send on tank/v and below",
    ]
    assert [command for step in plan.steps for command in step.commands] == [
        zfs.allow(["-u", "u"], ["release"], "tank/v"),
        zfs.allow(["-u", "u"], ["mount"], "tank/v", "-l"),
        zfs.allow(["-u", "u"], ["hold"], "tank/v", "-d"),
        zfs.unallow(["-u", "u"], ["send"], "tank/v"),
    ]
    diff = plan.to_result()["diff"]
    assert diff["before"] == {"tank/v": {"u": {LOCAL: ["hold", "send"], BELOW: ["mount", "send"]}}}
    assert diff["after"] == {
        "tank/v": {"u": {LOCAL: ["hold", "mount", "release"], BELOW: ["hold", "mount", "release"]}}
    }


@given(NAMES, NAMES, NAMES, st.sampled_from(sorted(REACHES)))
def test_a_plan_leads_to_exactly_what_is_requested(
    local: set[str], below: set[str], requested: set[str], reach: str
) -> None:  # fmt: skip
    """Carried out on two sets as ZFS keeps them."""
    current = {LOCAL: set(local), BELOW: set(below)}
    for step in plan_allow(options(*sorted(requested), reach=reach), USER, {LOCAL: local, BELOW: below}).steps:
        for _zfs, verb, *arguments in step.commands:
            reaches = {"-l": (LOCAL,), "-d": (BELOW,)}.get(arguments[0], (LOCAL, BELOW))
            for place in reaches:
                names = set(arguments[-2].split(","))
                current[place] = current[place] | names if verb == "allow" else current[place] - names
    managed = REACHES[reach]
    assert current == {LOCAL: requested if LOCAL in managed else local, BELOW: requested if BELOW in managed else below}


@given(NAMES, NAMES, NAMES.filter(bool), st.sampled_from(sorted(REACHES)))
def test_without_exclusive_nothing_is_taken_away(
    local: set[str], below: set[str], requested: set[str], reach: str
) -> None:  # fmt: skip
    given = options(*sorted(requested), reach=reach, exclusive=False)
    plan = plan_allow(given, USER, {LOCAL: local, BELOW: below})
    assert all(command[1] == "allow" for step in plan.steps for command in step.commands)
    done = after(given, {LOCAL: local, BELOW: below})
    assert done == {
        LOCAL: local | requested if LOCAL in REACHES[reach] else local,
        BELOW: below | requested if BELOW in REACHES[reach] else below,
    }
    assert not plan_allow(given, USER, done).changed


def test_whom_a_command_names() -> None:
    given = options("send", users=["u"], groups=["g"], everyone=True)
    nothing: dict[str, set[str]] = {LOCAL: set(), BELOW: set()}
    plans = [plan_allow(given, grantee, nothing) for grantee in given.grantees]
    assert [plan.actions for plan in plans] == [
        ["allow u send on tank/v and below"],
        ["allow group g send on tank/v and below"],
        ["allow everyone send on tank/v and below"],
    ]
    assert [command for plan in plans for step in plan.steps for command in step.commands] == [
        ["zfs", "allow", "-u", "u", "send", "tank/v"],
        ["zfs", "allow", "-g", "g", "send", "tank/v"],
        ["zfs", "allow", "-e", "send", "tank/v"],
    ]


def test_how_zfs_shows_whom() -> None:
    root = pwd.getpwuid(0).pw_name
    assert Grantee("user", "0").entries() == Grantee("user", root).entries() == {f"user {root}"}
    assert Grantee("group", "0").entries() == {f"group {grp.getgrgid(0).gr_name}"}
    assert Grantee("group", "4294000").entries() == {"group (unknown: 4294000)"}
    assert Grantee("group", "none-of-that-name").entries() == set()
    assert Grantee("everyone").entries() == {"everyone"}


@pytest.mark.parametrize("grantee", [Grantee(kind, name) for kind in ("user", "group") for name in ("-u", "a,b", "")])
def test_bad_names(grantee: Grantee) -> None:
    with pytest.raises(BadInput, match=f"cannot be a {grantee.kind}"):
        grantee.check()


def test_an_empty_list_is_nothing_to_do() -> None:
    params = {"name": "tank/v", "users": [], "groups": None, "everyone": False, "exclusive": True, "reach": "both"}
    told = main({**params, "permissions": ["send"], "state": "present"}, check_mode=False)
    assert (told["changed"], told["actions"], told["grantees"]) == (False, [], [])


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"users": None}, "give users, groups or everyone"),
        ({"users": ["a", "a"]}, "users lists a more than once"),
        ({"state": "absent", "permissions": [], "exclusive": False}, "exclusive=false cannot be combined"),
        ({"permissions": ["send,hold"]}, "not the name of a permission"),
        ({"permissions": ["-d"]}, "not the name of a permission"),
        ({"permissions": []}, "is empty"),
        ({"state": "absent"}, "cannot be combined"),
        ({"name": "tank@s"}, "tank@s"),
    ],
)
def test_bad_options(params: dict[str, Any], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        options("send", **params)
