# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Carries out a plan: to the first refusal, or as far as it goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import (
    Busy,
    CerssError,
    HasClones,
    Held,
    NotFound,
    ZfsError,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Effect, Plan, Step, sentences
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend


def execute(where: Backend | Mapping[str, Backend], plan: Plan) -> None:
    """Run the steps in order. The error of the one that fails also says what was done and what was not.

    ``where``: the backend, or that of each side.
    """
    for position, step in enumerate(plan.steps):
        try:
            _run(where[step.side] if isinstance(where, Mapping) else where, step)
        except CerssError as error:  # noqa: PERF203
            done, left = sentences(plan.steps[:position]), sentences(plan.steps[position:])
            error.msg += f"; done: {'; '.join(done) or 'nothing'}; not done: {'; '.join(left)}"
            error.details.update(actions=done, changed=bool(done))
            raise


@dataclass
class Outcome:
    """How far a plan went: the effects that took place, and why others did not, by the name of the thing."""

    done: list[Effect] = field(default_factory=list)
    failures: dict[str, ZfsError] = field(default_factory=dict)


def attempt(backend: Backend, steps: Sequence[Step]) -> Outcome:
    """Run every step; one that fails keeps no other from going. Re-read afterwards: that decides what has failed."""
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
        elif not (step.part and isinstance(error, NotFound)):  # what should go is gone
            outcome.failures.update(dict.fromkeys(step.names, error))


def _parts(step: Step, error: ZfsError) -> list[Step]:
    """What to try instead of a batch that was refused as a whole: what zfs names on its own, the rest together."""
    if step.part is None or len(step.effects) < 2 or not isinstance(error, (Busy, HasClones, Held)):
        return []
    named = [effect for effect in step.effects if _tells_of(error.stderr, effect.name)]
    rest = [effect for effect in step.effects if effect not in named] if named else []
    return [step.part([effect]) for effect in named or step.effects] + ([step.part(rest)] if rest else [])


def _tells_of(stderr: str, name: str) -> bool:
    """Does a message speak of exactly this snapshot? Names may begin with one another, and may hold spaces."""
    return any(words in stderr for words in (f"'{name}'", f"snapshot {name}:", f" {name}: "))


def _run(backend: Backend, step: Step) -> None:
    for command in step.commands:
        try:
            backend.run(command)
        except ZfsError as error:  # noqa: PERF203
            if not _is_done_all_the_same(error):
                raise


def _is_done_all_the_same(error: ZfsError) -> bool:
    """A delegated user may create and clone, but on Linux only root may mount."""
    told = ("only be mounted by root", "already mounted", "not currently mounted")
    return any(words in error.stderr for words in told)
