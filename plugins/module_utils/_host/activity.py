# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What runs on a backend at one moment."""

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
    """What runs on a backend at one moment: receives, the kernel's share of them, and operations of this collection."""

    now: float = 0.0
    receivers: list[processes.Receiver] = field(default_factory=list)
    writers: int = 0
    operations: list[dict[str, Any]] = field(default_factory=list)
    senders: list[str] = field(default_factory=list)  # the arguments of each zfs send
    rates: Mapping[int, int] = field(default_factory=dict)  # bytes per second, by the receiver's pid

    def creating(self) -> set[str]:
        """Names of the snapshots that are being made."""
        return {
            name
            for operation in self.operations
            if operation.get("operation") == "create"
            for name in operation.get("snapshots") or []
        }

    def sending(self, guid: str | None) -> Progress | None:
        for operation in self.operations:
            if operation.get("operation") == "send" and guid and operation.get("guid") == guid:
                keys = ("bytes_done", "bytes_total", "bytes_per_second", "started", "updated")
                return Progress("send", active=True, **{key: operation.get(key) for key in keys})
        return None

    def sends(self, name: str) -> bool:
        """Is the snapshot being sent, as far as command lines tell?"""
        return any(arguments.endswith(f" {name}") for arguments in self.senders)

    def receives(self, dataset: str) -> bool | None:
        """True when a receive into the dataset runs, False when none does, None when that cannot be told."""
        if processes.receiver_into(self.receivers, dataset):
            return True
        # Each active receive has one writer; those that ps explains are for other datasets.
        return False if self.writers <= len(self.receivers) else None


def read_activity(backend: Backend) -> Activity:
    """Look at the processes and, on this host, at the run files. No zfs process."""
    lines = backend.run(zfs.receivers(), check=False).stdout.split("\n")
    receivers, writers = processes.receiving(lines)
    found = Activity(time.time(), receivers, writers, senders=processes.sending(lines))
    if backend.endpoint.host is not None:
        return found
    rates = {receiver.pid: rate for receiver in receivers for rate in [_rate(receiver)] if rate is not None}
    return replace(found, operations=runfiles.running(), rates=rates)


def _rate(receiver: processes.Receiver) -> int | None:
    """Bytes per second since a receive began, as the kernel counts them; None where it does not show that."""
    try:
        counters = dict(line.split(": ") for line in Path(f"/proc/{receiver.pid}/io").read_text().splitlines())
        return int(counters["rchar"]) // receiver.seconds
    except (OSError, ValueError, KeyError, ZeroDivisionError):
        return None
