# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""zfs_pool_info where zpool does not answer, or not as it should. What it does otherwise is in recorded sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, NoZfs, TimedOut
from ansible_collections.cerss.zfs.plugins.module_utils._host import process
from ansible_collections.cerss.zfs.plugins.module_utils._pool import info

STATES = "".join(f"/proc/spl/kstat/zfs/{name}/state:{state}\n" for name, state in (("a", "ONLINE"), ("b", "SUSPENDED")))
WELL = {
    "grep": (0, STATES, ""),
    "zpool list": (0, "a\nb\n", ""),
    "zpool get a": (0, "size\t10\n", ""),
    "zpool get b": (0, "size\t20\n", ""),
    "zpool status a": (0, "  pool: a\n state: ONLINE\n", ""),
    "zpool status b": (0, "  pool: b\n state: ONLINE\n", ""),
}
Ask = Callable[..., Any]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Runs the module where commands answer as in WELL, or as given: None for one that does not end."""

    def run(name: list[str] | None = None, timeout: str = "7s", **answers: Any) -> Any:
        known = {**WELL, **{key.replace("_", " "): answer for key, answer in answers.items()}}

        def answer(argv: list[str], timeout: float | None = None, **_options: Any) -> process.Result:
            assert timeout == 7
            key = " ".join(argv[:2] if argv[0] == "zpool" else argv[:1])
            found = known[key if key in known else f"{key} {argv[-1]}"]
            if found is None:
                raise TimedOut(f"{key} did not end")
            return process.Result(argv, *found)

        monkeypatch.setattr(process, "run", answer)
        return info.main({"name": name, "timeout": timeout}, False)

    return run


def test_all_pools(ask: Ask) -> None:
    a, b = ask()["pools"]
    assert (a["name"], a["state"], a["size_bytes"], a["healthy"]) == ("a", "online", 10, True)
    assert (b["name"], b["state"], b["size_bytes"], b["healthy"]) == ("b", "suspended", 20, False)


@pytest.mark.parametrize(("command", "size"), [("zpool_get_b", None), ("zpool_status_b", 20)])
def test_a_pool_that_hangs_zpool_hides_no_other_one(ask: Ask, command: str, size: int | None) -> None:
    a, b = ask(**{command: None})["pools"]
    assert (a["healthy"], b["state"], b["size_bytes"], b["vdevs"]) == (True, "suspended", size, None)
    assert b["problems"][0].endswith("did not end")


def test_where_zpool_hangs_altogether_the_kernel_tells_the_states(ask: Ask) -> None:
    result = ask(zpool_list=None)
    assert [(pool["name"], pool["state"], pool["healthy"]) for pool in result["pools"]] == [
        ("a", "online", False),
        ("b", "suspended", False),
    ]
    assert "failed" not in result
    result = ask(["c", "b"], zpool_list=None)
    assert ([pool["name"] for pool in result["pools"]], result["failed"]) == (["b"], True)
    with pytest.raises(TimedOut):
        ask(zpool_list=None, grep=(2, "", ""))


def test_a_pool_that_does_not_exist_is_an_error_with_the_other_ones(ask: Ask) -> None:
    result = ask(["a", "none"], zpool_list=(1, "a\n", "cannot open 'none': no such pool\n"))
    assert [pool["name"] for pool in result["pools"]] == ["a"]
    assert result["failed"]
    assert result["msg"].startswith("there is no pool none; check name")


def test_a_pool_that_is_exported_meanwhile(ask: Ask) -> None:
    gone = {"zpool_status_b": (1, "", "cannot open 'b': no such pool\n")}
    assert [pool["name"] for pool in ask(**gone)["pools"]] == ["a"]
    assert "there is no pool b" in ask(["b"], zpool_list=(0, "b\n", ""), **gone)["msg"]


def test_what_cannot_be_read_is_a_problem(ask: Ask) -> None:
    (_a, b) = ask(zpool_status_b=(1, "", "cannot open 'b': pool I/O is currently suspended\n"))["pools"]
    assert "pool I/O is currently suspended" in b["problems"][0]
    (_a, b) = ask(zpool_status_b=(0, "Welcome\n", ""))["pools"]
    assert b["problems"][0] == "b: zpool status printed something else than the status of a pool"


def test_without_zfs(ask: Ask) -> None:
    with pytest.raises(NoZfs):
        ask(zpool_list=(127, "", "zpool: command not found: No such file or directory"))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"name": ["a/b"]}, "a/b names a dataset; give its pool, a"),
        ({"name": ["a@b"]}, "names a snapshot"),
        ({"name": ["-x"]}, "not a valid"),
        ({"name": ["a", "a"]}, "more than once"),
        ({"timeout": "soon"}, "is not a duration"),
        ({"timeout": "0"}, "timeout is 0"),
    ],
)
def test_bad_input(ask: Ask, options: dict[str, Any], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        ask(**options)


def test_an_empty_list_is_nothing_to_do(ask: Ask) -> None:
    assert ask([]) == {"changed": False, "pools": []}
