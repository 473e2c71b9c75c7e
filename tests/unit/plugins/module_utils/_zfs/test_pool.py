# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``zpool status`` prints, in the words of its source from 2.1 to 2.4; recorded sessions have whole outputs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.pool import Scan
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import pool

SINCE, UNTIL, PAUSED = "Sun Jul 25 16:07:49 2021", "Sun Jul 25 16:09:49 2021", "Mon Jul  5 01:02:03 2021"
START, END = 1627229269, 1627229389
M = 2**20


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def running(operation: str, **more: Any) -> Scan:
    return Scan(operation, "running", START, bytes_done=68 * M, bytes_total=405 * M, **more)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("none requested", None),
        (f"scrub repaired 0B in 00:02:00 with 0 errors on {UNTIL}",
         Scan("scrub", "finished", START, END, 100.0, fixed=0, errors=0)),
        (f"resilvered 1.5K in 00:02:00 with 3 errors on {UNTIL}",
         Scan("resilver", "finished", START, END, 100.0, fixed=1536, errors=3)),
        (f"scrub repaired 2M in 2 days 00:02:00 with 0 errors on {UNTIL}",
         Scan("scrub", "finished", START - 2 * 86400, END, 100.0, fixed=2 * M, errors=0)),
        (f"resilvered (mirror-0) 2M in 00:02:00 with 0 errors on {UNTIL}",
         Scan("resilver", "finished", START, END, 100.0, fixed=2 * M, errors=0)),
        (f"scrubbed 7 error blocks in 0 days 00:02:00 on {UNTIL}", Scan("error_scrub", "finished", START, END, 100.0)),
        (f"scrub canceled on {UNTIL}", Scan("scrub", "canceled", finished=END)),
        (f"resilver (draid2:4d:8c:1s-0) canceled on {UNTIL}", Scan("resilver", "canceled", finished=END)),
        # 2.1
        (f"scrub in progress since {SINCE}\n\t403M scanned at 100M/s, 68M issued at 10M/s, 405M total\n"
         "\t0B repaired, 16.91% done, 00:00:34 to go",
         running("scrub", percent=16.91, bytes_per_second=10 * M, eta_seconds=34, fixed=0)),
        (f"resilver (mirror-0) in progress since {SINCE}\n\t403M scanned at 100M/s, 68M issued 10M/s, 405M total\n"
         "\t1M resilvered, 99.50% done, no estimated completion time",
         running("resilver", percent=99.5, bytes_per_second=10 * M, fixed=M)),
        (f"scrub paused since {PAUSED}\n\tscrub started on {SINCE}\n\t403M scanned, 68M issued, 405M total\n"
         "\t0B repaired, 16.91% done",
         Scan("scrub", "paused", START, percent=16.91, bytes_done=68 * M, bytes_total=405 * M, fixed=0)),
        # 2.2 and later
        (f"resilver in progress since {SINCE}\n\t403M / 500M scanned at 100M/s, 68M / 405M issued at 10M/s\n"
         "\t1M resilvered, 16.91% done, 1 days 00:00:34 to go",
         running("resilver", percent=16.91, bytes_per_second=10 * M, eta_seconds=86434, fixed=M)),
        (f"scrub in progress since {SINCE}\n\t403M / 405M scanned, 68M / 405M issued\n"
         "\t0B repaired, 16.91% done, no estimated completion time", running("scrub", percent=16.91, fixed=0)),
        (f"error scrub in progress since {SINCE}\n\t50.00% done, issued I/O for 3 error blocks",
         Scan("error_scrub", "running", START, percent=50.0)),
        (f"error scrub paused since {PAUSED}\n\terror scrub started on {SINCE}\n\t50.00% done, issued I/O for 3 error"
         " blocks", Scan("error_scrub", "paused", START, percent=50.0)),
        ("something that nobody knows", None),
        (f"scrub repaired 0B in 00:02:00 with 0 errors on {UNTIL.replace('Jul', 'Juli')}", None),
    ],
)  # fmt: skip
def test_scans(text: str, found: Scan | None) -> None:
    assert pool.scan(text.split("\n")) == found


STATUS = f"""  pool: tank
 state: DEGRADED
status: One or more devices has been taken offline by the administrator.
\tSufficient replicas exist for the pool to continue functioning in a
\tdegraded state.
action: Online the device using 'zpool online' or replace the device with
\t'zpool replace'.
   see: https://openzfs.github.io/openzfs-docs/msg/ZFS-8000-9P
  scan: scrub repaired 0B in 00:00:00 with 0 errors on {SINCE}
  scan: resilvered (mirror-0) 1M in 00:00:00 with 0 errors on {UNTIL}
    scan warning: skipped blocks that are only referenced by the checkpoint.
remove: Removal of vdev 1 copied 1M in 0h0m, completed on {UNTIL}
\t120 memory used for removed device mappings
config:

\tNAME                        STATE     READ WRITE CKSUM
\ttank                        DEGRADED     0     0     3
\t  mirror-0                  DEGRADED     0     0    12
\t    /dev/disk/my disk       ONLINE       0     0     0  block size: 512B configured, 4096B native
\t    replacing-1             DEGRADED     0     0     0
\t      15632480156324801563  UNAVAIL      0     0     0  was /dev/sdb1
\t      /dev/sdc1             ONLINE       1     2 123456  (resilvering)
\t  /dev/sdd1                 ONLINE       0     0     0
\tspecial\t
\t  raidz2-2                  ONLINE       0     0     0
\t    /dev/sde1               FAULTED      0     0     0  too many errors
\tlogs\t
\t  /dev/sdf1                 ONLINE       0     0     0
\tcache
\t  /dev/sdg1                 ONLINE       0     0     0
\tspares
\t  /dev/sdh1                 AVAIL
\t  /dev/sdi1                 INUSE     in use by pool 'other'

errors: 3 data errors, use '-v' for a list
"""


def test_status() -> None:
    found = pool.status(STATUS.split("\n"))
    assert found is not None
    assert (found.state, found.data_errors, found.root and found.root.checksum_errors) == ("degraded", 3, 3)
    assert found.status == (
        "One or more devices has been taken offline by the administrator. Sufficient replicas exist for the pool to "
        "continue functioning in a degraded state."
    )
    assert found.action == "Online the device using 'zpool online' or replace the device with 'zpool replace'."
    assert found.scan == Scan("resilver", "finished", END, END, 100.0, fixed=M, errors=0)
    assert [(vdev.name, vdev.type, vdev.role, vdev.parent, vdev.state, vdev.note) for vdev in found.vdevs] == [
        ("mirror-0", "mirror", "data", None, "degraded", None),
        ("/dev/disk/my disk", "disk", "data", "mirror-0", "online", "block size: 512B configured, 4096B native"),
        ("replacing-1", "replacing", "data", "mirror-0", "degraded", None),
        ("15632480156324801563", "disk", "data", "replacing-1", "unavail", "was /dev/sdb1"),
        ("/dev/sdc1", "disk", "data", "replacing-1", "online", "(resilvering)"),
        ("/dev/sdd1", "disk", "data", None, "online", None),
        ("raidz2-2", "raidz2", "special", None, "online", None),
        ("/dev/sde1", "disk", "special", "raidz2-2", "faulted", "too many errors"),
        ("/dev/sdf1", "disk", "log", None, "online", None),
        ("/dev/sdg1", "disk", "cache", None, "online", None),
        ("/dev/sdh1", "disk", "spare", None, "avail", None),
        ("/dev/sdi1", "disk", "spare", None, "inuse", "in use by pool 'other'"),
    ]
    counted = {vdev.name: (vdev.read_errors, vdev.write_errors, vdev.checksum_errors) for vdev in found.vdevs}
    assert counted["/dev/sdc1"] == (1, 2, 123456)
    assert counted["/dev/sdh1"] == (None, None, None)


@pytest.mark.parametrize(
    ("errors", "number"),
    [("No known data errors", 0), ("List of errors unavailable: permission denied", None), ("1 data errors, use", 1)],
)
def test_data_errors(errors: str, number: int | None) -> None:
    found = pool.status([" state: ONLINE", f"errors: {errors}"])
    assert found is not None
    assert found.data_errors == number


def test_a_scrub_that_runs_counts_more_than_a_resilver_that_ended() -> None:
    lines = [" state: ONLINE", f"  scan: scrub in progress since {SINCE}", f"  scan: resilver canceled on {UNTIL}"]
    found = pool.status(lines)
    assert found is not None
    assert found.scan == Scan("scrub", "running", START)


@given(st.lists(st.text(st.sampled_from(" \tpoolstatescanconfigerrors:ONLINE0123456789()-/\n"), max_size=40)))
def test_no_text_ends_the_module(lines: list[str]) -> None:
    pool.status([" state: ONLINE", "config:", *lines, "errors: x"])
    pool.scan(lines)
    pool.states(lines)


def test_a_users_value_stands_for_nothing_else() -> None:
    lines = ["size\t10", "feature@edonr\tactive", "org:note\tone", "size\t20", "two", ""]
    assert pool.properties(lines) == {"size": "10", "feature@edonr": "active", "org:note": "one"}


def test_states() -> None:
    lines = ["/proc/spl/kstat/zfs/tank/state:ONLINE", "/proc/spl/kstat/zfs/a b/state:SUSPENDED", "grep: x", ""]
    assert pool.states(lines) == {"tank": "online", "a b": "suspended"}
