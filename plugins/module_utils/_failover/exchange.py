# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far datasets and their replicas have exchanged their roles, by what zfs_replication_info tells on both hosts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.names import listing

REPLICATED, RELEASED, TURNING, TURNED, RETURNING = ("replicated", "released", "turning", "turned", "returning")

Item = Mapping[str, Any]  # of `replications` in the result of zfs_replication_info


def pairs(
    here: Iterable[Item],
    name: str,
    there: Iterable[Item] | None = None,
    recursive: bool = False,
    target: str | None = None,
    datasets: Sequence[str] = (),
) -> dict[str, Any]:
    """What the role has to do for ``name`` on the source and, with ``recursive``, for everything below it.

    ``here``: relationships on the host that takes over. ``there``: those on the source; None if it does not answer.
    ``target``: the replica of ``name``, if there are several. ``datasets``: all at and below ``name`` on the source.

    ``pairs``: by source dataset, ``source`` and ``target``, and ``state``: REPLICATED, RELEASED, TURNING if the
    opposite relationship exists besides the old one, TURNED if only that exists, RETURNING if the source is about to
    take over again. ``id``: of the old relationship, None if it has ended. ``parted``: the last common snapshot on this
    host, and ``last`` the part after its @. ``problems``: sentences; if there are any, nothing may be done.
    """
    known = None if there is None else list(there)
    scope = _Scope(name, recursive, target)
    found: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    for source, replica in _forward(list(here), known, scope):
        other = found.get(source)
        if other is not None:
            several = listing(sorted([other["target"], replica["target"]]))
            problems.append(
                f"{source} has several replicas there: {several}; name the one that takes over "
                "(zfs_failover_target_dataset)"
            )
        found[source] = _pair(source, replica)
    for source, target_, back, left_over in _backward(list(here), known or [], scope):
        ended: dict[str, Any] = {"source": source, "target": target_, "id": left_over, "last": None, "paused": False}
        former = found.get(source, ended)
        if former["target"] != target_:
            problems.append(
                f"{source} is the replica of {target_}, and {former['target']} is a replica of it; end one of these "
                "relationships first (zfs_replication with state=absent)"
            )
        turned = TURNED if former["id"] is None else TURNING
        found[source] = {**former, "state": RETURNING if back == "released" else turned}
    if not found:
        problems.append(
            f"{name} has no replica there{f' that is {target}' if target else ''}, so nothing can take over; check the "
            "name, or replicate it first"
        )
    lacking = [each for each in datasets if scope.has(each) and each not in found]
    if found and lacking:
        problems.append(
            f"{listing(lacking)} {'has' if len(lacking) == 1 else 'have'} no replica there and would be left behind; "
            "replicate what is missing first"
        )
    return {"pairs": [found[each] for each in sorted(found)], "problems": problems}


class _Scope:
    def __init__(self, name: str, recursive: bool, target: str | None) -> None:
        self.name, self.recursive, self.target = name, recursive, target

    def has(self, source: str) -> bool:
        return source == self.name or (self.recursive and source.startswith(f"{self.name}/"))

    def fits(self, source: str, target: str) -> bool:
        """Whether the datasets are meant, as those of one pair."""
        return self.has(source) and (not self.target or target == self.target + source[len(self.name) :])


def _forward(here: Sequence[Item], there: Sequence[Item] | None, scope: _Scope) -> Iterable[tuple[str, dict[str, Any]]]:
    """(source dataset, replica) of each relationship from the source to this host, of which both sides know."""
    sources = {each["id"]: each for each in there or () if each["role"] == "source"}
    for each in here:
        if each["role"] != "replica" or each["state"] not in ("active", "released"):
            continue
        known = each if there is None else sources.get(each["id"])
        if known is not None and scope.fits(known["source_dataset"], each["target_dataset"]):
            yield (
                known["source_dataset"],
                {**each, "target": each["target_dataset"], "paused": known["state"] == "paused"},
            )


def _backward(
    here: Sequence[Item], there: Sequence[Item], scope: _Scope
) -> Iterable[tuple[str, str, str, str | None]]:  # fmt: skip
    """(source dataset, its source on this host, state, id) where the source has become the replica.

    The id is of the old relationship if only the record on the source is left of it: its end was interrupted.
    """
    sources = {each["id"]: each["source_dataset"] for each in here if each["role"] == "source"}
    known = {each["id"] for each in here}
    for each in there:
        if each["role"] == "replica" and each["state"] in ("active", "released") and each["id"] in sources:
            name, target = each["target_dataset"], sources[each["id"]]
            place = (name, each["source_host"], each["source_dataset"])
            left = [one["id"] for one in there if one["role"] == "source" and one["id"] not in known
                    and (one["source_dataset"], one["target_host"], one["target_dataset"]) == place]  # fmt: skip
            if scope.fits(name, target):
                yield name, target, each["state"], next(iter(left), None)


def _pair(source: str, replica: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "source": source,
        "target": replica["target"],
        "id": replica["id"],
        "last": (replica["last_replicated"] or "").partition("@")[2] or None,
        "parted": replica["last_replicated"],
        "paused": replica["paused"],
        "state": RELEASED if replica["state"] == "released" else REPLICATED,
    }


def renamed(settings: Iterable[Mapping[str, Any]], found: Iterable[Mapping[str, Any]], place: str = "") -> list[Any]:
    """How the targets of pairs are to be in service: as their sources are, under their own names.

    ``settings``: as zfs_service returns them of the sources. ``place``: the mountpoint of the first target instead.
    """
    by_name = {each["name"]: each for each in settings}
    result = [
        {**{key: value for key, value in by_name.get(pair["source"], {}).items() if value is not None},
         "name": pair["target"]}
        for pair in found
    ]  # fmt: skip
    if place and result:
        result[0] = {**result[0], "mountpoint": place, "local": [*result[0].get("local", []), "mountpoint"]}
    return [each for each in result if len(each) > 1]


def losses(pairs_: Iterable[Mapping[str, Any]], lost: Iterable[Mapping[str, Any]]) -> list[str]:
    """What rolling the sources back to the last common snapshots would lose, one sentence for each.

    ``lost``: as zfs_rollback returns it, one for each pair. Bookmarks of the relationship do not count.
    """
    return [
        f"{pair['source']} has {listing(parts)} after @{pair['last']}"
        for pair, each in zip(pairs_, lost)
        for parts in [_parts(each)]
        if parts
    ]


def _parts(lost: Mapping[str, Any]) -> list[str]:
    bookmarks = [each for each in lost["bookmarks"] if "#cerss.zfs_" not in each]
    return [
        *([f"the snapshots {', '.join(lost['snapshots'])}"] if lost["snapshots"] else []),
        *([f"the bookmarks {', '.join(bookmarks)}"] if bookmarks else []),
        *([f"{lost['bytes']} bytes written since"] if lost["bytes"] else []),
    ]
