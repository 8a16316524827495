"""The problems that the deep check finds, each with the way to mend it."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen

from mandrake_sessions.value import Value


class Mend(StrEnum):
    """How a problem is mended. ``mending.py`` does all but the last, in this order: later mends rely on earlier ones.

    ``ROUND_COUNTS``: a transaction of the store counts again, since it tells subscribers of the session.
    """

    TABLES = "tables"
    NUMBERS = "numbers"
    STORE_ROW = "storeRow"
    RELATIONS = "relations"
    VALUES = "values"
    TEXTS = "texts"
    ORIGINALS = "originals"
    FEED = "feed"
    COUNTERS = "counters"
    ROUND_COUNTS = "roundCounts"


@frozen(eq=False, repr=False)
class Problem(Value):
    """What one rule has found. ``text``: a plain sentence, about ``count`` rows. ``mend``: None where the program
    cannot mend it."""

    check: str
    count: int
    text: str
    mend: Mend | None
