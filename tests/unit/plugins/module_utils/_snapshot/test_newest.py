# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The newest of many snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.newest import Newest, Result


def result(name: str, txg: int | None, created: int | None = None, state: str = "full") -> dict[str, Any]:
    return {"name": name, "createtxg": txg, "created_epoch": created, "state": state}


def times(results: Sequence[Result]) -> dict[str, int | None]:
    return {each["name"]: each["created_epoch"] for each in results}


def nobody_asks(_results: Sequence[Result]) -> dict[str, int | None]:
    raise AssertionError("nobody asks for times in one pool")


def names(most: int, *found: Result, created: Any = times) -> list[str]:
    newest = Newest(most)
    for each in found:
        newest.add(each)
    return [each["name"] for each in newest.results(created)]


def test_one_pool_goes_by_createtxg() -> None:
    """Whatever its clock says."""
    found = [result("t/a@1", 10, 300), result("t/a@2", 30, 100), result("t/b@1", 20, 200), result("t/b@2", 30, 100)]
    assert names(3, *found, created=nobody_asks) == ["t/a@2", "t/b@2", "t/b@1"]
    assert names(0, *found, created=nobody_asks) == []
    assert names(2, created=nobody_asks) == []


def test_several_pools_go_by_the_time_of_creation() -> None:
    found = [result("t@1", 900, 100), result("t@2", 901, 300), result("b@1", 1, 200), result("b@2", 2, 400)]
    assert names(3, *found) == ["b@2", "t@2", "b@1"]
    assert names(9, *found, result("c@gone", 5, None)) == ["b@2", "t@2", "b@1", "t@1", "c@gone"]


def test_what_comes_is_newest_and_what_is_absent_oldest() -> None:
    found = [
        result("t@none", None, state="absent"), result("t@1", 7, 100), result("t@in", None, state="inbound"),
        result("b@new", None, state="creating"), result("b@1", 8, 50), result("b@no", None, state="absent"),
    ]  # fmt: skip
    assert names(9, *found) == ["t@in", "b@new", "t@1", "b@1", "t@none", "b@no"]
    assert names(1, *found) == ["t@in"]


@given(
    found=st.lists(st.tuples(st.sampled_from("tb"), st.integers(0, 50), st.integers(0, 5)), max_size=40),
    most=st.integers(0, 12),
)
def test_no_other_is_newer(found: list[tuple[str, int, int]], most: int) -> None:
    """Clocks that run right: the same as sorting all by time."""
    results = [result(f"{pool}@{n}", txg, txg // 3) for n, (pool, txg, _more) in enumerate(found)]
    kept = names(most, *results)
    created = {each["name"]: int(each["created_epoch"]) for each in results}
    assert len(kept) == len(set(kept)) == min(most, len(results))
    assert [created[name] for name in kept] == sorted((created[each["name"]] for each in results), reverse=True)[:most]
