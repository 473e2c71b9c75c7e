#!/usr/bin/python
# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_snapshot_prune
short_description: Delete old ZFS snapshots by retention rules
version_added: 0.1.0
author:
  - cerss.zfs contributors (@cerss)
description:
  - Deletes the matching snapshots that no rule keeps. Each rule in O(keep), O(within) and O(older_than) is applied on
    its own, and a snapshot is kept if any rule keeps it.
  - Never deletes a snapshot that has a hold, that a running transfer or the next increment needs, or that is the newest
    one of a replica.
  - Keeps what a replication would still send, unless you say otherwise with O(unreplicated), O(unreplicated_limit) or
    O(min_free). What is given up is in RV(given_up) and a warning.
  - Deletes snapshots that have expired before any others and whatever the rules say. The rules do not count them. Keeps
    temporary snapshots until they expire, and does not count them either.
  - On a replica only the rules count. Whether a snapshot is marked as temporary there makes no difference, and neither
    does its lifetime, because the host that sends can write the marks of its replica.
  - Defers the deletion of a snapshot with clones (state V(pending_delete)). ZFS destroys it with its last clone.
options:
  name:
    description:
      - The datasets, as V(pool/dataset). The rules are applied to each of them separately.
      - Needed unless O(select) is given. An empty list means that there is nothing to do.
    type: list
    elements: str
  match:
    description:
      - Patterns for the part after the C(@). Snapshots that match none of them are neither deleted nor counted.
      - Patterns are globs, or regular expressions that begin with V(re:), which must match the whole part.
      - Needed unless O(expired_only=true), which means all snapshots then.
    type: list
    elements: str
  keep:
    description:
      - How many to keep of each kind.
      - Periods are calendar periods in the time zone of the host. When daylight saving time ends, the repeated hour
        counts as two hours. Weeks begin on Monday (ISO 8601). Periods without a snapshot do not count.
    type: dict
    suboptions:
      last:
        description: The newest snapshots, whenever they were created.
        type: int
      hourly:
        description: The newest snapshot of each hour, for this number of hours.
        type: int
      daily:
        description: The newest snapshot of each day, for this number of days.
        type: int
      weekly:
        description: The newest snapshot of each week, for this number of weeks.
        type: int
      monthly:
        description: The newest snapshot of each month, for this number of months.
        type: int
      yearly:
        description: The newest snapshot of each year, for this number of years.
        type: int
  within:
    description:
      - For how long to keep the newest snapshot of each period, such as V(30d). Unlike the numbers in O(keep), this
        does not reach further back if there are periods without a snapshot.
    type: dict
    suboptions:
      hourly:
        description: The newest snapshot of each hour, for so long.
        type: str
      daily:
        description: The newest snapshot of each day, for so long.
        type: str
      weekly:
        description: The newest snapshot of each week, for so long.
        type: str
      monthly:
        description: The newest snapshot of each month, for so long.
        type: str
      yearly:
        description: The newest snapshot of each year, for so long.
        type: str
  older_than:
    description: Keep every snapshot that is younger than this, such as V(12h), V(30d) or V(8w).
    type: str
  expired_only:
    description:
      - Only delete what has expired. Cannot be combined with rules.
      - Without rules and without this option the module fails, since nothing would be kept.
    type: bool
    default: false
  on_replica:
    description:
      - V(skip) leaves out datasets that are replicas, such as those from other hosts below a dataset in O(name).
    type: str
    choices: [prune, skip]
    default: prune
  unreplicated:
    description:
      - V(keep) keeps the snapshots that are newer than the last one which a replica of the dataset is known to have,
        and that pass the filters recorded with the relationship (see O(cerss.zfs.zfs_snapshot_replicate#module:job)).
        All that pass are kept if nothing has arrived there yet. A relationship that is paused counts too.
      - If a record cannot be read, all snapshots of its dataset are kept.
      - V(ignore) applies the rules as if nothing had to be sent.
    type: str
    choices: [keep, ignore]
    default: keep
  unreplicated_limit:
    description:
      - Do not keep what a replication would still send if it is older than this, such as V(30d). This bounds what a
        target that does not come back can cost.
    type: str
  min_free:
    description:
      - How much of the pool must be free, as a size such as V(50G) or as a share such as V(10%). If there is less, the
        oldest of the snapshots are given up that are kept only because they have not been sent, as few as make up for
        it by ZFS's own estimate.
    type: str
  upcoming:
    description:
      - Full names of snapshots that earlier tasks of the run create or send here. In check mode, in which they do not
        exist, they count as if they had been created now, so that the module reports what a run would prune.
      - Otherwise it has no effect.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - cerss.zfs.attributes
  - cerss.zfs.attributes.changes
  - cerss.zfs.trees
seealso:
  - module: cerss.zfs.zfs_snapshot
  - module: cerss.zfs.zfs_snapshot_info
  - module: cerss.zfs.zfs_snapshot_replicate
"""

EXAMPLES = r"""
- name: Keep the last seven daily snapshots and the newest three
  cerss.zfs.zfs_snapshot_prune:
    name: [tank/db]
    match: ['daily-*']
    keep:
      last: 3
      daily: 7

- name: Prune everything below tank, more thinly with age
  cerss.zfs.zfs_snapshot_prune:
    name: [tank]
    recursive: true
    match: ['auto-*']
    keep:
      hourly: 24
      daily: 14
      weekly: 8
      monthly: 12
      yearly: 5

- name: Keep everything of the last two days, and less of the last year
  cerss.zfs.zfs_snapshot_prune:
    name: [tank/db]
    match: ['auto-*']
    older_than: 2d
    within:
      daily: 30d
      monthly: 365d

- name: Keep only the newest snapshot of a deployment
  cerss.zfs.zfs_snapshot_prune:
    name: [tank/www]
    match: ['before-deploy-*']
    keep:
      last: 1

- name: Find out what would be pruned
  cerss.zfs.zfs_snapshot_prune:
    name: [tank/db]
    match: ['*']
    keep:
      daily: 30
  check_mode: true
  register: foreseen

- name: Show why the others are kept
  ansible.builtin.debug:
    msg: "{{ item.name }}: {{ item.reasons | join('; ') }}"
  loop: "{{ foreseen.kept }}"

- name: Keep snapshots longer on the replicas
  cerss.zfs.zfs_snapshot_prune:
    name: [backup/tank/db, backup/tank/www]
    match: ['daily-*', 'auto-*']
    keep:
      daily: 90
      yearly: 10

- name: Prune every dataset that asks for it, and wait for a replica that is away as long as there is room
  cerss.zfs.zfs_snapshot_prune:
    select:
      property: org.example:backup
      value: nightly
    exclude: [tank/home/scratch]
    match: ['nightly-*']
    keep:
      daily: 7
    unreplicated_limit: 60d
    min_free: 10%

- name: Delete only what has expired
  cerss.zfs.zfs_snapshot_prune:
    name: [tank]
    recursive: true
    expired_only: true
"""

RETURN = r"""
kept:
  description: The matching snapshots that are kept, dataset by dataset, oldest first.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The snapshot.
      type: str
      sample: tank/db@daily-2026-11-22
    reasons:
      description: The rules that keep it, each with the rank or period, and what else needs it, such as a hold or a
        relationship.
      type: list
      elements: str
      sample: [last 2, daily 2026-11-22, not yet sent to backend-b:backup/db (relationship 3f1c9a0b7d5e2468)]
pruned:
  description: The snapshots that were destroyed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [tank/db@daily-2026-11-12]
pending:
  description: The matching snapshots that are pending deletion.
  returned: success
  type: list
  elements: str
  sample: []
given_up:
  description: What was pruned although a replica does not have it. Such a replica never gets it.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The snapshot.
      type: str
      sample: tank/db@daily-2026-11-12
    relationship:
      description: The id of the relationship. V(null) if its record cannot be read.
      type: str
      sample: 3f1c9a0b7d5e2468
    target:
      description: The replica, as seen from the source. V(null) if its record cannot be read.
      type: str
      sample: backend-b:backup/db
actions:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: [destroy snapshot tank/db@daily-2026-11-12]
"""

from ansible_collections.cerss.zfs.plugins.module_utils._core.periods import PERIODS
from ansible_collections.cerss.zfs.plugins.module_utils._host import selection
from ansible_collections.cerss.zfs.plugins.module_utils._module import run_module
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot import prune
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.retention import RULES


def main() -> None:
    run_module(
        prune.main,
        argument_spec={
            "name": {"type": "list", "elements": "str"},
            **selection.OPTIONS,
            "match": {"type": "list", "elements": "str"},
            "keep": {"type": "dict", "options": {rule: {"type": "int"} for rule in RULES}},
            "within": {"type": "dict", "options": {period: {"type": "str"} for period in PERIODS}},
            "older_than": {"type": "str"},
            "expired_only": {"type": "bool", "default": False},
            "on_replica": {"type": "str", "choices": ["prune", "skip"], "default": "prune"},
            "unreplicated": {"type": "str", "choices": ["keep", "ignore"], "default": "keep"},
            "unreplicated_limit": {"type": "str"},
            "min_free": {"type": "str"},
            "upcoming": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
