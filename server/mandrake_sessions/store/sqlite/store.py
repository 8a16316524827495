"""The store in one SQLite file (``interface.Store``): opens it, and opens it again after its file has gone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Literal

from mandrake_sessions.errors import Busy, NotOpen, StorageFailure, StorageReason, StoreMoved, Unreadable
from mandrake_sessions.store.interface import CommitHook, IdleTask, StoreFacts, StoreState
from mandrake_sessions.store.settings import StoreSettings
from mandrake_sessions.store.sql.seq import last_seq
from mandrake_sessions.store.sqlite import health, leases, space
from mandrake_sessions.store.sqlite.connect import StoreConnection
from mandrake_sessions.store.sqlite.database import Database
from mandrake_sessions.store.sqlite.idle_tasks import Checkpoint, GiveBack
from mandrake_sessions.store.sqlite.permissions import may_write
from mandrake_sessions.store.sqlite.pool import absolute_name, acquire, release, reopen, retire
from mandrake_sessions.store.sqlite.running import SqliteTransaction
from mandrake_sessions.store.sqlite.transaction import (
    SqliteSnapshot,
    reads_snapshot,
    seq_now,
    snapshot,
    snapshot_beside,
    transaction,
)
from mandrake_sessions.store.sqlite.watch import CommitWatch

if TYPE_CHECKING:
    from mandrake_sessions.store.sqlite.search_index import SqliteSearchIndex


class SqliteStore:
    """Each manager has one; the file itself is open once in a process."""

    runs_on: Literal["loop"] = "loop"

    def __init__(self, path: str, settings: StoreSettings) -> None:
        self._path = path
        self._settings = settings
        self._state = threading.Lock()
        self._held: Database | None = None
        self._wanted_open = False
        self._was_open = False
        self._hooks: list[CommitHook] = []
        self.reconnects = self.replacements = self.reopened_at = 0

    @property
    def name(self) -> str:
        return self._path

    @property
    def is_open(self) -> bool:
        return self._held is not None

    @property
    def is_current(self) -> bool:
        """One ``stat``, if the file may be written."""
        held = self._held
        return held is not None and _is_current(held)

    @property
    def is_writing(self) -> bool:
        running = None if self._held is None else self._held.running
        return running is not None and running.thread == threading.get_ident()

    def open(self, *, make: bool = True) -> None:
        with self._state:
            self._path = absolute_name(self._path)
            self._wanted_open = True
            held = self._held
            if held is not None and _is_current(held):
                return
            found = self._acquire_again(held, make=make)
            # Count it once, however many tries it took.
            self.reconnects += self._was_open
            found.on_commit.extend(hook for hook in self._hooks if hook not in found.on_commit)
            self._held = found
            self._was_open = True
            self.reopened_at = 0
            # Not with the connection that writes: another thread may be in its transaction.
            with suppress(Unreadable, Busy), snapshot(found, self._settings.busy_timeout) as connection:
                self.reopened_at = last_seq(connection)

    def _acquire_again(self, held: Database | None, *, make: bool) -> Database:
        if held is None:
            return acquire(self._path, self._settings, again=self._was_open, make=make)
        # The old file stays held until it is closed: this thread waits for a thread that is in a transaction on it.
        was_replaced = held.identity.was_replaced
        self.replacements += was_replaced
        try:
            found = reopen(held, self._path, self._settings, make=make)
            found.diagnosis.is_unchecked |= was_replaced
        except BaseException:
            self._held = None
            raise
        return found

    def close(self, last_words: Callable[[], object]) -> None:
        with self._state:
            self._wanted_open = self._was_open = False
            held = self._held
            if held is not None and held.is_usable:
                if held.references == 1:
                    last_words()
                release(held)
            self._held = None

    def close_lost(self) -> None:
        with self._state:
            held, self._held = self._held, None
            self._wanted_open = False
            if held is not None:
                self.replacements += held.identity.was_replaced
                retire(held)

    def _database(self, *, wait: bool = True) -> Database:
        """The open file. In a forked child, or when the name leads elsewhere, this opens it again.

        Raises:
            NotOpen: ``open`` was not called, or ``close`` was.
            StoreMoved: with ``wait=False``, if it would have to open the file again, which may take long.
        """
        held = self._held
        if held is not None and (held.running is not None or reads_snapshot(held) or _is_current(held)):
            return held
        if not self._wanted_open:
            raise NotOpen(f"the store {self._path} is not open; call init(), or use `with SessionManager(…)`")
        if not wait:
            raise StoreMoved(self._path)
        self.open(make=self._settings.makes_again)
        return self._database()

    def _appended_to(self) -> Database | None:
        """The open file in the middle of a stream of appends: the look after one COMMIT is the look before the next."""
        held = self._held
        if held is None or not held.is_usable or held.history.is_lost or not held.diagnosis.may_be_written:
            return None
        return held if held.identity.was_just_found else None

    def _budget(self, *, wait: bool) -> float:
        return self._settings.busy_timeout if wait else 0

    def transaction(
        self, *, appends_only: bool = False, wait: bool = True, budget: float | None = None, at: int | None = None
    ) -> AbstractContextManager[SqliteTransaction]:
        if budget is None:
            budget = self._budget(wait=wait)
        database = self._appended_to() if appends_only else None
        if database is None:
            database = self._database(wait=wait)
        return transaction(database, self._settings, appends_only=appends_only, budget=budget, at=at)

    def reading(self) -> AbstractContextManager[StoreConnection]:
        return snapshot(self._database(), self._settings.busy_timeout)

    def snapshot(self, *, wait: bool = True) -> SqliteSnapshot:
        return SqliteSnapshot(self._database(wait=wait), self._budget(wait=wait))

    def snapshot_beside(self) -> SqliteSnapshot | None:
        return snapshot_beside(self._database())

    @property
    def search(self) -> SqliteSearchIndex:
        return self._database(wait=False).search

    def last_seq(self) -> int:
        return seq_now(self._database(), self._settings.busy_timeout)

    def interrupt_write(self) -> None:
        held = self._held
        if held is not None:
            held.interrupt_writer()

    def on_commit(self, hook: CommitHook) -> Callable[[], None]:
        # Not `_database`, which may open the file: who opens it again takes the hooks along.
        self._hooks.append(hook)
        if (held := self._held) is not None and hook not in held.on_commit:
            held.on_commit.append(hook)
        return lambda: self._off_commit(hook)

    def _off_commit(self, hook: CommitHook) -> None:
        if hook in self._hooks:
            self._hooks.remove(hook)
        held = self._held
        if held is not None and hook in held.on_commit:
            held.on_commit.remove(hook)

    def watch(self) -> CommitWatch:
        return CommitWatch(self._database())

    @property
    def lease_id(self) -> str | None:
        held = self._held
        return None if held is None or held.lease is None else held.lease.id

    def look_after_lease(self, *, wait: bool = True) -> None:
        lease = self._database(wait=wait).lease
        if lease is not None:
            lease.look_after()

    @contextmanager
    def dead_lease(self, lease_id: str, *, wait: bool = True) -> Iterator[bool]:
        with leases.dead_lease(self._database(wait=wait).path, lease_id) as dead:
            yield dead

    @property
    def may_be_written(self) -> bool:
        held = self._held
        return held is not None and held.diagnosis.may_be_written

    @property
    def failure(self) -> StorageFailure | None:
        return None if self._held is None else self._held.diagnosis.present_failure

    def state(self) -> StoreState:
        held = self._held
        if held is None or not held.is_usable:
            raise NotOpen(f"the store {self._path} is not open")
        diagnosis = held.diagnosis
        return StoreState(
            diagnosis.schema_version,
            held.references,
            held.busy_retries,
            self.reconnects,
            self.replacements,
            diagnosis.present_failure if diagnosis.read_only is None else diagnosis.refusal(),
            diagnosis.faults,
        )

    def facts(self) -> StoreFacts:
        held = self._held if self._held is not None and self._held.is_usable else None
        return health.facts(self._path, held, own_directory=self._settings.inside is not None)

    def check(self) -> str:
        return health.check(self._database(wait=False))

    def known_unreadable(self) -> list[Unreadable]:
        return [] if self._held is None else self._held.diagnosis.oddities.listed()

    def unreadable(self) -> list[Unreadable]:
        return [] if self._held is None else health.still_unreadable(self._held)

    @property
    def is_unchecked(self) -> bool:
        return self._held is not None and self._held.diagnosis.is_unchecked

    @property
    def needs_inspection(self) -> bool:
        return self._held is not None and health.needs_inspection(self._held)

    def inspection(self) -> health.FileInspection:
        return health.FileInspection(self._database(wait=False))

    def idle_tasks(self) -> Sequence[IdleTask]:
        return (GiveBack(self), Checkpoint(self))

    def give_back(self, *, wait: bool = True) -> bool:
        """Give a bounded number of free pages back to the file system; whether there were any."""
        with self.reading() as connection:
            if not space.free_pages(connection):
                return False
        with self.transaction(wait=wait) as tx:
            return space.give_back(tx)

    def checkpoint(self, *, wait: bool = True) -> None:
        """Move what the -wal holds into the file, unless somebody reads it just now."""
        space.checkpoint(self._database(wait=wait), self._budget(wait=wait))


def _is_current(held: Database) -> bool:
    """Whether it is open, its name still leads to it, and it is not read-only for a reason that has gone."""
    diagnosis = held.diagnosis
    if not held.is_usable or held.history.is_lost or diagnosis.is_cut_off or not held.identity.is_same:
        return False
    read_only = diagnosis.read_only
    return read_only is None or read_only is not StorageReason.READ_ONLY or not may_write(held.path)
