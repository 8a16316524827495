"""Translates SQLite's errors, by code, to the exceptions of ``errors.py``."""

from __future__ import annotations

import errno
import logging
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mandrake_sessions.errors import (
    Busy,
    Cancelled,
    SessionsError,
    StorageFailure,
    StorageReason,
    Unreadable,
    Wording,
    Words,
    in_words,
)
from mandrake_sessions.files import explain, whose
from mandrake_sessions.store.sql.values import OddValue
from mandrake_sessions.workspaces import own_directory

logger = logging.getLogger(__name__)

_OUR_FAULTS = (sqlite3.ProgrammingError, sqlite3.InterfaceError)
LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})

_REASONS: dict[int, tuple[StorageReason, str | Wording]] = {
    sqlite3.SQLITE_FULL: (StorageReason.FULL, lambda words: f"the disk is full; free some space and {words.again}"),
    sqlite3.SQLITE_READONLY: (StorageReason.READ_ONLY, "it may only be read; check its owner and its mode"),
    sqlite3.SQLITE_CANTOPEN: (
        StorageReason.OPEN,
        "it cannot be opened; check the directory, its mode, and how many files this process may open",
    ),
    sqlite3.SQLITE_CORRUPT: (StorageReason.CORRUPT, "it is damaged, and not written to any more"),
    sqlite3.SQLITE_NOTADB: (StorageReason.CORRUPT, "it is damaged, or no database at all"),
}
_NO_LOCKS = frozenset(
    {
        sqlite3.SQLITE_IOERR_LOCK,
        sqlite3.SQLITE_IOERR_RDLOCK,
        sqlite3.SQLITE_IOERR_SHMLOCK,
        sqlite3.SQLITE_NOLFS,
    }
)
# SQLite's messages for a missing table or a missing part of one.
_GONE = re.compile(r"no such (table|column): (?:main\.)?(\S+)")
# The message of sqlite3 for a text that is not UTF-8.
_NO_TEXT = "Could not decode to UTF-8"

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


def how_to_recover(path: str, words: Words) -> str:
    """Advice for a damaged file. It names the file, so that nobody replaces another store."""
    return (
        f"restore a backup ({words.maintenance('restore', path)}), or copy what can still be read"
        f" ({words.maintenance('salvage', path)}), mend the copy, and restore that"
    )


def is_no_database(error: BaseException | None, path: str) -> bool:
    """Whether the file of SQLite's error is something else than a database. In a directory of ours, a file whose
    beginning is damaged counts as a store."""
    return (
        isinstance(error, sqlite3.Error)
        and primary_code(error) == sqlite3.SQLITE_NOTADB
        and own_directory(Path(path)) is None
    )


def no_database(words: Words) -> str:
    """Advice for such a file, which ``restore`` does not replace."""
    return f"move it away, or name another file with {words.setting('db_path')}"


def primary_code(error: sqlite3.Error) -> int:
    """The primary result code (the low byte of an extended one); 0 for an error that SQLite itself did not raise."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_locked(error: sqlite3.Error) -> bool:
    """Whether another connection holds a lock, so that waiting helps."""
    return primary_code(error) in LOCKED


def storage_failure(error: sqlite3.Error, path: str, doing: str = "database") -> SessionsError:
    """The domain error for one of SQLite's. The message has neither SQL nor a traceback, and begins with ``doing``."""
    code = primary_code(error)
    if code in LOCKED:
        return Busy(path, 0)
    if code == sqlite3.SQLITE_INTERRUPT:
        return Cancelled("the request was cancelled while it read")
    name = getattr(error, "sqlite_errorname", "an unknown error")
    failed = f"reading or writing it failed ({name}); check the disk, and how large a file may be (ulimit -f)"
    reason, advice = _REASONS.get(code, (StorageReason.IO, failed))
    if getattr(error, "sqlite_errorcode", 0) in _NO_LOCKS:
        reason, advice = StorageReason.UNSUPPORTED_FILESYSTEM, "its file system has no locks; use a local disk"
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_IOERR_SHMSIZE:
        # There is no room for the -shm, which reading needs too.
        reason, advice = _REASONS[sqlite3.SQLITE_FULL]
    if is_no_database(error, path):
        return StorageFailure(
            reason, _with_advice(doing, path, lambda words: f"it is no database; {no_database(words)}"), path
        )
    if reason is StorageReason.CORRUPT:
        return damaged(_with_advice(doing, path, advice), path)
    if reason is StorageReason.OPEN and os.path.exists(path) and not os.access(path, os.R_OK):  # noqa: PTH110
        advice = f"Permission denied; {whose(path)}"
    return StorageFailure(reason, _with_advice(doing, path, advice), path)


def _with_advice(doing: str, path: str, advice: str | Wording) -> Wording:
    return lambda words: f"{doing} {path}: {in_words(advice, words)}"


def damaged(what: str | Wording, path: str) -> StorageFailure:
    """The error for a file that is damaged. ``what`` says how."""
    return StorageFailure(
        StorageReason.CORRUPT, lambda words: f"{in_words(what, words)}; {how_to_recover(path, words)}", path
    )


def to_domain_error(error: BaseException, path: str) -> SessionsError | None:
    """The domain error for one of SQLite's; None for any other.

    A fault of our own SQL is not translated, since it is a bug.
    """
    if isinstance(error, OddValue):
        return Unreadable("value", "of the database", str(error), path)
    if not isinstance(error, sqlite3.Error) or isinstance(error, _OUR_FAULTS):
        return None
    if (odd := _odd_content(error, path)) is not None:
        return odd
    if primary_code(error) == 0 or may_be_odd_content(error):
        return None
    return storage_failure(error, path)


def is_odd_content(error: sqlite3.Error) -> bool:
    """Whether the contents of the file caused it, although SQLite finds nothing wrong with the file itself."""
    return _odd_content(error, "") is not None


def _odd_content(error: sqlite3.Error, path: str) -> Unreadable | None:
    """Whether only the contents of the file can have caused it, although SQLite finds nothing wrong with the file
    itself."""
    if gone := _GONE.match(str(error)):
        return Unreadable(gone[1], gone[2], f"the {gone[1]} is gone from the database", path)
    if str(error).startswith(_NO_TEXT):
        return Unreadable("value", "of the database", "it is not UTF-8 text", path)
    return None


def may_be_odd_content(error: BaseException) -> bool:
    """Whether it is a fault of our own SQL, unless the schema or the rows differ from what this program makes."""
    return isinstance(error, sqlite3.Error) and primary_code(error) in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT)


def os_failure(error: OSError, path: str) -> StorageFailure:
    """The domain error for an error of the operating system about a file beside the database."""
    reason = _OS_REASONS.get(error.errno or 0, StorageReason.IO)
    return StorageFailure(reason, f"database {path}: {explain(error, path)} ({error.filename or 'lock'})", path)


@contextmanager
def os_failures(path: str) -> Iterator[None]:
    """Raise errors of the operating system about a file or directory beside the database as domain errors, except for a
    missing one."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise os_failure(error, path) from error
