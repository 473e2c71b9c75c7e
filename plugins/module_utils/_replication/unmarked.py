# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sources whose pool is imported read-only, so that nothing can be recorded on them.

A run notices it when it makes its first mark. Here it is asked for where that would be too late: in check mode, and
where a replica has been started without a record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ansible_collections.cerss.zfs.plugins.module_utils._host import pools
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend
from ansible_collections.cerss.zfs.plugins.module_utils._replication.pair import Pair


def find(source: Backend, pairs: Sequence[Pair], doubtful: Callable[[Pair], bool]) -> list[Pair]:
    """The pairs, with `Link.unmarked` where that is so. One process for each pool of a ``doubtful`` pair."""
    asked = dict.fromkeys(pair.source_pool for pair in pairs if not pair.trouble and doubtful(pair))
    readonly = {name for name in asked if pools.is_readonly(source, name)}
    return [pair.without_marks() if pair.source_pool in readonly else pair for pair in pairs]
