# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The verb of zfs_dataset: a filesystem or zvol, its properties, whether it is mounted, and its name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, CerssError, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Value, Values
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName, listing
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
    """The module's options, checked as far as they can be without asking ZFS."""

    name: DatasetName
    properties: zfs_properties.Requested
    mounted: bool | None
    renamed_from: DatasetName | None
    create_parents: bool
    root: bool = True  # may this user mount? On Linux only root can

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Options:
        name = DatasetName.parse(params["name"])
        given = ("properties", "mounted", "renamed_from", "create_parents")
        useless = [option for option in given if params[option] not in (None, False, {})]
        if params["state"] == "absent" and useless:
            raise BadInput(f"{', '.join(useless)} cannot be combined with state=absent; leave it out")
        old = DatasetName.parse(params["renamed_from"]) if params["renamed_from"] is not None else None
        if old is not None:
            if old.pool != name.pool:
                raise BadInput(
                    f"{old} cannot be renamed to {name}: that is another pool. Replicate it (zfs_snapshot_replicate)"
                )
            if old == name or old.covers(name):
                raise BadInput(f"{old} cannot be renamed to {name}: that is the same, or a place below itself")
            if old.parent is None or name.parent is None:
                raise BadInput(f"{old} cannot be renamed to {name}: pools are renamed by export and import (zpool)")
        return cls(
            name,
            zfs_properties.requested(params["properties"]),
            params["mounted"],
            old,
            params["create_parents"],
            os.geteuid() == 0,
        )

    @property
    def size(self) -> int | None:
        """Of a zvol to be made; None makes a filesystem."""
        text = self.properties.get("volsize")
        return None if text is None else units.size(text, "properties.volsize")


def main(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """zfs_dataset."""
    options = Options.from_params(params)
    backend = Backend()
    if params["state"] == "absent":
        return _absent(backend, options, check_mode)
    names = [options.name, options.renamed_from, *options.name.ancestors()]
    found = inventory.read_things(backend, [str(name) for name in names if name is not None]).datasets
    running = read_activity(backend) if _renames(options, found) else Activity()
    plan = plan_present(options, found, running)
    if plan.changed:
        here = found.get(str(options.name)) or found.get(str(options.renamed_from))
        fixed = zfs_properties.AT_CREATION if here else frozenset()
        free = {name: text for name, text in options.properties.items() if name not in fixed}
        check_values(backend, str(options.name), free, here.get("volsize") if here else options.size)
    if check_mode:
        return {**plan.to_result(), "dataset": _foreseen(options, found)}
    execute(backend, plan)
    if plan.changed:
        found = inventory.read_things(backend, [str(options.name)]).datasets
        _verify(options, found)
    return {**plan.to_result(), "dataset": _shown(found[str(options.name)])}


def _renames(options: Options, found: Inventory) -> bool:
    return str(options.renamed_from) in found and str(options.name) not in found


# -- present ---------------------------------------------------------------------------------------------------------


def plan_present(options: Options, found: Inventory, running: Activity) -> Plan:
    """What must happen so that the volume stands as wished."""
    here = found.get(str(options.name))
    old = found.get(str(options.renamed_from))
    if here is not None and old is not None:
        raise Refused(f"{old.name} cannot be renamed to {here.name}: both exist. Remove or rename one of them first")
    subject = here or old
    if subject is None:
        if options.renamed_from is not None:
            raise Refused(f"neither {options.name} nor {options.renamed_from} exists; create it without renamed_from")
        return _plan_create(options, found)
    plan = Plan()
    moved = False
    if old is not None:
        _plan_rename(plan, options, found, old, running)
        moved = options.renamed_from is not None and options.renamed_from.parent != options.name.parent
    settings = zfs_properties.plan(str(options.name), subject.values, options.properties, moved)
    plan.steps += settings.steps
    _plan_mount(plan, options, subject.values, _is_mounted(subject))
    return plan


def _plan_create(options: Options, found: Inventory) -> Plan:
    plan = Plan()
    if options.name.parent is None:
        raise Refused(f"{options.name} is a pool that does not exist; pools are made with zpool, not by this module")
    _plan_parents(plan, options, found)
    above = next(
        dataset for name in reversed(options.name.ancestors()) for dataset in [found.get(str(name))] if dataset
    )
    if options.size is None:
        fixed = {name: text for name, text in options.properties.items() if name not in zfs_properties.AT_CREATION}
        zfs_properties.check_known(f"{options.name}, a filesystem,", above.values, fixed)
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
    born = {"type": Value(kind, "-"), **{name: _born(above, name) for name in ("canmount", "mountpoint")}}
    _plan_mount(plan, options, born, False)
    return plan


def _born(above: Dataset, name: str) -> Value:
    if name == "canmount":  # is not inherited
        return Value("on", "default")
    return Value(above.get(name) or "none", "inherited")


def _plan_parents(plan: Plan, options: Options, found: Inventory) -> None:
    """Parents must be filesystems; missing ones are made on request."""
    missing: list[DatasetName] = []
    for name in options.name.ancestors():
        dataset = found.get(str(name))
        if dataset is None:
            missing.append(name)
        elif dataset.type == "volume":
            raise Refused(f"{options.name} cannot be made: {name} is a zvol and can have nothing below it")
    if missing and missing[0].parent is None:
        raise Refused(
            f"{options.name} cannot be made: there is no pool {missing[0]} here. Check the name, or import it"
        )
    if missing and not options.create_parents:
        raise Refused(
            f"{options.name} cannot be made: its parent {missing[-1]} does not exist. Create it, or set create_parents"
        )
    for name in missing:
        above = next(found[str(up)] for up in reversed(name.ancestors()) if str(up) in found)
        plan.add(
            f"create filesystem {name}",
            zfs.create(str(name), {}),
            before={str(name): None},
            after={str(name): {"type": "filesystem"}},
        )
        born = {"type": Value("filesystem", "-"), **{key: _born(above, key) for key in ("canmount", "mountpoint")}}
        _plan_mount(plan, replace(options, name=name, properties={}, mounted=None), born, False)


def _check_key(options: Options) -> None:
    """Nobody is there to be asked for a passphrase."""
    location = options.properties.get("keylocation")
    if location == "prompt" or (options.properties.get("keyformat") and location is None):
        raise BadInput(
            f"{options.name}: a key cannot be asked for here; give keylocation as file:///path or https://… of the key"
        )


def _plan_rename(
    plan: Plan, options: Options, found: Inventory, old: Dataset, running: Activity
) -> None:  # fmt: skip
    if old.is_replica:
        raise Refused(
            f"{old.name} cannot be renamed: it is {' and '.join(old.relationships())}, whose source sends to it. "
            "End it first (zfs_replication with state=absent)"
        )
    if old.has_partial_receive or running.receives(old.name):
        raise Refused(
            f"{old.name} cannot be renamed: a snapshot is being received into it, or was in part, and a rename breaks "
            "that. Let the transfer end first"
        )
    _plan_parents(plan, options, found)
    plan.add(
        f"rename {old.name} to {options.name}",
        zfs.rename(old.name, str(options.name), old.type, remount=True),
        before={old.name: {"type": old.type}, str(options.name): None},
        after={old.name: None, str(options.name): {"type": old.type}},
    )


def _plan_mount(plan: Plan, options: Options, values: Values, mounted: bool) -> None:
    """Mount or unmount last. What is new is mounted when ZFS would do so at boot, and this user may."""
    name = str(options.name)
    if values["type"].text == "volume":
        if options.mounted is not None:
            raise BadInput(f"{name} is a zvol, which is not mounted by ZFS; leave mounted out")
        return
    canmount, mountpoint = (_wished(options, values, key) for key in ("canmount", "mountpoint"))
    why_not = "canmount=off" if canmount == "off" else f"mountpoint={mountpoint}" if mountpoint in _NOWHERE else None
    if options.mounted and why_not:
        raise Refused(f"{name} cannot be mounted: it has {why_not}. Change that property, or leave mounted out")
    fresh = options.mounted is None and "guid" not in values and options.root and canmount == "on" and not why_not
    if (options.mounted or fresh) and not mounted:
        plan.add(f"mount {name}", zfs.mount(name), before={name: {"mounted": False}}, after={name: {"mounted": True}})
    elif options.mounted is False and mounted:
        plan.add(
            f"unmount {name}", zfs.unmount(name), before={name: {"mounted": True}}, after={name: {"mounted": False}}
        )


_NOWHERE = ("none", "legacy")


def _wished(options: Options, values: Values, name: str) -> str:
    return options.properties.get(name) or (values[name].text if name in values else "")


def _verify(options: Options, found: Inventory) -> None:
    """What stands now is what was wished, whatever the commands said."""
    here = found.get(str(options.name))
    if here is None:
        raise CerssError(f"{options.name} is not there after all; somebody else may have removed it meanwhile")
    unmet = zfs_properties.unmet(here.values, options.properties)
    if options.mounted is not None and _is_mounted(here) != options.mounted:
        unmet.append("mounted (only root can mount on Linux)")
    if unmet:
        raise CerssError(
            f"{here.name} stands, but these did not take: {', '.join(unmet)}; a missing permission (zfs allow) is the "
            "usual reason"
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
    """As it will be; what only ZFS knows is None."""
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
    here = inventory.read_things(backend, [name]).datasets.get(name)
    if here is None:
        return {**Plan().to_result(), "dataset": None}
    plan = plan_absent(options, here, inventory.read_things(backend, [name], ("type", "clones"), TREE, depth=None))
    if not check_mode:
        execute(backend, plan)
        if name in inventory.read_things(backend, [name]):
            raise CerssError(f"{name} was destroyed, but is there again; somebody else may have made it anew")
    return {**plan.to_result(), "dataset": None}


def plan_absent(options: Options, here: Dataset, tree: Things) -> Plan:
    """The end of one volume that nothing depends on."""
    if options.name.parent is None:
        raise BadInput(f"{here.name} is a pool; pools are destroyed with zpool, not by this module")
    if here.relationships():
        raise Refused(
            f"{here.name} cannot be removed: it is {' and '.join(here.relationships())}. "
            "End it first (zfs_replication with state=absent)"
        )
    kinds = {**dict.fromkeys(tree.datasets, "dataset"), **dict.fromkeys(tree.snapshots, "snapshot")}
    left = [f"{kinds[name]} {name}" for name in sorted(kinds) if name != here.name]
    left += sorted({f"clone {clone}" for snapshot in tree.snapshots.values() for clone in snapshot.clones or []})
    if left:
        raise Refused(
            f"{here.name} cannot be removed: it has {listing(left)}. Remove these first; this module "
            "never takes anything along"
        )
    plan = Plan()
    plan.add(
        f"destroy {here.type} {here.name}",
        zfs.destroy(here.name),
        before={here.name: {"type": here.type}},
        after={here.name: None},
    )
    return plan
