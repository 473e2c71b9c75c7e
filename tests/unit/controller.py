# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible as the tests of roles and playbooks run it."""

from __future__ import annotations

import os
from collections.abc import Mapping


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The caller's, with these settings of Ansible and no others. ``settings``: names without ``ANSIBLE_``."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    return {**inherited, "LC_ALL": "C.UTF-8", **{f"ANSIBLE_{key}": value for key, value in settings.items()}}
