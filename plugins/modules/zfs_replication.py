#!/usr/bin/python
# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_replication
short_description: Adopt, mend, pause, release or end a replication relationship between ZFS datasets
version_added: 0.1.0
author:
  - cerss.zfs contributors (@cerss)
description:
  - A relationship is one source dataset and one replica. M(cerss.zfs.zfs_snapshot_replicate) creates it with the first
    replication. This module ends, releases, pauses or mends it, or adopts an existing copy as the replica.
  - Both sides store the relationship. They agree if they have the same id and the same mode (raw or plain), and each
    names the GUID of the other's dataset. Nothing is replicated into an existing dataset otherwise.
  - Ending a relationship removes its holds, bookmarks and properties on both sides (their names begin with
    C(cerss.zfs)) and aborts a partial receive. Replicated snapshots and everything else stay.
  - Nothing is changed while the relationship is being replicated by the same user on the same host; the module fails
    then. For root, this includes replications by the service user of the role P(cerss.zfs.zfs_backend#role).
  - After a change the module reads both sides again. It fails if the relationship is not as requested then.
options:
  id:
    description:
      - The id of the relationship, 16 hex digits, as M(cerss.zfs.zfs_replication_info) returns it.
      - Required with O(state=absent) or O(paused) unless both O(name) and O(target.dataset) are set, and with
        O(state=released) unless O(target.dataset) is set. O(state=present) does not use it otherwise.
    type: str
  name:
    description: The source dataset. Required with O(state=present) and with O(paused).
    type: str
  state:
    description:
      - V(absent) ends the relationship.
      - V(present) makes both sides agree that the existing dataset O(target.dataset) is the replica of O(name). They
        must have a snapshot with the same GUID. It adopts a copy that another tool has made, and mends a relationship
        whose marks were lost or disagree.
      - For an encrypted source V(present) also decides the mode. It is raw if the newest common snapshot has the same
        C(ivsetguid) on both sides, and plain otherwise. What the marks say does not count.
      - V(released) makes the replica a dataset of its own, for a failover. Nothing is received into it any more, and a
        partial receive is aborted. The hold on the last received snapshot stays, so that the snapshot at which the
        histories part is not deleted. Only the target is asked, so the source need not be reachable. Nothing else of
        the replica changes, such as C(readonly). Later V(present) can make it a replica again, and V(absent) removes
        what remains.
    type: str
    choices: [present, released, absent]
    default: present
  force:
    description:
      - With O(state=absent), end the relationship on one side if the other cannot be reached. A warning and
        RV(left_over) name the side that was not reached.
      - With O(state=present), also take a replica whose mark names another source, if no dataset with the GUID in
        that mark exists on the source's host any more. For example, the source was restored from its replica. This
        needs a login on that host without a gate.
    type: bool
    default: false
  on_active:
    description:
      - What to do with O(state=released) if the replica is receiving. A receive whose source was switched off may go on
        for hours without receiving anything.
      - V(fail) changes nothing.
      - V(stop) ends its C(zfs receive) first, whoever has started it. RV(actions) lists that.
    type: str
    choices: [fail, stop]
    default: fail
  paused:
    description:
      - V(true) pauses the relationship, so that M(cerss.zfs.zfs_snapshot_replicate) skips it with a warning. V(false)
        resumes it.
      - Only the source is asked, so the target need not be reachable. The relationship is the one with O(id), or the
        one that the source has recorded for O(target.host) and O(target.dataset).
      - Nothing else is done then. It cannot be combined with O(state=absent) or O(state=released).
    type: bool
extends_documentation_fragment:
  - cerss.zfs.attributes
  - cerss.zfs.attributes.changes
  - cerss.zfs.endpoint.target
  - cerss.zfs.endpoint.source
  - cerss.zfs.endpoint.login
seealso:
  - module: cerss.zfs.zfs_replication_info
  - module: cerss.zfs.zfs_snapshot_replicate
"""

EXAMPLES = r"""
- name: End a relationship on both sides
  cerss.zfs.zfs_replication:
    name: tank/vol
    target:
      host: backend-b
      dataset: backup/vol
    state: absent

- name: End a relationship by its id
  cerss.zfs.zfs_replication:
    id: 3f1c9a0b7d5e2468
    target:
      host: backend-b
    state: absent

- name: End a relationship whose other backend no longer exists
  cerss.zfs.zfs_replication:
    name: tank/vol
    target:
      host: backend-b
      dataset: backup/vol
    state: absent
    force: true
  register: ended

- name: Show what remains on the side that was not reached
  ansible.builtin.debug:
    msg: "{{ ended.left_over | map(attribute='reason') }}"

- name: Turn a replica whose source no longer exists into a normal dataset
  cerss.zfs.zfs_replication:
    id: 3f1c9a0b7d5e2468
    target:
      host: local
    state: absent

- name: Release a replica, to take it over when its source is lost
  cerss.zfs.zfs_replication:
    target:
      host: local
      dataset: backup/vol
    state: released

- name: Adopt a copy that was received by hand
  cerss.zfs.zfs_replication:
    name: tank/vol
    target:
      host: backend-b
      dataset: backup/vol
    state: present

- name: Pause a relationship
  cerss.zfs.zfs_replication:
    name: tank/vol
    target:
      host: backend-b
      dataset: backup/vol
    paused: true

- name: Resume a relationship
  cerss.zfs.zfs_replication:
    name: tank/vol
    target:
      host: backend-b
      dataset: backup/vol
    paused: false

- name: End a relationship between two pools of the same host
  cerss.zfs.zfs_replication:
    name: tank/vol
    target:
      host: local
      dataset: backup/vol
    state: absent
"""

RETURN = r"""
replication:
  description:
    - The relationship as it is afterwards, or now in check mode. It has the keys of an item of
      RV(cerss.zfs.zfs_replication_info#module:replications) on the source's side. If only the replica was read, those
      on the replica's side.
    - V(null) if there is none (any more).
  type: dict
  returned: success
  sample:
    id: 3f1c9a0b7d5e2468
    role: source
    source: tank/vol
    target: backend-b:backup/vol
    healthy: true
    severity: ok
left_over:
  description:
    - What could not be removed, one item for each side that could not be reached and for each mark that is there again.
    - C(dataset) is V(null) for a side that could not be reached. C(host) is V(null) for the host that the module runs
      on.
  type: list
  elements: dict
  returned: if state=absent
  sample:
    - host: backend-b
      dataset: null
      reason: "could not be reached: zfs list backup/vol on backend-b: ssh: connect to host backend-b port 22: No route
        to host"
actions:
  description: What was done, or would be done in check mode, one sentence for each step, in order.
  type: list
  elements: str
  returned: always
  sample:
    - release cerss.zfs:last from backup/vol@s3
    - remove cerss.zfs:source from backend-b:backup/vol
id:
  description: The id of the relationship. V(null) if there is none.
  type: str
  returned: always
  sample: 3f1c9a0b7d5e2468
"""

from ansible_collections.cerss.zfs.plugins.module_utils._module import run_module
from ansible_collections.cerss.zfs.plugins.module_utils._replication import relationship
from ansible_collections.cerss.zfs.plugins.module_utils._replication.targets import (
    ENDPOINT_OPTIONS,
    LOGIN_OPTIONS,
)


def main() -> None:
    run_module(
        relationship.main,
        argument_spec={
            "id": {"type": "str"},
            "name": {"type": "str"},
            "target": {"type": "dict", "default": {}, "options": {**ENDPOINT_OPTIONS, "dataset": {"type": "str"}}},
            "source": {"type": "dict", "default": {}, "options": ENDPOINT_OPTIONS},
            "login": {"type": "dict", "options": LOGIN_OPTIONS},
            "state": {"type": "str", "choices": ["present", "released", "absent"], "default": "present"},
            "force": {"type": "bool", "default": False},
            "on_active": {"type": "str", "choices": ["fail", "stop"], "default": "fail"},
            "paused": {"type": "bool"},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
