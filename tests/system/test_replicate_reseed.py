# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A reseed that is cut at each of its commands. It takes long, so that "make test" leaves it out: make reseeds."""

from __future__ import annotations

import pytest
from harness import Backend
from test_replicate import marks, once, options, replicate

pytestmark = pytest.mark.no_gate("a gate does not let a replica be replaced")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_reseed_is_continued_from_every_step(settled: list[Backend], when: str) -> None:
    """Each command of it in turn fails, before or after it did its work; there is always a replica to read."""
    one, two = settled
    two.run("zfs create -u backup/vol/sub; zfs set org:by=me backup/vol; zfs allow -u daemon send backup/vol")
    two.zfs("snapshot", "backup/vol@local")
    one.zfs("snapshot", "tank/vol@s3")
    run = {"before": "", "after": '/usr/sbin/zfs "$@" > /dev/null 2>&1; '}[when]
    fails = f"""#!/bin/sh
case $1 in set|promote|rename|hold|release|inherit|receive)
grep -qxF -- "$*" /run/failed || {{ echo "$*" >> /run/failed; {run}echo 'made to fail' >&2; exit 1; }};; esac
exec /usr/sbin/zfs "$@"
"""
    two.run(": > /run/failed; cat > /usr/local/sbin/zfs && chmod 755 /usr/local/sbin/zfs", input=fails)
    try:
        for number in range(40):
            told = once(one, on_divergence="reseed")
            there = two.dump()
            assert [name for name in there if name == "backup/vol" or name.startswith("backup/vol_old")], (number, told)
            if not told.get("failed"):
                break
        failed = two.run("cat /run/failed").stdout.splitlines()
    finally:
        two.run("rm -f /usr/local/sbin/zfs /run/failed")
    assert not told.get("failed"), told
    assert {line.split()[0] for line in failed} == {"set", "promote", "rename", "hold", "release", "receive"}
    assert one.checksum("tank/vol@s3") == two.checksum("backup/vol@s3")
    assert {"backup/vol/sub", "backup/vol@s1", "backup/vol@s2"} <= set(two.dump())
    assert two.zfs("get", "-H", "-s", "local", "-o", "value", "org:by", "backup/vol").strip() == "me"
    assert "user daemon send" in two.zfs("allow", "backup/vol")
    (again,) = replicate(one, options())
    assert not again[1]["changed"]
    left = [line for line in marks(two) if "_new_" in line or ("_old_" in line and "source" not in line)]
    assert left == []
