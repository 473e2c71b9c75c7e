# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chooses KVM or emulation. Whether KVM works is tried once by booting a kernel, and the outcome is kept."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from pathlib import Path

from .base import cache_dir, locked, say
from .machine import QEMU, accel_options, run

BOOT_SECONDS = 10


def processor() -> str:
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    return names[0] if names else platform.machine()


def qemu_version() -> str:
    return run([QEMU, "--version"]).stdout.splitlines()[0]


def choose(image: Path) -> str:
    """kvm or tcg."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return _tell("tcg", "you may not use /dev/kvm" if os.path.exists("/dev/kvm") else "/dev/kvm does not exist")
    key = " | ".join((qemu_version(), platform.release(), processor()))
    memory = cache_dir() / "kvm.json"
    with locked(cache_dir() / "kvm.lock", "another process is trying KVM, waiting for it"):
        verdicts = json.loads(memory.read_text()) if memory.exists() else {}
        if key not in verdicts:
            verdicts[key] = _boots(image)
            memory.with_suffix(".new").write_text(json.dumps(verdicts, indent=1))
            memory.with_suffix(".new").replace(memory)
    if verdicts[key]:
        return _tell("kvm", "")
    return _tell("tcg", f"/dev/kvm exists, but a guest does not boot with it; kept in {memory}")


def _tell(accel: str, why: str) -> str:
    say("using hardware virtualization (KVM)" if accel == "kvm" else f"using software emulation: {why}")
    return accel


def _boots(image: Path) -> bool:
    """True when a guest's kernel starts its first process within BOOT_SECONDS."""
    process = subprocess.Popen(
        [QEMU, *accel_options("kvm"), "-machine", "q35", "-m", "512M", "-nodefaults", "-no-user-config",
         "-display", "none", "-no-reboot", "-serial", "stdio", "-kernel", str(image / "vmlinuz"),
         "-initrd", str(image / "initrd"), "-append", "console=ttyS0 panic=-1"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout
    os.set_blocking(process.stdout.fileno(), False)
    deadline = time.monotonic() + BOOT_SECONDS
    output = b""
    try:
        while time.monotonic() < deadline and b"Run /init as init process" not in output:
            output += process.stdout.read() or b""
            if process.poll() is not None:
                break
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    return b"Run /init as init process" in output
