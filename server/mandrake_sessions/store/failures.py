"""SQLite's errors, sorted by code, as the exceptions of ``errors.py``."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from mandrake_sessions.errors import Busy, Cancelled, SessionsError, StorageFailure, StorageReason

_OUR_FAULTS = (sqlite3.ProgrammingError, sqlite3.IntegrityError, sqlite3.InterfaceError)
LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})

_REASONS = {
    sqlite3.SQLITE_FULL: (StorageReason.FULL, "the disk is full; free some space and send it again"),
    sqlite3.SQLITE_READONLY: (StorageReason.READ_ONLY, "it may only be read; check who owns it and its mode"),
    sqlite3.SQLITE_CANTOPEN: (StorageReason.OPEN, "it cannot be opened; check the directory and its mode"),
    sqlite3.SQLITE_CORRUPT: (StorageReason.CORRUPT, "it is damaged; restore a backup, or recover it with sqlite3"),
    sqlite3.SQLITE_NOTADB: (StorageReason.CORRUPT, "it is not a database; restore a backup, or move it away"),
}


def primary_code(error: sqlite3.Error) -> int:
    """The primary result code (the low byte of an extended one); 0 for an error that SQLite itself did not give."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_locked(error: sqlite3.Error) -> bool:
    """Whether somebody else holds a lock, so that waiting helps."""
    return primary_code(error) in LOCKED


def storage_failure(error: sqlite3.Error, path: str, doing: str = "database") -> SessionsError:
    """The domain error for one of SQLite's. The message has neither SQL nor a traceback; ``doing`` begins it."""
    code = primary_code(error)
    if code in LOCKED:
        return Busy(path, 0)
    if code == sqlite3.SQLITE_INTERRUPT:
        return Cancelled("the request was cancelled while it read")
    reason, advice = _REASONS.get(code, (StorageReason.IO, "reading or writing it failed; see the server's log"))
    return StorageFailure(reason, f"{doing} {path}: {advice}", path)


def raise_as_ours(error: BaseException, path: str) -> None:
    """Raise one of SQLite's errors as a domain error; do nothing for any other.

    A fault of our own SQL is not translated: that is a bug, not weather.
    """
    if not isinstance(error, sqlite3.Error) or isinstance(error, _OUR_FAULTS):
        return
    if primary_code(error) not in (0, sqlite3.SQLITE_ERROR):
        raise storage_failure(error, path) from error


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Raise what SQLite says inside the block as a domain error."""
    try:
        yield
    except sqlite3.Error as error:
        raise_as_ours(error, path)
        raise


@contextmanager
def lock_file_failures(path: str) -> Iterator[None]:
    """Raise what the operating system says of a file or directory beside the database as a domain error, but for one
    that is not there."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = StorageReason.FULL if error.errno in _NO_ROOM else StorageReason.OPEN
        raise StorageFailure(reason, f"database {path}: a file beside it: {error.strerror}", path) from error
