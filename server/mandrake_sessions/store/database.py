"""Open files: one writer connection per database file and process, counted by reference, and a few for reading."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mandrake_sessions.errors import Busy, NotOpen, StorageFailure, StorageReason
from mandrake_sessions.model import Change
from mandrake_sessions.store.backup import create_private_file
from mandrake_sessions.store.connect import connect, is_wal
from mandrake_sessions.store.failures import storage_failure
from mandrake_sessions.store.identity import FileIdentity, claim
from mandrake_sessions.store.leases import Lease, take_lease
from mandrake_sessions.store.migrate import (
    APPLICATION_ID,
    check_ledger,
    latest_version,
    lowest_programs,
    migrate,
    user_version,
)
from mandrake_sessions.store.retry import patiently
from mandrake_sessions.store.setup_lock import setup_lock

if TYPE_CHECKING:
    from mandrake_sessions.store.transaction import Transaction

MAX_READERS = 4


class Database:
    """An open file. ``running`` is the transaction of the thread that holds ``lock``.

    ``read_only`` says why nothing may be written, or is None.
    """

    def __init__(
        self, path: str, writer: sqlite3.Connection, *, immutable: bool, read_only: StorageReason | None
    ) -> None:
        self.path = path
        self.writer = writer
        self.read_only = read_only
        self.references = 0
        self.lock = threading.RLock()
        self.running: Transaction | None = None
        self.synchronous = ""
        # What is remembered of the file while nobody else writes to it: see `streams.py` and `_catch_up`.
        self.data_version = -1
        self.last_seq: int | None = None
        self.streams: dict[str, Any] = {}
        self.recent: list[Change] = []
        self.recent_after: int | None = None
        self.busy_retries = 0
        self.lease: Lease | None = None
        self.on_commit: list[Callable[[], None]] = []
        self.schema_version = user_version(writer)
        self._immutable = immutable
        self._idle_readers: list[sqlite3.Connection] = []
        self._reader_slots = threading.BoundedSemaphore(MAX_READERS)
        # False once it was closed, and in a forked child.
        self.is_usable = True

    def remember(self, done: Transaction, seq: int) -> None:
        """What a transaction of this process has committed: the number of its last change, and the changes themselves
        where they were appends alone."""
        pieces = sum((change.last_chunk or 0) - (change.first_chunk or 0) + 1 for change in done.changes)
        complete = done.seq_before is not None and seq - done.seq_before == pieces
        self.recent, self.recent_after = (done.changes, done.seq_before) if complete else ([], None)
        self.last_seq = seq

    def forget(self) -> None:
        """What is remembered of the file may no longer be so."""
        self.last_seq = None
        self.streams.clear()
        self.recent, self.recent_after = [], None

    def own_lease_id(self) -> str | None:
        """The id of this process's lease, taken with the first turn that streams; None where there are no leases."""
        if self.lease is None:
            self.lease = take_lease(self.path)
        return None if self.lease is None else self.lease.id

    def count_retry(self) -> None:
        """The write lock was somebody else's once more."""
        self.busy_retries += 1

    def acquire_reader(self) -> sqlite3.Connection:
        """A connection for reading, of this caller's alone until ``release_reader``. Waits while all are in use."""
        self._reader_slots.acquire()
        try:
            return self._idle_readers.pop() if self._idle_readers else self.connect_reader()
        except BaseException:
            self._reader_slots.release()
            raise

    def release_reader(self, reader: sqlite3.Connection) -> None:
        if not self.is_usable:
            reader.close()
        else:
            self._idle_readers.append(reader)
        self._reader_slots.release()

    def connect_reader(self) -> sqlite3.Connection:
        """A read-only connection beside the pool, for who keeps it."""
        if not self.is_usable:
            raise NotOpen(f"the store {self.path} is closed")
        return connect(self.path, read_only=True, immutable=self._immutable)

    def close(self) -> None:
        """Close every connection; those that are still reading close when they are given back."""
        with self.lock:
            self.is_usable = False
            while self._idle_readers:
                self._idle_readers.pop().close()
            self.writer.close()
            if self.lease is not None:
                self.lease.release()
                self.lease = None


_lock = threading.Lock()
_open: dict[FileIdentity, Database] = {}
# Connections of the parent, kept from being collected in a forked child: closing them there would be a checkpoint by
# a process that does not know of the parent's locks.
_inherited: list[Database] = []


def acquire(path: str, busy_timeout: float) -> Database:
    """The open database of a file, whatever path names it; opened, made and migrated if it is not open yet.

    Blocks while it opens. Each call must be paired with one of ``release``.

    Raises:
        StorageFailure: ``createDirectory``, ``open``, ``migrate``, ``foreignDatabase``, ``schemaTooNew``, ``corrupt``.
        Busy: other processes held the file for ``busy_timeout`` seconds.
    """
    real = os.path.realpath(os.path.expanduser(path))  # noqa: PTH111
    with _lock:
        _prepare(real)
        key = _identity(real)
        database = _open.get(key)
        if database is None:
            database = _open[key] = _open_database(real, busy_timeout)
        database.references += 1
        return database


def release(database: Database) -> None:
    """Give back what ``acquire`` gave; the last one closes the file."""
    with _lock:
        database.references -= 1
        if database.references == 0:
            _forget(database)
            database.close()


def close_all() -> None:
    """Close every file of this process, whoever still refers to it."""
    with _lock:
        for database in list(_open.values()):
            _forget(database)
            database.close()


def open_databases() -> list[Database]:
    """What is open in this process now."""
    with _lock:
        return list(_open.values())


def _forget(database: Database) -> None:
    for key, other in list(_open.items()):
        if other is database:
            del _open[key]


def _identity(path: str) -> FileIdentity:
    found = os.stat(path)  # noqa: PTH116
    return found.st_dev, found.st_ino


def _prepare(path: str) -> None:
    """Make the directory and an empty file, private both, where there are none."""
    directory = os.path.dirname(path)  # noqa: PTH120
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)  # noqa: PTH103
    except OSError as error:
        raise StorageFailure(
            StorageReason.CREATE_DIRECTORY,
            f"Failed to create database directory {directory}: {error.strerror}; name another with --database",
            path,
        ) from error
    try:
        create_private_file(path)
    except OSError as error:
        raise _cannot_open(path, error.strerror or str(error)) from error


def _cannot_open(path: str, why: str) -> StorageFailure:
    return StorageFailure(
        StorageReason.OPEN, f"Failed to initialize database {path}: {why}; check the path and its mode", path
    )


def _open_database(path: str, busy_timeout: float) -> Database:
    try:
        # As a whole, since until the file is in WAL mode any statement, even a COMMIT, may meet another's lock.
        return patiently(lambda: _open_once(path, busy_timeout), busy_timeout, path)
    except sqlite3.Error as error:
        raise storage_failure(error, path, "Failed to initialize database") from error
    except OSError as error:
        # No more files may be opened, say.
        raise _cannot_open(path, error.strerror or str(error)) from error


def _open_once(path: str, busy_timeout: float) -> Database:
    if not os.access(path, os.W_OK):
        return _open_read_only(path, StorageReason.READ_ONLY)
    return _open_for_writing(path, busy_timeout)


def _open_for_writing(path: str, busy_timeout: float) -> Database:
    writer = connect(path)
    try:
        _check_identity(writer, path)
        if user_version(writer) < latest_version() or not is_wal(writer):
            with setup_lock(path, busy_timeout):
                _set_up(writer, path, busy_timeout)
        check_ledger(writer, path)
        if (reason := _may_write(writer, path)) is not None:
            writer.close()
            return _open_read_only(path, reason)
        claim(writer, path, busy_timeout)
        return Database(path, writer, immutable=False, read_only=None)
    except BaseException:
        writer.close()
        raise


def _set_up(writer: sqlite3.Connection, path: str, busy_timeout: float) -> None:
    # It takes effect only before the first table, and only before WAL.
    writer.execute("PRAGMA auto_vacuum=INCREMENTAL")
    migrate(writer, path, busy_timeout)
    if not is_wal(writer) and _may_write(writer, path) is None:
        writer.execute("PRAGMA journal_mode=WAL").fetchone()


def _open_read_only(path: str, reason: StorageReason) -> Database:
    """A WAL database cannot be read where its -shm can neither be found nor made, unless nobody can be writing it."""
    immutable = not (os.access(os.path.dirname(path), os.W_OK) or os.path.exists(path + "-shm"))  # noqa: PTH110, PTH120
    reader = connect(path, read_only=True, immutable=immutable)
    try:
        _check_identity(reader, path)
        _may_write(reader, path)
        return Database(path, reader, immutable=immutable, read_only=reason)
    except BaseException:
        reader.close()
        raise


def _check_identity(connection: sqlite3.Connection, path: str) -> None:
    """Refuse, before anything is written, a file that is another program's."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if application_id == APPLICATION_ID:
        return
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application_id != 0 or tables:
        raise StorageFailure(
            StorageReason.FOREIGN_DATABASE,
            f"{path} is the database of another program; nothing was written to it. "
            "Use `mandrake-sessions import` for the original Mandrake's, or name another file with --database",
            path,
        )


def _may_write(connection: sqlite3.Connection, path: str) -> StorageReason | None:
    """None if this program may write the file, the reason if it may only read it.

    Raises:
        StorageFailure: ``schemaTooNew``; not even that.
    """
    version, own = user_version(connection), latest_version()
    if version == 0:
        raise _cannot_open(path, "it is empty and may only be read")
    if version <= own:
        return None
    min_writer, min_reader = lowest_programs(connection)
    if own < min_reader:
        raise schema_too_new(path, version)
    return None if own >= min_writer else StorageReason.SCHEMA_TOO_NEW


def schema_too_new(path: str, version: int) -> StorageFailure:
    return StorageFailure(
        StorageReason.SCHEMA_TOO_NEW,
        f"{path} has schema {version}, this program knows {latest_version()}; nothing was written. "
        "Update mandrake-sessions, and close windows that run the old one",
        path,
    )


def refuse_writing(database: Database) -> StorageFailure:
    """The error for a write to a file that may only be read."""
    if database.read_only is StorageReason.SCHEMA_TOO_NEW:
        return schema_too_new(database.path, database.schema_version)
    return StorageFailure(
        StorageReason.READ_ONLY,
        f"{database.path} may only be read; check who owns it and its mode",
        database.path,
    )


def lock(database: Database, budget: float) -> None:
    """Take the writer connection for this thread. Other threads of this process wait here, not in SQLite."""
    if not database.lock.acquire(timeout=budget):
        raise Busy(database.path, round(budget * 1000), "another thread of this process")


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()
    for database in _open.values():
        database.is_usable = False
        if database.lease is not None:
            database.lease.abandon()
    _inherited.extend(_open.values())
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
