# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""zfs_snapshot_prune on real pools. What the rules choose is tested in tests/unit over years of snapshots."""

from __future__ import annotations

import json
from typing import Any

import pytest
import verbs
from harness import CLONE, Ansible, Backend
from test_replicate import once, target
from yaml import safe_load

VERB = "_snapshot.prune"
HISTORY = """zfs create tank/v && zfs create tank/v/w
for n in 0 1 2 3 4 5 6 7; do zfs snapshot -r tank/v@auto-$n; done; zfs snapshot tank/v@other
zfs hold mine tank/v@auto-1 && zfs hold cerss.zfs:last tank/v@auto-2 && zfs clone tank/v@auto-3 tank/c
zfs set cerss.zfs:temporary=true cerss.zfs:expires=1 tank/v@auto-6 && zfs set cerss.zfs:temporary=true tank/v@auto-4
sleep 2"""


def prune(*names: str, **options: Any) -> dict[str, Any]:
    keep = dict.fromkeys(("last", "hourly", "daily", "weekly", "monthly", "yearly"))
    return {"name": list(names), "recursive": False, "match": ["auto-*"], "unreplicated": "keep", **options,
            "keep": {**keep, **given} if (given := options.get("keep", {"last": 1})) else None}  # fmt: skip


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
        {"name": "tank/v@auto-1", "reasons": ["has hold mine"]},
        {"name": "tank/v@auto-2", "reasons": ["last received snapshot"]},
        {"name": "tank/v@auto-4", "reasons": ["temporary, never expires"]},
        {"name": "tank/v@auto-7", "reasons": ["last 1"]},
    ]
    assert one[1]["pruned"] == ["tank/v@auto-6", "tank/v@auto-0", "tank/v@auto-5"]
    assert one[1]["pending"] == one[3]["pending"] == ["tank/v@auto-3"]
    assert one[0]["pruned"] == one[1]["pruned"]
    assert one[0]["pending"] == one[1]["pending"]
    assert one[1]["zfs"] == ["list", "get", "get", "get", "holds", "destroy", "destroy", "get"]
    assert len(tree[1]["pruned"]) == 6
    assert any(kept["reasons"][1:] and kept["reasons"][1].startswith("yearly 20") for kept in tree[1]["kept"])


def test_the_playbook(backend: Backend, ansible: Ansible) -> None:
    """As a survey calls it, most fields left blank."""
    backend.run(
        "zfs create tank/v; for n in 1 2 3 4 5; do zfs snapshot tank/v@auto-$n; done; zfs clone tank/v@auto-1 tank/c"
    )
    blank = dict.fromkeys(safe_load((CLONE / "roles/zfs_prune/defaults/main.yml").read_text()), "")
    survey = {**blank, "prune_hosts": backend.name, "zfs_prune_name": "tank/v, tank/c\n", "zfs_prune_keep_last": "2",
              "zfs_prune_match": ["re:auto-\\d{1,2}"]}  # fmt: skip
    for more, told in (
        (["--check"], "tank/v: prune 2 (@auto-2, @auto-3), keep 2, 1 pending deletion"),
        ([], "tank/v: prune 2 (@auto-2, @auto-3), keep 2, 1 pending deletion"),
        (["--check"], "tank/v: prune 0, keep 2, 1 pending deletion"),
        ([], "tank/v: prune 0, keep 2, 1 pending deletion"),
    ):
        done = ansible.playbook("prune", *more, **survey)
        assert (done.returncode, told in done.stdout) == (0, True), done.stdout
    assert "changed=0" in done.stdout
    done = ansible.playbook("prune", **{**survey, "zfs_prune_keep_last": ""})
    assert done.returncode == 2
    assert "expired_only" in done.stdout


def test_many_at_once(backend: Backend) -> None:
    many = "zfs create tank/m && for n in $(seq 230); do zfs snapshot tank/m@auto-$n; done"
    (four,) = verbs.run(backend, VERB, [many, prune("tank/m")])
    assert len(four[1]["pruned"]) == 229
    assert four[1]["zfs"] == ["list", *["get"] * 3, *["destroy"] * 3, "get"]  # 100 at most in one command


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
    reasons = {kept["name"]: kept["reasons"] for kept in four[0]["kept"]}
    assert reasons["tank/a/db@daily-1"] == ["last 1", "has hold mine"]
    assert reasons["tank/b@daily-1"] == ["last 1", "has hold x\t1\ntank/a/db@daily-1\tforged"]


def test_on_a_replica_only_the_rules_count(backend: Backend) -> None:
    mark = '{"id":"00112233445566aa","host":"b","dataset":"a/v","guid":"7","mode":"plain"}'
    made = (
        f"zfs create tank/v; zfs set 'cerss.zfs:source={mark}' tank/v; zfs snapshot tank/v@1; zfs snapshot tank/v@2; "
        "zfs set cerss.zfs:temporary=true cerss.zfs:expires=1 tank/v@1; sleep 2"
    )
    (four,) = verbs.run(backend, VERB, [made, prune("tank/v", match=["*"], keep={"last": 2})])
    assert four[1]["pruned"] == []
    assert four[1]["kept"][0] == {"name": "tank/v@1", "reasons": ["last 2"]}
    (four,) = verbs.run(backend, VERB, [prune("tank/v", match=["1", "2"], keep=None, older_than="1s")])
    assert four[1]["pruned"] == ["tank/v@1"]
    assert four[1]["kept"] == [{"name": "tank/v@2", "reasons": ["newest snapshot of a replica"]}]


def test_rules_by_age_and_lifetimes(backend: Backend) -> None:
    made = """zfs create tank/v; zfs create tank/v/w; zfs create tank/v/out; for n in 0 1 2; do
zfs snapshot -r tank/v@auto-$n; done; sleep 3; zfs snapshot tank/v@auto-3; zfs set cerss.zfs:expires=1 tank/v@auto-3
zfs set cerss.zfs:expires=1h tank/v@auto-0; zfs set cerss.zfs:expires=3600 tank/v@auto-1
zfs set org.example:keep=yes tank/v; zfs set org.example:keep=no tank/v/w; sleep 2"""
    tree = {"keep": None, "name": None, "select": {"property": "org.example:keep", "value": "yes"}}
    expired, young, within, gone = verbs.run(
        backend,
        VERB,
        [
            made,
            prune(**tree, match=None, expired_only=True),
            prune(**tree, older_than="1h"),
            prune(**tree, exclude=["*/out"], within={"daily": "2d", "yearly": "1s"}),
            prune("tank/v", recursive=True, exclude=["re:tank/v/.*"], keep=None, older_than="1s"),
        ],
    )
    assert expired[1]["pruned"] == ["tank/v@auto-3"]
    assert {tuple(kept["reasons"]) for kept in expired[1]["kept"]} == {("not expired",)}
    assert {kept["name"].partition("@")[0] for kept in expired[1]["kept"]} == {"tank/v", "tank/v/out"}
    assert {tuple(kept["reasons"]) for kept in young[1]["kept"]} == {("younger than 1h",)}
    assert within[1]["pruned"] == ["tank/v@auto-0", "tank/v@auto-1"]
    assert within[1]["kept"][0]["reasons"][0].endswith("within 2d")
    assert gone[1]["pruned"] == ["tank/v@auto-2"]
    assert "tank/v/w@auto-0" in backend.dump()


# -- what replicas lack ----------------------------------------------------------------------------------------------

NIGHTLY: dict[str, Any] = {"name": ["tank/vol"], "job": "nightly", "include_snapshots": ["n*"], "target": target()}


@pytest.fixture
def away(backends: list[Backend]) -> list[Backend]:
    """backup/vol has n1 and then the pool is gone. tank/vol has n1 to n4, and hourly ones, of a MiB each."""
    one, two = backends[:2]
    one.run("zfs create -o compression=off tank/vol")

    def take(*names: str) -> None:
        for name in names:
            one.run(f"head -c 1M /dev/urandom > /tank/vol/f; zfs snapshot tank/vol@{name}")

    take("h1", "n1")
    assert not once(one, **NIGHTLY).get("failed")
    take("n2", "h2", "n3", "h3", "n4", "h4")
    two.run("zpool export backup")
    return backends


def lost(answer: dict[str, Any]) -> list[str]:
    assert {each["target"] for each in answer["given_up"]} <= {"backend-b:backup/vol"}
    return [each["name"].partition("@")[2] for each in answer["given_up"]]


def test_what_a_replica_lacks_waits_until_the_replica_is_back(away: list[Backend], ansible: Ansible) -> None:
    one, two = away[:2]
    task = {"cerss.zfs.zfs_snapshot_prune": {"name": ["tank/vol"], "match": ["*"], "keep": {"last": 1}}}
    four = ansible.four_times("backend-a", task)
    assert [name.partition("@")[2] for name in four[1]["pruned"]] == ["h1", "n1", "h2", "h3"]
    reasons = {kept["name"]: kept["reasons"] for kept in four[1]["kept"]}
    assert reasons.keys() == {f"tank/vol@{name}" for name in ("n2", "n3", "n4", "h4")}
    (reason,) = reasons["tank/vol@n2"]
    assert reason.startswith("not yet sent to backend-b:backup/vol (relationship ")
    assert four[1]["given_up"] == []
    assert once(one, **NIGHTLY)["failed"]  # the replica is still away
    two.run("zpool import backup")
    assert not once(one, **NIGHTLY).get("failed")
    assert {name for name in two.dump() if "vol@" in name} == {f"backup/vol@n{number}" for number in (1, 2, 3, 4)}
    four = ansible.four_times("backend-a", task)
    assert [name.partition("@")[2] for name in four[1]["pruned"]] == ["n2", "n3", "n4"]
    one.zfs("snapshot", "tank/vol@n5")
    answer = once(one, **NIGHTLY)
    assert not answer.get("failed")
    assert answer["replicas"][0]["base"].startswith("tank/vol#cerss.zfs_")


def test_what_is_given_up_for_a_replica_that_stays_away(away: list[Backend]) -> None:
    """The replica gets the rest when it is back."""
    one, two = away[:2]
    room = int(one.run("zfs get -Hp -o value available tank").stdout)
    some, limit, ignore = verbs.run(
        one,
        VERB,
        [
            # h1, n1, h2 and h3 go anyway and make room for four MiB; n2 makes it for one more.
            prune("tank/vol", match=["*"], min_free=str(room + 4_700_000)),
            "sleep 2",
            prune("tank/vol", match=["n3"], keep={"last": 0}, older_than="1s", unreplicated_limit="1s"),
            prune("tank/vol", match=["h*"], unreplicated="ignore"),
        ],
    )
    assert lost(some[1]) == ["n2"]
    assert some[1]["zfs"].count("destroy") < 12
    assert some[1]["warnings"] == [
        "backend-b:backup/vol will never get tank/vol@n2, which is given up although it was not sent yet"
    ]
    assert lost(limit[1]) == ["n3"]
    assert ignore[1]["given_up"] == []
    two.run("zpool import backup")
    assert not once(one, **NIGHTLY).get("failed")
    assert {name for name in two.dump() if "vol@" in name} == {"backup/vol@n1", "backup/vol@n4"}


def test_records_as_they_may_be(away: list[Backend]) -> None:
    """Paused, without a commit point, begun without filters, unreadable; and what has expired."""
    one = away[0]
    dump = one.dump()["tank/vol"]["properties"]
    (record,) = (name for name in dump if name.startswith("cerss.zfs:replica."))
    at = record.replace("replica", "at")
    (entry,) = json.loads(dump[record][1])
    assert entry["filters"] == [{"job": "nightly", "include": ["n*"]}]

    def set_(**changes: Any) -> str:
        text = json.dumps([{key: value for key, value in {**entry, **changes}.items() if value is not None}])
        return f"zfs set '{record}={text}' tank/vol"

    cases = [
        set_(paused=True),
        set_(filters=None),
        f"{set_()}; zfs inherit {at} tank/vol",
        f"zfs set '{record}=odd' tank/vol; zfs set cerss.zfs:expires=0 tank/vol@n3",
    ]
    answers = [
        verbs.run(one, VERB, [case, prune("tank/vol", match=["*"])], look=False, passes=0)[0][0] for case in cases
    ]
    kept = [{each["name"].partition("@")[2] for each in answer["kept"]} for answer in answers]
    everything = {"h1", "n1", "n2", "h2", "n3", "h3", "n4", "h4"}
    assert kept == [{"n2", "n3", "n4", "h4"}, everything - {"h1", "n1"}, everything - {"h1", "h2", "h3"},
                    everything - {"n3"}]  # fmt: skip
    assert answers[3]["given_up"] == [{"name": "tank/vol@n3", "relationship": None, "target": None}]
    one.run(f"{set_()}; zfs destroy $(zfs list -H -t bookmark -o name tank/vol); zfs set '{at}={dump[at][1]}' tank/vol")
    (answer,) = verbs.run(
        one, VERB, [prune("tank/vol", match=["n1"], keep={"last": 0}, older_than="1s")], look=False, passes=0
    )[0]
    assert answer["kept"][0]["reasons"][0].startswith("base of the next increment to backend-b:backup/vol")


def test_bad_input(backend: Backend) -> None:
    cases = [
        (prune(name=None), "name is missing"),
        (prune("tank/v@s"), "tank/v@s"),
        (prune("tank", "tank"), "more than once"),
        (prune("tank/nothing"), "there is no dataset tank/nothing"),
        (prune("tank", match=None), "match is missing"),
        (prune("tank", match=["re:("]), "is not a regular expression"),
        (prune("tank", keep={"last": 0}), "these rules keep nothing"),
        (prune("tank", keep={"daily": -1}), "keep.daily is -1"),
        (prune("tank", min_free="much"), "min_free: 'much' is not a size"),
    ]
    verbs.refused(backend, VERB, cases)


def test_through_ansible(backend: Backend, ansible: Ansible) -> None:
    backend.run("zfs create tank/v && for n in 0 1 2 3; do zfs snapshot tank/v@auto-$n; done")
    options = {"name": ["tank/v"], "match": ["auto-*"], "keep": {"last": 2}}
    four = ansible.four_times(backend.name, {"cerss.zfs.zfs_snapshot_prune": options})
    assert four[1]["pruned"] == ["tank/v@auto-0", "tank/v@auto-1"]
