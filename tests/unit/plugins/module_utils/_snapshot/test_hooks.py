# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands around a snapshot: real processes and real signals, no ZFS."""

from __future__ import annotations

import contextlib
import functools
import operator
import os
import signal
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError
from ansible_collections.cerss.zfs.plugins.module_utils._host import process, runfiles
from ansible_collections.cerss.zfs.plugins.module_utils._host.waiting import wait_for
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.hooks import Command, Stopped, around


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(runfiles, "SYSTEM_FOLDER", tmp_path / "run")
    monkeypatch.setattr(process, "end_group", functools.partial(process.end_group, patience=0.1))
    monkeypatch.setattr(runfiles, "TEMP_FOLDER", tmp_path)
    (tmp_path / "log").touch()
    return tmp_path / "log"


SECRET = "hunter2"


def told(caught: pytest.ExceptionInfo[CerssError]) -> str:
    """All that a result could have of an error."""
    error = caught.value
    return "".join([error.msg, str(error.details), *traceback.format_exception(CerssError, error, caught.tb)])


def shell(log: Path, *texts: str) -> list[Command]:
    return [
        Command(f"command {number}", ["sh", "-c", f"echo {number} >> {log}; {text}"], 60, {"WORD": "word"})
        for number, text in enumerate(texts, 1)
    ]


def written(log: Path) -> list[str]:
    return log.read_text().split()


def creating() -> list[str]:
    return [name for operation in runfiles.running() for name in operation["snapshots"]]


def go(before: Sequence[Command], after: Sequence[Command], log: Path, number: int | None = None) -> None:
    with around(before, after, ["tank/v@s"]):
        assert creating() == ["tank/v@s"]
        with log.open("a") as stream:
            stream.write("body\n")
        if number:
            os.kill(os.getpid(), number)


def test_in_order_and_told_meanwhile(log: Path) -> None:
    go(shell(log, "test $WORD = word"), shell(log, "true", "true"), log)
    assert written(log) == ["1", "body", "1", "2"]
    assert creating() == []


def test_nothing_around_is_not_told(log: Path) -> None:
    with around([], [], ["tank/v@s"]):
        assert creating() == []


def test_a_failing_before_skips_the_body_and_not_the_after(log: Path) -> None:
    with pytest.raises(CerssError, match=r"^command 2 failed with exit status 3$"):
        go(shell(log, "true", "exit 3", "true"), shell(log, "true"), log)
    assert written(log) == ["1", "2", "1"]


def test_all_of_after_run_though_one_fails(log: Path) -> None:
    with pytest.raises(CerssError, match=r"were created, but command 1 failed with exit status 4, so what"):
        go([], shell(log, "exit 4", "true"), log)
    assert written(log) == ["body", "1", "2"]


def test_a_failing_body_is_told_first(log: Path) -> None:
    def fail() -> None:
        with around([], shell(log, "exit 4"), ["tank/v@s"]):
            raise CerssError("no room")

    with pytest.raises(CerssError) as caught:
        fail()
    assert caught.value.msg.startswith("no room; command 1 failed with exit status 4")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_in_the_body_runs_what_comes_after(log: Path, number: int) -> None:
    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    with pytest.raises(Stopped, match="stopped by SIG"):
        go([], shell(log, "true", "true"), log, number)
    assert written(log) == ["body", "1", "2"]
    assert creating() == []
    assert handlers == [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]


@pytest.fixture
def pids(tmp_path: Path) -> Iterator[Path]:
    """A file for the process ids of what may live on; it is ended afterwards."""
    file = tmp_path / "pids"
    file.touch()
    yield file
    for pid in file.read_text().split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def lives(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


# Each is a child in the background that writes its process id.
CHILDREN = {
    "keeps the output open": "sh -c 'echo $$ >> {0}; exec sleep 600' &",
    "a session of its own": "setsid sh -c 'echo $$ >> {0}; exec sleep 600' &",
    "a daemon": "(setsid sh -c 'echo $$ >> {0}; exec sleep 600' &);",
    "ignores SIGTERM": "sh -c 'trap \"\" TERM; echo $$ >> {0}; exec sleep 600' &",
    "floods": "sh -c 'yes | head -c 9000000 >&2; echo $$ >> {0}; exec yes' &",
    "stops itself": "sh -c 'echo $$ >> {0}; kill -STOP $$; exec sleep 600' &",
}
READY = "until [ -s {0} ]; do sleep 0.01; done"


@pytest.mark.parametrize("child", CHILDREN.values(), ids=CHILDREN)
def test_a_child_in_the_background_lives_on_and_delays_nothing(log: Path, pids: Path, child: str) -> None:
    go(shell(log, f"{child} {READY}".format(pids)), shell(log, f"kill -0 $(cat {pids})"), log)
    assert written(log) == ["1", "body", "1"]
    assert lives(pids.read_text().strip())


@pytest.mark.parametrize(
    ("child", "number"),
    [
        ("keeps the output open", signal.SIGTERM),
        ("ignores SIGTERM", signal.SIGINT),
        ("floods", signal.SIGHUP),
        ("stops itself", signal.SIGTERM),
    ],
)
def test_a_signal_in_before_ends_it_with_its_children(log: Path, pids: Path, child: str, number: int) -> None:
    script = f"{CHILDREN[child]} {READY}; kill -{int(number)} {os.getpid()}; sleep 600".format(pids)
    with pytest.raises(Stopped, match=f"^stopped by {signal.Signals(number).name}$"):
        go(shell(log, script, "true"), shell(log, "true"), log)
    assert written(log) == ["1", "1"]
    assert not wait_for(lambda: lives(pids.read_text().strip()), operator.not_, 0.01, 60)


def test_a_command_that_takes_too_long_is_ended_and_after_runs(log: Path) -> None:
    before = Command("command 1", ["sh", "-c", "kill -STOP $$", SECRET], 0, {SECRET: SECRET})
    with pytest.raises(CerssError, match=r"^command 1 did not finish within 0 s and was stopped$") as caught:
        go([before], shell(log, "true"), log)
    assert written(log) == ["1"]
    assert SECRET not in told(caught)


def test_a_signal_in_after_does_not_end_it(log: Path) -> None:
    go([], shell(log, f"kill -TERM {os.getpid()}; echo thawed >> {log}"), log)
    assert written(log) == ["body", "1", "thawed"]


def test_a_command_of_after_does_not_inherit_ignored_signals(log: Path) -> None:
    with pytest.raises(CerssError, match="exit status -15"):
        go([], shell(log, f"kill -TERM $$; echo ignored >> {log}"), log)
    assert written(log) == ["body", "1"]


def test_a_signal_between_commands_stops_the_run(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = process.run_command

    def signalled(*args: object) -> object:
        done = run(*args)  # type: ignore[arg-type]
        os.kill(os.getpid(), signal.SIGTERM)
        return done

    monkeypatch.setattr(process, "run_command", signalled)
    with pytest.raises(Stopped):
        go(shell(log, "true"), shell(log, "true"), log)
    assert written(log) == ["1", "1"]


def test_no_file_is_created_once_a_filesystem_may_be_frozen(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    go(shell(log, f"rmdir {folder}"), shell(log, "true"), log)
    assert written(log) == ["1", "body", "1"]
    with pytest.raises(CerssError, match=r"^temporary files for before and after cannot be created: No such file"):
        go(shell(log, "true"), [], log)


@pytest.mark.parametrize(
    ("argv", "environment", "reason"),
    [
        ([f"/no/{SECRET}"], {}, "could not be started: there is no such program, or no interpreter for the script;"),
        ([f"no-{SECRET}"], {}, "could not be started: there is no such program, or no interpreter for the script;"),
        (["{0}/plain", SECRET], {}, "could not be started: the program is not executable;"),
        (["{0}/binary", SECRET], {}, f"could not be started: {os.strerror(8)}"),
        (["true", SECRET * 300000], {}, "could not be started: its arguments and environment are too long;"),
        (["true"], {SECRET: SECRET * 300000}, "could not be started: its arguments and environment are too long;"),
        (["true", f"{SECRET}\0"], {}, "could not be started: its arguments or environment have characters"),
        (["true", f"{SECRET}\ud800"], {}, "could not be started: its arguments or environment have characters"),
        (["true"], {f"{SECRET}=": SECRET}, "could not be started: its arguments or environment have characters"),
        (["false", SECRET], {SECRET: SECRET}, "failed with exit status 1"),
    ],
)
def test_no_output_has_arguments_or_environment(
    log: Path, tmp_path: Path, argv: list[str], environment: dict[str, str], reason: str
) -> None:
    (tmp_path / "plain").touch()
    (tmp_path / "binary").touch(0o755)
    command = Command("command 1", [argv[0].format(tmp_path), *argv[1:]], 60, environment)
    with pytest.raises(CerssError) as caught:
        go([command], [], log)
    assert caught.value.msg.startswith(f"command 1 {reason}")
    assert SECRET not in repr(command) + told(caught)
