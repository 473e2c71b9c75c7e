# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""zfs_replication_info and what zfs_replication returns, on real pools."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import verbs
import yaml
from harness import CLONE, Ansible, Backend
from test_replicate import once, target

pytestmark = pytest.mark.no_gate("one machine's own pools, and a failover that needs a login")
VERB = "_replication.info"
LOCAL = target("local")


def read(backend: Backend, *cases: dict[str, Any]) -> list[dict[str, Any]]:
    asked = [{"name": None, "recursive": False, "max_lag": None, "warn_lag": None, **case} for case in cases]
    return [answer for (answer,) in verbs.run(backend, VERB, asked, look=False, passes=1)]


def relate(**options: Any) -> dict[str, Any]:
    given = {"name": "tank/vol", "target": LOCAL, "source": {}, "state": "present"}
    return {**given, "force": False, "paused": None, "id": None, **options}


def filled(backend: Backend) -> None:
    backend.run(
        "set -e; zfs create -o compression=off tank/vol; zfs create tank/vol/below; zpool sync"
        "; for n in $(seq 40); do zfs snapshot tank/vol@old$n; done; zfs create tank/none; zfs create tank/none/below"
    )


def test_a_history_costs_its_list(backends: list[Backend]) -> None:
    """Sizes, lag and problems of both sides, and how many zfs processes that takes."""
    one = backends[0]
    filled(one)
    assert once(one, target=LOCAL)["changed"]
    before = one.dump()
    (settled,) = read(one, {})
    replica, source = settled["replications"]
    assert (source["lag_bytes"], source["lag_seconds"], source["severity"]) == (0, 0, "ok")
    assert (source["target_host"], source["target_dataset"]) == (None, "backup/vol")
    assert (replica["source_dataset"], replica["last_replicated"]) == ("tank/vol", "backup/vol@old40")
    assert len(settled["zfs"]) == 6
    one.run(
        "set -e; head -c 300K /dev/urandom > /tank/vol/f; zfs snapshot tank/vol@new; zfs snapshot tank/vol@tmp"
        "; zfs set cerss.zfs:temporary=true tank/vol@tmp; zpool sync"
    )
    late, both, above, below, none, gone, empty = read(
        one,
        {"name": ["tank/vol"], "warn_lag": "0"},
        {"warn_lag": "1s", "max_lag": "1s"},
        {"name": ["tank"]},
        {"name": ["tank"], "recursive": True},
        {"name": ["tank/none"]},
        {"name": ["tank/vol", "tank/gone"]},
        {"name": []},
    )
    (found,) = late["replications"]
    assert found["lag_bytes"] >= 300 << 10
    assert (found["snapshots_behind"], found["severity"], found["healthy"]) == (1, "warning", True)
    assert [each["severity"] for each in both["replications"]] == ["critical", "critical"]
    assert sum(each["lag_bytes"] for each in both["replications"]) == found["lag_bytes"]
    assert "tank itself has no relationship, but there are some below it (tank/vol)" in above["warnings"][0]
    assert (above["replications"], len(above["zfs"])) == ([], 5)
    assert [each["source"] for each in below["replications"]] == ["tank/vol"]
    assert (none["replications"], none.get("warnings")) == ([], None)
    assert (gone["msg"], len(gone["replications"])) == ("tank/gone does not exist; check the name", 1)
    assert (empty["replications"], empty["zfs"]) == ([], [])
    one.run("zfs snapshot backup/vol@mine")
    (diverged,) = read(one, {})
    assert "diverged: it holds backup/vol@mine" in diverged["replications"][0]["problems"][0]
    assert len(diverged["zfs"]) == 8
    assert before.keys() < one.dump().keys()


def test_before_the_first_replication(backends: list[Backend]) -> None:
    one = backends[0]
    one.run(
        "set -e; zfs create -o compression=off tank/vol; head -c 1M /dev/urandom > /tank/vol/f; zpool sync"
        "; zfs snapshot tank/vol@s1; rm /tank/vol/f; zpool sync"
        "; guid=$(printf %016x $(zfs get -Hp -o value guid backup))"
        '; zfs set "cerss.zfs:replica.$guid"=\'[{"id":"00112233445566aa","target":"b:x","guid":"0","mode":"plain",'
        '"since":null}]\' tank/vol'
    )
    (found,) = read(one, {"name": ["tank/vol"]})[0]["replications"]
    assert (found["lag_seconds"], found["snapshots_behind"], found["last_replicated"]) == (None, 1, None)
    assert found["lag_bytes"] > 1 << 20
    assert found["problems"] == ["nothing has been replicated yet"]


def test_what_zfs_replication_returns(backends: list[Backend]) -> None:
    """Paused, released, taken back and ended, each four times."""
    one = backends[0]
    filled(one)
    once(one, target=LOCAL)
    paused, resumed, released, back, ended = verbs.run(
        one,
        "_replication.relationship",
        [
            relate(paused=True),
            relate(paused=False),
            relate(name=None, state="released"),
            relate(),
            relate(state="absent"),
        ],
    )
    for four, severities in (
        (paused, ("ok", "warning")),
        (resumed, ("warning", "ok")),
        (released, ("ok", "warning")),
        (back, ("ok", "ok")),
    ):
        assert tuple(answer["replication"]["severity"] for answer in four[:2]) == severities
    assert released[1]["replication"]["role"] == "replica"
    assert [answer["replication"] is None for answer in ended] == [False, True, True, True]
    assert [answer["left_over"] for answer in ended] == [[]] * 4
    assert read(one, {})[0]["replications"] == []


def test_a_relationship_whose_other_side_is_gone(backends: list[Backend]) -> None:
    one = backends[0]
    filled(one)
    once(one)
    gone = relate(state="absent", target=target(port=1), force=True)
    ((check, real),) = verbs.run(one, "_replication.relationship", [gone], look=False, passes=2)
    assert check["left_over"] == real["left_over"]
    (left,) = real["left_over"]
    assert (left["host"], left["dataset"]) == ("backend-b", None)
    assert "Connection refused" in left["reason"]
    assert real["replication"] is None


def test_the_documented_playbook_runs(backends: list[Backend], ansible: Ansible) -> None:
    """The examples as they stand, with the tasks that use the results."""
    one = backends[0]
    one.run("set -e; zfs create tank/db; zfs create tank/vol; zfs snapshot tank/vol@s1")
    once(one, target=LOCAL)
    one.run("zfs snapshot tank/vol@s2")
    tree = ast.parse((CLONE / Path("plugins/modules/zfs_replication_info.py")).read_text())
    texts = {getattr(node.targets[0], "id", ""): node.value for node in tree.body if isinstance(node, ast.Assign)}
    results = ansible.run_tasks(one.name, yaml.safe_load(ast.literal_eval(texts["EXAMPLES"])))
    assert not [result for result in results if result.get("_failed")]
    assert any(str(result.get("msg")).isdigit() for result in results)  # the sum of bytes
