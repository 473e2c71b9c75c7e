# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can go wrong, told apart so that callers decide by kind and people read one clear sentence."""

from __future__ import annotations

import shlex
from typing import Any


class CerssError(Exception):
    """An error that a user reads: names the thing, what blocks, and the way out.

    ``transient`` is True when the same command may succeed a moment later.
    ``details`` are further keys of the failed result.
    """

    transient = False

    def __init__(self, msg: str, **details: Any) -> None:
        super().__init__(msg)
        self.msg = msg
        self.details = details


class BadInput(CerssError):
    """The options cannot be carried out as they stand; nothing was changed."""


class Refused(CerssError):
    """The options are sound, but what stands on the backend forbids it; nothing was changed."""


class ZfsError(CerssError):
    """A command ended badly. ``stderr`` keeps the program's own words."""

    hint = ""

    def __init__(self, argv: list[str], rc: int, stderr: str, where: str = "") -> None:
        self.argv, self.rc, self.stderr, self.where = argv, rc, stderr, where
        place = f" on {where}" if where else ""
        said = " ".join(stderr.partition("\nusage:")[0].split()) or f"exit status {rc}"
        hint = f" — {self.hint}" if self.hint else ""
        super().__init__(f"{command_words(argv)}{place}: {said}{hint}", stderr=stderr, rc=rc, cmd=shlex.join(argv))


def command_words(argv: list[str]) -> str:
    """The first words of a command and its last, enough to recognise it in one line."""
    verb = [word for word in argv[:2] if not word.startswith("-")]
    last = argv[-1] if len(argv) > 2 else ""
    return " ".join([*verb, last]).strip()


class NotFound(ZfsError):
    """The dataset, snapshot, bookmark or pool is not there."""


class Exists(ZfsError):
    """Something of that name is there already."""


class Held(ZfsError):
    """Holds keep the snapshot."""


class HasClones(ZfsError):
    """Clones depend on the snapshot."""


class Busy(ZfsError):
    """In use just now: a send, a receive, a mount."""

    transient = True


class Diverged(ZfsError):
    """The replica was changed since the last common snapshot."""


class NotBase(ZfsError):
    """The stream's base is not the replica's newest snapshot."""


class Inbound(ZfsError):
    """A receive was interrupted there and can be resumed."""

    transient = True


class StaleToken(ZfsError):
    """The resume token names what is not there any more."""


class Interrupted(ZfsError):
    """The stream broke off; what has arrived can be resumed."""

    transient = True


class Denied(ZfsError):
    """The user lacks the permission."""

    hint = "run it as root, set become, or delegate the permission with zfs allow (see the role zfs_backend)"


class GateRefused(Denied):
    """The key that opens that host is bound to a job that does not need this (see `_gate`)."""

    hint = "the key is bound to its job (see the role zfs_peer); whoever administers that host can do it there"


class NoSpace(ZfsError):
    """The pool or a quota is full."""

    hint = "free space, or raise the quota; quotas and reservations do not belong on replicas"


class BadProperty(ZfsError):
    """ZFS does not take that property or value."""


class BadKey(ZfsError):
    """An encryption key is not loaded, or raw and plain streams were mixed."""


class NoZfs(ZfsError):
    """There is no zfs on that host, or its kernel module is not loaded."""

    hint = "install OpenZFS there (zfsutils-linux and its kernel module) and check with 'zfs version'"


class Unreachable(ZfsError):
    """The host does not answer ssh."""

    transient = True
    hint = "check address, port and that sshd runs there"


class HostKeyRefused(ZfsError):
    """ssh does not know that host's key, or it has changed."""

    hint = "host keys are always checked: put the right key into known_hosts_file (see the role zfs_peer)"


class LoginRefused(ZfsError):
    """ssh does not accept our key."""

    hint = "check user and identity_file, and that the public key is in authorized_keys there"


class TimedOut(CerssError):
    """The command took longer than it was given."""

    transient = True
