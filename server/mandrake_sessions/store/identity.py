"""Which file this is: whether it is a copy, and whether its name still leads to the one that is open."""

from __future__ import annotations

import os
import sqlite3
import time
import uuid
from typing import Final

from mandrake_sessions.store.immediate import immediate

FileIdentity = tuple[int, int]

# The -wal and -shm belong to the file as its own pages do: whoever opens it without them sees another state.
SIDECARS: Final = ("-wal", "-shm")
# A directory's time moves in ticks of the kernel, 10 ms at the most: so shortly after a change (nanoseconds) another
# one may not be seen in it.
_TICK_NS = 50_000_000


def file_identity(path: str) -> FileIdentity | None:
    """What tells a file from every other one; None where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return found.st_dev, found.st_ino


class Place:
    """A database that is open, with its -wal and -shm: whether their names still lead to the same files.

    Where the directory did not change since the last look, nothing in it did; so a look costs one ``stat``.
    """

    def __init__(self, path: str) -> None:
        self._directory = os.path.dirname(path)  # noqa: PTH120
        self._names = (path, *(path + suffix for suffix in SIDECARS))
        self._identities: list[FileIdentity | None] = [file_identity(path), None, None]
        self._unchanged: tuple[int, int, int] | None = None

    def is_same(self) -> bool:
        """Whether all is where it was; a -wal or -shm that was not there before may have come."""
        try:
            found = os.stat(self._directory)  # noqa: PTH116
        except OSError:
            return False
        state = (found.st_mtime_ns, found.st_ino, found.st_dev)
        if state == self._unchanged:
            return True
        # Known to be unchanged from here on only if a change after this line would be seen in the time.
        settled = time.time_ns() - found.st_mtime_ns > _TICK_NS
        if not self._look():
            return False
        self._unchanged = state if settled else None
        return True

    def is_same_file(self) -> bool:
        """Whether at least the database itself is where it was."""
        return file_identity(self._names[0]) == self._identities[0]

    def _look(self) -> bool:
        for position, name in enumerate(self._names):
            found = file_identity(name)
            if self._identities[position] is None:
                self._identities[position] = found
            elif found != self._identities[position]:
                return False
        return True


def claim(connection: sqlite3.Connection, path: str, budget: float) -> None:
    """Give the file a new ``storeId`` if it is a copy of the one that the store was: of a backup, say.

    A file that says of itself to be another is a copy, or a store moved to another file system. One from before it said
    so keeps its name.

    Raises:
        Busy: other processes held the lock for ``budget`` seconds.
    """
    own = str(os.stat(path).st_ino)  # noqa: PTH116
    if _file_id(connection) == own:
        return
    with immediate(connection, path, budget):
        known = _file_id(connection)
        if known not in (None, own):
            connection.execute("UPDATE store SET store_id = ?", (str(uuid.uuid4()),))
        connection.execute("UPDATE store SET file_id = ?", (own,))


def _file_id(connection: sqlite3.Connection) -> str | None:
    (found,) = connection.execute("SELECT file_id FROM store").fetchone()
    return None if found is None else str(found)
