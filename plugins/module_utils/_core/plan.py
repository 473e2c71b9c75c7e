# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plan: the steps of a run in order, complete before the first one runs.

Check mode, diff, ``actions`` and the run itself come from the same plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

UNTOLD: Any = object()  # not part of the diff; None can be part of it


@dataclass(frozen=True)
class Effect:
    """A change of one dataset, snapshot or bookmark, which is ``name``.

    ``text``: the sentence for ``actions``; "" when the sentence of an earlier effect covers this one.
    ``before`` and ``after``: its part of the diff. Never measured values, which would differ in check mode.
    ``aspect``: tells two effects on the same name apart, for example by the tag of a hold.
    """

    name: str
    text: str = ""
    before: Any = UNTOLD
    after: Any = UNTOLD
    aspect: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.name, self.aspect


@dataclass(frozen=True)
class Step:
    """One command or a batch of one kind, with its effects. Without a command the caller does the work.

    ``part``: returns the step for some of its effects, so that zfs may refuse it for one and do it for the others.
    ``instead``: returns the step to try when zfs refuses this one because of holds or clones. ``stdin``: what the
    commands read, such as a key, which nothing prints.
    """

    effects: tuple[Effect, ...]
    commands: tuple[list[str], ...] = ()
    side: str = ""  # replication: source or target
    part: Callable[[Sequence[Effect]], Step] | None = None
    instead: Callable[[Sequence[Effect]], Step] | None = None
    stdin: str | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls, text: str, commands: Sequence[list[str]] = (),
        before: Mapping[str, Any] | None = None, after: Mapping[str, Any] | None = None, side: str = "",
    ) -> Step:  # fmt: skip
        """A step with one sentence. ``before`` and ``after``: name -> its part of the diff."""
        before, after = before or {}, after or {}
        names = list(dict.fromkeys([*before, *after])) or [""]
        shares = [(name, before.get(name, UNTOLD), after.get(name, UNTOLD)) for name in names]
        effects = [Effect(name, "" if number else text, *share) for number, (name, *share) in enumerate(shares)]
        return cls(tuple(effects), tuple(commands), side)

    @property
    def text(self) -> str:
        return "; ".join(effect.text for effect in self.effects if effect.text)

    @property
    def names(self) -> list[str]:
        return [effect.name for effect in self.effects]


@dataclass
class Plan:
    """Steps in order, and warnings for the user."""

    steps: list[Step] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        return bool(self.steps)

    @property
    def effects(self) -> list[Effect]:
        return [effect for step in self.steps for effect in step.effects]

    @property
    def actions(self) -> list[str]:
        return sentences(self.steps)

    def add(
        self, text: str, *commands: list[str],
        before: Mapping[str, Any] | None = None, after: Mapping[str, Any] | None = None, side: str = "",
    ) -> None:  # fmt: skip
        self.steps.append(Step.of(text, commands, before, after, side))

    def to_result(self) -> dict[str, Any]:
        """changed, actions, diff and warnings as every changing module returns them."""
        return {
            "changed": self.changed,
            "actions": self.actions,
            "diff": {
                "before": _merged((effect.name, effect.before) for effect in self.effects),
                "after": _merged((effect.name, effect.after) for effect in self.effects),
            },
            "warnings": self.warnings,
        }


def sentences(steps: Iterable[Step]) -> list[str]:
    """The steps as ``actions`` lists them."""
    return [effect.text for step in steps for effect in step.effects if effect.text]


def _merged(shares: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Name -> its part of the diff. Of several effects on one name dicts are merged, any other value is replaced."""
    result: dict[str, Any] = {}
    for name, value in shares:
        if value is not UNTOLD:
            old = result.get(name)
            result[name] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
    return result
