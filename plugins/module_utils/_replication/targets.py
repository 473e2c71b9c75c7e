# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a replication goes: the argument specs of both sides, and the parameters of each of several targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.periods import PERIODS
from ansible_collections.cerss.zfs.plugins.module_utils._replication.options import Options

# The argument specs of `login`, and of `source` and `target`, documented in doc_fragments/endpoint.py. They have no
# defaults, so that what is not given can be told.
LOGIN_OPTIONS: dict[str, Any] = {
    "port": {"type": "int"},
    "user": {"type": "str"},
    "become": {"type": "bool"},
    "become_program": {"type": "str"},
    "identity_file": {"type": "path"},
    "known_hosts_file": {"type": "path"},
    "ssh_options": {"type": "list", "elements": "str"},
}
ENDPOINT_OPTIONS: dict[str, Any] = {"host": {"type": "str"}, **LOGIN_OPTIONS}

# What a target may have of its own, with the choices and types of the module's options of these names
OWN_OPTIONS: dict[str, Any] = {
    "include_snapshots": {"type": "list", "elements": "str"},
    "exclude_snapshots": {"type": "list", "elements": "str"},
    "intermediates": {"type": "bool"},
    "raw": {"type": "str", "choices": ["auto", "always", "never"]},
    "properties": {"type": "dict"},
    "on_divergence": {"type": "str", "choices": ["fail", "rollback", "reseed"]},
}
TARGET_OPTIONS: dict[str, Any] = {
    **ENDPOINT_OPTIONS,
    "dataset": {"type": "str"},
    "parent": {"type": "str"},
    "strip": {"type": "int", "default": 1},
    "include": {"type": "dict", "options": {name: {"type": "int", "choices": [1]} for name in PERIODS}},
    **OWN_OPTIONS,
}


def options(params: Mapping[str, Any]) -> list[Options]:
    """The checked options for each target. Raises BadInput; nothing has been read at that point."""
    found = [Options.from_params(each, option) for option, each in _each(params)]
    places: dict[str, str] = {}
    for each in found:
        other = places.setdefault(each.place, each.option)
        if other != each.option:
            raise BadInput(f"{other} and {each.option} are both {each.place}; leave one of them out")
    return found


def _each(params: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(what it is called, the parameters) of each target, with what that has of its own."""
    one, several = params.get("target") or {}, params.get("targets")
    given = any(value is not None for name, value in one.items() if name != "strip")  # which has a default
    if given and several is not None:
        raise BadInput("target and targets are both set; leave one of them out")
    if not given and several is None:
        raise BadInput("neither target nor targets is set; set target, or targets if there are several")
    named: dict[str, Any] = {f"targets[{number}]": target for number, target in enumerate(several or [])}
    for option, target in (named if several is not None else {"target": one}).items():
        own = {name: target[name] for name in OWN_OPTIONS if target.get(name) is not None}
        yield option, {**params, **own, "target": target}
