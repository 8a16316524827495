"""Copies one database to another file, through SQLite, while other processes write."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

from mandrake_sessions.errors import StorageFailure, StorageReason
from mandrake_sessions.store.sqlite.failures import primary_code
from mandrake_sessions.store.sqlite.immediate import one_snapshot
from mandrake_sessions.store.sqlite.reading import reading

# The activity, how much of it is done, and how much there is; 0 if that is unknown.
Progress = Callable[[str, int, int], None]

# 4 MiB at a time. Ctrl-C and the progress have their turn between two steps.
_STEP_PAGES = 1024


def copy_database(source: str, destination: str, budget: float, progress: Progress | None = None) -> None:
    """Copy a database over an empty file. The copy is one self-contained file, not in WAL mode, and not yet synced.

    A connection of its own reads the source: on a connection that holds a transaction, ``Connection.backup`` would wait
    for itself. It reads one snapshot: without that, each commit of another process would start the copy again, and
    beside a busy writer it would never end.

    Raises:
        StorageFailure: either file cannot be read or written; ``full``, ``corrupt`` …
        Busy: another process held the lock of the source for ``budget`` seconds.
    """
    with reading(source) as reader, one_snapshot(reader, source, budget), full_disk_told(destination):
        with closing(_new(destination)) as writer:
            # Nobody uses the copy yet: after a crash it is thrown away.
            writer.execute("PRAGMA journal_mode=OFF").fetchone()
            writer.execute("PRAGMA synchronous=OFF")
            reader.backup(writer, pages=_STEP_PAGES, progress=_told(progress))
        with closing(_new(destination)) as writer:
            # Exclusive mode needs no -shm to leave WAL mode, which came with the pages.
            writer.execute("PRAGMA locking_mode=EXCLUSIVE").fetchone()
            writer.execute("PRAGMA synchronous=OFF")
            writer.execute("PRAGMA journal_mode=DELETE").fetchone()
            _mark_as_copy(writer)


def _mark_as_copy(connection: sqlite3.Connection) -> None:
    """Clear the identity of the copy, so that it never passes for the original, whatever inode it gets. A schema from
    before identities has no such column, and a damaged file may lack the table."""
    with suppress(sqlite3.DatabaseError):
        connection.execute("UPDATE store SET file_id = 'a copy'")


@contextmanager
def full_disk_told(destination: str) -> Iterator[None]:
    """The source is only read, so a full disk is the copy's."""
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
        # Called without a progress too: Python notices Ctrl-C while it runs this code.
        if progress is not None:
            progress("copying", total - remaining, total)

    return step
