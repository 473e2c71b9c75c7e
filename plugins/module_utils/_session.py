# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Both backends of a run, their shared ssh connections, all put back at the end."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator

from ansible_collections.cerss.zfs.plugins.module_utils._backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._endpoint import Endpoint
from ansible_collections.cerss.zfs.plugins.module_utils._errors import CerssError


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
