# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""With real programs that print and end as zfs does."""

from __future__ import annotations

import os
import platform
import shlex
import stat
import tempfile
from pathlib import Path

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.endpoint import Endpoint
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import (
    Busy,
    LoginRefused,
    NotFound,
    TimedOut,
    ZfsError,
)
from ansible_collections.cerss.zfs.plugins.module_utils._host import process
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend, session

MISSING = "cannot open 'tank/x': dataset does not exist"


def program(stdout: str = "", stderr: str = "", rc: int = 0) -> list[str]:
    script = f"printf %s {shlex.quote(stdout)}; printf %s {shlex.quote(stderr)} >&2; exit {rc}"
    return ["sh", "-c", script]


def test_a_failure_is_an_error_of_its_kind() -> None:
    with pytest.raises(Busy, match="dataset is busy"):
        Backend().run(program(stderr="cannot destroy 'tank/v': dataset is busy", rc=1))


def test_a_failure_without_check_is_a_result() -> None:
    result = Backend().run(program("out", "err", 3), check=False)
    assert (result.rc, result.stdout, result.stderr) == (3, "out", "err")


def test_a_missing_program_is_an_error() -> None:
    with pytest.raises(ZfsError, match="command not found"):
        Backend().run(["cerss-zfs-no-such-program"])


def test_a_command_that_takes_too_long_is_stopped() -> None:
    with pytest.raises(TimedOut, match=r"sleep 0 60 did not end within 0\.1 s"):
        Backend().run(["sleep", "0", "60"], timeout=0.1)


def test_read_tells_missing_names_from_failures() -> None:
    assert Backend().read(program("a\nb\x0b\n", MISSING, 1)) == (["a", "b\x0b"], ["tank/x"])
    with pytest.raises(ZfsError, match="I/O error"):
        Backend().read(program("a\n", f"{MISSING}\ncannot iterate filesystems: I/O error", 1))
    with pytest.raises(ZfsError, match="exit status 1"):
        Backend().read(program(rc=1))


def test_a_login_that_is_refused_on_stdout_is_told() -> None:
    refused = program("This account is currently not available.\n", rc=1)
    for run in (Backend().run, Backend().read):
        with pytest.raises(LoginRefused, match=r"currently not available\. .* /bin/sh"):
            run(refused)


@pytest.mark.parametrize(
    ("text", "failures", "tries"),
    [
        ("kex_exchange_identification: Connection closed by remote host", 2, 3),
        ("kex_exchange_identification: read: Connection reset by peer", 9, 4),
        ("ssh_exchange_identification: Connection closed by remote host", 1, 2),
        ("Connection timed out during banner exchange", 1, 2),
        # the command may have run
        ("client_loop: send disconnect: Broken pipe", 9, 1),
        ("Connection to b closed by remote host.", 9, 1),
        ("b: Permission denied (publickey).", 9, 1),
    ],
)
def test_a_connection_that_sshd_turns_away_is_tried_again(
    text: str, failures: int, tries: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda *_: 0.0)
    log = tmp_path / "log"
    enough = f"[ $(wc -l < {log}) -gt {failures} ] && exit 0"
    (tmp_path / "ssh").write_text(f"#!/bin/sh\necho >> {log}\n{enough}\necho {shlex.quote(text)} >&2; exit 255")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setattr(process, "SEARCH_PATH", f"{tmp_path}:{process.SEARCH_PATH}")
    result = Backend(Endpoint("b"), retries=3).run(["true"], check=False)
    assert (len(log.read_text()), result.rc == 0) == (tries, failures < tries)


def test_what_a_login_script_writes_to_stderr_is_passed_over() -> None:
    noisy = program("a\n", f"stty: 'standard input': Inappropriate ioctl for device\n{MISSING}\nbye", 1)
    missing: list[str] = []
    assert Backend().read(noisy) == (["a"], ["tank/x"])
    assert (list(Backend().lines(noisy, missing)), missing) == (["a"], ["tank/x"])
    with pytest.raises(ZfsError, match="stty"):
        Backend().read(program("", "stty: 'standard input': Inappropriate ioctl for device", 1))


def test_lines_add_missing_names_at_the_end() -> None:
    missing: list[str] = []
    assert list(Backend().lines(program("a\nb\n", MISSING, 1), missing)) == ["a", "b"]
    assert missing == ["tank/x"]


def test_lines_without_a_list_for_missing_names_fail() -> None:
    with pytest.raises(NotFound):
        list(Backend().lines(program("a\n", MISSING, 1)))


def test_the_name_of_this_host_is_used_in_marks() -> None:
    assert Backend().node == platform.node()
    assert Backend(Endpoint("b")).node == "b"


def test_over_ssh_fewer_names_fit_into_a_command_line() -> None:
    assert Backend(Endpoint("b")).argument_bytes < 128 * 1024 < Backend().argument_bytes


def test_a_session_removes_its_folders() -> None:
    with session(Endpoint(), Endpoint()) as backends:
        folders = [Path(backend.endpoint.control_dir or "") for backend in backends]
        assert [stat.S_IMODE(os.stat(folder).st_mode) for folder in folders] == [0o700, 0o700]
    assert not any(folder.exists() for folder in folders)


@pytest.mark.parametrize("length", [10, 34, 35, 60, 104])
def test_a_socket_has_room_for_its_name(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """unix(7) has 108 bytes. ssh adds %C, 40 digits, and 17 characters while it listens."""
    folder = Path("/tmp/" + "t" * (length - 5))
    folder.mkdir(exist_ok=True)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    try:
        with session(Endpoint("b"), Endpoint()) as (backend, _other):
            (path,) = [word for word in backend.argv(["true"]) if word.startswith("ControlPath=")]
            assert len(path.partition("=")[2].replace("%C", "0" * 40)) + 17 < 108
    finally:
        folder.rmdir()
