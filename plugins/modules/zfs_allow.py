#!/usr/bin/python
# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_allow
short_description: Delegate exactly these ZFS permissions to a user
version_added: 0.1.0
author:
  - cerss.zfs contributors (@cerss)
description:
  - Sees to it that a user has exactly these permissions on a dataset, no less and no more (see zfs-allow(8)).
  - Permissions of groups and of everyone, permission sets, create time permissions, and what the user has on datasets
    above and below are left as they are.
options:
  dataset:
    description: The filesystem or zvol, as V(pool/dataset).
    type: str
    required: true
  user:
    description: Name of the user. A number also names a user that was removed and has left permissions behind.
    type: str
    required: true
  permissions:
    description:
      - What the user shall have, names of subcommands and properties, or permission sets as V(@name).
      - What is not listed is taken away.
      - Needed with O(state=present).
    type: list
    elements: str
    default: []
  reach:
    description:
      - Which of the two lists that ZFS keeps is decided about, that for the dataset itself (V(local)), that for
        everything below it (V(descendents)), or V(both). The other one is left as it is.
    type: str
    choices: [both, local, descendents]
    default: both
  state:
    description: V(absent) takes all permissions away from the user. A dataset that does not exist is fine then.
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
- name: What a user needs to send snapshots from here
  cerss.zfs.zfs_allow:
    dataset: tank/db
    user: cerss-zfs
    permissions: [send, hold, release, bookmark, userprop, destroy, mount]

- name: On everything below, but not on the dataset itself
  cerss.zfs.zfs_allow:
    dataset: backup/site-a
    user: cerss-zfs
    permissions: [destroy, mount]
    reach: descendents

- name: What a user needs to receive replicas below a dataset
  cerss.zfs.zfs_allow:
    dataset: backup/site-a
    user: cerss-zfs
    permissions: [receive, create, mount, hold, release, userprop, readonly, canmount, destroy]

- name: On one dataset, but not on what is below it
  cerss.zfs.zfs_allow:
    dataset: tank/db
    user: operator
    permissions: [snapshot, mount]
    reach: local

- name: Let a user do nothing but take snapshots, whatever was permitted before
  cerss.zfs.zfs_allow:
    dataset: tank/db
    user: operator
    permissions: [snapshot]

- name: Take everything back
  cerss.zfs.zfs_allow:
    dataset: tank/db
    user: cerss-zfs
    state: absent
"""

RETURN = r"""
permissions:
  description: What the user has on the dataset (in check mode what it would have).
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
