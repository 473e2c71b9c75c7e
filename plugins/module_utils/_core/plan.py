# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan: what will be done, in order, decided before anything is. Check mode, diff, actions and the run read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Action:
    """One thing to do: the sentence for ``actions``, the commands that do it, and its share of the diff.

    ``before`` and ``after`` map the name of a thing to what is known of it; never measured values.
    """

    text: str
    commands: tuple[list[str], ...] = ()
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    side: str = ""  # replication: source or target


@dataclass
class Plan:
    """Actions in order, and what the user should know besides."""

    actions: list[Action] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        return bool(self.actions)

    def add(
        self, text: str, *commands: list[str],
        before: Mapping[str, Any] | None = None, after: Mapping[str, Any] | None = None, side: str = "",
    ) -> None:  # fmt: skip
        self.actions.append(Action(text, commands, before or {}, after or {}, side))

    def to_result(self) -> dict[str, Any]:
        """changed, actions, diff and warnings as every changing module returns them."""
        return {
            "changed": self.changed,
            "actions": [action.text for action in self.actions],
            "diff": {
                "before": _merged(action.before for action in self.actions),
                "after": _merged(action.after for action in self.actions),
            },
            "warnings": self.warnings,
        }


def _merged(parts: Any) -> dict[str, Any]:
    """Several actions may speak of one thing: dicts are laid over each other, anything else is replaced."""
    result: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            old = result.get(name)
            result[name] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
    return result
