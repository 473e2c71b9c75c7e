# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The planner, against a model of what ZFS lets streams do: histories are random, the rules are not."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils import _marks, _model
from ansible_collections.cerss.zfs.plugins.module_utils._errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._model import Bookmark, Dataset, Hold, Snapshot, Token
from ansible_collections.cerss.zfs.plugins.module_utils._pair import Pair, PairPlan, Wishes
from ansible_collections.cerss.zfs.plugins.module_utils._replication import plan_pair, settled_at_a_glance

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
        _model.SOURCE: json.dumps({"id": ID, "host": "a", "dataset": "tank/v", "guid": guid, "mode": "plain", **more})
    }


def pair(source: list[int], replica: list[int] | None, bookmarks: tuple[int, ...] = (), **more: object) -> Pair:
    volume = Dataset(
        "tank/v", GUID, snapshots=[snap("tank/v", number) for number in source], values={"type": "filesystem"}
    )
    volume.bookmarks = [Bookmark(f"tank/v#{_model.cursor_name(ID, str(n))}", str(n), n) for n in bookmarks]
    there = None
    if replica is not None:
        there = Dataset("backup/v", "901", snapshots=[snap("backup/v", number) for number in replica], ours=mark())
        there.values["written"] = "0"
    return Pair(volume, "backup/v", there, None, "77", "a:tank/v", "b:backup/v", "a", **more)  # type: ignore[arg-type]


def carried(plan: PairPlan) -> list[str]:
    assert plan.error is None, plan.error
    return [str(snapshot.guid) for send in plan.sends for snapshot in send.carries]


def streams(plan: PairPlan) -> list[tuple[str, str | None, str, bool]]:
    assert plan.error is None, plan.error
    return [(send.kind, send.base, send.snapshot.snapshot, send.intermediates) for send in plan.sends]


@pytest.mark.parametrize(
    ("source", "replica", "bookmarks", "wishes", "expected"),
    [
        pytest.param([1], None, (), Wishes(), [("full", None, "s1", False)], id="first"),
        pytest.param(
            [1, 2, 3],
            None,
            (),
            Wishes(),
            [("full", None, "s1", False), ("incremental", "tank/v@s1", "s3", True)],
            id="first-with-history",
        ),
        pytest.param(
            [1, 2, 3], None, (), Wishes(intermediates=False), [("full", None, "s3", False)], id="first-newest"
        ),
        pytest.param([1, 2, 3], [1], (), Wishes(), [("incremental", "tank/v@s1", "s3", True)], id="all-since"),
        pytest.param(
            [1, 2, 3],
            [1],
            (),
            Wishes(intermediates=False),
            [("incremental", "tank/v@s1", "s3", False)],
            id="newest-only",
        ),
        pytest.param(
            [1, 2, 3], [1], (), Wishes(exclude=("s2",)), [("incremental", "tank/v@s1", "s3", False)], id="one-left-out"
        ),
        pytest.param([1, 2], [1, 2], (), Wishes(), [], id="nothing-to-do"),
        pytest.param(
            [2, 3],
            [1],
            (1,),
            Wishes(),
            [("incremental", f"tank/v#cerss.zfs_{ID}_1", "s2", False), ("incremental", "tank/v@s2", "s3", False)],
            id="from-cursor",
        ),
    ],
)
def test_streams(source, replica, bookmarks, wishes, expected):
    assert streams(plan_pair(pair(source, replica, bookmarks), wishes)) == expected


@pytest.mark.parametrize(
    ("source", "replica", "wishes", "words"),
    [
        ([1, 2], [1, 9], Wishes(), "diverged .* backup/v@s9"),
        ([2], [1], Wishes(), "no snapshot in common"),
        ([2], [1], Wishes(on_divergence="rollback"), "no snapshot in common"),
        ([], None, Wishes(), "has no snapshot"),
        ([1], None, Wishes(include=("daily-*",)), "filters allow"),
    ],
)
def test_refusals(source, replica, wishes, words):
    plan = plan_pair(pair(source, replica), wishes)
    assert isinstance(plan.error, Refused)
    assert plan.actions == []
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
        raise plan_pair(case, Wishes(on_divergence=on_divergence)).error


def test_rollback_lists_what_goes():
    case = pair([1, 2], [1, 8, 9])
    case.replica.snapshots[2].holds = [Hold(_model.LAST_HOLD + ID)]
    plan = plan_pair(case, Wishes(on_divergence="rollback"))
    commands = [command for action in plan.prepare for command in action.commands]
    assert commands == [
        ["zfs", "release", _model.LAST_HOLD + ID, "backup/v@s9"],
        ["zfs", "destroy", "backup/v@s8,s9"],
        ["zfs", "rollback", "backup/v@s1"],
    ]
    assert carried(plan) == ["2"]


@pytest.mark.parametrize("blocker", [{"holds": [Hold("legal")]}, {"clones": ["backup/c"]}])
def test_rollback_never_touches_what_others_need(blocker):
    case = pair([1, 2], [1, 9])
    for key, value in blocker.items():
        setattr(case.replica.snapshots[1], key, value)
    plan = plan_pair(case, Wishes(on_divergence="rollback"))
    assert "others need backup/v@s9" in str(plan.error)


def token(toguid: int, fromguid: int | None = None, raw: bool = False) -> Token:
    return Token("1-x", str(toguid), f"tank/v@s{toguid}", 1000, str(fromguid) if fromguid else None, raw)


def with_token(case: Pair, found: Token) -> Pair:
    case.replica.token = found
    case.replica.values["receive_resume_token"] = found.text
    return case


def test_resume_comes_first():
    plan = plan_pair(with_token(pair([1, 2, 3], [1]), token(2, 1)), Wishes())
    assert streams(plan) == [("resume", "tank/v@s1", "s2", False), ("incremental", "tank/v@s2", "s3", False)]


def test_resume_of_a_first_receive():
    case = with_token(pair([1, 2], []), token(1))
    case.replica.inconsistent = True
    assert streams(plan_pair(case, Wishes())) == [
        ("resume", None, "s1", False),
        ("incremental", "tank/v@s1", "s2", False),
    ]


@pytest.mark.parametrize(
    ("found", "wishes", "words"),
    [
        (token(7, 1), Wishes(), "not on the source"),
        (token(2, 1), Wishes(exclude=("s2",)), "not among the wished"),
        (token(2, 1, raw=True), Wishes(), "raw or plain"),
        (token(3, 2), Wishes(), "newer than its base"),
        (token(2, 1), Wishes(resume=False), "resume is off"),
    ],
)
def test_dead_tokens_are_aborted_by_a_listed_action(found, wishes, words):
    plan = plan_pair(with_token(pair([1, 2, 3], [1]), found), wishes)
    assert plan.error is None
    assert words in plan.prepare[0].text
    assert plan.prepare[0].commands == (["zfs", "receive", "-A", "backup/v"],)
    assert plan.sends[0].kind == "incremental"


def test_a_foreign_partial_receive_is_left_alone():
    case = with_token(pair([1, 2], []), token(7))
    case.replica.inconsistent, case.replica.ours = True, {}
    assert "not a replica made by" in str(plan_pair(case, Wishes()).error)


def test_check_mode_counts_a_named_snapshot_as_made():
    case = pair([1], [1])
    case.wanted = "s2"
    plan = plan_pair(case, Wishes(), making=True)
    assert streams(plan) == [("incremental", "tank/v@s1", "s2", False)]
    assert plan.warnings
    case = pair([1], [1])
    case.wanted = "s2"
    assert "does not exist" in str(plan_pair(case, Wishes()).error)


def test_long_names():
    case = pair([1], None)
    case.replica_name = "backup/" + "x" * 243
    assert "249" in str(plan_pair(case, Wishes()).error)


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
    wishes = Wishes(intermediates=intermediates, exclude=tuple(f"s{number}" for number in excluded))
    plan = plan_pair(pair(left, replica, tuple(sorted(bookmarks))), wishes)
    allowed = [number for number in left if number not in excluded]
    if plan.error:
        newest = replica[-1] if replica else None
        has_base = replica is not None and (newest in left or newest in bookmarks)
        too_old = has_base and allowed and allowed[-1] < newest
        assert not allowed or (replica and not has_base) or too_old
        return
    base = max(replica) if replica else 0
    wished = [number for number in allowed if number > base] if allowed[-1] not in (replica or []) else []
    if not intermediates:
        wished = wished[-1:]
    assert carried(plan) == [str(number) for number in wished]
    world.apply(plan)
    again = plan_pair(pair(left, world.replica, tuple(sorted(bookmarks))), wishes)
    assert again.sends == []


@given(source=numbers, wishes=st.sets(st.integers(1, 30)))
def test_fewest_streams(source, wishes):
    """Between two neighbouring streams there is always a reason: a snapshot left out, or the first full one."""
    history = sorted(source)
    plan = plan_pair(pair(history, None), Wishes(include=tuple(f"s{number}" for number in wishes) or ("none",)))
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
    case.source.bookmarks = [Bookmark(f"tank/v#{_model.cursor_name(ID, str(goal.guid))}", str(goal.guid), 1)]
    case.source.ours = {_model.REPLICA_PREFIX + ID: json.dumps({"target": "b:backup/v"})}
    case.replica.snapshots[-1].holds = [Hold(_model.LAST_HOLD + ID)]
    return case


def test_settled_marks_stay():
    case = settled(pair([1, 2], [1, 2]))
    assert _marks.settle(case) == []
    assert settled_at_a_glance(case, Wishes())


@pytest.mark.parametrize("spoil", ["old cursor", "open", "no cursor", "not there"])
def test_a_glance_is_not_enough(spoil):
    case = settled(pair([1, 2], [1, 2]))
    if spoil == "old cursor":
        case.source.bookmarks.append(Bookmark(f"tank/v#{_model.cursor_name(ID, '1')}", "1", 1))
    elif spoil == "open":
        case.source.bookmarks.append(Bookmark(f"tank/v#cerss.zfs_{ID}_open", "1", 1))
    elif spoil == "no cursor":
        case.source.bookmarks = []
    else:
        case.replica.snapshots.pop()
    assert not settled_at_a_glance(case, Wishes())


def test_settling_moves_every_mark_and_removes_the_old_cursor_last():
    case = pair([1, 2], [1, 2], bookmarks=(1,))
    case.source.snapshots[0].holds = [Hold(_model.STEP_HOLD + ID), Hold("mine")]
    first = case.source.snapshots[0]
    first.state, first.userrefs, first.clones = "pending_delete", 1, []
    case.source.snapshots[1].holds = [Hold(_model.STEP_HOLD + ID)]
    case.replica.snapshots[0].holds = [Hold(_model.LAST_HOLD + ID)]
    case.replica.ours[_model.ANNOUNCED] = "[]"
    actions = _marks.settle(case)
    verbs = [action.commands[0][1:] for action in actions]
    cursor = f"tank/v#cerss.zfs_{ID}_"
    assert verbs[0] == ["bookmark", "tank/v@s2", cursor + "2"]
    assert verbs[-1] == ["destroy", cursor + "1"]
    assert ["hold", _model.LAST_HOLD + ID, "backup/v@s2"] in verbs
    assert ["release", _model.LAST_HOLD + ID, "backup/v@s1"] in verbs
    assert ["release", _model.STEP_HOLD + ID, "tank/v@s1", "tank/v@s2"] in verbs
    assert ["inherit", _model.ANNOUNCED, "backup/v"] in verbs
    assert any("ZFS then destroys tank/v@s1" in action.text for action in actions)


def test_a_waiting_part_keeps_its_holds_and_announcement():
    case = with_token(pair([1, 2], [1], bookmarks=(1,)), token(2, 1))
    case.source.snapshots[1].holds = [Hold(_model.STEP_HOLD + ID)]
    case.replica.ours[_model.ANNOUNCED] = "[]"
    assert all(action.commands[0][1] not in ("release", "inherit") for action in _marks.settle(case))


def test_protect_holds_base_and_every_snapshot():
    case = pair([1, 2, 3], [1], bookmarks=(1,))
    plan = plan_pair(case, Wishes())
    assert [action.commands[0][1:] for action in _marks.protect(case, plan)] == [
        ["hold", _model.STEP_HOLD + ID, "tank/v@s1", "tank/v@s2", "tank/v@s3"]
    ]


@pytest.mark.parametrize("replica", [[1, 9], [8, 9]])
def test_reseed_puts_the_old_one_aside(replica):
    case = pair([1, 2, 3], replica)
    case.replica.snapshots[-1].holds = [Hold(_model.LAST_HOLD + ID)]
    plan = plan_pair(case, Wishes(on_divergence="reseed"))
    aside = "backup/v_aside_385"
    assert plan.error is None
    assert plan.prepare[0].commands == (
        ["zfs", "rename", "-u", "backup/v", aside],
        ["zfs", "inherit", _model.SOURCE, aside],
        ["zfs", "release", _model.LAST_HOLD + ID, f"{aside}@s9"],
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


def test_reseed_leaves_a_replica_with_children_alone():
    case = pair([1, 2], [1, 9])
    case.replica.children = ["backup/v/c"]
    assert "backup/v/c" in str(plan_pair(case, Wishes(on_divergence="reseed")).error)


def test_rollback_leaves_the_base_of_a_further_replica():
    case = pair([1, 2], [1, 9])
    case.replica.snapshots[-1].holds = [Hold(_model.STEP_HOLD + "f" * 16)]
    assert "others need" in str(plan_pair(case, Wishes(on_divergence="rollback")).error)


def test_a_clone_stays_a_clone():
    case = pair([5, 6], None)
    case.source.origin, case.source.values["origin_guid"] = "tank/base@s1", "1"
    plan = plan_pair(case, Wishes(), {"1": "backup/base@s1"})
    assert plan.origin_preserved
    assert [(send.kind, send.base, send.origin) for send in plan.sends] == [
        ("incremental", "tank/base@s1", "backup/base@s1"),
        ("incremental", "tank/v@s5", None),
    ]
    plan = plan_pair(case, Wishes(), {"1": "other/base@s1"})
    assert plan.origin_preserved is False
    assert plan.sends[0].kind == "full"
