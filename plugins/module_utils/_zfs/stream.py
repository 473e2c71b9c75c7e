# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The first record of a send stream.

Sources: ``dmu_replay_record`` in OpenZFS's zfs_ioctl.h and how libzfs_sendrecv.c reads it, from 2.1 to 2.4.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

RECORD = 312  # bytes of a record, without its payload
_NAME = 56  # offset of drr_toname
_BEGIN, _END = 0, 5  # DRR_BEGIN, DRR_END
_MAGIC = 0x2F5BACBAC  # DMU_BACKUP_MAGIC
_PACKAGE = 2  # DMU_COMPOUNDSTREAM
_RESUMING = 1 << 22  # DMU_BACKUP_FEATURE_RESUMING
_CLONE = 1  # DRR_FLAG_CLONE
_VOLUME = 3  # DMU_OST_ZVOL


@dataclass(frozen=True)
class Head:
    """The first record. A package (``zfs send -I``, ``-R``, ``-p``) has streams of any datasets in it, one by one."""

    package: bool
    payload: int  # bytes; a package's payload is properties, holds and names of datasets
    resumed: bool
    clone: bool
    full: bool
    volume: bool


def read_head(record: bytes) -> Head | None:
    """The head of the stream that ``record`` begins, in either byte order; None when it begins none."""
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
                volume=dataset == _VOLUME,
            )
    return None


def is_end(record: bytes) -> bool:
    """True for the record that ends a package, or the head of a package."""
    return len(record) >= RECORD and any(struct.unpack_from(f"{order}I", record) == (_END,) for order in "<>")
