# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sender that is gone without a word, behind a gate: make gated."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import Backend, until
from test_replicate import once, options, replicate


def receives(backend: Backend) -> list[str]:
    lines = backend.run(["ps", "-eo", "args="]).stdout.splitlines()
    return [line for line in lines if re.match(r"zfs receive -s .*backup/vol$", line)]


def test_the_gate_ends_a_receive_whose_sender_is_gone(settled: list[Backend], request: pytest.FixtureRequest) -> None:
    """Within two minutes; a slow stream that goes on is left alone."""
    if not request.config.getoption("--gate"):
        pytest.skip("a gate is needed")
    one, two = settled
    one.fill("tank/vol", 60, 7)
    one.zfs("snapshot", "tank/vol@s3")
    slow = options(bandwidth_limit="256K", stall_timeout="20s")
    with ThreadPoolExecutor() as pool:
        running = pool.submit(replicate, one, slow, look=False, passes=1)
        until(lambda: receives(two), 120)
        time.sleep(100)  # longer than the gate waits for an answer
        assert receives(two), running.result()
        one.run("ip link set eth1 down")
        try:
            until(lambda: not receives(two), 120)
            told = running.result()[0][0]
        finally:
            one.run("ip link set eth1 up")
    assert told["failed"], told
    again = once(one)
    assert not again.get("failed"), again["msg"]
    assert again["replicas"][0]["resumed"]
    assert one.checksum("tank/vol@s3") == two.checksum("backup/vol@s3")
