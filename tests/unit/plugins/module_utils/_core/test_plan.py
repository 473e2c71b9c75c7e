# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans as results: sentences, and the diff made of each thing's share."""

from __future__ import annotations

from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Effect, Plan, Step


def test_nothing_to_do_is_no_change() -> None:
    assert Plan().to_result() == {
        "changed": False, "actions": [], "diff": {"before": {}, "after": {}}, "warnings": [],
    }  # fmt: skip


def test_each_effect_has_its_sentence_and_its_share_of_the_diff() -> None:
    effects = (Effect("a", "make a", None, {"state": "full"}), Effect("b", "make b"), Effect("c", after=1))
    result = Plan([Step(effects)], ["mind the gap"]).to_result()
    assert result["actions"] == ["make a", "make b"]
    assert result["diff"] == {"before": {"a": None}, "after": {"a": {"state": "full"}, "c": 1}}
    assert result["warnings"] == ["mind the gap"]


def test_several_effects_on_one_thing_are_laid_over_each_other() -> None:
    plan = Plan()
    plan.add("create v", before={"v": None}, after={"v": {"type": "filesystem"}})
    plan.add("mount v", before={"v": {"mounted": False}}, after={"v": {"mounted": True}})
    assert plan.to_result()["diff"] == {
        "before": {"v": {"mounted": False}},
        "after": {"v": {"type": "filesystem", "mounted": True}},
    }


def test_one_sentence_may_tell_of_several_things() -> None:
    step = Step.of(
        "rename a to b", [["zfs", "rename", "a", "b"]], before={"a": 1, "b": None}, after={"a": None, "b": 1}
    )
    assert step.text == "rename a to b"
    assert step.names == ["a", "b"]
    assert Plan([step]).to_result()["diff"] == {"before": {"a": 1, "b": None}, "after": {"a": None, "b": 1}}


def test_effects_on_one_thing_are_told_apart_by_aspect() -> None:
    assert Effect("v@s", aspect="hold a").key != Effect("v@s", aspect="hold b").key
