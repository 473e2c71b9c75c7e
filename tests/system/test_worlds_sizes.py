# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Large pools. Time and memory are printed (-s shows them); a module must do with little memory.

All of it takes about 40 minutes on an emulated processor, a third of that until the pools are there.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import verbs
from harness import Backend, lab_command
from test_replicate import options, target
from test_zfs_clone import clone
from test_zfs_snapshot import absent, present
from test_zfs_snapshot_info import read
from test_zfs_snapshot_prune import prune

pytestmark = pytest.mark.no_gate("the gate reads and writes the same, and this takes long")

PART = int(os.environ.get("CERSS_SIZES_PART", "1"))  # 20: about a twentieth of it all, to try the test itself
LONG, INCREMENT, DATASETS, CHAIN = (max(least, most // PART) for least, most in (
    (500, 20_000), (250, 1_000), (50, 1_000), (30, 300),
))  # fmt: skip
CLONES = 300
NAME = "autosnap_2026-11-23_{:05d}_hourly"
MEMORY = 250  # MiB

# libzfs_core, since each command would take half a second. The processes share the transaction groups.
BUILD = r"""
import ctypes, glob, json, os, sys
sizes, name = json.loads(sys.argv[1]), sys.argv[2]
nv = ctypes.CDLL(glob.glob('/lib/*/libnvpair.so.3')[0])
zfs = ctypes.CDLL(glob.glob('/lib/*/libzfs_core.so.3')[0])
nv.fnvlist_alloc.restype = ctypes.c_void_p
def names(*texts):
    found = ctypes.c_void_p(nv.fnvlist_alloc())
    for text in texts:
        nv.fnvlist_add_boolean(found, text.encode())
    return found
def create(text):
    done(zfs.lzc_create(text.encode(), 2, names(), None, 0))
def clone(text, origin):
    done(zfs.lzc_clone(text.encode(), origin.encode(), names()))
def snapshot(*texts):
    failed, given = ctypes.c_void_p(), names(*texts)
    done(zfs.lzc_snapshot(given, None, ctypes.byref(failed)))
    nv.fnvlist_free(given)
def done(number):
    assert number == 0, os.strerror(number)
def history(dataset, count):
    create(dataset)
    for number in range(count):
        snapshot(f'{dataset}@' + name.format(number))
def many():
    create('tank/many')
    for number in range(sizes['DATASETS'] - 1):
        create(f'tank/many/d{number:04d}')
    snapshot('tank/many@s1', *(f'tank/many/d{number:04d}@s1' for number in range(sizes['DATASETS'] - 1)))
def master():
    create('tank/master')
    snapshot('tank/master@gold')
    for number in range(sizes['CLONES']):
        clone(f'tank/root-of-a-machine-{number:04d}', 'tank/master@gold')
def chain():
    create('tank/chain')
    create('tank/chain/c0000')
    snapshot('tank/chain/c0000@s')
    for number in range(1, sizes['CHAIN']):
        clone(f'tank/chain/c{number:04d}', f'tank/chain/c{number - 1:04d}@s')
        snapshot(f'tank/chain/c{number:04d}@s')
work = [lambda: history('tank/long', sizes['LONG']), lambda: history('tank/week', sizes['INCREMENT'] + 1),
        many, master, chain]
children = []
for part in work:
    child = os.fork()
    if child == 0:
        zfs.libzfs_core_init()
        try:
            part()
            os._exit(0)
        finally:
            os._exit(1)
    children.append(child)
sys.exit(any(os.waitpid(child, 0)[1] for child in children))
"""


def told(what: str, *answers: dict[str, Any]) -> None:
    for answer in answers:
        size = len(json.dumps(answer)) // 1024
        print(
            f"\n{what}: {answer['seconds']:.0f} s, {answer['MiB']} MiB, {len(answer['zfs'])} zfs, {size} KiB of result"
        )
        assert not answer.get("failed"), answer.get("msg")
        assert answer["MiB"] < MEMORY


def run(backend: Backend, verb: str, case: dict[str, Any], passes: int = 2) -> list[Any]:
    found: list[Any] = verbs.run(backend, verb, [case], look=False, passes=passes, timeout=7200)[0]
    return found


@pytest.fixture(scope="module")
def one(lab: Path, lab_backends: list[Backend]) -> Backend:
    """A machine with all of these pools."""
    lab_command("reset", "--dir", lab)
    sizes = {"LONG": LONG, "INCREMENT": INCREMENT, "DATASETS": DATASETS, "CLONES": CLONES, "CHAIN": CHAIN}
    began = time.monotonic()
    lab_backends[0].run(["python3", "-", json.dumps(sizes), NAME], input=BUILD, timeout=3000)
    print(f"\nbuilt within {time.monotonic() - began:.0f} s")
    return lab_backends[0]


def test_a_master_image_with_many_clones(one: Backend) -> None:
    """zfs cuts the list of clones, with half a name at its end. Each clone is found all the same."""
    names = one.zfs("list", "-H", "-o", "name", "-d", "1", "tank").split()
    clones = [name for name in names if "/root-of" in name]
    shown = one.zfs("get", "-Hp", "-o", "value", "clones", "tank/master@gold").rstrip("\n")
    assert len(shown) in (4095, 8191)
    assert shown.rpartition(",")[2] not in clones
    (info,) = run(one, "_snapshot.info", read("tank/master"), passes=1)
    told(f"{CLONES} clones, info", info)
    assert info["snapshots"][0]["dependents"]["clones"] == clones
    check, _real = run(one, "_snapshot.absent", absent("tank/master@gold", on_dependents="fail"))
    assert f"and {CLONES - 20} more" in check["msg"]
    (cascade,) = run(one, "_snapshot.absent", absent("tank/master@gold", on_dependents="cascade"), passes=0)
    told(f"{CLONES} clones, cascade in check mode", cascade)
    assert sum(text.startswith("destroy clone") for text in cascade["actions"]) == len(clones)


def test_a_chain_of_clones(one: Backend) -> None:
    check = run(one, "_dataset.clone", clone("tank/chain/c0001", state="absent", on_dependents="cascade"), passes=2)
    told(f"a chain of {CHAIN} clones, all but one removed", *check)
    assert check[0]["actions"] == check[1]["actions"]
    assert one.zfs("list", "-Hr", "-o", "name", "tank/chain").split() == ["tank/chain", "tank/chain/c0000"]


def test_an_increment_of_many_snapshots(one: Backend) -> None:
    first = run(
        one, "_replication.replicate", options(f"tank/week@{NAME.format(0)}", target=target(dataset="backup/week"))
    )
    told("a first snapshot", *first)
    check, real = run(one, "_replication.replicate", options("tank/week", target=target(dataset="backup/week")))
    told(f"an increment of {INCREMENT} snapshots", check, real)
    assert check["actions"] == real["actions"]
    assert sum(step["count"] for step in real["replicas"][0]["steps"]) == INCREMENT
    (again,) = run(one, "_replication.replicate", options("tank/week", target=target(dataset="backup/week")), passes=1)
    told("again", again)
    assert not again["changed"]
    assert "cerss.zfs:step" not in one.run("zfs holds -H $(zfs list -Ho name -t snapshot tank/week)").stdout


def test_a_long_history(one: Backend) -> None:
    (names,) = run(one, "_snapshot.info", read("tank/long", detail="names"), passes=1)
    told(f"{LONG} snapshots, names", names)
    assert names["counts"]["total"] == LONG
    place = options("tank/long", target=target("local", dataset="backup/long"), intermediates=False)
    told(f"the newest of {LONG} snapshots", *run(one, "_replication.replicate", place))
    one.zfs("snapshot", "tank/long@newest")
    increment = run(one, "_replication.replicate", place)
    told(f"an increment of one snapshot after {LONG}", *increment)
    assert increment[0]["actions"] == increment[1]["actions"]
    (check,) = run(one, "_snapshot.prune", prune("tank/long", match=["autosnap*"], keep={"last": 100}), passes=0)
    told(f"pruning {LONG} snapshots", check)
    assert len(check["pruned"]) == LONG - 100


def test_many_datasets(one: Backend) -> None:
    snapshot = run(one, "_snapshot.present", present("tank/many@s2", recursive=True))
    told(f"a snapshot of {DATASETS} datasets", *snapshot)
    assert len(snapshot[1]["snapshots"]) == DATASETS
    tree = options(
        "tank/many", recursive=True, parallel=4, intermediates=False, target=target("local", parent="backup")
    )
    check, real = run(one, "_replication.replicate", tree)
    told(f"{DATASETS} datasets for the first time", check, real)
    assert check["actions"] == real["actions"]
    assert {replica["state"] for replica in real["replicas"]} == {"full"}
