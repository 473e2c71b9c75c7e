# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One backend as code sees it: run a command there, read the answer, get the right error."""

from __future__ import annotations

import contextlib
import platform
import shutil
import tempfile
import threading
from collections.abc import Iterator

from ansible_collections.cerss.zfs.plugins.module_utils._core.endpoint import Endpoint
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError
from ansible_collections.cerss.zfs.plugins.module_utils._host import process
from ansible_collections.cerss.zfs.plugins.module_utils._host.process import Result
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import output
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.errors import zfs_error


class Backend:
    """Runs commands at an endpoint. May be used from several threads."""

    def __init__(self, endpoint: Endpoint | None = None) -> None:
        self.endpoint = endpoint or Endpoint()
        # The first command opens the shared ssh connection; two at once would both try to.
        self._opening = threading.Lock()
        self._open = self.endpoint.host is None

    @property
    def node(self) -> str:
        """A name for the place in marks that people read elsewhere."""
        return self.endpoint.host or platform.node()

    @property
    def argument_bytes(self) -> int:
        """Bytes of names that one command line may have."""
        return zfs.LOCAL_ARGUMENTS if self.endpoint.host is None else zfs.ARGUMENTS

    def argv(self, command: list[str], own_connection: bool = False) -> list[str]:
        return self.endpoint.argv(command, own_connection)

    def run(
        self, command: list[str], check: bool = True, timeout: float | None = None, stdin: str | None = None
    ) -> Result:
        """Raise the ZfsError of the right kind for a bad end, unless ``check`` is False."""
        if not self._open:
            with self._opening:
                result = process.run(self.argv(command), timeout=timeout, stdin=stdin)
                self._open = True
        else:
            result = process.run(self.argv(command), timeout=timeout, stdin=stdin)
        if check and result.rc != 0:
            raise zfs_error(command, result.rc, result.stderr, self.endpoint.label)
        return result

    def read(self, command: list[str]) -> tuple[list[str], list[str]]:
        """(lines, names that do not exist) of a list or get; any other trouble is raised."""
        result = self.run(command, check=False)
        gone, other = output.missing(result.stderr)
        if result.rc != 0 and (other or not gone):
            raise zfs_error(command, result.rc, result.stderr, self.endpoint.label)
        # Not splitlines(): property values may hold what Python takes for the end of a line.
        return result.stdout.split("\n")[:-1], gone

    def lines(self, command: list[str], gone: list[str] | None = None) -> Iterator[str]:
        """The same in flat memory, for what may be very long.

        Names that do not exist are added to ``gone`` at the end; without it they are an error.
        """
        if not self._open:
            self.run(["true"])
        source = process.Lines(self.argv(command))
        yield from source
        if source.result is not None and source.result.rc != 0:
            absent, other = output.missing(source.result.stderr)
            if gone is None or other or not absent:
                raise zfs_error(command, source.result.rc, source.result.stderr, self.endpoint.label)
            gone += absent

    def close(self) -> None:
        """End the shared ssh connection."""
        if self.endpoint.host and self.endpoint.control_dir:
            process.run([*self.endpoint.ssh(), "-O", "exit", "--", self.endpoint.host], timeout=10)


@contextlib.contextmanager
def session(source: Endpoint, target: Endpoint) -> Iterator[tuple[Backend, Backend]]:
    """(source, target), each with one ssh connection for all its small commands, be it to the same host."""
    folders = tempfile.mkdtemp(prefix="cerss-"), tempfile.mkdtemp(prefix="cerss-")
    backends = Backend(source.with_control(folders[0])), Backend(target.with_control(folders[1]))
    try:
        yield backends
    finally:
        for backend in backends:
            with contextlib.suppress(CerssError, OSError):
                backend.close()
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
