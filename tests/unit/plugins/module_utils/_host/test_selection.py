# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which datasets are meant by a name, a pattern or a user property."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._host.selection import Selection
from ansible_collections.cerss.zfs.tests.unit.printer import Printer, Set

BACKUP = "org.example:backup"
TREE: Set = {
    "tank": {},
    "tank/db": {BACKUP: ("local", "nightly")},
    "tank/db/a": {BACKUP: ("inherited from tank/db", "nightly")},
    "tank/db/b": {BACKUP: ("local", "none")},
    "tank/home": {BACKUP: ("received", "nightly")},
    "tank/odd": {},
}


def selection(**params: Any) -> Selection:
    return Selection.from_params({"recursive": False, **params}, params.get("roots"))


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ({"select": {"property": BACKUP, "value": "nightly"}}, ["tank/db", "tank/db/a", "tank/home"]),
        ({"select": {"property": BACKUP, "value": "none"}}, ["tank/db/b"]),
        ({"select": {"property": BACKUP, "value": "weekly"}}, []),
        ({"exclude": ["tank/db"], "select": {"property": BACKUP, "value": "nightly"}}, ["tank/home"]),
        ({"exclude": [" ", "re:tank/(db|odd)"]}, ["tank", "tank/home"]),
    ],
)
def test_choose(params: dict[str, Any], names: list[str]) -> None:
    backend = Printer(TREE)
    assert selection(**params).choose(backend, TREE) == (names, [])
    assert len(backend.commands) <= ("select" in params)


def test_a_value_that_looks_like_records_chooses_nothing_else() -> None:
    """No more than its own dataset is in doubt."""
    forged = {"tank": {}, "tank/odd": {BACKUP: ("local", f"x\ntank\t{BACKUP}\tlocal\tnightly")}}
    assert selection(select={"property": BACKUP, "value": "nightly"}).choose(Printer(forged), forged)[0] == []


@pytest.mark.parametrize(("value", "text"), [(True, "true"), ("True", "true"), (5, "5"), ("a b", "a b")])
def test_values_are_written_as_on_datasets(value: object, text: str) -> None:
    assert selection(select={"property": BACKUP, "value": value}).selector == (BACKUP, text)


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"select": {"property": "type", "value": "volume"}}, "select.property is 'type'; give a user property"),
        ({"select": {"property": BACKUP, "value": ""}}, "select.value is ''; give the value"),
        ({"select": {"property": BACKUP, "value": None}}, "select.value is None; give the value"),
        ({"select": {"property": "cerss.zfs:source", "value": "x"}}, "belongs to this collection"),
        ({"exclude": ["re:("]}, "exclude: 're:\\(' is not a regular expression"),
    ],
)
def test_bad_input(params: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        selection(**params)


def test_what_is_read() -> None:
    """Everything below the roots where something is to be found there, otherwise the roots alone."""
    by_value = {"property": BACKUP, "value": "x"}
    assert selection(roots=["tank"]).depth == 1
    assert selection(roots=["tank"], recursive=True).depth is None
    assert selection(roots=["tank"], select=by_value).depth is None
    assert selection(select=by_value).depth is None


@pytest.mark.parametrize(
    ("params", "covered"),
    [
        ({}, ["tank", "tank/db", "tank/db/a", "tank/db/b", "tank/home", "tank/odd"]),
        ({"roots": []}, []),
        ({"roots": ["tank"]}, ["tank"]),
        ({"roots": ["tank/db"], "recursive": True}, ["tank/db", "tank/db/a", "tank/db/b"]),
        ({"roots": ["tank/d"], "recursive": True}, []),
        ({"exclude": ["tank/db"]}, ["tank", "tank/home", "tank/odd"]),
        ({"roots": ["tank", "tank/db"], "exclude": ["tank"]}, []),
        ({"roots": ["tank/db/a"], "exclude": ["tank/db"]}, ["tank/db/a"]),
        (
            {"roots": ["tank", "tank/db/a"], "exclude": ["tank/db"], "recursive": True},
            ["tank", "tank/home", "tank/odd"],
        ),
    ],
)
def test_covers(params: dict[str, Any], covered: list[str]) -> None:
    """One at a time as `choose` does for all."""
    given = selection(**params)
    assert [name for name in TREE if given.covers(name)] == covered
    if given.roots:
        below = [name for name in TREE if Selection(given.roots, given.recursive).covers(name)]
        assert given.choose(Printer(TREE), below)[0] == covered
