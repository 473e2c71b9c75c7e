# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._zfs import stream
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.stream import Head, read_head


def record(kind: int = 0, payload: int = 0, version: int = 1, type_: int = 2, flags: int = 0, origin: int = 0) -> tuple:
    """The fields of a ``dmu_replay_record`` up to drr_fromguid."""
    return kind, payload, 0x2F5BACBAC, version, 0, type_, flags, 9, origin


PLAIN = Head(package=False, payload=0, resumed=False, clone=False, full=True, volume=False)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("fields", "head"),
    [
        (record(), PLAIN),
        (record(origin=8), Head(False, 0, False, False, full=False, volume=False)),
        (record(type_=3), Head(False, 0, False, False, full=True, volume=True)),
        (record(flags=1, origin=8), Head(False, 0, False, clone=True, full=False, volume=False)),
        (record(version=1 | 1 << 22), Head(False, 0, resumed=True, clone=False, full=True, volume=False)),
        (record(version=2, payload=8), Head(True, 8, False, False, full=True, volume=False)),
        (record(kind=5), None),
    ],
)
def test_head(fields: tuple, head: Head | None, order: str) -> None:
    packed = struct.pack(f"{order}IIQQQIIQQ", *fields)
    assert read_head(packed.ljust(stream.RECORD, b"\0")) == head


def test_a_record_that_is_too_short_or_has_an_endless_name_is_no_head() -> None:
    packed = struct.pack("<IIQQQIIQQ", *record())
    assert read_head(packed) is None
    assert read_head(packed.ljust(stream.RECORD, b"x")) is None


@given(st.binary(min_size=stream.RECORD, max_size=stream.RECORD))
def test_any_bytes_are_read_without_an_error(data: bytes) -> None:
    assert read_head(data) is None
    assert stream.is_end(data) == (data[:4] in (b"\5\0\0\0", b"\0\0\0\5"))


@pytest.mark.parametrize("order", ["<", ">"])
def test_end(order: str) -> None:
    end = struct.pack(f"{order}I", 5).ljust(stream.RECORD, b"\0")
    assert stream.is_end(end)
    assert not stream.is_end(end[:-1])
    assert not stream.is_end(bytes(stream.RECORD))
