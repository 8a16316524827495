"""The read-only connections of an open file."""

from __future__ import annotations

import sqlite3
import threading
from typing import Any
from weakref import ref

from mandrake_sessions.errors import NotOpen
from mandrake_sessions.store.sqlite.connect import StoreConnection, connect_as
from mandrake_sessions.store.sqlite.diagnosis import Diagnosis
from mandrake_sessions.store.sqlite.immediate import undo

# Three long reads, what a fork copies, the event loop's own reads, an inspection of the whole file, and what fills the
# search index.
MAX_READERS = 7
# Connections beyond these, each for the second thread of a long read. More threads would have to share processors.
MAX_SPARES = 1
# Beyond so many, those that are gone are forgotten.
_KNOWN_CURSORS = 64


class ReadConnection(StoreConnection):
    """One that reads, and is used for one snapshot after the other.

    Where somebody still holds a cursor that was not read to its end (a generator that the traceback of an exception
    keeps alive does), SQLite stays in the state that it reads, and the next snapshot would be of that old state. So the
    cursors are known, and closed with the snapshot.
    """

    # One of those that the pool gives out, taken by this connection.
    slot: threading.Semaphore

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._cursors: list[ref[sqlite3.Cursor]] = []

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        cursor = super().execute(*arguments)
        if len(self._cursors) > _KNOWN_CURSORS:
            self._cursors = [known for known in self._cursors if known() is not None]
        self._cursors.append(ref(cursor))
        return cursor

    def end_snapshot(self) -> None:
        """Forget the state that was read."""
        known, self._cursors = self._cursors, []
        for cursor in (each() for each in known):
            if cursor is not None:
                cursor.close()
        undo(self)


class Readers:
    """A pool of connections, open until ``close``."""

    def __init__(self, path: str, diagnosis: Diagnosis, *, immutable: bool) -> None:
        self._path = path
        self._diagnosis = diagnosis
        self._immutable = immutable
        self._idle: list[ReadConnection] = []
        self._slots = threading.BoundedSemaphore(MAX_READERS)
        self._spares = threading.BoundedSemaphore(MAX_SPARES)
        self._are_open = True

    def acquire(self) -> ReadConnection:
        """A connection for this caller alone, until ``release``. Waits while all are in use."""
        self._slots.acquire()
        return self._in_slot(self._slots)

    def acquire_spare(self) -> ReadConnection | None:
        """A connection beyond those, until ``release``; None while all of these are in use."""
        return self._in_slot(self._spares) if self._spares.acquire(blocking=False) else None

    def _in_slot(self, slot: threading.Semaphore) -> ReadConnection:
        try:
            reader = self._idle_one() or self.connect()
        except BaseException:
            slot.release()
            raise
        reader.slot = slot
        return reader

    def _idle_one(self) -> ReadConnection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def release(self, reader: ReadConnection) -> None:
        if not self._are_open or reader.holds_large:
            reader.close()
        else:
            self._idle.append(reader)
        reader.slot.release()

    def connect(self) -> ReadConnection:
        """A connection beside the pool; the caller closes it."""
        if not self._are_open:
            raise NotOpen(f"the store {self._path} is closed")
        return self.connect_at_the_end()

    def connect_at_the_end(self) -> ReadConnection:
        """The same after ``close`` too. Once it has read something, no connection of this process that closes is the
        last of all, which would copy the -wal into the file."""
        # SQLite deletes the -wal of an empty file when it opens that, and with it the rest.
        self._diagnosis.check_not_emptied()
        reader = connect_as(ReadConnection, self._path, read_only=True, immutable=self._immutable)
        reader.oddities = self._diagnosis.oddities
        return reader

    def stop(self) -> None:
        """Give out no more connections; those in use close when they are released."""
        self._are_open = False

    def close(self) -> None:
        """``stop``, and close the idle connections."""
        self.stop()
        while (reader := self._idle_one()) is not None:
            reader.close()
