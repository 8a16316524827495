"""The space that a store takes: free pages go back to the file system, the -wal into the file. Each step is short."""

from __future__ import annotations

import time
from sqlite3 import Connection

from mandrake_sessions.files import file_size
from mandrake_sessions.store.sqlite.database import Database, lock
from mandrake_sessions.store.sqlite.retry import retry_while_locked
from mandrake_sessions.store.sqlite.running import SqliteTransaction

VACUUM_PAGES = 512
VACUUM_SECONDS = 0.02


def free_pages(connection: Connection) -> int:
    """Pages of the file that hold nothing."""
    return int(connection.execute("PRAGMA freelist_count").fetchone()[0])


def give_back(tx: SqliteTransaction) -> bool:
    """Give some free pages back to the file system; whether there were any."""
    pages = min(free_pages(tx.sql), VACUUM_PAGES)
    end = time.monotonic() + VACUUM_SECONDS
    for _ in range(pages):
        # One at a time: the pragma frees a page whenever it is stepped, and sqlite3 steps what gives no rows only once.
        tx.sql.execute("PRAGMA incremental_vacuum(1)")
        if time.monotonic() > end:
            break
    return pages > 0


def checkpoint(database: Database, budget: float) -> None:
    """Copy the -wal into the file and make it empty, unless somebody reads from it just now: it never shrinks by
    itself. Raises Busy and StorageFailure."""
    if not database.diagnosis.may_be_written or not file_size(database.path + "-wal"):
        return
    lock(database, budget)
    try:
        with database.diagnosis.domain_errors():
            retry_while_locked(lambda: empty_wal(database.writer), budget, database.path)
            # What is in the file now is what this process has put there: later nobody could tell that from what
            # others did.
            database.identity.content.look()
    finally:
        database.lock.release()


def empty_wal(connection: Connection) -> None:
    """The same, at once, with any connection that may write."""
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
