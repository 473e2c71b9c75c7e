# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Marks before a transfer, after it, after a crash, and after an error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    PLAIN,
    RAW,
    Announced,
    Announcement,
    CommitPoint,
    CommitPoints,
    Filter,
    LastHold,
    ReplicaRecord,
    ReplicaRecords,
    SourceMark,
    StepHold,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import PENDING_DELETE, Bookmark, Snapshot, Value
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Step
from ansible_collections.cerss.zfs.plugins.module_utils._replication import bookkeeping
from ansible_collections.cerss.zfs.plugins.module_utils._replication.bookkeeping import (
    DAYS,
    LONG,
    MANY_CURSORS,
    MAX_RECORDS,
    MOST_ANNOUNCED,
    NEWEST_CURSORS,
    WEEKS,
    finish,
    give_up,
    kept_cursors,
    protect,
)
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import (
    SOURCE,
    TARGET,
    Pair,
    PairOptions,
    Send,
    with_hold,
)
from ansible_collections.cerss.zfs.plugins.module_utils._replication.planner import plan_pair, rounds
from ansible_collections.cerss.zfs.tests.unit.pairs import (
    ID,
    OTHER,
    POINT,
    RECORD,
    argvs,
    cursor,
    hold,
    last_hold,
    link,
    pair,
    points,
    record,
    records,
    replica,
    settled,
    snapshots,
    source_mark,
    step_hold,
    token,
    with_token,
)

STEP = StepHold(ID).format()
CURSOR = f"tank/v#cerss.zfs_{ID}_"
LONG_NAME = "tank/" + "v" * 207  # one character more than leaves room for a cursor


def rest(case: Pair) -> tuple[Step, ...]:
    """What is done for each pair on its own."""
    found = finish(case)
    return (*found.rest, *found.commit)


def shown(case: Pair, *steps: Any) -> list[str]:
    """The commands in short: the verb, and what it is about."""
    return [" ".join(word.partition("=")[0] for word in command) for command in argvs(steps)]


def protected(case: Pair, **options: Any) -> list[str]:
    return shown(case, *plan_pair(case, PairOptions(**options)).protect)


def long_named(case: Pair, name: str = LONG_NAME) -> Pair:
    case.source.name = name
    for snap in case.source.snapshots:
        snap.name = f"{name}@{snap.snapshot}"
    if case.replica:
        case.replica.ours.update(source_mark(dataset=name))
    return replace(case, link=link(source_name=name))


# -- the replica's properties ----------------------------------------------------------------------------------------


def test_a_first_receive_sets_only_properties_of_its_type() -> None:
    options = PairOptions(properties={"atime": "off", "compression": "zstd", "volblocksize": "16K"})
    case = pair([1], None)
    properties = bookkeeping.first_receive_properties(case, options, PLAIN)
    assert {*properties} - {SourceMark.NAME} == {"readonly", "canmount", "atime", "compression"}
    case.source.values["type"] = Value("volume")
    properties = bookkeeping.first_receive_properties(case, options, PLAIN)
    assert {*properties} - {SourceMark.NAME} == {"readonly", "volblocksize", "compression"}


def test_what_is_pulled_brings_no_setuid_and_devices() -> None:
    case = pair([1], None)

    def first(**options: Any) -> dict[str, str]:
        properties = bookkeeping.first_receive_properties(case, PairOptions(**options), PLAIN)
        return {name: properties[name] for name in ("setuid", "devices") if name in properties}

    assert first() == {}
    assert first(pulled=True) == {"setuid": "off", "devices": "off"}
    assert first(pulled=True, properties={"setuid": "on", "devices": None}) == {"setuid": "on"}
    case.source.values["type"] = Value("volume")
    assert first(pulled=True) == {}


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("mode", [PLAIN, RAW])
def test_the_mark_of_a_first_receive(mode: str, beside: bool) -> None:
    case = pair([1], None)
    text = bookkeeping.first_receive_properties(case, PairOptions(), mode, beside)[SourceMark.NAME]
    assert SourceMark.parse(text) == SourceMark(case.id, "a", "tank/v", "900", mode, beside)


@pytest.mark.parametrize("length", [1, 10, 100, 240])
@pytest.mark.parametrize("number", [0, 1, 2, 15, 1000])
def test_an_announcement_is_bounded(length: int, number: int) -> None:
    """It has the next snapshots, at least half of those that would fit."""
    sizes = [
        (Snapshot(f"tank/v@{'s' * length}", str(2**64 - 1)), 10**12 if guid % 2 else None) for guid in range(number)
    ]
    mark = bookkeeping.announcement(sizes)
    entries = tuple(Announced(str(snap.guid), snap.snapshot, size) for snap, size in sizes)
    assert len(mark.format()) <= MOST_ANNOUNCED
    assert mark.entries == entries[: len(mark.entries)]
    more = Announcement(entries[: 2 * len(mark.entries) + 2])
    assert mark.entries == entries or len(more.format()) > MOST_ANNOUNCED


# -- before a stream -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "options", "expected"),
    [
        pytest.param(
            lambda: pair([1, 2, 3, 4], None), {},
            ["set {RECORD} tank/v", "bookmark tank/v@s1 {new}1", "bookmark tank/v@s4 {new}4",
             "hold {step} tank/v@s2 tank/v@s3 tank/v@s4"], id="first",
        ),
        pytest.param(lambda: pair([1, 2], [1]), {}, ["bookmark tank/v@s2 {new}2"], id="one"),
        pytest.param(lambda: pair([1, 2], [1], (2,)), {}, [], id="again"),
        pytest.param(
            lambda: pair([1, 2, 3, 4], [1]), {"exclude": ("s3",)},
            ["bookmark tank/v@s2 {new}2", "bookmark tank/v@s4 {new}4"], id="two",
        ),
        pytest.param(
            lambda: pair([1, 2, 3], [1]), {}, ["bookmark tank/v@s3 {new}3", "hold {step} tank/v@s2 tank/v@s3"],
            id="package",
        ),
        pytest.param(
            lambda: long_named(pair([1, 2], [1])), {}, ["hold {step} {long}@s2"], id="no room for a cursor",
        ),
        pytest.param(
            lambda: long_named(pair([1, 2], [1]), LONG_NAME[:-1]), {},
            [f"bookmark {LONG_NAME[:-1]}@s2 {LONG_NAME[:-1]}#cerss.zfs_{ID}_2"], id="just room for a cursor",
        ),
        pytest.param(
            lambda: with_token(pair([1, 2, 3], [1]), token(2, 1)), {}, ["bookmark tank/v@s2 {new}2"], id="resume",
        ),
    ],
)  # fmt: skip
def test_protect(case: Callable[[], Pair], options: dict[str, Any], expected: list[str]) -> None:
    """The record, then a cursor for what each stream leaves, then the holds of a package."""
    found = case()
    step, new = StepHold(found.id).format(), f"tank/v#cerss.zfs_{found.id}_"
    assert protected(found, **options) == [
        text.format(RECORD=RECORD, step=step, new=new, long=LONG_NAME) for text in expected
    ]


@pytest.mark.parametrize(
    ("size", "base", "held"),
    [({"written": LONG}, "tank/v@s1", False), ({"written": LONG + 1}, "tank/v@s1", True),
     ({"written": LONG + 1}, None, False), ({"referenced": LONG + 1}, None, True), ({"written": None}, "x", False)],
)  # fmt: skip
def test_a_long_stream_is_held(size: dict[str, Any], base: str | None, held: bool) -> None:
    """It may well be cut, and ZFS resumes it only if the snapshot is still there."""
    case = pair([1, 2], [1], (2,))
    (snap,) = [replace(snap, **size) for snap in case.source.snapshots[1:]]
    steps, after = protect(case, [Send("incremental", (snap,), base)], PLAIN)
    assert shown(case, *steps) == ([f"hold {STEP} tank/v@s2"] if held else [])
    assert [found.name for found in with_hold(after.source, STEP)] == (["tank/v@s2"] if held else [])


def test_nothing_is_protected_twice() -> None:
    case = pair([1, 2, 3], [1])
    sends = plan_pair(case, PairOptions()).sends
    steps, after = protect(case, sends, PLAIN)
    assert len(steps) == 2
    assert protect(after, sends, PLAIN) == ([], after)


@pytest.mark.parametrize(
    ("former", "at", "anew", "expected"),
    [
        (None, None, True, "recorded"),
        ({}, None, False, "kept"),
        ({}, 1, False, "kept"),
        ({}, None, True, "recorded"),  # the replica is gone, and a new one is started
        ({}, 1, True, "recorded and no commit point"),
        ({"guid": "0"}, None, True, "kept"),  # the run before was killed
        ({"guid": "0"}, 1, True, "recorded and no commit point"),
    ],
)
def test_the_record_of_a_replica_that_is_started(former: Any, at: int | None, anew: bool, expected: str) -> None:
    case = pair([1, 2], None, (2,), at=at)
    case.source.ours.update({} if former is None else records(record(**former, mode=RAW)))
    steps, after = protect(case, [Send("full", tuple(case.source.snapshots[1:]))], RAW, anew)
    commands = [command for command in argvs(steps) if command[0] != "bookmark"]
    if expected == "kept":
        assert commands == []
        assert after.source.ours == case.source.ours
        return
    assert [command[0] for command in commands] == (["set", "inherit"] if "no commit" in expected else ["set"])
    assert after.record
    assert commands[0] == ["set", f"{RECORD}={ReplicaRecords((after.record,)).format()}", "tank/v"]
    assert replace(after.record, since=None) == record(id=case.id, guid=ReplicaRecord.UNKNOWN, mode=RAW, since=None)
    assert (after.record.since == record().since) is (former is not None)
    assert after.point is None
    assert [step.side for step in steps] == [SOURCE] * len(steps)


def test_records_of_other_replicas_stay() -> None:
    case = pair([1], None)
    other = record(id=OTHER, guid="5", target="c:x")
    case.source.ours = {**records(other), **points(3, id_=OTHER)}
    _steps, after = protect(case, plan_pair(case, PairOptions()).sends, PLAIN, anew=True)
    assert after.records.entries[0] == other
    assert [entry.id for entry in after.records.entries] == [OTHER, case.id]
    assert after.points.entries == (CommitPoint(OTHER, "3", 3),)


NIGHTLY, HOURLY, UNNAMED = Filter("nightly", ("n*",)), Filter("hourly", ("h*",)), Filter("", ("x*",))


@pytest.mark.parametrize(
    ("run", "expected"), [(None, ()), (Filter(), ()), (UNNAMED, (UNNAMED,)), (NIGHTLY, (NIGHTLY,)),
                          (Filter("all"), (Filter("all"),))],
)  # fmt: skip
def test_a_new_record_has_the_filter_of_the_run(run: Filter | None, expected: tuple[Filter, ...]) -> None:
    case = replace(pair([1], None), link=link(filter=run))
    _steps, after = protect(case, plan_pair(case, PairOptions()).sends, PLAIN, anew=True)
    assert after.record
    assert after.record.filters == expected


def test_a_record_that_is_begun_anew_keeps_the_filters_of_other_jobs() -> None:
    case = replace(pair([1, 2], None, (2,), at=1), link=link(filter=NIGHTLY))
    case.source.ours.update(records(record(filters=(HOURLY,))))
    _steps, after = protect(case, [Send("full", tuple(case.source.snapshots[1:]))], PLAIN, anew=True)
    assert after.record
    assert after.record.filters == (HOURLY, NIGHTLY)


@pytest.mark.parametrize(
    ("stored", "run", "expected"),
    [
        ((), None, None),
        ((NIGHTLY,), None, None),
        ((), Filter(), None),
        ((), UNNAMED, None),
        ((UNNAMED,), UNNAMED, None),
        ((NIGHTLY,), NIGHTLY, None),
        ((NIGHTLY,), UNNAMED, None),
        ((), NIGHTLY, (NIGHTLY,)),
        ((UNNAMED,), Filter(), ()),
        ((NIGHTLY,), HOURLY, (HOURLY, NIGHTLY)),
        ((NIGHTLY,), Filter("nightly"), (Filter("nightly"),)),
    ],
)
@pytest.mark.parametrize("at", [1, 2])
def test_other_filters_are_recorded(
    stored: tuple[Filter, ...], run: Filter | None, expected: tuple[Filter, ...] | None, at: int
) -> None:
    """With the commit point, if it moves; what is unchanged costs no command."""
    case = settled(replace(pair([1, 2], [1, 2]), link=link(filter=run)))
    case.source.ours = {**records(record(filters=stored)), **points(at)}
    found = finish(case).commit
    written = [] if expected is None else [f"{RECORD}={ReplicaRecords((record(filters=expected),)).format()}"]
    written += [f"{POINT}={ID} 2 2"] if at == 1 else []
    assert argvs(found) == ([["set", *written, "tank/v"]] if written else [])
    told = ["tank/v@s2 as arrived in b:backup/v"] if at == 1 else []
    told += [] if expected is None else ["the filters of the relationship with b:backup/v"]
    assert [step.text for step in found] == ([f"record {' and '.join(told)}"] if told else [])


def size(*entries: ReplicaRecord) -> int:
    return len(ReplicaRecords(entries).format())


def test_filters_never_keep_a_relationship_from_being_recorded() -> None:
    """Where there is no room for them the record has none, and the next run does not try it again and again."""
    others = [record(id=f"{number:016x}", guid="5", target="b:backup/" + "x" * 80) for number in range(39)]
    room = MAX_RECORDS - 60 - size(*others, record(), record(target=""))
    others.append(record(id="f" * 16, guid="5", target="b:" + "x" * room))
    case = settled(replace(pair([1], [1]), link=link(filter=Filter("nightly" * 8, ("n" * 500,)))))
    case.source.ours = {**records(*others, record()), **points(1)}
    assert finish(case).commit == ()
    new = replace(pair([1], None), link=case.link)
    new.source.ours = records(*others)
    _steps, after = protect(new, plan_pair(new, PairOptions()).sends, PLAIN, anew=True)
    assert after.record
    assert after.record.filters == ()


def test_jobs_with_long_filters_do_not_take_turns() -> None:
    """One that has no room for its filter never drops those of others, and runs in turn write nothing any more."""
    jobs = [Filter(f"job{number}", ("n" * 700,)) for number in range(12)]
    case = settled(pair([1], [1]))
    case.source.ours = {**records(record()), **points(1)}
    for run in range(2):
        for each in jobs:
            case = replace(case, link=link(filter=each))
            written = finish(case).commit
            assert not (run and written)
            assert case.record
            known = bookkeeping._with_filter(case, case.record)
            case.source.ours = {**records(known), **points(1)}
    assert case.record
    assert [each.job for each in case.record.filters] == sorted(each.job for each in jobs)
    assert {each.include for each in case.record.filters} == {("n" * 700,), ()}


# -- when streams have arrived ---------------------------------------------------------------------------------------


def test_settled_marks_are_left_alone() -> None:
    assert finish(settled(pair([1, 2], [1, 2]))).steps == ()
    assert finish(pair([1], None)).steps == finish(pair([2], [1])).steps == ()


def test_the_order_of_finish() -> None:
    """Hold, then release; the cursor; what only tidies up; the commit point last."""
    case = pair([1, 2], [1, 2], (), at=1)
    assert case.replica
    case.source.ours.update(records(record(guid=ReplicaRecord.UNKNOWN)))
    step_hold(case.source, 1, 2)
    last_hold(case.replica, 1)
    case.replica.ours.update({**source_mark(dataset="tank/former"), Announcement.NAME: "[]"})
    case.source.bookmarks = [replace(cursor(n), createtxg=0) for n in range(50, 60)]
    found = finish(case)
    assert found.hold
    assert found.release
    *others, commit = shown(case, *found.steps)
    assert commit == f"set {RECORD} {POINT} tank/v"
    assert others[:6] == [
        f"hold {LastHold.TAG} backup/v@s2",
        f"release {LastHold.TAG} backup/v@s1",
        f"bookmark tank/v@s2 {CURSOR}2",
        f"set {SourceMark.NAME} backup/v",
        f"release {STEP} tank/v@s1 tank/v@s2",
        f"inherit {Announcement.NAME} backup/v",
    ]
    assert sorted(others[6:]) == [f"destroy {CURSOR}{n:x}" for n in range(50, 60)]
    assert [step.side for step in found.steps] == [TARGET, TARGET, SOURCE, TARGET, SOURCE, TARGET, SOURCE, SOURCE]


def test_the_commit_is_one_command() -> None:
    """The replica's GUID and the point, so a killed run leaves neither or both. Entries of others stay."""
    case = pair([1, 2], [1, 2], (2,))
    other = record(id=OTHER, guid="5", target="c:x")
    case.source.ours = {**records(other, record(guid="0", formerly="7", paused=True)), **points(2, id_=OTHER)}
    (commit,) = rest(case)
    (command,) = argvs([commit])
    assert command == [
        "set",
        f"{RECORD}={ReplicaRecords((other, record(paused=True))).format()}",
        f"{POINT}={CommitPoints((CommitPoint(OTHER, '2', 2), CommitPoint(ID, '2', 2))).format()}",
        "tank/v",
    ]
    assert commit.text == "record tank/v@s2 as arrived in b:backup/v"


@pytest.mark.parametrize(
    ("target", "host", "written"),
    [
        ("b:backup/v", "b", None),
        ("10.0.0.2:backup/v", "b", None),  # another name for the same host
        ("backup/v", "b", None),
        ("b:backup/former", "b", "b:backup/v"),
        ("b:other/backup/v", "b", "b:backup/v"),
        ("b:backup/former", "", "backup/v"),
    ],
)
def test_a_replica_that_was_renamed_is_recorded_with_its_new_name(target: str, host: str, written: str | None) -> None:
    case = replace(settled(pair([1], [1])), link=link(target_host=host))
    case.source.ours.update(records(record(target=target)))
    found = argvs(rest(case))
    assert found == (
        [["set", f"{RECORD}={ReplicaRecords((record(target=written),)).format()}", "tank/v"]] if written else []
    )


@pytest.mark.parametrize(("marked", "reworded"), [({}, False), ({"host": "x"}, False), ({"dataset": "x"}, True)])
def test_a_source_that_was_renamed_is_noted_on_the_replica(marked: dict[str, str], reworded: bool) -> None:
    case = settled(pair([1], [1]))
    assert case.replica
    case.replica.ours = source_mark(**marked)
    assert argvs(rest(case)) == (
        [["set", f"{SourceMark.NAME}={source_mark()[SourceMark.NAME]}", "backup/v"]] * reworded
    )
    assert argvs(rest(replace(case, link=link(followed=True)))) == []


def test_the_source_that_a_reseed_has_put_in_place_of_another_is_noted() -> None:
    case = settled(pair([1], [1]))
    assert case.replica
    case.source.ours.update(records(record(formerly="5")))
    case.replica.ours = source_mark(guid="5")
    assert argvs(rest(case)) == [
        ["set", f"{SourceMark.NAME}={source_mark()[SourceMark.NAME]}", "backup/v"],
        ["set", f"{RECORD}={ReplicaRecords((record(),)).format()}", "tank/v"],
    ]


def test_from_a_cursor() -> None:
    """The snapshot is gone; its bookmark is the base."""
    case = pair([3], [1, 2], (2,))
    assert argvs(rest(case)) == [["set", f"{POINT}={ID} 2 2", "tank/v"]]


def test_a_partial_receive_keeps_its_holds_and_announcement() -> None:
    case = with_token(pair([1, 2], [1], (1,)), token(2, 1))
    assert case.replica
    step_hold(case.source, 2)
    case.replica.ours[Announcement.NAME] = "[]"
    assert {command[0] for command in argvs(finish(case).steps)} == {"hold", "set"}


@pytest.mark.parametrize(
    ("state", "others", "clones", "ends"),
    [(PENDING_DELETE, [], [], True), (PENDING_DELETE, ["mine"], [], False), (PENDING_DELETE, [], ["c"], False),
     ("full", [], [], False)],
)  # fmt: skip
@pytest.mark.parametrize("side", [SOURCE, TARGET])
def test_what_a_release_destroys_is_named(
    side: str, state: str, others: list[str], clones: list[str], ends: bool
) -> None:
    case = settled(pair([1, 2], [1, 2]))
    assert case.replica
    dataset = case.source if side == SOURCE else case.replica
    (step_hold if side == SOURCE else last_hold)(dataset, 1)
    for tag in others:
        hold(dataset, tag, 1)
    dataset.snapshots[0].state, dataset.snapshots[0].clones = state, clones
    (release,) = finish(case).steps
    name = dataset.snapshots[0].name
    assert release.text.endswith(f"; ZFS then destroys {name} (pending deletion)") is ends
    assert [(each.name, each.after) for each in release.effects if each.name] == [(name, {"state": "absent"})] * ends
    assert [(each.name, each.before) for each in release.effects if each.name] == [
        (name, {"state": PENDING_DELETE})
    ] * ends


def test_without_room_for_a_cursor_the_base_stays_held() -> None:
    case = long_named(pair([1, 2, 3], [1, 2, 3]))
    step_hold(case.source, 1, 2)
    assert shown(case, *rest(case)) == [
        f"hold {STEP} {LONG_NAME}@s3", f"release {STEP} {LONG_NAME}@s1 {LONG_NAME}@s2", f"set {POINT} {LONG_NAME}",
    ]  # fmt: skip
    step_hold(case.source, 3)
    after = bookkeeping.finished(case)
    assert [snap.snapshot for snap in with_hold(after.source, STEP)] == ["s3"]
    assert finish(after).steps == ()


# -- old cursors -----------------------------------------------------------------------------------------------------

DAY = 86400


def test_sweeping() -> None:
    """It begins above `MANY_CURSORS`, and removes only what is older than the base."""
    case = settled(pair(range(1, 30), range(1, 30)))
    case.source.bookmarks = [cursor(n) for n in range(30 - MANY_CURSORS, 30)]
    assert finish(case).steps == ()
    case.source.bookmarks.insert(0, cursor(20))  # all within one day
    assert argvs(rest(case)) == [["destroy", f"{CURSOR}{n:x}"] for n in (20, 22, 23, 24, 25)]
    case.source.bookmarks = [cursor(n) for n in range(29, 40)]  # for what is to be sent
    assert finish(case).steps == ()
    case.source.bookmarks = [*(cursor(n, OTHER) for n in range(1, 12)), cursor(29)]
    assert finish(case).steps == ()
    # Those that the replica does not hold are of no use.
    case.source.bookmarks = [*(replace(cursor(n), createtxg=1) for n in range(50, 58)), cursor(1), cursor(29)]
    assert argvs(rest(case)) == [["destroy", f"{CURSOR}{n:x}"] for n in range(50, 58)]
    # Without their times, which are only read if there are many, nothing that is there is removed.
    case.source.bookmarks = [replace(cursor(n), created=None) for n in range(10, 30)]
    assert finish(case).steps == ()


def test_the_cursors_that_stay() -> None:
    """Taken every hour for a year: the newest 4, the newest of each of 7 days and of 4 weeks."""
    now = 20_000 * 7 * DAY + 6 * DAY + 12 * 3600
    hours = [Bookmark(f"x#{n}", str(n), n, created=now - (9000 - n) * 3600) for n in range(1, 9001)]
    kept = [9000 - bookmark.createtxg for bookmark in kept_cursors(hours)]
    days = [0, *(13 + 24 * n for n in range(DAYS - 1))]
    weeks = [0, *(13 + 24 * 6 + 7 * 24 * n for n in range(WEEKS - 1))]
    assert kept == list(dict.fromkeys([*range(NEWEST_CURSORS), *days, *weeks]))


@given(st.lists(st.none() | st.integers(0, 400 * DAY), max_size=60))
def test_few_cursors_stay(times: list[int | None]) -> None:
    cursors = [Bookmark(f"x#{n}", str(n), n, created) for n, created in enumerate(sorted(times, key=lambda t: t or 0))]
    kept = kept_cursors(cursors)
    assert {each.name for each in cursors[-NEWEST_CURSORS:]} <= {each.name for each in kept}
    assert {each.name for each in cursors if each.created is None} <= {each.name for each in kept}
    assert sum(each.created is not None for each in kept) <= NEWEST_CURSORS + DAYS + WEEKS
    assert len({each.name for each in kept}) == len(kept)


# -- when it failed --------------------------------------------------------------------------------------------------


def failed(case: Pair, before: Pair | None = None) -> list[str]:
    steps = give_up(case, before or pair([1, 2, 3], [1], (1,)))
    assert {step.side for step in steps} <= {SOURCE}
    return shown(case, *steps)


def test_what_waits_to_be_resumed_is_held() -> None:
    """Only that: the other marks of the run serve the next one."""
    case = with_token(pair([1, 2, 3], [1], (1, 2, 3)), token(2, 1))
    assert failed(case) == [f"hold {STEP} tank/v@s2"]
    step_hold(case.source, 2, 3)
    assert failed(case) == []
    assert failed(with_token(case, token(7))) == []


def test_without_a_partial_receive_nothing_of_the_run_is_left() -> None:
    """What was there before stays, and so does the cursor of what has arrived."""
    case = pair([1, 2, 3], [1, 2], (1, 2, 3))
    step_hold(case.source, 2, 3)
    step_hold(case.source, 3, id_=OTHER)
    case.source.bookmarks.append(cursor(3, OTHER))
    assert failed(case) == [f"release {STEP} tank/v@s2 tank/v@s3", f"destroy {CURSOR}3"]
    assert failed(case, before=pair([1, 2, 3], [1], (1, 2, 3))) == [f"release {STEP} tank/v@s2 tank/v@s3"]


def test_the_record_of_a_replica_that_was_not_started_goes() -> None:
    before = pair([1], None)
    case = pair([1], None, recorded=True)
    assert failed(case, before) == [f"inherit {RECORD} tank/v"]
    other = record(id=OTHER, guid="5", target="c:x")
    case.source.ours = records(other, record(guid="0"))
    assert argvs(give_up(case, before)) == [["set", f"{RECORD}={ReplicaRecords((other,)).format()}", "tank/v"]]
    assert failed(case, before=case) == []
    assert failed(pair([1], []), before) == []  # a part without a token is its first receive all the same


def test_a_new_replica_beside_the_old_one_counts_too() -> None:
    """Its partial receive is resumed, and it needs the cursor of what it has."""
    new = replica(1, 2, held=None, beside=True)
    new.name = f"backup/v_new_{ID[:8]}"
    case = replace(pair([1, 2, 3], [9], (1, 2, 3)), beside=new)
    step_hold(case.source, 3)
    assert failed(case) == [f"release {STEP} tank/v@s3", f"destroy {CURSOR}3"]
    new.token = token(3, 2)
    assert failed(case) == []


def test_a_base_without_a_cursor_stays_held() -> None:
    case = long_named(pair([1, 2, 3], [1]))
    step_hold(case.source, 1, 2, 3)
    assert failed(case) == [f"release {STEP} {LONG_NAME}@s2 {LONG_NAME}@s3"]


# -- what is foreseen ------------------------------------------------------------------------------------------------


@given(
    st.sets(st.integers(1, 20), min_size=1), st.sets(st.integers(1, 20)), st.sets(st.integers(1, 20)),
    st.sampled_from(["tank/v", LONG_NAME]), st.booleans(),
)  # fmt: skip
def test_what_is_foreseen_is_finished(
    source: set[int], there: set[int], cursors: set[int], name: str, packages: bool
) -> None:
    """After the last round there are no holds but the base's, the point is the newest one, and no mark is missing."""
    options = PairOptions(packages=packages)
    common = sorted(source & there)
    case = long_named(pair(sorted(source), common or None, () if name == LONG_NAME else sorted(cursors)), name)
    case.source.bookmarks = [
        replace(each, name=each.name.replace("tank/v#", f"{name}#")) for each in case.source.bookmarks
    ]
    last = list(rounds(plan_pair(case, options), options, {}))[-1]
    if last.error:
        return
    assert last.foreseen
    after = bookkeeping.finished(last.foreseen)
    assert after.replica
    newest = after.replica.snapshots[-1]
    assert after.point == CommitPoint(case.id, str(newest.guid), int(str(newest.guid)))
    held = [snap.guid for snap in with_hold(after.source, StepHold(case.id).format())]
    assert held in ([[newest.guid], []] if name == LONG_NAME else [[]])
    assert with_hold(after.replica, LastHold.TAG) == [newest]
    assert not after.replica.has_partial_receive
    if name != LONG_NAME:
        assert finish(after).release is None
        assert {step.text.partition(" ")[0] for step in rest(after)} <= {"record", "bookmark", "remove"}


def test_finished_changes_nothing_without_a_common_snapshot() -> None:
    for case in (pair([1], None), pair([2], [1])):
        assert bookkeeping.finished(case) is case


def test_finished_keeps_the_holds_of_others() -> None:
    case = pair([1, 2], [1, 2])
    assert case.replica
    for dataset in (case.source, case.replica):
        hold(dataset, "mine", 1)
    step_hold(case.source, 1)
    last_hold(case.replica, 1)
    after = bookkeeping.finished(case)
    assert after.replica
    assert [found.tag for found in after.source.snapshots[0].holds or []] == ["mine"]
    assert [found.tag for found in after.replica.snapshots[0].holds or []] == ["mine"]
    assert [after.source.snapshots[0].userrefs, after.replica.snapshots[0].userrefs] == [1, 1]


@pytest.mark.parametrize("others", [True, False])
def test_what_a_release_destroys_is_not_foreseen_any_more(others: bool) -> None:
    case = pair([1, 2, 3], [1, 2, 3])
    assert case.replica
    for dataset, add in ((case.source, step_hold), (case.replica, last_hold)):
        add(dataset, 2)
        dataset.snapshots[1].state = PENDING_DELETE
        if others:
            hold(dataset, "mine", 2)
    after = bookkeeping.finished(case)
    assert after.replica
    for found in (after.source, after.replica):
        assert [snap.snapshot for snap in found.snapshots] == (["s1", "s2", "s3"] if others else ["s1", "s3"])


def test_forgetting_leaves_others_alone() -> None:
    case = settled(pair([1], [1]))
    assert argvs([bookkeeping.forget(case)]) == [["inherit", RECORD, "tank/v"], ["inherit", POINT, "tank/v"]]
    other = record(id=OTHER, guid="5", target="c:x")
    case.source.ours = {**records(record(), other), **points(1)}
    assert argvs([bookkeeping.forget(case)]) == [
        ["set", f"{RECORD}={ReplicaRecords((other,)).format()}", "tank/v"],
        ["inherit", POINT, "tank/v"],
    ]
    assert snapshots("tank/v", 1) == case.source.snapshots
