# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts and stops machines with real OpenZFS under QEMU. See docs/lab.md."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

sys.dont_write_bytecode = True

from zfslab import base, doctor, image  # noqa: E402
from zfslab.fleet import Lab  # noqa: E402
from zfslab.identity import NAMES  # noqa: E402


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="lab.py", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str, *, lab: bool = True) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        if lab:
            sub.add_argument("--dir", type=Path, default=base.default_lab_dir(), help="the lab's folder (%(default)s)")
        return sub

    def start_options(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--machines", type=int, default=2, choices=range(1, len(NAMES) + 1), metavar="N")
        known = f"{', '.join(image.VERSIONS)}; for all machines or for one (default {image.DEFAULT_VERSION})"
        sub.add_argument("--zfs", action="append", default=[], metavar="[NAME=]VERSION", help=known)
        sub.add_argument("--cold", action="store_true", help="boot from the image instead of resuming a saved state")

    up = command("up", "start the machines, or those that do not run")
    start_options(up)
    up.add_argument("--parent-pid", type=int, default=0, help="take the lab down when this process ends")
    run = command("run", "start the machines, run a command, and always stop the machines afterwards")
    start_options(run)
    run.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    command("down", "stop the machines")
    command("status", "show which machines run")
    ssh = command("ssh", "open a shell or run a command on a machine")
    ssh.add_argument("name", metavar="NAME")
    ssh.add_argument("argv", nargs=argparse.REMAINDER, metavar="COMMAND")
    for name, text in (
        ("reset", "make new pools, without a reboot"),
        ("restore", "return machines to their saved state"),
        ("power-cycle", "cut the power of machines and boot them again from their disks"),
    ):
        command(name, text).add_argument("names", nargs="*", metavar="NAME", help="by default all")
    build = command("image", "only build the image", lab=False)
    build.add_argument("--zfs", default=image.DEFAULT_VERSION, choices=image.VERSIONS)
    command("doctor", "show what is missing on this machine", lab=False).add_argument("--install", action="store_true")
    guard = command("guard", "take the lab down when a process ends (used by up and run)")
    guard.add_argument("--parent-pid", type=int, required=True)
    return top


def versions(given: list[str]) -> dict[str, str]:
    """Machine -> requested version. A machine's own version has priority over the general one."""
    asked: dict[str, str] = {}
    for item in sorted(given, key=lambda item: "=" in item):
        name, _equals, version = item.rpartition("=")
        if version not in image.VERSIONS or (name and name not in NAMES):
            known = ", ".join(image.VERSIONS)
            raise base.LabError(f"--zfs {item}: give one of {known}, or NAME=VERSION with a NAME like {NAMES[0]}")
        asked.update(dict.fromkeys([name] if name else NAMES, version))
    return asked


def start(lab: Lab, args: argparse.Namespace, parent: int) -> bool:
    asked = versions(args.zfs)
    doctor.require(build=not all(image.is_built(asked.get(n, image.DEFAULT_VERSION)) for n in NAMES[: args.machines]))
    return lab.up(args.machines, asked, cold=args.cold, parent=parent)


def run(lab: Lab, args: argparse.Namespace) -> int:
    argv = args.argv[1:] if args.argv[:1] == ["--"] else args.argv
    if not argv:
        raise base.LabError("run: no command is given; give one as in 'lab.py run -- make test'")
    ours = start(lab, args, os.getpid())
    try:
        child = subprocess.Popen(argv, env={**os.environ, "CERSS_LAB_DIR": str(lab.folder)})
        try:
            return child.wait()
        except BaseException:  # a signal to us alone: let the command clean up before its machines are stopped
            child.terminate()
            child.wait()
            raise
    finally:
        if ours:
            lab.down()


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    if args.command == "doctor":
        doctor.doctor(install=args.install)
        return 0
    if args.command == "image":
        doctor.require(build=not image.is_built(args.zfs))
        print(image.ensure(args.zfs))
        return 0
    lab = Lab(args.dir)
    if args.command == "up":
        start(lab, args, args.parent_pid)
    elif args.command == "run":
        return run(lab, args)
    elif args.command == "down":
        lab.down()
    elif args.command == "guard":
        lab.guard(args.parent_pid)
    elif args.command == "ssh":
        machine = lab.machine(args.name)
        command = [*lab.ssh_argv(), machine.name, *args.argv]
        os.execvp(command[0], command)
    elif args.command == "status":
        return status(lab)
    else:
        {"reset": lab.reset, "restore": lab.restore, "power-cycle": lab.power_cycle}[args.command](args.names)
    return 0


def status(lab: Lab) -> int:
    """0 when every machine of the lab runs; 3 when one does not, or there is none."""
    machines = lab.machines()
    if not machines:
        print(f"no machine runs in {lab.folder}")
    for m in machines:
        state = f"runs, pid {m.pid}, ssh port {m.port}" if m.running else "does not run ('lab.py up' starts it)"
        print(f"{m.name} {state}, {m.accel}, OpenZFS {(m.image / 'version').read_text().strip()}, {m.address}")
    return 0 if machines and all(m.running for m in machines) else 3


def interrupted(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    for name in ("SIGTERM", "SIGHUP", "SIGINT"):
        signal.signal(getattr(signal, name), interrupted)
    try:
        sys.exit(main())
    except base.LabError as error:
        sys.exit(f"lab: {error}")
