# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the module like any other, and next to it a thread that shows progress and keeps the transfer alive.

The module holds a lease (`runfiles.Lease`). The thread renews it while the task runs and removes it when the task is
cancelled; it expires when the controller dies. The thread has its own connection object, so the module runs exactly as
it would without it: pipelined, with any become plugin, without job files.
"""

from __future__ import annotations

import contextlib
import contextvars
import copy
import multiprocessing
import os
import secrets
import shlex
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.cerss.zfs.plugins.module_utils._core import units
from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Progress
from ansible_collections.cerss.zfs.plugins.module_utils._host import runfiles

MODULE = "cerss.zfs.zfs_snapshot_replicate"
# Two commands in parallel through one connection plugin work where each command is a process of its own.
CONNECTIONS = ("ssh", "local")
RENEWAL = runfiles.LEASE_SECONDS / 4  # three may be lost
LOOK = 1.0  # seconds between checks that the controller still lives, which cost nothing
PATIENCE = 10.0  # seconds that a host which does not answer may delay the play
ENDED, CANCEL = b"e", b"c"
INTERVAL = "1m"  # the module's default of progress_interval


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs the module zfs_snapshot_replicate."""

    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        if self._task.async_val or self._task.check_mode or self._connection.transport not in CONNECTIONS:
            result.update(self._execute_module(MODULE, task_vars=task_vars, wrap_async=self._task.async_val))
        else:
            result.update(self._run_watched(task_vars))
        if not self._task.async_val:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _run_watched(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        run_id = secrets.token_hex(8)
        watch = Watch(
            self._own_connection(),
            run_id,
            interval=0 if self._task.no_log else seconds(self._task.args.get("progress_interval")),
            label=self._task.delegate_to or task_vars.get("inventory_hostname", ""),
        )
        own_environment = self._task.environment
        # Not an option, because options show up in the result's `invocation`.
        self._task.environment = [*(own_environment or []), {runfiles.RUN_ID: run_id}]
        try:
            with watch.running():
                result: dict[str, Any] = self._execute_module(MODULE, task_vars=task_vars)
                if "actions" not in result:
                    watch.cancel()  # it may have been killed before it could clean up
        finally:
            self._task.environment = own_environment
        return result

    def _own_connection(self) -> Callable[[str], str]:
        """A function that runs a script on the host with a new connection object each time and returns its stdout."""
        environment = self._compute_environment_string()  # the module's run folder depends on it
        pristine = copy.copy(self._connection)

        def command(script: str) -> str:
            action = copy.copy(self)
            action._connection = copy.copy(pristine)
            if pristine.become:  # it has state while a command starts
                action._connection.set_become_plugin(copy.copy(pristine.become))
            answer = action._low_level_execute_command(f"{environment} /bin/sh -c {shlex.quote(script)}".strip())
            return str(answer["stdout"])

        return command


class Watch:
    """Renews the lease and shows progress lines while the module runs.

    ``interval``: seconds between lines, 0 for none. ``label``: the host, as the lines name it.
    """

    def __init__(self, command: Callable[[str], str], run_id: str, interval: float, label: str) -> None:
        self.command, self.run_id, self.label = command, run_id, label
        self.schedule = Schedule(interval)
        self._last = b""  # what the thread was told
        self._told, self._tells = socket.socketpair()
        self._told.settimeout(LOOK)
        # ansible-core keeps the task in a context variable, which a new thread does not inherit.
        self._thread = threading.Thread(target=contextvars.copy_context().run, args=(self._loop,), daemon=True)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Watch during the with block. An exception or a signal that ends this process also ends the module."""
        self._thread.start()
        with self._told, self._tells, self._signals():
            try:
                yield
            except BaseException:
                self.cancel()
                raise
            self._tell(ENDED)

    def cancel(self) -> None:
        """Remove the lease, so that the module stops."""
        self._tell(CANCEL)

    def _tell(self, message: bytes) -> None:
        """Tell the thread to end and wait for it, at most `PATIENCE` seconds.

        It takes no lock, so a signal handler may call it, even while the same call is interrupted.
        """
        self._last = self._last if self._last == CANCEL else message
        self._tells.send(message)
        until = time.monotonic() + PATIENCE
        while self._thread.is_alive() and time.monotonic() < until:
            time.sleep(0.02)

    def _loop(self) -> None:
        message = b""
        while not message:
            try:
                message = self._round()
                if message == CANCEL:
                    self.command(give_up(self.run_id))
            # Whatever a connection plugin or a callback raises: without this thread the transfer would end.
            except BaseException as error:  # noqa: PERF203  # pylint: disable=broad-except
                self._report(error)
                time.sleep(LOOK)

    def _round(self) -> bytes:
        """Wait a moment, renew the lease if that is due, and return what the thread was told; b"" if nothing."""
        parent = multiprocessing.parent_process()
        message = self._heard()
        if not message and parent is not None and os.getppid() != parent.pid:
            return CANCEL  # ansible-playbook was killed, but this worker and its ssh are still running
        if not message and self.schedule.renewal_due():
            self._look()
        return message

    def _heard(self) -> bytes:
        try:
            return self._told.recv(1)
        except OSError as error:
            if isinstance(error, socket.timeout):  # no TimeoutError before Python 3.10
                return b""
            return self._last or CANCEL  # the with block ended while this thread waited for a host that does not answer

    def _look(self) -> None:
        answer = self.command(renew(self.run_id))
        if self.schedule.lines_due():
            for run in running(answer):
                if lasts(run, self.schedule.interval):
                    Display().display(progress_line(self.label, run))

    def _report(self, error: BaseException) -> None:
        with contextlib.suppress(BaseException):
            Display().vvv(f"{self.label}: {type(error).__name__}: {error}")

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Cancel on a signal. ansible-core ends workers by os._exit or the default action, which skip every finally."""
        former: dict[int, Any] = {}

        def leave(number: int, frame: FrameType | None) -> None:
            self.cancel()
            signal.signal(number, former[number])
            os.kill(os.getpid(), number)

        if threading.current_thread() is threading.main_thread():
            for number in map(int, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)):
                handler = signal.getsignal(number)
                if handler is not signal.SIG_IGN:  # under nohup
                    former[number] = handler
                    signal.signal(number, leave)
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)


class Schedule:
    """Tells when to renew the lease and when to show lines. Times are in seconds; ``interval`` 0 shows none."""

    def __init__(self, interval: float, now: float | None = None) -> None:
        self.interval = interval
        self._renewed = self._shown = time.monotonic() if now is None else now

    def renewal_due(self, now: float | None = None) -> bool:
        """True once every `RENEWAL` seconds, and whenever lines are due."""
        now = time.monotonic() if now is None else now
        if now - self._renewed < RENEWAL and not self._due(now):
            return False
        self._renewed = now
        return True

    def lines_due(self, now: float | None = None) -> bool:
        """True once every ``interval`` seconds."""
        now = time.monotonic() if now is None else now
        if not self._due(now):
            return False
        self._shown = now
        return True

    def _due(self, now: float) -> bool:
        return self.interval > 0 and now - self._shown >= self.interval


def seconds(option: Any) -> float:
    """progress_interval in seconds; 0 if it is not a duration, because the module then reports the error."""
    if option is None or (isinstance(option, str) and not option.strip()):
        option = INTERVAL
    try:
        return float(units.duration(option, "progress_interval"))
    except BadInput:
        return 0.0


def renew(run_id: str) -> str:
    """A script for sh that renews the lease and prints the run files."""
    return _with_lease(run_id, f'touch -c "$l"; cat "$d/{run_id}"-*.json 2>/dev/null')


def give_up(run_id: str) -> str:
    """A script for sh that removes the lease, so that the module stops, and run files that a killed one left."""
    return _with_lease(run_id, f'rm -f "$l" "$d/{run_id}"-*')


def _with_lease(run_id: str, commands: str) -> str:
    """The commands, if the lease is a file of the same user. $l is the lease and $d the folder of the run files."""
    lease = shlex.quote(str(runfiles.lease_path(run_id)))
    return f'l={lease}; if [ -f "$l" ] && [ ! -L "$l" ] && [ -O "$l" ]; then d=$(cat "$l"); {commands}; fi; :'


def running(answer: str) -> list[dict[str, Any]]:
    """The run files in the output of `renew`, sorted by snapshot. Other lines, such as a login message, are skipped."""
    found = [run for run in map(runfiles.parse, answer.splitlines()) if run and run["operation"] == "send"]
    return sorted(found, key=lambda run: str(run.get("snapshot")))


def lasts(run: dict[str, Any], interval: float) -> bool:
    """Whether a transfer has been running for so many seconds, as far as its run file tells."""
    started, updated = run.get("started"), run.get("updated")
    return started is None or updated is None or updated - started >= interval


def progress_line(label: str, run: dict[str, Any]) -> str:
    """``backend-a: tank/vol@s3 -> backend-b:backup/vol  43 %  1.2 of 2.8 GiB  112 MiB/s  0:00:14 left``."""
    done, total, rate = (run.get(key) for key in ("bytes_done", "bytes_total", "bytes_per_second"))
    progress = Progress("send", bytes_done=done, bytes_total=total, bytes_per_second=rate).to_result()
    snapshot = str(run.get("snapshot")).partition("@")[2]
    parts = [f"{label}: {run.get('source')}@{snapshot} -> {run.get('target')}"]
    if progress["percent"] is not None:
        parts.append(f"{int(progress['percent'])} %")
    parts.append(amount(done or 0, total))
    if rate:
        parts.append(f"{amount(rate)}/s")
    if progress["eta_seconds"] is not None:
        minutes, left = divmod(int(progress["eta_seconds"]), 60)
        parts.append(f"{minutes // 60}:{minutes % 60:02}:{left:02} left")
    # The text comes from another host and goes to a terminal: drop control characters.
    return "".join(char for char in "  ".join(parts) if char.isprintable())


def amount(count: float, total: float | None = None) -> str:
    """``1.2 GiB``, or ``1.2 of 2.8 GiB`` in the unit of the total."""
    scale, units = total or count, ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
    while scale >= 1024 and len(units) > 1:
        scale, count, total = scale / 1024, count / 1024, total / 1024 if total else total
        del units[0]

    def digits(number: float) -> str:
        return f"{number:.0f}" if number >= 100 or units[0] == "B" else f"{number:.1f}"

    return f"{digits(count)} of {digits(total)} {units[0]}" if total else f"{digits(count)} {units[0]}"
