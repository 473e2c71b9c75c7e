#!/usr/bin/python
# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_snapshot
short_description: Create and delete ZFS snapshots
version_added: 0.1.0
author:
  - cerss.zfs contributors (@cerss)
description:
  - Creates snapshots, all of one pool in the same moment, and sets what is on them, user properties, holds, and the
    mark that they are temporary.
  - Deletes snapshots, and knows what depends on them. What clones or holds still need is marked, serves on, and goes
    by itself with the last of them.
extends_documentation_fragment:
  - cerss.zfs.attributes
  - cerss.zfs.attributes.changes
options:
  name:
    description:
      - The snapshots, each as V(pool/dataset@snapshot).
      - All snapshots of one pool are created by one transaction. Those of several pools, and several of one volume, are
        created one after the other, with a warning.
    type: list
    elements: str
    required: true
  state:
    description:
      - V(present) creates what is not there, and puts right what is set on the others.
      - V(absent) deletes.
      - A snapshot that is marked for deletion cannot become V(present) again, since ZFS does not take the mark back.
        This is an error that names what still keeps the snapshot.
    type: str
    choices: [present, absent]
    default: present
  recursive:
    description:
      - Also the snapshots of the same name on everything below the datasets.
    type: bool
    default: false
  properties:
    description:
      - User properties, whose names have a colon, that shall be set on the snapshots. V(null) unsets one.
      - Booleans mean V(on) and V(off). Those not listed are left as they are.
    type: dict
  holds:
    description:
      - Tags of holds that must be on the snapshots.
    type: list
    elements: str
  purge_holds:
    description:
      - Release holds that O(holds) does not list.
      - Never those of a replication (C(cerss.zfs:…)) and never ZFS's own.
    type: bool
    default: false
  temporary:
    description:
      - Whether the snapshots are marked as about to be deleted, so that no replication chooses them. Left as it is
        when left out. V(false) also removes the time of expiry.
    type: bool
  expires:
    description:
      - How long after its creation a temporary snapshot may be pruned, as V(90s), V(15m), V(2h), V(7d), V(4w) or
        whole seconds.
      - Needs O(temporary=true). M(cerss.zfs.zfs_snapshot_prune) deletes what has expired.
    type: str
  min_age:
    description:
      - Do not create anything when every volume has a snapshot that O(match) covers and that is younger than this.
        These are returned then, and left as they are. Otherwise all of O(name) are created, as one group.
      - Written like O(expires).
    type: str
  match:
    description:
      - Globs for the part after the C(@), for O(min_age).
    type: list
    elements: str
  before:
    description:
      - Commands to run right before the snapshots are created, one after the other. They are not run when there is
        nothing to create.
      - When one fails no snapshot is created.
      - Neither results nor messages contain their words, but the log of Ansible does at verbosity 3. Set C(no_log) on
        the task when they hold secrets, or better read those from a file.
    type: list
    elements: dict
    suboptions:
      argv:
        description: The program and its arguments. No shell is involved.
        type: list
        elements: str
        required: true
      timeout:
        description: The command is stopped and counts as failed after this time. Written like O(expires).
        type: str
        default: 60s
      environment:
        description: Further environment variables.
        type: dict
  after:
    description:
      - Commands to run right after the snapshots were created.
      - They are run in every ending that a process can still act in, also when a command of O(before) or the creation
        failed or the module was told to stop, and all of them, also when one fails.
    type: list
    elements: dict
    suboptions:
      argv:
        description: The program and its arguments. No shell is involved.
        type: list
        elements: str
        required: true
      timeout:
        description: The command is stopped and counts as failed after this time. Written like O(expires).
        type: str
        default: 60s
      environment:
        description: Further environment variables.
        type: dict
  on_dependents:
    description:
      - What to do with snapshots to be deleted that clones, holds or a receive still need.
      - V(defer) marks them. They go by themselves with the last dependent.
      - V(fail) is an error that lists every dependent of every snapshot, and nothing is deleted.
      - V(cascade) also deletes the clones, and what depends on these, each named in RV(actions). It is an error, and
        nothing is deleted, when something else stands in the way, such as holds, a dataset below a clone, or a
        replication.
    type: str
    choices: [defer, fail, cascade]
    default: defer
  wait:
    description:
      - Seconds to wait for pending deletions to end.
    type: int
    default: 0
notes:
  - Needs the permissions C(snapshot), C(mount), C(userprop), C(hold), C(release) and C(destroy) from C(zfs allow),
    each for what is asked for, when the module does not run as root.
  - A snapshot that is being sent can be neither deleted nor marked. It is listed in RV(busy) and the task fails,
    after the others were dealt with.
seealso:
  - module: cerss.zfs.zfs_snapshot_info
  - module: cerss.zfs.zfs_snapshot_prune
  - module: cerss.zfs.zfs_clone
  - name: zfs-snapshot(8)
    description: What ZFS itself does.
    link: https://openzfs.github.io/openzfs-docs/man/master/8/zfs-snapshot.8.html
"""

EXAMPLES = r"""
- name: Create a snapshot
  cerss.zfs.zfs_snapshot:
    name: tank/vol@before-upgrade

- name: Create snapshots of data and log of a database in the same moment
  cerss.zfs.zfs_snapshot:
    name:
      - tank/db/data@monday
      - tank/db/log@monday
    properties:
      org.example:ticket: "4711"
    holds: [audit]

- name: Freeze the ext4 on a zvol for the moment of the snapshot
  cerss.zfs.zfs_snapshot:
    name: tank/vm@nightly
    before:
      - argv: [fsfreeze, --freeze, /srv/vm]
        timeout: 10s
    after:
      - argv: [fsfreeze, --unfreeze, /srv/vm]

- name: Create an hourly snapshot of a whole tree, unless there is one younger than 50 minutes
  cerss.zfs.zfs_snapshot:
    name: "tank@hourly-{{ now(utc=true).strftime('%Y-%m-%d-%H%M') }}"
    recursive: true
    min_age: 50m
    match: hourly-*

- name: Create a snapshot that nobody replicates and that is pruned after two days
  cerss.zfs.zfs_snapshot:
    name: tank/vol@try
    temporary: true
    expires: 2d

- name: Keep just one hold
  cerss.zfs.zfs_snapshot:
    name: tank/vol@before-upgrade
    holds: [audit]
    purge_holds: true

- name: Delete snapshots, at once where nothing needs them, otherwise when nothing needs them any more
  cerss.zfs.zfs_snapshot:
    name:
      - tank/vol@before-upgrade
      - tank/vol@try
    state: absent

- name: Delete a snapshot only when nothing depends on it
  cerss.zfs.zfs_snapshot:
    name: tank/vol@golden
    state: absent
    on_dependents: fail

- name: Delete a snapshot with all clones of it
  cerss.zfs.zfs_snapshot:
    name: tank/vol@golden
    state: absent
    on_dependents: cascade
"""

RETURN = r"""
snapshots:
  description:
    - The snapshots as they are after the task, in the order of O(name). See M(cerss.zfs.zfs_snapshot_info) for all
      keys.
    - In check mode as they would be, V(null) where that cannot be known before.
  returned: success, and failure after something was changed
  type: list
  elements: dict
  contains:
    name:
      description: The full name.
      type: str
      sample: tank/vol@monday
    guid:
      description: The identity, the same on every replica.
      type: str
      sample: "16716440784613086539"
    created:
      description: When it was created, in UTC.
      type: str
      sample: "2026-11-23T07:08:02Z"
    state:
      description: V(full), V(pending_delete) or V(absent).
      type: str
      sample: full
    temporary:
      description: Whether it is marked as about to be deleted.
      type: bool
      sample: false
    expires:
      description: When a temporary snapshot may be pruned, in UTC.
      type: str
      sample: "2026-11-30T07:08:02Z"
    depends_on:
      description: The snapshot that this one builds on.
      type: dict
      sample: {"snapshot": "tank/vol@sunday", "guid": "5216584613086530271", "kind": "prior"}
    dependents:
      description: What keeps it from being deleted.
      type: dict
      sample: {"clones": ["tank/c1"], "holds": [{"tag": "audit", "created": "2026-11-23T08:00:00Z", "ours": false}],
               "replications": []}
    deletable:
      description: Whether nothing blocks a plain destroy.
      type: bool
      sample: false
    properties:
      description: User properties of O(properties) that are set on it.
      type: dict
      sample: {"org.example:ticket": "4711"}
    failed:
      description: Whether what was asked for could not be done with this one.
      type: bool
      sample: false
    msg:
      description: Why it failed.
      type: str
      sample: tank/vol@monday is being sent or read just now, and ZFS does not even mark it for deletion meanwhile;
        delete it when that has ended
pending:
  description: Names of the snapshots that are marked for deletion and go with their last dependent.
  returned: success, and failure after something was changed
  type: list
  elements: str
  sample: [tank/vol@golden]
busy:
  description: Names of the snapshots that could be neither deleted nor marked, because they are in use just now.
  returned: success, and failure after something was changed
  type: list
  elements: str
  sample: []
actions:
  description: What was done, or would be done in check mode, in order.
  returned: success, and failure after something was changed
  type: list
  elements: str
  sample:
    - create snapshot tank/vol@monday
    - put hold audit on tank/vol@monday
"""

from ansible_collections.cerss.zfs.plugins.module_utils._module import run_module
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot import absent, present


def main() -> None:
    commands = {
        "type": "list",
        "elements": "dict",
        "options": {
            "argv": {"type": "list", "elements": "str", "required": True},
            "timeout": {"type": "str", "default": "60s"},
            "environment": {"type": "dict"},
        },
    }
    run_module(
        {"present": present.main, "absent": absent.main},
        argument_spec={
            "name": {"type": "list", "elements": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "recursive": {"type": "bool", "default": False},
            "properties": {"type": "dict"},
            "holds": {"type": "list", "elements": "str"},
            "purge_holds": {"type": "bool", "default": False},
            "temporary": {"type": "bool"},
            "expires": {"type": "str"},
            "min_age": {"type": "str"},
            "match": {"type": "list", "elements": "str"},
            "before": commands,
            "after": commands,
            "on_dependents": {"type": "str", "choices": ["defer", "fail", "cascade"], "default": "defer"},
            "wait": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
