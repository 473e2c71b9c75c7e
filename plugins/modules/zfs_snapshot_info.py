#!/usr/bin/python
# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_snapshot_info
short_description: Tell what ZFS snapshots there are, their state, dependencies and progress
version_added: 0.1.0
author:
  - cerss.zfs contributors (@cerss)
description:
  - Returns snapshots as full objects, with identity, state, what they depend on, what depends on them, and how far a
    transfer is.
  - Also tells what is not among the snapshots yet, one that is arriving by replication (V(inbound)) and one whose
    creation is under way (V(creating)).
  - Everything is read from ZFS and from the processes of the host. Any controller sees the same.
extends_documentation_fragment:
  - cerss.zfs.attributes
  - cerss.zfs.attributes.info
options:
  name:
    description:
      - Volumes (V(pool/dataset)), whose snapshots are wanted, and single snapshots (V(pool/dataset@snapshot)).
      - All snapshots of all pools when left out.
      - A snapshot that is not there is returned with RV(snapshots[].state=absent). A volume that is not there is an
        error.
    type: list
    elements: str
  recursive:
    description:
      - Also everything below the volumes.
      - For V(pool/dataset@snapshot), also the snapshots of that name below the dataset.
    type: bool
    default: false
  states:
    description:
      - Only snapshots in one of these states.
    type: list
    elements: str
    choices: [full, pending_delete, inbound, creating, absent]
  match:
    description:
      - Globs. Only snapshots whose part after the C(@) matches one of them.
    type: list
    elements: str
  detail:
    description:
      - How much to read.
      - V(names) gives C(name), C(guid), C(createtxg) and C(state) (V(null) unless V(absent)), from the columns that
        ZFS lists without opening each snapshot. It is the only choice for very many snapshots when time matters, and
        takes one C(zfs) process.
      - V(state) gives every key of the object but RV(snapshots[].properties). It takes three C(zfs) processes for
        each 3000 snapshots.
      - V(full) also reads all user properties.
    type: str
    choices: [names, state, full]
    default: state
  properties:
    description:
      - Properties, native or user, to return in RV(snapshots[].properties). With O(detail=full) all user properties
        are there anyway.
    type: list
    elements: str
  limit:
    description:
      - Return at most so many snapshots. RV(counts) still covers all of them.
    type: int
  output_file:
    description:
      - Write the snapshots to this file on the host, one JSON object a line, instead of returning them.
      - The file appears when it is complete. Memory stays flat, with 100,000 snapshots too.
      - In check mode it is not written.
    type: path
notes:
  - A result with many thousand objects costs the controller much memory. AWX drops results above 700,000 bytes. Use
    O(limit), O(detail=names) or O(output_file) then.
  - Reading needs no permission from C(zfs allow). The rate (C(progress.bytes_per_second)) of a receive is only seen
    by root and by the user who runs it.
seealso:
  - module: cerss.zfs.zfs_snapshot
  - module: cerss.zfs.zfs_snapshot_replicate
  - name: zfs-list(8)
    description: What ZFS itself lists.
    link: https://openzfs.github.io/openzfs-docs/man/master/8/zfs-list.8.html
"""

EXAMPLES = r"""
- name: Read the snapshots of a volume
  cerss.zfs.zfs_snapshot_info:
    name: tank/vol
  register: read

- name: See whether one snapshot can be used
  cerss.zfs.zfs_snapshot_info:
    name: tank/vol@monday
  register: monday
  failed_when: monday.snapshots[0].state != 'full'

- name: List what waits for its deletion on all pools, and why
  cerss.zfs.zfs_snapshot_info:
    states: [pending_delete]
  register: waiting

- name: Count snapshots by state without returning any
  cerss.zfs.zfs_snapshot_info:
    name: tank
    recursive: true
    limit: 0

- name: Watch what arrives on a replica
  cerss.zfs.zfs_snapshot_info:
    name: backup
    recursive: true
    states: [inbound]
  register: arriving
  until: arriving.snapshots | length == 0
  retries: 60
  delay: 10

- name: Read one property of the daily snapshots
  cerss.zfs.zfs_snapshot_info:
    name: tank/vol
    match: daily-*
    properties: [org.example:ticket, compressratio]

- name: Write every snapshot of the host to a file
  cerss.zfs.zfs_snapshot_info:
    output_file: /var/tmp/snapshots.jsonl

- name: Read only names and GUIDs, as fast as ZFS can
  cerss.zfs.zfs_snapshot_info:
    name: tank
    recursive: true
    detail: names
"""

RETURN = r"""
snapshots:
  description:
    - The snapshots, volume by volume in the order of creation. Empty with O(output_file).
    - V(null) means not read or not applicable.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The full name. The part after the C(@) is V(%recv) for an inbound snapshot whose name nobody told
        yet.
      type: str
      sample: tank/vol@monday
    dataset:
      description: The volume.
      type: str
      sample: tank/vol
    snapshot:
      description: The part after the C(@).
      type: str
      sample: monday
    guid:
      description: The identity, the same on every replica. A string, since it exceeds what JSON consumers keep exact.
      type: str
      sample: "16716440784613086539"
    createtxg:
      description: The transaction group of the creation, which orders the snapshots of a pool.
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
        - V(full), it is there and usable.
        - V(pending_delete), it was deleted, still serves what depends on it, and goes by itself with the last of
          that.
        - V(inbound), it is arriving by replication, or its arrival was interrupted.
        - V(creating), commands around its creation are running.
        - V(absent), none of these.
      type: str
      sample: full
    temporary:
      description: Whether it is marked as about to be deleted, so that nobody starts to replicate it.
      type: bool
      sample: false
    expires:
      description: When a temporary snapshot may be pruned, in UTC.
      type: str
      sample: "2026-11-30T07:08:02Z"
    depends_on:
      description:
        - The snapshot that this one builds on, with C(snapshot), C(guid) and C(kind).
        - The kind is V(base) for what an inbound increment starts from, V(origin) for what the volume was cloned from
          when this is its first snapshot, and V(prior) for the snapshot before.
      type: dict
      sample: {"snapshot": "tank/vol@sunday", "guid": "5216584613086530271", "kind": "prior"}
    dependents:
      description: What keeps it from being deleted, clones, holds, and the relationships that need it.
      type: dict
      sample:
        clones: [tank/c1]
        holds: [{"tag": "keep", "created": "2026-11-23T08:00:00Z", "ours": false}]
        replications: [{"id": "0f6d7a1be2c34a55", "target": "backup1:backup/vol", "role": "base"}]
    deletable:
      description: Whether nothing blocks a plain destroy.
      type: bool
      sample: false
    used_bytes:
      description: What its deletion would free.
      type: int
      sample: 1245184
    referenced_bytes:
      description: What it refers to.
      type: int
      sample: 268435456
    written_bytes:
      description: What was written since the snapshot before.
      type: int
      sample: 2097152
    progress:
      description:
        - How far it is being sent or received.
        - C(active) is V(true) while the transfer runs, V(false) when it is interrupted, V(null) when that cannot be
          told.
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
      description: User properties set on it, and the O(properties) asked for. V(null) when neither was read.
      type: dict
      sample: {"org.example:ticket": "4711"}
counts:
  description:
    - How many snapshots O(name) and O(match) select, C(total) and by state, whatever O(states) and O(limit) leave of
      them.
    - The states are V(null) with O(detail=names), which does not read them, apart from V(absent).
  returned: success
  type: dict
  sample: {"full": 12, "pending_delete": 1, "inbound": 1, "creating": 0, "absent": 0, "total": 14}
output_file:
  description: The file written.
  returned: success
  type: str
  sample: /var/tmp/snapshots.jsonl
"""

from ansible_collections.cerss.zfs.plugins.module_utils._module import run_module
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot import info


def main() -> None:
    run_module(
        info.main,
        argument_spec={
            "name": {"type": "list", "elements": "str"},
            "recursive": {"type": "bool", "default": False},
            "states": {
                "type": "list",
                "elements": "str",
                "choices": ["full", "pending_delete", "inbound", "creating", "absent"],
            },
            "match": {"type": "list", "elements": "str"},
            "detail": {"type": "str", "choices": ["names", "state", "full"], "default": "state"},
            "properties": {"type": "list", "elements": "str"},
            "limit": {"type": "int"},
            "output_file": {"type": "path"},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
