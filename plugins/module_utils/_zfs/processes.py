# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zfs send and zfs receive in a list of processes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from ansible_collections.cerss.zfs.plugins.module_utils._core.units import number


class Receiver(NamedTuple):
    """A running ``zfs receive``."""

    pid: int
    seconds: int  # since it began
    arguments: str  # the whole command line


@dataclass(frozen=True)
class Receiving:
    """The receives in a process list. ``writers``: how many the kernel works on. ``whole``: it shows all processes."""

    receivers: list[Receiver]
    writers: int = 0
    whole: bool = True

    @property
    def known(self) -> bool:
        """False if somebody may be receiving whom the list does not show."""
        return self.whole and self.writers <= len(self.receivers)

    def into(self, dataset: str) -> Receiver | None:
        """The ``zfs receive`` into the dataset; None when the list shows none.

        A name with a space cannot be told from one that it ends with: "a b" also answers for "b".
        """
        return next((receiver for receiver in self.receivers if receiver.arguments.endswith(" " + dataset)), None)

    def below(self, dataset: str) -> Receiver | None:
        """A ``zfs receive`` into anything below the dataset."""
        return next((receiver for receiver in self.receivers if f" {dataset}/" in receiver.arguments), None)

    def is_active(self, dataset: str) -> bool | None:
        """Whether somebody receives into the dataset; None if that is not known."""
        return True if self.into(dataset) else False if self.known else None


HIDDEN = "zfs receive -"  # what a gate shows of receives that are nobody's business


def receiving(lines: Iterable[str]) -> Receiving:
    """The receives in the lines of `commands.receivers`.

    A gate has the same command line as the ``zfs receive`` that it starts; of two such processes the later line counts.
    A list without process 1 is not whole: hidepid=2 (proc(5)) hides other users' processes, and another ps may have
    printed nothing.
    """
    found: dict[str, Receiver] = {}
    writers, whole = 0, False
    for line in lines:
        columns = line.split(None, 2)
        if len(columns) < 3:
            continue
        pid, seconds, arguments = number(columns[0]), number(columns[1]), columns[2]
        whole = whole or (pid == 1 and seconds is not None)
        writers += arguments.startswith("[receive_writer")
        if pid and seconds is not None and re.match(r"(?:\S*/)?zfs (?:receive|recv) ", arguments):
            key = f"{pid} {arguments}" if arguments == HIDDEN else arguments
            found[key] = Receiver(pid, seconds, arguments)
    return Receiving(list(found.values()), writers, whole)


def sending(lines: Iterable[str]) -> list[str]:
    """The command line of each ``zfs send`` of the same lines. It ends with a space and the snapshot."""
    found = (re.match(r"\s*\d+\s+\d+\s+((?:\S*/)?zfs send .*)\Z", line) for line in lines)
    return [match.group(1) for match in found if match]


def age_of_receiver(lines: Iterable[str], pid: int, dataset: str) -> int | None:
    """Seconds since this process began; None if it is no ``zfs receive`` into the dataset.

    The sudo or doas that has started one counts as such.
    """
    form = rf"\s*{pid}\s+(\d+)\s+(?:\S+ -n )?(?:\S*/)?zfs receive .* {re.escape(dataset)}"
    found = (re.fullmatch(form, line.rstrip()) for line in lines)
    return next((number(match.group(1)) for match in found if match), None)
