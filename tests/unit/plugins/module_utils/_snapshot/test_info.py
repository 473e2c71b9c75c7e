# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of zfs_snapshot_info, its result, and its memory on the output of very many snapshots."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, Suspended
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory, process
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot import info
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.info import Options, main
from ansible_collections.cerss.zfs.tests.unit.world import World

DEFAULTS: dict[str, Any] = {
    "name": None, "recursive": False, "exclude": [], "select": None, "states": None, "match": None, "detail": "state",
    "properties": None, "newest": None, "limit": None, "output_file": None,
}  # fmt: skip

# Prints what `zfs` would for COUNT snapshots in datasets of 10,000, in the formats that 2.3.9 was recorded with.
REPLAY = r"""#!{python} -S
import sys
verb, *args = sys.argv[1:]
each = 10000
if verb == "list":
    columns, types = args[args.index("-o") + 1].split(","), args[args.index("-t") + 1].split(",")
    for dataset in range(({count} + each - 1) // each):
        if "filesystem" in types:
            print(f"tank/v{{dataset}}\t{{dataset + 1}}\t{{dataset + 1}}\t-\t0")
        for n in range(min(each, {count} - dataset * each) if "snapshot" in types else 0):
            more = "\t-\t0" if "inconsistent" in columns else ""
            print(f"tank/v{{dataset}}@s{{n}}\t{{dataset * each + n + 1000}}\t{{dataset * each + n + 1000}}{{more}}")
elif verb == "get":
    at = args.index("-o") + 2
    properties, names = args[at].split(","), args[at + 1:]
    known = {{"creation": "1795454021", "defer_destroy": "off", "userrefs": "0", "used": "0", "written": "24576"}}
    for name in names:
        dataset, _at, n = name.removeprefix("tank/v").partition("@s")
        known["createtxg"] = str(int(dataset) * each + int(n) + 1000 if n else int(dataset) + 1)
        for prop in properties:
            print(f"{{name}}\t{{prop}}\t-\t{{known.get(prop, '-')}}")
"""

MEASURE = r"""
import json, resource, sys
sys.path[:0] = json.loads(sys.argv[1])
from conftest import ROOT
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory, process
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot import info
process.SEARCH_PATH = sys.argv[2] + ":/usr/bin:/bin"
result = info.main(json.loads(sys.argv[3]), False)
print(json.dumps([result["counts"]["total"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
"""


def replay(folder: Path, count: int) -> None:
    script = folder / "zfs"
    script.write_text(REPLAY.format(python=sys.executable, count=count))
    script.chmod(0o755)


@pytest.mark.parametrize(
    ("more", "few", "many"),
    [
        ({"detail": "names"}, 10_000, 100_000),
        ({"detail": "state"}, 4_000, 20_000),
        ({"detail": "names", "limit": 50}, 10_000, 50_000),
        ({"detail": "state", "newest": 20}, 10_000, 50_000),
    ],
)
def test_memory_is_flat(tmp_path: Path, more: dict[str, Any], few: int, many: int) -> None:
    used = {}
    unit = str(Path(__file__).parents[3])
    for size in (few, many):
        replay(tmp_path, size)
        options = {**DEFAULTS, **more, "output_file": str(tmp_path / f"{size}.jsonl")}
        argv = [sys.executable, "-c", MEASURE, json.dumps([unit, *sys.path]), str(tmp_path), json.dumps(options)]
        total, used[size] = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
        datasets = size // 10_000
        assert total == (size if "newest" not in more else 20 * datasets)
        with open(tmp_path / f"{size}.jsonl", encoding="utf-8") as written:
            assert len(list(written)) == more.get("limit", total)
    assert used[many] - used[few] < 8 * 1024, used  # KiB


def test_everything_is_told_from_the_replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replay(tmp_path, 10_000)
    monkeypatch.setattr(process, "SEARCH_PATH", f"{tmp_path}:/usr/bin:/bin")
    result = main({**DEFAULTS, "name": ["tank/v0"], "match": ["s1*"], "limit": 2}, False)
    assert [snapshot["name"] for snapshot in result["snapshots"]] == ["tank/v0@s1999", "tank/v0@s1998"]
    assert result["snapshots"][0]["depends_on"] == {"snapshot": "tank/v0@s1998", "guid": "2998", "kind": "prior"}
    assert result["counts"] == {
        "full": 1111,
        "pending_delete": 0,
        "inbound": 0,
        "creating": 0,
        "absent": 0,
        "total": 1111,
    }
    output = tmp_path / "out"
    told = main({**DEFAULTS, "name": ["tank/v0@s7", "tank/v0@none"], "output_file": str(output)}, False)
    assert told["snapshots"] == []
    assert [json.loads(line)["state"] for line in output.read_text().splitlines()] == ["full", "absent"]
    output.unlink()
    assert main({**DEFAULTS, "output_file": str(output)}, True)["counts"]["total"] == 10_000
    assert not output.exists()
    names = main({**DEFAULTS, "name": ["tank/v0@s7", "tank/v0@none"], "detail": "names"}, False)
    assert names["snapshots"][-1] == {"name": "tank/v0@none", "guid": None, "createtxg": None, "state": "absent"}
    assert names["counts"] == {
        "full": None, "pending_delete": None, "inbound": None, "creating": None, "absent": 1, "total": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": [""]}, "a dataset name is empty"),
        ({"name": ["tank", "tank"]}, "more than once"),
        ({"name": ["tank/v@"]}, "a part of it is empty"),
        ({"detail": "names", "states": ["full"]}, "states cannot be combined with detail=names"),
        ({"detail": "names", "properties": ["a:b"]}, "properties cannot be combined with detail=names"),
        ({"properties": ["cerss.zfs:source"]}, "internal to this collection"),
        ({"properties": ["No!"]}, "not a valid property name"),
        ({"limit": -1}, "limit is -1"),
        ({"newest": 0}, "newest is 0"),
        ({"match": ["re:("]}, "match: 're:(' is not a regular expression"),
        ({"exclude": ["re:("]}, "exclude: 're:(' is not a regular expression"),
        ({"output_file": "/"}, "give a file in an existing directory"),
        ({"output_file": "/nowhere/at/all"}, "give a file in an existing directory"),
    ],
)
def test_bad_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput) as caught:
        main({**DEFAULTS, **options}, False)
    assert words in caught.value.msg


@pytest.mark.parametrize(
    ("name", "recursive", "dataset", "parts"),
    [
        (None, False, "tank/v", None),
        (["tank"], False, "tank", None),
        (["tank"], False, "tank/v", set()),
        (["tank"], True, "tank/v/w", None),
        (["tank/v@a", "tank/v@b"], False, "tank/v", {"a", "b"}),
        (["tank@a"], True, "tank/v", {"a"}),
        (["tank@a"], False, "tank/v", set()),
        (["tank@a", "tank/v"], True, "tank/v/w", None),
        (["tank/v"], True, "tank/vw", set()),
        (["tank"], True, "tank/x", set()),
        (["tank/x@a"], False, "tank/x", set()),
        (None, False, "tank/x/y", set()),
    ],
)
def test_what_belongs_to_the_answer(name: Any, recursive: bool, dataset: str, parts: Any) -> None:
    given = {**DEFAULTS, "name": name, "recursive": recursive, "exclude": ["tank/x"]}
    assert Options.from_params(given).parts(dataset) == parts


BACKUP = "org.example:backup"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    world = World()
    world.install(monkeypatch, tmp_path)
    return world


def ask(world: World, **options: Any) -> dict[str, Any]:
    """The result, with the kinds of zfs commands as ``zfs``."""
    world.log.clear()
    result = main({**DEFAULTS, **options}, False)
    return {**result, "zfs": [argv[1] for _machine, argv in world.log if argv[0] == "zfs"]}


def names(result: dict[str, Any]) -> list[str]:
    return [snapshot["name"] for snapshot in result["snapshots"]]


def several(world: World) -> None:
    for number in (1, 2, 3):
        world.here.make("tank/a@s1") if number == 1 else None
        world.here.make(f"tank/b@s{number}", f"tank/b/c@s{number}", f"pool/d@s{number}")
    world.here.make("tank/empty")
    world.here.all["tank/b"].props[BACKUP] = "nightly"
    world.here.all["pool"].props[BACKUP] = "nightly"


@pytest.mark.parametrize("detail", ["names", "state"])
@pytest.mark.parametrize(
    ("options", "listed", "total"),
    [
        ({"newest": 1}, ["pool/d@s3", "tank/a@s1", "tank/b@s3", "tank/b/c@s3"], 4),
        ({"newest": 2, "name": ["tank/b"]}, ["tank/b@s2", "tank/b@s3"], 2),
        ({"newest": 1, "match": ["re:s[12]"], "name": ["tank"], "recursive": True},
         ["tank/a@s1", "tank/b@s2", "tank/b/c@s2"], 3),
        ({"limit": 3}, ["pool/d@s3", "tank/b/c@s3", "tank/b@s3"], 10),
        ({"limit": 2, "newest": 1}, ["pool/d@s3", "tank/b/c@s3"], 4),
        ({"limit": 0}, [], 10),
        ({"exclude": ["*/b"]}, ["pool/d@s1", "pool/d@s2", "pool/d@s3", "tank/a@s1"], 4),
        ({"select": {"property": BACKUP, "value": "nightly"}, "newest": 1},
         ["pool/d@s3", "tank/b@s3", "tank/b/c@s3"], 3),
        ({"select": {"property": BACKUP, "value": "nightly"}, "name": ["tank@s2", "tank@s1"]},
         ["tank/b@s1", "tank/b@s2", "tank/b/c@s1", "tank/b/c@s2"], 4),
        ({"name": ["tank/b@s1", "tank/b@none", "tank/no@s"], "limit": 2}, ["tank/b@s1", "tank/b@none"], 3),
        ({"name": ["tank/b@s1", "tank/b@none"], "exclude": ["tank/b"]}, [], 0),
        ({"name": []}, [], 0),
    ],
)  # fmt: skip
def test_which_ones(world: World, detail: str, options: dict[str, Any], listed: list[str], total: int) -> None:
    several(world)
    result = ask(world, detail=detail, **options)
    assert (names(result), result["counts"]["total"]) == (listed, total)


def test_nothing_runs_for_an_empty_list(world: World, tmp_path: Path) -> None:
    assert ask(world, name=[], output_file=str(tmp_path / "out"))["zfs"] == []
    assert world.log == []
    assert (tmp_path / "out").read_text() == ""


def test_a_missing_dataset_hides_no_other(world: World) -> None:
    several(world)
    for detail in ("names", "state"):
        result = ask(world, name=["tank/none", "tank/a", "other/pool"], detail=detail)
        assert names(result) == ["tank/a@s1"]
        assert result["failed"]
        assert result["msg"] == ("there is no dataset other/pool, tank/none; check name (zfs list shows all datasets)")


@pytest.mark.parametrize("detail", ["names", "state"])
def test_a_suspended_pool_hides_no_other(world: World, monkeypatch: pytest.MonkeyPatch, detail: str) -> None:
    several(world)
    real = Backend.lines

    def lines(backend: Backend, command: list[str], *more: Any) -> Any:
        yield from real(backend, [word for word in command if not word.startswith("bad")], *more)
        if command[1] == "list" and "bad" in str(command):
            raise Suspended(command, 1, "cannot open 'bad': pool I/O is currently suspended")

    monkeypatch.setattr(Backend, "lines", lines)
    states = {"tank": "online", "bad": "suspended"}
    monkeypatch.setattr(inventory, "pool_states", lambda _backend: states)
    result = ask(world, name=["bad/x", "tank/a", "bad/y@s", "tank/a@none"], detail=detail)
    assert names(result) == ["tank/a@s1", "tank/a@none"]
    assert result["msg"] == "pool bad is suspended, so its snapshots are missing here; see zfs_pool_info"
    # zfs says nothing of it if no dataset is named.
    assert "failed" not in (everything := ask(world, detail=detail))
    assert everything["warnings"] == [result["msg"]]
    states["bad"] = "online"
    with pytest.raises(Suspended):
        ask(world, name=["bad/x", "tank/a"], detail=detail)


def test_what_choosing_costs(world: World) -> None:
    """The newest of 400 datasets in three processes, and one more where a property chooses them."""
    for number in range(400):
        name = f"tank/v{number:03}"
        world.here.make(*(f"{name}@s{each}" for each in range(4)))
        world.here.all[name].props[BACKUP] = "nightly" if number % 2 else "none"
    by_name = ask(world, name=[f"tank/v{number:03}" for number in range(400)], newest=1)
    selected = ask(world, select={"property": BACKUP, "value": "nightly"}, newest=1)
    assert (len(names(by_name)), by_name["zfs"]) == (400, ["list", "get", "get"])
    assert (len(names(selected)), selected["zfs"]) == (200, ["list", "get", "get", "get"])
    assert ask(world, select={"property": BACKUP, "value": "none"}, detail="names")["zfs"] == ["list", "get"]
    assert ask(world, limit=1, detail="names")["zfs"] == ["list"]
    world.here.make("pool@s")
    assert ask(world, limit=1, detail="names")["zfs"] == ["list", "get"]


PARTS = ("a1", "a2", "b1", "b2", "b3")
TREES = st.dictionaries(
    st.sampled_from(["tank", "tank/v", "tank/v/w", "tank/v-x", "pool", "pool/y"]),
    st.tuples(st.sampled_from(["nightly", "none", None]), st.lists(st.sampled_from(PARTS), unique=True)),
)
ANSWERS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.lists(st.sampled_from(["tank", "tank/v", "tank@b2", "tank/v/w@a1", "pool/y"]), unique=True),
        "recursive": st.booleans(),
        "exclude": st.lists(st.sampled_from(["tank/v", "pool*", "re:tank/v/."]), max_size=2),
        "select": st.just({"property": BACKUP, "value": "nightly"}),
        "match": st.sampled_from([["a*"], ["re:b[12]"]]),
        "newest": st.integers(1, 3),
        "limit": st.integers(0, 4),
    },
)


@given(tree=TREES, options=ANSWERS, size=st.integers(1, 6), detail=st.sampled_from(["names", "state"]))
def test_how_much_is_read_at_a_time_changes_nothing(
    tree: dict[str, tuple[str | None, list[str]]], options: dict[str, Any], size: int, detail: str
) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        world = World()
        world.install(patch, Path(folder))
        for name, (value, parts) in tree.items():
            world.here.make(name, *(f"{name}@{part}" for part in parts))
            world.here.all[name].props.update({BACKUP: value} if value else {})
        whole = ask(world, **options, detail=detail)
        patch.setattr(info, "CHUNK", size)
        small = ask(world, **options, detail=detail)
        other = ask(world, **options, detail="state" if detail == "names" else "names")
    for key in ("snapshots", "counts", "failed", "msg"):
        assert small.get(key) == whole.get(key)
    assert names(other) == names(whole)
    found = [name for name in names(whole) if name in world.here.all]
    if "limit" in options:
        assert len(found) <= options["limit"]
    for dataset in {name.partition("@")[0] for name in found}:
        own = [name.partition("@")[2] for name in found if name.partition("@")[0] == dataset]
        assert "newest" not in options or len(own) <= options["newest"]
        if "select" in options:
            assert world.here.value(dataset, BACKUP)[1] == "nightly"
