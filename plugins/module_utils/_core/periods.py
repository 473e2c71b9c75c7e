# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hours, days, weeks, months and years in which snapshots were created, as texts that differ for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from time import struct_time
from typing import Optional

LocalTime = Callable[[Optional[float]], struct_time]


def _hour(when: struct_time) -> str:
    # With the offset, since one hour comes twice when summer time ends.
    minutes = (when.tm_gmtoff or 0) // 60
    sign = "-" if minutes < 0 else "+"
    return f"{_day(when)} {when.tm_hour:02}h{sign}{abs(minutes) // 60:02}{abs(minutes) % 60:02}"


def _day(when: struct_time) -> str:
    return f"{when.tm_year:04}-{when.tm_mon:02}-{when.tm_mday:02}"


def _week(when: struct_time) -> str:
    year, week, _weekday = date(when.tm_year, when.tm_mon, when.tm_mday).isocalendar()
    return f"{year:04}-W{week:02}"


def _month(when: struct_time) -> str:
    return f"{when.tm_year:04}-{when.tm_mon:02}"


def _year(when: struct_time) -> str:
    return f"{when.tm_year:04}"


PERIODS: Mapping[str, Callable[[struct_time], str]] = {
    "hourly": _hour,
    "daily": _day,
    "weekly": _week,
    "monthly": _month,
    "yearly": _year,
}


def firsts(
    times: Iterable[float], names: Iterable[str], before: float | None, localtime: LocalTime
) -> list[bool]:  # fmt: skip
    """For each time, the oldest one first, whether it is the first one in a period of any of the names.

    ``before``: an earlier time, in whose periods nothing is the first one any more; None if there is none.

    >>> firsts([0, 3600, 90000], ["daily"], None, gmtime), firsts([3600, 90000], ["daily"], 0, gmtime)
    ([True, False, True], [False, True])
    """
    rules = [PERIODS[name] for name in names]
    met = {(rule, rule(localtime(before))) for rule in rules if before is not None}
    found = []
    for time in times:
        labels = {(rule, rule(localtime(time))) for rule in rules}
        found.append(not labels <= met)
        met |= labels
    return found
