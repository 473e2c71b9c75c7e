# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A job on one host: what each module gets, with everything that the declaration leaves out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.endpoint import LOCAL, place
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import listing
from ansible_collections.cerss.zfs.plugins.module_utils._core.template import Template
from ansible_collections.cerss.zfs.plugins.module_utils._jobs import conflicts, declaration
from ansible_collections.cerss.zfs.plugins.module_utils._jobs.declaration import KEEPING, LOGIN, RUNNING, SENDING

_LOOPBACK = re.compile(r"(127\.[0-9.]+|::1|localhost)\Z", re.IGNORECASE)


@dataclass(frozen=True)
class Where:
    """The host that a job runs on, ``hosts`` of the inventory, and the address of some of them as that host sees it."""

    host: str
    hosts: Sequence[str] = ()
    addresses: Mapping[str, str] = field(default_factory=dict)


def plan(lists: Mapping[str, Any], where: Where, only: Any = None) -> dict[str, Any]:
    """``jobs``: those to run, completed. ``problems``: what is wrong with any job. ``unknown``: hosts without address.

    ``lists``: as for `declaration.merged`. ``only``: names of the jobs to run, all if blank.
    """
    problems: list[str] = []
    checked = [declaration.checked(job, problems) for job in declaration.merged(lists, problems)]
    chosen = _chosen(checked, declaration.names_in(only), problems)
    enabled = [_completed(job, where) for job in checked if job.get("enabled", True)] if not problems else []
    problems += conflicts.found(enabled)
    jobs = [job for job in enabled if job["name"] in chosen] if not problems else []
    hosts = [target["inventory_host"] for job in jobs for target in job["targets"] if target["needs_address"]]
    return {"jobs": jobs, "problems": problems, "unknown": list(dict.fromkeys(hosts))}


def _chosen(jobs: list[dict[str, Any]], only: Sequence[str], problems: list[str]) -> list[str]:
    """The names of the jobs to run, as far as they are enabled."""
    names = [job["name"] for job in jobs]
    missing = sorted(set(only) - set(names))
    if missing:
        there = f"the jobs here are {', '.join(names)}" if names else "there are no jobs here"
        problems.append(f"zfs_jobs_only: there is no job {listing(missing)}; {there}")
    return [name for name in names if not only or name in only]


def _completed(job: Mapping[str, Any], where: Where) -> dict[str, Any]:
    match = _match(job)
    rules = {rule: job[f"{rule}_on_targets"] for rule in KEEPING if f"{rule}_on_targets" in job}
    sending = {"include_snapshots": match, **(job.get("replicate") or {})}
    return {
        "name": job["name"],
        "datasets": job.get("datasets", []),
        "select": job.get("select", {}),
        "recursive": job.get("recursive", False),
        "exclude": job.get("exclude", []),
        "snapshot": job.get("snapshot", {}),
        "match": match,
        "login": job.get("login", {}),
        "replicate": {key: value for key, value in sending.items() if key in SENDING or key in RUNNING},
        "targets": [{**_target(target, rules, where), **_lags(target, job)} for target in job.get("targets", [])],
        "prune": {rule: job[rule] for rule in KEEPING if rule in job} or _ends(job),
        "sparing": {key: job[key] for key in ("unreplicated", "unreplicated_limit", "min_free") if key in job},
    }


def _ends(job: Mapping[str, Any]) -> dict[str, Any]:
    """The rules for the source of a job without any: what has a lifetime must end."""
    return {"expired_only": True} if (job.get("snapshot") or {}).get("expires") else {}


def _match(job: Mapping[str, Any]) -> list[str]:
    """Patterns of the snapshots that the job is about: those that its template makes, and ``match``.

    A glob, since a relationship records no regular expressions and then counts every snapshot as one to be sent.
    """
    made = [Template.parse(job["snapshot"]["name"], "snapshot.name").glob()] if job.get("snapshot") else []
    return [*made, *job.get("match", [])]


def _target(target: Mapping[str, Any], rules: Mapping[str, Any], where: Where) -> dict[str, Any]:
    """``options``: for zfs_snapshot_replicate. ``prune``: rules, empty if nothing is pruned there.

    ``inventory_host``: where Ansible prunes; None for a host that it does not know.
    """
    host = LOCAL if target["host"] == where.host else target["host"]
    known = where.host if host == LOCAL else host if host in where.hosts else None
    root = target.get("dataset") or target.get("parent")
    options = {key: target[key] for key in ("dataset", "parent", "strip", "include", *LOGIN, *SENDING) if key in target}
    options["host"] = host if host == LOCAL else target.get("address") or where.addresses.get(host, host)
    own = {rule: target[rule] for rule in KEEPING if rule in target}
    return {
        "name": str(root) if host == LOCAL else place(host, root),
        "inventory_host": known,
        "needs_address": known is not None
        and host != LOCAL
        and "address" not in target
        and host not in where.addresses,
        "options": options,
        "prune": (own or dict(rules)) if target.get("prune", True) else {},
    }


def _lags(target: Mapping[str, Any], job: Mapping[str, Any]) -> dict[str, Any]:
    """A target that gets only one snapshot of each period is behind by that much: the job's limits are not for it."""
    above = {} if target.get("include") else job
    return {limit: target.get(limit, above.get(limit)) for limit in ("max_lag", "warn_lag")}


def addresses(answers: Iterable[Mapping[str, Any]], ansible_hosts: Iterable[str]) -> dict[str, str]:
    """The addresses of hosts of the inventory, as the host sees them on which ``ssh -G`` has answered.

    ``answers``: for each host its name as ``item`` and, if ssh could be asked, ``stdout``.

    >>> addresses([{"item": "b", "stdout": "hostname b\\n"}], ["192.0.2.2"])
    {'b': '192.0.2.2'}
    """
    found = {}
    for answer, address in zip(answers, ansible_hosts):
        name = str(answer["item"])
        told = re.search(r"^hostname (.+)$", str(answer.get("stdout") or ""), re.MULTILINE)
        configured = told and told[1].lower() != name.lower()
        of_the_controller = _LOOPBACK.match(str(address))  # as of a machine behind a forwarded port
        found[name] = name if configured or of_the_controller else str(address or name)
    return found
