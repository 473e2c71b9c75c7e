# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which snapshots of one dataset are kept, and why.

Each rule is applied on its own, and a snapshot is kept if any rule keeps it. ``keep`` goes from the newest snapshot to
the oldest and keeps the first one in each period, up to its number of periods; periods without a snapshot do not count.
``within`` keeps the newest one in each period if it is younger than that. ``older_than`` keeps all that are younger. So
a second run prunes nothing, and a larger number never prunes more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import model, units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import LastHold
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Hold, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.periods import PERIODS, LocalTime
from ansible_collections.cerss.zfs.plugins.module_utils._core.unsent import Lack

RULES = ("last", *PERIODS)


@dataclass(frozen=True)
class Rules:
    """What stays. ``keep``: rule -> number; ``within``: kind of period -> seconds; ``older_than`` in seconds.

    ``expired_only``: everything that has not expired.
    """

    keep: Mapping[str, int] = field(default_factory=dict)
    within: Mapping[str, int] = field(default_factory=dict)
    older_than: int | None = None
    expired_only: bool = False

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Rules:
        """Raises BadInput if nothing would be kept, which can only be a mistake."""
        keep, within, older_than = params.get("keep") or {}, params.get("within") or {}, params.get("older_than")
        given = [name for name in ("keep", "within", "older_than") if params.get(name) is not None]
        if params.get("expired_only"):
            if given:
                raise BadInput(f"expired_only cannot be combined with {', '.join(given)}; leave one of them out")
            return cls(expired_only=True)
        numbers = {name: keep[name] for name in RULES if keep.get(name) is not None}
        for name, number in numbers.items():
            if number < 0:
                raise BadInput(f"keep.{name} is {number}; give 0 or a positive number")
        times = {name: units.duration(within[name], f"within.{name}") for name in PERIODS if within.get(name)}
        age = None if older_than is None else units.duration(older_than, "older_than")
        if not any((*numbers.values(), *times.values(), age)):
            raise BadInput(
                f"these rules keep nothing; give at least one of keep ({', '.join(RULES)}) or within "
                f"({', '.join(PERIODS)}) a positive number, or older_than a duration, or set expired_only=true"
            )
        return cls(numbers, times, age)


@dataclass(frozen=True)
class Needs:
    """Why snapshots must stay whatever the rules say, by name. ``lacks``: for what would still be sent."""

    reasons: Mapping[str, Sequence[str]] = field(default_factory=dict)
    lacks: Mapping[str, Sequence[Lack]] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """Why a snapshot is kept. ``lacks`` may be given up if there are no ``reasons``; of what has expired they are."""

    snapshot: Snapshot
    reasons: Sequence[str]
    lacks: Sequence[Lack] = ()
    expired: bool = False


def judge(
    snapshots: Iterable[Snapshot], rules: Rules, now: float, localtime: LocalTime, needs: Needs = Needs()
) -> list[Verdict]:  # fmt: skip
    """A verdict on each snapshot of one dataset, oldest first.

    Their values and holds must have been read. ``now``: seconds since 1970. ``localtime``: as `time.localtime`.
    Snapshots that are pending deletion are skipped. Temporary ones are kept until they expire. No rule counts these,
    nor what has expired. Held ones are kept, and the rules count them; so a later release of the hold changes nothing
    for the others.

    With daily snapshots @1 to @9, ``keep: {"last": 1, "daily": 3}`` keeps @7 ("daily …"), @8 and @9 ("last 1", …).
    """
    ordered = sorted((snap for snap in snapshots if snap.state == model.FULL), key=lambda snap: snap.createtxg or 0)
    counted = [snap for snap in ordered if not (snap.temporary or _has_expired(snap, now))]
    reasons = _by_rules(counted, rules, now, localtime)
    for snap in ordered:
        own = reasons.setdefault(snap.name, [])
        own += [_need(hold) for hold in snap.holds or []]
        own += needs.reasons.get(snap.name, ())
        if snap.temporary and not _has_expired(snap, now):
            until = units.iso_time(snap.expires)
            own.append(f"temporary until {until}" if until else "temporary, never expires")
    return [
        Verdict(snap, reasons[snap.name], needs.lacks.get(snap.name, ()), _has_expired(snap, now)) for snap in ordered
    ]


def _has_expired(snapshot: Snapshot, now: float) -> bool:
    return snapshot.expires is not None and snapshot.expires <= now


def _need(hold: Hold) -> str:
    """Why the hold keeps its snapshot."""
    if isinstance(hold.mark, LastHold):
        return "last received snapshot"
    return f"needed by relationship {hold.relationship}" if hold.relationship else f"has hold {hold.tag}"


def _by_rules(ordered: list[Snapshot], rules: Rules, now: float, localtime: LocalTime) -> dict[str, list[str]]:
    """Name of a snapshot -> the rules that keep it, as ``last 2``, ``daily 2026-11-22`` or ``younger than 30d``."""
    found: dict[str, list[str]] = {snap.name: ["not expired"] if rules.expired_only else [] for snap in ordered}
    newest_first = ordered[::-1]
    for place, snap in enumerate(newest_first[: rules.keep.get("last", 0)], 1):
        found[snap.name].append(f"last {place}")
    for rule, number in rules.keep.items():
        if rule in PERIODS and number:
            for label, snap in islice(_first_in_each(rule, newest_first, localtime), number):
                found[snap.name].append(f"{rule} {label}")
    youngest_first = sorted(newest_first, key=lambda snap: -_created(snap))  # a clock may have been set back
    for rule, seconds in rules.within.items():
        for label, snap in _first_in_each(rule, youngest_first, localtime):
            if now - _created(snap) <= seconds:
                found[snap.name].append(f"{rule} {label} within {units.shown(seconds)}")
    age = rules.older_than or 0
    for snap in ordered if age else ():
        if now - _created(snap) <= age:
            found[snap.name].append(f"younger than {units.shown(age)}")
    return found


def _first_in_each(rule: str, snapshots: Iterable[Snapshot], localtime: LocalTime) -> Iterator[tuple[str, Snapshot]]:
    """The first snapshot in each period, with the name of the period."""
    met: set[str] = set()
    for snap in snapshots:
        label = PERIODS[rule](localtime(_created(snap)))
        if label not in met:
            met.add(label)
            yield label, snap


def _created(snapshot: Snapshot) -> int:
    return snapshot.created or 0
