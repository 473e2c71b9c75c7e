# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What zpool prints about a pool, as values. Its texts are the same from OpenZFS 2.1 to 2.4 but for the sizes of scans.

Source: cmd/zpool/zpool_main.c, status_callback and print_scan_scrub_resilver_status.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ansible_collections.cerss.zfs.plugins.module_utils._core import units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.pool import (
    CANCELED,
    FINISHED,
    PAUSED,
    RUNNING,
    Scan,
    Status,
    Vdev,
)

_LABEL = re.compile(r" {0,4}([a-z]+): ?(.*)\Z")
_STATES = "ONLINE|DEGRADED|FAULTED|OFFLINE|REMOVED|UNAVAIL|SPLIT|UNKNOWN|AVAIL|INUSE"
# A name may have spaces, but the columns are two spaces apart.
_VDEV = re.compile(rf"\t( *)(\S.*?)  +({_STATES})(?: +(\d+) +(\d+) +(\d+))? *(?:  (\S.*))?\Z")
_ROLE = re.compile(r"\t(dedup|special|logs|cache|spares)\s*\Z")
_ROLES = {"logs": "log", "spares": "spare"}
_GROUP = re.compile(r"(mirror|raidz\d?|draid\d?|replacing|spare|root|missing)(?::\S*)?-\d+\Z")

_TIME = r"(?P<time>\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4})"
_SIZE = r"(\d+(?:\.\d+)?[KMGTPE]?B?)"
_DURATION = r"(?:(?P<days>\d+) days )?(?P<hours>\d\d):(?P<minutes>\d\d):(?P<seconds>\d\d)"
_OPERATION = r"(?P<operation>scrub|error scrub|resilver)(?: \(.*?\))?"
_FINISHED = re.compile(
    rf"(?P<operation>scrub|resilver)(?: repaired|ed)(?: \(.*?\))? {_SIZE} in {_DURATION} "
    rf"with (?P<errors>\d+) errors on {_TIME}"
)
_ERRORS_SCRUBBED = re.compile(rf"scrubbed \d+ error blocks in {_DURATION} on {_TIME}")
_CANCELED = re.compile(rf"{_OPERATION} canceled on {_TIME}")
_RUNNING = re.compile(rf"{_OPERATION} (?P<state>in progress|paused) since {_TIME}")
_STARTED = re.compile(rf"scrub started on {_TIME}")
# 2.1 prints "A scanned at R/s, B issued at R/s, T total", later ones "A / T scanned at R/s, B / T issued at R/s".
_ISSUED = re.compile(rf", {_SIZE}(?: / {_SIZE})? issued(?: (?:at )?{_SIZE}/s)?(?:, {_SIZE} total)?")
_DONE = re.compile(rf"{_SIZE} (?:repaired|resilvered), (?P<percent>\d+\.\d\d)% done(?:, {_DURATION} to go)?")
_PERCENT = re.compile(r"(\d+\.\d\d)% done, issued I/O")


def properties(lines: Iterable[str]) -> dict[str, str]:
    """The values by name of `commands.pool_values`. Native ones come first, so nobody's value replaces them.

    >>> properties(["size\\t1023", "org:note\\tsecond", "size\\t1"])
    {'size': '1023', 'org:note': 'second'}
    """
    found: dict[str, str] = {}
    for line in lines:
        name, tab, text = line.partition("\t")
        if tab:
            found.setdefault(name, text)
    return found


def states(lines: Iterable[str]) -> dict[str, str]:
    """Pool -> state of `commands.pool_states`.

    >>> states(["/proc/spl/kstat/zfs/tank/state:SUSPENDED"])
    {'tank': 'suspended'}
    """
    found = (re.match(r"/proc/spl/kstat/zfs/([^/]+)/state:([A-Z]+)\Z", line) for line in lines)
    return {each[1]: each[2].lower() for each in found if each}


def status(lines: Iterable[str]) -> Status | None:
    """What `commands.pool_status` printed about one pool; None if that is something else."""
    parts = _parts(lines)
    state = re.match("[A-Z]+", _text(parts, "state") or "")
    if not state:
        return None
    vdevs = _vdevs(next(iter(parts.get("config", [])), []))
    errors = _text(parts, "errors") or ""
    counted = re.match(r"(\d+) data errors", errors)
    return Status(
        state=state[0].lower(),
        status=_text(parts, "status"),
        action=_text(parts, "action"),
        scan=_newest([found for part in (*parts.get("scan", []), *parts.get("scrub", [])) if (found := scan(part))]),
        root=next((vdev for vdev in vdevs if vdev.role == "root"), None),
        vdevs=tuple(vdev for vdev in vdevs if vdev.role != "root"),
        data_errors=int(counted[1]) if counted else 0 if errors == "No known data errors" else None,
    )


def _parts(lines: Iterable[str]) -> dict[str, list[list[str]]]:
    """Label -> its texts, each as lines. Only ``scan`` can occur twice: a scrub, and a resilver of one vdev."""
    parts: dict[str, list[list[str]]] = {}
    part: list[str] = []
    for line in lines:
        label = _LABEL.match(line)
        if label:
            part = [label[2]]
            parts.setdefault(label[1], []).append(part)
        elif line:
            part.append(line)
    return parts


def _text(parts: dict[str, list[list[str]]], label: str) -> str | None:
    """The first text with this label in one line; None without it."""
    return next((" ".join(" ".join(part).split()) for part in parts.get(label, [])), None) or None


# -- vdevs -----------------------------------------------------------------------------------------------------------


def _vdevs(lines: Sequence[str]) -> list[Vdev]:
    """The vdevs of the part ``config``. The first is the pool itself, with the role root."""
    found: list[Vdev] = []
    above: list[tuple[int, str]] = []
    role = "root"
    for line in lines:
        heading = _ROLE.match(line)
        row = None if heading else _VDEV.match(line)
        if heading:
            role, above = _ROLES.get(heading[1], heading[1]), []
        elif row:
            depth, name = len(row[1]), row[2]
            above = [each for each in above if each[0] < depth]
            found.append(_vdev(row, role, above[-1][1] if above else None))
            role = "data" if role == "root" else role
            above += [(depth, name)] if depth else []
    return found


def _vdev(row: re.Match[str], role: str, parent: str | None) -> Vdev:
    group = _GROUP.match(row[2])
    read, write, checksum = (None if text is None else int(text) for text in row.groups()[3:6])
    kind = "root" if role == "root" else group[1] if group else "disk"
    return Vdev(row[2], kind, role, parent, row[3].lower(), read, write, checksum, row[7])


# -- scrub and resilver ----------------------------------------------------------------------------------------------


def scan(lines: Sequence[str]) -> Scan | None:
    """A scrub or resilver as `commands.pool_status` tells it; None if there was none, or the text is another one."""
    text = "\n".join(line.strip() for line in lines)
    finished = _FINISHED.match(text) or _ERRORS_SCRUBBED.match(text)
    if finished:
        return _finished(finished)
    canceled = _CANCELED.match(text)
    if canceled:
        return Scan(_operation(canceled), CANCELED, finished=units.local_epoch(canceled["time"]))
    running = _RUNNING.match(text)
    return _running(running, text) if running else None


def _finished(found: re.Match[str]) -> Scan:
    end, took = units.local_epoch(found["time"]), _seconds(found)
    started = None if end is None or took is None else end - took
    if found.re is _ERRORS_SCRUBBED:
        return Scan("error_scrub", FINISHED, started, end, 100.0)
    return Scan(_operation(found), FINISHED, started, end, 100.0, fixed=_size(found[2]), errors=int(found["errors"]))


def _running(found: re.Match[str], text: str) -> Scan:
    paused = found["state"] == "paused"
    started = _STARTED.search(text) if paused else found
    issued, done, percent = _ISSUED.search(text), _DONE.search(text), _PERCENT.search(text)
    return Scan(
        _operation(found),
        PAUSED if paused else RUNNING,
        started=units.local_epoch(started["time"]) if started else None,
        percent=float(done["percent"]) if done else float(percent[1]) if percent else None,
        bytes_done=_size(issued[1]) if issued else None,
        bytes_total=_size(issued[2] or issued[4]) if issued else None,
        bytes_per_second=_size(issued[3]) if issued else None,
        eta_seconds=_seconds(done) if done else None,
        fixed=_size(done[1]) if done else None,
    )


def _operation(found: re.Match[str]) -> str:
    return found["operation"].replace(" ", "_")


def _seconds(found: re.Match[str]) -> int | None:
    if found["hours"] is None:
        return None
    days, hours, minutes, seconds = (int(found[name] or 0) for name in ("days", "hours", "minutes", "seconds"))
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _size(text: str | None) -> int | None:
    try:
        return units.size(text, "") if text else None
    except BadInput:
        return None


def _newest(scans: Sequence[Scan]) -> Scan | None:
    """The one that runs or is paused, otherwise the one that ended last."""
    active = [each for each in scans if each.state in (RUNNING, PAUSED)]
    return next(iter(active), None) or max(scans, key=lambda each: each.finished or 0, default=None)
