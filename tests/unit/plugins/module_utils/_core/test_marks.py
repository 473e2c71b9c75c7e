# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What format writes, parse reads. Any other text is Spoilt."""

from __future__ import annotations

import json
from dataclasses import replace
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
    CommitPoint,
    CommitPoints,
    Cursor,
    Filter,
    LastHold,
    LifetimeMark,
    OutOfService,
    ReplicaRecord,
    ReplicaRecords,
    SourceMark,
    Spoilt,
    StepHold,
    TemporaryMark,
    is_source_property,
    pool_id,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import BookmarkName, check_hold_tag, check_property

ID, OTHER, POOL = "00112233445566aa", "f" * 16, "0123456789abcdef"
CLASSES = (
    SourceMark, Announcement, LastHold, ReplicaRecords, CommitPoints, Cursor, StepHold, TemporaryMark, LifetimeMark,
    CloneOrigin, OutOfService,
)  # fmt: skip

ids = st.text("0123456789abcdef", min_size=16, max_size=16)
guids = st.integers(0, 2**64 - 1).map(str)
texts = st.text(min_size=1).filter(str.isprintable)
modes = st.sampled_from(marks.MODES)
globs = st.lists(texts, max_size=3).map(tuple)
filters = st.builds(Filter, st.just("") | texts, globs, globs, globs, st.booleans())
records = st.builds(
    ReplicaRecord, ids, texts, guids, modes, st.none() | texts, st.booleans(),
    filters=st.lists(filters, max_size=3, unique_by=lambda each: each.job).map(tuple),
)  # fmt: skip
points = st.builds(CommitPoint, ids, guids, st.integers(0, 2**64 - 1))
MARKS = st.one_of(
    st.builds(SourceMark, ids, texts, texts, guids, modes, st.booleans(), st.booleans(), st.booleans()),
    st.builds(
        Announcement,
        st.lists(st.builds(Announced, guids, texts, st.none() | st.integers(0, 2**63))).map(tuple),
    ),
    st.builds(LastHold),
    st.builds(ReplicaRecords, st.lists(records, unique_by=lambda record: record.id).map(tuple)),
    # Without entries there is no text: the property ends.
    st.builds(CommitPoints, st.lists(points, min_size=1, unique_by=lambda point: point.id).map(tuple)),
    st.builds(Cursor, ids, guids),
    st.builds(StepHold, ids),
    st.builds(TemporaryMark, st.booleans()),
    st.builds(LifetimeMark, st.integers(0, 10**11 - 1)),
    st.builds(CloneOrigin, guids),
    st.builds(
        OutOfService,
        st.fixed_dictionaries(
            {"readonly": st.tuples(texts, st.booleans())},
            optional={name: st.tuples(texts, st.booleans()) for name in ("canmount", "mountpoint")},
        ),
        st.booleans(),
    ),
)


@given(MARKS)
def test_format_and_parse_are_inverse(mark: Any) -> None:
    assert type(mark).parse(mark.format()) == mark


LEAVES = st.none() | st.booleans() | st.integers() | st.text()
JSON = st.recursive(LEAVES, lambda each: st.lists(each) | st.dictionaries(st.text(), each)).map(json.dumps)
# What a mark is made of, put together anyhow, and the text of a mark with one character changed
KEYS = st.sampled_from(
    ["id", "host", "dataset", "target", "guid", "mode", "since", "paused", "filters", *SourceMark.FLAGS]
)
OBJECTS = st.dictionaries(KEYS, LEAVES | ids | guids | modes)
ALIKE = (OBJECTS | st.lists(OBJECTS)).map(json.dumps) | st.builds(
    lambda text, at, char: text[: at % len(text)] + char + text[at % len(text) + 1 :],
    MARKS.map(lambda mark: mark.format()), st.integers(0), st.text(max_size=1),
)  # fmt: skip


@given(st.sampled_from(CLASSES), st.text() | JSON | ALIKE)
def test_any_text_is_a_mark_or_spoilt(kind: Any, text: str) -> None:
    found = kind.parse(text)
    assert isinstance(found, Spoilt) or kind.parse(found.format()) == found


WHOLE = json.loads(SourceMark(ID, "a", "tank/v", "7", PLAIN).format())
NEVER = ReplicaRecord(ID, "b:backup/v", ReplicaRecord.UNKNOWN, PLAIN, "2026-11-23T07:08:02Z")
(RECORD,) = json.loads(ReplicaRecords((NEVER,)).format())


NO_PATTERNS: tuple[Any, ...] = (None, "a", {}, [""], [1], ["a\n"], [["a"]])


def each_spoilt(field: str, *values: Any) -> list[tuple[Any, Any]]:
    return [(ReplicaRecords, [{**RECORD, field: value}]) for value in values]


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
        *((SourceMark, {**WHOLE, flag: value}) for flag in SourceMark.FLAGS for value in ("yes", 1, None)),
        (SourceMark, {**WHOLE, "more": 1}),
        (SourceMark, {**WHOLE, "live": True}),
        (ReplicaRecords, RECORD),
        (ReplicaRecords, {ID: RECORD}),
        (ReplicaRecords, [None]),
        (ReplicaRecords, [ID]),
        (ReplicaRecords, [[RECORD]]),
        *(
            (ReplicaRecords, [{key: value for key, value in RECORD.items() if key != left}])
            for left in ("id", "target", "guid", "mode")
        ),
        *each_spoilt("id", None, 5, ID.upper(), ID + "\n", [ID], {}),
        *each_spoilt("target", None, "", "b:x\n", {"a": 1}),
        *each_spoilt("guid", None, 0, "", "-1", "\u0661", "1" * 21),
        *each_spoilt("mode", None, "clear", {}, ["raw"]),
        *each_spoilt("since", "", 0, [], [1], {}),
        *each_spoilt("paused", None, 0, 1, "true", []),
        *each_spoilt("filters", None, "", {}, [None], [[]], [{}, {}], [{"job": "a"}, {"job": "a"}], [{"jobs": "a"}]),
        *each_spoilt("filters", [{"job": ""}], [{"job": None}], [{"job": "a\n"}], [{"job": "a"}, 1]),
        *(
            (ReplicaRecords, [{**RECORD, "filters": [{name: each}]}])
            for name in ("include", "exclude", "periods")
            for each in NO_PATTERNS
        ),
        *each_spoilt("filters", *([{"intermediates": value}] for value in (None, 0, "false"))),
        (ReplicaRecords, [{**RECORD, "more": 1}]),
        (ReplicaRecords, [{**RECORD, "UNKNOWN": "0"}]),
        (ReplicaRecords, [RECORD, {**RECORD, "guid": "7"}]),
        (ReplicaRecords, [{**RECORD, "id": OTHER}, {**RECORD, "mode": None}]),
        (OutOfService, {"mounted": True}),
        (OutOfService, {"readonly": ["off", True]}),
        (OutOfService, {"mounted": 1, "readonly": ["off", True]}),
        *(
            (OutOfService, {"mounted": True, "readonly": value})
            for value in (None, "off", [], ["off"], ["off", 1], [1, True], ["", True], ["off", True, 1])
        ),
        (OutOfService, {"mounted": True, "readonly": ["off", True], "atime": ["off", True]}),
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
        (Cursor, f"cerss.zfs_{ID}_1F"),
        (Cursor, f"cerss.zfs_{ID}"),
        (StepHold, LastHold().format()),
        (StepHold, "cerss.zfs:step:1"),
        (StepHold, "cerss.zfs:step"),
        (StepHold, f"cerss.zfs:step:{ID}\n"),
        (LastHold, f"cerss.zfs:last:{ID}"),
        (LastHold, "cerss.zfs:last\n"),
        (LastHold, "cerss.zfs:las"),
        (LastHold, StepHold(ID).format()),
        (CommitPoints, f"{ID} 255"),
        (CommitPoints, f"{ID} 255 12 "),
        (CommitPoints, f" {ID} 255 12"),
        (CommitPoints, f"{ID} 255 12\n"),
        (CommitPoints, f"{ID}  255 12"),
        (CommitPoints, f"{ID} 255 12 13"),
        (CommitPoints, f"{ID.upper()} 255 12"),
        (CommitPoints, f"{ID[1:]} 255 12"),
        (CommitPoints, f"{ID} ff 12"),
        (CommitPoints, f"{ID} -1 12"),
        (CommitPoints, f"{ID} 255 \u0661"),
        (CommitPoints, f"{ID} {'1' * 21} 12"),
        (CommitPoints, f"{ID} 255 {'1' * 21}"),
        (CommitPoints, f"{ID} 255 12; "),
        (CommitPoints, f"{ID} 255 12;{OTHER} 255 12"),
        (CommitPoints, f"{ID} 255 12; {OTHER} 255"),
        (CommitPoints, f"{ID} 255 12; {ID} 256 13"),
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


@pytest.mark.parametrize("tag", [StepHold(ID).format(), LastHold().format()])
def test_tags_are_ours(tag: str) -> None:
    assert marks.is_ours(tag)
    with pytest.raises(Exception, match="belongs to this collection"):
        check_hold_tag(tag)


@pytest.mark.parametrize(
    "name",
    [
        ReplicaRecords.name(POOL),
        CommitPoints.name(POOL),
        *(kind.NAME for kind in (SourceMark, Announcement, TemporaryMark, LifetimeMark, CloneOrigin)),
    ],
)
def test_properties_are_ours(name: str) -> None:
    with pytest.raises(Exception, match="belongs to this collection"):
        check_property(name, "1")


@pytest.mark.parametrize(
    ("flags", "live"),
    [
        ({}, True),
        ({"beside": True}, True),
        ({"put_aside": True}, False),
        ({"released": True}, False),
        ({"beside": True, "released": True}, False),
    ],
)
def test_only_a_live_replica_is_received_into(flags: dict[str, bool], live: bool) -> None:
    mark = SourceMark(ID, "a", "tank/v", "7", PLAIN, **flags)
    assert mark.live is live
    assert json.loads(mark.format()) == {**WHOLE, **flags}


def test_optional_fields_may_be_missing() -> None:
    entry = {key: RECORD[key] for key in ("id", "target", "guid", "mode")}
    assert ReplicaRecords.parse(json.dumps([entry])) == ReplicaRecords((ReplicaRecord(ID, "b:backup/v", "0", PLAIN),))
    assert ReplicaRecords.parse("[]") == ReplicaRecords()
    assert "paused" not in RECORD
    assert json.loads(ReplicaRecords((replace(NEVER, paused=True),)).format()) == [{**RECORD, "paused": True}]


def test_what_is_at_its_default_is_not_stored() -> None:
    """So that a record without filters is the same text as ever."""
    given_ = (Filter(), Filter("a", ("x", "y"), ("z",), ("daily",), False))
    assert "filters" not in RECORD
    (stored,) = json.loads(ReplicaRecords((replace(NEVER, filters=given_),)).format())
    second = {"job": "a", "include": ["x", "y"], "exclude": ["z"], "periods": ["daily"], "intermediates": False}
    assert stored["filters"] == [{}, second]


A, A2, B, UNNAMED, UNNAMED2 = Filter("a"), Filter("a", ("x",)), Filter("b", ("y",)), Filter("", ("x",)), Filter()


@pytest.mark.parametrize(
    ("stored", "given_", "expected"),
    [
        ((), A, (A,)),
        ((A,), A, (A,)),
        ((A,), A2, (A2,)),
        ((B,), A, (A, B)),
        ((A, B), A2, (A2, B)),
        ((UNNAMED,), A, (A,)),  # it has got a name
        ((A,), UNNAMED, (A,)),
        ((UNNAMED,), UNNAMED, (UNNAMED,)),
        ((UNNAMED,), UNNAMED2, ()),  # which may be an exception
        ((), UNNAMED, ()),
        ((), UNNAMED2, ()),
    ],
)
def test_filters_of_jobs(stored: Any, given_: Filter, expected: Any) -> None:
    found = replace(NEVER, filters=stored).with_filter(given_)
    assert found == replace(NEVER, filters=expected)
    assert found.with_filter(given_) == found


@pytest.mark.parametrize(
    ("kind", "first", "changed", "other"),
    [
        (ReplicaRecords, NEVER, replace(NEVER, guid="7"), replace(NEVER, id=OTHER)),
        (CommitPoints, CommitPoint(ID, "7", 5), CommitPoint(ID, "8", 6), CommitPoint(OTHER, "7", 5)),
    ],
)
def test_entries_are_replaced_and_removed_by_id(kind: Any, first: Any, changed: Any, other: Any) -> None:
    both = kind((first,)).with_entry(other)
    assert both.entries == (first, other)
    assert both.with_entry(changed).entries == (other, changed)
    assert both.without(ID).entries == (other,)
    assert both.without("0" * 16) == both
    assert (both.by_id(ID), both.by_id(OTHER), both.by_id("0" * 16)) == (first, other, None)


def test_properties_of_a_source_are_found_by_pool() -> None:
    point = CommitPoint(ID, "255", 12)
    ours = {
        ReplicaRecords.name(POOL): ReplicaRecords((NEVER,)).format(),
        ReplicaRecords.name(OTHER): "",
        CommitPoints.name(POOL): CommitPoints((point,)).format(),
        CommitPoints.name(OTHER): "odd",
        "cerss.zfs:replica.short": "[]",
        SourceMark.NAME: "{}",
    }
    assert ReplicaRecords.all_of(ours) == {POOL: ReplicaRecords((NEVER,)), OTHER: Spoilt("")}
    assert CommitPoints.all_of(ours) == {POOL: CommitPoints((point,)), OTHER: Spoilt("odd")}


@given(guids)
def test_a_pool_gives_the_names_of_properties(guid: str) -> None:
    pool = pool_id(guid)
    assert marks.is_id(pool)
    assert int(pool, 16) == int(guid)
    assert is_source_property(ReplicaRecords.name(pool))
    assert is_source_property(CommitPoints.name(pool))


@pytest.mark.parametrize("prefix", [ReplicaRecords.PREFIX, CommitPoints.PREFIX])
@pytest.mark.parametrize("pool", ["", "1", POOL.upper(), POOL + "0", POOL + "\n", POOL + ",a:b", f"x{POOL[1:]}"])
def test_a_property_of_a_source_ends_with_a_pool(prefix: str, pool: str) -> None:
    assert not is_source_property(prefix + pool)


@pytest.mark.parametrize(
    "name",
    [f"cerss.zfs:replica{POOL}", f"org.{CommitPoints.name(POOL)}", StepHold(POOL).format(), SourceMark.NAME],
)
def test_no_other_name_is_a_property_of_a_source(name: str) -> None:
    assert not is_source_property(name)


@pytest.mark.parametrize(("host", "source"), [("a", "a:tank/v"), ("fd00::2", "[fd00::2]:tank/v")])
def test_a_source_as_messages_have_it(host: str, source: str) -> None:
    assert SourceMark("0" * 16, host, "tank/v", "1", "plain").source == source
