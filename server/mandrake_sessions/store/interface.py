"""The interface of stores: ``operations/``, the manager and the server use these types and no others of a store.

A store keeps the entities in tables that one set of statements reads and writes (``store/sql``). What differs between
stores is below that: transactions, order, leases, wake-ups, health. ``store/sqlite`` is the store in one file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol

from attrs import frozen

from mandrake_sessions.errors import StorageFailure, Unreadable
from mandrake_sessions.model import Change
from mandrake_sessions.store.oddities import Oddities
from mandrake_sessions.value import Value

if TYPE_CHECKING:
    from mandrake_sessions.store.search import SearchIndex

Row = tuple[Any, ...]


class Rows(Protocol):
    """The result of a statement: the rows that it found, or the number of rows that it has changed."""

    @property
    def rowcount(self) -> int: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...


class Dialect(Protocol):
    """The pieces of SQL that databases spell differently. The statements of the entities are the same but for these;
    each is built once for a dialect.

    Arguments are pieces of SQL too, and ``?`` in a result stands for one value. Texts are UTF-8.
    """

    def __hash__(self) -> int: ...
    @property
    def no_limit(self) -> int | None:
        """The value of a LIMIT that lets all rows through."""

    def among(self, column: str) -> str:
        """The condition that a column has one of many numbers. Its value: what ``numbers`` makes of them."""

    def numbers(self, values: Iterable[int], /) -> Any: ...
    def pairs(self, alias: str, first: str, second: str) -> str:
        """A table of pairs of numbers, whose columns have these names. Its value: what ``number_pairs`` makes of
        them."""

    def number_pairs(self, values: Iterable[tuple[int, int]], /) -> Any: ...
    def as_bytes(self, text: str) -> str:
        """A text as bytes; ``substr`` of them takes positions that count bytes."""

    def byte_length(self, text: str) -> str:
        """The length of a text in bytes, NULL for NULL."""

    def contains(self, text: str) -> str:
        """The condition that a text contains the value."""

    def contains_folded(self, text: str) -> str:
        """The same whatever the case of the text. The value is casefolded, as Python does that."""

    def findable(self, *texts: str) -> str:
        """What of short texts is kept beside them, so that ``may_contain`` is quick; NULL where they have to be looked
        at themselves."""

    def may_contain(self, findable: str) -> str:
        """Whether one of the texts that it was made of may contain a value in any case: where it does, it is true.
        Its value: what ``findable_value`` makes of the casefolded value."""

    def findable_value(self, value: str, /) -> Any: ...
    def greatest(self, *numbers: str) -> str:
        """The greatest of them; NULL if one of them is NULL."""

    def is_too_large_a_sum(self, error: Exception) -> bool:
        """Did a statement fail since the sum of integers was too large for an integer?"""

    def json_at(self, column: str, *path: str | int) -> str:
        """The value at a path in a column of JSON, to be compared with what ``json_value`` makes of a value; NULL
        where it is no JSON. The migrations have an index on the one that ``sql/changes.py`` uses."""

    def json_value(self, value: Any, /) -> Any: ...


class Sql(Protocol):
    """A connection for the statements of the entities, in a transaction or a snapshot.

    ``path``: how messages name the store. ``oddities``: where rows are noted that cannot be read; None where nobody
    asks for them.
    """

    @property
    def dialect(self) -> Dialect: ...

    @property
    def path(self) -> str: ...
    @property
    def oddities(self) -> Oddities | None: ...
    def execute(self, statement: str, values: Sequence[Any] = ..., /) -> Rows: ...
    def executemany(self, statement: str, rows: Iterable[Sequence[Any]], /) -> Rows: ...
    def release_large(self, statement: str, values: Sequence[Any]) -> None:
        """Release the values that a prepared statement still holds, where they are large; the last one is short."""

    def release_later(self, value: str) -> None:
        """The same for the value of a statement whose rows are still being read."""


class Transaction(Protocol):
    """A running write transaction.

    Times are milliseconds since the epoch. ``clock``: when it began. ``now``: the time that the entities get which it
    writes, the clock's unless its caller gave another; the feed, which is pruned by age, gets the clock's. ``streams``:
    what is remembered between transactions of the turns that appends go to (see ``sql/streams.py``). ``changes``: the
    appends, for commit hooks; None if there are no hooks.
    """

    streams: dict[str, Any]
    changes: list[Change] | None

    @property
    def sql(self) -> Sql: ...
    @property
    def clock(self) -> int: ...
    @property
    def now(self) -> int: ...
    @property
    def seq(self) -> int:
        """The ``seq`` of the last change, this transaction's own included."""

    def next_seq(self) -> int:
        """The number of the next change. Commit order is ``seq`` order."""

    def own_lease_id(self) -> str | None:
        """The id of this process's lease, taken at the first call; None where the store has no leases. Raises
        StorageFailure."""


class Snapshot(Protocol):
    """One state of the store. Reads inside ``with snapshot:``, in any thread, see that state; the end of the block
    releases it."""

    def __enter__(self) -> Snapshot: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def last_seq(self) -> int:
        """The ``seq`` of the last change that it holds."""

    def interrupt(self) -> None:
        """End the statement that reads now, from any thread; its reader gets ``Cancelled``."""

    def release(self) -> None:
        """Give the connection back, entered or not; a second time does nothing."""


class Watch(Protocol):
    """Tells of commits by others. ``fileno`` becomes readable when somebody writes; None where nothing can."""

    @property
    def fileno(self) -> int | None: ...
    def moved(self) -> bool:
        """Was there a commit since the last look? This process's own count too. It takes no lock."""

    def last_seq(self) -> int:
        """The store's ``seq`` now."""

    def drain(self) -> None:
        """Forget that ``fileno`` was readable."""

    def close(self) -> None: ...


@frozen(eq=False, repr=False)
class Commit(Value):
    """A commit of this process. ``seq_before`` and ``seq``: the last change before it, None
    where that is not known, and with it. ``changes``: all of them, if they were appends alone; else None."""

    seq_before: int | None
    seq: int
    changes: list[Change] | None


CommitHook = Callable[[Commit], None]


class IdleTask(Protocol):
    """Work for when nobody asks for anything else, done in steps."""

    def step(self, *, wait: bool) -> float:
        """One short piece of it; gives the seconds until the next is due. Raises Busy: with ``wait=False`` a lock of
        another process is that at once. Raises StoreError."""


@frozen(eq=False, repr=False)
class StoreState(Value):
    """The state of an open store. ``references``: managers of this process that have it open; ``failure``: what went
    wrong with it last, until a write succeeds, or why nothing may be written to it; ``reconnects``: how often it was
    opened again, ``replacements``: how often it was another one then; ``faults``: what the inspection of a store that
    came from elsewhere has found, as sentences."""

    schema_version: int
    references: int
    busy_retries: int
    reconnects: int
    replacements: int
    failure: StorageFailure | None
    faults: list[str]


@frozen(eq=False, repr=False)
class StoreFacts(Value):
    """Facts about a store that need not be open: its sizes in bytes, None where there is no such thing, and
    what does not stop it but should be looked at, each with what to do. ``of_program``: the same of what the program
    itself is made of, such as the database's library; no log repeats it for each store."""

    db_bytes: int
    wal_bytes: int
    free_bytes: int | None
    warnings: list[str]
    of_program: list[str]


class Inspection(Protocol):
    """The look through all of a store, from the snapshot that was taken when it was made."""

    def run(self) -> list[str]:
        """Look for damage, on any thread, which ends all writing to the store; and, in one that came from elsewhere,
        for what a store should not hold: gives that, as sentences. Raises Cancelled, StoreError."""

    def interrupt(self) -> None:
        """End it, from any thread."""


class EntityStore(Protocol):
    """The part of a store that the operations on entities use: states to read, and transactions to write in.

    All of it raises NotOpen, StorageFailure and Busy. With ``wait=False`` a lock of another process is Busy at once,
    and a store that has to be opened again is StoreMoved.
    """

    @property
    def is_current(self) -> bool:
        """Is it open, with no need to open it again: a file in its place, a connection that lives?"""

    @property
    def reconnects(self) -> int:
        """How often it was opened again."""

    @property
    def is_writing(self) -> bool:
        """Does a transaction of this thread run?"""

    @property
    def may_be_written(self) -> bool: ...
    @property
    def search(self) -> SearchIndex | None:
        """The index of its texts; None where stores of this kind cannot be searched. Raises NotOpen."""

    def transaction(
        self, *, appends_only: bool = False, wait: bool = True, budget: float | None = None, at: int | None = None
    ) -> AbstractContextManager[Transaction]:
        """The write transaction of this thread: a new one, or a part that can fail alone in the one that runs.

        After the block it is committed, as durable as the settings say, and the hooks were called; after an exception
        nothing of the block is stored. ``budget``: seconds that it may wait for a lock, in place of the busy timeout.
        ``at``: the transaction's ``now``, for the block; without it a part of a transaction has the one of the whole.
        """

    def reading(self) -> AbstractContextManager[Sql]:
        """One state of the store for the block: this thread's snapshot, its transaction's view, or one taken now."""

    def snapshot(self, *, wait: bool = True) -> Snapshot: ...
    def snapshot_beside(self) -> Snapshot | None:
        """A second snapshot of the state that this thread reads in a ``reading`` block, for another thread to read
        beside it; None where there is none to be had at once."""

    def last_seq(self) -> int:
        """The ``seq`` of the last committed change, inside a transaction of that one's own; 0 in a new store."""


class Store(EntityStore, Protocol):
    """A store, open or not. It may be used by any thread; statements of one snapshot or transaction by one at a time.

    ``name``: a path, or a URL without its secret. ``runs_on``: ``loop`` where no call waits for long, so that an event
    loop may make it; ``thread`` where round trips are long.
    """

    @property
    def name(self) -> str: ...
    @property
    def runs_on(self) -> Literal["loop", "thread"]: ...

    # Opening and closing.

    def open(self, *, make: bool = True) -> None:
        """Open it, migrated if need be; or again, where it ``is_current`` no longer. Blocks. ``make``: make it where
        there is none.

        Raises:
            StoreMoved: there is none, and ``make`` is false.
            StorageFailure: it cannot be made, opened or migrated; see ``reason``.
            Busy: other processes held it for the busy timeout.
        """

    def close(self, last_words: Callable[[], object]) -> None:
        """Close it. ``last_words`` is called before, unless another manager of this process has it open too."""

    def close_lost(self) -> None:
        """Close a store that is no longer there, and make none in its place. Blocks."""

    @property
    def is_open(self) -> bool: ...
    @property
    def reopened_at(self) -> int:
        """The ``seq`` of the store that was opened last, before anything was written to it here."""

    # What runs now.

    def interrupt_write(self) -> None:
        """End the write that runs now on another thread; it raises ``Cancelled`` there, and nothing of it is stored.
        Does nothing where none is in the middle of a statement."""

    # Hearing of commits.

    def on_commit(self, hook: CommitHook) -> Callable[[], None]:
        """Call ``hook`` after every commit of this process, on the thread that committed, until the function that is
        given is called. It stays while the store is opened again."""

    def watch(self) -> Watch:
        """To be closed by its caller."""

    # Leases.

    @property
    def lease_id(self) -> str | None:
        """The lease that this process has taken, if it has."""

    def look_after_lease(self, *, wait: bool = True) -> None:
        """Hold again what was taken away from under it."""

    def dead_lease(self, lease_id: str, *, wait: bool = True) -> AbstractContextManager[bool]:
        """Is the process of a lease gone? For the block nobody else finds the same. Raises StorageFailure."""

    # Health.

    @property
    def failure(self) -> StorageFailure | None:
        """The last failure, until a write succeeds; None where the store is not open."""

    def state(self) -> StoreState:
        """The state of the open store, without reading it. Raises NotOpen."""

    def facts(self) -> StoreFacts: ...
    def check(self) -> str:
        """The store's ``storeId``, read now, which a broken store does not give. Raises StoreError, without waiting."""

    def known_unreadable(self) -> list[Unreadable]:
        """The values that could not be read when they were met last; each was logged then."""

    def unreadable(self) -> list[Unreadable]:
        """The same, once the first of them were tried again. Raises StoreError, without waiting."""

    @property
    def is_unchecked(self) -> bool:
        """Was it replaced, or did it come from elsewhere, without an inspection since?"""

    @property
    def needs_inspection(self) -> bool:
        """Was a part of it left unchecked when it was opened, or was a fault found then?"""

    def inspection(self) -> Inspection:
        """To be run once. Raises StoreError, without waiting."""

    # What is done when nothing else is.

    def idle_tasks(self) -> Sequence[IdleTask]:
        """Idle tasks, in order of priority: each has its turn while those before it have nothing to do."""
