# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever the other side answers, no module ends with a traceback, and nothing but the named datasets is touched here.

The other side lies: each of its answers may be changed, cut, or replaced by any text, and its streams by any bytes.
``HOSTILE_EXAMPLES`` is the number of examples for each test.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils import _gate
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    Announcement,
    CommitPoint,
    CommitPoints,
    LastHold,
    ReplicaRecord,
    ReplicaRecords,
    SourceMark,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.text import shown
from ansible_collections.cerss.zfs.plugins.module_utils._host import process
from ansible_collections.cerss.zfs.plugins.module_utils._replication import attempt, receivers, transfer
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.token import decode_token
from ansible_collections.cerss.zfs.tests.unit.machine import ENCRYPTED, No, Part, flags_of, token_text
from ansible_collections.cerss.zfs.tests.unit.scenarios import Call
from ansible_collections.cerss.zfs.tests.unit.streams import END, PACKAGE_HEAD, RAW, RESUMED, SINGLE, VOLUME, record
from ansible_collections.cerss.zfs.tests.unit.transcript import entrance
from ansible_collections.cerss.zfs.tests.unit.world import HERE, THERE, World

EXAMPLES = int(os.environ.get("HOSTILE_EXAMPLES", "20"))
ID, OTHER = "0123456789abcdef", "f" * 16
POOL = "0" * 12 + "2710"

# -- lies ------------------------------------------------------------------------------------------------------------

NUMBERS = ["", "-", "0", "1", "-1", "9" * 19, "9" * 20, "9" * 30, "9" * 5000, "²", "1e5", "0x10", " 5", "nan", "None"]
NAMES = [
    "tank", "tank/v", "tank/v@s1", "tank/other", "tank/other@s1", "tank/v@s1,s2", "tank/v/new", "tank/v/../other",
    "tank/v/%recv",
    "tank/v#cerss.zfs_0123456789abcdef_1", "tank/v@", "tank/v/@", "/", "@", "#", "-F", "-r", "--", "x" * 300,
    "tank/v/" + "y" * 250,
    "backup", "backup/v", "backup/v@s1", "backup/other", "backup/other@s1", "backup/v/new@s9",
]  # fmt: skip
MARKS = [
    *(SourceMark(id_, "a", "tank/v", guid, mode).format()
      for id_ in (ID, OTHER) for guid in ("1", "10000") for mode in ("raw", "plain")),
    SourceMark(ID, "a", "tank/v", "1", "plain", beside=True).format(), "{", "[]", "null", "[" * 5000, "{}" * 9,
    "9" * 5000,
    ReplicaRecords((ReplicaRecord(ID, "tank/other", "1", "plain"),)).format(),
    CommitPoints((CommitPoint(ID, "9" * 20, 10**19),)).format(),
    json.dumps([{"guid": "1", "snapshot": "s", "bytes": 10**400}]), "plain", "on", "off", "aes-256-gcm", "available",
]  # fmt: skip
TOKENS = [
    token_text(str(guid), name, base, raw)
    for guid in (1, 2**64 - 1)
    for name in ("tank/v@s1", "tank/other@s1", "x")
    for base in (None, "1")
    for raw in (False, True)
]
LINES = ["tank/v\ttype\t-\tvolume", "tank/other\tguid\t-\t1", "backup/v\tcerss.zfs:source\tlocal\t{}",
         "tank/v\t1\t2\t-\t0", "tank/v/new@s\t1\t2\t-\t0", "tank/v/a@s\t1\t2", "a\tb", "\t", "\t\t\t\t", "motd: x",
         "stty: standard input",
         "77 1 zfs receive -s -u backup/v", "x 1 zfs receive -s -u backup/v", "77 ² zfs receive backup/v",
         "-1 99999999999999999999999 zfs receive backup/v", "---- Permissions on backup/v ----", "\tuser -x -F",
         "size\t²", "00:00:01\t²\tx", "00:00:01\t" + "9" * 5000 + "\tx", "full\tx\t²"]  # fmt: skip
ODD = ["\udce9", "\0", "\x1b[31m", "\u2028", "\r", "\x85", " ", "'", '"', "$(touch /tmp/x)", "; true"]
REASONS = [
    "cannot open 'backup/v': dataset does not exist", "cannot open 'tank/v': dataset does not exist",
    "cannot open 'tank': no such pool",
    "cerss-zfs-gate: refused: no", "permission denied", "out of space", "dataset is busy", "bookmark exists",
    "dataset already exists",
    "tag already exists on this dataset", "no such tag on this dataset", "Connection reset by peer",
    "zfs: command not found",
    "invalid option 'p'\nusage:", "destination exists, must specify -F", "does not match incremental source",
    "no datasets available",
    "cannot resume send: used in the initial send no longer exists", "contains partially-complete state",
    "checksum mismatch",
    "sudo: unable to resolve host b", "Permission denied (publickey).", "Host key verification failed.",
]  # fmt: skip

# What is likely to be believed: (text of the truth, another one)
SWAPS = [
    ("plain", "raw"), ("raw", "plain"), ("aes-256-gcm", "off"), ("off", "aes-256-gcm"), ("filesystem", "volume"),
    ("tank/v", "tank/other"),
    ("backup/v", "backup/other"), ("tank/v@", "tank/v/new@"), ("@s2", "@s1"), ("@s3", "@s2"), ("@s5", "@s1,s2"),
    ("\t-\t0", "\ttank/other@s1\t0"),
    ("\t-\t0", "\tbackup/other@s1\t0"), ("\t-\t0", "\t-\t1"), ('"mode"', '"released":true,"mode"'),
    ('"mode"', '"beside":true,"mode"'),
    ('"mode"', '"put_aside":true,"mode"'), ('"id":"', '"id":"f'), ("10", "1"), ("100", "999"), ("\t0", "\t5"),
    ("\t-", "\t1"), ("local", "received"),
    ("inherited", "local"), ("tank/v/a", "tank/v/b"), ("cerss.zfs_", "cerss.zfs_f"), ("cerss.zfs:last", "keep"),
    ("\n", "\n\n"), ("\t", " "),
]  # fmt: skip

_TEXT = st.sampled_from([*NUMBERS, *NAMES, *MARKS, *TOKENS, *ODD]) | st.text(max_size=12)
_LINE = st.sampled_from(LINES) | st.lists(_TEXT, min_size=1, max_size=6).map("\t".join)
_AT = st.integers(0, 30)
_END = st.tuples(st.sampled_from([0, 1, 2, 127, 255, -15]), st.sampled_from(["", *REASONS]) | _LINE)


@dataclass(frozen=True)
class Lie:
    """How an answer is changed. ``end``: exit status and stderr."""

    kind: str
    at: int = 0
    column: int = 0
    text: str = ""
    end: tuple[int, str] | None = None

    def told(self, truth: process.Result) -> process.Result:
        lines = truth.stdout.split("\n")[:-1]
        if self.kind == "swap":
            lines = truth.stdout.replace(*SWAPS[(self.at * 5 + self.column) % len(SWAPS)]).split("\n")[:-1]
        if self.kind == "text":
            lines = self.text.split("\n")
        elif self.kind == "insert":
            lines.insert(self.at % (len(lines) + 1), self.text)
        elif lines and self.kind != "swap":
            at = self.at % len(lines)
            columns = lines[at].split("\t")
            columns[self.column % len(columns)] = self.text
            change = {"line": [self.text], "drop": [], "twice": [lines[at], lines[at]], "column": ["\t".join(columns)]}
            lines[at : at + 1] = change.get(self.kind, lines[at : at + 1])
        out = "".join(f"{line}\n" for line in lines)
        out = out[: self.at * 7] if self.kind == "cut" else out
        rc, err = self.end or (truth.rc, truth.stderr)
        return process.Result(truth.argv, rc, out, f"{err}\n" if self.end else err)


_KINDS = ["line", "insert", "drop", "twice", "column", "column", "swap", "swap", "swap", "cut", "text", "end"]
LIES = st.builds(
    Lie,
    st.sampled_from(_KINDS),
    _AT,
    st.integers(0, 4),
    _LINE | _TEXT,
)
ENDS = st.builds(lambda lie, end: Lie(lie.kind, lie.at, lie.column, lie.text, end), LIES, _END)
# None: the truth. Most of the time it is told, so that lies come late as well, when much has been believed.
ANSWERS: st.SearchStrategy[list[Lie | None]] = st.lists(st.tuples(st.integers(0, 12), LIES | ENDS), max_size=4).map(
    lambda told: [each for truths, lie in told for each in [*[None] * truths, lie]]
)


class Liar(World):
    """A world whose other machine lies. ``own``: all that was run here, streams included."""

    def __init__(self, lies: list[Lie | None]) -> None:
        super().__init__()
        self.lies = iter(lies)
        self.own: list[list[str]] = []
        self.parts: list[Part] = []  # of the stream that runs, as far as they are not received
        self.package = False  # they are received one by one
        self.folder = Path()

    def install(self, patch: pytest.MonkeyPatch, folder: Path) -> None:
        self.folder = folder
        super().install(patch, folder)
        patch.setattr(attempt, "run_pipe", transfer.run_pipe)
        patch.setattr(process, "spawn", self.spawn)
        patch.setattr(transfer, "TICK", 0.002)
        patch.setattr(transfer, "LOOK", 0.001)
        patch.setattr(transfer, "LAST_WORDS", 0.2)
        patch.setattr(receivers, "time", _Clock())

    def run(self, argv: list[str], **_options: Any) -> process.Result:
        truth = super().run(argv)
        if argv[0] == "ssh":
            lie = next(self.lies, None)
            return lie.told(truth) if lie else truth
        self.own.append(argv)
        return truth

    def spawn(self, argv: list[str], **options: Any) -> Any:
        """A program of a stream. The model has what arrives as soon as its receiver starts."""
        far = argv[0] == "ssh"
        command = _gate.split_line(argv[-1])[-1] if far else argv
        if not far:
            self.own.append(argv)
        machine = self.machines[THERE if far else HERE]
        out, err, rc, taken = b"", "", 0, ""
        try:
            if command[1] == "send":
                self.parts, self.package = machine.parts(*flags_of(command)), False
                out, err = _stream(self.parts, resumed="-t" in command), "size\t1000\n00:00:01\t500\tx\n"
            else:
                taken = "head -c 312" if len(self.parts) > 1 or self.package else "cat"
                self.package = not far and (self.package or len(self.parts) > 1)
                for part in self.parts if far else self.parts[:1]:
                    into = machine.begin(command, part, resumed=True)
                    machine.arrive(into, part.snap)
                self.parts = [] if far else self.parts[1:]
        except No as error:
            rc, err = 1, f"{error}\n"
        lie = next(self.lies, None) if far else None
        if lie:
            told = lie.told(process.Result(argv, rc, err, ""))
            rc, err = told.rc, (told.stdout + told.stderr).replace("\0", "")
            if lie.kind in ("text", "insert", "cut", "line", "column"):
                kinds = {"text": lie.text.encode(errors="replace"), "cut": out[: lie.at * 40], "line": out[312:]}
                out = kinds.get(lie.kind, out + record(guid=lie.at, version=[SINGLE, RAW, RESUMED][lie.column % 3]))
        with tempfile.NamedTemporaryFile(delete=False, dir=self.folder) as file:
            file.write(out)
        script = f"cat {file.name}; " + 'printf %s "$1" >&2; exit "$2"'
        script = f"{'cat' if far else taken} > /dev/null; {script}" if taken else script
        said = err[:60_000]
        return _SPAWN(["sh", "-c", script, "x", said, str(rc % 256)], **options)


_SPAWN = process.spawn


class _Clock:
    """Time passes with each call, so no wait takes long."""

    time, sleep = time.time, time.sleep

    def __init__(self) -> None:
        self.looks = itertools.count()

    def monotonic(self) -> float:
        return time.monotonic() + 0.05 * next(self.looks)


def _stream(parts: list[Part], resumed: bool) -> bytes:
    heads = [
        record(
            version=(RAW if part.raw else SINGLE) | (RESUMED if resumed else 0), guid=int(part.snap.guid),
            origin=int(part.base or 0), type=VOLUME if part.dataset.type == "volume" else 2,
        )
        for part in parts
    ]  # fmt: skip
    return heads[0] + b"data" if len(heads) == 1 else PACKAGE_HEAD + END + b"".join(heads) + END


# -- what may be run here --------------------------------------------------------------------------------------------

_CURSOR = r"#cerss\.zfs_[0-9a-f]{16}_[0-9a-f]{1,16}"
_STEP, _PROPERTY = r"cerss\.zfs:step:[0-9a-f]{16}", r"cerss\.zfs:(replica|at)\.[0-9a-f]{16}"


def check_source(argv: list[str], root: str) -> None:
    """Our side sends: only marks of the named dataset, and streams of it."""
    here = re.escape(root) + r"(/[\w ./:-]+)?"
    kind, rest = argv[1], argv[2:]
    if argv[0] != "zfs" or kind in ("list", "get", "holds"):
        return
    if kind == "program":
        assert rest[:4] == ["-j", "--", root.partition("/")[0], "-"], argv
        for verb, name, key, value in zip(*[iter(rest[4:])] * 4):
            if verb in ("group", "is"):
                continue
            command = {"set": [f"{key}={value}", name], "inherit": [key, name], "bookmark": [name, key]}[verb]
            check_source(["zfs", verb, *command], root)
    elif kind in ("hold", "release"):
        assert re.fullmatch(_STEP, rest[0]), argv
        assert all(re.fullmatch(f"{here}@[^,@#%]+", name) for name in rest[1:]), argv
    elif kind == "bookmark":
        assert re.fullmatch(f"{here}@[^,@#%]+", rest[0]), argv
        assert re.fullmatch(here + _CURSOR, rest[1]), argv
    elif kind == "destroy":
        assert len(rest) == 1, argv
        assert re.fullmatch(here + _CURSOR, rest[0]), argv
    elif kind in ("set", "inherit"):
        assert re.fullmatch(here, rest[-1]), argv
        assert all(re.match(f"{_PROPERTY}(=|$)", text) for text in rest[:-1]), argv
    else:
        assert kind == "send", argv
        flags, names = flags_of(argv)
        assert flags.keys() <= {"-vP", "-nvP", "-w", "-L", "-c", "-i", "-I", "-t"}, argv
        bases = [base for flag in ("-i", "-I") for base in flags.get(flag, [])]
        assert all(re.fullmatch(f"{here}[@#][^,@%]+", name) for name in [*names, *bases]), argv


def check_target(argv: list[str], root: str) -> None:
    """Our side receives: only the named replica, what is below it, and what a reseed puts beside it."""
    place = re.escape(root) + r"(_(new|old)_[0-9a-f]{8})?(/[\w ./:-]+)?"
    kind, rest = argv[1], argv[2:]
    if argv[0] != "zfs" or kind in ("list", "get", "holds"):
        return
    assert kind in ("receive", "hold", "release", "set", "inherit", "rename", "promote", "rollback", "destroy", "allow",
                    "load-key", "send"), argv  # fmt: skip
    assert not {"-F", "-R", "-r", "-p", "-h"} & {*rest}, argv
    if kind in ("hold", "release"):
        assert rest[0] == LastHold.TAG, argv
        rest = rest[1:]
    if kind in ("destroy", "rollback"):
        assert re.fullmatch(f"{place}@[^@#%]+", rest[-1]), argv
    elif kind == "receive":
        assert re.fullmatch(place, rest[-1]), argv
        assert "/../" not in rest[-1], argv
        origins = [text for text in rest if text.startswith("origin=")]
        assert all(re.fullmatch(f"origin={place}@[^,@#%]+", text) for text in origins), argv
    else:
        assert all(re.fullmatch(place + "(@[^,@#%]+)?", name) for name in rest if name.startswith("backup")), argv
        assert re.fullmatch(place + "(@[^,@#%]+)?", rest[-1]), argv


def check_result(result: dict[str, Any]) -> None:
    json.dumps(shown(result)).encode()
    assert "Traceback" not in result.get("stderr", ""), result["stderr"]
    for replica in result.get("replicas", []):
        assert not re.search(r": (?!Cerss)\w+(Error|Exception): ", replica["msg"] or ""), replica["msg"]


def go(module: str, options: dict[str, Any], check: bool = False) -> dict[str, Any]:
    """The result of a module; its error as a result."""
    verb, params = entrance(Call(module, options))
    try:
        result = verb(params, check)
    except CerssError as error:
        result = {"failed": True, "msg": error.msg, **error.details}
    check_result(result)
    return result


# -- where it begins -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """``sends``: our side is the source. ``state``: what there is already."""

    sends: bool
    state: str
    encrypted: bool
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def call(self) -> dict[str, Any]:
        far = {"host": THERE}
        sides = {"target": {**far, "dataset": "backup/v"}} if self.sends else {
            "target": {"dataset": "backup/v"}, "source": far,
        }  # fmt: skip
        return {
            "name": ["tank/v"],
            "retries": 0,
            "parallel": 1,
            "stall_timeout": "1s",
            "timeout": "20s",
            **sides,
            **self.options,
        }

    def prepare(self, world: Liar) -> None:
        sender, receiver = (world.here, world.there) if self.sends else (world.there, world.here)
        sender.make("tank", "tank/other@s1")
        receiver.make("backup", "backup/other@s1")
        sender.make("tank/v", fixed=dict(ENCRYPTED) if self.encrypted else {})
        sender.make("tank/v/a", fixed=dict(ENCRYPTED) if self.encrypted else {})
        sender.make("tank/v@s1", "tank/v@s2", "tank/v/a@s1")
        if self.state != "new":
            go("zfs_snapshot_replicate", {**self.call, "recursive": True})
            assert receiver.snaps("backup/v"), "the truth must work"
            sender.make("tank/v@s3", "tank/v@s4", "tank/v@s5")
        if self.state == "diverged":
            receiver.make("backup/v@own", "backup/v/below@own")
        if self.state == "cut":
            newest = sender.all["tank/v@s3"]
            raw = self.encrypted and self.options.get("raw") != "never"
            receiver.all["backup/v"].token = token_text(newest.guid, "tank/v@s3", sender.all["tank/v@s2"].guid, raw)


CASES = st.builds(
    Case,
    st.booleans(),
    st.sampled_from(["new", "known", "diverged", "cut"]),
    st.booleans(),
    st.fixed_dictionaries({
        "recursive": st.booleans(),
        "on_divergence": st.sampled_from(["fail", "rollback", "reseed"]),
        "raw": st.sampled_from(["auto", "auto", "always", "never"]),
        "on_active": st.sampled_from(["attach", "wait", "fail"]),
        "resume": st.booleans(),
    }),
)  # fmt: skip


@contextlib.contextmanager
def lying(case: Case, lies: list[Lie | None]) -> Iterator[Liar]:
    world = Liar(lies)
    truth, world.lies = world.lies, iter([])
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        world.install(patch, Path(folder))
        case.prepare(world)
        world.lies = truth
        world.own.clear()
        yield world


def check_own(world: Liar, case: Case) -> None:
    check: Callable[[list[str], str], None] = check_source if case.sends else check_target
    for argv in world.own:
        check(argv, "tank/v" if case.sends else "backup/v")
    assert {"tank/other@s1", "backup/other@s1"} & world.here.all.keys()
    if not (case.sends and case.encrypted) or case.options.get("raw") == "never":
        return
    for argv in world.own:
        if argv[:2] == ["zfs", "send"]:
            token = decode_token(argv[argv.index("-t") + 1]) if "-t" in argv else None
            assert token.raw if token else "-w" in argv, argv


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(CASES, st.booleans(), ANSWERS)
def test_replication(case: Case, check: bool, lies: list[Lie | None]) -> None:
    with lying(case, lies) as world:
        before = {key: guid for key, guid in world.state().items() if key[0] == HERE}
        go("zfs_snapshot_replicate", case.call, check)
        check_own(world, case)
        if check:
            assert before == {key: guid for key, guid in world.state().items() if key[0] == HERE}


RELATIONSHIPS = st.fixed_dictionaries(
    {"state": st.sampled_from(["present", "absent"]), "force": st.booleans()},
    optional={"id": st.sampled_from([ID, OTHER]), "paused": st.booleans()},
)


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(CASES, RELATIONSHIPS, st.booleans(), st.booleans(), ANSWERS)
def test_relationship(
    case: Case, relationship: dict[str, Any], named: bool, check: bool, lies: list[Lie | None]
) -> None:
    with lying(case, lies) as world:
        sides = {key: each for key, each in case.call.items() if key in ("source", "target")}
        given = {"name": "tank/v", **sides} if named or "id" not in relationship else sides
        before = {key: guid for key, guid in world.state().items() if key[0] == HERE}
        with contextlib.suppress(ValueError):  # options that the module refuses
            go("zfs_replication", {**given, **relationship}, check)
        for argv in world.own:
            check_marks(argv, "tank/v" if case.sends else "backup/v", case.sends)
        if check:
            assert before == {key: guid for key, guid in world.state().items() if key[0] == HERE}


def check_marks(argv: list[str], root: str, sends: bool) -> None:
    """zfs_replication changes marks alone, and aborts a partial receive."""
    if sends:
        assert argv[1] != "send", argv
        check_source(argv, root)
    elif argv[1] == "receive":
        assert argv == ["zfs", "receive", "-A", root], argv
    else:
        assert argv[0] != "zfs" or argv[1] in ("list", "get", "holds", "hold", "release", "set", "inherit"), argv
        check_target(argv, root)


# -- what others may have written here -------------------------------------------------------------------------------

_OURS = [
    "cerss.zfs:source",
    "cerss.zfs:inbound",
    "cerss.zfs:origin",
    f"cerss.zfs:replica.{POOL}",
    f"cerss.zfs:at.{POOL}",
]
_TAGS = st.sampled_from(
    [LastHold.TAG, f"cerss.zfs:step:{ID}", "cerss.zfs:step:x", "a\ttag\t9", "x\ntank/v@s1\ty\t9", ""]
)


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(st.sampled_from(_OURS), st.sampled_from(MARKS) | _LINE), max_size=6),
    st.sampled_from(["", *TOKENS]) | _TEXT,
    st.lists(_TAGS, max_size=3, unique=True), st.lists(st.none() | LIES, max_size=6),
)  # fmt: skip
def test_info(properties: list[tuple[str, str]], token: str, tags: list[str], lies: list[Lie | None]) -> None:
    """Also with answers of its own side that are not what zfs prints."""
    world = Liar([])
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        world.install(patch, Path(folder))
        world.here.make("tank/v@s1", "tank/v@s2", "tank/v/w@s1", f"tank/v#cerss.zfs_{ID}_1")
        world.here.all["tank/v"].props.update(properties)
        world.here.all["tank/v"].token = token
        world.here.all["tank/v@s2"].holds += tags
        go("zfs_replication_info", {"name": ["tank/v"], "max_lag": "1h"})
        told, real = iter(lies), world.run

        def run(argv: list[str], **options: Any) -> process.Result:
            truth, lie = real(argv, **options), next(told, None)
            return lie.told(truth) if lie else truth

        patch.setattr(process, "run", run)
        patch.setattr(world, "run", run)
        go("zfs_replication_info", {"name": [], "max_lag": "1h"})


def test_announcements_are_bounded() -> None:
    """A number that no float can hold would end the reading of all relationships."""
    text = json.dumps([{"guid": "1", "snapshot": "s", "bytes": 10**400}])
    assert Announcement.of({Announcement.NAME: text}).entries == ()
