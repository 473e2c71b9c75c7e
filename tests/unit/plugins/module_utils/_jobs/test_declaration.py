# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of jobs become one, and everything that is wrong with a job is told at once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yaml import safe_load

from ansible_collections.cerss.zfs.plugins.module_utils._jobs import declaration

NIGHTLY = """
name: nightly
datasets: [tank/db, tank/home]
recursive: true
exclude: [tank/home/scratch]
snapshot: {name: "nightly-%Y-%m-%d_%H-%M", min_age: 23h, before: [], after: []}
targets:
  - {host: backend-b, parent: backup/site-a}
  - {host: archive-1, parent: archive/site-a, include: {monthly: 1}}
keep: {daily: 7}
keep_on_targets: {daily: 60, monthly: 24}
max_lag: 26h
"""


def merged(**lists: Any) -> tuple[list[dict[str, Any]], list[str]]:
    problems: list[str] = []
    return declaration.merged(lists, problems), problems


def problems_of(text: str, without: str = "") -> list[str]:
    """Of the job above with some keys changed (``text``) and one left out."""
    problems: list[str] = []
    job = {key: value for key, value in {**safe_load(NIGHTLY), **safe_load(text)}.items() if key != without}
    declaration.checked(job, problems)
    return problems


def test_a_later_job_overrides_the_keys_that_it_gives() -> None:
    jobs, problems = merged(
        zfs_jobs=[{"name": "a", "keep": {"last": 1}, "max_lag": "1h"}, {"name": "b", "recursive": True}],
        zfs_jobs_group=[{"name": "c"}, {"name": "a", "keep": {"daily": 2}}],
        zfs_jobs_host=[{"name": "a", "max_lag": None}],
    )
    assert jobs == [
        {"name": "a", "keep": {"daily": 2}, "max_lag": None},
        {"name": "b", "recursive": True},
        {"name": "c"},
    ]
    assert problems == []


@pytest.mark.parametrize("empty", [None, "", " \n", []])
def test_a_list_may_be_empty(empty: Any) -> None:
    assert merged(zfs_jobs=empty) == ([], [])


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"name": "a"}, "zfs_jobs is not a list; give a list of jobs, each a dictionary with a name"),
        (["a"], "zfs_jobs[0] is not a dictionary"),
        ([{"name": "a"}, {"keep": {}}], "zfs_jobs[1]: name is None; give up to 64 letters"),
        ([{"name": "a b"}], "zfs_jobs[0]: name is 'a b'"),
        ([{"name": "a\n"}], "zfs_jobs[0]: name is"),
        ([{"name": "-a"}], "zfs_jobs[0]: name is '-a'"),
        ([{"name": "a"}, {"name": "a"}], "zfs_jobs has two jobs named a; give each its own name"),
    ],
)
def test_what_is_no_list_of_jobs(value: Any, problem: str) -> None:
    (told,) = merged(zfs_jobs=value)[1]
    assert told.startswith(problem)


def test_the_job_of_the_documentation_is_fine() -> None:
    assert problems_of("{}") == []


@pytest.mark.parametrize(
    ("change", "without", "problem"),
    [
        ("dataset: tank/a", "", "job nightly has no key dataset; the keys are datasets, enabled, "),
        ("{}", "datasets", "job nightly has no datasets; give datasets, or select with"),
        ("{datasets: ''}", "", "job nightly has no datasets"),
        ("select: {property: a}", "", "job nightly: select lacks value"),
        ("snapshot: {min_age: 1h}", "", "job nightly: snapshot lacks name"),
        ("snapshot: {name: backup}", "", "job nightly: snapshot.name is 'backup', which exists after the first run"),
        ("snapshot: {name: a-%F, min_ages: 1h}", "", "job nightly: snapshot has no key min_ages"),
        ("snapshot: {name: a-%F, before: [{argv: id, arg: 1}]}", "", "job nightly: snapshot.before[0] has no key arg"),
        ("targets: [{host: b}]", "", "job nightly: targets[0] needs exactly one of dataset"),
        ("targets: [{host: b, parent: a, dataset: b}]", "", "job nightly: targets[0] needs exactly one of dataset"),
        ("targets: [{parent: a}]", "", "job nightly: targets[0] lacks host"),
        ("targets: [{host: -oProxyCommand=id, parent: a}]", "", "job nightly: targets[0].host is '-oProxyCommand=id'"),
        ("targets: [{host: b c, parent: a}]", "", "job nightly: targets[0].host is 'b c'"),
        ("targets: [{host: b, parent: a, hosts: c}]", "", "job nightly: targets[0] has no key hosts"),
        ("targets: [{host: b, dataset: a}]", "", "job nightly: targets[0].dataset is the replica of one dataset"),
        ("targets: [{host: b, parent: a}, {host: b, parent: a, raw: never}]", "",
         "job nightly: targets lists a target more than once"),
        ("keep: {last: 0}", "", "job nightly: keep keeps nothing; give at least one of last, "),
        ("targets: [{host: b, parent: a, keep: {daily: 0}}]", "", "job nightly: targets[0].keep keeps nothing"),
        ("within: {hourly: 2x}", "", "job nightly: within.hourly: '2x' is not a duration"),
        ("within: {last: 2d}", "", "job nightly: within has no key last"),
        ("replicate: {parallell: 2}", "", "job nightly: replicate has no key parallell"),
        ("login: {key: 2}", "", "job nightly: login has no key key"),
        ("on_divergence: fail", "", "job nightly has no key on_divergence"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_job(change: str, without: str, problem: str) -> None:
    found = problems_of(change, without)
    assert len(found) == 1, found
    assert found[0].startswith(problem)


def test_everything_is_told_at_once() -> None:
    assert len(problems_of("{recursive: perhaps, keep: 7, max_lag: soon, foo: 1}")) == 4


def test_rules_need_to_know_their_snapshots() -> None:
    found = problems_of("{}", without="snapshot")
    assert [text.partition(" needs to know")[0] for text in found] == [
        "job nightly: keep", "job nightly: keep_on_targets",
    ]  # fmt: skip
    assert problems_of("match: nightly-*", without="snapshot") == []
    (told,) = problems_of("{keep: null, keep_on_targets: null, targets: [{host: b, parent: a, older_than: 9d}]}",
                          without="snapshot")  # fmt: skip
    assert told.startswith("job nightly: targets[0].older_than needs to know")


def test_what_is_about_targets_needs_some() -> None:
    found = problems_of("{login: {user: root}, replicate: {parallel: 2}, warn_lag: 2h}", without="targets")
    assert sorted(text.split()[2] for text in found) == ["keep_on_targets", "login", "max_lag", "replicate", "warn_lag"]


def test_a_job_does_something() -> None:
    assert problems_of("{name: a, datasets: tank, snapshot: null, targets: [], keep: null, keep_on_targets: null, "
                       "max_lag: null}") == [
        "job a has nothing to do; give at least one of snapshot, targets and keep"
    ]  # fmt: skip


def test_a_disabled_job_may_be_incomplete_but_has_no_unknown_keys() -> None:
    problems: list[str] = []
    declaration.checked({"name": "a", "enabled": False}, problems)
    assert problems == []
    declaration.checked({"name": "a", "enabled": False, "keeps": 1}, problems)
    assert len(problems) == 1


KEYS = st.sampled_from([*declaration.JOB, "foo"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "a", "tank/a", "1h", "%F", "re:("]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from([*declaration.TARGET, *declaration.SNAPSHOT, "last", "daily"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_whatever_a_job_is_it_is_told_in_sentences(job: dict[str, Any]) -> None:
    problems: list[str] = []
    declaration.checked({**job, "name": "x"}, problems)
    assert all(text.startswith("job x") for text in problems)
