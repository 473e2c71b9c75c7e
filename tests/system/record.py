# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records the sessions that tests/unit/test_recorded.py replays: real verbs on real ZFS, on a lab that runs.

record.py [SESSION...]    all that tests/unit/scenarios.py has for the lab's OpenZFS, unless some are named
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, os.environ["ANSIBLE_COLLECTIONS_PATH"])

import verbs
from harness import Backend, Failed, lab_command

from ansible_collections.cerss.zfs.tests.unit import scenarios, transcript

# Every process is started by module_utils/_host/process.py, so that is where to listen.
_RUNNER = r"""
import hashlib, importlib, json, shutil, subprocess, sys, threading, time, traceback, types
sys.path.insert(0, {folder!r})
PREFIX = 'ansible_collections.cerss.zfs.plugins.'
errors = importlib.import_module(PREFIX + 'module_utils._core.errors')
process = importlib.import_module(PREFIX + 'module_utils._host.process')
for name in ('ansible', 'ansible.module_utils', 'ansible.module_utils.basic'):  # not there, but modules import it
    sys.modules[name] = types.ModuleType(name)
sys.modules['ansible.module_utils.basic'].AnsibleModule = object
real_run, real_spawn, real_end, RealLines = process.run, process.spawn, process.end, process.Lines
real_command, real_written = process.run_command, process.written
peek = importlib.import_module(PREFIX + 'module_utils._host.peek')
real_which, real_time, real_ahead = shutil.which, time.time, peek.ahead
commands, streams, lacks = [], [], []

def run(argv, *args, **more):
    entry = {{'argv': argv}}
    if more.get('stdin') is not None:  # a channel program
        entry['fed'] = hashlib.sha256(more['stdin'].encode()).hexdigest()[:16]
    commands.append(entry)
    try:
        result = real_run(argv, *args, **more)
    except errors.TimedOut as error:
        entry['late'] = error.msg
        raise
    entry.update(rc=result.rc, out=result.stdout, err=result.stderr)
    return result

def run_command(argv, *args):
    entry = {{'argv': argv}}
    commands.append(entry)
    try:
        rc, err = real_command(argv, *args)
    except errors.TimedOut as error:
        entry['late'] = error.msg
        raise
    entry.update(rc=rc, out='', err=err)
    return rc, err

class Lines(RealLines):
    def __iter__(self):
        entry, told = {{'argv': self.argv}}, []
        commands.append(entry)
        for line in super().__iter__():
            told.append(line + '\n')
            yield line
        entry.update(rc=self.result.rc, out=''.join(told), err=self.result.stderr)

class Words:  # a program's stderr, which also stays here
    def __init__(self, stream):
        self.stream, self.kept = stream, b''
    def __enter__(self):
        return self
    def __exit__(self, *_):
        self.stream.close()
    def readline(self, most):
        line = self.stream.readline(most)
        self.kept += line
        return line

def spawn(argv, **options):
    if not sys._getframe(1).f_code.co_filename.endswith('_replication/transfer.py'):
        return real_spawn(argv, **options)
    entry = {{'argv': argv, 'stream': True}}
    commands.append(entry)
    try:
        started = real_spawn(argv, **options)
    except OSError as error:
        entry['errno'] = error.errno
        raise
    started.stderr = Words(started.stderr)
    streams.append((entry, started))
    return started

def end(started, *args):
    for entry, stream in streams:
        if stream is started and started.poll() is None:
            entry['ended'] = True
    return real_end(started, *args)

def written(started):
    found = real_written(started)
    for entry, stream in streams:
        if stream is started:
            entry['written'] = found
    return found

def which(program, **more):
    found = real_which(program, **more)
    if found is None and program not in lacks:
        lacks.append(program)
    return found

def verb_of(name):
    module, verbs = importlib.import_module(PREFIX + 'modules.' + name), []
    module.run_module = lambda verb, **spec: verbs.append(verb)
    module.main()
    return verbs[0]

def ahead(pipe, size):  # what was seen of a stream also stays here
    found = real_ahead(pipe, size)
    for entry, started in streams:
        out = started.stdout
        if found and len(found) == size and out and not out.closed and out.fileno() == pipe:
            entry.setdefault('seen', []).append(found.rstrip(b'\0').hex())
    return found

process.run, process.spawn, process.end, process.Lines, shutil.which = run, spawn, end, Lines, which
process.run_command, process.written = run_command, written
# A wave ends when nothing is on its way, so that its time decides nothing.
importlib.import_module(PREFIX + 'module_utils._replication.run').WAVE_SECONDS = 1e9
peek.ahead = ahead
taken = []
for step in json.load(sys.stdin):
    if isinstance(step, str):
        subprocess.run(['sh', '-ec', step], check=True, stdout=sys.stderr)
        taken.append(step)
        continue
    options, verb = step['full'], verb_of(step['module'])
    verb = verb if callable(verb) else verb[options['state']]
    for check in step['phases']:
        for kept in (commands, streams, lacks):
            kept.clear()
        now = float(int(real_time()))
        time.time = lambda: now
        try:
            result = verb(json.loads(json.dumps(options)), check)
        except errors.CerssError as error:
            result = {{'failed': True, 'msg': error.msg, **error.details}}
        except Exception:
            sys.exit('TRACEBACK %s %s' % (step, traceback.format_exc()))
        time.time = real_time
        for entry, started in streams:
            entry.update(rc=started.returncode, err=started.stderr.kept.decode())
        taken.append({{
            'call': [step['module'], step['options'], check], 'now': now, **({{'lacks': lacks[:]}} if lacks else {{}}),
            'commands': [dict(entry) for entry in commands], 'result': result,
        }})
json.dump(taken, sys.stdout)
"""


def record(backend: Backend, name: str, session: scenarios.Session) -> list[dict[str, Any]]:
    steps: list[Any] = []
    for step in session:
        if isinstance(step, str):
            steps.append(step)
            continue
        _verb, full = transcript.entrance(step)
        steps.append({"module": step.module, "options": step.options, "full": full, "phases": step.phases})
    verbs.install(backend)
    backend.run(["sh", "-c", f"cat > {verbs.FOLDER}/record.py"], input=_RUNNER.format(folder=verbs.FOLDER))
    taken: list[Any] = json.loads(
        backend.run(["python3", f"{verbs.FOLDER}/record.py"], input=json.dumps(steps), timeout=1200).stdout
    )
    for step in taken:
        if not isinstance(step, str):
            step["result"] = transcript.plain(step["result"])
            step["commands"] = [transcript.answered(**command) for command in step["commands"]]
    transcript.save(name, transcript.Recording(".".join(map(str, backend.version)), taken))
    return [step for step in taken if not isinstance(step, str)]


def main(names: list[str]) -> int:
    folder, failed = Path(os.environ["CERSS_LAB_DIR"]), list[str]()
    backend = Backend("backend-a", "", folder)
    version = ".".join(map(str, backend.version[:2]))
    sessions = scenarios.recordings(version)
    asked = [name for name in sessions if not names or name.removesuffix(f"-{version}") in names]
    if len(asked) < len(names):
        sys.exit(f"not recorded on OpenZFS {version}: {' '.join(names)}; this has {' '.join(sessions)}")
    for name in asked:
        lab_command("reset", "--dir", folder)
        try:
            taken = record(backend, name, sessions[name])
        except Failed as error:
            failed.append(f"{name}: {error}")
            continue
        for step in taken:
            module, _options, check = step["call"]
            result = step["result"]
            said = f"FAILED {result.get('msg')}" if result.get("failed") else f"changed={result.get('changed')}"
            print(f"{name}: {module}{' (check)' if check else ''}: {said[:300]}", flush=True)
        print(f"{name}: {transcript.path(name).stat().st_size // 1024} KiB", flush=True)
    print("\n".join(failed))
    return len(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
