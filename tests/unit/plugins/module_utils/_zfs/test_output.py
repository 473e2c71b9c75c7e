# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parsers, on what OpenZFS 2.3.9 printed and on what users may write."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core import units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Hold
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import output, processes
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.token import decode_token

# Of a first full receive that was cut; `zfs send -nvP -t` said toguid = 0xa3df47128ae1d345, bytes = 0x11cb710.
FULL_TOKEN = (
    "1-dde8789bf-d8-789c636064000310a500c4ec50360710e72765a52697303030419460caa7a515a7968064a41861f26c48f2499525a9c5405a60b"
    "b0c2336fd25f9e9a599290c0cae971f7609b9df5fac8124cf0996cf4bcc4d05d28979d9fa250ef979a90877703320dc9d9c9f5b50945a5c9c9fcd"
    "00070022a51ad4"
)


def test_token_of_a_first_receive() -> None:
    token = decode_token(FULL_TOKEN)
    assert token
    assert (token.toguid, token.bytes) == (str(0xA3DF47128AE1D345), 0x11CB710)
    assert (token.toname, token.snapshot, token.fromguid, token.raw) == ("tank/t@one", "one", None, False)


@pytest.mark.parametrize("text", ["", "-", "1-a-b", "2" + FULL_TOKEN[1:], FULL_TOKEN[:-8], "1-x-d8-zz", "1-0-1-00"])
def test_no_token(text: str) -> None:
    assert decode_token(text) is None


def pair(name: str, kind: int, value: bytes) -> bytes:
    text = name.encode() + b"\0"
    text += b"\0" * (-len(text) % 8) + value + b"\0" * (-len(value) % 8)
    return struct.pack("<ihhii", 16 + len(text), len(name) + 1, 0, 1, kind) + text


def made(*pairs: bytes) -> str:
    """A token, as whoever asks for a stream can make one up."""
    data = b"\0\1\0\0\0\0\0\0\1\0\0\0" + b"".join(pairs) + bytes(4)
    return f"1-0-{len(data):x}-{zlib.compress(data).hex()}"


GUIDS = [pair("toguid", 8, struct.pack("<Q", number)) for number in (111, 999)]
REST = [pair("toname", 9, b"tank/t@one\0"), pair("bytes", 8, bytes(8)), pair("rawok", 1, b"")]


@pytest.mark.parametrize(
    ("text", "guid"),
    [
        pytest.param(made(GUIDS[0], *REST), "111", id="plain"),
        pytest.param(made(pair("book_redact_snaps", 16, GUIDS[0]), GUIDS[1], *REST), "999", id="redacted"),
        pytest.param(made(*GUIDS, *REST), None, id="twice"),
        pytest.param(made(pair("x", 19, bytes(24)), GUIDS[0], *REST, bytes(4), GUIDS[1]), None, id="list-in-the-list"),
        pytest.param(made(GUIDS[0], *REST)[:-2] + " " + made(GUIDS[0], *REST)[-2:], None, id="space"),
    ],
)
def test_a_token_says_one_thing(text: str, guid: str | None) -> None:
    """libzfs takes what is in a list within the list for that one's."""
    token = decode_token(text)
    assert (token.toguid if token else None) == guid


@given(st.text(max_size=60))
def test_any_text_is_a_token_or_not(text: str) -> None:
    assert decode_token(text) is None


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("2h", 7200), ("7d", 604800), ("4w", 2419200), ("5", 5), (5, 5)]
)
def test_duration(text: Any, seconds: int) -> None:
    assert units.duration(text, "x") == seconds


@pytest.mark.parametrize("text", ["", "1y", "-1", "1.5h", "h", "1 h x", "\u0661h"])
def test_no_duration(text: str) -> None:
    with pytest.raises(BadInput, match=r"wait: .* is not a duration; write 90s"):
        units.duration(text, "wait")


@pytest.mark.parametrize(
    ("text", "size"), [("64K", 65536), ("10m", 10 << 20), ("2GiB", 2 << 30), ("1.5K", 1536), (7, 7)]
)
def test_size(text: Any, size: int) -> None:
    assert units.size(text, "x") == size


def test_no_size() -> None:
    with pytest.raises(BadInput, match="is not a size"):
        units.size("many", "x")


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


def test_records_of_sources() -> None:
    lines = ["tank/v\treadonly\tinherited from tank\ton", "tank/v\torg:x\treceived\t", "tank/v@a\tuserrefs\t-\t1"]
    assert [record[2] for record in output.records(lines)] == ["inherited from tank", "received", "-"]
    assert list(output.records(["goes on with nothing"])) == []


def test_missing_tells_names_from_other_words() -> None:
    said = (
        "cannot open 'tank/e/v@nope': dataset does not exist\ncannot open 'nopool': no such pool\n"
        "no datasets available\nsomething else\n"
    )
    assert output.missing(said) == (["tank/e/v@nope", "nopool"], ["something else"])


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


def test_estimate_progress_and_announcement() -> None:
    assert output.estimate("full\ttank/t@one\t11422712\nsize\t11422712\n") == 11422712
    assert output.estimate("resume token contents:\n") is None
    assert output.sent("17:13:42\t1048576\ttank/t@one\n") == (1048576, "tank/t@one")
    assert output.sent("full\ttank/t@one\t11422712") is None
    assert output.announced("full\ttank/t@one\t11422712\n") == ("tank/t@one", 11422712)
    assert output.announced("incremental\tone\ttank/t@two\t624") == ("tank/t@two", 624)
    assert output.announced("size\t624") is None


PS = r"""    659      26 zfs send -L -c tank/t@one
    661      26 zfs receive -s -u -o readonly=on -o cerss.zfs:inbound=[{"guid":"1","snapshot":"one"}] backup/t
    662      26 /usr/sbin/zfs recv backup/with space
    663      26 sh -c zfs receive backup/u
    667      17 [receive_writer]
"""


def test_processes() -> None:
    found, writers = processes.receiving([*PS.splitlines(), "664 2 /usr/sbin/zfs recv backup/with space"])
    assert [receiver.pid for receiver in found] == [661, 664]
    assert writers == 1
    assert processes.receiver_of(found, "backup/t") == 26
    assert processes.receiver_of(found, "space") == 2  # a name with a space cannot be told from what it ends with
    assert processes.receiver_of(found, "backup/u") is None
    assert processes.sending(PS.splitlines()) == ["zfs send -L -c tank/t@one"]
