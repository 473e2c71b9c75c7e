# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Adopting a replica, and ending a relationship."""

from __future__ import annotations

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.endpoint import Endpoint
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import (
    Announcement,
    Cursor,
    LastHold,
    ReplicaRecord,
    SourceMark,
    StepHold,
)
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Bookmark, Dataset, Hold, Token
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import SOURCE, TARGET, Pair
from ansible_collections.cerss.zfs.plugins.module_utils._replication.relationship import Options, adopt, end
from ansible_collections.cerss.zfs.tests.unit.pairs import ID, OTHER, cursor, replica, source


def test_ending_removes_all_marks_and_nothing_else():
    here, there = source(1, 2, at=2), replica(1, 2, held=2)
    here.bookmarks += [
        cursor(2, OTHER),
        Bookmark("tank/v#mine", "2", 2),
        Bookmark(f"tank/v#cerss.zfs_{ID}_open", "1", 1),
    ]
    here.snapshots[1].holds = [Hold(StepHold(ID).format()), Hold(StepHold(OTHER).format()), Hold("legal")]
    there.ours[Announcement.NAME] = "[]"
    plan, id_ = end(None, {SOURCE: [here], TARGET: [there]}, "backup/v", Endpoint("b"))
    assert id_ == ID
    commands = [(step.side, *step.commands[0][1:]) for step in plan.steps]
    assert commands == [
        (TARGET, "release", LastHold(ID).format(), "backup/v@s2"),
        (TARGET, "inherit", Announcement.NAME, "backup/v"),
        (TARGET, "inherit", SourceMark.NAME, "backup/v"),
        (SOURCE, "release", StepHold(ID).format(), "tank/v@s2"),
        (SOURCE, "destroy", f"tank/v#{Cursor(ID, '2').format()}"),
        (SOURCE, "destroy", f"tank/v#cerss.zfs_{ID}_open"),
        (SOURCE, "inherit", ReplicaRecord.name(ID), "tank/v"),
    ]


def test_ending_refuses_the_replica_of_another_source():
    here = source(1, recorded=False, at=None)
    here.guid = "800"
    with pytest.raises(Refused, match="is the replica of a:tank/v, not of tank/v"):
        end(None, {SOURCE: [here], TARGET: [replica(1)]}, "backup/v", Endpoint("b"))
    assert end(ID, {TARGET: [replica(1)]}, None, Endpoint())[0].steps


def test_ending_on_one_side():
    plan, id_ = end(None, {SOURCE: [source(1)]}, "backup/v", Endpoint("b"))
    assert id_ == ID
    assert {step.side for step in plan.steps} == {SOURCE}
    plan, _id = end(ID, {TARGET: [replica(1)]}, None, Endpoint())
    assert len(plan.steps) == 2
    assert end(None, {SOURCE: [source(1)]}, "backup/other", Endpoint("b")) == (plan.__class__(), None)


def test_ending_aborts_a_partial_receive():
    there = replica()
    there.token = Token("1-x", "2", "tank/v@s2", 30)
    plan, _id = end(ID, {TARGET: [there]}, "backup/v", Endpoint("b"))
    assert [step.commands[0] for step in plan.steps] == [["zfs", "receive", "-A", "backup/v"]]
    assert "which destroys b:backup/v" in plan.steps[0].text


def test_ending_leaves_the_replica_of_another_relationship_alone():
    there = replica(1, 2, held=2, id=OTHER)
    there.token, there.ours[Announcement.NAME] = Token("1-x", "2", "tank/v@s2", 30), "[]"
    plan, _id = end(ID, {TARGET: [there]}, None, Endpoint("b"))
    assert [step.commands[0][1:3] for step in plan.steps] == [["release", LastHold(ID).format()]]


@pytest.mark.parametrize(
    ("held", "named", "ended"),
    [(2, None, True), (None, "backup/v", True), (None, None, False), (None, "backup", False)],
)
def test_ending_removes_a_mark_that_cannot_be_read(held, named, ended):
    """Otherwise every way out of it would lead back here."""
    there = replica(1, 2, held=held, mode="clear")
    plan, _id = end(ID, {SOURCE: [source(1)], TARGET: [there]}, named, Endpoint("b"))
    assert (["zfs", "inherit", SourceMark.NAME, "backup/v"] in [step.commands[0] for step in plan.steps]) is ended


def adoptable(there: Dataset | None) -> Pair:
    return Pair(source(1, 2, at=None, recorded=False), "backup/v", there, None, "77", "tank/v", "b:backup/v", "a", "b")


def test_adopting_marks_both_sides():
    there = replica(1, held=None)
    there.ours = {}
    commands = [(step.side, step.commands[0][1]) for step in adopt(adoptable(there)).steps]
    assert commands == [(TARGET, "set"), (SOURCE, "bookmark"), (SOURCE, "set"), (TARGET, "hold")]


@pytest.mark.parametrize(
    ("there", "message"),
    [
        (None, "does not exist"),
        (replica(8), "no snapshot in common"),
        (replica(1, guid="5"), "end that relationship first"),
        (replica(1, more="than we write"), "cannot be read, so it may be the replica of another dataset"),
    ],
)
def test_what_cannot_be_adopted(there, message):
    with pytest.raises(Refused, match=message):
        adopt(adoptable(there))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"id": "xyz"}, "16 hex digits"),
        ({"name": "tank/v"}, "the relationship is not specified"),
        ({"id": ID, "state": "present"}, "state=present needs name"),
        ({"name": "tank/v@s", "target": {"dataset": "b/v"}}, "names a snapshot"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(BadInput, match=message):
        Options.from_params({"state": "absent", "force": False, **options})
