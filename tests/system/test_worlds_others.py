# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Others at work on the same datasets between the plan and its turn, and what killed runs and udev leave open."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import verbs
from harness import Backend, until
from test_agreement import in_front_of_zfs
from test_replicate import once, options, replicate, target
from test_replicate_cuts import leftovers
from test_zfs_snapshot import VERB, absent, states

pytestmark = pytest.mark.no_gate("zfs is replaced, which a service user cannot")

# Runs the script /run/before-KIND before the first command of that kind. The kind "marks" is any command that sets
# marks on the source.
MEANWHILE = """#!/bin/sh
kind=$1
case $1 in bookmark|hold|program) kind=marks;; esac
if [ -e /run/before-$kind ]; then
  mv /run/before-$kind /run/now
  PATH=/usr/sbin:$PATH sh -ec "$(cat /run/now)" >&2 && echo $kind >> /run/done
fi
exec /usr/sbin/zfs "$@"
"""


def before(kind: str, *commands: str) -> str:
    return f"printf %s '{'; '.join(f'zfs {each}' for each in commands)}' > /run/before-{kind}"


def test_a_plan_that_others_make_impossible(settled: list[Backend]) -> None:
    """The same run makes another one, without a retry."""
    one, two = settled
    v = "tank/vol"
    with in_front_of_zfs(one, MEANWHILE, "/run/done") as done:
        told = replicate(
            one,
            f"zfs snapshot {v}@a1; zfs snapshot {v}@a2; {before('marks', f'destroy {v}@a2')}", options(),
            f"zfs snapshot {v}@b1; zfs snapshot {v}@b2; {before('marks', f'destroy {v}@b1')}", options(),
            f"zfs snapshot {v}@c1; {before('send', f'rename {v}@c1 {v}@c2')}", options(),
            f"zfs snapshot {v}@d1; {before('send', f'snapshot {v}@d2', f'destroy {v}@d1')}", options(),
            f"zfs snapshot {v}@e1; {before('send', f'destroy {v}@d2')}", options(),
            f"zfs snapshot {v}@e2; {before('send', f'destroy {v}@e2', f'snapshot {v}@e2')}", options(),
            f"zfs snapshot {v}@f1; {before('send', f'destroy {v}@f1')}", options(f"{v}@f1"),
            look=False, passes=1,
        )  # fmt: skip
    assert done == ["marks", "marks", "send", "send", "send", "send", "send"]
    for (result,), goal in zip(told, ("a1", "b2", "c2", "d2", "e1", "e2")):
        assert not result.get("failed"), (goal, result)
        (replica,) = result["replicas"]
        assert (replica["source"], replica["state"]) == (f"{v}@{goal}", "full")
    assert "@f1 does not exist; create one" in told[-1][0]["msg"]
    there = [name.partition("@")[2] for name in two.dump() if name.startswith("backup/vol@")]
    assert there == ["s1", "s2", "a1", "b2", "c2", "d2", "e1", "e2"]
    assert not [tag for values in one.dump().values() for tag in values["holds"]]
    assert once(one)["changed"] is False


def test_a_replica_that_others_write_to_while_it_is_rolled_back(settled: list[Backend]) -> None:
    one, two = settled
    one.zfs("snapshot", "tank/vol@s3")
    two.zfs("snapshot", "backup/vol@own")
    with in_front_of_zfs(two, MEANWHILE, "/run/done") as done:
        two.run(before("rollback", "snapshot backup/vol@more"))
        told = once(one, on_divergence="rollback")
    assert done == ["rollback"]
    assert not told.get("failed"), told
    assert [action for action in told["actions"] if "backup/vol@more" in action]
    assert one.checksum("tank/vol@s3") == two.checksum("backup/vol@s3")


def test_what_held_replicas_becomes_one(backends: list[Backend]) -> None:
    one, two = backends
    one.run("zfs create tank/p; zfs create tank/p/q; zfs create tank/p/q/db; date > /tank/p/q/db/f; date > /tank/p/f")
    one.zfs("snapshot", "tank/p/q/db@s1")
    place: dict[str, Any] = {"target": target(parent="backup")}
    tree: dict[str, Any] = {**place, "recursive": True}
    assert not once(one, name=["tank/p/q/db"], **place).get("failed")
    two.run("zfs create -u backup/p/other; zfs set compression=gzip backup/p")
    one.zfs("snapshot", "-r", "tank/p@s2")
    guids = {
        name: values["guid"] for name, values in two.dump().items() if name.startswith(("backup/p/q/", "backup/p/o"))
    }
    (refused,), (_check, made, _check2, again) = replicate(
        one, options("tank/p", **tree), look=False, passes=1
    ) + replicate(one, options("tank/p", on_divergence="reseed", **tree))
    assert "backup/p exists and holds other datasets, but is no replica" in refused["msg"]
    assert {each["target"]: each["failed"] for each in refused["replicas"]}["backend-b:backup/p/q/db"] is False
    assert [each["state"] for each in made["replicas"]] == ["full"] * 3
    assert not again["changed"]
    seen = two.dump()
    assert {name: seen[name]["guid"] for name in guids} == guids
    for name in ("p", "p/q", "p/q/db"):
        assert one.checksum(f"tank/{name}@s2") == two.checksum(f"backup/{name}@s2")
    assert seen["backup/p"]["properties"]["compression"] == ["local", "gzip"]
    assert seen["backup/p"]["properties"]["canmount"] == ["local", "noauto"]
    one.zfs("snapshot", "-r", "tank/p@s3")
    assert not once(one, name=["tank/p"], **tree).get("failed")


USERS = """
cd /backup/vol/sub
exec 3> open 4< /backup/vol/fill-1 5<> /dev/zvol/backup/vol/zv
until [ -e /run/enough ]; do echo more >&3 && dd bs=4k count=1 <&5 status=none > /dev/null || exit; sleep 0.2; done
pwd > /run/fine
"""


def test_a_reseed_while_the_replica_and_what_is_below_it_are_in_use(settled: list[Backend]) -> None:
    """Nobody notices the renames. The promotion needs the snapshots for a moment, and the next run makes up for it."""
    one, two = settled
    two.run("zfs mount backup/vol; zfs create backup/vol/sub; zfs create -V 8M backup/vol/zv; udevadm settle")
    two.run("rm -f /run/enough /run/fine; cat > /run/users", input=USERS)
    two.run("nohup sh /run/users > /run/users.log 2>&1 & sleep 1")
    two.run("cd /backup/vol/.zfs/snapshot/s1; nohup sleep 600 > /dev/null 2>&1 & echo $! > /run/reader; sleep 1")
    two.zfs("snapshot", "backup/vol@own")
    one.zfs("snapshot", "tank/vol@s3")
    try:
        busy = once(one, on_divergence="reseed")
        assert "dataset is busy — somebody reads a snapshot of its origin" in busy["msg"]
        assert two.zfs("list", "-H", "-o", "mounted", "backup/vol", "backup/vol/sub").split() == ["yes", "yes"]
    finally:
        two.run("kill $(cat /run/reader)")
    told = once(one)  # whatever on_divergence is now
    assert not told.get("failed"), told
    assert told["replicas"][0]["bytes_sent"] == 0
    two.run("touch /run/enough; until [ -e /run/fine ]; do sleep 0.2; done; rm /run/enough", timeout=60)
    mounts = dict(line.split()[:2] for line in two.run("grep ' zfs ' /proc/self/mounts").stdout.splitlines())
    (old,) = [name for name in mounts if name.startswith("backup/vol_old_")]
    assert (mounts[old], mounts["backup/vol/sub"]) == ("/backup/vol", "/backup/vol/sub")
    two.run(f"zfs unmount backup/vol/sub; zfs unmount {old}; zfs mount backup/vol; zfs mount backup/vol/sub")
    two.run("grep -q more /backup/vol/sub/open; [ -e /dev/zvol/backup/vol/zv ]")
    assert one.checksum("tank/vol@s3") == two.checksum("backup/vol@s3")
    assert once(one)["changed"] is False


def test_a_device_that_is_open_for_a_moment(filled: list[Backend]) -> None:
    one = filled[0]
    device = "/dev/zvol/tank/zv@s1"
    one.run("zfs set snapdev=visible tank/zv; udevadm settle")
    try:
        one.run(
            f"until [ -e {device} ]; do sleep 0.2; done; nohup sleep 600 < {device} > /dev/null 2>&1 &"
            "echo $! > /run/opener"
        )
        ((busy,),) = verbs.run(one, VERB, [absent("tank/zv@s1")], look=False, passes=1)
        assert busy["failed"]
        assert f"while its device {device} is open; find out who uses it with: fuser -v {device}" in busy["msg"]
        assert states(busy) == {"tank/zv@s1": "full"}
    finally:
        one.run("kill $(cat /run/opener)")
    one.run(f"nohup sleep 3 < {device} > /dev/null 2>&1 &")
    ((told,),) = verbs.run(one, VERB, [absent("tank/zv@s1")], look=False, passes=1)
    assert not told.get("failed"), told
    assert states(told) == {"tank/zv@s1": "absent"}


RUNS = "cat /run/cerss.zfs/0/*.json 2> /dev/null; :"


def test_the_receiver_of_a_killed_run(settled: list[Backend]) -> None:
    """Its connection was lost without a word, so that it would wait for hours. The next run ends it at once."""
    one, two = settled
    one.fill("tank/vol", 30, 7)
    one.zfs("snapshot", "tank/vol@s3")
    orphan = two.run("sysctl -n net.ipv4.tcp_keepalive_time").stdout
    assert int(orphan) > 600
    retries = one.run("sysctl -n net.ipv4.tcp_orphan_retries").stdout.strip()
    slow = options(bandwidth_limit="256K")
    with ThreadPoolExecutor() as pool:
        running = pool.submit(replicate, one, slow, look=False, passes=1)
        until(lambda: '"told"' in one.run(RUNS).stdout and "null" not in one.run(RUNS).stdout, 120)
        run = json.loads(one.run(RUNS).stdout)
        pids = " ".join(map(str, [run["pid"], *run["programs"]]))
        # The end of the connection is lost too.
        one.run(
            "sysctl -q net.ipv4.tcp_orphan_retries=1; ip link set eth1 down"
            f"; kill -9 {pids}; sleep 8; ip link set eth1 up; sysctl -q net.ipv4.tcp_orphan_retries={retries}"
        )
        assert running.exception() is not None
    receives = "pgrep -f '^zfs receive -s .*backup/vol$'"
    assert two.run(receives).stdout.split() == [str(run["receiver"])]
    began = time.monotonic()
    told = replicate(one, options(on_active="fail", stall_timeout="10m"), look=False, passes=1)[0][0]
    assert not told.get("failed"), told
    assert time.monotonic() - began < 120
    assert told["replicas"][0]["resumed"]
    step = told["replicas"][0]["steps"][0]
    assert 0 < step["bytes_sent"] <= 31 * 2**20
    assert one.checksum("tank/vol@s3") == two.checksum("backup/vol@s3")
    assert leftovers([one, two]) == []


def test_bytes_sent_are_measured(backends: list[Backend]) -> None:
    """They are those of the stream, however wrong the estimate is, and however short the stream."""
    one = backends[0]
    one.run("zfs create -o compression=off tank/vol; head -c 3M /dev/urandom > /tank/vol/f; zfs snapshot tank/vol@s1")
    one.run("head -c 100K /dev/urandom > /tank/vol/g; zfs snapshot tank/vol@s2")
    told = once(one)
    assert not told.get("failed"), told
    sizes = [
        int(one.run(f"zfs send -L -c {stream} | wc -c").stdout)
        for stream in ("tank/vol@s1", "-i tank/vol@s1 tank/vol@s2")
    ]
    assert [step["bytes_sent"] for step in told["replicas"][0]["steps"]] == sizes
    assert told["bytes_sent"] == sum(sizes)
