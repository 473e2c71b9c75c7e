# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options `source`, `target` and `login` of a replication."""

from __future__ import annotations


class ModuleDocFragment:
    # The login options are repeated in each text, because ansible-test reads the strings without running the code.

    # How to log in to either side.
    LOGIN = r"""
options:
  login:
    description:
      - How to log in to other hosts, whichever side they are. Can be set once for all modules that do, with
        C(module_defaults) and the group C(cerss.zfs.replication).
      - What O(source) or O(target) sets itself comes first, one option at a time. What neither sets is decided by ssh,
        from its configuration on the host that the module runs on. So a host may also be a C(Host) of that file.
    type: dict
    suboptions:
      port:
        description: Port of sshd there.
        type: int
      user:
        description: User to log in as.
        type: str
      become:
        description: Run C(zfs) there as root, with C(sudo -n). It is not run so by default.
        type: bool
      become_program:
        description: The program for O(login.become), such as V(doas). It is run with C(-n). By default C(sudo).
        type: str
      identity_file:
        description: Private key to log in with, a path on the host that the module runs on. No others are tried then,
          but for those that the configuration of ssh names for the host.
        type: path
      known_hosts_file:
        description:
          - File with the host key, a path on the host that the module runs on. By default ssh uses its own files.
          - Host keys are always checked.
        type: path
      ssh_options:
        description:
          - Further ssh options as V(Name=value), see C(ssh_config(5)).
          - C(AddressFamily), C(BindAddress), C(BindInterface), C(CASignatureAlgorithms), C(CertificateFile),
            C(Ciphers), C(Compression), C(ConnectionAttempts), C(ConnectTimeout), C(GSSAPIAuthentication),
            C(HostKeyAlgorithms), C(HostKeyAlias), C(IdentityAgent), C(IPQoS), C(KexAlgorithms), C(MACs),
            C(PreferredAuthentications), C(ProxyJump), C(PubkeyAcceptedAlgorithms), C(PubkeyAcceptedKeyTypes),
            C(RekeyLimit), C(RequiredRSASize), C(ServerAliveInterval) and C(TCPKeepAlive) can be set. Others, of which
            some would weaken the checks, are refused.
        type: list
        elements: str
"""

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
        description: As O(login.port), for this side.
        type: int
      user:
        description: As O(login.user), for this side.
        type: str
      become:
        description: As O(login.become), for this side. V(false) also sets aside O(login.become=true).
        type: bool
      become_program:
        description: As O(login.become_program), for this side.
        type: str
      identity_file:
        description: As O(login.identity_file), for this side.
        type: path
      known_hosts_file:
        description: As O(login.known_hosts_file), for this side.
        type: path
      ssh_options:
        description: As O(login.ssh_options), for this side, instead of these.
        type: list
        elements: str
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
        description: As O(login.port), for this side.
        type: int
      user:
        description: As O(login.user), for this side.
        type: str
      become:
        description: As O(login.become), for this side. V(false) also sets aside O(login.become=true).
        type: bool
      become_program:
        description: As O(login.become_program), for this side.
        type: str
      identity_file:
        description: As O(login.identity_file), for this side.
        type: path
      known_hosts_file:
        description: As O(login.known_hosts_file), for this side.
        type: path
      ssh_options:
        description: As O(login.ssh_options), for this side, instead of these.
        type: list
        elements: str
"""

    # The replicas of any number of datasets.
    TARGETS = r"""
options:
  target:
    description:
      - The side that receives.
      - Exactly one of O(target) and O(targets) is required.
    type: dict
    suboptions:
      dataset:
        description:
          - The replica of the one dataset in O(name). With O(recursive) it is the root of the replicated tree.
          - Exactly one of O(target.dataset) and O(target.parent) is required.
        type: str
      parent:
        description:
          - Each replica goes below this dataset. Its path there is that of the source without as many of its first
            components as O(target.strip) says.
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
        description: As O(login.port), for this side.
        type: int
      user:
        description: As O(login.user), for this side.
        type: str
      become:
        description: As O(login.become), for this side. V(false) also sets aside O(login.become=true).
        type: bool
      become_program:
        description: As O(login.become_program), for this side.
        type: str
      identity_file:
        description: As O(login.identity_file), for this side.
        type: path
      known_hosts_file:
        description: As O(login.known_hosts_file), for this side.
        type: path
      ssh_options:
        description: As O(login.ssh_options), for this side, instead of these.
        type: list
        elements: str
      include:
        description:
          - Send only the first snapshot of each of these periods, of those that O(include_snapshots) and
            O(exclude_snapshots) allow. If there are several periods, the first of each is sent.
          - The first one of a period never changes, so the replica gets no other of it, even if the source deletes it.
            A snapshot that O(name) names is always sent.
          - Periods are those of the local time on the host that the module runs on.
        type: dict
        suboptions:
          hourly:
            description: The first snapshot of each hour.
            type: int
            choices: [1]
          daily:
            description: The first snapshot of each day.
            type: int
            choices: [1]
          weekly:
            description: The first snapshot of each week, which begins on Monday.
            type: int
            choices: [1]
          monthly:
            description: The first snapshot of each month.
            type: int
            choices: [1]
          yearly:
            description: The first snapshot of each year.
            type: int
            choices: [1]
      include_snapshots:
        description: Instead of O(include_snapshots), for this target.
        type: list
        elements: str
      exclude_snapshots:
        description: Instead of O(exclude_snapshots), for this target.
        type: list
        elements: str
      intermediates:
        description: Instead of O(intermediates), for this target.
        type: bool
      raw:
        description: Instead of O(raw), for this target.
        type: str
        choices: [auto, always, never]
      properties:
        description: Instead of O(properties), for this target.
        type: dict
      on_divergence:
        description: Instead of O(on_divergence), for this target.
        type: str
        choices: [fail, rollback, reseed]
  targets:
    description:
      - Several sides that receive. The source is read once for all of them, and they are served one after the other.
      - If one of them fails, for example because it is down, the others still receive; RV(replicas) has the error for
        each of its replicas.
      - Each is a relationship of its own. An empty list is nothing to do.
    type: list
    elements: dict
    suboptions:
      dataset:
        description:
          - The replica of the one dataset in O(name). With O(recursive) it is the root of the replicated tree.
          - Exactly one of O(targets[].dataset) and O(targets[].parent) is required.
        type: str
      parent:
        description:
          - Each replica goes below this dataset. Its path there is that of the source without as many of its first
            components as O(targets[].strip) says.
          - Missing datasets in between are created with C(canmount=off).
        type: str
      strip:
        description: How many leading components of a source's path to leave out below O(targets[].parent).
        type: int
        default: 1
      host:
        description:
          - Address of the backend that receives, as seen from the host that the module runs on. V(local) is that host
            itself.
          - Required unless O(source.host) is given.
        type: str
      port:
        description: As O(login.port), for this side.
        type: int
      user:
        description: As O(login.user), for this side.
        type: str
      become:
        description: As O(login.become), for this side. V(false) also sets aside O(login.become=true).
        type: bool
      become_program:
        description: As O(login.become_program), for this side.
        type: str
      identity_file:
        description: As O(login.identity_file), for this side.
        type: path
      known_hosts_file:
        description: As O(login.known_hosts_file), for this side.
        type: path
      ssh_options:
        description: As O(login.ssh_options), for this side, instead of these.
        type: list
        elements: str
      include:
        description:
          - Send only the first snapshot of each of these periods, of those that O(include_snapshots) and
            O(exclude_snapshots) allow. If there are several periods, the first of each is sent.
          - The first one of a period never changes, so the replica gets no other of it, even if the source deletes it.
            A snapshot that O(name) names is always sent.
          - Periods are those of the local time on the host that the module runs on.
        type: dict
        suboptions:
          hourly:
            description: The first snapshot of each hour.
            type: int
            choices: [1]
          daily:
            description: The first snapshot of each day.
            type: int
            choices: [1]
          weekly:
            description: The first snapshot of each week, which begins on Monday.
            type: int
            choices: [1]
          monthly:
            description: The first snapshot of each month.
            type: int
            choices: [1]
          yearly:
            description: The first snapshot of each year.
            type: int
            choices: [1]
      include_snapshots:
        description: Instead of O(include_snapshots), for this target.
        type: list
        elements: str
      exclude_snapshots:
        description: Instead of O(exclude_snapshots), for this target.
        type: list
        elements: str
      intermediates:
        description: Instead of O(intermediates), for this target.
        type: bool
      raw:
        description: Instead of O(raw), for this target.
        type: str
        choices: [auto, always, never]
      properties:
        description: Instead of O(properties), for this target.
        type: dict
      on_divergence:
        description: Instead of O(on_divergence), for this target.
        type: str
        choices: [fail, rollback, reseed]
"""
