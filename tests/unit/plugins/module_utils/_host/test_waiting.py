# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._host.waiting import wait_for


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits, which take no time."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    monkeypatch.setattr(time, "monotonic", lambda: sum(waits))
    return waits


def test_the_first_good_answer_ends_it(slept: list[float]) -> None:
    answers = iter([1, 2, 3])
    assert wait_for(lambda: next(answers), lambda answer: answer == 2, interval=5, total=60) == 2
    assert slept == [5]


def test_the_last_look_is_when_the_time_is_up(slept: list[float]) -> None:
    looks: list[float] = []
    wait_for(lambda: looks.append(sum(slept)), lambda _: False, interval=4, total=10)
    assert slept == [4, 4, 2]
    assert looks == [0, 4, 8, 10]


def test_without_time_there_is_one_look(slept: list[float]) -> None:
    assert wait_for(lambda: "now", lambda _: False, interval=1, total=0) == "now"
    assert slept == []


def test_an_answer_that_is_there_is_not_asked_for(slept: list[float]) -> None:
    assert wait_for(lambda: pytest.fail("asked"), bool, interval=1, first="there") == "there"
    assert slept == []
