# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which snapshots zfs_snapshot_prune deletes, and its options."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import SourceMark
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import PENDING_DELETE, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import Activity
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot import prune
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.deletion import Outcome
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.prune import Options, _result, decide
from ansible_collections.cerss.zfs.tests.unit.printer import Host, Set

NOW = 1795417682
SOURCE = SourceMark("00112233445566aa", "host", "tank/v", "7", "plain").format()


def snapshot(name: str, txg: int, **more: Any) -> Snapshot:
    known = {"created": NOW - 100 + txg, "temporary": False, "clones": [], "holds": []}
    return Snapshot(name, createtxg=txg, **{**known, **more})


def test_each_dataset_is_judged_on_its_own_and_expired_snapshots_go_first() -> None:
    matched = [
        snapshot("tank/a@1", 1),
        snapshot("tank/a@2", 2, clones=["tank/c"]),
        snapshot("tank/a@3", 3),
        snapshot("tank/b@1", 1, clones=["tank/b/%recv"]),
        snapshot("tank/b@2", 2, temporary=True, lifetime=1),
        snapshot("tank/b@3", 3, state=PENDING_DELETE),
        snapshot("tank/b@4", 4),
        snapshot("tank/b@5", 5),
    ]
    options = Options(["tank/a", "tank/b"], False, ["*"], {"last": 1})
    decided = decide(matched, options, Activity(senders=["zfs send tank/b@4"]), NOW, time.gmtime)
    assert decided.deletion.plan.actions == [
        "destroy snapshot tank/b@2",
        "destroy snapshot tank/a@1",
        "defer deletion of tank/a@2 (needed by clone tank/c)",
    ]
    assert decided.kept == [
        {"name": "tank/a@3", "reason": "last 1"},
        {"name": "tank/b@1", "reason": "is the base of the receive into tank/b"},
        {"name": "tank/b@4", "reason": "is being sent"},
        {"name": "tank/b@5", "reason": "last 1"},
    ]
    assert [snap.name for snap in decided.pending] == ["tank/b@3"]


def test_snapshots_from_the_future_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are kept and pruned by the rules, in the order of creation. Old ones that do not expire do no harm."""
    later = {"creation": ("-", "99999999999"), "userrefs": ("-", "0"), "cerss.zfs:expires": ("local", "1"),
             "cerss.zfs:temporary": ("local", "true")}  # fmt: skip
    now = {"creation": ("-", "100"), "userrefs": ("-", "0")}
    old = {key: value for key, value in later.items() if ":" not in key}
    known: Set = {"tank/a": {}, "tank/a@1": old, "tank/b": {}, "tank/b@1": later, "tank/b@2": old, "tank/b@3": now}
    monkeypatch.setattr(prune, "Backend", lambda: Host(known))
    params = {"name": ["tank/a", "tank/b"], "recursive": False, "match": ["*"], "keep": {"last": 2}}
    result = prune.main(params, True)
    assert not result["changed"]
    assert [text.partition(" was created in the future")[0] for text in result["warnings"]] == ["tank/a@1", "tank/b@1"]


@pytest.mark.parametrize("mark", [{"cerss.zfs:source": "spoilt"}, {"cerss.zfs:source": SOURCE}], ids=["spoilt", "live"])
@pytest.mark.parametrize("mode", ["replica", "released", "no replica"])
def test_on_a_replica_only_the_rules_count(mode: str, mark: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    released = {"cerss.zfs:source": SOURCE.replace("}", ',"released":true}')}
    given = {"replica": mark, "released": released, "no replica": {}}[mode]
    old, new = (
        {"creation": ("-", created), "userrefs": ("-", "0"), "cerss.zfs:temporary": ("local", "true"), **expires}
        for created, expires in (("100", {"cerss.zfs:expires": ("local", "1")}), ("200", {}))
    )
    known: Set = {
        "backup/v": {key: ("local", text) for key, text in given.items()}, "backup/v@1": old, "backup/v@2": new,
    }  # fmt: skip
    monkeypatch.setattr(prune, "Backend", lambda: Host(known))
    results = [
        prune.main({"name": ["backup/v"], "recursive": False, "match": ["*"], "keep": {"last": last}}, True)
        for last in (2, 1)
    ]
    if mode == "replica":
        assert [result["pruned"] for result in results] == [[], ["backup/v@1"]]
        assert results[0]["kept"][0] == {"name": "backup/v@1", "reason": "last 2"}
    else:
        assert [result["pruned"] for result in results] == [["backup/v@1"], ["backup/v@1"]]
        assert results[0]["kept"] == [{"name": "backup/v@2", "reason": "temporary, never expires"}]


def test_what_cannot_be_read_is_kept_and_hides_no_other() -> None:
    matched = [snapshot("tank/a@1", 1), snapshot("tank/a@2", 2), snapshot("tank/a@3", 3), snapshot("tank/b@1", 1)]
    spoilt = {"tank/a@1": "no 1", "tank/b": "no b"}
    options = Options(["tank/a", "tank/b"], False, ["*"], {"last": 1})
    decided = decide(matched, options, Activity(), NOW, time.gmtime, spoilt=spoilt)
    assert [snap.name for snap in decided.pruned] == ["tank/a@2"]
    assert decided.kept[:2] == [{"name": "tank/a@1", "reason": "no 1"}, {"name": "tank/b@1", "reason": "no b"}]


def forged(names: list[str], **properties: str) -> str:
    """A value that goes on with lines that look like other records."""
    return "\n".join(["x", *(f"{name}\t{key}\tlocal\t{text}" for name in names for key, text in properties.items())])


@pytest.mark.parametrize("name", ["backup/site-b", "backup/site-b@daily-1", "backup/a"])
@pytest.mark.parametrize("mark", ["cerss.zfs:inbound", "cerss.zfs:source", "cerss.zfs:temporary"])
def test_a_value_cannot_forge_what_prunes_another_dataset(
    name: str, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may set a property on one dataset must not make the snapshots of another one look expired."""
    victims = ["backup/site-a/db@daily-1", "backup/site-a/db@daily-2"]
    known: Set = {
        **{name: {"guid": ("-", "1")} for name in ("backup", "backup/a", "backup/site-a/db", "backup/site-b")},
        **{
            name: {"guid": ("-", "2"), "creation": ("-", "100"), "userrefs": ("-", "0"), "defer_destroy": ("-", "off")}
            for name in [*victims, "backup/site-b@daily-1"]
        },
    }
    expired = {"cerss.zfs:temporary": "true", "cerss.zfs:expires": "1", "userrefs": "0", "defer_destroy": "off"}
    known[name][mark] = ("local", forged(victims, **expired))
    host = Host(known)
    monkeypatch.setattr(prune, "Backend", lambda: host)
    params = {"name": ["backup"], "recursive": True, "match": ["*"], "keep": {"last": 1000}}
    result = prune.main(params, True)
    assert (result["changed"], result["pruned"]) == (False, [])
    assert {kept["name"] for kept in result["kept"]} == {*victims, "backup/site-b@daily-1"}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"name": []}, "name is empty; give at least one dataset"),
        ({"name": ["tank", "tank"]}, "more than once"),
        ({"match": [""]}, "match is empty"),
        ({"keep": {"last": None}}, "keeps nothing"),
    ],
)
def test_bad_input(options: dict[str, Any], told: str) -> None:
    given = {"name": ["tank"], "recursive": False, "match": ["*"], "keep": {"last": 1}, **options}
    with pytest.raises(BadInput, match=told):
        Options.from_params(given)


def test_what_still_exists_is_no_action() -> None:
    old, stays, newest = snapshot("tank/a@1", 1), snapshot("tank/a@2", 2), snapshot("tank/a@3", 3)
    options = Options(["tank/a"], False, ["*"], {"last": 1})
    decided = decide([old, stays, newest], options, Activity(), NOW, time.gmtime)
    gone = Snapshot("tank/a@1", state="absent")
    told = _result(decided, [gone, stays], Outcome(decided.deletion.plan.effects, {}, []))
    assert (told["actions"], told["pruned"]) == (["destroy snapshot tank/a@1"], ["tank/a@1"])
    assert told["failed"]
    told = _result(decided, [gone, stays], Outcome(decided.deletion.plan.effects, {"tank/a@2": "busy"}, ["tank/a@2"]))
    assert told["actions"] == ["destroy snapshot tank/a@1"]
    assert {"name": "tank/a@2", "reason": "is in use"} in told["kept"]
    assert "failed" not in told
