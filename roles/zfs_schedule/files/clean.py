# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removes the environments and collections that no schedule uses, and all that the role has made if there is none.

Usage: python3 -I clean.py [--check] HOME UNITS NAME [PATH...]

NAME is a schedule that uses these paths, whatever its files say, or one that is gone if no path is given. It prints
what it removes. It removes nothing while a schedule runs, since that may use what it has begun with.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
import sys

# What the role makes in its folder. All else there is of others.
MADE = re.compile(r"(venv|collection)-[0-9a-f]{12}(\.new)?|schedules|wheels")
SHARED = ("schedules", "wheels")


def unused(home: str, units: str, name: str, *used: str) -> list[str]:
    """The paths to remove."""
    others = sorted({*map(os.path.basename, glob.glob(f"{glob.escape(home)}/schedules/*"))} - {name})
    there = sorted(os.listdir(home)) if os.path.isdir(home) else []
    made = [each for each in there if MADE.fullmatch(each)]
    if not others and not used:
        return [home] if made and made == there else [f"{home}/{each}" for each in made]
    files = [path for each in others for path in (f"{home}/schedules/{each}/ansible.cfg", service(units, each))]
    text = "\n".join([*used, *map(read, files)])
    return [path for each in made if each not in SHARED and (path := f"{home}/{each}") not in text]


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
