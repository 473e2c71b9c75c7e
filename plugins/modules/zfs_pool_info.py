#!/usr/bin/python
# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_pool_info
short_description: Report the health, capacity, features, errors and last scrub of ZFS pools
version_added: 0.1.0
author:
  - cerss.zfs contributors (@cerss)
description:
  - Returns for each pool its state, capacity, features, devices with their errors, and the last scrub or resilver.
  - A pool that is suspended does not hang the module. What C(zpool) does not tell within O(timeout) is V(null), and
    RV(pools[].problems) says why.
options:
  name:
    description:
      - Pools to read. All imported pools by default, none for an empty list.
      - A pool that is not imported is an error. The result still has the other ones.
    type: list
    elements: str
  timeout:
    description:
      - How long each C(zpool) command may take, such as V(20s) or V(1m). There are one for all pools and two for each.
      - If the first one does not end, the other ones are not started, and only the name and the state of each pool are
        returned, as the kernel tells them.
    type: str
    default: 20s
extends_documentation_fragment:
  - cerss.zfs.attributes
  - cerss.zfs.attributes.info
notes:
  - Reading needs no permission.
seealso:
  - module: cerss.zfs.zfs_dataset_info
  - name: zpool-status(8)
    description: The ZFS command.
    link: https://openzfs.github.io/openzfs-docs/man/master/8/zpool-status.8.html
"""

EXAMPLES = r"""
- name: Read all pools
  cerss.zfs.zfs_pool_info:
  register: all

- name: Fail when something is wrong with a pool
  cerss.zfs.zfs_pool_info:
    name: tank
  register: tank
  failed_when: not tank.pools[0].healthy

- name: Show all problems
  ansible.builtin.debug:
    msg: "{{ all.pools | map(attribute='problems') | flatten }}"

- name: Fail when a pool is more than 80 percent full
  cerss.zfs.zfs_pool_info:
    name: [tank, backup]
  register: both
  failed_when: both.pools | selectattr('capacity_percent', 'gt', 80) | length > 0

- name: Wait until a scrub has ended
  cerss.zfs.zfs_pool_info:
    name: tank
  register: tank
  until: (tank.pools[0].scan or {}).state | default('none') != 'running'
  retries: 60
  delay: 60

- name: Wait five seconds at most for each command
  cerss.zfs.zfs_pool_info:
    timeout: 5s
"""

RETURN = r"""
pools:
  description:
    - The pools, in the order of O(name).
    - V(null) means that a value was not read or does not apply.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: tank
    guid:
      description: Its GUID. A string, since it is too large for an exact JSON number.
      type: str
      sample: "15632480156324801563"
    state:
      description: V(online), V(degraded), V(faulted), V(offline), V(removed), V(unavail), or V(suspended) if reads and
        writes wait until its devices work again. If the kernel says V(suspended), that counts more than what C(zpool)
        says.
      type: str
      sample: online
    healthy:
      description: True if C(problems) is empty.
      type: bool
      sample: true
    problems:
      description: One sentence for each problem. A state other than V(online) is one, and so are a device that is not
        V(online), errors of a device, data errors, errors of the last scrub, and what could not be read.
      type: list
      elements: str
      sample: []
    status:
      description: What C(zpool status) says about it. This may be no problem, such as features that are not enabled.
      type: str
      sample: null
    action:
      description: What C(zpool status) recommends.
      type: str
      sample: null
    readonly:
      description: Whether it is imported read-only.
      type: bool
      sample: false
    size_bytes:
      description: Bytes of all its devices. For raidz this includes parity.
      type: int
      sample: 1992864825344
    allocated_bytes:
      description: Bytes of C(size_bytes) that are allocated.
      type: int
      sample: 796917760000
    free_bytes:
      description: Bytes of C(size_bytes) that are free. What datasets can use is less, see
        RV(cerss.zfs.zfs_dataset_info#module:datasets[].available_bytes) of the root dataset.
      type: int
      sample: 1195947065344
    capacity_percent:
      description: Percentage of C(size_bytes) that is allocated, rounded down.
      type: int
      sample: 39
    fragmentation_percent:
      description: Fragmentation of the free space in percent.
      type: int
      sample: 12
    read_errors:
      description: Read errors of the pool that no redundancy could mend, since it was imported or cleared.
      type: int
      sample: 0
    write_errors:
      description: The same for write errors.
      type: int
      sample: 0
    checksum_errors:
      description: The same for checksum errors.
      type: int
      sample: 0
    data_errors:
      description: Number of damaged files, volumes and other objects. C(zpool status -v), run as root, lists them.
      type: int
      sample: 0
    vdevs:
      description:
        - Its devices and groups of devices, each group before what is in it.
        - C(type) is V(disk) for a device or file, and for a group V(mirror), V(raidz1), V(draid2), V(replacing),
          V(spare) or the like.
        - C(role) is V(data), V(special), V(dedup), V(log), V(cache) or V(spare). C(parent) is the name of the group,
          V(null) at the top.
        - C(state) is as that of a pool. Hot spares are V(avail) or V(inuse), and their errors are V(null).
        - The numbers of errors are since the pool was imported or cleared. C(note) is what C(zpool status) adds.
      type: list
      elements: dict
      sample:
        - name: mirror-0
          type: mirror
          role: data
          parent: null
          state: online
          read_errors: 0
          write_errors: 0
          checksum_errors: 0
          note: null
        - name: /dev/sda1
          type: disk
          role: data
          parent: mirror-0
          state: online
          read_errors: 0
          write_errors: 0
          checksum_errors: 2
          note: null
    scan:
      description:
        - The scrub or resilver that runs, otherwise the last one. V(null) if there has been none.
        - C(operation) is V(scrub), V(resilver) or V(error_scrub). C(state) is V(running), V(paused), V(finished) or
          V(canceled).
        - C(started) and C(finished) are in UTC, with C(_epoch) in seconds since 1970. Of one that was canceled only the
          end is known.
        - C(percent) is V(100.0) once it has finished. C(bytes_done), C(bytes_total), C(bytes_per_second) and
          C(eta_seconds) are V(null) unless it is running or paused.
        - C(fixed_bytes) is what a scrub has repaired or a resilver has written. C(errors) is the number of errors that
          it could not repair, V(null) until it has finished.
        - Bytes are rounded to three digits, as C(zpool status) prints them.
      type: dict
      sample:
        operation: scrub
        state: running
        started: "2026-11-23T07:08:02Z"
        started_epoch: 1795417682
        finished: null
        finished_epoch: null
        percent: 16.91
        bytes_done: 71722598
        bytes_total: 424673280
        bytes_per_second: 10590617
        eta_seconds: 33
        fixed_bytes: 0
        errors: null
    features:
      description: V(disabled), V(enabled) or V(active) for each feature that this OpenZFS knows.
      type: dict
      sample: {"zstd_compress": "active", "block_cloning": "enabled"}
    properties:
      description: Its other properties, also those of users, as C(zpool get -p) shows them.
      type: dict
      sample: {"ashift": "12", "autotrim": "off", "failmode": "wait"}
"""

from ansible_collections.cerss.zfs.plugins.module_utils._module import run_module
from ansible_collections.cerss.zfs.plugins.module_utils._pool import info


def main() -> None:
    run_module(
        info.main,
        argument_spec={
            "name": {"type": "list", "elements": "str"},
            "timeout": {"type": "str", "default": "20s"},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
