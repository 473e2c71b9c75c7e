# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One QEMU machine in a folder: its disks, its process, its monitor, its ssh."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .base import LabError, interrupted, remove

QEMU = "qemu-system-x86_64"
DATA_DISKS = ("vdb", "vdc", "vdd")
DISKS = ("vda", *DATA_DISKS)
DISK_SIZE = "2G"
MEMORY = "1536M"
# On a busy machine the kernel's test of its timer fails, and that is a panic; a panic ends QEMU, so that it is noticed.
KERNEL_OPTIONS = "console=ttyS0 root=LABEL=root ro net.ifnames=0 mitigations=off quiet no_timer_check panic=1"
KERNEL_OPTIONS += " rcupdate.rcu_expedited=1"  # boots faster
LOAD_SECONDS = 180


def process_start(pid: int) -> str | None:
    """When the process began, in clock ticks; None when it has ended. With the pid this identifies a process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


def accel_options(accel: str) -> list[str]:
    if accel == "kvm":
        return ["-accel", "kvm", "-cpu", "host"]
    # QEMU 7.2 emulates CMPXCHG16B wrongly (it spoils the flags) and the guest's kernel dies of it: hide it.
    return ["-accel", "tcg,thread=multi", "-cpu", "max,cx16=off"]


def run(argv: Sequence[object], **options: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise LabError(f"'{' '.join(str(a) for a in argv)}' failed: {(done.stderr or done.stdout).strip()}")
    return done


@dataclass
class Machine:
    """All that is needed to start a machine again. fleet.py stores it in state.json."""

    name: str
    number: int
    folder: Path
    image: Path
    accel: str
    wire: int  # UDP port of the private wire
    saved: Path | None = None  # the saved state that it was resumed from
    port: int = 0
    pid: int = 0
    started: str = ""

    @property
    def address(self) -> str:
        return f"192.168.77.{self.number}"

    @property
    def version(self) -> str:
        """The OpenZFS version that the image's name begins with, such as 2.3."""
        return self.image.name.partition("-")[0]

    @property
    def running(self) -> bool:
        """True while our process lives; the pid alone may belong to another process by now."""
        if not self.pid or process_start(self.pid) != self.started:
            return False
        try:
            line = Path(f"/proc/{self.pid}/cmdline").read_bytes()
            return not line or os.fsencode(self.folder) in line  # empty for a moment while the program starts
        except OSError:
            return False

    def hardware(self) -> list[str]:
        """The arguments of QEMU that a saved state depends on."""
        disks: list[str] = []
        for disk in DISKS:
            disks += ["-drive", f"file={disk}.qcow2,id={disk},if=none,format=qcow2,cache=unsafe,discard=unmap"]
            disks += ["-device", f"virtio-blk-pci,drive={disk},serial={disk}"]
        return [
            *("-machine", "q35", *accel_options(self.accel), "-smp", "2", "-m", MEMORY),
            *("-nodefaults", "-no-user-config", "-display", "none", "-rtc", "base=utc"),
            *disks,
            *("-drive", "file=identity.tar,id=identity,if=none,format=raw,readonly=on"),
            *("-device", "virtio-blk-pci,drive=identity,serial=identity"),
            *("-device", f"virtio-net-pci,netdev=user,mac=52:54:00:77:00:{self.number:02x},romfile="),
            *("-device", f"virtio-net-pci,netdev=wire,mac=52:54:00:77:01:{self.number:02x},romfile="),
            # Machines that resume from one state must not draw the same random numbers (ZFS makes GUIDs of them).
            *("-device", "vmgenid,guid=auto"),
        ]

    def create_disks(self, backing: Path, *, blank_data: bool) -> None:
        """New disks on top of those in a folder (an image or a saved state), which are not changed."""
        for disk in DISKS:
            base = backing / ("root.qcow2" if blank_data else f"{disk}.qcow2")
            target = self.folder / f"{disk}.qcow2"
            remove(target)
            if blank_data and disk != "vda":
                run(["qemu-img", "create", "-q", "-f", "qcow2", target, DISK_SIZE])
            else:
                run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, target])

    def start(self, incoming: Path | None = None) -> None:
        """Starts QEMU and returns. It resumes the memory in ``incoming``, or boots without it."""
        for left in ("qmp", "console.log"):
            remove(self.folder / left)
        argv = [
            *(QEMU, "-name", self.name, *self.hardware()),
            *("-netdev", f"user,id=user,hostfwd=tcp:127.0.0.1:{self.port}-:22"),
            *("-netdev", f"socket,id=wire,mcast=230.0.0.1:{self.wire},localaddr=127.0.0.1"),
            *("-kernel", str(self.image / "vmlinuz"), "-initrd", str(self.image / "initrd")),
            *("-append", KERNEL_OPTIONS, "-no-reboot"),
            *("-qmp", "unix:qmp,server=on,wait=off", "-serial", f"file:{self.folder}/console.log"),
            *(["-incoming", f"exec:cat '{incoming}'"] if incoming else []),
        ]
        with (self.folder / "qemu.log").open("ab") as log:
            process = subprocess.Popen(
                argv, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.pid, self.started = process.pid, process_start(process.pid) or ""
        try:
            self._come_up(incoming is not None)
        except BaseException:
            self.stop()
            raise

    def _first_monitor(self) -> Monitor:
        """The socket is there a moment before QEMU listens."""
        deadline = time.monotonic() + 10
        while self.running and time.monotonic() < deadline:
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                return Monitor(self.folder)
            time.sleep(0.02)
        raise LabError(f"QEMU for {self.name} did not start\n{self.last_words()}")

    def _come_up(self, resumes: bool) -> None:
        with self._first_monitor() as monitor:
            if resumes:
                monitor.wait(
                    "query-status", lambda now: now["status"] == "paused", LOAD_SECONDS, "the saved state to load"
                )
                monitor.execute("cont")  # it was paused when it was saved
            # Port 0 lets the kernel choose a free one, which no other process can take in between.
            found = re.search(r"HOST_FORWARD.*?127\.0\.0\.1\s+(\d+)", monitor.command("info usernet"))
            if not found:
                raise LabError(f"QEMU does not report the ssh port of {self.name}")
            self.port = int(found.group(1))

    def last_words(self) -> str:
        """The last lines of QEMU and the guest's console, for errors: the folder is removed when a start fails."""
        files = [self.folder / name for name in ("qemu.log", "console.log")]
        lines = [file.read_text(errors="replace").splitlines()[-10:] for file in files if file.exists()]
        return "\n".join(line for part in lines for line in part)

    def stop(self) -> None:
        """Cuts the power: what the guest wrote to its disks stays, what it had in memory is lost."""
        if self.running:
            try:
                with Monitor(self.folder) as monitor:
                    monitor.execute("quit")  # not a signal: QEMU still writes its disk files' own tables
            except (OSError, LabError):
                pass
            if not self._gone(10):
                os.kill(self.pid, signal.SIGKILL)
                self._gone(5)
        self.pid = 0

    def _gone(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.running and time.monotonic() < deadline:
            time.sleep(0.02)
        return not self.running

    def save(self, target: Path) -> None:
        """Writes the memory to a file and stops, so that disks and memory belong together."""
        with Monitor(self.folder) as monitor:
            monitor.execute("migrate-set-parameters", {"max-bandwidth": 1 << 40, "downtime-limit": 60000})
            monitor.execute("stop")
            monitor.execute("migrate", {"uri": f"exec:cat > '{target}'"})

            def finished(state: dict[str, Any]) -> bool:
                if state.get("status") == "failed":
                    raise LabError(f"saving {self.name} failed: {state.get('error-desc')}")
                return state.get("status") == "completed"

            monitor.wait("query-migrate", finished, 120, "the state to be saved")
        self.stop()


class Monitor:
    """QEMU's control socket (QMP)."""

    def __init__(self, folder: Path) -> None:
        # A socket's path may have 107 characters; through the folder's descriptor it is short wherever the lab is.
        directory = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        try:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(30)
            self._socket.connect(f"/proc/self/fd/{directory}/qmp")
        finally:
            os.close(directory)
        self._stream = self._socket.makefile("rw", encoding="utf-8")
        self._stream.readline()  # greeting
        self.execute("qmp_capabilities")

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._socket.close()

    def execute(self, command: str, arguments: dict[str, Any] | None = None) -> Any:
        message = {"execute": command, **({"arguments": arguments} if arguments else {})}
        self._stream.write(json.dumps(message) + "\n")
        self._stream.flush()
        for line in self._stream:
            answer = json.loads(line)
            if "error" in answer:
                raise LabError(f"QEMU refused {command}: {answer['error'].get('desc')}")
            if "return" in answer:
                return answer["return"]
        raise LabError(f"QEMU ended during {command}")

    def command(self, line: str) -> str:
        return str(self.execute("human-monitor-command", {"command-line": line}))

    def wait(self, query: str, ready: Any, seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not ready(self.execute(query)):
            if time.monotonic() > deadline or interrupted.is_set():
                raise LabError(f"waited {seconds:.0f} s in vain for {what}")
            time.sleep(0.02)
