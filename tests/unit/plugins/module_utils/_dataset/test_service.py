# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What zfs_service takes out of service and gives back."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput, Refused
from ansible_collections.cerss.zfs.plugins.module_utils._core.marks import OutOfService, SourceMark
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Dataset, Value
from ansible_collections.cerss.zfs.plugins.module_utils._dataset.service import (
    Options,
    check_places,
    current,
    plan_in,
    plan_out,
    shown,
)

OUT = OutOfService.NAME


def thing(name: str = "tank/f", kind: str = "filesystem", mounted: bool = True, **values: str) -> Dataset:
    """Values with a leading + are set on the dataset itself."""
    found = {"type": kind, "mounted": "yes" if mounted else "no", "readonly": "off", "canmount": "on",
             "mountpoint": f"/{name}", **values}  # fmt: skip
    if kind == "volume":
        found = {name: text for name, text in found.items() if name in ("type", "readonly")}
    there = {
        key: Value(text.lstrip("+"), "local" if text.startswith("+") else "default") for key, text in found.items()
    }
    return Dataset(name, values=there)


def rested(dataset: Dataset) -> Dataset:
    """As a run leaves it."""
    (step, *_rest) = plan_out([dataset]).steps
    for setting in step.commands[0][2:-1]:
        name, _equals, text = setting.partition("=")
        if name == OUT:
            dataset.ours[name] = text
        else:
            dataset.values[name] = Value(text, "local")
    if "mounted" in dataset.values:
        dataset.values["mounted"] = Value("no", "-")
    return dataset


def replica(name: str = "backup/f", released: bool = True, **values: str) -> Dataset:
    found = thing(name, mounted=False, **{"readonly": "+on", "canmount": "+noauto", **values})
    found.ours[SourceMark.NAME] = SourceMark("0" * 16, "a", "tank/f", "1", "plain", released=released).format()
    return found


def options(*given: dict[str, Any], root: bool = True) -> Options:
    each = {one["name"]: OutOfService({key: value for key, value in one.items() if key in OutOfService.SETTINGS},
                                      one.get("mounted", True)) for one in given}  # fmt: skip
    return Options((), "in_service", each, root)


def commands(plan: Any) -> list[str]:
    return [subprocess.list2cmdline(command[1:]) for step in plan.steps for command in step.commands]


def back(*found: Dataset, given: Options | None = None) -> list[str]:
    return commands(plan_in(list(found), given or options())[0])


def test_out_of_service_is_read_only_first_and_unmounted_from_below() -> None:
    plan = plan_out([thing(), thing("tank/f/in")])
    kinds = [command.split()[0] + " " + command.split()[-1] for command in commands(plan)]
    assert kinds == ["set tank/f", "set tank/f/in", "unmount tank/f/in", "unmount tank/f"]
    mark, *rest = plan.steps[0].commands[0][2:-1]
    assert rest == ["readonly=on", "canmount=noauto"]
    assert json.loads(mark.partition("=")[2]) == {
        "mounted": True, "readonly": ["off", False], "canmount": ["on", False], "mountpoint": ["/tank/f", False],
    }  # fmt: skip


def test_what_is_out_of_service_keeps_what_it_remembers() -> None:
    out = rested(thing(readonly="+off"))
    assert not plan_out([out]).changed
    out.values["mounted"] = Value("yes", "-")
    assert commands(plan_out([out])) == ["unmount tank/f"]
    out.values["readonly"] = Value("off", "local")
    assert commands(plan_out([out])) == ["set readonly=on tank/f", "unmount tank/f"]


@pytest.mark.parametrize("canmount", ["noauto", "off"])
def test_what_is_never_mounted_at_boot_stays_so(canmount: str) -> None:
    assert commands(plan_out([thing(canmount=canmount, mounted=False)]))[0].endswith(" readonly=on tank/f")


def test_a_volume_is_just_made_read_only() -> None:
    (command,) = commands(plan_out([thing("tank/z", "volume")]))
    assert command.endswith(" readonly=on tank/z")
    assert back(rested(thing("tank/z", "volume"))) == ["inherit readonly tank/z", f"inherit {OUT} tank/z"]


def test_a_live_replica_is_out_of_service() -> None:
    assert not plan_out([replica(released=False)]).changed
    with pytest.raises(Refused, match=r"backup/f cannot be put into service: it is replica .*; release it first"):
        back(replica(released=False))


@pytest.mark.parametrize(
    ("was", "expected"),
    [
        (thing(), ["set canmount=on tank/f", "inherit readonly tank/f", "mount tank/f"]),
        (thing(readonly="+off"), ["set readonly=off and canmount=on"]),
        (thing(readonly="+on"), ["set canmount=on tank/f", "mount tank/f"]),
        (thing(mounted=False), ["set canmount=on tank/f", "inherit readonly tank/f"]),
        (thing(canmount="+noauto", mounted=False), ["inherit readonly tank/f"]),
        (thing(canmount="off", mounted=False), ["inherit readonly tank/f"]),
        (thing(mountpoint="legacy"), ["set canmount=on tank/f", "inherit readonly tank/f"]),
    ],
)
def test_it_comes_back_as_it_was(was: Dataset, expected: list[str]) -> None:
    if "and" in expected[0]:
        expected = ["set readonly=off canmount=on tank/f", "mount tank/f"]
    assert back(rested(was)) == [*expected, f"inherit {OUT} tank/f"]


def test_it_serves_already() -> None:
    assert back(thing()) == []
    assert back(thing(readonly="+on", mounted=False)) == []


def test_a_released_replica_is_made_writable_and_mounted_where_it_lies() -> None:
    assert back(replica()) == ["set readonly=off canmount=on backup/f", "mount backup/f"]
    assert back(replica(), given=options(root=False)) == ["set readonly=off canmount=on backup/f"]
    done = replica(readonly="+off", canmount="+on")
    done.values["mounted"] = Value("yes", "-")
    assert back(done) == []


def test_a_replica_serves_as_its_source_did() -> None:
    like = {"readonly": ("off", False), "canmount": ("on", False)}
    top = {"name": "backup/f", **like, "mountpoint": ("/tank/f", False)}
    inside = {"name": "backup/f/in", **like, "mountpoint": ("/tank/f/in", False)}
    own = {"name": "backup/f/own", **like, "mountpoint": ("/srv", True)}
    plan, places = plan_in(
        [replica(), replica("backup/f/in"), replica("backup/f/own")], options(top, inside, own)
    )  # fmt: skip
    assert commands(plan) == [
        "set readonly=off canmount=on mountpoint=/tank/f backup/f", "mount backup/f",
        "set readonly=off canmount=on backup/f/in", "mount backup/f/in",
        "set readonly=off canmount=on mountpoint=/srv backup/f/own", "mount backup/f/own",
    ]  # fmt: skip
    assert places == {"/tank/f": "backup/f", "/tank/f/in": "backup/f/in", "/srv": "backup/f/own"}


def test_a_replica_that_is_writable_has_got_its_settings() -> None:
    other = {"name": "backup/f", "readonly": ("off", True), "mountpoint": ("/new", True)}
    assert back(replica(readonly="+off", canmount="+on"), given=options(other)) == ["mount backup/f"]
    unmounted = replica(readonly="+off", canmount="+on")
    assert back(unmounted, given=options({**other, "mounted": False})) == []


def test_what_was_counts_more_than_what_the_other_side_says() -> None:
    """That may have served at a place of its own."""
    other = {"name": "tank/f", "readonly": ("off", True), "mountpoint": ("/backup/f", True), "mounted": False}
    assert back(rested(thing()), given=options(other)) == back(rested(thing()))


def test_what_cannot_serve_is_refused() -> None:
    locked = replica(keystatus="unavailable")
    with pytest.raises(Refused, match="backup/f cannot be mounted: its key is not loaded; load it first"):
        back(locked)
    spoilt = thing()
    spoilt.ours[OUT] = "{}"
    with pytest.raises(Refused, match=r"tank/f has a property cerss\.zfs:out_of_service that cannot be read"):
        back(spoilt)
    with pytest.raises(Refused, match="a cannot be mounted on /x: b is mounted there; unmount it"):
        check_places({"/x": "a"}, {"/x": "b"}, ["a"])
    check_places({"/x": "a", "/y": "c"}, {"/x": "b"}, ["a", "b"])


def test_what_is_shown() -> None:
    there, was = thing(mountpoint="+/srv"), shown(thing(mountpoint="+/srv"))
    assert was == {
        "name": "tank/f", "type": "filesystem", "in_service": True, "readonly": False,
        "settings": {"name": "tank/f", "readonly": "off", "canmount": "on", "mountpoint": "/srv", "mounted": True,
                     "local": ["mountpoint"]},
    }  # fmt: skip
    assert shown(rested(there)) == {**was, "in_service": False, "readonly": True}
    assert not shown(replica(released=False))["in_service"]
    volume = shown(thing("tank/z", "volume"))["settings"]
    assert (volume["canmount"], volume["mounted"]) == (None, False)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"state": "out_of_service", "settings": [{"name": "tank/f"}]},
            "settings cannot be combined",
        ),
        ({"settings": [{"name": "tank/x"}]}, "settings has tank/x, which is not in name"),
        ({"name": ["tank/f", "tank/f"]}, "twice|more than once|several times|again"),
    ],
)
def test_what_cannot_be_asked_for(params: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Options.from_params({"name": ["tank/f"], "state": "in_service", "settings": [], **params})


def test_what_a_template_makes_of_on_and_off() -> None:
    given = {"name": "tank/f", "readonly": "False", "mountpoint": "/x", "mounted": True, "local": ["mountpoint"]}
    found = Options.from_params({"name": ["tank/f"], "state": "in_service", "settings": [given]})
    assert found.given["tank/f"].settings == {"readonly": ("off", False), "mountpoint": ("/x", True)}


def test_the_mark_reads_back() -> None:
    mark = current(thing(mountpoint="+/a b"))
    assert OutOfService.parse(mark.format()) == mark
