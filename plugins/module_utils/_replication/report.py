# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What came of a run: of each pair, and of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import model
from ansible_collections.cerss.zfs.plugins.module_utils._core.endpoint import LOCAL
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan, Step
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import Pair, PairPlan
from ansible_collections.cerss.zfs.plugins.module_utils._replication.planner import ASSUMED

MOST_TOLD = 3  # errors in the message of the task


@dataclass
class PairReport:
    """What came of one pair. ``plans``: those that were made for it, in order. ``sent`` and ``estimated`` in bytes.

    ``hosts``: of source and target, as the options name them.
    """

    plans: list[PairPlan]
    hosts: tuple[str, str] = (LOCAL, LOCAL)
    state: str = model.ABSENT
    sent: int = 0
    estimated: int | None = None
    seconds: float = 0.0
    resumed: bool = False
    steps: list[dict[str, Any]] = field(default_factory=list)  # the streams, as the result shows them
    done: list[Step] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    error: CerssError | None = None

    @classmethod
    def of(cls, plan: PairPlan, hosts: tuple[str, str] = (LOCAL, LOCAL)) -> PairReport:
        return cls([plan], hosts, state_now(plan.pair, plan), warnings=list(plan.warnings), error=plan.error)

    def add(self, plan: PairPlan) -> None:
        """A further plan for the pair."""
        self.close()
        self.plans.append(plan)
        for text in plan.warnings:
            self.warn(text)

    def close(self) -> None:
        """There is no further plan."""
        self.plans[-1] = self.plans[-1].told()

    def warn(self, text: str) -> None:
        """Add a warning, once."""
        self.warnings += [] if text in self.warnings else [text]

    def to_result(self, ran: bool) -> dict[str, Any]:
        pair = self.plans[0].pair
        # Another plan may have another goal, since the first one was outdated when its turn came.
        goal = next((plan.goal for plan in reversed(self.plans) if plan.goal), None)
        planned = self.plans[-1:] if ran else self.plans
        steps = self.steps or [send.to_result() for plan in planned for send in plan.sends]
        guid = goal.guid if goal else None
        return {
            "id": pair.id if pair.pool else None,
            "source": f"{pair.source.name}@{goal.snapshot}" if goal else pair.source.name,
            "source_host": self.hosts[0],
            "source_dataset": pair.source.name,
            "snapshot": goal.snapshot if goal else None,
            "target": pair.target_address,
            "target_host": self.hosts[1],
            "target_dataset": pair.replica_name,
            "guid": None if guid == ASSUMED else guid,
            "state": self.state,
            "base": steps[0]["base"] if steps else None,
            "bytes_sent": self.sent if ran else None,
            "bytes_estimated": self.estimated,
            "seconds": round(self.seconds, 1) if ran else None,
            "resumed": self.resumed,
            "origin_preserved": self.plans[0].origin_preserved,
            "steps": steps,
            "failed": self.error is not None,
            "msg": self.error.msg if self.error else None,
        }


def state_now(pair: Pair, plan: PairPlan) -> str:
    replica = pair.replica
    if replica and plan.goal and plan.goal.guid and replica.by_guid(plan.goal.guid):
        return model.FULL
    if replica and (replica.token or replica.inconsistent):
        return model.INBOUND
    return model.ABSENT


@dataclass
class Part:
    """What came of one target. ``parents``: the steps that made datasets above replicas, or would make them.

    ``place``: tells the target's share of the diff from those of others; "" if there are none.
    """

    parents: Sequence[Step] = ()
    reports: Sequence[PairReport] = ()
    warnings: Sequence[str] = ()
    place: str = ""

    def plan(self, check_mode: bool) -> Plan:
        """What was done, or would be done."""
        found = Plan(list(self.parents), [*self.warnings, *(text for each in self.reports for text in each.warnings)])
        for each in self.reports:
            planned = (step for plan in each.plans if not plan.error for step in plan.steps)
            found.steps += planned if check_mode else each.done
        return found


def report(parts: Sequence[Part], check_mode: bool) -> dict[str, Any]:
    """The result of the module."""
    reports = [each for part in parts for each in part.reports]
    plans = {part.place: part.plan(check_mode) for part in parts}
    whole = Plan([step for plan in plans.values() for step in plan.steps],
                 list(dict.fromkeys(text for plan in plans.values() for text in plan.warnings)))  # fmt: skip
    result = {
        **whole.to_result(),
        "replicas": [each.to_result(not check_mode) for each in reports],
        "bytes_sent": None if check_mode else sum(each.sent for each in reports),
    }
    if any(plans):  # one dataset may have a replica of the same name on each
        diffs = {place: plan.to_result()["diff"] for place, plan in plans.items() if plan.steps}
        result["diff"] = {side: {place: diff[side] for place, diff in diffs.items()} for side in ("before", "after")}
    failed = [each for each in reports if each.error]
    if failed:
        result["failed"] = True
        texts = list(dict.fromkeys(each.error.msg for each in failed if each.error))
        more = f"; and {len(texts) - MOST_TOLD} more, see replicas" if len(texts) > MOST_TOLD else ""
        result["msg"] = "; ".join(texts[:MOST_TOLD]) + more
        said = dict.fromkeys(str(each.error.details.get("stderr", "")) for each in failed if each.error)
        stderr = "\n".join(said).strip()
        if stderr:
            result["stderr"] = stderr
    return result
