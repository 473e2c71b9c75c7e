# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What list, get, holds and send of zfs print, as values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime

from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Hold
from ansible_collections.cerss.zfs.plugins.module_utils._core.units import number

_RECORD = re.compile(
    r"([^\t]+)\t([^\t]+)\t(local|default|none|-|received|temporary|inherited from [^\t]+)\t(.*)\Z", re.S
)
_MISSING = re.compile(r"cannot open '([^']+)': .*(?:does not exist|no such pool.*)\Z")


def rows(lines: Iterable[str]) -> Iterator[list[str]]:
    """The columns of each line that ``zfs list -Hp`` and similar commands print."""
    return (line.split("\t") for line in lines if line)


def records(lines: Iterable[str]) -> Iterator[tuple[str, str, str, str]]:
    """(name, property, source, value) of ``zfs get -Hp -o name,property,source,value``.

    A value may have newlines: a line that does not begin a record continues the value before it.

    >>> list(records(["tank\\torg:note\\tlocal\\tfirst", "second"]))
    [('tank', 'org:note', 'local', 'first\\nsecond')]
    """
    current: list[str] | None = None
    for line in lines:
        found = _RECORD.match(line)
        if found:
            if current:
                yield current[0], current[1], current[2], current[3]
            current = list(found.groups())
        elif current:
            current[3] += "\n" + line
    if current:
        yield current[0], current[1], current[2], current[3]


def missing(stderr: str) -> tuple[list[str], list[str]]:
    """(names that do not exist, all other lines) from what list, get or holds print on stderr."""
    names, other = [], []
    for line in stderr.splitlines():
        found = _MISSING.match(line.strip())
        if found:
            names.append(found.group(1))
        elif line.strip() not in ("", "no datasets available"):  # zfs holds prints the latter too
            other.append(line)
    return names, other


def holds(lines: Iterable[str]) -> Iterator[tuple[str, Hold]]:
    """(snapshot, hold) of ``zfs holds -Hp``. Without ``-p`` (OpenZFS 2.1) the time is local and whole minutes."""
    for columns in rows(lines):
        name, tag, when = columns[0], "\t".join(columns[1:-1]), columns[-1]
        yield name, Hold(tag, _hold_time(when))


def _hold_time(text: str) -> int | None:
    if text.strip().isdigit():
        return int(text)
    try:
        return int(datetime.strptime(" ".join(text.split()), "%a %b %d %H:%M %Y").timestamp())
    except ValueError:
        return None


def estimate(stdout: str) -> int | None:
    """The bytes in the line ``size N`` of ``zfs send -nvP``; None without that line."""
    for columns in rows(stdout.splitlines()):
        if columns[0] == "size" and len(columns) > 1:
            return number(columns[1])
    return None


def sent(line: str) -> tuple[int, str] | None:
    """(bytes of this snapshot so far, snapshot) of a progress line of ``zfs send -vP``; None for any other line."""
    columns = line.rstrip("\n").split("\t")
    if len(columns) == 3 and re.match(r"\d\d:\d\d:\d\d\Z", columns[0]) and columns[1].isdigit():
        return int(columns[1]), columns[2]
    return None


def announced(line: str) -> tuple[str, int] | None:
    """(snapshot, bytes) of a ``full`` or ``incremental`` line of ``zfs send -vP``; None for any other line."""
    columns = line.rstrip("\n").split("\t")
    if columns[0] in ("full", "incremental") and len(columns) >= 3 and columns[-1].isdigit():
        return columns[-2], int(columns[-1])
    return None
