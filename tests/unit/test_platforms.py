# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles make of the facts of platforms. One play has all of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ansible_collections.cerss.zfs.tests.unit import controller

ROOT = Path(__file__).parents[2]


class Platform(NamedTuple):
    """Facts as ansible-core reports them, and what comes of them. ``packages``: None where the role refuses."""

    distribution: str
    family: str
    python: tuple[str, tuple[int, int, int]]
    packages: list[str] | None
    tmpfiles: bool = True
    selinux: str = "disabled"
    fips: str = "0"
    system: str = "Linux"


UTILS = ["zfsutils-linux"]
PLATFORMS = {
    "debian12": Platform("Debian", "Debian", ("/usr/bin/python3.11", (3, 11, 2)), UTILS),
    "debian13": Platform("Debian", "Debian", ("/usr/bin/python3.13", (3, 13, 5)), UTILS),
    "proxmox9": Platform("Debian", "Debian", ("/usr/bin/python3.13", (3, 13, 5)), UTILS),
    "ubuntu2404": Platform("Ubuntu", "Debian", ("/usr/bin/python3.12", (3, 12, 3)), UTILS),
    "devuan5": Platform("Devuan", "Debian", ("/usr/bin/python3.11", (3, 11, 2)), UTILS, tmpfiles=False),
    "alma9": Platform("AlmaLinux", "RedHat", ("/usr/bin/python3.9", (3, 9, 21)), ["zfs"], selinux="enabled"),
    "alma10-fips": Platform(
        "AlmaLinux", "RedHat", ("/usr/bin/python3.12", (3, 12, 9)), ["zfs"], selinux="enabled", fips="1"
    ),
    "arch": Platform("Archlinux", "Archlinux", ("/usr/bin/python3.13", (3, 13, 7)), ["zfs-utils"]),
    "gentoo": Platform("Gentoo", "Gentoo", ("/usr/bin/python3.12", (3, 12, 3)), ["zfs"], tmpfiles=False),
    "alma8": Platform("AlmaLinux", "RedHat", ("/usr/libexec/platform-python", (3, 6, 8)), None),
    "freebsd14": Platform("FreeBSD", "FreeBSD", ("/usr/local/bin/python3.11", (3, 11, 9)), None, system="FreeBSD"),
}
PLAY = """
- hosts: all
  gather_facts: false
  vars:
    zfs_peer_host: "{{ inventory_hostname }}"
    zfs_peer_name: b
    zfs_peer_job: receive
    zfs_peer_root: backup
    zfs_peer_from: [192.0.2.1]
    zfs_peer_address: "[fd00::2]"
    zfs_peer_port: 2222
    zfs_peer_public_text: ssh-ed25519 AAAA
    zfs_peer_line_end: ""
    zfs_peer_home: /srv/cerss-zfs
    zfs_peer_fips: {results: [{stdout: "{{ fips }}"}]}
  tasks:
    - set_fact:
        distribution: "{{ facts.distribution }}"
        os_family: "{{ facts.os_family }}"
        system: "{{ facts.system }}"
        selinux: "{{ facts.selinux }}"
        python: "{{ facts.python }}"
        cacheable: true  # which makes them facts
    - block:
        - include_role: {name: zfs_backend, tasks_from: platform, public: true}
        - include_role: {name: zfs_peer, tasks_from: none, public: true}
        - set_fact:
            told:
              packages: "{{ zfs_backend_packages }}"
              tmpfiles: "{{ zfs_backend_platform.tmpfiles }}"
              key: "{{ zfs_peer_type }}"
              place: "{{ zfs_peer_place }}"
              line: "{{ zfs_peer_line }}"
              login: "{{ zfs_peer_login }}"
      rescue:
        - set_fact: {told: "{{ ansible_failed_result.msg }}"}
    - copy:
        content: "{{ dict(every | zip(every | map('extract', hostvars, 'told'))) | to_json }}"
        dest: FOLDER/told.json
      vars: {every: "{{ ansible_play_hosts_all }}"}
      run_once: true
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """By platform, what the last task says or why the role refuses."""
    folder = tmp_path_factory.mktemp("platforms")
    hosts = {}
    for name, each in PLATFORMS.items():
        facts = {
            "distribution": each.distribution,
            "os_family": each.family,
            "system": each.system,
            "selinux": {"status": each.selinux},
            "python": {"executable": each.python[0], "version_info": [*each.python[1], "final", 0]},
        }
        hosts[name] = {"facts": facts, "fips": each.fips}
    (folder / "roles").mkdir()
    for role in ("zfs_backend", "zfs_peer"):
        (folder / "roles" / role).mkdir()
        for part in (ROOT / "roles" / role).iterdir():
            (folder / "roles" / role / part.name).symlink_to(part)
    tasks = folder / "roles" / "zfs_peer" / "tasks"
    tasks.unlink()
    tasks.mkdir()
    (tasks / "none.yml").write_text("[]\n")
    every = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (folder / "inventory.json").write_text(json.dumps({"all": {"vars": every, "hosts": hosts}}))
    (folder / "play.yml").write_text(PLAY.replace("FOLDER", str(folder)))
    settings = {
        "HOME": str(folder / "ansible"),
        "LOCAL_TEMP": str(folder / "ansible" / "tmp"),
        "ROLES_PATH": str(folder / "roles"),
        "NOCOLOR": "true",
    }
    environment = controller.environment(settings)
    program = Path(sys.executable).with_name("ansible-playbook")
    run = subprocess.run([program, "-i", "inventory.json", "play.yml"], cwd=folder, env=environment,
                         capture_output=True, text=True, check=False)  # fmt: skip
    assert run.returncode == 0, run.stdout
    answers: dict[str, Any] = json.loads((folder / "told.json").read_text())
    return answers


@pytest.mark.parametrize("name", PLATFORMS)
def test_what_the_roles_do_on_a_platform(name: str, told: dict[str, Any]) -> None:
    platform, answer = PLATFORMS[name], told[name]
    if platform.packages is None:
        assert "only; set ansible_python_interpreter, or use the modules there without the role" in answer
        assert f"{name} runs {platform.system} with Python {'.'.join(map(str, platform.python[1]))}" in answer
        return
    assert (answer["packages"], answer["tmpfiles"]) == (platform.packages, platform.tmpfiles)
    assert answer["key"].strip() == ("ecdsa" if platform.fips == "1" else "ed25519")
    assert answer["place"].strip() == "[fd00::2]:2222"
    assert answer["login"].split()[:9] == [
        "Host",
        "b",
        "HostName",
        "fd00::2",
        "Port",
        "2222",
        "User",
        "cerss-zfs",
        "IdentityFile",
    ]
    assert 'command="/usr/local/lib/cerss-zfs/python3 -I /usr/local/lib/cerss-zfs/gate.py' in answer["line"]
