# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Marks that disagree, with the attacks and accidents that make them so, and the ways out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import verbs
from harness import Backend, diff_dumps
from test_replicate import once, options, replicate, target

from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import ReplicaRecords, SourceMark

pytestmark = pytest.mark.no_gate("what root on the other backend does")


def relate(backend: Backend, *cases: dict[str, Any] | str, look: bool = True, passes: int = 4) -> list[Any]:
    given = {"id": None, "name": "tank/vol", "source": {}, "target": target(), "force": False, "paused": None}
    full = [case if isinstance(case, str) else {**given, "state": "present", **case} for case in cases]
    return verbs.run(backend, "_replication.relationship", full, look, passes)


def mark_of(backend: Backend, dataset: str = "backup/vol") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(backend.zfs("get", "-Hp", "-o", "value", SourceMark.NAME, dataset))
    return found


def record_of(backend: Backend, dataset: str = "tank/vol") -> tuple[str, list[dict[str, Any]]]:
    """(the property, its entries)."""
    rows = backend.zfs("get", "-Hp", "-s", "local", "-o", "property,value", "all", dataset).splitlines()
    ((name, text),) = [row.split("\t") for row in rows if row.startswith(ReplicaRecords.PREFIX)]
    return name, json.loads(text)


def put(backend: Backend, name: str, value: Any, dataset: str) -> None:
    backend.run(["zfs", "set", f"{name}={json.dumps(value)}", dataset])


@contextmanager
def in_front_of_zfs(backend: Backend, script: str, log: str) -> Iterator[list[str]]:
    """While it lasts, a script that writes to the file ``log``, whose lines are in the list afterwards."""
    backend.run(f": > {log}; cat > /usr/local/sbin/zfs && chmod 755 /usr/local/sbin/zfs", input=script)
    lines: list[str] = []
    try:
        yield lines
    finally:
        lines += backend.run(f"cat {log}; rm -f {log} /usr/local/sbin/zfs").stdout.splitlines()


def listening(backend: Backend) -> AbstractContextManager[list[str]]:
    """The argument lists of all zfs send."""
    script = '#!/bin/sh\n[ "$1" = send ] && echo "$*" >> /run/zfs-sends\nexec /usr/sbin/zfs "$@"\n'
    return in_front_of_zfs(backend, script, "/run/zfs-sends")


def test_a_replica_cannot_make_the_source_send_in_the_clear(backends: list[Backend]) -> None:
    """Root on the replica's host claims the mode plain, also for a part of a first receive that it has made up."""
    one, two = backends
    one.run("echo 'long enough a secret' > /run/key")
    one.run("zfs create -o encryption=on -o keyformat=passphrase -o keylocation=file:///run/key tank/vol")
    one.run("echo secret > /tank/vol/f; zfs snapshot tank/vol@s1")
    assert not once(one).get("failed")
    assert record_of(one)[1][0]["mode"] == "raw"
    one.zfs("snapshot", "tank/vol@s2")
    lie = {**mark_of(two), "mode": "plain"}
    put(two, SourceMark.NAME, lie, "backup/vol")
    with listening(one) as sends:
        for wish in ({}, {"on_divergence": "reseed"}, {"on_divergence": "rollback"}):
            told = once(one, **wish)
            assert told["failed"]
            assert "the mode is raw in the source's record and plain on the replica" in told["msg"]
        # A first receive of which only a part is there
        two.run("zfs release cerss.zfs:last backup/vol@s1; zfs destroy -r backup/vol")
        two.run("zfs create tank/x; head -c 1M /dev/urandom > /tank/x/f; zfs snapshot tank/x@t")
        two.run("zfs send tank/x@t | head -c 400K | zfs receive -s -u backup/vol || true")
        put(two, SourceMark.NAME, lie, "backup/vol")
        assert once(one)["failed"]
    assert not [line for line in sends if " -w " not in f" {line} "], sends
    # The way out, when the replica is one again
    two.run("zfs receive -A backup/vol || zfs destroy backup/vol")
    assert not once(one).get("failed")
    put(two, SourceMark.NAME, {**mark_of(two), "mode": "plain"}, "backup/vol")
    (mended,) = relate(one, {})
    assert mended[1]["actions"] == ["adopt backend-b:backup/vol as the replica of tank/vol"]
    assert mark_of(two)["mode"] == "raw"


def test_a_replica_cannot_end_other_relationships(settled: list[Backend]) -> None:
    """It claims the id of another relationship of the same source, whose bookmarks would then be swept."""
    one, two = settled
    assert not once(one, target=target(dataset="backup/other")).get("failed")
    other = mark_of(two, "backup/other")
    one.zfs("snapshot", "tank/vol@s3")
    put(two, SourceMark.NAME, {**mark_of(two), "id": other["id"]}, "backup/vol")
    before = one.dump()
    told = once(one)
    assert "the id is" in told["msg"]
    assert "disagree on their relationship" in told["msg"]
    assert not diff_dumps(before, one.dump())
    assert not once(one, target=target(dataset="backup/other")).get("failed")


def test_a_source_cannot_make_the_target_rename(settled: list[Backend]) -> None:
    """Whoever pulls as root: whatever stands on the source, nothing but the replica is touched."""
    one, two = settled
    two.run("zfs create -u backup/others; zfs create -u backup/others/db; zfs snapshot backup/others/db@s")
    name, (entry,) = record_of(one)
    pulled = options(source={"host": "backend-a"}, target=target(None, dataset="backup/pulled"), on_divergence="reseed")
    ((done,),) = replicate(two, pulled, look=False, passes=1)
    assert not done.get("failed"), done
    before = {key: value for key, value in two.dump().items() if key.startswith("backup/others")}
    for evil in (
        [{**entry, "aside": "backup/others"}],
        [{**entry, "target": "backup/others"}, {**entry, "id": "f" * 16, "target": "backend-b:backup/others"}],
        [{**entry, "formerly": "1", "target": "backend-b:backup/others/db"}],
    ):
        put(one, name, evil, "tank/vol")
        one.run("zfs snapshot tank/vol@e$(date +%s%N)")
        replicate(two, pulled, look=False, passes=1)
        after = {key: value for key, value in two.dump().items() if key.startswith("backup/others")}
        assert after == before


def test_marks_that_disagree_are_refused(settled: list[Backend]) -> None:
    """Each with both values, nothing changed, and a way out that works."""
    one, two = settled
    one.zfs("snapshot", "tank/vol@s3")
    name, (entry,) = record_of(one)
    mark = mark_of(two)
    cases = [
        ("its mark is lost", two, SourceMark.NAME, None, "has lost the property"),
        ("its mark is spoilt", two, SourceMark.NAME, "nonsense", "cannot be read"),
        ("another id there", two, SourceMark.NAME, {**mark, "id": "f" * 16}, "the id is"),
        ("another GUID here", one, name, [{**entry, "guid": "77"}], "the replica's GUID is 77"),
        (
            "another mode here",
            one,
            name,
            [{**entry, "mode": "raw"}],
            "the mode is raw in the source's record and plain",
        ),
        ("the record is lost", one, name, None, "has no record of it"),
        ("the record is spoilt", one, name, {"a": 1}, "cannot be read"),
    ]
    for told, backend, key, value, why in cases:
        dataset = "tank/vol" if backend is one else "backup/vol"
        if value is None:
            backend.run(["zfs", "inherit", key, dataset])
        else:
            put(backend, key, value, dataset)
        verbs.refused(one, "_replication.replicate", [(options(), why)])
        ((mended,),) = relate(one, {}, look=False, passes=1)
        assert not mended.get("failed"), (told, mended)
        assert mended["changed"], told
        assert record_of(one)[1][0]["guid"] == entry["guid"], told
        assert mark_of(two)["guid"] == mark["guid"], told
    (four,) = replicate(one, options())
    assert four[1]["replicas"][0]["base"] == "tank/vol@s2"


def test_restored_and_made_anew(settled: list[Backend]) -> None:
    one, two = settled
    # The source is restored from its replica: it has another GUID, which only force accepts, since the old one is gone.
    one.run(
        "zfs destroy -r tank/vol; ssh backend-b zfs send backup/vol@s2 | zfs receive -u tank/vol; zfs mount tank/vol"
    )
    one.run("echo more > /tank/vol/more; zfs snapshot tank/vol@s3")
    assert "is the replica of" in once(one)["msg"]
    refused, forced = relate(one, {}, {"force": True})
    assert "set force=true if that dataset does not exist any more" in refused[1]["msg"]
    assert forced[1]["changed"]
    (four,) = replicate(one, options())
    assert four[1]["replicas"][0]["base"] == "tank/vol@s2"
    assert one.checksum("tank/vol@s3") == two.checksum("backup/vol@s3")
    # Destroyed and made anew under its name: the old replica is put aside, when that is asked for.
    one.run("zfs destroy -r tank/vol && zfs create tank/vol && zfs snapshot tank/vol@first")
    failed, reseeded = replicate(one, options(), options(on_divergence="reseed"))
    assert "that does not exist any more" in failed[1]["msg"]
    assert any(action.startswith("put backend-b:backup/vol aside as") for action in reseeded[1]["actions"])


def test_pausing_and_renames(settled: list[Backend]) -> None:
    one, two = settled
    one.zfs("snapshot", "tank/vol@s3")
    (paused,) = relate(one, {"paused": True})
    assert paused[1]["actions"] == ["pause the replication of tank/vol to backend-b:backup/vol"]
    (skipped,) = replicate(one, options())
    assert not skipped[1]["changed"]
    assert "is paused" in skipped[1]["warnings"][0]
    relate(one, {"paused": False})
    # The replica is renamed: nothing is sent elsewhere in full.
    two.zfs("rename", "backup/vol", "backup/moved")
    verbs.refused(one, "_replication.replicate", [(options(), "is now backend-b:backup/moved")])
    # Told so, the relationship goes on there, and the words follow.
    (moved,) = replicate(one, options(target=target(dataset="backup/moved")))
    assert moved[1]["replicas"][0]["base"] == "tank/vol@s2"
    assert record_of(one)[1][0]["target"] == "backend-b:backup/moved"


def test_a_chain_goes_on_after_a_reseed_of_its_middle(settled: list[Backend]) -> None:
    """a to b to c, with a rollback and a reseed of b."""
    one, two = settled
    chain = options("backup/vol", target=target("local", dataset="tank/third"))
    replicate(two, chain)
    two.zfs("snapshot", "backup/vol@local")
    one.zfs("snapshot", "tank/vol@s3")
    (back,) = replicate(one, options(on_divergence="rollback"))
    assert not back[1].get("failed")
    replicate(two, chain)
    two.zfs("snapshot", "backup/vol@local")
    one.zfs("snapshot", "tank/vol@s4")
    (reseeded,) = replicate(one, options(on_divergence="reseed"))
    assert not reseeded[1].get("failed")
    (further,) = replicate(two, chain)
    assert further[1]["replicas"][0]["base"].startswith("backup/vol")
    assert further[1]["bytes_sent"] < 100_000
    assert one.checksum("tank/vol@s4") == two.checksum("tank/third@s4")
