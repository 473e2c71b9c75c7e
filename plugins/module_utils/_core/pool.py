# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pools as read from a host and as results show them. States are the words of ZFS in lower case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.units import iso_time, number

ONLINE = "online"
SUSPENDED = "suspended"
RUNNING, PAUSED, FINISHED, CANCELED = "running", "paused", "finished", "canceled"  # states of a scan
_FEATURE = "feature@"
# What a result shows as keys of its own
_SHOWN = frozenset(("name", "guid", "health", "readonly", "size", "allocated", "free", "fragmentation", "capacity"))


@dataclass(frozen=True)
class Vdev:
    """A device, or a group of devices, of a pool. Errors are None for a hot spare, which has no counters.

    ``type``: disk for any single device; for a group the part of its name before the dash, such as mirror, raidz2,
    draid1, replacing or spare. ``role``: data, special, dedup, log, cache or spare. ``parent``: the name of the
    group that it is in, None at the top. ``note``: what zpool adds, such as ``too many errors``.
    """

    name: str
    type: str
    role: str
    parent: str | None
    state: str
    read_errors: int | None = None
    write_errors: int | None = None
    checksum_errors: int | None = None
    note: str | None = None

    @property
    def errors(self) -> int:
        return (self.read_errors or 0) + (self.write_errors or 0) + (self.checksum_errors or 0)

    def problem(self) -> str | None:
        """One sentence; None if nothing is wrong with it."""
        found = [] if self.state in (ONLINE, "avail", "inuse") else [f"is {self.state}"]
        if self.errors:
            found.append(
                f"has {self.read_errors} read, {self.write_errors} write and {self.checksum_errors} checksum errors"
            )
        why = f" ({self.note})" if self.note and found else ""
        return f"{self.name} {' and '.join(found)}{why}" if found else None

    def to_result(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "type": self.type,
            "role": self.role,
            "parent": self.parent,
            "state": self.state,
            "read_errors": self.read_errors,
            "write_errors": self.write_errors,
            "checksum_errors": self.checksum_errors,
            "note": self.note,
        }


@dataclass(frozen=True)
class Scan:
    """A scrub or resilver. Times are seconds since 1970. None where zpool does not tell.

    ``operation``: scrub, error_scrub or resilver. Bytes are rounded to three digits; ``percent`` is exact.
    ``fixed``: bytes repaired or resilvered.
    """

    operation: str
    state: str
    started: int | None = None
    finished: int | None = None
    percent: float | None = None
    bytes_done: int | None = None
    bytes_total: int | None = None
    bytes_per_second: int | None = None
    eta_seconds: int | None = None
    fixed: int | None = None
    errors: int | None = None

    def to_result(self) -> dict[str, Any]:
        return {
            "operation": self.operation,
            "state": self.state,
            "started": iso_time(self.started),
            "started_epoch": self.started,
            "finished": iso_time(self.finished),
            "finished_epoch": self.finished,
            "percent": self.percent,
            "bytes_done": self.bytes_done,
            "bytes_total": self.bytes_total,
            "bytes_per_second": self.bytes_per_second,
            "eta_seconds": self.eta_seconds,
            "fixed_bytes": self.fixed,
            "errors": self.errors,
        }


@dataclass(frozen=True)
class Status:
    """What ``zpool status`` tells of one pool. ``root``: the pool itself, as the vdev above all others.

    ``status`` and ``action``: its sentences, None when all is well. ``data_errors``: None when it gives no number.
    """

    state: str
    status: str | None = None
    action: str | None = None
    scan: Scan | None = None
    root: Vdev | None = None
    vdevs: tuple[Vdev, ...] = ()
    data_errors: int | None = None


@dataclass(frozen=True)
class Pool:
    """A pool. ``properties`` and ``status`` are None when zpool did not tell them; ``unread`` says why.

    ``kernel``: its state as the kernel tells it, None when not known.
    """

    name: str
    kernel: str | None = None
    properties: Mapping[str, str] | None = None
    status: Status | None = None
    unread: str | None = None

    @property
    def state(self) -> str | None:
        """For zpool, a suspended pool with ``failmode=continue`` is what its devices are. For the kernel it is not."""
        if self.kernel == SUSPENDED or self.status is None:
            return self.kernel or (self.properties or {}).get("health", "").lower() or None
        return self.status.state

    def problems(self) -> list[str]:
        """One sentence for each."""
        found = [self.unread] if self.unread else []
        if self.state == SUSPENDED:
            found.append(
                f"{self.name} is suspended: reads and writes wait. Mend its devices, then run 'zpool clear {self.name}'"
            )
        elif self.state != ONLINE:
            why = self.status.status if self.status else None
            found.append(f"{self.name} is {self.state or 'in an unknown state'}{f': {why}' if why else ''}")
        return found + (_problems(self.name, self.status) if self.status else [])

    def to_result(self) -> dict[str, Any]:
        """The pool as zfs_pool_info returns it."""
        given = {name: None if text == "-" else text for name, text in (self.properties or {}).items()}
        known, problems = Status("") if self.status is None else self.status, self.problems()
        root = known.root or Vdev(self.name, "", "", None, "")
        readonly = given.get("readonly")
        features = {name[len(_FEATURE) :]: text for name, text in given.items() if name.startswith(_FEATURE)}
        others = {name: text for name, text in given.items() if name not in _SHOWN and not name.startswith(_FEATURE)}
        return {
            "name": self.name,
            "guid": given.get("guid"),
            "state": self.state,
            "healthy": not problems,
            "problems": problems,
            "status": known.status,
            "action": known.action,
            "readonly": readonly == "on" if readonly else None,
            "size_bytes": number(given.get("size") or ""),
            "allocated_bytes": number(given.get("allocated") or ""),
            "free_bytes": number(given.get("free") or ""),
            "capacity_percent": number(given.get("capacity") or ""),
            "fragmentation_percent": number(given.get("fragmentation") or ""),
            "read_errors": root.read_errors,
            "write_errors": root.write_errors,
            "checksum_errors": root.checksum_errors,
            "data_errors": known.data_errors,
            "vdevs": [vdev.to_result() for vdev in known.vdevs] if self.status else None,
            "scan": known.scan.to_result() if known.scan else None,
            "features": features if self.properties is not None else None,
            "properties": others if self.properties is not None else None,
        }


def _problems(name: str, status: Status) -> list[str]:
    found = [problem for problem in (vdev.problem() for vdev in status.vdevs) if problem]
    if status.root and status.root.errors and not any(vdev.errors for vdev in status.vdevs):
        found.append(status.root.problem() or "")
    if status.data_errors:
        found.append(
            f"{name} has {status.data_errors} data errors; 'zpool status -v {name}' lists the damaged files and volumes"
        )
    if status.scan and status.scan.errors:
        found.append(
            f"the last {status.scan.operation.replace('_', ' ')} of {name} ended with {status.scan.errors} errors"
        )
    return found
