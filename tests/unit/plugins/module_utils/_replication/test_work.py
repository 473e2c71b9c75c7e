# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Steps of pairs: what stops them, what is no error, and what a source that takes no marks does without."""

from __future__ import annotations

import time

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._host import wanted
from ansible_collections.cerss.zfs.tests.unit.machine import No
from ansible_collections.cerss.zfs.tests.unit.world import HERE, THERE, World, behind, failing, marks, message

# -- marks that are missing or there already -------------------------------------------------------------------------


def test_a_source_that_is_full_is_replicated_with_a_warning(world: World) -> None:
    world.here.make("tank/v@s1")
    world.replicate()
    world.here.make("tank/v@s2")
    before = marks(world)

    def hook(machine: str, argv: list[str]) -> None:
        if machine == HERE and argv[1] in ("set", "hold", "bookmark", "inherit", "release", "program"):
            raise No(f"cannot {argv[1]} {argv[-1]}: out of space")

    world.hook = hook
    for number in (3, 4):
        result = world.replicate()
        assert (message(result), result["replicas"][0]["state"]) == ("", "full")
        assert all("missing on the source, which later runs may need" in told for told in result["warnings"])
        assert len(result["warnings"]) == 1  # the cursor; without it the commit point is not written
        assert marks(world) == before
        world.here.make(f"tank/v@s{number}")
        before = marks(world)
    world.hook = lambda *_: None
    assert message(world.replicate()) == ""
    assert world.replicate()["changed"] is False


def test_a_first_replication_from_a_full_source_needs_its_record(world: World) -> None:
    """Nobody could continue a replica that its source does not know."""
    world.root = False
    world.here.make("tank/v@s1")
    failing(world, "out of space", command="set")
    assert "out of space" in message(world.replicate())
    assert world.count(THERE, "zfs", "receive") == 0
    assert message(world.replicate()) == ""


def test_a_source_that_takes_no_cursor_takes_heed_of_a_pause(world: World) -> None:
    world.here.make("tank/v@s1")

    def hook(machine: str, argv: list[str]) -> None:
        props = world.here.all["tank/v"].props
        if argv[1] == "bookmark":
            raise No("cannot create bookmark: out of space")
        if argv[1] == "receive":
            props.update({name: text.replace('"since"', '"paused":true,"since"') for name, text in props.items()})

    world.hook = hook
    result = world.replicate()
    assert any("paused meanwhile" in text for text in result["warnings"])
    assert not [name for name in world.here.all["tank/v"].props if ":at." in name]


@pytest.mark.parametrize("done", ["bookmark", "hold"])
def test_what_another_run_has_done_already_is_no_error(world: World, done: str) -> None:
    behind(world)

    def other(machine: str, argv: list[str]) -> None:
        if argv[1] == done and machine == HERE:
            world.hook = lambda *_: None
            world.here.answer(argv if done == "bookmark" else [*argv[:3], argv[-1]])

    world.hook = other
    assert message(world.replicate()) == ""
    assert [snap.name for snap in world.here.snaps("tank/v") if snap.holds] == []
    assert world.replicate(check=True)["changed"] is False


def test_cursors_that_another_run_has_removed_are_no_error(world: World) -> None:
    world.here.make("tank/v@s0")
    world.replicate()

    def other(machine: str, argv: list[str]) -> None:
        if machine == HERE and argv[1] == "destroy":
            world.here.all.pop(argv[2], None)
            swept.append(argv[2])

    swept: list[str] = []
    world.hook = other
    for number in range(1, 10):
        world.here.make(f"tank/v@s{number}")
        assert message(world.replicate()) == ""
    assert swept


# -- stopping --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["get", "bookmark", "hold"])
def test_a_stop_comes_before_the_next_effect(world: World, command: str) -> None:
    behind(world)
    before = marks(world)

    def stop(machine: str, argv: list[str]) -> None:
        if argv[1] == command and machine == HERE:
            world.stop.set()

    world.hook = stop
    result = world.replicate(retries=3)
    assert "the run was stopped before" in message(result)
    assert "the next run continues there" in message(result)
    assert world.count(THERE, "zfs", "receive") == 0
    assert marks(world) == before


@pytest.mark.parametrize("command", ["bookmark", "hold"])
def test_a_run_ends_in_time(world: World, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    behind(world)
    before, real, passed = marks(world), time.monotonic, [0.0]

    class Clock:
        time = time.time

        @staticmethod
        def monotonic() -> float:
            return real() + passed[0]

    def late(machine: str, argv: list[str]) -> None:
        if argv[1] == command and machine == HERE:
            passed[0] = 3600.0

    monkeypatch.setattr(wanted, "time", Clock)
    world.hook = late
    result = world.replicate(timeout="10m", retries=3)
    assert "timeout was over before" in message(result)
    assert world.count(THERE, "zfs", "receive") == 0
    assert marks(world) == before
