# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What pools can do, by what zpool get prints."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import TimedOut
from ansible_collections.cerss.zfs.plugins.module_utils._host import pools
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._host.pools import IN_STREAMS, Lacking, lacking
from ansible_collections.cerss.zfs.plugins.module_utils._host.process import Result

states = st.dictionaries(
    st.sampled_from([*IN_STREAMS, "async_destroy"]).map("feature@{}".format),
    st.sampled_from(["disabled", "enabled", "active"]),
)


@given(states, states)
def test_every_feature_that_is_used_and_not_there_is_named(here: dict[str, str], there: dict[str, str]) -> None:
    found = lacking(here, there)
    assert set(found.disabled) <= set(IN_STREAMS)
    for name in IN_STREAMS:
        used = here.get(f"feature@{name}") == "active" or name == "extensible_dataset"
        assert (name in found.disabled) is (used and there.get(f"feature@{name}") == "disabled")
        assert (name in found.unknown) is (used and f"feature@{name}" not in there)
    text = found.way_out("tank", "backup", "b")
    assert all(name in text for name in (*found.disabled, *found.unknown))
    assert ("upgrade OpenZFS there" in text) is bool(found.unknown)


class Answers(Backend):
    """Answers every command with the same text; None for no answer in time."""

    def __init__(self, text: str | None) -> None:
        super().__init__()
        self.text = text

    def run(self, command: list[str], *_args: object, **_options: object) -> Result:
        if self.text is None:
            raise TimedOut("late")
        return Result(command, 1, self.text, "cerss-zfs-gate: refused")


@pytest.mark.parametrize("text", [None, "", "cerss-zfs-gate: refused", "readonly\toff\n", "a\tb\tc\nreadonly"])
def test_what_cannot_be_read_is_not_known(text: str | None) -> None:
    assert not pools.is_readonly(Answers(text), "tank")
    assert Lacking.of(Answers(None), "tank", Answers(text), "backup") == Lacking()


def test_a_pool_that_is_imported_read_only() -> None:
    assert pools.is_readonly(Answers("Last login: today\nreadonly\ton\n"), "tank")
