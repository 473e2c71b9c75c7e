# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The requested properties of a dataset compared with the current ones (zfsprops(7))."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Values
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import check_property, is_user_property
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs

Requested = dict[str, "str | None"]  # None: unset

AT_CREATION = frozenset(
    ("casesensitivity", "encryption", "keyformat", "normalization", "pbkdf2iters", "utf8only", "volblocksize")
)
PARENT = {"canmount": "off"}  # of a filesystem that is created to hold other datasets, and is never mounted
NOWHERE = ("none", "legacy")  # mountpoints of filesystems that ZFS does not mount by itself
ELSEWHERE = {
    "mounted": "the option mounted of zfs_dataset",
    "origin": "the module zfs_clone",
    "version": "the command 'zfs upgrade'",
}
# Not inheritable: to unset one means to set it to the value of a new dataset.
_UNSET = {
    **dict.fromkeys(
        ("quota", "refquota", "reservation", "refreservation", "filesystem_limit", "snapshot_limit"), "none"
    ),
    "canmount": "on",
}
_NONE = ("none", "0", str(2**64 - 1))  # how -p shows "none", depending on the property
# Values that zfs accepts but shows as another one (module/zcommon/zfs_prop.c). xattr=on: dir up to 2.2, sa from 2.3 on.
_SHOWN_AS = {
    "acltype": {"posixacl": "posix", "noacl": "off", "disabled": "off"},
    "compression": {"gzip-6": "gzip", "zstd-fast-1": "zstd-fast"},
    "volmode": {"geom": "full"},
}
_XATTR = ({"on", "dir"}, {"on", "sa"})
_SIZE = re.compile(r"\d+(\.\d+)?\s*[KMGTPE]?(i?B)?\Z", re.IGNORECASE)
# Not dnodesize, whose values are words, as "1k" (dnsize_table in zfs_prop.c).
_NUMERIC = frozenset(
    ("quota", "refquota", "reservation", "refreservation", "volsize", "volblocksize", "recordsize",
     "special_small_blocks", "filesystem_limit", "snapshot_limit", "copies", "pbkdf2iters")
)  # fmt: skip


def requested(option: Mapping[str, Any] | None, user_only: bool = False) -> Requested:
    """The option ``properties`` as text for zfs; None unsets a property. Raise BadInput for an invalid name or value.

    ``user_only``: for a snapshot, on which no native property can be set.

    >>> requested({"atime": False, "quota": 5, "org:note": None})
    {'atime': 'off', 'quota': '5', 'org:note': None}
    """
    result: Requested = {}
    for name, value in (option or {}).items():
        text = _text(name, value)
        check_property(name, text, user_only)
        if "@" in name:
            raise BadInput(
                f"property {name!r} is of a user or group, which this collection does not set; use 'zfs set'"
            )
        if name in ELSEWHERE:
            raise BadInput(f"property {name!r} cannot be set; use {ELSEWHERE[name]}")
        if text == "" and not is_user_property(name):
            raise BadInput(f"property {name!r} has an empty value; give a value, or null to unset it")
        result[name] = text
    size = sum(len(f"{name}={text}".encode()) for name, text in result.items())
    if size > zfs.ARGUMENTS:
        raise BadInput(
            f"properties have {size} bytes together, and a command line has room for {zfs.ARGUMENTS}; give fewer or "
            "shorter ones"
        )
    return result


def _text(name: str, value: Any) -> str | None:
    # A template without jinja2_native turns a boolean into Python's spelling.
    value = {"True": True, "False": False}.get(value, value) if isinstance(value, str) else value
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return ("false", "true")[value] if is_user_property(name) else ("off", "on")[value]
    if isinstance(value, (int, float)):
        return str(value)
    kind = type(value).__name__
    raise BadInput(f"property {name!r} is a {kind}; give text, a number, a boolean, or null to unset it")


def stored(name: str, text: str, volblocksize: int = 1) -> str:
    """The value as ``zfs get -p`` will show it: sizes in bytes, volsize rounded up to whole blocks.

    ``volblocksize`` in bytes.
    """
    if is_user_property(name):
        return text
    if name in _UNSET and text == "none":
        return "none"
    if name in _NUMERIC and _SIZE.match(text):
        size = units.size(text, f"properties.{name}")
        return str(-(-size // volblocksize) * volblocksize if name == "volsize" else size)
    return _SHOWN_AS.get(name, {}).get(text, text)


def same(name: str, current: str, requested: str) -> bool:
    """True when ``requested`` is a way to write the value that ``current`` shows.

    >>> same("quota", "1073741824", "1G"), same("quota", "0", "none"), same("acltype", "posix", "posixacl")
    (True, True, True)
    """
    if is_user_property(name):
        return current == requested
    text = stored(name, requested)
    if current == text or (name in _UNSET and current in _NONE and text in _NONE):
        return True
    if name == "encryption" and text == "on":  # zfs shows the cipher
        return current != "off"
    if name == "xattr":
        return any({current, text} <= pair for pair in _XATTR)
    return name == "refreservation" and text == "auto" and current not in _NONE


def check_known(subject: str, values: Values, requested: Requested) -> None:
    """Raise BadInput for a native property that the dataset does not have, or that is read-only.

    ``subject``: the dataset's name. ``values``: its current properties, all of them.
    """
    for name in requested:
        if is_user_property(name):
            continue
        if name not in values:
            kind = values["type"].text if "type" in values else "dataset"
            raise BadInput(f"property {name!r} cannot be set on {subject}: a {kind} has no such property")
        if values[name].source == "-" and name not in AT_CREATION:
            raise BadInput(f"property {name!r} cannot be set on {subject}: it is read-only")


def check_unset(requested: Requested) -> None:
    """Raise BadInput when a property that always has a value of its own is to be unset."""
    for name, text in requested.items():
        if text is None and (name in AT_CREATION or name == "volsize"):
            raise BadInput(f"property {name!r} cannot be unset; leave it out to leave it as it is")


def check_fixed(subject: str, values: Values, requested: Requested) -> None:
    """Raise Refused when a property that is fixed at creation has another value than the requested one."""
    for name in sorted(AT_CREATION & requested.keys()):
        current, text = values.get(name), requested[name]
        if current is None or text is None or same(name, current.text, text):
            continue
        raise Refused(
            f"{subject} has {name}={current.text}, requested is {name}={text}; {name} is fixed when a dataset is "
            f"created. Leave {name} out, or create a new dataset and copy the data"
        )


def plan(subject: str, values: Values, requested: Requested, moved: bool = False) -> Plan:
    """The steps that set and unset properties of an existing dataset.

    A property that has the requested value by inheritance or default is left alone, except with ``moved``: the dataset
    gets another parent, so it may inherit another value.
    """
    check_known(subject, values, requested)
    check_unset(requested)
    check_fixed(subject, values, requested)
    block = _block(values)
    setting: dict[str, str] = {}
    unsetting: list[str] = []
    for name, text in sorted(requested.items()):
        current = values.get(name)
        if name in AT_CREATION:
            continue
        if text is None and name in _UNSET:
            if current is not None and not same(name, current.text, _UNSET[name]):
                setting[name] = _UNSET[name]
        elif text is None:
            if current is not None and current.is_set:
                unsetting.append(name)
        elif (
            current is None or not same(name, current.text, stored(name, text, block)) or (moved and not current.local)
        ):
            setting[name] = stored(name, text, block)
    _check_shrinking(subject, values, setting)
    return planned(subject, values, setting, unsetting)


def _check_shrinking(subject: str, values: Values, setting: Mapping[str, str]) -> None:
    current, size = values.get("volsize"), setting.get("volsize")
    if current is not None and size is not None and int(size) < int(current.text):
        raise Refused(
            f"{subject} has volsize {current.text}, requested is {size}; shrinking a volume destroys the data at its "
            "end. Shrink the filesystem or partitions on it first, then set volsize with 'zfs set'"
        )


def _block(values: Values) -> int:
    block = values.get("volblocksize")
    return int(block.text) if block and block.text.isdigit() else 1


def planned(subject: str, values: Values, setting: Mapping[str, str], unsetting: Iterable[str]) -> Plan:
    """One command sets ``setting``, one more unsets each of ``unsetting``. ``values``: what the dataset has."""

    def before(names: Iterable[str]) -> dict[str, Any]:
        return {subject: {name: values[name].text if name in values else None for name in names}}

    result = Plan()
    if setting:
        result.add(
            f"set {listed(setting)} on {subject}",
            zfs.set_(setting, [subject]),
            before=before(setting),
            after={subject: setting},
        )
    for name in unsetting:
        result.add(
            f"unset {name} on {subject}",
            zfs.inherit(name, [subject]),
            before=before([name]),
            after={subject: {name: None}},
        )
    return result


def listed(setting: Mapping[str, str]) -> str:
    return " and ".join(f"{name}={text}" for name, text in setting.items())


def at_creation(requested: Requested) -> dict[str, str]:
    """The properties for ``zfs create`` or ``zfs clone``. Those to unset are left out: a new dataset has none set."""
    check_unset(requested)
    return {name: stored(name, text) for name, text in sorted(requested.items()) if text is not None}


def unmet(values: Values, requested: Requested) -> list[str]:
    """Names of requested properties that do not have the requested value, to check a run's outcome."""
    block = _block(values)
    return [
        name for name, text in sorted(requested.items())
        if text is not None and (name not in values or not same(name, values[name].text, stored(name, text, block)))
    ]  # fmt: skip


def shown(values: Values) -> dict[str, str]:
    """The local properties, for results."""
    return {name: value.text for name, value in sorted(values.items()) if value.local}
