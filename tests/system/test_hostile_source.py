# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A source that answers zfs send with a stream that nobody asked for, while root pulls, relays or copies locally."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from harness import Backend, diff_dumps
from test_replicate import options, replicate, target

pytestmark = pytest.mark.no_gate("a service user cannot replace zfs")

FROM_A = {"source": {"host": "backend-a"}}
# In front of the real zfs: a send that is no estimate runs what /run/stream says, if it is there.
WRAPPER = """#!/bin/sh
PATH=/usr/sbin:/usr/bin:/bin
[ "$1 $2" = "send -vP" ] && [ -e /run/stream ] && exec sh /run/stream
exec zfs "$@"
"""
EVIL = "zfs send -R -p tank/evil@s"
PACKAGE = "properties, holds or further datasets"


@pytest.fixture
def hostile(backends: list[Backend]) -> Iterator[list[Backend]]:
    """backend-a has tank/vol, which is asked for, and others that are not. Both have the wrapper."""
    one, two = backends
    one.run(
        "zfs create tank/vol; for n in 1 2 3 4; do echo $n > /tank/vol/f; zfs snapshot tank/vol@s$n; done; "
        "zfs clone tank/vol@s1 tank/clone; zfs snapshot tank/clone@c; zfs create -s -V 16M tank/zv; "
        "zfs snapshot tank/zv@s; zfs create -o mountpoint=/etc/evil -o canmount=on -o setuid=on tank/evil; "
        "zfs create tank/evil/extra; zfs snapshot -r tank/evil@s; echo 'long enough a secret' > /run/key; "
        "zfs create -o encryption=on -o keyformat=passphrase -o keylocation=file:///run/key tank/e; "
        "zfs snapshot tank/e@s"
    )
    for backend in backends:
        backend.run("cat > /usr/local/sbin/zfs; chmod 755 /usr/local/sbin/zfs; rm -f /run/stream", input=WRAPPER)
    yield [one, two]
    for backend in backends:
        backend.run("rm -f /usr/local/sbin/zfs /run/stream")
    one.run("umount /etc/evil/extra /etc/evil; rmdir /etc/evil", check=False)


def asked(backend: Backend, *cases: tuple[str, dict[str, Any]], there: bool = True) -> list[dict[str, Any]]:
    """The result of each replication while the source (``there``: backend-a) sends what the case says."""
    steps: list[dict[str, Any] | str] = []
    for stream, more in cases:
        answer = f"printf %s {shlex.quote(stream)} > /run/stream"
        steps += [f"ssh backend-a {shlex.quote(answer)}" if there else answer, options(**more)]
    told = [four[0] for four in replicate(backend, *steps, look=False, passes=1)]
    backend.run("ssh backend-a rm -f /run/stream" if there else "rm -f /run/stream")
    return told


def refused(told: list[dict[str, Any]], *reasons: str) -> None:
    for result, why in zip(told, reasons):
        assert result.get("failed"), (why, result)
        assert "was asked for" in result["msg"], (why, result)
        assert why in result["msg"], (why, result)
    assert len(told) == len(reasons)


def test_first_receive(hostile: list[Backend]) -> None:
    """Nothing is received of a first stream that is another one, wherever it goes."""
    one, two = hostile
    before = [two.dump(), one.dump()]
    place = {**FROM_A, "target": target(None)}
    told = asked(
        two,
        (EVIL, place),
        (EVIL, {**FROM_A, "compression": "lz4", "bandwidth_limit": "100M"}),  # a relay
        ("zfs send tank/evil@s", place),
        ("zfs send -i tank/vol@s1 tank/clone@c", place),
        ("zfs send tank/e@s", {**place, "name": ["tank/e"]}),
    )
    refused(told, PACKAGE, PACKAGE, "with the GUID", "a clone whose origin is not named", "is not raw")
    assert told[0]["msg"].startswith("backend-a:tank/vol was asked for tank/vol@s1 in full, but the stream has ")
    assert told[0]["msg"].endswith("; nothing was received; check that host")
    assert not diff_dumps(before[0], two.dump())
    refused(asked(one, (EVIL, {"target": target("local")}), there=False), PACKAGE)
    left = diff_dumps(before[1], one.dump())
    assert not [line for line in left if "backup" in line.partition("->")[0]], left


def test_increments(hostile: list[Backend]) -> None:
    """Of a package only the streams that were asked for are received, one by one, before the first other one."""
    _one, two = hostile
    place = {**FROM_A, "target": target(None)}
    raw = {**FROM_A, "raw": "always"}
    for (told,) in replicate(
        two,
        options("tank/vol@s1", **place),
        options("tank/e", **raw, target=target(None, dataset="backup/e")),
        options("tank/zv", **raw, target=target(None, dataset="backup/zv")),
        look=False,
        passes=1,
    ):
        assert not told.get("failed"), told
    local = two.zfs("get", "-H", "-s", "local", "-o", "property,value", "setuid,devices", "backup/vol").split()
    assert local == ["setuid", "off", "devices", "off"]
    head, to_s3 = "zfs send -I @s1 tank/vol@s3 | head -c 624; ", {**place, "name": ["tank/vol@s3"]}
    before = two.dump()
    told = asked(
        two,
        (head + EVIL, to_s3),
        ("zfs send tank/vol@s3", to_s3),
        ("zfs send tank/vol@s2", {**place, "name": ["tank/vol@s2"]}),
    )
    refused(told, "a package within a package", "is not a package of 2", "base is none, not ")
    assert {line for line in diff_dumps(before, two.dump()) if "cerss.zfs:inbound" not in line} == set()
    # What was asked for, and one more
    told = asked(two, ("zfs send -I @s1 tank/vol@s4", to_s3))
    refused(told, "has more than 2 snapshots")
    assert "only 2 of its snapshots were received" in told[0]["msg"]
    assert [name for name in two.dump() if "vol@" in name] == [f"backup/vol@s{number}" for number in (1, 2, 3)]
