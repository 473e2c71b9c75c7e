# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lends a key for one run: what it takes is in memory only, and goes when it is given back or has expired.

Usage: make|accept|end < JSON-IN-BASE64

make: on the host that logs in, a key and the peer's host key. Takes ``files`` (name -> text, this file among them),
``lifetime`` (seconds), ``type`` (of the key), ``place`` and ``host_keys`` (for known_hosts); prints ``{"folder",
"public"}``.
accept: on the peer, the gate and a line in authorized_keys. Takes ``files``, ``lifetime``, ``user``, ``public``,
``from`` (addresses) and ``gate`` (its arguments); prints ``{"folder"}``.
end: on either. Takes ``folder``; prints ``{"changed"}``. Also takes ``files``, since the program comes that way.

Whoever is left alone after the first two, since the controller or the connection is gone, is cleaned up by a process
that waits on each host; after a restart, by the next loan there. Errors are sentences on stderr.
"""

from __future__ import annotations

import base64
import compileall
import contextlib
import glob
import json
import os
import pwd
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

PLACES = ("/run", "/dev/shm")  # where Linux keeps files in memory; others than root may write into the second
MEMORY = ("tmpfs", "ramfs")
PREFIX = "cerss.zfs_lent_"
NOTE = "lent.json"
LOOK = 2.0  # seconds between looks whether a loan is over
LATE = 60.0  # seconds after its end when nobody waits for it any more
OURS = re.compile(r'^\s*[^\s#].*\bexpiry-time="(?P<until>\d{14})".* cerss\.zfs:lent:(?P<name>\S+)\s*$')
# What the other host has told becomes part of authorized_keys, where a quote or a second line would let in more.
PUBLIC = re.compile(r"[a-z][a-z0-9@.-]+ [A-Za-z0-9+/=]+")
ADDRESS = re.compile(r"[0-9A-Fa-f.:]+")
TIME = "%Y%m%d%H%M%S"  # of the host, which every version of sshd since 7.7 knows
# Runs the gate, unless the folder is gone, as after a restart, and somebody else has put his own there.
GUARD = """import os, sys; sys.argv = sys.argv[1:]; __file__ = sys.argv[0]; place = os.path.dirname(__file__)
os.path.isdir(place) and os.lstat(place).st_uid == %d or sys.exit("the access for this run is over")
exec(compile(open(__file__).read(), __file__, "exec"))""".replace("\n", "; ")


def type_of(path: str, mounts: str) -> str:
    """The type of the filesystem that a folder is on, by the text of /proc/self/mounts."""
    found = [line.split(" ")[1:3] for line in mounts.splitlines() if line.count(" ") >= 2]
    below = [(len(point), number, kind) for number, (point, kind) in enumerate(found)
             if point == "/" or path == point or path.startswith(point + "/")]  # fmt: skip
    return max(below)[2] if below else ""


def folder() -> str:
    """A new folder in memory, which only its owner can look into."""
    with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:
        mounts = file.read()
    for place in PLACES:
        if os.access(place, os.W_OK | os.X_OK) and type_of(os.path.realpath(place), mounts) in MEMORY:
            return tempfile.mkdtemp(prefix=PREFIX, dir=place)
    sys.exit(
        f"none of {', '.join(PLACES)} is a folder in memory that {who()} can write to; give standing access instead"
    )


def who() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def write(place: str, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = os.path.join(place, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


def begin(given: dict[str, Any], **more: Any) -> str:
    """The folder of a new loan, with the process that waits for its end."""
    sweep()
    place = folder()
    os.umask(0o022)
    try:
        write(place, {NOTE: json.dumps({"until": time.time() + given["lifetime"], **more}), **given["files"]})
        subprocess.Popen(
            [sys.executable, "-I", os.path.join(place, "lent.py"), "wait", place], cwd="/", start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except BaseException:  # such as a full memory
        shutil.rmtree(place)
        raise
    return place


@contextlib.contextmanager
def held(place: str) -> Iterator[str]:
    """A path to the folder of a loan that stays right, or "" if the loan is over.

    As soon as a folder in /dev/shm is gone, anybody can create one of the same name, with a program of his own in it.
    """
    try:
        folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        yield ""
        return
    try:
        yield f"/proc/self/fd/{folder}" if os.fstat(folder).st_uid == os.geteuid() else ""
    finally:
        os.close(folder)


def is_on(place: str) -> bool:
    with held(place) as path:
        return bool(path)


def note(place: str) -> dict[str, Any]:
    with open(os.path.join(place, NOTE), encoding="utf-8") as file:
        return dict(json.load(file))


def make(given: dict[str, Any]) -> dict[str, Any]:
    place = begin(given)
    key = os.path.join(place, "key")
    keygen = ["ssh-keygen", "-q", "-t", given["type"], "-N", "", "-C", "", "-f", key]
    try:
        subprocess.run(keygen, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        known = [" ".join([given["place"], *host_key.split()[:2]]) for host_key in given["host_keys"]]
        write(place, {"known_hosts": "\n".join([*known, ""])})
        with open(key + ".pub", encoding="utf-8") as file:
            return {"folder": place, "public": " ".join(file.read().split()[:2])}
    except BaseException:
        end(place)
        raise


def accept(given: dict[str, Any]) -> dict[str, Any]:
    try:
        account = pwd.getpwnam(given["user"])
    except KeyError:
        sys.exit(f"there is no user {given['user']} here; name another one to log in as")
    if not PUBLIC.fullmatch(given["public"]):
        sys.exit("what the other host has made is not a public key; find out who has changed that host")
    if not given["from"] or not all(map(ADDRESS.fullmatch, given["from"])):
        sys.exit("what the other host has told are not its addresses; find out who has changed that host")
    keys = os.path.join(account.pw_dir, ".ssh", "authorized_keys")
    made = made_by_others(keys)  # before looking, since one of them may end now
    made |= {path for path in (keys, os.path.dirname(keys)) if not os.path.lexists(path)}
    place = begin(given, keys=keys, made=sorted(made), user=given["user"])
    try:
        os.chmod(place, 0o755)  # the user must read the gate
        compileall.compile_dir(place, quiet=2)
        start = [sys.executable, "-I", "-c", GUARD % os.geteuid(), os.path.join(place, "gate.py")]
        gate = shlex.join([*start, *given["gate"]]).replace('"', '\\"')
        until = time.strftime(TIME, time.localtime(note(place)["until"]))
        limits = f'restrict,from="{",".join(given["from"])}",expiry-time="{until}",command="{gate}"'
        line = f"{limits} {given['public']} cerss.zfs:lent:{os.path.basename(place)}"
        change(note(place), editor(place), os.path.basename(place), line)
    except BaseException:
        end(place)
        raise
    return {"folder": place}


def editor(place: str) -> dict[str, Any]:
    return runpy.run_path(os.path.join(place, "authorized_keys.py"))


def change(noted: dict[str, Any], code: dict[str, Any], name: str, line: str | None) -> None:
    """Give the loan of that name its line in authorized_keys, or take it away. ``code``: what `editor` returns."""
    keys, own = noted["keys"], rf"^\s*[^\s#].* cerss\.zfs:lent:{re.escape(name)}\s*$"
    with rights(noted["user"]):
        forget_expired(code, keys)
        for last in (False, True):
            try:
                code["change"](False, keys, own, line, keep=True)
                break
            except FileNotFoundError:  # another loan has just taken away the folder that it had made
                if last:
                    raise
        if line is None and noted["made"]:
            with contextlib.suppress(OSError), code["locked"](os.path.dirname(keys)) as opened:
                with contextlib.suppress(FileNotFoundError):
                    if not os.stat("authorized_keys", dir_fd=opened, follow_symlinks=False).st_size:
                        os.unlink("authorized_keys", dir_fd=opened)
                if os.path.dirname(keys) in noted["made"]:
                    os.rmdir(os.path.dirname(keys))


@contextlib.contextmanager
def rights(user: str) -> Iterator[None]:
    """Those of the user in a home that is his: a link that he has planted there gets nobody further than himself."""
    account = pwd.getpwnam(user)
    home = os.stat(account.pw_dir)
    if home.st_uid not in (0, account.pw_uid) or (home.st_uid == 0 != account.pw_uid and home.st_mode & 0o022):
        sys.exit(f"others than root and {user} can write to {account.pw_dir}, so no key is put there; change its mode")
    if os.geteuid() != 0 or home.st_uid != account.pw_uid:
        yield
        return
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(account.pw_gid)
    os.seteuid(account.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def expired(text: str, now: str) -> list[str]:
    """The names of loans in authorized_keys that are over."""
    found = filter(None, map(OURS.match, text.split("\n")))
    return [match["name"] for match in found if match["until"] < now]


def forget_expired(code: dict[str, Any], keys: str) -> None:
    """Take away lines of loans that nobody waits for, as after a restart."""
    with contextlib.suppress(OSError):
        with code["locked"](os.path.dirname(keys)) as opened:
            text, _right = code["read"](os.path.basename(keys), opened)
        for name in expired(text, time.strftime(TIME, time.localtime(time.time() - LATE))):
            code["change"](False, keys, rf"^\s*[^\s#].* cerss\.zfs:lent:{re.escape(name)}\s*$", keep=True)


def loans() -> list[str]:
    """The folders that may be of a loan."""
    return [found for each in PLACES for found in glob.glob(os.path.join(each, PREFIX + "*"))]


def made_by_others(keys: str) -> set[str]:
    """What our other loans have made for the same file: the last one to end takes it away."""
    found: set[str] = set()
    for place in loans():
        with contextlib.suppress(OSError, ValueError), held(place) as path:
            noted = note(path) if path else {}
            found |= set(noted["made"]) if noted.get("keys") == keys else set()
    return found


def sweep() -> None:
    """End our loans that nobody waits for."""
    for place in loans():
        with contextlib.suppress(OSError, ValueError, KeyError, SystemExit), held(place) as path:
            if path and note(path)["until"] + LATE < time.time():
                end(place)


def end(place: str) -> dict[str, Any]:
    if not os.path.basename(place).startswith(PREFIX):
        sys.exit(f"{place} is not the folder of a loan")
    with held(place) as path:
        if not path:
            return {"changed": False}
        try:
            noted = note(path)
            if "keys" in noted:
                change(noted, editor(path), os.path.basename(place), None)
        finally:  # without the gate, a line that cannot be taken away lets nobody in
            with contextlib.suppress(FileNotFoundError):  # who waits has done it
                shutil.rmtree(place)
            dismiss(place)
    return {"changed": True}


def dismiss(place: str) -> None:
    """End the process that waits for the end of this loan."""
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            pid, words = int(path.split("/")[2]), os.fsdecode(file.read()).split("\0")
            if words[-3:] == ["wait", place, ""] and pid != os.getpid():
                os.kill(pid, signal.SIGTERM)


def wait(place: str) -> None:
    """Give back what has expired. Ends without a trace when it has been given back before."""
    until = note(place)["until"]
    last = time.monotonic() + until - time.time()
    while is_on(place) and time.time() < until and time.monotonic() < last:
        time.sleep(LOOK)
    end(place)


def main(what: str, *arguments: str) -> None:
    if what == "wait":
        return wait(*arguments)
    os.environ.pop("TZ", None)  # which sshd does not have
    time.tzset()
    given = json.loads(base64.b64decode(sys.stdin.read()))
    work = {"make": make, "accept": accept, "end": lambda given: end(given["folder"])}[what]
    try:
        print(json.dumps(work(given)))
    except (OSError, subprocess.SubprocessError) as error:
        sys.exit(f"a key cannot be lent for this run: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
