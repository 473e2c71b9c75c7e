#!/usr/bin/python
# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_replication_info
short_description: Tell how far the replicas of ZFS volumes are behind
version_added: 0.1.0
author:
  - cerss.zfs contributors (@cerss)
description:
  - Reads the relationships of a backend, as a source or as a replica, without contacting the other side.
  - Also finds what dead relationships have left over.
options:
  name:
    description: Volumes or replicas to look at. Without it all datasets of all pools.
    type: list
    elements: str
    default: []
  max_lag:
    description:
      - A source whose replica is further behind than this is not healthy, as V(90s), V(15m), V(2h), V(7d) or seconds.
      - A replica does not know what its source has since; there it is the age of the last received snapshot.
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

- name: Show what is the matter
  ansible.builtin.debug:
    msg: "{{ all.replications | map(attribute='problems') | flatten }}"

- name: Read one replica on its own backend
  cerss.zfs.zfs_replication_info:
    name: backup/vol

- name: Read several volumes at once
  cerss.zfs.zfs_replication_info:
    name: [tank/vol, tank/db]

- name: Show the bytes that a failover would lose now
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
      description: The relationship, 16 hex digits.
      type: str
      returned: success
      sample: 3f1c9a0b7d5e2468
    role:
      description: Whether the dataset here is the V(source) or the V(replica).
      type: str
      returned: success
      sample: source
    source:
      description: The source volume, with its host when read on the replica.
      type: str
      returned: success
      sample: tank/vol
    target:
      description: The replica, with its host when read on the source. V(null) when that is not recorded any more.
      type: str
      returned: success
      sample: backend-b:backup/vol
    last_replicated:
      description: Last snapshot known to be on the replica; the cursor bookmark when the source has deleted the
        snapshot.
      type: str
      returned: success
      sample: tank/vol@s3
    snapshots_behind:
      description: How many snapshots are newer than that, temporary ones left out. V(null) on a replica.
      type: int
      returned: success
      sample: 2
    lag_seconds:
      description:
        - On a source the age of the last replicated snapshot, V(0) when nothing was written or snapshotted since.
        - On a replica the age of the last received snapshot.
      type: int
      returned: success
      sample: 3600
    lag_bytes:
      description: Bytes written on the source since, the head included. V(null) on a replica.
      type: int
      returned: success
      sample: 1048576
    in_progress:
      description: The transfer that runs or waits to be resumed, as in the key C(progress) of a snapshot. V(null)
        for none.
      type: dict
      returned: success
      sample: null
    healthy:
      description: Whether there is no problem.
      type: bool
      returned: success
      sample: true
    problems:
      description: What is the matter, in words.
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
            "name": {"type": "list", "elements": "str", "default": []},
            "max_lag": {"type": "str"},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
