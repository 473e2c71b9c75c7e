# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""zfs_schedule: a host that replicates by itself, as the service user, and a clock that is moved for it."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from gated import BECOME, Gated
from harness import CLONE, Ansible, Backend, lab_command, until
from test_trust import changed

UNIT = "cerss-zfs-jobs"
PLACES = ["/opt/cerss.zfs", f"/run/{UNIT}", f"/var/lib/systemd/timers/stamp-{UNIT}.timer"]
ALARM = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo %i >> /root/alarms'\n"
# The core that CI knows best, by the oldest Python that it runs on
CORES = {(3, 12): "2.21", (3, 11): "2.18"}


def packages(backend: Backend, folder: Path) -> Path:
    """The packages for the Python of the machine, which has no way to an index."""
    version = backend.run(["python3", "-c", "import sys; print(*sys.version_info[:2], sep='.')"]).stdout.strip()
    core = next(core for oldest, core in CORES.items() if tuple(map(int, version.split("."))) >= oldest)
    platforms = [f"--platform=manylinux{kind}_{platform.machine()}" for kind in ("2014", "_2_17", "_2_28")]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(folder), "--only-binary", ":all:"]
    pins = ["--constraint", str(CLONE / "requirements" / f"core-{core}.txt"), "ansible-core", "pip"]
    subprocess.run([*command, "--python-version", version, *platforms, *pins], check=True)
    return folder


class Scheduled:
    """backend-a, which replicates tank/vol to backend-b each night at four."""

    def __init__(self, gated: Gated, wheels: Path) -> None:
        self.gated, self.here, self.there = gated, gated.a, gated.b
        self.variables: Mapping[str, Any] = {
            "zfs_schedule_wheels": str(wheels),
            "zfs_schedule_packages": [],
            "zfs_schedule_requirements": ["ansible-core"],
            "zfs_schedule_playbook": "cerss.zfs.replicate",
            "zfs_schedule_on_calendar": "*-*-* 04:00",
            "zfs_schedule_on_failure": ["alarm@%N.service"],
            "zfs_schedule_vars": {
                "zfs_replicate_name": "tank/vol",
                "zfs_replicate_target_host": gated.b.name,
                "zfs_replicate_target_parent": gated.RECEIVE,
            },
        }

    def role(self, check: bool = False, **more: Any) -> list[str]:
        """The tasks that have changed something."""
        task = {"name": "schedule", "ansible.builtin.include_role": {"name": "cerss.zfs.zfs_schedule"}}
        task["vars"] = {**self.variables, **more}
        play = {"hosts": self.here.name, "gather_facts": False, "become": True, "check_mode": check, "tasks": [task]}
        return [task.partition(": ")[2] for task in changed(self.gated.ansible.play([play]))]

    def runs(self) -> int:
        """How often systemd has started the service."""
        log = self.here.run(["journalctl", "-u", f"{UNIT}.service", "-o", "cat", "--no-pager"]).stdout
        return log.count("Starting ")

    def printed(self) -> str:
        return self.here.run(["journalctl", "-t", UNIT, "-o", "cat", "--no-pager"]).stdout

    def shows(self, name: str) -> str:
        return self.here.run(["systemctl", "show", "-P", name, f"{UNIT}.service"]).stdout.strip()

    def wait(self, runs: int) -> None:
        """Until so many runs have begun and the last has ended."""
        until(lambda: self.runs() >= runs and self.shows("ActiveState") in ("inactive", "failed"), 600)
        assert self.runs() == runs

    def arrived(self) -> set[str]:
        names = self.there.zfs("list", "-H", "-o", "name", "-t", "snapshot", "-r", self.gated.RECEIVE).split()
        return {name.partition("@")[2] for name in names}


@pytest.fixture(scope="module")
def scheduled(gated: Gated, lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Scheduled:
    lab_command("reset", "--dir", lab)
    gated.permit()
    gated.a.run("zfs create tank/vol")
    gated.a.fill("tank/vol", 1)
    gated.a.run("cat > /etc/systemd/system/alarm@.service", input=ALARM)
    return Scheduled(gated, packages(gated.a, tmp_path_factory.mktemp("wheels")))


def test_check_mode_and_again(scheduled: Scheduled) -> None:
    foretold = scheduled.role(check=True)
    assert scheduled.here.run(["ls", "-d", *PLACES], check=False).stdout == ""
    assert scheduled.role() == [*foretold, "Start the timer"]
    assert "Install ansible-core" in foretold
    assert scheduled.role(check=True) == scheduled.role() == []
    assert scheduled.here.run(["systemctl", "is-enabled", f"{UNIT}.timer"]).stdout == "enabled\n"
    owned = scheduled.here.run(
        ["find", "/opt/cerss.zfs", "(", "-perm", "-o+w", "-o", "!", "-user", "root", ")", "!", "-type", "l"]
    )
    assert owned.stdout.split() == ["/opt/cerss.zfs/schedules/jobs/vars.json"]


def test_the_timer_fires_and_what_was_missed_is_caught_up_with_once(scheduled: Scheduled) -> None:
    here = scheduled.here
    here.run("zfs snapshot tank/vol@one && date --set '03:59:55 tomorrow'")
    scheduled.wait(1)
    assert scheduled.shows("Result") == "success", scheduled.printed()
    assert scheduled.arrived() == {"one"}
    assert "tank/vol@one -> backend-b:backup/vol: sent (full" in scheduled.printed()
    # Off for three nights
    here.run(f"systemctl stop {UNIT}.timer && zfs snapshot tank/vol@two && date --set '+3 days'")
    here.run(f"systemctl start {UNIT}.timer")
    scheduled.wait(2)
    assert scheduled.arrived() == {"one", "two"}
    here.run(f"systemctl restart {UNIT}.timer")
    scheduled.wait(2)


def test_a_controller_at_the_same_time(scheduled: Scheduled, ansible: Ansible) -> None:
    """Of the timer and the controller one sends, and the other one sees it arrive. A second start is the first one."""
    here = scheduled.here
    here.fill("tank/vol", 40, "more")
    here.run("zfs snapshot tank/vol@three")
    task = {"name": "tank/vol", "target": {"host": scheduled.there.name, "parent": "backup"}, "bandwidth_limit": "2M"}
    play = {"hosts": here.name, "gather_facts": False, **BECOME, "tasks": [{"cerss.zfs.zfs_snapshot_replicate": task}]}
    runs = scheduled.runs()
    with ThreadPoolExecutor() as pool:
        controller = pool.submit(ansible.play, [play])
        until(lambda: "zfs send" in here.run(["ps", "-eo", "args="]).stdout or controller.done(), 300)
        for _number in range(2):
            here.run(["systemctl", "start", "--no-block", f"{UNIT}.service"])
        (told,) = controller.result()
    scheduled.wait(runs + 1)
    assert scheduled.shows("Result") == "success", scheduled.printed()
    assert told["replicas"][0]["state"] == "full"
    assert "three" in scheduled.arrived()
    assert scheduled.there.checksum("backup/vol@three") == here.checksum("tank/vol@three")


def test_a_failure_is_one_of_the_unit(scheduled: Scheduled) -> None:
    runs = scheduled.runs()
    more: dict[str, Any] = {
        "zfs_schedule_vars": {**scheduled.variables["zfs_schedule_vars"], "zfs_replicate_name": "tank/vol,tank/nope"}
    }
    assert scheduled.role(**more) == ["Write the variables, which only the user that runs the playbook can read"]
    scheduled.here.run(["systemctl", "start", f"{UNIT}.service"], check=False)
    scheduled.wait(runs + 1)
    assert scheduled.shows("Result") == "exit-code"
    assert "tank/nope: tank/nope does not exist" in scheduled.printed()
    until(lambda: scheduled.here.run("cat /root/alarms", check=False).stdout == f"{UNIT}\n", 60)


def test_absent_leaves_nothing(scheduled: Scheduled) -> None:
    """Also of a schedule that has failed, and while another one needs what they share."""
    here = scheduled.here
    assert scheduled.role(zfs_schedule_name="other", zfs_schedule_playbook="/srv/other.yml", zfs_schedule_user="root")
    gone: dict[str, Any] = {"zfs_schedule_state": "absent"}
    assert scheduled.role(check=True, **gone)
    assert here.run(["systemctl", "is-active", f"{UNIT}.timer"], check=False).stdout == "active\n"
    assert scheduled.role(**gone)
    assert scheduled.role(**gone) == []
    assert here.run("ls /opt/cerss.zfs/*/bin/ansible-playbook /opt/cerss.zfs/schedules").stdout.endswith("\nother\n")
    assert scheduled.role(**gone, zfs_schedule_name="other")
    assert here.run(["ls", "-d", *PLACES], check=False).stdout == ""
    assert here.run("find / -xdev -name '*cerss-zfs-jobs*' -o -xdev -name '*cerss-zfs-other*'").stdout == ""
    listed = here.run(["systemctl", "list-units", "--all", "--no-legend", "cerss-zfs-*"]).stdout
    assert listed + here.run(["systemctl", "list-unit-files", "--no-legend", "cerss-zfs-*"], check=False).stdout == ""
