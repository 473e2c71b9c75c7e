# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What depends on a snapshot: what blocks its deletion, the closure over clones, and the order of deletion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import ReplicaRecord, SourceMark
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Snapshot


def blockers(snapshot: Snapshot) -> list[str]:
    """What keeps a snapshot from being destroyed at once, in words. Its values and holds must have been read."""
    found = []
    for clone in snapshot.clones or []:
        replica, slash, hidden = clone.rpartition("/")
        found.append(f"the receive into {replica}" if slash and hidden == "%recv" else f"clone {clone}")
    found += [f"hold {hold.tag}" for hold in snapshot.holds or []]
    return found


@dataclass
class Closure:
    """Everything that must go before some snapshots can, in the order in which it can go.

    ``clones``: datasets, each after all that depends on it. ``in_the_way``: what forbids it, in words, by dataset.
    """

    clones: list[Dataset] = field(default_factory=list)
    in_the_way: dict[str, list[str]] = field(default_factory=dict)

    @property
    def snapshots(self) -> list[Snapshot]:
        """Those of the clones."""
        return [snapshot for clone in self.clones for snapshot in clone.snapshots]

    def obstacles(self) -> dict[str, list[str]]:
        """What forbids it, with the relationships that the clones are in. Their marks must have been read."""
        found = {clone.name: [*self.in_the_way.get(clone.name, []), *_relationships(clone)] for clone in self.clones}
        return {name: reasons for name, reasons in found.items() if reasons}


def closure_of(datasets: Mapping[str, Dataset], requested: Iterable[str]) -> Closure:
    """The clones that go along with the wanted snapshots: theirs, the clones of these clones' snapshots, and so on.

    ``datasets`` is a whole pool. Nothing is in the closure but clones. A dataset below one of them that is no such
    clone itself is in the way.
    """
    clones_of: dict[str, list[Dataset]] = {}
    children: dict[str, list[Dataset]] = {}
    for dataset in datasets.values():
        if dataset.origin:
            clones_of.setdefault(dataset.origin, []).append(dataset)
        children.setdefault(dataset.name.rpartition("/")[0], []).append(dataset)

    inside: dict[str, Dataset] = {}
    open_ends = list(requested)
    while open_ends:
        for clone in clones_of.get(open_ends.pop(), []):
            if clone.name not in inside:
                inside[clone.name] = clone
                open_ends += [snapshot.name for snapshot in clone.snapshots]

    needs = {
        name: [child.name for child in children.get(name, []) if child.name in inside]
        + [clone.name for snapshot in dataset.snapshots for clone in clones_of.get(snapshot.name, [])]
        for name, dataset in inside.items()
    }
    order, circles = _leaves_first(needs)
    result = Closure([inside[name] for name in order])
    for dataset in result.clones:
        found = [f"{child.name} stands below it and is no clone that would go along"
                 for child in children.get(dataset.name, []) if child.name not in inside]  # fmt: skip
        found += [f"{other} depends on it and stands above it" for other in circles.get(dataset.name, [])]
        if found:
            result.in_the_way[dataset.name] = found
    return result


def _leaves_first(needs: Mapping[str, list[str]]) -> tuple[list[str], dict[str, list[str]]]:
    """(each name after all that it needs gone, what closes a circle by name).

    After a rename a clone may stand above its own origin, and then neither can go first. No recursion, since chains
    of clones may be long.
    """
    order: list[str] = []
    done: set[str] = set()
    circles: dict[str, list[str]] = {}
    for root in sorted(needs):
        path = [] if root in done else [root]
        waiting = {root: list(needs[root])}
        while path:
            here = path[-1]
            if waiting[here]:
                need = waiting[here].pop()
                if need in waiting and need not in done:
                    circles.setdefault(here, []).append(need)
                elif need not in done:
                    path.append(need)
                    waiting[need] = list(needs[need])
            else:
                path.pop()
                done.add(here)
                order.append(here)
    return order, circles


def _relationships(dataset: Dataset) -> list[str]:
    """The relationships that a dataset is in, as far as its marks tell."""
    found = [f"it is the source of replication {id_}" for id_ in ReplicaRecord.all_of(dataset.ours)]
    if SourceMark.NAME in dataset.ours:
        found.append("it is a replica")
    return found + [f"replication {cursor.id} continues from {mark.name}" for cursor, mark in dataset.cursors()]
