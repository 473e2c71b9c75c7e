# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that change one file of their peer together do so one after another, and leave alone what is not theirs."""

from __future__ import annotations

import fcntl
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.endpoint import line
from ansible_collections.cerss.zfs.tests.unit import controller

ROOT = Path(__file__).parents[2]
TASKS = sorted([*ROOT.glob("roles/*/tasks/**/*.yml"), *ROOT.glob("roles/*/handlers/**/*.yml")])
PLAYBOOKS = sorted(ROOT.glob("playbooks/*.yml"))
SECTIONS = ("tasks", "pre_tasks", "post_tasks", "handlers")
INHERITED = ("delegate_to", "throttle", "changed_when", "check_mode")
READS = {f"ansible.builtin.{name}" for name in ("assert", "debug", "fail", "slurp", "stat")}
# Several hosts may use our modules at once on another one: each has its own datasets there, and ZFS keeps order.
TOGETHER = "cerss.zfs."
INCLUDES = re.compile(r"(?:ansible\.builtin\.)?(?:include|import)_(?:tasks|role)")
Item = Mapping[str, Any]


def tasks(items: list[dict[str, Any]], around: Item) -> Iterator[Item]:
    """Each task of a list of plays or tasks, with what it inherits."""
    for item in items:
        inherited = {**around, **{key: item[key] for key in INHERITED if key in item}}
        lists = [item[part] for part in ("block", "rescue", "always", *SECTIONS) if item.get(part)]
        for each in lists:
            yield from tasks(each, inherited)
        if not lists:
            yield {**item, **inherited}
        for key in filter(INCLUDES.fullmatch, item):
            if isinstance(item[key], dict) and "apply" in item[key]:
                yield {"name": f"{item.get('name')}: apply", **around, **item[key]["apply"]}


def unguarded(text: str) -> list[str]:
    """Names of the tasks that change something on another host, which several hosts of the play may do at once."""
    return [
        str(task.get("name"))
        for task in tasks(yaml.safe_load(text) or [], {})
        if ("delegate_to" in task or "local_action" in task)
        and task.get("throttle") != 1
        and task.get("changed_when") is not False
        and task.get("check_mode") is not True
        and not READS & task.keys()
        and not any(key.startswith(TOGETHER) for key in task)
    ]


@pytest.mark.parametrize("path", [*TASKS, *PLAYBOOKS], ids=lambda path: str(path.relative_to(ROOT)))
def test_changes_on_another_host_are_made_one_after_another(path: Path) -> None:
    assert unguarded(path.read_text()) == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("[{file: {}, delegate_to: b}]", 1),
        ("[{file: {}, delegate_to: b, throttle: 2}]", 1),
        ("[{file: {}, delegate_to: b, throttle: 1}]", 0),
        ("[{file: {}, delegate_to: b, run_once: true}]", 1),  # which the strategy free ignores
        ("[{file: {}, delegate_to: b, loop: [1]}]", 1),
        ("[{local_action: {module: file}}]", 1),
        ("[{command: id, delegate_to: b, changed_when: false}]", 0),
        ("[{command: id, delegate_to: b, changed_when: there is changed}]", 1),
        ("[{ansible.builtin.slurp: {}, delegate_to: b}]", 0),
        ("[{cerss.zfs.zfs_snapshot_prune: {}, delegate_to: b}]", 0),
        ("[{cerss.zfs.zfs_dataset: {}, delegate_to: b}]", 0),
        ("[{delegate_to: b, block: [{file: {}}]}]", 1),
        ("[{delegate_to: b, throttle: 1, block: [{file: {}}], rescue: [{file: {}}]}]", 0),
        ("[{delegate_to: b, block: [{file: {}, throttle: 1}], always: [{file: {}}]}]", 1),
        ("[{include_tasks: {file: a.yml, apply: {delegate_to: b}}}]", 1),
        ("[{ansible.builtin.include_role: {name: a, apply: {delegate_to: b, throttle: 1}}}]", 0),
        ("[{hosts: all, tasks: [{file: {}, delegate_to: b}]}]", 1),
        ("[{hosts: all, throttle: 1, tasks: [{file: {}, delegate_to: b}]}]", 0),
        ("[{file: {}}]", 0),
    ],
)
def test_a_change_without_throttle_is_found(text: str, count: int) -> None:
    assert len(unguarded(text)) == count


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.name)
def test_playbooks_choose_the_strategy_in_which_throttle_counts_all_hosts(path: Path) -> None:
    delegating = [file.parents[1].name for file in TASKS if "throttle: 1" in file.read_text()]
    for play in yaml.safe_load(path.read_text()):
        if any(f"cerss.zfs.{role}" in json.dumps(play) for role in delegating):
            assert play.get("strategy") == "ansible.builtin.linear"


# What follows runs the role zfs_peer with six hosts that are this machine, and a peer that is too. CERSS_ROLES_ROUNDS
# says how often: "make trust" once.

HOSTS = [f"h{number}" for number in range(6)]
PLAY = """
- hosts: hosts
  gather_facts: false
  vars:
    zfs_peer_host: peer
    zfs_peer_name: "{{ inventory_hostname }}"
    zfs_peer_home: HOME
    zfs_peer_from: [192.0.2.1]
    zfs_peer_job: receive
    zfs_peer_root: "backup/{{ inventory_hostname }}"
    zfs_peer_address: "fe80::2%eth{{ inventory_hostname[-1] }}"
    zfs_peer_port: 2222
    zfs_peer_public_text: "ssh-ed25519 {{ inventory_hostname | b64encode }} root@{{ inventory_hostname }}"
    zfs_peer_line_end: ""
  tasks:
    - include_role:
        name: zfs_peer
        tasks_from: part
"""
PART = """
- include_tasks: "{{ parts[inventory_hostname] }}.yml"
  when: inventory_hostname in parts
"""
# Python of the peer: tells when two of it run at a time, and when any runs at all.
PYTHON = """#!/bin/sh
echo run >> runs
mkdir busy || echo "two at a time" >> overlaps
PYTHON "$@"
code=$?
rmdir busy
exit $code
"""
ADMINISTRATOR = """# Do not remove: Jürgen's key
from="192.0.2.*",command="echo cerss.zfs:h0:h0 done" ssh-ed25519 AAAA juergen

  # restrict,command="old" ssh-ed25519 AAAA cerss.zfs:h1:h1
#restrict,command="old" ssh-ed25519 AAAA cerss.zfs:h4:h4
ssh-ed25519 BBBB about cerss.zfs:h1:h1 and more
restrict ssh-ed25519 CCCC cerss.zfs:h10:h1
\tno-pty ssh-rsa DDDD no end of line"""


class Peer:
    """A copy of the role whose files belong to whoever runs the tests, and the authorized_keys that it works on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.keys = self.home / ".ssh" / "authorized_keys"
        self.keys.parent.mkdir(parents=True)
        shutil.copytree(ROOT / "roles" / "zfs_peer", folder / "roles" / "zfs_peer")
        for path in (folder / "roles" / "zfs_peer" / "tasks").glob("*.yml"):
            text = re.sub(r"\bowner: .*", f'owner: "{os.getuid()}"', path.read_text())
            path.write_text(re.sub(r"\bgroup: .*", f'group: "{os.getgid()}"', text))
        (folder / "roles" / "zfs_peer" / "tasks" / "part.yml").write_text(PART)
        python = folder / "python"
        python.write_text(PYTHON.replace("PYTHON", sys.executable))
        python.chmod(0o755)
        every = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        peer = {"ansible_python_interpreter": str(python)}
        hosts: Item = {host: {} for host in HOSTS}
        inventory = {"all": {"vars": every, "hosts": {"peer": peer}, "children": {"hosts": {"hosts": hosts}}}}
        (folder / "inventory.yml").write_text(json.dumps(inventory))
        (folder / "play.yml").write_text(PLAY.replace("HOME", str(self.home)))

    def play(self, parts: Mapping[str, str], *more: str) -> set[str]:
        """Have each host run its part of the role; return the hosts that changed something."""
        settings = {
            "FORKS": str(len(HOSTS)),
            "HOME": str(self.folder / "ansible"),
            "LOCAL_TEMP": str(self.folder / "ansible" / "tmp"),
            "REMOTE_TMP": str(self.folder / "ansible" / "tmp"),
            "LOCALHOST_WARNING": "false",
            "NOCOLOR": "true",
            "PIPELINING": "true",
            "ROLES_PATH": str(self.folder / "roles"),
            "STDOUT_CALLBACK": "default",
        }
        environment = controller.environment(settings)
        program = Path(sys.executable).with_name("ansible-playbook")
        command = [str(program), "-i", "inventory.yml", "play.yml", "-e", json.dumps({"parts": parts}), *more]
        run = subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stdout
        assert not (self.folder / "overlaps").exists(), run.stdout
        # Otherwise this proves nothing about the peer's Python. The ssh config is written without it.
        assert (self.folder / "runs").exists() or {*parts.values()} == {"login"}
        return set(re.findall(r"^(h\d) .* changed=[1-9]", run.stdout, re.MULTILINE))

    def lines(self, *hosts: str) -> list[str]:
        """The lines that the role has made for these hosts."""
        own = [line for line in self.keys.read_text().splitlines() if line.startswith('restrict,from="192.0.2.1",')]
        return [line for line in own if line.rpartition(" ")[2] in {f"cerss.zfs:{host}:{host}" for host in hosts}]

    def others(self) -> list[str]:
        own = set(self.lines(*HOSTS))
        return [line for line in self.keys.read_text().split("\n") if line not in own]


FILES = ROOT / "roles" / "zfs_peer" / "files"
EDIT = FILES / "authorized_keys.py"
OWN = r"^\s*[^\s#].* cerss\.zfs:h1:h1\s*$"
edited = runpy.run_path(str(EDIT))["edited"]


def edit(keys: Path, *arguments: str, own: str = OWN) -> subprocess.Popen[str]:
    """As the role starts it, with as many flags before the file as there are."""
    flags = [each for each in arguments if each.startswith("--")]
    command = [sys.executable, "-I", str(EDIT), *flags, str(keys), own, *arguments[len(flags) :]]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def said(run: subprocess.Popen[str]) -> str:
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    return out.strip()


@pytest.mark.parametrize(
    ("before", "after", "without"),
    [
        ("", "NEW\n", ""),
        ("admin\n", "admin\nNEW\n", "admin\n"),
        ("admin", "admin\nNEW\n", "admin"),
        ("a\nold cerss.zfs:h1:h1\nb\n", "a\nNEW\nb\n", "a\nb\n"),
        ("old cerss.zfs:h1:h1\na\n old cerss.zfs:h1:h1  \nb", "a\nNEW\nb", "a\nb"),
        ("# old cerss.zfs:h1:h1\n  #x cerss.zfs:h1:h1\n", "# old cerss.zfs:h1:h1\n  #x cerss.zfs:h1:h1\nNEW\n",
         "# old cerss.zfs:h1:h1\n  #x cerss.zfs:h1:h1\n"),
        ("k cerss.zfs:h1:h11\nk cerss.zfs:h1:h1 and more\n", "k cerss.zfs:h1:h11\nk cerss.zfs:h1:h1 and more\nNEW\n",
         "k cerss.zfs:h1:h11\nk cerss.zfs:h1:h1 and more\n"),
    ],
)  # fmt: skip
def test_a_key_has_one_line_and_all_others_stay(before: str, after: str, without: str) -> None:
    new = "restrict k cerss.zfs:h1:h1"
    assert edited(before, OWN, new) == after.replace("NEW", new)
    assert edited(after.replace("NEW", new), OWN, new) == after.replace("NEW", new)
    assert edited(before, OWN, None) == without


@given(st.lists(st.text(st.characters(exclude_characters="\n"), max_size=20), max_size=6), st.booleans())
def test_lines_of_others_keep_text_and_order(others: list[str], ends: bool) -> None:
    others = [line for line in others if not re.search(OWN, line)]
    text, new = "\n".join(others) + "\n" * ends, "restrict k cerss.zfs:h1:h1"
    added = edited(text, OWN, new)
    assert added.startswith(text)
    assert [line for line in added.split("\n") if line not in ("", new)] == [line for line in others if line]
    assert edited(added, OWN, None).rstrip("\n") == text.rstrip("\n")


def test_of_many_who_are_let_in_at_once_none_loses_its_line(tmp_path: Path) -> None:
    """From whatever play: only the lock keeps them apart."""
    keys = tmp_path / "ssh" / "authorized_keys"
    keys.parent.mkdir()
    keys.write_bytes(ADMINISTRATOR.encode() + b"\xff\r\n")
    lines = [f"restrict k cerss.zfs:n{number}:n" for number in range(12)]
    runs = [edit(keys, line, own=f" cerss.zfs:n{number}:n$") for number, line in enumerate(lines)]
    assert [said(run) for run in runs] == ["changed"] * len(runs)
    found = keys.read_bytes()
    assert found.startswith(ADMINISTRATOR.encode() + b"\xff\r\n")
    assert sorted(found.decode(errors="ignore").splitlines()[-12:]) == sorted(lines)
    assert os.listdir(keys.parent) == ["authorized_keys"]


def test_check_mode_tells_what_would_change(tmp_path: Path) -> None:
    keys, new = tmp_path / "new" / "authorized_keys", "restrict k cerss.zfs:h1:h1"
    for arguments in ((new,), (new,), ()):
        before = keys.read_text() if keys.exists() else None
        foretold = said(edit(keys, "--check", *arguments))
        assert (keys.read_text() if keys.exists() else None) == before
        assert said(edit(keys, *arguments)) == foretold
    assert keys.read_text() == ""
    assert keys.stat().st_mode & 0o777 == 0o644
    keys.chmod(0o666)
    assert (said(edit(keys)), said(edit(keys, "--check", new)), said(edit(keys, new))) == ("same", "changed", "changed")
    assert keys.stat().st_mode & 0o777 == 0o644


# What an administrator has written into the service user's ssh config: for all hosts, and for one
CONFIG = """# Jürgen was here
Compression yes
Host h0 other
    Port 22000
    User juergen
\t# END cerss.zfs h0"""


def ssh_reads(config: Path, host: str) -> dict[str, str]:
    done = subprocess.run(["ssh", "-F", config, "-T", "-G", host], capture_output=True, text=True, check=True)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


@pytest.mark.parametrize("path", sorted(ROOT.glob("roles/**/*.yml")), ids=lambda path: str(path.relative_to(ROOT)))
def test_check_mode_of_a_play_or_task_counts_too(path: Path) -> None:
    """ansible_check_mode is --check alone."""
    lines = [line for line in path.read_text().splitlines() if "ansible_check_mode" in line and line[0] != "#"]
    role = path.relative_to(ROOT).parts[1]
    asks = re.compile(
        rf'(__)?{role}_checks: "{{{{ ansible_check_mode or \((__)?{role}_probe \| default\({{}}\)\) is skipped }}}}"'
    )
    assert all(asks.fullmatch(line) for line in lines), lines


@pytest.mark.parametrize("role", sorted(path.parents[1].name for path in ROOT.glob("roles/*/defaults/main.yml")))
def test_defaults_need_no_facts(role: str, tmp_path: Path) -> None:
    """The arguments are checked before any task of the role can gather them."""
    folder = ROOT / "roles" / role
    files = [path for path in (folder / "defaults" / "main.yml", folder / "vars" / "main.yml") if path.exists()]
    names = list(yaml.safe_load(files[0].read_text()))
    task = {"ansible.builtin.debug": {"msg": f"{{{{ query('ansible.builtin.vars', *{names}) }}}}"}}
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars_files": list(map(str, files)),
        "vars": {"role_path": str(folder), f"{role}_host": "peer"},
        "tasks": [task],
    }
    (tmp_path / "play.json").write_text(json.dumps([play]))
    settings = {"HOME": str(tmp_path), "LOCAL_TEMP": str(tmp_path / "tmp"), "LOCALHOST_WARNING": "false"}
    program = Path(sys.executable).with_name("ansible-playbook")
    run = subprocess.run([program, "play.json"], cwd=tmp_path, env=controller.environment(settings),
                         capture_output=True, text=True, check=False)  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr


@controller.SUPPORTED
def test_ssh_finds_key_and_address_of_each_peer(peer: Peer) -> None:
    config = peer.keys.parent / "config"
    config.write_text(CONFIG)
    # The hosts of the play are this machine, so it is one file. They write it one after another.
    for more, changed in (("--check",), {"h0"}), ((), {"h0"}), (("--check",), set()), ((), set()):
        before = config.read_text()
        assert peer.play({"h0": "login"}, "--diff", *more) == changed
        assert (config.read_text() == before) == (bool(more) or not changed)
    assert peer.play({"h1": "login"}) == {"h1"}
    assert config.read_text().startswith(f"{CONFIG}\n# BEGIN cerss.zfs h0\n")
    assert config.stat().st_mode & 0o777 == 0o644
    read = ssh_reads(config, "h1")
    wanted = {"hostname": "fe80::2%eth1", "port": "2222", "user": "cerss-zfs", "identitiesonly": "yes"}
    wanted |= {
        "identityfile": str(peer.keys.parent / "h1"),
        "userknownhostsfile": str(peer.keys.parent / "h1.known_hosts"),
    }
    assert {key: read[key] for key in wanted} == wanted
    # What the administrator has said comes first, also for a peer.
    assert (ssh_reads(config, "h0")["port"], ssh_reads(config, "h0")["identityfile"]) == (
        "22000",
        str(peer.keys.parent / "h0"),
    )

    text = config.read_text()
    assert peer.play({"h0": "absent"}) == {"h0"}
    assert config.read_text() == f"{CONFIG}\n{text[text.index('# BEGIN cerss.zfs h1') :]}"
    assert peer.play({"h1": "absent"}) == {"h1"}
    assert config.read_text() == f"{CONFIG}\n"
    assert peer.play({"h1": "absent"}) == set()


def test_no_block_is_written_through_a_link(peer: Peer) -> None:
    (peer.folder / "shadow").write_text("root\n")
    (peer.keys.parent / "config").symlink_to(peer.folder / "shadow")
    with pytest.raises(AssertionError, match="is not a regular file, which the role does not change"):
        peer.play({"h0": "login"})
    assert (peer.folder / "shadow").read_text() == "root\n"


GOOD: Item = {
    "zfs_peer_name": "b", "zfs_peer_aliases": ["b", "[fd00::2]"], "zfs_peer_address": "fe80::2%eth0",
    "zfs_peer_port": 22, "zfs_peer_user": "cerss-zfs", "zfs_peer_home": "/srv/cerss-zfs",
    "zfs_peer_from": ["192.0.2.0/24", "!192.0.2.9"],
}  # fmt: skip
BAD: list[tuple[str, object]] = [
    ("zfs_peer_name", "b\n    ProxyCommand id"),
    ("zfs_peer_name", ".."),
    ("zfs_peer_name", "authorized_keys"),
    ("zfs_peer_aliases", ["b", "*"]),
    ("zfs_peer_aliases", ["!b"]),
    ("zfs_peer_aliases", ["b c"]),
    ("zfs_peer_aliases", ["-b"]),
    ("zfs_peer_aliases", []),
    ("zfs_peer_address", "192.0.2.2\nProxyCommand id"),
    ("zfs_peer_address", "192.0.2.2 "),
    ("zfs_peer_user", "root\n"),
    ("zfs_peer_home", "/srv/a b"),
    ("zfs_peer_home", "/srv/%h"),
    ("zfs_peer_port", "22\nProxyCommand id"),
    ("zfs_peer_port", 0),
    ("zfs_peer_from", ['192.0.2.1",command="id']),
]


def test_no_value_becomes_another_line(peer: Peer) -> None:
    """Each host of the play has another value that is not allowed, the last one none."""
    templates = {name: f"{{{{ values[inventory_hostname].{name} }}}}" for name in GOOD}
    part = peer.folder / "roles" / "zfs_peer" / "tasks" / "present.yml"
    part.write_text("[]")
    for first in range(0, len(BAD), len(HOSTS) - 1):
        bad = BAD[first : first + len(HOSTS) - 1]
        values = {host: {**GOOD, name: value} for host, (name, value) in zip(HOSTS, bad)}
        variables = json.dumps({**templates, "values": {**dict.fromkeys(HOSTS, GOOD), **values}})
        with pytest.raises(AssertionError) as said:
            peer.play(dict.fromkeys(HOSTS, "main"), "-e", variables)
        assert "has a character that is not allowed there" in str(said.value)
        refused = sorted(set(re.findall(r"(h\d) +: .*failed=1", str(said.value))))
        assert refused == list(values)


addresses = runpy.run_path(str(FILES / "addresses.py"))["addresses"]


def test_the_addresses_that_the_peer_sees() -> None:
    assert addresses("127.0.0.2", "22") == ["127.0.0.1"]
    assert "127.0.0.1" in addresses("localhost", "22")
    run = subprocess.run([sys.executable, "-I", FILES / "addresses.py", "nowhere.invalid", "22"],
                         capture_output=True, text=True, check=False)  # fmt: skip
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("nowhere.invalid has no address here: ")


def test_the_login_is_tried_with_a_command_that_every_gate_runs() -> None:
    variables = yaml.safe_load((ROOT / "roles" / "zfs_peer" / "vars" / "main.yml").read_text())
    assert variables["zfs_peer_true"] == line([["true"]])


def test_a_link_is_neither_followed_nor_replaced(tmp_path: Path) -> None:
    keys, other = tmp_path / "authorized_keys", tmp_path / "shadow"
    other.write_text("root\n")
    keys.symlink_to(other)
    (tmp_path / ".authorized_keys.new").symlink_to(other)
    run = edit(keys, "restrict k cerss.zfs:h1:h1")
    assert "is not a regular file" in run.communicate()[1]
    keys.unlink()
    assert said(edit(keys, "restrict k cerss.zfs:h1:h1")) == "changed"
    assert (run.returncode, other.read_text()) == (1, "root\n")


@pytest.fixture
def peer(tmp_path: Path) -> Peer:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("there is no ssh-keygen")
    return Peer(tmp_path)


@pytest.mark.parametrize("_round", range(int(os.environ.get("CERSS_ROLES_ROUNDS", "0"))))
def test_six_hosts_at_once(peer: Peer, _round: int) -> None:
    peer.keys.write_text(ADMINISTRATOR)
    authorized = peer.play(dict.fromkeys(HOSTS, "authorize"))
    assert authorized == set(HOSTS)
    assert len(peer.lines(*HOSTS)) == len(HOSTS)
    assert peer.keys.read_text().startswith(ADMINISTRATOR + "\n")
    assert [line for line in peer.others() if line] == [line for line in ADMINISTRATOR.split("\n") if line]

    # Check mode tells what would change, and changes nothing.
    text = peer.keys.read_text()
    assert peer.play({"h0": "authorize", "h1": "absent"}, "--check") == {"h1"}
    assert peer.keys.read_text() == text

    # The administrator copies a line, and leaves out the end of the last line.
    (copied,), (rotated,) = peer.lines("h4"), peer.lines("h1")
    peer.keys.write_text(f"{copied}  \n{peer.keys.read_text()}\n# until Friday\nssh-ed25519 EEEE friday")
    expected = [line for line in peer.others() if line not in {"", f"{copied}  "}]

    parts = {"h0": "absent", "h1": "rotate", "h4": "authorize"}
    assert peer.play(parts) == set(parts)
    assert [len(peer.lines(host)) for host in HOSTS] == [0, 1, 1, 1, 1, 1]
    assert peer.lines("h4") == [copied]
    assert rotated not in peer.keys.read_text()
    assert f" {(peer.keys.parent / 'h1.pub').read_text().split()[1]} " in peer.lines("h1")[0]
    assert [line for line in peer.others() if line] == expected


@pytest.mark.parametrize("_round", range(int(os.environ.get("CERSS_ROLES_ROUNDS", "0"))))
def test_hosts_of_two_playbooks(peer: Peer, _round: int) -> None:
    """A throttle counts within one of them, so the one waits for the lock that the other has."""
    peer.keys.write_text(ADMINISTRATOR)
    handle = os.open(peer.keys.parent, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with ThreadPoolExecutor() as pool:
        changed = pool.submit(peer.play, {"h0": "authorize"})
        while not ((peer.folder / "runs").exists() or changed.done()):
            time.sleep(0.1)
        time.sleep(3)
        assert peer.keys.read_text() == ADMINISTRATOR
        peer.keys.write_text(f"{ADMINISTRATOR}\nk of the other\n")
        os.close(handle)
        assert changed.result() == {"h0"}
    assert peer.keys.read_text().startswith(f"{ADMINISTRATOR}\nk of the other\nrestrict,")
