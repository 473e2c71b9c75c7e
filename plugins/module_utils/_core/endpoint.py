# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a command runs: here or over ssh. A command goes in as argv and comes out as argv."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput

LOCAL = "local"
# Non-interactive logins of plain users miss the sbin folders, where most systems keep zfs.
SEARCH_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
ENVIRONMENT = ("env", "LC_ALL=C", f"PATH={SEARCH_PATH}")

# ssh takes the first value it is given, so none of these can be weakened by ssh_options.
_ALWAYS = (
    "BatchMode=yes", "StrictHostKeyChecking=yes", "ConnectTimeout=15", "ServerAliveInterval=10",
    "ServerAliveCountMax=3", "LogLevel=ERROR", "ForwardAgent=no", "ForwardX11=no", "PermitLocalCommand=no",
    "RequestTTY=no", "EscapeChar=none",
)  # fmt: skip
_OURS = {name.partition("=")[0].lower() for name in _ALWAYS} - {"connecttimeout", "serveraliveinterval", "loglevel"}
_OURS |= {"controlmaster", "controlpath", "controlpersist", "userknownhostsfile", "identityfile", "user", "port"}


def line(commands: Iterable[list[str]]) -> str:
    """The programs, joined by pipes, as one line of quoted words for a login shell, or for `_gate`, which knows it."""
    return " | ".join(shlex.join([*ENVIRONMENT, *argv]) for argv in commands)


@dataclass(frozen=True)
class Endpoint:
    """One side of a transfer. ``host`` is None for the machine that this runs on."""

    host: str | None = None
    port: int | None = None
    user: str | None = None
    become: bool = False
    identity_file: str | None = None
    known_hosts_file: str | None = None
    ssh_options: tuple[str, ...] = ()
    control_dir: str | None = None

    @classmethod
    def from_params(cls, options: Mapping[str, Any], option: str) -> Endpoint:
        """From the suboptions of ``target`` or ``source``; BadInput names the option."""
        host = options.get("host")
        if host is not None and (not host or host.startswith("-") or any(char.isspace() for char in host)):
            raise BadInput(f"{option}.host is {host!r}; give a host name or address, or {LOCAL!r} for this machine")
        user = options.get("user")
        if user is not None and (not user or user.startswith("-") or "@" in user or any(c.isspace() for c in user)):
            raise BadInput(f"{option}.user is {user!r}, which is not a user name")
        for text in options.get("ssh_options") or []:
            name, equals, value = text.partition("=")
            if not (name.isalnum() and equals and value):
                raise BadInput(f"{option}.ssh_options: {text!r} is not of the form Name=value (see ssh_config(5))")
            if name.lower() in _OURS:
                raise BadInput(
                    f"{option}.ssh_options: {name} cannot be set here; host keys are always checked, and user, port, "
                    "identity_file and known_hosts_file are options of their own"
                )
        return cls(
            host=None if host in (None, LOCAL) else host,
            port=options.get("port"),
            user=user or None,
            become=bool(options.get("become")),
            identity_file=options.get("identity_file") or None,
            known_hosts_file=options.get("known_hosts_file") or None,
            ssh_options=tuple(options.get("ssh_options") or ()),
        )

    def with_control(self, folder: str) -> Endpoint:
        """The same, its commands sharing one ssh connection whose socket is in ``folder``."""
        return replace(self, control_dir=folder)

    @property
    def label(self) -> str:
        """How messages name the place; empty for here."""
        return self.host or ""

    def address(self, thing: object) -> str:
        """``host:thing``, or just the thing when it is here."""
        return f"{self.host}:{thing}" if self.host else str(thing)

    def seen_from(self, other: Endpoint) -> Endpoint:
        """The same place by a name that means it on the other machine too, where "here" is somewhere else."""
        return replace(self, host=platform.node()) if other.host and not self.host else self

    def argv(self, command: list[str], own_connection: bool = False) -> list[str]:
        """The command as it must be started here in order to run there."""
        return self.pipeline([command], own_connection)[0]

    def pipeline(self, commands: list[list[str]], own_connection: bool = False) -> list[list[str]]:
        """The programs to start here, joined by pipes, in order to run these there, joined by pipes.

        Over ssh one line of quoted words goes to the login shell there, whose pipe then stays on that host.
        """
        commands = [["sudo", "-n", *argv] if self.become and argv[0] == "zfs" else argv for argv in commands]
        if self.host is None:
            return commands
        return [[*self.ssh(own_connection), "--", self.host, line(commands)]]

    def ssh(self, own_connection: bool = False) -> list[str]:
        """ssh and its options, without host and command."""
        shared = self.control_dir and not own_connection
        control = (
            ["ControlMaster=auto", f"ControlPath={self.control_dir}/%C", "ControlPersist=60"]
            if shared
            else ["ControlMaster=no", "ControlPath=none"]
        )
        options = [*_ALWAYS, *control]
        if self.known_hosts_file:
            options += [f"UserKnownHostsFile={self.known_hosts_file}", "GlobalKnownHostsFile=none"]
        if self.identity_file:
            options += [f"IdentityFile={self.identity_file}", "IdentitiesOnly=yes"]
        argv = ["ssh", "-T"]
        for text in [*options, *self.ssh_options]:
            argv += ["-o", text]
        if self.port:
            argv += ["-p", str(self.port)]
        if self.user:
            argv += ["-l", self.user]
        return argv
