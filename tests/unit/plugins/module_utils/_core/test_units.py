# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core import units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("2h", 7200), ("7d", 604800), ("4w", 2419200), ("5", 5), (5, 5), ("1h30m", 5400)],
)
def test_duration(text: Any, seconds: int) -> None:
    assert units.duration(text, "x") == seconds


@given(st.integers(0, 10**9))
def test_a_duration_is_shown_as_it_is_written(seconds: int) -> None:
    assert units.duration(units.shown(seconds), "x") == seconds


@pytest.mark.parametrize("text", ["", "1y", "-1", "1.5h", "h", "1 h x", "1h30", "1" * 41, "\u0661h"])
def test_invalid_duration(text: str) -> None:
    with pytest.raises(BadInput, match=r"wait: .* is not a duration; write 90s"):
        units.duration(text, "wait")


@pytest.mark.parametrize(
    ("text", "size"), [("64K", 65536), ("10m", 10 << 20), ("2GiB", 2 << 30), ("1.5K", 1536), (7, 7)]
)
def test_size(text: Any, size: int) -> None:
    assert units.size(text, "x") == size


def test_invalid_size() -> None:
    with pytest.raises(BadInput, match="is not a size"):
        units.size("many", "x")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0), ("18446744073709551615", 2**64 - 1), ("18446744073709551616", None), ("9" * 5000, None),
        ("-", None), ("", None), ("-1", None), ("\u00b2", None), (" 5", None),
    ],
)  # fmt: skip
def test_number(text: str, number: int | None) -> None:
    assert units.number(text) == number


@given(st.integers(0, 2**35))
def test_time_round_trip(epoch: int) -> None:
    assert units.epoch_of(units.iso_time(epoch)) == epoch


@given(st.integers(0, 2**34), st.integers(-(2**34), 2**34), st.integers(0, 100))
def test_an_age_is_never_below_zero(now: int, ago: int, skew: int) -> None:
    assert units.age(now - ago, now, skew) == (ago if ago >= 0 else 0 if -ago <= skew else None)


def test_time() -> None:
    assert units.iso_time(1795417682.9) == "2026-11-23T07:08:02Z"
    assert units.iso_time(None) is None
    assert units.iso_time(2**64) is None
    assert units.iso_time(253402300800) is None  # the year 10000
    assert units.epoch_of("2026-11-23 07:08:02") is None
    assert units.epoch_of(None) is None


@given(st.integers(0, 2**32))
def test_local_time_round_trip(epoch: int) -> None:
    # In winter, when no hour comes twice
    month = time.localtime(epoch).tm_mon
    assert units.local_epoch(time.ctime(epoch)) == epoch or month not in (1, 6)


@pytest.mark.parametrize("text", ["", "Mon Nov 31 01:02:03 2026", "Mo 2. Nov 01:02:03 2026", "Mon Foo  3 01:02 2026"])
def test_invalid_local_time(text: str) -> None:
    assert units.local_epoch(text) is None


def test_a_local_time_without_seconds() -> None:
    assert units.local_epoch("Fri Nov 27 06:59 2026") == units.local_epoch("Fri Nov 27 06:59:00 2026")
