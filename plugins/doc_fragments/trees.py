# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of modules that work on trees of datasets."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  recursive:
    description: Also all datasets below the named ones.
    type: bool
    default: false
  exclude:
    description:
      - Patterns for full names of datasets. Matching datasets and everything below them are left out.
      - Patterns are globs, in which C(*) also stands for a C(/), or regular expressions that begin with V(re:). They
        must match the whole name. Give expressions as a YAML list, since a single text is split at its commas.
    type: list
    elements: str
    default: []
  select:
    description:
      - Only datasets whose user property has this value, among the named ones and all below them, or in all pools if
        O(name) is not given. Inherited values count, so a dataset below can opt out with another value.
      - A dataset that gets the property later is included then.
    type: dict
    suboptions:
      property:
        description: A user property such as V(org.example:backup).
        type: str
        required: true
      value:
        description: The value that it must have. YAML's booleans are V(true) and V(false).
        type: raw
        required: true
"""
