# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two machines whose service users replicate through gates."""

from __future__ import annotations

from typing import Any

from harness import Ansible, Backend

USER = "cerss-zfs"
HOME = f"/var/lib/{USER}"
RECEIVE_APPEND, SEND_RAW = (2, 3, 2), (2, 4)  # the OpenZFS that has these permissions
BECOME = {"become": True, "become_user": USER}

# Who comes from another machine is the service user or nobody.
SHUT = """
printf 'Match Address 192.168.77.0/24\\n    DenyUsers root operator\\n' > /etc/ssh/sshd_config.d/zz-shut.conf
systemctl reload ssh
"""


class Gated:
    """backend-a pushes to backend-b; backend-b may also pull, and reach itself as a relay does."""

    SEND, RECEIVE = "tank", "backup"

    def __init__(self, ansible: Ansible, a: Backend, b: Backend) -> None:
        self.ansible, self.a, self.b = ansible, a, b
        self.given: list[tuple[Backend, list[str]]] = []  # what the role did to the pools, as commands

    def peer(self, here: Backend, there: Backend, job: str) -> dict[str, Any]:
        """The variables of zfs_peer."""
        return {
            "zfs_peer_host": there.name,
            "zfs_peer_address": there.address,
            # Whoever pulls has the role find out.
            "zfs_peer_from": [here.address] if job == "receive" else [],
            "zfs_peer_job": job,
            "zfs_peer_root": self.RECEIVE if job == "receive" else self.SEND,
            "zfs_peer_properties": ["atime"] if job == "receive" else [],
        }

    def variables(self) -> dict[str, dict[str, Any]]:
        """What the inventory would give each host."""
        both = {"zfs_backend_send": [self.SEND], "zfs_backend_receive": [self.RECEIVE]}
        both["zfs_backend_replica_properties"] = ["atime"]
        given = {self.a.name: {**both, **self.peer(self.a, self.b, "receive")}}
        given[self.b.name] = {**both, **self.peer(self.b, self.a, "send")}
        # As narrow as the machine that keeps the replicas can be.
        for name, version in (self.a.name, (0,)), (self.b.name, self.b.version):
            given[name]["zfs_backend_receive_append"] = version >= RECEIVE_APPEND
            given[name]["zfs_backend_send_raw"] = version >= SEND_RAW
        return given

    def play(self, **more: Any) -> list[dict[str, Any]]:
        """The playbook, with further variables."""
        given = self.variables()
        per_host = {key: f"{{{{ given[inventory_hostname].{key} }}}}" for key in given[self.a.name]}
        values = {"setup_backends_hosts": "backends", "given": given, **per_host, **more}
        return self.ansible.play([{"ansible.builtin.import_playbook": "cerss.zfs.setup_backends", "vars": values}])

    def role(self, here: Backend, **variables: Any) -> list[dict[str, Any]]:
        """zfs_peer alone, on one machine."""
        task = {"name": "peer", "ansible.builtin.include_role": {"name": "cerss.zfs.zfs_peer"}, "vars": variables}
        return self.ansible.play([{"hosts": here.name, "gather_facts": False, "tasks": [task]}])

    def set_up(self) -> None:
        self.play()
        self.role(self.b, **self.peer(self.b, self.b, "receive"))
        for backend in (self.a, self.b):
            for dataset in (self.SEND, self.RECEIVE):
                lines = backend.zfs("allow", dataset).splitlines()
                permissions = next(line.split()[-1] for line in lines if f" {USER} " in line)
                self.given.append((backend, ["zfs", "allow", "-u", USER, permissions, dataset]))
            settings = backend.zfs("get", "-H", "-s", "local", "-o", "property,value", "all", self.RECEIVE)
            values = ["=".join(line.split("\t")) for line in settings.splitlines()]
            self.given.append((backend, ["zfs", "set", *values, self.RECEIVE]))
            self.given.append((backend, ["systemd-tmpfiles", "--create", "/etc/tmpfiles.d/cerss.zfs.conf"]))
            backend.run(SHUT)

    def permit(self) -> None:
        """Do to new pools what the role did to the former ones."""
        for backend, command in self.given:
            backend.run(command)
