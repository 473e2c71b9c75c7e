# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The marks of pairs on the source: channel programs where they may run, which compare before they write.

What a program does not do is left to the caller, which carries it out as commands, with the same result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import CommitPoints, ReplicaRecords
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Step
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import SOURCE, Pair
from ansible_collections.cerss.zfs.plugins.module_utils._replication.work import Task, Work
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import program


@dataclass(frozen=True, eq=False)
class Part:
    """Steps of a task that belong together, and the pair as they were planned from."""

    task: Task
    pair: Pair
    steps: Sequence[Step]

    def operations(self) -> list[list[str]] | None:
        """For a program, which compares the record and the commit point first; None if a program cannot do it."""
        if any(step.side != SOURCE for step in self.steps):
            return None
        names = ReplicaRecords.name(self.pair.pool), CommitPoints.name(self.pair.pool)
        expected = {name: self.pair.source.ours.get(name, "") for name in names}
        commands = [command for step in self.steps for command in step.commands]
        return program.group(self.pair.source.name, expected, commands) if commands else None


def carry_out(work: Work, parts: Iterable[Part], grace: float = 0.0) -> tuple[list[Part], list[Part]]:
    """(those that were carried out, those whose marks are others now). All others are left to the caller.

    ``grace``: as for `Work.go_on`.
    """
    done, changed = list[Part](), list[Part]()
    pools: dict[str, list[tuple[Part, list[list[str]]]]] = {}
    for part in parts:
        operations = part.operations() if work.source.is_root else None
        if operations:
            pools.setdefault(part.pair.source_pool, []).append((part, operations))
    for pool, found in pools.items():
        ends = _run(work, pool, [operations for _part, operations in found], grace)
        for (part, _operations), end in zip(found, ends):
            {program.DONE: done, program.CHANGED: changed}.get(end, []).append(part)
    for part in done:
        part.task.report.done += part.steps
    return done, changed


def _run(work: Work, pool: str, groups: Sequence[list[list[str]]], grace: float) -> Iterator[str]:
    """How each group has ended, up to the first program that zfs refuses."""
    for batch in program.batches(groups, work.source.argument_bytes):
        if not work.programs:
            return
        command = zfs.program(pool, chain.from_iterable(chain.from_iterable(batch)))
        try:
            work.go_on("marks were written", grace)
            yield from program.ends(work.source.run(command, stdin=program.SCRIPT).stdout, len(batch))
        except (CerssError, ValueError):  # the commands tell what is wrong, if anything is
            work.programs = False
