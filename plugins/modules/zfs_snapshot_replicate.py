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
  - Sends snapshots of filesystems and volumes (zvols) to a replica on another pool or another backend, in full the
    first time and then as the smallest possible increments. Snapshots are compared by GUID, never by name.
  - The stream goes directly from one storage backend to the other, unless both O(source.host) and O(target.host) are
    remote. Nothing is ever forced on the replica (no C(receive -F)).
  - An interrupted transfer can be resumed, and the next run does so.
  - Source and replica must agree that they belong together. What to do if they do not, is in the guide "How to" of the
    documentation.
  - If a source dataset was renamed, replication continues into its existing replica, if that is where these options
    would have placed it under the old name.
  - The base of the next increment is kept as a bookmark on the source, so you may delete the snapshot itself there.
  - If the source has renamed snapshots and their names are needed for others, as with names that rotate, the snapshots
    on the replica are renamed too. One that the source has destroyed stays on the replica, with its GUID in hexadecimal
    digits after its name, as C(daily.7_6dba7f2a31c5e04b). That needs a login on the target without a gate. A source
    that is pulled from cannot do that; the message has the commands.
  - A pool that is imported read-only can be replicated. Nothing is recorded on it then, which is a warning.
options:
  name:
    description:
      - What to replicate. V(pool/dataset@snapshot) names a snapshot; V(pool/dataset) means its newest snapshot that
        O(include_snapshots) and O(exclude_snapshots) allow and that is not temporary.
      - List each dataset once. With O(target.dataset) exactly one is allowed, with O(target.parent) any number.
      - An empty list is nothing to do.
      - A dataset that O(recursive) or O(select) adds, and that lacks the named snapshot, or any, is skipped with a
        warning.
      - Required without O(select).
    type: list
    elements: str
  include_snapshots:
    description: Patterns, as for O(exclude), for the part after the C(@). Only snapshots that match one of them are
      sent. Empty means all.
    type: list
    elements: str
    default: []
  exclude_snapshots:
    description: Patterns, as for O(exclude), for the part after the C(@). Snapshots that match one of them are not
      sent, unless O(name) names them.
    type: list
    elements: str
    default: []
  intermediates:
    description:
      - With V(true) all requested snapshots since the last common one are sent, or all of them on a first replication.
      - With V(false) only the newest one is sent.
    type: bool
    default: true
  upcoming:
    description:
      - Full names of snapshots that earlier tasks of the run create. In check mode, in which they do not exist, the
        module reports what it would do if they had been created now. Unlike a snapshot in O(name) they are sent only if
        the filters allow it.
      - Otherwise it has no effect.
    type: list
    elements: str
    default: []
  job:
    description:
      - A name for what O(include_snapshots), O(exclude_snapshots) and O(intermediates) choose. The source records them
        under this name, so that M(cerss.zfs.zfs_snapshot_prune) knows what is still to be sent. A run whose filters
        have changed records the new ones.
      - Give each task a name of its own if several tasks replicate a dataset to the same place with different filters.
        Tasks without a name do not count beside tasks with one.
      - A run with a name also sends what tasks with other names have not sent yet, if it is older than what this run
        sends, since ZFS could not add it afterwards.
      - Without a name the filters of the first replication are recorded. After a run with others, every snapshot counts
        as one that is still to be sent.
      - Regular expressions and very long filters are not recorded. What they leave out counts as well.
    type: str
  raw:
    description:
      - Whether to send encrypted datasets as they are on disk, so that the replica never needs the key.
      - V(auto) sends encrypted sources raw and all others plain. The first transfer of a replica decides for all later
        ones, and the source records it. If V(always) or V(never) contradicts that record, the dataset is refused.
      - V(always) changes nothing for a source that is not encrypted.
    type: str
    choices: [auto, always, never]
    default: auto
  properties:
    description:
      - ZFS properties to set on a replica when it is created. The defaults are C(readonly=on) and, on filesystems,
        C(canmount=noauto), if pulled from another host also C(setuid=off) and C(devices=off).
      - They are not enforced later. Quotas and reservations are refused, and so are values that ZFS does not accept.
      - Properties that do not apply to the type of a dataset are left out, for example C(atime) on a volume.
    type: dict
    default: {}
  on_divergence:
    description:
      - What to do if the replica has snapshots or data newer than the last common snapshot, or no common snapshot.
      - V(fail) lists what would be lost and changes nothing.
      - V(rollback) destroys exactly the listed snapshots and bookmarks, by name, and rolls back to the last common
        snapshot. It fails if there is none.
      - V(reseed) receives a new replica beside the old one, from their last common snapshot if there is one. When it is
        complete, it takes over the local properties, the permissions and the datasets below of the old one, and then
        its name. The old replica is renamed and kept, see O(reseed_keep).
      - V(reseed) also makes a replica of a dataset that only holds others, such as one that was created when what is
        below it was replicated first.
      - V(rollback) and V(reseed) need a login on the target without a gate.
    type: str
    choices: [fail, rollback, reseed]
    default: fail
  reseed_keep:
    description:
      - Whether O(on_divergence=reseed) keeps the old replica, until you destroy it.
      - With V(false), it is destroyed when the new one has its place, with the snapshots that the new one has not taken
        over. This is refused before anything is sent if the old replica is mounted, or if one of these snapshots has a
        clone or a hold of others. If it is mounted or gets other snapshots meanwhile, it is kept, with a warning.
      - V(false) cannot be combined with O(source), since the host that is pulled from could then have the replica
        destroyed by giving up its own snapshots.
    type: bool
    default: true
  on_active:
    description:
      - What to do if the replica is already receiving a stream.
      - V(attach) waits if the stream brings a requested snapshot and fails otherwise. V(wait) always waits. V(fail)
        always fails.
      - Where the user cannot see all processes, as with C(hidepid=2) or without a C(ps) that knows C(etimes), the
        module watches the resume token for 30 seconds. A receive to which nothing comes meanwhile counts as
        interrupted.
    type: str
    choices: [attach, wait, fail]
    default: attach
  parallel:
    description: How many datasets are sent in parallel, each to its own replica.
    type: int
    default: 2
  bandwidth_limit:
    description:
      - Limit for the whole run in bytes per second, such as V(500K), V(20M) or V(1G) (units of 1024).
      - Streams that run in parallel share it equally. When fewer are left than O(parallel), their shares grow.
      - Needs C(pv) on the host that the module runs on.
    type: str
  compression:
    description: Compress the stream in transit. Needs the program of that name on both sides, and on a relay.
    type: str
    choices: [none, zstd, lz4]
    default: none
  stream:
    description: How C(zfs send) makes the streams of datasets that are not sent raw.
    type: dict
    suboptions:
      compressed:
        description:
          - Whether to send blocks as they are compressed on the disk (C(-c)).
          - V(auto) does so, unless the target's pool lacks the feature that this needs. Then there is a warning.
        type: str
        choices: [auto, "true", "false"]
        default: auto
      large_blocks:
        description:
          - Whether to send blocks over 128 KiB as they are (C(-L)), instead of splitting them.
          - V(auto) does so, unless the target's pool lacks the feature C(large_blocks). Then there is a warning.
          - V(false) is for new replicas. ZFS refuses increments without large blocks into a replica that has some.
        type: str
        choices: [auto, "true", "false"]
        default: auto
  resume:
    description: Whether to resume an interrupted transfer. With V(false) what has already arrived is discarded.
    type: bool
    default: true
  retries:
    description:
      - How many times in a row to try a dataset again after a temporary error. The count starts again when data has
        arrived.
      - Each try makes a new plan, after a longer pause.
      - The reading at the start, and an ssh connection that C(sshd) has turned away, are tried again as often.
    type: int
    default: 3
  stall_timeout:
    description: Stop a transfer if no byte has moved for this long, such as V(90s), V(15m) or a number of seconds. It
      can be resumed.
    type: str
    default: 10m
  timeout:
    description:
      - Stop the whole run after this time, whatever it is doing. Transfers can be resumed.
      - There is no limit by default.
    type: str
  progress_interval:
    description: How often to show a line of progress for each transfer that has been running for that long, such as
      V(10s). A shorter transfer shows none, and with V(0) none does.
    type: str
    default: 1m
extends_documentation_fragment:
  - cerss.zfs.attributes
  - cerss.zfs.attributes.changes
  - cerss.zfs.endpoint.targets
  - cerss.zfs.endpoint.source
  - cerss.zfs.endpoint.login
  - cerss.zfs.trees
seealso:
  - module: cerss.zfs.zfs_snapshot
  - module: cerss.zfs.zfs_snapshot_info
  - module: cerss.zfs.zfs_clone
"""

EXAMPLES = r"""
- name: Replicate the newest snapshot of a dataset to another backend
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

- name: Replicate two trees below one dataset
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

- name: Replicate all datasets that have a user property, on all pools
  cerss.zfs.zfs_snapshot_replicate:
    select:
      property: org.example:backup
      value: nightly
    target:
      host: backend-b
      parent: backup/site-a

- name: Replicate to two backends, of which one gets the first snapshot of each month
  cerss.zfs.zfs_snapshot_replicate:
    name: tank/db
    targets:
      - host: backend-b
        parent: backup/site-a
      - host: archive-1
        parent: archive/site-a
        include:
          monthly: 1

- name: Replicate to another pool of the same host
  cerss.zfs.zfs_snapshot_replicate:
    name: tank/vol
    target:
      host: local
      dataset: backup/vol

- name: Pull from another backend
  cerss.zfs.zfs_snapshot_replicate:
    name: tank/vol
    source:
      host: backend-a
    target:
      dataset: backup/vol

- name: Replicate only the daily snapshots, compressed, at up to 20 MiB/s
  cerss.zfs.zfs_snapshot_replicate:
    name: tank/vol
    include_snapshots: ["daily-*"]
    compression: zstd
    bandwidth_limit: 20M
    target:
      host: backend-b
      dataset: backup/vol

- name: Replicate as another user, with a key of its own
  cerss.zfs.zfs_snapshot_replicate:
    name: tank/vol
    login:
      user: zfs-replica
      identity_file: /etc/cerss.zfs/id_ed25519
      known_hosts_file: /etc/cerss.zfs/known_hosts
    target:
      host: backend-b
      dataset: backup/vol

- name: Log in as the same user in all tasks, whichever side is remote
  module_defaults:
    group/cerss.zfs.replication:
      login:
        user: zfs-replica
  block:
    - name: Push
      cerss.zfs.zfs_snapshot_replicate:
        name: tank/vol
        target:
          host: backend-b
          dataset: backup/vol

    - name: Pull
      cerss.zfs.zfs_snapshot_replicate:
        name: tank/vol
        source:
          host: backend-c
        target:
          dataset: backup/from-c

- name: Discard what was written to the replica, then replicate
  cerss.zfs.zfs_snapshot_replicate:
    name: tank/vol
    on_divergence: rollback
    target:
      host: backend-b
      dataset: backup/vol
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, one sentence for each step, in order.
  type: list
  elements: str
  returned: always
  sample:
    - record the relationship with backend-b:backup/vol on tank/vol
    - bookmark tank/vol@s1 as a base of the relationship with backend-b:backup/vol
    - send tank/vol@s1 in full to backend-b:backup/vol
    - hold backup/vol@s1 as the last received snapshot of the relationship with backend-b:backup/vol
    - record tank/vol@s1 as arrived in backend-b:backup/vol
replicas:
  description: One item for each source dataset and its replica, those of each target together, in the order of
    O(targets).
  type: list
  elements: dict
  returned: always
  contains:
    id:
      description: The id of the relationship, 16 hex digits, the same on both sides. V(null) if the dataset could not
        be read.
      type: str
      returned: always
      sample: 3f1c9a0b7d5e2468
    source:
      description: The newest requested snapshot, or the dataset if there is none.
      type: str
      returned: always
      sample: tank/vol@s1
    source_host:
      description: The host of the source, as O(source.host) names it. V(local) is the one that the module runs on.
      type: str
      returned: always
      sample: local
    source_dataset:
      description: The source dataset.
      type: str
      returned: always
      sample: tank/vol
    snapshot:
      description: The part after the C(@) of RV(replicas[].source). V(null) if there is none.
      type: str
      returned: always
      sample: s1
    target:
      description: The replica, with its host unless that is the one that the module runs on.
      type: str
      returned: always
      sample: backend-b:backup/vol
    target_host:
      description: The host of the replica, as O(target.host) names it. V(local) is the one that the module runs on.
      type: str
      returned: always
      sample: backend-b
    target_dataset:
      description: The replica.
      type: str
      returned: always
      sample: backup/vol
    guid:
      description: GUID of the snapshot, as text. V(null) in check mode if the snapshot does not exist yet.
      type: str
      returned: always
      sample: "16716440784613086539"
    state:
      description: State of the snapshot on the replica, V(full), V(inbound) if a part has arrived, or V(absent).
      type: str
      returned: always
      sample: full
    base:
      description: Base of the first stream, a snapshot or bookmark. V(null) for a full stream and if nothing was sent.
      type: str
      returned: always
      sample: tank/vol@s0
    bytes_sent:
      description: Bytes of the streams, before compression. V(null) in check mode. On Linux this is what C(zfs send)
        has written. If it runs on another host or with sudo, this is what it has reported, which it does once a second;
        then a stream that takes less than that counts as 0.
      type: int
      returned: always
      sample: 1048576
    bytes_estimated:
      description: Size of the streams in bytes as ZFS estimated it before sending. V(null) in check mode, and if
        nothing was sent.
      type: int
      returned: always
      sample: 1050000
    seconds:
      description: How long it took, in seconds. V(null) in check mode.
      type: float
      returned: always
      sample: 2.5
    resumed:
      description: Whether an interrupted transfer was resumed.
      type: bool
      returned: always
      sample: false
    origin_preserved:
      description: After the first replication of a clone, whether the replica is a clone too. Otherwise V(null).
      type: bool
      returned: always
      sample: null
    steps:
      description: The streams, each with C(kind) (V(full), V(incremental) or V(resume)), C(base), C(snapshots),
        C(count), C(raw), C(origin) and, if it was sent, C(bytes_sent) and C(bytes_estimated). C(count) is the number
        of snapshots. Of more than ten, C(snapshots) has only the oldest and the newest one.
      type: list
      elements: dict
      returned: always
      sample: [{"kind": "full", "base": null, "snapshots": ["tank/vol@s1"], "count": 1, "raw": false, "origin": null}]
    failed:
      description: Whether this dataset failed. It does not stop the others.
      type: bool
      returned: always
      sample: false
    msg:
      description: Why it failed and how to fix it. V(null) if it did not fail.
      type: str
      returned: always
      sample: null
bytes_sent:
  description: Sum of RV(replicas[].bytes_sent). V(null) in check mode.
  type: int
  returned: always
  sample: 1048576
"""

from ansible_collections.cerss.zfs.plugins.module_utils._host.selection import OPTIONS as SELECTION_OPTIONS
from ansible_collections.cerss.zfs.plugins.module_utils._module import run_module
from ansible_collections.cerss.zfs.plugins.module_utils._replication import replicate
from ansible_collections.cerss.zfs.plugins.module_utils._replication.targets import (
    ENDPOINT_OPTIONS,
    LOGIN_OPTIONS,
    TARGET_OPTIONS,
)


def main() -> None:
    run_module(
        replicate.main,
        argument_spec={
            **SELECTION_OPTIONS,
            "name": {"type": "list", "elements": "str"},
            "target": {"type": "dict", "options": TARGET_OPTIONS},
            "targets": {"type": "list", "elements": "dict", "options": TARGET_OPTIONS},
            "source": {"type": "dict", "default": {}, "options": ENDPOINT_OPTIONS},
            "login": {"type": "dict", "options": LOGIN_OPTIONS},
            "include_snapshots": {"type": "list", "elements": "str", "default": []},
            "exclude_snapshots": {"type": "list", "elements": "str", "default": []},
            "intermediates": {"type": "bool", "default": True},
            "upcoming": {"type": "list", "elements": "str", "default": []},
            "job": {"type": "str"},
            "raw": {"type": "str", "choices": ["auto", "always", "never"], "default": "auto"},
            "properties": {"type": "dict", "default": {}},
            "on_divergence": {"type": "str", "choices": ["fail", "rollback", "reseed"], "default": "fail"},
            "reseed_keep": {"type": "bool", "default": True},
            "on_active": {"type": "str", "choices": ["attach", "wait", "fail"], "default": "attach"},
            "parallel": {"type": "int", "default": 2},
            "bandwidth_limit": {"type": "str"},
            "compression": {"type": "str", "choices": ["none", "zstd", "lz4"], "default": "none"},
            "stream": {
                "type": "dict",
                "options": {
                    name: {"type": "str", "choices": ["auto", "true", "false"], "default": "auto"}
                    for name in ("compressed", "large_blocks")
                },
            },
            "resume": {"type": "bool", "default": True},
            "retries": {"type": "int", "default": 3},
            "stall_timeout": {"type": "str", "default": "10m"},
            "timeout": {"type": "str"},
            "progress_interval": {"type": "str", "default": "1m"},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
