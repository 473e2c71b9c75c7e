# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What results show of bytes that are no text."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cerss.zfs.plugins.module_utils._core.text import shown

results = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.binary().map(lambda raw: raw.decode(errors="surrogateescape"))
    ),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(st.characters(codec="utf-8")), inner)),
)


@given(results)
def test_every_result_is_valid_text(result: object) -> None:
    json.dumps(shown(result), ensure_ascii=False).encode()


@given(st.recursive(st.text(st.characters(codec="utf-8")), st.lists))
def test_text_stays_as_it_is(result: object) -> None:
    assert shown(result) == result


def test_other_bytes_are_escapes() -> None:
    assert shown({"k\udcff": ("caf\udce9", 1)}) == {"k\\xff": ["caf\\xe9", 1]}
    assert shown("\ud800") == "\\ud800"
