# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""On what OpenZFS 2.3.9 printed and what users may write into a property."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Hold
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import output

# What users may put into a property, but not what begins like the next record (see `records`).
values = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=30)


@given(
    st.lists(
        st.tuples(st.sampled_from(["tank/v@a", "tank/v w@b"]), values.filter(lambda v: "local" not in v)), max_size=5
    )
)
def test_records_keep_every_value(pairs: list[tuple[str, str]]) -> None:
    printed = "".join(f"{name}\torg:x\tlocal\t{value}\n" for name, value in pairs)
    assert list(output.records(printed.split("\n")[:-1])) == [(name, "org:x", "local", value) for name, value in pairs]


def test_records_of_every_source() -> None:
    lines = ["tank/v\treadonly\tinherited from tank\ton", "tank/v\torg:x\treceived\t", "tank/v@a\tuserrefs\t-\t1"]
    assert [record[2] for record in output.records(lines)] == ["inherited from tank", "received", "-"]
    assert list(output.records(["continues no record"])) == []


def test_missing_names_and_other_messages() -> None:
    stderr = (
        "cannot open 'tank/e/v@nope': dataset does not exist\ncannot open 'nopool': no such pool\n"
        "no datasets available\nsomething else\n"
    )
    assert output.missing(stderr) == (["tank/e/v@nope", "nopool"], ["something else"])


@pytest.mark.parametrize(
    ("line", "hold"),
    [
        ("tank/v@a\tkeep\t1795454025", Hold("keep", 1795454025)),
        ("tank/v@a\twith space\t1795454025", Hold("with space", 1795454025)),
        ("tank/v@a\tkeep\tgarbage", Hold("keep", None)),
    ],
)
def test_holds(line: str, hold: Hold) -> None:
    assert list(output.holds([line])) == [("tank/v@a", hold)]


def test_holds_of_2_1_have_the_hosts_time() -> None:
    ((name, hold),) = output.holds(["tank/v@a\tkeep\tMon Nov 23 17:13 2026"])
    assert name == "tank/v@a"
    assert hold.created
    assert hold.created % 60 == 0


def test_estimate() -> None:
    assert output.estimate("full\ttank/t@one\t11422712\nsize\t11422712\n") == 11422712
    assert output.estimate("resume token contents:\n") is None


def test_progress() -> None:
    assert output.sent("17:13:42\t1048576\ttank/t@one\n") == (1048576, "tank/t@one")
    assert output.sent("full\ttank/t@one\t11422712") is None


def test_sizes_at_the_beginning_of_a_send() -> None:
    assert output.announced("full\ttank/t@one\t11422712\n") == ("tank/t@one", 11422712)
    assert output.announced("incremental\tone\ttank/t@two\t624") == ("tank/t@two", 624)
    assert output.announced("size\t624") is None
