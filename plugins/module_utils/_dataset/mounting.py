# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a filesystem is mounted, and whether it can be."""

from __future__ import annotations

from typing import Protocol

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Value, Values
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import DatasetName
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Step
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import properties as zfs_properties


class Options(Protocol):
    """What the options of the modules have in common."""

    @property
    def name(self) -> DatasetName:
        """The dataset."""

    @property
    def properties(self) -> zfs_properties.Requested:
        """Those that it is to have."""

    @property
    def mounted(self) -> bool | None:
        """Whether it is to be mounted; None leaves that open."""

    @property
    def root(self) -> bool:
        """True if the module runs as root; on Linux only root mounts."""


def is_mounted(dataset: Dataset) -> bool | None:
    """None for a volume."""
    return None if dataset.type == "volume" else dataset.get("mounted") == "yes"


def initial(kind: str | None, above: Dataset) -> Values:
    """What a new dataset has before any property is set. It inherits mountpoint, but not canmount."""
    return {
        "type": Value(kind or "-", "-"),
        "canmount": Value("on", "default"),
        "mountpoint": Value(above.get("mountpoint") or "none", "inherited"),
    }


def is_automatic(options: Options, values: Values) -> bool:
    """True if ZFS mounts the dataset by itself, as it does at boot."""
    is_on = _will_be(options, values, "canmount") == "on"
    return values["type"].text != "volume" and is_on and _obstacle(options, values) is None


def plan_mount(options: Options, values: Values, mounted: bool) -> list[Step]:
    """Mount or unmount the dataset as requested; nothing if that is left open. Raises BadInput and Refused.

    ``mounted``: whether it is mounted before. ``values``: its properties without the requested ones.
    """
    name = str(options.name)
    if options.mounted is None:
        return []
    if values["type"].text == "volume":
        raise BadInput(f"{name} is a volume, which ZFS does not mount; leave mounted out")
    obstacle = _obstacle(options, values)
    if options.mounted and obstacle:
        raise Refused(f"{name} cannot be mounted: it has {obstacle}. Change that property, or leave mounted out")
    return [] if options.mounted == mounted else [mount(name)] if options.mounted else [unmount(name)]


def mount(name: str) -> Step:
    return Step.of(f"mount {name}", (zfs.mount(name),), {name: {"mounted": False}}, {name: {"mounted": True}})


def unmount(name: str) -> Step:
    return Step.of(f"unmount {name}", (zfs.unmount(name),), {name: {"mounted": True}}, {name: {"mounted": False}})


def _obstacle(options: Options, values: Values) -> str | None:
    """The property for which ZFS does not mount the dataset."""
    canmount, mountpoint = (_will_be(options, values, key) for key in ("canmount", "mountpoint"))
    if canmount == "off":
        return "canmount=off"
    return f"mountpoint={mountpoint}" if mountpoint in zfs_properties.NOWHERE else None


def _will_be(options: Options, values: Values, name: str) -> str:
    """The value that a property will have."""
    return options.properties.get(name) or (values[name].text if name in values else "")
