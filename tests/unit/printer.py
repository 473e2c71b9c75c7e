# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for a host whose datasets have given properties."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.process import Result

Set = dict[str, dict[str, "tuple[str, str]"]]  # name -> property -> (source, value)


class Printer(Backend):
    """A backend that knows only ``zfs get``. ``commands``: those that it was asked for."""

    def __init__(self, datasets: Set, noise: str = "") -> None:
        super().__init__()
        self.datasets, self.noise = datasets, noise
        self.commands: list[list[str]] = []

    def lines(self, command: list[str], missing: list[str] | None = None, most: float | None = None) -> Iterator[str]:
        self.commands.append(command)
        at = command.index("-o")
        columns, asked_for, names = command[at + 1], command[at + 2], command[at + 3 :]
        printed = self.noise
        for name in sorted(set(names) & self.datasets.keys()):
            have = self.datasets[name]
            if columns == "name,property":
                printed += "".join(f"{name}\t{key}\n" for key in have)
            else:
                records = ((key, *have.get(key, ("-", "-"))) for key in asked_for.split(","))
                printed += "".join(f"{name}\t{key}\t{source}\t{value}\n" for key, source, value in records)
        yield from printed.split("\n")[:-1]
        if missing is not None:
            missing += [name for name in names if name not in self.datasets]


class Host(Printer):
    """A backend that also lists its datasets, all of them whatever is asked for, and on which nothing runs."""

    def read(self, command: list[str], timeout: float | None = None) -> tuple[list[str], list[str]]:
        return [f"{name}\t1\t{place}\t-\t0" for place, name in enumerate(sorted(self.datasets))], []

    def run(self, command: list[str], *_args: object, **_options: object) -> Result:
        return Result(command, 0, "", "")
