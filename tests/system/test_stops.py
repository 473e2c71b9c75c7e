# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that have to end: time that is over, signals, zfs that does not answer, logins that hang.

It takes long, so that "make test" leaves it out: make races.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import verbs
from harness import Backend
from test_replicate import once, options, replicate, target
from test_replicate_cuts import leftovers

pytestmark = pytest.mark.no_gate("zfs is replaced, which a service user cannot")

SLACK = 15.0  # seconds that ssh, Python and the emulated processor take besides

# In front of the real zfs: notes when a command begins, and does not answer if its line has the words in /run/hang.
WRAPPER = """#!/bin/sh
echo "$(date +%s.%N) $*" >> /run/began
if [ -s /run/hang ] && echo "$*" | grep -qF -- "$(cat /run/hang)"; then
  trap '' TERM
  while :; do sleep 1; done
fi
exec /usr/sbin/zfs "$@"
"""


ONCE = """
import importlib, json, sys
sys.path.insert(0, {folder!r})
replicate = importlib.import_module('ansible_collections.cerss.zfs.plugins.module_utils._replication.replicate')
try:
    result = replicate.main(json.load(open('/run/options.json')), False)
except Exception as error:
    result = dict(failed=True, msg=error.msg)
json.dump(result, sys.stdout)
"""


@contextmanager
def wrapped(*backends: Backend, hang: str = "") -> Iterator[None]:
    for backend in backends:
        backend.run(
            f": > /run/began; printf %s '{hang}' > /run/hang; chmod 666 /run/began"
            "; cat > /usr/local/sbin/zfs; chmod 755 /usr/local/sbin/zfs",
            input=WRAPPER,
        )
    try:
        yield
    finally:
        for backend in backends:
            backend.run("rm -f /usr/local/sbin/zfs /run/hang; pkill -9 -f '^/bin/sh /usr/local/sbin/zfs' || true")


def began(backend: Backend) -> list[tuple[float, str]]:
    lines = backend.run("cat /run/began").stdout.splitlines()
    return [(float(when), command) for when, _space, command in (line.partition(" ") for line in lines)]


def timed(backend: Backend, **more: Any) -> tuple[dict[str, Any], float]:
    """What a run says, and how long the call took."""
    start = time.monotonic()
    told = replicate(backend, options(**more), look=False, passes=1)[0][0]
    return told, time.monotonic() - start


@pytest.mark.parametrize("hang", ["list", "get", "receive", "program", "hold"])
@pytest.mark.parametrize("where", [0, 1])
def test_a_zfs_that_does_not_answer(settled: list[Backend], where: int, hang: str) -> None:
    """As on a suspended pool, and deaf to SIGTERM: timeout ends the run, and the next one converges."""
    one, two = settled
    one.zfs("snapshot", "tank/vol@s3")
    backend = settled[where]
    if (where, hang) in ((0, "receive"), (1, "program"), (0, "hold")):
        pytest.skip("no such command there")
    with wrapped(backend, hang=hang):
        told, seconds = timed(one, timeout="20s")
    assert told.get("failed"), told
    assert "timeout was over" in told["msg"], told["msg"]
    assert seconds < 20 + 10 + SLACK, seconds
    assert not once(one).get("failed")
    assert one.checksum("tank/vol@s3") == two.checksum("backup/vol@s3")
    assert once(one)["changed"] is False
    assert leftovers(settled) == []


def test_a_login_that_hangs(settled: list[Backend]) -> None:
    one, two = settled
    two.run("mkdir -p ~operator/.ssh && echo 'sleep 600' > ~operator/.ssh/rc")
    try:
        told, seconds = timed(one, target=target(user="operator"), timeout="10s")
    finally:
        two.run("rm ~operator/.ssh/rc; pkill -f '^sleep 600' || true")
    assert told.get("failed"), told
    assert "timeout was over" in told["msg"]
    assert seconds < 10 + 10 + SLACK, seconds


def test_a_sudo_that_runs_only_zfs(settled: list[Backend]) -> None:
    """It refuses to end what it has started, so the run has to end without that."""
    one, two = settled
    one.zfs("snapshot", "tank/vol@s3")
    wish = {"target": target(user="operator", become=True)}
    two.run("sed -i 's,: ALL,: /usr/local/sbin/zfs,' /etc/sudoers.d/operator")
    try:
        with wrapped(two, hang="receive"):
            told, seconds = timed(one, timeout="20s", **wish)
            assert "timeout was over" in told["msg"], told
            assert seconds < 20 + 10 + SLACK, seconds
            two.run(": > /run/hang; pkill -9 -f '^/bin/sh /usr/local/sbin/zfs' || true")
            assert not once(one, **wish).get("failed")
    finally:
        two.run("sed -i 's,: .*,: ALL,' /etc/sudoers.d/operator")
    assert one.checksum("tank/vol@s3") == two.checksum("backup/vol@s3")
    assert leftovers(settled) == []


@pytest.mark.parametrize("number", ["TERM", "INT", "HUP"])
@pytest.mark.parametrize("hang", ["list", "send -vP"])
def test_a_signal(settled: list[Backend], number: str, hang: str) -> None:
    one = settled[0]
    one.zfs("snapshot", "tank/vol@s3")
    verbs.install(one)
    one.run("cat > /run/options.json", input=json.dumps(options()))
    with wrapped(one, hang=hang):
        one.run("cat > /run/once.py", input=ONCE.format(folder=verbs.FOLDER))
        run = "python3 /run/once.py > /run/result.new 2> /run/errors; mv /run/result.new /run/result"
        one.run(f"rm -f /run/result; setsid sh -c '{run}' > /dev/null 2>&1 < /dev/null & :")
        one.run(f"until grep -qF -- '{hang}' /run/began; do sleep 0.2; done; sleep 1")
        start = time.monotonic()
        one.run(f"kill -{number} $(pgrep -f '^python3 /run/once.py'); until [ -e /run/result ]; do sleep 0.1; done")
        seconds = time.monotonic() - start
    told = json.loads(one.run("cat /run/result").stdout)
    assert told.get("failed"), told
    assert "the run was stopped" in told["msg"], told["msg"]
    assert seconds < 10 + 3, seconds
    assert not once(one).get("failed")
    assert leftovers(settled) == []


def test_time_that_is_over_in_the_middle_of_a_tree(backends: list[Backend]) -> None:
    """Forty datasets, the third of which takes long: nothing is begun afterwards, and the next run converges."""
    one, two = backends
    one.run("zfs create -o compression=off tank/t; for n in $(seq -w 1 39); do zfs create tank/t/v$n; done")
    one.fill("tank/t/v02", 40)
    one.zfs("snapshot", "-r", "tank/t@s1")
    wish: dict[str, Any] = {"recursive": True, "parallel": 1, "target": target(dataset="backup/t")}
    with wrapped(one, two):
        start = float(one.run("date +%s.%N").stdout)
        told, seconds = timed(one, name=["tank/t"], timeout="1m", bandwidth_limit="512K", **wish)
        late = [command for backend in backends for when, command in began(backend)
                if when > start + 60 + SLACK and command.split()[0] not in ("list", "get", "holds")]  # fmt: skip
    assert told.get("failed"), told
    assert seconds < 60 + 10 + SLACK, seconds
    assert late == []
    states = [each["state"] for each in told["replicas"]]
    assert "full" in states
    assert sum("timeout was over before" in (each["msg"] or "") for each in told["replicas"]) > 30
    assert not replicate(one, options("tank/t", **wish), look=False, passes=1)[0][0].get("failed")
    (again,) = replicate(one, options("tank/t", **wish), look=False, passes=1)
    assert again[0]["changed"] is False
    assert one.checksum("tank/t/v02@s1") == two.checksum("backup/t/v02@s1")
