# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The channel program does what the commands do that it replaces."""

from __future__ import annotations

from itertools import chain

import pytest
from harness import Backend

from ansible_collections.cerss.zfs.plugins.module_utils._zfs import commands as zfs
from ansible_collections.cerss.zfs.plugins.module_utils._zfs import program

pytestmark = pytest.mark.no_gate("no gate lets a channel program through")


def carried_out(backend: Backend, *groups: list[list[str]] | None) -> list[str]:
    assert all(groups)
    flat = chain.from_iterable(chain.from_iterable(group or [] for group in groups))
    return program.ends(backend.run(zfs.program("tank", flat), input=program.SCRIPT).stdout, len(groups))


def set_on(backend: Backend, name: str) -> dict[str, str]:
    rows = backend.zfs("get", "-Hp", "-s", "local", "-o", "property,value", "all", name).splitlines()
    return dict(row.split("\t") for row in rows if ":" in row.split("\t")[0])


def test_each_group_on_its_own(backends: list[Backend]) -> None:
    one = backends[0]
    one.run("zfs create tank/v && zfs create tank/v/c && zfs snapshot tank/v@s && zfs set a:b=x tank/v")
    cursor = zfs.bookmark("tank/v@s", "tank/v#b")
    ends = carried_out(
        one,
        program.group("tank/v", {"a:b": "x", "c:d": ""}, [cursor, zfs.set_({"c:d": "v w=1", "g:h": "-F"}, ["tank/v"])]),
        program.group("tank/v", {"a:b": "y"}, [zfs.set_({"a:b": "z"}, ["tank/v"])]),
        # What a dataset inherits is not set on it, and what is there already is no error.
        program.group("tank/v/c", {"a:b": ""}, [cursor, zfs.set_({"a:b": "own"}, ["tank/v/c"])]),
        program.group("tank/gone", {"a:b": ""}, [zfs.inherit("a:b", ["tank/v"])]),
        program.group("tank/v", {}, [zfs.bookmark("tank/v@no", "tank/v#c"), zfs.set_({"a:b": "z"}, ["tank/v"])]),
        program.group("tank/v", {"a:b": "x"}, [zfs.inherit("g:h", ["tank/v"])]),
    )
    assert ends == [program.DONE, program.CHANGED, program.DONE, program.CHANGED, "2", program.DONE]
    assert set_on(one, "tank/v") == {"a:b": "x", "c:d": "v w=1"}
    assert set_on(one, "tank/v/c") == {"a:b": "own"}
    assert one.zfs("list", "-H", "-t", "bookmark", "-o", "name").split() == ["tank/v#b"]


def test_as_many_as_one_program_may_have(backends: list[Backend]) -> None:
    one = backends[0]
    one.run("zfs create tank/v && zfs snapshot tank/v@s")
    value = "x" * 200
    groups = [
        program.group("tank/v", {"a:b": ""}, [zfs.bookmark("tank/v@s", f"tank/v#{number}"),
                                              zfs.set_({f"c:d{number}": value}, ["tank/v"])])
        for number in range(program.MOST // 4)
    ]  # fmt: skip
    (batch,) = program.batches([group for group in groups if group], zfs.ARGUMENTS)
    assert carried_out(one, *batch) == [program.DONE] * len(groups)
    assert len(one.zfs("list", "-H", "-t", "bookmark", "-o", "name").split()) == len(groups)
    assert len(set_on(one, "tank/v")) == len(groups)


def test_a_user_with_permissions_is_refused(backends: list[Backend]) -> None:
    one = backends[0]
    one.run("zfs create tank/v && zfs allow -u operator userprop,bookmark tank/v")
    group = program.group("tank/v", {}, [zfs.set_({"a:b": "x"}, ["tank/v"])]) or []
    argv = ["sudo", "-u", "operator", *zfs.program("tank", chain.from_iterable(group))]
    refused = one.run(argv, input=program.SCRIPT, check=False)
    assert refused.returncode != 0
    assert "root" in refused.stderr
    assert set_on(one, "tank/v") == {}
