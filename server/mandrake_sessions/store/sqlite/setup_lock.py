"""One process at a time makes or migrates a file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import ModuleType

from mandrake_sessions.store.sqlite.failures import os_failure
from mandrake_sessions.store.sqlite.filesystem import unsupported
from mandrake_sessions.store.sqlite.retry import retry_while_locked

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows: SQLite's own locks alone, tried again until they are free.
    fcntl = None


@contextmanager
def setup_lock(path: str, budget: float, *, demanded: bool = True) -> Iterator[None]:
    """Hold the directory of the database while the block sets the file up.

    SQLite's locks are enough to keep the file right, but with many processes starting on a new one each switch to WAL
    would find somebody reading. A ``flock`` on the directory leaves no file behind and ends with its process. Where it
    is not ``demanded``, retries do.

    Raises:
        Busy: others set files up there for ``budget`` seconds.
        StorageFailure: ``unsupportedFilesystem``; there are no locks, or they keep nobody out.
    """
    if fcntl is None or not demanded:
        yield
        return
    directory = _open_directory(path)
    try:
        retry_while_locked(lambda: _flock(directory, path), budget, path)
        _check_lock(path)
        yield
    finally:
        os.close(directory)


def _open_directory(path: str) -> int:
    try:
        return os.open(os.path.dirname(path), os.O_RDONLY)  # noqa: PTH120
    except OSError as error:
        raise os_failure(error, path) from error


def _flock(directory: int, path: str) -> None:
    """Raises what ``retry_while_locked`` waits for when another process has it."""
    assert fcntl is not None
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        busy = sqlite3.OperationalError("another process sets the file up")
        busy.sqlite_errorcode = sqlite3.SQLITE_BUSY
        raise busy from None
    except OSError as error:
        raise unsupported(path, f"its file system has no locks ({error.strerror})") from error


def _check_lock(path: str) -> None:
    """A lock that can be had twice is none."""
    second = _open_directory(path)
    try:
        with suppress(sqlite3.OperationalError):
            _flock(second, path)
            raise unsupported(path, "the locks of its file system keep nobody out")
    finally:
        os.close(second)
