# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What zfs_snapshot_replicate shows while it runs, and what is left when ansible-playbook ends before it.

The tests build upon each other: the one whose controller is gone altogether waits for its lease while others run.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import lab_command
from harness import Ansible, Backend, until

LINE = re.compile(
    r"backend-a: tank/vol@s -> backend-b:backup/\w+  (\d+) %  [\d.]+ of 8\.\d MiB"
    r"(  [\d.]+ [KM]iB/s  0:\d\d:\d\d left)?$"
)
LEASE = 60
MODULE = "cerss.zfs.zfs_snapshot_replicate"


class Playing:
    """One ansible-playbook that replicates tank/vol of backend-a, in a session of its own like a job of AWX."""

    def __init__(self, ansible: Ansible, replica: str, limit: str | None, play: dict[str, Any] | None = None) -> None:
        options = {
            "name": "tank/vol",
            "target": {"host": "backend-b", "dataset": replica},
            "bandwidth_limit": limit,
            "progress_interval": "1s",
            "retries": 0,
        }
        tell = {"content": "{{ done | to_json }}", "dest": "{{ result }}"}
        here = {"delegate_to": "localhost", "become": False, "vars": {"ansible_connection": "local"}}
        tasks = [{MODULE: options, "register": "done"}, {"ansible.builtin.copy": tell, **here}]
        self.result = ansible.folder / f"{replica.replace('/', '-')}.json"
        book = self.result.with_suffix(".yml")
        book.write_text(json.dumps([{"hosts": "backend-a", "gather_facts": False, "tasks": tasks, **(play or {})}]))
        self.output = self.result.with_suffix(".out")
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [
                    "ansible-playbook",
                    "-i",
                    str(ansible.lab / "inventory.yml"),
                    "-e",
                    f"result={self.result}",
                    str(book),
                ],
                env={**os.environ, **ansible.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Playing:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self.tree() if self.process.poll() is None else []:
            os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def lines(self) -> list[str]:
        return [line for line in self.output.read_text().splitlines() if line.startswith("backend-a: ")]

    def moving(self) -> None:
        """Wait until a line has come that shows a transfer under way."""

        def moves() -> bool:
            assert self.process.poll() is None, self.output.read_text()
            return any("  0 %" not in line for line in self.lines())

        until(moves, 120)

    def finished(self) -> dict[str, Any]:
        self.process.wait(120)
        assert self.process.returncode == 0, self.output.read_text()
        return dict(json.loads(self.result.read_text()))

    def tree(self) -> list[int]:
        """The process and all below it, whatever their session; they are stopped so that the list stays true."""
        found = [self.process.pid]
        for pid in found:
            os.kill(pid, signal.SIGSTOP)
            for task in Path(f"/proc/{pid}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        return found


def transfers(backends: list[Backend], replica: str) -> list[str]:
    """What of a transfer into the replica runs on either machine; a sender is known by the ssh that it feeds."""
    listing = "".join(backend.run(["ps", "-eo", "args="]).stdout for backend in backends)
    return [line for line in listing.splitlines() if re.match(rf"(zfs receive|ssh) .*{replica}$", line)]


def sends(backend: Backend) -> int:
    return backend.run(["ps", "-eo", "args="]).stdout.count("\nzfs send ")


def left_files(backend: Backend) -> str:
    folders = "/run/cerss.zfs /tmp/cerss.zfs-* /root/.ansible_async /home/*/.ansible_async"
    return backend.run(f"find {folders} -type f ! -name '*.lock' 2>/dev/null; :").stdout


def token(backend: Backend, replica: str) -> str:
    return backend.zfs("get", "-H", "-o", "value", "receive_resume_token", replica).strip()


@pytest.fixture(scope="module")
def pair(lab: Path, lab_backends: list[Backend]) -> list[Backend]:
    lab_command("reset", "--dir", lab)
    pair = lab_backends[:2]
    pair[0].zfs("create", "tank/vol")
    pair[0].fill("tank/vol", 8)
    pair[0].zfs("snapshot", "tank/vol@s")
    return pair


@pytest.fixture(scope="module")
def forsaken(ansible: Ansible, pair: list[Backend]) -> float:
    """When the controller of a transfer into backup/forsaken was killed, with each of its processes."""
    with Playing(ansible, "backup/forsaken", "60K") as playing:
        playing.moving()
    return time.monotonic()


def test_lines_and_result(ansible: Ansible, pair: list[Backend], forsaken: float) -> None:
    """Lines come while the task runs, with become, and its result has what the module run plainly has."""
    with Playing(ansible, "backup/seen", "1M", {"remote_user": "operator", "become": True}) as playing:
        playing.moving()
        result = playing.finished()
    shown = [LINE.match(line) for line in playing.lines()]
    assert all(shown), playing.lines()
    percents = [int(line[1]) for line in shown if line]
    assert percents == sorted(percents)
    assert result["replicas"][0]["state"] == "full"
    assert result["changed"]

    task = {MODULE: {"name": "tank/vol", "target": {"host": "backend-b", "dataset": "backup/other"}}}
    (plain,) = ansible.run_tasks("backend-a", [task], check=True)
    known = {"invocation", "failed", "diff"}  # the other task is run in diff mode
    assert set(result) - known == {key for key in plain if not key.startswith("_")} - known


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_end_of_the_play(ansible: Ansible, pair: list[Backend], forsaken: float, number: signal.Signals) -> None:
    """The transfer ends with ansible-playbook, not with its lease, and can be resumed."""
    replica = f"backup/{number.name.lower()}"
    with Playing(ansible, replica, "200K") as playing:
        playing.moving()
        assert transfers(pair, replica)
        playing.process.send_signal(number)
        until(lambda: not transfers(pair, replica), LEASE / 2)
        assert playing.process.wait(30) != 0
    assert token(pair[1], replica) != "-"


def test_lease(ansible: Ansible, pair: list[Backend], forsaken: float) -> None:
    """With nobody left to renew it, the lease ends the transfer."""
    until(lambda: not transfers(pair, "backup/forsaken"), LEASE + 60)
    assert time.monotonic() - forsaken > LEASE / 2
    assert token(pair[1], "backup/forsaken") != "-"
    assert not sends(pair[0])
    assert not left_files(pair[0])


def test_resume(ansible: Ansible, pair: list[Backend], forsaken: float) -> None:
    with Playing(ansible, "backup/forsaken", None) as playing:
        assert playing.finished()["replicas"][0]["resumed"]
    assert pair[0].checksum("tank/vol@s") == pair[1].checksum("backup/forsaken@s")
