"""The paths of home directories, which name their users."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from urllib.parse import quote

from mandrake_sessions.redaction.literals import lower, positions
from mandrake_sessions.redaction.spans import Span

# Names that belong to nobody.
_SHARED = r"(?:Shared|Public|Default|All Users|linuxbrew)(?![\w.-])"
_SLASH = r"[\\/]{1,8}"
# Linux and macOS; not as a part of a longer path or of an address.
_POSIX = re.compile(rf"(?<![\w.~$}}%-])(?:/var)?/(?:home|Users)/(?!{_SHARED})[\w][\w.@+-]{{0,63}}")
# Windows, also as its shells for Linux write it. A name may have blanks where a path goes on after it.
_WINDOWS = re.compile(
    rf"(?<!\w)(?:[a-z]:|(?:/mnt)?/[a-z]){_SLASH}(?:Users|Documents and Settings){_SLASH}"
    rf"(?!{_SHARED})(?:[\w][\w.@+ -]{{0,63}}(?={_SLASH})|[\w][\w.@+-]{{0,63}})",
    re.IGNORECASE,
)
# Those of Windows' Linux, as Windows sees them.
_WSL = re.compile(
    rf"(?<![\w.-])[\\/]{{2,4}}wsl(?:\$|\.localhost){_SLASH}(?:[\w][\w.-]{{0,63}}{_SLASH})?home{_SLASH}[\w][\w.@+-]{{0,63}}",
    re.IGNORECASE,
)
# In an address that stands in another, or in a query. What is encoded before it is no part of a word.
_BEFORE = r"(?:(?<![\w.~-])|(?<=%[0-9a-fA-F]{2}))"
_ENCODED = re.compile(
    rf"{_BEFORE}(?:(?:[a-z](?::|%3A))?(?:%2F|%5C)(?:home|Users)(?:%2F|%5C)|[a-z]%3A/Users/)"
    rf"(?!{_SHARED})[\w][\w.@+-]{{0,63}}",
    re.IGNORECASE,
)
# Claude Code names the directory of a project after its path, with a dash for each character but letters and digits.
_PROJECT = r"(?:-home|-Users|[A-Za-z]--Users)-[\w.]{1,64}"
_DASHED = re.compile(rf"(?<=[\\/]projects[\\/]){_PROJECT}|(?<![\w.-]){_PROJECT}(?=-\w)")
# Each with words of which it has one, how far before the word a match may begin, and how far it may go on.
_PATTERNS = (
    (_POSIX, (("/home/", 4), ("/users/", 4))),
    (_WINDOWS, (("users", 17), ("documents and settings", 17))),
    (_WSL, (("wsl$", 4), ("wsl.localhost", 4))),
    (_ENCODED, (("%2fhome%2f", 1), ("%2fusers%2f", 4), ("%5cusers%5c", 4), ("%3a/users/", 1))),
    (_DASHED, (("-home-", 0), ("-users-", 2))),
)
_AFTER = 200


class Homes:
    """Finds them: those of the usual places, and this user's own wherever it is."""

    def __init__(self) -> None:
        own = {os.path.expanduser("~"), os.path.realpath(os.path.expanduser("~"))}  # noqa: PTH111
        self._own = [
            spelling
            for path in sorted(own, key=len, reverse=True)
            if len(path) > 1 and os.path.isabs(path)  # noqa: PTH117
            for spelling in _spellings(path)
        ]

    def find(self, text: str) -> Iterator[Span]:
        for path, pattern in self._own:
            for position in positions(text, (path,)):
                if match := pattern.match(text, position):
                    yield Span(match.start(), match.end(), None)
        in_lower = lower(text)
        for pattern, words in _PATTERNS:
            for word, before in words:
                for position in positions(in_lower, (word,)):
                    if match := _match(pattern, text, max(position - before, 0), position):
                        yield Span(match.start(), match.end(), None)


def _match(pattern: re.Pattern[str], text: str, first: int, last: int) -> re.Match[str] | None:
    """The match that begins at one of these positions."""
    matches = (pattern.match(text, start, last + _AFTER) for start in range(first, last + 1))
    return next(filter(None, matches), None)


def _spellings(path: str) -> Iterator[tuple[str, re.Pattern[str]]]:
    """How a directory of this system may stand in a text, each with the pattern that is to match there."""
    yield path, re.compile(rf"(?<![\w.-]){re.escape(path)}(?![\w.-])")
    encoded = quote(path, safe="", errors="surrogateescape")
    yield encoded, re.compile(rf"{_BEFORE}{re.escape(encoded)}(?![\w.-])")
    dashed = re.sub(r"[^A-Za-z0-9]", "-", path)
    # One word with a dash before it may be an option of a program.
    if dashed.count("-") > 1:
        yield dashed, re.compile(rf"(?<![\w.-]){re.escape(dashed)}(?!\w)")
