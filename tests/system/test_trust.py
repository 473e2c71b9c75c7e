# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""setup_backends, its roles and the gate: what a service user may do, and what a stolen key cannot."""

from __future__ import annotations

import re
import shlex
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import testinfra
import verbs
import yaml
from gated import HOME, USER, Gated
from harness import CLONE, Ansible, Backend, Failed, diff_dumps, lab_command, until
from test_replicate import once, options, replicate, target
from test_zfs_snapshot_prune import VERB, prune

ROOT = "backup/site a"
SEARCH_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"


@pytest.fixture(scope="module")
def pair(gated: Gated, lab: Path) -> Iterator[Gated]:
    """With a place for replicas whose name has a space; each test uses volumes of its own."""
    lab_command("reset", "--dir", lab)
    gated.permit()
    gated.b.run(["zfs", "create", "-u", ROOT])
    yield gated
    gone = {"zfs_peer_state": "absent", "zfs_backend_state": "absent"}
    gated.role(gated.b, **gated.peer(gated.b, gated.b, "receive"), zfs_peer_state="absent")
    gated.play(**gone)
    for backend in (gated.a, gated.b):
        left = backend.run(f"getent passwd {USER}; ls -d {HOME} /usr/local/lib/cerss-zfs /run/cerss.zfs", check=False)
        assert not left.stdout
        assert USER not in backend.zfs("allow", "tank") + backend.zfs("allow", "backup")
    assert not changed(gated.play(**gone))


def changed(results: list[dict[str, Any]]) -> list[str]:
    return [f"{result['_host']}: {result['_task']}" for result in results if result.get("changed")]


def volume(a: Backend, name: str) -> str:
    """A new filesystem with a snapshot on the sending machine."""
    a.run(f"zfs create tank/{name}")
    a.fill(f"tank/{name}", 1, "one")
    a.run(f"zfs snapshot tank/{name}@s1")
    return f"tank/{name}"


def ours(*words: str) -> str:
    """The command line that the collection writes for it."""
    return f'env LC_ALL=C PATH={SEARCH_PATH}:"$PATH" {shlex.join(words)}'


def ssh(a: Backend, b: Backend, *words: str, opts: tuple[str, ...] = ()) -> Any:
    """What the service user of one machine gets when it asks for a command on the other."""
    argv = ["sudo", "-u", USER, "ssh", "-o", "BatchMode=yes", *opts, b.address, *words]
    return a.run(argv, check=False)


def test_root_is_shut_out_and_no_secret_is_told(pair: Gated, ansible: Ansible) -> None:
    a, b = pair.a, pair.b
    assert "Permission denied" in a.run(["ssh", b.name, "true"], check=False).stderr
    name, place = volume(a, "v"), f"{ROOT}/deep/v"
    far = {"host": b.address, "user": USER, "identity_file": f"{HOME}/.ssh/{b.name}", "dataset": place}
    far["known_hosts_file"] = f"{HOME}/.ssh/{b.name}.known_hosts"
    (told,) = ansible.run_tasks(
        a.name, [{"cerss.zfs.zfs_snapshot_replicate": {"name": [name], "compression": "zstd", "target": far}}]
    )
    assert told["replicas"][0]["state"] == "full"
    assert a.checksum(f"{name}@s1") == b.checksum(f"{place}@s1")
    assert "PRIVATE" not in str(told)
    secret = a.run(["sed", "-n", "2p", f"{HOME}/.ssh/{b.name}"]).stdout.strip()
    for backend in (a, b):
        assert secret not in backend.run("journalctl --no-pager -o cat").stdout
    assert f"runs for receive 'backup' from {a.address}" in gate_log(b)


def gate_log(backend: Backend) -> str:
    return backend.run("journalctl -t cerss-zfs-gate --no-pager -o cat").stdout


def test_a_gate_keeps_what_has_arrived(pair: Gated) -> None:
    a, b = pair.a, pair.b
    name, place = volume(a, "d"), target(dataset=f"{ROOT}/d")
    assert not once(a, name=name, target=place).get("failed")
    b.run(["zfs", "snapshot", f"{ROOT}/d@more"])
    a.run(f"zfs snapshot {name}@s2")
    told = once(a, name=name, target=place, on_divergence="rollback")
    assert "cerss-zfs-gate: refused: a key to receive cannot run zfs destroy" in told["msg"]
    assert "bound to its job" in told["msg"]
    assert f"{ROOT}/d@more" in b.dump()
    assert "refused: a key to receive cannot run zfs destroy" in gate_log(b)
    # What the replica's last hold is for, it still does.
    assert b.dump()[f"{ROOT}/d@s1"]["holds"] == ["cerss.zfs:last"]


def test_a_key_opens_nothing_else(pair: Gated) -> None:
    a, b = pair.a, pair.b
    b.run(["zfs", "create", "-u", f"{ROOT}/k"])
    b.run("zfs create tank/other && zfs snapshot tank/other@s")
    before = b.dump()
    for words in (
        (),
        ("id",),
        ("sh", "-c", "id"),
        ("internal-sftp",),
        ("zfs destroy -r backup",),
        (ours("zfs", "destroy", f"{ROOT}/k"),),
        (ours("zfs", "rollback", f"{ROOT}/k@s"),),
        (ours("zfs", "rename", "-u", f"{ROOT}/k", f"{ROOT}/w"),),
        (ours("zfs", "holds", "-Hp", "tank/other@s"),),
        (ours("zfs", "create", "-u", "-o", "canmount=off", "tank/new"),),
        (ours("true") + "; touch /tmp/cerss-was-here",),
        (ours("true") + " $(touch /tmp/cerss-was-here)",),
    ):
        done = ssh(a, b, *words, opts=("-T",))
        assert done.returncode == 126, (words, done)
        assert done.stderr.startswith("cerss-zfs-gate: refused: "), (words, done)
        assert not done.stdout
    assert ssh(a, b, ours("true")).returncode == 0
    assert "PTY allocation request failed" in ssh(a, b, ours("true"), opts=("-tt",)).stderr
    done = ssh(a, b, opts=("-N", "-o", "ExitOnForwardFailure=yes", "-R", "2222:127.0.0.1:22"))
    assert done.returncode == 255
    assert "administratively prohibited" in ssh(a, b, opts=("-W", "127.0.0.1:22")).stderr
    done = a.run(["sudo", "-u", USER, "sftp", "-b", "/dev/null", "-o", "BatchMode=yes", b.address], check=False)
    assert done.returncode != 0
    assert b.run("test -e /tmp/cerss-was-here", check=False).returncode == 1
    assert not diff_dumps(before, b.dump())


def test_wrong_host_key_and_wrong_address(pair: Gated) -> None:
    a, b = pair.a, pair.b
    true = ours("true")
    assert ssh(a, b, true).returncode == 0
    a.run(["ip", "address", "add", "192.168.77.99/24", "dev", "eth1"])
    try:
        done = ssh(a, b, true, opts=("-b", "192.168.77.99"))
        assert done.returncode == 255
        assert "Permission denied" in done.stderr
    finally:
        a.run(["ip", "address", "del", "192.168.77.99/24", "dev", "eth1"])

    # The role itself tries the address that it has found out.
    assert f'from="{b.address}",command=' in a.run(["cat", f"{HOME}/.ssh/authorized_keys"]).stdout
    shut = "/etc/ssh/sshd_config.d/00-shut.conf"
    a.run(f"echo DenyUsers {USER} > {shut} && systemctl reload ssh")
    try:
        with pytest.raises(Failed, match=f"does not accept the login of {b.name}.*denied.*than {b.address},"):
            pair.role(b, **pair.peer(b, a, "send"))
    finally:
        a.run(f"rm {shut} && systemctl reload ssh")

    name = volume(a, "h")
    pinned = f"{HOME}/.ssh/{b.name}.known_hosts"
    a.run(f"cp -p {pinned} /root/pinned && ssh-keygen -q -t ed25519 -N '' -f /root/other-host")
    a.run(f"echo {b.address} $(cut -d' ' -f1,2 /root/other-host.pub) > {pinned}")
    told = once(a, name=name, target=target(dataset=f"{ROOT}/h"))
    a.run(f"cp -p /root/pinned {pinned} && rm /root/other-host*")
    assert "host key" in told["msg"].lower()
    assert f"{ROOT}/h" not in b.dump()


def test_setuid_and_devices_are_of_no_use(pair: Gated) -> None:
    a, b = pair.a, pair.b
    name, place = volume(a, "e"), f"{ROOT}/e"
    a.run(f"cp /usr/bin/id /{name}/id && chmod 4755 /{name}/id && mknod -m 666 /{name}/null c 1 3")
    a.run(f"zfs snapshot {name}@evil")
    assert not once(a, name=name, target=target(dataset=place)).get("failed")
    b.run(["zfs", "mount", place])
    try:
        path = shlex.quote(f"/{place}")
        assert b.run(f"{path}/id", user="operator", check=False).returncode == 126
        assert b.run(f"cat {path}/null", user="operator", check=False).returncode != 0
    finally:
        b.run(["zfs", "unmount", place])


def test_a_stream_reaches_no_further_than_its_command(pair: Gated) -> None:
    a, b = pair.a, pair.b
    name, place = volume(a, "r"), f"{ROOT}/r"
    assert not once(a, name=name, target=target(dataset=place)).get("failed")
    a.run(
        f"zfs create {name}/below && zfs create {name}0 && zfs snapshot {name}@s2 && zfs snapshot -r {name}@s3"
        f" && zfs snapshot {name}0@s3 && zfs clone {name}@s1 {name}c && zfs snapshot {name}c@s1"
    )
    line = shlex.quote(ours("zfs", "receive", "-s", "-u", place))
    far = shlex.quote(ours("zfs", "receive", "-s", "-u", "-o", "canmount=noauto", "-o", "readonly=on", f"{ROOT}/new"))
    clone = ("zfs", "receive", "-s", "-u", "-o", f"origin={place}@s1", "-o", "readonly=on", f"{ROOT}/new")
    volume_head = r"{ head -c 32; printf '\3\0\0\0'; tail -c +5; }"
    before = b.dump()

    def pipe(stream: str, into: str = line) -> str:
        done = a.run(f"({stream}) | sudo -u {USER} ssh -o BatchMode=yes {b.address} {into}", check=False)
        return "" if done.returncode == 0 else done.stderr

    for stream, into, why in (
        (f"zfs send -R -I @s1 {name}@s3", line, "properties, holds or further datasets"),
        (f"zfs send -p -i @s1 {name}@s2", line, "properties, holds or further datasets"),
        (
            f"zfs send {name}0@s3",
            shlex.quote(ours("zfs", "receive", "-s", "-u", f"{ROOT}/new")),
            "must be created with",
        ),
        (f"zfs send -i {name}@s1 {name}c@s1", far, "origin is not named"),
        (
            f"zfs send -i {name}@s1 {name}c@s1 | {volume_head}",
            shlex.quote(ours(*clone)),
            "must be created with canmount",
        ),
        # The head of one package before a stream of another dataset, whose name would become that of a neighbour
        (f"zfs send -I @s1 {name}@s3 | head -c 624; zfs send {name}0@s3", line, "must be created with"),
        (f"zfs send -I @s1 {name}@s3 | head -c 624; zfs send -R {name}@s3", line, "a package within a package"),
        ("head -c 400 /dev/zero", line, "is not a send stream"),
    ):
        told = pipe(stream, into)
        assert "cerss-zfs-gate: refused: " in told, (stream, told)
        assert why in told, (stream, told)
    assert "cannot receive" in pipe(f"zfs send -i @s1 {name}@s2 | head -c 100")
    assert not diff_dumps(before, b.dump())
    # What the collection sends arrives, also in pieces; who waits for it is seen to receive.
    slowly = "(head -c 100; until rm /tmp/more; do sleep 0.1; done 2>/dev/null; head -c 700; sleep 1; cat)"
    with ThreadPoolExecutor() as aside:
        arrived = aside.submit(pipe, f"zfs send -I @s1 {name}@s3 | {slowly}")
        until(lambda: f"zfs receive -s -u {place}\n" in b.run(["ps", "-eo", "args="]).stdout, 60)
        assert b.run("pgrep -x zfs", check=False).stdout == ""
        a.run("touch /tmp/more")
        assert arrived.result() == ""
    assert a.checksum(f"{name}@s3") == b.checksum(f"{place}@s3")
    assert f"{place}@s2" in b.dump()


def test_a_token_resumes_nothing_else(pair: Gated) -> None:
    """libzfs looks for the snapshot of a token by its GUID, and would find it outside the root."""
    a = pair.a
    name, other = volume(a, "t"), volume(a, "secret")
    a.run(f"zfs send {other}@s1 | head -c 300K | zfs receive -s -u tank/half", check=False)
    token = a.zfs("get", "-H", "-o", "value", "receive_resume_token", "tank/half").strip()
    version, _checksum, size, packed = token.split("-")
    forged = zlib.decompress(bytes.fromhex(packed)).replace(
        f"{other}@s1".encode(), f"{name}@s1".ljust(len(f"{other}@s1"), "1").encode()
    )
    forged = "-".join([version, "0", size, zlib.compress(forged).hex()])
    gate = f"python3 -I /usr/local/lib/cerss-zfs/gate.py send {name}"
    for words in (token, forged):
        line = shlex.quote(ours("zfs", "send", "-vP", "-t", words))
        done = a.run(f"SSH_ORIGINAL_COMMAND={line} {gate}", check=False)
        assert (done.returncode, done.stdout) == (126, ""), done
        assert "not below" in done.stderr


JOB, OTHER = "tank/job", "tank/other-job"
PRUNE = {"cerss.zfs.zfs_snapshot_prune": {"name": OTHER, "match": ["s*"], "keep": {"last": 1}}}
# A task that needs the permission of the job "snapshot", and what it says without it. In this order they succeed.
NEEDED: dict[str, tuple[dict[str, Any], str]] = {
    "rollback": ({"cerss.zfs.zfs_rollback": {"name": f"{OTHER}@held", "allow_loss": {"data": True}}}, "cannot roll"),
    "mount": (PRUNE, "cannot destroy"),
    "destroy": (PRUNE, "cannot destroy"),
    "snapshot": ({"cerss.zfs.zfs_snapshot": {"name": f"{OTHER}@new"}}, "cannot create snapshot"),
    "userprop": ({"cerss.zfs.zfs_snapshot": {"name": f"{OTHER}@s2", "temporary": True}}, "cannot set property"),
    "hold": ({"cerss.zfs.zfs_snapshot": {"name": f"{OTHER}@s2", "holds": ["audit"]}}, "cannot hold"),
    "release": (
        {"cerss.zfs.zfs_snapshot": {"name": f"{OTHER}@held", "holds": [], "purge_holds": True}},
        "cannot release",
    ),
}


def test_a_whole_job_as_the_service_user(pair: Gated, ansible: Ansible) -> None:
    """Tasks that say nothing about the login, on mounted filesystems."""
    a, b = pair.a, pair.b
    a.run(f"zfs create {JOB} && zfs create {OTHER} && chmod 777 /{JOB}")
    pair.play(zfs_backend_snapshot=f"{{{{ ['{JOB}', '{OTHER}'] if inventory_hostname == '{a.name}' else [] }}}}")
    replicated = {"name": JOB, "target": {"host": b.name, "parent": ROOT}}
    cases: list[dict[str, Any]] = [
        {"cerss.zfs.zfs_snapshot": {"name": f"{JOB}@s1"}},
        {"cerss.zfs.zfs_snapshot": {"name": f"{JOB}@s2"}},
        {"cerss.zfs.zfs_snapshot_replicate": replicated},
        {"cerss.zfs.zfs_snapshot_prune": {"name": JOB, "match": ["s*"], "keep": {"last": 1}}},
        {"cerss.zfs.zfs_snapshot": {"name": f"{JOB}@s3"}},
        {"cerss.zfs.zfs_snapshot_replicate": {**replicated, "target": {"host": b.address, "parent": ROOT}}},
    ]
    for case, four in zip(cases, ansible.four_times_many(a.name, cases)):
        assert four[1]["changed"], case
    assert b.dump()[f"{ROOT}/job@s3"]["guid"] == a.dump()[f"{JOB}@s3"]["guid"]
    assert f"{JOB}@s1" not in a.dump()
    a.run(f"date > /{JOB}/written", user="operator")
    back = {"cerss.zfs.zfs_rollback": {"name": f"{JOB}@s3", "allow_loss": {"data": True}}}
    assert ansible.four_times(a.name, back)[1]["changed"]
    assert a.run(["ls", f"/{JOB}"]).stdout == ""

    a.run("".join(f"zfs snapshot {OTHER}@{name}; " for name in ("s1", "s2", "held")) + f"zfs hold audit {OTHER}@held")
    a.run(f"date > /{OTHER}/written")
    roles = yaml.safe_load((CLONE / "roles" / "zfs_backend" / "vars" / "main.yml").read_text())
    assert {*roles["zfs_backend_permissions"]["snapshot"]} == {*NEEDED}
    for permission, (task, words) in NEEDED.items():
        places = [place for place in (pair.SEND, OTHER) if permission in permissions(a, place)]
        for place in places:
            a.run(["zfs", "unallow", "-u", USER, permission, place])
        (told,) = ansible.run_tasks(a.name, [task], fails=True)
        for place in places:
            a.run(["zfs", "allow", "-u", USER, permission, place])
        assert words in told["msg"], (permission, told)
        assert "permission" in told["msg"], (permission, told)
    for task in {str(task): task for task, _words in NEEDED.values()}.values():
        assert ansible.run_tasks(a.name, [task])[0]["changed"], task


def permissions(backend: Backend, dataset: str) -> list[str]:
    """Those of the service user on the dataset itself."""
    block = rf"^---- Permissions on {dataset} -+\n(.*?)(?=^----|\Z)"
    (own,) = re.findall(block, backend.zfs("allow", dataset), re.MULTILINE | re.DOTALL)
    return next(line.split()[-1].split(",") for line in own.splitlines() if f" {USER} " in line)


# What a run says without each permission; "new" is a first transfer, "abort" one that begins anew after a cut.
WITHOUT = {
    "send": {
        "send": ("next", "cannot send"),
        "hold": ("next", "cannot hold"),
        "release": ("next", "cannot release"),
        "bookmark": ("next", "cannot create bookmark"),
        "destroy": ("next", "cannot destroy bookmark"),
        "userprop": ("new", "cannot set property"),
    },
    "receive": {
        "receive": ("next", "cannot receive incremental stream"),
        "create": ("new", "cannot receive new filesystem stream"),
        "mount": ("new", "cannot receive new filesystem stream"),
        "readonly": ("new", "has arrived without readonly"),
        "canmount": ("new", "has arrived without canmount"),
        "userprop": ("new", "its property cerss.zfs:source could not be set"),
        "hold": ("next", "cannot hold"),
        "release": ("next", "cannot release"),
        "destroy": ("abort", "cannot"),
    },
    "prune": {"destroy": ("prune", "cannot destroy"), "mount": ("prune", "cannot destroy")},
}


def test_each_permission_is_needed_and_told(pair: Gated) -> None:
    a, b = pair.a, pair.b
    roles = yaml.safe_load((CLONE / "roles" / "zfs_backend" / "vars" / "main.yml").read_text())
    name, number = volume(a, "p"), 0
    places = {"send": (a, pair.SEND), "receive": (b, pair.RECEIVE), "prune": (b, pair.RECEIVE)}
    b.run(f"zfs create -u '{ROOT}/prune' && zfs snapshot '{ROOT}/prune@1' && zfs snapshot '{ROOT}/prune@2'")
    (begun,) = once(a, name=name, target=target(dataset=f"{ROOT}/p"))["replicas"]
    assert not begun["failed"], begun
    # So many bookmarks of the relationship that some of them are removed when they may be
    old = [f"zfs bookmark {name}@s1 {name}#cerss.zfs_{begun['id']}_{number:x}" for number in range(1, 10)]
    for job, permissions in WITHOUT.items():
        backend, dataset = places[job]
        # The narrower receive:append and send:raw stand before an "if".
        given = re.findall(r"'([a-z]+)'(?! if)", str(roles["zfs_backend_permissions"][job]).partition(" + ")[0])
        assert {*given} == {*permissions}
        for permission, (what, words) in permissions.items():
            number += 1
            run = options(name, target=target(dataset=f"{ROOT}/p" if what != "new" else f"{ROOT}/new{number}"))
            a.run(f"head -c 300K /dev/urandom > /{name}/{number} && zfs snapshot {name}@n{number}")
            if (job, permission) == ("send", "destroy"):
                a.run("; ".join(old))
            if what == "abort":
                stream = a.run(f"zfs send -i @n{number - 1} {name}@n{number} | head -c 200K | base64").stdout
                b.run(f"base64 -d | zfs receive -s -u '{ROOT}/p'", input=stream, check=False)
                run["resume"] = False
            narrow = "receive:append" if permission == "receive" else permission
            backend.run(["zfs", "unallow", "-u", USER, narrow, dataset])
            if what == "prune":
                ((told,),) = verbs.run(b, VERB, [prune(f"{ROOT}/prune", match=["*"])], look=False, passes=1)
            else:
                ((told,),) = replicate(a, run, look=False, passes=1)
            backend.run(["zfs", "allow", "-u", USER, narrow, dataset])
            assert words in told.get("msg", "") + str(told.get("warnings")), (job, permission, told)
            if told.get("failed"):
                assert "permission" in told["msg"], told
    assert not once(a, name=name, target=target(dataset=f"{ROOT}/p")).get("failed")


def test_again_modes_and_rotation(pair: Gated) -> None:
    a, b = pair.a, pair.b
    assert not changed(pair.play())
    for backend in (a, b):
        host = testinfra.get_host(f"ssh://{backend.name}", ssh_config=str(backend.lab / "ssh_config"))
        keys = [f"{HOME}/.ssh/{there.name}" for there in (a, b) if (backend, there) != (a, a)]
        wanted = {HOME: 0o755, f"{HOME}/.ssh": 0o755, f"{HOME}/.ssh/authorized_keys": 0o644}
        wanted.update({f"{key}{end}": 0o644 for key in keys for end in (".pub", ".known_hosts")})
        wanted.update({"/usr/local/lib/cerss-zfs/gate.py": 0o644, "/run/cerss.zfs": 0o755})
        for path, mode in wanted.items():
            assert (host.file(path).user, host.file(path).mode) == ("root", mode), path
        run_folder = f"/run/cerss.zfs/{host.user(USER).uid}"
        for path, mode in {run_folder: 0o700, **dict.fromkeys(keys, 0o600)}.items():
            assert (host.file(path).user, host.file(path).mode) == (USER, mode), path

    key = f"{HOME}/.ssh/{b.name}"
    old = a.run(["cat", f"{key}.pub"]).stdout.split()[1]
    peer = pair.peer(a, b, "receive")
    results = pair.role(a, **peer, zfs_peer_rotate=True)
    assert "PRIVATE KEY" not in str(results)
    new = a.run(["cat", f"{key}.pub"]).stdout.split()[1]
    let_in = [line for line in b.run(["cat", f"{HOME}/.ssh/authorized_keys"]).stdout.splitlines() if a.name in line]
    assert len(let_in) == 1
    assert f" {new} " in let_in[0]
    assert old not in let_in[0]
    assert ssh(a, b, ours("true")).returncode == 0
    assert not changed(pair.role(a, **peer))
