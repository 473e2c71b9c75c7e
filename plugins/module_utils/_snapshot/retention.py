# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which snapshots of one volume stay, and why. Pure: the clock and the time zone are handed in.

Each rule stands for itself: it goes from the newest snapshot to the older ones and keeps the first that it meets in
each of so many periods; periods without a snapshot do not count. What any rule keeps, stays. So a second run finds the
same snapshots first in the same periods, and a larger number only adds to what is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from time import struct_time
from typing import Optional

from ansible_collections.cerss.zfs.plugins.module_utils._core import model, units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Snapshot

LocalTime = Callable[[Optional[float]], struct_time]


def _hour(when: struct_time) -> str:
    # With the offset: when summer time ends, one hour comes twice.
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
RULES = ("last", *PERIODS)


@dataclass(frozen=True)
class Verdict:
    """What becomes of one snapshot: it is kept for a reason, or goes for one."""

    snapshot: Snapshot
    keep: bool
    reason: str


def keep_rules(option: Mapping[str, int | None]) -> dict[str, int]:
    """The option ``keep``: how many of each kind. One must be positive, so that nobody loses all by a slip."""
    rules = {name: number for name, number in option.items() if number is not None}
    for name, number in rules.items():
        if number < 0:
            raise BadInput(f"keep.{name} is {number}; give 0 or more")
    if not any(rules.values()):
        raise BadInput(f"keep keeps nothing: give at least one of {', '.join(RULES)} a positive number")
    return rules


def judge(
    snapshots: Iterable[Snapshot], rules: Mapping[str, int], now: float, localtime: LocalTime
) -> list[Verdict]:  # fmt: skip
    """A verdict on each snapshot of one volume, oldest first. Values and holds of the snapshots must have been read.

    Those marked for deletion are passed over, since they go anyway. Temporary ones are kept until they expire and take
    nobody's place. What holds keep stays, and still takes its place, so nothing changes when the hold goes.
    """
    ordered = sorted((snap for snap in snapshots if snap.state == model.FULL), key=lambda snap: snap.createtxg or 0)
    reasons = _by_rules([snap for snap in ordered if not snap.temporary], rules, localtime)
    return [_verdict(snap, reasons.get(snap.name, []), now) for snap in ordered]


def _verdict(snapshot: Snapshot, reasons: list[str], now: float) -> Verdict:
    held = [
        f"replication {hold.relationship or hold.tag} needs it" if hold.ours else f"held by {hold.tag}"
        for hold in snapshot.holds or []
    ]
    expired = snapshot.expires is not None and snapshot.expires <= now
    if snapshot.temporary and not expired:
        until = units.iso_time(snapshot.expires)
        held.append(f"temporary until {until}" if until else "temporary without an end")
    elif snapshot.temporary:
        reasons = []
    kept = [*reasons, *held]
    if kept:
        return Verdict(snapshot, True, "; ".join(kept))
    return Verdict(snapshot, False, "expired" if expired else "no rule keeps it")


def _by_rules(ordered: list[Snapshot], rules: Mapping[str, int], localtime: LocalTime) -> dict[str, list[str]]:
    """name -> the rules that keep it, each with the place or the period that it is kept for."""
    newest_first = ordered[::-1]
    times = {snap.name: localtime(snap.created or 0) for snap in newest_first}
    found: dict[str, list[str]] = {}
    for place, snap in enumerate(newest_first[: rules.get("last", 0)], 1):
        found.setdefault(snap.name, []).append(f"last {place}")
    for rule, period in PERIODS.items():
        met: set[str] = set()
        for snap in newest_first:
            if len(met) >= rules.get(rule, 0):
                break
            label = period(times[snap.name])
            if label not in met:
                met.add(label)
                found.setdefault(snap.name, []).append(f"{rule} {label}")
    return found
