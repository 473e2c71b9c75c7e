# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a pool can do, where zfs itself does not tell. All of it is read only when it matters."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import pool as zpool

COMPRESSIONS = ("lz4_compress", "zstd_compress")  # needed only for blocks that are sent as they are on the disk
LARGE_BLOCKS = ("large_blocks",)  # needed only for streams with -L
# The features that a stream may need (recv_begin_check_feature_flags_impl in dmu_recv.c); without the last one, no
# stream can be received that could be resumed.
IN_STREAMS = (
    *COMPRESSIONS, *LARGE_BLOCKS, "embedded_data", "large_dnode", "large_microzap", "longname", "encryption",
    "extensible_dataset",
)  # fmt: skip


def read(backend: Backend, pool: str, *names: str) -> dict[str, str]:
    """Properties of a pool; empty where they cannot be read, as through a gate or with a sudo that runs only zfs."""
    try:
        result = backend.run(zfs.pool_values(pool, names), check=False)
    except CerssError:
        return {}
    return zpool.properties(result.stdout.split("\n"))


def is_readonly(backend: Backend, pool: str) -> bool:
    """True for a pool that is imported read-only, so that nothing can be set, bookmarked or held."""
    return read(backend, pool, "readonly").get("readonly") == "on"


@dataclass(frozen=True)
class Lacking:
    """Features of `IN_STREAMS` that one pool uses: not enabled on the other, or unknown to the OpenZFS there."""

    disabled: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @classmethod
    def of(cls, source: Backend, source_pool: str, target: Backend, target_pool: str) -> Lacking:
        """Empty where one of the pools cannot be asked."""
        here, there = read(source, source_pool, "all"), read(target, target_pool, "all")
        return lacking(here, there) if here and there else cls()

    def among(self, names: Collection[str]) -> tuple[str, ...]:
        """Those of the names that are lacking."""
        return tuple(name for name in (*self.disabled, *self.unknown) if name in names)

    def without(self, names: Collection[str]) -> Lacking:
        """What else is lacking."""
        return Lacking(*(tuple(name for name in each if name not in names) for each in (self.disabled, self.unknown)))

    def way_out(self, source_pool: str, target_pool: str, where: str) -> str:
        """How an error goes on."""
        ways = []
        if self.disabled:
            features = " ".join(f"feature@{name}=enabled" for name in self.disabled)
            ways.append(
                f"the pool {target_pool} lacks {_listed(self.disabled)}; enable what is missing there, for each with "
                f"zpool set ({features}), after which an older OpenZFS may not import it any more"
            )
        if self.unknown:
            ways.append(
                f"OpenZFS on {where} does not know {_listed(self.unknown)}, which {source_pool} uses; upgrade OpenZFS "
                "there, or replicate from a dataset that does not use it"
            )
        return "; ".join(ways) or (
            f"compare 'zpool get all {source_pool}' with 'zpool get all {target_pool}' on {where}: what a dataset uses "
            f"of {_listed(IN_STREAMS)} must be enabled on the target"
        )


def lacking(here: dict[str, str], there: dict[str, str]) -> Lacking:
    """By the properties of both pools. A feature is disabled, enabled or active there, or missing if it is unknown."""
    used = [name for name in IN_STREAMS if here.get(f"feature@{name}") == "active" or name == IN_STREAMS[-1]]
    states = {name: there.get(f"feature@{name}") for name in used}
    return Lacking(
        tuple(name for name, state in states.items() if state == "disabled"),
        tuple(name for name, state in states.items() if state is None),
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
