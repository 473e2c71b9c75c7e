# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time

from ansible_collections.cerss.zfs.plugins.module_utils._core.periods import PERIODS


def test_labels() -> None:
    when = time.gmtime(1798758000)  # 2026-12-31 23:00, a Thursday
    assert {name: period(when) for name, period in PERIODS.items()} == {
        "hourly": "2026-12-31 23h+0000",
        "daily": "2026-12-31",
        "weekly": "2026-W53",
        "monthly": "2026-12",
        "yearly": "2026",
    }
