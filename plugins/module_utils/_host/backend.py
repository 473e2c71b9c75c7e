# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A backend: runs commands at an endpoint and raises the error for what stderr says."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence

from ansible_collections.cerss.zfs.plugins.module_utils._core.endpoint import Endpoint
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError, ZfsError, short_command
from ansible_collections.cerss.zfs.plugins.module_utils._host import process
from ansible_collections.cerss.zfs.plugins.module_utils._host.process import Result
from ansible_collections.cerss.zfs.plugins.module_utils._host.wanted import GRACE, Wanted
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import output
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.errors import SSH_FAILED, turned_away, zfs_error

MAX_SAID = 200  # characters of stdout in a message
RETRIES = 3  # further tries to connect, where nobody says
MAX_SOCKET_FOLDER = 34  # bytes in the name of the folder that has the folder with a socket


class Backend:
    """Runs commands at an endpoint. Several threads may share one."""

    def __init__(self, endpoint: Endpoint | None = None, wanted: Wanted | None = None, retries: int = RETRIES) -> None:
        self.endpoint = endpoint or Endpoint()
        self.wanted = wanted or Wanted()
        self.retries = retries
        # The first command opens the shared ssh connection, and no other may start before that is done.
        self._opening = threading.Lock()
        self._open = self.endpoint.host is None

    @property
    def node(self) -> str:
        """The host's name in marks, which are read on other hosts too."""
        return self.endpoint.host or platform.node() or "localhost"

    @property
    def is_root(self) -> bool:
        """Whether zfs is surely run as root there; where ssh is left to choose the user, nobody knows."""
        endpoint = self.endpoint
        return endpoint.become or (os.geteuid() == 0 if endpoint.host is None else endpoint.user == "root")

    @property
    def argument_bytes(self) -> int:
        """How many bytes of names one command line may have (see `commands.batches`)."""
        return zfs.LOCAL_ARGUMENTS if self.endpoint.host is None else zfs.ARGUMENTS

    def argv(self, command: list[str], own_connection: bool = False) -> list[str]:
        return self.endpoint.argv(command, own_connection)

    def run(
        self, command: list[str], check: bool = True, timeout: float | None = None, stdin: str | None = None
    ) -> Result:
        """Run a command. Raise the ZfsError for a failure unless ``check`` is False, TimedOut after ``timeout`` s.

        Raises what `Wanted.check` raises, before and during the command; what a run still notes when it has to end
        may take a while.
        """
        self.wanted.check(f"before {short_command(command)}", GRACE)
        result = None
        if not self._open:
            with self._opening:
                self.wanted.check(f"before {short_command(command)}", GRACE)  # others may have waited for long
                if not self._open:
                    result = self._run(command, timeout, stdin)
                    self._open = result.rc != SSH_FAILED
        result = result or self._run(command, timeout, stdin)
        if check and result.rc != 0:
            raise self._error(command, result)
        return result

    def _run(self, command: list[str], timeout: float | None, stdin: str | None) -> Result:
        """Run it. If sshd has turned the connection away before anything could run there, try again."""
        failures = 0
        while True:
            result = process.run(self.argv(command), stdin=stdin, timeout=timeout, check=lambda: self._during(command))
            failures += 1
            if failures > self.retries or not turned_away(result.rc, result.stderr):
                return result
            self.wanted.pause(failures)

    def _error(self, command: list[str], result: Result) -> ZfsError:
        # A login shell that refuses logins says so on stdout (nologin(8)).
        said = result.stderr if result.stderr.strip() else result.stdout[:MAX_SAID]
        return zfs_error(command, result.rc, said, self.endpoint.label)

    def _during(self, command: list[str]) -> None:
        self.wanted.check(f"during {short_command(command)}", GRACE)

    def read(self, command: list[str], timeout: float | None = None) -> tuple[list[str], list[str]]:
        """(lines, names that do not exist) of a list or get. Raise the ZfsError for any other failure."""
        result = self.run(command, check=False, timeout=timeout)
        missing, other = output.missing(result.stderr, result.rc)
        if result.rc != 0 and (other or not missing):
            raise self._error(command, result)
        # Not splitlines(): a property value may have characters that Python takes for the end of a line.
        return result.stdout.split("\n")[:-1], missing

    def lines(self, command: list[str], missing: list[str] | None = None, most: float | None = None) -> Iterator[str]:
        """The lines of a list or get, without keeping them in memory.

        Raise CerssError after ``most`` characters, which are `process.MAX_OUTPUT` if None.

        After the last line, names that do not exist are added to ``missing``; without that list they are an error.
        """
        if not self._open:
            self.run(["true"])
        source = process.Lines(self.argv(command), lambda: self._during(command))
        left = process.MAX_OUTPUT if most is None else most
        with contextlib.closing(iter(source)) as lines:  # ends the program, whatever holds the error
            for line in lines:
                left -= len(line) + 1
                if left < 0:
                    raise process.too_much(command)
                yield line
        if source.result is not None and source.result.rc != 0:
            names, other = output.missing(source.result.stderr, source.result.rc)
            if missing is None or other or not names:
                raise zfs_error(command, source.result.rc, source.result.stderr, self.endpoint.label)
            missing += names

    def close(self) -> None:
        """Close the shared ssh connection, if there is one."""
        if self.endpoint.host and self.endpoint.control_dir:
            process.run([*self.endpoint.ssh(), "-O", "exit", "--", self.endpoint.host], timeout=2)


@contextlib.contextmanager
def sessions(
    endpoints: Sequence[Endpoint], wanted: Wanted | None = None, retries: int = RETRIES
) -> Iterator[list[Backend]]:  # fmt: skip
    """A backend for each endpoint. Each has one ssh connection for all but its streams, closed at the end."""
    # The path of a socket has at most 108 bytes (unix(7)), and ssh adds 58 of its own.
    place = None if len(tempfile.gettempdir()) <= MAX_SOCKET_FOLDER else "/tmp"
    folders = [tempfile.mkdtemp(prefix="cerss-", dir=place) for _endpoint in endpoints]
    backends = [Backend(each.with_control(folder), wanted, retries) for each, folder in zip(endpoints, folders)]
    try:
        yield backends
    finally:
        for backend in backends:
            with contextlib.suppress(CerssError, OSError):
                backend.close()
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def session(source: Endpoint, target: Endpoint) -> Iterator[tuple[Backend, Backend]]:
    """The backends of source and target."""
    with sessions([source, target]) as (here, there):
        yield here, there
