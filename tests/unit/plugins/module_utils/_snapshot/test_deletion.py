# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How snapshots are deleted: at once or deferred, and in which commands."""

from __future__ import annotations

from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Hold, Snapshot
from ansible_collections.cerss.zfs.plugins.module_utils._snapshot import deletion


def test_deletion_is_batched_by_dataset_and_hundred() -> None:
    snapshots = [Snapshot(f"tank/{n % 2}@{n}", clones=[], userrefs=0, holds=[]) for n in range(300)]
    snapshots.append(Snapshot("tank/0@held", clones=[], userrefs=1, holds=[Hold("h")]))
    snapshots.append(Snapshot("tank/0@pending", state="pending_delete", clones=[], userrefs=1, holds=[Hold("h")]))
    snapshots.append(Snapshot("tank/0@sent", clones=[], userrefs=0, holds=[]))
    planned = deletion.plan_deletion(snapshots, {"tank/0@sent"})
    steps = planned.plan.steps
    assert [(step.names[0].partition("@")[0], len(step.names), "-d" in step.commands[0]) for step in steps] == [
        ("tank/0", 100, False), ("tank/0", 50, False), ("tank/1", 100, False), ("tank/1", 50, False),
        ("tank/0", 1, True),
    ]  # fmt: skip
    assert planned.pending == ["tank/0@pending"]
    assert list(planned.failures) == ["tank/0@sent"]
    assert len(planned.plan.actions) == 301


def test_what_is_needed_by_now_is_deferred_instead() -> None:
    (step,) = deletion.removals("tank/v", [deletion.destruction("tank/v@a"), deletion.destruction("tank/v@b")])
    assert step.commands == (["zfs", "destroy", "tank/v@a,b"],)
    assert step.part
    assert step.instead
    alone = step.part(step.effects[:1])
    assert alone.commands == (["zfs", "destroy", "tank/v@a"],)
    instead = step.instead(alone.effects)
    assert instead.commands == (["zfs", "destroy", "-d", "tank/v@a"],)
    assert instead.text == "defer deletion of tank/v@a"
    assert instead.instead is None


def test_an_action_names_all_that_needs_the_snapshot() -> None:
    snapshot = Snapshot("tank/v@a", clones=["tank/c"], userrefs=1, holds=[Hold("h")])
    assert deletion.plan_deletion([snapshot]).plan.actions == [
        "defer deletion of tank/v@a (needed by clone tank/c and hold h)"
    ]
