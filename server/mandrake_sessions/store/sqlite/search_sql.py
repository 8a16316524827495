"""The statements of a search index, whose failures are told from those of the store.

Filling and searching read the store and the index in one block. A failure of the index must not count as one of the
store: the store would be taken for damaged, and refuse to be written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class IndexFault(Exception):
    """A statement of the index failed with ``error``, or gave what no index holds. It is no ``sqlite3.Error``, so that
    a block that reads the store lets it pass."""

    def __init__(self, error: sqlite3.Error) -> None:
        super().__init__(str(error))
        self.error = error


# As much memory as no statement of an index needs.
_MUCH = 64 << 20


@contextmanager
def index_faults() -> Iterator[None]:
    """Raises IndexFault in place of ``sqlite3.Error``."""
    try:
        with believed_lengths():
            yield
    except sqlite3.Error as error:
        raise IndexFault(error) from error


@contextmanager
def believed_lengths() -> Iterator[None]:
    """FTS5 believes a length that it reads in a damaged index, asks for as much memory, and says that there is none.
    Raises IndexFault in place of MemoryError where there is plenty."""
    try:
        yield
    except MemoryError as error:
        raise_if_plenty(error)
        raise


def raise_if_plenty(error: MemoryError) -> None:
    """Raises IndexFault where there is plenty of memory."""
    try:
        bytearray(_MUCH)
    except MemoryError:
        return
    raise not_ours("a length for which no memory is enough") from error


def not_ours(what: str) -> IndexFault:
    """The fault of an index that holds what this program does not write."""
    return IndexFault(sqlite3.DatabaseError(f"{NOT_OURS}: {what}"))


NOT_OURS = "it holds what no search index holds"


class Rows(list[Any]):
    """The rows of a statement, all of them: each statement of an index bounds how many there are."""

    def fetchone(self) -> Any:
        return self[0] if self else None

    def fetchall(self) -> list[Any]:
        return self


class IndexSql:
    """Runs statements on a connection to an index. Raises IndexFault in place of ``sqlite3.Error``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, values: Sequence[Any] = ()) -> Rows:
        # Not ``index_faults``: a step runs thousands of these.
        try:
            return Rows(self._connection.execute(statement, values).fetchall())
        except sqlite3.Error as error:
            raise IndexFault(error) from error
        except MemoryError as error:
            raise_if_plenty(error)
            raise
