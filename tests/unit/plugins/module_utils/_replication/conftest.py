# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.cerss.zfs.tests.unit.world import World

NewWorld = Callable[..., World]


@pytest.fixture
def new_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> NewWorld:
    """Makes worlds with the pools tank here and backup there; programs run in the one that was made last."""

    def make(seed: int | None = None) -> World:
        world = World(seed)
        world.install(monkeypatch, tmp_path)
        world.here.make("tank")
        world.there.make("backup")
        return world

    return make


@pytest.fixture
def world(new_world: NewWorld) -> World:
    return new_world()
