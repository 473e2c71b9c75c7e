# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that live while an operation runs: what it is doing, and locks. No truth depends on them."""

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

SYSTEM_FOLDER = Path("/run/cerss.zfs")  # made with the right owner by the role zfs_backend
# The same as _folders() for the action plugin's commands
FOLDERS_FOR_SH = f'''{SYSTEM_FOLDER} "$XDG_RUNTIME_DIR/cerss.zfs" "${{TMPDIR:-/tmp}}/cerss.zfs-$(id -u)"'''
RUN_ID = "CERSS_ZFS_RUN_ID"  # set for the module by the action plugin that watches it
LEASE_SECONDS = 60.0  # how long an operation outlives a controller that does not renew its lease any more


def _folders() -> list[Path]:
    """Where run files may be, the best first."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    own = Path(runtime) / "cerss.zfs" if runtime else Path(tempfile.gettempdir()) / f"cerss.zfs-{os.getuid()}"
    return [SYSTEM_FOLDER, own]


def folder() -> Path:
    """The first of them that we may write to, made when missing."""
    for path in _folders():
        with contextlib.suppress(OSError):
            path.mkdir(mode=0o755 if path == SYSTEM_FOLDER else 0o700, exist_ok=True)
            # Somebody else's folder of that name in a shared place is not ours to trust.
            if os.access(path, os.W_OK | os.X_OK) and (path == SYSTEM_FOLDER or path.stat().st_uid == os.getuid()):
                return path
    raise OSError(errno.EACCES, f"none of {', '.join(map(str, _folders()))} can be written to")


def _run_id() -> str | None:
    given = os.environ.get(RUN_ID, "")
    return given if re.fullmatch("[0-9a-f]{16}", given) else None


class Lease:
    """A file that the action plugin touches while the controller wants this run, and takes away when it does not."""

    def __init__(self) -> None:
        run_id = _run_id()
        self._renewed, self._seen = 0.0, time.monotonic()
        try:
            self.path = folder() / f"{run_id}.lease" if run_id else None
            if self.path:
                self.path.touch()
        except OSError as error:
            raise Refused(f"there is no place for the files of a running transfer: {error}") from error

    def lost(self) -> str:
        """Why this run must end; empty while it may go on, and always for one that nobody watches."""
        if not self.path:
            return ""
        try:
            renewed = self.path.stat().st_mtime
        except OSError:
            return "the task was cancelled"
        if renewed != self._renewed:  # not its age: the clock may be set meanwhile
            self._renewed, self._seen = renewed, time.monotonic()
        if time.monotonic() - self._seen > LEASE_SECONDS:
            return f"the controller has not been heard of for {LEASE_SECONDS:.0f} s"
        return ""

    def remove(self) -> None:
        if self.path:
            self.path.unlink(missing_ok=True)


class RunFile:
    """What one operation is doing, for anybody on this host who asks. Keys: see `running`."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or folder() / f"{_run_id() or 'run'}-{os.getpid()}-{os.urandom(4).hex()}.json"

    def write(self, content: dict[str, Any]) -> None:
        """Replace the whole in one step, so that no reader sees half of it."""
        draft = self.path.with_suffix(".new")
        draft.write_text(json.dumps({"pid": os.getpid(), **content}) + "\n")
        draft.replace(self.path)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def running() -> list[dict[str, Any]]:
    """The run files of operations that are alive: pid, operation (create, send), snapshot, and what else they tell."""
    found = []
    for place in _folders():
        for path in sorted(place.glob("*.json")) if place.is_dir() else []:
            with contextlib.suppress(OSError, ValueError):
                content = json.loads(path.read_text())
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
def lock(thing: str) -> Iterator[bool]:
    """Yield True when this process alone works on the thing now, False when another one of this host does."""
    path = folder() / f"{hashlib.sha256(thing.encode()).hexdigest()[:32]}.lock"
    handle = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)  # root's serves the service user too
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)
