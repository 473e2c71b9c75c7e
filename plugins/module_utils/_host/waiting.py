# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waiting: the one loop around sleep."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")


def wait_for(
    look: Callable[[], Answer], done: Callable[[Answer], object], interval: float, total: float = math.inf,
    first: Answer | None = None,
) -> Answer:  # fmt: skip
    """Look until the answer will do or so many seconds have passed; the last answer.

    ``interval``: seconds between two looks; the last one is when the time is up. ``first``: an answer that is there.
    """
    deadline = time.monotonic() + total
    answer = look() if first is None else first
    while not done(answer):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        time.sleep(min(interval, left))
        answer = look()
    return answer
