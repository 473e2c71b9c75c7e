# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The planner, against a model of what ZFS lets streams do: histories are random, the rules are not."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    Announcement,
    Cursor,
    LastHold,
    ReplicaRecord,
    SourceMark,
    StepHold,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import (
    Bookmark,
    Dataset,
    Hold,
    Snapshot,
    Token,
    Value,
)
from ansible_collections.cerss.zfs.plugins.module_utils._replication import bookkeeping
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import Pair, PairOptions, PairPlan
from ansible_collections.cerss.zfs.plugins.module_utils._replication.planner import plan_pair, settled_at_a_glance

GUID = "900"
ID = "0123456789abcdef"


def snap(dataset: str, number: int, **values: object) -> Snapshot:
    """Snapshot number N has GUID N and was the N-th to be made."""
    found = Snapshot(f"{dataset}@s{number}", str(number), number)
    for key, value in values.items():
        setattr(found, key, value)
    return found


def mark(guid: str = GUID, **more: object) -> dict[str, str]:
    return {
        SourceMark.NAME: json.dumps({"id": ID, "host": "a", "dataset": "tank/v", "guid": guid, "mode": "plain", **more})
    }


def pair(source: list[int], replica: list[int] | None, bookmarks: tuple[int, ...] = (), **more: object) -> Pair:
    volume = Dataset(
        "tank/v", GUID, snapshots=[snap("tank/v", number) for number in source], values={"type": Value("filesystem")}
    )
    volume.bookmarks = [Bookmark(f"tank/v#{Cursor(ID, str(n)).format()}", str(n), n) for n in bookmarks]
    there = None
    if replica is not None:
        there = Dataset("backup/v", "901", snapshots=[snap("backup/v", number) for number in replica], ours=mark())
        there.values["written"] = Value("0")
    return Pair(volume, "backup/v", there, None, "77", "a:tank/v", "b:backup/v", "a", "b", **more)  # type: ignore[arg-type]


def carried(plan: PairPlan) -> list[str]:
    assert plan.error is None, plan.error
    return [str(snapshot.guid) for send in plan.sends for snapshot in send.carries]


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
            id="one-left-out",
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
    ("source", "replica", "options", "words"),
    [
        ([1, 2], [1, 9], PairOptions(), "diverged .* backup/v@s9"),
        ([2], [1], PairOptions(), "no snapshot in common"),
        ([2], [1], PairOptions(on_divergence="rollback"), "no snapshot in common"),
        ([], None, PairOptions(), "has no snapshot"),
        ([1], None, PairOptions(include=("daily-*",)), "filters allow"),
    ],
)
def test_refusals(source, replica, options, words):
    plan = plan_pair(pair(source, replica), options)
    assert isinstance(plan.error, Refused)
    assert plan.steps == []
    with pytest.raises(Refused, match=words):
        raise plan.error


@pytest.mark.parametrize(
    ("ours", "words"),
    [({}, "not a replica made by"), (mark("123"), "is the replica of a:tank/v"), (mark(released=True), "released")],
)
@pytest.mark.parametrize("on_divergence", ["fail", "rollback", "reseed"])
def test_only_into_its_own_replica(ours, words, on_divergence):
    """Whatever the options say, nothing goes into a dataset of somebody else."""
    case = pair([1, 2], [1])
    case.replica.ours = ours
    with pytest.raises(Refused, match=words):
        raise plan_pair(case, PairOptions(on_divergence=on_divergence)).error


@pytest.mark.parametrize(("number", "expected"), [(2, ["1", "2"]), (1, ["1"])])
def test_what_is_newer_than_the_named_one_stays_here(number, expected):
    case = pair([1, 2, 3], None)
    case.snapshot_name = f"s{number}"
    assert carried(plan_pair(case, PairOptions())) == expected


@pytest.mark.parametrize(("frozen", "raw"), [("plain", "always"), ("raw", "never")])
def test_raw_and_plain_streams_never_meet(frozen, raw):
    case = pair([1, 2], [1])
    case.replica.ours = mark(mode=frozen)
    case.source.values["encryption"] = Value("aes-256-gcm" if frozen == "plain" else "off")
    with pytest.raises(Refused, match="cannot mix"):
        raise plan_pair(case, PairOptions(raw=raw)).error
    assert [send.raw for send in plan_pair(case, PairOptions()).sends] == [frozen == "raw"]


def test_rollback_lists_what_goes():
    case = pair([1, 2], [1, 8, 9])
    case.replica.snapshots[2].holds = [Hold(LastHold(ID).format())]
    plan = plan_pair(case, PairOptions(on_divergence="rollback"))
    commands = [command for action in plan.prepare for command in action.commands]
    assert commands == [
        ["zfs", "release", LastHold(ID).format(), "backup/v@s9"],
        ["zfs", "destroy", "backup/v@s8,s9"],
        ["zfs", "rollback", "backup/v@s1"],
    ]
    assert carried(plan) == ["2"]


@pytest.mark.parametrize("blocker", [{"holds": [Hold("legal")]}, {"clones": ["backup/c"]}])
def test_rollback_never_touches_what_others_need(blocker):
    case = pair([1, 2], [1, 9])
    for key, value in blocker.items():
        setattr(case.replica.snapshots[1], key, value)
    plan = plan_pair(case, PairOptions(on_divergence="rollback"))
    assert "others need backup/v@s9" in str(plan.error)


def token(toguid: int, fromguid: int | None = None, raw: bool = False) -> Token:
    return Token("1-x", str(toguid), f"tank/v@s{toguid}", 1000, str(fromguid) if fromguid else None, raw)


def with_token(case: Pair, found: Token) -> Pair:
    case.replica.token = found
    case.replica.values["receive_resume_token"] = Value(found.text)
    return case


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
    ("found", "options", "words"),
    [
        (token(7, 1), PairOptions(), "not on the source"),
        (token(2, 1), PairOptions(exclude=("s2",)), "not among the wished"),
        (token(2, 1, raw=True), PairOptions(), "raw or plain"),
        (token(3, 2), PairOptions(), "newer than its base"),
        (token(2, 1), PairOptions(resume=False), "resume is off"),
        (token(3, 1), PairOptions(), "leaves out tank/v@s2"),
    ],
)
def test_dead_tokens_are_aborted_by_a_listed_action(found, options, words):
    plan = plan_pair(with_token(pair([1, 2, 3], [1]), found), options)
    assert plan.error is None
    assert words in plan.prepare[0].text
    assert plan.prepare[0].commands == (["zfs", "receive", "-A", "backup/v"],)
    assert plan.sends[0].kind == "incremental"


def test_a_token_without_its_base_on_the_source_is_dead():
    case = with_token(pair([2, 3], [0, 1], (0,)), token(3, 1))
    case.replica.snapshots[0].guid = "0"
    plan = plan_pair(case, PairOptions(on_divergence="rollback", exclude=("s2",)))
    assert "its base is not on the source" in plan.prepare[0].text


def test_what_was_written_to_is_not_resumed():
    """The receive would be refused each time anew."""
    case = with_token(pair([1, 2], [1]), token(2, 1))
    case.replica.values["written"] = Value("512")
    assert "512 bytes written" in str(plan_pair(case, PairOptions()).error)
    plan = plan_pair(case, PairOptions(on_divergence="rollback"))
    assert [action.commands[0][1] for action in plan.prepare] == ["receive", "rollback"]


def test_a_replica_is_born_with_what_its_kind_has():
    options = PairOptions(properties={"atime": "off", "compression": "zstd", "volblocksize": "16K"})
    one = pair([1], None)
    born = bookkeeping.first_receive_properties(one, options, raw=False)
    assert {*born} - {SourceMark.NAME} == {"readonly", "canmount", "atime", "compression"}
    one.source.values["type"] = Value("volume")
    born = bookkeeping.first_receive_properties(one, options, raw=False)
    assert {*born} - {SourceMark.NAME} == {"readonly", "volblocksize", "compression"}


def test_a_first_receive_begun_by_hand_is_adopted():
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


def test_check_mode_counts_a_named_snapshot_as_made():
    case = pair([1], [1])
    case.snapshot_name = "s2"
    plan = plan_pair(case, PairOptions(), making=True)
    assert streams(plan) == [("incremental", "tank/v@s1", "s2", False)]
    assert plan.warnings
    case = pair([1], [1])
    case.snapshot_name = "s2"
    assert "does not exist" in str(plan_pair(case, PairOptions()).error)


def test_long_names():
    case = pair([1], None)
    case.replica_name = "backup/" + "x" * 243
    assert "249" in str(plan_pair(case, PairOptions()).error)


# --- random histories ------------------------------------------------------------------------------------------------


@dataclass
class World:
    """Two sides as ZFS would keep them: a stream only fits on its base, and only what exists can be sent."""

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
                assert between == numbers, "-I carries everything on its way"
            else:
                assert len(numbers) == 1
            self.replica = self.replica + numbers


numbers = st.sets(st.integers(1, 30), min_size=1, max_size=12)


class History:
    """Two volumes that live, step by step, by the rules of ZFS: what a hold or a clone keeps stays, marked or not."""

    def __init__(self) -> None:
        self.source: list[int] = []
        self.replica: list[int] | None = None
        self.cursors: set[int] = set()
        self.held: set[int] = set()  # by our step holds, by others, or by clones: what a deletion only marks
        self.temporary: set[int] = set()
        self.written = False
        self.token: tuple[int, int | None] | None = None  # (what was on its way, its base)
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
        one = self.source[choice % len(self.source)] if self.source else None
        if event in ("snapshot", "temporary"):
            self.source.append(self.next)
            if event == "temporary":
                self.temporary.add(self.next)
            self.next += 1
        elif event in ("hold", "clone") and one:
            self.held.add(one)
        elif event == "delete" and one and one not in self.held:
            self.source.remove(one)
        elif event == "rollback" and one:
            if not self.held & set(self.source[self.source.index(one) + 1 :]):
                del self.source[self.source.index(one) + 1 :]
                self.cursors = {cursor for cursor in self.cursors if cursor <= one}
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
        else:  # what a cut left half arrived comes first
            assert found[-1:] == requested[-1:]
            assert len(found) == 1 or (plan.sends[0].kind == "resume" and len(found) == 2)
        protected = {int(str(snapshot.guid)) for snapshot in plan.protects}
        self.held |= protected
        if self.send(plan, cut):
            self.held -= protected
            self.cursors = {self.replica[-1]} if self.replica else set()
            assert plan_pair(self.pair(), options).sends == [], "a second run has nothing to send"

    def prepare(self, plan: PairPlan) -> None:
        words = [action.text.split()[0] for action in plan.prepare]
        if "abort" in words:
            self.token = None
            self.replica = self.replica or None
        if "put" in words:
            self.replica, self.token, self.written = None, None, False
        if "roll" in words and self.replica is not None:
            gone = {name.partition("@")[2] for step in plan.prepare for name in step.names if "@" in name}
            left = [number for number in self.replica if f"s{number}" not in gone]
            assert gone == {f"s{number}" for number in self.replica if number > left[-1]}, "just what is newer"
            self.replica, self.written = left, False

    def send(self, plan: PairPlan, cut: int | None) -> bool:
        """False when it was cut after so many snapshots."""
        for send in plan.sends:
            assert not self.written, "ZFS takes nothing into what was written to"
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
                    assert [n for n in self.source if begin < n <= whole[-1]] == whole, "-I carries all on its way"
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
    """Whatever happened on either side, a plan carries just the wished GUIDs, in order, from a base that both have."""
    history = History()
    for event in ("snapshot", "replicate", "snapshot", "snapshot"):
        history.step(event, 0, PairOptions())
    for event, choice, options in events:
        history.step(event, choice, options)


@given(
    source=numbers,
    gone=numbers,
    common=st.sets(st.integers(1, 30)),
    excluded=st.sets(st.integers(1, 30)),
    intermediates=st.booleans(),
    marked=st.booleans(),
)
def test_plans_carry_exactly_the_wished(source, gone, common, excluded, intermediates, marked):
    """From a base that both have, in order, with the fewest streams, and a second plan has nothing to do."""
    history = sorted(source)
    replica = sorted(set(history) & common) or None
    left = sorted(set(history) - (gone if replica else set()))
    bookmarks = {replica[-1]} if replica and marked else set()
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
    """Between two neighbouring streams there is always a reason: a snapshot left out, or the first full one."""
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


# --- marks -----------------------------------------------------------------------------------------------------------


def settled(case: Pair) -> Pair:
    """All marks as a finished run leaves them."""
    goal = case.source.snapshots[-1]
    case.source.bookmarks = [Bookmark(f"tank/v#{Cursor(ID, str(goal.guid)).format()}", str(goal.guid), 1)]
    case.source.ours = {ReplicaRecord.name(ID): json.dumps({"target": "b:backup/v"})}
    case.replica.snapshots[-1].holds = [Hold(LastHold(ID).format())]
    return case


def test_settled_marks_stay():
    case = settled(pair([1, 2], [1, 2]))
    assert bookkeeping.settle(case) == []
    assert settled_at_a_glance(case, PairOptions())


@pytest.mark.parametrize("spoil", ["old cursor", "another replica is behind", "open", "no cursor", "not there"])
def test_a_glance_is_not_enough(spoil):
    case = settled(pair([1, 2], [1, 2]))
    if spoil == "old cursor":
        case.source.bookmarks.append(Bookmark(f"tank/v#{Cursor(ID, '1').format()}", "1", 1))
    elif spoil == "another replica is behind":
        case.source.bookmarks.append(Bookmark(f"tank/v#{Cursor('f' * 16, '1').format()}", "1", 1))
    elif spoil == "open":
        case.source.bookmarks.append(Bookmark(f"tank/v#cerss.zfs_{ID}_open", "1", 1))
    elif spoil == "no cursor":
        case.source.bookmarks = []
    else:
        case.replica.snapshots.pop()
    assert not settled_at_a_glance(case, PairOptions())


def test_settling_moves_every_mark_and_removes_the_old_cursor_last():
    case = pair([1, 2], [1, 2], bookmarks=(1,))
    case.source.snapshots[0].holds = [Hold(StepHold(ID).format()), Hold("mine")]
    first = case.source.snapshots[0]
    first.state, first.userrefs, first.clones = "pending_delete", 1, []
    case.source.snapshots[1].holds = [Hold(StepHold(ID).format())]
    case.replica.snapshots[0].holds = [Hold(LastHold(ID).format())]
    case.replica.ours[Announcement.NAME] = "[]"
    actions = bookkeeping.settle(case)
    verbs = [action.commands[0][1:] for action in actions]
    cursor = f"tank/v#cerss.zfs_{ID}_"
    assert verbs[0] == ["bookmark", "tank/v@s2", cursor + "2"]
    assert verbs[-1] == ["destroy", cursor + "1"]
    assert ["hold", LastHold(ID).format(), "backup/v@s2"] in verbs
    assert ["release", LastHold(ID).format(), "backup/v@s1"] in verbs
    assert ["release", StepHold(ID).format(), "tank/v@s1", "tank/v@s2"] in verbs
    assert ["inherit", Announcement.NAME, "backup/v"] in verbs
    assert any("ZFS then destroys tank/v@s1" in action.text for action in actions)


def test_a_waiting_part_keeps_its_holds_and_announcement():
    case = with_token(pair([1, 2], [1], bookmarks=(1,)), token(2, 1))
    case.source.snapshots[1].holds = [Hold(StepHold(ID).format())]
    case.replica.ours[Announcement.NAME] = "[]"
    assert all(action.commands[0][1] not in ("release", "inherit") for action in bookkeeping.settle(case))


def test_protect_holds_base_and_every_snapshot():
    case = pair([1, 2, 3], [1], bookmarks=(1,))
    plan = plan_pair(case, PairOptions())
    record, hold = (action.commands[0][1:] for action in bookkeeping.protect(case, plan))
    assert record[1].startswith(ReplicaRecord.name(ID))
    assert hold == ["hold", StepHold(ID).format(), "tank/v@s1", "tank/v@s2", "tank/v@s3"]


@pytest.mark.parametrize("replica", [[1, 9], [8, 9]])
def test_reseed_puts_the_old_one_aside(replica):
    case = pair([1, 2, 3], replica)
    case.replica.snapshots[-1].holds = [Hold(LastHold(ID).format())]
    plan = plan_pair(case, PairOptions(on_divergence="reseed"))
    aside = "backup/v_aside_385"
    assert plan.error is None
    assert plan.prepare[0].commands == (
        ["zfs", "rename", "-u", "backup/v", aside],
        ["zfs", "inherit", SourceMark.NAME, aside],
        ["zfs", "release", LastHold(ID).format(), f"{aside}@s9"],
    )
    assert case.id == ID
    if replica[0] == 1:  # only what is new travels: the new one grows out of the old one
        assert [(send.kind, send.base, send.origin) for send in plan.sends] == [
            ("incremental", "tank/v@s1", f"{aside}@s1"),
            ("incremental", "tank/v@s2", None),
        ]
        assert carried(plan) == ["2", "3"]
    else:
        assert [send.kind for send in plan.sends] == ["full", "incremental"]


@pytest.mark.parametrize("side", ["source", "replica"])
def test_promotions_are_told_apart(side):
    """The snapshots went to a clone: said with the way back, and a reseed grows out of them."""
    if side == "source":
        case = pair([3, 4], [1, 2])
        case.source.origin, case.source.origin_guid = "tank/c@s2", "2"
        taker, victim = "went to tank/c when", "promoting a:tank/v"
        born = ("tank/c@s2", "backup/v_aside_385@s2")
    else:
        case = pair([1, 2, 3, 4], [])
        case.replica.origin, case.replica.origin_guid = "backup/c@s2", "2"
        taker, victim = "went to backup/c when", "promoting b:backup/v"
        born = ("tank/v@s2", "backup/c@s2")
    error = str(plan_pair(case, PairOptions(on_divergence="rollback")).error)
    assert taker in error
    assert victim in error
    plan = plan_pair(case, PairOptions(on_divergence="reseed"))
    assert carried(plan) == ["3", "4"]
    assert (plan.sends[0].base, plan.sends[0].origin) == born
    assert plan.sends[1].base == "tank/v@s3"


def below(case: Pair, *names: str) -> Pair:
    case.replica.children = [f"backup/v/{name}" for name in names]
    values = {"type": Value("filesystem"), "encryptionroot": Value("-")}
    case.below = [Dataset(name, values={**values}) for name in case.replica.children]
    return case


def test_what_stands_below_comes_back_after_a_reseed():
    case = below(pair([1, 2], [1, 9], bookmarks=(1,)), "c", "z")
    case.below[1].values["type"] = Value("volume")
    plan = plan_pair(case, PairOptions(on_divergence="reseed"))
    aside = "backup/v_aside_385"
    assert plan.error is None
    known, moved = plan.prepare
    (name, value) = known.commands[0][2].split("=", 1)
    assert name == ReplicaRecord.name(ID)
    assert json.loads(value)["aside"] == aside
    assert moved.commands[0] == ["zfs", "rename", "-u", "backup/v", aside]
    back = (["zfs", "rename", "-u", f"{aside}/c", "backup/v/c"], ["zfs", "rename", f"{aside}/z", "backup/v/z"])
    assert plan.marks[0].commands == back
    # Cut before the end: the next run finds the record, and what is still away.
    assert not [action for action in bookkeeping.protect(case, plan) if "record" in action.text]
    again = pair([1, 2], [1, 2], bookmarks=(1,))
    again.source.ours, again.aside, again.below = {name: value}, aside, case.below
    first, *_others = settled = bookkeeping.settle(again)
    assert first.commands == back
    assert "aside" not in next(action for action in settled if "record" in action.text).commands[0][2]


def test_nothing_is_put_aside_that_could_not_come_back():
    case = below(pair([1, 2], [1, 9]), "c")
    case.below[0].values["encryptionroot"] = Value("backup/v")
    assert "backup/v/c has its key from there" in str(plan_pair(case, PairOptions(on_divergence="reseed")).error)
    case = below(pair([1, 2], [1, 9]), "c")
    case.aside = "backup/v_aside_1"
    assert "below backup/v_aside_1" in str(plan_pair(case, PairOptions(on_divergence="reseed")).error)


def test_what_a_cut_reseed_left_marked_is_finished():
    case = pair([1, 2], None, known_id=ID)
    aside = Dataset("backup/v_aside_385", "901", snapshots=[snap("backup/v_aside_385", 1)], ours=mark())
    aside.snapshots[0].holds = [Hold(LastHold(ID).format())]
    case.half_aside = aside
    plan = plan_pair(case, PairOptions())
    assert plan.prepare[0].commands == (
        ["zfs", "inherit", SourceMark.NAME, aside.name],
        ["zfs", "release", LastHold(ID).format(), f"{aside.name}@s1"],
    )
    assert [send.kind for send in plan.sends] == ["full", "incremental"]


@pytest.mark.parametrize(
    ("cursor", "opens"),
    [
        pytest.param(None, True, id="first"),
        pytest.param(1, False, id="on-the-way"),
        pytest.param(2, True, id="lost-replica"),  # else a cut would look settled: the cursor is at the goal already
    ],
)
def test_until_it_is_settled_a_run_does_not_look_so(cursor, opens):
    case = pair([1, 2], None, bookmarks=(cursor,) if cursor else (), known_id=ID)
    made = [
        command[-1]
        for action in bookkeeping.protect(case, plan_pair(case, PairOptions()))
        for command in action.commands
    ]
    assert (f"tank/v#cerss.zfs_{ID}_open" in made) is opens


def test_a_renamed_replica_is_not_begun_anew():
    case = pair([1, 2], None, bookmarks=(1,))
    case.strayed = "backup/elsewhere"
    assert "is backup/elsewhere now" in str(plan_pair(case, PairOptions()).error)


@pytest.mark.parametrize("kept_by", ["hold", "cursor"])
def test_rollback_leaves_the_base_of_a_further_replica(kept_by):
    case = pair([1, 2], [1, 9])
    if kept_by == "hold":
        case.replica.snapshots[-1].holds = [Hold(StepHold("f" * 16).format())]
    else:
        case.replica.bookmarks = [Bookmark(f"backup/v#{Cursor('f' * 16, '9').format()}", "9", 9)]
    assert "others need" in str(plan_pair(case, PairOptions(on_divergence="rollback")).error)


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
