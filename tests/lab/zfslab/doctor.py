# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packages that the lab needs on this machine, and the command that installs them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from .base import LabError, say

# program -> Debian package
RUN = {"qemu-system-x86_64": "qemu-system-x86", "qemu-img": "qemu-utils", "ssh": "openssh-client"}
BUILD = {"mmdebstrap": "mmdebstrap", "mke2fs": "e2fsprogs", "apt-get": "apt"}
BUILD_UNPRIVILEGED = {"newuidmap": "uidmap"}


def missing(*, build: bool = True) -> dict[str, str]:
    needed = {**RUN, **(BUILD if build else {}), **(BUILD_UNPRIVILEGED if build and os.geteuid() else {})}
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return {program: package for program, package in needed.items() if not shutil.which(program, path=path)}


def install_command(packages: dict[str, str]) -> list[str]:
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    return [*sudo, "apt-get", "install", "-y", "--no-install-recommends", *sorted(set(packages.values()))]


def require(*, build: bool) -> None:
    lacking = missing(build=build)
    if lacking:
        raise LabError(
            f"the lab needs {', '.join(lacking)}; install with:\n    {' '.join(install_command(lacking))}\n"
            "or run 'lab.py doctor --install'"
        )


def doctor(*, install: bool) -> None:
    lacking = missing()
    if lacking and install:
        command = install_command(lacking)
        if command[0] == "sudo":
            command.insert(1, "-n")
        say(" ".join(command))
        # The package lists may be missing or old.
        subprocess.run([*command[: command.index("apt-get") + 1], "-q", "update"], check=False, stdout=sys.stderr)
        if subprocess.run(command, check=False, stdout=sys.stderr).returncode:
            raise LabError(f"the installation failed; as root run:\n    {' '.join(install_command(lacking))}")
        lacking = missing()
    if lacking:
        require(build=True)
    say("everything the lab needs is installed")
