# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removes the environments and collections that no schedule uses, and the whole folder when there is no schedule.

Usage: python3 -I clean.py [--check] HOME UNITS NAME [PATH...]

NAME is a schedule that uses these paths, whatever its files say, or one that is gone if no path is given. It prints
what it removes. It removes nothing while a schedule runs, since that may use what it has begun with.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys


def unused(home: str, units: str, name: str, *used: str) -> list[str]:
    """The paths to remove."""
    others = sorted({*map(os.path.basename, glob.glob(f"{glob.escape(home)}/schedules/*"))} - {name})
    if not others and not used:
        return [home] if os.path.isdir(home) else []
    files = [path for each in others for path in (f"{home}/schedules/{each}/ansible.cfg", service(units, each))]
    text = "\n".join([*used, *map(read, files)])
    made = [path for kind in ("venv", "collection") for path in glob.glob(f"{glob.escape(home)}/{kind}-*")]
    return sorted(path for path in made if path not in text)


def service(units: str, name: str) -> str:
    return f"{units}/cerss-zfs-{name}.service"


def read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def running() -> bool:
    command = ["systemctl", "list-units", "--no-legend", "--state=activating,active,deactivating"]
    command.append("cerss-zfs-*.service")
    return bool(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.strip())


def main(arguments: list[str]) -> None:
    checks = arguments[:1] == ["--check"]
    found = unused(*arguments[checks:])
    if found and not running():
        print("\n".join(found))
        for path in [] if checks else found:
            shutil.rmtree(path)


if __name__ == "__main__":
    main(sys.argv[1:])
