# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the values of a declaration may be. Each check returns the value and adds to a list what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Callable

from ansible_collections.cerss.zfs.plugins.module_utils._core import units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName, check_patterns, listing
from ansible_collections.cerss.zfs.plugins.module_utils._core.template import Template

# (value, where it stands, problems so far) -> the value as the modules take it
Check = Callable[[Any, str, "list[str]"], Any]
_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def is_blank(value: Any) -> bool:
    """True for what counts as not given."""
    return value is None or (isinstance(value, str) and not value.strip())


def items(value: Any) -> list[Any]:
    """A list as it is, a text taken apart at its commas and line ends, anything else as the only item."""
    if isinstance(value, str):
        return [part for part in re.split(r"\s*[,\n]\s*", value.strip()) if part]
    return list(value) if isinstance(value, (list, tuple)) else [value]


def text(value: Any, where: str, problems: list[str]) -> Any:
    if isinstance(value, (Mapping, list, tuple)):
        problems.append(f"{where} is {_kind(value)}; give a text")
    return value


def _plain(value: Any, where: str, problems: list[str]) -> str | None:
    """The value as text; None, with a problem, for a list or dictionary."""
    return None if isinstance(text(value, where, problems), (Mapping, list, tuple)) else str(value).strip()


def texts(value: Any, where: str, problems: list[str]) -> list[str]:
    found = [item for item in items(value) if not is_blank(item)]
    if isinstance(value, Mapping) or any(isinstance(item, (Mapping, list, tuple)) for item in found):
        problems.append(f"{where} is {_kind(value)}; give a list of texts")
    return [str(item) for item in found]


def scalar(value: Any, where: str, problems: list[str]) -> Any:
    """A boolean as it is, anything else as text."""
    return value if isinstance(value, bool) else _plain(value, where, problems)


def datasets(value: Any, where: str, problems: list[str]) -> list[str]:
    found = texts(value, where, problems)
    for name in found:
        _try(DatasetName.parse, name, where, problems)
    if len(set(found)) < len(found):
        problems.append(f"{where} lists a dataset more than once; name each one once")
    return found


def dataset(value: Any, where: str, problems: list[str]) -> str:
    return _parsed(DatasetName.parse, value, where, problems)


def template(value: Any, where: str, problems: list[str]) -> str:
    """Of the names of snapshots, a new one each time."""
    return _parsed(lambda given: _with_time(Template.parse(given, where), where), value, where, problems)


def _with_time(given: Template, where: str) -> None:
    if not given.has_directives:
        raise BadInput(
            f"{where} is {given.text!r}, which exists after the first run, so no other snapshot would ever be taken; "
            f"add the time, as {given.text}-%Y-%m-%d_%H-%M"
        )


def patterns(value: Any, where: str, problems: list[str]) -> list[str]:
    found = texts(value, where, problems)
    _try(lambda given: check_patterns(given, where), found, where, problems)
    return found


def boolean(value: Any, where: str, problems: list[str]) -> bool:
    found = _BOOLEANS.get(str(value).strip().lower())
    if found is None:
        problems.append(f"{where} is {value!r}; give true or false")
    return bool(found)


def number(value: Any, where: str, problems: list[str]) -> int:
    if isinstance(value, bool) or not re.fullmatch("[0-9]{1,9}", str(value).strip()):
        problems.append(f"{where} is {value!r}; give a whole number, 0 or more")
        return 0
    return int(value)


def one(value: Any, where: str, problems: list[str]) -> int:
    if str(value).strip() != "1":
        problems.append(f"{where} is {value!r}; give 1, for the first snapshot of each period")
    return 1


def duration(value: Any, where: str, problems: list[str]) -> str:
    return _parsed(lambda given: units.duration(given, where), value, where, problems)


def size(value: Any, where: str, problems: list[str]) -> str:
    return _parsed(lambda given: units.size(given, where), value, where, problems)


def one_of(*choices: str) -> Check:
    def check(value: Any, where: str, problems: list[str]) -> Any:
        if value not in choices:
            problems.append(f"{where} is {value!r}; give one of {', '.join(choices)}")
        return value

    return check


def dictionary(keys: Mapping[str, Check] | None = None, required: tuple[str, ...] = ()) -> Check:
    """A dictionary with some of these keys; with any if ``keys`` is None. What is blank is left out."""

    def check(value: Any, where: str, problems: list[str]) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            problems.append(f"{where} is {_kind(value)}; give a dictionary{_of(keys)}")
            return {}
        if keys is None:
            return dict(value)
        return fields(value, where, keys, problems, required)

    return check


def dictionaries(keys: Mapping[str, Check], required: tuple[str, ...] = ()) -> Check:
    """A list of such dictionaries; a single one is a list of one."""
    each = dictionary(keys, required)

    def check(value: Any, where: str, problems: list[str]) -> list[dict[str, Any]]:
        given = list(value) if isinstance(value, (list, tuple)) else [value]
        return [each(item, f"{where}[{place}]", problems) for place, item in enumerate(given)]

    return check


def fields(
    value: Mapping[str, Any], where: str, keys: Mapping[str, Check], problems: list[str],
    required: tuple[str, ...] = (),
) -> dict[str, Any]:  # fmt: skip
    """The keys that are given, each checked. ``where``: ``job nightly``, or ``job nightly: snapshot`` further in."""
    unknown = sorted(str(name) for name in value if name not in keys)
    if unknown:
        problems.append(f"{where} has no key {listing(unknown)}; the keys are {', '.join(sorted(keys))}")
    problems.extend(f"{where} lacks {name}" for name in required if is_blank(value.get(name)))
    inner = f"{where}." if ": " in where else f"{where}: "
    return {
        name: check(value[name], f"{inner}{name}", problems)
        for name, check in keys.items()
        if not is_blank(value.get(name))
    }


def _parsed(parse: Callable[[str], Any], value: Any, where: str, problems: list[str]) -> str:
    plain = _plain(value, where, problems)
    if plain is not None:
        _try(parse, plain, where, problems)
    return plain or ""


def _try(parse: Callable[[Any], Any], value: Any, where: str, problems: list[str]) -> None:
    try:
        parse(value)
    except BadInput as error:
        problems.append(error.msg if error.msg.startswith(where) else f"{where}: {error.msg}")


def _kind(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a dictionary"
    return "a list" if isinstance(value, (list, tuple)) else repr(value)


def _of(keys: Mapping[str, Check] | None) -> str:
    return f" with some of {', '.join(sorted(keys))}" if keys else ""
