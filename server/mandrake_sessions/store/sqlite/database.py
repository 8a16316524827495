"""An open file: the connection that writes it, a few that read it, and what is known of it."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from mandrake_sessions.errors import Busy, FileMoved, NotOpen, StorageFailure, StorageReason, StoreError, Unreadable
from mandrake_sessions.files import whose
from mandrake_sessions.store.interface import CommitHook
from mandrake_sessions.store.oddities import Oddities
from mandrake_sessions.store.sql.values import OddValue
from mandrake_sessions.store.sqlite.connect import StoreConnection, connect
from mandrake_sessions.store.sqlite.failures import how_to_recover, may_be_odd_content, to_domain_error
from mandrake_sessions.store.sqlite.identity import DATABASE, FileIdentity
from mandrake_sessions.store.sqlite.leases import Lease, take_lease
from mandrake_sessions.store.sqlite.migrate import latest_version, lowest_programs, user_version
from mandrake_sessions.store.sqlite.rescue import rescue

if TYPE_CHECKING:
    from mandrake_sessions.store.sqlite.transaction import SqliteTransaction

logger = logging.getLogger(__name__)

# Three long reads, what the event loop reads itself, and one that looks through the whole file.
MAX_READERS = 5
# What a read that succeeds disproves; a write that does disproves everything but damage.
_PASSING = frozenset({StorageReason.IO, StorageReason.OPEN})


class Database:
    """An open file. ``running`` is the transaction of the thread that holds ``lock``.

    ``read_only`` says why nothing may be written, or is None; ``failure`` is what the last thing that went wrong with
    the file was, until a write succeeds.
    """

    def __init__(self, path: str, writer: StoreConnection, *, immutable: bool, read_only: StorageReason | None) -> None:
        self.path = path
        self.writer = writer
        self.read_only = read_only
        self.identity = FileIdentity(path)
        self.failure: StorageFailure | None = None
        self.references = 0
        self.lock = threading.RLock()
        self.running: SqliteTransaction | None = None
        self.synchronous = ""
        # What is remembered of the file while nobody else writes to it: see `streams.py` and `_catch_up`.
        self.data_version = -1
        self.last_seq: int | None = None
        self.streams: dict[str, Any] = {}
        self.busy_retries = 0
        # What of the file cannot be read for what it is; its connections note it.
        self.oddities = writer.oddities = Oddities()
        self.lease: Lease | None = None
        self.on_commit: list[CommitHook] = []
        self.schema_version = user_version(writer)
        self._immutable = immutable
        self._idle_readers: list[StoreConnection] = []
        self._reader_slots = threading.BoundedSemaphore(MAX_READERS)
        # Whether it came from elsewhere, and nobody has looked yet whether it holds what a store should; and what the
        # last such look has found.
        self.is_unchecked = False
        self.faults: list[str] = []
        # True once a newer program has migrated the file beyond what this one can read: opening it again will say so.
        self.is_cut_off = False
        # Whether what a lost -wal held was saved, and where, if that is not the file itself.
        self.is_rescued = False
        self.rescued_copy: str | None = None
        # False once it was closed, and in a forked child.
        self.is_usable = True

    def remember(self, seq: int) -> None:
        """A transaction of this process has committed, and ``seq`` is the number of its last change. Damage that was
        found meanwhile, by another thread, stays found."""
        self.last_seq = seq
        if self.failure is not None and not self.is_damaged:
            self.failure = None

    def forget(self) -> None:
        """What is remembered of the file may no longer be so."""
        self.last_seq = None
        self.streams.clear()

    def own_lease_id(self) -> str | None:
        """The id of this process's lease, taken with the first turn that streams; None where there are no leases.

        Raises:
            StorageFailure: its lock file cannot be made.
        """
        if self.lease is None:
            try:
                self.lease = take_lease(self.path)
            except StorageFailure as failure:
                self.failure = failure
                raise
        return None if self.lease is None else self.lease.id

    def interrupt_writer(self) -> None:
        """End the statement that writes now, from any thread; what it belongs to is rolled back."""
        if self.running is not None:
            with suppress(sqlite3.Error):
                self.writer.interrupt()

    def count_retry(self) -> None:
        """The write lock was somebody else's once more."""
        self.busy_retries += 1

    @contextmanager
    def domain_errors(self) -> Iterator[None]:
        """Raise what SQLite says inside the block as a domain error, and remember it."""
        try:
            yield
        except (sqlite3.Error, OddValue) as error:
            self.raise_domain_error(error)
            raise
        except Unreadable as error:
            self.note(error)
            raise

    def raise_domain_error(self, error: BaseException) -> None:
        """Raise one of SQLite's errors as a domain error, and remember it; do nothing for any other error."""
        known = to_domain_error(error, self.path) or self._judged(error)
        if isinstance(known, StorageFailure) and not self.identity.is_found:
            # Whatever was read or written, it was not the whole of what belongs together.
            raise FileMoved(self.path) from error
        if isinstance(known, Unreadable):
            self.oddities.note(known)
        elif isinstance(known, StorageFailure) and not self.is_damaged:
            self.failure = known
        if known is not None:
            raise known from error

    def _judged(self, error: BaseException) -> Unreadable | None:
        if not isinstance(error, sqlite3.Error) or not may_be_odd_content(error):
            return None
        from mandrake_sessions.store.sqlite.judging import judge  # it reads what stands on this module

        return judge(error, self.path)

    def note(self, error: Unreadable) -> None:
        """Remember what cannot be read, to be named in the health of the store."""
        error.path = self.path
        self.oddities.note(error)

    @property
    def is_damaged(self) -> bool:
        """Whether something in the file could not be read for what it is, so that nothing may be written any more."""
        return self.failure is not None and self.failure.reason is StorageReason.CORRUPT

    def clear_transient_failure(self) -> None:
        """A read has succeeded: what only passed by is forgotten."""
        if self.failure is not None and self.failure.reason in _PASSING:
            self.failure = None

    def mark_damaged(self, how: str) -> None:
        """Remember what a check has found. Nothing is written from here on."""
        self.failure = damage(self.path, how)

    def notice_schema(self, connection: sqlite3.Connection) -> None:
        """Another window may have run a newer program, whose schema may not be ours to write, or even to read."""
        self.schema_version = version = user_version(connection)
        if version > latest_version():
            min_writer, min_reader = lowest_programs(connection)
            self.is_cut_off = latest_version() < min_reader
            if latest_version() < min_writer:
                self.failure = schema_too_new(self.path, version)

    def check_writable(self) -> None:
        """Called under ``lock`` before each transaction. Raises StorageFailure: the file may only be read."""
        if self.is_damaged and self.read_only is not StorageReason.CORRUPT:
            self._protect()
        if self.read_only is not None:
            raise self.refusal()

    def refusal(self) -> StorageFailure:
        """The error for a write to a file that may only be read."""
        if self.read_only is StorageReason.SCHEMA_TOO_NEW:
            return schema_too_new(self.path, self.schema_version)
        if self.read_only is StorageReason.CORRUPT:
            return self.failure or damage(self.path, "a check failed")
        return StorageFailure(
            StorageReason.READ_ONLY,
            f"{self.path} may only be read: {whose(self.path)}. Change its owner or mode, or name another file with "
            "--database",
            self.path,
        )

    def check_in_place(self) -> None:
        """Called under ``lock`` after each commit, before it is acknowledged.

        Raises:
            FileMoved: what was committed is not in the file that the name leads to now.
        """
        if self.identity.is_found:
            self._check_not_emptied()
            return
        lost = self.identity.lost()
        if DATABASE in lost or self.identity.is_linked_elsewhere or self.identity.content.is_overwritten:
            raise FileMoved(self.path)
        try:
            self.rescue(lost)
        except StoreError as error:
            # It is committed, and must not look as if it were not. It is tried again when the file is opened again.
            logger.warning("%s: what its lost -wal holds could not be saved yet: %s", self.path, error)

    def rescue(self, lost: frozenset[str]) -> None:
        """Save what only a -wal holds that is no longer found under its name; once, as nothing is written after."""
        if lost and not self.is_rescued and not self.is_damaged and self.read_only is None:
            with self.domain_errors():
                self.rescued_copy = rescue(self.writer, self.path, lost)
            self.is_rescued = True

    def acquire_reader(self) -> StoreConnection:
        """A connection for reading, of this caller's alone until ``release_reader``. Waits while all are in use."""
        self._reader_slots.acquire()
        try:
            return self._idle_readers.pop() if self._idle_readers else self.connect_reader()
        except BaseException:
            self._reader_slots.release()
            raise

    def release_reader(self, reader: StoreConnection) -> None:
        if not self.is_usable or reader.holds_large:
            reader.close()
        else:
            self._idle_readers.append(reader)
        self._reader_slots.release()

    def connect_reader(self) -> StoreConnection:
        """A read-only connection beside the pool, for who keeps it."""
        if not self.is_usable:
            raise NotOpen(f"the store {self.path} is closed")
        return self._connect_beside()

    def _connect_beside(self) -> StoreConnection:
        """A read-only connection. Once it has read something, no connection of this process that closes is the last of
        all, which would copy the -wal into the file."""
        # SQLite deletes the -wal of an empty file when it opens that, and with it the rest.
        self.check_not_emptied()
        reader = connect(self.path, read_only=True, immutable=self._immutable)
        reader.oddities = self.oddities
        return reader

    def check_not_emptied(self) -> None:
        """Raises StorageFailure: the file that is open was cut to nothing."""
        if self.identity.is_same:
            self._check_not_emptied()

    def _check_not_emptied(self) -> None:
        """As of the last look at the file."""
        if self.identity.content.is_emptied:
            self.mark_damaged("it was emptied")
            raise damage(self.path, "it was emptied")

    def close(self) -> None:
        """Close every connection; those that are still reading close when they are given back."""
        with self.lock:
            self.is_usable = False
            if self.is_damaged and self.read_only is None:
                self._protect()
            while self._idle_readers:
                self._idle_readers.pop().close()
            if self.identity.is_beside_others:
                self._close_without_checkpoint()
            else:
                self.writer.close()
            if self.lease is not None:
                self.lease.release()
                self.lease = None

    def _close_without_checkpoint(self) -> None:
        """The last connection of all that closes copies its -wal into the file: over what others have written since,
        who use another -wal or another -shm. One that cannot write, and closes after it, keeps it from being the last.
        """
        try:
            with closing(self._connect_beside()) as beside:
                beside.execute("SELECT count(*) FROM sqlite_schema").fetchone()
                self.writer.close()
        except (sqlite3.Error, StorageFailure) as error:
            logger.warning("%s: its -wal or -shm is another's, and it stays open beside that: %s", self.path, error)
            _keep_for_ever(self.writer)

    def _protect(self) -> None:
        """Go on with a connection that cannot write. Closing the last one that can would copy the -wal into the file;
        so the new one is there, and holds its shared lock, before the old one goes."""
        old, self.read_only = self.writer, StorageReason.CORRUPT
        try:
            reader = self._connect_beside()
            reader.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except (sqlite3.Error, StorageFailure) as error:
            logger.warning("%s is too damaged to be opened again: %s", self.path, error)
            _keep_for_ever(old)
            self.writer = sqlite3.connect(":memory:", check_same_thread=False, factory=StoreConnection)
            return
        self.writer = reader
        with suppress(sqlite3.Error):
            old.close()


def _keep_for_ever(writer: sqlite3.Connection) -> None:
    """Leave it to the end of the process. A list would not do: modules are emptied when the interpreter ends, and what
    is collected then is closed, which writes the -wal into the file."""
    import ctypes  # only a process with a damaged file pays for it

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(writer))


def damage(path: str, how: str) -> StorageFailure:
    """The failure of a file in which a check has found something that cannot be."""
    return StorageFailure(
        StorageReason.CORRUPT,
        f"database {path}: it is damaged ({how}), and not written to any more; {how_to_recover(path)}",
        path,
    )


def schema_too_new(path: str, version: int) -> StorageFailure:
    return StorageFailure(
        StorageReason.SCHEMA_TOO_NEW,
        f"{path} has schema {version}, this program knows {latest_version()}; nothing was written. "
        "Update mandrake-sessions, and close windows that run the old one",
        path,
    )


def lock(database: Database, budget: float) -> None:
    """Take the writer connection for this thread. Other threads of this process wait here, not in SQLite."""
    if not database.lock.acquire(timeout=budget):
        raise Busy(database.path, round(budget * 1000), "another thread of this process")
