# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zfs_dataset."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, CerssError, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import SourceMark
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import MAX_NAME, DatasetName
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan, Step
from ansible_collections.cerss.zfs.plugins.module_utils._dataset import key, mounting, removal
from ansible_collections.cerss.zfs.plugins.module_utils._dataset.parents import nearest, plan_parents
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import Activity, read_activity
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.execute import execute
from ansible_collections.cerss.zfs.plugins.module_utils._host.inventory import Inventory, check_values
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
    cascade: bool = False  # on_dependents
    root: bool = True  # the module runs as root; on Linux only root can mount
    key: key.KeyOptions | None = None

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Options:
        name = DatasetName.parse(params["name"])
        given = ("properties", "mounted", "renamed_from", "create_parents", "key", "key_file", "key_text")
        useless = [option for option in given if params.get(option) not in (None, False, {}, "")]
        if params["state"] == "present":
            useless = ["on_dependents"] if params["on_dependents"] != "fail" else []
        if useless:
            raise BadInput(f"{', '.join(useless)} cannot be combined with state={params['state']}; leave it out")
        old = DatasetName.parse(params["renamed_from"]) if params["renamed_from"] is not None else None
        if old is not None:
            _check_rename(old, name)
        return cls(
            name=name,
            properties=zfs_properties.requested(params["properties"]),
            mounted=params["mounted"],
            renamed_from=old,
            create_parents=params["create_parents"],
            cascade=params["on_dependents"] == "cascade",
            root=os.geteuid() == 0,
            key=key.KeyOptions.from_params(params),
        )

    @property
    def reach(self) -> removal.Reach:
        return removal.Reach(self.cascade, tree=True)

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
    current = found.get(str(options.name)) or found.get(str(options.renamed_from))
    plan = plan_present(options, found, running, below, _users_of_key(backend, options, current))
    if plan.changed:
        fixed = zfs_properties.AT_CREATION if current else frozenset()
        free = {name: text for name, text in options.properties.items() if name not in fixed}
        check_values(backend, str(options.name), free, current.get("volsize") if current else options.size)
        if current and options.key and key.loads(options.key, current):
            command = zfs.load_key(current.name, options.key.location, dry_run=True)
            backend.run(command, stdin=options.key.stdin)  # the right key, before anything is changed
    if check_mode:
        return {**plan.to_result(), "dataset": _foreseen(options, found)}
    execute(backend, plan)
    if plan.changed:
        found = inventory.read_things(backend, [str(options.name)]).datasets
        _verify(options, found)
    return {**plan.to_result(), "dataset": _shown(found[str(options.name)])}


def _users_of_key(backend: Backend, options: Options, current: Dataset | None) -> list[Dataset]:
    """The filesystems that the key of the dataset may serve, if it is to be unloaded."""
    if current is None or options.key is None or options.key.state != key.UNLOADED:
        return []
    read = inventory.read_tree(backend, [current.name], ("encryptionroot", "mounted"), "filesystem")
    return [each for each in read.datasets.values() if options.mounted is not False or each.name != current.name]


def _renames(options: Options, found: Inventory) -> bool:
    return str(options.renamed_from) in found and str(options.name) not in found


def _read_below(backend: Backend, options: Options) -> tuple[Inventory, Activity]:
    """What moves along with the dataset that is renamed, and what runs."""
    wanted = ("receive_resume_token", SourceMark.NAME)
    below = inventory.read_tree(backend, [str(options.renamed_from)], wanted, "filesystem,volume").datasets
    return below, read_activity(backend)


# -- present ---------------------------------------------------------------------------------------------------------


def plan_present(
    options: Options, found: Inventory, running: Activity, below: Mapping[str, Dataset] | None = None,
    users: Iterable[Dataset] = (),
) -> Plan:  # fmt: skip
    """What to do so that the dataset is as requested; Refused if that is impossible.

    ``found``: the dataset, the one to rename and those above, as far as they exist, with all properties.
    ``below``: the one to rename and all datasets below it. ``users``: see `key.plan_key`.
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
    keys = _plan_key(options, subject, found, users)
    before = [] if options.key and options.key.state == key.UNLOADED else keys.steps
    plan.steps += [*before, *settings.steps]
    _check_locked(options, subject, before)
    plan.steps += mounting.plan_mount(options, subject.values, mounting.is_mounted(subject) is True)
    plan.steps += [step for step in keys.steps if step not in before]
    return plan


def _plan_key(options: Options, subject: Dataset, found: Inventory, users: Iterable[Dataset]) -> Plan:
    above = found.get(str(options.name.parent))
    return key.plan_key(options.key, subject, str(options.name), above, users) if options.key else Plan()


def _check_locked(options: Options, subject: Dataset, keys: Sequence[Step]) -> None:
    if options.mounted and not mounting.is_mounted(subject) and subject.get("keystatus") == "unavailable" and not keys:
        raise Refused(
            f"{options.name} cannot be mounted: its key is not loaded. Set key=loaded as well, or leave mounted out"
        )


def _plan_create(options: Options, found: Inventory) -> Plan:
    plan = Plan()
    if options.name.parent is None:
        raise Refused(f"there is no pool {options.name}; check name, or create the pool with zpool")
    plan.steps += plan_parents(options.name, options.name.ancestors(), found, options.create_parents)
    above = nearest(options.name, found)
    if options.size is None:
        free = {name: text for name, text in options.properties.items() if name not in zfs_properties.AT_CREATION}
        zfs_properties.check_known(f"{options.name}, a filesystem,", above.values, free)
    _check_key(options)
    if options.key:
        key.check_new(options.key, str(options.name), options.properties, above)
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
    values = mounting.initial(kind, above)
    automatic = options.mounted is None and options.root and mounting.is_automatic(options, values)
    plan.steps += [mounting.mount(str(options.name))] if automatic else mounting.plan_mount(options, values, False)
    return plan


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
    plan.steps += plan_parents(options.name, options.name.ancestors(), found, options.create_parents)
    plan.add(
        f"rename {old.name} to {options.name}",
        zfs.rename(old.name, str(options.name), old.type, remount=True),
        before={old.name: {"type": old.type}, str(options.name): None},
        after={old.name: None, str(options.name): {"type": old.type}},
    )


def _verify(options: Options, found: Inventory) -> None:
    """Raise CerssError unless the dataset is as requested, whatever the commands reported."""
    dataset = found.get(str(options.name))
    if dataset is None:
        raise CerssError(f"{options.name} does not exist any more; another process may have removed it")
    unmet = zfs_properties.unmet(dataset.values, options.properties)
    if options.mounted is not None and mounting.is_mounted(dataset) != options.mounted:
        unmet.append("mounted (only root can mount on Linux)")
    if options.key and not key.is_met(options.key, dataset):
        unmet.append(f"key={options.key.state}")
    if unmet:
        raise CerssError(
            f"{dataset.name} exists, but these were not applied: {', '.join(unmet)}. A missing permission (zfs allow) "
            "is the usual reason"
        )


def _shown(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "guid": dataset.guid,
        "type": dataset.type,
        "origin": dataset.origin,
        "mounted": mounting.is_mounted(dataset),
        "encryption_root": dataset.get("encryptionroot"),
        "key_loaded": dataset.get("keystatus") == "available" if dataset.get("encryptionroot") else None,
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
        shown.update(encryption_root=None, key_loaded=None, properties={})
    for name, text in options.properties.items():
        if text is None:
            shown["properties"].pop(name, None)
        else:
            shown["properties"][name] = zfs_properties.stored(name, text)
    if options.mounted is not None:
        shown["mounted"] = options.mounted
    return {**shown, **_foreseen_key(options, found, old)}


def _foreseen_key(options: Options, found: Inventory, old: Dataset | None) -> dict[str, Any]:
    """How the key will be, as far as it is told by options and by what is above."""
    name = str(options.name)
    own = options.properties.get("encryption") not in (None, "off") or "keyformat" in options.properties
    above = nearest(options.name, found) if options.name.parent else None
    root = above.get("encryptionroot") if above else None
    if old is None:
        root = name if own else None if options.properties.get("encryption") == "off" else root
        return {"encryption_root": root, "key_loaded": True if root else None}
    if old.get("encryptionroot") is None:
        return {}
    is_own = old.get("encryptionroot") == old.name
    if options.key is None:
        return {"encryption_root": name} if is_own else {}
    if options.key.state == key.INHERITED:
        return {"encryption_root": root, "key_loaded": above is not None and above.get("keystatus") == "available"}
    return {**({"encryption_root": name} if is_own else {}), "key_loaded": options.key.state == key.LOADED}


# -- absent ----------------------------------------------------------------------------------------------------------


def _absent(backend: Backend, options: Options, check_mode: bool) -> dict[str, Any]:
    name = str(options.name)
    seen = removal.read(backend, [name], options.reach)
    plan = plan_absent(options, seen)
    if plan.changed and not check_mode:
        execute(backend, plan)
        for error in removal.verify(backend, [name]).values():
            raise error
    return {**plan.to_result(), "dataset": None}


def plan_absent(options: Options, seen: removal.Seen) -> Plan:
    """The removal of the dataset, in a cascade with all that depends on it; Refused if something is in the way."""
    current = seen.current.get(str(options.name))
    if current is None:
        return Plan()
    if options.name.parent is None:
        raise BadInput(f"{current.name} is a pool; this module does not destroy pools, use zpool")
    if current.relationships():
        raise Refused(
            f"{current.name} cannot be removed: it is {' and '.join(current.relationships())}. "
            "End the relationship first (zfs_replication with state=absent)"
        )
    return removal.plan(current.name, seen, options.reach)
