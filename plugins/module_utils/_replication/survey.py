# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads both sides of a run into pairs, with as few zfs processes as possible."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    Announcement,
    ReplicaRecord,
    SourceMark,
    TemporaryMark,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName, SnapshotName, matches
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.inventory import Inventory
from ansible_collections.cerss.zfs.plugins.module_utils._replication import divergence, planner, renames
from ansible_collections.cerss.zfs.plugins.module_utils._replication.options import Options, dataset_of
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import Pair, PairPlan, newest_common
from ansible_collections.cerss.zfs.plugins.module_utils._replication.planner import plan_pair
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import output


class Reader:
    """Reads both backends."""

    def __init__(self, source: Backend, target: Backend) -> None:
        self.source, self.target = source, target

    def plan(self, options: Options, assume_created: bool) -> list[PairPlan]:
        """Read both sides and plan every pair, each after those it depends on. ``assume_created``: see `plan_pair`."""
        depth = None if options.recursive else 1
        roots = {str(dataset_of(name)): name for name in options.names}
        replica_roots = {str(options.replica_root(name)) for name in options.names}
        (sources, missing), (replicas, _missing) = self._both(
            lambda: inventory.read(self.source, list(roots), depth),
            lambda: inventory.read(self.target, sorted(replica_roots), depth),
        )
        pairs = self._pairs(options, sources, replicas)
        renames.follow(self.source, self.target, options, pairs)
        plans = renames.taken_places(options, pairs)
        pairs = [pair for pair in pairs if all(pair is not plan.pair for plan in plans)]
        unsettled = {pair.replica_name: pair for pair in pairs if not planner.settled_at_a_glance(pair, options.pair)}
        self.look_closer(list(unsettled.values()))
        renames.find_strayed(self.target, list(unsettled.values()))
        arriving = self.arriving(list(unsettled.values()))
        claimed: set[str] = set()
        for pair in _in_order(pairs):
            if pair.replica_name in unsettled:
                pair.makes_parents = [name for name in pair.missing_parents if name not in claimed]
                replica = pair.replica
                plan = plan_pair(pair, options.pair, arriving, assume_created)
                if replica and not pair.replica:  # aborted, or put aside together with the origins of clones
                    aside = divergence.aside_name(replica.name, replica.guid)
                    moved = {snap.guid: f"{aside}@{snap.snapshot}" for snap in replica.snapshots if snap.guid}
                    arriving.update({guid: place for guid, place in moved.items() if guid in arriving})
                _check_above(plan, plans)
                if plan.sends and not plan.error:
                    claimed.update(pair.makes_parents)
                arriving.update(_carried(plan))
            else:
                ids = {cursor.id for cursor, _bookmark in pair.source.cursors()}
                pair.known_id = ids.pop() if len(ids) == 1 else None
                plan = PairPlan(pair, goal=planner.requested(pair, options.pair)[-1])
            plans.append(plan)
        for name in missing:
            place = options.replica_root(roots[name])
            pair = Pair(Dataset(name), str(place), target_address=options.target.address(place))
            error = Refused(f"{options.source.address(name)} does not exist; check the name, or create it first")
            plans.append(PairPlan(pair, error=error))
        return plans

    @staticmethod
    def _both(read_source: Callable[[], Any], read_target: Callable[[], Any]) -> tuple[Any, Any]:
        """The results of both, run in parallel."""
        with ThreadPoolExecutor(2) as pool:
            source, target = pool.submit(read_source), pool.submit(read_target)
            return source.result(), target.result()

    def _pairs(self, options: Options, sources: Inventory, replicas: Inventory) -> list[Pair]:
        pairs: dict[str, Pair] = {}
        home = options.target.seen_from(options.source)
        for name in options.names:
            root = dataset_of(name)
            tree = [path for path in sources if root.covers(path)] if options.recursive else [str(root)]
            skipped = [path for path in tree if matches(path, list(options.exclude))]
            for path in sorted(tree):
                if path not in sources or any(DatasetName(skip).covers(path) for skip in skipped):
                    continue
                replica_name = options.place_of(DatasetName(path))
                other = pairs.get(str(replica_name))
                if other is not None and other.source.name != path:
                    raise BadInput(
                        f"{other.source.name} and {path} would both go to {options.target.address(replica_name)}; "
                        "lower target.strip, or give them different targets"
                    )
                pairs[str(replica_name)] = Pair(
                    source=sources[path],
                    replica_name=str(replica_name),
                    replica=replicas.get(str(replica_name)),
                    snapshot_name=name.snapshot if isinstance(name, SnapshotName) else None,
                    source_address=options.source.address(path),
                    target_address=options.target.address(replica_name),
                    source_host=self.source.node,
                    target_host=home.label,
                    named=path == str(root),
                )
        self._check_places(list(pairs.values()), options.recursive)
        return list(pairs.values())

    def _check_places(self, pairs: list[Pair], recursive: bool) -> None:
        if self.source.endpoint.host == self.target.endpoint.host:
            for pair in pairs:
                source, replica = DatasetName(pair.source.name), DatasetName(pair.replica_name)
                if source == replica or (recursive and source.covers(replica)):
                    where = "the source itself" if source == replica else f"inside {source}"
                    raise BadInput(f"{replica} is {where}; choose another target")

    def look_closer(self, pairs: Sequence[Pair]) -> None:
        """Read the properties and holds that plans need, which `inventory.read` leaves out."""
        if not pairs:
            return
        self._look_at_replicas(pairs)
        self._look_at_sources(pairs)
        self._look_aside(pairs)

    def _look_at_replicas(self, pairs: Sequence[Pair]) -> None:
        replicas = {pair.replica.name: pair.replica for pair in pairs if pair.replica}
        pools = sorted({DatasetName(pair.replica_name).pool for pair in pairs})
        parents = {
            str(parent) for pair in pairs if not pair.replica for parent in DatasetName(pair.replica_name).ancestors()
        }
        below = {name for replica in replicas.values() for name in replica.children}
        others = {name: Dataset(name) for name in {*pools, *parents, *below} - set(replicas)}
        known: Inventory = {**replicas, **others}
        names = pools + sorted(set(known) - set(pools))
        names += [snap.name for dataset in replicas.values() for snap in dataset.snapshots]
        missing = inventory.read_values(
            self.target, known, names,
            ("guid", "type", "receive_resume_token", "written", "available", "encryption", "encryptionroot",
             "userrefs", "defer_destroy", "clones", SourceMark.NAME, Announcement.NAME),
        )  # fmt: skip
        for pool in pools:
            if pool in missing:
                where = self.target.endpoint.label or "this machine"
                raise Refused(f"there is no pool {pool} on {where}; check the name of the target")
        inventory.read_holds(self.target, [snap for dataset in replicas.values() for snap in dataset.snapshots])
        coming = {pair.replica_name for pair in pairs}
        for pair in pairs:
            above = [str(parent) for parent in DatasetName(pair.replica_name).ancestors()]
            root = known[DatasetName(pair.replica_name).pool]
            pair.pool_guid = root.guid
            pair.missing_parents = [name for name in above if name in missing and name not in coming]
            places = [known[name] for name in (pair.replica_name, *reversed(above), root.name) if name in known]
            pair.below = [known[name] for name in pair.replica.children if name not in missing] if pair.replica else []
            pair.free_bytes = next(
                (units.number(p.values["available"].text) for p in places if "available" in p.values), None
            )

    def _look_at_sources(self, pairs: Sequence[Pair]) -> None:
        sources = {pair.source.name: pair.source for pair in pairs}
        ids = {pair.id for pair in pairs}
        names = sorted(sources) + [snap.name for dataset in sources.values() for snap in dataset.snapshots]
        inventory.read_values(
            self.source, sources, names,
            ("type", "encryption", "userrefs", "defer_destroy", "clones", TemporaryMark.NAME,
             *sorted(map(ReplicaRecord.name, ids))),
        )  # fmt: skip
        inventory.read_holds(self.source, [snap for dataset in sources.values() for snap in dataset.snapshots])

    def _look_aside(self, pairs: Sequence[Pair]) -> None:
        """Find the datasets that an unfinished reseed must still move back: set ``aside`` and ``below``."""
        asides = {pair.record.aside: pair for pair in pairs if pair.record and pair.record.aside}
        if not asides:
            return
        found, _missing = inventory.read(self.target, sorted(asides))
        below = {name: Dataset(name) for dataset in found.values() for name in dataset.children}
        inventory.read_values(self.target, below, sorted(below), ("type",))
        for aside, dataset in found.items():
            asides[aside].aside, asides[aside].below = aside, [below[name] for name in dataset.children]

    def arriving(self, pairs: Sequence[Pair]) -> dict[str, str]:
        """The snapshots on the target's pools by GUID, read only if a clone needs its origin there.

        If source and replica have no snapshot in common, the GUIDs of their origins are read too; they reveal a
        promotion.
        """
        apart = [pair for pair in pairs if not pair.replica or newest_common(pair.source, pair.replica) is None]
        _read_origins(self.target, [pair.replica for pair in apart if pair.replica])
        clones = [pair for pair in apart if pair.source.origin]
        _read_origins(self.source, [pair.source for pair in clones])

        def read(name: str) -> Inventory:
            return inventory.read(self.target, [name], None, inventory.TREE)[0]

        there = [dataset for found in renames.around(clones, read) for dataset in found.values()]
        return {snap.guid: snap.name for dataset in there for snap in dataset.snapshots if snap.guid}

    def observe(self, former: Pair) -> Pair:
        """The pair in its current state, read again."""
        (sources, _missing), (replicas, _also_missing) = self._both(
            lambda: inventory.read(self.source, [former.source.name]),
            lambda: inventory.read(self.target, [former.replica_name]),
        )
        if former.source.name not in sources:
            raise Refused(f"{former.source_address} does not exist any more; run it again if the dataset was renamed")
        pair = Pair(
            sources[former.source.name], former.replica_name, replicas.get(former.replica_name), former.snapshot_name,
            former.pool_guid, former.source_address, former.target_address, former.source_host, former.target_host,
            former.named,
        )  # fmt: skip
        pair.source.origin_guid = former.source.origin_guid
        # The id never changes, but a replica that has just been put aside or has not been started does not have it.
        pair.known_id = former.known_id or (former.mark.id if former.mark else None)
        self.look_closer([pair])
        if former.replica and not pair.replica:
            renames.find_strayed(self.target, [pair])
        return pair


def _read_origins(backend: Backend, datasets: Sequence[Dataset]) -> None:
    origins = sorted({dataset.origin for dataset in datasets if dataset.origin})
    if origins:
        lines, _missing = backend.read(zfs.list_(origins, "snapshot"))
        guids = {row[0]: row[1] for row in output.rows(lines)}
        for dataset in datasets:
            dataset.origin_guid = guids.get(str(dataset.origin))


def _check_above(plan: PairPlan, plans: Sequence[PairPlan]) -> None:
    """Set an error if the replica's parent is another pair's replica that does not exist and will not be created."""
    above = {str(parent) for parent in DatasetName(plan.pair.replica_name).ancestors()}
    for other in plans:
        lacking = other.pair.replica is None and not (other.sends and not other.error)
        if plan.sends and lacking and other.pair.replica_name in above:
            plan.error = plan.error or Refused(
                f"{plan.pair.source_address} cannot be replicated: {other.pair.target_address}, above its replica, "
                f"does not exist, and {other.pair.source_address} has no snapshot to send there; create one first"
            )


def _carried(plan: PairPlan) -> dict[str, str]:
    """The snapshots that the plan will create on the target, by GUID."""
    if plan.error:
        return {}
    carried = [snap for send in plan.sends for snap in send.carries]
    return {snap.guid: f"{plan.pair.replica_name}@{snap.snapshot}" for snap in carried if snap.guid}


def _in_order(pairs: list[Pair]) -> list[Pair]:
    """Sorted by name, but parents (on either side) come before children, and origins before their clones."""
    by_name = {pair.source.name: pair for pair in pairs}
    by_place = {pair.replica_name: pair.source.name for pair in pairs}
    done: dict[str, Pair] = {}

    def visit(pair: Pair, path: tuple[str, ...]) -> None:
        if pair.source.name in done or pair.source.name in path:
            return
        before = [str(parent) for parent in DatasetName(pair.source.name).ancestors()]
        before += [
            by_place[str(above)] for above in DatasetName(pair.replica_name).ancestors() if str(above) in by_place
        ]
        if pair.source.origin:
            before.append(pair.source.origin.partition("@")[0])
        for name in before:
            if name in by_name:
                visit(by_name[name], (*path, pair.source.name))
        done[pair.source.name] = pair

    for pair in sorted(pairs, key=lambda pair: pair.source.name):
        visit(pair, ())
    return list(done.values())
