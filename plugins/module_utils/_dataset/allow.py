# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The verb of zfs_allow: exactly these permissions of a user on a dataset."""

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

# ZFS keeps two lists, one for the dataset and one for all below it; "Local+Descendent" is what current in both.
LOCAL, BELOW = "local", "descendents"
REACHES = {"both": (LOCAL, BELOW), LOCAL: (LOCAL,), BELOW: (BELOW,)}
_SECTIONS = {
    "Local permissions:": "local",
    "Descendent permissions:": "descendents",
    "Local+Descendent permissions:": "both",
}
_FLAGS = {"both": "", LOCAL: "-l", BELOW: "-d"}
_WORDS = {"both": "on {0} and below", LOCAL: "on {0} itself", BELOW: "below {0}"}
_PERMISSION = re.compile(r"@?[a-z0-9][a-z0-9_.:\-]*\Z")

Permissions = dict[str, set[str]]


@dataclass(frozen=True)
class Options:
    """The module's options, checked as far as they can be without asking ZFS."""

    dataset: DatasetName
    user: str
    permissions: frozenset[str]
    reach: str

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Options:
        user, permissions = params["user"], params["permissions"] or []
        if not re.match(r"[A-Za-z0-9_.][A-Za-z0-9_.@\\\-]*\$?\Z", user):
            raise BadInput(f"user is {user!r}, which is not the name or number of a user")
        if params["state"] == "absent" and permissions:
            raise BadInput("permissions cannot be combined with state=absent, which takes all of them; leave it out")
        if params["state"] == "present" and not permissions:
            raise BadInput("permissions is empty; list what the user shall have, or take all away with state=absent")
        for permission in permissions:
            if not _PERMISSION.match(permission):
                raise BadInput(f"permissions: {permission!r} is not the name of a permission (see zfs-allow(8))")
        return cls(DatasetName.parse(params["dataset"]), user, frozenset(permissions), params["reach"])


def main(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """zfs_allow."""
    options = Options.from_params(params)
    backend = Backend()
    present = params["state"] == "present"
    names = _names_of(options.user)
    try:
        current = _read(backend, options, names)
    except NotFound as error:
        if present:
            raise Refused(f"{options.dataset} does not exist; check the name, or create it first") from error
        current = {LOCAL: set(), BELOW: set()}
    if present and not names:
        raise Refused(f"there is no user {options.user} here; create it first")
    if present:
        _check_known(backend, options)
    plan = plan_allow(options, current)
    if check_mode or not plan.changed:
        return {**plan.to_result(), "permissions": _shown(_after(options, current))}
    execute(backend, plan)
    now = _read(backend, options, names)
    if now != _after(options, current):
        raise CerssError(f"the permissions of {options.user} on {options.dataset} are {_shown(now)} after all")
    return {**plan.to_result(), "permissions": _shown(now)}


def _names_of(user: str) -> set[str]:
    """How ``zfs allow`` may show the user; nothing for a name that nobody has. A number may have outlived its user."""
    try:
        account = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
    except KeyError:
        return {f"(unknown: {user})"} if user.isdigit() else set()
    return {account.pw_name}


def _read(backend: Backend, options: Options, names: set[str]) -> Permissions:
    lines = backend.run(zfs.allowed(str(options.dataset))).stdout.split("\n")
    return parse(lines, str(options.dataset), names)


def _check_known(backend: Backend, options: Options) -> None:
    """A permission that this ZFS does not know is an error in check mode too."""
    known = supported(backend.run(zfs.permissions(), check=False).stderr.splitlines())
    # The table does not have what is narrower than a subcommand, as receive:append (seen on 2.3.9).
    unknown = sorted(name for name in options.permissions - known if not name.startswith("@") and ":" not in name)
    if known and unknown:
        raise BadInput(f"permissions: this version of ZFS does not know {', '.join(unknown)}; leave it out there")


# -- pure ------------------------------------------------------------------------------------------------------------


def supported(lines: Iterable[str]) -> set[str]:
    """The names in the table that ends the usage of ``zfs allow``."""
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
    """What ``zfs allow DATASET`` says of a user on that very dataset; it also tells of the datasets above."""
    found: Permissions = {LOCAL: set(), BELOW: set()}
    here, section = False, ""
    head = f"---- Permissions on {dataset} "
    for line in lines:
        if line.startswith("---- Permissions on "):
            here, section = line.startswith(head) and not line[len(head) :].strip("-"), ""
        elif not line.startswith("\t"):
            section = _SECTIONS.get(line, "")
        elif here and section:
            who, _space, names = line[1:].rpartition(" ")
            if who in {f"user {user}" for user in users}:
                for reach in REACHES[section]:
                    found[reach].update(names.split(","))
    return found


def plan_allow(options: Options, current: Permissions) -> Plan:
    """What is missing is given first: an error then leaves what was there."""
    plan = Plan()
    target = _after(options, current)
    given = {reach: target[reach] - current[reach] for reach in current}
    taken = {reach: current[reach] - target[reach] for reach in current}
    name = str(options.dataset)
    for verb, change, command in (("allow", given, zfs.allow), ("unallow", taken, zfs.unallow)):
        shares = {"both": change[LOCAL] & change[BELOW]}
        shares[LOCAL], shares[BELOW] = change[LOCAL] - shares["both"], change[BELOW] - shares["both"]
        for reach, names in shares.items():
            if names:
                listed = sorted(names)
                plan.add(
                    f"{verb} {options.user} {','.join(listed)} {_WORDS[reach].format(name)}",
                    command(options.user, listed, name, _FLAGS[reach]),
                    before={name: {options.user: _shown(current)}},
                    after={name: {options.user: _shown(target)}},
                )
    return plan


def _after(options: Options, current: Permissions) -> Permissions:
    decided = REACHES[options.reach]
    return {reach: set(options.permissions) if reach in decided else set(current[reach]) for reach in current}


def _shown(permissions: Permissions) -> dict[str, list[str]]:
    return {reach: sorted(names) for reach, names in permissions.items()}
