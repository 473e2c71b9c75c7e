# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The forced command of a key: runs what `_gate` allows for its job, without a shell, and logs all.

Usage: python3 -I gate.py receive|send ROOT [PROPERTY...]
"""

from __future__ import annotations

import array
import fcntl
import os
import select
import signal
import stat
import sys
import syslog
import termios
import time
from typing import NoReturn

# Neither pathlib nor subprocess: each command starts this anew, and they would be half of the time that it takes.
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from ansible_collections.cerss.zfs.plugins.module_utils import _gate
from ansible_collections.cerss.zfs.plugins.module_utils._core import endpoint
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import stream

REFUSED = 126
SHOWN = 400  # characters of a refused command line that go to the log
LOGGED = 1500  # characters in one line of the log


def main() -> NoReturn:
    kind, root, *properties = sys.argv[1:]
    job = _gate.Job(kind, DatasetName.parse(root), frozenset(properties))
    line = os.environ.get("SSH_ORIGINAL_COMMAND", "")
    client = os.environ.get("SSH_CONNECTION", "").partition(" ")[0] or "nowhere"
    who = f"{kind} {root!r} from {client}"
    syslog.openlog("cerss-zfs-gate", syslog.LOG_PID, syslog.LOG_AUTH)
    try:
        if not line:
            raise _gate.NotAllowed("this key gives no shell")
        commands = _gate.decide(line, job)
        resumed = _gate.resumed(commands)
        if resumed is not None and resumed not in snapshots(root):
            raise _gate.NotAllowed(f"the resume token is for a snapshot that is not below {root}")
        log(syslog.LOG_INFO, f"runs for {who}: {' | '.join(' '.join(argv) for argv in commands)!a}")
        run(commands, job)
    except (CerssError, OSError) as error:
        why = ascii(error.msg if isinstance(error, CerssError) else str(error))[1:-1]
        log(syslog.LOG_WARNING, f"refused: {why}; {who}: {line[:SHOWN]!a}")
        print(f"cerss-zfs-gate: refused: {why}", file=sys.stderr)
        sys.exit(REFUSED)


def log(level: int, text: str) -> None:
    for at in range(0, len(text), LOGGED):
        syslog.syslog(level, ("… " if at else "") + text[at : at + LOGGED])


def snapshots(root: str) -> set[str]:
    """The GUIDs of all snapshots below the root."""
    return set(output(zfs.list_([root], "snapshot", ["guid"], depth=None))[0].split())


def is_volume(dataset: str) -> bool:
    return output(zfs.get([dataset], ["type"]))[0].endswith("\tvolume\n")


def run(commands: list[list[str]], job: _gate.Job) -> NoReturn:
    """Become the last of the programs, the ones before it joined to it by pipes."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and a program that is started would inherit that
    if commands == [zfs.receivers()]:
        told, status = output(commands[0])
        print("\n".join(_gate.seen(told.splitlines(), job)))
        sys.exit(status)
    for argv in commands[:-1]:
        os.dup2(start(argv)[1], 0)
    if commands[-1][:3] == ["zfs", "receive", "-s"]:
        receive(commands[-1])
    become(commands[-1])


def receive(argv: list[str]) -> NoReturn:
    """Look at what comes before zfs reads it from the same pipe, stream by stream where it is a package."""
    if not stat.S_ISFIFO(os.fstat(0).st_mode):  # nothing else lets us look ahead
        os.dup2(start(["cat"])[1], 0)
    be_seen_as(argv)
    if not _gate.check_stream(ahead(), argv, is_volume).package:
        become(argv)
    left = 2 * stream.RECORD  # its head and the end of that
    while left:
        left -= len(os.read(0, left)) or left
    while not stream.is_end(record := ahead()):
        if _gate.check_stream(record, argv, is_volume).package:
            raise _gate.NotAllowed("a package in a package")
        child = os.fork()
        if child == 0:
            become(argv)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status:
            sys.exit(status if status > 0 else 128 - status)
    sys.exit(0)


def be_seen_as(argv: list[str]) -> None:
    """Be found by others who look for receivers, also while nothing has come yet; setproctitle(3) does it so."""
    import ctypes  # takes its time, and only a receive needs it

    with open("/proc/self/stat", "rb") as line:
        fields = line.read().rpartition(b")")[2].split()
    begin, end = int(fields[45]), int(fields[48])  # arg_start and env_end in proc(5); the one goes over into the other
    title = " ".join(argv).encode()
    if len(title) < end - begin:
        ctypes.memset(begin, 0, end - begin)
        ctypes.memmove(begin, title, len(title))


def ahead() -> bytes:
    """The record that comes next and stays in the pipe."""
    import ctypes

    tee = ctypes.CDLL(None, use_errno=True).tee
    tee.argtypes, tee.restype = [ctypes.c_int, ctypes.c_int, ctypes.c_size_t, ctypes.c_uint], ctypes.c_ssize_t
    reader, writer = os.pipe()
    writers = select.poll()
    writers.register(0, 0)  # tells of their end, and of nothing else
    try:
        while True:
            # Asked first: what comes after that is looked at once more.
            ended, there = writers.poll(0), array.array("i", [0])
            fcntl.ioctl(0, termios.FIONREAD, there)
            size = tee(0, writer, stream.RECORD, 0)
            if size < 0 or size < min(there[0], stream.RECORD):
                raise OSError(ctypes.get_errno(), "cannot look into the stream")
            record = os.read(reader, size) if size else b""
            if size == stream.RECORD:
                return record
            if ended or not size:
                print("cannot receive: failed to read from stream", file=sys.stderr)  # as zfs says it
                sys.exit(1)
            time.sleep(0.01)  # the rest of the record is on its way
    finally:
        os.close(reader)
        os.close(writer)


def start(argv: list[str]) -> tuple[int, int]:
    """Start a program; gives its pid, and the descriptor that what it says can be read from."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(writer, 1)
        become(argv)
    os.close(writer)
    return pid, reader


def output(argv: list[str]) -> tuple[str, int]:
    """What a program says, and its exit code."""
    pid, reader = start(argv)
    with os.fdopen(reader, errors="replace") as lines:
        told = lines.read()
    return told, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def become(argv: list[str]) -> NoReturn:
    try:
        os.execvpe(argv[0], argv, environment())
    except OSError as error:
        print(f"{argv[0]}: command not found: {error.strerror}", file=sys.stderr)
        os._exit(127)


def environment() -> dict[str, str]:
    return dict(word.split("=", 1) for word in endpoint.ENVIRONMENT[1:])


if __name__ == "__main__":
    main()
