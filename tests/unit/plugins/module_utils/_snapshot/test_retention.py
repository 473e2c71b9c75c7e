# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The retention rules, over random histories in several time zones."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import PENDING_DELETE, Hold, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.retention import RULES, judge, keep_rules

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
    """Snapshots of one dataset: regular and in bursts, held, temporary, with clocks that were set back."""
    ages = draw(st.lists(st.one_of(st.integers(0, 90), st.integers(0, 24 * 90)), max_size=40))
    result = []
    for txg, age in enumerate(sorted(ages, reverse=True)):
        slip = draw(st.sampled_from([0, 0, 0, 0, 5400, -7200]))
        created = NOW - age * 3600 + slip
        snap = Snapshot(f"tank/v@{txg}", guid=str(txg), createtxg=txg, created=created, userrefs=0, clones=[])
        snap.holds = draw(st.sampled_from([[], [], [], [Hold("mine")], [Hold("cerss.zfs:last")]]))
        snap.temporary = draw(st.sampled_from([False, False, False, True]))
        snap.lifetime = draw(st.sampled_from([None, 3600, 10**6])) if snap.temporary else None
        result.append(snap)
    return result


rules = st.fixed_dictionaries({}, optional={name: st.integers(0, 12) for name in RULES})
many = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def kept(snapshots: list[Snapshot], keep: dict[str, int]) -> list[Snapshot]:
    return [verdict.snapshot for verdict in judge(snapshots, keep, NOW, time.localtime) if verdict.keep]


@many
@given(histories(), rules)
def test_a_second_run_prunes_nothing(zone: str, snapshots: list[Snapshot], keep: dict[str, int]) -> None:
    first = kept(snapshots, keep)
    assert kept(first, keep) == first


@many
@given(histories(), rules, rules)
def test_more_keep_never_prunes_more(
    zone: str, snapshots: list[Snapshot], keep: dict[str, int], more: dict[str, int]
) -> None:
    larger = {name: keep.get(name, 0) + more.get(name, 0) for name in {*keep, *more}}
    fewer_names = {snap.name for snap in kept(snapshots, keep)}
    assert fewer_names <= {snap.name for snap in kept(snapshots, larger)}


@many
@given(histories(), rules)
def test_every_verdict_has_its_reason_and_nothing_needed_goes(
    zone: str, snapshots: list[Snapshot], keep: dict[str, int]
) -> None:  # fmt: skip
    for verdict in judge(snapshots, keep, NOW, time.localtime):
        assert verdict.reason
        snap = verdict.snapshot
        if not verdict.keep:
            assert not snap.holds
            assert not snap.temporary or (snap.expires is not None and snap.expires <= NOW)
    permanent = [snap for snap in snapshots if not snap.temporary]
    asked = min(keep.get("last", 0), len(permanent))
    assert {snap.name for snap in permanent[len(permanent) - asked :]} <= {snap.name for snap in kept(snapshots, keep)}


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
    reasons = [v.reason for v in judge(snapshots, {"hourly": 24}, NOW, time.localtime)]
    assert reasons[2:4] == ["hourly 2026-10-25 02h+0200", "hourly 2026-10-25 02h+0100"]
    assert all(v.keep for v in judge(snapshots, {"hourly": 6}, NOW, time.localtime))


@pytest.mark.usefixtures("berlin")
def test_the_day_with_23_hours_is_one_day() -> None:
    snapshots = hourly(datetime(2026, 3, 27, 23, 0), 24 + 23 + 24)  # three whole days from local midnight on
    verdicts = judge(snapshots, {"daily": 7}, NOW, time.localtime)
    reasons = [v.reason for v in verdicts if v.keep]
    assert reasons == ["daily 2026-03-28", "daily 2026-03-29", "daily 2026-03-30"]


def test_weeks_are_those_of_the_calendar_over_new_year(zone: str) -> None:
    assert zone
    snapshots = hourly(datetime(2026, 12, 28, 12, 0), 24 * 10)
    reasons = [v.reason for v in judge(snapshots, {"weekly": 9, "yearly": 9}, NOW, time.localtime) if v.keep]
    assert {"weekly 2026-W53", "weekly 2027-W01"} <= {part for reason in reasons for part in reason.split("; ")}


def test_reasons_in_full() -> None:
    held = Snapshot("tank/v@0", createtxg=0, created=NOW - 10, temporary=False, holds=[Hold("backup")])
    holds = [Hold(tag) for tag in ("cerss.zfs:last", "cerss.zfs:step:00112233445566aa", "cerss.zfs:odd")]
    needed = Snapshot("tank/v@1", createtxg=1, created=NOW - 9, temporary=False, holds=holds)
    coming = Snapshot("tank/v@2", createtxg=2, created=NOW - 8, temporary=True, lifetime=3600, holds=[])
    endless = Snapshot("tank/v@3", createtxg=3, created=NOW - 7, temporary=True, holds=[])
    expired = Snapshot("tank/v@4", createtxg=4, created=NOW - 6, temporary=True, lifetime=5, holds=[])
    pending = Snapshot("tank/v@5", createtxg=5, created=NOW - 5, state=PENDING_DELETE, holds=[])
    newest = Snapshot("tank/v@6", createtxg=6, created=NOW - 4, temporary=False, holds=[])
    verdicts = judge([newest, pending, expired, endless, coming, needed, held], {"last": 1}, NOW, time.localtime)
    assert [(v.keep, v.reason) for v in verdicts] == [
        (True, "has hold backup"),
        (True, "last received snapshot; needed by relationship 00112233445566aa; has hold cerss.zfs:odd"),
        (True, "temporary until 2026-11-23T08:07:54Z"),
        (True, "temporary, never expires"),
        (False, "expired"),
        (True, "last 1"),
    ]


@pytest.mark.parametrize(
    ("option", "told"),
    [({}, "keeps nothing"), ({"last": 0, "daily": None}, "keeps nothing"), ({"last": -1}, "keep.last is -1")],
)
def test_keep_rules_that_cannot_be_meant(option: dict[str, int | None], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        keep_rules(option)
