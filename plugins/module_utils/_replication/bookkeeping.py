# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans our marks on both sides: made before a stream, moved after it, repaired after a crash.

The order is that of docs/docsite/rst/architecture.rst: the record, cursors and holds before the stream; then the hold
on the last received snapshot is moved; the commit point is written last. So a run that is killed anywhere leaves
something that `planner.settled` notices.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ansible_collections.cerss.zfs.plugins.module_utils._core import model, units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    PLAIN,
    RAW,
    Announced,
    Announcement,
    CommitPoint,
    CommitPoints,
    Cursor,
    Filter,
    LastHold,
    ReplicaRecord,
    ReplicaRecords,
    SourceMark,
    StepHold,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Bookmark, Dataset, Hold, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import MAX_NAME, MAX_VALUE, listing
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Step
from ansible_collections.cerss.zfs.plugins.module_utils._replication import keys
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import (
    SOURCE,
    TARGET,
    Pair,
    PairOptions,
    Send,
    newest_common,
    txg,
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

MANY_CURSORS = 8  # of one relationship; more are thinned out, for which their times must be read
NEWEST_CURSORS, DAYS, WEEKS = 4, 7, 4  # cursors that stay: the newest ones, and one for each of the last days and weeks
MOST_ANNOUNCED = 4000  # bytes of an announcement
MAX_RECORDS = MAX_VALUE - 500  # bytes; a record gets longer, by a GUID or a new name of the replica
LONG = 1024**3  # bytes of a snapshot that is held while it is sent
_EMPTY = ("", "[]")  # values of our properties that say nothing


# -- the replica's properties ----------------------------------------------------------------------------------------


def first_receive_properties(
    pair: Pair, options: PairOptions, mode: str, beside: bool = False, clone: bool = False
) -> dict[str, str]:
    """Properties of a first receive: our mark, and the defaults overridden by the user's ``properties``.

    Properties that do not apply to the type of the source (filesystem or volume) are left out, and encryption where a
    raw stream or the origin of a ``clone`` decides.
    """
    pulled = PULLED_DEFAULTS if options.pulled else {}
    own_key = keys.for_replica(pair, mode)
    requested = {**REPLICA_DEFAULTS, **FILESYSTEM_DEFAULTS, **pulled, **own_key, **options.properties}
    others = FILESYSTEM_ONLY if pair.source.type == "volume" else VOLUME_ONLY
    others |= frozenset(keys.CLEAR if mode == RAW or clone else ())
    own = {name: value for name, value in requested.items() if value is not None and name not in others}
    return {**own, SourceMark.NAME: source_mark(pair, mode, beside).format()}


def source_mark(pair: Pair, mode: str, beside: bool = False) -> SourceMark:
    """The mark for the replica of this pair."""
    return SourceMark(pair.id, pair.link.source_host, pair.source.name, str(pair.source.guid), mode, beside)


def adopt_part(pair: Pair, options: PairOptions, mode: str) -> Step:
    """Take over a first receive that was started by hand, with the properties of one started by us.

    Without `PULLED_DEFAULTS`, since zfs set fails for a user without the permission where zfs receive goes on.
    """
    properties = first_receive_properties(pair, replace(options, pulled=False), mode, clone=True)
    return Step.of(
        f"adopt the partial receive in {pair.target_address}",
        (zfs.set_(properties, [pair.replica_name]),),
        before={pair.replica_name: {"replica_of": None}},
        after={pair.replica_name: {"replica_of": pair.source_address}},
        side=TARGET,
    )


def announcement(sizes: Iterable[tuple[Snapshot, int | None]]) -> Announcement:
    """The mark that announces snapshots, as many as it may hold. Sizes are in bytes, None if unknown."""
    entries = [Announced(str(snap.guid), snap.snapshot, size) for snap, size in sizes]
    while len(Announcement(tuple(entries)).format()) > MOST_ANNOUNCED:
        del entries[len(entries) // 2 :]
    return Announcement(tuple(entries))


# -- before a stream -------------------------------------------------------------------------------------------------


def protect(pair: Pair, sends: Sequence[Send], mode: str, anew: bool = False) -> tuple[list[Step], Pair]:
    """(the steps before streams, the pair after them): the record of the relationship, cursors, and holds.

    There is a cursor at what each stream will leave on the replica, and a hold on each snapshot that ZFS would not keep
    until a stream that was cut can be resumed. ``anew``: a replica is started, whose GUID is recorded when it is whole.
    """
    if pair.link.unmarked:
        return [], pair
    result: list[Step] = []
    settings = _declaration(pair, mode, anew)
    if settings:
        text = f"record {pair.relation} on {pair.source.name}"
        result.append(Step.of(text, _set_or_inherit(settings, pair.source.name), side=SOURCE))
        pair = with_settings(pair, settings)
    for send in sends:
        step = _cursor(pair, send.snapshot)
        if step:
            result.append(step)
            snap = send.snapshot  # ZFS gives the bookmark its time too
            bookmark = Bookmark(step.commands[0][-1], str(snap.guid), txg(snap), snap.created)
            pair = replace(pair, source=replace(pair.source, bookmarks=[*pair.source.bookmarks, bookmark]))
        if send.intermediates or is_long(send) or not has_cursor_room(pair.source.name):
            result += hold(pair, send.carries)
            pair = _with_holds(pair, {snap.name for snap in send.carries})
    return result, pair


def declares(step: Step) -> bool:
    """Whether a step before a stream records the relationship. Without its record nobody could continue it."""
    return any(word.startswith(ReplicaRecords.PREFIX) for command in step.commands for word in command[2:])


def is_long(send: Send) -> bool:
    """True for a stream that may well be cut, by what is known of its size."""
    return any(((snap.written if send.base else snap.referenced) or 0) > LONG for snap in send.carries)


def with_settings(pair: Pair, settings: Mapping[str, str]) -> Pair:
    """The pair with properties of ours set on its source; an empty one is removed."""
    ours = {name: value for name, value in {**pair.source.ours, **settings}.items() if value not in _EMPTY}
    return replace(pair, source=replace(pair.source, ours=ours))


def _with_holds(pair: Pair, names: Collection[str]) -> Pair:
    tag = StepHold(pair.id).format()
    snapshots = [with_tag(snap, tag) if snap.name in names else snap for snap in pair.source.snapshots]
    return replace(pair, source=replace(pair.source, snapshots=snapshots))


def with_tag(snapshot: Snapshot, tag: str) -> Snapshot:
    """The snapshot with a hold."""
    holds = snapshot.holds or []
    if any(hold.tag == tag for hold in holds):
        return snapshot
    return replace(snapshot, holds=[*holds, Hold(tag)], userrefs=(snapshot.userrefs or 0) + 1)


def _declaration(pair: Pair, mode: str, anew: bool) -> dict[str, str]:
    """The properties that declare the relationship, if they do not yet."""
    former = pair.record
    if former and not (anew and (former.guid != ReplicaRecord.UNKNOWN or pair.point)):
        return {}
    since = (former.since if former else None) or units.iso_time(time.time())
    record = ReplicaRecord(pair.id, pair.link.target_record, ReplicaRecord.UNKNOWN, mode, since)
    record = _with_filter(pair, replace(record, filters=former.filters if former else _alone(pair.link.filter)))
    settings = {ReplicaRecords.name(pair.pool): recorded(pair, record)}
    if pair.point:  # of the replica that is replaced or gone
        settings[CommitPoints.name(pair.pool)] = pair.points.without(pair.id).format()
    return settings


def _alone(given: Filter | None) -> tuple[Filter, ...]:
    """The filters of a relationship that has just this one."""
    return (given,) if given and given != Filter() else ()


def _with_filter(pair: Pair, record: ReplicaRecord) -> ReplicaRecord:
    """The record with the filter of this run.

    If the filters would be too long, that of this run lets everything pass; if even so, there are none.
    """
    given = pair.link.filter
    if given is None:
        return record
    for each in (record.with_filter(given), record.with_filter(Filter(given.job))):
        if not each.filters or len(pair.records.with_entry(each).format().encode()) <= MAX_RECORDS:
            return each
    return replace(record, filters=())


def recorded(pair: Pair, record: ReplicaRecord) -> str:
    """The source's records of its replicas on the target's pool, with this one. Refused if they would be too long."""
    text = pair.records.with_entry(record).format()
    if len(text.encode()) > MAX_RECORDS:
        raise Refused(
            f"{pair.source_address} has {len(pair.records.entries)} replicas on the pool of {pair.target_address}, and "
            "ZFS has no room to record another one; end a relationship that nobody needs any more (zfs_replication "
            "with state=absent)"
        )
    return text


def _set_or_inherit(settings: dict[str, str], name: str) -> list[list[str]]:
    """The commands that set the properties, without those whose value is empty."""
    own = {key: value for key, value in settings.items() if value not in _EMPTY}
    return [*([zfs.set_(own, [name])] if own else []),
            *(zfs.inherit(key, [name]) for key in settings if key not in own)]  # fmt: skip


def _cursor(pair: Pair, point: Snapshot) -> Step | None:
    name = f"{pair.source.name}#{Cursor(pair.id, str(point.guid)).format()}"
    if not has_cursor_room(pair.source.name) or any(bookmark.name == name for bookmark in pair.source.bookmarks):
        return None
    return Step.of(
        f"bookmark {point.name} as a base of {pair.relation}", (zfs.bookmark(point.name, name),), side=SOURCE
    )


def has_cursor_room(dataset: str) -> bool:
    """False if the name of a cursor would be too long for ZFS; then the base is held instead."""
    return len(dataset) + len("#") + Cursor.LENGTH <= MAX_NAME


def hold(pair: Pair, snapshots: Iterable[Snapshot]) -> list[Step]:
    """Hold those snapshots of the source that are not held yet, until they have arrived."""
    tag = StepHold(pair.id).format()
    held = {snap.name for snap in with_hold(pair.source, tag)}
    names = [snap.name for snap in snapshots if snap.name not in held]
    text = f"hold {_span(names)} while {pair.relation} needs {'it' if len(names) == 1 else 'them'}" if names else ""
    return [Step.of(text, zfs.split(partial(zfs.hold, tag), names), side=SOURCE)] if names else []


def _span(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} snapshots, {names[0]} to @{names[-1].partition('@')[2]},"


# -- when streams have arrived ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finish:
    """The steps that make the newest common snapshot the base of the next increment; all None and empty if it is.

    ``hold`` and ``release`` have the same tag on every replica, so one command does them for many pairs. The commit
    point comes last: nobody looks for holds any more once it is written.
    """

    hold: Step | None = None
    release: Step | None = None
    rest: tuple[Step, ...] = ()
    commit: tuple[Step, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        return (*(step for step in (self.hold, self.release) if step), *self.rest, *self.commit)


def finish(pair: Pair) -> Finish:
    """What is to do depends only on the current state, so the same code finishes a transfer and repairs marks."""
    common = newest_common(pair.source, pair.replica) if pair.replica else None
    if pair.replica is None or common is None:
        return Finish()
    there, here = common
    old = [snap for snap in with_hold(pair.replica, LastHold.TAG) if snap.guid != there.guid]
    has = there in with_hold(pair.replica, LastHold.TAG)
    rest = (*_remember(pair, here), *_reword(pair, pair.replica), *free(pair, pair.replica, here),
            *_clear(pair, pair.replica), *_sweep(pair, pair.replica, here))  # fmt: skip
    commit = tuple(_commit(pair, pair.replica, here))
    if pair.link.unmarked:
        rest, commit = tuple(step for step in rest if step.side == TARGET), ()
    return Finish(
        None if has else last_hold(pair, there),
        _release(pair, TARGET, LastHold.TAG, old) if old else None,
        rest,
        commit,
    )


def last_hold(pair: Pair, there: Snapshot) -> Step:
    """Hold a snapshot of the replica, so that the next increment finds it."""
    text = f"hold {there.name} as the last received snapshot of {pair.relation}"
    return Step.of(text, (zfs.hold(LastHold.TAG, [there.name]),), side=TARGET)


def _remember(pair: Pair, here: Snapshot | Bookmark) -> Iterator[Step]:
    """The base of the next increment must be found again when the snapshot is gone, even if somebody removed that."""
    if not isinstance(here, Snapshot):
        return
    if has_cursor_room(pair.source.name):
        step = _cursor(pair, here)
        yield from [step] if step else []
    else:
        yield from hold(pair, [here])


def _commit(pair: Pair, replica: Dataset, here: Snapshot | Bookmark) -> Iterator[Step]:
    """Write the commit point, and into the record what was not known before, has another name or other filters now."""
    record, settings = pair.record, {}
    arrived = f"{here.name} as arrived in {pair.target_address}"
    told = []
    if record:
        known = replace(
            record, guid=str(replica.guid or record.guid),
            target=record.target if pair.is_place_of(record) else pair.link.target_record, formerly=None,
        )  # fmt: skip
        told += [arrived] if known != record else []
        known = _with_filter(pair, known)
        told += [f"the filters of {pair.relation}"] if known.filters != record.filters else []
        if known != record:
            settings[ReplicaRecords.name(pair.pool)] = pair.records.with_entry(known).format()
    point = CommitPoint(pair.id, str(here.guid), txg(here))
    if pair.point is None or pair.point.guid != point.guid:
        settings[CommitPoints.name(pair.pool)] = pair.points.with_entry(point).format()
        told.insert(0, arrived)
    if settings:
        text = f"record {listing(dict.fromkeys(told))}"
        yield Step.of(text, (zfs.set_(settings, [pair.source.name]),), side=SOURCE)


def _reword(pair: Pair, replica: Dataset) -> Iterator[Step]:
    """The source was renamed, or a reseed has replaced it: then the replica's mark names another dataset.

    The former name stays where it tells that the replica is in its place (`renames.follow`).
    """
    mark = replica.source_mark
    name = mark.dataset if mark and pair.link.followed else pair.source.name
    if mark and (mark.dataset, mark.guid) != (name, pair.source.guid):
        renamed = replace(mark, host=pair.link.source_host, dataset=name, guid=str(pair.source.guid))
        yield Step.of(
            f"note on {pair.target_address} that its source is now {pair.source_address}",
            (zfs.set_({SourceMark.NAME: renamed.format()}, [replica.name]),), side=TARGET,
        )  # fmt: skip


def free(pair: Pair, receiver: Dataset, here: Snapshot | Bookmark | None = None) -> Iterator[Step]:
    """Release our holds on the source, except on ``here``. They stay while a partial receive can be resumed."""
    tag = StepHold(pair.id).format()
    held = [] if receiver.token or pair.link.unmarked else with_hold(pair.source, tag)
    if here and not has_cursor_room(pair.source.name):
        held = [snap for snap in held if snap.guid != here.guid]
    if held:
        yield _release(pair, SOURCE, tag, held)


def _clear(pair: Pair, replica: Dataset) -> Iterator[Step]:
    if Announcement.NAME in replica.ours and not replica.token:
        text = f"clear the announcement on {pair.target_address}"
        yield Step.of(text, (zfs.inherit(Announcement.NAME, [replica.name]),), side=TARGET)


def _sweep(pair: Pair, replica: Dataset, here: Snapshot | Bookmark) -> Iterator[Step]:
    swept = _swept(pair, replica, here)
    if swept:
        text = f"remove {len(swept)} old bookmarks of {pair.relation} from {pair.source.name}"
        yield Step.of(text, tuple(zfs.destroy(bookmark.name) for bookmark in swept), side=SOURCE)


def _swept(pair: Pair, replica: Dataset, here: Snapshot | Bookmark) -> list[Bookmark]:
    own = pair.source.cursors_of(pair.id)
    if len(own) <= MANY_CURSORS:
        return []
    arrived = {snap.guid for snap in replica.snapshots}
    kept = {bookmark.name for bookmark in kept_cursors([each for each in own if each.guid in arrived])}
    return [each for each in own if txg(each) < txg(here) and each.name not in kept]


def kept_cursors(cursors: Iterable[Bookmark]) -> list[Bookmark]:
    """The cursors that stay: the newest ones, and the newest of each of the last days and weeks, for long pauses.

    Those whose time was not read stay too.
    """
    ordered = sorted(cursors, key=txg, reverse=True)
    kept = ordered[:NEWEST_CURSORS]
    for most, seconds in ((DAYS, 86400), (WEEKS, 7 * 86400)):
        periods: dict[int, Bookmark] = {}
        for bookmark in ordered:
            if bookmark.created is not None and len(periods) < most:
                periods.setdefault(bookmark.created // seconds, bookmark)
        kept += periods.values()
    kept += [bookmark for bookmark in ordered if bookmark.created is None]
    return list({bookmark.name: bookmark for bookmark in kept}.values())


def _release(pair: Pair, side: str, tag: str, snapshots: list[Snapshot]) -> Step:
    """Also names the snapshots pending deletion that ZFS destroys as soon as this hold is released."""
    ends = freed(snapshots)
    names = [snap.name for snap in snapshots]
    return Step.of(
        f"release the hold of {pair.relation} from {_span(names).rstrip(',')}" + freed_text(ends),
        zfs.split(partial(zfs.release, tag), names),
        before={name: {"state": model.PENDING_DELETE} for name in ends},
        after={name: {"state": model.ABSENT} for name in ends},
        side=side,
    )


def freed(snapshots: Iterable[Snapshot]) -> list[str]:
    """The names of those that are pending deletion and kept by nothing but one hold."""
    return [
        snap.name for snap in snapshots if snap.state == model.PENDING_DELETE and snap.userrefs == 1 and not snap.clones
    ]


def freed_text(names: list[str]) -> str:
    """The end of an action that releases the last hold of these snapshots; empty for none."""
    return f"; ZFS then destroys {', '.join(names)} (pending deletion)" if names else ""


def finished(pair: Pair) -> Pair:
    """The pair after `finish`, as far as the next plan depends on it."""
    replica = pair.replica
    common = newest_common(pair.source, replica) if replica else None
    if replica is None or common is None:
        return pair
    there, here = common
    swept = {each.name for each in _swept(pair, replica, here)}
    left = [each for each in pair.source.bookmarks if each.name not in swept]
    pair = replace(pair, source=replace(pair.source, bookmarks=left))
    point = CommitPoint(pair.id, str(here.guid), txg(here))
    pair = freed_pair(with_settings(pair, {CommitPoints.name(pair.pool): pair.points.with_entry(point).format()}), here)
    last = Hold(LastHold.TAG)
    ends = freed(snap for snap in with_hold(replica, LastHold.TAG) if snap is not there)
    received = [_without_hold(snap, LastHold.TAG) if snap is not there else replace(snap, holds=[last], userrefs=1)
                for snap in replica.snapshots if snap.name not in ends]  # fmt: skip
    return replace(pair, replica=replace(replica, snapshots=received))


def freed_pair(pair: Pair, here: Snapshot | Bookmark | None = None) -> Pair:
    """The pair after `free`, without the snapshots that this destroys."""
    step = StepHold(pair.id).format()
    kept = here.guid if here and not has_cursor_room(pair.source.name) else None
    ends = freed(snap for snap in with_hold(pair.source, step) if snap.guid != kept)
    sent = [snap if snap.guid == kept else _without_hold(snap, step)
            for snap in pair.source.snapshots if snap.name not in ends]  # fmt: skip
    return replace(pair, source=replace(pair.source, snapshots=sent))


def _without_hold(snapshot: Snapshot, tag: str) -> Snapshot:
    holds = [hold for hold in snapshot.holds or [] if hold.tag != tag]
    if len(holds) == len(snapshot.holds or []):
        return snapshot
    return replace(snapshot, holds=holds, userrefs=(snapshot.userrefs or 1) - 1)


# -- when it failed --------------------------------------------------------------------------------------------------


def give_up(pair: Pair, before: Pair) -> list[Step]:
    """After an error that trying again does not mend: undo what this run put on the source, unless a receive needs it.

    ``pair`` is the state now, ``before`` the state before the run. What is left of a partial receive is held, so that
    the next run can resume it.
    """
    if pair.link.unmarked:
        return []
    receivers = [dataset for dataset in (pair.replica, pair.beside) if dataset]
    waiting = [pair.source.by_guid(dataset.token.toguid) for dataset in receivers if dataset.token]
    if waiting:
        return hold(pair, [snap for snap in waiting if snap])
    tag = StepHold(pair.id).format()
    steps = []
    common = [newest_common(pair.source, dataset) for dataset in receivers]
    bases = {each[1].guid for each in common if each and not has_cursor_room(pair.source.name)}
    held = [snap for snap in with_hold(pair.source, tag) if snap.guid not in bases]
    if held:
        steps.append(_release(pair, SOURCE, tag, held))
    there = {snap.guid for dataset in receivers for snap in dataset.snapshots}
    known = {bookmark.name for bookmark in before.source.bookmarks}
    made = [bookmark for cursor, bookmark in pair.source.cursors()
            if cursor.id == pair.id and bookmark.name not in known and cursor.guid not in there]  # fmt: skip
    steps += _remove_cursors(pair, made)
    if pair.record and not before.record and not receivers:
        steps.append(forget(pair))
    return steps


def remove(pair: Pair, id_: str) -> Iterator[Step]:
    """Remove all holds and cursors of a relationship from the source."""
    tag = StepHold(id_).format()
    held = with_hold(pair.source, tag)
    if held:
        yield _release(pair, SOURCE, tag, held)
    yield from _remove_cursors(pair, pair.source.cursors_of(id_))


def _remove_cursors(pair: Pair, cursors: Sequence[Bookmark]) -> list[Step]:
    text = f"remove {len(cursors)} bookmarks of {pair.relation} from {pair.source.name}"
    commands = [zfs.destroy(bookmark.name) for bookmark in cursors]
    return [Step.of(text, commands, side=SOURCE)] if cursors else []


def forget(pair: Pair) -> Step:
    """Remove the record and the commit point of the relationship from the source."""
    settings = {
        ReplicaRecords.name(pair.pool): pair.records.without(pair.id).format(),
        CommitPoints.name(pair.pool): pair.points.without(pair.id).format(),
    }
    present = {name: value for name, value in settings.items() if name in pair.source.ours}
    return Step.of(
        f"remove the record of {pair.relation} from {pair.source.name}",
        _set_or_inherit(present, pair.source.name),
        before={pair.source.name: {"replica": pair.link.target_record}},
        after={pair.source.name: {"replica": None}},
        side=SOURCE,
    )


def mode_of(raw: bool) -> str:
    return RAW if raw else PLAIN
