# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that exist while an operation runs: run files, leases and locks. None of them is needed after a crash.

Each user has a folder: ``/run/cerss.zfs/<uid>`` if root has made it, for example by the role zfs_backend, otherwise
``/tmp/cerss.zfs-<uid>``. This depends on no environment variable, so that all processes of a user find the same one.
A folder counts only if it belongs to that user and nobody else can write to it. That is checked on the open folder, and
files are opened relative to it without following links, so that other users cannot redirect or block what is done here.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import itertools
import json
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused

SYSTEM_FOLDER = Path("/run/cerss.zfs")  # root's, so only root decides who has a folder in it
TEMP_FOLDER = Path("/tmp")
RUN_ID = "CERSS_ZFS_RUN_ID"  # environment variable that the action plugin sets for the module it watches
LEASE_SECONDS = 60.0  # how long an operation continues after the last renewal of its lease
MAX_FILES, MAX_BYTES, MAX_TEXT = 1000, 1024 * 1024, 1024  # of a folder, a run file and a text in it


# -- folders ---------------------------------------------------------------------------------------------------------


def _own_places() -> list[Path]:
    """Where the folder of this user may be, in order of preference."""
    uid = os.getuid()
    system = [SYSTEM_FOLDER / str(uid)] if _is_roots(SYSTEM_FOLDER) else []
    return [*system, TEMP_FOLDER / f"cerss.zfs-{uid}"]


def _is_roots(path: Path) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid in (0, os.getuid()) and not found.st_mode & 0o022


def _others() -> list[tuple[Path, int]]:
    """The folders of other users that count here, with their uid: for root all that it has made, otherwise root's."""
    uid = os.getuid()
    names = os.listdir(SYSTEM_FOLDER) if uid == 0 and _is_roots(SYSTEM_FOLDER) else ["0"]
    uids = {int(name) for name in names if re.fullmatch("[0-9]{1,10}", name)} - {uid}
    return [(SYSTEM_FOLDER / str(each), each) for each in sorted(uids)]


@contextlib.contextmanager
def _opened(path: Path, owner: int) -> Iterator[int]:
    """The open folder. Raises OSError if it is none, or if anybody but the owner can write to it."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(handle)
        if found.st_uid != owner or found.st_mode & 0o022:
            raise PermissionError(errno.EPERM, f"user {owner} is not the only one who can write to it")
        yield handle
    finally:
        os.close(handle)


@contextlib.contextmanager
def _own() -> Iterator[tuple[Path, int]]:
    """This user's folder, which is created when missing: its path and the open folder. Raises Refused."""
    with contextlib.suppress(OSError):
        SYSTEM_FOLDER.mkdir(mode=0o755)
    places, reasons = _own_places(), []
    with contextlib.ExitStack() as stack:
        for path in places:
            try:
                with contextlib.suppress(OSError):
                    path.mkdir(mode=0o755 if path.parent == SYSTEM_FOLDER else 0o700)
                handle = stack.enter_context(_opened(path, os.getuid()))
            except OSError as error:  # noqa: PERF203
                reasons.append(f"{path}: {error.strerror}")
            else:
                yield path, handle
                return
    raise Refused(
        f"the files of a running operation cannot be written ({'; '.join(reasons)}); make {places[-1]} a folder that "
        f"only the user {os.getuid()} can write to"
    )


def _open_file(name: str | Path, flags: int, owner: int, folder: int | None = None) -> int:
    """Open a file, which O_CREAT in the flags creates. Raises OSError unless it is a regular file of the owner."""
    # O_NONBLOCK: the file may be a fifo.
    handle = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600, dir_fd=folder)
    found = os.fstat(handle)
    if stat.S_ISREG(found.st_mode) and found.st_uid == owner and found.st_nlink <= 1:
        return handle
    os.close(handle)
    raise PermissionError(errno.EPERM, f"it is not a file of user {owner}", str(name))


# -- leases ----------------------------------------------------------------------------------------------------------


def _run_id() -> str | None:
    given = os.environ.get(RUN_ID, "")
    return given if re.fullmatch("[0-9a-f]{16}", given) else None


def lease_path(run_id: str) -> Path:
    """Where the module creates the lease and the action plugin renews it, whatever the environment of either.

    Other users can neither guess the name nor, in /tmp, replace the file.
    """
    return TEMP_FOLDER / f"cerss.zfs-{run_id}.lease"


class Lease:
    """A file that the action plugin touches while the task runs, and removes to cancel it.

    It contains the path of the folder of the run files. Without a run id there is no lease: nobody watches the run.
    """

    def __init__(self) -> None:
        run_id = _run_id()
        self._renewed, self._seen = 0.0, time.monotonic()
        self.path = lease_path(run_id) if run_id else None
        if self.path is None:
            return
        with _own() as (folder, _handle):
            text = f"{folder}\n"
        try:
            # It may exist: Ansible starts a module again if its connection broke (option ``reconnection_retries``).
            with open(_open_file(self.path, os.O_WRONLY | os.O_CREAT, os.getuid()), "w", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise Refused(
                f"the lease {self.path} cannot be written: {error.strerror}; make {TEMP_FOLDER} writable, and remove "
                "the file if it is there"
            ) from error

    def lost(self) -> str:
        """Why this run must end; "" while it may continue, and always without a lease."""
        if not self.path:
            return ""
        try:
            renewed = self.path.lstat().st_mtime
        except OSError:
            return "the task was cancelled"
        if renewed != self._renewed:  # a change, not the age: the clock may have been set
            self._renewed, self._seen = renewed, time.monotonic()
        if time.monotonic() - self._seen > LEASE_SECONDS:
            return f"the controller has not renewed the lease for {LEASE_SECONDS:.0f} s"
        return ""

    def remove(self) -> None:
        if self.path:
            with contextlib.suppress(OSError):
                self.path.unlink()


# -- run files -------------------------------------------------------------------------------------------------------


class RunFile:
    """What one operation is doing, for other processes on this host. Keys: see `parse`.

    Nothing depends on it, so it is no error if it cannot be written.
    """

    def __init__(self) -> None:
        self.name = f"{_run_id() or 'run'}-{os.getpid()}-{os.urandom(4).hex()}.json"
        self._draft = f"{self.name}.new"

    def write(self, content: dict[str, Any]) -> None:
        """Replace the file atomically, so that a reader never sees half of it."""
        with contextlib.suppress(OSError, Refused), _own() as (_path, folder):
            self._unlink(self._draft, folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(self._draft, flags, 0o644, dir_fd=folder), "w", encoding="utf-8") as file:
                file.write(json.dumps({"pid": os.getpid(), **content}) + "\n")
            os.replace(self._draft, self.name, src_dir_fd=folder, dst_dir_fd=folder)

    def remove(self) -> None:
        with contextlib.suppress(OSError, Refused), _own() as (_path, folder):
            self._unlink(self._draft, folder)
            self._unlink(self.name, folder)

    @staticmethod
    def _unlink(name: str, folder: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)


def running() -> list[dict[str, Any]]:
    """The run files (`parse`) whose process is alive and belongs to the owner of the folder.

    Those of this user and of root count in full. Root also reads those of users with a folder in /run/cerss.zfs, such
    as the service user, but only the operation send, which is only displayed. It ignores their operation create, since
    zfs_snapshot_prune keeps snapshots that are being created. Folders of other users in /tmp are ignored.
    """
    uid = os.getuid()
    found = []
    for path, owner in [*((path, uid) for path in _own_places()), *_others()]:
        with contextlib.suppress(OSError), _opened(path, owner) as folder:
            runs = [run for run in _runs(folder, owner) if _alive(run["pid"], owner)]
            found += [run for run in runs if owner in (0, uid) or run["operation"] == "send"]
    return found


def _runs(folder: int, owner: int) -> Iterator[dict[str, Any]]:
    return (run for _name, run in _named(folder, owner))


def _named(folder: int, owner: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, content) of the run files in a folder."""
    with os.scandir(folder) as entries:
        names = (entry.name for entry in entries if entry.name.endswith(".json"))
        few = sorted(itertools.islice(names, MAX_FILES))
    for name in few:
        with contextlib.suppress(OSError):
            with open(_open_file(name, os.O_RDONLY, owner, folder), "rb") as file:
                run = parse(file.read(MAX_BYTES + 1))
            if run:
                yield name, run


def abandoned(id_: str) -> list[dict[str, Any]]:
    """The run files of this user for transfers of the relationship whose process is dead, and all it has started."""
    found = []
    for path in _own_places():
        with contextlib.suppress(OSError), _opened(path, os.getuid()) as folder:
            runs = [run for _name, run in _named(folder, os.getuid()) if run.get("id") == id_]
            found += [run for run in runs if not any(map(_exists, [run["pid"], *run.get("programs", [])]))]
    return found


def forget_abandoned(id_: str) -> None:
    """Remove the run files of this user for transfers of the relationship whose process is dead."""
    for path in _own_places():
        with contextlib.suppress(OSError), _opened(path, os.getuid()) as folder:
            for name, run in list(_named(folder, os.getuid())):
                if run.get("id") == id_ and not _exists(run["pid"]):
                    os.unlink(name, dir_fd=folder)


def parse(text: str | bytes) -> dict[str, Any] | None:
    """A run file: pid, operation, and keys of the operation as far as they are known. None if it is not one.

    ``create`` has snapshots. ``send`` has id, snapshot, guid, source, target, bytes_done, bytes_total,
    bytes_per_second, started and updated; programs (pids on this host); into, the dataset that is received into; and
    receiver and told: the pid of zfs receive on another host, as that has told, and when.
    """
    try:
        # Numbers of more digits are not valid anyway, and int() takes long for many.
        content = json.loads(text, parse_int=lambda digits: int(digits[:20])) if len(text) <= MAX_BYTES else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    run = {key: content[key] for key in _KEYS if content.get(key) is not None}
    valid = {"pid", "operation"} <= run.keys() and all(_KEYS[key](value) for key, value in run.items())
    return run if valid else None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT and value.isprintable()


def _is_number(value: Any) -> bool:
    # Neither a bool, nor nan, nor infinite
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_pid(value: Any) -> bool:
    return isinstance(value, int) and _is_number(value) and 0 < value < 2**31


_KEYS = {
    "pid": _is_pid,
    "operation": lambda value: value in ("create", "send"),
    "snapshots": lambda value: isinstance(value, list) and all(map(_is_text, value)),
    "receiver": _is_pid,
    "programs": lambda value: isinstance(value, list) and all(map(_is_pid, value)),
    **dict.fromkeys(("id", "snapshot", "guid", "source", "target", "into"), _is_text),
    **dict.fromkeys(("bytes_done", "bytes_total", "bytes_per_second", "started", "updated", "told"), _is_number),
}


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        pass
    except OSError:
        return False
    return True


def _alive(pid: int, owner: int) -> bool:
    """Whether the process exists and belongs to the user, as far as that can be seen."""
    if not _exists(pid):
        return False
    try:
        return os.stat(f"/proc/{pid}").st_uid == owner
    except OSError:
        return True


# -- locks -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def lock(name: str) -> Iterator[bool]:
    """Yield True when this process has the lock of that name, False when another process on this host has it.

    Each user has its own locks, which other users cannot hold. Root also takes the locks that users already have in
    /run/cerss.zfs, so root and those users exclude each other. Two other users do not: between them, as between two
    hosts, ZFS and the second look at the marks must be enough. Raises Refused if this user has no folder.
    """
    with contextlib.ExitStack() as stack:
        yield _locked(stack, f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.lock")


def _locked(stack: contextlib.ExitStack, file: str) -> bool:
    with _own() as (path, folder):
        try:
            got = _flock(stack, file, os.O_CREAT, os.getuid(), folder)
        except OSError as error:
            raise Refused(f"{path / file} cannot be locked: {error.strerror}; remove it") from error
    for path, owner in _others() if os.getuid() == 0 else ():
        with contextlib.suppress(OSError), _opened(path, owner) as folder:
            got = got and _flock(stack, file, 0, owner, folder)
    return got


def _flock(stack: contextlib.ExitStack, file: str, flags: int, owner: int, folder: int) -> bool:
    handle = _open_file(file, os.O_RDONLY | flags, owner, folder)
    stack.callback(os.close, handle)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    os.utime(handle)  # programs that clean /tmp remove old files
    return True
