# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Unpacks the archive of pack.py from standard input as the collection cerss.zfs in a new folder.

Usage: python3 -I unpack.py FOLDER
"""

from __future__ import annotations

import base64
import io
import os
import shutil
import sys
import tarfile


def unpack(packed: str, folder: str) -> None:
    """The folder gets its name when it is complete."""
    draft = f"{folder}.new"
    shutil.rmtree(draft, ignore_errors=True)
    place = os.path.join(draft, "ansible_collections", "cerss", "zfs")
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(packed)), mode="r:gz") as tar:
        for member in tar:
            path, content = os.path.normpath(os.path.join(place, member.name)), tar.extractfile(member)
            if content is None or not path.startswith(place + os.sep):
                sys.exit(f"the archive has {member.name!r}, which is not a file of a collection")
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                shutil.copyfileobj(content, file)
    os.rename(draft, folder)


if __name__ == "__main__":
    os.umask(0o022)
    unpack(sys.stdin.read(), sys.argv[1])
