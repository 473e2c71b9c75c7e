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


def clone(name: str | list[str], snapshot: str | None = None, **options: Any) -> dict[str, Any]:
    """All options of the module."""
    names = [name] if isinstance(name, str) else name
    common: dict[str, Any] = {"name": names, "snapshot": snapshot, "state": "present", "properties": {}}
    common.update(promoted=None, mounted=None, create_parents=False, on_dependents="fail", wait="0")
    return {**common, **options}


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
    assert removed[1]["actions"] == ["destroy clone tank/zc of tank/zv@s1"]
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
        (clone("tank/zv/new", "tank/vol@s1"), "tank/zv above it is a volume"),
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
        (clone("tank/taken", state="absent", on_dependents="cascade"), "tank/taken/below below it is not a clone"),
        (clone(["tank/new", "tank/new"], "tank/vol@s1"), "name lists tank/new more than once"),
        (clone(["tank/new", "tank/two"], "tank/vol@s1", promoted=True), "promoted=true takes just one name"),
        (clone("tank/new", "tank/zv@s1", mounted=True), "which ZFS does not mount"),
        (clone("tank/new", "tank/vol@s1", mounted=True, properties={"canmount": "off"}), "it has canmount=off"),
        (clone("tank/taken", state="absent", create_parents=True), "create_parents cannot be combined"),
        (clone(["tank/n1", "tank/n2"], "tank/vol@s1", properties={"quota": "much"}), "does not accept"),
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
    *_others, last_of_x = [text.split()[2] for text in first[1]["actions"] if text.endswith("of tank/a@x")]
    assert set(first[1]["actions"]) == {
        "destroy clone tank/far of tank/a/deep@y",
        "destroy snapshot tank/a/deep@y",
        "destroy clone tank/a/deep of tank/a@x",
        "destroy clone tank/gone of tank/a@x",
        f"tank/a@x, which was pending deletion, is destroyed by ZFS with {last_of_x}",
        "destroy clone tank/a of tank/vol@s1",
        *(f"unmount {name}" for name in ("tank/a", "tank/a/deep", "tank/far", "tank/gone")),
    }
    assert first[1]["actions"][-1] == "destroy clone tank/a of tank/vol@s1"
    assert last[1]["actions"] == [
        "destroy clone tank/b of tank/vol@s1",
        "tank/vol@s1, which was pending deletion, is destroyed by ZFS with tank/b",
    ]
    assert "tank/vol@s1" not in backend.dump()


def test_several_at_once(backend: Backend) -> None:
    names = ["tank/x/y/c1", "tank/x/c2", "tank/x/c2/below"]
    given = {"properties": {"atime": False, "org.example:note": "x"}}
    answers = verbs.run(
        backend,
        VERB,
        [
            SOURCE,
            clone(names, "tank/vol@s1", create_parents=True, **given),
            clone([*names, "tank/c3"], "tank/vol@s1", **given),
            clone(names, "tank/vol@s1", mounted=False),
            clone(names, "tank/vol@s1", mounted=True),
            clone(["tank/off1", "tank/off2"], "tank/vol@s1", mounted=False),
            clone("tank/noauto", "tank/vol@s1", mounted=True, properties={"canmount": "noauto"}),
            clone(["tank/z1", "tank/z2"], "tank/zv@s1"),
            clone([], "tank/vol@s1"),
            clone(["tank/x/c2", "tank/none", "tank/x/c2/below"], state="absent"),
            "zfs snapshot tank/c3@own; zfs clone tank/c3@own tank/c4; zfs destroy -d tank/vol@s1",
            clone(["tank/c3", "tank/c4", "tank/z1"], state="absent", on_dependents="cascade"),
            clone(["tank/x/y/c1", "tank/off1", "tank/off2", "tank/noauto"], state="absent"),
            clone([], state="absent"),
        ],
    )
    made, more, off, on, unmounted, noauto, zvols, nothing, removed, cascade, last, none = answers
    assert made[1]["actions"] == [
        "create filesystem tank/x",
        "create filesystem tank/x/y",
        "create clone tank/x/y/c1 of tank/vol@s1",
        "create clone tank/x/c2 of tank/vol@s1",
        "create clone tank/x/c2/below of tank/vol@s1",
    ]
    assert [each["name"] for each in made[1]["clones"]] == names
    assert {each["mounted"] for each in (*made[0]["clones"], *made[1]["clones"])} == {True}
    assert made[1]["clone"] == {key: made[1]["clones"][0][key] for key in made[1]["clone"]}
    # All are read at once and their properties judged once; just the creation is a command for each.
    read = ["get", "get", "get"]
    assert made[1]["zfs"] == [*read[:2], "create", "create", "create", *["clone"] * 3, *read, "list"]
    assert more[1]["actions"] == ["create clone tank/c3 of tank/vol@s1"]
    assert sorted(off[1]["actions"]) == [f"unmount {name}" for name in sorted(names)]
    assert sorted(on[1]["actions"]) == [f"mount {name}" for name in sorted(names)]
    assert unmounted[1]["actions"] == [
        "create clone tank/off1 of tank/vol@s1", "unmount tank/off1",
        "create clone tank/off2 of tank/vol@s1", "unmount tank/off2",
    ]  # fmt: skip
    assert noauto[1]["actions"] == ["create clone tank/noauto of tank/vol@s1", "mount tank/noauto"]
    assert [each["mounted"] for each in zvols[1]["clones"]] == [None, None]
    assert removed[1]["actions"] == [
        "destroy clone tank/x/c2/below of tank/vol@s1",
        "destroy clone tank/x/c2 of tank/vol@s1",
    ]
    assert [text for text in cascade[1]["actions"] if "unmount" not in text] == [
        "destroy clone tank/z1 of tank/zv@s1",
        "destroy clone tank/c4 of tank/c3@own",
        "destroy snapshot tank/c3@own",
        "destroy clone tank/c3 of tank/vol@s1",
    ]
    assert last[1]["actions"][-1].startswith("tank/vol@s1, which was pending deletion, is destroyed by ZFS with")
    assert "tank/vol@s1" not in backend.dump()
    for four in (nothing, none):
        assert (four[1]["changed"], four[1]["clones"], four[1]["clone"]) == (False, [], None)


def test_a_bad_one_does_not_hide_the_others(backend: Backend) -> None:
    backend.run(f"{SOURCE}\nzfs clone tank/vol@s2 tank/taken; zfs create -o readonly=on tank/ro")
    names = ["tank/n%w", "tank/plain", "tank/c1", "tank/taken", "tank/no/c", "tank/c2", "tank/ro/c"]
    ((check, real, _check, again),) = verbs.run(backend, VERB, [clone(names, "tank/vol@s1", mounted=True)], look=False)
    for told in (check, real, again):
        assert told["failed"]
        assert [each["failed"] for each in told["clones"]][:6] == [True, True, False, True, True, False]
        for text in ("it has '%'", "was not created from a snapshot", "is a clone of tank/vol@s2", "tank/no does not"):
            assert text in told["msg"]
    # There is no way to know beforehand that the filesystem above is mounted read-only.
    assert real["clones"][6]["failed"]
    assert "tank/ro/c exists, but is not mounted: cannot mount" in real["msg"]
    assert real["actions"] == [f"create clone {name} of tank/vol@s1" for name in ("tank/c1", "tank/c2", "tank/ro/c")]
    assert real["changed"]
    assert not again["changed"]
    backend.run("zfs snapshot tank/c1@own; zfs hold mine tank/c1@own; zfs create -u tank/ro/c/child")
    gone = clone(["tank/plain", "tank/c1", "tank/c2", "tank/ro/c"], state="absent", on_dependents="cascade")
    ((check, real, *_rest),) = verbs.run(backend, VERB, [gone], look=False)
    assert [each["failed"] for each in real["clones"]] == [True, True, False, True]
    assert real["actions"] == check["actions"] == ["destroy clone tank/c2 of tank/vol@s1"]
    for text in ("removes only clones", "tank/c1@own: hold mine", "tank/ro/c/child below it is not a clone"):
        assert text in real["msg"]


def test_without_root(backend: Backend) -> None:
    """On Linux only root can mount."""
    backend.run(f"{SOURCE}\nzfs allow operator clone,create,mount,userprop tank")
    verbs.USER = "operator"
    try:
        answers = verbs.run(
            backend,
            VERB,
            [clone("tank/o1", "tank/vol@s1"), clone(["tank/o1", "tank/o2"], "tank/vol@s1", mounted=True)],
        )
    finally:
        verbs.USER = None
    quiet, told = answers
    assert not quiet[1]["warnings"]
    assert told[1]["actions"] == ["create clone tank/o2 of tank/vol@s1"]
    for result in told:
        assert len([text for text in result["warnings"] if "on Linux only root can mount" in text]) == 2
    assert not told[3]["changed"]


def test_through_ansible(backend: Backend, ansible: Ansible) -> None:
    backend.run(SOURCE)
    task = {MODULE: {"name": "tank/c1", "snapshot": "tank/vol@s1", "properties": {"atime": False}}}
    several = {MODULE: {"name": ["tank/x/c2", "tank/c3"], "snapshot": "tank/vol@s1", "create_parents": True}}
    absent = {MODULE: {"name": ["tank/x/c2", "tank/c3"], "state": "absent"}}
    four, eight, gone = ansible.four_times_many(backend.name, [task, several, absent])
    assert four[1]["clone"]["properties"]["atime"] == "off"
    assert [each["name"] for each in eight[1]["clones"]] == ["tank/x/c2", "tank/c3"]
    assert gone[1]["clone"] is None


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
