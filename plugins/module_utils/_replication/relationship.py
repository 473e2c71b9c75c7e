# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zfs_replication: adopt an existing copy as a replica, or end a relationship on both sides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.endpoint import Endpoint
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, CerssError, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    Announcement,
    LastHold,
    ReplicaRecord,
    SourceMark,
    Spoilt,
    is_id,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan
from ansible_collections.cerss.zfs.plugins.module_utils._host import inventory
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend, session
from ansible_collections.cerss.zfs.plugins.module_utils._host.execute import execute
from ansible_collections.cerss.zfs.plugins.module_utils._replication import bookkeeping
from ansible_collections.cerss.zfs.plugins.module_utils._replication.info import ids, look
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import (
    SOURCE,
    TARGET,
    Pair,
    newest_common,
    with_hold,
)
from ansible_collections.cerss.zfs.plugins.module_utils._replication.survey import Reader
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import processes


@dataclass(frozen=True)
class Options:
    """The checked options."""

    id: str | None
    name: DatasetName | None
    replica: DatasetName | None
    source: Endpoint
    target: Endpoint
    present: bool
    force: bool

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Options:
        """From the module's parameters. Raises BadInput; nothing has been read at that point."""
        source, target = params.get("source") or {}, params.get("target") or {}
        id_, name, replica = params.get("id"), params.get("name"), target.get("dataset")
        if id_ and not is_id(id_):
            raise BadInput(
                f"id {id_!r} is not a relationship's id; give 16 hex digits as zfs_replication_info shows them"
            )
        if not id_ and not (name and replica):
            raise BadInput(
                "the relationship is not specified; set id, or name (the source) and target.dataset (the replica)"
            )
        if params["state"] == "present" and not (name and replica):
            raise BadInput("state=present needs name (the source) and target.dataset (the replica to adopt)")
        return cls(
            id=id_ or None,
            name=DatasetName.parse(name) if name else None,
            replica=DatasetName.parse(replica) if replica else None,
            source=Endpoint.from_params(source, "source"),
            target=Endpoint.from_params(target, "target"),
            present=params["state"] == "present",
            force=params["force"],
        )


def main(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The result of the module."""
    options = Options.from_params(params)
    with session(options.source, options.target) as (source, target):
        plan, relationship = _adopt(options, source, target) if options.present else _end(options, source, target)
        if not check_mode:
            execute({SOURCE: source, TARGET: target}, plan)
        return {**plan.to_result(), "id": relationship}


# --- adopt -----------------------------------------------------------------------------------------------------------


def _adopt(options: Options, source: Backend, target: Backend) -> tuple[Plan, str]:
    name, replica = str(options.name), str(options.replica)
    pair = Pair(
        Dataset(name), replica,
        source_address=options.source.address(name), target_address=options.target.address(replica),
        source_host=source.node, target_host=options.target.seen_from(options.source).label,
    )  # fmt: skip
    pair = Reader(source, target).observe(pair)
    return adopt(pair), pair.id


def adopt(pair: Pair) -> Plan:
    """The plan that makes an existing copy the source's replica.

    Raises Refused if they have no snapshot in common by GUID, or if it is the replica of another dataset.
    """
    plan = Plan()
    if pair.replica is None:
        raise Refused(f"{pair.target_address} does not exist; replicate to it with zfs_snapshot_replicate instead")
    mark = pair.mark
    if isinstance(SourceMark.of(pair.replica.ours), Spoilt):
        raise Refused(
            f"{pair.target_address} has a property {SourceMark.NAME} that cannot be read, so it may be the replica of "
            "another dataset; end that relationship first (zfs_replication with state=absent, name and target.dataset)"
        )
    if mark and not mark.released and mark.guid != pair.source.guid:
        raise Refused(
            f"{pair.target_address} is the replica of {mark.host}:{mark.dataset}; end that relationship "
            "first (zfs_replication with state=absent)"
        )
    if newest_common(pair.source, pair.replica) is None:
        raise Refused(
            f"{pair.target_address} and {pair.source_address} have no snapshot in common, so no increment "
            "is possible; replicate to a new dataset with zfs_snapshot_replicate instead"
        )
    if not mark or mark.released:
        raw = pair.replica.encrypted
        value = bookkeeping.source_mark(pair, raw).format()
        plan.add(
            f"adopt {pair.target_address} as the replica of {pair.source_address}",
            zfs.set_({SourceMark.NAME: value}, [pair.replica_name]),
            before={pair.replica_name: {"replica_of": None}},
            after={pair.replica_name: {"replica_of": pair.source_address}},
            side=TARGET,
        )
        pair.replica.ours[SourceMark.NAME] = value
    plan.steps += bookkeeping.settle(pair)
    return plan


# --- end -------------------------------------------------------------------------------------------------------------


def _end(options: Options, source: Backend, target: Backend) -> tuple[Plan, str | None]:
    """(plan, id) that ends the relationship on each side that can be reached; the id is None if there is none."""
    sides: dict[str, list[Dataset]] = {}
    unreached: list[str] = []
    for side, backend, name in ((SOURCE, source, options.name), (TARGET, target, options.replica)):
        if side == TARGET and options.replica is None and options.target.host is None and options.id is None:
            continue
        try:
            found, _missing = inventory.read(backend, [str(name)] if name else [], 1)
            look(backend, found)
            sides[side] = list(found.values())
        except CerssError as error:
            if not options.force:
                error.msg += "; force=true ends the relationship on the side that can be reached"
                raise
            unreached.append(f"{backend.endpoint.label or 'this machine'} ({error.msg})")
    replica = str(options.replica) if options.replica else None
    plan, relationship = end(options.id, sides, replica, options.target.seen_from(options.source))
    if options.source.host == options.target.host:  # on one machine an id finds the same datasets twice
        plan.steps = list({str(step.commands): step for step in reversed(plan.steps)}.values())[::-1]
    receiving = sides.get(TARGET) and processes.receiving(target.run(zfs.receivers()).stdout.splitlines())[0]
    for dataset in sides.get(TARGET, []):
        ours = relationship is not None and _is_replica_of(dataset, relationship, replica)
        if ours and receiving and processes.receiver_of(receiving, dataset.name) is not None:
            raise Refused(f"{options.target.address(dataset.name)} is currently receiving; stop that first")
    if unreached:
        plan.warnings.append(
            f"could not reach {', '.join(unreached)}; holds, bookmarks and properties of the relationship remain there"
        )
    return plan, relationship


def end(
    requested: str | None, sides: dict[str, list[Dataset]], replica: str | None, target: Endpoint
) -> tuple[Plan, str | None]:
    """(plan, id) that removes all marks of one relationship from the datasets of both sides; snapshots stay.

    ``requested`` is the id that the user gave. Without it the id is the one in the replica's mark or, if the source
    does not know that, the one that the source has recorded for ``replica`` on ``target``; None if there is neither.
    """
    sources, replicas = sides.get(SOURCE, []), sides.get(TARGET, [])
    known = requested
    if known is None:
        known = next((dataset.source_mark.id for dataset in replicas if dataset.source_mark), None)
        address = target.address(replica)
        recorded = [id_ for dataset in sources for id_, record in dataset.records().items() if record.target == address]
        elsewhere = known is not None and recorded and not any(known in ids(dataset) for dataset in sources)
        if known and sources and not any(known in ids(dataset) for dataset in sources):
            for dataset in replicas:
                _check_is_of(dataset, sources[0], address)
        if known is None or elsewhere:
            known = recorded[0] if recorded else None
    plan = Plan()
    if known is None:
        return plan, None
    for dataset in replicas:
        _end_replica(plan, dataset, known, target, replica)
    for dataset in sources:
        _end_source(plan, dataset, known)
    return plan, known


def _check_is_of(replica: Dataset, source: Dataset, address: str) -> None:
    """Raise Refused if the replica's mark names another source."""
    mark = replica.source_mark
    if mark and mark.guid != source.guid:
        raise Refused(
            f"{address} is the replica of {mark.host}:{mark.dataset}, not of {source.name}; set name to that "
            f"dataset, or set id={mark.id}"
        )


def _is_replica_of(dataset: Dataset, id_: str, named: str | None) -> bool:
    """Whether the marks of the relationship on a dataset are to go.

    A mark that cannot be read counts if the user named the dataset, or if the relationship's hold is there.
    """
    mark = SourceMark.of(dataset.ours)
    if isinstance(mark, Spoilt):
        return dataset.name == named or bool(with_hold(dataset, LastHold(id_).format()))
    return mark is not None and mark.id == id_


def _end_replica(plan: Plan, dataset: Dataset, id_: str, target: Endpoint, named: str | None) -> None:
    address = target.address(dataset.name)
    _step, last_hold = bookkeeping.tags(id_)
    held = [snap.name for snap in with_hold(dataset, last_hold)]
    ours = _is_replica_of(dataset, id_, named)
    if ours and dataset.token:
        plan.add(
            f"abort the partial receive of {dataset.token.toname} in {address}"
            + ("" if dataset.snapshots else f", which destroys {address}"),
            zfs.receive_abort(dataset.name), side=TARGET,
        )  # fmt: skip
        if not dataset.snapshots:
            return
    if held:
        freed = bookkeeping.freed_text(bookkeeping.freed(with_hold(dataset, last_hold)))
        plan.add(f"release {last_hold} from {', '.join(held)}{freed}", zfs.release(last_hold, held), side=TARGET)
    if ours:
        for name in (Announcement.NAME, SourceMark.NAME):
            if name in dataset.ours:
                plan.add(
                    f"remove {name} from {address}", zfs.inherit(name, [dataset.name]),
                    before={dataset.name: {name: "set"}}, after={dataset.name: {name: None}}, side=TARGET,
                )  # fmt: skip


def _end_source(plan: Plan, dataset: Dataset, id_: str) -> None:
    for tag in bookkeeping.tags(id_):
        held = with_hold(dataset, tag)
        if held:
            freed = bookkeeping.freed_text(bookkeeping.freed(held))
            names = [snap.name for snap in held]
            plan.add(f"release {tag} from {', '.join(names)}{freed}", zfs.release(tag, names), side=SOURCE)
    for bookmark in dataset.bookmarks:
        if bookmark.relationship == id_:
            plan.add(
                f"remove the bookmark {bookmark.name}", zfs.destroy(bookmark.name),
                before={bookmark.name: {"state": "present"}}, after={bookmark.name: {"state": "absent"}}, side=SOURCE,
            )  # fmt: skip
    name, record = ReplicaRecord.name(id_), dataset.records().get(id_)
    if record and record.aside:
        plan.warnings.append(
            f"a reseed was not finished: the datasets that were below the replica stay below {record.aside}"
        )
    if name in dataset.ours:
        plan.add(
            f"remove {name} from {dataset.name}", zfs.inherit(name, [dataset.name]),
            before={dataset.name: {name: "set"}}, after={dataset.name: {name: None}}, side=SOURCE,
        )  # fmt: skip
