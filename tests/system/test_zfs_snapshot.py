# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""zfs_snapshot on real pools."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import verbs
from harness import Ansible, Backend

VERB = "_snapshot.{state}"
READ = ["get", "get"]  # native properties, and user properties
MODULE = "cerss.zfs.zfs_snapshot"
TRICKY = "tab\tnewline\nreturn\rnext\u0085line\u2028 größer ≠"
VOLUMES = "for n in vol vol/below log; do zfs create tank/$n; done; zfs create backup/other; zfs create -V 8M tank/z"
OPTIONS: dict[str, Any] = {
    "snapshot": None, "utc": False, "state": "present", "recursive": False, "exclude": [], "select": None,
    "properties": None, "holds": None, "purge_holds": False, "temporary": None, "expires": None, "min_age": None,
    "match": None, "before": None, "after": None, "on_dependents": "defer", "on_replica": "refuse", "wait": "0",
}  # fmt: skip
MINUTE = "while [ $(date +%-S) -gt 15 ]; do sleep 1; done"  # the four runs that follow are in the same minute
NIGHTLY = {"property": "org.example:backup", "value": "nightly"}
MARKED = "zfs set org.example:backup=nightly tank/vol tank/z; zfs set org.example:backup=none tank/vol/below"
MARK = '{"id":"00112233445566aa","host":"b","dataset":"a/v","guid":"7","mode":"plain"}'


def present(*names: str, **options: Any) -> dict[str, Any]:
    """All options of the module."""
    return {**OPTIONS, "name": list(names), **options}


def absent(*names: str, **options: Any) -> dict[str, Any]:
    return present(*names, state="absent", **options)


def states(result: dict[str, Any]) -> dict[str, str]:
    return {snapshot["name"]: snapshot["state"] for snapshot in result["snapshots"]}


@pytest.fixture
def backend(backends: list[Backend]) -> Backend:
    return backends[0]


def test_made_and_put_right(backend: Backend) -> None:
    pair = ["tank/vol@s1", "tank/log@s1"]
    properties = {"org.example:note": TRICKY, "org.example:flag": True, "org.example:number": 4711}
    made, changed, purged, temporary, lasting, expiring, try_, tree, many = verbs.run(
        backend,
        VERB,
        [
            VOLUMES,
            present(*pair, properties=properties, holds=["audit", "with space"]),
            present(*pair, properties={"org.example:flag": None, "org.example:number": 12}),
            present(pair[0], holds=["audit", "second"], purge_holds=True),
            present(pair[0], temporary=True, expires="2h"),
            present(pair[0], temporary=False, expires="never"),
            present(pair[0], expires="300d"),
            present("tank/vol@try", temporary=True, expires="1d"),
            present("tank@tree", recursive=True),
            present("tank/z@s1", "backup/other@s1", "tank/vol@m1", "tank/vol@m2"),
        ],
    )
    assert made[1]["actions"] == [
        *(f"create snapshot {name}" for name in pair),
        *(f"put hold {tag} on {name}" for tag in ("audit", "with space") for name in pair),
    ]
    first, second = made[1]["snapshots"]
    assert first["createtxg"] == second["createtxg"]
    assert first["properties"] == {"org.example:note": TRICKY, "org.example:flag": "true", "org.example:number": "4711"}
    assert sorted(hold["tag"] for hold in first["dependents"]["holds"]) == ["audit", "with space"]
    assert first["deletable"] is False
    assert first["guid"] == backend.zfs("get", "-Hp", "-o", "value", "guid", pair[0]).strip()
    assert made[0]["snapshots"][0]["guid"] is None  # what the check run could not know
    assert changed[1]["snapshots"][0]["properties"] == {"org.example:number": "12"}
    assert purged[1]["actions"] == ["put hold second on tank/vol@s1", "release hold with space of tank/vol@s1"]
    assert temporary[1]["snapshots"][0]["temporary"] is True
    assert temporary[1]["snapshots"][0]["expires"] > temporary[1]["snapshots"][0]["created"]
    assert lasting[1]["snapshots"][0]["temporary"] is False
    assert lasting[1]["snapshots"][0]["expires"] is None
    assert expiring[1]["actions"] == ["set cerss.zfs:expires of tank/vol@s1"]
    assert expiring[1]["snapshots"][0]["temporary"] is False
    assert expiring[1]["snapshots"][0]["expires"] is not None
    assert try_[1]["snapshots"][0]["depends_on"]["snapshot"] == "tank/vol@s1"
    names = ["tank@tree", "tank/log@tree", "tank/vol@tree", "tank/vol/below@tree", "tank/z@tree"]
    assert states(tree[1]) == dict.fromkeys(names, "full")
    assert len({snapshot["createtxg"] for snapshot in tree[1]["snapshots"]}) == 1
    assert "not atomic" in many[1]["warnings"][0]
    assert set(states(many[1]).values()) == {"full"}


def test_min_age(backend: Backend) -> None:
    young: dict[str, Any] = {"min_age": "1h", "match": ["hourly-*"]}
    group, later, marked, old = verbs.run(
        backend,
        VERB,
        [
            f"{VOLUMES}; zfs snapshot tank/vol@hourly-1",
            present("tank/vol@hourly-2", "tank/log@hourly-2", **young),
            present("tank/vol@hourly-3", "tank/log@hourly-3", **young),
            "zfs hold h tank/vol@hourly-2 tank/vol@hourly-1 && zfs destroy -d tank/vol@hourly-2",
            present("tank/vol@hourly-4", **young),
            "sleep 2",
            present("tank/vol@hourly-4", min_age=1, match=["hourly-*"]),
        ],
    )
    assert group[1]["changed"]  # the log has none yet, so all are made, as one group
    assert not later[1]["changed"]
    assert list(states(later[1])) == ["tank/vol@hourly-2", "tank/log@hourly-2"]
    assert list(states(marked[1])) == ["tank/vol@hourly-1"]  # the newer one is going
    assert old[1]["changed"]


def test_names_with_the_time(backend: Backend) -> None:
    backend.run(f"{VOLUMES}; {MARKED}; zfs set 'cerss.zfs:source={MARK}' tank/z; zfs snapshot tank/log@hourly-now")
    tree, hourly, later, daily, selected, nothing, gone = verbs.run(
        backend,
        VERB,
        [
            MINUTE,
            present("tank", recursive=True, exclude=["tank/z", "re:.*/below"], snapshot="all-%Y-%m-%d_%H-%M"),
            MINUTE,
            present("tank/log", snapshot="hourly-%H-%M", utc=True, min_age="1h"),
            "sleep 61",
            MINUTE,
            present("tank/log", snapshot="hourly-%H-%M", utc=True, min_age="1h"),
            present("tank/log", "tank/vol", snapshot="daily-%F", min_age="1d"),
            present(name=None, select=NIGHTLY, snapshot="%F"),
            present(name=None, select={**NIGHTLY, "value": "weekly"}, snapshot="%F"),
            absent("tank", snapshot="never", recursive=True, exclude=["tank/vol"]),
        ],
    )
    day = backend.run("date +%F").stdout.strip()
    names = [snapshot["name"] for snapshot in tree[1]["snapshots"]]
    assert [name.partition("@")[0] for name in names] == ["tank", "tank/log", "tank/vol"]
    (made,) = {name.partition("@")[2] for name in names}
    assert made[:-5] == f"all-{day}_"
    assert len({snapshot["createtxg"] for snapshot in tree[1]["snapshots"]}) == 1
    assert hourly[1]["changed"]  # hourly-now is no name of the template
    assert not later[1]["changed"]
    assert [snapshot["name"] for snapshot in later[1]["snapshots"]] == [hourly[1]["snapshots"][0]["name"]]
    assert list(states(daily[1])) == [f"tank/log@daily-{day}", f"tank/vol@daily-{day}"]
    assert states(selected[1]) == {f"tank/vol@{day}": "full"}
    assert "tank/z is replica of the replication 00112233445566aa; it is left out" in selected[1]["warnings"][0]
    assert nothing[1]["warnings"] == [
        "no dataset has org.example:backup=weekly, so there is nothing to do; check select"
    ]
    assert set(states(gone[1])) == {"tank@never", "tank/log@never", "tank/z@never"}


def test_deleted_with_dependents(backend: Backend) -> None:
    names = [f"tank/vol@{part}" for part in ("free1", "held", "free2", "cloned", "both", "never")]
    refused, done, marked, cascade = verbs.run(
        backend,
        VERB,
        [
            VOLUMES,
            "for n in free1 free2 held cloned both; do zfs snapshot tank/vol@$n; done; "
            "zfs clone tank/vol@both tank/c2; "
            "zfs hold keep tank/vol@held tank/vol@both && zfs clone tank/vol@cloned tank/c1",
            absent(*names, on_dependents="fail"),
            absent(*names),
            present("tank/vol@held"),
            absent("tank/vol@both", on_dependents="cascade"),
        ],
    )
    for blocker in (
        "tank/vol@held is needed by hold keep",
        "tank/vol@cloned is needed by clone tank/c1",
        "tank/vol@both is needed by clone tank/c2 and hold keep",
    ):
        assert blocker in refused[1]["msg"]
    assert done[1]["actions"] == [
        "destroy snapshot tank/vol@free1",
        "destroy snapshot tank/vol@free2",
        "defer deletion of tank/vol@held (needed by hold keep)",
        "defer deletion of tank/vol@cloned (needed by clone tank/c1)",
        "defer deletion of tank/vol@both (needed by clone tank/c2 and hold keep)",
    ]
    kept = {"held": "pending_delete", "cloned": "pending_delete", "both": "pending_delete"}
    assert states(done[1]) == {name: kept.get(name.partition("@")[2], "absent") for name in names}
    assert done[3]["pending"] == ["tank/vol@held", "tank/vol@cloned", "tank/vol@both"]
    assert "hold keep needs it" in marked[1]["msg"]
    assert "Clone it with 'zfs clone'" in marked[1]["msg"]
    assert "tank/vol@both: hold keep" in cascade[1]["msg"]

    # It goes by itself with the last dependent, and wait sees that.
    ((_check, waited),) = verbs.run(
        backend,
        VERB,
        ["(sleep 3; zfs release keep tank/vol@held) > /dev/null 2>&1 &", absent("tank/vol@held", wait=60)],
        look=False,
        passes=2,
    )
    assert states(waited) == {"tank/vol@held": "absent"}
    assert waited["pending"] == []


def test_cascade(backend: Backend) -> None:
    refused, done = verbs.run(
        backend,
        VERB,
        [
            VOLUMES,
            "zfs snapshot tank/vol@s && zfs clone tank/vol@s tank/log/c1 && zfs snapshot tank/log/c1@x"
            " && zfs clone tank/log/c1@x tank/c2 && zfs snapshot tank/c2@y && zfs clone tank/vol@s tank/c3"
            " && zfs destroy -d tank/log/c1@x && zfs snapshot tank/vol@other && zfs create tank/c3/own",
            absent("tank/vol@s", on_dependents="cascade"),
            "zfs rename tank/c3/own tank/own",
            absent("tank/vol@s", on_dependents="cascade"),
        ],
    )
    assert "tank/c3/own below it is not a clone" in refused[1]["msg"]
    assert done[1]["actions"] == [
        "destroy snapshot tank/c2@y",
        "destroy clone tank/c2 of tank/log/c1@x",
        "tank/log/c1@x, which was pending deletion, is destroyed by ZFS with tank/c2",
        "destroy clone tank/c3 of tank/vol@s",
        "destroy clone tank/log/c1 of tank/vol@s",
        "destroy snapshot tank/vol@s",
    ]
    left = backend.zfs("list", "-H", "-r", "-t", "all", "-o", "name", "tank").split()
    assert left == ["tank", "tank/log", "tank/own", "tank/vol", "tank/vol@other", "tank/vol/below", "tank/z"]


def test_a_snapshot_being_sent_is_busy(backend: Backend) -> None:
    backend.run(VOLUMES)
    backend.fill("tank/vol", 4)
    backend.run("zfs snapshot tank/vol@sent && zfs snapshot tank/vol@free && mkfifo /run/slow")
    backend.run("(setsid sh -c 'exec 3<> /run/slow; exec zfs send tank/vol@sent >&3' &) > /dev/null 2>&1 < /dev/null")
    try:
        backend.run("for i in $(seq 100); do pgrep -f '^zfs send' > /dev/null && exit 0; sleep 0.1; done; exit 1")
        cases = [absent("tank/vol@sent", "tank/vol@free"), absent("tank/vol@sent", on_dependents="fail")]
        both, refused = verbs.run(backend, VERB, cases, look=False, passes=2)
        for result in both:
            assert result["busy"] == ["tank/vol@sent"]
            assert states(result) == {"tank/vol@sent": "full", "tank/vol@free": "absent"}
            assert [snapshot["failed"] for snapshot in result["snapshots"]] == [True, False]
            assert result["actions"] == ["destroy snapshot tank/vol@free"]
            assert result["changed"]
            assert "being sent" in result["msg"]
        assert "tank/vol@sent is needed by the transfer that sends it" in refused[1]["msg"]
    finally:
        backend.run("kill $(pgrep -f '^zfs send'); rm -f /run/slow")


def around(before: str, after: str = "echo after >> /root/log", name: str = "tank/vol@s") -> dict[str, Any]:
    def command(text: str, **environment: str) -> dict[str, Any]:
        return {"argv": ["sh", "-c", text], "timeout": "5s", "environment": environment}

    first = command("echo before $WORD >> /root/log", WORD="secret")
    return present(name, before=[first, command(before)], after=[command(after), command("echo last >> /root/log")])


def test_commands_around(backend: Backend) -> None:
    def log() -> list[str]:
        return backend.run("cat /root/log; rm -f /root/log", check=False).stdout.splitlines()

    (good,) = verbs.run(
        backend, VERB, [VOLUMES, around("zfs list tank/vol@s > /dev/null 2>&1 || echo not yet >> /root/log")]
    )
    assert good[1]["actions"] == [
        "run command 1 of before",
        "run command 2 of before",
        "create snapshot tank/vol@s",
        "run command 1 of after",
        "run command 2 of after",
    ]
    assert log() == ["before secret", "not yet", "after", "last"]

    (_check, bad), (_check, slow) = verbs.run(
        backend,
        VERB,
        [around("exit 3", name="tank/vol@bad"), around("sleep 60", name="tank/vol@slow")],
        look=False,
        passes=2,
    )
    assert bad["msg"] == "command 2 of before failed with exit status 3 (no snapshot was created)"
    assert slow["msg"] == "command 2 of before did not finish within 5 s and was stopped (no snapshot was created)"
    assert log() == ["before secret", "after", "last"] * 2
    assert not {"tank/vol@bad", "tank/vol@slow"} & set(backend.dump())

    ((_check, half),) = verbs.run(backend, VERB, [around("true", "exit 4", "tank/vol@half")], look=False, passes=2)
    assert half["msg"].startswith("the snapshots were created, but command 1 of after failed with exit status 4")
    assert states(half) == {"tank/vol@half": "full"}
    assert half["changed"]
    assert log() == ["before secret", "last"]


# What a command leaves behind, as the MySQL lock pattern does, and whether that makes the snapshot fail.
LEFT = {
    "sleep 300 & exit 0": False,
    "setsid sleep 300 & exit 0": False,
    "(setsid sh -c 'exec sleep 300' &); exit 0": False,
    "trap '' TERM; while :; do sleep 1; done": True,
    "yes flood": True,
}


def test_whatever_a_command_leaves_behind_what_comes_after_runs_in_time(backend: Backend) -> None:
    verbs.run(backend, VERB, [VOLUMES])
    for number, (text, fails) in enumerate(LEFT.items()):
        start = time.monotonic()
        ((told,),) = verbs.run(backend, VERB, [around(text, name=f"tank/vol@{number}")], look=False, passes=1)
        assert time.monotonic() - start < 30, text
        assert bool(told.get("failed")) == fails, told
        log = backend.run("cat /root/log; rm /root/log; pkill -f '^sleep 300' || true").stdout.split()
        assert log[-2:] == ["after", "last"], text


def test_creating_is_seen_and_a_signal_runs_what_comes_after(backend: Backend, ansible: Ansible) -> None:
    """Through Ansible: the state another run sees, and the way a cancelled one ends."""
    backend.run(VOLUMES)
    waiting = {
        MODULE: {
            "name": "tank/vol@s",
            "before": [{"argv": ["sh", "-c", "touch /run/waiting; exec sleep 10000"], "timeout": "2h"}],
            "after": [{"argv": ["touch", "/run/thawed"]}],
        }
    }
    results: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: results.extend(ansible.run_tasks(backend.name, [waiting], fails=True)))
    thread.start()
    backend.run("for i in $(seq 600); do [ -e /run/waiting ] && exit 0; sleep 0.1; done; exit 1")
    info = ansible.run_tasks(
        backend.name,
        [{"cerss.zfs.zfs_snapshot_info": {"name": name}} for name in ("tank/vol", "tank/vol@s")],
    )
    backend.run("kill -TERM $(sed 's/.*\"pid\": \\([0-9]*\\).*/\\1/' /run/cerss.zfs/*/*.json)")
    thread.join(120)
    assert [states(seen) for seen in info] == [{"tank/vol@s": "creating"}] * 2
    assert info[0]["counts"]["creating"] == 1
    assert results[0]["msg"] == "stopped by SIGTERM (no snapshot was created)"
    backend.run(
        '[ -e /run/thawed ] && [ -z "$(ls /run/cerss.zfs/*/*.json 2> /dev/null)" ]; s=$?; '
        "rm -f /run/waiting /run/thawed; exit $s"
    )
    assert "tank/vol@s" not in backend.dump()


def test_number_of_zfs_processes(backend: Backend) -> None:
    three = ["tank/vol@a", "tank/log@a", "backup/other@a"]
    many = [f"tank/vol@n{number}" for number in range(1, 121)]
    cases = [
        (present(*three), ["list", *READ, "snapshot", "snapshot", *READ]),
        (present(*three), ["list", *READ]),
        (present(*three[:2], holds=["x"]), ["list", *READ, "hold", *READ, "holds"]),
        (present(*three[:2], holds=[], purge_holds=True), ["list", *READ, "holds", "release", *READ]),
        (absent(*three[1:]), ["list", *READ, "destroy", "destroy", *READ]),
        (absent(*many), ["list", *READ, "holds", "destroy", "destroy", "destroy", *READ, "holds"]),
        (absent(*many), ["list", *READ, "holds"]),
        (present("tank/vol", "tank/z", snapshot="named"), ["list", *READ, "snapshot", *READ]),
        (present(name=None, select=NIGHTLY, snapshot="chosen"), ["list", "get", *READ, "snapshot", *READ]),
    ]
    backend.run(f"{VOLUMES}; {MARKED}; for n in $(seq 120); do zfs snapshot tank/vol@n$n; done; zfs hold h tank/vol@n7")
    answers = verbs.run(backend, VERB, [case for case, _wished in cases], look=False, passes=2)
    assert [real["zfs"] for _check, real in answers] == [wished for _case, wished in cases]


def test_bad_input_changes_nothing(backend: Backend) -> None:
    backend.run(f"{VOLUMES}; zfs snapshot tank/vol@old; zfs snapshot tank/vol@marked; zfs hold h tank/vol@marked")
    backend.run("zfs destroy -d tank/vol@marked")
    time.sleep(1.1)
    verbs.refused(
        backend,
        VERB,
        [
            (present("tank/vol"), "names no snapshot; give it as pool/dataset@snapshot"),
            (present("tank/vol", snapshot="at-%c"), "'%c' in 'at-%c' cannot be in the name of a snapshot"),
            (present("tank/vol", snapshot="at/%F"), "it has '/'"),
            (present("tank/vol", "tank/none", snapshot="at-%F"), "there is no dataset tank/none"),
            (present("tank/vol", recursive=True, snapshot="s" * 244 + "%Y"), "is not a valid snapshot name"),
            (absent("tank/vol", snapshot="at-%F"), "would only name the snapshots of this moment"),
            (present("tank/none@s"), "there is no dataset tank/none"),
            (present("tank/vol@new", "nopool/x@s"), "there is no dataset nopool/x"),
            (present("tank/vol@old", temporary=True, expires=1), "would have expired"),
            (present("tank/vol@" + "s" * 245, recursive=True), "is not a valid snapshot name"),
            (present("tank/vol@new", "tank/vol@marked"), "tank/vol@marked is pending deletion"),
            (absent("tank/vol@old", "tank/vol@marked", on_dependents="fail"), "tank/vol@marked is needed by hold h"),
            (absent("tank/vol@old", "tank/vol@marked", on_dependents="cascade"), "tank/vol@marked: hold h"),
        ],
    )


def test_through_ansible(backend: Backend, ansible: Ansible) -> None:
    backend.run(VOLUMES)
    task = {MODULE: {"name": "tank/vol@s", "properties": {"org:x": True}, "holds": "one"}}
    made = ansible.four_times(backend.name, task)
    assert states(made[1]) == {"tank/vol@s": "full"}
    chosen = {"select": {"property": "org.example:backup", "value": True}, "snapshot": "nightly-%F", "min_age": "23h"}
    backend.run("zfs set org.example:backup=true tank/log")
    made = ansible.four_times(backend.name, {MODULE: {**chosen, "exclude": "tank/vol, backup", "wait": 0}})
    assert [each["dataset"] for each in made[1]["snapshots"]] == ["tank/log"]
    assert not any(each["changed"] for each in ansible.four_times(backend.name, {MODULE: {"name": []}}))
    gone = ansible.four_times(backend.name, {MODULE: {"name": "tank/vol@s", "state": "absent"}})
    assert gone[1]["pending"] == ["tank/vol@s"]


def test_on_replicas(backend: Backend) -> None:
    made = f"zfs create tank/vol; zfs create tank/vol/replica; zfs set 'cerss.zfs:source={MARK}' tank/vol/replica"
    tree, _allowed = verbs.run(
        backend,
        VERB,
        [made, present("tank/vol@s1", recursive=True), present("tank/vol/replica@s2", on_replica="allow")],
    )
    assert tree[1]["actions"] == ["create snapshot tank/vol@s1"]
    assert tree[0]["actions"] == tree[1]["actions"]
    assert "tank/vol/replica is replica of the replication 00112233445566aa; it is left out" in tree[1]["warnings"][0]
    verbs.refused(backend, VERB, [(present("tank/vol/replica@s3"), "Create them on the source")])
    assert backend.zfs("list", "-Ht", "snapshot", "-o", "name", "-r", "tank").split() == [
        "tank/vol@s1", "tank/vol/replica@s2",
    ]  # fmt: skip
