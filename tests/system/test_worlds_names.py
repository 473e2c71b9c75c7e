# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Odd names, clocks and pools on real ZFS: make worlds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import verbs
from harness import Backend, until
from test_agreement import relate
from test_replicate import options, replicate, target
from test_zfs_dataset import volume
from test_zfs_snapshot import present

pytestmark = pytest.mark.no_gate("pools of their own, and names that a gate does not let change")


@contextmanager
def pool(backend: Backend, name: str, *create: str, size: str = "512M") -> Iterator[None]:
    """A pool in a file, for as long as it lasts."""
    file = f"/var/tmp/{name}.pool"
    backend.run(f"truncate -s {size} {file} && zpool create {' '.join(create)} {name} {file}")
    try:
        yield
    finally:
        backend.run(f"zpool destroy {name}; rm -f {file}*", check=False)


def named(backend: Backend, dataset: str) -> dict[str, str]:
    """GUIDs of the snapshots by name."""
    rows = backend.zfs("list", "-H", "-t", "snapshot", "-d", "1", "-o", "name,guid", dataset).splitlines()
    return {row.partition("@")[2].partition("\t")[0]: row.partition("\t")[2] for row in rows}


def failed(backend: Backend, **more: Any) -> str:
    """The error message, which is the same in check mode and in a real run. Neither changes anything."""
    before = backend.dump()
    ((check, real),) = replicate(backend, options(**more), look=False, passes=2)
    assert check["msg"] == real["msg"]
    assert backend.dump() == before
    return str(real["msg"])


# -- names -----------------------------------------------------------------------------------------------------------


def test_rotated_and_reused_names(settled: list[Backend]) -> None:
    one, two = settled
    ((_check, real, _check2, _real2),) = replicate(
        one,
        "zfs rename tank/vol@s2 tank/vol@s3; zfs rename tank/vol@s1 tank/vol@s2; zfs snapshot tank/vol@s1",
        options(),
    )
    assert real["actions"][:2] == [
        "rename backup/vol@s2 to @s3, as on the source",
        "rename backup/vol@s1 to @s2, as on the source",
    ]
    assert named(one, "tank/vol") == named(two, "backup/vol")
    # What the source has destroyed stays: first an old one, then the base of the increment.
    kept: dict[str, str] = {}
    for rotates in (
        "zfs destroy tank/vol@s3; zfs snapshot tank/vol@s3",
        "zfs destroy tank/vol@s3; zfs rename tank/vol@s2 tank/vol@s3; zfs rename tank/vol@s1 tank/vol@s2"
        "; zfs snapshot tank/vol@s1",
    ):
        old = named(one, "tank/vol")["s3"]
        kept[f"s3_{int(old):x}"] = old
        ((_check, real, _check2, _real2),) = replicate(one, rotates, options())
        assert f"rename backup/vol@s3 to @s3_{int(old):x}, which the source does not have" in real["actions"]
        assert named(two, "backup/vol") == {**named(one, "tank/vol"), **kept}
    assert one.checksum("tank/vol@s1") == two.checksum("backup/vol@s1")


def test_pools_with_names_of_vdevs_and_long_names(backends: list[Backend]) -> None:
    one, two = backends
    deep, long = "logs/" + "x" * 200, "y" * 60
    with pool(one, "logs"), pool(two, "special1"):
        made = verbs.run(one, "_dataset.dataset", [volume("logs/app", properties={"dnodesize": "1k"})])[0][1]
        assert made["dataset"]["properties"]["dnodesize"] == "1k"
        one.run(f"zfs create -u {deep}; zfs create -u {deep}/{'z' * 45}; zfs snapshot -r logs@s; "
                f"zfs snapshot logs/app@{long}; zfs snapshot {deep}@{'w' * 20}")  # fmt: skip
        to = target(parent=f"special1/{'p' * 30}")
        answers = replicate(one, options(["logs/app", deep], recursive=True, target=to), look=False, passes=2)[0]
        errors = [{each["source"]: each["msg"] for each in answer["replicas"] if each["failed"]} for answer in answers]
        assert errors[0] == errors[1]
        assert set(errors[1]) == {deep, f"{deep}/{'z' * 45}"}
        assert "a replica's name can have at most 249" in errors[1][f"{deep}/{'z' * 45}"]
        assert "ZFS takes 255" in errors[1][deep]
        assert long in named(two, f"{to['parent']}/app")


def test_values_are_judged_before_anything_is_done(filled: list[Backend]) -> None:
    one = filled[0]
    zvol = {"target": target(dataset="backup/zv"), "properties": {"volmode": "x", "atime": "off"}}
    verbs.refused(one, "_replication.replicate", [
        (options(properties={"compression": "much"}), "does not accept the properties for backup/vol: 'compression'"),
        (options("tank/zv", **zvol), "does not accept the properties for backup/zv: 'volmode'"),
    ])  # fmt: skip
    replicate(one, options(properties={"compression": None, "atime": False, "recordsize": "16K"}))


def test_check_mode_sees_a_receive_that_runs(settled: list[Backend]) -> None:
    one, two = settled
    one.run("head -c 8M /dev/urandom > /tank/vol/f; zfs snapshot tank/vol@s3")
    slow = "(zfs send -i @s2 tank/vol@s3 | head -c 4M; sleep 600) | ssh backend-b zfs receive -s backup/vol"
    one.run(f"setsid sh -c '{slow}' > /dev/null 2>&1 < /dev/null & echo $! > /run/slow")
    try:
        until(lambda: "zfs receive -s backup/vol" in two.run("ps -eo args=").stdout, 60)
        until(lambda: two.zfs("get", "-H", "-o", "value", "receive_resume_token", "backup/vol").strip() != "-", 60)
        assert "is currently receiving tank/vol@s3; wait until it has finished" in failed(one, on_active="fail")
    finally:
        one.run("kill -- -$(cat /run/slow)", check=False)


# -- time ------------------------------------------------------------------------------------------------------------


def test_snapshots_from_the_future(settled: list[Backend]) -> None:
    one, two = settled
    one.run("now=$(date +%s); date -s @$((now + 3000000)); zfs snapshot tank/vol@hourly-1; date -s @$((now + 2))")
    ((check, real),) = verbs.run(
        one, "_snapshot.present", [present("tank/vol@hourly-2", min_age="1h", match=["hourly-1"])], look=False, passes=2
    )
    assert check["changed"]
    assert real["changed"]
    assert "tank/vol@hourly-1 was created in the future" in real["warnings"][0]
    replicate(one, options("tank/vol@hourly-1"), look=False, passes=2)
    for backend, name in ((one, "tank/vol"), (two, "backup/vol")):
        ((told,),) = verbs.run(backend, "_replication.info", [{"name": [name], "max_lag": "1h"}], look=False, passes=1)
        (found,) = told["replications"]
        assert not found["healthy"]
        assert found["lag_seconds"] is None
        assert "was created in the future" in found["problems"][0]
    replicate(one, options(), look=False, passes=2)
    ((told,),) = verbs.run(two, "_replication.info", [{"name": ["backup/vol"], "max_lag": "1h"}], look=False, passes=1)
    assert told["replications"][0]["healthy"], told


# -- pools -----------------------------------------------------------------------------------------------------------


def test_a_pool_that_is_imported_read_only(backends: list[Backend]) -> None:
    one, two = backends
    to = {"name": "saved/vol", "recursive": True, "target": target(dataset="backup/saved")}
    with pool(one, "saved"):
        one.run("zfs create saved/vol; zfs create saved/vol/a; zfs create -s -V 16M saved/vol/z; "
                "for n in 1 2 3 4; do head -c 1M /dev/urandom > /saved/vol/f; zfs snapshot -r saved/vol@s$n; done; "
                "udevadm settle; zpool export saved && zpool import -d /var/tmp -o readonly=on saved")  # fmt: skip
        ((_check, real, _check2, _real2),) = replicate(one, options(**to))
        assert not real.get("failed"), real
        assert "the pool saved is imported read-only" in real["warnings"][0]
        for name in ("", "/a", "/z"):
            assert named(one, f"saved/vol{name}") == named(two, f"backup/saved{name}")
        # What a run leaves that was killed in its second stream.
        two.run("zfs release cerss.zfs:last backup/saved@s4; zfs rollback -r backup/saved@s2")
        one.run("zfs send -i @s2 saved/vol@s3 | head -c 500K | ssh backend-b zfs receive -s backup/saved", check=False)
        ((_check, real, _check2, _real2),) = replicate(one, options(**to))
        assert real["replicas"][0]["resumed"], real
        one.run("udevadm settle; zpool export saved && zpool import -d /var/tmp saved && zfs snapshot -r saved/vol@s5")
        assert "zfs_replication (state=present) makes one" in failed(one, **to)
        for name in ("", "/a", "/z"):
            ((made,),) = relate(
                one, {"name": f"saved/vol{name}", "target": target(dataset=f"backup/saved{name}")}, look=False, passes=1
            )
            assert made["changed"], made
        replicate(one, options(**to))
        # And read-only again, with records on it and something left to send.
        one.run("zfs snapshot -r saved/vol@s6; udevadm settle; zpool export saved && "
                "zpool import -d /var/tmp -o readonly=on saved")  # fmt: skip
        ((_check, real, _check2, _real2),) = replicate(one, options(**to))
        assert "a run after it is imported for writing puts that right" in real["warnings"][0]
        assert named(one, "saved/vol") == named(two, "backup/saved")
        one.run("udevadm settle; zpool export saved && zpool import -d /var/tmp saved")
        replicate(one, options(**to))


def test_features_that_a_pool_lacks(backends: list[Backend]) -> None:
    one, two = backends
    some = ("extensible_dataset", "lz4_compress", "bookmarks", "enabled_txg", "hole_birth", "embedded_data")
    one.run("zfs create -o compression=zstd tank/z; yes text | head -c 4M > /tank/z/f; zfs snapshot tank/z@s1; "
            "zfs create -o recordsize=1M -o compression=off tank/l; head -c 3M /dev/urandom > /tank/l/f; "
            "zfs snapshot tank/l@s1; zpool sync")  # fmt: skip
    with (
        pool(two, "old", "-d", *(f"-o feature@{name}=enabled" for name in some)),
        pool(two, "oldest", "-d", size="128M"),
    ):
        ((_check, real, _check2, _real2),) = replicate(
            one, options("tank/z", target=target(dataset="old/z"), properties={"compression": "lz4"})
        )
        assert "sent uncompressed, since the pool old lacks zstd_compress" in real["warnings"][0]
        assert one.checksum("tank/z@s1") == two.checksum("old/z@s1")
        to = {"target": target(dataset="old/l")}
        ((_check, real),) = replicate(
            one, options("tank/l", **to, stream={"large_blocks": "true"}), look=False, passes=2
        )
        assert "the pool old lacks large_blocks" in real["msg"], real["msg"]
        # Split as long as it is lacking, and whole from then on.
        ((_check, real, _check2, _real2),) = replicate(one, options("tank/l", **to))
        assert "blocks over 128 KiB are split, since the pool old lacks large_blocks" in real["warnings"][-1]
        one.run("dd if=/dev/urandom of=/tank/l/f bs=1000 count=10 seek=300 conv=notrunc; zfs snapshot tank/l@s2")
        replicate(one, options("tank/l", **to))
        two.run("zpool set feature@large_blocks=enabled old")
        one.run("dd if=/dev/urandom of=/tank/l/f bs=1000 count=10 seek=900 conv=notrunc; zfs snapshot tank/l@s3")
        ((_check, real, _check2, _real2),) = replicate(one, options("tank/l", **to))
        assert real["warnings"] == []
        one.run("head -c 2M /dev/urandom > /tank/l/g; zfs snapshot tank/l@s4")
        replicate(one, options("tank/l", **to))
        for name in ("s1", "s2", "s3", "s4"):
            assert one.checksum(f"tank/l@{name}") == two.checksum(f"old/l@{name}")
        one.run("head -c 2M /dev/urandom > /tank/l/h; zfs snapshot tank/l@s5")
        ((_check, real),) = replicate(
            one, options("tank/l", **to, stream={"large_blocks": "false"}), look=False, passes=2
        )
        assert "has blocks over 128 KiB, and ZFS takes no increment without them" in real["msg"]
        ((_check, real),) = replicate(one, options("tank/l", target=target(dataset="oldest/l")), look=False, passes=2)
        assert "extensible_dataset" in real["msg"], real["msg"]


def test_pools_that_fill_up(backends: list[Backend]) -> None:
    one, two = backends
    with pool(two, "small", size="80M"), pool(one, "full", size="80M"):
        one.run("zfs create -o compression=off full/v; head -c 2M /dev/urandom > /full/v/a; zfs snapshot full/v@s1")
        to = {"name": "full/v", "target": target(dataset="small/v")}
        replicate(one, options(**to), look=False, passes=2)
        # The source is full; the increment travels all the same.
        one.run(
            "head -c 20M /dev/urandom > /full/v/b; zfs snapshot full/v@s2; cat /dev/urandom > /full/v/c", check=False
        )
        ((_check, real),) = replicate(one, options(**to), look=False, passes=2)
        assert not real.get("failed"), real
        one.run("zfs snapshot full/v@s3", check=False)
        ((_check, real),) = replicate(one, options(**to), look=False, passes=2)
        if real.get("failed"):
            assert "space" in real["msg"], real
            assert "free space" in real["msg"], real
        two.run("truncate -s 80M /var/tmp/small.pool2 && zpool add small /var/tmp/small.pool2")
        ((_check, real),) = replicate(one, options(**to), look=False, passes=2)
        assert not real.get("failed"), real
        assert named(one, "full/v") == named(two, "small/v")
