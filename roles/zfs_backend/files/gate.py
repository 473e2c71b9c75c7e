# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The forced command of a key: runs what `_gate` allows for its job, without a shell, and logs all.

Usage: python3 -I gate.py receive|send ROOT [PROPERTY...]
"""

from __future__ import annotations

import os
import signal
import sys
import syslog
from typing import NoReturn

# Neither pathlib nor subprocess: each command starts this anew, and they would be half of the time that it takes.
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from ansible_collections.cerss.zfs.plugins.module_utils import _endpoint, _gate, _zfs
from ansible_collections.cerss.zfs.plugins.module_utils._errors import CerssError
from ansible_collections.cerss.zfs.plugins.module_utils._names import DatasetName

REFUSED = 126
SHOWN = 400  # characters of a command line that go to the log


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
    except CerssError as error:
        why = ascii(error.msg)[1:-1]
        log(syslog.LOG_WARNING, f"refused: {why}; {who}: {shown(line)}")
        print(f"cerss-zfs-gate: refused: {why}", file=sys.stderr)
        sys.exit(REFUSED)
    log(syslog.LOG_INFO, f"runs for {who}: {' | '.join(shown(' '.join(words)) for words in commands)}")
    run(commands)


def shown(text: str) -> str:
    return ascii(text[:SHOWN])


def log(level: int, text: str) -> None:
    syslog.syslog(level, text)


def run(commands: list[list[str]]) -> NoReturn:
    """Become the last of the programs, the ones before it joined to it by pipes."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and a program that is started would inherit that
    if commands == [_zfs.receivers()]:
        with os.fdopen(start(commands[0]), errors="replace") as lines:
            print("\n".join(_gate.seen(lines.read().splitlines())))
        sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
    for words in commands[:-1]:
        os.dup2(start(words), 0)
    become(commands[-1])


def start(words: list[str]) -> int:
    """Start a program; what it says can be read from the descriptor that this gives."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.dup2(writer, 1)
        become(words)
    os.close(writer)
    return reader


def become(words: list[str]) -> NoReturn:
    try:
        os.execvpe(words[0], words, environment())
    except OSError as error:
        print(f"{words[0]}: command not found: {error.strerror}", file=sys.stderr)
        os._exit(127)


def environment() -> dict[str, str]:
    return dict(word.split("=", 1) for word in _endpoint.ENVIRONMENT[1:])


if __name__ == "__main__":
    main()
