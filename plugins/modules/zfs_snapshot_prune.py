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
  - Keeps the newest matching snapshots, and the newest one of each of the last hours, days, weeks, months and years,
    and deletes the others. Each rule is applied on its own, and a snapshot is kept if any rule keeps it. Periods
    without a snapshot do not count.
  - Never deletes a snapshot that has a hold or that a replication needs.
  - Keeps temporary snapshots until they expire. Expired ones are deleted before any others. The rules do not count
    temporary snapshots.
  - On a replica only the rules count. Whether a snapshot is marked as temporary there makes no difference, because the
    host that sends can write the marks of its replica.
  - Defers the deletion of a snapshot with clones (state V(pending_delete)). ZFS destroys it with its last clone.
options:
  name:
    description: The datasets, as V(pool/dataset). The rules are applied to each of them separately.
    type: list
    elements: str
    required: true
  recursive:
    description: Also prune all datasets below.
    type: bool
    default: false
  match:
    description:
      - Globs for the part after the C(@). Snapshots that match none of them are neither deleted nor counted.
    type: list
    elements: str
    required: true
  keep:
    description:
      - How many to keep of each kind. At least one number must be positive.
      - Periods are calendar periods in the time zone of the host. When daylight saving time ends, the repeated hour
        counts as two hours. Weeks begin on Monday (ISO 8601).
    type: dict
    required: true
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
extends_documentation_fragment:
  - cerss.zfs.attributes
  - cerss.zfs.attributes.changes
seealso:
  - module: cerss.zfs.zfs_snapshot
  - module: cerss.zfs.zfs_snapshot_info
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
    msg: "{{ item.name }}: {{ item.reason }}"
  loop: "{{ foreseen.kept }}"

- name: Keep snapshots longer on the replicas
  cerss.zfs.zfs_snapshot_prune:
    name: [backup/tank/db, backup/tank/www]
    match: ['daily-*', 'auto-*']
    keep:
      daily: 90
      yearly: 10

- name: Prune only expired temporary snapshots
  cerss.zfs.zfs_snapshot_prune:
    name: [tank]
    recursive: true
    match: ['tmp-*']
    keep:
      last: 1000000
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
    reason:
      description: The rules that keep it, each with the rank or period, and what else needs it.
      type: str
      sample: last 2; daily 2026-11-22; weekly 2026-W47
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
actions:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: [destroy snapshot tank/db@daily-2026-11-12]
"""

from ansible_collections.cerss.zfs.plugins.module_utils._module import run_module
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot import prune
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.retention import RULES


def main() -> None:
    run_module(
        prune.main,
        argument_spec={
            "name": {"type": "list", "elements": "str", "required": True},
            "recursive": {"type": "bool", "default": False},
            "match": {"type": "list", "elements": "str", "required": True},
            "keep": {"type": "dict", "required": True, "options": {rule: {"type": "int"} for rule in RULES}},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
