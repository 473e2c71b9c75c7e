# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from harness import LAB, Ansible, Backend, Case, Failed, diff_dumps, lab_command

POOLS = {"tank", "backup"}


def clock_offset(backend: Backend) -> float:
    """How far the guest's clock is from ours, the way there and back left out."""
    best = min((_asked(backend) for _round in range(3)), key=lambda pair: pair[1])
    return best[0]


def _asked(backend: Backend) -> tuple[float, float]:
    before = time.time()
    theirs = float(backend.run("date +%s.%N").stdout)
    after = time.time()
    return theirs - (before + after) / 2, after - before


def lab_processes(folder: Path) -> list[str]:
    """Command lines of all processes that name the lab's folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in line and entry.parent.name != str(os.getpid()):
            found.append(line.replace(b"\0", b" ").decode(errors="replace"))
    return found


def gone(folder: Path, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while lab_processes(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not lab_processes(folder)


def test_fresh_pools_and_free_disk(backends: list[Backend]) -> None:
    for backend in backends:
        assert set(backend.dump()) == POOLS
        assert backend.run("cat /sys/block/vdd/size").stdout.strip() == str(2 * 2**30 // 512)
        assert backend.run(["sudo", "-n", "zfs", "version"], user="operator").stdout


def test_machines_differ(backends: list[Backend]) -> None:
    a, b = backends[:2]
    for question in ("hostname", "cat /etc/ssh/ssh_host_ed25519_key",
                     "zpool get -H -o value guid tank", "cat /root/.ssh/id_ed25519"):  # fmt: skip
        assert a.run(question).stdout != b.run(question).stdout, question


def test_wire(backends: list[Backend]) -> None:
    a, b = backends[:2]
    for here, there in ((a, b), (b, a)):
        for user in ("root", "operator"):
            said = here.run(["ssh", "-o", "BatchMode=yes", there.name, "hostname"], user=user).stdout
            assert said.strip() == there.name
        assert here.run(["ssh", "-o", "BatchMode=yes", there.address, "hostname"]).stdout.strip() == there.name


def test_reset_clears_everything(lab: Path, backends: list[Backend]) -> None:
    a = backends[0]
    old = a.zfs("get", "-H", "-o", "value", "guid", "tank")
    a.run("zfs create tank/v && zfs snapshot tank/v@s && zfs hold keep tank/v@s && zpool create -f extra /dev/vdd")
    a.run("(cd /tank/v && exec sleep 600) > /dev/null 2>&1 < /dev/null & mkdir -p /run/cerss.zfs")
    a.run("mkfifo /run/full && (setsid sh -c 'exec zfs send tank/v@s > /run/full' &) > /dev/null 2>&1")
    lab_command("reset", "--dir", lab, a.name)
    assert set(a.dump()) == POOLS
    assert a.zfs("get", "-H", "-o", "value", "guid", "tank") != old
    assert a.run("pgrep -x zfs || test -e /run/cerss.zfs", check=False).returncode == 1
    a.run("rm /run/full")


def test_restore(lab: Path, backends: list[Backend]) -> None:
    a = backends[0]
    a.run("zfs create tank/v && touch /root/left /tank/v/left && date -s 2001-01-01 > /dev/null")
    lab_command("restore", "--dir", lab, a.name)
    assert set(a.dump()) == POOLS
    assert a.run("ls /root/left", check=False).returncode
    assert abs(clock_offset(a)) < 2
    first = a.run("zfs create tank/v && zfs get -H -o value guid tank/v").stdout
    lab_command("restore", "--dir", lab, a.name)
    assert a.run("zfs create tank/v && zfs get -H -o value guid tank/v").stdout != first, "the same GUID twice"


def test_power_cycle_keeps_what_was_written(lab: Path, backends: list[Backend]) -> None:
    a = backends[0]
    a.zfs("create", "tank/v")
    a.fill("tank/v", 8, seed=7)
    a.zfs("snapshot", "tank/v@s")
    a.run("echo written > /root/kept && sync")
    boot, before, content = a.run("cat /proc/sys/kernel/random/boot_id").stdout, a.dump(), a.checksum("tank/v@s")
    lab_command("power-cycle", "--dir", lab, a.name)
    assert a.run("cat /proc/sys/kernel/random/boot_id").stdout != boot
    assert not diff_dumps(before, a.dump())
    assert a.checksum("tank/v@s") == content
    assert a.run("cat /root/kept").stdout == "written\n"
    assert abs(clock_offset(a)) < 2
    backends[1].run(["ssh", "-o", "BatchMode=yes", a.name, "true"])


def test_up_twice_and_a_dead_machine(lab: Path, backends: list[Backend]) -> None:
    pids = lab_command("status", "--dir", lab).stdout
    assert "is up" in lab_command("up", "--dir", lab).stderr
    assert lab_command("status", "--dir", lab).stdout == pids
    pid = int(next(line for line in pids.splitlines() if line.startswith("backend-b")).split("pid ")[1].split(",")[0])
    os.kill(pid, signal.SIGKILL)
    lab_command("up", "--dir", lab)
    assert set(backends[1].dump()) == POOLS
    assert lab_command("status", "--dir", lab).returncode == 0


@pytest.mark.parametrize("ending", ["done", "fails", "terminated", "killed"])
def test_run_leaves_no_machine(tmp_path: Path, ending: str) -> None:
    inside = {"done": "true", "fails": "exit 3"}.get(ending, f"echo $$ > {tmp_path}/pid; echo started; exec sleep 600")
    process = subprocess.Popen(
        [sys.executable, str(LAB), "run", "--machines", "1", "--dir", str(tmp_path), "--", "sh", "-c",
         f"ssh -F $CERSS_LAB_DIR/ssh_config backend-a zpool list > {tmp_path}/pools; {inside}"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    if ending in ("terminated", "killed"):
        assert process.stdout.readline() == "started\n"
        process.send_signal(signal.SIGTERM if ending == "terminated" else signal.SIGKILL)
    code = process.wait(60)
    process.stdout.close()
    assert code == {"done": 0, "fails": 3, "terminated": 143, "killed": -9}[ending]
    assert "tank" in (tmp_path / "pools").read_text()
    if ending == "killed":  # nobody is left to end its command
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert gone(tmp_path), lab_processes(tmp_path)
    assert not list(tmp_path.glob("backend-*"))


def test_unknown_machine_is_named(lab: Path) -> None:
    done = lab_command("restore", "--dir", lab, "backend-z", check=False)
    assert done.returncode == 1
    assert "backend-z" in done.stderr
    assert "backend-a" in done.stderr


def test_checksum_tells_contents_apart(backends: list[Backend]) -> None:
    a, b = backends[:2]
    for backend, seed in ((a, 1), (b, 2)):
        backend.run("zfs create tank/f && zfs create -V 16M tank/z")
        for dataset in ("tank/f", "tank/z"):
            backend.fill(dataset, 4, seed)
            backend.zfs("snapshot", f"{dataset}@s")
        before = backend.dump()
        sums = {dataset: backend.checksum(f"{dataset}@s") for dataset in ("tank/f", "tank/z")}
        assert sums == {dataset: backend.checksum(f"{dataset}@s") for dataset in ("tank/f", "tank/z")}
        assert not diff_dumps(before, backend.dump())
    assert a.checksum("tank/z@s") != b.checksum("tank/z@s")
    assert a.checksum("tank/f@s") != b.checksum("tank/f@s")
    ship = f"zfs send tank/f@s | ssh {b.name} zfs receive -u tank/copy"
    a.run(ship)
    assert a.checksum("tank/f@s") == b.checksum("tank/copy@s")


def test_inventory(ansible: Ansible, backends: list[Backend]) -> None:
    results = ansible.run_tasks("backends", [{"ansible.builtin.ping": {}}])
    assert {r["_host"]: r["ping"] for r in results} == {backend.name: "pong" for backend in backends}


def test_four_times(ansible: Ansible, backends: list[Backend]) -> None:
    name = backends[0].name
    good = {"ansible.builtin.file": {"path": "/root/made", "state": "directory"}}
    bad = {"ansible.builtin.file": {"path": "/proc/nothing", "state": "file"}}
    first, second = ansible.four_times_many(name, [good, Case(bad, fails=True)])
    assert [result["changed"] for result in first] == [True, True, False, False]
    assert all("nothing" in result["msg"] for result in second)


@pytest.mark.parametrize(
    ("task", "complaint"),
    [
        ({"ansible.builtin.command": "zfs create -p tank/x"}, "changed in check mode"),
        ({"ansible.builtin.shell": "zfs set user:n=$RANDOM$(date +%N) tank", "changed_when": False}, "said unchanged"),
        ({"ansible.builtin.command": "false"}, "non-zero return code"),
    ],
)  # fmt: skip
def test_four_times_notices(ansible: Ansible, backends: list[Backend], task: dict[str, object], complaint: str) -> None:
    """The harness can fail: a module that ignores check mode, one that hides a change, one that just fails."""
    with pytest.raises((AssertionError, Failed), match=complaint):
        ansible.four_times(backends[0].name, task)
