# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that exist while an operation runs: run files, leases and locks. None of them is needed after a crash."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused

SYSTEM_FOLDER = Path("/run/cerss.zfs")  # the role zfs_backend creates it
# The same as _folders(), for the shell commands of the action plugin
FOLDERS_FOR_SH = f'''{SYSTEM_FOLDER} "$XDG_RUNTIME_DIR/cerss.zfs" "${{TMPDIR:-/tmp}}/cerss.zfs-$(id -u)"'''
RUN_ID = "CERSS_ZFS_RUN_ID"  # environment variable that the action plugin sets for the module it watches
LEASE_SECONDS = 60.0  # how long an operation continues after the last renewal of its lease


def _folders() -> list[Path]:
    """The folders that run files may be in, in order of preference."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    own = Path(runtime) / "cerss.zfs" if runtime else Path(tempfile.gettempdir()) / f"cerss.zfs-{os.getuid()}"
    return [SYSTEM_FOLDER, own]


def folder() -> Path:
    """The first folder that we may write to; it is created when missing. Raise OSError when there is none."""
    for path in _folders():
        with contextlib.suppress(OSError):
            path.mkdir(mode=0o755 if path == SYSTEM_FOLDER else 0o700, exist_ok=True)
            # In a shared place such as /tmp another user may have created a folder of that name.
            if os.access(path, os.W_OK | os.X_OK) and (path == SYSTEM_FOLDER or path.stat().st_uid == os.getuid()):
                return path
    raise OSError(errno.EACCES, f"none of {', '.join(map(str, _folders()))} can be written to")


def _run_id() -> str | None:
    given = os.environ.get(RUN_ID, "")
    return given if re.fullmatch("[0-9a-f]{16}", given) else None


class Lease:
    """A file that the action plugin touches while the task runs, and removes to cancel it.

    Without a run id there is no lease: nobody watches the run.
    """

    def __init__(self) -> None:
        run_id = _run_id()
        self._renewed, self._seen = 0.0, time.monotonic()
        try:
            self.path = folder() / f"{run_id}.lease" if run_id else None
            if self.path:
                self.path.touch()
        except OSError as error:
            raise Refused(f"the files of a running transfer cannot be written: {error}") from error

    def lost(self) -> str:
        """Why this run must end; "" while it may continue, and always without a lease."""
        if not self.path:
            return ""
        try:
            renewed = self.path.stat().st_mtime
        except OSError:
            return "the task was cancelled"
        if renewed != self._renewed:  # a change, not the age: the clock may have been set
            self._renewed, self._seen = renewed, time.monotonic()
        if time.monotonic() - self._seen > LEASE_SECONDS:
            return f"the controller has not renewed the lease for {LEASE_SECONDS:.0f} s"
        return ""

    def remove(self) -> None:
        if self.path:
            self.path.unlink(missing_ok=True)


class RunFile:
    """What one operation is doing, for other processes on this host. Keys: see `running`."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or folder() / f"{_run_id() or 'run'}-{os.getpid()}-{os.urandom(4).hex()}.json"

    def write(self, content: dict[str, Any]) -> None:
        """Replace the file atomically, so that a reader never sees half of it."""
        draft = self.path.with_suffix(".new")
        draft.write_text(json.dumps({"pid": os.getpid(), **content}) + "\n")
        draft.replace(self.path)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def running() -> list[dict[str, Any]]:
    """The run files whose process is alive: pid, operation (create or send), and keys of the operation."""
    found = []
    for path in _folders():
        for file in sorted(path.glob("*.json")) if path.is_dir() else []:
            with contextlib.suppress(OSError, ValueError):
                content = json.loads(file.read_text())
                if isinstance(content, dict) and _alive(content.get("pid")):
                    found.append(content)
    return found


def _alive(pid: Any) -> bool:
    try:
        os.kill(int(pid), 0)
    except PermissionError:
        return True
    except (OSError, TypeError, ValueError):
        return False
    return True


@contextlib.contextmanager
def lock(name: str) -> Iterator[bool]:
    """Yield True when this process has the lock of that name, False when another process on this host has it."""
    path = folder() / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.lock"
    handle = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)  # the service user can lock root's file
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)
