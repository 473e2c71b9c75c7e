# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replicas below encrypted datasets. `world` knows nothing of keys: what zfs is told is looked at, not what it does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.cerss.zfs.tests.unit.machine import ENCRYPTED
from ansible_collections.cerss.zfs.tests.unit.world import THERE, World


def encrypted(root: str, loaded: bool = True) -> dict[str, str]:
    status = "available" if loaded else "unavailable"
    return {**ENCRYPTED, "encryptionroot": root, "keystatus": status}


def make(world: World, tree: dict[str, dict[str, Any]]) -> None:
    """On the target. The values ``mark`` and ``loaded`` stand for our mark and for the key."""
    for name, how in tree.items():
        mark = {"id": "f" * 16, "host": "x", "dataset": "y", "guid": "7", "mode": how.get("mark")}
        fixed = {} if "loaded" not in how else encrypted(how.get("root", name), how["loaded"])
        props = {"cerss.zfs:source": json.dumps(mark)} if "mark" in how else {}
        world.there.make(name, fixed=fixed, props=props)


def told(world: World, verb: str) -> list[str]:
    """The arguments of the commands on the target that tell of encryption, with the dataset."""
    return [
        " ".join([*(text for text in argv if text.startswith("encryption=")), argv[-1]])
        for where, argv in world.log
        if where == THERE and argv[1] == verb and "-n" not in argv
    ]


LOCKED, OPEN = {"backup/e": {"loaded": False}}, {"backup/e": {"loaded": True}}
CLEAR = {**LOCKED, "backup/e/a": {}}
IN_RAW = {"backup/e": {"loaded": True, "mark": "raw"}}
MADE = "would be encrypted with the key of backup/e, which is not loaded; load it there"
UNASKED = "would be stored unencrypted: backup/e/a is not encrypted, although backup/e above it is"


@pytest.mark.parametrize(
    ("tree", "place", "is_encrypted", "options", "created", "received"),
    [
        # raw replicas need no key, but the datasets between would
        (LOCKED, "backup/e/a/b/v", True, {}, ["backup/e/a", "backup/e/a/b"], "backup/e/a/b/v"),
        (OPEN, "backup/e/a/v", True, {}, [], "backup/e/a/v"),
        (LOCKED, "backup/e/v", True, {}, [], "backup/e/v"),
        (CLEAR, "backup/e/a/v", True, {}, [], "backup/e/a/v"),
        (LOCKED, "backup/e/v", True, {"properties": {"encryption": "off"}}, [], "backup/e/v"),
        # others inherit encryption
        (OPEN, "backup/e/a/v", False, {}, [], "backup/e/a/v"),
        (LOCKED, "backup/e/v", False, {}, None, MADE),
        (LOCKED, "backup/e/a/v", False, {}, None, MADE),
        (LOCKED, "backup/e/v", True, {"raw": "never"}, None, MADE),
        (LOCKED, "backup/e/v", False, {"properties": {"encryption": "off"}}, [], "encryption=off backup/e/v"),
        (CLEAR, "backup/e/a/v", False, {}, None, UNASKED),
        (CLEAR, "backup/e/a/v", True, {"raw": "never"}, None, UNASKED),
        (CLEAR, "backup/e/a/v", False, {"properties": {"encryption": "off"}}, [], "encryption=off backup/e/a/v"),
        # not the key of a raw replica, which may change
        (IN_RAW, "backup/e/v", False, {}, [], "encryption=off backup/e/v"),
        (IN_RAW, "backup/e/a/v", False, {}, ["backup/e/a"], "encryption=off backup/e/a/v"),
        (IN_RAW, "backup/e/v", True, {"raw": "never"}, None, "would inherit the key of backup/e"),
        ({**IN_RAW, "backup/e/a": {"mark": "plain"}}, "backup/e/a/v", False, {}, [], "backup/e/a/v"),
    ],
)
def test_what_a_new_replica_meets(
    world: World, tree: Any, place: str, is_encrypted: bool, options: dict[str, Any], created: Any, received: str
) -> None:
    """``created``: the datasets that are made to hold it, unencrypted. ``received``: with what, or why not."""
    world.here.make("tank/v", fixed=encrypted("tank/v") if is_encrypted else {})
    world.here.make("tank/v@s1")
    make(world, tree)
    foretold = world.replicate(check=True, target=place, **options)
    result = world.replicate(target=place, **options)
    assert (result["actions"], result.get("failed")) == (foretold["actions"], foretold.get("failed"))
    if created is None:
        assert received in result["replicas"][0]["msg"]
        assert world.changes() == []
        return
    assert not result.get("failed"), result
    assert [text for text in told(world, "create") if "=" in text] == [f"encryption=off {name}" for name in created]
    assert told(world, "receive") == [received]


@pytest.mark.parametrize("raw", ["auto", "always"])
def test_a_tree_of_both_kinds(world: World, raw: str) -> None:
    """What is not encrypted on the source is not on the target, although its parent brings a key."""
    for name in ("tank/v", "tank/v/e"):
        world.here.make(name, fixed=encrypted("tank/v"))
    world.here.make("tank/v/p", "tank/v/p/q")
    world.here.make(*(f"{name}@s1" for name in ("tank/v", "tank/v/e", "tank/v/p", "tank/v/p/q")))
    make(world, LOCKED)
    result = world.replicate(target="backup/e/v", recursive=True, raw=raw)
    assert not result.get("failed"), [each["msg"] for each in result["replicas"]]
    assert sorted(told(world, "receive")) == [
        "backup/e/v", "backup/e/v/e", "encryption=off backup/e/v/p", "encryption=off backup/e/v/p/q",
    ]  # fmt: skip
    assert not world.replicate(target="backup/e/v", recursive=True, raw=raw)["changed"]


@pytest.mark.parametrize("is_encrypted", [True, False])
def test_both_kinds_are_resumed(world: World, is_encrypted: bool) -> None:
    """Only a stream of an encrypted dataset is raw, whatever the option says."""
    world.here.make("tank/v", fixed=encrypted("tank/v") if is_encrypted else {})
    world.here.make("tank/v@s1")
    world.cuts = ["tank/v@s1"]
    assert world.replicate(raw="always")["failed"]
    result = world.replicate(raw="always")
    assert result["replicas"][0]["resumed"], result
    assert world.count(THERE, "zfs", "receive", "-A") == 0


def test_keys_above_are_read_only_if_there_are_any(world: World) -> None:
    world.here.make("tank/v@s1")
    world.there.make("backup")
    world.replicate(target="backup/a/v")
    assert not any("keystatus" in argv[-2] for _where, argv in world.log if argv[1] == "get")


@pytest.mark.parametrize("side", ["tank/v", "backup/v"])
def test_a_plain_stream_needs_the_keys(world: World, side: str) -> None:
    """Of the source to read it, and of a replica that is encrypted on its own to write it."""
    machine = world.here if side == "tank/v" else world.there
    if side == "tank/v":
        world.here.make("tank/v", fixed=encrypted("tank"))
    else:
        make(world, OPEN)
    place = "backup/v" if side == "tank/v" else "backup/e/v"
    world.here.make("tank/v@s1")
    assert not world.replicate(target=place, raw="never").get("failed")
    world.here.make("tank/v@s2")
    encrypting = machine.all[side if side == "tank/v" else place].fixed
    encrypting.update(encrypted("above", loaded=False))
    world.revive()
    for check in (True, False):
        result = world.replicate(target=place, raw="never", check=check)
        assert "is encrypted with the key of above, which is not loaded" in result["replicas"][0]["msg"]
    assert world.changes() == []
    encrypting.update(encrypted("above"))
    assert not world.replicate(target=place, raw="never").get("failed")


# -- keys that were changed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("here", "there", "root", "message"),
    [
        (("passphrase", "7"), ("passphrase", "7"), "backup/v", None),
        (("passphrase", "8"), ("passphrase", "7"), "backup/v", "is another one than that of"),
        (("raw", "0"), ("passphrase", "7"), "backup/v", "is another one than that of"),
        (("raw", "0"), ("raw", "0"), "backup/v", None),  # nothing shows whether it is the same
        # One key for a tree of replicas works if the source's tree has the same one, wrapped alike.
        (("passphrase", "7"), ("passphrase", "7"), "backup", None),
        (("passphrase", "8"), ("passphrase", "7"), "backup", "inherits the key of backup, and a raw increment"),
        (("raw", "0"), ("raw", "0"), "backup", "inherits the key of backup, and a raw increment"),
    ],
)
def test_a_key_that_was_changed_is_named(
    world: World, here: tuple[str, str], there: tuple[str, str], root: str, message: str | None
) -> None:
    world.here.make("tank/v", fixed=encrypted("tank/v"))
    world.here.make("tank/v@s1")
    assert not world.replicate().get("failed")
    world.here.make("tank/v@s2")
    for machine, name, key in ((world.here, "tank/v", here), (world.there, "backup/v", there)):
        machine.all[name].fixed.update(zip(("keyformat", "pbkdf2salt"), key))
    world.there.all["backup/v"].fixed["encryptionroot"] = root
    world.revive()
    foretold = world.replicate(check=True)
    assert world.changes() == []
    result = world.replicate()
    assert (result["actions"], result["warnings"]) == (foretold["actions"], foretold["warnings"])
    told = [*result["warnings"], result["replicas"][0]["msg"] or ""]
    assert [text for text in told if message and message in text] == (
        [told[-1 if root == "backup" else 0]] if message else []
    )
    assert bool(result.get("failed")) is bool(message and root == "backup")
    assert bool(message) is any(told)


def test_keys_are_compared_only_where_they_travel(world: World) -> None:
    world.here.make("tank/v@s1")
    world.replicate()
    world.here.make("tank/v@s2")
    world.replicate()
    assert not any("pbkdf2salt" in argument for _where, argv in world.log for argument in argv)


def test_a_full_reseed_below_a_raw_replica_stays_unencrypted(world: World) -> None:
    make(world, IN_RAW)
    world.here.make("tank/v@s1")
    world.replicate(target="backup/e/v")
    for name in [name for name in world.here.all if name.startswith(("tank/v@", "tank/v#"))]:
        del world.here.all[name]
    world.here.make("tank/v@s9")
    world.revive()
    world.replicate(target="backup/e/v", on_divergence="reseed")
    (received,) = told(world, "receive")
    assert received.startswith("encryption=off backup/e/v_new_")


def test_what_inherits_a_key_cannot_move_below_a_new_raw_replica(world: World) -> None:
    """That has a key of its own, and ZFS lets nothing leave its encryption root."""
    world.here.make("tank/v", fixed=encrypted("tank/v"))
    world.here.make("tank/v@s1")
    for name in ("backup/e", "backup/e/v", "backup/e/v/p"):
        world.there.make(name, fixed={**encrypted("backup/e"), "keystatus": "available"})
    result = world.replicate(target="backup/e/v", on_divergence="reseed", check=True)
    assert "not an encryption root" in result["replicas"][0]["msg"]
