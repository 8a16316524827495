"""What an edit changes, line by line."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Final, Literal

# Of the lines that differ at all, and what they weigh in UTF-8. Beyond it all old lines stand before all new ones: what
# comparing takes grows with the square.
MAX_LINES: Final = 1000
MAX_BYTES: Final = 256 * 1024
# Lines on either side.
_CONTEXT: Final = 3

# Of a new line, of one that is gone, of one that is in both, and of what stands between two places.
Kind = Literal["new", "gone", "both", "between"]
Line = tuple[Kind, str]


def compared(old: str, new: str) -> Iterator[Line]:
    """The lines that an edit changes, with a few around them. Lines end with line feeds."""
    if all(not text or text.endswith("\n") for text in (old, new)):
        # An end of a line that both have is no line.
        old, new = old.removesuffix("\n"), new.removesuffix("\n")
    return _lines(old.split("\n"), new.split("\n"))


def _lines(old: Sequence[str], new: Sequence[str]) -> Iterator[Line]:
    old, new = [] if old == [""] else old, [] if new == [""] else new
    begin = _alike(old, new, 0)
    end = _alike(old[begin:][::-1], new[begin:][::-1], 0)
    gone, came = old[begin : len(old) - end], new[begin : len(new) - end]
    if begin > _CONTEXT:
        yield "between", "⋯"
    yield from (("both", text) for text in old[max(begin - _CONTEXT, 0) : begin])
    yield from _compared(gone, came)
    yield from (("both", text) for text in old[len(old) - end :][:_CONTEXT])
    if end > _CONTEXT:
        yield "between", "⋯"


def _alike(old: Sequence[str], new: Sequence[str], count: int) -> int:
    """How many lines at the beginning are the same."""
    while count < min(len(old), len(new)) and old[count] == new[count]:
        count += 1
    return count


def _compared(gone: Sequence[str], came: Sequence[str]) -> Iterator[Line]:
    if max(len(gone), len(came)) > MAX_LINES or sum(len(text.encode()) for text in (*gone, *came)) > MAX_BYTES:
        yield from (("gone", text) for text in gone)
        yield from (("new", text) for text in came)
        return
    for number, group in enumerate(difflib.SequenceMatcher(None, gone, came).get_grouped_opcodes(_CONTEXT)):
        if number:
            yield "between", "⋯"
        for kind, *where in group:
            yield from _changed(kind, gone[where[0] : where[1]], came[where[2] : where[3]])


def _changed(kind: str, gone: Sequence[str], came: Sequence[str]) -> Iterator[Line]:
    if kind == "equal":
        yield from (("both", text) for text in gone)
        return
    yield from (("gone", text) for text in gone)
    yield from (("new", text) for text in came)
