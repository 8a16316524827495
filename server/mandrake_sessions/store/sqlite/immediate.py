"""BEGIN IMMEDIATE … COMMIT on one connection, for ``transaction()`` and the migrations; and a snapshot to read from."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from mandrake_sessions.store.sqlite.retry import retry_while_locked


def begin(
    connection: sqlite3.Connection | sqlite3.Cursor, path: str, budget: float, on_busy: Callable[[], None] | None = None
) -> None:
    """Begin a transaction that may write.

    Always IMMEDIATE: a deferred transaction that changes from reading to writing fails at once with
    SQLITE_BUSY_SNAPSHOT if another process has written meanwhile, and no timeout helps.

    Raises:
        Busy: another connection held the write lock for ``budget`` seconds.
    """
    retry_while_locked(partial(connection.execute, "BEGIN IMMEDIATE"), budget, path, on_busy)


def undo(connection: sqlite3.Connection) -> None:
    """Roll back, unless an error (such as a full disk) has already done so."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


@contextmanager
def immediate(connection: sqlite3.Connection, path: str, budget: float) -> Iterator[None]:
    """Run the block in one transaction. It commits at the end, and rolls back on any exception, Ctrl-C included."""
    begin(connection, path, budget)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        undo(connection)
        raise


@contextmanager
def one_snapshot(connection: sqlite3.Connection, path: str, budget: float) -> Iterator[None]:
    """Read one state of the file for the whole block, whatever other processes commit meanwhile.

    Raises:
        Busy: another process held the file for ``budget`` seconds.
    """
    retry_while_locked(lambda: begin_reading(connection), budget, path)
    try:
        yield
    finally:
        undo(connection)


def begin_reading(connection: sqlite3.Connection) -> None:
    """Take a snapshot now; it lasts until the transaction is rolled back. Does not wait for locks."""
    connection.execute("BEGIN")
    try:
        # A deferred transaction takes its snapshot with its first read.
        connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
    except UnicodeDecodeError:
        # SQLite quotes what it cannot read of a schema, and Python cannot read that as a text.
        undo(connection)
        damage = sqlite3.DatabaseError("malformed database schema")
        damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise damage from None
    except BaseException:
        undo(connection)
        raise
