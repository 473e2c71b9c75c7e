# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks at the next bytes of a pipe, which stay in it. The next reader of the pipe gets them: zfs receive.

The only file of this package that the gate installs, so it imports nothing of ours and no subprocess: every command
starts the gate. tee(2) is a system call of Linux, and Python has no function for it.
"""

from __future__ import annotations

import array
import fcntl
import os
import select
import termios


def ahead(pipe: int, size: int) -> bytes | None:
    """The next ``size`` bytes of the pipe with this descriptor, fewer when the stream ends before.

    Never waits: None while they are still on their way. Raise OSError when it is not a pipe, or not on Linux.
    """
    writers = select.poll()
    writers.register(pipe, 0)  # no events but POLLHUP, which poll(2) always reports
    # Before the look: what arrives between the two is seen by the next look.
    ended, there = writers.poll(0), array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, there)
    size = min(size, there[0]) if ended else size
    if not size:
        return b""
    return _copy(pipe, size) if there[0] >= size else None


def _copy(pipe: int, size: int) -> bytes:
    import ctypes  # slow, and only a receive needs it

    tee = getattr(ctypes.CDLL(None, use_errno=True), "tee", None)
    if tee is None:
        raise OSError(0, "this system has no tee(2), so nothing can look at a stream before it is received")
    tee.argtypes, tee.restype = [ctypes.c_int, ctypes.c_int, ctypes.c_size_t, ctypes.c_uint], ctypes.c_ssize_t
    reader, writer = os.pipe()
    try:
        if tee(pipe, writer, size, 0) != size:
            raise OSError(ctypes.get_errno(), "cannot read the head of the stream")
        return os.read(reader, size)
    finally:
        os.close(reader)
        os.close(writer)


def skip(pipe: int, size: int) -> None:
    """Take ``size`` bytes, which `ahead` has seen, out of the pipe."""
    while size:
        size -= len(os.read(pipe, size)) or size
