# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of zfs_snapshot, and the shape of its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import model, units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import LifetimeMark, Spoilt, TemporaryMark
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import (
    SnapshotName,
    check_hold_tag,
    check_unique,
    shortened,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan
from ansible_collections.cerss.zfs.plugins.module_utils._host.inventory import Inventory
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.hooks import Command
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import properties as zfs_properties

_PRESENT_ONLY = ("properties", "holds", "purge_holds", "temporary", "expires", "min_age", "match", "before", "after")


@dataclass(frozen=True)
class Options:
    """The checked options. ``lifetime`` and ``min_age`` in seconds; ``wait`` in seconds, for pending deletions."""

    names: list[SnapshotName]
    recursive: bool = False
    properties: Mapping[str, str | None] = field(default_factory=dict)
    holds: list[str] = field(default_factory=list)
    purge_holds: bool = False
    temporary: bool | None = None
    lifetime: int | None = None
    min_age: int | None = None
    match: list[str] = field(default_factory=list)
    before: list[Command] = field(default_factory=list)
    after: list[Command] = field(default_factory=list)
    on_dependents: str = "defer"
    on_replica: str = "refuse"
    wait: float = 0

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Options:
        """Raises BadInput for what is wrong whatever the pools contain."""
        check_unique(params["name"], "name")
        names = [SnapshotName.parse(name) for name in params["name"]]
        _check_combinations(params)
        holds = [check_hold_tag(tag) for tag in params["holds"] or []]
        check_unique(holds, "holds")
        return cls(
            names=names,
            recursive=params["recursive"],
            properties=zfs_properties.requested(params["properties"], user_only=True),
            holds=holds,
            purge_holds=params["purge_holds"],
            temporary=params["temporary"],
            lifetime=_lifetime(params),
            min_age=None if params["min_age"] is None else units.duration(params["min_age"], "min_age"),
            match=params["match"] or [],
            before=Command.from_params(params["before"], "before"),
            after=Command.from_params(params["after"], "after"),
            on_dependents=params["on_dependents"],
            on_replica=params["on_replica"],
            wait=params["wait"],
        )

    def settings(self) -> dict[str, str]:
        """The properties that the snapshots must have, our own ones included."""
        settings = {name: value for name, value in self.properties.items() if value is not None}
        if self.temporary:
            settings[TemporaryMark.NAME] = TemporaryMark().format()
        if self.lifetime is not None:
            settings[LifetimeMark.NAME] = LifetimeMark(self.lifetime).format()
        return settings

    def unsettings(self) -> list[str]:
        """Names of the properties that must not be set."""
        ours = [TemporaryMark.NAME, LifetimeMark.NAME] if self.temporary is False else []
        return [name for name, value in self.properties.items() if value is None] + ours


def _check_combinations(params: Mapping[str, Any]) -> None:
    if not params["name"]:
        raise BadInput("name is empty; give at least one snapshot as pool/dataset@snapshot")
    if params["state"] == "absent":
        useless = [option for option in _PRESENT_ONLY if params[option] not in (None, False)]
        useless += ["on_replica"] if params["on_replica"] != "refuse" else []
        if useless:
            raise BadInput(f"{', '.join(useless)} cannot be combined with state=absent; leave it out")
    elif params["on_dependents"] != "defer" or params["wait"]:
        raise BadInput("on_dependents and wait cannot be combined with state=present; leave them out")
    if params["wait"] < 0:
        raise BadInput(f"wait is {params['wait']}; give the seconds to wait, or 0 not to wait")
    if params["purge_holds"] and params["holds"] is None:
        raise BadInput("purge_holds needs holds, the tags to keep; give an empty list to release all other holds")
    if (params["min_age"] is None) != (params["match"] is None):
        raise BadInput("min_age and match need each other: match says which snapshots min_age is about; give both")


def _lifetime(params: Mapping[str, Any]) -> int | None:
    if params["expires"] is None:
        return None
    if not params["temporary"]:
        raise BadInput(
            "expires needs temporary=true, since only temporary snapshots expire; set it, or leave expires out"
        )
    lifetime = units.duration(params["expires"], "expires")
    if not lifetime:
        raise BadInput("expires is 0, so the snapshot would expire at its creation; give a duration such as 2h or 7d")
    if isinstance(LifetimeMark.parse(LifetimeMark(lifetime).format()), Spoilt):
        raise BadInput(f"expires is {params['expires']}, longer than ZFS snapshots can exist; give a shorter duration")
    return lifetime


def result(
    plan: Plan, snapshots: Sequence[Snapshot], failures: Mapping[str, str], busy: Sequence[str] = (),
    problem: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """What the module returns.

    ``failures``: name of a snapshot -> why it failed. ``busy``: names of those that could not be deleted because they
    are in use. ``problem``: what else failed.
    """
    result = {
        **plan.to_result(),
        "snapshots": [
            {**snapshot.to_result(), "failed": snapshot.name in failures, "msg": failures.get(snapshot.name)}
            for snapshot in snapshots
        ],
        "pending": [snapshot.name for snapshot in snapshots if snapshot.state == model.PENDING_DELETE],
        "busy": list(busy),
    }
    if failures or problem:
        reasons = list(dict.fromkeys([*([problem] if problem else []), *failures.values()]))
        result.update(failed=True, msg="; ".join(shortened(reasons)))
    return result


def datasets_of(options: Options) -> list[str]:
    """Names of the datasets that ``name`` mentions."""
    return list(dict.fromkeys(str(name.dataset) for name in options.names))


def expanded(options: Options, found: Inventory) -> list[str]:
    """Full names of the requested snapshots; with ``recursive`` also those of the same name below their datasets."""
    names = [str(name) for name in options.names]
    if options.recursive:
        ordered = sorted(found)
        names = [
            f"{dataset}@{name.snapshot}"
            for name in options.names
            for dataset in ordered
            if name.dataset.covers(dataset)
        ]
    return list(dict.fromkeys(names))
