# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options `source` and `target` of a replication."""

from __future__ import annotations


class ModuleDocFragment:
    # The login options are repeated in each text, because ansible-test reads the strings without running the code.

    SOURCE = r"""
options:
  source:
    description:
      - The side that sends. It is the host that the module runs on by default.
      - Set only O(target.host) to push, only O(source.host) to pull, and both to relay through the host in between.
    type: dict
    default: {}
    suboptions:
      host:
        description:
          - Address of the backend that sends, as seen from the host that the module runs on. V(local), the default, is
            that host itself.
        type: str
      port:
        description: Port of sshd there. By default ssh decides.
        type: int
      user:
        description: User to log in as. By default ssh decides.
        type: str
      become:
        description: Run C(zfs) there as root, with C(sudo -n).
        type: bool
        default: false
      become_program:
        description: The program for O(source.become), such as V(doas). It is run with C(-n).
        type: str
        default: sudo
      identity_file:
        description: Private key to log in with, a path on the host that the module runs on. No other key is tried then.
        type: path
      known_hosts_file:
        description:
          - File with the host key, a path on the host that the module runs on. By default ssh uses its own files.
          - Host keys are always checked.
        type: path
      ssh_options:
        description:
          - Further ssh options as V(Name=value), see C(ssh_config(5)).
          - Options that would weaken the checks are refused.
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
          - Address of the backend that receives, as seen from the host that the module runs on. V(local), the default,
            is that host itself.
        type: str
      port:
        description: Port of sshd there. By default ssh decides.
        type: int
      user:
        description: User to log in as. By default ssh decides.
        type: str
      become:
        description: Run C(zfs) there as root, with C(sudo -n).
        type: bool
        default: false
      become_program:
        description: The program for O(target.become), such as V(doas). It is run with C(-n).
        type: str
        default: sudo
      identity_file:
        description: Private key to log in with, a path on the host that the module runs on. No other key is tried then.
        type: path
      known_hosts_file:
        description:
          - File with the host key, a path on the host that the module runs on. By default ssh uses its own files.
          - Host keys are always checked.
        type: path
      ssh_options:
        description:
          - Further ssh options as V(Name=value), see C(ssh_config(5)).
          - Options that would weaken the checks are refused.
        type: list
        elements: str
        default: []
"""

    # The replicas of any number of datasets.
    TARGETS = r"""
options:
  target:
    description: The side that receives.
    type: dict
    required: true
    suboptions:
      dataset:
        description:
          - The replica of the one dataset in O(name). With O(recursive) it is the root of the replicated tree.
          - Exactly one of O(target.dataset) and O(target.parent) is required.
        type: str
      parent:
        description:
          - Each replica goes below this dataset. Its path there is that of the source without the first O(target.strip)
            components.
          - Missing datasets in between are created with C(canmount=off).
        type: str
      strip:
        description: How many leading components of a source's path to leave out below O(target.parent).
        type: int
        default: 1
      host:
        description:
          - Address of the backend that receives, as seen from the host that the module runs on. V(local) is that host
            itself.
          - Required unless O(source.host) is given.
        type: str
      port:
        description: Port of sshd there. By default ssh decides.
        type: int
      user:
        description: User to log in as. By default ssh decides.
        type: str
      become:
        description: Run C(zfs) there as root, with C(sudo -n).
        type: bool
        default: false
      become_program:
        description: The program for O(target.become), such as V(doas). It is run with C(-n).
        type: str
        default: sudo
      identity_file:
        description: Private key to log in with, a path on the host that the module runs on. No other key is tried then.
        type: path
      known_hosts_file:
        description:
          - File with the host key, a path on the host that the module runs on. By default ssh uses its own files.
          - Host keys are always checked.
        type: path
      ssh_options:
        description:
          - Further ssh options as V(Name=value), see C(ssh_config(5)).
          - Options that would weaken the checks are refused.
        type: list
        elements: str
        default: []
"""
