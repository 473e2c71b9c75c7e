#!/usr/bin/python
# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_replication_info
short_description: Report how far replicas of ZFS datasets are behind
version_added: 0.1.0
author:
  - cerss.zfs contributors (@cerss)
description:
  - Reads the relationships of the sources and replicas on a backend without contacting the other side.
  - Also finds holds, bookmarks and commit points left over from relationships that no longer exist.
  - However long the histories are, it lists them and reads no more than the snapshots that are not replicated yet. It
    takes at most seven C(zfs) processes for some thousand datasets. It takes two more if the newest snapshot of a
    replica is not the last received one, and three more if a dataset in O(name) has no relationship.
options:
  name:
    description:
      - Sources or replicas to read. All datasets of all pools by default, none for an empty list.
      - One that does not exist is an error. The result still has the other ones.
    type: list
    elements: str
  recursive:
    description:
      - Also read all datasets below.
      - Without it, a warning names the datasets in O(name) that have relationships only below them.
    type: bool
    default: false
  max_lag:
    description:
      - How far a replica may be behind, such as V(90s), V(15m), V(2h), V(7d) or a number of seconds. More is a problem
        and V(critical). Without it a relationship is healthy however old its replica is.
      - A replica does not know what is new on its source, so there the limit applies to the age of the last received
        snapshot.
      - It does not apply during a pause, which only the source knows of, and on replicas to which nothing more is to
        come.
    type: str
  warn_lag:
    description: The same for RV(replications[].severity=warning), which is no problem. Not more than O(max_lag).
    type: str
extends_documentation_fragment:
  - cerss.zfs.attributes
  - cerss.zfs.attributes.info
seealso:
  - module: cerss.zfs.zfs_replication
  - module: cerss.zfs.zfs_snapshot_replicate
"""

EXAMPLES = r"""
- name: Read all relationships of a backend
  cerss.zfs.zfs_replication_info:
  register: all

- name: Fail when a replica is more than two hours behind
  cerss.zfs.zfs_replication_info:
    name: tank/vol
    max_lag: 2h
  register: vol
  failed_when: vol.replications | rejectattr('healthy') | length > 0

- name: Read all relationships below a dataset, with a warning after an hour and a problem after a day
  cerss.zfs.zfs_replication_info:
    name: tank
    recursive: true
    warn_lag: 1h
    max_lag: 1d
  register: below

- name: Show the sources that somebody should look after
  ansible.builtin.debug:
    msg: "{{ below.replications | rejectattr('severity', 'eq', 'ok') | map(attribute='source') }}"

- name: Show all problems
  ansible.builtin.debug:
    msg: "{{ all.replications | map(attribute='problems') | flatten }}"

- name: Read one replica on its own backend
  cerss.zfs.zfs_replication_info:
    name: backup/vol

- name: Read several datasets at once
  cerss.zfs.zfs_replication_info:
    name: [tank/vol, tank/db]

- name: Show how many bytes a failover would lose now
  ansible.builtin.debug:
    msg: "{{ vol.replications | sum(attribute='lag_bytes') }}"
"""

RETURN = r"""
replications:
  description: One item for each relationship and role.
  type: list
  elements: dict
  returned: success
  contains:
    id:
      description: The id of the relationship, 16 hex digits.
      type: str
      returned: success
      sample: 3f1c9a0b7d5e2468
    role:
      description: Whether the dataset on this backend is the V(source) or the V(replica).
      type: str
      returned: success
      sample: source
    source:
      description: The source dataset, with its host if read on the replica's side.
      type: str
      returned: success
      sample: tank/vol
    target:
      description: The replica, with its host if read on the source's side. V(null) if it is no longer recorded.
      type: str
      returned: success
      sample: backend-b:backup/vol
    source_host:
      description: The host in C(source). V(null) for this backend.
      type: str
      returned: success
      sample: null
    source_dataset:
      description: The dataset in C(source).
      type: str
      returned: success
      sample: tank/vol
    target_host:
      description: The host in C(target). V(null) for this backend, and if C(target) is V(null).
      type: str
      returned: success
      sample: backend-b
    target_dataset:
      description: The dataset in C(target).
      type: str
      returned: success
      sample: backup/vol
    state:
      description:
        - On a source V(active), V(paused), or V(left_over) if only holds and bookmarks of the relationship are left.
        - On a replica V(active), V(released) by a failover, V(put_aside) by a reseed, or V(unfinished) if a reseed will
          put it in the place of another one.
      type: str
      returned: success
      sample: active
    last_replicated:
      description:
        - Last snapshot known to be on the replica, or its bookmark if the source has deleted the snapshot.
        - On a replica that was released, the snapshot at which the histories part.
      type: str
      returned: success
      sample: tank/vol@s3
    snapshots_behind:
      description:
        - Number of newer snapshots on the source that the recorded filters of zfs_snapshot_replicate let pass, without
          temporary ones and those pending deletion.
        - As long as nothing has been replicated, the number of all snapshots. V(null) on a replica.
      type: int
      returned: success
      sample: 2
    lag_seconds:
      description:
        - On a source, the age of the last replicated snapshot in seconds, V(0) if nothing has changed since.
        - On a replica, the age of the last received snapshot in seconds.
        - V(null) if nothing was replicated, and if that snapshot was created in the future, which is a problem. The
          clocks of two hosts may differ by a minute.
      type: int
      returned: success
      sample: 3600
    lag_bytes:
      description:
        - Bytes written on the source since the last replicated snapshot, also those that are in no snapshot yet.
        - As long as nothing has been replicated, the bytes that the dataset and its snapshots use. Datasets below it do
          not count.
        - Always a number. V(0) on a replica, which does not know what is new on its source, and for what is left over
          from a relationship before it has replicated anything.
      type: int
      returned: success
      sample: 1048576
    in_progress:
      description:
        - On a source, the transfer that is running, if its module runs on this host. On a replica, also an interrupted
          transfer.
        - It has the shape of the key C(progress) of a snapshot. V(null) if there is none.
      type: dict
      returned: success
      sample: null
    healthy:
      description: True if C(problems) is empty.
      type: bool
      returned: success
      sample: true
    severity:
      description:
        - V(critical) if there is a problem, which a lag over O(max_lag) is too.
        - V(warning) if the lag is over O(warn_lag). Also if there are no other C(problems) than what somebody has asked
          for; that is a pause, a replica that a failover has released, and an old one that a reseed has kept.
        - V(ok) otherwise.
      type: str
      returned: success
      sample: ok
    problems:
      description:
        - One sentence for each problem. A pause is one, and so is an old replica that a reseed has kept.
        - A source reports a transfer as interrupted while it runs from another host, as in a pull or a relay.
      type: list
      elements: str
      returned: success
      sample: []
"""

from ansible_collections.cerss.zfs.plugins.module_utils._module import run_module
from ansible_collections.cerss.zfs.plugins.module_utils._replication import info


def main() -> None:
    run_module(
        info.main,
        argument_spec={
            "name": {"type": "list", "elements": "str"},
            "recursive": {"type": "bool", "default": False},
            "max_lag": {"type": "str"},
            "warn_lag": {"type": "str"},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
