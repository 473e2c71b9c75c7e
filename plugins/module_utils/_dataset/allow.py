# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zfs_allow."""

from __future__ import annotations

import grp
import pwd
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, CerssError, NotFound, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName, check_unique
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan
from ansible_collections.cerss.zfs.plugins.module_utils._dataset import items
from ansible_collections.cerss.zfs.plugins.module_utils._dataset.items import Item
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import output

# ZFS keeps two lists, one for the dataset and one for everything below it. It shows what is in both as
# "Local+Descendent".
LOCAL, BELOW = "local", "descendents"
REACHES = {"both": (LOCAL, BELOW), LOCAL: (LOCAL,), BELOW: (BELOW,)}
_SECTIONS = {
    "Local permissions:": "local",
    "Descendent permissions:": "descendents",
    "Local+Descendent permissions:": "both",
}
_FLAGS = {"both": "", LOCAL: "-l", BELOW: "-d"}
_PLACES = {"both": "on {0} and below", LOCAL: "on {0} itself", BELOW: "below {0}"}
_PERMISSION = re.compile(r"@?[a-z0-9][a-z0-9_.:\-]*\Z")

Permissions = dict[str, set[str]]  # LOCAL and BELOW -> names
_NOTHING: Permissions = {LOCAL: set(), BELOW: set()}


@dataclass(frozen=True)
class Grantee:
    """Who has permissions. ``kind``: user, group or everyone, who has no name."""

    kind: str
    name: str = ""

    def __str__(self) -> str:
        return {"user": self.name, "group": f"group {self.name}"}.get(self.kind, self.kind)

    @property
    def who(self) -> list[str]:
        """For `commands.allow`."""
        return ["-e"] if self.kind == "everyone" else [f"-{self.kind[0]}", self.name]

    def check(self) -> None:
        """Raise BadInput for what cannot be a name."""
        if self.kind != "everyone" and not re.match(r"[A-Za-z0-9_.][A-Za-z0-9_.@\\\-]*\$?\Z", self.name):
            raise BadInput(f"{self.kind} is {self.name!r}, which cannot be a {self.kind}; give a name or a number")

    def entries(self) -> set[str]:
        """How ``zfs allow`` may show it; empty if there is no user or group of that name.

        A number is valid without a user, since permissions outlive the user who had them.
        """
        if self.kind == "everyone":
            return {self.kind}
        try:
            name = _user(self.name) if self.kind == "user" else _group(self.name)
        except KeyError:
            return {f"{self.kind} (unknown: {self.name})"} if self.name.isdigit() else set()
        return {f"{self.kind} {name}"}


def _user(name: str) -> str:
    return (pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)).pw_name


def _group(name: str) -> str:
    return (grp.getgrgid(int(name)) if name.isdigit() else grp.getgrnam(name)).gr_name


@dataclass(frozen=True)
class Options:
    """The checked options. ``reach``: a key of REACHES."""

    dataset: DatasetName
    grantees: tuple[Grantee, ...]
    permissions: frozenset[str]
    reach: str
    exclusive: bool
    present: bool

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Options:
        permissions, present = params["permissions"] or [], params["state"] == "present"
        if not present and permissions:
            raise BadInput("permissions cannot be combined with state=absent, which removes all of them; leave it out")
        if not present and not params["exclusive"]:
            raise BadInput("exclusive=false cannot be combined with state=absent, which adds nothing; leave it out")
        if present and not permissions:
            raise BadInput("permissions is empty; list what they must have, or remove everything with state=absent")
        for permission in permissions:
            if not _PERMISSION.match(permission):
                raise BadInput(f"permissions: {permission!r} is not the name of a permission; see zfs-allow(8)")
        return cls(
            dataset=DatasetName.parse(params["name"]),
            grantees=_grantees(params),
            permissions=frozenset(permissions),
            reach=params["reach"],
            exclusive=params["exclusive"],
            present=present,
        )


def _grantees(params: Mapping[str, Any]) -> tuple[Grantee, ...]:
    users, groups = params["users"], params["groups"]
    if users is None and groups is None and not params["everyone"]:
        raise BadInput("nobody is named; give users, groups or everyone")
    check_unique(users or [], "users")
    check_unique(groups or [], "groups")
    named = [Grantee(kind, name) for kind, names in (("user", users), ("group", groups)) for name in names or []]
    return (*named, *([Grantee("everyone")] if params["everyone"] else []))


@dataclass
class Task:
    """A grantee with what it has, and what it will have."""

    grantee: Grantee
    item: Item
    current: Permissions
    requested: Permissions

    def to_result(self) -> dict[str, Any]:
        permissions = _shown(self.current if self.item.error else self.requested)
        name = self.grantee.name or None
        return {"kind": self.grantee.kind, "name": name, "permissions": permissions, **self.item.to_result()}


def main(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    options, backend = Options.from_params(params), Backend()
    tasks = _tasks(backend, options)
    for task in tasks:
        task.item.plan = plan_allow(options, task.grantee, task.current) if not task.item.error else Plan()
    if not check_mode and any(task.item.plan.changed for task in tasks):
        items.carry_out_all(backend, [task.item for task in tasks])
        lines = _read(backend, options)
        for task in tasks:
            task.current = parse(lines, str(options.dataset), task.grantee.entries())
            task.item.check(partial(_verify, options, task))
    told = [task.to_result() for task in tasks]
    first = told[0]["permissions"] if told else _shown(_NOTHING)
    return {**items.result([task.item for task in tasks]), "permissions": first, "grantees": told}


def _tasks(backend: Backend, options: Options) -> list[Task]:
    """What each grantee has. It has failed if its name cannot be used; Refused if the dataset is missing."""
    tasks = [Task(grantee, Item(str(grantee)), _NOTHING, _NOTHING) for grantee in options.grantees]
    for task in tasks:
        task.item.check(task.grantee.check)
    lines = _read(backend, options) if any(not task.item.error for task in tasks) else []
    for task in tasks:
        task.current = parse(lines, str(options.dataset), task.grantee.entries())
        task.requested = after(options, task.current)
        if options.present:
            task.item.check(partial(_check_exists, task.grantee))
    if options.present and any(not task.item.error for task in tasks):
        _check_known(backend, options)
    return tasks


def _check_exists(grantee: Grantee) -> None:
    if not grantee.entries():
        kind = grantee.kind
        raise Refused(f"there is no {kind} {grantee.name} on this host; check the name, or create the {kind} first")


def _read(backend: Backend, options: Options) -> list[str]:
    """What ``zfs allow`` prints; nothing for a dataset that need not exist."""
    try:
        return backend.run(zfs.allowed(str(options.dataset))).stdout.split("\n")
    except NotFound as error:
        if not options.present:
            return []
        raise Refused(
            f"there is no dataset {options.dataset}; check the name, or create it first (zfs_dataset)"
        ) from error


def _verify(options: Options, task: Task) -> None:
    if task.current != task.requested:
        raise CerssError(
            f"ZFS reported no error, but the permissions of {task.grantee} on {options.dataset} are "
            f"{_shown(task.current)}; another process may have changed them, so run the task again"
        )


def _check_known(backend: Backend, options: Options) -> None:
    """BadInput for a permission that this version of ZFS does not know, in check mode too."""
    known = supported(backend.run(zfs.permissions(), check=False).stderr.splitlines())
    # The table does not list permissions narrower than a subcommand, such as receive:append (seen on 2.3.9).
    unknown = sorted(name for name in options.permissions - known if not name.startswith("@") and ":" not in name)
    if known and unknown:
        raise BadInput(f"permissions: this version of ZFS does not know {', '.join(unknown)}; leave it out")


def supported(lines: Iterable[str]) -> set[str]:
    """The permissions in the table at the end of the usage message of ``zfs allow``, given as its lines."""
    found: set[str] = set()
    table = False
    for line in lines:
        columns = line.split()
        if columns[:2] == ["NAME", "TYPE"]:
            table = True
        elif table and not line.startswith("\t") and columns[1:2] in (["subcommand"], ["property"], ["other"]):
            found.add(columns[0])
    return found


def parse(lines: Iterable[str], dataset: str, entries: Iterable[str]) -> Permissions:
    """The permissions of a grantee on one dataset, from the lines of ``zfs allow DATASET``.

    ``entries``: see `Grantee.entries`.
    """
    found: Permissions = {LOCAL: set(), BELOW: set()}
    holders = {*entries}
    for section, text in output.allowed(lines, dataset):
        who, _space, names = text.rpartition(" ")
        if section in _SECTIONS and who in holders:
            for reach in REACHES[_SECTIONS[section]]:
                found[reach].update(names.split(","))
    return found


def plan_allow(options: Options, grantee: Grantee, current: Permissions) -> Plan:
    """Allow what is missing, then unallow what is too much; so if allowing fails, nothing is lost."""
    plan = Plan()
    requested = after(options, current)
    added = {reach: requested[reach] - current[reach] for reach in current}
    removed = {reach: current[reach] - requested[reach] for reach in current}
    name, who = str(options.dataset), str(grantee)
    for verb, change, command in (("allow", added, zfs.allow), ("unallow", removed, zfs.unallow)):
        shares = {"both": change[LOCAL] & change[BELOW]}
        shares[LOCAL], shares[BELOW] = change[LOCAL] - shares["both"], change[BELOW] - shares["both"]
        for reach, names in shares.items():
            if names:
                listed = sorted(names)
                plan.add(
                    f"{verb} {who} {','.join(listed)} {_PLACES[reach].format(name)}",
                    command(grantee.who, listed, name, _FLAGS[reach]),
                    before={name: {who: _shown(current)}},
                    after={name: {who: _shown(requested)}},
                )
    return plan


def after(options: Options, current: Permissions) -> Permissions:
    """What a grantee has in the end. Without ``exclusive`` nothing is taken away."""
    managed = REACHES[options.reach]
    return {
        reach: {*options.permissions, *(() if options.exclusive else names)} if reach in managed else {*names}
        for reach, names in current.items()
    }


def _shown(permissions: Permissions) -> dict[str, list[str]]:
    return {reach: sorted(names) for reach, names in permissions.items()}
