"""A text as it is after JSON's escapes are decoded, with where each character came from.

What agents send raw is mostly JSON inside a text, sometimes JSON in JSON. A key that has ``\\n`` or ``\\u0041`` in it
is found in the decoded text, and replaced in the one that has the escapes.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from mandrake_sessions.redaction.spans import Span

# JSON in JSON in JSON.
_LEVELS = 3
# Neighbours are decoded together.
_ESCAPES = re.compile(r'((?:\\["\\/bfnrt])+)|(?:\\u[0-9a-fA-F]{4})+')
_SHORT = str.maketrans({"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"})
_CODE = 6


class _Run(NamedTuple):
    """Characters from ``start`` on, each of which took ``width`` characters from ``origin`` on."""

    start: int
    origin: int
    width: int


class View:
    """``text``: the decoded text."""

    def __init__(self, text: str, runs: list[_Run]) -> None:
        self.text = text
        self._runs = runs
        self._starts = [run.start for run in runs]

    def origin(self, span: Span) -> Span:
        """The same part of the text from which this one was decoded."""
        return Span(self._before(span.start), self._before(span.end - 1, end=True), span.label)

    def _before(self, position: int, *, end: bool = False) -> int:
        """Where a character begins in the text before, or ends."""
        run = self._runs[bisect_right(self._starts, position) - 1]
        return run.origin + (position - run.start + end) * run.width


def views(text: str) -> Iterator[tuple[str, list[View]]]:
    """The text itself, then decoded once, twice …, each with the views that lead back to the text."""
    back: list[View] = []
    yield text, back
    for _ in range(_LEVELS):
        view = _decoded(text)
        if view is None:
            return
        text = view.text
        back = [view, *back]
        yield text, back


def _decoded(text: str) -> View | None:
    """None where there is no escape."""
    if "\\" not in text:
        return None
    parts: list[str] = []
    runs: list[_Run] = []
    position = length = 0
    for match in _ESCAPES.finditer(text):
        start, end = match.span()
        if start > position:
            parts.append(text[position:start])
            runs.append(_Run(length, position, 1))
            length += start - position
        decoded = match[0][1::2].translate(_SHORT) if match[1] else _characters(match[0])
        parts.append(decoded)
        runs.append(_Run(length, start, 2 if match[1] else _CODE))
        length += len(decoded)
        position = end
    if not parts:
        return None
    if position < len(text):
        parts.append(text[position:])
        runs.append(_Run(length, position, 1))
    return View("".join(parts), runs)


def _characters(escapes: str) -> str:
    codes = (int(escapes[at + 2 : at + _CODE], 16) for at in range(0, len(escapes), _CODE))
    # No rule asks about characters beyond the first plane, and half of one cannot be encoded.
    return "".join("\ufffd" if 0xD800 <= code < 0xE000 else chr(code) for code in codes)
