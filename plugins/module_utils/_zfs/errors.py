# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The class of an error, by what zfs, ssh, sudo or the shell print on stderr."""

from __future__ import annotations

import re

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import (
    BadKey,
    BadProperty,
    Busy,
    Denied,
    Diverged,
    Exists,
    GateRefused,
    HasClones,
    Held,
    HostKeyRefused,
    Inbound,
    Interrupted,
    KeyNotLoaded,
    LargeBlocks,
    LoginRefused,
    MissingFeature,
    NoSpace,
    NotBase,
    NotElevated,
    NotFound,
    NoZfs,
    ReadOnly,
    StaleToken,
    Suspended,
    Unreachable,
    ZfsError,
)
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.output import of_zfs

SSH_FAILED = 255  # exit status of ssh when it has failed itself

# The first match decides, so specific patterns are before general ones. Texts: libzfs_util.c, libzfs_sendrecv.c, ssh.
_KINDS: tuple[tuple[str, type[ZfsError]], ...] = (
    (r"^cerss-zfs-gate: refused", GateRefused),
    (r"host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED|no .* host key is known", HostKeyRefused),
    (
        r"^Permission denied \(|: Permission denied \(publickey|Too many authentication failures|"
        r"Load key .*(invalid|error)|Identity file .* not accessible|"
        r"account is (currently )?not available|(password|account) has expired|password change required|"
        r"(\bis|your) account (is|has been) (locked|expired)",
        LoginRefused,
    ),
    (
        r"ssh: (connect to|could not resolve)|Connection (closed|reset|timed out|refused)|kex_exchange_identification|"
        r"No route to host|Connection to \S+ closed by remote|client_loop: send disconnect|Timeout, server|"
        r"mux_client|Control socket",
        Unreachable,
    ),
    (
        r"(sudo|doas)\W?: (command not found|not found|No such file)|must have a tty to run sudo|no tty present|"
        r"(sudo|doas): .*(password|terminal|not allowed|not in the sudoers|authentication|authorization|not permitted)|"
        r"sudo: .*must be owned by|Sorry, user .* (not allowed to|may not)",
        NotElevated,
    ),
    (
        r"\bz(fs|pool)\W?: ((command )?not found|No such file)|No such file or directory: '?zfs|"
        r"/dev/zfs and /proc/self/mounts|"
        r"ZFS modules (are not loaded|cannot be auto-loaded)|/dev/zfs: No such",
        NoZfs,
    ),
    (r"I/O is currently suspended|pool is suspended", Suspended),
    (r"permission denied|Operation not permitted", Denied),
    (
        r"pool must be upgraded|stream has unsupported feature|feature not enabled|unsupported version or feature|"
        r"module does not support this operation",
        MissingFeature,
    ),
    (r"contains partially-complete state", Inbound),
    (
        r"has been modified\b|must destroy them to overwrite|must specify -F|destination .* exists|"
        r"more recent snapshots or bookmarks exist",
        Diverged,
    ),
    (
        r"does not\s+match incremental source|incremental source .* (is not earlier|does not exist)|"
        r"not an earlier snapshot",
        NotBase,
    ),
    (
        r"resume token is corrupt|cannot be resumed|cannot resume send|used in the initial send no longer exists|"
        r"incremental source .*no longer exists",
        StaleToken,
    ),
    (
        r"checksum mismatch or incomplete stream|partial stream|incomplete stream|invalid backup stream|"
        r"failed to read from stream|Broken pipe|signal received",
        Interrupted,
    ),
    (r"pool is read-only|Read-only file system", ReadOnly),
    (r"out of space|no space left|quota exceeded|exceeds? .*quota", NoSpace),
    (r"encryption key not loaded|key must be loaded|key is not loaded|missing keys?\b", KeyNotLoaded),
    (r"IV set guid|inconsistent IV|raw send.*encrypt|wrapping key|incorrect key provided", BadKey),
    (r"requires -L \(--large-block\)", LargeBlocks),
    (r"it'?s being held|snapshot is held|tag already exists on this dataset|dataset is held", Held),
    (r"dependent clones|has dependents|has children", HasClones),
    (r"is busy|dataset is busy|target is busy|pool or dataset is busy", Busy),
    (r"already exists|dataset already exists|bookmark exists", Exists),
    (r"does not exist|no such (pool|dataset|snapshot|tag)|could not find any snapshots|not found", NotFound),
    (
        r"invalid property|bad property|must be (one of|a|on)|is readonly|cannot be (set|changed)|value too long|"
        r"property .* (is|can)",
        BadProperty,
    ),
)


# Ways out that are better than that of the class.
_HINTS: tuple[tuple[str, str], ...] = (
    (
        r"incorrect key provided",
        "give the key that it has now (key_file or key_text); a raw replica has that of its source",
    ),
    (
        r"account is (currently )?not available",
        "the user's login shell there refuses logins; give it a shell such as /bin/sh (usermod -s)",
    ),
    (
        r"(password|account) has expired|password change required|account (is|has been) (locked|expired)",
        "renew the password there, or let it and the account not expire (chage -M -1 -E -1)",
    ),
    (
        r"cannot promote .*is busy",
        "somebody reads a snapshot of its origin, with zfs send or below .zfs/snapshot; end that, then run it again",
    ),
    (r"must have a tty to run sudo|no tty present", "take requiretty away from this user in sudoers there"),
    (
        r"(sudo|doas): zfs: (command )?not found",
        "install OpenZFS there; if it is installed, add its folder to secure_path in sudoers",
    ),
    (
        r"(sudo|doas)\W?: (command not found|not found|No such file)",
        "install it there, set become_program to the program that is there, or log in as root",
    ),
)


def zfs_error(argv: list[str], rc: int, stderr: str, where: str = "") -> ZfsError:
    """The error for a command that ended with ``rc`` (negative: a signal). ``where``: the host, "" for this one.

    What zfs itself says decides before what sudo or a login script have written, but ssh (255) may have cut it off.
    """
    hint = next((hint for pattern, hint in _HINTS if re.search(pattern, stderr, re.IGNORECASE)), "")
    for text in ("" if rc == SSH_FAILED else of_zfs(stderr), stderr):
        for pattern, kind in _KINDS:
            if re.search(pattern, text, re.IGNORECASE | re.MULTILINE):
                return kind(argv, rc, stderr, where, hint)
    if not stderr.strip() and (rc < 0 or rc > 128):  # ended by a signal, or 255 of an ssh that lost its connection
        return Interrupted(argv, rc, stderr, where)
    return ZfsError(argv, rc, stderr, where)


def turned_away(rc: int, stderr: str) -> bool:
    """True if sshd has closed a connection before the login, as it does beyond MaxStartups (sshd_config(5))."""
    form = r"(kex|ssh)_exchange_identification|during banner exchange|Not allowed at this time"
    return rc == SSH_FAILED and bool(re.search(form, stderr))
