# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Durations, sizes and times: what people write, as numbers, and back."""

from __future__ import annotations

import re
from datetime import datetime, timezone

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput

_DURATION = re.compile(r"[0-9]+|([0-9]+[smhdw])+")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
MAX_DURATION = 40  # characters
SKEW = 60  # seconds that the clocks of two hosts may differ
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGTPE]?)(?:i?B)?\Z", re.IGNORECASE)


def duration(text: str | int, option: str) -> int:
    """``90s``, ``15m``, ``2h``, ``7d``, ``4w``, ``1h30m`` or whole seconds, as seconds. BadInput names ``option``.

    >>> duration("1h30m", "timeout"), duration(90, "timeout")
    (5400, 90)
    """
    text = str(text).strip()
    if len(text) > MAX_DURATION or not _DURATION.fullmatch(text):
        raise BadInput(f"{option}: {text!r} is not a duration; write 90s, 15m, 2h, 7d, 4w, 1h30m or whole seconds")
    return sum(int(number) * _SECONDS[unit] for number, unit in re.findall(r"([0-9]+)([smhdw]?)", text))


def shown(seconds: int) -> str:
    """The shortest duration that says it, in days at most.

    >>> shown(2592000), shown(5400), shown(61)
    ('30d', '90m', '61s')
    """
    unit = next(unit for unit in "dhms" if seconds % _SECONDS[unit] == 0)
    return f"{seconds // _SECONDS[unit]}{unit}"


def size(text: str | int, option: str) -> int:
    """``64K``, ``10M``, ``1.5G`` (units of 1024) or bytes, as bytes. BadInput names ``option``."""
    found = _SIZE.match(str(text).strip())
    if not found:
        raise BadInput(f"{option}: {text!r} is not a size; write 64K, 10M, 2G (units of 1024) or bytes")
    return int(float(found.group(1)) * 1024 ** " KMGTPE".index(found.group(2).upper() or " "))


def number(text: str) -> int | None:
    """A column of ``zfs list -p`` or ``zfs get -p``, which is less than 2**64; None for ``-`` and any other text."""
    found = int(text) if len(text) <= 20 and text.isascii() and text.isdigit() else 2**64
    return found if found < 2**64 else None


def age(created: float, now: float, skew: float = SKEW) -> float | None:
    """Seconds since ``created``. None for a time in the future: a clock was or is wrong, so nobody knows the age.

    What the clocks of two hosts may differ by is not the future. ``skew``: 0 if the time is of this host's clock.

    >>> age(100, 160), age(100, 70), age(100, 30)
    (60, 0, None)
    """
    return None if created > now + skew else max(0, now - created)


def iso_time(epoch: int | float | None) -> str | None:
    """Seconds since 1970 as ``2026-11-23T07:08:02Z``; None for None, and beyond the year 9999."""
    if epoch is None:
        return None
    try:
        return datetime.fromtimestamp(int(epoch), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return None


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LOCAL_TIME = re.compile(r"\w{3} (\w{3}) +(\d{1,2}) +(\d{1,2}):(\d\d)(?::(\d\d))? (\d{4})\Z", re.ASCII)


def local_epoch(text: str) -> int | None:
    """``Mon Nov  3 07:08:02 2026`` (ctime(3)), in this host's time zone, as seconds since 1970; None for other texts.

    Not strptime, which expects the months of the user's language.
    """
    found = _LOCAL_TIME.match(text)
    if not found or found[1] not in _MONTHS:
        return None
    day, hour, minute, second, year = (int(part or 0) for part in found.groups()[1:])
    try:
        return int(datetime(year, _MONTHS.index(found[1]) + 1, day, hour, minute, second).timestamp())
    except (ValueError, OverflowError, OSError):
        return None


def epoch_of(text: str | None) -> int | None:
    """The reverse of `iso_time`; None for any other text."""
    try:
        return int(datetime.strptime(text or "", "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp())
    except ValueError:
        return None
