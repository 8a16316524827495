"""Texts of others as parts of a page, none of which changes what stands around it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from markupsafe import Markup, escape

from mandrake_sessions.exports.markdown_text import plain, printable
from mandrake_sessions.exports.times import for_people, iso

# Of one text in memory at a time, in UTF-8: what is longer is shown as it is, in pieces.
MAX_PROSE_BYTES = 64 * 1024
# Of Markdown, in a line that is shown as text.
_MARKS = re.compile(r"^[#>\s]+|[`*]")
# Those that open and close embeddings, overrides and isolates. On a line of ours one of them without its other half
# would reorder what stands around it, whatever element it is in. A block is a paragraph of its own and ends them.
_DIRECTIONS = re.compile("[\u202a-\u202e\u2066-\u2069]")


def line(text: str) -> Markup:
    """A text on one line, as part of a line of ours."""
    return Markup('<bdi lang="">{}</bdi>').format(one_line(text))


def name(text: str) -> Markup:
    """A name or a path; the same as code."""
    return Markup('<code><bdi lang="">{}</bdi></code>').format(one_line(text))


def one_line(text: str) -> str:
    return _DIRECTIONS.sub("\ufffd", printable(" ".join(text.split())))


def shortened(text: str, most: int) -> str:
    """The first line of a text that says something, at most so many characters of it, without marks of Markdown."""
    first = text.lstrip()[: 4 * most].split("\n", 1)[0]
    shown = one_line(_MARKS.sub("", first)) or one_line(first)
    return shown if len(shown) <= most else shown[: most - 1].rstrip() + "…"


def preformatted(slices: Iterable[str], kind: str = "text") -> Iterator[Markup]:
    """A text as it is, of any length. Empty for an empty one."""
    is_open = False
    for text in _in_lines(slices):
        if not is_open:
            # A reader of HTML drops a line feed here, so there is one to drop.
            yield Markup('<pre class="{}" dir="auto" lang="">\n').format(kind)
            is_open = True
        yield escape(text)
    if is_open:
        yield Markup("</pre>\n")


def _in_lines(slices: Iterable[str]) -> Iterator[str]:
    """The slices that are not empty, as ``plain`` gives them."""
    kept_back = ""
    for piece in slices:
        text = kept_back + piece
        # The line feed that belongs to it may come with the next slice.
        kept_back = "\r" if text.endswith("\r") else ""
        if text := text.removesuffix("\r"):
            yield plain(text)
    if kept_back:
        yield "\n"


def taken(slices: Iterator[str], most: int) -> tuple[list[str], bool]:
    """The pieces that come first, until they have more bytes than that; whether these are all."""
    begin: list[str] = []
    size = 0
    for piece in slices:
        begin.append(piece)
        size += len(piece.encode())
        if size > most:
            return begin, False
    return begin, True


def moment(milliseconds: int | None) -> Markup:
    """To the minute; empty for a moment that calendars do not have."""
    shown = for_people(milliseconds)
    return Markup('<time datetime="{}">{}</time>').format(iso(milliseconds), shown) if shown else Markup("")
