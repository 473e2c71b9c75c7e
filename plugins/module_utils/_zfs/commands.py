# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every zfs command line that this collection runs, as a function that returns it. Nothing else builds one.

Sources of fact: zfs(8) and its subcommand pages of OpenZFS 2.1 to 2.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

# `zfs list` reads only these without opening every snapshot (libzfs: zfs_list_only_by_fast).
FAST_COLUMNS = ("name", "guid", "createtxg", "origin", "inconsistent")
BATCH = 100  # snapshots destroyed by one command: more at once stalls a pool
ARGUMENTS = 90_000  # bytes of names in one command line: ssh hands it over as one argument of at most 128 KiB
LOCAL_ARGUMENTS = 1_000_000  # the same without ssh: Linux takes 2 MiB, pointers and environment included

# Program -> (compress, decompress) of a stream. Level 1 and 3 keep up with a network without eating the host.
COMPRESSION = {
    "zstd": (["zstd", "-q", "-c", "-3"], ["zstd", "-q", "-d", "-c"]),
    "lz4": (["lz4", "-q", "-c", "-1"], ["lz4", "-q", "-d", "-c"]),
}


def batches(names: Sequence[str], most: int = 10**6, max_bytes: int = ARGUMENTS) -> list[list[str]]:
    """Split names so that each command line stays short enough."""
    result: list[list[str]] = []
    left = 0
    for name in names:
        cost = len(name.encode()) + 3
        if not result or left < cost or len(result[-1]) >= most:
            result.append([])
            left = max_bytes
        result[-1].append(name)
        left -= cost
    return result


def _options(flag: str, pairs: Mapping[str, str]) -> list[str]:
    return [word for name, value in pairs.items() for word in (flag, f"{name}={value}")]


def list_(
    names: Iterable[str], types: str, columns: Sequence[str] = FAST_COLUMNS, depth: int | None = 0,
    by_dataset: bool = False,
) -> list[str]:  # fmt: skip
    """Rows in the order of creation; with ``by_dataset`` in that of names, each dataset's snapshots in order after it.

    ``depth``: 0 just these, 1 their snapshots and children, None the whole tree.
    """
    reach = ["-r"] if depth is None else ["-d", str(depth)] if depth else []
    order = [] if by_dataset else ["-s", "createtxg"]
    return ["zfs", "list", "-Hp", *reach, "-t", types, "-o", ",".join(columns), *order, *names]


def get(
    names: Iterable[str], properties: Sequence[str], types: str | None = None, depth: int | None = 0,
    local: bool = False,
) -> list[str]:  # fmt: skip
    """Records of name, property, source, value (the value last: it may hold tabs and newlines)."""
    reach = ["-r"] if depth is None else ["-d", str(depth)] if depth else []
    kinds = ["-t", types] if types else []
    source = ["-s", "local"] if local else []
    return [
        "zfs", "get", "-Hp", *reach, *kinds, *source, "-o", "name,property,source,value", ",".join(properties), *names,
    ]  # fmt: skip


def holds(snapshots: Iterable[str], exact_time: bool = True) -> list[str]:
    """Rows of name, tag, time. ``-p`` is there from 2.2 on."""
    return ["zfs", "holds", "-Hp" if exact_time else "-H", *snapshots]


def snapshot(names: Iterable[str], properties: Mapping[str, str]) -> list[str]:
    return ["zfs", "snapshot", *_options("-o", properties), *names]


def destroy_snapshots(dataset: str, snapshots: Sequence[str], defer: bool) -> list[str]:
    """``snapshots`` are the parts after the @, of one dataset. All or nothing without ``defer``."""
    return ["zfs", "destroy", *(["-d"] if defer else []), f"{dataset}@{','.join(snapshots)}"]


def destroy(name: str) -> list[str]:
    """One dataset without children or snapshots, or one bookmark."""
    return ["zfs", "destroy", name]


def hold(tag: str, snapshots: Iterable[str]) -> list[str]:
    return ["zfs", "hold", tag, *snapshots]


def release(tag: str, snapshots: Iterable[str]) -> list[str]:
    return ["zfs", "release", tag, *snapshots]


def bookmark(snapshot_name: str, bookmark_name: str) -> list[str]:
    return ["zfs", "bookmark", snapshot_name, bookmark_name]


def set_(properties: Mapping[str, str], names: Iterable[str]) -> list[str]:
    return ["zfs", "set", *(f"{name}={value}" for name, value in properties.items()), *names]


def inherit(property_name: str, names: Iterable[str]) -> list[str]:
    return ["zfs", "inherit", property_name, *names]


def create(name: str, properties: Mapping[str, str], parents: bool = False, size: int | None = None) -> list[str]:
    """``size`` in bytes makes a zvol. ``-u``: nothing is mounted as a side effect."""
    kind = ["-V", str(size)] if size is not None else ["-u"]
    return ["zfs", "create", *(["-p"] if parents else []), *kind, *_options("-o", properties), name]


def verify(name: str, properties: Mapping[str, str], size: int | None) -> list[str]:
    """Have zfs judge the values of properties and do nothing else, whether the dataset exists or not."""
    kind = ["-V", str(size)] if size is not None else ["-u"]
    return ["zfs", "create", "-n", "-p", *kind, *_options("-o", properties), name]


def clone(snapshot_name: str, name: str, properties: Mapping[str, str]) -> list[str]:
    return ["zfs", "clone", *_options("-o", properties), snapshot_name, name]


def promote(name: str) -> list[str]:
    return ["zfs", "promote", name]


def rename(old: str, new: str, type_: str | None, remount: bool = False) -> list[str]:
    """``-u``: a rename must not remount what is in use elsewhere, unless that is wished; it takes no zvol."""
    return ["zfs", "rename", *([] if remount or type_ == "volume" else ["-u"]), old, new]


def sync(pool: str) -> list[str]:
    """Have all that was written counted: ``written`` lags behind by a transaction group. Any user may."""
    return ["zpool", "sync", pool]


def rollback(snapshot_name: str) -> list[str]:
    """To the newest snapshot only: never with -r, which destroys more than it says when it fails."""
    return ["zfs", "rollback", snapshot_name]


def mount(name: str) -> list[str]:
    return ["zfs", "mount", name]


def unmount(name: str) -> list[str]:
    return ["zfs", "unmount", name]


def _send_flags(raw: bool) -> list[str]:
    return ["-w"] if raw else ["-L", "-c"]


def send(snapshot_name: str, base: str | None, intermediates: bool, raw: bool, estimate: bool = False) -> list[str]:
    """A stream of one snapshot, from ``base`` (snapshot or bookmark) on when given.

    ``estimate`` prints the size and sends nothing; otherwise progress comes on stderr each second.
    """
    start = [] if base is None else ["-I" if intermediates else "-i", base]
    return ["zfs", "send", "-nvP" if estimate else "-vP", *_send_flags(raw), *start, snapshot_name]


def send_resume(token: str, estimate: bool = False) -> list[str]:
    return ["zfs", "send", "-nvP" if estimate else "-vP", "-t", token]


def receive(dataset: str, properties: Mapping[str, str], origin: str | None = None) -> list[str]:
    """Resumable, unmounted, and never forced."""
    clone_of = ["-o", f"origin={origin}"] if origin else []
    return ["zfs", "receive", "-s", "-u", *clone_of, *_options("-o", properties), dataset]


def receive_abort(dataset: str) -> list[str]:
    return ["zfs", "receive", "-A", dataset]


def allow(user: str, permissions: Sequence[str], dataset: str, reach: str = "") -> list[str]:
    """``reach``: "-l" this dataset only, "-d" what is below only, "" both."""
    return ["zfs", "allow", *([reach] if reach else []), "-u", user, ",".join(permissions), dataset]


def unallow(user: str, permissions: Sequence[str], dataset: str, reach: str = "") -> list[str]:
    """No permissions named takes all of them."""
    named = [",".join(permissions)] if permissions else []
    return ["zfs", "unallow", *([reach] if reach else []), "-u", user, *named, dataset]


def allowed(dataset: str) -> list[str]:
    return ["zfs", "allow", dataset]


def permissions() -> list[str]:
    """Fails with the usage, which ends with a table of all permissions that this version knows."""
    return ["zfs", "allow"]


def receivers() -> list[str]:
    """All processes with their arguments: any user can see who receives into what."""
    return ["ps", "-eo", "pid=,etimes=,args="]
