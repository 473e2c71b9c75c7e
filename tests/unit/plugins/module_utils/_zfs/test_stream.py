# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._zfs import stream
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.stream import Expected, Head, fault, read_head
from ansible_collections.cerss.zfs.tests.unit.streams import CLONE, END, PACKAGE, RAW, RESUMED, VOLUME, record

PLAIN = Head(toguid="9")


@pytest.mark.parametrize("big", [0, 1])
@pytest.mark.parametrize(
    ("fields", "head"),
    [
        ({}, PLAIN),
        ({"origin": 8}, replace(PLAIN, fromguid="8")),
        ({"type": VOLUME}, replace(PLAIN, volume=True)),
        ({"flags": CLONE, "origin": 8}, replace(PLAIN, clone=True, fromguid="8")),
        ({"version": RESUMED}, replace(PLAIN, resumed=True)),
        ({"version": RAW, "payload": 1028}, replace(PLAIN, raw=True, payload=1028)),
        ({"version": PACKAGE, "payload": 8, "guid": 0}, Head(package=True, payload=8)),
        ({"kind": 5}, None),
        ({"guid": 2**64 - 1}, replace(PLAIN, toguid="18446744073709551615")),
    ],
)
def test_head(fields: dict[str, Any], head: Head | None, big: int) -> None:
    assert read_head(record(**fields, big=big)) == head


@pytest.mark.parametrize(
    ("version", "raw", "package"),
    [
        pytest.param(0x5080011, True, False, id="send -w of an encrypted dataset"),
        pytest.param(0x10C0011, False, False, id="send -w of another"),
        pytest.param(0x1080011, False, False, id="send -L -c"),
        pytest.param(0x1480011, False, False, id="send -t"),
        pytest.param(0x2, False, True, id="send -I"),
    ],
)
def test_versions_of_real_streams(version: int, raw: bool, package: bool) -> None:
    """drr_versioninfo as OpenZFS 2.3.9 wrote it."""
    head = read_head(record(version=version))
    assert head is not None
    assert (head.raw, head.package, head.resumed) == (raw, package, version == 0x1480011)


def test_a_record_that_is_too_short_or_has_an_endless_name_is_no_head() -> None:
    assert read_head(record()[:-1]) is None
    assert read_head(record().rstrip(b"\0").ljust(stream.RECORD, b"x")) is None
    assert read_head(record().rstrip(b"\0").ljust(stream.RECORD, b"x") + b"\0") is None


@given(st.one_of(st.binary(max_size=400), st.binary(max_size=256).map(lambda end: record()[:56] + end)))
def test_any_bytes_are_read_without_an_error(data: bytes) -> None:
    head = read_head(data)
    assert head is None or data[:56] == record()[:56]
    assert stream.is_end(data) == (len(data) >= stream.RECORD and data[:4] in (b"\5\0\0\0", b"\0\0\0\5"))


def test_end() -> None:
    assert stream.is_end(END)
    assert stream.is_end(record(5, big=1))
    assert not stream.is_end(END[:-1])
    assert not stream.is_end(record())


ONE = Expected((("9", None),), raw=False, volume=False, resumed=False)
NEXT = replace(ONE, parts=(("9", "8"),))
TWO = replace(ONE, parts=(("8", "7"), ("9", "8")))
HEAD = Head(package=True)
INCREMENT = replace(PLAIN, fromguid="8")


@pytest.mark.parametrize(
    ("head", "expected", "part", "why"),
    [
        pytest.param(PLAIN, ONE, None, "", id="full"),
        pytest.param(INCREMENT, NEXT, None, "", id="increment"),
        pytest.param(HEAD, TWO, None, "", id="increments"),
        pytest.param(replace(PLAIN, toguid="8", fromguid="7"), TWO, 0, "", id="first-part"),
        pytest.param(INCREMENT, TWO, 1, "", id="second-part"),
        pytest.param(replace(PLAIN, raw=True), replace(ONE, raw=True), None, "", id="raw"),
        pytest.param(replace(PLAIN, resumed=True), replace(ONE, resumed=True), None, "", id="resumed"),
        pytest.param(
            replace(INCREMENT, resumed=True, clone=True), replace(NEXT, resumed=True), None, "", id="resumed-clone"
        ),
        pytest.param(replace(INCREMENT, clone=True), replace(NEXT, clone=True), None, "", id="clone"),
        pytest.param(INCREMENT, replace(NEXT, clone=True), None, "", id="of-a-promoted-dataset"),
        pytest.param(replace(PLAIN, volume=True), replace(ONE, volume=None), None, "", id="type-not-known"),
        pytest.param(HEAD, Expected(), None, "", id="gate-increments"),
        pytest.param(replace(INCREMENT, raw=True, volume=True), Expected(), 7, "", id="gate-part"),
        pytest.param(None, Expected(), None, "not a send stream", id="nothing"),
        pytest.param(replace(HEAD, payload=8), Expected(), None, "properties, holds", id="gate-replication"),
        pytest.param(replace(HEAD, payload=8), TWO, None, "properties, holds", id="replication"),
        pytest.param(HEAD, Expected(), 0, "within a package", id="gate-package-in-package"),
        pytest.param(HEAD, TWO, 1, "within a package", id="package-in-package"),
        pytest.param(HEAD, ONE, None, "is a package", id="package-for-one"),
        pytest.param(INCREMENT, TWO, None, "not a package of 2", id="one-for-package"),
        pytest.param(INCREMENT, TWO, 2, "more than 2 snapshots", id="one-more"),
        pytest.param(INCREMENT, TWO, 0, "GUID 9, not 8", id="out-of-order"),
        pytest.param(PLAIN, NEXT, None, "base is none, not 8", id="full-for-increment"),
        pytest.param(INCREMENT, ONE, None, "base is 8, not none", id="increment-for-full"),
        pytest.param(replace(INCREMENT, clone=True), NEXT, None, "origin is not named", id="clone-of-anything"),
        pytest.param(replace(INCREMENT, clone=True), Expected(), None, "origin is not named", id="gate-clone"),
        pytest.param(PLAIN, replace(ONE, raw=True), None, "is not raw", id="in-the-clear"),
        pytest.param(replace(PLAIN, raw=True), ONE, None, "is raw", id="raw-for-plain"),
        pytest.param(replace(PLAIN, volume=True), ONE, None, "is of a volume", id="volume"),
        pytest.param(PLAIN, replace(ONE, volume=True), None, "is not of a volume", id="filesystem"),
        pytest.param(PLAIN, replace(ONE, resumed=True), None, "is not resumed", id="begun-anew"),
        pytest.param(replace(PLAIN, resumed=True), ONE, None, "is resumed", id="resumed-for-new"),
    ],
)
def test_only_what_was_asked_for_is_received(head: Head | None, expected: Expected, part: int | None, why: str) -> None:
    assert why in fault(head, expected, part)
    assert bool(fault(head, expected, part)) == bool(why)


guids = st.integers(1, 3).map(str)
heads = st.builds(
    Head, st.booleans(), st.integers(0, 1), *4 * [st.booleans()], toguid=guids, fromguid=st.none() | guids
)


@given(heads.map(lambda head: replace(head, package=False, resumed=False)), heads)
def test_a_stream_that_differs_in_anything_is_refused(asked: Head, sent: Head) -> None:
    """``asked``: the head of the stream as the plan has it. It has the only single stream that is received."""
    expected = Expected(((asked.toguid, asked.fromguid),), asked.raw, asked.volume, False, clone=asked.clone)
    same = replace(sent, payload=asked.payload, clone=sent.clone and not asked.clone) == replace(asked, clone=False)
    assert (fault(sent, expected) == "") == same


@given(st.integers(0, 4), st.integers(1, 3))
def test_no_part_is_missing(count: int, parts: int) -> None:
    expected = replace(ONE, parts=tuple((str(part), None) for part in range(parts)))
    assert (stream.fault_at_end(expected, count) == "") == (count == parts)
    assert stream.fault_at_end(Expected(), count) == ""
