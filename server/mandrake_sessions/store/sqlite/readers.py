"""The read-only connections of an open file."""

from __future__ import annotations

import threading

from mandrake_sessions.errors import NotOpen
from mandrake_sessions.store.sqlite.connect import StoreConnection, connect
from mandrake_sessions.store.sqlite.diagnosis import Diagnosis

# Three long reads, what a fork copies, the event loop's own reads, an inspection of the whole file, and what fills the
# search index.
MAX_READERS = 7


class Readers:
    """A pool of connections, open until ``close``."""

    def __init__(self, path: str, diagnosis: Diagnosis, *, immutable: bool) -> None:
        self._path = path
        self._diagnosis = diagnosis
        self._immutable = immutable
        self._idle: list[StoreConnection] = []
        self._slots = threading.BoundedSemaphore(MAX_READERS)
        self._are_open = True

    def acquire(self) -> StoreConnection:
        """A connection for this caller alone, until ``release``. Waits while all are in use."""
        self._slots.acquire()
        try:
            return self._idle.pop() if self._idle else self.connect()
        except BaseException:
            self._slots.release()
            raise

    def release(self, reader: StoreConnection) -> None:
        if not self._are_open or reader.holds_large:
            reader.close()
        else:
            self._idle.append(reader)
        self._slots.release()

    def connect(self) -> StoreConnection:
        """A connection beside the pool; the caller closes it."""
        if not self._are_open:
            raise NotOpen(f"the store {self._path} is closed")
        return self.connect_at_the_end()

    def connect_at_the_end(self) -> StoreConnection:
        """The same after ``close`` too. Once it has read something, no connection of this process that closes is the
        last of all, which would copy the -wal into the file."""
        # SQLite deletes the -wal of an empty file when it opens that, and with it the rest.
        self._diagnosis.check_not_emptied()
        reader = connect(self._path, read_only=True, immutable=self._immutable)
        reader.oddities = self._diagnosis.oddities
        return reader

    def stop(self) -> None:
        """Give out no more connections; those in use close when they are released."""
        self._are_open = False

    def close(self) -> None:
        """``stop``, and close the idle connections."""
        self.stop()
        while self._idle:
            self._idle.pop().close()
