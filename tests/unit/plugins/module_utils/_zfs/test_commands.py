# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs


@given(st.lists(st.text("abü/@", min_size=1, max_size=30)), st.integers(1, 5), st.integers(40, 200))
def test_batches_keep_every_name_and_both_limits(names: list[str], most: int, max_bytes: int) -> None:
    batches = zfs.batches(names, most, max_bytes)
    assert [name for batch in batches for name in batch] == names
    for batch in batches:
        assert 0 < len(batch) <= most
        # A single name that is too long has a batch of its own.
        assert len(batch) == 1 or sum(len(name.encode()) + 3 for name in batch) <= max_bytes


def test_batches_are_as_few_as_possible() -> None:
    assert zfs.batches(["a@1", "a@2", "a@3"], most=2) == [["a@1", "a@2"], ["a@3"]]
    assert zfs.batches(["a@1"] * 10) == [["a@1"] * 10]
    assert zfs.batches([]) == []


@pytest.mark.parametrize(("depth", "reach"), [(0, []), (1, ["-d", "1"]), (None, ["-r"])])
def test_depth(depth: int | None, reach: list[str]) -> None:
    assert zfs.list_(["tank"], "snapshot", ["name"], depth) == [
        *("zfs", "list", "-Hp", *reach, "-t", "snapshot", "-o", "name", "-s", "createtxg", "tank")
    ]


def test_a_volume_is_created_with_its_size_and_a_filesystem_unmounted() -> None:
    assert zfs.create("tank/v", {"compression": "on"}, size=5) == [
        *("zfs", "create", "-V", "5", "-o", "compression=on", "tank/v")
    ]
    assert zfs.create("tank/f", {}, parents=True) == ["zfs", "create", "-p", "-u", "tank/f"]


def test_only_filesystems_are_renamed_without_a_remount() -> None:
    assert "-u" in zfs.rename("tank/a", "tank/b", "filesystem")
    assert "-u" not in zfs.rename("tank/a", "tank/b", "volume")
    assert "-u" not in zfs.rename("tank/a", "tank/b", "filesystem", remount=True)


def test_a_send_has_one_base_and_one_kind_of_stream() -> None:
    assert zfs.send("a@2", None, intermediates=True, raw=False) == ["zfs", "send", "-vP", "-L", "-c", "a@2"]
    assert zfs.send("a@3", "a@1", intermediates=True, raw=True) == ["zfs", "send", "-vP", "-w", "-I", "a@1", "a@3"]
    assert zfs.send("a@3", "a#1", intermediates=False, raw=False, estimate=True) == [
        *("zfs", "send", "-nvP", "-L", "-c", "-i", "a#1", "a@3")
    ]


def test_a_receive_is_resumable_unmounted_and_not_forced() -> None:
    assert zfs.receive("b/v", {"readonly": "on"}, "b/o@1") == [
        *("zfs", "receive", "-s", "-u", "-o", "origin=b/o@1", "-o", "readonly=on", "b/v")
    ]


def test_snapshots_of_one_dataset_are_destroyed_together() -> None:
    assert zfs.destroy_snapshots("tank/v", ["a", "b"], defer=False) == ["zfs", "destroy", "tank/v@a,b"]
    assert zfs.destroy_snapshots("tank/v", ["a"], defer=True) == ["zfs", "destroy", "-d", "tank/v@a"]
    assert zfs.reclaimed("tank/v", ["a", "b"]) == ["zfs", "destroy", "-nvp", "tank/v@a,b"]


def test_without_permissions_all_are_removed() -> None:
    assert zfs.unallow(["-u", "u"], [], "tank", "-l") == ["zfs", "unallow", "-l", "-u", "u", "tank"]
    assert zfs.unallow(["-u", "u"], ["send", "hold"], "tank") == ["zfs", "unallow", "-u", "u", "send,hold", "tank"]
