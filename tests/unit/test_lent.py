# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys for one run: where they are, what lets them in, and that all of it goes."""

from __future__ import annotations

import base64
import errno
import getpass
import importlib.util
import io
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from ansible_collections.cerss.zfs.tests.unit import controller

# Those who wait outlive the program on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")

ROOT = Path(__file__).parents[2]
FILES = ROOT / "roles" / "zfs_peer" / "files"
KEY = "ssh-ed25519 AAAA"
PARTS = {name: (FILES / name).read_text() for name in ("lent.py", "authorized_keys.py")}
ADMINISTRATOR = "# mine\nssh-rsa BBBB admin cerss.zfs:lent:not one\n"


def load() -> Any:
    spec = importlib.util.spec_from_file_location("lent", FILES / "lent.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


lent = load()
MOUNTS = "/dev/vda / ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\nshm /dev/shm tmpfs rw 0 0\nx /run/lock ext4 rw 0 0\nbad\n"


@pytest.mark.parametrize(
    ("path", "more", "kind"),
    [
        ("/run", "", "tmpfs"),
        ("/run/a", "", "tmpfs"),
        ("/runner", "", "ext4"),
        ("/run/lock/a", "", "ext4"),
        ("/run", "x /run ext4 rw 0 0\n", "ext4"),
        ("/dev/shm", "", "tmpfs"),
        ("/dev", "", "ext4"),
    ],
)
def test_type_of_the_filesystem(path: str, more: str, kind: str) -> None:
    assert lent.type_of(path, MOUNTS + more) == kind
    assert lent.type_of(path, "") == ""


def line(until: str, name: str) -> str:
    return f'restrict,from="::1",expiry-time="{until}",command="x" {KEY} cerss.zfs:lent:{name}'


def test_only_loans_that_are_over_are_forgotten() -> None:
    text = "\n".join([
        line("20260101000000", "over"), line("20270101000000", "young"), "#" + line("20260101000000", "out"),
        f"restrict {KEY} cerss.zfs:lent:timeless", f"{KEY} admin", line("20260101000000", "mine") + " not",
    ])  # fmt: skip
    assert lent.expired(text, "20260601000000") == ["over"]


class Host:
    """A user with a home, and what was lent."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.module, self.home = load(), folder / "home"
        self.home.mkdir(parents=True)
        self.keys = self.home / ".ssh" / "authorized_keys"
        self.owner = os.getuid()
        monkeypatch.setattr(self.module, "pwd", SimpleNamespace(getpwuid=pwd.getpwuid, getpwnam=self.account))
        self.made: list[str] = []

    def account(self, name: str) -> Any:
        if name != getpass.getuser():
            raise KeyError(name)
        return SimpleNamespace(pw_dir=str(self.home), pw_uid=self.owner, pw_gid=self.owner)

    def borrow(self, lifetime: float = 60, **more: Any) -> list[str]:
        files = {"files": PARTS, "lifetime": lifetime}
        made = self.module.make({**files, "type": "ed25519", "place": "[b]:7", "host_keys": ["ssh-ed25519 CC root@b"]})
        self.made.append(made["folder"])
        accepted = self.module.accept({
            **files, "user": getpass.getuser(), "public": made["public"], "from": ["::1", "192.0.2.1"],
            "gate": ["receive", "tank/a b"], **more,
        })  # fmt: skip
        self.made.append(accepted["folder"])
        return [made["folder"], accepted["folder"]]

    def waiting(self) -> list[int]:
        """The processes that wait for the end of a loan."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            found += [int(path.parent.name)] if "wait" in words and set(words) & set(self.made) else []
        return found

    def forgotten(self) -> bool:
        return not any(map(os.path.exists, self.made)) and not self.waiting()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    host = Host(tmp_path, monkeypatch)
    monkeypatch.setattr(host.module, "LOOK", 0.1)
    monkeypatch.setitem(PARTS, "lent.py", (FILES / "lent.py").read_text().replace("LOOK = 2.0", "LOOK = 0.1"))
    yield host
    for pid in host.waiting():
        os.kill(pid, signal.SIGKILL)
    for folder in host.made:
        shutil.rmtree(folder, ignore_errors=True)


def folders() -> set[str]:
    return {str(path) for place in lent.PLACES for path in Path(place).glob("cerss.zfs_lent_*")}


def until(true: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("before", [None, ADMINISTRATOR])
def test_what_was_lent_goes_when_it_is_given_back(
    host: Host, before: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, also the processes that wait."""
    monkeypatch.setitem(PARTS, "lent.py", PARTS["lent.py"].replace("LOOK = 0.1", "LOOK = 600.0"))
    if before is not None:
        host.keys.parent.mkdir()
        host.keys.write_text(before)
        host.keys.chmod(0o600)
    here, there = host.borrow()
    assert (os.stat(here).st_mode & 0o777, os.stat(f"{here}/key").st_mode & 0o777) == (0o700, 0o600)
    assert Path(here, "known_hosts").read_text() == "[b]:7 ssh-ed25519 CC\n"
    added = host.keys.read_text().removeprefix(before or "")
    guard = host.module.GUARD % os.geteuid()
    gate = f"{sys.executable} -I -c '{guard}' {there}/gate.py receive 'tank/a b'".replace('"', '\\"')
    assert added.startswith('restrict,from="::1,192.0.2.1",expiry-time="2')
    assert f',command="{gate}" ssh-ed25519 ' in added
    assert (added.endswith(f" cerss.zfs:lent:{Path(there).name}\n"), added.count("\n")) == (True, 1)
    assert len(host.waiting()) == 2
    for folder in (here, there):
        assert host.module.end(folder) == {"changed": True}
        assert host.module.end(folder) == {"changed": False}
    until(host.forgotten)
    assert host.keys.read_text() == before if before else not host.keys.parent.exists()
    assert not before or host.keys.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_last_of_several_loans_takes_away_what_the_first_has_made(host: Host, order: tuple[int, int]) -> None:
    places = [host.borrow()[1] for _number in range(2)]
    host.module.end(places[order[0]])
    assert Path(places[order[1]]).name in host.keys.read_text()
    host.module.end(places[order[1]])
    assert not host.keys.parent.exists()


def test_what_nobody_gives_back_goes_when_it_has_expired(host: Host) -> None:
    host.keys.parent.mkdir()
    host.keys.write_text(ADMINISTRATOR)
    host.borrow(lifetime=1.5)
    assert len(host.waiting()) == 2
    until(host.forgotten)
    assert host.keys.read_text() == ADMINISTRATOR


def test_what_a_restart_leaves_goes_with_the_next_loan(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is empty then, and only the line is there. Where just those who waited were killed, all of it is."""
    monkeypatch.setattr(host.module, "LATE", 0.0)
    here, there = host.borrow(lifetime=2)
    for pid in host.waiting():
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(there)
    time.sleep(3.1)
    host.borrow()
    assert not os.path.exists(here)
    assert host.keys.read_text().count("\n") == 1
    assert Path(there).name not in host.keys.read_text()


@pytest.mark.parametrize(
    ("told", "msg"),
    [
        ({"public": f"{KEY}\n{KEY}"}, "is not a public key"),
        ({"public": f"{KEY} comment"}, "is not a public key"),
        ({"from": ["::1", f'::2" {KEY} #']}, "are not its addresses"),
        ({"from": ["*"]}, "are not its addresses"),
        ({"from": []}, "are not its addresses"),
    ],
)
def test_the_other_host_cannot_let_in_more_than_the_job(host: Host, told: Any, msg: str) -> None:
    before = folders()
    with pytest.raises(SystemExit, match=msg):
        host.borrow(**told)
    assert not host.keys.exists()
    assert folders() - before == set(host.made)


def test_a_loan_that_fails_half_way_leaves_nothing(host: Host) -> None:
    before = folders()
    host.keys.parent.mkdir()
    host.keys.mkdir()
    with pytest.raises(SystemExit, match="authorized_keys in the folder of the keys is not a regular file"):
        host.borrow()
    with pytest.raises(SystemExit, match="there is no user stranger here; name another one"):
        host.borrow(user="stranger")
    assert folders() - before == set(host.made)  # of the host that logs in


@pytest.mark.parametrize("plant", [os.mkfifo, lambda path: os.symlink("/dev/zero", path)])
def test_what_cannot_be_read_to_its_end_does_not_keep_the_gate(host: Host, plant: Any) -> None:
    _here, there = host.borrow()
    host.keys.unlink()
    plant(host.keys)
    with pytest.raises(SystemExit, match="not a regular file"):
        host.module.end(there)
    assert not os.path.exists(there)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can create what belongs to somebody else")
@pytest.mark.parametrize("waits", [False, True])
def test_a_folder_that_somebody_else_has_put_in_the_place_of_ours_is_left_alone(host: Host, waits: bool) -> None:
    """Anybody can, in /dev/shm, and whatever ends the loan would run the program in it."""
    here, there = host.borrow(lifetime=2)
    for place in (here, there):
        host.module.end(place)
        Path(place).mkdir()
        Path(place, "lent.json").write_text(
            json.dumps({"until": 0, "keys": str(host.keys), "made": [], "user": "root"})
        )
        Path(place, "authorized_keys.py").write_text(f"open({str(host.home / 'ran')!r}, 'w')")
        os.chown(place, 65534, 65534)
    if waits:
        until(lambda: not host.waiting())
    else:
        assert [host.module.end(place) for place in (here, there)] == [{"changed": False}] * 2
        host.module.sweep()
    assert not Path(host.home, "ran").exists()
    assert all(map(os.path.exists, (here, there)))


def test_a_full_memory_or_disk_leaves_nothing(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    full = mock.Mock(side_effect=OSError(errno.ENOSPC, "No space left on device"))
    before = folders()
    monkeypatch.setattr(json, "dumps", full)
    with pytest.raises(OSError, match="No space left"):
        host.borrow()
    assert folders() == before
    monkeypatch.undo()
    monkeypatch.setattr(host.module, "pwd", SimpleNamespace(getpwuid=pwd.getpwuid, getpwnam=host.account))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        host.borrow()
    assert folders() - before == set(host.made)  # of the host that logs in
    assert not host.keys.parent.exists()


def test_a_line_that_a_restart_leaves_starts_only_our_gate(host: Host) -> None:
    """As long as it has not expired, the other host may go on to log in."""
    _here, there = host.borrow()
    command = host.keys.read_text().split('command="')[1].split('" ssh-')[0].replace('\\"', '"')
    gate = Path(there, "gate.py")

    def login() -> tuple[str, str]:
        run = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
        return run.stdout, run.stderr

    gate.write_text("import sys; print(__name__, sys.argv, __file__ == sys.argv[0])")
    assert login() == (f"__main__ {[str(gate), 'receive', 'tank/a b']} True\n", "")
    if os.geteuid() == 0:
        os.chown(there, 65534, 65534)
        assert login() == ("", "the access for this run is over\n")
        os.chown(there, 0, 0)
    host.module.end(there)
    assert login() == ("", "the access for this run is over\n")


@pytest.fixture
def groups_of_root() -> Any:
    """As after sudo."""
    before = os.getgroups()
    os.setgroups([0])
    yield
    os.setgroups(before)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may write where the user may not")
@pytest.mark.parametrize("mode", [0o755, 0o775])
def test_a_link_in_the_home_of_the_user_is_not_followed_as_root(
    host: Host, tmp_path: Path, mode: int, groups_of_root: None
) -> None:
    """Nor as one of its groups."""
    host.owner = 65534
    os.chown(host.home, 65534, 65534)
    for folder in (tmp_path, *tmp_path.parents):  # otherwise these keep the user out
        folder.chmod(folder.stat().st_mode | 0o111)
    (tmp_path / "roots").mkdir()
    (tmp_path / "roots").chmod(mode)
    host.keys.parent.symlink_to(tmp_path / "roots")
    with pytest.raises(PermissionError):
        host.borrow()
    assert os.listdir(tmp_path / "roots") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can create what belongs to somebody else")
@pytest.mark.parametrize(("owner", "mode"), [(65533, 0o755), (0, 0o1777)])
def test_a_home_that_others_can_write_to_gets_no_key(host: Host, owner: int, mode: int) -> None:
    """It might have a link of theirs, which root would follow."""
    host.owner = 65534
    os.chown(host.home, owner, owner)
    host.home.chmod(mode)
    with pytest.raises(SystemExit, match=r"others than root and .* can write to"):
        host.borrow()
    assert os.listdir(host.home) == []


def test_a_key_expires_by_the_clock_of_sshd(host: Host, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """The time zone of a play, or of the user that logs in, is not that of sshd."""
    given = {
        "files": PARTS, "lifetime": 60, "user": getpass.getuser(), "public": KEY, "from": ["::1"], "gate": ["send"],
    }  # fmt: skip
    expected = time.strftime(host.module.TIME, time.localtime(time.time() + 60))
    monkeypatch.setenv("TZ", "Pacific/Kiritimati" if time.timezone >= 0 else "Pacific/Midway")
    time.tzset()  # as in a program that starts so
    monkeypatch.setattr(sys, "stdin", io.StringIO(base64.b64encode(json.dumps(given).encode()).decode()))
    host.module.main("accept")
    host.made.append(json.loads(capsys.readouterr().out)["folder"])
    found = host.module.OURS.match(host.keys.read_text().splitlines()[0])["until"]
    assert abs(int(found) - int(expected)) < 10**4  # an hour


def test_the_program_comes_with_what_it_is_given() -> None:
    """As the role starts it."""
    start = (ROOT / "roles" / "zfs_peer" / "vars" / "main.yml").read_text()
    program = start.split("    import base64")[1].split('["lent.py"])')[0]
    code = " ".join(f'import base64{program}["lent.py"])'.split())
    given = base64.b64encode(json.dumps({"files": PARTS, "folder": "/dev/shm/other"}).encode())
    run = subprocess.run([sys.executable, "-I", "-c", code, "end"], input=given, capture_output=True, check=False)
    assert run.stderr == b"/dev/shm/other is not the folder of a loan\n"


LOAN = {
    "name": "t", "host": "b", "address": "no-such-host.invalid", "port": 22, "user": "root", "job": "receive",
    "root": "backup", "properties": [], "lifetime": 60,
}  # fmt: skip
LOST = [{"host": "b", "folder": "/dev/shm/cerss.zfs_lent_b"}, {"host": "a", "folder": "/dev/shm/cerss.zfs_lent_a"}]


@controller.SUPPORTED
@pytest.mark.parametrize(
    ("part", "given", "why"),
    [
        (
            "lend",
            {"__zfs_peer_lend": [LOAN]},
            "a has no access to b for this run: no-such-host.invalid has no address here",
        ),
        (
            "give_back",
            {"zfs_peer_loans": LOST},
            r"expires on b \(.*\); remove /dev/shm/cerss.zfs_lent_b there, and the line",
        ),
    ],
)
def test_a_failure_names_its_reason(tmp_path: Path, part: str, given: Any, why: str) -> None:
    role = {"name": str(ROOT / "roles" / "zfs_peer"), "tasks_from": part}
    play = {"hosts": "a", "gather_facts": False, "vars": given, "tasks": [{"ansible.builtin.include_role": role}]}
    nowhere = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    hosts = {"a": {"ansible_connection": "local"}, "b": nowhere}
    every = {"ansible_python_interpreter": sys.executable}
    (tmp_path / "play.json").write_text(json.dumps([play]))
    (tmp_path / "inventory.yml").write_text(json.dumps({"all": {"vars": every, "hosts": hosts}}))
    settings = {"HOME": str(tmp_path), "LOCAL_TEMP": str(tmp_path / "tmp"), "REMOTE_TMP": str(tmp_path / "tmp")}
    program = Path(sys.executable).with_name("ansible-playbook")
    run = subprocess.run([program, "-i", "inventory.yml", "play.json"], cwd=tmp_path,
                         env=controller.environment(settings), capture_output=True, text=True, check=False)  # fmt: skip
    (failed,) = re.findall(rf'"msg": "[^"]*{why}[^"]*"', run.stdout) or [run.stdout + run.stderr]
    assert failed.startswith('"msg"'), failed
