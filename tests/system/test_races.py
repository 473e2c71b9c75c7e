# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Others at work on the same datasets: controllers, administrators, pruners. CERSS_RACES says how often.

It takes long and three machines, so that "make test" leaves it out: make races.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from harness import Backend, until
from test_agreement import in_front_of_zfs, record_of, relate
from test_replicate import marks, once, options, replicate
from test_replicate_cuts import leftovers

pytestmark = pytest.mark.no_gate("controllers that are root everywhere")

RACES = int(os.environ.get("CERSS_RACES", "20"))
ACTIVE = ("is currently receiving", "another run on this host is replicating", "was replicated meanwhile")
RELAY = {"source": {"host": "backend-a"}}

# Notes how each receive has ended.
NOTED = """#!/bin/sh
[ "$1" = receive ] || exec /usr/sbin/zfs "$@"
/usr/sbin/zfs "$@"
rc=$?
echo "$rc $*" >> /run/receives
exit $rc
"""


def just(backend: Backend, **more: Any) -> Any:
    """A run without a check run before it."""
    return replicate(backend, options(**more), look=False, passes=1)[0][0]


def test_two_controllers_at_once(settled: list[Backend]) -> None:
    """One pushes, one relays from a third place. Afterwards the goal is there without a third run."""
    one, two, three = settled
    chance = random.Random(7)
    both: list[tuple[dict[str, Any], ...]] = []
    with in_front_of_zfs(two, NOTED, "/run/receives") as ends:
        for number in range(RACES):
            megabytes = chance.choice((0, 0, 3))
            one.run(f"head -c {megabytes}M /dev/urandom > /tank/vol/f; zfs snapshot tank/vol@r{number}")
            limit = {"bandwidth_limit": "1M"} if megabytes else {}
            with ThreadPoolExecutor() as pool:
                pushed = pool.submit(just, one, **limit)
                relayed = pool.submit(just, three, **RELAY, **limit)
                both.append((pushed.result(), relayed.result()))
            told = (number, [(each.get("msg"), each.get("actions")) for each in both[-1]])
            assert f"backup/vol@r{number}" in two.dump(), told
            for each in both[-1]:
                assert not each.get("failed") or any(text in each["msg"] for text in ACTIVE), told
    assert not [line for line in ends if int(line.split()[0]) > 128], ends
    assert all(any(each["changed"] for each in pair if not each.get("failed")) for pair in both)
    assert one.checksum(f"tank/vol@r{RACES - 1}") == two.checksum(f"backup/vol@r{RACES - 1}")
    assert once(one)["changed"] is False
    assert leftovers([one, two, three]) == []


@pytest.mark.parametrize("change", [{"paused": True}, {"state": "absent"}])
def test_what_others_decide_about_a_relationship_is_not_undone(
    settled: list[Backend],
    change: dict[str, Any],
) -> None:
    one, two, three = settled
    one.run("head -c 12M /dev/urandom > /tank/vol/f; zfs snapshot tank/vol@s3")
    with ThreadPoolExecutor() as pool:
        running = pool.submit(just, one, bandwidth_limit="192K")
        until(lambda: "zfs receive -s" in two.run("ps -eo args=").stdout, 120)
        ((changed,),) = relate(three, {**change, "source": {"host": "backend-a"}}, look=False, passes=1)
        told = running.result()
    if changed.get("failed"):  # a relationship that is in use may not end; then it is as it was
        assert "receiv" in changed["msg"]
        assert "state" in change
        assert not told.get("failed"), told
        return
    if "paused" in change:
        assert record_of(one)[1][0]["paused"] is True
        assert not once(one)["changed"]
        relate(one, {"paused": False}, passes=1, look=False)
        assert not once(one).get("failed")
        assert one.checksum("tank/vol@s3") == two.checksum("backup/vol@s3")
    else:
        assert marks(one) == []
        assert any("ended" in text for text in told["warnings"]) or told.get("failed")


PRUNER = """
while sleep 0.5; do
  zfs list -H -t snapshot -o name -s createtxg $1 | head -n -1 | while read name; do
    zfs destroy $name 2>/dev/null
  done
done
"""


@contextmanager
def pruning(backend: Backend, dataset: str) -> Iterator[None]:
    """While it lasts, everything but the newest snapshot is destroyed, as far as nothing holds it."""
    backend.run("cat > /run/pruner", input=PRUNER)
    pid = backend.run(f"nohup sh /run/pruner {dataset} > /dev/null 2>&1 < /dev/null & echo $!").stdout.strip()
    try:
        yield
    finally:
        backend.run(f"kill {pid}; rm /run/pruner")


def test_a_foreign_pruner_on_both_sides(settled: list[Backend]) -> None:
    """Beside many replications, some of which are cut, nothing diverges."""
    one, two = settled[:2]
    chance = random.Random(11)
    failed = 0
    with pruning(one, "tank/vol"), pruning(two, "backup/vol"):
        for number in range(RACES * 5 // 2):
            one.run(f"head -c 1M /dev/urandom > /tank/vol/f; zfs snapshot tank/vol@p{number}")
            limit: dict[str, Any] = {}
            if number % 3 == 0:
                limit = {"bandwidth_limit": "512K", "stall_timeout": "4s"}
                one.run(
                    'nohup sh -c \'until pid=$(pgrep -f "^zfs send -vP"); do sleep 0.2; done; '
                    f"sleep {chance.uniform(0, 2):.1f}; kill -9 $pid' > /dev/null 2>&1 < /dev/null &"
                )
            told = just(one, **limit)
            failed += bool(told.get("failed"))
            text = f"{number}: {told.get('msg')}"
            assert "diverged" not in text, text
            assert "in common" not in text, text
    print(f"{failed} of {RACES * 5 // 2} runs failed and were continued by the next")
    one.zfs("snapshot", "tank/vol@end")
    last = just(one)
    assert not last.get("failed"), last
    assert one.checksum("tank/vol@end") == two.checksum("backup/vol@end")
    assert once(one)["changed"] is False
