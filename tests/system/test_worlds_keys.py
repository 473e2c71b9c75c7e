# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys and clones as people have them. All of it between the two pools of one machine, which is fast."""

from __future__ import annotations

from typing import Any

import pytest
import verbs
from harness import Backend
from test_replicate import marks, once, options, replicate
from test_replicate import target as target_of
from test_zfs_clone import clone
from test_zfs_dataset import volume

pytestmark = pytest.mark.no_gate("it is about one machine's own pools")
FIRST, SECOND = "long enough a secret", "another long secret"
KEYS = f"echo {FIRST} > /run/first; echo {SECOND} > /run/second; "
NEW = "-o encryption=on -o keyformat=passphrase -o pbkdf2iters=100000 -o keylocation=file:///run"
# An encrypted tree with a dataset that is not encrypted, and a plain one; backup/e is encrypted and locked.
TREES = (
    f"{KEYS}zfs create {NEW}/first tank/s; zfs create tank/s/a; zfs create -o encryption=off tank/s/p"
    "; zfs create tank/q; for n in s s/a s/p q; do echo $n > /tank/$n/file; done; zfs snapshot -r tank/s@s1"
    f"; zfs snapshot tank/q@s1; zfs create -o canmount=off {NEW}/second backup/e; zfs unload-key backup/e"
)


def local(name: str, place: str, **more: Any) -> dict[str, Any]:
    parent = {"parent": place[:-2]} if place.endswith("/*") else {"dataset": place}
    return options(name, target=target_of("local", **parent), **more)


def dataset(name: str, **more: Any) -> dict[str, Any]:
    return {**volume(name), "key": None, "key_file": None, "key_text": None, **more}


def values(backend: Backend, names: str, *properties: str) -> list[list[str]]:
    """Rows of values, as zfs prints them."""
    told = backend.run(f"zfs list -H -o {','.join(properties)} {names}").stdout
    return [row.split("\t") for row in told.splitlines()]


def done(answer: list[dict[str, Any]]) -> dict[str, Any]:
    """What the real run said, which the check run had foretold."""
    check, real = answer[:2]
    assert not real.get("failed"), real
    assert check["actions"] == real["actions"]
    assert check.get("warnings") == real.get("warnings")
    return real


def test_below_a_locked_dataset_and_after_the_failover(backends: list[Backend]) -> None:
    one = backends[0]
    one.run(TREES)
    tree = local("tank/s", "backup/e/x/y/*", recursive=True, raw="always")
    first, plain, again = replicate(one, tree, local("tank/q", "backup/e/*"), tree, look=False, passes=2)
    assert done(first)["actions"][:2] == [
        f"create backup/e/{name}, unencrypted, to hold replicas" for name in ("x", "x/y")
    ]
    assert "the key of backup/e, which is not loaded" in plain[1]["msg"]
    assert not again[1]["changed"]
    place = "backup/e/x/y/s"
    assert values(one, f"{place} {place}/a {place}/p", "encryptionroot", "keystatus") == [
        [place, "unavailable"], [f"{place}/a", "unavailable"], ["-", "-"],
    ]  # fmt: skip
    unasked = replicate(one, local("tank/q", "backup/e/x/*"), look=False, passes=2)[0]
    assert "would be stored unencrypted: backup/e/x is not encrypted, although backup/e" in unasked[1]["msg"]
    # Between two runs the key of the source is changed.
    one.run("zfs change-key -o keylocation=file:///run/second tank/s; zfs snapshot -r tank/s@s2")
    changed = done(replicate(one, tree, look=False, passes=2)[0])
    assert [text for text in changed["warnings"] if "needs the key of the source" in text], changed["warnings"]
    # The replicas take over: one key for the tree.
    ends = [{"name": f"tank/s{below}", "target": {"host": "local", "dataset": f"{place}{below}"}, "source": {},
             "state": "absent", "force": False, "paused": None, "id": None} for below in ("", "/a", "/p")]  # fmt: skip
    for answer in verbs.run(one, "_replication.relationship", ends, look=False, passes=2):
        done(answer)
    top = dataset(place, key="loaded", key_file="/run/second", mounted=True, properties={"canmount": True})
    cases = [
        dataset(place, key="loaded", key_file="/run/first"),
        dataset(place, mounted=True, properties={"canmount": True}),
        top,
        dataset(f"{place}/a", key="inherited", key_text=SECOND, mounted=True, properties={"canmount": True}),
        dataset(place, key="unloaded"),
        f"zfs unmount {place}/a",
        dataset(place, key="unloaded", mounted=False),
        top,
    ]
    wrong, locked, loaded, inherited, used, unloaded, last = verbs.run(one, "_dataset.dataset", cases)
    assert "Incorrect key" in wrong[0]["msg"]
    assert wrong[0]["msg"] == wrong[1]["msg"]
    assert "its key is not loaded" in locked[0]["msg"]
    assert loaded[1]["dataset"]["key_loaded"] is True
    assert inherited[1]["dataset"]["encryption_root"] == place
    assert f"these are mounted with it: {place} and {place}/a" in used[0]["msg"]
    assert unloaded[1]["actions"] == [f"unmount {place}", f"unload the key of {place}"]
    assert not last[1].get("failed")
    one.run(f"zfs mount {place}/a && grep -q s/a $(zfs get -H -o value mountpoint {place}/a)/file")


def test_a_raw_increment_never_locks_its_replica(backends: list[Backend]) -> None:
    """OpenZFS issue 12614: it would bring the source's key to a replica that inherits another one."""
    one = backends[0]
    one.run(f"{TREES}; zfs load-key backup/e")
    assert not once(one, name="tank/s/a", target=target_of("local", dataset="backup/e/a")).get("failed")
    one.run("zfs load-key -L file:///run/first backup/e/a; zfs change-key -i backup/e/a; zfs snapshot tank/s/a@s2")
    verbs.refused(one, "_replication.replicate", [(local("tank/s/a", "backup/e/a"), "inherits the key of backup/e")])
    one.run("zfs change-key -o keyformat=passphrase -o keylocation=file:///run/second backup/e/a")
    done(replicate(one, local("tank/s/a", "backup/e/a"), look=False, passes=2)[0])
    one.run("zfs unload-key backup/e/a; zfs load-key -L file:///run/first backup/e/a; zfs mount backup/e/a")


def test_copies_of_others_below_an_encrypted_dataset(backends: list[Backend]) -> None:
    """They were sent plain, and go on plain although they are encrypted."""
    one = backends[0]
    one.run(
        f"{TREES}; zfs load-key backup/e; zfs send tank/q@s1 | zfs receive -u backup/e/q"
        "; zfs send tank/s/a@s1 | zfs receive -u backup/e/a; zfs snapshot tank/q@s2; zfs snapshot tank/s/a@s2"
    )
    adopt = {"source": {}, "state": "present", "paused": None, "id": None}
    for name, copy, force in (("tank/q", "backup/e/q", False), ("tank/s/a", "backup/e/a", True)):
        to = {"host": "local", "dataset": copy}
        case = {**adopt, "name": name, "target": to, "force": force}
        if force:
            verbs.refused(one, "_replication.relationship", [({**case, "force": False}, "was not sent raw")])
        done(verbs.run(one, "_replication.relationship", [case], look=False, passes=2)[0])
        result = done(replicate(one, local(name, copy), look=False, passes=2)[0])
        assert [(step["kind"], step["raw"]) for step in result["replicas"][0]["steps"]] == [("incremental", False)]
        assert one.checksum(f"{name}@s2") == one.checksum(f"{copy}@s2")
    one.run("zfs unload-key backup/e; zfs snapshot tank/q@s3")
    locked = replicate(one, local("tank/q", "backup/e/q"), look=False, passes=1)[0][0]
    assert "zfs_dataset (key=loaded)" in locked["msg"], locked["msg"]


def test_reseeds_of_encrypted_replicas(backends: list[Backend]) -> None:
    """A raw one, its child that shares its key, and one below an open dataset; in use, and not kept."""
    one = backends[0]
    one.run(f"{TREES}; zfs load-key backup/e; zfs create -p tank/q/c; zfs snapshot tank/q/c@s1")
    both = local("tank/s", "backup/s", recursive=True), local("tank/q", "backup/e/q", recursive=True)
    for answer in replicate(one, *both, look=False, passes=2):
        done(answer)
    # q's children inherit their key from above it; one of them is in use.
    one.run(
        "zfs load-key -L file:///run/first backup/s; zfs load-key -L file:///run/first backup/s/a"
        "; zfs change-key -i backup/s/a; zfs set keylocation=file:///run/first backup/s; zfs mount backup/e/q/c"
        "; zfs mount backup/s/a"
        "; for n in e/q/c s/a; do (cd /backup/$n; exec sleep 600 > /dev/null 2>&1) & echo $! >> /run/readers; done"
        "; sleep 1"
        "; for n in s s/a e/q; do zfs snapshot backup/$n@own; done"
        "; for n in s s/a s/p q q/c; do zfs snapshot tank/$n@s2; done"
    )
    anew = [{**case, "on_divergence": "reseed"} for case in both]
    lost = replicate(one, "mv /run/first /run/lost", anew[0], "mv /run/lost /run/first", look=False, passes=2)[0]
    assert "cannot be loaded again from keylocation=file:///run/first (Key load error: " in lost[0]["msg"]
    assert lost[0]["msg"] == lost[1]["msg"]
    try:
        answers = replicate(one, *anew, look=False, passes=2)
    finally:
        one.run("kill $(cat /run/readers); rm /run/readers")
    for answer in answers:
        done(answer)
    assert values(one, "backup/s backup/s/a", "encryptionroot", "keystatus") == [["backup/s", "available"]] * 2
    for case in both:
        assert not replicate(one, case, look=False, passes=2)[0][1]["changed"]
    for name, copy in (
        ("tank/s", "backup/s"),
        ("tank/s/a", "backup/s/a"),
        ("tank/q", "backup/e/q"),
        ("tank/q/c", "backup/e/q/c"),
    ):
        assert one.checksum(f"{name}@s2") == one.checksum(f"{copy}@s2")
    one.run(
        "zfs unload-key -a 2> /dev/null; zfs load-key backup/s; zfs mount backup/s && cat /backup/s/file", check=True
    )
    old = one.run("zfs list -H -o name -t filesystem -r backup | grep _old_").stdout.split()
    assert len(old) == 3
    one.zfs("snapshot", "-r", "tank/s@s3")
    done(replicate(one, both[0], look=False, passes=2)[0])
    one.run(f"zfs unmount backup/s; for n in {' '.join(old)}; do zfs unmount $n 2> /dev/null; done; :")
    # Not kept: only what the plan lists is destroyed, and nothing that others need.
    one.run(f"for n in {' '.join(sorted(old, reverse=True))}; do zfs destroy -r $n; done; zfs load-key backup/e"
            "; zfs snapshot backup/e/q@again; zfs hold mine backup/e/q@again; zfs snapshot tank/q@s3")  # fmt: skip
    gone = {**local("tank/q", "backup/e/q"), "on_divergence": "reseed", "reseed_keep": False}
    verbs.refused(one, "_replication.replicate", [(gone, "since others need backup/e/q@again (hold mine)")])
    one.zfs("release", "mine", "backup/e/q@again")
    told = done(replicate(one, gone, look=False, passes=2)[0])
    assert next(text for text in told["actions"] if text.startswith("destroy ")).endswith("with its snapshots again")
    assert "_old_" not in one.zfs("list", "-H", "-r", "-o", "name", "backup/e")
    assert one.checksum("tank/q@s3") == one.checksum("backup/e/q@s3")


def test_a_raw_reseed_in_full_with_a_child_that_has_the_key_of_the_old_one(backends: list[Backend]) -> None:
    """ZFS cannot move the child to the new key. The message tells what makes it an encryption root of its own."""
    one = backends[0]
    one.run(TREES)
    case = local("tank/s", "backup/s")
    done(replicate(one, case, look=False, passes=2)[0])
    one.run(
        "zfs load-key -L file:///run/first backup/s; zfs set keylocation=file:///run/first backup/s"
        "; zfs create -u backup/s/x; zfs snapshot tank/s@s2; zfs destroy tank/s@s1"
        "; for n in $(zfs list -H -o name -t bookmark -d 1 tank/s); do zfs destroy $n; done"
    )
    anew = {**case, "on_divergence": "reseed"}
    why = "backup/s/x below it is not an encryption root, so ZFS could not move it; make it one with zfs change-key"
    verbs.refused(one, "_replication.replicate", [(anew, why)])
    moved = one.run("zfs create -o canmount=off -o encryption=off backup/n; zfs send -w tank/s@s2 |"
                    " zfs receive -u backup/n/s; zfs rename -u backup/s/x backup/n/s/x", check=False)  # fmt: skip
    assert "cannot move encrypted child outside of its encryption root" in moved.stderr
    one.run(
        "zfs destroy -r backup/n; zfs change-key -o keyformat=passphrase -o keylocation=file:///run/first backup/s/x"
    )
    told = done(replicate(one, anew, look=False, passes=2)[0])
    assert [step["kind"] for step in told["replicas"][0]["steps"]] == ["full"]
    assert values(one, "backup/s backup/s/x", "encryptionroot", "keystatus", "keylocation") == [
        ["backup/s", "unavailable", "file:///run/first"], ["backup/s/x", "available", "file:///run/first"],
    ]  # fmt: skip
    one.run("zfs load-key backup/s; zfs change-key -i backup/s/x")
    assert one.checksum("tank/s@s2") == one.checksum("backup/s@s2")
    assert not replicate(one, case, look=False, passes=2)[0][1]["changed"]


def test_clones_that_nobody_asked_for(backends: list[Backend]) -> None:
    """They cannot be mounted, are above their origin, or were promoted by others."""
    one = backends[0]
    one.run(
        f"{TREES}; zfs send -w tank/s@s1 | zfs receive -u backup/s; zfs create -o readonly=on backup/ro"
        "; zfs create backup/v; zfs snapshot backup/v@s1"
        # tank/v is a clone of what is below it now
        "; zfs create tank/x; echo x > /tank/x/file; zfs snapshot tank/x@s0; zfs clone tank/x@s0 tank/v"
        "; zfs rename tank/x tank/v/c; zfs snapshot -r tank/v@s1"
    )
    cases = [
        clone("backup/look", "backup/s@s1"),
        clone("backup/look", "backup/s@s1", mounted=True),
        clone("backup/ro/look", "backup/v@s1"),
    ]
    locked, still, below = verbs.run(one, "_dataset.clone", cases)
    for four in (locked, still):
        assert "backup/look will not be mounted: the key of backup/s is not loaded" in four[0]["warnings"][0]
        assert four[0]["warnings"] == four[1]["warnings"]
    assert not still[1]["changed"]
    assert "backup/ro/look was created, but is not mounted: " in below[1]["warnings"][0]
    tree = local("tank/v", "backup/w", recursive=True)
    answer = replicate(one, tree, look=False, passes=2)[0]
    assert [each["origin_preserved"] for each in done(answer)["replicas"]] == [False, None]
    one.run("echo y > /tank/v/file; zfs snapshot -r tank/v@s2")
    assert [each["steps"][0]["kind"] for each in done(replicate(one, tree, look=False, passes=2)[0])["replicas"]] == [
        "incremental", "incremental",
    ]  # fmt: skip
    # Others promote clones on both sides, twice; then the relationship ends.
    one.run(
        "zfs hold cerss.zfs:step:0123456789abcdef tank/v@s1; zfs clone tank/v@s2 tank/c1; zfs promote tank/c1"
        "; zfs clone tank/c1@s1 tank/c2; zfs promote tank/c2; zfs clone backup/w@s2 backup/c1; zfs promote backup/c1"
        "; zfs release cerss.zfs:step:0123456789abcdef tank/c2@s1"
    )
    ends = [{"name": f"tank/v{below}", "target": {"host": "local", "dataset": f"backup/w{below}"}, "source": {},
             "state": "absent", "force": False, "paused": None, "id": None} for below in ("", "/c")]  # fmt: skip
    for end in verbs.run(one, "_replication.relationship", ends, look=False, passes=2):
        done(end)
    assert [mark for mark in marks(one) if "origin" not in mark] == []
