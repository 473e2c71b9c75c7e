# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The things that a task lists, such as clones. One that fails does not keep the task from the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import shortened
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.execute import carry_out


@dataclass
class Item:
    """One of the things: what is to be done, or was done, and why it failed.

    ``unmounted``: what zfs said of it when it had created it but could not mount it. ``kept``: why it was not removed,
    where that is no error.
    """

    name: str
    plan: Plan = field(default_factory=Plan)
    error: CerssError | None = None
    unmounted: list[str] = field(default_factory=list)
    kept: str | None = None

    def check(self, look: Callable[[], Any]) -> Any:
        """What ``look()`` returns; None if it raises a CerssError, which is kept, or if something has failed before."""
        if self.error is None:
            try:
                return look()
            except CerssError as error:
                self.error = error
        return None

    def to_result(self) -> dict[str, Any]:
        return {"failed": self.error is not None, "msg": self.error.msg if self.error else None}


def carry_out_all(backend: Backend, items: Iterable[Item]) -> None:
    """Carry out the plans in this order. Afterwards each plan has only the steps that are done."""
    for item in items:
        if item.error is None:
            carried = carry_out(backend, item.plan)
            item.plan = Plan(carried.done, item.plan.warnings)
            item.unmounted, item.error = carried.unmounted, carried.error


def result(items: Sequence[Item]) -> dict[str, Any]:
    """changed, actions, diff and warnings of all plans together, and the errors if there are any."""
    plan = Plan([step for item in items for step in item.plan.steps])
    plan.warnings = list(dict.fromkeys(warning for item in items for warning in item.plan.warnings))
    errors = [item.error for item in items if item.error]
    if not errors:
        return plan.to_result()
    details = {key: value for error in reversed(errors) for key, value in error.details.items()}
    reasons = list(dict.fromkeys(error.msg for error in errors))
    return {**details, **plan.to_result(), "failed": True, "msg": "; ".join(shortened(reasons))}
