"""What a program wrote for a terminal, as text: without the sequences that move its cursor and paint."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

# ECMA-48: a control sequence; a command of the operating system; another string; what else begins with an escape.
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"
    r"|\x1b[PX^_][^\x1b]*\x1b\\"
    r"|\x1b[ -/]*[0-~]"
)
# A sequence that is longer than this, and ends in another slice, is not known for one.
_LONGEST = 4096


def without_sequences(slices: Iterable[str]) -> Iterator[str]:
    """The slices of one text; they may be cut elsewhere."""
    kept = ""
    for piece in slices:
        text = kept + piece
        begin = max(text.rfind("\x1b"), text.rfind("\x9b"))
        # The end of a string is an escape itself, whose beginning stands before it.
        begin = begin if text[begin : begin + 2] != "\x1b\\" else -1
        if begin >= 0 and text.endswith("\x1b"):
            before = text.rfind("\x1b", 0, len(text) - 1)
            begin = before if before >= len(text) - _LONGEST and before >= 0 else begin
        cut = begin if begin >= 0 and begin >= len(text) - _LONGEST else len(text)
        kept = text[cut:]
        yield _SEQUENCE.sub("", text[:cut])
    yield _SEQUENCE.sub("", kept)
