# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What encryption a new replica meets at its place, and what follows from it.

A raw stream brings its own key. Any other new dataset inherits the encryption of the one above it, whose key must be
loaded for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import PLAIN, RAW, SourceMark
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Value
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName
from ansible_collections.cerss.zfs.plugins.module_utils._replication.agreement import recorded_mode
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import Pair, newest_common

CLEAR = {"encryption": "off"}
KEY = ("keyformat", "pbkdf2salt")  # zfs change-key makes a new salt for each passphrase; raw and hex keys have none
LOCK = ("encryptionroot", "keystatus")
_LOAD = "load it there with cerss.zfs.zfs_dataset (key=loaded)"


def needed(pairs: Sequence[Pair]) -> list[Dataset]:
    """The datasets above new replicas whose keys and marks decide."""
    return [
        pair.above[0]
        for pair in pairs
        if pair.above and (pair.replica is None or newest_common(pair.source, pair.replica) is None)
    ]


def below_new_ones(pairs: Sequence[Pair], raw: str) -> list[Pair]:
    """With the raw replicas that the run brings above others. ``raw``: the option."""
    brought = {
        pair.replica_name: Dataset(
            pair.replica_name,
            values={"encryption": Value("on"), "encryptionroot": Value(pair.replica_name)},
            ours={SourceMark.NAME: SourceMark(pair.id, "-", pair.source.name, str(pair.source.guid), RAW).format()},
        )
        for pair in pairs
        if pair.replica is None and recorded_mode(pair, raw) == RAW
    }
    return [_below(pair, brought) for pair in pairs] if brought else list(pairs)


def _below(pair: Pair, brought: Mapping[str, Dataset]) -> Pair:
    above = [str(name) for name in reversed(DatasetName(pair.replica_name).ancestors()) if str(name) in brought]
    if pair.replica is not None or not above or (pair.above and len(pair.above[0].name) > len(above[0])):
        return pair
    return replace(pair, above=(brought[above[0]], *pair.above))


def for_places(pair: Pair) -> dict[str, str]:
    """The properties of the datasets that are created to hold the replica."""
    return CLEAR if _locked(pair) or _in_raw(pair) else {}


def for_replica(pair: Pair, mode: str) -> dict[str, str]:
    """The properties that a new replica needs. What is not encrypted on the source stays so below a raw replica.

    It must not inherit the key of that, since an increment of it may bring another key.
    """
    return CLEAR if mode == PLAIN and not pair.source.encrypted and _in_raw(pair) else {}


def check_place(pair: Pair, mode: str, given: Mapping[str, str | None]) -> None:
    """Raise Refused if the new replica could not be received there, or would be stored unencrypted unasked.

    ``given``: the option ``properties``.
    """
    if not pair.above or mode == RAW or "encryption" in given or for_replica(pair, mode):
        return
    nearest = pair.above[0]
    if nearest.encrypted and _in_raw(pair):
        raise Refused(
            f"{pair.target_address} would inherit the key of {nearest.name}, whose raw increments may change it; leave "
            "raw at auto, or choose another target"
        )
    if _locked(pair):
        raise Refused(
            f"{pair.target_address} would be encrypted with the key of {nearest.get('encryptionroot')}, which is not "
            f"loaded; {_LOAD}, or store it unencrypted with properties={{encryption: off}}"
        )
    if not nearest.encrypted and nearest.source_mark is None:
        locked = next(each.name for each in pair.above if each.encrypted)
        raise Refused(
            f"{pair.target_address} would be stored unencrypted: {nearest.name} is not encrypted, although {locked} "
            "above it is; choose another target, or confirm it with properties={encryption: off}"
        )


# -- keys that were changed ------------------------------------------------------------------------------------------


def with_keys(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs with a raw replica, whose keys on both sides are compared."""
    return [
        pair
        for pair in pairs
        if pair.replica and pair.replica.snapshots and pair.record and pair.record.mode == RAW and pair.source.encrypted
    ]


def with_locks(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs whose streams may be plain although a side is encrypted: its key must be loaded then."""
    return [
        pair
        for pair in pairs
        if (pair.source.encrypted or (pair.replica and pair.replica.encrypted))
        and not (pair.record and pair.record.mode == RAW)
    ]


def check_loaded(pair: Pair) -> None:
    """Raise Refused if a plain stream needs a key that is not loaded. What is made anew is checked by `check_place`."""
    for dataset, address in ((pair.source, pair.source_address), (pair.replica, pair.target_address)):
        if dataset and dataset.encrypted and dataset.get("keystatus") == "unavailable":
            raise Refused(
                f"{address} is encrypted with the key of {dataset.get('encryptionroot') or dataset.name}, which is not "
                f"loaded, and this is no raw replica; {_LOAD}"
            )


def check_increment(pair: Pair) -> str | None:
    """A warning if a raw increment brings another key; Refused if nobody could open the replica after it.

    An increment brings the dataset's key, encrypted with that of the source's encryption root. It replaces the one of
    the replica, even if the replica inherits the key of a dataset above (dsl_crypto_recv_raw_key_sync).
    """
    if pair not in with_keys([pair]) or pair.replica is None:
        return None
    here, there = ([dataset.get(name) for name in KEY] for dataset in (pair.source, pair.replica))
    root = pair.replica.get("encryptionroot")
    same = here == there
    if root not in (None, pair.replica_name) and not (same and here[1] not in (None, "0")):
        raise Refused(
            f"{pair.target_address} inherits the key of {root}, and a raw increment would bring the key of its source "
            f"instead, which that of {root} does not open; give it a key of its own there (zfs change-key), or end the "
            "relationship"
        )
    if same or None in (*here, *there):
        return None
    return (
        f"the key of {pair.source_address} is another one than that of {pair.target_address} (zfs change-key); when "
        "this increment has arrived, the replica needs the key of the source"
    )


def _locked(pair: Pair) -> bool:
    return bool(pair.above) and pair.above[0].encrypted and pair.above[0].get("keystatus") == "unavailable"


def _in_raw(pair: Pair) -> bool:
    """True directly below a raw replica."""
    mark = pair.above[0].source_mark if pair.above and pair.above[0].encrypted else None
    return mark is not None and mark.live and mark.mode == RAW
