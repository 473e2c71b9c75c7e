# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing grows without bound: work and memory are in proportion to what is there, and zfs is started as seldom.

Work is counted in calls of functions from our files, since times differ from machine to machine.
"""

from __future__ import annotations

import functools
import json
import sys
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    CommitPoint,
    CommitPoints,
    ReplicaRecord,
    ReplicaRecords,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Snapshot, Value
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import SnapshotName
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan, Step
from ansible_collections.cerss.zfs.plugins.module_utils._core.text import shown
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import Activity
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.execute import execute
from ansible_collections.cerss.zfs.plugins.module_utils._host.selection import Selection
from ansible_collections.cerss.zfs.plugins.module_utils._replication import bookkeeping, planner
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import Pair, PairOptions, PairPlan
from ansible_collections.cerss.zfs.plugins.module_utils._replication.planner import Survey, plan_all, plan_pair, rounds
from ansible_collections.cerss.zfs.plugins.module_utils._replication.report import PairReport, Part, report
from ansible_collections.cerss.zfs.plugins.module_utils._replication.survey import in_order
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot import absent, present, prune
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.dependents import closure_of
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.options import Options, result
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.retention import Rules
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.tests.unit.pairs import POOL, link
from ansible_collections.cerss.zfs.tests.unit.scenarios import Call
from ansible_collections.cerss.zfs.tests.unit.transcript import entrance
from ansible_collections.cerss.zfs.tests.unit.world import HERE, World

HOUR = 3600
FILESYSTEM = {"type": Value("filesystem"), "encryption": Value("off")}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    world = World()
    world.install(monkeypatch, tmp_path)
    world.there.make("backup")
    return world


def calls(do: Callable[[], object]) -> int:
    """How often functions were called by the files of the collection, and functions of Python by them."""
    count = 0

    def note(frame: Any, event: str, _arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call") and "module_utils" in frame.f_code.co_filename

    sys.setprofile(note)
    try:
        do()
    finally:
        sys.setprofile(None)
    return count


# -- histories -------------------------------------------------------------------------------------------------------


def taken(dataset: str, first: int, last: int) -> list[Snapshot]:
    return [
        Snapshot(f"{dataset}@autosnap_{n:06}_hourly", str(10**18 + n), n, created=n * HOUR, written=10, referenced=100,
                 userrefs=0, temporary=False, clones=[], holds=[])
        for n in range(first, last + 1)
    ]  # fmt: skip


def new(count: int) -> Pair:
    """A source with a history, and no replica."""
    return Pair(
        link(), Dataset("tank/v", "7", 1, values=dict(FILESYSTEM), snapshots=taken("tank/v", 1, count)), pool="f" * 16
    )


def behind(before: int, count: int) -> Pair:
    """The replica has the newest snapshot but so many, which was the first one that it got."""
    case = planner._finished(plan_pair(new(before), PairOptions(intermediates=False)))
    return replace(case, source=replace(case.source, snapshots=taken("tank/v", 1, before + count)))


def foretold(case: Pair, options: PairOptions | None = None) -> dict[str, Any]:
    """The result of check mode."""
    options = options or PairOptions()
    first = plan_pair(case, options)
    found = PairReport.of(first)
    for plan in list_later(first, options):
        found.add(plan)
    assert not found.error
    return report([Part([], [found])], check_mode=True)


def list_later(first: PairPlan, options: PairOptions) -> Any:
    later = rounds(first, options, {})
    next(later)
    return later


def clone_named(number: int) -> str:
    """The last one of a chain comes first by name."""
    return f"tank/c{99_999 - number}"


def clones(count: int, chain: bool) -> dict[str, Dataset]:
    """A dataset with so many clones, or with a clone of a clone of a clone…"""
    found: dict[str, Dataset] = {}
    for number in range(count):
        name = clone_named(number)
        origin = found[clone_named(number - 1 if chain else 0)].snapshots[0].name if number else None
        found[name] = Dataset(name, str(number + 1), number + 1, origin, snapshots=[*taken(name, 1, 1)])
    return found


def cascade(count: int, chain: bool) -> int:
    pool = clones(count, chain)
    first = pool[clone_named(0)].snapshots[0]
    closure = closure_of(pool, [first.name])
    planned = absent.plan_absent(Options([], on_dependents="cascade"), [first], closure, Activity())
    assert len(planned.plan.actions) == 2 * (count - 1) + 1
    return len(closure.datasets)


def pairs_of(datasets: Mapping[str, Dataset]) -> list[Pair]:
    return [
        Pair(
            link(source_name=name, replica_name=f"backup/{name[5:]}"),
            replace(each, values=dict(FILESYSTEM)),
            pool="f" * 16,
        )
        for name, each in datasets.items()
    ]


def tree(count: int) -> dict[str, Dataset]:
    names = ["tank/v", *(f"tank/v/d{number}" for number in range(1, count))]
    return {name: Dataset(name, str(number + 1), 1, snapshots=taken(name, 1, 2)) for number, name in enumerate(names)}


def created(count: int) -> None:
    """The check mode of zfs_snapshot for many datasets."""
    datasets = {f"tank/v{number}": Dataset(f"tank/v{number}") for number in range(count)}
    names = [f"{name}@s" for name in datasets]
    options = Options([])
    present.plan_present(options, names, datasets, Activity())
    assert len(present.foretold(options, names, {}, datasets)) == count


def pruned(count: int) -> None:
    rules = Rules({"last": 10, "daily": 7}, {"weekly": 86400}, 3600)
    options = prune.Options(Selection(()), ("*",), rules)
    ours = {ReplicaRecords.name(POOL): ReplicaRecords((ReplicaRecord("0" * 16, "b:x", "5", "plain"),)).format(),
            CommitPoints.name(POOL): CommitPoints((CommitPoint("0" * 16, "5", count),)).format()}  # fmt: skip
    dataset = Dataset("tank/v", ours=ours)
    dataset.snapshots = [replace(snap, state="full") for snap in taken("tank/v", 1, count)]
    seen = prune.Seen({"tank/v": dataset}, dataset.snapshots)
    verdicts = prune.judge(seen, options, count * HOUR, lambda seconds: __import__("time").gmtime(seconds))
    assert len(prune.decide(verdicts, (), seen).pruned) > count - 20


WORK: dict[str, Callable[[int], object]] = {
    "a first replication, in check mode": lambda n: foretold(new(n)),
    "an increment, in check mode": lambda n: foretold(behind(10, n)),
    "an increment of one snapshot, in check mode": lambda n: foretold(behind(n, 1)),
    "an increment by single streams": lambda n: foretold(behind(10, n), PairOptions(packages=False)),
    "a cascade over a chain of clones": lambda n: cascade(n, chain=True),
    "a cascade over the clones of one snapshot": lambda n: cascade(n, chain=False),
    "the order of a chain of clones": lambda n: in_order(pairs_of(clones(n, chain=True))[::-1]),
    "the plans of a chain of clones": lambda n: plan_all(
        Survey(tuple(pairs_of(clones(n // 4, chain=True)))), PairOptions()
    ),
    "the plans of a tree": lambda n: plan_all(Survey(tuple(in_order(pairs_of(tree(n // 4))))), PairOptions()),
    "zfs_snapshot in check mode": created,
    "what prune decides": pruned,
}


@pytest.mark.parametrize("what", WORK)
def test_work_grows_as_what_is_there(what: str) -> None:
    few, many = calls(lambda: WORK[what](300)), calls(lambda: WORK[what](1200))
    assert many < 6 * few, f"{what}: {few} calls for 300, {many} for 1200"


@pytest.mark.parametrize(("size", "chain"), [(2000, True), (5000, False)])
def test_long_chains_and_large_families_are_in_order(size: int, chain: bool) -> None:
    family = clones(size, chain)
    ordered = [pair.source.name for pair in in_order(pairs_of(family)[::-1])]
    place = {name: number for number, name in enumerate(ordered)}
    assert all(place[each.origin.partition("@")[0]] < place[name] for name, each in family.items() if each.origin)
    assert cascade(size, chain) == size - 1


def test_memory_grows_as_what_is_there() -> None:
    """A plan for each package, but not a history with each of them."""

    def peak(size: int) -> int:
        case = new(size)
        tracemalloc.start()
        try:
            foretold(case)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few, many = peak(600), peak(2400)
    assert many < 6 * few
    assert many < 2400 * 3000


def test_a_report_keeps_the_history_of_its_last_plan_only() -> None:
    """A run makes a plan for each package, each of what it has read then."""
    found = PairReport.of(plan_pair(behind(2, 300), PairOptions()))
    for _package in range(3):
        found.add(plan_pair(behind(2, 300), PairOptions()))
    kept = [len(plan.pair.source.snapshots) for plan in found.plans]
    assert kept == [0, 0, 0, 302]
    assert all(plan.foreseen is None for plan in found.plans[:-1])
    assert [step["count"] for step in found.to_result(ran=False)["steps"]] == [100] * 4


# -- streams ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_foresight_looks_at_a_part_and_sees_the_same(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """With every filter, the plans are those that are made with the whole history in sight."""
    monkeypatch.setattr(planner, "PACKAGE", 3)
    picked = tuple(f"autosnap_{n:06}_hourly" for n in range(60) if (n * n + seed) % (seed + 2) != 1)
    options = PairOptions(include=picked, packages=seed % 3 != 1)
    case = behind(2, 50) if seed % 2 else new(50)
    part = sends_of(case, options)
    monkeypatch.setattr(planner.Ahead, "part", lambda _self, pair: pair)
    assert part == sends_of(case, options)
    assert len(part) > 4


def test_foresight_without_anything_requested_sees_it_all() -> None:
    """The release of our hold may have destroyed the goal."""
    case = behind(2, 5)
    assert planner.Ahead.of(plan_pair(case, PairOptions()), PairOptions(include=("none",))).part(case) is case


def sends_of(case: Pair, options: PairOptions) -> list[Any]:
    plans = rounds(plan_pair(case, options), options, {})
    return [
        ([(send.base, [snap.name for snap in send.carries]) for send in plan.sends], [step.text for step in plan.steps])
        for plan in plans
    ]


def test_check_mode_foretells_an_increment_of_many_packages(world: World) -> None:
    """Cursors are swept meanwhile. No command line, hold or release has more than one package."""
    world.here.make("tank/v", *(f"tank/v@s{number}" for number in range(950)))
    check = world.replicate(check=True)
    world.log.clear()
    real = world.replicate()
    assert check["actions"] == real["actions"]
    assert any("old bookmarks" in text for text in real["actions"])
    steps = real["replicas"][0]["steps"]
    assert [step["count"] for step in steps] == [1, *[100] * 9, 49]
    assert max(len(step["snapshots"]) for step in steps) == 2
    assert max(len(argv) for _where, argv in world.log if argv[1] in ("hold", "release")) == 100 + 3
    assert not any(thing.holds for thing in world.here.all.values())
    assert len([name for name in world.here.all if "#" in name]) <= 9
    per_package = [world.count(HERE, "zfs", verb) for verb in ("list", "get", "hold", "release", "bookmark", "set")]
    assert max(per_package) <= 6 * len(steps)


def read_in(patch: pytest.MonkeyPatch, world: World, do: Callable[[], object]) -> int:
    """The lines that zfs prints meanwhile when it is asked for something."""
    count = 0
    for machine in world.machines.values():
        answer = type(machine).answer

        def counted(argv: list[str], machine: Any = machine, answer: Any = answer) -> Any:
            nonlocal count
            result = answer(machine, argv)
            count += result.stdout.count("\n")
            return result

        patch.setattr(machine, "answer", counted)
    do()
    return count


@pytest.mark.parametrize("reseed", [False, True])
def test_what_a_run_reads_grows_as_what_it_sends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reseed: bool) -> None:
    """Not both histories after each package; and no more processes for each."""
    rows, work, asked = [], [], []

    def run(world: World, results: list[dict[str, Any]]) -> None:
        work.append(calls(lambda: results.append(world.replicate(on_divergence="reseed"))))

    for size in (300, 1200):
        world = World()
        world.install(monkeypatch, tmp_path)
        world.there.make("backup")
        world.here.make("tank/v@s")
        world.replicate()
        world.here.make(*(f"tank/v@s{number}" for number in range(size)))
        if reseed:
            world.there.make("backup/v@own")
        world.log.clear()
        results: list[dict[str, Any]] = []
        rows.append(read_in(monkeypatch, world, functools.partial(run, world, results)))
        assert "failed" not in results[0], results
        asked.append(world.count(HERE, "zfs", "list") + world.count(HERE, "zfs", "get"))
    assert rows[1] < 6 * rows[0]
    assert work[1] < (8 if reseed else 6) * work[0]
    assert asked[1] - asked[0] <= 9 * 3


def test_processes_do_not_grow_with_datasets_where_nothing_is_to_do(world: World) -> None:
    world.here.make("tank/v@s", *(f"tank/v/d{number}@s" for number in range(60)))
    world.replicate(recursive=True)
    few = []
    for case in ({}, {"recursive": True}):
        world.log.clear()
        assert not world.replicate(**case)["changed"]
        few.append(len(world.log))
    assert few[0] == few[1]


def test_a_record_that_zfs_would_not_take_is_refused_for_its_pair(world: World) -> None:
    """Of one source with very many replicas on one pool."""
    case = new(2)
    entries = [ReplicaRecord(f"{number:016x}", f"b:backup/{number}/" + "x" * 20, "5", "plain") for number in range(100)]
    records = ReplicaRecords(tuple(entries))
    while len(records.format()) > bookkeeping.MAX_RECORDS:
        records = ReplicaRecords(records.entries[1:])
    full = replace(case, source=replace(case.source, ours={ReplicaRecords.name(case.pool): records.format()}))
    plan = plan_pair(full, PairOptions())
    assert isinstance(plan.error, Refused)
    assert "tank/v has" in str(plan.error)
    assert not plan.steps
    fewer = ReplicaRecords(records.entries[2:])
    free = replace(case, source=replace(case.source, ours={ReplicaRecords.name(case.pool): fewer.format()}))
    assert not plan_pair(free, PairOptions()).error


# -- clones ----------------------------------------------------------------------------------------------------------


def verb(world: World, module: str, **options: Any) -> dict[str, Any]:
    with world.lock:
        main, params = entrance(Call(module, options))
    return main(params, True)


@pytest.mark.parametrize("receiving", [False, True])
def test_all_clones_are_found_where_zfs_cuts_their_list(world: World, receiving: bool) -> None:
    names = [f"tank/root-of-a-machine-{number:04}" for number in range(500)]
    world.here.make("tank/template@gold")
    for name in names:
        world.here.clone("tank/template@gold", name)
    if receiving:
        world.here.clone("tank/template@gold", "tank/template/%recv")  # which zfs list does not show
        world.here.all["tank/template/%recv"].type = "hidden"
    shown_ = next(line for line in world.here.do_get({"-o": ["all"]}, "clones", "tank/template@gold").splitlines())
    assert not shown_.endswith("-0499")
    info = verb(world, "zfs_snapshot_info", name=["tank/template"])
    found = info["snapshots"][0]["dependents"]["clones"]
    assert found == sorted([*names, *(["tank/template/%recv"] if receiving else [])])
    with pytest.raises(Refused) as refused:
        verb(world, "zfs_snapshot", name=["tank/template@gold"], state="absent", on_dependents="fail")
    assert f"clone {names[0]}" in refused.value.msg
    assert f"and {len(found) - 20} more" in refused.value.msg
    tree = inventory.read_tree(Backend(), ["tank/template"], ("type", "clones"), inventory.TREE)
    assert tree.snapshots["tank/template@gold"].clones == found
    kept = verb(world, "zfs_snapshot_prune", name=["tank/template"], match=["*"], keep={"last": 1})
    assert kept["pruned"] == []


def test_prune_reads_all_datasets_at_once(world: World) -> None:
    names = [f"tank/v/d{number}" for number in range(30)]
    world.here.make("tank/v@s1", *(f"{name}@s{number}" for name in names for number in (1, 2, 3)))
    for name in names[:10]:
        assert not world.replicate(f"{name}@s1", target=f"backup/{name[7:]}").get("failed")
    for recursive, left in ((False, []), (True, [2, 3])):
        world.log.clear()
        result = verb(world, "zfs_snapshot_prune", name=["tank/v"], recursive=recursive, match=["*"], keep={"last": 1})
        assert [argv[1] for _machine, argv in world.log if argv[0] == "zfs"] == ["list", "get", "get", "get"]
        assert {int(kept["name"][-1]) for kept in result["kept"] if "v/d1@" in kept["name"]} == {*left}
        assert len(result["pruned"]) == (10 + 40 if recursive else 0)


# -- results and command lines ---------------------------------------------------------------------------------------


def test_a_result_names_few_snapshots() -> None:
    """A first replication of 100,000 snapshots; AWX stores 700,000 bytes at most."""
    told = foretold(new(8_000))
    del told["diff"]  # outside of diff mode
    size = len(json.dumps(shown(told)))
    assert size < 8_000 * 10 + 1_000


def test_a_message_names_a_few_of_very_many(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_backend: Backend, command: list[str], **_more: object) -> None:
        if command[-1] == "tank/v500":
            raise Refused("no")

    monkeypatch.setattr(Backend, "run", refused)
    plan = Plan([Step.of(f"destroy tank/v{n}", [zfs.destroy(f"tank/v{n}")]) for n in range(5000)])
    with pytest.raises(Refused) as caught:
        execute(Backend(), plan)
    assert len(caught.value.msg) < 2000
    assert "and 480 more; not done: destroy tank/v500;" in caught.value.msg
    assert len(caught.value.details["actions"]) == 500
    failed = result(plan, [], {f"tank/v@{n}": f"tank/v@{n} is busy" for n in range(5000)})
    assert failed["msg"].endswith("tank/v@19 is busy; and 4980 more")
    names = [f"tank/v{n // 3000}@s{n}" for n in range(6000)]
    options = Options([SnapshotName.parse(name) for name in names])
    datasets = {name: Dataset(name) for name in ("tank/v0", "tank/v1")}
    (warning,) = present.plan_present(options, names, datasets, Activity()).warnings
    assert len(warning) < 2000


def test_no_command_line_is_too_long() -> None:
    names = [f"tank/{'x' * 150}@{number}" for number in range(5000)]
    found = zfs.split(lambda some: zfs.hold("tag", some), names)
    assert [name for argv in found for name in argv[3:]] == names
    assert max(len(" ".join(argv)) for argv in found) < 128 * 1024
    assert zfs.split(lambda some: zfs.hold("tag", some), []) == ()
