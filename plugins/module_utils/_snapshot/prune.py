# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zfs_snapshot_prune."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import model, units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName, check_unique, matches, shortened
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
    """The checked options. ``rules``: kind of period -> how many to keep."""

    names: list[str]
    recursive: bool
    match: list[str]
    rules: Mapping[str, int]

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Options:
        names = [str(DatasetName.parse(name)) for name in params["name"]]
        check_unique(names, "name")
        if not names:
            raise BadInput("name is empty; give at least one dataset as pool/dataset")
        if not params["match"] or "" in params["match"]:
            raise BadInput("match is empty; give globs for the part after the @, '*' for all snapshots")
        return cls(names, params["recursive"], params["match"], retention.keep_rules(params["keep"]))


def main(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    options = Options.from_params(params)
    backend = Backend()
    found, missing = inventory.read(backend, options.names, None if options.recursive else 1, inventory.TREE)
    if missing:
        raise Refused(f"there is no dataset {', '.join(missing)}, so nothing was pruned; check name")
    matched = _matched(found, options.match)
    running = read_activity(backend)
    spoilt: dict[str, str] = {}
    if matched:
        datasets = {snap.dataset: found[snap.dataset] for snap in matched}
        objects.fill(backend, datasets, matched, running, spoilt=spoilt)
    replicas = {name for name, dataset in found.items() if dataset.is_replica}
    decided = decide(matched, options, running, time.time(), time.localtime, replicas, spoilt)
    decided.warnings += _from_the_future(matched, running.now)
    if check_mode:
        return _result(decided, _foretold(decided), Outcome(decided.deletion.plan.effects, {}, []))
    outcome = deletion.delete(backend, decided.deletion)
    snapshots = [replace(snap) for snap in decided.pruned]
    if decided.deletion.plan.changed:
        datasets = {snap.dataset: found[snap.dataset] for snap in snapshots}
        objects.fill(backend, datasets, snapshots, read_activity(backend), spoilt=spoilt)
    return _result(decided, snapshots, outcome)


def _from_the_future(matched: Sequence[Snapshot], now: float) -> list[str]:
    """Of those that expire, and of the newest of each dataset: what an older one with a wrong time does is past."""
    newest = {snap.dataset: snap for snap in matched if snap.state == model.FULL}
    return [
        f"{objects.from_the_future(snap)}; the rules for periods count it in a wrong one, and it expires late"
        for snap in matched
        if snap.created is not None
        and units.age(snap.created, now) is None
        and (snap is newest.get(snap.dataset) or snap.lifetime is not None)
    ]


def _matched(found: Inventory, patterns: list[str]) -> list[Snapshot]:
    return [
        snapshot for dataset in found.values() for snapshot in dataset.snapshots if matches(snapshot.snapshot, patterns)
    ]


@dataclass
class Decision:
    """What is kept (name and reason), what is pruned in this order, and what was pending deletion before."""

    kept: list[dict[str, str]]
    pruned: list[Snapshot]
    pending: list[Snapshot]
    deletion: deletion.Deletion
    warnings: list[str] = field(default_factory=list)


def decide(
    matched: Sequence[Snapshot], options: Options, running: Activity, now: float, localtime: LocalTime,
    replicas: Collection[str] = (), spoilt: Mapping[str, str] = MappingProxyType({}),
) -> Decision:  # fmt: skip
    """What to keep and what to prune, expired snapshots first.

    The matched snapshots must have been read with values and holds. ``now``: seconds since 1970. ``replicas``: the
    datasets that are replicas; only the rules count for their snapshots, since the host that sends can write the marks
    there. ``spoilt``: snapshots and datasets that cannot be read, and why; these snapshots are kept.
    """
    by_dataset: dict[str, list[Snapshot]] = {}
    kept: list[dict[str, str]] = []
    for snapshot in matched:
        reason = spoilt.get(snapshot.name) or spoilt.get(snapshot.dataset)
        if reason:
            kept.append({"name": snapshot.name, "reason": reason})
        else:
            by_dataset.setdefault(snapshot.dataset, []).append(snapshot)
    expired: list[Snapshot] = []
    ruled_out: list[Snapshot] = []
    for name, snapshots in by_dataset.items():
        if name in replicas:
            snapshots = [replace(snapshot, temporary=False, lifetime=None) for snapshot in snapshots]
        for verdict in retention.judge(snapshots, options.rules, now, localtime):
            in_use = None if verdict.keep else _in_use(verdict.snapshot, running)
            if verdict.keep or in_use:
                kept.append({"name": verdict.snapshot.name, "reason": in_use or verdict.reason})
            else:
                (expired if verdict.snapshot.temporary else ruled_out).append(verdict.snapshot)
    pruned = expired + ruled_out
    pending = [snap for snap in matched if snap.state == model.PENDING_DELETE]
    return Decision(kept, pruned, pending, deletion.plan_deletion(pruned))


def _in_use(snapshot: Snapshot, running: Activity) -> str | None:
    """Which running transfer needs the snapshot, even if it has no hold; None if none does."""
    if running.sends(snapshot.name):
        return "is being sent"
    receiving = next((clone for clone in snapshot.clones or [] if clone.endswith("/%recv")), None)
    return f"is the base of the receive into {receiving.rpartition('/')[0]}" if receiving else None


def _foretold(decided: Decision) -> list[Snapshot]:
    """The pruned snapshots as they will be."""
    return [replace(snap, state=model.PENDING_DELETE if snap.clones else model.ABSENT) for snap in decided.pruned]


def _result(decided: Decision, snapshots: Sequence[Snapshot], outcome: Outcome) -> dict[str, Any]:
    """``snapshots``: the pruned ones, re-read. One that is in use by now is kept; any other that exists has failed."""
    left = {snap.name for snap in snapshots if snap.state == model.FULL}
    done = tuple(effect for effect in outcome.done if effect.name not in left)
    in_use = [name for name in outcome.busy if name in left]
    warnings = decided.warnings + [f"{name} is in use and was kept; the next run prunes it" for name in in_use]
    failures = [
        outcome.failures.get(name, f"{name} still exists, but ZFS reported no error")
        for name in sorted(left.difference(in_use))
    ]
    pending = [snap.name for snap in [*decided.pending, *snapshots] if snap.state == model.PENDING_DELETE]
    result = {
        **Plan([Step(done)] if done else [], warnings).to_result(),
        "kept": decided.kept + [{"name": name, "reason": "is in use"} for name in in_use],
        "pruned": [snap.name for snap in snapshots if snap.state == model.ABSENT],
        "pending": pending,
    }
    if failures:
        result.update(failed=True, msg=f"not all snapshots could be pruned: {'; '.join(shortened(failures))}")
    return result
