"""What every operation stands on: the open store, a transaction, a snapshot."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, TypeVar

from attrs import evolve

from mandrake_sessions.errors import Conflict, FileMoved, NotOpen, StorageReason, Unreadable
from mandrake_sessions.model import Turn
from mandrake_sessions.store import turns
from mandrake_sessions.store.brief import Briefly, check_time
from mandrake_sessions.store.database import Database
from mandrake_sessions.store.permissions import may_write
from mandrake_sessions.store.pool import absolute_name, acquire, release, reopen, retire
from mandrake_sessions.store.settings import StoreSettings
from mandrake_sessions.store.transaction import Pin, Transaction, last_seq, reads_pinned, snapshot, transaction
from mandrake_sessions.store.values import digest

T = TypeVar("T")


class Operations:
    """Opening and closing, counted once a manager; operations come in the subclasses."""

    def __init__(self, path: str, settings: StoreSettings) -> None:
        self._path = path
        self._settings = settings
        self._state = threading.Lock()
        self._held: Database | None = None
        self._wanted_open = False
        self._was_open = False
        self._hooks: list[Callable[[], None]] = []
        # How often the file was opened again; and how often it was another one then.
        self.reconnects = self.replacements = 0
        # The `seq` of the file that was opened again, before anything was written to it here.
        self.reopened_at = 0

    def _open(self) -> None:
        with self._state:
            self._path = absolute_name(self._path)
            self._wanted_open = True
            held = self._held
            if held is not None and _is_current(held):
                return
            if held is None:
                found = acquire(self._path, self._settings, again=self._was_open)
            else:
                # It stays held until it is closed: a thread in a transaction goes on with it, which this one waits for.
                was_replaced = held.identity.was_replaced
                self.replacements += was_replaced
                try:
                    found = reopen(held, self._path, self._settings)
                    found.is_unchecked |= was_replaced
                except BaseException:
                    self._held = None
                    raise
            # Once, however many tries that took.
            self.reconnects += self._was_open
            found.on_commit.extend(hook for hook in self._hooks if hook not in found.on_commit)
            self._held = found
            self._was_open = True
            self.reopened_at = 0
            with suppress(Unreadable), found.domain_errors():
                self.reopened_at = last_seq(found.writer)

    def close_lost(self) -> None:
        """Close a file that its name no longer leads to, and make none in its place, as ``init`` would. Blocks."""
        with self._state:
            held, self._held = self._held, None
            self._wanted_open = False
            if held is not None:
                self.replacements += held.identity.was_replaced
                retire(held)

    def _last_words(self) -> None:
        """Called before the file is closed by the last manager of this process."""

    def _close(self) -> None:
        with self._state:
            self._wanted_open = self._was_open = False
            held = self._held
            if held is not None and held.is_usable:
                if held.references == 1:
                    self._last_words()
                release(held)
            self._held = None

    def _database(self, *, wait: bool = True) -> Database:
        """The open file. Where it is no longer what its name leads to, and in a forked child, it is opened again.

        Raises:
            NotOpen: ``init`` was not called, or ``close`` was.
            FileMoved: with ``wait=False``, where it would have to be opened again, which may take its time.
        """
        held = self._held
        if held is not None and (held.running is not None or reads_pinned(held) or _is_current(held)):
            return held
        if not self._wanted_open:
            raise NotOpen(f"the store {self._path} is not open; call init(), or use `with SessionManager(…)`")
        if not wait:
            raise FileMoved(self._path)
        self._open()
        return self._database()

    @property
    def is_in_place(self) -> bool:
        """Whether the store is open, and need not be opened again; one ``stat`` where it may be written."""
        held = self._held
        return held is not None and _is_current(held)

    def reopen(self) -> None:
        """Open the store again if its file is no longer what its name leads to, or may be written again. Blocks; else
        the next operation does it. Raises as ``init`` does."""
        self._open()

    @contextmanager
    def transaction(self, *, appends_only: bool = False, wait: bool = True) -> Iterator[None]:
        """Run the operations of the block in one BEGIN IMMEDIATE, all or nothing.

        After the block they are committed, as durable as the settings say; listeners hear of them then, and not
        before. An operation in it that raises undoes itself alone: let its exception pass to undo the whole. Inside
        another transaction of this thread it is a part that can fail by itself. Do not ``await`` in it.

        ``appends_only`` is a promise that lets ``balanced`` durability commit as it does for appends. With
        ``wait=False`` a lock of another process is ``Busy`` at once.

        Raises:
            Busy: another process held the lock for the busy timeout; the block was not entered.
            StorageFailure: the file cannot be written; nothing of the block is stored.
        """
        with transaction(self._database(wait=wait), self._settings, appends_only=appends_only, wait=wait):
            yield

    def interrupt_write(self) -> None:
        """End the write that runs now on another thread; it raises ``Cancelled`` there, and nothing of it is stored.
        Does nothing where none is in the middle of a statement."""
        held = self._held
        if held is not None:
            held.interrupt_writer()

    def on_commit(self, hook: Callable[[], None]) -> None:
        """Call ``hook`` after every commit of this process to the file, on the thread that committed."""
        self._database().on_commit.append(hook)
        self._hooks.append(hook)

    def off_commit(self, hook: Callable[[], None]) -> None:
        """Undo ``on_commit``; does nothing if the store was closed meanwhile."""
        if hook in self._hooks:
            self._hooks.remove(hook)
        held = self._held
        if held is not None and hook in held.on_commit:
            held.on_commit.remove(hook)

    def briefly(self) -> Briefly:
        """The operations of the block, by this thread, raise ``TakesLong`` where they turn out to take more than some
        hundredths of a second; one in a transaction has that undone then. For an event loop."""
        return Briefly()

    def pin(self, *, wait: bool = True) -> Pin:
        """A snapshot of the store as it is now. Reads inside ``with pin:``, in any thread, see that state. With
        ``wait=False`` a lock of another process is ``Busy`` at once."""
        return Pin(self._database(wait=wait), self._settings, wait=wait)

    def _write(self, *, appends_only: bool = False) -> AbstractContextManager[Transaction]:
        return transaction(self._database(), self._settings, appends_only=appends_only)

    def _read(self) -> Any:
        return snapshot(self._database(), self._settings)

    def _while_asked(self, rows: Iterable[T]) -> Iterator[T]:
        """Rows that are read while they are asked for, in the pinned snapshot or the transaction of this thread."""
        with self._read():
            for row in rows:
                yield row
                # It would be held while the next one is read.
                del row
                check_time()

    def _turns(
        self, connection: Any, found: Iterable[turns.StoredTurn], *, text: bool, raw: bool = True, lazily: bool
    ) -> Any:
        """The turns with what hangs from them: a list or, lazily, an iterator; so are the tool calls and the
        texts (in slices) of a long one then, to be taken before the next turn is."""
        if not lazily:
            return turns.load_turns(connection, list(found), text=text, raw=raw)
        return self._while_asked(map(self._as_asked, turns.each_turn(connection, found, text=text, raw=raw)))

    def _turn(self, connection: Any, stored: turns.StoredTurn, *, text: bool, lazily: bool) -> Turn:
        turn: Turn = next(iter(self._turns(connection, [stored], text=text, lazily=lazily)))
        return turn

    def _as_asked(self, turn: Turn) -> Turn:
        rows: dict[str, Any] = {name: getattr(turn, name) for name in ("tool_calls", "content", "raw_response")}
        guarded: dict[str, Any] = {
            name: self._while_asked(value) for name, value in rows.items() if isinstance(value, Iterator)
        }
        return evolve(turn, **guarded) if guarded else turn


def _is_current(held: Database) -> bool:
    """Whether it is open, still what its name leads to, and not read-only for a reason that has gone."""
    if not held.is_usable or held.is_cut_off or not held.identity.is_same:
        return False
    return held.read_only is not StorageReason.READ_ONLY or not may_write(held.path)


def create_hash(given: Mapping[str, Any], columns: Mapping[str, Any], **parents: str) -> bytes | None:
    """The hash of what a create call was given, which lets it be sent again; only one that brings its own id can be.

    Ids count as ``columns`` and ``parents`` have them, in lower case; objects whatever the order of their keys.
    """
    if "id" not in columns:
        return None
    ids = {name: columns[name] for name in ("id", "request_id", "response_id") if name in columns}
    return digest({**given, **ids, **parents})


def check_same(entity: str, entity_id: str, stored: bytes | None, given: bytes | None) -> None:
    """Raises Conflict unless the entity was made by the same call."""
    if stored is None or stored != given:
        raise id_in_use(entity, entity_id)


def id_in_use(entity: str, entity_id: str) -> Conflict:
    return Conflict(
        "idInUse",
        f"there is another {entity} {entity_id!r}, made with other params; leave id out to get a new one",
        actual=entity_id,
    )
