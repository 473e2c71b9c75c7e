# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zfs_snapshot_prune."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import model, units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import LastHold
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import (
    DatasetName,
    SnapshotName,
    check_patterns,
    check_unique,
    listing,
    matches,
    shortened,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.periods import LocalTime
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan, Step
from ansible_collections.cerss.zfs.plugins.module_utils._core.unsent import bases, unsent
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import Activity, read_activity
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.inventory import Inventory
from ansible_collections.cerss.zfs.plugins.module_utils._host.selection import Selection
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot import deletion, objects, retention
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.deletion import Outcome
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.retention import Needs, Rules, Verdict
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.space import MinFree, to_give_up


@dataclass(frozen=True)
class Options:
    """The checked options.

    ``unreplicated``: whether to keep what relationships would still send, for ``limit`` seconds at most, and as long as
    the pool has ``min_free``. ``upcoming``: names of snapshots that check mode counts although they do not exist yet.
    ``replicas``: whether datasets that are replicas are pruned.
    """

    selection: Selection
    match: tuple[str, ...]
    rules: Rules
    unreplicated: bool = True
    limit: int | None = None
    min_free: MinFree | None = None
    upcoming: tuple[SnapshotName, ...] = ()
    replicas: bool = True

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Options:
        names = params.get("name")
        if names is None and not params.get("select"):
            raise BadInput("name is missing; give the datasets as pool/dataset, or select them by a property")
        names = None if names is None else [str(DatasetName.parse(name)) for name in names]
        check_unique(names or [], "name")
        limit, min_free = params.get("unreplicated_limit"), params.get("min_free")
        given = [name for name in ("unreplicated_limit", "min_free") if params.get(name) is not None]
        if given and params["unreplicated"] == "ignore":
            raise BadInput(f"{listing(given)} cannot be combined with unreplicated=ignore; leave one of them out")
        return cls(
            selection=Selection.from_params(params, names),
            match=_patterns(params),
            rules=Rules.from_params(params),
            unreplicated=params["unreplicated"] == "keep",
            limit=None if limit is None else units.duration(limit, "unreplicated_limit"),
            min_free=None if min_free is None else MinFree.parse(min_free, "min_free"),
            upcoming=tuple(SnapshotName.parse(name) for name in params.get("upcoming") or ()),
            replicas=params.get("on_replica") != "skip",
        )

    @property
    def is_empty(self) -> bool:
        """True if no snapshot can be meant."""
        return self.selection.roots == () or not self.match


def _patterns(params: Mapping[str, Any]) -> tuple[str, ...]:
    given = params.get("match")
    found = check_patterns(given, "match")
    if given is None and params.get("expired_only"):
        return ("*",)
    if given is None or (given and not found):
        raise BadInput("match is missing; give patterns for the part after the @, '*' for all snapshots")
    return found


@dataclass(frozen=True)
class Seen:
    """What was read. ``matched``: the snapshots to judge, with all values and holds.

    ``spoilt``: snapshots and datasets that cannot be read, and why.
    """

    datasets: Inventory = field(default_factory=dict)
    matched: Sequence[Snapshot] = ()
    running: Activity = field(default_factory=Activity)
    spoilt: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()


def main(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    options, backend = Options.from_params(params), Backend()
    seen = Seen() if options.is_empty else _read(backend, options)
    now = time.time()
    if check_mode:
        seen = with_upcoming(seen, options, now)
    verdicts = judge(seen, options, now, time.localtime)
    late = too_late(verdicts, options, now)
    crowding, warnings = _crowding(backend, options, verdicts, late)
    decided = decide(verdicts, late | crowding, seen)
    decided.warnings += warnings
    if check_mode:
        return _result(decided, _foretold(decided), Outcome(decided.deletion.plan.effects, {}, []))
    outcome = deletion.delete(backend, decided.deletion)
    snapshots = [replace(snap) for snap in decided.pruned]
    if decided.deletion.plan.changed:
        _read_states(backend, snapshots)
    return _result(decided, snapshots, outcome)


def _read(backend: Backend, options: Options) -> Seen:
    """Four zfs processes, one more if anything is held, and one with ``select``."""
    selection = options.selection
    found, missing = inventory.read(backend, selection.roots or (), selection.depth)
    if missing:
        raise Refused(f"there is no dataset {', '.join(missing)}, so nothing was pruned; check name")
    names, warnings = selection.choose(backend, found)
    datasets = {name: found[name] for name in names}
    matched = [
        snap for dataset in datasets.values() for snap in dataset.snapshots if matches(snap.snapshot, options.match)
    ]
    running = read_activity(backend)
    spoilt: dict[str, str] = {}
    if matched:
        concerned = {snap.dataset: found[snap.dataset] for snap in matched}
        objects.fill(backend, concerned, matched, running, "records", spoilt=spoilt)
    return Seen(datasets, matched, running, spoilt, [*warnings, *_from_the_future(matched, running.now)])


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


def _read_states(backend: Backend, snapshots: list[Snapshot]) -> None:
    """Note which of the snapshots are gone or pending deletion now. One process."""
    holder = Dataset("", snapshots=snapshots)
    names = [snap.name for snap in snapshots]
    gone = {*inventory.read_values(backend, {"": holder}, names, ("defer_destroy",), spoilt={})}
    for snap in snapshots:
        snap.state = model.ABSENT if snap.name in gone else snap.state


def with_upcoming(seen: Seen, options: Options, now: float) -> Seen:
    """With the upcoming snapshots that do not exist yet, as they will be right after their creation at ``now``.

    When they have come to a replica, what was the last received snapshot before is not held as such any more.
    """
    there = {snap.name for dataset in seen.datasets.values() for snap in dataset.snapshots}
    found: dict[str, list[Snapshot]] = {}
    for name in options.upcoming:
        if name.dataset.path in seen.datasets and matches(name.snapshot, options.match) and str(name) not in there:
            snapshot = Snapshot(str(name), createtxg=2**63, created=int(now), clones=[], userrefs=0, holds=[])
            found.setdefault(name.dataset.path, []).append(snapshot)
    datasets = {
        name: replace(dataset, snapshots=[*dataset.snapshots, *found.get(name, ())])
        for name, dataset in seen.datasets.items()
    }
    matched = [_no_longer_last(snap) if snap.dataset in found else snap for snap in seen.matched]
    return replace(seen, datasets=datasets, matched=[*matched, *(snap for snaps in found.values() for snap in snaps)])


def _no_longer_last(snapshot: Snapshot) -> Snapshot:
    holds = [hold for hold in snapshot.holds or [] if not isinstance(hold.mark, LastHold)]
    return replace(snapshot, holds=holds, userrefs=len(holds))


# -- what to do ------------------------------------------------------------------------------------------------------


def judge(seen: Seen, options: Options, now: float, localtime: LocalTime) -> list[Verdict]:
    """A verdict on each matched snapshot, dataset by dataset, oldest first.

    ``now``: seconds since 1970. On a replica no mark of a snapshot counts, since the host that sends can write them.
    What cannot be read is kept.
    """
    by_dataset: dict[str, list[Snapshot]] = {}
    for snapshot in seen.matched:
        by_dataset.setdefault(snapshot.dataset, []).append(snapshot)
    verdicts: list[Verdict] = []
    for name, snapshots in by_dataset.items():
        dataset = seen.datasets[name]
        if dataset.is_replica and not options.replicas:
            continue
        reasons = {snap.name: seen.spoilt.get(snap.name) or seen.spoilt.get(name) for snap in snapshots}
        verdicts += [Verdict(snap, [reason]) for snap in snapshots if (reason := reasons[snap.name])]
        readable = [snap for snap in snapshots if not reasons[snap.name]]
        if dataset.is_replica:
            readable = [replace(snap, temporary=False, lifetime=None) for snap in readable]
        lacks = unsent(dataset, readable) if options.unreplicated else {}
        needs = Needs(_needed(dataset, readable, seen.running), lacks)
        verdicts += retention.judge(readable, options.rules, now, localtime, needs)
    return verdicts


def _needed(dataset: Dataset, snapshots: Iterable[Snapshot], running: Activity) -> dict[str, list[str]]:
    """Name of a snapshot -> what needs it although it has no hold."""
    found: dict[str, list[str]] = {}
    newest = dataset.snapshots[-1].name if dataset.is_replica and dataset.snapshots else None
    starts = bases(dataset)
    for snap in snapshots:
        receiving = next((clone for clone in snap.clones or [] if clone.endswith("/%recv")), None)
        found[snap.name] = [
            *(["is being sent"] if running.sends(snap.name) else []),
            *([f"is the base of the receive into {receiving.rpartition('/')[0]}"] if receiving else []),
            *([starts[snap.guid]] if snap.guid in starts else []),
            *(["newest snapshot of a replica"] if snap.name == newest else []),
        ]
    return found


def is_waiting(verdict: Verdict) -> bool:
    """True if nothing but relationships that would still send it keeps the snapshot."""
    return bool(verdict.lacks) and not verdict.reasons and not verdict.expired


def too_late(verdicts: Iterable[Verdict], options: Options, now: float) -> set[str]:
    """The names of the waiting snapshots that are older than ``unreplicated_limit``."""
    if options.limit is None:
        return set()
    waiting = (verdict.snapshot for verdict in verdicts if is_waiting(verdict))
    return {snap.name for snap in waiting if now - (snap.created or 0) > options.limit}


def _crowding(
    backend: Backend, options: Options, verdicts: Sequence[Verdict], late: Collection[str]
) -> tuple[set[str], list[str]]:
    """(names of the waiting snapshots that must go for want of room, warnings). ``late``: those that go anyway."""
    if options.min_free is None:
        return set(), []
    waiting = [each.snapshot for each in verdicts if is_waiting(each) and each.snapshot.name not in late]
    certain = [each.snapshot for each in verdicts
               if not each.reasons and (not is_waiting(each) or each.snapshot.name in late)]  # fmt: skip
    found, warnings = to_give_up(backend, options.min_free, certain, waiting)
    return {snap.name for snap in found}, warnings


@dataclass
class Decision:
    """What is kept, with the reasons; what is pruned in this order; and what was pending deletion before.

    ``given_up``: of what is pruned, the relationships that would still have sent it.
    """

    kept: list[dict[str, Any]]
    pruned: list[Snapshot]
    pending: list[Snapshot]
    deletion: deletion.Deletion
    given_up: list[dict[str, str | None]]
    warnings: list[str] = field(default_factory=list)


def decide(verdicts: Iterable[Verdict], given_up: Collection[str], seen: Seen) -> Decision:
    """What to keep and what to prune, expired snapshots first. ``given_up``: names of waiting snapshots that go."""
    kept: list[dict[str, Any]] = []
    expired: list[Verdict] = []
    ruled_out: list[Verdict] = []
    for verdict in verdicts:
        name = verdict.snapshot.name
        counted = () if verdict.expired or name in given_up else verdict.lacks
        reasons = [*verdict.reasons, *(lack.reason for lack in counted)]
        if reasons:
            kept.append({"name": name, "reasons": reasons})
        else:
            (expired if verdict.expired else ruled_out).append(verdict)
    pruned = [verdict.snapshot for verdict in expired + ruled_out]
    lost = [
        {"name": verdict.snapshot.name, "relationship": lack.relationship, "target": lack.target}
        for verdict in expired + ruled_out
        for lack in verdict.lacks
    ]
    pending = [snap for snap in seen.matched if snap.state == model.PENDING_DELETE]
    return Decision(kept, pruned, pending, deletion.plan_deletion(pruned), lost, list(seen.warnings))


def _foretold(decided: Decision) -> list[Snapshot]:
    """The pruned snapshots as they will be."""
    return [replace(snap, state=model.PENDING_DELETE if snap.clones else model.ABSENT) for snap in decided.pruned]


# -- the result ------------------------------------------------------------------------------------------------------


def _result(decided: Decision, snapshots: Sequence[Snapshot], outcome: Outcome) -> dict[str, Any]:
    """``snapshots``: the pruned ones, re-read. One that is in use by now is kept; any other that exists has failed."""
    left = {snap.name for snap in snapshots if snap.state == model.FULL}
    done = tuple(effect for effect in outcome.done if effect.name not in left)
    in_use = [name for name in outcome.busy if name in left]
    given_up = [each for each in decided.given_up if each["name"] not in left]
    warnings = [
        *decided.warnings,
        *(f"{name} is in use and was kept; the next run prunes it" for name in in_use),
        *_losses(given_up),
    ]
    failures = [
        outcome.failures.get(name, f"{name} still exists, but ZFS reported no error")
        for name in sorted(left.difference(in_use))
    ]
    pending = [snap.name for snap in [*decided.pending, *snapshots] if snap.state == model.PENDING_DELETE]
    result = {
        **Plan([Step(done)] if done else [], warnings).to_result(),
        "kept": decided.kept + [{"name": name, "reasons": ["is in use"]} for name in in_use],
        "pruned": [snap.name for snap in snapshots if snap.state == model.ABSENT],
        "pending": pending,
        "given_up": given_up,
    }
    if failures:
        result.update(failed=True, msg=f"not all snapshots could be pruned: {'; '.join(shortened(failures))}")
    return result


def _losses(given_up: Iterable[Mapping[str, str | None]]) -> list[str]:
    """A warning for each replica that will never get what was given up."""
    by_target: dict[str, list[str]] = {}
    for each in given_up:
        by_target.setdefault(each["target"] or "a replica whose record cannot be read", []).append(str(each["name"]))
    return [
        f"{target} will never get {listing(shortened(names))}, which "
        + ("is given up although it was" if len(names) == 1 else "are given up although they were")
        + " not sent yet"
        for target, names in by_target.items()
    ]
