# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module's exit, by the result or the error of its entry point."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible.module_utils import basic
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.cerss.zfs.plugins.module_utils import _module
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError
from ansible_collections.cerss.zfs.plugins.module_utils._module import run_module, secrets, without_blanks
from ansible_collections.cerss.zfs.tests.unit.transcript import handed_over

SPEC = {
    "name": {"type": "str"},
    "count": {"type": "int", "default": 3, "aliases": ["number"]},
    "token": {"type": "dict", "no_log": True},
    "key": {"type": "str", "no_log": True},
    "way": {"type": "dict", "options": {"host": {"type": "str", "required": True}, "port": {"type": "int"}}},
}


@pytest.fixture
def ended(monkeypatch, capsys):
    """Runs a module with this entry point. Returns its exit code and its result."""

    def run(main, check=False, **options):
        handed = {"ANSIBLE_MODULE_ARGS": {"name": "tank", "_ansible_check_mode": check, **options}}
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps(handed).encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        with pytest.raises(SystemExit) as end:
            run_module(main, argument_spec=SPEC, supports_check_mode=True)
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


def test_the_diff_is_returned_only_in_diff_mode(ended):
    def main(_options, _check):
        return {"changed": True, "actions": ["a"], "diff": {"before": {}, "after": {"tank@s": 1}}}

    assert "diff" not in ended(main)[1]
    assert ended(main, _ansible_diff=True)[1]["diff"]["after"] == {"tank@s": 1}
    assert "diff" not in ended(lambda *_: {**main(*_), "failed": True, "msg": "one of two"})[1]


@pytest.mark.parametrize(("system", "warnings"), [("Linux", 0), ("FreeBSD", 1), ("SunOS", 1)])
def test_a_system_that_is_not_tested_is_told_once(ended, system, warnings, monkeypatch):
    warned = []
    monkeypatch.setattr(basic.AnsibleModule, "warn", lambda _module, text: warned.append(text))
    monkeypatch.setattr(_module.platform, "system", lambda: system)
    assert ended(lambda *_: {"changed": False})[0] == 0
    assert [f"{system} is not tested" in text for text in warned] == [True] * warnings


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


def test_secrets_are_hidden_but_names_and_numbers_are_not_garbled(ended):
    assert secrets({"1", "on", "hunter2", "postgres"}, ["tank/postgres@nightly"]) == {"hunter2"}
    _main, spec = handed_over("zfs_snapshot")
    for option in ("before", "after"):
        assert spec["argument_spec"][option]["options"]["environment"]["no_log"]
    code, result = ended(
        lambda *_: {"count": 11, "snapshots": ["tank/vol"], "said": "hunter2"},
        token={"A": "1", "B": "hunter2", "C": "tank"},
    )
    assert (code, result["count"], result["snapshots"]) == (0, 11, ["tank/vol"])
    assert "hunter2" not in str(result)


def test_a_secret_that_is_part_of_a_name_is_not_shown_as_an_option(ended):
    def main(options, _check):
        return {"used": options["key"] == "hunter2"}

    code, result = ended(main, name="tank/hunter2", key="hunter2")
    assert (code, result["used"]) == (0, True)
    shown = result["invocation"]["module_args"]
    assert (shown["name"], "hunter2" in shown["key"]) == ("tank/hunter2", False)


@pytest.mark.parametrize("blank", ["", " ", "\n", None])
def test_a_blank_string_is_an_option_that_is_not_given(ended, blank):
    given = {"name": blank, "number": blank, "way": {"host": "a", "port": blank}}
    code, result = ended(lambda params, _check: {"params": params}, **given)
    assert code == 0
    assert {key: result["params"][key] for key in SPEC} == {
        "name": None,
        "count": 3,
        "token": None,
        "key": None,
        "way": {"host": "a", "port": None},
    }


def values_of(spec):
    """A value for each required option."""
    made = {"str": "x", "list": ["x"], "dict": {}, "int": 1, "bool": True}
    return {
        name: values_of(option["options"]) if "options" in option else made[option.get("type", "str")]
        for name, option in spec.items()
        if option.get("required")
    }


def optional(spec, *above):
    """The path of each optional option, at any depth."""
    for name, option in spec.items():
        if not option.get("required"):
            yield (*above, name)
        yield from optional(option.get("options", {}), *above, name)


def with_blank(spec, path):
    """The required options, and a blank string at the path, which goes through dicts and lists of dicts."""
    values, (name, *rest) = values_of(spec), path
    if not rest:
        return {**values, name: ""}
    inner = with_blank(spec[name]["options"], rest)
    return {**values, name: [inner] if spec[name]["type"] == "list" else inner}


def without(values, path):
    name, *rest = path
    if not rest:
        return {key: value for key, value in values.items() if key != name}
    inner = values[name]
    return {**values, name: [without(inner[0], rest)] if isinstance(inner, list) else without(inner, rest)}


MODULES = sorted(path.stem for path in Path(__file__).parents[4].glob("plugins/modules/*.py"))


@pytest.mark.parametrize("module", MODULES)
def test_every_optional_option_of_every_module_may_be_blank(module):
    _main, spec = handed_over(module)
    spec.pop("supports_check_mode")
    validator = ArgumentSpecValidator(**spec)
    paths = [*optional(spec["argument_spec"])]
    assert paths
    for path in paths:
        given = with_blank(spec["argument_spec"], path)
        left = without_blanks(given, spec["argument_spec"])
        assert left == without(given, path)
        told = validator.validate(left).error_messages
        assert not [text for text in told if "convert" in text or ("value of" in text and "got: x" not in text)], path


@pytest.mark.parametrize("module", MODULES)
def test_a_required_option_must_not_be_blank(module):
    _main, spec = handed_over(module)
    for name, option in spec["argument_spec"].items():
        if option.get("required"):
            assert without_blanks({name: ""}, spec["argument_spec"]) == {name: ""}
