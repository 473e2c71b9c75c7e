# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zfs send and zfs receive in a list of processes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple


class Receiver(NamedTuple):
    """A ``zfs receive`` that runs, as ``ps`` shows it."""

    pid: int
    seconds: int
    arguments: str


def receiving(lines: Iterable[str]) -> tuple[list[Receiver], int]:
    """From ``ps -eo pid=,etimes=,args=``: each ``zfs receive``, and how many receives the kernel writes.

    A gate that waits for a stream shows itself with the arguments of the ``zfs receive`` that it starts.
    """
    found: dict[str, Receiver] = {}
    writers = 0
    for line in lines:
        words = line.split(None, 2)
        if len(words) < 3:
            continue
        writers += words[2].startswith("[receive_writer")
        if words[1].isdigit() and re.match(r"(?:\S*/)?zfs (?:receive|recv) ", words[2]):
            found[words[2]] = Receiver(int(words[0]), int(words[1]), words[2])
    return list(found.values()), writers


def sending(lines: Iterable[str]) -> list[str]:
    """From the same lines: the arguments of each ``zfs send``. They end with a space and the snapshot."""
    found = (re.match(r"\s*\d+\s+\d+\s+((?:\S*/)?zfs send .*)\Z", line) for line in lines)
    return [match.group(1) for match in found if match]


def receiver_into(found: list[Receiver], dataset: str) -> Receiver | None:
    """The ``zfs receive`` into the dataset. Names may hold spaces."""
    return next((receiver for receiver in found if receiver.arguments.endswith(" " + dataset)), None)


def receiver_below(found: list[Receiver], dataset: str) -> Receiver | None:
    """A ``zfs receive`` into anything below the dataset."""
    return next((receiver for receiver in found if f" {dataset}/" in receiver.arguments), None)


def receiver_of(found: list[Receiver], dataset: str) -> int | None:
    """Seconds since a ``zfs receive`` into the dataset began; None when there is none."""
    receiver = receiver_into(found, dataset)
    return receiver.seconds if receiver else None
