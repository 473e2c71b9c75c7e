#!/usr/bin/python
# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_replication
short_description: Adopt or end a replication relationship of ZFS volumes
version_added: 0.1.0
author:
  - cerss.zfs contributors (@cerss)
description:
  - A relationship is one source volume with one replica. M(cerss.zfs.zfs_snapshot_replicate) makes it by
    replicating; this
    module ends it, or adopts an existing copy as the replica.
  - Ending it removes what the relationship has left on both sides (holds, bookmarks and properties whose names begin
    with
    C(cerss.zfs)) and aborts a partial receive. Replicated snapshots stay, and so does everything else.
options:
  id:
    description:
      - The relationship, 16 hex digits, as M(cerss.zfs.zfs_replication_info) shows it.
      - Needed to end one when O(name) and O(target.dataset) are not both given.
    type: str
  name:
    description: The source volume.
    type: str
  state:
    description:
      - V(absent) ends the relationship.
      - V(present) adopts an existing dataset as the replica of the volume. Both must have a snapshot in common by GUID.
    type: str
    choices: [present, absent]
    default: present
  force:
    description:
      - End the relationship on the side that can be reached when the other one is gone. A warning says what was not
        reached.
    type: bool
    default: false
extends_documentation_fragment:
  - cerss.zfs.attributes
  - cerss.zfs.attributes.changes
  - cerss.zfs.endpoint.target
  - cerss.zfs.endpoint.source
seealso:
  - module: cerss.zfs.zfs_replication_info
  - module: cerss.zfs.zfs_snapshot_replicate
"""

EXAMPLES = r"""
- name: End a relationship on both sides
  cerss.zfs.zfs_replication:
    name: tank/vol
    target:
      host: backend-b
      dataset: backup/vol
    state: absent

- name: End it by its id
  cerss.zfs.zfs_replication:
    id: 3f1c9a0b7d5e2468
    target:
      host: backend-b
    state: absent

- name: End it although the other backend is gone for good
  cerss.zfs.zfs_replication:
    name: tank/vol
    target:
      host: backend-b
      dataset: backup/vol
    state: absent
    force: true

- name: On the replica's side, when the source is gone for good
  cerss.zfs.zfs_replication:
    id: 3f1c9a0b7d5e2468
    target:
      host: local
    state: absent

- name: Adopt a copy that was once received by hand
  cerss.zfs.zfs_replication:
    name: tank/vol
    target:
      host: backend-b
      dataset: backup/vol
    state: present

- name: End a relationship from pool to pool
  cerss.zfs.zfs_replication:
    name: tank/vol
    target:
      host: local
      dataset: backup/vol
    state: absent
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be, in order; one plain sentence each.
  type: list
  elements: str
  returned: always
  sample:
    - release cerss.zfs:last:3f1c9a0b7d5e2468 from backup/vol@s3
    - remove cerss.zfs:source from backend-b:backup/vol
id:
  description: The relationship. V(null) when there is none.
  type: str
  returned: always
  sample: 3f1c9a0b7d5e2468
"""

from ansible_collections.cerss.zfs.plugins.module_utils._module import run_module
from ansible_collections.cerss.zfs.plugins.module_utils._replication import relationship
from ansible_collections.cerss.zfs.plugins.module_utils._replication.options import ENDPOINT_OPTIONS


def main() -> None:
    run_module(
        relationship.main,
        argument_spec={
            "id": {"type": "str"},
            "name": {"type": "str"},
            "target": {"type": "dict", "default": {}, "options": {**ENDPOINT_OPTIONS, "dataset": {"type": "str"}}},
            "source": {"type": "dict", "default": {}, "options": ENDPOINT_OPTIONS},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "force": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
