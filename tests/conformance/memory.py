"""A store in memory: another implementation of ``store/interface.py``, which knows no file.

One connection writes, under one lock. A snapshot is a copy. Leases, wake-ups and the hooks of commits are plain Python.
Its name leads to the same conversations for as long as this process lives, also after it was closed.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Literal

from mandrake_sessions.errors import Busy, Cancelled, NotOpen, StorageFailure, StoreMoved, Unreadable
from mandrake_sessions.ids import now_ms
from mandrake_sessions.model import Change
from mandrake_sessions.store import engines
from mandrake_sessions.store.interface import Commit, CommitHook, IdleTask, StoreFacts, StoreState
from mandrake_sessions.store.oddities import Oddities
from mandrake_sessions.store.search import SearchIndex
from mandrake_sessions.store.settings import StoreSettings
from mandrake_sessions.store.sql.changes import store_id
from mandrake_sessions.store.sql.seq import last_seq
from mandrake_sessions.store.sql.values import OddValue
from mandrake_sessions.store.sqlite.dialect import DIALECT, add_functions
from mandrake_sessions.store.sqlite.migrate import latest_version, migrate
from mandrake_sessions.store.sqlite.search_index import SqliteSearchIndex

logger = logging.getLogger(__name__)


class MemorySql:
    """A connection, as the statements of the entities see it (``interface.Sql``)."""

    dialect = DIALECT

    def __init__(self, path: str, oddities: Oddities) -> None:
        self.path = path
        self.oddities: Oddities | None = oddities
        self.connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.connection.execute("PRAGMA foreign_keys=ON")
        add_functions(self.connection)
        self.execute = self.connection.execute
        self.executemany = self.connection.executemany

    def release_large(self, statement: str, values: Sequence[Any]) -> None:
        """The values stay with the statement: a test is soon over."""

    def release_later(self, value: str) -> None:
        """Neither do those of a reader."""


class Memory:
    """What a name leads to, for all stores of this process that have it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.oddities = Oddities()
        self.sql = MemorySql(name, self.oddities)
        migrate(self.sql.connection, name, 0, keeps_backup=False)
        self.lock = threading.RLock()
        self.running: MemoryTransaction | None = None
        self.streams: dict[str, Any] = {}
        self.seq = 0
        self.commits = 0
        self.busy = 0
        self.hooks: list[CommitHook] = []
        self.bells: set[int] = set()
        self.references = 0
        self.lease_id: str | None = None
        self.leases: set[str] = set()
        # What is searched stands in a file that goes with the process.
        self._directory = tempfile.TemporaryDirectory(prefix="memory-store-")
        self.search = SqliteSearchIndex(f"{self._directory.name}/memory")
        # Copies that nobody reads, each with the number of commits that it has.
        self._idle_copies: list[tuple[int, MemorySql]] = []

    @contextmanager
    def locked(self, budget: float) -> Iterator[None]:
        """Raises Busy: another thread has held it for so many seconds."""
        if not self.lock.acquire(timeout=budget):
            self.busy += 1
            raise Busy(self.name, round(budget * 1000), "another thread of this process")
        try:
            yield
        finally:
            self.lock.release()

    def copy(self) -> tuple[int, MemorySql]:
        """All that is committed, and by how many commits. Called under the lock, outside of transactions."""
        commits, copy = self._idle_copies.pop() if self._idle_copies else (-1, MemorySql(self.name, self.oddities))
        if commits != self.commits:
            copy.execute("PRAGMA query_only=OFF")
            self.sql.connection.backup(copy.connection)
            copy.execute("PRAGMA query_only=ON")
        return self.commits, copy

    def give_back(self, commits: int, copy: MemorySql) -> None:
        self._idle_copies.append((commits, copy))

    def close(self) -> None:
        self.search.close()
        self._directory.cleanup()
        for sql in (self.sql, *(copy for _, copy in self._idle_copies)):
            sql.connection.close()

    def own_lease_id(self) -> str:
        if self.lease_id is None:
            self.lease_id = str(uuid.uuid4())
            self.leases.add(self.lease_id)
        return self.lease_id

    def end_lease(self) -> None:
        self.leases.discard(self.lease_id or "")
        self.lease_id = None

    @contextmanager
    def domain_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
                raise Cancelled("the request was cancelled while it read") from error
            raise
        except OddValue as error:
            raise Unreadable("value", "of the store", str(error), self.name) from error
        except Unreadable as error:
            error.path = self.name
            self.oddities.note(error)
            raise


_memories: dict[str, Memory] = {}


def is_there(name: str) -> bool:
    """Whether a store of that name was made before."""
    return name in _memories


def forget(name: str) -> None:
    """Nobody will ask for it again."""
    found = _memories.pop(name, None)
    if found is not None:
        found.close()


class MemoryTransaction:
    """``interface.Transaction``. The whole is committed or nothing; a part of it is a savepoint."""

    def __init__(self, memory: Memory, at: int | None) -> None:
        self.sql = memory.sql
        self.clock = now_ms()
        self.now = self.clock if at is None else at
        self.seq = self.seq_before = memory.seq
        self.streams = memory.streams
        self.changes: list[Change] | None = [] if memory.hooks else None
        self.own_lease_id = memory.own_lease_id
        self.thread = threading.get_ident()
        self.depth = 0
        self.lost: BaseException | None = None

    def next_seq(self) -> int:
        self.seq += 1
        return self.seq

    @contextmanager
    def part(self, at: int | None) -> Iterator[None]:
        """What of it can fail without the rest, with a time of its own where one is given."""
        if self.lost is not None:
            raise self.lost
        self.depth += 1
        whole, self.now = self.now, self.now if at is None else at
        savepoint = f"part_{self.depth}"
        self.sql.execute(f"SAVEPOINT {savepoint}")
        try:
            yield
        except BaseException as error:
            if self.sql.connection.in_transaction:
                self.sql.execute(f"ROLLBACK TO {savepoint}")
                self.sql.execute(f"RELEASE {savepoint}")
                self.seq = last_seq(self.sql)
            else:
                # An interrupt ends the whole.
                self.lost = error
            self.streams.clear()
            if self.changes is not None:
                self.changes.clear()
            raise
        else:
            self.sql.execute(f"RELEASE {savepoint}")
        finally:
            self.depth -= 1
            self.now = whole

    def as_commit(self) -> Commit:
        pieces = sum((change.last_chunk or 0) - (change.first_chunk or 0) + 1 for change in self.changes or ())
        are_all = self.changes is not None and self.seq - self.seq_before == pieces
        return Commit(self.seq_before, self.seq, self.changes if are_all else None)


class _Entered(threading.local):
    """The snapshot that this thread reads from, by memory."""

    def __init__(self) -> None:
        self.sql: dict[Memory, MemorySql] = {}


_entered = _Entered()


class MemorySnapshot:
    """``interface.Snapshot``: a copy of the whole, made under the lock."""

    def __init__(self, memory: Memory, budget: float) -> None:
        self._memory = memory
        with memory.locked(budget):
            if memory.running is not None:
                raise Busy(memory.name, 0, "the transaction of this thread")
            self._commits, self._sql = memory.copy()
        self._state = threading.Lock()
        self._released = False

    def __enter__(self) -> MemorySnapshot:
        _entered.sql[self._memory] = self._sql
        return self

    def __exit__(self, *_: object) -> None:
        del _entered.sql[self._memory]
        self.release()

    def last_seq(self) -> int:
        return last_seq(self._sql)

    def interrupt(self) -> None:
        with self._state:
            if not self._released:
                self._sql.connection.interrupt()

    def release(self) -> None:
        with self._state:
            if not self._released:
                self._released = True
                self._memory.give_back(self._commits, self._sql)


class MemoryWatch:
    """``interface.Watch``: a pipe that every commit writes to."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._seen = memory.commits
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        memory.bells.add(self._write)
        self.fileno: int | None = self._read

    def moved(self) -> bool:
        seen, self._seen = self._seen, self._memory.commits
        return seen != self._seen

    def last_seq(self) -> int:
        return self._memory.seq

    def drain(self) -> None:
        with suppress(BlockingIOError):
            while os.read(self._read, 65536):
                pass

    def close(self) -> None:
        if self.fileno is not None:
            self._memory.bells.discard(self._write)
            os.close(self._read)
            os.close(self._write)
            self.fileno = None


class MemoryInspection:
    """``interface.Inspection``: nobody but this program can have written what is in memory."""

    def run(self) -> list[str]:
        return []

    def interrupt(self) -> None:
        """It has ended already."""


class MemoryStore:
    """``interface.Store``."""

    runs_on: Literal["loop", "thread"] = "loop"
    reconnects = 0
    failure: StorageFailure | None = None
    is_unchecked = False
    needs_inspection = False

    def __init__(self, name: str, settings: StoreSettings | None = None) -> None:
        self.name = name
        self.reopened_at = 0
        self._settings = settings or StoreSettings()
        self._held: Memory | None = None
        self._hooks: list[CommitHook] = []

    # Opening and closing.

    @property
    def is_open(self) -> bool:
        return self._held is not None

    @property
    def is_current(self) -> bool:
        return self.is_open

    @property
    def may_be_written(self) -> bool:
        return self.is_open

    @property
    def is_writing(self) -> bool:
        running = None if self._held is None else self._held.running
        return running is not None and running.thread == threading.get_ident()

    def open(self, *, make: bool = True) -> None:
        if self._held is None:
            memory = _memories.get(self.name)
            if memory is None and not make:
                raise StoreMoved(self.name)
            if memory is None:
                memory = _memories.setdefault(self.name, Memory(self.name))
            if memory.references == 0:
                memory.seq = last_seq(memory.sql)
            memory.references += 1
            self._held = memory
            self.reopened_at = memory.seq

    def close(self, last_words: Callable[[], object]) -> None:
        if self._held is not None and self._held.references == 1:
            last_words()
        self.close_lost()

    def close_lost(self) -> None:
        memory, self._held = self._held, None
        if memory is not None:
            memory.hooks = [hook for hook in memory.hooks if hook not in self._hooks]
            memory.references -= 1
            if memory.references == 0:
                memory.end_lease()
        self._hooks = []

    def _memory(self) -> Memory:
        if self._held is None:
            raise NotOpen(f"the store {self.name} is not open")
        return self._held

    def _budget(self, *, wait: bool) -> float:
        return self._settings.busy_timeout if wait else 0

    # States and transactions.

    def transaction(
        self, *, appends_only: bool = False, wait: bool = True, budget: float | None = None, at: int | None = None
    ) -> AbstractContextManager[MemoryTransaction]:
        memory = self._memory()
        running = memory.running
        if running is not None and running.thread == threading.get_ident():
            if not appends_only:
                memory.streams.clear()
            return self._part(memory, running, at)
        budget = self._budget(wait=wait) if budget is None else budget
        return self._whole(memory, budget, at, appends_only=appends_only)

    @contextmanager
    def _part(self, memory: Memory, running: MemoryTransaction, at: int | None) -> Iterator[MemoryTransaction]:
        with memory.domain_errors(), running.part(at):
            yield running

    @contextmanager
    def _whole(
        self, memory: Memory, budget: float, at: int | None, *, appends_only: bool
    ) -> Iterator[MemoryTransaction]:
        with memory.locked(budget):
            if not appends_only:
                memory.streams.clear()
            memory.sql.execute("BEGIN IMMEDIATE")
            running = memory.running = MemoryTransaction(memory, at)
            try:
                with memory.domain_errors():
                    yield running
                    if running.lost is not None:
                        raise running.lost
                    memory.sql.execute("COMMIT")
            except BaseException:
                memory.streams.clear()
                if memory.sql.connection.in_transaction:
                    memory.sql.execute("ROLLBACK")
                raise
            finally:
                memory.running = None
            memory.seq = running.seq
            memory.commits += 1
            hooks, bells = list(memory.hooks), list(memory.bells)
        for hook in hooks:
            try:
                hook(running.as_commit())
            except Exception:
                logger.exception("a listener to the commits of %s failed", self.name)
        for bell in bells:
            # A full pipe rings already; a watch may have closed it.
            with suppress(OSError):
                os.write(bell, b"!")

    @contextmanager
    def reading(self) -> Iterator[MemorySql]:
        memory = self._memory()
        entered = _entered.sql.get(memory)
        if entered is not None:
            with memory.domain_errors():
                yield entered
            return
        # Nobody writes in between; in a transaction of this thread it is that one's view.
        with memory.locked(self._settings.busy_timeout), memory.domain_errors():
            yield memory.sql

    @property
    def search(self) -> SearchIndex:
        return self._memory().search

    def last_seq(self) -> int:
        with self.reading() as sql:
            return last_seq(sql)

    def snapshot(self, *, wait: bool = True) -> MemorySnapshot:
        return MemorySnapshot(self._memory(), self._budget(wait=wait))

    def snapshot_beside(self) -> None:
        """Its one connection reads for one thread at a time."""

    def interrupt_write(self) -> None:
        if self._held is not None and self._held.running is not None:
            self._held.sql.connection.interrupt()

    # Commits.

    def on_commit(self, hook: CommitHook) -> Callable[[], None]:
        memory = self._memory()
        memory.hooks.append(hook)
        self._hooks.append(hook)

        def remove() -> None:
            if hook in memory.hooks:
                memory.hooks.remove(hook)

        return remove

    def watch(self) -> MemoryWatch:
        return MemoryWatch(self._memory())

    # Leases.

    @property
    def lease_id(self) -> str | None:
        return None if self._held is None else self._held.lease_id

    def look_after_lease(self, *, wait: bool = True) -> None:
        """Nobody can take it away."""

    @contextmanager
    def dead_lease(self, lease_id: str, *, wait: bool = True) -> Iterator[bool]:
        memory = self._memory()
        with memory.locked(self._budget(wait=wait)):
            yield lease_id not in memory.leases

    # Health.

    def state(self) -> StoreState:
        memory = self._memory()
        return StoreState(latest_version(), memory.references, memory.busy, 0, 0, None, [])

    def facts(self) -> StoreFacts:
        size = 0 if self._held is None else len(self._held.sql.connection.serialize())
        return StoreFacts(db_bytes=size, wal_bytes=0, free_bytes=None, warnings=[], of_program=[])

    def check(self) -> str:
        with self.reading() as sql:
            return store_id(sql) or ""

    def known_unreadable(self) -> list[Unreadable]:
        return [] if self._held is None else self._held.oddities.listed()

    def unreadable(self) -> list[Unreadable]:
        return self.known_unreadable()

    def inspection(self) -> MemoryInspection:
        return MemoryInspection()

    def idle_tasks(self) -> Sequence[IdleTask]:
        return ()


def install() -> None:
    """In a server process, before anything of it is loaded: every name leads to a store in memory."""
    engines.store_at = MemoryStore
    engines.is_there = is_there  # type: ignore[assignment]
