# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gives a key its line in authorized_keys, or removes it, and prints whether that is a change: "changed" or "same".

Usage: python3 -I authorized_keys.py [--check] FILE OWN [LINE]

OWN is a regular expression that the lines of the key match. LINE takes the place of the last of them, or comes at the
end of the file; the others are removed. Meanwhile the folder of the file is locked, so that of several who do this,
from whatever play or controller, none loses a line. The file gets the owner and the SELinux label of its folder, and
the mode 0644.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import sys
import time
from collections.abc import Iterator

PATIENCE = 60.0  # seconds to wait for others who change the file
MODE = 0o644
LABEL = "security.selinux"


def edited(text: str, own: str, line: str | None) -> str:
    """The text with one line of the key, or without any. All other lines stay as they are."""
    lines = text.split("\n")
    found = [number for number, each in enumerate(lines) if re.search(own, each)]
    if line is None:
        return "\n".join(each for number, each in enumerate(lines) if number not in found)
    if not found:
        end = "" if not text or text.endswith("\n") else "\n"
        return f"{text}{end}{line}\n"
    lines[found[-1]] = line
    return "\n".join(each for number, each in enumerate(lines) if number not in found[:-1])


@contextlib.contextmanager
def locked(path: str) -> Iterator[int]:
    """The open folder, which nobody else has locked."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    end = time.monotonic() + PATIENCE
    try:
        while not has_lock(folder):
            if time.monotonic() > end:
                sys.exit(f"{path} has been locked for {PATIENCE:.0f} s; find out by whom with: fuser -v {path}")
            time.sleep(0.05)
        yield folder
    finally:
        os.close(folder)


def has_lock(folder: int) -> bool:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def read(name: str, folder: int) -> tuple[str, bool]:
    """(text of the file, whether owner and mode are right); ("", False) if it does not exist."""
    try:
        seen, owner = os.stat(name, dir_fd=folder, follow_symlinks=False), os.fstat(folder)
    except FileNotFoundError:
        return "", False
    if not stat.S_ISREG(seen.st_mode):
        sys.exit(
            f"{name} in the folder of the keys is not a regular file, which the role does not change; replace it by one"
        )
    right = (seen.st_uid, seen.st_gid, stat.S_IMODE(seen.st_mode)) == (owner.st_uid, owner.st_gid, MODE)
    handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)  # a pipe by now would block
    with open(handle, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return file.read(), right


def mode_of(name: str, folder: int) -> int:
    with contextlib.suppress(FileNotFoundError):
        return stat.S_IMODE(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode) & 0o777
    return MODE


def write(name: str, folder: int, text: str, mode: int = MODE) -> None:
    """Replace the file at once, so that sshd never reads half of it."""
    draft, owner = f".{name}.new", os.fstat(folder)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(draft, dir_fd=folder)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    handle = os.open(draft, flags, 0o600, dir_fd=folder)
    try:
        with open(handle, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(text)
            file.flush()
            os.fchown(handle, owner.st_uid, owner.st_gid)
            os.fchmod(handle, mode)
            with contextlib.suppress(OSError):  # without SELinux there are no labels
                os.setxattr(handle, LABEL, os.getxattr(folder, LABEL))
            os.fsync(handle)
        os.replace(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:  # such as a full disk
        os.unlink(draft, dir_fd=folder)
        raise


def change(check: bool, path: str, own: str, line: str | None = None, keep: bool = False) -> bool:
    """True if something was changed. ``check``: if something would be. ``keep``: the mode of a file that exists."""
    place, name = os.path.split(path)
    if not os.path.isdir(place) and (check or line is None):
        return line is not None
    os.makedirs(place, 0o755, exist_ok=True)
    with locked(place) as folder:
        text, right = read(name, folder)
        after = edited(text, own, line)
        changed = after != text or (line is not None and not right and not keep)
        if changed and not check:
            write(name, folder, after, mode_of(name, folder) if keep else MODE)
    return changed


def main(arguments: list[str]) -> None:
    checks = arguments[:1] == ["--check"]
    try:
        print("changed" if change(checks, *arguments[checks:]) else "same")
    except OSError as error:
        sys.exit(f"{arguments[checks]} cannot be changed: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
