"""What every operation stands on: the open store, a transaction, a snapshot."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from attrs import frozen

from mandrake_sessions.errors import Conflict, NotOpen
from mandrake_sessions.store.build import has_wal_reset_bug, sqlite_version
from mandrake_sessions.store.database import Database, acquire, release
from mandrake_sessions.store.settings import StoreSettings
from mandrake_sessions.store.transaction import Pin, Transaction, snapshot, transaction
from mandrake_sessions.store.values import digest


@frozen
class StoreState:
    """How an open store is. ``references``: managers of this process that have it open."""

    schema_version: int
    references: int
    read_only: bool
    busy_retries: int


class Operations:
    """Opening and closing, counted once a manager; operations come in the subclasses."""

    def __init__(self, path: str, settings: StoreSettings) -> None:
        self._path = path
        self._settings = settings
        self._state = threading.Lock()
        self._held: Database | None = None
        self._wanted_open = False

    def _open(self) -> None:
        with self._state:
            self._wanted_open = True
            if self._held is None or not self._held.is_usable:
                self._held = acquire(self._path, self._settings.busy_timeout)

    def _last_words(self) -> None:
        """Called before the file is closed by the last manager of this process."""

    def _close(self) -> None:
        with self._state:
            self._wanted_open = False
            held = self._held
            if held is not None and held.is_usable:
                if held.references == 1:
                    self._last_words()
                release(held)
            self._held = None

    def _database(self) -> Database:
        """The open file. In a forked child it is opened anew: SQLite's connections do not survive a fork."""
        held = self._held
        if held is not None and held.is_usable:
            return held
        if not self._wanted_open:
            raise NotOpen(f"the store {self._path} is not open; call init(), or use `with SessionManager(…)`")
        self._open()
        return self._database()

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
        with transaction(self._database(), self._settings, appends_only=appends_only, wait=wait):
            yield

    def on_commit(self, hook: Callable[[], None]) -> None:
        """Call ``hook`` after every commit of this process to the file, on the thread that committed."""
        self._database().on_commit.append(hook)

    def off_commit(self, hook: Callable[[], None]) -> None:
        """Undo ``on_commit``; does nothing if the store was closed meanwhile."""
        held = self._held
        if held is not None and hook in held.on_commit:
            held.on_commit.remove(hook)

    def state(self) -> StoreState:
        """What is known of the open file without reading it."""
        held = self._database()
        return StoreState(held.schema_version, held.references, held.read_only is not None, held.busy_retries)

    @staticmethod
    def sqlite_version() -> str:
        """The version of SQLite that this Python has."""
        return sqlite_version()

    @staticmethod
    def has_wal_reset_bug() -> bool:
        """Whether that version has the bug that can damage a file in rare races of a checkpoint with a writer."""
        return has_wal_reset_bug()

    def pin(self, *, wait: bool = True) -> Pin:
        """A snapshot of the store as it is now. Reads inside ``with pin:``, in any thread, see that state. With
        ``wait=False`` a lock of another process is ``Busy`` at once."""
        return Pin(self._database(), self._settings, wait=wait)

    def _write(self, *, appends_only: bool = False) -> AbstractContextManager[Transaction]:
        return transaction(self._database(), self._settings, appends_only=appends_only)

    def _read(self) -> Any:
        return snapshot(self._database(), self._settings)


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
