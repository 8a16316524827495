"""Reads one state of a store that is not open here, and leaves everything as it is.

A visited file is never made, migrated or written to. It gets no lease, and no file beside it: one that nobody has open
is read as a file that does not change, and read again if it did. It is closed at the end of each visit.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

from mandrake_sessions.errors import Cancelled, StorageFailure, StorageReason, Unreadable
from mandrake_sessions.files import file_size
from mandrake_sessions.late_import import late_import
from mandrake_sessions.owners import may_be_own
from mandrake_sessions.store.interface import Transaction
from mandrake_sessions.store.sql.changes import store_id
from mandrake_sessions.store.sql.seq import last_seq
from mandrake_sessions.store.sql.values import OddValue
from mandrake_sessions.store.sqlite.connect import StoreConnection, connect
from mandrake_sessions.store.sqlite.failures import may_be_odd_content, storage_failure, to_domain_error
from mandrake_sessions.store.sqlite.filesystem import cannot_be_looked_at, check_kind, check_links
from mandrake_sessions.store.sqlite.identity import TICK_NS, WAL, is_copy
from mandrake_sessions.store.sqlite.immediate import one_snapshot
from mandrake_sessions.store.sqlite.migrate import latest_version, pending_migrations, user_version
from mandrake_sessions.store.sqlite.opening import cannot_open, check_identity, reason_not_to_write
from mandrake_sessions.store.sqlite.permissions import may_not_share
from mandrake_sessions.store.sqlite.quiet import Look, look
from mandrake_sessions.workspaces import DATABASE_NAME, own_directory

if TYPE_CHECKING:
    from mandrake_sessions.store.sqlite.search_index import SqliteSearchIndex

T = TypeVar("T")

# How long a visit waits for a lock, and how often it reads a file again that changed meanwhile.
_LOCK_SECONDS = 0.2
_TRIES = 4


class VisitedStore:
    """The store for the time of a visit (``interface.EntityStore``). ``is_copy``: it has the ``storeId`` of the file
    that it was copied from, until a server opens it."""

    is_current = True
    is_writing = False
    may_be_written = False
    reconnects = 0

    def __init__(self, path: str, connection: StoreConnection) -> None:
        self._path = path
        self._connection = connection
        self.store_id = store_id(connection)
        self.is_copy = is_copy(connection, path)

    @cached_property
    def search(self) -> SqliteSearchIndex:
        """Loaded when it is asked for: most visits do not search."""
        with late_import():
            from mandrake_sessions.store.sqlite.search_index import SqliteSearchIndex

        return SqliteSearchIndex(self._path, is_visited=True)

    def transaction(
        self,
        *,
        appends_only: bool = False,  # noqa: ARG002
        wait: bool = True,  # noqa: ARG002
        budget: float | None = None,  # noqa: ARG002
        at: int | None = None,  # noqa: ARG002
    ) -> AbstractContextManager[Transaction]:
        raise self._not_written()

    def snapshot(self, *, wait: bool = True) -> NoReturn:  # noqa: ARG002
        """Only what writes takes one."""
        raise self._not_written()

    def snapshot_beside(self) -> None:
        """Each store of many is read by one thread."""

    def _not_written(self) -> StorageFailure:
        return StorageFailure(StorageReason.READ_ONLY, f"{self._path} is only visited, and not written to", self._path)

    @contextmanager
    def reading(self) -> Iterator[StoreConnection]:
        yield self._connection

    def last_seq(self) -> int:
        return last_seq(self._connection)


class Visit:
    """One visit, which may be interrupted from another thread. ``owner``: the user whose file it has to be."""

    def __init__(self, path: str, owner: int | None = None) -> None:
        self.path = path
        self._owner = owner
        self._state = threading.Lock()
        self._connection: StoreConnection | None = None
        self._is_interrupted = False

    def run(self, work: Callable[[VisitedStore], T]) -> T:
        """What ``work`` gives, which sees one state of the store; it is called again if the file changed meanwhile.

        Raises:
            StorageFailure: it cannot be read, or only once it was migrated (``migrate``).
            Busy: another process held its lock.
            Cancelled: it was interrupted.
        """
        self._check()
        for _ in range(_TRIES):
            before = _look(self.path)
            if before.is_open:
                break
            if not before.is_settled:
                time.sleep(TICK_NS / 1e9)
                continue
            try:
                done = self._read(work, immutable=True)
            except (StorageFailure, sqlite3.Error):
                if _look(self.path) == before:
                    raise
                continue
            if _look(self.path) == before:
                return done
        return self._read(work, immutable=may_not_share(self.path))

    def interrupt(self) -> None:
        with self._state:
            self._is_interrupted = True
            if self._connection is not None:
                with suppress(sqlite3.Error):
                    self._connection.interrupt()

    def _check(self) -> None:
        """Raises StorageFailure where it must not be opened, or is not there."""
        check_kind(self.path)
        try:
            found = os.stat(self.path)  # noqa: PTH116
        except (OSError, ValueError) as error:
            raise _gone(self.path) from error
        if found.st_size == 0 and not file_size(self.path + WAL):
            raise _gone(self.path)
        if not may_be_own(found.st_uid, self._owner):
            raise cannot_open(self.path, "it belongs to another user")
        inside = own_directory(Path(self.path)) if os.path.basename(self.path) == DATABASE_NAME else None  # noqa: PTH119
        check_links(self.path, None if inside is None else str(inside))

    def _read(self, work: Callable[[VisitedStore], T], *, immutable: bool) -> T:
        try:
            with closing(connect(self.path, read_only=True, immutable=immutable)) as connection, self._held(connection):
                check_identity(connection, self.path)
                with one_snapshot(connection, self.path, _LOCK_SECONDS):
                    _check_schema(connection, self.path)
                    return work(VisitedStore(self.path, connection))
        except (sqlite3.Error, OddValue) as error:
            raise self._as_failure(error) from error

    def _as_failure(self, error: sqlite3.Error | OddValue) -> Exception:
        if may_be_odd_content(error):
            return Unreadable("schema", "of the database", "a table is not as this program makes it", self.path)
        known = to_domain_error(error, self.path)
        if known is None and isinstance(error, sqlite3.Error):
            known = storage_failure(error, self.path)
        return known or error

    @contextmanager
    def _held(self, connection: StoreConnection) -> Iterator[None]:
        with self._state:
            if self._is_interrupted:
                raise Cancelled("the request was cancelled while it read")
            self._connection = connection
        try:
            yield
        finally:
            with self._state:
                self._connection = None


def _check_schema(connection: StoreConnection, path: str) -> None:
    if user_version(connection) == 0:
        raise _gone(path)
    reason_not_to_write(connection, path)
    if user_version(connection) < latest_version():
        missing = ", ".join(pending_migrations(user_version(connection)))
        raise StorageFailure(
            StorageReason.MIGRATE,
            lambda words: (
                f"{path} has to be migrated first ({missing}): use the store once where it is, or "
                f"{words.maintenance('migrate', path)}"
            ),
            path,
        )


def _gone(path: str) -> StorageFailure:
    return StorageFailure(
        StorageReason.OPEN, f"there is no store at {path} now; it was deleted or moved, or its disk is not there", path
    )


def _look(path: str) -> Look:
    try:
        return look(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _gone(path) from error
    except OSError as error:
        raise cannot_be_looked_at(path, error) from error
