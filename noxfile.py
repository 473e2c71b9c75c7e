# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What make runs in environments of its own. antsibull-nox.toml adds the sessions of the Ansible community."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import antsibull_nox
import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"

antsibull_nox.load_antsibull_nox_toml()

# ansible-core, and the Pythons that this version of it runs on, the preferred one first
CORES = {
    "2.16": ("3.12", "3.11", "3.10"),
    "2.18": ("3.13", "3.12", "3.11"),
    "2.20": ("3.13", "3.14", "3.12"),
    "2.21": ("3.14", "3.13", "3.12"),
}
# The core that knows every Python of the target hosts compiles and imports the modules with each of them.
CORE_FOR_TARGETS = "2.20"
OLDEST_TARGET = "3.9"

ROOT = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cerss.zfs"


def find_python(*versions: str) -> str | None:
    """The first working interpreter of these versions, on PATH or among those of pyenv."""
    pyenv = []
    if shutil.which("pyenv"):
        pyenv = subprocess.run(["pyenv", "root"], capture_output=True, text=True, check=True).stdout.split()
    for version in versions:
        found = [shutil.which(f"python{version}")]
        found += [str(path) for root in pyenv for path in Path(root, "versions").glob(f"{version}.*/bin/python")]
        for python in filter(None, found):
            # It may be a shim that leads nowhere, or lack what Debian packages apart.
            asked = [python, "-c", "import ensurepip, sys, venv; print(sys.executable)"]
            answer = subprocess.run(asked, capture_output=True, text=True, check=False)
            if answer.returncode == 0:
                return answer.stdout.strip()
    return None


def copy_collection(session: nox.Session) -> Path:
    """A copy of what git knows or would take, under the path that Ansible wants."""
    target = Path(session.create_tmp()).resolve() / "ansible_collections" / "cerss" / "zfs"
    shutil.rmtree(target, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name, follow_symlinks=False)
    return target


@nox.session
def changelog(session: nox.Session) -> None:
    """Lint the changelog and its fragments."""
    session.install("antsibull-changelog", "-c", "requirements/constraints.txt")
    session.run("antsibull-changelog", "lint")


@nox.session
def galaxy(session: nox.Session) -> None:
    """Build the collection and import it as Galaxy would, without a complaint."""
    session.install("-r", "requirements/galaxy-importer.txt")
    collection = copy_collection(session)
    session.chdir(session.create_tmp())
    session.run("ansible-galaxy", "collection", "build", "--force", str(collection), silent=True)
    tarball = next(Path().glob("cerss-zfs-*.tar.gz"))
    # ansible-lint has its own session.
    env = {"GALAXY_IMPORTER_RUN_ANSIBLE_LINT": "false"}
    log = session.run("python", "-m", "galaxy_importer.main", str(tarball), env=env, silent=True) or ""
    session.log(log)
    tarball.unlink()
    if re.search(r"^(ERROR|WARNING)", log, re.MULTILINE):
        session.error("galaxy-importer complains, see above")


OLDEST = find_python(OLDEST_TARGET)


@nox.session(name="unit-oldest", python=OLDEST or False)
def unit_oldest(session: nox.Session) -> None:
    """The unit tests on the oldest Python that a target host may have."""
    if not OLDEST:
        session.skip(f"left out: no Python {OLDEST_TARGET} on this machine")
    session.install("-r", "requirements/unit.in", "-c", "requirements/constraints-oldest.txt")
    session.run("pytest", "tests/unit", *session.posargs)


def sanity(session: nox.Session, core: str) -> None:
    """Run ansible-test sanity."""
    if not session.python:
        session.skip(f"left out: ansible-core {core} needs one of Python {', '.join(sorted(CORES[core]))}")
    session.install("-r", f"requirements/core-{core}.txt")
    collection = copy_collection(session)

    # A home of its own keeps the environments that ansible-test makes, for every clone on this machine.
    home = CACHE / f"ansible-test-{core}"
    provide_get_pip(session, home)
    pythons = home / "pythons"
    shutil.rmtree(pythons, ignore_errors=True)
    pythons.mkdir()
    for version in ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14"):
        if python := find_python(version):
            (pythons / f"python{version}").symlink_to(python)
    env = {"HOME": str(home), "PATH": os.pathsep.join((session.bin, str(pythons), os.environ["PATH"]))}
    version = session.run("python", "-c", "import sys; print('%d.%d' % sys.version_info[:2])", silent=True) or ""
    session.chdir(collection)
    # Otherwise ansible-test asks the git around it, which ignores this place.
    session.run("git", "init", "--quiet", external=True)
    session.run("git", "add", "--all", external=True)
    session.run("ansible-test", "sanity", "--python", version.strip(), *session.posargs, env=env)
    if core == CORE_FOR_TARGETS and not session.posargs:
        session.run("ansible-test", "sanity", "--test", "compile", "--test", "import", env=env)


def provide_get_pip(session: nox.Session, home: Path) -> None:
    """Install pip from where everything else comes from: ansible-test would load a script from a server of its own."""
    code = "import ansible_test._internal.python_requirements as r; print(r.__file__)"
    source = Path((session.run("python", "-c", code, silent=True) or "").strip())
    scripts = home / ".ansible" / "test" / "cache"
    scripts.mkdir(parents=True, exist_ok=True)
    for version in re.findall(r"pip='([\d.]+)'", source.read_text()):
        (scripts / f"get_pip_{version.replace('.', '_')}.py").write_text(GET_PIP)


GET_PIP = """
import shutil, subprocess, sys
packages = [arg for arg in sys.argv[1:] if not arg.startswith("-")]
uv = shutil.which("uv")
if not uv or subprocess.call([uv, "pip", "install", "--quiet", "--python", sys.executable] + packages):
    subprocess.check_call([sys.executable, "-m", "ensurepip"], stdout=subprocess.DEVNULL)
    subprocess.check_call([sys.executable, "-m", "pip", "install", "--quiet"] + packages)
"""

for core, versions in CORES.items():
    nox.session(name=f"sanity-{core}", python=find_python(*versions) or False)(
        lambda session, core=core: sanity(session, core)
    )
