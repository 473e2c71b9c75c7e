# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verbs on what real ZFS once answered (`tests/recorded`): the same commands, each as often, and the same results.

`make record` remakes the recordings from `scenarios`, ``--accept`` only the results in them. Nothing here stands in for
ZFS: a command without an answer fails, and so does an answer that nobody asks for.
"""

from __future__ import annotations

import hashlib
import os
import platform
import random
import re
import shlex
import shutil
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError, TimedOut
from ansible_collections.cerss.zfs.plugins.module_utils._host import process, runfiles
from ansible_collections.cerss.zfs.plugins.module_utils._replication import run as replication_run
from ansible_collections.cerss.zfs.plugins.module_utils._replication import transfer, work
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import stream
from ansible_collections.cerss.zfs.tests.unit.scenarios import VERSIONS, Call, Session, recordings
from ansible_collections.cerss.zfs.tests.unit.transcript import (
    FOLDER,
    Recording,
    answered,
    entrance,
    form,
    load,
    parse,
    path,
    plain,
    save,
    steps_of,
    told,
)

# A program of a pipe as it was: takes what comes, hands on the records that were looked at, says what it said, and ends
# as it ended.
_STAGE = """case $3 in early) ;; one) head -c 312;; *) cat;; esac > /dev/null; printf "$4"; printf %s "$1" >&2
case $2 in ended) exec sleep 600;; -*) kill "$2" $$;; *) exit "$2";; esac"""


class Replay:
    """Answers each command as it was answered in one recorded run."""

    def __init__(self, commands: list[dict[str, Any]]) -> None:
        self.answers: dict[tuple[str, str], deque[dict[str, Any]]] = {}
        self.order = []
        for entry in commands:
            key = (entry["ssh"], entry["run"])
            self.answers.setdefault(key, deque()).append(entry)
            self.order.append(key)
        self.asked: list[tuple[str, str]] = []
        self.unknown: list[tuple[str, str]] = []
        self.sender_was_ended = False
        self.packages: list[Any] = []  # pipes that more than one record was looked at in
        self._lock = threading.Lock()

    def answer(self, argv: list[str]) -> dict[str, Any]:
        key = told(argv)
        with self._lock:
            self.asked.append(key)
            if not self.answers.get(key):
                self.unknown.append(key)
                raise AssertionError(f"not recorded, or not so often: {key}")
            return self.answers[key].popleft()

    def left(self) -> list[tuple[str, str]]:
        return [key for key, entries in self.answers.items() for _entry in entries]

    def run(self, argv: list[str], stdin: str | None = None, **_options: Any) -> process.Result:
        entry = self.answer(argv)
        fed = hashlib.sha256(stdin.encode()).hexdigest()[:16] if stdin is not None else None
        assert entry.get("fed") == fed, "the standard input of the command is another one now"
        if "late" in entry:
            raise TimedOut(entry["late"])
        # A recording has only those processes that matter, but any list of Linux has the first one.
        first = "1 0 -\n" if entry["run"].endswith(shlex.join(zfs.receivers())) else ""
        return process.Result(argv, entry.get("rc", 0), first + entry.get("out", ""), entry.get("err", ""))

    def run_command(self, argv: list[str], *_options: Any) -> tuple[int, str]:
        ended = self.run(argv)
        return ended.rc, ended.stderr

    def output(self, argv: list[str], _check: Any = None) -> _Output:
        return _Output(self, argv)

    def spawn(self, argv: list[str], **options: Any) -> Any:
        entry = self.answer(argv)
        if "errno" in entry:
            raise OSError(entry["errno"], os.strerror(entry["errno"]), argv[0])
        if options["stdin"] == subprocess.DEVNULL:
            self.sender_was_ended = entry.get("ended", False)
        end = "ended" if entry.get("ended") else str(entry.get("rc", 0))
        # A receiver that fails does not wait for the end of a stream that goes on.
        takes = "one" if options["stdin"] in self.packages else ""
        takes = "early" if self.sender_was_ended and entry.get("rc") else takes
        seen = [bytes.fromhex(each).ljust(stream.RECORD, b"\0") for each in entry.get("seen", [])]
        records = "".join(f"\\{byte:03o}" for byte in b"".join(seen))
        started = _SPAWN(["/bin/sh", "-c", _STAGE, argv[0], entry.get("err", ""), end, takes, records], **options)
        started.wrote = entry.get("written", 0)  # type: ignore[attr-defined]  # what /proc would tell
        self.packages += [started.stdout] if len(seen) > 1 else []
        return started


class _Output:
    """`process.Lines` of a recorded run."""

    def __init__(self, replay: Replay, argv: list[str]) -> None:
        self.replay, self.argv = replay, argv
        self.result: process.Result | None = None

    def __iter__(self) -> Iterator[str]:
        ended = self.replay.run(self.argv)
        yield from ended.stdout.split("\n")[:-1]
        self.result = ended


_SPAWN = process.spawn


def changes(order: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The commands that change something, whose order matters."""
    return [key for key in order if re.search(r"(^|~ )(sudo -n )?zfs (?!list|get|holds|allow$)", key[1])]


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The machine of the recordings, as far as verbs look at it themselves. What they wait for has come already."""
    monkeypatch.setattr(runfiles, "SYSTEM_FOLDER", tmp_path / "run")
    monkeypatch.setattr(runfiles, "TEMP_FOLDER", tmp_path)
    monkeypatch.delenv(runfiles.RUN_ID, raising=False)
    monkeypatch.setattr(platform, "node", lambda: "backend-a")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(work, "POLL", 0.01)
    monkeypatch.setattr(replication_run, "WAVE_SECONDS", 1e9)  # as record.py: a wave ends when nothing is on its way
    monkeypatch.setattr(transfer, "TICK", 0.01)
    monkeypatch.setattr(random, "uniform", lambda *_: 0.0)
    sleep, monotonic, passed = time.sleep, time.monotonic, [0.0]

    def skip(seconds: float) -> None:
        sleep(min(seconds, 0.01))
        passed[0] += seconds

    monkeypatch.setattr(time, "sleep", skip)
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + passed[0])
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


@pytest.mark.parametrize(
    ("version", "name", "session"),
    [
        pytest.param(version, name, session, id=name)
        for version in VERSIONS
        for name, session in recordings(version).items()
    ],
)
def test_session(
    version: str, name: str, session: Session, monkeypatch: pytest.MonkeyPatch, elsewhere: None,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    accept = request.config.getoption("--accept")
    recorded = load(name)
    assert form(recorded) == path(name).read_text(encoding="utf-8"), "not as make record writes it"
    assert recorded.openzfs.startswith(f"{version}."), "recorded on another version"
    taken = [step if isinstance(step, str) else step["call"] for step in recorded.steps]
    assert taken == plain(steps_of(session)), "recorded from another scenario: make record"
    former: dict[str, Any] = {}
    for step in recorded.steps:
        if isinstance(step, str):
            continue
        module, options, check = step["call"]
        about = f"{module} {options}{' in check mode' if check else ''}"
        replay = Replay(step["commands"])
        result = run(replay, Call(module, options), check, step, monkeypatch)
        assert not replay.unknown, f"{about}: {replay.unknown}, left are {replay.left()}, got {result}"
        if accept:
            step["result"] = result
        assert result == step["result"], about
        assert not replay.left(), about
        assert changes(replay.asked) == changes(replay.order), about
        if not check and former.get("call") == [module, options, True]:
            for key in ("changed", "actions", "diff") if not {**former["result"], **result}.get("failed") else ():
                assert former["result"].get(key) == result.get(key), f"{about}: {key} is not what check mode foretold"
        former = step
    if accept:
        save(name, recorded)


def run(replay: Replay, call: Call, check: bool, step: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    with monkeypatch.context() as patch:
        patch.setattr(process, "run", replay.run)
        patch.setattr(process, "run_command", replay.run_command)
        patch.setattr(process, "Lines", replay.output)
        patch.setattr(process, "spawn", replay.spawn)
        patch.setattr(process, "written", lambda program: program.wrote)
        patch.setattr(time, "time", lambda: step["now"])
        lacks = step.get("lacks", ())
        patch.setattr(shutil, "which", lambda program, **_: None if program in lacks else f"/usr/bin/{program}")
        verb, options = entrance(call)
        try:
            return plain(verb(options, check))
        except CerssError as error:
            return plain({"failed": True, "msg": error.msg, **error.details})


@given(st.text(min_size=1), st.text(), st.text(), st.booleans())
def test_recording_keeps_every_byte(run: str, out: str, err: str, later: bool) -> None:
    commands = [answered(["ssh", "b", run], rc=1), *2 * [answered([run], rc=2, out=out, err=err, late=err)]]
    steps: list[Any] = [
        run,
        {"call": ["zfs_x", {"name": out}, later], "now": 1.0, "commands": commands, "result": {"msg": err.split("a")}},
    ]
    recording = Recording("2.3.9", steps)
    assert parse(form(recording)) == recording


def test_every_recording_is_replayed() -> None:
    assert {file.stem for file in FOLDER.glob("*.txt")} == {name for each in VERSIONS for name in recordings(each)}
