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
    return {**common, "renamed_from": None, "create_parents": False, **options}


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
        "mount tank/prod",
        "create filesystem tank/prod/eu",
        "mount tank/prod/eu",
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
        (volume("tank/a", state="absent"), "dataset tank/a/b, snapshot tank/a@s and clone tank/c"),
        (volume("tank/rep", state="absent"), "00112233445566aa"),
    ]
    verbs.refused(backend, VERB, cases)


def test_through_ansible(backend: Backend, ansible: Ansible) -> None:
    four = ansible.four_times(
        backend.name, {"cerss.zfs.zfs_dataset": {"name": "tank/db", "properties": {"quota": "1G", "atime": False}}}
    )
    assert four[1]["dataset"]["properties"]["atime"] == "off"
