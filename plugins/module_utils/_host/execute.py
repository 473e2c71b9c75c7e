# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Carries out a plan on one backend, and says how far it came when it cannot go on."""

from __future__ import annotations

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import CerssError, ZfsError
from ansible_collections.cerss.zfs.plugins.module_utils._core.plan import Plan
from ansible_collections.cerss.zfs.plugins.module_utils._host.backend import Backend


def carry_out(backend: Backend, plan: Plan) -> None:
    """Run the actions in order. The error of the one that fails also says what was done and what was not."""
    for position, action in enumerate(plan.actions):
        for command in action.commands:
            try:
                backend.run(command)
            except CerssError as error:  # noqa: PERF203
                if _harmless(error):
                    continue
                done = [step.text for step in plan.actions[:position]]
                left = [step.text for step in plan.actions[position:]]
                error.msg += f"; done: {'; '.join(done) or 'nothing'}; not done: {'; '.join(left)}"
                error.details.update(actions=done, changed=bool(done))
                raise


def _harmless(error: CerssError) -> bool:
    """What was wished stands all the same: a delegated user may create and clone, but on Linux only root may mount."""
    told = ("only be mounted by root", "already mounted", "not currently mounted")
    return isinstance(error, ZfsError) and any(words in error.stderr for words in told)
