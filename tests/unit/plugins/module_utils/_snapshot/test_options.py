# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of zfs_snapshot."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import matches
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.options import (
    Options,
    datasets_of,
    result,
    snapshots_of,
)
from ansible_collections.cerss.zfs.tests.unit.printer import Printer, Set

DEFAULTS: dict[str, Any] = {
    "name": ["tank/v@s"], "snapshot": None, "utc": True, "state": "present", "recursive": False, "exclude": [],
    "select": None, "properties": None, "holds": None, "purge_holds": False, "temporary": None, "expires": None,
    "min_age": None, "match": None, "before": None, "after": None, "on_dependents": "defer", "on_replica": "refuse",
    "wait": "0",
}  # fmt: skip
NOW = 1_795_417_682.9  # 2026-11-23T07:08:02Z
BACKUP = {"property": "org.example:backup", "value": "nightly"}


def options(**params: Any) -> Options:
    return Options.from_params({**DEFAULTS, **params}, NOW)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"name": None}, "name is not given; give snapshots as pool/dataset@snapshot, or datasets together with"),
        ({"name": None, "snapshot": "s"}, "name is not given"),
        ({"name": None, "select": BACKUP}, "select without name needs snapshot"),
        ({"name": [""]}, "a snapshot name is empty"),
        ({"name": ["tank/v"]}, "'tank/v' names no snapshot; give it as pool/dataset@snapshot, or the part after the @"),
        ({"snapshot": "s"}, "'tank/v@s' names a snapshot; give a dataset here"),
        ({"name": ["tank/v", "tank/v"], "snapshot": "s"}, "more than once"),
        ({"name": ["tank/v"], "snapshot": "a@b"}, "'a@b' is not a valid snapshot name: it has '@'"),
        ({"name": ["tank/v"], "snapshot": "at-%c"}, "snapshot: '%c' in 'at-%c' cannot be in the name of a snapshot"),
        ({"name": ["tank/v"], "snapshot": "s" * 250}, "257 characters"),
        ({"name": ["tank/v"], "snapshot": "a-%Y", "state": "absent"}, "only name the snapshots of this moment"),
        ({"name": ["tank/v@a", "tank/v@a"]}, "more than once"),
        ({"name": ["tank/v@" + "s" * 249]}, "256 characters"),
        ({"name": ["tank/v@a b%"]}, "it has '%'"),
        ({"holds": ["cerss.zfs:step:1"]}, "belongs to this collection"),
        ({"holds": ["x" * 201]}, "201 bytes"),
        ({"holds": ["a", "a"]}, "holds lists a more than once"),
        ({"purge_holds": True}, "purge_holds needs holds"),
        ({"expires": "0", "temporary": True}, "would expire at its creation"),
        ({"expires": "soon", "temporary": True}, "is not a duration"),
        ({"expires": "200000000w", "temporary": True}, "longer than ZFS snapshots can exist"),
        ({"min_age": "1h"}, "min_age needs match"),
        ({"min_age": "1h", "match": [" "]}, "min_age needs match"),
        ({"min_age": "1h", "name": ["tank/v"], "snapshot": "hourly"}, "min_age needs match"),
        ({"match": ["*"]}, "match needs min_age"),
        ({"min_age": "1h", "match": ["re:("]}, "match: 're:(' is not a regular expression"),
        ({"select": {**BACKUP, "property": "type"}}, "select.property is 'type'"),
        ({"exclude": ["re:("]}, "exclude: 're:(' is not a regular expression"),
        ({"properties": {"compression": "on"}}, "only user properties"),
        ({"properties": {"Org:x": "on"}}, "not a valid user property"),
        ({"properties": {"org:x": ["a"]}}, "is a list"),
        ({"properties": {"org:x": "a\0"}}, "NUL"),
        ({"properties": {"org:x": "x" * 8192}}, "8192 bytes"),
        ({"properties": {"cerss.zfs:temporary": True}}, "belongs to this collection"),
        ({"before": [{"argv": [], "timeout": "1s", "environment": None}]}, "command 1 of before has no argv"),
        ({"after": [{"argv": ["x"], "timeout": "0", "environment": None}]}, "timeout of command 1 of after is 0"),
        ({"wait": "3s"}, "cannot be combined with state=present"),
        ({"on_dependents": "fail"}, "cannot be combined with state=present"),
        ({"state": "absent", "on_replica": "allow"}, "on_replica cannot be combined with state=absent"),
        ({"state": "absent", "wait": "-1"}, "wait: '-1' is not a duration"),
        (
            {"state": "absent", "holds": ["h"], "temporary": True, "before": []},
            "holds, temporary cannot be combined with state=absent",
        ),
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
    assert options(temporary=False, expires="2h").unsettings() == ["cerss.zfs:temporary"]
    assert options(expires="2h").settings() == {"cerss.zfs:expires": "7200"}
    assert options(expires="never").settings() == {}
    assert options(expires="never").unsettings() == ["cerss.zfs:expires"]
    assert options().settings() == {}
    assert options().unsettings() == []


TREE: Set = {
    "tank": {},
    "tank/v": {BACKUP["property"]: ("local", "nightly")},
    "tank/v/w": {BACKUP["property"]: ("local", "none")},
    "tank/v/x": {BACKUP["property"]: ("inherited from tank/v", "nightly")},
    "tank/vw": {},
}


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ({"name": ["tank/v@a"]}, ["tank/v@a"]),
        ({"name": ["tank/v@a", "tank/none@a"]}, ["tank/v@a", "tank/none@a"]),
        ({"name": ["tank/v@a", "tank/v@b"], "recursive": True, "exclude": ["*/x"]},
         ["tank/v@a", "tank/v/w@a", "tank/v@b", "tank/v/w@b"]),
        ({"name": ["tank/vw", "tank/v"], "snapshot": "at-%H-%M"}, ["tank/vw@at-07-08", "tank/v@at-07-08"]),
        ({"name": ["tank/vw", "tank/v"], "snapshot": "s", "exclude": ["tank/v"]}, ["tank/vw@s"]),
        ({"name": ["tank/v"], "snapshot": "s", "recursive": True}, ["tank/v@s", "tank/v/w@s", "tank/v/x@s"]),
        ({"name": ["tank"], "snapshot": "s", "select": BACKUP}, ["tank/v@s", "tank/v/x@s"]),
        ({"name": ["tank/vw", "tank/v/x"], "snapshot": "s", "select": BACKUP}, ["tank/v/x@s"]),
        ({"name": ["tank@s"], "select": BACKUP}, ["tank/v@s", "tank/v/x@s"]),
        ({"name": None, "snapshot": "%F", "select": BACKUP, "exclude": ["tank/v/x"]}, ["tank/v@2026-11-23"]),
    ],
)  # fmt: skip
def test_the_snapshots_that_are_meant(params: dict[str, Any], names: list[str]) -> None:
    backend = Printer(TREE)
    assert snapshots_of(options(**params), backend, TREE) == (names, [])
    assert len(backend.commands) == ("select" in params)


def test_nothing_is_selected() -> None:
    """A mistyped property is not to pass as a backup."""
    given = options(name=None, snapshot="s", select={**BACKUP, "value": "nihgtly"})
    names, warnings = snapshots_of(given, Printer(TREE), TREE)
    assert (names, datasets_of(given)) == ([], [])
    assert warnings == ["no dataset has org.example:backup=nihgtly, so there is nothing to do; check select"]


def test_named_one_by_one() -> None:
    """These are refused where others are left out."""
    assert options(name=["tank/v"], snapshot="s", recursive=True).named == {"tank/v@s"}
    assert options(name=["tank/v"], snapshot="s", select=BACKUP).named == set()


def test_min_age_is_about_what_the_template_makes() -> None:
    given = options(name=["tank/v"], snapshot="nightly-%Y-%m-%d_%H-%M", min_age="23h")
    assert given.min_age == 23 * 3600
    assert matches("nightly-2026-11-23_07-08", given.match)
    for other in (
        "nightly-2026-11-23",
        "nightly-2026-11-23_07-08-02",
        "xnightly-2026-11-23_07-08",
        "nightly-1-1-1_1-1",
    ):
        assert not matches(other, given.match)
    assert options(name=["tank/v"], snapshot="a-%Y", min_age="23h", match=["b-*"]).match == ("b-*",)


def test_a_result_lists_what_failed_and_what_is_pending() -> None:
    snapshots = [Snapshot("tank/v@a"), Snapshot("tank/v@b", state="pending_delete")]
    told = result(Plan(), snapshots, {"tank/v@a": "no space"}, busy=["tank/v@a"], problem="thaw failed")
    assert [(snap["failed"], snap["msg"]) for snap in told["snapshots"]] == [(True, "no space"), (False, None)]
    assert (told["pending"], told["busy"]) == (["tank/v@b"], ["tank/v@a"])
    assert (told["failed"], told["msg"]) == (True, "thaw failed; no space")
    assert "failed" not in result(Plan(), snapshots, {})
