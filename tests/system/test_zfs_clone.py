# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""zfs_clone on real pools."""

from __future__ import annotations

from typing import Any

import pytest
import verbs
from harness import Ansible, Backend

MODULE = "cerss.zfs.zfs_clone"
VERB = "_dataset.clone"
REPLICA = '{"id":"00112233445566aa","host":"elsewhere","dataset":"tank/x","guid":"1","mode":"plain"}'


SOURCE = """zfs create -o compression=off tank/vol && echo one > /tank/vol/file && zfs snapshot tank/vol@s1
echo two > /tank/vol/file && zfs snapshot tank/vol@s2
zfs create -V 16M -o volblocksize=8K tank/zv && zfs snapshot tank/zv@s1
zfs create tank/plain"""


def clone(name: str, snapshot: str | None = None, **options: Any) -> dict[str, Any]:
    """All options of the module."""
    common: dict[str, Any] = {"name": name, "snapshot": snapshot, "state": "present", "properties": {}}
    return {**common, "promoted": None, "on_dependents": "fail", "wait": "0", **options}


@pytest.fixture
def backend(backends: list[Backend]) -> Backend:
    return backends[0]


def test_made_changed_promoted_and_removed(backend: Backend) -> None:
    wished = {"compression": "lz4", "quota": "1G", "atime": False, "org.example:note": "a\tb\nc ä", "canmount": None}
    answers = verbs.run(
        backend,
        VERB,
        [
            SOURCE,
            clone("tank/c1", "tank/vol@s1", properties=wished),
            clone("tank/c1", "tank/vol@s1", properties={"quota": None, "atime": None, "readonly": True}),
            clone("tank/zc", "tank/zv@s1", properties={"volblocksize": "8K", "refreservation": None}),
            clone("tank/c1", "tank/vol@s1", promoted=False),
            clone("tank/c1", "tank/vol@s1", promoted=True),
            clone("tank/c1", "tank/vol@s1", promoted=False),
            clone("tank/vol", "tank/c1@s1", promoted=True),
            clone("tank/both", "tank/vol@s2", promoted=True),
            clone("tank/zc", state="absent"),
            clone("tank/zc", state="absent"),
        ],
    )
    made, changed, zvol, unpromoted, promoted, refused, back, both, removed, gone = answers
    guid = backend.zfs("get", "-Hp", "-o", "value", "guid", "tank/both@s1").strip()
    assert made[1]["actions"] == ["create clone tank/c1 of tank/vol@s1"]
    object_ = made[1]["clone"]
    assert object_["origin"] == {"name": "tank/vol@s1", "guid": guid}
    assert object_["type"] == "filesystem"
    assert object_["promoted"] is False
    assert object_["dependents"] == {"snapshots": [], "clones": []}
    assert object_["guid"] == made[3]["clone"]["guid"]
    assert object_["properties"]["org.example:note"] == "a\tb\nc ä"
    assert object_["properties"]["quota"] == str(2**30)
    assert made[0]["clone"]["properties"] == object_["properties"]
    assert changed[1]["actions"] == ["set quota=none and readonly=on on tank/c1", "unset atime on tank/c1"]
    assert zvol[1]["clone"]["type"] == "volume"
    assert not unpromoted[1]["changed"]
    assert promoted[1]["actions"] == ["promote tank/c1, which takes over tank/vol@s1"]
    assert promoted[1]["clone"]["origin"] is None
    assert promoted[1]["clone"]["promoted"] is True
    assert promoted[1]["clone"]["dependents"] == {"snapshots": ["tank/c1@s1"], "clones": ["tank/vol"]}
    assert "which ZFS cannot undo" in refused[1]["msg"]
    assert back[1]["actions"] == [
        "record on tank/vol that it was created from tank/c1@s1",
        "promote tank/vol, which takes over tank/c1@s1",
    ]
    assert back[1]["clone"]["dependents"]["clones"] == ["tank/c1"]
    assert both[1]["actions"] == [
        "create clone tank/both of tank/vol@s2",
        "promote tank/both, which takes over tank/vol@s1, tank/vol@s2",
    ]
    assert both[1]["clone"]["origin"] is None
    assert removed[1]["actions"] == ["destroy clone tank/zc"]
    assert not gone[1]["changed"]
    assert backend.run("cat /tank/both/file /tank/c1/file").stdout == "two\none\n"
    # A look at a clone takes the names of properties, native ones, those of users, and the clone's own snapshots.
    read = ["get", "get", "get", "list"]
    assert [four[1]["zfs"] for four in (made, unpromoted, promoted, removed, gone)] == [
        ["get", "get", "create", "clone", *read],  # create -n is the judge of the properties' values
        read,
        [*read, "list", "promote", *read, "get"],
        [*read, "get", "destroy", "get"],
        ["get"],
    ]


def test_every_refusal_changes_nothing_and_says_why(backend: Backend) -> None:
    backend.run(
        f"{SOURCE}\nset -e; zfs clone tank/vol@s1 tank/taken && zfs snapshot tank/taken@own"
        " && zfs clone tank/taken@own tank/second && zfs create tank/taken/below && zfs snapshot tank/vol@marked"
        " && zfs clone tank/vol@marked tank/keeper && zfs destroy -d tank/vol@marked && zfs snapshot tank/keeper@s1"
        f" && zfs create tank/rep && zfs snapshot tank/rep@r1 && zfs set cerss.zfs:source='{REPLICA}' tank/rep"
        " && zfs clone tank/rep@r1 tank/ofrep && zfs snapshot tank/second@x && zfs hold mine tank/second@x"
    )
    cases = [
        (clone("tank/new"), "needs snapshot"),
        (clone("tank/new", "tank/vol"), "names no snapshot"),
        (clone("tank/new", ""), "is empty"),
        (clone("tank/new", "tank/vol@" + "x" * 250), "259 characters, ZFS takes 255"),
        (clone("tank/n%w", "tank/vol@s1"), "it has '%'"),
        (clone("tank@x", "tank/vol@s1"), "tank@x"),
        (clone("tank", "tank/vol@s1"), "is a pool"),
        (clone("backup/new", "tank/vol@s1"), "a clone is in the pool of its snapshot"),
        (clone("tank/vol", "tank/vol@s1"), "its own snapshot"),
        (clone("tank/no/new", "tank/vol@s1"), "its parent tank/no does not exist"),
        (clone("tank/zv/new", "tank/vol@s1"), "its parent tank/zv is a volume"),
        (clone("tank/new", "tank/nothing@s1"), "there is no dataset tank/nothing"),
        (clone("tank/new", "tank/vol@marked"), "is pending deletion"),
        (clone("tank/plain", "tank/vol@s1"), "it is a filesystem that was not created from a snapshot"),
        (clone("tank/taken", "tank/vol@s2"), "it is a clone of tank/vol@s1"),
        (clone("tank/keeper", "tank/vol@marked", promoted=True), "it would take over @s1"),
        (clone("tank/ofrep", "tank/rep@r1", promoted=True), "00112233445566aa"),
        (clone("tank/new", "tank/rep@r1", promoted=True), "00112233445566aa"),
        (clone("tank/new", "tank/vol@s1", properties={"Bad:Prop": "x"}), "is not a valid user property"),
        (clone("tank/new", "tank/vol@s1", properties={"cerss.zfs:x": "x"}), "belongs to this collection"),
        (clone("tank/new", "tank/vol@s1", properties={"volblocksize": "8K"}), "has no such property"),
        (clone("tank/new", "tank/vol@s1", properties={"used": 1}), "it is read-only"),
        (clone("tank/new", "tank/vol@s1", properties={"casesensitivity": "mixed"}), "casesensitivity"),
        (clone("tank/new", "tank/vol@s1", properties={"quota": ["1G"]}), "is a list"),
        (clone("tank/new", "tank/vol@s1", wait="soon"), "is not a duration"),
        (clone("tank/plain", state="absent"), "was not created from a snapshot"),
        (clone("tank/taken", state="absent"), "snapshot tank/taken@own, clone tank/second, dataset tank/taken/below"),
        (clone("tank/taken", "tank/vol@s2", state="absent"), "is a clone of tank/vol@s1, not of tank/vol@s2"),
        (clone("tank/second", state="absent", on_dependents="cascade"), "tank/second@x: hold mine"),
        (clone("tank/taken", state="absent", on_dependents="cascade"), "tank/taken/below is below it"),
    ]
    verbs.refused(backend, VERB, cases)


def test_a_snapshot_that_is_to_come_is_foreseen_in_check_mode_only(backend: Backend) -> None:
    ((check, real, *_rest),) = verbs.run(backend, VERB, [SOURCE, clone("tank/new", "tank/vol@later")], look=False)
    assert check["changed"]
    assert "assumes that an earlier task creates it" in check["warnings"][0]
    assert "tank/vol@later does not exist" in real["msg"]


def test_what_goes_with_a_clone(backend: Backend) -> None:
    chain = (
        "zfs clone tank/vol@s1 tank/a && zfs clone tank/vol@s1 tank/b && zfs destroy -d tank/vol@s1"
        " && zfs snapshot tank/a@x && zfs clone tank/a@x tank/a/deep && zfs snapshot tank/a/deep@y"
        " && zfs clone tank/a/deep@y tank/far && zfs clone tank/a@x tank/gone && zfs destroy -d tank/a@x"
    )
    first, last = verbs.run(
        backend,
        VERB,
        [SOURCE, chain, clone("tank/a", state="absent", on_dependents="cascade"), clone("tank/b", state="absent")],
    )
    assert set(first[1]["actions"]) == {
        "destroy clone tank/far of tank/a/deep@y",
        "destroy snapshot tank/a/deep@y",
        "destroy clone tank/a/deep of tank/a@x",
        "destroy clone tank/gone of tank/a@x",
        "tank/a@x, which was pending deletion, is destroyed by ZFS with tank/gone",
        "destroy clone tank/a",
    }
    assert first[1]["actions"][-1] == "destroy clone tank/a"
    assert last[1]["actions"] == [
        "destroy clone tank/b",
        "tank/vol@s1, which was pending deletion, is destroyed by ZFS with tank/b",
    ]
    assert "tank/vol@s1" not in backend.dump()


def test_through_ansible(backend: Backend, ansible: Ansible) -> None:
    backend.run(SOURCE)
    task = {MODULE: {"name": "tank/c1", "snapshot": "tank/vol@s1", "properties": {"atime": False}}}
    four = ansible.four_times(backend.name, task)
    assert four[1]["clone"]["properties"]["atime"] == "off"


def test_waits_for_an_inbound_snapshot(backend: Backend) -> None:
    # The announcement is what zfs_snapshot_replicate leaves; the stream is cut, so the token stays.
    backend.run(
        f"{SOURCE}\ndd if=/dev/urandom of=/tank/vol/big bs=1M count=8 && zfs snapshot tank/vol@big"
        " && { zfs send tank/vol@big | head -c 4000000 | zfs receive -s -u backup/rep; true; }"
        """ && zfs set 'cerss.zfs:inbound=[{"guid":"1","snapshot":"big","bytes":8400000}]' backup/rep"""
    )
    ((check, real, *_rest),) = verbs.run(backend, VERB, [clone("backup/c", "backup/rep@big")], look=False)
    for result in (check, real):
        assert "backup/rep@big is inbound, with " in result["msg"]
        assert " of 8400000 bytes received" in result["msg"]
        assert result["progress"]["bytes_done"] > 0
    resume = (
        "(sleep 3; zfs send -t $(zfs get -H -o value receive_resume_token backup/rep) | zfs receive -s -u backup/rep)"
        " > /dev/null 2>&1 &"
    )
    waiting = clone("backup/c", "backup/rep@big", wait="5m")
    ((check, real, _check, again),) = verbs.run(backend, VERB, [resume, waiting], look=False)
    assert check["actions"] == real["actions"] == ["create clone backup/c of backup/rep@big"]
    assert not again["changed"]
    assert backend.run("cmp /tank/vol/big /backup/c/big").returncode == 0
