"""What the deep check gives: problems, each with how it can be mended."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen


class Mend(StrEnum):
    """How a problem is mended; ``mending.py`` does it, in this order: what others stand on comes first."""

    TABLES = "tables"
    NUMBERS = "numbers"
    STORE_ROW = "storeRow"
    RELATIONS = "relations"
    VALUES = "values"
    TEXTS = "texts"
    FEED = "feed"
    COUNTERS = "counters"


@frozen
class Problem:
    """What one rule has found: ``count`` rows of which ``text``, a plain sentence, is true. ``mend``: how it can be put
    right, or None."""

    check: str
    count: int
    text: str
    mend: Mend | None
