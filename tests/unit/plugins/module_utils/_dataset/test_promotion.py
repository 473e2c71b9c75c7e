# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a promotion takes over, and when it is refused."""

from __future__ import annotations

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import SourceMark
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Bookmark, Dataset, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan
from ansible_collections.cerss.zfs.plugins.module_utils._dataset import promotion

ID = "00112233445566aa"
VOLUME = Dataset(
    "tank/v",
    snapshots=[Snapshot("tank/v@old", "10", 5), Snapshot("tank/v@s", "11", 7), Snapshot("tank/v@new", "12", 9)],
    bookmarks=[Bookmark("tank/v#mark", "10", 5), Bookmark("tank/v#later", "12", 9)],
)


def clone(*own: str, name: str = "tank/c") -> Dataset:
    snapshots = [Snapshot(full, "50", 20) for full in own if "@" in full]
    return Dataset(name, snapshots=snapshots, bookmarks=[Bookmark(full, "50", 20) for full in own if "#" in full])


def promoted(what: Dataset, dataset: Dataset = VOLUME) -> Plan:
    plan = Plan()
    promotion.add(plan, what, dataset, "tank/v@s", {dataset.name: dataset, what.name: what})
    return plan


def test_it_takes_over_what_is_not_newer_than_the_origin() -> None:
    plan = promoted(clone("tank/c@new", "tank/c#later"))
    assert plan.actions == ["promote tank/c, which takes over tank/v@old, tank/v@s"]
    assert plan.steps[0].commands == (["zfs", "promote", "tank/c"],)
    assert plan.to_result()["diff"]["after"] == {
        "tank/c": {"origin": None},
        "tank/v@old": {"present": False},
        "tank/v@s": {"present": False},
        "tank/c@old": {"present": True},
        "tank/c@s": {"present": True},
    }


@pytest.mark.parametrize(("own", "part"), [("tank/c@old", "@old"), ("tank/c#mark", "#mark")])
def test_the_same_name_on_both_is_refused(own: str, part: str) -> None:
    with pytest.raises(Refused, match=f"would take over {part}, but has the same names"):
        promoted(clone(own))


def test_a_name_that_would_be_too_long_is_refused() -> None:
    with pytest.raises(Refused, match="a name longer than 255"):
        promoted(clone(name="tank/" + "c" * 249))


@pytest.mark.parametrize("where", ["tank/v", "tank/c"])
def test_a_relationship_is_refused(where: str) -> None:
    mark = {SourceMark.NAME: SourceMark(ID, "h", "tank/x", "1", "plain").format()}
    volume = Dataset("tank/v", ours=mark if where == "tank/v" else {})
    with pytest.raises(Refused, match=f"{where} is .*{ID}"):
        promoted(Dataset("tank/c", ours=mark if where == "tank/c" else {}), volume)


def test_a_released_replica_is_no_obstacle() -> None:
    released = SourceMark(ID, "h", "tank/x", "1", "plain", released=True)
    assert promoted(clone(), Dataset("tank/v", ours={SourceMark.NAME: released.format()})).changed
