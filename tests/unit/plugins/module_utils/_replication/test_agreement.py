# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Both sides must say the same. Whatever a replica claims, nothing is sent there, destroyed or released otherwise."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import PLAIN, RAW, ReplicaRecord, SourceMark
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Value
from ansible_collections.cerss.zfs.plugins.module_utils._replication import reseed
from ansible_collections.cerss.zfs.plugins.module_utils._replication.agreement import agreed_mode, begun, recorded_mode
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import Pair, PairOptions
from ansible_collections.cerss.zfs.plugins.module_utils._replication.planner import plan_pair
from ansible_collections.cerss.zfs.tests.unit.pairs import (
    ID,
    OTHER,
    RECORD,
    last_hold,
    pair,
    record,
    records,
    replica,
    source_mark,
    step_hold,
    token,
    with_token,
)

MEND = r"cerss\.zfs\.zfs_replication \(state=present\)"
ELSEWHERE = "choose another target"


def changed(case: Pair, recorded: dict[str, Any] | None, marked: dict[str, Any] | None) -> Pair:
    """The pair with changes of the record and the mark; None removes one."""
    assert case.replica
    case.source.ours = {} if recorded is None else records(record(**recorded))
    case.replica.ours = {} if marked is None else source_mark(**marked)
    return case


DISAGREEMENTS = [
    pytest.param({}, {"id": OTHER}, f"the id is {ID} in the source's record and {OTHER} on the replica", MEND, id="id"),
    pytest.param({}, {"mode": RAW}, "the mode is plain in .* and raw on the replica", MEND, id="mode"),
    pytest.param({"guid": "5"}, {}, "the replica's GUID is 5 in .* and 901 on the replica", MEND, id="replica's GUID"),
    pytest.param(
        {}, {"guid": "5"}, r"is the replica of a:tank/v \(GUID 5\), not of a:tank/v \(GUID 900\)", ELSEWHERE,
        id="source's GUID",
    ),
    pytest.param(None, {}, "is marked as the replica of a:tank/v, but a:tank/v has no record", MEND, id="no record"),
    pytest.param({}, None, "has lost the property cerss.zfs:source", MEND, id="no mark"),
    pytest.param({"guid": "5"}, None, "is not a replica made by this collection", ELSEWHERE, id="no mark, other GUID"),
    pytest.param(None, None, "is not a replica made by this collection", f"{ELSEWHERE}.*{MEND}", id="nothing"),
    pytest.param({}, {"released": True}, "was released by a failover", f"{ELSEWHERE}.*{MEND}", id="released"),
    pytest.param({}, {"put_aside": True}, "was put aside by a reseed", f"rename it, or {ELSEWHERE}", id="put aside"),
    pytest.param({"formerly": "6"}, {"guid": "5"}, r"\(GUID 5\), not of a:tank/v", ELSEWHERE, id="formerly"),
]  # fmt: skip


@pytest.mark.parametrize(("recorded", "marked", "message", "way_out"), DISAGREEMENTS)
@pytest.mark.parametrize("replica_has", [[1], [1, 9], [8], []])
@pytest.mark.parametrize("on_divergence", ["fail", "rollback", "reseed"])
def test_each_disagreement_is_refused(
    recorded: Any, marked: Any, message: str, way_out: str, replica_has: list[int], on_divergence: str
) -> None:
    """Whatever the options say, and whatever the replica holds."""
    case = changed(pair([1, 2], replica_has, (1,)), recorded, marked)
    assert case.replica
    if replica_has:
        last_hold(case.replica)
    step_hold(case.source, 1, 2)
    plan = plan_pair(case, PairOptions(on_divergence=on_divergence))
    assert isinstance(plan.error, Refused)
    assert plan.steps == ()
    with pytest.raises(Refused, match=f"b:backup/v.*{message}.*; .*{way_out}"):
        raise plan.error


@pytest.mark.parametrize("what", ["record", "mark"])
def test_what_is_spoilt_is_refused(what: str) -> None:
    case = pair([1, 2], [1])
    assert case.replica
    case.source.ours.update({RECORD: "[{}]"} if what == "record" else {})
    case.replica.ours.update({SourceMark.NAME: "{}"} if what == "mark" else {})
    where = f"a:tank/v has a property {RECORD}" if what == "record" else "b:backup/v has a property cerss.zfs:source"
    with pytest.raises(Refused, match=f"{where} that cannot be read, so .*; {MEND} writes it anew"):
        agreed_mode(case, PairOptions())


def test_a_spoilt_record_is_refused_before_there_is_a_replica() -> None:
    case = pair([1], None)
    case.source.ours = {RECORD: "[{}]"}
    assert "it is not known which replicas it has" in str(plan_pair(case, PairOptions()).error)


# -- what agrees -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recorded", "marked"),
    [
        ({}, {}),
        ({"guid": ReplicaRecord.UNKNOWN}, {}),  # begun: the run was killed before it could record the GUID
        ({"formerly": "5"}, {"guid": "5"}),  # the source is what a reseed made of dataset 5
        ({"formerly": "5"}, {}),
        ({"target": "b:former"}, {"host": "former", "dataset": "former"}),  # names are for people
        ({"mode": RAW}, {"mode": RAW}),
    ],
)
def test_what_agrees(recorded: dict[str, Any], marked: dict[str, Any]) -> None:
    case = changed(pair([1, 2], [1]), recorded, marked)
    assert agreed_mode(case, PairOptions()) == recorded.get("mode", PLAIN)
    assert begun(case) is (recorded.get("guid") == ReplicaRecord.UNKNOWN)


def test_what_was_begun_elsewhere_is_not_this_replica() -> None:
    """It claims the id of a relationship whose replica has no GUID in the record yet."""
    case = changed(pair([1, 2], [1]), {"guid": ReplicaRecord.UNKNOWN, "target": "b:backup/w"}, {})
    assert not begun(case)
    assert "the replica's GUID is 0 in the source's record and 901" in str(plan_pair(case, PairOptions()).error)
    for target in ("10.0.0.2:backup/v", "backup/v"):  # its host may have several names
        assert begun(changed(case, {"guid": ReplicaRecord.UNKNOWN, "target": target}, {}))


def test_a_first_receive_without_a_mark_yet() -> None:
    """ZFS may not have set the properties when it was cut; our record says that we have begun one."""
    case = changed(pair([1, 2], []), {"guid": ReplicaRecord.UNKNOWN}, None)
    assert agreed_mode(case, PairOptions()) == PLAIN
    assert "is not a replica" in str(plan_pair(changed(case, None, None), PairOptions()).error)
    # Started by hand: the GUID in its token proves that it is of this source.
    assert agreed_mode(with_token(case, token(1)), PairOptions()) == PLAIN
    assert "is not a replica" in str(plan_pair(with_token(case, token(7)), PairOptions()).error)


def test_a_source_that_was_made_anew_has_no_say_yet() -> None:
    """Its former replica can only be put aside."""
    case = replace(changed(pair([1, 2], [8]), None, {"guid": "5"}), made_anew=True)
    assert agreed_mode(case, PairOptions()) == PLAIN
    assert "on_divergence=reseed puts the old replica aside" in str(plan_pair(case, PairOptions()).error)
    plan = plan_pair(case, PairOptions(on_divergence="reseed"))
    assert (plan.error, plan.into) == (None, reseed.beside_name(case))


# -- raw and plain ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("there", [[1], None])
@pytest.mark.parametrize("encrypted", [True, False])
@pytest.mark.parametrize(
    ("recorded", "raw", "expected"),
    [
        (PLAIN, "auto", PLAIN),
        (PLAIN, "never", PLAIN),
        (PLAIN, "always", None),  # for an unencrypted source that is no contradiction
        (RAW, "auto", RAW),
        (RAW, "always", RAW),
        (RAW, "never", None),
    ],
)
def test_the_recorded_mode_decides(there: Any, encrypted: bool, recorded: str, raw: str, expected: str | None) -> None:
    case = pair([1, 2], there, recorded=True)
    case.source.ours = records(record(mode=recorded))
    case.source.values["encryption"] = Value("aes-256-gcm" if encrypted else "off")
    if case.replica:
        case.replica.ours = source_mark(mode=recorded)
    if (recorded, raw, encrypted) == (PLAIN, "always", False):
        expected = PLAIN
    if expected:
        assert agreed_mode(case, PairOptions(raw=raw)) == expected
        return
    with pytest.raises(Refused, match=f"started with {recorded} streams, and ZFS cannot mix.*; leave raw at auto, or"):
        agreed_mode(case, PairOptions(raw=raw))


@pytest.mark.parametrize(
    ("encryption", "raw", "expected"),
    [("off", "auto", PLAIN), ("off", "always", PLAIN), ("off", "never", PLAIN), ("aes-256-gcm", "auto", RAW),
     ("aes-256-gcm", "always", RAW), ("aes-256-gcm", "never", PLAIN)],
)  # fmt: skip
def test_the_mode_of_a_new_replica(encryption: str, raw: str, expected: str) -> None:
    case = pair([1], None)
    case.source.values["encryption"] = Value(encryption)
    assert recorded_mode(case, raw) == agreed_mode(case, PairOptions(raw=raw)) == expected


MARKS = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from([ID, OTHER]),
        "guid": st.sampled_from(["900", "5"]),
        "mode": st.sampled_from([PLAIN, RAW]),
        **{flag: st.booleans() for flag in SourceMark.FLAGS},
    },
)
RECORDS = st.fixed_dictionaries(
    {},
    optional={
        "guid": st.sampled_from(["901", "0", "5"]),
        "formerly": st.sampled_from(["5", None]),
        "paused": st.booleans(),
    },
)


@given(
    recorded=st.none() | RECORDS,
    marked=st.none() | MARKS,
    there=st.sampled_from([None, (), (1,), (1, 9), (8,)]),
    partial=st.none() | st.tuples(st.integers(1, 3), st.none() | st.just(1), st.booleans()),
    beside=st.none() | MARKS,
    raw=st.sampled_from(["auto", "always"]),
    on_divergence=st.sampled_from(["fail", "rollback", "reseed"]),
    made_anew=st.booleans(),
)
def test_no_claim_makes_encrypted_data_leave_in_the_clear(
    recorded: Any, marked: Any, there: Any, partial: Any, beside: Any, raw: str, on_divergence: str, made_anew: bool
) -> None:
    """Unless the source's own record says plain, each stream of an encrypted source is raw."""
    case = pair([1, 2, 3], there, (1,), made_anew=made_anew)
    case.source.values["encryption"] = Value("aes-256-gcm")
    case.source.ours = {} if recorded is None else records(record(mode=RAW, **recorded))
    if case.replica:
        case.replica.ours = {} if marked is None else source_mark(**marked)
        if partial:
            with_token(case, token(*partial))
    if beside is not None:
        other = replica(1, held=None, **{"beside": True, **beside})
        other.name = reseed.beside_name(case)
        case = replace(case, beside=other)
        with_token(replace(case, replica=other), token(*(partial or (2, 1))))
    plan = plan_pair(case, PairOptions(raw=raw, on_divergence=on_divergence))
    assert all(send.raw for send in plan.sends)


@given(
    marked=MARKS, there=st.sets(st.integers(1, 9), min_size=1), options=st.sampled_from(["fail", "rollback", "reseed"])
)
def test_nothing_of_another_relationship_is_touched(marked: dict[str, Any], there: set[int], options: str) -> None:
    """If the replica has another id than the source has recorded, no command at all is planned."""
    for recorded, part in itertools.product(({}, {"guid": "5"}, {"guid": "0"}, None), (False, True)):
        case = changed(pair([1, 2, 3], sorted(there), (1,)), recorded, {**marked, "id": OTHER})
        assert case.replica
        last_hold(case.replica)
        step_hold(case.source, 2, id_=OTHER)
        if part:
            with_token(case, token(3, max(there)))
        plan = plan_pair(case, PairOptions(on_divergence=options))
        assert plan.error
        assert plan.steps == ()
