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
    # Without a copy when there is nothing to escape: a result may have 100,000 snapshots.
    return _escaped(value) if _is_odd(value) else value


def _is_odd(value: Any) -> bool:
    if isinstance(value, str):
        return not value.isascii() and _SURROGATE.search(value) is not None
    if isinstance(value, dict):
        return any(_is_odd(key) or _is_odd(item) for key, item in value.items())
    return isinstance(value, (list, tuple)) and any(map(_is_odd, value))


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub(_escape, value)
    if isinstance(value, dict):
        return {_escaped(key): _escaped(item) for key, item in value.items()}
    return [_escaped(item) for item in value] if isinstance(value, (list, tuple)) else value


def _escape(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"
