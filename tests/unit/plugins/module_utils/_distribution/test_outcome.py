# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What came of a distribution, from the results of its tasks."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._distribution.outcome import creating, lines, outcome, removed

PLAN: dict[str, Any] = {
    "create": ["t/a-v3", "t/b-v3"], "there": ["t/b-v3"], "replace": ["t/one", "t/two"],
    "stay": [{"name": "t/three", "reason": "t/three stays"}], "remove": ["t/a-v1", "t/a-v2"], "prune": ["v2", "v1"],
    "pending": ["v0"], "pins": {"v2": ["t/a-v2"], "v1": ["t/a-v1", "t/one"], "v0": []},
}  # fmt: skip


def clones(**kept: str | None) -> dict[str, Any]:
    return {"clones": [{"name": f"t/{name}", "kept": why, "failed": False} for name, why in kept.items()]}


RESULTS: dict[str, Any] = {
    "replace": clones(one=None, two="t/two is in use"),
    "create": {"changed": True, "clones": []},
    "prune": {"pruned": [], "pending": ["t/img@v2", "t/img@v1"]},
    "remove": {"clones": [
        {"name": "t/a-v1", "kept": None, "failed": False},
        {"name": "t/a-v2", "kept": "t/a-v2 is in use", "failed": False},
    ]},
}  # fmt: skip
SKIPPED = {"changed": False, "skipped": True}
REPLICA = {"target_dataset": "t/img", "snapshot": "v3", "bytes_sent": 5, "steps": [{"kind": "incremental"}]}


@pytest.mark.parametrize("check", [False, True])
def test_all_of_it(check: bool) -> None:
    told = outcome({**REPLICA, "bytes_sent": None if check else 5}, PLAN, RESULTS, check)
    assert told == {
        "snapshot": "t/img@v3",
        "sent": "increment",
        "bytes_sent": None if check else 5,
        "clones": ["t/a-v3", "t/b-v3", "t/one"],
        "created": ["t/a-v3", "t/one"],
        "removed": ["t/one", "t/a-v1"],
        "kept": [
            {"name": "t/three", "reason": "t/three stays"},
            {"name": "t/two", "reason": "t/two is in use"},
            {"name": "t/a-v2", "reason": "t/a-v2 is in use"},
        ],
        "deleted": ["v1", "v0"],
        "pending": ["v2"],
    }
    assert lines(told, check)[1:4] == [
        f"t/one: {'would be ' if check else ''}removed",
        f"t/a-v1: {'would be ' if check else ''}removed",
        f"t/a-v3: {'would be ' if check else ''}created",
    ]
    assert lines(told, check)[-3:] == [
        f"@v1: {'would be ' if check else ''}deleted", f"@v0: {'would be ' if check else ''}deleted",
        "@v2: pending deletion",
    ]  # fmt: skip
    sent = "would be sent as an increment" if check else "sent as an increment, 5 bytes"
    assert lines(told, check)[0] == f"t/img@v3: {sent}"


def test_how_it_is_sent() -> None:
    for steps, text in (([], "nothing to send"), ([{"kind": "full"}], "sent in full, 5 bytes")):
        told = outcome({**REPLICA, "steps": steps}, PLAN, RESULTS, check=False)
        assert lines(told, check=False)[0] == f"t/img@v3: {text}"


def test_nothing_to_do() -> None:
    plan = {**PLAN, "there": PLAN["create"], "stay": [], "pending": []}
    told = outcome(REPLICA, plan, dict.fromkeys(RESULTS, SKIPPED), check=False)
    assert (told["created"], told["removed"], told["deleted"], told["kept"]) == ([], [], [], [])
    assert lines(told, check=False)[1:] == ["t/a-v3: unchanged", "t/b-v3: unchanged"]


def test_a_clone_is_created_when_the_old_one_is_gone() -> None:
    """In check mode that is still there, and the module would refuse its name."""
    assert creating(PLAN, RESULTS["replace"], check=False) == ["t/a-v3", "t/b-v3", "t/one"]
    assert creating(PLAN, RESULTS["replace"], check=True) == ["t/a-v3", "t/b-v3"]
    assert creating(PLAN, SKIPPED, check=False) == ["t/a-v3", "t/b-v3"]


def test_what_failed_is_not_removed() -> None:
    assert removed({"clones": [{"name": "t/x", "failed": True, "kept": None}]}) == []
