# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shared by all parts of the lab: folders, locks, errors, messages."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLONE = Path(__file__).resolve().parents[3]


# Set when the user or a signal ends the command, so that waiting threads stop.
interrupted = threading.Event()


class LabError(Exception):
    """An error for the user; the message names the reason and the way out."""


def cache_dir() -> Path:
    given = os.environ.get("CERSS_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(given).resolve() if given else Path(home).resolve() / "cerss.zfs"


def default_lab_dir() -> Path:
    return Path(os.environ.get("CERSS_LAB_DIR") or CLONE / ".lab").resolve()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def locked(path: Path, waiting: str) -> Iterator[int]:
    """One process at a time. ``waiting`` is said before a wait. The kernel releases the lock of a killed process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(waiting)
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield fd
    finally:
        os.close(fd)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
