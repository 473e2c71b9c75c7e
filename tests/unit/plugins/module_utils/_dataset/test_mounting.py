# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a filesystem is mounted, by ZFS or by a step."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, CerssError, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Value
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName
from ansible_collections.cerss.zfs.plugins.module_utils._dataset.mounting import (
    initial,
    is_automatic,
    is_mounted,
    plan_mount,
)
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.properties import Requested
from ansible_collections.cerss.zfs.tests.unit.things import dataset

NAME = DatasetName("tank/a")
ABOVE = dataset("tank", mountpoint="/tank", canmount="off")


@dataclass
class Options:
    mounted: bool | None = None
    properties: Requested = field(default_factory=dict)
    name: DatasetName = NAME
    root: bool = True


def test_what_a_new_dataset_has() -> None:
    assert initial("filesystem", ABOVE) == {
        "type": Value("filesystem"),
        "canmount": Value("on", "default"),
        "mountpoint": Value("/tank", "inherited"),
    }


@pytest.mark.parametrize(
    ("kind", "properties", "automatic"),
    [
        ("filesystem", {}, True),
        ("filesystem", {"canmount": "noauto"}, False),
        ("filesystem", {"canmount": "off"}, False),
        ("filesystem", {"mountpoint": "none"}, False),
        ("filesystem", {"mountpoint": "legacy"}, False),
        ("filesystem", {"mountpoint": "/x"}, True),
        ("volume", {}, False),
    ],
)
def test_what_zfs_mounts_by_itself(kind: str, properties: Requested, automatic: bool) -> None:
    assert is_automatic(Options(properties=properties), initial(kind, ABOVE)) == automatic


@pytest.mark.parametrize(
    ("now", "requested", "text"),
    [
        (True, True, ""), (False, False, ""), (True, None, ""), (False, None, ""),
        (False, True, "mount tank/a"), (True, False, "unmount tank/a"),
    ],
)  # fmt: skip
def test_steps(now: bool, requested: bool | None, text: str) -> None:
    assert "".join(step.text for step in plan_mount(Options(requested), initial("filesystem", ABOVE), now)) == text


@pytest.mark.parametrize(
    ("kind", "requested", "properties", "error", "told"),
    [
        ("volume", False, {}, BadInput, "which ZFS does not mount"),
        ("filesystem", True, {"canmount": "off"}, Refused, "it has canmount=off"),
        ("filesystem", True, {"mountpoint": "none"}, Refused, "it has mountpoint=none"),
    ],
)
def test_refusals(
    kind: str, requested: bool, properties: Requested, error: type[CerssError], told: str
) -> None:  # fmt: skip
    with pytest.raises(error, match=told):
        plan_mount(Options(requested, properties), initial(kind, ABOVE), False)
    assert plan_mount(Options(None, properties), initial(kind, ABOVE), False) == []


def test_a_volume_is_not_mounted_nor_unmounted() -> None:
    assert is_mounted(dataset("tank/v", type="volume", mounted="-")) is None
    assert is_mounted(dataset("tank/v", type="filesystem", mounted="yes")) is True
    assert is_mounted(dataset("tank/v", type="filesystem", mounted="no")) is False
