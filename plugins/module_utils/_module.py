# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From a module's parameters to its exit: the few lines that every module shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError

Main = Callable[[Mapping[str, Any], bool], "dict[str, Any]"]


def run_module(main: Main | Mapping[str, Main], **spec: Any) -> None:
    """Exit with what ``main(params, check_mode)`` returns, or fail with the error's own sentence.

    ``main``: the module's entry point, or one for each ``state``.
    A result with a true ``failed`` (some of several things could not be done) fails with its ``msg`` and all else.
    """
    module = AnsibleModule(**spec)
    try:
        result = (main if callable(main) else main[module.params["state"]])(module.params, module.check_mode)
    except CerssError as error:
        module.fail_json(msg=error.msg, **error.details)
    for warning in result.pop("warnings", []):
        module.warn(warning)
    if result.get("failed"):
        module.fail_json(**result)
    module.exit_json(**result)
