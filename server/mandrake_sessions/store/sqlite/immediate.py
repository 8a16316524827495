"""BEGIN IMMEDIATE … COMMIT on one connection: what ``transaction()`` and the migrations stand on; and a snapshot to
read from.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mandrake_sessions.store.sqlite.retry import retry_while_locked


def begin(connection: sqlite3.Connection, path: str, budget: float, on_busy: Callable[[], None] | None = None) -> None:
    """Begin a transaction that may write.

    IMMEDIATE, always: a deferred one that turns from reading to writing fails at once with SQLITE_BUSY_SNAPSHOT when
    another process wrote meanwhile, and no timeout helps.

    Raises:
        Busy: somebody held the write lock for ``budget`` seconds.
    """
    retry_while_locked(lambda: connection.execute("BEGIN IMMEDIATE"), budget, path, on_busy)


def commit(connection: sqlite3.Connection) -> None:
    """End it. If that fails nothing of it is stored."""
    try:
        connection.execute("COMMIT")
    except BaseException:
        undo(connection)
        raise


def undo(connection: sqlite3.Connection) -> None:
    """Roll back, unless an error (a full disk, say) has done so already."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


@contextmanager
def immediate(connection: sqlite3.Connection, path: str, budget: float) -> Iterator[None]:
    """Run the block in one transaction: committed when it ends, rolled back on any exception, Ctrl-C included."""
    begin(connection, path, budget)
    try:
        yield
    except BaseException:
        undo(connection)
        raise
    commit(connection)


@contextmanager
def one_snapshot(connection: sqlite3.Connection, path: str, budget: float) -> Iterator[None]:
    """Read one state of the file for the whole block, whatever others commit meanwhile.

    Raises:
        Busy: others held the file for ``budget`` seconds.
    """
    retry_while_locked(lambda: begin_reading(connection), budget, path)
    try:
        yield
    finally:
        undo(connection)


def begin_reading(connection: sqlite3.Connection) -> None:
    """Take a snapshot now, which lasts until the transaction is undone. Does not wait for locks."""
    connection.execute("BEGIN")
    try:
        # A deferred transaction takes its snapshot with its first read.
        connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
    except BaseException:
        undo(connection)
        raise
