# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints a collection as a digest of its files and as a tar archive in base64, which are the same for the same files.

Usage: python3 -I pack.py FOLDER|TARBALL

Ansible does not show what it prints on stderr, so it prints "-" and the reason if it fails.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import os
import sys
import tarfile
from pathlib import Path

# What ansible-playbook reads. Galaxy's tarball has MANIFEST.json instead of galaxy.yml.
PARTS = ("LICENSE", "MANIFEST.json", "galaxy.yml", "meta", "playbooks", "plugins", "roles")
FAILED = "-"
Files = dict[str, bytes]


def from_folder(folder: Path) -> Files:
    found = {}
    for part in PARTS:
        for path in [folder / part, *sorted((folder / part).rglob("*"))]:
            if path.is_file() and not path.is_symlink() and path.suffix != ".pyc":
                found[str(path.relative_to(folder).as_posix())] = path.read_bytes()
    return found


def from_tarball(path: Path) -> Files:
    with tarfile.open(path) as tar:
        opened = {member.name: tar.extractfile(member) for member in tar if member.isreg()}
        found = {name: file.read() for name, file in opened.items() if file}
    kept = {name: content for name, content in found.items() if name.split("/")[0] in PARTS}
    return {name: content for name, content in kept.items() if not name.endswith(".pyc")}


def digest(files: Files) -> str:
    whole = hashlib.sha256()
    for name, content in sorted(files.items()):
        whole.update(f"{name}\0{len(content)}\0".encode() + content)
    return whole.hexdigest()[:12]


def archive(files: Files) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=0)


def main(path: str) -> None:
    try:
        files = from_folder(Path(path)) if os.path.isdir(path) else from_tarball(Path(path))
    except (OSError, tarfile.TarError) as error:
        print(FAILED, path, "cannot be read:", error)
        return
    if not any(name in files for name in ("MANIFEST.json", "galaxy.yml")):
        print(FAILED, path, "is not a collection, since it has no MANIFEST.json")
        return
    print(digest(files), base64.b64encode(archive(files)).decode())


if __name__ == "__main__":
    main(sys.argv[1])
