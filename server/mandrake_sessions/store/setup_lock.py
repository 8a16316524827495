"""One process at a time makes or migrates a file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from mandrake_sessions.store.retry import patiently

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows: SQLite's own locks alone, tried again until they are free.
    fcntl = None


@contextmanager
def setup_lock(path: str, budget: float) -> Iterator[None]:
    """Hold the directory of the database while the block sets the file up.

    SQLite's locks are enough to keep the file right, but with many processes starting on a new one each switch to WAL
    would find somebody reading. A ``flock`` on the directory leaves no file behind and ends with its process.

    Raises:
        Busy: others set files up there for ``budget`` seconds.
    """
    if fcntl is None:
        yield
        return
    directory = os.open(os.path.dirname(path), os.O_RDONLY)  # noqa: PTH120
    try:
        patiently(lambda: _flock(directory), budget, path)
        yield
    finally:
        os.close(directory)


def _flock(directory: int) -> None:
    """Raises what ``patiently`` waits for when another process has it."""
    assert fcntl is not None
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        busy = sqlite3.OperationalError("another process sets the file up")
        busy.sqlite_errorcode = sqlite3.SQLITE_BUSY
        raise busy from None
