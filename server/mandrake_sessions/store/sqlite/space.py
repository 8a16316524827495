"""The space of a store: free pages go back to the file system, the -wal goes into the file. Each step is short."""

from __future__ import annotations

import time
from sqlite3 import Connection

from mandrake_sessions.errors import StoreMoved
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
    """Return some free pages to the file system; gives whether there were any."""
    pages = min(free_pages(tx.sql), VACUUM_PAGES)
    end = time.monotonic() + VACUUM_SECONDS
    for _ in range(pages):
        # One at a time: the pragma frees a page at each step, and sqlite3 makes only one step of a statement without
        # rows.
        tx.sql.execute("PRAGMA incremental_vacuum(1)")
        if time.monotonic() > end:
            break
    return pages > 0


def checkpoint(database: Database, budget: float) -> None:
    """Copy the -wal into the file and empty it, unless another connection reads from it now. A -wal never shrinks by
    itself. Raises Busy, StorageFailure and StoreMoved."""
    if not database.diagnosis.may_be_written or not file_size(database.path + "-wal"):
        return
    lock(database, budget)
    try:
        database.identity.content.wal.sync()
        if not database.identity.is_found:
            raise StoreMoved(database.path)
        with database.diagnosis.domain_errors():
            retry_while_locked(lambda: empty_wal(database.writer), budget, database.path)
            # The content of the file now comes from this process. Later nobody could distinguish it from other
            # programs' writes.
            database.identity.content.learn()
    finally:
        database.lock.release()


def empty_wal(connection: Connection) -> None:
    """The same, at once, with any connection that may write."""
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
