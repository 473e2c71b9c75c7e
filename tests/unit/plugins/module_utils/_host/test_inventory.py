# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Records of zfs get in the model. tests/recorded covers the commands that read them."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import SourceMark, TemporaryMark
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import (
    PENDING_DELETE,
    Dataset,
    Hold,
    Snapshot,
    Value,
)
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.inventory import (
    Things,
    fill_dataset,
    fill_snapshot,
    read,
    read_holds,
)
from ansible_collections.cerss.zfs.plugins.module_utils._host.process import Result

TEMPORARY = TemporaryMark.NAME
EXPIRES = "cerss.zfs:expires"


def filled(*record: str, keep: tuple[str, ...] = ()) -> Snapshot:
    snapshot = Snapshot("tank/v@s")
    fill_snapshot(snapshot, *record, keep=keep)
    return snapshot


@pytest.mark.parametrize(
    ("record", "field", "value"),
    [
        (("guid", "-", "18446744073709551615"), "guid", "18446744073709551615"),
        (("creation", "-", "1795417682"), "created", 1795417682),
        (("used", "-", "-"), "used", None),
        (("defer_destroy", "-", "on"), "state", PENDING_DELETE),
        (("defer_destroy", "-", "off"), "state", "full"),
        (("clones", "-", "tank/c,tank/b"), "clones", ["tank/b", "tank/c"]),
        (("clones", "-", ""), "clones", []),
        ((TEMPORARY, "local", "true"), "temporary", True),
        ((TEMPORARY, "inherited from tank/v", "true"), "temporary", False),
        ((TEMPORARY, "local", "odd"), "temporary", False),
        ((EXPIRES, "local", "60"), "lifetime", 60),
        ((EXPIRES, "received", "60"), "lifetime", None),
        ((EXPIRES, "local", "soon"), "lifetime", None),
    ],
)
def test_snapshot_fields(record: tuple[str, str, str], field: str, value: Any) -> None:
    assert getattr(filled(*record), field) == value


def test_a_snapshot_keeps_its_own_user_properties_and_the_requested_native_ones() -> None:
    assert filled("org:note", "local", "x").properties == {"org:note": "x"}
    assert filled("org:note", "received", "x").properties == {"org:note": "x"}
    assert filled("org:note", "inherited from tank", "x").properties == {}
    assert filled("compression", "default", "on").properties is None
    assert filled("compression", "default", "on", keep=("compression",)).properties == {"compression": "on"}
    assert filled(TEMPORARY, "local", "true").properties is None


def test_a_dataset_keeps_our_properties_apart_and_only_local_ones() -> None:
    dataset = Dataset("tank/v")
    fill_dataset(dataset, SourceMark.NAME, "inherited from tank", "{}")
    assert (dataset.ours, dataset.values) == ({}, {})
    fill_dataset(dataset, SourceMark.NAME, "local", "{}")
    fill_dataset(dataset, "origin", "-", "tank/o@s")
    fill_dataset(dataset, "guid", "-", "7")
    assert dataset.ours == {SourceMark.NAME: "{}"}
    assert dataset.values == {"origin": Value("tank/o@s"), "guid": Value("7")}
    assert (dataset.origin, dataset.guid) == ("tank/o@s", "7")


def test_a_guid_that_is_none_is_not_taken() -> None:
    dataset = Dataset("tank/v", "7")
    fill_dataset(dataset, "guid", "-", "many")
    assert dataset.guid == "7"


class Lister(Backend):
    """Prints these lines, whatever is asked for."""

    def __init__(self, *rows: str) -> None:
        super().__init__()
        self.rows = [f"{name}\t{number}\t{number}\t-\t0" for number, name in enumerate(rows)]

    def read(self, command: list[str], timeout: float | None = None) -> tuple[list[str], list[str]]:
        return self.rows, []


def test_a_text_without_a_line_end_before_the_first_line_is_told() -> None:
    with pytest.raises(CerssError, match=r"printed 'Hello tank/a', .* a login script"):
        read(Lister("Hello tank/a", "tank/a@s"), ["tank/a"])


def test_what_was_not_asked_for_is_left_out() -> None:
    backend = Lister("tank/v", "tank/v@s", "tank/w", "tank/v/a", "tank/v/b@s", "tank/va", "other")
    assert sorted(read(backend, ["tank/v"])[0]) == ["tank/v"]
    assert sorted(read(backend, ["tank/v"], None)[0]) == ["tank/v", "tank/v/a"]
    assert sorted(read(backend, [])[0]) == ["other", "tank/v", "tank/v/a", "tank/va", "tank/w"]
    assert sorted(read(backend, ["tank/v/b"], types="snapshot")[0]) == ["tank/v/b"]


def test_a_token_that_cannot_be_decoded_is_kept_as_a_value() -> None:
    dataset = Dataset("backup/v")
    fill_dataset(dataset, "receive_resume_token", "-", "1-odd")
    assert dataset.token is None
    assert dataset.has_partial_receive


def test_things_have_datasets_and_snapshots() -> None:
    things = Things({"tank/v": Dataset("tank/v")})
    things.update(Things(snapshots={"tank/v@s": Snapshot("tank/v@s")}))
    assert "tank/v" in things
    assert "tank/v@s" in things
    assert "tank/w" not in things


class Holder(Backend):
    """Prints the holds of snapshots: name -> tags."""

    def __init__(self, tags: dict[str, list[str]]) -> None:
        super().__init__()
        self.tags = tags
        self.asked: list[list[str]] = []

    def run(self, command: list[str], *_args: object, **_options: object) -> Result:
        names = command[3:]
        self.asked.append(names)
        gone = [f"cannot open '{name}': dataset does not exist\n" for name in names if name not in self.tags]
        lines = [f"{name}\t{tag}\t7\n" for name in names for tag in self.tags.get(name, [])]
        return Result(command, int(bool(gone)), "".join(lines), "".join(gone))


TAGS = ["keep", "with\ttab", "with\nline", "x\t1\na@1\tcerss.zfs:last", "caf\udce9", "x\x85y\u2028"]


@pytest.mark.parametrize("tag", TAGS, ids=ascii)
def test_a_hold_has_its_tag_and_no_other_snapshot_gets_it(tag: str) -> None:
    backend = Holder({"a@1": ["mine"], "b@1": [tag, "other"], "c@1": ["last"]})
    held = [Snapshot(name, userrefs=refs) for name, refs in {"a@1": 1, "b@1": 2, "c@1": 1, "d@1": 3, "e@1": 0}.items()]
    read_holds(backend, held)
    assert [[hold.tag for hold in snapshot.holds or []] for snapshot in held] == [
        ["mine"], [tag, "other"], ["last"], [], [],
    ]  # fmt: skip
    assert held[0].holds == [Hold("mine", 7)]


def test_only_snapshots_in_doubt_are_read_alone() -> None:
    backend = Holder({"a@1": ["mine"], "b@1": [TAGS[3]], "c@1": ["last"]})
    read_holds(backend, [Snapshot(name, userrefs=1) for name in backend.tags])
    assert backend.asked == [["a@1", "b@1", "c@1"], ["b@1", "c@1"], ["a@1"]]
