# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backends as the tests see them, and Ansible tasks run on them. It all asks the machines."""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ansible_runner

CLONE = Path(__file__).resolve().parents[2]
LAB = CLONE / "tests" / "lab" / "lab.py"

Result = dict[str, Any]

# Everything that a check run must leave alone, in one round trip. Values come last: they may hold tabs and newlines.
DUMP = r"""export LC_ALL=C
zfs list -Hp -t all -o name,type,guid,createtxg,defer_destroy,origin,mounted,receive_resume_token
echo ==properties
zfs get -Hp -t all -s local,received -o name,property,source,value all
echo ==holds
zfs list -Hp -t snapshot -o name,userrefs | awk -F '\t' '$2 > 0 {print $1}' | xargs -r -d '\n' zfs holds -H | cut -f 1,2
"""

CHECKSUM = r"""
import hashlib, os, stat, sys
def add(*parts):
    for part in parts:
        part = part if isinstance(part, bytes) else str(part).encode()
        digest.update(b'%d:' % len(part) + part)
def data(path):
    with open(path, 'rb') as file:
        whole = hashlib.sha256()
        for block in iter(lambda: file.read(1 << 20), b''):
            whole.update(block)
    return whole.digest()
digest, top = hashlib.sha256(), os.fsencode(sys.argv[1])
if not os.path.isdir(top):
    add(data(top))
else:
    for folder, folders, files in os.walk(top):
        folders.sort()
        for path in sorted(os.path.join(folder, name) for name in files + folders) + ([top] if folder == top else []):
            seen = os.lstat(path)
            add(os.path.relpath(path, top), seen.st_mode, seen.st_uid, seen.st_gid)
            if stat.S_ISLNK(seen.st_mode):
                add(os.readlink(path))
            elif stat.S_ISREG(seen.st_mode):
                add(seen.st_mtime_ns, data(path))
print(digest.hexdigest())
"""

# Random enough not to be compressed, the same for the same seed, and fast: one random MiB with a changing head.
FILL = r"""
import os, random, sys
target, megabytes, seed = sys.argv[1], int(sys.argv[2]), sys.argv[3]
block = random.Random(seed).randbytes((1 << 20) - 16)
with open(target, 'wb') as file:
    for number in range(megabytes):
        file.write(number.to_bytes(16, 'big') + block)
    file.flush()
    os.fsync(file.fileno())
"""


def lab_command(*args: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, str(LAB), *map(str, args)], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done


def until(true: Callable[[], object], seconds: float) -> None:
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds
        time.sleep(0.3)


class Failed(AssertionError):
    """A command or task that should have succeeded."""


@dataclass(frozen=True)
class Backend:
    """One machine of the lab."""

    name: str
    address: str  # on the wire between the machines
    lab: Path = field(repr=False)

    def run(
        self,
        argv: str | Sequence[str],
        check: bool = True,
        input: str | None = None,
        user: str = "root",
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """An argv list as it stands, or a string for the guest's shell."""
        command = argv if isinstance(argv, str) else shlex.join(argv)
        ssh = ["ssh", "-F", str(self.lab / "ssh_config"), "-l", user, self.name, command]
        feed: dict[str, Any] = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
        done = subprocess.run(ssh, capture_output=True, text=True, check=False, timeout=timeout, **feed)
        if check and done.returncode:
            raise Failed(f"{self.name}: '{command}' ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def zfs(self, *args: str) -> str:
        return self.run(["zfs", *args]).stdout

    @functools.cached_property
    def version(self) -> tuple[int, ...]:
        """OpenZFS, as (2, 3, 9)."""
        words = self.run("zfs version | tail -n 1").stdout  # the kernel module's
        return tuple(map(int, re.findall(r"\d+", words)[:3]))

    def python(self, script: str, *args: str) -> str:
        return self.run(["python3", "-", *args], input=script).stdout

    def dump(self) -> dict[str, Any]:
        return parse_dump(self.run(DUMP).stdout)

    def fill(self, dataset: str, megabytes: int, seed: int | str = 0) -> None:
        """A file fill-SEED in a filesystem, or the first megabytes of a zvol."""
        kind, mountpoint = self.zfs("get", "-H", "-o", "value", "type,mountpoint", dataset).split("\n")[:2]
        if kind == "volume":
            self.run(["udevadm", "settle"])
        target = f"/dev/zvol/{dataset}" if kind == "volume" else f"{mountpoint}/fill-{seed}"
        self.python(FILL, target, str(megabytes), str(seed))

    def checksum(self, snapshot: str) -> str:
        """sha256 over what a snapshot holds: a filesystem's paths, owners, modes, times, contents; a zvol's bytes."""
        dataset = snapshot.partition("@")[0]
        if self.zfs("get", "-H", "-o", "value", "type", dataset).strip() == "volume":
            # By a clone for the moment: snapdev=visible would change a property of the very volume under test.
            clone = f"{dataset.partition('/')[0]}/checksum-{os.getpid()}"
            self.run(["zfs", "clone", "-o", "readonly=on", snapshot, clone])
            try:
                self.run(["udevadm", "settle"])
                return self.python(CHECKSUM, f"/dev/zvol/{clone}").strip()
            finally:
                self.run(["udevadm", "settle"])  # udev opens new devices, and what is open is busy
                self.zfs("destroy", clone)
        mount = 'folder=$(mktemp -d) && mount -t zfs -o ro "$1" "$folder" && echo "$folder"'
        folder = self.run(["sh", "-c", mount, "sh", snapshot]).stdout.strip()
        try:
            return self.python(CHECKSUM, folder).strip()
        finally:
            self.run(["sh", "-c", 'umount "$1" && rmdir "$1"', "sh", folder])


def parse_dump(text: str) -> dict[str, Any]:
    listing, _mark, rest = text.partition("==properties\n")
    properties, _mark, holds = rest.partition("==holds\n")
    columns = ("type", "guid", "createtxg", "defer_destroy", "origin", "mounted", "receive_resume_token")
    state: dict[str, Any] = {}
    for line in listing.splitlines():
        name, *values = line.split("\t")
        state[name] = {**dict(zip(columns, values)), "properties": {}, "holds": []}
    last: list[str] = []
    for line in properties.splitlines():
        fields = line.split("\t", 3)
        if len(fields) == 4 and fields[0] in state:
            name, prop, source, value = fields
            last = state[name]["properties"][prop] = [source, value]
        else:
            last[1] += "\n" + line
    for line in holds.splitlines():
        name, tag = line.split("\t")
        state[name]["holds"] = sorted([*state[name]["holds"], tag])
    return state


def diff_dumps(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What changed, a line each, for a person to read."""
    lines = [f"gone: {name}" for name in before.keys() - after.keys()]
    lines += [f"new: {name}" for name in after.keys() - before.keys()]
    for name in before.keys() & after.keys():
        for key, value in before[name].items():
            if after[name][key] != value:
                lines.append(f"{name} {key}: {value} -> {after[name][key]}")
    return sorted(lines)


# -- Ansible ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A task for four_times_many; fails says that it is expected to."""

    task: Mapping[str, Any]
    fails: bool = False


class Ansible:
    """Runs tasks on the backends of a lab through ansible-runner, with this collection as it stands in the clone."""

    def __init__(self, lab: Path, folder: Path) -> None:
        self.lab, self.folder = lab, folder
        self.become: Mapping[str, Any] = {}  # play keywords, where the tasks run as another user
        collection = folder / "ansible_collections" / "cerss" / "zfs"
        collection.parent.mkdir(parents=True, exist_ok=True)
        if not collection.is_symlink():
            collection.symlink_to(CLONE)
        self.config = folder / "ansible.cfg"
        self.config.write_text(
            f"[defaults]\ngathering = explicit\nforks = 8\nlocal_tmp = {folder}/tmp\n"
            f"collections_path = {folder}\ncallback_result_format = json\n"
            # The lab's ssh_config, which the inventory names, already shares one connection per machine.
            "[connection]\npipelining = True\n[ssh_connection]\nssh_args =\n"
        )
        self.environment = {
            "ANSIBLE_CONFIG": str(self.config),
            "ANSIBLE_COLLECTIONS_PATH": str(folder),
            "ANSIBLE_HOME": str(folder / "home"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }

    def play(self, plays: Sequence[Mapping[str, Any]], extra_vars: Mapping[str, Any] | None = None) -> list[Result]:
        """Every task's result in order, with _host, _task and _failed (also true where an error was ignored)."""
        with tempfile.TemporaryDirectory(dir=self.folder) as private:
            playbook = Path(private) / "play.json"
            playbook.write_text(json.dumps(list(plays)))
            run = ansible_runner.run(
                private_data_dir=private,
                playbook=str(playbook),
                inventory=str(self.lab / "inventory.yml"),
                envvars=self.environment,
                extravars=dict(extra_vars or {}),
                quiet=True,
                cancel_callback=lambda: False,  # its own would take SIGINT and SIGTERM from pytest for good
            )
            results: list[Result] = []
            for event in run.events:
                kind, data = event["event"], event.get("event_data", {})
                if kind in ("runner_on_ok", "runner_on_failed", "runner_on_unreachable", "runner_on_skipped"):
                    marks = {"_host": data["host"], "_task": data["task"], "_failed": kind == "runner_on_failed"}
                    result = data.get("res", {"changed": False})  # what is skipped has none
                    results.append({**result, **marks, "_ignored": bool(data.get("ignore_errors"))})
            bad = [r for r in results if (r["_failed"] and not r["_ignored"]) or r.get("unreachable")]
            if bad or (run.rc and not results):
                raise Failed(self._tell(bad) if bad else run.stdout.read())
            return results

    def playbook(self, name: str, *options: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        """A playbook of the collection, as from a shell."""
        with self.begin(name, *options, **variables) as run:
            out, err = run.communicate()
        return subprocess.CompletedProcess(run.args, run.returncode, out, err)

    def begin(self, name: str, *options: str, **variables: Any) -> subprocess.Popen[str]:
        """The same, as it runs."""
        argv = ["ansible-playbook", "-i", str(self.lab / "inventory.yml"), f"cerss.zfs.{name}", *options]
        environment = {**self.environment, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_SHOW_CUSTOM_STATS": "1"}
        return subprocess.Popen(
            [*argv, "-e", json.dumps(variables)], env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    @staticmethod
    def _tell(bad: Sequence[Result]) -> str:
        items = [{**r, **item} for r in bad for item in r.get("results") or [r] if item is r or item.get("failed")]
        return "\n".join(
            f"{r['_host']}: {r['_task']}: {r.get('msg')}\n{r.get('module_stderr') or r.get('exception') or ''}"
            for r in items or bad
        )

    def run_tasks(
        self,
        host: str,
        tasks: Sequence[Mapping[str, Any]],
        check: bool = False,
        extra_vars: Mapping[str, Any] | None = None,
        fails: bool = False,
    ) -> list[Result]:
        """The results, one per task and host. With fails each is expected to fail, otherwise a failure raises."""
        more = {"ignore_errors": True} if fails else {}
        named = [{"name": str(n), **task, **more} for n, task in enumerate(tasks)]
        play = {"hosts": host, "gather_facts": False, "check_mode": check, "diff": True, **self.become, "tasks": named}
        results = self.play([play], extra_vars)
        for result in results:
            assert not fails or result["_failed"], f"task {result['_task']} was expected to fail: {result}"
        return results

    def four_times(self, host: str, task: Mapping[str, Any], fails: bool = False) -> tuple[Result, ...]:
        return self.four_times_many(host, [Case(task, fails)])[0]

    def four_times_many(self, host: str, cases: Sequence[Case | Mapping[str, Any]]) -> list[tuple[Result, ...]]:
        """Each task in check mode, for real, in check mode, for real, all in one ansible-playbook run.

        Asserts that the check runs foretell what the real ones do, that the second pair has nothing left to do, and
        that what had nothing to do left every dataset, snapshot, hold and property on all backends as it was.
        """
        cases = [case if isinstance(case, Case) else Case(case) for case in cases]

        def look(number: int, when: str) -> dict[str, Any]:
            dump = {"name": f"{number} {when}", "ansible.builtin.raw": DUMP, "changed_when": False}
            return {"hosts": "backends", "gather_facts": False, "tasks": [dump]}

        def act(number: int, case: Case, phase: str) -> dict[str, Any]:
            task = {"name": f"{number} {phase}", "diff": True, **case.task, "check_mode": phase.startswith("check")}
            task["name"] = f"{number} {phase}"
            tasks = [{**task, "ignore_errors": case.fails}]
            return {"hosts": host, "gather_facts": False, **self.become, "tasks": tasks}

        plays = [look(0, "before")]
        for number, case in enumerate(cases):
            plays += [act(number, case, "check"), look(number, "checked"), act(number, case, "real")]
            plays += [
                look(number, "done"),
                act(number, case, "check2"),
                act(number, case, "real2"),
                look(number, "again"),
            ]
        seen: dict[str, list[Result]] = {}
        for result in self.play(plays):
            seen.setdefault(result["_task"], []).append(result)

        def state(task: str) -> dict[str, Any]:
            return {
                f"{r['_host']}:{name}": values
                for r in seen[task]
                for name, values in parse_dump(r["stdout"].replace("\r\n", "\n")).items()
            }

        answers: list[tuple[Result, ...]] = []
        before = state("0 before")
        for number, case in enumerate(cases):
            check, real, check2, real2 = four = tuple(
                seen[f"{number} {phase}"][0] for phase in ("check", "real", "check2", "real2")
            )
            told = f"case {number}, {dict(case.task)}"
            changes = diff_dumps(before, state(f"{number} checked"))
            assert not changes, f"{told}: check mode changed {changes}"
            if case.fails:
                for result in four:
                    assert result["_failed"], f"{told}: was expected to fail, gave {result}"
            else:
                for key in ("changed", "actions", "diff"):
                    assert check.get(key) == real.get(key), (
                        f"{told}: {key} in check mode {check.get(key)}, really {real.get(key)}"
                    )
                for result in (check2, real2):
                    again = result["changed"] or result.get("actions")
                    assert not again, f"{told}: not idempotent, {result}"
                changes = diff_dumps(state(f"{number} done"), state(f"{number} again"))
                assert not changes, f"{told}: said unchanged, but changed {changes}"
            before = state(f"{number} again")
            answers.append(four)
        return answers
