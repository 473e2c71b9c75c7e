# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The retention rules, over random histories in several time zones."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import PENDING_DELETE, Hold, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.periods import PERIODS
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.retention import RULES, Needs, Rules, judge

NOW = 1795417682


@pytest.fixture(params=["Europe/Berlin", "UTC", "America/New_York", "Australia/Lord_Howe"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@st.composite
def histories(draw: st.DrawFn) -> list[Snapshot]:
    """Snapshots of one dataset: regular and in bursts, held, temporary, expired, with clocks that were set back."""
    ages = draw(st.lists(st.one_of(st.integers(0, 90), st.integers(0, 24 * 90)), max_size=40))
    result = []
    for txg, age in enumerate(sorted(ages, reverse=True)):
        slip = draw(st.sampled_from([0, 0, 0, 0, 5400, -7200]))
        created = NOW - age * 3600 + slip
        snap = Snapshot(f"tank/v@{txg}", guid=str(txg), createtxg=txg, created=created, userrefs=0, clones=[])
        snap.holds = draw(st.sampled_from([[], [], [], [Hold("mine")], [Hold("cerss.zfs:last")]]))
        snap.temporary = draw(st.sampled_from([False, False, False, True]))
        snap.lifetime = draw(st.sampled_from([None, 3600, 10**6] if snap.temporary else [None, None, 3600, 10**6]))
        result.append(snap)
    return result


numbers = st.fixed_dictionaries({}, optional={name: st.integers(0, 12) for name in RULES})
ages = st.integers(0, 24 * 90).map(lambda hours: hours * 3600)
times = st.fixed_dictionaries({}, optional=dict.fromkeys(PERIODS, ages))
rules = st.builds(Rules, numbers, times, st.none() | ages) | st.just(Rules(expired_only=True))
many = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def kept(snapshots: list[Snapshot], given_rules: Rules) -> list[Snapshot]:
    verdicts = judge(snapshots, given_rules, NOW, time.localtime)
    return [verdict.snapshot for verdict in verdicts if verdict.reasons]


@many
@given(histories(), rules)
def test_a_second_run_prunes_nothing(zone: str, snapshots: list[Snapshot], given_rules: Rules) -> None:
    first = kept(snapshots, given_rules)
    assert kept(first, given_rules) == first


def larger(one: Any, other: Any) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {*one, *other}}


@many
@given(histories(), rules, rules)
def test_more_keep_never_prunes_more(zone: str, snapshots: list[Snapshot], few: Rules, more: Rules) -> None:
    age = None if few.older_than is None and more.older_than is None else (few.older_than or 0) + (more.older_than or 0)
    many_ = replace(few, keep=larger(few.keep, more.keep), within=larger(few.within, more.within), older_than=age)
    assert {snap.name for snap in kept(snapshots, few)} <= {snap.name for snap in kept(snapshots, many_)}
    every = [
        {snap.name for snap in kept(snapshots, each)}
        for each in (Rules(keep=few.keep), Rules(within=few.within), Rules(older_than=few.older_than))
    ]
    if not few.expired_only:  # the rules add up
        assert {snap.name for snap in kept(snapshots, few)} == set().union(*every)


@many
@given(histories(), rules)
def test_nothing_needed_goes_and_nothing_expired_stays(
    zone: str, snapshots: list[Snapshot], given_rules: Rules
) -> None:  # fmt: skip
    verdicts = {verdict.snapshot.name: verdict for verdict in judge(snapshots, given_rules, NOW, time.localtime)}
    assert verdicts.keys() == {snap.name for snap in snapshots}
    for snap in snapshots:
        has_expired = snap.expires is not None and snap.expires <= NOW
        assert verdicts[snap.name].expired == has_expired
        stays = bool(verdicts[snap.name].reasons)
        if snap.holds or (snap.temporary and not has_expired):
            assert stays
        elif has_expired:
            assert not stays
        elif given_rules.expired_only or NOW - (snap.created or 0) <= (given_rules.older_than or -(10**6)):
            assert stays
    counted = [snap for snap in snapshots if not (snap.temporary or verdicts[snap.name].expired)]
    asked = min(given_rules.keep.get("last", 0), len(counted))
    assert {snap.name for snap in counted[len(counted) - asked :]} <= {s.name for s in kept(snapshots, given_rules)}


@many
@given(histories(), st.sampled_from([*PERIODS]), ages)
def test_within_keeps_the_newest_of_each_period(zone: str, snapshots: list[Snapshot], rule: str, age: int) -> None:
    plain = [replace(snap, holds=[], temporary=False, lifetime=None) for snap in snapshots]
    newest: dict[str, int] = {}
    for snap in plain:
        label = PERIODS[rule](time.localtime(snap.created))
        newest[label] = max(newest.get(label, 0), snap.created or 0)
    stays = kept(plain, Rules(within={rule: age}))
    assert {snap.created for snap in stays} == {created for created in newest.values() if NOW - created <= age}


@pytest.mark.parametrize("seconds", [120, 600])
def test_a_clock_that_was_set_back_does_not_make_a_longer_time_keep_less(seconds: int) -> None:
    first = Snapshot("tank/v@1", createtxg=1, created=NOW - 60, temporary=False, holds=[])
    second = Snapshot("tank/v@2", createtxg=2, created=NOW - 400, temporary=False, holds=[])
    assert kept([first, second], Rules(within={"hourly": seconds})) == [first]


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def hourly(start: datetime, hours: int) -> list[Snapshot]:
    first = int(start.replace(tzinfo=timezone.utc).timestamp())
    return [
        Snapshot(f"tank/v@{n}", createtxg=n, created=first + n * 3600, holds=[], temporary=False) for n in range(hours)
    ]


@pytest.mark.usefixtures("berlin")
def test_the_hour_that_comes_twice_counts_twice() -> None:
    snapshots = hourly(datetime(2026, 10, 24, 22, 0), 6)  # 00:00 to 04:00, with 02:00 twice
    reasons = [verdict.reasons for verdict in judge(snapshots, Rules({"hourly": 24}), NOW, time.localtime)]
    assert reasons[2:4] == [["hourly 2026-10-25 02h+0200"], ["hourly 2026-10-25 02h+0100"]]
    assert len(kept(snapshots, Rules({"hourly": 6}))) == 6


@pytest.mark.usefixtures("berlin")
def test_the_day_with_23_hours_is_one_day() -> None:
    snapshots = hourly(datetime(2026, 3, 27, 23, 0), 24 + 23 + 24)  # three whole days from local midnight on
    verdicts = judge(snapshots, Rules({"daily": 7}), NOW, time.localtime)
    reasons = [reason for verdict in verdicts for reason in verdict.reasons]
    assert reasons == ["daily 2026-03-28", "daily 2026-03-29", "daily 2026-03-30"]


def test_weeks_are_those_of_the_calendar_over_new_year(zone: str) -> None:
    assert zone
    snapshots = hourly(datetime(2026, 12, 28, 12, 0), 24 * 10)
    verdicts = judge(snapshots, Rules({"weekly": 9, "yearly": 9}), NOW, time.localtime)
    assert {"weekly 2026-W53", "weekly 2027-W01"} <= {reason for verdict in verdicts for reason in verdict.reasons}


def test_reasons_in_full() -> None:
    held = Snapshot("tank/v@0", createtxg=0, created=NOW - 10, temporary=False, holds=[Hold("backup")])
    holds = [Hold(tag) for tag in ("cerss.zfs:last", "cerss.zfs:step:00112233445566aa", "cerss.zfs:odd")]
    needed = Snapshot("tank/v@1", createtxg=1, created=NOW - 9, temporary=False, holds=holds)
    coming = Snapshot("tank/v@2", createtxg=2, created=NOW - 8, temporary=True, lifetime=3600, holds=[])
    endless = Snapshot("tank/v@3", createtxg=3, created=NOW - 7, temporary=True, holds=[])
    expired = Snapshot("tank/v@4", createtxg=4, created=NOW - 6, temporary=True, lifetime=5, holds=[])
    pending = Snapshot("tank/v@5", createtxg=5, created=NOW - 5, state=PENDING_DELETE, holds=[])
    newest = Snapshot("tank/v@6", createtxg=6, created=NOW - 4, temporary=False, holds=[])
    old = Snapshot("tank/v@-1", createtxg=-1, created=NOW - 90000, temporary=False, lifetime=10**6, holds=[])
    late = Snapshot("tank/v@-2", createtxg=-2, created=NOW - 90001, temporary=False, lifetime=10**4, holds=[])
    everything = [newest, pending, expired, endless, coming, needed, held, old, late]
    rules_ = Rules({"last": 1}, {"daily": 2 * 86400}, 5400)
    verdicts = judge(everything, rules_, NOW, time.gmtime, Needs({"tank/v@4": ["is being sent"]}))
    assert [list(verdict.reasons) for verdict in verdicts] == [
        [],
        ["daily 2026-11-22 within 2d"],
        ["younger than 90m", "has hold backup"],
        ["younger than 90m", "last received snapshot", "needed by relationship 00112233445566aa",
         "has hold cerss.zfs:odd"],
        ["temporary until 2026-11-23T08:07:54Z"],
        ["temporary, never expires"],
        ["is being sent"],
        ["last 1", "daily 2026-11-23 within 2d", "younger than 90m"],
    ]  # fmt: skip
    assert [verdict.snapshot.name for verdict in verdicts if verdict.expired] == ["tank/v@-2", "tank/v@4"]
    told = judge(everything, Rules(expired_only=True), NOW, time.gmtime)[1].reasons
    assert list(told) == ["not expired"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "these rules keep nothing"),
        ({"keep": {}}, "these rules keep nothing"),
        ({"keep": {"last": 0, "daily": None}, "within": {"daily": "0", "hourly": None}}, "these rules keep nothing"),
        ({"older_than": "0"}, "these rules keep nothing"),
        ({"keep": {"last": -1}}, "keep.last is -1"),
        ({"within": {"daily": "1y"}}, "within.daily: '1y' is not a duration"),
        ({"older_than": "old"}, "older_than: 'old' is not a duration"),
        ({"expired_only": True, "keep": {"last": 1}}, "expired_only cannot be combined with keep"),
        ({"expired_only": True, "keep": {}, "older_than": "1d"}, "cannot be combined with keep, older_than"),
    ],
)
def test_rules_that_cannot_be_meant(options: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        Rules.from_params(options)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"keep": {"last": 1, "daily": None}}, Rules({"last": 1})),
        ({"within": {"hourly": "2d", "daily": None}}, Rules(within={"hourly": 172800})),
        ({"keep": {"last": 0}, "older_than": "1h30m"}, Rules({"last": 0}, older_than=5400)),
        ({"expired_only": True, "keep": None}, Rules(expired_only=True)),
    ],
)
def test_rules_from_options(options: dict[str, Any], expected: Rules) -> None:
    assert Rules.from_params(options) == expected
