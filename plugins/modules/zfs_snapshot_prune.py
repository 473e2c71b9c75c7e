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
  - Of the snapshots that match, keeps the newest ones, and the newest one of so many hours, days, weeks, months and
    years, and deletes the others. Each rule counts for itself; what one of them keeps stays. Periods without a
    snapshot do not count.
  - What others hold and what a replication needs is never deleted.
  - Temporary snapshots are kept until they expire, go first then, and take nobody's place in the rules.
  - A snapshot with clones is marked for deletion (state V(pending_delete)) and goes with its last clone.
options:
  name:
    description: The volumes, as V(pool/dataset). Each is judged for itself.
    type: list
    elements: str
    required: true
  recursive:
    description: Also everything below them.
    type: bool
    default: false
  match:
    description:
      - Globs for the part after the C(@). Snapshots that match none of them are left alone and do not count.
    type: list
    elements: str
    required: true
  keep:
    description:
      - How many to keep of each kind. At least one number must be positive.
      - Periods are those of the calendar in the time zone of the host. A day is one day also when summer time begins or
        ends, and the hour that then comes twice counts twice. Weeks are those of ISO 8601, from Monday on.
    type: dict
    required: true
    suboptions:
      last:
        description: The newest snapshots, whenever they were made.
        type: int
      hourly:
        description: The newest snapshot of each hour, for so many hours.
        type: int
      daily:
        description: The newest snapshot of each day, for so many days.
        type: int
      weekly:
        description: The newest snapshot of each week, for so many weeks.
        type: int
      monthly:
        description: The newest snapshot of each month, for so many months.
        type: int
      yearly:
        description: The newest snapshot of each year, for so many years.
        type: int
extends_documentation_fragment:
  - cerss.zfs.attributes
  - cerss.zfs.attributes.changes
seealso:
  - module: cerss.zfs.zfs_snapshot
  - module: cerss.zfs.zfs_snapshot_info
"""

EXAMPLES = r"""
- name: A week of dailies and the newest three
  cerss.zfs.zfs_snapshot_prune:
    name: [tank/db]
    match: ['daily-*']
    keep:
      last: 3
      daily: 7

- name: Everything below tank, long and thin
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

- name: Keep only the newest of what a deployment leaves behind
  cerss.zfs.zfs_snapshot_prune:
    name: [tank/www]
    match: ['before-deploy-*']
    keep:
      last: 1

- name: See what would go
  cerss.zfs.zfs_snapshot_prune:
    name: [tank/db]
    match: ['*']
    keep:
      daily: 30
  check_mode: true
  register: foreseen

- name: Say why the others stay
  ansible.builtin.debug:
    msg: "{{ item.name }}: {{ item.reason }}"
  loop: "{{ foreseen.kept }}"

- name: Replicas keep longer than their source
  cerss.zfs.zfs_snapshot_prune:
    name: [backup/tank/db, backup/tank/www]
    match: ['daily-*', 'auto-*']
    keep:
      daily: 90
      yearly: 10

- name: Expired temporary snapshots only
  cerss.zfs.zfs_snapshot_prune:
    name: [tank]
    recursive: true
    match: ['tmp-*']
    keep:
      last: 1000000
"""

RETURN = r"""
kept:
  description: The matching snapshots that stay, volume by volume and oldest first.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The snapshot.
      type: str
      sample: tank/db@daily-2026-11-22
    reason:
      description: Every rule that keeps it with the place or period that it is kept for, or who needs it.
      type: str
      sample: last 2; daily 2026-11-22; weekly 2026-W47
pruned:
  description: The snapshots that are gone (in check mode that would go).
  returned: success
  type: list
  elements: str
  sample: [tank/db@daily-2026-11-12]
pending:
  description: The matching snapshots that are marked for deletion and wait for a clone or hold to go.
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
