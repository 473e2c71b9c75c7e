# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""zfs_snapshot_info on real pools."""

from __future__ import annotations

import json
from typing import Any

import pytest
import verbs
from harness import Ansible, Backend

from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import ReplicaRecord, ReplicaRecords, SourceMark

VERB = "_snapshot.info"
OPTIONS: dict[str, Any] = {
    "name": None, "recursive": False, "exclude": [], "select": None, "states": None, "match": None, "detail": "state",
    "properties": None, "newest": None, "limit": None, "output_file": None,
}  # fmt: skip
NIGHTLY = {"property": "org.example:backup", "value": "nightly"}
ID = "00112233445566aa"


def read(*names: str, **options: Any) -> dict[str, Any]:
    """All options of the module."""
    return {**OPTIONS, "name": list(names) or None, **options}


def ask(backend: Backend, *cases: dict[str, Any]) -> list[dict[str, Any]]:
    return [results[0] for results in verbs.run(backend, VERB, cases, look=False, passes=1)]


def by_name(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {snapshot["name"]: snapshot for snapshot in result["snapshots"]}


@pytest.fixture
def backend(backends: list[Backend]) -> Backend:
    return backends[0]


def test_every_key_and_every_choice(backend: Backend) -> None:
    backend.run(
        "zfs create tank/v && zfs create tank/v/w && zfs create 'tank/v w' && zfs snapshot tank/v@a"
        " && echo data > /tank/v/f && zfs snapshot -r -o org:x=1 tank/v@b && zfs snapshot tank/v@c"
        " && zfs snapshot 'tank/v w@d'"
        " && zfs clone tank/v@a tank/c1 && zfs clone tank/v@a tank/c2 && zfs snapshot tank/c1@first"
        " && zfs hold keep tank/v@b"
        " && zfs destroy -d tank/v@b && zfs promote tank/c2 && zfs set org:y=inherited tank/v"
        " && zfs set cerss.zfs:temporary=true tank/v@c && zfs set cerss.zfs:expires=3600 tank/v@c"
    )
    before = backend.dump()
    volume, tree, single, states, matched, names, full, limited, everything, spaced = ask(
        backend,
        read("tank/v"),
        read("tank/v@b", recursive=True),
        read("tank/v@b", "tank/v@none", "tank/none@s"),
        read(states=["pending_delete"]),
        read("tank/v", "tank/c1", match=["[bf]*"], properties=["org:x", "type"]),
        read("tank/v", "tank/v@none", detail="names"),
        read("tank/v", detail="full"),
        read(limit=0),
        read(),
        read("tank/v w"),
    )
    found = by_name(volume)
    assert list(found) == ["tank/v@b", "tank/v@c"]  # the promoted clone owns the first one now
    b, c = found.values()
    assert (b["state"], b["deletable"], c["state"], c["deletable"]) == ("pending_delete", False, "full", True)
    assert [hold["tag"] for hold in b["dependents"]["holds"]] == ["keep"]
    assert b["depends_on"]["snapshot"] == "tank/c2@a"
    assert b["depends_on"]["kind"] == "origin"
    assert b["depends_on"]["guid"] == before["tank/c2@a"]["guid"]
    assert c["depends_on"] == {"snapshot": "tank/v@b", "guid": b["guid"], "kind": "prior"}
    assert (c["temporary"], b["temporary"], c["properties"]) == (True, False, None)
    assert c["expires"] is not None
    assert b["written_bytes"] > 0
    for name, snapshot in found.items():
        assert str(snapshot["createtxg"]) == before[name]["createtxg"]
        assert snapshot["guid"] == before[name]["guid"]
        assert len(snapshot) == 18
    assert list(by_name(tree)) == ["tank/v@b", "tank/v/w@b"]
    assert [snapshot["state"] for snapshot in single["snapshots"]] == ["pending_delete", "absent", "absent"]
    assert list(by_name(states)) == ["tank/v@b"]
    assert states["counts"]["full"] == 5
    assert {name: snapshot["properties"] for name, snapshot in by_name(matched).items()} == {
        "tank/c1@first": {"type": "snapshot"},
        "tank/v@b": {"type": "snapshot", "org:x": "1"},
    }
    assert [set(snapshot) for snapshot in names["snapshots"]] == [{"name", "guid", "createtxg", "state"}] * 3
    assert names["snapshots"][-1]["state"] == "absent"
    assert by_name(full)["tank/v@b"]["properties"] == {"org:x": "1"}
    assert limited["snapshots"] == []
    assert limited["counts"]["total"] == len(everything["snapshots"]) == 6
    assert by_name(everything)["tank/c2@a"]["dependents"]["clones"] == ["tank/c1", "tank/v"]
    assert list(by_name(spaced)) == ["tank/v w@d"]
    assert names["zfs"] == ["list"]
    assert single["zfs"] == volume["zfs"] == ["list", "get", "get", "holds"]
    assert full["zfs"] == ["list", "get", "get", "get", "holds"]
    assert spaced["zfs"] == ["list", "get", "get"]
    verbs.refused(backend, VERB, [(read("tank/none", "tank/v"), "there is no dataset tank/none")])
    assert backend.dump() == before


def test_the_newest_and_the_chosen(backend: Backend) -> None:
    backend.run(
        "zfs create tank/v && zfs create tank/v/w && zfs create tank/x && zfs create backup/y && zfs create tank/empty"
        " && zfs set org.example:backup=nightly tank/v backup/y && zfs set org.example:backup=none tank/v/w"
        " && for n in 1 2 3; do zfs snapshot -r tank@daily-$n && zfs snapshot tank/x@weekly-$n; done"
        " && sleep 1.1 && zfs snapshot backup/y@daily-4 && zfs snapshot tank/v@last"
    )
    before = backend.dump()
    newest, few, matched, limited, names, selected, named, missing, nothing = ask(
        backend,
        read("tank", recursive=True, newest=1),
        read("tank", recursive=True, newest=2, match=["re:(daily|hourly)-[0-9]"], exclude=["tank/v"]),
        read("tank/x", match=["re:w.*[12]"]),
        read(limit=3),
        read(limit=3, detail="names"),
        read(select=NIGHTLY, newest=1),
        read("tank@daily-2", select=NIGHTLY, detail="names"),
        read("tank/none", "tank/x", newest=1),
        read(name=[]),
    )
    assert list(by_name(newest)) == [
        "tank@daily-3", "tank/empty@daily-3", "tank/v@last", "tank/v/w@daily-3", "tank/x@weekly-3",
    ]  # fmt: skip
    assert newest["counts"]["total"] == 5
    assert by_name(newest)["tank/x@weekly-3"]["depends_on"]["snapshot"] == "tank/x@daily-3"
    assert list(by_name(few)) == [
        f"{name}@daily-{number}" for name in ("tank", "tank/empty", "tank/x") for number in (2, 3)
    ]
    assert list(by_name(matched)) == ["tank/x@weekly-1", "tank/x@weekly-2"]
    order = ["tank/v@last", "backup/y@daily-4"]
    assert list(by_name(limited))[:2] in (order, order[::-1])  # perhaps in the same second
    assert list(by_name(limited))[2] == "tank/x@weekly-3"
    assert list(by_name(names)) == list(by_name(limited))
    assert limited["counts"]["total"] == sum("@" in name for name in before)
    assert list(by_name(selected)) == ["backup/y@daily-4", "tank/v@last"]
    assert list(by_name(named)) == ["tank/v@daily-2"]
    assert list(by_name(missing)) == ["tank/x@weekly-3"]
    assert "there is no dataset tank/none" in missing["msg"]
    assert nothing["snapshots"] == []
    assert newest["zfs"] == few["zfs"] == limited["zfs"] == missing["zfs"] == ["list", "get", "get"]
    assert (names["zfs"], named["zfs"], nothing["zfs"]) == (["list", "get"], ["list", "get"], [])
    assert selected["zfs"] == ["list", "get", "get", "get"]
    assert backend.dump() == before


RECORDS = ReplicaRecords((ReplicaRecord(ID, "b1:backup/v", "1", "plain"),))
MARK = SourceMark(ID[::-1], "b0", "tank/first", "1", "plain")


def test_marks_of_relationships(backend: Backend) -> None:
    backend.run(
        "zfs create tank/v && for n in a b c; do zfs snapshot tank/v@$n; done"
        f" && zfs set 'cerss.zfs:replica.00000000000000ff={RECORDS.format()}' tank/v"
        f" && zfs set 'cerss.zfs:source={MARK.format()}' tank/v"
        f" && zfs hold cerss.zfs:step:{ID} tank/v@a tank/v@b && zfs hold cerss.zfs:last tank/v@c"
        f" && zfs bookmark tank/v@a tank/v#cerss.zfs_{ID}_$(printf %x $(zfs get -Hp -o value guid tank/v@a))"
    )
    (result,) = ask(backend, read("tank/v"))
    roles = [snapshot["dependents"]["replications"] for snapshot in result["snapshots"]]
    assert roles == [
        [{"id": ID, "target": "b1:backup/v", "role": "base"}],
        [{"id": ID, "target": "b1:backup/v", "role": "in_transit"}],
        [{"id": ID[::-1], "target": "tank/v", "role": "last_received"}],
    ]
    assert all(hold["ours"] for snapshot in result["snapshots"] for hold in snapshot["dependents"]["holds"])


# A transfer that stands still after some megabytes, until its feeder is ended.
FEED = """zfs send {send} > /root/stream
echo 'echo $$ > /run/feeder; head -c 6000000 /root/stream; exec sleep 1000' > /root/feed
(setsid sh -c 'sh /root/feed | zfs receive {receive} backup/v' &) > /dev/null 2>&1 < /dev/null"""
CUT = "kill $(cat /run/feeder)"
RUNS = "for i in $(seq 600); do {} && exit 0; sleep 0.1; done; exit 1"
ENDED = RUNS.format("! pgrep -x zfs > /dev/null")


def test_inbound(backend: Backend) -> None:
    """A first full receive and an increment, running and cut, with and without a resume token."""
    backend.run("zfs create -o compression=off tank/v")
    backend.fill("tank/v", 8, seed=1)
    backend.zfs("snapshot", "tank/v@one")
    backend.fill("tank/v", 8, seed=2)
    backend.zfs("snapshot", "tank/v@two")
    guids = [backend.zfs("get", "-Hp", "-o", "value", "guid", f"tank/v@{part}").strip() for part in ("one", "two")]
    token = "zfs send -nvP -t $(zfs get -Hp -o value receive_resume_token backup/v) | grep -q 'bytes = 0x[1-9a-f]'"
    announced = [
        json.dumps([{"guid": guid, "snapshot": part, "bytes": 10**7}]) for guid, part in zip(guids, ("one", "two"))
    ]

    def both(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """As it runs, and as it is left behind."""
        backend.run(RUNS.format(token))
        (running,) = ask(backend, read("backup/v", name))
        backend.run(f"{CUT}; {ENDED}")
        left, whole = ask(backend, read("backup/v"), read("backup", recursive=True, states=["inbound"]))
        assert by_name(left)[name]["state"] == by_name(running)[name]["state"] == "inbound"
        assert list(by_name(whole)) == [name]
        assert running["counts"]["inbound"] == left["counts"]["inbound"] == 1
        now, then = by_name(running)[name]["progress"], by_name(left)[name]["progress"]
        assert (now["operation"], now["active"], now["bytes_total"]) == ("receive", True, 10**7)
        assert now["bytes_per_second"] > 0
        assert now["eta_seconds"] is not None
        assert (then["active"], then["bytes_per_second"], then["started"]) == (False, None, None)
        assert then["bytes_done"] >= now["bytes_done"] > 0
        return by_name(running)[name], by_name(left)[name]

    backend.run(FEED.format(send="tank/v@one", receive=f"-s -u -o cerss.zfs:inbound='\\''{announced[0]}'\\''"))
    running, left = both("backup/v@one")
    assert running["guid"] == left["guid"] == guids[0]
    assert running["depends_on"] is None

    backend.run(
        "zfs send -t $(zfs get -Hp -o value receive_resume_token backup/v) | zfs receive -s -u backup/v"
        f" && zfs set 'cerss.zfs:inbound={announced[1]}' backup/v"
    )
    backend.run(FEED.format(send="-i @one tank/v@two", receive="-s -u"))
    running, left = both("backup/v@two")
    assert running["guid"] == left["guid"] == guids[1]
    assert running["depends_on"] == {"snapshot": "backup/v@one", "guid": guids[0], "kind": "base"}

    # Without -s there is neither a token nor anything left of it after a cut.
    backend.run("zfs receive -A backup/v; zfs inherit cerss.zfs:inbound backup/v")
    backend.run(FEED.format(send="-i @one tank/v@two", receive="-u"))
    backend.run(RUNS.format("[ $(pgrep -c receive_writer) = 1 ] && zfs list backup/v/%recv > /dev/null 2>&1"))
    (hidden,) = ask(backend, read("backup/v"))
    assert [(name, snapshot["state"]) for name, snapshot in by_name(hidden).items()] == [
        ("backup/v@one", "full"),
        ("backup/v@%recv", "inbound"),
    ]
    assert by_name(hidden)["backup/v@%recv"]["progress"]["active"] is True
    backend.run(f"{CUT}; {ENDED}")
    (nothing,) = ask(backend, read("backup/v"))
    assert nothing["counts"]["inbound"] == 0


def test_output_file_through_ansible(backend: Backend, ansible: Ansible) -> None:
    backend.run("zfs create tank/v && for n in a b c; do zfs snapshot tank/v@$n; done")
    module = {"cerss.zfs.zfs_snapshot_info": {"name": "tank/v", "output_file": "/root/snapshots.jsonl"}}
    assert ansible.run_tasks(backend.name, [module], check=True)[0]["counts"]["total"] == 3
    assert backend.run("cat /root/snapshots.jsonl", check=False).returncode
    (result,) = ansible.run_tasks(backend.name, [module])
    assert (result["snapshots"], result["output_file"], result["changed"]) == ([], "/root/snapshots.jsonl", False)
    lines = backend.run("cat /root/snapshots.jsonl; rm /root/snapshots.jsonl").stdout.splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["tank/v@a", "tank/v@b", "tank/v@c"]


def test_a_missing_dataset_through_ansible(backend: Backend, ansible: Ansible) -> None:
    backend.run("zfs create tank/v && zfs snapshot tank/v@a")
    module = {"cerss.zfs.zfs_snapshot_info": {"name": ["tank/none", "tank/v"], "newest": 1}}
    (result,) = ansible.run_tasks(backend.name, [module], fails=True)
    assert list(by_name(result)) == ["tank/v@a"]
    assert result["msg"].startswith("there is no dataset tank/none")
