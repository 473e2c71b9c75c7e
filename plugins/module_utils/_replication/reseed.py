# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Replaces a replica that cannot take increments any more by a new one, which is received beside it.

Readers keep the old replica until the new one is whole. Then the two change places by renames. Names and marks on the
target alone tell how far that is, so a run that was killed anywhere is continued by the next one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    RAW,
    Announcement,
    LastHold,
    ReplicaRecords,
    SourceMark,
    Spoilt,
    is_source_property,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import MAX_NAME, MAX_REPLICA_NAME, listing
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Step
from ansible_collections.cerss.zfs.plugins.module_utils._replication.divergence import Apart, Diverged, needs_of
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import (
    TARGET,
    OldReplica,
    Origin,
    Pair,
    listed,
    with_hold,
)
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs

_LENGTH = len("_new_") + 8  # what is added to the replica's name
PROMPT = "prompt"
_NOT_COPIED = frozenset((SourceMark.NAME, Announcement.NAME, "volsize"))  # the stream has the latter


def beside_name(pair: Pair) -> str:
    """The name of the new replica until it is whole."""
    return f"{pair.replica_name}_new_{pair.id[:8]}"


def old_name(pair: Pair) -> str:
    """The name that the old replica gets."""
    return f"{pair.replica_name}_old_{pair.id[:8]}"


def is_begun(pair: Pair) -> bool:
    return pair.new_one is not None


def is_marked(old: Dataset) -> bool:
    """False for a dataset that only held others (`only_holds`) until they were moved."""
    return SourceMark.NAME in old.ours


def is_placed(pair: Pair) -> bool:
    """True if the new replica has its place, and only marks are left to do."""
    return bool(pair.mark and pair.mark.beside) and not is_begun(pair)


def origin(pair: Pair, found: Diverged | Apart) -> Origin | None:
    """What the new replica becomes a clone of, so that only an increment travels; None if it is sent in full."""
    if isinstance(found, Diverged):
        return Origin(found.here.name, str(found.here.guid), found.there.name)
    return found.origin


def check(pair: Pair, start: Origin | None, carried: list[Snapshot], keep_old: bool = True, raw: bool = False) -> None:
    """Raise Refused for what would end a reseed half-way, before anything is sent."""
    replica, where = pair.replica, f"{pair.target_address} cannot be replaced"
    if replica is None:
        return
    if len(pair.replica_name) + _LENGTH > MAX_REPLICA_NAME:
        raise Refused(
            f"{where}: its new name {beside_name(pair)[:60]}… would exceed {MAX_REPLICA_NAME} characters; replicate to "
            "another dataset"
        )
    long = [snap for snap in replica.snapshots if len(snap.name) + _LENGTH > MAX_NAME]
    if long:
        raise Refused(
            f"{where}: {long[0].name[:60]}… below its new name would exceed {MAX_NAME} characters; destroy it"
        )
    if pair.source.type == "volume" and replica.children:
        raise Refused(
            f"{where}: it holds {listing(replica.children)}, and nothing can be below a volume; replicate to another "
            "dataset"
        )
    if "/" not in pair.replica_name:
        raise Refused(f"{where}: it is the root of a pool, which cannot be renamed; replicate to a dataset below it")
    if pair.old is not None:
        raise Refused(
            f"{where}: {old_name(pair)} of an earlier reseed is still there; destroy it when nobody needs it any more"
        )
    if pair.beside is not None and not is_begun(pair):
        raise Refused(f"{where}: {beside_name(pair)} is in the way; rename or destroy it")
    _check_keys(pair, replica, where, start, raw)
    if not keep_old:
        check_unneeded(pair, start)
    history = {snap.snapshot: snap for snap in replica.snapshots} if _takes_history(pair, start) else {}
    twice = [snap for snap in carried if snap.snapshot in history and history[snap.snapshot].guid != snap.guid]
    if twice:
        raise Refused(
            f"{where}: {listed(twice)} has the name of another snapshot on the old replica; rename one of the two"
        )


def _check_keys(pair: Pair, replica: Dataset, where: str, start: Origin | None, raw: bool) -> None:
    """ZFS moves a dataset that inherits its key only to where it inherits the same one (dsl_dir_rename_crypt_check).

    A clone shares the key of its origin, and its promotion makes it the encryption root of all that inherit that. What
    is sent in full brings a key (``raw``), or inherits that of a dataset above.
    """
    replaced = pair.replaced or OldReplica()
    root, promoted = replica.get("encryptionroot"), _takes_history(pair, start)
    anew = not promoted and (root == replica.name or (raw and start is None))
    allowed = (None, *([] if anew else [root]))
    stuck = [child for child in replaced.moving if child.get("encryptionroot") not in (child.name, *allowed)]
    if stuck:
        raise Refused(
            f"{where}: {listed(stuck)} below it is not an encryption root, so ZFS could not move it; make it one with "
            "zfs change-key, or move it elsewhere first"
        )
    if promoted and replaced.key_fault:
        raise Refused(f"{where}: its key is loaded and cannot be loaded again from {replaced.key_fault}; unload it")


def check_unneeded(pair: Pair, start: Origin | None) -> None:
    """Raise Refused unless the old replica can be destroyed, as far as it is not taken over."""
    replica, where = pair.replica, f"{pair.target_address} cannot be replaced"
    if replica is None:
        return
    place = start.place if start else pair.new_one.origin if pair.new_one else None
    moved = next((at for at, snap in enumerate(replica.snapshots, 1) if snap.name == place), 0)
    found = [f"{snap.name} ({', '.join(needs)})" for snap in replica.snapshots[moved:] if (needs := needs_of(snap))]
    if pair.replaced and pair.replaced.mounted:
        found.append(f"{replica.name} (mounted)")
    if found:
        raise Refused(
            f"{where} without keeping the old one (reseed_keep=false), since others need {', '.join(found)}; end that "
            "first, or leave reseed_keep out"
        )


def _takes_history(pair: Pair, start: Origin | None) -> bool:
    """True if the new replica is a clone of the old one, whose snapshots it takes over by its promotion."""
    new = pair.new_one
    place = start.place if start else new.origin if new else None
    return pair.replica is not None and any(snap.name == place for snap in pair.replica.snapshots)


def warning(pair: Pair) -> str:
    if pair.replica and not is_marked(pair.replica):
        return f"what {pair.replica_name} was until now is kept as {old_name(pair)}; destroy that if it is empty"
    return (
        f"the old replica is kept as {old_name(pair)} and uses space until you destroy it; whoever has mounted it "
        "keeps its data until he mounts the new one"
    )


# -- when the new replica is whole -----------------------------------------------------------------------------------


def swap(pair: Pair, keep_old: bool = True) -> list[Step]:
    """The steps that are left to give the new replica the old one's place; none if it has it, with its marks."""
    new, old = pair.new_one, pair.replica
    if is_placed(pair):
        return list(_mark(pair, pair.old, keep_old))
    if new is None:
        return []
    steps = []
    if old is not None:
        steps = [*_copy(pair, old, new), *_promote(pair, old, new), *_move_children(pair, old, new), _aside(pair, old)]
    steps.append(Step.of(
        f"give {new.name} the place of {pair.replica_name}", (zfs.rename(new.name, pair.replica_name, _type(pair)),),
        side=TARGET,
    ))  # fmt: skip
    left = _divided(pair)[1]
    return [*steps, *_mark(pair, replace(old, name=old_name(pair), snapshots=left) if old else pair.old, keep_old)]


def _divided(pair: Pair) -> tuple[list[Snapshot], list[Snapshot]]:
    """The old replica's snapshots: (those that move to the new one by its promotion, those that stay)."""
    old, new = pair.replica, pair.new_one
    snapshots = old.snapshots if old else []
    moved = next((at for at, snap in enumerate(snapshots, 1) if new and snap.name == new.origin), 0)
    return snapshots[:moved], snapshots[moved:]


def _copy(pair: Pair, old: Dataset, new: Dataset) -> Iterator[Step]:
    """What was set on the old replica and by zfs allow, and the records of relationships that it is the source of."""
    replaced = pair.replaced or OldReplica()
    there = {name: value.text for name, value in new.values.items()}
    taken = {name: _inherited(name, value, str(old.guid)) for name, value in replaced.settings.items()}
    skipped = {*_NOT_COPIED, *([] if is_marked(old) else ["canmount"])}  # it is off for what only holds others
    if taken.get("keylocation") == PROMPT or not _brings_key(pair, new):
        skipped.add("keylocation")
    settings = {name: value for name, value in taken.items() if name not in skipped and there.get(name) != value}
    commands = [zfs.set_({name: value}, [new.name]) for name, value in settings.items()]
    commands += [zfs.delegate(*each, new.name) for each in replaced.delegated]
    if commands:
        what = [*sorted(settings), *(["its permissions"] if replaced.delegated else [])]
        yield Step.of(f"set {', '.join(what)} of {old.name} on {new.name}", commands, side=TARGET)


def _brings_key(pair: Pair, new: Dataset) -> bool:
    """Whether the new replica is an encryption root because it was sent in full. Its keylocation is `PROMPT` then."""
    mark = new.source_mark
    return new.origin is None and pair.source.encrypted and mark is not None and mark.mode == RAW


def _inherited(name: str, value: str, guid: str) -> str:
    """The value for the new replica. A record also gets the GUID of the dataset that the further replica names."""
    records = ReplicaRecords.parse(value) if name.startswith(ReplicaRecords.PREFIX) else Spoilt(value)
    if isinstance(records, Spoilt):
        return value
    return ReplicaRecords(tuple(replace(entry, formerly=guid) for entry in records.entries)).format()


def _promote(pair: Pair, old: Dataset, new: Dataset) -> Iterator[Step]:
    if _takes_history(pair, None):
        text = f"promote {new.name}, which takes over the common snapshots of {old.name} with holds and bookmarks"
        yield Step.of(text, (zfs.promote(new.name),), side=TARGET)
        if old.get("keystatus") == "available" and old.get("encryptionroot") == old.name:
            # The promotion also moves keylocation, but not what is loaded (dsl_dataset_promote_crypt_sync).
            yield Step.of(f"load the key of {new.name}", (zfs.load_key(new.name),), side=TARGET)


def _move_children(pair: Pair, old: Dataset, new: Dataset) -> Iterator[Step]:
    for child in (pair.replaced or OldReplica()).moving:
        place = new.name + child.name[len(old.name) :]
        yield Step.of(f"move {child.name} below {new.name}", (zfs.rename(child.name, place, child.type),), side=TARGET)


def _aside(pair: Pair, old: Dataset) -> Step:
    place = old_name(pair)
    return Step.of(
        f"put {pair.target_address} aside as {place}",
        (zfs.rename(old.name, place, _type(pair)),),
        before={old.name: {"state": "present"}, place: {"state": "absent"}},
        after={old.name: {"state": "present"}, place: {"state": "present"}},
        side=TARGET,
    )


def _mark(pair: Pair, old: Dataset | None, keep_old: bool) -> Iterator[Step]:
    """(old): its mark says that it was replaced, and what belongs to relationships goes.

    The new replica's mark is the last: until then the next run still looks for the old one.
    """
    mark = old.source_mark if old else None
    if old and mark and not mark.put_aside:
        held = [f"{old.name}@{snap.snapshot}" for snap in with_hold(old, LastHold.TAG)]
        gone = [name for name in old.ours if name == Announcement.NAME or is_source_property(name)]
        commands = [
            *zfs.split(partial(zfs.release, LastHold.TAG), held),
            *(zfs.inherit(name, [old.name]) for name in gone),
            zfs.set_({SourceMark.NAME: replace(mark, beside=False, put_aside=True).format()}, [old.name]),
        ]
        yield Step.of(f"mark {old.name} as put aside", commands, side=TARGET)
    if old and mark and mark.id == pair.id and not keep_old:
        yield _destroy(old)
    current = new_mark(pair)
    if current and current.beside:
        settled = {SourceMark.NAME: replace(current, beside=False).format()}
        text = f"mark {pair.target_address} as the replica of {pair.source_address}"
        yield Step.of(text, (zfs.set_(settled, [pair.replica_name]),), side=TARGET)


def _destroy(old: Dataset) -> Step:
    """Destroy the old replica. Its snapshots are destroyed by name, so it stays if it has got others meanwhile."""
    names = [snap.snapshot for snap in old.snapshots]
    commands = [zfs.destroy_snapshots(old.name, batch, defer=False) for batch in zfs.batches(names, zfs.BATCH)]
    what = f" with its snapshots {', '.join(names)}" if names else ""
    return Step.of(
        f"destroy {old.name}, the old replica{what}",
        (*commands, zfs.destroy(old.name)),
        before={old.name: {"state": "present"}},
        after={old.name: {"state": "absent"}},
        side=TARGET,
    )


def new_mark(pair: Pair) -> SourceMark | None:
    new = pair.replica if is_placed(pair) else pair.new_one
    return new.source_mark if new else None


def _type(pair: Pair) -> str | None:
    return pair.source.type


def swapped(pair: Pair) -> Pair:
    """The pair as it is after `swap`."""
    new, mark = (pair.replica if is_placed(pair) else pair.new_one), new_mark(pair)
    if new is None or mark is None:
        return pair
    history = [] if is_placed(pair) else _divided(pair)[0]
    snapshots = [replace(snap, name=f"{pair.replica_name}@{snap.snapshot}") for snap in [*history, *new.snapshots]]
    ours = {**new.ours, SourceMark.NAME: replace(mark, beside=False).format()}
    placed = replace(new, name=pair.replica_name, snapshots=snapshots, ours=ours, origin=None)
    return replace(pair, replica=placed, beside=None, old=pair.old or pair.replica, replaced=None)
