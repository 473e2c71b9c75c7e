# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The forced command of a key: runs what `_gate` allows for its job, without a shell, and logs each command.

Usage: python3 -I gate.py receive|send ROOT [PROPERTY...]
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import stat
import sys
import syslog
import time
from typing import NoReturn

# Without pathlib and subprocess: every command starts this program, and importing them would double the time.
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from ansible_collections.cerss.zfs.plugins.module_utils import _gate
from ansible_collections.cerss.zfs.plugins.module_utils._core import endpoint
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName
from ansible_collections.cerss.zfs.plugins.module_utils._host import peek
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import stream

REFUSED = 126  # exit status
PROBE = 15  # seconds between two questions whether the other host is still there
LOOK = 1  # seconds between two looks at a receive
SILENT = 4  # questions in a row without an answer after which it is not
SHOWN = 400  # characters of a refused command line that are logged
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
            raise _gate.NotAllowed("no command is given, and this key does not open a shell")
        commands = _gate.decide(line, job)
        resumed = _gate.resumed(commands)
        if resumed is not None and resumed not in snapshots(root):
            raise _gate.NotAllowed(f"the resume token is for a snapshot that is not below {root}, the root of this key")
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
    """The GUIDs of all snapshots below ``root``."""
    return set(output(zfs.list_([root], "snapshot", ["guid"], depth=None))[0].split())


def is_volume(dataset: str) -> bool:
    return output(zfs.get([dataset], ["type"]))[0].endswith("\tvolume\n")


def run(commands: list[list[str]], job: _gate.Job) -> NoReturn:
    """Start all commands but the last, joined by pipes, and replace this process with the last."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and the programs would inherit that
    if commands == [zfs.receivers()]:
        text, status = output(commands[0])
        print("\n".join(_gate.seen(text.splitlines(), job)))
        sys.exit(status)
    for argv in commands[:-1]:
        os.dup2(start(argv)[1], 0)
    if commands[-1][:3] == ["zfs", "receive", "-s"]:
        receive(commands[-1])
    become(commands[-1])


def receive(argv: list[str]) -> NoReturn:
    """Check the head of the stream, then let zfs read it from the same pipe. Of a package check and receive each."""
    if not stat.S_ISFIFO(os.fstat(0).st_mode):  # tee(2) works only on pipes
        os.dup2(start(["cat"])[1], 0)
    set_title(argv)
    if not _gate.check_stream(ahead(), argv, is_volume).package:
        sys.exit(watched(argv))
    peek.skip(0, stream.RECORD)
    if not stream.is_end(ahead()):
        raise _gate.NotAllowed("the head of the package has no end")
    peek.skip(0, stream.RECORD)
    part = 0
    while not stream.is_end(record := ahead()):
        _gate.check_stream(record, argv, is_volume, part)
        part += 1
        status = watched(argv)
        if status:
            sys.exit(status)
    sys.exit(0)


def watched(argv: list[str]) -> int:
    """Run ``zfs receive`` and return its exit status. It is ended when the other host does not answer any more.

    Otherwise it would wait for hours, and block its dataset.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    host, child = Peer(), os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        become(argv)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # of what is said to a peer that is gone; the child has its default
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if not signal.sigtimedwait({signal.SIGCHLD}, LOOK) and host.is_gone():
            os.kill(child, signal.SIGTERM)
    status = os.waitstatus_to_exitcode(ended[1])
    return status if status >= 0 else 128 - status


def ends(connection: str) -> list[tuple[bytes, int]]:
    """This end and the other one of SSH_CONNECTION (ssh(1)), as packed address and port; empty if it has others."""
    import socket  # slow, and only a receive that has lasted a while needs it

    with contextlib.suppress(OSError, ValueError):
        client, client_port, server, server_port = connection.split()
        kind = socket.AF_INET6 if ":" in server else socket.AF_INET
        pairs = ((server, server_port), (client, client_port))
        return [(socket.inet_pton(kind, address.partition("%")[0]), int(port)) for address, port in pairs]
    return []


class Peer:
    """The other host, which is asked for a sign of life: its kernel must acknowledge what is written here."""

    def __init__(self) -> None:
        self.asked = time.monotonic()
        self.questions = 0  # in a row that are not answered

    def is_gone(self) -> bool:
        """Ask, if it is time. Called again and again."""
        if time.monotonic() - self.asked < PROBE:
            return False
        self.asked = time.monotonic()
        self.questions = self.questions + 1 if self._is_silent() else 0
        try:
            print(endpoint.WAITING, file=sys.stderr, flush=True)
        except OSError:  # sshd has ended
            return True
        return self.questions >= SILENT

    def _is_silent(self) -> bool:
        connection = ends(os.environ.get("SSH_CONNECTION", ""))
        for name in ("tcp", "tcp6") if connection else ():
            with contextlib.suppress(OSError), open(f"/proc/net/{name}") as table:
                if _gate.unanswered(table.read(), *connection):
                    return True
        return False


def set_title(argv: list[str]) -> None:
    """Show ``argv`` in ps, so that others find the receive before the first byte has arrived.

    Overwrites the process's own arguments and environment, as setproctitle(3) does.
    """
    import ctypes  # slow, and only a receive needs it

    try:
        with open("/proc/self/stat", "rb") as line:
            fields = line.read().rpartition(b")")[2].split()
    except OSError:  # no such file on this system; nothing but ps depends on it
        return
    begin, end = int(fields[45]), int(fields[48])  # arg_start and env_end in proc(5), which are adjacent
    title = " ".join(argv).encode()
    if len(title) < end - begin:
        ctypes.memset(begin, 0, end - begin)
        ctypes.memmove(begin, title, len(title))


def ahead() -> bytes:
    """The next record of standard input, which stays in the pipe. Waits for it; exits when the stream ends before."""
    host = Peer()
    while not select.select([0], [], [], PROBE)[0]:  # until the first byte comes, or the end
        if host.is_gone():
            sys.exit(1)
    while (record := peek.ahead(0, stream.RECORD)) is None:
        if host.is_gone():
            sys.exit(1)
        time.sleep(0.01)  # the rest is on its way
    if len(record) < stream.RECORD:
        print("cannot receive: failed to read from stream", file=sys.stderr)  # the message of zfs receive
        sys.exit(1)
    return record


def start(argv: list[str]) -> tuple[int, int]:
    """Start a program. Returns its pid and a descriptor to read its standard output from."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(writer, 1)
        become(argv)
    os.close(writer)
    return pid, reader


def output(argv: list[str]) -> tuple[str, int]:
    """The standard output of a program and its exit status."""
    pid, reader = start(argv)
    with os.fdopen(reader, errors="replace") as lines:
        text = lines.read()
    return text, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def become(argv: list[str]) -> NoReturn:
    try:
        os.execvpe(argv[0], argv, environment())
    except OSError as error:
        print(f"{argv[0]}: command not found: {error.strerror}", file=sys.stderr)
        os._exit(127)


def environment() -> dict[str, str]:
    return dict(setting.split("=", 1) for setting in endpoint.ENVIRONMENT[1:])


if __name__ == "__main__":
    main()
