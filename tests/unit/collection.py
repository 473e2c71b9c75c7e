# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the collection importable from a plain clone, wherever it lies."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]

for name, path in {
    "ansible_collections": [],
    "ansible_collections.cerss": [],
    "ansible_collections.cerss.zfs": [str(ROOT)],
}.items():
    package = ModuleType(name)
    package.__path__ = path
    sys.modules.setdefault(name, package)
