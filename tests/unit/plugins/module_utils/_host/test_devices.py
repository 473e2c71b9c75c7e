# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who has a device open. A terminal of our own stands for that of a volume, since nobody else has it open."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._host import devices


@pytest.fixture
def terminal(tmp_path: Path) -> int:
    """The handle of the terminal that is the device of "tank/a vol"."""
    main, handle = os.openpty()
    (tmp_path / "tank").mkdir()
    (tmp_path / "tank" / "a+vol").symlink_to(os.ttyname(handle))
    os.close(handle)
    return main


def test_it_is_seen_who_has_it_open(tmp_path: Path, terminal: int) -> None:
    assert devices.usage("tank/a vol", tmp_path) is None
    handle = os.open(tmp_path / "tank" / "a+vol", os.O_RDWR | os.O_NOCTTY)
    told = devices.usage("tank/a vol", tmp_path)
    os.close(handle)
    os.close(terminal)
    assert told is not None
    assert told.startswith(f"open in process {os.getpid()} (")


def test_a_partition_counts(tmp_path: Path, terminal: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.stat(tmp_path / "tank" / "a+vol").st_rdev
    null = os.stat("/dev/null").st_rdev
    (tmp_path / f"{os.major(whole)}:{os.minor(whole)}" / "zd0p1").mkdir(parents=True)
    (tmp_path / f"{os.major(whole)}:{os.minor(whole)}" / "zd0p1" / "dev").write_text(
        f"{os.major(null)}:{os.minor(null)}\n"
    )
    monkeypatch.setattr(devices, "BLOCK", tmp_path)
    assert list(devices._partitions(whole)) == [null]
    os.close(terminal)


def test_a_mount_claims_it(tmp_path: Path, terminal: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path, flags: int) -> int:
        assert flags & os.O_EXCL
        raise OSError(errno.EBUSY, "busy")

    monkeypatch.setattr(os, "open", refuse)
    assert devices.usage("tank/a vol", tmp_path) == "mounted, or part of another device"
    os.close(terminal)


def test_what_has_no_device_is_not_in_use(tmp_path: Path) -> None:
    assert devices.usage("tank/none", tmp_path) is None
