# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""With real programs that print and end as zfs does."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Busy, Held
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Effect, Plan, Step
from ansible_collections.cerss.zfs.plugins.module_utils._host import execute as execution
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.execute import attempt, carry_out, execute

MOUNT = "filesystem successfully created, but it may only be mounted by root"
LOCKED = "cannot mount 'tank/c': encryption key not loaded\nfilesystem successfully created, but not mounted"
READ_ONLY = (
    "cannot mount '/ro/c': failed to create mountpoint: Read-only file system\n"
    "filesystem successfully created, but not mounted"
)


def program(stderr: str, log: Path | None = None, name: str = "") -> list[str]:
    """A program that fails with ``stderr``, or writes the name to the log when that is empty."""
    if stderr:
        return ["sh", "-c", f"echo {shlex.quote(stderr)} >&2; exit 1"]
    return ["sh", "-c", f"echo {shlex.quote(name)} >> {log}"]


def step(name: str, log: Path, stderr: str = "") -> Step:
    return Step.of(f"do {name}", [program(stderr, log, name)], after={name: 1})


def test_execute_stops_at_the_first_failure_and_says_what_was_done(tmp_path: Path) -> None:
    log = tmp_path / "log"
    plan = Plan([step("a", log), step("b", log, "cannot b: dataset is busy"), step("c", log)])
    with pytest.raises(Busy) as caught:
        execute(Backend(), plan)
    assert log.read_text().split() == ["a"]
    assert caught.value.msg.endswith("; done: do a; not done: do b; do c")
    assert (caught.value.details["actions"], caught.value.details["changed"]) == (["do a"], True)


def test_carry_out_returns_what_is_done_and_the_error(tmp_path: Path) -> None:
    log = tmp_path / "log"
    steps = [step("a", log), step("b", log, "cannot b: dataset is busy"), step("c", log)]
    carried = carry_out(Backend(), Plan(steps))
    assert carried.done == steps[:1]
    assert isinstance(carried.error, Busy)
    whole = carry_out(Backend(), Plan(steps[:1]))
    assert (whole.done, whole.error) == (steps[:1], None)


def test_each_step_runs_on_its_side(tmp_path: Path) -> None:
    log = tmp_path / "log"
    here = Backend()
    steps = [Step.of("x", [program("", log, "a")], side="source"), Step.of("y", [program("", log, "b")], side="target")]
    execute({"source": here, "target": here}, Plan(steps))
    assert log.read_text().split() == ["a", "b"]
    with pytest.raises(KeyError):
        execute({"source": here}, Plan(steps))


@pytest.mark.parametrize("stderr", [MOUNT, LOCKED, READ_ONLY])
def test_a_create_that_only_could_not_mount_is_done(tmp_path: Path, stderr: str) -> None:
    log = tmp_path / "log"
    assert execute(Backend(), Plan([step("a", log, stderr), step("b", log)])) == [f"{stderr}\n"]
    assert log.read_text().split() == ["b"]


def test_what_steps_read_is_given_to_them(tmp_path: Path) -> None:
    """A key, for example."""
    command = ["sh", "-c", f"cat > {tmp_path}/read"]
    execute(Backend(), Plan([Step((), (command,), stdin="a key\n")]))
    assert (tmp_path / "read").read_text() == "a key\n"


def test_attempt_goes_on_after_a_failure(tmp_path: Path) -> None:
    log = tmp_path / "log"
    outcome = attempt(Backend(), [step("a", log), step("b", log, "cannot b: out of space"), step("c", log)])
    assert log.read_text().split() == ["a", "c"]
    assert [effect.name for effect in outcome.done] == ["a", "c"]
    assert list(outcome.failures) == ["b"]


def batch(log: Path, refused: dict[str, str], deferred: list[str], effects: Sequence[Effect]) -> Step:
    """All or nothing, as ``zfs destroy ds@a,b``, which names the snapshots that it refuses."""
    names = [effect.name for effect in effects]
    stderr = "\n".join(refused[name] for name in names if name in refused)
    command = program(stderr, log, " ".join(names))
    return Step(
        tuple(effects), (command,), part=partial(batch, log, refused, deferred), instead=partial(defer, log, deferred)
    )


def defer(log: Path, deferred: list[str], effects: Sequence[Effect]) -> Step:
    deferred += [effect.name for effect in effects]
    return Step(tuple(effects), (program("", log, f"defer {effects[0].name}"),))


HELD = "cannot destroy '{}': it's being held"
BUSY = "cannot destroy snapshot {}: dataset is busy"


def test_a_refused_batch_is_split_by_the_names_in_stderr(tmp_path: Path) -> None:
    log = tmp_path / "log"
    deferred: list[str] = []
    effects = [Effect(f"t@{part}") for part in ("a", "ab", "b", "c d")]
    refused = {"t@ab": HELD.format("t@ab"), "t@c d": BUSY.format("t@c d")}
    outcome = attempt(Backend(), [batch(log, refused, deferred, effects)])
    assert log.read_text().splitlines() == ["defer t@ab", "t@a t@b"], "t@a is only the beginning of a name in stderr"
    assert deferred == ["t@ab"]
    assert {name: type(error) for name, error in outcome.failures.items()} == {"t@c d": Busy}
    assert {effect.name for effect in outcome.done} == {"t@a", "t@ab", "t@b"}


def test_without_names_each_is_tried_alone(tmp_path: Path) -> None:
    log = tmp_path / "log"
    effects = [Effect("t@a"), Effect("t@b")]
    outcome = attempt(Backend(), [batch(log, {"t@a": "pool or dataset is busy"}, [], effects)])
    assert log.read_text().splitlines() == ["t@b"]
    assert list(outcome.failures) == ["t@a"]


def test_a_snapshot_that_was_destroyed_meanwhile_is_no_failure(tmp_path: Path) -> None:
    gone = batch(tmp_path / "log", {"t@a": "could not find any snapshots to destroy"}, [], [Effect("t@a")])
    outcome = attempt(Backend(), [gone])
    assert outcome.failures == {}
    plain = Step((Effect("t@a"),), (program("cannot open 't@a': dataset does not exist"),))
    assert list(attempt(Backend(), [plain]).failures) == ["t@a"]


@pytest.mark.parametrize(("free_after", "device"), [(2, True), (9, True), (2, False)])
def test_what_udev_holds_for_a_moment_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_after: int, device: bool
) -> None:
    """Only where the thing has a device. Otherwise it is being sent, which takes longer."""
    monkeypatch.setattr(execution, "DEVICES", tmp_path)
    monkeypatch.setattr(execution, "LOOK", 0.05)
    monkeypatch.setattr(execution, "PROBED", 0.3)
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "a+v@s").touch()
    name, log = "pool/a v@s" if device else "pool/v@s", tmp_path / "log"
    busy = "{ echo 'cannot destroy: dataset is busy' >&2; exit 1; }"
    script = f"echo >> {log}; [ $(wc -l < {log}) -gt {free_after} ] || {busy}"
    outcome = attempt(Backend(), [Step((Effect(name),), (["sh", "-c", script, name],))])
    tries = len(log.read_text().splitlines())
    if free_after == 2 and device:
        assert (list(outcome.failures), tries) == ([], 3)
        return
    error = outcome.failures[name]
    assert isinstance(error, Busy)
    assert (error.device is not None, "is open; find out who uses it with: fuser -v" in error.msg) == (device, device)
    assert (tries > 3) == device


def test_the_class_of_the_error_is_kept(tmp_path: Path) -> None:
    held = Step((Effect("t@a"),), (program(HELD.format("t@a")),))
    failures = attempt(Backend(), [held]).failures
    assert {name: type(error) for name, error in failures.items()} == {"t@a": Held}
