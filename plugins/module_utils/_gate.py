# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a key that is bound to one job may run here; roles/zfs_backend/files/gate.py runs it.

A command line is taken apart, and must come out the same when `_zfs.commands` and `_core.endpoint` write it anew from
its parts. So nothing passes that they do not write, and what they write differently some day is refused until it is
known here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from ansible_collections.cerss.zfs.plugins.module_utils._core import endpoint
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, CerssError
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    Announcement,
    Cursor,
    LastHold,
    OpenCursor,
    ReplicaRecord,
    SourceMark,
    Spoilt,
    StepHold,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import (
    MAX_REPLICA_NAME,
    BookmarkName,
    DatasetName,
    SnapshotName,
)
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import processes, stream
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.stream import read_head
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.token import decode_token

RECEIVE, SEND = "receive", "send"
MAX_LINE = 128 * 1024  # no more fits into one argument of a program on Linux

_WORD = re.compile(r"""(?:[A-Za-z0-9_@%+=:,./-]+|'[^']*'|"'")+""")
_PART = re.compile(r"""[^'"]+|'([^']*)'|"(')\"""")
_TYPES = ("filesystem", "volume", "snapshot", "bookmark")
_COLUMNS = re.compile(r"[a-z0-9_.:][a-z0-9_.:,@-]*\Z")
# What a replica may be born with; None is any value.
_BORN: dict[str, tuple[str, ...] | None] = {
    "readonly": ("on",),
    "canmount": ("noauto", "off"),
    SourceMark.NAME: None,
    Announcement.NAME: None,
}


class NotAllowed(CerssError):
    """The job does not need that."""


@dataclass(frozen=True)
class Job:
    """What a key is for: to receive or to send below ``root``. A replica may be born with ``properties``."""

    kind: str
    root: DatasetName
    properties: frozenset[str] = frozenset()


def decide(line: str, job: Job) -> list[list[str]]:
    """The programs to run, joined by pipes; NotAllowed for everything that the job does not need."""
    commands = take_apart(line)
    try:
        return _decide(commands, job)
    except BadInput as error:
        raise NotAllowed(error.msg) from error


def take_apart(line: str) -> list[list[str]]:
    """The reverse of what `endpoint.line` writes; NotAllowed for any other text."""
    if len(line) > MAX_LINE or "\0" in line:
        raise NotAllowed("the command line is too long, or has a NUL in it")
    commands: list[list[str]] = [[]]
    at = 0
    while True:
        if commands[-1] and line.startswith("| ", at):
            commands.append([])
            at += 2
        found = _WORD.match(line, at)
        if not found:
            raise NotAllowed("not a command line that cerss.zfs writes")
        commands[-1].append(_PART.sub(_unquoted, found.group()))
        at = found.end()
        if at == len(line):
            break
        if line[at] != " ":
            raise NotAllowed("not a command line that cerss.zfs writes")
        at += 1
    head = len(endpoint.ENVIRONMENT)
    commands = [argv[head:] for argv in commands]
    if not all(commands) or endpoint.line(commands) != line:
        raise NotAllowed("not a command line that cerss.zfs writes")
    return commands


def _unquoted(part: re.Match[str]) -> str:
    return next((text for text in part.groups() if text is not None), part.group())


def _decide(commands: list[list[str]], job: Job) -> list[list[str]]:
    packers, unpackers = zip(*zfs.COMPRESSION.values())
    stream = commands[0]
    if len(commands) == 2:
        stream = commands[1] if job.kind == RECEIVE else commands[0]
        other = commands[0] if job.kind == RECEIVE else commands[1]
        packs, carries = (unpackers, _RECEIVE_WORDS) if job.kind == RECEIVE else (packers, _SEND_WORDS)
        if other not in packs or stream[: len(carries)] != carries:
            raise NotAllowed("such a pipe is not among the forms")
    elif len(commands) > 2:
        raise NotAllowed("such a pipe is not among the forms")
    _check(stream, job)
    return commands


_RECEIVE_WORDS = ["zfs", "receive", "-s"]
_SEND_WORDS = ["zfs", "send", "-vP"]


def _check(argv: list[str], job: Job) -> None:
    if argv == ["true"] or (job.kind == RECEIVE and argv == zfs.receivers()):
        return
    verb = argv[1] if argv[0] == "zfs" and len(argv) > 1 else ""
    form = _FORMS[job.kind].get(verb)
    if form is None:
        raise NotAllowed(f"a key to {job.kind} cannot run {' '.join(argv[:2])}")
    if form(_Arguments(argv[2:]), job) != argv:
        raise NotAllowed(f"not a form of zfs {verb} that cerss.zfs writes")


class _Arguments:
    """The words after the verb, taken from the front. What is left over shows when the command is written anew."""

    def __init__(self, argv: list[str]) -> None:
        self.argv = argv

    def flag(self, *flags: str) -> str:
        """The next word when it is one of these."""
        return self.argv.pop(0) if self.argv and self.argv[0] in flags else ""

    def value(self, flag: str) -> str | None:
        """What follows the flag, when that is next."""
        if len(self.argv) > 1 and self.flag(flag):
            return self.argv.pop(0)
        return None

    def next(self) -> str:
        return self.argv.pop(0) if self.argv else ""

    def settings(self) -> dict[str, str]:
        """``-o name=value``, as many as there are."""
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
    """The same names, all of snapshots below the root."""
    if not names:
        raise NotAllowed("no snapshot is named")
    for text in names:
        _dataset(str(SnapshotName.parse(text).dataset), job)
    return names


def _anything(names: list[str], job: Job, above: bool = False) -> list[str]:
    """The same names, of anything below the root; ``above`` also lets the datasets pass that the root lies in."""
    if not names:
        raise NotAllowed("no dataset is named, which would mean all")
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
    if len(name) > MAX_REPLICA_NAME:  # the kernel panics at the first increment
        raise NotAllowed(f"{name[:40]}… has {len(name)} characters; a replica's name can have {MAX_REPLICA_NAME}")
    return name


def _columns(text: str | None, known: Collection[str] = ()) -> list[str]:
    """The parts of a list of properties or types; ``known`` are all that it may have."""
    parts = (text or "").split(",")
    if not _COLUMNS.match(text or "") or (known and not set(parts) <= set(known)):
        raise NotAllowed("that list of properties or types is not among the forms")
    return parts


# -- forms: take the words apart, look at what matters, write the command anew ----------------------------------------


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
    depth, types = argv.depth(), argv.value("-t")
    local = argv.value("-s") is not None
    argv.value("-o")
    properties = _columns(argv.next())
    names = _anything(argv.argv, job, above=depth == 0 and not types)  # types alone list what stands on them
    return zfs.get(names, properties, ",".join(_columns(types, _TYPES)) if types else None, depth, local)


def _holds(argv: _Arguments, job: Job) -> list[str]:
    exact = argv.flag("-Hp", "-H") == "-Hp"
    return zfs.holds(_snapshots(argv.argv, job), exact)


def _tag(argv: _Arguments, job: Job) -> str:
    tag = argv.next()
    holds = (LastHold,) if job.kind == RECEIVE else (LastHold, StepHold)
    if all(isinstance(hold.parse(tag), Spoilt) for hold in holds):
        raise NotAllowed(f"the hold {tag[:60]!r} is not one of ours for this job")
    return tag


def _hold(argv: _Arguments, job: Job) -> list[str]:
    return zfs.hold(_tag(argv, job), _snapshots(argv.argv, job))


def _release(argv: _Arguments, job: Job) -> list[str]:
    return zfs.release(_tag(argv, job), _snapshots(argv.argv, job))


def _our_property(name: str, job: Job) -> str:
    ours = name in (SourceMark.NAME, Announcement.NAME) if job.kind == RECEIVE else ReplicaRecord.id_of(name)
    if not ours:
        raise NotAllowed(f"the property {name[:60]!r} is not one of ours for this job")
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
    """A place to hold replicas, which is never mounted."""
    return zfs.create(_replica(argv.argv[-1] if argv.argv else "", job), {"canmount": "off"})


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
        values = _BORN.get(name, ())
        if name not in job.properties and not (values is None or value in values):
            raise NotAllowed(f"a replica here cannot be given {name[:60]}={value[:60]!r}")
    return zfs.receive(_replica(argv.next(), job), settings, origin)


def _send(argv: _Arguments, job: Job) -> list[str]:
    estimate = argv.flag("-vP", "-nvP") == "-nvP"
    text = argv.value("-t")
    if text is not None:
        token = decode_token(text)
        if token is None:
            raise NotAllowed("that is not a resume token")
        _snapshots([token.toname], job)
        return zfs.send_resume(text, estimate)
    raw = bool(argv.flag("-w"))
    argv.flag("-L")
    argv.flag("-c")
    intermediates = bool(argv.argv and argv.argv[0] == "-I")
    base = argv.value("-I") if intermediates else argv.value("-i")
    if base is not None:
        if "@" not in base and "#" not in base:
            raise NotAllowed(f"the base {base[:60]!r} is no whole name of a snapshot or bookmark")
        _anything([base], job)
    return zfs.send(_snapshots([argv.next()], job)[0], base, intermediates, raw, estimate)


def _our_bookmark(text: str, job: Job) -> BookmarkName:
    name = BookmarkName.parse(text)
    if all(isinstance(mark.parse(name.bookmark), Spoilt) for mark in (Cursor, OpenCursor)):
        raise NotAllowed(f"the bookmark {text[:60]!r} is not one of ours")
    _dataset(str(name.dataset), job)
    return name


def _bookmark(argv: _Arguments, job: Job) -> list[str]:
    snapshot = _snapshots([argv.next()], job)[0]
    return zfs.bookmark(snapshot, str(_our_bookmark(argv.next(), job)))


def _destroy(argv: _Arguments, job: Job) -> list[str]:
    """A bookmark of ours and nothing else."""
    text = argv.next()
    if "#" not in text:
        raise NotAllowed(f"a key to {job.kind} cannot destroy anything but bookmarks of ours")
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
    """The GUID of the snapshot that a resume token asks for: libzfs looks for it in the whole pool."""
    argv = next((argv for argv in commands if argv[:2] == ["zfs", "send"] and "-t" in argv), None)
    token = decode_token(argv[argv.index("-t") + 1]) if argv else None
    return token.toguid if token else None


def check_stream(record: bytes, argv: list[str], is_volume: Callable[[str], bool]) -> stream.Head:
    """What begins with the record, for ``zfs receive`` with the words; NotAllowed if it could reach further than these.

    libzfs looks in the whole pool for what a package or a clone belongs to. That of ``zfs send -I`` carries nothing of
    its own; the streams in it are looked at and received one by one. A clone is what its origin is, whatever it says.
    """
    head = read_head(record)
    if head is None:
        raise NotAllowed("that is no stream of zfs send")
    if head.package:
        if head.payload:
            raise NotAllowed("a stream with properties, holds or further datasets (zfs send -p, -h, -R)")
        return head
    if head.resumed:  # what was looked at when it began
        return head
    wanted = _Arguments(argv[4:]).settings()
    origin = wanted.get("origin")
    if head.clone and origin is None:
        raise NotAllowed("a clone whose origin is not named")
    zvol = head.zvol if origin is None else is_volume(origin.partition("@")[0])
    born_with = {"readonly"} if zvol else {"readonly", "canmount"}
    if (head.full or origin is not None) and not born_with <= set(wanted):
        raise NotAllowed(f"a new replica is born with {' and '.join(sorted(born_with))}")
    return head


def seen(lines: Iterable[str], job: Job) -> list[str]:
    """Of the processes of this host just those that somebody who receives here looks for; without names of others'."""
    place = re.compile(rf" {re.escape(str(job.root))}(?:/[^=\"]*)?\Z")
    found = []
    for line in lines:
        receivers, writers = processes.receiving([line])
        if writers or any(place.search(receiver.arguments) for receiver in receivers):
            found.append(line)
        else:
            found += [f"{receiver.pid} {receiver.seconds} zfs receive -" for receiver in receivers]
    return found
