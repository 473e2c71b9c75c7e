# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who uses the device of a volume on this host."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

DEVICES = Path("/dev/zvol")
PROCESSES = Path("/proc")
BLOCK = Path("/sys/dev/block")


def device_of(volume: str, devices: Path = DEVICES) -> Path:
    return devices / volume.replace(" ", "+")  # as zvol_id, udev's program, names it


def usage(volume: str, devices: Path = DEVICES) -> str | None:
    """Who has the device of a volume or one of its partitions open, such as "open in process 812 (qemu)".

    None if nobody has, if there is no device (volmode=none), and if only root may know. ZFS has the last word: it does
    not destroy a volume whose device is open.
    """
    device = device_of(volume, devices)
    try:
        found = os.stat(device)
    except OSError:
        return None
    if _claimed(device):
        return "mounted, or part of another device"
    number = (stat.S_IFMT(found.st_mode), found.st_rdev)
    return _process_with({number, *((stat.S_IFBLK, each) for each in _partitions(found.st_rdev))})


def _claimed(device: Path) -> bool:
    """Whether the kernel uses it: for a mount, device mapper, md, swap or an iSCSI target (open(2), O_EXCL)."""
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK | os.O_NOCTTY))
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


def _partitions(number: int) -> Iterator[int]:
    for path in (BLOCK / f"{os.major(number)}:{os.minor(number)}").glob("*/dev"):
        major, _colon, minor = path.read_text().strip().partition(":")
        yield os.makedev(int(major), int(minor))


def _process_with(devices: set[tuple[int, int]]) -> str | None:
    return next((told for handle in PROCESSES.glob("[0-9]*/fd/*") if (told := _process(handle, devices))), None)


def _process(handle: Path, devices: set[tuple[int, int]]) -> str | None:
    """The process with this handle if it is of one of the devices."""
    try:
        found = os.stat(handle)
        if (stat.S_IFMT(found.st_mode), found.st_rdev) not in devices:
            return None
        name = (handle.parents[1] / "comm").read_text().strip()
    except OSError:  # closed meanwhile, or another user's
        return None
    return f"open in process {handle.parents[1].name} ({name})"
