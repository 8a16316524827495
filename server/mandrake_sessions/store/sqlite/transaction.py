"""``transaction()`` and ``snapshot()``: the only two places where a transaction begins and ends."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Any

from mandrake_sessions.errors import StorageReason, StoreError, StoreMoved
from mandrake_sessions.model import Change
from mandrake_sessions.store.settings import StoreSettings
from mandrake_sessions.store.sql.seq import last_seq
from mandrake_sessions.store.sqlite.connect import StoreConnection
from mandrake_sessions.store.sqlite.database import Database, lock
from mandrake_sessions.store.sqlite.immediate import begin, begin_reading, undo
from mandrake_sessions.store.sqlite.readers import ReadConnection
from mandrake_sessions.store.sqlite.retry import retry_while_locked
from mandrake_sessions.store.sqlite.running import SqliteTransaction

logger = logging.getLogger(__name__)


def seq_now(database: Database, budget: float) -> int:
    """The store's ``seq`` as this thread sees it; inside its own transaction it is known without looking."""
    running = database.running
    if running is not None and running.thread == threading.get_ident() and not reads_snapshot(database):
        with database.diagnosis.domain_errors():
            return running.seq
    with snapshot(database, budget) as connection:
        return last_seq(connection)


def transaction(
    database: Database, settings: StoreSettings, *, appends_only: bool, budget: float, at: int | None = None
) -> AbstractContextManager[SqliteTransaction]:
    """The write transaction of this thread: a new one, or a savepoint in the one that runs already.

    After the block has ended it is committed, as durable as the settings say, and ``on_commit`` was called; after an
    exception nothing of the block is stored. ``budget``: seconds; with 0 a lock held by another process or thread is
    ``Busy`` at once, for an event loop, which waits by other means. ``at``: its ``now``, in place of the clock's or of
    the one of the transaction that it is part of.

    Raises:
        Busy: the lock could not be had within the budget.
        StorageFailure: the file cannot be written.
    """
    running = database.running
    if running is not None and running.thread == threading.get_ident():
        if not appends_only:
            database.cache.streams.clear()
        return _savepoint(database, running, at)
    return _Outermost(database, settings.durability.synchronous(appends_only=appends_only), budget, appends_only, at)


class _Outermost:
    """A transaction that is not part of another. It is a class and no generator since it is entered for every append:
    a class takes a third of the time."""

    def __init__(self, database: Database, synchronous: str, budget: float, appends_only: bool, at: int | None) -> None:
        self._database = database
        self._appends_only = appends_only
        self._synchronous = synchronous
        self._budget = budget
        self._at = at

    def __enter__(self) -> SqliteTransaction:
        database = self._database
        lock(database, self._budget)
        try:
            return self._begin(database)
        except BaseException as error:
            database.lock.release()
            database.diagnosis.raise_domain_error(error, of_write=True)
            raise

    def _begin(self, database: Database) -> SqliteTransaction:
        if not database.is_usable:
            # While this thread waited, another one has closed the file, to open it again.
            raise StoreMoved(database.path)
        diagnosis = database.diagnosis
        if diagnosis.read_only is not None or diagnosis.failure is not None:
            database.check_writable()
        if not self._appends_only:
            # Under the lock: another thread may be appending until now.
            database.cache.streams.clear()
        _set_synchronous(database, self._synchronous)
        retries = database.busy_retries
        begin(database.control, database.path, self._budget, database.count_retry)
        try:
            if database.busy_retries != retries and not database.identity.is_same:
                # While it waited for the lock, other processes may have begun another -shm, in which none holds it.
                raise StoreMoved(database.path)
            if database.identity.content.is_emptied:
                diagnosis.raise_if_emptied()
            _catch_up(database)
        except BaseException:
            undo(database.writer)
            raise
        changes: list[Change] | None = [] if database.on_commit else None
        running = database.running = SqliteTransaction(
            database.writer, database.cache, database.own_lease_id, changes, self._at
        )
        return running

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        database = self._database
        running, database.running = database.running, None
        try:
            self._end(database, running, error)
        except BaseException as fault:
            # Also for what failed before the COMMIT: an open transaction would lock out all others.
            with suppress(sqlite3.Error):
                undo(database.writer)
            database.cache.forget()
            database.diagnosis.raise_domain_error(fault, of_write=True)
            raise
        finally:
            database.lock.release()
        if running is not None and database.on_commit:
            _tell_listeners(database, running)

    def _end(self, database: Database, running: SqliteTransaction | None, error: BaseException | None) -> None:
        failed = error or (running.lost if running is not None else None)
        if failed is not None or running is None:
            raise failed or RuntimeError("the transaction has ended already")
        diagnosis = database.diagnosis
        if diagnosis.failure is not None and diagnosis.is_damaged:
            # A part of the transaction met damage: the rest may depend on that part.
            raise diagnosis.failure
        seq = running.seq
        identity = database.identity
        if not ((self._appends_only and identity.was_just_found) or identity.content.is_wal_whole):
            # The COMMIT might copy what is not there into the database.
            raise StoreMoved(database.path)
        database.control.execute("COMMIT")
        database.check_in_place()
        database.cache.last_seq = seq
        database.history.add(seq, running.clock)
        if diagnosis.failure is not None:
            diagnosis.clear_failure()


def _tell_listeners(database: Database, done: SqliteTransaction) -> None:
    """An exception of one listener neither fails the commit nor keeps it from the other listeners."""
    told = done.as_commit()
    for listener in list(database.on_commit):
        try:
            listener(told)
        except Exception:
            logger.exception("a listener to the commits of %s failed", database.path)


@contextmanager
def _savepoint(database: Database, running: SqliteTransaction, at: int | None) -> Iterator[SqliteTransaction]:
    """Part of a transaction that can fail without the rest, with a time of its own where one is given."""
    whole = running.now
    if at is not None:
        running.now = at
    try:
        with database.diagnosis.domain_errors(), _part(running):
            yield running
    finally:
        running.now = whole


@contextmanager
def _part(running: SqliteTransaction) -> Iterator[None]:
    if running.lost is not None:
        raise running.lost
    running.depth += 1
    name = f"s{running.depth}"
    running.sql.execute(f"SAVEPOINT {name}")
    try:
        yield
    except BaseException as error:
        if running.sql.in_transaction:
            running.sql.execute(f"ROLLBACK TO {name}")
            running.sql.execute(f"RELEASE {name}")
        else:
            # A full disk or a failed write has ended the whole transaction: it must write nothing more.
            running.lost = error
        running.forget()
        raise
    else:
        running.sql.execute(f"RELEASE {name}")
    finally:
        running.depth -= 1


def _set_synchronous(database: Database, synchronous: str) -> None:
    """It cannot be changed inside a transaction, so it is set before; and only when it differs."""
    if database.synchronous != synchronous:
        database.writer.execute(f"PRAGMA synchronous={synchronous}")
        database.synchronous = synchronous


def _catch_up(database: Database) -> None:
    """Under the write lock, notice what other processes have changed: numbers, perhaps the schema."""
    (version,) = database.control.execute("PRAGMA data_version").fetchone()
    cache = database.cache
    if version == cache.data_version:
        return
    diagnosis = database.diagnosis
    diagnosis.notice_schema(database.writer)
    if diagnosis.failure is not None and diagnosis.failure.reason is StorageReason.SCHEMA_TOO_NEW:
        raise diagnosis.failure
    cache.forget()
    cache.last_seq = database.history.check(database.writer, database.history.seen)
    cache.data_version = version


class _Snapshots(threading.local):
    """The snapshot that this thread reads from, by database."""

    def __init__(self) -> None:
        self.connections: dict[int, StoreConnection] = {}


_snapshots = _Snapshots()


def reads_snapshot(database: Database) -> bool:
    """Whether this thread reads from a snapshot of the database that was taken before."""
    return id(database) in _snapshots.connections


@contextmanager
def snapshot(database: Database, budget: float) -> Iterator[StoreConnection]:
    """One consistent state of the store, for any number of statements.

    Inside a transaction of this thread it is that transaction's own view, inside a ``SqliteSnapshot`` that one's.
    """
    taken = _snapshots.connections.get(id(database))
    if taken is not None:
        with database.diagnosis.domain_errors():
            yield taken
    elif (running := database.running) is not None and running.thread == threading.get_ident():
        with database.diagnosis.domain_errors():
            yield running.sql
    else:
        with SqliteSnapshot(database, budget) as found, database.diagnosis.domain_errors():
            yield found.sql


def snapshot_beside(database: Database) -> SqliteSnapshot | None:
    """``EntityStore.snapshot_beside``"""
    read_here = _snapshots.connections.get(id(database))
    if read_here is None:
        return None
    with suppress(StoreError), database.diagnosis.domain_errors(), ExitStack() as undoing:
        if (spare := database.readers.acquire_spare()) is None:
            return None
        taken = SqliteSnapshot(database, 0, spare)
        undoing.callback(taken.release)
        if last_seq(taken.sql) == last_seq(read_here):
            undoing.pop_all()
            return taken
    return None


class SqliteSnapshot:
    """A snapshot taken now, by this thread, to be read from now or later, by this or another thread.

    Enter it in the thread that reads; leaving it gives the connection back. ``connection``: one that was acquired for
    it.
    """

    def __init__(self, database: Database, budget: float, connection: ReadConnection | None = None) -> None:
        self.database = database
        self._state = threading.Lock()
        self._released = False
        with database.diagnosis.domain_errors():
            self.sql = connection or database.readers.acquire()
            try:
                retry_while_locked(lambda: begin_reading(self.sql), budget, database.path)
            except BaseException:
                database.readers.release(self.sql)
                raise

    def __enter__(self) -> SqliteSnapshot:
        _snapshots.connections[id(self.database)] = self.sql
        return self

    def __exit__(self, *_: object) -> None:
        del _snapshots.connections[id(self.database)]
        self.release()

    def release(self) -> None:
        """Give the connection back, entered or not; a second time does nothing."""
        with self._state:
            if self._released:
                return
            self._released = True
        self.sql.end_snapshot()
        self.database.readers.release(self.sql)

    def last_seq(self) -> int:
        """The ``seq`` of the last change that the snapshot holds."""
        with self.database.diagnosis.domain_errors():
            return last_seq(self.sql)

    def interrupt(self) -> None:
        """End the statement that reads now, from any thread; its reader gets ``Cancelled``."""
        with self._state:
            if not self._released:
                self.sql.interrupt()
