# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes a virtual environment with the Python that runs this, and installs packages there.

Usage: python3 -I venv.py FOLDER WHEELS REQUIREMENT...

WHEELS is a folder with all that is to be installed, or empty: then pip decides where it finds packages (PIP_INDEX_URL).
If pip is among the wheels, the Python needs no pip of its own.
"""

from __future__ import annotations

import glob
import os
import subprocess
import sys

MARK = "complete"  # the file that says that nothing is missing


def install(folder: str, wheels: str, requirements: list[str]) -> None:
    pips = sorted(glob.glob(f"{glob.escape(wheels)}/pip-*.whl")) if wheels else []
    run([sys.executable, "-m", "venv", "--clear", *(["--without-pip"] if pips else []), folder])
    offline = ["--no-index", "--find-links", wheels] if wheels else []
    python = os.path.join(folder, "bin", "python")
    pip = [pips[-1] + "/pip"] if pips else ["-m", "pip"]
    run([python, *pip, "install", "--disable-pip-version-check", "--no-input", *offline, *requirements])
    with open(os.path.join(folder, MARK), "x", encoding="utf-8"):
        pass


def run(argv: list[str]) -> None:
    """Its output is ours. End with its status when that is not 0."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        sys.exit(done.stdout.decode(errors="replace").strip() or f"{argv[0]} ended with {done.returncode}")


if __name__ == "__main__":
    os.umask(0o022)
    install(sys.argv[1], sys.argv[2], sys.argv[3:])
