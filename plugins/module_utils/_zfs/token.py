# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A receive_resume_token, decoded."""

from __future__ import annotations

import re
import struct
import zlib
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Token

MOST = 65536  # bytes of an unpacked token: a few bytes can be packed zeros without end


def decode_token(text: str) -> Token | None:
    """The token's fields; None when the text is not a token, or one with fields that we do not know.

    ``1-<checksum>-<size>-<hex>``: the hex digits are a zlib-compressed nvlist of <size> bytes in native encoding
    (zfs_send_resume_token_to_nvlist in libzfs_sendrecv.c).
    """
    found = re.fullmatch(r"1-[0-9a-f]+-([0-9a-f]+)-((?:[0-9a-f]{2})+)", text)
    if found is None:
        return None
    try:
        size, packed = int(found[1], 16), zlib.decompressobj()
        data = packed.decompress(bytes.fromhex(found[2]), MOST) if size <= MOST else b""
        if len(data) != size or not packed.eof:
            return None
        values = _nvlist(data)
        return Token(
            text=text,
            toguid=str(values["toguid"]),
            toname=str(values["toname"]),
            bytes=int(values["bytes"]),
            fromguid=str(values["fromguid"]) if values.get("fromguid") else None,
            raw="rawok" in values,
        )
    except (ValueError, KeyError, IndexError, struct.error, zlib.error):
        return None


def _nvlist(data: bytes) -> dict[str, Any]:
    """Name -> value of a packed nvlist in native encoding (nvpair.c, nvs_native_*): booleans, uint64 and strings.

    Raise ValueError for any other type, except an array of uint64, which is skipped: the pairs of a nested list would
    be read as pairs of this one.
    """
    encoding, little = data[0], data[1]
    if encoding != 0:
        raise ValueError("not a native nvlist")
    order = "<" if little else ">"
    at = 12
    result: dict[str, Any] = {}
    while True:
        (length,) = struct.unpack_from(order + "i", data, at)
        if length <= 0:
            return result
        name_size, _reserve, _count, kind = struct.unpack_from(order + "hhii", data, at + 4)
        name = data[at + 16 : at + 16 + name_size - 1].decode()
        if name in result:  # zfs might use the other value
            raise ValueError(f"{name} is there twice")
        value_at = at + (16 + name_size + 7) // 8 * 8
        if kind == 1:  # DATA_TYPE_BOOLEAN
            result[name] = True
        elif kind == 8:  # DATA_TYPE_UINT64
            result[name] = struct.unpack_from(order + "Q", data, value_at)[0]
        elif kind == 9:  # DATA_TYPE_STRING
            result[name] = data[value_at : data.index(b"\0", value_at)].decode()
        elif kind != 16:  # DATA_TYPE_UINT64_ARRAY: the snapshots of a redacted stream
            raise ValueError(f"{name} is of type {kind}")
        at += length
