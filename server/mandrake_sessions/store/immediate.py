"""BEGIN IMMEDIATE … COMMIT on one connection: what ``transaction()`` and the migrations stand on."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mandrake_sessions.store.retry import patiently


@contextmanager
def immediate(
    connection: sqlite3.Connection, path: str, budget: float, on_busy: Callable[[], None] | None = None
) -> Iterator[None]:
    """Run the block in one transaction: committed when it ends, rolled back on any exception, Ctrl-C included.

    IMMEDIATE, always: a deferred transaction that turns from reading to writing fails at once with
    SQLITE_BUSY_SNAPSHOT when another process wrote meanwhile, and no timeout helps.

    Raises:
        Busy: somebody held the write lock for ``budget`` seconds; the block was not entered.
    """
    patiently(lambda: connection.execute("BEGIN IMMEDIATE"), budget, path, on_busy)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # Some errors (a full disk, say) have rolled back by themselves already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
