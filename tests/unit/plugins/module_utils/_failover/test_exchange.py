# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far an exchange of roles is, and what stops it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._failover.exchange import losses, pairs, renamed

NAME = "tank/f"


def item(id_: str, role: str, source: str, target: str, state: str = "active") -> dict[str, Any]:
    last = f"{target if role == 'replica' else source}@s1"
    hosts = {"source_host": "b" if role == "replica" else None, "target_host": "b" if role == "source" else None}
    return {
        **hosts, "id": id_, "role": role, "source_dataset": source, "target_dataset": target, "state": state,
        "last_replicated": last,
    }  # fmt: skip


def both(id_: str = "1", source: str = NAME, target: str = "backup/f", here: str = "active", there: str = "active"):  # type: ignore[no-untyped-def]
    return item(id_, "replica", source, target, here), item(id_, "source", source, target, there)


def turned(id_: str = "2", source: str = NAME, target: str = "backup/f"):  # type: ignore[no-untyped-def]
    """b is the source now: (on b, on a)."""
    return item(id_, "source", target, source), item(id_, "replica", target, source)


def states(here: Any, there: Any, **options: Any) -> list[tuple[str, str, str, str | None]]:
    found = pairs(here, NAME, there=there, **options)
    assert not found["problems"]
    return [(pair["source"], pair["target"], pair["state"], pair["id"]) for pair in found["pairs"]]


def test_each_step_of_the_exchange_shows() -> None:
    here, there = both()
    released = both(here="released")[0]
    new_here, new_there = turned()
    assert states([here], [there]) == [(NAME, "backup/f", "replicated", "1")]
    assert states([released], [there]) == [(NAME, "backup/f", "released", "1")]
    assert states([released, new_here], [there, new_there]) == [(NAME, "backup/f", "turning", "1")]
    assert states([new_here], [new_there]) == [(NAME, "backup/f", "turned", None)]
    (pair,) = pairs([here], NAME, there=[there])["pairs"]
    assert (pair["last"], pair["paused"]) == ("s1", False)
    assert pairs([here], NAME, there=[both(there="paused")[1]])["pairs"][0]["paused"]


def test_what_an_interrupted_end_leaves_is_found() -> None:
    """But not the record of a replica of the same name on another host."""
    new_here, new_there = turned()
    there = both()[1]
    assert states([new_here], [there, new_there]) == [(NAME, "backup/f", "turning", "1")]
    assert states([new_here], [{**there, "target_host": "c"}, new_there]) == [(NAME, "backup/f", "turned", None)]


def test_the_way_back_shows() -> None:
    """Whether the old relationship has been adopted again or not."""
    new_here, new_there = turned()
    new_there["state"] = "released"
    here, there = both("3")
    assert states([new_here], [new_there]) == [(NAME, "backup/f", "returning", None)]
    assert states([new_here, here], [new_there, there]) == [(NAME, "backup/f", "returning", "3")]


def test_without_the_source_the_mark_of_the_replica_counts() -> None:
    here, _there = both(source="tank/f")
    assert states([here], None) == [(NAME, "backup/f", "replicated", "1")]


def test_one_side_alone_is_no_relationship() -> None:
    here, there = both()
    assert "tank/f has no replica there, so nothing can take over" in pairs([here], NAME, there=[])["problems"][0]
    assert pairs([], NAME, there=[there])["problems"]
    assert pairs([turned()[0]], NAME, there=[])["problems"]


@pytest.mark.parametrize("state", ["put_aside", "unfinished"])
def test_what_a_reseed_leaves_does_not_take_over(state: str) -> None:
    here, there = both(here=state)
    assert pairs([here], NAME, there=[there])["problems"]


def test_the_tree_only_where_it_is_asked_for() -> None:
    inside, beside = both("3", "tank/f/in", "backup/f/in"), both("4", "tank/f2", "backup/f2")
    here, there = zip(both(), inside, beside)
    assert [each[0] for each in states(here, there)] == [NAME]
    assert [each[0] for each in states(here, there, recursive=True)] == [NAME, "tank/f/in"]
    found = pairs(here, NAME, there=there, recursive=True, datasets=[NAME, "tank/f/in", "tank/f/new"])
    assert found["problems"] == [
        "tank/f/new has no replica there and would be left behind; replicate what is missing first"
    ]
    assert not pairs(here, NAME, there=there, datasets=[NAME, "tank/f/new"])["problems"]


def test_several_replicas_are_told_apart_by_the_target() -> None:
    here, there = zip(both(), both("5", target="spare/f"))
    (problem,) = pairs(here, NAME, there=there)["problems"]
    assert "tank/f has several replicas there: backup/f and spare/f; name the one" in problem
    assert states(here, there, target="spare/f") == [(NAME, "spare/f", "replicated", "5")]
    assert "has no replica there that is other/f" in pairs(here, NAME, there=there, target="other/f")["problems"][0]


def test_a_circle_is_refused() -> None:
    here, there = both()
    new_here, new_there = turned(target="backup/other")
    (problem,) = pairs([here, new_here], NAME, there=[there, new_there])["problems"]
    assert problem.startswith("tank/f is the replica of backup/other, and backup/f is a replica of it; end one")


def test_targets_serve_as_their_sources_did() -> None:
    settings: list[dict[str, Any]] = [
        {"name": NAME, "readonly": "off", "canmount": None, "mountpoint": "/f", "mounted": True, "local": []}
    ]
    found = [{"source": NAME, "target": "backup/f"}, {"source": "tank/f/in", "target": "backup/f/in"}]
    one = {"name": "backup/f", "readonly": "off", "mountpoint": "/f", "mounted": True, "local": []}
    assert renamed(settings, found) == [one]
    assert renamed(settings, found, "/srv") == [{**one, "mountpoint": "/srv", "local": ["mountpoint"]}]
    assert renamed([], found) == []
    assert renamed([], found, "/srv") == [{"name": "backup/f", "mountpoint": "/srv", "local": ["mountpoint"]}]


def test_what_would_be_lost_is_listed() -> None:
    pair = {"source": NAME, "last": "s1"}
    nothing = {"snapshots": [], "bookmarks": ["tank/f#cerss.zfs_1_2"], "bytes": 0}
    all_ = {"snapshots": ["tank/f@x", "tank/f@y"], "bookmarks": ["tank/f#mine"], "bytes": 7}
    assert losses([pair, pair], [nothing, all_]) == [
        "tank/f has the snapshots tank/f@x, tank/f@y, the bookmarks tank/f#mine and 7 bytes written since after @s1"
    ]
