"""The part of a text that shows why it was found."""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate, islice

from attrs import frozen

from mandrake_sessions.search_query import Query, Term
from mandrake_sessions.search_text import fold, fold_character

# Characters of a snippet in UTF-16 units, and how many of them stand before the first match.
MAX_UNITS = 300
UNITS_BEFORE = 60
# So many places of each term are looked at.
MAX_PLACES = 100
ELLIPSIS = "…"

# The start and the end of a match, in characters of the text, and the number of its term.
_Place = tuple[int, int, int]


@frozen
class Snippet:
    """``ranges``: the matches in ``text``, in UTF-16 units, each with its end behind it."""

    text: str
    ranges: list[list[int]]


def make_snippet(text: str, query: Query) -> Snippet | None:
    """The part of ``text`` with the most terms close together; None where it does not match the query."""
    folded = fold(text)
    as_words = query.matches_words(folded)
    if not as_words and not query.matches_parts(folded):
        return None
    places = _in_text(text, folded, _places(query, folded, as_words=as_words))
    start, end = _window(text, places)
    return _cut(text, start, end, [(first, last) for first, last, _ in places if first < end and last > start])


def _places(query: Query, folded: str, *, as_words: bool) -> list[_Place]:
    found = [
        (match.start(), match.end(), number)
        for number, term in enumerate(query.terms)
        for match in islice(_pattern(term, folded, as_words=as_words).finditer(folded), MAX_PLACES)
        if match.end() > match.start()
    ]
    return sorted(found)


def _pattern(term: Term, folded: str, *, as_words: bool) -> re.Pattern[str]:
    """What of a term is marked: it as it was written, if it is more than a word and stands there so."""
    is_more = term.text not in term.words and term.is_part and term.is_in_parts(folded)
    pattern = term.as_part if is_more or not as_words or term.as_words is None else term.as_words
    return pattern or term.as_words or _NOTHING


# Stands nowhere.
_NOTHING = re.compile(r"(?!)")


def _in_text(text: str, folded: str, places: list[_Place]) -> list[_Place]:
    """The places as they are in the text that was folded, whose characters may have become none or several."""
    if text.isascii():
        return places
    # Where what each character became begins in the folded text.
    begins = [0, *accumulate(len(fold_character(character)) for character in text)]
    if begins[-1] == len(text) and len(folded) == len(text) and begins == list(range(len(text) + 1)):
        return places
    return [
        (bisect_right(begins, first) - 1, max(bisect_right(begins, last - 1), 1), number)
        for first, last, number in places
    ]


def _window(text: str, places: list[_Place]) -> tuple[int, int]:
    """From where to where the snippet goes: the first place from which the most different terms fit in."""
    best, most = places[0], 0
    for index, place in enumerate(places):
        terms = {number for first, last, number in islice(places, index, index + 20) if last <= place[0] + _ROOM}
        if len(terms) > most:
            best, most = place, len(terms)
    start = max(0, best[0] - UNITS_BEFORE)
    start = _after_blank(text, start, best[0]) if start else 0
    end = start
    units = MAX_UNITS - 2 * len(ELLIPSIS)
    while end < len(text) and (units := units - (2 if text[end] > "\uffff" else 1)) >= 0:
        end += 1
    return start, end


# A match from the first one on fits into the snippet up to here.
_ROOM = MAX_UNITS - UNITS_BEFORE - 2 * len(ELLIPSIS)


def _after_blank(text: str, start: int, match: int) -> int:
    """The beginning of a word, if there is one on the way to the match."""
    blank = re.compile(r"\s").search(text, start, match)
    return start if blank is None else blank.end()


def _cut(text: str, start: int, end: int, matches: list[tuple[int, int]]) -> Snippet:
    before = ELLIPSIS if start else ""
    shown = before + text[start:end] + (ELLIPSIS if end < len(text) else "")
    ranges: list[list[int]] = []
    for first, last in matches:
        begin = len(before) + _units(text[start : max(first, start)])
        stop = begin + _units(text[max(first, start) : min(last, end)])
        if ranges and begin <= ranges[-1][1]:
            ranges[-1][1] = max(ranges[-1][1], stop)
        elif stop > begin:
            ranges.append([begin, stop])
    return Snippet(shown, ranges)


def _units(text: str) -> int:
    """The length in UTF-16 units."""
    return len(text) + sum(character > "\uffff" for character in text) if not text.isascii() else len(text)
