# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zfs_clone."""

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

_POLL = 2.0  # seconds between two looks at an inbound snapshot


@dataclass(frozen=True)
class Options:
    """The checked options. ``cascade``: on_dependents=cascade. ``wait`` in seconds."""

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
            raise BadInput(f"{name} is a pool and cannot be a clone; give a dataset below it, such as {name}/clone")
        snapshot = SnapshotName.parse(params["snapshot"]) if params["snapshot"] is not None else None
        if snapshot is not None and snapshot.dataset.pool != name.pool:
            raise BadInput(
                f"{name} cannot be a clone of {snapshot}: a clone is in the pool of its snapshot. Give a name in "
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
    if params["state"] == "absent":
        useless = [option for option in ("properties", "promoted") if params[option] not in (None, {})]
    else:
        useless = ["on_dependents"] if params["on_dependents"] != "fail" else []
    if useless:
        raise BadInput(f"{', '.join(useless)} cannot be combined with state={params['state']}; leave it out")


@dataclass
class Seen:
    """What was read.

    ``things``: the clone, its parent, the snapshot and its dataset, as far as they exist. ``own``: the clone's
    snapshots by name. ``family``: for a promotion, the clone and the dataset of its origin, with their snapshots.
    """

    things: Things
    own: dict[str, Snapshot] = field(default_factory=dict)
    family: Inventory = field(default_factory=dict)

    def clone(self, options: Options) -> Dataset | None:
        """The dataset of the option ``name``, whether it is a clone or not; None if it does not exist."""
        return self.things.datasets.get(str(options.name))


def main(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    backend = Backend()
    options = Options.from_params(params)
    if params["state"] == "absent":
        return _absent(backend, options, check_mode)
    return _present(backend, options, check_mode)


# -- present ---------------------------------------------------------------------------------------------------------


def _present(backend: Backend, options: Options, check_mode: bool) -> dict[str, Any]:
    snapshot = options.snapshot
    if snapshot is None:
        raise BadInput(f"{options.name}: state=present needs snapshot; give the snapshot to clone")
    seen = _read(backend, options, snapshot)
    if not check_mode and _inbound(seen, snapshot) and seen.clone(options) is None:
        seen = _await(backend, options, snapshot, seen)
    plan = plan_present(options, snapshot, seen, check_mode)
    if plan.changed:
        dataset = seen.clone(options) or seen.things.datasets[str(snapshot.dataset)]
        free = {name: text for name, text in options.properties.items() if name not in zfs_properties.AT_CREATION}
        check_values(backend, str(options.name), free, dataset.get("volsize"))
    if check_mode:
        return {**plan.to_result(), "clone": foreseen(options, snapshot, seen, plan).to_result()}
    unmounted = execute(backend, plan)
    if plan.changed:
        seen = _read(backend, options, snapshot)
        _verify(options, seen)
    foretold = any("will not be mounted" in text for text in plan.warnings)
    plan.warnings += [] if foretold else _unmounted(options, unmounted)
    return {**plan.to_result(), "clone": _as_clone(options, seen).to_result()}


def _read(backend: Backend, options: Options, snapshot: SnapshotName) -> Seen:
    """Three zfs processes if the clone does not exist, up to eight if it does, and one more before a promotion."""
    own = SnapshotName(options.name, snapshot.snapshot)
    names = [str(name) for name in (options.name, snapshot, snapshot.dataset, options.name.parent, own)]
    seen = Seen(inventory.read_things(backend, [name for name in names if len(name) <= MAX_NAME]))
    clone = seen.clone(options)
    if clone is None:
        if options.promoted and str(snapshot) in seen.things:
            seen.family = _family(backend, str(snapshot.dataset))
        return seen
    seen.own = inventory.read_tree(backend, [clone.name], ("guid", "clones"), "snapshot", depth=1).snapshots
    if clone.origin and clone.origin not in seen.things:
        # Its origin is another snapshot than the requested one, or a promotion has moved it.
        seen.things.update(inventory.read_things(backend, [clone.origin, clone.origin.partition("@")[0]]))
    if options.promoted and clone.origin:
        seen.family = _family(backend, clone.name, clone.origin.partition("@")[0])
    return seen


def _family(backend: Backend, *names: str) -> Inventory:
    return inventory.read(backend, names)[0]


def _inbound(seen: Seen, snapshot: SnapshotName) -> Progress | None:
    """The progress of a snapshot that the resume token or the announcement names; None if it is not inbound."""
    dataset = seen.things.datasets.get(str(snapshot.dataset))
    if dataset is None or str(snapshot) in seen.things:
        return None
    entries = Announcement.of(dataset.ours).entries
    announced = next((entry for entry in entries if entry.snapshot == snapshot.snapshot), None)
    token = dataset.token if dataset.token and dataset.token.snapshot == snapshot.snapshot else None
    if not announced and not token:
        return None
    return Progress("receive", token.bytes if token else None, announced.bytes if announced else None)


def _inbound_message(snapshot: SnapshotName, progress: Progress) -> str:
    total = f" of {progress.bytes_total}" if progress.bytes_total else ""
    return f"{snapshot} is inbound, with {progress.bytes_done or 0}{total} bytes received"


def _await(backend: Backend, options: Options, snapshot: SnapshotName, seen: Seen) -> Seen:
    """What is read when the snapshot has arrived, or when the time is up."""

    def look() -> Seen:
        return _read(backend, options, snapshot)

    return wait_for(look, lambda found: not _inbound(found, snapshot), _POLL, options.wait, first=seen)


def plan_present(options: Options, snapshot: SnapshotName, seen: Seen, check_mode: bool = False) -> Plan:
    """What to do so that the clone is as requested; Refused if that is impossible.

    ``check_mode``: a snapshot that does not exist yet is a warning instead, since an earlier task may create it.
    """
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
        raise Refused(f"{name} cannot be created: there is no dataset {snapshot.dataset}; check snapshot")
    parent = seen.things.datasets.get(str(options.name.parent))
    if parent is None:
        raise Refused(
            f"{name} cannot be created: its parent {options.name.parent} does not exist; create it first (zfs_dataset)"
        )
    if parent.type == "volume":
        raise Refused(f"{name} cannot be created: its parent {parent.name} is a volume; choose another name")
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
    if _stays_locked(options, dataset, parent):
        plan.warnings.append(
            f"{name} will not be mounted: the key of {dataset.get('encryptionroot')} is not loaded. Load it with "
            "zfs_dataset (key=loaded), then mount the clone (mounted=true)"
        )
    if options.promoted:
        promotion.add(plan, Dataset(name), dataset, str(snapshot), seen.family)
    return plan


def _stays_locked(options: Options, dataset: Dataset, parent: Dataset) -> bool:
    """True if ZFS would mount the new clone, but its key, which is the origin's, is not loaded."""
    mountpoint = options.properties.get("mountpoint") or parent.get("mountpoint")
    mounts = options.properties.get("canmount") in (None, "on") and mountpoint not in zfs_properties.NOWHERE
    return dataset.type == "filesystem" and mounts and dataset.get("keystatus") == "unavailable"


def _unmounted(options: Options, told: list[str]) -> list[str]:
    """The warnings for what zfs said of a clone that it could not mount. Without root it never can."""
    reasons = [" ".join(text.split()) for text in told if "only be mounted by root" not in text]
    return [f"{options.name} was created, but is not mounted: {reason}" for reason in reasons]


def _origin_guid(plan: Plan, options: Options, snapshot: SnapshotName, seen: Seen, check_mode: bool) -> str:
    """The GUID to record on the clone; empty in check mode if the snapshot does not exist yet."""
    origin = seen.things.snapshots.get(str(snapshot))
    if origin is not None:
        _refuse_pending(options, origin)
        return origin.guid or ""
    progress = _inbound(seen, snapshot)
    if progress is not None:
        message = _inbound_message(snapshot, progress)
        if check_mode and options.wait:
            plan.warnings.append(f"{message}; a real run waits for it up to {options.wait} s")
            return ""
        waited = f" after waiting {options.wait} s" if options.wait else ""
        raise Refused(
            f"{options.name} cannot be created: {message}{waited}. Set wait to a longer time, or clone an older "
            "snapshot",
            state=model.INBOUND,
            progress=progress.to_result(),
        )
    if check_mode:
        plan.warnings.append(f"{snapshot} does not exist; check mode assumes that an earlier task creates it")
        return ""
    raise Refused(f"{options.name} cannot be created: {snapshot} does not exist; create it first (zfs_snapshot)")


def _refuse_pending(options: Options, origin: Snapshot) -> None:
    if origin.state == model.PENDING_DELETE:
        raise Refused(
            f"{options.name} cannot be created: {origin.name} is pending deletion. ZFS destroys it as soon as its "
            f"clones ({', '.join(origin.clones or []) or 'none'}) and holds ({origin.userrefs}) are gone. Clone "
            "another snapshot, or create a snapshot of one of its clones and clone that"
        )


def _recorded(clone: Dataset) -> str | None:
    """The GUID of the snapshot that it was created from, as recorded at that time; None if it is not recorded."""
    mark = CloneOrigin.parse(clone.ours.get(CloneOrigin.NAME, ""))
    return mark.guid if isinstance(mark, CloneOrigin) else None


def _check_origin(clone: Dataset, snapshot: SnapshotName, seen: Seen) -> None:
    """Refused unless the dataset was created from the requested snapshot, compared by GUID."""
    recorded, snapshots = _recorded(clone), seen.things.snapshots
    origin = snapshots.get(clone.origin or "")
    requested = snapshots.get(str(snapshot))
    if requested is not None:
        if requested.guid in (recorded, origin.guid if origin else None):
            return
    elif recorded is not None:
        # A promotion moves the snapshot to the promoted dataset: the clone itself, or another clone of that origin.
        own = snapshots.get(f"{clone.name}@{snapshot.snapshot}")
        moved = [snap for snap in (own, origin) if snap and snap.snapshot == snapshot.snapshot]
        if any(snap.guid == recorded for snap in moved):
            return
    raise Refused(
        f"{clone.name} exists but is not a clone of {snapshot}: {_came_from(clone, requested is None, recorded)}. "
        "Choose another name, or give the snapshot that it was created from"
    )


def _came_from(clone: Dataset, missing: bool, recorded: str | None) -> str:
    prefix = "that snapshot does not exist, and " if missing else ""
    if clone.origin:
        return f"{prefix}it is a clone of {clone.origin}"
    if recorded:
        return f"{prefix}it was created from a snapshot with the GUID {recorded}"
    return f"{prefix}it is a {clone.type} that was not created from a snapshot"


def _is_promoted(clone: Dataset, seen: Seen) -> bool:
    """True if the snapshot that it was created from is its own now."""
    recorded = _recorded(clone)
    return recorded is not None and any(snap.guid == recorded for snap in seen.own.values())


def _plan_promotion(plan: Plan, options: Options, snapshot: SnapshotName, clone: Dataset, seen: Seen) -> None:
    promoted = _is_promoted(clone, seen)
    if promoted and options.promoted is False:
        raise Refused(
            f"{clone.name} is promoted, which ZFS cannot undo. Promote the dataset that it was created from instead: "
            f"zfs_clone with name={snapshot.dataset}, snapshot={clone.name}@{snapshot.snapshot}, promoted=true"
        )
    if promoted or not options.promoted:
        return
    if clone.origin is None:
        raise Refused(f"{clone.name} cannot be promoted: it has no origin; leave promoted out")
    if _recorded(clone) is None:
        guid = seen.things.snapshots[clone.origin].guid or ""
        plan.add(
            f"record on {clone.name} that it was created from {clone.origin}",
            zfs.set_({CloneOrigin.NAME: guid}, [clone.name]),
        )
    promotion.add(plan, clone, seen.things.datasets[clone.origin.partition("@")[0]], clone.origin, seen.family)


def _verify(options: Options, seen: Seen) -> None:
    """Raise CerssError unless the clone is as requested, whatever the commands reported."""
    clone = seen.clone(options)
    if clone is None:
        raise CerssError(f"{options.name} was created, but does not exist; another process may have destroyed it")
    unmet = zfs_properties.unmet(clone.values, options.properties)
    if unmet:
        raise CerssError(
            f"{clone.name} exists, but these were not applied: {', '.join(unmet)}. A missing permission (zfs allow) "
            "is the usual reason"
        )


def _as_clone(options: Options, seen: Seen) -> Clone:
    clone = seen.clone(options)
    if clone is None:
        return Clone(str(options.name))
    origin = seen.things.snapshots.get(clone.origin or "")
    return Clone(
        name=clone.name,
        guid=clone.guid,
        type=clone.type,
        origin={"name": clone.origin, "guid": origin.guid if origin else None} if clone.origin else None,
        promoted=_is_promoted(clone, seen),
        dependents={
            "snapshots": list(seen.own),
            "clones": sorted(name for snap in seen.own.values() for name in snap.clones or []),
        },
        properties=zfs_properties.shown(clone.values),
    )


def foreseen(options: Options, snapshot: SnapshotName, seen: Seen, plan: Plan) -> Clone:
    """The clone as it will be, for check mode. What only ZFS can tell, such as a new GUID, is None."""
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
    tree = inventory.read_tree(backend, roots, _DEPENDENTS, TREE)
    origin = tree.snapshots.pop(clone.origin, None) if clone.origin else None
    tree.datasets.pop(name, None)
    check_removable(options, clone, origin)
    plan = Plan()
    dependents = _dependents(tree)
    if dependents and not options.cascade:
        raise Refused(_blocked(name, dependents), dependents=[other for _kind, other in dependents])
    if dependents:
        plan = _cascade(backend, options.name)
    plan_removal(plan, clone, origin)
    if not check_mode:
        execute(backend, plan)
        if name in inventory.read_things(backend, [name]):
            raise CerssError(f"{name} was destroyed, but exists again; another process may have created it")
    return {**plan.to_result(), "clone": None}


_DEPENDENTS = ("type", "defer_destroy", "userrefs", "clones")


def check_removable(options: Options, clone: Dataset, origin: Snapshot | None) -> None:
    """Refused for a dataset that is not a clone, is a clone of another snapshot, or is replicated."""
    if clone.origin is None and _recorded(clone) is None:
        raise Refused(
            f"{clone.name} is a {clone.type} that was not created from a snapshot, and zfs_clone removes only clones. "
            "Use zfs_dataset with state=absent for other datasets"
        )
    relationships = clone.relationships()
    if relationships:
        raise Refused(
            f"{clone.name} cannot be removed: it is {' and '.join(relationships)}. "
            "End the relationship first (zfs_replication with state=absent)"
        )
    # A promotion may have moved the origin to another dataset; the part after the @ is the same.
    if options.snapshot and origin and options.snapshot.snapshot != origin.snapshot:
        raise Refused(
            f"{clone.name} is a clone of {origin.name}, not of {options.snapshot}; "
            "leave snapshot out to remove it anyway"
        )


def _dependents(tree: Things) -> list[tuple[str, str]]:
    """(kind, name) of the clone's snapshots, then of their clones, then of the other datasets below it."""
    clones = {clone for snapshot in tree.snapshots.values() for clone in snapshot.clones or []}
    kinds = {"snapshot": set(tree.snapshots), "clone": clones, "dataset": set(tree.datasets) - clones}
    return [(kind, name) for kind, names in kinds.items() for name in sorted(names)]


def _blocked(name: str, dependents: list[tuple[str, str]]) -> str:
    listed = ", ".join(f"{kind} {other}" for kind, other in dependents)
    return (
        f"{name} cannot be removed: these depend on it: {listed}. Remove them first, or set on_dependents=cascade to "
        "remove its snapshots and their clones too"
    )


def _cascade(backend: Backend, name: DatasetName) -> Plan:
    """The removal of the clone's own snapshots and all clones of these, the last one of a chain first."""
    found, _missing = inventory.read(backend, [name.pool], None)
    own = found[str(name)].snapshots
    closure = closure_of(found, [snapshot.name for snapshot in own])
    to_read = {**{clone.name: clone for clone in closure.clones}, str(name): found[str(name)]}
    running = read_activity(backend)
    objects.fill(backend, to_read, [snap for dataset in to_read.values() for snap in dataset.snapshots], running)
    objects.fill_records(backend, {clone.name: clone for clone in closure.clones})
    foreign = [other for other in found if other.startswith(f"{name}/") and other not in to_read]
    if foreign:
        raise Refused(
            f"{name} cannot be removed: {', '.join(foreign)} is below it, and a cascade removes only snapshots and "
            "clones. Remove or rename it first"
        )
    return plan_absent(SnapshotOptions([], on_dependents="cascade"), own, closure, running).plan


def plan_removal(plan: Plan, clone: Dataset, origin: Snapshot | None) -> None:
    """Add the removal of the clone, and of an origin whose pending deletion waits only for it."""
    plan.add(
        f"destroy clone {clone.name}",
        zfs.destroy(clone.name),
        before={clone.name: {"origin": clone.origin}},
        after={clone.name: {"state": model.ABSENT}},
    )
    if origin and origin.state == model.PENDING_DELETE and origin.clones == [clone.name] and not origin.userrefs:
        plan.add(
            f"{origin.name}, which was pending deletion, is destroyed by ZFS with {clone.name}",
            before={origin.name: {"state": model.PENDING_DELETE}},
            after={origin.name: {"state": model.ABSENT}},
        )
