# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of zfs_snapshot_replicate: conversion and errors."""

from __future__ import annotations

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._replication.options import Options, dataset_of
from ansible_collections.cerss.zfs.tests.unit.scenarios import replicate, to
from ansible_collections.cerss.zfs.tests.unit.transcript import entrance


def options(*names, **params):
    return Options.from_params(entrance(replicate(*names, **params))[1])


@pytest.mark.parametrize(
    ("names", "params", "message"),
    [
        ([], {"target": to(None)}, "exactly one of dataset"),
        ([], {"target": to(parent="backup")}, "exactly one of dataset"),
        (["tank/a", "tank/b"], {}, "name lists several"),
        (["tank/a", "tank/a@s"], {"target": to(None, parent="backup")}, "more than once"),
        (
            ["tank/a"],
            {"target": to(None, parent="backup", strip=2)},
            "for tank/a it must be between 0 and 1",
        ),
        (["tank/a"], {"target": to(None, parent="backup", strip=-1)}, "strip is -1"),
        ([], {"target": to(host=None)}, "neither target.host nor source.host"),
        ([], {"properties": {"quota": "1G"}}, "quota does not belong on a replica"),
        ([], {"properties": {"cerss.zfs:x": "1"}}, "belongs to this collection"),
        ([], {"parallel": 0}, "parallel is 0"),
        ([], {"retries": -1}, "retries is -1"),
        ([], {"bandwidth_limit": "0"}, "bandwidth_limit must be greater than zero"),
        ([], {"stall_timeout": "0"}, "stall_timeout must be greater than zero"),
        ([], {"timeout": "soon"}, "'soon' is not a duration"),
    ],
)
def test_refused(names, params, message):
    with pytest.raises(BadInput, match=message):
        options(*names, **params)


def test_no_name_is_refused():
    _verb, params = entrance(replicate())
    with pytest.raises(BadInput, match="name is empty"):
        Options.from_params({**params, "name": []})


def test_strip_shortens_the_path_below_the_parent():
    several = options("tank/a/b@s", "tank/c/d", target=to(None, parent="backup/x", strip=1))
    assert [str(several.replica_root(name)) for name in several.names] == ["backup/x/a/b", "backup/x/c/d"]
    assert [str(dataset_of(name)) for name in several.names] == ["tank/a/b", "tank/c/d"]
    assert str(options().replica_root(options().names[0])) == "backup/vol"


def test_what_a_plan_must_know_of_the_way():
    push, local = options(), options(target=to(host="local"))
    pull, relay = options(source={"host": "a"}, target=to(host=None)), options(source={"host": "a"})
    assert [way.pair.pulled for way in (push, local, pull, relay)] == [False, False, True, True]
    assert [way.pair.packages for way in (push, local, pull, relay)] == [True, True, True, False]


def test_values_are_converted():
    requested = options(
        bandwidth_limit="1M", timeout="2h", stall_timeout="90s", properties={"atime": False, "copies": 2}
    )
    assert requested.transport.bandwidth_limit == 1024**2
    assert (requested.timeout, requested.transport.stall_timeout) == (7200, 90)
    assert requested.pair.properties == {"atime": "off", "copies": "2"}
