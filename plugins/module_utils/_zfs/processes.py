# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zfs send and zfs receive in a list of processes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from ansible_collections.cerss.zfs.plugins.module_utils._core.units import number


class Receiver(NamedTuple):
    """A running ``zfs receive``."""

    pid: int
    seconds: int  # since it began
    arguments: str  # the whole command line


def receiving(lines: Iterable[str]) -> tuple[list[Receiver], int]:
    """(each ``zfs receive``, the number of receives in the kernel) of the lines of `commands.receivers`.

    A gate has the same command line as the ``zfs receive`` that it starts; of two such processes the later line counts.
    """
    found: dict[str, Receiver] = {}
    writers = 0
    for line in lines:
        columns = line.split(None, 2)
        if len(columns) < 3:
            continue
        pid, seconds, arguments = number(columns[0]), number(columns[1]), columns[2]
        writers += arguments.startswith("[receive_writer")
        if pid and seconds is not None and re.match(r"(?:\S*/)?zfs (?:receive|recv) ", arguments):
            found[arguments] = Receiver(pid, seconds, arguments)
    return list(found.values()), writers


def sending(lines: Iterable[str]) -> list[str]:
    """The command line of each ``zfs send`` of the same lines. It ends with a space and the snapshot."""
    found = (re.match(r"\s*\d+\s+\d+\s+((?:\S*/)?zfs send .*)\Z", line) for line in lines)
    return [match.group(1) for match in found if match]


def receiver_into(found: list[Receiver], dataset: str) -> Receiver | None:
    """The ``zfs receive`` into the dataset; None when there is none.

    A name with a space cannot be told from one that it ends with: "a b" also answers for "b".
    """
    return next((receiver for receiver in found if receiver.arguments.endswith(" " + dataset)), None)


def is_receiver(lines: Iterable[str], pid: int, dataset: str) -> bool:
    """True if this process still is a ``zfs receive`` into the dataset, or the sudo that has started it."""
    form = rf"\s*{pid}\s+\d+\s+(?:sudo -n )?(?:\S*/)?zfs receive .* {re.escape(dataset)}"
    return any(re.fullmatch(form, line.rstrip()) for line in lines)


def receiver_below(found: list[Receiver], dataset: str) -> Receiver | None:
    """A ``zfs receive`` into anything below the dataset."""
    return next((receiver for receiver in found if f" {dataset}/" in receiver.arguments), None)


def receiver_of(found: list[Receiver], dataset: str) -> int | None:
    """Seconds since a ``zfs receive`` into the dataset began; None when there is none."""
    receiver = receiver_into(found, dataset)
    return receiver.seconds if receiver else None
