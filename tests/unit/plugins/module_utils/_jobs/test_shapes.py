# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the values of a declaration may be, and the sentence about each that may not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._jobs import shapes
from ansible_collections.cerss.zfs.plugins.module_utils._jobs.shapes import Check

KEYS = {"last": shapes.number, "daily": shapes.number}


@pytest.mark.parametrize(
    ("check", "value", "becomes"),
    [
        (shapes.text, "a", "a"),
        (shapes.text, 22, 22),
        (shapes.texts, "a, b\nc", ["a", "b", "c"]),
        (shapes.texts, ["a,b", 1], ["a,b", "1"]),
        (shapes.texts, 7, ["7"]),
        (shapes.datasets, "tank/a,tank/b", ["tank/a", "tank/b"]),
        (shapes.dataset, "tank", "tank"),
        (shapes.template, "nightly-%F", "nightly-%F"),
        (shapes.patterns, ["daily-*", r"re:a{1,2}"], ["daily-*", r"re:a{1,2}"]),
        (shapes.boolean, True, True),
        (shapes.boolean, "No", False),
        (shapes.boolean, 1, True),
        (shapes.number, 3, 3),
        (shapes.number, " 3 ", 3),
        (shapes.duration, "1h30m", "1h30m"),
        (shapes.duration, 90, "90"),
        (shapes.one, "1", 1),
        (shapes.size, "20M", "20M"),
        (shapes.one_of("a", "b"), "b", "b"),
        (shapes.dictionary(), {"x": 1}, {"x": 1}),
        (shapes.dictionary(KEYS), {"last": "1", "daily": None}, {"last": 1}),
        (shapes.dictionaries(KEYS), {"last": 1}, [{"last": 1}]),
        (shapes.dictionaries(KEYS), [{"last": 1}, {"daily": ""}], [{"last": 1}, {}]),
        (shapes.scalar, True, True),
        (shapes.scalar, 2026, "2026"),
    ],
)
def test_what_a_value_becomes(check: Check, value: Any, becomes: Any) -> None:
    problems: list[str] = []
    assert check(value, "job x: key", problems) == becomes
    assert problems == []


@pytest.mark.parametrize(
    ("check", "value", "problem"),
    [
        (shapes.text, ["a"], "job x: key is a list; give a text"),
        (shapes.scalar, ["a"], "job x: key is a list; give a text"),
        (shapes.texts, [["a"]], "job x: key is a list; give a list of texts"),
        (shapes.texts, {"a": 1}, "job x: key is a dictionary; give a list of texts"),
        (shapes.datasets, "tank/a@s", "job x: key: 'tank/a@s' names a snapshot"),
        (shapes.datasets, ["tank", "tank"], "job x: key lists a dataset more than once"),
        (shapes.dataset, "tank/", "job x: key: 'tank/' is not a valid dataset name"),
        (shapes.template, "a-%p", "job x: key: '%p'"),
        (shapes.patterns, ["re:("], "job x: key: 're:(' is not a regular expression"),
        (shapes.boolean, "perhaps", "job x: key is 'perhaps'; give true or false"),
        (shapes.number, "few", "job x: key is 'few'; give a whole number, 0 or more"),
        (shapes.number, -1, "job x: key is -1"),
        (shapes.one, 2, "job x: key is 2; give 1, for the first snapshot of each period"),
        (shapes.number, True, "job x: key is True"),
        (shapes.number, 1.5, "job x: key is 1.5"),
        (shapes.duration, "soon", "job x: key: 'soon' is not a duration"),
        (shapes.size, "much", "job x: key: 'much' is not a size"),
        (shapes.one_of("a", "b"), "c", "job x: key is 'c'; give one of a, b"),
        (shapes.dictionary(KEYS), 7, "job x: key is 7; give a dictionary with some of daily, last"),
        (shapes.dictionary(), "x", "job x: key is 'x'; give a dictionary"),
        (shapes.dictionary(KEYS), {"dayly": 1}, "job x: key has no key dayly; the keys are daily, last"),
        (shapes.dictionary(KEYS), {"last": "x"}, "job x: key.last is 'x'"),
        (shapes.dictionary(KEYS, ("last",)), {"last": ""}, "job x: key lacks last"),
        (shapes.dictionaries(KEYS), [{}, {"b": 1, "a": 2}], "job x: key[1] has no key a and b; the keys are"),
    ],
)
def test_what_is_wrong_with_a_value(check: Check, value: Any, problem: str) -> None:
    problems: list[str] = []
    check(value, "job x: key", problems)
    assert len(problems) == 1
    assert problems[0].startswith(problem), problems


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["last", "daily", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
CHECKS = [
    shapes.text, shapes.texts, shapes.datasets, shapes.patterns, shapes.boolean, shapes.number, shapes.duration,
    shapes.size, shapes.template, shapes.one_of("a"), shapes.dictionary(), shapes.dictionary(KEYS),
    shapes.dictionaries(KEYS),
]  # fmt: skip


@given(st.sampled_from(CHECKS), VALUES)
def test_a_check_never_raises_and_changes_nothing(check: Check, value: Any) -> None:
    before, problems = repr(value), list[str]()
    check(value, "job x: key", problems)
    assert repr(value) == before
    assert all(text.startswith("job x: key") for text in problems)
