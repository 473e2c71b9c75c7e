# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.periods import PERIODS, firsts

DAY = 86400


def test_labels() -> None:
    when = time.gmtime(1798758000)  # 2026-12-31 23:00, a Thursday
    assert {name: period(when) for name, period in PERIODS.items()} == {
        "hourly": "2026-12-31 23h+0000",
        "daily": "2026-12-31",
        "weekly": "2026-W53",
        "monthly": "2026-12",
        "yearly": "2026",
    }


@pytest.mark.parametrize(
    ("days", "names", "before", "first"),
    [
        ([0, 1, 40], ["monthly"], None, [True, False, True]),
        ([1, 2, 40], ["monthly"], 0, [False, False, True]),
        ([1, 2, 40], ["daily"], 0, [True, True, True]),
        ([0, 3, 4, 32], ["weekly", "monthly"], None, [True, False, True, True]),
        ([40, 1, 41], ["monthly"], None, [True, True, False]),  # a clock was set back
        ([0, 1], [], None, [False, False]),
        ([], ["daily"], 3, []),
    ],
)
def test_firsts(days: Sequence[int], names: list[str], before: int | None, first: list[bool]) -> None:
    earlier = None if before is None else before * DAY
    assert firsts([day * DAY for day in days], names, earlier, time.gmtime) == first


@given(st.lists(st.integers(0, 10**8)).map(sorted), st.sets(st.sampled_from(sorted(PERIODS))), st.data())
def test_what_was_first_stays_so(times: list[int], names: set[str], data: st.DataObject) -> None:
    """What comes later changes nothing, and a part that begins after any time is judged as in the whole."""
    whole = firsts(times, names, None, time.gmtime)
    number = data.draw(st.integers(0, len(times)))
    assert firsts(times[:number], names, None, time.gmtime) == whole[:number]
    if number:
        assert firsts(times[number:], names, times[number - 1], time.gmtime) == whole[number:]
