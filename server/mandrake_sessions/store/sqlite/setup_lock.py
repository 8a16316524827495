"""Lets one process at a time create or migrate a file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from types import ModuleType

from mandrake_sessions.errors import StorageFailure
from mandrake_sessions.store.sqlite.failures import os_failure
from mandrake_sessions.store.sqlite.filesystem import unsupported
from mandrake_sessions.store.sqlite.retry import retry_while_locked

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows: only SQLite's own locks, with retries.
    fcntl = None


@contextmanager
def opening_lock(path: str, budget: float) -> Iterator[bool]:
    """The same lock while the block opens a file, or puts another file in its place: a process that opened the one file
    with the -wal of the other would damage it. Gives whether it is held; where there are no such locks, it is not.

    Raises:
        Busy: other processes hold it for ``budget`` seconds.
    """
    with ExitStack() as held:
        is_held = False
        if fcntl is not None:
            with suppress(StorageFailure):
                held.enter_context(_locked(path, budget))
                is_held = True
        yield is_held


@contextmanager
def setup_lock(path: str, budget: float, *, demanded: bool = True, is_held: bool = False) -> Iterator[None]:
    """Lock the directory of the database while the block sets the file up.

    SQLite's locks keep the file correct. But with many processes starting on a new file, each switch to WAL would meet
    a reader. A ``flock`` on the directory leaves no file behind and ends with its process.
    Unless it is ``demanded``, the block runs without it, and retries have to suffice. ``is_held``: by an
    ``opening_lock`` around it.

    Raises:
        Busy: other processes set up files there for ``budget`` seconds.
        StorageFailure: ``unsupportedFilesystem``: there are no locks, or they exclude nobody.
    """
    if fcntl is None or not demanded:
        yield
        return
    with nullcontext() if is_held else _locked(path, budget):
        _check_lock(path)
        yield


@contextmanager
def _locked(path: str, budget: float) -> Iterator[None]:
    directory = _open_directory(path)
    try:
        retry_while_locked(lambda: _flock(directory, path), budget, path)
        yield
    finally:
        os.close(directory)


def _open_directory(path: str) -> int:
    try:
        return os.open(os.path.dirname(path), os.O_RDONLY)  # noqa: PTH120
    except OSError as error:
        raise os_failure(error, path) from error


def _flock(directory: int, path: str) -> None:
    """Take the lock. Raises what ``retry_while_locked`` retries if another process has it."""
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
    """Check the lock: one that can be taken twice is useless."""
    second = _open_directory(path)
    try:
        with suppress(sqlite3.OperationalError):
            _flock(second, path)
            raise unsupported(path, "the locks of its file system keep nobody out")
    finally:
        os.close(second)
