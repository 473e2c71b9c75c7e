# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._jobs.loans import (
    borrowing,
    common,
    inventory_name,
    lent,
    loans,
    named,
    places_of,
)

HOSTS = {"a": "", "b": "192.0.2.2", "c": "192.0.2.9", "d": "192.0.2.9"}
TARGET = {"host": "b", "parent": "backup"}


def test_each_place_but_this_host_takes_a_key() -> None:
    places = {
        "target": {**TARGET, "port": "", "user": "", "properties": "canmount=off, atime=on"},
        "source": {"host": "192.0.2.2", "port": "2222", "user": "zed", "become": "no"},
        "targets.0": {"host": "local", "dataset": "x"},
        "targets.1": {"host": "a", "dataset": "x/y", "properties": {"canmount": "off"}},
        "job 1": {"host": "b.example", "dataset": "x/y", "inventory_host": "b", "properties": None},
        "none": {"host": ""},
    }
    found = loans(places, ["tank/a/b@s", "tank/a/c"], HOSTS, "root", "1h")
    rest = {"lifetime": 3600}
    assert found == [
        {"name": "target", "host": "b", "address": "b", "port": 22, "user": "root", "job": "receive",
         "root": "backup", "properties": ["atime", "canmount"], **rest},
        {"name": "source", "host": "b", "address": "192.0.2.2", "port": 2222, "user": "zed", "job": "send",
         "root": "tank/a", "properties": [], **rest},
        {"name": "targets.1", "host": "a", "address": "a", "port": 22, "user": "root", "job": "receive",
         "root": "x/y", "properties": ["canmount"], **rest},
        {"name": "job 1", "host": "b", "address": "b.example", "port": 22, "user": "root", "job": "receive",
         "root": "x/y", "properties": [], **rest},
    ]  # fmt: skip


def test_each_place_has_what_all_have() -> None:
    """As the module logs in and creates replicas."""
    places = {
        "target": {**TARGET, "port": "", "become": False},
        "targets.0": {**TARGET, "port": 23, "user": "zed", "become": "no", "properties": {"atime": "off"}},
    }
    login = {"port": "2222", "user": "root", "become": True, "identity_file": ""}
    found = loans(places, [], HOSTS, "cerss", "1h", login=login, properties={"exec": "off"})
    assert [(each["port"], each["user"], each["properties"]) for each in found] == [
        (2222, "root", ["exec"]), (23, "zed", ["atime", "exec"]),
    ]  # fmt: skip
    with pytest.raises(BadInput, match="leave out become"):
        loans({"targets.0": TARGET}, [], HOSTS, "root", "1h", login=login)


def test_an_address_in_brackets_is_that_address() -> None:
    assert [inventory_name(host, {"b": "fd00::2"}) for host in ("fd00::2", "[fd00::2]")] == ["b", "b"]


@pytest.mark.parametrize("blank", [None, "", " "])
def test_what_a_survey_leaves_blank_is_the_default(blank: Any) -> None:
    places = {"target": {**TARGET, "port": blank, "user": blank, "become": blank}, "source": {"host": blank}}
    (loan,) = loans(places, [], HOSTS, blank, blank, login={"port": blank})
    assert (loan["port"], loan["user"], loan["lifetime"]) == (22, "root", 86400)


@pytest.mark.parametrize(
    ("place", "lifetime", "complaint"),
    [
        (
            {**TARGET, "identity_file": "/k"},
            "1d",
            "b: temporary access makes a key of its own; leave out identity_file",
        ),
        ({**TARGET, "known_hosts_file": "/k"}, "1d", "b: temporary access makes a key of its own"),
        ({**TARGET, "become": "True"}, "1d", "which runs zfs as the user that logs in; leave out become"),
        ({"host": "b"}, "1d", "b: neither dataset nor parent is set"),
        ({"host": "192.0.2.7", "parent": "x"}, "1d", "192.0.2.7 is no host of the inventory; for temporary access"),
        ({"host": "192.0.2.9", "parent": "x"}, "1d", "192.0.2.9 is the address of c, d; for temporary access"),
        (TARGET, "soon", "the lifetime of temporary access"),
    ],
)
def test_what_cannot_be_lent(place: dict[str, Any], lifetime: str, complaint: str) -> None:
    with pytest.raises(BadInput) as error:
        loans({"target": place}, ["tank"], HOSTS, "root", lifetime)
    assert complaint in error.value.msg


@pytest.mark.parametrize(
    ("properties", "names"),
    [
        ('{"compression": "lz4", "atime": "off"}', ["atime", "compression"]),
        ('com.x:note="a mountpoint=/etc" atime=off', ["atime", "com.x:note"]),
        ("no dictionary", []),
        ({"atime": None}, ["atime"]),
        (None, []),
        ("", []),
    ],
)
def test_properties_as_the_module_reads_them(properties: Any, names: list[str]) -> None:
    assert named(properties) == names


@pytest.mark.parametrize(
    ("names", "root"),
    [
        (["tank/a@s"], "tank/a"),
        (["tank/ab", "tank/ac"], "tank"),
        (["tank/a, tank/a/b\n"], "tank/a"),
        (["tank"], "tank"),
    ],
)
def test_the_root_of_a_key_that_pulls(names: list[str], root: str) -> None:
    assert common(names) == root


@pytest.mark.parametrize("names", [[], [" ,\n"], ["tank/a", "pool/a"], ["tank", "tanks"]])
def test_there_is_no_root_for_all(names: list[str]) -> None:
    with pytest.raises(BadInput, match="no dataset in common"):
        common(names)


def test_places_get_the_logins() -> None:
    logins = {"targets.1": {"user": "root", "port": 22}}
    places = {"targets.0": {"host": "local"}, "targets.1": {"host": "b", "user": ""}}
    assert lent(places, logins) == {
        "targets.0": {"host": "local"},
        "targets.1": {"host": "b", "user": "root", "port": 22},
    }


def test_targets_of_jobs() -> None:
    options = [{"host": "b", "parent": "p", "properties": {"atime": "off"}}, {"host": "local", "parent": "q"}]
    targets = [{"options": each, "inventory_host": host} for each, host in zip(options, ["b", None])]
    job = {"name": "n", "login": {"user": "u"}, "replicate": {"properties": {"exec": "off"}}, "targets": targets}
    places = places_of([job])
    (loan,) = loans(places, [], HOSTS, "root", "1h")
    assert (loan["name"], loan["host"], loan["user"], loan["properties"]) == ("n 0", "b", "u", ["atime", "exec"])
    assert borrowing(job, {"n 0": {"user": "u", "port": 22}, "m 1": {"port": 7}}) == [
        {**options[0], "user": "u", "port": 22}, options[1],
    ]  # fmt: skip
    assert borrowing(job, {}, {"n 0": "b is not reachable"}) == [options[1]]
