# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What list, get, holds and send of zfs print, as values."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Hold, Value
from ansible_collections.cerss.zfs.plugins.module_utils._core.units import local_epoch, number

# The name of a dataset, snapshot or bookmark (zfs_namecheck.c)
_PART = r"(?!\.\.?(?:[/@#]|\Z))[A-Za-z0-9_.:\- ]+"
_THING = re.compile(rf"{_PART}(?:/{_PART})*(?:[@#]{_PART})?\Z")
_CUTS = (1023, 4095, 8191)  # bytes
_MISSING = re.compile(r"cannot open '([^']+)': .*(?:does not exist|no such pool.*)\Z")
# How zfs begins what it says of a failure (libzfs_util.c, zfs_main.c). Login scripts, sudo and ssh write to stderr too.
_FAILURE = re.compile(
    r"(?:warning: )?(?:cannot|could not|unable to|failed to|internal error|invalid|bad|missing|incorrect|too many|"
    r"out of memory|no such|property|the zfs|zfs|/dev/zfs|pool i/o|permission denied|usage:)",
    re.IGNORECASE,
)


def rows(lines: Iterable[str]) -> Iterator[list[str]]:
    """The columns of each line that ``zfs list -Hp`` and similar commands print."""
    return (line.split("\t") for line in lines if line)


def listed(lines: Iterable[str], where: str = "") -> Iterator[tuple[str, str, int, str | None, bool]]:
    """(name, GUID, createtxg, origin or None, inconsistent) of each line of ``zfs list`` with `commands.FAST_COLUMNS`.

    Raise CerssError for any other line: the other side, or a login script there, may print anything. ``where``: its
    host.
    """
    for line in filter(None, lines):
        columns = line.split("\t")
        name, guid, createtxg, origin, inconsistent = columns if len(columns) == 5 else ("", "", "", "", "")
        txg = number(createtxg)
        if not _THING.match(name) or number(guid) is None or txg is None or not (origin == "-" or _THING.match(origin)):
            raise noise(line, where)
        yield name, guid, txg, None if origin == "-" else origin, inconsistent in ("1", "on", "yes")


def noise(line: str, where: str = "") -> CerssError:
    """The error for a line that is not, or not only, from zfs."""
    return CerssError(
        f"zfs list on {where or 'this machine'} printed {line[:80]!r}, which is not a line about a dataset; if a login "
        "script prints it, let that print in interactive shells only"
    )


def values(
    lines: Iterable[str], names: Collection[str], properties: Sequence[str]
) -> tuple[dict[str, dict[str, Value]], set[str]]:
    """(values by name and property, names in doubt) of `commands.get` with these names and properties.

    A value may have newlines, and lines that look like records of any of the names. ZFS prints just one record for
    each property of a name, in the order of ``properties``. So when exactly that many lines look like records of each
    name that exists, all of these lines are records, and any other line continues a value. A name with more or fewer
    is in doubt. Then no value can be trusted, of whatever name: a line may have been cut off any of them.

    >>> values(["tank\\torg:note\\tlocal\\tfirst", "second"], ["tank"], ["org:note"])
    ({'tank': {'org:note': Value(text='first\\nsecond', source='local')}}, set())
    >>> values(["tank\\torg:note\\tlocal\\tfirst", "tank\\torg:note\\tlocal\\tforged"], ["tank"], ["org:note"])[1]
    {'tank'}
    """
    blocks: dict[str, list[list[str]]] = {}
    record: list[str] = []
    asked = frozenset(names)
    for line in lines:
        columns = line.split("\t", 3)
        if len(columns) == 4 and columns[0] in asked:
            record = columns
            blocks.setdefault(columns[0], []).append(record)
        elif record:  # what comes before the first record is not from zfs, but from a login script
            record.append(line)
    doubtful = {name for name, block in blocks.items() if not _fits(block, properties)}
    found = {
        name: {asked_for: _value(record) for asked_for, record in zip(properties, block)}
        for name, block in blocks.items()
        if name not in doubtful
    }
    return found, doubtful


def _value(record: Sequence[str]) -> Value:
    """Of name, property, source, and the lines of the value."""
    return Value("\n".join(record[3:]), record[2])


def _fits(block: Sequence[Sequence[str]], properties: Sequence[str]) -> bool:
    printed = [record[1] for record in block]
    return len(printed) == len(properties) and all(map(_is_name_of, printed, properties))


def _is_name_of(printed: str, asked_for: str) -> bool:
    """True for the same property. A native one can be asked for by a short name, such as avail for available."""
    return printed == asked_for or (":" not in asked_for and ":" not in printed)


def is_cut(clones: str) -> bool:
    """True if zfs may have shown only the beginning of a list of clones, perhaps with half a name at its end.

    It cuts the list to less than ZFS_MAXPROPLEN: 4 KiB on Linux, from OpenZFS 2.3 on 8 KiB, on other systems less.
    """
    return len(clones.encode(errors="surrogateescape")) in _CUTS


def value(lines: Iterable[str], name: str) -> Value | None:
    """The value that `commands.get` printed for one name and one property; None if there is none.

    All that follows the first record belongs to it, whatever it looks like.
    """
    record: list[str] = []
    for line in lines:
        if record:
            record.append(line)
        elif line.startswith(f"{name}\t") and line.count("\t") >= 3:
            record = line.split("\t", 3)
    return _value(record) if record else None


def property_names(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(name, property) of `commands.get_names`.

    Without properties whose name begins with a dash, which zfs would take for an option.
    """
    for columns in rows(lines):
        if len(columns) == 2 and not columns[1].startswith("-"):
            yield columns[0], columns[1]


def missing(stderr: str, rc: int = 1) -> tuple[list[str], list[str]]:
    """(names that do not exist, other failures) from what list, get or holds print on stderr.

    A line that zfs does not begin like this is of a login script or sudo. ``rc``: the exit status, by which any line
    is a failure unless it is that of zfs: with another one zfs has not ended by itself, or not been started.
    """
    names, other = [], []
    for line in map(str.strip, stderr.splitlines()):
        found = _MISSING.match(line)
        if found:
            names.append(found.group(1))
        elif line not in ("", "no datasets available") and (rc != 1 or _FAILURE.match(line)):  # the latter of holds
            other.append(line)
    return names, other


def of_zfs(stderr: str) -> str:
    """The lines in which zfs says what it cannot do, without what others have written."""
    return "\n".join(line for line in stderr.splitlines() if re.match(r"(?:warning: )?cannot ", line))


def holds(lines: Iterable[str], names: Collection[str]) -> dict[str, list[Hold]]:
    """Snapshot -> its holds, of ``zfs holds`` with these names. Without ``-p`` (OpenZFS 2.1) times are whole minutes.

    A tag may have tabs and newlines, so a line that does not begin with one of the names goes on with the tag before
    it. One that does may be a part of a tag too: compare the number of holds with ``userrefs``.
    """
    records: list[list[str]] = []
    for line in lines:
        name, tab, rest = line.partition("\t")
        if tab and name in names:
            records.append([name, rest])
        elif records:
            records[-1].append(line)
    found: dict[str, list[Hold]] = {}
    for name, *texts in records:
        tag, _tab, when = "\n".join(texts).rpartition("\t")
        found.setdefault(name, []).append(Hold(tag, _hold_time(when)))
    return found


def _hold_time(text: str) -> int | None:
    seconds = number(text.strip())
    return local_epoch(text.strip()) if seconds is None else seconds


def allowed(lines: Iterable[str], dataset: str) -> Iterator[tuple[str, str]]:
    """(heading, entry) of what ``zfs allow DATASET`` prints of the dataset itself, without the datasets above it."""
    inside, section = False, ""
    head = f"---- Permissions on {dataset} "
    for line in lines:
        if line.startswith("---- Permissions on "):
            inside, section = line.startswith(head) and not line[len(head) :].strip("-"), ""
        elif not line.startswith("\t"):
            section = line
        elif inside:
            yield section, line[1:]


_ALLOWED = {"Local permissions:": "-l", "Descendent permissions:": "-d", "Local+Descendent permissions:": ""}


def delegated(lines: Iterable[str], dataset: str) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """The arguments of `commands.delegate` that grant what ``zfs allow DATASET`` prints of the dataset itself.

    >>> list(delegated(["---- Permissions on b/v ----", "Local permissions:", "\tuser ann send"], "b/v"))
    [('-l', ('-u', 'ann'), 'send')]
    """
    for section, text in allowed(lines, dataset):
        if section == "Permission sets:":
            name, _space, permissions = text.partition(" ")
            yield "-s", (name,), permissions
        elif section == "Create time permissions:":
            yield "-c", (), text
        elif section in _ALLOWED:
            kind, _space, rest = text.partition(" ")
            name, _space, permissions = rest.rpartition(" ")
            who = {"user": ("-u", name), "group": ("-g", name), "everyone": ("-e",)}.get(kind)
            if who:
                yield _ALLOWED[section], who, permissions


def estimate(stdout: str) -> int | None:
    """The bytes in the line ``size N`` of ``zfs send -nvP``; None without that line."""
    for columns in rows(stdout.splitlines()):
        if columns[0] == "size" and len(columns) > 1:
            return number(columns[1])
    return None


def sent(line: str) -> tuple[int, str] | None:
    """(bytes of this snapshot so far, snapshot) of a progress line of ``zfs send -vP``; None for any other line."""
    columns = line.rstrip("\n").split("\t")
    if len(columns) != 3 or not re.match(r"\d\d:\d\d:\d\d\Z", columns[0]):
        return None
    size = number(columns[1])
    return None if size is None else (size, columns[2])


def announced(line: str) -> tuple[str, int] | None:
    """(snapshot, bytes) of a ``full`` or ``incremental`` line of ``zfs send -vP``; None for any other line."""
    columns = line.rstrip("\n").split("\t")
    size = number(columns[-1]) if columns[0] in ("full", "incremental") and len(columns) >= 3 else None
    return None if size is None else (columns[-2], size)
