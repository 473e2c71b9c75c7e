# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zfs_allow."""

from __future__ import annotations

import pwd
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, CerssError, NotFound, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.execute import execute
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


@dataclass(frozen=True)
class Options:
    """The checked options. ``reach``: a key of REACHES."""

    dataset: DatasetName
    user: str
    permissions: frozenset[str]
    reach: str

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Options:
        user, permissions = params["user"], params["permissions"] or []
        if not re.match(r"[A-Za-z0-9_.][A-Za-z0-9_.@\\\-]*\$?\Z", user):
            raise BadInput(f"user is {user!r}, which cannot be a user; give a name or a number")
        if params["state"] == "absent" and permissions:
            raise BadInput("permissions cannot be combined with state=absent, which removes all of them; leave it out")
        if params["state"] == "present" and not permissions:
            raise BadInput("permissions is empty; list what the user must have, or remove everything with state=absent")
        for permission in permissions:
            if not _PERMISSION.match(permission):
                raise BadInput(f"permissions: {permission!r} is not the name of a permission; see zfs-allow(8)")
        return cls(DatasetName.parse(params["dataset"]), user, frozenset(permissions), params["reach"])


def main(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    options = Options.from_params(params)
    backend = Backend()
    present = params["state"] == "present"
    names = _names_of(options.user)
    try:
        current = _read(backend, options, names)
    except NotFound as error:
        if present:
            raise Refused(
                f"there is no dataset {options.dataset}; check the name, or create it first (zfs_dataset)"
            ) from error
        current = {LOCAL: set(), BELOW: set()}
    if present and not names:
        raise Refused(f"there is no user {options.user} on this host; check the name, or create the user first")
    if present:
        _check_known(backend, options)
    plan = plan_allow(options, current)
    if check_mode or not plan.changed:
        return {**plan.to_result(), "permissions": _shown(_after(options, current))}
    execute(backend, plan)
    now = _read(backend, options, names)
    if now != _after(options, current):
        raise CerssError(
            f"ZFS reported no error, but the permissions of {options.user} on {options.dataset} are {_shown(now)}; "
            "another process may have changed them, so run the task again"
        )
    return {**plan.to_result(), "permissions": _shown(now)}


def _names_of(user: str) -> set[str]:
    """The names by which ``zfs allow`` may show the user; empty if there is no user of that name.

    A number is valid without a user, since permissions outlive the user who had them.
    """
    try:
        account = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
    except KeyError:
        return {f"(unknown: {user})"} if user.isdigit() else set()
    return {account.pw_name}


def _read(backend: Backend, options: Options, names: set[str]) -> Permissions:
    lines = backend.run(zfs.allowed(str(options.dataset))).stdout.split("\n")
    return parse(lines, str(options.dataset), names)


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


def parse(lines: Iterable[str], dataset: str, users: Iterable[str]) -> Permissions:
    """The permissions of a user on one dataset, from the lines of ``zfs allow DATASET``.

    ``users``: the names by which the user may appear.
    """
    found: Permissions = {LOCAL: set(), BELOW: set()}
    holders = {f"user {user}" for user in users}
    for section, text in output.allowed(lines, dataset):
        who, _space, names = text.rpartition(" ")
        if section in _SECTIONS and who in holders:
            for reach in REACHES[_SECTIONS[section]]:
                found[reach].update(names.split(","))
    return found


def plan_allow(options: Options, current: Permissions) -> Plan:
    """Allow what is missing, then unallow what is too much; so if allowing fails, the user has lost nothing."""
    plan = Plan()
    requested = _after(options, current)
    added = {reach: requested[reach] - current[reach] for reach in current}
    removed = {reach: current[reach] - requested[reach] for reach in current}
    name = str(options.dataset)
    for verb, change, command in (("allow", added, zfs.allow), ("unallow", removed, zfs.unallow)):
        shares = {"both": change[LOCAL] & change[BELOW]}
        shares[LOCAL], shares[BELOW] = change[LOCAL] - shares["both"], change[BELOW] - shares["both"]
        for reach, names in shares.items():
            if names:
                listed = sorted(names)
                plan.add(
                    f"{verb} {options.user} {','.join(listed)} {_PLACES[reach].format(name)}",
                    command(options.user, listed, name, _FLAGS[reach]),
                    before={name: {options.user: _shown(current)}},
                    after={name: {options.user: _shown(requested)}},
                )
    return plan


def _after(options: Options, current: Permissions) -> Permissions:
    managed = REACHES[options.reach]
    return {reach: set(options.permissions) if reach in managed else set(current[reach]) for reach in current}


def _shown(permissions: Permissions) -> dict[str, list[str]]:
    return {reach: sorted(names) for reach, names in permissions.items()}
