#!/usr/bin/python
# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_rollback
short_description: Roll a ZFS filesystem or zvol back to a snapshot
version_added: 0.1.0
author:
  - cerss.zfs contributors (@cerss)
description:
  - Puts a volume back to what it was when a snapshot was made. All later snapshots and bookmarks, and what was written
    since, are lost. Exactly what O(allow_loss) names may be lost; when there is more, nothing is changed and the error
    lists it.
  - What others need can never be lost this way, that is snapshots with holds or clones, and whatever a replication
    stands on.
  - A volume that is as in the snapshot already is left alone.
options:
  name:
    description: The snapshot to go back to, as V(pool/dataset@snapshot).
    type: str
    required: true
  allow_loss:
    description: What may be lost. Nothing, when left out.
    type: dict
    suboptions:
      snapshots:
        description: Later snapshots, by the part after the C(@). Globs are taken; V(*) allows all of them.
        type: list
        elements: str
        default: []
      bookmarks:
        description: Later bookmarks, by the part after the C(#). Globs are taken; V(*) allows all of them.
        type: list
        elements: str
        default: []
      data:
        description: What was written since the snapshot.
        type: bool
        default: false
extends_documentation_fragment:
  - cerss.zfs.attributes
  - cerss.zfs.attributes.changes
notes:
  - Replicas are rolled back by their replication, see O(cerss.zfs.zfs_snapshot_replicate#module:on_divergence).
seealso:
  - module: cerss.zfs.zfs_clone
    description: Look into a snapshot, or go on from it, without losing anything.
  - module: cerss.zfs.zfs_snapshot
"""

EXAMPLES = r"""
- name: Undo what was written since the last snapshot
  cerss.zfs.zfs_rollback:
    name: tank/db@before-upgrade
    allow_loss:
      data: true

- name: Go back over two later snapshots, these and no others
  cerss.zfs.zfs_rollback:
    name: tank/db@monday
    allow_loss:
      snapshots: [tuesday, wednesday]
      data: true

- name: Automatic snapshots that were made meanwhile may go too
  cerss.zfs.zfs_rollback:
    name: tank/db@before-upgrade
    allow_loss:
      snapshots: ['auto-*']
      bookmarks: ['auto-*']
      data: true

- name: Make sure that nothing was changed since, otherwise fail with the list
  cerss.zfs.zfs_rollback:
    name: tank/golden@v3

- name: See what a rollback would take away
  cerss.zfs.zfs_rollback:
    name: tank/db@monday
    allow_loss:
      snapshots: ['*']
      bookmarks: ['*']
      data: true
  check_mode: true
  register: foreseen

- name: Show it
  ansible.builtin.debug:
    var: foreseen.lost
"""

RETURN = r"""
snapshot:
  description: The snapshot that was asked for.
  returned: success
  type: str
  sample: tank/db@monday
lost:
  description: What was lost (in check mode or on failure, what would be lost).
  returned: success, and when the loss was not allowed
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
      description: Bytes written to the volume since the snapshot.
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
