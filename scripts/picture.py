# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns a recorded terminal into an SVG. To make docs/demo.svg, with script(1) of util-linux:

make .venv/.docs
script --quiet --return --command 'make demo' build/demo.txt
.venv/bin/python scripts/picture.py <build/demo.txt >docs/demo.svg
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import CONSOLE_SVG_FORMAT, Console
from rich.text import Text

# The part after the start of the machines
PART = re.compile(r"^[^\n]*\[2/.*?Done in[^\n]*", re.MULTILINE | re.DOTALL)
HEADER = "".join(Path(__file__).read_text().splitlines(keepends=True)[:3]).replace("# ", "")
# Rich's format without the fonts, which a browser would load from another host, and with the licence.
FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
FORMAT = re.sub(r"<!--.*?-->", f"<!--\n{HEADER}-->", FORMAT)


def main() -> None:
    recorded = PART.search(sys.stdin.read().replace("\r\n", "\n"))
    if not recorded:
        sys.exit("The recording does not have a complete demo in it; record it again.")
    console = Console(file=io.StringIO(), record=True, width=128)
    console.print(Text.from_ansi(recorded[0]))
    svg = console.export_svg(title="make demo", code_format=FORMAT, unique_id="demo")
    print(re.sub(r"\s+\n", "\n", svg), end="")


if __name__ == "__main__":
    main()
