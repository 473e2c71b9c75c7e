# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What zfs_snapshot decides, before any command runs."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Hold, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import Activity
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot import deletion
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.absent import plan_absent
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.dependents import Closure
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.options import Options
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot.present import _moments, _ready, plan_present
from ansible_collections.cerss.zfs.plugins.module_utils._zfs.processes import Receiver

DEFAULTS: dict[str, Any] = {
    "name": ["tank/v@s"], "state": "present", "recursive": False, "properties": None, "holds": None,
    "purge_holds": False, "temporary": None, "expires": None, "min_age": None, "match": None, "before": None,
    "after": None, "on_dependents": "defer", "wait": 0,
}  # fmt: skip
NOW = Activity(now=2000.0)


def options(**params: Any) -> Options:
    return Options.from_params({**DEFAULTS, **params})


def standing(**values: Any) -> dict[str, Dataset]:
    """tank/v with its snapshot s, read with all values."""
    snapshot = Snapshot("tank/v@s", "1", 5, created=1000, temporary=False, clones=[], userrefs=0, holds=[])
    for name, value in values.items():
        setattr(snapshot, name, value)
    return {"tank/v": Dataset("tank/v", snapshots=[snapshot])}


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"name": []}, "name is empty"),
        ({"name": [""]}, "a snapshot name is empty"),
        ({"name": ["tank/v"]}, "names no snapshot"),
        ({"name": ["tank/v@a", "tank/v@a"]}, "more than once"),
        ({"name": ["tank/v@" + "s" * 249]}, "256 characters"),
        ({"name": ["tank/v@a b%"]}, "it has '%'"),
        ({"holds": ["cerss.zfs:step:1"]}, "belongs to this collection"),
        ({"holds": ["x" * 201]}, "201 bytes"),
        ({"holds": ["a", "a"]}, "holds lists a more than once"),
        ({"purge_holds": True}, "purge_holds needs holds"),
        ({"expires": "2h"}, "expires needs temporary=true"),
        ({"expires": "2h", "temporary": False}, "expires needs temporary=true"),
        ({"expires": "0", "temporary": True}, "would expire at its creation"),
        ({"expires": "soon", "temporary": True}, "is not a duration"),
        ({"min_age": "1h"}, "min_age and match belong together"),
        ({"match": ["*"]}, "min_age and match belong together"),
        ({"properties": {"compression": "on"}}, "only user properties"),
        ({"properties": {"Org:x": "on"}}, "not a valid user property"),
        ({"properties": {"org:x": ["a"]}}, "is a list"),
        ({"properties": {"org:x": "a\0"}}, "NUL"),
        ({"properties": {"org:x": "x" * 8192}}, "8192 bytes"),
        ({"properties": {"cerss.zfs:temporary": True}}, "belongs to this collection"),
        ({"before": [{"argv": [], "timeout": "1s", "environment": None}]}, "before command 1 has no argv"),
        ({"after": [{"argv": ["x"], "timeout": "0", "environment": None}]}, "timeout of after command 1 is 0"),
        ({"wait": 3}, "are for state=absent"),
        ({"on_dependents": "fail"}, "are for state=absent"),
        ({"state": "absent", "wait": -1}, "wait is -1"),
        ({"state": "absent", "holds": [], "temporary": True}, "holds, temporary cannot be combined with state=absent"),
    ],
)
def test_bad_options(params: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput) as caught:
        options(**params)
    assert words in caught.value.msg


def test_values_are_text() -> None:
    told = options(properties={"a:b": True, "a:c": False, "a:d": 1.5, "a:e": None, "a:f": "x\ty\nz ü"}).properties
    assert told == {"a:b": "true", "a:c": "false", "a:d": "1.5", "a:e": None, "a:f": "x\ty\nz ü"}


def test_moments_have_one_pool_and_one_snapshot_of_each_volume() -> None:
    names = ["tank/a@1", "tank/b@1", "backup/a@1", "tank/a@2", "tank@1", "tank/a@3"]
    assert _moments(names) == [["tank/a@1", "tank/b@1", "tank@1"], ["backup/a@1"], ["tank/a@2"], ["tank/a@3"]]


def test_what_is_right_is_left_alone() -> None:
    wished = options(properties={"a:b": "1", "a:c": None}, holds=["h"], temporary=True, expires=3600)
    right = standing(properties={"a:b": "1"}, holds=[Hold("h")], temporary=True, lifetime=3600)
    assert not plan_present(wished, ["tank/v@s"], right, NOW).plan.changed
    plan = plan_present(wished, ["tank/v@s"], standing(properties={"a:c": "2"}), NOW).plan
    assert plan.actions == [
        "set a:b, cerss.zfs:temporary and cerss.zfs:expires of tank/v@s",
        "unset a:c of tank/v@s",
        "put hold h on tank/v@s",
    ]
    assert [command for step in plan.steps for command in step.commands] == [
        ["zfs", "set", "a:b=1", "cerss.zfs:temporary=true", "cerss.zfs:expires=3600", "tank/v@s"],
        ["zfs", "inherit", "a:c", "tank/v@s"],
        ["zfs", "hold", "h", "tank/v@s"],
    ]


def test_foreign_holds_are_purged_only_on_request_and_ours_never() -> None:
    tags = ["keep", "other", "cerss.zfs:step:00112233445566aa", ".send-1-1"]
    held = standing(holds=[Hold(tag) for tag in tags])
    assert not plan_present(options(holds=["keep"]), ["tank/v@s"], held, NOW).plan.changed
    plan = plan_present(options(holds=["keep"], purge_holds=True), ["tank/v@s"], held, NOW).plan
    assert plan.actions == ["release hold other of tank/v@s"]
    assert plan.to_result()["diff"]["before"] == {"tank/v@s": {"holds": {"other": True}}}


def test_expiry_in_the_past_is_refused() -> None:
    with pytest.raises(BadInput, match="would have expired 1970-01-01T00:17:40Z"):
        plan_present(options(temporary=True, expires=60), ["tank/v@s"], standing(), NOW)


def test_pending_is_refused_with_what_keeps_it() -> None:
    marked = standing(state="pending_delete", clones=["tank/c"], holds=[Hold("h")])
    with pytest.raises(Refused, match=r"as long as clone tank/c and hold h needs it.*clone it"):
        plan_present(options(), ["tank/v@s"], marked, NOW)


def test_inbound_cannot_be_made() -> None:
    arriving = {"tank/v": Dataset("tank/v", inconsistent=True)}
    with pytest.raises(Refused, match="is being received for the first time"):
        plan_present(options(), ["tank/v@s"], arriving, NOW)
    arriving["tank/v"].ours = {"cerss.zfs:inbound": '[{"guid": "7", "snapshot": "s", "bytes": 1}]'}
    with pytest.raises(Refused, match="tank/v@s is arriving by replication"):
        plan_present(options(), ["tank/v@s"], arriving, NOW)


def test_what_is_first_received_below_is_left_out_unless_named() -> None:
    found = {"tank": Dataset("tank"), "tank/new": Dataset("tank/new", inconsistent=True)}
    wished = options(name=["tank@s"], recursive=True)
    names, warnings = _ready(wished, ["tank@s", "tank/new@s"], found)
    assert names == ["tank@s"]
    assert warnings == ["tank/new@s is left out: the volume is being received for the first time"]
    assert _ready(options(name=["tank/new@s"]), ["tank/new@s"], found) == (["tank/new@s"], [])


def test_commands_around_are_named_by_number() -> None:
    entry = {"argv": ["secret"], "timeout": "1s", "environment": {"A": "secret"}}
    plan = plan_present(options(before=[entry], after=[entry, entry]), ["tank/v@new"], standing(), NOW).plan
    assert plan.actions == [
        "run before command 1", "create snapshot tank/v@new", "run after command 1", "run after command 2",
    ]  # fmt: skip
    assert "secret" not in str(plan.to_result())
    assert not plan_present(options(before=[entry]), ["tank/v@s"], standing(), NOW).plan.changed


def test_deletion_is_batched_by_dataset_and_hundred() -> None:
    snapshots = [Snapshot(f"tank/{n % 2}@{n}", clones=[], userrefs=0, holds=[]) for n in range(300)]
    snapshots.append(Snapshot("tank/0@held", clones=[], userrefs=1, holds=[Hold("h")]))
    snapshots.append(Snapshot("tank/0@marked", state="pending_delete", clones=[], userrefs=1, holds=[Hold("h")]))
    snapshots.append(Snapshot("tank/0@sent", clones=[], userrefs=0, holds=[]))
    planned = deletion.plan_deletion(snapshots, {"tank/0@sent"})
    steps = planned.plan.steps
    assert [(step.names[0].partition("@")[0], len(step.names), "-d" in step.commands[0]) for step in steps] == [
        ("tank/0", 100, False), ("tank/0", 50, False), ("tank/1", 100, False), ("tank/1", 50, False),
        ("tank/0", 1, True),
    ]  # fmt: skip
    assert planned.pending == ["tank/0@marked"]
    assert list(planned.failures) == ["tank/0@sent"]
    assert len(planned.plan.actions) == 301


def test_fail_lists_every_dependent_of_every_name() -> None:
    wanted = [
        Snapshot("tank/v@a", clones=["tank/c"], userrefs=1, holds=[Hold("h")]),
        Snapshot("tank/v@b", clones=[], userrefs=0, holds=[]),
        Snapshot("tank/v@c", clones=["tank/v/%recv"], userrefs=0, holds=[]),
    ]
    with pytest.raises(Refused) as caught:
        plan_absent(options(state="absent", on_dependents="fail"), wanted, Closure(), NOW)
    assert "tank/v@a is needed by clone tank/c and hold h" in caught.value.msg
    assert "tank/v@c is needed by the receive into tank/v" in caught.value.msg
    assert "tank/v@b" not in caught.value.msg


@pytest.mark.parametrize(
    ("receivers", "writers", "active"),
    [
        ([], 0, False),
        ([], 1, None),
        ([Receiver(1, 5, "zfs receive tank/v")], 1, True),
        ([Receiver(1, 5, "zfs receive tank/w")], 1, False),
        ([Receiver(1, 5, "zfs receive tank/w")], 2, None),
    ],
)
def test_active_is_told_apart_from_left_over(receivers: list[Receiver], writers: int, active: Any) -> None:
    assert Activity(0.0, receivers, writers).receives("tank/v") is active
