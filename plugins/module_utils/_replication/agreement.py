# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether source and replica agree that they belong together. What one side says alone is a claim.

The source's record and the replica's mark must have the same id and mode, and each must name the other's dataset GUID.
Host and path in them are for people.
"""

from __future__ import annotations

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    PLAIN,
    RAW,
    ReplicaRecord,
    ReplicaRecords,
    SourceMark,
    Spoilt,
)
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import Pair, PairOptions, only_holds

_MEND = "cerss.zfs.zfs_replication (state=present)"


def agreed_mode(pair: Pair, options: PairOptions) -> str:
    """The mode of the relationship, RAW or PLAIN. Raises Refused if the sides disagree, or ``raw`` differs.

    The mode is the one that the source has recorded. So no replica can make it send encrypted data in the clear.
    """
    _check_readable(pair)
    if pair.replica is not None and not pair.made_anew:
        _check_replica(pair)
    mode = recorded_mode(pair, options.raw)
    if pair.link.unmarked and pair.is_ours and pair.mark and pair.mark.mode != mode:
        raise _other_mode(pair, pair.mark.mode)
    if options.raw == "always" and mode == PLAIN and pair.source.encrypted:
        raise _other_mode(pair, mode)
    if options.raw == "never" and mode == RAW:
        raise _other_mode(pair, mode)
    return mode


def recorded_mode(pair: Pair, raw: str) -> str:
    """The mode in the source's record; without one, what ``raw`` means for a new replica of this source."""
    if pair.record and not pair.made_anew:
        return pair.record.mode
    return RAW if pair.source.encrypted and raw != "never" else PLAIN


def begun(pair: Pair) -> bool:
    """True if the source has recorded that a replica is being started there, and has not seen it whole yet."""
    record = pair.record
    return record is not None and record.guid == ReplicaRecord.UNKNOWN and pair.is_place_of(record)


def _check_readable(pair: Pair) -> None:
    if isinstance(ReplicaRecords.all_of(pair.source.ours).get(pair.pool), Spoilt):
        name = ReplicaRecords.name(pair.pool)
        raise Refused(
            f"{pair.source_address} has a property {name} that cannot be read, so it is not known which replicas it "
            f"has; {_MEND} writes it anew"
        )
    if pair.replica is not None and isinstance(SourceMark.of(pair.replica.ours), Spoilt):
        raise Refused(
            f"{pair.target_address} has a property {SourceMark.NAME} that cannot be read, so nothing is received into "
            f"it; {_MEND} writes it anew"
        )


def _check_replica(pair: Pair) -> None:
    mark, record = pair.mark, pair.record
    where, source = pair.target_address, pair.source_address
    if mark is None:
        _check_unmarked(pair)
        return
    if mark.released:
        raise Refused(
            f"{where} was released by a failover and is no longer a replica; choose another target, or adopt it again "
            f"with {_MEND}"
        )
    if mark.put_aside:
        raise Refused(f"{where} was put aside by a reseed; destroy or rename it, or choose another target")
    if mark.guid not in (pair.source.guid, record.formerly if record else None):
        raise Refused(
            f"{where} is the replica of {mark.source} (GUID {mark.guid}), not of {source} (GUID "
            f"{pair.source.guid}); choose another target"
        )
    if record is None and pair.link.unmarked and mark.id == pair.new_id:
        return  # a run has started it while the source took no record, and nobody else could have told it this id
    if record is None:
        raise Refused(
            f"{where} is marked as the replica of {source}, but {source} has no record of it; {_MEND} makes one if "
            "they have a snapshot in common"
        )
    for what, here, there in (
        ("id", record.id, mark.id),
        ("mode", record.mode, mark.mode),
        ("replica's GUID", record.guid, pair.replica.guid if pair.replica else None),
    ):
        if here != there and not (what == "replica's GUID" and begun(pair)):
            raise Refused(
                f"{source} and {where} disagree on their relationship: the {what} is {here} in the source's record and "
                f"{there} on the replica; find out why, then {_MEND} makes them agree"
            )


def _check_unmarked(pair: Pair) -> None:
    replica, record = pair.replica, pair.record
    token = replica.token if replica else None
    if pair.is_first_receive and token and pair.source.by_guid(token.toguid):
        return  # this receive was started by hand; the GUID in its token proves that it is of this source
    if record is not None and replica is not None and record.guid == replica.guid:
        raise Refused(
            f"{pair.target_address} has lost the property {SourceMark.NAME}, so nothing is received into it; {_MEND} "
            "sets it again if they have a snapshot in common"
        )
    if begun(pair) and (pair.is_first_receive or pair.new_one):
        return
    if only_holds(replica):
        return  # it is never received into, but it can be put aside
    # A rename would take the replicas below it along.
    rename = "" if replica and replica.children else " rename it,"
    raise Refused(
        f"{pair.target_address} exists and is not a replica made by this collection, so nothing is received into it; "
        f"choose another target,{rename} or adopt it with {_MEND}"
    )


def _other_mode(pair: Pair, mode: str) -> Refused:
    return Refused(
        f"{pair.target_address} was started with {mode} streams, and ZFS cannot mix raw and plain streams on one "
        "replica; leave raw at auto, or replicate to another dataset"
    )
