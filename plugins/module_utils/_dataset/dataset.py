# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zfs_dataset."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, CerssError, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import SourceMark
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Value, Values
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import MAX_NAME, DatasetName, listing
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import Activity, read_activity
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.execute import execute
from ansible_collections.cerss.zfs.plugins.module_utils._host.inventory import TREE, Inventory, Things, check_values
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import properties as zfs_properties


@dataclass(frozen=True)
class Options:
    """The checked options."""

    name: DatasetName
    properties: zfs_properties.Requested
    mounted: bool | None
    renamed_from: DatasetName | None
    create_parents: bool
    root: bool = True  # the module runs as root; on Linux only root can mount

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Options:
        name = DatasetName.parse(params["name"])
        given = ("properties", "mounted", "renamed_from", "create_parents")
        useless = [option for option in given if params[option] not in (None, False, {})]
        if params["state"] == "absent" and useless:
            raise BadInput(f"{', '.join(useless)} cannot be combined with state=absent; leave it out")
        old = DatasetName.parse(params["renamed_from"]) if params["renamed_from"] is not None else None
        if old is not None:
            _check_rename(old, name)
        return cls(
            name=name,
            properties=zfs_properties.requested(params["properties"]),
            mounted=params["mounted"],
            renamed_from=old,
            create_parents=params["create_parents"],
            root=os.geteuid() == 0,
        )

    @property
    def size(self) -> int | None:
        """Bytes of a new volume; None for a new filesystem."""
        text = self.properties.get("volsize")
        return None if text is None else units.size(text, "properties.volsize")


def _check_rename(old: DatasetName, name: DatasetName) -> None:
    if old.pool != name.pool:
        raise BadInput(
            f"{old} cannot be renamed to {name}: that is another pool. Replicate it instead (zfs_snapshot_replicate)"
        )
    if old.covers(name):
        raise BadInput(f"{old} cannot be renamed to {name}: that is the same name, or below it; give another name")
    if old.parent is None or name.parent is None:
        raise BadInput(f"{old} cannot be renamed to {name}: a pool is renamed by exporting and importing it (zpool)")


def main(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    options = Options.from_params(params)
    backend = Backend()
    if params["state"] == "absent":
        return _absent(backend, options, check_mode)
    names = [options.name, options.renamed_from, *options.name.ancestors()]
    found = inventory.read_things(backend, [str(name) for name in names if name is not None]).datasets
    below, running = _read_below(backend, options) if _renames(options, found) else ({}, Activity())
    plan = plan_present(options, found, running, below)
    if plan.changed:
        current = found.get(str(options.name)) or found.get(str(options.renamed_from))
        fixed = zfs_properties.AT_CREATION if current else frozenset()
        free = {name: text for name, text in options.properties.items() if name not in fixed}
        check_values(backend, str(options.name), free, current.get("volsize") if current else options.size)
    if check_mode:
        return {**plan.to_result(), "dataset": _foreseen(options, found)}
    execute(backend, plan)
    if plan.changed:
        found = inventory.read_things(backend, [str(options.name)]).datasets
        _verify(options, found)
    return {**plan.to_result(), "dataset": _shown(found[str(options.name)])}


def _renames(options: Options, found: Inventory) -> bool:
    return str(options.renamed_from) in found and str(options.name) not in found


def _read_below(backend: Backend, options: Options) -> tuple[Inventory, Activity]:
    """What moves along with the dataset that is renamed, and what runs."""
    wanted = ("receive_resume_token", SourceMark.NAME)
    below = inventory.read_tree(backend, [str(options.renamed_from)], wanted, "filesystem,volume").datasets
    return below, read_activity(backend)


# -- present ---------------------------------------------------------------------------------------------------------


def plan_present(
    options: Options, found: Inventory, running: Activity, below: Mapping[str, Dataset] | None = None
) -> Plan:
    """What to do so that the dataset is as requested; Refused if that is impossible.

    ``found``: the dataset, the one to rename and those above, as far as they exist, with all properties.
    ``below``: the one to rename and all datasets below it.
    """
    current = found.get(str(options.name))
    old = found.get(str(options.renamed_from))
    if current is not None and old is not None:
        raise Refused(f"{old.name} cannot be renamed to {current.name}: both exist. Remove or rename one of them first")
    subject = current or old
    if subject is None:
        if options.renamed_from is not None:
            raise Refused(
                f"neither {options.name} nor {options.renamed_from} exists; leave renamed_from out to create "
                f"{options.name}"
            )
        return _plan_create(options, found)
    plan = Plan()
    moved = False
    if old is not None:
        _plan_rename(plan, options, found, old, running, below or {})
        moved = options.renamed_from is not None and options.renamed_from.parent != options.name.parent
    settings = zfs_properties.plan(str(options.name), subject.values, options.properties, moved)
    plan.steps += settings.steps
    _plan_mount(plan, options, subject.values, _is_mounted(subject))
    return plan


def _plan_create(options: Options, found: Inventory) -> Plan:
    plan = Plan()
    if options.name.parent is None:
        raise Refused(f"there is no pool {options.name}; check name, or create the pool with zpool")
    _plan_parents(plan, options, found)
    above = _nearest(options.name, found)
    if options.size is None:
        free = {name: text for name, text in options.properties.items() if name not in zfs_properties.AT_CREATION}
        zfs_properties.check_known(f"{options.name}, a filesystem,", above.values, free)
    _check_key(options)
    setting = zfs_properties.at_creation(options.properties)
    setting.pop("volsize", None)
    kind = "filesystem" if options.size is None else "volume"
    size = {} if options.size is None else {"volsize": str(options.size)}
    plan.add(
        f"create {kind} {options.name}",
        zfs.create(str(options.name), setting, size=options.size),
        before={str(options.name): None},
        after={str(options.name): {"type": kind, **size, **setting}},
    )
    _plan_mount(plan, options, _initial(kind, above), False)
    return plan


def _nearest(name: DatasetName, found: Inventory) -> Dataset:
    """The nearest dataset above that exists; there is one, since the pool does."""
    return next(found[str(above)] for above in reversed(name.ancestors()) if str(above) in found)


def _initial(kind: str, above: Dataset) -> Values:
    """What a new dataset has before any property is set. It inherits mountpoint, but not canmount."""
    return {
        "type": Value(kind, "-"),
        "canmount": Value("on", "default"),
        "mountpoint": Value(above.get("mountpoint") or "none", "inherited"),
    }


def _plan_parents(plan: Plan, options: Options, found: Inventory) -> None:
    """Parents must be filesystems. Missing ones are created if create_parents is set."""
    missing: list[DatasetName] = []
    for name in options.name.ancestors():
        dataset = found.get(str(name))
        if dataset is None:
            missing.append(name)
        elif dataset.type == "volume":
            raise Refused(f"{options.name} cannot be created: {name} above it is a volume; choose another name")
    if missing and missing[0].parent is None:
        raise Refused(
            f"{options.name} cannot be created: there is no pool {missing[0]}. Check the name, or import the pool"
        )
    if missing and not options.create_parents:
        raise Refused(
            f"{options.name} cannot be created: its parent {missing[-1]} does not exist. Create it first, or set "
            "create_parents"
        )
    for name in missing:
        plan.add(
            f"create filesystem {name}",
            zfs.create(str(name), {}),
            before={str(name): None},
            after={str(name): {"type": "filesystem"}},
        )
        initial = _initial("filesystem", _nearest(name, found))
        _plan_mount(plan, replace(options, name=name, properties={}, mounted=None), initial, False)


def _check_key(options: Options) -> None:
    """A module cannot ask for a passphrase."""
    location = options.properties.get("keylocation")
    if location == "prompt" or (options.properties.get("keyformat") and location is None):
        raise BadInput(
            f"{options.name}: a module cannot ask for a key; set keylocation to file:///path or https://… of the key"
        )


def _plan_rename(
    plan: Plan, options: Options, found: Inventory, old: Dataset, running: Activity, below: Mapping[str, Dataset]
) -> None:  # fmt: skip
    for each in (old, *(dataset for name, dataset in sorted(below.items()) if name != old.name)):
        it = "it" if each is old else each.name
        if each.is_replica:
            raise Refused(
                f"{old.name} cannot be renamed: {it} is {' and '.join(each.relationships())}, and its source sends to "
                "this name. End the relationship first (zfs_replication with state=absent)"
            )
        if each.has_partial_receive or running.receiving.into(each.name):
            raise Refused(
                f"{old.name} cannot be renamed: {it} has a partial receive, or a receive into it is running. Let the "
                "transfer end first"
            )
    if running.receiving.below(old.name):  # it may be making a dataset that is not there yet
        raise Refused(f"{old.name} cannot be renamed: a receive below it is running. Let the transfer end first")
    grows = len(str(options.name)) - len(old.name)
    long = [name for name in sorted(below) if len(name) + grows > MAX_NAME]
    if long:
        raise Refused(
            f"{old.name} cannot be renamed: the name of {long[0][:60]}… below it would have {len(long[0]) + grows} "
            f"characters, and ZFS takes {MAX_NAME}. Choose a shorter name"
        )
    _plan_parents(plan, options, found)
    plan.add(
        f"rename {old.name} to {options.name}",
        zfs.rename(old.name, str(options.name), old.type, remount=True),
        before={old.name: {"type": old.type}, str(options.name): None},
        after={old.name: None, str(options.name): {"type": old.type}},
    )


def _plan_mount(plan: Plan, options: Options, values: Values, mounted: bool) -> None:
    """Mount or unmount as the last step.

    Without the option mounted, a new filesystem is mounted if ZFS would mount it at boot and this user may mount.
    Properties of a new dataset have no ``guid`` yet.
    """
    name = str(options.name)
    if values["type"].text == "volume":
        if options.mounted is not None:
            raise BadInput(f"{name} is a volume, which ZFS does not mount; leave mounted out")
        return
    canmount, mountpoint = (_requested(options, values, key) for key in ("canmount", "mountpoint"))
    why_not = "canmount=off" if canmount == "off" else f"mountpoint={mountpoint}" if mountpoint in _NOWHERE else None
    if options.mounted and why_not:
        raise Refused(f"{name} cannot be mounted: it has {why_not}. Change that property, or leave mounted out")
    is_new = "guid" not in values
    automatic = options.mounted is None and is_new and options.root and canmount == "on" and not why_not
    if (options.mounted or automatic) and not mounted:
        plan.add(f"mount {name}", zfs.mount(name), before={name: {"mounted": False}}, after={name: {"mounted": True}})
    elif options.mounted is False and mounted:
        plan.add(
            f"unmount {name}", zfs.unmount(name), before={name: {"mounted": True}}, after={name: {"mounted": False}}
        )


_NOWHERE = ("none", "legacy")


def _requested(options: Options, values: Values, name: str) -> str:
    """The value that a property will have."""
    return options.properties.get(name) or (values[name].text if name in values else "")


def _verify(options: Options, found: Inventory) -> None:
    """Raise CerssError unless the dataset is as requested, whatever the commands reported."""
    dataset = found.get(str(options.name))
    if dataset is None:
        raise CerssError(f"{options.name} does not exist any more; another process may have removed it")
    unmet = zfs_properties.unmet(dataset.values, options.properties)
    if options.mounted is not None and _is_mounted(dataset) != options.mounted:
        unmet.append("mounted (only root can mount on Linux)")
    if unmet:
        raise CerssError(
            f"{dataset.name} exists, but these were not applied: {', '.join(unmet)}. A missing permission (zfs allow) "
            "is the usual reason"
        )


def _is_mounted(dataset: Dataset) -> bool:
    return dataset.get("mounted") == "yes"


def _shown(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "guid": dataset.guid,
        "type": dataset.type,
        "origin": dataset.origin,
        "mounted": None if dataset.type == "volume" else _is_mounted(dataset),
        "properties": zfs_properties.shown(dataset.values),
    }


def _foreseen(options: Options, found: Inventory) -> dict[str, Any]:
    """The dataset as it will be. What only ZFS can tell, such as a new GUID, is None."""
    old = found.get(str(options.name)) or found.get(str(options.renamed_from))
    if old is not None:
        shown = {**_shown(old), "name": str(options.name)}
    else:
        kind = "filesystem" if options.size is None else "volume"
        shown = {"name": str(options.name), "guid": None, "type": kind, "origin": None, "mounted": None}
        shown["properties"] = {}
    for name, text in options.properties.items():
        if text is None:
            shown["properties"].pop(name, None)
        else:
            shown["properties"][name] = zfs_properties.stored(name, text)
    if options.mounted is not None:
        shown["mounted"] = options.mounted
    return shown


# -- absent ----------------------------------------------------------------------------------------------------------


def _absent(backend: Backend, options: Options, check_mode: bool) -> dict[str, Any]:
    name = str(options.name)
    current = inventory.read_things(backend, [name]).datasets.get(name)
    if current is None:
        return {**Plan().to_result(), "dataset": None}
    plan = plan_absent(options, current, inventory.read_tree(backend, [name], ("type", "clones"), TREE))
    if not check_mode:
        execute(backend, plan)
        if name in inventory.read_things(backend, [name]):
            raise CerssError(f"{name} was destroyed, but exists again; another process may have created it")
    return {**plan.to_result(), "dataset": None}


def plan_absent(options: Options, current: Dataset, tree: Things) -> Plan:
    """The removal of one dataset; Refused if anything depends on it. ``tree``: all at and below it, with clones."""
    if options.name.parent is None:
        raise BadInput(f"{current.name} is a pool; this module does not destroy pools, use zpool")
    if current.relationships():
        raise Refused(
            f"{current.name} cannot be removed: it is {' and '.join(current.relationships())}. "
            "End the relationship first (zfs_replication with state=absent)"
        )
    kinds = {**dict.fromkeys(tree.datasets, "dataset"), **dict.fromkeys(tree.snapshots, "snapshot")}
    left = [f"{kinds[name]} {name}" for name in sorted(kinds) if name != current.name]
    left += sorted({f"clone {clone}" for snapshot in tree.snapshots.values() for clone in snapshot.clones or []})
    if left:
        raise Refused(f"{current.name} cannot be removed: it has {listing(left)}. Remove these first")
    plan = Plan()
    plan.add(
        f"destroy {current.type} {current.name}",
        zfs.destroy(current.name),
        before={current.name: {"type": current.type}},
        after={current.name: None},
    )
    return plan
