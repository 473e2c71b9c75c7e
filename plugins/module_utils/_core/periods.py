# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hours, days, weeks, months and years in which snapshots were created, as texts that differ for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
