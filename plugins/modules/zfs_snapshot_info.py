#!/usr/bin/python
# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_snapshot_info
short_description: List ZFS snapshots with their state, dependencies and progress
version_added: 0.1.0
author:
  - cerss.zfs contributors (@cerss)
description:
  - Returns for each snapshot its identity, its state, what it depends on, what depends on it, and the progress of a
    transfer.
  - Also returns snapshots that do not exist yet, those being received (V(inbound)) and those being created
    (V(creating)).
  - Everything is read from ZFS and from the processes of the host, so every controller gets the same answer.
extends_documentation_fragment:
  - cerss.zfs.attributes
  - cerss.zfs.attributes.info
  - cerss.zfs.trees
options:
  name:
    description:
      - Datasets (V(pool/dataset)), to list all their snapshots, or single snapshots (V(pool/dataset@snapshot)).
      - If omitted, all snapshots of all pools are listed. With an empty list, none.
      - With O(recursive) and O(select), single snapshots stand for those of that name on all datasets below.
      - A snapshot that does not exist is returned with RV(snapshots[].state=absent), unless O(select) is given. If a
        dataset does not exist, the task lists the others and fails.
    type: list
    elements: str
  states:
    description:
      - List only snapshots in one of these states.
    type: list
    elements: str
    choices: [full, pending_delete, inbound, creating, absent]
  match:
    description:
      - Patterns for the part after the C(@), written like those of O(exclude). List only snapshots that match one of
        them.
    type: list
    elements: str
  detail:
    description:
      - How much to read.
      - V(names) returns C(name), C(guid), C(createtxg) and C(state) (V(null) unless V(absent)). It takes one C(zfs)
        process, or two with O(limit) on several pools, and is the fastest, since ZFS does not open the snapshots.
      - V(state) returns all keys except RV(snapshots[].properties). It takes at most five C(zfs) processes for each
        3000 snapshots.
      - V(full) also returns all user properties.
      - O(select) takes one more process for each 3000 snapshots.
    type: str
    choices: [names, state, full]
    default: state
  properties:
    description:
      - Native or user properties to return in RV(snapshots[].properties). O(detail=full) returns all user properties
        without this.
    type: list
    elements: str
  newest:
    description:
      - List only so many snapshots of each dataset, the newest ones of those that O(match) selects. The others are not
        read, so this is fast.
      - Snapshots that are being received or created do not count and are not listed.
    type: int
  limit:
    description:
      - Return at most this many snapshots, the newest of all, and these in the order from the newest to the oldest.
        RV(counts) still covers all of them.
      - Those of one pool are in the order of their creation, whatever its clock said. Snapshots that are being received
        or created come first, absent ones last.
    type: int
  output_file:
    description:
      - Write the snapshots to this file on the host, one JSON object per line, instead of returning them.
      - The file appears only when it is complete. Memory does not grow with the number of snapshots.
      - In check mode the file is not written.
    type: path
notes:
  - Thousands of snapshots in a result need much memory on the controller, and AWX drops results above 700,000 bytes.
    For so many use O(limit), O(detail=names) or O(output_file).
  - Reading needs no permission (zfs-allow(8)). Only root and the user who runs a receive can see its rate
    (C(progress.bytes_per_second)).
seealso:
  - module: cerss.zfs.zfs_snapshot
  - module: cerss.zfs.zfs_snapshot_replicate
  - name: zfs-list(8)
    description: The ZFS command.
    link: https://openzfs.github.io/openzfs-docs/man/master/8/zfs-list.8.html
"""

EXAMPLES = r"""
- name: List the snapshots of a dataset
  cerss.zfs.zfs_snapshot_info:
    name: tank/vol
  register: listed

- name: Check that a snapshot can be used
  cerss.zfs.zfs_snapshot_info:
    name: tank/vol@monday
  register: monday
  failed_when: monday.snapshots[0].state != 'full'

- name: List what is pending deletion on all pools, and what needs it
  cerss.zfs.zfs_snapshot_info:
    states: [pending_delete]
  register: pending

- name: Find the last snapshot of each dataset
  cerss.zfs.zfs_snapshot_info:
    name: tank
    recursive: true
    newest: 1
  register: last

- name: List the last ten snapshots of all datasets that are marked for backup
  cerss.zfs.zfs_snapshot_info:
    select: {property: org.example:backup, value: nightly}
    limit: 10

- name: Count snapshots by state without returning any
  cerss.zfs.zfs_snapshot_info:
    name: tank
    recursive: true
    limit: 0

- name: Wait until nothing is being received any more
  cerss.zfs.zfs_snapshot_info:
    name: backup
    recursive: true
    states: [inbound]
  register: inbound
  until: inbound.snapshots | length == 0
  retries: 60
  delay: 10

- name: List the daily snapshots with two of their properties
  cerss.zfs.zfs_snapshot_info:
    name: tank/vol
    match: daily-*
    properties: [org.example:ticket, compressratio]

- name: Write every snapshot of the host to a file
  cerss.zfs.zfs_snapshot_info:
    output_file: /var/tmp/snapshots.jsonl

- name: List only names and GUIDs
  cerss.zfs.zfs_snapshot_info:
    name: tank
    recursive: true
    detail: names
"""

RETURN = r"""
snapshots:
  description:
    - The snapshots, dataset by dataset in the order of creation, or with O(limit) the newest first. Empty with
      O(output_file).
    - V(null) means that a value was not read or does not apply.
  returned: success, and failure for some of the datasets
  type: list
  elements: dict
  contains:
    name:
      description: The full name. The part after the C(@) is V(%recv) for an inbound snapshot whose name is not known
        yet.
      type: str
      sample: tank/vol@monday
    dataset:
      description: The dataset, a filesystem or volume (zvol).
      type: str
      sample: tank/vol
    snapshot:
      description: The part after the C(@).
      type: str
      sample: monday
    guid:
      description: Its identity, the same on every replica. A string, since it is too large for an exact JSON number.
      type: str
      sample: "16716440784613086539"
    createtxg:
      description: The transaction group of its creation. Snapshots of a pool are ordered by it.
      type: int
      sample: 17
    created:
      description: When it was created, in UTC.
      type: str
      sample: "2026-11-23T07:08:02Z"
    created_epoch:
      description: The same in seconds since 1970.
      type: int
      sample: 1795417682
    state:
      description:
        - V(full) means that it exists and can be used.
        - V(pending_delete) means that it has been deleted but a clone or hold still needs it. ZFS destroys it when the
          last of these is gone.
        - V(inbound) means that it is being received, or that its transfer was interrupted.
        - V(creating) means that it is being created, with the commands before and after.
        - V(absent) means that it does not exist.
      type: str
      sample: full
    temporary:
      description: Whether it is temporary, so that no replication chooses it.
      type: bool
      sample: false
    expires:
      description: When it expires, in UTC. V(null) if it has no lifetime.
      type: str
      sample: "2026-11-30T07:08:02Z"
    depends_on:
      description:
        - The snapshot that this one is based on, with C(snapshot), C(guid) and C(kind).
        - The kind is V(base) for the base of an inbound increment, V(origin) for the origin of a clone whose first
          snapshot this is, and V(prior) for the snapshot before this one.
      type: dict
      sample: {"snapshot": "tank/vol@sunday", "guid": "5216584613086530271", "kind": "prior"}
    dependents:
      description: The clones, holds and relationships that use it. Clones and holds defer its deletion. A relationship
        with the role V(base) does not.
      type: dict
      sample:
        clones: [tank/c1]
        holds: [{"tag": "keep", "created": "2026-11-23T08:00:00Z", "ours": false}]
        replications: [{"id": "0f6d7a1be2c34a55", "target": "backup1:backup/vol", "role": "base"}]
    deletable:
      description: Whether it can be deleted at once.
      type: bool
      sample: false
    used_bytes:
      description: Bytes that its deletion would free.
      type: int
      sample: 1245184
    referenced_bytes:
      description: Bytes that it refers to.
      type: int
      sample: 268435456
    written_bytes:
      description: Bytes written since the snapshot before it.
      type: int
      sample: 2097152
    progress:
      description:
        - The progress of a transfer that sends or receives it.
        - C(active) is V(true) while the transfer runs, V(false) when it is interrupted, and V(null) when that is not
          known, for example where C(hidepid=2) hides processes or C(ps) is that of busybox.
      type: dict
      sample:
        operation: receive
        bytes_done: 73400320
        bytes_total: 268435456
        percent: 27.3
        bytes_per_second: 8388608
        eta_seconds: 23
        started: "2026-11-23T07:09:00Z"
        updated: "2026-11-23T07:09:09Z"
        active: true
    properties:
      description: The requested O(properties), and with O(detail=full) all user properties. V(null) if none were
        requested.
      type: dict
      sample: {"org.example:ticket": "4711"}
counts:
  description:
    - The number of snapshots that are selected, in total and by state. O(states) and O(limit) do not change it.
    - With O(detail=names), which does not read states, all states but V(absent) are V(null).
  returned: success, and failure for some of the datasets
  type: dict
  sample: {"full": 12, "pending_delete": 1, "inbound": 1, "creating": 0, "absent": 0, "total": 14}
output_file:
  description: The file. V(null) if O(output_file) was omitted.
  returned: success, and failure for some of the datasets
  type: str
  sample: /var/tmp/snapshots.jsonl
"""

from ansible_collections.cerss.zfs.plugins.module_utils._host.selection import OPTIONS
from ansible_collections.cerss.zfs.plugins.module_utils._module import run_module
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot import info


def main() -> None:
    run_module(
        info.main,
        argument_spec={
            "name": {"type": "list", "elements": "str"},
            **OPTIONS,
            "states": {
                "type": "list",
                "elements": "str",
                "choices": ["full", "pending_delete", "inbound", "creating", "absent"],
            },
            "match": {"type": "list", "elements": "str"},
            "detail": {"type": "str", "choices": ["names", "state", "full"], "default": "state"},
            "properties": {"type": "list", "elements": "str"},
            "newest": {"type": "int"},
            "limit": {"type": "int"},
            "output_file": {"type": "path"},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
