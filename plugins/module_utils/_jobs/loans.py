# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which keys a run borrows when there is no standing access: one for each place that it logs in to."""

from __future__ import annotations

import re
import types
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any

from ansible.module_utils.common.validation import check_type_dict

from ansible_collections.cerss.zfs.plugins.module_utils._core import units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput

KEY = "temporary access makes a key of its own"
RECEIVE, SEND = "receive", "send"
USER, LIFETIME = "root", "1d"


def loans(
    places: Mapping[str, Mapping[str, Any]], names: Sequence[str], hosts: Mapping[str, Any], user: str, lifetime: str,
    login: Mapping[str, Any] = types.MappingProxyType({}), properties: Any = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """One for each place that is not this host. Raises BadInput.

    ``places``: a name -> ``host``, ``port``, ``user``, and unless it sends ``dataset`` or ``parent``, ``properties``.
    The one named ``source`` sends. ``hosts``: those of the inventory -> their ``ansible_host``, or None. ``login`` and
    ``properties`` are for all places; blank is unset.
    """
    seconds = units.duration(str(lifetime or "").strip() or LIFETIME, "the lifetime of temporary access")
    found = []
    for name, own in places.items():
        place = {**_given(login), **_given(own)}
        address = str(place.get("host") or "local")
        if address == "local":
            continue
        if place.get("identity_file") or place.get("known_hosts_file"):
            raise BadInput(f"{address}: {KEY}; leave out identity_file and known_hosts_file")
        if str(place.get("become") or "false").lower() not in ("false", "no", "off", "0"):
            raise BadInput(
                f"{address}: {KEY}, which runs zfs as the user that logs in; leave out become, and name root or a user "
                "with the permissions"
            )
        sends = name == "source"
        found.append({
            "name": name, "host": place.get("inventory_host") or inventory_name(address, hosts), "address": address,
            "port": int(place.get("port") or 22), "user": str(place.get("user") or str(user or "").strip() or USER),
            "job": SEND if sends else RECEIVE, "root": common(names) if sends else root_of(address, place),
            "properties": [] if sends else sorted({*named(properties), *named(place.get("properties"))}),
            "lifetime": seconds,
        })  # fmt: skip
    return found


def _given(place: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in place.items() if value is not None and str(value).strip()}


def inventory_name(address: str, hosts: Mapping[str, Any]) -> str:
    """The host of the inventory with that name, or else with that address."""
    if address in hosts:
        return address
    plain = re.sub(r"^\[(.*)\]$", r"\1", address)
    found = [name for name, known in hosts.items() if known in (address, plain)]
    if len(found) != 1:
        which = f"is the address of {', '.join(found)}" if found else "is no host of the inventory"
        raise BadInput(
            f"{address} {which}; for temporary access Ansible must reach that host, so give its name or its only "
            "ansible_host"
        )
    return found[0]


def named(properties: Any) -> list[str]:
    """The names of properties, from a dictionary or from text that the module reads as one."""
    try:
        return sorted(check_type_dict(properties)) if properties else []
    except TypeError:  # about which the module complains
        return []


def root_of(address: str, place: Mapping[str, Any]) -> str:
    root = str(place.get("parent") or place.get("dataset") or "")
    if not root:
        raise BadInput(f"{address}: neither dataset nor parent is set; temporary access is to what is below it only")
    return root


def common(names: Sequence[str]) -> str:
    """The dataset that a key must reach to send all of them. A text may have several, with commas or newlines."""
    texts = [part.strip() for name in names for part in re.split(r"[,\n]", name)]
    paths = [text.partition("@")[0].split("/") for text in texts if text]
    root = "/".join(parts[0] for parts in takewhile(lambda parts: len(set(parts)) == 1, zip(*paths)))
    if not root:
        raise BadInput(
            "what is pulled has no dataset in common that temporary access could be limited to; pull it in several runs"
        )
    return root


def places_of(jobs: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The targets of jobs as `loans` takes them; `borrowing` knows their names."""
    return {
        name_of(job, number): {
            **job["login"], **target["options"], "inventory_host": target["inventory_host"],
            "properties": {**(job["replicate"].get("properties") or {}), **(target["options"].get("properties") or {})},
        }
        for job in jobs for number, target in enumerate(job["targets"])
    }  # fmt: skip


def borrowing(job: Mapping[str, Any], logins: Mapping[str, Any], refused: Collection[str] = ()) -> list[dict[str, Any]]:
    """The targets of a job with the logins that a run has borrowed, without those that were refused one."""
    targets = {name_of(job, number): target["options"] for number, target in enumerate(job["targets"])}
    return list(lent({name: each for name, each in targets.items() if name not in refused}, logins).values())


def name_of(job: Mapping[str, Any], number: int) -> str:
    """The name of a target in what is lent."""
    return f"{job['name']} {number}"


def lent(places: Mapping[str, Mapping[str, Any]], logins: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The places with the logins that a run has borrowed."""
    return {name: {**place, **logins.get(name, {})} for name, place in places.items()}
