# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of zfs_snapshot, and the shape of its result."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import model, units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import LifetimeMark, Spoilt, TemporaryMark
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import (
    DatasetName,
    SnapshotName,
    check_hold_tag,
    check_patterns,
    check_unique,
    shortened,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan
from ansible_collections.cerss.zfs.plugins.module_utils._core.template import Template
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.selection import Selection
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.hooks import Command
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import properties as zfs_properties

_PRESENT_ONLY = ("properties", "holds", "purge_holds", "temporary", "expires", "min_age", "match", "before", "after")
NEVER = "never"  # of the option expires


@dataclass(frozen=True)
class Options:
    """The checked options. ``lifetime`` and ``min_age`` in seconds; ``wait`` in seconds, for pending deletions.

    ``names``: the snapshots in ``name``, or of the datasets in it. ``everywhere``: the part after the @ if ``name`` is
    not given. ``unlimited``: an existing lifetime is removed.
    """

    names: list[SnapshotName]
    selection: Selection = field(default_factory=lambda: Selection(()))
    everywhere: str = ""
    properties: Mapping[str, str | None] = field(default_factory=dict)
    holds: list[str] = field(default_factory=list)
    purge_holds: bool = False
    temporary: bool | None = None
    lifetime: int | None = None
    unlimited: bool = False
    min_age: int | None = None
    match: tuple[str, ...] = ()
    before: list[Command] = field(default_factory=list)
    after: list[Command] = field(default_factory=list)
    on_dependents: str = "defer"
    on_replica: str = "refuse"
    wait: float = 0

    @classmethod
    def from_params(cls, params: Mapping[str, Any], now: float) -> Options:
        """Raises BadInput for what is wrong whatever the pools contain. ``now``: what a template makes names of."""
        template = Template.parse(params["snapshot"], "snapshot") if params["snapshot"] else None
        made = template.name(now, params["utc"]) if template else ""
        wait = units.duration(params["wait"], "wait")
        _check_combinations(params, template, wait)
        names = _names(params["name"] or [], made)
        holds = [check_hold_tag(tag) for tag in params["holds"] or []]
        check_unique(holds, "holds")
        roots = None if params["name"] is None else [str(name.dataset) for name in names]
        return cls(
            names=names,
            selection=Selection.from_params(params, roots),
            everywhere=made if params["name"] is None else "",
            properties=zfs_properties.requested(params["properties"], user_only=True),
            holds=holds,
            purge_holds=params["purge_holds"],
            temporary=params["temporary"],
            lifetime=_lifetime(params["expires"]),
            unlimited=params["expires"] == NEVER,
            min_age=None if params["min_age"] is None else units.duration(params["min_age"], "min_age"),
            match=_match(params, template),
            before=Command.from_params(params["before"], "before"),
            after=Command.from_params(params["after"], "after"),
            on_dependents=params["on_dependents"],
            on_replica=params["on_replica"],
            wait=wait,
        )

    @property
    def named(self) -> set[str]:
        """Full names of the snapshots that the user has asked for one by one."""
        return set() if self.selection.selector else {str(name) for name in self.names}

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
        ours = {TemporaryMark.NAME: self.temporary is False, LifetimeMark.NAME: self.unlimited}
        unset = [name for name, value in self.properties.items() if value is None]
        return unset + [name for name, removed in ours.items() if removed]


def _check_combinations(params: Mapping[str, Any], template: Template | None, wait: int) -> None:
    if params["name"] is None and not params["select"]:
        raise BadInput(
            "name is not given; give snapshots as pool/dataset@snapshot, or datasets together with the option snapshot"
        )
    if params["name"] is None and not template:
        raise BadInput("select without name needs snapshot, the name of the snapshots; give it")
    if params["state"] == "absent":
        _check_absent(params, template)
    elif params["on_dependents"] != "defer" or wait:
        raise BadInput("on_dependents and wait cannot be combined with state=present; leave them out")
    if params["purge_holds"] and params["holds"] is None:
        raise BadInput("purge_holds needs holds, the tags to keep; give an empty list to release all other holds")


def _check_absent(params: Mapping[str, Any], template: Template | None) -> None:
    useless = [option for option in _PRESENT_ONLY if params[option] not in (None, False, [], {})]
    useless += ["on_replica"] if params["on_replica"] != "refuse" else []
    if useless:
        raise BadInput(f"{', '.join(useless)} cannot be combined with state=absent; leave it out")
    if template and template.has_directives:
        raise BadInput(
            f"snapshot: {template.text!r} would only name the snapshots of this moment, so it cannot be combined with "
            "state=absent; give the whole name, or delete by age with zfs_snapshot_prune"
        )


def _names(given: list[str], made: str) -> list[SnapshotName]:
    """The option ``name``. ``made``: the name of the snapshots if these are datasets, otherwise empty."""
    check_unique(given, "name")
    if made:
        return [SnapshotName.parse(f"{DatasetName.parse(name)}@{made}") for name in given]
    bare = [name for name in given if name and "@" not in name]
    if bare:
        raise BadInput(
            f"{bare[0]!r} names no snapshot; give it as pool/dataset@snapshot, or the part after the @ in the option "
            "snapshot"
        )
    return [SnapshotName.parse(name) for name in given]


def _match(params: Mapping[str, Any], template: Template | None) -> tuple[str, ...]:
    """Which snapshots ``min_age`` is about; without the option ``match`` those that the template can make."""
    given = check_patterns(params["match"], "match")
    if params["min_age"] is None and given:
        raise BadInput("match needs min_age, which it says the snapshots of; give both")
    if params["min_age"] is None or given:
        return given
    if template and template.has_directives:
        return (template.pattern(),)
    raise BadInput(
        "min_age needs match, which says which snapshots it is about; give both, or a template such as "
        "hourly-%Y-%m-%d_%H-%M in snapshot"
    )


def _lifetime(expires: str | None) -> int | None:
    if expires in (None, NEVER):
        return None
    lifetime = units.duration(expires or "", "expires")
    if not lifetime:
        raise BadInput("expires is 0, so the snapshot would expire at its creation; give a duration such as 2h or 7d")
    if isinstance(LifetimeMark.parse(LifetimeMark(lifetime).format()), Spoilt):
        raise BadInput(f"expires is {expires}, longer than ZFS snapshots can exist; give a shorter duration")
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


def snapshots_of(options: Options, backend: Backend, found: Collection[str]) -> tuple[list[str], list[str]]:
    """(full names of the requested snapshots, warnings). ``found``: the datasets that exist, perhaps with others.

    Named ones need not be among these, unless ``select`` is given. With ``recursive`` and ``select`` the snapshots of
    that name below the named datasets are included.
    """
    selection = options.selection
    reached = [name for name in (found if selection.deep else datasets_of(options)) if selection.covers(name)]
    chosen, warnings = selection.choose(backend, reached)
    if selection.selector and not chosen:
        name, value = selection.selector
        warnings.append(f"no dataset has {name}={value}, so there is nothing to do; check select")
    return expanded(options, chosen), warnings


def expanded(options: Options, chosen: Sequence[str]) -> list[str]:
    """Full names of the snapshots of the chosen datasets, in the order of ``name``."""
    if options.everywhere:
        return [f"{dataset}@{options.everywhere}" for dataset in chosen]
    within: dict[str, list[str]] = {root: [] for root in datasets_of(options)}
    for dataset in chosen:
        above = map(str, DatasetName(dataset).ancestors()) if options.selection.deep else ()
        for root in within.keys() & {dataset, *above}:
            within[root].append(dataset)
    names = (f"{dataset}@{name.snapshot}" for name in options.names for dataset in within[str(name.dataset)])
    return list(dict.fromkeys(names))
