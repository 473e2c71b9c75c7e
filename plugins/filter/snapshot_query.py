# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter snapshot_query: a JMESPath expression over snapshot objects."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.cerss.zfs.plugins.module_utils._core import units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import matches

try:
    import jmespath
    from jmespath import exceptions, functions
except ImportError as error:
    MISSING: ImportError | None = error
else:
    MISSING = None

    class SnapshotFunctions(functions.Functions):
        """The functions that snapshot_query adds to JMESPath; snapshot_query.yml documents them."""

        @functions.signature({"types": ["string", "number", "null"]})
        def _func_age(self, created: str | float | None) -> float | None:
            """Null for null and for a time in the future, so that a missing or wrong time compares as false."""
            if created is None:
                return None
            epoch = units.epoch_of(created) if isinstance(created, str) else created
            if epoch is None:
                raise BadInput(f"age(): {created!r} is not a time such as 2026-11-23T07:08:02Z")
            return units.age(epoch, time.time())

        @functions.signature({"types": ["string", "number"]})
        def _func_duration(self, text: str | int) -> int:
            return units.duration(text, "duration()")

        @functions.signature({"types": ["string", "number"]})
        def _func_bytes(self, text: str | int) -> int:
            return units.size(text, "bytes()")

        @functions.signature({"types": ["string", "null"]}, {"types": ["string"]})
        def _func_glob(self, text: str | None, pattern: str) -> bool:
            try:
                return text is not None and matches(text, [pattern])
            except re.error as error:
                raise BadInput(f"glob(): {pattern!r} is not a regular expression ({error})") from None


def snapshot_query(data: Any, expression: str) -> Any:
    """What the expression selects. AnsibleFilterError shows the place in the expression and the reason."""
    if MISSING is not None:
        raise AnsibleFilterError(
            "cerss.zfs.snapshot_query needs the Python library jmespath on the controller: pip install jmespath"
        ) from MISSING  # it names the part that could not be imported
    if not isinstance(expression, str):
        raise AnsibleFilterError(f"cerss.zfs.snapshot_query: the expression is a {type(expression).__name__}, not text")
    options = jmespath.Options(custom_functions=SnapshotFunctions())
    try:
        return jmespath.compile(str(expression)).search(_plain(data), options)
    except exceptions.ArityError as error:
        raise AnsibleFilterError(f"cerss.zfs.snapshot_query: {_at_function(str(expression), error)}") from None
    except exceptions.EmptyExpressionError:
        raise AnsibleFilterError("cerss.zfs.snapshot_query: the expression is empty; '[*]' selects all") from None
    except (exceptions.LexerError, exceptions.ParseError) as error:
        text = _pointing(str(expression), error.lex_position, _syntax_error(error))
        raise AnsibleFilterError(f"cerss.zfs.snapshot_query: {text}") from None
    except (exceptions.JMESPathError, BadInput, TypeError) as error:
        raise AnsibleFilterError(f"cerss.zfs.snapshot_query: {_at_function(str(expression), error)}") from None


def _at_function(expression: str, error: Exception) -> str:
    """The error, with the place of the function that it names: errors of functions have no position."""
    name = getattr(error, "function_name", None) or str(error).partition("(")[0].rpartition(" ")[2]
    return _pointing(expression, expression.find(f"{name}("), _reason(error))


def _syntax_error(error: Any) -> str:
    if isinstance(error, exceptions.IncompleteExpressionError):
        return "the expression ends too early"
    if isinstance(error, exceptions.LexerError):
        return f"{error.message}; write literals as '…' (text) or `…` (JSON)"
    return f"{error.token_value!r} is not expected here"


def _reason(error: Exception) -> str:
    if isinstance(error, BadInput):
        return error.msg
    if isinstance(error, exceptions.UnknownFunctionError):
        known = sorted(SnapshotFunctions.FUNCTION_TABLE)
        return f"{error}; the functions are {', '.join(known)}"
    if isinstance(error, exceptions.JMESPathTypeError):
        expected, function = " or ".join(error.expected_types), error.function_name
        return f"{function}() got {error.current_value!r}, a {error.actual_type}; it takes {expected}"
    return str(error)


def _pointing(expression: str, position: int | None, reason: str) -> str:
    """The reason, the line of the expression, and a caret below the position (None or negative: not known)."""
    if position is None or position < 0:
        return f"{reason}, in: {expression}"
    position = min(position, len(expression))
    start = expression.rfind("\n", 0, position) + 1
    line = expression[start:].split("\n", 1)[0]
    return f"{reason} (character {position + 1})\n{line}\n{' ' * (position - start)}^"


def _plain(data: Any) -> Any:
    """The same data in built-in types: JMESPath checks for the exact type, and Ansible has subclasses of its own."""
    if isinstance(data, Mapping):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_plain(value) for value in data]
    for type_ in (bool, str, int, float):
        if isinstance(data, type_):
            return data if type_ is bool else type_(data)
    return data


class FilterModule:  # Ansible looks for this name
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"snapshot_query": snapshot_query}
