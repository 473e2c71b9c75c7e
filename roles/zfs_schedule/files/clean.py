# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removes the environments and collections that no schedule uses, and the whole folder when there is no schedule.

Usage: python3 -I clean.py [--check] HOME UNITS

It prints what it removes. It removes nothing while a schedule runs, since that may use an earlier one.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys


def unused(home: str, units: str) -> list[str]:
    """The paths to remove."""
    schedules = sorted(glob.glob(f"{glob.escape(home)}/schedules/*"))
    if not schedules:
        return [home] if os.path.isdir(home) else []
    files = [f"{schedule}/ansible.cfg" for schedule in schedules]
    files += [f"{units}/cerss-zfs-{os.path.basename(schedule)}.service" for schedule in schedules]
    text = "\n".join(map(read, files))
    made = [path for kind in ("venv", "collection") for path in glob.glob(f"{glob.escape(home)}/{kind}-*")]
    return sorted(path for path in made if path not in text)


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
