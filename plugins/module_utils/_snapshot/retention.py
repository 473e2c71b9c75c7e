# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which snapshots of one dataset are kept, and why.

Each rule is applied on its own. It goes from the newest snapshot to the oldest and keeps the first one in each period,
up to its number of periods; periods without a snapshot do not count. A snapshot is kept if any rule keeps it. So a
second run prunes nothing, and a larger number never prunes more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from time import struct_time
from typing import Optional

from ansible_collections.cerss.zfs.plugins.module_utils._core import model, units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import LastHold
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Hold, Snapshot

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
RULES = ("last", *PERIODS)


@dataclass(frozen=True)
class Verdict:
    """Whether one snapshot is kept, and the reason."""

    snapshot: Snapshot
    keep: bool
    reason: str


def keep_rules(option: Mapping[str, int | None]) -> dict[str, int]:
    """The option ``keep`` without what is None. BadInput if it keeps nothing, which can only be a mistake."""
    rules = {name: number for name, number in option.items() if number is not None}
    for name, number in rules.items():
        if number < 0:
            raise BadInput(f"keep.{name} is {number}; give 0 or a positive number")
    if not any(rules.values()):
        raise BadInput(f"keep keeps nothing; give at least one of {', '.join(RULES)} a positive number")
    return rules


def judge(
    snapshots: Iterable[Snapshot], rules: Mapping[str, int], now: float, localtime: LocalTime
) -> list[Verdict]:  # fmt: skip
    """A verdict on each snapshot of one dataset, oldest first.

    Their values and holds must have been read. ``now``: seconds since 1970. ``localtime``: as `time.localtime`.
    Snapshots that are pending deletion are skipped. Temporary ones are kept until they expire, and no rule counts them.
    Held ones are kept, and the rules count them; so a later release of the hold changes nothing for the others.

    With daily snapshots @1 to @9, ``{"last": 1, "daily": 3}`` keeps @7 ("daily …"), @8 and @9 ("last 1; daily …").
    """
    ordered = sorted((snap for snap in snapshots if snap.state == model.FULL), key=lambda snap: snap.createtxg or 0)
    reasons = _by_rules([snap for snap in ordered if not snap.temporary], rules, localtime)
    return [_verdict(snap, reasons.get(snap.name, []), now) for snap in ordered]


def _verdict(snapshot: Snapshot, reasons: list[str], now: float) -> Verdict:
    held = [_need(hold) for hold in snapshot.holds or []]
    expired = snapshot.expires is not None and snapshot.expires <= now
    if snapshot.temporary and not expired:
        until = units.iso_time(snapshot.expires)
        held.append(f"temporary until {until}" if until else "temporary, never expires")
    elif snapshot.temporary:
        reasons = []
    kept = [*reasons, *held]
    if kept:
        return Verdict(snapshot, True, "; ".join(kept))
    return Verdict(snapshot, False, "expired" if expired else "no rule keeps it")


def _need(hold: Hold) -> str:
    """Why the hold keeps its snapshot."""
    if isinstance(hold.mark, LastHold):
        return "last received snapshot"
    return f"needed by relationship {hold.relationship}" if hold.relationship else f"has hold {hold.tag}"


def _by_rules(ordered: list[Snapshot], rules: Mapping[str, int], localtime: LocalTime) -> dict[str, list[str]]:
    """Name of a snapshot -> the rules that keep it, as ``last 2`` or ``daily 2026-11-22``."""
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
