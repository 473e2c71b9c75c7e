# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What came of a job: which replicas it has, and a row of a table for its source and for each of its targets.

Results of modules are those that a task registered: empty or with ``skipped`` if it did not run.
"""

from __future__ import annotations

import types
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.endpoint import LOCAL
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import FULL
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName, shortened
from ansible_collections.cerss.zfs.plugins.module_utils._core.unsent import NOT_SENT
from ansible_collections.cerss.zfs.plugins.module_utils._jobs.loans import name_of

Result = Mapping[str, Any]
_SHOWN = 3  # reasons for each row
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_TIMES = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_HEADS = ("JOB", "WHERE", "NEW", "SENT", "BYTES", "PRUNED", "LAG", "RESULT")


def sending(job: Mapping[str, Any], snapshot: Result, check: bool) -> dict[str, Any]:
    """The options of zfs_snapshot_replicate that say what to send."""
    return {**_tree(job), "upcoming": _upcoming(snapshot, check)}


def source_pruning(job: Mapping[str, Any], snapshot: Result, check: bool) -> dict[str, Any]:
    """The options of zfs_snapshot_prune for the source.

    Replicas of other hosts below it, of which the job takes no snapshots, have rules of their own.
    """
    rules = {**job["prune"], **job["sparing"], "match": job["match"]}
    rules.update({"on_replica": "skip"} if job["snapshot"] else {})
    return {**_tree(job), **rules, "upcoming": _upcoming(snapshot, check)}


def _upcoming(snapshot: Result, check: bool) -> list[str]:
    """In check mode the snapshots that the job would create."""
    made = snapshot.get("snapshots") if check and snapshot.get("changed") else None
    return [each["name"] for each in made or []]


def _tree(job: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a module that says which datasets the job is about."""
    given = {"name": job["datasets"], "recursive": job["recursive"], "exclude": job["exclude"], "select": job["select"]}
    return {key: value for key, value in given.items() if value}


def replicas(job: Mapping[str, Any], replicate: Result) -> list[list[Result]]:
    """The items of ``replicas`` of each target, in the order of the targets."""
    found: list[list[Result]] = [[] for _target in job["targets"]]
    for replica in replicate.get("replicas") or []:
        place = _target_of(job["targets"], replica)
        if place is not None:
            found[place].append(replica)
    return found


def _target_of(targets: Sequence[Mapping[str, Any]], replica: Result) -> int | None:
    """The place of the target, on the replica's host: the one that puts its source there.

    Where a rename is followed, it is the one whose dataset is the nearest at or above the replica.
    """
    host, name = replica.get("target_host") or LOCAL, replica.get("target_dataset")
    roots = {
        place: str(target["options"].get("dataset") or target["options"].get("parent"))
        for place, target in enumerate(targets)
        if target["options"]["host"] == host
    }
    above = [place for place, root in roots.items() if name and DatasetName(root).covers(name)]
    own = [place for place in above if _goes_to(targets[place]["options"], replica) == name]
    return max(own or above, key=lambda place: len(roots[place]), default=None)


def _goes_to(target: Mapping[str, Any], replica: Result) -> str | None:
    """Where a target with ``parent`` puts the source of the replica."""
    if "parent" not in target:
        return None
    return "/".join([target["parent"], *str(replica["source_dataset"]).split("/")[target.get("strip", 1) :]])


def prunings(job: Mapping[str, Any], replicate: Result, check: bool) -> list[dict[str, Any]]:
    """What to prune on the targets: the place of each target, the host of the inventory, its replicas, and the rules.

    Left out are replicas that do not exist, as a new one in check mode.
    """
    found = []
    for place, (target, items) in enumerate(zip(job["targets"], replicas(job, replicate))):
        there = [each for each in items if _exists(each, check)]
        if target["prune"] and target["inventory_host"] and there:
            names = [str(each["target_dataset"]) for each in there]
            coming = [name for each in there for name in _coming(each)] if check else []
            options = {"name": names, **target["prune"], "match": job["match"], "upcoming": coming}
            found.append({"target": place, "host": target["inventory_host"], "options": options})
    return found


def _coming(replica: Result) -> list[str]:
    """The snapshots that the replica would get, as far as the result names them."""
    sent = [name for step in replica.get("steps") or [] for name in step.get("snapshots") or []]
    return [f"{replica['target_dataset']}@{name.partition('@')[2]}" for name in sent]


def _exists(replica: Result, check: bool) -> bool:
    """Whether the replica exists for all that is known. One that failed before its first snapshot does not.

    Where nothing was sent it may be that there was nothing to start a replica with.
    """
    steps = replica.get("steps") or []
    begins = bool(steps) and (steps[0].get("kind") == "full" or bool(steps[0].get("origin")))
    if replica.get("failed"):
        return bool(steps) and not begins
    return not (check and begins) if steps else replica.get("state") == FULL


def limits(job: Mapping[str, Any], replicate: Result) -> list[dict[str, Any]]:
    """Which lags to check: ``max_lag`` and ``warn_lag``, and the sources and ids of the relationships they are for."""
    found: dict[tuple[Any, Any], dict[str, Any]] = {}
    for target, items in zip(job["targets"], replicas(job, replicate)):
        key = (target["max_lag"], target["warn_lag"])
        if not any(key) or not items:
            continue
        group = found.setdefault(key, {"max_lag": key[0], "warn_lag": key[1], "name": [], "ids": []})
        group["name"] += [each["source_dataset"] for each in items if each["source_dataset"] not in group["name"]]
        group["ids"] += [each["id"] for each in items if each.get("id")]
    return list(found.values())


# -- rows ------------------------------------------------------------------------------------------------------------


def rows(
    job: Mapping[str, Any], results: Mapping[str, Result], check: bool,
    refused: Mapping[str, str] = types.MappingProxyType({}),
) -> list[dict[str, Any]]:  # fmt: skip
    """A row for the source and one for each target.

    ``results``: by step, ``snapshot``, ``replicate``, ``prune``, and the loops ``prune_on_targets`` and ``lag``.
    ``refused``: why targets got no access for this run, by `loans.name_of`.
    """
    replicate = results.get("replicate") or {}
    pruned = {each["item"]["target"]: each for each in _items(results.get("prune_on_targets"))}
    lags = {one["id"]: one for each in _items(results.get("lag")) for one in each.get("replications") or []
            if one["id"] in each["item"]["ids"] and one.get("role") == "source"}  # fmt: skip
    unread = [_why(each) for each in _items(results.get("lag")) if _is_failed(each)]
    table = [_source_row(job, results, unread)]
    for place, items in enumerate(replicas(job, replicate)):
        row = _row(job, job["targets"][place]["name"])
        why = refused.get(name_of(job, place))
        if why is None:
            _add_sent(row, items, replicate, check)
        else:
            row["problems"].append(why)
        _add_pruned(row, job["targets"][place], pruned.get(place), check and any(not each["failed"] for each in items))
        _add_lag(row, [lags[each["id"]] for each in items if each.get("id") in lags], check)
        table.append(row)
    for row in table:
        row["failed"] = bool(row["problems"])
    return table


def _row(job: Mapping[str, Any], target: str | None) -> dict[str, Any]:
    numbers = dict.fromkeys(("created", "datasets", "sent", "bytes_sent", "pruned", "lag_seconds"))
    return {
        "job": job["name"],
        "target": target,
        **numbers,
        "failed": False,
        "problems": [],
        "warnings": [],
        "notes": [],
    }


def _source_row(job: Mapping[str, Any], results: Mapping[str, Result], unread: list[str]) -> dict[str, Any]:
    row = _row(job, None)
    snapshot, prune = results.get("snapshot") or {}, results.get("prune") or {}
    actions = [text for text in snapshot.get("actions") or [] if str(text).startswith("create ")]
    row["created"] = len(actions) if _ran(snapshot) else None
    row["pruned"] = _pruned(prune)
    row["problems"] = [_why(each) for each in (snapshot, prune) if _is_failed(each)] + unread
    row["warnings"] = shortened(_waiting(prune), _SHOWN)
    return row


def _waiting(prune: Result) -> list[str]:
    """What nothing but replicas keeps. It grows for ever if a target was taken out of the job, or is paused."""
    kept = prune.get("kept") or []
    unsent = [each for each in kept if all(text.startswith(NOT_SENT) for text in each["reasons"])]
    counts = Counter(reason for each in unsent for reason in each["reasons"])
    return [f"{count} of the snapshots that the rules would prune: {reason}" for reason, count in counts.items()]


def _add_sent(row: dict[str, Any], items: Sequence[Result], replicate: Result, check: bool) -> None:
    if not _ran(replicate):
        return
    failed = [each for each in items if each.get("failed")]
    row["datasets"] = len(items)
    row["sent"] = sum(bool(each.get("steps")) for each in items if not each.get("failed"))
    row["bytes_sent"] = None if check else sum(each.get("bytes_sent") or 0 for each in items)
    row["problems"] += shortened([f"{each['source']}: {each['msg']}" for each in failed], _SHOWN)
    if not items and _is_failed(replicate):
        row["problems"].append(_why(replicate))


def _add_pruned(row: dict[str, Any], target: Mapping[str, Any], result: Result | None, new: bool) -> None:
    """``new``: replicas would be created there, unless there is a result."""
    if not target["prune"]:
        return
    if target["inventory_host"] is None:
        row["notes"].append("not pruned by this job, since its host is not in the inventory")
    elif result is not None and _ran(result):
        row["pruned"] = _pruned(result)
        row["problems"] += [_why(result)] if _is_failed(result) else []
    elif new:
        row["notes"].append("not pruned in this check, since there is no replica yet")


def _pruned(result: Result) -> int | None:
    return len(result["pruned"]) if _ran(result) and "pruned" in result else None


def _add_lag(row: dict[str, Any], items: Sequence[Result], check: bool) -> None:
    """In check mode what is late now is only told, since the run might catch up."""
    known = [each["lag_seconds"] for each in items if each.get("lag_seconds") is not None]
    row["lag_seconds"] = max(known, default=None)
    for each in items:
        late = [f"{each['source']}: {text}" for text in each.get("problems") or []]
        row["warnings" if check or each.get("severity") != "critical" else "problems"] += late


def _items(loop: Result | None) -> list[Result]:
    return [each for each in (loop or {}).get("results") or [] if not each.get("skipped")]


def _ran(result: Result) -> bool:
    return bool(result) and not result.get("skipped")


def _is_failed(result: Result) -> bool:
    return bool(result.get("failed") or result.get("unreachable"))


def _why(result: Result) -> str:
    return str(result.get("msg") or "failed without a message").strip()


# -- the table -------------------------------------------------------------------------------------------------------


def table(rows_: Sequence[Mapping[str, Any]], host: str, check: bool) -> list[str]:
    """The rows as lines of text, with what there is to say about them below."""
    if not rows_:
        return [f"There are no jobs for {host}."]
    cells = [_HEADS, *(_cells(row, host) for row in rows_)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in cells]
    told = [text for row in rows_ for text in told_of(row, host)]
    return [*(["Nothing was changed; this is what a run would do now:"] if check else []), *lines, *told]


def told_of(row: Mapping[str, Any], host: str) -> list[str]:
    """``nightly, backend-b:backup: why`` for all that there is to say about a row."""
    texts = [*row["problems"], *row["warnings"], *row["notes"]]
    return [f"{row['job']}, {row['target'] or host}: {text}" for text in texts]


def failures(rows_: Iterable[Mapping[str, Any]], host: str) -> str:
    """What failed, as one sentence; empty if nothing did."""
    return "; ".join(f"{row['job']}, {row['target'] or host}: {text}" for row in rows_ for text in row["problems"])


def _cells(row: Mapping[str, Any], host: str) -> tuple[str, ...]:
    sent = "-" if row["sent"] is None else f"{row['sent']} of {row['datasets']}"
    result = "FAILED" if row["failed"] else "warning" if row["warnings"] else "ok"
    return (
        row["job"],
        row["target"] or host,
        _number(row["created"]),
        sent,
        "-" if row["bytes_sent"] is None else _bytes(row["bytes_sent"]),
        _number(row["pruned"]),
        "-" if row["lag_seconds"] is None else _duration(row["lag_seconds"]),
        result,
    )


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def _bytes(count: float) -> str:
    """
    >>> _bytes(1023), _bytes(1536)
    ('1023 B', '1.5 KiB')
    """
    unit = 0
    while count >= 1024 and unit < len(_UNITS) - 1:
        count, unit = count / 1024, unit + 1
    return f"{count:.0f} {_UNITS[unit]}" if unit == 0 or count >= 100 else f"{count:.1f} {_UNITS[unit]}"


def _duration(seconds: int) -> str:
    """The two largest units.

    >>> _duration(0), _duration(3661), _duration(90061)
    ('0s', '1h1m', '1d1h')
    """
    parts: list[str] = []
    for unit, size in _TIMES:
        if seconds >= size or (unit == "s" and not parts):
            parts.append(f"{seconds // size}{unit}")
            seconds %= size
        elif parts:
            break
    return "".join(parts[:2])
