# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zfs_dataset_info."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import is_ours
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Value
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import (
    DatasetName,
    check_patterns,
    check_property,
    check_unique,
    remaining,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.units import iso_time, number
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory, values
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.inventory import Inventory
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import properties as zfs_properties

NATIVE = (
    "type", "creation", "used", "available", "referenced", "usedbysnapshots", "written", "volsize", "mounted",
    "mountpoint", "encryption", "encryptionroot", "keystatus",
)  # fmt: skip
CELLS = 200_000  # values that are read at a time, which bounds the memory: anybody may set thousands of properties


@dataclass(frozen=True)
class Options:
    """The checked options. ``names``: None for all datasets. ``properties``: None for those that are set."""

    names: tuple[DatasetName, ...] | None = None
    recursive: bool = False
    exclude: tuple[str, ...] = ()
    detail: str = "state"
    properties: tuple[str, ...] | None = None
    limit: int | None = None

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Options:
        names, properties, detail, limit = (params[key] for key in ("name", "properties", "detail", "limit"))
        check_unique(names or [], "name")
        if properties is not None and detail != "state":
            why = "does not read them" if detail == "names" else "returns all of them"
            raise BadInput(f"properties cannot be combined with detail={detail}, which {why}; set detail to state")
        for name in properties or []:
            if is_ours(name):
                raise BadInput(f"properties: {name!r} is internal to this collection; use the other keys of the result")
            check_property(name, None)
        if limit is not None and limit < 0:
            raise BadInput(f"limit is {limit}; give the number of datasets to return, or 0 for the total alone")
        return cls(
            names=None if names is None else tuple(map(DatasetName.parse, names)),
            recursive=params["recursive"],
            exclude=check_patterns(params["exclude"], "exclude"),
            detail=detail,
            properties=None if properties is None else tuple(properties),
            limit=limit,
        )


def main(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:  # pylint: disable=unused-argument
    """The result of the module. One zfs process with detail=names, otherwise at most four for most systems."""
    options = Options.from_params(params)
    if options.names == ():
        return {"changed": False, "datasets": [], "total": 0}
    backend = Backend()
    pools = sorted({name.pool for name in options.names or ()})
    found, _absent, suspended = inventory.read_answering(backend, pools, None, "filesystem,volume")
    names = chosen(options, found)
    listed = names if options.limit is None else names[: options.limit]
    clones, spoilt = _clones(found), dict[str, str]()
    if options.detail == "names":
        datasets = [_identity(found[name], clones) for name in listed]
    else:
        datasets = list(_read(backend, options, {name: found[name] for name in listed}, clones, spoilt))
    errors = _missing(options, found, suspended)
    hidden = [] if options.names else [inventory.left_out(pool, "datasets") for pool in suspended]
    warnings = [*spoilt.values(), *hidden]
    return {
        "changed": False,
        "datasets": datasets,
        "total": len(names),
        **({"failed": True, "msg": "; ".join(errors)} if errors else {}),
        **({"warnings": warnings} if warnings else {}),
    }


def _missing(options: Options, found: Inventory, suspended: Sequence[str]) -> list[str]:
    """What is to be said about the named datasets that were not found."""
    absent = [name for name in options.names or () if str(name) not in found]
    errors = [inventory.left_out(pool, "datasets") for pool in sorted({name.pool for name in absent} & {*suspended})]
    unknown = [str(name) for name in absent if name.pool not in suspended]
    if unknown:
        errors.append(f"there is no dataset {', '.join(unknown)}; check name (zfs list shows all datasets)")
    return errors


def chosen(options: Options, found: Inventory) -> list[str]:
    """The datasets of the answer, parents before children. ``found``: all of the pools."""
    roots = options.names
    if roots is None:
        names = list(found)
    elif options.recursive:
        names = [name for name in found if any(root.covers(name) for root in roots)]
    else:
        names = [str(root) for root in roots if str(root) in found]
    return remaining(names, options.exclude)


def _clones(found: Inventory) -> dict[str, list[str]]:
    """Dataset -> clones of its snapshots. The property ``clones`` is cut when it is long, ``origin`` is not."""
    clones: dict[str, list[str]] = {}
    for name, dataset in sorted(found.items()):
        if dataset.origin:
            clones.setdefault(dataset.origin.partition("@")[0], []).append(name)
    return clones


def _identity(dataset: Dataset, clones: Mapping[str, list[str]]) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "guid": dataset.guid,
        "origin": dataset.origin,
        "clones": clones.get(dataset.name, []),
    }


def _read(
    backend: Backend, options: Options, found: Inventory, clones: Mapping[str, list[str]], spoilt: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """The datasets as the result shows them, without those that vanish meanwhile."""
    own = values.property_names(backend, list(found), set_only=options.detail != "full")
    always = frozenset((*NATIVE, *(options.properties or ())))
    for part in chunks(list(found), own, always):
        asked = sorted(always.union(*(own.get(name, ()) for name in part)))
        read = values.read_properties(backend, part, asked)
        spoilt.update(read.spoilt)
        for name in part:
            dataset = found.pop(name)
            for property_name, value in read.values.get(name, {}).items():
                inventory.fill_dataset(dataset, property_name, value.source, value.text)
            if name not in read.missing:
                yield _shown(options, dataset, own.get(name, frozenset()), clones)


def chunks(
    names: Sequence[str], own: Mapping[str, frozenset[str]], always: frozenset[str], most: int = CELLS
) -> Iterator[list[str]]:
    """The names in parts, of which no more than ``most`` values are read at a time, unless a part is one name.

    ``own``: the properties that a name needs. All those of a part are read of each of its names.

    >>> list(chunks(["a", "b", "c"], {"c": frozenset("xyz")}, frozenset("g"), 3))
    [['a', 'b'], ['c']]
    """
    part: list[str] = []
    asked = always
    for name in names:
        asked = asked | own.get(name, frozenset())
        if part and (len(part) + 1) * len(asked) > most:
            yield part
            part, asked = [], always | own.get(name, frozenset())
        part.append(name)
    if part:
        yield part


def _shown(options: Options, dataset: Dataset, own: frozenset[str], clones: Mapping[str, list[str]]) -> dict[str, Any]:
    created = number(dataset.get("creation") or "")
    is_volume = dataset.type == "volume"
    root = dataset.get("encryptionroot")
    properties, sources = _properties(options, dataset, own)
    return {
        **_identity(dataset, clones),
        "type": dataset.type,
        "created": iso_time(created),
        "created_epoch": created,
        "used_bytes": number(dataset.get("used") or ""),
        "available_bytes": number(dataset.get("available") or ""),
        "referenced_bytes": number(dataset.get("referenced") or ""),
        "snapshots_bytes": number(dataset.get("usedbysnapshots") or ""),
        "written_bytes": number(dataset.get("written") or ""),
        "volume_bytes": number(dataset.get("volsize") or ""),
        "mounted": None if is_volume or dataset.type is None else dataset.get("mounted") == "yes",
        "mountpoint": None if is_volume else dataset.get("mountpoint"),
        "encryption": dataset.get("encryption") if dataset.encrypted else None,
        "encryption_root": root,
        "key_loaded": dataset.get("keystatus") == "available" if root else None,
        "replications": _replications(dataset),
        "properties": properties,
        "sources": sources,
    }


def _properties(
    options: Options, dataset: Dataset, own: frozenset[str]
) -> tuple[dict[str, str | None], dict[str, str]]:
    """(values, sources) of the properties that the options ask for. None for one that the dataset does not have."""
    if options.properties is not None:
        names: Sequence[str] = [name for name in options.properties if name in dataset.values]
    elif options.detail == "full":
        names = sorted(own & dataset.values.keys())
    else:
        names = list(zfs_properties.shown(dataset.values))
    found = {name: dataset.values[name] for name in names}
    texts = {name: None if value == Value("-", "-") else value.text for name, value in found.items()}
    return texts, {name: value.source for name, value in found.items()}


def _replications(dataset: Dataset) -> list[dict[str, str]]:
    """The relationships in which it has a part, as `zfs_replication_info` names them."""
    mark = dataset.source_mark
    found = [
        {"id": id_, "role": "source", "source": dataset.name, "target": record.target}
        for id_, record in sorted(dataset.records().items())
    ]
    if mark:
        source = mark.source
        found.append({"id": mark.id, "role": "replica", "source": source, "target": dataset.name})
    return found
