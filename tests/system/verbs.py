# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many cases of a module's verb in one process on a backend, where one Ansible run for each would take minutes.

The code and ZFS are the real ones; only Ansible's way of getting there is left out. Options are given in full.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any

from harness import CLONE, DUMP, Backend, diff_dumps, parse_dump

FOLDER = "/var/lib/cerss-verbs"
USER: str | None = None  # root, unless the run is about a plain user

_RUNNER = r"""
import importlib, json, os, pwd, resource, subprocess, sys, time, traceback
sys.path.insert(0, {folder!r})
PREFIX = 'ansible_collections.cerss.zfs.plugins.module_utils.'
errors = importlib.import_module(PREFIX + '_core.errors')
process = importlib.import_module(PREFIX + '_host.process')
work = json.load(sys.stdin)
commands = []
spawn = process.spawn
def counted(argv, **more):
    commands.append(argv)
    return spawn(argv, **more)
process.spawn = counted
def dump():
    return subprocess.run(['sh', '-c', work['dump']], capture_output=True, text=True, check=True).stdout
def answer(options, check):
    del commands[:]
    began = time.monotonic()
    try:
        verb = importlib.import_module(PREFIX + work['verb'].format(**options)).main
        result = verb(json.loads(json.dumps(options)), check)
    except errors.CerssError as error:
        result = {{'failed': True, 'msg': error.msg, **error.details}}
    except Exception:
        result = {{'failed': True, 'msg': 'TRACEBACK ' + traceback.format_exc()}}
    result['seconds'] = time.monotonic() - began
    result['MiB'] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    result['zfs'] = [' '.join(argv[1:2]) for argv in commands if argv[0] == 'zfs']
    return result
def as_user(*case):
    reader, writer = os.pipe()
    if os.fork() == 0:
        try:
            who = pwd.getpwnam(work['user'])
            os.initgroups(who.pw_name, who.pw_gid)
            os.setgid(who.pw_gid)
            os.setuid(who.pw_uid)
            os.environ.update(HOME=who.pw_dir, USER=who.pw_name, LOGNAME=who.pw_name)
            os.chdir('/')
            with os.fdopen(writer, 'w') as told:
                json.dump(answer(*case), told)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        text = told.read()
    os.wait()
    return json.loads(text)
answers, seen = [], ''
for options in work['cases']:
    four = []
    for check in work['phases']:
        if isinstance(options, str):
            if not four:
                subprocess.run(['sh', '-ec', options], check=True)
                seen = ''
                four.append({{}})
            continue
        before = seen = seen or (dump() if work['look'] else '')
        result = (as_user if work['user'] else answer)(options, check)
        if work['look'] and len(four) != 2:
            seen = dump()
        result['dumps'] = [before, seen]
        four.append(result)
    answers.append(four)
json.dump(answers, sys.stdout)
"""


def install(backend: Backend) -> None:
    """Modules and module_utils as they stand in the clone."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for file in sorted((CLONE / "plugins").glob("module*/**/*.py")):
            tar.add(file, f"ansible_collections/cerss/zfs/{file.relative_to(CLONE)}")
    text = packed.getvalue().hex()
    mark = hashlib.sha256(text.encode()).hexdigest()
    if backend.run(["cat", f"{FOLDER}/mark"], check=False).stdout == mark:
        return  # and Python's compiled files with it, which an emulated processor is slow to make
    backend.run(
        f"rm -rf {FOLDER} && mkdir -p {FOLDER} && python3 -c 'import sys; "
        f"sys.stdout.buffer.write(bytes.fromhex(sys.stdin.read()))' | tar -x -C {FOLDER}"
        f" && printf {mark} > {FOLDER}/mark",
        input=text,
    )


def refused(backend: Backend, verb: str, cases: Sequence[tuple[Mapping[str, Any], str]]) -> None:
    """Each case fails in check mode and for real, its message has the words that go with it, and nothing is changed."""
    before = backend.dump()
    answers = run(backend, verb, [case for case, _why in cases], look=False, passes=2)
    for (case, why), results in zip(cases, answers):
        for result in results:
            assert result.get("failed"), f"{case}: {result}"
            assert why in result["msg"], f"{case}: {result['msg']}"
    assert not diff_dumps(before, backend.dump())


def run(
    backend: Backend,
    verb: str,
    cases: Sequence[Mapping[str, Any] | str],
    look: bool = True,
    passes: int = 4,
    timeout: float = 1200,
) -> list[Any]:
    """Each case in check mode, for real, in check mode, for real; a text is a shell command, run once.

    Of these four as many as ``passes`` says; 0 is just in check mode, 1 just for real. The verb runs as ``USER``, the
    rest as root.

    ``verb``: the file in module_utils that has the entry point, as ``_dataset.clone``; ``{state}`` in it is the option.
    Each answer has ``zfs``, the first words of the zfs command lines, ``seconds``, and the ``MiB`` of memory that all
    cases have needed so far. With ``look`` it asserts that a
    check run reports what the real run then does and changes nothing, that the second pair of runs has nothing to do,
    and that a failed run changed nothing.
    """
    install(backend)
    phases = {0: [True], 1: [False]}.get(passes) or [True, False, True, False][:passes]
    work = {"verb": verb, "cases": list(cases), "dump": DUMP, "look": look, "phases": phases, "user": USER}
    script = _RUNNER.format(folder=FOLDER)
    backend.run(["sh", "-c", f"cat > {FOLDER}/run.py"], input=script)
    answers = json.loads(backend.run(["python3", f"{FOLDER}/run.py"], input=json.dumps(work), timeout=timeout).stdout)
    for case, four in zip(cases, answers):
        if not isinstance(case, str) and look:
            _compare(case, four)
    return [four for case, four in zip(cases, answers) if not isinstance(case, str)]


def _compare(case: Mapping[str, Any], four: list[dict[str, Any]]) -> None:
    told = f"case {dict(case)}"
    for result in four:
        assert not str(result.get("msg")).startswith("TRACEBACK"), f"{told}: {result['msg']}"
        result["changes"] = diff_dumps(*(parse_dump(text) for text in result.pop("dumps")))
    check, real, check2, real2 = four  # what check2 changed would show in real2
    assert not check["changes"], f"{told}: check mode changed {check['changes']}"
    assert bool(check.get("failed")) == bool(real.get("failed")), f"{told}: {check} and {real}"
    if real.get("failed"):
        assert not real["changes"], f"{told}: failed, but changed {real['changes']}"
        assert not real2["changes"], f"{told}: failed, but changed {real2['changes']}"
        return
    for key in ("changed", "actions", "diff"):
        assert check[key] == real[key], f"{told}: {key} in check mode {check[key]}, really {real[key]}"
    assert real["changed"] or not real["changes"], f"{told}: said unchanged, but changed {real['changes']}"
    for result in (check2, real2):
        assert not result["changed"], f"{told}: not idempotent, {result}"
        assert not result["actions"], f"{told}: not idempotent, {result}"
    assert not real2["changes"], f"{told}: said unchanged, but changed {real2['changes']}"
