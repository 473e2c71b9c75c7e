# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A recorded terminal as SVG. How docs/demo.svg is made, by script(1) of util-linux:

script --quiet --return --command 'make demo' build/demo.txt; python3 scripts/picture.py <build/demo.txt >docs/demo.svg
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path

COLUMNS, WIDTH, HEIGHT, MARGIN = 128, 8.0, 18, 16
STYLES = {
    "1": "font-weight:bold;fill:#fff", "2": "fill:#8a919c", "31": "fill:#f47067", "32": "fill:#7ec699",
    "33": "fill:#e0c36a",
}  # fmt: skip
FROM, UNTIL = "[2/", "Done in"
HEADER = "".join(Path(__file__).read_text().splitlines(keepends=True)[:3]).replace("# ", "")


def shown(recorded: str) -> Iterator[str]:
    """The lines that remain on the terminal, without what was written over, from when the machines run."""
    begun = False
    for raw in recorded.replace("\r\n", "\n").split("\n"):
        line = raw.rpartition("\r\x1b[K")[2].rstrip("\r")
        begun = begun or FROM in line
        if begun:
            yield line
        if UNTIL in line:
            return


def pieces(line: str) -> Iterator[tuple[str, str]]:
    """(style, text) of a line."""
    style = ""
    for index, part in enumerate(re.split(r"\x1b\[([\d;]*)m", line)):
        if index % 2:
            style = STYLES.get(part, "")
        elif part:
            yield style, part


def rows(line: str) -> Iterator[list[tuple[int, str, str]]]:
    """(column, style, text) of each row that a line takes on the terminal."""
    row: list[tuple[int, str, str]] = []
    column = 0
    for style, text in pieces(line):
        while text:
            if column == COLUMNS:
                yield row
                row, column = [], 0
            part, text = text[: COLUMNS - column], text[COLUMNS - column :]
            row.append((column, style, part))
            column += len(part)
    yield row


def main() -> None:
    lines = [row for line in shown(sys.stdin.read()) for row in rows(line)]
    width, height = COLUMNS * WIDTH + 2 * MARGIN, len(lines) * HEIGHT + 2 * MARGIN
    print(f"<!--\n{HEADER}-->")
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height}" font-size="13"', end="")
    print(' font-family="ui-monospace,Menlo,Consolas,DejaVu Sans Mono,monospace" fill="#d5dae1">')
    print(f'<title>make demo</title><rect width="{width:g}" height="{height}" rx="8" fill="#1b1f26"/>')
    for number, row in enumerate(lines, 1):
        for column, style, text in row:
            if text.strip():
                # The length keeps columns in line, whatever font there is.
                place = f'x="{MARGIN + column * WIDTH:g}" y="{MARGIN / 2 + number * HEIGHT:g}"'
                length = f'textLength="{len(text) * WIDTH:g}" xml:space="preserve"'
                print(f"<text {place} {length}{f' style={chr(34)}{style}{chr(34)}' if style else ''}>", end="")
                print(f"{escape(text)}</text>")
    print("</svg>")


if __name__ == "__main__":
    main()
