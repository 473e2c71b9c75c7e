#!/bin/sh
# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Run once, before the machine's state is saved.
make_pools

# Ansible sends the sources of a module and of all that it imports in a zip file, anew with each task. Python keeps no
# compiled code of those, and compiling is most of what a task takes on an emulated processor. So this keeps it, by the
# source and the name, for each user apart.
install -d -m 1777 /var/cache/zip-code
site=$(python3 -c 'import site; print(site.getsitepackages()[0])')
mkdir -p "$site"
echo 'import lab_zip_code' > "$site/lab.pth"
cat > "$site/lab_zip_code.py" <<'PYTHON'
import _blake2, marshal, os, zipimport  # all built in, since every start of Python comes along here

compile_source = zipimport._compile_source
folder = f"/var/cache/zip-code/{os.getuid()}"


def kept(pathname, source):
    name = pathname.rpartition(".zip/")[2]
    path = f"{folder}/{_blake2.blake2b(name.encode() + bytes(1) + source).hexdigest()}"
    try:
        with open(path, "rb") as file:
            return marshal.load(file)
    except (OSError, EOFError, ValueError):
        code = compile_source(pathname, source)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        with open(f"{path}.{os.getpid()}", "wb") as file:
            marshal.dump(code, file)
        os.replace(f"{path}.{os.getpid()}", path)
    except OSError:
        pass
    return code


zipimport._compile_source = kept
PYTHON

# What cases use lies in the page cache of the saved state.
python3 -c 'import json, subprocess, argparse, tempfile, shutil, platform, selectors' && zfs list > /dev/null && sudo true
sync
