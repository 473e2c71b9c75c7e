# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import inspect
import re

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core import errors
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError, Denied, ZfsError, short_command

CLASSES = {name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, CerssError)}


def test_the_docstring_draws_every_error() -> None:
    """With its place below CerssError or ZfsError, and whether it is transient."""
    drawn: dict[str, tuple[int, bool]] = {}
    for line in (errors.__doc__ or "").partition("::\n")[2].splitlines():
        head = re.match(r"[ │├└─]*", line)
        assert head
        names = re.split(r" {3,}", line[head.end() :])[0]
        for name, transient in re.findall(r"(\w+)( \(transient\))?(?:, |$)", names):
            drawn[name] = (len(head[0]) // 4 - 1, bool(transient))
        if names and "(transient)" in line[head.end() + len(names) :]:
            drawn[names] = (drawn[names][0], True)
    assert drawn == {name: (len(kind.__mro__) - 4, kind.transient) for name, kind in CLASSES.items()}


def test_the_message_has_command_host_reason_and_way_out() -> None:
    error = Denied(["zfs", "hold", "keep", "tank/v@s"], 1, "cannot hold: permission denied\n", "b1")
    assert error.msg == f"zfs hold tank/v@s on b1: cannot hold: permission denied — {Denied.hint}"
    assert error.details == {"stderr": "cannot hold: permission denied\n", "rc": 1, "cmd": "zfs hold keep tank/v@s"}


def test_the_message_leaves_out_the_usage() -> None:
    stderr = "cannot open 'a/b': dataset does not exist\nusage:\n\tsnapshot [-r]\n"
    error = ZfsError(["zfs", "snapshot", "a/b@c"], 2, stderr)
    assert error.msg == "zfs snapshot a/b@c: cannot open 'a/b': dataset does not exist"
    assert error.stderr == stderr


def test_without_stderr_the_message_has_the_exit_status() -> None:
    assert ZfsError(["zfs", "x", "y"], 3, "").msg == "zfs x y: exit status 3"


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["zfs", "hold", "keep", "tank/v@s"], "zfs hold tank/v@s"),
        (["ps", "-eo", "pid="], "ps pid="),
        (["true"], "true"),
        (["zfs", "allow"], "zfs allow"),
    ],
)
def test_short_command(argv: list[str], text: str) -> None:
    assert short_command(argv) == text
