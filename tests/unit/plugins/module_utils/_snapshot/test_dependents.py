# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Closures over random families of clones, destroyed by the rules that ZFS has (zfs-destroy(8))."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import ReplicaRecord, ReplicaRecords, SourceMark
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Bookmark, Dataset, Hold, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import listing
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.dependents import blockers, closure_of

ID, POOL = "00112233445566aa", "0123456789abcdef"
RECORDS = ReplicaRecords((ReplicaRecord(ID, "b:backup/c", "7", "plain"),))

Pool = dict[str, Dataset]


def pool(*entries: tuple[str, str | None, list[str]]) -> Pool:
    """From (name, origin, parts after the @)."""
    return {
        name: Dataset(name, origin=origin, snapshots=[Snapshot(f"{name}@{part}") for part in parts])
        for name, origin, parts in entries
    }


@st.composite
def pools(draw: st.DrawFn) -> Pool:
    """Datasets and clones at any depth; some are renamed afterwards: only that can put a clone above its origin."""
    found: Pool = {"tank": Dataset("tank")}
    for number in range(draw(st.integers(1, 12))):
        parent = draw(st.sampled_from(sorted(found)))
        snapshots = [snapshot.name for dataset in found.values() for snapshot in dataset.snapshots]
        origin = draw(st.none() | st.sampled_from(snapshots)) if snapshots else None
        name = f"{parent}/{number}"
        found[name] = Dataset(
            name,
            origin=origin,
            snapshots=[Snapshot(f"{name}@{part}") for part in draw(st.sets(st.sampled_from("abc")))],
        )
    for _clone in range(draw(st.integers(0, 2))):
        old = draw(st.sampled_from(sorted(found)))
        new_parent = draw(st.sampled_from(sorted(found)))
        if old != "tank" and not (new_parent + "/").startswith(old + "/"):
            found = renamed(found, old, f"{new_parent}/{old.rpartition('/')[2]}")
    return found


def renamed(found: Pool, old: str, new: str) -> Pool:
    if new in found:
        return found

    def moved(name: str) -> str:
        inside = name == old or name.startswith((old + "/", old + "@"))
        return new + name[len(old) :] if inside else name

    return {
        moved(name): Dataset(
            moved(name),
            origin=moved(dataset.origin) if dataset.origin else None,
            snapshots=[Snapshot(moved(snapshot.name)) for snapshot in dataset.snapshots],
        )
        for name, dataset in found.items()
    }


def destroy(found: Pool, name: str) -> None:
    """As ``zfs destroy`` without -r or -R would, its snapshots first."""
    dataset = found[name]
    for snapshot in dataset.snapshots:
        clones = [other.name for other in found.values() if other.origin == snapshot.name]
        assert not clones, f"cannot destroy {snapshot.name}: snapshot has dependent clones {clones}"
    children = [other for other in found if other.startswith(name + "/")]
    assert not children, f"cannot destroy {name}: filesystem has children {children}"
    del found[name]


def destroy_all(found: Pool, names: list[str]) -> None:
    for name in names:
        destroy(found, name)


@given(pools(), st.data())
def test_closure_can_be_destroyed_in_its_order_and_is_just_the_clones(found: Pool, data: st.DataObject) -> None:
    snapshots = [snapshot.name for dataset in found.values() for snapshot in dataset.snapshots]
    requested = data.draw(st.sets(st.sampled_from(snapshots)) if snapshots else st.just(set()))
    result = closure_of(found, requested)
    names = [clone.name for clone in result.datasets]
    assert len(names) == len(set(names))

    # Nothing but clones of the requested snapshots or of each other, and all of these.
    reach = set(requested) | {snapshot.name for clone in result.datasets for snapshot in clone.snapshots}
    assert set(names) == {dataset.name for dataset in found.values() if dataset.origin in reach}

    if result.obstacles():
        with pytest.raises(AssertionError, match="cannot destroy"):
            destroy_all(found, names)
        return
    destroy_all(found, names)
    assert not [dataset.name for dataset in found.values() if dataset.origin in requested]


@given(pools(), st.data())
def test_a_tree_goes_with_all_that_depends_on_it(found: Pool, data: st.DataObject) -> None:
    root = data.draw(st.sampled_from(sorted(found)))
    named = [name for name in found if name == root or name.startswith(f"{root}/")]
    result = closure_of(found, (), named)
    names = [dataset.name for dataset in result.datasets]
    assert len(names) == len(set(names))
    assert result.named == set(named) <= set(names)
    reach = {snapshot.name for dataset in result.datasets for snapshot in dataset.snapshots}
    assert set(names) - set(named) == {
        dataset.name for dataset in found.values() if dataset.origin in reach and dataset.name not in named
    }
    if result.obstacles():
        with pytest.raises(AssertionError, match="cannot destroy"):
            destroy_all(found, names)
        return
    destroy_all(found, names)
    assert names[-1] == root


def test_chain_goes_from_its_end() -> None:
    length = 3000
    chain = pool(*((f"tank/{n}", f"tank/{n - 1}@s" if n else None, ["s"]) for n in range(length)))
    result = closure_of(chain, ["tank/0@s"])
    assert [clone.name for clone in result.datasets] == [f"tank/{n}" for n in reversed(range(1, length))]
    assert not result.obstacles()


def test_clones_across_the_tree_and_a_child_that_is_none() -> None:
    found = pool(
        ("tank/v", None, ["s"]),
        ("tank/a", "tank/v@s", ["x"]),
        ("tank/b/deep", "tank/a@x", []),
        ("tank/a/own", None, []),
    )
    result = closure_of(found, ["tank/v@s"])
    assert [clone.name for clone in result.datasets] == ["tank/b/deep", "tank/a"]
    assert result.obstacles() == {"tank/a": ["tank/a/own below it is not a clone that the cascade deletes"]}


def test_clone_above_its_origin_is_a_circle() -> None:
    found = pool(("tank/v", None, ["s"]), ("tank/c", "tank/c/o@x", []), ("tank/c/o", "tank/v@s", ["x"]))
    result = closure_of(found, ["tank/v@s"])
    assert {clone.name for clone in result.datasets} == {"tank/c", "tank/c/o"}
    assert any("above it depends on it" in reason for reasons in result.obstacles().values() for reason in reasons)


@pytest.mark.parametrize(
    ("ours", "bookmarks", "reasons"),
    [
        ({ReplicaRecords.name(POOL): RECORDS.format()}, [], [f"it is the source of relationship {ID}"]),
        (
            {ReplicaRecords.name(POOL): "{}"}, [],
            [f"it is the source of replications to the pool {POOL} with a spoilt record"],
        ),
        ({SourceMark.NAME: "{}"}, [], ["it is a replica"]),
        (
            {}, [f"cerss.zfs_{ID}_1f", "mine", f"cerss.zfs_{POOL}_1f", f"cerss.zfs_{ID}_20"],
            [f"relationship {ID} needs tank/c#cerss.zfs_{ID}_1f and tank/c#cerss.zfs_{ID}_20",
             f"relationship {POOL} needs tank/c#cerss.zfs_{POOL}_1f"],
        ),
    ],
)  # fmt: skip
def test_relationship_is_an_obstacle(ours: dict[str, str], bookmarks: list[str], reasons: list[str]) -> None:
    found = pool(("tank/v", None, ["s"]), ("tank/c", "tank/v@s", []))
    found["tank/c"].ours = ours
    found["tank/c"].bookmarks = [Bookmark(f"tank/c#{bookmark}", "31", 5) for bookmark in bookmarks]
    assert closure_of(found, ["tank/v@s"]).obstacles()["tank/c"] == reasons


@pytest.mark.parametrize(
    ("flags", "named", "reasons"),
    [
        ("", True, ["it is a replica"]),
        (',"beside":true', True, ["it is a replica"]),
        (',"released":true', True, []),
        (',"put_aside":true', True, []),
        (',"released":true', False, ["it is a replica"]),
    ],
)
def test_a_replica_that_is_none_any_more_goes_if_it_is_named(flags: str, named: bool, reasons: list[str]) -> None:
    found = pool(("tank/v", None, ["s"]), ("tank/c", "tank/v@s", []))
    found["tank/c"].ours = {
        SourceMark.NAME: f'{{"id":"{ID}","host":"h","dataset":"tank/x","guid":"1","mode":"plain"{flags}}}'
    }
    obstacles = closure_of(found, ["tank/v@s"], ["tank/c"] if named else []).obstacles()
    assert obstacles.get("tank/c", []) == reasons


def test_blockers_name_clones_holds_and_receives() -> None:
    snapshot = Snapshot("tank/v@s", clones=["tank/c", "tank/v/%recv"], holds=[Hold("keep")], userrefs=1)
    assert blockers(snapshot) == ["clone tank/c", "the receive into tank/v", "hold keep"]
    assert listing(blockers(snapshot)) == "clone tank/c, the receive into tank/v and hold keep"
    assert listing(["a"]) == "a"
    assert listing([]) == ""
