# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab: a folder with machines, and the commands on them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import TypeVar

from . import accel, identity, image
from .base import LabError, cache_dir, interrupted, locked, remove, say
from .machine import DISKS, KERNEL_OPTIONS, Machine, process_start, run

T = TypeVar("T")
# Far more than needed on an idle machine, so that a busy one does not fail.
BOOT_SECONDS = 600
RESUME_SECONDS = 180

GUEST = Path(__file__).resolve().parents[1] / "guest"
PREPARE, RESET, RESEED = (
    "".join((GUEST / f"{part}.sh").read_text() for part in ("pools", name)) for name in ("prepare", "reset", "reseed")
)


class Lab:
    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._files = threading.Lock()

    # -- the machines ----------------------------------------------------------------------------------------------

    def machines(self) -> list[Machine]:
        return [self._load(file) for file in sorted(self.folder.glob("*/state.json"))]

    def machine(self, name: str) -> Machine:
        for machine in self.machines():
            if machine.name == name:
                return machine
        known = ", ".join(m.name for m in self.machines()) or "none"
        raise LabError(f"the lab {self.folder} has no machine '{name}', only {known}; 'lab.py up' starts machines")

    @staticmethod
    def _load(file: Path) -> Machine:
        values = json.loads(file.read_text())
        paths = {key: Path(values[key]) for key in ("folder", "image", "saved") if values[key]}
        return Machine(**{**values, **paths})

    @staticmethod
    def _store(machine: Machine) -> None:
        values = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(machine).items()}
        new = machine.folder / "state.new"
        new.write_text(json.dumps(values, indent=1))
        new.replace(machine.folder / "state.json")

    def _locked(self) -> contextlib.AbstractContextManager[int]:
        return locked(self.folder / "lock", f"waiting for another command on the lab {self.folder}")

    # -- up and down -----------------------------------------------------------------------------------------------

    def up(self, count: int, versions: dict[str, str], *, cold: bool = False, parent: int = 0) -> bool:
        """Starts the machines that do not run. Returns True when none ran before."""
        began = time.monotonic()
        with self._locked():
            known = {machine.name: machine for machine in self.machines()}
            present = {name: machine for name, machine in known.items() if machine.running}
            fresh = not present
            for name in present.keys() & versions.keys():
                if present[name].version != versions[name]:
                    raise LabError(f"{name} already runs OpenZFS {present[name].version}; take the lab down first")
            versions = {**{name: machine.version for name, machine in known.items()}, **versions}
            missing = [name for name in sorted({*identity.NAMES[:count], *known}) if name not in present]
            if not missing:
                say(f"the lab {self.folder} is up: {', '.join(present)}")
                return False
            images = {name: image.ensure(versions.get(name, image.DEFAULT_VERSION)) for name in missing}
            how = accel.choose(next(iter(images.values())))
            wire = next((machine.wire for machine in present.values()), 0) or free_wire_port()
            new = [self._define(name, images[name], how, wire) for name in missing]
            try:
                if fresh and parent:
                    self._guard(parent)
                if cold:
                    self._each(new, self._prepare)
                else:
                    states = self._saved_states(new)
                    self._each([replace(machine, saved=states[machine.name]) for machine in new], self._resume)
            except BaseException:
                self._stop(new)
                if fresh:
                    self._end_guard()
                raise
        say(f"ssh answers on {' and '.join(missing)} after {time.monotonic() - began:.1f} s")
        return fresh

    def down(self) -> None:
        if not self.folder.is_dir():
            return
        with self._locked():
            self._stop(self.machines())
            self._end_guard()
            for name in (*identity.NAMES, "inventory.yml", "ssh_config", "known_hosts"):
                remove(self.folder / name)

    def _stop(self, machines: Iterable[Machine]) -> None:
        def stop(machine: Machine) -> None:
            self._hang_up(machine)
            machine.stop()
            remove(machine.folder)

        # As stored in the folder: an interrupted start may have gone further than ``machines`` shows.
        names = {machine.name for machine in machines}
        self._each([machine for machine in self.machines() if machine.name in names], stop)

    def _define(self, name: str, image_dir: Path, how: str, wire: int) -> Machine:
        folder = self.folder / name
        remove(folder)
        folder.mkdir(parents=True)
        return Machine(name, identity.NAMES.index(name) + 1, folder, image_dir, how, wire)

    @staticmethod
    def _each(machines: Sequence[Machine], work: Callable[[Machine], T]) -> list[T]:
        if not machines:
            return []
        with ThreadPoolExecutor(len(machines)) as pool:
            futures = [pool.submit(work, machine) for machine in machines]
            try:
                return [future.result() for future in futures]
            except (KeyboardInterrupt, SystemExit):
                interrupted.set()  # so that the threads do not wait for machines that are about to be stopped
                raise

    # -- starting one ----------------------------------------------------------------------------------------------

    def _prepare(self, machine: Machine) -> None:
        """Boots the image and makes the pools."""
        write_identity(machine)
        machine.create_disks(machine.image, blank_data=True)
        self._run_machine(machine, BOOT_SECONDS)
        self.script(machine, PREPARE)

    def _resume(self, machine: Machine) -> None:
        assert machine.saved
        write_identity(machine)
        machine.create_disks(machine.saved, blank_data=False)
        self._run_machine(machine, RESUME_SECONDS, machine.saved / "memory")

    def _run_machine(self, machine: Machine, seconds: float, incoming: Path | None = None) -> None:
        machine.start(incoming)
        with self._files:
            self._store(machine)
            self._write_access()
        self._wait_for_ssh(machine, seconds)

    def _wait_for_ssh(self, machine: Machine, seconds: float) -> None:
        """The first connection also sets the clock, which has the time of the save after a resume."""
        deadline = time.monotonic() + seconds
        while True:
            ssh = subprocess.Popen(
                [*self.ssh_argv(), "-o", "ConnectTimeout=10", machine.name, "echo ready; read now; date -s @$now"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            assert ssh.stdin
            assert ssh.stdout
            if ssh.stdout.readline() == "ready\n":
                # Only now, since the connection itself takes a second or two.
                ssh.communicate(f"{time.time():.3f}\n")
                if ssh.returncode == 0:
                    return
            error = ssh.communicate()[1] if ssh.returncode is None else ""
            if not machine.running:
                raise LabError(f"{machine.name} ended while starting\n{machine.last_words()}")
            if interrupted.is_set():
                raise LabError("interrupted")
            if time.monotonic() > deadline:
                raise LabError(
                    f"{machine.name} did not answer ssh within {seconds:.0f} s: {error.strip()}\n{machine.last_words()}"
                )
            time.sleep(0.2)

    # -- saved states ----------------------------------------------------------------------------------------------

    def _saved_states(self, machines: Sequence[Machine]) -> dict[str, Path]:
        """Machine -> folder of its saved state. Missing ones are made by a cold boot, all in parallel."""
        states = {machine.name: state_dir(machine) for machine in machines}
        with contextlib.ExitStack() as stack:
            for name, state in states.items():
                if not state.is_dir():
                    stack.enter_context(
                        locked(state.parent / f"{state.name}.lock", f"waiting for another process that saves {name}")
                    )
            missing = [machine for machine in machines if not states[machine.name].is_dir()]
            if missing:
                names = " and ".join(machine.name for machine in missing)
                say(f"booting {names} once to save the state that later starts resume from (about 60 s)")
                make_states(missing)
        return states

    # -- commands of a test case -----------------------------------------------------------------------------------

    def reset(self, names: Sequence[str] = ()) -> None:
        """Makes new pools. A machine where that fails is returned to its saved state."""

        def reset_machine(machine: Machine) -> None:
            try:
                self.script(machine, RESET, timeout=120)
            except (LabError, subprocess.TimeoutExpired) as error:
                say(f"{machine.name} could not be reset ({str(error).strip()}); returning it to its saved state")
                self._restore(machine)

        with self._locked():
            self._each(self._chosen(names), reset_machine)

    def restore(self, names: Sequence[str] = ()) -> None:
        """Returns machines to their saved state: memory, root disk and pools."""
        with self._locked():
            self._each(self._chosen(names), self._restore)

    def power_cycle(self, names: Sequence[str] = ()) -> None:
        """Cuts the power and boots the disks as they are."""

        def cycle(machine: Machine) -> None:
            self._hang_up(machine)
            machine.stop()
            self._run_machine(machine, BOOT_SECONDS)

        with self._locked():
            self._each(self._chosen(names), cycle)

    def _chosen(self, names: Sequence[str]) -> list[Machine]:
        chosen = [self.machine(name) for name in names] or self.machines()
        if not chosen:
            raise LabError(f"no machine runs in the lab {self.folder}; 'lab.py up' starts them")
        return chosen

    def _restore(self, machine: Machine) -> None:
        saved = machine.saved or state_dir(machine)
        if not saved.is_dir():
            raise LabError(f"{machine.name} has no saved state; 'lab.py down' and 'lab.py up' without --cold make one")
        self._hang_up(machine)
        machine.stop()
        self._resume(replace(machine, saved=saved))
        self.script(machine, RESEED)

    # -- access ----------------------------------------------------------------------------------------------------

    def ssh_argv(self) -> list[str]:
        return ["ssh", "-F", str(self.folder / "ssh_config")]

    def script(self, machine: Machine, text: str, timeout: float = 120) -> str:
        return run([*self.ssh_argv(), machine.name, "sh", "-s"], input=text, timeout=timeout).stdout

    def _hang_up(self, machine: Machine) -> None:
        """Closes the shared ssh connection, which would otherwise keep trying to reach the stopped machine."""
        if (self.folder / "ssh_config").exists():
            subprocess.run([*self.ssh_argv(), "-O", "exit", machine.name], capture_output=True, check=False, timeout=20)

    def _write_access(self) -> None:
        """Writes ssh_config, known_hosts and the inventory for the machines of the lab."""
        machines = self.machines()
        key, known = identity.keys_dir() / "id", self.folder / "known_hosts"
        keys = {machine.name: identity.public_host_key(machine.name) for machine in machines}
        self._write(
            "known_hosts", "".join(f"{m.name},[127.0.0.1]:{m.port},{m.address} {keys[m.name]}\n" for m in machines)
        )
        lines = ["# made by lab.py"]
        for machine in machines:
            lines += [f"Host {machine.name}", "    HostName 127.0.0.1", f"    Port {machine.port}"]
            lines += [f"    HostKeyAlias {machine.name}"]
        lines += ["Host *", "    User root", f'    IdentityFile "{key}"', "    IdentitiesOnly yes"]
        lines += [f'    UserKnownHostsFile "{known}"', "    GlobalKnownHostsFile /dev/null"]
        lines += ["    StrictHostKeyChecking yes", "    PasswordAuthentication no", "    LogLevel ERROR"]
        # Without this ssh would wait forever for a guest whose kernel died.
        lines += ["    ServerAliveInterval 15", "    ServerAliveCountMax 8"]
        # A socket's path may have 107 characters, and ssh adds 17 while it makes one.
        control = str(self.folder / "ssh-%r-%p")
        if len(control) < 80:
            lines += ["    ControlMaster auto", f'    ControlPath "{control}"', "    ControlPersist 600"]
        self._write("ssh_config", "\n".join(lines) + "\n")

        shared = {
            "ansible_host": "127.0.0.1",
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(key),
            "ansible_ssh_common_args": shlex.join(["-F", str(self.folder / "ssh_config")]),
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        hosts = {m.name: {"ansible_port": m.port, "lab_address": m.address} for m in machines}
        # JSON is valid YAML, and json.dumps quotes.
        inventory = {"all": {"children": {"backends": {"hosts": hosts, "vars": shared}}}}
        self._write("inventory.yml", json.dumps(inventory, indent=2) + "\n")

    def _write(self, name: str, text: str) -> None:
        new = self.folder / f".{name}"
        new.write_text(text)
        new.replace(self.folder / name)

    # -- the guard -------------------------------------------------------------------------------------------------

    def _guard(self, parent: int) -> None:
        """Starts a process that stops the lab when its owner ends in any way, also by SIGKILL."""
        script = Path(__file__).resolve().parents[1] / "lab.py"
        process = subprocess.Popen(
            [sys.executable, str(script), "guard", "--dir", str(self.folder), "--parent-pid", str(parent)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self._write("guard.json", json.dumps({"pid": process.pid, "started": process_start(process.pid)}))

    def _end_guard(self) -> None:
        file = self.folder / "guard.json"
        if not file.exists():
            return
        guard = json.loads(file.read_text())
        if guard["pid"] != os.getpid() and process_start(guard["pid"]) == guard["started"]:
            os.kill(guard["pid"], signal.SIGKILL)
        remove(file)

    def guard(self, parent: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            select.select([os.pidfd_open(parent)], [], [])
        self.down()


def make_states(machines: Sequence[Machine]) -> None:
    """Boots the machines in a temporary lab inside the cache, saves them, and moves their folders into place."""
    states = cache_dir() / "states"
    for stale in states.glob(".making-*"):
        if process_start(int(stale.name.rpartition("-")[2])) is None:
            Lab(stale).down()
            remove(stale)
    workshop = Lab(states / f".making-{os.getpid()}")
    wire = free_wire_port()

    def make(machine: Machine) -> None:
        workshop._prepare(machine)
        workshop._hang_up(machine)
        machine.save(machine.folder / "memory")
        for file in set(os.listdir(machine.folder)) - {"memory", *(f"{disk}.qcow2" for disk in DISKS)}:
            remove(machine.folder / file)
        machine.folder.rename(state_dir(machine))

    try:
        with workshop._locked():
            workshop._guard(os.getpid())
            workshop._each([workshop._define(m.name, m.image, m.accel, wire) for m in machines], make)
    finally:
        workshop.down()
        remove(workshop.folder)


def state_dir(machine: Machine) -> Path:
    """The name has a hash of all that a saved state depends on: image, hardware, QEMU, processor, keys, preparation."""
    parts = [machine.image.name, *machine.hardware(), KERNEL_OPTIONS, accel.qemu_version(), PREPARE]
    parts += [accel.processor()] if machine.accel == "kvm" else []
    digest = hashlib.sha256("\0".join(parts).encode() + identity.identity_tar(machine.name)).hexdigest()
    return cache_dir() / "states" / f"{machine.version}-{machine.name}-{digest[:12]}"


def write_identity(machine: Machine) -> None:
    file = machine.folder / "identity.tar"
    file.touch(mode=0o600)
    file.write_bytes(identity.identity_tar(machine.name))


def free_wire_port() -> int:
    """A UDP port that no process uses. QEMU would not fail on a used one: its multicast sockets share the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
