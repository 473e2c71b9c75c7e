# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The first record of a send stream, and whether it is the stream that was asked for.

Sources: ``dmu_replay_record`` in OpenZFS's zfs_ioctl.h, the flags in its zfs_ioctl.h and how libzfs_sendrecv.c and
dmu_send.c write and read it, from 2.1 to 2.4.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

RECORD = 312  # bytes of a record, without its payload
_NAME = 56  # offset of drr_toname
_BEGIN, _END = 0, 5  # DRR_BEGIN, DRR_END
_MAGIC = 0x2F5BACBAC  # DMU_BACKUP_MAGIC
# drr_versioninfo: the kind of stream in its lowest two bits (DMU_GET_STREAM_HDRTYPE), the features above these
# (DMU_GET_FEATUREFLAGS)
_KIND, _PACKAGE = 3, 2  # DMU_COMPOUNDSTREAM
_RESUMING = 1 << 20 << 2  # DMU_BACKUP_FEATURE_RESUMING
_RAW = 1 << 24 << 2  # DMU_BACKUP_FEATURE_RAW
_CLONE = 1  # DRR_FLAG_CLONE
_VOLUME = 3  # DMU_OST_ZVOL


@dataclass(frozen=True)
class Head:
    """The first record. A package (``zfs send -I``, ``-R``, ``-p``) has streams of any datasets in it, one by one.

    ``payload``: bytes; a package's payload is properties, holds and names of datasets. ``fromguid``: the GUID of the
    base, None for a full stream. ``raw`` is never set for a dataset that is not encrypted, also with ``zfs send -w``.
    """

    package: bool = False
    payload: int = 0
    resumed: bool = False
    clone: bool = False
    volume: bool = False
    raw: bool = False
    toguid: str = "0"
    fromguid: str | None = None


@dataclass(frozen=True)
class Expected:
    """What is known of a stream before it comes; None: not known, so not checked.

    ``parts``: (GUID, GUID of its base or None) of each snapshot, oldest first; several come as a package. ``clone``:
    the origin is named, so the stream may be a clone of it.
    """

    parts: tuple[tuple[str, str | None], ...] | None = None
    raw: bool | None = None
    volume: bool | None = None
    resumed: bool | None = None
    clone: bool = False


def read_head(record: bytes) -> Head | None:
    """The head of the stream that ``record`` begins, in either byte order; None when it begins none."""
    if len(record) < RECORD or b"\0" not in record[_NAME:RECORD]:
        return None
    for order in "<>":
        kind, payload, magic, version, _created, dataset, flags, toguid, fromguid = struct.unpack_from(
            f"{order}IIQQQIIQQ", record
        )
        if (kind, magic) == (_BEGIN, _MAGIC):
            return Head(
                package=version & _KIND == _PACKAGE,
                payload=payload,
                resumed=bool(version & _RESUMING),
                clone=bool(flags & _CLONE),
                volume=dataset == _VOLUME,
                raw=bool(version & _RAW),
                toguid=str(toguid),
                fromguid=str(fromguid) if fromguid else None,
            )
    return None


def is_end(record: bytes) -> bool:
    """True for the record that ends a package, or the head of a package."""
    return len(record) >= RECORD and any(struct.unpack_from(f"{order}I", record) == (_END,) for order in "<>")


def fault(head: Head | None, expected: Expected, part: int | None = None) -> str:
    """Why the stream must not be received, as a clause; "" when it is what was expected.

    ``part``: its number in a package, from 0; None for what comes first, which may be a package itself. libzfs looks
    in the whole pool for the datasets that a package or a clone names, and sets the properties that are in a package.
    """
    if head is None:
        return "the input is not a send stream"
    if head.package:
        return _fault_of_package(head, expected, part)
    count = None if expected.parts is None else len(expected.parts)
    if part is None and count not in (None, 1):
        return f"the stream is not a package of {count} snapshots"
    if count is not None and (part or 0) >= count:
        return f"the stream has more than {count} snapshots in it"
    if head.clone and not expected.clone and not head.resumed:  # checked when it began
        return "the stream is a clone whose origin is not named"
    return _difference(head, expected, part or 0)


def _fault_of_package(head: Head, expected: Expected, part: int | None) -> str:
    if part is not None:
        return "the stream is a package within a package"
    if head.payload:
        return "the stream has properties, holds or further datasets in it (zfs send -p, -h or -R)"
    if expected.parts is not None and len(expected.parts) == 1:
        return "the stream is a package of several snapshots"
    return ""


def _difference(head: Head, expected: Expected, part: int) -> str:
    """The first difference between a single stream and what is known of it; "" when there is none."""
    if expected.parts is not None:
        toguid, fromguid = expected.parts[part]
        if head.toguid != toguid:
            return f"the stream is of a snapshot with the GUID {head.toguid}, not {toguid}"
        if head.fromguid != fromguid:
            base, other = head.fromguid or "none", fromguid or "none"
            return f"the stream's base is {base}, not {other}"
    for name, known, seen in (
        ("raw", expected.raw, head.raw),
        ("of a volume", expected.volume, head.volume),
        ("resumed", expected.resumed, head.resumed),
    ):
        if known is not None and seen != known:
            return f"the stream is {name if seen else f'not {name}'}"
    return ""


def fault_at_end(expected: Expected, parts: int) -> str:
    """Why a package must not end after so many parts; "" when it may."""
    if expected.parts is None or parts == len(expected.parts):
        return ""
    return f"the stream ends after {parts} of {len(expected.parts)} snapshots"
