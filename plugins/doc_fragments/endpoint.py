# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options that name the two sides of a replication."""

from __future__ import annotations


class ModuleDocFragment:
    # The same words about a login stand in each: ansible-test reads these strings without running anything.

    SOURCE = r"""
options:
  source:
    description:
      - The side that sends. Without it the machine that the module runs on.
      - Only O(target.host) set is a push, only O(source.host) a pull, both a relay through the machine in between.
    type: dict
    default: {}
    suboptions:
      host:
        description:
          - Address of the backend that sends. Left out or V(local) it is the machine that the module runs on.
        type: str
      port:
        description: Port of sshd there. ssh's own default when left out.
        type: int
      user:
        description: User to log in as. ssh's own default when left out.
        type: str
      become:
        description: Run C(zfs) there with C(sudo -n).
        type: bool
        default: false
      identity_file:
        description: Private key to log in with, a path where the module runs. When set, no other key is tried.
        type: path
      known_hosts_file:
        description:
          - File with the host key, a path where the module runs. ssh's own files when left out.
          - Host keys are always checked.
        type: path
      ssh_options:
        description:
          - Further options of ssh as V(Name=value), see C(ssh_config(5)).
          - Those that would weaken the checks are refused.
        type: list
        elements: str
        default: []
"""

    # One replica.
    TARGET = r"""
options:
  target:
    description: The side that receives.
    type: dict
    default: {}
    suboptions:
      dataset:
        description: The replica.
        type: str
      host:
        description:
          - Address of the backend that receives. V(local) is the machine that the module runs on.
          - Required unless O(source.host) is given.
        type: str
      port:
        description: Port of sshd there. ssh's own default when left out.
        type: int
      user:
        description: User to log in as. ssh's own default when left out.
        type: str
      become:
        description: Run C(zfs) there with C(sudo -n).
        type: bool
        default: false
      identity_file:
        description: Private key to log in with, a path where the module runs. When set, no other key is tried.
        type: path
      known_hosts_file:
        description:
          - File with the host key, a path where the module runs. ssh's own files when left out.
          - Host keys are always checked.
        type: path
      ssh_options:
        description:
          - Further options of ssh as V(Name=value), see C(ssh_config(5)).
          - Those that would weaken the checks are refused.
        type: list
        elements: str
        default: []
"""

    # The replicas of any number of volumes.
    TARGETS = r"""
options:
  target:
    description: The side that receives.
    type: dict
    required: true
    suboptions:
      dataset:
        description:
          - The replica of the one volume named (the root of its tree with O(recursive)).
          - Exactly one of O(target.dataset) and O(target.parent) is needed.
        type: str
      parent:
        description:
          - Each volume goes below this dataset, under its own path less the first O(target.strip) components.
          - Missing datasets in between are created with C(canmount=off).
        type: str
      strip:
        description: How many leading components of a volume's path are left out below O(target.parent).
        type: int
        default: 1
      host:
        description:
          - Address of the backend that receives. V(local) is the machine that the module runs on.
          - Required unless O(source.host) is given.
        type: str
      port:
        description: Port of sshd there. ssh's own default when left out.
        type: int
      user:
        description: User to log in as. ssh's own default when left out.
        type: str
      become:
        description: Run C(zfs) there with C(sudo -n).
        type: bool
        default: false
      identity_file:
        description: Private key to log in with, a path where the module runs. When set, no other key is tried.
        type: path
      known_hosts_file:
        description:
          - File with the host key, a path where the module runs. ssh's own files when left out.
          - Host keys are always checked.
        type: path
      ssh_options:
        description:
          - Further options of ssh as V(Name=value), see C(ssh_config(5)).
          - Those that would weaken the checks are refused.
        type: list
        elements: str
        default: []
"""
