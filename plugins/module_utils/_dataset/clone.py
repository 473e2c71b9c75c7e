# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zfs_clone."""

from __future__ import annotations

import os
from collections import ChainMap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import model, units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, Busy, CerssError, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import Announcement, CloneOrigin
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Clone, Dataset, Progress, Snapshot, Values
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import (
    MAX_NAME,
    DatasetName,
    SnapshotName,
    check_unique,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan
from ansible_collections.cerss.zfs.plugins.module_utils._dataset import items, mounting, promotion, removal
from ansible_collections.cerss.zfs.plugins.module_utils._dataset.items import Item
from ansible_collections.cerss.zfs.plugins.module_utils._dataset.parents import nearest, plan_parents
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.devices import usage
from ansible_collections.cerss.zfs.plugins.module_utils._host.inventory import Inventory, Things, check_values
from ansible_collections.cerss.zfs.plugins.module_utils._host.waiting import wait_for
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import properties as zfs_properties

_POLL = 2.0  # seconds between two looks at an inbound snapshot


@dataclass(frozen=True)
class Options:
    """The checked options for one of the clones. ``cascade``: on_dependents=cascade. ``wait`` in seconds.

    ``unused_only``: whether to leave a clone that is in use, has dependents, or was not created by this collection.
    """

    name: DatasetName
    snapshot: SnapshotName | None
    properties: zfs_properties.Requested
    promoted: bool | None
    mounted: bool | None
    create_parents: bool
    cascade: bool
    wait: int
    unused_only: bool = False
    root: bool = True  # the module runs as root; on Linux only root can mount

    @classmethod
    def from_params(cls, params: Mapping[str, Any], name: str) -> Options:
        dataset = DatasetName.parse(name)
        snapshot = SnapshotName.parse(params["snapshot"]) if params["snapshot"] is not None else None
        _check_name(dataset, snapshot)
        return cls(
            name=dataset,
            snapshot=snapshot,
            properties=zfs_properties.requested(params["properties"]),
            promoted=params["promoted"],
            mounted=params["mounted"],
            create_parents=params["create_parents"],
            cascade=params["on_dependents"] == "cascade",
            wait=units.duration(params["wait"], "wait"),
            unused_only=bool(params.get("unused_only")),
            root=os.geteuid() == 0,
        )

    def above(self) -> list[DatasetName]:
        """The datasets above the clone that matter: missing ones are created, or the parent must exist."""
        above = self.name.ancestors()
        return above if self.create_parents else above[-1:]


def _check_name(name: DatasetName, snapshot: SnapshotName | None) -> None:
    if name.parent is None:
        raise BadInput(f"{name} is a pool and cannot be a clone; give a dataset below it, such as {name}/clone")
    if snapshot is not None and snapshot.dataset.pool != name.pool:
        raise BadInput(
            f"{name} cannot be a clone of {snapshot}: a clone is in the pool of its snapshot. Give a name in "
            f"{snapshot.dataset.pool}, or replicate the snapshot to {name.pool} first (zfs_snapshot_replicate)"
        )
    if snapshot is not None and snapshot.dataset == name:
        raise BadInput(f"{name} cannot be a clone of its own snapshot {snapshot}; choose another name")


def _check_combinations(params: Mapping[str, Any]) -> None:
    if params["state"] == "absent":
        present_only = ("properties", "promoted", "mounted", "create_parents")
        useless = [option for option in present_only if params[option] not in (None, {}, False)]
    else:
        useless = ["on_dependents"] if params["on_dependents"] != "fail" else []
        useless += ["unused_only"] if params.get("unused_only") else []
    if useless:
        raise BadInput(f"{', '.join(useless)} cannot be combined with state={params['state']}; leave it out")
    if params.get("unused_only") and params["on_dependents"] != "fail":
        raise BadInput("unused_only=true keeps what has dependents; leave on_dependents out")
    if params["promoted"] and len(params["name"]) > 1:
        raise BadInput(
            f"promoted=true takes just one name, and name has {len(params['name'])}: the snapshot moves to the first "
            "clone that is promoted. Promote one of them in a task of its own"
        )


@dataclass
class Seen:
    """What was read.

    ``things``: the clones, what is above them, the snapshot and its dataset, as far as they exist. ``own``: the
    snapshots of each clone. ``family``: for a promotion, the clone and the dataset of its origin, with their
    snapshots. ``coming``: what the plans of other clones will create.
    """

    things: Things
    own: dict[str, list[Snapshot]] = field(default_factory=dict)
    family: Inventory = field(default_factory=dict)
    coming: Inventory = field(default_factory=dict)

    def clone(self, options: Options) -> Dataset | None:
        """The dataset of that name, whether it is a clone or not; None if it does not exist."""
        return self.things.datasets.get(str(options.name))

    @property
    def datasets(self) -> Mapping[str, Dataset]:
        return ChainMap(self.coming, self.things.datasets)


Task = tuple[Item, Options]


def main(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    check_unique(params["name"], "name")
    _check_combinations(params)
    listed = [Item(name) for name in params["name"]]
    checked = [(item, item.check(partial(Options.from_params, params, item.name))) for item in listed]
    tasks: list[Task] = [(item, options) for item, options in checked if options]
    if params["state"] == "absent":
        tasks.sort(key=lambda task: task[1].name, reverse=True)  # what is below another one comes before it
    clones: dict[str, Clone] = {}
    if tasks:
        clones = (_absent if params["state"] == "absent" else _present)(Backend(), tasks, check_mode)
    in_order = [item for item, _options in tasks] + [item for item in listed if item.error]
    first = clones.get(params["name"][0]) if listed else None
    return {
        **items.result(list({item.name: item for item in in_order}.values())),
        "clone": first.to_result() if first else None,
        "clones": [
            {
                **clones.get(item.name, Clone(item.name)).to_result(),
                **item.to_result(),
                **({"kept": item.kept} if params.get("unused_only") else {}),
            }
            for item in listed
        ],
    }


# -- present ---------------------------------------------------------------------------------------------------------


def _present(backend: Backend, tasks: Sequence[Task], check_mode: bool) -> dict[str, Clone]:
    """The clones that exist, or will exist, by name."""
    every = [options for _item, options in tasks]
    snapshot = every[0].snapshot
    if snapshot is None:
        raise BadInput("state=present needs snapshot; give the snapshot to clone")
    seen = _read(backend, every, snapshot)
    if not check_mode and _inbound(seen, snapshot) and not all(seen.clone(options) for options in every):
        seen = _await(backend, every, snapshot, seen)
    for item, options in tasks:
        item.plan = item.check(partial(plan_present, options, snapshot, seen, check_mode)) or Plan()
        seen.coming.update(coming(options, item.plan, snapshot, seen))
    _check_values(backend, tasks, snapshot, seen)
    if check_mode:
        told = [(item, options) for item, options in tasks if not item.error or seen.clone(options)]
        return {item.name: foreseen(options, snapshot, seen, item.plan) for item, options in told}
    items.carry_out_all(backend, [item for item, _options in tasks])
    if any(item.plan.changed for item, _options in tasks):
        seen = _read(backend, every, snapshot)
        for item, options in tasks:
            item.check(partial(verify, item, options, seen))
    return {item.name: _as_clone(options, seen) for item, options in tasks if seen.clone(options)}


def _check_values(backend: Backend, tasks: Sequence[Task], snapshot: SnapshotName, seen: Seen) -> None:
    """Let zfs judge the values of the properties, once for all clones of one size."""
    judged: dict[str | None, CerssError | None] = {}
    for item, options in tasks:
        if item.plan.changed:
            dataset = seen.clone(options) or seen.things.datasets[str(snapshot.dataset)]
            free = {name: text for name, text in options.properties.items() if name not in zfs_properties.AT_CREATION}
            size = dataset.get("volsize")
            if size not in judged:
                item.check(partial(check_values, backend, item.name, free, size))
                judged[size] = item.error
            item.error = judged[size]
            item.plan = Plan() if item.error else item.plan


def coming(options: Options, plan: Plan, snapshot: SnapshotName, seen: Seen) -> Inventory:
    """What the plan will create, by name."""
    found: Inventory = {}
    for effect in plan.effects:
        if effect.before is None:
            above = nearest(DatasetName(effect.name), ChainMap(found, seen.coming, seen.things.datasets))
            kind = "filesystem"
            if effect.name == str(options.name):
                kind = seen.things.datasets[str(snapshot.dataset)].type or kind
            found[effect.name] = Dataset(effect.name, values=dict(mounting.initial(kind, above)))
    return found


def _read(backend: Backend, every: Sequence[Options], snapshot: SnapshotName) -> Seen:
    """Three zfs processes if no clone exists, up to eight if one does, and one more before a promotion."""
    names = [
        str(name)
        for options in every
        for name in (
            options.name, snapshot, snapshot.dataset, *options.above(), SnapshotName(options.name, snapshot.snapshot)
        )
    ]  # fmt: skip
    seen = Seen(inventory.read_things(backend, [name for name in names if len(name) <= MAX_NAME]))
    clones = [clone for options in every if (clone := seen.clone(options))]
    if not clones:
        if every[0].promoted and str(snapshot) in seen.things:
            seen.family = _family(backend, str(snapshot.dataset))
        return seen
    own = inventory.read_tree(backend, [clone.name for clone in clones], ("guid", "clones"), "snapshot", depth=1)
    for snap in own.snapshots.values():
        seen.own.setdefault(snap.dataset, []).append(snap)
    # Its origin is another snapshot than the requested one, or a promotion has moved it.
    elsewhere = [clone.origin for clone in clones if clone.origin and clone.origin not in seen.things]
    if elsewhere:
        seen.things.update(
            inventory.read_things(backend, [each for name in elsewhere for each in (name, name.partition("@")[0])])
        )
    if every[0].promoted and clones[0].origin:
        seen.family = _family(backend, clones[0].name, clones[0].origin.partition("@")[0])
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


def _await(backend: Backend, every: Sequence[Options], snapshot: SnapshotName, seen: Seen) -> Seen:
    """What is read when the snapshot has arrived, or when the time is up."""

    def look() -> Seen:
        return _read(backend, every, snapshot)

    return wait_for(look, lambda found: not _inbound(found, snapshot), _POLL, every[0].wait, first=seen)


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
    _plan_mount(plan, options, clone.values, mounting.is_mounted(clone) is True, _locked(clone))
    return plan


def _plan_create(options: Options, snapshot: SnapshotName, seen: Seen, check_mode: bool) -> Plan:
    plan = Plan()
    name = str(options.name)
    dataset = seen.things.datasets.get(str(snapshot.dataset))
    if dataset is None:
        raise Refused(f"{name} cannot be created: there is no dataset {snapshot.dataset}; check snapshot")
    plan.steps += plan_parents(options.name, options.above(), seen.datasets, options.create_parents)
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
    values, locked = mounting.initial(dataset.type, nearest(options.name, seen.datasets)), _locked(dataset)
    if locked and options.mounted is None and mounting.is_automatic(options, values):
        plan.warnings.append(_without_key(options, locked))
    _plan_mount(plan, options, values, _mounts_itself(options, dataset, seen), locked)
    return plan


def _mounts_itself(options: Options, dataset: Dataset, seen: Seen) -> bool:
    """True if ``zfs clone`` will mount the clone of a snapshot of ``dataset``."""
    values = mounting.initial(dataset.type, nearest(options.name, seen.datasets))
    return options.root and not _locked(dataset) and mounting.is_automatic(options, values)


def _locked(dataset: Dataset) -> str | None:
    """The dataset whose key it needs, if that is not loaded. A clone has the key of its origin."""
    return dataset.get("encryptionroot") if dataset.get("keystatus") == "unavailable" else None


def _without_key(options: Options, locked: str) -> str:
    return (
        f"{options.name} will not be mounted: the key of {locked} is not loaded. Load it with zfs_dataset "
        "(key=loaded), then mount the clone (mounted=true)"
    )


def _plan_mount(plan: Plan, options: Options, values: Values, mounted: bool, locked: str | None) -> None:
    """Mount or unmount as the last step. What cannot be mounted is a clone all the same, so that is a warning."""
    steps = mounting.plan_mount(options, values, mounted)
    if steps and options.mounted and locked:
        plan.warnings.append(_without_key(options, locked))
    elif steps and options.mounted and not options.root:
        plan.warnings.append(
            f"{options.name} will not be mounted: on Linux only root can mount. Mount it in a task with become"
        )
    else:
        plan.steps += steps


def _unmounted(item: Item) -> list[str]:
    """What zfs said of a clone that it could not mount. Without root it never can."""
    return [" ".join(text.split()) for text in item.unmounted if "only be mounted by root" not in text]


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
    return recorded is not None and any(snap.guid == recorded for snap in seen.own.get(clone.name, []))


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


def verify(item: Item, options: Options, seen: Seen) -> None:
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
    if any("will not be mounted" in text for text in item.plan.warnings):
        return
    if options.mounted is not None and mounting.is_mounted(clone) != options.mounted:
        reason = ": ".join(["is not mounted" if options.mounted else "is still mounted", *_unmounted(item)])
        raise CerssError(f"{clone.name} exists, but {reason}")
    item.plan.warnings += [f"{clone.name} was created, but is not mounted: {reason}" for reason in _unmounted(item)]


def _as_clone(options: Options, seen: Seen) -> Clone:
    clone = seen.clone(options)
    if clone is None:
        return Clone(str(options.name))
    origin = seen.things.snapshots.get(clone.origin or "")
    own = seen.own.get(clone.name, [])
    return Clone(
        name=clone.name,
        guid=clone.guid,
        type=clone.type,
        origin={"name": clone.origin, "guid": origin.guid if origin else None} if clone.origin else None,
        promoted=_is_promoted(clone, seen),
        mounted=mounting.is_mounted(clone),
        dependents={
            "snapshots": [snap.name for snap in own],
            "clones": sorted(name for snap in own for name in snap.clones or []),
        },
        properties=zfs_properties.shown(clone.values),
    )


def foreseen(options: Options, snapshot: SnapshotName, seen: Seen, plan: Plan) -> Clone:
    """The clone as it will be, for check mode. What only ZFS can tell, such as a new GUID, is None."""
    clone = _as_clone(options, seen)
    if not plan.changed:
        return clone
    if clone.guid is None:
        dataset = seen.things.datasets[str(snapshot.dataset)]
        origin = seen.things.snapshots.get(str(snapshot))
        clone.type = dataset.type
        clone.origin = {"name": str(snapshot), "guid": origin.guid if origin else None}
        clone.mounted = None if clone.type == "volume" else _mounts_itself(options, dataset, seen)
    for name, text in options.properties.items():
        if text is None:
            clone.properties.pop(name, None)
        else:
            clone.properties[name] = zfs_properties.stored(name, text)
    if options.promoted and not clone.promoted:
        clone.promoted, clone.origin = True, None
    for effect in plan.effects:
        if effect.name == clone.name and isinstance(effect.after, dict):
            clone.mounted = effect.after.get("mounted", clone.mounted)
    return clone


# -- absent ----------------------------------------------------------------------------------------------------------


def _absent(backend: Backend, tasks: Sequence[Task], check_mode: bool) -> dict[str, Clone]:
    """Nothing: afterwards there is no clone to tell about."""
    reach = removal.Reach(tasks[0][1].cascade)
    seen = removal.read(backend, [item.name for item, _options in tasks], reach)
    existing = [(item, options) for item, options in tasks if item.name in seen.current]
    gone: set[str] = set()
    for item, options in existing:
        item.plan = item.check(partial(plan_absent, options, seen, reach, gone)) or Plan()
        _keep(item, options)
        gone |= removal.destroyed(item.plan)
    if not check_mode:
        items.carry_out_all(backend, [item for item, _options in existing])
        for item, options in existing:
            _keep(item, options)
        left = [item for item, _options in existing if not item.error and not item.kept]
        errors = removal.verify(backend, [item.name for item in left]) if left else {}
        for item in left:
            item.error = errors.get(item.name)
    return {}


def _keep(item: Item, options: Options) -> None:
    """With unused_only, what is in the way is no error but the reason to keep the clone."""
    if options.unused_only and isinstance(item.error, (Refused, Busy)):
        busy = isinstance(item.error, Busy)
        item.kept, item.error = f"{item.name} is in use: ZFS says busy" if busy else item.error.msg, None


def plan_absent(options: Options, seen: removal.Seen, reach: removal.Reach, gone: Collection[str]) -> Plan:
    """The removal of one clone; Refused if something is in the way. ``gone``: see `removal.plan`."""
    name = str(options.name)
    if name not in gone:
        check_removable(options, seen.current[name], seen.origin(name))
        if options.unused_only:
            check_unused(seen.current[name])
    return removal.plan(name, seen, reach, gone)


def check_unused(clone: Dataset) -> None:
    """Refused for a clone in use, and for one that this collection did not create."""
    if _recorded(clone) is None:
        raise Refused(f"{clone.name} was not created by this collection")
    if mounting.is_mounted(clone):
        raise Refused(f"{clone.name} is in use: mounted at {clone.get('mountpoint')}")
    used = usage(clone.name) if clone.type == "volume" else None
    if used:
        raise Refused(f"{clone.name} is in use: {used}")


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
