# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which datasets zfs_dataset_info lists, and how much it reads at a time. Its results are in a recorded session."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, Suspended
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset
from ansible_collections.cerss.zfs.plugins.module_utils._dataset import info
from ansible_collections.cerss.zfs.plugins.module_utils._dataset.info import Options, chosen, chunks, main
from ansible_collections.cerss.zfs.tests.unit.printer import Host, Set

DEFAULTS: dict[str, Any] = {
    "name": None, "recursive": False, "exclude": [], "detail": "state", "properties": None, "limit": None,
}  # fmt: skip
FOUND = {name: Dataset(name, "1") for name in ("tank", "tank/a b", "tank/a", "tank/a/x", "tank/a/x/y", "tank-2")}


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ["tank", "tank/a", "tank/a/x", "tank/a/x/y", "tank/a b", "tank-2"]),
        ({"name": ["tank/a", "tank/none"]}, ["tank/a"]),
        ({"name": ["tank/a"], "recursive": True}, ["tank/a", "tank/a/x", "tank/a/x/y"]),
        ({"name": ["tank/a", "tank/a/x"], "recursive": True}, ["tank/a", "tank/a/x", "tank/a/x/y"]),
        ({"name": ["tank"], "recursive": True, "exclude": ["tank/*/x"]}, ["tank", "tank/a", "tank/a b"]),
        ({"exclude": ["tank/a*"]}, ["tank", "tank-2"]),
        ({"name": ["tank", "tank-2"], "exclude": ["tank"]}, ["tank-2"]),
    ],
)
def test_chosen(options: dict[str, Any], names: list[str]) -> None:
    assert chosen(Options.from_params({**DEFAULTS, **options}), FOUND) == names


PROPERTIES = st.frozensets(st.sampled_from("uvwxyz"))


@given(st.lists(PROPERTIES), PROPERTIES, st.integers(1, 20))
def test_a_part_has_no_more_values_than_allowed(own: list[frozenset[str]], always: frozenset[str], most: int) -> None:
    shapes = {str(number): each for number, each in enumerate(own)}
    parts = list(chunks(list(shapes), shapes, always, most))
    assert [name for part in parts for name in part] == list(shapes)
    for part in parts:
        assert len(part) == 1 or len(part) * len(always.union(*(shapes[name] for name in part))) <= most


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"name": ["tank@s"]}, "names a snapshot; give a dataset here"),
        ({"name": ["tank", "tank"]}, "more than once"),
        ({"properties": ["cerss.zfs:source"]}, "internal to this collection"),
        ({"properties": ["Org:x"]}, "not a valid user property"),
        ({"properties": ["x"], "detail": "names"}, "detail=names, which does not read them"),
        ({"properties": [], "detail": "full"}, "detail=full, which returns all of them"),
        ({"limit": -1}, "limit is -1"),
    ],
)
def test_bad_input(options: dict[str, Any], why: str) -> None:
    with pytest.raises(BadInput, match=re.escape(why)):
        Options.from_params({**DEFAULTS, **options})


def test_an_empty_list_is_nothing_to_do() -> None:
    assert main({**DEFAULTS, "name": []}, False) == {"changed": False, "datasets": [], "total": 0}


HERE: Set = {
    "tank": {"type": ("-", "filesystem"), "org:x": ("local", "-"), "mounted": ("-", "yes"), "quota": ("local", "0")},
    "tank/v": {"type": ("-", "volume"), "org:x": ("inherited from tank", "-"), "volsize": ("local", "1024")},
}


def ask(monkeypatch: pytest.MonkeyPatch, known: Set, **options: Any) -> dict[str, Any]:
    monkeypatch.setattr(info, "Backend", lambda: Host(known))
    return main({**DEFAULTS, **options}, False)


def test_what_is_set_what_is_asked_for_and_all(monkeypatch: pytest.MonkeyPatch) -> None:
    tank, volume = ask(monkeypatch, HERE)["datasets"]
    assert (tank["properties"], tank["mounted"], tank["key_loaded"]) == ({"org:x": "-", "quota": "0"}, True, None)
    assert (volume["type"], volume["mounted"], volume["volume_bytes"]) == ("volume", None, 1024)
    assert (volume["properties"], volume["sources"]) == ({"volsize": "1024"}, {"volsize": "local"})
    tank, volume = ask(monkeypatch, HERE, properties=["volsize", "org:x"])["datasets"]
    assert tank["properties"] == {"volsize": None, "org:x": "-"}
    assert volume["sources"] == {"volsize": "local", "org:x": "inherited from tank"}
    assert ask(monkeypatch, HERE, detail="full")["datasets"][1]["properties"] == {
        "type": "volume", "org:x": "-", "volsize": "1024",
    }  # fmt: skip
    assert ask(monkeypatch, HERE, detail="names")["datasets"][0] == {
        "name": "tank", "guid": "1", "origin": None, "clones": [],
    }  # fmt: skip


def test_one_dataset_that_cannot_be_read_hides_no_other_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        info.values, "read_properties",
        lambda _backend, names, _asked: info.values.Properties({"tank/v": {}}, [], {"tank": "tank cannot be read"}),
    )  # fmt: skip
    result = ask(monkeypatch, HERE)
    assert [(each["name"], each["type"], each["mounted"]) for each in result["datasets"]] == [
        ("tank", None, None),
        ("tank/v", None, None),
    ]
    assert result["warnings"] == ["tank cannot be read"]


def test_a_dataset_that_does_not_exist_is_an_error_with_the_other_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    result = ask(monkeypatch, HERE, name=["tank", "tank/none"])
    assert ([each["name"] for each in result["datasets"]], result["total"], result["failed"]) == (["tank"], 1, True)
    assert result["msg"].startswith("there is no dataset tank/none; check name")


def test_a_suspended_pool_is_not_left_out_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(info.inventory, "pool_states", lambda _backend: {"tank": "suspended", "bad": "suspended"})
    assert ask(monkeypatch, HERE)["warnings"] == [
        "pool bad is suspended, so its datasets are missing here; see zfs_pool_info"
    ]
    assert "warnings" not in ask(monkeypatch, HERE, name=["tank"])


def test_a_suspended_pool_hides_no_other_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(_backend: Host, names: list[str], *_options: Any) -> Any:
        if "bad" in names:
            raise Suspended(["zfs", "list"], 1, "cannot open 'bad': pool I/O is currently suspended")
        return {"tank": Dataset("tank", "1")}, []

    states = {"tank": "online", "bad": "suspended"}
    monkeypatch.setattr(info.inventory, "read", read)
    monkeypatch.setattr(info.inventory, "pool_states", lambda _backend: states)
    result = ask(monkeypatch, HERE, name=["tank", "bad/x", "tank/none"])
    assert [each["name"] for each in result["datasets"]] == ["tank"]
    assert result["msg"].startswith("pool bad is suspended, so its datasets are missing here; see zfs_pool_info; there")
    assert ask(monkeypatch, HERE, name=["bad"])["datasets"] == []
    del states["bad"]
    with pytest.raises(Suspended):
        ask(monkeypatch, HERE, name=["bad"])


def test_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    result = ask(monkeypatch, HERE, limit=1)
    assert ([each["name"] for each in result["datasets"]], result["total"]) == (["tank"], 2)
