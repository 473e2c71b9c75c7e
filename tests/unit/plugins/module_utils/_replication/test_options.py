# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of zfs_snapshot_replicate: conversion and errors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import Filter
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName
from ansible_collections.cerss.zfs.plugins.module_utils._replication.options import Options, dataset_of
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import PairOptions
from ansible_collections.cerss.zfs.tests.unit.scenarios import replicate, to
from ansible_collections.cerss.zfs.tests.unit.transcript import entrance

SELECT = {"property": "org.example:backup", "value": True}


def options(*names: str, **params: Any) -> Options:
    return Options.from_params(entrance(replicate(*names, **params))[1])


@pytest.mark.parametrize(
    ("names", "params", "message"),
    [
        ([], {"target": to(None)}, "target has neither dataset nor parent; set dataset"),
        ([], {"target": to(parent="backup")}, "target has both dataset and parent; leave one of them out"),
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
        (
            [],
            {"reseed_keep": False, "source": {"host": "b"}, "target": to("backup/v", None)},
            "is not for a source that",
        ),
        ([], {"bandwidth_limit": "0"}, "bandwidth_limit must be greater than zero"),
        ([], {"stall_timeout": "0"}, "stall_timeout must be greater than zero"),
        ([], {"timeout": "soon"}, "'soon' is not a duration"),
        ([], {"job": "x" * 61}, "cannot be recorded; give up to 60 printable characters"),
        ([], {"job": "a\nb"}, "cannot be recorded"),
        ([], {"include_snapshots": ["re:("]}, "include_snapshots: 're:.*' is not a regular expression"),
        ([], {"exclude_snapshots": ["re:("]}, "exclude_snapshots: 're:.*' is not a regular expression"),
        ([], {"name": None}, "neither name nor select is set"),
        ([], {"name": None, "select": SELECT}, "select may choose several datasets; use target.parent"),
    ],
)
def test_refused(names: list[str], params: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        options(*names, **params)


def test_what_is_selected() -> None:
    everything = options(name=None, select=SELECT, target=to(None, parent="backup"))
    assert (everything.names, everything.selection.roots, everything.selection.depth) == (None, None, None)
    assert everything.selection.selector == ("org.example:backup", "true")
    below = options("tank/a@s", "tank/b", select=SELECT, exclude=["*/c"], target=to(None, parent="backup"))
    assert (below.selection.roots, below.selection.exclude) == (("tank/a", "tank/b"), ("*/c",))
    assert options(name=[]).names == ()


def test_strip_shortens_the_path_below_the_parent() -> None:
    several = options("tank/a/b@s", "tank/c/d", target=to(None, parent="backup/x", strip=1))
    assert [str(several.replica_root(name)) for name in several.names] == ["backup/x/a/b", "backup/x/c/d"]
    assert [str(dataset_of(name)) for name in several.names] == ["tank/a/b", "tank/c/d"]
    assert str(options().replica_root(options().names[0])) == "backup/vol"


def test_what_a_plan_must_know_of_the_way() -> None:
    push, local = options(), options(target=to(host="local"))
    pull, relay = options(source={"host": "a"}, target=to(host=None)), options(source={"host": "a"})
    assert [way.pair.pulled for way in (push, local, pull, relay)] == [False, False, True, True]
    assert [way.pair.packages for way in (push, local, pull, relay)] == [True, True, True, False]


def test_values_are_converted() -> None:
    requested = options(
        bandwidth_limit="1M", timeout="2h", stall_timeout="90s", properties={"atime": False, "copies": 2}
    )
    assert requested.transport.bandwidth_limit == 1024**2
    assert (requested.timeout, requested.transport.stall_timeout) == (7200, 90)
    assert requested.pair.properties == {"atime": "off", "copies": "2"}


def test_what_is_not_given() -> None:
    found = options()
    assert (found.timeout, found.transport.bandwidth_limit) == (None, None)
    assert (found.dataset, found.parent, found.strip) == (DatasetName("backup/vol"), None, 1)
    assert found.pair == PairOptions()


def test_a_login_is_for_all_other_hosts() -> None:
    relay = options(source={"host": "a", "user": "own"}, login={"user": "all", "become": True})
    assert (relay.source.user, relay.target.user) == ("own", "all")
    assert relay.source.become
    assert options(login={"user": "all"}, target=to(host="local")).target.user is None


def test_what_plans_depend_on() -> None:
    given: dict[str, Any] = {"intermediates": False, "raw": "never", "on_divergence": "reseed", "resume": False}
    found = options(include_snapshots=["a*"], exclude_snapshots=["b*"], job="j", **given).pair
    assert found == PairOptions(include=("a*",), exclude=("b*",), job="j", **given)
    assert found.filter == Filter("j", ("a*",), ("b*",), (), False)
    of_months = replace(found, periods=("monthly",))
    assert of_months.filter == Filter("j", ("a*",), ("b*",), ("monthly",), False)
    assert replace(of_months, pulled=True).filter == Filter("j", ("a*",), ("b*",))


def test_where_the_replica_of_another_name_would_be() -> None:
    """For sources that were renamed."""
    below = options("tank/vol", target=to(None, parent="backup/x", strip=1))
    assert str(below.place_of(DatasetName("tank/other/v"))) == "backup/x/other/v"
    single = options("tank/vol")
    assert str(single.place_of(DatasetName("tank/vol/c"))) == "backup/vol/c"
    assert single.place_of(DatasetName("tank/other")) is None
