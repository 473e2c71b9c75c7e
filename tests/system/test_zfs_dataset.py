# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""zfs_dataset on real pools."""

from __future__ import annotations

from typing import Any

import pytest
import verbs
from harness import Ansible, Backend

VERB = "_dataset.dataset"
REPLICA = '{"id":"00112233445566aa","host":"elsewhere","dataset":"tank/x","guid":"1","mode":"plain"}'


def volume(name: str, **options: Any) -> dict[str, Any]:
    """All options of the module."""
    common: dict[str, Any] = {"name": name, "state": "present", "properties": {}, "mounted": None}
    return {**common, "renamed_from": None, "create_parents": False, "on_dependents": "fail", **options}


@pytest.fixture
def backend(backends: list[Backend]) -> Backend:
    return backends[0]


def test_made_changed_renamed_and_removed(backend: Backend) -> None:
    wished = {"recordsize": "16K", "atime": False, "quota": "200M", "acltype": "posixacl", "org.example:by": "dba\tä"}
    zvol = {"volsize": "10000000", "volblocksize": "16K", "refreservation": "none", "compression": "zstd"}
    answers = verbs.run(
        backend,
        VERB,
        [
            volume("tank/db", properties=wished),
            volume("tank/db", properties={"atime": None, "quota": None, "recordsize": 32768, "snapdir": "visible"}),
            volume("tank/db", properties={"canmount": "noauto", "compression": "on"}),
            volume("tank/db", mounted=False),
            volume("tank/db", mounted=True),
            volume("tank/quiet", properties={"canmount": "noauto", "readonly": True}),
            volume("tank/none", properties={"mountpoint": "none"}),
            volume("tank/zv", properties=zvol),
            volume("tank/zv", properties={"volsize": "20M", "volblocksize": 16384}),
            volume("tank/zv", properties={"refreservation": "auto"}),
            volume("tank/prod/eu/db", renamed_from="tank/db", create_parents=True, properties={"sync": "always"}),
            volume("tank/prod/eu/zv", renamed_from="tank/zv"),
            volume("tank", properties={"org.example:site": "x"}),
            volume("tank/quiet", state="absent"),
            volume("tank/prod/eu/zv", state="absent"),
            volume("tank/prod/eu/zv", state="absent"),
        ],
    )
    made, changed, _set, off, on, quiet, none, zv, grown, auto, moved, zmoved, _pool, removed, _zremoved, gone = answers
    assert made[1]["actions"] == ["create filesystem tank/db", "mount tank/db"]
    assert made[1]["dataset"]["mounted"] is True
    assert made[1]["dataset"]["properties"]["quota"] == str(200 * 2**20)
    assert changed[1]["actions"] == [
        "set quota=none and recordsize=32768 and snapdir=visible on tank/db",
        "unset atime on tank/db",
    ]
    assert off[1]["actions"] == ["unmount tank/db"]
    assert on[1]["actions"] == ["mount tank/db"]
    assert quiet[1]["actions"] == ["create filesystem tank/quiet"]
    assert none[1]["actions"] == ["create filesystem tank/none"]
    assert zv[1]["dataset"]["type"] == "volume"
    assert grown[1]["actions"] == ["set volsize=20971520 on tank/zv"]
    assert auto[1]["changed"]
    assert moved[1]["actions"] == [
        "create filesystem tank/prod",
        "create filesystem tank/prod/eu",
        "rename tank/db to tank/prod/eu/db",
        "set sync=always on tank/prod/eu/db",
    ]
    assert moved[1]["dataset"]["guid"] == made[1]["dataset"]["guid"]
    assert zmoved[1]["actions"] == ["rename tank/zv to tank/prod/eu/zv"]
    assert removed[1]["actions"] == ["destroy filesystem tank/quiet"]
    assert not gone[1]["changed"]
    read = ["get", "get", "get"]  # the names of properties, native ones, and those of users
    assert [four[3]["zfs"] for four in (made, moved, gone)] == [read, read, ["get"]]
    # The first create is the judge of the values.
    assert made[1]["zfs"] == ["get", "get", "create", "create", "mount", *read]


def test_every_refusal_changes_nothing_and_says_why(backend: Backend) -> None:
    backend.run(
        "set -e; zfs create tank/a; zfs snapshot tank/a@s; zfs clone tank/a@s tank/c; zfs create tank/a/b"
        "; zfs create -V 16M tank/zv; zfs create tank/rep"
        f"; zfs set cerss.zfs:source='{REPLICA}' tank/rep; zfs create -o canmount=off tank/off"
    )
    cases = [
        (volume(""), "is empty"),
        (volume("tank/a@s"), "tank/a@s"),
        (volume("nopool"), "there is no pool nopool; check"),
        (volume("nopool/x"), "there is no pool nopool. Check"),
        (volume("tank/no/x"), "its parent tank/no does not exist"),
        (volume("tank/zv/x"), "tank/zv above it is a volume"),
        (volume("tank/zv/x/y", create_parents=True), "tank/zv above it is a volume"),
        (volume("tank/zv", mounted=True), "which ZFS does not mount"),
        (volume("tank/zv", properties={"volsize": "8M"}), "volsize"),
        (volume("tank/zv", properties={"volblocksize": "4K"}), "volblocksize"),
        (volume("tank/zv", properties={"volsize": None}), "cannot be unset"),
        (volume("tank/zv", properties={"recordsize": "8K"}), "a volume has no such property"),
        (volume("tank/a", properties={"used": "1"}), "it is read-only"),
        (volume("tank/a", properties={"mounted": True}), "the option mounted of zfs_dataset"),
        (volume("tank/a", properties={"nosuch": "1"}), "has no such property"),
        (volume("tank/a", properties={"quota": ""}), "has an empty value"),
        (volume("tank/a", properties={"org.example:x": {"a": 1}}), "is a dict"),
        (volume("tank/new", properties={"nosuch": "1"}), "has no such property"),
        (volume("tank/new", properties={"volsize": "big"}), "is not a size"),
        (volume("tank/new", properties={"compression": "much"}), "'compression' must be one of"),
        (volume("tank/a", properties={"compression": "much"}), "'compression' must be one of"),
        (
            volume("tank/new", properties={"encryption": True, "keyformat": "passphrase"}),
            "cannot ask for a key",
        ),
        (volume("tank/off", mounted=True), "it has canmount=off"),
        (volume("tank/a", renamed_from="tank/zv"), "both exist"),
        (volume("tank/x", renamed_from="tank/y"), "neither tank/x nor tank/y exists"),
        (volume("backup/a", renamed_from="tank/a"), "that is another pool"),
        (volume("tank/a/b/c", renamed_from="tank/a"), "or below it"),
        (volume("tank/x", renamed_from="tank/rep"), "00112233445566aa"),
        (volume("tank/x", state="absent", renamed_from="tank/a"), "cannot be combined"),
        (volume("tank", state="absent"), "is a pool"),
        (volume("tank/a", state="absent"), "snapshot tank/a@s, clone tank/c, dataset tank/a/b"),
        (volume("tank/rep", state="absent"), "00112233445566aa"),
        (volume("tank/rep", state="absent", on_dependents="cascade"), "00112233445566aa"),
        (volume("tank", state="absent", on_dependents="cascade"), "is a pool"),
        (volume("tank/a", on_dependents="cascade"), "on_dependents cannot be combined with state=present"),
    ]
    verbs.refused(backend, VERB, cases)


TREE = (
    "zfs create tank/a; zfs create tank/a/b; zfs create -o mountpoint=/srv/deep tank/a/deep"
    "; zfs create -o mountpoint=/srv/deep/in tank/a/aside; zfs create -V 16M tank/a/z; udevadm settle"
    "; zfs snapshot -r tank/a@s; zfs snapshot tank/a/b@t; zfs clone tank/a/b@s tank/a/inner"
    "; zfs create tank/else; zfs clone tank/a/deep@s tank/else/c; zfs snapshot tank/else/c@x"
    "; zfs clone tank/else/c@x tank/far; zfs create tank/v; zfs snapshot tank/v@p; zfs clone tank/v@p tank/a/last"
    "; zfs destroy -d tank/v@p; zfs create -o mountpoint=legacy tank/a/legacy; mkdir -p /srv/legacy"
    "; mount -t zfs tank/a/legacy /srv/legacy; zfs bookmark tank/a@s tank/a#mine"
)
CASCADE = volume("tank/a", state="absent", on_dependents="cascade")


def test_a_tree_with_all_that_depends_on_it(backend: Backend) -> None:
    """With a hold that no relationship needs any more, and a replica that was put aside."""
    aside = REPLICA[:-1] + ',"put_aside":true}'
    backend.run(
        f"{TREE}; zfs hold cerss.zfs:step:00112233445566aa tank/a/b@s; zfs hold cerss.zfs:last tank/a/deep@s"
        f"; zfs set 'cerss.zfs:source={aside}' tank/a/deep"
    )
    four, plain = verbs.run(backend, VERB, [CASCADE, volume("tank/else", state="absent", on_dependents="cascade")])
    actions = four[1]["actions"]
    assert actions[-1] == "destroy filesystem tank/a"
    assert {text for text in actions if text.startswith("destroy ")} == {
        "destroy snapshot tank/a@s", "destroy snapshot tank/a/b@s", "destroy snapshot tank/a/b@t",
        "destroy snapshot tank/a/deep@s", "destroy snapshot tank/a/aside@s", "destroy snapshot tank/a/z@s",
        "destroy snapshot tank/else/c@x",
        "destroy filesystem tank/a/b", "destroy filesystem tank/a/deep", "destroy filesystem tank/a/aside",
        "destroy filesystem tank/a/legacy", "destroy volume tank/a/z", "destroy filesystem tank/a",
        "destroy clone tank/a/inner of tank/a/b@s", "destroy clone tank/else/c of tank/a/deep@s",
        "destroy clone tank/far of tank/else/c@x", "destroy clone tank/a/last of tank/v@p",
    }  # fmt: skip
    assert "tank/v@p, which was pending deletion, is destroyed by ZFS with tank/a/last" in actions
    assert "release hold cerss.zfs:last of tank/a/deep@s" in actions
    first = next(number for number, text in enumerate(actions) if not text.startswith("unmount "))
    assert {text.partition(" ")[2] for text in actions[:first]} == {
        "tank/a", "tank/a/b", "tank/a/deep", "tank/a/aside", "tank/a/inner", "tank/a/last", "tank/else/c", "tank/far",
    }  # fmt: skip
    assert plain[1]["actions"] == ["destroy filesystem tank/else"]
    left = backend.zfs("list", "-H", "-o", "name", "-t", "all", "-r", "tank").split()
    assert left == ["tank", "tank/v"]


@pytest.mark.parametrize(
    ("obstacle", "told"),
    [
        ("zfs hold mine tank/a/b@t", "tank/a/b@t: hold mine"),
        ("zfs hold mine tank/else/c@x", "tank/else/c@x: hold mine"),
        ("zfs hold cerss.zfs:last tank/else/c@x", "tank/else/c@x: hold cerss.zfs:last"),
        ("zfs create tank/far/own", "tank/far: tank/far/own below it is not a clone"),
        (f"zfs set 'cerss.zfs:source={REPLICA}' tank/a/b", "tank/a/b: it is a replica"),
        ("zfs set 'cerss.zfs:replica.00000000000000ff={}' tank/far", "tank/far: it is the source of replications"),
        (
            "zfs bookmark tank/a/b@t tank/a/b#cerss.zfs_00112233445566aa_1f",
            "tank/a/b: relationship 00112233445566aa needs tank/a/b#cerss.zfs_00112233445566aa_1f",
        ),
        (
            "head -c 4M /dev/urandom > /tank/v/f; zfs snapshot tank/v@q"
            "; zfs send tank/v@q | head -c 2M | zfs receive -s tank/a/half || true",
            "tank/a/half: a receive into it that runs or can be resumed",
        ),
        (
            "zfs send tank/a/b@s | zfs receive -u tank/a/inc; head -c 4M /dev/urandom > /tank/a/b/f"
            "; zfs snapshot tank/a/b@u; zfs send -i @s tank/a/b@u | head -c 2M | zfs receive -s tank/a/inc || true",
            "tank/a/inc",
        ),
    ],
)
def test_what_stops_a_cascade(backend: Backend, obstacle: str, told: str) -> None:
    backend.run(f"{TREE}; {obstacle}")
    verbs.refused(backend, VERB, [(CASCADE, told), (CASCADE, "It stays as it is")])


def test_what_is_in_use_stops_a_cascade_before_anything_is_destroyed(backend: Backend) -> None:
    backend.run(f"{TREE}; cd /tank/a/b; nohup sleep 600 > /dev/null 2>&1 < /dev/null & echo $! > /run/inuse")
    before = backend.zfs("list", "-H", "-o", "name", "-t", "all", "-r", "tank")
    ((failed,),) = verbs.run(backend, VERB, [CASCADE], look=False, passes=1)
    assert failed["failed"]
    assert "cannot unmount '/tank/a/b'" in failed["msg"]
    assert all(text.startswith("unmount ") for text in failed["actions"])
    assert backend.zfs("list", "-H", "-o", "name", "-t", "all", "-r", "tank") == before
    backend.run("kill $(cat /run/inuse); sleep 1")
    ((check, real, *_again),) = verbs.run(backend, VERB, [CASCADE])
    assert check["actions"] == real["actions"]


def test_an_origin_that_goes_with_the_dataset_is_told(backend: Backend) -> None:
    backend.run("zfs create tank/v; zfs snapshot tank/v@p; zfs clone tank/v@p tank/a; zfs destroy -d tank/v@p")
    (four,) = verbs.run(backend, VERB, [volume("tank/a", state="absent")])
    assert four[1]["actions"] == [
        "destroy clone tank/a of tank/v@p",
        "tank/v@p, which was pending deletion, is destroyed by ZFS with tank/a",
    ]


def test_through_ansible(backend: Backend, ansible: Ansible) -> None:
    four = ansible.four_times(
        backend.name, {"cerss.zfs.zfs_dataset": {"name": "tank/db", "properties": {"quota": "1G", "atime": False}}}
    )
    assert four[1]["dataset"]["properties"]["atime"] == "off"
    backend.run("zfs create tank/db/below; zfs snapshot -r tank/db@s; zfs clone tank/db/below@s tank/c")
    task = {"name": "tank/db", "state": "absent", "on_dependents": "cascade"}
    gone = ansible.four_times(backend.name, {"cerss.zfs.zfs_dataset": task})
    assert "destroy clone tank/c of tank/db/below@s" in gone[1]["actions"]
