# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a source's records say is still to be sent."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import CommitPoints, Filter, ReplicaRecords
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import PENDING_DELETE, Dataset, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.periods import PERIODS
from ansible_collections.cerss.zfs.plugins.module_utils._core.unsent import (
    MOST_FILTER,
    bases,
    is_sent,
    storable,
    unsent,
)
from ansible_collections.cerss.zfs.tests.unit.pairs import (
    ID,
    OTHER,
    POOL,
    points,
    record,
    records,
    source,
)

NIGHTLY = Filter("nightly", ("s[12]",))


def lacking(dataset: Dataset) -> dict[str, list[str | None]]:
    """Part after the @ -> ids of the relationships."""
    found = unsent(dataset, dataset.snapshots)
    return {name.partition("@")[2]: [lack.relationship for lack in lacks] for name, lacks in found.items()}


@pytest.mark.parametrize(
    ("filters", "at", "expected"),
    [
        ((), 1, ["s2", "s3", "s4"]),
        ((), None, ["s1", "s2", "s3", "s4"]),  # nothing has arrived
        ((NIGHTLY,), None, ["s1", "s2"]),
        ((NIGHTLY,), 1, ["s2"]),
        ((NIGHTLY,), 2, []),
        ((Filter("", (), ("s3",)),), 1, ["s2", "s4"]),
        ((Filter("", (), (), (), False),), 1, ["s4"]),  # without intermediates only the newest one
        ((Filter("", ("s[123]",), (), (), False),), 1, ["s3"]),
        ((Filter("a", ("s2",)), Filter("b", ("s[23]",), (), (), False)), 1, ["s2", "s3"]),
        ((Filter("a", ("re:s2",)),), 1, ["s2", "s3", "s4"]),  # whoever wrote it; it is not asked
        ((Filter("a", ("s4", "re:(s+)+x")),), 1, ["s2", "s3", "s4"]),
        ((Filter("a", (), ("re:.*", "s3")),), 1, ["s2", "s4"]),
        ((Filter("a", (), (), ("daily",)),), 1, ["s2"]),
        ((Filter("a", (), (), ("hourly", "daily")),), 1, ["s2", "s4"]),
        ((Filter("a", ("s[34]",), (), ("hourly",)),), None, ["s3", "s4"]),
        ((Filter("a", (), (), ("daily", "once in a while")),), 1, ["s2", "s3", "s4"]),
        ((Filter("a", ("*",)), Filter("b", ("none",))), 2, ["s3", "s4"]),
    ],
)
def test_what_is_newer_than_the_commit_point_and_passes(
    filters: tuple[Filter, ...], at: int | None, expected: list[str]
) -> None:
    """They were created 1000, 2000, 3000 and 4000 s after 1970."""
    dataset = source(1, 2, 3, 4, at=at, filters=filters)
    assert sorted(lacking(dataset)) == expected
    assert lacking(replace(dataset, ours={**dataset.ours, **records(record(paused=True, filters=filters))})).keys() == {
        *expected
    }


def test_temporary_and_deleted_ones_are_not_sent() -> None:
    dataset = source(1, 2, 3, at=None)
    dataset.snapshots[0].temporary = True
    dataset.snapshots[1].state = PENDING_DELETE
    assert [*lacking(dataset)] == ["s3"]
    assert not is_sent(dataset.snapshots[0], Filter())


def test_one_that_cannot_be_put_in_order_counts() -> None:
    dataset = source(1, 2, at=2)
    dataset.snapshots[0].createtxg = None
    assert [*lacking(dataset)] == ["s1"]


def test_each_relationship_lacks_its_own() -> None:
    dataset = source(1, 2, 3)
    third = "a" * 16
    dataset.ours = {
        **records(record(), record(id=third, target="d:x", guid="8")),
        **records(record(id=OTHER, target="c:x/v", guid="7"), pool=OTHER),
        **points(1),
        **points(2, id_=OTHER, pool=OTHER),
    }
    assert lacking(dataset) == {"s1": [third], "s2": [ID, third], "s3": [ID, third, OTHER]}
    (first, *_others) = unsent(dataset, dataset.snapshots)["tank/v@s2"]
    assert (first.target, first.reason) == ("b:backup/v", f"not yet sent to b:backup/v (relationship {ID})")
    left_over = replace(dataset, ours=points(1))
    assert lacking(left_over) == {}


def test_of_a_record_that_cannot_be_read_everything_counts() -> None:
    dataset = source(1, 2, 3, at=3)
    dataset.ours[ReplicaRecords.name(OTHER)] = "{}"
    assert lacking(dataset) == {"s1": [None], "s2": [None], "s3": [None]}
    assert ReplicaRecords.name(OTHER) in unsent(dataset, dataset.snapshots)["tank/v@s1"][0].reason
    dataset = source(1, 2, 3, at=3)
    dataset.ours[CommitPoints.name(POOL)] = "odd"
    assert lacking(dataset) == {"s1": [ID], "s2": [ID], "s3": [ID]}


@pytest.mark.parametrize(
    ("at", "cursors", "expected"), [(2, [2], []), (2, [1], ["2"]), (None, [1], []), (2, [], ["2"])]
)
def test_a_base_without_a_bookmark_is_needed(at: int | None, cursors: list[int], expected: list[str]) -> None:
    dataset = source(1, 2, 3, at=at)
    dataset.bookmarks = source(1, at=None, cursors=cursors).bookmarks
    assert [*bases(dataset)] == expected
    assert not bases(replace(dataset, ours=points(2)))  # left over from a relationship


@pytest.mark.parametrize(
    ("given_", "stored"),
    [
        (Filter(), Filter()),
        (NIGHTLY, NIGHTLY),
        (Filter("j", ("a",), ("c",), ("daily",), False), Filter("j", ("a",), ("c",), ("daily",), False)),
        (Filter("j", ("a", "re:b"), ("c", "re:d"), ("daily",), False), Filter("j", (), ("c",))),
        (Filter("j", ("a",), ("c",), ("odd",), False), Filter("j", ("a",), ("c",))),
        (Filter("j", ("a\tb",), ("", "c\n")), Filter("j")),
        (Filter("j", ("x" * MOST_FILTER,), ("c",), (), False), Filter("j")),
    ],
)
def test_what_a_record_cannot_hold_lets_more_pass(given_: Filter, stored: Filter) -> None:
    assert storable(given_) == stored


PATTERNS = st.lists(st.sampled_from(["s*", "s1", "s[23]", "re:s[12]", "re:s[^3]", "re:.*", "x" * 900]), max_size=2)
PERIOD_NAMES = st.lists(st.sampled_from(["daily", "hourly"]), max_size=2).map(tuple)
filters = st.builds(Filter, st.just("j"), PATTERNS.map(tuple), PATTERNS.map(tuple), PERIOD_NAMES, st.booleans())


def sent(by: Filter, all_of_them: list[Snapshot]) -> list[str]:
    """What a job sends of new snapshots."""
    found = [snap for snap in all_of_them if is_sent(snap, by)]
    met: set[tuple[str, str]] = set()
    first = []
    for snap in found:
        labels = {(name, PERIODS[name](time.localtime(snap.created))) for name in by.periods}
        first += [] if labels <= met and by.periods else [snap]
        met |= labels
    return [snap.name for snap in (first if by.intermediates else first[-1:])]


@given(filters)
def test_nothing_that_a_job_sends_is_missing_among_what_its_record_says(by: Filter) -> None:
    stored = storable(by)
    assert storable(stored) == stored
    assert len(json.dumps(stored.to_json())) <= MOST_FILTER
    dataset = source(1, 2, 3, 4, 5, 100, at=None, filters=(stored,))
    assert {*sent(by, dataset.snapshots)} <= unsent(dataset, dataset.snapshots).keys()
    if stored == by:
        assert {*sent(by, dataset.snapshots)} == unsent(dataset, dataset.snapshots).keys()
