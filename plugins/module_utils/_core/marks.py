# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the collection stores in ZFS."""

from __future__ import annotations

import json
from typing import Any


def read_json(text: str | None) -> Any:
    """The JSON that a mark of ours holds; None when it is missing or spoilt."""
    try:
        return json.loads(text or "null")
    except ValueError:
        return None
