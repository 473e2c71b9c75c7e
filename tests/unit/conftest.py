# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets the unit tests import the collection from a plain clone, wherever it lies."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

import hypothesis
import pytest

ROOT = Path(__file__).parents[2]

for name, path in {
    "ansible_collections": [],
    "ansible_collections.cerss": [],
    "ansible_collections.cerss.zfs": [str(ROOT)],
}.items():
    package = ModuleType(name)
    package.__path__ = path
    sys.modules.setdefault(name, package)

# Always the same examples in CI; elsewhere new ones, so that they go on finding things.
# What a mutant breaks need not be small.
hypothesis.settings.register_profile("default", deadline=None, max_examples=60)
hypothesis.settings.register_profile("ci", parent=hypothesis.settings.get_profile("default"), derandomize=True)
PHASES = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
hypothesis.settings.register_profile("mutants", parent=hypothesis.settings.get_profile("ci"), phases=PHASES)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "default"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--accept", action="store_true", help="write results that changed, and nothing else, into the recordings"
    )
