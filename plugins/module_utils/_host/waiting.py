# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waits for a state. A replication also waits for its stop event, so that a signal ends the wait."""

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
    """Call ``look`` until ``done(answer)`` is true or ``total`` seconds have passed. Returns the last answer.

    ``interval``: seconds between two calls; the last call is when the time is up. ``first``: an answer to begin with,
    instead of a first call.
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
