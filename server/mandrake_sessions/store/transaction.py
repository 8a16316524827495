"""``transaction()`` and ``snapshot()``: the only two places where a transaction begins and ends."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from mandrake_sessions.errors import FileMoved, StorageReason, Unreadable
from mandrake_sessions.ids import now_ms
from mandrake_sessions.model import Change
from mandrake_sessions.store.database import Database, lock
from mandrake_sessions.store.immediate import begin, begin_reading, commit, undo
from mandrake_sessions.store.retry import retry_while_locked
from mandrake_sessions.store.settings import StoreSettings
from mandrake_sessions.store.values import MAX_NUMBER

logger = logging.getLogger(__name__)

Row = tuple[Any, ...]

_LAST_SEQ = f"""
SELECT max(coalesce((SELECT max(seq) FROM feed), 0),
           coalesce((SELECT max(seq) FROM session WHERE seq < {MAX_NUMBER}), 0),
           coalesce((SELECT max(pk) FROM text WHERE pk < {MAX_NUMBER}), 0))
"""


class Transaction:
    """A running write transaction. ``now``: its time, the same for all that is written in it.

    ``changes`` are the appends in it, for listeners of this process; ``streams`` what is remembered between
    transactions of the turns that they go to (see ``streams.py``). ``own_lease_id`` gives this process's lease.
    """

    def __init__(self, database: Database) -> None:
        last_seq, connection, streams = database.last_seq, database.writer, database.streams
        self.own_lease_id = database.own_lease_id
        self.connection = connection
        self.execute = connection.execute
        self.streams = streams
        self.changes: list[Change] = []
        self.seq_before = last_seq
        self.now = now_ms()
        self.thread = threading.get_ident()
        self.depth = 0
        self.lost: BaseException | None = None
        self._seq = last_seq

    @property
    def seq(self) -> int:
        """The ``seq`` of the last change, this transaction's own included."""
        if self._seq is None:
            self._seq = last_seq(self.connection)
            if self.seq_before is None:
                self.seq_before = self._seq
        return self._seq

    def next_seq(self) -> int:
        """The number of the next change. Given under the write lock, so that commit order is seq order."""
        if (seq := self.seq) >= MAX_NUMBER:
            raise Unreadable("change", str(seq), "no number can follow the one that it has")
        self._seq = seq + 1
        return self._seq

    def forget(self) -> None:
        """After a savepoint was rolled back, its numbers are free again: nobody has seen them."""
        self._seq = None
        self.streams.clear()
        self.changes.clear()


def last_seq(connection: sqlite3.Connection) -> int:
    """The store's ``seq`` as the connection sees it; 0 before the first change.

    Sessions and texts are looked at too: where the feed has lost its newest rows, no number may be given twice.
    """
    (seq,) = connection.execute(_LAST_SEQ).fetchone()
    return int(seq)


def seq_now(database: Database, settings: StoreSettings) -> int:
    """The store's ``seq`` as this thread sees it; inside its own transaction it is known without looking."""
    running = database.running
    if running is not None and running.thread == threading.get_ident() and not reads_pinned(database):
        with database.domain_errors():
            return running.seq
    with snapshot(database, settings) as connection:
        return last_seq(connection)


def transaction(
    database: Database, settings: StoreSettings, *, appends_only: bool = False, wait: bool = True
) -> AbstractContextManager[Transaction]:
    """The write transaction of this thread: a new one, or a savepoint in the one that runs already.

    After the block has ended it is committed, as durable as the settings say, and ``on_commit`` was called; after an
    exception nothing of the block is stored. With ``wait=False`` a lock held by another process or
    thread is ``Busy`` at once, for an event loop, which waits by other means.

    Raises:
        Busy: the lock could not be had within the busy timeout.
        StorageFailure: the file cannot be written.
    """
    running = database.running
    if running is not None and running.thread == threading.get_ident():
        if not appends_only:
            database.streams.clear()
        return _savepoint(database, running)
    return _Outermost(database, settings, appends_only=appends_only, wait=wait)


class _Outermost:
    """A transaction that is not part of another. It is a class and no generator since it is entered for every append:
    this takes a third of the time."""

    def __init__(self, database: Database, settings: StoreSettings, *, appends_only: bool, wait: bool) -> None:
        self._database = database
        self._appends_only = appends_only
        self._synchronous = settings.durability.synchronous(appends_only=appends_only)
        self._budget = settings.busy_timeout if wait else 0

    def __enter__(self) -> Transaction:
        database = self._database
        lock(database, self._budget)
        try:
            return self._begin(database)
        except BaseException as error:
            database.lock.release()
            database.raise_domain_error(error)
            raise

    def _begin(self, database: Database) -> Transaction:
        if not database.is_usable:
            # Another thread has found, while this one waited for it, that the file has to be opened again.
            raise FileMoved(database.path)
        if database.read_only is not None or database.failure is not None:
            database.check_writable()
        if not self._appends_only:
            # Under the lock: another thread may be appending until now.
            database.streams.clear()
        _set_synchronous(database, self._synchronous)
        retries = database.busy_retries
        begin(database.writer, database.path, self._budget, database.count_retry)
        try:
            if database.busy_retries != retries and not database.identity.is_same:
                # While it waited for the lock, others may have gone on to another -shm, in which nobody has it.
                raise FileMoved(database.path)
            _catch_up(database)
        except BaseException:
            undo(database.writer)
            raise
        running = database.running = Transaction(database)
        return running

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        database = self._database
        running, database.running = database.running, None
        try:
            self._end(database, running, error)
        except BaseException as fault:
            # Whatever failed before the COMMIT: a transaction that stayed open would keep all others out.
            with suppress(sqlite3.Error):
                undo(database.writer)
            database.forget()
            if isinstance(fault, Unreadable):
                database.note(fault)
            database.raise_domain_error(fault)
            raise
        finally:
            database.lock.release()
        _tell_listeners(database)

    def _end(self, database: Database, running: Transaction | None, error: BaseException | None) -> None:
        failed = error or (running.lost if running is not None else None)
        if failed is not None or running is None:
            raise failed or RuntimeError("the transaction has ended already")
        if database.failure is not None and database.is_damaged:
            # Part of it met what cannot be: the rest may stand on that.
            raise database.failure
        seq = running.seq
        commit(database.writer)
        database.check_in_place()
        database.remember(running, seq)


def _tell_listeners(database: Database) -> None:
    """What is committed must not look as if it were not, whatever a listener raises; and the others hear of it."""
    for listener in list(database.on_commit):
        try:
            listener()
        except Exception:
            logger.exception("a listener to the commits of %s failed", database.path)


@contextmanager
def _savepoint(database: Database, running: Transaction) -> Iterator[Transaction]:
    """Part of a transaction that can fail without the rest."""
    with database.domain_errors(), _part(running):
        yield running


@contextmanager
def _part(running: Transaction) -> Iterator[None]:
    if running.lost is not None:
        raise running.lost
    running.depth += 1
    name = f"s{running.depth}"
    running.execute(f"SAVEPOINT {name}")
    try:
        yield
    except BaseException as error:
        if running.connection.in_transaction:
            running.execute(f"ROLLBACK TO {name}")
            running.execute(f"RELEASE {name}")
        else:
            # A full disk or a failed write has ended the whole transaction: nothing more may be written in it.
            running.lost = error
        running.forget()
        raise
    else:
        running.execute(f"RELEASE {name}")
    finally:
        running.depth -= 1


def _set_synchronous(database: Database, synchronous: str) -> None:
    """It cannot be changed inside a transaction, so it is set before; and only when it differs."""
    if database.synchronous != synchronous:
        database.writer.execute(f"PRAGMA synchronous={synchronous}")
        database.synchronous = synchronous


def _catch_up(database: Database) -> None:
    """Notice, under the write lock, what others have done to the file since: new numbers, maybe a new schema."""
    (version,) = database.writer.execute("PRAGMA data_version").fetchone()
    if version == database.data_version:
        return
    database.notice_schema(database.writer)
    if database.failure is not None and database.failure.reason is StorageReason.SCHEMA_TOO_NEW:
        raise database.failure
    database.data_version = version
    database.forget()


class Pins(threading.local):
    """The snapshot that this thread reads from, by database."""

    def __init__(self) -> None:
        self.connections: dict[int, sqlite3.Connection] = {}


_pins = Pins()


def reads_pinned(database: Database) -> bool:
    """Whether this thread reads from a snapshot of the database that was taken before."""
    return id(database) in _pins.connections


@contextmanager
def snapshot(database: Database, settings: StoreSettings) -> Iterator[sqlite3.Connection]:
    """One consistent state of the store, for any number of statements.

    Inside a transaction of this thread it is that transaction's own view, inside a ``Pin`` the pinned one.
    """
    pinned = _pins.connections.get(id(database))
    if pinned is not None:
        with database.domain_errors():
            yield pinned
    elif (running := database.running) is not None and running.thread == threading.get_ident():
        with database.domain_errors():
            yield running.connection
    else:
        with Pin(database, settings) as pin, database.domain_errors():
            yield pin.connection


class Pin:
    """A snapshot taken now, by this thread, to be read from now or later, by this or another thread.

    Enter it in the thread that reads; leaving it gives the connection back.
    """

    def __init__(self, database: Database, settings: StoreSettings, *, wait: bool = True) -> None:
        self.database = database
        self._state = threading.Lock()
        self._released = False
        with database.domain_errors():
            self.connection = database.acquire_reader()
            try:
                budget = settings.busy_timeout if wait else 0
                retry_while_locked(lambda: begin_reading(self.connection), budget, database.path)
            except BaseException:
                database.release_reader(self.connection)
                raise

    def __enter__(self) -> Pin:
        _pins.connections[id(self.database)] = self.connection
        return self

    def __exit__(self, *_: object) -> None:
        del _pins.connections[id(self.database)]
        self.release()

    def release(self) -> None:
        """Give the connection back, entered or not; a second time does nothing."""
        with self._state:
            if self._released:
                return
            self._released = True
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
        self.database.release_reader(self.connection)

    def last_seq(self) -> int:
        """The ``seq`` of the last change that the snapshot holds."""
        with self.database.domain_errors():
            return last_seq(self.connection)

    def interrupt(self) -> None:
        """End the statement that reads now, from any thread; its reader gets ``Cancelled``."""
        with self._state:
            if not self._released:
                self.connection.interrupt()
