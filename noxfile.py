# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What make runs in environments of its own. antsibull-nox.toml adds the sessions of the Ansible community."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import antsibull_nox
import nox
from uv import find_uv_bin

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"

antsibull_nox.load_antsibull_nox_toml()

# ansible-core, and the Pythons that this version of it runs on, the preferred one first, the oldest last
CORES = {
    "2.16": ("3.12", "3.11", "3.10"),
    "2.18": ("3.13", "3.12", "3.11"),
    "2.20": ("3.13", "3.14", "3.12"),
    "2.21": ("3.14", "3.13", "3.12"),
}
# The core that knows every Python of the target hosts compiles and imports the modules with each of them.
CORE_FOR_TARGETS = "2.20"
OLDEST_TARGET = "3.9"
# requirements/NAME.txt pins the dependency group NAME of pyproject.toml for this Python and all later ones.
PINS = {"constraints": "3.11", "constraints-oldest": OLDEST_TARGET, "galaxy-importer": "3.11"}
PINS |= {f"core-{core}": pythons[-1] for core, pythons in CORES.items()}

ROOT = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cerss.zfs"


@functools.cache
def find_python(*versions: str) -> str | None:
    """The first of these versions that is installed: the path of the interpreter. pyenv's need not be enabled."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv").glob("versions/*/bin")
    path = os.pathsep.join([*map(str, pyenv), os.environ["PATH"]])
    for version in versions:
        found = answer(find_uv_bin(), "python", "find", "--system", version, UV_PYTHON_SEARCH_PATH=path)
        # ansible-test needs both modules, which Debian packages separately.
        if found and answer(found, "-c", "import ensurepip, venv; print('complete')"):
            return found
    return None


def answer(*argv: str, **env: str) -> str:
    """What a command prints on stdout; nothing if it fails."""
    done = subprocess.run(argv, env={**os.environ, **env}, capture_output=True, text=True, check=False)
    return "" if done.returncode else done.stdout.strip()


def install_core(session: nox.Session, core: str) -> None:
    """This ansible-core, as pinned; the session is skipped where no Python fits it."""
    if not session.python:
        session.skip(f"left out: ansible-core {core} needs one of Python {', '.join(sorted(CORES[core]))}")
    session.install("-r", f"requirements/core-{core}.txt")


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
def release(session: nox.Session) -> None:
    """Make releases of a copy of what git knows or would take, dry and for real."""
    session.install("--group", "release", "pytest", "-c", "requirements/constraints.txt")
    copy = copy_collection(session)
    # The checks within find their environments here.
    (copy / ".nox").symlink_to(ROOT / ".nox")
    session.run("pytest", "tests/release", *session.posargs, env={"CERSS_COPY": str(copy)})


@nox.session
def style(session: nox.Session) -> None:
    """Ruff's rules and formatting, for every file: antsibull-nox leaves out scripts and the tests on machines."""
    session.install("ruff", "-c", "requirements/constraints.txt")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def changelog(session: nox.Session) -> None:
    """Lint the changelog and its fragments."""
    session.install("antsibull-changelog", "-c", "requirements/constraints.txt")
    session.run("antsibull-changelog", "lint")


@nox.session
def workflows(session: nox.Session) -> None:
    """Check what GitHub reads: schemas, security, and that the workflow tests every version of ansible-core."""
    session.install("check-jsonschema", "zizmor", "-c", "requirements/constraints.txt")
    files = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob(".github/workflows/*"))
    forms = ".github/ISSUE_TEMPLATE"
    for schema, *checked in (
        ("vendor.github-workflows", *files),
        ("custom.github-workflows-require-timeout", *files),
        ("vendor.dependabot", ".github/dependabot.yml"),
        ("vendor.github-issue-config", f"{forms}/config.yml"),
        ("vendor.github-issue-forms", f"{forms}/bug.yml", f"{forms}/feature.yml"),
    ):
        session.run("check-jsonschema", "--builtin-schema", schema, *checked)
    session.run("zizmor", "--offline", "--no-progress", "--quiet", "--strict-collection", ".")
    cores = re.findall(r"sanity-([\d.]+)", (ROOT / ".github/workflows/tests.yml").read_text())
    if cores != list(CORES):
        session.error(f"tests.yml tests ansible-core {', '.join(cores)} instead of {', '.join(CORES)}")


def empty_folder(session: nox.Session) -> Path:
    """A folder for this session, with nothing in it."""
    folder = Path(session.create_tmp()).resolve() / "work"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def only_collections(folder: Path) -> dict[str, str]:
    """The environment in which Ansible installs collections into this folder, and knows no others."""
    return {"ANSIBLE_COLLECTIONS_PATH": str(folder), "ANSIBLE_HOME": str(folder / "home")}


def tarball() -> Path:
    """Where the session build puts the collection."""
    version = re.search(r"^version: *(\S+)", (ROOT / "galaxy.yml").read_text(), re.MULTILINE)
    return ROOT / "build" / f"cerss-zfs-{version and version[1]}.tar.gz"


@nox.session
def build(session: nox.Session) -> None:
    """Build the collection as Galaxy takes it, in build/, from what git knows or would take."""
    session.install("ansible-core", "-c", "requirements/constraints.txt")
    collection = copy_collection(session)
    session.run(
        *("ansible-galaxy", "collection", "build", "--force", "--output-path", str(tarball().parent), str(collection)),
    )


@nox.session(requires=["build"])
def galaxy(session: nox.Session) -> None:
    """Import the collection as Galaxy would, without a complaint."""
    session.install("-r", "requirements/galaxy-importer.txt")
    session.chdir(empty_folder(session))
    # ansible-lint has its own session.
    env = {"GALAXY_IMPORTER_RUN_ANSIBLE_LINT": "false"}
    log = session.run("python", "-m", "galaxy_importer.main", str(tarball()), env=env, silent=True) or ""
    session.log(log)
    if re.search(r"^(ERROR|WARNING)", log, re.MULTILINE):
        session.error("galaxy-importer complains, see above")


OLDEST_CORE = next(iter(CORES))
# At the top of the installed collection
SHIPPED = {"FILES.json", "MANIFEST.json", "LICENSE", "LICENSES", "README.md", "CHANGELOG.md"}
SHIPPED |= {"changelogs", "docs", "meta", "playbooks", "plugins", "roles"}


@nox.session(python=find_python(*CORES[OLDEST_CORE]) or False, reuse_venv=False, requires=["build"])
def install(session: nox.Session) -> None:
    """Install the collection, and nothing else, on the oldest ansible-core, and use all that it ships."""
    install_core(session, OLDEST_CORE)
    folder = empty_folder(session)
    env = only_collections(folder)

    def run(*argv: str) -> str:
        return session.run(*argv, env=env, silent=True, stderr=None) or ""

    run("ansible-galaxy", "collection", "install", "--offline", str(tarball()))
    installed = folder / "ansible_collections" / "cerss" / "zfs"
    session.install("-r", str(installed / "meta" / "ee-requirements.txt"), "-c", "requirements/constraints.txt")
    session.chdir(folder)
    if unexpected := {path.name for path in installed.iterdir()} - SHIPPED:
        session.error(f"the tarball should not hold {', '.join(sorted(unexpected))}")

    for kind, pattern, part in (
        ("module", "plugins/modules/*.py", "doc"),
        ("filter", "plugins/filter/*.yml", "doc"),
        ("role", "roles/*", "entry_points"),
    ):
        names = sorted(f"cerss.zfs.{path.stem}" for path in ROOT.glob(pattern))
        listed = json.loads(run("ansible-doc", "--type", kind, "--list", "--json", "cerss.zfs"))
        docs = json.loads(run("ansible-doc", "--type", kind, "--json", *names))
        if names != sorted(listed) or not all(docs.get(name, {}).get(part) for name in names):
            session.error(f"ansible-doc lists {sorted(listed)}, and shows {sorted(docs)}, instead of {names}")

    playbook = ("ansible-playbook", "--inventory", "localhost,")
    run(*playbook, "--syntax-check", *(f"cerss.zfs.{path.stem}" for path in ROOT.glob("playbooks/*.yml")))
    query = "[{'name': 'tank/a@s', 'used_bytes': 2048}] | cerss.zfs.snapshot_query('[?used_bytes>bytes(`1K`)].name')"
    task = {"ansible.builtin.assert": {"that": f"{query} == ['tank/a@s']"}}
    (folder / "play.json").write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]))
    run(*playbook, "play.json")


@nox.session(requires=["build"])
def ee(session: nox.Session) -> None:
    """Take the steps with which ansible-builder puts the collection into an image, up to the image itself."""
    session.install("ansible-builder", "ansible-core", "-c", "requirements/constraints.txt")
    session.chdir(empty_folder(session))
    definition = {
        "version": 3,
        "images": {"base_image": {"name": "base:latest"}},
        "additional_build_files": [{"src": str(tarball()), "dest": "."}],
        "dependencies": {"galaxy": {"collections": [{"name": tarball().name, "type": "file"}]}},
    }
    Path("ee.json").write_text(json.dumps(definition))
    session.run("ansible-builder", "create", "--file", "ee.json", "--output-filename", "Containerfile", silent=True)
    # From here on the lines of that Containerfile
    session.chdir("context/_build")
    there = only_collections(Path("collections").resolve())
    session.run("ansible-galaxy", "collection", "install", "-r", "requirements.yml", env=there, silent=True)
    session.run(
        *("python", "scripts/introspect.py", "introspect", "collections"),
        *("--write-pip", "python.txt", "--write-bindep", "system.txt"),
        silent=True,
    )
    for kind, found in ("requirements", "python.txt"), ("bindep", "system.txt"):
        named = (ROOT / "meta" / f"ee-{kind}.txt").read_text().splitlines()
        wanted = [f"{line}  # from collection cerss.zfs" for line in named if line and not line.startswith("#")]
        if Path(found).read_text().splitlines() != wanted:
            session.error(f"ansible-builder finds {Path(found).read_text()}instead of {wanted}")


@nox.session(venv_backend="none")
def requirements(session: nox.Session) -> None:
    """Pin what pyproject.toml names; fail if that changed a pin. "-- --upgrade" pins the newest of everything."""
    before = pinned()
    for group, python in PINS.items():
        session.run(
            *(find_uv_bin(), "pip", "compile", "--group", group, "--python-version", python),
            *("--output-file", f"requirements/{group}.txt", *session.posargs),
            external=True, silent=True,
        )  # fmt: skip
    if pinned() != before and not session.posargs:
        session.error("requirements/ was out of date and has been updated; review the difference and commit it")


def pinned() -> dict[str, str]:
    """The content of each file in requirements/, by name."""
    return {path.name: path.read_text() for path in (ROOT / "requirements").iterdir()}


OLDEST = find_python(OLDEST_TARGET)


@nox.session(name="unit-oldest", python=OLDEST or False)
def unit_oldest(session: nox.Session) -> None:
    """The unit tests of what runs on hosts, on the oldest Python that one may have."""
    if not OLDEST:
        session.skip(f"left out: no Python {OLDEST_TARGET} on this machine")
    session.install("--group", "unit", "-c", "requirements/constraints-oldest.txt")
    files = (f"test_{name}.py" for name in ("distribute", "docs", "failover", "flat_roles", "jobs", "platforms"))
    left_out = [f"--ignore=tests/unit/{path}" for path in ("plugins/action", "plugins/filter", *files)]
    session.run("pytest", "tests/unit", *left_out, *session.posargs)


def sanity(session: nox.Session, core: str) -> None:
    """Run ansible-test sanity."""
    install_core(session, core)
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


def controller(session: nox.Session, core: str) -> None:
    """Transfers on the lab under a controller of this core: what it shows, and what is left when it ends."""
    install_core(session, core)
    session.run("pytest", "tests/system/test_progress.py", *session.posargs)


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
    for function in (sanity, controller):
        nox.session(name=f"{function.__name__}-{core}", python=find_python(*versions) or False)(
            lambda session, function=function, core=core: function(session, core)
        )
