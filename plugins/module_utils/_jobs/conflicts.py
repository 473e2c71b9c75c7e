# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs that would prune each other's snapshots: what either of two jobs prunes is gone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName, matches
from ansible_collections.cerss.zfs.plugins.module_utils._core.template import Template

Job = Mapping[str, Any]
_ANY_TIME = 1_700_000_000  # seconds since 1970


def found(jobs: Sequence[Job]) -> list[str]:
    """Sentences about completed jobs whose rules differ for the same snapshots."""
    return [
        f"jobs {one['name']} and {other['name']} have different rules for the same snapshots {where}, and would prune "
        "each other's; give their snapshots different names, or the rules to one of them only"
        for one, other in combinations(jobs, 2)
        if _share_snapshots(one, other) and _share_datasets(one, other)
        for where in _places(one, other)
    ]


def _places(one: Job, other: Job) -> Iterator[str]:
    """Where the rules of both differ."""
    if _differ(one, one["prune"], other, other["prune"], "sparing"):
        yield "on the source"
    theirs = {target["name"]: target["prune"] for target in other["targets"]}
    for target in one["targets"]:
        if _differ(one, target["prune"], other, theirs.get(target["name"])):
            yield f"in {target['name']}"


def _differ(one: Job, its: Job, other: Job, others: Job | None, *more: str) -> bool:
    """True if both have rules, and other ones or for other snapshots. What has expired is pruned by any.

    ``more``: keys of jobs that belong to the rules.
    """
    if not its or not others or "expired_only" in {*its, *others}:
        return False
    return its != others or any(one[key] != other[key] for key in ("match", *more))


def _share_snapshots(one: Job, other: Job) -> bool:
    """True if both have a pattern, or one of them has a pattern for what the other one takes."""
    taken = [(Template.parse(job["snapshot"]["name"], "snapshot.name").name(_ANY_TIME, utc=True), their)
             for job, their in ((one, other), (other, one)) if job["snapshot"]]  # fmt: skip
    both = {*one["match"]} & {*other["match"]}
    return bool(both) or any(matches(name, their["match"]) for name, their in taken)


def _share_datasets(one: Job, other: Job) -> bool:
    """True if both are about some dataset, as far as that can be told without reading ``select``."""
    if one["select"] != other["select"]:
        return False
    if not (one["datasets"] and other["datasets"]):
        return bool(one["select"])
    return any(
        _covers(job, name) for job, names in ((one, other["datasets"]), (other, one["datasets"])) for name in names
    )


def _covers(job: Job, name: str) -> bool:
    lineage = [*map(str, DatasetName(name).ancestors()), name]
    first = next((place for place, each in enumerate(lineage) if each in job["datasets"]), None)
    if first is None or not (job["recursive"] or job["select"] or name in job["datasets"]):
        return False
    return not any(matches(each, job["exclude"]) for each in lineage[first:])
