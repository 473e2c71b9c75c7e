# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every command line of zfs, zpool, ps and grep that the collection runs, as functions that return the argv.

Nothing else builds one. Each docstring names the manual page that it is based on, of OpenZFS 2.1 to 2.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

# `zfs list` reads only these without opening every snapshot (libzfs: zfs_list_only_by_fast).
FAST_COLUMNS = ("name", "guid", "createtxg", "origin", "inconsistent")
BATCH = 100  # snapshots destroyed by one command: more at once stalls the pool
ARGUMENTS = 90_000  # bytes of names in one command line: over ssh the line is one argument, at most 128 KiB (execve(2))
LOCAL_ARGUMENTS = 1_000_000  # the same without ssh: execve(2) takes 2 MiB with pointers and environment

# program -> (compress, decompress). Levels 3 and 1 keep up with a network and leave most of the processor free.
COMPRESSION = {
    "zstd": (["zstd", "-q", "-c", "-3"], ["zstd", "-q", "-d", "-c"]),
    "lz4": (["lz4", "-q", "-c", "-1"], ["lz4", "-q", "-d", "-c"]),
}


def batches(names: Sequence[str], most: int = 10**6, max_bytes: int = ARGUMENTS) -> list[list[str]]:
    """Split ``names`` into lists of at most ``most`` names and ``max_bytes`` bytes, quotes and blanks included.

    >>> batches(["a@1", "a@2", "a@3"], most=2)
    [['a@1', 'a@2'], ['a@3']]
    """
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


def split(command: Callable[[list[str]], list[str]], names: Sequence[str]) -> tuple[list[str], ...]:
    """The command for ``names``, as often as `batches` needs it.

    >>> split(lambda some: hold("tag", some), ["a@1", "a@2"])
    (['zfs', 'hold', 'tag', 'a@1', 'a@2'],)
    """
    return tuple(command(batch) for batch in batches(names))


def _options(flag: str, pairs: Mapping[str, str]) -> list[str]:
    return [argument for name, value in pairs.items() for argument in (flag, f"{name}={value}")]


def list_(
    names: Iterable[str], types: str, columns: Sequence[str] = FAST_COLUMNS, depth: int | None = 0,
    by_dataset: bool = False,
) -> list[str]:  # fmt: skip
    """zfs-list(8). Rows in order of creation; with ``by_dataset`` each dataset is followed by its own snapshots.

    ``types``: as for ``-t``. ``depth``: 0 the named ones, 1 also their snapshots and children, None the whole tree.
    """
    reach = ["-r"] if depth is None else ["-d", str(depth)] if depth else []
    order = [] if by_dataset else ["-s", "createtxg"]
    return ["zfs", "list", "-Hp", *reach, "-t", types, "-o", ",".join(columns), *order, *names]


def get(names: Iterable[str], properties: Sequence[str]) -> list[str]:
    """zfs-get(8). Rows of name, property, source and value; the value is last since it may have tabs and newlines.

    Each property of each name is printed exactly once, set or not: the names in ZFS's own order, the properties in
    this one. `output.values` depends on that, so there is no -s and no "all".
    """
    return ["zfs", "get", "-Hp", "-o", "name,property,source,value", ",".join(properties), *names]


def get_names(names: Iterable[str], set_only: bool = False) -> list[str]:
    """zfs-get(8). Rows of name and property, for all properties that the names have. Neither can have a tab or newline.

    ``set_only``: only those that are set on the name itself, which costs ZFS as much.
    """
    source = ["-s", "local,received"] if set_only else []
    return ["zfs", "get", "-Hp", *source, "-o", "name,property", "all", *names]


def holds(snapshots: Iterable[str], exact_time: bool = True) -> list[str]:
    """zfs-hold(8). Rows of snapshot, tag and time. ``exact_time``: in seconds since 1970, which needs OpenZFS 2.2."""
    return ["zfs", "holds", "-Hp" if exact_time else "-H", *snapshots]


def snapshot(names: Iterable[str], properties: Mapping[str, str]) -> list[str]:
    """zfs-snapshot(8). All snapshots are taken in one transaction, or none."""
    return ["zfs", "snapshot", *_options("-o", properties), *names]


def destroy_snapshots(dataset: str, snapshots: Sequence[str], defer: bool) -> list[str]:
    """zfs-destroy(8). ``snapshots``: the parts after the @. Without ``defer`` it destroys all of them or none.

    With ``defer`` those with holds or clones become pending deletion.
    """
    return ["zfs", "destroy", *(["-d"] if defer else []), f"{dataset}@{','.join(snapshots)}"]


def reclaimed(dataset: str, snapshots: Sequence[str]) -> list[str]:
    """zfs-destroy(8) with ``-n``: prints the room that destroying the snapshots would make, and changes nothing."""
    return ["zfs", "destroy", "-nvp", f"{dataset}@{','.join(snapshots)}"]


def destroy(name: str) -> list[str]:
    """zfs-destroy(8). One dataset without children and snapshots, or one bookmark."""
    return ["zfs", "destroy", name]


def hold(tag: str, snapshots: Iterable[str]) -> list[str]:
    """zfs-hold(8)."""
    return ["zfs", "hold", tag, *snapshots]


def release(tag: str, snapshots: Iterable[str]) -> list[str]:
    """zfs-hold(8)."""
    return ["zfs", "release", tag, *snapshots]


def bookmark(snapshot_name: str, bookmark_name: str) -> list[str]:
    """zfs-bookmark(8). Both names in full."""
    return ["zfs", "bookmark", snapshot_name, bookmark_name]


def program(pool: str, arguments: Iterable[str]) -> list[str]:
    """zfs-program(8). A channel program from standard input, which only root may run. Prints its result as JSON."""
    return ["zfs", "program", "-j", "--", pool, "-", *arguments]


def set_(properties: Mapping[str, str], names: Iterable[str]) -> list[str]:
    """zfs-set(8)."""
    return ["zfs", "set", *(f"{name}={value}" for name, value in properties.items()), *names]


def inherit(property_name: str, names: Iterable[str]) -> list[str]:
    """zfs-set(8), "zfs inherit". Unsets the property."""
    return ["zfs", "inherit", property_name, *names]


def create(name: str, properties: Mapping[str, str], parents: bool = False, size: int | None = None) -> list[str]:
    """zfs-create(8). With ``size`` (bytes) a volume (zvol), otherwise a filesystem that stays unmounted (``-u``)."""
    kind = ["-V", str(size)] if size is not None else ["-u"]
    return ["zfs", "create", *(["-p"] if parents else []), *kind, *_options("-o", properties), name]


def verify(name: str, properties: Mapping[str, str], size: int | None) -> list[str]:
    """zfs-create(8) with ``-n``: checks the values of properties and changes nothing. The dataset may exist."""
    kind = ["-V", str(size)] if size is not None else ["-u"]
    return ["zfs", "create", "-n", "-p", *kind, *_options("-o", properties), name]


def clone(snapshot_name: str, name: str, properties: Mapping[str, str]) -> list[str]:
    """zfs-clone(8)."""
    return ["zfs", "clone", *_options("-o", properties), snapshot_name, name]


def promote(name: str) -> list[str]:
    """zfs-promote(8)."""
    return ["zfs", "promote", name]


def rename(old: str, new: str, type_: str | None, remount: bool = False) -> list[str]:
    """zfs-rename(8). Without ``remount`` mounted filesystems stay where they are (``-u``; volumes do not take it)."""
    return ["zfs", "rename", *([] if remount or type_ == "volume" else ["-u"]), old, new]


def rename_snapshot(old: str, new: str) -> list[str]:
    """zfs-rename(8). Both names in full, of the same dataset."""
    return ["zfs", "rename", old, new]


def pool_values(pool: str, names: Sequence[str]) -> list[str]:
    """zpool-get(8). Rows of property and value; "all" has features and user properties too. Any user may run it."""
    return ["zpool", "get", "-Hp", "-o", "property,value", ",".join(names), pool]


def sync(pool: str) -> list[str]:
    """zpool-sync(8). Afterwards ``written`` is up to date; it lags by a transaction group. Any user may run it."""
    return ["zpool", "sync", pool]


def pools(names: Iterable[str]) -> list[str]:
    """zpool-list(8). The names of pools; without ``names`` of all that are imported."""
    return ["zpool", "list", "-H", "-o", "name", *names]


def pool_status(pool: str) -> list[str]:
    """zpool-status(8). For people (`_zfs.pool.status`), with exact numbers and full paths. JSON needs OpenZFS 2.3."""
    return ["zpool", "status", "-pP", pool]


def pool_states() -> list[str]:
    """grep(1). PATH:STATE of each imported pool on Linux. The kernel tells it without a lock (spa_stats.c).

    zpool can wait for ever for a pool that is suspended, and for a lock that somebody holds who does.
    """
    return ["grep", "-rs", "--include=state", ".", "/proc/spl/kstat/zfs"]


def rollback(snapshot_name: str) -> list[str]:
    """zfs-rollback(8). To the newest snapshot only: ``-r`` destroys newer snapshots even when it then fails."""
    return ["zfs", "rollback", snapshot_name]


def load_key(name: str, location: str | None = None, dry_run: bool = False) -> list[str]:
    """zfs-load-key(8). ``location``: ``file://…``, or ``prompt`` for standard input; None for ``keylocation``.

    ``dry_run``: only check that the key is the right one, whether it is loaded or not.
    """
    return ["zfs", "load-key", *(["-n"] if dry_run else []), *(["-L", location] if location else []), name]


def unload_key(name: str) -> list[str]:
    """zfs-load-key(8), "zfs unload-key"."""
    return ["zfs", "unload-key", name]


def inherit_key(name: str) -> list[str]:
    """zfs-load-key(8), "zfs change-key -i". The dataset gets the key of its parent. Both keys must be loaded."""
    return ["zfs", "change-key", "-i", name]


def mount(name: str) -> list[str]:
    """zfs-mount(8)."""
    return ["zfs", "mount", name]


def unmount(name: str) -> list[str]:
    """zfs-mount(8), "zfs unmount"."""
    return ["zfs", "unmount", name]


def _send_flags(raw: bool, compressed: bool, large: bool) -> list[str]:
    return ["-w"] if raw else [*(["-L"] if large else []), *(["-c"] if compressed else [])]


def send(
    snapshot_name: str, base: str | None, intermediates: bool, raw: bool, estimate: bool = False,
    compressed: bool = True, large: bool = True,
) -> list[str]:  # fmt: skip
    """zfs-send(8). An increment from ``base``, the full name of a snapshot or bookmark; None for a full stream.

    ``intermediates``: with all snapshots in between (``-I``), which a bookmark cannot be the base of.
    ``estimate``: print the size and send nothing. Otherwise progress is on stderr each second (`output.sent`).
    ``compressed``: blocks as they are on the disk (``-c``), which may change from one increment to the next.
    ``large``: blocks over 128 KiB as they are (``-L``). A replica that has such blocks takes no increment without.
    """
    start = [] if base is None else ["-I" if intermediates else "-i", base]
    flags = _send_flags(raw, compressed, large)
    return ["zfs", "send", "-nvP" if estimate else "-vP", *flags, *start, snapshot_name]


def send_resume(token: str, estimate: bool = False) -> list[str]:
    """zfs-send(8). The rest of an interrupted stream; ``token`` has its flags."""
    return ["zfs", "send", "-nvP" if estimate else "-vP", "-t", token]


def receive(dataset: str, properties: Mapping[str, str], origin: str | None = None) -> list[str]:
    """zfs-receive(8). Resumable (``-s``), unmounted (``-u``) and never forced (``-F``).

    ``origin``: full name of the snapshot that the new dataset is a clone of.
    """
    clone_of = ["-o", f"origin={origin}"] if origin else []
    return ["zfs", "receive", "-s", "-u", *clone_of, *_options("-o", properties), dataset]


def receive_abort(dataset: str) -> list[str]:
    """zfs-receive(8). Discards a partial receive."""
    return ["zfs", "receive", "-A", dataset]


def allow(who: Sequence[str], permissions: Sequence[str], dataset: str, reach: str = "") -> list[str]:
    """zfs-allow(8). ``reach``: ``-l`` the dataset only, ``-d`` its descendants only, "" both.

    ``who``: ``-u`` or ``-g`` and a name, or ``-e`` for everyone.
    """
    return ["zfs", "allow", *([reach] if reach else []), *who, ",".join(permissions), dataset]


def unallow(who: Sequence[str], permissions: Sequence[str], dataset: str, reach: str = "") -> list[str]:
    """zfs-allow(8), "zfs unallow". The arguments of `allow`; an empty list of permissions means all."""
    named = [",".join(permissions)] if permissions else []
    return ["zfs", "unallow", *([reach] if reach else []), *who, *named, dataset]


def delegate(reach: str, who: Sequence[str], permissions: str, dataset: str) -> list[str]:
    """zfs-allow(8), in the form in which `output.delegated` reads it. ``reach``: a flag or "".

    ``who``: as for `allow`, or nothing for a set and for permissions at creation.
    """
    return ["zfs", "allow", *([reach] if reach else []), *who, permissions, dataset]


def allowed(dataset: str) -> list[str]:
    """zfs-allow(8). Prints the permissions that are delegated on the dataset and its ancestors."""
    return ["zfs", "allow", dataset]


def permissions() -> list[str]:
    """zfs-allow(8). Fails; the usage on stderr ends with a table of the permissions that this version knows."""
    return ["zfs", "allow"]


def receivers() -> list[str]:
    """ps(1). All processes with pid, seconds since their start, and arguments (`processes.receiving`).

    procps and FreeBSD read this form alike. ``-ww`` since procps cuts lines at $COLUMNS, on pipes too.
    """
    return ["ps", "-A", "-ww", "-o", "pid=", "-o", "etimes=", "-o", "args="]
