# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.cerss.zfs.plugins.filter.snapshot_query import FilterModule

query = FilterModule().filters()["snapshot_query"]


class Text(str):
    """As Ansible's own kinds of text: JMESPath goes by the exact type."""

    __slots__ = ()


SNAPSHOTS = [
    {"name": Text("tank/db@daily-1"), "created": "2020-11-01T00:00:00Z", "used_bytes": 20 * 2**30, "temporary": True},
    {"name": "tank/db@daily-2", "created": "2999-11-01T00:00:00Z", "used_bytes": 5, "temporary": False},
    {"name": "tank/db@coming", "created": None, "used_bytes": None, "temporary": False},
]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("[?glob(name, 'tank/*@daily-*')].name", ["tank/db@daily-1", "tank/db@daily-2"]),
        ("[?glob(name, 're:.*@(daily|weekly)-[13]')].name", ["tank/db@daily-1"]),
        ("[?glob(nothing, 're:(')]", []),
        ("max_by([?used_bytes], &used_bytes).name", "tank/db@daily-1"),
        ("[?age(created) > duration('7d')].name", ["tank/db@daily-1"]),
        ("[?age(created) < duration('7d')].name", []),  # nothing of the year 2999 is young
        ("[?used_bytes > bytes('10G')].name", ["tank/db@daily-1"]),
        ("[?glob(nothing, '*')]", []),
        ("sum([?temporary].used_bytes)", 20 * 2**30),
        ("[?starts_with(name, 'tank/db@c')].name", ["tank/db@coming"]),
        ("[0].nothing", None),
        ("[0].[duration('90s'), duration('15m'), duration(`5`), bytes('64K')]", [90, 900, 5, 65536]),
    ],
)
def test_selects(expression: str, expected: Any) -> None:
    assert query(SNAPSHOTS, expression) == expected


@pytest.mark.parametrize(
    ("expression", "reason", "caret"),
    [
        ("", "'[*]' selects all", None),
        ("[?name == ", "ends too early", 10),
        ("[?name == 'a' b]", "'b' is not expected here", 14),
        ("[?name # 'a']", "Unknown token #", 7),
        ("[?nme(name)]", "the functions are abs, age, avg, bytes", 2),
        ("[?name == 'x' || age(name, name)]", "age()", 17),
        ("[?age(name) > `1`]", "'tank/db@daily-1' is not a time", 2),
        ("[?used_bytes > bytes('1X')]", "'1X' is not a size", 15),
        ("[?glob(name, 're:(')]", "'re:(' is not a regular expression", 2),
        ("[?age(created) > duration('1y')]", "'1y' is not a duration", 17),
        ("[?used_bytes > bytes(temporary)]", "bytes() got True, a boolean; it takes string or number", 15),
    ],
)
def test_errors_point_into_the_expression(expression: str, reason: str, caret: int | None) -> None:
    with pytest.raises(AnsibleFilterError) as raised:
        query(SNAPSHOTS, expression)
    message = str(raised.value)
    assert reason in message
    if caret is not None:
        assert message.endswith(f"{expression}\n{' ' * caret}^")


def test_several_lines_show_the_one_that_is_meant() -> None:
    with pytest.raises(AnsibleFilterError) as raised:
        query(SNAPSHOTS, "[?name == 'a' ||\n  nme(name)]")
    assert str(raised.value).endswith("\n  nme(name)]\n  ^")


def test_the_expression_must_be_text() -> None:
    with pytest.raises(AnsibleFilterError, match="is a list, not text"):
        query(SNAPSHOTS, ["name"])
