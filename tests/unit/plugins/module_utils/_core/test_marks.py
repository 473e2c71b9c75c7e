# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What format writes, parse reads. Any other text is Spoilt."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core import marks
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    PLAIN,
    Announced,
    Announcement,
    CloneOrigin,
    Cursor,
    LastHold,
    LifetimeMark,
    OpenCursor,
    ReplicaRecord,
    SourceMark,
    Spoilt,
    StepHold,
    TemporaryMark,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import BookmarkName, check_hold_tag, check_property

ID = "00112233445566aa"
CLASSES = (
    SourceMark, Announcement, LastHold, ReplicaRecord, Cursor, OpenCursor, StepHold, TemporaryMark, LifetimeMark,
    CloneOrigin,
)  # fmt: skip

ids = st.text("0123456789abcdef", min_size=16, max_size=16)
guids = st.integers(0, 2**64 - 1).map(str)
texts = st.text(min_size=1).filter(str.isprintable)
modes = st.sampled_from(marks.MODES)
MARKS = st.one_of(
    st.builds(SourceMark, ids, texts, texts, guids, modes, st.booleans()),
    st.builds(
        Announcement,
        st.lists(st.builds(Announced, guids, texts, st.none() | st.integers(0, 2**63))).map(tuple),
    ),
    st.builds(LastHold, ids),
    st.builds(ReplicaRecord, texts, texts, st.none() | modes, st.none() | texts),
    st.builds(Cursor, ids, guids),
    st.builds(OpenCursor, ids),
    st.builds(StepHold, ids),
    st.builds(TemporaryMark, st.booleans()),
    st.builds(LifetimeMark, st.integers(0, 10**11 - 1)),
    st.builds(CloneOrigin, guids),
)


@given(MARKS)
def test_format_and_parse_are_inverse(mark: Any) -> None:
    assert type(mark).parse(mark.format()) == mark


LEAVES = st.none() | st.booleans() | st.integers() | st.text()
JSON = st.recursive(LEAVES, lambda each: st.lists(each) | st.dictionaries(st.text(), each)).map(json.dumps)


@given(st.sampled_from(CLASSES), st.text() | JSON)
def test_any_text_is_a_mark_or_spoilt(kind: Any, text: str) -> None:
    found = kind.parse(text)
    assert isinstance(found, Spoilt) or kind.parse(found.format()) == found


WHOLE = json.loads(SourceMark(ID, "a", "tank/v", "7", PLAIN).format())
RECORD = json.loads(ReplicaRecord("b:backup/v", "2026-11-23T07:08:02Z", PLAIN).format())


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize(
    "text", ["", "null", "5", "{}", '{"id":[1]}', "[" * 8000, '{"a":' * 3000, "\0", "\ud800", "[5]"]
)
def test_nonsense_is_spoilt(kind: Any, text: str) -> None:
    if (kind, text) not in {(LifetimeMark, "5"), (CloneOrigin, "5")}:
        assert kind.parse(text) == Spoilt(text)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *((SourceMark, {key: value for key, value in WHOLE.items() if key != left}) for left in WHOLE),
        (SourceMark, {**WHOLE, "id": [1]}),
        (SourceMark, {**WHOLE, "id": ID.upper()}),
        (SourceMark, {**WHOLE, "id": ID + "\n"}),
        (SourceMark, {**WHOLE, "guid": 7}),
        (SourceMark, {**WHOLE, "guid": "-7"}),
        (SourceMark, {**WHOLE, "guid": "\u0661"}),
        (SourceMark, {**WHOLE, "mode": "clear"}),
        (SourceMark, {**WHOLE, "mode": ["raw"]}),
        (SourceMark, {**WHOLE, "host": ""}),
        (SourceMark, {**WHOLE, "dataset": "tank/v\n"}),
        (SourceMark, {**WHOLE, "released": "yes"}),
        (SourceMark, {**WHOLE, "more": 1}),
        (ReplicaRecord, {**RECORD, "target": None}),
        (ReplicaRecord, {**RECORD, "target": {"a": 1}}),
        (ReplicaRecord, {**RECORD, "mode": "clear"}),
        (ReplicaRecord, {**RECORD, "mode": {}}),
        (ReplicaRecord, {**RECORD, "aside": 5}),
        (ReplicaRecord, {**RECORD, "since": [1]}),
        (ReplicaRecord, {**RECORD, "since": {}}),
        (ReplicaRecord, {**RECORD, "since": 0}),
        (ReplicaRecord, {**RECORD, "aside": []}),
        (Announcement, {"guid": "1"}),
        (Announcement, [{"guid": "1", "snapshot": "s"}]),
        (Announcement, [{"guid": "1", "snapshot": "s", "bytes": -1}]),
        (Announcement, [{"guid": "1", "snapshot": "s", "bytes": True}]),
        (Announcement, [{"guid": "1", "snapshot": "s", "bytes": 1.5}]),
        (Announcement, [{"guid": 1, "snapshot": "s", "bytes": 1}]),
    ],
)
def test_every_field_is_checked(kind: Any, value: Any) -> None:
    assert isinstance(kind.parse(json.dumps(value)), Spoilt)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Cursor, f"cerss.zfs_{ID}_"),
        (Cursor, f"cerss.zfs_{ID}_1f\n"),
        (Cursor, f"cerss.zfs_{ID}_{'1' * 17}"),
        (Cursor, f"cerss.zfs_{ID}_open"),
        (OpenCursor, f"cerss.zfs_{ID}_1f"),
        (StepHold, LastHold(ID).format()),
        (StepHold, "cerss.zfs:step:1"),
        (LastHold, f"{LastHold(ID).format()}0"),
        (LifetimeMark, "9" * 8000),
        (LifetimeMark, "-1"),
        (TemporaryMark, "True"),
    ],
)
def test_names_and_tags_are_exact(kind: Any, text: str) -> None:
    assert kind.parse(text) == Spoilt(text)


@given(ids, guids)
def test_a_cursor_has_at_most_the_documented_length(id_: str, guid: str) -> None:
    name = Cursor(id_, guid).format()
    assert len(name) <= Cursor.LENGTH
    BookmarkName.parse(f"tank#{name}")


@pytest.mark.parametrize("tag", [StepHold(ID).format(), LastHold(ID).format()])
def test_tags_are_ours(tag: str) -> None:
    assert marks.is_ours(tag)
    with pytest.raises(Exception, match="belongs to this collection"):
        check_hold_tag(tag)


@pytest.mark.parametrize(
    "name",
    [
        ReplicaRecord.name(ID),
        *(kind.NAME for kind in (SourceMark, Announcement, TemporaryMark, LifetimeMark, CloneOrigin)),
    ],
)
def test_properties_are_ours(name: str) -> None:
    with pytest.raises(Exception, match="belongs to this collection"):
        check_property(name, "1")


def test_all_records_of_a_dataset_are_found_by_relationship() -> None:
    ours = {ReplicaRecord.name(ID): '{"target":"x"}', ReplicaRecord.name("f" * 16): "", "cerss.zfs:replica.short": "{}"}
    assert ReplicaRecord.all_of(ours) == {ID: ReplicaRecord("x"), "f" * 16: Spoilt("")}
