"""The deep check: whether the rows of a store mean what the program expects. ``doctor``, ``backup``, ``restore`` and
the tests use it.

SQLite's own checks cover pages, indexes and references. This check covers the meaning of rows: every value can be read,
no piece of a text is missing, the feed has the changes of what is there, counters and positions agree with what they
count and point to. It only reads, row by row, in bounded memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from mandrake_sessions.store.sqlite import deep_feed, deep_originals, deep_rules
from mandrake_sessions.store.sqlite.connect import StoreConnection, text_or_bytes
from mandrake_sessions.store.sqlite.deep_columns import unreadable_changes, unreadable_values
from mandrake_sessions.store.sqlite.immediate import begin_reading, undo
from mandrake_sessions.store.sqlite.problems import Mend, Problem
from mandrake_sessions.store.sqlite.schema import missing_parts

__all__ = ["Mend", "Problem", "deep_check"]


def deep_check(connection: StoreConnection) -> list[Problem]:
    """The problems in the contents of a store whose pages are in order; empty if there are none.

    The rules read one state of the file, whatever other processes commit meanwhile: that of the transaction of
    ``connection``, or else of one for the check alone. The caller rejects a schema that is newer than this program's.
    Ctrl-C ends the check between two rows.
    """
    before, connection.text_factory = connection.text_factory, text_or_bytes
    try:
        with nullcontext() if connection.in_transaction else _snapshot(connection):
            missing = missing_parts(connection)
            if missing.tables:
                # The other rules read several tables, and would report the missing table again.
                return missing.problems
            return [*missing.problems, *(problem for check in _CHECKS for problem in check(connection))]
    finally:
        connection.text_factory = before


@contextmanager
def _snapshot(connection: StoreConnection) -> Iterator[None]:
    begin_reading(connection)
    try:
        yield
    finally:
        undo(connection)


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
    deep_originals.originals,
    deep_feed.feed,
    deep_feed.feed_and_entities,
    unreadable_changes,
)
