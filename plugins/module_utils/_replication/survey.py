# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Both sides of a run, read into pairs in as few zfs processes as there can be."""

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
    """Reads both backends for one run."""

    def __init__(self, source: Backend, target: Backend) -> None:
        self.source, self.target = source, target

    def plan(self, options: Options, making: bool) -> list[PairPlan]:
        """Read both sides and decide about every pair, in the order in which they must go."""
        depth = None if options.recursive else 1
        roots = {str(dataset_of(name)): name for name in options.names}
        replica_roots = {str(options.replica_root(name)) for name in options.names}
        (sources, gone), (replicas, _absent) = self._both(
            lambda: inventory.read(self.source, list(roots), depth),
            lambda: inventory.read(self.target, sorted(replica_roots), depth),
        )
        pairs = self._pairs(options, sources, replicas)
        renames.follow(self.source, self.target, options, pairs)
        plans = renames.taken_places(options, pairs)
        pairs = [pair for pair in pairs if all(pair is not plan.pair for plan in plans)]
        open_ones = {pair.replica_name: pair for pair in pairs if not planner.settled_at_a_glance(pair, options.pair)}
        self.look_closer(list(open_ones.values()))
        renames.find_strayed(self.target, list(open_ones.values()))
        arriving = self.arriving(list(open_ones.values()))
        claimed: set[str] = set()
        for pair in _in_order(pairs):
            if pair.replica_name in open_ones:
                pair.makes_parents = [name for name in pair.missing_parents if name not in claimed]
                replica = pair.replica
                plan = plan_pair(pair, options.pair, arriving, making)
                if replica and not pair.replica:  # aborted, or put aside with what clones are made of
                    aside = divergence.aside_name(replica.name, replica.guid)
                    moved = {snap.guid: f"{aside}@{snap.snapshot}" for snap in replica.snapshots if snap.guid}
                    arriving.update({guid: place for guid, place in moved.items() if guid in arriving})
                _check_above(plan, plans)
                if plan.sends and not plan.error:
                    claimed.update(pair.makes_parents)
                arriving.update(_coming(plan))
            else:
                ids = {cursor.id for cursor, _bookmark in pair.source.cursors()}
                pair.known_id = ids.pop() if len(ids) == 1 else None
                plan = PairPlan(pair, goal=planner.requested(pair, options.pair)[-1])
            plans.append(plan)
        for name in gone:
            place = options.replica_root(roots[name])
            pair = Pair(Dataset(name), str(place), target_address=options.target.address(place))
            error = Refused(f"{options.source.address(name)} does not exist; check the name, or create it first")
            plans.append(PairPlan(pair, error=error))
        return plans

    @staticmethod
    def _both(one: Callable[[], Any], other: Callable[[], Any]) -> tuple[Any, Any]:
        """Two reads side by side."""
        with ThreadPoolExecutor(2) as pool:
            first, second = pool.submit(one), pool.submit(other)
            return first.result(), second.result()

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
                        "lower target.strip, or replicate them apart"
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
        """Read what the fast columns do not tell, for the pairs that need it: two processes a side, or three."""
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
        names = [name for pool in pools for name in [pool]] + sorted(set(known) - set(pools))
        names += [snap.name for dataset in replicas.values() for snap in dataset.snapshots]
        gone = inventory.read_values(
            self.target, known, names,
            ("guid", "type", "receive_resume_token", "written", "available", "encryption", "encryptionroot",
             "userrefs", "defer_destroy", "clones", SourceMark.NAME, Announcement.NAME),
        )  # fmt: skip
        for pool in pools:
            if pool in gone:
                where = self.target.endpoint.label or "this machine"
                raise Refused(f"there is no pool {pool} on {where}; check the name of the target")
        inventory.read_holds(self.target, [snap for dataset in replicas.values() for snap in dataset.snapshots])
        coming = {pair.replica_name for pair in pairs}
        for pair in pairs:
            above = [str(parent) for parent in DatasetName(pair.replica_name).ancestors()]
            root = known[DatasetName(pair.replica_name).pool]
            pair.pool_guid = root.guid
            pair.missing_parents = [name for name in above if name in gone and name not in coming]
            places = [known[name] for name in (pair.replica_name, *reversed(above), root.name) if name in known]
            pair.below = [known[name] for name in pair.replica.children if name not in gone] if pair.replica else []
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
        """What a reseed that was cut short took along, and that still has to come back."""
        asides = {pair.record.aside: pair for pair in pairs if pair.record and pair.record.aside}
        if not asides:
            return
        found, _gone = inventory.read(self.target, sorted(asides))
        below = {name: Dataset(name) for dataset in found.values() for name in dataset.children}
        inventory.read_values(self.target, below, sorted(below), ("type",))
        for aside, dataset in found.items():
            asides[aside].aside, asides[aside].below = aside, [below[name] for name in dataset.children]

    def arriving(self, pairs: Sequence[Pair]) -> dict[str, str]:
        """GUID -> snapshot for what is on the target's pools, read only when a clone must find its origin there.

        Where the two have nothing in common the GUIDs of their origins are read too: they tell of a promotion.
        """
        apart = [pair for pair in pairs if not pair.replica or newest_common(pair.source, pair.replica) is None]
        _read_origins(self.target, [pair.replica for pair in apart if pair.replica])
        clones = [pair for pair in apart if pair.source.origin]
        _read_origins(self.source, [pair.source for pair in clones])

        def read(name: str) -> Inventory:
            return inventory.read(self.target, [name], None, "filesystem,volume,snapshot")[0]

        there = [dataset for found in renames.around(clones, read) for dataset in found.values()]
        return {snap.guid: snap.name for dataset in there for snap in dataset.snapshots if snap.guid}

    def observe(self, former: Pair) -> Pair:
        """The pair as it stands now."""
        (sources, _gone), (replicas, _absent) = self._both(
            lambda: inventory.read(self.source, [former.source.name]),
            lambda: inventory.read(self.target, [former.replica_name]),
        )
        if former.source.name not in sources:
            raise Refused(
                f"{former.source_address} does not exist; check the name, or whether somebody renamed it just now"
            )
        pair = Pair(
            sources[former.source.name], former.replica_name, replicas.get(former.replica_name), former.snapshot_name,
            former.pool_guid, former.source_address, former.target_address, former.source_host, former.target_host,
            former.named,
        )  # fmt: skip
        pair.source.origin_guid = former.source.origin_guid
        # Made once: a replica that has just been put aside, or is not begun yet, cannot tell it.
        pair.known_id = former.known_id or (former.mark.id if former.mark else None)
        self.look_closer([pair])
        if former.replica and not pair.replica:
            renames.find_strayed(self.target, [pair])
        return pair


def _read_origins(backend: Backend, datasets: Sequence[Dataset]) -> None:
    origins = sorted({dataset.origin for dataset in datasets if dataset.origin})
    if origins:
        lines, _gone = backend.read(zfs.list_(origins, "snapshot"))
        guids = {row[0]: row[1] for row in output.rows(lines)}
        for dataset in datasets:
            dataset.origin_guid = guids.get(str(dataset.origin))


def _check_above(plan: PairPlan, plans: Sequence[PairPlan]) -> None:
    """A replica needs the one above it, which is not begun where its source has nothing to send."""
    above = {str(parent) for parent in DatasetName(plan.pair.replica_name).ancestors()}
    for other in plans:
        absent = other.pair.replica is None and not (other.sends and not other.error)
        if plan.sends and absent and other.pair.replica_name in above:
            plan.error = plan.error or Refused(
                f"{plan.pair.source_address} cannot be replicated: {other.pair.target_address} above its replica "
                f"is not there, and {other.pair.source_address} has nothing to send there; make a snapshot of that "
                "first"
            )


def _coming(plan: PairPlan) -> dict[str, str]:
    """GUID -> snapshot on the target for what the plan will bring there."""
    if plan.error:
        return {}
    carried = [snap for send in plan.sends for snap in send.carries]
    return {snap.guid: f"{plan.pair.replica_name}@{snap.snapshot}" for snap in carried if snap.guid}


def _in_order(pairs: list[Pair]) -> list[Pair]:
    """Parents before children, on either side, and origins before their clones; otherwise by name."""
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
