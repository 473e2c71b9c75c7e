# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several targets in one task, datasets by a property, one snapshot of each month, logins, and a shared limit."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import verbs
from harness import Ansible, Backend
from test_replicate import MODULE, options, replicate, target

BOTH: list[dict[str, Any]] = [
    {"host": "backend-b", "parent": "backup/site", "strip": 1},
    {"host": "local", "parent": "backup/copy", "strip": 1},
]
PROPERTY = "org.example:backup"
DAY = 86400


def several(name: str | list[str] | None, places: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    given = {**options([] if name is None else name, **more), "targets": places}
    del given["target"]
    return {**given, "name": None} if name is None else given


def at(backend: Backend, day: int, *commands: str) -> None:
    """Run commands on a day of the year 2030."""
    start = 1893456000 + day * DAY
    backend.run(f"now=$(date +%s); date -s @{start}; {'; '.join(commands)}; date -s @$((now + 1))")


def names(backend: Backend, dataset: str) -> list[str]:
    found = backend.run(f"zfs list -Ho name -t snapshot -r {dataset} | cut -d@ -f2 | sort", check=False).stdout
    return found.split()


@pytest.mark.no_gate("the second target is a pool of the same machine, on which the service user may not receive")
def test_two_targets(filled: list[Backend]) -> None:
    one, two = filled
    ((_check, first, _check2, _real2),) = replicate(one, several(["tank/vol", "tank/zv"], BOTH))
    assert [(each["target_host"], each["target_dataset"]) for each in first["replicas"]] == [
        ("backend-b", "backup/site/vol"),
        ("backend-b", "backup/site/zv"),
        ("local", "backup/copy/vol"),
        ("local", "backup/copy/zv"),
    ]
    one.fill("tank/vol", 1, 7)
    one.zfs("snapshot", "tank/vol@s3")
    weekly = {**BOTH[1], "exclude_snapshots": ["s3"]}
    ((_check, second, _check2, _real2),) = replicate(one, several(["tank/vol", "tank/zv"], [BOTH[0], weekly]))
    assert [each["snapshot"] for each in second["replicas"]] == ["s3", "s1", "s2", "s1"]
    for name in ("vol@s1", "vol@s2", "zv@s1"):
        sums = [one.checksum(f"tank/{name}"), two.checksum(f"backup/site/{name}"), one.checksum(f"backup/copy/{name}")]
        assert len(set(sums)) == 1
    assert names(one, "backup/copy/vol") == ["s1", "s2"]


def test_targets_share_one_reading_of_the_source(filled: list[Backend]) -> None:
    """Of the source each target adds only its own marks."""
    one, _two = filled
    places = [{"host": "backend-b", "parent": f"backup/{name}", "strip": 1} for name in ("x", "y")]
    replicate(one, several(["tank/vol", "tank/zv"], places))
    costs = []
    for some in (places[:1], places):
        ((_check, real),) = replicate(one, several(["tank/vol", "tank/zv"], some), look=False, passes=2)
        assert real["changed"] is False
        costs.append(Counter(real["zfs"]))
    assert costs == [Counter(list=1, get=2), Counter(list=1, get=3)]


def test_a_target_that_is_down(filled: list[Backend]) -> None:
    one, two = filled
    down = {"host": "127.0.0.1", "port": 9, "parent": "backup/site", "strip": 1}
    answers = replicate(one, several("tank/vol", [down, BOTH[0]]), look=False)
    for result in answers[0]:
        first, second = result["replicas"]
        assert result["failed"]
        assert "Connection refused" in result["msg"]
        assert (first["failed"], first["target_host"], first["target_dataset"]) == (
            True,
            "127.0.0.1",
            "backup/site/vol",
        )
        assert not second["failed"]
    check, real, _check2, real2 = answers[0]
    assert check["actions"] == real["actions"]
    assert real2["actions"] == []
    assert names(two, "backup/site/vol") == ["s1", "s2"]


def test_datasets_by_a_property(filled: list[Backend]) -> None:
    one, two = filled
    one.run(f"zfs create tank/tree; zfs create tank/tree/a; zfs create tank/tree/b; zfs snapshot -r tank/tree@s1; "
            f"zfs set {PROPERTY}=nightly tank/tree; zfs set {PROPERTY}=no tank/tree/b")  # fmt: skip
    everywhere = {"target": target(parent="backup"), "select": {"property": PROPERTY, "value": "nightly"}}
    given = {**options(**everywhere), "name": None}
    ((_check, real, _check2, real2),) = replicate(one, given)
    assert [each["source_dataset"] for each in real["replicas"]] == ["tank/tree", "tank/tree/a"]
    ((_check, by_name),) = replicate(
        one, options(["tank/tree", "tank/tree/a"], target=target(parent="backup")), look=False, passes=2
    )
    assert Counter(real2["zfs"]) == Counter(by_name["zfs"]) + Counter(get=1)
    # What gets the property later is included then, here below a name.
    one.run(f"zfs set {PROPERTY}=nightly tank/tree/b")
    ((_check, real, _check2, _real2),) = replicate(one, options("tank/tree", **everywhere))
    assert [each["source_dataset"] for each in real["replicas"] if each["steps"]] == ["tank/tree/b"]
    assert "backup/tree/b@s1" in two.dump()
    ((_check, nothing),) = replicate(one, {**given, "name": []}, look=False, passes=2)
    assert (nothing["changed"], nothing["replicas"], nothing["zfs"]) == (False, [], [])


@pytest.mark.no_gate("the clock is set")
def test_the_first_snapshot_of_each_month(backends: list[Backend]) -> None:
    one, two = backends
    one.zfs("create", "tank/m")
    places = [
        {"host": "backend-b", "parent": "backup/all", "strip": 1},
        {"host": "backend-b", "parent": "backup/monthly", "strip": 1, "include": {"monthly": 1}},
    ]
    for day in (3, 10):  # in January
        at(one, day, f"zfs snapshot tank/m@d{day}")
    replicate(one, several("tank/m", places))
    assert (names(two, "backup/all/m"), names(two, "backup/monthly/m")) == (["d10", "d3"], ["d3"])
    # The first one goes, and others come: January has had its own.
    at(one, 20, "zfs destroy tank/m@d3", "zfs snapshot tank/m@d20")
    ((_check, real, _check2, _real2),) = replicate(one, several("tank/m", places))
    assert [(each["state"], len(each["steps"])) for each in real["replicas"]] == [("full", 1), ("full", 0)]
    assert real["warnings"] == []
    for day in (40, 41):  # in February
        at(one, day, f"zfs snapshot tank/m@d{day}")
    replicate(one, several("tank/m", places))
    assert names(two, "backup/monthly/m") == ["d3", "d40"]
    at(one, 45, "for n in 10 20 40 41; do zfs destroy tank/m@d$n; done", "zfs snapshot tank/m@d45")
    ((_check, real, _check2, _real2),) = replicate(one, several("tank/m", places))
    assert real["replicas"][1]["source"] == "tank/m@d40"
    assert names(two, "backup/monthly/m") == ["d3", "d40"]
    assert one.checksum("tank/m@d45") == two.checksum("backup/all/m@d45")


@pytest.mark.no_gate("it logs in as others than the service user")
def test_a_login_from_module_defaults(filled: list[Backend], ansible: Ansible) -> None:
    """To push, to pull, and to end the relationship."""
    one, two = filled

    def logins(task: dict[str, Any], **login: Any) -> dict[str, Any]:
        return {"module_defaults": {"group/cerss.zfs.replication": {"login": login}}, **task}

    push = {MODULE: {"name": "tank/vol", "target": {"host": "backend-b", "dataset": "backup/vol"}, "retries": 0}}
    pull = {MODULE: {"name": "tank/vol", "source": {"host": "backend-a"}, "target": {"dataset": "backup/in"}}}
    own = {MODULE: {**push[MODULE], "target": {"host": "backend-b", "user": "root", "dataset": "backup/vol"}}}
    end = {"cerss.zfs.zfs_replication": {"name": "tank/vol", "target": push[MODULE]["target"], "state": "absent"}}
    for backend, task in ((one, push), (two, pull), (one, end)):
        (refused,) = ansible.run_tasks(backend.name, [logins(task, user="nosuch")], fails=True)
        assert "nosuch" in refused["msg"] or "check user and identity_file" in refused["msg"]
    ansible.four_times_many(one.name, [logins(own, user="nosuch")])
    operator = {"user": "operator", "become": True, "ssh_options": ["ConnectTimeout=20"]}
    ansible.four_times_many(two.name, [logins(pull, **operator)])
    _check, ended, _check2, _real2 = ansible.four_times(one.name, logins(end, **operator))
    assert "remove cerss.zfs:source from backend-b:backup/vol" in ended["actions"]


def test_streams_share_the_limit(backends: list[Backend]) -> None:
    """The longer one gets the whole limit when the marks of the other one have been moved, after 30 s at most."""
    one, _two = backends
    one.run("for n in a b; do zfs create -o compression=off tank/$n; done; head -c 8M /dev/urandom > /tank/a/f; "
            "head -c 200K /dev/urandom > /tank/b/f; zfs snapshot -r tank@s1")  # fmt: skip
    given = options(["tank/a", "tank/b"], target=target(parent="backup"), bandwidth_limit="200K")
    ((_check, real),) = verbs.run(one, "_replication.replicate", [given], look=False, passes=2)
    long, short = real["replicas"]
    assert not real.get("failed"), real
    assert short["seconds"] < 40
    # Alone it would take 41 s, and with half of the limit 82 s.
    assert 44 < long["seconds"] < 78, long
