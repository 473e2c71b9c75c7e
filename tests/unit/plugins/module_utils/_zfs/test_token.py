# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._zfs.token import decode_token

# Of a first full receive that was cut; `zfs send -nvP -t` said toguid = 0xa3df47128ae1d345, bytes = 0x11cb710.
FULL_TOKEN = (
    "1-dde8789bf-d8-789c636064000310a500c4ec50360710e72765a52697303030419460caa7a515a7968064a41861f26c48f2499525a9c5405a60b"
    "b0c2336fd25f9e9a599290c0cae971f7609b9df5fac8124cf0996cf4bcc4d05d28979d9fa250ef979a90877703320dc9d9c9f5b50945a5c9c9fcd"
    "00070022a51ad4"
)


def test_token_of_a_first_receive() -> None:
    token = decode_token(FULL_TOKEN)
    assert token
    assert (token.toguid, token.bytes) == (str(0xA3DF47128AE1D345), 0x11CB710)
    assert (token.toname, token.snapshot, token.fromguid, token.raw) == ("tank/t@one", "one", None, False)


@pytest.mark.parametrize("text", ["", "-", "1-a-b", "2" + FULL_TOKEN[1:], FULL_TOKEN[:-8], "1-x-d8-zz", "1-0-1-00"])
def test_invalid_token(text: str) -> None:
    assert decode_token(text) is None


def pair(name: str, kind: int, value: bytes) -> bytes:
    """As in an nvlist in native encoding (nvs_native_nvp_op)."""
    text = name.encode() + b"\0"
    text += b"\0" * (-len(text) % 8) + value + b"\0" * (-len(value) % 8)
    return struct.pack("<ihhii", 16 + len(text), len(name) + 1, 0, 1, kind) + text


def token_of(*pairs: bytes) -> str:
    """A token of these pairs, as anybody who asks for a stream can forge one."""
    data = b"\0\1\0\0\0\0\0\0\1\0\0\0" + b"".join(pairs) + bytes(4)
    return f"1-0-{len(data):x}-{zlib.compress(data).hex()}"


GUIDS = [pair("toguid", 8, struct.pack("<Q", number)) for number in (111, 999)]
REST = [pair("toname", 9, b"tank/t@one\0"), pair("bytes", 8, bytes(8)), pair("rawok", 1, b"")]


@pytest.mark.parametrize(
    ("text", "guid"),
    [
        pytest.param(token_of(GUIDS[0], *REST), "111", id="plain"),
        pytest.param(token_of(pair("book_redact_snaps", 16, GUIDS[0]), GUIDS[1], *REST), "999", id="redacted"),
        pytest.param(token_of(*GUIDS, *REST), None, id="twice"),
        pytest.param(token_of(pair("x", 19, bytes(24)), GUIDS[0], *REST, bytes(4), GUIDS[1]), None, id="nested-list"),
        pytest.param(token_of(GUIDS[0], *REST)[:-2] + " " + token_of(GUIDS[0], *REST)[-2:], None, id="space"),
    ],
)
def test_a_token_has_one_reading(text: str, guid: str | None) -> None:
    """libzfs does not read the pairs of a nested list as those of the outer one."""
    token = decode_token(text)
    assert (token.toguid if token else None) == guid


@pytest.mark.parametrize("size", [10**8, 9])
def test_a_token_does_not_unpack_to_more_than_it_says(size: int) -> None:
    assert decode_token(f"1-0-{size:x}-{zlib.compress(bytes(10**8), 9).hex()}") is None


@given(st.text(max_size=60))
def test_any_text_is_decoded_or_refused(text: str) -> None:
    assert decode_token(text) is None
