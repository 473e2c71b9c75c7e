# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Encrypted volumes: what travels is raw, and the key stays where it is."""

from __future__ import annotations

import pytest
from gated import SEND_RAW, Gated
from harness import Backend
from test_replicate import once, options, replicate, target

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


def test_send_raw_sends_nothing_decrypted(backends: list[Backend], request: pytest.FixtureRequest) -> None:
    """From one pool to the other of the machine whose user has that permission."""
    if not request.config.getoption("--gate") or backends[1].version < SEND_RAW:
        pytest.skip("for a service user of OpenZFS 2.4")
    two = backends[1]
    assert "send:raw" in two.zfs("allow", Gated.SEND)
    two.run(f"echo 'long enough a secret' > /run/key && zfs create -o encryption=on -o {KEY} tank/e")
    two.fill("tank/e", 1, 1)
    two.zfs("snapshot", "tank/e@s1")
    refused = once(two, name="tank/e", raw="never", target=target("local", dataset="backup/plain"))
    assert "permission denied" in refused["msg"]
    assert once(two, name="tank/e", target=target("local", dataset="backup/e"))["replicas"][0]["steps"][0]["raw"]
    assert two.zfs("get", "-H", "-o", "value", "keystatus", "backup/e").strip() == "unavailable"
    two.run(["zfs", "load-key", "-L", "prompt", "backup/e"], input="long enough a secret\n")
    assert two.checksum("tank/e@s1") == two.checksum("backup/e@s1")
