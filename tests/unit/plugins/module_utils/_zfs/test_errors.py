# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The class of error for what OpenZFS 2.3.9 and OpenSSH print."""

from __future__ import annotations

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core import errors
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.errors import zfs_error

RECORDED = [
    # destroy
    ("cannot destroy snapshot tank/v@a: it's being held. Run 'zfs holds -r tank/v@a' to see holders.", "Held"),
    (
        "cannot destroy 'tank/v@b': snapshot has dependent clones\n"
        "use '-R' to destroy the following datasets:\ntank/clone",
        "HasClones",
    ),
    (
        "cannot destroy 'tank/e': filesystem has children\nuse '-r' to destroy the following datasets:\ntank/e/v",
        "HasClones",
    ),
    ("cannot destroy snapshot tank/t@one: dataset is busy", "Busy"),
    ("cannot destroy 'backup/t': dataset is busy", "Busy"),
    ("could not find any snapshots to destroy; check snapshot names.", "NotFound"),
    ("cannot open 'tank/e/nope': dataset does not exist", "NotFound"),
    ("cannot destroy snapshots: permission denied", "Denied"),
    ("cannot unmount '/tank/o/clone': permission denied", "Denied"),
    # rollback
    (
        "cannot rollback to 'tank/v@a': more recent snapshots or bookmarks exist\n"
        "use '-r' to force deletion of the following snapshots and bookmarks:\ntank/v@b",
        "Diverged",
    ),
    # receive, as zfs_receive_one of libzfs prints it
    ("cannot receive incremental stream: most recent snapshot of tank/v does not\nmatch incremental source", "NotBase"),
    # snapshot
    ("cannot create snapshot 'tank/v@a': dataset already exists\nno snapshots were created", "Exists"),
    ("cannot create snapshot 'backup/t@try': dataset is busy", "Busy"),
    ("cannot create snapshots : permission denied", "Denied"),
    ("cannot create snapshots : multiple snapshots of same fs not allowed\nno snapshots were created", "ZfsError"),
    ("cannot open 'tank/x': dataset does not exist\nusage:\n\tsnapshot [-r] [-o property=value] ...", "NotFound"),
    # hold and release
    ("cannot hold snapshot 'tank/v@nope': dataset does not exist", "NotFound"),
    ("cannot hold: permission denied", "Denied"),
    ("cannot release hold from snapshot 'tank/v@c': no such tag on this dataset", "NotFound"),
    ("cannot release: permission denied", "Denied"),
    # properties
    ("cannot set property for 'tank/v@a': property value too long", "BadProperty"),
    ("cannot set property for 'tank/v': 'compression' must be one of 'on | off | lzjb'", "BadProperty"),
    ("cannot set property for 'tank/v': invalid property 'nosuch'", "BadProperty"),
    ("cannot set property for 'tank/v@c': permission denied", "Denied"),
    ("cannot inherit org:x for 'tank/o/v@c': permission denied", "Denied"),
    # clone, promote, bookmark
    ("cannot create 'tank/clone': dataset already exists", "Exists"),
    ("cannot create 'tank/nope/c': parent does not exist", "NotFound"),
    ("cannot create bookmark 'tank/v#b1': bookmark exists", "Exists"),
    ("cannot create bookmark 'tank/v#b2': permission denied", "Denied"),
    ("cannot promote 'tank/clone': permission denied", "Denied"),
    # send and receive
    (
        "cannot receive new filesystem stream: pool must be upgraded to receive this stream.",
        "MissingFeature",
    ),
    (
        "cannot receive: stream has unsupported feature, feature flags = 20420004 (unknown flags = 20000000)\n"
        "cannot receive: invalid backup stream",
        "MissingFeature",
    ),
    ("cannot create bookmark 'tank/v#b': bookmark feature not enabled", "MissingFeature"),
    ("cannot receive new filesystem stream: kernel modules must be upgraded to receive this stream.", "ZfsError"),
    ("warning: cannot send 'tank/o/v@a': permission denied", "Denied"),
    ("cannot resume send: 'tank/t@one' used in the initial send no longer exists", "StaleToken"),
    ("cannot resume send: resume token is corrupt (invalid format)", "StaleToken"),
    ("cannot receive: failed to read from stream", "Interrupted"),
    ("cannot receive incremental stream: inherited key must be loaded", "KeyNotLoaded"),
    ("warning: cannot send 'tank/e@s': source key must be loaded", "KeyNotLoaded"),
    (
        "cannot receive incremental stream: incremental send stream requires -L (--large-block), to match previous "
        "receive.",
        "LargeBlocks",
    ),
    (
        "cannot receive new filesystem stream: checksum mismatch or incomplete stream.\n"
        "Partially received snapshot is saved.\n"
        "A resuming stream can be generated on the sending system by running:\n    zfs send -t 1-dde8789bf-d8-789c",
        "Interrupted",
    ),
]


@pytest.mark.parametrize(("stderr", "kind"), RECORDED, ids=[text.partition("\n")[0][:60] for text, _kind in RECORDED])
def test_recorded_stderr_has_its_class(stderr: str, kind: str) -> None:
    error = zfs_error(["zfs", "hold", "tank/v@s"], 1, stderr)
    assert error.__class__ is getattr(errors, kind)
    assert error.transient is (kind in ("Busy", "Interrupted", "Inbound", "Unreachable"))
    assert error.stderr == stderr


# What others than zfs print, by (stderr, exit status, class, a part of the way out).
OTHERS = [
    # FreeBSD, busybox, coreutils before and since 8.30; dash, bash, tcsh, fish
    ("env: zfs: No such file or directory", 127, "NoZfs", "install OpenZFS"),
    ("env: can't execute 'zfs': No such file or directory", 127, "NoZfs", "zfsutils-linux on Debian"),
    ("env: \u2018zfs\u2019: No such file or directory", 127, "NoZfs", "on EL"),
    ("env: 'zfs': No such file or directory", 127, "NoZfs", "install OpenZFS"),
    ("sh: 1: zfs: not found", 127, "NoZfs", "install OpenZFS"),
    ("zfs: Command not found.", 1, "NoZfs", "install OpenZFS"),
    ("sudo: zfs: command not found", 1, "NoZfs", "secure_path"),
    ("doas: zfs: command not found", 1, "NoZfs", "secure_path"),
    ("sudo: sorry, you must have a tty to run sudo", 1, "NotElevated", "requiretty"),
    ("sudo: no tty present and no askpass program specified", 1, "NotElevated", "requiretty"),
    ("sudo: a password is required", 1, "NotElevated", "without a password"),
    ("Sorry, user ann is not allowed to execute '/usr/sbin/zfs list' as root on b.", 1, "NotElevated", "without a pa"),
    ("doas: Operation not permitted", 1, "NotElevated", "without a password"),
    ("doas: Authorization required", 1, "NotElevated", "without a password"),
    ("env: 'sudo': No such file or directory", 127, "NotElevated", "become_program"),
    ("sudo: command not found: No such file or directory", 127, "NotElevated", "become_program"),
    ("env: doas: No such file or directory", 127, "NotElevated", "become_program"),
    ("This account is currently not available.", 1, "LoginRefused", "/bin/sh"),
    ("WARNING: Your password has expired.\nPassword change required but no TTY available.", 1, "LoginRefused", "chage"),
    ("cannot open 'tank': pool I/O is currently suspended", 1, "Suspended", "zpool clear"),
    ("kex_exchange_identification: Connection closed by remote host", 255, "Unreachable", "sshd runs"),
    ("cannot promote 'backup/v_new_1': dataset is busy", 1, "Busy", "end that, then run it again"),
    # what zfs says counts before what others have written
    ("-bash: /root/.env: Permission denied\ncannot hold snapshot 'a@b': dataset does not exist", 1, "NotFound", ""),
    ("sudo: unable to resolve host b: timed out\ncannot create 'a': dataset already exists", 1, "Exists", ""),
    ("mux_client_request_session: refused by peer\ncannot open 'a@b': dataset does not exist", 1, "NotFound", ""),
    ("warning: cannot send 'a@b': signal received\nclient_loop: send disconnect", 255, "Unreachable", ""),
]  # fmt: skip


@pytest.mark.parametrize(("stderr", "rc", "kind", "hint"), OTHERS, ids=[other[0][:60] for other in OTHERS])
def test_what_others_than_zfs_print_has_its_class_and_a_way_out(stderr: str, rc: int, kind: str, hint: str) -> None:
    error = zfs_error(["zfs", "list", "tank"], rc, stderr, "b")
    assert error.__class__ is getattr(errors, kind)
    assert hint in error.msg


@pytest.mark.parametrize("rc", [-9, 143, 255])
def test_a_command_that_a_signal_ended_silently_may_be_tried_again(rc: int) -> None:
    assert zfs_error(["zfs", "receive", "backup/v"], rc, "").transient
    assert not zfs_error(["zfs", "receive", "backup/v"], 1, "").transient
