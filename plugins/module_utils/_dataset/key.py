# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The encryption key of one dataset: loaded, unloaded, or inherited from its parent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import RAW
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import listing
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan, Step
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs

LOADED, UNLOADED, INHERITED = STATES = ("loaded", "unloaded", "inherited")


@dataclass(frozen=True)
class KeyOptions:
    """``state``: one of STATES. ``location``: where ``zfs load-key`` reads the key; None for ``keylocation``.

    ``stdin``: the key itself, for the location ``prompt``. Nothing prints it.
    """

    state: str
    location: str | None = None
    stdin: str | None = field(default=None, repr=False)

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> KeyOptions | None:
        """None if the option ``key`` is not given. Raises BadInput."""
        state, file, text = (params.get(option) for option in ("key", "key_file", "key_text"))
        given = [name for name, value in (("key_file", file), ("key_text", text)) if value]
        if given and state not in (LOADED, INHERITED):
            raise BadInput(f"{given[0]} needs key=loaded or key=inherited; add that, or leave {given[0]} out")
        if state == UNLOADED and params.get("mounted"):
            raise BadInput("key=unloaded cannot be combined with mounted=true, which needs the key; leave one out")
        if len(given) > 1:
            raise BadInput("key_file and key_text cannot be combined; give one of them")
        if file and not file.startswith("/"):
            raise BadInput(f"key_file is {file!r}; give the absolute path of a file on the host")
        if not state:
            return None
        given_location = (params["properties"] or {}).get("keylocation")
        return cls(
            state,
            "prompt" if text else f"file://{file}" if file else None if given_location == "prompt" else given_location,
            f"{text}\n" if text else None,
        )


def loads(options: KeyOptions, dataset: Dataset) -> bool:
    """True if the plan loads the dataset's own key."""
    is_root = dataset.get("encryptionroot") == dataset.name
    return options.state != UNLOADED and is_root and dataset.get("keystatus") != "available"


def check_new(options: KeyOptions, name: str, requested: Mapping[str, str | None], above: Dataset) -> None:
    """Raise BadInput for what a new dataset cannot have. If it is encrypted, its key is loaded."""
    own = requested.get("encryption") not in (None, "off") or requested.get("keyformat") is not None
    if options.state == UNLOADED:
        raise BadInput(f"{name} does not exist yet, and ZFS creates it with its key loaded; leave key=unloaded out")
    if options.state == INHERITED and own:
        raise BadInput(f"{name} cannot inherit its key and have one of its own; leave key or encryption out")
    if not own and (requested.get("encryption") == "off" or not above.encrypted):
        raise BadInput(f"{name} would not be encrypted; set encryption in properties, or leave key out")


def plan_key(
    options: KeyOptions, dataset: Dataset, name: str, above: Dataset | None, users: Iterable[Dataset] = ()
) -> Plan:
    """What to do so that the key is as requested; Refused if that is impossible.

    ``name``: the dataset's name at that point, after a rename. ``above``: its parent then; None for a pool. ``users``:
    the datasets at and below it, for ``unloaded``.
    """
    root = dataset.get("encryptionroot")
    if root is None:
        raise BadInput(f"{name} is not encrypted; leave key out")
    if options.state == INHERITED:
        return _inherit(options, dataset, name, above)
    is_loaded = dataset.get("keystatus") == "available"
    if is_loaded == (options.state == LOADED):
        return Plan()
    if root != dataset.name:
        raise Refused(f"the key of {name} is that of {root}, which it inherits; use name={root} instead")
    return Plan([_load(options, dataset, name)] if options.state == LOADED else [_unload(dataset, name, users)])


def _load(options: KeyOptions, dataset: Dataset, name: str) -> Step:
    if options.location is None and dataset.get("keylocation") == "prompt":
        raise Refused(
            f"the key of {name} cannot be loaded: it has keylocation=prompt, and a module cannot ask for it. Set "
            "key_file or key_text"
        )
    step = Step.of(
        f"load the key of {name}",
        (zfs.load_key(name, options.location),),
        before={name: {"keystatus": "unavailable"}},
        after={name: {"keystatus": "available"}},
    )
    return replace(step, stdin=options.stdin)


def _unload(dataset: Dataset, name: str, users: Iterable[Dataset]) -> Step:
    mounted = [each.name for each in users
               if each.get("encryptionroot") == dataset.name and each.get("mounted") == "yes"]  # fmt: skip
    if mounted:
        raise Refused(
            f"the key of {name} cannot be unloaded: these are mounted with it: {listing(sorted(mounted))}. "
            "Unmount them first"
        )
    return Step.of(
        f"unload the key of {name}",
        (zfs.unload_key(name),),
        before={name: {"keystatus": "available"}},
        after={name: {"keystatus": "unavailable"}},
    )


def _inherit(options: KeyOptions, dataset: Dataset, name: str, above: Dataset | None) -> Plan:
    if dataset.get("encryptionroot") != dataset.name:
        return Plan()
    root = above.get("encryptionroot") if above else None
    if above is None or root is None:
        raise Refused(f"{name} cannot inherit its key: {above.name if above else 'a pool'} is not encrypted; "
                      "leave key=inherited out")  # fmt: skip
    mark = dataset.source_mark
    if dataset.is_replica and (mark is None or mark.mode == RAW):
        raise Refused(
            f"{name} cannot inherit its key: it is {' and '.join(dataset.relationships())}, and each raw increment "
            "brings the key of its source back. End the relationship first (zfs_replication with state=absent)"
        )
    if above.get("keystatus") != "available":
        raise Refused(f"{name} cannot inherit its key: that of {root} is not loaded. Load it first (key=loaded)")
    plan = Plan([_load(options, dataset, name)] if loads(options, dataset) else [])
    plan.add(
        f"let {name} inherit its key from {root}",
        zfs.inherit_key(name),
        before={name: {"encryptionroot": name}},
        after={name: {"encryptionroot": root}},
    )
    return plan


def is_met(options: KeyOptions, dataset: Dataset) -> bool:
    if options.state == INHERITED:
        return dataset.get("encryptionroot") not in (None, dataset.name)
    return (dataset.get("keystatus") == "available") == (options.state == LOADED)
