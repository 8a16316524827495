"""Rows of texts in columns, as wide as the terminal; whole where stdout is none."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import TextIO

from attrs import frozen
from rich.cells import cell_len, set_cell_size

from mandrake_sessions.commands.styles import BOLD, DIM, styled
from mandrake_sessions.quoting import one_line

_GAP = "  "
# A column that takes what the others leave is not made narrower than this as long as there is one to leave out.
_READABLE = 24
# However little room there is, so much of a text is shown.
_SHORTEST = 8


@frozen
class Column:
    """``is_rest``: it takes what the others leave. ``may_go``: it is left out where there is little room, the greatest
    number first; 0: never."""

    heading: str
    is_rest: bool = False
    is_number: bool = False
    is_dim: bool = False
    may_go: int = 0


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Its lines, first the headings. Control characters in the texts are escaped."""
    texts = [[one_line(text) for text in row] for row in rows]
    widths = [
        max(cell_len(text) for text in (column.heading, *(row[at] for row in texts)))
        for at, column in enumerate(columns)
    ]
    shown = list(range(len(columns)))
    if sys.stdout.isatty():
        shown = _fit(columns, widths, shutil.get_terminal_size().columns)
    yield _line(columns, shown, widths, [column.heading for column in columns], heading=True)
    for row in texts:
        yield _line(columns, shown, widths, row)


def fitted(text: str, stream: TextIO, beside: str) -> str:
    """The text, cut so that it fits on one line of the terminal ``stream``, with so much beside it; whole elsewhere."""
    if not stream.isatty():
        return text
    return _cut(text, max(_SHORTEST, shutil.get_terminal_size().columns - cell_len(beside)))


def _cut(text: str, width: int) -> str:
    return text if cell_len(text) <= width else set_cell_size(text, width - 1).rstrip() + "…"


def _fit(columns: Sequence[Column], widths: list[int], room: int) -> list[int]:
    """The columns that are shown; ``widths`` become theirs."""
    shown = list(range(len(columns)))
    rest = next(at for at, column in enumerate(columns) if column.is_rest)
    for at in sorted(shown, key=lambda at: -columns[at].may_go):
        if not columns[at].may_go or _left(widths, shown, rest, room) >= min(_READABLE, widths[rest]):
            break
        shown.remove(at)
    widths[rest] = max(1, min(widths[rest], _left(widths, shown, rest, room)))
    return shown


def _left(widths: list[int], shown: list[int], rest: int, room: int) -> int:
    return room - sum(widths[at] + len(_GAP) for at in shown if at != rest)


def _line(
    columns: Sequence[Column], shown: list[int], widths: list[int], texts: Sequence[str], *, heading: bool = False
) -> str:
    cells = []
    for at in shown:
        text, width = texts[at], widths[at]
        text = _cut(text, width)
        filling = " " * (width - cell_len(text))
        cell = filling + text if columns[at].is_number else text + filling
        cells.append(styled(cell, BOLD if heading else DIM if columns[at].is_dim else ""))
    return _GAP.join(cells).rstrip()
