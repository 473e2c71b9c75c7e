# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several things of one task, some of which fail."""

from __future__ import annotations

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Busy, CerssError, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan, Step
from ansible_collections.cerss.zfs.plugins.module_utils._dataset.items import Item, carry_out_all, result
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend


def step(name: str, fails: bool = False) -> Step:
    shell = f"echo cannot {name}: dataset is busy >&2; exit 1" if fails else "exit 0"
    return Step.of(f"do {name}", [["sh", "-c", shell]], before={name: 0}, after={name: 1})


def refuse() -> None:
    raise Refused("no", dependents=["x"])


def test_a_failure_is_kept_and_only_the_first() -> None:
    item = Item("a")
    assert item.check(lambda: 5) == 5
    assert item.check(refuse) is None
    assert item.check(lambda: 5) is None
    assert item.to_result() == {"failed": True, "msg": "no"}
    with pytest.raises(ZeroDivisionError):  # what nobody expects is not the item's failure
        Item("b").check(lambda: 1 // 0)


def test_the_others_are_done() -> None:
    refused, half = Item("a"), Item("b", Plan([step("b1"), step("b2", fails=True), step("b3")], ["careful"]))
    whole = Item("c", Plan([step("c")]))
    refused.check(refuse)
    every = [refused, half, whole]
    carry_out_all(Backend(), every)
    assert isinstance(half.error, Busy)
    told = result(every)
    assert (told["changed"], told["actions"], told["warnings"]) == (True, ["do b1", "do c"], ["careful"])
    assert told["diff"]["after"] == {"b1": 1, "c": 1}
    assert told["failed"]
    assert told["msg"].startswith("no; ")
    assert "; done: do b1; not done: do b2; do b3" in told["msg"]
    assert told["dependents"] == ["x"]


def test_the_same_reason_is_told_once() -> None:
    error = CerssError("no")
    told = result([Item("a", error=error), Item("b", error=CerssError("no"))])
    assert told["msg"] == "no"
    assert "failed" not in result([Item("a")])
