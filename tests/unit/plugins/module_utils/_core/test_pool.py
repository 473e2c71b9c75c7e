# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is a problem of a pool, and what its result shows of what was not read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.pool import Pool, Scan, Status, Vdev

DISK = Vdev("/dev/sda1", "disk", "data", None, "online", 0, 0, 0)
SPARE = Vdev("/dev/sdb1", "disk", "spare", None, "avail")
WELL = Status("online", root=replace(DISK, name="tank"), vdevs=(DISK, SPARE), data_errors=0)
READ = {
    "guid": "18446744073709551615", "health": "ONLINE", "readonly": "off", "size": "1000", "fragmentation": "-",
    "feature@edonr": "active", "comment": "-", "failmode": "wait",
}  # fmt: skip
POOL = Pool("tank", "online", READ, WELL)


def status(**changes: object) -> Pool:
    return replace(POOL, status=replace(WELL, **changes))  # type: ignore[arg-type]


def test_a_healthy_pool() -> None:
    result = POOL.to_result()
    assert (result["state"], result["healthy"], result["problems"]) == ("online", True, [])
    assert (result["guid"], result["readonly"], result["size_bytes"]) == ("18446744073709551615", False, 1000)
    assert (result["fragmentation_percent"], result["free_bytes"], result["data_errors"]) == (None, None, 0)
    assert result["features"] == {"edonr": "active"}
    assert result["properties"] == {"comment": None, "failmode": "wait"}
    assert [vdev["name"] for vdev in result["vdevs"]] == ["/dev/sda1", "/dev/sdb1"]


@pytest.mark.parametrize(
    ("pool", "problems"),
    [
        (status(status="Some supported features are not enabled."), []),
        (status(state="degraded", status="A device is missing."), ["tank is degraded: A device is missing."]),
        (status(vdevs=(replace(DISK, state="faulted", note="too many errors"),)),
         ["/dev/sda1 is faulted (too many errors)"]),
        (status(vdevs=(replace(DISK, checksum_errors=7, note="(repairing)"),)),
         ["/dev/sda1 has 0 read, 0 write and 7 checksum errors ((repairing))"]),
        (status(vdevs=(replace(DISK, note="block size: 512B configured, 4096B native"),)), []),
        (status(vdevs=(replace(SPARE, state="unavail"),)), ["/dev/sdb1 is unavail"]),
        (status(vdevs=(replace(SPARE, state="inuse"),)), []),
        (status(root=replace(DISK, name="tank", read_errors=1)),
         ["tank has 1 read, 0 write and 0 checksum errors"]),
        (status(data_errors=3), ["tank has 3 data errors; 'zpool status -v tank' lists the damaged files and volumes"]),
        (status(scan=Scan("scrub", "finished", errors=2)), ["the last scrub of tank ended with 2 errors"]),
        (status(scan=Scan("resilver", "running")), []),
        (replace(POOL, status=None, unread="no answer"), ["no answer"]),
        (replace(POOL, kernel=None, status=None, properties=None, unread="no answer"),
         ["no answer", "tank is in an unknown state"]),
    ],
)  # fmt: skip
def test_problems(pool: Pool, problems: list[str]) -> None:
    result = pool.to_result()
    assert (result["problems"], result["healthy"]) == (problems, not problems)


@pytest.mark.parametrize(
    ("kernel", "told", "state"),
    [
        ("suspended", "online", "suspended"),  # failmode=continue
        ("suspended", None, "suspended"),
        ("online", "degraded", "degraded"),
        (None, "suspended", "suspended"),
        (None, None, "online"),  # by the property health
    ],
)
def test_state(kernel: str | None, told: str | None, state: str) -> None:
    pool = replace(POOL, kernel=kernel, status=replace(WELL, state=told) if told else None)
    assert pool.state == state
    assert any("zpool clear tank" in problem for problem in pool.problems()) == (state == "suspended")


def test_nothing_was_read() -> None:
    result = Pool("tank", "suspended", unread="no answer").to_result()
    known = {"name": "tank", "state": "suspended", "healthy": False}
    assert {key: value for key, value in result.items() if value is not None and key != "problems"} == known
    assert len(result) == len(POOL.to_result())
