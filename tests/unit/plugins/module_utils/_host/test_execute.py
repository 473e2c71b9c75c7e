# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a plan goes, with real programs that end and speak as zfs does."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Busy, Held, ZfsError
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Effect, Plan, Step
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.execute import attempt, execute

MOUNT = "filesystem successfully created, but it may only be mounted by root"


def said(words: str, log: Path | None = None, name: str = "") -> list[str]:
    """A program that refuses with these words, or notes what it was asked for."""
    if words:
        return ["sh", "-c", f"echo {shlex.quote(words)} >&2; exit 1"]
    return ["sh", "-c", f"echo {shlex.quote(name)} >> {log}"]


def step(name: str, log: Path, words: str = "") -> Step:
    return Step.of(f"do {name}", [said(words, log, name)], after={name: 1})


def test_the_first_refusal_stops_it_and_tells_how_far_it_came(tmp_path: Path) -> None:
    log = tmp_path / "log"
    plan = Plan([step("a", log), step("b", log, "cannot b: dataset is busy"), step("c", log)])
    with pytest.raises(Busy) as caught:
        execute(Backend(), plan)
    assert log.read_text().split() == ["a"]
    assert caught.value.msg.endswith("; done: do a; not done: do b; do c")
    assert (caught.value.details["actions"], caught.value.details["changed"]) == (["do a"], True)


def test_each_step_runs_on_its_side(tmp_path: Path) -> None:
    log = tmp_path / "log"
    here = Backend()
    steps = [Step.of("x", [said("", log, "a")], side="source"), Step.of("y", [said("", log, "b")], side="target")]
    execute({"source": here, "target": here}, Plan(steps))
    assert log.read_text().split() == ["a", "b"]
    with pytest.raises(KeyError):
        execute({"source": here}, Plan(steps))


def test_what_only_could_not_be_mounted_is_done(tmp_path: Path) -> None:
    log = tmp_path / "log"
    execute(Backend(), Plan([step("a", log, MOUNT), step("b", log)]))
    assert log.read_text().split() == ["b"]


def test_one_failure_keeps_no_other_from_going(tmp_path: Path) -> None:
    log = tmp_path / "log"
    outcome = attempt(Backend(), [step("a", log), step("b", log, "cannot b: out of space"), step("c", log)])
    assert log.read_text().split() == ["a", "c"]
    assert [effect.name for effect in outcome.done] == ["a", "c"]
    assert list(outcome.failures) == ["b"]


def batch(log: Path, refused: dict[str, str], marked: list[str], effects: Sequence[Effect]) -> Step:
    """All or nothing, as ``zfs destroy ds@a,b``: what is refused is named."""
    names = [effect.name for effect in effects]
    told = [refused[name] for name in names if name in refused]
    command = said("\n".join(told), log, " ".join(names))
    return Step(
        tuple(effects), (command,), part=partial(batch, log, refused, marked), instead=partial(mark, log, marked)
    )


def mark(log: Path, marked: list[str], effects: Sequence[Effect]) -> Step:
    marked += [effect.name for effect in effects]
    return Step(tuple(effects), (said("", log, f"mark {effects[0].name}"),))


HELD = "cannot destroy '{}': it's being held"
BUSY = "cannot destroy snapshot {}: dataset is busy"


def test_a_refused_batch_is_split_by_the_names_that_zfs_tells(tmp_path: Path) -> None:
    log = tmp_path / "log"
    marked: list[str] = []
    effects = [Effect(f"t@{part}") for part in ("a", "ab", "b", "c d")]
    refused = {"t@a": HELD.format("t@a"), "t@c d": BUSY.format("t@c d")}
    outcome = attempt(Backend(), [batch(log, refused, marked, effects)])
    assert log.read_text().splitlines() == ["mark t@a", "t@ab t@b"]
    assert marked == ["t@a"]
    assert {name: type(error) for name, error in outcome.failures.items()} == {"t@c d": Busy}
    assert {effect.name for effect in outcome.done} == {"t@a", "t@ab", "t@b"}


def test_without_names_each_is_tried_alone(tmp_path: Path) -> None:
    log = tmp_path / "log"
    effects = [Effect("t@a"), Effect("t@b")]
    outcome = attempt(Backend(), [batch(log, {"t@a": "pool or dataset is busy"}, [], effects)])
    assert log.read_text().splitlines() == ["t@b"]
    assert list(outcome.failures) == ["t@a"]


def test_what_should_go_and_is_gone_is_no_failure(tmp_path: Path) -> None:
    gone = batch(tmp_path / "log", {"t@a": "could not find any snapshots to destroy"}, [], [Effect("t@a")])
    outcome = attempt(Backend(), [gone])
    assert outcome.failures == {}
    plain = Step((Effect("t@a"),), (said("cannot open 't@a': dataset does not exist"),))
    assert list(attempt(Backend(), [plain]).failures) == ["t@a"]


def test_the_kind_of_the_refusal_is_kept(tmp_path: Path) -> None:
    held = Step((Effect("t@a"),), (said(HELD.format("t@a")),))
    (error,) = attempt(Backend(), [held]).failures.values()
    assert isinstance(error, Held)
    assert isinstance(error, ZfsError)
