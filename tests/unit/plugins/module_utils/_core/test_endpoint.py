# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.endpoint import Endpoint
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput


def test_here_a_command_stays_as_it_is():
    assert Endpoint().argv(["zfs", "list"]) == ["zfs", "list"]
    assert Endpoint(become=True).argv(["zfs", "list"]) == ["sudo", "-n", "zfs", "list"]
    assert Endpoint.from_params({"host": "local"}, "target") == Endpoint()


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_over_ssh_every_word_arrives_as_it_is(words):
    """The login shell there takes the one line apart again into the very same words."""
    *_ssh, dashes, host, line = Endpoint("b").argv(["zfs", *words])
    assert (dashes, host) == ("--", "b")
    assert shlex.split(line)[3:] == ["zfs", *words]
    assert shlex.split(line)[0] == "env"


def test_a_pipe_over_ssh_is_one_line():
    (argv,) = Endpoint("b", become=True).pipeline([["zstd", "-d"], ["zfs", "receive", "a b"]])
    assert argv[-1].count(" | ") == 1
    assert argv[-1].endswith("sudo -n zfs receive 'a b'")
    assert Endpoint().pipeline([["a"], ["b"]]) == [["a"], ["b"]]


def test_host_keys_are_always_checked():
    for endpoint in (Endpoint("b"), Endpoint("b", ssh_options=("Compression=yes",), known_hosts_file="/k")):
        argv = endpoint.argv(["true"])
        options = [argv[index + 1] for index, word in enumerate(argv) if word == "-o"]
        assert options.index("StrictHostKeyChecking=yes") < options.index("ControlMaster=no")
        assert [text for text in options if text.lower().startswith("stricthostkey")] == ["StrictHostKeyChecking=yes"]


def test_all_options():
    options = {
        "host": "b",
        "port": 2222,
        "user": "u",
        "identity_file": "/id",
        "known_hosts_file": "/k",
        "become": False,
        "ssh_options": ["Ciphers=aes128-ctr"],
    }
    argv = Endpoint.from_params(options, "target").with_control("/c").argv(["true"])
    words = " ".join(argv)
    for part in (
        "-p 2222",
        "-l u",
        "IdentityFile=/id",
        "IdentitiesOnly=yes",
        "UserKnownHostsFile=/k",
        "ControlPath=/c/%C",
    ):
        assert part in words
    assert "ControlPath=none" in " ".join(Endpoint("b", control_dir="/c").argv(["true"], own_connection=True))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"host": ""}, "target.host is ''"),
        ({"host": "-oProxyCommand=x"}, "give a host name"),
        ({"host": "a b"}, "give a host name"),
        ({"host": "b", "user": "-x"}, "not a user name"),
        ({"host": "b", "user": "a@b"}, "not a user name"),
        ({"host": "b", "ssh_options": ["StrictHostKeyChecking=no"]}, "cannot be set here"),
        ({"host": "b", "ssh_options": ["userknownhostsfile=/x"]}, "cannot be set here"),
        ({"host": "b", "ssh_options": ["-v"]}, "Name=value"),
        ({"host": "b", "ssh_options": ["Ciphers="]}, "Name=value"),
    ],
)
def test_bad_options_are_named(options, words):
    with pytest.raises(BadInput, match=words):
        Endpoint.from_params(options, "target")


def test_here_has_a_name_elsewhere(monkeypatch):
    monkeypatch.setattr("platform.node", lambda: "me")
    here, there = Endpoint(), Endpoint("b")
    assert here.seen_from(there).address("backup/v") == "me:backup/v"
    assert here.seen_from(here).address("backup/v") == "backup/v"
    assert there.seen_from(here).address("backup/v") == "b:backup/v"
