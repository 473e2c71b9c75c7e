# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From a verb's result to a module's exit."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils import basic

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError
from ansible_collections.cerss.zfs.plugins.module_utils._module import run_module


@pytest.fixture
def ended(monkeypatch, capsys):
    """Run a module whose verb this is; (exit code, what it printed)."""

    def run(verb, check=False):
        handed = {"ANSIBLE_MODULE_ARGS": {"name": "tank", "_ansible_check_mode": check}}
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps(handed).encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        with pytest.raises(SystemExit) as end:
            run_module(verb, argument_spec={"name": {"type": "str"}}, supports_check_mode=True)
        return end.value.code, json.loads(capsys.readouterr().out)

    return run


@pytest.mark.parametrize("check", [False, True])
def test_a_result_is_handed_on_and_its_warnings_apart(ended, check, monkeypatch):
    warned = []
    monkeypatch.setattr(basic.AnsibleModule, "warn", lambda _module, text: warned.append(text))

    def verb(options, check_mode):
        return {"changed": check_mode, "seen": options["name"], "warnings": ["w1"]}

    code, told = ended(verb, check)
    assert (code, told["changed"], told["seen"]) == (0, check, "tank")
    assert warned == ["w1"]


def test_an_error_fails_with_its_sentence_and_details(ended):
    def verb(_options, _check):
        raise CerssError("tank is busy", stderr="zfs said so")

    code, told = ended(verb)
    assert (code, told["failed"], told["msg"], told["stderr"]) == (1, True, "tank is busy", "zfs said so")


def test_a_half_failed_result_fails_and_keeps_what_was_done(ended):
    code, told = ended(lambda *_: {"changed": True, "failed": True, "msg": "one of two", "done": ["one"]})
    assert (code, told["failed"], told["changed"], told["done"]) == (1, True, True, ["one"])
