# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""zfs_snapshot_replicate, zfs_replication and zfs_replication_info between two backends."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import verbs
from harness import Ansible, Backend

from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    CommitPoint,
    CommitPoints,
    Cursor,
    ReplicaRecord,
    ReplicaRecords,
    SourceMark,
    pool_id,
)

MODULE = "cerss.zfs.zfs_snapshot_replicate"
DEFAULTS: dict[str, Any] = {
    "source": {},
    "recursive": False,
    "exclude": [],
    "include_snapshots": [],
    "exclude_snapshots": [],
    "intermediates": True,
    "raw": "auto",
    "properties": {},
    "on_divergence": "fail",
    "on_active": "attach",
    "parallel": 2,
    "bandwidth_limit": None,
    "compression": "none",
    "resume": True,
    "retries": 0,
    "stall_timeout": "10m",
    "timeout": None,
    "progress_interval": "0",
}


def target(host: str | None = "backend-b", **more: Any) -> dict[str, Any]:
    place = {} if "parent" in more or "dataset" in more else {"dataset": "backup/vol"}
    return {"host": host, "strip": 1, **place, **more}


def options(name: str | list[str] = "tank/vol", **more: Any) -> dict[str, Any]:
    return {**DEFAULTS, "name": [name] if isinstance(name, str) else name, "target": target(), **more}


def replicate(backend: Backend, *cases: dict[str, Any] | str, look: bool = True, passes: int = 4) -> list[Any]:
    return verbs.run(backend, "_replication.replicate", cases, look, passes)


def once(backend: Backend, **more: Any) -> Any:
    """A check run and a real one; the answer of the latter."""
    return replicate(backend, options(**more), look=False, passes=2)[0][1]


@contextmanager
def counting(backend: Backend) -> Iterator[Callable[[], list[str]]]:
    """While it lasts, a script in front of the real zfs notes what it is called with; the call gives the verbs."""
    script = '#!/bin/sh\nprintf "%s\\n" "$1" >> /run/zfs-commands\nexec /usr/sbin/zfs "$@"\n'
    backend.run(
        ": > /run/zfs-commands; chmod 666 /run/zfs-commands"
        "; cat > /usr/local/sbin/zfs && chmod 755 /usr/local/sbin/zfs",
        input=script,
    )

    def verbs_so_far() -> list[str]:
        return backend.run("cat /run/zfs-commands", check=False).stdout.split()

    try:
        yield verbs_so_far
    finally:
        backend.run(["rm", "-f", "/usr/local/sbin/zfs", "/run/zfs-commands"])


def marks(*backends: Backend) -> list[str]:
    """What of ours stands on the machines: holds, bookmarks and properties, in short."""
    found = []
    for backend in backends:
        for name, values in backend.dump().items():
            found += [f"{backend.name} {name} {':'.join(tag.split(':')[:2])}" for tag in values["holds"]]
            own = [
                key.partition(".zfs:")[2].partition(".")[0] for key in values["properties"] if key.startswith("cerss")
            ]
            found += [f"{backend.name} {name} {key}" for key in own]
            if "#" in name:
                found.append(f"{backend.name} {name.partition('#')[0]} bookmark")
    return sorted(found)


def assert_settled(backends: list[Backend], newest: str, cursors: int) -> None:
    """The cursors, one last hold, the commit point, the two records, and nothing else."""
    assert marks(*backends) == sorted([
        *["backend-a tank/vol bookmark"] * cursors,
        "backend-a tank/vol at",
        "backend-a tank/vol replica",
        "backend-b backup/vol source",
        f"backend-b backup/vol@{newest} cerss.zfs:last",
    ])  # fmt: skip


def test_push_of_filesystem_and_zvol(filled: list[Backend], ansible: Ansible) -> None:
    """In full, then by increments; the content is compared by checksum, not by the tool's own word."""
    one, two = filled
    tasks = [
        {MODULE: {"name": "tank/vol", "target": {"host": "backend-b", "dataset": "backup/vol"}}},
        {MODULE: {"name": "tank/zv@s1", "target": {"host": "backend-b", "parent": "backup/a/b"}}},
    ]
    volume, zvol = ansible.four_times_many(one.name, tasks)
    relation = "the relationship with backend-b:backup/vol"
    assert volume[1]["actions"] == [
        f"record {relation} on tank/vol",
        f"bookmark tank/vol@s1 as a base of {relation}",
        f"bookmark tank/vol@s2 as a base of {relation}",
        "send tank/vol@s1 in full to backend-b:backup/vol",
        "send tank/vol@s2 as an increment from tank/vol@s1 to backend-b:backup/vol",
        f"hold backup/vol@s2 as the last received snapshot of {relation}",
        "record tank/vol@s2 as arrived in backend-b:backup/vol",
    ]
    assert zvol[1]["actions"][:2] == ["create backup/a to hold replicas", "create backup/a/b to hold replicas"]
    assert volume[1]["replicas"][0]["guid"] == two.zfs("get", "-Hp", "-o", "value", "guid", "backup/vol@s2").strip()
    for name, copy in (
        ("tank/vol@s1", "backup/vol@s1"),
        ("tank/vol@s2", "backup/vol@s2"),
        ("tank/zv@s1", "backup/a/b/zv@s1"),
    ):
        assert one.checksum(name) == two.checksum(copy)
    one.fill("tank/vol", 1, 4)
    one.fill("tank/zv", 3, 5)
    one.zfs("snapshot", "tank/vol@s3", "tank/zv@s2")
    tasks[1] = {MODULE: {"name": "tank/zv", "target": {"host": "backend-b", "dataset": "backup/a/b/zv"}}}
    volume, zvol = ansible.four_times_many(one.name, tasks)
    assert volume[1]["actions"][1] == "send tank/vol@s3 as an increment from tank/vol@s2 to backend-b:backup/vol"
    assert zvol[1]["replicas"][0]["base"] == "tank/zv@s1"
    assert one.checksum("tank/vol@s3") == two.checksum("backup/vol@s3")
    assert one.checksum("tank/zv@s2") == two.checksum("backup/a/b/zv@s2")
    local = two.zfs("get", "-Hp", "-s", "local", "-o", "property,value", "readonly,canmount", "backup/vol").split()
    assert local == ["readonly", "on", "canmount", "noauto"]


def test_pull_local_and_relay(filled: list[Backend]) -> None:
    one, two = filled
    pulled = once(two, source={"host": "backend-a"}, target=target(None))
    assert "send tank/vol@s1 in full to backup/vol" in pulled["actions"]
    relayed = once(two, source={"host": "backend-a"}, target=target(dataset="backup/relayed"))
    assert relayed["replicas"][0]["state"] == "full"
    copied = once(one, target=target("local"))
    assert copied["replicas"][0]["target"] == "backup/vol"
    sums = [backend.checksum(name) for backend, name in (
        (one, "tank/vol@s2"), (two, "backup/vol@s2"), (two, "backup/relayed@s2"), (one, "backup/vol@s2"))]  # fmt: skip
    assert len(set(sums)) == 1
    # Three replicas of one volume: each has its own cursors, and none keeps anything else.
    assert marks(one).count("backend-a tank/vol bookmark") == 6
    known = one.zfs("get", "-H", "-s", "local", "-o", "value", "all", "tank/vol")
    targets = re.findall(r'"target":"([^"]*)"', known)
    assert sorted(targets) == ["backend-b:backup/relayed", "backend-b:backup/vol", "backup/vol"]


def test_the_base_may_go(filled: list[Backend]) -> None:
    """Deleted on the source, the base leaves its cursor; deleted on the replica, it is marked until the next came."""
    one, two = filled
    assert once(one)["warnings"] == []
    assert_settled(filled, "s2", cursors=2)
    one.zfs("destroy", "tank/vol@s2")
    two.zfs("destroy", "-d", "backup/vol@s2")
    one.fill("tank/vol", 1, 6)
    one.zfs("snapshot", "tank/vol@s3")
    (four,) = replicate(one, options())
    assert four[1]["actions"][1].startswith("send tank/vol@s3 as an increment from tank/vol#cerss.zfs_")
    assert four[1]["actions"][3].endswith("; ZFS then destroys backup/vol@s2 (pending deletion)")
    assert "backup/vol@s2" not in two.dump()
    assert_settled(filled, "s3", cursors=3)
    assert one.checksum("tank/vol@s3") == two.checksum("backup/vol@s3")


@pytest.mark.no_gate("a gate does not let anything on the replica be destroyed")
def test_divergence(filled: list[Backend]) -> None:
    one, two = filled
    once(one)
    two.run("zfs snapshot backup/vol@local && zfs bookmark backup/vol@local backup/vol#mine")
    one.zfs("snapshot", "tank/vol@s3")
    refused, taken_back = replicate(one, options(), options(on_divergence="rollback"))
    assert "backup/vol@local" in refused[1]["msg"]
    assert taken_back[1]["actions"][:2] == [
        "destroy backup/vol@local, backup/vol#mine on the replica",
        "roll backend-b:backup/vol back to backup/vol@s2",
    ]
    assert_settled(filled, "s3", cursors=3)
    two.zfs("snapshot", "backup/vol@local2")
    two.run("zfs create -u backup/vol/sub && zfs create -s -V 8M backup/vol/zv; zfs set org:by=me backup/vol")
    two.run(
        "zfs allow -u daemon,operator send backup/vol; zfs allow -c destroy backup/vol; zfs allow -s @s send backup/vol"
    )
    one.zfs("snapshot", "tank/vol@s4")
    old = two.zfs("get", "-Hp", "-o", "value", "guid", "backup/vol")
    allowed = two.zfs("allow", "backup/vol")
    (reseeded,) = replicate(one, options(on_divergence="reseed"))
    actions = reseeded[1]["actions"]
    aside = next(name for name in two.dump() if name.startswith("backup/vol_old_") and "@" not in name)
    assert f"put backend-b:backup/vol aside as {aside}" in actions
    assert reseeded[1]["bytes_sent"] < 100_000, "only the increment may travel"
    assert one.checksum("tank/vol@s4") == two.checksum("backup/vol@s4")
    assert two.zfs("get", "-Hp", "-o", "value", "guid", aside) == old
    # What was set, allowed and below is on the new one, with the whole history; the old one keeps its own snapshot.
    assert two.zfs("get", "-H", "-s", "local", "-o", "value", "org:by", "backup/vol").strip() == "me"
    assert two.zfs("allow", "backup/vol") == allowed
    there = two.dump()
    assert {"backup/vol/sub", "backup/vol/zv", *(f"backup/vol@s{number}" for number in (1, 2, 3, 4))} <= set(there)
    assert [name for name in there if name.startswith(f"{aside}@")] == [f"{aside}@local2"]
    assert [line for line in marks(two) if aside in line] == [f"backend-b {aside} source"]
    info = verbs.run(two, "_replication.info", [{"name": [aside]}], look=False, passes=1)[0][0]
    assert "put aside by a reseed and kept" in info["replications"][0]["problems"][0]
    two.zfs("snapshot", "backup/vol@local3")
    assert f"{aside} of an earlier reseed is still there" in once(one, on_divergence="reseed")["msg"]


def test_trees_and_clones(backends: list[Backend]) -> None:
    """Each dataset gets its replica, clones stay clones, and what is excluded or lacks the snapshot stays away."""
    one, two = backends
    one.run(
        "for name in t t/a t/a/b t/skip t/skip/x; do zfs create tank/$name; done"
        " && echo base > /tank/t/a/file && zfs snapshot -r tank/t@s1 && zfs clone tank/t/a@s1 tank/t/0clone"
        " && echo more > /tank/t/0clone/more && zfs snapshot tank/t/0clone@s2 && zfs create tank/t/new"
    )
    wish = options("tank/t", recursive=True, exclude=["tank/t/skip"], target=target(dataset="backup/t"))
    (four,) = replicate(one, wish)
    done = {replica["target"]: replica for replica in four[1]["replicas"]}
    assert done["backend-b:backup/t/0clone"]["origin_preserved"] is True
    assert done["backend-b:backup/t/new"]["state"] == "absent"
    assert any("tank/t/new has no snapshot" in warning for warning in four[1]["warnings"])
    there = two.dump()
    assert there["backup/t/0clone"]["origin"] == "backup/t/a@s1"
    assert "backup/t/a/b@s1" in there
    assert not [name for name in there if "skip" in name]
    assert one.checksum("tank/t/0clone@s2") == two.checksum("backup/t/0clone@s2")


def test_a_renamed_source_goes_on_in_its_replica(filled: list[Backend]) -> None:
    """Also in a tree of both kinds, where each gets the properties that its kind has."""
    one, two = filled
    one.run(
        "zfs create tank/t && zfs rename tank/vol tank/t/vol && zfs rename tank/zv tank/t/zv && zfs snapshot tank/t@s1"
    )
    wish: dict[str, Any] = {"recursive": True, "target": target(parent="backup"), "properties": {"atime": "off"}}
    assert not once(one, name="tank/t", **wish).get("failed")
    assert two.zfs("get", "-H", "-o", "value", "atime", "backup/t/vol").strip() == "off"
    one.run("zfs rename tank/t/vol tank/t/new && zfs rename tank/t tank/u && zfs create tank/u/more")
    one.zfs("snapshot", "-r", "tank/u@s3")
    (four,) = replicate(one, options("tank/u", **wish))
    followed = {replica["source"]: (replica["target"], replica["base"]) for replica in four[1]["replicas"]}
    assert followed == {
        "tank/u@s3": ("backend-b:backup/t", "tank/u@s1"),
        "tank/u/new@s3": ("backend-b:backup/t/vol", "tank/u/new@s2"),
        "tank/u/zv@s3": ("backend-b:backup/t/zv", "tank/u/zv@s1"),
        "tank/u/more@s3": ("backend-b:backup/t/more", None),
    }
    # Another job's replica is not mistaken for it, and whoever takes the old name does not get its replica.
    apart = once(one, name="tank/u/new", target=target(parent="backup/apart"))
    assert apart["replicas"][0]["base"] is None
    one.run("zfs create tank/t && zfs snapshot tank/t@s4 tank/u@s4")
    assert "is the replica of" in once(one, name="tank/t", target=target(parent="backup"))["msg"]
    both = {replica["source"]: replica for replica in once(one, name=["tank/t", "tank/u"], **wish)["replicas"]}
    assert "is the replica of tank/u, which was renamed" in both["tank/t"]["msg"]
    assert both["tank/u@s4"]["base"] == "tank/u@s3"


def test_side_by_side(backends: list[Backend]) -> None:
    """Two streams at a time, and one volume that fails keeps no other from its replica."""
    one, two = backends
    names = [f"tank/v{number}" for number in range(5)]
    for name in names:
        one.zfs("create", "-o", "compression=off", name)
    one.run("for n in 0 1 2 3 4; do head -c 1500K /dev/urandom > /tank/v$n/f; done; zfs snapshot -r tank@s1")
    two.run("zfs create -u backup/v3")
    watch = 'while sleep 0.2; do pgrep -fc "^zfs send -vP"; done'
    one.run(f"nohup sh -c '{watch}' > /run/streams 2> /dev/null < /dev/null & echo $! > /run/streams.pid")
    done = once(one, name=names, target=target(parent="backup"), bandwidth_limit="400K")
    one.run("kill $(cat /run/streams.pid)")
    assert done["failed"]
    assert "backup/v3 exists and is not a replica" in done["msg"]
    states = {replica["target"]: (replica["state"], replica["failed"]) for replica in done["replicas"]}
    assert states.pop("backend-b:backup/v3") == ("absent", True)
    assert set(states.values()) == {("full", False)}
    assert max(map(int, one.run("cat /run/streams").stdout.split())) == 2


@pytest.fixture
def forty(backends: list[Backend]) -> list[Backend]:
    """A tree of forty datasets as its replication leaves it, made by hand: that is minutes quicker here."""
    one, two = backends
    one.run("zfs create tank/t && for n in $(seq 1 39); do zfs create -u tank/t/v$n; done && zfs snapshot -r tank/t@s1")
    stream = one.run("zfs send -R tank/t@s1 | base64", timeout=900).stdout
    two.run("base64 -d | zfs receive -u -o readonly=on backup/t", input=stream, timeout=900)
    pool = pool_id(two.zfs("get", "-Hp", "-o", "value", "guid", "backup").strip())
    rows = [line.split("\t") for backend, tree in zip(backends, ("tank/t", "backup/t")) for line in backend.zfs(
        "list", "-Hp", "-r", "-t", "filesystem,snapshot", "-o", "name,guid,createtxg", tree
    ).splitlines()]  # fmt: skip
    known = {name: (guid, int(txg)) for name, guid, txg in rows}
    here, there = ["set -e"], ["set -e"]
    for number, name in enumerate(name for name in known if name.startswith("tank/") and "@" not in name):
        place, id_ = f"backup/{name.partition('/')[2]}", f"{number:016x}"
        guid, txg = known[f"{name}@s1"]
        records = ReplicaRecords((ReplicaRecord(id_, f"backend-b:{place}", known[place][0], "plain"),)).format()
        point = CommitPoints((CommitPoint(id_, guid, txg),)).format()
        mark = SourceMark(id_, "backend-a", name, known[name][0], "plain").format()
        here.append(f"zfs bookmark {name}@s1 {name}#{Cursor(id_, guid).format()}")
        here.append(f"zfs set '{ReplicaRecords.name(pool)}={records}' '{CommitPoints.name(pool)}={point}' {name}")
        there.append(f"zfs set '{SourceMark.NAME}={mark}' {place}")
    one.run("sh -s", input="\n".join(here), timeout=900)
    two.run("sh -s", input="\n".join(there), timeout=900)
    return backends


def test_nothing_to_do_costs_three_reads_a_side(forty: list[Backend]) -> None:
    one, two = forty
    wish = options("tank/t", recursive=True, parallel=4, target=target(dataset="backup/t"))
    with counting(one) as here, counting(two) as there:
        (four,) = replicate(one, wish, look=False, passes=2)
        assert [result["changed"] for result in four] == [False] * 2
        assert len(four[1]["replicas"]) == 40
        assert here() == ["list", "get", "get"] * 2
        assert there() == ["list", "get", "get"] * 2


def test_what_an_increment_costs(filled: list[Backend]) -> None:
    """For each dataset four processes on both sides together, and two where root may run channel programs.

    The rest does not depend on their number.
    """
    one, two = filled
    wish = options(["tank/vol", "tank/zv"], target=target(parent="backup"))
    replicate(one, wish, look=False, passes=1)
    one.zfs("snapshot", "tank/vol@s3", "tank/zv@s3")
    with counting(one) as here, counting(two) as there:
        ((told,),) = replicate(one, wish, look=False, passes=1)
        assert told["changed"], told
        waves = there().count("hold")  # one, unless the machines are slow
        marks = ["bookmark", "set"] * 2 if verbs.USER else ["program"] * (1 + waves)
        reads = ["list", "get", "get"] * (1 + waves)
        assert sorted(here()) == sorted([*reads, "get", "get", "send", "send", *marks])
        assert sorted(there()) == sorted([*reads, "get", "holds", *["hold", "release"] * waves, "receive", "receive"])


def test_a_cut_is_resumed(filled: list[Backend]) -> None:
    one, two = filled
    once(one)
    one.fill("tank/vol", 12, 7)
    one.zfs("snapshot", "tank/vol@s3")
    # The sender ends by its pid once a part has travelled, however long the machine takes to get there.
    one.run(
        "nohup sh -c 'until pid=$(pgrep -f \"^zfs send -vP\"); do sleep 0.2; done; sleep 5; kill $pid'"
        " > /dev/null 2>&1 < /dev/null &"
    )
    first = once(one, bandwidth_limit="512K")
    assert first["failed"]
    assert "the next run resumes there" in first["msg"]
    assert two.zfs("get", "-H", "-o", "value", "receive_resume_token", "backup/vol").strip() != "-"
    # While a part waits, its snapshots are kept, whoever deletes them.
    one.zfs("destroy", "-d", "tank/vol@s3")
    (second,) = replicate(one, options("tank/vol@s3"))
    assert second[1]["replicas"][0]["resumed"]
    assert any(action.startswith("resume sending tank/vol@") for action in second[1]["actions"])
    # Its last hold gone, the deleted snapshot went by itself, and the cursor keeps its place.
    assert "tank/vol@s3" not in one.dump()
    assert_settled(filled, "s3", cursors=3)
    assert two.run("zfs send -nvP backup/vol@s3", check=False).returncode == 0


def test_one_run_at_a_time(filled: list[Backend]) -> None:
    one = filled[0]
    first = once(one)
    assert not first.get("failed")
    one.zfs("snapshot", "tank/vol@s3")
    package = "ansible_collections.cerss.zfs.plugins.module_utils"
    holder = (
        f"import sys, time; sys.path.insert(0, {verbs.FOLDER!r}); from {package}._host import runfiles; "
        f"lock = runfiles.lock({first['replicas'][0]['id']!r}); print(lock.__enter__(), flush=True); time.sleep(300)"
    )
    user = ["sudo", "-u", verbs.USER] if verbs.USER else []
    one.run([*user, "sh", "-c", f'python3 -c "{holder}" > /tmp/holder 2>&1 < /dev/null & echo $! > /tmp/holder.pid'])
    one.run("until grep -q True /tmp/holder; do sleep 0.1; done")
    assert "another run on this host is replicating to backend-b:backup/vol" in once(one, on_active="fail")["msg"]
    assert "did not end within timeout" in once(one, on_active="wait", timeout="40s")["msg"]
    one.run("nohup sh -c 'sleep 4; kill $(cat /tmp/holder.pid)' > /dev/null 2>&1 < /dev/null &")
    assert not once(one).get("failed")
    assert_settled(filled, "s3", cursors=3)


@contextmanager
def without(backend: Backend, path: str) -> Iterator[None]:
    backend.run(["mv", path, path + ".away"])
    try:
        yield
    finally:
        backend.run(["mv", path + ".away", path])


@pytest.mark.no_gate("places outside the root, and users without a gate")
def test_bad_input(filled: list[Backend]) -> None:
    """One clear error each, and nothing changed (which `verbs.run` looks at)."""
    one, two = filled
    one.run("ssh-keygen -q -t ed25519 -N '' -f /root/stranger <<< y || true; : > /root/nobody")
    before = two.dump()
    table = [
        (options("tank/none"), "tank/none does not exist"),
        (options("tank//vol"), "not a valid dataset name"),
        (options("tank/vol@a@b"), "not a valid snapshot name"),
        (options(["tank/vol", "tank/vol@s1"]), "more than once"),
        (options(["tank/vol", "tank/zv"]), "target.dataset names a single replica"),
        (options(target=target(None)), "neither target.host nor source.host"),
        (options(target=target("")), "target.host is ''"),
        (options(target=target("-oProxyCommand=x")), "give a host name"),
        (options(target=target("local", dataset="tank/vol")), "is the source itself"),
        (options(target=target(dataset="nopool/vol")), "there is no pool nopool on backend-b"),
        (options(target=target(dataset="backup/" + "x" * 243)), "249"),
        (options(target=target("no-such-host.invalid")), "check the address"),
        (options(target=target(port=1)), "Connection refused"),
        (options(target=target(identity_file="/root/stranger")), "authorized_keys"),
        (options(target=target(known_hosts_file="/root/nobody")), "host keys are always checked"),
        (options(target=target(ssh_options=["StrictHostKeyChecking=no"])), "cannot be set here"),
        (options(include_snapshots=["daily-*"]), "has no snapshot that the filters allow"),
        (options(bandwidth_limit="fast"), "bandwidth_limit: 'fast' is not a size"),
        (options(properties={"quota": "1G"}), "quota does not belong on a replica"),
        (options(target=target(dataset="backup")), "not a replica made by this collection"),
    ]  # fmt: skip
    verbs.refused(one, "_replication.replicate", table)
    ((check, real),) = replicate(one, options("tank/vol@none"), look=False, passes=2)
    assert check["warnings"] == ["tank/vol@none does not exist; check mode assumes that an earlier task creates it"]
    assert "tank/vol@none does not exist" in real["msg"]
    with without(two, "/usr/sbin/zfs"):
        assert "install OpenZFS" in once(one)["msg"]
    denied = once(one, target=target(user="operator"))
    assert denied["failed"]
    assert "permission denied" in denied["msg"]
    assert two.dump() == before


@pytest.mark.no_gate("a pool outside the root")
def test_a_full_pool(filled: list[Backend]) -> None:
    one, two = filled
    one.fill("tank/vol", 90, 8)
    one.zfs("snapshot", "tank/vol@s3")
    two.run("truncate -s 80M /tmp/small && zpool create small /tmp/small")
    try:
        full = once(one, target=target(dataset="small/vol"))
        assert "out of space" in full["msg"]
        assert "free space" in full["msg"]
    finally:
        two.run("zpool destroy small; rm /tmp/small")


def test_a_relationship_ends_on_both_sides(filled: list[Backend], ansible: Ansible) -> None:
    one, two = filled
    once(one)
    one.zfs("snapshot", "tank/vol@s3")
    info = ansible.run_tasks(one.name, [{"cerss.zfs.zfs_replication_info": {"name": ["tank/vol"], "max_lag": "1d"}}])
    (found,) = info[0]["replications"]
    assert (found["target"], found["last_replicated"], found["snapshots_behind"]) == (
        "backend-b:backup/vol",
        "tank/vol@s2",
        1,
    )
    assert found["healthy"], found["problems"]
    (there,) = ansible.run_tasks(two.name, [{"cerss.zfs.zfs_replication_info": {}}])[0]["replications"]
    assert (there["role"], there["source"], there["id"]) == ("replica", "backend-a:tank/vol", found["id"])
    end = {"name": "tank/vol", "target": {"host": "backend-b", "dataset": "backup/vol"}, "state": "absent"}
    adopt = {**end, "state": "present"}
    ended, adopted = ansible.four_times_many(
        one.name, [{"cerss.zfs.zfs_replication": end}, {"cerss.zfs.zfs_replication": adopt}]
    )
    assert ended[1]["id"] == found["id"]
    assert adopted[1]["actions"][:2] == [
        "record the relationship with backend-b:backup/vol on tank/vol",
        "adopt backend-b:backup/vol as the replica of tank/vol",
    ]
    assert_settled(filled, "s2", cursors=1)
    assert "backup/vol@s2" in two.dump()
    assert once(one)["replicas"][0]["base"] == "tank/vol@s2"
