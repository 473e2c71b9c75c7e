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
  - Creates snapshots. Those of one pool are created atomically. Sets their user properties, their holds, their
    lifetime, and whether they are temporary.
  - Deletes snapshots. If a clone or hold still needs a snapshot, its deletion is deferred (state V(pending_delete)),
    and ZFS destroys the snapshot when the last of these is gone.
extends_documentation_fragment:
  - cerss.zfs.attributes
  - cerss.zfs.attributes.changes
  - cerss.zfs.trees
options:
  name:
    description:
      - The snapshots, each as V(pool/dataset@snapshot), or with O(snapshot) their datasets.
      - All snapshots of one pool are created atomically. Those of several pools, and several of one dataset, are
        created one after the other, with a warning.
      - May be omitted if O(select) chooses the datasets. With an empty list there is nothing to do.
    type: list
    elements: str
  snapshot:
    description:
      - The part after the C(@) of all snapshots. O(name) then lists datasets.
      - It may contain the time at which the task runs, as directives of strftime(3). These are C(%Y) (year, 2026),
        C(%y) (26), C(%m) (month, 01 to 12), C(%d) (day), C(%j) (day of the year), C(%H) (hour, 00 to 23), C(%M)
        (minute), C(%S) (second), C(%s) (seconds since 1970), C(%G) and C(%V) (year and week of ISO 8601), C(%u)
        (weekday, 1 is Monday), and the short forms C(%F) for C(%Y-%m-%d), C(%R) for C(%H:%M) and C(%T) for
        C(%H:%M:%S).
      - The clock is that of the host on which the module runs. It is read once, so all snapshots get the same name. If
        the name has minutes but no seconds, a second run within the same minute changes nothing, and check mode reports
        what a real run within that minute would do.
      - With O(state=absent) directives are refused, since they would name the snapshots of this moment. Use
        M(cerss.zfs.zfs_snapshot_prune) to delete old snapshots.
    type: str
  utc:
    description:
      - Whether the time in O(snapshot) is in UTC instead of the time zone of the host. When summer time ends, the local
        time repeats an hour. Snapshots that were created in the first one are not created again.
    type: bool
    default: false
  state:
    description:
      - V(present) creates the missing snapshots, and changes properties and holds of the existing ones.
      - V(absent) deletes the snapshots.
      - A snapshot that is pending deletion cannot become V(present) again, since ZFS cannot undo that. The error names
        what still needs the snapshot.
      - O(on_dependents) and O(wait) need V(absent). All other options except those that say which snapshots are meant
        need V(present).
    type: str
    choices: [present, absent]
    default: present
  properties:
    description:
      - User properties (their names have a colon) to set on the snapshots. V(null) unsets one.
      - YAML booleans become V(true) and V(false). Properties that are not listed are left as they are.
    type: dict
  holds:
    description:
      - Tags of the holds that the snapshots must have.
    type: list
    elements: str
  purge_holds:
    description:
      - Release all holds that O(holds) does not list, except those of a replication (C(cerss.zfs:…)) and of ZFS itself.
    type: bool
    default: false
  temporary:
    description:
      - Whether the snapshots are temporary. Replication does not choose temporary snapshots.
      - If omitted, existing snapshots stay as they are.
    type: bool
  expires:
    description:
      - The lifetime, from the creation of a snapshot to its expiry, as V(90s), V(15m), V(2h), V(7d), V(4w), V(1h30m) or
        whole seconds. V(never) removes the lifetime of an existing snapshot. If omitted, it stays as it is.
      - Any snapshot can have one, whether it is O(temporary) or not. M(cerss.zfs.zfs_snapshot_prune) deletes expired
        snapshots.
    type: str
  min_age:
    description:
      - Create nothing if every dataset has a snapshot that O(match) covers and that is younger than this. Those
        snapshots are returned unchanged. Otherwise all snapshots are created together.
      - A snapshot that was created in the future is not young; it is a warning. The clock of the host was wrong.
      - Same format as O(expires).
    type: str
  match:
    description:
      - Patterns for the part after the C(@), which say which snapshots O(min_age) is about. They are written like those
        of O(exclude).
      - If omitted, these are the snapshots whose names can be made from O(snapshot), each directive as its own
        expression. With C(hourly-%H%M) that is V(hourly-0708), but neither V(hourly-now) nor V(daily-0708). Needed with
        O(min_age) if O(snapshot) has no directives.
    type: list
    elements: str
  before:
    description:
      - Commands to run directly before the snapshots are created, in this order. They are not run if no snapshot has
        to be created.
      - If one fails, no snapshot is created.
      - Results and messages do not contain the arguments, but Ansible logs them at verbosity 3. If they hold secrets,
        set C(no_log) on the task, or let the command read the secrets from a file.
      - A command ends when its program ends. Processes that it leaves in the background live on, whatever they keep
        open. Let a command of O(after) end them.
      - Standard output is discarded. Standard error goes to a temporary file of any size; redirect that of a process
        that prints much. If the command fails, the last 64 KiB are returned, in which the program may show its
        arguments.
    type: list
    elements: dict
    suboptions:
      argv:
        description: The program and its arguments. No shell is involved.
        type: list
        elements: str
        required: true
      timeout:
        description:
          - The command is stopped and counts as failed after this time. Written like O(expires).
          - That ends its whole process group with SIGTERM, and after 5 seconds with SIGKILL. A child that has left the
            group, such as a daemon, lives on. A signal to the module does the same while the command runs.
        type: str
        default: 60s
      environment:
        description:
          - Further environment variables. Ansible hides their values wherever these occur in the result and in the log,
            except values of up to three characters and those that are part of O(name).
        type: dict
  after:
    description:
      - Commands to run directly after the snapshots are created.
      - They also run if a command of O(before) or the creation fails, or if the module is stopped by a signal. If one
        fails, the others still run. They cannot run if the module is killed or the host goes down.
      - Output and processes in the background are treated as for O(before).
    type: list
    elements: dict
    suboptions:
      argv:
        description: The program and its arguments. No shell is involved.
        type: list
        elements: str
        required: true
      timeout:
        description:
          - The command is stopped and counts as failed after this time, as for O(before[].timeout). A signal to the
            module does not stop it.
        type: str
        default: 60s
      environment:
        description:
          - Further environment variables. Ansible hides their values wherever these occur in the result and in the log,
            except values of up to three characters and those that are part of O(name).
        type: dict
  on_dependents:
    description:
      - What to do if a clone, a hold or a receive still needs a snapshot that is to be deleted.
      - V(defer) defers its deletion. ZFS destroys the snapshot when nothing needs it any more.
      - V(fail) deletes nothing, and lists everything that needs the snapshots.
      - V(cascade) also deletes its clones with their snapshots, and the clones of these; RV(actions) lists each one. If
        anything else is in the way, such as a hold, a dataset below a clone, or a replication, nothing is deleted.
    type: str
    choices: [defer, fail, cascade]
    default: defer
  on_replica:
    description:
      - What to do if a snapshot would be created on a replica, which makes the replica diverge from its source.
      - V(refuse) creates nothing if a dataset in O(name) is a replica. Replicas further below (O(recursive)) and those
        that O(select) chooses are left out, with a warning.
      - V(allow) creates the snapshots.
    type: str
    choices: [refuse, allow]
    default: refuse
  wait:
    description:
      - Time to wait for pending deletions to end. Written like O(expires).
    type: str
    default: '0'
notes:
  - Without root, the user needs those of the permissions C(snapshot), C(mount), C(userprop), C(hold), C(release) and
    C(destroy) (see zfs-allow(8)) that the task uses.
  - ZFS can neither delete a snapshot that is being sent nor defer its deletion. With O(on_dependents=defer), it is
    listed in RV(busy), and the task fails after the other snapshots have been deleted. With V(fail) and V(cascade),
    nothing is deleted.
seealso:
  - module: cerss.zfs.zfs_snapshot_info
  - module: cerss.zfs.zfs_snapshot_prune
  - module: cerss.zfs.zfs_clone
  - name: zfs-snapshot(8)
    description: The ZFS command.
    link: https://openzfs.github.io/openzfs-docs/man/master/8/zfs-snapshot.8.html
"""

EXAMPLES = r"""
- name: Create a snapshot
  cerss.zfs.zfs_snapshot:
    name: tank/vol@before-upgrade

- name: Snapshot data and log of a database atomically
  cerss.zfs.zfs_snapshot:
    name:
      - tank/db/data@monday
      - tank/db/log@monday
    properties:
      org.example:ticket: "4711"
    holds: [audit]

- name: Freeze the ext4 filesystem on a volume while its snapshot is created
  cerss.zfs.zfs_snapshot:
    name: tank/vm@nightly
    before:
      - argv: [fsfreeze, --freeze, /srv/vm]
        timeout: 10s
    after:
      - argv: [fsfreeze, --unfreeze, /srv/vm]

- name: Snapshot a whole tree, unless its newest hourly snapshot is younger than 50 minutes
  cerss.zfs.zfs_snapshot:
    name: tank
    recursive: true
    snapshot: hourly-%Y-%m-%d_%H-%M
    utc: true
    min_age: 50m

- name: Snapshot whatever is marked for it on any pool, and let the snapshots expire
  cerss.zfs.zfs_snapshot:
    select:
      property: org.example:backup
      value: nightly
    exclude: [tank/scratch]
    snapshot: nightly-%F
    expires: 2w

- name: Keep the state of a replica before it is rolled back to what the source has
  cerss.zfs.zfs_snapshot:
    name: backup/vol@diverged
    on_replica: allow

- name: Create a temporary snapshot that expires after two days
  cerss.zfs.zfs_snapshot:
    name: tank/vol@try
    temporary: true
    expires: 2d

- name: Release all holds but one
  cerss.zfs.zfs_snapshot:
    name: tank/vol@before-upgrade
    holds: [audit]
    purge_holds: true

- name: Delete snapshots as soon as nothing needs them
  cerss.zfs.zfs_snapshot:
    name:
      - tank/vol@before-upgrade
      - tank/vol@try
    state: absent

- name: Delete a snapshot only if nothing needs it
  cerss.zfs.zfs_snapshot:
    name: tank/vol@golden
    state: absent
    on_dependents: fail

- name: Delete a snapshot and all its clones
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
    - In check mode as they would be. V(null) means that a value cannot be known in advance.
  returned: success, and failure after something was changed
  type: list
  elements: dict
  contains:
    name:
      description: The full name.
      type: str
      sample: tank/vol@monday
    dataset:
      description: The dataset, a filesystem or volume (zvol).
      type: str
      sample: tank/vol
    snapshot:
      description: The part after the C(@).
      type: str
      sample: monday
    guid:
      description: Its identity, the same on every replica.
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
      description: Whether it is temporary, so that no replication chooses it.
      type: bool
      sample: false
    expires:
      description: When it expires, in UTC. V(null) if it has no lifetime.
      type: str
      sample: "2026-11-30T07:08:02Z"
    depends_on:
      description: The snapshot that this one is based on.
      type: dict
      sample: {"snapshot": "tank/vol@sunday", "guid": "5216584613086530271", "kind": "prior"}
    dependents:
      description: The clones, holds and relationships that use it. Clones and holds defer its deletion. A relationship
        with the role V(base) does not.
      type: dict
      sample: {"clones": ["tank/c1"], "holds": [{"tag": "audit", "created": "2026-11-23T08:00:00Z", "ours": false}],
               "replications": []}
    deletable:
      description: Whether it can be deleted at once.
      type: bool
      sample: false
    properties:
      description: Those user properties of O(properties) that are set on it.
      type: dict
      sample: {"org.example:ticket": "4711"}
    failed:
      description: Whether the task failed for this snapshot.
      type: bool
      sample: false
    msg:
      description: Why it failed.
      type: str
      sample: tank/vol@monday is being sent or read, so ZFS can neither delete it nor defer its deletion; delete it
        again when that has ended
pending:
  description: Names of the snapshots that are pending deletion.
  returned: success, and failure after something was changed
  type: list
  elements: str
  sample: [tank/vol@golden]
busy:
  description: Names of the snapshots that could not be deleted because they are in use.
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

from ansible_collections.cerss.zfs.plugins.module_utils._host.selection import OPTIONS
from ansible_collections.cerss.zfs.plugins.module_utils._module import run_module
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot import absent, present


def main() -> None:
    commands = {
        "type": "list",
        "elements": "dict",
        "options": {
            "argv": {"type": "list", "elements": "str", "required": True},
            "timeout": {"type": "str", "default": "60s"},
            "environment": {"type": "dict", "no_log": True},
        },
    }
    run_module(
        {"present": present.main, "absent": absent.main},
        argument_spec={
            "name": {"type": "list", "elements": "str"},
            "snapshot": {"type": "str"},
            "utc": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            **OPTIONS,
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
            "on_replica": {"type": "str", "choices": ["refuse", "allow"], "default": "refuse"},
            "wait": {"type": "str", "default": "0"},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
