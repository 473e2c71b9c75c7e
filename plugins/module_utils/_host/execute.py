# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Carries out a plan: `execute` stops at the first failure, `attempt` goes on after one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import (
    Busy,
    CerssError,
    HasClones,
    Held,
    NotFound,
    ZfsError,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import shortened
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Effect, Plan, Step, sentences
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.devices import DEVICES, device_of
from ansible_collections.cerss.zfs.plugins.module_utils._host.waiting import wait_for

PROBED = 5.0  # seconds in which udev, multipath and LVM look at a new device, which is busy meanwhile (openzfs#9359)
LOOK = 0.5


@dataclass
class Carried:
    """What was carried out. ``unmounted``: what zfs said of datasets that it has created but could not mount.

    ``error``: of the step that failed; None if all of them are done.
    """

    done: list[Step] = field(default_factory=list)
    unmounted: list[str] = field(default_factory=list)
    error: CerssError | None = None


def execute(where: Backend | Mapping[str, Backend], plan: Plan) -> list[str]:
    """`carry_out` that raises the error. Returns ``unmounted``."""
    carried = carry_out(where, plan)
    if carried.error:
        raise carried.error
    return carried.unmounted


def carry_out(where: Backend | Mapping[str, Backend], plan: Plan) -> Carried:
    """Run the steps in order, up to the first that fails. Its error also says what was done and what was not.

    ``where``: the backend, or side -> backend (`Step.side`).
    """
    carried = Carried()
    for position, step in enumerate(plan.steps):
        try:
            carried.unmounted += _run(where[step.side] if isinstance(where, Mapping) else where, step)
        except CerssError as error:
            done, left = sentences(carried.done), sentences(plan.steps[position:])
            error.msg += f"; done: {'; '.join(shortened(done)) or 'nothing'}; not done: {'; '.join(shortened(left))}"
            error.details.update(actions=done, changed=bool(done))
            carried.error = error
            break
        carried.done.append(step)
    return carried


@dataclass
class Outcome:
    """``done``: the effects that took place. ``failures``: name -> why its effect did not."""

    done: list[Effect] = field(default_factory=list)
    failures: dict[str, ZfsError] = field(default_factory=dict)


def attempt(backend: Backend, steps: Sequence[Step]) -> Outcome:
    """Run every step, also after one that fails. Read the backend again afterwards to learn what really failed."""
    outcome = Outcome()
    for step in steps:
        _attempt(backend, step, outcome)
    return outcome


def _attempt(backend: Backend, step: Step, outcome: Outcome) -> None:
    try:
        _run(backend, step)
        outcome.done += step.effects
    except ZfsError as error:
        parts = _parts(step, error)
        if parts:
            for part in parts:
                _attempt(backend, part, outcome)
        elif step.instead and isinstance(error, (HasClones, Held)):
            _attempt(backend, step.instead(step.effects), outcome)
        elif not (step.part and isinstance(error, NotFound)):  # destroyed meanwhile, as requested
            outcome.failures.update(dict.fromkeys(step.names, error))


def _parts(step: Step, error: ZfsError) -> list[Step]:
    """The steps to try instead of a refused batch: one for each name in stderr and one for the rest.

    One for each name when stderr has none of them; [] when the step cannot be divided.
    """
    if step.part is None or len(step.effects) < 2 or not isinstance(error, (Busy, HasClones, Held)):
        return []
    named = [effect for effect in step.effects if _is_named(effect.name, error.stderr)]
    rest = [effect for effect in step.effects if effect not in named] if named else []
    return [step.part([effect]) for effect in named or step.effects] + ([step.part(rest)] if rest else [])


def _is_named(name: str, stderr: str) -> bool:
    """With its delimiters: one name may be the beginning of another, and names may have spaces."""
    return any(text in stderr for text in (f"'{name}'", f"snapshot {name}:", f" {name}: "))


def _run(backend: Backend, step: Step) -> list[str]:
    """What zfs said where only the mount after the command failed."""
    unmounted: list[str] = []
    for command in step.commands:
        error = _refusal(backend, step, command)
        if isinstance(error, Busy):
            error = _again(backend, step, command, error)
        if error and not _concerns_only_the_mount(error):
            raise error
        unmounted += [error.stderr] if error else []
    return unmounted


def _again(backend: Backend, step: Step, command: list[str], error: Busy) -> ZfsError | None:
    """Try a command again for a while if it is about something with a device, which may be open for a moment only."""
    device = _device(backend, command)
    if device is None:
        return error
    left = wait_for(
        lambda: _refusal(backend, step, command), lambda found: not isinstance(found, Busy), LOOK, PROBED
    )  # fmt: skip
    if isinstance(left, Busy):
        left.device = str(device)
        left.msg += f"; its device {device} is open; find out who uses it with: fuser -v {device}"
    return left


def _refusal(backend: Backend, step: Step, command: list[str]) -> ZfsError | None:
    """The error of a command that zfs refuses; None if it went well."""
    try:
        backend.run(command, stdin=step.stdin)
    except ZfsError as error:
        return error
    return None


def _device(backend: Backend, command: list[str]) -> Path | None:
    """The device of the volume, or of the volume's snapshot, that a command on this host is about."""
    name = command[-1].partition("@")[0] if command[1] == "rollback" else command[-1]
    device = device_of(name, DEVICES)
    return device if backend.endpoint.host is None and device.exists() else None


def _concerns_only_the_mount(error: ZfsError) -> bool:
    """zfs create and zfs clone exit with 1 after they succeeded, if the new dataset cannot be mounted then.

    On Linux only root may mount. The key may not be loaded, or the file system above be read-only (`zfs_main.c`,
    zfs_mount_and_share).
    """
    texts = ("only be mounted by root", "successfully created, but not", "already mounted", "not currently mounted")
    return any(text in error.stderr for text in texts)
