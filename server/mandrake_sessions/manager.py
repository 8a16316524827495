"""``SessionManager``: a store as a Python class, for programs that embed it and for our own server.

It knows no JSON-RPC, no wire names and no event loop.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from types import TracebackType
from typing import Self

from mandrake_sessions.errors import SessionsError
from mandrake_sessions.listeners import Listener, ListenerThread
from mandrake_sessions.operations.conversations import Conversations
from mandrake_sessions.operations.leases import interrupt_orphans, interrupt_own
from mandrake_sessions.store.engines import store_at
from mandrake_sessions.store.interface import Snapshot, Store
from mandrake_sessions.store.settings import Durability, StoreSettings

__all__ = ["Durability", "SessionManager"]


class SessionManager(Conversations):
    """One store of conversations. Any number of managers, threads and processes may have the same file open.

    ``db_path``: the SQLite file; ``init`` creates it and its directory. ``durability``: what a commit waits for.
    ``busy_timeout``: seconds that a call may wait for the lock of another process. ``inside``: a directory that the
    file must lie in, wherever links lead. ``allow_network_filesystem``: accept a file that other machines may
    share, which can damage it.

    When an operation returns, it is committed. Ids are UUIDs in any case, times milliseconds since the epoch, costs
    numbers of their ``currency``. If somebody deletes, replaces or moves the open file, the next operation opens the
    path again.

    Use it as a context manager, or call ``init`` and ``close``::

        with SessionManager("conversations.sqlite") as manager:
            session = manager.create_session(title="A talk")
            detail = manager.create_round(session.id, content="What is in here?")
            turn = manager.create_turn(detail.response.id)
            manager.append_turn(turn.id, content="A few files.")
            manager.update_turn(turn.id, status=TurnStatus.COMPLETED)

    Every operation may raise ``InvalidValue``, ``NotOpen``, ``Busy`` and ``StorageFailure`` (see ``errors``). The
    docstring of each says what else it may raise, and what it guarantees. ``feed`` reads the changes of the store.
    ``store`` is the store itself (``store/interface.py``): snapshots, health, and what servers need.
    """

    store: Store

    def __init__(
        self,
        db_path: str | os.PathLike[str],
        logger: logging.Logger | None = None,
        *,
        durability: Durability | str = Durability.BALANCED,
        busy_timeout: float = 5.0,
        inside: str | os.PathLike[str] | None = None,
        allow_network_filesystem: bool = False,
    ) -> None:
        directory = None if inside is None else os.fspath(inside)
        settings = StoreSettings(Durability(durability), busy_timeout, directory, allow_network_filesystem)
        self._hold(store_at(os.fspath(db_path), settings), logger)

    @classmethod
    def of(cls, store: Store, logger: logging.Logger | None = None) -> Self:
        """A manager of a store of any kind, which the caller has made. ``init`` opens it."""
        manager = cls.__new__(cls)
        manager._hold(store, logger)
        return manager

    def _hold(self, store: Store, logger: logging.Logger | None) -> None:
        super().__init__(store)
        self._logger = logger or logging.getLogger(__name__)
        self._listeners: ListenerThread | None = None

    def init(self, *, make: bool = True) -> None:
        """Open the store. Does nothing if it is open; opens it again after ``close``. ``make``: make it where there is
        none.

        Raises:
            StoreMoved: there is none, and ``make`` is false.
            StorageFailure: it cannot be made, opened or migrated; see ``reason``.
            Busy: other processes held the file for the busy timeout.
        """
        was_open = self.store.is_open
        self.store.open(make=make)
        if not was_open and self._logger.isEnabledFor(logging.INFO):
            self._log_opened()
        self._try_to_interrupt(interrupt_orphans)

    def close(self) -> None:
        """Close the store. Does nothing if it is closed. Listeners receive everything that is committed until now, and
        nothing after. The last manager of this process that has the file open closes the file itself; then the turns
        that this process still streams become ``interrupted``."""
        listeners, self._listeners = self._listeners, None
        if listeners is not None:
            listeners.stop()
        if self.store.is_open:
            self._logger.info("closing %s", self.store.name)
        self.store.close(lambda: self._try_to_interrupt(interrupt_own))

    def _log_opened(self) -> None:
        try:
            store_id = self.feed.store_id()
        except SessionsError as error:
            store_id = f"unknown: {error}"
        version = self.store.state().schema_version
        self._logger.info("opened %s: schema %d, storeId %s", self.store.name, version, store_id)

    def _try_to_interrupt(self, work: Callable[[Store], object]) -> None:
        """If it fails here, other processes do it."""
        try:
            work(self.store)
        except SessionsError as error:
            self._logger.warning("turns could not be marked as interrupted; other processes will do it: %s", error)

    def __enter__(self) -> Self:
        self.init()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def snapshot(self, *, wait: bool = True) -> Snapshot:
        """The store as it is now: reads inside ``with manager.snapshot():``, in any thread, see that state. With
        ``wait=False`` a lock of another process is ``Busy`` at once."""
        return self.store.snapshot(wait=wait)

    def add_listener(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` with every change that any process commits from now on, in ``seq`` order.

        A thread of the manager calls it, with one change at a time, and logs what it raises. Gives the function that
        removes the listener.
        """
        if self._listeners is None:
            self._listeners = ListenerThread(self.store, self.feed, self._logger)
        return self._listeners.add(listener)
