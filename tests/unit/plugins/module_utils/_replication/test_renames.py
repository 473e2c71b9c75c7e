# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Renamed sources and replicas, as far as they can be told from what was read."""

from __future__ import annotations

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import GateRefused
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset
from ansible_collections.cerss.zfs.plugins.module_utils._replication.options import Options
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import Pair
from ansible_collections.cerss.zfs.plugins.module_utils._replication.renames import around, taken_places
from ansible_collections.cerss.zfs.tests.unit.scenarios import replicate, to
from ansible_collections.cerss.zfs.tests.unit.transcript import entrance


def pair(source: str, replica: str) -> Pair:
    return Pair(Dataset(source), replica, source_address=source, target_address=f"backend-b:{replica}")


def test_a_source_that_took_a_former_name_does_not_get_the_replica():
    params = entrance(replicate("tank/new", "tank/old", target=to(None, parent="backup")))[1]
    options = Options.from_params(params)
    renamed, newcomer, other = (
        pair("tank/new", "backup/old"),
        pair("tank/old", "backup/old"),
        pair("tank/x", "backup/x"),
    )
    (plan,) = taken_places(options, [renamed, newcomer, other])
    assert plan.pair is newcomer
    assert "the replica of tank/new, which was renamed" in str(plan.error)


def test_reads_the_pools_of_the_replicas_once():
    pairs = [pair("tank/a", "backup/a"), pair("tank/b", "backup/b/c"), pair("tank/c", "other/c")]
    assert list(around(pairs, str)) == ["backup", "other"]


def test_reads_what_a_gate_allows():
    asked = []

    def read(name: str) -> str:
        asked.append(name)
        if name in ("backup", "other", "other/c"):
            raise GateRefused(["zfs", "list"], 1, "refused")
        return name

    pairs = [pair("tank/a", "backup/site/a"), pair("tank/b", "backup/site/b"), pair("tank/c", "other/c")]
    assert list(around(pairs, read)) == ["backup/site"]
    assert asked == ["backup", "backup/site", "other", "other/c"]
