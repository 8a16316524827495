"""The paths of home directories, which name their users."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

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
# Claude Code names the directory of a project after its path.
_DASHED = re.compile(r"(?<=[\\/]projects[\\/])-(?:home|Users)-[\w.]{1,64}")
# A word that each has, how far before it a match may begin, and how far it may go on.
_WORDS = (("/home/", 4), ("/users/", 4)), (("users", 17), ("documents and settings", 17)), (("projects", 0),)
_AFTER = 200


class Homes:
    """Finds them: those of the usual places, and this user's own wherever it is."""

    def __init__(self) -> None:
        own = {os.path.expanduser("~"), os.path.realpath(os.path.expanduser("~"))}  # noqa: PTH111
        self._own = [
            (path, re.compile(rf"(?<![\w.-]){re.escape(path)}(?![\w.-])"))
            for path in sorted(own, key=len, reverse=True)
            if len(path) > 1 and os.path.isabs(path)  # noqa: PTH117
        ]

    def find(self, text: str) -> Iterator[Span]:
        for path, pattern in self._own:
            for position in positions(text, (path,)):
                if match := pattern.match(text, position):
                    yield Span(match.start(), match.end(), None)
        in_lower = lower(text)
        for pattern, words in zip((_POSIX, _WINDOWS, _DASHED), _WORDS, strict=True):
            for word, before in words:
                for position in positions(in_lower, (word,)):
                    begin = max(position - before, 0)
                    if match := pattern.search(text, begin, position + _AFTER):
                        yield Span(match.start(), match.end(), None)
