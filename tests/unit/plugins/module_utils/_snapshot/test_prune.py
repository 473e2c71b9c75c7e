# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which snapshots zfs_snapshot_prune deletes, and its options."""

from __future__ import annotations

import time
from collections.abc import Collection
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import Filter, LastHold, ReplicaRecords, SourceMark
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import PENDING_DELETE, Dataset, Hold, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import SnapshotName
from ansible_collections.cerss.zfs.plugins.module_utils._core.unsent import storable
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import Activity
from ansible_collections.cerss.zfs.plugins.module_utils._host.selection import Selection
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import PairOptions
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot import prune
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.deletion import Outcome
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.prune import (
    Decision,
    Options,
    Seen,
    _result,
    decide,
    judge,
    too_late,
    with_upcoming,
)
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.retention import Rules
from ansible_collections.cerss.zfs.tests.unit.pairs import ID, OTHER, SOURCE_GUID, link, record, records, source
from ansible_collections.cerss.zfs.tests.unit.printer import Host, Set
from ansible_collections.cerss.zfs.tests.unit.simulated import HOURS, Zfs, do, replicate

NOW = 1795417682
GIVEN = {"recursive": False, "match": ["*"], "unreplicated": "keep"}
SOURCE = SourceMark("00112233445566aa", "host", "tank/v", "7", "plain").format()


def snapshot(name: str, txg: int, **more: Any) -> Snapshot:
    known = {"created": NOW - 100 + txg, "temporary": False, "clones": [], "holds": []}
    return Snapshot(name, createtxg=txg, **{**known, **more})


def seen(matched: list[Snapshot], **more: Any) -> Seen:
    datasets: dict[str, Dataset] = {}
    for snap in matched:
        datasets.setdefault(snap.dataset, Dataset(snap.dataset)).snapshots.append(snap)
    return Seen(**{"datasets": datasets, "matched": matched, **more})


def decided(found: Seen, rules: Rules, given_up: Collection[str] = (), **more: Any) -> Decision:
    options = Options(Selection(()), ("*",), rules, **more)
    verdicts = judge(found, options, NOW, time.gmtime)
    return decide(verdicts, {*given_up, *too_late(verdicts, options, NOW)}, found)


def pruned(decision: Decision) -> list[str]:
    return [snap.name for snap in decision.pruned]


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
        snapshot("tank/b@6", 6, lifetime=1),
    ]
    found = decided(seen(matched, running=Activity(senders=["zfs send tank/b@4"])), Rules({"last": 1}))
    assert found.deletion.plan.actions == [
        "destroy snapshot tank/b@2",
        "destroy snapshot tank/b@6",
        "destroy snapshot tank/a@1",
        "defer deletion of tank/a@2 (needed by clone tank/c)",
    ]
    assert found.kept == [
        {"name": "tank/a@3", "reasons": ["last 1"]},
        {"name": "tank/b@1", "reasons": ["is the base of the receive into tank/b"]},
        {"name": "tank/b@4", "reasons": ["is being sent"]},
        {"name": "tank/b@5", "reasons": ["last 1"]},
    ]
    assert [snap.name for snap in found.pending] == ["tank/b@3"]
    assert found.given_up == []


def test_what_is_not_sent_yet_is_kept() -> None:
    """With the relationship as the reason, beside the rules."""
    dataset = source(1, 2, 3, 4, at=1)
    dataset.ours.update(records(record(id=OTHER, target="c:x", filters=(Filter("a", ("s2",)),)), pool=OTHER))
    found = Seen({"tank/v": dataset}, dataset.snapshots)
    one, two = f"not yet sent to b:backup/v (relationship {ID})", f"not yet sent to c:x (relationship {OTHER})"
    decision = decided(found, Rules({"last": 1}))
    assert decision.kept == [
        {"name": "tank/v@s2", "reasons": [one, two]},
        {"name": "tank/v@s3", "reasons": [one]},
        {"name": "tank/v@s4", "reasons": ["last 1", one]},
    ]
    assert (pruned(decision), decision.given_up) == (["tank/v@s1"], [])
    ignored = decided(found, Rules({"last": 1}), unreplicated=False)
    assert (pruned(ignored), ignored.given_up) == (["tank/v@s1", "tank/v@s2", "tank/v@s3"], [])


UPCOMING = ("tank/v@s4", "tank/v@s3", "tank/v@other", "tank/w@s4")


def test_check_mode_counts_what_an_earlier_task_would_have_created() -> None:
    """What does not exist, matches, and belongs to a dataset that is pruned."""
    dataset = source(1, 2, 3, at=3)
    found = Seen({"tank/v": dataset}, dataset.snapshots)
    options = Options(Selection(()), ("s*",), Rules({"last": 2}), upcoming=tuple(map(SnapshotName.parse, UPCOMING)))
    assumed = with_upcoming(found, options, NOW)
    assert [snap.name for snap in assumed.matched] == [f"tank/v@s{number}" for number in (1, 2, 3, 4)]
    assert pruned(decided(found, Rules({"last": 2}))) == ["tank/v@s1"]
    assert pruned(decided(assumed, Rules({"last": 2}))) == ["tank/v@s1", "tank/v@s2"]
    assert [each["name"] for each in decided(assumed, Rules({"daily": 1})).kept] == ["tank/v@s4"]
    assert [snap.name for snap in dataset.snapshots] == ["tank/v@s1", "tank/v@s2", "tank/v@s3"]


def test_what_would_have_arrived_is_the_last_received_snapshot() -> None:
    last = Hold(LastHold.TAG, 1)
    snapshots = [snapshot("backup/v@1", 1), snapshot("backup/v@2", 2, holds=[last], userrefs=1)]
    dataset = Dataset("backup/v", ours={SourceMark.NAME: SOURCE}, snapshots=snapshots)
    found = Seen({"backup/v": dataset}, snapshots)
    options = Options(Selection(()), ("*",), Rules({"last": 1}), upcoming=(SnapshotName.parse("backup/v@3"),))
    assert pruned(decided(found, Rules({"last": 1}))) == ["backup/v@1"]
    assert pruned(decided(with_upcoming(found, options, NOW), Rules({"last": 1}))) == ["backup/v@1", "backup/v@2"]


def test_what_is_given_up_is_named() -> None:
    """Only of what no rule keeps; what has expired goes in any case."""
    dataset = source(1, 2, 3, 4, 5, at=1)
    dataset.ours.update(records(record(id=OTHER, target="c:x", filters=(Filter("a", ("s2",)),)), pool=OTHER))
    dataset.snapshots[2].lifetime = 1
    found = Seen({"tank/v": dataset}, dataset.snapshots)
    names = (("s3", ID, "b:backup/v"), ("s2", ID, "b:backup/v"), ("s2", OTHER, "c:x"))
    lost = [{"name": f"tank/v@{name}", "relationship": id_, "target": target} for name, id_, target in names]
    for more in ({"limit": NOW - 2500}, {"given_up": {"tank/v@s2"}}):
        decision = decided(found, Rules({"last": 1}), **more)
        assert pruned(decision) == ["tank/v@s3", "tank/v@s1", "tank/v@s2"]
        assert decision.given_up == lost
        assert [kept["name"] for kept in decision.kept] == ["tank/v@s4", "tank/v@s5"]
    told = _result(decision, [Snapshot(name, state="absent") for name in pruned(decision)], Outcome([], {}, []))
    assert told["given_up"] == lost
    assert told["warnings"] == [
        "b:backup/v will never get tank/v@s3 and tank/v@s2, which are given up although they were not sent yet",
        "c:x will never get tank/v@s2, which is given up although it was not sent yet",
    ]
    busy = [Snapshot("tank/v@s2"), *(Snapshot(f"tank/v@{name}", state="absent") for name in ("s1", "s3"))]
    told = _result(decision, busy, Outcome([], {}, ["tank/v@s2"]))
    assert told["given_up"] == lost[:1]
    assert len(told["warnings"]) == 2
    kept_anyway = decided(found, Rules({"last": 4}), limit=NOW - 4500)
    assert (pruned(kept_anyway), kept_anyway.given_up) == (["tank/v@s3"], lost[:1])


def test_of_a_spoilt_record_nothing_is_pruned_but_what_has_expired() -> None:
    dataset = source(1, 2, 3, at=3)
    dataset.ours[ReplicaRecords.name(OTHER)] = "odd"
    dataset.snapshots[1].lifetime = 1
    decision = decided(Seen({"tank/v": dataset}, dataset.snapshots), Rules({"last": 1}))
    assert [kept["name"] for kept in decision.kept] == ["tank/v@s1", "tank/v@s3"]
    assert f"{ReplicaRecords.name(OTHER)} that cannot be read" in decision.kept[0]["reasons"][0]
    assert decision.given_up == [{"name": "tank/v@s2", "relationship": None, "target": None}]
    told = _result(decision, [Snapshot("tank/v@s2", state="absent")], Outcome([], {}, []))
    assert "a replica whose record cannot be read will never get tank/v@s2" in told["warnings"][0]


def test_the_base_of_an_increment_stays_where_its_bookmark_is_gone() -> None:
    dataset = source(1, 2, 3, at=2)
    found = Seen({"tank/v": dataset}, dataset.snapshots)
    assert pruned(decided(found, Rules({"last": 1}))) == ["tank/v@s1", "tank/v@s2"]
    dataset.bookmarks = []
    for more in ({}, {"unreplicated": False}, {"given_up": {"tank/v@s2"}}):
        decision = decided(found, Rules({"last": 1}), **more)
        assert pruned(decision) == ["tank/v@s1"]
    assert decision.kept[0]["reasons"][0].startswith(f"base of the next increment to b:backup/v (relationship {ID})")


@pytest.mark.parametrize(
    ("mark", "expected"),
    [
        ({"cerss.zfs:source": SOURCE}, ["backup/v@1"]),
        ({"cerss.zfs:source": "odd"}, ["backup/v@1"]),
        ({"cerss.zfs:source": SOURCE.replace("}", ',"released":true}')}, ["backup/v@1", "backup/v@2"]),
        ({}, ["backup/v@1", "backup/v@2"]),
    ],
)
def test_the_newest_snapshot_of_a_live_replica_stays(mark: dict[str, str], expected: list[str]) -> None:
    """Held or not, whatever matches: the next increment needs it."""
    matched = [snapshot("backup/v@1", 1), snapshot("backup/v@2", 2)]
    found = seen(matched)
    found.datasets["backup/v"].ours = mark
    decision = decided(found, Rules(older_than=1))
    assert pruned(decision) == expected
    assert not expected[1:] or not decision.kept
    is_live = len(expected) == 1
    assert pruned(decided(found, Rules(older_than=1), replicas=False)) == ([] if is_live else expected)
    found.datasets["backup/v"].snapshots.append(snapshot("backup/v@other", 3))
    assert pruned(decided(found, Rules(older_than=1))) == ["backup/v@1", "backup/v@2"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"name": []}, None),
        ({"match": []}, None),
        ({"name": [], "select": {"property": "a:b", "value": "c"}}, None),
    ],
)
def test_an_empty_list_is_nothing_to_do(options: dict[str, Any], told: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune, "_read", lambda *_: pytest.fail("read"))
    result = prune.main({**GIVEN, "name": ["tank"], "keep": {"last": 1}, **options}, False)
    assert result["changed"] is False
    assert result["kept"] == result["pruned"] == result["pending"] == result["given_up"] == []


def test_snapshots_from_the_future_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are kept and pruned by the rules, in the order of creation. Old ones that do not expire do no harm."""
    later = {"creation": ("-", "99999999999"), "userrefs": ("-", "0"), "cerss.zfs:expires": ("local", "1"),
             "cerss.zfs:temporary": ("local", "true")}  # fmt: skip
    now = {"creation": ("-", "100"), "userrefs": ("-", "0")}
    old = {key: value for key, value in later.items() if ":" not in key}
    known: Set = {"tank/a": {}, "tank/a@1": old, "tank/b": {}, "tank/b@1": later, "tank/b@2": old, "tank/b@3": now}
    monkeypatch.setattr(prune, "Backend", lambda: Host(known))
    params = {**GIVEN, "name": ["tank/a", "tank/b"], "keep": {"last": 2}}
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
    results = [prune.main({**GIVEN, "name": ["backup/v"], "keep": {"last": last}}, True) for last in (2, 1)]
    if mode == "replica":
        assert [result["pruned"] for result in results] == [[], ["backup/v@1"]]
        assert results[0]["kept"][0] == {"name": "backup/v@1", "reasons": ["last 2"]}
    else:
        assert [result["pruned"] for result in results] == [["backup/v@1"], ["backup/v@1"]]
        assert results[0]["kept"] == [{"name": "backup/v@2", "reasons": ["temporary, never expires"]}]


def test_what_cannot_be_read_is_kept_and_hides_no_other() -> None:
    matched = [snapshot("tank/a@1", 1), snapshot("tank/a@2", 2), snapshot("tank/a@3", 3), snapshot("tank/b@1", 1)]
    decision = decided(seen(matched, spoilt={"tank/a@1": "no 1", "tank/b": "no b"}), Rules({"last": 1}))
    assert pruned(decision) == ["tank/a@2"]
    assert [decision.kept[0], decision.kept[-1]] == [
        {"name": "tank/a@1", "reasons": ["no 1"]}, {"name": "tank/b@1", "reasons": ["no b"]},
    ]  # fmt: skip


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
    params = {**GIVEN, "name": ["backup"], "recursive": True, "keep": {"last": 1000}}
    result = prune.main(params, True)
    assert (result["changed"], result["pruned"]) == (False, [])
    assert {kept["name"] for kept in result["kept"]} == {*victims, "backup/site-b@daily-1"}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"name": None}, "name is missing; give the datasets"),
        ({"name": ["tank", "tank"]}, "more than once"),
        ({"name": ["tank@s"]}, "tank@s"),
        ({"match": None}, "match is missing"),
        ({"match": [""]}, "match is missing"),
        ({"match": ["re:("]}, r"match: 're:\(' is not a regular expression"),
        ({"exclude": ["re:("]}, r"exclude: 're:\(' is not a regular expression"),
        ({"keep": {"last": None}}, "these rules keep nothing"),
        ({"unreplicated_limit": "long"}, "unreplicated_limit: 'long' is not a duration"),
        ({"min_free": "much"}, "min_free: 'much' is not a size"),
        ({"min_free": "100%"}, "min_free: '100%' is not a share of the pool"),
        ({"min_free": "1G", "unreplicated": "ignore"}, "min_free cannot be combined with unreplicated=ignore"),
        ({"unreplicated_limit": "1d", "unreplicated": "ignore"}, "unreplicated_limit cannot be combined with"),
    ],
)
def test_bad_input(options: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        Options.from_params({**GIVEN, "name": ["tank"], "keep": {"last": 1}, **options})


def test_expired_only_means_all_snapshots() -> None:
    given = {**GIVEN, "name": None, "select": {"property": "a:b", "value": True}, "match": None, "expired_only": True}
    options = Options.from_params(given)
    assert (options.match, options.rules, options.selection.roots) == (("*",), Rules(expired_only=True), None)
    assert Options.from_params({**given, "match": ["a"]}).match == ("a",)


def test_what_still_exists_is_no_action() -> None:
    found = seen([snapshot("tank/a@1", 1), snapshot("tank/a@2", 2), snapshot("tank/a@3", 3)])
    decision, stays = decided(found, Rules({"last": 1})), found.matched[1]
    gone = Snapshot("tank/a@1", state="absent")
    told = _result(decision, [gone, stays], Outcome(decision.deletion.plan.effects, {}, []))
    assert (told["actions"], told["pruned"]) == (["destroy snapshot tank/a@1"], ["tank/a@1"])
    assert told["failed"]
    told = _result(decision, [gone, stays], Outcome(decision.deletion.plan.effects, {"tank/a@2": "busy"}, ["tank/a@2"]))
    assert told["actions"] == ["destroy snapshot tank/a@1"]
    assert {"name": "tank/a@2", "reasons": ["is in use"]} in told["kept"]
    assert "failed" not in told


# -- random histories, filters, targets and outages ------------------------------------------------------------------

TARGETS = ("backup/v", "backup/w")
JOBS = {
    "all": PairOptions(job="all"),
    "even": PairOptions(job="even", include=("*[02468]",)),
    "odd": PairOptions(job="odd", exclude=("*[02468]",)),
    "newest": PairOptions(job="newest", intermediates=False),
    "newest even": PairOptions(job="newest", include=("*[02468]",), intermediates=False),
    "expression": PairOptions(job="newest", include=("re:.*[02468]",), intermediates=False),
}
PRUNES = st.builds(
    Rules,
    st.fixed_dictionaries({}, optional={"last": st.integers(0, 3), "daily": st.integers(0, 3)}),
    st.fixed_dictionaries({}, optional={"daily": st.integers(0, 5).map(lambda days: days * 86400)}),
    st.none() | st.integers(0, 5).map(lambda days: days * 86400),
)
EVENTS = st.one_of(
    st.tuples(st.just("take"), st.integers(0, 9), st.none()),  # of ten one is temporary, and three have a lifetime
    st.tuples(st.just("send"), st.sampled_from(TARGETS), st.sampled_from([*JOBS])),
    st.tuples(st.just("outage"), st.sampled_from(TARGETS), st.none()),
    st.tuples(st.just("prune"), PRUNES, st.none() | st.integers(0, 10).map(lambda days: days * 86400)),
)


class Both(Zfs):
    """With a GUID of its own for each replica."""

    def create(self, name: str, guid: str | None = None, origin: str | None = None) -> Dataset:
        return super().create(name, None if name == TARGETS[1] else guid, origin)


class Story:
    """tank/v with two replicas on one pool. What each still lacks is told from what has happened, not from marks."""

    def __init__(self) -> None:
        self.zfs = Both(link())
        self.zfs.create("backup")
        self.zfs.create("tank/v", SOURCE_GUID)
        self.now = 0
        self.out: set[str] = set()
        self.jobs: dict[str, dict[str, PairOptions]] = {name: {} for name in TARGETS}

    def lacking(self, target: str, job: PairOptions) -> list[Snapshot]:
        there = self.zfs.datasets.get(target)
        newest = max((int(str(snap.guid)) for snap in there.snapshots), default=0) if there else 0
        found = [
            snap
            for snap in self.zfs.source.snapshots
            if int(str(snap.guid)) > newest
            and not snap.temporary
            and (not job.include or any(fnmatchcase(snap.snapshot, each.replace("re:.", "")) for each in job.include))
            and not any(fnmatchcase(snap.snapshot, each) for each in job.exclude)
        ]
        return found if job.intermediates else found[-1:]

    def take(self, kind: int, _more: None) -> None:
        made = self.zfs.snapshot("tank/v", temporary=kind == 0)
        self.now = int(str(made.created)) + HOURS * 1800
        made.lifetime = {0: 86400, 1: 3600, 2: 86400, 3: 10 * 86400}.get(kind)

    def send(self, target: str, job: str) -> None:
        options = JOBS[job]
        if target in self.out or not self.lacking(target, options):
            return
        lacking = {snap.guid for snap in self.lacking(target, options)}
        self.zfs.link = link(replica_name=target, target_address=f"b:{target}", filter=storable(options.filter))
        replicate(self.zfs, options)
        self.jobs[target][options.job] = options
        assert lacking <= {snap.guid for snap in self.zfs.datasets[target].snapshots}

    def outage(self, target: str, _more: None) -> None:
        self.out ^= {target}

    def prune(self, rules: Rules, limit: int | None) -> None:
        if not (any(rules.keep.values()) or any(rules.within.values()) or rules.older_than):
            rules = Rules(expired_only=True)
        lacked = {
            (snap.name, target)
            for target, jobs in self.jobs.items()
            for job in jobs.values()
            for snap in self.lacking(target, job)
        }
        before, gone, given_up = self._prune(rules, limit)
        lost = {(name, target) for name, target in lacked if name in gone}
        assert lost <= given_up
        exact = all(JOBS["expression"] not in jobs.values() for jobs in self.jobs.values())
        assert not exact or lost == given_up
        for name, _target in given_up:
            expires = before[name].expires
            assert (expires is not None and expires <= self.now) or limit is not None
        assert not [
            name for name, snap in before.items()
            if snap.expires is not None and snap.expires <= self.now and not snap.holds and name not in gone
        ]  # fmt: skip
        assert self._prune(rules, limit)[1:] == (set(), set())

    def _prune(self, rules: Rules, limit: int | None) -> tuple[dict[str, Snapshot], set[str], set[tuple[str, str]]]:
        dataset = self.zfs.pair().source
        found = Seen({"tank/v": dataset}, dataset.snapshots)
        options = Options(Selection(()), ("*",), rules, limit=limit)
        verdicts = judge(found, options, self.now, time.gmtime)
        decision = decide(verdicts, too_late(verdicts, options, self.now), found)
        do(self.zfs, decision.deletion.plan.steps, [])
        given_up = {(str(each["name"]), str(each["target"]).partition(":")[2]) for each in decision.given_up}
        assert {kept["name"] for kept in decision.kept} == {snap.name for snap in self.zfs.source.snapshots}
        return {snap.name: snap for snap in dataset.snapshots}, {*pruned(decision)}, given_up


@settings(max_examples=150, deadline=None)
@given(st.lists(EVENTS, min_size=5, max_size=40))
def test_nothing_that_a_replica_lacks_goes_unless_it_is_given_up(events: list[Any]) -> None:
    """And what is left can be sent when all targets are back."""
    story = Story()
    for event, *more in events:
        getattr(story, event)(*more)
    story.out.clear()
    for target, jobs in story.jobs.items():
        for job in {name for name, options in JOBS.items() if options in jobs.values()}:
            story.send(target, job)
