# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints the addresses from which this host reaches another, one on each line.

Usage: python3 -I addresses.py HOST PORT

It sends nothing: connecting a UDP socket only chooses the route and with it the address.
"""

from __future__ import annotations

import contextlib
import socket
import sys


def addresses(host: str, port: str) -> list[str]:
    """One for each address of the host that there is a route to. Without the zone of a link-local one."""
    found = []
    for family, kind, protocol, _name, address in socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM):
        with contextlib.suppress(OSError), socket.socket(family, kind, protocol) as connected:
            connected.connect(address)
            found.append(connected.getsockname()[0].partition("%")[0])
    return sorted(set(found))


def main(host: str, port: str) -> None:
    try:
        print("\n".join(addresses(host, port)) or sys.exit(f"there is no route to {host}"))
    except OSError as error:
        sys.exit(f"{host} has no address here: {error.strerror}")


if __name__ == "__main__":
    main(*sys.argv[1:])
