# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a command runs: on this host or over ssh. Turns the argv to run there into the argv to start here."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput

LOCAL = "local"
# A plain user's non-interactive login has no sbin folder in its PATH, and most systems keep zfs in one.
SEARCH_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
ENVIRONMENT = ("env", "LC_ALL=C", f"PATH={SEARCH_PATH}")
# What stands before a command, with the PATH of the login at the end for programs in other folders, as on NixOS.
HEAD = f'{shlex.join(ENVIRONMENT)}:"$PATH" '
WAITING = "cerss-zfs-gate: waiting"  # what a gate says while it receives, to see whether the other host still answers
# Before a command: it tells its process id on stderr. Only so is a process on another host known to be ours.
TELLING = """sh -c 'echo cerss-pid $$ >&2; exec "$@"' sh """

# ssh uses the first value of an option (ssh_config(5)), so neither ssh_options, which come later, nor its files can
# weaken these.
_ALWAYS = (
    "BatchMode=yes", "StrictHostKeyChecking=yes", "ConnectTimeout=15", "ServerAliveInterval=10",
    "ServerAliveCountMax=3", "LogLevel=ERROR", "ForwardAgent=no", "ForwardX11=no", "PermitLocalCommand=no",
    "RequestTTY=no", "EscapeChar=none",
)  # fmt: skip
# What ssh_options may set. None of them names a program, or decides whether or by which files the host key is checked.
_ALLOWED = (
    "AddressFamily", "BindAddress", "BindInterface", "CASignatureAlgorithms", "CertificateFile", "Ciphers",
    "Compression", "ConnectionAttempts", "ConnectTimeout", "GSSAPIAuthentication", "HostKeyAlgorithms", "HostKeyAlias",
    "IdentityAgent", "IPQoS", "KexAlgorithms", "MACs", "PreferredAuthentications", "ProxyJump",
    "PubkeyAcceptedAlgorithms", "PubkeyAcceptedKeyTypes", "RekeyLimit", "RequiredRSASize", "ServerAliveInterval",
    "TCPKeepAlive",
)  # fmt: skip
_LOGIN = ("port", "user", "become", "become_program", "identity_file", "known_hosts_file", "ssh_options")


def line(commands: Sequence[list[str]], telling: bool = False) -> str:
    """The commands as one pipeline, quoted for any login shell. `_gate` takes the line apart again.

    ``telling``: the last one tells its process id (`told_pid`).

    >>> line([["zstd", "-d"], ["zfs", "receive", "a b"]])
    "env LC_ALL=C PATH=… zstd -d | env LC_ALL=C PATH=… zfs receive 'a b'"
    """
    heads = [HEAD] * (len(commands) - 1) + [TELLING + HEAD if telling else HEAD]
    return " | ".join(head + " ".join(map(_quoted, argv)) for head, argv in zip(heads, commands))


def _quoted(word: str) -> str:
    """The word for sh, tcsh and fish. Within single quotes tcsh looks for ! and fish for a backslash.

    >>> _quoted("now!")
    "'now'\\\\!''"
    """
    return re.sub(r"[!\\]", r"'\\\g<0>'", shlex.quote(word))


def _path(text: str) -> str:
    """A path as a value of ssh_config(5), which replaces % and takes a blank for the end of a file name."""
    text = text.replace("%", "%%")
    return f'"{text}"' if any(char.isspace() for char in text) else text


def _login(options: Mapping[str, Any], option: str) -> dict[str, Any]:
    """How to log in, as far as it is given. Raise BadInput for a bad value."""
    found = {name: options[name] for name in _LOGIN if options.get(name) not in (None, "")}
    program = found.get("become_program", "")
    if any(char.isspace() for char in program) or program.startswith("-"):
        raise BadInput(f"{option}.become_program is {program!r}; give the name or path of a program such as doas")
    user = found.get("user", "")
    if user.startswith("-") or "@" in user or any(char.isspace() for char in user):
        raise BadInput(f"{option}.user is {user!r}, which is not a user name; give the user to log in as")
    if "ssh_options" in found:
        found["ssh_options"] = tuple(found["ssh_options"])
    for text in found.get("ssh_options", ()):
        name, equals, value = text.partition("=")
        if not (name.isalnum() and equals and value):
            raise BadInput(f"{option}.ssh_options: {text!r} is not of the form Name=value (see ssh_config(5))")
        if name.lower() not in map(str.lower, _ALLOWED):
            raise BadInput(
                f"{option}.ssh_options: {name} cannot be set here, only {', '.join(_ALLOWED)}; user, port, "
                "identity_file and known_hosts_file are options of their own, and ssh's own files may set the rest"
            )
    return found


def place(host: str, name: object) -> str:
    """``host:name``. An IPv6 address is in brackets."""
    return f"[{host}]:{name}" if ":" in host else f"{host}:{name}"


def parted(address: str) -> tuple[str | None, str]:
    """(host, dataset) of an address that `place` may have made; None for the host if it has none.

    Names of datasets may have colons too: one after a slash is part of the name, one before it ends the host.

    >>> parted("[fe80::1]:tank/v"), parted("tank/v:old")
    (('fe80::1', 'tank/v'), (None, 'tank/v:old'))
    """
    found = re.fullmatch(r"(?:\[([^\]/]+)\]|([^:/\[]+)):(.+)", address, re.DOTALL)
    return (found[1] or found[2], found[3]) if found else (None, address)


def told_pid(text: str) -> int | None:
    """The process id in a line of stderr, if a command tells it there."""
    word, _space, digits = text.strip().partition(" ")
    return int(digits) if word == "cerss-pid" and re.fullmatch("[0-9]{1,10}", digits) else None


@dataclass(frozen=True)
class Endpoint:
    """A host that commands run on. ``host`` is None for this one. ``become``: run zfs with ``become_program``."""

    host: str | None = None
    port: int | None = None
    user: str | None = None
    become: bool = False
    become_program: str = "sudo"
    identity_file: str | None = None
    known_hosts_file: str | None = None
    ssh_options: tuple[str, ...] = ()
    control_dir: str | None = None

    @classmethod
    def from_params(cls, side: Mapping[str, Any], option: str, login: Mapping[str, Any] | None = None) -> Endpoint:
        """From the suboptions of ``target`` or ``source``, which is ``option``. Raise BadInput for a bad value.

        ``login``: the option of that name. It applies to other hosts, where ``side`` does not say otherwise.
        """
        host = side.get("host")
        if host is not None and (not host or host.startswith("-") or any(char.isspace() for char in host)):
            raise BadInput(f"{option}.host is {host!r}; give a host name or address, or {LOCAL!r} for this host")
        literal = re.fullmatch(r"\[([0-9A-Fa-f:.]+(?:%.+)?)\]", host or "")
        host = literal.group(1) if literal else host  # ssh takes an IPv6 address without brackets
        common, own = _login(login or {}, "login"), _login(side, option)
        if host in (None, LOCAL):
            return cls(**own)
        return cls(host, **{**common, **own})

    def with_control(self, folder: str) -> Endpoint:
        """A copy whose commands share one ssh connection, with its socket in ``folder``."""
        return replace(self, control_dir=folder)

    @property
    def label(self) -> str:
        """The host for messages; "" for this one."""
        return self.host or ""

    @property
    def as_option(self) -> str:
        """The host as the option ``host`` names it."""
        return self.host or LOCAL

    def address(self, name: object) -> str:
        """``host:name``, or just the name on this host."""
        return place(self.host, name) if self.host else str(name)

    def seen_from(self, other: Endpoint) -> Endpoint:
        """This endpoint under a name that is valid on ``other`` too: on another host "local" would mean that host."""
        import platform  # here, since it takes a millisecond: every start of the gate imports this file

        return replace(self, host=platform.node()) if other.host and not self.host else self

    def argv(self, command: list[str], own_connection: bool = False) -> list[str]:
        """The argv to start here so that ``command`` runs there."""
        return self.pipeline([command], own_connection)[0]

    def pipeline(
        self, commands: list[list[str]], own_connection: bool = False, telling: bool = False
    ) -> list[list[str]]:
        """The pipeline to start here so that ``commands``, joined by pipes, run there.

        Over ssh that is one ssh with the whole pipeline as its argument, so the pipe stays on that host.
        ``own_connection``: do not use the shared one, for streams. ``telling``: as for `line`.
        """
        commands = [self.elevated(argv) if argv[0] == "zfs" else argv for argv in commands]
        if self.host is None:
            return commands
        return [[*self.ssh(own_connection), "--", self.host, line(commands, telling)]]

    def elevated(self, argv: list[str]) -> list[str]:
        """The command as root, if zfs is run as root there by ``become``."""
        return [self.become_program, "-n", *argv] if self.become else argv

    def ssh(self, own_connection: bool = False) -> list[str]:
        """The argv of ssh with its options, without host and command."""
        shared = self.control_dir and not own_connection
        control = (
            ["ControlMaster=auto", f"ControlPath={_path(self.control_dir or '')}/%C", "ControlPersist=60"]
            if shared
            else ["ControlMaster=no", "ControlPath=none"]
        )
        given = {text.partition("=")[0].lower() for text in self.ssh_options}
        options = [*(text for text in _ALWAYS if text.partition("=")[0].lower() not in given), *control]
        if self.known_hosts_file:
            options += [f"UserKnownHostsFile={_path(self.known_hosts_file)}", "GlobalKnownHostsFile=none"]
        if self.identity_file:
            options += [f"IdentityFile={_path(self.identity_file)}", "IdentitiesOnly=yes"]
        argv = ["ssh", "-T"]
        for text in [*options, *self.ssh_options]:
            argv += ["-o", text]
        if self.port:
            argv += ["-p", str(self.port)]
        if self.user:
            argv += ["-l", self.user]
        return argv
