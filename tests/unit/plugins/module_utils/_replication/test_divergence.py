# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a replica stands to its source, and replicas that are rolled back by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import LastHold, StepHold
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Bookmark, Hold, Value
from ansible_collections.cerss.zfs.plugins.module_utils._replication.divergence import (
    Apart,
    Continue,
    Diverged,
    compare,
)
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import Origin, Pair, PairOptions
from ansible_collections.cerss.zfs.plugins.module_utils._replication.planner import plan_pair
from ansible_collections.cerss.zfs.tests.unit.pairs import (
    OTHER,
    SOURCE_GUID,
    argvs,
    carried,
    cursor,
    last_hold,
    pair,
    source_mark,
    token,
    with_token,
)

ROLLBACK = PairOptions(on_divergence="rollback")


def refused(case: Pair, on_divergence: str = "fail") -> str:
    plan = plan_pair(case, PairOptions(on_divergence=on_divergence))
    assert isinstance(plan.error, Refused)
    assert plan.steps == ()
    return str(plan.error)


@pytest.mark.parametrize(
    ("source", "replica", "bookmarks", "written", "expected"),
    [
        ([1], None, (), 0, "fresh"),
        ([1], [], (), 0, "fresh"),
        ([1, 2], [1], (), 0, "continue tank/v@s1"),
        ([1, 2], [1], (1,), 0, "continue tank/v@s1"),
        ([2], [1], (1,), 0, "continue tank/v#"),
        ([1, 2], [1, 2], (), 0, "continue tank/v@s2"),
        ([1, 2], [1], (), 512, "diverged @s1 + 512 bytes"),
        ([1, 2], [1, 8, 9], (), 0, "diverged @s1 + s8 s9"),
        ([1, 2], [1, 8], (), 7, "diverged @s1 + s8 7 bytes"),
        ([1, 3], [1, 2], (), 0, "diverged @s1 + s2"),
        ([2], [1], (), 0, "apart"),
        ([], [1], (), 0, "apart"),
        ([1], [1], (), 0, "continue tank/v@s1"),
    ],
)
def test_compare(
    source: list[int], replica: list[int] | None, bookmarks: tuple[int, ...], written: int, expected: str
) -> None:
    case = pair(source, replica, bookmarks)
    if case.replica:
        case.replica.values["written"] = Value(str(written))
    found = compare(case)
    kind, _blank, rest = expected.partition(" ")
    assert type(found).__name__.lower() == kind
    if isinstance(found, Continue):
        assert found.base.name.startswith(rest)
    if isinstance(found, Diverged):
        size = [f"{found.written} bytes"] if found.written else []
        assert " ".join([f"@{found.there.snapshot}", "+", *(snap.snapshot for snap in found.newer), *size]) == rest


def test_later_bookmarks_belong_to_what_is_rolled_back() -> None:
    """ZFS does not roll back over a bookmark. One at the common snapshot stays."""
    case = pair([1, 2], [1, 9])
    assert case.replica
    case.replica.bookmarks = [Bookmark("backup/v#a", "1", 1), Bookmark("backup/v#b", "9", 9)]
    found = compare(case)
    assert isinstance(found, Diverged)
    assert [bookmark.name for bookmark in found.later] == ["backup/v#b"]
    case.replica.snapshots.pop()
    assert isinstance(compare(case), Continue)
    case.replica.values["written"] = Value("1")
    assert isinstance(compare(case), Diverged)


# -- sentences -------------------------------------------------------------------------------------------------------


def test_the_refusal_names_everything_that_a_rollback_would_remove() -> None:
    case = pair([1, 2], [1, 8, 9])
    assert case.replica
    case.replica.bookmarks = [Bookmark("backup/v#b", "9", 9)]
    case.replica.values["written"] = Value("512")
    last_hold(case.replica, 9)
    assert refused(case) == (
        "b:backup/v has diverged from a:tank/v: after the last common snapshot backup/v@s1 it holds the snapshots "
        "backup/v@s8, backup/v@s9 and the bookmarks backup/v#b and our hold on backup/v@s9 and 512 bytes written "
        "since; on_divergence=rollback removes exactly that, reseed puts the whole replica aside"
    )


@pytest.mark.parametrize("on_divergence", ["fail", "rollback"])
def test_without_a_common_snapshot(on_divergence: str) -> None:
    assert refused(pair([2], [1]), on_divergence) == (
        "b:backup/v and a:tank/v no longer have a snapshot in common (the replica holds backup/v@s1); "
        "on_divergence=reseed puts the replica aside and replicates in full"
    )


@pytest.mark.parametrize("on_divergence", ["fail", "rollback"])
def test_a_source_that_was_made_anew(on_divergence: str) -> None:
    case = replace(pair([1, 2], [1], recorded=False), made_anew=True)
    assert case.replica
    case.replica.ours = source_mark(guid="5")
    error = refused(case, on_divergence)
    assert f"does not exist any more (GUID 5); a:tank/v has another GUID ({SOURCE_GUID})" in error
    assert "on_divergence=reseed puts the old replica aside" in error


def promoted(side: str) -> Pair:
    """A clone has taken the snapshots of one side."""
    case = pair([3, 4], [1, 2]) if side == "source" else pair([1, 2, 3, 4], [])
    assert case.replica
    dataset, clone = (case.source, "tank/c") if side == "source" else (case.replica, "backup/c")
    dataset.origin, dataset.origin_guid, dataset.inconsistent = f"{clone}@s2", "2", False
    return case


@pytest.mark.parametrize(
    ("side", "holder", "victim", "origin"),
    [
        ("source", "tank/c", "a:tank/v", Origin("tank/c@s2", "2", "backup/v@s2")),
        ("replica", "backup/c", "b:backup/v", Origin("tank/v@s2", "2", "backup/c@s2")),
    ],
)
def test_promotions_are_told_apart(side: str, holder: str, victim: str, origin: Origin) -> None:
    case = promoted(side)
    assert compare(case) == Apart(origin, victim, holder)
    for on_divergence in ("fail", "rollback"):
        error = refused(case, on_divergence)
        assert f"moved to {holder} when it was promoted; promote {victim} to move them back" in error
    plan = plan_pair(case, PairOptions(on_divergence="reseed"))
    assert (carried(plan)[0], plan.sends[0].base, plan.sends[0].origin) == ("3", origin.base, origin.place)


# -- rollback --------------------------------------------------------------------------------------------------------


def test_rollback_destroys_by_name() -> None:
    case = pair([1, 2], [1, 8, 9])
    assert case.replica
    case.replica.bookmarks = [Bookmark("backup/v#b", "9", 9)]
    last_hold(case.replica, 9)
    plan = plan_pair(case, ROLLBACK)
    assert argvs(plan.prepare) == [
        ["hold", LastHold.TAG, "backup/v@s1"],
        ["release", LastHold.TAG, "backup/v@s9"],
        ["destroy", "backup/v@s8,s9"],
        ["destroy", "backup/v#b"],
        ["rollback", "backup/v@s1"],
    ]
    names = [effect.name for step in plan.prepare for effect in step.effects if effect.name]
    assert names == ["backup/v@s8", "backup/v@s9", "backup/v#b"]
    assert carried(plan) == ["2"]


def test_what_was_only_written_is_rolled_back_without_destroying() -> None:
    case = pair([1, 2], [1])
    assert case.replica
    case.replica.values["written"] = Value("512")
    assert argvs(plan_pair(case, ROLLBACK).prepare) == [["rollback", "backup/v@s1"]]


def test_a_rollback_to_the_goal_sends_nothing() -> None:
    """The steps after it are those for the replica as it is then."""
    case = pair([1], [1, 9])
    assert case.replica
    last_hold(case.replica, 9)
    plan = plan_pair(case, ROLLBACK)
    assert (carried(plan), [step.side for step in plan.finish]) == ([], ["source", "source"])


@pytest.mark.parametrize(
    ("blocker", "name"),
    [
        ({"holds": [Hold("legal")]}, "hold legal"),
        ({"clones": ["backup/c"]}, "clone backup/c"),
        ({"holds": [Hold(StepHold(OTHER).format())]}, f"hold cerss.zfs:step:{OTHER}"),
    ],
)
def test_rollback_is_refused_if_others_need_a_snapshot(blocker: dict[str, Any], name: str) -> None:
    case = pair([1, 2], [1, 9])
    assert case.replica
    for key, value in blocker.items():
        setattr(case.replica.snapshots[1], key, value)
    assert f"others need backup/v@s9 ({name}); release or remove these first" in refused(case, "rollback")
    assert plan_pair(case, PairOptions(on_divergence="reseed")).error is None


def test_rollback_is_refused_for_the_base_of_a_further_replica() -> None:
    case = pair([1, 2], [1, 9])
    assert case.replica
    case.replica.bookmarks = [cursor(9, OTHER, "backup/v")]
    assert "(the base of a further replica)" in refused(case, "rollback")


@pytest.mark.parametrize(("base", "verbs"), [(9, ["receive", "destroy", "rollback"]), (1, ["destroy", "rollback"])])
def test_a_partial_receive_ends_before_its_base(base: int, verbs: list[str]) -> None:
    """ZFS lists it as a clone of its base. One that starts from the snapshot that stays is resumed."""
    case = with_token(pair([1, 2], [1, 9]), token(2, base))
    assert case.replica
    case.replica.snapshots[base == 9].clones = ["backup/v/%recv"]
    plan = plan_pair(case, ROLLBACK)
    assert plan.error is None
    assert [command[0] for command in argvs(plan.prepare)] == verbs
    assert [send.kind for send in plan.sends] == ["incremental" if base == 9 else "resume"]
    # Also where nothing is sent afterwards
    case = with_token(pair([1], [1, 9]), token(2, base))
    assert ("receive" in [command[0] for command in argvs(plan_pair(case, ROLLBACK).prepare)]) is (base == 9)


@given(st.sets(st.integers(1, 9), min_size=1), st.sets(st.integers(1, 9)), st.sets(st.integers(10, 15)), st.booleans())
def test_a_rollback_destroys_exactly_what_is_newer(
    source: set[int], there: set[int], own: set[int], written: bool
) -> None:
    replica = sorted({*(there & source), *own})
    case = pair(sorted(source), replica or None)
    if case.replica:
        case.replica.values["written"] = Value("512" if written else "0")
    plan = plan_pair(case, ROLLBACK)
    destroyed: Sequence[str] = [name for command in argvs(plan.prepare) if command[0] == "destroy"
                                for name in command[1].partition("@")[2].split(",")]  # fmt: skip
    if plan.error or not replica:
        assert destroyed == []
        return
    assert destroyed == [f"s{number}" for number in replica if number > max(there & source)]
    assert (["rollback", f"backup/v@s{max(there & source)}"] in argvs(plan.prepare)) is bool(own or written)
