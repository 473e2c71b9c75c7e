# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recorded sessions as files: what verbs asked of real ZFS, what it answered, and what came of it."""

from __future__ import annotations

import importlib
import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.cerss.zfs.plugins.module_utils._core.endpoint import HEAD, TELLING
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.tests.unit.scenarios import Call

FOLDER = Path(__file__).parents[1] / "recorded"

Verb = Callable[[dict[str, Any], bool], dict[str, Any]]


def handed_over(name: str) -> tuple[Any, dict[str, Any]]:
    """What a module hands over to `run_module`: its verb or verbs, and the arguments of AnsibleModule."""
    module: Any = importlib.import_module(f"ansible_collections.cerss.zfs.plugins.modules.{name}")
    handed: list[tuple[Any, dict[str, Any]]] = []
    real = module.run_module
    module.run_module = lambda verb, **spec: handed.append((verb, spec))
    try:
        module.main()
    finally:
        module.run_module = real
    return handed[0]


def entrance(call: Call) -> tuple[Verb, dict[str, Any]]:
    """The module's verb, and the options in full, as the module itself would hand them over."""
    verb, spec = handed_over(call.module)
    spec.pop("supports_check_mode")
    checked = ArgumentSpecValidator(**spec).validate(call.options)
    if checked.error_messages:
        raise ValueError(f"{call}: {checked.error_messages}")
    params = checked.validated_parameters
    return (verb if callable(verb) else verb[params["state"]]), params


def told(argv: Iterable[str]) -> tuple[str, str]:
    """(the ssh before it, the command) in words, without what differs from run to run."""
    words = [re.sub(r"^ControlPath=.*/%C$", "ControlPath=/%C", word) for word in argv]
    if words[0] == "ssh":
        return shlex.join(words[:-1]), words[-1].replace(TELLING + HEAD, "~ ").replace(HEAD, "~ ")
    return "", shlex.join(words)


def steps_of(steps: Iterable[str | Call]) -> list[Any]:
    """What a recording must have been made of: shell texts, and (module, options, check) for each run of a call."""
    return [
        part
        for step in steps
        for part in ([step] if isinstance(step, str) else [[step.module, step.options, check] for check in step.phases])
    ]


def plain(value: Any) -> Any:
    """A result as JSON has it, without what a clock measured."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items() if key != "seconds"}
    return [plain(each) for each in value] if isinstance(value, (list, tuple)) else value


def answered(argv: list[str], **answer: Any) -> dict[str, Any]:
    """A command and its answer (rc, out, err and others) as a recording has them: without fields that are empty."""
    ssh, run = told(argv)
    if run.endswith(shlex.join(zfs.receivers())):  # other processes are nobody's business
        lines = answer.get("out", "").splitlines(keepends=True)
        answer["out"] = "".join(line for line in lines if re.search("zfs (send|receive)|receive_writer", line))
    return {"ssh": ssh, "run": run, **{key: value for key, value in answer.items() if value}}


@dataclass
class Recording:
    """A session as it was recorded.

    A step is a shell text, or a dict: ``call`` (see `steps_of`), ``now``, ``lacks`` (programs), ``commands`` (see
    `answered`) and ``result``.
    """

    openzfs: str
    steps: list[Any]


def path(name: str) -> Path:
    return FOLDER / f"{name}.txt"


def load(name: str) -> Recording:
    return parse(path(name).read_text(encoding="utf-8"))


def save(name: str, recording: Recording) -> None:
    path(name).write_text(form(recording), encoding="utf-8")


# The first word of a line says what follows:
#   OpenZFS        the version
#   NAME:          how the commands with the prompt NAME$ are started
#   #              a shell step
#   run, check     a run of a module for real, or in check mode, with its options
#   $, NAME$       a command of that run; over ssh ~ is the environment that it is given
#   |, !           a line that the command wrote to stdout, or to stderr
#   (as before)    the answer that the same command had the last time
#   result         what the run returned, as YAML in indented lines
#   any other      a field of the run or of the command, as JSON
# A text that cannot be read as it is, such as one with spaces at its end, is given as a JSON string with its newline.
AGAIN = "(as before)"
SHORT = 3  # an answer of so many lines is repeated
OUTPUT = {"|": "out", "!": "err"}


def form(recording: Recording) -> str:
    """The text of a recording's file; `parse` is the reverse."""
    prompts = {"": ""}
    last: dict[tuple[str, str], list[str]] = {}
    rows: list[str] = []
    for step in recording.steps:
        if isinstance(step, str):
            rows += ["", _row("#", step + "\n")]
            continue
        module, options, check = step["call"]
        rows += ["", f"{'check' if check else 'run'} {module} {_json(options)}"]
        rows += _fields(step, "call", "commands", "result")
        for command in step["commands"]:
            ssh, run = key = command["ssh"], command["run"]
            if ssh not in prompts:
                prompts[ssh] = _prompt(ssh, prompts.values())
            said = [_row(tag, line) for tag, field in OUTPUT.items() for line in _lines(command.get(field, ""))]
            said += _fields(command, "ssh", "run", *OUTPUT.values())
            again = len(said) > SHORT and said == last.get(key)
            rows += [_row(f"{prompts[ssh]}$", run + "\n"), *([AGAIN] if again else said)]
            last[key] = said
        # PyYAML would write these three as they are, and read them as the ends of lines.
        strange = re.search("[\x85\u2028\u2029]", json.dumps(step["result"], ensure_ascii=False))
        result = yaml.safe_dump(step["result"], sort_keys=False, allow_unicode=not strange, width=10**6)
        rows += ["result", *(f"  {line}".rstrip(" ") for line in result.splitlines())]
    heads = [f"{prompt}: {ssh}" for ssh, prompt in prompts.items() if ssh]
    return "\n".join([f"OpenZFS {recording.openzfs}", *heads, *rows, ""])


def parse(text: str) -> Recording:
    (version, *heads), *parts = (part.split("\n") for part in re.split(r"\n\n(?=# |run |check )", text.rstrip("\n")))
    prompts = {"": "", **dict(head.split(": ", 1) for head in heads)}
    last: dict[tuple[str, str], dict[str, Any]] = {}
    steps = [_text(rows[0][2:])[:-1] if rows[0].startswith("#") else _parse_run(rows, prompts, last) for rows in parts]
    return Recording(version.partition(" ")[2], steps)


def _parse_run(rows: list[str], prompts: dict[str, str], last: dict[tuple[str, str], dict[str, Any]]) -> dict[str, Any]:
    end = rows.index("result")
    mode, module, options = rows[0].split(" ", 2)
    step: dict[str, Any] = {"call": [module, json.loads(options), mode == "check"], "commands": []}
    thing = step  # that the fields belong to
    for row in rows[1:end]:
        tag, _space, rest = row.partition(" ")
        if tag.endswith("$"):
            thing = {"ssh": prompts[tag[:-1]], "run": _text(rest)[:-1]}
            step["commands"].append(thing)
            key = thing["ssh"], thing["run"]
            before, last[key] = last.get(key, {}), thing
        elif row == AGAIN:
            thing.update(before)
        elif tag in OUTPUT:
            thing[OUTPUT[tag]] = thing.get(OUTPUT[tag], "") + _text(rest)
        else:
            thing[tag] = json.loads(rest)
    return {**step, "result": yaml.safe_load("\n".join(rows[end + 1 :]))}


def _lines(text: str) -> Iterator[str]:
    """Each with its newline, if it has one."""
    return filter(None, re.split(r"(?<=\n)", text))


def _row(tag: str, line: str) -> str:
    text = line[:-1]
    same = line.endswith("\n") and not text.startswith('"') and text == text.rstrip()
    same = same and text.replace("\t", "").isprintable()
    return f"{tag} {text if same else json.dumps(line)}".rstrip()


def _text(shown: str) -> str:
    """The line of which `_row` made this."""
    return str(json.loads(shown)) if shown.startswith('"') else shown + "\n"


def _fields(thing: dict[str, Any], *others: str) -> list[str]:
    return [f"{key} {_json(value)}" for key, value in thing.items() if key not in others]


def _prompt(ssh: str, taken: Iterable[str]) -> str:
    """The host, or what ssh itself is told to do, with a number from the second on."""
    name = ssh.split()[-2 if ssh.endswith(" --") else -1]
    return next(prompt for prompt in [name, *(f"{name}.{number}" for number in range(2, 100))] if prompt not in taken)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
