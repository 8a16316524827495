"""An open file: the connection that writes it, the connections that read it, and what is known of the file."""

from __future__ import annotations

import logging
import sqlite3
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from mandrake_sessions.errors import Busy, StorageFailure, StorageReason, StoreError, StoreMoved
from mandrake_sessions.late_import import late_import
from mandrake_sessions.store.interface import CommitHook
from mandrake_sessions.store.sqlite.connect import StoreConnection
from mandrake_sessions.store.sqlite.diagnosis import Diagnosis
from mandrake_sessions.store.sqlite.history import FileHistory
from mandrake_sessions.store.sqlite.identity import DATABASE, FileIdentity
from mandrake_sessions.store.sqlite.leases import Lease, take_lease
from mandrake_sessions.store.sqlite.migrate import user_version
from mandrake_sessions.store.sqlite.no_checkpoint import close_without_checkpoint
from mandrake_sessions.store.sqlite.readers import Readers
from mandrake_sessions.store.sqlite.rescue import Rescue
from mandrake_sessions.store.sqlite.running import Cache, SqliteTransaction

if TYPE_CHECKING:
    from mandrake_sessions.store.sqlite.search_index import SqliteSearchIndex

logger = logging.getLogger(__name__)


class Database:
    """An open file. ``running``: the transaction of the thread that holds ``lock``. ``control``: a cursor of ``writer``
    for what begins and ends each transaction; making one takes about as long. ``synchronous``: the setting of
    ``writer``. ``references``: managers of this process that use the file. ``is_usable``: False once it was closed, and
    in a forked child.
    """

    def __init__(self, path: str, writer: StoreConnection, *, immutable: bool, read_only: StorageReason | None) -> None:
        self.path = path
        self.writer, self.control = writer, writer.cursor()
        self.identity = FileIdentity(path)
        self.diagnosis = Diagnosis(path, self.identity, read_only, user_version(writer))
        writer.oddities = self.diagnosis.oddities
        self.readers = Readers(path, self.diagnosis, immutable=immutable)
        self.rescue = Rescue(path, self.diagnosis)
        self.cache = Cache()
        self.history = FileHistory(path)
        self.lock = threading.RLock()
        self.running: SqliteTransaction | None = None
        self.synchronous = ""
        self.busy_retries = 0
        self.lease: Lease | None = None
        self.on_commit: list[CommitHook] = []
        self._search: SqliteSearchIndex | None = None
        self._search_lock = threading.Lock()
        self.references = 0
        self.is_usable = True
        self._checkpoints_itself = self._take_over_checkpoints()

    @property
    def search(self) -> SqliteSearchIndex:
        """Loaded when it is asked for, after the start of the program."""
        with late_import():
            from mandrake_sessions.store.sqlite.search_index import SqliteSearchIndex

        with self._search_lock:
            if self._search is None:
                self._search = SqliteSearchIndex(self.path)
                if not self.is_usable:
                    self._search.close()
            return self._search

    @property
    def search_trouble(self) -> str | None:
        """Why the search index cannot be filled."""
        return None if self._search is None else self._search.trouble

    def own_lease_id(self) -> str | None:
        """The id of this process's lease, taken with the first turn that streams; None where there are no leases.

        Raises:
            StorageFailure: its lock file cannot be made.
        """
        if self.lease is None:
            try:
                self.lease = take_lease(self.path)
            except StorageFailure as failure:
                self.diagnosis.failure = failure
                raise
        return None if self.lease is None else self.lease.id

    def interrupt_writer(self) -> None:
        """End the statement that writes now, from any thread. Its transaction is rolled back."""
        if self.running is not None:
            with suppress(sqlite3.Error):
                self.writer.interrupt()

    def count_retry(self) -> None:
        """Another process held the write lock once more."""
        self.busy_retries += 1

    def check_writable(self) -> None:
        """Called under ``lock`` before each transaction. Raises StorageFailure: the file may only be read."""
        diagnosis = self.diagnosis
        if diagnosis.is_damaged and diagnosis.read_only is not StorageReason.CORRUPT:
            self._protect()
        if diagnosis.read_only is not None:
            raise diagnosis.refusal()

    def check_in_place(self) -> None:
        """Called under ``lock`` after each commit, before it is acknowledged.

        Raises:
            StoreMoved: what was committed is not in the file that the name leads to now.
        """
        if self.identity.is_found:
            self.diagnosis.raise_if_emptied()
            if self._checkpoints_itself and self.identity.content.wal.is_long:
                self._checkpoint()
            return
        lost = self.identity.lost()
        content = self.identity.content
        if DATABASE in lost or self.identity.is_linked_elsewhere:
            raise StoreMoved(self.path)
        if content.is_overwritten and not (content.is_small and content.is_unchanged()):
            raise StoreMoved(self.path)
        # Saving would write old pages into a file that is just being written over.
        self.diagnosis.raise_if_emptied()
        try:
            self.rescue.save(self.writer, lost)
        except StoreError as error:
            # The commit stands, and must not fail for this. Opening the file again tries it again.
            logger.warning("%s: the content of its lost -wal could not be saved yet: %s", self.path, error)

    def _take_over_checkpoints(self) -> bool:
        """SQLite's own automatic checkpoint is a part of the COMMIT: nobody can look in between whether the file was
        just written over. So it is done after the commit, where the length of the -wal is known."""
        if self.diagnosis.read_only is not None or self.identity.content.wal.index_or_none() is None:
            return False
        self.writer.execute("PRAGMA wal_autocheckpoint=0").fetchone()
        return True

    def _checkpoint(self) -> None:
        """Copy the -wal into the file, as far as nobody reads from it. Like the automatic checkpoint, it may fail."""
        content = self.identity.content
        # SQLite does this first. It takes long, and the file may be written over meanwhile.
        content.wal.sync()
        if self.identity.is_found and not content.is_emptied:
            with suppress(sqlite3.Error):
                self.control.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            content.look()

    def abandon(self) -> None:
        """In a forked child: its parent's connections and lease are not to be used, nor closed."""
        self.is_usable = False
        self._search_lock = threading.Lock()
        if self._search is not None:
            self._search.abandon()
        self.readers.stop()
        if self.lease is not None:
            self.lease.abandon()

    def close(self) -> None:
        """Close every connection. Readers in use close when they are released."""
        if self._search is not None:
            self._search.close()
        with self.lock:
            self.is_usable = False
            self.readers.stop()
            may_copy_wal = self._may_copy_wal()
            self.identity.content.close()
            self.readers.close()
            self._close_control()
            if may_copy_wal:
                self.writer.close()
            else:
                self._close_without_checkpoint(self.writer)
            if self.lease is not None:
                self.lease.release()
                self.lease = None

    def _close_control(self) -> None:
        """After an error a cursor keeps its statement, and SQLite leaves a connection open until its last statement is
        gone."""
        with suppress(sqlite3.Error):
            self.control.close()

    def _may_copy_wal(self) -> bool:
        """Whether closing the writer may copy the -wal into the file, which SQLite does if it is the last connection of
        all. Not into a file that is damaged or overwritten; and if other processes use another -wal or -shm, that would
        undo what they have written since. A connection that cannot write copies nothing."""
        if self.diagnosis.read_only is not None:
            return True
        content = self.identity.content
        is_foreign = content.is_overwritten and not content.is_unchanged()
        return not (is_foreign or content.is_emptied or self.diagnosis.is_damaged or self.identity.is_beside_others)

    def _close_without_checkpoint(self, writer: StoreConnection) -> None:
        close_without_checkpoint(writer, self.path, self.identity.key, self.readers.connect_at_the_end)

    def _protect(self) -> None:
        """Go on with a connection that cannot write."""
        old, self.diagnosis.read_only = self.writer, StorageReason.CORRUPT
        self._close_control()
        reader: StoreConnection
        try:
            reader = self.readers.connect_at_the_end()
            reader.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except (sqlite3.Error, StorageFailure) as error:
            logger.warning("%s is too damaged to be opened again: %s", self.path, error)
            reader = sqlite3.connect(":memory:", check_same_thread=False, factory=StoreConnection)
        self.writer, self.control = reader, reader.cursor()
        with suppress(sqlite3.Error):
            self._close_without_checkpoint(old)


def lock(database: Database, budget: float) -> None:
    """Take the writer connection for this thread. Other threads of this process wait here, not in SQLite."""
    if not database.lock.acquire(timeout=budget):
        raise Busy(database.path, round(budget * 1000), "another thread of this process")
