# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys that zfs_dataset loads, unloads, or lets a dataset inherit."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, CerssError, ZfsError
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan
from ansible_collections.cerss.zfs.plugins.module_utils._dataset import dataset as module
from ansible_collections.cerss.zfs.plugins.module_utils._dataset.dataset import Options, plan_present
from ansible_collections.cerss.zfs.plugins.module_utils._host import process
from ansible_collections.cerss.zfs.plugins.module_utils._host.activity import Activity
from ansible_collections.cerss.zfs.tests.unit.things import dataset, things

MARK = {"id": "00112233445566aa", "host": "h", "dataset": "tank/x", "guid": "1", "mode": "raw"}
SECRET = "correct horse battery staple"
OPTIONS: dict[str, Any] = {
    "state": "present", "properties": {}, "mounted": None, "renamed_from": None, "create_parents": False,
    "on_dependents": "fail", "key": None, "key_file": None, "key_text": None,
}  # fmt: skip


def thing(name: str, root: str | None = "tank/e", loaded: bool = False, **values: str) -> Dataset:
    """A filesystem that is encrypted with the key of ``root``, or not encrypted."""
    known = {"type": "filesystem", "guid": "1", "canmount": "on", "mountpoint": f"/{name}", "mounted": "no"}
    if root:
        known.update(encryption="aes-256-gcm", encryptionroot=root, keylocation="prompt" if root == name else "none",
                     keystatus="available" if loaded else "unavailable")  # fmt: skip
    return dataset(name, **{**known, **values})


def plan(name: str, *more: Dataset, users: tuple[Dataset, ...] = (), **params: Any) -> Plan:
    found = things(thing("tank", None), *more).datasets
    return plan_present(Options.from_params({"name": name, **OPTIONS, **params}), found, Activity(), users=users)


OWN, PARENT = thing("tank/e/a", "tank/e/a"), thing("tank/e", loaded=True)


@pytest.mark.parametrize(
    ("more", "params", "commands"),
    [
        ([thing("tank/e")], {"key": "loaded", "key_file": "/k"}, ["load-key -L file:///k tank/e"]),
        ([thing("tank/e")], {"key": "loaded", "key_text": SECRET}, ["load-key -L prompt tank/e"]),
        ([thing("tank/e", keylocation="file:///k")], {"key": "loaded"}, ["load-key tank/e"]),
        (
            [thing("tank/e")],
            {"key": "loaded", "properties": {"keylocation": "file:///k"}},
            ["load-key -L file:///k tank/e", "set keylocation=file:///k tank/e"],
        ),
        (
            [thing("tank/e")],
            {"key": "loaded", "key_file": "/k", "mounted": True},
            ["load-key -L file:///k tank/e", "mount tank/e"],
        ),
        ([thing("tank/e", loaded=True)], {"key": "loaded"}, []),
        ([thing("tank/e")], {"key": "unloaded"}, []),
        ([thing("tank/e", loaded=True)], {"key": "unloaded"}, ["unload-key tank/e"]),
        (
            [thing("tank/e", loaded=True, mounted="yes")],
            {"key": "unloaded", "mounted": False},
            ["unmount tank/e", "unload-key tank/e"],
        ),
    ],
)
def test_loading_and_unloading(more: list[Dataset], params: dict[str, Any], commands: list[str]) -> None:
    steps = plan("tank/e", *more, **params).steps
    assert [" ".join(command[1:]) for step in steps for command in step.commands] == commands
    fed = [step.stdin for step in steps if step.stdin]
    assert fed == ([f"{SECRET}\n"] if "key_text" in params else [])
    assert SECRET not in repr(steps)


@pytest.mark.parametrize(
    ("own", "commands"),
    [
        (OWN, ["load-key -L file:///k tank/e/a", "change-key -i tank/e/a"]),
        (thing("tank/e/a", "tank/e/a", loaded=True), ["change-key -i tank/e/a"]),
        (thing("tank/e/a"), []),
        (
            thing("tank/e/a", "tank/e/a", loaded=True, __source=json.dumps({**MARK, "released": True})),
            ["change-key -i tank/e/a"],
        ),
        (
            thing("tank/e/a", "tank/e/a", loaded=True, __source=json.dumps({**MARK, "mode": "plain"})),
            ["change-key -i tank/e/a"],
        ),
    ],
)
def test_one_key_for_a_tree(own: Dataset, commands: list[str]) -> None:
    steps = plan("tank/e/a", PARENT, own, key="inherited", key_file="/k").steps
    assert [" ".join(command[1:]) for step in steps for command in step.commands] == commands


@pytest.mark.parametrize(
    ("name", "more", "params", "told"),
    [
        ("tank/p", [thing("tank/p", None)], {"key": "loaded"}, "tank/p is not encrypted"),
        ("tank/e", [thing("tank/e")], {"key": "loaded"}, "keylocation=prompt"),
        ("tank/e/a", [thing("tank/e"), thing("tank/e/a")], {"key": "loaded"}, "use name=tank/e instead"),
        ("tank/e/a", [PARENT, thing("tank/e/a", loaded=True)], {"key": "unloaded"}, "use name=tank/e instead"),
        ("tank/e", [thing("tank/e", "tank/e", False)], {"mounted": True}, "Set key=loaded as well"),
        ("tank/a", [thing("tank/a", "tank/a", True)], {"key": "inherited"}, "tank is not encrypted"),
        ("tank/e/a", [thing("tank/e"), OWN], {"key": "inherited", "key_file": "/k"}, "that of tank/e is not loaded"),
        (
            "tank/e/a",
            [PARENT, thing("tank/e/a", "tank/e/a", True, __source=json.dumps(MARK))],
            {"key": "inherited"},
            "each raw increment brings the key of its source back",
        ),
        ("tank/n", [], {"key": "loaded"}, "would not be encrypted"),
        ("tank/n", [], {"key": "unloaded"}, "does not exist yet"),
        ("tank/e", [thing("tank/e")], {"key_file": "/k"}, "key_file needs key=loaded"),
        ("tank/e", [thing("tank/e")], {"key": "loaded", "key_file": "k"}, "absolute path"),
        ("tank/e", [thing("tank/e")], {"key": "loaded", "key_file": "/k", "key_text": "x"}, "cannot be combined"),
    ],
)
def test_refusals(name: str, more: list[Dataset], params: dict[str, Any], told: str) -> None:
    with pytest.raises(CerssError, match=told):
        plan(name, *more, **params)


def test_a_key_in_use_is_not_unloaded() -> None:
    below = thing("tank/e/a", loaded=True, mounted="yes"), thing("tank/e/b", "tank/e/b", loaded=True, mounted="yes")
    with pytest.raises(CerssError, match=r"these are mounted with it: tank/e/a\. Unmount"):
        plan("tank/e", thing("tank/e", loaded=True), users=below, key="unloaded")


@pytest.mark.parametrize("check", [True, False])
def test_a_wrong_key_changes_nothing(check: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """ZFS is asked before anything is done, in check mode too."""
    ran: list[list[str]] = []

    def run(argv: list[str], stdin: str | None = None, **_options: Any) -> process.Result:
        ran.append(argv)
        assert stdin == "wrong\n"
        return process.Result(argv, 255, "", "Key load error: Incorrect key provided for 'tank/e'.\n")

    found = things(thing("tank", None), thing("tank/e"))
    monkeypatch.setattr(process, "run", run)
    monkeypatch.setattr(module.inventory, "read_things", lambda *_: found)
    with pytest.raises(ZfsError, match="Incorrect key"):
        module.main({"name": "tank/e", **OPTIONS, "key": "loaded", "key_text": "wrong"}, check)
    assert ran == [["zfs", "load-key", "-n", "-L", "prompt", "tank/e"]]


def test_what_needs_no_key() -> None:
    with pytest.raises(BadInput, match="key cannot be combined with state=absent"):
        Options.from_params({"name": "tank/e", **OPTIONS, "state": "absent", "key": "loaded"})
