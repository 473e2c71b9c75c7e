# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packages of module_utils import downwards only, and each test file stands where its code file does."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UTILS = ROOT / "plugins" / "module_utils"
FILES = sorted(path.relative_to(UTILS) for path in UTILS.rglob("*.py"))
PREFIX = "ansible_collections.cerss.zfs.plugins.module_utils."

# package -> the packages that it may import besides its own; "" is what lies beside the packages
BELOW = {
    "_core": set[str](),
    "_zfs": {"_core"},
    "_host": {"_core", "_zfs"},
    "_snapshot": {"_core", "_zfs", "_host"},
    "_dataset": {"_core", "_zfs", "_host", "_snapshot"},
    "_replication": {"_core", "_zfs", "_host"},
    "_pool": {"_core", "_zfs", "_host"},
    "_jobs": {"_core", "_snapshot"},
    "_distribution": {"_core"},
    "_failover": {"_core"},
    "": {"_core", "_zfs"},
}
PURE = ("_core", "_zfs", "_jobs", "_distribution", "_failover", "")
EFFECTS = {"subprocess", "socket", "threading", "multiprocessing", "signal", "asyncio", "tempfile", "shutil"}


def package(file: Path) -> str:
    return str(file.parent) if file.parent.name else ""


def imports(file: Path) -> Iterator[str]:
    """Dotted names of all that a file imports, at its top or anywhere in it."""
    for node in ast.walk(ast.parse((UTILS / file).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(file: Path) -> set[Path]:
    """The files of module_utils that a file imports."""
    found = set()
    for name in imports(file):
        if name.startswith(PREFIX):
            path = Path(*name[len(PREFIX) :].split("."))
            found.add(next(each for each in (path.with_suffix(".py"), path.parent.with_suffix(".py")) if each in FILES))
    return found


@pytest.mark.parametrize("file", FILES, ids=str)
def test_imports_go_down(file: Path) -> None:
    allowed = BELOW[package(file)] | {package(file)}
    assert {str(other) for other in ours(file) if package(other) not in allowed} == set()


def test_no_import_goes_in_a_circle() -> None:
    TopologicalSorter({file: ours(file) for file in FILES}).prepare()


@pytest.mark.parametrize(
    "file", [file for file in FILES if package(file) in PURE and file.name != "_module.py"], ids=str
)
def test_what_is_pure_starts_nothing_and_never_waits(file: Path) -> None:
    roots = {name.partition(".")[0] for name in imports(file)}
    assert not roots & EFFECTS
    assert "sleep" not in (UTILS / file).read_text()


def test_every_test_file_stands_where_its_code_file_does() -> None:
    tests = Path(__file__).parent / "plugins" / "module_utils"
    mirrored = {path.relative_to(tests).with_name(path.name.removeprefix("test_")) for path in tests.rglob("test_*.py")}
    # That of a file which lies beside the packages keeps its underscore.
    assert {
        str(file) for file in mirrored if file not in FILES and file.with_name(f"_{file.name}") not in FILES
    } == set()
