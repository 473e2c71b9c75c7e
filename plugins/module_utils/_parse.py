# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Text that zfs and users write, as values. Pure."""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from ansible_collections.cerss.zfs.plugins.module_utils._errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._model import Hold, Token

_DURATION = re.compile(r"([0-9]+)([smhdw]?)\Z")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGTPE]?)(?:i?B)?\Z", re.IGNORECASE)
_RECORD = re.compile(
    r"([^\t]+)\t([^\t]+)\t(local|default|none|-|received|temporary|inherited from [^\t]+)\t(.*)\Z", re.S
)
_ABSENT = re.compile(r"cannot open '([^']+)': .*(?:does not exist|no such pool.*)\Z")


def duration(text: str | int, option: str) -> int:
    """``90s 15m 2h 7d 4w`` or whole seconds, as seconds."""
    found = _DURATION.match(str(text).strip())
    if not found:
        raise BadInput(f"{option}: {text!r} is not a duration; write 90s, 15m, 2h, 7d, 4w or whole seconds")
    return int(found.group(1)) * _SECONDS[found.group(2)]


def size(text: str | int, option: str) -> int:
    """``64K 10M 2G`` (units of 1024) or bytes, as bytes."""
    found = _SIZE.match(str(text).strip())
    if not found:
        raise BadInput(f"{option}: {text!r} is not a size; write 64K, 10M, 2G (units of 1024) or bytes")
    return int(float(found.group(1)) * 1024 ** " KMGTPE".index(found.group(2).upper() or " "))


def number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


def rows(lines: Iterable[str]) -> Iterator[list[str]]:
    """The columns of each line of ``zfs list -Hp`` and its like."""
    return (line.split("\t") for line in lines if line)


def records(lines: Iterable[str]) -> Iterator[tuple[str, str, str, str]]:
    """(name, property, source, value) of ``zfs get -Hp -o name,property,source,value``.

    A value may hold newlines: a line that does not begin a record goes on with the value before it.
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
    """(names that do not exist, the other lines) of what list and get said."""
    gone, other = [], []
    for line in stderr.splitlines():
        found = _ABSENT.match(line.strip())
        if found:
            gone.append(found.group(1))
        elif line.strip() not in ("", "no datasets available"):  # the latter is what holds adds
            other.append(line)
    return gone, other


def holds(lines: Iterable[str]) -> Iterator[tuple[str, Hold]]:
    """(snapshot, hold) of ``zfs holds -Hp``; without ``-p`` (2.1) the time is the host's, to the minute."""
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
    """Bytes that ``zfs send -nvP`` announces in its line ``size N``."""
    for columns in rows(stdout.splitlines()):
        if columns[0] == "size" and len(columns) > 1:
            return number(columns[1])
    return None


def sent(line: str) -> tuple[int, str] | None:
    """(bytes of this snapshot so far, snapshot) of a progress line of ``zfs send -vP``."""
    columns = line.rstrip("\n").split("\t")
    if len(columns) == 3 and re.match(r"\d\d:\d\d:\d\d\Z", columns[0]) and columns[1].isdigit():
        return int(columns[1]), columns[2]
    return None


def announced(line: str) -> tuple[str, int] | None:
    """(snapshot, bytes) of a ``full`` or ``incremental`` line that ``zfs send -vP`` begins with."""
    columns = line.rstrip("\n").split("\t")
    if columns[0] in ("full", "incremental") and len(columns) >= 3 and columns[-1].isdigit():
        return columns[-2], int(columns[-1])
    return None


def mark(text: str | None) -> Any:
    """The JSON that a mark of ours holds; None when it is missing or spoilt."""
    try:
        return json.loads(text or "null")
    except ValueError:
        return None


def token(text: str) -> Token | None:
    """Decode a receive_resume_token without a process; None when it is none, or not one we understand.

    ``1-<checksum>-<size>-<hex>``: zlib over a natively encoded nvlist (zfs_send_resume_token_to_nvlist in libzfs).
    """
    words = re.fullmatch(r"1-[0-9a-f]+-([0-9a-f]+)-((?:[0-9a-f]{2})+)", text)
    if words is None:
        return None
    try:
        data = zlib.decompress(bytes.fromhex(words[2]))
        if len(data) != int(words[1], 16):
            return None
        values = _nvlist(data)
        return Token(
            text=text,
            toguid=str(values["toguid"]),
            toname=str(values["toname"]),
            bytes=int(values["bytes"]),
            fromguid=str(values["fromguid"]) if values.get("fromguid") else None,
            raw="rawok" in values,
        )
    except (ValueError, KeyError, IndexError, struct.error, zlib.error):
        return None


def _nvlist(data: bytes) -> dict[str, Any]:
    """Flags, 64-bit numbers and strings of a packed nvlist in the machine's own encoding (nvpair.c, nvs_native_*).

    ValueError for what no token holds: what is in a list within the list would be taken for what is in this one.
    """
    encoding, little = data[0], data[1]
    if encoding != 0:
        raise ValueError("not a native nvlist")
    order = "<" if little else ">"
    at = 12
    result: dict[str, Any] = {}
    while True:
        (length,) = struct.unpack_from(order + "i", data, at)
        if length <= 0:
            return result
        name_size, _reserve, _count, kind = struct.unpack_from(order + "hhii", data, at + 4)
        name = data[at + 16 : at + 16 + name_size - 1].decode()
        if name in result:  # others might take the other one
            raise ValueError(f"{name} is there twice")
        value_at = at + (16 + name_size + 7) // 8 * 8
        if kind == 1:  # DATA_TYPE_BOOLEAN
            result[name] = True
        elif kind == 8:  # DATA_TYPE_UINT64
            result[name] = struct.unpack_from(order + "Q", data, value_at)[0]
        elif kind == 9:  # DATA_TYPE_STRING
            result[name] = data[value_at : data.index(b"\0", value_at)].decode()
        elif kind != 16:  # DATA_TYPE_UINT64_ARRAY: the snapshots of a redacted stream
            raise ValueError(f"{name} is of type {kind}")
        at += length


class Receiver(NamedTuple):
    """A ``zfs receive`` that runs, as ``ps`` shows it."""

    pid: int
    seconds: int
    arguments: str


def receiving(lines: Iterable[str]) -> tuple[list[Receiver], int]:
    """From ``ps -eo pid=,etimes=,args=``: each ``zfs receive``, and how many receives the kernel writes.

    A gate that waits for a stream shows itself with the arguments of the ``zfs receive`` that it starts.
    """
    found: dict[str, Receiver] = {}
    writers = 0
    for line in lines:
        words = line.split(None, 2)
        if len(words) < 3:
            continue
        writers += words[2].startswith("[receive_writer")
        if words[1].isdigit() and re.match(r"(?:\S*/)?zfs (?:receive|recv) ", words[2]):
            found[words[2]] = Receiver(int(words[0]), int(words[1]), words[2])
    return list(found.values()), writers


def sending(lines: Iterable[str]) -> list[str]:
    """From the same lines: the arguments of each ``zfs send``. They end with a space and the snapshot."""
    found = (re.match(r"\s*\d+\s+\d+\s+((?:\S*/)?zfs send .*)\Z", line) for line in lines)
    return [match.group(1) for match in found if match]


def receiver_into(found: list[Receiver], dataset: str) -> Receiver | None:
    """The ``zfs receive`` into the dataset. Names may hold spaces."""
    return next((receiver for receiver in found if receiver.arguments.endswith(" " + dataset)), None)


def receiver_below(found: list[Receiver], dataset: str) -> Receiver | None:
    """A ``zfs receive`` into anything below the dataset."""
    return next((receiver for receiver in found if f" {dataset}/" in receiver.arguments), None)


def receiver_of(found: list[Receiver], dataset: str) -> int | None:
    """Seconds since a ``zfs receive`` into the dataset began; None when there is none."""
    receiver = receiver_into(found, dataset)
    return receiver.seconds if receiver else None
