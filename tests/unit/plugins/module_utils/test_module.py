# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module's exit, by the result or the error of its entry point."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils import basic

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError
from ansible_collections.cerss.zfs.plugins.module_utils._module import run_module


@pytest.fixture
def ended(monkeypatch, capsys):
    """Runs a module with this entry point. Returns its exit code and its result."""

    def run(main, check=False):
        handed = {"ANSIBLE_MODULE_ARGS": {"name": "tank", "_ansible_check_mode": check}}
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps(handed).encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        with pytest.raises(SystemExit) as end:
            run_module(main, argument_spec={"name": {"type": "str"}}, supports_check_mode=True)
        return end.value.code, json.loads(capsys.readouterr().out)

    return run


@pytest.mark.parametrize("check", [False, True])
def test_a_result_is_returned_and_its_warnings_are_shown(ended, check, monkeypatch):
    warned = []
    monkeypatch.setattr(basic.AnsibleModule, "warn", lambda _module, text: warned.append(text))

    def main(options, check_mode):
        return {"changed": check_mode, "seen": options["name"], "warnings": ["w1"]}

    code, result = ended(main, check)
    assert (code, result["changed"], result["seen"]) == (0, check, "tank")
    assert warned == ["w1"]


def test_an_error_fails_with_its_message_and_details(ended):
    def main(_options, _check):
        raise CerssError("tank is busy", stderr="busy")

    code, result = ended(main)
    assert (code, result["failed"], result["msg"], result["stderr"]) == (1, True, "tank is busy", "busy")


def test_a_partly_failed_result_fails_with_all_its_keys(ended):
    code, result = ended(lambda *_: {"changed": True, "failed": True, "msg": "one of two", "done": ["one"]})
    assert (code, result["failed"], result["changed"], result["done"]) == (1, True, True, ["one"])


def test_an_error_that_nobody_expects_is_one_sentence_without_the_options(ended, monkeypatch):
    handed = {}
    real = basic.AnsibleModule.fail_json

    def fail_json(module, **more):
        handed.update(more)
        real(module, **more)

    monkeypatch.setattr(basic.AnsibleModule, "fail_json", fail_json)

    def main(options, _check):
        return {}[f"two\nlines {len(options)}"]

    code, result = ended(main)
    assert (code, result["failed"]) == (1, True)
    assert result["msg"].startswith("the module ended unexpectedly in main in test_module.py: KeyError: ")
    assert "\n" not in result["msg"]
    assert result["msg"].endswith("please report this as a bug, with the traceback")
    assert handed["exception"].startswith("Traceback (most recent call last):\n")
    assert "tank" not in handed["msg"] + handed["exception"]


def test_an_error_without_text_still_says_what_it_is(ended):
    def main(_options, _check):
        raise NotImplementedError

    assert "test_module.py: NotImplementedError. What" in ended(main)[1]["msg"]


def test_bytes_that_are_no_text_are_shown_as_escapes(ended):
    assert ended(lambda *_: {"note": "caf\udce9"})[1]["note"] == "caf\\xe9"

    def main(_options, _check):
        raise CerssError("caf\udce9", names=["\udcff"])

    result = ended(main)[1]
    assert (result["msg"], result["names"]) == ("caf\\xe9", ["\\xff"])

    def fail(_options, _check):
        raise ValueError("caf\udce9")

    assert "ValueError: caf\\xe9" in ended(fail)[1]["msg"]
