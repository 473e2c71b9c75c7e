# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a module: its parameters in, its result or its failure out."""

from __future__ import annotations

import os
import platform
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError
from ansible_collections.cerss.zfs.plugins.module_utils._core.text import shown

Main = Callable[[Mapping[str, Any], bool], "dict[str, Any]"]


class _Module(AnsibleModule):  # type: ignore[misc]
    """An AnsibleModule for which blank strings and null count as options that are not given."""

    params: dict[str, Any]

    def _load_params(self) -> None:
        super()._load_params()
        self.params = without_blanks(self.params, self.argument_spec)


def without_blanks(params: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    """The options before they are checked, without optional ones that are blank strings or None, at any depth.

    A survey, and ``"{{ variable | default('') }}"``, hand over a blank string for what nobody has filled in. From 2.20
    on ansible-core makes None a blank string if the option has a default. ``spec``: the argument spec.

    >>> without_blanks({"a": "", "b": "", "c": " "}, {"a": {"required": True}, "b": {}, "c": {"default": 1}})
    {'a': ''}
    """
    known = {name: option for key, option in spec.items() for name in (key, *option.get("aliases", ()))}
    return {
        name: _without_blanks(value, known.get(name, {}).get("options"))
        for name, value in params.items()
        if name not in known or known[name].get("required") or not _is_blank(value)
    }


def _without_blanks(value: Any, suboptions: Mapping[str, Any] | None) -> Any:
    if suboptions and isinstance(value, Mapping):
        return without_blanks(value, suboptions)
    if suboptions and isinstance(value, list):
        return [_without_blanks(item, suboptions) for item in value]
    return value


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def secrets(values: Iterable[str], names: object) -> set[str]:
    """What Ansible is to hide in the result, of the values of options that may be secret.

    It hides them wherever they occur, even in a number. So a variable DEBUG=1 would garble every number with a 1, and
    PGUSER=postgres the name tank/postgres@nightly. ``names``: the option ``name``, which shows what is in it anyway.
    """
    return {value for value in values if len(value) > 3 and value not in str(names)}


def run_module(main: Main | Mapping[str, Main], **spec: Any) -> None:
    """Exit with the result of ``main(params, check_mode)``, or fail with the message of its CerssError.

    ``main``: the entry point, or state -> entry point. ``spec``: the arguments of AnsibleModule.
    A result with a true ``failed`` must have a ``msg``; the module fails with all its keys (part of the work was done).
    """
    module = _Module(**spec)
    module.no_log_values = secrets(module.no_log_values, module.params.get("name"))
    params = dict(module.params)
    for name, option in spec["argument_spec"].items():  # Ansible shows the options: `secrets` leaves some readable
        if option.get("no_log") and isinstance(params.get(name), str):
            module.params[name] = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
    try:
        result = (main if callable(main) else main[params["state"]])(params, module.check_mode)
    except CerssError as error:
        module.fail_json(**shown({"msg": error.msg, **error.details}))
    except Exception as error:  # pylint: disable=broad-except
        # Otherwise Ansible would print all options, passwords included.
        module.fail_json(msg=shown(_unexpected(error)), exception=shown(traceback.format_exc()))
    if not module._diff:
        result.pop("diff", None)  # it names each snapshot twice
    result = shown(result)
    if platform.system() != "Linux":
        module.warn(f"{platform.system()} is not tested; cerss.zfs is made for OpenZFS on Linux")
    for warning in result.pop("warnings", []):
        module.warn(warning)
    if result.get("failed"):
        module.fail_json(**result)
    module.exit_json(**result)


def _unexpected(error: Exception) -> str:
    """The message for an error that no part of the collection expects."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "module_utils" in frame.filename] or frames
    where = f"{ours[-1].name} in {os.path.basename(ours[-1].filename)}"
    text = " ".join(str(error).split())
    return (
        f"the module ended unexpectedly in {where}: {type(error).__name__}{': ' if text else ''}{text}. What it had "
        "done by then is not known; please report this as a bug, with the traceback"
    )
