# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The planner, against a model of what ZFS allows streams to do: histories are random, the rules are fixed."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Bookmark, Value
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import Pair, PairOptions, PairPlan
from ansible_collections.cerss.zfs.plugins.module_utils._replication.planner import plan_pair, settled_at_a_glance
from ansible_collections.cerss.zfs.tests.unit.pairs import (
    ID,
    OTHER,
    carried,
    cursor,
    pair,
    settled,
    source_mark,
    token,
    with_token,
)


def streams(plan: PairPlan) -> list[tuple[str, str | None, str, bool]]:
    assert plan.error is None, plan.error
    return [(send.kind, send.base, send.snapshot.snapshot, send.intermediates) for send in plan.sends]


@pytest.mark.parametrize(
    ("source", "replica", "bookmarks", "options", "expected"),
    [
        pytest.param([1], None, (), PairOptions(), [("full", None, "s1", False)], id="first"),
        pytest.param(
            [1, 2, 3],
            None,
            (),
            PairOptions(),
            [("full", None, "s1", False), ("incremental", "tank/v@s1", "s3", True)],
            id="first-with-history",
        ),
        pytest.param(
            [1, 2, 3], None, (), PairOptions(intermediates=False), [("full", None, "s3", False)], id="first-newest"
        ),
        pytest.param([1, 2, 3], [1], (), PairOptions(), [("incremental", "tank/v@s1", "s3", True)], id="all-since"),
        pytest.param(
            [1, 2, 3],
            [1],
            (),
            PairOptions(intermediates=False),
            [("incremental", "tank/v@s1", "s3", False)],
            id="newest-only",
        ),
        pytest.param(
            [1, 2, 3],
            [1],
            (),
            PairOptions(exclude=("s2",)),
            [("incremental", "tank/v@s1", "s3", False)],
            id="one-excluded",
        ),
        pytest.param(
            [1, 2, 3],
            [1],
            (),
            PairOptions(packages=False),
            [("incremental", "tank/v@s1", "s2", False), ("incremental", "tank/v@s2", "s3", False)],
            id="one-by-one-through-a-relay",
        ),
        pytest.param([1, 2], [1, 2], (), PairOptions(), [], id="nothing-to-do"),
        pytest.param(
            [2, 3],
            [1],
            (1,),
            PairOptions(),
            [("incremental", f"tank/v#cerss.zfs_{ID}_1", "s2", False), ("incremental", "tank/v@s2", "s3", False)],
            id="from-cursor",
        ),
    ],
)
def test_streams(source, replica, bookmarks, options, expected):
    assert streams(plan_pair(pair(source, replica, bookmarks), options)) == expected


@pytest.mark.parametrize(
    ("source", "replica", "options", "message"),
    [
        ([], None, PairOptions(), "has no snapshot"),
        ([1], None, PairOptions(include=("daily-*",)), "filters allow"),
    ],
)
def test_refusals(source, replica, options, message):
    plan = plan_pair(pair(source, replica), options)
    assert isinstance(plan.error, Refused)
    assert plan.steps == []
    with pytest.raises(Refused, match=message):
        raise plan.error


@pytest.mark.parametrize(
    ("ours", "message"),
    [
        ({}, "not a replica made by"),
        (source_mark("123"), "is the replica of a:tank/v"),
        (source_mark(released=True), "released"),
    ],
)
@pytest.mark.parametrize("on_divergence", ["fail", "rollback", "reseed"])
def test_only_into_its_own_replica(ours, message, on_divergence):
    """Nothing is received into any other dataset, whatever the options say."""
    case = pair([1, 2], [1])
    case.replica.ours = ours
    with pytest.raises(Refused, match=message):
        raise plan_pair(case, PairOptions(on_divergence=on_divergence)).error


@pytest.mark.parametrize(("number", "expected"), [(2, ["1", "2"]), (1, ["1"])])
def test_nothing_newer_than_the_named_snapshot_is_sent(number, expected):
    case = pair([1, 2, 3], None)
    case.snapshot_name = f"s{number}"
    assert carried(plan_pair(case, PairOptions())) == expected


@pytest.mark.parametrize(("frozen", "raw"), [("plain", "always"), ("raw", "never")])
def test_raw_and_plain_streams_never_meet(frozen, raw):
    case = pair([1, 2], [1])
    case.replica.ours = source_mark(mode=frozen)
    case.source.values["encryption"] = Value("aes-256-gcm" if frozen == "plain" else "off")
    with pytest.raises(Refused, match="cannot mix"):
        raise plan_pair(case, PairOptions(raw=raw)).error
    assert [send.raw for send in plan_pair(case, PairOptions()).sends] == [frozen == "raw"]


def test_resume_comes_first():
    plan = plan_pair(with_token(pair([1, 2, 3], [1]), token(2, 1)), PairOptions())
    assert streams(plan) == [("resume", "tank/v@s1", "s2", False), ("incremental", "tank/v@s2", "s3", False)]


def test_resume_of_a_first_receive():
    case = with_token(pair([1, 2], []), token(1))
    case.replica.inconsistent = True
    assert streams(plan_pair(case, PairOptions())) == [
        ("resume", None, "s1", False),
        ("incremental", "tank/v@s1", "s2", False),
    ]


@pytest.mark.parametrize(
    ("found", "options", "reason"),
    [
        (token(7, 1), PairOptions(), "no longer on the source"),
        (token(2, 1), PairOptions(exclude=("s2",)), "not among the requested"),
        (token(2, 1, raw=True), PairOptions(), "raw or plain"),
        (token(3, 2), PairOptions(), "newer than its base"),
        (token(2, 1), PairOptions(resume=False), "resume is off"),
        (token(3, 1), PairOptions(), "leaves out tank/v@s2"),
    ],
)
def test_a_partial_receive_that_cannot_be_resumed_is_aborted(found, options, reason):
    plan = plan_pair(with_token(pair([1, 2, 3], [1]), found), options)
    assert plan.error is None
    assert reason in plan.prepare[0].text
    assert plan.prepare[0].commands == (["zfs", "receive", "-A", "backup/v"],)
    assert plan.sends[0].kind == "incremental"


def test_a_partial_receive_without_its_base_on_the_source_is_aborted():
    case = with_token(pair([2, 3], [0, 1], (0,)), token(3, 1))
    case.replica.snapshots[0].guid = "0"
    plan = plan_pair(case, PairOptions(on_divergence="rollback", exclude=("s2",)))
    assert "its base is no longer on the source" in plan.prepare[0].text


def test_a_replica_that_was_written_to_is_not_resumed():
    """ZFS would refuse the receive every time."""
    case = with_token(pair([1, 2], [1]), token(2, 1))
    case.replica.values["written"] = Value("512")
    assert "512 bytes written" in str(plan_pair(case, PairOptions()).error)
    plan = plan_pair(case, PairOptions(on_divergence="rollback"))
    assert [action.commands[0][1] for action in plan.prepare] == ["receive", "rollback"]


def test_a_first_receive_started_by_hand_is_adopted():
    case = with_token(pair([1, 2], []), token(1))
    case.replica.inconsistent, case.replica.ours = True, {}
    plan = plan_pair(case, PairOptions())
    assert plan.prepare[0].text == "adopt the partial receive in b:backup/v"
    command = plan.prepare[0].commands[0]
    assert command[:2] == ["zfs", "set"]
    assert "readonly=on" in command
    assert [send.kind for send in plan.sends] == ["resume", "incremental"]


def test_a_foreign_partial_receive_is_left_alone():
    case = with_token(pair([1, 2], []), token(7))
    case.replica.inconsistent, case.replica.ours = True, {}
    assert "not a replica made by" in str(plan_pair(case, PairOptions()).error)


def test_check_mode_assumes_that_a_named_snapshot_is_created():
    case = pair([1], [1])
    case.snapshot_name = "s2"
    plan = plan_pair(case, PairOptions(), assume_created=True)
    assert streams(plan) == [("incremental", "tank/v@s1", "s2", False)]
    assert plan.warnings
    case = pair([1], [1])
    case.snapshot_name = "s2"
    assert "does not exist" in str(plan_pair(case, PairOptions()).error)


def test_long_names():
    case = pair([1], None)
    case.replica_name = "backup/" + "x" * 243
    assert "249" in str(plan_pair(case, PairOptions()).error)


def test_no_new_replica_if_the_old_one_was_renamed():
    case = pair([1, 2], None, bookmarks=(1,))
    case.strayed = "backup/elsewhere"
    assert "is now backup/elsewhere, not b:backup/v;" in str(plan_pair(case, PairOptions()).error)


def test_a_clone_stays_a_clone():
    case = pair([5, 6], None)
    case.source.origin, case.source.origin_guid = "tank/base@s1", "1"
    plan = plan_pair(case, PairOptions(), {"1": "backup/base@s1"})
    assert plan.origin_preserved
    assert [(send.kind, send.base, send.origin) for send in plan.sends] == [
        ("incremental", "tank/base@s1", "backup/base@s1"),
        ("incremental", "tank/v@s5", None),
    ]
    plan = plan_pair(case, PairOptions(), {"1": "other/base@s1"})
    assert plan.origin_preserved is False
    assert plan.sends[0].kind == "full"


@pytest.mark.parametrize("spoil", ["old cursor", "another replica is behind", "open", "no cursor", "not there"])
def test_a_glance_is_not_enough(spoil):
    case = settled(pair([1, 2], [1, 2]))
    if spoil == "old cursor":
        case.source.bookmarks.append(cursor(1))
    elif spoil == "another replica is behind":
        case.source.bookmarks.append(cursor(1, OTHER))
    elif spoil == "open":
        case.source.bookmarks.append(Bookmark(f"tank/v#cerss.zfs_{ID}_open", "1", 1))
    elif spoil == "no cursor":
        case.source.bookmarks = []
    else:
        case.replica.snapshots.pop()
    assert not settled_at_a_glance(case, PairOptions())


# --- random histories ------------------------------------------------------------------------------------------------


@dataclass
class World:
    """Two sides that follow the rules of ZFS: a stream needs its base, and only existing snapshots can be sent."""

    source: list[int]
    replica: list[int] | None
    bookmarks: set[int] = field(default_factory=set)

    def apply(self, plan: PairPlan) -> None:
        for send in plan.sends:
            numbers = [int(str(snapshot.guid)) for snapshot in send.carries]
            if send.kind == "full":
                assert self.replica is None
                assert len(numbers) == 1
                self.replica = numbers
                continue
            base = int(str(send.base_guid))
            assert self.replica is not None
            assert self.replica[-1] == base, "the base must be the newest snapshot of the replica"
            assert base in self.source or base in self.bookmarks
            between = [number for number in self.source if base < number <= numbers[-1]]
            if send.intermediates:
                assert base in self.source, "-I needs a snapshot as its base"
                assert between == numbers, "-I sends everything in between"
            else:
                assert len(numbers) == 1
            self.replica = self.replica + numbers


numbers = st.sets(st.integers(1, 30), min_size=1, max_size=12)


class History:
    """Two datasets that change step by step by the rules of ZFS: a hold or a clone keeps a snapshot."""

    def __init__(self) -> None:
        self.source: list[int] = []
        self.replica: list[int] | None = None
        self.cursors: set[int] = set()
        self.held: set[int] = set()  # by our step holds, by others, or by clones: cannot be destroyed
        self.temporary: set[int] = set()
        self.written = False
        self.token: tuple[int, int | None] | None = None  # (snapshot of the partial receive, its base)
        self.next = 1

    def pair(self) -> Pair:
        found = pair(self.source, self.replica, tuple(sorted(self.cursors)))
        for snapshot in found.source.snapshots:
            snapshot.temporary = int(str(snapshot.guid)) in self.temporary
        if found.replica is not None:
            found.replica.values["written"] = Value("512" if self.written else "0")
            found.replica.inconsistent = bool(self.token) and not self.replica
            if self.token:
                with_token(found, token(*self.token))
        return found

    def step(self, event: str, choice: int, options: PairOptions) -> None:
        snapshot = self.source[choice % len(self.source)] if self.source else None
        if event in ("snapshot", "temporary"):
            self.source.append(self.next)
            if event == "temporary":
                self.temporary.add(self.next)
            self.next += 1
        elif event in ("hold", "clone") and snapshot:
            self.held.add(snapshot)
        elif event == "delete" and snapshot and snapshot not in self.held:
            self.source.remove(snapshot)
        elif event == "rollback" and snapshot:
            if not self.held & set(self.source[self.source.index(snapshot) + 1 :]):
                del self.source[self.source.index(snapshot) + 1 :]
                self.cursors = {cursor for cursor in self.cursors if cursor <= snapshot}
        elif event == "write there" and self.replica:
            self.written = True
        elif event == "snapshot there" and self.replica and not self.token:
            self.replica.append(self.next)
            self.written = False
            self.next += 1
        elif event == "prune there" and self.replica and len(self.replica) > 1:
            del self.replica[choice % (len(self.replica) - 1)]
        elif event in ("replicate", "cut"):
            self.replicate(options, cut=choice if event == "cut" else None)

    def replicate(self, options: PairOptions, cut: int | None) -> None:
        before = self.pair()
        plan = plan_pair(before, options)
        allowed = [
            number
            for number in self.source
            if number not in self.temporary and not any(f"s{number}" == text for text in options.exclude)
        ]
        if plan.error:
            common = [number for number in self.replica or [] if number in {*self.source, *self.cursors}]
            dirty = self.replica and (self.written or not common or common[-1] != self.replica[-1])
            assert not allowed or not common or dirty or allowed[-1] < common[-1], plan.error
            return
        self.prepare(plan)
        if not plan.sends:
            return
        base = int(str(plan.sends[0].base_guid)) if plan.sends[0].base_guid else 0
        requested = [number for number in allowed if number > base]
        found = [int(number) for number in carried(plan)]
        if options.intermediates:
            assert found == requested
        else:  # an interrupted transfer is resumed first
            assert found[-1:] == requested[-1:]
            assert len(found) == 1 or (plan.sends[0].kind == "resume" and len(found) == 2)
        protected = {int(str(snapshot.guid)) for snapshot in plan.protects}
        self.held |= protected
        if self.send(plan, cut):
            self.held -= protected
            self.cursors = {self.replica[-1]} if self.replica else set()
            assert plan_pair(self.pair(), options).sends == [], "a second run has nothing to send"

    def prepare(self, plan: PairPlan) -> None:
        verbs = [action.text.split()[0] for action in plan.prepare]
        if "abort" in verbs:
            self.token = None
            self.replica = self.replica or None
        if "put" in verbs:
            self.replica, self.token, self.written = None, None, False
        if "roll" in verbs and self.replica is not None:
            destroyed = {name.partition("@")[2] for step in plan.prepare for name in step.names if "@" in name}
            left = [number for number in self.replica if f"s{number}" not in destroyed]
            assert destroyed == {f"s{number}" for number in self.replica if number > left[-1]}, "only newer snapshots"
            self.replica, self.written = left, False

    def send(self, plan: PairPlan, cut: int | None) -> bool:
        """False if it was interrupted: ``cut`` is the number of snapshots that arrived before that."""
        for send in plan.sends:
            assert not self.written, "ZFS receives no increment into a modified dataset"
            whole = [int(str(snapshot.guid)) for snapshot in send.carries]
            begin = int(str(send.base_guid)) if send.base_guid else None
            if send.kind == "resume":
                assert self.token == (whole[0], begin)
            else:
                assert self.token is None
                if send.kind == "full":
                    assert self.replica is None
                elif not send.origin:
                    assert self.replica, "an increment needs what it goes into"
                    assert self.replica[-1] == begin, "the base must be the newest snapshot of the replica"
                assert begin is None or begin in self.source or begin in self.cursors
                if send.intermediates:
                    assert [n for n in self.source if begin < n <= whole[-1]] == whole, "-I sends everything in between"
            for snapshot in whole:
                newest = self.replica[-1] if self.replica else begin
                if cut == 0:
                    self.token = (snapshot, newest)
                    self.replica = self.replica or []
                    return False
                cut = None if cut is None else cut - 1
                self.token, self.replica = None, [*(self.replica or []), snapshot]
        return True


@given(
    events=st.lists(
        st.tuples(
            st.sampled_from(
                ["snapshot", "snapshot", "temporary", "delete", "hold", "clone", "rollback", "replicate", "replicate",
                 "cut", "cut", "write there", "snapshot there", "prune there"]
            ),
            st.integers(0, 5),
            st.builds(
                PairOptions,
                intermediates=st.booleans(),
                exclude=st.sets(st.integers(1, 12), max_size=3).map(lambda found: tuple(f"s{n}" for n in found)),
                on_divergence=st.sampled_from(["fail", "rollback", "reseed"]),
                resume=st.booleans(),
            ),
        ),
        min_size=8,
        max_size=40,
    )
)  # fmt: skip
@settings(max_examples=200)
def test_random_histories(events):
    """A plan carries exactly the requested GUIDs, in order, from a base that both sides have, whatever happened."""
    history = History()
    for event in ("snapshot", "replicate", "snapshot", "snapshot"):
        history.step(event, 0, PairOptions())
    for event, choice, options in events:
        history.step(event, choice, options)


@given(
    source=numbers,
    deleted=numbers,
    common=st.sets(st.integers(1, 30)),
    excluded=st.sets(st.integers(1, 30)),
    intermediates=st.booleans(),
    has_cursor=st.booleans(),
)
def test_plans_carry_exactly_the_requested(source, deleted, common, excluded, intermediates, has_cursor):
    """From a base that both have, in order, with the fewest streams, and a second plan has nothing to do."""
    history = sorted(source)
    replica = sorted(set(history) & common) or None
    left = sorted(set(history) - (deleted if replica else set()))
    bookmarks = {replica[-1]} if replica and has_cursor else set()
    world = World(left, replica, bookmarks)
    options = PairOptions(intermediates=intermediates, exclude=tuple(f"s{number}" for number in excluded))
    plan = plan_pair(pair(left, replica, tuple(sorted(bookmarks))), options)
    allowed = [number for number in left if number not in excluded]
    if plan.error:
        newest = replica[-1] if replica else None
        has_base = replica is not None and (newest in left or newest in bookmarks)
        too_old = has_base and allowed and allowed[-1] < newest
        assert not allowed or (replica and not has_base) or too_old
        return
    base = max(replica) if replica else 0
    requested = [number for number in allowed if number > base] if allowed[-1] not in (replica or []) else []
    if not intermediates:
        requested = requested[-1:]
    assert carried(plan) == [str(number) for number in requested]
    world.apply(plan)
    again = plan_pair(pair(left, world.replica, tuple(sorted(bookmarks))), options)
    assert again.sends == []


@given(source=numbers, options=st.sets(st.integers(1, 30)))
def test_fewest_streams(source, options):
    """Two adjacent streams are separated by an excluded snapshot, or the first one is full."""
    history = sorted(source)
    plan = plan_pair(pair(history, None), PairOptions(include=tuple(f"s{number}" for number in options) or ("none",)))
    for former, latter in zip(plan.sends, plan.sends[1:]):
        if former.kind == "full":
            continue
        start, end = int(str(former.snapshot.guid)), int(str(latter.carries[0].guid))
        single = len(former.carries) == 1 and not former.intermediates
        left_out = [number for number in history if start < number < end]
        before = [number for number in history if int(str(former.base_guid)) < number < start]
        assert left_out or (single and before)
