# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two jobs may not prune the same snapshots by different rules, but may share all else."""

from __future__ import annotations

from typing import Any

import pytest
from yaml import safe_load

from ansible_collections.cerss.zfs.plugins.module_utils._jobs import job

ONE = "{name: one, datasets: [tank], recursive: true, snapshot: {name: n-%F}, keep: {daily: 7}}"
OTHER = "{name: other, datasets: [tank/db], snapshot: {name: n-%F}, keep: {daily: 60}}"
B = "targets: [{host: b, parent: backup}]"


def problems(one: str, other: str) -> list[str]:
    jobs = [{**safe_load(text), **safe_load(f"{{{change}}}")} for text, change in ((ONE, one), (OTHER, other))]
    for lists in ({"zfs_jobs": jobs}, {"zfs_jobs": jobs[:1], "zfs_jobs_host": jobs[1:]}):
        found: dict[str, Any] = job.plan(lists, job.Where("a", ("a", "b")), only="one")
        assert bool(found["jobs"]) != bool(found["problems"])
    return list(found["problems"])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("", ""),
        ("snapshot: null, match: [x-*, y]", "match: x-*"),
        ("datasets: [tank/db]", "recursive: true"),
        ("datasets: [tank/db/x]", "recursive: true"),
        ("datasets: null, select: {property: 'a:b', value: c}", "datasets: null, select: {property: 'a:b', value: c}"),
        ("exclude: [tank/home]", ""),
        ("snapshot: null, match: n-*", ""),
        ("", "match: o, keep: {daily: 7}"),
        ("", "unreplicated: ignore, keep: {daily: 7}"),
    ],
)
def test_rules_that_differ(one: str, other: str) -> None:
    (told,) = problems(one, other)
    assert told.startswith("jobs one and other have different rules for the same snapshots on the source, and would")


def test_on_targets() -> None:
    (told,) = problems(f"{B}, keep_on_targets: {{daily: 9}}", f"{B}, keep: null, keep_on_targets: {{daily: 8}}")
    assert "for the same snapshots in b:backup, and" in told
    assert problems(f"{B}, keep_on_targets: {{daily: 9}}", f"{B}, keep: null") == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("", "keep: null"),
        ("", "keep: {daily: 7}"),
        ("", "keep: null, snapshot: {name: n-%F, expires: 2d}"),
        ("", "snapshot: {name: o-%F}"),
        ("", "snapshot: {name: n-db-%F}"),
        ("", "enabled: false"),
        ("recursive: false", ""),
        ("exclude: [tank/d*]", ""),
        ("", "datasets: [tanks/db]"),
        ("", "select: {property: 'a:b', value: c}"),
    ],
)
def test_what_is_fine(one: str, other: str) -> None:
    assert problems(one, other) == []
