# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import shlex
import shutil
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.endpoint import Endpoint, line, parted, told_pid
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput


def test_on_this_host_a_command_is_unchanged():
    assert Endpoint().argv(["zfs", "list"]) == ["zfs", "list"]
    assert Endpoint(become=True).argv(["zfs", "list"]) == ["sudo", "-n", "zfs", "list"]
    assert Endpoint(become=True).argv(["ps"]) == ["ps"]  # sudoers may allow zfs alone
    doas = Endpoint.from_params({"become": True, "become_program": "/usr/bin/doas"}, "target")
    assert doas.argv(["zfs", "list"]) == ["/usr/bin/doas", "-n", "zfs", "list"]
    assert Endpoint.from_params({"host": "local"}, "target") == Endpoint()


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_over_ssh_every_argument_arrives_unchanged(arguments):
    """The login shell there splits the line into the same arguments."""
    *_ssh, dashes, host, line = Endpoint("b").argv(["zfs", *arguments])
    assert (dashes, host) == ("--", "b")
    assert shlex.split(line)[3:] == ["zfs", *arguments]
    assert shlex.split(line)[0] == "env"


def test_what_tcsh_and_fish_read_within_single_quotes_stands_outside():
    assert line([["x", "a!b\\c'"]]).endswith(r""" x 'a'\!'b'\\'c'"'"''""")


SHELLS = [shell for shell in (["sh"], ["bash"], ["tcsh"], ["fish"], ["busybox", "sh"]) if shutil.which(shell[0])]
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8) | st.sampled_from(
    [
        "!",
        "!x",
        "\\",
        "\\\\",
        "\\n",
        "'",
        "\\'",
        '"\\u00e9"',
        "$HOME",
        "`id`",
        "*",
        "~",
        "^a",
        "{a,b}",
        "|",
        ";",
        "%1",
        " ",
    ]
)


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(WORDS, min_size=1, max_size=30))
def test_any_login_shell_takes_the_words_as_they_are(shell, words):
    text = line([["printf", r"%s\n", *words], ["cat"]], telling=True)
    ended = subprocess.run([*shell, "-c", text], capture_output=True, check=False)
    assert (ended.stdout.decode(), ended.returncode) == ("".join(f"{word}\n" for word in words), 0)
    assert told_pid(ended.stderr.decode())


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_any_login_shell_also_looks_where_its_own_programs_are(shell, tmp_path):
    (tmp_path / "zfs").write_text("#!/bin/sh\necho found; exit 7\n")
    (tmp_path / "zfs").chmod(0o755)
    path = {"PATH": f"/usr/bin:/bin:{tmp_path}", "HOME": str(tmp_path)}
    ended = subprocess.run([*shell, "-c", line([["zfs"]])], capture_output=True, check=False, env=path)
    assert (ended.stdout, ended.returncode) == (b"found\n", 7)


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
    command = " ".join(argv)
    for part in (
        "-p 2222",
        "-l u",
        "IdentityFile=/id",
        "IdentitiesOnly=yes",
        "UserKnownHostsFile=/k",
        "ControlPath=/c/%C",
    ):
        assert part in command
    assert "ControlPath=none" in " ".join(Endpoint("b", control_dir="/c").argv(["true"], own_connection=True))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"host": ""}, "target.host is ''"),
        ({"host": "-oProxyCommand=x"}, "give a host name"),
        ({"host": "a b"}, "give a host name"),
        ({"host": "b", "become_program": "doas -u root"}, "give the name or path"),
        ({"host": "b", "become_program": "-x"}, "give the name or path"),
        ({"host": "b", "user": "-x"}, "not a user name"),
        ({"host": "b", "user": "a@b"}, "not a user name"),
        ({"host": "b", "ssh_options": ["StrictHostKeyChecking=no"]}, "cannot be set here"),
        ({"host": "b", "ssh_options": ["userknownhostsfile=/x"]}, "cannot be set here"),
        ({"host": "b", "ssh_options": ["KnownHostsCommand=/x"]}, "cannot be set here, only AddressFamily, "),
        ({"host": "b", "ssh_options": ["VerifyHostKeyDNS=yes"]}, "cannot be set here"),
        ({"host": "b", "ssh_options": ["ProxyCommand=/x"]}, "cannot be set here"),
        ({"host": "b", "ssh_options": ["-v"]}, "Name=value"),
        ({"host": "b", "ssh_options": ["Ciphers="]}, "Name=value"),
    ],
)
def test_invalid_options(options, reason):
    with pytest.raises(BadInput, match=reason):
        Endpoint.from_params(options, "target")


LOGIN = {
    "user": "zfs-replica",
    "port": 2222,
    "become": True,
    "become_program": "doas",
    "identity_file": "/id",
    "known_hosts_file": "/k",
    "ssh_options": ["ConnectTimeout=3"],
}


@pytest.mark.parametrize(
    ("own", "changed"),
    [
        ({}, {}),
        (dict.fromkeys(LOGIN), {}),
        (dict.fromkeys(LOGIN, ""), {}),
        ({"user": "other"}, {"user": "other"}),
        ({"become": False, "port": 22}, {"become": False, "port": 22}),
        ({"ssh_options": []}, {"ssh_options": ()}),
        ({"ssh_options": ["Compression=yes"]}, {"ssh_options": ("Compression=yes",)}),
    ],
)
def test_what_a_side_says_itself_comes_before_the_login_of_all(own, changed):
    expected = {**LOGIN, "ssh_options": ("ConnectTimeout=3",), **changed}
    assert Endpoint.from_params({"host": "b", **own}, "target", LOGIN) == Endpoint("b", **expected)


@pytest.mark.parametrize("host", [None, "local"])
def test_nobody_logs_in_on_this_host(host):
    assert Endpoint.from_params({"host": host}, "target", LOGIN) == Endpoint()
    assert Endpoint.from_params({"host": host, "become": True}, "target", LOGIN) == Endpoint(become=True)
    with pytest.raises(BadInput, match=r"login\.user is '-x'"):
        Endpoint.from_params({"host": host}, "target", {"user": "-x"})


def ssh_config(tmp_path, **options):
    """What ssh makes of our command line and a file of the user."""
    (tmp_path / "config").write_text(
        "Host b\n HostName b.example\n User service\n Port 2200\n IdentityFile /key\n IdentitiesOnly yes\n"
        " UserKnownHostsFile /known\n StrictHostKeyChecking no\n ProxyJump jump\n ControlPath /c\n"
    )
    ssh, *argv = Endpoint("b", **options).ssh()
    told = subprocess.run([ssh, "-F", str(tmp_path / "config"), "-G", *argv, "--", "b"], capture_output=True,
                          text=True, check=True).stdout  # fmt: skip
    return dict(line.partition(" ")[::2] for line in reversed(told.splitlines()))  # of several keys the first


@pytest.mark.skipif(not shutil.which("ssh"), reason="needs ssh")
def test_what_is_not_given_is_decided_by_the_files_of_ssh(tmp_path):
    found = ssh_config(tmp_path)
    own = {"hostname": "b.example", "user": "service", "port": "2200", "identityfile": "/key",
           "userknownhostsfile": "/known", "proxyjump": "jump"}  # fmt: skip
    assert {name: found[name] for name in own} == own
    assert found["stricthostkeychecking"] == "true"
    assert found.get("controlpath", "none") == "none"
    given = ssh_config(
        tmp_path, user="u", port=22, identity_file="/i", known_hosts_file="/k", ssh_options=("ConnectTimeout=3",)
    )
    told = [given[name] for name in ("user", "port", "identityfile", "userknownhostsfile", "connecttimeout")]
    assert told == ["u", "22", "/i", "/k", "3"]


def test_this_host_has_a_name_on_other_hosts(monkeypatch):
    monkeypatch.setattr("platform.node", lambda: "me")
    here, there = Endpoint(), Endpoint("b")
    assert here.seen_from(there).address("backup/v") == "me:backup/v"
    assert here.seen_from(here).address("backup/v") == "backup/v"
    assert there.seen_from(here).address("backup/v") == "b:backup/v"


def test_paths_reach_ssh_as_they_are() -> None:
    endpoint = Endpoint("b", identity_file="/a b/%h", known_hosts_file="/k", control_dir="/tmp/100%")
    options = endpoint.ssh()
    assert {'IdentityFile="/a b/%%h"', "UserKnownHostsFile=/k", "ControlPath=/tmp/100%%/%C"} <= set(options)


def test_a_command_that_tells_its_pid() -> None:
    ((*_ssh, told),) = Endpoint("b").pipeline([["zstd", "-d"], ["sh", "-c", "echo $$ >&2"]], telling=True)
    ended = subprocess.run(["sh", "-c", told.partition(" | ")[2]], capture_output=True, text=True, check=True)
    first, second = ended.stderr.splitlines()
    assert first == f"cerss-pid {second}"
    assert told_pid(first) == int(second)


@pytest.mark.parametrize(
    ("host", "address", "place"),
    [
        ("fd00::2", "fd00::2", "[fd00::2]:tank/v"),
        ("[fd00::2]", "fd00::2", "[fd00::2]:tank/v"),
        ("[fe80::1%eth0]", "fe80::1%eth0", "[fe80::1%eth0]:tank/v"),
        ("192.0.2.1", "192.0.2.1", "192.0.2.1:tank/v"),
        ("b", "b", "b:tank/v"),
    ],
)
def test_ipv6_addresses(host: str, address: str, place: str) -> None:
    endpoint = Endpoint.from_params({"host": host}, "target")
    assert endpoint.argv(["true"])[-2] == address
    assert endpoint.address("tank/v") == place
    assert parted(place) == (address, "tank/v")


@pytest.mark.parametrize("address", ["tank", "tank/v", "tank/v:old", "", ":", "[b]", "b:", "[a/b:c", "a/b:c:d"])
def test_an_address_without_a_host(address: str) -> None:
    assert parted(address) == (None, address)


@pytest.mark.parametrize("text", ["", "cerss-pid", "cerss-pid x", "cerss-pid -1", "cerss-pid 12345678901", "pid 1"])
def test_what_is_no_pid(text: str) -> None:
    assert told_pid(text) is None
