# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Text that is not valid UTF-8. Names, tags and values keep their exact bytes (PEP 383) until they are shown."""

from __future__ import annotations

import re
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")  # no text has these; those from U+DC80 on stand for single bytes


def shown(value: Any) -> Any:
    r"""A result in which bytes that are not UTF-8 are written as escapes, since JSON takes only valid text.

    >>> shown({"note": ["caf\udce9"]})
    {'note': ['caf\\xe9']}
    """
    if isinstance(value, str):
        return _SURROGATE.sub(_escape, value)
    if isinstance(value, dict):
        return {shown(key): shown(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [shown(item) for item in value]
    return value


def _escape(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"
