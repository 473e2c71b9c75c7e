# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import (
    BookmarkName,
    DatasetName,
    SnapshotName,
    check_hold_tag,
    check_patterns,
    check_property,
    check_unique,
    dataset_or_snapshot,
    matches,
    remaining,
)

parts = st.text("abcXYZ019_.:- ", min_size=1, max_size=8).filter(lambda text: text not in (".", ".."))
datasets = st.builds(lambda rest: "/".join(["tank", *rest]), st.lists(parts, max_size=4))


@given(datasets, parts)
def test_what_is_parsed_reads_the_same(dataset: str, part: str) -> None:
    assert str(DatasetName.parse(dataset)) == dataset
    name = SnapshotName.parse(f"{dataset}@{part}")
    assert str(name) == f"{dataset}@{part}"
    assert (name.dataset.path, name.snapshot) == (dataset, part)
    assert str(BookmarkName.parse(f"{dataset}#{part}")) == f"{dataset}#{part}"
    assert dataset_or_snapshot(f"{dataset}@{part}") == name
    assert dataset_or_snapshot(dataset) == name.dataset
    assert name.dataset.pool == "tank"
    assert name.dataset.covers(dataset + "/below")
    assert not name.dataset.covers(dataset + "x")


@given(datasets, parts)
def test_ancestors_are_what_parent_leads_to(dataset: str, part: str) -> None:
    name: DatasetName | None = DatasetName.parse(f"{dataset}/{part}")
    assert name
    up = []
    walk = name.parent
    while walk:
        up.append(walk)
        walk = walk.parent
    assert name.ancestors() == up[::-1]
    assert DatasetName("a/b/c").moved(DatasetName("a/b"), DatasetName("x")) == DatasetName("x/c")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty; give it as pool/dataset@snapshot"),
        ("tank/v", "names no snapshot; give it as pool/dataset@snapshot"),
        ("tank/v@", "a part of it is empty"),
        ("@s", "a dataset name is empty"),
        ("tank//v@s", "a part of it is empty"),
        ("tank/v/@s", "a part of it is empty"),
        ("tank/../v@s", "'..' cannot be a part of it"),
        ("tank/v@s@t", "it has '@'"),
        ("tank/v@s/t", "it has '/'"),
        ("tank/v@s#t", "it has '#'"),
        ("tank/v#b@s", "names a bookmark"),
        ("tank/v@s%", "it has '%'"),
        ("tank/v@s\n", "it has '\\n'"),
        ("tank/v@a,b", "it has ','"),
        ("tank/v@täglich", "it has 'ä'"),
        ("-f@s", "cannot be the name of a pool"),
        ("1tank@s", "cannot be the name of a pool"),
        ("tank/v@" + "s" * 249, "256 characters, ZFS takes 255"),
    ],
)
def test_bad_snapshot_names(text: str, reason: str) -> None:
    with pytest.raises(BadInput) as caught:
        SnapshotName.parse(text)
    assert reason in caught.value.msg


@pytest.mark.parametrize("pool", ["cache", "logs", "log", "special1", "dedup", "mirror-2", "raidz", "spare.old"])
def test_a_pool_that_exists_may_have_a_name_that_a_new_one_cannot_get(pool: str) -> None:
    assert SnapshotName.parse(f"{pool}/v@s").dataset.pool == pool


def test_longest_name() -> None:
    assert len(str(SnapshotName.parse("tank/v@" + "s" * 248))) == 255


@pytest.mark.parametrize("text", ["tank/v@s", "tank/v#b"])
def test_dataset_is_wanted(text: str) -> None:
    with pytest.raises(BadInput, match="give a dataset here"):
        DatasetName.parse(text)


@pytest.mark.parametrize(("text", "reason"), [("tank/v", "names no bookmark"), ("tank/v#", "is empty")])
def test_bad_bookmark_names(text: str, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        BookmarkName.parse(text)


def test_duplicates_are_named() -> None:
    check_unique(["a", "b"], "name")
    with pytest.raises(BadInput, match="name lists a, b more than once"):
        check_unique(["a", "b", "c", "b", "a"], "name")


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        ("", "printable text"),
        (" keep", "printable text"),
        ("ke\tep", "printable text"),
        ("cerss.zfs:step:00", "belongs to this collection"),
        (".send-1-1", "ZFS's own"),
        ("-r", "begins with a dash"),
        ("x" * 201, "201 bytes long"),
    ],
)
def test_bad_hold_tags(tag: str, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        check_hold_tag(tag)


def test_good_hold_tags() -> None:
    assert check_hold_tag("keep until monday") == "keep until monday"
    assert check_hold_tag("x" * 200) == "x" * 200


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("compression", "lz4", "only user properties"),
        ("Org:Name", "x", "not a valid user property"),
        ("-org:name", "x", "not a valid user property"),
        ("org:na me", "x", "not a valid user property"),
        ("org:" + "x" * 252, "x", "at most 255"),
        ("cerss.zfs:temporary", "on", "belongs to this collection"),
        ("org:name", "x" * 8192, "8192 bytes"),
        ("org:name", "ü" * 4096, "8192 bytes"),
        ("org:name", "a\0b", "NUL"),
    ],
)
def test_bad_user_properties(name: str, value: str, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        check_property(name, value, user_only=True)


@pytest.mark.parametrize("value", [None, "", "x" * 8191, "a\tb\nc", "größer ≠ kleiner"])
def test_good_user_properties(value: str | None) -> None:
    check_property("org.example:name", value, user_only=True)


def test_native_properties() -> None:
    check_property("userquota@joe", "1G")
    with pytest.raises(BadInput, match="not a valid property name"):
        check_property("-o", "x")


@pytest.mark.parametrize("pattern", ["re:(", "re:[", "re:a{2,1}"])
def test_an_expression_that_does_not_compile(pattern: str) -> None:
    with pytest.raises(BadInput, match=r"match: .* is not a regular expression .* as a YAML list"):
        check_patterns(["*", pattern], "match")


def test_blank_patterns_are_not_given() -> None:
    assert check_patterns(["", " ", "a*"], "match") == ("a*",)
    assert check_patterns(None, "match") == ()


@given(
    st.lists(st.sampled_from(["a", "a/b", "a/b/c", "a-b", "a-b/c", "ab"]), unique=True),
    st.sampled_from(["a", "a/*", "re:a.b"]),
)
def test_what_remains_has_nothing_below_what_is_left_out(names: list[str], pattern: str) -> None:
    left = remaining(names, [pattern])
    out = [name for name in names if matches(name, [pattern])]
    assert left == sorted(
        (name for name in names if not any(name == each or name.startswith(f"{each}/") for each in out)),
        key=lambda name: name.split("/"),
    )


def test_matches_is_a_glob_over_the_whole_text() -> None:
    assert matches("daily-1", ["hourly-*", "daily-*"])
    assert not matches("my-daily-1", ["daily-*"])
    assert not matches("DAILY-1", ["daily-*"])
