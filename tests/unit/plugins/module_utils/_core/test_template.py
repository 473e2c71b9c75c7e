# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of snapshots with the time in them, and the pattern for all of a template's names."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import SnapshotName, check_patterns, matches
from ansible_collections.cerss.zfs.plugins.module_utils._core.template import Template

NOW = 1_795_417_682.9  # 2026-11-23T07:08:02Z, a Monday
DIRECTIVES = [f"%{letter}" for letter in "YymdjHMSGVusFRT"]
TIMES = st.integers(0, 10**11)  # to the year 5138
ZONES = ("UTC", "America/Los_Angeles", "Europe/Berlin", "Pacific/Chatham", "<+1245>-12:45")


@contextmanager
def zone(name: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", name)
        time.tzset()
        yield
    time.tzset()


def parse(text: str) -> Template:
    return Template.parse(text, "snapshot")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("nightly-%Y-%m-%d_%H-%M", "nightly-2026-11-23_07-08"),
        ("zfs-auto-snap_hourly-%F-%H%M", "zfs-auto-snap_hourly-2026-11-23-0708"),
        ("autosnap_%F_%T_daily", "autosnap_2026-11-23_07:08:02_daily"),
        ("%G-W%V.%u day %j %y %R", "2026-W48.1 day 327 26 07:08"),
        ("%s", "1795417682"),
        ("before upgrade", "before upgrade"),
    ],
)
def test_name(text: str, name: str) -> None:
    assert parse(text).name(NOW, utc=True) == name
    assert parse(text).has_directives == ("%" in text)


def test_the_time_is_that_of_the_host() -> None:
    with zone("America/Los_Angeles"):
        assert parse("%F_%H-%M").name(NOW, utc=False) == "2026-11-22_23-08"
        assert parse("%F_%H-%M").name(NOW, utc=True) == "2026-11-23_07-08"
        assert parse("%s").name(NOW, utc=False) == parse("%s").name(NOW, utc=True) == "1795417682"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        *((f"a-{part}", f"snapshot: '{part}' in 'a-{part}' cannot be") for part in
          ("%c", "%x", "%X", "%p", "%a", "%b", "%B", "%D", "%z", "%Z", "%e", "%I", "%-", "%E", "%%", "%n", "%q", "%ä")),
        ("100%", "snapshot: '%' in '100%' cannot be"),
        ("%%Y", "snapshot: '%%' in"),
        ("%\n", "cannot be in the name of a snapshot"),
        ("a/%Y", "'a/%Y' is not a valid snapshot name: it has '/'"),
        ("a@%Y", "it has '@'"),
        ("a,%Y", "it has ','"),
        ("ä-%Y", "it has 'ä'"),
        ("", "a part of it is empty"),
        ("..", "'..' cannot be a part of it"),
    ],
)  # fmt: skip
def test_what_is_refused(text: str, reason: str) -> None:
    with pytest.raises(BadInput) as refused:
        parse(text)
    assert reason in refused.value.msg


LITERALS = st.text("abyz09_.:- ", max_size=6)
TEXTS = st.lists(LITERALS | st.sampled_from(DIRECTIVES), min_size=1, max_size=8).map("".join)
SAFE = TEXTS.filter(lambda text: text not in ("", ".", ".."))


@given(text=SAFE, now=TIMES, place=st.sampled_from(ZONES), utc=st.booleans())
def test_the_pattern_has_every_name(text: str, now: int, place: str, utc: bool) -> None:
    template = parse(text)
    pattern = template.pattern()
    assert check_patterns([pattern], "match") == (pattern,)
    assert "," not in pattern  # at which a list that is given as one text is split
    with zone(place):
        name = template.name(now, utc)
    assert matches(name, [pattern])
    if 10**9 <= now < 10**10 or "%s" not in template.parts:
        assert matches(name, [template.glob()])
    assert str(SnapshotName.parse(f"tank@{name}")) == f"tank@{name}"


WORDS = st.text("abcz", min_size=1, max_size=5)
MADE = st.tuples(WORDS, st.lists(st.sampled_from(DIRECTIVES[:11]), min_size=1, max_size=4))


@given(one=MADE, other=MADE, now=TIMES)
def test_the_pattern_has_no_name_of_another_template(
    one: tuple[str, list[str]], other: tuple[str, list[str]], now: int
) -> None:
    """Of another word, or with another number of directives."""
    name = parse("_".join([other[0], *other[1]])).name(now, utc=True)
    if one[0] != other[0] or len(one[1]) != len(other[1]):
        assert not matches(name, [parse("_".join([one[0], *one[1]])).pattern()])
        assert not matches(name, [parse("_".join([one[0], *one[1]])).glob()])


@pytest.mark.parametrize(
    ("text", "others"),
    [
        ("a-%Y", ["a-", "a-26", "a-20261", "b-a-2026", "a-2026-11", "a-*"]),
        ("%m", ["00", "13", "1", "111"]),
        ("%d", ["00", "32"]),
        ("%j", ["400", "370"]),
        ("%H%M%S", ["240000", "006000", "000061"]),
        ("%V%u", ["001", "541", "018", "010"]),
        ("a.%s", ["ab1", "a.", "a.1x"]),
    ],
)
def test_the_pattern_has_nothing_that_no_clock_makes(text: str, others: list[str]) -> None:
    assert not [other for other in others if matches(other, [parse(text).pattern()])]


def test_the_glob_has_little_more() -> None:
    template = parse("a-%Y-%m-%d_%H-%M")
    assert template.glob() == "a-[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]_[0-2][0-9]-[0-5][0-9]"
    assert matches("a-2026-19-39_29-59", [template.glob()])
    others = ["a-2026-11-28", "a-2026-11-28_00-00-00", "b-2026-11-28_00-00", "a-2026-21-28_00-00", "a-2026-1-1_00-00"]
    assert not [other for other in others if matches(other, [template.glob()])]
    assert not [name for name in ("a-2026-11-28", "a-1-before", "a-17954") if matches(name, [parse("a-%s").glob()])]
