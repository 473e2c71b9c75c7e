# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Replicas that are replaced: what is left to do is told from names and marks, wherever the run before was killed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    PLAIN,
    RAW,
    Announcement,
    LastHold,
    ReplicaRecord,
    ReplicaRecords,
    SourceMark,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Value
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import sentences
from ansible_collections.cerss.zfs.plugins.module_utils._replication import bookkeeping, planner, reseed
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import OldReplica, Pair, PairOptions
from ansible_collections.cerss.zfs.plugins.module_utils._replication.planner import plan_pair
from ansible_collections.cerss.zfs.tests.unit.pairs import (
    ID,
    OTHER,
    POOL,
    SOURCE_GUID,
    argvs,
    carried,
    hold,
    last_hold,
    link,
    pair,
    record,
    records,
    replica,
    snapshots,
    source_mark,
)
from ansible_collections.cerss.zfs.tests.unit.simulated import Kill, Killed, Zfs, history, mark, replicate

RESEED = PairOptions(on_divergence="reseed")
NEW, OLD = f"backup/v_new_{ID[:8]}", f"backup/v_old_{ID[:8]}"
CHAIN = ReplicaRecords.name("c" * 16)  # the replica is the source of a further one


@pytest.fixture(autouse=True, scope="module")
def still() -> Iterator[None]:
    """A record has the time of its plan."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bookkeeping, "time", SimpleNamespace(time=lambda: 1_800_000_000.0))
        yield


# -- the plan --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "streams"),
    [
        ([1, 9], [("incremental", "tank/v@s1", "backup/v@s1"), ("incremental", "tank/v@s2", None)]),
        ([8, 9], [("full", None, None), ("incremental", "tank/v@s1", None)]),
    ],
)
def test_the_new_replica_is_received_beside_the_old_one(there: list[int], streams: list[Any]) -> None:
    """If they have a snapshot in common it is a clone of that, so that only the increment travels."""
    plan = plan_pair(pair([1, 2, 3], there), RESEED)
    assert plan.error is None
    assert (plan.into, plan.prepare) == (NEW, ())
    assert [(send.kind, send.base, send.origin) for send in plan.sends] == streams
    assert carried(plan) == (["2", "3"] if there[0] == 1 else ["1", "2", "3"])
    assert plan.warnings == (
        f"the old replica is kept as {OLD} and uses space until you destroy it; whoever has mounted it keeps its data "
        "until he mounts the new one",
    )


def test_nothing_to_start_a_new_replica_with() -> None:
    error = str(plan_pair(pair([1], [1, 9]), RESEED).error)
    assert "a:tank/v has no requested snapshot newer than tank/v@s1" in error


@pytest.mark.parametrize(
    ("ours", "begun"),
    [
        (source_mark(beside=True), True),
        (source_mark(), False),
        (source_mark(beside=True, id=OTHER), False),
        (source_mark(beside=True, guid="5"), False),
        ({}, False),
    ],
)
def test_what_is_beside_must_be_of_this_relationship(ours: dict[str, str], begun: bool) -> None:
    case = with_new(pair([1, 2], [1, 9]), 2)
    assert case.beside
    case.beside.ours = ours
    assert reseed.is_begun(case) is begun
    plan = plan_pair(case, RESEED)
    if not begun:
        assert f"{NEW} is in the way; rename or destroy it" in str(plan.error)
    assert bool(plan.error) is not begun
    assert reseed.swap(case)[:1] == list(plan.finish[:1])


def with_new(case: Pair, *numbers: int, origin: str | None = "backup/v@s1") -> Pair:
    """The pair with a new replica that holds these snapshots besides those of its origin."""
    new = replica(*numbers, held=None, beside=True)
    new.name, new.guid, new.origin, new.snapshots = NEW, "902", origin, snapshots(NEW, *numbers)
    return replace(case, beside=new)


def test_a_new_replica_that_is_not_needed_any_more() -> None:
    """Somebody has rolled the old one back."""
    plan = plan_pair(with_new(pair([1, 2, 3], [1]), 2), RESEED)
    assert (plan.error, plan.into, carried(plan)) == (None, "backup/v", ["2", "3"])
    assert plan.warnings == (f"{NEW} of an earlier reseed is not needed any more; destroy it",)
    assert not any(NEW in str(command) for command in argvs(plan.steps))
    last = list(planner.rounds(plan, RESEED, {}))[-1]
    assert [command[0] for command in argvs(last.finish)] == ["hold", "release", "set"]


def test_a_reseed_is_finished_whatever_the_options_say_now() -> None:
    for on_divergence in ("fail", "rollback", "reseed"):
        plan = plan_pair(with_new(pair([1, 2, 3], [1, 9]), 2), PairOptions(on_divergence=on_divergence))
        assert (plan.error, plan.into, carried(plan)) == (None, NEW, ["3"])


@pytest.mark.parametrize(
    ("new", "origin", "way_out"),
    [
        ([2, 7], None, f"{NEW}, which a reseed began to receive, has diverged from a:tank/v; destroy it, and the next"),
        ([7], None, f"{NEW}, which a reseed began to receive, has diverged from a:tank/v; destroy it, and the next"),
        ([1, 7], f"{NEW}@s1", "; promote backup/v, which takes its snapshots back, then destroy it, and the next run"),
    ],
)
def test_a_new_replica_that_has_diverged_itself(new: list[int], origin: str | None, way_out: str) -> None:
    case = with_new(pair([1, 2, 3], [9]), *new, origin=None)
    assert case.replica
    case.replica.origin = origin
    assert way_out in str(plan_pair(case, RESEED).error)


# -- killed anywhere -------------------------------------------------------------------------------------------------


def diverged(kind: str, held: bool = True) -> Zfs:
    """A replica with a snapshot of its own, which may be held, a child, settings, and a further replica."""
    zfs = history(1)
    replicate(zfs)
    zfs.snapshot("tank/v")
    zfs.snapshot("tank/v")
    zfs.snapshot("backup/v")
    zfs.snapshot("tank/v")
    assert zfs.replica
    if kind == "full":
        zfs.replica.snapshots[0].guid = "77"
    zfs.replica.ours[CHAIN] = ReplicaRecords((record(id=OTHER, target="c:x/v", guid="5"),)).format()
    zfs.replica.ours[Announcement.NAME] = "[]"
    zfs.run(["zfs", "set", "compression=zstd", "backup/v"])
    if held:
        zfs.run(["zfs", "hold", "mine", "backup/v@s4"])
    zfs.create("backup/v/c")
    zfs.create("backup/v/d").values["type"] = Value("volume")
    zfs.commands.clear()
    return zfs


def names(zfs: Zfs) -> list[str]:
    return sorted(name for name in zfs.datasets if name.startswith("backup/"))


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("kind", ["clone", "full"])
def test_a_killed_reseed_goes_on_where_it_was(kind: str, keep: bool) -> None:
    """Once the streams have arrived, the next run does exactly what is left."""
    options = replace(RESEED, keep_old=keep)
    zfs = diverged(kind, held=keep)
    steps = replicate(zfs, options)
    whole, ends = zfs.commands, names(zfs)
    kept = ["backup/v"] if keep else []
    assert [name.partition("_")[0] for name in ends] == ["backup/v", "backup/v/c", "backup/v/d", *kept]
    before = sum(len(step.commands) for step in itertools.takewhile(lambda step: step.commands, steps))
    plan = plan_pair(diverged(kind, keep).pair(), options)
    arrived = sum(len(each.carries) for each in planner.rounds(plan, options, {}))
    for ticks in range(len(whole) + arrived):
        zfs = diverged(kind, keep)
        with pytest.raises(Killed):
            replicate(zfs, options, Kill(ticks, torn=bool(ticks % 2)))
        plan = plan_pair(zfs.pair(), options)
        foretold = [step for each in planner.rounds(plan, options, {}) for step in each.steps]
        done = replicate(zfs, options)
        assert sentences(done) == sentences(foretold)
        assert names(zfs) == ends
        if ticks >= before + arrived:
            assert zfs.commands == whole
        settled = zfs.pair()
        assert (reseed.swap(settled), plan_pair(settled, options).steps) == ([], ())
        assert planner.settled(settled, options)


def test_an_old_replica_that_is_not_kept_is_destroyed_by_name() -> None:
    zfs = diverged("clone", held=False)
    old = f"backup/v_old_{zfs.pair().id[:8]}"
    steps = replicate(zfs, replace(RESEED, keep_old=False))
    commands = [command for command in zfs.commands if command[1] == "destroy"]
    assert commands == [["zfs", "destroy", f"{old}@s4"], ["zfs", "destroy", old]]
    assert f"destroy {old}, the old replica with its snapshots s4" in sentences(steps)
    assert zfs.commands.index(commands[-1]) < max(at for at, each in enumerate(zfs.commands) if "set" in each[1])


@pytest.mark.parametrize(
    ("change", "needs"),
    [
        (lambda old: hold(old, "mine", 9), "backup/v@s9 (hold mine)"),
        (lambda old: setattr(old.snapshots[1], "clones", ["backup/c"]), "backup/v@s9 (clone backup/c)"),
        (lambda old: hold(old, "mine", 1), None),  # the new one takes it over
        (lambda old: last_hold(old, 9), None),
    ],
)
def test_an_old_replica_that_others_need_is_kept(change: Callable[[Dataset], object], needs: str | None) -> None:
    case = pair([1, 2], [1, 9])
    assert case.replica
    change(case.replica)
    error = plan_pair(case, replace(RESEED, keep_old=False)).error
    assert (error is None) is (needs is None)
    assert plan_pair(case, RESEED).error is None
    if needs:
        assert f"since others need {needs}; end that first, or leave reseed_keep out" in str(error)


def test_an_old_replica_that_is_mounted_is_kept() -> None:
    case = replaced(pair([1, 2], [1, 9]), mounted=True)
    assert "backup/v (mounted)" in str(plan_pair(case, replace(RESEED, keep_old=False)).error)
    assert plan_pair(case, RESEED).error is None


def test_what_a_whole_reseed_does() -> None:
    zfs = diverged("clone")
    id_ = zfs.pair().id
    new, old = f"backup/v_new_{id_[:8]}", f"backup/v_old_{id_[:8]}"
    former = zfs.replica
    assert former
    replicate(zfs, RESEED)
    commands = [command[1:] for command in zfs.commands]
    chain = ReplicaRecords((record(id=OTHER, target="c:x/v", guid="5", formerly=str(former.guid)),)).format()
    copied = [command for command in commands if command[0] == "set" and command[-1] == new]
    assert copied == [["set", "compression=zstd", new], ["set", f"{CHAIN}={chain}", new]]
    at = commands.index(copied[-1]) + 1
    assert commands[at : at + 5] == [
        ["promote", new],
        ["rename", "-u", "backup/v/c", f"{new}/c"],
        ["rename", "backup/v/d", f"{new}/d"],
        ["rename", "-u", "backup/v", old],
        ["rename", "-u", new, "backup/v"],
    ]
    assert sorted(commands[at + 5 : at + 7]) == [["inherit", Announcement.NAME, old], ["inherit", CHAIN, old]]
    there, aside = zfs.datasets["backup/v"], zfs.datasets[old]
    assert [snap.guid for snap in there.snapshots] == ["1", "2", "3", "5"]
    assert [snap.guid for snap in aside.snapshots] == ["4"]
    assert [hold.tag for hold in aside.snapshots[0].holds or []] == ["mine"]
    assert (mark(aside).put_aside, mark(there).put_aside, mark(there).beside) == (True, False, False)
    assert CHAIN not in aside.ours
    assert Announcement.NAME not in aside.ours


# -- single states ---------------------------------------------------------------------------------------------------


def replaced(case: Pair, *children: str, **old: Any) -> Pair:
    below = tuple(Dataset(f"backup/v/{name}", values={"type": Value("filesystem")}) for name in children)
    return replace(case, replaced=OldReplica(moving=below, **old))


def whole(**fields: Any) -> Pair:
    """The new replica is whole, and nothing else is done."""
    return replace(with_new(pair([1, 2], [1, 9]), 2), **fields)


def test_the_history_is_divided_by_the_promotion() -> None:
    """The hold on a snapshot that the old replica keeps is released under its new name, one that moves is not."""
    for held, released in ((9, [["release", LastHold.TAG, f"{OLD}@s9"]]), (1, [])):
        case = whole()
        assert case.replica
        last_hold(case.replica, held)
        assert [command for command in argvs(reseed.swap(case)) if command[0] == "release"] == released
        after = reseed.swapped(case)
        assert after.replica
        assert [snap.name for snap in after.replica.snapshots] == ["backup/v@s1", "backup/v@s2"]
        assert (after.replica.name, after.beside, after.replica.origin) == ("backup/v", None, None)
        assert mark(after.replica).beside is False
        assert reseed.swap(after) == []


def test_each_state_has_its_steps() -> None:
    case = replaced(whole(), "c", "d")
    assert case.beside
    verbs = [(command[0], command[-1]) for command in argvs(reseed.swap(case))]
    assert verbs == [
        ("promote", NEW), ("rename", f"{NEW}/c"), ("rename", f"{NEW}/d"), ("rename", OLD), ("rename", "backup/v"),
        ("set", OLD), ("set", "backup/v"),
    ]  # fmt: skip
    promoted = with_new(pair([1, 2], [9]), 1, 2, origin=None)
    steps = {
        "promoted": replaced(promoted, "c", "d"),
        "one child moved": replaced(promoted, "d"),
        "children moved": promoted,
    }
    for done, state in enumerate(steps.values(), 1):
        assert [(command[0], command[-1]) for command in argvs(reseed.swap(state))] == verbs[done:]
    old = replica(9, held=None)
    old.name = OLD
    aside = replace(promoted, replica=None, old=old)
    assert [(command[0], command[-1]) for command in argvs(reseed.swap(aside))] == verbs[4:]
    placed = replace(pair([1, 2], [1, 2]), old=old)
    assert placed.replica
    placed.replica.ours = source_mark(beside=True)
    assert reseed.is_placed(placed)
    assert [(command[0], command[-1]) for command in argvs(reseed.swap(placed))] == verbs[5:]
    old.ours = source_mark(put_aside=True)
    assert [(command[0], command[-1]) for command in argvs(reseed.swap(placed))] == verbs[6:]
    assert reseed.swap(reseed.swapped(placed)) == []
    assert reseed.swap(pair([1], [1])) == []
    assert reseed.swap(pair([1], None)) == []


def test_a_replica_with_its_place_can_be_replaced_again() -> None:
    """The run before was killed before the last mark, and since then it has diverged."""
    case = whole()
    assert case.replica
    case.replica.ours = source_mark(beside=True)
    assert not reseed.is_placed(case)
    commands = argvs(reseed.swap(case))
    assert commands[0] == ["promote", NEW]
    marks = [SourceMark.parse(command[1].partition("=")[2]) for command in commands if command[0] == "set"]
    flags = [(found.beside, found.put_aside) for found in marks if isinstance(found, SourceMark)]
    assert flags == [(False, True), (False, False)]


@pytest.mark.parametrize("origin", ["backup/c@s2", None])
def test_what_is_no_clone_of_the_old_one_takes_no_history(origin: str | None) -> None:
    """After a promotion elsewhere it is a clone of another dataset, and without a common snapshot of none."""
    case = with_new(pair([1, 2, 3], [1]), 3, origin=origin)
    assert [command[0] for command in argvs(reseed.swap(case))] == ["rename", "rename", "set", "set"]
    after = reseed.swapped(case)
    assert after.replica
    assert [snap.name for snap in after.replica.snapshots] == ["backup/v@s3"]


def test_what_is_copied_and_what_is_not() -> None:
    settings = {
        "compression": "zstd", "readonly": "on", "org.example:x": "1", "keylocation": "prompt",
        "volsize": "1073741824",
        SourceMark.NAME: "x", Announcement.NAME: "[]", CHAIN: ReplicaRecords((record(),)).format(),
        "cerss.zfs:at.x": "1",
    }  # fmt: skip
    case = replaced(whole(), settings=settings, delegated=(("-l", ("-u", "ann"), "mount,send"),))
    assert case.beside
    case.beside.values.update(readonly=Value("on", "local"))
    first = reseed.swap(case)[0]
    copied = dict(part.split("=", 1) for command in first.commands for part in command[2:-1] if command[1] == "set")
    chain = ReplicaRecords((record(formerly="901"),)).format()
    assert copied == {"compression": "zstd", "org.example:x": "1", CHAIN: chain, "cerss.zfs:at.x": "1"}
    assert first.commands[-1] == ["zfs", "allow", "-l", "-u", "ann", "mount,send", NEW]
    assert "its permissions" in first.text
    # A run that was killed after that finds the same values there.
    case.beside.values.update({name: Value(text, "local") for name, text in copied.items()})
    assert reseed.swap(replaced(case, settings=settings))[0].commands[0][1] == "promote"


@pytest.mark.parametrize(
    ("root", "status", "origin", "loads"),
    [
        ("backup/v", "available", "backup/v@s1", True),
        ("backup/v", "unavailable", "backup/v@s1", False),
        ("backup", "available", "backup/v@s1", False),
        ("backup/v", "available", None, False),  # it has the key of the source
    ],
)
def test_a_loaded_key_is_loaded_again(root: str, status: str, origin: str | None, loads: bool) -> None:
    """A clone reads as its origin does until it is promoted."""
    case = with_new(pair([1, 2], [1, 9]), 2, origin=origin)
    assert case.replica
    assert case.beside
    case.replica.values.update(keystatus=Value(status), encryptionroot=Value(root))
    case.beside.values.update(keystatus=Value(status), encryptionroot=Value(root))
    commands = argvs(reseed.swap(case))
    assert (["load-key", NEW] in commands) is loads
    assert not loads or commands.index(["load-key", NEW]) == commands.index(["promote", NEW]) + 1


@pytest.mark.parametrize(
    ("location", "origin", "copied"),
    [
        ("file:///k", None, True),
        ("prompt", None, False),  # it has that
        ("file:///k", "backup/v@s1", False),  # its promotion moves it, and until then ZFS refuses it
    ],
)
def test_where_the_key_of_a_raw_replica_is(location: str, origin: str | None, copied: bool) -> None:
    case = raw(with_new(pair([1, 2], [1, 9]), 2, origin=origin))
    case = replaced(case, settings={"keylocation": location})
    assert (["set", f"keylocation={location}", NEW] in argvs(reseed.swap(case))) is copied


def raw(case: Pair) -> Pair:
    """The pair with a raw replica, and a new one if there is one."""
    case.source.ours.update(records(record(mode=RAW)))
    case.source.values["encryption"] = Value("aes-256-gcm")
    for dataset in (case.replica, case.beside):
        if dataset:
            dataset.ours = source_mark(mode=RAW, beside=dataset is case.beside)
            dataset.values["encryption"] = Value("aes-256-gcm")
    return case


# -- what is refused before anything is sent -------------------------------------------------------------------------


def child(root: str) -> Callable[[Pair], Pair]:
    def change(case: Pair) -> Pair:
        found = replaced(case, "c")
        assert found.replaced
        found.replaced.moving[0].values["encryptionroot"] = Value(root)
        return found

    return change


def key_at(place: str) -> Callable[[Pair], Pair]:
    return lambda case: replaced(case, key_fault=place)


def placed_at(name: str) -> Callable[[Pair], Pair]:
    def change(case: Pair) -> Pair:
        assert case.replica
        case.replica.name = name
        for snap in case.replica.snapshots:
            snap.name = f"{name}@{snap.snapshot}"
        return replace(case, link=link(replica_name=name))

    return change


def long_snapshot(side: str, more: int) -> Callable[[Pair], Pair]:
    """Its name just fits beside the replica, or is longer."""

    def change(case: Pair) -> Pair:
        assert case.replica
        dataset = case.source if side == "source" else case.replica
        dataset.snapshots[-1].name = f"{dataset.name}@{'s' * (255 - len(NEW) - 1 + more)}"
        return case

    return change


def same_name(case: Pair) -> Pair:
    assert case.replica
    case.replica.snapshots[0].name = "backup/v@s2"
    return case


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda case: case, None),
        (placed_at("backup/" + "x" * 229), None),
        (placed_at("backup/" + "x" * 230), "would exceed 249 characters; replicate to another dataset"),
        (long_snapshot("source", 0), None),
        (long_snapshot("replica", 0), None),
        (long_snapshot("replica", 1), "… below its new name would exceed 255 characters; destroy it"),
        (placed_at("backup"), "it is the root of a pool, which cannot be renamed; replicate to a dataset below it"),
        (lambda case: replace(case, old=Dataset(OLD)), f"{OLD} of an earlier reseed is still there; destroy it when"),
        (lambda case: replace(case, beside=Dataset(NEW)), f"{NEW} is in the way; rename or destroy it"),
        (child("-"), None),
        (child("backup/v/c"), None),
        (
            child("backup"),
            "backup/v/c below it is not an encryption root, so ZFS could not move it; make it one with",
        ),
        (key_at("keylocation=prompt"), "its key is loaded and cannot be loaded again from keylocation=prompt; unload"),
        (key_at(""), None),
        (same_name, "tank/v@s2 has the name of another snapshot on the old replica; rename one of the two"),
    ],
)
def test_check(change: Callable[[Pair], Pair], message: str | None) -> None:
    plan = plan_pair(change(pair([1, 2], [1, 9])), RESEED)
    if message is None:
        assert plan.error is None
        return
    assert isinstance(plan.error, Refused)
    assert plan.steps == ()
    assert f"{plan.pair.target_address} cannot be replaced: " in str(plan.error)
    assert message in str(plan.error)


def test_a_snapshot_whose_name_is_too_long_beside_the_replica() -> None:
    plan = plan_pair(long_snapshot("source", 1)(pair([1, 2], [1, 9])), RESEED)
    assert f"{NEW}@sss" in str(plan.error).replace("…", "")
    assert "and ZFS takes 255" in str(plan.error)
    assert plan.steps == ()


@pytest.mark.parametrize("mode", [PLAIN, RAW])
@pytest.mark.parametrize(
    ("there", "root", "allowed"),
    [
        ([1, 9], "backup/v", {PLAIN, RAW}),  # a clone, whose promotion takes the key over
        ([1, 9], "backup", {PLAIN}),  # see keys.check_increment
        ([8, 9], "backup/v", set()),  # in full, with another key
        ([8, 9], "backup", {PLAIN}),
    ],
)
def test_a_child_that_inherits_its_key_is_moved_where_it_inherits_the_same(
    mode: str, there: list[int], root: str, allowed: set[str]
) -> None:
    case = child(root)(pair([1, 2], there))
    case = raw(case) if mode == RAW else case
    assert case.replica
    case.replica.values["encryptionroot"] = Value(root)
    error = plan_pair(case, RESEED).error
    assert (error is None) is (mode in allowed), error


def test_a_key_that_cannot_be_loaded_again_matters_only_to_a_clone() -> None:
    assert plan_pair(key_at("keylocation=prompt")(pair([2, 3], [8, 9])), RESEED).error is None


def test_the_same_name_matters_only_where_the_history_is_taken_over() -> None:
    case = same_name(pair([2, 3], [8, 9]))
    assert plan_pair(case, RESEED).error is None  # received in full


def test_the_former_record_says_that_a_new_replica_is_begun() -> None:
    """The commit point of the old one goes with the same command."""
    case = pair([1, 2], [1, 9], at=1)
    (first, *_others) = plan_pair(case, RESEED).protect
    (settings, inherit) = first.commands
    entries = ReplicaRecords.parse(settings[2].partition("=")[2])
    assert entries == ReplicaRecords((record(guid=ReplicaRecord.UNKNOWN),))
    assert inherit == ["zfs", "inherit", f"cerss.zfs:at.{POOL}", "tank/v"]
    assert case.source.guid == SOURCE_GUID
