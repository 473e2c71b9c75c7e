#!/usr/bin/python
# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_dataset
short_description: Create, set up, mount, rename and remove ZFS filesystems and zvols
version_added: 0.1.0
author:
  - cerss.zfs contributors (@cerss)
description:
  - Sees to it that a filesystem or zvol exists, with these properties, under this name, mounted or not.
  - Removes it only when nothing depends on it. Snapshots, clones and datasets below it are never taken along.
options:
  name:
    description: The filesystem or zvol, as V(pool/dataset). V(pool) sets properties of an existing pool's own dataset.
    type: str
    required: true
  state:
    description: Whether it shall exist.
    type: str
    choices: [present, absent]
    default: present
  properties:
    description:
      - ZFS properties that it shall have, native ones and user properties. C(volsize) makes a new one a zvol.
      - YAML booleans mean V(on) and V(off), sizes such as V(10G) are compared by value, V(null) unsets (inherits).
      - What has the wished value by inheritance or default is left as it is.
      - Properties that are fixed at creation, as C(volblocksize), C(casesensitivity) and C(encryption), are verified
        afterwards; another value is an error. So is a smaller C(volsize), since it destroys data.
    type: dict
    default: {}
  mounted:
    description:
      - Whether a filesystem shall be mounted. Left out, an existing one stays as it is, and a new one is mounted
        when C(canmount=on), it has a mountpoint, and the module runs as root.
    type: bool
  renamed_from:
    description:
      - The name that it has had so far. It is renamed when that exists and O(name) does not.
      - What is mounted is mounted again under the new name, with everything below it.
    type: str
  create_parents:
    description: Also create missing filesystems above it.
    type: bool
    default: false
extends_documentation_fragment:
  - cerss.zfs.attributes
  - cerss.zfs.attributes.changes
seealso:
  - module: cerss.zfs.zfs_clone
  - module: cerss.zfs.zfs_snapshot
"""

EXAMPLES = r"""
- name: A filesystem for a database
  cerss.zfs.zfs_dataset:
    name: tank/db
    properties:
      recordsize: 16K
      atime: false
      quota: 200G
      org.example:owner: dba

- name: A zvol that takes room only as it is written to
  cerss.zfs.zfs_dataset:
    name: tank/vm7
    properties:
      volsize: 20G
      volblocksize: 16K
      refreservation: none

- name: Grow it
  cerss.zfs.zfs_dataset:
    name: tank/vm7
    properties:
      volsize: 40G

- name: Let a property be inherited again
  cerss.zfs.zfs_dataset:
    name: tank/db
    properties:
      compression: null

- name: Take it over in a place of its own, with everything above it
  cerss.zfs.zfs_dataset:
    name: tank/prod/eu/db
    renamed_from: tank/db
    create_parents: true

- name: Offline for a while
  cerss.zfs.zfs_dataset:
    name: tank/db
    mounted: false

- name: Remove it, unless it has snapshots or anything else depends on it
  cerss.zfs.zfs_dataset:
    name: tank/old
    state: absent
"""

RETURN = r"""
dataset:
  description: The dataset as it is now (in check mode as it would be). V(null) when it is not there.
  returned: success
  type: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: tank/db
    guid:
      description: Its GUID, as text since it exceeds what JSON keeps exact. V(null) in check mode before it is made.
      type: str
      sample: "9103675091350297519"
    type:
      description: V(filesystem) or V(volume) (a zvol).
      type: str
      sample: filesystem
    origin:
      description: The snapshot that it is a clone of, or V(null).
      type: str
      sample: null
    mounted:
      description: Whether it is mounted. V(null) for a zvol.
      type: bool
      sample: true
    properties:
      description: The properties that are set on it, as ZFS shows them (sizes in bytes).
      type: dict
      sample: {recordsize: "16384", atime: "off"}
actions:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: [create filesystem tank/db, mount tank/db]
"""

from ansible_collections.cerss.zfs.plugins.module_utils._dataset import dataset
from ansible_collections.cerss.zfs.plugins.module_utils._module import run_module


def main() -> None:
    run_module(
        dataset.main,
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "properties": {"type": "dict", "default": {}},
            "mounted": {"type": "bool"},
            "renamed_from": {"type": "str"},
            "create_parents": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
