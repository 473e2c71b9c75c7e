# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a run is still wanted. It asks before each effect and in each wait."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError, TimedOut

Answer = TypeVar("Answer")
GRACE = 3.0  # seconds after the end in which what has arrived may be noted


class Stopped(CerssError):
    """A signal, the controller or a lost lease stopped the run."""


class Wanted:
    """A run is wanted until a signal comes (``stop``), ``lost`` says why its lease is lost, or ``timeout`` s are over.

    Several threads may share one. ``why``: what stopped the run, if it was not a signal.
    """

    def __init__(self, lost: Callable[[], str] = str, timeout: float | None = None) -> None:
        self.stop = threading.Event()
        self.why = ""
        self._lost = lost
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._ended: float | None = None

    def fault(self, when: str = "") -> CerssError | None:
        """The error with which the run has to end; None while it is wanted. ``when``: the rest of its message."""
        late = self._deadline is not None and time.monotonic() > self._deadline
        if not late and not self.stop.is_set():
            self.why = self._lost()
            if self.why:
                self.stop.set()
        if not late and not self.stop.is_set():
            return None
        self._ended = self._ended or time.monotonic()
        if not self.stop.is_set():
            error: CerssError = TimedOut(f"timeout was over {when}")
            error.transient = False
            return error
        return Stopped(f"the run was stopped{f', since {self.why},' if self.why else ''} {when}")

    def check(self, when: str, grace: float = 0.0) -> None:
        """Raise `Stopped` or `TimedOut` if the run has to end, ``grace`` seconds after that.

        ``when``: as "before …" or "during …".
        """
        error = self.fault(f"{when}; the next run continues there")
        if error and time.monotonic() >= (self._ended or 0) + grace:
            raise error

    def sleep(self, seconds: float, when: str) -> None:
        """Wait, at most until the run has to end; then raise as `check` does."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.check(when)
            self.stop.wait(min(left, 0.2))
        self.check(when)

    def pause(self, failures: int) -> None:
        """Wait before a further try, longer after each failure."""
        # Jitter keeps many from trying again at the same moment.
        self.sleep(2.0 ** min(failures, 6) * random.uniform(0.5, 1.0), "before a further try")

    def persistently(self, action: Callable[[], Answer], retries: int) -> Answer:
        """What ``action`` returns, which changes nothing: after a temporary error it is tried again."""
        failures = 0
        while True:
            try:
                return action()
            except CerssError as error:
                failures += 1
                if not error.transient or failures > retries or self.fault():
                    raise
            self.pause(failures)
