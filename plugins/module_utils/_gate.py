# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decides what a key that is bound to one job may run on this host. roles/zfs_backend/files/gate.py runs it.

The gate parses a command line and builds it again with `_zfs.commands` and `_core.endpoint`, the functions that the
other side built it with. It runs only a line that comes out the same. A new form of a command is therefore refused
until its parser is here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from ansible_collections.cerss.zfs.plugins.module_utils._core import endpoint
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, CerssError
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    Announcement,
    Cursor,
    LastHold,
    SourceMark,
    Spoilt,
    StepHold,
    is_source_property,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import (
    MAX_REPLICA_NAME,
    BookmarkName,
    DatasetName,
    SnapshotName,
)
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import processes, stream

RECEIVE, SEND = "receive", "send"
MAX_LINE = 128 * 1024  # bytes of one argument of a program on Linux (MAX_ARG_STRLEN)

# Characters that end or redraw a line, and bytes that are no text (PEP 383). What reads values line by line must not
# depend on noticing them.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_WORD = re.compile(r"""(?:[A-Za-z0-9_@%+=:,./-]+|'[^']*'|"'"|\\[!\\])+""")
_PART = re.compile(r"""[^'"\\]+|'([^']*)'|"(')"|\\([!\\])""")
_TYPES = ("filesystem", "volume", "snapshot", "bookmark")
_COLUMNS = re.compile(r"[a-z0-9_.:][a-z0-9_.:,@-]*\Z")
# The properties that any replica may be created with, and their values; None is any value.
_AT_CREATION: dict[str, tuple[str, ...] | None] = {
    "readonly": ("on",),
    "canmount": ("noauto", "off"),
    "setuid": ("off",),
    "devices": ("off",),
    SourceMark.NAME: None,
    Announcement.NAME: None,
}


class NotAllowed(CerssError):
    """The job does not need the command or the stream."""


@dataclass(frozen=True)
class Job:
    """What a key may do: ``kind`` is RECEIVE or SEND, of datasets below ``root``.

    ``properties``: those that a replica may be created with, besides the ones that any may have.
    """

    kind: str
    root: DatasetName
    properties: frozenset[str] = frozenset()


def decide(line: str, job: Job) -> list[list[str]]:
    """The commands of a line, to be joined by pipes. Raise NotAllowed for anything that the job does not need."""
    commands = split_line(line)
    try:
        return _decide(commands, job)
    except BadInput as error:
        raise NotAllowed(error.msg) from error


def split_line(line: str) -> list[list[str]]:
    """The reverse of `endpoint.line`. Raise NotAllowed for a line that it would not write.

    >>> split_line("env LC_ALL=C PATH=… zfs receive 'a b'")
    [['zfs', 'receive', 'a b']]
    """
    if len(line) > MAX_LINE:
        raise NotAllowed("the command line is too long")
    if _CONTROL.search(line):
        raise NotAllowed("the command line has a control character in it, such as a line end")
    commands: list[list[str]] = []
    at, telling = 0, False
    while not commands or line.startswith("| ", at):
        at += 2 if commands else 0
        telling = line.startswith(endpoint.TELLING, at)  # of no use to who cannot end the process
        at += len(endpoint.TELLING) if telling else 0
        if not line.startswith(endpoint.HEAD, at):
            break
        argv, at = _words(line, at + len(endpoint.HEAD))
        commands.append(argv)
    if not (commands and all(commands)) or endpoint.line(commands, telling) != line:
        raise NotAllowed("cerss.zfs writes no such command line")
    return commands


def _words(line: str, at: int) -> tuple[list[str], int]:
    """(the words from there to the end of the command, where the next one begins)."""
    words: list[str] = []
    while found := None if line.startswith("| ", at) else _WORD.match(line, at):
        words.append(_PART.sub(_unquoted, found.group()))
        at = found.end() + line.startswith(" ", found.end())
        if at == found.end():
            break
    return words, at


def _unquoted(part: re.Match[str]) -> str:
    return next((text for text in part.groups() if text is not None), part.group())


def _decide(commands: list[list[str]], job: Job) -> list[list[str]]:
    compressors, decompressors = zip(*zfs.COMPRESSION.values())
    command = commands[0]
    if len(commands) == 2:
        command = commands[1] if job.kind == RECEIVE else commands[0]
        other = commands[0] if job.kind == RECEIVE else commands[1]
        others, begin = (decompressors, _RECEIVE) if job.kind == RECEIVE else (compressors, _SEND)
        if other not in others or command[: len(begin)] != begin:
            raise NotAllowed("cerss.zfs writes no such pipeline")
    elif len(commands) > 2:
        raise NotAllowed("cerss.zfs writes no such pipeline")
    _check(command, job)
    return commands


_RECEIVE = ["zfs", "receive", "-s"]
_SEND = ["zfs", "send", "-vP"]


def _check(argv: list[str], job: Job) -> None:
    shown = zfs.receivers() if job.kind == RECEIVE else zfs.pool_values(job.root.pool, ["readonly"])
    if argv in (["true"], shown):
        return
    subcommand = argv[1] if argv[0] == "zfs" and len(argv) > 1 else ""
    form = _FORMS[job.kind].get(subcommand)
    if form is None:
        raise NotAllowed(f"a key to {job.kind} cannot run {' '.join(argv[:2])}")
    if form(_Arguments(argv[2:]), job) != argv:
        raise NotAllowed(f"cerss.zfs does not run zfs {subcommand} with these arguments")


class _Arguments:
    """The arguments after the subcommand, taken from the front.

    Nothing checks that all were taken: the command that is built again lacks those that were not.
    """

    def __init__(self, argv: list[str]) -> None:
        self.argv = argv

    def flag(self, *flags: str) -> str:
        """The next argument when it is one of ``flags``; otherwise ""."""
        return self.argv.pop(0) if self.argv and self.argv[0] in flags else ""

    def value(self, flag: str) -> str | None:
        """The argument after ``flag`` when that is next; otherwise None."""
        if len(self.argv) > 1 and self.flag(flag):
            return self.argv.pop(0)
        return None

    def next(self) -> str:
        return self.argv.pop(0) if self.argv else ""

    def settings(self) -> dict[str, str]:
        """The values of all ``-o name=value`` that are next."""
        found: dict[str, str] = {}
        while (text := self.value("-o")) is not None:
            name, _equals, value = text.partition("=")
            found[name] = value
        return found

    def depth(self) -> int | None:
        return None if self.flag("-r") else 1 if self.value("-d") else 0


# -- names -----------------------------------------------------------------------------------------------------------


def _dataset(text: str, job: Job) -> DatasetName:
    name = DatasetName.parse(text)
    if not job.root.covers(name):
        raise NotAllowed(f"{name} is not below {job.root}, the root of this key")
    return name


def _snapshots(names: list[str], job: Job) -> list[str]:
    """The same names. Raise NotAllowed unless all are of snapshots below the root."""
    if not names:
        raise NotAllowed("no snapshot is named")
    for text in names:
        _dataset(str(SnapshotName.parse(text).dataset), job)
    return names


def _anything(names: list[str], job: Job, above: bool = False) -> list[str]:
    """The same names. Raise NotAllowed unless all are below the root; with ``above`` its ancestors may be named too."""
    if not names:
        raise NotAllowed("no dataset is named, which would mean all of them")
    for text in names:
        if "@" in text:
            _snapshots([text], job)
        elif "#" in text:
            _dataset(str(BookmarkName.parse(text).dataset), job)
        elif not (above and DatasetName.parse(text) in job.root.ancestors()):
            _dataset(text, job)
    return names


def _replica(text: str, job: Job) -> str:
    name = str(_dataset(text, job))
    if len(name) > MAX_REPLICA_NAME:
        raise NotAllowed(f"{name[:40]}… has {len(name)} characters; a replica's name can have {MAX_REPLICA_NAME}")
    return name


def _columns(text: str | None, known: Collection[str] = ()) -> list[str]:
    """The items of a comma-separated list of properties or types. Raise NotAllowed for one that is not ``known``."""
    items = (text or "").split(",")
    if not _COLUMNS.match(text or "") or (known and not set(items) <= set(known)):
        raise NotAllowed("cerss.zfs writes no such list of properties or types")
    return items


# -- forms: parse the arguments, check what matters, build the command again ------------------------------------------


def _list(argv: _Arguments, job: Job) -> list[str]:
    argv.flag("-Hp")
    depth, types, columns = argv.depth(), argv.value("-t"), argv.value("-o")
    by_dataset = argv.value("-s") is None
    return zfs.list_(
        _anything(argv.argv, job), ",".join(_columns(types, _TYPES)), _columns(columns, zfs.FAST_COLUMNS),
        depth, by_dataset,
    )  # fmt: skip


def _get(argv: _Arguments, job: Job) -> list[str]:
    argv.flag("-Hp")
    set_only = argv.value("-s") is not None
    columns = argv.value("-o")
    properties = _columns(argv.next())
    if columns == "name,property":
        return zfs.get_names(_anything(argv.argv, job), set_only)
    if "all" in properties or len({":" in name for name in properties}) > 1:
        raise NotAllowed("cerss.zfs asks for native properties and for user properties apart, each by its name")
    return zfs.get(_anything(argv.argv, job, above=True), properties)


def _holds(argv: _Arguments, job: Job) -> list[str]:
    exact = argv.flag("-Hp", "-H") == "-Hp"
    return zfs.holds(_snapshots(argv.argv, job), exact)


def _tag(argv: _Arguments, job: Job) -> str:
    tag = argv.next()
    hold = LastHold if job.kind == RECEIVE else StepHold
    if isinstance(hold.parse(tag), Spoilt):
        raise NotAllowed(f"the hold {tag[:60]!r} is not one that this job needs")
    return tag


def _hold(argv: _Arguments, job: Job) -> list[str]:
    return zfs.hold(_tag(argv, job), _snapshots(argv.argv, job))


def _release(argv: _Arguments, job: Job) -> list[str]:
    return zfs.release(_tag(argv, job), _snapshots(argv.argv, job))


def _our_property(name: str, job: Job) -> str:
    ours = name in (SourceMark.NAME, Announcement.NAME) if job.kind == RECEIVE else is_source_property(name)
    if not ours:
        raise NotAllowed(f"the property {name[:60]!r} is not one that this job needs")
    return name


def _datasets(names: list[str], job: Job) -> list[str]:
    if not names:
        raise NotAllowed("no dataset is named")
    for text in names:
        _dataset(text, job)
    return names


def _set(argv: _Arguments, job: Job) -> list[str]:
    settings: dict[str, str] = {}
    while argv.argv and "=" in argv.argv[0]:
        name, _equals, value = argv.next().partition("=")
        settings[_our_property(name, job)] = value
    return zfs.set_(settings, _datasets(argv.argv, job))


def _inherit(argv: _Arguments, job: Job) -> list[str]:
    return zfs.inherit(_our_property(argv.next(), job), _datasets(argv.argv, job))


def _create(argv: _Arguments, job: Job) -> list[str]:
    """A parent of replicas, which is never mounted. It may be unencrypted if replicas may be."""
    name = argv.argv[-1] if argv.argv else ""
    argv.flag("-u")
    clear = {"encryption": "off"} if argv.settings().keys() & job.properties & {"encryption"} else {}
    return zfs.create(_replica(name, job), {"canmount": "off", **clear})


def _receive(argv: _Arguments, job: Job) -> list[str]:
    if argv.flag("-A"):
        return zfs.receive_abort(_replica(argv.next(), job))
    argv.flag("-s")
    argv.flag("-u")
    settings = argv.settings()
    origin = settings.pop("origin", None)
    if origin is not None:
        _snapshots([origin], job)
    for name, value in settings.items():
        values = _AT_CREATION.get(name, ())
        if name not in job.properties and not (values is None or value in values):
            raise NotAllowed(f"a replica cannot be created with {name[:60]}={value[:60]!r} here")
    return zfs.receive(_replica(argv.next(), job), settings, origin)


def _send(argv: _Arguments, job: Job) -> list[str]:
    estimate = argv.flag("-vP", "-nvP") == "-nvP"
    text = argv.value("-t")
    if text is not None:
        snapshot = _to_resume(text)
        if snapshot is None:
            raise NotAllowed("the argument of -t is not a resume token")
        _snapshots([snapshot[0]], job)
        return zfs.send_resume(text, estimate)
    raw = bool(argv.flag("-w"))
    large = raw or bool(argv.flag("-L"))
    compressed = raw or bool(argv.flag("-c"))
    intermediates = bool(argv.argv and argv.argv[0] == "-I")
    base = argv.value("-I") if intermediates else argv.value("-i")
    if base is not None:
        if "@" not in base and "#" not in base:
            raise NotAllowed(f"the base {base[:60]!r} is not the full name of a snapshot or bookmark")
        _anything([base], job)
    return zfs.send(_snapshots([argv.next()], job)[0], base, intermediates, raw, estimate, compressed, large)


def _our_bookmark(text: str, job: Job) -> BookmarkName:
    name = BookmarkName.parse(text)
    if isinstance(Cursor.parse(name.bookmark), Spoilt):
        raise NotAllowed(f"the bookmark {text[:60]!r} is not a cursor of cerss.zfs")
    _dataset(str(name.dataset), job)
    return name


def _bookmark(argv: _Arguments, job: Job) -> list[str]:
    snapshot = _snapshots([argv.next()], job)[0]
    return zfs.bookmark(snapshot, str(_our_bookmark(argv.next(), job)))


def _destroy(argv: _Arguments, job: Job) -> list[str]:
    text = argv.next()
    if "#" not in text:
        raise NotAllowed(f"a key to {job.kind} cannot destroy anything but cursors of cerss.zfs")
    return zfs.destroy(str(_our_bookmark(text, job)))


_Form = Callable[[_Arguments, Job], "list[str]"]
_BOTH: dict[str, _Form] = {
    "list": _list,
    "get": _get,
    "holds": _holds,
    "hold": _hold,
    "release": _release,
    "set": _set,
    "inherit": _inherit,
}
_FORMS: dict[str, dict[str, _Form]] = {
    RECEIVE: {**_BOTH, "create": _create, "receive": _receive},
    SEND: {**_BOTH, "send": _send, "bookmark": _bookmark, "destroy": _destroy},
}


def resumed(commands: list[list[str]]) -> str | None:
    """The GUID of the snapshot that the commands resume to send; None when they resume nothing.

    The caller must check it: libzfs looks for the GUID in the whole pool, whatever name the token has.
    """
    argv = next((argv for argv in commands if argv[:2] == ["zfs", "send"] and "-t" in argv), None)
    snapshot = _to_resume(argv[argv.index("-t") + 1]) if argv else None
    return snapshot[1] if snapshot else None


def _to_resume(text: str) -> tuple[str, str] | None:
    """(name, GUID) of the snapshot that a resume token is for; None when the text is not a token."""
    # Imported here since every command starts the gate, and only a resumed send needs this.
    from ansible_collections.cerss.zfs.plugins.module_utils._zfs.token import decode_token

    token = decode_token(text)
    return (token.toname, token.toguid) if token else None


def check_stream(
    record: bytes, argv: list[str], is_volume: Callable[[str], bool], part: int | None = None
) -> stream.Head:
    """The head of the stream that begins with ``record``, for the ``zfs receive`` that ``argv`` is.

    Raise NotAllowed when the stream could change more than ``argv`` names (`stream.fault`, which knows nothing of the
    sender's plan here). The caller receives the streams in a package one by one, each checked with its number as
    ``part``. A clone is a volume when its origin is one, whatever the stream says.
    """
    properties = _Arguments(argv[4:]).settings()
    origin = properties.get("origin")
    head = stream.read_head(record)
    why = stream.fault(head, stream.Expected(clone=origin is not None), part)
    if why or head is None:
        raise NotAllowed(why)
    if head.package or head.resumed:  # what is resumed was checked when it began
        return head
    volume = head.volume if origin is None else is_volume(origin.partition("@")[0])
    needed = {"readonly"} if volume else {"readonly", "canmount"}
    if (head.fromguid is None or origin is not None) and not needed <= set(properties):
        raise NotAllowed(f"a new replica must be created with {' and '.join(sorted(needed))}")
    return head


def unanswered(table: str, here: tuple[bytes, int], there: tuple[bytes, int]) -> bool:
    """Whether what was sent over a connection is not acknowledged, although it was sent again.

    ``table``: /proc/net/tcp or tcp6 (proc(5)). ``here``, ``there``: packed address and port of the ends. Bytes that are
    just on their way say nothing, since there are always some.
    """
    local, remote = _as_in_proc(*here), _as_in_proc(*there)
    rows = [row for row in map(str.split, table.splitlines()) if len(row) > 6]
    return any(row[1] in local and row[2] in remote and row[3] == "01" and row[6].strip("0") for row in rows)


def _as_in_proc(address: bytes, port: int) -> list[str]:
    """An end as these tables have it: in words of four bytes, each in the order of this machine."""
    forms = [address, *([bytes(10) + b"\xff\xff" + address] if len(address) == 4 else [])]
    words = [[form[at : at + 4] for at in range(0, len(form), 4)] for form in forms]
    return ["".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in each) + f":{port:04X}" for each in words]


def seen(lines: Iterable[str], job: Job) -> list[str]:
    """Filter a process list (`processes.receiving`) down to what the sender on the other side needs to see.

    Receives below the root stay as they are, receives elsewhere lose their arguments, as does process 1, which shows
    that the list is whole. Other processes are left out.
    """
    place = re.compile(rf" {re.escape(str(job.root))}(?:/[^=\"]*)?\Z")
    lines, found = list(lines), []
    pids = {receiver.pid for receiver in processes.receiving(lines).receivers}  # without gates
    for line in lines:
        one = processes.receiving([line])
        if one.writers or any(place.search(receiver.arguments) for receiver in one.receivers):
            found.append(line)
        elif one.whole:
            found.append("1 0 -")
        else:
            found += [f"{each.pid} {each.seconds} {processes.HIDDEN}" for each in one.receivers if each.pid in pids]
    return found
