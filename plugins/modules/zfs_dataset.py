#!/usr/bin/python
# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_dataset
short_description: Create, configure, mount, rename and remove ZFS filesystems and volumes
version_added: 0.1.0
author:
  - cerss.zfs contributors (@cerss)
description:
  - Ensures that a filesystem or volume (zvol) exists under this name, with these properties, mounted or unmounted.
  - Removes it, and what depends on it only if O(on_dependents) says so.
options:
  name:
    description: The filesystem or volume, as V(pool/dataset). With V(pool) you set properties of the root dataset of an
      existing pool.
    type: str
    required: true
  state:
    description: Whether it must exist.
    type: str
    choices: [present, absent]
    default: present
  properties:
    description:
      - Native and user properties. With C(volsize) a new dataset is a volume, without it a filesystem.
      - YAML booleans become V(on) and V(off), and for user properties V(true) and V(false). Sizes such as V(10G) are
        compared by value. V(null) unsets a property, so that it is inherited.
      - A property that has the requested value by inheritance or default is left as it is.
      - Properties that are fixed at creation, such as C(volblocksize), C(casesensitivity) and C(encryption), cannot be
        changed later; another value is an error. So is a smaller C(volsize), since it destroys data.
    type: dict
    default: {}
  mounted:
    description:
      - Whether a filesystem must be mounted. If omitted, an existing one stays as it is, and a new one is mounted if it
        has C(canmount=on) and a mountpoint and the module runs as root.
    type: bool
  renamed_from:
    description:
      - Its former name. If that exists and O(name) does not, the dataset is renamed.
      - A mounted filesystem, and those below it, are mounted again under the new name.
    type: str
  create_parents:
    description: Whether to create missing filesystems above it, with C(canmount=off).
    type: bool
    default: false
  on_dependents:
    description:
      - What to do on removal if the dataset has snapshots, clones of these, or datasets below it.
      - V(fail) lists them and changes nothing.
      - V(cascade) also removes the datasets below it, all snapshots, their clones wherever these are, and so on.
        RV(actions) lists each one. Holds that a relationship left behind are released. If anything else is in the way,
        nothing is changed and the error lists it. This can be another hold, a relationship, a transfer that runs or can
        be resumed, or a dataset below a clone that is not in the tree.
      - A cascade unmounts all filesystems first. So one that is in use stops it before anything is destroyed.
    type: str
    choices: [fail, cascade]
    default: fail
  key:
    description:
      - The encryption key of the dataset. If omitted, it stays as it is.
      - V(loaded) loads it, and V(unloaded) unloads it. Only the dataset that the key belongs to can be named, which is
        RV(dataset.encryption_root).
      - V(inherited) makes the dataset use the key of its parent instead of its own (C(zfs change-key -i)). Both keys
        are needed for that, so its own is loaded first and that of the parent must be loaded already. It is refused for
        a replica that receives raw streams, since each of them brings the key of the source back.
      - A wrong key is an error in check mode too.
    type: str
    choices: [loaded, unloaded, inherited]
  key_file:
    description: Absolute path of a file on the host with the key. If omitted, the key is where the property
      C(keylocation) says. A replica has C(keylocation=prompt) at first, so its key needs this option or O(key_text).
    type: path
  key_text:
    description: The key itself, in the format that C(keyformat) says. C(keyformat=raw) needs O(key_file).
    type: str
extends_documentation_fragment:
  - cerss.zfs.attributes
  - cerss.zfs.attributes.changes
seealso:
  - module: cerss.zfs.zfs_clone
  - module: cerss.zfs.zfs_snapshot
"""

EXAMPLES = r"""
- name: Create a filesystem for a database
  cerss.zfs.zfs_dataset:
    name: tank/db
    properties:
      recordsize: 16K
      atime: false
      quota: 200G
      org.example:owner: dba

- name: Create a volume that uses space only when written to
  cerss.zfs.zfs_dataset:
    name: tank/vm7
    properties:
      volsize: 20G
      volblocksize: 16K
      refreservation: none

- name: Grow the volume
  cerss.zfs.zfs_dataset:
    name: tank/vm7
    properties:
      volsize: 40G

- name: Unset a property, so that it is inherited
  cerss.zfs.zfs_dataset:
    name: tank/db
    properties:
      compression: null

- name: Rename the filesystem, and create the filesystems above the new name
  cerss.zfs.zfs_dataset:
    name: tank/prod/eu/db
    renamed_from: tank/db
    create_parents: true

- name: Unmount a filesystem
  cerss.zfs.zfs_dataset:
    name: tank/db
    mounted: false

- name: Load the key of an encrypted filesystem and mount it
  cerss.zfs.zfs_dataset:
    name: tank/secret
    key: loaded
    key_text: correct horse battery staple
    mounted: true

- name: Let the filesystem below use the same key from now on
  cerss.zfs.zfs_dataset:
    name: tank/secret/mail
    key: inherited
    key_text: correct horse battery staple

- name: Remove a filesystem unless something depends on it
  cerss.zfs.zfs_dataset:
    name: tank/old
    state: absent

- name: Remove a tree with all its datasets and snapshots, and the clones of these
  cerss.zfs.zfs_dataset:
    name: tank/ci
    state: absent
    on_dependents: cascade
"""

RETURN = r"""
dataset:
  description: The dataset as it is now, or would be in check mode. V(null) if it does not exist.
  returned: success
  type: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: tank/db
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
      description: The snapshot that it is a clone of. V(null) if it is not a clone.
      type: str
      sample: null
    mounted:
      description: Whether it is mounted. V(null) for a volume.
      type: bool
      sample: true
    encryption_root:
      description: The dataset whose key encrypts it, which is itself or one above it. V(null) if it is not encrypted.
      type: str
      sample: null
    key_loaded:
      description: Whether that key is loaded. V(null) if it is not encrypted.
      type: bool
      sample: null
    properties:
      description: The properties that are set on the dataset itself, as C(zfs get -p) shows them.
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
            "on_dependents": {"type": "str", "choices": ["fail", "cascade"], "default": "fail"},
            "key": {"type": "str", "choices": ["loaded", "unloaded", "inherited"], "no_log": False},
            "key_file": {"type": "path", "no_log": False},
            "key_text": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
