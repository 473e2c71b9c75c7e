# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The errors of the collection. Callers decide by class; the message is for the user.

`_gate`, `_snapshot.hooks` and `_replication` have further subclasses of CerssError for their own use. ::

    CerssError
    ├── BadInput              the options cannot be carried out
    ├── Refused               the current state forbids it
    ├── TimedOut              (transient) a command took too long
    └── ZfsError              a command failed; `_zfs.errors.zfs_error` chooses the class by stderr
        ├── NotFound, Exists
        ├── Held, HasClones, Busy (transient)
        ├── Diverged, NotBase, StaleToken, Inbound (transient), Interrupted (transient)
        ├── NoSpace, ReadOnly, MissingFeature, BadProperty, LargeBlocks
        ├── BadKey
        │   └── KeyNotLoaded
        ├── Denied
        │   └── GateRefused   the gate on the other side refused the command
        ├── NoZfs, NotElevated, Suspended
        └── Unreachable (transient), HostKeyRefused, LoginRefused      ssh
"""

from __future__ import annotations

import shlex
from typing import Any


class CerssError(Exception):
    """``msg`` names the object, the reason and the way out.

    ``transient`` is True when the same command may succeed a moment later.
    ``details`` are further keys of the failed result.
    """

    transient = False

    def __init__(self, msg: str, **details: Any) -> None:
        super().__init__(msg)
        self.msg = msg
        self.details = details


class BadInput(CerssError):
    """The options cannot be carried out; nothing was changed."""


class Refused(CerssError):
    """The options are valid, but the current state of the backend forbids it; nothing was changed."""


class ZfsError(CerssError):
    """A command failed. ``rc`` is its exit status (negative: a signal), ``where`` the host or "" for this one.

    The message is the command in short, the host, stderr without the usage text, and the way out: ``hint``, or else
    that of the class.
    """

    hint = ""

    def __init__(self, argv: list[str], rc: int, stderr: str, where: str = "", hint: str = "") -> None:
        self.argv, self.rc, self.stderr, self.where = argv, rc, stderr, where
        self.hint = hint or self.hint
        place = f" on {where}" if where else ""
        reason = " ".join(stderr.partition("\nusage:")[0].split()) or f"exit status {rc}"
        hint = f" — {self.hint}" if self.hint else ""
        super().__init__(f"{short_command(argv)}{place}: {reason}{hint}", stderr=stderr, rc=rc, cmd=shlex.join(argv))


def short_command(argv: list[str]) -> str:
    """The program, its subcommand and its last argument.

    >>> short_command(["zfs", "hold", "keep", "tank/v@s"])
    'zfs hold tank/v@s'
    """
    program = [argument for argument in argv[:2] if not argument.startswith("-")]
    last = argv[-1] if len(argv) > 2 else ""
    return " ".join([*program, last]).strip()


class NotFound(ZfsError):
    """The dataset, snapshot, bookmark, hold or pool does not exist."""


class Exists(ZfsError):
    """The name is already taken."""


class Held(ZfsError):
    """Holds keep the snapshot."""


class HasClones(ZfsError):
    """Clones depend on the snapshot."""


class Busy(ZfsError):
    """In use by a send, a receive, a mount, or whoever has opened the ``device``."""

    transient = True
    device: str | None = None


class Diverged(ZfsError):
    """The replica was changed since the last common snapshot."""


class NotBase(ZfsError):
    """The stream's base is not the replica's newest snapshot."""


class Inbound(ZfsError):
    """The dataset holds a partial receive, which can be resumed."""

    transient = True


class StaleToken(ZfsError):
    """The resume token names a snapshot that no longer exists, or cannot be decoded."""


class Interrupted(ZfsError):
    """The stream broke off; the partial receive can be resumed."""

    transient = True


class Denied(ZfsError):
    """The user lacks the permission."""

    hint = "run it as root, set become, or delegate the permission with zfs allow (see the role zfs_backend)"


class GateRefused(Denied):
    """The key that logs in there is bound to a job that does not need this command (see `_gate`)."""

    hint = "the key is bound to its job (see the role zfs_peer); an administrator of that host can run it there"


class NoSpace(ZfsError):
    """The pool or a quota is full."""

    hint = "free space, or raise the quota; quotas and reservations do not belong on replicas"


class ReadOnly(ZfsError):
    """The pool is imported read-only."""

    hint = "export the pool and import it without readonly=on"


class MissingFeature(ZfsError):
    """A pool, or the OpenZFS of a host, lacks a feature. The message of zfs does not tell which (see `_host.pools`)."""


class BadProperty(ZfsError):
    """ZFS does not accept the property or its value."""


class BadKey(ZfsError):
    """An encryption key is not loaded, or raw and plain streams were mixed."""


class KeyNotLoaded(BadKey):
    """An encryption key is needed there."""

    hint = "load the key on that host with cerss.zfs.zfs_dataset (key=loaded)"


class LargeBlocks(ZfsError):
    """The target has blocks over 128 KiB, and the source has none, so that its streams lack a feature."""

    hint = (
        "the stream was made with -L, but this source has no blocks over 128 KiB, since it was once received from a "
        "stream without -L; replicate it in full to another dataset"
    )


class NoZfs(ZfsError):
    """The zfs command is not installed on that host, or the kernel module is not loaded."""

    hint = (
        "install OpenZFS and its kernel module there (zfsutils-linux on Debian and Ubuntu, zfs of the OpenZFS "
        "repository on EL) and check with 'zfs version'; if it is installed, put it into one of the folders in PATH"
    )


class NotElevated(ZfsError):
    """sudo or doas did not run the command as root."""

    hint = "let the user run zfs as root without a password and without a terminal, or log in as root"


class Suspended(ZfsError):
    """The pool waits for a device that has failed."""

    hint = "'zpool status -x' names the device there; connect it again and run 'zpool clear'"


class Unreachable(ZfsError):
    """The host does not answer ssh."""

    transient = True
    hint = "check the address, the port, and that sshd runs there"


class HostKeyRefused(ZfsError):
    """ssh does not know the host's key, or the key has changed."""

    hint = "host keys are always checked: put the host's key into known_hosts_file (see the role zfs_peer)"


class LoginRefused(ZfsError):
    """sshd does not accept our key."""

    hint = "check user and identity_file, and that the public key is in authorized_keys there"


class TimedOut(CerssError):
    """The command did not end in time and was stopped."""

    transient = True
