# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of zfs_snapshot."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.options import Options, datasets_of, expanded, result

DEFAULTS: dict[str, Any] = {
    "name": ["tank/v@s"], "state": "present", "recursive": False, "properties": None, "holds": None,
    "purge_holds": False, "temporary": None, "expires": None, "min_age": None, "match": None, "before": None,
    "after": None, "on_dependents": "defer", "on_replica": "refuse", "wait": 0,
}  # fmt: skip


def options(**params: Any) -> Options:
    return Options.from_params({**DEFAULTS, **params})


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"name": []}, "name is empty"),
        ({"name": [""]}, "a snapshot name is empty"),
        ({"name": ["tank/v"]}, "names no snapshot"),
        ({"name": ["tank/v@a", "tank/v@a"]}, "more than once"),
        ({"name": ["tank/v@" + "s" * 249]}, "256 characters"),
        ({"name": ["tank/v@a b%"]}, "it has '%'"),
        ({"holds": ["cerss.zfs:step:1"]}, "belongs to this collection"),
        ({"holds": ["x" * 201]}, "201 bytes"),
        ({"holds": ["a", "a"]}, "holds lists a more than once"),
        ({"purge_holds": True}, "purge_holds needs holds"),
        ({"expires": "2h"}, "expires needs temporary=true"),
        ({"expires": "2h", "temporary": False}, "expires needs temporary=true"),
        ({"expires": "0", "temporary": True}, "would expire at its creation"),
        ({"expires": "soon", "temporary": True}, "is not a duration"),
        ({"expires": "200000000w", "temporary": True}, "longer than ZFS snapshots can exist"),
        ({"min_age": "1h"}, "min_age and match need each other"),
        ({"match": ["*"]}, "min_age and match need each other"),
        ({"properties": {"compression": "on"}}, "only user properties"),
        ({"properties": {"Org:x": "on"}}, "not a valid user property"),
        ({"properties": {"org:x": ["a"]}}, "is a list"),
        ({"properties": {"org:x": "a\0"}}, "NUL"),
        ({"properties": {"org:x": "x" * 8192}}, "8192 bytes"),
        ({"properties": {"cerss.zfs:temporary": True}}, "belongs to this collection"),
        ({"before": [{"argv": [], "timeout": "1s", "environment": None}]}, "command 1 of before has no argv"),
        ({"after": [{"argv": ["x"], "timeout": "0", "environment": None}]}, "timeout of command 1 of after is 0"),
        ({"wait": 3}, "cannot be combined with state=present"),
        ({"on_dependents": "fail"}, "cannot be combined with state=present"),
        ({"state": "absent", "on_replica": "allow"}, "on_replica cannot be combined with state=absent"),
        ({"state": "absent", "wait": -1}, "wait is -1"),
        ({"state": "absent", "holds": [], "temporary": True}, "holds, temporary cannot be combined with state=absent"),
    ],
)
def test_bad_options(params: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput) as caught:
        options(**params)
    assert words in caught.value.msg


def test_values_are_text() -> None:
    told = options(properties={"a:b": True, "a:c": False, "a:d": 1.5, "a:e": None, "a:f": "x\ty\nz ü"}).properties
    assert told == {"a:b": "true", "a:c": "false", "a:d": "1.5", "a:e": None, "a:f": "x\ty\nz ü"}


def test_properties_that_must_be_set_and_that_must_not() -> None:
    given = options(properties={"a:b": "1", "a:c": None}, temporary=True, expires="1h")
    assert given.settings() == {"a:b": "1", "cerss.zfs:temporary": "true", "cerss.zfs:expires": "3600"}
    assert given.unsettings() == ["a:c"]
    assert options(temporary=False).unsettings() == ["cerss.zfs:temporary", "cerss.zfs:expires"]
    assert options().settings() == {}
    assert options().unsettings() == []


def test_recursive_names_every_dataset_below() -> None:
    found = {name: Dataset(name) for name in ("tank/v", "tank/v/w", "tank/vw")}
    given = options(name=["tank/v@a", "tank/v@b"], recursive=True)
    assert datasets_of(given) == ["tank/v"]
    assert expanded(given, found) == ["tank/v@a", "tank/v/w@a", "tank/v@b", "tank/v/w@b"]
    assert expanded(options(name=["tank/v@a"]), found) == ["tank/v@a"]


def test_a_result_lists_what_failed_and_what_is_pending() -> None:
    snapshots = [Snapshot("tank/v@a"), Snapshot("tank/v@b", state="pending_delete")]
    told = result(Plan(), snapshots, {"tank/v@a": "no space"}, busy=["tank/v@a"], problem="thaw failed")
    assert [(snap["failed"], snap["msg"]) for snap in told["snapshots"]] == [(True, "no space"), (False, None)]
    assert (told["pending"], told["busy"]) == (["tank/v@b"], ["tank/v@a"])
    assert (told["failed"], told["msg"]) == (True, "thaw failed; no space")
    assert "failed" not in result(Plan(), snapshots, {})
