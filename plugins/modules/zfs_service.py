#!/usr/bin/python
# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_service
short_description: Take ZFS datasets out of service and put them into service
version_added: 0.1.0
author:
  - cerss.zfs contributors (@cerss)
description:
  - Of a dataset and its replica one serves its users, and the other one is out of service. This module changes that on
    one host. The role P(cerss.zfs.zfs_failover#role) uses it on both.
  - A dataset that is out of service is read-only and unmounted, and is not mounted at boot. A property of its own
    remembers what C(readonly), C(canmount) and C(mountpoint) were and whether it was mounted.
  - Neither deletes data, snapshots or marks of relationships.
options:
  name:
    description: The filesystems and volumes.
    type: list
    elements: str
    required: true
  state:
    description:
      - V(out_of_service) makes the datasets read-only, first of all, and unmounts them. One that is in use cannot be
        unmounted, and the module fails then; stop its users and run it again, or put it into service again.
      - V(in_service) gives back what it was before and mounts it if it was mounted. A replica that was released and has
        never been in service is made writable and mounted. Any other dataset is in service already and is left as it
        is.
      - V(in_service) is refused for a replica that is not released, for a filesystem whose key is not loaded, and if
        another filesystem is mounted at the mountpoint.
    type: str
    choices: [in_service, out_of_service]
    default: in_service
  settings:
    description:
      - How datasets are to be in service that have never been, as RV(datasets[].settings) shows it for the dataset on
        the other side. One that was taken out of service gets back what it had.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: One of the datasets in O(name).
        type: str
        required: true
      readonly:
        description: Its C(readonly), V(on) or V(off).
        type: str
      canmount:
        description: Its C(canmount). A volume has none.
        type: str
      mountpoint:
        description: Its C(mountpoint). A volume has none.
        type: str
      mounted:
        description: Whether to mount it, if its properties allow that.
        type: bool
        default: true
      local:
        description:
          - Which of these were set on the dataset itself. If its parent is put into service too, a C(mountpoint) that
            was not set there is inherited.
        type: list
        elements: str
        default: []
extends_documentation_fragment:
  - cerss.zfs.attributes
  - cerss.zfs.attributes.changes
seealso:
  - module: cerss.zfs.zfs_replication
  - module: cerss.zfs.zfs_dataset
"""

EXAMPLES = r"""
- name: Stop all writes to a dataset, and unmount it
  cerss.zfs.zfs_service:
    name: [tank/db]
    state: out_of_service

- name: Give it back to its users
  cerss.zfs.zfs_service:
    name: [tank/db]

- name: Find out whether a dataset is in service, without changing it
  cerss.zfs.zfs_service:
    name: [tank/db]
    state: out_of_service
  check_mode: true
  register: found

- name: Show it
  ansible.builtin.debug:
    var: found.datasets[0].in_service
"""

RETURN = r"""
datasets:
  description: The datasets as they are afterwards, or now in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: tank/db
    type:
      description: V(filesystem) or V(volume).
      type: str
      sample: filesystem
    in_service:
      description: V(false) if it was taken out of service, or is a replica that is not released.
      type: bool
      sample: false
    readonly:
      description: Whether it is read-only now.
      type: bool
      sample: true
    settings:
      description: How it is in service, now or when it is put into service again, in the form of O(settings).
      type: dict
      sample:
        name: tank/db
        readonly: "off"
        canmount: "on"
        mountpoint: /tank/db
        mounted: true
        local: []
actions:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: [take tank/db out of service, unmount tank/db]
"""

from ansible_collections.cerss.zfs.plugins.module_utils._dataset import service
from ansible_collections.cerss.zfs.plugins.module_utils._module import run_module


def main() -> None:
    run_module(
        service.main,
        argument_spec={
            "name": {"type": "list", "elements": "str", "required": True},
            "state": {"type": "str", "choices": ["in_service", "out_of_service"], "default": "in_service"},
            "settings": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "readonly": {"type": "str"},
                    "canmount": {"type": "str"},
                    "mountpoint": {"type": "str"},
                    "mounted": {"type": "bool", "default": True},
                    "local": {"type": "list", "elements": "str", "default": []},
                },
            },
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
