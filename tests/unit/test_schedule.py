# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role zfs_schedule, on this machine with a systemctl of its own, and the programs that it starts."""

from __future__ import annotations

import base64
import json
import os
import pwd
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2.nativetypes import NativeEnvironment

from ansible_collections.cerss.zfs.tests.unit import controller

ROOT = Path(__file__).parents[2]
ROLE = ROOT / "roles" / "zfs_schedule"
pack, unpack, clean = (runpy.run_path(str(ROLE / "files" / f"{name}.py")) for name in ("pack", "unpack", "clean"))

# The whole role takes a minute and more. CERSS_ROLES_ROUNDS says whether to run it: "make schedule" does.
whole = pytest.mark.skipif("CERSS_ROLES_ROUNDS" not in os.environ, reason="it takes a minute")

PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - set_fact: {os_family: Debian, service_mgr: systemd, cacheable: true, python: {executable: PYTHON}}
    - include_role: {name: zfs_schedule}
"""
# Knows which units are enabled and active. What "running" names is said to run.
SYSTEMCTL = """#!/bin/sh
cd STATE || exit
case $1 in
show) [ -e "units/$2" ] && state=loaded || state=not-found
      [ -e "active-$2" ] && active=active || active=inactive
      printf 'Id=%s\\nLoadState=%s\\nActiveState=%s\\n' "$2" $state $active;;
is-enabled) [ -e "enabled-$2" ] && echo enabled || { echo disabled; exit 1; };;
enable) touch "enabled-$2";;
disable) rm "enabled-$2";;
start) touch "active-$2";;
stop) rm "active-$2";;
list-units) cat running;;
daemon-reload | reset-failed) ;;
*) exit 1;;
esac
"""
ANALYZE = """#!/bin/sh
[ "$1 $2 $3" = "calendar -- daily" ]
"""


class Host:
    """A copy of the role whose files belong to whoever runs the tests, and the folders that it works on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home, self.units = folder / "opt" / "cerss.zfs", folder / "units"
        self.units.mkdir()
        (folder / "running").write_text("")
        shutil.copytree(ROLE, folder / "roles" / "zfs_schedule")
        for path in (folder / "roles" / "zfs_schedule" / "tasks").glob("*.yml"):
            text = re.sub(r"\bowner: root", f'owner: "{os.getuid()}"', path.read_text())
            path.write_text(re.sub(r"\bgroup: .*", f'group: "{os.getgid()}"', text))
        (folder / "bin").mkdir()
        for name, text in {"systemctl": SYSTEMCTL, "systemd-analyze": ANALYZE}.items():
            (folder / "bin" / name).write_text(text.replace("STATE", str(folder)))
            (folder / "bin" / name).chmod(0o755)
        (folder / "play.yml").write_text(PLAY.replace("PYTHON", sys.executable))
        host = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "zfs_jobs": [{"name": "n"}],
        }
        (folder / "inventory.json").write_text(json.dumps({"all": {"children": {"g": {"hosts": {"h": host}}}}}))
        (folder / "small" / "plugins" / "modules").mkdir(parents=True)
        (folder / "small" / "plugins" / "modules" / "a.py").touch()
        (folder / "small" / "galaxy.yml").touch()
        self.variables: dict[str, Any] = {
            "zfs_schedule_home": str(self.home),
            "zfs_schedule_units": str(self.units),
            "zfs_schedule_user": pwd.getpwuid(os.getuid()).pw_name,
            "zfs_schedule_packages": [],
            "zfs_schedule_wheels": str(folder / "wheels"),
            "zfs_schedule_requirements": ["thing"],
            "zfs_schedule_collection": str(folder / "small"),
        }

    def play(self, *options: str, fails: bool = False, **more: Any) -> list[str]:
        """The tasks that have changed something; with ``fails``, what the run has printed."""
        settings = {
            "HOME": str(self.folder / "ansible"),
            "LOCAL_TEMP": str(self.folder / "ansible" / "tmp"),
            "REMOTE_TMP": str(self.folder / "ansible" / "tmp"),
            "CALLBACK_RESULT_FORMAT": "yaml",
            "DISPLAY_OK_HOSTS": "false",
            "DISPLAY_SKIPPED_HOSTS": "false",
            "NOCOLOR": "true",
            "ROLES_PATH": str(self.folder / "roles"),
        }
        environment = controller.environment(settings)
        environment["PATH"] = f"{self.folder / 'bin'}:{environment['PATH']}"
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        variables = json.dumps({**self.variables, **more})
        run = subprocess.run(
            [program, "-i", "inventory.json", "play.yml", "-e", variables, *options],
            cwd=self.folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (run.returncode != 0) == fails, run.stdout + run.stderr
        if fails:
            return [" ".join((run.stdout + run.stderr).split())]
        return re.findall(r"^TASK \[zfs_schedule : (.*)\] \*+\n(?=changed:)", run.stdout, re.MULTILINE)

    def four_times(self, **more: Any) -> list[str]:
        """In check mode, for real, and both again; what the first real run has changed."""
        before = self.files()
        foretold = self.play("--check", **more)
        assert self.files() == before
        done = self.play(**more)
        assert [task for task in done if task != "Start the timer"] == foretold  # of a unit that is not there yet
        assert self.play("--check", **more) == self.play(**more) == []
        return done

    def files(self) -> list[str]:
        found = [*self.home.parent.rglob("*"), *self.units.iterdir(), *self.folder.glob("active-*")]
        return sorted(str(path.relative_to(self.folder)) for path in found)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """With a folder of wheels: a package, and a pip that only unpacks it."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / "thing-1.0-py3-none-any.whl").write_bytes(b"PK")
    with zipfile.ZipFile(wheels / "pip-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(
            "pip/__main__.py",
            "import os, sys; open(os.path.dirname(sys.executable) + '/pip-was-here', 'a').write(repr(sys.argv[1:]))",
        )
    return Host(tmp_path)


def test_the_archive_is_the_same_for_the_same_files(tmp_path: Path) -> None:
    files = {"galaxy.yml": b"a", "plugins/modules/b.py": b"b", "roles/r/tasks/main.yml": b"c"}
    left_out = {"plugins/modules/__pycache__/b.cpython-313.pyc": b"", ".git/config": b"", "tests/t.py": b""}
    for name, content in {**files, **left_out}.items():
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "copy" / name).write_bytes(content)
    (tmp_path / "copy" / "plugins" / "link").symlink_to("/etc/passwd")
    with tarfile.open(tmp_path / "tarball", "w:gz") as tar:
        for name in (*left_out, *reversed(files)):
            tar.add(tmp_path / "copy" / name, name)
    found = pack["from_folder"](tmp_path / "copy")
    assert found == pack["from_tarball"](tmp_path / "tarball") == files
    assert pack["archive"](found) == pack["archive"](dict(reversed(found.items())))
    assert pack["digest"](found) == pack["digest"](dict(reversed(found.items())))
    assert (
        len({pack["digest"](each) for each in (found, {}, {**found, "plugins/c": b""}, {**found, "galaxy.yml": b""})})
        == 4
    )
    unpack["unpack"](base64.b64encode(pack["archive"](found)).decode(), str(tmp_path / "new"))
    place = tmp_path / "new" / "ansible_collections" / "cerss" / "zfs"
    assert {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()} == files


def test_nothing_is_unpacked_elsewhere(tmp_path: Path) -> None:
    for name in ("../../../../out", "/out", "."):
        packed = base64.b64encode(pack["archive"]({name: b""})).decode()
        with pytest.raises(SystemExit, match="is not a file of a collection"):
            unpack["unpack"](packed, str(tmp_path / "new"))
    assert [*tmp_path.iterdir()] == []


def test_what_a_schedule_uses_is_not_unused(tmp_path: Path) -> None:
    home, units = tmp_path / "home", tmp_path / "units"
    assert clean["unused"](str(home), str(units), "b") == []
    venvs, collections = ([f"{kind}-{number:012x}" for number in (1, 2)] for kind in ("venv", "collection"))
    for name in (*venvs, *collections, "schedules/a"):
        (home / name).mkdir(parents=True)
    units.mkdir()
    (units / "cerss-zfs-a.service").write_text(f"ExecStart={home}/{venvs[0]}/bin/ansible-playbook")
    (home / "schedules" / "a" / "ansible.cfg").write_text(f"collections_path = {home}/{collections[1]}\n")

    def unused(name: str, *used: str) -> list[str]:
        found = clean["unused"](str(home), str(units), name, *(f"{home}/{each}" for each in used))
        return [str(Path(each).relative_to(home)) for each in found]

    assert unused("b") == [collections[0], venvs[1]]
    assert unused("b", venvs[1], "new") == [collections[0]]
    assert unused("a", venvs[1]) == [*collections, venvs[0]]
    assert unused("a") == ["."]
    shutil.rmtree(home / "schedules" / "a")
    assert unused("b") == ["."]


def test_what_others_have_in_the_folder_stays(tmp_path: Path) -> None:
    """Whatever zfs_schedule_home says, such as /usr/local."""
    for name in ("bin", "venv-mine", "collection-0"):
        (tmp_path / name).mkdir()
    assert clean["unused"](str(tmp_path), str(tmp_path), "a") == []
    assert clean["unused"](str(tmp_path), str(tmp_path), "a", "x") == []
    for name in (f"venv-{0:012x}", "schedules", "wheels"):
        (tmp_path / name).mkdir()
    assert clean["unused"](str(tmp_path), str(tmp_path), "a") == [
        f"{tmp_path}/{name}" for name in ("schedules", f"venv-{0:012x}", "wheels")
    ]


@pytest.mark.parametrize(
    ("family", "version", "python", "packages"),
    [
        ("Debian", [3, 11], "/own/python", ["python3-venv"]),
        ("RedHat", [3, 12], "/own/python", []),
        ("RedHat", [3, 9], "/usr/bin/python3.12", ["python3.12"]),
        ("Archlinux", [3, 13], "/own/python", []),
    ],
)
def test_the_python_of_a_platform(family: str, version: list[int], python: str, packages: list[str]) -> None:
    variables = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())
    facts = {"os_family": family, "python": {"executable": "/own/python", "version_info": version}}
    template = NativeEnvironment().from_string(variables["zfs_schedule_platform"])
    found: Any = template.render(ansible_facts=facts)
    assert found == {"python": python, "packages": packages}


BAD: list[tuple[str, object]] = [
    ("name", "../x"),
    ("name", ""),
    ("home", "/"),
    ("home", "/opt"),
    ("home", "/opt/.."),
    ("user", "root\nExecStart=/bin/sh"),
    ("playbook", "jobs"),
    ("playbook", "/srv/a b"),
    ("on_calendar", "daily\nUnit=x"),
    ("on_calendar", []),
    ("on_failure", ["a b"]),
    ("randomized_delay", "0\nUnit=x"),
]


@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*unicode-escape:DeprecationWarning")
def test_no_value_becomes_another_line_or_path() -> None:
    """The check of the role by itself, which is a list of conditions."""
    variables = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    task = yaml.safe_load((ROLE / "tasks" / "main.yml").read_text())[0]["ansible.builtin.assert"]
    environment = NativeEnvironment()
    environment.tests["match"] = lambda text, pattern: bool(re.match(pattern, text))
    environment.filters["reject"] = lambda texts, _match, pattern: [
        text for text in texts if not re.match(pattern, text)
    ]

    def allowed(**given: object) -> bool:
        values = {**variables, **{f"zfs_schedule_{name}": value for name, value in given.items()}}
        times = values["zfs_schedule_on_calendar"]
        values["zfs_schedule_times"] = times if isinstance(times, list) else [times]
        return all(environment.from_string(f"{{{{ {each} }}}}").render(values) for each in task["that"])

    assert allowed()
    assert allowed(
        playbook="/srv/x.yml", on_calendar="Mon..Fri *-*-* 02:00/15 Europe/Berlin", on_failure=["a@%n.service"]
    )
    assert [(name, value) for name, value in BAD if allowed(**{name: value})] == []


@whole
def test_nothing_is_left_of_two_schedules(host: Host) -> None:
    (host.home.parent).mkdir()
    before = host.files()
    host.four_times()
    (venv,), (collection,) = host.home.glob("venv-*"), host.home.glob("collection-*")
    assert (venv / "complete").exists()
    assert "'--no-index', '--find-links'" in (venv / "bin" / "pip-was-here").read_text()
    assert (collection / "ansible_collections/cerss/zfs/plugins/modules/a.py").exists()
    assert not (host.home / "wheels").exists()
    service = (host.units / "cerss-zfs-jobs.service").read_text()
    folder = host.home / "schedules" / "jobs"
    assert f"\nExecStart={venv}/bin/ansible-playbook -e @{folder}/vars.json cerss.zfs.jobs\n" in service
    assert (
        "OnCalendar=daily\nPersistent=true\nRandomizedDelaySec=0\n" in (host.units / "cerss-zfs-jobs.timer").read_text()
    )
    assert json.loads((folder / "vars.json").read_text()) == {"jobs_hosts": "h", "zfs_jobs": [{"name": "n"}]}
    assert (folder / "vars.json").stat().st_mode & 0o777 == 0o400
    inventory = json.loads((folder / "inventory.json").read_text())["all"]
    assert inventory["hosts"]["h"]["ansible_become"] is False
    assert inventory["children"] == {"g": {"hosts": {"h": {}}}}
    assert f"collections_path = {collection}\n" in (folder / "ansible.cfg").read_text()
    assert (host.folder / "active-cerss-zfs-jobs.timer").exists()

    other = {
        "zfs_schedule_name": "other",
        "zfs_schedule_vars": {"jobs_hosts": "g"},
        "zfs_schedule_on_failure": ["a@%n.service"],
    }
    host.four_times(**other)
    assert "\nOnFailure=a@%n.service\n" in (host.units / "cerss-zfs-other.service").read_text()
    assert json.loads((host.home / "schedules" / "other" / "vars.json").read_text()) == {"jobs_hosts": "g"}
    host.four_times(zfs_schedule_state="absent")
    assert venv.exists()
    host.four_times(**other, zfs_schedule_state="absent")
    assert host.files() == before


@whole
def test_a_run_keeps_what_it_has_begun_with(host: Host) -> None:
    host.play()
    (venv,) = host.home.glob("venv-*")
    other: dict[str, Any] = {"zfs_schedule_requirements": ["thing", "other"]}
    (host.folder / "running").write_text("cerss-zfs-jobs.service loaded activating start Run\n")
    assert "Install ansible-core" in host.play(**other)
    assert len([*host.home.glob("venv-*")]) == 2
    assert host.play(**other) == []
    (host.folder / "running").write_text("")
    assert (
        host.play("--check", **other)
        == host.play(**other)
        == ["Remove environments and collections that no schedule uses"]
    )
    assert not venv.exists()
    assert host.play(**other) == []


REFUSED = [
    ({"zfs_schedule_on_calendar": ["daily", "often"]}, "non-zero return code"),
    ({"zfs_schedule_user": "nobody-at-all"}, "there is no user nobody-at-all on h; run the role zfs_backend first"),
    ({"zfs_schedule_python": "python3"}, 'zfs_schedule_python is "python3"; give an absolute path'),
    ({"zfs_schedule_collection": "/etc"}, "/etc is not a collection"),
    ({"zfs_schedule_wheels": "/etc"}, "/etc on the controller has no wheels; fill it with pip download"),
]


@whole
@pytest.mark.parametrize(("variables", "why"), REFUSED)
def test_refused_before_anything_is_changed(host: Host, variables: dict[str, Any], why: str) -> None:
    host.home.parent.mkdir()
    before = host.files()
    (told,) = host.play(fails=True, **variables)
    assert why in told
    assert host.files() == before
