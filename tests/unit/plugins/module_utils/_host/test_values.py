# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading properties whose values are anything at all, above all what looks like the output of ``zfs get``."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Value
from ansible_collections.cerss.zfs.plugins.module_utils._host import values as values_module
from ansible_collections.cerss.zfs.plugins.module_utils._host.values import (
    Properties,
    property_names,
    read_all,
    read_properties,
)
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.tests.unit.printer import Printer, Set

NAMES = ["a", "a/b c", "a@s", "z#b"]
PROPERTIES = ["guid", "mountpoint", "org:x", "cerss.zfs:expires"]
SOURCES = ["local", "received", "default", "inherited from a", "-"]

forged = st.builds(
    "{}\n{}\t{}\t{}\t{}".format,
    st.text(max_size=3), st.sampled_from([*NAMES, "other"]), st.sampled_from([*PROPERTIES, "odd"]),
    st.sampled_from(SOURCES), st.text(max_size=3),
)  # fmt: skip
anything = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)
texts = st.lists(st.one_of(forged, anything), max_size=3).map("\n".join)
# mountpoint stands for native properties with any text, should ZFS ever allow that.
values = st.fixed_dictionaries(
    {"guid": st.tuples(st.just("-"), st.integers(0, 99).map(str))},
    optional={name: st.tuples(st.sampled_from(SOURCES), texts) for name in PROPERTIES[1:]},
)
datasets = st.dictionaries(st.sampled_from(NAMES), values)


def as_set(known: Set, name: str, properties: list[str]) -> dict[str, Value]:
    return {key: Value(*known[name].get(key, ("-", "-"))[::-1]) for key in properties}


@given(datasets, st.lists(st.sampled_from(NAMES)), st.lists(st.sampled_from(PROPERTIES), min_size=1, unique=True))
def test_what_is_read_is_what_was_set(known: Set, names: list[str], properties: list[str]) -> None:
    found = read_properties(Printer(known), names, properties)
    assert found.values == {name: as_set(known, name, properties) for name in names if name in known}
    assert sorted(found.missing) == sorted(set(names) - known.keys())
    assert found.spoilt == {}


@given(datasets)
def test_all_that_is_set_is_read(known: Set) -> None:
    assert read_all(Printer(known), NAMES).values == {name: as_set(known, name, [*known[name]]) for name in known}


def test_native_and_user_properties_are_read_apart() -> None:
    backend = Printer({"a": {"guid": ("-", "1")}})
    read_properties(backend, ["a", "a", "b"], ["guid", "org:x", "guid", "used"])
    assert backend.commands == [zfs.get(["a", "b"], ["guid", "used"]), zfs.get(["a"], ["org:x"])]


def test_only_the_forged_names_are_read_alone() -> None:
    known: Set = {name: {"org:x": ("local", "1")} for name in ("a", "b", "c", "d")}
    known["d"]["org:x"] = ("local", "\n".join(["x", *(f"{name}\torg:x\tlocal\t2" for name in "abe")]))
    backend = Printer(known)
    assert read_properties(backend, "abcde", ["org:x"]).values["a"] == {"org:x": Value("1", "local")}
    assert [command[5:] for command in backend.commands] == [
        ["org:x", *"abcde"], ["org:x", "c", "d"], ["org:x", "a"], ["org:x", "b"],
    ]  # fmt: skip


def test_a_forged_property_of_the_same_name_is_no_property() -> None:
    known: Set = {"a": {"org:x": ("local", "x\na\torg:y\tlocal\tforged"), "org:y": ("local", "true")}}
    backend = Printer(known)
    assert read_properties(backend, ["a"], ["org:x", "org:y"]).values == {"a": as_set(known, "a", ["org:x", "org:y"])}
    assert [command[5] for command in backend.commands] == ["org:x,org:y", "org:x,org:y", "org:x", "org:y"]


def test_a_name_that_cannot_be_read_spoils_no_other() -> None:
    class Odd(Printer):
        def lines(self, command, missing=None):  # type: ignore[no-untyped-def]
            return (line for line in super().lines(command, missing) if not line.startswith("b\torg:y"))

    known: Set = {name: {"org:x": ("local", name)} for name in "abc"}
    found = read_properties(Odd(known), "abc", ["guid", "org:x", "org:y"])
    assert found.values == {name: as_set(known, name, ["guid", "org:x", "org:y"]) for name in "ac"}
    assert found.spoilt == {"b": "b cannot be read: zfs get prints nothing that is its property org:y"}
    with pytest.raises(CerssError, match="b cannot be read"):
        found.check()
    Properties().check()


def test_what_vanishes_while_it_is_read_is_missing() -> None:
    class Short(Printer):
        def lines(self, command, missing=None):  # type: ignore[no-untyped-def]
            yield from super().lines(command, missing)
            self.datasets.pop("a", None)

    found = read_properties(Short({name: {"org:x": ("local", name)} for name in "ab"}), "ab", ["guid", "org:x"])
    assert (found.missing, [*found.values]) == (["a"], ["b"])


def test_a_missing_pool_is_a_missing_name() -> None:
    class NoPool(Printer):
        def lines(self, command, missing=None):  # type: ignore[no-untyped-def]
            return iter(missing.append("tank") or [])

    assert read_properties(NoPool({}), ["tank/a@s"], ["guid"]).missing == ["tank/a@s"]


def test_many_names_and_properties_take_several_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values_module, "MOST", 2)
    monkeypatch.setattr(values_module, "PROPERTY_BYTES", 10)
    backend = Printer({name: {"guid": ("-", name)} for name in "abc"})
    assert read_properties(backend, "abc", ["guid", "written"]).values["c"] == {
        "guid": Value("c"),
        "written": Value("-"),
    }
    assert len(backend.commands) == 4
    assert property_names(backend, "abcd") == dict.fromkeys("abc", frozenset({"guid"}))


def test_noise_before_the_output_is_ignored() -> None:
    backend = Printer({"a": {"guid": ("-", "1")}}, noise="Last login: today\n\n")
    assert read_properties(backend, ["a"], ["guid"]).values == {"a": {"guid": Value("1")}}
