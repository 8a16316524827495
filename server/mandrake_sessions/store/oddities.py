"""What was met in a file that could not be read for what it is, while the rest of it is used as ever."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from mandrake_sessions.errors import Unreadable

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

# So many are remembered, to be named in the health of the store.
MAX_ODDITIES = 50


class Oddities:
    """Of one open file; used by all its connections, on any thread.

    ``pruned_seq``: the last change of the feed that could not be read. Subscribers from before it are told so, as they
    are of changes that are no longer kept.
    """

    def __init__(self) -> None:
        self.pruned_seq = 0
        self._lock = threading.Lock()
        self._found: dict[tuple[str, str], Unreadable] = {}

    def note(self, error: Unreadable) -> None:
        """Remember it, and log it once."""
        key = (error.entity, error.entity_id)
        with self._lock:
            if key in self._found or len(self._found) >= MAX_ODDITIES:
                return
            self._found[key] = error
        logger.warning("%s: %s", error.path, error)

    def forget(self, error: Unreadable) -> None:
        """It can be read again, or is gone."""
        with self._lock:
            self._found.pop((error.entity, error.entity_id), None)

    def listed(self) -> list[Unreadable]:
        return list(self._found.values()) if self._found else []


class StoreConnection(sqlite3.Connection):
    """A connection to a store, which knows where to note what cannot be read."""

    path = ""
    oddities: Oddities | None = None
    # Whether a statement of it may hold a large value, so that it is not kept for the next reader.
    holds_large = False


def path_of(connection: sqlite3.Connection) -> str:
    return connection.path if isinstance(connection, StoreConnection) else ""


def note(connection: sqlite3.Connection, error: Unreadable) -> None:
    """Note what a list leaves out."""
    if isinstance(connection, StoreConnection):
        error.path = error.path or connection.path
        if connection.oddities is not None:
            connection.oddities.note(error)


def readable(connection: sqlite3.Connection, rows: Iterable[R], read: Callable[[R], T]) -> Iterator[T]:
    """What can be read; the rest is left out, and noted."""
    for row in rows:
        try:
            found = read(row)
        except Unreadable as error:
            note(connection, error)
        else:
            yield found


def readable_page(
    connection: sqlite3.Connection,
    fetch: Callable[[Any, int], Iterable[R]],
    position: Callable[[R], Any],
    after: Any,
    limit: int,
    read: Callable[[R], T],
) -> Iterator[T]:
    """The first ``limit`` rows beyond ``after`` that can be read (all of them where it is negative): more are fetched
    in the place of those that are left out, so that a page which is not full is the last one."""
    while limit:
        fetched = 0
        left = limit
        for row in fetch(after, limit):
            fetched += 1
            after = position(row)
            for found in readable(connection, (row,), read):
                left -= 1
                yield found
        if limit < 0 or fetched < limit:
            return
        limit = left
