# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._host import peek


@pytest.fixture
def pipe() -> Iterator[list[int]]:
    """[reading, writing] descriptor; a test that closes one takes it off."""
    ends = list(os.pipe())
    yield ends
    for end in ends:
        os.close(end)


def test_what_is_seen_stays(pipe: list[int]) -> None:
    os.write(pipe[1], b"abcdef")
    assert peek.ahead(pipe[0], 4) == b"abcd"
    assert peek.ahead(pipe[0], 4) == b"abcd"
    peek.skip(pipe[0], 4)
    assert os.read(pipe[0], 9) == b"ef"


def test_it_never_waits(pipe: list[int]) -> None:
    assert peek.ahead(pipe[0], 4) is None
    os.write(pipe[1], b"abc")
    assert peek.ahead(pipe[0], 4) is None
    os.write(pipe[1], b"d")
    assert peek.ahead(pipe[0], 4) == b"abcd"


def test_the_end_is_seen(pipe: list[int]) -> None:
    os.write(pipe[1], b"abcde")
    os.close(pipe.pop())
    assert peek.ahead(pipe[0], 4) == b"abcd"
    peek.skip(pipe[0], 4)
    assert peek.ahead(pipe[0], 4) == b"e"
    peek.skip(pipe[0], 1)
    assert peek.ahead(pipe[0], 4) == b""
    peek.skip(pipe[0], 1)  # nothing is left, and nothing waits for it


def test_no_pipe_is_an_error() -> None:
    with open(__file__, "rb") as file, pytest.raises(OSError, match="cannot read the head"):
        peek.ahead(file.fileno(), 4)
