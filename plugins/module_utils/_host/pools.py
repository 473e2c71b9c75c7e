# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a pool can do, where zfs itself does not tell. All of it is read only when it matters."""

from __future__ import annotations

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import output


def read(backend: Backend, pool: str, *names: str) -> dict[str, str]:
    """Properties of a pool; empty where they cannot be read, as through a gate or with a sudo that runs only zfs."""
    try:
        result = backend.run(zfs.pool_values(pool, names), check=False)
    except CerssError:
        return {}
    return {row[0]: row[1] for row in output.rows(result.stdout.splitlines()) if len(row) == 2}


def is_readonly(backend: Backend, pool: str) -> bool:
    """True for a pool that is imported read-only, so that nothing can be set, bookmarked or held."""
    return read(backend, pool, "readonly").get("readonly") == "on"
