# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What depends on a snapshot or a dataset, and the order in which a cascade destroys it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import ReplicaRecords, SourceMark, Spoilt
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import listing


def blockers(snapshot: Snapshot) -> list[str]:
    """What needs the snapshot, as ``clone tank/c`` or ``hold keep``. Its values and holds must have been read.

    The clone ``tank/v/%recv`` is a receive into tank/v that runs (zfs-receive(8)).
    """
    found = []
    for clone in snapshot.clones or []:
        parent, slash, last = clone.rpartition("/")
        found.append(f"the receive into {parent}" if slash and last == "%recv" else f"clone {clone}")
    found += [f"hold {hold.tag}" for hold in snapshot.holds or []]
    return found


@dataclass
class Closure:
    """The datasets that a cascade destroys.

    ``datasets``: in the order of their destruction, each after everything that depends on it. ``named``: names of those
    that the user has named; all others are clones. ``misplaced``: name -> why its place forbids the cascade.
    """

    datasets: list[Dataset] = field(default_factory=list)
    named: frozenset[str] = frozenset()
    misplaced: dict[str, list[str]] = field(default_factory=dict)

    @property
    def snapshots(self) -> list[Snapshot]:
        """The snapshots of the datasets."""
        return [snapshot for dataset in self.datasets for snapshot in dataset.snapshots]

    def obstacles(self) -> dict[str, list[str]]:
        """Name of a dataset -> why it cannot be destroyed: its place, or its relationships.

        Marks must have been read. A replica that was released or put aside is no obstacle if the user has named it.
        """
        found: dict[str, list[str]] = {}
        for dataset in self.datasets:
            replica = dataset.is_replica if dataset.name in self.named else SourceMark.NAME in dataset.ours
            found[dataset.name] = [*self.misplaced.get(dataset.name, []), *_relationships(dataset, replica)]
        return {name: reasons for name, reasons in found.items() if reasons}


def closure_of(datasets: Mapping[str, Dataset], requested: Iterable[str], named: Collection[str] = ()) -> Closure:
    """The clones of the requested snapshots, the clones of these clones' snapshots, and so on.

    ``datasets``: a whole pool. ``requested``: full names of snapshots. ``named``: datasets that go as well, with all
    their snapshots. Besides these, only clones are in the closure; any other dataset below one in it forbids the
    cascade.

    With tank/a a clone of tank/v@s, and tank/b a clone of tank/a@x, the closure of tank/v@s is [tank/b, tank/a].
    """
    clones_of: dict[str, list[Dataset]] = {}
    children: dict[str, list[Dataset]] = {}
    for dataset in datasets.values():
        if dataset.origin:
            clones_of.setdefault(dataset.origin, []).append(dataset)
        children.setdefault(dataset.name.rpartition("/")[0], []).append(dataset)
    inside = _reached(clones_of, requested, [datasets[name] for name in named])
    needs = {
        name: [child.name for child in children.get(name, []) if child.name in inside]
        + [clone.name for snapshot in dataset.snapshots for clone in clones_of.get(snapshot.name, [])]
        for name, dataset in inside.items()
    }
    order, circles = _leaves_first(needs)
    result = Closure([inside[name] for name in order], frozenset(named))
    for dataset in result.datasets:
        found = [f"{child.name} below it is not a clone that the cascade deletes"
                 for child in children.get(dataset.name, []) if child.name not in inside]  # fmt: skip
        found += [f"{other} above it depends on it" for other in circles.get(dataset.name, [])]
        if found:
            result.misplaced[dataset.name] = found
    return result


def _reached(
    clones_of: Mapping[str, list[Dataset]], requested: Iterable[str], named: Iterable[Dataset]
) -> dict[str, Dataset]:
    """By name, the named datasets, and every clone that depends on them or on the requested snapshots."""
    inside = {dataset.name: dataset for dataset in named}
    open_ends = [*requested, *(snapshot.name for dataset in inside.values() for snapshot in dataset.snapshots)]
    while open_ends:
        for clone in clones_of.get(open_ends.pop(), []):
            if clone.name not in inside:
                inside[clone.name] = clone
                open_ends += [snapshot.name for snapshot in clone.snapshots]
    return inside


def _leaves_first(needs: Mapping[str, list[str]]) -> tuple[list[str], dict[str, list[str]]]:
    """(names in the order of deletion, name -> the names that form a circle with it).

    ``needs``: name -> the names that must be deleted before it. ``{"a": ["b"], "b": []}`` gives ``(["b", "a"], {})``.
    A rename can put a clone above its own origin; then each of the two must be deleted before the other.
    Not recursive, since chains of clones may be long.
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


def _relationships(dataset: Dataset, is_replica: bool) -> list[str]:
    """Why the dataset's relationships need it, as its marks and cursors tell."""
    found = [f"it is the source of relationship {id_}" for id_ in dataset.records()]
    found += [
        f"it is the source of replications to the pool {pool} with a spoilt record"
        for pool, records in ReplicaRecords.all_of(dataset.ours).items()
        if isinstance(records, Spoilt)
    ]
    if is_replica:
        found.append("it is a replica")
    needed: dict[str, list[str]] = {}
    for cursor, bookmark in dataset.cursors():
        needed.setdefault(cursor.id, []).append(bookmark.name)
    return found + [f"relationship {id_} needs {listing(names)}" for id_, names in needed.items()]
