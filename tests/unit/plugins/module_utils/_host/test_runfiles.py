# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""In temporary folders. What needs files of another user is tested as root only."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._host import runfiles

UID = os.getuid()
OTHER = 65534
ID = "0123456789abcdef"
SEND = {"operation": "send", "id": ID}
CREATE = {"operation": "create", "snapshots": ["tank/v@s"]}

as_root = pytest.mark.skipif(UID != 0, reason="only root can make files of other users")


@pytest.fixture(autouse=True)
def system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """In the place of /run/cerss.zfs, with the folder of this user. /tmp is the folder beside it."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(runfiles, "SYSTEM_FOLDER", tmp_path / "system")
    monkeypatch.setattr(runfiles, "TEMP_FOLDER", tmp_path / "tmp")
    monkeypatch.delenv(runfiles.RUN_ID, raising=False)
    own = tmp_path / "system" / str(UID)
    own.mkdir(parents=True, mode=0o755)
    return tmp_path / "system"


def put(path: Path, content: Any, owner: int = UID) -> None:
    path.write_text(content if isinstance(content, str) else json.dumps({"pid": os.getpid(), **content}))
    os.chown(path, owner, -1)


def folder_of(system: Path, owner: int) -> Path:
    folder = system / str(owner)
    folder.mkdir(mode=0o700)
    os.chown(folder, owner, -1)
    return folder


@contextlib.contextmanager
def process_of(uid: int) -> Iterator[int]:
    """The pid of a process of that user."""
    with subprocess.Popen(["sleep", "60"], preexec_fn=lambda: os.setuid(uid)) as process:
        try:
            yield process.pid
        finally:
            process.kill()


# -- folders ---------------------------------------------------------------------------------------------------------


def _link(path: Path) -> None:
    path.rmdir()
    path.symlink_to(path.parent.parent / "tmp")


def _file(path: Path) -> None:
    path.rmdir()
    path.touch()


@pytest.mark.parametrize(
    "spoil",
    [
        _link,
        _file,
        lambda path: path.chmod(0o775),
        lambda path: path.chmod(0o757),
        lambda path: path.parent.chmod(0o1777),
        lambda path: path.parent.chmod(0o775),
        pytest.param(lambda path: os.chown(path, OTHER, -1), marks=as_root),
        pytest.param(lambda path: os.chown(path.parent, OTHER, -1), marks=as_root),
    ],
)
def test_a_folder_that_others_may_write_to_is_not_used(
    system: Path, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(system / str(UID))
    run_file = runfiles.RunFile()
    run_file.write(SEND)
    own = tmp_path / "tmp" / f"cerss.zfs-{UID}"
    assert [path.name for path in own.iterdir()] == [run_file.name]
    assert own.stat().st_mode & 0o777 == 0o700
    assert len(runfiles.running()) == 1


def test_root_creates_the_folder_for_all(system: Path) -> None:
    (system / str(UID)).rmdir()
    system.rmdir()
    assert runfiles.running() == []
    assert not system.exists()  # to look changes nothing
    runfiles.RunFile().write(SEND)
    assert [path.stat().st_mode & 0o777 for path in (system, system / str(UID))] == [0o755, 0o755]


def _without_folders(system: Path) -> None:
    system.chmod(0o777)
    (runfiles.TEMP_FOLDER / f"cerss.zfs-{UID}").symlink_to(system)


def test_without_a_folder_the_error_says_what_is_the_matter(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _without_folders(system)
    monkeypatch.setenv(runfiles.RUN_ID, ID)
    message = rf"operation cannot be written \(/.*/tmp/cerss.zfs-{UID}: Not a directory\); make .*{UID} a folder that"
    with pytest.raises(Refused, match=message):
        runfiles.Lease()
    with pytest.raises(Refused, match=message), runfiles.lock("x"):
        pass


# -- run files -------------------------------------------------------------------------------------------------------


def test_only_run_files_of_live_processes_count(system: Path) -> None:
    run_file = runfiles.RunFile()
    run_file.write(SEND)
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    put(system / str(UID) / "ended.json", {**CREATE, "pid": process.pid})
    assert runfiles.running() == [{"pid": os.getpid(), **SEND}]
    run_file.write({**SEND, "bytes_done": 5})
    assert [run["bytes_done"] for run in runfiles.running()] == [5]
    run_file.remove()
    assert list((system / str(UID)).glob("run-*")) == []
    assert runfiles.running() == []


@as_root
def test_a_pid_that_another_user_has_now_does_not_count(system: Path) -> None:
    with process_of(OTHER) as pid:
        put(system / "0" / "a.json", {**CREATE, "pid": pid})
        assert runfiles.running() == []


def test_a_process_that_we_may_not_signal_is_alive_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_pid: int, _number: int) -> None:
        raise PermissionError

    runfiles.RunFile().write(SEND)
    monkeypatch.setattr(os, "kill", refused)
    assert len(runfiles.running()) == 1


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "5",
        "[" * 100_000,
        '"\udcff'.encode("utf-8", "surrogateescape"),
        json.dumps(SEND),
        '{"pid": 1}',
        '{"pid": 1, "operation": "destroy"}',
        '{"pid": 1, "operation": ["send"]}',
        *(f'{{"operation": "send", "pid": {pid}}}' for pid in ("0", "-1", "true", '"1"', "1.0", str(2**31), "9" * 99)),
        *(f'{{"pid": 1, "operation": "create", "snapshots": {names}}}' for names in ("5", '"a"', "[1]", '["a", {}]')),
        *(f'{{"pid": 1, "operation": "send", "bytes_done": {number}}}'
          for number in ("NaN", "Infinity", "-Infinity", "1e999", "-1", "true", '"5"', "[]", str(10**400))),
        *(f'{{"pid": 1, "operation": "send", "id": {text}}}' for text in ("[1]", "5", '"\\u001b[2J"', '"\\ud800"')),
        json.dumps({"pid": 1, **SEND, "target": "x" * 2000}),
        json.dumps({"pid": 1, **SEND}) + " " * runfiles.MAX_BYTES,
    ],
    ids=lambda text: str(text)[:60],
)  # fmt: skip
def test_what_is_not_a_run_file_is_ignored(system: Path, text: str | bytes) -> None:
    assert runfiles.parse(text) is None
    (system / str(UID) / "a.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert runfiles.running() == []


def test_a_run_file_keeps_what_is_known() -> None:
    given = {"pid": 7, **SEND, "bytes_done": 1, "bytes_per_second": 2.5, "bytes_total": None, "more": [1]}
    assert runfiles.parse(json.dumps(given)) == {"pid": 7, **SEND, "bytes_done": 1, "bytes_per_second": 2.5}


def test_what_is_planted_is_neither_read_nor_waited_for(system: Path, tmp_path: Path) -> None:
    own = system / str(UID)
    put(tmp_path / "elsewhere", SEND)
    (own / "link.json").symlink_to(tmp_path / "elsewhere")
    os.link(tmp_path / "elsewhere", own / "hard.json")
    os.mkfifo(own / "fifo.json")
    (own / "folder.json").mkdir()
    with open(own / "huge.json", "wb") as file:
        file.truncate(1 << 40)
    assert runfiles.running() == []


def test_there_is_a_limit_to_run_files(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        put(system / str(UID) / f"{number}.json", SEND)
    monkeypatch.setattr(runfiles, "MAX_FILES", 5)
    assert len(runfiles.running()) == 5


def test_writing_follows_no_link(system: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    run_file = runfiles.RunFile()
    for name in (run_file.name, f"{run_file.name}.new"):
        (system / str(UID) / name).symlink_to(victim)
    run_file.write(SEND)
    assert victim.read_text() == "untouched"
    assert runfiles.running() == [{"pid": os.getpid(), **SEND}]
    run_file.remove()
    assert victim.read_text() == "untouched"


def test_a_run_file_that_cannot_be_written_is_no_error(system: Path) -> None:
    run_file = runfiles.RunFile()
    (system / str(UID) / f"{run_file.name}.new").mkdir()
    run_file.write(SEND)
    run_file.remove()
    _without_folders(system)
    run_file.write(SEND)
    run_file.remove()
    assert runfiles.running() == []


def test_a_folder_that_is_gone_comes_again(system: Path) -> None:
    run_file = runfiles.RunFile()
    run_file.write(SEND)
    (system / str(UID) / run_file.name).unlink()
    (system / str(UID)).rmdir()
    run_file.write(SEND)
    assert len(runfiles.running()) == 1


@as_root
def test_root_hears_from_users_of_its_folders_only_what_they_send(system: Path) -> None:
    folder = folder_of(system, OTHER)
    with process_of(OTHER) as pid:
        put(folder / "send.json", {**SEND, "pid": pid}, OTHER)
        put(folder / "create.json", {**CREATE, "pid": pid}, OTHER)  # prune would keep that for ever
        put(folder / "init.json", {**SEND, "pid": 1}, OTHER)
        put(folder / "roots.json", {**SEND, "pid": pid})
        put(system / "0" / "others.json", {**CREATE, "pid": pid}, OTHER)
        assert runfiles.running() == [{**SEND, "pid": pid}]
        folder.chmod(0o777)
        assert runfiles.running() == []
        folder.chmod(0o700)
        system.chmod(0o1777)
        assert runfiles.running() == []


@as_root
def test_nobody_hears_from_a_folder_in_tmp_of_another_user(tmp_path: Path) -> None:
    for name in (f"cerss.zfs-{OTHER}", "cerss.zfs-0"):
        folder = tmp_path / "tmp" / name
        folder.mkdir()
        put(folder / "a.json", CREATE, OTHER)
        os.chown(folder, OTHER, -1)
    assert runfiles.running() == []


@as_root
def test_other_users_hear_root_and_themselves(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(system / "0" / "a.json", CREATE)
    with process_of(OTHER) as pid, process_of(OTHER - 1) as third:
        put(folder_of(system, OTHER) / "a.json", {**CREATE, "pid": pid}, OTHER)
        put(folder_of(system, OTHER - 1) / "a.json", {**SEND, "pid": third}, OTHER - 1)
        monkeypatch.setattr(os, "getuid", lambda: OTHER)
        assert [run["pid"] for run in runfiles.running()] == [pid, os.getpid()]


# -- leases ----------------------------------------------------------------------------------------------------------


def test_a_lease_has_the_folder_of_the_run_files_in_it(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(runfiles.RUN_ID, ID)
    for _start in range(2):  # the second one is of a module that was started again
        lease = runfiles.Lease()
        assert lease.path == runfiles.lease_path(ID)
        assert lease.path.read_text() == f"{system / str(UID)}\n"
        assert lease.path.stat().st_mode & 0o777 == 0o600
    lease.remove()
    lease.remove()
    assert lease.lost() == "the task was cancelled"


@pytest.mark.parametrize(
    "plant",
    [
        lambda path: path.symlink_to(path.parent / "victim"),
        lambda path: os.link(path.parent / "victim", path),
        lambda path: path.mkdir(),
        os.mkfifo,
        pytest.param(lambda path: put(path, "x", OTHER), marks=as_root),
    ],
)
def test_a_planted_lease_is_refused(plant: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch) -> None:
    victim = runfiles.TEMP_FOLDER / "victim"
    victim.write_text("untouched")
    plant(runfiles.lease_path(ID))
    monkeypatch.setenv(runfiles.RUN_ID, ID)
    with pytest.raises(Refused, match=rf"the lease .*{ID}.lease cannot be written: .*; make .*/tmp writable"):
        runfiles.Lease()
    assert victim.read_text() == "untouched"


# -- locks -----------------------------------------------------------------------------------------------------------


def lock_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.lock"))


def test_only_one_process_has_a_lock(system: Path) -> None:
    with runfiles.lock("backup/v") as alone, runfiles.lock("backup/v") as other, runfiles.lock("backup/w") as another:
        assert (alone, other, another) == (True, False, True)
    assert [file.stat().st_mode & 0o777 for file in lock_files(system / str(UID))] == [0o600] * 2  # for nobody else
    for file in lock_files(system / str(UID)):
        os.utime(file, (0, 0))
    with runfiles.lock("backup/v") as again:
        assert again
        assert sorted(path.stat().st_mtime > 0 for path in lock_files(system / str(UID))) == [False, True]


@pytest.mark.parametrize(
    "plant",
    [
        lambda path: path.symlink_to(path.parent / "victim"),
        lambda path: path.mkdir(),
        os.mkfifo,
        pytest.param(lambda path: put(path, "", OTHER), marks=as_root),
    ],
)
def test_a_lock_that_is_no_file_of_ours_is_refused(system: Path, plant: Callable[[Path], None]) -> None:
    with runfiles.lock("x"):
        (file,) = lock_files(system / str(UID))
    file.unlink()
    plant(file)
    with pytest.raises(Refused, match=r"\.lock cannot be locked: .*; remove it"), runfiles.lock("x"):
        pass
    assert not (file.parent / "victim").exists()


@as_root
def test_root_and_the_users_of_its_folders_exclude_each_other(system: Path) -> None:
    with runfiles.lock("x") as got:
        assert got
        (name,) = (path.name for path in lock_files(system / "0"))
    folder = folder_of(system, OTHER)
    with runfiles.lock("x") as got:
        assert got
        assert list(folder.iterdir()) == []  # root writes nothing there
    put(folder / name, "", OTHER)
    with open(folder / name) as file:
        with runfiles.lock("x") as got:
            assert got
            with pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with runfiles.lock("x") as got:
            assert not got
        os.chown(folder / name, 0, -1)  # nothing that users may not hold is in the way
        with runfiles.lock("x") as got:
            assert got


@as_root
@pytest.mark.parametrize("plant", [lambda path: path.symlink_to("/dev/null"), lambda path: path.mkdir(), os.mkfifo])
def test_what_users_plant_does_not_keep_root_from_its_locks(system: Path, plant: Callable[[Path], None]) -> None:
    with runfiles.lock("x"):
        (name,) = (path.name for path in lock_files(system / "0"))
    plant(folder_of(system, OTHER) / name)
    with runfiles.lock("x") as got:
        assert got
