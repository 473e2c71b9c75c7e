# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, CerssError
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Value
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import properties as zfs_properties
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.properties import same, stored

VOLUME = {
    "type": Value("volume", "-"),
    "volsize": Value(str(16 * 2**20), "local"),
    "volblocksize": Value("16384", "-"),
    "refreservation": Value("0", "default"),
    "used": Value("5", "-"),
    "compression": Value("lz4", "inherited from tank"),
    "org.example:a": Value("x", "received"),
}


@pytest.mark.parametrize(
    ("name", "current", "text"),
    [
        ("quota", "0", "none"),
        ("quota", "0", "0"),
        ("quota", "1073741824", "1G"),
        ("quota", "1073741824", "1024m"),
        ("quota", "1073741824", "1GiB"),
        ("quota", "1610612736", "1.5G"),
        ("filesystem_limit", "18446744073709551615", "none"),
        ("acltype", "posix", "posixacl"),
        ("acltype", "off", "noacl"),
        ("compression", "gzip", "gzip-6"),
        ("xattr", "on", "dir"),
        ("xattr", "sa", "on"),
        ("encryption", "aes-256-gcm", "on"),
        ("refreservation", "17170432", "auto"),
        ("recordsize", "131072", "128K"),
        ("dnodesize", "1k", "1k"),
        ("org.example:size", "1G", "1G"),
    ],
)
def test_another_spelling_is_the_same(name: str, current: str, text: str) -> None:
    assert same(name, current, text)


@pytest.mark.parametrize(
    ("name", "current", "text"),
    [
        ("quota", "1073741824", "none"),
        ("quota", "0", "1G"),
        ("encryption", "off", "on"),
        ("refreservation", "0", "auto"),
        ("xattr", "sa", "dir"),
        ("org.example:size", "1073741824", "1G"),
        ("mountpoint", "/10g", "10G"),
    ],
)
def test_not_the_same(name: str, current: str, text: str) -> None:
    assert not same(name, current, text)


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "on"), (False, "off"), ("True", "on"), (5, "5"), (1.5, "1.5"), ("1G", "1G"), (None, None)],
)
def test_yaml_values_as_text(value: Any, text: str | None) -> None:
    assert zfs_properties.requested({"atime": value}) == {"atime": text}
    words = {"on": "true", "off": "false"}.get(text or "", text)
    assert zfs_properties.requested({"org.example:x": value}) == {"org.example:x": words}


@pytest.mark.parametrize(
    ("requested", "reason"),
    [
        ({"quota": [1]}, "is a list"),
        ({"quota": ""}, "has an empty value"),
        ({"Quota": "1"}, "is not a valid property name"),
        ({"A:b": "1"}, "is not a valid user property"),
        ({"cerss.zfs:origin": "1"}, "belongs to this collection"),
        ({"mounted": True}, "the option mounted of zfs_dataset"),
        ({"a:b": "x" * 9000}, "9000 bytes"),
        ({f"a:b{n}": "x" * 8000 for n in range(12)}, "96062 bytes together, and a command line has room for 90000"),
        ({"used": "1"}, "it is read-only"),
        ({"recordsize": "1"}, "a volume has no such property"),
        ({"volblocksize": None}, "cannot be unset"),
        ({"volsize": None}, "cannot be unset"),
        ({"volblocksize": "8K"}, "fixed when a dataset is created"),
        ({"volsize": "8M"}, "shrinking a volume destroys"),
    ],
)
def test_invalid_requests(requested: dict[str, Any], reason: str) -> None:
    with pytest.raises(CerssError, match=reason):
        zfs_properties.plan("tank/vol", VOLUME, zfs_properties.requested(requested))


def planned(requested: dict[str, Any], moved: bool = False) -> list[str]:
    return zfs_properties.plan("tank/vol", VOLUME, zfs_properties.requested(requested), moved).actions


def test_one_command_sets_all_and_each_unset_is_its_own() -> None:
    assert planned({"volsize": "20M", "compression": "zstd", "org.example:a": None, "volblocksize": "16K"}) == [
        "set compression=zstd and volsize=20971520 on tank/vol",
        "unset org.example:a on tank/vol",
    ]


def test_sizes_are_rounded_to_the_block_size() -> None:
    assert planned({"volsize": 16 * 2**20 - 5}) == []
    assert planned({"volsize": 16 * 2**20 + 1}) == [f"set volsize={16 * 2**20 + 16384} on tank/vol"]


def test_an_inherited_value_stays_unless_the_parent_changes() -> None:
    assert planned({"compression": "lz4"}) == []
    assert planned({"compression": "lz4"}, moved=True) == ["set compression=lz4 on tank/vol"]
    assert planned({"compression": None, "refreservation": None}) == []


def test_to_unset_a_property_that_is_not_inheritable_sets_its_default() -> None:
    values = {**VOLUME, "refreservation": Value("4096", "local")}
    plan = zfs_properties.plan("tank/vol", values, {"refreservation": None})
    assert plan.actions == ["set refreservation=none on tank/vol"]


def test_results_show_local_properties() -> None:
    assert zfs_properties.shown(VOLUME) == {"volsize": str(16 * 2**20)}


@given(st.integers(1, 2**50), st.sampled_from(["", "K", "M", "G"]))
def test_a_size_is_the_same_as_it_is_stored(number: int, unit: str) -> None:
    assert same("quota", stored("quota", f"{number}{unit}"), f"{number}{unit}")


@given(st.dictionaries(st.sampled_from(["compression", "org.example:a"]), st.sampled_from([None, "on", "off"])))
def test_a_second_plan_is_empty(requested: dict[str, str | None]) -> None:
    values = dict(VOLUME)
    for effect in zfs_properties.plan("tank/vol", values, requested).effects:
        for name, text in effect.after.items():
            values[name] = Value("lz4", "inherited from tank") if text is None else Value(text, "local")
    assert not zfs_properties.plan("tank/vol", values, requested).actions


def test_a_property_that_cannot_be_unset_is_refused_at_creation() -> None:
    with pytest.raises(BadInput):
        zfs_properties.at_creation({"volblocksize": None})
