# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible as the tests of roles and playbooks run it."""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest
from ansible.release import __version__

# The oldest Python of a target host gets no ansible-core that may be a controller (meta/runtime.yml).
SUPPORTED = pytest.mark.skipif(__version__ < "2.16", reason=f"ansible-core {__version__} runs none of the roles")


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The caller's, with these settings of Ansible and no others. ``settings``: names without ``ANSIBLE_``."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    return {**inherited, "LC_ALL": "C.UTF-8", **{f"ANSIBLE_{key}": value for key, value in settings.items()}}
