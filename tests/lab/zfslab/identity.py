# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names, addresses and keys. Each machine has a host key and a user key, made once per cache."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from .base import cache_dir, locked
from .machine import run

# The guest's lab-identity reads this. The kernel finds the network cards in any order; the last but one byte of their
# addresses tells them apart (see Machine.hardware). eth0 connects to this machine, eth1 to the other guests.
MACHINE = """name={name}
address={address}
until [ -e /sys/class/net/eth0 ] && [ -e /sys/class/net/eth1 ]; do sleep 0.1; done
read -r card < /sys/class/net/eth0/address
if [ "${{card#52:54:00:77:01:}}" != "$card" ]; then
    ip link set eth0 name swap
    ip link set eth1 name eth0
    ip link set swap name eth1
fi
"""
NAMES = tuple(f"backend-{letter}" for letter in "abcdefgh")
ADDRESSES = {name: f"192.168.77.{number}" for number, name in enumerate(NAMES, 1)}


def keys_dir() -> Path:
    """The folder with the controller's key (id) and each machine's host key and user key."""
    folder = cache_dir() / "keys"
    needed = ["id", *(f"{name}.{kind}" for name in NAMES for kind in ("host", "user"))]
    if not all((folder / f"{key}.pub").exists() for key in needed):
        with locked(cache_dir() / "keys.lock", "another process is making the keys, waiting for it"):
            folder.mkdir(mode=0o700, exist_ok=True)
            for key in needed:
                if not (folder / f"{key}.pub").exists():
                    (folder / key).unlink(missing_ok=True)
                    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", key, "-f", folder / key])
    return folder


def public_host_key(name: str) -> str:
    return " ".join((keys_dir() / f"{name}.host.pub").read_text().split()[:2])


def identity_tar(name: str) -> bytes:
    """The archive that the guest unpacks at its first boot. The bytes are the same each time."""
    keys = keys_dir()
    hosts = "".join(f"{address} {other}\n" for other, address in ADDRESSES.items())
    authorized = "".join((keys / f"{key}.pub").read_text() for key in ("id", *(f"{n}.user" for n in NAMES)))
    known = "".join(f"{other},{address} {public_host_key(other)}\n" for other, address in ADDRESSES.items())
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:

        def add(path: str, content: str, mode: int = 0o644, owner: str = "root") -> None:
            entry = tarfile.TarInfo(path)
            entry.mode, entry.uname, entry.gname, entry.size = mode, owner, owner, len(content.encode())
            tar.addfile(entry, io.BytesIO(content.encode()))

        add("etc/lab-machine", MACHINE.format(name=name, address=ADDRESSES[name]))
        add("etc/hostname", f"{name}\n")
        add("etc/hosts", f"127.0.0.1 localhost\n{hosts}")
        add("etc/ssh/ssh_known_hosts", known)
        add("etc/ssh/ssh_host_ed25519_key", (keys / f"{name}.host").read_text(), 0o600)
        for home, owner in (("root", "root"), ("home/operator", "operator")):
            folder = tarfile.TarInfo(f"{home}/.ssh")
            folder.type, folder.mode, folder.uname, folder.gname = tarfile.DIRTYPE, 0o700, owner, owner
            tar.addfile(folder)
            add(f"{home}/.ssh/authorized_keys", authorized, 0o600, owner)
            add(f"{home}/.ssh/id_ed25519", (keys / f"{name}.user").read_text(), 0o600, owner)
    return buffer.getvalue()
