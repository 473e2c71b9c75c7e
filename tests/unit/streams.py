# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records of send streams for the unit tests."""

from __future__ import annotations

import struct

from ansible_collections.cerss.zfs.plugins.module_utils._zfs import stream

SINGLE, PACKAGE = 1, 2  # the kind, in the lowest bits of the version
RESUMED, RAW = SINGLE | 1 << 22, SINGLE | 1 << 26
FILESYSTEM, VOLUME = 2, 3
CLONE = 1  # flag


def record(kind: int = 0, *, version: int = SINGLE, flags: int = 0, origin: int = 0, **more: int) -> bytes:
    """As `struct dmu_replay_record` is laid out. ``origin``: drr_fromguid."""
    order, names = "<>"[more.get("big", 0)], ("payload", "type", "guid")
    payload, type_, guid = (more.get(name, default) for name, default in zip(names, (0, FILESYSTEM, 9)))
    packed = struct.pack(f"{order}IIQQQIIQQ", kind, payload, 0x2F5BACBAC, version, 0, type_, flags, guid, origin)
    return packed.ljust(stream.RECORD, b"\0")


END = record(5)
PACKAGE_HEAD = record(version=PACKAGE, type=0, guid=0)
