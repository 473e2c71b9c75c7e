# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""scripts/release.py in the copy of this clone that `nox -s release` makes; it commits and tags there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

COPY = Path(os.environ["CERSS_COPY"])
FRAGMENT = COPY / "changelogs" / "fragments" / "a-fix.yml"
FIX = "zfs_clone - says which snapshot blocks the deletion."


def git(*args: str) -> str:
    return subprocess.run(["git", *args], cwd=COPY, capture_output=True, text=True, check=True).stdout.strip()


def release(*args: str) -> subprocess.CompletedProcess[str]:
    script = [sys.executable, str(COPY / "scripts" / "release.py"), *args]
    return subprocess.run(script, cwd=COPY, capture_output=True, text=True, check=False)


def everything() -> tuple[str, ...]:
    """All that a failed or a dry run must leave as it was."""
    tree = git("status", "--porcelain"), git("worktree", "list"), git("for-each-ref")
    return *tree, git("rev-parse", "HEAD"), (COPY / "galaxy.yml").read_text()


@pytest.fixture(scope="module", autouse=True)
def repository() -> None:
    """A repository with one commit, where 0.1.0 is released and a fix has come since."""
    git("init", "--quiet", "--initial-branch", "main")
    git("config", "user.name", "Release Test")
    git("config", "user.email", "test@example.com")
    (COPY / ".git" / "info" / "exclude").write_text(".nox\n")
    FRAGMENT.write_text(f"bugfixes:\n  - {FIX}\n")
    commit("All of it")
    git("tag", "0.1.0")


def commit(message: str) -> None:
    git("add", "--all")
    git("commit", "--quiet", "--message", message)


def refused(*args: str) -> str:
    before = everything()
    done = release(*args)
    assert done.returncode == 1, done.stdout
    assert everything() == before
    assert done.stderr.startswith("No release: ")
    return done.stderr


@pytest.mark.parametrize("version", ["0.1.0", "0.0.9", "0.1.0-rc.1"])
def test_a_version_that_is_not_later_is_refused(version: str) -> None:
    assert f"{version} is not later than 0.1.0, which is already released" in refused(version)


@pytest.mark.parametrize("version", ["1.2", "v1.2.3", "1.02.3", "latest"])
def test_what_is_no_semantic_version_is_refused(version: str) -> None:
    assert f"'{version}' is not a semantic version" in refused(version)


def test_a_changed_work_tree_is_refused() -> None:
    added = COPY / "new.txt"
    added.touch()
    assert "?? new.txt" in refused("0.2.0")
    added.unlink()


def test_without_a_branch_it_is_refused() -> None:
    git("checkout", "--quiet", "--detach")
    assert "no branch is checked out" in refused("0.2.0")
    git("checkout", "--quiet", "main")


def test_what_fails_on_the_way_leaves_all_as_it_was() -> None:
    FRAGMENT.write_text("bugs:\n  - None.\n")
    commit("A section that there is not")
    assert "antsibull-changelog" in refused("0.2.0")
    git("reset", "--quiet", "--hard", "HEAD~1")


def test_a_dry_run_shows_all_and_leaves_the_tarball() -> None:
    before = everything()
    done = release("--dry-run", "0.2.0-rc.1")
    assert not done.returncode, done.stderr
    assert everything() == before
    assert "+## v0\\.2\\.0\\-rc\\.1" in done.stdout
    assert "+version: 0.2.0-rc.1" in done.stdout
    with tarfile.open(COPY / "build" / "cerss-zfs-0.2.0-rc.1.tar.gz") as tarball:
        manifest, changelog = (tarball.extractfile(name) for name in ("MANIFEST.json", "CHANGELOG.md"))
        assert manifest
        assert changelog
        assert json.load(manifest)["collection_info"]["version"] == "0.2.0-rc.1"
        assert FIX.replace("_", "\\_").replace("-", "\\-").replace(".", "\\.") in changelog.read().decode()


def test_a_release_is_committed_and_tagged_and_nothing_is_sent() -> None:
    start = git("rev-parse", "HEAD")
    done = release("0.2.0")
    assert not done.returncode, done.stderr
    assert "git push --atomic origin main 0.2.0" in done.stdout
    assert not git("status", "--porcelain")
    assert git("rev-parse", "HEAD~2") == start
    assert git("rev-parse", "HEAD~1") == git("rev-parse", "0.2.0^{commit}")
    assert "\nversion: 0.2.0\n" in git("show", "0.2.0:galaxy.yml")
    assert "\nversion: 0.3.0\n" in git("show", "HEAD:galaxy.yml")
    assert yaml.safe_load(git("show", "0.2.0:changelogs/changelog.yaml"))["releases"]["0.2.0"]["changes"]
    assert not FRAGMENT.exists()
    assert "fragments is empty" in refused()
