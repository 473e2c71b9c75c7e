# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zfs_replication: adopt an existing copy as a replica or mend its marks, pause, release or end a relationship."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core import units
from ansible_collections.cerss.zfs.plugins.module_utils._core.endpoint import Endpoint
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, CerssError, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    PLAIN,
    RAW,
    Announcement,
    CommitPoints,
    LastHold,
    ReplicaRecord,
    ReplicaRecords,
    SourceMark,
    Spoilt,
    StepHold,
    is_id,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName, listing, shortened
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan, Step
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory, runfiles
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import is_receiving, read_receiving
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend, session
from ansible_collections.cerss.zfs.plugins.module_utils._host.execute import execute
from ansible_collections.cerss.zfs.plugins.module_utils._host.values import read_properties
from ansible_collections.cerss.zfs.plugins.module_utils._replication import bookkeeping, detail, receivers
from ansible_collections.cerss.zfs.plugins.module_utils._replication.health import Moment, relationships
from ansible_collections.cerss.zfs.plugins.module_utils._replication.info import look, look_everywhere, running
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import (
    SOURCE,
    TARGET,
    Link,
    Pair,
    newest_common,
    with_hold,
)
from ansible_collections.cerss.zfs.plugins.module_utils._replication.survey import look_at
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.processes import Receiver

MOST_ORIGINS = 100  # origins of origins that are looked at; another host may tell of ever more


@dataclass(frozen=True)
class Options:
    """The checked options."""

    id: str | None
    name: DatasetName | None
    replica: DatasetName | None
    source: Endpoint
    target: Endpoint
    state: str
    force: bool
    paused: bool | None
    on_active: str = "fail"

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Options:
        """From the module's parameters. Raises BadInput; nothing has been read at that point."""
        source, target = params.get("source") or {}, params.get("target") or {}
        id_, name, replica = params.get("id"), params.get("name"), target.get("dataset")
        if id_ and not is_id(id_):
            raise BadInput(
                f"id {id_!r} is not a relationship's id; give 16 hex digits as zfs_replication_info shows them"
            )
        if params.get("paused") is not None and params["state"] != "present":
            raise BadInput(f"paused cannot be combined with state={params['state']}; leave one of them out")
        on_active = params.get("on_active") or "fail"
        if on_active != "fail" and params["state"] != "released":
            raise BadInput(f"on_active cannot be combined with state={params['state']}; leave it out")
        _check_given(params, id_, name, replica)
        return cls(
            id=id_ or None,
            name=DatasetName.parse(name) if name else None,
            replica=DatasetName.parse(replica) if replica else None,
            source=Endpoint.from_params(source, "source", params.get("login")),
            target=Endpoint.from_params(target, "target", params.get("login")),
            state=params["state"],
            force=params["force"],
            paused=params.get("paused"),
            on_active=on_active,
        )


def _check_given(params: Mapping[str, Any], id_: str | None, name: str | None, replica: str | None) -> None:
    """Raise BadInput that names the options which are missing to tell the relationship."""
    pauses, state = params.get("paused") is not None, params["state"]
    missing = [] if name or state == "released" or (state == "absent" and id_) else ["name (the source)"]
    by_id = id_ and (pauses or state != "present")
    missing += [] if replica or by_id else [f"target.dataset (the replica){' or id' * pauses}"]
    if missing:
        what, instead = "paused" if pauses else f"state={state}", ", or id instead" * (state != "present")
        raise BadInput(f"{what} needs {listing(missing)}; set what is missing{instead}")


@dataclass(frozen=True)
class Reading:
    """The relationship as it is, and the plan that makes it as requested. ``id``: None if there is none.

    ``replication``: as zfs_replication_info returns it on the source, or on the replica if only that was read. None if
    there is none. ``left_over``: what a relationship that ends leaves behind. ``unreached``: sides that do not answer.
    """

    plan: Plan
    id: str | None = None
    replication: dict[str, Any] | None = None
    left_over: tuple[dict[str, str | None], ...] = ()
    unreached: tuple[str, ...] = ()


def main(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The result of the module."""
    options = Options.from_params(params)
    with session(options.source, options.target) as ends:
        found = _read(options, *ends)
        plan = found.plan
        if plan.steps and found.id and not check_mode:
            with _locked(found.id):
                again = _read(options, *ends)  # another run may have ended since
                if again.id != found.id:
                    raise Refused(f"the relationship {found.id} was changed while it was read; run the task again")
                plan = _stopped(options, again.plan, *ends)
                execute(dict(zip((SOURCE, TARGET), ends)), plan)
                found = _read_after(options, again, *ends)
        result = {**plan.to_result(), "id": found.id, "replication": found.replication}
        return {**result, **({"left_over": list(found.left_over)} if options.state == "absent" else {})}


@contextlib.contextmanager
def _locked(id_: str) -> Iterator[None]:
    """Hold the relationship's lock on this host. Raises Refused if another process has it."""
    with runfiles.lock(id_) as got:
        if not got:
            pid = next((f" (process {run['pid']})" for run in runfiles.running() if run.get("id") == id_), "")
            raise Refused(
                f"another run on this host is replicating or changing the relationship {id_}{pid}; wait until it has "
                "finished"
            )
        yield


def _read(options: Options, source: Backend, target: Backend, skipped: Sequence[str] = ()) -> Reading:
    """``skipped``: sides that are not asked again, since they do not answer."""
    if options.paused is not None:
        return _pause(options, source)
    if options.state == "released":
        return _release(options, target)
    return _adopt(options, source, target) if options.state == "present" else _end(options, source, target, skipped)


def _read_after(options: Options, former: Reading, source: Backend, target: Backend) -> Reading:
    """What has become of the relationship. Raises CerssError if a relationship that stays is not as requested."""
    try:
        now = _read(replace(options, id=former.id), source, target, former.unreached)
        if options.state != "absent" and now.plan.steps:
            raise CerssError(
                f"the relationship {former.id} was changed, but a second reading finds that it is not as requested: "
                f"{'; '.join(shortened(now.plan.actions))} is left to do; find out what else changes it, and run the "
                "task again"
            )
    except CerssError as error:
        error.details.update(changed=True, actions=former.plan.actions)
        raise
    left = [
        _left_over(source if step.side == SOURCE else target, step.commands[0][-1], f"left to do: {step.text}")
        for step in now.plan.steps
    ]
    return replace(now, id=former.id, left_over=(*former.left_over, *left))


def _left_over(backend: Backend, name: str, reason: str) -> dict[str, str | None]:
    """``name``: of a dataset, snapshot or bookmark; "" if it is not known."""
    return {"host": backend.endpoint.host, "dataset": re.split("[@#]", name)[0] or None, "reason": reason}


def _item(id_: str | None, *sides: Iterable[Dataset]) -> dict[str, Any] | None:
    """The relationship as zfs_replication_info returns it of its source or, if that was not read, of its replica."""
    moment = Moment(time.time(), running())
    told = [each for side in sides for each in relationships({one.name: one for one in side}, moment)]
    own = [each for each in told if each["id"] == id_]
    return next((each for each in own if each["role"] == SOURCE), own[0] if own else None)


# --- pause -----------------------------------------------------------------------------------------------------------


def _pause(options: Options, source: Backend) -> Reading:
    """The target is not asked: it may be the reason for the pause."""
    name = str(options.name)
    found, missing = inventory.read(source, [name], 1)
    if missing:
        raise Refused(f"{options.source.address(name)} does not exist; check the name")
    look(source, found)
    address = options.target.seen_from(options.source).address(options.replica) if options.replica else None
    plan, id_ = pause(found.get(name, Dataset(name)), options.id, address, bool(options.paused))
    return Reading(plan, id_, _item(id_, found.values()))


def pause(dataset: Dataset, id_: str | None, address: str | None, paused: bool) -> tuple[Plan, str]:
    """(plan, id) that pauses the relationship with the given id or replica, or ends its pause."""
    plan = Plan()
    for pool, records in ReplicaRecords.all_of(dataset.ours).items():
        if isinstance(records, Spoilt):
            continue
        for record in records.entries:
            if record.id == id_ or (id_ is None and record.target == address):
                if record.paused != paused:
                    changed = records.with_entry(replace(record, paused=paused)).format()
                    plan.add(
                        f"{'pause' if paused else 'resume'} the replication of {dataset.name} to {record.target}",
                        zfs.set_({ReplicaRecords.name(pool): changed}, [dataset.name]),
                        before={dataset.name: {"paused": not paused}}, after={dataset.name: {"paused": paused}},
                        side=SOURCE,
                    )  # fmt: skip
                return plan, record.id
    raise Refused(
        f"{dataset.name} has no record of the relationship {id_ or f'with {address}'}, so there is nothing to pause; "
        "zfs_replication_info shows which ones it has"
    )


# --- adopt -----------------------------------------------------------------------------------------------------------


def _adopt(options: Options, source: Backend, target: Backend) -> Reading:
    name, replica = str(options.name), str(options.replica)
    link = Link(
        name, replica, None, options.source.address(name), options.target.address(replica),
        source.node, options.target.seen_from(options.source).label,
    )  # fmt: skip
    (pair,) = look_at(source, target, [link])
    if pair is None:
        raise Refused(f"{link.source_address} does not exist; check the name")
    if pair.trouble:
        raise pair.trouble
    if pair.replica is None:
        hint = "" if options.target.host else " on this host; set target.host if it is on another one, or"
        raise Refused(
            f"{link.target_address} does not exist{hint or ';'} replicate to it with zfs_snapshot_replicate instead"
        )
    (pair,) = detail.read(source, target, [pair], may_reseed=False)
    # A record of another pool may have the id that the replica's mark claims.
    own, _missing = inventory.read(source, [name], 1)
    look(source, own)
    known = {id_ for dataset in own.values() for id_ in dataset.records()} - {pair.record.id if pair.record else ""}
    mode = _mode(source, target, pair)
    if not options.force:
        _check_mode(pair, mode)
    plan, id_ = adopt(pair, mode, known, gone=options.force and _is_gone(source, pair))
    return Reading(plan, id_, _item(id_, own.values()))


def _is_gone(source: Backend, pair: Pair) -> bool:
    """True if the dataset that the replica's mark names is not on the source's host."""
    found, _missing = inventory.read(source, [], None, "filesystem,volume")
    return pair.mark is not None and all(dataset.guid != pair.mark.guid for dataset in found.values())


def _mode(source: Backend, target: Backend, pair: Pair) -> str:
    """How the newest common snapshot was sent: a raw stream keeps the hidden ``ivsetguid``, a plain one does not."""
    common = newest_common(pair.source, pair.replica) if pair.replica and pair.source.encrypted else None
    if common is None:
        return PLAIN
    there, here = common
    asked = [(source, here.name), (target, there.name)]
    guids = [read_properties(backend, [name], ["ivsetguid"]).values.get(name, {}) for backend, name in asked]
    here_guid, there_guid = (values["ivsetguid"].text if "ivsetguid" in values else "-" for values in guids)
    return RAW if here_guid == there_guid and here_guid not in ("-", "0") else PLAIN


def _check_mode(pair: Pair, mode: str) -> None:
    """What the replica's host prints decides about plain streams, so an encrypted source needs the user's word too."""
    if mode == PLAIN and pair.source.encrypted and not (pair.record and pair.record.mode == PLAIN):
        raise Refused(
            f"the newest common snapshot of {pair.source_address} and {pair.target_address} was not sent raw, so "
            f"increments would leave {pair.source_address} decrypted; set force=true if that is what you want"
        )


def adopt(pair: Pair, mode: str, other_ids: set[str], gone: bool = False) -> tuple[Plan, str]:
    """(plan, id) that makes both sides agree that an existing copy is the source's replica.

    ``mode``: of the common snapshot. ``other_ids``: of the source's other relationships. ``gone``: the mark may name
    another dataset, which does not exist any more. Raises Refused if they have no snapshot in common by GUID, or if it
    is the replica of another dataset.
    """
    _check_adoptable(pair, gone)
    own = _own_record(pair)
    others = other_ids | {entry.id for entry in pair.records.entries}
    claimed = pair.mark.id if pair.mark and pair.mark.id not in others else None
    id_ = own.id if own else claimed or pair.new_id
    record = ReplicaRecord(
        id_, pair.link.target_record, str(pair.replica.guid if pair.replica else 0), mode,
        (own.since if own else None) or units.iso_time(time.time()), bool(own and own.paused),
        filters=own.filters if own else (),
    )  # fmt: skip
    plan = Plan()
    former = replace(own, target=record.target) if own else None
    settings = {ReplicaRecords.name(pair.pool): bookkeeping.recorded(pair, record)}
    if former != record:
        text = f"record {pair.relation} on {pair.source.name}"
        plan.add(text, zfs.set_(settings, [pair.source.name]), side=SOURCE)
        pair = bookkeeping.with_settings(pair, settings)
    mark = bookkeeping.source_mark(pair, mode)
    if pair.mark is None or replace(pair.mark, host=mark.host, dataset=mark.dataset) != mark:
        plan.add(
            f"adopt {pair.target_address} as the replica of {pair.source_address}",
            zfs.set_({SourceMark.NAME: mark.format()}, [pair.replica_name]),
            before={pair.replica_name: {"replica_of": None}},
            after={pair.replica_name: {"replica_of": pair.source_address}},
            side=TARGET,
        )
        ours = {**(pair.replica.ours if pair.replica else {}), SourceMark.NAME: mark.format()}
        pair = replace(pair, replica=replace(pair.replica, ours=ours) if pair.replica else None)
    plan.steps += bookkeeping.finish(pair).steps
    return plan, id_


def _own_record(pair: Pair) -> ReplicaRecord | None:
    """The record that names this replica. The one with the id that its mark claims may be another replica's."""
    record = pair.record
    is_own = record and pair.replica and (record.guid == pair.replica.guid or pair.is_place_of(record))
    return record if is_own else None


def _check_adoptable(pair: Pair, gone: bool) -> None:
    mark = pair.mark
    if mark and mark.live and mark.guid != pair.source.guid and not gone:
        raise Refused(
            f"{pair.target_address} is the replica of {mark.source} (GUID {mark.guid}), not of "
            f"{pair.source_address} (GUID {pair.source.guid}); end that relationship first (zfs_replication with "
            "state=absent), or set force=true if that dataset does not exist any more"
        )
    if pair.replica is None or newest_common(pair.source, pair.replica) is None:
        raise Refused(
            f"{pair.target_address} and {pair.source_address} have no snapshot in common, so no increment "
            "is possible; replicate to a new dataset with zfs_snapshot_replicate instead"
        )


# --- release ---------------------------------------------------------------------------------------------------------


def _release(options: Options, target: Backend) -> Reading:
    """The source is not asked: its loss may be the reason."""
    found, missing = inventory.read(target, [str(options.replica)] if options.replica else [], 1)
    if missing:
        raise Refused(f"{target.endpoint.address(missing[0])} does not exist; check the name")
    look(target, found)
    replica, mark = _marked(found.values(), options.id)
    if replica is None or mark is None:
        what = f"{target.endpoint.address(options.replica)} is not" if options.replica else "no dataset there is"
        which = f"the replica of the relationship {options.id}" if options.id else "a replica"
        raise Refused(f"{what} marked as {which}; zfs_replication_info shows which ones there are")
    receiver, plan = _receiver(options, target, replica), release(replica, mark, target.endpoint)
    if receiver and plan.changed:
        text, name = f"stop the receive into {target.endpoint.address(replica.name)}", replica.name
        stop = Step.of(text, (), {name: {"receiving": True}}, {name: {"receiving": False}}, TARGET)
        plan.steps.insert(0, stop)
    return Reading(plan, mark.id, _item(mark.id, [replica]))


def _receiver(options: Options, target: Backend, replica: Dataset) -> Receiver | None:
    """The receive into the replica that is to be stopped. Raises Refused if one runs and is not to be stopped."""
    receiving = read_receiving(target)
    found = receiving.into(replica.name) if options.on_active == "stop" else None
    if found is None and is_receiving(target, receiving, [replica.name]):
        way_out = "set on_active=stop to stop that first"
        if options.on_active == "stop":
            way_out = f"stop that first; the process list of {target.node} does not show who it is"
        raise Refused(f"{target.endpoint.address(replica.name)} is currently receiving; {way_out}")
    return found


def _stopped(options: Options, plan: Plan, source: Backend, target: Backend) -> Plan:
    """The plan after its receive was stopped, if it has one. Raises Refused if that does not end."""
    stop = next((step for step in plan.steps if not step.commands), None)
    if stop is None:
        return plan
    (name,) = stop.names

    def receiver() -> Receiver | None:
        return read_receiving(target).into(name)

    found = receiver()
    if found and not receivers.end(target, found.pid, receiver):
        raise Refused(
            f"{target.endpoint.address(name)} is still receiving {receivers.ENDING:g} s after its process was told to "
            f"end; end it on {target.node} with: kill -9 {found.pid}"
        )
    now = _read(options, source, target).plan
    return Plan([stop, *now.steps], now.warnings)


def _marked(datasets: Iterable[Dataset], id_: str | None) -> tuple[Dataset | None, SourceMark | None]:
    """The replica with the mark of the relationship; without an id of any one. A reseed leaves others with its id."""
    found = [(each, each.source_mark) for each in datasets]
    own = [(each, mark) for each, mark in found if mark and id_ in (None, mark.id)]
    return min(own, key=lambda pair: pair[1].put_aside or pair[1].beside, default=(None, None))


def release(replica: Dataset, mark: SourceMark, target: Endpoint) -> Plan:
    """The plan after which nothing more is received. The last common snapshot stays held.

    Raises Refused for a dataset that cannot be taken over.
    """
    plan, address = Plan(), target.address(replica.name)
    if mark.put_aside or mark.beside:
        raise Refused(f"{address} is what a reseed has replaced or not finished; release the replica in its place")
    if not replica.snapshots:
        raise Refused(f"{address} has not received a whole snapshot yet; set state=absent to give it up")
    if mark.released:
        return plan
    if replica.has_partial_receive:
        text = f"abort the partial receive in {address}"
        plan.add(text, zfs.receive_abort(replica.name), side=TARGET)
    if Announcement.NAME in replica.ours:
        text = f"remove {Announcement.NAME} from {address}"
        plan.add(text, zfs.inherit(Announcement.NAME, [replica.name]), side=TARGET)
    plan.add(
        f"release {address} from {mark.source}, so that nothing more is received into it",
        zfs.set_({SourceMark.NAME: replace(mark, released=True).format()}, [replica.name]),
        before={replica.name: {"released": False}}, after={replica.name: {"released": True}}, side=TARGET,
    )  # fmt: skip
    return plan


# --- end -------------------------------------------------------------------------------------------------------------


def _end(options: Options, source: Backend, target: Backend, skipped: Sequence[str]) -> Reading:
    """The relationship ends on each side that can be reached."""
    backends = {SOURCE: source, TARGET: target}
    sides, silent = _read_sides(options, {side: each for side, each in backends.items() if side not in skipped})
    replica = str(options.replica) if options.replica else None
    plan, id_ = end(options.id, sides, replica, options.target.seen_from(options.source))
    if options.source.host == options.target.host:  # on one machine an id finds the same datasets twice
        plan.steps = list({str(step.commands): step for step in reversed(plan.steps)}.values())[::-1]
    _check_idle(options, target, [each for each in sides.get(TARGET, []) if id_ and _is_replica_of(each, id_, replica)])
    places = {side: backends[side].endpoint.label or "this machine" for side in silent}
    if silent:
        plan.warnings.append(
            f"could not reach {', '.join(f'{places[side]} ({why})' for side, why in silent.items())}; holds, bookmarks "
            "and properties of the relationship remain there"
        )
    left = tuple(_left_over(backends[side], "", f"could not be reached: {why}") for side, why in silent.items())
    return Reading(plan, id_, _item(id_, *sides.values()), left, (*skipped, *silent))


def _read_sides(options: Options, backends: Mapping[str, Backend]) -> tuple[dict[str, list[Dataset]], dict[str, str]]:
    """(datasets by side, why a side could not be reached). Without ``force`` that is an error."""
    sides, silent = dict[str, list[Dataset]](), dict[str, str]()
    for side, backend in backends.items():
        try:
            sides[side] = _read_side(backend, options.name if side == SOURCE else options.replica)
        except CerssError as error:  # noqa: PERF203
            if not options.force:
                error.msg += "; force=true ends the relationship on the side that can be reached"
                raise
            silent[side] = error.msg
    return sides, silent


def _check_idle(options: Options, target: Backend, replicas: Sequence[Dataset]) -> None:
    """Raise Refused if one of the replicas is receiving."""
    receiving = read_receiving(target) if replicas else None
    for dataset in replicas:
        if receiving and is_receiving(target, receiving, [dataset.name]):
            raise Refused(f"{options.target.address(dataset.name)} is currently receiving; stop that first")


def _read_side(backend: Backend, name: DatasetName | None) -> list[Dataset]:
    """The named dataset and those of its origin, of that one's origin, and so on; without a name all datasets.

    When a clone is promoted, it takes the marks on the common snapshots over, and its former origin becomes its clone.
    """
    found, _missing = inventory.read(backend, [str(name)] if name else [], 1)
    origins = _origins(found.values()) if name else set()
    for _generation in range(MOST_ORIGINS):
        if not origins:
            break
        more, _missing = inventory.read(backend, sorted(origins), 1)
        found = {**more, **found}
        origins = _origins(more.values()) - found.keys()
    look_everywhere(backend, found)
    named = [found.pop(str(name))] if str(name) in found else []
    return [*named, *found.values()]


def _origins(datasets: Iterable[Dataset]) -> set[str]:
    """The datasets that have the origins of others."""
    return {dataset.origin.partition("@")[0] for dataset in datasets if dataset.origin}


def end(
    requested: str | None, sides: dict[str, list[Dataset]], replica: str | None, target: Endpoint
) -> tuple[Plan, str | None]:
    """(plan, id) that removes all marks of one relationship from the datasets of both sides; snapshots stay.

    ``requested`` is the id that the user gave. Without it the id is the one in the replica's mark or, if the source
    does not know that, the one that the source has recorded for ``replica`` on ``target``; None if there is neither.
    The first dataset of each side is the named one.
    """
    sources, replicas = sides.get(SOURCE, []), sides.get(TARGET, [])
    known = requested or _find(sources, replicas, target.address(replica))
    plan = Plan()
    if known is None:
        return plan, None
    family = _family([each for each in replicas if _is_replica_of(each, known, replica)], replicas)
    for dataset in replicas:
        if dataset.name in family and SourceMark.NAME not in dataset.ours:
            _release_last(plan, dataset)
        _end_replica(plan, dataset, known, target, replica)
    for dataset in sources:
        _end_source(plan, dataset, known)
    return plan, known


def _family(replicas: list[Dataset], known: list[Dataset]) -> set[str]:
    """The datasets of the replicas' origins, of the origins of these, and so on, as far as they are known."""
    by_name = {dataset.name: dataset for dataset in known}
    family: set[str] = set()
    origins = _origins(replicas)
    while origins:
        family |= origins
        origins = _origins(by_name[name] for name in origins if name in by_name) - family
    return family


def _find(sources: list[Dataset], replicas: list[Dataset], address: str) -> str | None:
    """By the source's own record, which names the replica's GUID or place. Then by the replica's mark, a mere claim."""
    guid = replicas[0].guid if replicas else None
    records = [record for dataset in sources for record in dataset.records().values()]
    own = [*(each for each in records if each.guid == guid), *(each for each in records if each.target == address)]
    if own:
        return own[0].id
    claimed = next((dataset.source_mark.id for dataset in replicas if dataset.source_mark), None)
    if claimed and sources:
        _check_is_of(replicas[0], sources[0], address)
    return claimed if all(each.id != claimed for each in records) else None


def _check_is_of(replica: Dataset, source: Dataset, address: str) -> None:
    """Raise Refused if the replica's mark names another source."""
    mark = replica.source_mark
    if mark and mark.guid != source.guid:
        raise Refused(
            f"{address} is the replica of {mark.source}, not of {source.name}; set name to that "
            f"dataset, or set id={mark.id}"
        )


def _is_replica_of(dataset: Dataset, id_: str, named: str | None) -> bool:
    """Whether the marks on a dataset are the relationship's. One that cannot be read counts if the user named it."""
    mark = SourceMark.of(dataset.ours)
    if isinstance(mark, Spoilt):
        return dataset.name == named
    return mark is not None and mark.id == id_


def _end_replica(plan: Plan, dataset: Dataset, id_: str, target: Endpoint, named: str | None) -> None:
    if not _is_replica_of(dataset, id_, named):
        return
    address = target.address(dataset.name)
    if dataset.token:
        plan.add(
            f"abort the partial receive of {dataset.token.toname} in {address}"
            + ("" if dataset.snapshots else f", which destroys {address}"),
            zfs.receive_abort(dataset.name), side=TARGET,
        )  # fmt: skip
        if not dataset.snapshots:
            return
    _release_last(plan, dataset)
    for name in (Announcement.NAME, SourceMark.NAME):
        if name in dataset.ours:
            plan.add(
                f"remove {name} from {address}", zfs.inherit(name, [dataset.name]),
                before={dataset.name: {name: "set"}}, after={dataset.name: {name: None}}, side=TARGET,
            )  # fmt: skip


def _release_last(plan: Plan, dataset: Dataset) -> None:
    held = with_hold(dataset, LastHold.TAG)
    if held:
        text = f"release {LastHold.TAG} from {', '.join(snap.name for snap in held)}"
        text += bookkeeping.freed_text(bookkeeping.freed(held))
        plan.add(text, *zfs.split(partial(zfs.release, LastHold.TAG), [snap.name for snap in held]), side=TARGET)


def _end_source(plan: Plan, dataset: Dataset, id_: str) -> None:
    tag = StepHold(id_).format()
    held = with_hold(dataset, tag)
    if held:
        names = [snap.name for snap in held]
        freed = bookkeeping.freed_text(bookkeeping.freed(held))
        plan.add(
            f"release {tag} from {', '.join(names)}{freed}", *zfs.split(partial(zfs.release, tag), names), side=SOURCE
        )
    for bookmark in dataset.bookmarks:
        if bookmark.relationship == id_:
            plan.add(
                f"remove the bookmark {bookmark.name}", zfs.destroy(bookmark.name),
                before={bookmark.name: {"state": "present"}}, after={bookmark.name: {"state": "absent"}}, side=SOURCE,
            )  # fmt: skip
    for kind in (CommitPoints, ReplicaRecords):
        for pool, found in kind.all_of(dataset.ours).items():
            if not isinstance(found, Spoilt) and found.by_id(id_):
                _remove(plan, dataset, kind.name(pool), found.without(id_).format() if len(found.entries) > 1 else "")


def _remove(plan: Plan, dataset: Dataset, name: str, rest: str) -> None:
    """Remove a relationship from a property, of which ``rest`` stays."""
    plan.add(
        f"remove {name} from {dataset.name}" if not rest else f"remove the relationship from {name} of {dataset.name}",
        zfs.set_({name: rest}, [dataset.name]) if rest else zfs.inherit(name, [dataset.name]),
        before={dataset.name: {name: "set"}}, after={dataset.name: {name: rest or None}}, side=SOURCE,
    )  # fmt: skip
