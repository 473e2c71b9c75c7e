# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zfs_service: take datasets out of service, so that others can serve in their place, and put them into service."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, CerssError, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import OutOfService, Spoilt
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Value
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName, check_unique, listing, shortened
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan
from ansible_collections.cerss.zfs.plugins.module_utils._dataset import mounting
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.execute import execute
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import output, properties

OUT = "out_of_service"
_RESTING = {"readonly": "on", "canmount": "noauto"}  # of a replica, too
_SERVING = {"readonly": "off", "canmount": "on"}  # where nobody knows better

Settings = Mapping[str, "tuple[str, bool]"]  # as in OutOfService


@dataclass(frozen=True)
class Options:
    """The checked options. ``given``: name -> how it is to be in service. ``root``: on Linux only root mounts."""

    names: tuple[str, ...]
    state: str
    given: Mapping[str, OutOfService] = field(default_factory=dict)
    root: bool = True

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Options:
        """From the module's parameters. Raises BadInput."""
        check_unique(params["name"], "name")
        names = tuple(sorted(str(DatasetName.parse(name)) for name in params["name"]))
        given = {each["name"]: _given(each) for each in params.get("settings") or []}
        if given and params["state"] == OUT:
            raise BadInput(f"settings cannot be combined with state={OUT}; leave it out")
        strange = sorted(given.keys() - {*names})
        if strange:
            raise BadInput(f"settings has {listing(strange)}, which is not in name; add it there, or leave it out")
        return cls(names, params["state"], given, os.geteuid() == 0)


def _given(each: Mapping[str, Any]) -> OutOfService:
    local = {*(each.get("local") or [])}
    found = {name: str(each[name]) for name in OutOfService.SETTINGS if each.get(name) is not None}
    texts = {"True": "on", "False": "off"}  # a template turns YAML's on and off into these
    settings = {name: (texts.get(text, text), name in local) for name, text in found.items()}
    return OutOfService(settings, each.get("mounted") is not False)


def main(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The result of the module."""
    options, backend = Options.from_params(params), Backend()
    found, plan = _read(backend, options)
    if plan.changed and not check_mode:
        execute(backend, plan)
        done = {each.name for each in found if OutOfService.NAME in each.ours}
        found, left = _read(backend, options, done)
        if left.changed:
            raise CerssError(
                f"a second reading finds that {'; '.join(shortened(left.actions))} is left to do; find out what else "
                "changes it, and run the task again",
                actions=plan.actions, changed=True,
            )  # fmt: skip
    return {**plan.to_result(), "datasets": [shown(each) for each in found]}


def _read(backend: Backend, options: Options, done: Collection[str] = ()) -> tuple[list[Dataset], Plan]:
    """The datasets, parents first, and what to do. ``done``: had the mark that they are out of service before."""
    there = inventory.read_things(backend, options.names).datasets
    missing = [name for name in options.names if name not in there]
    if missing:
        raise Refused(f"there is no dataset {listing(missing)}; check name (zfs list shows all datasets)")
    found = [there[name] for name in options.names]
    if options.state == OUT:
        return found, plan_out(found)
    plan, places = plan_in([each for each in found if each.name not in done or OutOfService.NAME in each.ours], options)
    if places:
        check_places(places, mounts(backend), options.names)
    return found, plan


def mounts(backend: Backend) -> dict[str, str]:
    """Mountpoint -> the filesystem that is mounted there. One process."""
    lines, _missing = backend.read(zfs.list_([], "filesystem", ("mounted", "name", "mountpoint")))
    return {row[2]: row[1] for row in output.rows(lines) if len(row) == 3 and row[0] == "yes"}


def shown(dataset: Dataset) -> dict[str, Any]:
    """The dataset for the result: how it is in service, now or, if it is out of service, when it is put back."""
    mark = OutOfService.of(dataset.ours)
    resting = mark if isinstance(mark, OutOfService) else None
    serving = resting or current(dataset)
    return {
        "name": dataset.name,
        "type": dataset.type,
        "in_service": mark is None and not dataset.is_replica,
        "readonly": _text(dataset, "readonly") == "on",
        "settings": {
            "name": dataset.name,
            **{name: serving.settings[name][0] if name in serving.settings else None for name in OutOfService.SETTINGS},
            "mounted": serving.mounted,
            "local": [name for name in OutOfService.SETTINGS if serving.settings.get(name, ("", False))[1]],
        },
    }


def current(dataset: Dataset) -> OutOfService:
    """How the dataset is now."""
    there = {name: dataset.values[name] for name in OutOfService.SETTINGS if _has(dataset, name)}
    settings = {name: (value.text, value.is_set) for name, value in there.items()}
    return OutOfService(settings, mounting.is_mounted(dataset) is True)


def _has(dataset: Dataset, name: str) -> bool:
    return name in dataset.values and not (name != "readonly" and dataset.type == "volume")


def _text(dataset: Dataset, name: str) -> str | None:
    return dataset.values[name].text if name in dataset.values else None


# -- out of service --------------------------------------------------------------------------------------------------


def plan_out(found: Sequence[Dataset]) -> Plan:
    """Make the datasets read-only, remember how they were, and unmount them, the lowest ones first.

    ``found``: parents before children. A replica that was never in service stays as it is.
    """
    plan = Plan()
    resting = [each for each in found if OutOfService.NAME in each.ours or not each.is_replica]
    for dataset in resting:
        _plan_rest(plan, dataset)
    plan.steps += [mounting.unmount(each.name) for each in reversed(resting) if mounting.is_mounted(each)]
    return plan


def _plan_rest(plan: Plan, dataset: Dataset) -> None:
    """One command sets the mark and the rest, so a run that is killed never leaves a dataset that was changed only."""
    changed = {} if _text(dataset, "readonly") == "on" else {"readonly": "on"}
    changed.update({"canmount": "noauto"} if _has(dataset, "canmount") and _text(dataset, "canmount") == "on" else {})
    is_new = OutOfService.NAME not in dataset.ours
    if not (is_new or changed):
        return
    mark = {OutOfService.NAME: current(dataset).format()} if is_new else {}
    plan.add(
        f"take {dataset.name} out of service" if is_new else f"set {properties.listed(changed)} on {dataset.name}",
        zfs.set_({**mark, **changed}, [dataset.name]),
        before={dataset.name: {"in_service": is_new, **{name: _text(dataset, name) for name in changed}}},
        after={dataset.name: {"in_service": False, **changed}},
    )


# -- in service ------------------------------------------------------------------------------------------------------


def plan_in(found: Sequence[Dataset], options: Options) -> tuple[Plan, dict[str, str]]:
    """(plan, mountpoint -> filesystem to mount there) that makes the datasets writable and mounts them.

    ``found``: parents before children. The mark that they are out of service goes last, so that a run that is killed is
    continued by the next one. Raises Refused for what cannot serve.
    """
    plan, places, mounted = Plan(), dict[str, str](), dict[str, str]()
    for dataset in found:
        _check_may_serve(dataset)
        above = places.get(dataset.name.rpartition("/")[0])
        wanted = serving(dataset, options.given.get(dataset.name))
        setting = _plan_settings(plan, dataset, wanted.settings, above is None)
        place = places[dataset.name] = _place(dataset, setting, above)
        on = setting.get("canmount", _text(dataset, "canmount")) == "on"
        if wanted.mounted and on and place.startswith("/") and options.root and not mounting.is_mounted(dataset):
            if dataset.get("keystatus") == "unavailable":
                raise Refused(
                    f"{dataset.name} cannot be mounted: its key is not loaded; load it first (zfs_dataset with "
                    "key=loaded)"
                )
            plan.steps.append(mounting.mount(dataset.name))
            mounted[place] = dataset.name
    for dataset in found:
        if OutOfService.NAME in dataset.ours:
            plan.add(
                f"put {dataset.name} into service", zfs.inherit(OutOfService.NAME, [dataset.name]),
                before={dataset.name: {"in_service": False}}, after={dataset.name: {"in_service": True}},
            )  # fmt: skip
    return plan, mounted


def _check_may_serve(dataset: Dataset) -> None:
    if dataset.is_replica:
        raise Refused(
            f"{dataset.name} cannot be put into service: it is {' and '.join(dataset.relationships())}, and what is "
            "written to it would stop its replication; release it first (zfs_replication with state=released)"
        )
    if isinstance(OutOfService.of(dataset.ours), Spoilt):
        raise Refused(
            f"{dataset.name} has a property {OutOfService.NAME} that cannot be read, so it is not known how it was in "
            f"service; remove it (zfs inherit {OutOfService.NAME} {dataset.name}) and set its properties by hand"
        )


def serving(dataset: Dataset, given: OutOfService | None) -> OutOfService:
    """How the dataset is to be in service: as it was or, if it has never been in service, as ``given`` says.

    Without that a released replica is made writable, and mounted where it lies. One that is writable has got its
    settings already. Any other dataset without a mark is in service, and stays as it is.
    """
    mark = OutOfService.of(dataset.ours)
    if isinstance(mark, OutOfService):
        return mark
    if dataset.source_mark is None:
        return OutOfService({})
    settings = {name: each for name, each in (given.settings if given else {}).items() if _has(dataset, name)}
    for name, text in _RESTING.items():
        if name not in settings and _has(dataset, name) and _text(dataset, name) == text:
            settings[name] = (_SERVING[name], True)
    is_new = _text(dataset, "readonly") == "on"
    return OutOfService(settings if is_new else {}, given is None or given.mounted)


def _plan_settings(plan: Plan, dataset: Dataset, settings: Settings, top: bool) -> dict[str, str]:
    """Set and unset what is not so yet. Returns what is set.

    ``top``: its parent is not put into service with it, so the mountpoint that it is to inherit is set instead.
    """
    mark = OutOfService.of(dataset.ours)
    former = mark.settings if isinstance(mark, OutOfService) else {}
    setting, unsetting = dict[str, str](), list[str]()
    for name, (text, local) in settings.items():
        value = dataset.values[name]
        if not local and former.get(name) == (text, False) and name != "canmount":  # which is never inherited
            unsetting += [name] if value.is_set else []
        elif value.text != text and (local or top or name != "mountpoint"):
            setting[name] = text
    plan.steps += properties.planned(dataset.name, dataset.values, setting, unsetting).steps
    return setting


def _place(dataset: Dataset, setting: Mapping[str, str], above: str | None) -> str:
    """The mountpoint that the dataset will have. ``above``: that of its parent if this is put into service too."""
    value = dataset.values.get("mountpoint", Value(""))
    if "mountpoint" in setting or value.is_set or above is None or not above.startswith("/"):
        return setting.get("mountpoint", value.text)
    return f"{above.rstrip('/')}/{dataset.name.rpartition('/')[2]}"


def check_places(places: Mapping[str, str], mounted: Mapping[str, str], names: Sequence[str]) -> None:
    """Raise Refused if another filesystem is mounted where one is to be mounted, which it would hide.

    ``places`` and ``mounted``: mountpoint -> filesystem. ``names``: those that are put into service.
    """
    for place, name in places.items():
        other = mounted.get(place)
        if other is not None and other not in names:
            raise Refused(
                f"{name} cannot be mounted on {place}: {other} is mounted there; unmount it, or set another mountpoint"
            )
