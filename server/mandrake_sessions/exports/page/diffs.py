"""What an edit changes, line by line."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from mandrake_sessions.exports.page.text import name, plain

# Lines on either side, of those that differ at all, and what they weigh in UTF-8. Beyond it all old lines stand before
# all new ones: what comparing takes grows with the square.
MAX_LINES = 1000
MAX_BYTES = 256 * 1024
_CONTEXT = 3
# Lines that go out together.
_FEW = 500

_Marked = tuple[str, str]


def diff(path: str, old: str, new: str) -> Iterator[Markup]:
    """``path``: empty where it is not known."""
    yield Markup('<figure class="code diff">')
    if path:
        yield Markup("<figcaption>{}</figcaption>").format(name(path))
    yield Markup('<pre dir="auto" lang=""><code>')
    kept: list[Markup] = []
    if old.endswith("\n") and new.endswith("\n"):
        old, new = old[:-1], new[:-1]
    for kind, text in _lines(plain(old).split("\n"), plain(new).split("\n")):
        kept.append(Markup('<span class="{}">{}</span>\n').format(kind, text))
        if len(kept) == _FEW:
            yield Markup("").join(kept)
            kept.clear()
    yield Markup("").join(kept) + Markup("</code></pre></figure>\n")


def _lines(old: Sequence[str], new: Sequence[str]) -> Iterator[_Marked]:
    """Each with its class: ``i`` for a new one, ``d`` for one that is gone, ``e`` for both, ``h`` between hunks."""
    old, new = [] if old == [""] else old, [] if new == [""] else new
    begin = _alike(old, new, 0)
    end = _alike(old[begin:][::-1], new[begin:][::-1], 0)
    gone, came = old[begin : len(old) - end], new[begin : len(new) - end]
    if begin > _CONTEXT:
        yield "h", "⋯"
    yield from (("e", "  " + text) for text in old[max(begin - _CONTEXT, 0) : begin])
    yield from _compared(gone, came)
    yield from (("e", "  " + text) for text in old[len(old) - end :][:_CONTEXT])
    if end > _CONTEXT:
        yield "h", "⋯"


def _alike(old: Sequence[str], new: Sequence[str], count: int) -> int:
    """How many lines at the beginning are the same."""
    while count < min(len(old), len(new)) and old[count] == new[count]:
        count += 1
    return count


def _compared(gone: Sequence[str], came: Sequence[str]) -> Iterator[_Marked]:
    if max(len(gone), len(came)) > MAX_LINES or sum(len(text.encode()) for text in (*gone, *came)) > MAX_BYTES:
        yield from (("d", "- " + text) for text in gone)
        yield from (("i", "+ " + text) for text in came)
        return
    for number, group in enumerate(difflib.SequenceMatcher(None, gone, came).get_grouped_opcodes(_CONTEXT)):
        if number:
            yield "h", "⋯"
        for kind, *where in group:
            yield from _changed(kind, gone[where[0] : where[1]], came[where[2] : where[3]])


def _changed(kind: str, gone: Sequence[str], came: Sequence[str]) -> Iterator[_Marked]:
    if kind == "equal":
        yield from (("e", "  " + text) for text in gone)
        return
    yield from (("d", "- " + text) for text in gone)
    yield from (("i", "+ " + text) for text in came)
