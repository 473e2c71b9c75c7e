# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the first record of a send stream tells.

Source: ``dmu_replay_record`` in OpenZFS's zfs_ioctl.h and what libzfs_sendrecv.c makes of it, from 2.1 to 2.4.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

RECORD = 312  # bytes of every record, without what it carries
_NAME = 56  # where the name in it begins
_BEGIN, _END = 0, 5
_MAGIC = 0x2F5BACBAC
_PACKAGE = 2
_RESUMING = 1 << 22
_CLONE = 1
_ZVOL = 3


@dataclass(frozen=True)
class Head:
    """A stream that begins. A package (``zfs send -I``, ``-R``, ``-p``) is streams of any datasets, one by one."""

    package: bool
    payload: int  # bytes; what a package carries itself are properties, holds and names of datasets
    resumed: bool
    clone: bool
    full: bool
    zvol: bool


def read_head(record: bytes) -> Head | None:
    """None when no stream begins there."""
    if len(record) < RECORD or b"\0" not in record[_NAME:]:
        return None
    for order in "<>":
        kind, payload, magic, version, _created, dataset, flags, _to, origin = struct.unpack_from(
            f"{order}IIQQQIIQQ", record
        )
        if (kind, magic) == (_BEGIN, _MAGIC):
            return Head(
                package=version & 3 == _PACKAGE,
                payload=payload,
                resumed=bool(version & _RESUMING),
                clone=bool(flags & _CLONE),
                full=not origin,
                zvol=dataset == _ZVOL,
            )
    return None


def is_end(record: bytes) -> bool:
    """Whether it ends a package, or its head."""
    return len(record) >= RECORD and any(struct.unpack_from(f"{order}I", record) == (_END,) for order in "<>")
