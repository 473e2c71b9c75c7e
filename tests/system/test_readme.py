# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The README and "Getting started" do what they say, as they stand there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import CLONE, Ansible, Backend, lab_command
from yaml import safe_load

# The hosts of both texts, and the machines that stand for them
HERE = {"storage1.example.com": "backend-a", "storage2.example.com": "backend-b",
        "storage1": "backend-a", "storage2": "backend-b"}  # fmt: skip
STARTED = CLONE / "docs" / "docsite" / "rst" / "getting_started.rst"
REPOSITORY = "https://github.com/cerss/cerss.zfs"
MOST_COMMANDS = 12


def here(text: str) -> str:
    for said, name in HERE.items():
        text = text.replace(said, name)
    return text


def yaml_blocks() -> Iterator[Any]:
    """Of the README, in order."""
    text = here((CLONE / "README.md").read_text())
    yield from map(safe_load, re.findall(r"^```ya?ml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))


def test_first_playbook(backends: list[Backend], ansible: Ansible) -> None:
    plays = next(block for block in yaml_blocks() if isinstance(block, list) and "hosts" in block[0])
    source = backends[0]
    datasets = plays[0]["vars"]["datasets"]
    for dataset in datasets:
        source.zfs("create", "-p", dataset)
        source.fill(dataset, 1)

    assert any(result.get("changed") for result in ansible.play(plays))
    guids = {backend.zfs("list", "-H", "-t", "snapshot", "-o", "guid") for backend in backends[:2]}
    assert len(guids) == 1, "the replicas have other snapshots than their sources"
    snapshots = source.zfs("list", "-H", "-t", "snapshot", "-o", "name").split()
    assert [name.partition("@")[0] for name in snapshots] == datasets

    before = [backend.dump() for backend in backends]
    again = ansible.play(plays)
    assert again
    assert not any(result["changed"] for result in again)
    assert [backend.dump() for backend in backends] == before


def test_the_first_playbook_has_no_expression_but_variables() -> None:
    text = (CLONE / "README.md").read_text()
    assert [found for found in re.findall(r"\{\{(.*?)\}\}", text) if not re.fullmatch(r" \w+ ", found)] == []
    assert "{%" not in text


def test_first_job(backends: list[Backend], ansible: Ansible) -> None:
    """With the second machine for both targets."""
    source, target = backends[:2]
    (jobs,) = [block["zfs_jobs"] for block in yaml_blocks() if isinstance(block, dict) and "zfs_jobs" in block]
    assert len(jobs) == 1
    for each in jobs[0]["targets"]:
        each.update(host="backend-b", parent=f"backup/{each['parent']}")
    for dataset in jobs[0]["datasets"]:
        source.zfs("create", "-p", dataset)
    role = {"role": "cerss.zfs.zfs_jobs", "vars": {"zfs_jobs": jobs}}
    for changed in (True, False):
        results = ansible.play([{"hosts": "backend-a", "gather_facts": False, "roles": [role]}])
        assert any(result.get("changed") for result in results) == changed
    names = target.zfs("list", "-H", "-t", "snapshot", "-o", "name").split()
    assert sorted(name.partition("@")[0] for name in names) == [
        "backup/archive/db", "backup/archive/wal", "backup/backup/db", "backup/backup/wal",
    ]  # fmt: skip


def started(language: str) -> Iterator[tuple[str, str]]:
    """(caption, text) of the blocks of "Getting started" in that language, with the names of the machines."""
    directive = rf"^\.\. code-block:: {language}\n(?: +:caption: (.*)\n)?\n((?: +.*\n|\n)+)"
    for caption, block in re.findall(directive, STARTED.read_text(), re.MULTILINE):
        yield caption, here(textwrap.dedent(block))


@pytest.fixture
def bare(lab: Path, lab_backends: list[Backend]) -> Iterator[list[Backend]]:
    """Machines that have nothing but their pools, and are so again afterwards."""
    lab_command("restore", "--dir", lab)
    lab_command("reset", "--dir", lab)
    yield lab_backends[:2]
    lab_command("restore", "--dir", lab)


def snapshot_of_this_clone(folder: Path) -> Path:
    """A repository with what git knows or would take here, since ansible-galaxy takes only what is committed."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CLONE, capture_output=True, check=True,
    ).stdout  # fmt: skip
    kept = b"\0".join(name for name in names.split(b"\0") if name and (CLONE / os.fsdecode(name)).exists())
    folder.mkdir()
    packed = subprocess.run(["tar", "-c", "--null", "-T", "-"], cwd=CLONE, input=kept, capture_output=True, check=True)
    subprocess.run(["tar", "-x"], cwd=folder, input=packed.stdout, check=True)
    who = ["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "test"]):
        subprocess.run(["git", *who, *words], cwd=folder, check=True)
    return folder


@pytest.mark.no_gate("it sets up the gates itself")
def test_getting_started(bare: list[Backend], lab: Path, ansible: Ansible, tmp_path: Path) -> None:
    """From two bare machines to a second increment as service user through the gate, by the commands of the page."""
    source, target = bare
    files = {caption: text for caption, text in started("yaml") if caption}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    commands = [
        line for _caption, text in started("console") for line in text.replace("\\\n", " ").splitlines() if line
    ]
    assert len(commands) <= MOST_COMMANDS
    clone = snapshot_of_this_clone(tmp_path / "clone")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
        "ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "collections"),
        "ANSIBLE_HOME": str(tmp_path / "home"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_SSH_ARGS": f"-F {lab / 'ssh_config'}",
        "PATH": ansible.environment["PATH"],
    }
    printed = ""
    for command in commands:
        command = command.replace(REPOSITORY, f"file://{clone}")
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        printed += done.stdout

    sent = [backend.zfs("list", "-Ho", "guid", "-t", "snapshot", "-r", name).split()
            for backend, name in zip(bare, ("tank/db", "backup/backend-a/db"))]  # fmt: skip
    assert len(sent[0]) == 3
    assert sent[0] == sent[1]
    newest = target.zfs("list", "-Ho", "name", "-t", "snapshot", "-s", "creation", "backup/backend-a/db").split()[-1]
    assert source.checksum(f"tank/db@{newest.partition('@')[2]}") == target.checksum(newest)
    assert json.dumps(sent[1][-1]) in printed, "the last command does not show the replica"
    assert "cerss-zfs" in target.run(["cat", "/var/lib/cerss-zfs/.ssh/authorized_keys"]).stdout
    assert source.run("runuser -u cerss-zfs -- ssh -o BatchMode=yes backend-b id", check=False).returncode != 0
