"""Which file this is: whether it is a copy, and whether its name still leads to the one that is open."""

from __future__ import annotations

import os
import sqlite3
import time
import uuid
from typing import Final

from mandrake_sessions.store.sql.values import OddValue
from mandrake_sessions.store.sqlite.immediate import immediate
from mandrake_sessions.store.sqlite.overwritten import Content

FileKey = tuple[int, int]

DATABASE, WAL, SHM = "", "-wal", "-shm"
# The -wal and -shm belong to the file as its own pages do: who opens it without them sees another state.
SUFFIXES: Final = (DATABASE, WAL, SHM)
# A directory's time moves in ticks of the kernel, 10 ms at the most: so shortly after a change (nanoseconds) another
# one may not be seen in it.
_TICK_NS = 50_000_000
# What no time of the directory tells (a mount over one of the files) is seen after so many seconds at the latest.
_FULL_LOOK_SECONDS = 1.0


def file_key(path: str) -> FileKey | None:
    """What tells a file from every other one; None where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return found.st_dev, found.st_ino


class FileIdentity:
    """A database that is open, with its -wal and -shm: whether their names still lead to the same files.

    Where the directory did not change since the last look, nothing in it did; so a look costs one ``stat``, and one for
    what is in the database (``content``). What tells is the inode, the device and the time of its last change
    (``ctime``), which nobody can set: ``mtime`` is put back by whoever copies a directory with its times (``rsync -a``,
    ``cp -p``, ``tar -x``).

    ``path`` is the real one. Whoever opened the file by another name (a link leads to it) follows that name.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._directory = os.path.dirname(path)  # noqa: PTH120
        self._known = {suffix: file_key(path + suffix) for suffix in SUFFIXES}
        self._unchanged: tuple[int, int, int] | None = None
        self._full_look_at = 0.0
        self._links: set[str] = set()
        self.content = Content(path)

    def follow(self, name: str) -> None:
        """Somebody has opened the file by this name."""
        if name != self.path:
            self._links.add(name)

    @property
    def key(self) -> FileKey | None:
        """Which file is open."""
        return self._known[DATABASE]

    @property
    def is_same(self) -> bool:
        """Whether all is where it was, and nobody has written over it."""
        try:
            found = os.stat(self._directory)  # noqa: PTH116
        except OSError:
            return False
        if self.content.is_overwritten or (self._links and self.is_linked_elsewhere):
            return False
        state = (found.st_ctime_ns, found.st_ino, found.st_dev)
        now = time.monotonic()
        if state == self._unchanged and now - self._full_look_at < _FULL_LOOK_SECONDS:
            return True
        # With a clock that was set back the change lies ahead: then each look is a full one.
        settled = time.time_ns() - found.st_ctime_ns > _TICK_NS
        if self.lost():
            return False
        self._unchanged, self._full_look_at = (state if settled else None), now
        return True

    @property
    def is_found(self) -> bool:
        """The same, and a look at the database's own name, over which something may be mounted: no directory tells."""
        return self.is_same and self.content.identity == self._known[DATABASE]

    @property
    def is_linked_elsewhere(self) -> bool:
        """Whether a name by which somebody has opened the file leads to another one now, or to none."""
        return any(file_key(name) != self._known[DATABASE] for name in self._links)

    @property
    def was_replaced(self) -> bool:
        """Whether the name of the database leads to nothing or to another file now."""
        return file_key(self.path) != self._known[DATABASE] or self.is_linked_elsewhere

    def is_ours(self, suffix: str) -> bool:
        """Whether the name of the database with this suffix leads to what it led to when that was seen first."""
        known = self._known[suffix]
        return known is not None and file_key(self.path + suffix) == known

    @property
    def is_beside_others(self) -> bool:
        """Whether another -wal or -shm has the name that ours had: somebody began again beside what is open here."""
        return any(file_key(self.path + suffix) not in (None, self._known[suffix]) for suffix in (WAL, SHM))

    def lost(self) -> frozenset[str]:
        """Which of ``SUFFIXES`` lead to nothing or to another file now. A -wal or -shm that is seen for the first time
        is ours: SQLite makes them when it needs them, and deletes none while the database is open."""
        lost = set()
        for suffix, known in self._known.items():
            found = file_key(self.path + suffix)
            if known is None:
                self._known[suffix] = found
            elif found != known:
                lost.add(suffix)
        return frozenset(lost)


def renew_store_id_if_copied(connection: sqlite3.Connection, path: str, budget: float) -> bool:
    """Give the file a new ``storeId`` if it is a copy of the one that the store was: of a backup, say. Gives whether it
    was.

    A file that says of itself to be another is a copy, or a store moved to another file system. One from before it said
    so keeps its name.

    Raises:
        OddValue: it does not say which store it is.
        Busy: other processes held the lock for ``budget`` seconds.
    """
    own = str(os.stat(path).st_ino)  # noqa: PTH116
    if connection.execute("SELECT count(*) FROM store").fetchone() == (0,):
        raise OddValue("the row that says which store it is, is gone")
    if _file_id(connection) == own:
        return False
    with immediate(connection, path, budget):
        known = _file_id(connection)
        is_copy = known not in (None, own)
        if is_copy:
            connection.execute("UPDATE store SET store_id = ?", (str(uuid.uuid4()),))
        connection.execute("UPDATE store SET file_id = ?", (own,))
    return is_copy


def _file_id(connection: sqlite3.Connection) -> str | None:
    (found,) = connection.execute("SELECT file_id FROM store").fetchone()
    return None if found is None else str(found)
