# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one host needs so that it has the clones of the distributed version, and no older ones than asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import (
    DatasetName,
    SnapshotName,
    check_patterns,
    matches,
)

PLACEHOLDER = "{snapshot}"


@dataclass(frozen=True)
class Requested:
    """``clones``: names, some with PLACEHOLDER. ``keep``: patterns of clones to leave as they are.

    ``versions``: how many to keep. ``replace``: whether a clone of another version gives way under a fixed name.
    ``match``: patterns of the snapshots that are versions; empty means all.
    """

    clones: Sequence[str]
    keep: Sequence[str] = ()
    versions: int = 1
    replace: bool = False
    match: Sequence[str] = ()


def problems(
    master: Any, replica: Any, clones: Iterable[str], keep: Iterable[str], versions: Any, match: Iterable[str] = ()
) -> list[str]:
    """What is wrong with the variables, a sentence for each."""
    looks: list[tuple[str, Callable[[], object]]] = [
        ("zfs_distribute_snapshot: ", partial(_master, str(master))),
        ("zfs_distribute_replica: ", partial(DatasetName.parse, str(replica))),
        *(("zfs_distribute_clones: ", partial(_clone, name, str(replica))) for name in clones),
        ("", partial(check_patterns, keep, "zfs_distribute_keep")),
        ("", partial(check_patterns, match, "zfs_distribute_match")),
    ]
    found = [told for variable, look in looks for told in _complaint(variable, look)]
    if not str(versions).isdecimal() or int(versions) < 1:
        found.append(f"zfs_distribute_versions: {versions!r} is not a number from 1; give how many versions to keep")
    return found


def _complaint(variable: str, look: Callable[[], object]) -> list[str]:
    try:
        look()
    except BadInput as error:
        return [f"{variable}{error.msg}"]
    return []


def _master(name: str) -> None:
    if "@" in name:
        SnapshotName.parse(name)
    else:
        DatasetName.parse(name)


def _clone(name: str, replica: str) -> None:
    pool = replica.partition("/")[0]
    filled = DatasetName.parse(name.replace(PLACEHOLDER, "v"))
    if filled.pool != pool or filled.parent is None:
        raise BadInput(f"{name} is not below the pool {pool} of the replica {replica}; give the full name of a clone")
    if str(filled) == replica:
        raise BadInput(f"{name} is the replica itself; choose another name")


def plan(requested: Requested, version: str, snapshots: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What to do on the host.

    ``version``: the part after the @ of the distributed snapshot. ``snapshots``: those of the replica, as
    zfs_snapshot_info returns them.

    ``create``: clones that must exist, of which ``there`` exist. ``replace``: clones of other versions that give way to
    one under the same name. ``stay``: clones of other versions under such a name, and why they stay. ``remove``: clones
    of versions that are not kept. ``prune``: the part after the @ of the snapshots of these. ``pending``: those that
    are deleted but still needed. ``pins``: for all these snapshots, what needs them.
    """
    fixed = [name for name in requested.clones if PLACEHOLDER not in name]
    others = sorted(_others(requested, version, snapshots), key=lambda snap: -snap["createtxg"])
    there = [snap["snapshot"] for snap in others if snap["state"] == "full"]
    kept = there[: requested.versions - 1]
    present = next((snap for snap in snapshots if snap["snapshot"] == version), {})
    old = {clone: snap["snapshot"] for snap in others for clone in _clones(snap)}
    outdated = {name: old[name] for name in fixed if name in old}
    stay = {name: why for name, of in outdated.items() if (why := _why(name, of, requested))}
    return {
        "create": [name for name in filled(requested.clones, version) if name not in outdated],
        "there": _clones(present),
        "replace": [name for name in outdated if name not in stay],
        "stay": [{"name": name, "reason": why} for name, why in stay.items()],
        "remove": [
            name for snap in others if snap["snapshot"] not in kept for name in _clones(snap)
            if name in filled(requested.clones, snap["snapshot"]) and name not in fixed
            and not matches(name, requested.keep)
        ],
        "prune": there[requested.versions - 1 :],
        "pending": [snap["snapshot"] for snap in others if snap["state"] == "pending_delete"],
        "pins": {snap["snapshot"]: [*_clones(snap), *_holds(snap)] for snap in others},
    }  # fmt: skip


def _others(requested: Requested, version: str, snapshots: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The snapshots of other versions."""
    patterns = requested.match or ("*",)
    return [snap for snap in snapshots if snap["snapshot"] != version and matches(snap["snapshot"], patterns)]


def filled(clones: Iterable[str], version: str) -> list[str]:
    """The names of the clones of a version, each once.

    >>> filled(["tank/boot-{snapshot}", "tank/data"], "v2")
    ['tank/boot-v2', 'tank/data']
    """
    return list(dict.fromkeys(name.replace(PLACEHOLDER, version) for name in clones))


def _clones(snap: Mapping[str, Any]) -> list[str]:
    return (snap.get("dependents") or {}).get("clones") or []


def _holds(snap: Mapping[str, Any]) -> list[str]:
    """Of others: those of this collection move on with the replication."""
    holds = (snap.get("dependents") or {}).get("holds") or []
    return [f"hold {hold['tag']}" for hold in holds if not hold["ours"]]


def _why(name: str, of: str, requested: Requested) -> str:
    """Why a clone of another version stays; "" if it gives way."""
    if matches(name, requested.keep):
        return f"{name} is a clone of @{of} and in zfs_distribute_keep"
    if not requested.replace:
        return f"{name} is a clone of @{of}; zfs_distribute_replace=true replaces it when it is not in use"
    return ""
