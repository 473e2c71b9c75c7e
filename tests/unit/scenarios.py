# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sessions that are recorded on machines with real ZFS (make record), and replayed by test_recorded.py.

A text is for the shell of backend-a, where everything runs; backend-b is an ssh away. Each session has fresh pools.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field, replace
from typing import Any

BOTH, REAL, CHECK = (True, False), (False,), (True,)


@dataclass(frozen=True)
class Call:
    """A module's verb, run once for each phase: True in check mode, False for real."""

    module: str
    options: dict[str, Any] = field(default_factory=dict)
    phases: tuple[bool, ...] = BOTH


Session = list["str | Call"]

ID = "00112233445566aa"
OTHER = '{"id":"00112233445566aa","host":"elsewhere","dataset":"tank/x","guid":"1","mode":"plain"}'
POOL = "00000000000000ff"  # as if it were the one of a target's pool


def record(target: str, guid: str = "1") -> str:
    return f'[{{"id":"{ID}","target":"{target}","guid":"{guid}","mode":"plain","since":null}}]'


def once(*steps: str | Call) -> Session:
    """For real only: what is refused is refused in check mode by the same code."""
    return [step if isinstance(step, str) else replace(step, phases=REAL) for step in steps]


def dataset(name: str, **options: Any) -> Call:
    return Call("zfs_dataset", {"name": name, **options})


def clone(name: str, snapshot: str | None = None, **options: Any) -> Call:
    return Call("zfs_clone", {"name": name, "snapshot": snapshot, **options})


def clones(*names: str, phases: tuple[bool, ...] = BOTH, **options: Any) -> Call:
    return Call("zfs_clone", {"name": list(names), **options}, phases)


def snapshot(*names: str, **options: Any) -> Call:
    return Call("zfs_snapshot", {"name": list(names), **options})


def absent(*names: str, **options: Any) -> Call:
    return snapshot(*names, state="absent", **options)


def info(*names: str, **options: Any) -> Call:
    return Call("zfs_snapshot_info", {"name": list(names) or None, **options}, REAL)


def prune(*names: str, keep: int | None = 1, phases: tuple[bool, ...] = BOTH, **options: Any) -> Call:
    rules = {} if keep is None else {"keep": {"last": keep}}
    given = {"name": list(names), "match": ["auto-*"], **rules, **options}
    return Call("zfs_snapshot_prune", given, phases)


def rollback(name: str, **allowed: Any) -> Call:
    return Call("zfs_rollback", {"name": name, "allow_loss": allowed or None})


def allow(*permissions: str, dataset: str = "tank/a b", user: str = "daemon", **options: Any) -> Call:
    state = "present" if permissions else "absent"
    given = {"permissions": list(permissions)} if permissions else {}
    return Call("zfs_allow", {"dataset": dataset, "user": user, "state": state, **given, **options})


def grant(*permissions: str, **options: Any) -> Call:
    return Call("zfs_allow", {"name": "tank/a b", "permissions": list(permissions), **options})


def to(dataset: str | None = "backup/vol", host: str | None = "backend-b", **more: Any) -> dict[str, Any]:
    return {"host": host, **({"dataset": dataset} if dataset else {}), **more}


def replicate(*names: str, phases: tuple[bool, ...] = REAL, **options: Any) -> Call:
    given = {"name": list(names) or ["tank/vol"], "target": to(), "retries": 0, "parallel": 1, **options}
    return Call("zfs_snapshot_replicate", given, phases)


def relate(state: str, phases: tuple[bool, ...] = REAL, **options: Any) -> Call:
    given = options if "id" in options else {"name": "tank/vol", "target": to(), **options}
    return Call("zfs_replication", {"state": state, **given}, phases)


def relationships(*names: str, **options: Any) -> Call:
    return Call("zfs_replication_info", {"name": list(names) or None, **options}, REAL)


def pools(*names: str, **options: Any) -> Call:
    return Call("zfs_pool_info", {"name": list(names) or None, **options}, REAL)


def datasets(*names: str, **options: Any) -> Call:
    return Call("zfs_dataset_info", {"name": list(names) or None, **options}, REAL)


def there(command: str) -> str:
    """On backend-b."""
    return f"ssh backend-b {shlex.quote(command)}"


VOLUMES = "zfs create tank/vol; zfs create tank/vol/below; zfs create tank/log; zfs create -V 16M tank/z; "
SOURCE = (
    "zfs create tank/vol; zfs snapshot tank/vol@s1; echo two > /tank/vol/file; zfs snapshot tank/vol@s2; "
    "zfs create -V 16M -o volblocksize=8K tank/zv; zfs snapshot tank/zv@s1; zfs create tank/plain; "
)
FILLED = (
    "zfs create -o compression=off tank/vol; head -c 300K /dev/urandom > /tank/vol/a; zfs snapshot tank/vol@s1; "
    "head -c 100K /dev/urandom > /tank/vol/b; zfs snapshot tank/vol@s2; "
)
# A part of tank/vol@big arrives, and the connection is gone.
BIG = "head -c 8M /dev/urandom > /tank/vol/big; zfs snapshot tank/vol@big; "
# Ends the first zfs send that comes, once a part has travelled.
CUT = (
    "nohup sh -c 'until pid=$(pgrep -f \"^zfs send -vP\"); do sleep 0.2; done; sleep 5; kill $pid' "
    "> /dev/null 2>&1 < /dev/null &"
)
HERE = to("backup/vol", "local")
# The check run and the real run are in the same minute.
MINUTE = "while [ $(date +%-S) -gt 20 ]; do sleep 1; done"
NIGHTLY = {"property": "org.example:backup", "value": "nightly"}
# In every block of a file that lies in the device.
DAMAGE = """import mmap, sys
with open(sys.argv[1], "r+b") as file, mmap.mmap(file.fileno(), 0) as disk:
    at = disk.find(b"MARK")
    while at >= 0:
        disk[at:at + 1] = b"X"
        at = disk.find(b"MARK", at + 1000)"""
GUID = "$(zfs get -Hp -o value guid {})"

SESSIONS: dict[str, Session] = {
    "dataset": [
        dataset("tank/db", properties={"recordsize": "16K", "atime": False, "quota": "200M", "org.example:by": "d\tä"}),
        dataset("tank/db", properties={"atime": None, "quota": None, "recordsize": 32768}),
        dataset("tank/db", mounted=False),
        dataset("tank/zv", properties={"volsize": "10000000", "volblocksize": "16K", "refreservation": "none"}),
        dataset("tank/zv", properties={"volsize": "20M"}),
        dataset("tank/prod/eu/db", renamed_from="tank/db", create_parents=True, properties={"sync": "always"}),
        dataset("tank/prod/eu/zv", renamed_from="tank/zv"),
        dataset("tank/prod/eu/zv", state="absent"),
        dataset("tank/prod/eu/zv", state="absent"),
        dataset("tank/quiet", properties={"canmount": "noauto"}, mounted=True),
    ],
    "dataset_refused": once(
        "zfs create tank/a; zfs snapshot tank/a@s; zfs clone tank/a@s tank/c; zfs create tank/a/b; "
        f"zfs create -V 16M tank/zv; zfs create tank/rep; zfs set cerss.zfs:source='{OTHER}' tank/rep; "
        f"zfs create -o canmount=off tank/off; zfs set 'cerss.zfs:replica.{POOL}={{}}' tank/c; "
        "zfs snapshot tank/zv@s; zfs send -vP tank/zv@s > /dev/null; zfs create tank/busy; "
        "head -c 4M /dev/urandom > /tank/busy/f; zfs snapshot tank/busy@s; "
        "zfs send tank/busy@s | head -c 2M | zfs receive -s tank/half || true",
        dataset("tank/zv", mounted=True),
        dataset("tank/a", properties={"compression": "much"}),
        dataset("tank/off", mounted=True),
        dataset("tank/a", renamed_from="tank/zv"),
        dataset("tank/x", renamed_from="tank/rep"),
        dataset("tank/x", renamed_from="tank/half"),
        dataset("tank/x", state="absent", renamed_from="tank/a"),
        dataset("backup/a", renamed_from="tank/a"),
        dataset("tank/a/b/c", renamed_from="tank/a"),
        dataset("tank", renamed_from="tank/a"),
        dataset("tank", state="absent"),
        dataset("tank/a", state="absent"),
        dataset("tank/c", state="absent"),
        dataset("tank/zv/x/y", create_parents=True),
        dataset("tank/no/x"),
        dataset("nopool/x"),
        # Somebody works in it, so that it can neither be unmounted nor destroyed.
        "zfs create tank/inuse; cd /tank/inuse; nohup sleep 600 > /dev/null 2>&1 & echo $! > /run/inuse",
        dataset("tank/inuse", mounted=False, properties={"org.example:x": "y"}),
        "kill $(cat /run/inuse)",
    ),
    "dataset_cascade": [
        "zfs create tank/a; zfs create tank/a/b; zfs create -V 16M tank/a/z; zfs snapshot -r tank/a@s; "
        "zfs create tank/a/raw; zfs unmount tank/a/raw; zfs set mountpoint=legacy tank/a/raw; "
        "zfs clone tank/a/b@s tank/c1; zfs snapshot tank/c1@x; zfs clone tank/c1@x tank/c2; zfs create tank/v; "
        "zfs snapshot tank/v@p; zfs clone tank/v@p tank/a/c3; zfs destroy -d tank/v@p; "
        f"zfs hold cerss.zfs:step:{ID} tank/a@s; zfs hold mine tank/c1@x; zfs create tank/c2/own; "
        f"zfs set cerss.zfs:source='{OTHER}' tank/a/raw",
        *once(
            dataset("tank/a", state="absent"),
            dataset("tank/a", state="absent", on_dependents="cascade"),
        ),
        "zfs release mine tank/c1@x; zfs destroy tank/c2/own; zfs inherit cerss.zfs:source tank/a/raw; "
        "cd /tank/a/b; nohup sleep 600 > /dev/null 2>&1 & echo $! > /run/inuse",
        Call("zfs_dataset", {"name": "tank/a", "state": "absent", "on_dependents": "cascade"}, REAL),
        "kill $(cat /run/inuse)",
        dataset("tank/a", state="absent", on_dependents="cascade"),
        dataset("tank/a", state="absent", on_dependents="cascade"),
        # Half of it has arrived.
        "zfs create tank/busy; head -c 4M /dev/urandom > /tank/busy/f; zfs snapshot tank/busy@s; zfs create tank/in; "
        "zfs send tank/busy@s | head -c 2M | zfs receive -s tank/in/half || true",
        *once(dataset("tank/in", state="absent", on_dependents="cascade")),
    ],
    "clone": [
        SOURCE,
        clone(
            "tank/c1", "tank/vol@s1", properties={"compression": "lz4", "quota": "1G", "org.example:note": "a\tb\nc"}
        ),
        clone("tank/c1", "tank/vol@s1", properties={"quota": None, "readonly": True}),
        clone("tank/zc", "tank/zv@s1"),
        clone("tank/c1", "tank/vol@s1", promoted=True),
        clone("tank/c1", "tank/vol@s1", promoted=False),
        clone("tank/vol", "tank/c1@s1", promoted=True),
        clone("tank/both", "tank/vol@s2", promoted=True),
        clone("tank/zc", state="absent"),
        clone("tank/zc", state="absent"),
        clone("tank/new", "tank/vol@later"),
    ],
    "clone_refused": once(
        f"{SOURCE}zfs clone tank/vol@s1 tank/taken; zfs snapshot tank/taken@own; zfs clone tank/taken@own tank/second; "
        "zfs create tank/taken/below; zfs snapshot tank/vol@marked; zfs clone tank/vol@marked tank/keeper; "
        "zfs destroy -d tank/vol@marked; zfs snapshot tank/keeper@s1; zfs create tank/rep; zfs snapshot tank/rep@r1; "
        f"zfs set cerss.zfs:source='{OTHER}' tank/rep; zfs clone tank/rep@r1 tank/ofrep; zfs snapshot tank/second@x; "
        "zfs hold mine tank/second@x",
        clone("tank/new"),
        clone("tank", "tank/vol@s1"),
        clone("backup/new", "tank/vol@s1"),
        clone("tank/vol", "tank/vol@s1"),
        clone("tank/no/new", "tank/vol@s1"),
        clone("tank/zv/new", "tank/vol@s1"),
        clone("tank/new", "tank/nothing@s1"),
        clone("tank/new", "tank/vol@marked"),
        clone("tank/plain", "tank/vol@s1"),
        clone("tank/taken", "tank/vol@s2"),
        clone("tank/taken", "tank/vol@gone"),
        clone("tank/keeper", "tank/vol@marked", promoted=True),
        clone("tank/ofrep", "tank/rep@r1", promoted=True),
        clone("tank/new", "tank/vol@s1", properties={"quota": "much"}),
        clone("tank/new", "tank/vol@s1", on_dependents="cascade"),
        clone("tank/new", state="absent", promoted=True),
        clone("tank/plain", state="absent"),
        clone("tank/taken", state="absent"),
        clone("tank/taken", "tank/vol@s2", state="absent"),
        clone("tank/second", state="absent", on_dependents="cascade"),
        clone("tank/taken", state="absent", on_dependents="cascade"),
    ),
    "clone_cascade": [
        f"{SOURCE}zfs clone tank/vol@s1 tank/a; zfs clone tank/vol@s1 tank/b; zfs destroy -d tank/vol@s1; "
        "zfs snapshot tank/a@x; zfs clone tank/a@x tank/a/deep; zfs snapshot tank/a/deep@y; "
        "zfs clone tank/a/deep@y tank/far; zfs clone tank/a@x tank/gone; zfs destroy -d tank/a@x; "
        "zfs snapshot tank/a@z",
        # The source of a relationship, whose cursors a promotion may have moved elsewhere
        f"zfs set 'cerss.zfs:replica.{POOL}={record('b:x')}' tank/far",
        *once(clone("tank/a", state="absent", on_dependents="cascade")),
        f"zfs inherit cerss.zfs:replica.{POOL} tank/far",
        clone("tank/a", state="absent", on_dependents="cascade"),
        clone("tank/b", state="absent"),
    ],
    "clones": [
        f"{SOURCE}zfs create -o canmount=off tank/off; zfs clone tank/vol@s2 tank/other",
        clones(
            "tank/x/y/c1",
            "tank/x/c2",
            "tank/plain",
            "tank/other",
            "tank/x/c2/below",
            "tank/bad%name",
            snapshot="tank/vol@s1",
            create_parents=True,
            properties={"atime": False},
        ),
        clones("tank/x/y/c1", "tank/x/c2", "tank/x/c2/below", snapshot="tank/vol@s1", properties={"atime": False}),
        clones("tank/c3", "tank/c4", snapshot="tank/vol@s1", mounted=False),
        clones("tank/c3", "tank/c4", snapshot="tank/vol@s1", mounted=True),
        clones("tank/off/c5", snapshot="tank/vol@s1", mounted=True, properties={"canmount": "noauto"}),
        clones(snapshot="tank/vol@s1"),
        clones("tank/new1", "tank/new2", snapshot="tank/vol@s1", properties={"quota": "much"}, phases=REAL),
        clones("tank/new1", "tank/new2", snapshot="tank/vol@s1", promoted=True, phases=REAL),
        "zfs snapshot tank/c3@own; zfs clone tank/c3@own tank/c6; zfs snapshot tank/x/y/c1@held; "
        "zfs hold mine tank/x/y/c1@held; zfs destroy -d tank/vol@s1",
        clones("tank/x/c2", "tank/plain", "tank/gone", "tank/c3", "tank/x/c2/below", state="absent"),
        clones("tank/c3", "tank/c6", "tank/x/y/c1", state="absent", on_dependents="cascade"),
        "zfs release mine tank/x/y/c1@held",
        clones("tank/x/y/c1", "tank/c4", "tank/off/c5", state="absent", on_dependents="cascade"),
    ],
    "clone_inbound": [
        f"{SOURCE}{BIG}zfs send tank/vol@big | head -c 4M | zfs receive -s -u backup/rep || true; "
        """zfs set 'cerss.zfs:inbound=[{"guid":"1","snapshot":"big","bytes":8400000}]' backup/rep""",
        clone("backup/c", "backup/rep@big"),
        clone("backup/c", "backup/rep@big", wait="1s"),
        "(sleep 6; zfs send -t $(zfs get -H -o value receive_resume_token backup/rep) | zfs receive -s -u backup/rep) "
        "> /dev/null 2>&1 &",
        Call("zfs_clone", {"name": "backup/c", "snapshot": "backup/rep@big", "wait": "5m"}, REAL),
    ],
    "snapshot": [
        VOLUMES,
        snapshot(
            "tank/vol@s1",
            "tank/log@s1",
            properties={"org.example:note": "a\tb\nc", "org.example:flag": True},
            holds=["audit", "with space"],
        ),
        snapshot("tank/vol@s1", "tank/log@s1", properties={"org.example:flag": None, "org.example:number": 12}),
        snapshot("tank/vol@s1", holds=["audit", "second"], purge_holds=True),
        snapshot("tank/vol@s1", temporary=True, expires="2h"),
        snapshot("tank/vol@s1", temporary=False),
        snapshot("tank/vol@s1", expires="never"),
        snapshot("tank/vol@try", temporary=True, expires="1d"),
        snapshot("tank@tree", recursive=True),
        snapshot("tank/z@s1", "backup@s1", "tank/vol@m1", "tank/vol@m2"),
        "zfs snapshot tank/vol@hourly-1; zfs snapshot tank/log@hourly-1",
        snapshot("tank/vol@hourly-3", "tank/log@hourly-3", min_age="1h", match=["hourly-*"]),
        "zfs snapshot tank/vol@hourly-2; zfs hold h tank/vol@hourly-2; zfs destroy -d tank/vol@hourly-2",
        snapshot("tank/vol@hourly-4", min_age="1h", match=["hourly-*"]),
        "sleep 2",
        snapshot("tank/vol@hourly-4", min_age=1, match=["hourly-*"]),
    ],
    "snapshot_template": [
        f"{VOLUMES}zfs set org.example:backup=nightly tank/vol tank/z; zfs set org.example:backup=none tank/vol/below; "
        f"zfs set 'cerss.zfs:source={OTHER}' tank/z; zfs snapshot tank/log@hourly-now; {MINUTE}",
        snapshot("tank", recursive=True, exclude=["tank/z", "re:.*/below"], snapshot="all-%Y-%m-%d_%H-%M"),
        MINUTE,
        snapshot("tank/log", snapshot="hourly-%Y-%m-%d_%H-%M", utc=True, min_age="1h"),
        MINUTE,
        Call("zfs_snapshot", {"select": NIGHTLY, "snapshot": "%G-W%V-%u_%R", "expires": "1h30m"}),
        Call("zfs_snapshot", {"select": {**NIGHTLY, "value": "weekly"}, "snapshot": "weekly"}),
        snapshot("tank/vol", "tank/log", snapshot="before-upgrade"),
        absent("tank", snapshot="before-upgrade", select=NIGHTLY),
        absent("tank", snapshot="before-upgrade", recursive=True, exclude=["tank/vol"]),
        snapshot(snapshot="nothing"),
        *once(
            snapshot("tank/none", "tank/vol", snapshot="s-%F"),
            snapshot("tank/z", snapshot="s-%F"),
            snapshot("tank/vol", snapshot="s-%c"),
            absent("tank/vol", snapshot="s-%F"),
        ),
    ],
    "snapshot_refused": once(
        f"{VOLUMES}zfs snapshot tank/vol@old; zfs snapshot tank/vol@marked; zfs hold h tank/vol@marked; "
        "zfs destroy -d tank/vol@marked; sleep 1.1; head -c 4M /dev/urandom > /tank/log/f; zfs snapshot tank/log@in; "
        "zfs send tank/log@in | head -c 2M | zfs receive -s -u backup/half || true; "
        "zfs send tank/vol@old | zfs receive -u backup/half2; zfs snapshot tank/vol@inc; "
        "head -c 4M /dev/urandom > /tank/vol/f; zfs snapshot tank/vol@inc2; "
        "zfs send -i @old tank/vol@inc2 | head -c 2M | zfs receive -s -u backup/half2 || true",
        snapshot("tank/none@s"),
        snapshot("tank/vol@old", temporary=True, expires=1),
        snapshot("tank/vol@new", "tank/vol@marked"),
        snapshot("backup/half@x"),
        snapshot("backup/half2@inc2"),
        snapshot("backup/half2@mine"),
        snapshot("backup@tree", recursive=True),
        absent("backup/half2@inc2"),
        absent("tank/vol@old", "tank/vol@marked", on_dependents="fail"),
        absent("tank/vol@old", "tank/vol@marked", on_dependents="cascade"),
    ),
    "snapshot_absent": [
        f"{VOLUMES}for n in free1 free2 held cloned both; do zfs snapshot tank/vol@$n; done; "
        "zfs clone tank/vol@both tank/c2; zfs hold keep tank/vol@held tank/vol@both; zfs clone tank/vol@cloned tank/c1",
        absent("tank/vol@free1", "tank/vol@held", "tank/vol@cloned", "tank/vol@both", on_dependents="fail"),
        absent("tank/vol@free1", "tank/vol@held", "tank/vol@free2", "tank/vol@cloned", "tank/vol@never"),
        absent("tank/vol@both", on_dependents="cascade"),
        absent("tank@none", recursive=True),
        "(sleep 4; zfs release keep tank/vol@held) > /dev/null 2>&1 &",
        Call("zfs_snapshot", {"name": ["tank/vol@held"], "state": "absent", "wait": 60}, REAL),
    ],
    "snapshot_cascade": [
        f"{VOLUMES}zfs snapshot tank/vol@s; zfs clone tank/vol@s tank/log/c1; zfs snapshot tank/log/c1@x; "
        "zfs clone tank/log/c1@x tank/c2; zfs snapshot tank/c2@y; zfs clone tank/vol@s tank/c3; "
        "zfs destroy -d tank/log/c1@x; zfs create tank/c3/own",
        absent("tank/vol@s", on_dependents="cascade"),
        f"zfs rename tank/c3/own tank/own; zfs set 'cerss.zfs:replica.{POOL}={record('b:x')}' tank/c2",
        *once(absent("tank/vol@s", on_dependents="cascade")),
        f"zfs inherit cerss.zfs:replica.{POOL} tank/c2",
        absent("tank/vol@s", on_dependents="cascade"),
    ],
    "snapshot_busy": [
        f"{VOLUMES}head -c 4M /dev/urandom > /tank/vol/f; zfs snapshot tank/vol@sent; zfs snapshot tank/vol@free; "
        "zfs snapshot tank/vol@open; zfs snapshot tank/vol@auto-1; zfs snapshot tank/vol@auto-2; rm -f /run/slow; "
        "mkfifo /run/slow; (setsid sh -c 'exec 3<> /run/slow; exec zfs send tank/vol@sent >&3' &) > /dev/null 2>&1 "
        "< /dev/null; until pgrep -f '^zfs send' > /dev/null; do sleep 0.1; done; sleep 1; "
        # A snapshot that somebody looks into is busy too, and nothing foretells that.
        "ls /tank/vol/.zfs/snapshot/open /tank/vol/.zfs/snapshot/auto-1; "
        "nohup sh -c 'cd /tank/vol/.zfs/snapshot/open; exec sleep 600' > /dev/null 2>&1 & "
        "nohup sh -c 'cd /tank/vol/.zfs/snapshot/auto-1; exec sleep 600' > /dev/null 2>&1 & sleep 1",
        absent("tank/vol@sent", on_dependents="fail"),
        absent("tank/vol@sent", on_dependents="cascade"),
        absent("tank/vol@sent", "tank/vol@free"),
        absent("tank/vol@open"),
        "zfs snapshot tank/vol@free2; zfs snapshot tank/vol@free3",
        Call("zfs_snapshot", {"name": [f"tank/vol@{n}" for n in ("free2", "open", "free3")], "state": "absent"}, REAL),
        prune("tank/vol", phases=REAL),
        "kill $(pgrep -f '^zfs send') $(pgrep -f '^sleep 600'); rm -f /run/slow",
    ],
    "around": [
        VOLUMES,
        snapshot("tank/vol@good", before=[{"argv": ["true"]}], after=[{"argv": ["sh", "-c", "exit 0"]}]),
        snapshot("tank/vol@bad", before=[{"argv": ["sh", "-c", "exit 3"]}], after=[{"argv": ["true"]}]),
        snapshot("tank/vol@slow", before=[{"argv": ["sleep", "60"], "timeout": 1}]),
        snapshot("tank/vol@half", after=[{"argv": ["sh", "-c", "exit 4"]}]),
    ],
    "info": [
        "zfs create tank/v; zfs create tank/v/w; zfs snapshot tank/v@a; echo data > /tank/v/f; "
        "zfs snapshot -r -o org:x=1 tank/v@b; zfs snapshot tank/v@c; zfs clone tank/v@a tank/c1; "
        "zfs clone tank/v@a tank/c2; zfs snapshot tank/c1@first; zfs hold keep tank/v@b; zfs destroy -d tank/v@b; "
        "zfs promote tank/c2; zfs set cerss.zfs:temporary=true tank/v@c; zfs set cerss.zfs:expires=3600 tank/v@c; "
        f"zfs set 'cerss.zfs:replica.{POOL}={record('b1:backup/v')}' tank/v; "
        f"zfs set 'cerss.zfs:source={OTHER.replace(ID, ID[::-1])}' tank/v; "
        f"zfs hold cerss.zfs:step:{ID} tank/v@c; zfs hold cerss.zfs:last tank/v@c; "
        f"zfs bookmark tank/v@c tank/v#cerss.zfs_{ID}_$(printf %x {GUID.format('tank/v@c')})",
        info("tank/v"),
        info("tank/v@b", recursive=True),
        info("tank/v@b", "tank/v@none", "tank/none@s"),
        info("tank/v", "tank/none"),
        info("tank/v", "tank/v@none", detail="names"),
        info("tank/v", detail="full"),
        info("tank/c1", "tank/c2"),
        info(limit=0),
    ],
    "info_chosen": [
        "zfs create tank/v; zfs create tank/v/w; zfs create tank/x; zfs create backup/y; "
        "zfs set org.example:backup=nightly tank/v backup/y; zfs set org.example:backup=none tank/v/w; "
        "for n in 1 2 3; do zfs snapshot -r tank@daily-$n; zfs snapshot -r tank@weekly-$n; done; sleep 1.1; "
        "zfs snapshot backup/y@daily-4",
        info("tank", recursive=True, newest=1),
        info("tank", recursive=True, newest=2, match=["re:(daily|hourly)-[0-9]"], exclude=["tank/v"]),
        info(select=NIGHTLY, newest=1),
        info(select=NIGHTLY, detail="names"),
        info(limit=3),
        info(limit=3, detail="names"),
        info("tank/none", "tank/x", newest=1),
        Call("zfs_snapshot_info", {"name": []}, REAL),
    ],
    "info_many": [
        "zfs create tank/m; for n in $(seq 12); do zfs snapshot tank/m@n$n; done",
        info("tank/m", states=["full"], limit=1),
        Call("zfs_snapshot", {"name": [f"tank/m@n{n}" for n in range(1, 13)], "state": "absent"}, REAL),
    ],
    "prune": [
        "zfs create tank/v; for n in 0 1 2 3 4 5 6 7; do zfs snapshot tank/v@auto-$n; done; "
        "zfs hold mine tank/v@auto-1; "
        f"zfs hold cerss.zfs:step:{ID} tank/v@auto-2; zfs clone tank/v@auto-3 tank/c; "
        "zfs set cerss.zfs:temporary=true tank/v@auto-4; zfs set cerss.zfs:temporary=true tank/v@auto-6; "
        "zfs set cerss.zfs:expires=0 tank/v@auto-6",
        prune("tank/v"),
        prune("tank/v", recursive=True, keep=2),
        prune("tank/nothing"),
        prune("tank/v", match=["none-*"]),
        prune("tank", "tank"),
        prune(),
        # A replica that gets some of them
        "zfs create -o compression=off tank/r; for n in 0 1 2; do for s in auto more; do "
        "head -c 1M /dev/urandom > /tank/r/f; zfs snapshot tank/r@$s-$n; done; done",
        replicate("tank/r@auto-0", target=to("backup/r"), job="nightly", include_snapshots=["auto-*"]),
        prune("tank/r", match=["*"], phases=CHECK),
        prune("tank/r", match=["*"], min_free="100G"),
        "for n in 3 4; do zfs snapshot tank/r@auto-$n; done; zfs set cerss.zfs:expires=0 tank/r@auto-3; "
        "zfs set org.example:keep=yes tank/r",
        prune(
            "tank", match=["*"], keep=None, expired_only=True, select={"property": "org.example:keep", "value": "yes"}
        ),
        replicate("tank/r", target=to("backup/r"), job="nightly"),
        prune("tank/r", match=["*"], keep=None, older_than="0", within={"daily": "1s", "yearly": "9w"}),
    ],
    "rollback": [
        "zfs create tank/v; echo one > /tank/v/file; zfs snapshot tank/v@s1; zfs bookmark tank/v@s1 tank/v#b1; "
        "echo two > /tank/v/file; zfs snapshot tank/v@s2; zfs bookmark tank/v@s2 tank/v#b2; zfs snapshot tank/v@auto-1",
        rollback("tank/v@auto-1"),
        rollback("tank/v@s1"),
        rollback("tank/v@s1", snapshots=["*"], bookmarks=["*"], data=True),
        "echo late > /tank/v/file",
        rollback("tank/v@s1", data=True),
        rollback("tank/v@zzz"),
        rollback("tank/nothing@a"),
    ],
    "rollback_refused": once(
        "zfs create tank/held; zfs snapshot tank/held@a; zfs snapshot tank/held@b; zfs hold mine tank/held@b; "
        f"zfs create tank/rep; zfs snapshot tank/rep@a; zfs snapshot tank/rep@b; "
        f"zfs set cerss.zfs:source='{OTHER}' tank/rep; "
        f"zfs create tank/src; zfs snapshot tank/src@a; zfs snapshot tank/src@b; "
        f"zfs bookmark tank/src@b tank/src#cerss.zfs_{ID}_ff",
        rollback("tank/held@a", snapshots=["*"], bookmarks=["*"], data=True),
        rollback("tank/rep@a", snapshots=["*"], bookmarks=["*"], data=True),
        rollback("tank/src@a", snapshots=["*"], bookmarks=["*"], data=True),
        # Somebody looks into a snapshot that would have to go.
        "zfs create tank/sent; zfs snapshot tank/sent@a; head -c 4M /dev/urandom > /tank/sent/f; "
        "zfs snapshot tank/sent@b; "
        "ls /tank/sent/.zfs/snapshot/b; nohup sh -c 'cd /tank/sent/.zfs/snapshot/b; exec sleep 600' > /dev/null 2>&1 & "
        "sleep 1",
        rollback("tank/sent@a", snapshots=["*"], data=True),
        "kill $(pgrep -f '^sleep 600')",
    ),
    "allow": [
        "zfs create 'tank/a b'; zfs create 'tank/a b/c'; zfs allow daemon mount tank; "
        "zfs allow -u daemon,root snapshot 'tank/a b'; zfs allow -s @set create,mount 'tank/a b'; "
        "zfs allow -u 4711 release 'tank/a b'",
        allow("send", "hold", "compression"),
        allow("hold", "release", "@set"),
        allow("destroy", "mount", reach="descendents"),
        allow("hold", reach="local"),
        allow(),
        allow(user="4711"),
        allow(user="nobody-of-that-name"),
        allow(dataset="tank/gone"),
        allow("send", dataset="tank/gone"),
        allow("send", user="nobody-of-that-name"),
        allow("send", "fly"),
    ],
    "allow_groups": [
        "zfs create 'tank/a b'; zfs allow -u daemon mount 'tank/a b'; zfs allow -g daemon hold 'tank/a b'; "
        "zfs allow -e diff 'tank/a b'; zfs allow -g 4711 release 'tank/a b'",
        grant("send", "snapshot", users=["daemon", "root"], groups=["daemon"], exclusive=False),
        grant("send", users=["daemon", "nobody-of-that-name", "-u"], groups=["4711", "none"], everyone=True),
        grant("send", users=[], groups=[]),
        Call("zfs_allow", {"name": "tank/a b", "groups": ["daemon", "4711"], "everyone": True, "state": "absent"}),
    ],
    "replicate": [
        f"{FILLED}zfs create -s -V 32M tank/zv; zfs snapshot tank/zv@s1",
        replicate(phases=BOTH),
        replicate(),
        replicate("tank/zv@s1", target=to(None, parent="backup/a/b")),
        "echo 3 > /tank/vol/c; zfs snapshot tank/vol@s3; zfs snapshot tank/vol@s4",
        replicate(intermediates=False, compression="zstd", bandwidth_limit="100M"),
        # The base goes: deleted on the source it leaves its cursor, on the replica it stays until the next has come.
        f"zfs destroy tank/vol@s4; {there('zfs destroy -d backup/vol@s4')}; zfs snapshot tank/vol@s5",
        replicate(),
        # What a crash after the last byte leaves is put right.
        "id=$(zfs list -H -t bookmark -o name tank/vol | sed '1!d; s/.*zfs_//; s/_.*//'); "
        "zfs hold cerss.zfs:step:$id tank/vol@s5; "
        "zfs inherit $(zfs get -H -s local -o property all tank/vol | grep cerss.zfs:at) tank/vol",
        relationships(),
        replicate("tank/vol@s5"),
        # Delivered, and then deleted here.
        "zfs destroy tank/vol@s5",
        replicate("tank/vol@s5"),
    ],
    "replicate_places": [
        FILLED,
        replicate(target=to("backup/here", "local")),
        replicate(target=to("tank/vol", "local")),
        there("zfs create tank/vol; zfs snapshot tank/vol@p"),
        replicate(source={"host": "backend-b"}, target=to("backup/pulled", None)),
        replicate(source={"host": "backend-b"}, target=to("backup/relayed"), compression="lz4"),
        there("zfs snapshot tank/vol@p2; zfs snapshot tank/vol@p3"),
        replicate(source={"host": "backend-b"}, target=to("backup/pulled", None)),
        replicate(source={"host": "backend-b"}, target=to("backup/relayed")),
        replicate(target=to(user="operator", become=True)),
        replicate("tank/vol@later", target=to("backup/later"), phases=BOTH),
        replicate("tank/none"),
    ],
    "replicate_tree": [
        "for name in t t/a t/a/b t/skip t/skip/x; do zfs create tank/$name; done; echo base > /tank/t/a/file; "
        "zfs snapshot -r tank/t@s1; zfs clone tank/t/a@s1 tank/t/0clone; zfs snapshot tank/t/0clone@s2; "
        "zfs create tank/t/new; zfs snapshot tank/t/a@tmp; zfs set cerss.zfs:temporary=true tank/t/a@tmp",
        replicate("tank/t", recursive=True, exclude=["tank/t/skip"], target=to("backup/t"), phases=BOTH),
        replicate("tank/t", recursive=True, exclude=["tank/t/skip"], target=to("backup/t")),
        replicate("tank/t@s1", recursive=True, target=to("backup/t")),
        replicate("tank/t/a", "tank/t", target=to(None, parent="backup/t", strip=2)),
        replicate(
            "tank/t/a",
            "tank/t/skip",
            target=to(None, parent="backup/flat/x"),
            include_snapshots=["s*"],
            exclude_snapshots=["s9"],
        ),
        # The one above cannot be received, so what goes below it is not begun.
        "zfs create tank/u; zfs create tank/u/v; zfs snapshot tank/u/v@s1",
        replicate("tank/u", recursive=True, target=to("backup/u")),
        "zfs snapshot tank/u@s1",
        there("zfs create -o readonly=on tank/full; zfs set quota=1M tank/full"),
        "head -c 3M /dev/urandom > /tank/u/f; zfs snapshot -r tank/u@s2",
        replicate("tank/u", recursive=True, target=to("tank/full/u")),
    ],
    "replicate_diverged": [
        FILLED,
        replicate(),
        there("zfs snapshot backup/vol@local; zfs bookmark backup/vol@local backup/vol#mine"),
        "zfs snapshot tank/vol@s3",
        relationships("tank/vol"),
        replicate(),
        replicate(on_divergence="rollback", phases=BOTH),
        there("zfs snapshot backup/vol@local2; zfs hold mine backup/vol@local2"),
        "zfs snapshot tank/vol@s4",
        replicate(on_divergence="rollback"),
        replicate(on_divergence="reseed"),
        there(
            "zfs set readonly=off backup/vol; zfs mount backup/vol; echo x > /backup/vol/x; zpool sync; "
            "zfs snapshot backup/vol@x; zfs destroy backup/vol@x"
        ),
        "zfs snapshot tank/vol@s5",
        replicate(),
        replicate(on_divergence="rollback"),
        # Nothing in common any more.
        "zfs rename tank/vol tank/former; zfs create tank/vol; zfs snapshot tank/vol@new",
        replicate(),
        replicate(on_divergence="reseed"),
    ],
    "replicate_reseed": [
        FILLED,
        replicate(),
        "for n in $(zfs list -H -t bookmark -o name tank/vol); do zfs destroy $n; done; "
        "for n in s1 s2; do for t in $(zfs holds -H tank/vol@$n | cut -f 2); do zfs release $t tank/vol@$n; done; "
        "done; "
        "zfs destroy tank/vol@s1%s2; zfs snapshot tank/vol@s3; zfs snapshot tank/vol@s4",
        replicate(),
        replicate(on_divergence="reseed"),
    ],
    "replicate_reseed_below": [
        f"{FILLED}zfs create tank/vol/sub; zfs create -s -V 16M tank/vol/zv; zfs snapshot -r tank/vol@s3",
        replicate(recursive=True),
        there("zfs snapshot backup/vol@local; zfs snapshot backup/vol/zv@local; zfs create -V 8M backup/vol/other"),
        f"{BIG}zfs snapshot -r tank/vol@s4; {CUT}",
        replicate(recursive=True, on_divergence="reseed", phases=CHECK),
        # Cut while the new replica is being received beside the old one.
        replicate(recursive=True, on_divergence="reseed", bandwidth_limit="512K"),
        relationships("tank/vol"),
        replicate("tank/vol/sub", target=to("backup/vol/sub")),
        relate("absent", phases=CHECK),
        replicate(recursive=True, on_divergence="reseed", phases=BOTH),
        replicate(recursive=True, on_divergence="reseed", phases=BOTH),
        relationships("tank/vol"),
        # What has its key from the replica could not come back.
        "echo long enough a secret > /run/key; "
        "zfs create -o encryption=on -o keyformat=passphrase -o keylocation=file:///run/key tank/e; "
        "zfs snapshot tank/e@s1",
        replicate("tank/e", target=to("backup/e")),
        there(
            "echo long enough a secret | zfs load-key -L prompt backup/e; zfs create -u backup/e/below; "
            "zfs snapshot backup/e@local"
        ),
        "zfs snapshot tank/e@s2",
        replicate("tank/e", target=to("backup/e"), on_divergence="reseed"),
        there("zfs destroy backup/e/below; zfs create -u -o encryption=off backup/e/plain"),
        replicate("tank/e", target=to("backup/e"), on_divergence="reseed"),
        there("zfs unload-key backup/e"),
        replicate("tank/e", target=to("backup/e"), on_divergence="reseed"),
    ],
    "replicate_promoted": [
        FILLED,
        replicate(),
        "zfs clone tank/vol@s2 tank/twin; zfs promote tank/twin; zfs snapshot tank/vol@s3",
        replicate(),
        replicate(on_divergence="reseed"),
        there("zfs destroy -r $(zfs list -H -o name | grep vol_old)"),
        there("zfs clone backup/vol@s3 backup/live; zfs promote backup/live"),
        "zfs snapshot tank/vol@s4",
        replicate(),
        replicate(on_divergence="reseed"),
    ],
    "replicate_cut": [
        FILLED,
        replicate(),
        f"{BIG}{CUT}",
        replicate(bandwidth_limit="512K"),
        relationships("tank/vol", max_lag="1s"),
        # While a part waits its snapshots are kept, whoever deletes them.
        "zfs snapshot tank/vol@next; zfs destroy -d tank/vol@big",
        info("tank/vol"),
        replicate("tank/vol@s2", phases=CHECK),
        replicate("tank/vol@next", resume=False, phases=CHECK),
        replicate("tank/vol@next", phases=BOTH),
    ],
    "replicate_retried": [
        FILLED,
        replicate(),
        f"{BIG}{CUT}",
        replicate(bandwidth_limit="1M", retries=2),
    ],
    "replicate_partial": [
        f"{FILLED}{BIG}",
        # A first receive that somebody began by hand is adopted, one into nothing known is not.
        "zfs send -Lc tank/vol@s1 | head -c 100K | ssh backend-b zfs receive -s -u backup/vol || true",
        relationships(),
        replicate(),
        replicate(resume=False, phases=CHECK),
        "zfs send -Lc tank/vol@big | head -c 4M | ssh backend-b zfs receive -s -u backup/hand || true; "
        "zfs snapshot tank/vol@big2",
        replicate("tank/vol@s1", target=to("backup/hand")),
        "zfs create tank/alien; head -c 4M /dev/urandom > /tank/alien/f; zfs snapshot tank/alien@a; "
        "zfs send tank/alien@a | head -c 2M | ssh backend-b zfs receive -s -u backup/alien || true",
        replicate(target=to("backup/alien")),
        # A dead token: its snapshot is gone.
        replicate(target=to("backup/dead"), include_snapshots=["s1"]),
        "zfs snapshot tank/vol@dies; head -c 4M /dev/urandom > /tank/vol/more; zfs snapshot tank/vol@dead; "
        "zfs send -Lc -i @s1 tank/vol@dead | head -c 2M | ssh backend-b zfs receive -s -u backup/dead || true; "
        "zfs destroy tank/vol@dead",
        replicate(target=to("backup/dead"), include_snapshots=["s2"]),
    ],
    "replicate_active": [
        f"{FILLED}",
        replicate(),
        f"{BIG}rm -f /run/slow; mkfifo /run/slow; "
        "(setsid sh -c 'exec 3<> /run/slow; zfs send -Lc -i @s2 tank/vol@big | pv -q -L 250K | "
        "ssh backend-b zfs receive -s -u backup/vol' &) > /dev/null 2>&1 < /dev/null; "
        "until ssh backend-b zfs get -H -o value receive_resume_token backup/vol | grep -q 1-; do sleep 0.3; done",
        replicate(on_active="fail"),
        replicate("tank/vol@s2", on_active="attach"),
        relate("absent", phases=CHECK),
        clone("tank/c", "tank/vol@big"),
        replicate(on_active="attach"),
    ],
    "replicate_denied": [
        FILLED,
        replicate(target=to(user="operator")),
        there("zfs allow operator create,mount,receive,hold,release,readonly,canmount,destroy backup"),
        replicate(target=to("backup/nomark", user="operator")),
        there("zfs allow operator userprop backup; zfs unallow operator canmount backup"),
        replicate(target=to("backup/lost", user="operator")),
        there("zfs unallow operator backup"),
        "rm -f /root/stranger; ssh-keygen -q -t ed25519 -N '' -f /root/stranger; : > /root/nobody",
        replicate(target=to(port=1)),
        replicate(target=to(identity_file="/root/stranger")),
        replicate(target=to(known_hosts_file="/root/nobody"), retries=1),
        replicate(target=to("nopool/vol")),
        replicate(target=to("backup/" + "x" * 243)),
        replicate(target=to("backup")),
        replicate(include_snapshots=["daily-*"]),
        replicate(properties={"compression": "much"}, target=to("backup/much")),
        there("mv /usr/bin/zstd /usr/bin/zstd.away"),
        replicate(compression="zstd"),
        there("mv /usr/bin/zstd.away /usr/bin/zstd"),
        "mv /usr/bin/pv /usr/bin/pv.away",
        replicate(bandwidth_limit="1M"),
        "mv /usr/bin/pv.away /usr/bin/pv",
        there("truncate -s 80M /tmp/small; zpool create small /tmp/small"),
        "head -c 90M /dev/urandom > /tank/vol/large; zfs snapshot tank/vol@large",
        replicate(target=to("small/vol")),
        there("zpool destroy small; rm /tmp/small"),
    ],
    "replicate_encrypted": [
        "head -c 32 /dev/urandom > /root/key; "
        "zfs create -o encryption=on -o keyformat=raw -o keylocation=file:///root/key tank/vol; "
        "echo secret > /tank/vol/f; zfs snapshot tank/vol@s1",
        replicate(),
        "zfs snapshot tank/vol@s2",
        replicate(raw="never"),
        replicate(),
    ],
    "relationship": [
        FILLED,
        relate("present"),
        replicate(),
        "zfs snapshot tank/vol@s3",
        relationships("tank/vol", max_lag="1d"),
        relationships("tank/none"),
        relate("absent", phases=BOTH),
        relate("absent"),
        relate("present", phases=BOTH),
        relate("present"),
        replicate(),
        relate("present", paused=True, phases=BOTH),
        relationships("tank", recursive=True, max_lag="1s"),
        relationships("tank"),
        relate("present", paused=False),
        relate("released", phases=BOTH),
        relate("present"),
        relate("absent", target=to(port=1)),
        relate("absent", target=to(port=1), force=True),
        relationships(),
        # One that is of somebody else, and one that has nothing in common
        there(
            f"zfs create backup/other; zfs snapshot backup/other@s1; "
            f"zfs set 'cerss.zfs:source={OTHER}' backup/other; "
            "zfs create backup/apart; zfs snapshot backup/apart@s1"
        ),
        relate("present", target=to("backup/other")),
        relate("present", target=to("backup/apart")),
        replicate(target=to("backup/other")),
        # From pool to pool, by its id
        f"zfs send tank/vol@s1 | zfs receive -u backup/vol; zfs hold cerss.zfs:last backup/vol@s1; "
        f"zfs set \"cerss.zfs:replica.$(printf %016x {GUID.format('backup')})\"='{record('backup/vol')}' tank/vol; "
        f'zfs set \'cerss.zfs:source={{"id":"{ID}","host":"backend-a","dataset":"tank/vol","guid":'
        '"1","mode":"plain"}\' backup/vol',
        relationships(),
        relate("absent", id=ID),
    ],
    "relationship_partial": [
        FILLED,
        replicate(),
        f"{BIG}{CUT}",
        replicate(bandwidth_limit="512K"),
        relate("absent"),
    ],
    "dataset_info": [
        "zfs create -o recordsize=16K -o org.example:owner=dba tank/db; for n in log tmp tmp/x; do "
        "zfs create tank/db/$n; done; zfs create -V 16M -o volblocksize=8K tank/db/zv; zfs snapshot tank/db@s1; "
        "zfs clone tank/db@s1 tank/c1; zfs clone tank/db@s1 tank/c2; head -c 32 /dev/urandom > /root/key; "
        "zfs create -o encryption=on -o keyformat=raw -o keylocation=file:///root/key tank/e; zfs create tank/e/f; "
        "zfs unmount tank/e; zfs unload-key tank/e; zfs create -o mountpoint=none tank/off; "
        f"zfs set 'cerss.zfs:replica.{POOL}={record('b1:backup/v')}' tank/db; "
        f"zfs set 'cerss.zfs:source={OTHER.replace(ID, ID[::-1])}' tank/db/log",
        datasets("tank/db"),
        datasets("tank/db", recursive=True, exclude=["*/tmp"]),
        datasets("tank", "tank/none", "nopool/x"),
        datasets("tank/e", "tank/e/f", properties=["compression", "org.example:owner", "keyformat", "org.example:no"]),
        datasets("tank/db/log", properties=["nosuch"]),
        datasets("tank", recursive=True, detail="names", limit=3),
        datasets("tank/db/zv", detail="full"),
        datasets(limit=0),
    ],
    # What zpool prints
    "pool_info": [
        "truncate -s 128M /tmp/1 /tmp/2 /tmp/3 /tmp/4 /tmp/5 /tmp/6 '/tmp/a spare'; "
        "zpool create -o comment='made by hand' -o failmode=continue big mirror /tmp/1 /tmp/2 log /tmp/3 cache /tmp/4 "
        "spare '/tmp/a spare'; zpool scrub -w tank",
        pools("tank", "big"),
        # Damaged data, which a scrub finds
        "zpool offline big /tmp/2; zpool create -O compression=off single /tmp/5; "
        "yes MARK | head -c 512K > /single/f; zpool sync; "
        f"python3 -c '{DAMAGE}' /tmp/5; zpool scrub -w single",
        pools("single", "big"),
        # A resilver, and a scrub that is paused
        "zpool replace -w big /tmp/2 /tmp/6; head -c 20M /dev/urandom > /big/f; zpool sync; "
        "echo 1 > /sys/module/zfs/parameters/zfs_scan_suspend_progress; zpool scrub big; sleep 2",
        pools("big"),
        "zpool scrub -p big",
        pools("big"),
        "echo 0 > /sys/module/zfs/parameters/zfs_scan_suspend_progress; zpool scrub -s big",
        pools(),
        pools("big", "none"),
        pools("big/x"),
        # The only device cannot take any more, so that the pool is suspended until it can.
        "mkdir -p /run/small; mount -t tmpfs -o size=24M none /run/small; truncate -s 100M /run/small/d; "
        "zpool create full /run/small/d; "
        "(setsid head -c 36M /dev/urandom > /full/f 2> /dev/null < /dev/null &); "
        "until grep -q SUSPENDED /proc/spl/kstat/zfs/full/state; do sleep 0.2; done",
        pools("full", timeout="5s"),
        "mount -o remount,size=200M /run/small; zpool clear full; kill $(pgrep -x head) || true; "
        "until zpool destroy -f full; do sleep 1; done; umount /run/small; "
        "zpool destroy single; zpool destroy big; rm -f /tmp/[1-6] '/tmp/a spare'",
    ],
    # All that is parsed: what list, get, holds, allow and send print, resume tokens, and errors.
    "parsers": [
        f"{FILLED}zfs set \"org.example:note=$(printf 'a\\tb\\nc')\" tank/vol@s1; zfs hold 'with space' tank/vol@s1; "
        "zfs hold keep tank/vol@s1; zfs clone tank/vol@s1 tank/c; zfs bookmark tank/vol@s1 tank/vol#mine; "
        "zfs create -V 16M tank/zv; zfs snapshot tank/zv@s1; zfs create tank/inuse; zfs snapshot tank/inuse@open; "
        "zfs allow -s @set create,mount tank/vol; zfs allow -u daemon,root snapshot tank/vol; "
        "zfs allow -c destroy tank/vol; zfs allow -e diff tank",
        info("tank/vol", "tank/zv", detail="full"),
        info("tank/vol@none", "tank/none@s", "nopool/none@s"),
        *once(
            allow("send", "hold", "@set", dataset="tank/vol"),
            allow("mount", dataset="tank/vol", reach="descendents"),
            allow("fly", dataset="tank/vol"),
            allow("send", dataset="tank/none"),
            allow(dataset="tank/vol"),
            replicate(target=HERE),
            f"{BIG}{CUT}",
            replicate(target=HERE, bandwidth_limit="512K"),
            relationships("tank/vol"),
            replicate(target=HERE),
            # Errors
            dataset("tank/new", properties={"compression": "much"}),
            dataset("tank/new", properties={"quota": "much"}),
            dataset("tank/no/x"),
            dataset("nopool/x"),
            clone("tank/new", "tank/vol@s1", properties={"recordsize": "3"}),
            replicate(target=to("nopool/vol", "local")),
            "cd /tank/inuse; nohup sleep 600 > /dev/null 2>&1 & echo $! > /run/inuse; "
            "ls /tank/inuse/.zfs/snapshot/open; cd /tank/inuse/.zfs/snapshot/open; "
            "nohup sleep 600 > /dev/null 2>&1 & echo $! >> /run/inuse; sleep 1",
            dataset("tank/inuse", mounted=False),
            absent("tank/inuse@open"),
            "kill $(cat /run/inuse)",
            # A resume token whose snapshot is gone
            replicate(target=to("backup/dead", "local"), include_snapshots=["s1"]),
            "zfs snapshot tank/vol@dies; head -c 4M /dev/urandom > /tank/vol/more; zfs snapshot tank/vol@dead; "
            "zfs send -Lc -i @s1 tank/vol@dead | head -c 2M | zfs receive -s -u backup/dead || true; "
            "zfs destroy tank/vol@dead",
            replicate(target=to("backup/dead", "local"), include_snapshots=["s2"]),
        ),
    ],
}

# The versions of OpenZFS that sessions are recorded on: some on each, all others on one.
VERSIONS, VERSION = ("2.1", "2.3", "2.4"), "2.3"
ON_EACH = ("parsers",)


def recordings(version: str) -> dict[str, Session]:
    """The sessions that are recorded on this version, by the names of the recordings."""
    some = SESSIONS if version == VERSION else ON_EACH if version in VERSIONS else ()
    return {f"{name}-{version}" if name in ON_EACH else name: SESSIONS[name] for name in some}
