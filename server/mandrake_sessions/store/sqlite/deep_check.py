"""Whether what a store holds makes sense: the one check that ``doctor``, ``backup``, ``restore`` and the tests use.

SQLite's own checks say whether pages, indexes and references are in order. This one says whether the rows mean what the
program means by them: that every value can be read, that no piece of a text is missing, that counters and positions
agree with what they count and point to. It only reads, row by row, in time that grows with the file and in memory that
does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mandrake_sessions.store.sqlite import deep_rules
from mandrake_sessions.store.sqlite.connect import StoreConnection, text_or_bytes
from mandrake_sessions.store.sqlite.deep_columns import unreadable_changes, unreadable_values
from mandrake_sessions.store.sqlite.problems import Mend, Problem
from mandrake_sessions.store.sqlite.schema import missing_parts

__all__ = ["Mend", "Problem", "deep_check"]


def deep_check(connection: StoreConnection) -> list[Problem]:
    """What is wrong with the contents of a store whose pages are in order; empty where nothing is.

    ``connection`` reads one state of the file; a schema newer than this program's is for the caller to refuse. Ctrl-C
    ends it between two rows.
    """
    before, connection.text_factory = connection.text_factory, text_or_bytes
    try:
        missing = missing_parts(connection)
        if missing.tables:
            # The other rules read several tables: what they would say of a table that is gone is said already.
            return missing.problems
        return [*missing.problems, *(problem for check in _CHECKS for problem in check(connection))]
    finally:
        connection.text_factory = before


_CHECKS: tuple[Callable[[StoreConnection], Iterator[Problem]], ...] = (
    unreadable_values,
    deep_rules.store_row,
    deep_rules.ledger,
    deep_rules.relations,
    deep_rules.numbers,
    deep_rules.counters,
    deep_rules.ends,
    deep_rules.pieces,
    deep_rules.texts,
    deep_rules.feed,
    unreadable_changes,
)
