"""The identity of a file: whether it is a copy, and whether its name still leads to the open file."""

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
# The -wal and -shm belong to the file as its own pages do: without them, a reader sees another state.
SUFFIXES: Final = (DATABASE, WAL, SHM)
# The kernel updates a directory's time in ticks of at most 10 ms. So a second change shortly after the first
# (nanoseconds) may not show in it.
TICK_NS = 50_000_000
# Some changes set no time of the directory (a mount over one of the files). A full look finds them after at most so
# many seconds.
_FULL_LOOK_SECONDS = 1.0
# For an append, a look counts for so long. The files may change between a look and the end of a transaction in any
# case, and a large transaction takes longer than this.
_LOOK_COUNTS_SECONDS = 0.0005


def file_key(path: str) -> FileKey | None:
    """Distinguishes a file from every other file; None if there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return found.st_dev, found.st_ino


class FileIdentity:
    """An open database, with its -wal and -shm: whether their names still lead to the same files.

    If the directory did not change since the last look, nothing in it did. So a look costs one ``stat``, and one for
    the content of the database (``content``). The look compares inode, device and the time of the last change
    (``ctime``), which nobody can set. Tools that copy a directory with its times restore ``mtime`` (``rsync -a``, ``cp
    -p``, ``tar -x``).

    ``path`` is the real path. A manager that opened the file by another name (a link) follows that name.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._directory = os.path.dirname(path)  # noqa: PTH120
        self._known = {suffix: file_key(path + suffix) for suffix in SUFFIXES}
        self._unchanged: tuple[int, int, int] | None = None
        self._full_look_at = self._found_at = 0.0
        self._links: set[str] = set()
        self.content = Content(path)

    def follow(self, name: str) -> None:
        """Note that a manager opened the file by this name."""
        if name != self.path:
            self._links.add(name)

    @property
    def key(self) -> FileKey | None:
        """The identity of the open file."""
        return self._known[DATABASE]

    @property
    def is_same(self) -> bool:
        """Whether every file has its place, and nobody has overwritten the database."""
        return not self.content.is_overwritten and self._is_in_place()

    @property
    def was_just_found(self) -> bool:
        """Whether ``is_found`` said yes a moment ago."""
        return time.monotonic() - self._found_at < _LOOK_COUNTS_SECONDS

    def _is_in_place(self) -> bool:
        """Whether every file has its place."""
        try:
            found = os.stat(self._directory)  # noqa: PTH116
        except OSError:
            return False
        if self._links and self.is_linked_elsewhere:
            return False
        state = (found.st_ctime_ns, found.st_ino, found.st_dev)
        now = time.monotonic()
        if state == self._unchanged and now - self._full_look_at < _FULL_LOOK_SECONDS:
            return True
        # If the clock was set back, the change lies in the future. Then each look is a full one.
        settled = time.time_ns() - found.st_ctime_ns > TICK_NS
        if self.lost():
            return False
        self._unchanged, self._full_look_at = (state if settled else None), now
        return True

    @property
    def is_found(self) -> bool:
        """The same, and a look at the database's own name: the time of the directory does not show a mount over the
        file."""
        content = self.content
        is_found = content.is_intact and self._is_in_place() and content.identity == self._known[DATABASE]
        self._found_at = time.monotonic() if is_found else 0.0
        return is_found

    @property
    def is_linked_elsewhere(self) -> bool:
        """Whether a name by which a manager opened the file now leads to another file, or to none."""
        return any(file_key(name) != self._known[DATABASE] for name in self._links)

    @property
    def was_replaced(self) -> bool:
        """Whether the name of the database now leads to another file, or to none."""
        return file_key(self.path) != self._known[DATABASE] or self.is_linked_elsewhere

    def is_ours(self, suffix: str) -> bool:
        """Whether the name of the database with this suffix leads to the same file as at the first look."""
        known = self._known[suffix]
        return known is not None and file_key(self.path + suffix) == known

    @property
    def is_beside_others(self) -> bool:
        """Whether another -wal or -shm has the name of ours: a process started again beside the files that are open
        here."""
        return any(self._is_another(suffix) for suffix in (WAL, SHM))

    @property
    def is_beside_another_shm(self) -> bool:
        """Whether others have begun a -shm of their own, so that ours does not know what they do."""
        return self._is_another(SHM)

    def _is_another(self, suffix: str) -> bool:
        return file_key(self.path + suffix) not in (None, self._known[suffix])

    def lost(self) -> frozenset[str]:
        """The ``SUFFIXES`` whose names now lead to another file, or to none. A -wal or -shm that appears for the first
        time is ours: SQLite creates them when it needs them, and deletes none while the database is open."""
        lost = set()
        for suffix, known in self._known.items():
            found = file_key(self.path + suffix)
            if known is None:
                self._known[suffix] = found
            elif found != known:
                lost.add(suffix)
        return frozenset(lost)


def renew_store_id_if_copied(connection: sqlite3.Connection, path: str, budget: float) -> bool:
    """Give the file a new ``storeId`` if it is a copy that somebody put in the place of the store. Gives whether it
    was.

    A file that stores another identity than its own is a copy, or a store that was moved to another file system. A file
    from before identities keeps its ``storeId``.

    Raises:
        OddValue: the file does not say which store it is.
        Busy: another process held the lock for ``budget`` seconds.
    """
    own = str(os.stat(path).st_ino)  # noqa: PTH116
    if connection.execute("SELECT count(*) FROM store").fetchone() == (0,):
        raise OddValue("the row that says which store it is, is gone")
    if _file_id(connection) == own:
        return False
    with immediate(connection, path, budget):
        known = _file_id(connection)
        was_copied = known not in (None, own)
        if was_copied:
            connection.execute("UPDATE store SET store_id = ?", (str(uuid.uuid4()),))
        connection.execute("UPDATE store SET file_id = ?", (own,))
    return was_copied


def is_copy(connection: sqlite3.Connection, path: str) -> bool:
    """Whether the file stores another identity than its own: the next server that may write it gives it a new
    ``storeId``."""
    return _file_id(connection) not in (None, str(os.stat(path).st_ino))  # noqa: PTH116


def _file_id(connection: sqlite3.Connection) -> str | None:
    (found,) = connection.execute("SELECT file_id FROM store").fetchone()
    return None if found is None else str(found)
