#!/usr/bin/python
# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_clone
short_description: Create, promote and remove clones of ZFS snapshots
version_added: 0.1.0
author:
  - cerss.zfs contributors (@cerss)
description:
  - Creates, promotes and removes clones. A clone is a writable filesystem or volume (zvol) that starts with the content
    of a snapshot and uses space only for what changes.
  - The GUID of the snapshot is recorded on the clone (C(cerss.zfs:origin)), so later runs can tell whether the dataset
    was created from that snapshot, even after a promotion or a rename.
  - ZFS mounts a new filesystem. If it cannot, because its key is not loaded or the filesystem above is mounted
    read-only, the clone is created all the same, and a warning gives the reason.
  - If something is wrong with one of several clones, the task fails after it has done what it can for the others.
options:
  name:
    description: The clones, as V(pool/dataset). With an empty list, the task does nothing.
    type: list
    elements: str
    required: true
  snapshot:
    description:
      - The snapshot to clone, as V(pool/dataset@snapshot), in the same pool.
      - Required with O(state=present).
      - With O(state=absent), a clone is not removed if its origin has another part after the C(@). Only this part is
        compared, and a promoted clone, which has no origin, is not checked.
      - With O(state=present), the snapshot of an existing clone is compared by GUID, even if a promotion has moved it.
    type: str
  properties:
    description:
      - Native and user properties of the clone.
      - YAML booleans become V(on) and V(off), and for user properties V(true) and V(false). Sizes such as V(10G) are
        compared by value. V(null) unsets a property, so that it is inherited.
      - A property that has the requested value by inheritance or default is left as it is.
      - Properties that are fixed at creation, such as C(volblocksize), C(casesensitivity) and C(encryption), are taken
        from the origin. Another value is an error.
    type: dict
    default: {}
  state:
    description:
      - Whether the clone must exist.
      - V(absent) removes the dataset if it is a clone or was created as one, even if it has been promoted since. Any
        other dataset is an error.
    type: str
    choices: [present, absent]
    default: present
  promoted:
    description:
      - V(true) promotes the clone. The snapshots up to its origin move to it, and the dataset that it was created from
        becomes a clone of it.
      - V(true) needs just one O(name).
      - V(false) is an error on a promoted clone, since ZFS cannot undo a promotion. If omitted, the clone stays as it
        is.
      - It is an error if the clone, or the dataset that it was created from, is replicated.
    type: bool
  mounted:
    description:
      - Whether a filesystem must be mounted. If omitted, an existing clone stays as it is.
      - V(true) is a warning if the key is not loaded or the module does not run as root, and an error if ZFS cannot
        mount the clone for another reason.
    type: bool
  create_parents:
    description: Whether to create missing filesystems above the clones, with C(canmount=off).
    type: bool
    default: false
  on_dependents:
    description:
      - What to do on removal if the clone has snapshots, clones of these, or datasets below it.
      - V(fail) lists them and changes nothing.
      - V(cascade) also removes the snapshots and their clones, starting at the end of each chain; RV(actions) lists
        each one. After a promotion, these clones include the dataset that the clone was created from. If anything else
        is in the way, such as a hold, a replication or another dataset below, the clone stays as it is.
      - A cascade unmounts all filesystems first. So one that is in use stops it before anything is destroyed.
    type: str
    choices: [fail, cascade]
    default: fail
  unused_only:
    description:
      - With O(state=absent), remove only clones that are not in use and have no dependents. The others stay as they
        are, and RV(clones[].kept) tells why. So does a clone that was not created by this collection.
      - A filesystem is in use if it is mounted. A volume is in use if its device or a partition of it is open, mounted
        or part of another device. Only root sees who has it open, but ZFS never destroys a volume that is open.
    type: bool
    default: false
  wait:
    description:
      - Time to wait for a snapshot that is still being received, as V(90s), V(15m), V(2h) or whole seconds.
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
- name: Create a writable copy of last night's database
  cerss.zfs.zfs_clone:
    name: tank/db-test
    snapshot: tank/db@nightly

- name: Read a replica without changing it
  cerss.zfs.zfs_clone:
    name: backup/look
    snapshot: backup/tank/db@nightly
    properties:
      readonly: true
      mountpoint: /srv/look

- name: Clone a snapshot as soon as it has been received, within an hour
  cerss.zfs.zfs_clone:
    name: backup/db-live
    snapshot: backup/tank/db@cutover
    wait: 1h

- name: Create a writable copy for each of three developers, and the filesystem above them
  cerss.zfs.zfs_clone:
    name:
      - tank/dev/ann
      - tank/dev/bob
      - tank/dev/eve
    snapshot: tank/db@nightly
    create_parents: true

- name: Create the boot disk of a virtual machine from a master image, with reserved space
  cerss.zfs.zfs_clone:
    name: tank/vm7-boot
    snapshot: tank/images/debian@v12
    properties:
      refreservation: 8G
      org.example:owner: vm7

- name: Promote a clone, so that the dataset that it was created from can be removed
  cerss.zfs.zfs_clone:
    name: tank/db-repaired
    snapshot: tank/db@nightly
    promoted: true

- name: Remove a clone unless something depends on it
  cerss.zfs.zfs_clone:
    name: tank/db-test
    state: absent

- name: Remove the clones of the last release that are no longer in use
  cerss.zfs.zfs_clone:
    name: [tank/vm7-v11, tank/vm8-v11]
    state: absent
    unused_only: true

- name: Remove a clone with its snapshots and their clones
  cerss.zfs.zfs_clone:
    name: tank/db-test
    state: absent
    on_dependents: cascade
"""

RETURN = r"""
clones:
  description: The clones in the order of O(name), as they are now, or would be in check mode. With O(state=absent),
    only the keys RV(clones[].name), RV(clones[].failed), RV(clones[].msg) and RV(clones[].kept) have a value.
  returned: success, and failure after the options were checked
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: tank/db-test
    guid:
      description: Its GUID. A string, since it is too large for an exact JSON number. V(null) in check mode if it does
        not exist yet.
      type: str
      sample: "9103675091350297519"
    type:
      description: V(filesystem) or V(volume).
      type: str
      sample: filesystem
    origin:
      description: The snapshot that it is a clone of. V(null) if there is none, as after a promotion.
      type: dict
      contains:
        name:
          description: The current name of the snapshot.
          type: str
          sample: tank/db@nightly
        guid:
          description: Its GUID.
          type: str
          sample: "16716440784613086539"
    promoted:
      description: Whether the snapshot that it was created from is its own now.
      type: bool
      sample: false
    mounted:
      description: Whether it is mounted. V(null) for a volume.
      type: bool
      sample: true
    dependents:
      description: What depends on it.
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
      description: The properties that are set on the clone itself, as C(zfs get -p) shows them.
      type: dict
      sample: {readonly: "on", mountpoint: /srv/look}
    failed:
      description: Whether the task failed for this clone.
      type: bool
      sample: false
    msg:
      description: Why it failed.
      type: str
      sample: "tank/dev/eve exists but is not a clone of tank/db@nightly: it is a filesystem that was not created from a
        snapshot. Choose another name, or give the snapshot that it was created from"
    kept:
      description: Why it was not removed. V(null) if it was.
      returned: with O(unused_only=true)
      type: str
      sample: "tank/vm7-v11 is in use: open in process 812 (qemu-system-x86)"
clone:
  description: The first of RV(clones), without C(failed), C(msg) and C(kept). V(null) if it does not exist.
  returned: success, and failure after the options were checked
  type: dict
  sample: {"name": "tank/db-test", "guid": "9103675091350297519", "type": "filesystem", "promoted": false}
actions:
  description: What was done, or would be done in check mode, in order.
  returned: success, and failure after the options were checked
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
            "name": {"type": "list", "elements": "str", "required": True},
            "snapshot": {"type": "str"},
            "properties": {"type": "dict", "default": {}},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "promoted": {"type": "bool"},
            "mounted": {"type": "bool"},
            "create_parents": {"type": "bool", "default": False},
            "on_dependents": {"type": "str", "choices": ["fail", "cascade"], "default": "fail"},
            "unused_only": {"type": "bool", "default": False},
            "wait": {"type": "str", "default": "0"},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
