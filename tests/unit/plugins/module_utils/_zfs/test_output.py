# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""On what OpenZFS 2.3.9 printed and what users may write into a property."""

from __future__ import annotations

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Hold, Value
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import output

A = ["a\torg:x\tlocal\t1", "a\torg:y\treceived\t2"]
B = ["b@s\torg:x\tinherited from b\t3", "more", "", "b@s\torg:y\t-\t-"]


def read(*lines: str, names: tuple[str, ...] = ("a", "b@s")) -> tuple[dict[str, dict[str, Value]], set[str]]:
    return output.values(lines, names, ("org:x", "org:y"))


def test_values_may_have_newlines_and_sources_spaces() -> None:
    assert read(*B, *A) == (
        {
            "a": {"org:x": Value("1", "local"), "org:y": Value("2", "received")},
            "b@s": {"org:x": Value("3\nmore\n", "inherited from b"), "org:y": Value("-", "-")},
        },
        set(),
    )


@pytest.mark.parametrize(
    ("lines", "doubtful"),
    [
        ([*A, *B, A[0]], {"a"}),
        ([*A, A[1], *B], {"a"}),
        ([A[1], A[0], *B], {"a"}),
        ([A[0], *B], {"a"}),
        ([*A, *B, "a\tother\tlocal\tforged"], {"a"}),
        ([*A, A[0], *B, B[0]], {"a", "b@s"}),
    ],
    ids=["name twice", "property twice", "out of order", "one is missing", "not asked for", "both"],
)
def test_a_name_with_other_lines_than_it_must_have_is_in_doubt(lines: list[str], doubtful: set[str]) -> None:
    assert read(*lines)[1] == doubtful


def test_a_line_about_a_name_that_was_not_asked_for_belongs_to_a_value() -> None:
    values, doubtful = read(*A, *B, names=("a",))
    assert (values["a"]["org:y"].text, doubtful) == ("\n".join(["2", *B]), set())


def test_what_a_login_script_prints_first_is_no_value() -> None:
    assert read("Welcome\tto\tthis\thost", "", *A, names=("a",)) == read(*A, names=("a",))
    assert output.value(["Welcome", *A], "a") == Value(f"1\n{A[1]}", "local")


def test_a_native_property_has_the_name_that_was_asked_for() -> None:
    assert output.values(["a\tavailable\t-\t1"], ["a"], ["avail"]) == ({"a": {"avail": Value("1")}}, set())


def test_a_single_value_is_all_that_follows() -> None:
    assert output.value(["a\torg:x\tlocal\tb\tc", *A], "a") == Value("\n".join(["b\tc", *A]), "local")
    assert output.value(["b\torg:x\tlocal\tb"], "a") is None
    assert output.value([], "a") is None


def test_names_of_properties() -> None:
    lines = ["a\tused", "a\torg:x", "a\t-o:x", "noise"]
    assert list(output.property_names(lines)) == [("a", "used"), ("a", "org:x")]


NOISE = (
    "stty: 'standard input': Inappropriate ioctl for device\n"
    "sudo: unable to resolve host b: Name or service not known\n"
    "bash: warning: setlocale: LC_ALL: cannot change locale (C.UTF-8): No such file or directory\n"
    "-bash: /root/.env: Permission denied\n"
)


@pytest.mark.parametrize(
    ("more", "other"),
    [
        ("cannot iterate filesystems: I/O error", 1),
        ("internal error: cannot get property", 1),
        ("pool I/O is currently suspended", 1),
        (NOISE, 0),
    ],
)
def test_missing_names_and_other_messages(more: str, other: int) -> None:
    """Whatever login scripts and sudo write beside them."""
    stderr = (
        f"{NOISE}cannot open 'tank/e/v@nope': dataset does not exist\r\ncannot open 'nopool': no such pool\n"
        f"no datasets available\n{more}\n"
    )
    names, found = output.missing(stderr)
    assert (names, len(found)) == (["tank/e/v@nope", "nopool"], other)


@pytest.mark.parametrize("rc", [126, 127, 255, -15])
def test_any_line_is_a_failure_when_zfs_has_not_ended_by_itself(rc: int) -> None:
    assert output.missing("cannot open 'a': dataset does not exist\nclient_loop: send disconnect", rc)[1]


@pytest.mark.parametrize(
    ("line", "hold"),
    [
        ("tank/v@a\tkeep\t1795454025", Hold("keep", 1795454025)),
        ("tank/v@a\twith space\t1795454025", Hold("with space", 1795454025)),
        ("tank/v@a\tkeep\tgarbage", Hold("keep", None)),
    ],
)
def test_holds(line: str, hold: Hold) -> None:
    assert output.holds([line], ["tank/v@a"]) == {"tank/v@a": [hold]}


def test_holds_of_2_1_have_the_hosts_time() -> None:
    (hold,) = output.holds(["tank/v@a\tkeep\tMon Nov 23 17:13 2026"], ["tank/v@a"])["tank/v@a"]
    assert hold.created
    assert hold.created % 60 == 0


def test_a_tag_may_have_tabs_and_newlines() -> None:
    lines = ["noise", "a@1\tx\ty", "", "b@1\tz\t1\t7", "a@2\tkeep\t8"]
    assert output.holds(lines, ["a@1", "a@2"]) == {"a@1": [Hold("x\ty\n\nb@1\tz\t1", 7)], "a@2": [Hold("keep", 8)]}


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


def test_rows_of_a_listing() -> None:
    lines = ["tank/v w\t18446744073709551615\t7\ttank/o@s\t1", "", "tank/v@s 1\t1\t8\t-\t0", "tank/v#b:1\t1\t8\t-\t-"]
    assert list(output.listed(lines)) == [
        ("tank/v w", "18446744073709551615", 7, "tank/o@s", True),
        ("tank/v@s 1", "1", 8, None, False),
        ("tank/v#b:1", "1", 8, None, False),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "Welcome to backend-b", "tank/v\t1\t2\t-", "tank/v\t1\t2\t-\t0\t0", "tank/v\tx\t2\t-\t0", "tank/v\t1\t-2\t-\t0",
        "tank/v\t18446744073709551616\t2\t-\t0", "\t1\t2\t-\t0", "tank/v/\t1\t2\t-\t0", "tank/v/%recv\t1\t2\t-\t0",
        "tank/../v\t1\t2\t-\t0", "tank/v@..\t1\t2\t-\t0", "tank/v@a@b\t1\t2\t-\t0", "tank/v@a,b\t1\t2\t-\t0",
        "tank/v\n\t1\t2\t-\t0", "tank/v\t1\t2\ttank/o@a,b\t0",
    ],
)  # fmt: skip
def test_other_lines_than_those_of_a_listing_are_an_error(line: str) -> None:
    with pytest.raises(CerssError, match=r"zfs list on backend-b printed .* let that print in interactive shells only"):
        list(output.listed([line], "backend-b"))


@pytest.mark.parametrize("text", ["\u00b2", "9" * 5000, "-1", ""])
def test_what_is_no_number(text: str) -> None:
    assert output.sent(f"00:00:01\t{text}\ttank/v@s") is None
    assert output.announced(f"full\ttank/v@s\t{text}") is None
    assert output.estimate(f"size\t{text}") is None
    assert output.holds([f"tank/v@s\tkeep\t{text}"], {"tank/v@s"}) == {"tank/v@s": [Hold("keep", None)]}
