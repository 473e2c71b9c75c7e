#!/usr/bin/python
# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_clone
short_description: Make, promote and remove clones of ZFS snapshots
version_added: 0.1.0
author:
  - cerss.zfs contributors (@cerss)
description:
  - A clone is a writable filesystem or zvol that begins as a snapshot and takes room only for what is changed in it.
  - The GUID of the snapshot is recorded on the clone (C(cerss.zfs:origin)), so a later run can tell whether the dataset
    of that name really was made from that snapshot, even after a promotion or a rename.
options:
  name:
    description: The clone, as V(pool/dataset). Its parent must exist.
    type: str
    required: true
  snapshot:
    description:
      - The snapshot that it is made from, as V(pool/dataset@snapshot), in the same pool.
      - Required with O(state=present). With O(state=absent) a clone of another snapshot is refused when it is given.
      - On a dataset that exists it is verified by GUID. A promoted clone owns that snapshot itself, which is fine.
    type: str
  properties:
    description:
      - ZFS properties that the clone shall have, native ones and user properties.
      - YAML booleans mean V(on) and V(off), sizes such as V(10G) are compared by value, V(null) unsets (inherits).
      - What has the wished value by inheritance or default is left as it is.
      - Properties that are fixed at creation, as C(volblocksize), C(casesensitivity) and C(encryption), are those of
        the origin; wishing them otherwise is an error.
    type: dict
    default: {}
  state:
    description: Whether the clone shall exist. Removing takes clones only, never another dataset.
    type: str
    choices: [present, absent]
    default: present
  promoted:
    description:
      - V(true) makes the clone independent of its origin, which afterwards is a clone of it. Snapshots up to the origin
        move to it.
      - V(false) is an error on a promoted clone, since ZFS cannot take it back. Left out, it stays as it is.
      - Refused when the clone, or the volume that it was made from, is in a replication.
    type: bool
  on_dependents:
    description:
      - What to do with snapshots and clones of the clone, and with datasets below it, when it is removed.
      - V(fail) lists them and changes nothing.
      - V(cascade) removes snapshots and clones too, the last in the chain first, each named in RV(actions). What others
        hold or a replication needs is never removed, nor a dataset below it that is no such clone.
    type: str
    choices: [fail, cascade]
    default: fail
  wait:
    description:
      - How long to wait for a snapshot that is still being received, as V(90s), V(15m), V(2h) or whole seconds.
    type: str
    default: '0'
extends_documentation_fragment:
  - cerss.zfs.attributes
  - cerss.zfs.attributes.changes
seealso:
  - module: cerss.zfs.zfs_snapshot
  - module: cerss.zfs.zfs_snapshot_replicate
  - module: cerss.zfs.zfs_dataset
"""

EXAMPLES = r"""
- name: A writable copy of last night's database
  cerss.zfs.zfs_clone:
    name: tank/db-test
    snapshot: tank/db@nightly

- name: Look into a replica without touching it
  cerss.zfs.zfs_clone:
    name: backup/look
    snapshot: backup/tank/db@nightly
    properties:
      readonly: true
      mountpoint: /srv/look

- name: Clone as soon as the snapshot has arrived, for at most an hour
  cerss.zfs.zfs_clone:
    name: backup/db-live
    snapshot: backup/tank/db@cutover
    wait: 1h

- name: Boot volume of a virtual machine from a master image, with room kept for it
  cerss.zfs.zfs_clone:
    name: tank/vm7-boot
    snapshot: tank/images/debian@v12
    properties:
      refreservation: 8G
      org.example:owner: vm7

- name: Let the clone take the place of the volume that it was made from
  cerss.zfs.zfs_clone:
    name: tank/db-repaired
    snapshot: tank/db@nightly
    promoted: true

- name: Remove a clone, unless something depends on it
  cerss.zfs.zfs_clone:
    name: tank/db-test
    state: absent

- name: Remove a clone with its own snapshots and their clones
  cerss.zfs.zfs_clone:
    name: tank/db-test
    state: absent
    on_dependents: cascade
"""

RETURN = r"""
clone:
  description: The clone as it stands (in check mode as it would stand). V(null) when it is not there.
  returned: success
  type: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: tank/db-test
    guid:
      description: Its GUID, as text since it exceeds what JSON keeps exact. V(null) in check mode before it is made.
      type: str
      sample: "9103675091350297519"
    type:
      description: V(filesystem) or V(volume).
      type: str
      sample: filesystem
    origin:
      description: The snapshot that it depends on, or V(null) when it depends on none.
      type: dict
      contains:
        name:
          description: The snapshot's name as it is now.
          type: str
          sample: tank/db@nightly
        guid:
          description: Its GUID.
          type: str
          sample: "16716440784613086539"
    promoted:
      description: Whether it owns the snapshot that it was made from.
      type: bool
      sample: false
    dependents:
      description: What stands on it.
      type: dict
      contains:
        snapshots:
          description: Its own snapshots.
          type: list
          elements: str
          sample: [tank/db-test@before]
        clones:
          description: Clones of these.
          type: list
          elements: str
          sample: []
    properties:
      description: The properties that are set on the clone itself, as ZFS shows them (sizes in bytes).
      type: dict
      sample: {readonly: "on", mountpoint: /srv/look}
actions:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: [create clone tank/db-test of tank/db@nightly]
"""

from ansible_collections.cerss.zfs.plugins.module_utils._dataset import clone
from ansible_collections.cerss.zfs.plugins.module_utils._module import run_module


def main() -> None:
    run_module(
        clone.main,
        argument_spec={
            "name": {"type": "str", "required": True},
            "snapshot": {"type": "str"},
            "properties": {"type": "dict", "default": {}},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "promoted": {"type": "bool"},
            "on_dependents": {"type": "str", "choices": ["fail", "cascade"], "default": "fail"},
            "wait": {"type": "str", "default": "0"},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
