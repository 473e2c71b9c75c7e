# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recorded sessions as files: what verbs asked of real ZFS, what it answered, and what came of it."""

from __future__ import annotations

import importlib
import json
import re
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.cerss.zfs.plugins.module_utils._core.endpoint import ENVIRONMENT
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.tests.unit.scenarios import Call

FOLDER = Path(__file__).parents[1] / "recorded"
_ENV = shlex.join(ENVIRONMENT) + " "

Verb = Callable[[dict[str, Any], bool], dict[str, Any]]


def entrance(call: Call) -> tuple[Verb, dict[str, Any]]:
    """The module's verb, and the options in full, as the module itself would hand them over."""
    module: Any = importlib.import_module(f"ansible_collections.cerss.zfs.plugins.modules.{call.module}")
    handed: list[tuple[Verb, dict[str, Any]]] = []
    real = module.run_module
    module.run_module = lambda verb, **spec: handed.append((verb, spec))
    try:
        module.main()
    finally:
        module.run_module = real
    ((verb, spec),) = handed
    spec.pop("supports_check_mode")
    checked = ArgumentSpecValidator(**spec).validate(call.options)
    if checked.error_messages:
        raise ValueError(f"{call}: {checked.error_messages}")
    return verb, checked.validated_parameters


def told(argv: Iterable[str]) -> tuple[str, str]:
    """(the ssh before it, the command) in words, without what differs from run to run."""
    words = [re.sub(r"^ControlPath=.*/%C$", "ControlPath=/%C", word) for word in argv]
    if words[0] == "ssh":
        return shlex.join(words[:-1]), words[-1].replace(_ENV, "~ ")
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


class Lines:
    """Each line of output once; a text is told by ranges of their numbers."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self.known = list(known)
        self._numbers = {line: number for number, line in enumerate(self.known)}

    def pack(self, text: str) -> str:
        ranges: list[list[int]] = []
        for line in text.split("\n"):
            number = self._numbers.setdefault(line, len(self.known))
            if number == len(self.known):
                self.known.append(line)
            if ranges and ranges[-1][1] + 1 == number:
                ranges[-1][1] = number
            else:
                ranges.append([number, number])
        return " ".join(str(one) if one == two else f"{one}-{two}" for one, two in ranges)

    def unpack(self, ranges: str) -> str:
        numbers = [part.partition("-") for part in ranges.split(" ")]
        return "\n".join(
            line for one, _dash, two in numbers for line in self.known[int(one) : int(two or one) + 1]
        )  # fmt: skip


def path(name: str) -> Path:
    return FOLDER / f"{name}.json"


def load(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path(name).read_text())
    return content


def save(name: str, steps: Iterable[Any]) -> None:
    """``steps``: shell texts, and what the recorder took of each run."""
    lines, heads, packed = Lines(), list[str](), []
    for step in steps:
        if not isinstance(step, str):
            step = {**step, "commands": [_packed(entry, lines, heads) for entry in step["commands"]]}
        packed.append(step)
    write(name, heads, lines, packed)


def write(name: str, heads: list[str], lines: Lines, steps: Iterable[Any]) -> None:
    """A command a line, to be read and compared."""
    rows = []
    for step in steps:
        if isinstance(step, str):
            rows.append(_json(step))
            continue
        run = {key: value for key, value in step.items() if key != "commands"}
        rows.append(_json(run)[:-1] + ', "commands": [\n   ' + ",\n   ".join(map(_json, step["commands"])) + "]}")
    text = f'{{"ssh": {_json(heads)},\n "lines": [\n  ' + ",\n  ".join(map(_json, lines.known)) + "],\n"
    path(name).write_text(text + ' "steps": [\n  ' + ",\n  ".join(rows) + "]}\n")


def _packed(entry: dict[str, Any], lines: Lines, heads: list[str]) -> dict[str, Any]:
    """An answer without what goes without saying."""
    head, words = told(entry.pop("argv"))
    packed: dict[str, Any] = {"run": words}
    if head:
        if head not in heads:
            heads.append(head)
        packed["ssh"] = heads.index(head)
    out = entry.pop("out", "")
    if words.endswith(shlex.join(zfs.receivers())):  # other processes are nobody's business
        out = "".join(line + "\n" for line in out.splitlines() if re.search("zfs (send|receive)|receive_writer", line))
    if out:
        packed["out"] = lines.pack(out)
    if entry.get("err", "").count("\n") > 1:
        packed["errs"] = lines.pack(entry.pop("err"))
    return {**packed, **{key: value for key, value in entry.items() if value}}


def _json(value: Any) -> str:
    return json.dumps(value, separators=(", ", ": "))
