#!/usr/bin/python
# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_rollback
short_description: Roll a ZFS filesystem or volume back to a snapshot
version_added: 0.1.0
author:
  - cerss.zfs contributors (@cerss)
description:
  - Rolls a filesystem or volume (zvol) back to a snapshot. All later snapshots and bookmarks and all data written since
    are lost. If O(allow_loss) does not cover everything that would be lost, nothing is changed and the error lists the
    rest.
  - Never destroys what something else needs. This means snapshots with holds or clones, and everything that a
    replication needs.
  - Does nothing if nothing has changed since the snapshot.
options:
  name:
    description: The snapshot to roll back to, as V(pool/dataset@snapshot).
    type: str
    required: true
  allow_loss:
    description: What may be lost. If omitted, nothing may be lost.
    type: dict
    suboptions:
      snapshots:
        description: Globs for later snapshots, for the part after the C(@). V(*) allows all of them.
        type: list
        elements: str
        default: []
      bookmarks:
        description: Globs for later bookmarks, for the part after the C(#). V(*) allows all of them.
        type: list
        elements: str
        default: []
      data:
        description: Data written since the snapshot.
        type: bool
        default: false
extends_documentation_fragment:
  - cerss.zfs.attributes
  - cerss.zfs.attributes.changes
notes:
  - A replica can be rolled back only by its replication (O(cerss.zfs.zfs_snapshot_replicate#module:on_divergence)).
seealso:
  - module: cerss.zfs.zfs_clone
    description: Read a snapshot, or continue from it, without losing anything.
  - module: cerss.zfs.zfs_snapshot
"""

EXAMPLES = r"""
- name: Undo what was written since the last snapshot
  cerss.zfs.zfs_rollback:
    name: tank/db@before-upgrade
    allow_loss:
      data: true

- name: Roll back over two later snapshots and no others
  cerss.zfs.zfs_rollback:
    name: tank/db@monday
    allow_loss:
      snapshots: [tuesday, wednesday]
      data: true

- name: Roll back over any automatic snapshots
  cerss.zfs.zfs_rollback:
    name: tank/db@before-upgrade
    allow_loss:
      snapshots: ['auto-*']
      bookmarks: ['auto-*']
      data: true

- name: Fail if anything has changed since a snapshot
  cerss.zfs.zfs_rollback:
    name: tank/golden@v3

- name: Find out what a rollback would lose
  cerss.zfs.zfs_rollback:
    name: tank/db@monday
    allow_loss:
      snapshots: ['*']
      bookmarks: ['*']
      data: true
  check_mode: true
  register: foreseen

- name: Show what would be lost
  ansible.builtin.debug:
    var: foreseen.lost
"""

RETURN = r"""
snapshot:
  description: The requested snapshot.
  returned: success
  type: str
  sample: tank/db@monday
lost:
  description: What was lost, or would be lost in check mode or on failure.
  returned: success, and when the snapshot exists but the rollback was refused
  type: dict
  contains:
    snapshots:
      description: Later snapshots.
      type: list
      elements: str
      sample: [tank/db@tuesday]
    bookmarks:
      description: Later bookmarks.
      type: list
      elements: str
      sample: []
    bytes:
      description: Bytes written since the snapshot.
      type: int
      sample: 1048576
actions:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: [destroy snapshot tank/db@tuesday, roll tank/db back to tank/db@monday]
"""

from ansible_collections.cerss.zfs.plugins.module_utils._module import run_module
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot import rollback


def main() -> None:
    globs = {"type": "list", "elements": "str", "default": []}
    run_module(
        rollback.main,
        argument_spec={
            "name": {"type": "str", "required": True},
            "allow_loss": {
                "type": "dict",
                "options": {"snapshots": globs, "bookmarks": globs, "data": {"type": "bool", "default": False}},
            },
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
