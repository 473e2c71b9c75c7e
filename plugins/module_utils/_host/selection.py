# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which datasets the options ``name``, ``recursive``, ``exclude`` and ``select`` mean."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import (
    DatasetName,
    check_patterns,
    is_user_property,
    matches,
    remaining,
)
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.values import read_properties
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import properties as zfs_properties

# In the argument spec, documented in doc_fragments/trees.py.
OPTIONS: dict[str, Any] = {
    "recursive": {"type": "bool", "default": False},
    "exclude": {"type": "list", "elements": "str", "default": []},
    "select": {
        "type": "dict",
        "options": {"property": {"type": "str", "required": True}, "value": {"type": "raw", "required": True}},
    },
}


@dataclass(frozen=True)
class Selection:
    """Which datasets. ``roots``: what ``name`` names, None for all pools. ``selector``: a user property and its value.

    With a selector everything at and below the roots is looked at.
    """

    roots: tuple[str, ...] | None
    recursive: bool = False
    exclude: tuple[str, ...] = ()
    selector: tuple[str, str] | None = None

    @classmethod
    def from_params(cls, params: Mapping[str, Any], roots: Iterable[str] | None) -> Selection:
        """``roots``: the datasets in ``name``, None if it is not given. Raises BadInput."""
        return cls(
            roots=None if roots is None else tuple(dict.fromkeys(roots)),
            recursive=params["recursive"],
            exclude=check_patterns(params.get("exclude"), "exclude"),
            selector=_selector(params.get("select")),
        )

    @property
    def deep(self) -> bool:
        """True if datasets below the roots may be meant."""
        return self.recursive or self.selector is not None or self.roots is None

    @property
    def depth(self) -> int | None:
        """For `inventory.read`, of ``roots``."""
        return None if self.deep else 1

    def covers(self, name: str) -> bool:
        """True for a root that is not excluded and, if the selection is deep, for what is below one."""
        lineage = [name, *map(str, reversed(DatasetName(name).ancestors()))]
        roots = [at for at, each in enumerate(lineage) if self._roots is None or each in self._roots]
        if not roots or (roots[0] and not self.deep):
            return False
        return not any(matches(each, self.exclude) for each in lineage[: roots[-1] + 1])

    @functools.cached_property
    def _roots(self) -> frozenset[str] | None:
        return None if self.roots is None else frozenset(self.roots)

    def choose(self, backend: Backend, found: Iterable[str]) -> tuple[list[str], list[str]]:
        """(the datasets that are meant, warnings), parents before children. ``found``: what was read of ``roots``.

        With a selector one more zfs process for some thousand datasets.
        """
        names = remaining(found, self.exclude)
        if not self.selector or not names:
            return names, []
        name, value = self.selector
        read = read_properties(backend, names, [name])
        chosen = [each for each in names if each in read.values and read.values[each][name].text == value]
        return chosen, [f"{reason}, so it is left out" for reason in read.spoilt.values()]


def _selector(option: Mapping[str, Any] | None) -> tuple[str, str] | None:
    if not option:
        return None
    name = option["property"]
    if not is_user_property(name):
        raise BadInput(f"select.property is {name!r}; give a user property, such as org.example:backup")
    value = zfs_properties.requested({name: option["value"]}, user_only=True)[name]
    if value is None or value in ("", "-"):
        raise BadInput(f"select.value is {value!r}; give the value that {name} must have, such as true")
    return name, value
