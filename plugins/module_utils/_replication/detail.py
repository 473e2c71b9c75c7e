# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads more of pairs that are not settled: slow values of what is newer than the commit point, holds, old replicas.

It fills the datasets of the pairs before anybody plans with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import (
    CerssError,
    GateRefused,
    Unreachable,
    ZfsError,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    Announcement,
    SourceMark,
    TemporaryMark,
    is_source_property,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Bookmark, Dataset, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import MAX_NAME
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory, values
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.inventory import Inventory
from ansible_collections.cerss.zfs.plugins.module_utils._replication import divergence, keys, renames, reseed
from ansible_collections.cerss.zfs.plugins.module_utils._replication.agreement import begun
from ansible_collections.cerss.zfs.plugins.module_utils._replication.bookkeeping import MANY_CURSORS
from ansible_collections.cerss.zfs.plugins.module_utils._replication.divergence import Continue, Fresh
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import OldReplica, Pair, newest_common, txg
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import output

_SLOW = ("userrefs", "defer_destroy", "clones", "written", "referenced", "creation")
_NEW_REPLICA = ("guid", "type", "receive_resume_token", "written", "encryption", "encryptionroot", "keystatus")


def read(
    source: Backend, target: Backend, pairs: Sequence[Pair], may_reseed: bool, since: int | None = None,
    keep_old: bool = True,
) -> list[Pair]:  # fmt: skip
    """The pairs with everything that plans depend on. ``may_reseed``: replicas that diverged are to be replaced.

    ``since``: createtxg of the first snapshot on the source that is looked at; None for the commit point's.
    ``keep_old``: the replaced ones are to be kept.
    """
    if not pairs:
        return []
    _look_at_snapshots(
        source, {pair.source.name: pair.source for pair in pairs}, _recent_on_source(pairs, since), pairs
    )
    replicas = {pair.replica.name: pair.replica for pair in pairs if pair.replica}
    _look_at_snapshots(target, replicas, _recent_on_replica(pairs), ())
    _read_origins(source, target, pairs)
    _read_above(target, pairs)
    _read_keys(source, target, pairs)
    pairs = _made_anew(source, pairs)
    pairs = _with_reseeds(target, pairs, may_reseed)
    return pairs if keep_old else _with_mounts(target, pairs)


# -- snapshots -------------------------------------------------------------------------------------------------------


def _look_at_snapshots(
    backend: Backend, datasets: Inventory, snapshots: list[Snapshot], cursors_of: Sequence[Pair]
) -> None:
    cursors = [bookmark.name for pair in cursors_of for bookmark in _many_cursors(pair)]
    if snapshots or cursors:
        inventory.read_values(backend, datasets, [*(snap.name for snap in snapshots), *cursors], _SLOW, spoilt={})
    if cursors_of and snapshots:
        inventory.read_values(backend, datasets, [snap.name for snap in snapshots], (TemporaryMark.NAME,), spoilt={})
    inventory.read_holds(backend, [snap for snap in snapshots if snap.userrefs])


def _many_cursors(pair: Pair) -> list[Bookmark]:
    """The cursors, if they may have become too many by the end of the plan: then their times must be known."""
    own = pair.source.cursors_of(pair.id)
    newest = max(map(txg, own), default=0)
    more = sum(txg(snap) > newest for snap in pair.source.snapshots)
    return own if len(own) + more > MANY_CURSORS else []


def _recent_on_source(pairs: Sequence[Pair], since: int | None) -> list[Snapshot]:
    """The snapshots since the commit point: only these can have holds of ours, or be sent."""
    return [
        snap
        for pair in pairs
        for start in [since if since is not None else pair.point.createtxg if pair.point else 0]
        for snap in pair.source.snapshots
        if txg(snap) >= start or snap.snapshot == pair.link.snapshot_name
    ]


def _recent_on_replica(pairs: Sequence[Pair]) -> list[Snapshot]:
    found: list[Snapshot] = []
    for pair in pairs:
        snapshots = pair.replica.snapshots if pair.replica else []
        guids = [snap.guid for snap in snapshots]
        found += snapshots[guids.index(pair.point.guid) if pair.point and pair.point.guid in guids else 0 :]
    return found


# -- origins ---------------------------------------------------------------------------------------------------------


def _read_above(target: Backend, pairs: Sequence[Pair]) -> None:
    """Read what decides how new replicas are encrypted, if any dataset above them is."""
    above = {dataset.name: dataset for dataset in keys.needed(pairs)}
    if above:
        inventory.read_values(target, above, sorted(above), ("keystatus",), spoilt={})
        inventory.read_values(target, above, sorted(above), (SourceMark.NAME,), spoilt={})


def _read_keys(source: Backend, target: Backend, pairs: Sequence[Pair]) -> None:
    for some, names in ((keys.with_keys(pairs), keys.KEY), (keys.with_locks(pairs), keys.LOCK)):
        for backend, datasets in ((source, [pair.source for pair in some]), (target, [pair.replica for pair in some])):
            found = {dataset.name: dataset for dataset in datasets if dataset and dataset.encrypted}
            if found:
                inventory.read_values(backend, found, sorted(found), names, spoilt={})


def _read_origins(source: Backend, target: Backend, pairs: Sequence[Pair]) -> None:
    apart = [pair for pair in pairs if not pair.replica or newest_common(pair.source, pair.replica) is None]
    _fill_origins(target, [pair.replica for pair in apart if pair.replica])
    _fill_origins(source, [pair.source for pair in apart])


def _fill_origins(backend: Backend, datasets: Iterable[Dataset]) -> None:
    clones = [dataset for dataset in datasets if dataset.origin]
    origins = sorted({str(dataset.origin) for dataset in clones})
    if origins:
        lines, _missing = backend.read(zfs.list_(origins, "snapshot"))
        guids = {name: guid for name, guid, *_rest in output.listed(lines, backend.endpoint.label)}
        for dataset in clones:
            dataset.origin_guid = guids.get(str(dataset.origin))


def arriving(target: Backend, pairs: Sequence[Pair]) -> dict[str, str]:
    """The snapshots on the target's pools by GUID, read only if a new replica is to be a clone as its source is."""
    clones = [pair for pair in pairs if pair.source.origin and not pair.replica]

    def read_tree(name: str) -> Inventory:
        return inventory.read(target, [name], None, inventory.TREE)[0]

    there = [dataset for found in renames.around(clones, read_tree) for dataset in found.values()]
    return {snap.guid: snap.name for dataset in there for snap in dataset.snapshots if snap.guid}


def _made_anew(source: Backend, pairs: Sequence[Pair]) -> list[Pair]:
    """Note for replicas of another dataset whether that one is gone from the source's host."""
    others = [
        pair
        for pair in pairs
        if pair.mark and pair.record is None and pair.mark.live and pair.mark.guid != pair.source.guid
        and pair.replica and newest_common(pair.source, pair.replica) is None
        and (pair.mark.host, pair.mark.dataset) == (pair.link.source_host, pair.source.name)
    ]  # fmt: skip
    if not others:
        return list(pairs)
    existing: set[str | None] = set()
    try:
        for name in sorted({pair.source.name.partition("/")[0] for pair in others}):
            found, _missing = inventory.read(source, [name], None, "filesystem,volume")
            existing |= {dataset.guid for dataset in found.values()}
    except GateRefused:
        return list(pairs)
    anew = {pair.replica_name for pair in others if pair.mark and pair.mark.guid not in existing}
    return [replace(pair, made_anew=pair.replica_name in anew) for pair in pairs]


# -- reseeds ---------------------------------------------------------------------------------------------------------


def _with_reseeds(target: Backend, pairs: Sequence[Pair], may_reseed: bool) -> list[Pair]:
    """With the datasets beside replicas that are, or may have to be, replaced."""
    replaced = [pair for pair in pairs if _may_be_replaced(pair, may_reseed)]
    if not replaced:
        return list(pairs)
    seen = {pair.replica_name: pair for pair in _with_neighbours(target, replaced)}
    return [seen.get(pair.replica_name, pair) for pair in pairs]


def _with_mounts(target: Backend, pairs: Sequence[Pair]) -> list[Pair]:
    """With the word whether the replicas that are to be replaced are mounted."""
    found = {pair.replica_name: pair.replica for pair in pairs if pair.replica and pair.replaced}
    if found:
        inventory.read_values(target, found, sorted(found), ("mounted",), spoilt={})
    return [
        replace(pair, replaced=replace(pair.replaced, mounted=pair.replica.get("mounted") == "yes"))
        if pair.replica and pair.replaced
        else pair
        for pair in pairs
    ]


def _with_neighbours(target: Backend, pairs: Sequence[Pair]) -> list[Pair]:
    """With the datasets beside the replicas, if there are any."""
    names = {name for pair in pairs for name in (reseed.beside_name(pair), reseed.old_name(pair))}
    try:
        found, _missing = inventory.read(target, sorted(name for name in names if len(name) <= MAX_NAME))
    except GateRefused as error:
        if len(pairs) > 1:
            return [seen for pair in pairs for seen in _with_neighbours(target, [pair])]
        # The replica is the root of the gate, so nothing can be beside it.
        needed = not isinstance(divergence.compare(pairs[0]), (Continue, Fresh))
        return [replace(pairs[0], trouble=error) if needed else pairs[0]]
    _fill(target, found)
    seen = [
        replace(pair, beside=found.get(reseed.beside_name(pair)), old=found.get(reseed.old_name(pair)))
        for pair in pairs
    ]
    _fill_aside(target, [pair.old for pair in seen if pair.old and (pair.replica is None or reseed.is_placed(pair))])
    return [_with_old(target, pair) for pair in seen]


def _fill_aside(target: Backend, old: Sequence[Dataset]) -> None:
    """Read which relationships replicas that are being put aside are the source of."""
    found = {dataset.name: dataset for dataset in old}
    chained = [name for name in values.set_properties(target, sorted(found)) if is_source_property(name)]
    if chained:
        inventory.read_values(target, found, sorted(found), chained, spoilt={})


def _fill(target: Backend, found: Inventory) -> None:
    """Read everything about datasets that are not at a replica's place."""
    inventory.read_values(target, found, sorted(found), _NEW_REPLICA, spoilt={})
    inventory.read_values(target, found, sorted(found), (SourceMark.NAME, Announcement.NAME), spoilt={})
    snapshots = [snap for dataset in found.values() for snap in dataset.snapshots]
    inventory.read_values(target, found, [snap.name for snap in snapshots], _SLOW, spoilt={})
    inventory.read_holds(target, [snap for snap in snapshots if snap.userrefs])


def returning(target: Backend, pairs: Sequence[Pair]) -> list[Pair]:
    """With the replicas that an unfinished reseed of a dataset above has moved, under their names after it."""
    homes = {f"{pair.beside.name}/": f"{pair.replica_name}/" for pair in pairs if pair.beside}
    away = {}
    for pair in pairs:
        name = (pair.moved_to or "")[len(target.endpoint.address("")) :]
        if any(name.startswith(old) and new + name[len(old) :] == pair.replica_name for old, new in homes.items()):
            away[name] = pair
    if not away:
        return list(pairs)
    found, _missing = inventory.read(target, sorted(away))
    _fill(target, found)
    back = {
        away[name].replica_name: replace(away[name], replica=_renamed(dataset, away[name].replica_name), moved_to=None)
        for name, dataset in found.items()
    }
    return [back.get(pair.replica_name, pair) for pair in pairs]


def _renamed(dataset: Dataset, name: str) -> Dataset:
    return replace(
        dataset,
        name=name,
        snapshots=[replace(snap, name=f"{name}@{snap.snapshot}") for snap in dataset.snapshots],
        bookmarks=[replace(each, name=f"{name}#{each.bookmark}") for each in dataset.bookmarks],
    )


def _may_be_replaced(pair: Pair, may_reseed: bool) -> bool:
    if reseed.is_placed(pair) or begun(pair):
        return True
    return may_reseed and not isinstance(divergence.compare(pair), (Continue, Fresh))


def _with_old(target: Backend, pair: Pair) -> Pair:
    if pair.replica is None or pair.is_first_receive or isinstance(divergence.compare(pair), Continue):
        return pair
    try:
        return replace(pair, replaced=_old_replica(target, pair.replica, pair.beside))
    except CerssError as error:
        return replace(pair, trouble=error)


def _old_replica(target: Backend, old: Dataset, new: Dataset | None) -> OldReplica:
    """What is set on the old replica, and on the new one, which a run that was cut may have set already."""
    names = [old.name, *([new.name] if new else [])]
    existing = sorted(values.set_properties(target, names))
    found = values.read_properties(target, names, existing).values
    native = ("encryptionroot", "type", "keystatus", "keylocation")
    children = {name: Dataset(name) for name in old.children}
    inventory.read_values(target, {old.name: old, **children}, [old.name, *old.children], native, spoilt={})
    for name, value in found.get(new.name, {}).items() if new else ():
        if value.local:
            new.values.setdefault(name, value)  # type: ignore[union-attr]
    lines = target.run(zfs.allowed(old.name)).stdout.split("\n")
    # It may be the source of a further replica.
    old.ours.update((name, value.text) for name, value in found.get(old.name, {}).items()
                    if value.local and is_source_property(name))  # fmt: skip
    return OldReplica(
        {name: value.text for name, value in found.get(old.name, {}).items() if value.local},
        tuple(output.delegated(lines, old.name)),
        tuple(children[name] for name in old.children),
        _key_fault(target, old),
    )


def _key_fault(target: Backend, old: Dataset) -> str:
    """From where the key of the old replica cannot be loaded again, and why. Empty if it can, or is not loaded."""
    place = f"keylocation={old.get('keylocation')}"
    if old.get("keystatus") != "available" or old.get("encryptionroot") != old.name:
        return ""
    if old.get("keylocation") == reseed.PROMPT:
        return place
    try:
        target.run(zfs.load_key(old.name, dry_run=True))
    except (GateRefused, Unreachable):
        raise
    except ZfsError as error:
        return f"{place} ({' '.join(error.stderr.split())})"
    return ""


def shown_holds(now: Pair, former: Pair) -> Pair:
    """``now`` with the holds that are known from ``former``: a wave does not read them again."""
    return replace(
        now,
        source=_with_former(now.source, former.source),
        replica=_with_former(now.replica, former.replica) if now.replica else None,
    )


def _with_former(now: Dataset, former: Dataset | None) -> Dataset:
    known = {snap.guid: snap for snap in former.snapshots} if former else {}
    times = {bookmark.name: bookmark.created for bookmark in former.bookmarks} if former else {}
    snapshots = [_known(snap, known.get(snap.guid)) for snap in now.snapshots]
    bookmarks = [replace(each, created=times.get(each.name)) for each in now.bookmarks]
    return replace(now, snapshots=snapshots, bookmarks=bookmarks)


def _known(now: Snapshot, former: Snapshot | None) -> Snapshot:
    if former is None:
        return now
    return replace(
        now, state=former.state, holds=former.holds, userrefs=former.userrefs, clones=former.clones,
        temporary=former.temporary, written=former.written, referenced=former.referenced,
    )  # fmt: skip
