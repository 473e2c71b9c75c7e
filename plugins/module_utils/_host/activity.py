# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What runs on a backend: receives, sends, and operations of this collection."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Progress
from ansible_collections.cerss.zfs.plugins.module_utils._host import runfiles
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import processes


@dataclass(frozen=True)
class Activity:
    """What runs on a backend at the time ``now``.

    ``writers``: how many receives the kernel works on. ``operations``: the run files of this host (`runfiles.running`).
    """

    now: float = 0.0
    receivers: list[processes.Receiver] = field(default_factory=list)
    writers: int = 0
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

    def receives(self, dataset: str) -> bool | None:
        """Whether a receive into the dataset runs; None when the kernel works on one that ps does not show."""
        if processes.receiver_into(self.receivers, dataset):
            return True
        # Each active receive has one writer thread in the kernel.
        return False if self.writers <= len(self.receivers) else None


def read_activity(backend: Backend) -> Activity:
    """Reads the processes and, on this host, the run files. Runs ps and no zfs."""
    lines = backend.run(zfs.receivers(), check=False).stdout.split("\n")
    receivers, writers = processes.receiving(lines)
    found = Activity(time.time(), receivers, writers, senders=processes.sending(lines))
    if backend.endpoint.host is not None:
        return found
    rates = {receiver.pid: rate for receiver in receivers for rate in [_rate(receiver)] if rate is not None}
    return replace(found, operations=runfiles.running(), rates=rates)


def _rate(receiver: processes.Receiver) -> int | None:
    """Mean bytes per second since the receive began, by proc(5); None when the kernel does not show the counters."""
    try:
        counters = dict(line.split(": ") for line in Path(f"/proc/{receiver.pid}/io").read_text().splitlines())
        return int(counters["rchar"]) // receiver.seconds
    except (OSError, ValueError, KeyError, ZeroDivisionError):
        return None
