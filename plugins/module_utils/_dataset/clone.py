# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zfs_clone: a dataset made from a snapshot, and its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import model, units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, CerssError, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import Announcement, CloneOrigin
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Clone, Dataset, Progress, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import MAX_NAME, DatasetName, SnapshotName
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan
from ansible_collections.cerss.zfs.plugins.module_utils._dataset import promotion
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import read_activity
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.execute import execute
from ansible_collections.cerss.zfs.plugins.module_utils._host.inventory import TREE, Inventory, Things, check_values
from ansible_collections.cerss.zfs.plugins.module_utils._host.waiting import wait_for
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot import objects
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.absent import plan_absent
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.dependents import closure_of
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.options import Options as SnapshotOptions
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import properties as zfs_properties

POLL = 2.0  # seconds between two looks at a snapshot that is arriving


@dataclass(frozen=True)
class Options:
    """The module's options, checked as far as they can be without asking ZFS."""

    name: DatasetName
    snapshot: SnapshotName | None
    properties: zfs_properties.Requested
    promoted: bool | None
    cascade: bool
    wait: int

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Options:
        _check_state(params)
        name = DatasetName.parse(params["name"])
        if name.parent is None:
            raise BadInput(f"{name} is a pool; a clone is a dataset below one, as {name}/clone")
        snapshot = SnapshotName.parse(params["snapshot"]) if params["snapshot"] is not None else None
        if snapshot is not None and snapshot.dataset.pool != name.pool:
            raise BadInput(
                f"{name} cannot be a clone of {snapshot}: a clone lives in the pool of its snapshot. Name it in "
                f"{snapshot.dataset.pool}, or replicate the snapshot to {name.pool} first (zfs_snapshot_replicate)"
            )
        if snapshot is not None and snapshot.dataset == name:
            raise BadInput(f"{name} cannot be a clone of its own snapshot {snapshot}; choose another name")
        return cls(
            name,
            snapshot,
            zfs_properties.requested(params["properties"]),
            params["promoted"],
            params["on_dependents"] == "cascade",
            units.duration(params["wait"], "wait"),
        )


def _check_state(params: Mapping[str, Any]) -> None:
    """Options that mean nothing for this state are a misunderstanding."""
    if params["state"] == "absent":
        useless = [option for option in ("properties", "promoted") if params[option] not in (None, {})]
    else:
        useless = ["on_dependents"] if params["on_dependents"] != "fail" else []
    if useless:
        raise BadInput(f"{', '.join(useless)} cannot be combined with state={params['state']}; leave it out")


@dataclass
class Seen:
    """What is there now: the clone and what it came from, the clone's snapshots, and both families for a promotion."""

    things: Things
    own: dict[str, Snapshot] = field(default_factory=dict)
    family: Inventory = field(default_factory=dict)

    def clone(self, options: Options) -> Dataset | None:
        return self.things.datasets.get(str(options.name))


def main(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """zfs_clone."""
    backend = Backend()
    options = Options.from_params(params)
    if params["state"] == "absent":
        return _absent(backend, options, check_mode)
    return _present(backend, options, check_mode)


# -- present ---------------------------------------------------------------------------------------------------------


def _present(backend: Backend, options: Options, check_mode: bool) -> dict[str, Any]:
    snapshot = options.snapshot
    if snapshot is None:
        raise BadInput(f"zfs_clone of {options.name}: state=present needs snapshot, the one that it is made from")
    seen = _read(backend, options, snapshot)
    if not check_mode and _arriving(seen, snapshot) and seen.clone(options) is None:
        seen = _await(backend, options, snapshot, seen)
    plan = plan_present(options, snapshot, seen, check_mode)
    if plan.changed:
        dataset = seen.clone(options) or seen.things.datasets[str(snapshot.dataset)]
        free = {name: text for name, text in options.properties.items() if name not in zfs_properties.AT_CREATION}
        check_values(backend, str(options.name), free, dataset.get("volsize"))
    if check_mode:
        return {**plan.to_result(), "clone": foreseen(options, snapshot, seen, plan).to_result()}
    execute(backend, plan)
    if plan.changed:
        seen = _read(backend, options, snapshot)
        _verify(options, seen)
    return {**plan.to_result(), "clone": _as_clone(options, seen).to_result()}


def _read(backend: Backend, options: Options, snapshot: SnapshotName) -> Seen:
    """One process for a clone to be made, two for one that is there, a third before a promotion."""
    own = SnapshotName(options.name, snapshot.snapshot)
    names = [str(name) for name in (options.name, snapshot, snapshot.dataset, options.name.parent, own)]
    seen = Seen(inventory.read_things(backend, [name for name in names if len(name) <= MAX_NAME]))
    clone = seen.clone(options)
    if clone is None:
        if options.promoted and str(snapshot) in seen.things:
            seen.family = _family(backend, str(snapshot.dataset))
        return seen
    seen.own = inventory.read_things(backend, [clone.name], ("guid", "clones"), "snapshot", depth=1).snapshots
    if clone.origin and clone.origin not in seen.things:
        # Another origin than was asked for, or one that a promotion has moved.
        seen.things.update(inventory.read_things(backend, [clone.origin, clone.origin.partition("@")[0]]))
    if options.promoted and clone.origin:
        seen.family = _family(backend, clone.name, clone.origin.partition("@")[0])
    return seen


def _family(backend: Backend, *names: str) -> Inventory:
    return inventory.read(backend, names)[0]


def _arriving(seen: Seen, snapshot: SnapshotName) -> Progress | None:
    """How far it is when it is on its way: named by the live token, or announced."""
    dataset = seen.things.datasets.get(str(snapshot.dataset))
    if dataset is None or str(snapshot) in seen.things:
        return None
    entries = Announcement.of(dataset.ours).entries
    announced = next((entry for entry in entries if entry.snapshot == snapshot.snapshot), None)
    token = dataset.token if dataset.token and dataset.token.snapshot == snapshot.snapshot else None
    if not announced and not token:
        return None
    return Progress("receive", token.bytes if token else None, announced.bytes if announced else None)


def _inbound_words(snapshot: SnapshotName, progress: Progress) -> str:
    total = f" of {progress.bytes_total}" if progress.bytes_total else ""
    return f"{snapshot} is inbound: {progress.bytes_done or 0}{total} bytes have arrived"


def _await(backend: Backend, options: Options, snapshot: SnapshotName, seen: Seen) -> Seen:
    """What is there when the snapshot has arrived or the time is up."""

    def look() -> Seen:
        return _read(backend, options, snapshot)

    return wait_for(look, lambda found: not _arriving(found, snapshot), POLL, options.wait, first=seen)


def plan_present(options: Options, snapshot: SnapshotName, seen: Seen, check_mode: bool = False) -> Plan:
    """What must happen so that the clone stands as wished."""
    clone = seen.clone(options)
    if clone is None:
        return _plan_create(options, snapshot, seen, check_mode)
    _check_origin(clone, snapshot, seen)
    plan = zfs_properties.plan(clone.name, clone.values, options.properties)
    if options.promoted is not None:
        _plan_promotion(plan, options, snapshot, clone, seen)
    return plan


def _plan_create(options: Options, snapshot: SnapshotName, seen: Seen, check_mode: bool) -> Plan:
    plan = Plan()
    name = str(options.name)
    dataset = seen.things.datasets.get(str(snapshot.dataset))
    if dataset is None:
        raise Refused(f"{name} cannot be made: {snapshot.dataset}, the volume of {snapshot}, does not exist")
    parent = seen.things.datasets.get(str(options.name.parent))
    if parent is None:
        raise Refused(
            f"{name} cannot be made: its parent {options.name.parent} does not exist; create it (zfs_dataset)"
        )
    if parent.type == "volume":
        raise Refused(f"{name} cannot be made: {parent.name} is a zvol and can have nothing below; choose another name")
    zfs_properties.check_known(f"a clone of {snapshot}", dataset.values, options.properties)
    zfs_properties.check_fixed(f"{snapshot.dataset}, and so every clone of it,", dataset.values, options.properties)
    guid = _origin_guid(plan, options, snapshot, seen, check_mode)
    at_creation = zfs_properties.at_creation(options.properties)
    setting = {key: text for key, text in at_creation.items() if key not in zfs_properties.AT_CREATION}
    plan.add(
        f"create clone {name} of {snapshot}",
        zfs.clone(str(snapshot), name, {CloneOrigin.NAME: guid, **setting}),
        before={name: None},
        after={name: {"origin": str(snapshot), **setting}},
    )
    if options.promoted:
        promotion.add(plan, Dataset(name), dataset, str(snapshot), seen.family)
    return plan


def _origin_guid(plan: Plan, options: Options, snapshot: SnapshotName, seen: Seen, check_mode: bool) -> str:
    """The GUID to record on the clone; in check mode a snapshot may still be to come."""
    origin = seen.things.snapshots.get(str(snapshot))
    if origin is not None:
        if origin.state == model.PENDING_DELETE:
            raise Refused(
                f"{options.name} cannot be made: {snapshot} is pending_delete. It was deleted and goes as soon as its "
                f"clones ({', '.join(origin.clones or []) or 'none'}) and holds ({origin.userrefs}) are gone. Clone "
                "another snapshot, or take a snapshot of one of its clones and clone that"
            )
        return origin.guid or ""
    progress = _arriving(seen, snapshot)
    if progress is not None:
        words = _inbound_words(snapshot, progress)
        if check_mode and options.wait:
            plan.warnings.append(f"{words}; a real run waits for it up to {options.wait} s")
            return ""
        waited = f" after waiting {options.wait} s" if options.wait else ""
        raise Refused(
            f"{options.name} cannot be made: {words}{waited}. Wait with the option wait, or clone an older snapshot",
            state=model.INBOUND,
            progress=progress.to_result(),
        )
    if check_mode:
        plan.warnings.append(f"{snapshot} does not exist; it is taken for one that an earlier task makes")
        return ""
    raise Refused(f"{options.name} cannot be made: {snapshot} does not exist; create it first (zfs_snapshot)")


def _recorded(clone: Dataset) -> str | None:
    """The GUID of the snapshot that it was made from, as it was recorded then."""
    mark = CloneOrigin.parse(clone.ours.get(CloneOrigin.NAME, ""))
    return mark.guid if isinstance(mark, CloneOrigin) else None


def _check_origin(clone: Dataset, snapshot: SnapshotName, seen: Seen) -> None:
    """Refused unless the dataset was made from that very snapshot (by GUID)."""
    recorded, snapshots = _recorded(clone), seen.things.snapshots
    native = snapshots.get(clone.origin or "")
    asked = snapshots.get(str(snapshot))
    if asked is not None:
        if (native is not None and native.guid == asked.guid) or (recorded is not None and recorded == asked.guid):
            return
    elif recorded is not None:
        # A promotion moves the snapshot: to the clone itself, or to the one that was promoted over its origin.
        own = snapshots.get(f"{clone.name}@{snapshot.snapshot}")
        moved = [each for each in (own, native) if each and each.snapshot == snapshot.snapshot]
        if any(each.guid == recorded for each in moved):
            return
    raise Refused(
        f"{clone.name} exists and is no clone of {snapshot}: {_came_from(clone, asked is None, recorded)}. "
        f"Choose another name, or name the snapshot that it was made from"
    )


def _came_from(clone: Dataset, missing: bool, recorded: str | None) -> str:
    gone = "that snapshot does not exist, and " if missing else ""
    if clone.origin:
        return f"{gone}it is a clone of {clone.origin}"
    if recorded:
        return f"{gone}it was made from a snapshot with the GUID {recorded}"
    return f"{gone}it is a {clone.type} that was not made from a snapshot"


def _is_promoted(clone: Dataset, seen: Seen) -> bool:
    """The snapshot that it was made from is its own now."""
    recorded = _recorded(clone)
    return recorded is not None and any(snap.guid == recorded for snap in seen.own.values())


def _plan_promotion(plan: Plan, options: Options, snapshot: SnapshotName, clone: Dataset, seen: Seen) -> None:
    promoted = _is_promoted(clone, seen)
    if promoted and options.promoted is False:
        raise Refused(
            f"{clone.name} is promoted, and ZFS cannot take that back. Promote the dataset that it was made from: "
            f"zfs_clone with name={snapshot.dataset}, snapshot={clone.name}@{snapshot.snapshot}, promoted=true"
        )
    if promoted or not options.promoted:
        return
    if clone.origin is None:
        raise Refused(f"{clone.name} cannot be promoted: it is no clone, nothing stands behind it")
    if _recorded(clone) is None:
        guid = seen.things.snapshots[clone.origin].guid or ""
        plan.add(
            f"record on {clone.name} that it was made from {clone.origin}",
            zfs.set_({CloneOrigin.NAME: guid}, [clone.name]),
        )
    promotion.add(plan, clone, seen.things.datasets[clone.origin.partition("@")[0]], clone.origin, seen.family)


def _verify(options: Options, seen: Seen) -> None:
    """What stands now is what was wished, whatever the commands said."""
    clone = seen.clone(options)
    if clone is None:
        raise CerssError(f"{options.name} was made, but is not there; somebody else may have destroyed it meanwhile")
    unmet = zfs_properties.unmet(clone.values, options.properties)
    if unmet:
        raise CerssError(
            f"{clone.name} stands, but these properties did not take: {', '.join(unmet)}; a missing permission "
            "(zfs allow) is the usual reason"
        )


def _as_clone(options: Options, seen: Seen) -> Clone:
    clone = seen.clone(options)
    if clone is None:
        return Clone(str(options.name))
    native = seen.things.snapshots.get(clone.origin or "")
    dependents = {
        "snapshots": list(seen.own),
        "clones": sorted(name for s in seen.own.values() for name in s.clones or []),
    }
    return Clone(
        clone.name,
        clone.guid,
        clone.type,
        {"name": clone.origin, "guid": native.guid if native else None} if clone.origin else None,
        _is_promoted(clone, seen),
        dependents,
        zfs_properties.shown(clone.values),
    )


def foreseen(options: Options, snapshot: SnapshotName, seen: Seen, plan: Plan) -> Clone:
    """The clone as it will be, for check mode; what only ZFS knows is None."""
    clone = _as_clone(options, seen)
    if plan.changed:
        if clone.guid is None:
            dataset = seen.things.datasets.get(str(snapshot.dataset))
            origin = seen.things.snapshots.get(str(snapshot))
            clone.type = dataset.type if dataset else None
            clone.origin = {"name": str(snapshot), "guid": origin.guid if origin else None}
        for name, text in options.properties.items():
            if text is None:
                clone.properties.pop(name, None)
            else:
                clone.properties[name] = zfs_properties.stored(name, text)
        if options.promoted and not clone.promoted:
            clone.promoted, clone.origin = True, None
    return clone


# -- absent ----------------------------------------------------------------------------------------------------------


def _absent(backend: Backend, options: Options, check_mode: bool) -> dict[str, Any]:
    name = str(options.name)
    clone = inventory.read_things(backend, [name]).datasets.get(name)
    if clone is None:
        return {**Plan().to_result(), "clone": None}
    roots = [name, *([clone.origin] if clone.origin else [])]
    tree = inventory.read_things(backend, roots, _DEPENDENTS, TREE, depth=None)
    origin = tree.snapshots.pop(clone.origin, None) if clone.origin else None
    del tree.datasets[name]
    check_removable(options, clone, origin)
    plan = Plan()
    dependents = _dependents(tree)
    if dependents and not options.cascade:
        raise Refused(_in_the_way(name, dependents), dependents=[other for _kind, other in dependents])
    if dependents:
        plan = _cascade(backend, options.name)
    plan_end(plan, clone, origin)
    if not check_mode:
        execute(backend, plan)
        if name in inventory.read_things(backend, [name]):
            raise CerssError(f"{name} was destroyed, but is there again; somebody else may have made it anew")
    return {**plan.to_result(), "clone": None}


_DEPENDENTS = ("type", "defer_destroy", "userrefs", "clones")


def check_removable(options: Options, clone: Dataset, origin: Snapshot | None) -> None:
    """Refused for what is no clone, or not the one that is meant, or is replicated."""
    if clone.origin is None and _recorded(clone) is None:
        raise Refused(
            f"{clone.name} is a {clone.type} that was not made from a snapshot; zfs_clone removes clones only. "
            "Use zfs_dataset with state=absent for other datasets"
        )
    relationships = clone.relationships()
    if relationships:
        raise Refused(
            f"{clone.name} cannot be removed: it is {' and '.join(relationships)}. "
            "End it first (zfs_replication with state=absent)"
        )
    # A promotion may have moved the origin: the part after the @ stays.
    if options.snapshot and origin and options.snapshot.snapshot != origin.snapshot:
        raise Refused(
            f"{clone.name} is a clone of {origin.name}, not of {options.snapshot}; "
            "leave snapshot out to remove it nevertheless"
        )


def _dependents(tree: Things) -> list[tuple[str, str]]:
    """(kind, name), by kind: its snapshots, their clones, and the other datasets below it."""
    clones = {clone for snapshot in tree.snapshots.values() for clone in snapshot.clones or []}
    kinds = {"snapshot": set(tree.snapshots), "clone": clones, "dataset": set(tree.datasets) - clones}
    return [(kind, name) for kind, names in kinds.items() for name in sorted(names)]


def _in_the_way(name: str, dependents: list[tuple[str, str]]) -> str:
    listed = ", ".join(f"{kind} {other}" for kind, other in dependents)
    return (
        f"{name} cannot be removed, since these depend on it: {listed}. Remove them first, or set "
        "on_dependents=cascade to have snapshots and clones removed with it"
    )


def _cascade(backend: Backend, name: DatasetName) -> Plan:
    """The end of the clone's own snapshots and of all clones of these, the last in the chain first."""
    found, _gone = inventory.read(backend, [name.pool], None, TREE)
    own = found[str(name)].snapshots
    closure = closure_of(found, [snapshot.name for snapshot in own])
    to_read = {**{clone.name: clone for clone in closure.clones}, str(name): found[str(name)]}
    running = read_activity(backend)
    objects.fill(backend, to_read, [snap for dataset in to_read.values() for snap in dataset.snapshots], running)
    foreign = [other for other in found if other.startswith(f"{name}/") and other not in to_read]
    if foreign:
        raise Refused(
            f"{name} cannot be removed: {', '.join(foreign)} below it would have to go too, and a cascade removes "
            "snapshots and clones only. Remove or rename these first"
        )
    return plan_absent(SnapshotOptions([], on_dependents="cascade"), own, closure, running).plan


def plan_end(plan: Plan, clone: Dataset, origin: Snapshot | None) -> None:
    """The clone's end, and that of an origin which waited for nothing else."""
    plan.add(
        f"destroy clone {clone.name}",
        zfs.destroy(clone.name),
        before={clone.name: {"origin": clone.origin}},
        after={clone.name: {"state": model.ABSENT}},
    )
    if origin and origin.state == model.PENDING_DELETE and origin.clones == [clone.name] and not origin.userrefs:
        plan.add(
            f"{origin.name}, which was pending_delete and waited for {clone.name} only, is destroyed by ZFS with it",
            before={origin.name: {"state": model.PENDING_DELETE}},
            after={origin.name: {"state": model.ABSENT}},
        )
