# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The verb of zfs_clone: a dataset made from a snapshot, its promotion and its end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import model, units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, CerssError, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import read_json
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Bookmark, Clone, Dataset, Progress, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import MAX_NAME, DatasetName, SnapshotName
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import read_activity
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.datasets import (
    Thing,
    check_values,
    read_all,
    read_snapshots,
    read_tree,
)
from ansible_collections.cerss.zfs.plugins.module_utils._host.execute import carry_out
from ansible_collections.cerss.zfs.plugins.module_utils._host.inventory import Inventory
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
    """What stands: the clone and what it came from, the clone's snapshots, and both families for a promotion."""

    things: dict[str, Thing]
    snapshots: dict[str, Thing] = field(default_factory=dict)
    family: Inventory = field(default_factory=dict)

    def clone(self, options: Options) -> Thing | None:
        return self.things.get(str(options.name))


def main(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The verb."""
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
        volume = seen.clone(options) or seen.things[str(snapshot.dataset)]
        free = {name: text for name, text in options.properties.items() if name not in zfs_properties.AT_CREATION}
        check_values(backend, str(options.name), free, volume.get("volsize"))
    if check_mode:
        return {**plan.to_result(), "clone": foreseen(options, snapshot, seen, plan).to_result()}
    carry_out(backend, plan)
    if plan.changed:
        seen = _read(backend, options, snapshot)
        _verify(options, seen)
    return {**plan.to_result(), "clone": _as_clone(options, seen).to_result()}


def _read(backend: Backend, options: Options, snapshot: SnapshotName) -> Seen:
    """One process for a clone to be made, two for one that is there, a third before a promotion."""
    own = SnapshotName(options.name, snapshot.snapshot)
    names = [str(name) for name in (options.name, snapshot, snapshot.dataset, options.name.parent, own)]
    seen = Seen(read_all(backend, [name for name in names if len(name) <= MAX_NAME]))
    clone = seen.clone(options)
    if clone is None:
        if options.promoted and str(snapshot) in seen.things:
            seen.family = _family(backend, str(snapshot.dataset))
        return seen
    seen.snapshots = read_snapshots(backend, clone.name, ("guid", "clones"))
    if clone.origin and clone.origin not in seen.things:
        # Another origin than was asked for, or one that a promotion has moved.
        seen.things.update(read_all(backend, [clone.origin, clone.origin.partition("@")[0]]))
    if options.promoted and clone.origin:
        seen.family = _family(backend, clone.name, clone.origin.partition("@")[0])
    return seen


def _family(backend: Backend, *names: str) -> Inventory:
    return inventory.read(backend, names)[0]


def _arriving(seen: Seen, snapshot: SnapshotName) -> Progress | None:
    """How far it is when it is on its way: named by the live token, or announced."""
    dataset = seen.things.get(str(snapshot.dataset))
    if dataset is None or str(snapshot) in seen.things:
        return None
    entries = read_json(dataset.local(model.ANNOUNCED))
    announced = [
        entry
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict) and entry.get("snapshot") == snapshot.snapshot
    ]
    token = dataset.token if dataset.token and dataset.token.snapshot == snapshot.snapshot else None
    if not announced and not token:
        return None
    total = announced[0].get("bytes") if announced else None
    return Progress("receive", bytes_done=token.bytes if token else None, bytes_total=total)


def _inbound_words(snapshot: SnapshotName, progress: Progress) -> str:
    total = f" of {progress.bytes_total}" if progress.bytes_total else ""
    return f"{snapshot} is inbound: {progress.bytes_done or 0}{total} bytes have arrived"


def _await(backend: Backend, options: Options, snapshot: SnapshotName, seen: Seen) -> Seen:
    """Look again until the snapshot has arrived or the time is up; what follows decides on what is there then."""
    deadline = time.monotonic() + options.wait
    while _arriving(seen, snapshot) and time.monotonic() < deadline:
        time.sleep(max(0.0, min(POLL, deadline - time.monotonic())))
        seen = _read(backend, options, snapshot)
    return seen


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
    volume = seen.things.get(str(snapshot.dataset))
    if volume is None:
        raise Refused(f"{name} cannot be made: {snapshot.dataset}, the volume of {snapshot}, does not exist")
    parent = seen.things.get(str(options.name.parent))
    if parent is None:
        raise Refused(f"{name} cannot be made: its parent {options.name.parent} does not exist; create it (zfs_volume)")
    if parent.type == "volume":
        raise Refused(f"{name} cannot be made: {parent.name} is a zvol and can have nothing below; choose another name")
    zfs_properties.check_known(f"a clone of {snapshot}", volume.values, options.properties)
    zfs_properties.check_fixed(f"{snapshot.dataset}, and so every clone of it,", volume.values, options.properties)
    guid = _origin_guid(plan, options, snapshot, seen, check_mode)
    setting = {
        key: text
        for key, text in zfs_properties.at_creation(options.properties).items()
        if key not in zfs_properties.AT_CREATION
    }
    after = {"origin": str(snapshot), **setting}
    plan.add(
        f"create clone {name} of {snapshot}",
        zfs.clone(str(snapshot), name, {model.ORIGIN: guid, **setting}),
        before={name: None},
        after={name: after},
    )
    if options.promoted:
        _add_promotion(plan, name, [], volume, str(snapshot), seen.family)
    return plan


def _origin_guid(plan: Plan, options: Options, snapshot: SnapshotName, seen: Seen, check_mode: bool) -> str:
    """The GUID to record on the clone; in check mode a snapshot may still be to come."""
    origin = seen.things.get(str(snapshot))
    if origin is not None:
        if origin.pending_delete:
            raise Refused(
                f"{options.name} cannot be made: {snapshot} is pending_delete. It was deleted and goes as soon as its "
                f"clones ({', '.join(origin.clones) or 'none'}) and holds ({origin.userrefs}) are gone. Clone another "
                "snapshot, or take a snapshot of one of its clones and clone that"
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


def _check_origin(clone: Thing, snapshot: SnapshotName, seen: Seen) -> None:
    """Refused unless the dataset was made from that very snapshot (by GUID)."""
    recorded = clone.local(model.ORIGIN)
    native = seen.things.get(clone.origin or "")
    asked = seen.things.get(str(snapshot))
    if asked is not None:
        if native is not None and native.guid == asked.guid:
            return
        if recorded is not None and recorded == asked.guid:
            return
    elif recorded is not None:
        # A promotion moves the snapshot: to the clone itself, or to the one that was promoted over its origin.
        own = seen.things.get(f"{clone.name}@{snapshot.snapshot}")
        moved = [thing for thing in (own, native) if thing and thing.name.endswith(f"@{snapshot.snapshot}")]
        if any(thing.guid == recorded for thing in moved):
            return
    raise Refused(
        f"{clone.name} exists and is no clone of {snapshot}: {_came_from(clone, asked, recorded)}. "
        f"Choose another name, or name the snapshot that it was made from"
    )


def _came_from(clone: Thing, asked: Thing | None, recorded: str | None) -> str:
    gone = "" if asked is not None else "that snapshot does not exist, and "
    if clone.origin:
        return f"{gone}it is a clone of {clone.origin}"
    if recorded:
        return f"{gone}it was made from a snapshot with the GUID {recorded}"
    return f"{gone}it is a {clone.type} that was not made from a snapshot"


def _owns_origin(clone: Thing, snapshot: SnapshotName, seen: Seen) -> bool:
    """Promoted: the snapshot that it was made from is its own now."""
    recorded = clone.local(model.ORIGIN)
    return recorded is not None and any(own.guid == recorded for own in seen.snapshots.values())


def _plan_promotion(plan: Plan, options: Options, snapshot: SnapshotName, clone: Thing, seen: Seen) -> None:
    owns = _owns_origin(clone, snapshot, seen)
    if options.promoted is False:
        if owns:
            raise Refused(
                f"{clone.name} is promoted, and ZFS cannot take that back. Promote the dataset that it was made from: "
                f"zfs_clone with name={snapshot.dataset}, snapshot={clone.name}@{snapshot.snapshot}, promoted=true"
            )
        return
    if owns:
        return
    if clone.origin is None:
        raise Refused(f"{clone.name} cannot be promoted: it is no clone, nothing stands behind it")
    volume = seen.things[clone.origin.partition("@")[0]]
    if clone.local(model.ORIGIN) is None:
        guid = seen.things[clone.origin].guid or ""
        plan.add(
            f"record on {clone.name} that it was made from {clone.origin}",
            zfs.set_({model.ORIGIN: guid}, [clone.name]),
        )
    _add_promotion(plan, clone.name, clone.relationships(), volume, clone.origin, seen.family)


def _add_promotion(
    plan: Plan, name: str, relationships: list[str], volume: Thing, origin: str, family: Inventory
) -> None:  # fmt: skip
    """The last action of a plan. ``family`` has the volume that ``origin`` is of, and the clone when it exists."""
    _check_promotable(name, relationships, volume)
    moving = _moving(family.get(volume.name, Dataset(volume.name)), origin)
    _check_conflicts(name, moving, family.get(name, Dataset(name)))
    snapshots = [one for one in moving if "@" in one] or [origin]
    plan.add(
        f"promote {name}, which takes over {', '.join(snapshots)}",
        zfs.promote(name),
        before={name: {"origin": origin}, **{one: {"present": True} for one in snapshots}} if name in family else {},
        after={
            name: {"origin": volume.origin},
            **{one: {"present": False} for one in snapshots},
            **{f"{name}@{one.partition('@')[2]}": {"present": True} for one in snapshots},
        },
    )


def _check_promotable(name: str, own: list[str], volume: Thing) -> None:
    """Promotion takes snapshots, holds and bookmarks away from a volume whose replication stands on them."""
    for dataset, relationships in ((volume.name, volume.relationships()), (name, own)):
        if relationships:
            raise Refused(
                f"{name} cannot be promoted: {dataset} is {' and '.join(relationships)}, and promotion moves "
                "snapshots, holds and bookmarks that it needs. End it first (zfs_replication with state=absent), or "
                "leave the clone as it is"
            )


def _moving(volume: Dataset, origin: str) -> list[str]:
    """Snapshots and bookmarks that go over to the clone: the origin and all that is older."""
    snapshot = volume.by_name(origin)
    newest = snapshot.createtxg if snapshot and snapshot.createtxg is not None else 0
    marks: list[Snapshot | Bookmark] = [*volume.snapshots, *volume.bookmarks]
    return [mark.name for mark in marks if mark.createtxg is not None and mark.createtxg <= newest]


def _check_conflicts(name: str, moving: list[str], own: Dataset) -> None:
    taken = {mark.name[len(name) :] for mark in own.snapshots} | {mark.name[len(name) :] for mark in own.bookmarks}
    parts = [one[one.index("@" if "@" in one else "#") :] for one in moving]
    both = [part for part in parts if part in taken]
    if both:
        raise Refused(
            f"{name} cannot be promoted: it would take over {', '.join(both)}, and has the same names already. "
            "Rename or delete these on one of the two sides first"
        )
    long = [part for part in parts if len(name) + len(part) > MAX_NAME]
    if long:
        raise Refused(
            f"{name} cannot be promoted: with its name {', '.join(long)} would be longer than {MAX_NAME} characters. "
            "Rename the clone to something shorter first"
        )


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
    recorded = clone.local(model.ORIGIN)
    promoted = recorded is not None and any(own.guid == recorded for own in seen.snapshots.values())
    origin = None
    if clone.origin:
        native = seen.things.get(clone.origin)
        origin = {"name": clone.origin, "guid": native.guid if native else None}
    return Clone(
        clone.name,
        clone.guid,
        clone.type,
        origin,
        promoted,
        {
            "snapshots": list(seen.snapshots),
            "clones": sorted(name for own in seen.snapshots.values() for name in own.clones),
        },
        zfs_properties.shown(clone.values),
    )


def foreseen(options: Options, snapshot: SnapshotName, seen: Seen, plan: Plan) -> Clone:
    """The clone as it will be, for check mode; what only ZFS knows is None."""
    clone = _as_clone(options, seen)
    if plan.changed:
        if clone.guid is None:
            volume, origin = seen.things.get(str(snapshot.dataset)), seen.things.get(str(snapshot))
            clone.type = volume.type if volume else None
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
    clone = read_all(backend, [name]).get(name)
    if clone is None:
        return {**Plan().to_result(), "clone": None}
    around = read_tree(backend, [name, *([clone.origin] if clone.origin else [])], _DEPENDENTS)
    origin = around.pop(clone.origin, None) if clone.origin else None
    around.pop(name, None)
    check_removable(options, clone, origin)
    plan = Plan()
    if around and not options.cascade:
        dependents = _dependents(around)
        raise Refused(_in_the_way(name, dependents), dependents=[one for _kind, one in dependents])
    if around:
        plan = _cascade(backend, options.name)
    plan_end(plan, clone, origin)
    if not check_mode:
        carry_out(backend, plan)
        if name in read_all(backend, [name]):
            raise CerssError(f"{name} was destroyed, but is there again; somebody else may have made it anew")
    return {**plan.to_result(), "clone": None}


_DEPENDENTS = ("type", "defer_destroy", "userrefs", "clones")


def check_removable(options: Options, clone: Thing, origin: Thing | None) -> None:
    """Refused for what is no clone, or not the one that is meant, or is replicated."""
    if clone.origin is None and clone.local(model.ORIGIN) is None:
        raise Refused(
            f"{clone.name} is a {clone.type} that was not made from a snapshot; zfs_clone removes clones only. "
            "Use zfs_volume with state=absent for other datasets"
        )
    relationships = clone.relationships()
    if relationships:
        raise Refused(
            f"{clone.name} cannot be removed: it is {' and '.join(relationships)}. "
            "End it first (zfs_replication with state=absent)"
        )
    # A promotion may have moved the origin: the part after the @ stays.
    if options.snapshot and origin and options.snapshot.snapshot != origin.name.partition("@")[2]:
        raise Refused(
            f"{clone.name} is a clone of {origin.name}, not of {options.snapshot}; "
            "leave snapshot out to remove it nevertheless"
        )


def _dependents(around: Mapping[str, Thing]) -> list[tuple[str, str]]:
    """(kind, name), by kind: its snapshots, their clones, and the other datasets below it."""
    clones = {clone for thing in around.values() for clone in thing.clones}
    snapshots = {name for name in around if "@" in name}
    kinds = {"snapshot": snapshots, "clone": clones, "dataset": set(around) - snapshots - clones}
    return [(kind, name) for kind, names in kinds.items() for name in sorted(names)]


def _in_the_way(name: str, dependents: list[tuple[str, str]]) -> str:
    listed = ", ".join(f"{kind} {one}" for kind, one in dependents)
    return (
        f"{name} cannot be removed, since these depend on it: {listed}. Remove them first, or set "
        "on_dependents=cascade to have snapshots and clones removed with it"
    )


def _cascade(backend: Backend, name: DatasetName) -> Plan:
    """The end of the clone's own snapshots and of all clones of these, the last in the chain first."""
    found, _gone = inventory.read(backend, [name.pool], None, "filesystem,volume,snapshot")
    own = found[str(name)].snapshots
    names = [snapshot.name for snapshot in own]
    inside = {clone.name: clone for clone in closure_of(found, names).clones}
    running = read_activity(backend)
    to_read = {**inside, str(name): found[str(name)]}
    objects.fill(backend, to_read, [one for dataset in to_read.values() for one in dataset.snapshots], running)
    closure = closure_of(found, names)  # with the marks that were read
    foreign = [one for one in found if one.startswith(f"{name}/") and one not in inside]
    if foreign:
        raise Refused(
            f"{name} cannot be removed: {', '.join(foreign)} below it would have to go too, and a cascade removes "
            "snapshots and clones only. Remove or rename these first"
        )
    decided = plan_absent(SnapshotOptions([], on_dependents="cascade"), own, closure, running)
    plan, ends = decided.cascade, decided.deletion.plan.actions
    if ends:
        commands = [zfs.destroy_snapshots(one.dataset, one.parts, defer=False) for one in decided.deletion.removals]
        plan.actions += [replace(ends[0], commands=tuple(commands)), *ends[1:]]
    return plan


def plan_end(plan: Plan, clone: Thing, origin: Thing | None) -> None:
    """The clone's end, and that of an origin which waited for nothing else."""
    plan.add(
        f"destroy clone {clone.name}",
        zfs.destroy(clone.name),
        before={clone.name: {"origin": clone.origin}},
        after={clone.name: {"state": model.ABSENT}},
    )
    if origin is not None and origin.pending_delete and origin.clones == [clone.name] and not origin.userrefs:
        plan.add(
            f"{origin.name}, which was pending_delete and waited for {clone.name} only, is destroyed by ZFS with it",
            before={origin.name: {"state": model.PENDING_DELETE}},
            after={origin.name: {"state": model.ABSENT}},
        )
