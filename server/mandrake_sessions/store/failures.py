"""SQLite's errors, sorted by code, as the exceptions of ``errors.py``."""

from __future__ import annotations

import errno
import sqlite3

from mandrake_sessions.errors import Busy, Cancelled, SessionsError, StorageFailure, StorageReason

_OUR_FAULTS = (sqlite3.ProgrammingError, sqlite3.IntegrityError, sqlite3.InterfaceError)
LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})

HOW_TO_RECOVER = (
    "restore a backup (mandrake-sessions restore BACKUP), "
    'or recover what can be read (sqlite3 FILE ".recover" | sqlite3 NEW) and restore that'
)
_REASONS = {
    sqlite3.SQLITE_FULL: (StorageReason.FULL, "the disk is full; free some space and send it again"),
    sqlite3.SQLITE_READONLY: (StorageReason.READ_ONLY, "it may only be read; check who owns it and its mode"),
    sqlite3.SQLITE_CANTOPEN: (
        StorageReason.OPEN,
        "it cannot be opened; check the directory, its mode, and how many files this process may open",
    ),
    sqlite3.SQLITE_CORRUPT: (StorageReason.CORRUPT, f"it is damaged, and not written to any more; {HOW_TO_RECOVER}"),
    sqlite3.SQLITE_NOTADB: (StorageReason.CORRUPT, f"it is damaged, or no database at all; {HOW_TO_RECOVER}"),
}
_NO_LOCKS = frozenset(
    {
        sqlite3.SQLITE_IOERR_LOCK,
        sqlite3.SQLITE_IOERR_RDLOCK,
        sqlite3.SQLITE_IOERR_SHMLOCK,
        sqlite3.SQLITE_NOLFS,
    }
)
# What SQLite says where a table, or a part of one, that the schema has is gone, and what sqlite3 says of a text that
# is none.
_DAMAGED_MESSAGES = ("no such table", "no such column", "Could not decode to UTF-8")

_OS_REASONS = {
    errno.ENOSPC: StorageReason.FULL,
    errno.EDQUOT: StorageReason.FULL,
    errno.EROFS: StorageReason.READ_ONLY,
    errno.EACCES: StorageReason.READ_ONLY,
    errno.EPERM: StorageReason.READ_ONLY,
    errno.EMFILE: StorageReason.OPEN,
    errno.ENFILE: StorageReason.OPEN,
    errno.ENOLCK: StorageReason.UNSUPPORTED_FILESYSTEM,
    errno.ENOTSUP: StorageReason.UNSUPPORTED_FILESYSTEM,
}


class Unreadable(sqlite3.DatabaseError):
    """A stored value is not one that this program could have stored."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def primary_code(error: sqlite3.Error) -> int:
    """The primary result code (the low byte of an extended one); 0 for an error that SQLite itself did not give."""
    if str(error).startswith(_DAMAGED_MESSAGES):
        return sqlite3.SQLITE_CORRUPT
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
    if getattr(error, "sqlite_errorcode", 0) in _NO_LOCKS:
        reason, advice = StorageReason.UNSUPPORTED_FILESYSTEM, "its file system has no locks; use a local disk"
    return StorageFailure(reason, f"{doing} {path}: {advice}", path)


def as_ours(error: BaseException, path: str) -> SessionsError | None:
    """One of SQLite's errors as a domain error; None for any other.

    A fault of our own SQL is not translated: that is a bug, not weather.
    """
    if not isinstance(error, sqlite3.Error) or isinstance(error, _OUR_FAULTS):
        return None
    if primary_code(error) in (0, sqlite3.SQLITE_ERROR):
        return None
    return storage_failure(error, path)


def os_failure(error: OSError, path: str) -> StorageFailure:
    """The domain error for what the operating system says of a file beside the database."""
    reason = _OS_REASONS.get(error.errno or 0, StorageReason.IO)
    return StorageFailure(reason, f"database {path}: {error.strerror or error} ({error.filename or 'lock'})", path)
