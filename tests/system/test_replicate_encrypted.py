# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Encrypted volumes: what travels is raw, and the key stays where it is."""

from __future__ import annotations

from harness import Backend
from test_replicate import options, replicate, target

KEY = "keyformat=passphrase -o pbkdf2iters=100000 -o keylocation=file:///run/key"


def test_raw_without_the_key(backends: list[Backend]) -> None:
    one, two = backends
    one.run(
        "echo 'long enough a secret' > /run/key"
        f" && zfs create -o encryption=on -o {KEY} tank/e && zfs create tank/e/vol"
        " && zfs create -s -V 16M tank/e/zv && udevadm settle"
    )
    # The replica goes below a parent that is encrypted itself, with a key of its own.
    two.run(
        "echo 'another long secret' > /run/key"
        f" && zfs create -o canmount=off -o encryption=on -o {KEY} backup/e && rm /run/key"
    )
    one.fill("tank/e/vol", 2, 1)
    one.fill("tank/e/zv", 2, 2)
    one.zfs("snapshot", "-r", "tank/e@s1")
    place = target(dataset="backup/e/copy")
    (first,) = replicate(one, options("tank/e", recursive=True, target=place))
    assert [item["steps"][0]["raw"] for item in first[1]["replicas"]] == [True] * 3
    one.fill("tank/e/vol", 1, 3)
    one.fill("tank/e/zv", 1, 4)
    one.zfs("snapshot", "-r", "tank/e@s2")
    plain = options("tank/e/vol", raw="never", target=target(dataset="backup/e/copy/vol"))
    mixed, second = replicate(one, plain, options("tank/e", recursive=True, target=place))
    assert "cannot mix raw and plain" in mixed[1]["msg"]
    assert [item["base"] for item in second[1]["replicas"]] == ["tank/e@s1", "tank/e/vol@s1", "tank/e/zv@s1"]
    keys = two.run("zfs get -H -r -t filesystem,volume -o value keystatus backup/e/copy").stdout.split()
    assert keys == ["unavailable"] * 3
    assert two.run("ls /run/key", check=False).returncode != 0
    # Only now, to compare the content.
    for name in ("copy", "copy/vol", "copy/zv"):
        two.run(["zfs", "load-key", "-L", "prompt", f"backup/e/{name}"], input="long enough a secret\n")
    for name in ("vol@s2", "zv@s2", "vol@s1"):
        assert one.checksum(f"tank/e/{name}") == two.checksum(f"backup/e/copy/{name}")
