# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""zfs_pool_info on real pools. The recorded session pool_info has logs, spares, scrubs and damaged data."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import verbs
from harness import Ansible, Backend

VERB = "_pool.info"


def read(*names: str, timeout: str = "20s") -> dict[str, Any]:
    """All options of the module."""
    return {"name": list(names) or None, "timeout": timeout}


# A pool in a sparse file that outgrows its filesystem, and so is suspended
SUSPEND = """set -e; mkdir -p /run/{0}; mount -t tmpfs -o size=24M none /run/{0}; truncate -s 100M /run/{0}/disk
zpool create -o failmode={1} {0} /run/{0}/disk
(setsid head -c 36M /dev/urandom > /{0}/f 2> /dev/null < /dev/null &)
until grep -q SUSPENDED /proc/spl/kstat/zfs/{0}/state; do sleep 0.2; done"""
MEND = """for pool in s1 s2; do mountpoint -q /run/$pool || continue
mount -o remount,size=200M /run/$pool; zpool clear $pool; kill -9 $(pgrep -x head)
for try in 1 2 3 4 5 6 7 8 9; do zpool destroy -f $pool && break; sleep 1; done; umount /run/$pool; done"""


@pytest.fixture
def backend(backends: list[Backend]) -> Iterator[Backend]:
    yield backends[0]
    backends[0].run(MEND)


def numbers(backend: Backend, pool: str) -> list[int]:
    told = backend.run(["zpool", "list", "-Hp", "-o", "size,allocated,free,capacity,fragmentation", pool]).stdout
    return [int(text) for text in told.split()]


KEYS = ("size_bytes", "allocated_bytes", "free_bytes", "capacity_percent", "fragmentation_percent")


def test_pools(backend: Backend) -> None:
    backend.run("truncate -s 100M '/tmp/a 1' /tmp/a2 && zpool create s1 mirror '/tmp/a 1' /tmp/a2 && zpool sync")
    backend.run("zpool offline s1 /tmp/a2; zpool scrub -w tank")
    before = backend.dump()
    pools, named, none = (
        four[0] for four in verbs.run(backend, VERB, [read(), read("tank", "nope"), read("s1")], False, 1)
    )
    assert {pool["name"] for pool in pools["pools"]} == {"tank", "backup", "s1"}
    (tank,) = named["pools"]
    assert named["failed"]
    assert "there is no pool nope" in named["msg"]
    assert (tank["state"], tank["healthy"], tank["problems"], tank["data_errors"]) == ("online", True, [], 0)
    assert [tank[key] for key in KEYS] == pytest.approx(numbers(backend, "tank"), abs=2**20)
    assert tank["guid"] == backend.run("zpool get -Hp -o value guid tank").stdout.strip()
    assert [(vdev["name"], vdev["state"]) for vdev in tank["vdevs"]] == [("/dev/vdb1", "online")]
    assert (tank["scan"]["operation"], tank["scan"]["state"], tank["scan"]["errors"]) == ("scrub", "finished", 0)
    assert abs(tank["scan"]["finished_epoch"] - int(backend.run("date +%s").stdout)) < 60
    assert tank["features"]["zstd_compress"] in ("enabled", "active")
    assert tank["properties"]["failmode"] == "wait"
    (s1,) = none["pools"]
    assert (s1["state"], s1["healthy"]) == ("degraded", False)
    assert [(vdev["name"], vdev["parent"], vdev["state"]) for vdev in s1["vdevs"]] == [
        ("mirror-0", None, "degraded"),
        ("/tmp/a 1", "mirror-0", "online"),
        ("/tmp/a2", "mirror-0", "offline"),
    ]
    assert backend.dump() == before


def test_suspended_pools_hang_nothing(backend: Backend, ansible: Ansible) -> None:
    """Also with failmode=continue, where zpool does not call a pool suspended."""
    for name, mode in (("s1", "wait"), ("s2", "continue")):
        backend.run(SUSPEND.format(name, mode))
    began = time.monotonic()
    (result,) = ansible.run_tasks(backend.name, [{"cerss.zfs.zfs_pool_info": {"timeout": "5s"}}])
    assert time.monotonic() - began < 45
    pools = {pool["name"]: pool for pool in result["pools"]}
    assert {name: pool["state"] for name, pool in pools.items()} == {
        "tank": "online", "backup": "online", "s1": "suspended", "s2": "suspended",
    }  # fmt: skip
    assert pools["tank"]["healthy"]
    assert "zpool clear s2" in " ".join(pools["s2"]["problems"])
    tasks = [{"name": ["tank", "s1"]}, {"detail": "names"}]
    named, every = ansible.run_tasks(
        backend.name, [{"cerss.zfs.zfs_dataset_info": task, "failed_when": False} for task in tasks]
    )
    assert [dataset["name"] for dataset in named["datasets"]] == ["tank"]
    assert named["msg"] == "pool s1 is suspended, so its datasets are missing here; see zfs_pool_info"
    assert [dataset["name"] for dataset in every["datasets"]] == ["backup", "tank"]
    assert [warning.split()[1] for warning in every["warnings"]] == ["s1", "s2"]
