# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine image of each OpenZFS version. recipe.sh builds it; its name in the cache has a hash of recipe.sh."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .base import LabError, cache_dir, locked, remove, say

RECIPE = Path(__file__).resolve().parents[1] / "recipe.sh"
# OpenZFS version -> (Debian suite, suite that ZFS comes from)
VERSIONS = {
    "2.1": ("bookworm", "bookworm"),
    "2.3": ("trixie", "trixie"),
    "2.3.2": ("bookworm", "bookworm-backports"),  # the first with receive:append, and with known faults
    "2.4": ("trixie", "trixie-backports"),
}
DEFAULT_VERSION = "2.3"
EXPECTED_SECONDS = 240


def image_id(version: str) -> str:
    # Without comment lines, which do not change the image.
    recipe = re.sub(r"^\s*#.*\n", "", RECIPE.read_text(), flags=re.M)
    digest = hashlib.sha256((recipe + repr(VERSIONS[version])).encode()).hexdigest()
    return f"{version}-{digest[:12]}"


def image_dir(version: str) -> Path:
    return cache_dir() / "images" / image_id(version)


def is_built(version: str) -> bool:
    return image_dir(version).is_dir()


def ensure(version: str) -> Path:
    """The folder with root.qcow2, vmlinuz and initrd for this version; built first when it is missing."""
    final = image_dir(version)
    images, name = final.parent, final.name
    if final.is_dir():
        return final
    with locked(
        images / f"{name}.lock", f"another process is building the OpenZFS {version} image, waiting for it"
    ) as lock:
        if final.is_dir():
            return final
        for stale in images.glob(f".{name}.*"):  # of a build that was interrupted: we hold the lock, so nobody uses it
            remove(stale)
        part = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=images))
        try:
            _build(version, part, lock)
            part.chmod(0o755)
            part.rename(final)  # so that it is complete or does not exist
        finally:
            remove(part)
    return final


def _build(version: str, part: Path, lock: int) -> None:
    suite, zfs_suite = VERSIONS[version]
    # A plain user's packages are unpacked under other user ids, which must be able to reach the folder.
    work = part if os.geteuid() == 0 else Path(tempfile.mkdtemp(prefix="cerss-zfs-image-"))
    work.chmod(0o777 if work is not part else 0o700)
    # As root, the build has namespaces of its own: its mounts are not visible outside and end with its processes, and
    # these end with the first of them. A plain user's build is in such a namespace anyway.
    alone = [] if os.geteuid() else ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    compiled = cache_dir() / "modules"
    compiled.mkdir(exist_ok=True)
    shutil.copytree(compiled, work / "modules")
    (work / "modules").chmod(0o777)
    log = cache_dir() / "images" / f"build-{version}.log"
    started = time.monotonic()
    try:
        with log.open("wb") as out:
            # The recipe holds the lock too: if we are killed, no other build starts while it still runs.
            process = subprocess.Popen(
                [*alone, "sh", str(RECIPE), str(work), suite, zfs_suite, mirror(), *apt_options()],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, pass_fds=[lock], start_new_session=True,
            )  # fmt: skip
            try:
                _watch(process, log, f"building the OpenZFS {version} image", started)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL if alone else signal.SIGTERM)
                    process.wait()
        if process.returncode:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise LabError(f"the image build failed; its whole output is in {log}, the last lines are:\n{tail}")
        subprocess.run(["qemu-img", "convert", "-O", "qcow2", work / "root.ext4", part / "root.qcow2"], check=True)
        for file in ("vmlinuz", "initrd", "version"):
            if work is not part:
                shutil.copyfile(work / file, part / file)
        for built in (work / "modules").iterdir():
            if not (compiled / built.name).exists():
                shutil.copytree(built, compiled / f".{built.name}", dirs_exist_ok=True)
                (compiled / f".{built.name}").rename(compiled / built.name)
        for left in ("root.ext4", "before", "guest", "modules"):
            remove(part / left)
    finally:
        if work is not part:
            remove(work)
    zfs = (part / "version").read_text().strip()
    say(f"built the image with OpenZFS {zfs} in {time.monotonic() - started:.0f} s")


def _watch(process: subprocess.Popen[bytes], log: Path, what: str, started: float) -> None:
    """Reports the step and the time: each second on a terminal, otherwise at each step and every 30 s."""
    live = sys.stderr.isatty()
    told = -60.0
    previous = ""
    while process.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)
        elapsed = time.monotonic() - started
        steps = re.findall(r"^:: (.*)$", log.read_text(errors="replace"), re.M)
        step = steps[-1] if steps else "starting"
        line = f"{what}: {step} ({elapsed:.0f} s of about {EXPECTED_SECONDS} s)"
        if live:
            print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
        elif step != previous or elapsed - told >= 30:
            say(line)
            told, previous = elapsed, step
    if live:
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def mirror() -> str:
    """The Debian mirror that this machine's own apt uses."""
    if os.environ.get("CERSS_MIRROR"):
        return os.environ["CERSS_MIRROR"]
    listing = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)", "Created-By: Packages"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    for line in listing.stdout.splitlines():
        origin, label, uri = line.split(None, 2)
        if origin == label == "Debian":
            return uri
    raise LabError(
        "apt on this machine has no Debian mirror; run 'apt-get update' as root, or give one: CERSS_MIRROR=http://..."
    )


def apt_options() -> list[str]:
    """The options of apt on this machine that the image build needs too: proxy, certificates, dates."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False).stdout
    ours = r'Acquire::(?:https?::.+|Check-Valid-Until|Check-Date|ForceIPv[46]|Retries) "[^"]+"'
    return [f"--aptopt={option}" for option in re.findall(rf"^({ours});$", dump, re.M)]
