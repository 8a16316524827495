"""``SessionManager``: a store as a Python class, for programs that embed it and for our own server.

It knows no JSON-RPC, no wire names and no event loop.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from types import TracebackType

from mandrake_sessions.errors import SessionsError
from mandrake_sessions.feed import Listener, ListenerThread
from mandrake_sessions.operations.feed import FeedOperations
from mandrake_sessions.operations.health import HealthOperations
from mandrake_sessions.operations.history import HistoryOperations
from mandrake_sessions.operations.housekeeping import Housekeeper, HousekeepingOperations
from mandrake_sessions.operations.leases import LeaseOperations
from mandrake_sessions.operations.pruning import PruningOperations
from mandrake_sessions.operations.rounds import RoundOperations
from mandrake_sessions.operations.sessions import SessionOperations
from mandrake_sessions.operations.turns import TurnOperations
from mandrake_sessions.store.settings import Durability, StoreSettings
from mandrake_sessions.store.transaction import Pin
from mandrake_sessions.store.watch import CommitWatch

__all__ = ["CommitWatch", "Durability", "Housekeeper", "Pin", "SessionManager"]


class SessionManager(
    PruningOperations,
    SessionOperations,
    RoundOperations,
    TurnOperations,
    HistoryOperations,
    FeedOperations,
    LeaseOperations,
    HousekeepingOperations,
    HealthOperations,
):
    """One store of conversations. Any number of managers, threads and processes may have the same file open.

    ``db_path``: the SQLite file; it and its directory are made when it is opened. ``durability``: what a commit waits
    for. ``busy_timeout``: seconds that a call may wait for the lock of another process. ``inside``: a directory that
    the file must lie in, wherever links lead. ``allow_network_filesystem``: take a file that other machines may share,
    which can damage it.

    Every operation is committed when it returns; ids are UUIDs in any case, times milliseconds since the epoch, costs
    USD. A file that is deleted, replaced or moved while it is open is opened anew by the next operation.

    Use it as a context manager, or call ``init`` and ``close``::

        with SessionManager("conversations.sqlite") as manager:
            session = manager.create_session(title="A talk")
            detail = manager.create_round(session.id, content="What is in here?")
            turn = manager.create_turn(detail.response.id)
            manager.append_turn(turn.id, content="A few files.")
            manager.update_turn(turn.id, status=TurnStatus.COMPLETED)

    Every operation may raise ``InvalidValue``, ``NotOpen``, ``Busy`` and ``StorageFailure`` (see ``errors``); what
    else it may raise, and what it guarantees, its own docstring says.
    """

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
        super().__init__(os.fspath(db_path), settings)
        self._logger = logger or logging.getLogger(__name__)
        self._listeners: ListenerThread | None = None

    def init(self) -> None:
        """Open the store. Does nothing if it is open; opens it again after ``close``.

        Raises:
            StorageFailure: it cannot be made, opened or migrated; see ``reason``.
            Busy: other processes held the file for the busy timeout.
        """
        was_open = self._held is not None
        self._open()
        if not was_open and self._logger.isEnabledFor(logging.INFO):
            self._log_opened()
        self._without_fail(self.interrupt_orphans)

    def close(self) -> None:
        """Close the store: listeners hear what is committed until now and nothing after. Does nothing if it is
        closed. The file itself is closed with the last manager of this process that has it open; turns that this
        process still streams become ``interrupted`` then."""
        listeners, self._listeners = self._listeners, None
        if listeners is not None:
            self.off_commit(listeners.wake)
            listeners.stop()
        if self._held is not None:
            self._logger.info("closing %s", self._path)
        self._close()

    def _log_opened(self) -> None:
        try:
            store_id = self.store_id()
        except SessionsError as error:
            store_id = f"unknown: {error}"
        self._logger.info("opened %s: schema %d, storeId %s", self._path, self.state().schema_version, store_id)

    def _last_words(self) -> None:
        self._without_fail(self._interrupt_own)

    def _without_fail(self, work: Callable[[], object]) -> None:
        """Try what others will do if it cannot be done here."""
        try:
            work()
        except SessionsError as error:
            self._logger.warning("turns could not be marked as interrupted, others will: %s", error)

    def __enter__(self) -> SessionManager:
        self.init()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add_listener(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` with every change that is committed from now on, by any process, in ``seq`` order.

        It is called on a thread of the manager's, one change at a time; what it raises is logged. Gives the function
        that removes it.
        """
        if self._listeners is None:
            self._listeners = ListenerThread(self, self._logger)
            self.on_commit(self._listeners.wake)
        return self._listeners.add(listener)
