# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The verb of zfs_snapshot_prune: old snapshots go by rules, each that stays says why."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import model
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName, check_unique, matches
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan, Step
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import Activity, read_activity
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.inventory import Inventory
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot import deletion, objects, retention
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.deletion import Outcome
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.retention import LocalTime


@dataclass(frozen=True)
class Options:
    """The module's options, checked."""

    names: list[str]
    recursive: bool
    match: list[str]
    rules: Mapping[str, int]

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Options:
        names = [str(DatasetName.parse(name)) for name in params["name"]]
        check_unique(names, "name")
        if not names:
            raise BadInput("name is empty; give at least snap volume as pool/dataset")
        if not params["match"] or "" in params["match"]:
            raise BadInput("match is empty; give globs for the part after the @, '*' for all snapshots")
        return cls(names, params["recursive"], params["match"], retention.keep_rules(params["keep"]))


def main(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The verb."""
    options = Options.from_params(params)
    backend = Backend()
    found, gone = inventory.read(backend, options.names, None if options.recursive else 1, "filesystem,volume,snapshot")
    if gone:
        raise Refused(f"{', '.join(gone)} does not exist; nothing was pruned. Check name")
    matched = _matched(found, options.match)
    running = read_activity(backend)
    if matched:
        objects.fill(backend, {snap.dataset: found[snap.dataset] for snap in matched}, matched, running)
    decided = decide(matched, options, running, time.time(), time.localtime)
    if check_mode:
        return _result(decided, _foretold(decided), Outcome(decided.deletion.plan.effects, {}, []))
    outcome = deletion.delete(backend, decided.deletion)
    ends = [replace(snap) for snap in decided.goes]
    if decided.deletion.plan.changed:
        objects.fill(backend, {snap.dataset: found[snap.dataset] for snap in ends}, ends, read_activity(backend))
    return _result(decided, ends, outcome)


def _matched(found: Inventory, patterns: list[str]) -> list[Snapshot]:
    return [
        snapshot for dataset in found.values() for snapshot in dataset.snapshots if matches(snapshot.snapshot, patterns)
    ]


@dataclass
class Decision:
    """What stays with its reason, what goes, and what is marked already."""

    kept: list[dict[str, str]]
    goes: list[Snapshot]
    marked: list[Snapshot]
    deletion: deletion.Deletion


def decide(
    matched: Sequence[Snapshot], options: Options, running: Activity, now: float, localtime: LocalTime
) -> Decision:
    """Pure: the snapshots read with values and holds, the rules, and what is being sent."""
    by_dataset: dict[str, list[Snapshot]] = {}
    for snapshot in matched:
        by_dataset.setdefault(snapshot.dataset, []).append(snapshot)
    kept: list[dict[str, str]] = []
    expired: list[Snapshot] = []
    ruled_out: list[Snapshot] = []
    for snapshots in by_dataset.values():
        for verdict in retention.judge(snapshots, options.rules, now, localtime):
            in_use = None if verdict.keep else _in_use(verdict.snapshot, running)
            if verdict.keep or in_use:
                kept.append({"name": verdict.snapshot.name, "reason": in_use or verdict.reason})
            else:
                (expired if verdict.snapshot.temporary else ruled_out).append(verdict.snapshot)
    goes = expired + ruled_out
    marked = [snap for snap in matched if snap.state == model.PENDING_DELETE]
    return Decision(kept, goes, marked, deletion.plan_deletion(goes))


def _in_use(snapshot: Snapshot, running: Activity) -> str | None:
    """A transfer that works with it just now, even where nothing marks it."""
    if running.sends(snapshot.name):
        return "is being sent just now"
    receiving = next((clone for clone in snapshot.clones or [] if clone.endswith("/%recv")), None)
    return f"is the base of what {receiving.rpartition('/')[0]} is receiving" if receiving else None


def _foretold(decided: Decision) -> list[Snapshot]:
    """What will have become of those that go."""
    return [replace(snap, state=model.PENDING_DELETE if snap.clones else model.ABSENT) for snap in decided.goes]


def _result(decided: Decision, ends: Sequence[Snapshot], outcome: Outcome) -> dict[str, Any]:
    """What came into use meanwhile is kept and said; anything else that did not go is a failure."""
    stays = {snap.name for snap in ends if snap.state == model.FULL}
    done = tuple(effect for effect in outcome.done if effect.name not in stays)
    in_use = [name for name in outcome.busy if name in stays]
    warnings = [f"{name} is in use just now and was kept; the next run prunes it" for name in in_use]
    failed = {name: outcome.failures.get(name, f"{name} is still there") for name in sorted(stays.difference(in_use))}
    pending = [snap.name for snap in [*decided.marked, *ends] if snap.state == model.PENDING_DELETE]
    result = {
        **Plan([Step(done)] if done else [], warnings).to_result(),
        "kept": decided.kept + [{"name": name, "reason": "is in use just now"} for name in in_use],
        "pruned": [snap.name for snap in ends if snap.state == model.ABSENT],
        "pending": pending,
    }
    if failed:
        result.update(failed=True, msg=f"could not prune all: {'; '.join(failed.values())}")
    return result
