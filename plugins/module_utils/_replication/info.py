# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zfs_replication_info: reads the relationships of one backend. What they tell is in `health`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import LastHold, SourceMark, TemporaryMark, is_ours
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Bookmark, Dataset, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory, runfiles, values
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import read_receiving
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.inventory import Inventory
from ansible_collections.cerss.zfs.plugins.module_utils._replication.health import (
    Limits,
    Moment,
    as_source,
    ids,
    last_replicated,
    recorded,
    relationships,
)
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import listed, txg, with_hold

_DATASET = ("written", "used", "usedbydataset", "usedbysnapshots", "receive_resume_token")
_SNAPSHOT = ("creation", "written", "userrefs", "defer_destroy")


@dataclass(frozen=True)
class Options:
    """The checked options. ``names``: None for all datasets."""

    names: tuple[str, ...] | None
    recursive: bool
    limits: Limits

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Options:
        """From the module's parameters. Raises BadInput."""
        names = params.get("name")
        return cls(
            names=None if names is None else tuple(str(DatasetName.parse(text)) for text in names),
            recursive=bool(params.get("recursive")),
            limits=Limits.from_params(params),
        )


def main(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:  # pylint: disable=unused-argument
    """The result of the module.

    At most seven zfs processes for some thousand datasets. Two more if the newest snapshot of a replica is not the last
    received one, and three more if a named dataset has no relationship. One grep(1) if no dataset is named.
    """
    options = Options.from_params(params)
    if options.names == ():
        return {"changed": False, "replications": []}
    backend, warnings = Backend(), dict[str, str]()
    depth = None if options.recursive else 1
    everything, missing, suspended = inventory.read_answering(backend, options.names or (), depth)
    found = dict(everything)
    look(backend, found, warnings)
    receiving = read_receiving(backend)
    active = {name: receiving.is_active(name) for name in found}
    told = relationships(found, Moment(time.time(), running(), active, options.limits))
    quiet = [name for name in options.names or () if name not in found and name in everything]
    errors = [f"{', '.join(missing)} does not exist; check the name"] if missing else []
    texts = [*warnings.values(), *_spoilt(found)]
    (errors if options.names else texts).extend(inventory.left_out(pool, "relationships") for pool in suspended)
    if not options.recursive:
        texts += _below(backend, [name for name in quiet if everything[name].children], told)
    return {
        "changed": False,
        "replications": told,
        **({"failed": True, "msg": "; ".join(errors)} if errors else {}),
        **({"warnings": texts} if texts else {}),
    }


def running() -> dict[str, dict[str, Any]]:
    """The run files of transfers on this host, by relationship id."""
    return {str(run["id"]): run for run in runfiles.running() if run.get("operation") == "send" and "id" in run}


def _spoilt(found: Inventory) -> list[str]:
    return [
        f"{name} has a property {mark} that cannot be read, so relationships may be missing here; zfs_replication with "
        "state=present writes it anew"
        for name, dataset in sorted(found.items()) for mark in dataset.spoilt()
    ]  # fmt: skip


def _below(backend: Backend, names: list[str], told: Iterable[Mapping[str, Any]]) -> list[str]:
    """A warning for each dataset that has relationships only below it. An empty answer looks as if all were well."""
    if not names:
        return []
    tree, _missing = inventory.read(backend, names, None, "filesystem,volume")
    _read_marks(backend, tree, {})
    known = {each[role] for each in told for role in ("source", "target")}
    marked = [each for each in tree.values() if _is_related(each) and each.name not in known]
    result = []
    for name in names:
        below = [each for each in marked if each.name.startswith(f"{name}/")]
        if below:
            result.append(
                f"{name} itself has no relationship, but there are some below it ({listed(below, 3)}), which are "
                "missing here; set recursive=true to read them"
            )
    return result


# -- reading ---------------------------------------------------------------------------------------------------------


def look(backend: Backend, found: Inventory, spoilt: dict[str, str] | None = None) -> None:
    """Read marks, holds and sizes into ``found``, and remove datasets that have no relationship or cannot be read.

    Of a history only the part is read that `health` needs. ``spoilt``: see `inventory.read_values`.
    """
    _read_marks(backend, found, spoilt)
    for name, dataset in list(found.items()):
        if not _is_related(dataset) or name in (spoilt or ()):
            del found[name]
    inventory.read_values(backend, found, sorted(found), _DATASET, spoilt=spoilt)
    known = recorded(found)
    recent = [snap for dataset in found.values() for snap in _recent(dataset, known)]
    cursors = [last.name for dataset in found.values() for last in _bookmarked(dataset, known)]
    inventory.read_values(backend, found, [*(snap.name for snap in recent), *cursors], _SNAPSHOT, spoilt=spoilt)
    behind = [snap.name for dataset in found.values() for snap in _behind(dataset, known)]
    inventory.read_values(backend, found, behind, (TemporaryMark.NAME,), spoilt=spoilt)
    inventory.read_holds(backend, [snap for snap in recent if snap.userrefs])
    earlier = [snap for dataset in found.values() if _lacks_hold(dataset) for snap in dataset.snapshots[:-1]]
    inventory.read_values(backend, found, [snap.name for snap in earlier], _SNAPSHOT, spoilt=spoilt)
    inventory.read_holds(backend, [snap for snap in earlier if snap.userrefs])


def look_everywhere(backend: Backend, found: Inventory) -> None:
    """Read marks, and the holds and values of all snapshots, into ``found``."""
    _read_marks(backend, found)
    inventory.read_values(backend, found, sorted(found), _DATASET)
    snapshots = [snap for dataset in found.values() for snap in dataset.snapshots]
    cursors = [bookmark.name for dataset in found.values() for _cursor, bookmark in dataset.cursors()]
    names = [*(snap.name for snap in snapshots), *cursors]
    inventory.read_values(backend, found, names, (*_SNAPSHOT, "clones", TemporaryMark.NAME))
    inventory.read_holds(backend, snapshots)


def _read_marks(backend: Backend, found: Inventory, spoilt: dict[str, str] | None = None) -> None:
    """Read our properties that are set on the datasets. Two processes, one if there are none."""
    # The names of the records end in the GUID of a pool, so they are not known beforehand.
    existing = values.property_names(backend, sorted(found), set_only=True)
    own = {name: {*filter(is_ours, names)} for name, names in existing.items()}
    marked = sorted(name for name, names in own.items() if names)
    if marked:
        inventory.read_values(backend, found, marked, sorted(set[str]().union(*own.values())), spoilt=spoilt)


def _is_related(dataset: Dataset) -> bool:
    return bool(ids(dataset) or SourceMark.NAME in dataset.ours or dataset.spoilt())


def _recent(dataset: Dataset, known: set[str]) -> list[Snapshot]:
    """The snapshots that can be behind or have a hold of ours. ``known``: as for `as_source`.

    On a source those since the oldest commit point. While nothing has been replicated, those since the oldest cursor,
    which is made before its snapshot is held. On a replica the newest one.
    """
    points = dataset.commit_points()
    starts = [points[id_].createtxg for id_ in as_source(dataset, known) if id_ in points]
    starts += [txg(each) for id_ in as_source(dataset, known) if id_ not in points for each in dataset.cursors_of(id_)]
    found = _since(dataset, min(starts)) if starts else []
    return found or (dataset.snapshots[-1:] if SourceMark.NAME in dataset.ours else [])


def _since(dataset: Dataset, start: int) -> list[Snapshot]:
    return [snap for snap in dataset.snapshots if txg(snap) >= start]


def _behind(dataset: Dataset, known: set[str]) -> list[Snapshot]:
    """The snapshots that one of its replicas does not have."""
    points = dataset.commit_points()
    starts = [points[id_].createtxg + 1 for id_ in as_source(dataset, known) if id_ in points]
    return _since(dataset, min(starts)) if starts else []


def _bookmarked(dataset: Dataset, known: set[str]) -> list[Bookmark]:
    """The cursors of commit points whose snapshot is gone."""
    found = [last_replicated(dataset, id_) for id_ in as_source(dataset, known)]
    return [last for last in found if isinstance(last, Bookmark)]


def _lacks_hold(dataset: Dataset) -> bool:
    """True for a replica on which the last received snapshot has not been found yet."""
    mark = dataset.source_mark
    return mark is not None and not mark.put_aside and not with_hold(dataset, LastHold.TAG)
