"""One database copied to another file by SQLite itself, while others write."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

from mandrake_sessions.errors import StorageFailure, StorageReason
from mandrake_sessions.store.sqlite.failures import primary_code
from mandrake_sessions.store.sqlite.immediate import one_snapshot
from mandrake_sessions.store.sqlite.reading import reading

# What is done, how much of it, and of how much; of 0 where that is not known.
Progress = Callable[[str, int, int], None]

# 4 MiB at a time, between which Ctrl-C is heard and progress shown.
_STEP_PAGES = 1024


def copy_database(source: str, destination: str, budget: float, progress: Progress | None = None) -> None:
    """Copy a database over an empty file, which is one self-contained file then, not in WAL mode, and not yet synced.

    The source is read on a connection of its own (on the one that holds a transaction ``Connection.backup`` would wait
    for itself), in one snapshot: without that, each commit of another process begins the copy again, and beside a busy
    writer it would never end.

    Raises:
        StorageFailure: either file cannot be read or written; ``full``, ``corrupt`` …
        Busy: others held the source for ``budget`` seconds.
    """
    with reading(source) as reader, one_snapshot(reader, source, budget), _full_disk_told(destination):
        with closing(_new(destination)) as writer:
            # It is nobody's yet: a crash leaves a file that is thrown away.
            writer.execute("PRAGMA journal_mode=OFF").fetchone()
            writer.execute("PRAGMA synchronous=OFF")
            reader.backup(writer, pages=_STEP_PAGES, progress=_told(progress))
        with closing(_new(destination)) as writer:
            # Exclusive: so it needs no -shm to leave WAL mode, which came with the pages.
            writer.execute("PRAGMA locking_mode=EXCLUSIVE").fetchone()
            writer.execute("PRAGMA synchronous=OFF")
            writer.execute("PRAGMA journal_mode=DELETE").fetchone()
            _mark_as_copy(writer)


def _mark_as_copy(connection: sqlite3.Connection) -> None:
    """Let it be no file that the original could be taken for, whatever inode it is given: put in the place of the store
    it is another one. A schema from before this was known has no column for it, a damaged file may have no table."""
    with suppress(sqlite3.DatabaseError):
        connection.execute("UPDATE store SET file_id = 'a copy'")


@contextmanager
def _full_disk_told(destination: str) -> Iterator[None]:
    """The source is only read, so the disk that is full is the copy's."""
    try:
        yield
    except sqlite3.Error as error:
        if primary_code(error) != sqlite3.SQLITE_FULL:
            raise
        directory = os.path.dirname(destination)  # noqa: PTH120
        raise StorageFailure(
            StorageReason.FULL,
            f"there is no room for a copy in {directory}: the disk is full; free some space",
            destination,
        ) from error


def _new(path: str) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=0)


def _told(progress: Progress | None) -> Callable[[int, int, int], None]:
    def step(_status: int, remaining: int, total: int) -> None:
        # Called without a progress too: what runs here, in Python, is where Ctrl-C is heard.
        if progress is not None:
            progress("copying", total - remaining, total)

    return step
