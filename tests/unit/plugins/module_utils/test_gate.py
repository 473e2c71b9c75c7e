# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import fcntl
import importlib.util
import inspect
import itertools
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils import _gate
from ansible_collections.cerss.zfs.plugins.module_utils._core import endpoint
from ansible_collections.cerss.zfs.plugins.module_utils._core.endpoint import WAITING, Endpoint
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import GateRefused
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName
from ansible_collections.cerss.zfs.plugins.module_utils._gate import (
    RECEIVE,
    SEND,
    Job,
    NotAllowed,
    check_stream,
    decide,
    resumed,
    seen,
)
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import processes, stream
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.errors import zfs_error
from ansible_collections.cerss.zfs.tests.unit.streams import RESUMED, record

ROOT = DatasetName("tank/site a")
JOBS = {
    RECEIVE: Job(RECEIVE, ROOT, frozenset({"compression", "org.example:note"})),
    SEND: Job(SEND, ROOT),
}
ID = "00112233445566aa"
IN = "tank/site a/v"
SNAP = f"{IN}@s 1"
# Recorded on OpenZFS 2.3.9; toname is tank/t@one
TOKEN = (
    "1-dde8789bf-d8-789c636064000310a500c4ec50360710e72765a52697303030419460caa7a515a7968064a41861f26c48f2499525a9c5405a60b"
    "b0c2336fd25f9e9a599290c0cae971f7609b9df5fac8124cf0996cf4bcc4d05d28979d9fa250ef979a90877703320dc9d9c9f5b50945a5c9c9fcd"
    "00070022a51ad4"
)
ZSTD = zfs.COMPRESSION["zstd"]
LZ4 = zfs.COMPRESSION["lz4"]

BOTH = [
    zfs.list_([IN, SNAP], inventory.ALL_TYPES, depth=1),
    zfs.list_([str(ROOT)], "snapshot", depth=None, by_dataset=True),
    zfs.list_([IN], "snapshot"),
    zfs.get([IN, "tank", SNAP, f"{IN}#b"], ["guid", "written"]),
    zfs.get([IN, "tank", SNAP], ["cerss.zfs:source", "cerss.zfs:inbound"]),
    zfs.get_names([IN, SNAP]),
    zfs.get_names([IN], set_only=True),
    zfs.holds([SNAP, f"{IN}@b"]),
    zfs.holds([SNAP], exact_time=False),
    zfs.get([IN], [f"cerss.zfs:replica.{ID}", f"cerss.zfs:at.{ID}"]),
    ["true"],
]
INSIDE: dict[str, list[list[list[str]]]] = {
    RECEIVE: [
        *([form] for form in BOTH),
        [zfs.receivers()],
        [zfs.hold("cerss.zfs:last", [SNAP, f"{IN}@b"])],
        [zfs.release("cerss.zfs:last", [SNAP])],
        [zfs.create(IN, {"canmount": "off"})],
        [zfs.set_({"cerss.zfs:inbound": '[{"guid":"1","snapshot":"it\'s","bytes":null}]'}, [IN])],
        [zfs.set_({"cerss.zfs:source": "a=b $(id) ; `id`'\"'\"'"}, [IN])],
        [zfs.inherit("cerss.zfs:inbound", [IN])],
        [zfs.receive(IN, {})],
        [
            zfs.receive(
                IN,
                {"readonly": "on", "canmount": "noauto", "cerss.zfs:source": "{}", "cerss.zfs:inbound": "[]"},
                f"{IN}x@s",
            )
        ],
        [zfs.receive(IN, {"compression": "zstd", "org.example:note": "-o ä x=y"})],
        [ZSTD[1], zfs.receive(IN, {})],
        [LZ4[1], zfs.receive(IN, {})],
        [zfs.receive_abort(IN)],
    ],
    SEND: [
        *([form] for form in BOTH),
        [zfs.hold(f"cerss.zfs:step:{ID}", [SNAP, f"{IN}@b"])],
        [zfs.release(f"cerss.zfs:step:{ID}", [SNAP])],
        [zfs.set_({f"cerss.zfs:replica.{ID}": "[]", f"cerss.zfs:at.{ID}": f"{ID} 255 12; {ID} 8 7"}, [IN])],
        [zfs.inherit(f"cerss.zfs:replica.{ID}", [IN])],
        [zfs.inherit(f"cerss.zfs:at.{ID}", [IN])],
        [zfs.send(SNAP, None, intermediates=True, raw=False)],
        [zfs.send(SNAP, f"{IN}@a", intermediates=True, raw=True, estimate=True)],
        [zfs.send(SNAP, f"{IN}#a", intermediates=False, raw=False)],
        [zfs.send(SNAP, f"{IN}@a", intermediates=False, raw=True), ZSTD[0]],
        [zfs.send(SNAP, None, intermediates=False, raw=False), LZ4[0]],
        [zfs.send(SNAP, f"{IN}@a", intermediates=False, raw=False, compressed=False)],
        [zfs.pool_values("tank", ["readonly"])],
        [zfs.bookmark(SNAP, f"{IN}#cerss.zfs_{ID}_ffffffffffffffff")],
        [zfs.destroy(f"{IN}#cerss.zfs_{ID}_1f")],
    ],
}
# Commands that no key may run
NEVER = {
    "snapshot": [zfs.snapshot([SNAP], {})],
    "destroy_snapshots": [
        zfs.destroy_snapshots(IN, ["a", "b"], defer=False),
        zfs.destroy_snapshots(IN, ["a"], defer=True),
    ],
    "verify": [zfs.verify(IN, {}, None)],
    "clone": [zfs.clone(SNAP, f"{IN}2", {})],
    "promote": [zfs.promote(IN)],
    "rename": [zfs.rename(IN, f"{IN}2", "filesystem"), zfs.rename(IN, f"{IN}2", "volume")],
    "rename_snapshot": [zfs.rename_snapshot(SNAP, f"{IN}@s 2")],
    "program": [zfs.program("tank", ["set", IN, "cerss.zfs:a", "b"])],
    "sync": [zfs.sync("tank")],
    "rollback": [zfs.rollback(SNAP)],
    "unload_key": [zfs.unload_key(IN)],
    "inherit_key": [zfs.inherit_key(IN)],
    "mount": [zfs.mount(IN)],
    "reclaimed": [zfs.reclaimed(IN, ["a", "b"])],
    "unmount": [zfs.unmount(IN)],
    "allow": [zfs.allow(["-u", "u"], ["send"], IN)],
    "unallow": [zfs.unallow(["-u", "u"], [], IN)],
    "allowed": [zfs.allowed(IN)],
    "delegate": [zfs.delegate("-l", ["-u", "u"], "send", IN), zfs.delegate("", ["-e"], "send", IN)],
    "load_key": [zfs.load_key(IN)],
    "permissions": [zfs.permissions()],
    "pools": [zfs.pools([])],
    "pool_status": [zfs.pool_status("tank")],
    "pool_states": [zfs.pool_states()],
}
# The functions of commands that at least one key may run; INSIDE has their commands
SOMETIMES = {
    "list_", "get", "get_names", "holds", "hold", "release", "set_", "inherit", "create", "receive", "receive_abort",
    "receivers", "pool_values", "send", "send_resume", "bookmark", "destroy",
}  # fmt: skip


def line(*commands: list[str]) -> str:
    return Endpoint("there").pipeline(list(commands))[0][-1]


def test_every_function_of_commands_is_listed_here() -> None:
    """Add a new one to INSIDE and SOMETIMES, or to NEVER."""
    functions = {
        name
        for name, thing in vars(zfs).items()
        if inspect.isfunction(thing) and thing.__module__ == zfs.__name__ and not name.startswith("_")
    }
    assert functions - {"batches", "split"} == SOMETIMES | set(NEVER)


@pytest.mark.parametrize("kind", [RECEIVE, SEND])
def test_every_command_of_the_job_runs_unchanged(kind: str) -> None:
    for commands in INSIDE[kind]:
        assert decide(line(*commands), JOBS[kind]) == commands


@pytest.mark.parametrize("kind", [RECEIVE, SEND])
def test_no_command_of_the_other_job_and_none_that_is_never_allowed(kind: str) -> None:
    other = SEND if kind == RECEIVE else RECEIVE
    theirs = [commands for commands in INSIDE[other] if commands not in INSIDE[kind]]
    for commands in [*theirs, *([form] for forms in NEVER.values() for form in forms)]:
        with pytest.raises(NotAllowed):
            decide(line(*commands), JOBS[kind])


@pytest.mark.parametrize("kind", [RECEIVE, SEND])
@pytest.mark.parametrize("pool", ["tank", "backup"])
@pytest.mark.parametrize("names", [["all"], ["readonly", "guid"], ["readonly"]])
def test_of_a_pool_a_sender_may_ask_only_whether_it_is_read_only(kind: str, pool: str, names: list[str]) -> None:
    if (kind, pool, names) == (SEND, "tank", ["readonly"]):
        return
    with pytest.raises(NotAllowed):
        decide(line(zfs.pool_values(pool, names)), JOBS[kind])


ROLE = Path(__file__).parents[4] / "roles" / "zfs_backend"


@pytest.fixture
def gate() -> Iterator[Any]:
    """The program as a module."""
    spec = importlib.util.spec_from_file_location("gate", ROLE / "files" / "gate.py")
    assert spec
    assert spec.loader
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    yield found
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})


TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 014DA8C0:0016 024DA8C0:C001 01 00000024:00000000 01:00000014 00000003     0        0 2 4 0 20 4 29 10 -1
   2: 014DA8C0:0016 024DA8C0:C002 01 00000024:00000000 01:00000014 00000000     0        0 3 4 0 20 4 29 10 -1
   3: 014DA8C0:C003 024DA8C0:0016 01 00000024:00000000 02:0000A7DF 00000003     0        0 4 4 0 20 4 29 10 -1
   4: 014DA8C0:0016 024DA8C0:C004 06 00000024:00000000 03:00000A00 00000003     0        0 0 3 0
   5: 014DA8C0:0016 034DA8C0:C002 01 00000024:00000000 01:00000014 00000003     0        0 5 4 0 20 4 29 10 -1
   6: 0000000000000000FFFF0000014DA8C0:0016 0000000000000000FFFF0000024DA8C0:C006 01 00000001:00000000 01:0 00000001 0
   7: B80D0120000000000000000001000000:0016 B80D0120000000000000000002000000:C007 01 00000001:00000000 01:0 00000001 0
"""


@pytest.mark.skipif(sys.byteorder == "big", reason="the table is from a little-endian machine")
@pytest.mark.parametrize(
    ("connection", "waits"),
    [
        ("192.168.77.2 49153 192.168.77.1 22", True),
        ("192.168.77.2 49154 192.168.77.1 22", False),  # bytes are on their way, as always
        ("192.168.77.3 49154 192.168.77.1 22", True),
        ("192.168.77.2 49155 192.168.77.1 22", False),
        ("192.168.77.2 49156 192.168.77.1 22", False),
        ("192.168.77.2 49158 192.168.77.1 22", True),
        ("2001:db8::2 49159 2001:db8::1 22", True),
        ("2001:db8::3 49159 2001:db8::1 22", False),
        ("192.168.77.2 49153 192.168.77.1 2222", False),
    ],
)
def test_a_connection_that_waits_for_the_other_host(gate: Any, connection: str, waits: bool) -> None:
    assert _gate.unanswered(TCP, *gate.ends(connection)) == waits
    assert not _gate.unanswered("", *gate.ends(connection))


@pytest.mark.parametrize("text", ["", "1.2.3.4", "x 1 y 2", "1.2.3.4 x 1.2.3.5 22", "1.2.3.4 1 1.2.3.5 22 5"])
def test_a_connection_that_is_not_known(gate: Any, text: str) -> None:
    assert gate.ends(text) == []


def test_a_receive_may_tell_its_pid_and_nothing_else_is_run_by_a_shell() -> None:
    receive = zfs.receive(IN, {})
    (argv,) = Endpoint("there").pipeline([["zstd", "-q", "-d", "-c"], receive], telling=True)
    assert decide(argv[-1], JOBS[RECEIVE]) == [["zstd", "-q", "-d", "-c"], receive]
    for other in (argv[-1].replace("$$", "$(id)"), argv[-1].replace("exec", "; exec"), f"sh -c {argv[-1]}"):
        with pytest.raises(NotAllowed):
            decide(other, JOBS[RECEIVE])


def test_no_command_of_the_job_runs_outside_the_root():
    for kind, job in JOBS.items():
        for commands in INSIDE[kind]:
            if not any(IN in argument or argument == str(ROOT) for argv in commands for argument in argv):
                continue
            for place in ("tank", "tank/site", "tank/site a2/v", "backup/site a/v", "tank/site a/../v", "-F", "/etc"):
                moved = [
                    [argument.replace(IN, place).replace(str(ROOT), place) for argument in argv] for argv in commands
                ]
                if moved[0][:2] == ["zfs", "get"] and place == "tank" and "@" not in " ".join(moved[0]):
                    continue  # an ancestor of the root may be read, see below
                with pytest.raises(NotAllowed):
                    decide(line(*moved), job)


@pytest.mark.parametrize("properties", [set[str](), {"encryption"}])
def test_an_unencrypted_replica_must_be_permitted(properties: set[str]) -> None:
    """And so must a dataset that holds some."""
    job = Job(RECEIVE, ROOT, frozenset(properties))
    for command in (
        zfs.create(IN, {"canmount": "off", "encryption": "off"}),
        zfs.receive(IN, {"readonly": "on", "encryption": "off"}),
    ):
        if properties:
            assert decide(line(command), job) == [command]
        else:
            with pytest.raises(NotAllowed):
                decide(line(command), job)
    with pytest.raises(NotAllowed):
        decide(line(zfs.create(IN, {"canmount": "off", "encryption": "on"})), job)


def test_ancestors_of_the_root_can_only_be_read():
    job = Job(RECEIVE, DatasetName("tank/a/b"))
    look = zfs.get(["tank", "tank/a", "tank/a/b"], ["guid"])
    assert decide(line(look), job) == [look]
    for command in (
        zfs.get(["tank/a@s"], ["guid"]),
        zfs.get(["tank/c"], ["guid"]),
        zfs.get_names(["tank/a"]),
        zfs.get_names(["tank/a/b", "tank/a"], set_only=True),
        zfs.list_(["tank"], "filesystem"),
        zfs.create("tank/a", {"canmount": "off"}),
    ):
        with pytest.raises(NotAllowed):
            decide(line(command), job)


REFUSED: list[tuple[str, str, str]] = [
    (RECEIVE, "", "no such command line"),
    (RECEIVE, "sh", "no such command line"),
    (RECEIVE, "/usr/lib/openssh/sftp-server", "no such command line"),
    (RECEIVE, "internal-sftp", "no such command line"),
    (RECEIVE, "scp -t /tmp", "no such command line"),
    (RECEIVE, "zfs list", "no such command line"),
    (RECEIVE, line(["true"]) + "\n", "a control character"),
    (RECEIVE, line(["true"]) + ";id", "no such command line"),
    (RECEIVE, line(["true"]) + " ", "no such command line"),
    (RECEIVE, line(["true"]) + " | ", "no such command line"),
    (RECEIVE, line(["true"]) + " && id", "no such command line"),
    (RECEIVE, line(["true"]).replace(" ", "  ", 1), "no such command line"),
    (RECEIVE, line(["true"]).replace("env", "'env'", 1), "no such command line"),
    (RECEIVE, line(["true"]).replace("LC_ALL=C", "LC_ALL=C LD_PRELOAD=/x", 1), "no such command line"),
    (RECEIVE, line(["true"]).replace("PATH=", "PATH=/tmp:", 1), "no such command line"),
    (RECEIVE, line(["true"])[:-4] + "$(id)", "no such command line"),
    (RECEIVE, line(["true"])[:-4] + "'true", "no such command line"),
    (RECEIVE, line(["true"])[:-5], "no such command line"),
    (RECEIVE, line(["true"]) + " '\0'", "a control character"),
    (RECEIVE, line(["true"]) + " x" * 70_000, "too long"),
    (RECEIVE, line(["true", "x"]), "cannot run"),
    (RECEIVE, line(["ps", "-ef"]), "cannot run"),
    (RECEIVE, line(["sudo", "-n", *zfs.receive(IN, {})]), "cannot run"),
    (RECEIVE, line(["zfs"]), "cannot run"),
    (RECEIVE, line(["true"], ["true"]), "no such pipeline"),
    (RECEIVE, line(["cat"], zfs.receive(IN, {})), "no such pipeline"),
    (RECEIVE, line(ZSTD[1], zfs.receive_abort(IN), ["true"]), "no such pipeline"),
    (RECEIVE, line(ZSTD[1], zfs.list_([IN], "snapshot")), "no such pipeline"),
    (RECEIVE, line([*ZSTD[1], "-o", "/x"], zfs.receive(IN, {})), "no such pipeline"),
    (RECEIVE, line(["zfs", "receive", "-F", IN]), "-F"),
    (RECEIVE, line(["zfs", "receive", "-s", "-u", "-F", IN]), "-F"),
    (RECEIVE, line(["zfs", "receive", "-s", "-u", "-d", IN]), "-d"),
    (RECEIVE, line(["zfs", "receive", "-s", "-u", IN, "tank/other"]), "does not run zfs"),
    (RECEIVE, line(["zfs", "receive", "-s", IN]), "does not run zfs"),
    (RECEIVE, line(["zfs", "receive", "-s", "-u"]), "empty"),
    (RECEIVE, line(zfs.receive(IN, {"mountpoint": "/etc"})), "cannot be created with mountpoint"),
    (RECEIVE, line(zfs.receive(IN, {"readonly": "off"})), "cannot be created with readonly"),
    (RECEIVE, line(zfs.receive(IN, {"canmount": "on"})), "cannot be created with canmount"),
    (RECEIVE, line(zfs.receive(IN, {"setuid": "on"})), "cannot be created with setuid"),
    (RECEIVE, line([*zfs.receive(IN, {"readonly": "on"})[:-1], "-o", "readonly=on", IN]), "does not run zfs"),
    (RECEIVE, line(zfs.receive(IN, {}, "tank/x@s")), "not below"),
    (RECEIVE, line(zfs.receive(f"{IN}@s", {})), "give a dataset here"),
    (RECEIVE, line(zfs.receive(f"{ROOT}/{'x' * 240}", {})), "a replica's name"),
    (RECEIVE, line(zfs.create(f"{ROOT}/{'x' * 240}", {"canmount": "off"})), "a replica's name"),
    (RECEIVE, line(zfs.create(IN, {})), "does not run zfs"),
    (RECEIVE, line(zfs.create(IN, {"canmount": "off"}, size=10)), "does not run zfs"),
    (RECEIVE, line(zfs.create(IN, {"canmount": "off"}, parents=True)), "does not run zfs"),
    (RECEIVE, line(zfs.hold("mine", [SNAP])), "this job needs"),
    (RECEIVE, line(zfs.release(f"cerss.zfs:step:{ID}", [SNAP])), "this job needs"),
    (RECEIVE, line(zfs.release(".send-1-1", [SNAP])), "this job needs"),
    (RECEIVE, line(zfs.release(f"cerss.zfs:last:{ID}", [SNAP])), "this job needs"),
    (RECEIVE, line(["zfs", "release", "-r", "cerss.zfs:last", SNAP]), "this job needs"),
    (RECEIVE, line(["zfs", "release", "cerss.zfs:last"]), "no snapshot"),
    (RECEIVE, line(["zfs", "release", "cerss.zfs:last", "-r", SNAP]), "no snapshot"),
    (RECEIVE, line(zfs.set_({f"cerss.zfs:at.{ID}": "1"}, [IN])), "this job needs"),
    (RECEIVE, line(zfs.set_({"cerss.zfs:origin": "1"}, [IN])), "this job needs"),
    (RECEIVE, line(zfs.set_({"readonly": "off"}, [IN])), "this job needs"),
    (RECEIVE, line(zfs.set_({"cerss.zfs:source": "1", "mountpoint": "/"}, [IN])), "this job needs"),
    (RECEIVE, line(["zfs", "set", "-u", "cerss.zfs:source=1", IN]), "not a valid dataset name"),
    (RECEIVE, line(["zfs", "set", "cerss.zfs:source=1"]), "no dataset"),
    (RECEIVE, line(["zfs", "inherit", "-r", "cerss.zfs:source", IN]), "this job needs"),
    (RECEIVE, line(zfs.get([IN], ["-rtsnapshot"])), "no such list"),
    (RECEIVE, line(zfs.get([IN], ["all"])), "apart, each by its name"),
    (RECEIVE, line(zfs.get([IN], ["guid", "cerss.zfs:source"])), "apart, each by its name"),
    (RECEIVE, line(["zfs", "get", "-Hp", "-r", *zfs.get([IN], ["guid"])[3:]]), "no such list"),
    (RECEIVE, line(["zfs", "get", "-Hp", "-s", "local", *zfs.get([IN], ["guid"])[3:]]), "these arguments"),
    (RECEIVE, line(["zfs", "get", "-Hp", "-o", "name,property", "guid", IN]), "these arguments"),
    (RECEIVE, line(zfs.list_([], "snapshot", depth=None)), "would mean all of them"),
    (RECEIVE, line(zfs.list_([f"{IN}%recv"], "snapshot")), "not a valid"),
    (RECEIVE, line(zfs.list_(["tank/site \N{CYRILLIC SMALL LETTER A}/v"], "snapshot")), "not a valid"),
    (SEND, line(["zfs", "send", "-R", SNAP]), "-R"),
    (SEND, line(["zfs", "send", "-vP", "-p", SNAP]), "-p"),
    (SEND, line(["zfs", "send", "-vP", "-L", "-c", IN]), "names no snapshot"),
    (SEND, line(["zfs", "send", "-vP", "-L", "-c", "-i", "@a", SNAP]), "is empty"),
    (SEND, line(["zfs", "send", "-vP", "-L", "-c", "-i", "a", SNAP]), "not the full name"),
    (SEND, line(zfs.send(SNAP, "tank/x@a", intermediates=False, raw=False)), "not below"),
    (SEND, line(zfs.send(SNAP, None, False, False, estimate=True), ZSTD[0]), "no such pipeline"),
    (SEND, line(zfs.send(SNAP, None, False, False), ["sh"]), "no such pipeline"),
    (SEND, line(zfs.send_resume("1-2-3-4")), "not a resume token"),
    (SEND, line(zfs.hold("cerss.zfs:last", [SNAP])), "this job needs"),
    (SEND, line(zfs.release("cerss.zfs:last", [SNAP])), "this job needs"),
    (SEND, line(zfs.hold("cerss.zfs:step:1", [SNAP])), "this job needs"),
    (SEND, line(zfs.set_({"cerss.zfs:source": "{}"}, [IN])), "this job needs"),
    (SEND, line(zfs.set_({f"cerss.zfs:replica.{ID}0": "[]"}, [IN])), "this job needs"),
    (SEND, line(zfs.set_({f"cerss.zfs:at.{ID}": "", "readonly": "off"}, [IN])), "this job needs"),
    (SEND, line(zfs.inherit(f"cerss.zfs:at.{ID.upper()}", [IN])), "this job needs"),
    (SEND, line(zfs.inherit("cerss.zfs:at.", [IN])), "this job needs"),
    (SEND, line(["zfs", "inherit", "-S", f"cerss.zfs:at.{ID}", IN]), "this job needs"),
    (SEND, line(zfs.set_({f"cerss.zfs:at.{ID}": "1"}, ["tank/x"])), "not below"),
    (SEND, line(zfs.bookmark(SNAP, f"{IN}#mine")), "not a cursor"),
    (SEND, line(zfs.bookmark(SNAP, f"{IN}#cerss.zfs_{ID}_open")), "not a cursor"),
    (SEND, line(zfs.bookmark(SNAP, f"tank/x#cerss.zfs_{ID}_1")), "not below"),
    (SEND, line(zfs.destroy(f"{IN}#mine")), "not a cursor"),
    (SEND, line(zfs.destroy(IN)), "anything but cursors"),
    (SEND, line(["zfs", "destroy", "-r", f"{IN}#cerss.zfs_{ID}_1"]), "anything but cursors"),
]


CONTROL = ["\0", "\t", "\n", "\r", "\v", "\f", "\x1b", "\x7f", "\x85", "\x9b", "\u2028", "\u2029", "\udc80"]
LAST, STEP = "cerss.zfs:last", f"cerss.zfs:step:{ID}"


@pytest.mark.parametrize("char", CONTROL, ids=ascii)
@pytest.mark.parametrize(
    "command",
    [
        lambda char: (RECEIVE, zfs.set_({"cerss.zfs:inbound": f"x{char}y"}, [IN])),
        lambda char: (SEND, zfs.set_({f"cerss.zfs:at.{ID}": f"x{char}y"}, [IN])),
        lambda char: (RECEIVE, zfs.receive(IN, {"org.example:note": f"x{char}y"})),
        lambda char: (RECEIVE, zfs.receive(IN + char, {})),
        lambda char: (RECEIVE, zfs.hold(LAST + char, [SNAP])),
        lambda char: (SEND, zfs.release(STEP, [SNAP + char])),
        lambda char: (SEND, zfs.get([IN], ["guid" + char])),
    ],
    ids=["set to receive", "set to send", "receive -o", "dataset", "tag", "snapshot", "property"],
)
def test_no_control_character_passes(command: Callable[[str], tuple[str, list[str]]], char: str) -> None:
    kind, argv = command(char)
    with pytest.raises(NotAllowed, match="a control character"):
        decide(line(argv), JOBS[kind])


@pytest.mark.parametrize(("kind", "text", "why"), REFUSED)
def test_refusals_say_why(kind: str, text: str, why: str) -> None:
    with pytest.raises(NotAllowed, match=why.replace("(", r"\(")):
        decide(text, JOBS[kind])


def test_only_a_stream_of_a_snapshot_below_the_root_is_resumed():
    resume = zfs.send_resume(TOKEN)
    job = Job(SEND, DatasetName("tank/t"))
    assert decide(line(resume), job) == [resume]
    assert decide(line(resume, ZSTD[0]), job) == [resume, ZSTD[0]]
    assert decide(line(zfs.send_resume(TOKEN, estimate=True)), job) == [zfs.send_resume(TOKEN, estimate=True)]
    for commands in ([resume], [resume, ZSTD[0]]):
        assert resumed(commands) == "11808234892953768773"
    assert resumed([zfs.send(SNAP, None, False, False)]) is None
    with pytest.raises(NotAllowed, match="not below"):
        decide(line(resume), JOBS[SEND])
    with pytest.raises(NotAllowed, match="does not run zfs"):
        decide(line([*resume, SNAP]), job)


def test_a_refusal_has_its_own_class():
    error = zfs_error(["zfs", "rollback", SNAP], 126, "cerss-zfs-gate: refused: a key to receive cannot run\n", "b")
    assert isinstance(error, GateRefused)
    assert not error.transient
    assert "bound to its job" in error.msg


def test_other_receives_are_shown_without_arguments_and_other_processes_not_at_all():
    ours = [f" 77 9 zfs receive -s -u {IN}", " 78 1 [receive_writer]", f"80 1 /usr/sbin/zfs recv -o a=b {ROOT}"]
    other = ["  1 5 /sbin/init secret", "79 1 zfs receiver"]
    theirs = ["81 2 zfs receive -s -u -o origin=tank/site a/v@s tank/x", "82 3 zfs receive -s -u tank/site a2/v"]
    shown = seen([*ours, *other, *theirs], JOBS[RECEIVE])
    assert shown == [*ours, "1 0 -", "81 2 zfs receive -", "82 3 zfs receive -"]
    assert processes.receiving(shown).is_active(f"{ROOT}/other") is False
    assert processes.receiving(seen([*ours, *theirs], JOBS[RECEIVE])).is_active(f"{ROOT}/other") is None


def test_a_gate_and_its_receive_are_shown_as_one_elsewhere() -> None:
    """Otherwise a receive that is not shown could hide behind the two."""
    gate = ["1 5 init", "81 2 zfs receive -s -u tank/x", "82 2 zfs receive -s -u tank/x"]
    assert seen(gate, JOBS[RECEIVE]) == ["1 0 -", "82 2 zfs receive -"]


PLAIN = zfs.receive(IN, {})
READONLY = {"readonly": "on"}
UNMOUNTED = {"canmount": "noauto", **READONLY}
NEW, NEW_VOLUME = zfs.receive(IN, UNMOUNTED), zfs.receive(IN, READONLY)
CLONE, CLONE_VOLUME = zfs.receive(IN, UNMOUNTED, SNAP), zfs.receive(IN, READONLY, "tank/site a/vol@s")


@pytest.mark.parametrize(
    ("head", "argv", "why"),
    [
        pytest.param(record(origin=8), PLAIN, None, id="increment"),
        pytest.param(record(), NEW, None, id="first"),
        pytest.param(record(big=1), NEW, None, id="first-of-other-byte-order"),
        pytest.param(record(type=3), NEW_VOLUME, None, id="first-volume"),
        pytest.param(record(version=RESUMED), PLAIN, None, id="resumed-first"),
        pytest.param(record(version=RESUMED, flags=1, origin=8), PLAIN, None, id="resumed-clone"),
        pytest.param(record(flags=1, origin=8), CLONE, None, id="clone"),
        pytest.param(record(flags=1, origin=8, type=3), CLONE_VOLUME, None, id="clone-volume"),
        pytest.param(record(version=2), PLAIN, None, id="increments"),
        pytest.param(record(), PLAIN, "must be created with canmount and readonly", id="writable"),
        pytest.param(record(), NEW_VOLUME, "must be created with", id="mountable"),
        pytest.param(record(type=3), PLAIN, "must be created with readonly", id="writable-volume"),
        pytest.param(record(origin=8), zfs.receive(IN, {}, SNAP), "must be created with", id="writable-clone"),
        pytest.param(
            record(origin=8, type=3), zfs.receive(IN, READONLY, SNAP), "must be created with", id="not-a-volume"
        ),
        pytest.param(record(flags=1, origin=8), NEW, "origin is not named", id="clone-of-anything"),
        pytest.param(record(version=2, payload=8), PLAIN, "properties, holds", id="replication"),
        pytest.param(record(version=2, payload=8, big=1), PLAIN, "properties, holds", id="replication-of-other-order"),
        pytest.param(record(5), PLAIN, "not a send stream", id="end"),
        pytest.param(b"\0" * stream.RECORD, PLAIN, "not a send stream", id="nothing"),
        pytest.param(record().rstrip(b"\0").ljust(stream.RECORD, b"x"), NEW, "not a send stream", id="endless-name"),
    ],
)
def test_a_stream_changes_only_what_its_command_names(head: bytes, argv: list[str], why: str | None) -> None:
    volumes = ["tank/site a/vol"]
    if why is None:
        assert check_stream(head, argv, volumes.__contains__).package == (head == record(version=2))
    else:
        with pytest.raises(NotAllowed, match=why):
            check_stream(head, argv, volumes.__contains__)


def test_there_is_no_package_within_a_package():
    with pytest.raises(NotAllowed, match="within a package"):
        check_stream(record(version=2), PLAIN, bool, part=0)
    assert check_stream(record(origin=8), PLAIN, bool, part=0).fromguid == "8"


@pytest.fixture
def stdin() -> Iterator[int]:
    """A descriptor to write to what descriptor 0 reads."""
    before, (reader, writer) = os.dup(0), os.pipe()
    os.dup2(reader, 0)
    os.close(reader)
    yield writer
    os.dup2(before, 0)
    os.close(before)


@pytest.mark.parametrize("status", [0, 3, 143])
def test_a_receive_goes_on_while_the_other_host_answers(
    gate: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], status: int
) -> None:
    monkeypatch.setattr(gate, "PROBE", 0.02)
    monkeypatch.setattr(gate, "LOOK", 0.01)
    answers = itertools.cycle([True] * (gate.SILENT - 1) + [False])
    monkeypatch.setattr(gate.Peer, "_is_silent", lambda _peer: next(answers))
    assert gate.watched(["sh", "-c", f"sleep 0.6; exit {status}"]) == status
    assert set(capfd.readouterr().err.splitlines()) == {WAITING}


def test_a_receive_ends_when_the_other_host_does_not_answer(gate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "PROBE", 0.02)
    monkeypatch.setattr(gate, "LOOK", 0.01)
    asked: list[Any] = []
    monkeypatch.setattr(_gate, "unanswered", lambda _table, *ends: asked.append(ends) or True)
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22")
    assert gate.watched(["sleep", "60"]) == 128 + signal.SIGTERM
    ends = (bytes((192, 0, 2, 2)), 22), (bytes((192, 0, 2, 1)), 50000)
    assert asked[: gate.SILENT] == [ends] * gate.SILENT


def test_a_part_of_a_record_is_not_waited_for_without_limit(
    gate: Any, stdin: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "PROBE", 0.02)
    monkeypatch.setattr(gate.Peer, "_is_silent", lambda _peer: True)
    os.write(stdin, record()[:100])
    with pytest.raises(SystemExit):
        gate.ahead()
    os.close(stdin)


def test_without_a_known_connection_nobody_is_gone(gate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    monkeypatch.setattr(_gate, "unanswered", lambda *_: True)
    monkeypatch.setattr(gate, "PROBE", 0)
    assert not any(peer.is_gone() for peer in [gate.Peer()] * 10)


def test_a_record_that_arrives_in_two_parts_is_read_whole(
    gate: Any, stdin: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest, and the end of the stream, arrive just after the gate has seen that there is a part."""
    rest = [record()[100:]]
    real = fcntl.ioctl

    def meanwhile(*arguments: Any) -> Any:
        answer = real(*arguments)
        if rest:
            os.write(stdin, rest.pop())
            os.close(stdin)
        return answer

    os.write(stdin, record()[:100])
    monkeypatch.setattr(fcntl, "ioctl", meanwhile)
    assert gate.ahead() == record()
    assert os.read(0, 1000) == record()
    with pytest.raises(SystemExit):
        gate.ahead()


def test_the_role_installs_all_that_the_gate_imports() -> None:
    """Starts it as on a host: with only the folder that the role creates, and what an earlier version left there."""
    variables = yaml.safe_load((ROLE / "vars" / "gate.yml").read_text())
    parts, packages = variables["zfs_backend_gate_parts"], variables["zfs_backend_gate_packages"]
    utils = ROLE.parents[1] / "plugins" / "module_utils"
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "ansible_collections" / "cerss" / "zfs" / "plugins" / "module_utils"
        for part in (path for glob in parts for path in utils.glob(glob)):
            (package / part.relative_to(utils)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(part, package / part.relative_to(utils))
        (package / "_zfs.py").write_text("raise ImportError('of an earlier version')")
        for name in packages:
            Path(folder, name, "__init__.py").touch()
        shutil.copy(ROLE / "files" / "gate.py", folder)
        gate = [sys.executable, "-I", "-S", f"{folder}/gate.py", "receive", "tank/a b"]

        def ask(line: str | None) -> subprocess.CompletedProcess[str]:
            asked = {} if line is None else {"SSH_ORIGINAL_COMMAND": line}
            return subprocess.run(gate, env=asked, capture_output=True, text=True, check=False)

        assert ask(line(["true"])).returncode == 0
        for text in (None, "id", line(["true"]) + ";id", line(["zfs", "destroy", "tank/a b/v"])):
            done = ask(text)
            assert (done.returncode, done.stdout) == (126, "")
            assert done.stderr.startswith("cerss-zfs-gate: refused: ")
        argv = zfs.receive("tank/a b/v", READONLY)
        asked, pipe = {"SSH_ORIGINAL_COMMAND": line(argv)}, subprocess.PIPE
        with subprocess.Popen(gate, env=asked, stdin=pipe, stderr=pipe, text=True) as waiting:
            until = time.monotonic() + 30
            while (seen_as := Path(f"/proc/{waiting.pid}/cmdline").read_text().rstrip("\0")) != " ".join(argv):
                assert time.monotonic() < until, seen_as
                time.sleep(0.02)
            _out, error = waiting.communicate("too short")
            assert (waiting.returncode, error) == (1, "cannot receive: failed to read from stream\n")
        imported = {path.name.partition(".")[0] for path in package.rglob("*.pyc")}
        assert "commands" in imported
        assert not imported & {"model", "properties", "token"}, "every command starts the gate: it must start fast"


# -- generated -------------------------------------------------------------------------------------------------------

NASTY = [
    "-F", "-r", "-R", "-f", "-d", "-n", "..", ".", "/", "", " ", "'", '"', "\\", "\n", "\r", "\t", "\0", ";", "&", "&&",
    "|", "||", ">", "</dev/null", "$(id)", "`id`", "${IFS}", "*", "?", "~", "#", "@", "%", "%recv", ",", "=", "!", "--",
    "-o", "origin=tank/x@s", "mountpoint=/", "t\u0430nk", "t\u200bank", "\uff54ank", "\uff0f", "\ufe6b", "\ud800",
    "x" * 300, "tank", "tank/site a", "tank/site a/..", "tank/other", "tank/site a/v@s,t", "tank/site a/v@a%b", "sh",
    "-c", "sudo", "destroy", "rollback", "rename", "promote", "mount", "load-key", "program", "allow", "zpool",
]  # fmt: skip
FORMS = [commands for forms in INSIDE.values() for commands in forms] + [
    [form] for forms in NEVER.values() for form in forms
]


@st.composite
def lines(draw: st.DrawFn) -> str:
    """The line of a command that is allowed or never allowed, changed in its arguments or as text."""
    commands = [list(argv) for argv in draw(st.sampled_from(FORMS))]
    for _time in range(draw(st.integers(0, 2))):
        argv = commands[draw(st.integers(0, len(commands) - 1))]
        at = draw(st.integers(0, len(argv)))
        nasty = draw(st.one_of(st.sampled_from(NASTY), st.text(max_size=8)))
        how = draw(st.sampled_from(["insert", "replace", "append", "prepend", "drop", "swap", "inside"]))
        if how == "insert" or not argv or at == len(argv):
            argv.insert(at, nasty)
        elif how == "replace":
            argv[at] = nasty
        elif how == "append":
            argv[at] += nasty
        elif how == "prepend":
            argv[at] = nasty + argv[at]
        elif how == "drop":
            del argv[at]
        elif how == "swap":
            argv[at], argv[-1] = argv[-1], argv[at]
        else:
            middle = len(argv[at]) // 2
            argv[at] = argv[at][:middle] + nasty + argv[at][middle:]
    if draw(st.integers(0, 9)) == 0:
        commands.append(draw(st.sampled_from([["sh"], ["tee", "/x"], *(c for pair in (ZSTD, LZ4) for c in pair)])))
    text = endpoint.line(commands)
    if draw(st.integers(0, 2)) == 0:
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(NASTY)) + text[at + draw(st.integers(0, 3)) :]
    return text


def harmless(argv: list[str], kind: str) -> bool:
    """Whether the command keeps to the job, by other rules than those of the gate."""
    if argv in (["true"], zfs.receivers(), *ZSTD, *LZ4):
        return True
    if (kind, argv) == (SEND, ["zpool", "get", "-Hp", "-o", "property,value", "readonly", "tank"]):
        return True
    verbs = {RECEIVE: {"receive", "create"}, SEND: {"send", "bookmark", "destroy"}}[kind]
    if argv[0] != "zfs" or argv[1] not in verbs | {"list", "get", "holds", "hold", "release", "set", "inherit"}:
        return False
    reading = argv[1] in ("list", "get", "holds")
    switches = [argument for argument in argv[2:] if argument.startswith("-") and not reading]
    if not set(switches) <= {"-s", "-u", "-o", "-A", "-vP", "-nvP", "-w", "-L", "-c", "-i", "-I", "-t"}:
        return False
    if argv[1] == "destroy" and "#cerss.zfs_" not in argv[2]:
        return False
    if argv[1] == "send" and "-t" in argv:
        return False  # no token in FORMS is valid
    # The requested properties may have any name.
    rest = argv[argv.index("-o") + 3 :] if argv[1] == "get" and "-o" in argv else argv[2:]
    names = [argument for argument in rest if argument.split("/")[0].startswith("tank") or argument == argv[-1]]
    return all(
        name == str(ROOT) or name.startswith(f"{ROOT}/") or (argv[1] == "get" and name == "tank") for name in names
    )


@settings(max_examples=int(os.environ.get("CERSS_GATE_LINES", "300")), suppress_health_check=list(HealthCheck))
@given(lines(), st.sampled_from([RECEIVE, SEND]))
def test_no_generated_line_runs_a_harmful_command(text: str, kind: str) -> None:
    try:
        commands = decide(text, JOBS[kind])
    except NotAllowed:
        return
    words = [word for argv in commands for word in ("|", *shlex.split(endpoint.HEAD), *argv)]
    assert words[1:] == shlex.split(text)
    for argv in commands:
        assert harmless(argv, kind), argv
