# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which snapshots must go so that a pool has room."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._host.process import Result
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.space import MinFree, fewest, to_give_up
from ansible_collections.cerss.zfs.tests.unit.printer import Printer


@pytest.mark.parametrize(
    ("text", "size", "expected"),
    [("5G", 10**6, 5 << 30), ("1000", 10**6, 1000), ("10%", 10**6, 10**5), (" 2.5 % ", 1000, 25), ("0%", 1000, 0)],
)
def test_min_free(text: str, size: int, expected: int) -> None:
    assert MinFree.parse(text, "min_free").of(size) == expected


@pytest.mark.parametrize("text", ["", "%", "100%", "-1%", "10%G", "much", "1e3", "\u0661%"])
def test_invalid_min_free(text: str) -> None:
    with pytest.raises(BadInput, match=r"min_free: .* is not a s(ize|hare)"):
        MinFree.parse(text, "min_free")


@given(st.integers(0, 50), st.integers(0, 60))
def test_fewest(most: int, first: int) -> None:
    asked: list[int] = []

    def enough(count: int) -> bool:
        asked.append(count)
        return count >= first

    found = fewest(enough, most)
    assert found == (first if first <= most else None)
    assert all(count <= most for count in asked)
    assert len(asked) <= 7


class Pools(Printer):
    """tank and data have 1000 bytes each. Destroying a snapshot frees 10 times its number."""

    def __init__(self, available: int, freeing: str = "freeing\t0\n") -> None:
        free, used = ("-", str(available)), ("-", str(1000 - available))
        super().__init__({pool: {"available": free, "used": used} for pool in ("tank", "data")})
        self.freeing = freeing

    def run(self, command: list[str], *_args: object, **_options: object) -> Result:
        self.commands.append(command)
        if command[1] == "get":
            return Result(command, 0, self.freeing, "")
        assert command[:3] == ["zfs", "destroy", "-nvp"]
        dataset, _at, parts = command[3].partition("@")
        told = "".join(f"destroy\t{dataset}@{part}\n" for part in parts.split(","))
        return Result(command, 0, f"{told}reclaim\t{sum(10 * int(part) for part in parts.split(','))}\n", "")


def snapshots(dataset: str, *numbers: int, **more: Any) -> list[Snapshot]:
    return [Snapshot(f"{dataset}@{number}", createtxg=number, clones=[], **more) for number in numbers]


SURE, OTHERS = snapshots("tank/a", 1, 2), [*snapshots("tank/b", 9, 5, 3), *snapshots("tank/a", 8, 4)]


@pytest.mark.parametrize(
    ("available", "expected"),
    [
        (500, []),
        (470, []),  # what goes anyway is enough
        (469, [3]),
        (440, [3]),
        (439, [3, 4]),
        (350, [3, 4, 5]),
        (349, [3, 4, 5, 8]),
        (180, [3, 4, 5, 8, 9]),
        (179, [3, 4, 5, 8, 9]),
    ],
)
def test_the_oldest_are_given_up_over_all_datasets_of_a_pool(available: int, expected: list[int]) -> None:
    backend = Pools(available)
    found, warnings = to_give_up(backend, MinFree.parse("50%", "min_free"), SURE, OTHERS)
    assert [snap.createtxg for snap in found] == expected
    assert len(warnings) == (available < 180)
    assert not warnings or warnings[0].startswith("the pool tank has less room than min_free asks for")
    asked = [command for command in backend.commands if command[1] == "destroy"]
    assert len(asked) == len({command[3] for command in asked}), "nothing is asked twice"


def test_what_zfs_is_freeing_counts() -> None:
    assert to_give_up(Pools(400, "freeing\t100\n"), MinFree(500), [], OTHERS) == ([], [])
    assert to_give_up(Pools(500, ""), MinFree(500), [], OTHERS) == ([], [])


def test_each_pool_has_its_own_room() -> None:
    others = [*snapshots("tank/a", 1, 2), *snapshots("data/a", 3, 4)]
    found, _warnings = to_give_up(Pools(480), MinFree(500), snapshots("data/b", 1), others)
    assert [snap.name for snap in found] == ["tank/a@1", "tank/a@2", "data/a@3"]


def test_a_deferred_deletion_makes_no_room() -> None:
    cloned = snapshots("tank/a", 9)
    cloned[0].clones = ["tank/c"]
    assert to_give_up(Pools(400), MinFree(500), [], cloned) == ([], [])
    backend = Pools(400)
    found, _warnings = to_give_up(backend, MinFree(500), cloned, snapshots("tank/b", 10))
    assert [snap.name for snap in found] == ["tank/b@10"]
    assert all("@9" not in command[-1] for command in backend.commands)


def test_a_pool_without_candidates_is_not_read() -> None:
    backend = Pools(0)
    assert to_give_up(backend, MinFree(500), SURE, []) == ([], [])
    assert backend.commands == []
