# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What runs on a backend: receives, sends, and operations of this collection."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import GateRefused, HostKeyRefused, LoginRefused
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Progress
from ansible_collections.cerss.zfs.plugins.module_utils._host import runfiles
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.waiting import wait_for
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import processes
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.errors import zfs_error

# Seconds. What arrives shows in the token with the transaction group (zfs_txg_timeout, 5 s) that has the next batch of
# writes (zfs_recv_write_batch_size, 1 MiB): this sees a stream of 50 KiB/s.
GROWTH = 30.0
_LOOK = 1.0  # seconds


@dataclass(frozen=True)
class Activity:
    """What runs on a backend at the time ``now``. ``operations``: the run files of this host (`runfiles.running`)."""

    now: float = 0.0
    receiving: processes.Receiving = field(default_factory=lambda: processes.Receiving([]))
    operations: list[dict[str, Any]] = field(default_factory=list)
    senders: list[str] = field(default_factory=list)  # the arguments of each zfs send
    rates: Mapping[int, int] = field(default_factory=dict)  # bytes per second, by the receiver's pid

    def creating(self) -> set[str]:
        """Full names of the snapshots whose zfs_snapshot task has not ended."""
        return {
            name
            for operation in self.operations
            if operation.get("operation") == "create"
            for name in operation.get("snapshots") or []
        }

    def sending(self, guid: str | None) -> Progress | None:
        """The progress of this collection's transfer of the snapshot; None when there is none on this host."""
        for operation in self.operations:
            if operation.get("operation") == "send" and guid and operation.get("guid") == guid:
                keys = ("bytes_done", "bytes_total", "bytes_per_second", "started", "updated")
                return Progress("send", active=True, **{key: operation.get(key) for key in keys})
        return None

    def sends(self, name: str) -> bool:
        """True when a ``zfs send`` of the snapshot runs. A resumed one does not show the name."""
        return any(arguments.endswith(f" {name}") for arguments in self.senders)


def read_activity(backend: Backend) -> Activity:
    """Reads the processes and, on this host, the run files. Runs ps and no zfs."""
    lines = process_list(backend)
    receiving = processes.receiving(lines)
    found = Activity(time.time(), receiving, senders=processes.sending(lines))
    if backend.endpoint.host is not None:
        return found
    rates = {receiver.pid: rate for receiver in receiving.receivers for rate in [_rate(receiver)] if rate is not None}
    return replace(found, operations=runfiles.running(), rates=rates)


def read_receiving(backend: Backend) -> processes.Receiving:
    """The receives on a backend."""
    return processes.receiving(process_list(backend))


def process_list(backend: Backend) -> list[str]:
    """The lines of ps; none if it cannot print them, as that of busybox. Raise the ZfsError if nothing can be run."""
    result = backend.run(zfs.receivers(), check=False)
    if result.rc == 0:
        return result.stdout.split("\n")
    error = zfs_error(result.argv, result.rc, result.stderr, backend.endpoint.label)
    if error.transient or isinstance(error, (HostKeyRefused, LoginRefused, GateRefused)):
        raise error
    return []


def is_receiving(backend: Backend, found: processes.Receiving, datasets: Sequence[str]) -> bool:
    """Whether somebody receives into one of the datasets.

    Where the process list does not tell, their tokens are watched for `GROWTH` seconds. A receive to which nothing
    comes meanwhile counts as interrupted.
    """
    if any(found.into(dataset) for dataset in datasets):
        return True
    return not found.known and any(_grow(backend, names) for names in zfs.batches(datasets))


def _grow(backend: Backend, datasets: list[str]) -> bool:
    def tokens() -> list[str]:
        return backend.read(zfs.get(datasets, ["receive_resume_token"]))[0]

    before = tokens()
    return wait_for(tokens, lambda now: now != before, _LOOK, GROWTH, before) != before


def _rate(receiver: processes.Receiver) -> int | None:
    """Mean bytes per second since the receive began, by proc(5); None when the kernel does not show the counters."""
    try:
        counters = dict(line.split(": ") for line in Path(f"/proc/{receiver.pid}/io").read_text().splitlines())
        return int(counters["rchar"]) // receiver.seconds
    except (OSError, ValueError, KeyError, ZeroDivisionError):
        return None
