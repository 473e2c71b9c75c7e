# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Single datasets and snapshots with all their properties, for the verbs that change one thing at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ansible_collections.cerss.zfs.plugins.module_utils._core import model
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import read_json
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Token
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import output
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.properties import Requested, Value, at_creation
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.token import decode_token


@dataclass
class Thing:
    """A dataset or snapshot and every property that ``zfs get all`` shows on it."""

    name: str
    values: dict[str, Value] = field(default_factory=dict)

    def get(self, name: str) -> str | None:
        """The value; None for what is unset or not there."""
        value = self.values.get(name)
        return None if value is None or value.text in ("", "-") else value.text

    def local(self, name: str) -> str | None:
        """The value when it is set on this very thing; our marks count only so."""
        value = self.values.get(name)
        return value.text if value and value.local else None

    @property
    def guid(self) -> str | None:
        return self.get("guid")

    @property
    def type(self) -> str | None:
        return self.get("type")

    @property
    def origin(self) -> str | None:
        return self.get("origin")

    @property
    def token(self) -> Token | None:
        return decode_token(self.get("receive_resume_token") or "")

    @property
    def pending_delete(self) -> bool:
        return self.get("defer_destroy") == "on"

    @property
    def clones(self) -> list[str]:
        return sorted((self.get("clones") or "").split(",")) if self.get("clones") else []

    @property
    def userrefs(self) -> int:
        return int(self.get("userrefs") or 0)

    @property
    def is_mounted(self) -> bool:
        return self.get("mounted") == "yes"

    def relationships(self) -> list[str]:
        """The relationships this dataset is in, as people read them."""
        found = []
        for name, value in sorted(self.values.items()):
            if name.startswith(model.REPLICA_PREFIX) and value.local:
                found.append(f"source of the replication {name[len(model.REPLICA_PREFIX) :]}")
        source = self.local(model.SOURCE)
        if source is not None:
            mark = read_json(source)
            mark = mark if isinstance(mark, dict) else {}
            if not mark.get("released"):
                found.append(f"replica of the replication {mark.get('id', 'with a spoilt mark')}")
        return found


def read_all(backend: Backend, names: Iterable[str]) -> dict[str, Thing]:
    """Those of the datasets and snapshots that exist. One process."""
    # A name may be given twice: what a snapshot's volume is may be the clone's parent too.
    lines, _gone = backend.read(zfs.get(list(dict.fromkeys(names)), ["all"]))
    return _things(lines)


def check_values(backend: Backend, name: str, requested: Requested, size: str | int | None) -> None:
    """BadInput when zfs would not take a value: a check run fails where a real one would. ``size``: of a zvol."""
    setting = {key: text for key, text in at_creation(requested).items() if key not in ("volsize", "keylocation")}
    if not setting:
        return
    result = backend.run(zfs.verify(name, setting, None if size is None else int(size)), check=False)
    if result.rc != 0:
        words = " ".join(result.stderr.replace(f"cannot verify '{name}':", "").split())
        told = f"zfs does not take the properties for {name}: {words}. Nothing was changed"
        raise BadInput(told, stderr=result.stderr)


def read_snapshots(backend: Backend, dataset: str, properties: tuple[str, ...]) -> dict[str, Thing]:
    """The snapshots of one dataset with those properties. One process."""
    lines, _gone = backend.read(zfs.get([dataset], properties, "snapshot", depth=1))
    return _things(lines)


def read_tree(backend: Backend, names: Iterable[str], properties: tuple[str, ...]) -> dict[str, Thing]:
    """These datasets and snapshots, and everything below the datasets, with those properties. One process."""
    lines, _gone = backend.read(zfs.get(list(names), properties, "filesystem,volume,snapshot", depth=None))
    return _things(lines)


def _things(lines: list[str]) -> dict[str, Thing]:
    found: dict[str, Thing] = {}
    for name, property_name, source, value in output.records(lines):
        found.setdefault(name, Thing(name)).values[property_name] = Value(value, source)
    return found
