# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the program itself does is seen on real ZFS (tests/system/test_programs.py)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import program

GROUP = [["group", "", "", ""]]


@pytest.mark.parametrize(
    ("command", "operations"),
    [
        (zfs.bookmark("tank/v@s", "tank/v#c"), [["bookmark", "tank/v@s", "tank/v#c", ""]]),
        (
            zfs.set_({"a:b": "x=y z", "c:d": ""}, ["tank/v"]),
            [["set", "tank/v", "a:b", "x=y z"], ["set", "tank/v", "c:d", ""]],
        ),
        (
            zfs.inherit("a:b", ["tank/v", "tank/w"]),
            [["inherit", "tank/v", "a:b", ""], ["inherit", "tank/w", "a:b", ""]],
        ),
        (zfs.inherit("readonly", ["tank/v"]), None),
        (zfs.set_({"a:b": "x", "readonly": "on"}, ["tank/v"]), None),
        (zfs.hold("a", ["tank/v@s"]), None),
        (zfs.destroy("tank/v#c"), None),
    ],
)
def test_commands_as_operations(command: list[str], operations: list[list[str]] | None) -> None:
    found = program.group("tank/v", {}, [command])
    assert found == (GROUP + operations if operations else None)


def test_a_group_that_cannot_be_done_in_full_is_not_done_at_all() -> None:
    assert program.group("tank/v", {}, [zfs.bookmark("tank/v@s", "tank/v#c"), zfs.destroy("tank/v#b")]) is None


def test_properties_are_compared_first() -> None:
    (_group, *rest) = program.group("tank/v", {"a:b": "x", "c:d": ""}, [zfs.inherit("a:b", ["tank/v"])]) or []
    assert rest == [["is", "tank/v", "a:b", "x"], ["is", "tank/v", "c:d", ""], ["inherit", "tank/v", "a:b", ""]]


@given(st.lists(st.integers(1, 200), max_size=20), st.integers(100, 10_000))
def test_batches_keep_all_groups_whole_and_in_order(sizes: list[int], most: int) -> None:
    groups = [[*GROUP, *([["set", "tank/v", "a:b", str(number)]] * (size - 1))] for number, size in enumerate(sizes)]
    found = program.batches(groups, most)
    assert [group for batch in found for group in batch] == groups
    for batch in found:
        cost = sum(len(text) + 3 for group in batch for operation in group for text in operation)
        assert len(batch) == 1 or (sum(map(len, batch)) <= program.MOST and cost <= most)


def test_how_groups_have_ended() -> None:
    assert program.ends('{"return":"0 changed 17"}', 3) == [program.DONE, program.CHANGED, "17"]


@pytest.mark.parametrize("text", ["", "[]", "5", "{}", '{"return":"0"}', '{"return":"0 0 0"}', "[" * 9000, "noise\n{}"])
def test_what_is_no_result_is_not_believed(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        program.ends(text, 2)


def test_values_that_are_no_text() -> None:
    """They come from zfs, where somebody has put them."""
    groups = [[["is", "tank/v", "a:b", "\udcff"]]] * 3
    assert [group for batch in program.batches(groups, 60) for group in batch] == groups
