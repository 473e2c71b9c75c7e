# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The newest of many snapshots, in memory for these alone."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import model

Result = dict[str, Any]
Entry = tuple[float, int, Result]


class Newest:
    """Keeps the newest ``most`` snapshots of each pool, as results show them.

    Those of one pool are ordered by ``createtxg``, which clocks do not change. Between pools only the time of creation
    tells. What is being received or created is newer than everything that exists; what is absent is older.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._pools: dict[str, list[Entry]] = {}  # heaps, the oldest first
        self._places = itertools.count(0, -1)  # of two with the same createtxg the first one that comes is kept

    def add(self, result: Result) -> None:
        heap = self._pools.setdefault(result["name"].partition("@")[0].partition("/")[0], [])
        entry = (_rank(result), next(self._places), result)
        if len(heap) < self._most:
            heapq.heappush(heap, entry)
        elif heap:
            heapq.heappushpop(heap, entry)

    def results(self, created: Callable[[Sequence[Result]], Mapping[str, int | None]]) -> list[Result]:
        """At most ``most`` of them, newest first. ``created``: gives times by full name, if there are several pools."""
        pools = [sorted(heap, reverse=True) for heap in self._pools.values() if heap]
        times = created([entry[2] for pool in pools for entry in pool]) if len(pools) > 1 else {}

        def when(entry: Entry) -> float:
            return entry[0] if math.isinf(entry[0]) else times.get(entry[2]["name"]) or 0

        merged = heapq.merge(*pools, key=when, reverse=True)
        return [result for _rank_, _place, result in itertools.islice(merged, self._most)]


def _rank(result: Result) -> float:
    if result["state"] in (model.INBOUND, model.CREATING):
        return math.inf
    return -math.inf if result["state"] == model.ABSENT else result["createtxg"] or 0
