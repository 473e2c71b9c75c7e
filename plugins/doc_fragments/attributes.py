# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The attributes of the modules: check mode, diff mode, idempotency, platform."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
requirements:
  - OpenZFS 2.1 or later
  - Python 3.9 or later
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff
      mode.
  idempotent:
    description: When run twice in a row outside check mode with the same arguments, the second run reports no change.
  platform:
    description: Operating systems that the module can be run on.
    platforms: Linux
    support: full
"""

    # For modules that change something.
    CHANGES = r"""
options: {}
attributes:
  check_mode:
    support: full
    details: Check mode changes nothing and reports the same RV(ignore:changed), RV(ignore:actions) and diff as a real
      run would.
  diff_mode:
    support: full
  idempotent:
    support: full
"""

    # For modules that only read.
    INFO = r"""
options: {}
attributes:
  check_mode:
    support: full
    details: This module does not change anything.
  diff_mode:
    support: N/A
    details: This module does not change anything.
  idempotent:
    support: full
    details: This module does not change anything.
"""
