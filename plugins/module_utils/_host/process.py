# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starts programs. No other file of the collection does."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.endpoint import SEARCH_PATH
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import TimedOut, short_command


@dataclass(frozen=True)
class Result:
    """How a program ended. ``rc``: 127 when it does not exist, negative when a signal ended it."""

    argv: list[str]
    rc: int
    stdout: str
    stderr: str


def environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """The environment of programs on this host: ours, with messages in English and a PATH that zfs is in."""
    return {**os.environ, "LC_ALL": "C", "PATH": SEARCH_PATH, **(extra or {})}


def spawn(argv: list[str], **options: Any) -> subprocess.Popen[Any]:
    """Start a program in a session of its own, so that a signal to our group does not reach it. `end` ends it."""
    options.setdefault("env", environment())
    # AnsibleModule.run_command cannot connect two processes by a pipe.
    return subprocess.Popen(argv, start_new_session=True, **options)  # pylint: disable=ansible-bad-function


def run(
    argv: list[str], stdin: str | None = None, timeout: float | None = None, env: dict[str, str] | None = None
) -> Result:
    """Run a program to its end. Raise TimedOut after ``timeout`` seconds; a missing program is a Result with rc 127."""
    try:
        process = spawn(
            argv,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(env),
        )
    except OSError as error:
        return Result(argv, 127, "", f"{argv[0]}: command not found: {error.strerror}")
    try:
        out, err = process.communicate(None if stdin is None else stdin.encode(), timeout=timeout)
    except subprocess.TimeoutExpired:
        end(process)
        process.communicate()
        raise TimedOut(f"{short_command(argv)} did not end within {timeout:g} s and was stopped") from None
    except BaseException:  # a signal handler may raise here
        end(process)
        process.communicate()
        raise
    return Result(argv, process.returncode, _text(out), _text(err))


def _text(output: bytes) -> str:
    # Not Popen's text mode, which changes carriage returns: a property value may have them.
    return output.decode(errors="surrogateescape")


class Lines:
    """The lines that a program prints, without keeping them in memory. ``result`` is set after the last line."""

    def __init__(self, argv: list[str]) -> None:
        self.argv = argv
        self.result: Result | None = None

    def __iter__(self) -> Iterator[str]:
        with tempfile.TemporaryFile() as stderr:
            try:
                process = spawn(self.argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr)
            except OSError as error:
                self.result = Result(self.argv, 127, "", f"{self.argv[0]}: command not found: {error.strerror}")
                return
            try:
                stream: IO[bytes] = process.stdout  # type: ignore[assignment]
                with stream:
                    for line in stream:
                        yield _text(line.rstrip(b"\n"))
                process.wait()
            finally:
                end(process)
            stderr.seek(0)
            self.result = Result(self.argv, process.returncode, "", stderr.read().decode(errors="replace"))


def end(process: subprocess.Popen[Any], patience: float = 5.0) -> None:
    """End a program from `spawn` and its children: SIGTERM, and SIGKILL after ``patience`` seconds. Waits for it."""
    if process.poll() is None:
        _signal(process, signal.SIGTERM)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)
            process.wait()


def _signal(process: subprocess.Popen[Any], number: int) -> None:
    # The whole process group: a child that outlives the program would keep our pipes open. The group's number cannot
    # belong to another one, since the program has not been waited for.
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass
    except PermissionError:  # the program is sudo
        run(["sudo", "-n", "kill", f"-{number}", "--", f"-{process.pid}"], timeout=5)
