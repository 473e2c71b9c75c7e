# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs as they are declared: several lists merged into one, and all that is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._jobs import shapes
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.retention import RULES

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")  # it becomes part of marks in ZFS and of names of timers
_PERIODS = RULES[1:]  # without "last"

_counts = shapes.dictionary(dict.fromkeys(RULES, shapes.number))
_ages = shapes.dictionary(dict.fromkeys(_PERIODS, shapes.duration))
_command = {
    "argv": shapes.texts,
    "timeout": shapes.duration,
    "environment": shapes.dictionary(),
}


def _keep(value: Any, where: str, problems: list[str]) -> dict[str, Any]:
    """A ``keep`` that keeps nothing can only be a mistake."""
    known = len(problems)
    found: dict[str, Any] = _counts(value, where, problems)
    if len(problems) == known and not any(found.values()):
        problems.append(f"{where} keeps nothing; give at least one of {', '.join(RULES)} a positive number")
    return found


LOGIN: Mapping[str, shapes.Check] = {
    "user": shapes.text,
    "port": shapes.number,
    "become": shapes.boolean,
    "become_program": shapes.text,
    "identity_file": shapes.text,
    "known_hosts_file": shapes.text,
    "ssh_options": shapes.texts,
}
# What can be said for a whole job and for each of its targets
SENDING: Mapping[str, shapes.Check] = {
    "include_snapshots": shapes.patterns,
    "exclude_snapshots": shapes.patterns,
    "intermediates": shapes.boolean,
    "raw": shapes.one_of("auto", "always", "never"),
    "properties": shapes.dictionary(),
    "on_divergence": shapes.one_of("fail", "rollback", "reseed"),
}
RUNNING: Mapping[str, shapes.Check] = {
    "reseed_keep": shapes.boolean,
    "on_active": shapes.one_of("attach", "wait", "fail"),
    "parallel": shapes.number,
    "bandwidth_limit": shapes.size,
    "compression": shapes.one_of("none", "zstd", "lz4"),
    "stream": shapes.dictionary({"compressed": shapes.scalar, "large_blocks": shapes.scalar}),
    "resume": shapes.boolean,
    "retries": shapes.number,
    "stall_timeout": shapes.duration,
    "timeout": shapes.duration,
    "progress_interval": shapes.duration,
}
KEEPING: Mapping[str, shapes.Check] = {"keep": _keep, "within": _ages, "older_than": shapes.duration}
TARGET: Mapping[str, shapes.Check] = {
    "host": shapes.text,
    "address": shapes.text,
    "dataset": shapes.dataset,
    "parent": shapes.dataset,
    "strip": shapes.number,
    **LOGIN,
    **SENDING,
    "prune": shapes.boolean,
    "include": shapes.dictionary(dict.fromkeys(_PERIODS, shapes.one)),
    "max_lag": shapes.duration,
    "warn_lag": shapes.duration,
    **KEEPING,
}
SNAPSHOT: Mapping[str, shapes.Check] = {
    "name": shapes.template,
    "utc": shapes.boolean,
    "min_age": shapes.duration,
    "expires": shapes.duration,
    "properties": shapes.dictionary(),
    "holds": shapes.texts,
    "before": shapes.dictionaries(_command, ("argv",)),
    "after": shapes.dictionaries(_command, ("argv",)),
}
JOB: Mapping[str, shapes.Check] = {
    "name": shapes.text,
    "enabled": shapes.boolean,
    "datasets": shapes.datasets,
    "select": shapes.dictionary({"property": shapes.text, "value": shapes.scalar}, ("property", "value")),
    "recursive": shapes.boolean,
    "exclude": shapes.patterns,
    "snapshot": shapes.dictionary(SNAPSHOT, ("name",)),
    "match": shapes.patterns,
    "targets": shapes.dictionaries(TARGET, ("host",)),
    "login": shapes.dictionary(LOGIN),
    "replicate": shapes.dictionary({**SENDING, **RUNNING}),
    **KEEPING,
    **{f"{rule}_on_targets": check for rule, check in KEEPING.items()},
    "unreplicated": shapes.one_of("keep", "ignore"),
    "unreplicated_limit": shapes.duration,
    "min_free": shapes.text,
    "max_lag": shapes.duration,
    "warn_lag": shapes.duration,
}


def merged(lists: Mapping[str, Any], problems: list[str]) -> list[dict[str, Any]]:
    """The jobs of all lists by name, in the order in which the names first appear. What is wrong goes to ``problems``.

    A later job of the same name overrides the keys that it gives, each as a whole; null takes one away. ``lists``: the
    name of each list, for messages, and its value.

    >>> merged({"zfs_jobs": [{"name": "a", "keep": {"last": 1}}], "zfs_jobs_host": [{"name": "a", "keep": None}]}, [])
    [{'name': 'a', 'keep': None}]
    """
    found: dict[str, dict[str, Any]] = {}
    for where, value in lists.items():
        names = []
        for job in _jobs_in(value, where, problems):
            name = str(job["name"])
            if name in names:
                problems.append(f"{where} has two jobs named {name}; give each its own name")
            names.append(name)
            found[name] = {**found.get(name, {}), **job, "name": name}
    return list(found.values())


def _jobs_in(value: Any, where: str, problems: list[str]) -> list[Mapping[str, Any]]:
    if shapes.is_blank(value):
        return []
    if not isinstance(value, (list, tuple)):
        problems.append(f"{where} is not a list; give a list of jobs, each a dictionary with a name")
        return []
    jobs = []
    for place, job in enumerate(value):
        if isinstance(job, Mapping) and _NAME.match(str(job.get("name") or "")):
            jobs.append(job)
        elif isinstance(job, Mapping):
            problems.append(
                f"{where}[{place}]: name is {job.get('name')!r}; give up to 64 letters, digits and . _ -, beginning "
                "with a letter or digit"
            )
        else:
            problems.append(f"{where}[{place}] is not a dictionary; give each job as a dictionary with a name")
    return jobs


def checked(job: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """The keys of a merged job that are given, each as the modules take it."""
    where = f"job {job['name']}"
    found = shapes.fields(job, where, JOB, problems)
    if not found.get("enabled", True):
        return found
    if not (found.get("datasets") or found.get("select")):
        problems.append(f"{where} has no datasets; give datasets, or select with a user property and its value")
    if not any(found.get(key) for key in ("snapshot", "targets", *KEEPING)):
        problems.append(f"{where} has nothing to do; give at least one of snapshot, targets and keep")
    if not (found.get("snapshot") or found.get("match")):
        rules = [key for key in found if key in {*KEEPING, *(f"{rule}_on_targets" for rule in KEEPING)}]
        rules += [f"targets[{number}].{key}" for number, target in enumerate(found.get("targets") or [])
                  for key in target if key in KEEPING]  # fmt: skip
        problems.extend(
            f"{where}: {key} needs to know which snapshots it is about; give match, or snapshot with a name"
            for key in rules
        )
    if not found.get("targets"):
        useless = [key for key in found if key in ("replicate", "login", "max_lag", "warn_lag") or "_on_targets" in key]
        problems.extend(f"{where}: {key} is about targets, but there are none; give targets" for key in useless)
    _check_targets(found, where, problems)
    return found


def _check_targets(job: Mapping[str, Any], where: str, problems: list[str]) -> None:
    places = []
    for number, target in enumerate(job.get("targets") or []):
        here = f"{where}: targets[{number}]"
        if ("dataset" in target) == ("parent" in target):
            problems.append(
                f"{here} needs exactly one of dataset (the one replica) and parent (for any number of them)"
            )
        elif "dataset" in target and (len(job.get("datasets") or []) != 1 or "select" in job):
            problems.append(f"{here}.dataset is the replica of one dataset, but the job is about several; give parent")
        host = str(target.get("host", ""))
        if host.startswith("-") or any(char.isspace() for char in host):
            problems.append(f"{here}.host is {host!r}; give a host of the inventory, an address, or local")
        places.append((host, target.get("dataset"), target.get("parent"), target.get("strip")))
    if len(set(places)) < len(places):
        problems.append(f"{where}: targets lists a target more than once; name each one once")


def names_in(value: Any) -> Sequence[str]:
    """The names in the option ``only``."""
    return [str(item) for item in shapes.items(value)] if not shapes.is_blank(value) else []
