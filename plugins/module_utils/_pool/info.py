# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zfs_pool_info. No command of zpool is waited for longer than ``timeout``: one pool may hang them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import (
    BadInput,
    CerssError,
    NotFound,
    NoZfs,
    TimedOut,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName, check_unique
from ansible_collections.cerss.zfs.plugins.module_utils._core.pool import Pool
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.inventory import pool_states
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import pool as zpool


@dataclass(frozen=True)
class Options:
    """The checked options. ``names``: None for all pools. ``timeout``: seconds for each command."""

    names: tuple[str, ...] | None
    timeout: int

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Options:
        names = params["name"]
        check_unique(names or [], "name")
        for name in map(DatasetName.parse, names or []):
            if name.parent:
                raise BadInput(f"{name} names a dataset; give its pool, {name.pool}, or use zfs_dataset_info")
        timeout = units.duration(params["timeout"], "timeout")
        if not timeout:
            raise BadInput("timeout is 0, so no command could answer; give at least 1s")
        return cls(None if names is None else tuple(names), timeout)


def main(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:  # pylint: disable=unused-argument
    """The result of the module. It takes one grep, one zpool process, and two for each pool."""
    options = Options.from_params(params)
    if options.names == ():
        return {"changed": False, "pools": []}
    found = _pools(Backend(), options)
    absent = [name for name in options.names or () if name not in {pool.name for pool in found}]
    result: dict[str, Any] = {"changed": False, "pools": [pool.to_result() for pool in found]}
    if absent:
        text = f"there is no pool {', '.join(absent)}; check name (zpool list shows all pools), or import the pool"
        result.update(failed=True, msg=text)
    return result


def _pools(backend: Backend, options: Options) -> list[Pool]:
    kernel = pool_states(backend, options.timeout)
    try:
        names, _missing = backend.read(zfs.pools(options.names or ()), options.timeout)
    except TimedOut as error:  # zpool hangs whatever pool it is asked about
        known = sorted(kernel) if options.names is None else options.names
        if not kernel:
            raise
        return [Pool(name, kernel[name], unread=error.msg) for name in known if name in kernel]
    pools = (_read(backend, name, kernel.get(name), options.timeout) for name in names)
    return [pool for pool in pools if pool is not None]


def _read(backend: Backend, name: str, kernel: str | None, timeout: int) -> Pool | None:
    """One pool; None if it does not exist any more. What keeps it from being read becomes its problem."""
    properties = status = None
    try:
        properties = zpool.properties(_lines(backend, zfs.pool_values(name, ["all"]), timeout))
        status = zpool.status(_lines(backend, zfs.pool_status(name), timeout))
    except NotFound:
        return None
    except NoZfs:
        raise
    except CerssError as error:
        return Pool(name, kernel, properties, status, error.msg)
    unread = None if status else f"{name}: zpool status printed something else than the status of a pool"
    return Pool(name, kernel, properties, status, unread)


def _lines(backend: Backend, command: list[str], timeout: int) -> list[str]:
    return backend.run(command, timeout=timeout).stdout.split("\n")
