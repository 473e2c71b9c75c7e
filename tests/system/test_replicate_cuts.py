# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Transfers cut at random points, each time run again: CERSS_CUTS says how often, CERSS_SEED repeats a failure."""

from __future__ import annotations

import os
import random

import pytest
import verbs
from harness import Backend
from test_replicate import marks, once, options, replicate, target
from test_replicate_encrypted import KEY

from ansible_collections.cerss.zfs.plugins.module_utils._replication.bookkeeping import MANY_CURSORS

CUTS = int(os.environ.get("CERSS_CUTS", "8")) // 2  # of each kind of volume
SEED = os.environ.get("CERSS_SEED", "cerss")

# Each waits for the sender's pid, lets a random time pass, and cuts.
KINDS = {
    "sender": "kill -9 $pid",
    "receiver": "ssh backend-b 'kill -9 $(pgrep -f \"^zfs receive -s\")'",
    "ssh": 'kill -9 $(pgrep -f "^ssh -T .*zfs receive -s")',
    "wire": "ip link set eth1 down; sleep 7; ip link set eth1 up",
}


# How to make tank/vol, and how to write what comes by the pipe as {0} to it
VOLUMES = {
    "plain filesystem": ("zfs create -o compression=off tank/vol", "cat > /tank/vol/{0}"),
    "encrypted zvol": (
        "echo 'long enough a secret' > /run/key"
        f" && zfs create -s -V 2G -b 128K -o compression=off -o encryption=on -o {KEY} tank/vol && udevadm settle",
        "dd of=/dev/zvol/tank/vol bs=128K seek=$((0x{0} * 4)) conv=fsync status=none iflag=fullblock",
    ),
}


def cut(number: int, write: str, kind: str, after: float) -> str:
    """New data and two snapshots, and a process that waits for their transfer to cut it."""
    return f"""
    head -c 1M /dev/urandom | {write.format(f"{number}a")}; zfs snapshot tank/vol@c{number}a
    head -c 3M /dev/urandom | {write.format(f"{number}b")}; zfs snapshot tank/vol@c{number}b
    rm -f /run/cut-{number}
    cat > /run/cut.sh <<'END'
    until pid=$(pgrep -f "^zfs send -vP"); do sleep 0.1; done
    sleep {after:.2f}
    {KINDS[kind]}
    : > /run/cut-{number}
END
    nohup sh /run/cut.sh > /run/cut.log 2>&1 < /dev/null &
    """


def leftovers(backends: list[Backend]) -> list[str]:
    """Programs and files of transfers."""
    found = []
    for backend in backends:
        seen = backend.run(["ps", "-eo", "args="]).stdout.splitlines()
        found += [line for line in seen if line.startswith(("zfs send", "zfs receive", "ssh -T"))]
        left = "/run/cerss.zfs/*/*.json* /tmp/cerss.zfs-*/*.json* /tmp/cerss.zfs-*.lease"
        found += backend.run(f"ls {left} 2>/dev/null; :").stdout.split()
    return found


@pytest.mark.parametrize("volume", VOLUMES)
def test_cuts_at_random_points(volume: str, backends: list[Backend]) -> None:
    one, two = backends
    made, write = VOLUMES[volume]
    one.run(made)
    one.zfs("snapshot", "tank/vol@c")
    chance = random.Random(SEED)
    once(one)
    resumed = 0
    for number in range(CUTS):
        kind, after = list(KINDS)[number % len(KINDS)], chance.uniform(0, 6)
        wait = f"until [ -e /run/cut-{number} ]; do sleep 0.1; done"
        slow = options(bandwidth_limit="800K", stall_timeout="4s")
        (first,), (second,) = replicate(
            one, cut(number, write, kind, after), slow, wait, options(), look=False, passes=1
        )
        told = (
            f"cut {number}, {kind} after {after:.1f} s: {first.get('msg')} / {second.get('msg')}, {second['actions']}"
        )
        assert not second.get("failed"), told
        assert second["replicas"][0]["state"] == "full", told
        if "the next run resumes" in first.get("msg", "") and "have arrived" in first["msg"]:
            assert second["replicas"][0]["resumed"], told
            resumed += 1
    print(f"{resumed} of {CUTS} cuts came while bytes were under way")
    assert resumed, "no cut came while bytes were under way"
    assert not [mark for mark in marks(*backends) if "step" in mark or "inbound" in mark]
    assert marks(*backends).count("backend-a tank/vol bookmark") <= MANY_CURSORS + 2
    guids = [
        backend.run(f"zfs list -Hp -d 1 -t snapshot -o guid -s createtxg {name}").stdout
        for backend, name in ((one, "tank/vol"), (two, "backup/vol"))
    ]
    assert guids[0] == guids[1]
    if volume.startswith("encrypted"):
        two.run(["zfs", "load-key", "-L", "prompt", "backup/vol"], input="long enough a secret\n")
    assert one.checksum(f"tank/vol@c{CUTS - 1}b") == two.checksum(f"backup/vol@c{CUTS - 1}b")
    end = {"id": None, "name": "tank/vol", "source": {}, "target": target(), "state": "absent", "force": False}
    verbs.run(one, "_replication.relationship", [end], look=False, passes=1)
    assert marks(*backends) == []
    assert leftovers(backends) == []
