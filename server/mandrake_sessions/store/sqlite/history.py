"""Whether an open file still holds the history that this process has seen.

A copy of a store that is put back in place, with its -wal and its -shm, looks to SQLite like any other state of the
file. But the numbers of changes only grow, and a number is never given twice. So a file that holds less than was seen
in it, or another change under a number that was seen, holds another history.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import NamedTuple

from mandrake_sessions.errors import StoreMoved
from mandrake_sessions.store.sql.seq import last_seq
from mandrake_sessions.store.sqlite.connect import StoreConnection

_FOUND = """
SELECT (SELECT store_id FROM store), (SELECT at FROM feed WHERE seq = ?), (SELECT at FROM feed WHERE seq = ?)
"""


class Seen(NamedTuple):
    """The newest change that was seen in a file, and when it was recorded; None where that was not read. ``store_id``:
    the store's name, None before it was read."""

    seq: int = 0
    at: int | None = None
    store_id: str | None = None


class FileHistory:
    """The history of one open file; any thread may use it. ``is_lost``: the file holds another one now, and has to be
    opened again."""

    def __init__(self, path: str) -> None:
        self.seen = Seen()
        self.is_lost = False
        self._path = path

    def go_on(self, connection: StoreConnection, seen: Seen) -> None:
        """The file was open in this process before, and this was seen in it. A store that was given another name since
        is known to be another.

        Raises:
            StoreMoved: it has the same name, and holds another history.
        """
        with suppress(sqlite3.OperationalError):
            if connection.execute("SELECT store_id FROM store").fetchone() == (seen.store_id,):
                self.seen = seen
                self.check(connection, seen)

    def add(self, seq: int, at: int) -> None:
        """This process has committed the change ``seq``, recorded at ``at``. Called under the lock of the writer."""
        if seq > self.seen.seq:
            self.seen = Seen(seq, at, self.seen.store_id)

    def check(self, connection: StoreConnection, seen: Seen) -> int:
        """The newest change as the connection sees it. ``seen``: what was seen before that state was taken.

        Raises:
            StoreMoved: the file holds another history.
        """
        seq = last_seq(connection)
        # A table that is gone is named by who needs it.
        with suppress(sqlite3.OperationalError):
            store_id, at, newest_at = connection.execute(_FOUND, (seen.seq, seq)).fetchone()
            is_another = seen.store_id not in (None, store_id)
            # A change that was seen may have been pruned or deleted since.
            is_renumbered = at is not None and seen.at is not None and at != seen.at
            if is_another or is_renumbered or seq < seen.seq:
                self.is_lost = True
                raise StoreMoved(self._path)
            if self.seen is seen:
                self.seen = Seen(seq, newest_at, store_id)
        return seq
