# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Destroys datasets, of zfs_dataset and zfs_clone: alone, or in a cascade with all that depends on them."""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from ansible_collections.cerss.zfs.plugins.module_utils._core import model
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName, shortened
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan
from ansible_collections.cerss.zfs.plugins.module_utils._dataset import mounting
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import Activity, read_activity
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.inventory import TREE, Inventory, Things
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot import absent, objects
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.dependents import Closure, closure_of

_DEPENDENTS = ("type", "defer_destroy", "userrefs", "clones")
_MOUNTS = ("mounted", "mountpoint")


@dataclass(frozen=True)
class Reach:
    """``cascade``: remove also the snapshots and their clones. ``tree``: the datasets below are named with it."""

    cascade: bool
    tree: bool = False


@dataclass
class Seen:
    """What was read.

    ``current``: the named datasets that exist, with all properties. ``tree``: what is at and below them, and their
    origins. ``pool``: for a cascade, all datasets of the pools; those that it may destroy, and their origins, with
    values and holds.
    """

    current: Inventory = field(default_factory=dict)
    tree: Things = field(default_factory=Things)
    pool: Inventory = field(default_factory=dict)
    running: Activity = field(default_factory=Activity)

    def origin(self, name: str) -> Snapshot | None:
        """The origin of a named dataset."""
        return self.tree.snapshots.get(self.current[name].origin or "")

    def below(self, name: str) -> Things:
        """The snapshots of a dataset, and all below it."""
        below = [each for sign in "@/" for each in _beginning_with(name + sign, self._names)]
        datasets, snapshots = self.tree.datasets, self.tree.snapshots
        return Things(
            {each: datasets[each] for each in below if each in datasets},
            {each: snapshots[each] for each in below if each in snapshots},
        )

    @cached_property
    def _names(self) -> list[str]:
        return sorted([*self.tree.datasets, *self.tree.snapshots])


def _beginning_with(text: str, names: list[str]) -> list[str]:
    """Of sorted names."""
    return names[bisect_left(names, text) : bisect_left(names, text + chr(sys.maxunicode))]


def read(backend: Backend, names: Sequence[str], reach: Reach) -> Seen:
    """One zfs process if none of the datasets exists, otherwise five, and for a cascade some more."""
    current = inventory.read_things(backend, names).datasets
    if not current:
        return Seen()
    roots = [*current, *(dataset.origin for dataset in current.values() if dataset.origin)]
    seen = Seen(current, inventory.read_tree(backend, list(dict.fromkeys(roots)), _DEPENDENTS, TREE))
    first = [name for name in current if dependents(seen.below(name))] if reach.cascade else []
    if first:
        seen.pool, seen.running = _read_pools(backend, first, reach)
    return seen


def _read_pools(backend: Backend, names: Sequence[str], reach: Reach) -> tuple[Inventory, Activity]:
    pools = list(dict.fromkeys(DatasetName(name).pool for name in names))
    found, _missing = inventory.read(backend, pools, None)
    closures = [_closure(name, found, reach) for name in names]
    going = {dataset.name: dataset for closure in closures for dataset in closure.datasets}
    snapshots = {snap.name: snap for dataset in found.values() for snap in dataset.snapshots}
    origins = {dataset.origin: snapshots[dataset.origin] for dataset in going.values() if dataset.origin in snapshots}
    to_read = {snap.name: snap for dataset in going.values() for snap in dataset.snapshots}
    to_read.update((name, snap) for name, snap in origins.items() if name)
    running = read_activity(backend)
    holders = {snap.dataset: found[snap.dataset] for snap in origins.values()}
    objects.fill(backend, {**going, **holders}, list(to_read.values()), running, keep=_MOUNTS)
    objects.fill_records(backend, going)
    return found, running


def _closure(name: str, pool: Mapping[str, Dataset], reach: Reach) -> Closure:
    covers = DatasetName(name).covers
    return closure_of(pool, (), [each for each in pool if covers(each)] if reach.tree else [name])


def dependents(below: Things, gone: Collection[str] = ()) -> list[tuple[str, str]]:
    """(kind, name) of a dataset's snapshots, then of their clones, then of the other datasets below it.

    ``gone``: names of those that are destroyed before.
    """
    clones = {clone for snapshot in below.snapshots.values() for clone in snapshot.clones or []}
    kinds = {"snapshot": set(below.snapshots), "clone": clones, "dataset": set(below.datasets) - clones}
    return [(kind, name) for kind, names in kinds.items() for name in sorted(names.difference(gone))]


def plan(name: str, seen: Seen, reach: Reach, gone: Collection[str] = ()) -> Plan:
    """The destruction of one named dataset; Refused if something is in the way.

    ``gone``: names of what the plans before this one destroy.
    """
    if name in gone:
        return Plan()
    below = dependents(seen.below(name), gone)
    if below and not reach.cascade:
        listed = ", ".join(shortened([f"{kind} {other}" for kind, other in below]))
        raise Refused(
            f"{name} cannot be removed: these depend on it: {listed}. Remove them first, or set on_dependents=cascade "
            f"to remove {'everything below it, all snapshots' if reach.tree else 'its snapshots'} and their clones too",
            dependents=[other for _kind, other in below],
        )
    if not below:
        origin = seen.origin(name)
        alone = Closure([replace(seen.current[name], snapshots=[])], frozenset([name]))
        return absent.plan_cascade(_without([origin] if origin else [], gone), alone)
    pool = {each: dataset for each, dataset in seen.pool.items() if each not in gone}
    return plan_cascade(name, _closure(name, pool, reach), _without(_origins(pool), gone), seen.running)


def _origins(pool: Mapping[str, Dataset]) -> list[Snapshot]:
    """The origins that are pending deletion. Those that were not read are not."""
    wanted = {dataset.origin for dataset in pool.values()}
    return [snap for dataset in pool.values() for snap in dataset.snapshots
            if snap.name in wanted and snap.state == model.PENDING_DELETE]  # fmt: skip


def _without(origins: Iterable[Snapshot], gone: Collection[str]) -> list[Snapshot]:
    """The origins without the clones that are destroyed before."""
    return [replace(snap, clones=[clone for clone in snap.clones or [] if clone not in gone]) for snap in origins]


def plan_cascade(name: str, closure: Closure, origins: Sequence[Snapshot], running: Activity) -> Plan:
    """Unmount all filesystems, so that one in use stops it before anything is lost, then destroy all by name."""
    found = [*absent.obstacles((), closure, running), *_receives(name, closure, running)]
    if found:
        raise Refused(
            f"{name} cannot be removed: these are in the way: {'; '.join(shortened(found))}. It stays as it is. "
            "Remove them first; zfs_replication with state=absent ends a relationship, and zfs_snapshot with "
            "purge_holds releases holds"
        )
    mounted = [(dataset.get("mountpoint") or "", dataset.name) for dataset in closure.datasets
               if mounting.is_mounted(dataset) and dataset.get("mountpoint") != "legacy"]  # fmt: skip
    unmounts = [mounting.unmount(each) for _folder, each in sorted(mounted, reverse=True)]  # /a/b before /a
    return Plan([*unmounts, *absent.plan_cascade(origins, closure).steps])


def _receives(name: str, closure: Closure, running: Activity) -> list[str]:
    receiving = running.receiving
    found = [
        f"{dataset.name}: a receive into it that runs or can be resumed"
        for dataset in closure.datasets
        if dataset.receiving or dataset.has_partial_receive or receiving.into(dataset.name)
    ]
    return found or ([f"{name}: a receive below it that runs"] if receiving.below(name) else [])


def destroyed(plan: Plan) -> set[str]:
    """The names of what a plan destroys."""
    return {effect.name for effect in plan.effects
            if isinstance(effect.after, dict) and effect.after.get("state") == model.ABSENT}  # fmt: skip


def verify(backend: Backend, names: Iterable[str]) -> dict[str, CerssError]:
    """Name -> the error, for those that exist all the same."""
    found = inventory.read_things(backend, names)
    return {
        name: CerssError(f"{name} still exists after its removal; another process may have created it again")
        for name in names
        if name in found
    }
