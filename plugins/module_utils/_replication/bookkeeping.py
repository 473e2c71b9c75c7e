# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans our marks on both sides: set before a transfer, moved after it, repaired after a crash.

docs/docsite/rst/architecture.rst lists the marks. `settle` creates the new cursor first and removes the old one last;
`planner.settled_at_a_glance` relies on that order.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

from ansible_collections.cerss.zfs.plugins.module_utils._core import model, units
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    PLAIN,
    RAW,
    Announced,
    Announcement,
    Cursor,
    LastHold,
    OpenCursor,
    ReplicaRecord,
    SourceMark,
    StepHold,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Bookmark, Dataset, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import MAX_NAME
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Step
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import (
    SOURCE,
    TARGET,
    Pair,
    PairOptions,
    PairPlan,
    listed,
    newest_common,
    with_hold,
)
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs

# For first receives only: on an increment they would undo what a failover changed.
REPLICA_DEFAULTS = {"readonly": "on"}
FILESYSTEM_DEFAULTS = {"canmount": "noauto"}
PULLED_DEFAULTS = {"setuid": "off", "devices": "off"}  # root on another host may put anything into a filesystem
# zfs refuses the whole receive if one property does not apply to the type. The lists are from `zfs get all` on 2.3.9.
FILESYSTEM_ONLY = frozenset(
    ("aclinherit", "aclmode", "acltype", "atime", "canmount", "casesensitivity", "context", "defcontext", "devices",
     "direct", "dnodesize", "exec", "filesystem_limit", "fscontext", "longname", "mountpoint", "nbmand",
     "normalization", "overlay", "recordsize", "relatime", "rootcontext", "setuid", "sharenfs", "sharesmb", "snapdir",
     "special_small_blocks", "utf8only", "version", "vscan", "xattr")
)  # fmt: skip
VOLUME_ONLY = frozenset(("volblocksize", "volsize", "volthreading"))


def first_receive_properties(pair: Pair, options: PairOptions, raw: bool) -> dict[str, str]:
    """Properties of a first receive: our mark, and the defaults overridden by the user's ``properties``.

    Properties that do not apply to the type of the source (filesystem or volume) are left out.
    """
    pulled = PULLED_DEFAULTS if options.pulled else {}
    requested = {**REPLICA_DEFAULTS, **FILESYSTEM_DEFAULTS, **pulled, **options.properties}
    others = FILESYSTEM_ONLY if pair.source.type == "volume" else VOLUME_ONLY
    own = {name: value for name, value in requested.items() if value is not None and name not in others}
    return {**own, SourceMark.NAME: source_mark(pair, raw).format()}


def adopt_part(pair: Pair, options: PairOptions, raw: bool) -> Step:
    """Take over a first receive that was started by hand, with the properties of one started by us.

    Without `PULLED_DEFAULTS`, since zfs set fails for a user without the permission where zfs receive goes on.
    """
    return Step.of(
        f"adopt the partial receive in {pair.target_address}",
        (zfs.set_(first_receive_properties(pair, replace(options, pulled=False), raw), [pair.replica_name]),),
        before={pair.replica_name: {"replica_of": None}},
        after={pair.replica_name: {"replica_of": pair.source_address}},
        side=TARGET,
    )


def source_mark(pair: Pair, raw: bool) -> SourceMark:
    """The mark for the replica of this pair."""
    return SourceMark(pair.id, pair.source_host, pair.source.name, str(pair.source.guid), RAW if raw else PLAIN)


def announcement(sizes: Iterable[tuple[Snapshot, int | None]]) -> Announcement:
    """The mark that announces snapshots. Sizes are in bytes, None if unknown."""
    return Announcement(tuple(Announced(str(snap.guid), snap.snapshot, size) for snap, size in sizes))


def tags(relationship: str) -> tuple[str, str]:
    """(step hold on the source, last-received hold on the replica)."""
    return StepHold(relationship).format(), LastHold(relationship).format()


def protect(pair: Pair, plan: PairPlan) -> list[Step]:
    """The steps before a transfer: hold the base and every snapshot to be sent, and record the relationship.

    Until the first transfer of a relationship is settled there is also the bookmark `OpenCursor`.
    """
    step_hold, _last = tags(pair.id)
    held = {snap.name for snap in with_hold(pair.source, step_hold)}
    names = [snap.name for snap in plan.protects if snap.name not in held]
    result = [Step.of(f"hold {', '.join(names)}", (zfs.hold(step_hold, names),), side=SOURCE)] if names else []
    name = _open_name(pair)
    # If the cursor is at the goal but the replica has lost it, an interrupted run must not look settled.
    cursors = [cursor.guid for cursor, _bookmark in pair.source.cursors() if cursor.id == pair.id]
    unsettled_anyway = cursors and not (plan.goal and plan.goal.guid in cursors)
    if name and not unsettled_anyway and not _open(pair):
        result.append(
            Step.of(f"create the bookmark {name}", (zfs.bookmark(plan.sends[0].carries[0].name, name),), side=SOURCE)
        )
    mode = RAW if plan.raw else PLAIN
    relation = f"the relationship with {pair.target_address}"
    return [*_record(pair, relation, mode, pair.aside), *result]


def _open_name(pair: Pair) -> str | None:
    name = f"{pair.source.name}#{OpenCursor(pair.id).format()}"
    return name if has_cursor_room(pair.source.name) else None


def _open(pair: Pair) -> list[Bookmark]:
    return [bookmark for bookmark in pair.source.bookmarks if bookmark.name == _open_name(pair)]


def has_cursor_room(dataset: str) -> bool:
    """False if the name of a cursor would be too long for ZFS; then the base is held instead."""
    return len(dataset) + len("#") + Cursor.LENGTH <= MAX_NAME


def finish_action(pair: Pair, goal: Snapshot) -> Step:
    """One step that reports how `settle` moves the marks after a transfer to ``goal``.

    It also names the snapshots pending deletion that ZFS destroys as soon as their hold is released.
    """
    step_hold, last_hold = tags(pair.id)
    ends = freed(with_hold(pair.source, step_hold)) + (
        freed(with_hold(pair.replica, last_hold)) if pair.replica else []
    )
    return Step.of(
        f"move the marks of the relationship with {pair.target_address} to {goal.name}" + freed_text(ends),
        before={name: {"state": model.PENDING_DELETE} for name in ends},
        after={name: {"state": model.ABSENT} for name in ends},
    )


def settle(pair: Pair) -> list[Step]:
    """The steps that make the newest common snapshot the base of the next increment; empty if all marks are right.

    They depend only on the current state of both sides, so the same code finishes a transfer and repairs the marks
    after a crash.
    """
    common = newest_common(pair.source, pair.replica) if pair.replica else None
    if pair.replica is None or common is None:
        return []
    there, here = common
    relation = f"the relationship with {pair.target_address}"
    cursors = [found for found in pair.source.cursors() if found[0].id == pair.id]
    old = [bookmark for cursor, bookmark in cursors if cursor.guid != here.guid]
    removed = [*old, *_open(pair)] if isinstance(here, Snapshot) else _open(pair)
    return [
        *come_back(pair),
        *_remember(pair, here, relation),
        *_hold_last(pair, pair.replica, there, relation),
        *_release(pair, pair.replica, here, there, relation),
        *_clear(pair, pair.replica),
        *(
            Step.of(f"remove the bookmark {bookmark.name}", (zfs.destroy(bookmark.name),), side=SOURCE)
            for bookmark in removed
        ),
    ]


def _remember(pair: Pair, here: Snapshot | Bookmark, relation: str) -> Iterator[Step]:
    """On the source: the cursor (or hold) on the base of the next increment, and the record of the replica."""
    source, last_hold = pair.source, tags(pair.id)[1]
    if isinstance(here, Snapshot) and not has_cursor_room(source.name):
        if here not in with_hold(source, last_hold):
            text = f"hold {here.name} as the base of {relation}"
            yield Step.of(text, (zfs.hold(last_hold, [here.name]),), side=SOURCE)
    elif Cursor(pair.id, str(here.guid)) not in (cursor for cursor, _bookmark in source.cursors()):
        cursor = f"{source.name}#{Cursor(pair.id, str(here.guid)).format()}"
        text = f"bookmark {here.name} as the base of {relation}"
        yield Step.of(text, (zfs.bookmark(here.name, cursor),), side=SOURCE)
    yield from _record(pair, relation, pair.mark.mode if pair.mark else None)


def _record(pair: Pair, relation: str, mode: str | None, aside: str | None = None) -> Iterator[Step]:
    if pair.record is None or (pair.record.target, pair.record.aside) != (pair.target_record, aside):
        yield record(pair, f"record {relation} on {pair.source.name}", mode, aside)


def record(pair: Pair, text: str, mode: str | None, aside: str | None) -> Step:
    """Set the record of the replica on the source. It is set before the first byte, so that no mark is ever orphaned.

    ``aside`` is the old replica of a reseed while datasets below it still have to be moved back. The pair is updated
    at once, because the rest of the plan depends on the record.
    """
    since = (pair.record.since if pair.record else None) or units.iso_time(time.time())
    properties = {ReplicaRecord.name(pair.id): ReplicaRecord(pair.target_record, since, mode, aside).format()}
    pair.source.ours.update(properties)
    return Step.of(text, (zfs.set_(properties, [pair.source.name]),), side=SOURCE)


def come_back(pair: Pair) -> Iterator[Step]:
    """Move the datasets that a reseed moved away with the old replica below the new one."""
    if pair.aside and pair.below:
        places = [pair.replica_name + child.name[len(pair.aside) :] for child in pair.below]
        yield Step.of(
            f"move {listed(pair.below)} back below {pair.target_address}",
            tuple(zfs.rename(child.name, place, child.type) for child, place in zip(pair.below, places)),
            side=TARGET,
        )  # not in the diff: after a successful run they are where they were


def _hold_last(pair: Pair, replica: Dataset, there: Snapshot, relation: str) -> Iterator[Step]:
    last_hold = tags(pair.id)[1]
    if there not in with_hold(replica, last_hold):
        text = f"hold {there.name} as the last received snapshot of {relation}"
        yield Step.of(text, (zfs.hold(last_hold, [there.name]),), side=TARGET)


def _release(pair: Pair, replica: Dataset, here: Snapshot | Bookmark, there: Snapshot, relation: str) -> Iterator[Step]:
    """Release holds that are no longer needed. Step holds stay while a partial receive can be resumed."""
    step_hold, last_hold = tags(pair.id)
    for side, tag, snapshots in (
        (TARGET, last_hold, [snap for snap in with_hold(replica, last_hold) if snap is not there]),
        (SOURCE, last_hold, [snap for snap in with_hold(pair.source, last_hold) if snap is not here]),
        (SOURCE, step_hold, [] if replica.token else with_hold(pair.source, step_hold)),
    ):
        if snapshots:
            yield Step.of(
                _release_text(snapshots, relation), (zfs.release(tag, [snap.name for snap in snapshots]),), side=side
            )


def _clear(pair: Pair, replica: Dataset) -> Iterator[Step]:
    if Announcement.NAME in replica.ours and not replica.token:
        text = f"clear the announcement on {pair.target_address}"
        yield Step.of(text, (zfs.inherit(Announcement.NAME, [replica.name]),), side=TARGET)


def _release_text(snapshots: list[Snapshot], relation: str) -> str:
    names = ", ".join(snap.name for snap in snapshots)
    return f"release the hold of {relation} from {names}" + freed_text(freed(snapshots))


def freed(snapshots: list[Snapshot]) -> list[str]:
    """The names of those that are pending deletion and kept by nothing but one hold."""
    return [
        snap.name for snap in snapshots if snap.state == model.PENDING_DELETE and snap.userrefs == 1 and not snap.clones
    ]


def freed_text(names: list[str]) -> str:
    """The end of an action that releases the last hold of these snapshots; empty for none."""
    return f"; ZFS then destroys {', '.join(names)} (pending deletion)" if names else ""
