"""The findings of a check-up, and the repairs that there are."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from attrs import evolve, frozen

from mandrake_sessions.errors import PYTHON, Wording, Words, in_words


class Level(StrEnum):
    """The severity of a finding. A ``WARNING`` does no harm yet."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Cure(StrEnum):
    """The repairs that ``repair`` can make."""

    PERMISSIONS = "permissions"
    GITIGNORE = "gitignore"
    LEASES = "leases"
    LEFTOVERS = "leftovers"
    INDEXES = "indexes"
    CONTENTS = "contents"
    ROWS = "rows"
    COUNTERS = "counters"
    ORPHANS = "orphans"
    HALF_COPIES = "halfCopies"
    FREE_PAGES = "freePages"
    WAL = "wal"
    SEARCH = "search"


@frozen
class Finding:
    """The result of one check. ``cure``: the repair for it, or None."""

    check: str
    level: Level
    _text: str | Wording
    cure: Cure | None = None
    _advice: str | Wording | None = None

    @property
    def text(self) -> str:
        return in_words(self._text, PYTHON)

    @property
    def advice(self) -> str | None:
        """The advice for the user."""
        return None if self._advice is None else in_words(self._advice, PYTHON)

    def worded(self, words: Words) -> Finding:
        """The same, with text and advice in the words of whoever reads it."""
        advice = None if self._advice is None else in_words(self._advice, words)
        return evolve(self, text=in_words(self._text, words), advice=advice)


def is_damaged(findings: Iterable[Finding]) -> bool:
    """Are tables of the file damaged, so that nobody should write to it?"""
    return any(f.check in ("file", "integrity") and f.level is Level.PROBLEM and f.cure is None for f in findings)
