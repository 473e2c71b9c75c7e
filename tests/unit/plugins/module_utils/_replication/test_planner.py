# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The planner: tables of single decisions, and random histories against a model of what ZFS allows."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    Announcement,
    Filter,
    LastHold,
    ReplicaRecord,
    SourceMark,
    StepHold,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import (
    PENDING_DELETE,
    Bookmark,
    Dataset,
    Snapshot,
    Value,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import sentences
from ansible_collections.cerss.zfs.plugins.module_utils._replication import bookkeeping, divergence, planner
from ansible_collections.cerss.zfs.plugins.module_utils._replication.divergence import Apart, Diverged
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import (
    Pair,
    PairOptions,
    PairPlan,
    newest_common,
    txg,
    with_hold,
)
from ansible_collections.cerss.zfs.plugins.module_utils._replication.planner import (
    ASSUMED,
    PACKAGE,
    Survey,
    plan_all,
    plan_pair,
    requested,
    rounds,
    with_upcoming,
)
from ansible_collections.cerss.zfs.tests.unit.pairs import (
    ID,
    OTHER,
    POINT,
    RECORD,
    argvs,
    carried,
    cursor,
    link,
    named,
    pair,
    points,
    record,
    records,
    settled,
    snapshots,
    source_mark,
    token,
    with_token,
)
from ansible_collections.cerss.zfs.tests.unit.simulated import Kill, Killed, history, replicate

CURSOR = f"tank/v#cerss.zfs_{ID}_"


@pytest.fixture(autouse=True, scope="module")
def still() -> Iterator[None]:
    """A record has the time of its plan."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bookkeeping, "time", SimpleNamespace(time=lambda: 1_800_000_000.0))
        yield


def streams(plan: PairPlan) -> list[tuple[str, str | None, str, bool]]:
    assert plan.error is None, plan.error
    return [(send.kind, send.base, send.snapshot.snapshot, send.intermediates) for send in plan.sends]


def comparable(plan: PairPlan) -> tuple[PairPlan, str]:
    """Two errors are never equal."""
    return replace(plan, error=None), str(plan.error)


def all_rounds(case: Pair, options: PairOptions | None = None, **arriving: str) -> PairPlan:
    """One plan with the streams of all rounds."""
    options = options or PairOptions()
    found = list(rounds(plan_pair(case, options, arriving), options, arriving))
    return replace(found[0], sends=tuple(send for each in found for send in each.sends), error=found[-1].error)


# -- what is sent ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "replica", "bookmarks", "options", "expected"),
    [
        pytest.param([1], None, (), PairOptions(), [("full", None, "s1", False)], id="first"),
        pytest.param(
            [1, 2, 3], None, (), PairOptions(), [("full", None, "s1", False), ("incremental", "tank/v@s1", "s3", True)],
            id="first-with-history",
        ),
        pytest.param(
            [1, 2, 3], None, (), PairOptions(intermediates=False), [("full", None, "s3", False)], id="first-newest"
        ),
        pytest.param([1, 2, 3], [1], (), PairOptions(), [("incremental", "tank/v@s1", "s3", True)], id="all-since"),
        pytest.param(
            [1, 2, 3], [1], (), PairOptions(intermediates=False), [("incremental", "tank/v@s1", "s3", False)],
            id="newest-only",
        ),
        pytest.param(
            [1, 2, 3], [1], (), PairOptions(exclude=("s2",)), [("incremental", "tank/v@s1", "s3", False)],
            id="one-excluded",
        ),
        pytest.param(
            [1, 2, 3, 4, 5], [1], (), PairOptions(exclude=("s4",)),
            [("incremental", "tank/v@s1", "s3", True), ("incremental", "tank/v@s3", "s5", False)], id="docstring",
        ),
        pytest.param(
            [1, 2, 3], [1], (), PairOptions(packages=False),
            [("incremental", "tank/v@s1", "s2", False), ("incremental", "tank/v@s2", "s3", False)],
            id="one-by-one-through-a-relay",
        ),
        pytest.param([1, 2], [1, 2], (), PairOptions(), [], id="nothing-to-send"),
        pytest.param(
            [2, 3, 4], [1], (1,), PairOptions(),
            [("incremental", f"{CURSOR}1", "s2", False), ("incremental", "tank/v@s2", "s4", True)], id="from-cursor",
        ),
    ],
)  # fmt: skip
def test_streams(
    source: list[int], replica: list[int] | None, bookmarks: tuple[int, ...], options: PairOptions, expected: list[Any]
) -> None:
    assert streams(all_rounds(pair(source, replica, bookmarks), options)) == expected


@pytest.mark.parametrize(
    ("change", "options", "expected"),
    [
        ({}, PairOptions(), "1 2 3"),
        ({"temporary": True}, PairOptions(), "1 3"),
        ({"state": PENDING_DELETE}, PairOptions(), "1 3"),
        ({}, PairOptions(include=("s1", "s2")), "1 2"),
        ({}, PairOptions(include=("s1", "s2"), exclude=("s[2-9]",)), "1"),
        ({}, PairOptions(intermediates=False), "3"),
    ],
)
def test_requested(change: dict[str, Any], options: PairOptions, expected: str) -> None:
    case = pair([1, 2, 3], None)
    case.source.snapshots[1] = replace(case.source.snapshots[1], **change)
    assert " ".join(str(snap.guid) for snap in requested(case, options)) == expected
    # By name it is requested in any state, and nothing newer than it.
    assert [snap.guid for snap in requested(named(case, "s2"), options)][-1] == "2"
    assert requested(named(case, "s4"), options) == []


@pytest.mark.parametrize(
    ("source", "options", "name", "message"),
    [
        ([], PairOptions(), None, "tank/v has no snapshot; {} or the role zfs_jobs$"),
        ([1], PairOptions(include=("daily-*",)), None, "filters allow .*; {} or the role zfs_jobs, or change include_"),
        ([1], PairOptions(), "s2", "tank/v@s2 does not exist; {}, or name another snapshot$"),
    ],
)
def test_nothing_to_choose(source: list[int], options: PairOptions, name: str | None, message: str) -> None:
    """An error for a dataset that the user named, a warning for one that only lies below it."""
    message = message.format("create one with cerss.zfs.zfs_snapshot")
    case = pair(source, None, name=name)
    plan = plan_pair(case, options)
    assert plan.steps == ()
    with pytest.raises(Refused, match=message):
        raise plan.error or AssertionError
    plan = plan_pair(replace(case, link=replace(case.link, named=False)), options)
    assert (plan.error, plan.steps) == (None, ())
    assert plan.warnings == (f"{str(plan_pair(case, options).error).partition(';')[0]}; it is skipped",)


def test_a_snapshot_older_than_the_newest_one_there_cannot_be_sent() -> None:
    case = settled(pair([1, 2, 3, 4], [1, 4]))
    plan = plan_pair(case, PairOptions())
    assert (plan.error, plan.steps) == (None, ())
    assert plan.warnings == (
        "b:backup/v lacks tank/v@s2, tank/v@s3; ZFS cannot add it, since the replica has newer ones",
    )
    plan = plan_pair(case, PairOptions(exclude=("s2", "s4")))
    assert "b:backup/v already holds snapshots newer than tank/v@s3" in str(plan.error)
    # Older than the first common one: it was never meant to be there.
    assert plan_pair(settled(pair([1, 2, 3], [2, 3])), PairOptions()).warnings == ()


def test_packages_have_at_most_a_hundred_snapshots() -> None:
    """Only those that travel next are held."""
    found = list(rounds(plan_pair(pair(range(1, 251), [1]), PairOptions()), PairOptions(), {}))
    assert [[len(send.carries) for send in plan.sends] for plan in found] == [[PACKAGE], [PACKAGE], [49]]
    assert [plan.more for plan in found] == [True, True, False]
    held = [command[2:] for plan in found for command in argvs(plan.protect) if command[0] == "hold"]
    assert held == [[snap.name for snap in plan.carries] for plan in found]
    relay = PairOptions(packages=False)
    found = list(rounds(plan_pair(pair(range(1, 112), [1]), relay), relay, {}))
    assert [len(plan.sends) for plan in found] == [PACKAGE, 10]


# -- what is not sent --------------------------------------------------------------------------------------------------


def test_a_paused_relationship_is_skipped() -> None:
    case = pair([1, 2], [1])
    case.source.ours = records(record(paused=True))
    plan = plan_pair(case, PairOptions())
    assert (plan.error, plan.steps) == (None, ())
    assert "is paused (zfs_replication with paused=true), so a:tank/v is skipped" in plan.warnings[0]


def test_a_delivered_snapshot_is_there_although_the_source_has_deleted_it() -> None:
    case = settled(pair([3], [2, 3], name="s2"))
    assert "does not exist" in str(plan_pair(case, PairOptions()).error)
    case.source.bookmarks.insert(0, cursor(2, OTHER))
    assert "does not exist" in str(plan_pair(case, PairOptions(), assume_created=False).error)
    case.source.bookmarks.insert(0, cursor(2))
    for assume_created in (False, True):
        plan = plan_pair(case, PairOptions(), assume_created=assume_created)
        assert (plan.error, plan.steps, plan.warnings, plan.goal) == (None, (), (), case.replica.by_guid("2"))  # type: ignore[union-attr]


def test_check_mode_assumes_that_a_named_snapshot_is_created() -> None:
    case = pair([1], [1], name="s2")
    plan = plan_pair(case, PairOptions(), assume_created=True)
    assert streams(plan) == [("incremental", "tank/v@s1", "s2", False)]
    assert carried(plan) == [ASSUMED]
    assert plan.warnings == ("tank/v@s2 does not exist; check mode assumes that an earlier task creates it",)
    assert "does not exist" in str(plan_pair(case, PairOptions()).error)


@pytest.mark.parametrize(
    ("place", "name", "message"),
    [
        ("backup/" + "x" * 243, "s1", "has 250 characters; a replica's name can have at most 249"),
        ("backup/" + "x" * 242, "s1234", None),
        ("backup/" + "x" * 242, "s12345", "would have 256 characters, and ZFS takes 255"),
    ],
)
def test_long_names(place: str, name: str, message: str | None) -> None:
    case = pair([1], None)
    case.source.snapshots[0].name = f"tank/v@{name}"
    plan = plan_pair(replace(case, link=link(replica_name=place)), PairOptions())
    assert (message in str(plan.error)) if message else plan.error is None
    assert bool(plan.steps) is (message is None)


def test_a_long_name_is_refused_before_the_first_package() -> None:
    case = pair(range(1, 150), None)
    case.source.snapshots[140].name = f"tank/v@{'s' * 248}"
    plan = plan_pair(case, PairOptions())
    assert "would have 257 characters, and ZFS takes 255" in str(plan.error)
    assert plan.steps == ()


def test_no_new_replica_if_the_old_one_was_renamed() -> None:
    case = replace(pair([1, 2], None, (1,), recorded=True), moved_to="b:backup/elsewhere")
    error = str(plan_pair(case, PairOptions()).error)
    assert "the replica of a:tank/v is now b:backup/elsewhere, not b:backup/v; rename it back" in error
    assert f"end the relationship {ID}" in error


def test_what_could_not_be_read_is_the_error_of_that_pair_alone() -> None:
    case = replace(pair([1], None), trouble=Refused("spoilt"))
    other = replace(pair([1], None), link=link(source_name="tank/w", replica_name="backup/w"))
    lost = (link(source_name="tank/x", replica_name="backup/x"), Refused("no such dataset"))
    plans = plan_all(Survey((case, other), (lost,)), PairOptions()).plans
    assert [str(plan.error) for plan in plans] == ["spoilt", "None", "no such dataset"]


# -- partial receives ------------------------------------------------------------------------------------------------


def test_resume_comes_first() -> None:
    """It goes only as far as the partial receive; the rest is planned when that has arrived."""
    case = with_token(pair([1, 2, 3], [1]), token(2, 1))
    plan = plan_pair(case, PairOptions())
    assert (streams(plan), plan.more) == ([("resume", "tank/v@s1", "s2", False)], True)
    assert streams(all_rounds(case))[1:] == [("incremental", "tank/v@s2", "s3", False)]


def test_resume_of_a_first_receive() -> None:
    case = with_token(pair([1, 2], []), token(1))
    assert streams(all_rounds(case)) == [("resume", None, "s1", False), ("incremental", "tank/v@s1", "s2", False)]


@pytest.mark.parametrize(
    ("found", "options", "reason"),
    [
        (token(7, 1), PairOptions(), "tank/v@s7 is no longer on the source"),
        (token(2, 1), PairOptions(exclude=("s2",)), "not among the requested"),
        (token(2, 1, raw=True), PairOptions(), "raw or plain"),
        (token(3, 2), PairOptions(), "backup/v@s1 is newer than its base"),
        (token(2, 1), PairOptions(resume=False), "resume is off"),
        (token(3, 1), PairOptions(), "leaves out tank/v@s2"),
        (None, PairOptions(), "its resume token cannot be read"),
    ],
)
def test_a_partial_receive_that_cannot_be_resumed_is_aborted(found: Any, options: PairOptions, reason: str) -> None:
    case = with_token(pair([1, 2, 3], [1]), found or token(2, 1))
    assert case.replica
    case.replica.token = found
    plan = plan_pair(case, options)
    assert plan.error is None
    assert reason in plan.prepare[0].text
    assert argvs(plan.prepare) == [["receive", "-A", "backup/v"]]
    assert plan.sends[0].kind == "incremental"


def test_a_first_receive_that_is_aborted_begins_again() -> None:
    """ZFS destroys a dataset that holds nothing else."""
    case = replace(with_token(pair([1, 2], []), token(7)), missing_parents=("backup",))
    plan = plan_pair(case, PairOptions())
    assert argvs(plan.prepare) == [["receive", "-A", "backup/v"]]
    assert plan.sends[0].kind == "full"


def test_a_partial_receive_whose_base_is_gone_from_the_source_is_aborted() -> None:
    case = with_token(pair([2, 3], [1], (1,)), token(3, 1))
    assert plan_pair(case, PairOptions(exclude=("s2",))).sends[0].kind == "resume"  # the cursor is the base
    case = with_token(pair([1, 2, 3], [1, 8]), token(3, 8))
    plan = plan_pair(case, PairOptions(on_divergence="rollback"))
    assert "its base is not kept" in plan.prepare[0].text
    assert [command[0] for command in argvs(plan.prepare)] == ["receive", "destroy", "rollback"]


def test_a_receive_without_a_token_cannot_be_resumed() -> None:
    assert "left over from a receive without -s" in str(plan_pair(pair([1], []), PairOptions()).error)


def test_a_first_receive_started_by_hand_is_adopted() -> None:
    """Its token proves that it is of this source."""
    case = with_token(pair([1, 2], [], recorded=False), token(1))
    assert case.replica
    case.replica.ours = {}
    plan = plan_pair(case, PairOptions(pulled=True))
    (command,) = argvs(plan.prepare)
    assert command[0] == "set"
    assert command[1:4] == [
        "readonly=on",
        "canmount=noauto",
        f"{SourceMark.NAME}={bookkeeping.source_mark(case, 'plain').format()}",
    ]
    assert plan.prepare[0].text == "adopt the partial receive in b:backup/v"
    assert [send.kind for send in plan.sends] == ["resume"]
    with_token(case, token(1, raw=True))
    assert "that this collection did not start and that cannot be resumed" in str(plan_pair(case, PairOptions()).error)
    with_token(case, token(7))
    assert "is not a replica made by this collection" in str(plan_pair(case, PairOptions()).error)


# -- several pairs ---------------------------------------------------------------------------------------------------


def test_a_clone_stays_a_clone() -> None:
    case = pair([5, 6], None)
    case.source.origin, case.source.origin_guid = "tank/base@s1", "1"
    plan = plan_pair(case, PairOptions(), {"1": "backup/base@s1"})
    assert plan.origin_preserved
    assert [(send.kind, send.base, send.origin) for send in plan.sends] == [
        ("incremental", "tank/base@s1", "backup/base@s1"),
        ("incremental", "tank/v@s5", None),
    ]
    for arriving in ({"1": "other/base@s1"}, {}):  # a clone is in the same pool as its origin
        plan = plan_pair(case, PairOptions(), arriving)
        assert plan.origin_preserved is False
        assert plan.sends[0].kind == "full"
    assert plan_pair(pair([5], None), PairOptions()).origin_preserved is None


def beside(case: Pair, name: str, **fields: Any) -> Pair:
    """The pair as that of tank/NAME and backup/NAME."""
    for dataset, pool in ((case.source, "tank"), (case.replica, "backup")):
        if dataset:
            dataset.name = f"{pool}/{name}"
            dataset.snapshots = snapshots(dataset.name, *(int(str(snap.guid)) for snap in dataset.snapshots))
    names = {"source_name": f"tank/{name}", "replica_name": f"backup/{name}"}
    return replace(
        case, link=link(**names, source_address=f"a:tank/{name}", target_address=f"b:backup/{name}"), **fields
    )


UPCOMING = {"tank/v": "tank/v@s3", "tank/w": "tank/w@s3"}


@pytest.mark.parametrize("already", [[], [1], [1, 2]])
@pytest.mark.parametrize(
    ("options", "is_sent"),
    [
        (PairOptions(), True),
        (PairOptions(include=("s3",)), True),
        (PairOptions(include=("s1", "s2")), False),
        (PairOptions(intermediates=False), True),
    ],
)
def test_check_mode_foresees_a_snapshot_that_an_earlier_task_creates(
    options: PairOptions, is_sent: bool, already: list[int]
) -> None:
    """As the run does it, only if the filters allow it."""
    zfs = history(1, 2)
    if already:
        replicate(zfs, PairOptions(include=tuple(f"s{number}" for number in already)))
    foreseen = with_upcoming(zfs.pair(), UPCOMING, 1_700_000_000)
    assert any(snap.name == "tank/v@s3" for snap in foreseen.source.snapshots)
    zfs.snapshot("tank/v")
    check, real = plan_pair(foreseen, options), plan_pair(zfs.pair(), options)
    assert sentences(check.steps) == sentences(real.steps)
    assert any("s3" in text for text in sentences(check.steps)) == is_sent
    assert planner.settled(foreseen, options) == planner.settled(zfs.pair(), options)
    assert with_upcoming(zfs.pair(), UPCOMING, 1_700_000_000) == zfs.pair()


HOURLY, NIGHTLY = Filter("hourly", ("s[24]",)), Filter("nightly", ("s[35]",))


@pytest.mark.parametrize(
    ("run", "stored", "sent"),
    [
        (HOURLY, (HOURLY, NIGHTLY), ["2", "3", "4"]),  # after s4, s3 could not be added any more
        (HOURLY, (HOURLY, Filter("nightly", ("s[35]",), intermediates=False)), ["2", "3", "4"]),
        (HOURLY, (HOURLY, Filter("nightly", ("s5",))), ["2", "4"]),
        (HOURLY, (HOURLY,), ["2", "4"]),
        (HOURLY, (), ["2", "4"]),
        (HOURLY, (Filter("", ("s3",)),), ["2", "4"]),
        (HOURLY, (HOURLY, Filter("nightly", ("s3",), periods=("daily",))), ["2", "4"]),
        (NIGHTLY, (HOURLY, NIGHTLY), ["2", "3", "4", "5"]),
        (Filter("", ("s[24]",)), (HOURLY, NIGHTLY), ["2", "4"]),
    ],
)
def test_a_job_passes_over_nothing_that_another_one_would_send(
    run: Filter, stored: tuple[Filter, ...], sent: list[str]
) -> None:
    case = settled(replace(pair([1, 2, 3, 4, 5], [1]), link=link(filter=run)))
    case.source.ours = {**records(record(filters=stored)), **points(1)}
    options = PairOptions(include=run.include, job=run.job)
    assert [str(snap.guid) for snap in planner.requested(case, options)] == sent
    assert not planner.settled(case, options)
    plans = list(rounds(plan_pair(case, options), options, {}))
    assert [each for plan in plans for each in carried(plan)] == sent


def test_a_foreseen_snapshot_is_new_in_its_period() -> None:
    zfs = history(1)
    zfs.get("tank/v@s1").created = 1_700_000_000
    replicate(zfs)
    options = PairOptions(periods=("daily",))
    for hours, is_sent in ((1, False), (30, True)):
        foreseen = with_upcoming(zfs.pair(), {"tank/v": "tank/v@s2"}, 1_700_000_000 + 3600 * hours)
        assert bool(plan_pair(foreseen, options).sends) == is_sent


@pytest.mark.parametrize("on_divergence", ["fail", "rollback", "reseed"])
@pytest.mark.parametrize("assume_created", [True, False])
def test_the_same_survey_has_the_same_plans(on_divergence: str, assume_created: bool) -> None:
    """And nothing in it is changed, not even by the rounds that check mode plans on."""
    clone = beside(pair([5], None), "clone", missing_parents=("backup/x",))
    clone.source.origin, clone.source.origin_guid = "tank/first@s3", "3"
    pairs = (
        beside(pair([1, 2, 3], None), "first", missing_parents=("backup/x",)),
        clone,
        beside(pair([1, 2], [1, 9], (1,), at=1), "diverged"),
        with_token(beside(pair([1, 2, 3], [1]), "part"), token(2, 1)),
        beside(settled(pair([1], [1])), "settled"),
        named(beside(pair([1], [1]), "named"), "s2"),
    )
    options = PairOptions(on_divergence=on_divergence)
    given = Survey(pairs, ((link(), Refused("gone")),), {"9": "backup/diverged@s9"})
    kept = copy.deepcopy(given)
    found, again = (plan_all(given, options, assume_created) for _time in range(2))
    assert [comparable(plan) for plan in found.plans] == [comparable(plan) for plan in again.plans]
    assert (found.parents, found.arriving) == (again.parents, again.arriving)
    for plan in found.plans:
        list(rounds(plan, options, found.arriving))
    assert (given.pairs, given.arriving) == (kept.pairs, kept.arriving)


def test_what_one_plan_brings_is_the_origin_of_the_next() -> None:
    clone = beside(pair([5], None), "clone")
    clone.source.origin, clone.source.origin_guid = "tank/v@s3", "3"
    for other, origin in ((pair([1, 2, 3], [1]), "backup/v@s3"), (pair([1, 2, 3], [1, 9]), None)):
        planned = plan_all(Survey((other, clone)), PairOptions())
        assert planned.plans[1].sends[0].origin == origin
        assert planned.arriving.get("3") == origin


def test_where_a_reseed_leaves_the_origins_of_others() -> None:
    """What its new replica takes over is in the same place in the end, the rest is put aside with the old one."""
    arriving = {guid: f"backup/v@s{guid}" for guid in ("1", "9")}
    case = pair([1, 2], [1, 9])
    planned = plan_all(Survey((case,), arriving=arriving), PairOptions(on_divergence="reseed"))
    assert planned.arriving == {"1": "backup/v@s1", "2": "backup/v@s2", "9": f"backup/v_old_{ID[:8]}@s9"}


def test_a_replica_needs_the_one_above_it() -> None:
    below = beside(pair([1], None), "v/w")
    nothing, paused = pair([], None), pair([1], None)
    nothing = replace(nothing, link=link(named=False))
    paused.source.ours = records(record(paused=True))
    refused = replace(pair([1], None), trouble=Refused("spoilt"))
    for other, why in (
        (nothing, "has no snapshot to send there; create one first"),
        (pair([], None), "has no snapshot to send there; create one first"),
        (refused, "cannot be replicated; fix that first"),
        (paused, "is paused; end that first"),
    ):
        plan = plan_all(Survey((other, below)), PairOptions()).plans[1]
        assert str(plan.error) == (
            "a:tank/v/w cannot be replicated: b:backup/v, above its replica, does not exist, and a:tank/v " + why
        )
        assert plan.steps == ()
    for other in (pair([1], None), pair([1], [1])):
        assert plan_all(Survey((other, below)), PairOptions()).plans[1].error is None


def test_parents_are_created_once_and_only_for_what_is_sent() -> None:
    """From the top, before everything else."""
    missing = {"missing_parents": ("backup/x", "backup/x/y")}
    pairs = [
        beside(pair([1], None), "x/y/a", **missing),
        beside(pair([1], None), "x/y/b", **missing),
        beside(pair([], None), "z/c", missing_parents=("backup/z",)),
        beside(pair([1, 2], [1]), "w/d", missing_parents=("backup/w",)),
    ]
    planned = plan_all(Survey(tuple(pairs)), PairOptions())
    assert argvs(planned.parents.values()) == [
        ["create", "-u", "-o", "canmount=off", f"backup/{name}"] for name in ("x", "x/y")
    ]


# -- nothing to do ---------------------------------------------------------------------------------------------------


def spoilt(**changes: Any) -> Callable[[Pair], object]:
    return lambda case: case.source.ours.update(records(record(**changes)))


def marked(**changes: Any) -> Callable[[Pair], object]:
    return lambda case: case.replica.ours.update(source_mark(**changes))  # type: ignore[union-attr]


def newer(dataset: str, number: int) -> Callable[[Pair], object]:
    def add(case: Pair) -> None:
        found = case.source if dataset == "tank/v" else case.replica
        assert found
        found.snapshots += snapshots(dataset, number)

    return add


SPOILERS: dict[str, Callable[[Pair], object]] = {
    "no record": lambda case: case.source.ours.pop(RECORD),
    "spoilt record": lambda case: case.source.ours.update({RECORD: "[{}]"}),
    "a record of another replica": spoilt(guid="5"),
    "a record that a replica is begun": spoilt(guid=ReplicaRecord.UNKNOWN),
    "a record with another id": spoilt(id=OTHER),
    "a record with another mode": spoilt(mode="raw"),
    "a record with the former name": spoilt(target="b:backup/former"),
    "a record with a former source": spoilt(formerly="5"),
    "paused": spoilt(paused=True),
    "no mark": lambda case: case.replica.ours.clear(),  # type: ignore[union-attr]
    "spoilt mark": lambda case: case.replica.ours.update({SourceMark.NAME: "{}"}),  # type: ignore[union-attr]
    "a mark with another id": marked(id=OTHER),
    "a mark with another mode": marked(mode="raw"),
    "a mark of another source": marked(guid="5"),
    "a mark with the former name": marked(dataset="tank/former"),
    "beside": marked(beside=True),
    "put aside": marked(put_aside=True),
    "released": marked(released=True),
    "no commit point": lambda case: case.source.ours.pop(POINT),
    "spoilt commit point": lambda case: case.source.ours.update({POINT: "x"}),
    "an older commit point": lambda case: case.source.ours.update(points(2)),
    "another's commit point": lambda case: case.source.ours.update(points(3, id_=OTHER)),
    "no cursor": lambda case: case.source.bookmarks.clear(),
    "an older cursor": lambda case: case.source.bookmarks.__setitem__(0, cursor(2)),
    "another's cursor": lambda case: case.source.bookmarks.__setitem__(0, cursor(3, OTHER)),
    "written": lambda case: case.replica.values.update(written=Value("512")),  # type: ignore[union-attr]
    "partial receive": lambda case: with_token(case, token(4, 3)),
    "unreadable partial receive": lambda case: case.replica.values.update(receive_resume_token=Value("1-?")),  # type: ignore[union-attr]
    "announcement": lambda case: case.replica.ours.update({Announcement.NAME: "[]"}),  # type: ignore[union-attr]
    "a new snapshot": newer("tank/v", 4),
    "a snapshot of its own": newer("backup/v", 9),
    "it lacks one between": lambda case: case.replica.snapshots.pop(1),  # type: ignore[union-attr]
    "it lacks the newest": lambda case: case.replica.snapshots.pop(),  # type: ignore[union-attr]
    "it lacks all": lambda case: case.replica.snapshots.clear(),  # type: ignore[union-attr]
    "many old cursors": lambda case: case.source.bookmarks.extend(replace(cursor(n), createtxg=0) for n in range(8)),
}  # fmt: skip


@pytest.mark.parametrize("spoil", [pytest.param(spoil, id=name) for name, spoil in SPOILERS.items()])
def test_each_missing_mark_is_noticed(spoil: Callable[[Pair], object]) -> None:
    case = settled(pair([1, 2, 3], [1, 2, 3]))
    assert planner.settled(case, PairOptions())
    spoil(case)
    assert not planner.settled(case, PairOptions())


@pytest.mark.parametrize(
    ("change", "options"),
    [
        (newer("tank/v", 4), PairOptions(exclude=("s4",))),
        (lambda case: case.replica.snapshots.pop(1), PairOptions(intermediates=False)),
        (lambda case: case.replica.snapshots.pop(0), PairOptions()),  # older than the first common one
        (lambda case: case.source.snapshots.pop(0), PairOptions()),
        (lambda case: case.source.snapshots.pop(), PairOptions()),
        (lambda case: case.source.bookmarks.extend([cursor(1), cursor(2), cursor(1, OTHER)]), PairOptions()),
        (lambda case: case.source.ours.update(records(record(), record(id=OTHER, guid="5"))), PairOptions()),
        (
            lambda case: case.replica.snapshots.__setitem__(2, replace(case.replica.snapshots[2], holds=None)),
            PairOptions(),
        ),
    ],
)
def test_what_needs_no_run(change: Callable[[Any], object], options: PairOptions) -> None:
    case = settled(pair([1, 2, 3], [1, 2, 3]))
    change(case)
    assert planner.settled(case, options)
    assert plan_pair(case, options).steps == ()


# -- random histories ------------------------------------------------------------------------------------------------

EVENTS = (
    "snapshot", "snapshot", "temporary", "delete", "hold", "release", "clone", "rollback", "replicate", "replicate",
    "kill", "kill", "fail", "write there", "snapshot there", "prune there", "hold there", "child there",
    "end the old one", "lose a cursor",
)  # fmt: skip


class History:
    """A source and its replica, changed by everybody who may, as ZFS allows it."""

    def __init__(self, name: str = "tank/v") -> None:
        self.zfs = history(1, name=name)
        self.name = name

    @property
    def source(self) -> Dataset:
        return self.zfs.source

    @property
    def replica(self) -> Dataset | None:
        return self.zfs.replica

    def step(self, event: str, choice: int, options: PairOptions, kill: Kill) -> None:
        snapshots = self.source.snapshots
        name = snapshots[choice % len(snapshots)].name if snapshots else ""
        if event in ("snapshot", "temporary"):
            self.zfs.snapshot(self.name, temporary=event == "temporary")
        elif event == "rollback" and name:
            self.roll_back(name)
        elif event == "lose a cursor" and self.source.bookmarks:
            del self.source.bookmarks[choice % len(self.source.bookmarks)]
        elif event in ("delete", "hold", "release", "clone") and name:
            self.change(event, name)
        elif event == "end the old one":
            for old in [name for name in self.zfs.datasets if "_old_" in name and not self.needed(name)]:
                del self.zfs.datasets[old]
        elif event.endswith("there") and self.replica and self.replica.snapshots and not self.replica.token:
            self.change_replica(event, choice)
        elif event in ("replicate", "kill", "fail"):
            self.replicate(options, kill if event != "replicate" else None, gives_up=event == "fail")

    def needed(self, name: str) -> bool:
        """For a clone or a dataset below it."""
        return any((each.origin or "").startswith(f"{name}@") or each.name.startswith(f"{name}/")
                   for each in self.zfs.datasets.values())  # fmt: skip

    def change(self, event: str, name: str) -> None:
        held = "mine" in [hold.tag for hold in self.zfs.get(name).holds or []]
        if event == "delete":
            self.zfs.delete(name)
        elif event == "clone":
            self.zfs.create(f"tank/c{len(self.zfs.datasets)}", origin=name)
        elif held == (event == "release"):
            self.zfs.run(["zfs", event, "mine", name])

    def roll_back(self, name: str) -> None:
        later = self.source.snapshots[self.source.snapshots.index(self.zfs.get(name)) + 1 :]
        if not any(snap.holds or self.zfs.clones(snap.name) for snap in later):
            self.source.snapshots = [snap for snap in self.source.snapshots if snap not in later]
            self.source.bookmarks = [
                each for each in self.source.bookmarks if each.createtxg <= txg(self.zfs.get(name))
            ]

    def change_replica(self, event: str, choice: int) -> None:
        assert self.replica
        snapshots = self.replica.snapshots
        chosen = snapshots[choice % len(snapshots)]
        if event == "write there":
            self.zfs.write("backup/v")
        elif event == "snapshot there":
            self.zfs.snapshot("backup/v")
        elif event == "prune there" and len(snapshots) > 1 and not chosen.holds and not self.zfs.clones(chosen.name):
            snapshots.remove(chosen)
        elif event == "hold there" and choice == 0 and "mine" not in [hold.tag for hold in chosen.holds or []]:
            self.zfs.run(["zfs", "hold", "mine", chosen.name])
        elif event == "child there" and not any(name.endswith("/c") for name in self.zfs.datasets):
            self.zfs.create("backup/v/c")

    def replicate(self, options: PairOptions, kill: Kill | None, gives_up: bool = False) -> None:
        """A run. If nothing stops it, the replica holds what was requested, and a second run finds nothing to do."""
        before = self.zfs.pair()
        given = copy.deepcopy(before)
        plan = plan_pair(before, options)
        assert comparable(plan_pair(before, options)) == comparable(plan), "the same state has the same plan"
        foretold = list(rounds(plan, options, {})) if not plan.error else []
        assert before == given, "planning changes nothing that was read"
        sources = {snap.name for snap in self.source.snapshots}
        foreign = {snap.guid for snap in self.replica.snapshots} if self.replica else set()
        refused = None
        try:
            done = replicate(self.zfs, options, kill)
        except Killed:
            if gives_up:
                self.give_up(before)
            return
        except Refused as error:
            refused = error
        assert refused is None or explained(before, options, refused), refused
        if refused:
            return
        assert sentences(done) == sentences(step for each in foretold for step in each.steps), (
            "check mode reported other actions"
        )
        self.check_sent(before, foretold, options)
        gone = {
            name
            for step in done
            for effect in step.effects
            for name in [effect.name]
            if effect.after == {"state": "absent"}
        }
        assert sources - {snap.name for snap in self.source.snapshots} <= gone, "only what the plan lists is destroyed"
        kept = {snap.guid for each in self.zfs.datasets.values() for snap in each.snapshots}
        listed = {name.partition("@")[2] for name in gone}
        assert {f"s{guid}" for guid in foreign - kept} <= listed
        self.check_settled(options)

    def give_up(self, before: Pair) -> None:
        """The run could go on after the error that ended it."""
        for step in bookkeeping.give_up(self.zfs.pair(), before):
            for command in step.commands:
                self.zfs.run(command)
        after = self.zfs.pair()
        receivers = [each for each in (after.replica, after.beside) if each]
        held = {snap.guid for snap in with_hold(after.source, StepHold(after.id).format())}
        parts = {each.token.toguid for each in receivers if each.token}
        if parts:
            assert parts & {snap.guid for snap in after.source.snapshots} <= held, "what can be resumed is held"
        else:
            assert held <= bases_held(after), "what can be resumed is held, and the base if there is no cursor"
        known, now = ({bookmark.name: bookmark.guid for bookmark in each.source.bookmarks} for each in (before, after))
        arrived = {snap.guid for each in receivers for snap in each.snapshots}
        assert known.keys() <= now.keys()
        assert parts or {now[name] for name in now.keys() - known.keys()} <= arrived
        assert after.record is None or before.record or receivers

    def check_sent(self, before: Pair, foretold: list[PairPlan], options: PairOptions) -> None:
        sends = [send for plan in foretold for send in plan.sends]
        if not sends:
            return
        first = sends[0]
        points: list[Snapshot | Bookmark] = [*before.source.bookmarks, *before.source.snapshots]
        base = next((txg(point) for point in points if point.guid == first.base_guid), 0)
        asked = [snap.guid for snap in requested(before, options) if txg(snap) > base]
        found = [snap.guid for send in sends for snap in send.carries]
        if first.kind == "resume" and not options.intermediates:
            assert found[-1] == asked[-1]
            assert len(found) <= 2
        else:
            assert found == asked

    def check_settled(self, options: PairOptions) -> None:
        after = self.zfs.pair()
        plan = plan_pair(after, options)
        assert (plan.error, plan.steps) == (None, ()), "a second run has nothing to do"
        assert after.replica
        left_out = after.replica.token or any("lacks" in warning for warning in plan.warnings)
        assert planner.settled(after, options) != bool(left_out)
        assert with_hold(after.replica, LastHold.TAG) == [after.replica.snapshots[-1]]
        assert Announcement.NAME not in after.replica.ours
        common = newest_common(after.source, after.replica)
        assert common
        bases = {cursor.guid for cursor, _bookmark in after.source.cursors()}
        held = [snap.guid for snap in with_hold(after.source, StepHold(after.id).format())]
        assert common[0].guid in (bases if bookkeeping.has_cursor_room(self.name) else held)
        assert after.replica.token or len(held) == (not bookkeeping.has_cursor_room(self.name))


def bases_held(case: Pair) -> set[str | None]:
    """The snapshots that may be held for long: the bases, if the names of their bookmarks would be too long."""
    found = [newest_common(case.source, each) for each in (case.replica, case.beside) if each]
    return set() if bookkeeping.has_cursor_room(case.source.name) else {each[1].guid for each in found if each}


def explained(case: Pair, options: PairOptions, error: Refused) -> bool:
    """Whether the state before the run allows that refusal."""
    found, chosen = divergence.compare(case), requested(case, options)
    receiver = case.beside or case.replica
    common = newest_common(case.source, receiver) if receiver else None
    apart = isinstance(found, Apart) or (isinstance(found, Diverged) and options.on_divergence != "reseed")
    reasons = {
        "create one with": not chosen,
        "on_divergence=": apart,
        "cannot add an older one": bool(common and chosen and txg(chosen[-1]) < txg(common[1])),
        "that a new replica could start with": bool(common and chosen and txg(chosen[-1]) <= txg(common[1])),
        "is still there": options.on_divergence == "reseed" and case.old is not None,
        "and the next run starts anew": case.beside is not None,
    }
    return any(allowed for text, allowed in reasons.items() if text in str(error))


OPTIONS = st.builds(
    PairOptions,
    intermediates=st.booleans(),
    exclude=st.sets(st.integers(1, 12), max_size=3).map(lambda found: tuple(f"s{n}" for n in found)),
    on_divergence=st.sampled_from(["fail", "rollback", "reseed"]),
    resume=st.booleans(),
    packages=st.booleans(),
)
KILLS = st.builds(Kill, st.integers(0, 16), st.booleans())


@given(
    st.sampled_from(["tank/v", f"tank/{'v' * 210}"]),
    st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 5), OPTIONS, KILLS), min_size=8, max_size=40),
)
@settings(max_examples=150)
def test_random_histories(name: str, events: list[tuple[str, int, PairOptions, Kill]]) -> None:
    """Whatever happened, and wherever a run was killed, the next one sends exactly what is requested and settles it."""
    found = History(name)
    for event in ("replicate", "snapshot", "snapshot"):
        found.step(event, 0, PairOptions(), Kill(0))
    for event, choice, options, kill in events:
        found.step(event, choice, options, replace(kill))


numbers = st.sets(st.integers(1, 400), min_size=1, max_size=300)


@given(
    source=numbers,
    deleted=st.sets(st.integers(1, 400)),
    common=st.sets(st.integers(1, 400)),
    excluded=st.sets(st.integers(1, 400)),
    intermediates=st.booleans(),
    has_cursor=st.booleans(),
    packages=st.booleans(),
)
def test_plans_carry_exactly_the_requested(
    source: set[int], deleted: set[int], common: set[int], excluded: set[int], intermediates: bool, has_cursor: bool,
    packages: bool,
) -> None:  # fmt: skip
    """From a base that both have, in order; at the end the goal is there and nothing is left to do."""
    there = sorted(source & common) or None
    left = sorted(source - (deleted if there else set()))
    options = PairOptions(intermediates, exclude=tuple(f"s{number}" for number in excluded), packages=packages)
    case = pair(left, there, there[-1:] if there and has_cursor else ())
    plan = plan_pair(case, options)
    allowed = [number for number in left if number not in excluded]
    newest = there[-1] if there else 0
    if plan.error:
        assert not allowed or (there and (newest not in left and not has_cursor)) or allowed[-1] < newest
        return
    found = list(rounds(plan, options, {}))
    asked = [number for number in (allowed if intermediates else allowed[-1:]) if number > newest]
    assert [int(guid) for each in found for guid in carried(each)] == asked
    for send in [send for each in found for send in each.sends]:
        assert 1 <= len(send.carries) <= PACKAGE
        assert send.intermediates == (len(send.carries) > 1)
        assert not (send.intermediates and "#" in str(send.base)), "-I needs a snapshot as its base"
        span = [number for number in left if int(send.base_guid or 0) < number <= int(str(send.snapshot.guid))]
        assert not send.intermediates or span == [int(str(snap.guid)) for snap in send.carries]
    assert [each.more for each in found] == [True] * (len(found) - 1) + [False]


@given(source=numbers, included=st.sets(st.integers(1, 400)))
def test_fewest_streams(source: set[int], included: set[int]) -> None:
    """Two streams cannot be one: between their base and their end one is left out, or the first is a whole package."""
    case = pair(sorted(source), None)
    plan = all_rounds(case, PairOptions(include=tuple(f"s{number}" for number in included) or ("none",)))
    for former, latter in zip(plan.sends[1:], plan.sends[2:]):
        start, end = int(str(former.base_guid)), int(str(latter.carries[0].guid))
        left_out = [number for number in source - included if start < number < end]
        assert left_out or len(former.carries) == PACKAGE
