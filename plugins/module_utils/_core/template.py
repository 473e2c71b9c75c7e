# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of snapshots with the time in them, such as ``nightly-%Y-%m-%d_%H-%M``."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from ansible_collections.cerss.zfs.plugins.module_utils._core.errors import BadInput
from ansible_collections.cerss.zfs.plugins.module_utils._core.names import EXPRESSION, check_component

# Directive of strftime(3) -> a regular expression for what it makes. Missing are those whose text depends on the
# language of the host (%a, %b, %c, %p, …) or has characters that ZFS does not take (%D, %z).
_EXPRESSIONS = {
    "Y": "[0-9]{4}",
    "y": "[0-9]{2}",
    "m": "(?:0[1-9]|1[0-2])",
    "d": "(?:0[1-9]|[12][0-9]|3[01])",
    "j": "(?:[0-2][0-9]{2}|3[0-6][0-9])",
    "H": "(?:[01][0-9]|2[0-3])",
    "M": "[0-5][0-9]",
    "S": "(?:[0-5][0-9]|60)",
    "G": "[0-9]{4}",
    "V": "(?:0[1-9]|[1-4][0-9]|5[0-3])",
    "u": "[1-7]",
    "s": "[0-9]+",
}
_GLOBS = {
    "Y": "[0-9]" * 4,
    "y": "[0-9]" * 2,
    "m": "[01][0-9]",
    "d": "[0-3][0-9]",
    "j": "[0-3][0-9][0-9]",
    "H": "[0-2][0-9]",
    "M": "[0-5][0-9]",
    "S": "[0-6][0-9]",
    "G": "[0-9]" * 4,
    "V": "[0-5][0-9]",
    "u": "[1-7]",
    "s": "[0-9]" * 10,  # from 2001 to 2286; a glob for any number would take what begins with a digit, as 2026-11-28
}
_COMBINED = {"F": "%Y-%m-%d", "R": "%H:%M", "T": "%H:%M:%S"}
_PART = re.compile("%.?|[^%]+", re.DOTALL)


@dataclass(frozen=True)
class Template:
    """A template for the part after the ``@``. ``parts``: literal texts and directives, those with two characters."""

    text: str
    parts: tuple[str, ...]

    @classmethod
    def parse(cls, text: str, option: str) -> Template:
        """Raise BadInput, which names ``option``, unless every name that it makes is a valid one for a snapshot."""
        plain = re.sub("%([FRT])", lambda found: _COMBINED[found[1]], text)
        parts = tuple(_PART.findall(plain))
        unknown = [part for part in parts if part.startswith("%") and part[1:] not in _EXPRESSIONS]
        if unknown:
            known = " ".join(f"%{letter}" for letter in [*_EXPRESSIONS, *_COMBINED])
            raise BadInput(
                f"{option}: {unknown[0]!r} in {text!r} cannot be in the name of a snapshot, since it is no directive, "
                f"depends on the language of the host, or makes characters that ZFS does not take; use {known}"
            )
        template = cls(text, parts)
        check_component(template.name(0, utc=True), text, "snapshot")
        return template

    @property
    def has_directives(self) -> bool:
        return any(part.startswith("%") for part in self.parts)

    def name(self, now: float, utc: bool) -> str:
        """The name at this time, seconds since 1970, in the time zone of this host or UTC.

        >>> Template.parse("nightly-%F", "snapshot").name(86400, utc=True)
        'nightly-1970-01-02'
        """
        when = time.gmtime(now) if utc else time.localtime(now)
        made = {"%s": str(int(now))}
        return "".join(
            made.get(part) or (time.strftime(part, when) if part.startswith("%") else part) for part in self.parts
        )

    def pattern(self) -> str:
        """The pattern for all names that it can make, whenever and in whatever time zone.

        >>> Template.parse("at.%Y", "snapshot").pattern()
        're:at\\\\.[0-9]{4}'
        """
        made = (_EXPRESSIONS[part[1:]] if part.startswith("%") else re.escape(part) for part in self.parts)
        return EXPRESSION + "".join(made)

    def glob(self) -> str:
        """The same as a glob, which may be recorded with a relationship. It has few more names: also month 19.

        >>> Template.parse("at.%Y", "snapshot").glob()
        'at.[0-9][0-9][0-9][0-9]'
        """
        return "".join(_GLOBS[part[1:]] if part.startswith("%") else part for part in self.parts)
