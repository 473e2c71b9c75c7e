# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots whose names are needed for others: the source has renamed or destroyed them, and made new ones.

ZFS tells snapshots apart by their GUIDs, but receives none whose name is taken.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Step
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import TARGET
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs


def moves(source: Dataset, receiver: Dataset, coming: Iterable[Snapshot]) -> dict[str, str]:
    """Former name -> new name of the receiver's snapshots that must make room, in an order that frees each name.

    ``coming``: snapshots of the source that the receiver lacks. Names are the parts after the @. One that the source
    has destroyed is put aside (`aside`); raises Refused if that name is taken too.

    For example, if the source has destroyed 2, renamed 1 to 2 and 0 to 1, and has made a new 0: ``{"2": "2_ff", "1":
    "2", "0": "1"}``, where ff is the GUID of 2.
    """
    coming = list(coming)
    taken = {snap.snapshot: snap for snap in receiver.snapshots}
    name_now = {snap.guid: snap.snapshot for snap in source.snapshots}
    used = {*taken, *name_now.values()}
    found: dict[str, str] = {}
    for needed in (snap.snapshot for snap in coming):
        chain: dict[str, str] = {}
        # On a host that lists a GUID twice, a name could lead back to itself.
        while needed in taken and needed not in found and needed not in chain:
            new = name_now.get(taken[needed].guid) or aside(taken[needed])
            if taken[needed].guid not in name_now and new in used:
                raise _in_the_way(source, taken[needed], new)
            chain[needed], needed = new, new
        found.update(reversed(chain.items()))
    return found


def aside(snapshot: Snapshot) -> str:
    """The name for a snapshot whose own name is needed and that the source has destroyed.

    It begins with the former name, so that patterns such as daily* still match.

    >>> aside(Snapshot("backup/v@daily.7", "255"))
    'daily.7_ff'
    """
    return f"{snapshot.snapshot}_{int(snapshot.guid or 0):x}"


def _in_the_way(source: Dataset, old: Snapshot, new: str) -> Refused:
    wanted = f"{source.name}@{old.snapshot}"
    guid = next((snap.guid for snap in source.snapshots if snap.name == wanted), None)
    return Refused(
        f"{old.name} (GUID {old.guid}) has the name that {wanted} (GUID {guid}) needs there, and cannot be renamed to "
        f"@{new}, which exists; destroy or rename one of the two"
    )


def not_by_itself(receiver: Dataset, renamed: Mapping[str, str]) -> Refused:
    """The error where the source's names do not count, since retention on the target may go by them."""
    commands = [shlex.join(command) for step in steps(receiver, renamed) for command in step.commands]
    name = next(iter(renamed))
    return Refused(
        f"{receiver.name}@{name} has a name that the source has given to another snapshot. On a host that pulls "
        f"nothing is renamed because the source has renamed it; to do so, run there: {'; '.join(commands)}"
    )


def steps(receiver: Dataset, renamed: Mapping[str, str]) -> Iterator[Step]:
    """The steps that give the receiver's snapshots these names."""
    put_aside = {snap.snapshot: aside(snap) for snap in receiver.snapshots if snap.snapshot in renamed}
    for old, new in renamed.items():
        name, now = f"{receiver.name}@{old}", f"{receiver.name}@{new}"
        why = "which the source does not have" if put_aside.get(old) == new else "as on the source"
        yield Step.of(
            f"rename {name} to @{new}, {why}", (zfs.rename_snapshot(name, now),),
            before={name: {"name": name}}, after={name: {"name": now}}, side=TARGET,
        )  # fmt: skip


def rotated(receiver: Dataset, renamed: Mapping[str, str]) -> Dataset:
    """The receiver after these steps."""
    snapshots = [
        replace(snap, name=f"{receiver.name}@{renamed.get(snap.snapshot, snap.snapshot)}")
        for snap in receiver.snapshots
    ]
    return replace(receiver, snapshots=snapshots)
