# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a release: changelog, version, tarball, commits and tag. `make release` runs it. It publishes nothing.

It works in a separate work tree. This work tree gets the commits only after all checks passed, and not in a dry run.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from semantic_version import Version, validate

CLONE = Path(__file__).resolve().parents[1]
APART = CLONE / ".cache" / "release"  # the separate work tree


class Stop(Exception):
    """The release cannot be made; the message is for the user."""


def version_of(text: str) -> Version:
    try:
        return Version(text)
    except ValueError:
        raise Stop(f"'{text}' is not a semantic version; give one such as 1.2.0 or 2.0.0-rc.1") from None


def expected_after(version: Version) -> Version:
    """The version in galaxy.yml after this release."""
    return version.truncate() if version.prerelease else version.next_minor()


def run(*argv: str, cwd: Path = CLONE, quiet: bool = True) -> str:
    done = subprocess.run(
        argv, cwd=cwd, text=True, check=False, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if quiet else None, stderr=subprocess.STDOUT if quiet else None,
    )  # fmt: skip
    if done.returncode:
        raise Stop(f"'{' '.join(argv)}' failed: {(done.stdout or 'see above').strip()}")
    return (done.stdout or "").strip()


def named() -> str:
    """The version in galaxy.yml."""
    return str(yaml.safe_load((CLONE / "galaxy.yml").read_text())["version"])


def check(version: Version) -> str:
    """Returns the branch. Raises Stop when no release can be made of the work tree."""
    branch = run("git", "branch", "--show-current")
    if not branch:
        raise Stop("no branch is checked out; check out the branch to release from")
    if changed := run("git", "status", "--porcelain"):
        raise Stop(f"the work tree is not clean; commit, stash or remove:\n{changed}")
    changelog = yaml.safe_load((CLONE / "changelogs" / "changelog.yaml").read_text())["releases"]
    released = [Version(text) for text in {*changelog, *run("git", "tag").split()} if validate(text)]
    if released and version <= max(released):
        raise Stop(f"{version} is not later than {max(released)}, which is already released; give a later version")
    if not any((CLONE / "changelogs" / "fragments").glob("*.y*ml")):
        raise Stop("changelogs/fragments is empty; add a fragment for each change that users notice")
    return branch


def set_version(version: Version) -> None:
    path = APART / "galaxy.yml"
    path.write_text(re.sub(r"(?m)^version: .*", f"version: {version}", path.read_text()))


def commit(message: str) -> str:
    run("git", "add", "--all", cwd=APART)
    run("git", "commit", "--quiet", "--allow-empty", "--message", message, cwd=APART)
    return run("git", "rev-parse", "HEAD", cwd=APART)


def make(version: Version) -> tuple[str, str, Path]:
    """(the release's commit, the commit after it, the tarball), made in the separate work tree."""
    print(f"Making {version} in {APART.relative_to(CLONE)}", flush=True)
    set_version(version)
    run("antsibull-changelog", "release", cwd=APART)
    release = commit(f"Release {version}")
    nox = ("nox", "--envdir", str(CLONE / ".nox"), "--noxfile", str(APART / "noxfile.py"))
    run(*nox, "--session", "changelog", "galaxy", cwd=APART)
    (built,) = (APART / "build").glob("*.tar.gz")
    set_version(expected_after(version))
    return release, commit(f"The next release is expected to be {expected_after(version)}"), built


def release(version: Version, dry: bool) -> None:
    branch = check(version)
    remove_apart()
    run("git", "worktree", "add", "--quiet", "--detach", str(APART))
    try:
        released, after, built = make(version)
        print(run("git", "diff", released + "~", released, "--", "CHANGELOG.md", "galaxy.yml"))
        (CLONE / "build").mkdir(exist_ok=True)
        tarball = Path(shutil.copy2(built, CLONE / "build")).relative_to(CLONE)
        if dry:
            print(f"\nDry run: the release would be {tarball}. Nothing else was changed.")
            return
        run("git", "tag", "--annotate", "--message", f"cerss.zfs {version}", str(version), released)
        try:
            run("git", "merge", "--quiet", "--ff-only", after)
        except Stop:
            run("git", "tag", "--delete", str(version))
            raise
    finally:
        remove_apart()
    print(
        f"\n{version} is committed and tagged in this clone only; the tarball is {tarball}.\n"
        f"To publish it on GitHub and Galaxy, by .github/workflows/release.yml:\n"
        f"  git push --atomic origin {branch} {version}\n"
        f"To undo it instead:\n"
        f"  git tag --delete {version} && git reset --keep HEAD~2"
    )


def remove_apart() -> None:
    """Removes the separate work tree, also one that a killed run left behind."""
    shutil.rmtree(APART, ignore_errors=True)
    run("git", "worktree", "prune")


def main() -> int:
    parser = argparse.ArgumentParser(description="Make a release in this clone.")
    parser.add_argument("version", nargs="?", default="", help="by default the one in galaxy.yml")
    parser.add_argument("--dry-run", action="store_true", help="show the release and keep only the tarball, in build/")
    options = parser.parse_args()
    try:
        release(version_of(options.version or named()), options.dry_run)
    except Stop as why:
        print(f"No release: {why}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
