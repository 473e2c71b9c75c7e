# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starts programs: the one place of the collection that does."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.endpoint import SEARCH_PATH
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import TimedOut, command_words


@dataclass(frozen=True)
class Result:
    """How a program ended; ``rc`` is 127 when it is not there, negative when a signal ended it."""

    argv: list[str]
    rc: int
    stdout: str
    stderr: str


def environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """What programs here see: English messages, the usual folders, and the caller's agent and home."""
    return {**os.environ, "LC_ALL": "C", "PATH": SEARCH_PATH, **(extra or {})}


def spawn(argv: list[str], **options: Any) -> subprocess.Popen[Any]:
    """Start a program in a session of its own, so that a signal to us leaves its end to us."""
    options.setdefault("env", environment())
    # Pipelines need the kernel to join processes, which AnsibleModule.run_command cannot do.
    return subprocess.Popen(argv, start_new_session=True, **options)  # pylint: disable=ansible-bad-function


def run(
    argv: list[str], stdin: str | None = None, timeout: float | None = None, env: dict[str, str] | None = None
) -> Result:
    """Run to the end. A program that is not there is an ordinary bad end; TimedOut when ``timeout`` seconds pass."""
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
        raise TimedOut(f"{command_words(argv)} did not end within {timeout:g} s and was stopped") from None
    except BaseException:  # a signal's handler raises in here
        end(process)
        process.communicate()
        raise
    return Result(argv, process.returncode, _text(out), _text(err))


def _text(output: bytes) -> str:
    # Not Popen's text mode: it would change carriage returns, which property values may hold.
    return output.decode(errors="surrogateescape")


class Lines:
    """The lines of a program's output one by one, in flat memory; ``result`` is there after the last."""

    def __init__(self, argv: list[str]) -> None:
        self.argv = argv
        self.result: Result | None = None

    def __iter__(self) -> Iterator[str]:
        with tempfile.TemporaryFile() as words:
            try:
                process = spawn(
                    self.argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=words
                )  # fmt: skip
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
            words.seek(0)
            self.result = Result(self.argv, process.returncode, "", words.read().decode(errors="replace"))


def end(process: subprocess.Popen[Any], patience: float = 5.0) -> None:
    """Have a program and all that it started end, kindly first; whatever it was."""
    if process.poll() is None:
        _signal(process, signal.SIGTERM)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)
            process.wait()


def _signal(process: subprocess.Popen[Any], number: int) -> None:
    # Its session's group: a child that outlives it would keep our pipes open. The leader is not waited for yet, so the
    # number is still its own.
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass
    except PermissionError:  # it runs under sudo
        run(["sudo", "-n", "kill", f"-{number}", "--", f"-{process.pid}"], timeout=5)
