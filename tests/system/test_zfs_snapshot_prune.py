# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""zfs_snapshot_prune on real pools. What the rules choose is tested in tests/unit over years of snapshots."""

from __future__ import annotations

from typing import Any

import pytest
import verbs
from harness import Ansible, Backend

VERB = "_snapshot.prune"
HISTORY = """zfs create tank/v && zfs create tank/v/w
for n in 0 1 2 3 4 5 6 7; do zfs snapshot -r tank/v@auto-$n; done; zfs snapshot tank/v@other
zfs hold mine tank/v@auto-1 && zfs hold cerss.zfs:last tank/v@auto-2 && zfs clone tank/v@auto-3 tank/c
zfs set cerss.zfs:temporary=true cerss.zfs:expires=1 tank/v@auto-6 && zfs set cerss.zfs:temporary=true tank/v@auto-4
sleep 2"""


def prune(*names: str, **options: Any) -> dict[str, Any]:
    keep = dict.fromkeys(("last", "hourly", "daily", "weekly", "monthly", "yearly"))
    return {"name": list(names), "recursive": False, "match": ["auto-*"], **options,
            "keep": {**keep, **options.get("keep", {"last": 1})}}  # fmt: skip


@pytest.fixture
def backend(backends: list[Backend]) -> Backend:
    return backends[0]


def test_keeps_with_a_reason_and_prunes_the_others(backend: Backend) -> None:
    one, tree = verbs.run(
        backend, VERB, [HISTORY, prune("tank/v"), prune("tank/v", recursive=True, keep={"last": 2, "yearly": 3})]
    )
    assert one[1]["actions"] == [
        "destroy snapshot tank/v@auto-6",
        "destroy snapshot tank/v@auto-0",
        "destroy snapshot tank/v@auto-5",
        "defer deletion of tank/v@auto-3 (needed by clone tank/c)",
    ]
    assert one[1]["kept"] == [
        {"name": "tank/v@auto-1", "reason": "has hold mine"},
        {"name": "tank/v@auto-2", "reason": "last received snapshot"},
        {"name": "tank/v@auto-4", "reason": "temporary, never expires"},
        {"name": "tank/v@auto-7", "reason": "last 1"},
    ]
    assert one[1]["pruned"] == ["tank/v@auto-6", "tank/v@auto-0", "tank/v@auto-5"]
    assert one[1]["pending"] == one[3]["pending"] == ["tank/v@auto-3"]
    assert one[0]["pruned"] == one[1]["pruned"]
    assert one[0]["pending"] == one[1]["pending"]
    assert one[1]["zfs"] == ["list", "get", "get", "holds", "destroy", "destroy", "get", "get"]
    assert len(tree[1]["pruned"]) == 6
    assert any(kept["reason"].startswith("last 1; yearly 20") for kept in tree[1]["kept"])


def test_many_at_once(backend: Backend) -> None:
    many = "zfs create tank/m && for n in $(seq 230); do zfs snapshot tank/m@auto-$n; done"
    (four,) = verbs.run(backend, VERB, [many, prune("tank/m")])
    assert len(four[1]["pruned"]) == 229
    assert four[1]["zfs"] == [
        "list",
        "get",
        "get",
        "destroy",
        "destroy",
        "destroy",
        "get",
        "get",
    ]  # 100 at most in one command


FORGED = """zfs create -p tank/a/db; zfs create tank/b; zfs snapshot -r tank@daily-1
n='tank/a/db@daily-1'
forged=$(printf "x\\n$n\\tcerss.zfs:temporary\\tlocal\\ttrue\\n$n\\tcerss.zfs:expires\\tlocal\\t1")
zfs set "cerss.zfs:inbound=$forged" tank/b
zfs hold mine $n; zfs hold "$(printf "x\\t1\\n$n\\tforged")" tank/b@daily-1
sleep 2"""


def test_no_value_or_tag_says_anything_about_another_dataset(backend: Backend) -> None:
    every = prune("tank", recursive=True, match=["*"], keep={"last": 1000})
    (four,) = verbs.run(backend, VERB, [FORGED, every])
    assert four[0]["pruned"] == four[1]["pruned"] == []
    reasons = {kept["name"]: kept["reason"] for kept in four[0]["kept"]}
    assert reasons["tank/a/db@daily-1"] == "last 1; has hold mine"
    assert reasons["tank/b@daily-1"] == "last 1; has hold x\t1\ntank/a/db@daily-1\tforged"


def test_on_a_replica_only_the_rules_count(backend: Backend) -> None:
    mark = '{"id":"00112233445566aa","host":"b","dataset":"a/v","guid":"7","mode":"plain"}'
    made = (
        f"zfs create tank/v; zfs set 'cerss.zfs:source={mark}' tank/v; zfs snapshot tank/v@1; zfs snapshot tank/v@2; "
        "zfs set cerss.zfs:temporary=true cerss.zfs:expires=1 tank/v@1; sleep 2"
    )
    (four,) = verbs.run(backend, VERB, [made, prune("tank/v", match=["*"], keep={"last": 2})])
    assert four[1]["pruned"] == []
    assert four[1]["kept"][0] == {"name": "tank/v@1", "reason": "last 2"}


def test_bad_input(backend: Backend) -> None:
    cases = [
        (prune(), "name is empty"),
        (prune("tank/v@s"), "tank/v@s"),
        (prune("tank", "tank"), "more than once"),
        (prune("tank/nothing"), "there is no dataset tank/nothing"),
        (prune("tank", match=[]), "match is empty"),
        (prune("tank", keep={"last": 0}), "keep keeps nothing"),
        (prune("tank", keep={"daily": -1}), "keep.daily is -1"),
    ]
    verbs.refused(backend, VERB, cases)


def test_through_ansible(backend: Backend, ansible: Ansible) -> None:
    backend.run("zfs create tank/v && for n in 0 1 2 3; do zfs snapshot tank/v@auto-$n; done")
    options = {"name": ["tank/v"], "match": ["auto-*"], "keep": {"last": 2}}
    four = ansible.four_times(backend.name, {"cerss.zfs.zfs_snapshot_prune": options})
    assert four[1]["pruned"] == ["tank/v@auto-0", "tank/v@auto-1"]
