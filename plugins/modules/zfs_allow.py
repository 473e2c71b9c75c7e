#!/usr/bin/python
# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_allow
short_description: Delegate ZFS permissions to a user
version_added: 0.1.0
author:
  - cerss.zfs contributors (@cerss)
description:
  - Ensures that a user has exactly these permissions on a dataset (see zfs-allow(8)).
  - Does not change permissions of groups or of everyone, permission sets, create-time permissions, or what the user has
    on datasets above and below.
options:
  dataset:
    description: The filesystem or volume (zvol), as V(pool/dataset).
    type: str
    required: true
  user:
    description: Name or number of the user. By number you can also name a user that no longer exists.
    type: str
    required: true
  permissions:
    description:
      - The permissions of the user, as names of subcommands and properties, or permission sets as V(@name).
      - All others are removed.
      - Required with O(state=present).
    type: list
    elements: str
    default: []
  reach:
    description:
      - The list of permissions to manage. ZFS has one for the dataset itself (V(local)) and one for everything below it
        (V(descendents)). With one of them, the other list is left as it is.
    type: str
    choices: [both, local, descendents]
    default: both
  state:
    description: V(absent) removes the permissions of the user that O(reach) covers. The dataset need not exist then.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - cerss.zfs.attributes
  - cerss.zfs.attributes.changes
seealso:
  - module: cerss.zfs.zfs_dataset
  - module: cerss.zfs.zfs_snapshot_replicate
"""

EXAMPLES = r"""
- name: Delegate what a user needs to send snapshots
  cerss.zfs.zfs_allow:
    dataset: tank/db
    user: cerss-zfs
    permissions: [send, hold, release, bookmark, userprop, destroy]

- name: Delegate permissions on everything below a dataset, but not on the dataset itself
  cerss.zfs.zfs_allow:
    dataset: backup/site-a
    user: cerss-zfs
    permissions: [destroy, mount]
    reach: descendents

- name: Delegate what a user needs to receive replicas below a dataset
  cerss.zfs.zfs_allow:
    dataset: backup/site-a
    user: cerss-zfs
    permissions: [receive, create, mount, hold, release, userprop, readonly, canmount, destroy]

- name: Delegate permissions on a dataset, but not on anything below it
  cerss.zfs.zfs_allow:
    dataset: tank/db
    user: operator
    permissions: [snapshot, mount]
    reach: local

- name: Reduce the permissions of a user to creating snapshots
  cerss.zfs.zfs_allow:
    dataset: tank/db
    user: operator
    permissions: [snapshot]

- name: Remove all permissions of a user
  cerss.zfs.zfs_allow:
    dataset: tank/db
    user: cerss-zfs
    state: absent
"""

RETURN = r"""
permissions:
  description: What the user has on the dataset now, or would have in check mode.
  returned: success
  type: dict
  contains:
    local:
      description: On the dataset itself.
      type: list
      elements: str
      sample: [hold, release, send]
    descendents:
      description: On everything below it.
      type: list
      elements: str
      sample: [hold, release, send]
actions:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: ["allow cerss-zfs hold,release on tank/db and below"]
"""

from ansible_collections.cerss.zfs.plugins.module_utils._dataset import allow
from ansible_collections.cerss.zfs.plugins.module_utils._module import run_module


def main() -> None:
    run_module(
        allow.main,
        argument_spec={
            "dataset": {"type": "str", "required": True},
            "user": {"type": "str", "required": True},
            "permissions": {"type": "list", "elements": "str", "default": []},
            "reach": {"type": "str", "choices": ["both", "local", "descendents"], "default": "both"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
