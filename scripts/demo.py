# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows the collection between two machines with real OpenZFS. `make demo` and `make demo-down` run it."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CLONE = Path(__file__).resolve().parents[1]
HERE = CLONE / "scripts" / "demo"
LAB = CLONE / ".cache" / "demo"
LOG = LAB / "demo.log"
SEEN = LAB / "seen.json"  # look.yml writes it
REPLICATE = [
    *("cerss.zfs.replicate", "-e", "replicate_hosts=backend-a", "-e", "zfs_replicate_name=tank/demo"),
    *("-e", "zfs_replicate_target_host=backend-b", "-e", "zfs_replicate_target_dataset=backup/demo"),
]
STEPS = 6

LIVE = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
COLOUR = LIVE and not os.environ.get("NO_COLOR")
BOLD, DIM, RED, GREEN, YELLOW = "1", "2", "31", "32", "33"


class Stop(Exception):
    """The demo cannot continue; the message is for the user."""


def paint(text: str, *styles: str) -> str:
    return f"\033[{';'.join(styles)}m{text}\033[0m" if COLOUR else text


def step(number: int, text: str) -> None:
    print(f"\n{paint(f'[{number}/{STEPS}]', DIM)} {paint(text, BOLD)}", flush=True)


def from_here(path: Path) -> str:
    """A path as the user would type it."""
    return shlex.quote(os.path.relpath(path))


def lab(*args: str) -> None:
    """Runs a command of the lab, which reports on stderr."""
    argv = [sys.executable, str(CLONE / "tests" / "lab" / "lab.py"), *args, "--dir", str(LAB)]
    if subprocess.run(argv, check=False).returncode:
        raise Stop(f"'lab.py {args[0]}' failed, see above.")


def playbook(*args: str) -> None:
    """Runs ansible-playbook and shows a line for each task. The log gets all of its output."""
    began = time.monotonic()
    shown = [os.path.relpath(arg) if os.path.isabs(arg) else arg for arg in args]
    print(paint(f"$ ansible-playbook {shlex.join(shown)}", DIM), flush=True)
    settings = {"ANSIBLE_CONFIG": str(HERE / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "PYTHONUNBUFFERED": "1"}
    with LOG.open("a") as log, subprocess.Popen(
        ["ansible-playbook", *args],
        env={**os.environ, **settings}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        assert process.stdout
        task = ""
        for line in process.stdout:
            log.write(line)
            task = show(line.rstrip(), task)
    if process.returncode:
        raise Stop(f"ansible-playbook failed; its whole output is in {from_here(LOG)}.")
    say(paint(f"  {time.monotonic() - began:.0f} s", DIM))


def show(line: str, task: str) -> str:
    """Prints a line of Ansible's output if it matters. Returns the name of the running task."""
    if found := re.match(r"TASK \[(?:\S+ : )?(.*)\]", line):
        if LIVE:
            print(f"\r\033[K  {'...':8}{'':10} {found[1]}", end="", flush=True)
        return found[1]
    if found := re.match(r"(ok|changed|fatal|failed): \[([^] ]+).*?\](?:: (\w+)! => (\{.*))?", line):
        outcome, host, _rule, rest = found.groups()
        if not task.startswith("Validating arguments"):  # each role begins with it
            style = {"ok": GREEN, "changed": YELLOW}.get(outcome, RED)
            say(f"  {paint(f'{outcome:8}', style)}{host:10} {task}")
        if rest:
            say(paint(f"    {reason(rest)}", RED))
    elif found := re.match(r'\s+("(?:[^"\\]|\\.)*"),?$', line):  # a line of debug's output
        say(f"    {json.loads(found[1])}")
    elif line.startswith(("ERROR", "[ERROR]", "[WARNING]")):
        say(f"  {line}")
    return task


def say(text: str) -> None:
    """Prints a line in place of the running task's name."""
    print(f"\r\033[K{text}" if LIVE else text, flush=True)


def reason(result: str) -> str:
    try:
        return str(json.loads(result).get("msg", result))
    except ValueError:
        return result


def table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows)]
    for number, row in enumerate(rows):
        line = "  " + "  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip()
        print(line if number else paint(line, BOLD))


def table_row(snapshot: dict[str, Any], backend: str) -> tuple[str, ...]:
    base, dependents = snapshot["depends_on"], snapshot["dependents"]
    needed_by = [f"clone {name}" for name in dependents["clones"]]
    needed_by += [f"replication ({item['role'].replace('_', ' ')})" for item in dependents["replications"]]
    depends_on = f"@{base['snapshot'].partition('@')[2]}" if base else "-"
    return backend, snapshot["name"], snapshot["guid"], snapshot["state"], depends_on, ", ".join(needed_by) or "-"


def compare() -> None:
    """Shows what look.yml read on both sides. Raises Stop when the two differ."""
    seen = json.loads(SEEN.read_text())
    source, replica = seen["snapshots"]
    head = ("BACKEND", "SNAPSHOT", "GUID", "STATE", "DEPENDS ON", "NEEDED BY")
    sides = (("backend-a", source), ("backend-b", replica))
    print()
    table([head, *(table_row(item, name) for name, items in sides for item in items[-3:])])
    if [item["guid"] for item in source] != [item["guid"] for item in replica]:
        raise Stop("The snapshots of the two sides have different GUIDs. This is a bug; please report it.")
    print(paint(f"  The GUIDs of all {len(source)} snapshots are the same on both sides.\n", GREEN))
    (sum_a, file_a), (sum_b, file_b) = seen["sums"]
    table([("BACKEND", "FILE", "SHA-256"), ("backend-a", file_a, sum_a), ("backend-b", file_b, sum_b)])
    if sum_a != sum_b:
        raise Stop("The clone of the replica and the source have different data. This is a bug; please report it.")
    clone = seen["clone"]
    print(paint(f"  {clone['name']}, a clone of {clone['origin']['name']}, has the same data as the source.", GREEN))


def up() -> None:
    if not shutil.which("ansible-playbook"):
        raise Stop("ansible-playbook is not installed; run 'make demo', which installs it.")
    began = time.monotonic()
    step(1, "Start two machines with real OpenZFS, backend-a and backend-b")
    lab("up")
    LOG.write_text("")
    step(2, "Create a dataset with data on backend-a")
    playbook(str(HERE / "dataset.yml"))
    step(3, "Replicate it directly from backend-a to backend-b")
    playbook(*REPLICATE)
    step(4, "Change it and replicate the difference")
    playbook(str(HERE / "change.yml"))
    playbook(*REPLICATE)
    step(5, "Check mode reports that nothing is left to do")
    playbook(*REPLICATE, "--check")
    step(6, "Clone the replica and compare the snapshot objects of both sides")
    playbook(str(HERE / "look.yml"))
    compare()
    print(f"\n{paint(f'Done in {time.monotonic() - began:.0f} s. The machines keep running.', BOLD)}")
    ssh = f"ssh -F {from_here(LAB / 'ssh_config')}"
    print(f"  Log in     {ssh} backend-a    (or backend-b; try 'zfs list -t all')")
    print(f"  Your own   ANSIBLE_CONFIG={from_here(HERE / 'ansible.cfg')} .venv/bin/ansible-playbook ...")
    print("  Again      make demo")
    print("  Stop       make demo-down", flush=True)


def down() -> None:
    lab("down")
    print("The demo's machines are stopped and removed.")


def main() -> int:
    commands = {"up": up, "down": down}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        print("usage: demo.py up|down", file=sys.stderr)
        return 2
    try:
        commands[sys.argv[1]]()
    except Stop as stop:
        print(paint(str(stop), RED), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. 'make demo' continues, 'make demo-down' stops the machines.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
