"""Reads a file from outside. It neither creates, sets up, migrates nor changes the file."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from typing import TypeVar

from mandrake_sessions.errors import NoStore
from mandrake_sessions.files import is_file
from mandrake_sessions.store.sqlite.connect import StoreConnection, connect
from mandrake_sessions.store.sqlite.failures import storage_failure
from mandrake_sessions.store.sqlite.filesystem import cannot_be_looked_at
from mandrake_sessions.store.sqlite.permissions import may_not_share

T = TypeVar("T")

# A long read beside other threads pauses after so much work; after so many of SQLite's own steps it checks the clock.
_BUSY_SECONDS, _PAUSE_SECONDS, _STEPS = 0.005, 0.02, 1000


@contextmanager
def reading(path: str) -> Iterator[StoreConnection]:
    """A read-only connection for the block. Errors of SQLite inside the block become domain errors.

    Raises:
        StorageFailure: ``open`` if there is no such file; other reasons.
    """
    require_file(path)
    had_wal = os.path.exists(path + "-wal")  # noqa: PTH110
    try:
        with closing(connect(path, read_only=True, immutable=may_not_share(path))) as connection:
            yield connection
    except (sqlite3.ProgrammingError, sqlite3.InterfaceError):
        # A fault of our own SQL.
        raise
    except sqlite3.Error as error:
        raise storage_failure(error, path) from error
    finally:
        if not had_wal:
            _tidy_up(path)


def require_file(path: str) -> None:
    """Raises NoStore; StorageFailure if the system does not tell."""
    try:
        if is_file(path):
            return
    except OSError as error:
        raise cannot_be_looked_at(path, error) from error
    raise NoStore(path)


def interruptible(connection: sqlite3.Connection, work: Callable[[], T]) -> T:
    """Run ``work``; gives its result. Ctrl-C ends it in the middle of a statement."""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(work)
        try:
            return running.result()
        except KeyboardInterrupt:
            connection.interrupt()
            raise


@contextmanager
def considerate(connection: sqlite3.Connection, is_wanted: Callable[[], bool]) -> Iterator[None]:
    """In the block, the thread leaves Python to other threads for about half of the time. If ``is_wanted`` turns false,
    its read ends as if interrupted."""
    began = time.monotonic()

    def pause() -> bool:
        nonlocal began
        if (busy := time.monotonic() - began) > _BUSY_SECONDS:
            time.sleep(min(busy, _PAUSE_SECONDS))
            began = time.monotonic()
        return not is_wanted()

    connection.set_progress_handler(pause, _STEPS)
    try:
        yield
    finally:
        connection.set_progress_handler(None, 0)


def _tidy_up(path: str) -> None:
    """Delete the empty -wal and -shm that a read has created. A read-only connection leaves them behind; the last
    connection that may write deletes them."""
    if os.path.exists(path + "-wal") and os.access(path, os.W_OK):  # noqa: PTH110
        with suppress(sqlite3.Error), closing(connect(path)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
