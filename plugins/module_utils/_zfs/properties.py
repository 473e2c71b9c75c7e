# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ZFS properties as a playbook wishes them, against those that stand (zfsprops(7))."""

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
ELSEWHERE = {
    "mounted": "the option mounted of zfs_dataset",
    "origin": "the module zfs_clone",
    "version": "the command 'zfs upgrade'",
}
# Not inheritable, so unsetting means setting to what a new dataset has.
_UNSET = {
    **dict.fromkeys(
        ("quota", "refquota", "reservation", "refreservation", "filesystem_limit", "snapshot_limit"), "none"
    ),
    "canmount": "on",
}
_NONE = ("none", "0", str(2**64 - 1))  # how -p shows "none" depends on the property
# What zfs takes but shows under its first name (module/zcommon/zfs_prop.c). xattr: on is dir up to 2.2, sa from 2.3 on.
_SHOWN_AS = {
    "acltype": {"posixacl": "posix", "noacl": "off", "disabled": "off"},
    "compression": {"gzip-6": "gzip", "zstd-fast-1": "zstd-fast"},
    "volmode": {"geom": "full"},
}
_XATTR = ({"on", "dir"}, {"on", "sa"})
_SIZE = re.compile(r"\d+(\.\d+)?\s*[KMGTPE]?(i?B)?\Z", re.IGNORECASE)
_NUMERIC = frozenset(
    ("quota", "refquota", "reservation", "refreservation", "volsize", "volblocksize", "recordsize",
     "special_small_blocks", "filesystem_limit", "snapshot_limit", "copies", "pbkdf2iters", "dnodesize")
)  # fmt: skip


def requested(option: Mapping[str, Any] | None, user_only: bool = False) -> Requested:
    """The option ``properties`` with YAML's own types as the text that zfs takes. BadInput names what cannot be.

    ``user_only``: on a snapshot, which has no native property that can be set.
    """
    result: Requested = {}
    for name, value in (option or {}).items():
        text = _text(name, value)
        check_property(name, text, user_only)
        if "@" in name:
            raise BadInput(f"property {name!r} is about a user or group; set it with 'zfs set', it is not handled here")
        if name in ELSEWHERE:
            raise BadInput(f"property {name!r} cannot be set; use {ELSEWHERE[name]}")
        if text == "" and not is_user_property(name):
            raise BadInput(f"property {name!r} has an empty value; give a value, or null to unset it")
        result[name] = text
    return result


def _text(name: str, value: Any) -> str | None:
    # A template that is not native turns a boolean into Python's own words.
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
    """The value as ``zfs get -p`` will show it, as far as that can be known."""
    if is_user_property(name):
        return text
    if name in _UNSET and text == "none":
        return "none"
    if name in _NUMERIC and _SIZE.match(text):
        size = units.size(text, f"properties.{name}")
        return str(-(-size // volblocksize) * volblocksize if name == "volsize" else size)
    return _SHOWN_AS.get(name, {}).get(text, text)


def same(name: str, current: str, requested: str) -> bool:
    """Do they mean the same: sizes by value, other words for one setting, ``none`` however it is shown."""
    if is_user_property(name):
        return current == requested
    want = stored(name, requested)
    if current == want or (name in _UNSET and current in _NONE and want in _NONE):
        return True
    if name == "encryption" and want == "on":  # shown as the cipher that it stands for
        return current != "off"
    if name == "xattr":
        return any({current, want} <= pair for pair in _XATTR)
    return name == "refreservation" and want == "auto" and current not in _NONE


def check_known(subject: str, values: Values, requested: Requested) -> None:
    """BadInput for native properties that such a dataset does not have, or that nobody can set."""
    for name in requested:
        if is_user_property(name):
            continue
        if name not in values:
            kind = values["type"].text if "type" in values else "dataset"
            raise BadInput(f"property {name!r} cannot be set on {subject}: a {kind} has no such property")
        if values[name].source == "-" and name not in AT_CREATION:
            raise BadInput(f"property {name!r} cannot be set on {subject}: it is read-only")


def check_unset(requested: Requested) -> None:
    for name, text in requested.items():
        if text is None and (name in AT_CREATION or name == "volsize"):
            raise BadInput(f"property {name!r} cannot be unset; leave it out to leave it as it is")


def check_fixed(subject: str, values: Values, requested: Requested) -> None:
    """Refused when a property that is fixed at creation is wished otherwise than it is."""
    for name in sorted(AT_CREATION & requested.keys()):
        current, text = values.get(name), requested[name]
        if current is None or text is None or same(name, current.text, text):
            continue
        raise Refused(
            f"{subject} has {name}={current.text}, wished is {name}={text}; this is fixed when a dataset is made. "
            f"Leave {name} out, or make a new dataset and copy the data"
        )


def plan(subject: str, values: Values, requested: Requested, moved: bool = False) -> Plan:
    """What must be set and unset on an existing dataset; what is inherited or default with the right value stays so.

    ``moved``: it will stand below another parent, so nobody knows what it will inherit.
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
            if current is not None and (current.local or current.source == "received"):
                unsetting.append(name)
        elif (
            current is None or not same(name, current.text, stored(name, text, block)) or (moved and not current.local)
        ):
            setting[name] = stored(name, text, block)
            if name == "volsize" and current is not None and int(setting[name]) < int(current.text):
                raise Refused(
                    f"{subject} has volsize {current.text}, wished is {setting[name]}; shrinking a volume destroys the "
                    "data at its end. Shrink what is on it first and set volsize by hand"
                )
    return _planned(subject, values, setting, unsetting)


def _block(values: Values) -> int:
    block = values.get("volblocksize")
    return int(block.text) if block and block.text.isdigit() else 1


def _planned(subject: str, values: Values, setting: dict[str, str], unsetting: Iterable[str]) -> Plan:
    def before(names: Iterable[str]) -> dict[str, Any]:
        return {subject: {name: values[name].text if name in values else None for name in names}}

    result = Plan()
    if setting:
        words = " and ".join(f"{name}={text}" for name, text in setting.items())
        result.add(
            f"set {words} on {subject}", zfs.set_(setting, [subject]), before=before(setting), after={subject: setting}
        )
    for name in unsetting:
        result.add(
            f"unset {name} on {subject}",
            zfs.inherit(name, [subject]),
            before=before([name]),
            after={subject: {name: None}},
        )
    return result


def at_creation(requested: Requested) -> dict[str, str]:
    """What to hand to ``zfs create`` or ``zfs clone``: unset is what a new dataset has anyway."""
    check_unset(requested)
    return {name: stored(name, text) for name, text in sorted(requested.items()) if text is not None}


def unmet(values: Values, requested: Requested) -> list[str]:
    """Names of wished properties that do not stand, after all was done."""
    block = _block(values)
    return [
        name for name, text in sorted(requested.items())
        if text is not None and (name not in values or not same(name, values[name].text, stored(name, text, block)))
    ]  # fmt: skip


def shown(values: Values) -> dict[str, str]:
    """What is set on the dataset itself, for results."""
    return {name: value.text for name, value in sorted(values.items()) if value.local}
