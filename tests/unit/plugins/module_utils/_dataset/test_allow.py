# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._dataset.allow import (
    BELOW,
    LOCAL,
    REACHES,
    Options,
    parse,
    plan_allow,
    supported,
)
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs

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
    params = {"dataset": "tank/v", "user": "u", "permissions": list(permissions), "reach": reach, "state": state}
    return Options.from_params({**params, **more})


def test_what_zfs_prints() -> None:
    def of(*users: str, dataset: str = "tank/a b/c") -> dict[str, set[str]]:
        return parse(LISTING, dataset, users)

    assert of("operator") == {
        LOCAL: {"@set", "release", "hold", "send"},
        BELOW: {"compression", "mount", "hold", "send"},
    }
    assert of("operator", dataset="tank/a b") == {LOCAL: {"rename"}, BELOW: {"rename"}}
    assert of("operator", dataset="tank") == {LOCAL: {"snapshot"}, BELOW: {"snapshot"}}
    assert of("(unknown: 4711)") == {LOCAL: {"userprop"}, BELOW: {"userprop"}}
    nothing: dict[str, set[str]] = {LOCAL: set(), BELOW: set()}
    assert of("4711") == of("oper") == of() == of("operator", dataset="tank/a") == nothing


def test_which_permissions_this_zfs_knows() -> None:
    assert supported(USAGE) == {
        "allow", "create", "receive", "release", "send", "bookmark", "userprop", "projectobjused",
        "canmount", "readonly",
    }  # fmt: skip


def test_given_before_taken_and_each_reach_once() -> None:
    stands = {LOCAL: {"send", "hold"}, BELOW: {"send", "mount"}}
    plan = plan_allow(options("hold", "release", "mount"), stands)
    assert plan.actions == [
        "allow u release on tank/v and below",
        "allow u mount on tank/v itself",
        "allow u hold below tank/v",
        "unallow u send on tank/v and below",
    ]
    assert [command for step in plan.steps for command in step.commands] == [
        zfs.allow("u", ["release"], "tank/v"),
        zfs.allow("u", ["mount"], "tank/v", "-l"),
        zfs.allow("u", ["hold"], "tank/v", "-d"),
        zfs.unallow("u", ["send"], "tank/v"),
    ]
    diff = plan.to_result()["diff"]
    assert diff["before"] == {"tank/v": {"u": {LOCAL: ["hold", "send"], BELOW: ["mount", "send"]}}}
    assert diff["after"] == {
        "tank/v": {"u": {LOCAL: ["hold", "mount", "release"], BELOW: ["hold", "mount", "release"]}}
    }


@given(NAMES, NAMES, NAMES, st.sampled_from(sorted(REACHES)))
def test_a_plan_leads_to_exactly_what_is_wished(
    local: set[str], below: set[str], text: set[str], reach: str
) -> None:  # fmt: skip
    """Carried out on two sets as ZFS keeps them."""
    stands = {LOCAL: set(local), BELOW: set(below)}
    for action in plan_allow(options(*sorted(text), reach=reach), {LOCAL: local, BELOW: below}).steps:
        for _zfs_word, verb, *words in action.commands:
            reaches = {"-l": (LOCAL,), "-d": (BELOW,)}.get(words[0], (LOCAL, BELOW))
            for place in reaches:
                names = set(words[-2].split(","))
                stands[place] = stands[place] | names if verb == "allow" else stands[place] - names
    decided = REACHES[reach]
    assert stands == {LOCAL: text if LOCAL in decided else local, BELOW: text if BELOW in decided else below}


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"user": "-u"}, "not the name"),
        ({"user": "a,b"}, "not the name"),
        ({"user": ""}, "not the name"),
        ({"permissions": ["send,hold"]}, "not the name of a permission"),
        ({"permissions": ["-d"]}, "not the name of a permission"),
        ({"permissions": []}, "is empty"),
        ({"state": "absent"}, "cannot be combined"),
        ({"dataset": "tank@s"}, "give a dataset here"),
    ],
)
def test_bad_options(params: dict[str, Any], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        options("send", **params)
