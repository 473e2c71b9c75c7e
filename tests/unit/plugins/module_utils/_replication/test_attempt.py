# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One pair: trying again, its lock, its streams, and what is left when it fails."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Unreachable
from ansible_collections.cerss.zfs.plugins.module_utils._host import pools, runfiles
from ansible_collections.cerss.zfs.plugins.module_utils._replication import attempt
from ansible_collections.cerss.zfs.plugins.module_utils._replication.transfer import ForeignStream
from ansible_collections.cerss.zfs.plugins.module_utils._replication.work import Work
from ansible_collections.cerss.zfs.tests.unit.machine import No
from ansible_collections.cerss.zfs.tests.unit.world import HERE, THERE, World, behind, failing, id_of, marks, message

GB = 1024**3


# -- features of pools -----------------------------------------------------------------------------------------------

FEATURES = {f"feature@{name}": "active" for name in pools.IN_STREAMS}
TOO_OLD = "cannot receive new filesystem stream: pool must be upgraded to receive this stream."


def too_old(world: World, *lacking: str) -> list[list[str]]:
    """The target's pool lacks these. Returns the streams that are sent; of those only one without -c may be taken."""
    sent: list[list[str]] = []
    world.here.features = FEATURES
    world.there.features = {**FEATURES, **{f"feature@{name}": "disabled" for name in lacking}}

    def hook(_machine: str, argv: list[str]) -> None:
        if argv[:3] == ["zfs", "send", "-vP"]:
            sent.append(argv)
        others = {*lacking} - {"zstd_compress", "lz4_compress", "large_blocks"}
        large, compressed = "large_blocks" in lacking, any("_compress" in name for name in lacking)
        if argv[1] == "receive" and (others or (large and "-L" in sent[-1]) or (compressed and "-c" in sent[-1])):
            raise No(TOO_OLD)

    world.hook = hook
    return sent


@pytest.mark.parametrize("lacking", [["zstd_compress"], ["lz4_compress", "zstd_compress"]])
def test_a_pool_without_zstd_gets_the_streams_uncompressed(world: World, lacking: list[str]) -> None:
    behind(world)
    sent = too_old(world, *lacking)
    foretold, result = (world.replicate(check=check) for check in (True, False))
    assert (message(result), result["replicas"][0]["state"]) == ("", "full")
    assert [foretold[key] for key in ("changed", "actions")] == [result[key] for key in ("changed", "actions")]
    assert f"sent uncompressed, since the pool backup lacks {', '.join(lacking)}" in result["warnings"][0]
    assert [("-L" in argv, "-c" in argv) for argv in sent] == [(True, True), *[(True, False)] * (len(sent) - 1)]


@pytest.mark.parametrize(("lacking", "tries"), [(["large_blocks"], 2), (["zstd_compress", "large_blocks"], 3)])
def test_a_pool_without_large_blocks_gets_them_split(world: World, lacking: list[str], tries: int) -> None:
    behind(world)
    sent = too_old(world, *lacking)
    result = world.replicate()
    assert message(result) == ""
    assert "blocks over 128 KiB are split, since the pool backup lacks large_blocks" in result["warnings"][-1]
    assert ["-L" in argv for argv in sent[:tries]] == [*[True] * (tries - 1), False]
    assert all("-L" not in argv for argv in sent[tries:])


@pytest.mark.parametrize(
    ("lacking", "stream", "tries"),
    [
        (["extensible_dataset"], {}, 1),
        (["zstd_compress", "extensible_dataset"], {}, 2),
        (["zstd_compress"], {"compressed": True}, 1),
        (["large_blocks"], {"large_blocks": "true"}, 1),
        (["extensible_dataset"], {"compressed": False, "large_blocks": False}, 1),
    ],
)
def test_a_feature_that_the_target_lacks_is_named(
    world: World, lacking: list[str], stream: dict[str, Any], tries: int
) -> None:
    world.here.make("tank/v@s1")
    before = marks(world)
    sent = too_old(world, *lacking)
    told = message(world.replicate(retries=3, stream=stream))
    assert "the pool backup lacks" in told
    named = {name for name in pools.IN_STREAMS if f"feature@{name}=enabled" in told}
    assert named == {lacking[-1]}
    assert len(sent) == tries
    assert marks(world) == before


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("large", [True, False])
def test_streams_are_made_as_requested(world: World, compressed: bool, large: bool) -> None:
    world.here.make("tank/v@s1", size=2 * GB)
    world.replicate(stream={"compressed": compressed, "large_blocks": large})
    sent = [argv for machine, argv in world.log if (machine, argv[1]) == (HERE, "send")]
    assert len(sent) == 2  # the first one estimates
    assert all(("-c" in argv, "-L" in argv) == (compressed, large) for argv in sent)


def test_a_replica_with_large_blocks_needs_them(world: World) -> None:
    behind(world)
    failing(world, "incremental send stream requires -L (--large-block), to match previous receive", command="receive")
    told = message(world.replicate(stream={"large_blocks": False}))
    assert told == (
        "b:backup/v has blocks over 128 KiB, and ZFS takes no increment without them; leave stream.large_blocks at auto"
    )
    failing(world, "incremental send stream requires -L (--large-block), to match previous receive", command="receive")
    assert "this source has no blocks over 128 KiB" in message(world.replicate())


def test_a_feature_that_the_target_does_not_know_is_named(world: World) -> None:
    world.here.make("tank/v@s1")
    too_old(world, "longname")
    del world.there.features["feature@longname"]
    assert "OpenZFS on b does not know longname, which tank uses; upgrade OpenZFS there" in message(world.replicate())


def test_a_source_without_bookmarks(world: World) -> None:
    world.root = False
    world.here.make("tank/v@s1")
    failing(world, "bookmark feature not enabled", command="bookmark")
    assert "zpool set feature@bookmarks=enabled tank" in message(world.replicate())


def test_a_replica_that_goes_back_and_forth_does_not_keep_a_run_going(world: World) -> None:
    behind(world)
    count = 0

    def hook(_machine: str, argv: list[str]) -> None:
        nonlocal count
        if argv[1] == "receive":
            count += 1
            if not world.there.all.pop("backup/v@x", None):
                world.there.make("backup/v@x")
            raise No("cannot receive: dataset does not exist")

    world.hook = hook
    assert "does not exist" in message(world.replicate(on_divergence="rollback"))
    assert count < 2 * attempt.MOST_OUTDATED


def test_a_lost_connection_while_a_plan_is_made_anew_is_tried_again(world: World) -> None:
    behind(world)
    said: list[str] = []

    def hook(machine: str, argv: list[str]) -> None:
        if argv[1] == "receive" and not said:
            world.there.make("backup/v@s2").guid = world.here.all["tank/v@s2"].guid
            said.append("cannot receive: most recent snapshot of backup/v does not\nmatch incremental source")
            raise No(said[0])
        if machine == THERE and argv[1] == "list" and len(said) == 1:
            said.append("Connection closed by 10.0.0.1 port 22")
            raise No(said[1])

    world.hook = hook
    assert message(world.replicate(retries=3)) == ""
    assert len(said) == 2


def test_an_old_plan_overwrites_no_record_of_another_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands of a delegated user cannot compare."""
    world.root = False
    world.here.make("tank/v@s1", "tank/w@s1")

    def other(_machine: str, argv: list[str]) -> None:
        if argv[1] == "receive":
            world.hook = lambda *_: None
            monkeypatch.setattr(attempt, "OLD", 0.0)
            assert message(world.replicate("tank/w", target="backup/b/w")) == ""

    world.there.make("backup/b")
    world.hook = other
    assert "failed" not in world.replicate("tank/v", "tank/w", target={"host": THERE, "parent": "backup", "strip": 1})
    world.here.make("tank/w@s2")
    assert message(world.replicate("tank/w", target="backup/b/w")) == ""


# -- when it fails ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["receive", "hold", "send"])
def test_a_permanent_error_leaves_the_source_as_it_was(world: World, command: str) -> None:
    behind(world)
    before = marks(world)
    failing(world, "I/O error", command=command)
    result = world.replicate(retries=3)
    assert "I/O error" in message(result)
    assert result["replicas"][0]["state"] == "absent"
    assert marks(world) == before
    assert message(world.replicate()) == ""


def test_a_reseed_needs_its_marks(world: World) -> None:
    world.here.make("tank/v@s1")
    world.replicate()
    world.here.make("tank/v@s2")
    world.there.make("backup/v@own")
    before = marks(world)
    failing(world, "out of space", "out of space", command="set")
    assert "out of space" in message(world.replicate(on_divergence="reseed"))
    assert marks(world) == before


def test_a_first_replication_that_fails_leaves_no_record(world: World) -> None:
    world.here.make("tank/v@s1")
    before = marks(world)
    failing(world, "out of space")
    assert "out of space" in message(world.replicate())
    assert marks(world) == before


def test_what_has_arrived_of_a_package_keeps_its_hold(world: World) -> None:
    behind(world)
    world.cuts.append("tank/v@s3")
    result = world.replicate()
    assert "500 bytes of tank/v@s3 have arrived and the next run resumes there" in message(result)
    assert result["replicas"][0]["state"] == "inbound"
    held = [snap.name for snap in world.here.snaps("tank/v") if snap.holds]
    assert "tank/v@s3" in held
    result = world.replicate()
    assert message(result) == ""
    assert (result["replicas"][0]["resumed"], result["replicas"][0]["steps"][0]["kind"]) == (True, "resume")
    assert [snap.name for snap in world.here.snaps("tank/v") if snap.holds] == []


def test_what_has_arrived_beside_a_replica_keeps_its_hold(world: World) -> None:
    behind(world)
    world.there.make("backup/v@own")
    options: dict[str, Any] = {"on_divergence": "reseed"}
    world.cuts.append("tank/v@s3")
    assert "the next run resumes there" in message(world.replicate(**options))
    assert "tank/v@s3" in [snap.name for snap in world.here.snaps("tank/v") if snap.holds]
    assert world.there.snaps("backup/v")[-1].name == "backup/v@own"
    result = world.replicate(**options)
    assert message(result) == ""
    assert result["replicas"][0]["resumed"]
    assert world.there.snaps("backup/v")[-1].name == "backup/v@s4"
    assert [snap.name for snap in world.here.snaps("tank/v") if snap.holds] == []


def test_a_stream_that_was_cut_goes_on_in_the_same_run(world: World) -> None:
    behind(world)
    world.cuts.append("tank/v@s3")
    result = world.replicate(retries=1)
    assert message(result) == ""
    assert [step["kind"] for step in result["replicas"][0]["steps"]] == ["incremental", "resume", "incremental"]
    assert result["replicas"][0]["bytes_sent"] == 3000


@pytest.mark.parametrize(("retries", "failures", "well"), [(0, 1, False), (1, 1, True), (2, 3, False), (3, 3, True)])
def test_a_transient_error_is_tried_again(world: World, retries: int, failures: int, well: bool) -> None:
    world.here.make("tank/v@s1")
    left = failing(world, *["dataset is busy"] * failures)
    assert (message(world.replicate(retries=retries)) == "") == well
    assert left == []
    assert world.count(THERE, "zfs", "receive") == (1 if well else 0)


@pytest.mark.parametrize(("retries", "failures", "well"), [(0, 1, False), (2, 2, True), (2, 3, False)])
@pytest.mark.parametrize("check", [True, False])
def test_the_first_reading_is_tried_again(world: World, retries: int, failures: int, well: bool, check: bool) -> None:
    world.here.make("tank/v@s1")
    left = [No("ssh: connect to host b port 22: Connection refused")] * failures

    def hook(machine: str, _argv: list[str]) -> None:
        if machine == THERE and left:
            raise left.pop()

    world.hook = hook
    with contextlib.nullcontext() if well else pytest.raises(Unreachable):
        assert message(world.replicate(retries=retries, check=check)) == ""


def test_retries_count_anew_when_something_has_arrived(world: World) -> None:
    behind(world)
    world.cuts += ["tank/v@s3"] * 4
    assert message(world.replicate(retries=1)) == ""


def test_a_permanent_error_is_not_tried_again(world: World) -> None:
    world.here.make("tank/v@s1")
    left = failing(world, "out of space", "out of space")
    assert "out of space" in message(world.replicate(retries=5))
    assert left == ["out of space"]


def test_a_token_that_nothing_can_resume_is_given_up(world: World) -> None:
    behind(world)
    world.cuts.append("tank/v@s3")
    world.replicate()
    failing(world, "cannot resume send: the snapshot used in the initial send no longer exists", command="send")
    result = world.replicate()
    assert message(result) == ""
    assert any("its partial receive is given up" in text for text in result["warnings"])
    assert ["zfs", "receive", "-A", "backup/v"] in [argv for _machine, argv in world.log]
    assert world.there.snaps("backup/v")[-1].name == "backup/v@s4"


@pytest.mark.parametrize("whole", [False, True])
def test_another_run_was_faster(world: World, monkeypatch: pytest.MonkeyPatch, whole: bool) -> None:
    """It has brought the same between the reading and the stream. Then there is little or nothing left to do."""
    behind(world)
    # It runs on another host.
    monkeypatch.setattr(runfiles, "lock", lambda _name: contextlib.nullcontext(True))

    def other(_machine: str, argv: list[str]) -> None:
        if argv[1] == "receive":
            world.hook = lambda *_: None
            if whole:
                assert message(world.replicate()) == ""
                world.here.do_hold({}, f"cerss.zfs:step:{id_of(world)}", "tank/v@s2")  # ours, which came after that
                return
            for number in (2, 3, 4):
                world.there.arrive(world.there.all["backup/v"], world.here.all[f"tank/v@s{number}"])

    world.hook = other
    result = world.replicate()
    assert message(result) == ""
    assert result["replicas"][0]["state"] == "full"
    assert world.replicate(check=True)["changed"] is False
    assert [snap.name for snap in world.here.snaps("tank/v") if snap.holds] == []


MARKS = ("bookmark", "hold", "program")


def prune(*names: str) -> Callable[[World], None]:
    def others(world: World) -> None:
        for name in names:
            world.here.answer(["zfs", "destroy", f"tank/v@{name}"])  # which a hold prevents

    return others


def rename(world: World) -> None:
    last = world.here.snaps("tank/v")[-1]
    world.here.move(last, "tank/v@daily")


def take_and_prune(world: World) -> None:
    """A snapshot job that keeps one."""
    world.here.make("tank/v@s5")
    prune("s1", "s2", "s3", "s4")(world)


@pytest.mark.parametrize(
    "others", [prune("s4"), prune("s3"), prune("s2"), prune("s1"), prune("s1", "s2", "s3"), prune("s2", "s3", "s4"),
               rename, take_and_prune],
)  # fmt: skip
@pytest.mark.parametrize("when", [MARKS, ("send",), ("receive",)])
@pytest.mark.parametrize("whole", [True, False])
def test_a_plan_that_others_have_made_impossible_is_made_anew(
    world: World, others: Callable[[World], None], when: tuple[str, ...], whole: bool
) -> None:
    """Not even a retry is needed."""
    behind(world)
    if not whole:  # one snapshot, which is not held
        prune("s3", "s4")(world)

    def hook(machine: str, argv: list[str]) -> None:
        if argv[1] in when and machine == (THERE if "receive" in when else HERE):
            world.hook = lambda *_: None
            others(world)

    world.hook = hook
    result = world.replicate()
    assert world.hook is not hook
    if not world.here.snaps("tank/v"):
        assert "tank/v has no snapshot" in message(result)
        return
    assert message(result) == ""
    (replica,) = result["replicas"]
    there = {snap.guid: snap.name for snap in world.there.snaps("backup/v")}
    assert (replica["state"], there[replica["guid"]]) == ("full", replica["source"].replace("tank", "backup"))
    assert message(world.replicate()) == ""
    assert world.here.snaps("tank/v")[-1].guid == world.there.snaps("backup/v")[-1].guid
    assert [snap.name for snap in world.here.snaps("tank/v") if snap.holds] == []
    assert world.replicate(check=True)["changed"] is False


def test_a_clone_that_takes_the_snapshots_along_is_told(world: World) -> None:
    behind(world)

    def hook(_machine: str, argv: list[str]) -> None:
        if argv[1] in MARKS:
            world.hook = lambda *_: None
            world.here.clone("tank/v@s3", "tank/k")
            world.here.do_promote({}, "tank/k")

    world.hook = hook
    assert "no longer have a snapshot in common" in message(world.replicate())


def test_a_named_snapshot_that_was_pruned_meanwhile(world: World) -> None:
    behind(world)

    def hook(_machine: str, argv: list[str]) -> None:
        if argv[1] in MARKS:
            world.here.all.pop("tank/v@s3", None)

    world.hook = hook
    assert "tank/v@s3 does not exist; create one" in message(world.replicate("tank/v@s3"))


@pytest.mark.parametrize("pull", [False, True])
@pytest.mark.parametrize("when", [MARKS, ("send",)])
def test_another_snapshot_that_has_got_the_name(world: World, pull: bool, when: tuple[str, ...]) -> None:
    """The user has deleted one and taken it anew. Who pulls refuses the stream; who pushes sees what has arrived."""
    one, two = (world.there, world.here) if pull else (world.here, world.there)
    for machine, pool in ((one, "tank"), (two, "backup")):
        machine.all.setdefault(pool, machine.make(pool))
    one.make("tank/v@s1")
    options: dict[str, Any] = {}
    if pull:
        options = {"source": {"host": THERE}, "target": {"host": "local", "dataset": "backup/v"}}
    assert message(world.replicate(**options)) == ""
    one.make("tank/v@s2")

    def hook(_machine: str, argv: list[str]) -> None:
        if argv[1] in when:
            world.hook = lambda *_: None
            one.all.pop("tank/v@s2")
            one.make("tank/v@s2")

    world.hook = hook
    result = world.replicate(**options)
    assert world.hook is not hook
    assert message(result) == ""
    assert (result["replicas"][0]["state"], result["replicas"][0]["guid"]) == ("full", one.all["tank/v@s2"].guid)
    assert two.snaps("backup/v")[-1].guid == one.all["tank/v@s2"].guid
    assert world.replicate(check=True, **options)["changed"] is False


def test_marks_of_another_run_that_gives_up_are_made_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """This run reads the record of a replica that another host has begun and then gives up."""
    monkeypatch.setattr(runfiles, "lock", lambda _name: contextlib.nullcontext(True))
    world.here.make("tank/v@s1")
    other: list[dict[str, Any]] = []
    has_read, has_failed = threading.Event(), threading.Event()

    def run() -> None:
        other.append(world.replicate())
        has_failed.set()

    def hook(_machine: str, argv: list[str]) -> None:
        if argv[1] == "send" and not has_read.is_set():  # of the other run, whose record is there
            assert has_read.wait(10)
            raise No("cannot send: I/O error")

    def carry_out(work: Any, task: Any, real: Any = attempt.carry_out) -> None:
        if threading.current_thread().name.startswith("pair") and other_thread.ident and first:
            first.clear()
            has_read.set()
            assert has_failed.wait(10)
        real(work, task)

    first: list[bool] = []
    world.hook = hook
    other_thread = threading.Thread(target=run)
    other_thread.start()
    while "cerss.zfs:replica" not in str(world.here.all["tank/v"].props):
        time.sleep(0.01)
    first.append(True)
    monkeypatch.setattr(attempt, "carry_out", carry_out)
    result = world.replicate()
    other_thread.join()
    assert "I/O error" in message(other[0])
    assert (message(result), result["warnings"]) == ("", [])
    assert world.replicate(check=True)["changed"] is False


def test_an_old_plan_that_destroys_something_is_made_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    behind(world)
    world.there.make("backup/v@own")
    monkeypatch.setattr(attempt, "OLD", -1.0)

    def hook(_machine: str, argv: list[str]) -> None:
        if argv[1] == "holds":  # the last reading
            world.hook = lambda *_: None
            world.there.make("backup/v@keep").guid = world.here.all["tank/v@s2"].guid
            world.there.all.pop("backup/v@own")

    world.hook = hook
    result = world.replicate(on_divergence="rollback")
    assert message(result) == ""
    assert not any("destroy" in action for action in result["actions"])
    assert world.there.all["backup/v@keep"]


def test_what_has_come_to_the_replica_since_the_plan_is_rolled_back_as_well(world: World) -> None:
    behind(world)
    world.there.make("backup/v@own")

    def hook(_machine: str, argv: list[str]) -> None:
        if argv[1] == "rollback":
            world.hook = lambda *_: None
            world.there.make("backup/v@more")

    world.hook = hook
    result = world.replicate(on_divergence="rollback")
    assert message(result) == ""
    assert any("backup/v@more" in action for action in result["actions"])


def test_a_plan_is_not_made_anew_for_ever(world: World) -> None:
    """Somebody takes away what is to be sent, again and again."""
    behind(world)
    numbers = itertools.count(10)

    def hook(machine: str, argv: list[str]) -> None:
        if argv[1] == "send" and machine == HERE:
            world.here.all.pop(world.here.snaps("tank/v")[-1].name)
            number = next(numbers)
            world.here.make(f"tank/v@s{number}")
            world.hook = hook if number < 30 else lambda *_: None

    world.hook = hook
    assert "does not exist" in message(world.replicate())
    assert next(numbers) < 30
    assert [snap.name for snap in world.here.snaps("tank/v") if snap.holds] == []


def test_a_source_that_sent_too_much_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although all that was asked for is on the replica by then."""
    behind(world)
    pipe = attempt.run_pipe

    def too_much(*given: Any, **more: Any) -> None:
        pipe(*given, **more)
        raise ForeignStream("more was sent", 3)

    monkeypatch.setattr(attempt, "run_pipe", too_much)
    assert "more was sent" in message(world.replicate())
    assert world.there.snaps("backup/v")[-1].guid == world.here.snaps("tank/v")[-1].guid


def test_a_base_that_does_not_match_is_an_error_if_nobody_was_faster(world: World) -> None:
    behind(world)
    before = marks(world)
    failing(world, "most recent snapshot of backup/v does not match incremental source")
    assert "does not match incremental source" in message(world.replicate(retries=3))
    assert marks(world) == before


def test_a_token_is_given_up_once(world: World) -> None:
    behind(world)
    world.cuts.append("tank/v@s3")
    world.replicate()
    why = "cannot resume send: the snapshot used in the initial send no longer exists"
    assert failing(world, why, why, command="send") == [why, why]
    assert "no longer exists" in message(world.replicate(retries=3))


def test_what_changed_before_another_attempt_may_be_an_error(world: World) -> None:
    behind(world)

    def hook(_machine: str, argv: list[str]) -> None:
        if argv[1] == "receive" and "backup/v@own" not in world.there.all:
            world.there.make("backup/v@own")
            raise No("cannot receive: dataset is busy")

    world.hook = hook
    assert "has diverged" in message(world.replicate(retries=3))


def test_a_source_that_is_destroyed_before_another_attempt(world: World) -> None:
    behind(world)

    def hook(_machine: str, argv: list[str]) -> None:
        if argv[1] == "receive":
            for name in [name for name in world.here.all if name.startswith("tank/v")]:
                del world.here.all[name]
            raise No("cannot receive: dataset is busy")

    world.hook = hook
    assert "tank/v does not exist any more; run it again if the dataset was renamed" in message(
        world.replicate(retries=3)
    )


# -- others ----------------------------------------------------------------------------------------------------------


def test_one_run_at_a_time_on_a_host(world: World) -> None:
    behind(world)
    with runfiles.lock(id_of(world)) as got:
        assert got
        result = world.replicate(on_active="fail")
    assert "another run on this host is replicating to b:backup/v; wait until it has finished" in message(result)
    assert world.changes() == []


def test_a_stop_ends_the_wait_for_another_run(world: World) -> None:
    behind(world)

    def stop() -> None:
        world.stop.set()  # of the run that has begun meanwhile

    with runfiles.lock(id_of(world)):
        threading.Timer(0.2, stop).start()
        result = world.replicate()
    assert "the run was stopped during the wait for another transfer" in message(result)


def test_a_run_waits_for_another_one_on_its_host_and_reads_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    behind(world)
    released, pause = threading.Event(), Work.pause
    monkeypatch.setattr(Work, "pause", lambda work, what: released.set() or pause(work, what))

    def other() -> None:
        with runfiles.lock(id_of(world)):
            released.wait(10)
            world.here.make("tank/v@s5")

    thread = threading.Thread(target=other)
    thread.start()
    result = world.replicate(on_active="wait")
    thread.join()
    assert message(result) == ""
    assert world.there.snaps("backup/v")[-1].name == "backup/v@s5"


@pytest.mark.parametrize("on_active", ["wait", "attach"])
def test_a_run_does_not_wait_for_another_one_beyond_its_time(world: World, on_active: str) -> None:
    behind(world)
    with runfiles.lock(id_of(world)):
        result = world.replicate(on_active=on_active, timeout="1s")
    assert "another run on this host is replicating to b:backup/v and did not end within timeout" in message(result)


# -- streams ---------------------------------------------------------------------------------------------------------


def test_a_run_file_says_who_receives(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "SIZE_AFTER", 0.0)
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr(runfiles.RunFile, "write", lambda _self, content: shown.append(content))
    behind(world)
    world.replicate()
    assert {"into", "receiver", "told", "programs"} <= shown[0].keys()
    assert runfiles.parse(json.dumps({"pid": 1, **shown[0], "receiver": 7, "told": 1.0, "programs": [8]}))


def test_a_short_stream_is_neither_estimated_nor_announced(world: World) -> None:
    behind(world)
    result = world.replicate()
    assert world.count(HERE, "zfs", "send", "-nvP") == 0
    assert not any("cerss.zfs:inbound" in " ".join(argv) for _machine, argv in world.changes())
    assert result["replicas"][0]["bytes_estimated"] is None


@pytest.mark.parametrize(("limit", "announced"), [("1M", True), ("10M", False)])
def test_a_stream_that_takes_a_minute_is_announced(world: World, limit: str, announced: bool) -> None:
    world.here.make("tank/v@s1", size=61 * 1024**2)
    assert message(world.replicate(bandwidth_limit=limit)) == ""
    assert world.count(HERE, "zfs", "send", "-nvP") == announced


@pytest.mark.parametrize("first", [True, False])
def test_a_long_stream_is_announced_and_held(world: World, first: bool) -> None:
    if not first:
        world.here.make("tank/v@s1")
        world.replicate()
        world.revive()
    snap = world.here.make("tank/v@s2", size=2 * GB)
    seen: list[Any] = []

    def look() -> None:
        replica = world.there.all.get("backup/v")
        if replica and replica.busy:
            seen.append((json.loads(replica.props["cerss.zfs:inbound"]), list(snap.holds)))

    world.seen = look
    result = world.replicate()
    assert message(result) == ""
    announced = [{"guid": snap.guid, "snapshot": "s2", "bytes": 2 * GB}]
    assert seen[0][0] == announced
    assert len(seen[0][1]) == 1
    assert "cerss.zfs:inbound" not in world.there.all["backup/v"].props
    assert snap.holds == []
    assert result["replicas"][0]["bytes_estimated"] == 2 * GB


def test_failing_to_announce_fails_nothing(world: World) -> None:
    world.here.make("tank/v@s1")
    world.replicate()
    world.here.make("tank/v@s2", size=2 * GB)

    def hook(machine: str, argv: list[str]) -> None:
        if machine == THERE and argv[1] in ("set", "inherit"):
            raise No("cannot set property: permission denied")

    world.hook = hook
    assert message(world.replicate()) == ""


def test_a_pool_that_looks_too_small_is_a_warning(world: World) -> None:
    world.here.make("tank/v@s1", size=2 * 10**12)
    result = world.replicate()
    assert message(result) == ""
    assert result["warnings"] == ["b:backup/v may need 2000000000000 bytes, but only 1000000000000 are free there"]


def test_properties_are_given_with_the_first_receive_alone(world: World) -> None:
    world.here.make("tank/v@s1", "tank/v@s2")
    world.replicate(properties={"compression": "zstd"})
    one, two = (argv for _machine, argv in world.log if argv[1] == "receive")
    assert "-o compression=zstd" in " ".join(one)
    assert two == ["zfs", "receive", "-s", "-u", "backup/v"]
    assert world.there.all["backup/v"].props["readonly"] == "on"


@pytest.mark.parametrize("after", [0.0, 5.0])
def test_a_run_file_shows_what_is_sent(world: World, monkeypatch: pytest.MonkeyPatch, after: float) -> None:
    """Once the size of the stream is known, or some seconds have passed."""
    monkeypatch.setattr(attempt, "SIZE_AFTER", after)
    behind(world)
    shown: list[dict[str, Any]] = []

    def look() -> None:
        shown.extend(runfiles.running())

    world.seen = look
    world.replicate()
    sending = [each for each in shown if each["operation"] == "send"]
    expected = {(id_of(world), "tank/v@s4", "b:backup/v")} if after == 0 else set()
    assert {(each["id"], each["snapshot"], each["target"]) for each in sending} == expected
    assert runfiles.running() == []
