# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which snapshots to destroy so that a pool has enough room, by the estimate of ZFS itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from ansible_collections.cerss.zfs.plugins.module_utils._core import units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName
from ansible_collections.cerss.zfs.plugins.module_utils._host import pools
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.values import read_properties
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs

_PERCENT = re.compile(r"([0-9]{1,2}(?:\.[0-9]+)?) ?%\Z")


@dataclass(frozen=True)
class MinFree:
    """How much of a pool must be free: ``bytes``, or a ``share`` of its size."""

    bytes: int = 0
    share: float = 0.0

    @classmethod
    def parse(cls, text: str, option: str) -> MinFree:
        """``50G``, bytes, or ``10%``. BadInput names ``option``."""
        found = _PERCENT.match(text.strip())
        if "%" in text and not found:
            raise BadInput(f"{option}: {text!r} is not a share of the pool; write 10%, or a size such as 50G")
        return cls(share=float(found[1]) / 100) if found else cls(units.size(text, option))

    def of(self, size: int) -> int:
        """For a pool of this size, both in bytes."""
        return max(self.bytes, int(self.share * size))


def to_give_up(
    backend: Backend, min_free: MinFree, certain: Iterable[Snapshot], others: Iterable[Snapshot]
) -> tuple[list[Snapshot], list[str]]:
    """(those of ``others`` that must go too, the oldest first, warnings). ``certain``: those that go anyway.

    Two processes for each pool, and a few for each dataset if there is too little room. A deletion that is deferred
    makes none, so what has clones does not count.
    """
    found: list[Snapshot] = []
    warnings: list[str] = []
    sure, more = _by_pool(certain), _by_pool(others)
    for pool, snapshots in more.items():
        lack = _lack(backend, pool, min_free)
        gone, enough = _oldest(backend, sure.get(pool, []), snapshots, lack) if lack > 0 else ([], True)
        found += gone
        warnings += [] if enough else [
            f"the pool {pool} has less room than min_free asks for, even without the snapshots that replicas lack; "
            "find out what else takes it"
        ]  # fmt: skip
    return found, warnings


def _by_pool(snapshots: Iterable[Snapshot]) -> dict[str, list[Snapshot]]:
    """By pool, oldest first, without those that have clones."""
    found: dict[str, list[Snapshot]] = {}
    for snap in sorted(snapshots, key=lambda snap: snap.createtxg or 0):
        if not snap.clones:
            found.setdefault(DatasetName(snap.dataset).pool, []).append(snap)
    return found


def _oldest(
    backend: Backend, sure: Sequence[Snapshot], others: Sequence[Snapshot], lack: int
) -> tuple[Sequence[Snapshot], bool]:
    """(as many of ``others`` as make up for the bytes that the pool lacks, whether they do)."""
    reclaimed = _reclaimed(backend)
    count = fewest(lambda count: reclaimed([*sure, *others[:count]]) >= lack, len(others))
    return others[:count], count is not None


def fewest(enough: Callable[[int], bool], most: int) -> int | None:
    """The smallest number up to ``most`` that is enough, by few questions. None if not even ``most`` is.

    >>> fewest(lambda count: count >= 3, 7), fewest(lambda count: False, 7)
    (3, None)
    """
    low, high = 0, most + 1
    while low < high:
        middle = (low + high) // 2
        if middle > most or enough(middle):
            high = middle
        else:
            low = middle + 1
    return low if low <= most else None


def _lack(backend: Backend, pool: str, min_free: MinFree) -> int:
    """The bytes that the pool lacks now. What ZFS is still freeing counts as free."""
    values = read_properties(backend, [pool], ("available", "used")).values.get(pool, {})
    available, used = (units.number(values[name].text) or 0 if name in values else 0 for name in ("available", "used"))
    freeing = units.number(pools.read(backend, pool, "freeing").get("freeing", "")) or 0
    return min_free.of(available + used) - available - freeing


def _reclaimed(backend: Backend) -> Callable[[Iterable[Snapshot]], int]:
    """A function that tells the bytes which destroying snapshots would free; 0 for those that ZFS cannot tell."""

    @cache
    def ask(dataset: str, snapshots: Sequence[str]) -> int:
        total = 0
        for batch in zfs.batches(snapshots, max_bytes=backend.argument_bytes):
            printed = backend.run(zfs.reclaimed(dataset, batch), check=False).stdout
            line = printed.rstrip("\n").rpartition("\n")[2]
            total += units.number(line.partition("reclaim\t")[2]) or 0
        return total

    def ask_all(snapshots: Iterable[Snapshot]) -> int:
        by_dataset: dict[str, list[str]] = {}
        for snap in snapshots:
            by_dataset.setdefault(snap.dataset, []).append(snap.snapshot)
        return sum(ask(dataset, tuple(parts)) for dataset, parts in by_dataset.items())

    return ask_all
