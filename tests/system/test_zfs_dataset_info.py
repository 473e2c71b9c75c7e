# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""zfs_dataset_info on real pools."""

from __future__ import annotations

from typing import Any

import verbs
from harness import Ansible, Backend

VERB = "_dataset.info"
OPTIONS: dict[str, Any] = {
    "name": None, "recursive": False, "exclude": [], "detail": "state", "properties": None, "limit": None,
}  # fmt: skip


def read(*names: str, **options: Any) -> dict[str, Any]:
    """All options of the module."""
    return {**OPTIONS, "name": list(names) or None, **options}


def test_every_key_and_every_choice(backends: list[Backend], ansible: Ansible) -> None:
    one = backends[0]
    one.run(
        "set -e; zfs create -o recordsize=16K tank/v; zfs create 'tank/v/a b'; zfs create tank/v/tmp"
        "; zfs create tank/v/tmp/x; zfs create -V 16M tank/z; zfs snapshot tank/v@s; zfs clone tank/v@s tank/c"
        "; head -c 32 /dev/urandom > /root/key"
        "; zfs create -o encryption=on -o keyformat=raw -o keylocation=file:///root/key tank/e; zfs create tank/e/f"
        # What looks like a property of another dataset
        "; zfs set \"org:x=$(printf '1\\ntank/c\\torg:x\\tlocal\\tforged')\" tank/v"
        "; zfs send tank/v@s | zfs receive -u -o org:x=mine backup/v"
    )
    before = one.dump()
    v, tree, others, asked, names, full, count = (
        four[0]
        for four in verbs.run(
            one,
            VERB,
            [
                read("tank/v"),
                read("tank/v", recursive=True, exclude=["*/tmp"]),
                read("tank/c", "tank/z", "tank/e/f", "tank/none"),
                read("tank/v/a b", "backup/v", properties=["recordsize", "org:x"]),
                read("tank", recursive=True, detail="names", limit=2),
                read("tank/z", detail="full"),
                read(limit=0),
            ],
            look=False,
            passes=1,
        )
    )
    (vol,) = v["datasets"]
    assert (vol["guid"], vol["origin"], vol["clones"]) == (before["tank/v"]["guid"], None, ["tank/c"])
    assert (vol["type"], vol["mounted"], vol["mountpoint"], vol["encryption"]) == (
        "filesystem", True, "/tank/v", None,
    )  # fmt: skip
    assert vol["properties"] == {"recordsize": "16384", "org:x": "1\ntank/c\torg:x\tlocal\tforged"}
    assert vol["used_bytes"] >= vol["referenced_bytes"] > 0
    assert [dataset["name"] for dataset in tree["datasets"]] == ["tank/v", "tank/v/a b"]
    clone, inherited, zvol = others["datasets"]
    assert (clone["origin"], clone["properties"]) == ("tank/v@s", {})
    assert (inherited["encryption_root"], inherited["key_loaded"]) == ("tank/e", True)
    assert (zvol["type"], zvol["mounted"], zvol["volume_bytes"]) == ("volume", None, 16 << 20)
    assert others["msg"].startswith("there is no dataset tank/none")
    replica, below = asked["datasets"]
    assert replica["sources"]["org:x"] == "local"
    assert below["sources"] == {"recordsize": "inherited from tank/v", "org:x": "inherited from tank/v"}
    assert [set(dataset) for dataset in names["datasets"]] == [{"name", "guid", "origin", "clones"}] * 2
    assert names["total"] == 9
    assert full["datasets"][0]["properties"]["volsize"] == str(16 << 20)
    assert (count["datasets"], count["total"]) == ([], 11)
    assert (names["zfs"], tree["zfs"][:3]) == (["list"], ["list", "get", "get"])
    (result,) = ansible.run_tasks(one.name, [{"cerss.zfs.zfs_dataset_info": {"name": "tank/e"}}], check=True)
    assert result["datasets"][0]["key_loaded"] is True
    assert one.dump() == before
