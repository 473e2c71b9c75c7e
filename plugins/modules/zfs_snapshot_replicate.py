#!/usr/bin/python
# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_snapshot_replicate
short_description: Replicate ZFS snapshots to another pool or backend
version_added: 0.1.0
author:
  - cerss.zfs contributors (@cerss)
description:
  - Brings snapshots of filesystems and zvols to a replica on another pool or another backend, in full the first time
    and as
    the smallest increments afterwards. What counts as "already there" is the GUID, never the name.
  - The stream goes straight from storage backend to storage backend. Nothing is ever forced on the replica (no
    C(receive -F)).
  - An interrupted transfer stays resumable, and the next run goes on where it broke off.
  - A volume that was renamed goes on in the replica that it has, if that lies where its former name would have led to.
  - The base of the next increment is remembered as a bookmark on the source, so the snapshot itself may be deleted
    there.
options:
  name:
    description:
      - What to replicate. V(pool/dataset@snapshot) names a snapshot; V(pool/dataset) means its newest snapshot that
        O(include_snapshots) and O(exclude_snapshots) allow and that is not temporary.
      - Each volume once. Any number of volumes with O(target.parent), one with O(target.dataset).
    type: list
    elements: str
    required: true
  recursive:
    description:
      - Also everything below the named volumes, each dataset with a replica of its own.
      - A dataset below that lacks the named snapshot is left as it is, with a warning.
    type: bool
    default: false
  exclude:
    description: Globs against full dataset names that O(recursive) leaves out, with everything below them.
    type: list
    elements: str
    default: []
  include_snapshots:
    description: Globs against the part after the C(@); only snapshots that match one of them are sent. Empty means all.
    type: list
    elements: str
    default: []
  exclude_snapshots:
    description: Globs against the part after the C(@); snapshots that match one of them are not sent, unless named
      in O(name).
    type: list
    elements: str
    default: []
  intermediates:
    description:
      - With V(true) all wished snapshots since the last common one are sent, and on a first replication all from the
        oldest on.
      - With V(false) only the newest.
    type: bool
    default: true
  raw:
    description:
      - Whether encrypted datasets are sent as they are on disk, so that the replica never needs the key.
      - V(auto) sends encrypted sources raw and all others plain. The kind is fixed by the first transfer of a replica.
    type: str
    choices: [auto, always, never]
    default: auto
  properties:
    description:
      - ZFS properties that a replica gets when it is made, besides C(readonly=on) and, on filesystems,
        C(canmount=noauto).
      - They are not enforced later. Quotas and reservations are refused.
      - In a tree of both kinds each gets those that its kind has, a zvol no C(atime).
    type: dict
    default: {}
  on_divergence:
    description:
      - What to do when the replica holds something that the source does not have after the last common snapshot.
      - V(fail) lists it and changes nothing. V(rollback) removes exactly that list, each thing by name.
      - V(reseed) puts the old replica aside under another name and begins anew.
        What stands below the old one is moved back below the new one when that is whole.
    type: str
    choices: [fail, rollback, reseed]
    default: fail
  on_active:
    description:
      - What to do when something is being received into the replica already.
      - V(attach) waits for it when it brings a wished snapshot and fails otherwise, V(wait) waits in any case,
        V(fail) fails.
    type: str
    choices: [attach, wait, fail]
    default: attach
  parallel:
    description: How many volumes are sent side by side; never more than one stream goes into one replica.
    type: int
    default: 2
  bandwidth_limit:
    description:
      - The most that one stream may take, in bytes per second, as V(500K), V(20M) or V(1G) (units of 1024).
      - Needs C(pv) on the machine that the module runs on.
    type: str
  compression:
    description: Compress the stream on its way. Needs the program of that name on both sides.
    type: str
    choices: [none, zstd, lz4]
    default: none
  resume:
    description: Whether an interrupted transfer is resumed. With V(false) what had arrived is discarded.
    type: bool
    default: true
  retries:
    description: How often a volume is tried again after an error that may pass, each time with a new plan and a
      longer pause.
    type: int
    default: 3
  stall_timeout:
    description: End a transfer when no byte has moved for this long, as V(90s), V(15m) or whole seconds. It can be
      resumed.
    type: str
    default: 10m
  timeout:
    description: End what still runs after this time. It can be resumed. No limit by default.
    type: str
  progress_interval:
    description: Show a line of progress for each running volume this often. V(0) shows none.
    type: str
    default: "0"
extends_documentation_fragment:
  - cerss.zfs.attributes
  - cerss.zfs.attributes.changes
  - cerss.zfs.endpoint.targets
  - cerss.zfs.endpoint.source
seealso:
  - module: cerss.zfs.zfs_snapshot
  - module: cerss.zfs.zfs_snapshot_info
  - module: cerss.zfs.zfs_clone
"""

EXAMPLES = r"""
- name: Replicate the newest snapshot of a volume straight to another backend
  cerss.zfs.zfs_snapshot_replicate:
    name: tank/vol
    target:
      host: backend-b
      dataset: backup/vol

- name: Replicate one snapshot by name
  cerss.zfs.zfs_snapshot_replicate:
    name: tank/vol@s1
    target:
      host: backend-b
      dataset: backup/vol

- name: Replicate whole trees of several volumes below one dataset
  cerss.zfs.zfs_snapshot_replicate:
    name:
      - tank/home
      - tank/db
    recursive: true
    exclude:
      - tank/home/scratch
    target:
      host: backend-b
      parent: backup/site-a

- name: Replicate from pool to pool on the same machine
  cerss.zfs.zfs_snapshot_replicate:
    name: tank/vol
    target:
      host: local
      dataset: backup/vol

- name: Fetch from another backend (pull)
  cerss.zfs.zfs_snapshot_replicate:
    name: tank/vol
    source:
      host: backend-a
    target:
      dataset: backup/vol

- name: Only the daily snapshots, compressed and at most 20 MiB a second
  cerss.zfs.zfs_snapshot_replicate:
    name: tank/vol
    include_snapshots: ["daily-*"]
    compression: zstd
    bandwidth_limit: 20M
    target:
      host: backend-b
      user: zfs-replica
      identity_file: /etc/cerss.zfs/id_ed25519
      known_hosts_file: /etc/cerss.zfs/known_hosts
      dataset: backup/vol

- name: Take back what was written to the replica, then replicate
  cerss.zfs.zfs_snapshot_replicate:
    name: tank/vol
    on_divergence: rollback
    target:
      host: backend-b
      dataset: backup/vol
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be, in order; one plain sentence each.
  type: list
  elements: str
  returned: always
  sample:
    - send tank/vol@s1 in full to backend-b:backup/vol
    - move the marks of the relationship with backend-b:backup/vol to tank/vol@s1
replicas:
  description: One item for each volume with its replica.
  type: list
  elements: dict
  returned: always
  contains:
    id:
      description: The relationship, 16 hex digits; the same on both sides.
      type: str
      returned: always
      sample: 3f1c9a0b7d5e2468
    source:
      description: The snapshot that is wished on the replica.
      type: str
      returned: always
      sample: tank/vol@s1
    target:
      description: The replica, with its host when that is another one.
      type: str
      returned: always
      sample: backend-b:backup/vol
    guid:
      description: GUID of the snapshot, as text. V(null) in check mode for a snapshot that is not made yet.
      type: str
      returned: always
      sample: "16716440784613086539"
    state:
      description: State of the snapshot on the replica; V(inbound) when a part of it has arrived.
      type: str
      returned: always
      sample: full
    base:
      description: Snapshot or bookmark that the first stream started from; V(null) for a full stream or none.
      type: str
      returned: always
      sample: tank/vol@s0
    bytes_sent:
      description: Bytes of the streams. V(null) in check mode.
      type: int
      returned: always
      sample: 1048576
    bytes_estimated:
      description: Bytes that ZFS had expected the streams to have. V(null) when nothing was sent.
      type: int
      returned: always
      sample: 1050000
    seconds:
      description: How long the volume took. V(null) in check mode.
      type: float
      returned: always
      sample: 2.5
    resumed:
      description: Whether an interrupted transfer was resumed.
      type: bool
      returned: always
      sample: false
    origin_preserved:
      description: For the first replication of a clone, whether the replica is a clone as well. V(null) otherwise.
      type: bool
      returned: always
      sample: null
    steps:
      description: The streams, each with C(kind) (full, incremental, resume), C(base), C(snapshots), C(raw),
        C(origin) and its bytes.
      type: list
      elements: dict
      returned: always
      sample: [{"kind": "full", "base": null, "snapshots": ["tank/vol@s1"], "raw": false, "origin": null}]
    failed:
      description: Whether this volume failed. One that fails does not stop the others.
      type: bool
      returned: always
      sample: false
    msg:
      description: Why it failed, and the way out. Empty when it did not.
      type: str
      returned: always
      sample: ""
bytes_sent:
  description: Bytes of all streams. V(null) in check mode.
  type: int
  returned: always
  sample: 1048576
"""

from ansible_collections.cerss.zfs.plugins.module_utils._module import run_module
from ansible_collections.cerss.zfs.plugins.module_utils._replication import replicate
from ansible_collections.cerss.zfs.plugins.module_utils._replication.options import ENDPOINT_OPTIONS


def main() -> None:
    run_module(
        replicate.main,
        argument_spec={
            "name": {"type": "list", "elements": "str", "required": True},
            "target": {
                "type": "dict",
                "required": True,
                "options": {
                    **ENDPOINT_OPTIONS,
                    "dataset": {"type": "str"},
                    "parent": {"type": "str"},
                    "strip": {"type": "int", "default": 1},
                },
            },
            "source": {"type": "dict", "default": {}, "options": ENDPOINT_OPTIONS},
            "recursive": {"type": "bool", "default": False},
            "exclude": {"type": "list", "elements": "str", "default": []},
            "include_snapshots": {"type": "list", "elements": "str", "default": []},
            "exclude_snapshots": {"type": "list", "elements": "str", "default": []},
            "intermediates": {"type": "bool", "default": True},
            "raw": {"type": "str", "choices": ["auto", "always", "never"], "default": "auto"},
            "properties": {"type": "dict", "default": {}},
            "on_divergence": {"type": "str", "choices": ["fail", "rollback", "reseed"], "default": "fail"},
            "on_active": {"type": "str", "choices": ["attach", "wait", "fail"], "default": "attach"},
            "parallel": {"type": "int", "default": 2},
            "bandwidth_limit": {"type": "str"},
            "compression": {"type": "str", "choices": ["none", "zstd", "lz4"], "default": "none"},
            "resume": {"type": "bool", "default": True},
            "retries": {"type": "int", "default": 3},
            "stall_timeout": {"type": "str", "default": "10m"},
            "timeout": {"type": "str"},
            "progress_interval": {"type": "str", "default": "0"},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
