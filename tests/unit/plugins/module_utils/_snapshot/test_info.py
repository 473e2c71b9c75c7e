# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of zfs_snapshot_info, its result, and its memory on the output of very many snapshots."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._host import process
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.info import Options, main

DEFAULTS: dict[str, Any] = {
    "name": None, "recursive": False, "states": None, "match": None, "detail": "state", "properties": None,
    "limit": None, "output_file": None,
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
        for prop in properties:
            print(f"{{name}}\t{{prop}}\t-\t{{known.get(prop, '-')}}")
"""

MEASURE = r"""
import json, resource, sys
sys.path[:0] = json.loads(sys.argv[1])
from conftest import ROOT
from ansible_collections.cerss.zfs.plugins.module_utils._host import process
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot import info
process.SEARCH_PATH = sys.argv[2] + ":/usr/bin:/bin"
result = info.main(json.loads(sys.argv[3]), False)
print(json.dumps([result["counts"]["total"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
"""


def replay(folder: Path, count: int) -> None:
    script = folder / "zfs"
    script.write_text(REPLAY.format(python=sys.executable, count=count))
    script.chmod(0o755)


@pytest.mark.parametrize(("detail", "few", "many"), [("names", 10_000, 100_000), ("state", 4_000, 20_000)])
def test_memory_is_flat(tmp_path: Path, detail: str, few: int, many: int) -> None:
    used = {}
    unit = str(Path(__file__).parents[3])
    for size in (few, many):
        replay(tmp_path, size)
        options = {**DEFAULTS, "detail": detail, "output_file": str(tmp_path / f"{size}.jsonl")}
        argv = [sys.executable, "-c", MEASURE, json.dumps([unit, *sys.path]), str(tmp_path), json.dumps(options)]
        total, used[size] = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
        assert total == size
        with open(tmp_path / f"{size}.jsonl", encoding="utf-8") as written:
            assert len(list(written)) == size
    assert used[many] - used[few] < 8 * 1024, used  # KiB


def test_everything_is_told_from_the_replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replay(tmp_path, 10_000)
    monkeypatch.setattr(process, "SEARCH_PATH", f"{tmp_path}:/usr/bin:/bin")
    result = main({**DEFAULTS, "name": ["tank/v0"], "match": ["s1*"], "limit": 2}, False)
    assert [snapshot["name"] for snapshot in result["snapshots"]] == ["tank/v0@s1", "tank/v0@s10"]
    assert result["snapshots"][0]["depends_on"] == {"snapshot": "tank/v0@s0", "guid": "1000", "kind": "prior"}
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
    ],
)
def test_what_belongs_to_the_answer(name: Any, recursive: bool, dataset: str, parts: Any) -> None:
    assert Options.from_params({**DEFAULTS, "name": name, "recursive": recursive}).parts(dataset) == parts
