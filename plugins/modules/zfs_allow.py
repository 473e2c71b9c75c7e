#!/usr/bin/python
# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_allow
short_description: Delegate ZFS permissions to users and groups
version_added: 0.1.0
author:
  - cerss.zfs contributors (@cerss)
description:
  - Ensures that users and groups have these permissions on a dataset, and no others (see zfs-allow(8)).
  - Does not change permissions of anybody else, permission sets, create-time permissions, or what they have on datasets
    above and below.
  - If something is wrong with one of several users and groups, the task fails after it has done what it can for the
    others.
options:
  name:
    description: The filesystem or volume (zvol), as V(pool/dataset).
    type: str
    required: true
    aliases: [dataset]
  users:
    description:
      - Names or numbers of the users. By number you can also name a user that no longer exists.
      - At least one of O(users), O(groups) and O(everyone) is required. With empty lists, the task does nothing.
    type: list
    elements: str
    aliases: [user]
  groups:
    description: Names or numbers of groups, as for O(users).
    type: list
    elements: str
  everyone:
    description: Whether the task is also about the permissions that everyone has.
    type: bool
    default: false
  permissions:
    description:
      - The permissions, as names of subcommands and properties, or permission sets as V(@name).
      - Required with O(state=present).
    type: list
    elements: str
    default: []
  exclusive:
    description:
      - V(true) removes all other permissions of these users and groups.
      - V(false) only adds, and needs O(state=present).
    type: bool
    default: true
  reach:
    description:
      - The list of permissions to manage. ZFS has one for the dataset itself (V(local)) and one for everything below it
        (V(descendents)). With one of them, the other list is left as it is.
    type: str
    choices: [both, local, descendents]
    default: both
  state:
    description: V(absent) removes the permissions that O(reach) covers. The dataset need not exist then.
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
    name: tank/db
    users: cerss-zfs
    permissions: [send, hold, release, bookmark, userprop, destroy]

- name: Delegate permissions on everything below a dataset, but not on the dataset itself
  cerss.zfs.zfs_allow:
    name: backup/site-a
    users: cerss-zfs
    permissions: [destroy, mount]
    reach: descendents

- name: Delegate what a user needs to receive replicas below a dataset
  cerss.zfs.zfs_allow:
    name: backup/site-a
    users: cerss-zfs
    permissions: [receive, create, mount, hold, release, userprop, readonly, canmount, destroy]

- name: Delegate permissions on a dataset, but not on anything below it
  cerss.zfs.zfs_allow:
    name: tank/db
    users: operator
    permissions: [snapshot, mount]
    reach: local

- name: Reduce the permissions of a user to creating snapshots
  cerss.zfs.zfs_allow:
    name: tank/db
    users: operator
    permissions: [snapshot]

- name: Let an administrator and a group create snapshots, besides what they may do already
  cerss.zfs.zfs_allow:
    name: tank/db
    users: [operator]
    groups: [dba]
    permissions: [snapshot, mount]
    exclusive: false

- name: Remove all permissions of a user
  cerss.zfs.zfs_allow:
    name: tank/db
    users: cerss-zfs
    state: absent
"""

RETURN = r"""
permissions:
  description: What the first of RV(grantees) has on the dataset now, or would have in check mode.
  returned: success, and failure after the options were checked
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
grantees:
  description: The users, then the groups, then everyone.
  returned: success, and failure after the options were checked
  type: list
  elements: dict
  contains:
    kind:
      description: V(user), V(group) or V(everyone).
      type: str
      sample: user
    name:
      description: Its name or number. V(null) for everyone.
      type: str
      sample: cerss-zfs
    permissions:
      description: What it has, as RV(permissions).
      type: dict
      sample: {"local": [hold, release, send], "descendents": [hold, release, send]}
    failed:
      description: Whether the task failed for it.
      type: bool
      sample: false
    msg:
      description: Why it failed.
      type: str
      sample: there is no group dba on this host; check the name, or create the group first
actions:
  description: What was done, or would be done in check mode, in order.
  returned: success, and failure after the options were checked
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
            "name": {"type": "str", "required": True, "aliases": ["dataset"]},
            "users": {"type": "list", "elements": "str", "aliases": ["user"]},
            "groups": {"type": "list", "elements": "str"},
            "everyone": {"type": "bool", "default": False},
            "permissions": {"type": "list", "elements": "str", "default": []},
            "exclusive": {"type": "bool", "default": True},
            "reach": {"type": "str", "choices": ["both", "local", "descendents"], "default": "both"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
