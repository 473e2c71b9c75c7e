#!/usr/bin/python
# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_dataset_info
short_description: List ZFS filesystems and volumes with their properties
version_added: 0.1.0
author:
  - cerss.zfs contributors (@cerss)
description:
  - Returns for each filesystem or volume (zvol) its properties, its origin and clones, whether it is mounted and its
    encryption key loaded, and the replications in which it has a part.
  - The datasets of a suspended pool cannot be read. If one is named, that is an error, otherwise a warning. The result
    still has those of the other pools.
options:
  name:
    description:
      - Filesystems and volumes, as V(pool/dataset) or V(pool). All of all pools by default, none for an empty list.
      - One that does not exist is an error. The result still has the other ones.
    type: list
    elements: str
  recursive:
    description: Also list all datasets below.
    type: bool
    default: false
  exclude:
    description: Globs for full dataset names. Matching datasets and everything below them are left out.
    type: list
    elements: str
    default: []
  detail:
    description:
      - How much to read.
      - V(names) returns C(name), C(guid), C(origin) and C(clones). It takes one C(zfs) process.
      - V(state) returns all keys, and in RV(datasets[].properties) what is set on the dataset itself, or O(properties).
        It takes at most four C(zfs) processes for some thousand datasets.
      - V(full) returns all properties.
    type: str
    choices: [names, state, full]
    default: state
  properties:
    description: Native or user properties to return in RV(datasets[].properties), also where they are inherited or have
      their default.
    type: list
    elements: str
  limit:
    description: Return at most this many datasets. RV(total) still counts all of them.
    type: int
extends_documentation_fragment:
  - cerss.zfs.attributes
  - cerss.zfs.attributes.info
notes:
  - Thousands of datasets in a result need much memory on the controller, and AWX drops results above 700,000 bytes.
    For so many use O(limit), or O(detail=names).
  - Reading needs no permission (zfs-allow(8)).
seealso:
  - module: cerss.zfs.zfs_dataset
  - module: cerss.zfs.zfs_pool_info
  - module: cerss.zfs.zfs_replication_info
  - module: cerss.zfs.zfs_snapshot_info
"""

EXAMPLES = r"""
- name: Read a filesystem
  cerss.zfs.zfs_dataset_info:
    name: tank/db
  register: db

- name: Show what is set on it
  ansible.builtin.debug:
    msg: "{{ db.datasets[0].properties }}"

- name: List everything below tank but the scratch space
  cerss.zfs.zfs_dataset_info:
    name: tank
    recursive: true
    exclude: [tank/scratch]

- name: Read two properties of all datasets, wherever they are set
  cerss.zfs.zfs_dataset_info:
    properties: [compression, org.example:owner]
  register: all

- name: List only names, GUIDs and clones
  cerss.zfs.zfs_dataset_info:
    name: tank
    recursive: true
    detail: names

- name: Fail when a key is not loaded
  cerss.zfs.zfs_dataset_info:
  register: all
  failed_when: all.datasets | selectattr('key_loaded', 'false') | length > 0

- name: Count the datasets of all pools
  cerss.zfs.zfs_dataset_info:
    limit: 0
"""

RETURN = r"""
datasets:
  description:
    - The datasets, sorted by name, parents before children.
    - V(null) means that a value was not read or does not apply.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: tank/db
    guid:
      description: Its GUID. A string, since it is too large for an exact JSON number.
      type: str
      sample: "9103675091350297519"
    origin:
      description: The snapshot that it is a clone of. V(null) if it is not a clone.
      type: str
      sample: null
    clones:
      description: The clones of its snapshots.
      type: list
      elements: str
      sample: [tank/db-test]
    type:
      description: V(filesystem) or V(volume).
      type: str
      sample: filesystem
    created:
      description: When it was created, in UTC.
      type: str
      sample: "2026-11-23T07:08:02Z"
    created_epoch:
      description: The same in seconds since 1970.
      type: int
      sample: 1795417682
    used_bytes:
      description: Bytes that it uses, with its snapshots and everything below it.
      type: int
      sample: 1245184
    available_bytes:
      description: Bytes that can still be written to it and to what is below it.
      type: int
      sample: 268435456
    referenced_bytes:
      description: Bytes that it refers to, without its snapshots.
      type: int
      sample: 1048576
    snapshots_bytes:
      description: Bytes that the deletion of all its snapshots would free.
      type: int
      sample: 196608
    written_bytes:
      description: Bytes written since its newest snapshot.
      type: int
      sample: 4096
    volume_bytes:
      description: Size of a volume. V(null) for a filesystem.
      type: int
      sample: null
    mounted:
      description: Whether it is mounted. V(null) for a volume.
      type: bool
      sample: true
    mountpoint:
      description: Where it is mounted if it is, V(none) or V(legacy). V(null) for a volume.
      type: str
      sample: /tank/db
    encryption:
      description: The cipher. V(null) if it is not encrypted.
      type: str
      sample: aes-256-gcm
    encryption_root:
      description: The dataset whose key encrypts it, which is itself or one above it. V(null) if it is not encrypted.
      type: str
      sample: tank/db
    key_loaded:
      description: Whether that key is loaded. V(null) if it is not encrypted.
      type: bool
      sample: true
    replications:
      description:
        - The relationships in which it is the source or the replica. The other side has a host if it is another one.
        - M(cerss.zfs.zfs_replication_info) tells how far they are behind.
      type: list
      elements: dict
      sample:
        - id: 3f1c9a0b7d5e2468
          role: source
          source: tank/db
          target: backend-b:backup/db
    properties:
      description:
        - The properties that are set on the dataset itself, as for M(cerss.zfs.zfs_dataset), the requested
          O(properties), or with O(detail=full) all. As C(zfs get -p) shows them; V(null) if it does not have it.
        - Properties of this collection are left out.
      type: dict
      sample: {recordsize: "16384", atime: "off"}
    sources:
      description: Where each of the C(properties) comes from, V(local), V(default), V(inherited from tank) or the like.
      type: dict
      sample: {recordsize: local, atime: local}
total:
  description: The number of datasets that O(name), O(recursive) and O(exclude) select. O(limit) does not change it.
  returned: always
  type: int
  sample: 1
"""

from ansible_collections.cerss.zfs.plugins.module_utils._dataset import info
from ansible_collections.cerss.zfs.plugins.module_utils._module import run_module


def main() -> None:
    run_module(
        info.main,
        argument_spec={
            "name": {"type": "list", "elements": "str"},
            "recursive": {"type": "bool", "default": False},
            "exclude": {"type": "list", "elements": "str", "default": []},
            "detail": {"type": "str", "choices": ["names", "state", "full"], "default": "state"},
            "properties": {"type": "list", "elements": "str"},
            "limit": {"type": "int"},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
