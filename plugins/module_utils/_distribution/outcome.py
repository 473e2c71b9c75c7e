# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What came of a distribution on one host, from the results of its tasks. A task that was skipped has no such keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Result = Mapping[str, Any]


def removed(result: Result | None) -> list[str]:
    """The clones that a zfs_clone task with unused_only removed, or would remove."""
    return [clone["name"] for clone in _clones(result) if not clone.get("kept") and not clone.get("failed")]


def _clones(result: Result | None) -> Sequence[Mapping[str, Any]]:
    return (result or {}).get("clones") or ()


def creating(plan: Mapping[str, Any], replace: Result | None, check: bool) -> list[str]:
    """The clones for the task that creates them. In check mode those that give way are still there."""
    return [*plan["create"], *([] if check else removed(replace))]


def outcome(replica: Result, plan: Mapping[str, Any], results: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """The role's result.

    ``replica``: the item of zfs_snapshot_replicate. ``results``: of the tasks ``replace``, ``create``, ``prune`` and
    ``remove``. In check mode, what would be done.
    """
    replaced, gone = removed(results.get("replace")), removed(results.get("remove"))
    pruned = results.get("prune") or {}
    names = [name.partition("@")[2] for key in ("pruned", "pending") for name in pruned.get(key) or ()]
    going = list(dict.fromkeys([*names, *plan["pending"]]))
    pending = [name for name in going if not {*replaced, *gone}.issuperset(plan["pins"].get(name) or ())]
    clones = [*plan["create"], *replaced]
    created = clones if check or (results.get("create") or {}).get("changed") else []
    return {
        "snapshot": f"{replica['target_dataset']}@{replica['snapshot']}",
        "sent": _sent(replica),
        "bytes_sent": replica["bytes_sent"],
        "clones": clones,
        "created": [name for name in created if name not in plan["there"]],
        "removed": [*replaced, *gone],
        "kept": [*plan["stay"], *_kept(results.get("replace")), *_kept(results.get("remove"))],
        "deleted": [name for name in going if name not in pending],
        "pending": pending,
    }


def _sent(replica: Result) -> str | None:
    """How the snapshot is sent; None if the host has it."""
    if not replica["steps"]:
        return None
    return "full" if replica["steps"][0]["kind"] == "full" else "increment"


def _kept(result: Result | None) -> list[dict[str, str]]:
    return [{"name": clone["name"], "reason": clone["kept"]} for clone in _clones(result) if clone.get("kept")]


def lines(result: Mapping[str, Any], check: bool) -> list[str]:
    """The result for people to read."""
    would = "would be " if check else ""
    how = {"full": f"{would}sent in full", "increment": f"{would}sent as an increment", None: "nothing to send"}
    size = f", {result['bytes_sent']} bytes" if result["sent"] and not check else ""
    return [
        f"{result['snapshot']}: {how[result['sent']]}{size}",
        *(f"{name}: {would}removed" for name in result["removed"]),
        *(
            f"{name}: {would}created" if name in result["created"] else f"{name}: unchanged"
            for name in result["clones"]
        ),
        *(f"kept: {kept['reason']}" for kept in result["kept"]),
        *(f"@{name}: {would}deleted" for name in result["deleted"]),
        *(f"@{name}: pending deletion" for name in result["pending"]),
    ]
